"""Writes truth.json from what the intruder's own script noted and what the logs hold.

    truth.py LOGS STEPS OUT     LOGS: folder of uncompressed logs, STEPS: the intruder's steps.tsv

The steps' windows come from the intruder's script. The records come from the logs: on audited hosts every
event of a process that the intruder's processes led to (by ppid or login session) inside the window; in
the other logs the lines that one pattern per step finds inside the window. Line numbers start at 1.
"""

import datetime
import functools
import json
import pathlib
import re
import sys

ATTACKER, EXFIL = "203.0.113.66", "203.0.113.67"
HOSTS = {
    "gw1": ["10.20.10.1", "10.20.20.1", "203.0.113.1", "198.51.100.1"],
    "web1": ["10.20.10.10", "192.0.2.10"],
    "app1": ["10.20.10.20"],
    "db1": ["10.20.20.30"],
    "files1": ["10.20.20.40"],
    "admin-ws": ["10.20.20.50"],
    "log1": ["10.20.20.60"],
}
ROLES = {
    "gw1": "router, DNS server (dnsmasq), flow export (softflowd, nfcapd)",
    "web1": "public web server (nginx, portal)",
    "app1": "application server",
    "db1": "PostgreSQL",
    "files1": "file server",
    "admin-ws": "administrator's jump host",
    "log1": "syslog collector",
}
WEB_IP = re.escape(ATTACKER)
TICK = 0.010

# Step in steps.tsv, title, tactic, technique, host, actor, and where besides the host's own audit log it shows:
# (file, pattern). `audit` narrows the intruder's audit events to those whose text matches; None takes none.
STEPS = [
    ("scan", "Scans the public web server's ports and guesses its paths", ("TA0043", "Reconnaissance"), ("T1595.003", "Active Scanning: Wordlist Scanning"), "web1", "203.0.113.66", None,
     [("web1/nginx/access.log", rf"^{WEB_IP} .*gobuster"), ("gw1/flows.json", "flow:203.0.113.66>192.0.2.10")]),
    ("exploit", "Runs commands through the portal's label page", ("TA0001", "Initial Access"), ("T1190", "Exploit Public-Facing Application"), "web1", "portal", "",
     [("web1/nginx/access.log", rf"^{WEB_IP} .*/app/label")]),
    ("webshell", "Uploads a web shell by path traversal and uses it", ("TA0003", "Persistence"), ("T1505.003", "Server Software Component: Web Shell"), "web1", "portal", "",
     [("web1/audit.log", r"audit!hooks/status\.sh"), ("web1/nginx/access.log", rf"^{WEB_IP} .*/app/(upload|hooks)")]),
    ("reverse-shell", "Opens a reverse shell to 203.0.113.66:443", ("TA0002", "Execution"), ("T1059.004", "Command and Scripting Interpreter: Unix Shell"), "web1", "portal", "",
     [("web1/nginx/access.log", rf"(?i)^{WEB_IP} .*dev(%2f|/)tcp"), ("gw1/flows.json", "flow:10.20.10.10>203.0.113.66:443")]),
    ("discovery", "Looks around on web1: user, system, network, processes, set-uid files", ("TA0007", "Discovery"), ("T1082", "System Information Discovery"), "web1", "portal", "",
     []),
    ("credentials-web", "Reads the database password and the deploy key", ("TA0006", "Credential Access"), ("T1552.001", "Unsecured Credentials: Credentials In Files"), "web1", "portal", "", []),
    ("lateral-app", "Signs in to app1 with the stolen deploy key", ("TA0008", "Lateral Movement"), ("T1021.004", "Remote Services: SSH"), "app1", "deploy", "",
     [("app1/auth.log", r"session:app"), ("gw1/flows.json", "flow:10.20.10.10>10.20.10.20:22"), ("web1/audit.log", "audit:")]),
    ("escalate", "Becomes root on app1 through the sudo rule for tar", ("TA0004", "Privilege Escalation"), ("T1548.003", "Abuse Elevation Control Mechanism: Sudo and Sudo Caching"), "app1", "deploy", "",
     [("app1/auth.log", r"sudo.*(checkpoint|sudo -n -l|list)|session opened for user root\(uid=0\) by \(uid=1004\)")]),
    ("credentials-app", "Reads /etc/shadow and root's private key on app1", ("TA0006", "Credential Access"), ("T1003.008", "OS Credential Dumping: /etc/passwd and /etc/shadow"), "app1", "root", "", []),
    ("persistence-app", "Leaves a systemd unit and a cron job on app1", ("TA0003", "Persistence"), ("T1543.002", "Create or Modify System Process: Systemd Service"), "app1", "root", "",
     []),
    ("cron-runs", "Cron runs the intruder's download on app1, each minute from then on", ("TA0002", "Execution"), ("T1053.003", "Scheduled Task/Job: Cron"), "app1", "root", None,
     [("app1/audit.log", r"audit!203\.0\.113\.66/u|/dev/shm/\.u"), ("app1/syslog", r"curl -s http://203\.0\.113\.66/u"), ("gw1/flows.json", "flow:10.20.10.20>203.0.113.66:80")]),
    ("account-app", "Creates the account svc-print in group sudo on app1", ("TA0003", "Persistence"), ("T1136.001", "Create Account: Local Account"), "app1", "root", "",
     [("app1/auth.log", r"svc-print")]),
    ("tools", "Fetches a password tool to /dev/shm", ("TA0011", "Command and Control"), ("T1105", "Ingress Tool Transfer"), "app1", "root", "",
     [("gw1/flows.json", "flow:10.20.10.20>203.0.113.66:80")]),
    ("scan-inside", "Scans the inner network from app1", ("TA0007", "Discovery"), ("T1046", "Network Service Discovery"), "app1", "root", "",
     [("gw1/flows.json", "flow:10.20.10.20>10.20.20.")]),
    ("guessing", "Guesses ada's password on files1 until one fits", ("TA0006", "Credential Access"), ("T1110.001", "Brute Force: Password Guessing"), "files1", "ada", "",
     [("files1/auth.log", r"(ada .*10\.20\.10\.20|10\.20\.10\.20.*ada)"), ("app1/audit.log", "audit:"), ("gw1/flows.json", "flow:10.20.10.20>10.20.20.40:22")]),
    ("database", "Dumps the shipments database", ("TA0009", "Collection"), ("T1213.006", "Data from Information Repositories: Databases"), "db1", "portal", None,
     [("db1/postgresql.log", r"10\.20\.10\.20"), ("app1/audit.log", "audit:"), ("gw1/flows.json", "flow:10.20.10.20>10.20.20.30:5432")]),
    ("lateral-files", "Signs in to files1 with root's vault key", ("TA0008", "Lateral Movement"), ("T1021.004", "Remote Services: SSH"), "files1", "vault", "",
     [("files1/auth.log", r"session:files"), ("app1/audit.log", "audit:"), ("gw1/flows.json", "flow:10.20.10.20>10.20.20.40:22")]),
    ("key-files", "Adds a key of its own for vault on files1", ("TA0003", "Persistence"), ("T1098.004", "Account Manipulation: SSH Authorized Keys"), "files1", "vault", "", []),
    ("collect", "Packs the contracts into an archive", ("TA0009", "Collection"), ("T1560.001", "Archive Collected Data: Archive via Utility"), "files1", "vault", "", []),
    ("exfiltrate", "Uploads the archive to cdn.updates-mirror.example", ("TA0010", "Exfiltration"), ("T1048.003", "Exfiltration Over Alternative Protocol: Unencrypted Non-C2 Protocol"), "files1", "vault", "",
     [("gw1/syslog", r"updates-mirror\.example"), ("gw1/flows.json", "flow:10.20.20.40>203.0.113.67")]),
    ("clean-files", "Removes the archive and the shell history on files1", ("TA0005", "Defense Evasion"), ("T1070.004", "Indicator Removal: File Deletion"), "files1", "vault", "", []),
    ("exfiltrate-database", "Uploads the database dump from app1", ("TA0010", "Exfiltration"), ("T1048.003", "Exfiltration Over Alternative Protocol: Unencrypted Non-C2 Protocol"), "app1", "root", "",
     [("gw1/syslog", r"updates-mirror\.example"), ("gw1/flows.json", "flow:10.20.10.20>203.0.113.67")]),
    ("clean-app", "Strikes its own lines out of auth.log, empties wtmp, stops rsyslog on app1", ("TA0005", "Defense Evasion"), ("T1070.002", "Indicator Removal: Clear Linux or Mac System Logs"), "app1", "root", "",
     [("app1/syslog", r"rsyslogd.*exiting on signal")]),
    ("clean-web", "Removes the web shell", ("TA0005", "Defense Evasion"), ("T1070.004", "Indicator Removal: File Deletion"), "web1", "portal", "", []),
    ("return", "Comes back: tries its key and the web shell, both in vain", ("TA0001", "Initial Access"), ("T1190", "Exploit Public-Facing Application"), "web1", "203.0.113.66", None,
     [("web1/nginx/access.log", rf"^{WEB_IP} "), ("web1/auth.log", rf"{WEB_IP}")]),
]


class Audit:
    """The events of one host's audit log, and which of them the intruder's processes made."""

    def __init__(self, path: pathlib.Path) -> None:
        self.events: dict[str, dict] = {}
        for number, line in enumerate(path.open(errors="replace"), 1):
            found = re.search(r"msg=audit\(([\d.]+):(\d+)\)", line)
            event = self.events.setdefault(found[2], {"serial": int(found[2]), "time": float(found[1]), "lines": [], "text": ""})
            event["lines"].append(number)
            event["text"] += line
        for event in self.events.values():
            event["words"] = event["text"] + " ".join(plain(h) for h in re.findall(r"\ba\d+=([0-9A-F]{6,})", event["text"]))
            for name in ("pid", "ppid", "ses"):
                found = re.search(rf"(?<![\w-]){name}=(\d+)", event["text"])
                event[name] = found[1] if found else None

    def own(self, seed: str, sessions: bool) -> None:
        """Marks the events of processes whose command line matches `seed`, of what they started, and (with
        `sessions`) of every process in their login sessions."""
        self.mine = {e["pid"] for e in self.events.values() if "type=EXECVE" in e["text"] and re.search(seed, e["words"])}
        ses = {e["ses"] for e in self.events.values() if e["pid"] in self.mine} - {"4294967295", None} if sessions else set()
        for e in self.events.values():
            if e["ses"] in ses:
                self.mine.add(e["pid"])
        for e in self.events.values():  # in order of time, so one pass reaches all descendants
            if e["ppid"] in self.mine:
                self.mine.add(e["pid"])

    def within(self, start: float, end: float, pattern: str = "") -> list[dict]:
        return [e for e in self.events.values() if start <= e["time"] <= end and (e["pid"] in self.mine) and re.search(pattern, e["words"])]


@functools.cache
def read_json(path: pathlib.Path) -> list[dict]:
    return json.loads(path.read_text())


def plain(hexed: str) -> str:
    try:
        return bytes.fromhex(hexed).decode("utf-8", "replace")
    except ValueError:
        return hexed


def seconds(stamp: str) -> float:
    return datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def line_time(line: str) -> float | None:
    """The time of a line of syslog (RFC 3339), of nginx's access log, or of PostgreSQL's log."""
    if found := re.match(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", line):
        return seconds(found[0])
    if found := re.search(r"\[(\d\d/\w{3}/\d{4}:[\d:]+ \+0000)\]", line):
        return datetime.datetime.strptime(found[1], "%d/%b/%Y:%H:%M:%S %z").timestamp()
    if found := re.match(r"(\d{4}-\d\d-\d\d) ([\d:.]+) UTC", line):
        return seconds(f"{found[1]}T{found[2]}+00:00")
    return None


def flows(path: pathlib.Path, want: str, start: float, end: float) -> list[int]:
    """Numbers of the flow objects (in order, from 1) between two endpoints, either way, that overlap the window."""
    source, target = want.removeprefix("flow:").split(">")
    target, _, port = target.partition(":")
    hits = []
    for number, flow in enumerate(read_json(path), 1):
        ends = [(flow.get("src4_addr"), flow.get("src_port")), (flow.get("dst4_addr"), flow.get("dst_port"))]
        for (a, _), (b, b_port) in (ends, ends[::-1]):
            if a == source and b and (b == target or target.endswith(".") and b.startswith(target)) and (not port or str(b_port) == port):
                first, last = (seconds(flow[k] + "+00:00") for k in ("first", "last"))
                if first <= end and last >= start:
                    hits.append(number)
                break
    return hits


def copies(logs: pathlib.Path, records: list[dict]) -> list[dict]:
    """The same records where they were written a second time: laurel's lines, and auth.log as it was left on app1."""
    found = []
    for entry in records:
        if entry["file"] == "logs/app1/audit.log.zst":
            serials = set(entry["serials"])
            lines = enumerate((logs / "app1/laurel.json").open(), 1)
            found.append({"file": "logs/app1/laurel.json.zst", "lines": [n for n, line in lines if int(re.search(r'"ID":"[\d.]+:(\d+)"', line)[1]) in serials]})
        elif entry["file"] == "logs/app1/auth.log.zst":
            mine = {line.strip() for n, line in enumerate((logs / "app1/auth.log").open(), 1) if n in entry["lines"]}
            lines = enumerate((logs / "app1/auth.log.left-on-host").open(), 1)
            found.append({"file": "logs/app1/auth.log.left-on-host.zst", "lines": [n for n, line in lines if line.strip() in mine]})
    return [entry for entry in found if entry["lines"]]


def main() -> None:
    logs, notes, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    windows = {name: (start, end) for name, start, end in (line.split() for line in notes.open())}
    # Not the intruder's typing but what it left behind: cron's runs, until the recording ends.
    runs = [e["time"] for e in Audit(logs / "app1" / "audit.log").events.values() if re.search(r"203\.0\.113\.66/u", e["words"])]
    runs = [at for at in runs if at > seconds(windows["persistence-app"][1])]
    unnoted = {"cron-runs": tuple(datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat().replace("+00:00", "Z") for at in (min(runs), max(runs)))}
    audits = {host: Audit(logs / host / "audit.log") for host in ("web1", "app1", "files1")}
    audits["web1"].own(r"label pdf;|hooks/status\.sh|/dev/tcp/203\.0\.113\.66", sessions=False)
    audits["app1"].own(r"checkpoint-action", sessions=True)
    audits["files1"].own(r"\.cache-7f|10\.20\.10\.20.*ada|ada.*10\.20\.10\.20", sessions=True)
    # The password guesses are sshd's own events, made before there is a session, and known by address.
    known = {p for e in audits["files1"].events.values() if re.search(r"addr=10\.20\.10\.20 ", e["text"]) for p in [e["pid"]]}
    begin = seconds(windows["guessing"][0])
    vault_cron = {e["pid"] for e in audits["files1"].events.values() if e["time"] < begin}
    audits["files1"].mine |= known - vault_cron

    steps = []
    for name, title, tactic, technique, host, actor, audit, elsewhere in STEPS:
        start, end = (seconds(w) for w in (windows | unnoted)[name])
        # A command may outlive the keystroke that ends its step, but not into the next. The kernel stamps audit
        # events with the last clock tick, so they may lie a little before the keystroke.
        start -= TICK
        end = min([end + 1.5] + [seconds(other) - TICK for other, _ in windows.values() if seconds(other) >= end])
        records = []
        sources = ([(f"{host}/audit.log", "audit:" + audit)] if audit is not None else []) + elsewhere
        for file, pattern in sources:
            entry: dict = {"file": f"logs/{file}.zst"}
            if pattern.startswith("audit:"):
                hits = audits[file.split("/")[0]].within(start, end, pattern.removeprefix("audit:"))
                entry |= {"lines": sorted(n for e in hits for n in e["lines"]), "serials": sorted(e["serial"] for e in hits)}
            elif pattern.startswith("audit!"):  # events not of the intruder's processes, known by what they touch
                hits = [e for e in audits[file.split("/")[0]].events.values() if start <= e["time"] <= end and re.search(pattern[6:], e["words"])]
                first = next((r for r in records if r["file"] == entry["file"]), None)
                if first is None:
                    first = entry | {"lines": [], "serials": []}
                    records.append(first)
                first["lines"] = sorted({*first["lines"], *(n for e in hits for n in e["lines"])})
                first["serials"] = sorted({*first["serials"], *(e["serial"] for e in hits)})
                continue
            elif pattern.startswith("flow:"):
                entry |= {"objects": flows(logs / file, pattern, start, end)}
            else:
                by_session = pattern.startswith("session:")
                if by_session:
                    pattern = r"Accepted publickey for (deploy from 10\.20\.10\.10|vault from 10\.20\.10\.20)"
                slack = 65 if name == "persistence-app" else 1
                lines = enumerate((logs / file).open(errors="replace"), 1)
                entry |= {"lines": [n for n, line in lines if (at := line_time(line)) and start - 1 <= at <= end + slack and re.search(pattern, line)]}
                if by_session:  # cron signs in with the same keys; the intruder's sessions are known by sshd's pid
                    text = (logs / file).read_text(errors="replace").splitlines()
                    entry["lines"] = [n for n in entry["lines"] if re.search(r"sshd\[(\d+)\]", text[n - 1])[1] in audits[host].mine]
            if any(entry.get(k) for k in ("lines", "objects")):
                records.append(entry)
        records += copies(logs, records)
        steps.append({
            "name": name, "title": title,
            "tactic": dict(zip(("uid", "name"), tactic)), "technique": dict(zip(("uid", "name"), technique)),
            "host": host, "actor": actor, "from": (windows | unnoted)[name][0], "to": (windows | unnoted)[name][1], "records": records,
        })
        if not records:
            print(f"step {name}: no records", file=sys.stderr)
    steps.sort(key=lambda s: s["from"])
    steps = [{"id": f"S{n:02}"} | step for n, step in enumerate(steps, 1)]
    hosts = [{"name": h, "addresses": HOSTS[h], "role": ROLES[h]} for h in HOSTS]
    hosts += [{"name": "ext", "addresses": [ATTACKER, EXFIL], "role": "the intruder; no logs", "external": True}]
    outcome = {"scenario": "harbour-lights", "version": 1, "hosts": hosts, "steps": steps}
    text = json.dumps(outcome, indent=1)
    text = re.sub(r"\[\s+((?:\d+,?\s*)+)\]", lambda m: "[" + ", ".join(m[1].replace(",", " ").split()) + "]", text)
    out.write_text(text + "\n")


if __name__ == "__main__":
    main()
