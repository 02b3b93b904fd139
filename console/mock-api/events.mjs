// Turns short scenario lines into event rows of the shape the API serves.
const CLASSES = { 1001: 'File System Activity', 1006: 'Scheduled Job Activity', 1007: 'Process Activity', 3002: 'Authentication', 4001: 'Network Activity', 4002: 'HTTP Activity', 4003: 'DNS Activity', 0: 'Base Event' };

export const SEGMENT_RECORDS = 683;

export const at = (clock) => Date.parse(`2026-11-20T${clock}Z`);

/** One event before it has a record id: `fields` are dotted OCSF names. */
export function event(time, host, class_uid, summary, fields, raw, more = {}) {
  return {
    time, host, class_uid, summary, raw,
    class_name: CLASSES[class_uid],
    severity_id: more.severity ?? 1,
    time_certainty: more.certainty ?? 'exact',
    decoder: more.decoder ?? 'auditd',
    source: more.source ?? `${host}/audit.log`,
    step: more.step,
    native: more.native ?? {},
    fields: { 'device.hostname': host, ...fields },
  };
}

export function execve(time, host, { pid, ppid, user, ses, argv, parent, cwd = '/root', severity, step }) {
  const serial = 10_000 + Math.floor((time / 100) % 900_000);
  const stamp = (time / 1000).toFixed(3);
  const exe = argv[0].startsWith('/') ? argv[0] : `/usr/bin/${argv[0]}`;
  const line = argv.join(' ');
  const raw =
    `type=SYSCALL msg=audit(${stamp}:${serial}): arch=c000003e syscall=59 success=yes exit=0 ppid=${ppid} pid=${pid} auid=${user} ses=${ses} comm="${argv[0].split('/').pop()}" exe="${exe}" key="exec"\n` +
    `type=EXECVE msg=audit(${stamp}:${serial}): argc=${argv.length} ${argv.map((a, i) => `a${i}="${a}"`).join(' ')}\n` +
    `type=CWD msg=audit(${stamp}:${serial}): cwd="${cwd}"`;
  return event(time, host, 1007, `${user} ran ${line}`, {
    'process.name': argv[0].split('/').pop(), 'process.pid': pid, 'process.file.path': exe, 'process.cmd_line': line,
    'process.working_directory': cwd, 'process.parent_process.pid': ppid, 'process.parent_process.name': parent ?? 'bash',
    'actor.user.name': user, 'actor.session.uid': String(ses), 'metadata.event_code': 'SYSCALL',
  }, raw, {
    severity, step,
    native: { node: host, serial, types: ['SYSCALL', 'EXECVE', 'CWD'], SYSCALL: { syscall: 'execve', pid, ppid, ses, exe, key: 'exec' }, EXECVE: { argc: argv.length, argv }, CWD: { cwd } },
  });
}

const syslogTime = (time) => {
  const d = new Date(time);
  const month = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'][d.getUTCMonth()];
  return `${month} ${String(d.getUTCDate()).padStart(2)} ${d.toISOString().slice(11, 19)}`;
};

export function sshd(time, host, { user, ip, port, accepted, pid, step }) {
  const verb = accepted ? 'Accepted publickey' : 'Failed password';
  const message = `${verb} for ${user} from ${ip} port ${port} ssh2`;
  return event(time, host, 3002, `${user} ${accepted ? 'logged on' : 'failed to log on'} from ${ip} over ssh`, {
    'user.name': user, 'src_endpoint.ip': ip, 'src_endpoint.port': port, 'service.name': 'sshd', 'process.pid': pid,
    auth_protocol: accepted ? 'publickey' : 'password', status: accepted ? 'Success' : 'Failure',
  }, `<86>${syslogTime(time)} ${host} sshd[${pid}]: ${message}`, {
    step, severity: accepted ? 1 : 2, certainty: 'year_inferred', decoder: 'syslog.3164', source: `${host}/syslog`,
    native: { pri: 86, facility: 'authpriv', hostname: host, app_name: 'sshd', procid: String(pid), message, parsed: { user, ip, port, result: accepted ? 'accepted' : 'failed' } },
  });
}

export function web(time, host, { ip, method, path, code, agent, bytes, step, severity }) {
  const stamp = new Date(time).toUTCString().replace(/^\w+, (\d+) (\w+) (\d+) (\S+) GMT$/, '$1/$2/$3:$4 +0000');
  return event(time, host, 4002, `${method} ${path} → ${code} from ${ip}`, {
    'src_endpoint.ip': ip, 'http_request.http_method': method, 'http_request.url.path': path, 'http_request.user_agent': agent,
    'http_response.code': code, 'traffic.bytes_out': bytes,
  }, `${ip} - - [${stamp}] "${method} ${path} HTTP/1.1" ${code} ${bytes} "-" "${agent}"`, {
    step, severity, decoder: 'web.access', source: `${host}/nginx/access.log`,
    native: { remote_addr: ip, request: `${method} ${path} HTTP/1.1`, status: code, body_bytes_sent: bytes, http_user_agent: agent },
  });
}

export function dns(time, host, { name, answer, step, severity }) {
  return event(time, host, 4003, `${host} asked for ${name}`, { 'query.hostname': name, 'answers.rdata': answer, 'dst_endpoint.port': 53 },
    `<30>${syslogTime(time)} gw dnsmasq[611]: query[A] ${name} from ${host}`, {
      step, severity, certainty: 'year_inferred', decoder: 'syslog.3164', source: 'gw/syslog',
      native: { app_name: 'dnsmasq', message: `query[A] ${name} from ${host}`, parsed: { query: name, type: 'A' } },
    });
}

export function flow(time, host, { to, port, out, step, severity }) {
  return event(time, host, 4001, `${host} sent ${out} bytes to ${to}:${port}`, {
    'src_endpoint.hostname': host, 'dst_endpoint.ip': to, 'dst_endpoint.port': port, 'traffic.bytes_out': out, 'connection_info.protocol_name': 'tcp',
  }, JSON.stringify({ type: 'FLOW', sa: host, da: to, dp: port, pr: 6, ibyt: out, first: new Date(time).toISOString() }), {
    step, severity, certainty: 'zone_inferred', decoder: 'nfdump', source: 'gw/flows.json', native: { sa: host, da: to, dp: port, pr: 6, ibyt: out },
  });
}

export function file(time, host, { path, pid, user, step, severity, verb = 'wrote' }) {
  return event(time, host, 1001, `${user} ${verb} ${path}`, { 'file.path': path, 'file.name': path.split('/').pop(), 'actor.process.pid': pid, 'actor.user.name': user },
    `type=PATH msg=audit(${(time / 1000).toFixed(3)}:${Math.floor(time / 100) % 900_000}): item=1 name="${path}" nametype=CREATE pid=${pid}`, { step, severity, native: { PATH: [{ name: path, nametype: 'CREATE' }], SYSCALL: { pid } } });
}
