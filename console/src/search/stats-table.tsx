import { useMemo } from 'react';
import type { Json, TableData } from '../api/types';
import { Chart } from '../ui/chart';
import { Empty } from '../ui/notice';
import { Time } from '../ui/marks';
import { formatCount, plural, showValue } from '../util/format';
import { timeSeries } from './time-series';

const TIME = /^\d{4}-\d{2}-\d{2}T/;

function Cell({ value }: { value: Json }) {
  if (typeof value === 'number') return <>{formatCount(value)}</>;
  if (typeof value === 'string' && TIME.test(value)) return <Time value={value} style="seconds" />;
  return <>{value === null ? <span className="muted">(none)</span> : showValue(value)}</>;
}

/** The answer of a piped query. Counts over time are drawn as well. */
export function StatsTable({ data }: { data: TableData }) {
  const plotted = useMemo(() => timeSeries(data), [data]);
  if (data.rows.length === 0) return <Empty title="The table is empty">No events reached the pipe; look at the query before the first |.</Empty>;
  const numeric = data.columns.map((_, i) => data.rows.every((r) => typeof r[i] === 'number' || r[i] === null));
  const last = data.columns.length - 1;
  const max = numeric[last] ? Math.max(...data.rows.map((r) => Number(r[last] ?? 0))) : 0;
  return (
    <div className="stats" tabIndex={0} role="region" aria-label="Table of results">
      {plotted ? <Chart label={`${plotted.series.length} series over time`} times={plotted.times} widthMs={plotted.widthMs} series={plotted.series} height={240} /> : null}
      <table className="plain-table">
        <caption className="muted">{plural(data.rows.length, 'row')}</caption>
        <thead><tr>{data.columns.map((c, i) => <th key={`${c}${i}`} scope="col" className={numeric[i] ? 'number' : ''}>{c}</th>)}{max > 0 ? <th aria-hidden="true" className="share-column" /> : null}</tr></thead>
        <tbody>
          {data.rows.map((row, r) => (
            <tr key={r}>
              {row.map((value, i) => <td key={i} className={numeric[i] ? 'number' : 'mono'}><Cell value={value} /></td>)}
              {max > 0 ? <td className="share-column" aria-hidden="true"><span style={{ width: `${(100 * Number(row[last] ?? 0)) / max}%` }} /></td> : null}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
