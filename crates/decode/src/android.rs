//! What Android writes as text: logcat, tombstones of crashed programs, and the history of the battery's use.

use jiff::Timestamp;
use reeve_record::EventTime;

use crate::form::Line;
use crate::time::{day_stamp, stamp};
use crate::{Map, Value};

/// The first line of a tombstone.
pub(crate) const TOMBSTONE: &[u8] = b"*** *** *** *** *** *** *** *** *** *** *** *** *** *** *** ***";

/// A line of logcat in one of its formats; `None` if it is none.
pub(crate) fn read(line: &str, received: Timestamp) -> Option<Line<'_>> {
    match line.as_bytes() {
        [b'0'..=b'9', ..] => logcat(line, received),
        [b'V' | b'D' | b'I' | b'W' | b'E' | b'F' | b'A', b'/', ..] => brief(line),
        [b'-', b'-', b'-', ..] => divider(line),
        _ => None,
    }
}

fn told(native: Map<'_>, time: Option<EventTime>) -> Line<'_> {
    Line { decoder: "android.logcat", native, time, problems: Vec::new() }
}

/// A line that starts with a time: the formats `time` and `threadtime`, with and without year, zone and user.
fn logcat(line: &str, received: Timestamp) -> Option<Line<'_>> {
    let found = day_stamp(line, received).or_else(|| stamp(line))?;
    let (timestamp, rest) = line.split_at(found.len);
    // It always writes milliseconds at least; many other lines start with a time and some numbers.
    let rest = rest.strip_prefix(' ').filter(|_| timestamp.contains('.'))?.trim_start_matches(' ');
    let mut native = Map(Vec::with_capacity(8));
    native.push("timestamp", timestamp);
    if rest.as_bytes().get(1) == Some(&b'/') {
        with_tag(rest, &mut native)?
    } else {
        with_columns(rest, &mut native)?
    }
    Some(told(native, Some(found.time)))
}

/// `[UID] PID TID P TAG: message`
fn with_columns<'a>(rest: &'a str, native: &mut Map<'a>) -> Option<()> {
    let (mut words, mut rest) = (Vec::with_capacity(3), rest);
    let priority = loop {
        let (word, after) = rest.split_once(' ')?;
        rest = after.trim_start_matches(' ');
        if words.len() >= 2 && is_priority(word) {
            break word;
        }
        if words.len() == 3 {
            return None;
        }
        words.push(word);
    };
    let [.., pid, tid] = words[..] else { return None };
    if let [uid, _, _] = words[..] {
        native.push("uid", uid.parse::<i64>().map_or_else(|_| Value::from(uid), Value::Int));
    }
    native.push("pid", pid.parse::<i64>().ok()?);
    native.push("tid", tid.parse::<i64>().ok()?);
    native.push("priority", priority);
    let (tag, message) = rest.split_once(": ").or_else(|| rest.strip_suffix(':').map(|tag| (tag, "")))?;
    native.push("tag", tag.trim_end());
    native.push("message", message);
    Some(())
}

/// `P/TAG( PID[: TID]): message`
fn with_tag<'a>(rest: &'a str, native: &mut Map<'a>) -> Option<()> {
    let (head, message) = rest.split_once("): ").or_else(|| rest.strip_suffix("):").map(|head| (head, "")))?;
    let (head, ids) = head.rsplit_once('(')?;
    let (priority, tag) = head.split_once('/').filter(|(priority, _)| is_priority(priority))?;
    let (pid, tid) = ids.split_once(':').unwrap_or((ids, ""));
    native.push("pid", pid.trim().parse::<i64>().ok()?);
    if !tid.is_empty() {
        native.push("tid", tid.trim().parse::<i64>().ok()?);
    }
    native.push("priority", priority);
    native.push("tag", tag.trim_end());
    native.push("message", message);
    Some(())
}

fn brief(line: &str) -> Option<Line<'_>> {
    let mut native = Map(Vec::with_capacity(6));
    with_tag(line, &mut native)?;
    Some(told(native, None))
}

/// `--------- beginning of main`
fn divider(line: &str) -> Option<Line<'_>> {
    let rest = line.trim_start_matches('-');
    let buffer = rest.strip_prefix(" beginning of ").or_else(|| rest.strip_prefix(" switch to "))?;
    if line.len() - rest.len() != 9 || buffer.is_empty() || buffer.contains(' ') {
        return None;
    }
    let mut native = Map::new();
    native.push("buffer", buffer);
    native.push("message", line);
    Some(told(native, None))
}

fn is_priority(word: &str) -> bool {
    matches!(word, "V" | "D" | "I" | "W" | "E" | "F" | "A" | "S")
}

/// How many bytes the tombstone at the start takes: up to the next one; `None` while its end is not in sight.
pub(crate) fn tombstone_extent(raw: &[u8]) -> Option<usize> {
    memchr::memmem::find(raw.get(TOMBSTONE.len()..)?, TOMBSTONE).map(|at| at + TOMBSTONE.len())
}

/// A tombstone: what crashed, why, and where. `None` if the text is none.
pub(crate) fn tombstone(text: &str) -> Option<Line<'_>> {
    if !text.as_bytes().starts_with(TOMBSTONE) {
        return None;
    }
    let mut native = Map(Vec::with_capacity(18));
    let (mut time, mut frames, mut in_backtrace) = (None, Vec::new(), false);
    for line in text.lines().skip(1) {
        let line = line.trim();
        if in_backtrace && line.starts_with('#') && frames.len() < FRAMES_MAX {
            frames.push(Value::from(line));
        }
        in_backtrace = line == "backtrace:" || (in_backtrace && !line.is_empty());
        if line.starts_with("pid: ") {
            process(line, &mut native);
        } else if line.starts_with("signal ") {
            signal(line, &mut native);
        } else if let Some((name, value)) = line.split_once(": ")
            && let Some((_, field)) = NAMES.iter().find(|(known, _)| *known == name)
            && native.get(field).is_none()
        {
            native.push(*field, value.trim_matches('\''));
        }
        // Other threads follow the one that crashed.
        if line.starts_with("--- ---") {
            break;
        }
    }
    if let Some(text) = native.get("timestamp").and_then(Value::as_str) {
        time = stamp(text).map(|found| found.time);
    }
    if !frames.is_empty() {
        native.push("backtrace", Value::List(frames));
    }
    (native.len() > 1).then_some(Line { decoder: "android.tombstone", native, time, problems: Vec::new() })
}

/// `pid: 9, tid: 10, name: worker  >>> /system/bin/doord <<<`
fn process<'a>(line: &'a str, native: &mut Map<'a>) {
    let (ids, program) = line.split_once(">>> ").unwrap_or((line, ""));
    for (name, value) in ids.split(", ").filter_map(|part| part.split_once(": ")) {
        let value = value.trim();
        match name {
            "pid" | "tid" => {
                native.push(if name == "pid" { "pid" } else { "tid" }, value.parse().map_or(Value::from(value), Value::Int))
            }
            "name" => native.push("thread", value),
            _ => {}
        }
    }
    if let Some(program) = program.strip_suffix(" <<<") {
        native.push("process", program);
    }
}

/// `signal 11 (SIGSEGV), code 1 (SEGV_MAPERR), fault addr 0x0`
fn signal<'a>(line: &'a str, native: &mut Map<'a>) {
    for part in line.split(", ") {
        let (name, value) = match part.strip_prefix("fault addr ") {
            Some(address) => ("fault_addr", address),
            None => match part.split_once(' ') {
                Some(("signal", value)) => ("signal", value),
                Some(("code", value)) => ("code", value),
                _ => continue,
            },
        };
        native.push(name, value);
    }
}

const NAMES: [(&str, &str); 8] = [
    ("Build fingerprint", "build_fingerprint"),
    ("Revision", "revision"),
    ("ABI", "abi"),
    ("Timestamp", "timestamp"),
    ("uid", "uid"),
    ("Cmdline", "cmdline"),
    ("Abort message", "abort_message"),
    ("Process uptime", "process_uptime"),
];
const FRAMES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, want: Option<&str>) {
        let received = "2026-11-21T12:00:00Z".parse().expect("a time");
        let found = read(line, received).map(|line| serde_json::to_string(&line.native).expect("fields serialise"));
        assert_eq!(found.as_deref(), want, "{line}");
    }

    #[test]
    fn the_formats_of_logcat() {
        check(
            "11-20 10:00:00.123  1234  1240 W DoorService: no key: 7",
            Some(
                r#"{"timestamp":"11-20 10:00:00.123","pid":1234,"tid":1240,"priority":"W","tag":"DoorService","message":"no key: 7"}"#,
            ),
        );
        check(
            "2026-11-20 10:00:00.123456 +0100 u0_a12  1234  1240 E Door  : no key",
            Some(
                r#"{"timestamp":"2026-11-20 10:00:00.123456 +0100","uid":"u0_a12","pid":1234,"tid":1240,"priority":"E","tag":"Door","message":"no key"}"#,
            ),
        );
        check(
            "11-20 10:00:00.123 I/Door    ( 1234: 1240): open",
            Some(r#"{"timestamp":"11-20 10:00:00.123","pid":1234,"tid":1240,"priority":"I","tag":"Door","message":"open"}"#),
        );
        check("D/Door ( 12): shut", Some(r#"{"pid":12,"priority":"D","tag":"Door","message":"shut"}"#));
        check("--------- beginning of main", Some(r#"{"buffer":"main","message":"--------- beginning of main"}"#));
        for other in [
            "2026-11-20 10:00:00.123 INFO started the door",
            "11-20 10:00:00 open",
            "D/Door opened",
            "--- a title ---",
            "2026-11-20 10:00:00.123 UTC [31] LOG: ready",
            "11-20 10:00:00.123 1 2 3 4 5",
        ] {
            check(other, None);
        }
    }

    #[test]
    fn a_tombstone() {
        let text = format!(
            "{}\nBuild fingerprint: 'maker/phone/1'\nTimestamp: 2026-11-20 10:00:00+0100\npid: 9, tid: 10, name: worker  >>> /system/bin/doord <<<\nuid: 1000\nsignal 11 (SIGSEGV), code 1 (SEGV_MAPERR), fault addr 0x0\n    x0 00\n\nbacktrace:\n      #00 pc 1 /lib/libc.so\n\n",
            std::str::from_utf8(TOMBSTONE).expect("text")
        );
        let found = tombstone(&text).expect("a tombstone");
        let want = r##"{"build_fingerprint":"maker/phone/1","timestamp":"2026-11-20 10:00:00+0100","pid":9,"tid":10,"thread":"worker","process":"/system/bin/doord","uid":"1000","signal":"11 (SIGSEGV)","code":"1 (SEGV_MAPERR)","fault_addr":"0x0","backtrace":["#00 pc 1 /lib/libc.so"]}"##;
        assert_eq!(serde_json::to_string(&found.native).expect("fields serialise"), want);
        assert_eq!(found.time.map(|time| time.at.to_string()).as_deref(), Some("2026-11-20T09:00:00Z"));
        assert!(tombstone("*** *** and no more").is_none());
    }
}
