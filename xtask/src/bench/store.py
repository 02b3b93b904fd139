"""Loads the same events into Reeve, chDB (ClickHouse) and DuckDB, asks each the same questions in turn, and prints tables.

usage: store.py REEVE EVENTS.ndjson FOLDER ROUNDS [--keep]

Reeve is asked as users ask it: over HTTP, signed in, each question recorded in the audit log. The others answer inside a process of their own.
CPU seconds are of the engine's process; with few processors they are the figures to compare. Medians over ROUNDS rounds after one that warms up.
"""
import http.client, json, os, resource, shutil, statistics, subprocess, sys, time, urllib.parse

TICK = os.sysconf("SC_CLK_TCK")
TEXT = """Hostname Channel SourceName Severity UtcTime ProcessGuid ProcessId Image User Protocol Initiated SourceIp SourceHostname SourcePort DestinationIp
DestinationHostname DestinationPort QueryName QueryStatus QueryResults SubjectUserSid SubjectUserName TargetUserSid TargetUserName TargetDomainName TargetLogonId
LogonType LogonProcessName AuthenticationPackageName WorkstationName LogonGuid IpAddress IpPort ProcessName Status CommandLine CurrentDirectory LogonId IntegrityLevel
Hashes ParentProcessId ParentImage ParentCommandLine""".split()
FEW = """Hostname Channel SourceName Severity Image User Protocol Initiated SourceHostname DestinationPort QueryStatus SubjectUserSid SubjectUserName TargetUserName
TargetDomainName LogonType LogonProcessName AuthenticationPackageName WorkstationName ProcessName Status CurrentDirectory IntegrityLevel ParentImage ParentCommandLine""".split()
ADDRESSES = ["SourceIp", "DestinationIp", "IpAddress", "Hashes", "User", "TargetUserName", "QueryResults"]
DAY = ("2026-11-17T00:00:00Z", "2026-11-18T00:00:00Z")
HOST = "wks-0004.corp.example"
THREADS = 2


def cpu_of(pid):
    """User and system seconds of a process so far."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def size_of(folder):
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)


def run(command):
    """Runs a program to its end; gives wall seconds, CPU seconds, peak MiB, output."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{command} ended with {done.returncode}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, after.ru_maxrss / 1024, done.stdout


class Reeve:
    name = "reeve"

    def __init__(self, binary, data):
        self.server = subprocess.Popen(
            [binary, "serve", "--data", data, "--console", "127.0.0.1:0", "--http", "off", "--elastic", "off", "--syslog-udp", "off", "--syslog-tcp", "off"],
            stdout=subprocess.PIPE, env=dict(os.environ, REEVE_LOG="warn"))
        ready = json.loads(self.server.stdout.readline())
        self.console = http.client.HTTPConnection(ready["console"].removeprefix("http://"), timeout=600)
        user, password = open(os.path.join(data, "first-account")).read().split()
        answer, headers = self.ask_http("POST", "/api/v1/session", {"user": user, "password": password})
        self.cookie = headers["set-cookie"].split(";")[0]

    def ask_http(self, method, path, body=None):
        headers = {"content-type": "application/json"}
        if hasattr(self, "cookie"):
            headers["cookie"] = self.cookie
        self.console.request(method, path, json.dumps(body) if body else None, headers)
        answer = self.console.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {text[:500]}")
        return text, answer.headers

    def ask(self, question):
        began, cpu = time.perf_counter(), cpu_of(self.server.pid)
        text, _ = self.ask_http("GET", question[0] + "?" + urllib.parse.urlencode(question[1]))
        wall, cpu = time.perf_counter() - began, cpu_of(self.server.pid) - cpu
        if question[0].endswith("/histogram"):
            return wall, cpu, sum(1 for bucket in json.loads(text)["buckets"] if bucket["count"])
        rows = 0
        for line in text.splitlines():
            part = json.loads(line)
            if part["type"] == "error":
                raise RuntimeError(part["error"])
            rows += len(part.get("rows") or []) if part["type"] == "table" else part["type"] == "row"
        return wall, cpu, rows

    def close(self):
        self.server.terminate()
        self.server.wait()


def search(q, **more):
    return "/api/v1/search", {"q": q, "limit": 100000, **more}


def sql(q):
    return search(q, sql="true")


class Engine:
    """Another interpreter that runs one embedded engine: SQL a line in, JSON a line out."""

    def __init__(self, name, data):
        self.name = name
        self.process = subprocess.Popen([sys.executable, __file__, "--engine", name, data], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        if self.process.stdout.readline() != "ready\n":
            sys.exit(f"{name} did not start")

    def ask(self, question):
        began, cpu = time.perf_counter(), cpu_of(self.process.pid)
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return time.perf_counter() - began, cpu_of(self.process.pid) - cpu, answer["rows"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def engine(name, data):
    if name.startswith("chdb"):
        from chdb import session
        db = session.Session(data)
        # A repeated question would be answered from this cache, whatever the tables cost to read.
        for line in ("USE b", f"SET max_threads={THREADS}", "SET session_timezone='UTC'", "SET use_query_condition_cache=0"):
            db.query(line)
        rows = lambda q: sum(1 for line in db.query(q, "JSONCompactEachRow").bytes().splitlines())
    else:
        import duckdb
        db = duckdb.connect(data, read_only=True)
        db.execute(f"SET threads={THREADS}; SET TimeZone='UTC'")
        rows = lambda q: db.execute(q).to_arrow_table().num_rows
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            answer = {"rows": rows(json.loads(line))}
        except Exception as error:
            answer = {"error": str(error)[:600]}
        print(json.dumps(answer), flush=True)


def load_chdb(data, events, indexed):
    from chdb import session
    db = session.Session(data)
    kinds = ["time DateTime64(6) CODEC(Delta(8), ZSTD(1))", "EventID UInt32 CODEC(ZSTD(1))", "RecordNumber UInt64 CODEC(Delta(8), ZSTD(1))"]
    kinds += [f"{name} {'LowCardinality(String)' if name in FEW else 'String'} CODEC(ZSTD(1))" for name in TEXT] + ["raw String CODEC(ZSTD(3))"]
    if indexed:
        kinds += [f"INDEX b_{name} {name} TYPE bloom_filter(0.01) GRANULARITY 1" for name in ADDRESSES]
        kinds += ["INDEX t_raw raw TYPE text(tokenizer = 'splitByNonAlpha')"]
    fields = ["`@timestamp` String", "EventID UInt32", "RecordNumber UInt64"] + [f"{name} String" for name in TEXT]
    db.query("CREATE DATABASE b ENGINE=Atomic"), db.query("USE b")
    db.query(f"CREATE TABLE ev ({', '.join(kinds)}) ENGINE=MergeTree PARTITION BY toDate(time) ORDER BY (EventID, Hostname, time) SETTINGS index_granularity=8192")
    taken = ["parseDateTime64BestEffort(tupleElement(e, '@timestamp'), 6)"] + [f"tupleElement(e, '{name}')" for name in ["EventID", "RecordNumber"] + TEXT] + ["line"]
    insert = (f"INSERT INTO ev SELECT {', '.join(taken)} FROM (SELECT line, JSONExtract(line, $$Tuple({', '.join(fields)})$$) AS e FROM file('{events}', 'LineAsString'))"
              f" SETTINGS max_threads={THREADS}, max_insert_threads={THREADS}, session_timezone='UTC', min_insert_block_size_rows=400000, min_insert_block_size_bytes=268435456")
    out = {}
    for step, line in (("insert", insert), ("merge", "OPTIMIZE TABLE ev FINAL")):
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        db.query(line)
        after = resource.getrusage(resource.RUSAGE_SELF)
        out[step] = (time.perf_counter() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    out["rows"] = int(db.query("SELECT count() FROM ev").bytes())
    out["bytes"] = int(db.query("SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table='ev'").bytes())
    if not indexed:
        columns = ", ".join(["time", "EventID", "RecordNumber"] + TEXT + ["raw"])
        db.query(f"SELECT {columns} FROM ev INTO OUTFILE '{data}.parquet' FORMAT Parquet SETTINGS output_format_parquet_string_as_string=1")
    print(json.dumps(out))


def load_duckdb(data, parquet):
    import duckdb
    db = duckdb.connect(data)
    db.execute(f"SET threads={THREADS}")
    db.execute(f"CREATE TABLE ev AS SELECT * FROM '{parquet}' ORDER BY date_trunc('day', time), EventID, Hostname, time")
    db.execute("CHECKPOINT")


def alerts(reeve):
    """Host and time of 400 events, as alerts to join with."""
    text, _ = reeve.ask_http("GET", "/api/v1/search?" + urllib.parse.urlencode(search("metadata.event_code:4625", limit=400)[1]))
    rows = [json.loads(line) for line in text.splitlines()]
    rows = [part["row"] if "row" in part else part for part in rows if part["type"] == "row"]
    return [(row["fields"]["device.hostname"], row["time"].replace("T", " ").rstrip("Z")) for row in rows]


def questions(hash_, alerts):
    day = [text.replace("T", " ").rstrip("Z") for text in DAY]
    def ch(text): return f"toDateTime64('{text}', 6)"
    def at(text): return f"TIMESTAMP '{text}'"
    anywhere = lambda value: " OR ".join(f"{name} LIKE '%{value}%'" if name in ("QueryResults", "Hashes") else f"{name}='{value}'" for name in ADDRESSES)
    shown = "time, EventID, Hostname, raw"
    user = "u1204"
    def join(times, values): return (
        "WITH al AS (" + values + ") SELECT ev.{host} AS h, count(*) AS c FROM {table} ev JOIN al ON ev.{host} = al.host"
        f" WHERE ev.time >= al.at - {times} AND ev.time <= al.at + {times} GROUP BY ev." "{host} ORDER BY c DESC, h")
    values = ", ".join(f"('{host}', '{when}')" for host, when in alerts)
    six_ch = join("INTERVAL 30 MINUTE", f"SELECT host, toDateTime64(moment, 6) AS at FROM values('host String, moment String', {values})").format(host="Hostname", table="ev")
    six_duck = join("INTERVAL '30 minutes'", f"SELECT host, moment::TIMESTAMP AS at FROM (VALUES {values}) AS given(host, moment)").format(host="Hostname", table="ev")
    six = join("INTERVAL '30 minutes'", "SELECT column1 AS host, to_timestamp_micros(column2) AS at FROM (VALUES "
        + ", ".join(f"('{host}', {micros(when)})" for host, when in alerts) + ")").format(host="device_hostname", table="events")
    seven = "SELECT ParentImage, Image, count(*) c, count(DISTINCT Hostname) h, min(time) t FROM ev WHERE EventID=1 GROUP BY ParentImage, Image HAVING count(*) <= 3 ORDER BY c, ParentImage, Image LIMIT 100"
    return {
        "Q1 events by hour and kind": (search("* | timechart span=1h count by class_uid"),
            "SELECT toStartOfHour(time) h, EventID, count(*) c FROM ev GROUP BY h, EventID ORDER BY h", "SELECT date_trunc('hour', time) h, EventID, count(*) c FROM ev GROUP BY h, EventID ORDER BY h"),
        "Q1h histogram of a day": (("/api/v1/histogram", {"q": "", "from": DAY[0], "to": DAY[1], "buckets": 96}),
            f"SELECT toStartOfFifteenMinutes(time) h, count(*) c FROM ev WHERE time >= {ch(day[0])} AND time < {ch(day[1])} GROUP BY h ORDER BY h",
            f"SELECT time_bucket(INTERVAL '15 minutes', time) h, count(*) c FROM ev WHERE time >= {at(day[0])} AND time < {at(day[1])} GROUP BY h ORDER BY h"),
        "Q2 top 20 hosts with failed logons": (search("class_uid:3002 status_id:2 | top 20 device.hostname"),
            "SELECT Hostname, count(*) c FROM ev WHERE EventID=4625 GROUP BY Hostname ORDER BY c DESC, Hostname LIMIT 20",) * 1 + ("SELECT Hostname, count(*) c FROM ev WHERE EventID=4625 GROUP BY Hostname ORDER BY c DESC, Hostname LIMIT 20",),
        "Q3 an address, anywhere": (search('"203.0.113.77"'), f"SELECT {shown} FROM ev WHERE {anywhere('203.0.113.77')}", f"SELECT {shown} FROM ev WHERE {anywhere('203.0.113.77')}"),
        "Q3b a hash, anywhere": (search(hash_), f"SELECT {shown} FROM ev WHERE {anywhere(hash_)}", f"SELECT {shown} FROM ev WHERE {anywhere(hash_)}"),
        "Q3c a user, anywhere": (search(f'actor.user.name:{user} OR user.name:{user}'), f"SELECT {shown} FROM ev WHERE User='CORP\\\\{user}' OR TargetUserName='{user}'", f"SELECT {shown} FROM ev WHERE User='CORP\\{user}' OR TargetUserName='{user}'"),
        "Q4 a substring of the bytes": (search("xK9qZneedle77"), f"SELECT {shown} FROM ev WHERE raw LIKE '%xK9qZneedle77%'", f"SELECT {shown} FROM ev WHERE raw LIKE '%xK9qZneedle77%'"),
        "Q5 a host's day in order": (search(f"device.hostname:{HOST}", order="oldest", **dict(zip(("from", "to"), DAY))),
            f"SELECT {shown}, User, Image FROM ev WHERE Hostname='{HOST}' AND time >= {ch(day[0])} AND time < {ch(day[1])} ORDER BY time",
            f"SELECT {shown}, User, Image FROM ev WHERE Hostname='{HOST}' AND time >= {at(day[0])} AND time < {at(day[1])} ORDER BY time"),
        "Q6 400 alerts, events around them": (sql(six), six_ch, six_duck),
        "Q7 rare parent and child": (sql("SELECT process_parent_process_file_path p, process_file_path i, count(*) c, count(DISTINCT device_hostname) h, min(time) t FROM events WHERE class_uid=1007 GROUP BY p, i HAVING count(*) <= 3 ORDER BY c, p, i LIMIT 100"), seven, seven),
        "Q8 the last 100 events": (search("", limit=100), f"SELECT {shown} FROM ev ORDER BY time DESC LIMIT 100", f"SELECT {shown} FROM ev ORDER BY time DESC LIMIT 100"),
    }


def hash_of(events):
    """The hash of the first program that was started."""
    with open(events) as lines:
        return next(line.split("SHA256=")[1][:64] for line in lines if "SHA256=" in line)


def micros(when):
    import datetime
    head, _, part = when.partition(".")
    second = datetime.datetime.strptime(head, "%Y-%m-%d %H:%M:%S").replace(tzinfo=datetime.timezone.utc).timestamp()
    return int(second) * 1_000_000 + int((part or "0").ljust(6, "0"))


def load(reeve, events, folder):
    """Loads all engines, prints what it took."""
    for name in ("reeve", "chdb", "chdb-index", "duckdb", "chdb.parquet"):
        path = os.path.join(folder, name)
        shutil.rmtree(path, ignore_errors=True)
        if os.path.isfile(path):
            os.remove(path)
    at = lambda name: os.path.join(folder, name)
    reads = run([reeve, "ingest", events, "--data", at("reeve")])
    merges = run([reeve, "lake", "compact", "--data", at("reeve")])
    plain, indexed = (json.loads(run([sys.executable, __file__, "--load", name, at(name), events])[3]) for name in ("chdb", "chdb-index"))
    run([sys.executable, __file__, "--load", "duckdb", at("duckdb"), at("chdb.parquet")])
    count = json.loads(reads[3])["records"]
    if count != plain["rows"]:
        sys.exit(f"{count} records, but {plain['rows']} rows")
    parts = {part: size_of(os.path.join(at("reeve"), part)) / count for part in sorted(os.listdir(at("reeve"))) if os.path.isdir(os.path.join(at("reeve"), part))}
    print(f"\n{count} events, {os.path.getsize(events) / count:.0f} bytes each; reeve: durable, sealed, searched for attacks\n")
    print("| load | reeve | chDB | reeve / chDB |\n|---|---|---|---|")
    rows = [("events/s", count / reads[0], count / plain["insert"][0], "0"), ("load, wall s", reads[0], plain["insert"][0], "1"), ("load, CPU s", reads[1], plain["insert"][1], "1"),
            ("merge (reeve: and needle filters), CPU s", merges[1], plain["merge"][1], "1"), ("load + merge, CPU s", reads[1] + merges[1], plain["insert"][1] + plain["merge"][1], "1"),
            ("bytes an event", size_of(at("reeve")) / count, plain["bytes"] / count, "1"), ("bytes an event, chDB with bloom and text indexes", size_of(at("reeve")) / count, indexed["bytes"] / count, "1"),
            ("load + merge, CPU s, chDB with indexes", reads[1] + merges[1], indexed["insert"][1] + indexed["merge"][1], "1"), ("peak of the load, MiB", reads[2], 0, "1")]
    for what, ours, theirs, _ in rows:
        print(f"| {what} | {ours:,.1f} | {theirs:,.1f} | {ours / theirs if theirs else 0:.2f} |")
    print("\nbytes an event by folder: " + ", ".join(f"{part} {size:.1f}" for part, size in parts.items()), flush=True)


def compare(reeve, events, folder, rounds):
    at = lambda name: os.path.join(folder, name)
    engines = [Reeve(reeve, at("reeve")), Engine("chdb", at("chdb")), Engine("chdb-index", at("chdb-index")), Engine("duckdb", at("duckdb"))]
    try:
        ask_all(engines, hash_of(events), rounds)
    finally:
        for each in engines:
            each.close()


def ask_all(engines, hash_, rounds):
    print("\n| question | rows | " + " | ".join(f"{e.name} wall ms (CPU)" for e in engines) + " | wall against chDB, with indexes, DuckDB |")
    print("|---" * (len(engines) + 3) + "|")
    for name, (ours, ch, duck) in questions(hash_, alerts(engines[0])).items():
        taken, rows = [[] for _ in engines], [0] * len(engines)
        for turn in range(rounds + 1):
            for index, (each, question) in enumerate(zip(engines, (ours, ch, ch, duck))):
                try:
                    wall, cpu, rows[index] = each.ask(question)
                except RuntimeError as error:
                    if turn == 0:
                        print(f"{name}: {each.name}: {error}", file=sys.stderr)
                    wall, cpu = float("nan"), float("nan")
                if turn:
                    taken[index].append((wall * 1e3, cpu * 1e3))
        middle = [(statistics.median(w for w, _ in took), statistics.mean(c for _, c in took)) for took in taken]
        ratios = " · ".join(f"{statistics.median(a / b for (a, _), (b, _) in zip(taken[0], other)):.2f}" for other in taken[1:])
        print(f"| {name} | {' / '.join(map(str, dict.fromkeys(rows)))} | " + " | ".join(f"{w:.1f} ({c:.0f})" for w, c in middle) + f" | {ratios} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--engine":
        engine(sys.argv[2], sys.argv[3])
    elif sys.argv[1] == "--load":
        name, data, events = sys.argv[2:5]
        load_duckdb(data, events) if name == "duckdb" else load_chdb(data, events, name == "chdb-index")
    else:
        binary, events, folder, rounds = sys.argv[1:5]
        if "--keep" not in sys.argv or not os.path.isdir(os.path.join(folder, "reeve")):
            load(binary, events, folder)
        compare(binary, events, folder, int(rounds))
