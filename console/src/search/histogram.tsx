import { useMemo } from 'react';
import { useQuery } from '@tanstack/react-query';
import { ApiError } from '../api/client';
import { histogramQuery, type Range } from '../api/queries';
import { Chart } from '../ui/chart';
import type { ChartSeries } from '../ui/chart-data';
import { SEVERITIES, formatCount } from '../util/format';
import { formatDuration, toIso } from '../util/time';

export const BUCKETS = 120;

interface Props { range: Range; onNarrow: (range: { from: string; to: string }) => void }

/** Events over time by severity; dragging narrows the search. */
export function Histogram({ range, onNarrow }: Props) {
  const { data, error, isFetching } = useQuery(histogramQuery(range, BUCKETS));
  const { times, series, total, busy } = useMemo(() => {
    const buckets = data?.buckets ?? [];
    const found = [...new Set(buckets.flatMap((b) => Object.keys(b.by_severity ?? {})))].map(Number).sort((a, b) => a - b);
    const list: ChartSeries[] = found.length === 0
      ? [{ label: 'Events', color: 'var(--sev-1)', values: buckets.map((b) => b.count) }]
      : found.map((id) => ({ label: SEVERITIES[id] ?? `Severity ${id}`, color: `var(--sev-${id > 6 ? 0 : id})`, values: buckets.map((b) => b.by_severity?.[id] ?? 0) }));
    return { times: buckets.map((b) => Date.parse(b.at)), series: list, total: buckets.reduce((sum, b) => sum + b.count, 0), busy: buckets.filter((b) => b.count > 0) };
  }, [data]);

  if (error || !data) return <div className="histogram empty">{error ? <span className="muted">{error instanceof ApiError && error.status !== 400 ? `The histogram could not be read: ${error.message}` : 'The histogram appears once the query can be read.'}</span> : null}</div>;
  const first = busy[0];
  const last = busy[busy.length - 1];
  const width = data.bucket_ms;
  // Everything in a sliver of the range: offer to look at that sliver.
  const sparse = first && last && (Date.parse(last.at) - Date.parse(first.at) + width) * 3 < Date.parse(range.to) - Date.parse(range.from);
  return (
    <div className={`histogram${isFetching ? ' busy' : ''}`}>
      <Chart label={`${formatCount(total)} events in ${data.buckets.length} buckets of ${formatDuration(width)}`} times={times} widthMs={width} series={series} height={104} onSelect={(a, b) => onNarrow({ from: toIso(a), to: toIso(b) })} />
      <span className="bucket-width muted">{formatDuration(width)} a bar</span>
      {sparse ? <button type="button" className="button small zoom" onClick={() => onNarrow({ from: toIso(Date.parse(first.at)), to: toIso(Date.parse(last.at) + width) })}>Zoom to the events</button> : null}
    </div>
  );
}
