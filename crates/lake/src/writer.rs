//! Writes one event segment, batch by batch.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::TimestampMicrosecondType,
};
use parking_lot::Mutex;
use parquet::arrow::ArrowWriter;
use sha2::{Digest as _, Sha256};

use crate::{
    Error,
    catalog::{Range, SegmentRow},
    minutes::Counter,
    schema::STORED,
    segment::{self, HOST, Slot},
};

/// A segment that grows in a temporary file until it is finished. Dropped before that, nothing of it stays.
pub(crate) struct SegmentWriter {
    path: String,
    slot: Slot,
    full: PathBuf,
    temporary: PathBuf,
    file: File,
    writer: Option<ArrowWriter<Hashed>>,
    hash: Arc<Mutex<Sha256>>,
    rows: u64,
    time: (i64, i64),
    /// Events read from one record alone.
    alone: u64,
    counter: Counter,
}

impl SegmentWriter {
    /// A segment at `path` below `folder`, of about so many rows.
    pub(crate) fn create(folder: &Path, path: &str, slot: Slot, rows: usize) -> Result<Self, Error> {
        let full = folder.join(path);
        // Where files are kept elsewhere, the folder may have been emptied, or never had this slot.
        if let Some(parent) = full.parent() {
            std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        let temporary = full.with_extension("tmp");
        let file = File::create(&temporary).map_err(Error::io("create", &temporary))?;
        let other = file.try_clone().map_err(Error::io("open", &temporary))?;
        let hash = Arc::<Mutex<Sha256>>::default();
        let hashed = Hashed { file: other, hash: hash.clone() };
        let writer = ArrowWriter::try_new(hashed, STORED.clone(), Some(segment::properties(rows)))
            .map_err(|source| Error::Segment { what: "start", path: path.to_owned(), source })?;
        let writer = Some(writer);
        let (path, time, counter) = (path.to_owned(), (i64::MAX, i64::MIN), Counter::default());
        Ok(Self { path, slot, full, temporary, file, writer, hash, rows: 0, time, alone: 0, counter })
    }

    /// Adds rows; they follow the earlier ones in the segment's order.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.write(batch).map_err(|source| Error::Segment { what: "write", path: self.path.clone(), source })?;
        self.rows += batch.num_rows() as u64;
        self.counter.add(batch);
        self.alone += batch.column_by_name("records").map_or(0, |column| column.null_count()) as u64;
        if let Some(times) = batch.column_by_name("time").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>())
        {
            self.time = times.values().iter().fold(self.time, |(low, high), at| (low.min(*at), high.max(*at)));
        }
        Ok(())
    }

    /// Puts the file in place; durable on return but for the folder entry.
    pub(crate) fn finish(mut self) -> Result<SegmentRow, Error> {
        let path = self.path.clone();
        let Some(writer) = self.writer.take() else {
            return Err(Error::Damaged { path, detail: "it was finished before".to_owned() });
        };
        let metadata = writer.close().map_err(|source| Error::Segment { what: "finish", path, source })?;
        self.file.sync_all().map_err(Error::io("make durable", &self.temporary))?;
        let counted = std::mem::take(&mut self.counter).save(&self.full);
        let counts = counted.map_err(Error::io("write counts beside", &self.full))?;
        std::fs::rename(&self.temporary, &self.full).map_err(Error::io("put in place", &self.full))?;
        let bytes = self.file.metadata().map_err(Error::io("measure", &self.full))?.len();
        let mut ranges = segment::ranges(&metadata);
        // A list has no bounds, but that none is there lets searches for text leave the column alone.
        ranges.insert("records".to_owned(), Range { bounds: None, nulls: self.alone });
        Ok(SegmentRow {
            path: self.path.clone(),
            day: self.slot.day,
            class_uid: self.slot.class_uid,
            rows: self.rows,
            bytes,
            sha256: Some(std::mem::take(&mut *self.hash.lock()).finalize().into()),
            counts,
            time: self.time,
            host: segment::text_bounds(&ranges, HOST),
            ranges,
            rewrites: 0,
        })
    }
}

/// A file that is hashed while it is written.
struct Hashed {
    file: File,
    hash: Arc<Mutex<Sha256>>,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.lock().update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        // After `finish` there is no file of this name; what stays is an orphan that the next opening removes.
        let _ = crate::forget::erase(&self.temporary);
    }
}
