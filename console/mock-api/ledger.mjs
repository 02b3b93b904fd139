// Seals the scenario's records as docs/spec/record.md says, so that the stand-in's proofs are true ones: the console checks them with the
// real verifier. Keys and salts are the same every time; they protect nothing.
import { createHash, createPrivateKey, createPublicKey, hkdfSync, sign } from 'node:crypto';
import { EVENTS, OPEN_SEGMENT, TAMPERED } from './scenario.mjs';

const ORIGIN = 'reeve.example/record';
const SEALED_AT = '2026-11-20T12:00:05.000000Z';

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();
const base64 = (bytes) => bytes.toString('base64');
const u16 = (n) => { const b = Buffer.alloc(2); b.writeUInt16BE(n); return b; };
const u32 = (n) => { const b = Buffer.alloc(4); b.writeUInt32BE(n); return b; };
const u64 = (n) => { const b = Buffer.alloc(8); b.writeBigInt64BE(BigInt(n)); return b; };
const named = (text) => Buffer.concat([u16(Buffer.byteLength(text)), Buffer.from(text)]);
const text = (time) => `${new Date(time).toISOString().slice(0, -1)}000Z`;
const ZEROS = Buffer.alloc(32);

const PRIVATE = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), sha256('the stand-in signs with this')]), format: 'der', type: 'pkcs8' });
const PUBLIC = Buffer.concat([Buffer.of(1), createPublicKey(PRIVATE).export({ format: 'der', type: 'spki' }).subarray(-32)]);
const KEY_ID = sha256(`${ORIGIN}\n`, PUBLIC).subarray(0, 4);
export const KEY = `${ORIGIN}+${KEY_ID.toString('hex')}+${base64(PUBLIC)}`;

/** RFC 6962, 2.1: the root of a tree, and the path from one of its leaves. */
const split = (n) => 2 ** Math.floor(Math.log2(n - 1));
function root(leaves) {
  if (leaves.length === 1) return leaves[0];
  const k = split(leaves.length);
  return sha256(Buffer.of(1), root(leaves.slice(0, k)), root(leaves.slice(k)));
}
function path(leaves, index) {
  if (leaves.length === 1) return [];
  const k = split(leaves.length);
  return index < k ? [...path(leaves.slice(0, k), index), root(leaves.slice(k))] : [...path(leaves.slice(k), index - k), root(leaves.slice(0, k))];
}

const SECRETS = Array.from({ length: OPEN_SEGMENT + 1 }, (_, segment) => sha256(`secret of segment ${segment}`));
const place = (record) => record.split('-').map(Number);
const salt = (segment, index) => Buffer.from(hkdfSync('sha256', SECRETS[segment], 'reeve-salt/v1', Buffer.concat([u32(segment), u32(index)]), 32));
/** Microseconds when a record was received, as the receipt says it. */
export const receivedAt = (event) => event.time + 640;

function leafOf(event, sequence, previous) {
  const [segment, index] = place(event.record);
  const raw = Buffer.from(event.raw);
  const commitment = sha256('reeve-raw/v1\0', salt(segment, index), raw);
  const way = event.decoder.startsWith('syslog') ? Buffer.from([3, 0x43]) : Buffer.from([1, 0x42]);
  return Buffer.concat([Buffer.from('RVL1'), u32(segment), u32(index), u64(1), u64(sequence), previous, u64(receivedAt(event) * 1000), Buffer.alloc(9), way, u64(raw.length), commitment, named(event.source), named('default')]);
}

/** Every leaf, each source's chained; the records of a segment lie together. */
function leaves() {
  const last = new Map();
  return EVENTS.map((event) => {
    const { sequence, previous } = last.get(event.source) ?? { sequence: 0, previous: ZEROS };
    const leaf = leafOf(event, sequence, previous);
    last.set(event.source, { sequence: sequence + 1, previous: sha256(Buffer.of(0), leaf) });
    return leaf;
  });
}

function seal() {
  const all = leaves();
  const batches = [];
  let before = ZEROS;
  for (let segment = 1; segment < OPEN_SEGMENT; segment++) {
    const events = EVENTS.filter((e) => place(e.record)[0] === segment);
    const own = all.filter((_, n) => place(EVENTS[n].record)[0] === segment);
    const hashes = own.map((leaf) => sha256(Buffer.of(0), leaf));
    const file = `${100_000 + segment} ${base64(sha256(`segment file ${segment}`))}`;
    const map = `${900 + segment} ${base64(sha256(`map ${segment}`))}`;
    const sum = events.reduce((bytes, e) => bytes + Buffer.byteLength(e.raw), 0);
    const statement = `reeve-batch/v1\norigin ${ORIGIN}\nsegment ${segment}\nepoch 1\nrecords ${own.length}\nraw_bytes ${sum}\nreceived ${text(receivedAt(events[0]))} ${text(receivedAt(events.at(-1)))}\nsealed ${SEALED_AT}\nroot ${base64(root(hashes))}\nprevious ${base64(before)}\nsalts ${base64(sha256('reeve-salt-secret/v1\0', SECRETS[segment]))}\nfile ${file}\nmap ${map}\n`;
    before = sha256(Buffer.of(0), statement);
    batches.push({ leaves: own, hashes, statement });
  }
  const entries = batches.map((batch) => sha256(Buffer.of(0), batch.statement));
  const body = `${ORIGIN}\n${entries.length}\n${base64(root(entries))}\ntime ${SEALED_AT}\n`;
  return { batches, entries, note: `${body}\n— ${ORIGIN} ${base64(Buffer.concat([KEY_ID, sign(null, Buffer.from(body), PRIVATE)]))}\n` };
}

const SEALED = seal();
export const CHECKPOINT = { origin: ORIGIN, size: SEALED.entries.length, root: base64(root(SEALED.entries)), at: SEALED_AT };

/** The `.tlog-proof` of a sealed record. */
export function proof(record) {
  const [segment, index] = place(record);
  const { leaves: own, hashes, statement } = SEALED.batches[segment - 1];
  const paths = path(hashes, index).map((hash) => `path ${base64(hash)}\n`).join('');
  const extra = `reeve-record-proof/v1\nleaf ${base64(own[index])}\nsalt ${base64(salt(segment, index))}\n${paths}statement\n${statement}`;
  const way = path(SEALED.entries, segment - 1).map((hash) => `${base64(hash)}\n`).join('');
  return `c2sp.org/tlog-proof@v1\nextra ${base64(Buffer.from(extra))}\nindex ${segment - 1}\n${way}\n${SEALED.note}`;
}

/** The bytes as they are stored now: of one record a bit was changed after it was sealed. */
export function rawBytes(event) {
  const raw = Buffer.from(event.raw);
  if (event.record === TAMPERED) raw[raw.length - 1] ^= 1;
  return raw;
}
