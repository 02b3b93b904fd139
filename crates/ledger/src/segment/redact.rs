//! A segment written once more, without the content of some records. Format: `docs/spec/retention.md`, *Files of a redacted segment*.
//!
//! Row groups in which nothing is redacted are copied as they lie, so the cost is that of reading and writing, not of compressing.
use std::{ops::Range, path::Path};

use parquet::{
    arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves},
    column::writer::ColumnCloseResult,
    errors::ParquetError,
    file::writer::SerializedFileWriter,
};
use reeve_record::{Hash, commit};

use super::{
    ArrowWriter, Error, Identity, KeptSalts, Leaves, Row, Salting, SegmentReader, Sink, batch, map, map_path, options,
    salts_path, schema, segment_path, sink_error,
};
use crate::{
    Disk, RedactedFiles, Statement,
    disk::hash_file,
    disposal::{Disposed, holds},
    statement::FileHash,
};

/// Where the salts of a segment come from, with what was redacted so far.
pub(crate) fn salting(disk: &dyn Disk, dir: &Path, identity: &Identity, redactions: u32, records: u32) -> Result<Salting, Error> {
    let segment = identity.segment;
    match (&identity.secret, redactions) {
        (Some(secret), 0) => Ok(Salting::Derived(secret.salts(segment))),
        (None, 1..) => Ok(Salting::Kept(KeptSalts::read(disk, dir, segment, redactions, records)?)),
        _ => {
            Err(Error::Segment { segment, reason: "its metadata has a salt secret if and only if records were redacted".into() })
        }
    }
}

/// Recomputes every leaf of a sealed segment from its stored rows, and shows each row with its leaf.
///
/// # Errors
/// [`Error::Segment`] if they do not give the root that was signed.
pub(crate) fn recompute(
    disk: &dyn Disk,
    dir: &Path,
    statement: &Statement,
    before: &Disposed,
    mut each: impl FnMut(u32, Row, Option<reeve_record::Leaf>, &Salting),
) -> Result<Vec<Hash>, Error> {
    let segment = statement.segment;
    let reader = SegmentReader::open(disk, dir, segment, before.redactions)?;
    let mut leaves = Leaves::new(segment, salting(disk, dir, &reader.identity, before.redactions, statement.records)?);
    let mut first = 0;
    while first < statement.records {
        let end = statement.records.min(first.saturating_add(READ_ROWS));
        for (row, index) in reader.read(&[first..end])?.into_iter().zip(first..) {
            let leaf = leaves.take(&row, before.is_redacted(index));
            each(index, row, leaf, &leaves.salts);
        }
        first = end;
    }
    if leaves.root() == statement.root {
        return Ok(leaves.hashes);
    }
    Err(Error::Segment { segment, reason: "its records no longer give the root that was signed".into() })
}

/// Writes the three files that a segment has after its `number`-th redaction entry; they and their names are durable on return.
///
/// `redacted` are ascending ranges of records that are there now.
///
/// # Errors
/// [`Error::Segment`] if the present files are not those that the log names; [`Error::Io`], [`Error::DiskFull`]. What was written may be left.
pub(crate) fn rewrite(
    disk: &dyn Disk,
    dir: &Path,
    statement: &Statement,
    before: &Disposed,
    redacted: &[(u32, u32)],
    number: u32,
) -> Result<RedactedFiles, Error> {
    let segment = statement.segment;
    check_present(disk, dir, statement, before)?;
    let reader = SegmentReader::open(disk, dir, segment, before.redactions)?;
    let salts = salting(disk, dir, &reader.identity, before.redactions, statement.records)?;
    let path = segment_path(dir, segment, number);
    let io = |error| Error::io("write", &path, error);
    let file = disk.create(&path, true).map_err(io)?;
    let mut rewriter = Rewriter { reader: &reader, salts: &salts, redacted, gone: Vec::new() };
    let identity = Identity { secret: None, ..reader.identity.clone() };
    let mut writer = rewriter.write(Sink::new(file.clone()), &identity).map_err(|error| match error {
        Failed::Parquet(error) => sink_error(&path, segment, error),
        Failed::Ledger(error) => error,
    })?;
    let written = writer.inner_mut().finish().map_err(io)?;
    file.sync().map_err(io)?;
    // Read back before anything is promised about it.
    let (map, read) = map(&file, segment, statement.records)?;
    if read != written {
        return Err(Error::Segment { segment, reason: "the disk gave back other bytes than were written".into() });
    }
    rewriter.check(&SegmentReader::from_file(file, segment)?)?;
    let salts = rewriter.salts_file(statement, before);
    let map = write_new(disk, &map_path(dir, segment, number), map.as_bytes())?;
    let salts = write_new(disk, &salts_path(dir, segment, number), &salts)?;
    disk.sync_dir(dir).map_err(io)?;
    Ok(RedactedFiles { file: written, map, salts })
}

/// What is damaged must not be vouched for anew.
fn check_present(disk: &dyn Disk, dir: &Path, statement: &Statement, before: &Disposed) -> Result<(), Error> {
    let segment = statement.segment;
    let path = segment_path(dir, segment, before.redactions);
    let io = |error| Error::io("read", &path, error);
    let file = disk.open(&path).map_err(io)?;
    let length = file.length().map_err(io)?;
    let expected = before.files.map_or(statement.file, |files| files.file);
    if (FileHash { length, sha256: hash_file(&*file, length).map_err(io)? }) == expected {
        return Ok(());
    }
    Err(Error::Segment { segment, reason: "its file is not the one that was sealed: restore it from a copy first".into() })
}

fn write_new(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<FileHash, Error> {
    let write = || {
        let file = disk.create(path, true)?;
        file.append(bytes)?;
        file.sync()
    };
    write().map_err(|error| Error::io("write", path, error))?;
    Ok(FileHash::of(bytes))
}

enum Failed {
    Parquet(ParquetError),
    Ledger(Error),
}

impl From<ParquetError> for Failed {
    fn from(error: ParquetError) -> Self {
        Self::Parquet(error)
    }
}

struct Rewriter<'a> {
    reader: &'a SegmentReader,
    salts: &'a Salting,
    redacted: &'a [(u32, u32)],
    /// Index, raw length and commitment of each redacted record, ascending.
    gone: Vec<(u32, u64, Hash)>,
}

impl Rewriter<'_> {
    fn write(&mut self, sink: Sink, identity: &Identity) -> Result<SerializedFileWriter<Sink>, Failed> {
        let (mut writer, factory) =
            ArrowWriter::try_new_with_options(sink, schema(), options(identity))?.into_serialized_writer()?;
        for (number, rows) in self.groups().into_iter().enumerate() {
            if self.touches(&rows) {
                let first = rows.start;
                let mut group = self.reader.read(&[rows]).map_err(Failed::Ledger)?;
                self.blank(first, &mut group, true);
                write_group(&mut writer, &factory, number, first, &group)?;
            } else {
                self.copy_group(&mut writer, number)?;
            }
        }
        writer.finish()?;
        Ok(writer)
    }

    /// Rows of each row group.
    fn groups(&self) -> Vec<Range<u32>> {
        let mut first = 0u32;
        let groups = self.reader.metadata.metadata().row_groups().iter().map(|group| {
            let start = first;
            first = start.saturating_add(u32::try_from(group.num_rows()).unwrap_or(0));
            start..first
        });
        groups.collect()
    }

    fn touches(&self, rows: &Range<u32>) -> bool {
        self.redacted
            .iter()
            .any(|(first, count)| *first < rows.end && u64::from(*first) + u64::from(*count) > u64::from(rows.start))
    }

    /// Takes the content out of rows; the first time also notes what binds it.
    fn blank(&mut self, first: u32, rows: &mut [Row], note: bool) {
        for (row, index) in rows.iter_mut().zip(first..).filter(|(_, index)| holds(self.redacted, *index)) {
            if let Some(raw) = row.raw.take().filter(|_| note) {
                self.gone.push((index, raw.len() as u64, commit(&self.salts.salt(index), &raw)));
            }
        }
    }

    fn copy_group(&self, writer: &mut SerializedFileWriter<Sink>, number: usize) -> Result<(), ParquetError> {
        let metadata = self.reader.metadata.metadata();
        let source = metadata.row_group(number);
        let mut group = writer.next_row_group()?;
        for (n, column) in source.columns().iter().enumerate() {
            let close = ColumnCloseResult {
                bytes_written: column.compressed_size() as u64,
                rows_written: source.num_rows() as u64,
                metadata: column.clone(),
                bloom_filter: None,
                column_index: None,
                offset_index: metadata.offset_index().and_then(|index| index.get(number)?.get(n).cloned()),
            };
            group.append_column(&self.reader.input, close)?;
        }
        group.close().map(|_| ())
    }

    /// The rows written anew must read as before, but for what was taken out.
    fn check(&mut self, written: &SegmentReader) -> Result<(), Error> {
        let segment = self.reader.identity.segment;
        let touched: Vec<Range<u32>> = self.groups().into_iter().filter(|rows| self.touches(rows)).collect();
        for rows in touched {
            let mut expected = self.reader.read(std::slice::from_ref(&rows))?;
            self.blank(rows.start, &mut expected, false);
            if written.read(&[rows])? != expected {
                return Err(Error::Segment { segment, reason: "its rows do not come back as they were written".into() });
            }
        }
        Ok(())
    }

    fn salts_file(&self, statement: &Statement, before: &Disposed) -> Vec<u8> {
        let mut out = Vec::with_capacity(super::SALT_ROW * statement.records as usize);
        let mut gone = self.gone.iter().peekable();
        for index in 0..statement.records {
            let (length, hash) = match gone.next_if(|(at, ..)| *at == index) {
                Some((_, length, commitment)) => (*length, *commitment),
                None if before.is_redacted(index) => self.salts.redacted(index).unwrap_or_default(),
                None if statement.is_lost(index) => (0, [0; 32]),
                None => (0, self.salts.salt(index)),
            };
            KeptSalts::push(&mut out, length, &hash);
        }
        out
    }
}

fn write_group(
    writer: &mut SerializedFileWriter<Sink>,
    factory: &ArrowRowGroupWriterFactory,
    number: usize,
    first: u32,
    rows: &[Row],
) -> Result<(), ParquetError> {
    let schema = schema();
    let mut columns = factory.create_column_writers(number)?;
    for (chunk, at) in rows.chunks(WRITE_ROWS).zip((first..).step_by(WRITE_ROWS)) {
        let batch = batch(at, chunk)?;
        for ((array, field), column) in batch.columns().iter().zip(schema.fields()).zip(&mut columns) {
            for leaf in compute_leaves(field, array)? {
                column.write(&leaf)?;
            }
        }
    }
    let mut group = writer.next_row_group()?;
    for column in columns {
        column.close()?.append_to_row_group(&mut group)?;
    }
    group.close().map(|_| ())
}

const READ_ROWS: u32 = 4096;
const WRITE_ROWS: usize = 2048;
