//! What the clients of a run know, and the check of a ledger against it.
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
};

use reeve_ledger::{Checkpoint, Error, Ledger, NewRecord, Report, StoredRecord, tree};
use reeve_record::{RecordId, Transport, leaf_hash};

use crate::{disk::SimDisk, dispose::Gone, random::Random};

type Outcome = Result<Vec<RecordId>, Error>;

/// A batch as its client sees it.
#[derive(Clone)]
struct Batch {
    /// Number of its first record; records are numbered in the order they were handed over.
    first: u64,
    records: u64,
    outcome: Arc<Mutex<Option<Outcome>>>,
}

/// Everything the clients were told.
#[derive(Clone, Default)]
pub struct Model {
    batches: Vec<Batch>,
    numbers: u64,
    /// Records in an unfinished group that a recovery cut off, by where it began: a device that loses what was synced last
    /// cannot be told from a power cut before the sync, but it must have been named.
    cut: BTreeSet<RecordId>,
    /// Checkpoints that were shown to somebody.
    checkpoints: Vec<Checkpoint>,
    /// Whether the device has lied in this run.
    pub lied: bool,
    /// Segments whose only name a device lost after it had said that the name was durable. As long as nothing was written after it, nothing on
    /// the machine can know: only receipts kept elsewhere show it.
    pub forgotten: BTreeSet<u32>,
    /// What was taken out by two people's word.
    pub gone: Gone,
}

/// Totals of a check.
#[derive(Clone, Copy, Default, Debug)]
pub struct Kept {
    pub acknowledged: u64,
    pub named_lost: u64,
    pub named_cut: u64,
    pub forgotten: u64,
    pub taken_out: u64,
}

/// The bytes of record `number`: any length, and different for each.
fn raw(number: u64) -> Vec<u8> {
    let mut random = Random::new(number);
    let length = [0, 40, 200, 3000][random.below(4) as usize];
    let mut raw = format!("record {number} ").into_bytes();
    raw.extend((0..random.below(length + 1)).map(|_| b' ' + (random.next() % 90) as u8));
    raw
}

/// The number of the record with these bytes.
pub fn number(raw: &[u8]) -> Option<u64> {
    std::str::from_utf8(raw).ok()?.strip_prefix("record ")?.split(' ').next()?.parse().ok()
}

impl Model {
    pub fn new(lied: bool) -> Self {
        Self { lied, ..Self::default() }
    }

    /// The machine is one of before: what it had said by then counts. Numbers go on, so that no record of after is taken for one of before.
    pub fn restore(&mut self, known: Model) {
        let numbers = self.numbers.max(known.numbers);
        *self = Model { numbers, ..known };
    }

    /// Hands over a batch.
    pub fn submit(&mut self, ledger: &Ledger, records: u64) {
        let first = self.numbers;
        self.numbers += records;
        let batch =
            (first..self.numbers).map(|n| NewRecord::new(format!("host{}", n * n % 5), Transport::SyslogTcp, raw(n))).collect();
        let outcome = Arc::new(Mutex::new(None));
        self.batches.push(Batch { first, records, outcome: outcome.clone() });
        ledger.submit_with(batch, move |told| {
            *outcome.lock().unwrap() = Some(told);
        });
    }

    /// Notes what opening said and the checkpoint it found.
    pub fn opened(&mut self, ledger: &Ledger) {
        let recovery = ledger.status().recovery;
        self.cut.extend(recovery.unfinished);
        self.saw_checkpoint(ledger);
    }

    pub fn saw_checkpoint(&mut self, ledger: &Ledger) {
        if let Some(checkpoint) = ledger.last_checkpoint()
            && self.checkpoints.last() != Some(&checkpoint)
        {
            self.checkpoints.push(checkpoint);
        }
    }

    /// Acknowledged records: id, number.
    fn acknowledged(&self) -> Vec<(RecordId, u64)> {
        let mut all = Vec::new();
        for batch in &self.batches {
            if let Some(Ok(ids)) = &*batch.outcome.lock().unwrap() {
                assert_eq!(ids.len() as u64, batch.records);
                all.extend(ids.iter().copied().zip(batch.first..));
            }
        }
        all
    }

    pub fn acknowledged_count(&self) -> usize {
        self.acknowledged().len()
    }

    fn was_cut(&self, id: RecordId) -> bool {
        self.cut.range(..=id).next_back().is_some_and(|from| from.segment == id.segment)
    }

    /// One acknowledged record, while the run goes on. A failing read is no loss: it says so.
    pub fn spot_check(&self, ledger: &Ledger, random: &mut Random) -> Result<(), String> {
        let all = self.acknowledged();
        let Some((id, number)) = all.get(random.below(all.len().max(1) as u64) as usize).copied() else { return Ok(()) };
        match ledger.get(id) {
            Ok(Some(_)) if self.gone.surely(id) && !self.lied => {
                Err(format!("{id}, record {number}, was taken out and is there"))
            }
            Ok(Some(record)) if record.raw == raw(number) => Ok(()),
            Ok(None) if self.gone.may_be(id) => Ok(()),
            Ok(_) if self.forgotten.contains(&id.segment) => Ok(()),
            Ok(Some(_)) if !self.was_cut(id) => Err(format!("{id} was acknowledged as record {number} and is another")),
            Ok(None) if !self.lied => Err(format!("{id}, record {number}, was acknowledged and is gone")),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Everything: what was acknowledged is there, bit for bit, once and in order, or the ledger itself names it; of every other batch all or nothing is there.
    pub fn check(&self, ledger: &Ledger, before: &Report) -> Result<Kept, String> {
        let stored = self.read_all(ledger)?;
        self.check_order(&stored)?;
        let by_id: BTreeMap<RecordId, &StoredRecord> = stored.iter().map(|record| (record.id, record)).collect();
        let mut kept = Kept::default();
        let mut counted = 0;
        for (id, number) in self.acknowledged() {
            kept.acknowledged += 1;
            // Beside what cannot be read there is more that can.
            let single = if self.lied && !by_id.contains_key(&id) { ledger.get(id) } else { Ok(None) };
            let gone = matches!(single, Ok(None));
            match by_id.get(&id).copied().or(single.as_ref().ok().and_then(Option::as_ref)) {
                Some(record) if record.raw == raw(number) => {}
                Some(_) if self.forgotten.contains(&id.segment) => kept.forgotten += 1,
                Some(record) if !self.lied || !self.was_cut(id) => {
                    return Err(format!("{id} was acknowledged as record {number} and is now {:?}", self::number(&record.raw)));
                }
                None if self.forgotten.contains(&id.segment) => kept.forgotten += 1,
                None if self.gone.may_be(id) => kept.taken_out += 1,
                _ if self.lied && self.was_cut(id) => kept.named_cut += 1,
                _ if self.lied && is_named(before, id) => {
                    kept.named_lost += 1;
                    counted += u64::from(gone);
                }
                _ => return Err(format!("{id}, record {number}, was acknowledged, is gone, and the ledger does not say so")),
            }
        }
        let lost = ledger.status().lost_records + ledger.status().recovery.lost;
        if !self.lied && lost > 0 {
            return Err(format!("{lost} records are counted as lost although no device lied: {:?}", ledger.status()));
        }
        if counted > lost {
            return Err(format!("{counted} records are gone and the status counts {lost} as lost"));
        }
        Ok(kept)
    }

    /// Everything that can be read. After a lie, a segment that cannot is passed over; whether it is named is judged by its records.
    fn read_all(&self, ledger: &Ledger) -> Result<Vec<StoredRecord>, String> {
        let mut all = Vec::new();
        let mut next = RecordId::default();
        loop {
            match ledger.read_from(next, 50) {
                Ok(read) => {
                    let Some(last) = read.last() else { return Ok(all) };
                    next = RecordId { index: last.id.index + 1, ..last.id };
                    all.extend(read);
                }
                Err(Error::Segment { segment, .. }) if self.lied => next = RecordId { segment: segment + 1, index: 0 },
                Err(Error::Io { .. }) if self.lied && next.segment < ledger.durable_end().segment => {
                    next = RecordId { segment: next.segment + 1, index: 0 };
                }
                Err(error) => return Err(format!("reading on from {next}: {error}")),
            }
        }
    }

    /// Numbers only grow, so nothing is there twice or out of order; batches that failed are there whole or not at all.
    fn check_order(&self, stored: &[StoredRecord]) -> Result<(), String> {
        let mut there = BTreeSet::new();
        for record in stored {
            let number = number(&record.raw).ok_or_else(|| format!("{} was never handed over", record.id))?;
            if record.raw != raw(number) {
                return Err(format!("{}: record {number} is altered", record.id));
            }
            if there.last().is_some_and(|last| *last >= number) {
                return Err(format!("{}: record {number} is there twice or out of order", record.id));
            }
            there.insert(number);
        }
        for batch in self.batches.iter().filter(|_| !self.lied) {
            let kept = there.range(batch.first..batch.first + batch.records).count() as u64;
            let gone = self.gone.count(batch.first..batch.first + batch.records);
            if kept != 0 && kept != batch.records && kept + gone < batch.records {
                return Err(format!("{kept} of a batch of {} from record {} are there", batch.records, batch.first));
            }
        }
        Ok(())
    }

    /// No checkpoint that anybody saw is contradicted by the log there is now.
    pub fn check_history(&self, disk: &SimDisk, log: &Path) -> Result<(), String> {
        let leaves = leaves(disk, log);
        for seen in &self.checkpoints {
            if leaves.get(..seen.size as usize).map(tree::root) != Some(seen.root) {
                return Err(format!(
                    "the checkpoint of {} entries was shown, and the log of {} contradicts it",
                    seen.size,
                    leaves.len()
                ));
            }
        }
        Ok(())
    }
}

fn is_named(report: &Report, id: RecordId) -> bool {
    let mut ranges = report.faults.iter().flat_map(|fault| &fault.records).chain(&report.lost);
    ranges.any(|range| range.segment == id.segment && id.index >= range.first && id.index - range.first < range.count)
}

/// Leaf hashes of the log's entries, from its bundles.
pub fn leaves(disk: &SimDisk, log: &Path) -> Vec<reeve_record::Hash> {
    entries(disk, log).iter().map(|entry| leaf_hash(entry)).collect()
}

pub fn entries(disk: &SimDisk, log: &Path) -> Vec<Vec<u8>> {
    let widest = |bundle: u64| {
        let full = disk.read(&log.join(format!("tile/entries/{bundle:03}")));
        full.or_else(|| (1..256).rev().find_map(|width| disk.read(&log.join(format!("tile/entries/{bundle:03}.p/{width}")))))
    };
    let mut entries = Vec::new();
    for bundle in 0.. {
        let Some(bytes) = widest(bundle) else { break };
        let mut rest = &bytes[..];
        while let Some((length, tail)) = rest.split_first_chunk::<2>() {
            let Some((entry, tail)) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length))) else { break };
            entries.push(entry.to_vec());
            rest = tail;
        }
    }
    entries
}
