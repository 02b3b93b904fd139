// Runs reeve-verify.wasm (built for wasm32-wasip1) on one question, in a browser or in Node, without files and without network.
// The program sees standard input and output and nothing else of its host.

const SUCCESS = 0, BAD_FILE = 8, NOT_SUPPORTED = 52;

class Exit {
  constructor(code) {
    this.code = code;
  }
}

/**
 * Asks the compiled verifier.
 * @param {WebAssembly.Module} module `await WebAssembly.compileStreaming(fetch("reeve-verify.wasm"))`
 * @param {{proof: string, raw: string, key: string, policy?: string}} question raw bytes in base64
 * @returns {{verdict: "intact"|"failed"|"unusable", proven?: object, faults?: object[], why?: string}}
 */
export function verify(module, question) {
  const input = new TextEncoder().encode(JSON.stringify(question) + "\n");
  const output = [];
  const code = run(module, ["reeve-verify", "--batch"], input, output);
  const text = new TextDecoder().decode(Uint8Array.from(output));
  if (code !== 0) throw new Error(`the verifier ended with ${code}`);
  return JSON.parse(text);
}

function run(module, words, input, output) {
  let memory, at = 0;
  const view = () => new DataView(memory.buffer);
  const bytes = (start, length) => new Uint8Array(memory.buffer, start, length);
  const put = (start, text) => bytes(start, text.length).set(text);
  const args = words.map((word) => new TextEncoder().encode(word + "\0"));
  const total = args.reduce((sum, word) => sum + word.length, 0);
  const vectors = (start, count) =>
    Array.from({ length: count }, (_, n) => bytes(view().getUint32(start + 8 * n, true), view().getUint32(start + 8 * n + 4, true)));
  const known = {
    args_sizes_get(count, size) {
      view().setUint32(count, args.length, true);
      view().setUint32(size, total, true);
      return SUCCESS;
    },
    args_get(pointers, text) {
      for (const [n, word] of args.entries()) {
        view().setUint32(pointers + 4 * n, text, true);
        put(text, word);
        text += word.length;
      }
      return SUCCESS;
    },
    environ_sizes_get(count, size) {
      view().setUint32(count, 0, true);
      view().setUint32(size, 0, true);
      return SUCCESS;
    },
    environ_get: () => SUCCESS,
    fd_read(file, start, count, read) {
      if (file !== 0) return BAD_FILE;
      let sum = 0;
      for (const target of vectors(start, count)) {
        const part = input.subarray(at, at + target.length);
        target.set(part);
        at += part.length;
        sum += part.length;
      }
      view().setUint32(read, sum, true);
      return SUCCESS;
    },
    fd_write(file, start, count, written) {
      if (file !== 1 && file !== 2) return BAD_FILE;
      let sum = 0;
      for (const source of vectors(start, count)) {
        if (file === 1) output.push(...source);
        sum += source.length;
      }
      view().setUint32(written, sum, true);
      return SUCCESS;
    },
    // Seeds the hash tables of the standard library; nothing secret depends on it.
    random_get(start, length) {
      crypto.getRandomValues(bytes(start, length));
      return SUCCESS;
    },
    // No folder is given to the program.
    fd_prestat_get: () => BAD_FILE,
    proc_exit(code) {
      throw new Exit(code);
    },
  };
  const host = new Proxy(known, { get: (calls, name) => calls[name] ?? (() => NOT_SUPPORTED), has: () => true });
  const instance = new WebAssembly.Instance(module, { wasi_snapshot_preview1: host });
  memory = instance.exports.memory;
  try {
    instance.exports._start();
  } catch (ended) {
    if (ended instanceof Exit) return ended.code;
    throw ended;
  }
  return 0;
}
