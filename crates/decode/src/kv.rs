use std::borrow::Cow;

use jiff::Timestamp;

use crate::form::Line;
use crate::{Map, rowtime};

/// A line that is nothing but `key=value` pairs parted by blanks, four at least: logfmt, and what firewalls write. Values are bare or in
/// quotes with `\"` and `\\`. `None` if anything else stands in the line.
pub(crate) fn read(line: &str, received: Timestamp) -> Option<Line<'_>> {
    let mut native = Map(Vec::with_capacity(16));
    let mut rest = line;
    while !rest.is_empty() {
        let end = rest.bytes().position(|byte| !is_key_byte(byte)).filter(|end| *end > 0)?;
        let (key, written) = rest.split_at(end);
        let (value, after) = value(written.strip_prefix('=')?)?;
        native.push(key, value);
        rest = after.trim_start_matches(' ');
    }
    if native.len() < PAIRS_MIN {
        return None;
    }
    let mut problems = Vec::new();
    let time = rowtime::of_row(&native, received, &mut problems);
    Some(Line { decoder: "kv", native, time, problems })
}

/// The value at the start, and what follows it: nothing, or a blank and more.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(inside) = text.strip_prefix('"') else {
        let (bare, after) = text.split_once(' ').unwrap_or((text, ""));
        return (!bare.contains('"')).then_some((Cow::Borrowed(bare), after));
    };
    let end = closing(inside)?;
    let (inner, after) = (&inside[..end], &inside[end + 1..]);
    let after = if after.is_empty() { after } else { after.strip_prefix(' ')? };
    let inner = if inner.contains('\\') { Cow::Owned(unescape(inner)) } else { Cow::Borrowed(inner) };
    Some((inner, after))
}

/// Where the quote is that no backslash takes its meaning from.
fn closing(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// `\"`, `\\`, `\n` and `\t` undone; other backslashes stay, as in paths of Windows.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some(meant @ ('"' | '\\')) => out.push(meant),
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'@' | b'/')
}

/// Fewer pairs may be a sentence with an example in it.
const PAIRS_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn native(line: &str) -> Option<String> {
        read(line, Timestamp::UNIX_EPOCH).map(|line| serde_json::to_string(&line.native).expect("fields serialise"))
    }

    #[test]
    fn logfmt_and_firewalls() {
        let want = r#"{"time":"2026-11-20T10:00:00Z","level":"info","msg":"it \"works\"","n":"3","empty":""}"#;
        assert_eq!(native(r#"time=2026-11-20T10:00:00Z level=info msg="it \"works\"" n=3 empty="#).as_deref(), Some(want));
        let line = r#"date=2026-11-20 time=10:00:00 tz="+0200" devname="gate" srcip=192.0.2.1"#;
        let time = read(line, Timestamp::UNIX_EPOCH).and_then(|line| line.time).expect("a time");
        assert_eq!(time, reeve_record::EventTime::exact("2026-11-20T08:00:00Z".parse().expect("a time")));
    }

    #[test]
    fn a_line_with_anything_else_is_none() {
        for line in [
            "a=1 b=2 c=3",
            "a=1 b=2 c=3 d",
            "set a=1 b=2 c=3 d=4",
            r#"a=1 b=2 c=3 d="open"#,
            r#"a=1 b=2 c=3 d="x"y"#,
            "=1 b=2 c=3 d=4",
            "a=1, b=2; c=3 d=4 and so on",
            "IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.2 DF PROTO=TCP",
        ] {
            assert_eq!(native(line), None, "{line}");
        }
    }
}
