//! The ledger on a real folder: what is appended is durable, readable, sealed, and there again after any end.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use reeve_ledger::{Error, Ledger, NewRecord, Options, StoredRecord};
use reeve_record::{Certainty, EventTime, RecordId, Transport};

const ORIGIN: &str = "reeve.example/record";

fn options() -> Options {
    Options { epoch: Some(std::time::Duration::from_secs(3600)), ..Options::new(ORIGIN) }
}

fn open(dir: &Path) -> Ledger {
    Ledger::open(dir, options()).unwrap()
}

fn batch(from: u32, count: u32) -> Vec<NewRecord> {
    let record = |n: u32| {
        let source = format!("host{}", n % 3);
        NewRecord::new(source.as_str(), Transport::SyslogTcp, format!("record {n} {}", "x".repeat(n as usize % 200)))
    };
    (from..from + count).map(record).collect()
}

fn read_all(ledger: &Ledger, step: usize) -> Vec<StoredRecord> {
    let (mut all, mut next) = (Vec::new(), RecordId::default());
    loop {
        let read = ledger.read_from(next, step).unwrap();
        let Some(last) = read.last() else { return all };
        next = RecordId { index: last.id.index + 1, ..last.id };
        all.extend(read);
    }
}

#[test]
fn records_read_back_open_sealed_and_reopened() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = batch(0, 2000);
    let ledger = open(dir.path());
    let mut ids = ledger.append(wanted[..700].to_vec()).unwrap();
    ids.extend(ledger.append(wanted[700..1500].to_vec()).unwrap());
    let check = |ledger: &Ledger, ids: &[RecordId], count: usize| {
        for step in [7, 1000, 5000] {
            let all = read_all(ledger, step);
            assert_eq!(all.iter().map(|r| r.id).collect::<Vec<_>>(), ids[..count]);
            assert!(all.iter().zip(&wanted).all(|(have, want)| have.raw == want.raw && have.receipt.source == want.source));
        }
        let picks = [3, 1400, 3, 0, 699].map(|n| ids[n]);
        let many = ledger.get_many(&[&picks[..], &[RecordId { segment: 99, index: 0 }]].concat()).unwrap();
        assert_eq!(many.iter().flatten().map(|r| r.id).collect::<Vec<_>>(), picks);
        assert!(many[5].is_none());
        assert!(ledger.get(RecordId { segment: 0, index: 99_999 }).unwrap().is_none());
    };
    check(&ledger, &ids, 1500);
    assert!(!ledger.is_sealed(ids[0]));
    ledger.seal_now().unwrap();
    assert!(ledger.is_sealed(ids[1499]));
    check(&ledger, &ids, 1500);
    ids.extend(ledger.append(wanted[1500..].to_vec()).unwrap());
    assert_eq!(ids[1500], RecordId { segment: 1, index: 0 });
    check(&ledger, &ids, 2000);
    drop(ledger);
    let ledger = open(dir.path());
    assert_eq!(ledger.status().recovery.records, 500);
    check(&ledger, &ids, 2000);
    ledger.seal_now().unwrap();
    check(&ledger, &ids, 2000);
    let status = ledger.status();
    assert_eq!((status.segments, status.sealed_records, status.open_records), (2, 2000, 0));
    // Two batches, and the entry that began the key epoch.
    assert_eq!(ledger.last_checkpoint().unwrap().size, 3);
}

#[test]
fn sequences_count_per_source_and_start_again_with_each_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let claimed = Some(EventTime { at: "2026-01-01T00:00:00.1234567Z".parse().unwrap(), certainty: Certainty::ZoneInferred });
    let mut records = batch(0, 7);
    records[6].claimed = claimed;
    ledger.append(records).unwrap();
    ledger.seal_now().unwrap();
    ledger.append(batch(7, 1)).unwrap();
    let all = read_all(&ledger, 100);
    assert_eq!(all.iter().map(|r| r.receipt.sequence).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1, 2, 2]);
    assert_eq!(all[6].receipt.claimed.unwrap().at.as_microsecond() % 1_000_000, 123_456);
    let epoch = all[7].receipt.epoch;
    drop(ledger);
    let ledger = open(dir.path());
    let id = ledger.append(batch(0, 1)).unwrap()[0];
    let receipt = ledger.get(id).unwrap().unwrap().receipt;
    assert_eq!((receipt.epoch, receipt.sequence), (epoch + 1, 0));
}

#[test]
fn many_threads_append_and_one_tails() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_records: 500, ..options() };
    let ledger = Arc::new(Ledger::open(dir.path(), options).unwrap());
    let writers: Vec<_> = (0..4)
        .map(|t| {
            let ledger = ledger.clone();
            std::thread::spawn(move || {
                (0..50).flat_map(|n| ledger.append(batch(t * 10_000 + n * 10, 10)).unwrap()).collect::<Vec<_>>()
            })
        })
        .collect();
    let (mut seen, mut next) = (Vec::new(), RecordId::default());
    let deadline = Instant::now() + Duration::from_secs(60);
    while seen.len() < 2000 && Instant::now() < deadline {
        let read = ledger.read_from(next, 64).unwrap();
        if read.is_empty() {
            ledger.wait_for(next, Duration::from_millis(100));
        }
        next = read.last().map_or(next, |last| RecordId { index: last.id.index + 1, ..last.id });
        seen.extend(read.into_iter().map(|record| record.id));
    }
    let mut written: Vec<_> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
    written.sort();
    assert_eq!(seen, written);
    ledger.seal_now().unwrap();
    assert!(ledger.status().segments >= 3);
}

#[test]
fn a_second_opener_is_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let _ledger = open(dir.path());
    let error = Ledger::open(dir.path(), options()).err().unwrap();
    assert_eq!(error.code(), "LEDGER-001");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
}

#[test]
fn limits_and_foreign_origins_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let huge = NewRecord::new("a", Transport::File, vec![0; reeve_ledger::MAX_RECORD + 1]);
    let mut long_name = batch(0, 1);
    long_name[0].source = "s".repeat(5000).into();
    for (batch, what) in [(vec![huge], "a record"), (long_name, "a source name")] {
        let error = ledger.append(batch).unwrap_err();
        assert!(matches!(&error, Error::TooLarge { what: have, .. } if *have == what), "{error}");
    }
    assert_eq!(ledger.append(Vec::new()).unwrap(), []);
    assert_eq!(ledger.durable_end(), RecordId::default());
    drop(ledger);
    let error = Ledger::open(dir.path(), Options::new("other.example/record")).err().unwrap();
    assert_eq!(error.code(), "LEDGER-009");
}

#[test]
fn a_callback_gets_the_ids_and_a_closed_ledger_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let (sender, receiver) = std::sync::mpsc::channel();
    ledger.submit_with(batch(0, 2), move |outcome| sender.send(outcome.map(|ids| ids.len())).unwrap());
    assert_eq!(receiver.recv().unwrap().unwrap(), 2);
    ledger.submit_with(batch(0, 1), |_| panic!("a caller's mistake"));
    assert_eq!(ledger.append(batch(2, 1)).unwrap()[0].index, 3);
}

/// Write-ahead files of segments with so many records each, none sealed.
fn write_ahead(dir: &Path, records: &[u32]) {
    let (ledger, mut turns) = Ledger::open_in_turns(dir, options()).unwrap();
    for count in records {
        ledger.submit_with(batch(0, *count), |told| assert!(told.is_ok()));
        turns.commit();
        turns.end_segment();
    }
}

/// What an opening says that does not come to sealing.
fn lost_at_opening(dir: &Path) -> (u64, u64) {
    let (ledger, _turns) = Ledger::open_in_turns(dir, options()).unwrap();
    let recovery = ledger.status().recovery;
    (recovery.records, recovery.lost)
}

/// The head of the next file is all that knows how many there were, also when the next opening comes before anything is sealed.
#[test]
fn a_write_ahead_file_that_is_gone_is_told_at_every_opening() {
    let dir = tempfile::tempdir().unwrap();
    write_ahead(dir.path(), &[5, 1]);
    std::fs::remove_file(dir.path().join("wal/00000000.wal")).unwrap();
    let next = std::fs::File::options().write(true).open(dir.path().join("wal/00000001.wal")).unwrap();
    next.set_len(reeve_ledger::wal::HEADER_LENGTH as u64).unwrap();
    for _ in 0..3 {
        assert_eq!(lost_at_opening(dir.path()), (0, 5));
    }
    let ledger = open(dir.path());
    let id = ledger.append(batch(9, 1)).unwrap()[0];
    ledger.seal_now().unwrap();
    assert_eq!((id.segment, ledger.status().lost_records), (1, 5));
}

/// Its records are not counted by the head of a file that follows another.
#[test]
fn the_file_before_one_that_is_gone_keeps_its_records() {
    let dir = tempfile::tempdir().unwrap();
    write_ahead(dir.path(), &[10, 4, 1]);
    std::fs::remove_file(dir.path().join("wal/00000001.wal")).unwrap();
    for _ in 0..3 {
        assert_eq!(lost_at_opening(dir.path()), (11, 4));
    }
    let ledger = open(dir.path());
    ledger.seal_now().unwrap();
    assert_eq!((read_all(&ledger, 100).len(), ledger.status().lost_records), (11, 4));
}
