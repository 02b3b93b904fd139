use jiff::Timestamp;
use reeve_record::EventTime;

use crate::time::{month_stamp, stamp};
use crate::{Map, Value, apple_text, programs};

/// A syslog message taken apart.
pub(crate) struct Message<'a> {
    pub(crate) decoder: &'static str,
    pub(crate) native: Map<'a>,
    pub(crate) time: Option<EventTime>,
    pub(crate) hostname: &'a str,
    pub(crate) body: &'a str,
}

/// A message of RFC 5424 or RFC 3164, from the wire (with `<PRI>`) or from a log file (without); `None` if it is neither.
pub(crate) fn read(line: &str, received: Timestamp) -> Option<Message<'_>> {
    match priority(line) {
        Some((pri, rest)) => match rest.strip_prefix("1 ") {
            Some(rest) => modern(pri, rest).or_else(|| legacy(Some(pri), rest, received)),
            None => legacy(Some(pri), rest, received),
        },
        None => legacy(None, line, received),
    }
}

/// `<PRI>` at the start, 0 to 191, and what follows.
fn priority(line: &str) -> Option<(u8, &str)> {
    let (digits, rest) = line.strip_prefix('<')?.split_at_checked(line.find('>')?.checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let pri = digits.parse::<u8>().ok().filter(|pri| *pri <= 191)?;
    Some((pri, &rest[1..]))
}

fn start(pri: Option<u8>) -> Map<'static> {
    let mut native = Map(Vec::with_capacity(11));
    if let Some(pri) = pri {
        native.push("pri", i64::from(pri));
        native.push("facility", FACILITIES[usize::from(pri >> 3)]);
        native.push("severity", SEVERITIES[usize::from(pri & 7)]);
    }
    native
}

/// RFC 5424 after `<PRI>1 `.
fn modern(pri: u8, rest: &str) -> Option<Message<'_>> {
    let mut rest = rest;
    let mut word = || {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = after;
        word
    };
    let (timestamp, hostname, app_name, procid, msgid) = (word(), word(), word(), word(), word());
    let time = if timestamp == "-" { None } else { Some(stamp(timestamp).filter(|found| found.len == timestamp.len())?.time) };
    let mut native: Map<'_> = start(Some(pri));
    let names = ["timestamp", "hostname", "app_name", "procid", "msgid"];
    for (name, value) in names.into_iter().zip([timestamp, hostname, app_name, procid, msgid]) {
        if value != "-" && !value.is_empty() {
            native.push(name, value);
        }
    }
    let (data, after) = structured_data(rest)?;
    if !data.is_empty() {
        native.push("structured_data", data);
    }
    let body = after.strip_prefix(' ').unwrap_or(after);
    let body = body.strip_prefix('\u{feff}').unwrap_or(body);
    Some(finish("syslog.5424", native, time, if hostname == "-" { "" } else { hostname }, app_name, body))
}

fn finish<'a>(
    decoder: &'static str,
    mut native: Map<'a>,
    time: Option<EventTime>,
    hostname: &'a str,
    app_name: &'a str,
    body: &'a str,
) -> Message<'a> {
    native.push("message", body);
    if let Some(parsed) = programs::parse(app_name, body) {
        native.push("parsed", parsed);
    }
    Message { decoder, native, time, hostname, body }
}

/// `-` or `[id name="value" …]…`, and what follows.
fn structured_data(text: &str) -> Option<(Map<'_>, &str)> {
    let mut data = Map::new();
    if let Some(rest) = text.strip_prefix('-') {
        return Some((data, rest));
    }
    let mut rest = text;
    while let Some(inside) = rest.strip_prefix('[') {
        let end = inside.find([' ', ']'])?;
        let (id, mut params) = inside.split_at(end);
        let mut element = Map::new();
        loop {
            params = params.trim_start_matches(' ');
            if let Some(after) = params.strip_prefix(']') {
                rest = after;
                break;
            }
            let (name, value) = params.split_once("=\"")?;
            let (value, after) = quoted(value)?;
            element.push(name, value);
            params = after;
        }
        data.push(id, element);
    }
    Some((data, rest))
}

/// The text up to an unescaped quote, with `\"`, `\\` and `\]` undone.
fn quoted(text: &str) -> Option<(Value<'_>, &str)> {
    let end = text.find(['"', '\\'])?;
    if text.as_bytes()[end] == b'"' {
        return Some((Value::from(&text[..end]), &text[end + 1..]));
    }
    let mut out = String::from(&text[..end]);
    let mut characters = text[end..].char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((Value::from(out), &text[end + at + 1..])),
            '\\' => match characters.next()?.1 {
                escaped @ ('"' | '\\' | ']') => out.push(escaped),
                other => out.extend(['\\', other]),
            },
            other => out.push(other),
        }
    }
    None
}

/// RFC 3164 and its relatives. Without a `<PRI>` the line must start with a time, and after an RFC 3339 time also name its program.
fn legacy(pri: Option<u8>, rest: &str, received: Timestamp) -> Option<Message<'_>> {
    // Cisco and others put a sequence number, `*` or `.` before the time.
    let rest = if pri.is_some() { rest.trim_start_matches(['*', '.']) } else { rest };
    let found = month_stamp(rest, received).map(|found| (found, false)).or_else(|| stamp(rest).map(|found| (found, true)));
    let Some((found, iso)) = found else {
        pri?;
        let (app_name, procid, body) = tag(rest).unwrap_or(("", "", rest));
        return Some(assemble(start(pri), None, "", "", app_name, procid, body));
    };
    let stamped = found.time;
    let (timestamp, after) = rest.split_at(found.len);
    if after.strip_prefix(':').is_some_and(|after| after.starts_with(' ')) {
        // `Mon dd hh:mm:ss: message`: no host, no program.
        return Some(assemble(start(pri), Some(found.time), timestamp, "", "", "", after[1..].trim_start_matches(' ')));
    }
    let after = after.strip_prefix(' ')?.trim_start_matches(' ');
    if let Some(found) = apple_text::leveled(after) {
        let mut native = start(pri);
        native.0.extend(apple_text::native(timestamp, &found).0);
        return Some(finish("macos.syslog", native, Some(stamped), found.hostname, found.program, found.message));
    }
    if after.starts_with("last message repeated ") || after.starts_with("--- last message repeated ") {
        return Some(assemble(start(pri), Some(found.time), timestamp, "", "", "", after));
    }
    let (hostname, message) = after.split_once(' ').unwrap_or((after, ""));
    let message = message.trim_start_matches(' ');
    let tagged = tag(message);
    if let Some(own) = host_is_tag(hostname, message) {
        let (app_name, procid) = own;
        return Some(assemble(start(pri), Some(found.time), timestamp, "", app_name, procid, message));
    }
    let (app_name, procid, body) = match tagged {
        Some(tagged) => tagged,
        None if iso && pri.is_none() => return None,
        None => match message.split_once(' ') {
            Some((word, body)) if word.bytes().all(is_tag_byte) => (word, "", body),
            _ => ("", "", message),
        },
    };
    Some(assemble(start(pri), Some(found.time), timestamp, hostname, app_name, procid, body))
}

/// Some senders leave the host out: the word in its place is then `program:` or `program[pid]:`.
fn host_is_tag<'a>(word: &'a str, message: &str) -> Option<(&'a str, &'a str)> {
    let inner = word.strip_suffix(':').filter(|_| !message.is_empty())?;
    if inner.contains(':') {
        return None;
    }
    match inner.split_once('[') {
        Some((name, pid)) => Some((name, pid.strip_suffix(']')?)),
        None => Some((inner, "")),
    }
}

/// `program:`, `program[pid]:` or `program[pid] ` at the start, and the message after it.
fn tag(text: &str) -> Option<(&str, &str, &str)> {
    let end = text.bytes().position(|byte| !is_tag_byte(byte))?;
    if end == 0 || end > 64 {
        return None;
    }
    let (name, rest) = text.split_at(end);
    let (pid, rest) = match rest.strip_prefix('[') {
        Some(inside) => {
            let close = inside.find(']').filter(|close| *close <= 32)?;
            (&inside[..close], &inside[close + 1..])
        }
        None => ("", rest),
    };
    let body = match rest.strip_prefix(':') {
        Some(body) => body,
        None if !pid.is_empty() => rest,
        None => return None,
    };
    Some((name, pid, body.strip_prefix(' ').unwrap_or(body)))
}

fn is_tag_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/' | b'.' | b'(' | b')' | b'@' | b'+' | b'%')
}

fn assemble<'a>(
    mut native: Map<'a>,
    time: Option<EventTime>,
    timestamp: &'a str,
    hostname: &'a str,
    app_name: &'a str,
    procid: &'a str,
    body: &'a str,
) -> Message<'a> {
    for (name, value) in [("timestamp", timestamp), ("hostname", hostname), ("app_name", app_name), ("procid", procid)] {
        if !value.is_empty() {
            native.push(name, value);
        }
    }
    let body = body.strip_prefix('\u{feff}').unwrap_or(body);
    finish("syslog.3164", native, time, hostname, app_name, body)
}

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit",
    "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, want: &str) {
        let received = "2026-11-21T12:00:00Z".parse().expect("a time");
        let message = read(line, received).unwrap_or_else(|| panic!("no syslog: {line}"));
        let got = serde_json::to_string(&message.native).expect("native fields serialise");
        assert_eq!(got, want, "{line}");
    }

    #[test]
    fn wire_and_file_formats() {
        check(
            "<34>Oct 11 22:14:15 mymachine app[7]: it broke",
            r#"{"pri":34,"facility":"auth","severity":"crit","timestamp":"Oct 11 22:14:15","hostname":"mymachine","app_name":"app","procid":"7","message":"it broke"}"#,
        );
        check(
            "2020-05-31T00:00:45.698463+00:00 localhost rsyslogd:  again",
            r#"{"timestamp":"2020-05-31T00:00:45.698463+00:00","hostname":"localhost","app_name":"rsyslogd","message":" again"}"#,
        );
        check(
            "<165>1 2003-10-11T22:14:15.003Z host app - ID47 [a@1 x=\"q\\\"\\]\" y=\"2\"][b] \u{feff}text",
            r#"{"pri":165,"facility":"local4","severity":"notice","timestamp":"2003-10-11T22:14:15.003Z","hostname":"host","app_name":"app","msgid":"ID47","structured_data":{"a@1":{"x":"q\"]","y":"2"},"b":{}},"message":"text"}"#,
        );
        check("<13>app: no time", r#"{"pri":13,"facility":"user","severity":"notice","app_name":"app","message":"no time"}"#);
        check(
            "<13>2026-11-21T10:00:00Z host tag without colon",
            r#"{"pri":13,"facility":"user","severity":"notice","timestamp":"2026-11-21T10:00:00Z","hostname":"host","app_name":"tag","message":"without colon"}"#,
        );
        check(
            "Mar 11 09:39:39: --- last message repeated 5 times ---",
            r#"{"timestamp":"Mar 11 09:39:39","message":"--- last message repeated 5 times ---"}"#,
        );
    }

    #[test]
    fn other_lines_are_not_syslog() {
        for line in ["2024-01-01T00:00:00Z INFO started", "<Event xmlns='x'>", "hello", "<999>x", ""] {
            assert!(read(line, Timestamp::UNIX_EPOCH).is_none(), "{line}");
        }
    }
}
