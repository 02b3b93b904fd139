//! Many sorted segments into one, k-way: rows are copied in order, never sorted again.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Int64Type, TimestampMicrosecondType},
};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::{
    Error,
    catalog::SegmentRow,
    files::Files,
    schema::STORED,
    segment::{self, CHUNK_ROWS, Columns, HOST, SegmentFile},
    writer::SegmentWriter,
};

/// Rows of one input in memory at once.
const READ_ROWS: usize = 2048;

/// Writes the rows of `inputs`, each sorted by host, time, record, into `writer` in that order. Of equal
/// rows those of earlier inputs come first. False if `go_on`, asked first and after each stretch of rows, said to stop.
pub(crate) fn merge(
    files: &Files,
    inputs: &[Arc<SegmentFile>],
    writer: &mut SegmentWriter,
    go_on: &dyn Fn() -> bool,
) -> Result<bool, Error> {
    let mut cursors = Vec::with_capacity(inputs.len());
    for input in inputs {
        cursors.extend(Cursor::open(files, &input.row)?);
    }
    let mut chunk = Chunk::default();
    if !go_on() {
        return Ok(false);
    }
    while let Some((first, second)) = lowest_two(&cursors) {
        let run = run_length(&cursors, first, second);
        // A stretch that is a whole batch goes over as it is.
        if chunk.places.is_empty() && cursors[first].at == 0 && run == cursors[first].batch.num_rows() {
            writer.push(&cursors[first].batch)?;
        } else {
            chunk.take(&cursors[first], run);
        }
        cursors[first].at += run;
        if cursors[first].at == cursors[first].batch.num_rows() && !cursors[first].advance()? {
            cursors.remove(first);
        }
        if chunk.places.len() >= CHUNK_ROWS {
            chunk.write(writer)?;
            if !go_on() {
                return Ok(false);
            }
        }
    }
    chunk.write(writer)?;
    Ok(true)
}

/// A place in one input.
struct Cursor {
    path: String,
    reader: ParquetRecordBatchReader,
    batch: RecordBatch,
    at: usize,
}

/// What rows are sorted by.
type Key<'r> = (Option<&'r str>, i64, i64);

impl Cursor {
    /// `None` if the file has no rows.
    fn open(files: &Files, row: &SegmentRow) -> Result<Option<Self>, Error> {
        let path = row.path.clone();
        let reader = ParquetRecordBatchReaderBuilder::try_new(files.open(row)?)
            .and_then(|builder| builder.with_batch_size(READ_ROWS).build())
            .map_err(|source| Error::Segment { what: "read", path: path.clone(), source })?;
        let mut cursor = Self { path, reader, batch: RecordBatch::new_empty(STORED.clone()), at: 0 };
        Ok(cursor.advance()?.then_some(cursor))
    }

    /// Goes to the next batch; false at the end.
    fn advance(&mut self) -> Result<bool, Error> {
        let failed = |source| Error::Columns { what: "read an event segment", source };
        for batch in self.reader.by_ref() {
            let batch = batch.and_then(segment::widened).map_err(failed)?;
            if batch.num_rows() > 0 {
                (self.batch, self.at) = (batch, 0);
                return Ok(true);
            }
        }
        tracing::trace!(path = %self.path, "merged to its end");
        Ok(false)
    }

    fn key(&self, row: usize) -> Key<'_> {
        let column = |at: usize| self.batch.column(at);
        let host = column(PLACES.0).as_string_opt::<i32>().and_then(|hosts| hosts.is_valid(row).then(|| hosts.value(row)));
        let time = column(PLACES.1).as_primitive_opt::<TimestampMicrosecondType>().map_or(0, |times| times.value(row));
        let record = column(PLACES.2).as_primitive_opt::<Int64Type>().map_or(0, |records| records.value(row));
        (host, time, record)
    }
}

/// Where host, time and record stand in the schema.
static PLACES: LazyLock<(usize, usize, usize)> = LazyLock::new(|| {
    let at = |name: &str| STORED.index_of(name).unwrap_or_default();
    (at(HOST), at("time"), at("record"))
});

/// The input whose next row is the lowest, and the one after it.
fn lowest_two(cursors: &[Cursor]) -> Option<(usize, Option<usize>)> {
    let mut lowest: Option<(usize, Key<'_>)> = None;
    let mut second: Option<(usize, Key<'_>)> = None;
    for (index, cursor) in cursors.iter().enumerate() {
        let key = cursor.key(cursor.at);
        if lowest.as_ref().is_none_or(|(_, low)| key < *low) {
            second = lowest.replace((index, key));
        } else if second.as_ref().is_none_or(|(_, low)| key < *low) {
            second = Some((index, key));
        }
    }
    Some((lowest?.0, second.map(|(index, _)| index)))
}

/// Rows of input `first`, from its place on and within its batch, that come before the next row of input `second`.
fn run_length(cursors: &[Cursor], first: usize, second: Option<usize>) -> usize {
    let cursor = &cursors[first];
    let left = cursor.batch.num_rows() - cursor.at;
    let Some(second) = second else { return left };
    let limit = cursors[second].key(cursors[second].at);
    let comes_first = |row: usize| {
        let key = cursor.key(cursor.at + row);
        key < limit || (key == limit && first < second)
    };
    // Doubling steps, then halving: most stretches are either one row or very many.
    let mut step = 1;
    while step < left && comes_first(step) {
        step *= 2;
    }
    let (mut low, mut high) = (step / 2 + 1, step.min(left));
    while low < high {
        let middle = low + (high - low) / 2;
        if comes_first(middle) { low = middle + 1 } else { high = middle }
    }
    low.min(left)
}

/// Rows on their way, as places in batches.
#[derive(Default)]
struct Chunk {
    batches: Vec<RecordBatch>,
    places: Vec<(usize, usize)>,
}

impl Chunk {
    fn take(&mut self, cursor: &Cursor, run: usize) {
        let same = |held: &RecordBatch| std::sync::Arc::ptr_eq(held.column(PLACES.2), cursor.batch.column(PLACES.2));
        let index = self.batches.iter().rposition(same).unwrap_or_else(|| {
            self.batches.push(cursor.batch.clone());
            self.batches.len() - 1
        });
        self.places.extend((cursor.at..cursor.at + run).map(|row| (index, row)));
    }

    fn write(&mut self, writer: &mut SegmentWriter) -> Result<(), Error> {
        if !self.places.is_empty() {
            let columns = Columns::of(&self.batches, &self.places);
            writer.push(&columns.gather(&self.places).map_err(Error::columns("merge events"))?)?;
        }
        self.places.clear();
        self.batches.clear();
        Ok(())
    }
}
