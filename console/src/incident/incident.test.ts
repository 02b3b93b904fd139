import { describe, expect, test } from 'vitest';
import type { ProcessNode, Step } from '../api/types';
import { highlight } from '../alerts/highlight';
import { becauseText, storyOf } from './story';
import { fullRange, layout, ticks } from './timeline-layout';
import { place } from './tree-layout';

const step = (n: number, time: string, host: string): Step => ({
  n, time, until: time, time_certainty: 'exact', certainty: 'certain', host, actor: { user: null, process: null, session: null }, action: `did ${n}`, tactic: '',
  technique: { uid: '', name: '', tactic: '' }, because: { kind: 'finding', step: null }, records: [`1-${n}`], records_omitted: 0, findings: [],
});
const node = (pid: number, ...children: ProcessNode[]): ProcessNode => ({ id: `web1:${pid}`, host: 'web1', pid, name: 'sh', cmd_line: '', user: '', at: '', step: null, records: [], children });
const steps = [step(1, '2026-11-20T09:00:00Z', 'web1'), step(2, '2026-11-20T09:00:00Z', 'web1'), step(3, '2026-11-20T10:00:00Z', 'db1')];

describe('timeline', () => {
  const [from, to] = fullRange(steps);
  const drawn = layout({ hosts: ['web1', 'db1', 'idle1'], steps, edges: [{ from: 1, to: 3, kind: 'remote_logon' }, { from: 1, to: 9, kind: 'finding' }] }, from, to, 1000);
  test('a lane per host, in order of appearance', () => expect(drawn.lanes.map((l) => l.host)).toEqual(['web1', 'db1', 'idle1']));
  test('steps at one moment do not hide each other', () => expect((drawn.marks[1]?.x ?? 0) - (drawn.marks[0]?.x ?? 0)).toBeGreaterThan(20));
  test('many steps at the end stay inside and apart', () => {
    const crowd = Array.from({ length: 20 }, (_, i) => step(i + 1, i === 0 ? '2026-11-20T09:00:00Z' : '2026-11-20T10:00:00Z', 'web1'));
    const xs = layout({ hosts: [], steps: crowd, edges: [] }, ...fullRange(crowd), 1000).marks.map((m) => m.x);
    expect(Math.max(...xs)).toBeLessThanOrEqual(976);
    expect(xs.every((x, i) => i === 0 || x - (xs[i - 1] ?? 0) > 20)).toBe(true);
  });
  test('an edge to a step that is not there is left out', () => expect(drawn.links.map((l) => l.key)).toEqual(['1-3-remote_logon']));
  test('zoomed in, only what is in sight is drawn', () => expect(layout({ hosts: [], steps, edges: [] }, Date.parse('2026-11-20T09:59:00Z'), to, 1000).marks.map((m) => m.step.n)).toEqual([3]));
  test('ticks stand at round times', () => expect(ticks(Date.parse('2026-11-20T09:01:00Z'), Date.parse('2026-11-20T10:00:00Z'), 400).every((t) => t % 60_000 === 0)).toBe(true));
  test('no steps, still a range', () => expect(fullRange([])).toEqual([0, 1]));
});

test('the tree gives a row to each process and none to folded children', () => {
  const roots = [node(1, node(2), node(3, node(4)))];
  const all = place(roots, new Set());
  expect(all.map((p) => [p.node.pid, p.depth, p.row])).toEqual([[1, 0, 0], [2, 1, 1], [3, 1, 2], [4, 2, 3]]);
  expect(place(roots, new Set([all[2]?.key ?? ''])).map((p) => p.node.pid)).toEqual([1, 2, 3]);
});

test('the reason of a step in words', () => {
  expect(becauseText({ kind: 'process_lineage', step: 2 })).toBe('by processes of step 2');
  expect(becauseText({ kind: 'finding', step: null })).toBe('where the walk started');
});

test('a story is made from the steps when the server sent none', () => {
  expect(storyOf({ title: 'T', story: '', steps: [step(1, 'now', 'web1')] })).toBe('T\n\n1. now  web1: did 1  (records 1-1)');
});

test('matched values are marked, longest first, letters alone are not', () => {
  expect(highlight('cat /etc/passwd', ['/etc/passwd', 'etc', 'a']).filter((p) => p.hit).map((p) => p.text)).toEqual(['/etc/passwd']);
  expect(highlight('a.b', ['.*']).some((p) => p.hit)).toBe(false);
});
