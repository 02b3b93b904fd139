//! Every write fails once each way; the disk fills; bytes rot in the write-ahead log. Nothing acknowledged may be missing unnamed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod support;

use std::{path::Path, sync::Arc};

use reeve_ledger::{
    Disk,
    wal::{HEADER_LENGTH, Header, scan},
};
use reeve_ledger::{Ledger, NewRecord, Options, Report, VerifyOptions, verify};
use reeve_record::{RecordId, Transport};
use support::{Fault, MemoryDisk, Reboot};

const DIR: &str = "/ledger";

fn open(disk: &MemoryDisk) -> Result<Ledger, reeve_ledger::Error> {
    let epoch = Some(std::time::Duration::from_secs(3600));
    Ledger::open(Path::new(DIR), Options { disk: Arc::new(disk.clone()), epoch, ..Options::new("reeve.example/record") })
}

fn report(disk: &MemoryDisk) -> Report {
    let options = VerifyOptions { disk: Arc::new(disk.clone()), ..VerifyOptions::default() };
    verify(Path::new(DIR), &options, &mut |_| {}).unwrap()
}

/// What a client knows: batches it was told are stored, and batches it was told nothing good about.
#[derive(Default)]
struct Client {
    stored: Vec<(RecordId, String)>,
    failed: Vec<Vec<String>>,
    next: u32,
}

impl Client {
    fn append(&mut self, ledger: &Ledger, count: u32) {
        let raws: Vec<String> = (self.next..self.next + count).map(|n| format!("record {n} {}", "x".repeat(40))).collect();
        self.next += count;
        let batch =
            raws.iter().enumerate().map(|(n, raw)| NewRecord::new(format!("s{}", n % 2), Transport::Http, raw.clone())).collect();
        match ledger.append(batch) {
            Ok(ids) => self.stored.extend(ids.into_iter().zip(raws)),
            Err(_) => self.failed.push(raws),
        }
    }

    /// All stored records are there, unaltered; of each failed batch all or nothing; nothing else.
    fn check(&self, ledger: &Ledger, case: &str) {
        for (id, raw) in &self.stored {
            let have = ledger.get(*id).unwrap_or_else(|error| panic!("{case}: {id}: {error}"));
            let have = have.unwrap_or_else(|| panic!("{case}: {id} was acknowledged and is gone"));
            assert_eq!(have.raw, raw.as_bytes(), "{case}: {id}");
        }
        let mut all = Vec::new();
        let mut next = RecordId::default();
        loop {
            let read = ledger.read_from(next, 3).unwrap_or_else(|error| panic!("{case}: {error}"));
            let Some(last) = read.last() else { break };
            next = RecordId { index: last.id.index + 1, ..last.id };
            all.extend(read.into_iter().map(|record| String::from_utf8(record.raw.to_vec()).unwrap()));
        }
        let mut surplus: Vec<&String> = all.iter().filter(|raw| !self.stored.iter().any(|(_, stored)| stored == *raw)).collect();
        for batch in &self.failed {
            let there = batch.iter().filter(|raw| surplus.contains(raw)).count();
            assert!(there == 0 || there == batch.len(), "{case}: a batch is there in part");
            surplus.retain(|raw| !batch.contains(raw));
        }
        assert!(surplus.is_empty(), "{case}: {surplus:?}");
        assert_eq!(all.len(), all.iter().collect::<std::collections::BTreeSet<_>>().len(), "{case}: a record is there twice");
    }
}

fn script(disk: &MemoryDisk, client: &mut Client) {
    let Ok(ledger) = open(disk) else { return };
    client.append(&ledger, 5);
    client.append(&ledger, 3);
    let _ = ledger.seal_now();
    client.append(&ledger, 4);
    let _ = ledger.checkpoint();
    let _ = ledger.seal_now();
    client.append(&ledger, 2);
}

/// Fails the n-th write, for every n, each way; then each kind of end; then opens again, appends, seals and verifies.
fn fail_each_write(fault: Fault, reboots: &[Reboot]) {
    for write in 0.. {
        let disk = MemoryDisk::default();
        disk.plan(write, fault);
        let mut client = Client::default();
        script(&disk, &mut client);
        let met = disk.met();
        for reboot in reboots {
            let case = format!("{fault:?} at write {write}, then {reboot:?}");
            let disk = disk.reboot(*reboot);
            let ledger = open(&disk).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(ledger.status().recovery.lost, 0, "{case}: {:?}", ledger.status().recovery);
            let mut after = Client { stored: client.stored.clone(), failed: client.failed.clone(), next: 1000 };
            after.check(&ledger, &case);
            after.append(&ledger, 3);
            assert_eq!(after.failed.len(), client.failed.len(), "{case}");
            ledger.seal_now().unwrap_or_else(|error| panic!("{case}: {error}"));
            after.check(&ledger, &case);
            drop(ledger);
            let report = report(&disk);
            assert!(report.is_intact(), "{case}: {:#?}", report.faults);
            assert_eq!(report.lost_records, 0, "{case}");
        }
        if !met {
            eprintln!("{fault:?}: {write} writes failed");
            assert!(write > 50, "the script writes more than that");
            return;
        }
    }
}

#[test]
fn a_crash_before_any_write_loses_nothing() {
    fail_each_write(Fault::CrashBefore, &[Reboot::Kill, Reboot::PowerCut, Reboot::Torn]);
}

#[test]
fn a_crash_after_any_write_loses_nothing() {
    fail_each_write(Fault::CrashAfter, &[Reboot::Kill, Reboot::PowerCut, Reboot::Torn]);
}

#[test]
fn a_write_that_fails_loses_nothing() {
    fail_each_write(Fault::FailBefore, &[Reboot::Kill, Reboot::PowerCut]);
}

#[test]
fn a_write_that_happens_and_is_reported_failed_loses_nothing() {
    fail_each_write(Fault::FailAfter, &[Reboot::Kill, Reboot::PowerCut]);
}

/// A checkpoint that is there though its writing was reported failed must be met again by the very same entry, also if a crash cuts the second try short.
#[test]
fn a_checkpoint_reported_failed_is_never_contradicted() {
    for nth in 0..4 {
        for more in 0..12 {
            let disk = MemoryDisk::default();
            disk.plan_two(Path::new("/ledger/log"), nth, more);
            let mut client = Client::default();
            script(&disk, &mut client);
            for reboot in [Reboot::Kill, Reboot::PowerCut] {
                let case = format!("sync {nth} of the log's folder, then {more} writes, then {reboot:?}");
                let disk = disk.reboot(reboot);
                let ledger = open(&disk).unwrap_or_else(|error| panic!("{case}: {error}"));
                client.check(&ledger, &case);
                ledger.seal_now().unwrap_or_else(|error| panic!("{case}: {error}"));
                drop(ledger);
                let report = report(&disk);
                assert!(report.is_intact(), "{case}: {:#?}", report.faults);
            }
        }
    }
}

/// A refused group that was cut off again must not come back by a power cut once readers were told where the file ends.
#[test]
fn what_was_cut_off_stays_off_when_the_file_has_ended() {
    let mut more = 0;
    let mut ended = 0;
    while more < 12 {
        let disk = MemoryDisk::default();
        let ledger = open(&disk).unwrap();
        let mut client = Client::default();
        client.append(&ledger, 5);
        disk.plan(0, Fault::FailAndWriteBack);
        client.append(&ledger, 2);
        if client.failed.is_empty() {
            // The write that failed was the idle mark: once more.
            continue;
        }
        disk.plan(more, Fault::CrashBefore);
        let _ = ledger.seal_now();
        let told = ledger.durable_end();
        drop(ledger);
        ended += u32::from(told.segment > 0);
        let ledger = open(&disk.reboot(Reboot::PowerCut)).unwrap();
        let case = format!("a crash {more} writes later");
        client.check(&ledger, &case);
        let there = ledger.read_from(RecordId::default(), 100).unwrap();
        assert_eq!(there.iter().filter(|record| record.id < told).count(), 5, "{case}: readers had passed {told}");
        more += 1;
    }
    assert!(ended > 5, "the file ended in {ended} cases");
}

#[test]
fn a_failed_sync_makes_the_ledger_read_only_with_a_reason() {
    let disk = MemoryDisk::default();
    let ledger = open(&disk).unwrap();
    let mut client = Client::default();
    client.append(&ledger, 3);
    // Of the next append, the first write is the frame, the second its sync.
    std::thread::sleep(std::time::Duration::from_millis(500));
    disk.plan(1, Fault::FailBefore);
    client.append(&ledger, 2);
    assert!(disk.met() && client.failed.len() == 1);
    let error = ledger.append(vec![NewRecord::new("a", Transport::File, "b")]).unwrap_err();
    assert_eq!(error.code(), "LEDGER-004");
    assert!(ledger.status().read_only.unwrap().contains("00000000.wal"));
    assert_eq!(ledger.durable_end(), RecordId { segment: 0, index: 3 });
    client.check(&ledger, "read-only");
}

#[test]
fn a_full_disk_refuses_and_resumes_by_itself() {
    let disk = MemoryDisk::default();
    let ledger = open(&disk).unwrap();
    let mut client = Client::default();
    client.append(&ledger, 5);
    for space in (0..3000).step_by(97) {
        // There is an open file, so that it is a frame that does not fit, not only the head of a new file.
        client.append(&ledger, 1);
        disk.set_space(Some(space));
        let before = client.failed.len();
        client.append(&ledger, 20);
        if space % 2 == 0 {
            // The next frame goes into the same file, behind what was left of the one that did not fit.
            disk.set_space(None);
            client.append(&ledger, 2);
            client.check(&ledger, "the next frame");
            disk.set_space(Some(space));
        }
        let sealed = ledger.seal_now();
        if client.failed.len() > before && space < 500 {
            let error = ledger.append(vec![NewRecord::new("a", Transport::File, vec![0; 4000])]).unwrap_err();
            assert_eq!(error.code(), "LEDGER-003", "{error}");
        }
        if let Err(error) = sealed {
            assert_eq!(error.code(), "LEDGER-003", "{error}");
            assert!(ledger.status().seal_problem.is_some());
        }
        client.check(&ledger, "full");
        disk.set_space(None);
        let before = client.failed.len();
        client.append(&ledger, 1);
        assert_eq!(client.failed.len(), before, "with space again, appends succeed");
        ledger.seal_now().unwrap();
    }
    assert!(client.failed.len() > 10, "the disk was full for some");
    client.check(&ledger, "after");
    drop(ledger);
    assert!(report(&disk).is_intact());
    client.check(&open(&disk.reboot(Reboot::PowerCut)).unwrap(), "reopened");
}

/// Ten groups of four records in an unsealed WAL file; `damage` spoils it; what is lost is named and the rest is there.
fn rot(damage: impl FnOnce(&mut Vec<u8>)) -> (MemoryDisk, Vec<RecordId>) {
    let disk = MemoryDisk::default();
    let mut client = Client::default();
    let ledger = open(&disk).unwrap();
    for _ in 0..10 {
        client.append(&ledger, 4);
    }
    drop(ledger);
    let disk = disk.reboot(Reboot::PowerCut);
    disk.edit(Path::new("/ledger/wal/00000000.wal"), damage);
    let before = report(&disk);
    let ledger = open(&disk).unwrap();
    let lost: Vec<RecordId> = client.stored.iter().map(|(id, _)| *id).filter(|id| ledger.get(*id).unwrap().is_none()).collect();
    assert_eq!(ledger.status().recovery.lost, lost.len() as u64);
    let named: u64 = before.faults.iter().flat_map(|fault| &fault.records).map(|range| u64::from(range.count)).sum();
    assert_eq!(named, lost.len() as u64, "{:#?}", before.faults);
    client.stored.retain(|(id, _)| !lost.contains(id));
    client.check(&ledger, "rot");
    ledger.seal_now().unwrap();
    client.check(&ledger, "rot, sealed");
    assert_eq!(ledger.status().lost_records, lost.len() as u64);
    drop(ledger);
    let sealed = report(&disk);
    assert!(sealed.is_intact(), "{:#?}", sealed.faults);
    assert_eq!(sealed.lost_records, lost.len() as u64);
    (disk, lost)
}

#[test]
fn a_zero_page_is_not_the_end_of_the_log() {
    // Frames are about 600 bytes; 1 KiB of zeros behind the head takes two of them with it.
    let (_, lost) = rot(|bytes| bytes[4096 + 700..4096 + 1724].fill(0));
    assert!((4..=12).contains(&lost.len()), "{lost:?}");
    assert!(lost.iter().all(|id| id.index >= 4 && id.index < 20), "{lost:?}");
}

#[test]
fn a_flipped_bit_costs_at_most_its_own_group() {
    let whole = {
        let mut length = 0;
        rot(|bytes| length = bytes.len());
        length
    };
    let group = (whole - 4096) / 10;
    for at in (4096..whole - group).step_by(131) {
        let (_, lost) = rot(|bytes| bytes[at] ^= 1 << (at % 8));
        assert!((1..=4).contains(&lost.len()), "byte {at}: {lost:?}");
    }
}

#[test]
fn either_copy_of_the_head_is_enough() {
    assert_eq!(rot(|bytes| bytes[..2048].fill(0)).1, []);
    assert_eq!(rot(|bytes| bytes[2048..4096].fill(0)).1, []);
}

/// A write failed, was cut off again, and the segment ended; then a power cut kept the bytes and lost the cut.
#[test]
fn a_group_past_what_the_next_file_counts_was_never_acknowledged() {
    let disk = MemoryDisk::default();
    let ledger = open(&disk).unwrap();
    let mut client = Client::default();
    client.append(&ledger, 4);
    client.append(&ledger, 5);
    drop(ledger);
    let path = Path::new("/ledger/wal/00000000.wal");
    // The mark first: it is only written behind what was durable.
    for left in [28, 1, 30, 200] {
        disk.edit(path, |bytes| bytes.truncate(bytes.len() - left));
        let file = disk.open(path).unwrap();
        let mut head = vec![0; HEADER_LENGTH];
        file.read_at(&mut head, 0).unwrap();
        let header = Header::decode(&head).unwrap();
        let found = scan(&*file, &header, Some(4)).unwrap();
        assert_eq!((found.places.len(), &found.damage[..]), (4, &[][..]), "{left} bytes less");
        assert!(found.places.iter().all(|place| place.length > 0));
    }
}
