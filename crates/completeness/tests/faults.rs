//! Every write of the ledger fails once each way while a source delivers; the source sends again what was not receipted. Nothing may be missing, doubled
//! or promised in vain.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test stops where it is wrong")]
#[path = "../../ledger/tests/support/mod.rs"]
mod support;

use std::{path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use reeve_completeness::{Head, Numbered, NumberedOptions, Query, Receipt, SourceKey, survey};
use reeve_ledger::{Ledger, NoteKey, Options, VerifyOptions, verify};
use reeve_record::{RecordId, Transport};
use support::{Fault, MemoryDisk, Reboot};

struct Delivery {
    note: String,
    body: String,
}

fn key() -> NoteKey {
    NoteKey::new("edge/web1", &[0x31; 32]).unwrap()
}

/// Deliveries of 3, 1, 5 and 2 records, one following the other.
fn chain() -> Vec<Delivery> {
    let (mut first, mut previous) = (0, [0; 32]);
    let deliver = |count: u64| {
        let body: String = (first..first + count).map(|n| format!("event {n}\n")).collect();
        let head = Head::over("edge/web1", 0, first, count, body.as_bytes(), previous, Timestamp::UNIX_EPOCH);
        (first, previous) = (head.end(), head.hash());
        Delivery { note: head.sign(&key()), body }
    };
    [3, 1, 5, 2].map(deliver).into()
}

fn open(disk: &MemoryDisk, name: &str) -> Result<Arc<Ledger>, reeve_ledger::Error> {
    let options =
        Options { disk: Arc::new(disk.clone()), epoch: Some(Duration::from_secs(3600)), ..Options::new("reeve.example/record") };
    Ledger::open(Path::new(name), options).map(Arc::new)
}

/// Without a copy: all that is known has to come from the ledger.
fn numbered(ledger: &Arc<Ledger>) -> Result<Numbered, reeve_completeness::Error> {
    let sources = vec![SourceKey { key: key().verifier().clone(), heartbeat: None }];
    let options = NumberedOptions { copy: "/nowhere/deliveries.json".into(), sources, noticed: Box::new(|_, _| ()) };
    Numbered::open(ledger.clone(), options)
}

/// Sends in order, each again once if it fails; the receipts that were given. Stops where a source would have to wait.
fn send(ledger: &Arc<Ledger>, deliveries: &[Delivery]) -> Vec<String> {
    let numbered = match numbered(ledger) {
        Ok(numbered) => numbered,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return Vec::new();
        }
    };
    let mut receipts = Vec::new();
    for (nth, delivery) in deliveries.iter().enumerate() {
        let try_once = || numbered.deliver("edge/web1", &delivery.note, &delivery.body.clone().into());
        let outcome = match try_once().or_else(|_| try_once()) {
            Ok(outcome) => outcome,
            Err(error) => {
                eprintln!("not taken: {error}");
                break;
            }
        };
        let receipt = match outcome.receipt {
            Ok(receipt) => receipt,
            Err(error) => {
                eprintln!("no receipt: {error}");
                break;
            }
        };
        receipts.push(receipt);
        if nth == 1 {
            let _ = ledger.seal_now();
        }
    }
    receipts
}

/// The text of a note without its signatures: those of a later key epoch are others.
fn text(note: &str) -> &str {
    note.split_once("\n\n").unwrap().0
}

/// Records of deliveries that lie in the ledger.
fn stored_of_source(ledger: &Ledger) -> usize {
    let (mut next, mut stored) = (RecordId::default(), 0);
    loop {
        let records = ledger.read_from(next, 100).unwrap();
        let Some(last) = records.last() else { return stored };
        next = RecordId { index: last.id.index + 1, ..last.id };
        stored += records.iter().filter(|record| record.receipt.transport == Transport::Delivery).count();
    }
}

fn fail_each_write(fault: Fault) {
    let deliveries = chain();
    for write in 0.. {
        let disk = MemoryDisk::default();
        let audit = open(&MemoryDisk::default(), "/audit").unwrap();
        disk.plan(write, fault);
        let before = open(&disk, "/ledger").map(|ledger| send(&ledger, &deliveries)).unwrap_or_default();
        let met = disk.met();
        for reboot in [Reboot::Kill, Reboot::PowerCut, Reboot::Torn] {
            let case = format!("{fault:?} at write {write}, then {reboot:?}");
            let disk = disk.reboot(reboot);
            let ledger = open(&disk, "/ledger").unwrap_or_else(|error| panic!("{case}: {error}"));
            // A source that has lost its note of what was receipted sends everything again.
            let after = send(&ledger, &deliveries);
            assert_eq!(after.len(), deliveries.len(), "{case}");
            for (before, after) in before.iter().zip(&after) {
                assert_eq!(text(before), text(after), "{case}: another answer than before");
            }
            for note in before.iter().chain(&after) {
                let receipt = Receipt::open(note, &ledger.verifier_key()).unwrap_or_else(|fault| panic!("{case}: {fault}"));
                assert_eq!(receipt.check_in(&ledger), Ok(()), "{case}");
            }
            let query = Query { source: "edge/web1".into(), numbered: true, ..Query::default() };
            let line = survey(&ledger, &audit, &query, None).sources.remove(0);
            let figures = (line.expected, line.received, line.missing, line.contradicting, line.unproven, line.late);
            assert_eq!(figures, (Some(11), 11, Some(0), 0, 0, 0), "{case}");
            assert_eq!(stored_of_source(&ledger), 11, "{case}: none is there twice");
            ledger.seal_now().unwrap_or_else(|error| panic!("{case}: {error}"));
            drop(ledger);
            let options = VerifyOptions { disk: Arc::new(disk.clone()), ..VerifyOptions::default() };
            let report = verify(Path::new("/ledger"), &options, &mut |_| {}).unwrap();
            assert!(report.is_intact(), "{case}: {:#?}", report.faults);
        }
        if !met {
            eprintln!("{fault:?}: {write} writes failed");
            assert!(write > 20 && before.len() == deliveries.len());
            return;
        }
    }
}

#[test]
fn every_write_is_the_last() {
    fail_each_write(Fault::CrashBefore);
}

#[test]
fn every_write_is_the_last_and_happens() {
    fail_each_write(Fault::CrashAfter);
}

#[test]
fn every_write_fails() {
    fail_each_write(Fault::FailBefore);
}

#[test]
fn every_write_is_reported_failed_and_happens() {
    fail_each_write(Fault::FailAfter);
}

/// A device that stumbles once while a server starts must not make deliveries unknown: sent again, they would be taken twice.
#[test]
fn every_read_fails_once() {
    let deliveries = chain();
    for read in 0.. {
        let disk = MemoryDisk::default();
        let ledger = open(&disk, "/ledger").unwrap();
        assert_eq!(send(&ledger, &deliveries).len(), deliveries.len());
        ledger.seal_now().unwrap();
        drop(ledger);
        let open = || open(&disk, "/ledger");
        disk.plan_read(read);
        let ledger = open().or_else(|_| open()).unwrap();
        // A start may fail and say so; then the next succeeds.
        let again = Some(send(&ledger, &deliveries)).filter(|receipts| !receipts.is_empty());
        let again = again.unwrap_or_else(|| send(&ledger, &deliveries));
        let met = disk.met_read();
        assert_eq!((again.len(), stored_of_source(&ledger)), (deliveries.len(), 11), "read {read}");
        if !met {
            eprintln!("{read} reads failed");
            assert!(read > 10);
            return;
        }
    }
}
