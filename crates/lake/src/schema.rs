//! The columns of an event, in files, in memory and in queries.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use crate::promoted::{Column, Kind, PROMOTED};

/// Name of the virtual column that holds the record's raw bytes.
pub const RAW: &str = "raw";
/// Version of the file schema; written into each file. Columns are only ever added.
pub(crate) const FORMAT: &str = "1";

/// Columns every event has, before the promoted ones. Names, Arrow types, and whether they may be null.
pub(crate) static BASE: LazyLock<Vec<Field>> = LazyLock::new(|| {
    vec![
        Field::new("time", timestamp(), false),
        Field::new("time_certainty", DataType::Utf8, false),
        Field::new("received_at", timestamp(), false),
        Field::new("record", DataType::Int64, false),
        Field::new("records", DataType::List(records_item()), true),
        Field::new("part", DataType::Int32, false),
        Field::new("class_uid", DataType::Int32, false),
        Field::new("type_uid", DataType::Int64, false),
        Field::new("activity_id", DataType::Int32, false),
        Field::new("severity_id", DataType::Int32, false),
        Field::new("status_id", DataType::Int32, true),
        Field::new("source", DataType::Utf8, false),
        Field::new("decoder", DataType::Utf8, false),
        Field::new("mapping", DataType::Utf8, false),
    ]
});

/// The schema rows are built and written with.
pub(crate) static STORED: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = BASE.clone();
    fields.extend(
        PROMOTED
            .iter()
            .filter(|column| !is_base(column.name))
            .map(|column| Field::new(column.name, arrow_type(column.kind), true)),
    );
    fields.push(Field::new("native", native_type(), false));
    fields.push(Field::new("ocsf_rest", DataType::Utf8, true));
    fields.push(Field::new("unmapped", DataType::Utf8, true));
    fields.push(Field::new("observables", DataType::List(observables_item()), false));
    Arc::new(Schema::new(fields))
});

/// The schema queries see: text as views, and `raw` last.
pub(crate) static TABLE: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields: Vec<Field> =
        STORED.fields().iter().map(|field| Field::new(field.name(), viewed(field.data_type()), field.is_nullable())).collect();
    fields.push(Field::new(RAW, DataType::BinaryView, true));
    Arc::new(Schema::new(fields))
});

/// The promoted columns that stand in the table, with their place in [`STORED`].
pub(crate) static PLACES: LazyLock<hashbrown::HashMap<&'static str, (usize, Kind)>> =
    LazyLock::new(|| promoted().enumerate().map(|(place, column)| (column.path, (place, column.kind))).collect());

/// The OCSF observable types of promoted columns' values, by path.
pub(crate) static OBSERVED: LazyLock<hashbrown::HashMap<&'static str, u32>> =
    LazyLock::new(|| promoted().filter_map(|column| Some((column.path, column.observable()?))).collect());

/// Promoted columns that are not already among the base columns, in table order.
pub fn promoted() -> impl Iterator<Item = &'static Column> {
    PROMOTED.iter().filter(|column| !is_base(column.name))
}

pub(crate) fn is_base(name: &str) -> bool {
    BASE.iter().any(|field| field.name() == name)
}

fn arrow_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text => DataType::Utf8,
        Kind::Integer => DataType::Int64,
        Kind::Timestamp => timestamp(),
        Kind::Boolean => DataType::Boolean,
    }
}

fn viewed(stored: &DataType) -> DataType {
    if *stored == DataType::Utf8 { DataType::Utf8View } else { stored.clone() }
}

// Microseconds, not nanoseconds: the finest unit that all the readers we promise (Delta, Spark) take.
pub(crate) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

pub(crate) fn records_item() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Int64, false))
}

pub(crate) fn native_fields() -> Fields {
    // In memory a name stands once a batch; in files it is ordinary text.
    let name = DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into());
    Fields::from(vec![Field::new("key", name, false), Field::new("value", DataType::Utf8, true)])
}

pub(crate) fn native_entries() -> Arc<Field> {
    Arc::new(Field::new("key_value", DataType::Struct(native_fields()), false))
}

fn native_type() -> DataType {
    DataType::Map(native_entries(), false)
}

pub(crate) fn observable_fields() -> Fields {
    Fields::from(vec![Field::new("type_id", DataType::Int32, false), Field::new("value", DataType::Utf8, false)])
}

pub(crate) fn observables_item() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Struct(observable_fields()), false))
}
