//! Counts per minute, class, severity, status and host beside each event segment: what charts and tables of counts are answered from.
//!
//! Format: docs/spec/lake.md, *Counts by the minute*. Derived from the segment: where it is missing or damaged the segment itself is read.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Arc, LazyLock},
};

use arrow::{
    array::{Array, AsArray, Int32Builder, Int64Builder, RecordBatch, StringViewBuilder, TimestampMicrosecondBuilder},
    compute::filter_record_batch,
    datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimestampMicrosecondType},
};
use bytes::Bytes;
use hashbrown::HashMap;
use lru::LruCache;
use parking_lot::Mutex;
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

use sha2::{Digest as _, Sha256};

use crate::{
    catalog::{SegmentRow, Stored},
    files::Files,
    schema,
    segment::HOST,
};

/// A minute in microseconds.
pub(crate) const MINUTE_US: i64 = 60_000_000;
/// Column that says how many events a row of counts stands for.
pub(crate) const EVENTS: &str = "events";
/// What counts are kept by, beside the minute.
pub(crate) const COUNTED: [&str; 4] = ["class_uid", "severity_id", "status_id", HOST];
/// Segments of fewer events are read faster than their counts.
const ROWS_MIN: u64 = 1024;
/// Rows of counts of one segment at most.
const KEYS_MAX: usize = 1 << 20;
/// Bytes of counts kept in memory.
const CACHE_BYTES: usize = 64 << 20;
const MAGIC: &[u8; 8] = b"RVMINS01";

/// The columns of counts.
pub(crate) static COUNTS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("time", schema::timestamp(), false),
        Field::new("class_uid", DataType::Int32, false),
        Field::new("severity_id", DataType::Int32, false),
        Field::new("status_id", DataType::Int32, true),
        Field::new(HOST, DataType::Utf8View, true),
        Field::new(EVENTS, DataType::Int64, false),
    ]))
});

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    minute: i64,
    class_uid: i32,
    severity_id: i32,
    status_id: Option<i32>,
    host: Option<u32>,
}

/// Counts the events of a segment while it is written.
#[derive(Default)]
pub(crate) struct Counter {
    hosts: HashMap<String, u32>,
    names: Vec<String>,
    counts: HashMap<Key, u64>,
    /// Neighbours are mostly of one minute and host: the last key is kept out of the map.
    last: Option<(Key, u64)>,
    rows: u64,
    full: bool,
}

impl Counter {
    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        if self.full {
            return;
        }
        let number = |name: &str| batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int32Type>());
        let times = batch.column_by_name("time").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let hosts = batch.column_by_name(HOST).and_then(|column| column.as_string_opt::<i32>());
        let (Some(times), Some(classes), Some(severities)) = (times, number("class_uid"), number("severity_id")) else {
            self.full = true;
            return;
        };
        let status = number("status_id");
        let (mut host_text, mut host) = (None, None);
        for row in 0..batch.num_rows() {
            let text = hosts.filter(|hosts| hosts.is_valid(row)).map(|hosts| hosts.value(row));
            if row == 0 || text != host_text {
                (host_text, host) = (text, text.map(|text| self.host(text)));
            }
            self.count(Key {
                minute: times.value(row).div_euclid(MINUTE_US),
                class_uid: classes.value(row),
                severity_id: severities.value(row),
                status_id: status.filter(|status| status.is_valid(row)).map(|status| status.value(row)),
                host,
            });
        }
        self.full = self.counts.len() > KEYS_MAX;
    }

    fn host(&mut self, name: &str) -> u32 {
        if let Some(host) = self.hosts.get(name) {
            return *host;
        }
        let host = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.to_owned());
        self.hosts.insert(name.to_owned(), host);
        host
    }

    fn count(&mut self, key: Key) {
        match &mut self.last {
            Some((last, count)) if *last == key => *count += 1,
            last => {
                if let Some((key, count)) = last.replace((key, 1)) {
                    *self.counts.entry(key).or_default() += count;
                }
            }
        }
    }

    /// Writes the counts beside the segment, unless it is too small or they hardly sum anything up. Returns what was written.
    pub(crate) fn save(mut self, segment: &Path) -> std::io::Result<Option<Stored>> {
        if let Some((key, count)) = self.last.take() {
            *self.counts.entry(key).or_default() += count;
        }
        if self.full || self.rows < ROWS_MIN || self.counts.len() as u64 * 2 > self.rows {
            return Ok(None);
        }
        let rows = self.rows;
        let batch = self.into_batch().map_err(std::io::Error::other)?;
        let mut body = MAGIC.to_vec();
        body.extend(rows.to_le_bytes());
        body.extend(parquet_of(&batch).map_err(std::io::Error::other)?);
        body.extend(crc32fast::hash(&body).to_le_bytes());
        let path = segment.with_extension("minutes");
        let mut file = File::create(&path)?;
        file.write_all(&body)?;
        file.sync_all()?;
        Ok(Some(Stored { bytes: body.len() as u64, sha256: Sha256::digest(&body).into() }))
    }

    fn into_batch(self) -> Result<RecordBatch, arrow::error::ArrowError> {
        let mut keys: Vec<(Key, u64)> = self.counts.into_iter().collect();
        keys.sort_by_key(|(key, _)| (key.host, key.minute, key.class_uid, key.severity_id, key.status_id));
        let mut time = TimestampMicrosecondBuilder::new().with_timezone("UTC");
        let [mut class_uid, mut severity_id, mut status_id] = [(); 3].map(|()| Int32Builder::new());
        let (mut host, mut events) = (StringViewBuilder::new().with_deduplicate_strings(), Int64Builder::new());
        for (key, count) in keys {
            time.append_value(key.minute.saturating_mul(MINUTE_US));
            class_uid.append_value(key.class_uid);
            severity_id.append_value(key.severity_id);
            status_id.append_option(key.status_id);
            host.append_option(key.host.and_then(|host| self.names.get(host as usize)));
            events.append_value(count.cast_signed());
        }
        RecordBatch::try_new(
            COUNTS.clone(),
            vec![
                Arc::new(time.finish()),
                Arc::new(class_uid.finish()),
                Arc::new(severity_id.finish()),
                Arc::new(status_id.finish()),
                Arc::new(host.finish()),
                Arc::new(events.finish()),
            ],
        )
    }
}

fn parquet_of(batch: &RecordBatch) -> Result<Vec<u8>, parquet::errors::ParquetError> {
    let level = ZstdLevel::try_new(1).unwrap_or_default();
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(batch)?;
    writer.into_inner()
}

/// The counts of a segment; `None` if there are none that can be used.
fn load(files: &Files, row: &SegmentRow) -> Option<RecordBatch> {
    let bytes = Bytes::from(files.counts(row)?);
    let found = read(&bytes, row.rows);
    if found.is_none() {
        tracing::warn!(path = row.path, "counts beside this event file are damaged; the file itself is read");
    }
    found
}

fn read(bytes: &Bytes, rows: u64) -> Option<RecordBatch> {
    let (body, checksum) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*checksum) || !body.starts_with(MAGIC) {
        return None;
    }
    let told = u64::from_le_bytes(body.get(8..16)?.try_into().ok()?);
    if told != rows {
        return None;
    }
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.slice(16..body.len())).ok()?;
    let reader = reader.with_batch_size(KEYS_MAX * 2).build().ok()?;
    let batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>().ok()?;
    let batch = arrow::compute::concat_batches(&COUNTS, &batches).ok()?;
    let sum: i64 = batch.column(5).as_primitive_opt::<arrow::datatypes::Int64Type>()?.values().iter().sum();
    (sum.cast_unsigned() == rows).then_some(batch)
}

/// Counts in memory, the last used ones.
pub(crate) struct Counts(Mutex<(LruCache<String, Option<RecordBatch>>, usize)>);

impl Counts {
    pub(crate) fn new() -> Self {
        Self(Mutex::new((LruCache::unbounded(), 0)))
    }

    /// The counts of a segment; `None` if it has none.
    pub(crate) fn of(&self, files: &Files, row: &SegmentRow) -> Option<RecordBatch> {
        if let Some(known) = self.0.lock().0.get(&row.path) {
            return known.clone();
        }
        let found = if row.rows < ROWS_MIN { None } else { load(files, row) };
        let size = |batch: &Option<RecordBatch>| 128 + batch.as_ref().map_or(0, RecordBatch::get_array_memory_size);
        let mut cache = self.0.lock();
        cache.1 += size(&found);
        if let Some((_, old)) = cache.0.push(row.path.clone(), found.clone()) {
            cache.1 -= size(&old);
        }
        while cache.1 > CACHE_BYTES
            && let Some((_, old)) = cache.0.pop_lru()
        {
            cache.1 -= size(&old);
        }
        found
    }
}

/// The rows of counts whose minutes lie in the range (microseconds, end exclusive).
pub(crate) fn within(batch: &RecordBatch, start: i64, end: i64) -> Result<RecordBatch, arrow::error::ArrowError> {
    let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values();
    if times.iter().all(|at| (start..end).contains(at)) {
        return Ok(batch.clone());
    }
    filter_record_batch(batch, &times.iter().map(|at| Some((start..end).contains(at))).collect())
}
