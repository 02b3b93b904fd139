// A search's whole answer as a file: every page of it is asked for, and is in the record of the watchers like any other search.
import { apiUrl, send } from '../api/client';
import { readNdjson } from '../api/ndjson';
import type { Json, Row, SearchLine } from '../api/types';
import type { Search } from './stream';

export type Format = 'csv' | 'ndjson';

/** Rows of one file; a browser has to hold them. */
export const ROWS_MAX = 100_000;
const PAGE = 10_000;

const BUILT_IN: Record<string, (row: Row) => Json | undefined> = {
  host: (r) => r.host,
  class: (r) => r.class_name,
  severity: (r) => r.severity_id,
};

/** Columns of a file of events: those on the screen, and what leads to the evidence. */
export const fileColumns = (shown: string[]) => [...shown, ...['record', 'part'].filter((name) => !shown.includes(name))];

export const cellsOf = (row: Row, columns: string[]): (Json | undefined)[] =>
  columns.map((name) => BUILT_IN[name]?.(row) ?? row.fields?.[name] ?? (row as unknown as Record<string, Json | undefined>)[name]);

/** A line of RFC 4180. Text that a spreadsheet would run as a formula gets an apostrophe in front, as spreadsheets write it themselves. */
export function csvLine(cells: (Json | undefined)[]): string {
  const cell = (value: Json | undefined) => {
    if (value === null || value === undefined) return '';
    if (typeof value === 'number' || typeof value === 'boolean') return String(value);
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
  };
  return `${cells.map(cell).join(',')}\r\n`;
}

/** Folds the lines of an answer into text of the file; counts rows. */
export class FileText {
  readonly parts: string[] = [];
  rows = 0;
  cursor: string | undefined;
  truncated = false;
  private headed = false;
  private readonly format: Format;
  private readonly shown: string[];

  constructor(format: Format, shown: string[]) {
    this.format = format;
    this.shown = fileColumns(shown);
  }

  take(lines: SearchLine[]) {
    for (const line of lines) {
      if (line.type === 'columns' && !line.events) this.names = line.columns.map((c) => c.name);
      else if (line.type === 'row') this.row(line.row);
      else if (line.type === 'table') line.rows.forEach((cells) => this.cells(cells));
      else if (line.type === 'error') throw new Error(line.error.message);
      else if (line.type === 'done') Object.assign(this, { cursor: line.cost.next_cursor ?? undefined, truncated: line.cost.truncated ?? false, done: true });
    }
  }

  /** Whether the server said that its answer was complete. */
  done = false;
  private names: string[] | undefined;

  private row(row: Row) {
    if (this.format === 'ndjson') return this.line(`${JSON.stringify(row)}\n`);
    this.head(this.shown);
    this.line(csvLine(cellsOf(row, this.shown)));
  }

  private cells(cells: Json[]) {
    const names = this.names ?? [];
    if (this.format === 'ndjson') return this.line(`${JSON.stringify(Object.fromEntries(names.map((name, i) => [name, cells[i] ?? null])))}\n`);
    this.head(names);
    this.line(csvLine(cells));
  }

  private head(names: string[]) {
    if (!this.headed) this.parts.push(csvLine(names));
    this.headed = true;
  }

  private line(text: string) {
    this.parts.push(text);
    this.rows += 1;
  }
}

/** Asks for page after page. `told` hears how many rows there are so far. */
export async function fetchAll(search: Search, format: Format, shown: string[], signal: AbortSignal, told: (rows: number) => void): Promise<FileText> {
  const text = new FileText(format, shown);
  do {
    text.done = false;
    const limit = Math.min(search.sql ? ROWS_MAX : PAGE, ROWS_MAX - text.rows);
    const response = await send('GET', apiUrl('/search', { ...search, limit, cursor: text.cursor }), undefined, signal);
    if (!response.body) throw new Error('the answer has no body');
    for await (const lines of readNdjson<SearchLine>(response.body)) {
      text.take(lines);
      told(text.rows);
    }
    if (!text.done) throw new Error('the answer ended before the server said it was complete; try again');
  } while (text.cursor && text.rows < ROWS_MAX);
  return text;
}
