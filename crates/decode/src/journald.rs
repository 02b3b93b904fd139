use std::borrow::Cow;

use jiff::Timestamp;
use memchr::memchr;
use reeve_record::EventTime;

use crate::decoder::{self, Record};
use crate::family::Family;
use crate::{Map, Parsed, Problem, Value, programs, winxml};

/// Whether a record is an entry of the journal's export format.
pub(crate) fn is_entry(text: &str) -> bool {
    text.starts_with("__CURSOR=")
        || text.starts_with("__REALTIME_TIMESTAMP=")
        || (text.starts_with('_') && text.contains("\n__REALTIME_TIMESTAMP="))
}

/// The length of the entry at the start of `bytes` and of the entry with the blank lines behind it; `None` if its end is not there.
pub(crate) fn extent(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    loop {
        match field(&bytes[at..])? {
            Field::End => {
                let blank = bytes[at..].iter().take_while(|byte| **byte == b'\n').count();
                // A blank line in front of the first field belongs to what came before.
                return Some((at.max(1).min(bytes.len()), (at + blank).max(1)));
            }
            Field::Text { len, .. } | Field::Binary { len, .. } => at += len,
        }
    }
}

enum Field<'a> {
    End,
    Text { name: &'a [u8], value: &'a [u8], len: usize },
    Binary { name: &'a [u8], value: &'a [u8], len: usize },
}

/// The field at the start of `bytes`: `NAME=value\n`, or `NAME\n`, a little-endian length of 64 bits, that many bytes and `\n`.
fn field(bytes: &[u8]) -> Option<Field<'_>> {
    let line = &bytes[..memchr(b'\n', bytes)?];
    if line.is_empty() {
        return Some(Field::End);
    }
    if let Some(equals) = memchr(b'=', line) {
        return Some(Field::Text { name: &line[..equals], value: &line[equals + 1..], len: line.len() + 1 });
    }
    let start = line.len() + 1;
    let mut size = [0u8; 8];
    size.copy_from_slice(bytes.get(start..start + 8)?);
    let size = usize::try_from(u64::from_le_bytes(size)).ok()?;
    let end = start.checked_add(8)?.checked_add(size)?;
    let value = bytes.get(start + 8..end)?;
    (bytes.get(end) == Some(&b'\n')).then_some(Field::Binary { name: line, value, len: end + 1 })
}

/// Reads one entry.
pub(crate) fn feed(mut record: Record<'_>, emit: &mut dyn FnMut(Parsed<'_>)) {
    // Binary fields are not text: what the text reader found wrong in them is not a problem of the entry.
    record.problems.clear();
    let raw = record.raw;
    let mut native = Map(Vec::with_capacity(32));
    let mut at = 0;
    while at < raw.len() {
        match field(&raw[at..]) {
            Some(Field::Text { name, value, len } | Field::Binary { name, value, len }) => {
                native.0.push((String::from_utf8_lossy(name), Value::Str(String::from_utf8_lossy(value))));
                at += len;
            }
            Some(Field::End) => at += 1,
            None => {
                // The last line of the input may lack its newline.
                let rest = raw[at..].strip_suffix(b"\n").unwrap_or(&raw[at..]);
                match memchr(b'=', rest) {
                    Some(equals) if memchr(b'\n', rest).is_none() => {
                        let (name, value) =
                            (String::from_utf8_lossy(&rest[..equals]), String::from_utf8_lossy(&rest[equals + 1..]));
                        native.0.push((name, Value::Str(value)));
                    }
                    _ => record.problems.push(Problem {
                        code: "journald.field_truncated",
                        offset: at as u64,
                        detail: Cow::Borrowed("the entry ends inside a field"),
                    }),
                }
                break;
            }
        }
    }
    let micros = native.get("__REALTIME_TIMESTAMP").and_then(Value::as_i64);
    let time = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok()).map(EventTime::exact);
    let family = Family { decoder: "journald", head: None, time };
    emit(decoder::finish(record, native, family));
}

/// The Windows event that an entry carries whole, as Sysmon for Linux writes them, with the rest of the entry under `journald`.
pub(crate) fn carried(native: &Map<'_>) -> Option<Map<'static>> {
    let text = native.get("MESSAGE")?.as_str().filter(|text| winxml::may_be(text))?;
    let mut event = winxml::read(text).next()?.native.into_owned();
    let rest = native.0.iter().filter(|(name, _)| name != "MESSAGE").cloned().collect();
    event.push("journald", Map(rest).into_owned());
    Some(event)
}

/// Adds what a well-known program writes into its message as `parsed`, as for a syslog line.
pub(crate) fn read_message(native: &mut Map<'_>) {
    let program = ["SYSLOG_IDENTIFIER", "_COMM"].into_iter().find_map(|name| native.get(name)?.as_str()).unwrap_or_default();
    let parsed = match native.get("MESSAGE") {
        Some(Value::Str(Cow::Borrowed(message))) => programs::parse(program, message),
        Some(Value::Str(Cow::Owned(message))) => programs::parse(program, message).map(Map::into_owned),
        _ => None,
    };
    if let Some(parsed) = parsed {
        native.push("parsed", parsed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_fields_may_hold_anything() {
        let mut entry = b"__REALTIME_TIMESTAMP=1500000000000000\nMESSAGE\n".to_vec();
        entry.extend_from_slice(&5u64.to_le_bytes());
        entry.extend_from_slice(b"a\n\nb=\n_PID=1\n");
        let mut stream = entry.clone();
        stream.extend_from_slice(b"\n__CURSOR=x\n");
        assert_eq!(extent(&stream), Some((entry.len(), entry.len() + 1)));
        assert_eq!(extent(&stream[..20]), None);
        let record = Record { key: 1, number: 1, raw: &entry, received: Timestamp::UNIX_EPOCH, problems: Vec::new() };
        let mut seen = 0;
        feed(record, &mut |parsed| {
            seen += 1;
            assert_eq!(parsed.native.get("MESSAGE").and_then(Value::as_str), Some("a\n\nb="));
            assert_eq!(parsed.native.get("_PID").and_then(Value::as_str), Some("1"));
            assert_eq!(parsed.problems, []);
        });
        assert_eq!(seen, 1);
    }
}
