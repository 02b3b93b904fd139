// Edits to a query text that keep what the person wrote: conditions go before the first pipe, quotes are respected.

/** Where a byte offset in UTF-8 lies in the text, as the server counts bytes and the browser does not. */
export function charOffset(text: string, bytes: number): number {
  const head = new TextEncoder().encode(text).subarray(0, bytes);
  return new TextDecoder().decode(head).length;
}

/** Where the first `|` outside quotation marks stands, or the length of the text. */
export function pipeOffset(q: string): number {
  let quoted = false;
  for (let i = 0; i < q.length; i++) {
    if (q[i] === '\\') i += 1;
    else if (q[i] === '"') quoted = !quoted;
    else if (q[i] === '|' && !quoted) return i;
  }
  return q.length;
}

export const filterPart = (q: string) => q.slice(0, pipeOffset(q)).trim();
export const hasPipe = (q: string) => pipeOffset(q) < q.length;

export const quote = (value: string) => `"${value.replace(/\\/g, '\\\\').replace(/"/g, '\\"')}"`;
/** A name as the query language takes it: positions in lists fall away, odd characters need backticks. */
export function fieldName(name: string): string {
  const plain = name.replace(/\[\d+\]/g, '');
  return /^[A-Za-z_@][\w.@-]*$/.test(plain) ? plain : `\`${plain}\``;
}
export const term = (name: string, value: string | number | boolean) => `${fieldName(name)}:${typeof value === 'string' ? quote(value) : value}`;

function hasTopLevelOr(filter: string): boolean {
  let depth = 0;
  for (const [token] of filter.matchAll(/"(?:[^"\\]|\\.)*"|\(|\)|\bOR\b/g)) {
    if (token === '(') depth += 1;
    else if (token === ')') depth -= 1;
    else if (token === 'OR' && depth === 0) return true;
  }
  return false;
}

/** Adds a condition; the same condition twice changes nothing, and its opposite is taken out. */
export function addTerm(q: string, condition: string, out: boolean): string {
  const at = pipeOffset(q);
  const pipes = q.slice(at);
  let filter = q.slice(0, at).trim();
  const added = out ? `NOT ${condition}` : condition;
  const opposite = out ? condition : `NOT ${condition}`;
  const conditions = filter.split(' AND ');
  if (conditions.includes(added)) return q;
  if (conditions.includes(opposite)) filter = conditions.filter((c) => c !== opposite).join(' AND ');
  if (filter === '' || filter === '*') filter = added;
  else filter = `${hasTopLevelOr(filter) ? `(${filter})` : filter} AND ${added}`;
  return pipes ? `${filter} ${pipes}` : filter;
}

export const withPipe = (q: string, pipe: string) => `${filterPart(q)} | ${pipe}`.trim();

export interface Completion { from: number; to: number; options: { label: string; detail: string; insert: string }[] }

export const PIPES: [string, string][] = [
  ['where', 'keep rows that fulfil a condition'], ['stats', 'count, sum, avg … by fields'], ['top', 'most frequent values'], ['rare', 'least frequent values'],
  ['timechart', 'counts over time, by a field'], ['fields', 'keep only these columns'], ['sort', 'order by a column'], ['head', 'only the first rows'],
];

/** What could stand at the cursor: pipe verbs after `|`, else field names. */
export function completions(q: string, cursor: number, fields: { name: string; detail: string }[]): Completion | undefined {
  const before = q.slice(0, cursor);
  const word = /[\w.]*$/.exec(before)?.[0] ?? '';
  const from = cursor - word.length;
  const lead = before.slice(0, from);
  if ((lead.match(/(?<!\\)"/g)?.length ?? 0) % 2 === 1 || /:$/.test(lead)) return undefined;
  const low = word.toLowerCase();
  if (/\|\s*$/.test(lead)) {
    const options = PIPES.filter(([verb]) => verb.startsWith(low) && verb !== low).map(([label, detail]) => ({ label, detail, insert: `${label} ` }));
    return options.length ? { from, to: cursor, options } : undefined;
  }
  if (word === '') return undefined;
  const suffix = hasPipe(before) ? ' ' : ':';
  const rank = (name: string) => (name.toLowerCase().startsWith(low) ? 0 : 1);
  const options = fields.filter((f) => f.name.toLowerCase().includes(low) && f.name.toLowerCase() !== low).sort((a, b) => rank(a.name) - rank(b.name)).slice(0, 8).map((f) => ({ label: f.name, detail: f.detail, insert: `${f.name}${suffix}` }));
  return options.length ? { from, to: cursor, options } : undefined;
}
