//! From a decoded, mapped event straight into columns; no document tree is built on the way.

use std::{borrow::Cow, fmt::Write as _, sync::Arc};

use arrow::{
    array::{
        ArrayBuilder as _, ArrayRef, BooleanBuilder, Int32Builder, Int64Builder, ListArray, MapArray, RecordBatch, StringBuilder,
        StringDictionaryBuilder, StructArray, TimestampMicrosecondBuilder,
    },
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::Int32Type,
    error::ArrowError,
};
use jiff::Timestamp;
use reeve_decode::{Map, Parsed, Value};
use reeve_ocsf::{Event, Observable};
use reeve_record::{Certainty, RecordId};

use crate::{
    promoted::Kind,
    schema::{self, OBSERVED, PLACES, STORED},
};

/// One event on its way into the lake.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The records it was read from, the first one being its identity together with `part`; never empty.
    pub records: &'a [RecordId],
    /// Which event of the first record this is, from 0.
    pub part: u32,
    /// When the record was received; stands in where the event names no time.
    pub received_at: Timestamp,
    /// The source's name.
    pub source: &'a str,
    /// The event as its source told it.
    pub parsed: &'a Parsed<'a>,
    /// The event in OCSF.
    pub event: &'a Event<'a>,
}

/// How often a bound cut something while rows were built. Nothing of it is lost: the record holds the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Caps {
    /// Native fields left out because an event had more than [`MAX_FIELDS`] or [`MAX_NATIVE_BYTES`].
    pub fields: u64,
    /// Values cut to [`MAX_VALUE_BYTES`].
    pub values: u64,
    /// Observables left out because an event had more than [`MAX_OBSERVABLES`].
    pub observables: u64,
}

/// Native fields kept of one event.
pub const MAX_FIELDS: usize = 4096;
/// Bytes kept of one value in a column.
pub const MAX_VALUE_BYTES: usize = 64 << 10;
/// Observables kept of one event.
pub const MAX_OBSERVABLES: usize = 1024;
/// Bytes of native names and values kept of one event.
pub const MAX_NATIVE_BYTES: usize = 4 << 20;
const MAX_DEPTH: usize = 64;
const MAX_NAME_BYTES: usize = 1 << 10;
const MAX_BATCH_ROWS: usize = 8192;
const MAX_BATCH_TEXT: usize = 64 << 20;

/// Rows gathered one by one, for events that do not outlive the call that tells them; given to [`crate::Lake::append_rows`].
///
/// Columns grow as rows come, in batches bounded so that no column's offsets can overflow.
pub struct Rows {
    columns: Columns,
    count: usize,
    batches: Vec<RecordBatch>,
    caps: Caps,
    failed: Option<ArrowError>,
}

impl Rows {
    /// No rows yet, with room for so many.
    pub fn with_capacity(rows: usize) -> Self {
        Self {
            columns: Columns::with_capacity(rows.min(MAX_BATCH_ROWS)),
            count: 0,
            batches: Vec::new(),
            caps: Caps::default(),
            failed: None,
        }
    }

    /// Adds a row.
    pub fn push(&mut self, row: &Row<'_>) {
        self.columns.append(row, &mut self.caps);
        self.count += 1;
        if self.count == MAX_BATCH_ROWS || self.columns.text_bytes() > MAX_BATCH_TEXT {
            self.end_batch();
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.batches.is_empty() && self.failed.is_none()
    }

    fn end_batch(&mut self) {
        let next = Columns::like(&self.columns);
        match std::mem::replace(&mut self.columns, next).finish() {
            Ok(batch) => self.batches.push(batch),
            Err(error) => self.failed = Some(error),
        }
        self.count = 0;
    }

    pub(crate) fn finish(mut self) -> Result<(Vec<RecordBatch>, Caps), ArrowError> {
        if self.count > 0 {
            self.end_batch();
        }
        self.failed.map_or(Ok((self.batches, self.caps)), Err)
    }
}

struct Columns {
    time: TimestampMicrosecondBuilder,
    certainty: StringBuilder,
    received: TimestampMicrosecondBuilder,
    record: Int64Builder,
    records: Records,
    part: Int32Builder,
    class_uid: Int32Builder,
    type_uid: Int64Builder,
    activity_id: Int32Builder,
    severity_id: Int32Builder,
    status_id: Int32Builder,
    source: StringBuilder,
    decoder: StringBuilder,
    mapping: StringBuilder,
    promoted: Vec<Promoted>,
    native: Native,
    rest: StringBuilder,
    unmapped: StringBuilder,
    observables: Observables,
    scratch: Vec<u8>,
}

impl Columns {
    fn with_capacity(rows: usize) -> Self {
        Self {
            time: TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC"),
            certainty: StringBuilder::new(),
            received: TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC"),
            record: Int64Builder::with_capacity(rows),
            records: Records { offsets: vec![0], values: Int64Builder::new(), present: Vec::with_capacity(rows) },
            part: Int32Builder::with_capacity(rows),
            class_uid: Int32Builder::with_capacity(rows),
            type_uid: Int64Builder::with_capacity(rows),
            activity_id: Int32Builder::with_capacity(rows),
            severity_id: Int32Builder::with_capacity(rows),
            status_id: Int32Builder::with_capacity(rows),
            source: StringBuilder::new(),
            decoder: StringBuilder::new(),
            mapping: StringBuilder::new(),
            promoted: schema::promoted().map(|column| Promoted::new(column.kind)).collect(),
            native: Native::new(),
            rest: StringBuilder::new(),
            unmapped: StringBuilder::new(),
            observables: Observables { offsets: vec![0], types: Int32Builder::new(), values: StringBuilder::new() },
            scratch: Vec::new(),
        }
    }

    /// Room for as much text as these have: the next batch of a stream is much like the last, and growing step by step copies it all again.
    fn like(last: &Self) -> Self {
        let rows = last.time.len();
        let text = |column: &StringBuilder| StringBuilder::with_capacity(rows, column.values_slice().len() * 9 / 8);
        Self {
            native: Native {
                values: StringBuilder::with_capacity(last.native.values.len(), last.native.values.values_slice().len() * 9 / 8),
                ..Native::new()
            },
            rest: text(&last.rest),
            unmapped: text(&last.unmapped),
            ..Self::with_capacity(rows)
        }
    }

    fn append(&mut self, row: &Row<'_>, caps: &mut Caps) {
        let (event, parsed) = (row.event, row.parsed);
        let told = event.time.or(parsed.time);
        let (at, certainty) = told.map_or((row.received_at, Certainty::Received), |time| (time.at, time.certainty));
        self.time.append_value(at.as_microsecond());
        self.certainty.append_value(certainty_name(certainty));
        self.received.append_value(row.received_at.as_microsecond());
        self.record.append_value(packed(row.records.first().copied().unwrap_or_default()));
        self.records.append(row.records);
        self.part.append_value(row.part.cast_signed());
        self.class_uid.append_value(event.class_uid.cast_signed());
        self.type_uid.append_value(event.type_uid().cast_signed());
        self.activity_id.append_value(event.activity_id.cast_signed());
        self.severity_id.append_value(event.severity_id.cast_signed());
        self.status_id.append_option(event.status_id.map(u32::cast_signed));
        self.source.append_value(row.source);
        self.decoder.append_value(parsed.decoder);
        self.mapping.append_value(event.mapping);
        self.append_attributes(event, caps);
        self.native.append(&parsed.native, caps);
        if event.unmapped.is_empty() {
            self.unmapped.append_null();
        } else {
            append_json(&mut self.unmapped, &mut self.scratch, &event.unmapped, caps);
        }
        self.observables.append(event, caps);
    }

    fn append_attributes(&mut self, event: &Event<'_>, caps: &mut Caps) {
        let rows = self.time.len_before_last();
        self.scratch.clear();
        for (path, value) in &event.attributes {
            let taken = PLACES.get(path).is_some_and(|(place, _)| self.promoted[*place].append(value, rows, caps));
            if taken || matches!(value, Value::Null) || schema::is_base(path) {
                continue;
            }
            self.scratch.push(if self.scratch.is_empty() { b'{' } else { b',' });
            // Writing JSON into memory fails only for maps with keys that are no text, which these types cannot hold.
            let _ = serde_json::to_writer(&mut self.scratch, path);
            self.scratch.push(b':');
            let _ = serde_json::to_writer(&mut self.scratch, value);
        }
        if self.scratch.is_empty() {
            self.rest.append_null();
        } else if self.scratch.len() > MAX_NATIVE_BYTES {
            caps.values += 1;
            self.rest.append_null();
        } else {
            self.scratch.push(b'}');
            append_text(&mut self.rest, &self.scratch);
        }
    }

    fn text_bytes(&self) -> usize {
        self.native.bytes() + self.unmapped.values_slice().len() + self.rest.values_slice().len()
    }

    fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let rows = self.time.len();
        self.promoted.iter_mut().for_each(|column| column.fill(rows));
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(self.time.finish()),
            Arc::new(self.certainty.finish()),
            Arc::new(self.received.finish()),
            Arc::new(self.record.finish()),
            Arc::new(self.records.finish()?),
            Arc::new(self.part.finish()),
            Arc::new(self.class_uid.finish()),
            Arc::new(self.type_uid.finish()),
            Arc::new(self.activity_id.finish()),
            Arc::new(self.severity_id.finish()),
            Arc::new(self.status_id.finish()),
            Arc::new(self.source.finish()),
            Arc::new(self.decoder.finish()),
            Arc::new(self.mapping.finish()),
        ];
        arrays.extend(self.promoted.iter_mut().map(Promoted::finish));
        arrays.push(Arc::new(self.native.finish()?));
        arrays.push(Arc::new(self.rest.finish()));
        arrays.push(Arc::new(self.unmapped.finish()));
        arrays.push(Arc::new(self.observables.finish()?));
        RecordBatch::try_new(STORED.clone(), arrays)
    }
}

trait LenBeforeLast {
    fn len_before_last(&self) -> usize;
}

impl LenBeforeLast for TimestampMicrosecondBuilder {
    /// Rows finished before the one being appended.
    fn len_before_last(&self) -> usize {
        self.len().saturating_sub(1)
    }
}

/// The segment number stays below 2^31 for longer than any ledger lives, so the packed id fits a signed column.
pub(crate) fn packed(id: RecordId) -> i64 {
    id.pack().cast_signed()
}

pub(crate) fn certainty_name(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Exact => "exact",
        Certainty::ZoneInferred => "zone_inferred",
        Certainty::YearInferred => "year_inferred",
        Certainty::Received => "received",
    }
}

enum Promoted {
    Text(StringBuilder),
    Integer(Int64Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Boolean(BooleanBuilder),
}

impl Promoted {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Integer => Self::Integer(Int64Builder::new()),
            Kind::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            Kind::Boolean => Self::Boolean(BooleanBuilder::new()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Text(column) => column.len(),
            Self::Integer(column) => column.len(),
            Self::Timestamp(column) => column.len(),
            Self::Boolean(column) => column.len(),
        }
    }

    /// Takes the value as the column's type; false if it is no such value or the row has one already.
    fn append(&mut self, value: &Value<'_>, row: usize, caps: &mut Caps) -> bool {
        if self.len() > row {
            return false;
        }
        match self {
            Self::Text(column) => match text_of(value) {
                Some(text) => {
                    column.append_nulls(row - column.len());
                    column.append_value(cut(&text, caps));
                }
                None => return false,
            },
            Self::Integer(column) => match value.as_i64() {
                Some(number) => {
                    column.append_nulls(row - column.len());
                    column.append_value(number);
                }
                None => return false,
            },
            Self::Timestamp(column) => match microseconds(value) {
                Some(at) => {
                    column.append_nulls(row - column.len());
                    column.append_value(at);
                }
                None => return false,
            },
            Self::Boolean(column) => match value {
                Value::Bool(flag) => {
                    column.append_nulls(row - column.len());
                    column.append_value(*flag);
                }
                _ => return false,
            },
        }
        true
    }

    /// Nulls for the rows that gave it nothing: at once before the next value, so that a column no row fills costs nothing a row.
    fn fill(&mut self, rows: usize) {
        let missing = rows - self.len();
        match self {
            Self::Text(column) => column.append_nulls(missing),
            Self::Integer(column) => column.append_nulls(missing),
            Self::Timestamp(column) => column.append_nulls(missing),
            Self::Boolean(column) => column.append_nulls(missing),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(column) => Arc::new(column.finish()),
            Self::Integer(column) => Arc::new(column.finish()),
            Self::Timestamp(column) => Arc::new(column.finish()),
            Self::Boolean(column) => Arc::new(column.finish()),
        }
    }
}

struct Records {
    offsets: Vec<i32>,
    values: Int64Builder,
    present: Vec<bool>,
}

impl Records {
    /// Only joined events carry the list: for all others it would repeat `record`.
    fn append(&mut self, records: &[RecordId]) {
        let several = records.len() > 1;
        if several {
            records.iter().for_each(|id| self.values.append_value(packed(*id)));
        }
        self.present.push(several);
        self.offsets.push(length(&self.values));
    }

    fn finish(mut self) -> Result<ListArray, ArrowError> {
        let offsets = OffsetBuffer::new(self.offsets.into());
        ListArray::try_new(schema::records_item(), offsets, Arc::new(self.values.finish()), Some(NullBuffer::from(self.present)))
    }
}

struct Native {
    offsets: Vec<i32>,
    keys: StringDictionaryBuilder<Int32Type>,
    values: StringBuilder,
    path: String,
    left: usize,
    full: usize,
}

impl Native {
    fn new() -> Self {
        Self {
            offsets: vec![0],
            keys: StringDictionaryBuilder::new(),
            values: StringBuilder::new(),
            path: String::new(),
            left: 0,
            full: 0,
        }
    }

    fn bytes(&self) -> usize {
        4 * self.keys.len() + self.values.values_slice().len()
    }

    fn append(&mut self, document: &Map<'_>, caps: &mut Caps) {
        self.left = MAX_FIELDS;
        self.full = self.bytes() + MAX_NATIVE_BYTES;
        self.path.clear();
        self.map(document, 0, caps);
        self.offsets.push(length(&self.keys));
    }

    fn map(&mut self, map: &Map<'_>, depth: usize, caps: &mut Caps) {
        for (name, value) in map.iter() {
            let base = self.path.len();
            if base > 0 {
                self.path.push('.');
            }
            self.path.push_str(name);
            self.value(value, depth, caps);
            self.path.truncate(base);
        }
    }

    fn value(&mut self, value: &Value<'_>, depth: usize, caps: &mut Caps) {
        match value {
            Value::Map(map) if depth < MAX_DEPTH && !map.is_empty() => self.map(map, depth + 1, caps),
            Value::List(items) if depth < MAX_DEPTH && !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    let base = self.path.len();
                    let _ = write!(self.path, ".{index}");
                    self.value(item, depth + 1, caps);
                    self.path.truncate(base);
                }
            }
            _ => self.leaf(value, caps),
        }
    }

    fn leaf(&mut self, value: &Value<'_>, caps: &mut Caps) {
        if self.left == 0 || self.bytes() > self.full {
            caps.fields += 1;
            return;
        }
        self.left -= 1;
        if self.keys.append(cut_to(&self.path, MAX_NAME_BYTES, caps)).is_err() {
            // More than 2^31 different names: no batch comes near it.
            caps.fields += 1;
            return;
        }
        match value {
            Value::Null => self.values.append_null(),
            Value::Map(map) if map.is_empty() => self.values.append_value("{}"),
            Value::List(items) if items.is_empty() => self.values.append_value("[]"),
            _ => match text_of(value) {
                Some(text) => self.values.append_value(cut(&text, caps)),
                None => self.values.append_null(),
            },
        }
    }

    fn finish(mut self) -> Result<MapArray, ArrowError> {
        let entries = StructArray::try_new(
            schema::native_fields(),
            vec![Arc::new(self.keys.finish()), Arc::new(self.values.finish())],
            None,
        )?;
        MapArray::try_new(schema::native_entries(), OffsetBuffer::new(self.offsets.into()), entries, None, false)
    }
}

struct Observables {
    offsets: Vec<i32>,
    types: Int32Builder,
    values: StringBuilder,
}

impl Observables {
    /// Takes those that stand in no column.
    fn append(&mut self, event: &Event<'_>, caps: &mut Caps) {
        for (nth, observable) in event.observables.iter().filter(|one| !in_column(event, one)).enumerate() {
            if nth >= MAX_OBSERVABLES {
                caps.observables += 1;
                continue;
            }
            self.types.append_value(observable.type_id.cast_signed());
            self.values.append_value(cut(&observable.value, caps));
        }
        self.offsets.push(length(&self.types));
    }

    fn finish(mut self) -> Result<ListArray, ArrowError> {
        let items = StructArray::try_new(
            schema::observable_fields(),
            vec![Arc::new(self.types.finish()), Arc::new(self.values.finish())],
            None,
        )?;
        ListArray::try_new(schema::observables_item(), OffsetBuffer::new(self.offsets.into()), Arc::new(items), None)
    }
}

/// Whether an observable is the value of a column, where searches look for it as well.
fn in_column(event: &Event<'_>, observable: &Observable<'_>) -> bool {
    let Some((_, kind)) = PLACES.get(observable.name) else { return false };
    OBSERVED.get(observable.name) == Some(&observable.type_id)
        && match event.attributes.iter().find(|(path, _)| *path == observable.name) {
            Some((_, Value::Int(number))) => observable.value.parse() == Ok(*number),
            Some((_, Value::Str(text))) => *kind == Kind::Text && *text == observable.value,
            _ => false,
        }
}

fn length(builder: &dyn arrow::array::ArrayBuilder) -> i32 {
    // A batch is bounded far below 2^31 entries by MAX_ROWS and MAX_FIELDS.
    i32::try_from(builder.len()).unwrap_or(i32::MAX)
}

fn text_of<'v>(value: &'v Value<'_>) -> Option<Cow<'v, str>> {
    match value {
        Value::List(_) | Value::Map(_) => serde_json::to_string(value).ok().map(Cow::Owned),
        _ => value.text(),
    }
}

/// A point in time as RFC 3339 text or OCSF's timestamp_t, milliseconds since 1970.
fn microseconds(value: &Value<'_>) -> Option<i64> {
    let told = value.as_str().and_then(|text| text.parse::<Timestamp>().ok()).map(Timestamp::as_microsecond);
    told.or_else(|| value.as_i64().map(|ms| ms.saturating_mul(1000)))
}

fn cut<'t>(text: &'t str, caps: &mut Caps) -> &'t str {
    cut_to(text, MAX_VALUE_BYTES, caps)
}

fn cut_to<'t>(text: &'t str, bytes: usize, caps: &mut Caps) -> &'t str {
    if text.len() <= bytes {
        return text;
    }
    caps.values += 1;
    let mut end = bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// JSON written by `serde_json` is UTF-8: checked at the speed of memory.
fn append_text(column: &mut StringBuilder, json: &[u8]) {
    column.append_option(std::str::from_utf8(json).ok());
}

fn append_json(column: &mut StringBuilder, scratch: &mut Vec<u8>, value: &Map<'_>, caps: &mut Caps) {
    scratch.clear();
    match serde_json::to_writer(&mut *scratch, value) {
        // Half a JSON text is of no use to anyone; the same fields are in `native`.
        Ok(()) if scratch.len() > MAX_NATIVE_BYTES => {
            caps.values += 1;
            column.append_null();
        }
        Ok(()) => append_text(column, scratch),
        Err(_) => column.append_null(),
    }
}
