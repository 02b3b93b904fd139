import { describe, expect, test } from 'vitest';
import { addTerm, charOffset, completions, filterPart, pipeOffset, term, withPipe } from './query';

describe('conditions go before the pipes', () => {
  test.each([
    ['', 'a:"b"', false, 'a:"b"'],
    ['*', 'a:"b"', false, 'a:"b"'],
    ['ssh', 'a:"b"', false, 'ssh AND a:"b"'],
    ['ssh', 'a:"b"', true, 'ssh AND NOT a:"b"'],
    ['ssh OR ftp', 'a:"b"', false, '(ssh OR ftp) AND a:"b"'],
    ['(ssh OR ftp)', 'a:"b"', false, '(ssh OR ftp) AND a:"b"'],
    ['x:"this OR that"', 'a:"b"', false, 'x:"this OR that" AND a:"b"'],
    ['ssh | top 10 host', 'a:"b"', false, 'ssh AND a:"b" | top 10 host'],
    ['| top 10 host', 'a:"b"', false, 'a:"b" | top 10 host'],
    ['x:"a|b"', 'a:"b"', false, 'x:"a|b" AND a:"b"'],
    ['ssh AND a:"b"', 'a:"b"', false, 'ssh AND a:"b"'],
    ['ssh AND NOT a:"b"', 'a:"b"', false, 'ssh AND a:"b"'],
  ])('%s + %s (out: %s)', (q, condition, out, expected) => {
    expect(addTerm(q, condition, out)).toBe(expected);
  });
});

test('a value keeps its quotes and backslashes, a number stays a number', () => {
  expect(term('process.cmd_line', 'echo "a\\b"')).toBe('process.cmd_line:"echo \\"a\\\\b\\""');
  expect(term('http_response.code', 404)).toBe('http_response.code:404');
});

test('names the language would not take get backticks, list positions fall away', () => {
  expect(term('PATH[0].name', '/x')).toBe('PATH.name:"/x"');
  expect(term('odd name', 'x')).toBe('`odd name`:"x"');
});

test('a pipe inside quotes is no pipe', () => {
  expect(pipeOffset('a:"x | y" | head 5')).toBe(10);
  expect(filterPart('a:"x \\" | y"')).toBe('a:"x \\" | y"');
  expect(withPipe('ssh | head 5', 'top 10 host')).toBe('ssh | top 10 host');
});

test('an offset in bytes is turned into one in characters', () => {
  expect(charOffset('aé漢x', 6)).toBe(3);
  expect(charOffset('abc', 99)).toBe(3);
});

describe('completion', () => {
  const fields = [{ name: 'process.name', detail: '' }, { name: 'process.pid', detail: '' }, { name: 'file.name', detail: '' }];
  const labels = (q: string) => completions(q, q.length, fields)?.options.map((o) => o.insert);
  test('field names, those that start so first', () => expect(labels('ssh proc')).toEqual(['process.name:', 'process.pid:']));
  test('a part in the middle is found', () => expect(labels('name')).toEqual(['process.name:', 'file.name:']));
  test('verbs after a pipe', () => expect(labels('ssh | ti')).toEqual(['timechart ']));
  test('fields without a colon inside a pipe', () => expect(labels('ssh | top 10 proc')).toEqual(['process.name ', 'process.pid ']));
  test('nothing inside quotes or in a value', () => {
    expect(labels('a:"proc')).toBeUndefined();
    expect(labels('a:proc')).toBeUndefined();
  });
});
