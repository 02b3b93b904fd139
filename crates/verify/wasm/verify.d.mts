// What verify.mjs gives, for TypeScript.

/** One question: is this the record that the proof speaks of? The members are those of `Question` in src/request.rs. */
export interface Question {
  /** Text of the record's `.tlog-proof`. */
  proof: string;
  /** The record's bytes, in base64. */
  raw: string;
  /** The verifier key that is trusted. */
  key: string;
  /** Text of a policy that has to be met. */
  policy?: string;
}

/** What an intact proof establishes; as `Proven` in src/proof.rs. */
export interface Proven {
  record: string;
  source: string;
  sequence: number;
  received: string;
  transport: string;
  grade: string;
  raw_bytes: number;
  policy: string;
  sealed: string;
  origin: string;
  entries: number;
  signed: string;
}

export type Answer =
  | { verdict: 'intact'; proven: Proven }
  | { verdict: 'failed'; faults: { code: string; where: string; what: string }[] }
  | { verdict: 'unusable'; why: string };

/** Asks the compiled verifier. Throws if it does not come to its end. */
export function verify(module: WebAssembly.Module, question: Question): Answer;
