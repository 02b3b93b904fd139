import type { Source } from '../api/types';

export interface Reason { kind: string; meaning: string; reason: string; times: number }

const KINDS = [
  ['misread', 'kept; a decoder named what is wrong'],
  ['problems', 'kept; wrong on the way in'],
  ['refused', 'not kept; the sender was told'],
  ['dropped', 'lost'],
] as const;

/** Everything that was wrong with what a source sent, most often first. */
export function reasons(source: Source): Reason[] {
  const all = KINDS.flatMap(([kind, meaning]) => Object.entries(source[kind]).map(([reason, times]) => ({ kind, meaning, reason, times })));
  return all.sort((a, b) => b.times - a.times || a.reason.localeCompare(b.reason));
}

export const trouble = (source: Source) => reasons(source).reduce((sum, r) => sum + r.times, 0);

/** The earliest and the latest of some times; times of one form sort as text. */
export function span(times: [first: string, last: string][]): { first: string | null; last: string | null } {
  const firsts = times.map(([first]) => first).sort();
  const lasts = times.map(([, last]) => last).sort();
  return { first: firsts[0] ?? null, last: lasts.at(-1) ?? null };
}

/** Records a second, or a minute where that is less than one. */
export function formatRate(perSecond: number): string {
  if (perSecond === 0) return '0/s';
  if (perSecond >= 10) return `${Math.round(perSecond)}/s`;
  if (perSecond >= 1) return `${perSecond.toFixed(1)}/s`;
  return `${(perSecond * 60).toFixed(perSecond * 60 >= 10 ? 0 : 1)}/min`;
}
