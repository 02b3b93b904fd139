export interface ChartSeries { label: string; color: string; values: number[] }

/** Sums from the bottom up; drawn largest first, each series covers the part that is not its own. */
export function stack(series: ChartSeries[]): number[][] {
  let below: number[] = [];
  return series.map((s) => (below = s.values.map((v, i) => v + (below[i] ?? 0))));
}
