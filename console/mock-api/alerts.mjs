// The alert queue: what the rules found in the scenario, and some everyday findings.
import { EVENTS, STEP_EVENTS } from './scenario.mjs';

const iso = (time) => new Date(time).toISOString();

const RULES = [
  [1, 'PHP file written to the upload folder by the web server', 4, 'T1505.003', 'Web Shell', 'persistence'],
  [2, 'Shell started by a PHP worker', 5, 'T1505.003', 'Web Shell', 'persistence'],
  [3, 'System discovery by a service account', 2, 'T1082', 'System Information Discovery', 'discovery'],
  [4, 'Private SSH key read by a service account', 5, 'T1552.004', 'Private Keys', 'credential-access'],
  [5, 'SSH logon from a web server to an internal host', 4, 'T1021.004', 'SSH', 'lateral-movement'],
  [7, 'Service unit created outside package management', 4, 'T1543.002', 'Systemd Service', 'persistence'],
  [9, 'Whole database dumped to a temporary folder', 4, 'T1005', 'Data from Local System', 'collection'],
  [10, 'Archive uploaded to an unknown host', 5, 'T1048.002', 'Exfiltration Over Asymmetric Encrypted Non-C2 Protocol', 'exfiltration'],
  [11, 'Authentication log destroyed', 5, 'T1070.002', 'Clear Linux or Mac System Logs', 'defense-evasion'],
];

const LEVELS = ['', 'informational', 'low', 'medium', 'high', 'critical'];

function ruleText(title, level, technique, field, value) {
  return `title: ${title}\nid: 6f1d0c52-11aa-4d7e-9a41-0c5e0d1f2a${technique.replace(/\D/g, '').slice(0, 2)}\nstatus: stable\ndescription: ${title}.\nauthor: Reeve contributors\ntags:\n    - attack.${technique.toLowerCase()}\nlogsource:\n    product: linux\ndetection:\n    selection:\n        ${field}|contains: '${value}'\n    condition: selection\nfalsepositives:\n    - Maintenance announced beforehand\nlevel: ${level}\n`;
}

function alert(n, title, severity, technique, techniqueName, tactic, events, status = 'new', assignee = null) {
  const shown = events.find((e) => e.severity_id >= severity) ?? events[0];
  const field = ['process.cmd_line', 'http_request.url.path', 'file.path', 'src_endpoint.ip', 'message'].find((f) => shown.fields[f] !== undefined);
  const value = String(shown.fields[field]);
  const uid = `finding-${String(n).padStart(4, '0')}`;
  return {
    id: uid, title, severity_id: severity, level: LEVELS[severity], status, assignee,
    rule_uid: `6f1d0c52-11aa-4d7e-9a41-0c5e0d1f2a${String(n).padStart(2, '0')}`,
    host: shown.host, user: shown.fields['actor.user.name'] ?? shown.fields['user.name'] ?? null,
    first_at: iso(events[0].time), last_at: iso(events.at(-1).time), count: events.length,
    records: events.map((e) => e.record), techniques: [{ uid: technique, name: techniqueName }],
    finding: {
      class_uid: 2004, class_name: 'Detection Finding', activity_id: 1, severity_id: severity, time: shown.time, message: title,
      finding_info: { uid, title, analytic: { name: title, type_id: 1 }, attacks: [{ technique: { uid: technique, name: techniqueName }, tactic: { name: tactic } }] },
      evidences: [{ data: { record: shown.record, source: shown.source } }],
      metadata: { product: { name: 'Reeve', vendor_name: 'Reeve' }, version: '1.8.0' },
    },
    matched_fields: { [field]: value, 'device.hostname': shown.host },
    rule_text: ruleText(title, LEVELS[severity], technique, field, value.slice(0, 24)),
    author: 'Reeve contributors',
    history: [],
  };
}

export function makeAlerts() {
  const found = RULES.map(([step, title, severity, uid, name, tactic], i) => alert(i + 1, title, severity, uid, name, tactic, STEP_EVENTS(step)));
  const failures = EVENTS.filter((e) => e.fields.status === 'Failure');
  const everyday = Array.from({ length: 48 }, (_, i) => {
    const events = failures.slice(i * 3, i * 3 + 3);
    return alert(20 + i, 'Repeated failed SSH logons', i % 7 === 0 ? 3 : 2, 'T1110.001', 'Password Guessing', 'credential-access', events, i % 3 ? 'new' : i % 2 ? 'resolved' : 'suppressed', i % 3 ? null : 'anna');
  });
  return [...found, ...everyday];
}
