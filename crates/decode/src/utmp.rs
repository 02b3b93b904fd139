//! Login records of Linux: `utmp`, `wtmp` and `btmp` as glibc writes them on x86-64 (utmp(5)), 384 bytes each.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use reeve_record::EventTime;

use crate::{Map, Problem, Value};

/// Bytes of one record.
pub(crate) const RECORD: usize = 384;

/// Whether a file starts with login records: they have no magic number, so its first ones must make sense in every field.
pub(crate) fn is_file(head: &[u8]) -> bool {
    let records = || head.chunks_exact(RECORD).take(LOOK);
    records().next().is_some() && records().all(is_plausible) && records().any(|record| kind(record) > 0 && seconds(record) > 0)
}

/// What a record says; `None` if the bytes are no login record.
///
/// Fields: `type pid line id user host exit session time address`, absent where the record holds nothing. Problems name text that is not
/// UTF-8.
pub(crate) fn read(raw: &[u8]) -> Option<(Map<'_>, Option<EventTime>, Vec<Problem>)> {
    if raw.len() != RECORD || !is_plausible(raw) {
        return None;
    }
    let mut problems = Vec::new();
    let mut native = Map(Vec::with_capacity(12));
    native.push("type", *KINDS.get(usize::try_from(kind(raw)).ok()?)?);
    native.push("pid", i64::from(whole(raw, PID)));
    for (name, at, len) in [("line", LINE, 32), ("id", ID, 4), ("user", USER, 32), ("host", HOST, 256)] {
        let bytes = text(&raw[at..at + len]);
        if std::str::from_utf8(bytes).is_err() {
            let detail =
                Cow::Owned(format!("`{name}` is not valid UTF-8; replaced by U+FFFD in the text, kept in the raw bytes"));
            problems.push(Problem { code: "text.invalid_utf8", offset: at as u64, detail });
        }
        if !bytes.is_empty() {
            native.push(name, String::from_utf8_lossy(bytes));
        }
    }
    let exit = |at: usize| i64::from(i16::from_le_bytes([raw[at], raw[at + 1]]));
    if (exit(EXIT), exit(EXIT + 2)) != (0, 0) {
        let mut status = Map::new();
        status.push("termination", exit(EXIT));
        status.push("status", exit(EXIT + 2));
        native.push("exit", status);
    }
    native.push("session", i64::from(whole(raw, SESSION)));
    let at = Timestamp::new(seconds(raw), whole(raw, MICROS) * 1000).ok().filter(|at| at.as_second() > 0);
    if let Some(at) = at {
        native.push("time", at.to_string());
    }
    if let Some(address) = address(raw) {
        native.push("address", address);
    }
    Some((native, at.map(EventTime::exact), problems))
}

/// Who is logged in on which line: the record of a logout names the line only.
#[derive(Default)]
pub(crate) struct Sessions(HashMap<String, String>);

impl Sessions {
    /// Takes in a record; to one that ends a session it adds `login_user`, who had begun it on that line.
    pub(crate) fn follow(&mut self, native: &mut Map<'_>) {
        let text = |name: &str| native.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, line, user) = (text("type"), text("line"), text("user"));
        match kind.as_str() {
            "BOOT_TIME" => self.0.clear(),
            "USER_PROCESS" if self.0.len() < LINES_MAX => drop(self.0.insert(line, user)),
            "DEAD_PROCESS" if user.is_empty() => {
                if let Some(user) = self.0.remove(&line) {
                    native.push("login_user", user);
                }
            }
            _ => {}
        }
    }
}

/// The other end of the session: IPv4 in the first four bytes, else IPv6.
fn address(raw: &[u8]) -> Option<String> {
    let bytes: [u8; 16] = raw.get(ADDRESS..ADDRESS + 16)?.try_into().ok()?;
    let [a, b, c, d, rest @ ..] = bytes;
    if bytes == [0; 16] {
        return None;
    }
    Some(if rest == [0; 12] { Ipv4Addr::new(a, b, c, d).to_string() } else { Ipv6Addr::from(bytes).to_string() })
}

fn is_plausible(record: &[u8]) -> bool {
    let named = [(LINE, 32), (ID, 4), (USER, 32), (HOST, 256)];
    // The id of a line may be any four bytes; names hold no control characters.
    let text_like = |(at, len): (usize, usize)| at == ID || text(&record[at..at + len]).iter().all(|byte| *byte >= 0x20);
    (0..KINDS.len() as i64).contains(&i64::from(kind(record)))
        && record[2..4] == [0, 0]
        && whole(record, PID) >= 0
        && (0..1_000_000).contains(&whole(record, MICROS))
        && (seconds(record) == 0 || TIMES.contains(&seconds(record)))
        && record[UNUSED..RECORD].iter().all(|byte| *byte == 0)
        && named.into_iter().all(text_like)
}

/// The bytes before the first NUL.
fn text(field: &[u8]) -> &[u8] {
    memchr::memchr(0, field).map_or(field, |end| &field[..end])
}

fn kind(record: &[u8]) -> i16 {
    i16::from_le_bytes([record[0], record[1]])
}

fn seconds(record: &[u8]) -> i64 {
    i64::from(whole(record, SECONDS))
}

fn whole(record: &[u8], at: usize) -> i32 {
    i32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
}

/// Records at the start of a file that are looked at.
const LOOK: usize = 10;
/// Lines whose users are remembered.
const LINES_MAX: usize = 4096;
/// Times that a record may have, in seconds: 1990 to 2038, where its 32 bits end.
const TIMES: std::ops::Range<i64> = 631_152_000..2_147_483_648;

const KINDS: [&str; 10] = [
    "EMPTY",
    "RUN_LVL",
    "BOOT_TIME",
    "NEW_TIME",
    "OLD_TIME",
    "INIT_PROCESS",
    "LOGIN_PROCESS",
    "USER_PROCESS",
    "DEAD_PROCESS",
    "ACCOUNTING",
];

const PID: usize = 4;
const LINE: usize = 8;
const ID: usize = 40;
const USER: usize = 44;
const HOST: usize = 76;
const EXIT: usize = 332;
const SESSION: usize = 336;
const SECONDS: usize = 340;
const MICROS: usize = 344;
const ADDRESS: usize = 348;
const UNUSED: usize = 364;

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> [u8; RECORD] {
        let mut record = [0; RECORD];
        record[0] = 7;
        record[PID..PID + 2].copy_from_slice(&4660u16.to_le_bytes());
        record[LINE..LINE + 5].copy_from_slice(b"pts/0");
        record[USER..USER + 4].copy_from_slice(b"mara");
        record[HOST..HOST + 9].copy_from_slice(b"192.0.2.7");
        record[SECONDS..SECONDS + 4].copy_from_slice(&1_763_632_800i32.to_le_bytes());
        record[ADDRESS..ADDRESS + 4].copy_from_slice(&[192, 0, 2, 7]);
        record
    }

    #[test]
    fn a_login() {
        let record = record();
        let (native, time, problems) = read(&record).expect("a record");
        let want = r#"{"type":"USER_PROCESS","pid":4660,"line":"pts/0","user":"mara","host":"192.0.2.7","session":0,"time":"2025-11-20T10:00:00Z","address":"192.0.2.7"}"#;
        assert_eq!(serde_json::to_string(&native).expect("fields serialise"), want);
        assert_eq!((time.map(|time| time.at.as_second()), problems), (Some(1_763_632_800), vec![]));
    }

    #[test]
    fn other_bytes_are_none() {
        assert!(is_file(&record()));
        assert!(!is_file(&[0; RECORD]));
        assert!(!is_file(&[b'x'; RECORD]));
        assert!(!is_file(&record()[..RECORD - 1]));
        for (at, byte) in [(0, 10), (2, 1), (USER, 7), (MICROS + 3, 0x40), (UNUSED, 1), (SECONDS + 3, 1)] {
            let mut broken = record();
            broken[at] = byte;
            assert!(!is_file(&broken), "byte {at} set to {byte}");
        }
    }
}
