//! Replaces the events of a stretch of the record with those that reading it again gives.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::Int64Type,
};
use parking_lot::MutexGuard;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use reeve_record::RecordId;

use crate::{
    Error, Lake, Rows,
    catalog::{Bound, Change, SegmentRow},
    rows::packed,
    segment::{self, CHUNK_ROWS, SegmentFile, Slot},
    store::{FlushStep, slots, sync_folder},
    writer::SegmentWriter,
};

/// A replacement in the making. Dropped before [`Rereading::finish`] it changes nothing.
pub struct Rereading<'l> {
    lake: &'l Lake,
    from: i64,
    to: i64,
    /// Files that are gone or cannot be opened.
    broken: Vec<Arc<SegmentFile>>,
    pending: Vec<RecordBatch>,
    pending_bytes: usize,
    added: Vec<SegmentRow>,
    folders: BTreeSet<PathBuf>,
    rows: u64,
    // No flush and no merge changes what is live meanwhile.
    _flushing: MutexGuard<'l, ()>,
}

/// What a replacement did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reread {
    /// Events of the stretch before, as far as their files were there.
    pub rows_before: u64,
    /// Events of the stretch now.
    pub rows_after: u64,
    /// Files that were missing or could not be opened.
    pub files_broken: usize,
    /// Files taken out.
    pub files_removed: usize,
    /// Files written.
    pub files_added: usize,
}

impl Lake {
    /// Begins to replace the events read from records in `[from, to)`, as far as the record has been read. The stretch grows by what was in
    /// files that are missing or cannot be opened and that reach into it: [`Rereading::range`] says how far.
    ///
    /// Flushes and merges wait until it ends.
    ///
    /// # Errors
    /// The lake has stopped.
    pub fn reread(&self, from: RecordId, to: RecordId) -> Result<Rereading<'_>, Error> {
        let _flushing = self.flushing.lock();
        let (files, end) = {
            let state = self.state.read();
            (state.files.clone(), state.read_through)
        };
        let broken: Vec<_> = files.into_iter().filter(|file| !opens(self, file)).collect();
        let (mut from, mut to) = (packed(from), packed(to.min(end)));
        // Growing may reach into another broken file.
        loop {
            let before = (from, to);
            for (low, high) in broken.iter().filter_map(|file| range(file)) {
                if low < to && high >= from {
                    (from, to) = (from.min(low), to.max(high + 1).min(packed(end)));
                }
            }
            if (from, to) == before {
                break;
            }
        }
        let broken = broken.into_iter().filter(|file| reaches(file, from, to)).collect();
        let (pending, added, folders) = (Vec::new(), Vec::new(), BTreeSet::new());
        Ok(Rereading { lake: self, from, to, broken, pending, pending_bytes: 0, added, folders, rows: 0, _flushing })
    }
}

impl Rereading<'_> {
    /// The records whose events are replaced: first, and the one after the last.
    pub fn range(&self) -> (RecordId, RecordId) {
        (RecordId::unpack(self.from.cast_unsigned()), RecordId::unpack(self.to.cast_unsigned()))
    }

    /// Adds events; those whose first record is outside the range are left out. Memory is bounded: what is much goes to files.
    ///
    /// # Errors
    /// A file could not be written.
    pub fn append(&mut self, rows: Rows) -> Result<(), Error> {
        let (batches, _) = rows.finish().map_err(Error::columns("build event columns"))?;
        for batch in batches {
            let inside = self.split(&batch, true)?;
            self.rows += inside.num_rows() as u64;
            self.pending_bytes += inside.get_array_memory_size();
            if inside.num_rows() > 0 {
                self.pending.push(inside);
            }
        }
        if self.pending_bytes >= self.lake.options.flush_bytes { self.write_out() } else { Ok(()) }
    }

    /// Puts the new events in the place of the old ones, all at once.
    ///
    /// # Errors
    /// Nothing has changed, unless the catalog failed after it had: then the next opening of the lake shows the new events.
    pub fn finish(mut self) -> Result<Reread, Error> {
        self.write_out()?;
        let mut done = Reread { rows_after: self.rows, files_broken: self.broken.len(), ..Reread::default() };
        let mut files = self.lake.state.read().files.clone();
        files.retain(|file| reaches(file, self.from, self.to));
        let mut remove = std::mem::take(&mut self.broken);
        for file in files {
            if remove.iter().any(|broken| Arc::ptr_eq(broken, &file)) {
                continue;
            }
            let kept = self.keep_outside(&file)?;
            if kept < file.row.rows {
                done.rows_before += file.row.rows - kept;
                remove.push(file);
            }
        }
        for folder in &self.folders {
            sync_folder(folder)?;
        }
        self.lake.files.keep(&self.added)?;
        (done.files_removed, done.files_added) = (remove.len(), self.added.len());
        let paths: Vec<String> = remove.iter().map(|file| file.row.path.clone()).collect();
        let change = Change { add: &self.added, remove: &paths, ..Change::default() };
        let lake = self.lake;
        lake.step(FlushStep::BeforeCommit)?;
        let told = lake.catalog.commit(&change).map_err(Error::from).and_then(|()| lake.step(FlushStep::AfterCommit));
        // Whatever came of it, they are no longer this replacement's to remove.
        let added = std::mem::take(&mut self.added);
        match told {
            Ok(()) => lake.replace(&paths, added),
            Err(error) => lake.happened(&added, error)?,
        }
        Ok(done)
    }

    /// Writes the file's events outside the range to a file of their own; returns how many those are. A file that has none inside stays.
    fn keep_outside(&mut self, file: &Arc<SegmentFile>) -> Result<u64, Error> {
        if range(file).is_some_and(|(low, high)| low >= self.from && high < self.to) {
            return Ok(0);
        }
        let slot = Slot { day: file.row.day, class_uid: file.row.class_uid };
        let path = self.new_path(slot)?;
        let mut writer = SegmentWriter::create(&self.lake.folder, &path, slot, usize::try_from(file.row.rows).unwrap_or(0))?;
        let mut kept = 0;
        for batch in open(self.lake, file)? {
            let outside = self.split(&batch?, false)?;
            kept += outside.num_rows() as u64;
            if outside.num_rows() > 0 {
                writer.push(&outside)?;
            }
        }
        if kept > 0 && kept < file.row.rows {
            let row = SegmentRow { rewrites: file.row.rewrites, ..writer.finish()? };
            self.added.push(row);
        } else {
            drop(writer);
            self.lake.discard(&path);
        }
        Ok(kept)
    }

    fn write_out(&mut self) -> Result<(), Error> {
        let pending = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        for (slot, rows) in slots(&pending) {
            let path = self.new_path(slot)?;
            self.added.push(segment::write(&self.lake.folder, &path, slot, &pending, rows)?);
            self.lake.step(FlushStep::SegmentWritten)?;
        }
        Ok(())
    }

    fn new_path(&mut self, slot: Slot) -> Result<String, Error> {
        let relative = slot.folder();
        let folder = self.lake.folder.join(&relative);
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        self.folders.extend(folder.ancestors().take(3).map(std::path::Path::to_path_buf));
        self.lake.announce(slot)
    }

    /// The batch's events whose first record is inside the range, or those where it is not.
    fn split(&self, batch: &RecordBatch, inside: bool) -> Result<RecordBatch, Error> {
        let records = batch.column_by_name("record").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let wanted: BooleanArray = match records {
            Some(records) => records.values().iter().map(|id| Some((self.from..self.to).contains(id) == inside)).collect(),
            None => std::iter::repeat_n(Some(!inside), batch.num_rows()).collect(),
        };
        filter_record_batch(batch, &wanted).map_err(Error::columns("split events"))
    }
}

impl Drop for Rereading<'_> {
    fn drop(&mut self) {
        // What is still listed here did not become live.
        self.added.iter().for_each(|row| self.lake.discard(&row.path));
    }
}

fn range(file: &SegmentFile) -> Option<(i64, i64)> {
    match file.row.ranges.get("record")?.bounds.as_ref()? {
        (Bound::Integer(low), Bound::Integer(high)) => Some((*low, *high)),
        _ => None,
    }
}

/// Whether the file may hold events of the range.
fn reaches(file: &SegmentFile, from: i64, to: i64) -> bool {
    range(file).is_none_or(|(low, high)| low < to && high >= from)
}

/// Whether a file can be read; of one on object storage, whether it is there: what was fetched was checked.
fn opens(lake: &Lake, file: &SegmentFile) -> bool {
    if lake.files.objects().is_some() {
        // A store that does not answer says nothing about its files.
        return lake.files.is_kept(&file.row).unwrap_or(true);
    }
    let rows = lake.files.open(&file.row).ok().and_then(|file| ParquetRecordBatchReaderBuilder::try_new(file).ok());
    rows.is_some_and(|reader| reader.metadata().file_metadata().num_rows().cast_unsigned() == file.row.rows)
}

fn open(lake: &Lake, file: &SegmentFile) -> Result<impl Iterator<Item = Result<RecordBatch, Error>>, Error> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(lake.files.open(&file.row)?)
        .and_then(|builder| builder.with_batch_size(CHUNK_ROWS).build())
        .map_err(|source| Error::Segment { what: "read", path: file.row.path.clone(), source })?;
    Ok(reader.map(|batch| batch.and_then(segment::widened).map_err(Error::columns("read an event segment"))))
}
