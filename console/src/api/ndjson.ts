/** Reads newline-delimited JSON as it arrives. A line that cannot be read ends the stream with an error that names it. */
export async function* readNdjson<T>(body: ReadableStream<Uint8Array>): AsyncGenerator<T[]> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  let number = 0;
  const parse = (line: string): T => {
    number += 1;
    try {
      return JSON.parse(line) as T;
    } catch {
      throw new Error(`line ${number} of the answer cannot be read: \`${line.slice(0, 80)}\``);
    }
  };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
      const lines = rest.split('\n');
      rest = done ? '' : (lines.pop() ?? '');
      const batch = lines.filter((line) => line.trim() !== '').map(parse);
      if (batch.length > 0) yield batch;
      if (done) return;
    }
  } finally {
    // Tells the server that nobody reads any more, also when the consumer stops early.
    await reader.cancel().catch(() => undefined);
  }
}
