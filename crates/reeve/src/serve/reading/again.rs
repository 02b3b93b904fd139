//! A stretch of the record read again, for its rows alone: nothing is detected, no position moves.
use std::path::Path;

use reeve_detect::Engine;
use reeve_lake::Rows;
use reeve_ledger::{Ledger, StoredRecord};
use reeve_record::RecordId;

use super::{Duration, HEADER_LINES_MAX, Headers, ROUND_RECORDS_MAX, Shard, Work};
use crate::exit::{Failure, UNUSABLE};

/// Records before the stretch that decoders see first, so that an event begun there is known as such; and at most so many after it are read for
/// the rest of events begun inside.
const AROUND: u32 = 16_384;

/// Gives `take` the rows of the records in `[from, to)`, in order, and of some around them. `dir` holds the note of header lines.
///
/// # Errors
/// A record cannot be read, or `take` refused. Rows given before are then not all there are.
pub(crate) fn read_again(
    dir: &Path,
    ledger: &Ledger,
    engine: &Engine,
    (from, to): (RecordId, RecordId),
    take: &mut dyn FnMut(Rows) -> Result<(), reeve_lake::Error>,
) -> Result<u64, Failure> {
    let mut shard = Shard::new();
    let mut next = before(ledger, from);
    show_headers(&mut shard, dir, ledger, engine, next)?;
    let (mut read, mut after) = (0, 0);
    loop {
        let records = ledger.read_from(next, ROUND_RECORDS_MAX).map_err(|error| unreadable(next, &error))?;
        let Some(last) = records.last().map(|record| record.id) else { break };
        read += records.iter().filter(|record| (from..to).contains(&record.id)).count() as u64;
        after += records.iter().filter(|record| record.id >= to).count();
        next = RecordId { index: last.index + 1, ..last };
        give(&mut shard, &records.iter().collect::<Vec<_>>(), engine, take)?;
        let waits = shard.oldest_waiting().is_some_and(|oldest| oldest < to);
        if next >= to && (!waits || after >= AROUND as usize) {
            break;
        }
    }
    let mut work = Work::default();
    shard.flush(Duration::ZERO, engine, &mut work);
    hand_on(work, take)?;
    Ok(read)
}

fn give(
    shard: &mut Shard,
    records: &[&StoredRecord],
    engine: &Engine,
    take: &mut dyn FnMut(Rows) -> Result<(), reeve_lake::Error>,
) -> Result<(), Failure> {
    let mut work = Work::default();
    shard.read(records, engine, &mut work);
    hand_on(work, take)
}

fn hand_on(work: Work, take: &mut dyn FnMut(Rows) -> Result<(), reeve_lake::Error>) -> Result<(), Failure> {
    work.rows.into_iter().try_for_each(take).map_err(|error| Failure::new(UNUSABLE, error))
}

/// A place some records before `from`.
fn before(ledger: &Ledger, from: RecordId) -> RecordId {
    let (mut segment, mut index, mut left) = (from.segment, from.index, AROUND);
    while index < left && segment > 0 {
        left -= index;
        segment -= 1;
        index = ledger.extent(segment).map_or(0, |(records, _)| records);
    }
    RecordId { segment, index: index.saturating_sub(left) }
}

/// Header lines that later lines need, from before the place where reading begins.
fn show_headers(shard: &mut Shard, dir: &Path, ledger: &Ledger, engine: &Engine, next: RecordId) -> Result<(), Failure> {
    for ids in Headers::load(dir.join("headers.json")).known.into_values() {
        let ids: Vec<RecordId> = ids.into_iter().filter(|id| *id < next).take(HEADER_LINES_MAX).collect();
        let records = ledger.get_many(&ids).map_err(|error| unreadable(next, &error))?;
        shard.read(&records.iter().flatten().collect::<Vec<_>>(), engine, &mut Work::default());
        shard.forget_waiting();
    }
    Ok(())
}

fn unreadable(at: RecordId, error: &reeve_ledger::Error) -> Failure {
    Failure::new(UNUSABLE, format!("the record cannot be read at {at}, so nothing was changed: {error}"))
}
