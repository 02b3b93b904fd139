//! Events of Fluent Forward in MessagePack: `[time, record]`, `[[time, metadata], record]`, or the message `[tag, time, record, option]`.
//!
//! Forward protocol v1: <https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1>; metadata as Fluent Bit 2 writes it.

use std::borrow::Cow;

use jiff::Timestamp;
use reeve_record::EventTime;

use crate::msgpack::{Item, Reader};
use crate::{Map, Problem, Value, time};

/// An event taken apart.
pub(crate) struct Event<'a> {
    pub(crate) time: Option<EventTime>,
    pub(crate) record: Map<'a>,
    pub(crate) problems: Vec<Problem>,
}

/// Whether bytes begin as an event does. No text does in UTF-8.
pub(crate) fn may_be(raw: &[u8]) -> bool {
    matches!(raw.first(), Some(0x92..=0x94))
}

/// Reads an event; `None` if the bytes are anything else, or anything follows.
pub(crate) fn read(raw: &[u8]) -> Option<Event<'_>> {
    let mut reader = Reader::new(raw);
    let Item::Array(length) = reader.item().ok()? else { return None };
    let mut problems = Vec::new();
    if length > 2 {
        let Item::Text(tag) = reader.item().ok()? else { return None };
        std::str::from_utf8(tag).ok()?;
    }
    let time = moment(&mut reader)?;
    let Value::Map(record) = value(&mut reader, 0, &mut problems)? else { return None };
    if length == 4 {
        reader.value().ok()?;
    }
    reader.rest().is_empty().then_some(Event { time, record, problems })
}

/// Seconds, or the extension of type 0 with seconds and nanoseconds; where there is metadata, the first of two. `None` if it is no time,
/// `Some(None)` if it is one that does not exist.
fn moment(reader: &mut Reader<'_>) -> Option<Option<EventTime>> {
    let mut item = reader.item().ok()?;
    let with_metadata = matches!(item, Item::Array(2));
    if with_metadata {
        item = reader.item().ok()?;
    }
    let at = match item {
        Item::Int(seconds) => Timestamp::from_second(seconds).ok(),
        Item::Float(seconds) => time::epoch_float(seconds),
        Item::Extension(0, bytes) => {
            let number = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
            let (seconds, nanos) = (number(0)?, number(4)?);
            Timestamp::new(i64::from(seconds), i32::try_from(nanos).ok()?).ok()
        }
        _ => return None,
    };
    if with_metadata {
        reader.value().ok()?;
    }
    Some(at.map(EventTime::exact))
}

/// A value with all that is in it; `None` if it is cut short.
fn value<'a>(reader: &mut Reader<'a>, depth: usize, problems: &mut Vec<Problem>) -> Option<Value<'a>> {
    if depth == DEPTH_MAX {
        reader.value().ok()?;
        let detail = "nested deeper than 100 levels; what lies below is kept as raw bytes only";
        note(problems, "msgpack.depth", detail);
        return Some(Value::Null);
    }
    Some(match reader.item().ok()? {
        Item::Nil => Value::Null,
        Item::Bool(value) => Value::Bool(value),
        Item::Int(value) => Value::Int(value),
        Item::Uint(value) => Value::Uint(value),
        Item::Float(value) => Value::Float(value),
        Item::Text(bytes) | Item::Binary(bytes) => Value::Str(text(bytes, problems)),
        Item::Extension(_, bytes) => Value::Str(hex::encode(bytes).into()),
        Item::Array(length) => {
            let mut items = Vec::with_capacity(length.min(FIELDS_FIRST));
            for _ in 0..length {
                items.push(value(reader, depth + 1, problems)?);
            }
            Value::List(items)
        }
        Item::Map(length) => {
            let mut map = Map(Vec::with_capacity(length.min(FIELDS_FIRST)));
            for _ in 0..length {
                let name = match value(reader, depth + 1, problems)? {
                    Value::Str(name) => name,
                    other => Cow::Owned(other.text().map(Cow::into_owned).unwrap_or_default()),
                };
                map.push(name, value(reader, depth + 1, problems)?);
            }
            Value::Map(map)
        }
    })
}

fn text<'a>(bytes: &'a [u8], problems: &mut Vec<Problem>) -> Cow<'a, str> {
    let text = String::from_utf8_lossy(bytes);
    if matches!(text, Cow::Owned(_)) {
        note(problems, "text.invalid_utf8", "bytes that are no UTF-8 were replaced in a text");
    }
    text
}

/// Each kind once: a record may have thousands of fields.
fn note(problems: &mut Vec<Problem>, code: &'static str, detail: &'static str) {
    if problems.iter().all(|problem| problem.code != code) {
        problems.push(Problem { code, offset: 0, detail: Cow::Borrowed(detail) });
    }
}

const DEPTH_MAX: usize = 100;
/// A map may claim four billion pairs and have none.
const FIELDS_FIRST: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(raw: &[u8]) -> Option<(String, Option<String>)> {
        let event = read(raw)?;
        let at = event.time.map(|time| time.at.to_string());
        Some((serde_json::to_string(&event.record).unwrap(), at))
    }

    #[test]
    fn each_form_of_an_event_is_read() {
        let at = Some("2026-01-05T09:07:08.123456789Z".to_owned());
        let one = b"\x92\xd7\0\x69\x5b\x7f\x3c\x07\x5b\xcd\x15\x82\xa3msg\xa3one\xa1n\xcd\x01\0".as_slice();
        assert_eq!(json(one), Some((r#"{"msg":"one","n":256}"#.into(), at.clone())));
        let with_metadata = [b"\x92\x92", &one[1..11], b"\x80\x81\xa1k\x92\xc3\xc0"].concat();
        assert_eq!(json(&with_metadata), Some((r#"{"k":[true,null]}"#.into(), at)));
        let message = b"\x93\xa3tag\xce\x69\x5b\x7f\x3c\x81\xa1k\xc4\x01v";
        assert_eq!(json(message), Some((r#"{"k":"v"}"#.into(), Some("2026-01-05T09:07:08Z".into()))));
        let with_option = b"\x94\xa3tag\xce\x69\x5b\x7f\x3c\x81\x01\xa1v\x81\xa5chunk\xa1x";
        assert_eq!(json(with_option).map(|event| event.0), Some(r#"{"1":"v"}"#.into()));
    }

    #[test]
    fn what_is_no_event_is_left() {
        for raw in [
            &b""[..],
            b"\x92",
            b"\x92\x01",
            b"\x92\x01\xa1x",
            b"\x92\xa1x\x80",
            b"\x92\x01\x80\x00",
            b"\x92\x01\xdf\xff\xff\xff\xff",
        ] {
            assert!(read(raw).is_none(), "{raw:x?}");
        }
    }

    #[test]
    fn depth_and_broken_text_are_named_once() {
        let deep = [&b"\x92\x01\x81\xa1k"[..], &[0x91; 5000], b"\xc0"].concat();
        assert_eq!(read(&deep).unwrap().problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), ["msgpack.depth"]);
        let broken = read(b"\x92\x01\x82\xa1\xff\xa1\xfe\xa1b\xa1\xfd").unwrap();
        assert_eq!(broken.problems.len(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_result(tail in proptest::collection::vec(any::<u8>(), 0..60)) {
            let raw = [&b"\x92\x01\x81\xa1k"[..], &tail].concat();
            let _ = read(&raw);
        }
    }
}
