//! What others can check: `verify` finds every flipped bit and names the records, `prove` convinces from bytes and key alone.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use reeve_ledger::{Ledger, NewRecord, Options, RecordRange, Report, VerifierKey, VerifyOptions, prove, verify, verify_proof};
use reeve_record::{RecordId, Transport};

const ORIGIN: &str = "reeve.example/record";

fn options() -> Options {
    Options { epoch: Some(std::time::Duration::from_secs(3600)), ..Options::new(ORIGIN) }
}

fn raw(n: u32) -> String {
    format!("Jan  5 09:12:{:02} web{} sshd[{n}]: Accepted publickey for ana from 192.0.2.{}", n % 60, n % 4, n % 250)
}

fn batch(from: u32, count: u32) -> Vec<NewRecord> {
    (from..from + count).map(|n| NewRecord::new(format!("web{}", n % 4), Transport::SyslogTcp, raw(n))).collect()
}

/// A store with `segments` segments of 1,200 records each: three pages a segment.
fn sealed_store(segments: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    for n in 0..segments {
        ledger.append(batch(n * 1200, 1200)).unwrap();
        ledger.seal_now().unwrap();
    }
    dir
}

fn report(dir: &Path) -> Report {
    verify(dir, &VerifyOptions::default(), &mut |_| {}).unwrap()
}

/// Every sealed file: segments, maps, tiles, bundles, checkpoint.
fn sealed_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![dir.join("segments"), dir.join("log")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

fn covers(report: &Report, id: RecordId) -> bool {
    let hit =
        |range: &RecordRange| range.segment == id.segment && id.index >= range.first && id.index - range.first < range.count;
    report.faults.iter().flat_map(|fault| &fault.records).any(hit)
}

#[test]
fn an_intact_store_verifies_in_full() {
    let dir = sealed_store(3);
    let mut seen = Vec::new();
    let report =
        verify(dir.path(), &VerifyOptions::default(), &mut |progress| seen.push((progress.segments, progress.records))).unwrap();
    assert_eq!(report.faults, []);
    assert_eq!((report.records, report.segments, report.log_size, report.epochs), (3600, 3, 4, 1));
    assert_eq!(seen, [(1, 1200), (2, 2400), (3, 3600)]);
    assert!(report.own_key);
}

#[test]
fn another_key_is_not_satisfied() {
    let (dir, other) = (sealed_store(1), sealed_store(1));
    let key = VerifierKey::parse(&fs::read_to_string(other.path().join("keys/checkpoint.vkey")).unwrap()).unwrap();
    let options = VerifyOptions { key: Some(key), ..VerifyOptions::default() };
    let report = verify(dir.path(), &options, &mut |_| {}).unwrap();
    assert_eq!(report.faults[0].code, "LEDGER-020");
    assert!(covers(&report, RecordId { segment: 0, index: 7 }));
}

/// Each file is flipped at its first and last bits and at sampled ones; no flip may stay unseen or unnamed.
#[test]
fn every_sampled_bit_flip_is_found_and_named() {
    let dir = sealed_store(3);
    let per_file: u64 = std::env::var("REEVE_FLIPS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let (mut flips, mut random) = (0, 0x9e37_79b9_7f4a_7c15_u64);
    for path in sealed_files(dir.path()) {
        let sealed = fs::read(&path).unwrap();
        let bits = 8 * sealed.len() as u64;
        let sampled = (0..per_file).map(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 16) % bits
        });
        for bit in [0, bits - 1].into_iter().chain(sampled.collect::<Vec<_>>()) {
            let mut flipped = sealed.clone();
            flipped[(bit / 8) as usize] ^= 1 << (bit % 8);
            fs::write(&path, flipped).unwrap();
            let report = report(dir.path());
            assert!(!report.is_intact(), "bit {bit} of {} stayed unseen", path.display());
            let named = report.faults.iter().all(|fault| !fault.records.is_empty() && !fault.place.is_empty());
            assert!(named, "bit {bit} of {}: {:#?}", path.display(), report.faults);
            flips += 1;
        }
        fs::write(&path, sealed).unwrap();
    }
    eprintln!("{flips} flips, all found and named");
    assert!(report(dir.path()).is_intact());
}

/// A flip in the stored bytes of one record names that record and no other.
#[test]
fn a_flip_in_one_record_names_that_record() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    // Incompressible, so that the stored bytes are the raw ones and can be found in the file.
    let needle: Vec<u8> = (0..4096u32).flat_map(|n| n.wrapping_mul(0x9e37_79b9).rotate_left(n).to_be_bytes()).collect();
    let mut records = batch(0, 1500);
    records[777].raw = needle.clone().into();
    ledger.append(records).unwrap();
    ledger.seal_now().unwrap();
    let path = dir.path().join("segments/00000000.parquet");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(64).position(|window| window == &needle[8000..8064]).expect("the bytes lie in the file as they are");
    bytes[at] ^= 4;
    fs::write(&path, bytes).unwrap();
    let report = report(dir.path());
    assert_eq!(report.faults.len(), 1, "{:#?}", report.faults);
    assert_eq!(report.faults[0].records, [RecordRange { segment: 0, first: 777, count: 1 }]);
    assert!(report.faults[0].what.contains("bit 2"), "{:?}", report.faults[0]);
}

#[test]
fn missing_cut_and_swapped_files_are_found() {
    let dir = sealed_store(2);
    let segment = |n: u32| dir.path().join(format!("segments/{n:08}.parquet"));
    let (first, second) = (fs::read(segment(0)).unwrap(), fs::read(segment(1)).unwrap());
    fs::write(segment(0), &second).unwrap();
    assert!(covers(&report(dir.path()), RecordId { segment: 0, index: 0 }));
    fs::write(segment(0), &first[..first.len() - 1]).unwrap();
    assert!(covers(&report(dir.path()), RecordId { segment: 0, index: 1199 }));
    fs::remove_file(segment(0)).unwrap();
    let missing = report(dir.path());
    assert_eq!(missing.faults[0].code, "LEDGER-024");
    assert_eq!(missing.faults[0].records, [RecordRange { segment: 0, first: 0, count: 1200 }]);
    fs::write(segment(0), &first).unwrap();
    for name in ["checkpoint", "tile/0/000.p/3", "tile/entries/000.p/3"] {
        let path = dir.path().join("log").join(name);
        let content = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let report = report(dir.path());
        assert!(covers(&report, RecordId { segment: 1, index: 0 }), "{name}: {:#?}", report.faults);
        fs::write(&path, content).unwrap();
    }
    assert!(report(dir.path()).is_intact());
}

#[test]
fn a_record_is_proven_by_bytes_and_key_alone() {
    let dir = sealed_store(3);
    let key = VerifierKey::parse(&fs::read_to_string(dir.path().join("keys/checkpoint.vkey")).unwrap()).unwrap();
    for id in [RecordId { segment: 0, index: 0 }, RecordId { segment: 1, index: 1199 }, RecordId { segment: 2, index: 600 }] {
        let proof = prove(dir.path(), id).unwrap();
        let bytes = raw(id.segment * 1200 + id.index);
        let proven = verify_proof(&proof, bytes.as_bytes(), &key).unwrap();
        assert_eq!(
            (proven.leaf.id, proven.statement.segment, proven.entry, proven.checkpoint.size),
            (id, id.segment, u64::from(id.segment) + 1, 4)
        );
        assert_eq!(proven.epoch.map(|epoch| epoch.epoch), Some(0));
        assert_eq!(verify_proof(&proof, b"something else", &key).unwrap_err().code(), "LEDGER-012");
    }
    let code = |segment, index| prove(dir.path(), RecordId { segment, index }).unwrap_err().code();
    assert_eq!((code(3, 0), code(2, 1200)), ("LEDGER-013", "LEDGER-014"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]
    /// Records go in by any batches and bytes; all come back, verify and prove.
    #[test]
    fn any_records_come_back_verified(batches in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..20), 1..6), seal in any::<u8>()) {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path(), options()).unwrap();
        let mut stored = Vec::new();
        for (n, batch) in batches.iter().enumerate() {
            let new = batch.iter().enumerate().map(|(k, raw)| NewRecord::new(format!("s{}", k % 3), Transport::Http, raw.clone())).collect();
            stored.extend(ledger.append(new).unwrap().into_iter().zip(batch));
            if seal & (1 << n) != 0 {
                ledger.seal_now().unwrap();
            }
        }
        ledger.seal_now().unwrap();
        let report = report(dir.path());
        prop_assert!(report.is_intact(), "{:#?}", report.faults);
        prop_assert_eq!(report.records, stored.len() as u64);
        for (id, raw) in stored {
            let have = ledger.get(id).unwrap().unwrap();
            prop_assert_eq!(&have.raw[..], &raw[..]);
            let proof = prove(dir.path(), id).unwrap();
            prop_assert!(verify_proof(&proof, raw, &ledger.verifier_key()).is_ok());
        }
    }

    /// No altered proof convinces: each flip breaks it, or reads as the very same proof.
    #[test]
    fn no_flipped_proof_convinces(flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 200)) {
        let dir = sealed_store(2);
        let key = VerifierKey::parse(&fs::read_to_string(dir.path().join("keys/checkpoint.vkey")).unwrap()).unwrap();
        let proof = prove(dir.path(), RecordId { segment: 0, index: 5 }).unwrap();
        for (at, bit) in flips {
            let mut bytes = proof.clone().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(text) = String::from_utf8(bytes) {
                prop_assert!(verify_proof(&text, raw(5).as_bytes(), &key).is_err(), "byte {} of\n{}", at, text);
            }
        }
    }
}

#[test]
fn reading_never_passes_on_damaged_bytes() {
    let dir = sealed_store(1);
    let path = dir.path().join("segments/00000000.parquet");
    let sealed = fs::read(&path).unwrap();
    let mut refused = 0;
    for at in (0..sealed.len()).step_by(sealed.len() / 60) {
        let mut flipped = sealed.clone();
        flipped[at] ^= 1;
        fs::write(&path, flipped).unwrap();
        let ledger = Ledger::open(dir.path(), options()).unwrap();
        for index in [0, 600, 1199] {
            match ledger.get(RecordId { segment: 0, index }) {
                Ok(record) => assert_eq!(record.unwrap().raw, raw(index).as_bytes(), "byte {at}"),
                Err(error) => {
                    assert_eq!(error.code(), "LEDGER-008", "byte {at}: {error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn large_and_empty_records_are_records() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    let mut state = 1u32;
    let mut noise = |length: usize| -> Vec<u8> {
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(length)
        .collect()
    };
    let raws = [noise(reeve_ledger::MAX_RECORD), Vec::new(), noise(5 << 20), Vec::new(), noise(9 << 20)];
    let ids = ledger.append(raws.iter().map(|raw| NewRecord::new("big", Transport::File, raw.clone())).collect()).unwrap();
    let check = || ids.iter().zip(&raws).for_each(|(id, raw)| assert!(ledger.get(*id).unwrap().unwrap().raw == *raw));
    check();
    ledger.seal_now().unwrap();
    check();
    let report = report(dir.path());
    assert!(report.is_intact() && report.records == 5, "{:#?}", report.faults);
}
