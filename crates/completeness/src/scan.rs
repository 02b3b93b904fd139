//! The ledger, read from end to end.
use reeve_ledger::{Ledger, StoredRecord};
use reeve_record::RecordId;

/// Shows every record from `next` up to `end` in order, until `show` says false. Segments that cannot be read, tried several times, are passed
/// over; how many is returned.
pub(crate) fn each(ledger: &Ledger, mut next: RecordId, end: RecordId, mut show: impl FnMut(&StoredRecord) -> bool) -> u64 {
    let mut unreadable = 0;
    while next < end {
        match read(ledger, next) {
            Ok(records) => {
                let Some(last) = records.last() else { break };
                if !records.iter().all(|record| record.id < end && show(record)) {
                    break;
                }
                next = RecordId { index: last.id.index + 1, ..last.id };
            }
            Err(error) => {
                tracing::error!(%error, segment = next.segment, "a segment is passed over");
                unreadable += 1;
                next = RecordId { segment: next.segment + 1, index: 0 };
            }
        }
    }
    unreadable
}

fn read(ledger: &Ledger, next: RecordId) -> Result<Vec<StoredRecord>, reeve_ledger::Error> {
    let mut failed = 0;
    loop {
        match ledger.read_from(next, AT_ONCE) {
            // A device that stumbles once must not make what is there unknown.
            Err(error) if failed < RETRIES => {
                tracing::warn!(%error, segment = next.segment, "trying again to read");
                failed += 1;
            }
            done => return done,
        }
    }
}

const RETRIES: u32 = 4;
const AT_ONCE: usize = 8192;
