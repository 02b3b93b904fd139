import { expect, test } from 'vitest';
import { readNdjson } from './ndjson';

function stream(chunks: Uint8Array[]): { body: ReadableStream<Uint8Array>; cancelled: () => boolean } {
  let cancelled = false;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const chunk = chunks.shift();
      if (chunk) controller.enqueue(chunk);
      else controller.close();
    },
    cancel() { cancelled = true; },
  });
  return { body, cancelled: () => cancelled };
}
const bytes = (text: string) => new TextEncoder().encode(text);
async function all(chunks: Uint8Array[]) {
  const out: unknown[] = [];
  for await (const batch of readNdjson(stream(chunks).body)) out.push(...batch);
  return out;
}

test('lines cut anywhere, also inside a character, come out whole', async () => {
  const whole = bytes('{"a":"é"}\n{"b":2}\n{"c":3}');
  for (let cut = 0; cut <= whole.length; cut++) expect(await all([whole.slice(0, cut), whole.slice(cut)])).toEqual([{ a: 'é' }, { b: 2 }, { c: 3 }]);
});

test('empty lines are nothing, a broken line is named', async () => {
  expect(await all([bytes('\n\n{"a":1}\n\n')])).toEqual([{ a: 1 }]);
  await expect(all([bytes('{"a":1}\n{"b":\n')])).rejects.toThrow('line 2 of the answer cannot be read: `{"b":`');
});

test('leaving early cancels the request', async () => {
  const { body, cancelled } = stream([bytes('{"a":1}\n'), bytes('{"a":2}\n'), bytes('{"a":3}\n')]);
  for await (const batch of readNdjson(body)) if (batch.length > 0) break;
  expect(cancelled()).toBe(true);
});
