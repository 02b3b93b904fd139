import '../styles/search.css';
import { useEffect, useMemo } from 'react';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useQuery } from '@tanstack/react-query';
import { extentQuery, fieldsQuery, histogramQuery } from '../api/queries';
import { ColumnPicker, DEFAULT_COLUMNS } from '../search/columns';
import { FieldSidebar, TOP_VALUES } from '../search/field-sidebar';
import { BUCKETS, Histogram } from '../search/histogram';
import { QueryBar } from '../search/query-bar';
import { defaultRange, extentOf, presetRange } from '../search/range';
import { Results } from '../search/results';
import { Download } from '../search/download';
import { useSearchStream, type Search, type SearchResult } from '../search/stream';
import { TimePicker } from '../search/time-picker';
import { Segmented } from '../ui/segmented';
import { formatBytes, formatCount, plural } from '../util/format';
import type { SearchState } from '../util/paths';
import { addTerm, fieldName, filterPart, hasPipe, term, withPipe } from '../util/query';
import { formatDuration, niceSpan } from '../util/time';

const route = getRouteApi('/shell/search');

/** What SQL begins with: an answer, and a shape to change. */
const SAMPLE_SQL = 'SELECT class_uid, device_hostname, count(*) AS events FROM events GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 50';

function CostLine({ result, total, onCancel }: { result: SearchResult; total: number | undefined; onCancel: () => void }) {
  const { status, rows, table, cost, progress, notes } = result;
  if (status === 'running') {
    return (
      <p className="cost" role="status">
        <strong>{plural(rows.length, 'row')} so far</strong>
        {progress.rows_scanned ? <span className="muted">{formatCount(progress.rows_scanned)} rows scanned</span> : null}
        <button type="button" className="button small danger" onClick={onCancel}>Cancel</button>
      </p>
    );
  }
  if (!cost) return <p className="cost" role="status">{status === 'cancelled' ? <strong>Cancelled, {plural(rows.length, 'row')} kept</strong> : null}</p>;
  return (
    <p className="cost" role="status">
      <strong>{table ? plural(table.rows.length, 'row') : plural(cost.matched ?? total ?? rows.length, 'event')}</strong>
      {cost.truncated && !table ? <span className="chip">first {formatCount(rows.length)} shown, more below</span> : null}
      {cost.truncated && table ? <span className="chip">cut short by the server; narrow the query</span> : null}
      {notes.map((note) => <span key={note} className="chip">{note}</span>)}
      <span className="muted">
        scanned {plural(cost.rows_scanned ?? 0, 'row')}{cost.bytes_scanned === undefined ? '' : `, ${formatBytes(cost.bytes_scanned)}`}{cost.files === undefined ? '' : `, ${plural(cost.files, 'file')}`}{cost.files_pruned ? ` (${formatCount(cost.files_pruned)} skipped)` : ''} in {formatDuration(cost.elapsed_ms ?? 0)}
      </span>
    </p>
  );
}

export function SearchPage() {
  const state = route.useSearch();
  const navigate = useNavigate();
  const all = useQuery(extentQuery());
  const extent = useMemo(() => extentOf(all.data), [all.data]);
  const q = state.q ?? '';
  const { from, to } = state;
  const isSql = state.sql === 'true';
  const columns = state.cols ? state.cols.split(',') : DEFAULT_COLUMNS;

  const go = (change: SearchState, replace = false) => void navigate({ to: '/search', search: { ...state, ...change }, replace });

  // An address without a time gets one at once, so that it can be handed on.
  const waiting = !from || !to;
  useEffect(() => {
    if (waiting && !all.isPending) go(defaultRange(Date.now(), extent), true);
  });

  const range = useMemo((): Search | undefined => (from && to ? { q, from, to, ...(isSql ? { sql: 'true' as const } : {}) } : undefined), [q, from, to, isSql]);
  const { result, cancel, loadMore, again } = useSearchStream(range);
  // SQL says itself what it looks at: around it stands what the time range holds.
  const base = useMemo(() => (from && to ? { q: isSql ? '' : filterPart(q), from, to } : undefined), [q, from, to, isSql]);
  const fields = useQuery({ ...fieldsQuery(base ?? { q: '', from: '', to: '' }, TOP_VALUES), enabled: base !== undefined });
  const counts = useQuery({ ...histogramQuery(base ?? { q: '', from: '', to: '' }, BUCKETS), enabled: base !== undefined });
  const total = counts.data?.buckets.reduce((sum, b) => sum + b.count, 0);
  const names = useMemo(() => (fields.data?.fields ?? []).map((f) => ({ name: f.name, detail: f.distinct === undefined ? (f.kind ?? '') : plural(f.distinct, 'value') })), [fields.data]);

  // Conditions are put into the search bar's language; SQL gives way to it.
  const plain = isSql ? '' : q;
  const filter = (name: string, value: string | number | boolean, out: boolean) => go({ q: addTerm(plain, term(name, value), out), sql: '' });
  const pipe = (verb: 'top' | 'rare' | 'timechart', name: string) => go({ sql: '', q: withPipe(plain, verb === 'timechart' ? `timechart span=${niceSpan(Date.parse(to ?? '') - Date.parse(from ?? ''))} by ${fieldName(name)}` : `${verb} 10 ${fieldName(name)}`) });

  return (
    <div className="search-page">
      <h1 className="visually-hidden">Search</h1>
      <div className="search-head">
        <QueryBar key={isSql ? 'sql' : 'bar'} sql={isSql} value={q} fields={names} error={result.error} onSubmit={(text) => (text === q ? again() : go({ q: text }))} />
        <Segmented label="Language" value={isSql ? 'sql' : 'bar'} options={[['bar', 'Query'], ['sql', 'SQL']]} onChange={(language) => { if ((language === 'sql') !== isSql) go(language === 'sql' ? { q: SAMPLE_SQL, sql: 'true' } : { q: '', sql: '' }); }} />
        {from && to ? <TimePicker from={from} to={to} extent={extent} onChange={go} /> : null}
      </div>
      <div className="search-line">
        <CostLine result={result} total={counts.isPlaceholderData ? undefined : total} onCancel={cancel} />
        <span className="line">
          {range && result.status === 'done' ? <Download search={range} columns={columns} /> : null}
          {isSql ? null : hasPipe(q) ? <button type="button" className="button small" onClick={() => go({ q: filterPart(q) })}>Back to the events</button> : <ColumnPicker chosen={columns} fields={(fields.data?.fields ?? []).filter((f) => f.kind !== 'native').map((f) => f.name)} onChange={(list) => go({ cols: list.join() === DEFAULT_COLUMNS.join() ? '' : list.join() }, true)} />}
        </span>
      </div>
      <div className={`bar-loading${result.status === 'running' ? ' on' : ''}`} />
      {base ? <Histogram range={base} onNarrow={go} /> : <div className="histogram" />}
      {base ? <FieldSidebar range={base} onFilter={filter} onPipe={pipe} /> : <aside className="sidebar" aria-label="Fields" />}
      <section className="results" aria-label="Results">
        <Results result={result} total={total} columns={columns} onFilter={filter} onLoadMore={loadMore} onWiden={() => go(presetRange('all', Date.now(), extent))} onRetry={again} />
      </section>
    </div>
  );
}
