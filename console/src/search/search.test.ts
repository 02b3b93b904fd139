import { describe, expect, test } from 'vitest';
import { stack } from '../ui/chart-data';
import { defaultRange, extentOf, presetRange } from './range';
import type { Cost, Row } from '../api/types';
import { csvLine, FileText } from './export';
import { fold, type SearchResult } from './stream';
import { timeSeries } from './time-series';

const NOW = Date.parse('2026-11-21T12:00:00Z');

describe('where a search starts', () => {
  test('the last 24 hours while events still come', () => {
    expect(defaultRange(NOW, { first: NOW - 9e9, last: NOW - 1000 })).toEqual({ from: '2026-11-20T12:00:00.000Z', to: '2026-11-21T12:00:00.000Z' });
  });
  test('all of a short recording from the past', () => {
    expect(defaultRange(NOW, { first: Date.parse('2026-01-02T03:00:00.5Z'), last: Date.parse('2026-01-02T04:00:00.5Z') })).toEqual({ from: '2026-01-02T03:00:00.000Z', to: '2026-01-02T04:00:01.000Z' });
  });
  test('the end is exclusive, so the very last event is inside', () => {
    expect(presetRange('all', NOW, { first: NOW, last: NOW })).toEqual({ from: '2026-11-21T12:00:00.000Z', to: '2026-11-21T12:00:01.000Z' });
  });
  test('without events there is no extent', () => expect(extentOf({ from: '1970-01-01T00:00:00Z', to: '1970-01-01T00:00:01Z', bucket_ms: 1000, count: 0, buckets: [{ at: '1970-01-01T00:00:00Z', count: 0, by_severity: {} }] })).toBeUndefined());
});

describe('folding the stream', () => {
  const empty: SearchResult = { status: 'running', rows: [], table: undefined, progress: {}, cost: undefined, error: undefined, notes: [] };
  const row: Row = {
    record: '1-0', records: [], part: 0, time: '2026-11-20T00:00:00Z', time_certainty: 'exact', received_at: '2026-11-20T00:00:01Z', class_uid: 1007, class_name: 'Process Activity',
    activity_id: 1, severity_id: 1, host: 'web1', source: 'web1', decoder: 'auditd', summary: 'id', fields: {},
  };
  const cost: Cost = { rows_scanned: 9, bytes_scanned: 900, files: 1, files_pruned: 0, elapsed_ms: 3, returned: 2, matched: 9, truncated: true, next_cursor: 'x' };
  test('rows add up and the end brings the cost', () => {
    const one = fold(empty, [{ type: 'row', row }]);
    const two = fold(one, [{ type: 'row', row }, { type: 'done', cost }]);
    expect(two.rows).toHaveLength(2);
    expect(two.status).toBe('done');
    expect(two.cost?.next_cursor).toBe('x');
    expect(one.rows).toHaveLength(1);
  });
  test('an error keeps what was found', () => {
    const failed = fold(fold(empty, [{ type: 'row', row }]), [{ type: 'error', error: { code: 'query', message: 'no', request_id: 'r-1', offset: 3 } }]);
    expect([failed.status, failed.rows.length, failed.error?.offset]).toEqual(['error', 1, 3]);
  });
  test('a table has its columns from the line before, also when it stays empty', () => {
    expect(fold(empty, [{ type: 'columns', events: false, columns: [{ name: 'host', kind: 'text' }] }]).table).toEqual({ columns: ['host'], rows: [] });
    expect(fold(empty, [{ type: 'columns', events: false, columns: [{ name: 'host', kind: 'text' }, { name: 'count', kind: 'integer' }] }, { type: 'table', rows: [['web1', 2]] }]).table).toEqual({ columns: ['host', 'count'], rows: [['web1', 2]] });
  });
});

describe('tables over time', () => {
  const [t0, t2] = ['2026-11-20T09:00:00Z', '2026-11-20T09:10:00Z'];
  test('long shape becomes series, missing bars are zero', () => {
    const s = timeSeries({ columns: ['time', 'host', 'count'], rows: [[t0, 'web1', 4], ['2026-11-20T09:05:00Z', 'db1', 1], [t2, 'web1', 2]] });
    expect(s?.series.map((x) => [x.label, x.values])).toEqual([['web1', [4, 0, 2]], ['db1', [0, 1, 0]]]);
    expect(s?.widthMs).toBe(300_000);
  });
  test('wide shape has a series a column', () => {
    expect(timeSeries({ columns: ['time', 'web1', 'db1'], rows: [[t0, 1, 2], [t2, 3, null]] })?.series.map((x) => x.values)).toEqual([[2, 0], [1, 3]].reverse());
  });
  test('no time, no chart', () => expect(timeSeries({ columns: ['host', 'count'], rows: [['web1', 3]] })).toBeUndefined());
  test('stacking sums from the bottom up', () => expect(stack([{ label: '', color: '', values: [1, 2] }, { label: '', color: '', values: [3, 0] }])).toEqual([[1, 2], [4, 2]]));
});

describe('a search as a file', () => {
  test('cells are quoted where they have to be, and never run as formulas', () => {
    expect(csvLine(['a', 'b,c', 'say "no"', 'two\nlines', null, undefined, 7, -7, true, ['x', 1]])).toBe('a,"b,c","say ""no""","two\nlines",,,7,-7,true,"[""x"",1]"\r\n');
    expect(csvLine(['=1+1', '+1', '-1', '@x', '\t=1'])).toBe("'=1+1,'+1,'-1,'@x,'\t=1\r\n");
  });
  const row = { record: '1-7', part: 2, time: '2026-11-20T00:00:00Z', host: 'web1', class_name: 'Process Activity', severity_id: 3, fields: { 'process.name': 'id' } } as unknown as Row;
  const cost: Cost = { rows_scanned: 9, bytes_scanned: 900, files: 1, files_pruned: 0, elapsed_ms: 3, returned: 1, matched: 9, truncated: true, next_cursor: 'x' };
  test('events keep the columns on the screen and lead to their record', () => {
    const file = new FileText('csv', ['time', 'host', 'class', 'severity', 'process.name']);
    file.take([{ type: 'row', row }, { type: 'done', cost }]);
    expect(file.parts.join('')).toBe('time,host,class,severity,process.name,record,part\r\n2026-11-20T00:00:00Z,web1,Process Activity,3,id,1-7,2\r\n');
    expect([file.rows, file.cursor, file.truncated, file.done]).toEqual([1, 'x', true, true]);
  });
  test('tables keep their own columns', () => {
    const lines: Parameters<FileText['take']>[0] = [{ type: 'columns', events: false, columns: [{ name: 'host', kind: 'text' }, { name: 'n', kind: 'integer' }] }, { type: 'table', rows: [['web1', 7]] }];
    const [csv, ndjson] = [new FileText('csv', ['time']), new FileText('ndjson', ['time'])];
    csv.take(lines);
    ndjson.take(lines);
    expect([csv.parts.join(''), ndjson.parts.join('')]).toEqual(['host,n\r\nweb1,7\r\n', '{"host":"web1","n":7}\n']);
  });
  test('an answer with an error is no file', () => {
    expect(() => new FileText('csv', []).take([{ type: 'error', error: { code: 'query', message: 'no', request_id: 'r-1', offset: 3 } }])).toThrow('no');
  });
});
