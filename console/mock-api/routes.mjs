import { createHash } from 'node:crypto';
import { EVENTS, OPEN_SEGMENT, TAMPERED } from './scenario.mjs';
import { SEGMENT_RECORDS } from './events.mjs';
import { makeAlerts } from './alerts.mjs';
import { makeIncident } from './incident.mjs';
import { search, histogram, fields } from './search.mjs';
import * as sources from './sources.mjs';
import { CHECKPOINT, KEY, proof, rawBytes, receivedAt } from './ledger.mjs';

const alerts = makeAlerts();
const incidents = new Map();
const verified = new Set();
const sha256 = (text) => createHash('sha256').update(text).digest('hex');
const SEALED = (OPEN_SEGMENT - 1) * SEGMENT_RECORDS;

function evidence(record) {
  const segment = Number(record.split('-')[0]);
  const pending = segment >= OPEN_SEGMENT;
  const state = record === TAMPERED && verified.has(record) ? 'failed' : pending ? 'pending' : 'sealed';
  return { state, segment, leaf_index: (segment - 1) * SEGMENT_RECORDS + Number(record.split('-')[1]), checkpoint: pending ? null : CHECKPOINT };
}

function verify(record) {
  const event = EVENTS.find((e) => e.record === record);
  const { state, leaf_index } = evidence(record);
  const intact = record !== TAMPERED;
  verified.add(record);
  const sealed = state !== 'pending';
  const steps = [
    { name: 'stored bytes read', ok: true, detail: `${event.raw.length} bytes` },
    { name: 'salted hash equals the leaf', ok: intact, detail: intact ? `sha256 ${sha256(event.raw).slice(0, 16)}…` : 'expected 9f3c21aa07de…, found 12aa90be44f1…' },
    ...(sealed ? [
      { name: 'leaf lies in the log', ok: intact, detail: `leaf ${leaf_index} of ${SEALED}, 12 hashes` },
      { name: 'checkpoint signature', ok: true, detail: `${CHECKPOINT.origin}, ed25519` },
    ] : [{ name: 'sealed in a checkpoint', ok: false, detail: 'the segment is open; it is sealed within a minute' }]),
  ];
  return { state: !sealed ? 'pending' : intact ? 'verified' : 'failed', checked_at: new Date().toISOString(), steps };
}

function fullEvent(row) {
  const ocsf = { class_uid: row.class_uid, class_name: row.class_name, severity_id: row.severity_id, time: row.time, metadata: { version: '1.8.0', product: { name: row.decoder, vendor_name: 'Linux' } } };
  for (const [name, value] of Object.entries(row.fields)) {
    const keys = name.split('.');
    const last = keys.pop();
    keys.reduce((node, key) => (node[key] ??= {}), ocsf)[last] = value;
  }
  return {
    record: row.record, part: row.part, decoder: row.decoder, mapping: `${row.decoder}@1`,
    receipt: { source: row.source, epoch: 1, sequence: EVENTS.indexOf(row), received_at: new Date(receivedAt(row)).toISOString(), transport: row.decoder.startsWith('syslog') ? 'syslog_tcp' : 'file', grade: 'A', policy: 'default' },
    raw_base64: Buffer.from(row.raw).toString('base64'), raw_text: row.raw, raw_sha256: sha256(row.raw), native: row.native, ocsf,
    problems: row.time_certainty === 'exact' ? [] : [{ code: `time.${row.time_certainty}`, offset: 4, detail: 'the time was completed from the time of receipt' }],
  };
}

function listAlerts({ query, res, send }) {
  const text = (query.get('q') ?? '').toLowerCase();
  const list = alerts.filter((a) =>
    (!query.get('status') || query.get('status') === a.status) &&
    (!query.get('severity') || a.severity_id >= Number(query.get('severity'))) &&
    (!text || `${a.title} ${a.host} ${a.user} ${a.rule_uid}`.toLowerCase().includes(text)));
  const start = Number(query.get('cursor') ?? 0);
  const end = start + Number(query.get('limit') ?? 50);
  send(res, 200, { alerts: list.slice(start, end), total: list.length, next_cursor: end < list.length ? end : null });
}

function patchAlert({ params, body, user, res, send, fail }) {
  const found = alerts.find((a) => a.id === params[0]);
  if (!found) return fail(res, 404, 'not_found', `no alert \`${params[0]}\``);
  if (!body.reason?.trim()) return fail(res, 400, 'bad_request', 'a change needs a `reason`: it stays with the alert and in the audit ledger');
  if (body.status) found.status = body.status;
  if (body.assignee !== undefined) found.assignee = body.assignee || null;
  found.history.push({ at: new Date().toISOString(), by: user.name, change: [body.status && `status ${body.status}`, body.assignee !== undefined && `assigned to ${body.assignee || 'nobody'}`].filter(Boolean).join(', '), reason: body.reason });
  send(res, 200, found);
}

function reconstruct({ body, res, send }) {
  const seed = body.from_finding ? { kind: 'finding', id: body.from_finding } : { kind: 'record', id: body.from_record };
  const id = `incident-${sha256(JSON.stringify(seed)).slice(0, 12)}`;
  incidents.set(id, makeIncident(id, seed, alerts));
  send(res, 200, incidents.get(id));
}

const known = (handler) => (call) => {
  const row = EVENTS.find((e) => e.record === call.params[0]);
  return row ? handler(call, row) : call.fail(call.res, 404, 'not_found', `no record \`${call.params[0]}\``);
};
const one = (map) => ({ params, res, send, fail }) => (map(params[0]) ? send(res, 200, map(params[0])) : fail(res, 404, 'not_found', `nothing with the id \`${params[0]}\``));

function status() {
  return {
    version: '0.1.0', started_at: '2026-11-20T06:58:00Z',
    ledger: { segments: OPEN_SEGMENT, sealed_records: SEALED, open_records: EVENTS.length - SEALED, last_checkpoint: CHECKPOINT },
    audit: { segments: 1, sealed_records: 212, open_records: 4, last_checkpoint: { ...CHECKPOINT, origin: 'reeve.example/audit', size: 212 } },
    lake: { segments: 14, stored_rows: EVENTS.length, stored_bytes: 1_204_330, hot_rows: 0, hot_bytes: 0, read_through: EVENTS.at(-1).record },
    sources: [...new Set(EVENTS.map((e) => e.source))].map((name) => ({ name, transport: name.includes('syslog') ? 'syslog_tcp' : 'file', records: EVENTS.filter((e) => e.source === name).length, dropped: 0, last_at: new Date(EVENTS.findLast((e) => e.source === name).time).toISOString() })),
    detection: { rules: 74, rules_rejected: 0, events: EVENTS.length, findings: alerts.length },
  };
}

export const routes = [
  ['GET', /^\/search$/, search],
  ['GET', /^\/histogram$/, histogram],
  ['GET', /^\/fields$/, fields],
  ['GET', /^\/events\/([^/]+)\/(\d+)$/, known(({ res, send }, row) => send(res, 200, fullEvent(row)))],
  ['GET', /^\/records\/([^/]+)\/evidence$/, known(({ res, send }, row) => send(res, 200, evidence(row.record)))],
  ['POST', /^\/records\/([^/]+)\/verify$/, known(({ res, send }, row) => send(res, 200, verify(row.record)))],
  ['GET', /^\/records\/([^/]+)\/proof$/, known(({ res, send, fail }, row) => evidence(row.record).state === 'pending' ? fail(res, 409, 'pending', 'the record is durable but not sealed yet: try again within a minute') : send(res, 200, proof(row.record)))],
  ['GET', /^\/records\/([^/]+)\/raw$/, known(({ res, send }, row) => send(res, 200, rawBytes(row)))],
  ['GET', /^\/log\/key$/, ({ res, send }) => send(res, 200, `${KEY}\n`)],
  ['GET', /^\/alerts$/, listAlerts],
  ['GET', /^\/alerts\/([^/]+)$/, one((id) => alerts.find((a) => a.id === id))],
  ['PATCH', /^\/alerts\/([^/]+)$/, patchAlert],
  ['GET', /^\/incidents$/, ({ res, send }) => send(res, 200, { incidents: [...incidents.values()].map(({ id, title, from, to, steps, created_at }) => ({ id, title, from, to, steps: steps.length, created_at, created_by: 'analyst' })) })],
  ['POST', /^\/incidents$/, reconstruct],
  ['GET', /^\/incidents\/([^/]+)$/, one((id) => incidents.get(id))],
  ['GET', /^\/sources$/, sources.list],
  ['POST', /^\/sources$/, sources.change],
  ['GET', /^\/sources\/([^/]+)$/, sources.show],
  ['GET', /^\/status$/, ({ res, send }) => send(res, 200, status())],
];
