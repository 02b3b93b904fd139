//! Health, metrics, doctor, backup and restore from outside, as an administrator meets them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops where it is wrong")]
mod support;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use reeve_access::{Accounts, Role};
use serde_json::Value;
use support::{Client, Server, reeve, reeve_with};

const ANA: &str = "a long password of ana";
const BEN: &str = "a long password of ben";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn metric(metrics: &str, name: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn health_and_metrics_tell_strangers_counts_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    let (status, _) = server.ingest("secretive", "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
    assert_eq!(status, 200);
    let stranger = Client::new(&server);
    let began = Instant::now();
    let metrics = loop {
        let (status, metrics) = stranger.text("/metrics", &[]);
        assert_eq!(status, 200);
        if metric(&metrics, "reeve_reading_events_total") == Some(3.0) || began.elapsed() > Duration::from_secs(10) {
            break metrics;
        }
        thread::sleep(Duration::from_millis(50));
    };
    for (name, value) in [
        ("reeve_record_records_total", 3.0),
        ("reeve_intake_records_total", 3.0),
        ("reeve_reading_events_total", 3.0),
        ("reeve_reading_lag_records", 0.0),
        ("reeve_record_read_only", 0.0),
    ] {
        assert_eq!(metric(&metrics, name), Some(value), "{name}\n{metrics}");
    }
    assert!(metric(&metrics, "reeve_audit_records_total").is_some());
    assert!(!metrics.contains("secretive"), "a source is named:\n{metrics}");
    check_exposition(&metrics);

    let (status, health) = stranger.text("/health", &[]);
    let health: Value = serde_json::from_str(&health).unwrap();
    assert_eq!((status, &health["status"]), (200, &Value::from("ok")), "{health}");
    assert_eq!(health["stored"]["records"], 3);
    assert_eq!(health["lag"]["records"], 0);
    assert!(!health.to_string().contains("secretive"));
    assert_eq!(stranger.text("/status", &[]).0, 401);
}

/// Every line is a comment or a sample; each metric has its help and type before it, once, and counters end in `_total`.
fn check_exposition(metrics: &str) {
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    for line in metrics.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(kinds.insert(name, kind).is_none(), "{name} twice");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            assert!(kinds.contains_key(name), "{line}");
            value.parse::<f64>().unwrap();
        }
    }
}

#[test]
fn doctor_names_what_is_wrong_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    reeve(["doctor"]).ended(3).says(&["nothing to look at"]);
    reeve(["doctor", "--data", text(&data)]).ended(2);
    let server = Server::start(&data, &[]);
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    // So that the audit log has something to be damaged later.
    Client::signed_in(&server, &data);
    let ran = reeve(["doctor", "--data", text(&data), "--server", &server.console]).ended(0);
    let checks = ran.lines();
    let found =
        |check: &str| checks.iter().find(|line| line["check"] == check).unwrap_or_else(|| panic!("no {check} in {checks:?}"));
    assert_eq!(found("first account")["state"], "warning");
    assert_eq!(found("permissions")["state"], "warning");
    assert!(found("server")["what"].as_str().unwrap().contains(&server.pid().to_string()), "{:?}", found("server"));
    assert!(checks.iter().any(|line| line["check"] == "server" && line["what"].as_str().unwrap().contains("answers")));
    server.stop();

    // A key that others may read; a configuration that lets anybody write.
    let key = data.join("ledger/keys/checkpoint.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let config = folder.path().join("reeve.toml");
    fs::write(&config, format!("data = \"{}\"\nwatch = [\"/nowhere/at/all\"]\n[http]\naddress = \"0.0.0.0:1\"\n", text(&data)))
        .unwrap();
    let ran = reeve(["doctor", "--config", text(&config)]).ended(2);
    for (check, state, word) in [
        ("permissions", "broken", "checkpoint.key"),
        ("listeners", "warning", "anybody"),
        ("watched folders", "broken", "/nowhere/at/all"),
        ("server", "ok", "none"),
    ] {
        let is = |line: &Value| line["check"] == check && line["state"] == state && line["what"].as_str().unwrap().contains(word);
        assert!(ran.lines().iter().any(is), "{check} {word}: {}", ran.stdout);
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&config, "watsch = 1\n").unwrap();
    assert!(reeve(["doctor", "--config", text(&config)]).ended(2).stdout.contains("watsch"));

    // A flipped byte in a sealed segment.
    reeve(["doctor", "--data", text(&data), "--verify"]).ended(0);
    let segment = fs::read_dir(data.join("audit/segments"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "parquet"));
    let segment = segment.expect("the audit log has a sealed segment after a stop");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[40] ^= 1;
    fs::write(&segment, bytes).unwrap();
    reeve(["doctor", "--data", text(&data), "--verify"]).ended(4).says(&["does not verify"]);
}

/// Sends until told to stop; gives what was acknowledged, with the time when it was.
fn load<'s>(
    server: &'s Server,
    thread: usize,
    stop: &'s AtomicBool,
    kept: &'s Mutex<Vec<(Instant, String)>>,
) -> impl FnOnce() + 's {
    move || {
        for n in 0.. {
            if stop.load(Relaxed) {
                return;
            }
            let names: Vec<String> = (0..20).map(|k| format!("t{thread}n{n}k{k}")).collect();
            let lines: String = names.iter().map(|name| format!("{{\"name\":\"{name}\"}}\n")).collect();
            if server.ingest("load", &lines).0 == 200 {
                kept.lock().unwrap().extend(names.into_iter().map(|name| (Instant::now(), name)));
            }
        }
    }
}

#[test]
fn a_backup_made_under_load_holds_all_that_was_acknowledged_before_it_and_goes_on_by_two_hands() {
    let folder = tempfile::tempdir().unwrap();
    let (data, backup, restored) = (folder.path().join("data"), folder.path().join("backup"), folder.path().join("restored"));
    let server = Server::start(&data, &[]);
    let accounts = Accounts::open(&data).unwrap();
    accounts.create("ana", ANA, &[Role::Administrator]).unwrap();
    accounts.create("ben", BEN, &[Role::Analyst]).unwrap();
    drop(accounts);
    let (stop, kept) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let mut before = Instant::now();
    thread::scope(|scope| {
        for thread in 0..2 {
            scope.spawn(load(&server, thread, &stop, &kept));
        }
        thread::sleep(Duration::from_millis(700));
        reeve(["backup", "--data", text(&data), "--to", text(&backup)]).ended(0);
        thread::sleep(Duration::from_millis(700));
        before = Instant::now();
        let second = reeve(["backup", "--data", text(&data), "--to", text(&backup)]).ended(0);
        assert!(
            second.lines()[0]["record"]["records"].as_u64().unwrap()
                + second.lines()[0]["record"]["open_records"].as_u64().unwrap()
                > 0
        );
        stop.store(true, Relaxed);
    });
    assert_eq!(server.stop(), 0);
    let secrets: Vec<_> = walkdir(&backup).into_iter().filter(|path| path.contains("epoch-")).collect();
    assert!(secrets.is_empty(), "keys of the hour are in the backup: {secrets:?}");
    // Once more after the stop, and again: what is sealed is not copied twice; other folders are left alone.
    reeve(["backup", "--data", text(&data), "--to", text(&backup)]).ended(0);
    let third = reeve(["backup", "--data", text(&data), "--to", text(&backup)]).ended(0);
    assert!(third.lines()[0]["unchanged_files"].as_u64().unwrap() > 0, "{}", third.stdout);
    reeve(["backup", "--data", text(&data), "--to", text(&data)]).ended(3);

    reeve(["restore", text(&backup), "--data", text(&data)]).ended(3).says(&["not empty"]);
    reeve(["restore", text(folder.path()), "--data", text(&restored)]).ended(3).says(&["no finished backup"]);
    let key = data.join("ledger/keys/checkpoint.vkey");
    reeve(["restore", text(&backup), "--data", text(&restored), "--key", text(&key)]).ended(0);
    let args =
        ["ledger", "fork", "--data", text(&restored), "--requester", "ana", "--approver", "ben", "--reason", "the disk failed"];
    let forked = reeve_with(args, &[("REEVE_REQUESTER_PASSWORD", ANA), ("REEVE_APPROVER_PASSWORD", BEN)]).ended(0);
    let forks: Vec<String> = forked.lines().iter().map(|line| line["fork"].as_str().unwrap().to_owned()).collect();

    let server = Server::start(&restored, &[]);
    let client = Client::signed_in(&server, &data);
    let wanted: Vec<String> =
        kept.into_inner().unwrap().into_iter().filter(|(at, _)| *at < before).map(|(_, name)| name).collect();
    assert!(wanted.len() > 100, "only {} were acknowledged", wanted.len());
    let began = Instant::now();
    let found = loop {
        let (status, rows) = client.text("/search", &[("q", "source:load | stats count")]);
        assert_eq!(status, 200, "{rows}");
        let table = rows.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|line| line["type"] == "table");
        let found = table.and_then(|table| table["rows"][0][0].as_u64()).unwrap_or_default();
        if found >= wanted.len() as u64 || began.elapsed() > Duration::from_secs(30) {
            break found;
        }
        thread::sleep(Duration::from_millis(200));
    };
    assert!(found >= wanted.len() as u64, "{found} of {} are found", wanted.len());
    assert_eq!(server.stop(), 0);
    let mut verify = vec!["ledger", "verify", "--data", text(&restored)];
    forks.iter().for_each(|fork| verify.extend(["--fork", fork]));
    reeve(verify).ended(0);
    let kept: std::collections::HashSet<Vec<u8>> = records(&restored.join("ledger"), "reeve.local/record").into_iter().collect();
    let acts = String::from_utf8(records(&restored.join("audit"), "reeve.local/audit").join(&b'\n')).unwrap();
    let copies: Vec<&str> = acts.lines().filter(|act| act.contains("\"act\":\"backup\"")).collect();
    assert_eq!(copies.len(), 4, "two while the server ran, two after it: {copies:?}");
    assert!(copies.iter().all(|act| act.contains("asked_by\":\"uid:") && act.contains(text(&backup))), "{copies:?}");
    let missing: Vec<&String> =
        wanted.iter().filter(|name| !kept.contains(format!("{{\"name\":\"{name}\"}}").as_bytes())).collect();
    assert!(missing.is_empty(), "{} of {}: {missing:?}", missing.len(), wanted.len());
}

/// The raw bytes of every record of a ledger nobody serves.
fn records(dir: &Path, origin: &str) -> Vec<Vec<u8>> {
    let ledger = reeve_ledger::Ledger::open(dir, reeve_ledger::Options::new(origin)).unwrap();
    let (mut all, mut next) = (Vec::new(), reeve_record::RecordId::default());
    loop {
        let read = ledger.read_from(next, 10_000).unwrap();
        let Some(last) = read.last() else { return all };
        next = reeve_record::RecordId { index: last.id.index + 1, ..last.id };
        all.extend(read.into_iter().map(|record| record.raw.to_vec()));
    }
}

fn walkdir(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walkdir(&path)) } else { found.push(path.to_string_lossy().into_owned()) }
    }
    found
}

#[test]
fn a_damaged_backup_is_not_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    let input = folder.path().join("app.log");
    fs::write(&input, "one\ntwo\nthree\n").unwrap();
    reeve(["ingest", text(&input), "--data", text(&data)]).ended(0);
    reeve(["backup", "--data", text(&data), "--to", text(&backup)]).ended(0);
    let segment = backup.join("ledger/segments/00000000.parquet");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[30] ^= 4;
    fs::write(&segment, bytes).unwrap();
    let restored = folder.path().join("restored");
    reeve(["restore", text(&backup), "--data", text(&restored)]).ended(4).says(&["does not verify"]);
    assert!(!restored.exists());
}

#[test]
fn a_scrub_finds_a_flipped_byte_and_its_result_is_in_the_audit_log() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let input = folder.path().join("app.log");
    fs::write(&input, "one\ntwo\nthree\n").unwrap();
    reeve(["ingest", text(&input), "--data", text(&data)]).ended(0);
    let scrubbed = |faults: bool| {
        let server = Server::start(&data, &[]);
        let stranger = Client::new(&server);
        let began = Instant::now();
        loop {
            let health: Value = serde_json::from_str(&stranger.text("/health", &[]).1).unwrap();
            if !health["last_scrub"].is_null() || began.elapsed() > Duration::from_secs(20) {
                assert_eq!(health["last_scrub"]["faults"].as_u64().map(|found| found > 0), Some(faults), "{health}");
                let told = health["problems"].as_array().unwrap().iter().any(|problem| problem["code"] == "scrub_faults");
                assert_eq!(told, faults, "{health}");
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(server.stop(), 0);
    };
    scrubbed(false);
    // A scrub is due once a week: not again at the next start, unless its note is gone.
    fs::remove_file(data.join("scrub.json")).unwrap();
    let segment = data.join("ledger/segments/00000000.parquet");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[30] ^= 4;
    fs::write(&segment, bytes).unwrap();
    scrubbed(true);
    let acts = records(&data.join("audit"), "reeve.local/audit");
    let acts: Vec<Value> = acts.iter().filter_map(|act| serde_json::from_slice(act).ok()).collect();
    let scrubs: Vec<&Value> = acts.iter().filter(|act| act["act"] == "scrub").collect();
    assert_eq!(scrubs.len(), 2, "{acts:?}");
    assert_eq!(scrubs[1]["detail"]["faults"][0]["log"], "ledger");
}

/// A file system in memory of its own, so that it can be filled; unmounted in the end.
struct Tmpfs<'p>(&'p Path);

impl<'p> Tmpfs<'p> {
    fn mount(path: &'p Path, mebibytes: u32) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let size = format!("size={mebibytes}m,mode=700");
        let done = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).status();
        done.is_ok_and(|status| status.success()).then_some(Self(path))
    }

    /// Leaves so much free.
    fn fill(&self, free: u64) {
        let disk = std::process::Command::new("df").args(["--output=avail", "-B1"]).arg(self.0).output().unwrap();
        let avail: u64 = String::from_utf8_lossy(&disk.stdout).lines().nth(1).unwrap().trim().parse().unwrap();
        let filler = self.0.join("filler");
        let have = fs::metadata(&filler).map_or(0, |meta| meta.len());
        let file = fs::File::options().create(true).append(true).open(&filler).unwrap();
        let more = (have + avail).saturating_sub(free);
        if more < have {
            file.set_len(more).unwrap();
        } else {
            std::io::Write::write_all(&mut &file, &vec![1; (more - have) as usize]).unwrap();
        }
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_filling_disk_stops_the_reading_first_the_record_then_and_the_audit_log_last() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let Some(mount) = Tmpfs::mount(&disk, 192) else { return println!("skipped: mounting takes root") };
    let config = folder.path().join("reeve.toml");
    fs::write(&config, "[limits]\ndisk_reserve_bytes = 33554432\n").unwrap();
    let data = disk.join("data");
    let server = Server::start(&data, &["--config", text(&config)]);
    let client = Client::signed_in(&server, &data);
    let health = || {
        let (status, health) = client.text("/health", &[]);
        (status, serde_json::from_str::<Value>(&health).unwrap())
    };
    let until = |what: &str, is: &dyn Fn(u16, &Value) -> bool| {
        let began = Instant::now();
        loop {
            let (status, health) = health();
            if is(status, &health) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{what}: {status} {health}");
            thread::sleep(Duration::from_millis(50));
        }
    };
    let has = |health: &Value, code: &str| health["problems"].as_array().unwrap().iter().any(|problem| problem["code"] == code);
    assert_eq!(server.ingest("app", "{\"n\":1}\n").0, 200);
    until("the first event is read", &|_, health| health["lag"]["records"] == 0 && health["stored"]["records"] == 1);

    mount.fill(48 << 20);
    until("the reading waits", &|status, health| status == 200 && has(health, "disk_fills"));
    assert_eq!(server.ingest("app", "{\"n\":2}\n").0, 200, "the record goes on");
    thread::sleep(Duration::from_millis(500));
    assert_eq!(health().1["lag"]["records"], 1, "the reading does not");

    mount.fill(16 << 20);
    until("nothing is taken", &|status, health| status == 503 && has(health, "disk_full"));
    let (status, answer) = server.ingest("app", "{\"n\":3}\n");
    assert!(status == 503 && answer.to_string().contains("reserve"), "{status} {answer}");
    // Who looks is still recorded, so people may look.
    let (status, rows) = client.text("/search", &[("q", "source:app | stats count")]);
    assert_eq!(status, 200, "{rows}");
    let mut another = Client::new(&server);
    let (name, password) = support::first_account(&data);
    assert_eq!(another.sign_in(&name, &password).0, 200);

    mount.fill(120 << 20);
    until("all goes on by itself", &|status, health| status == 200 && health["status"] == "ok" && health["lag"]["records"] == 0);
    assert_eq!(server.ingest("app", "{\"n\":4}\n").0, 200);
    until("and all is read", &|_, health| health["stored"]["records"] == 3 && health["lag"]["records"] == 0);
    assert_eq!(server.stop(), 0);
}
