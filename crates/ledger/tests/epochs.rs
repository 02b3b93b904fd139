//! Keys that live for an epoch: they change, the old ones are gone, and whoever has today's keys cannot rewrite yesterday unnoticed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

#[path = "support/forge.rs"]
mod forge;
mod support;
#[path = "support/time.rs"]
mod time;

use std::{fs, path::Path, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use forge::{Forger, entries_of, epoch_key};
use reeve_ledger::{
    EpochStatement, Ledger, NewRecord, Options, Report, Turns, VerifierKey, VerifyOptions, prove, verify, verify_proof,
};
use reeve_record::{RecordId, Transport};
use support::{Fault, MemoryDisk, Reboot};
use time::TestClock;

const ORIGIN: &str = "reeve.example/record";
const HOUR: Duration = Duration::from_secs(3600);

fn options(clock: &TestClock) -> Options {
    Options { clock: Arc::new(clock.clone()), epoch: Some(HOUR), ..Options::new(ORIGIN) }
}

fn batch(n: u32) -> Vec<NewRecord> {
    vec![NewRecord::new("web1", Transport::File, format!("record {n}"))]
}

/// Takes a batch and seals it, in turns that the test gives.
fn seal(ledger: &Ledger, turns: &mut Turns, n: u32) {
    ledger.submit_with(batch(n), move |outcome| assert!(outcome.is_ok(), "{n}"));
    turns.commit();
    turns.end_segment();
    while turns.seal() {}
}

/// `hours` hours with a batch in each, and a heartbeat half an hour after it; the number of the last epoch.
fn run(dir: &Path, clock: &TestClock, hours: u32) -> u64 {
    let (ledger, mut turns) = Ledger::open_in_turns(dir, options(clock)).unwrap();
    for hour in 0..hours {
        seal(&ledger, &mut turns, hour);
        clock.pass(HOUR / 2);
        turns.seal();
        clock.pass(HOUR / 2);
    }
    let epoch = ledger.status().epoch.unwrap();
    assert_eq!(epoch.undestroyed, [] as [String; 0]);
    epoch.number
}

fn key_files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir.join("keys")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("epoch-")).collect();
    names.sort();
    names
}

fn root_key(dir: &Path) -> VerifierKey {
    VerifierKey::parse(&fs::read_to_string(dir.join("keys/root.vkey")).unwrap()).unwrap()
}

/// What somebody sees who kept both public keys elsewhere.
fn report(dir: &Path, root: &VerifierKey) -> Report {
    verify(dir, &VerifyOptions { root: Some(root.clone()), ..VerifyOptions::default() }, &mut |_| {}).unwrap()
}

fn codes(report: &Report) -> Vec<&'static str> {
    let mut codes: Vec<_> = report.faults.iter().map(|fault| fault.code).collect();
    codes.dedup();
    codes
}

#[test]
fn each_hour_has_its_key_and_only_the_last_is_left() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::at("2026-01-05T09:00:00Z"));
    assert_eq!(run(dir.path(), &clock, 5), 4);
    assert_eq!(key_files(dir.path()), ["epoch-00000004.key"]);
    let report = report(dir.path(), &root_key(dir.path()));
    assert_eq!(report.faults, []);
    assert_eq!((report.epochs, report.records, report.log_size), (5, 5, 10));
    // A day later: one new epoch, not one for each hour that nobody worked.
    clock.pass(24 * HOUR);
    assert_eq!(run(dir.path(), &clock, 1), 5);
}

#[test]
fn a_restart_within_the_hour_goes_on_with_the_key() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::at("2026-01-05T09:00:00Z"));
    for n in 0..3 {
        let (ledger, mut turns) = Ledger::open_in_turns(dir.path(), options(&clock)).unwrap();
        seal(&ledger, &mut turns, n);
        assert_eq!(ledger.status().epoch.unwrap().number, 0);
        clock.pass(HOUR / 10);
    }
    // One damaged half of the key file does not stop it, both do, and it says what to do.
    let path = dir.path().join("keys/epoch-00000000.key");
    let key = fs::read(&path).unwrap();
    let mut damaged = key.clone();
    damaged[..4096].fill(0xff);
    fs::write(&path, &damaged).unwrap();
    let (ledger, mut turns) = Ledger::open_in_turns(dir.path(), options(&clock)).unwrap();
    seal(&ledger, &mut turns, 3);
    assert_eq!(ledger.status().seal_problem, None);
    drop((ledger, turns));
    damaged[4096..].fill(0xff);
    fs::write(&path, &damaged).unwrap();
    let (ledger, mut turns) = Ledger::open_in_turns(dir.path(), options(&clock)).unwrap();
    seal(&ledger, &mut turns, 4);
    let problem = ledger.status().seal_problem.unwrap();
    assert!(problem.contains("epoch-00000000.key") && problem.contains("reeve ledger fork"), "{problem}");
    assert!(ledger.get(RecordId { segment: 4, index: 0 }).unwrap().is_some(), "the record is durable all the same");
}

#[test]
fn a_clock_that_jumps_neither_breaks_the_chain_nor_keeps_a_key_alive() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::at("2026-01-05T09:00:00Z"));
    let (ledger, mut turns) = Ledger::open_in_turns(dir.path(), options(&clock)).unwrap();
    let mut epochs = Vec::new();
    for (n, set) in (0..).zip(["2026-01-05T09:10:00Z", "2036-01-05T09:00:00Z", "2026-01-05T09:20:00Z", "2016-01-05T09:20:00Z"]) {
        clock.set(set);
        seal(&ledger, &mut turns, n);
        epochs.push(ledger.status().epoch.unwrap().number);
    }
    assert_eq!(epochs, [0, 1, 1, 1]);
    // The day's time is ten years behind the last checkpoint now; an hour by the other clock ends the epoch all the same.
    clock.pass(HOUR);
    seal(&ledger, &mut turns, 9);
    assert_eq!(ledger.status().epoch.unwrap().number, 2);
    drop((ledger, turns));
    assert_eq!(report(dir.path(), &root_key(dir.path())).faults, []);
    assert_eq!(key_files(dir.path()), ["epoch-00000002.key"]);
}

#[test]
fn a_proof_shows_the_epoch_and_a_checkpoint_outside_of_it_is_refused() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::at("2026-01-05T09:00:00Z"));
    run(dir.path(), &clock, 3);
    let key = VerifierKey::parse(&fs::read_to_string(dir.path().join("keys/checkpoint.vkey")).unwrap()).unwrap();
    let id = RecordId { segment: 1, index: 0 };
    let proven = verify_proof(&prove(dir.path(), id).unwrap(), b"record 1", &key).unwrap();
    assert_eq!((proven.entry, proven.epoch.map(|epoch| epoch.epoch)), (3, Some(2)));

    let forger = Forger::with_keys_of(dir.path());
    let entries = entries_of(dir.path());
    for (time, why) in [("2026-01-05T10:30:00.000000Z", "before its epoch"), ("2026-01-05T12:00:00.000000Z", "after its epoch")] {
        forger.write_log(dir.path(), &entries, time);
        let error = verify_proof(&prove(dir.path(), id).unwrap(), b"record 1", &key).unwrap_err();
        assert!(error.to_string().contains("outside of its key epoch 2"), "{why}: {error}");
        let report = report(dir.path(), &root_key(dir.path()));
        assert_eq!(codes(&report), ["LEDGER-030"], "{why}: {:#?}", report.faults);
        assert!(!report.faults[0].records.is_empty());
    }
    // Without the epoch's signature the stable key alone does not convince.
    forger.write_log_unsigned(dir.path(), &entries, "2026-01-05T11:30:00.000000Z");
    assert_eq!(codes(&report(dir.path(), &root_key(dir.path()))), ["LEDGER-030"]);
    assert!(prove(dir.path(), id).and_then(|proof| verify_proof(&proof, b"record 1", &key)).is_err());
}

/// Somebody with root and every key there is, at 11:30 of an hour that began at 11:00, changes what was sealed before.
#[test]
fn todays_keys_do_not_rewrite_yesterday() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::at("2026-01-05T09:00:00Z"));
    run(dir.path(), &clock, 3);
    let root = root_key(dir.path());
    let forger = Forger::with_keys_of(dir.path());
    let honest = entries_of(dir.path());
    let now = "2026-01-05T11:40:00.000000Z";
    let mut cases: Vec<(&str, Vec<String>)> = Vec::new();

    let mut gone = honest.clone();
    gone.remove(2);
    cases.push(("an epoch entry is gone", gone));
    let mut twice = honest.clone();
    twice.insert(3, honest[2].clone());
    cases.push(("an epoch is sealed twice", twice));
    let mut other = honest.clone();
    other[1] = other[1].replace("records 1", "records 2");
    cases.push(("a batch of the first hour is another", other));
    cases.push(("all epochs are gone", honest.iter().filter(|entry| !entry.starts_with("reeve-epoch")).cloned().collect()));

    // A chain of one's own from the start, every signature of which fits: only the root key is another.
    let (own, chain) = forger.new_chain(&honest);
    cases.push(("a chain of its own", chain));
    for (what, entries) in &cases {
        if what.contains("own") { &own } else { &forger }.write_log(dir.path(), entries, now);
        let report = report(dir.path(), &root);
        assert!(codes(&report).contains(&"LEDGER-030"), "{what}: {:#?}", report.faults);
        let named = report.faults.iter().filter(|fault| fault.code == "LEDGER-030").all(|fault| !fault.records.is_empty());
        assert!(named, "{what}");
    }
    // The last epoch's own entries are still the key's to change: that is what witnesses are for.
    let mut shorter = honest.clone();
    shorter.truncate(5);
    for kind in ["parquet", "map"] {
        fs::remove_file(dir.path().join(format!("segments/00000002.{kind}"))).unwrap();
    }
    forger.write_log(dir.path(), &shorter, now);
    assert_eq!(codes(&report(dir.path(), &root)), [] as [&str; 0]);
}

#[test]
fn a_log_from_before_epochs_goes_on_with_them() {
    let dir = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases/ledger/format-1/ledger"), dir.path());
    let key = VerifierKey::parse(&fs::read_to_string(dir.path().join("keys/checkpoint.vkey")).unwrap()).unwrap();
    let before = verify(dir.path(), &VerifyOptions::default(), &mut |_| {}).unwrap();
    assert_eq!((before.faults.len(), before.records, before.epochs, before.log_size), (0, 8, 0, 2), "{:#?}", before.faults);
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases/ledger/format-1");
    let proof = fs::read_to_string(cases.join("0-3.tlog-proof")).unwrap();
    let raw = fs::read(cases.join("0-3.raw")).unwrap();
    let check = |proof: &str| verify_proof(proof, &raw, &key).unwrap().epoch.map(|epoch| epoch.epoch);
    assert_eq!(check(&proof), None);
    {
        let ledger = Ledger::open(dir.path(), Options { epoch: Some(HOUR), ..Options::new(ORIGIN) }).unwrap();
        assert_eq!(ledger.get(RecordId { segment: 0, index: 3 }).unwrap().unwrap().raw, raw);
        assert_eq!(ledger.status().recovery.records, 2, "two were not sealed yet");
        ledger.append(batch(9)).unwrap();
        ledger.seal_now().unwrap();
    }
    let after = report(dir.path(), &root_key(dir.path()));
    assert_eq!(after.faults, []);
    assert_eq!((after.records, after.epochs), (11, 1));
    assert_eq!(check(&proof), None, "the old proof stays valid");
    assert_eq!(check(&prove(dir.path(), RecordId { segment: 0, index: 3 }).unwrap()), Some(0));
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Some hours on a disk that may fail once, each with as many batches.
fn hours(disk: &MemoryDisk, clock: &TestClock, batches: &[u32]) -> Result<(), reeve_ledger::Error> {
    let options = Options { disk: Arc::new(disk.clone()), ..options(clock) };
    let (ledger, mut turns) = Ledger::open_in_turns(Path::new("/ledger"), options)?;
    for batches in batches {
        for n in 0..*batches {
            ledger.submit_with(batch(n), |_| ());
            turns.commit();
            turns.end_segment();
        }
        // A failed attempt is followed by others, and the hour may end in between.
        turns.seal();
        turns.seal();
        clock.pass(HOUR);
        turns.seal();
        turns.seal();
    }
    Ok(())
}

#[test]
fn a_key_change_that_fails_anywhere_either_way_leaves_a_log_that_verifies_and_goes_on() {
    for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::FailBefore, Fault::FailAfter] {
        for write in 0.. {
            let (disk, clock) = (MemoryDisk::default(), TestClock::at("2026-01-05T09:00:00Z"));
            disk.plan(write, fault);
            let _ = hours(&disk, &clock, &[1, 0]);
            let met = disk.met();
            let crash = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
            for reboot in if crash { &[Reboot::Kill, Reboot::PowerCut, Reboot::Torn][..] } else { &[Reboot::PowerCut] } {
                let case = format!("{fault:?} at write {write}, then {reboot:?}");
                let disk = disk.reboot(*reboot);
                hours(&disk, &clock, &[0, 1]).unwrap_or_else(|error| panic!("{case}: {error}"));
                check(&disk, &case);
            }
            if !met {
                eprintln!("{fault:?}: {write} writes failed");
                assert!(write > 60, "the script writes more than that");
                break;
            }
        }
    }
}

/// The log verifies, and of all the keys only that of the epoch that goes on is left, also in what a disk remembers of removed files.
fn check(disk: &MemoryDisk, case: &str) {
    let dir = Path::new("/ledger");
    let options = VerifyOptions { disk: Arc::new(disk.clone()), ..VerifyOptions::default() };
    let report = verify(dir, &options, &mut |_| {}).unwrap();
    assert_eq!(report.faults, [], "{case}");
    assert!(report.epochs >= 2, "{case}: {}", report.epochs);
    // A key that was made and never began an epoch may lie somewhere without a name after a power cut; it signs nothing anybody believes.
    let logged: Vec<Vec<u8>> = disk.remembered(b"reeve-epoch/v1");
    let begun = |key: &[u8; 32]| {
        let line = format!("\nkey {}\n", STANDARD.encode(key));
        logged.iter().any(|bundle| bundle.windows(line.len()).any(|window| window == line.as_bytes()))
    };
    let keys = disk.remembered(b"PRIVATE+KEY+").into_iter().filter_map(|content| epoch_key(&content));
    let left: Vec<String> = keys.filter(|(_, key)| begun(key.verifying_key().as_bytes())).map(|(name, _)| name).collect();
    assert_eq!(left, [format!("{ORIGIN}/epoch/{}", report.epochs - 1)], "{case}: these keys can be found on the disk");
}

#[test]
fn epoch_statements_are_public_and_read_back() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::at("2026-01-05T09:00:00Z"));
    run(dir.path(), &clock, 2);
    let entries = entries_of(dir.path());
    let epochs: Vec<_> = entries.iter().filter_map(|entry| EpochStatement::parse(entry)).collect();
    assert_eq!(epochs.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(epochs[1].seal.map(|seal| seal.size), Some(2));
}
