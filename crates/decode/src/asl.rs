//! The Apple System Log's data stores (`*.asl`, macOS 10.4 to 10.11, still used by some programs): messages and the texts they point to.

use std::borrow::Cow;

use jiff::Timestamp;
use reeve_record::EventTime;

use crate::bytes::{Bytes, until_nul};
use crate::{Map, Parsed, Problem, Value};

/// What a file starts with.
pub(crate) const MAGIC: &[u8] = b"ASL DB\0\0";

const HEADER: usize = 80;
/// Bytes of a message without further names and values.
const FIXED: usize = 116;
/// The levels of syslog(3).
const LEVELS: [&str; 8] = ["Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Info", "Debug"];

/// Reads the messages of a store, the oldest first, each a part of the record.
pub(crate) fn feed(key: u64, number: u64, raw: &[u8], emit: &mut dyn FnMut(Parsed<'_>)) {
    let event = |part, native, time, problems, raw| Parsed {
        records: vec![key],
        part,
        number,
        raw: Cow::Borrowed(raw),
        decoder: "macos.asl",
        native,
        time,
        head: None,
        problems,
    };
    let Some(mut next) = first(raw) else {
        return emit(event(0, Map::new(), None, vec![problem("asl.header", 0, "the file's header is cut off")], raw));
    };
    let (mut part, mut last) = (0, 0);
    while next != 0 {
        let found = usize::try_from(next).ok().filter(|at| *at > last).and_then(|at| Some((at, message(raw, at)?)));
        let Some((at, message)) = found else {
            let detail = "a message lies outside of what is there, or before the one that names it; the chain was left here";
            return emit(event(part, Map::new(), None, vec![problem("asl.chain", next, detail)], raw));
        };
        last = at;
        next = message.next;
        emit(event(part, message.native, message.time, message.problems, message.raw));
        part += 1;
    }
}

/// Where the oldest message is; 0 if there is none.
fn first(raw: &[u8]) -> Option<u64> {
    raw.get(..HEADER)?;
    Bytes::from(raw, 16)?.be64()
}

struct Message<'a> {
    next: u64,
    native: Map<'a>,
    time: Option<EventTime>,
    problems: Vec<Problem>,
    raw: &'a [u8],
}

fn message(raw: &[u8], at: usize) -> Option<Message<'_>> {
    let mut bytes = Bytes::from(raw, at)?;
    bytes.take(2)?;
    let len = bytes.be32()? as usize;
    let own = raw.get(at..at.checked_add(6)?.checked_add(len)?)?;
    if len < FIXED {
        return None;
    }
    let (next, id) = (bytes.be64()?, bytes.be64()?);
    let (seconds, nanos) = (bytes.be64()?, bytes.be32()?);
    let (level, _flags) = (bytes.be16()?, bytes.be16()?);
    let mut native = Map(Vec::with_capacity(18));
    native.push("ASLMessageID", Value::Uint(id));
    native.push("Level", i64::from(level));
    if let Some(name) = LEVELS.get(usize::from(level)) {
        native.push("LevelString", *name);
    }
    for name in ["PID", "UID", "GID", "ReadUID", "ReadGID", "RefPID"] {
        native.push(name, i64::from(bytes.be32()?.cast_signed()));
    }
    let pairs = bytes.be32()? as usize / 2;
    let mut problems = Vec::new();
    let mut text = |place: u64| {
        let found = text(raw, place);
        if found.is_none() && problems.is_empty() {
            problems.push(problem("asl.text", place, "a text lies outside of what is there"));
        }
        found.unwrap_or_default()
    };
    for name in ["Host", "Sender", "Facility", "Message", "RefProc", "Session"] {
        let found = text(bytes.be64()?);
        if !found.is_empty() {
            native.push(name, found);
        }
    }
    // Further names and values, as many as fit before the place of the message before.
    for _ in 0..pairs.min((len - FIXED) / 16) {
        let (name, value) = (text(bytes.be64()?), text(bytes.be64()?));
        native.0.push((name, Value::Str(value)));
    }
    let time = i64::try_from(seconds).ok().zip(i32::try_from(nanos).ok());
    let time = time.and_then(|(seconds, nanos)| Timestamp::new(seconds, nanos).ok()).map(EventTime::exact);
    Some(Message { next, native, time, problems, raw: own })
}

/// The text at a place: eight bytes that hold it if their first bit is set, else where it is in the file. 0 is none.
fn text(raw: &[u8], place: u64) -> Option<Cow<'_, str>> {
    let inline = place.to_be_bytes();
    if inline[0] & 0x80 != 0 {
        let len = usize::from(inline[0] & 0x7F).min(7);
        return Some(Cow::Owned(String::from_utf8_lossy(&inline[1..=len]).into_owned()));
    }
    if place == 0 {
        return Some(Cow::Borrowed(""));
    }
    let mut bytes = Bytes::from(raw, usize::try_from(place).ok()?)?;
    bytes.take(2)?;
    let len = bytes.be32()? as usize;
    Some(String::from_utf8_lossy(until_nul(bytes.take(len)?)))
}

fn problem(code: &'static str, offset: u64, detail: &'static str) -> Problem {
    Problem { code, offset, detail: Cow::Borrowed(detail) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store of one message, with one text of its own and one in its place.
    fn store() -> Vec<u8> {
        let mut raw = MAGIC.to_vec();
        raw.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 2]);
        raw.extend_from_slice(&92u64.to_be_bytes());
        raw.resize(HEADER, 0);
        raw.extend_from_slice(b"\x00\x01\x00\x00\x00\x06no key");
        raw.extend_from_slice(&[0, 0]);
        raw.extend_from_slice(&((FIXED + 16) as u32).to_be_bytes());
        for number in [0u64, 7, 1_795_168_800] {
            raw.extend_from_slice(&number.to_be_bytes());
        }
        raw.extend_from_slice(&5u32.to_be_bytes());
        raw.extend_from_slice(&[0, 3, 0, 0]);
        for number in [311u32, 501, 20, u32::MAX, u32::MAX, 0, 2] {
            raw.extend_from_slice(&number.to_be_bytes());
        }
        let inline = u64::from_be_bytes(*b"\x84door\0\0\0");
        for place in [0, inline, 0, 80, 0, 0, inline, inline, 0] {
            raw.extend_from_slice(&place.to_be_bytes());
        }
        raw
    }

    fn read(raw: &[u8]) -> Vec<(String, Vec<&'static str>)> {
        let mut seen = Vec::new();
        feed(1, 1, raw, &mut |parsed| {
            let native = serde_json::to_string(&parsed.native).expect("fields serialise");
            seen.push((native, parsed.problems.iter().map(|problem| problem.code).collect()));
        });
        seen
    }

    #[test]
    fn a_message() {
        let want = r#"{"ASLMessageID":7,"Level":3,"LevelString":"Error","PID":311,"UID":501,"GID":20,"ReadUID":-1,"ReadGID":-1,"RefPID":0,"Sender":"door","Message":"no key","door":"door"}"#;
        assert_eq!(read(&store()), [(want.to_owned(), vec![])]);
    }

    #[test]
    fn chains_that_go_nowhere_end() {
        let mut circle = store();
        circle[98..106].copy_from_slice(&92u64.to_be_bytes());
        assert_eq!(read(&circle).last().expect("an event").1, ["asl.chain"]);
        assert_eq!(read(&store()[..200])[0].1, ["asl.chain"]);
        assert_eq!(read(MAGIC)[0].1, ["asl.header"]);
        let mut nowhere = store();
        let at = nowhere.len() - 6 * 8;
        nowhere[at..at + 8].copy_from_slice(&u64::from(u32::MAX).to_be_bytes());
        assert_eq!(read(&nowhere)[0].1, ["asl.text"]);
    }
}
