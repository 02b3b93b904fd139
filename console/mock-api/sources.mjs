// Registered sources of the stand-in: they change as a person says, and a new one has its first event after a second.
import { EVENTS } from './scenario.mjs';

const SINCE = '2026-11-20T06:58:00Z';
const at = (time) => new Date(time).toISOString();
const blank = (name) => ({
  name, state: 'enabled', label: 'default', way: 'curl', known_by: ['token'], created_at: SINCE, created_by: 'admin', changed_at: SINCE, changed_by: 'admin', reason: null,
  query: `source:${name} OR source:${name}/*`, counted_since: SINCE, records: 0, bytes: 0, rate_per_second: 0, last_seen_at: null, problems: {}, misread: {}, refused: {}, dropped: {},
});
const registered = [
  { ...blank('shop'), way: 'filebeat', label: 'servers', records: 4810, bytes: 1_204_330, rate_per_second: 3.4, last_seen_at: at(EVENTS.at(-1).time), misread: { 'time.year_inferred': 12 }, problems: { oversize_split: 1 } },
  { ...blank('edge'), way: 'rsyslog', known_by: ['192.0.2.0/24'], state: 'disabled', reason: 'moved to the new gateway', refused: { source_disabled: 40 } },
];
const others = [...new Set(EVENTS.map((e) => e.source))].map((name) => {
  const own = EVENTS.filter((e) => e.source === name);
  return { ...blank(name), state: 'unregistered', way: null, known_by: [], created_at: null, created_by: null, changed_at: null, changed_by: null, query: `source:"${name}"`, records: own.length, bytes: own.length * 180, last_seen_at: at(own.at(-1).time) };
});
const all = () => [...registered, ...others];

function readAs(source) {
  const [first, last] = [at(EVENTS[0].time), at(EVENTS.at(-1).time)];
  const row = (decoder, events, recognised) => ({ decoder, recognised, events, first_at: first, last_at: last, first_received_at: first, last_received_at: last, query: `(${source.query}) decoder:${decoder}` });
  return source.records === 0 ? [] : [row('web.access', source.records, true), row('text', 7, false)];
}

export const list = ({ res, send }) => send(res, 200, { sources: all() });

export function show({ params, res, send, fail }) {
  const source = all().find((s) => s.name === decodeURIComponent(params[0]));
  return source ? send(res, 200, { source, read_as: readAs(source) }) : fail(res, 404, 'not_found', `there is no source \`${params[0]}\``);
}

export function change({ body, user, res, send, fail }) {
  const stamp = { changed_at: new Date().toISOString(), changed_by: user.name, reason: body.reason ?? null };
  if (body.act === 'add') {
    if (registered.some((s) => s.name === body.name)) return fail(res, 400, 'bad_request', `there is a source \`${body.name}\` already, or there was one: names are not used again; choose another`);
    const made = { ...blank(body.name), ...stamp, way: body.way, label: body.label, known_by: body.addresses?.length ? body.addresses : ['token'], created_at: stamp.changed_at, created_by: user.name };
    registered.push(made);
    setTimeout(() => Object.assign(made, { records: 1, bytes: 40, rate_per_second: 0.02, last_seen_at: new Date().toISOString() }), 1000);
    const token = made.known_by[0] === 'token' ? `rvs_${'mock'.repeat(10)}abc` : null;
    return send(res, 200, { source: made, token, setup: `echo "first event of ${made.name}" | curl -sS --data-binary @- -H 'Authorization: Bearer ${token ?? 'TOKEN'}' http://127.0.0.1:8421/ingest/${made.name}\n` });
  }
  const found = registered.find((s) => s.name === body.name);
  if (!found) return fail(res, 404, 'not_found', `there is no source \`${body.name}\``);
  const state = { disable: 'disabled', enable: 'enabled', retire: 'retired' }[body.act];
  Object.assign(found, stamp, state ? { state } : {});
  return send(res, 200, { source: found, token: body.act === 'token' ? `rvs_${'mock'.repeat(10)}xyz` : null, setup: body.act === 'token' ? '# paste this\n' : null });
}
