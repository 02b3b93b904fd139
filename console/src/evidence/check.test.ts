import { existsSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { verify, type Answer } from '../../../crates/verify/wasm/verify.mjs';
import { CHECKPOINT, KEY, proof, rawBytes } from '../../mock-api/ledger.mjs';
import { EVENTS, OPEN_SEGMENT, TAMPERED } from '../../mock-api/scenario.mjs';
import { judge, type Given } from './check';
import type { LogKey } from './log-key';
import type { Ask } from './verifier';

const here = (path: string) => new URL(path, import.meta.url);
const BUILT = here('./reeve-verify.wasm');
const FROZEN = here('../../../cases/ledger/format-1/');
const text = (path: string) => readFileSync(new URL(path, FROZEN), 'utf8');

/** A proof that Reeve wrote, with its bytes and key: the frozen ledger's. */
const frozen = (): Given => ({ proof: text('0-3.tlog-proof'), raw: new Uint8Array(readFileSync(new URL('0-3.raw', FROZEN))), key: text('ledger/keys/checkpoint.vkey').trim() });
const standIn = (record: string): Given => ({ proof: proof(record), raw: rawBytes(EVENTS.find((e) => e.record === record)), key: KEY });
const kept = (key: string, from: LogKey['from'] = 'server'): LogKey => ({ key, since: '2026-11-20T08:00:00Z', from });

// `npm test` alone may come before it was built.
if (!existsSync(BUILT)) console.warn('skipped: src/evidence/reeve-verify.wasm is not built; `cargo xtask console` builds it');

describe.skipIf(!existsSync(BUILT))('a record, by the compiled verifier', () => {
  let ask: Ask;
  beforeAll(async () => {
    const module = await WebAssembly.compile(readFileSync(BUILT));
    ask = (question) => verify(module, question);
  });

  it('is verified under the kept key, and each step says what it rests on', () => {
    const check = judge('0-3', frozen(), kept(frozen().key), ask);
    expect(check).toMatchObject({ state: 'verified', where: 'browser' });
    expect(check.otherKey).toBeUndefined();
    expect(check.steps.map((step) => [step.name, step.ok])).toEqual([
      ['bytes match the leaf', true], ['leaf is in its batch', true], ['batch is in the main log', true], ['checkpoint is signed', true], ['by the key kept in this browser', true],
    ]);
    expect(check.steps.at(0)?.detail).toBe('56 bytes from web1, received 2026-11-22T01:59:41.573436Z');
    expect(check.steps.at(-1)?.detail).toBe('be73b780, kept since 2026-11-20T08:00:00Z, from the server, on first use');
  });

  it('is verified on first use, and that is said', () => {
    const check = judge('0-3', frozen(), undefined, ask);
    expect(check.state).toBe('verified');
    expect(check.steps.at(-1)).toMatchObject({ name: 'by the key that the server gave just now', detail: 'be73b780: first use in this browser, kept from now on' });
  });

  it.each([0, 17, 55])('fails with byte %i changed', (at) => {
    const given = frozen();
    given.raw[at] = (given.raw[at] ?? 0) ^ 1;
    expect(judge('0-3', given, kept(given.key), ask)).toMatchObject({ state: 'failed', where: 'browser', reason: 'the bytes are not those of record 0-3' });
  });

  it('fails with a byte more, a byte less, and none', () => {
    const given = frozen();
    for (const raw of [new Uint8Array([...given.raw, 10]), given.raw.slice(0, -1), new Uint8Array()]) {
      expect(judge('0-3', { ...given, raw }, kept(given.key), ask)).toMatchObject({ state: 'failed', reason: 'the bytes are not those of record 0-3' });
    }
  });

  it('fails with the true proof and bytes of another record', () => {
    const check = judge('1-7', standIn('1-6'), kept(KEY), ask);
    expect(check).toMatchObject({ state: 'failed', reason: 'proof and bytes are those of record 1-6, not of this one' });
    expect(judge('1-7', { ...standIn('1-7'), proof: proof('1-6') }, kept(KEY), ask)).toMatchObject({ state: 'failed', reason: 'the bytes are not those of record 1-6' });
  });

  it('fails when the server signs with another key than the kept one, and names both', () => {
    const check = judge('0-3', frozen(), kept(KEY), ask);
    expect(check).toMatchObject({ state: 'failed', otherKey: frozen().key, reason: 'the log is signed with another key (be73b780) than the one kept in this browser (9d2ebb8a)' });
  });

  it('holds under the kept key whatever key the server names, but says that it names another', () => {
    const check = judge('0-3', { ...frozen(), key: KEY }, kept(frozen().key, 'person'), ask);
    expect(check).toMatchObject({ state: 'verified', otherKey: KEY });
    expect(check.steps.at(-1)?.detail).toContain('given by hand');
  });

  it('fails with a proof that was altered anywhere, or is none', () => {
    const given = frozen();
    for (let at = 0; at < given.proof.length; at += 97) {
      const proof = given.proof.slice(0, at) + (given.proof[at] === 'A' ? 'B' : 'A') + given.proof.slice(at + 1);
      if (proof !== given.proof) expect(judge('0-3', { ...given, proof }, kept(given.key), ask).state, `character ${at}`).toBe('failed');
    }
    for (const proof of ['', 'proof', '<!doctype html>']) expect(judge('0-3', { ...given, proof }, kept(given.key), ask)).toMatchObject({ state: 'failed', reason: 'it is not in the form of docs/spec/record.md' });
  });

  it('fails when the server names something that is no key', () => {
    expect(judge('0-3', { ...frozen(), key: '<!doctype html>' }, undefined, ask)).toMatchObject({ state: 'failed', reason: 'a verifier key is `name+id+key`' });
  });

  it('holds for the stand-in, which seals as the specification says, but for the record it damages', () => {
    const sealed = EVENTS.filter((e) => Number(e.record.split('-')[0]) < OPEN_SEGMENT);
    const some = sealed.filter((e, i) => i % 171 === 0 || e.record === TAMPERED);
    for (const event of some) expect(judge(event.record, standIn(event.record), kept(KEY), ask).state, event.record).toBe(event.record === TAMPERED ? 'failed' : 'verified');
    expect(CHECKPOINT.size).toBe(OPEN_SEGMENT - 1);
  });
});

it('a verifier that breaks off has shown nothing', () => {
  const ask = (): Answer => { throw new Error('unreachable executed'); };
  expect(judge('0-3', frozen(), undefined, ask)).toMatchObject({ state: 'failed', reason: 'the verifier did not come to its end: unreachable executed' });
});
