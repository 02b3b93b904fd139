"""Splits the machine's one audit log into one log per staged host: `split_audit.py WORK OUT`.

An event (all records with one serial) belongs to the host
 1. whose file system a PATH record names (each host has device numbers of its own), else
 2. whose process made it (pid, then ppid, learnt from 1 and from the sampler's pids.tsv).
A connect(2) is kept only if its address is one of the staged networks or loopback. What belongs to no
host, or to a host that is not audited, is dropped and counted. Lines are written byte for byte, with
`node=HOST ` put before them, as auditd's `name_format` does.
"""

import collections
import re
import sys

work, out = sys.argv[1:3]
AUDITED = "gw1 web1 app1 db1 files1 admin-ws log1".split()
STAGED = re.compile(r"laddr=(10\.20\.|192\.0\.2\.|198\.51\.100\.|203\.0\.113\.|127\.0\.0\.)")
SERIAL = re.compile(rb"msg=audit\(([0-9.]+):(\d+)\)")

device_host = {}
for line in open(f"{work}/devices"):
    host, number = line.split()
    number = int(number)
    device_host[f"{number >> 8:02x}:{number & 255:02x}"] = host
pid_host = dict(line.split() for line in open(f"{work}/pids.tsv"))

events = collections.OrderedDict()
for line in open(f"{work}/base/var/log/audit/audit.log", "rb"):
    found = SERIAL.search(line)
    if found:
        events.setdefault(found.group(0), []).append(line)


def field(text: str, name: str) -> str | None:
    found = re.search(rf"\b{name}=(\S+)", text)
    return found.group(1) if found else None


def host_by_device(text: str) -> str | None:
    hosts = collections.Counter(device_host[d] for d in re.findall(r"type=PATH .*? dev=(\S+)", text) if d in device_host)
    return hosts.most_common(1)[0][0] if hosts else None


texts = {key: b"".join(lines).decode("utf-8", "replace") for key, lines in events.items()}
decided = {}
for key, text in texts.items():
    host = host_by_device(text)
    if host:
        decided[key] = host
        pid_host[field(text, "pid")] = host
for _ in range(2):  # a second time, for children whose parent was learnt later
    for key, text in texts.items():
        if key in decided:
            continue
        host = pid_host.get(field(text, "pid")) or pid_host.get(field(text, "ppid"))
        if not host:
            continue
        if "SYSCALL=connect" in text and not STAGED.search(text):
            continue
        decided[key] = host
        pid_host[field(text, "pid")] = host

files = {host: open(f"{out}/{host}/audit.log", "wb") for host in AUDITED}
dropped = collections.Counter()
for key, lines in events.items():
    host = decided.get(key)
    if host not in files or b"type=DAEMON_" in lines[0] or b"type=CONFIG_CHANGE" in lines[0]:
        dropped[host or "not a staged host"] += 1
        continue
    for line in lines:
        files[host].write(b"node=" + host.encode() + b" " + line)
print("events", len(events), "dropped", dict(dropped), file=sys.stderr)
