// The check behind the badge: what the server sends of a record (proof, raw bytes), judged in this browser by the stand-alone verifier
// under the key that this browser keeps. Only where the browser cannot is the server asked for its own word, and then it says so.
import { ApiError } from '../api/client';
import { proofText, rawBytes, serverKey, verify } from '../api/queries';
import type { Verification } from '../api/types';
import { formatCount } from '../util/format';
import { encodeBase64 } from '../util/hex';
import { keyId, logKey, setLogKey, type LogKey } from './log-key';
import { verifier, type Ask } from './verifier';
import type { Answer, Proven } from '../../../crates/verify/wasm/verify.mjs';

export interface Check extends Verification {
  /** Who checked: this browser, or the server itself. */
  where: 'browser' | 'server';
  /** Why it failed in this browser. */
  reason?: string;
  /** Why this browser could not check. */
  unable?: string;
  /** The key that the server names now, if it is not the one that was kept. */
  otherKey?: string;
}

/** What the server sends of a record. */
export interface Given { proof: string; raw: Uint8Array; key: string }

const step = (name: string, detail: string, ok = true) => ({ name, ok, detail });
const said = (cause: unknown) => (cause instanceof Error ? cause.message : String(cause));

function asked(ask: Ask, { proof, raw }: Given, key: string): Answer {
  try {
    return ask({ proof, raw: encodeBase64(raw), key });
  } catch (cause) {
    // Any bytes should give a verdict. Where they do not, nothing was shown, and that is no reason to believe the server instead.
    return { verdict: 'unusable', why: `the verifier did not come to its end: ${said(cause)}` };
  }
}

function whoseKey(key: string, kept: LogKey | undefined) {
  if (!kept) return step('by the key that the server gave just now', `${keyId(key)}: first use in this browser, kept from now on`);
  const how = kept.from === 'person' ? 'given by hand' : 'from the server, on first use';
  return step('by the key kept in this browser', `${keyId(key)}, kept since ${kept.since}, ${how}`);
}

const held = (proven: Proven) => [
  step('bytes match the leaf', `${formatCount(proven.raw_bytes)} bytes from ${proven.source}, received ${proven.received}`),
  step('leaf is in its batch', `record ${proven.record}, sealed ${proven.sealed}`),
  step('batch is in the main log', `${formatCount(proven.entries)} entries under the checkpoint`),
  step('checkpoint is signed', `${proven.origin}, ${proven.signed}`),
];

/** Why an answer is not what `record` needs; nothing if it is. */
function refusal(record: string, answer: Answer): string | undefined {
  if (answer.verdict === 'failed') return answer.faults.map((fault) => fault.what).join('; ');
  if (answer.verdict === 'unusable') return answer.why;
  return answer.proven.record === record ? undefined : `proof and bytes are those of record ${answer.proven.record}, not of this one`;
}

/** Judges what the server sent of `record`, under the kept key; where none is kept, under the key that the server names. */
export function judge(record: string, given: Given, kept: LogKey | undefined, ask: Ask): Check {
  const key = kept?.key ?? given.key;
  const answer = asked(ask, given, key);
  const otherKey = given.key === key ? {} : { otherKey: given.key };
  const common = { where: 'browser' as const, checked_at: new Date().toISOString(), ...otherKey };
  const why = refusal(record, answer);
  if (why === undefined && answer.verdict === 'intact') return { ...common, state: 'verified', steps: [...held(answer.proven), whoseKey(key, kept)] };
  const underOther = otherKey.otherKey && refusal(record, asked(ask, given, otherKey.otherKey)) === undefined;
  const reason = underOther ? `the log is signed with another key (${keyId(given.key)}) than the one kept in this browser (${keyId(key)})` : (why ?? '');
  return { ...common, state: 'failed', reason, steps: [step('proof, bytes and key fit together', reason, false)] };
}

async function byServer(record: string, unable?: string): Promise<Check> {
  return { ...(await verify(record)), where: 'server', ...(unable ? { unable } : {}) };
}

/** The proof first: a record that has none yet is not read for nothing, and each read is recorded. */
async function material(record: string): Promise<Given> {
  const proof = await proofText(record);
  const [raw, key] = await Promise.all([rawBytes(record), serverKey()]);
  return { proof, raw, key };
}

/** Checks a record. The first key under which one verifies is kept. */
export async function check(record: string): Promise<Check> {
  let ask: Ask;
  let given: Given;
  try {
    ask = await verifier();
  } catch (cause) {
    return byServer(record, said(cause));
  }
  try {
    given = await material(record);
  } catch (cause) {
    if (!(cause instanceof ApiError) || cause.status === 0 || cause.status === 401) throw cause;
    return byServer(record, cause.code === 'pending' ? undefined : `the server did not send what it takes: ${cause.message}`);
  }
  const kept = logKey();
  const result = judge(record, given, kept, ask);
  if (!kept && result.state === 'verified') setLogKey({ key: given.key, since: result.checked_at, from: 'server' });
  return result;
}

/** Why a key cannot be kept, as a sentence; nothing if it can. */
export async function keyFault(key: string): Promise<string | undefined> {
  try {
    const answer = (await verifier())({ proof: '', raw: '', key });
    return answer.verdict === 'unusable' ? `This is no key: ${answer.why}.` : undefined;
  } catch (cause) {
    return `It cannot be used here: ${said(cause)}.`;
  }
}
