// The reconstructed incident: ordered steps with the records they rest on.
import { STEP_EVENTS } from './scenario.mjs';

const STEPS = [
  [1, 'web1', 'www-data', 'php-fpm', 'Web server wrote `theme.php` into the upload folder for 203.0.113.77', 'initial-access', 'T1190', 'Exploit Public-Facing Application', null],
  [2, 'web1', 'www-data', 'sh', 'The uploaded page was requested and started `/bin/sh -c id`', 'persistence', 'T1505.003', 'Web Shell', ['file_write_execute', 1]],
  [3, 'web1', 'www-data', 'sh', 'The shell listed system, users and connections', 'discovery', 'T1082', 'System Information Discovery', ['process_lineage', 2]],
  [4, 'web1', 'www-data', 'cat', 'The shell searched for SSH keys and read the one of `deploy`', 'credential-access', 'T1552.004', 'Private Keys', ['process_lineage', 2]],
  [5, 'app1', 'deploy', 'sshd', 'With that key `deploy` logged on to app1 from web1', 'lateral-movement', 'T1021.004', 'SSH', ['remote_logon', 4]],
  [6, 'app1', 'deploy', 'sudo', '`deploy` asked what sudo allows', 'discovery', 'T1069.001', 'Local Groups', ['logon_session', 5]],
  [7, 'app1', 'deploy', 'systemctl', '`deploy` installed a service named `logrotated` and enabled it', 'persistence', 'T1543.002', 'Systemd Service', ['logon_session', 5]],
  [8, 'db1', 'deploy', 'sshd', '`deploy` logged on to db1 from app1', 'lateral-movement', 'T1021.004', 'SSH', ['remote_logon', 7]],
  [9, 'db1', 'deploy', 'pg_dump', 'The customers database was dumped and packed into `/tmp/.c.tgz`', 'collection', 'T1005', 'Data from Local System', ['logon_session', 8]],
  [10, 'db1', 'deploy', 'curl', '48 MB were uploaded to cdn-sync.example.net', 'exfiltration', 'T1048.002', 'Exfiltration Over Asymmetric Encrypted Non-C2 Protocol', ['process_lineage', 9]],
  [11, 'db1', 'deploy', 'shred', 'The authentication log of db1 was destroyed', 'defense-evasion', 'T1070.002', 'Clear Linux or Mac System Logs', ['logon_session', 8]],
];
const ORDER = { exact: 'certain', zone_inferred: 'likely', year_inferred: 'likely', received: 'unknown' };
const iso = (time) => new Date(time).toISOString();

function step([n, host, user, process, action, tactic, uid, name, because], findings) {
  const events = STEP_EVENTS(n);
  const weakest = events.find((e) => e.time_certainty !== 'exact') ?? events[0];
  return {
    n, time: iso(events[0].time), time_certainty: weakest.time_certainty, certainty: ORDER[weakest.time_certainty],
    host, actor: { user, process, session: host === 'web1' ? null : '41' }, action, tactic, technique: { uid, name },
    because: because ? { kind: because[0], step: because[1] } : { kind: 'finding', step: null },
    records: events.map((e) => e.record), findings: findings.filter((f) => f.records.some((r) => events.some((e) => e.record === r))).map((f) => f.id),
  };
}

function processTree() {
  const nodes = [];
  const roots = [];
  for (const e of STEPS.flatMap(([n]) => STEP_EVENTS(n)).filter((x) => x.class_uid === 1007)) {
    const f = e.fields;
    const node = { id: `${e.host}:${f['process.pid']}`, host: e.host, pid: f['process.pid'], name: f['process.name'], cmd_line: f['process.cmd_line'], user: f['actor.user.name'], at: iso(e.time), step: e.step, records: [e.record], children: [] };
    const parentId = `${e.host}:${f['process.parent_process.pid']}`;
    let parent = nodes.find((x) => x.id === parentId);
    if (!parent) {
      parent = { id: parentId, host: e.host, pid: f['process.parent_process.pid'], name: f['process.parent_process.name'], cmd_line: null, user: f['actor.user.name'], at: null, step: null, records: [], children: [] };
      nodes.push(parent);
      roots.push(parent);
    }
    parent.children.push(node);
    nodes.push(node);
  }
  return roots;
}

export function makeIncident(id, seed, alerts) {
  const steps = STEPS.map((s) => step(s, alerts));
  const techniques = [...new Map(steps.map((s) => [s.technique.uid, { ...s.technique, tactic: s.tactic }])).values()];
  const addresses = ['203.0.113.77', '198.51.100.20'];
  const story = steps.map((s) => `${s.n}. ${s.time} ${s.host}: ${s.action.replaceAll('`', '')} (${s.technique.uid}; ${s.records.length} records).`).join('\n');
  return {
    id, title: 'Web shell on web1 led to the customers database on db1', seed, created_at: '2026-11-20T10:20:11.000Z',
    from: steps[0].time, to: steps.at(-1).time, hosts: ['web1', 'app1', 'db1'], users: ['www-data', 'deploy'], techniques,
    steps, edges: steps.filter((s) => s.because.step).map((s) => ({ from: s.because.step, to: s.n, kind: s.because.kind })),
    process_tree: processTree(), story, addresses, notes: ['the start of the web server lies before the first record'],
  };
}
