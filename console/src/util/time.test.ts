import { expect, test } from 'vitest';
import { formatDuration, formatTime, niceSpan, parseTime, toIso } from './time';

const NOW = Date.parse('2026-11-20T12:00:00Z');
const read = (text: string) => { const ms = parseTime(text, NOW); return ms === undefined ? undefined : toIso(ms); };

test.each([
  ['now', '2026-11-20T12:00:00.000Z'],
  ['now-15m', '2026-11-20T11:45:00.000Z'],
  ['-2h', '2026-11-20T10:00:00.000Z'],
  ['2026-11-19', '2026-11-19T00:00:00.000Z'],
  ['2026-11-19 08:30', '2026-11-19T08:30:00.000Z'],
  ['2026-11-19T08:30:01.250+02:00', '2026-11-19T06:30:01.250Z'],
  ['2026-11-19 08:30 UTC', '2026-11-19T08:30:00.000Z'],
  ['yesterday', undefined],
  ['2026-13-40', undefined],
  ['', undefined],
])('%s reads as %s', (text, expected) => expect(read(text)).toBe(expected));

test('times print in UTC with milliseconds; what is no time prints as it is', () => {
  expect(formatTime('2026-11-20T09:41:07.118Z', 'utc')).toBe('2026-11-20 09:41:07.118');
  expect(formatTime('soon', 'utc')).toBe('soon');
});

test.each([[40, '40 ms'], [1500, '1.5 s'], [3_599_600, '60 min'], [17_986_000, '5 h'], [5_400_000, '1 h 30 min'], [129_600_000, '1.5 days']])('%d ms is %s', (ms, text) => expect(formatDuration(ms)).toBe(text));

test('a span cuts the range into at most about eighty pieces', () => {
  expect(niceSpan(5 * 3_600_000)).toBe('5m');
  expect(niceSpan(30 * 86_400_000)).toBe('1d');
});
