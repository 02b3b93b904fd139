//! The entries of the main log as far as they could be read, and which records depend on each.
use super::{RecordRange, whole};
use crate::{Statement, entry::Entry};

/// What is known of one entry.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    /// No stored copy fits the log.
    Missing,
    /// A copy fits, and says nothing this program knows; why.
    Unknown(&'static str),
    Known(Box<Entry>),
}

/// All entries in order, with the segments they stand for.
pub(super) struct Entries {
    pub(super) slots: Vec<Slot>,
    /// By segment; `None` where the entry is missing.
    pub(super) statements: Vec<Option<Statement>>,
    /// By entry: the segment whose batch it is or must have been.
    segments: Vec<Option<u32>>,
}

impl Entries {
    pub(super) fn new(slots: Vec<Slot>) -> Self {
        let mut statements: Vec<Option<Statement>> = Vec::new();
        let mut segments = vec![None; slots.len()];
        let mut missing: Vec<usize> = Vec::new();
        for (index, slot) in slots.iter().enumerate() {
            let entry = match slot {
                Slot::Missing => {
                    missing.push(index);
                    continue;
                }
                Slot::Unknown(_) => continue,
                Slot::Known(entry) => &**entry,
            };
            match entry {
                Entry::Batch(statement) => {
                    // Segments have no gaps, so what is skipped here is what the missing entries said.
                    let gap = (statement.segment as usize).saturating_sub(statements.len());
                    if gap <= missing.len() {
                        let lost = missing.split_off(missing.len() - gap);
                        lost.into_iter().for_each(|lost| place(&mut segments, &mut statements, lost, None));
                    }
                    missing.clear();
                    place(&mut segments, &mut statements, index, Some(statement.clone()));
                }
                Entry::Epoch(_) | Entry::Fork(_) | Entry::Disposal(_) | Entry::Hold(_) => {}
            }
        }
        missing.into_iter().for_each(|lost| place(&mut segments, &mut statements, lost, None));
        Self { slots, statements, segments }
    }

    /// Whether this entry is a batch, or was one.
    pub(super) fn is_batch(&self, index: usize) -> bool {
        self.segments.get(index).is_some_and(Option::is_some)
    }

    /// The records whose proof leads through this entry. An epoch or fork vouches for the batches up to the next one; the last of all for those before.
    pub(super) fn records_at(&self, index: usize) -> Vec<RecordRange> {
        if let Some(segment) = self.segments.get(index).copied().flatten() {
            return vec![self.whole(segment)];
        }
        let rest = self.segments.get(index + 1..).unwrap_or_default();
        let next: Vec<RecordRange> = rest
            .iter()
            .skip_while(|segment| segment.is_none())
            .map_while(|segment| segment.map(|segment| self.whole(segment)))
            .collect();
        if next.is_empty() { self.last_before(index).into_iter().collect() } else { next }
    }

    /// All records whose batch lies at or after this entry; if there are none, those of the last batch before.
    pub(super) fn records_from(&self, index: usize) -> Vec<RecordRange> {
        let rest = self.segments.get(index..).unwrap_or_default();
        let records: Vec<RecordRange> = rest.iter().flatten().map(|segment| self.whole(*segment)).collect();
        if records.is_empty() { self.last_before(index).into_iter().collect() } else { records }
    }

    /// Exactly the records whose batch lies at or after this entry.
    pub(super) fn records_past(&self, index: u64) -> Vec<RecordRange> {
        let rest = self.segments.get(index as usize..).unwrap_or_default();
        rest.iter().flatten().map(|segment| self.whole(*segment)).collect()
    }

    /// All records, as far as anybody knows how many there are.
    pub(super) fn all_records(&self) -> Vec<RecordRange> {
        (0..self.statements.len()).map(|segment| self.whole(segment as u32)).collect()
    }

    fn last_before(&self, index: usize) -> Option<RecordRange> {
        let before = self.segments.get(..index.min(self.segments.len()))?;
        before.iter().rev().flatten().next().map(|segment| self.whole(*segment))
    }

    fn whole(&self, segment: u32) -> RecordRange {
        whole(segment, self.statements.get(segment as usize).and_then(Option::as_ref))
    }
}

fn place(segments: &mut [Option<u32>], statements: &mut Vec<Option<Statement>>, index: usize, statement: Option<Statement>) {
    segments[index] = Some(statements.len() as u32);
    statements.push(statement);
}
