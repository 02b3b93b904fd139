//! Result columns to JSON.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{
        DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
        UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
    util::display::{ArrayFormatter, FormatOptions},
};
use jiff::Timestamp;
use reeve_record::RecordId;
use serde_json::{Map, Value};

use crate::{native::Natives, schema::promoted};

/// An event as searches return it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct EventRow {
    /// The record it was read from; with `part` its identity.
    pub record: RecordId,
    /// All records it was read from, if several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<RecordId>,
    /// Which event of the record it is.
    pub part: u32,
    /// When it happened, microseconds exact.
    pub time: Timestamp,
    /// `exact`, `zone_inferred`, `year_inferred` or `received`.
    pub time_certainty: String,
    /// When its record was received.
    pub received_at: Timestamp,
    /// OCSF class.
    pub class_uid: u32,
    /// OCSF type.
    pub type_uid: u64,
    /// OCSF activity.
    pub activity_id: u32,
    /// OCSF severity.
    pub severity_id: u32,
    /// OCSF status, if the event has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_id: Option<u32>,
    /// The source's name.
    pub source: String,
    /// What decoded it.
    pub decoder: String,
    /// What mapped it, with version.
    pub mapping: String,
    /// The promoted OCSF attributes it has, by dotted path.
    pub fields: Map<String, Value>,
    /// Native fields by dotted path, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native: Option<BTreeMap<String, String>>,
}

/// The events of a batch with the table's event columns; columns that are absent come out empty.
pub(crate) fn event_rows(batch: &RecordBatch) -> Vec<EventRow> {
    let columns = EventColumns::of(batch);
    (0..batch.num_rows()).map(|row| columns.row(row)).collect()
}

struct EventColumns<'a> {
    batch: &'a RecordBatch,
    promoted: Vec<(&'static str, &'a ArrayRef)>,
    native: Option<&'a ArrayRef>,
}

impl<'a> EventColumns<'a> {
    fn of(batch: &'a RecordBatch) -> Self {
        // A column that is null throughout has nothing to say about any row.
        let promoted = promoted().filter_map(|known| {
            batch
                .column_by_name(known.name)
                .filter(|column| column.null_count() < column.len())
                .map(|column| (known.path, column))
        });
        Self { batch, promoted: promoted.collect(), native: batch.column_by_name("native") }
    }

    fn row(&self, row: usize) -> EventRow {
        let mut fields = Map::new();
        for (path, column) in self.promoted.iter().filter(|(_, column)| column.is_valid(row)) {
            fields.insert((*path).to_owned(), cell(column, row));
        }
        EventRow {
            record: record_id(self.long("record", row)),
            records: self.batch.column_by_name("records").map(|column| ids(column, row)).unwrap_or_default(),
            part: self.int("part", row),
            time: self.time("time", row),
            time_certainty: self.text("time_certainty", row),
            received_at: self.time("received_at", row),
            class_uid: self.int("class_uid", row),
            type_uid: self.long("type_uid", row).cast_unsigned(),
            activity_id: self.int("activity_id", row),
            severity_id: self.int("severity_id", row),
            status_id: self
                .batch
                .column_by_name("status_id")
                .filter(|column| column.is_valid(row))
                .map(|_| self.int("status_id", row)),
            source: self.text("source", row),
            decoder: self.text("decoder", row),
            mapping: self.text("mapping", row),
            fields,
            native: self.native.map(|column| texts(column, row)),
        }
    }

    fn long(&self, name: &str, row: usize) -> i64 {
        self.batch
            .column_by_name(name)
            .and_then(|column| column.as_primitive_opt::<Int64Type>())
            .map_or(0, |column| column.value(row))
    }

    fn int(&self, name: &str, row: usize) -> u32 {
        self.batch
            .column_by_name(name)
            .and_then(|column| column.as_primitive_opt::<Int32Type>())
            .map_or(0, |column| column.value(row).cast_unsigned())
    }

    fn text(&self, name: &str, row: usize) -> String {
        self.batch
            .column_by_name(name)
            .map(|column| cell(column, row))
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    }

    fn time(&self, name: &str, row: usize) -> Timestamp {
        let us = self
            .batch
            .column_by_name(name)
            .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>())
            .map_or(0, |column| column.value(row));
        Timestamp::from_microsecond(us).unwrap_or_default()
    }
}

pub(crate) fn record_id(packed: i64) -> RecordId {
    RecordId::unpack(packed.cast_unsigned())
}

fn ids(column: &ArrayRef, row: usize) -> Vec<RecordId> {
    let Some(list) = column.as_list_opt::<i32>().filter(|list| list.is_valid(row)) else { return Vec::new() };
    list.value(row)
        .as_primitive_opt::<Int64Type>()
        .map(|ids| ids.values().iter().map(|id| record_id(*id)).collect())
        .unwrap_or_default()
}

/// The entries of a text map; the first of equal keys wins.
pub(crate) fn texts(column: &ArrayRef, row: usize) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    if let Some(map) = column.as_map_opt().filter(|map| map.is_valid(row))
        && let Some(natives) = Natives::of(map)
    {
        for place in natives.entries(row) {
            if natives.values.is_valid(place) {
                entries.entry(natives.name(place).to_owned()).or_insert_with(|| natives.values.value(place).to_owned());
            }
        }
    }
    entries
}

/// The rows of a batch as lists of JSON values; record ids as text.
pub(crate) fn table_rows(batch: &RecordBatch) -> Vec<Vec<Value>> {
    let schema = batch.schema();
    (0..batch.num_rows())
        .map(|row| {
            let cells = batch.columns().iter().zip(schema.fields());
            cells
                .map(|(column, field)| match field.name().as_str() {
                    "record" if *column.data_type() == DataType::Int64 && column.is_valid(row) => {
                        record_id(column.as_primitive::<Int64Type>().value(row)).to_string().into()
                    }
                    "records" if column.is_valid(row) => ids(column, row).iter().map(|id| Value::from(id.to_string())).collect(),
                    _ => cell(column, row),
                })
                .collect()
        })
        .collect()
}

/// One value as JSON: times as RFC 3339, maps as objects, bytes as text or `0x…`.
pub(crate) fn cell(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Int8 => column.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => column.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => column.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => column.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float32 => f64::from(column.as_primitive::<Float32Type>().value(row)).into(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).into(),
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row).into(),
        DataType::Utf8View => column.as_string_view().value(row).into(),
        DataType::Binary => bytes(column.as_binary::<i32>().value(row)),
        DataType::BinaryView => bytes(column.as_binary_view().value(row)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            match Timestamp::from_microsecond(column.as_primitive::<TimestampMicrosecondType>().value(row)) {
                Ok(at) => at.to_string().into(),
                Err(_) => Value::Null,
            }
        }
        DataType::List(_) => items(&column.as_list::<i32>().value(row)),
        DataType::Map(..) => {
            texts(column, row).into_iter().map(|(key, value)| (key, Value::from(value))).collect::<Map<_, _>>().into()
        }
        DataType::Struct(fields) => {
            let parts = column.as_struct();
            fields
                .iter()
                .zip(parts.columns())
                .map(|(field, part)| (field.name().clone(), cell(part, row)))
                .collect::<Map<_, _>>()
                .into()
        }
        _ => ArrayFormatter::try_new(column, &FormatOptions::default())
            .map_or(Value::Null, |formatter| formatter.value(row).to_string().into()),
    }
}

fn items(list: &ArrayRef) -> Value {
    (0..list.len()).map(|index| cell(list, index)).collect()
}

fn bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().fold(String::from("0x"), |text, byte| text + &format!("{byte:02x}")).into(),
    }
}
