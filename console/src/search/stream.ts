import { useCallback, useEffect, useRef, useState } from 'react';
import { apiUrl, send } from '../api/client';
import { readNdjson } from '../api/ndjson';
import type { Range } from '../api/queries';
import type { ApiErrorBody, Cost, Progress, Row, SearchLine, TableData } from '../api/types';

export interface SearchResult {
  status: 'idle' | 'running' | 'done' | 'cancelled' | 'error';
  rows: Row[];
  table: TableData | undefined;
  progress: Progress;
  cost: Cost | undefined;
  error: ApiErrorBody | undefined;
  /** What the server wants known, such as a field that no event has. */
  notes: string[];
}

/** What is asked: in the search bar's language, or in SQL. */
export interface Search extends Range { sql?: 'true' | undefined }

const NOTHING: SearchResult = { status: 'idle', rows: [], table: undefined, progress: {}, cost: undefined, error: undefined, notes: [] };
const PAGE = 500;
const PAINT_EVERY_MS = 80;

/** Folds a batch of lines into the result. Lists are new, so that the table sees a change. */
export function fold(result: SearchResult, lines: SearchLine[]): SearchResult {
  const next = { ...result };
  const rows: Row[] = [];
  for (const line of lines) {
    if (line.type === 'row') rows.push(line.row);
    else if (line.type === 'columns' && !line.events) next.table = { columns: line.columns.map((c) => c.name), rows: [] };
    else if (line.type === 'table') next.table = { columns: next.table?.columns ?? [], rows: [...(next.table?.rows ?? []), ...line.rows] };
    else if (line.type === 'progress') next.progress = line;
    else if (line.type === 'note') next.notes = [...next.notes, line.message];
    else if (line.type === 'done') Object.assign(next, { cost: line.cost, status: 'done' });
    else if (line.type === 'error') Object.assign(next, { error: line.error, status: 'error' });
  }
  if (rows.length > 0) next.rows = [...result.rows, ...rows];
  return next;
}

/** Runs a search and keeps it: rows appear while they arrive, `cancel` stops the server too, `loadMore` goes on at the cursor. */
export function useSearchStream(range: Search | undefined) {
  const [result, setResult] = useState<SearchResult>(NOTHING);
  const [run, setRun] = useState(0);
  const abort = useRef<AbortController>(null);

  const start = useCallback(async (r: Search, base: SearchResult, cursor: string | undefined) => {
    abort.current?.abort();
    const controller = new AbortController();
    abort.current = controller;
    let current: SearchResult = { ...base, status: 'running', progress: {}, error: undefined };
    setResult(current);
    let painted = performance.now();
    try {
      const response = await send('GET', apiUrl('/search', { ...r, limit: PAGE, cursor }), undefined, controller.signal);
      if (!response.body) throw new Error('the answer has no body');
      for await (const lines of readNdjson<SearchLine>(response.body)) {
        if (controller.signal.aborted) return;
        current = fold(current, lines);
        if (performance.now() - painted > PAINT_EVERY_MS) {
          setResult(current);
          painted = performance.now();
        }
      }
      if (current.status === 'running') current = { ...current, status: 'error', error: { code: 'cut_off', message: 'the answer ended before the server said it was complete; run the search again' } };
    } catch (cause) {
      if (controller.signal.aborted) return;
      const error = cause as Partial<ApiErrorBody> & Error;
      current = { ...current, status: 'error', error: { code: error.code ?? 'failed', message: error.message, offset: error.offset ?? null } };
    }
    setResult(current);
  }, []);

  const { q, from, to, sql } = range ?? {};
  useEffect(() => {
    if (q === undefined || !from || !to) return;
    void start({ q, from, to, sql }, NOTHING, undefined);
    return () => abort.current?.abort();
  }, [q, from, to, sql, run, start]);

  const cancel = () => {
    abort.current?.abort();
    setResult((was) => ({ ...was, status: 'cancelled' }));
  };
  const loadMore = () => {
    if (range && result.cost?.next_cursor) void start(range, result, result.cost.next_cursor);
  };
  return { result, cancel, loadMore, again: () => setRun((n) => n + 1) };
}
