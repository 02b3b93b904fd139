// The stand-alone verifier (crates/verify) as WebAssembly, fetched and compiled when the first badge is opened.
import { verify, type Answer, type Question } from '../../../crates/verify/wasm/verify.mjs';

export type Ask = (question: Question) => Answer;

// Built by `cargo xtask` before the console. A glob, so that a console that was built without it still builds, and says so.
const BUILT = import.meta.glob<string>('./reeve-verify.wasm', { query: '?url', import: 'default', eager: true });

let compiled: Promise<WebAssembly.Module> | undefined;

async function compile(): Promise<WebAssembly.Module> {
  const url = BUILT['./reeve-verify.wasm'];
  if (!url) throw new Error('this console was built without the verifier');
  if (typeof WebAssembly === 'undefined') throw new Error('this browser has no WebAssembly, or it is switched off');
  const response = await fetch(url, { credentials: 'same-origin' });
  if (!response.ok) throw new Error(`the verifier could not be fetched: the server answered ${response.status}`);
  return WebAssembly.compile(await response.arrayBuffer());
}

/** The verifier, ready to be asked. Throws why this browser cannot run it; then the next call tries again. */
export async function verifier(): Promise<Ask> {
  compiled ??= compile();
  try {
    const module = await compiled;
    return (question) => verify(module, question);
  } catch (cause) {
    compiled = undefined;
    throw cause;
  }
}
