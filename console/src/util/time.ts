// Times: parsing what people type, printing with the chosen zone. Everything kept in state or URL is absolute RFC 3339 in UTC.
export type Zone = 'utc' | 'local';

const UNITS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** Reads `now`, `now-15m`, `-2h`, a date, or a date with time (UTC unless it says otherwise); gives milliseconds or nothing. */
export function parseTime(text: string, now: number): number | undefined {
  const trimmed = text.trim();
  const relative = /^(?:now)?\s*(?:([+-])\s*(\d+)\s*([smhdw]))?$/.exec(trimmed);
  if (relative && trimmed !== '') return relative[1] ? now + (relative[1] === '-' ? -1 : 1) * Number(relative[2]) * (UNITS[relative[3] ?? 's'] ?? 0) : now;
  const absolute = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2}(?:\.\d+)?)?)?\s*(Z|UTC|[+-]\d{2}:?\d{2})?$/i.exec(trimmed);
  if (!absolute) return undefined;
  const [, day, minutes = '00:00', seconds = ':00', zone = 'Z'] = absolute;
  const value = Date.parse(`${day}T${minutes}${seconds}${/utc/i.test(zone) ? 'Z' : zone}`);
  return Number.isNaN(value) ? undefined : value;
}

export const toIso = (ms: number) => new Date(ms).toISOString();

const pad = (n: number, width = 2) => String(n).padStart(width, '0');

interface Parts { date: string; time: string; ms: string }

function parts(value: string | number, zone: Zone): Parts | undefined {
  const at = new Date(value);
  if (Number.isNaN(at.getTime())) return undefined;
  const utc = zone === 'utc';
  const [year, month, day] = utc ? [at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate()] : [at.getFullYear(), at.getMonth(), at.getDate()];
  const [h, m, s] = utc ? [at.getUTCHours(), at.getUTCMinutes(), at.getUTCSeconds()] : [at.getHours(), at.getMinutes(), at.getSeconds()];
  return { date: `${year}-${pad(month + 1)}-${pad(day)}`, time: `${pad(h)}:${pad(m)}:${pad(s)}`, ms: pad(at.getMilliseconds(), 3) };
}

/** `UTC`, or the local offset at that moment, as in `+02:00`. */
export function zoneName(value: string | number, zone: Zone): string {
  if (zone === 'utc') return 'UTC';
  const minutes = -new Date(value).getTimezoneOffset();
  return `${minutes < 0 ? '-' : '+'}${pad(Math.floor(Math.abs(minutes) / 60))}:${pad(Math.abs(minutes) % 60)}`;
}

export function formatTime(value: string | number | null | undefined, zone: Zone, style: 'full' | 'seconds' | 'clock' = 'full'): string {
  if (value === null || value === undefined || value === '') return '–';
  const p = parts(value, zone);
  if (!p) return String(value);
  if (style === 'clock') return `${p.time}.${p.ms}`;
  return style === 'full' ? `${p.date} ${p.time}.${p.ms}` : `${p.date} ${p.time}`;
}

export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${+(ms / 1000).toFixed(1)} s`;
  const two = (unit: number, big: string, small: string) => {
    const count = Math.round(ms / unit);
    const rest = count % 60;
    return `${Math.floor(count / 60)} ${big}${rest > 0 ? ` ${rest} ${small}` : ''}`;
  };
  if (ms < 3_600_000) return two(1000, 'min', 's');
  if (ms < 86_400_000) return two(60_000, 'h', 'min');
  return `${+(ms / 86_400_000).toFixed(1)} days`;
}

/** A round span that cuts a range into about sixty pieces, as the `timechart` pipe writes it. */
export function niceSpan(ms: number): string {
  const spans: [number, string][] = [[1000, '1s'], [5000, '5s'], [15_000, '15s'], [60_000, '1m'], [300_000, '5m'], [900_000, '15m'], [3_600_000, '1h'], [14_400_000, '4h'], [86_400_000, '1d']];
  return (spans.find(([width]) => ms / width <= 80) ?? spans[spans.length - 1])?.[1] ?? '1d';
}
