import type { TableData } from '../api/types';
import type { ChartSeries } from '../ui/chart-data';
import { showValue } from '../util/format';

const PALETTE = ['var(--sev-1)', 'var(--sev-2)', 'var(--sev-3)', 'var(--sev-4)', 'var(--sev-6)', 'var(--sev-5)', 'var(--good)', 'var(--sev-0)'];
const MANY = PALETTE.length;

export interface TimeSeries { times: number[]; widthMs: number; series: ChartSeries[] }

/** Reads a table as series over time: long (`time, host, count`) and wide (`time, web1, db1`) shapes alike. Nothing if its first column is no time. */
export function timeSeries({ columns, rows }: TableData): TimeSeries | undefined {
  const at = columns.findIndex((_, i) => rows.length > 0 && rows.every((r) => typeof r[i] === 'string' && !Number.isNaN(Date.parse(r[i])) && /^\d{4}-/.test(r[i])));
  if (at < 0) return undefined;
  const others = columns.map((_, i) => i).filter((i) => i !== at);
  const numbers = others.filter((i) => rows.every((r) => typeof r[i] === 'number' || r[i] === null));
  const texts = others.filter((i) => !numbers.includes(i));
  if (numbers.length === 0) return undefined;

  const stamps = [...new Set(rows.map((r) => Date.parse(String(r[at]))))].sort((a, b) => a - b);
  if (stamps.length < 2) return undefined;
  const widthMs = stamps.slice(1).reduce((least, t, i) => Math.min(least, t - (stamps[i] ?? 0)), Infinity);
  const first = stamps[0] ?? 0;
  const length = Math.round(((stamps[stamps.length - 1] ?? 0) - first) / widthMs) + 1;
  // Bars that have no rows are zero, not missing; absurdly many mean the table is no regular series.
  if (length > 5000) return undefined;
  const times = Array.from({ length }, (_, i) => first + i * widthMs);

  const found = new Map<string, number[]>();
  for (const row of rows) {
    const index = Math.round((Date.parse(String(row[at])) - first) / widthMs);
    for (const n of texts.length > 0 ? numbers.slice(-1) : numbers) {
      const label = texts.length > 0 ? texts.map((t) => showValue(row[t]) || '(none)').join(' · ') : (columns[n] ?? '');
      const values = found.get(label) ?? new Array<number>(length).fill(0);
      values[index] = (values[index] ?? 0) + Number(row[n] ?? 0);
      found.set(label, values);
    }
  }
  const sum = (list: number[]) => list.reduce((a, b) => a + b, 0);
  const sorted = [...found].sort((a, b) => sum(b[1]) - sum(a[1]));
  const kept = sorted.slice(0, sorted.length > MANY ? MANY - 1 : MANY);
  const rest = sorted.slice(kept.length);
  if (rest.length > 0) kept.push([`${rest.length} others`, times.map((_, i) => sum(rest.map(([, v]) => v[i] ?? 0)))]);
  return { times, widthMs, series: kept.map(([label, values], i) => ({ label, values, color: PALETTE[i % MANY] ?? 'var(--sev-0)' })) };
}
