import type { Histogram } from '../api/types';
import { toIso } from '../util/time';

export interface Preset { label: string; ms: number | 'all' }

export const PRESETS: Preset[] = [
  { label: 'Last 15 minutes', ms: 900_000 },
  { label: 'Last hour', ms: 3_600_000 },
  { label: 'Last 6 hours', ms: 21_600_000 },
  { label: 'Last 24 hours', ms: 86_400_000 },
  { label: 'Last 7 days', ms: 604_800_000 },
  { label: 'Last 30 days', ms: 2_592_000_000 },
  { label: 'Last year', ms: 31_536_000_000 },
  { label: 'All events', ms: 'all' },
];

export interface Extent { first: number; last: number }

/** From when to when there are events at all: what a histogram without bounds spans. */
export function extentOf(all: Histogram | undefined): Extent | undefined {
  if (!all || all.buckets.every((b) => b.count === 0)) return undefined;
  const [first, last] = [Date.parse(all.from), Date.parse(all.to)];
  return Number.isNaN(first) || Number.isNaN(last) ? undefined : { first, last };
}

/** Absolute bounds of a preset. The end is exclusive, so the last millisecond is taken in. */
export function presetRange(preset: Preset['ms'], now: number, extent: Extent | undefined): { from: string; to: string } {
  if (preset !== 'all') return { from: toIso(now - preset), to: toIso(now) };
  if (!extent) return { from: '2000-01-01T00:00:00.000Z', to: toIso(now + 86_400_000) };
  const from = Math.floor(extent.first / 1000) * 1000;
  return { from: toIso(from), to: toIso(Math.max(from + 1000, Math.floor(extent.last / 1000) * 1000 + 1000)) };
}

const DAY = 86_400_000;

/** Where a search starts when nobody chose a time: the last 24 hours, or the last day that has events at all. */
export function defaultRange(now: number, extent: Extent | undefined): { from: string; to: string } {
  if (!extent || extent.last > now - DAY / 2) return presetRange(DAY, now, extent);
  if (extent.last - extent.first <= 2 * DAY) return presetRange('all', now, extent);
  const end = Math.floor(extent.last / 1000) * 1000 + 1000;
  return { from: toIso(end - DAY), to: toIso(end) };
}
