//! `reeve serve` from outside: what is acknowledged is found, told, proven, and still there after a restart.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where it is wrong, and says what it measured"
)]
mod support;

use std::{fs, path::Path, time::Duration};

use reeve_ledger::{Ledger, Options};
use reeve_record::RecordId;
use serde_json::{Value, json};
use support::{Client, Ran, SCANNER, SCANNER_RULE, Server, first_account, reeve, reeve_with, within, write};

/// What is acknowledged is searchable within a second; a build without optimisation gets more, and says what it took.
const VISIBLE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 3 } else { 1 });
const PATIENCE: Duration = Duration::from_secs(30);

fn lines(count: usize, name: &str) -> String {
    (0..count)
        .map(|nth| format!("{{\"@timestamp\":\"2026-11-21T10:{:02}:00Z\",\"name\":\"{name}\",\"nth\":{nth}}}\n", nth % 60))
        .collect()
}

fn count(client: &Client, q: &str) -> Option<u64> {
    let (status, text) = client.text("/search", &[("q", &format!("{q} | stats count"))]);
    assert_eq!(status, 200, "{text}");
    let table = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).find(|line| line["type"] == "table")?;
    table["rows"][0][0].as_u64()
}

fn data_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `reeve ledger verify`.
fn verify(data: &Path) -> Ran {
    reeve(["ledger", "verify", "--format", "ndjson", "--data", data_of(data)])
}

/// Records of a ledger, as `verify` counts them.
fn recorded(ran: &Ran, ledger: &str) -> u64 {
    let line = ran.stderr.lines().find(|line| line.starts_with(&format!("{ledger}: "))).unwrap();
    let number = |before: &str| line.split(before).next().unwrap().rsplit([' ', ',']).next().unwrap().parse::<u64>().unwrap();
    number(" records in") + number(" more durable")
}

#[test]
fn what_is_acknowledged_is_found_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    let client = Client::signed_in(&server, &data);
    let mut slowest = Duration::ZERO;
    for (round, size) in [1usize, 100, 1000].into_iter().enumerate() {
        let name = format!("round{round}");
        let (status, answer) = server.ingest("app", &lines(size, &name));
        assert_eq!((status, &answer["accepted"]), (200, &json!(size)), "{answer}");
        let (_, took) = within(VISIBLE, "what was acknowledged is found", || {
            (count(&client, &format!("name:{name}"))? == size as u64).then_some(())
        });
        slowest = slowest.max(took);
    }
    println!("visible {} ms after the acknowledgement, at most", slowest.as_millis());

    // A row says what it is and where it comes from; the event has its four faces.
    let (rows, cost) = client.search("source:app AND nth:7 AND name:round1");
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["source"], "app");
    assert_eq!(rows[0]["time"], "2026-11-21T10:07:00Z");
    assert_eq!(cost["truncated"], false);
    let record = rows[0]["record"].as_str().unwrap();
    let event = client.get(&format!("/events/{record}/0"), &[]);
    let raw = "{\"@timestamp\":\"2026-11-21T10:07:00Z\",\"name\":\"round1\",\"nth\":7}";
    assert_eq!(event["raw_text"], raw, "bit for bit");
    assert_eq!(event["native"]["nth"], 7);
    assert_eq!(event["ocsf"]["class_uid"], 0);
    assert_eq!(event["receipt"]["source"], "app");
    assert_eq!(client.text("/events/999999-1/0", &[]).0, 404);

    // No silent cap: a limit that was hit is said.
    let (_, text) = client.text("/search", &[("q", "source:app"), ("limit", "10")]);
    let done: Value =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).find(|line: &Value| line["type"] == "done").unwrap();
    assert_eq!((&done["cost"]["truncated"], &done["cost"]["returned"]), (&json!(true), &json!(10)), "{done}");
    // As a browser asks, the stream comes compressed, to its end.
    assert!(client.gzipped("/search?q=source:app").len() > 20);
    let (status, text) = client.text("/search", &[("q", "name:(")]);
    let error: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status, 400);
    assert!(error["error"]["offset"].is_u64() && error["error"]["request_id"].is_string(), "{error}");
    assert_eq!(server.stop(), 0);
}

#[test]
fn histogram_and_fields_sum_up() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    let client = Client::signed_in(&server, &data);
    server.ingest("app", &lines(120, "even"));
    within(PATIENCE, "all are found", || (count(&client, "source:app")? == 120).then_some(()));
    let range = [("q", "source:app"), ("from", "2026-11-21T10:00:00Z"), ("to", "2026-11-21T11:00:00Z")];
    let histogram = client.get("/histogram", &[&range[..], &[("buckets", "60")]].concat());
    let counts: Vec<u64> =
        histogram["buckets"].as_array().unwrap().iter().map(|bucket| bucket["count"].as_u64().unwrap()).collect();
    assert_eq!((counts.len(), counts.iter().sum::<u64>()), (60, 120), "{histogram}");
    assert!(counts.iter().all(|count| *count == 2), "two a minute: {counts:?}");
    let early =
        client.get("/histogram", &[("q", "source:app"), ("from", "2026-11-21T10:00:00Z"), ("to", "2026-11-21T10:10:00Z")]);
    let sum: u64 = early["buckets"].as_array().unwrap().iter().map(|bucket| bucket["count"].as_u64().unwrap()).sum();
    assert_eq!(sum, 20);

    let (_, answer) = server.ingest("web", &format!("{SCANNER}\n").repeat(3));
    assert_eq!(answer["accepted"], 3);
    within(PATIENCE, "all are found", || (count(&client, "source:web")? == 3).then_some(()));
    let fields = client.get("/fields", &[("q", "source:web"), ("top", "5")]);
    let field = |name: &str| fields["fields"].as_array().unwrap().iter().find(|field| field["name"] == name).cloned();
    let ip = field("src_endpoint.ip").unwrap_or_else(|| panic!("{fields}"));
    assert_eq!((&ip["count"], &ip["top"][0]["value"], &ip["top"][0]["count"]), (&json!(3), &json!("203.0.113.9"), &json!(3)));
    assert_eq!(server.stop(), 0);
}

#[test]
fn nobody_reads_or_changes_without_a_session_and_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    let (user, password) = first_account(&data);
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(data.join("first-account")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "the password is its owner's alone");
    }
    let mut client = Client::new(&server);
    for path in [
        "/session",
        "/search?q=",
        "/histogram",
        "/fields",
        "/alerts",
        "/incidents",
        "/status",
        "/completeness?source=*",
        "/records/0-0/proof",
        "/records/0-0/raw",
        "/log/key",
        "/events/0-0/0",
    ] {
        let (status, text) = client.text(path, &[]);
        let body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &body["error"]["code"]), (401, &json!("no_session")), "{path}");
    }
    assert_eq!(client.sign_in(&user, "wrong").0, 401);
    assert_eq!(client.sign_in("nobody", &password).0, 401, "and a name that is not there looks the same");
    let (status, body) = client.sign_in(&user, &password);
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["user"]["name"], user.as_str());
    assert_eq!(client.get("/session", &[])["csrf_token"], client.csrf.as_str());

    server.ingest("web", &format!("{SCANNER}\n"));
    let (alert, _) = within(PATIENCE, "an alert", || client.get("/alerts", &[])["alerts"][0]["id"].as_str().map(str::to_owned));
    let change = json!({ "status": "resolved", "reason": "a test of our own" });
    for csrf in ["", "wrong"] {
        let (status, body) = client.patch(&format!("/alerts/{alert}"), csrf, &change);
        assert_eq!((status, &body["error"]["code"]), (403, &json!("csrf")));
        assert_eq!(client.post("/incidents", csrf, &json!({ "from_finding": alert })).0, 403);
        assert_eq!(client.post("/records/0-0/verify", csrf, &json!({})).0, 403);
    }
    assert_eq!(client.get(&format!("/alerts/{alert}"), &[])["status"], "new", "nothing was changed");
    let (status, _) = client.patch(&format!("/alerts/{alert}"), &client.csrf, &json!({ "status": "resolved" }));
    assert_eq!(status, 400, "a change needs a reason");
    let (status, body) = client.patch(&format!("/alerts/{alert}"), &client.csrf, &change);
    assert_eq!((status, &body["status"]), (200, &json!("resolved")), "{body}");
    assert_eq!(client.get(&format!("/alerts/{alert}"), &[])["history"].as_array().unwrap().len(), 1);
    assert_eq!(server.stop(), 0);
}

#[test]
fn an_event_that_fires_a_rule_is_in_the_queue() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    let client = Client::signed_in(&server, &data);
    server.ingest("web1", &format!("{SCANNER}\n"));
    let (alert, took) = within(VISIBLE, "the alert", || {
        let alert = client.get("/alerts", &[("status", "new")])["alerts"][0].clone();
        alert.is_object().then_some(alert)
    });
    println!("alert {} ms after the acknowledgement", took.as_millis());
    assert_eq!((&alert["rule_uid"], &alert["level"], &alert["count"]), (&json!(SCANNER_RULE), &json!("medium"), &json!(1)));
    let record = alert["records"][0].as_str().unwrap();
    assert_eq!(alert["finding"]["class_uid"], 2004);
    assert_eq!(alert["finding"]["evidences"][0]["data"]["source"], "web1");
    let whole = client.get(&format!("/alerts/{}", alert["id"].as_str().unwrap()), &[]);
    assert_eq!(whole["author"], "Reeve project");
    assert!(whole["rule_text"].as_str().unwrap().contains(SCANNER_RULE));
    assert_eq!(whole["matched_fields"]["c-useragent"], "sqlmap/1.7.2#stable (https://sqlmap.org)");
    assert_eq!(client.get(&format!("/events/{record}/0"), &[])["raw_text"], SCANNER, "the alert leads to its record");

    let (status, incident) = client.post("/incidents", &client.csrf, &json!({ "from_finding": alert["id"] }));
    assert_eq!(status, 200, "{incident}");
    let steps = incident["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["records"].as_array().unwrap().contains(&json!(record))), "{incident}");
    let id = incident["id"].as_str().unwrap();
    assert_eq!(client.get(&format!("/incidents/{id}"), &[])["steps"], incident["steps"]);
    assert_eq!(server.stop(), 0);

    // The same from the command line, on the folder.
    let listed = reeve(["alert", "list", "--data", data_of(&data)]).ended(0).lines();
    assert_eq!((listed.len(), &listed[0]["id"]), (1, &alert["id"]));
    let again = reeve(["incident", "reconstruct", "--from-record", record, "--data", data_of(&data)]).ended(0).lines();
    assert!(!again[0]["steps"].as_array().unwrap().is_empty());
    let story = reeve(["incident", "show", id, "--format", "story", "--data", data_of(&data)]).ended(0).stdout;
    assert!(story.contains(record), "{story}");
    reeve(["incident", "show", "none", "--data", data_of(&data)]).ended(3).says(&["none"]);
}

#[test]
fn a_restart_gives_the_same_rows_none_doubled_and_every_proof_holds() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    let client = Client::signed_in(&server, &data);
    server.ingest("app", &lines(500, "kept"));
    server.ingest("web", &format!("{SCANNER}\n"));
    within(PATIENCE, "all are found", || (count(&client, "")? == 501).then_some(()));
    let rows = |client: &Client| {
        let mut rows: Vec<(String, String)> = client
            .search("")
            .0
            .iter()
            .map(|row| (row["record"].as_str().unwrap().to_owned(), row["fields"].to_string() + row["summary"].as_str().unwrap()))
            .collect();
        rows.sort();
        rows
    };
    let before = rows(&client);
    assert_eq!(before.len(), 501);
    let record = before[0].0.clone();
    // Durable and not sealed: said as such.
    assert_eq!(client.get(&format!("/records/{record}/evidence"), &[])["state"], "pending");
    assert_eq!(client.post(&format!("/records/{record}/verify"), &client.csrf, &json!({})).1["state"], "pending");
    assert_eq!(client.text(&format!("/records/{record}/proof"), &[]).0, 409);
    assert_eq!(server.stop(), 0, "SIGTERM ends with 0");
    let first = verify(&data).ended(0);
    assert_eq!(recorded(&first, "ledger"), 501);
    let audited = recorded(&first, "audit");
    assert!(audited >= 8, "sign-in and every read are audited: {}", first.stderr);

    let server = Server::start(&data, &[]);
    let client = Client::signed_in(&server, &data);
    let (after, _) = within(PATIENCE, "all are there again", || Some(rows(&client)).filter(|rows| rows.len() >= 501));
    assert_eq!(after, before, "the same rows, none doubled");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(count(&client, ""), Some(501), "and none comes later");
    let alerts = client.get("/alerts", &[])["alerts"].clone();
    assert_eq!((alerts.as_array().unwrap().len(), &alerts[0]["count"]), (1, &json!(1)), "no finding is doubled");

    // Sealed by the stop: evidence holds, and the proof can be taken away.
    let evidence = client.get(&format!("/records/{record}/evidence"), &[]);
    assert_eq!(evidence["state"], "sealed");
    assert!(evidence["checkpoint"]["root"].is_string(), "{evidence}");
    let (status, checked) = client.post(&format!("/records/{record}/verify"), &client.csrf, &json!({}));
    assert_eq!((status, &checked["state"]), (200, &json!("verified")), "{checked}");
    assert!(checked["steps"].as_array().unwrap().iter().all(|step| step["ok"] == true));
    let (status, proof) = client.text(&format!("/records/{record}/proof"), &[]);
    assert_eq!(status, 200);
    let raw = client.text(&format!("/records/{record}/raw"), &[]);
    assert_eq!(raw, (200, client.get(&format!("/events/{record}/0"), &[])["raw_text"].as_str().unwrap().to_owned()));
    let raw = raw.1;
    assert_eq!(client.text("/records/99-0/raw", &[]).0, 404);
    let shown_key = client.text("/log/key", &[]);
    // A verifier does not stand in the server's way.
    verify(&data).ended(0);
    assert_eq!(server.stop(), 0);
    let second = verify(&data).ended(0);
    assert_eq!(recorded(&second, "ledger"), 501);
    assert!(recorded(&second, "audit") > audited, "the second visit is in the audit ledger too");

    let key = data.join("ledger/keys/checkpoint.vkey");
    assert_eq!(shown_key, (200, fs::read_to_string(&key).unwrap()));
    let file = |name: &str, bytes: &str| {
        let path = folder.path().join(name);
        write(&path, bytes);
        path.display().to_string()
    };
    let (proof, raw, other) = (file("a.tlog-proof", &proof), file("a.raw", &raw), file("b.raw", "{\"another\":1}"));
    let check = |raw: &str| reeve(["ledger", "check", &proof, raw, "--key", key.to_str().unwrap()]);
    let held = check(&raw).ended(0).lines();
    assert_eq!((&held[0]["verified"], &held[0]["record"]), (&json!(true), &json!(record)));
    check(&other).ended(4).says(&["the bytes are not those of record", &record]);
    let proven = reeve(["ledger", "prove", &record, "--data", data_of(&data)]).ended(0).stdout;
    let again = file("again.tlog-proof", &proven);
    reeve(["ledger", "check", &again, &raw, "--key", key.to_str().unwrap()]).ended(0);
    reeve(["ledger", "prove", "99-0", "--data", data_of(&data)]).ended(3).says(&["99-0"]);
    let checkpoint = reeve(["ledger", "checkpoint", "--data", data_of(&data)]).ended(0).stdout;
    assert!(
        checkpoint.starts_with("reeve.local/record\n") && checkpoint.contains("\n\u{2014} reeve.local/record "),
        "{checkpoint}"
    );
    reeve(["ledger", "verify", "--key", key.to_str().unwrap(), "--data", data_of(&data)]).ended(0);
    let kept = file("kept", &checkpoint);
    reeve(["ledger", "verify", "--against", &kept, "--data", data_of(&data)]).ended(0);
    let other = file("other", &checkpoint.replacen("time 2", "time 1", 1));
    let against = reeve(["ledger", "verify", "--against", &other, "--data", data_of(&data)]).ended(4);
    assert!(against.stdout.contains("LEDGER-035"), "{}", against.stdout);
}

/// The acts in the audit ledger, in order.
fn audited(data: &Path) -> Vec<(RecordId, Value)> {
    let folder = data.join("audit");
    let origin = match Ledger::open(&folder, Options::new("any")) {
        Err(reeve_ledger::Error::Origin { have, .. }) => have,
        other => panic!("the folder's key is for its own origin: {:?}", other.err()),
    };
    let ledger = Ledger::open(&folder, Options::new(origin)).unwrap();
    let (mut next, mut acts) = (RecordId::default(), Vec::new());
    loop {
        let records = ledger.read_from(next, 1000).unwrap();
        let Some(last) = records.last() else { return acts };
        next = RecordId { index: last.id.index + 1, ..last.id };
        acts.extend(records.iter().map(|record| (record.id, serde_json::from_slice(&record.raw).unwrap())));
    }
}

#[test]
fn status_evidence_and_a_stream_broken_off_are_in_the_audit_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data, &[]);
    let (status, answer) = server.ingest("app", &lines(20_000, "audited"));
    assert_eq!(status, 200, "{answer}");
    let client = Client::signed_in(&server, &data);
    within(PATIENCE, "all are found", || (count(&client, "audited") == Some(20_000)).then_some(()));
    client.get("/status", &[]);
    client.get("/records/0-7/evidence", &[]);
    let (status, raw) = client.text("/records/0-7/raw", &[]);
    assert_eq!(status, 200, "{raw}");
    client.text("/log/key", &[]);
    let said = client.get("/completeness", &[("source", "app")]);
    assert_eq!(
        (&said["statement"]["sources"][0]["received"], &said["statement"]["sources"][0]["missing"]),
        (&json!(20_000), &Value::Null)
    );
    client.break_off("/search?q=audited&limit=20000", 20_000);
    // The server notices that nobody reads on only when it writes.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(server.stop(), 0);

    let acts = audited(&data);
    let find = |wanted: &dyn Fn(&Value) -> bool| acts.iter().rev().find(|(_, act)| wanted(act));
    assert!(find(&|act| act["act"] == "read_status" && act["granted"] == true).is_some(), "{acts:?}");
    assert!(find(&|act| act["act"] == "check_evidence" && act["detail"]["evidence"] == "0-7").is_some(), "{acts:?}");
    assert!(find(&|act| act["act"] == "check_evidence" && act["detail"]["completeness"] == "app").is_some(), "{acts:?}");
    assert!(find(&|act| act["act"] == "check_evidence" && act["detail"]["key"].is_string()).is_some(), "{acts:?}");
    let (asked, _) = find(&|act| act["act"] == "read_event" && act["detail"]["raw"] == "0-7").expect("raw bytes are content");
    let (_, answered) = find(&|act| act["act"] == "answer" && act["to"] == asked.to_string()).expect("what was sent is recorded");
    assert_eq!(answered["rows"], 1);
    assert!(
        find(&|act| act["act"] == "server_start").is_some() && find(&|act| act["act"] == "server_stop").is_some(),
        "{acts:?}"
    );
    let (asked, _) = find(&|act| act["detail"]["limit"] == 20_000).unwrap();
    let (_, answered) = find(&|act| act["act"] == "answer" && act["to"] == asked.to_string()).expect("rows sent are recorded");
    let rows = answered["rows"].as_u64().unwrap();
    assert!(rows > 0 && rows < 20_000, "some rows were sent, not all: {rows}");
}

#[test]
fn one_flipped_byte_in_a_sealed_segment_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let log = folder.path().join("app.ndjson");
    write(&log, lines(300, "sealed"));
    reeve(["ingest", log.to_str().unwrap(), "--data", data_of(&data)]).ended(0);
    verify(&data).ended(0);
    let segment = data.join("ledger/segments/00000000.parquet");
    let whole = fs::read(&segment).unwrap();
    for place in 1..8 {
        let at = whole.len() * place / 8;
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&segment, flipped).unwrap();
        let ran = verify(&data).ended(4);
        let named =
            ran.lines().iter().any(|line| line["log"] == "ledger" && !line["fault"]["records"].as_array().unwrap().is_empty());
        assert!(named, "byte {at} of {}: no records in\n{}", whole.len(), ran.stdout);
        ran.says(&["cannot be vouched for"]);
    }
    // Whoever opens the badge of such a record is told, and not that something went wrong.
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&segment, flipped).unwrap();
    let server = Server::start(&data, &[]);
    let client = Client::signed_in(&server, &data);
    let states: Vec<Value> = (0..300)
        .step_by(20)
        .map(|n| client.post(&format!("/records/0-{n}/verify"), &client.csrf, &json!({})))
        .map(|(status, said)| if status == 200 { said["state"].clone() } else { json!(status) })
        .collect();
    assert!(states.iter().all(|state| state == "failed"), "{states:?}");
    assert_eq!(server.stop(), 0);
    fs::write(&segment, &whole).unwrap();
    verify(&data).ended(0);
    for other in ["ledger/log/checkpoint", "audit/log/checkpoint"] {
        let path = data.join(other);
        let text = fs::read(&path).unwrap();
        let mut flipped = text.clone();
        let at = text.len() / 3;
        flipped[at] ^= 1;
        fs::write(&path, flipped).unwrap();
        verify(&data).ended(4);
        fs::write(&path, text).unwrap();
    }
    verify(&data).ended(0);
}

#[test]
fn search_reads_a_folder_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let logs = folder.path().join("logs");
    write(&logs.join("app.ndjson"), lines(60, "cli"));
    write(&logs.join("web.log"), format!("{SCANNER}\n"));
    let taken = reeve(["ingest", logs.to_str().unwrap(), "--data", data_of(&data)]).ended(0).lines();
    assert_eq!(
        (&taken[0]["records"], &taken[0]["events"], &taken[0]["findings"]),
        (&json!(61), &json!(61), &json!(1)),
        "{taken:?}"
    );
    assert!(taken[0]["checkpoint"]["root"].is_string());

    let search = |args: &[&str]| reeve([&["search"], args, &["--data", data_of(&data)]].concat());
    assert_eq!(search(&[""]).ended(0).lines().len(), 61);
    assert_eq!(search(&["src_ip:203.0.113.0/24"]).ended(0).lines()[0]["fields"]["http_request.url.path"], "/admin");
    let few = search(&["name:cli", "--limit", "5"]).ended(0);
    assert_eq!(few.lines().len(), 5);
    few.says(&["more rows than the limit"]).says(&["5 rows in", "files ruled out"]);
    assert_eq!(search(&["name:cli | stats count"]).ended(0).lines(), [json!({ "count": 60 })]);
    let sql = search(&["--sql", "SELECT class_uid, count(*) AS n FROM events GROUP BY 1 ORDER BY 1"]).ended(0).lines();
    assert_eq!(sql, [json!({ "class_uid": 0, "n": 60 }), json!({ "class_uid": 4002, "n": 1 })]);
    let ranged = search(&["name:cli", "--from", "2026-11-21T10:00:00Z", "--to", "2026-11-21T10:10:00Z"]).ended(0).lines();
    assert_eq!(ranged.len(), 10);
    let table = search(&["src_ip:203.0.113.9", "--format", "table"]).ended(0).stdout;
    assert!(table.contains("SUMMARY") && table.contains("GET /admin"), "{table}");
    let csv = search(&["src_ip:203.0.113.9 | fields src_ip, class_uid", "--format", "csv"]).ended(0).stdout;
    assert_eq!(csv, "src_ip,class_uid\r\n203.0.113.9,4002\r\n");
    let csv = search(&["src_ip:203.0.113.9", "--format", "csv"]).ended(0).stdout;
    assert!(csv.starts_with("time,host,class,severity,summary,record\r\n") && csv.contains("GET /admin"), "{csv}");
    search(&["name:("]).ended(3).says(&["name:("]).says(&["^"]);
    search(&["--sql", "DROP TABLE events"]).ended(3);
    search(&["a", "--from", "yesterday"]).ended(3).says(&["yesterday"]);
}

#[test]
fn commands_reach_a_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    let log = folder.path().join("deep/er/app one.ndjson");
    write(&log, lines(40, "sent"));
    let taken = reeve(["ingest", log.to_str().unwrap(), "--server", &server.http]).ended(0).lines();
    assert_eq!(taken[0]["records"], 40);
    let (user, password) = first_account(&data);
    let signed = [("REEVE_USER", user.as_str()), ("REEVE_PASSWORD", password.as_str())];
    let search = |q: &str| reeve_with(["search", q, "--server", &server.console], &signed);
    within(PATIENCE, "what was sent is found", || (search("name:sent").ended(0).lines().len() == 40).then_some(()));
    let row = &search("name:sent AND nth:3").ended(0).lines()[0];
    assert_eq!(row["source"], log.to_str().unwrap(), "the source is the path");
    search("name:(").ended(3);
    let wrong = [("REEVE_USER", user.as_str()), ("REEVE_PASSWORD", "wrong")];
    reeve_with(["search", "", "--server", &server.console], &wrong).ended(3);
    reeve_with(["search", "", "--server", "http://127.0.0.1:1"], &signed).ended(3).says(&["cannot reach", "http://127.0.0.1:1"]);
    reeve(["ingest", log.to_str().unwrap(), "--server", "http://127.0.0.1:1"]).ended(3).says(&["cannot reach"]);
    assert_eq!(server.stop(), 0);
}

#[test]
fn every_listener_leads_to_search() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().unwrap();
    let (data, watched) = (folder.path().join("data"), folder.path().join("watched"));
    fs::create_dir_all(&watched).unwrap();
    let server = Server::start_all(&data, &watched);
    let client = Client::signed_in(&server, &data);
    let line = |host: &str| {
        format!("<38>1 2026-11-21T10:00:00Z {host} sshd 815 - - Failed password for root from 203.0.113.9 port 4242 ssh2")
    };

    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.send_to(line("by-udp").as_bytes(), server.listener("syslog_udp")).unwrap();
    let mut tcp = std::net::TcpStream::connect(server.listener("syslog_tcp")).unwrap();
    let counted = line("by-tcp-counted");
    write!(tcp, "{}\n{} {counted}", line("by-tcp-lines"), counted.len()).unwrap();
    tcp.flush().unwrap();
    let bulk = "{\"index\":{\"_index\":\"logs\"}}\n{\"@timestamp\":\"2026-11-21T10:00:00Z\",\"host\":{\"name\":\"by-bulk\"}}\n";
    let mut answer = ureq::post(format!("http://{}/_bulk", server.listener("elastic")))
        .header("content-type", "application/x-ndjson")
        .send(bulk)
        .unwrap();
    let answer: Value = answer.body_mut().read_json().unwrap();
    assert_eq!((&answer["errors"], &answer["items"][0]["index"]["status"]), (&json!(false), &json!(201)), "{answer}");
    write(&watched.join("auth.log"), line("by-file") + "\n");

    for host in ["by-udp", "by-tcp-lines", "by-tcp-counted", "by-file"] {
        let ((rows, _), took) = within(PATIENCE, host, || {
            Some(client.search(&format!("device.hostname:{host}"))).filter(|(rows, _)| !rows.is_empty())
        });
        println!("{host}: found after {} ms", took.as_millis());
        assert_eq!((rows.len(), &rows[0]["class_uid"]), (1, &json!(3002)), "a refused sign-in: {rows:?}");
        assert_eq!(rows[0]["fields"]["src_endpoint.ip"], "203.0.113.9");
    }
    within(PATIENCE, "by-bulk", || Some(client.search("host.name:by-bulk").0.len()).filter(|count| *count == 1));
    drop(tcp);
    assert_eq!(server.stop(), 0);
    // What was read of the watched file is not read again.
    let server = Server::start_all(&data, &watched);
    let client = Client::signed_in(&server, &data);
    let mut file = fs::File::options().append(true).open(watched.join("auth.log")).unwrap();
    writeln!(file, "{}", line("by-growth")).unwrap();
    within(PATIENCE, "by-growth", || Some(client.search("device.hostname:by-growth").0.len()).filter(|count| *count == 1));
    assert_eq!(count(&client, "device.hostname:by-file"), Some(1));
    assert_eq!(server.stop(), 0);
    assert_eq!(recorded(&verify(&data).ended(0), "ledger"), 6);
}

#[test]
fn odd_bytes_are_kept_bit_for_bit_and_readable() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::start(&data, &[]);
    let client = Client::signed_in(&server, &data);
    let deep = format!("{{\"deep\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = format!("{{\"nested\":{}1{}}}", "[".repeat(99), "]".repeat(99));
    let odd: [(&str, Vec<u8>); 6] = [
        ("deep", deep.into_bytes()),
        ("nested", nested.into_bytes()),
        ("utf8", b"{\"name\":\"a\xff\xfeb\"}".to_vec()),
        ("nul", b"a line of text with one NUL \0 byte in it".to_vec()),
        ("long", vec![b'x'; 7 << 20]),
        ("markup", b"{\"name\":\"</script><img src=x onerror=alert(1)>\"}".to_vec()),
    ];
    for (source, raw) in &odd {
        let (status, answer) = server.ingest_bytes(source, raw);
        assert_eq!((status, &answer["accepted"]), (200, &json!(1)), "{source}: {answer}");
    }
    for (source, raw) in &odd {
        let q = format!("source:{source}");
        let ((rows, _), _) = within(PATIENCE, source, || Some(client.search(&q)).filter(|(rows, _)| !rows.is_empty()));
        let event = client.get(&format!("/events/{}/{}", rows[0]["record"].as_str().unwrap(), rows[0]["part"]), &[]);
        assert_eq!(event["raw_sha256"], sha256(raw), "{source}");
        assert!(event["ocsf"].is_object() && event["native"].is_object(), "{source}: {}", event["ocsf"]);
    }
    let problem = |source: &str| {
        let (rows, _) = client.search(&format!("source:{source}"));
        client.get(&format!("/events/{}/0", rows[0]["record"].as_str().unwrap()), &[])["problems"][0]["code"].clone()
    };
    assert_eq!(
        (problem("deep"), problem("utf8"), problem("nul")),
        (json!("json.depth"), json!("text.invalid_utf8"), json!("text.nul"))
    );

    // What is refused is refused whole, and said.
    let (status, answer) = server.ingest_bytes("big", &vec![b'x'; 65 << 20]);
    assert_eq!((status, &answer["error"]["code"]), (413, &json!("body_too_large")), "{answer}");
    let (status, answer) = server.ingest(&"n".repeat(5000), "a\n");
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("malformed")), "{answer}");
    assert!(server.is_running());
    assert_eq!(count(&client, ""), Some(odd.len() as u64));
    assert_eq!(server.stop(), 0);
    verify(&data).ended(0);
    let found = reeve(["search", "source:deep OR source:nested", "--data", data_of(&data)]).ended(0).lines();
    assert_eq!(found.len(), 2);
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}

#[test]
fn the_console_and_its_policy_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    for path in ["/", "/alerts", "/search?q=x"] {
        let mut answer = ureq::get(format!("{}{path}", server.console)).call().unwrap();
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("default-src 'none'"), "{policy}");
        // The verifier in the browser is WebAssembly; nothing else that is called unsafe is let in.
        assert!(policy.contains("script-src 'self' 'wasm-unsafe-eval';"), "{policy}");
        assert!(!policy.replace("'wasm-unsafe-eval'", "").contains("unsafe"), "{policy}");
        assert!(answer.body_mut().read_to_string().unwrap().contains("<!doctype html>"), "{path}");
    }
    let client = Client::new(&server);
    assert!(client.get("/openapi.json", &[])["paths"].is_object());
    let (status, text) = client.text("/nothing/here", &[]);
    assert_eq!(status, 404, "{text}");
    assert_eq!(server.stop(), 0);
}
