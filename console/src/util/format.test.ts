import { expect, test } from 'vitest';
import { flatten, formatBytes, formatPercent } from './format';
import { decodeBase64, hexLines } from './hex';

test('nested JSON becomes dotted names, lists of scalars stay one value', () => {
  expect(flatten({ a: { b: 1 }, argv: ['x', 'y'], PATH: [{ name: '/x' }], none: null })).toEqual([['a.b', 1], ['argv', ['x', 'y']], ['PATH[0].name', '/x'], ['none', null]]);
});

test('bytes and shares', () => {
  expect(formatBytes(48_211_904)).toBe('48.2 MB');
  expect(formatPercent(1, 1000)).toBe('<1 %');
  expect(formatPercent(0, 0)).toBe('0 %');
});

test('a hex line shows offset, bytes and printable text', () => {
  const [line, second] = hexLines(decodeBase64('AAFBQkNERUZHSElKS0xNTk8='), 64);
  expect(line).toEqual({ offset: '00000000', hex: '00 01 41 42 43 44 45 46  47 48 49 4a 4b 4c 4d 4e', text: '··ABCDEFGHIJKLMN' });
  expect(second?.text).toBe('O');
});
