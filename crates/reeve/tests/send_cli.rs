//! Numbered sources end to end: a sender and a server that are killed, the receipts, the findings, and the statement about all of it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test stops where it is wrong")]
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{Client, Server, binary, first_account, reeve, reeve_with, write};

/// A folder with a source's key and a server that knows it.
struct Place {
    dir: tempfile::TempDir,
    port: u16,
}

impl Place {
    fn new(heartbeat_seconds: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = reeve(["source", "key", "edge/web1", path(&dir.path().join("web1.key"))]).ended(0).lines();
        reeve(["source", "key", "edge/web1", path(&dir.path().join("web1.key"))]).ended(3).says(&["web1.key"]);
        let key = made[0]["key"].as_str().unwrap();
        let config = format!("[[sources]]\nkey = \"{key}\"\nheartbeat_seconds = {heartbeat_seconds}\n");
        write(&dir.path().join("reeve.toml"), config);
        // The sender has to find the server again at the same address.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { dir, port }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.file("data")
    }

    fn start(&self) -> Server {
        let config = self.file("reeve.toml");
        Server::start(&self.data(), &["--config", path(&config), "--http", &format!("127.0.0.1:{}", self.port)])
    }

    fn send_args(&self, more: &[&str]) -> Vec<String> {
        let (server, key) = (format!("http://127.0.0.1:{}", self.port), self.file("web1.key"));
        let mut args = vec!["send".to_owned(), "--server".to_owned(), server, "--key".to_owned(), key.display().to_string()];
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        args
    }

    fn sender(&self, more: &[&str]) -> Child {
        let mut command = Command::new(binary());
        command.args(self.send_args(more)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn log_key(&self) -> PathBuf {
        self.data().join("ledger/keys/checkpoint.vkey")
    }

    /// The statement about the source, with no server running.
    fn completeness(&self) -> (Value, PathBuf) {
        let (data, note) = (self.data(), self.file("statement"));
        let ran =
            reeve(["ledger", "completeness", "edge/*", "--data", path(&data), "-o", path(&note), "--format", "json"]).ended(0);
        (ran.lines()[0]["statement"].clone(), note)
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("not within a minute: {what}");
}

#[test]
fn nothing_is_missing_or_doubled_whoever_is_killed() {
    let place = Place::new(3600);
    let lines: String = (0..15_000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let log = place.file("app.ndjson");
    write(&log, lines);
    let mut server = place.start();
    let more = [path(&log), "--batch", "50", "--retry", "60"];
    let mut sender = place.sender(&more);
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for round in 0..8u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round + 1);
        std::thread::sleep(Duration::from_millis(100 + (random >> 33) % 300));
        if round % 2 == 0 {
            // Dropping it is kill -9.
            drop(server);
            server = place.start();
        } else {
            let _ = sender.kill();
            let _ = sender.wait();
            sender = place.sender(&more);
        }
    }
    let _ = sender.kill();
    let _ = sender.wait();
    let key = place.log_key();
    let args = place.send_args(&[&more[..], &["--server-key", path(&key), "--source", "edge/web1"]].concat());
    let told = reeve(args.clone()).ended(0).lines();
    assert_eq!(told[0]["next"], 15_000);
    assert_eq!(reeve(args).ended(0).lines()[0]["records"], 0, "nothing is left to send");
    assert_eq!(server.stop(), 0);

    let (statement, note) = place.completeness();
    let line = &statement["sources"][0];
    let figures = ["expected", "received", "missing", "contradicting", "unproven"].map(|name| line[name].as_u64().unwrap());
    assert_eq!(figures, [15_000, 15_000, 0, 0, 0], "{line}");
    assert_eq!((&line["grade"], &line["numbered"]), (&json!("A"), &json!(true)));
    let down = statement["server"]["down"].as_array().unwrap();
    assert!(down.iter().filter(|down| down["clean"] == false).count() >= 3, "{statement}");
    reeve(["ledger", "completeness", "--check", path(&note), "--key", path(&key)]).ended(0);
    let altered = place.file("altered");
    write(&altered, fs::read_to_string(&note).unwrap().replace("\"missing\":0", "\"missing\":1"));
    reeve(["ledger", "completeness", "--check", path(&altered), "--key", path(&key)]).ended(4);

    // Each record once, with the number its source gave it.
    let found = reeve([
        "search",
        "--sql",
        "SELECT count(*) AS n, count(DISTINCT native['n']) AS d FROM events",
        "--data",
        path(&place.data()),
    ]);
    assert_eq!(found.ended(0).lines(), [json!({ "n": 15_000, "d": 15_000 })]);
    // The receipts hold, offline and in the ledger; one that was altered does not.
    let receipts = place.file("web1.key.spool/receipts");
    let held = reeve(["ledger", "receipt", path(&receipts), "--key", path(&key), "--data", path(&place.data())]).ended(0).lines();
    assert!(held.len() >= 300 && held.iter().all(|line| line["held"] == true), "{} receipts", held.len());
    write(&altered, fs::read_to_string(&receipts).unwrap().replacen("count 50", "count 51", 1));
    let refused = reeve(["ledger", "receipt", path(&altered), "--key", path(&key)]).ended(4).lines();
    assert_eq!(refused.iter().filter(|line| line["verified"] == false).count(), 1);
    // What Reeve notes beside is sealed as the rest is, and every record of the source is of grade A.
    reeve(["ledger", "verify", "--data", path(&place.data()), "--key", path(&key)]).ended(0);
    let record = held[0]["head"]
        .as_str()
        .unwrap()
        .split_once('-')
        .map(|(segment, index)| format!("{segment}-{}", index.parse::<u32>().unwrap() + 1));
    let proof = reeve(["ledger", "prove", record.as_ref().unwrap(), "--data", path(&place.data())]).ended(0).stdout;
    let (proof_file, raw) = (place.file("proof"), place.file("raw"));
    write(&proof_file, proof);
    write(&raw, "{\"n\":0}");
    let checked = reeve(["ledger", "check", path(&proof_file), path(&raw), "--key", path(&key)]).ended(0).lines();
    assert_eq!((&checked[0]["transport"], &checked[0]["grade"]), (&json!("delivery"), &json!("A")));
}

#[test]
fn gaps_silences_and_contradictions_are_alerts() {
    let place = Place::new(1);
    let (first, second, third) = (place.file("a"), place.file("b"), place.file("c"));
    write(&first, "{\"n\":1}\n");
    write(&second, "{\"n\":2}\n{\"n\":3}\n");
    write(&third, "{\"n\":4}\n");
    let server = place.start();
    let client = Client::signed_in(&server, &place.data());
    let spool = |name: &str| place.file(name).display().to_string();
    let send = |file: &Path, spool: &str| reeve(place.send_args(&[path(file), "--spool", spool, "--retry", "20"]));
    send(&first, &spool("one")).ended(0);
    assert_eq!(server.ingest("app", "just words\n{\"n\":1}\n").0, 200);
    assert_eq!(server.ingest("edge%2Fweb1", "unsigned\n").0, 403, "nobody else writes under this name");
    // A spool from an old backup: the same numbers again, with other records.
    let copied = Command::new("cp").args(["-a", &spool("one"), &spool("two")]).status().unwrap();
    assert!(copied.success());
    send(&second, &spool("one")).ended(0);
    send(&third, &spool("two")).ended(2).says(&["409", "contradicts"]);
    // What was sent and never arrived: the spool goes on without it.
    let state = place.file("one/state.json");
    let skipped = fs::read_to_string(&state).unwrap().replace("\"next\":3", "\"next\":8");
    write(&state, skipped);
    send(&third, &spool("one")).ended(0);
    let rules = until("three alerts", || {
        let alerts = client.get("/alerts", &[])["alerts"].clone();
        let mut rules: Vec<String> =
            alerts.as_array()?.iter().map(|alert| alert["rule_uid"].as_str().unwrap().to_owned()).collect();
        rules.sort();
        (rules.len() >= 3).then_some(rules)
    });
    assert_eq!(rules, ["reeve.sequence.contradiction", "reeve.sequence.gap", "reeve.sequence.silence"]);
    let (user, password) = first_account(&place.data());
    let asked = reeve_with(
        ["ledger", "completeness", "*", "--server", &server.console, "--format", "json"],
        &[("REEVE_USER", user.as_str()), ("REEVE_PASSWORD", password.as_str())],
    );
    let statement = asked.ended(0).lines()[0]["statement"].clone();
    let line = statement["sources"].as_array().unwrap().iter().find(|line| line["source"] == "edge/web1").unwrap().clone();
    assert_eq!(line["missing_numbers"].as_array().unwrap().len(), 1, "{line}");
    let figures = ["expected", "received", "missing", "contradicting"].map(|name| line[name].as_u64().unwrap());
    assert_eq!(figures, [9, 4, 5, 1], "{line}");
    assert!(!line["silences"].as_array().unwrap().is_empty(), "{line}");
    assert_eq!(server.stop(), 0);
    // The evidence, also of what was not taken, is in the record.
    let kept = reeve([
        "search",
        "--sql",
        "SELECT source, count(*) AS n FROM events GROUP BY 1 ORDER BY 1",
        "--data",
        path(&place.data()),
    ]);
    let kept = kept.ended(0).lines();
    assert_eq!(
        kept,
        [
            json!({ "source": "app", "n": 2 }),
            json!({ "source": "edge/web1", "n": 4 }),
            json!({ "source": "reeve/contradiction/edge/web1", "n": 1 })
        ]
    );
    reeve(["ledger", "verify", "--data", path(&place.data())]).ended(0);
    // Of a source that does not number nobody knows what is missing. What was turned away before it was any source's is counted into the log.
    let asked = reeve(["ledger", "completeness", "*", "--data", path(&place.data()), "--format", "json"]).ended(0);
    let statement = asked.lines()[0]["statement"].clone();
    let app = &statement["sources"][0];
    assert_eq!(
        (&app["source"], &app["expected"], &app["missing"], &app["received"]),
        (&json!("app"), &json!(null), &json!(null), &json!(2))
    );
    assert_eq!((&app["grade"], &app["unparsed"], &app["numbered"]), (&json!("B"), &json!(1), &json!(false)), "{app}");
    let listener = &statement["listeners"][0];
    assert_eq!(
        (&listener["listener"], &listener["refused"]),
        (&json!("http"), &json!({ "contradiction": 1, "unsigned": 1 })),
        "{statement}"
    );
    assert_eq!(statement["server"]["starts"], 1);
    let text = reeve(["ledger", "completeness", "*", "--data", path(&place.data()), "--format", "text"]).ended(0).stdout;
    assert!(
        text.contains("edge/web1: expected 9, received 4, missing 5; grade A") && text.contains("missing: 5 from number 3 on"),
        "{text}"
    );
}

#[test]
fn what_follows_a_file_sends_what_is_added_and_heartbeats() {
    let place = Place::new(1);
    let log = place.file("app.log");
    write(&log, "{\"n\":0}\n");
    let server = place.start();
    let mut sender = place.sender(&[path(&log), "--follow", "--heartbeat", "1"]);
    let client = Client::signed_in(&server, &place.data());
    let counted = |wanted: u64| until("records are there", || (received(&client) == wanted).then_some(()));
    counted(1);
    for n in 1..4 {
        let mut file = fs::OpenOptions::new().append(true).open(&log).unwrap();
        std::io::Write::write_all(&mut file, format!("{{\"n\":{n}}}\n").as_bytes()).unwrap();
    }
    counted(4);
    std::thread::sleep(Duration::from_secs(4));
    let _ = sender.kill();
    let _ = sender.wait();
    assert_eq!(server.stop(), 0);
    let (statement, _) = place.completeness();
    let line = &statement["sources"][0];
    assert_eq!((&line["received"], &line["missing"]), (&json!(4), &json!(0)), "{line}");
    let silent = line["silences"].as_array().unwrap();
    assert!(silent.len() <= 1, "heartbeats came for four seconds: {line}");
}

/// Records of the source that the running server has taken.
fn received(client: &Client) -> u64 {
    let status = client.get("/status", &[]);
    let sources = status["intake"]["sources"].as_array().cloned().unwrap_or_default();
    sources.iter().find(|line| line["source"] == "edge/web1").and_then(|line| line["records"].as_u64()).unwrap_or(0)
}
