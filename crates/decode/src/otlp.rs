//! OpenTelemetry log records: the protobuf message and its JSON form, both to the names of the JSON form.
//!
//! Message and field numbers: `opentelemetry/proto/logs/v1/logs.proto` and `common/v1/common.proto`, version 1. `AnyValue` becomes the
//! value it holds, a list of `KeyValue` a map.

use std::borrow::Cow;

use jiff::Timestamp;
use reeve_record::EventTime;

use crate::protobuf::{Field, Fields};
use crate::{Map, Value};

/// A log record taken apart.
pub(crate) struct Record<'a> {
    pub(crate) time: Option<EventTime>,
    pub(crate) native: Map<'a>,
}

/// Whether bytes begin as a record does that names its time first, or a field before which an empty time was left out.
pub(crate) fn may_be(raw: &[u8]) -> bool {
    matches!(raw.first(), Some(0x09 | 0x10 | 0x1a | 0x2a | 0x32 | 0x59)) && raw.len() > 8
}

/// Reads a message; `None` unless all of it is a record that has a time between 1990 and 2200: other bytes may be protobuf by chance.
pub(crate) fn read(raw: &[u8]) -> Option<Record<'_>> {
    let (mut native, mut attributes) = (Map::new(), Map::new());
    let (mut time, mut observed) = (None, None);
    for field in Fields::new(raw) {
        match field.ok()? {
            (1, Field::Eight(nanos)) => time = named(&mut native, "timeUnixNano", nanos)?,
            (11, Field::Eight(nanos)) => observed = named(&mut native, "observedTimeUnixNano", nanos)?,
            (2, Field::Number(number @ 0..=24)) => native.push("severityNumber", number as i64),
            (3, Field::Bytes(bytes)) => native.push("severityText", std::str::from_utf8(bytes).ok()?),
            (5, Field::Bytes(bytes)) => native.push("body", any(bytes, 0)?),
            (6, Field::Bytes(bytes)) => pair(&mut attributes, bytes, 0)?,
            (7, Field::Number(count)) => native.push("droppedAttributesCount", i64::try_from(count).ok()?),
            (8, Field::Four(flags)) => native.push("flags", i64::from(flags)),
            (9, Field::Bytes(id)) if matches!(id.len(), 0 | 16) => native.push("traceId", hex::encode(id)),
            (10, Field::Bytes(id)) if matches!(id.len(), 0 | 8) => native.push("spanId", hex::encode(id)),
            (12, Field::Bytes(bytes)) => native.push("eventName", std::str::from_utf8(bytes).ok()?),
            // Of a later version, or no log record.
            _ => return None,
        }
    }
    if !attributes.is_empty() {
        native.push("attributes", attributes);
    }
    let time = time.or(observed)?;
    Some(Record { time: Some(time), native })
}

fn named(native: &mut Map<'_>, name: &'static str, nanos: u64) -> Option<Option<EventTime>> {
    let nanos = i64::try_from(nanos).ok()?;
    if nanos == 0 {
        return Some(None);
    }
    native.push(name, nanos);
    (YEAR_1990..YEAR_2200).contains(&nanos).then(|| moment(nanos))
}

fn moment(nanos: i64) -> Option<EventTime> {
    Timestamp::from_nanosecond(i128::from(nanos)).ok().map(EventTime::exact)
}

/// An `AnyValue`.
fn any(message: &[u8], depth: usize) -> Option<Value<'_>> {
    let mut value = Value::Null;
    for field in Fields::new(message) {
        value = match field.ok()? {
            (1, Field::Bytes(text)) => Value::Str(String::from_utf8_lossy(text)),
            (2, Field::Number(number)) => Value::Bool(number != 0),
            (3, Field::Number(number)) => Value::Int(number.cast_signed()),
            (4, Field::Eight(bits)) => Value::Float(f64::from_bits(bits)),
            (7, Field::Bytes(bytes)) => Value::Str(hex::encode(bytes).into()),
            (5 | 6, Field::Bytes(_)) if depth == DEPTH_MAX => Value::Null,
            (5, Field::Bytes(list)) => {
                let items = Fields::new(list).map(|item| match item.ok()? {
                    (1, Field::Bytes(item)) => any(item, depth + 1),
                    _ => None,
                });
                Value::List(items.collect::<Option<_>>()?)
            }
            (6, Field::Bytes(list)) => {
                let mut map = Map::new();
                for item in Fields::new(list) {
                    let (1, Field::Bytes(item)) = item.ok()? else { return None };
                    pair(&mut map, item, depth + 1)?;
                }
                Value::Map(map)
            }
            _ => return None,
        };
    }
    Some(value)
}

/// A `KeyValue`.
fn pair<'a>(map: &mut Map<'a>, message: &'a [u8], depth: usize) -> Option<()> {
    let (mut name, mut value) = (Cow::Borrowed(""), Value::Null);
    for field in Fields::new(message) {
        match field.ok()? {
            (1, Field::Bytes(text)) => name = String::from_utf8_lossy(text),
            (2, Field::Bytes(inner)) => value = any(inner, depth)?,
            _ => return None,
        }
    }
    map.push(name, value);
    Some(())
}

/// Whether a JSON object is a log record: it has one of its times, and its body and attributes are wrapped as in the JSON form.
pub(crate) fn is_json(map: &Map<'_>) -> bool {
    let wrapped = |body: &Value<'_>| body.as_map().is_some_and(|map| map.is_empty() || is_any(map));
    let attributes = |list: &Value<'_>| matches!(list, Value::List(_));
    TIMES.iter().flatten().any(|name| map.get(name).is_some())
        && (map.get("body").is_some_and(wrapped) || map.get("attributes").is_some_and(attributes))
}

/// The record that a JSON object is.
pub(crate) fn of_json(map: Map<'_>) -> Record<'_> {
    let nanos = |names: &[&str]| names.iter().find_map(|name| map.get(name)?.as_i64()).filter(|nanos| *nanos != 0);
    let time = TIMES.iter().find_map(|names| nanos(names)).and_then(moment);
    let mut native = Map(Vec::with_capacity(map.len()));
    for (name, value) in map.0 {
        let value = match &*name {
            "body" => plain(value),
            "attributes" => pairs(value),
            _ => value,
        };
        native.push(name, value);
    }
    Record { time, native }
}

fn is_any(map: &Map<'_>) -> bool {
    matches!(&map.0[..], [(name, _)] if VALUES.contains(&&**name))
}

/// The value in an `AnyValue`; anything else as it is. Depth is bounded by the JSON that was read.
fn plain(value: Value<'_>) -> Value<'_> {
    let Value::Map(map) = value else { return value };
    if !is_any(&map) {
        return Value::Map(map);
    }
    let Some((name, inner)) = map.0.into_iter().next() else { return Value::Null };
    match (&*name, inner) {
        ("intValue" | "int_value", Value::Str(digits)) => digits.parse().map_or(Value::Str(digits), Value::Int),
        ("arrayValue" | "array_value", Value::Map(list)) => match list.0.into_iter().find(|(name, _)| name == "values") {
            Some((_, Value::List(items))) => Value::List(items.into_iter().map(plain).collect()),
            _ => Value::List(Vec::new()),
        },
        ("kvlistValue" | "kvlist_value", Value::Map(list)) => match list.0.into_iter().find(|(name, _)| name == "values") {
            Some((_, list)) => pairs(list),
            None => Value::Map(Map::new()),
        },
        (_, inner) => inner,
    }
}

/// The map that a list of `KeyValue` is; anything else as it is.
fn pairs(list: Value<'_>) -> Value<'_> {
    let is_pair = |item: &Value<'_>| item.as_map().is_some_and(|map| map.get("key").and_then(Value::as_str).is_some());
    let Value::List(items) = list else { return list };
    if !items.iter().all(is_pair) {
        return Value::List(items);
    }
    let mut out = Map(Vec::with_capacity(items.len()));
    for item in items {
        let Value::Map(item) = item else { continue };
        let (mut key, mut value) = (Cow::Borrowed(""), Value::Null);
        for (name, inner) in item.0 {
            match (&*name, inner) {
                ("key", Value::Str(text)) => key = text,
                ("value", inner) => value = plain(inner),
                _ => {}
            }
        }
        out.push(key, value);
    }
    Value::Map(out)
}

/// Names of the time, then of the time it was observed; of each the form in lower camel case, which is the standard's, first.
const TIMES: [[&str; 2]; 2] = [["timeUnixNano", "time_unix_nano"], ["observedTimeUnixNano", "observed_time_unix_nano"]];
const VALUES: [&str; 14] = [
    "stringValue",
    "boolValue",
    "intValue",
    "doubleValue",
    "arrayValue",
    "kvlistValue",
    "bytesValue",
    "string_value",
    "bool_value",
    "int_value",
    "double_value",
    "array_value",
    "kvlist_value",
    "bytes_value",
];
const DEPTH_MAX: usize = 100;
const YEAR_1990: i64 = 631_152_000_000_000_000;
const YEAR_2200: i64 = 7_258_118_400_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat()
    }

    fn eight(number: u8, value: u64) -> Vec<u8> {
        [&[number << 3 | 1][..], &value.to_le_bytes()].concat()
    }

    fn record() -> Vec<u8> {
        let text = |text: &str| part(1, text.as_bytes());
        let pair = |key: &str, value: &[u8]| [text(key), part(2, value)].concat();
        let list = part(5, &[part(1, &text("a")), part(1, &[0x10, 1])].concat());
        let map = part(6, &part(1, &pair("k", &[0x18, 5])));
        [
            eight(1, 1_767_604_092_123_456_789),
            vec![0x10, 9],
            part(3, b"INFO"),
            part(5, &text("user logged in")),
            part(6, &pair("list", &list)),
            part(6, &pair("map", &map)),
            part(9, &[7; 16]),
            eight(11, 1_767_604_092_200_000_000),
        ]
        .concat()
    }

    #[test]
    fn both_forms_give_the_same_fields() {
        let json = r#"{"timeUnixNano":"1767604092123456789","severityNumber":9,"severityText":"INFO","body":{"stringValue":"user logged in"},
            "traceId":"07070707070707070707070707070707","observedTimeUnixNano":"1767604092200000000",
            "attributes":[{"key":"list","value":{"arrayValue":{"values":[{"stringValue":"a"},{"boolValue":true}]}}},
            {"key":"map","value":{"kvlistValue":{"values":[{"key":"k","value":{"intValue":"5"}}]}}}]}"#;
        let raw = record();
        let of_protobuf = read(&raw).unwrap();
        let (Value::Map(map), _) = crate::json::parse(json) else { panic!("no object") };
        assert!(is_json(&map));
        let of_json = of_json(map);
        assert_eq!(of_protobuf.time, of_json.time);
        assert_eq!(of_protobuf.time.unwrap().at.to_string(), "2026-01-05T09:08:12.123456789Z");
        for name in ["severityText", "body", "attributes", "traceId"] {
            assert_eq!(of_protobuf.native.get(name), of_json.native.get(name), "{name}");
            assert!(of_json.native.get(name).is_some());
        }
    }

    #[test]
    fn what_is_no_record_is_left() {
        let whole = record();
        assert!((1..whole.len()).filter(|end| read(&whole[..*end]).is_some()).count() < 8, "cut between fields it is still one");
        for raw in [&b"\tan indented line of text"[..], b"2026-11-22 a line", b"*** starred ***", b"\t\0\0\0\0\0\0\0\0", b""] {
            assert!(read(raw).is_none(), "{raw:?}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let mut value = vec![0x10, 1];
        for _ in 0..30 {
            value = part(5, &part(1, &value));
        }
        let raw = [eight(1, 1_767_604_092_123_456_789), part(5, &value)].concat();
        assert!(read(&raw).is_some());
    }
}
