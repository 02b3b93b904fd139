import { expect, test } from 'vitest';
import type { Source } from '../api/types';
import { formatRate, reasons, span, trouble } from './counts';

const source = { problems: { oversize_split: 2 }, misread: { 'json.depth': 5 }, refused: {}, dropped: { source_disabled: 2 } } as unknown as Source;

test('puts the most frequent reason first and sums them up', () => {
  expect(reasons(source).map((r) => `${r.kind} ${r.reason} ${r.times}`)).toEqual(['misread json.depth 5', 'problems oversize_split 2', 'dropped source_disabled 2']);
  expect(trouble(source)).toBe(9);
});

test('spans all times', () => {
  expect(span([['2026-01-02T00:00:00Z', '2026-01-03T00:00:00Z'], ['2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z']])).toEqual({ first: '2026-01-01T00:00:00Z', last: '2026-01-03T00:00:00Z' });
  expect(span([])).toEqual({ first: null, last: null });
});

test('writes a rate in the unit that says something', () => {
  expect([0, 0.05, 0.5, 2.34, 1234.5].map(formatRate)).toEqual(['0/s', '3.0/min', '30/min', '2.3/s', '1235/s']);
});
