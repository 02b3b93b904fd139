//! Events of records whose content was taken out leave the lake, and its files leave nothing behind.
use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use jiff::Timestamp;
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};
use reeve_record::RecordId;

use crate::{
    Bound, Change, Error, Lake, SegmentRow,
    rows::packed,
    segment::{self, SegmentFile, Slot},
};

/// What leaving cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Forgotten {
    /// Events that are gone.
    pub events: u64,
    /// Files that held them, each erased once the last query that knew it has ended.
    pub files: u64,
}

/// When an event happened, and what kind it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventFacts {
    /// First record it was read from.
    pub record: RecordId,
    /// Its time.
    pub time: Timestamp,
    /// Its OCSF class.
    pub class_uid: u32,
}

impl Lake {
    /// Takes out every event that was read, wholly or in part, from a record for which `gone` says so. Each file that held some is written anew without
    /// them in a transaction of its own, so a crash leaves some files done and others not: calling again finishes.
    ///
    /// Unflushed events are not looked at: flush first. `segments` are those in which records are gone: files without any are not read.
    ///
    /// # Errors
    /// A file cannot be read or written, or the catalog refused; what was done so far stays.
    pub fn forget(&self, segments: std::ops::RangeInclusive<u32>, gone: &dyn Fn(RecordId) -> bool) -> Result<Forgotten, Error> {
        let one_at_a_time = self.flushing();
        // Filters tell of bytes that are gone: they are made anew without them.
        for segment in segments.clone().take_while(|segment| self.raw().segment(*segment).is_some()) {
            self.forget_raw(segment)?;
        }
        let mut forgotten = Forgotten::default();
        for file in self.snapshot().files.iter().filter(|file| may_hold(file, &segments)) {
            let touched = |batch: &RecordBatch| any(batch, gone).contains(&true);
            if !self.read_columns(file, &["record", "records"])?.iter().any(touched) {
                continue;
            }
            let batches = segment::read(&self.files, &file.row)?;
            let (mut kept, mut total) = (Vec::new(), 0);
            for (number, batch) in batches.iter().enumerate() {
                total += batch.num_rows();
                let gone = any(batch, gone);
                kept.extend((0..batch.num_rows()).filter(|row| !gone[*row]).map(|row| (number, row)));
            }
            forgotten.events += (total - kept.len()) as u64;
            forgotten.files += 1;
            self.put_in_place(file, &batches, kept)?;
        }
        // Other engines lose sight of it at once, and their files do not wait for readers of earlier versions.
        self.publish_and_let_go()?;
        drop(one_at_a_time);
        self.sweep()?;
        Ok(forgotten)
    }

    /// The events that were read from records of a segment.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn facts(&self, segment: u32) -> Result<Vec<EventFacts>, Error> {
        let mut facts = Vec::new();
        for file in self.snapshot().files.iter().filter(|file| may_hold(file, &(segment..=segment))) {
            for batch in self.read_columns(file, &["record", "records", "time", "class_uid"])? {
                let (Some(times), Some(classes)) = (batch.column_by_name("time"), batch.column_by_name("class_uid")) else {
                    continue;
                };
                let (times, classes) = (times.as_primitive::<TimestampMicrosecondType>(), classes.as_primitive::<Int32Type>());
                each_record(&batch, |row, record| {
                    if record.segment == segment {
                        let time = Timestamp::from_microsecond(times.value(row)).unwrap_or_default();
                        facts.push(EventFacts { record, time, class_uid: classes.value(row).cast_unsigned() });
                    }
                });
            }
        }
        Ok(facts)
    }

    fn read_columns(&self, file: &Arc<SegmentFile>, names: &[&str]) -> Result<Vec<RecordBatch>, Error> {
        let failed = |what| move |source| Error::Segment { what, path: file.row.path.clone(), source };
        let builder = ParquetRecordBatchReaderBuilder::try_new(self.files.open(&file.row)?).map_err(failed("read"))?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
        let reader = builder.with_projection(mask).build().map_err(failed("read"))?;
        reader.map(|batch| batch.map_err(Error::columns("read an event segment"))).collect()
    }

    /// Puts a file with only these rows, if any, in the place of another.
    fn put_in_place(&self, file: &Arc<SegmentFile>, batches: &[RecordBatch], kept: Vec<(usize, usize)>) -> Result<(), Error> {
        let slot = Slot { day: file.row.day, class_uid: file.row.class_uid };
        let add = if kept.is_empty() {
            Vec::new()
        } else {
            vec![SegmentRow { rewrites: file.row.rewrites, ..self.write_file(slot, batches, kept)? }]
        };
        let remove = [file.row.path.clone()];
        let change = Change { add: &add, remove: &remove, ..Change::default() };
        match self.catalog.commit(&change) {
            Ok(()) => self.replace(&remove, add),
            // Without new files there is nothing to see it by: the next call looks again.
            Err(error) => self.happened(&add, error.into())?,
        }
        Ok(())
    }
}

/// Whether a file can hold events of records in these segments; a column without known bounds can hold anything.
fn may_hold(file: &SegmentFile, segments: &std::ops::RangeInclusive<u32>) -> bool {
    let last = packed(RecordId { segment: *segments.end(), index: u32::MAX });
    match file.row.ranges.get("record").and_then(|range| range.bounds.as_ref()) {
        // The bounds are of the first record of each event; the others lie behind it, in the same segment or a later one.
        Some((Bound::Integer(low), _)) => *low <= last,
        _ => true,
    }
}

/// For each row whether any of its records is gone.
fn any(batch: &RecordBatch, gone: &dyn Fn(RecordId) -> bool) -> Vec<bool> {
    let mut found = vec![false; batch.num_rows()];
    each_record(batch, |row, record| found[row] = found[row] || gone(record));
    found
}

/// Shows each record of each row.
fn each_record(batch: &RecordBatch, mut each: impl FnMut(usize, RecordId)) {
    let record = |packed: i64| RecordId::unpack(packed.cast_unsigned());
    if let Some(first) = batch.column_by_name("record") {
        for (row, packed) in first.as_primitive::<Int64Type>().values().iter().enumerate() {
            each(row, record(*packed));
        }
    }
    let Some(lists) = batch.column_by_name("records").and_then(|column| column.as_list_opt::<i32>()) else { return };
    for row in (0..batch.num_rows()).filter(|row| lists.is_valid(*row)) {
        let all: ArrayRef = lists.value(row);
        all.as_primitive::<Int64Type>().values().iter().for_each(|packed| each(row, record(*packed)));
    }
}

/// Overwrites a file with zeros where it lies, makes that durable, and removes it. What lies elsewhere on the medium it cannot reach:
/// `docs/spec/retention.md`, *The act*.
pub(crate) fn erase(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let mut left = file.metadata()?.len();
    let zeros = vec![0; left.min(1 << 20) as usize];
    while left > 0 {
        let part = left.min(zeros.len() as u64) as usize;
        file.write_all(&zeros[..part])?;
        left -= part as u64;
    }
    file.sync_all()?;
    std::fs::remove_file(path)
}
