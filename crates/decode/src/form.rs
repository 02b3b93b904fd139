use jiff::Timestamp;
use memchr::memmem;
use reeve_record::EventTime;

use crate::time::stamp;
use crate::{Map, Problem, Value, android, apple_text, aws_text, cef, haproxy, host_text, leef, syslog};

/// A line that is told by its own form, in whatever stream it stands.
pub(crate) struct Line<'a> {
    pub(crate) decoder: &'static str,
    pub(crate) native: Map<'a>,
    pub(crate) time: Option<EventTime>,
    pub(crate) problems: Vec<Problem>,
}

/// CEF and LEEF, alone or in a syslog message, the access and flow logs of AWS, lines of HAProxy, of Apple's systems, of Android,
/// and of programs on servers; `None` if it is none of these.
pub(crate) fn read(line: &str, received: Timestamp) -> Option<Line<'_>> {
    aws_text::read(line)
        .or_else(|| haproxy::read(line))
        .or_else(|| marked(line, received))
        .or_else(|| apple_text::read(line, received))
        .or_else(|| android::read(line, received))
        .or_else(|| host_text::read(line, received))
}

/// An event that starts with the name of its format; what syslog put before it is kept under `syslog`.
fn marked(line: &str, received: Timestamp) -> Option<Line<'_>> {
    let (at, read) = mark(line)?;
    let (before, event) = line.split_at(at);
    let mut found = read(event, received)?;
    if !before.trim_ascii().is_empty() {
        let (envelope, time) = envelope(before, received)?;
        found.native.push("syslog", envelope);
        found.time = found.time.or(time);
    }
    Some(found)
}

type Reader = fn(&str, Timestamp) -> Option<Line<'_>>;

/// Where `CEF:` or `LEEF:` with a version starts, and what reads it.
fn mark(line: &str) -> Option<(usize, Reader)> {
    let head = &line.as_bytes()[..line.len().min(ENVELOPE_MAX)];
    memmem::find_iter(head, b"EF:").find_map(|end| {
        let (len, reader) = match &head[..end] {
            [.., b'L', b'E'] => (2, leef::read as Reader),
            [.., b'C'] => (1, cef::read as Reader),
            _ => return None,
        };
        let start = end - len;
        let apart = start == 0 || !head[start - 1].is_ascii_alphanumeric();
        let version = head[end + 3..].trim_ascii_start().first().is_some_and(u8::is_ascii_digit);
        (apart && version).then_some((start, reader))
    })
}

/// What syslog wrote before an event, without a message of its own; `None` if it is not syslog's.
fn envelope(before: &str, received: Timestamp) -> Option<(Map<'_>, Option<EventTime>)> {
    if let Some(message) = syslog::read(before, received) {
        let mut native = message.native;
        native.0.retain(|(name, value)| name != "message" || value.as_str().is_some_and(|text| !text.trim_ascii().is_empty()));
        return Some((native, message.time));
    }
    // A file of rsyslog with an RFC 3339 time: the host follows, and no program.
    let found = stamp(before)?;
    let (timestamp, host) = before.split_at(found.len);
    let host = host.strip_prefix(' ')?.trim_ascii();
    if host.is_empty() || host.contains(' ') {
        return None;
    }
    let native = Map(vec![("timestamp".into(), Value::from(timestamp)), ("hostname".into(), Value::from(host))]);
    Some((native, Some(found.time)))
}

/// How far into a line an event may start, in bytes.
const ENVELOPE_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, want: Option<(&str, &str)>) {
        let found = read(line, Timestamp::UNIX_EPOCH);
        let found = found.map(|line| (line.decoder, serde_json::to_string(&line.native).expect("fields serialise")));
        assert_eq!(found, want.map(|(decoder, native)| (decoder, native.to_owned())), "{line}");
    }

    #[test]
    fn envelopes_of_syslog_stay_beside_the_event() {
        let event = r#""cefVersion":"0","deviceVendor":"V","deviceProduct":"P","deviceVersion":"1","deviceEventClassId":"7","name":"n","severity":"5","src":"192.0.2.1""#;
        for (before, envelope) in [
            ("<134>", r#"{"pri":134,"facility":"local0","severity":"info"}"#),
            ("Oct 11 22:14:15 gate ", r#"{"timestamp":"Oct 11 22:14:15","hostname":"gate"}"#),
            (
                "<134>1 2026-11-21T10:00:00Z gate fw - - - ",
                r#"{"pri":134,"facility":"local0","severity":"info","timestamp":"2026-11-21T10:00:00Z","hostname":"gate","app_name":"fw"}"#,
            ),
            ("2026-11-21T10:00:00Z gate ", r#"{"timestamp":"2026-11-21T10:00:00Z","hostname":"gate"}"#),
        ] {
            let want = format!("{{{event},\"syslog\":{envelope}}}");
            check(&format!("{before}CEF:0|V|P|1|7|n|5|src=192.0.2.1"), Some(("cef", &want)));
        }
    }

    #[test]
    fn a_name_in_the_middle_of_prose_is_no_event() {
        for line in ["we write CEF:0|a|b|c|d|e|5| to a file", "BRIEF:0|a|b|c|d|e|5|", "CEF: a standard", "CEF:0|", "LEEF:2.0|"] {
            check(line, None);
        }
    }
}
