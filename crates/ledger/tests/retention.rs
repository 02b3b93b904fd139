//! Content leaves, and everything else stays provable: redaction, destruction, holds. `docs/spec/retention.md`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod support;

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use reeve_ledger::{
    Disk, DisposalAuthority, Error, HoldScope, Ledger, NewHold, NewRecord, Options, Report, Turns, VerifyOptions, prove,
    prove_on, verify, verify_proof,
};
use reeve_record::{RecordId, Transport};
use support::{Fault, MemoryDisk, Reboot};

const DIR: &str = "/ledger";

fn authority() -> DisposalAuthority {
    DisposalAuthority::new("ana", "ben", "a password in clear text", "GRS 3.2 item 030", "none").unwrap()
}

fn id(segment: u32, index: u32) -> RecordId {
    RecordId { segment, index }
}

/// 32 bytes that no compression hides: they lie in files as they are.
fn needle(n: u32) -> [u8; 32] {
    let mut state = u64::from(n) + 1;
    std::array::from_fn(|_| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 56) as u8
    })
}

fn raw(n: u32) -> Vec<u8> {
    [format!("record {n} of web{} {}", n % 3, "lorem ".repeat((n % 7) as usize)).as_bytes(), &needle(n)].concat()
}

fn batch(from: u32, count: u32) -> Vec<NewRecord> {
    (from..from + count).map(|n| NewRecord::new(format!("web{}", n % 3), Transport::Http, raw(n))).collect()
}

fn open(dir: &Path) -> Ledger {
    let epoch = Some(Duration::from_secs(3600));
    Ledger::open(dir, Options { epoch, ..Options::new("reeve.example/record") }).unwrap()
}

/// Two sealed segments of 700 records and one of 30.
fn filled(dir: &Path) -> Ledger {
    let ledger = open(dir);
    for (from, count) in [(0, 700), (1000, 700), (2000, 30)] {
        ledger.append(batch(from, count)).unwrap();
        ledger.seal_now().unwrap();
    }
    ledger
}

fn intact(dir: &Path) -> Report {
    let report = verify(dir, &VerifyOptions::default(), &mut |_| {}).unwrap();
    assert!(report.is_intact(), "{:#?}", report.faults);
    assert_eq!(report.left_over, Vec::<String>::new());
    report
}

#[test]
fn a_redacted_record_keeps_its_leaf_and_all_proofs() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = filled(dir.path());
    let key = ledger.verifier_key();
    let (gone, kept) = ([id(0, 3), id(0, 4), id(0, 512), id(0, 699)], [id(0, 0), id(0, 5), id(0, 698), id(1, 3), id(2, 29)]);
    let proof_of_gone = prove(dir.path(), gone[0]).unwrap();
    let before: Vec<_> = kept.iter().map(|id| verify_leaf(dir.path(), &ledger, *id)).collect();
    let done = ledger.redact(&gone, &authority(), &|_| None).unwrap();
    assert_eq!((done.len(), done[0].records, done[0].destroyed), (1, 4, false));
    let after: Vec<_> = kept.iter().map(|id| verify_leaf(dir.path(), &ledger, *id)).collect();
    assert_eq!(before, after, "leaves, batch roots and paths are what they were");
    for id in gone {
        assert_eq!(ledger.get(id).unwrap(), None);
        assert_eq!(ledger.disposed_by(id), Some((done[0].entry, false)));
        let error = prove(dir.path(), id).unwrap_err();
        assert_eq!(error.code(), "LEDGER-037");
        assert!(error.to_string().contains(&format!("redacted by entry {}", done[0].entry)), "{error}");
    }
    // Who has bytes and proof from before can still show them.
    verify_proof(&proof_of_gone, &raw(3), &key).unwrap();
    let read = ledger.read_from(id(0, 0), 10_000).unwrap();
    assert_eq!(read.len(), 696);
    assert!(read.iter().all(|record| !gone.contains(&record.id) && record.raw == raw(record.id.index)));
    let report = intact(dir.path());
    assert_eq!((report.redacted_records, report.destroyed_records, report.records), (4, 0, 1430));
    // Once more in the same segment, and what is redacted already is passed over.
    assert_eq!(ledger.redact(&gone, &authority(), &|_| None).unwrap(), []);
    let again = ledger.redact(&[id(0, 3), id(0, 6)], &authority(), &|_| None).unwrap();
    assert_eq!(again[0].records, 1);
    assert_eq!(intact(dir.path()).redacted_records, 5);
    let after: Vec<_> = [id(0, 0), id(0, 5)].iter().map(|id| verify_leaf(dir.path(), &ledger, *id)).collect();
    assert_eq!(before[..2], after);
    drop(ledger);
    let ledger = open(dir.path());
    assert_eq!(ledger.get(id(0, 6)).unwrap(), None);
    assert_eq!(ledger.get(id(0, 7)).unwrap().unwrap().raw, raw(7));
    assert_eq!((ledger.status().redacted_records, ledger.status().destroyed_records), (5, 0));
    let names: Vec<_> = std::fs::read_dir(dir.path().join("segments")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.iter().filter(|name| name.to_string_lossy().starts_with("00000000.")).count(), 3, "{names:?}");
    ledger.append(batch(3000, 5)).unwrap();
    ledger.seal_now().unwrap();
    intact(dir.path());
}

/// What a proof says of a record, without the checkpoint that goes on.
fn verify_leaf(dir: &Path, ledger: &Ledger, id: RecordId) -> (Vec<u8>, [u8; 32]) {
    let proof = prove(dir, id).unwrap();
    let raw = ledger.get(id).unwrap().unwrap().raw;
    let proven = verify_proof(&proof, &raw, &ledger.verifier_key()).unwrap();
    (proven.leaf.encode(), proven.statement.root)
}

#[test]
fn a_destroyed_segment_leaves_its_leaf_hashes() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = filled(dir.path());
    ledger.redact(&[id(1, 9)], &authority(), &|_| None).unwrap();
    let done = ledger.destroy(1, &authority(), &|_| None).unwrap().unwrap();
    assert_eq!((done.records, done.destroyed, done.bytes > 0), (699, true, true));
    assert_eq!(ledger.destroy(1, &authority(), &|_| None).unwrap(), None);
    assert_eq!(ledger.redact(&[id(1, 1)], &authority(), &|_| None).unwrap_err().code(), "LEDGER-037");
    assert_eq!(prove(dir.path(), id(1, 1)).unwrap_err().code(), "LEDGER-037");
    let found = ledger.get_many(&[id(0, 1), id(1, 1), id(2, 1)]).unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    let mut next = id(0, 0);
    let mut read = 0;
    loop {
        let records = ledger.read_from(next, 100).unwrap();
        let Some(last) = records.last() else { break };
        next = id(last.id.segment, last.id.index + 1);
        assert!(records.iter().all(|record| record.id.segment != 1));
        read += records.len();
    }
    assert_eq!(read, 730);
    let report = intact(dir.path());
    assert_eq!((report.records, report.destroyed_records, report.redacted_records), (730, 700, 0));
    drop(ledger);
    let ledger = open(dir.path());
    assert_eq!(ledger.status().destroyed_records, 700);
    assert_eq!(ledger.segment(1).unwrap().unwrap().disposed_by, Some(done.entry));
    let names: Vec<_> = std::fs::read_dir(dir.path().join("segments")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let left: Vec<_> = names.iter().filter(|name| name.to_string_lossy().starts_with("00000001.")).collect();
    assert_eq!(left, ["00000001.leaves"]);
    drop(ledger);
    for spoil in [0usize, 31 * 32] {
        let path = dir.path().join("segments/00000001.leaves");
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[spoil] ^= 1;
        std::fs::write(&path, bad).unwrap();
        let report = verify(dir.path(), &VerifyOptions::default(), &mut |_| {}).unwrap();
        assert_eq!(report.faults.iter().map(|fault| fault.code).collect::<Vec<_>>(), ["LEDGER-023"]);
        std::fs::write(&path, good).unwrap();
    }
}

#[test]
fn write_ahead_files_are_erased_and_not_only_unlinked() {
    let disk = MemoryDisk::default();
    let (ledger, mut turns) = open_in_turns(&disk);
    store(&ledger, &mut turns, 0, 6);
    assert_eq!(disk.remembered(&needle(2)).len(), 1, "an open write-ahead file holds content");
    turns.end_segment();
    turns.seal();
    ledger.redact(&[id(0, 2)], &authority(), &|_| None).unwrap();
    assert!(disk.remembered(&needle(2)).is_empty());
    assert_eq!(disk.remembered(&needle(3)).len(), 1, "what was not redacted is in one file, the sealed one");
    assert_eq!(ledger.get(id(0, 3)).unwrap().unwrap().raw, raw(3));
}

#[test]
fn what_is_not_there_cannot_be_redacted() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = filled(dir.path());
    ledger.append(batch(3000, 5)).unwrap();
    let code = |ids: &[RecordId]| ledger.redact(ids, &authority(), &|_| None).unwrap_err().code();
    assert_eq!(code(&[id(3, 0)]), "LEDGER-013");
    assert_eq!(code(&[id(0, 700)]), "LEDGER-014");
    assert_eq!(ledger.destroy(9, &authority(), &|_| None).unwrap_err().code(), "LEDGER-013");
    // What is damaged is not vouched for anew.
    let path = dir.path().join("segments/00000000.parquet");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(code(&[id(0, 1)]), "LEDGER-008");
    let names = std::fs::read_dir(dir.path().join("segments")).unwrap();
    assert!(!names.into_iter().any(|name| name.unwrap().file_name().to_string_lossy().contains(".r1.")));
}

#[test]
fn more_ranges_than_an_entry_holds_take_several() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    ledger.append((0..8000).map(|n| NewRecord::new("a", Transport::File, format!("line {n}"))).collect()).unwrap();
    ledger.seal_now().unwrap();
    let every_other: Vec<RecordId> = (0..4000).map(|n| id(0, 2 * n)).collect();
    let before = ledger.last_checkpoint().unwrap().size;
    let done = ledger.redact(&every_other, &authority(), &|_| None).unwrap();
    assert_eq!((done[0].records, done[0].entry), (4000, before + 2));
    assert_eq!(ledger.get(id(0, 7998)).unwrap(), None);
    assert_eq!(ledger.get(id(0, 7999)).unwrap().unwrap().raw, &b"line 7999"[..]);
    assert_eq!(intact(dir.path()).redacted_records, 4000);
    drop(ledger);
    let ledger = open(dir.path());
    assert_eq!(ledger.get(id(0, 7999)).unwrap().unwrap().raw, &b"line 7999"[..]);
    ledger.destroy(0, &authority(), &|_| None).unwrap();
    intact(dir.path());
}

fn hold(name: &str, scope: HoldScope) -> NewHold {
    NewHold {
        name: name.into(),
        by: "ana".into(),
        owner: "counsel".into(),
        reason: "litigation".into(),
        review: "2027-01-01T00:00:00Z".parse().unwrap(),
        scope,
    }
}

#[test]
fn holds_forbid_until_each_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = filled(dir.path());
    let by_source = HoldScope { sources: vec!["web1".into()], ..HoldScope::default() };
    let by_record = HoldScope { records: vec![(id(0, 0), id(0, 9))], ..HoldScope::default() };
    ledger.hold(&hold("case-1", by_source)).unwrap();
    ledger.hold(&hold("case-2", by_record)).unwrap();
    assert_eq!(ledger.hold(&hold("case-1", HoldScope::default())).unwrap_err().code(), "LEDGER-018");
    let held = |result: Result<_, Error>| match result {
        Err(Error::Held { hold, .. }) => Some(hold),
        Err(error) => panic!("{error}"),
        Ok(_) => None,
    };
    let redact = |n: u32| held(ledger.redact(&[id(0, n)], &authority(), &|_| None).map(|_| ()));
    assert_eq!(redact(1).as_deref(), Some("case-1"));
    assert_eq!(redact(2).as_deref(), Some("case-2"));
    assert_eq!(redact(11), None);
    assert_eq!(held(ledger.destroy(1, &authority(), &|_| None).map(|_| ())).as_deref(), Some("case-1"));
    ledger.release("case-1", "ben", "settled").unwrap();
    assert_eq!(ledger.release("case-1", "ben", "settled").unwrap_err().code(), "LEDGER-018");
    assert_eq!(redact(1).as_deref(), Some("case-2"), "the other hold stays");
    drop(ledger);
    let ledger = open(dir.path());
    let holds = ledger.holds();
    assert_eq!(holds.iter().map(|hold| hold.is_active()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(holds[0].released.as_ref().map(|release| release.by.as_str()), Some("ben"));
    assert_eq!(held(ledger.destroy(1, &authority(), &|_| None).map(|_| ())), None);
    assert_eq!(held(ledger.destroy(0, &authority(), &|_| None).map(|_| ())).as_deref(), Some("case-2"));
    // By event time, which only a reading knows.
    let day = HoldScope { to: Some("2020-01-01T00:00:00Z".parse().unwrap()), ..HoldScope::default() };
    ledger.hold(&hold("case-3", day)).unwrap();
    let long_ago = |_| Some("2019-06-01T00:00:00Z".parse().unwrap());
    assert_eq!(held(ledger.redact(&[id(2, 0)], &authority(), &long_ago).map(|_| ())).as_deref(), Some("case-3"));
    assert_eq!(held(ledger.redact(&[id(2, 0)], &authority(), &|_| None).map(|_| ())), None);
    intact(dir.path());
}

#[test]
fn a_log_from_before_does_not_erase_what_was_redacted_after() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = filled(dir.path());
    let older = copy(&dir.path().join("log"));
    ledger.redact(&[id(0, 1)], &authority(), &|_| None).unwrap();
    ledger.destroy(1, &authority(), &|_| None).unwrap();
    drop(ledger);
    let newer = copy(&dir.path().join("log"));
    put_back(&dir.path().join("log"), &older);
    let files = copy(&dir.path().join("segments"));
    let error = Ledger::open(dir.path(), Options::new("reeve.example/record")).err().unwrap();
    assert_eq!(error.code(), "LEDGER-007", "{error}");
    assert_eq!(files, copy(&dir.path().join("segments")));
    put_back(&dir.path().join("log"), &newer);
    assert_eq!(open(dir.path()).get(id(0, 2)).unwrap().unwrap().raw, raw(2));
}

type Tree = BTreeMap<std::path::PathBuf, Vec<u8>>;

fn copy(dir: &Path) -> Tree {
    let mut files = Tree::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(copy(&path));
        } else {
            files.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    files
}

fn put_back(dir: &Path, files: &Tree) {
    std::fs::remove_dir_all(dir).unwrap();
    for (path, content) in files {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

fn open_in_turns(disk: &MemoryDisk) -> (Ledger, Turns) {
    let epoch = Some(Duration::from_secs(3600));
    let options = Options { disk: Arc::new(disk.clone()), epoch, ..Options::new("reeve.example/record") };
    Ledger::open_in_turns(Path::new(DIR), options).unwrap()
}

fn store(ledger: &Ledger, turns: &mut Turns, from: u32, count: u32) {
    ledger.submit_with(batch(from, count), |outcome| assert!(outcome.is_ok()));
    turns.commit();
}

/// Every write of a redaction and a destruction fails once, each way; then each kind of end. Afterwards each act has happened wholly or not at all,
/// what was promised gone is nowhere on the disk, all else is there, and everything verifies.
#[test]
fn any_write_of_an_act_may_fail() {
    let sealed = MemoryDisk::default();
    let (ledger, mut turns) = open_in_turns(&sealed);
    for from in [0, 10, 20] {
        store(&ledger, &mut turns, from, 6);
        turns.end_segment();
        turns.seal();
    }
    drop((ledger, turns));
    assert!(!sealed.remembered(&needle(2)).is_empty(), "content that is there is found");
    for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::FailBefore, Fault::FailAfter] {
        for write in 0.. {
            let disk = sealed.reboot(Reboot::Kill);
            let (ledger, mut turns) = open_in_turns(&disk);
            disk.plan(write, fault);
            let redacted = ledger.redact(&[id(0, 2)], &authority(), &|_| None).is_ok();
            let destroyed = ledger.destroy(1, &authority(), &|_| None).is_ok();
            let met = disk.met();
            turns.seal();
            drop((ledger, turns));
            for reboot in [Reboot::Kill, Reboot::PowerCut, Reboot::Torn] {
                let case = format!("{fault:?} at write {write}, then {reboot:?}, told {redacted} {destroyed}");
                check_acts(&disk.reboot(reboot), redacted, destroyed, &case);
            }
            if !met {
                eprintln!("{fault:?}: {write} writes failed");
                assert!(write > 40, "the acts write more than that");
                break;
            }
        }
    }
}

fn check_acts(disk: &MemoryDisk, redacted: bool, destroyed: bool, case: &str) {
    let (ledger, turns) = open_in_turns(disk);
    let gone = |id| ledger.disposed_by(id).is_some();
    assert!(gone(id(0, 2)) || !redacted, "{case}: told that it was redacted");
    assert!(gone(id(1, 2)) || !destroyed, "{case}: told that it was destroyed");
    for segment in [0, 1, 2] {
        for index in 0..6 {
            let have = ledger.get(id(segment, index)).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(have.is_none(), gone(id(segment, index)), "{case}: {segment}-{index}");
            match have {
                Some(record) => assert_eq!(record.raw, raw(10 * segment + index), "{case}"),
                None => assert!(
                    disk.remembered(&needle(10 * segment + index)).is_empty(),
                    "{case}: {segment}-{index} is still on the disk"
                ),
            }
        }
    }
    drop((ledger, turns));
    let dyn_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = VerifyOptions { disk: dyn_disk.clone(), ..VerifyOptions::default() };
    let report = verify(Path::new(DIR), &options, &mut |_| {}).unwrap();
    assert!(report.is_intact(), "{case}: {:#?}", report.faults);
    assert_eq!(report.left_over, Vec::<String>::new(), "{case}");
    let (ledger, turns) = open_in_turns(disk);
    ledger.redact(&[id(0, 2)], &authority(), &|_| None).unwrap_or_else(|error| panic!("{case}: {error}"));
    ledger.destroy(1, &authority(), &|_| None).unwrap_or_else(|error| panic!("{case}: {error}"));
    let proof = prove_on(&dyn_disk, Path::new(DIR), id(0, 3)).unwrap();
    verify_proof(&proof, &raw(3), &ledger.verifier_key()).unwrap();
    drop((ledger, turns));
    let report = verify(Path::new(DIR), &options, &mut |_| {}).unwrap();
    assert!(report.is_intact(), "{case}, finished: {:#?}", report.faults);
    assert_eq!((report.redacted_records, report.destroyed_records), (1, 6), "{case}");
}

/// `cargo test --release … -- --ignored --nocapture redacting_one` prints how long it takes; `REEVE_REDACT_MIB` sets the raw bytes.
#[test]
#[ignore = "half a gigabyte: run by hand for the figure"]
fn redacting_one_record_of_a_large_segment_is_quick() {
    let mib: u32 = std::env::var("REEVE_REDACT_MIB").ok().and_then(|n| n.parse().ok()).unwrap_or(512);
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        segment_bytes: u64::MAX,
        segment_records: u32::MAX,
        seal_after: Duration::from_secs(36_000),
        ..Options::new("reeve.example/record")
    };
    let ledger = Ledger::open(dir.path(), options).unwrap();
    // 320 bytes a record, about half of which compress away, as in syslog.
    let record = |n: u32| {
        let noise: String = (0..4).map(|part| needle(4 * n + part)).map(|bytes| hex(&bytes)).collect();
        NewRecord::new(
            format!("web{}", n % 50),
            Transport::SyslogTcp,
            format!("<38>Jan  5 09:12:44 web{} sshd[{n}]: {noise}", n % 50),
        )
    };
    let records = mib * (1 << 20) / 320;
    for first in (0..records).step_by(5000) {
        ledger.append((first..records.min(first + 5000)).map(record).collect()).unwrap();
    }
    ledger.seal_now().unwrap();
    let file = ledger.segment(0).unwrap().unwrap().statement.file.length;
    let started = std::time::Instant::now();
    ledger.redact(&[id(0, records / 2)], &authority(), &|_| None).unwrap();
    let seconds = started.elapsed().as_secs_f64();
    eprintln!("redaction: 1 of {records} records, {mib} MiB raw, {file} bytes of Parquet: {seconds:.2} s");
    for index in [0, records / 2 - 1, records / 2 + 1, records - 1] {
        let proof = prove(dir.path(), id(0, index)).unwrap();
        verify_proof(&proof, &ledger.get(id(0, index)).unwrap().unwrap().raw, &ledger.verifier_key()).unwrap();
    }
    assert_eq!(intact(dir.path()).redacted_records, 1);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
