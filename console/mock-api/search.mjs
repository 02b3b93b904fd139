import { EVENTS } from './scenario.mjs';
import { filter, pipe, valueOf, QueryError } from './query.mjs';

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function select(query) {
  const q = query.get('q') ?? '';
  const [head, ...stages] = q.split('|');
  const test = filter(head);
  const from = Date.parse(query.get('from') ?? '') || 0;
  const to = Date.parse(query.get('to') ?? '') || Infinity;
  return { head, stages, rows: EVENTS.filter((e) => e.time >= from && e.time < to && test(e)).reverse() };
}

const publicRow = ({ record, part, time, time_certainty, class_uid, class_name, severity_id, host, source, summary, fields }) =>
  ({ record, part, time: new Date(time).toISOString(), time_certainty, class_uid, class_name, severity_id, host, source, summary, fields });

/** Streams NDJSON in chunks, so that progress and cancelling can be seen. */
export async function search({ query, req, res }) {
  res.writeHead(200, { 'content-type': 'application/x-ndjson' });
  const line = (value) => res.write(`${JSON.stringify(value)}\n`);
  const started = Date.now();
  try {
    const { head, stages, rows } = select(query);
    const cost = { rows_scanned: EVENTS.length, bytes_scanned: 1_204_330, files: 14, files_pruned: 3, matched: rows.length, truncated: false, next_cursor: null };
    if (stages.length > 0) {
      const table = pipe(rows, stages[0], head.length + 1);
      line({ type: 'columns', events: false, columns: table.columns.map((name) => ({ name, kind: 'text' })) });
      line({ type: 'table', rows: table.rows });
    } else {
      const start = Number(query.get('cursor') ?? 0);
      const end = Math.min(rows.length, start + Number(query.get('limit') ?? 500));
      line({ type: 'columns', events: true, columns: ['time', 'device.hostname', 'class_uid', 'severity_id'].map((name) => ({ name, kind: 'text' })) });
      for (let i = start; i < end; i += 100) {
        for (const row of rows.slice(i, Math.min(end, i + 100))) line({ type: 'row', row: publicRow(row) });
        line({ type: 'progress', rows_scanned: Math.round((EVENTS.length * (i + 100)) / end), files: 14, files_total: 14 });
        await pause(15);
        if (req.destroyed && !res.writable) return;
      }
      cost.truncated = end < rows.length;
      if (cost.truncated) cost.matched = null;
      cost.next_cursor = cost.truncated ? String(end) : null;
    }
    line({ type: 'done', cost: { ...cost, elapsed_ms: Date.now() - started } });
  } catch (error) {
    if (!(error instanceof QueryError)) throw error;
    line({ type: 'error', error: { code: 'query', message: error.message, offset: error.offset } });
  }
  res.end();
}

const safely = (handler) => (call) => {
  try {
    handler(call);
  } catch (error) {
    if (!(error instanceof QueryError)) throw error;
    call.send(call.res, 400, { error: { code: 'query', message: error.message, offset: error.offset, request_id: 'req-q' } });
  }
};

export const histogram = safely(({ query, res, send }) => {
  const { rows } = select(query);
  const from = query.get('from') ? Date.parse(query.get('from')) : EVENTS[0].time;
  const to = query.get('to') ? Date.parse(query.get('to')) : EVENTS.at(-1).time + 1;
  const bucket_ms = Math.max(1, Math.ceil((to - from) / Number(query.get('buckets') ?? 60)));
  const buckets = Array.from({ length: Math.ceil((to - from) / bucket_ms) }, (_, i) => ({ at: new Date(from + i * bucket_ms).toISOString(), count: 0, by_severity: {} }));
  for (const row of rows) {
    const bucket = buckets[Math.floor((row.time - from) / bucket_ms)];
    bucket.count += 1;
    bucket.by_severity[row.severity_id] = (bucket.by_severity[row.severity_id] ?? 0) + 1;
  }
  send(res, 200, { from: new Date(from).toISOString(), to: new Date(to).toISOString(), bucket_ms, buckets, count: rows.length });
});

export const fields = safely(({ query, res, send }) => {
  const { rows } = select(query);
  const names = new Set(['class_uid', 'severity_id', 'source', 'decoder', ...rows.flatMap((r) => Object.keys(r.fields))]);
  const list = [...names].map((name) => {
    const seen = new Map();
    for (const row of rows) { const v = valueOf(row, name); if (v !== undefined) seen.set(String(v), (seen.get(String(v)) ?? 0) + 1); }
    const top = [...seen].sort((a, b) => b[1] - a[1]).slice(0, Number(query.get('top') ?? 5)).map(([value, count]) => ({ value, count }));
    return { name, kind: typeof valueOf(rows.find((r) => valueOf(r, name) !== undefined) ?? {fields: {}}, name) === 'number' ? 'integer' : 'text', count: [...seen.values()].reduce((a, b) => a + b, 0), distinct: seen.size, top };
  });
  send(res, 200, { fields: list.sort((a, b) => b.count - a.count), sampled: false });
});
