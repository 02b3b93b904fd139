//! One event in full, and events by attribute for code that walks from one to the next.

use std::collections::BTreeMap;

use datafusion::{
    logical_expr::{Expr, lit, utils::conjunction},
    prelude::{DataFrame, col},
};
use jiff::Timestamp;
use reeve_record::RecordId;
use serde_json::{Map, Value, json};

use crate::{
    Error, EventRow, Lake, Order, answer, rows,
    schema::{self, OBSERVED, promoted},
    search::{Running, event_columns, filtered, ordered, time_range},
};

/// An event with all the lake holds of it. The raw bytes are in the record.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct EventDetail {
    /// Its identity, times and promoted attributes.
    #[serde(flatten)]
    pub event: EventRow,
    /// OCSF attributes nested as the schema has them, `unmapped` and `observables` included. Attributes that the reading
    /// adds from outside the event (as the raw bytes' hash) are not in it.
    pub ocsf: Value,
}

/// Which events; empty lists and `None` ask for nothing.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// At or after.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
    /// On one of these hosts, in any letter case.
    pub hosts: Vec<String>,
    /// Of one of these classes.
    pub class_uids: Vec<u32>,
    /// With all of these attributes, by OCSF path or column name, having exactly one of these values.
    pub equal: Vec<(String, Vec<String>)>,
    /// Read from one of these records (as their first).
    pub records: Vec<RecordId>,
    /// At most so many, the earliest.
    pub limit: Option<usize>,
    /// Whether to bring native fields along.
    pub native: bool,
}

impl Lake {
    /// The event with this identity, `None` if there is none.
    ///
    /// # Errors
    /// Files cannot be read.
    pub async fn event(&self, record: RecordId, part: u32) -> Result<Option<EventDetail>, Error> {
        let (session, table) = self.table();
        let filter = col("record").eq(lit(rows::packed(record))).and(col("part").eq(lit(part.cast_signed())));
        let names = schema::STORED.fields().iter().map(|field| col(field.name())).collect::<Vec<_>>();
        let frame = filtered(&session, table, Some(filter), None)?.select(names)?.limit(0, Some(1))?;
        let mut run = Running::start(&session, frame).await?;
        while let Some(batch) = run.next().await? {
            if let Some(event) = answer::event_rows(&batch).into_iter().next() {
                let text = |name: &str| batch.column_by_name(name).map(|column| answer::cell(column, 0)).unwrap_or_default();
                let ocsf = nested(&event, &text("ocsf_rest"), &text("unmapped"), text("observables"));
                return Ok(Some(EventDetail { event, ocsf }));
            }
        }
        Ok(None)
    }

    /// Events by attribute, earliest first.
    ///
    /// # Errors
    /// [`Error::Query`] for an attribute without a column; files that cannot be read.
    pub async fn events_by(&self, want: &EventFilter) -> Result<Vec<EventRow>, Error> {
        let mut all = Vec::new();
        if !want.hosts.is_empty() {
            let hosts =
                want.hosts.iter().flat_map(|host| [host.clone(), host.to_lowercase(), host.to_uppercase()]).map(lit).collect();
            all.push(col("device_hostname").in_list(hosts, false));
        }
        if !want.class_uids.is_empty() {
            all.push(col("class_uid").in_list(want.class_uids.iter().map(|class| lit(class.cast_signed())).collect(), false));
        }
        if !want.records.is_empty() {
            all.push(col("record").in_list(want.records.iter().map(|id| lit(rows::packed(*id))).collect(), false));
        }
        for (name, values) in &want.equal {
            all.push(equal(name, values)?);
        }
        let (session, table) = self.table();
        let frame = filtered(&session, table, conjunction(all), time_range(want.from, want.to))?;
        let frame = event_columns(ordered(frame, Order::Oldest)?, want.native)?.limit(0, want.limit)?;
        collect(&session, frame).await
    }

    /// Events for which a search bar condition holds, earliest first; `limit` at most.
    ///
    /// # Errors
    /// As [`Lake::search`]; the query may have no commands.
    pub async fn rows(&self, query: &str, limit: Option<usize>, native: bool) -> Result<Vec<EventRow>, Error> {
        let fields = crate::language::Fields::new(self);
        let parsed = crate::language::parse(query)?;
        if !parsed.commands.is_empty() {
            return Err(Error::query(0, "only a condition is taken here, no commands"));
        }
        let filter = crate::language::lower_search(&parsed.search, &fields)?;
        let (session, table) = self.table();
        let frame = ordered(filtered(&session, table, filter, None)?, Order::Oldest)?;
        collect(&session, event_columns(frame, native)?.limit(0, limit)?).await
    }
}

async fn collect(session: &datafusion::prelude::SessionContext, frame: DataFrame) -> Result<Vec<EventRow>, Error> {
    let mut run = Running::start(session, frame).await?;
    let mut events = Vec::new();
    while let Some(batch) = run.next().await? {
        events.extend(answer::event_rows(&batch));
    }
    Ok(events)
}

fn equal(name: &str, values: &[String]) -> Result<Expr, Error> {
    if let Some(field) = schema::BASE.iter().find(|field| field.name() == name) {
        return Ok(if field.data_type().is_integer() {
            col(name).in_list(values.iter().filter_map(|value| value.parse::<i64>().ok()).map(lit).collect(), false)
        } else {
            col(name).in_list(values.iter().map(|value| lit(value.as_str())).collect(), false)
        });
    }
    let column = promoted()
        .find(|column| column.name == name || column.path == name)
        .ok_or_else(|| Error::query(0, format!("the attribute `{name}` has no column")))?;
    Ok(match column.kind {
        crate::promoted::Kind::Integer => {
            col(column.name).in_list(values.iter().filter_map(|value| value.parse::<i64>().ok()).map(lit).collect(), false)
        }
        _ => col(column.name).in_list(values.iter().map(|value| lit(value.as_str())).collect(), false),
    })
}

/// Flat attributes as the nested object of the schema.
fn nested(event: &EventRow, rest: &Value, unmapped: &Value, observables: Value) -> Value {
    let mut out = Map::new();
    out.insert("class_uid".into(), event.class_uid.into());
    out.insert("type_uid".into(), event.type_uid.into());
    out.insert("activity_id".into(), event.activity_id.into());
    out.insert("severity_id".into(), event.severity_id.into());
    if let Some(status) = event.status_id {
        out.insert("status_id".into(), status.into());
    }
    out.insert("time".into(), event.time.as_millisecond().into());
    let parsed = |text: &Value| text.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let rest = parsed(rest).and_then(|rest| rest.as_object().cloned()).unwrap_or_default();
    let mut attributes: BTreeMap<&str, &Value> = event.fields.iter().map(|(path, value)| (path.as_str(), value)).collect();
    attributes.extend(rest.iter().map(|(path, value)| (path.as_str(), value)));
    for (path, value) in attributes {
        insert(&mut out, path, value.clone());
    }
    if let Some(unmapped) = parsed(unmapped) {
        out.insert("unmapped".into(), unmapped);
    }
    out.insert("observables".into(), all_observables(event, observables));
    Value::Object(out)
}

/// The observables that stand in columns, and those of the list.
fn all_observables(event: &EventRow, list: Value) -> Value {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let one = |(path, value): (&String, &Value)| {
        let type_id = OBSERVED.get(path.as_str())?;
        Some(json!({"type_id": type_id, "value": text(value)}))
    };
    let mut all: Vec<Value> = event.fields.iter().filter_map(one).collect();
    for other in list.as_array().into_iter().flatten() {
        // Files of earlier versions list all of them.
        if !all.contains(other) {
            all.push(other.clone());
        }
    }
    all.into()
}

fn insert(out: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            out.insert(path.to_owned(), value);
        }
        Some((head, rest)) => {
            let inner = out.entry(head).or_insert_with(|| Value::Object(Map::new()));
            // Otherwise the attribute is there as a whole already.
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}
