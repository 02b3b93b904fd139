//! Event segments: immutable Parquet files of one day and one class, sorted by host and time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow::{
    array::{Array, AsArray, RecordBatch, new_null_array},
    compute::interleave,
    datatypes::{Field, Int32Type, TimestampMicrosecondType},
    error::ArrowError,
};
use hashbrown::{HashMap, HashSet};
use parquet::{
    arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        metadata::{KeyValue, ParquetMetaData, SortingColumn},
        properties::{EnabledStatistics, WriterProperties},
        statistics::Statistics,
    },
    schema::types::ColumnPath,
};

use crate::{
    Error,
    catalog::{Bound, MIXED, Range, SegmentRow},
    files::Files,
    schema::{FORMAT, STORED, promoted},
    writer::SegmentWriter,
};

/// Column that holds the host's name.
pub(crate) const HOST: &str = "device_hostname";
const DAY_US: i64 = 86_400_000_000;
/// Rows of a row group: the unit threads share a file by.
const ROW_GROUP_ROWS: usize = 262_144;
pub(crate) const CHUNK_ROWS: usize = 8192;

/// A live file. Removed from the folder once the catalog no longer lists it and the last query that knew it has ended.
pub(crate) struct SegmentFile {
    pub(crate) row: SegmentRow,
    files: Arc<Files>,
    dead: AtomicBool,
}

impl SegmentFile {
    pub(crate) fn new(files: &Arc<Files>, row: SegmentRow) -> Self {
        files.register(&row);
        Self { files: files.clone(), row, dead: AtomicBool::new(false) }
    }

    /// Says that the catalog no longer lists the file.
    pub(crate) fn retire(&self) {
        self.dead.store(true, Ordering::Release);
    }
}

impl Drop for SegmentFile {
    fn drop(&mut self) {
        self.files.let_go(&self.row, self.dead.load(Ordering::Acquire));
    }
}

impl fmt::Debug for SegmentFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentFile").field("row", &self.row).field("dead", &self.dead).finish_non_exhaustive()
    }
}

/// Where a row belongs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Slot {
    pub(crate) day: i32,
    pub(crate) class_uid: i32,
}

impl Slot {
    /// Folder below the lake's.
    pub(crate) fn folder(self) -> String {
        let day = day_name(self.day);
        if self.class_uid == MIXED { format!("events/{day}/mixed") } else { format!("events/{day}/{}", self.class_uid) }
    }
}

/// As in `2026-11-21`.
pub(crate) fn day_name(day: i32) -> String {
    let seconds = i64::from(day) * 86_400;
    jiff::Timestamp::from_second(seconds).map_or_else(|_| format!("day{day}"), |at| at.strftime("%Y-%m-%d").to_string())
}

pub(crate) fn day_of(time_us: i64) -> i32 {
    // A jiff time is within ±4 million days.
    i32::try_from(time_us.div_euclid(DAY_US)).unwrap_or(if time_us < 0 { i32::MIN } else { i32::MAX })
}

/// The rows of several batches by slot, each as (batch, row).
pub(crate) fn by_slot(batches: &[RecordBatch]) -> BTreeMap<Slot, Vec<(usize, usize)>> {
    let mut slots: BTreeMap<Slot, Vec<(usize, usize)>> = BTreeMap::new();
    for (index, batch) in batches.iter().enumerate() {
        let times = times(batch);
        let classes = batch.column_by_name("class_uid").map(|column| column.as_primitive::<Int32Type>());
        for (row, time) in times.iter().enumerate() {
            let class_uid = classes.map_or(0, |classes| classes.value(row));
            slots.entry(Slot { day: day_of(*time), class_uid }).or_default().push((index, row));
        }
    }
    slots
}

fn times(batch: &RecordBatch) -> &[i64] {
    batch.column_by_name("time").map_or(&[], |column| column.as_primitive::<TimestampMicrosecondType>().values())
}

/// Writes `rows` of `batches` as one file at `path`, sorted by host, time; durable on return but for the folder entry.
pub(crate) fn write(
    folder: &Path,
    path: &str,
    slot: Slot,
    batches: &[RecordBatch],
    mut rows: Vec<(usize, usize)>,
) -> Result<SegmentRow, Error> {
    sort(batches, &mut rows);
    let mut writer = SegmentWriter::create(folder, path, slot, rows.len())?;
    let columns = Columns::of(batches, &rows);
    for chunk in rows.chunks(CHUNK_ROWS) {
        writer.push(&columns.gather(chunk).map_err(Error::columns("sort events"))?)?;
    }
    writer.finish()
}

/// The columns of batches whose rows are brought into another order.
pub(crate) struct Columns<'b>(Vec<Option<Vec<&'b dyn Array>>>);

impl<'b> Columns<'b> {
    /// A column without any value in these rows, as most are for one class, is left out and costs nothing a row.
    pub(crate) fn of(batches: &'b [RecordBatch], rows: &[(usize, usize)]) -> Self {
        let column = |(at, field): (usize, &Arc<Field>)| {
            let parts: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(at).as_ref()).collect();
            let used = !field.is_nullable() || rows.iter().any(|&(batch, row)| parts[batch].is_valid(row));
            used.then_some(parts)
        };
        Self(STORED.fields().iter().enumerate().map(column).collect())
    }

    /// The rows at these places (batch, row).
    pub(crate) fn gather(&self, places: &[(usize, usize)]) -> Result<RecordBatch, ArrowError> {
        let columns = self.0.iter().zip(STORED.fields()).map(|(parts, field)| match parts {
            Some(parts) => interleave(parts, places),
            None => Ok(new_null_array(field.data_type(), places.len())),
        });
        RecordBatch::try_new(STORED.clone(), columns.collect::<Result<_, _>>()?)
    }
}

/// Reads a whole segment back, for merging it with newer rows.
pub(crate) fn read(files: &Files, row: &SegmentRow) -> Result<Vec<RecordBatch>, Error> {
    let failed = |what| move |source| Error::Segment { what, path: row.path.clone(), source };
    let reader = ParquetRecordBatchReaderBuilder::try_new(files.open(row)?)
        .and_then(|builder| builder.with_batch_size(CHUNK_ROWS).build())
        .map_err(failed("read"))?;
    reader.map(|batch| batch.and_then(widened).map_err(Error::columns("read an event segment"))).collect()
}

/// The batch in today's schema: a column that is newer than the file is null throughout.
pub(crate) fn widened(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = STORED.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
        Some(column) => arrow::compute::cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    RecordBatch::try_new(STORED.clone(), columns.collect::<Result<_, _>>()?)
}

/// By host, time, record; parts of one record keep their order. Hosts are few: they are compared once, by rank, not once a row.
fn sort(batches: &[RecordBatch], rows: &mut [(usize, usize)]) {
    let hosts: Vec<_> =
        batches.iter().map(|batch| batch.column_by_name(HOST).and_then(|column| column.as_string_opt::<i32>())).collect();
    let host = |&(batch, row): &(usize, usize)| hosts[batch].and_then(|column| column.is_valid(row).then(|| column.value(row)));
    let distinct: BTreeSet<Option<&str>> = rows.iter().map(host).collect::<HashSet<_>>().into_iter().collect();
    let ranks: HashMap<Option<&str>, u32> = distinct.into_iter().zip(0..).collect();
    let times: Vec<&[i64]> = batches.iter().map(times).collect();
    let records: Vec<_> = batches
        .iter()
        .map(|batch| batch.column_by_name("record").map(|c| c.as_primitive::<arrow::datatypes::Int64Type>()))
        .collect();
    rows.sort_by_cached_key(|place| {
        let &(batch, row) = place;
        let rank = ranks.get(&host(place)).copied().unwrap_or_default();
        (rank, times[batch][row], records[batch].map_or(0, |column| column.value(row)))
    });
}

pub(crate) fn properties(rows: usize) -> WriterProperties {
    let level = ZstdLevel::try_new(1).unwrap_or_default();
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_created_by(format!("reeve {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(vec![KeyValue::new("reeve.events".to_owned(), FORMAT.to_owned())]))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(8192)
        .set_write_batch_size(1024)
        .set_data_page_size_limit(4 << 20)
        .set_dictionary_page_size_limit(2 << 20)
        .set_statistics_truncate_length(Some(64))
        .set_column_index_truncate_length(Some(64))
        .set_sorting_columns(Some(sorting()));
    // Never asked by range, and long: statistics and dictionaries would only cost.
    for name in ["ocsf_rest", "unmapped"] {
        let path = ColumnPath::from(name);
        properties = properties
            .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
            .set_column_dictionary_enabled(path, false);
    }
    for part in ["key", "value"] {
        let path = ColumnPath::from(["native", "key_value", part].map(String::from).to_vec());
        properties = properties
            .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
            .set_column_dictionary_enabled(path, part == "key");
    }
    // Mostly values of their own (addresses, ids, names): a dictionary costs more than it saves.
    let path = ColumnPath::from(["observables", "list", "element", "value"].map(String::from).to_vec());
    properties = properties.set_column_dictionary_enabled(path, false);
    // Nearly every row its own value: neighbours differ by little, which this encoding keeps and a dictionary does not.
    for name in ["time", "received_at", "record"] {
        let path = ColumnPath::from(name);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    for column in promoted().filter(|column| has_bloom(column.path)) {
        let path = ColumnPath::from(column.name);
        properties = properties
            .set_column_bloom_filter_enabled(path.clone(), true)
            .set_column_bloom_filter_fpp(path.clone(), 0.01)
            .set_column_bloom_filter_max_ndv(path, rows.clamp(64, 100_000) as u64);
    }
    properties.build()
}

fn sorting() -> Vec<SortingColumn> {
    let places = [HOST, "time"].iter().filter_map(|name| STORED.index_of(name).ok());
    places
        .filter_map(|place| i32::try_from(leaf_of(place)).ok())
        .map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: true })
        .collect()
}

/// Parquet counts leaves; nested columns before a column shift it.
fn leaf_of(place: usize) -> usize {
    STORED
        .fields()
        .iter()
        .take(place)
        .map(|field| if let arrow::datatypes::DataType::Map(..) = field.data_type() { 2 } else { 1 })
        .sum()
}

/// Addresses, names of users and machines, hashes: what is searched by exact value.
fn has_bloom(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or(path);
    matches!(last, "ip" | "hostname" | "hash" | "md5" | "sha1" | "sha256" | "domain")
        || path.ends_with("user.name")
        || path.contains("hash")
}

pub(crate) fn ranges(metadata: &ParquetMetaData) -> BTreeMap<String, Range> {
    let mut ranges: BTreeMap<String, Range> = BTreeMap::new();
    let mut unknown = Vec::new();
    for group in metadata.row_groups() {
        for column in group.columns() {
            let parts = column.column_path().parts();
            let ([name], Some(found)) =
                (parts, column.statistics().and_then(|statistics| range(statistics, column.num_values())))
            else {
                unknown.push(parts.first().cloned().unwrap_or_default());
                continue;
            };
            match ranges.entry(name.clone()) {
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(found);
                }
                std::collections::btree_map::Entry::Occupied(mut entry) => widen(entry.get_mut(), found),
            }
        }
    }
    ranges.retain(|name, _| !unknown.contains(name));
    ranges
}

fn range(statistics: &Statistics, values: i64) -> Option<Range> {
    let nulls = statistics.null_count_opt()?;
    if i64::try_from(nulls).ok()? == values {
        return Some(Range { bounds: None, nulls });
    }
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(|text| Bound::Text(text.to_owned()));
    let (low, high) = match statistics {
        Statistics::Int32(s) => (Bound::Integer((*s.min_opt()?).into()), Bound::Integer((*s.max_opt()?).into())),
        Statistics::Int64(s) => (Bound::Integer(*s.min_opt()?), Bound::Integer(*s.max_opt()?)),
        Statistics::ByteArray(s) => (text(s.min_bytes_opt()?)?, text(s.max_bytes_opt()?)?),
        _ => return None,
    };
    Some(Range { bounds: Some((low, high)), nulls })
}

fn widen(range: &mut Range, other: Range) {
    range.nulls += other.nulls;
    range.bounds = match (range.bounds.take(), other.bounds) {
        (Some((low, high)), Some((other_low, other_high))) => {
            Some((if other_low < low { other_low } else { low }, if other_high > high { other_high } else { high }))
        }
        (bounds, None) | (None, bounds) => bounds,
    };
}

pub(crate) fn text_bounds(ranges: &BTreeMap<String, Range>, name: &str) -> Option<(String, String)> {
    match ranges.get(name)?.bounds.as_ref()? {
        (Bound::Text(low), Bound::Text(high)) => Some((low.clone(), high.clone())),
        _ => None,
    }
}
