//! Merges small event segments into large ones, in the background.
//!
//! Format and rules: docs/spec/lake.md. A merge is planned from what is live, holds a lease on its slot, and becomes visible in one
//! catalog transaction that fails if anything it replaces is no longer live. Readers keep the files they began with.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{
    Error, Lake,
    catalog::{Change, MAX_REWRITES, SegmentRow},
    merge,
    segment::{self, SegmentFile, Slot},
    store::{FlushStep, sync_folder},
    writer::SegmentWriter,
};

/// When files are merged, and into how large ones.
#[derive(Clone, Copy, Debug)]
pub struct Compaction {
    /// Files of fewer events are rewritten by the flushes that follow them, as a binary counter carries; default 16,384.
    pub carry_rows: u64,
    /// Files of one slot and age that are merged at once; default 8.
    pub files: usize,
    /// Size in bytes from which a file is left alone; default 128 MiB.
    pub file_bytes: u64,
    /// Size in bytes that a merged file stays near below; default 512 MiB.
    pub file_bytes_max: u64,
    /// How long a merge may hold its slot without a word; default two minutes.
    pub lease: Duration,
}

impl Default for Compaction {
    fn default() -> Self {
        Self { carry_rows: 16_384, files: 8, file_bytes: 128 << 20, file_bytes_max: 512 << 20, lease: Duration::from_secs(120) }
    }
}

/// What one merge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Compacted {
    /// Files merged.
    pub files: usize,
    /// Events in them.
    pub rows: u64,
    /// Bytes read.
    pub bytes_before: u64,
    /// Bytes of the file that replaces them.
    pub bytes_after: u64,
}

/// Inputs of one merge at most: each is open with a few thousand rows in memory.
const INPUTS_MAX: usize = 32;
/// A day counts as over so long after midnight, UTC.
const DAY_REST_SECONDS: i64 = 3600;

impl Lake {
    /// Merges the files of one slot that are due; `None` if none are. Blocking, with bounded memory.
    ///
    /// `go_on` is asked every few thousand rows: it may sleep to give way, and stops the merge with false. Nothing has changed then.
    ///
    /// # Errors
    /// [`Error::is_superseded`] if others were faster. The files are as they were, or replaced as a whole.
    pub fn compact(&self, go_on: &dyn Fn() -> bool) -> Result<Option<Compacted>, Error> {
        for merge in self.due(Timestamp::now()) {
            let lease = format!("compact {}", merge.slot.folder());
            if !self.catalog.lease(&lease, &self.holder, self.options.compaction.lease)? {
                continue;
            }
            let claim = self.claim(&merge.inputs);
            let done = if claim.is_some() { self.run_merge(&merge, &lease, go_on) } else { Ok(None) };
            drop(claim);
            let done = done.map_err(|error| self.or_superseded(error, &merge));
            let released = self.catalog.release(&lease, &self.holder);
            return done.and_then(|compacted| Ok(released.map(|()| compacted)?));
        }
        Ok(None)
    }

    /// A file that the store no longer has is no loss if others replaced it meanwhile.
    fn or_superseded(&self, error: Error, merge: &Merge) -> Error {
        if !matches!(error, Error::Objects(reeve_objects::Error::Missing { .. })) {
            return error;
        }
        let Ok((live, _)) = self.catalog.load() else { return error };
        let gone = merge.inputs.iter().find(|file| live.iter().all(|row| row.path != file.row.path));
        gone.map_or(error, |file| reeve_catalog::Error::Superseded { what: file.row.path.clone() }.into())
    }

    fn run_merge(&self, merge: &Merge, lease: &str, go_on: &dyn Fn() -> bool) -> Result<Option<Compacted>, Error> {
        self.step(FlushStep::MergeStart)?;
        let Some(mut row) = self.write_merged(merge, lease, go_on)? else { return Ok(None) };
        row.rewrites = merge.rewrites;
        // One at a time with flushes: both change what is live.
        let _one_at_a_time = self.flushing.lock();
        let remove: Vec<String> = merge.inputs.iter().map(|file| file.row.path.clone()).collect();
        let change =
            Change { add: std::slice::from_ref(&row), remove: &remove, lease: Some((lease, &self.holder)), ..Change::default() };
        // Writing and waiting took their time: a lease that ran out and that nobody took is ours again.
        let held = self.catalog.lease(lease, &self.holder, self.options.compaction.lease).map(drop).map_err(Error::from);
        let written = held.and_then(|()| self.step(FlushStep::MergeWritten));
        let told = written.and_then(|()| Ok(self.catalog.commit(&change)?)).and_then(|()| self.step(FlushStep::MergeCommitted));
        match told {
            Ok(()) => self.replace(&remove, vec![row.clone()]),
            Err(error) => self.happened(std::slice::from_ref(&row), error)?,
        }
        Ok(Some(Compacted {
            files: merge.inputs.len(),
            rows: row.rows,
            bytes_before: merge.inputs.iter().map(|file| file.row.bytes).sum(),
            bytes_after: row.bytes,
        }))
    }

    fn write_merged(&self, merge: &Merge, lease: &str, go_on: &dyn Fn() -> bool) -> Result<Option<SegmentRow>, Error> {
        let path = self.announce(merge.slot)?;
        let rows = merge.inputs.iter().map(|file| file.row.rows).sum::<u64>();
        let mut writer = SegmentWriter::create(&self.folder, &path, merge.slot, usize::try_from(rows).unwrap_or(usize::MAX))?;
        let extended = parking_lot::Mutex::new(Instant::now());
        let go_on = || self.extend(lease, &extended) && go_on();
        if !merge::merge(&self.files, &merge.inputs, &mut writer, &go_on)? {
            drop(writer);
            self.discard(&path);
            return Ok(None);
        }
        let row = writer.finish()?;
        let folder = self.folder.join(merge.slot.folder());
        if row.rows != rows {
            self.discard(&row.path);
            return Err(Error::Damaged { path: folder_name(&folder), detail: format!("{rows} events became {}", row.rows) });
        }
        sync_folder(&folder)?;
        self.files.keep(std::slice::from_ref(&row))?;
        Ok(Some(row))
    }

    /// Keeps the lease; false once it has passed to another, whose merge then wins.
    fn extend(&self, lease: &str, extended: &parking_lot::Mutex<Instant>) -> bool {
        let term = self.options.compaction.lease;
        let mut extended = extended.lock();
        if extended.elapsed() < term / 4 {
            return true;
        }
        *extended = Instant::now();
        // A catalog that cannot be written now may be later; the commit asks again.
        self.catalog.lease(lease, &self.holder, term).unwrap_or(true)
    }

    /// What is to be merged, the slot with the most files first.
    fn due(&self, now: Timestamp) -> Vec<Merge> {
        let mut slots: BTreeMap<Slot, Vec<Arc<SegmentFile>>> = BTreeMap::new();
        {
            let state = self.state.read();
            for file in state.files.iter().filter(|file| !state.claimed.contains(&file.row.path)) {
                let slot = Slot { day: file.row.day, class_uid: file.row.class_uid };
                slots.entry(slot).or_default().push(file.clone());
            }
        }
        let today = segment::day_of((now.as_second() - DAY_REST_SECONDS).saturating_mul(1_000_000));
        let rules = &self.options.compaction;
        let mut due: Vec<Merge> = slots.into_iter().filter_map(|(slot, files)| plan(slot, files, today, rules)).collect();
        due.sort_by_key(|merge| std::cmp::Reverse(merge.inputs.len()));
        due
    }
}

/// Files that become one.
struct Merge {
    slot: Slot,
    inputs: Vec<Arc<SegmentFile>>,
    /// How often the output's events will have been rewritten.
    rewrites: u8,
}

fn plan(slot: Slot, files: Vec<Arc<SegmentFile>>, today: i32, rules: &Compaction) -> Option<Merge> {
    let is_small = |file: &&Arc<SegmentFile>| file.row.rewrites < MAX_REWRITES && file.row.bytes < rules.file_bytes;
    let mut small: Vec<Arc<SegmentFile>> = files.iter().filter(is_small).cloned().collect();
    small.sort_by(|left, right| left.row.path.cmp(&right.row.path));
    // Once a day is over its files become one; what comes late gathers as on any other day.
    let last = slot.day < today && small.len() > 1 && files.iter().all(|file| file.row.rewrites < MAX_REWRITES);
    if last {
        return merge_of(slot, small, rules);
    }
    (0..MAX_REWRITES).find_map(|rewrites| {
        let same: Vec<_> = small.iter().filter(|file| file.row.rewrites == rewrites).cloned().collect();
        let bytes: u64 = same.iter().map(|file| file.row.bytes).sum();
        let due = same.len() >= rules.files.max(2) || (same.len() > 1 && bytes >= rules.file_bytes);
        if due { merge_of(slot, same, rules) } else { None }
    })
}

/// The first of `files`, as many as make one large file.
fn merge_of(slot: Slot, files: Vec<Arc<SegmentFile>>, rules: &Compaction) -> Option<Merge> {
    let mut bytes = 0;
    let inputs: Vec<_> = files
        .into_iter()
        .take(INPUTS_MAX)
        .take_while(|file| {
            bytes += file.row.bytes;
            bytes <= rules.file_bytes_max
        })
        .collect();
    let rewrites = inputs.iter().map(|file| file.row.rewrites).max()? + 1;
    (inputs.len() > 1).then_some(Merge { slot, inputs, rewrites })
}

fn folder_name(folder: &Path) -> String {
    folder.display().to_string()
}
