//! Taking content out, and forbidding it: redaction, destruction, holds. Format: `docs/spec/retention.md`.
//!
//! Order, and what a crash after each step leaves: (1) new files under names that nobody refers to: erased at open; (2) the entry under a checkpoint:
//! the content counts as gone, and what is left of it is erased at open; (3) the files of before are erased.
use std::ops::Range;

use jiff::Timestamp;
use reeve_record::{Receipt, RecordId};
use serde::Serialize;

use crate::{
    DisposalAuthority, DisposalStatement, Error, Hold, Ledger, NewHold, Statement,
    disk::{erase, write_durably},
    disposal::{Disposed, ranges_of},
    entry::Entry,
    hold::HoldStatement,
    ledger::Inner,
    main_log::read_entries,
    segment::{SegmentReader, file_name, leaves_path, redact},
};

/// What an act took out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Disposal {
    /// The segment.
    pub segment: u32,
    /// Index of the entry in the main log; of several, the last.
    pub entry: u64,
    /// Records whose content is gone by this act.
    pub records: u64,
    /// Whether nothing but leaf hashes is left of the segment.
    pub destroyed: bool,
    /// Bytes of files that were erased, less those of the files that took their place.
    pub bytes: i64,
}

/// What is left of a sealed segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentStatus {
    /// Its batch statement.
    pub statement: Statement,
    /// Index of that in the main log.
    pub entry: u64,
    /// Redacted records as (first index, count).
    pub redacted: Vec<(u32, u32)>,
    /// Whether its content was destroyed.
    pub destroyed: bool,
    /// Index of the last entry that took content out of it, if any did.
    pub disposed_by: Option<u64>,
}

/// Gives the event time of a record, where a reading knows it better than its receipt.
pub type EventTimes<'a> = &'a dyn Fn(RecordId) -> Option<Timestamp>;

impl Ledger {
    /// Takes the content of sealed records out; their leaves, and all proofs of other records, stay. Those that are redacted already are passed over.
    /// One act a segment: an error leaves earlier segments redacted.
    ///
    /// # Errors
    /// [`Error::NotSealed`], [`Error::NoRecord`], [`Error::Disposed`] for a destroyed segment; [`Error::Held`]; [`Error::Segment`] if its file is damaged.
    /// After another error the act may take effect all the same: the ledger finishes it when it next signs or opens.
    pub fn redact(&self, ids: &[RecordId], authority: &DisposalAuthority, event: EventTimes<'_>) -> Result<Vec<Disposal>, Error> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        let mut done = Vec::new();
        for same_segment in ids.chunk_by(|a, b| a.segment == b.segment) {
            let indexes = same_segment.iter().map(|id| id.index).collect();
            done.extend(self.inner.redact(same_segment[0].segment, indexes, authority, event)?);
        }
        Ok(done)
    }

    /// Takes everything of a sealed segment out but its leaf hashes; `None` if that was done before.
    ///
    /// # Errors
    /// As [`Ledger::redact`].
    pub fn destroy(&self, segment: u32, authority: &DisposalAuthority, event: EventTimes<'_>) -> Result<Option<Disposal>, Error> {
        self.inner.destroy(segment, authority, event)
    }

    /// Adds a hold: from now on nothing it covers can be taken out.
    ///
    /// # Errors
    /// [`Error::Disposal`] if its name was used before, or a text of it breaks its form; else as when signing.
    pub fn hold(&self, hold: &NewHold) -> Result<Hold, Error> {
        if self.inner.state.read().holds.get(&hold.name).is_some() {
            return Err(Error::Disposal { reason: format!("there is or was a hold `{}`: names are not used again", hold.name) });
        }
        let origin = &self.inner.options.origin;
        self.inner.log_hold(&hold.name, |at| HoldStatement::add(origin, at, hold))
    }

    /// Ends a hold; others that cover the same records stay.
    ///
    /// # Errors
    /// [`Error::Disposal`] if there is no such active hold, or a text breaks its form; else as when signing.
    pub fn release(&self, name: &str, by: &str, reason: &str) -> Result<Hold, Error> {
        if !self.inner.state.read().holds.get(name).is_some_and(Hold::is_active) {
            return Err(Error::Disposal { reason: format!("there is no active hold `{name}`") });
        }
        let origin = &self.inner.options.origin;
        self.inner.log_hold(name, |at| HoldStatement::release(origin, at, name, by, reason))
    }

    /// All holds there were, by name.
    pub fn holds(&self) -> Vec<Hold> {
        self.inner.state.read().holds.all().cloned().collect()
    }

    /// What is left of a sealed segment; `None` if it is not sealed.
    ///
    /// # Errors
    /// [`Error::Log`], [`Error::Io`] if its entry cannot be read.
    pub fn segment(&self, segment: u32) -> Result<Option<SegmentStatus>, Error> {
        let Some(entry) = self.inner.state.read().sealed.get(segment as usize).map(|sealed| sealed.entry) else {
            return Ok(None);
        };
        let (statement, disposed) = self.inner.sealed_statement(RecordId { segment, index: 0 })?;
        let disposed_by = (disposed != Disposed::default()).then_some(disposed.entry);
        Ok(Some(SegmentStatus { statement, entry, redacted: disposed.redacted, destroyed: disposed.destroyed, disposed_by }))
    }

    /// Shows the receipt of each record of a sealed segment that is not lost, with whether its content is there. Nothing of a destroyed one.
    ///
    /// # Errors
    /// As [`Ledger::get`].
    pub fn receipts(&self, segment: u32, each: &mut dyn FnMut(RecordId, &Receipt, bool)) -> Result<(), Error> {
        let (statement, disposed) = self.inner.sealed_statement(RecordId { segment, index: 0 })?;
        if disposed.destroyed {
            return Ok(());
        }
        self.inner.each_receipt(&statement, &disposed, &[(0, statement.records)], |id, receipt, present| {
            each(id, receipt, present);
            Ok(())
        })
    }

    /// All acts that took content out, with the index of their entries.
    ///
    /// # Errors
    /// [`Error::Log`], [`Error::Io`] if the log cannot be read.
    pub fn disposals(&self) -> Result<Vec<(u64, DisposalStatement)>, Error> {
        let (mut index, mut found) = (0, Vec::new());
        self.inner.each_entry(|entry| {
            if let Entry::Disposal(disposal) = entry {
                found.push((index, disposal.clone()));
            }
            index += 1;
        })?;
        Ok(found)
    }

    /// Entry that took the content of a record out, and whether all of its segment was; `None` if it is there, or never was.
    pub fn disposed_by(&self, id: RecordId) -> Option<(u64, bool)> {
        let state = self.inner.state.read();
        let disposed = state.disposals.of(id.segment)?;
        (disposed.destroyed || disposed.is_redacted(id.index)).then_some((disposed.entry, disposed.destroyed))
    }
}

/// An act whose entry may be in the log although that was reported failed. It is tried again with the same bytes, never others.
pub(crate) struct Unfinished {
    segment: u32,
    entries: Vec<Vec<u8>>,
    before: Disposed,
    after: Disposed,
}

impl Inner {
    fn redact(
        &self,
        segment: u32,
        mut indexes: Vec<u32>,
        authority: &DisposalAuthority,
        event: EventTimes<'_>,
    ) -> Result<Option<Disposal>, Error> {
        let mut unfinished = self.disposing.lock();
        self.finish(&mut unfinished)?;
        let (statement, before) = self.present(RecordId { segment, index: 0 })?;
        if let Some(index) = indexes.iter().copied().find(|index| *index >= statement.records || statement.is_lost(*index)) {
            return Err(Error::NoRecord { id: RecordId { segment, index } });
        }
        indexes.retain(|index| !before.is_redacted(*index));
        let ranges = ranges_of(indexes);
        if ranges.is_empty() {
            return Ok(None);
        }
        self.check_holds(&statement, &before, &ranges, event)?;
        let parts: Vec<&[(u32, u32)]> = ranges.chunks(RANGES_MAX).collect();
        let number = before.redactions + parts.len() as u32;
        let dir = self.segments_dir();
        let files = match redact::rewrite(&*self.disk, &dir, &statement, &before, &ranges, number) {
            Ok(files) => files,
            Err(error) => {
                self.erase_files(segment, number..number + 1);
                return Err(error);
            }
        };
        let redactions = parts.iter().map(|part| Some((files, part.to_vec()))).collect();
        self.log_disposal(&mut unfinished, &statement, before, authority, redactions).map(Some)
    }

    fn destroy(&self, segment: u32, authority: &DisposalAuthority, event: EventTimes<'_>) -> Result<Option<Disposal>, Error> {
        let mut unfinished = self.disposing.lock();
        self.finish(&mut unfinished)?;
        let (statement, before) = match self.present(RecordId { segment, index: 0 }) {
            Err(Error::Disposed { .. }) => return Ok(None),
            present => present?,
        };
        self.check_holds(&statement, &before, &[(0, statement.records)], event)?;
        let dir = self.segments_dir();
        let leaves = redact::recompute(&*self.disk, &dir, &statement, &before, |_, _, _, _| {})?;
        let path = leaves_path(&dir, segment);
        write_durably(&*self.disk, &path, leaves.as_flattened(), true).map_err(|error| Error::io("write", &path, error))?;
        self.log_disposal(&mut unfinished, &statement, before, authority, vec![None]).map(Some)
    }

    /// Logs one act as one entry for each of `redactions`, under one checkpoint, and then erases what it superseded.
    fn log_disposal(
        &self,
        unfinished: &mut Option<Unfinished>,
        statement: &Statement,
        before: Disposed,
        authority: &DisposalAuthority,
        redactions: Vec<Option<crate::Redaction>>,
    ) -> Result<Disposal, Error> {
        let segment = statement.segment;
        let at = self.log.lock().time(self.options.clock.now());
        let (mut after, mut entries) = (before.clone(), Vec::new());
        for redaction in redactions {
            let origin = self.options.origin.clone();
            let next = DisposalStatement { origin, at, segment, authority: authority.clone(), redaction };
            after
                .take(0, &next, statement.records, &statement.lost)
                .map_err(|reason| Error::Disposal { reason: reason.into() })?;
            entries.push(next.to_text().into_bytes());
        }
        let records = match after.destroyed {
            true => u64::from(statement.records) - before.redacted_records() - lost_records(statement),
            false => after.redacted_records() - before.redacted_records(),
        };
        let length = |disposed: &Disposed| disposed.files.map_or(statement.file.length, |files| files.file.length) as i64;
        let bytes = length(&before) - if after.destroyed { 0 } else { length(&after) };
        let destroyed = after.destroyed;
        *unfinished = Some(Unfinished { segment, entries, before, after });
        let entry = self.finish(unfinished)?.unwrap_or_default();
        Ok(Disposal { segment, entry, records, destroyed, bytes })
    }

    /// Finishes an act whose entry may be in the log; the index of its last entry.
    pub(crate) fn finish(&self, unfinished: &mut Option<Unfinished>) -> Result<Option<u64>, Error> {
        let Some(act) = unfinished.take() else { return Ok(None) };
        let mut log = self.log.lock();
        match log.append_all(&act.entries, self.options.clock.now()) {
            Ok(first) => {
                drop(log);
                let entry = first + act.entries.len() as u64 - 1;
                self.apply(act.segment, Disposed { entry, ..act.after });
                Ok(Some(entry))
            }
            Err(error) => {
                if act.entries.first().is_some_and(|entry| log.may_be_published(entry)) {
                    *unfinished = Some(act);
                } else {
                    drop(log);
                    self.erase_files(act.segment, act.before.redactions + 1..act.after.redactions + 1);
                    let _ = erase(&*self.disk, &leaves_path(&self.segments_dir(), act.segment));
                }
                Err(error)
            }
        }
    }

    /// Lets readers go over to what is left, then erases the rest.
    fn apply(&self, segment: u32, disposed: Disposed) {
        let superseded = 0..disposed.redactions + u32::from(disposed.destroyed);
        {
            let _alone = self.layout.write();
            self.state.write().disposals.put(segment, disposed);
            self.forget_reader(segment);
        }
        self.erase_files(segment, superseded);
    }

    /// Erases files with content of a segment, by the number of redactions in their names. What fails is left to the next opening.
    fn erase_files(&self, segment: u32, redactions: Range<u32>) {
        for number in redactions {
            for kind in ["parquet", "map", "salts"] {
                let path = self.segments_dir().join(file_name(segment, number, kind));
                if self.disk.open(&path).is_ok()
                    && let Err(error) = erase(&*self.disk, &path)
                {
                    let path = path.display();
                    tracing::error!(%path, %error, "content that was taken out is not erased yet; it will be when the ledger is opened again");
                }
            }
        }
    }

    /// A sealed segment's statement, and what became of it.
    pub(crate) fn sealed_statement(&self, id: RecordId) -> Result<(Statement, Disposed), Error> {
        let (entry, disposed) = {
            let state = self.state.read();
            let sealed = state.sealed.get(id.segment as usize).ok_or(Error::NotSealed { id })?;
            (sealed.entry, state.disposals.of(id.segment).cloned().unwrap_or_default())
        };
        let text = self.log.lock().entry(entry)?;
        match Entry::parse(&text) {
            Ok(Entry::Batch(statement)) if statement.segment == id.segment => Ok((statement, disposed)),
            _ => Err(Error::Log { place: format!("entry {entry}"), reason: "it is not the batch statement it was".into() }),
        }
    }

    /// As [`Inner::sealed_statement`], of a segment that was not destroyed.
    fn present(&self, id: RecordId) -> Result<(Statement, Disposed), Error> {
        let (statement, disposed) = self.sealed_statement(id)?;
        if disposed.destroyed {
            return Err(Error::Disposed { id, how: "destroyed", entry: disposed.entry });
        }
        Ok((statement, disposed))
    }

    /// Whether no active hold covers any of the records.
    fn check_holds(
        &self,
        statement: &Statement,
        disposed: &Disposed,
        ranges: &[(u32, u32)],
        event: EventTimes<'_>,
    ) -> Result<(), Error> {
        let holds: Vec<Hold> = self.state.read().holds.all().filter(|hold| hold.may_cover(statement.segment)).cloned().collect();
        if holds.is_empty() {
            return Ok(());
        }
        let first = RecordId { segment: statement.segment, index: ranges.first().map_or(0, |range| range.0) };
        if let Some(hold) = holds.iter().find(|hold| hold.scope.is_none()) {
            return Err(Error::Held { hold: hold.name.clone(), id: first });
        }
        self.each_receipt(statement, disposed, ranges, |id, receipt, _| {
            let hold = holds.iter().find(|hold| hold.covers(id, receipt, event(id)));
            hold.map_or(Ok(()), |hold| Err(Error::Held { hold: hold.name.clone(), id }))
        })
    }

    /// The receipts of records that are not lost, with whether their content is there.
    fn each_receipt(
        &self,
        statement: &Statement,
        disposed: &Disposed,
        ranges: &[(u32, u32)],
        mut each: impl FnMut(RecordId, &Receipt, bool) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let segment = statement.segment;
        let reader = SegmentReader::open(&*self.disk, &self.segments_dir(), segment, disposed.redactions)?;
        for (first, count) in ranges {
            let last = first + count;
            for from in (*first..last).step_by(RECEIPTS as usize) {
                let to = last.min(from.saturating_add(RECEIPTS));
                for (row, index) in reader.read(std::slice::from_ref(&(from..to)))?.iter().zip(from..) {
                    if row.raw.is_some() || disposed.is_redacted(index) {
                        each(RecordId { segment, index }, &row.receipt, row.raw.is_some())?;
                    }
                }
            }
        }
        Ok(())
    }

    /// All entries under the checkpoint, in order.
    pub(crate) fn each_entry(&self, mut each: impl FnMut(&Entry)) -> Result<(), Error> {
        let size = self.log.lock().checkpoint().map_or(0, |(checkpoint, _)| checkpoint.size);
        read_entries(&*self.disk, &self.dir.join("log"), size, |index, bytes| {
            let bad = |reason: &str| Error::Log { place: format!("entry {index}"), reason: format!("it {reason}") };
            each(&Entry::parse(bytes).map_err(bad)?);
            Ok(())
        })
    }

    fn log_hold(&self, name: &str, make: impl FnOnce(Timestamp) -> Result<HoldStatement, Error>) -> Result<Hold, Error> {
        let mut log = self.log.lock();
        let statement = make(log.time(self.options.clock.now()))?;
        let entry = log.append(statement.to_text().as_bytes(), self.options.clock.now())?;
        drop(log);
        let mut state = self.state.write();
        state.holds.take(entry, &statement);
        state.holds.get(name).cloned().ok_or_else(|| Error::Disposal { reason: format!("there is no hold `{name}`") })
    }
}

fn lost_records(statement: &Statement) -> u64 {
    statement.lost.iter().map(|(_, count)| u64::from(*count)).sum()
}

/// Ranges that one entry of the main log has room for, whatever else it says.
const RANGES_MAX: usize = 1500;
/// Rows read at once for their receipts.
const RECEIPTS: u32 = 4096;
