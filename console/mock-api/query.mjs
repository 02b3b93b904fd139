// A small reading of the search bar language: enough for the console to be developed and tested against.
export class QueryError extends Error {
  constructor(message, offset) { super(message); this.offset = offset; }
}

const SHORT = { host: 'device.hostname', user: 'actor.user.name', 'process.command_line': 'process.cmd_line', CommandLine: 'process.cmd_line' };

export function valueOf(row, name) {
  if (['source', 'class_name', 'class_uid', 'severity_id', 'summary', 'record', 'decoder', 'time_certainty'].includes(name)) return row[name];
  return row.fields[SHORT[name] ?? name] ?? row.fields[name];
}

function tokens(text) {
  const out = [];
  const pattern = /\s*(?:(\()|(\))|(AND|OR|NOT)\b|([A-Za-z_][\w.]*):(?:"((?:[^"\\]|\\.)*)"|([^\s()]+))|"((?:[^"\\]|\\.)*)"|([^\s()]+))/y;
  while (pattern.lastIndex < text.trimEnd().length) {
    const start = pattern.lastIndex;
    const m = pattern.exec(text);
    if (!m) throw new QueryError(`cannot read the query from \`${text.slice(start, start + 12)}\``, start);
    const offset = m.index + m[0].search(/\S/);
    if (m[1] || m[2]) out.push({ kind: m[1] ?? m[2], offset });
    else if (m[3]) out.push({ kind: m[3], offset });
    else if (m[4]) out.push({ kind: 'field', name: m[4], value: m[5]?.replace(/\\(.)/g, '$1') ?? m[6], offset });
    else {
      const word = m[7]?.replace(/\\(.)/g, '$1') ?? m[8];
      if (m[8]?.startsWith('"')) throw new QueryError('the quotation mark is never closed', offset);
      if (m[8]?.endsWith(':')) throw new QueryError(`\`${m[8]}\` needs a value after the colon`, offset);
      out.push({ kind: 'word', value: word, offset });
    }
  }
  return out;
}

const glob = (pattern) => new RegExp(`^${pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*/g, '.*').replace(/\?/g, '.')}$`, 'i');

function leaf(t) {
  if (t.kind === 'word') {
    const needle = t.value.toLowerCase();
    return needle === '*' ? () => true : (row) => row.raw.toLowerCase().includes(needle) || row.summary.toLowerCase().includes(needle);
  }
  const compare = /^(>=|<=|>|<)(\d+)$/.exec(t.value);
  if (compare) {
    const n = Number(compare[2]);
    const test = { '>=': (v) => v >= n, '<=': (v) => v <= n, '>': (v) => v > n, '<': (v) => v < n }[compare[1]];
    return (row) => test(Number(valueOf(row, t.name)));
  }
  const pattern = glob(t.value);
  return (row) => { const v = valueOf(row, t.name); return v !== undefined && (t.value === '*' || pattern.test(String(v))); };
}

export function filter(text) {
  const list = tokens(text);
  let i = 0;
  const unary = () => {
    const t = list[i];
    if (!t) throw new QueryError('the query ends where a condition is expected', text.trimEnd().length);
    i += 1;
    if (t.kind === 'NOT') { const inner = unary(); return (row) => !inner(row); }
    if (t.kind === '(') {
      const inner = either();
      if (list[i]?.kind !== ')') throw new QueryError('this parenthesis is never closed', t.offset);
      i += 1;
      return inner;
    }
    if (t.kind === 'field' || t.kind === 'word') return leaf(t);
    throw new QueryError(`\`${t.kind}\` is not expected here`, t.offset);
  };
  const both = () => {
    let left = unary();
    while (list[i] && list[i].kind !== 'OR' && list[i].kind !== ')') {
      if (list[i].kind === 'AND') i += 1;
      const a = left, b = unary();
      left = (row) => a(row) && b(row);
    }
    return left;
  };
  function either() {
    let left = both();
    while (list[i]?.kind === 'OR') { i += 1; const a = left, b = both(); left = (row) => a(row) || b(row); }
    return left;
  }
  if (list.length === 0) return () => true;
  const test = either();
  if (i < list.length) throw new QueryError('there is a closing parenthesis too many', list[i].offset);
  return test;
}

function count(rows, key) {
  const seen = new Map();
  for (const row of rows) { const k = key(row); if (k !== undefined) seen.set(k, (seen.get(k) ?? 0) + 1); }
  return seen;
}

const SPANS = { s: 1000, m: 60_000, h: 3600_000, d: 86_400_000 };

/** Runs one piped verb; gives a table, or nothing when the verb is not known. */
export function pipe(rows, stage, offset) {
  const words = stage.trim().split(/\s+/);
  const verb = words[0];
  if (verb === 'top' || verb === 'rare') {
    const n = /^\d+$/.test(words[1]) ? Number(words[1]) : 10;
    const name = /^\d+$/.test(words[1]) ? words[2] : words[1];
    const sorted = [...count(rows, (r) => valueOf(r, name))].sort((a, b) => (verb === 'top' ? b[1] - a[1] : a[1] - b[1]));
    return { columns: [name, 'count'], rows: sorted.slice(0, n) };
  }
  if (verb === 'stats') {
    const by = words.indexOf('by') > 0 ? words.slice(words.indexOf('by') + 1).join(' ').split(/[ ,]+/) : [];
    const groups = count(rows, (r) => JSON.stringify(by.map((b) => valueOf(r, b) ?? null)));
    return { columns: [...by, 'count'], rows: [...groups].sort((a, b) => b[1] - a[1]).map(([k, n]) => [...JSON.parse(k), n]) };
  }
  if (verb === 'timechart') {
    const span = /^span=(\d+)([smhd])$/.exec(words[1] ?? '');
    const width = span ? Number(span[1]) * SPANS[span[2]] : 300_000;
    const name = words[words.indexOf('by') + 1];
    const groups = count(rows, (r) => JSON.stringify([new Date(Math.floor(r.time / width) * width).toISOString(), ...(words.includes('by') ? [valueOf(r, name) ?? null] : [])]));
    return { columns: ['time', ...(words.includes('by') ? [name] : []), 'count'], rows: [...groups].map(([k, n]) => [...JSON.parse(k), n]).sort((a, b) => (a[0] < b[0] ? -1 : 1)) };
  }
  throw new QueryError(`there is no pipe \`${verb}\`; the nearest are stats, top, rare, timechart`, offset);
}
