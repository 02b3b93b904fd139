import { useMemo } from 'react';
import { Link } from '@tanstack/react-router';
import type { Row } from '../api/types';
import { Grid } from '../table/grid';
import { EventFaces, type OnFilter } from '../ui/faces';
import { Empty, Failure, Loading } from '../ui/notice';
import { formatCount, plural } from '../util/format';
import { paths } from '../util/paths';
import { term } from '../util/query';
import { toIso } from '../util/time';
import type { SearchResult } from './stream';
import { resultColumns } from './columns';
import { StatsTable } from './stats-table';

interface Props {
  result: SearchResult;
  /** Events that match in all, once they are counted. */
  total: number | undefined;
  columns: string[];
  onFilter: OnFilter;
  onLoadMore: () => void;
  onWiden: () => void;
  onRetry: () => void;
}

const rowId = (row: Row) => `${row.record}/${row.part}`;

function More({ result, total, onLoadMore }: Pick<Props, 'result' | 'total' | 'onLoadMore'>) {
  const { cost, rows, status } = result;
  if (status === 'running') return <span className="muted">Reading…</span>;
  if (status === 'cancelled') return <span className="muted">Cancelled after {plural(rows.length, 'row')}. What was found so far stays.</span>;
  if (!cost?.truncated && !cost?.next_cursor) return <span className="muted">End of the results: {plural(rows.length, 'row')}.</span>;
  return (
    <span className="line more">
      <span>{formatCount(rows.length)} {(cost.matched ?? total) ? `of ${formatCount(cost.matched ?? total)} ` : ''}rows shown.</span>
      {cost.next_cursor ? <button type="button" className="button small" onClick={onLoadMore}>Load more</button> : <span className="muted">The server stopped here; narrow the time or the query to see the rest.</span>}
    </span>
  );
}

const AROUND_MS = 60_000;

function RowLinks({ row }: { row: Row }) {
  const at = Date.parse(row.time);
  const around = paths.search({ q: row.host ? term('device.hostname', row.host) : '', from: toIso(at - AROUND_MS), to: toIso(at + AROUND_MS) });
  return (
    <span className="line">
      <Link {...around} className="button small" title={`A minute before and after${row.host ? ` on ${row.host}` : ''}`}>Events around it</Link>
      <Link {...paths.record(row.record, row.part)} className="button small">Open record {row.record}</Link>
    </span>
  );
}

export function Results({ result, total, columns, onFilter, onLoadMore, onWiden, onRetry }: Props) {
  const defs = useMemo(() => resultColumns(columns), [columns]);
  if (result.table && (result.table.rows.length > 0 || result.status === 'done')) return <StatsTable data={result.table} />;
  if (result.rows.length > 0) {
    return (
      <Grid
        label="Search results"
        rows={result.rows}
        columns={defs}
        rowId={rowId}
        detail={(row) => <EventFaces record={row.record} part={row.part} fields={row.fields} onFilter={onFilter} end={<RowLinks row={row} />} />}
        footer={<More result={result} total={total} onLoadMore={onLoadMore} />}
      />
    );
  }
  if (result.status === 'error' && typeof result.error?.offset !== 'number') return <Failure error={new Error(result.error?.message)} retry={onRetry} />;
  if (result.status === 'error') return <Empty title="The query cannot be read">The place is marked in the search bar. Press <kbd>/</kbd> to go there.</Empty>;
  if (result.status === 'cancelled') return <Empty title="Cancelled" action={<button type="button" className="button" onClick={onRetry}>Run again</button>}>The search was stopped before it found anything.</Empty>;
  if (result.status === 'done') return <Empty title="No events match" action={<button type="button" className="button" onClick={onWiden}>Search all events in time</button>}>Nothing in this time range fits the query. Widen the time, or take a condition out.</Empty>;
  return <Loading what="Searching" />;
}
