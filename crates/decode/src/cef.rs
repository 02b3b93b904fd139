use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use reeve_record::{Certainty, EventTime};

use crate::form::Line;
use crate::time::{month_stamp, zone};
use crate::{Map, Problem, Value, family};

/// ArcSight's Common Event Format: `CEF:0|vendor|product|version|class|name|severity|key=value …`.
///
/// Fields: those of the header under the names ArcSight gives them, then the extension's keys as written. What `cs1Label` names is there
/// under that name too. `None` if there are not even a vendor and a product.
pub(crate) fn read(text: &str, received: Timestamp) -> Option<Line<'_>> {
    let (parts, extension) = header(text.strip_prefix("CEF:")?.trim_start_matches(' '));
    if parts.len() < 3 {
        return None;
    }
    let mut problems = Vec::new();
    if parts.len() < HEADER.len() {
        problems.push(problem("cef.header", format!("the header has {} of its 7 parts", parts.len())));
    }
    let mut native = Map(Vec::with_capacity(32));
    HEADER.into_iter().zip(parts).for_each(|(name, part)| native.push(name, part));
    extend(&mut native, extension, &mut problems);
    name_custom(&mut native);
    let time = time(&native, received, &mut problems);
    Some(Line { decoder: "cef", native, time, problems })
}

/// The parts of a header, seven at most, with `\|` and `\\` undone, and what follows the last.
fn header(text: &str) -> (Vec<Cow<'_, str>>, &str) {
    let bytes = text.as_bytes();
    let mut parts = Vec::with_capacity(HEADER.len());
    let (mut from, mut at) = (0, 0);
    while parts.len() < HEADER.len() {
        match bytes.get(at) {
            Some(b'\\') => at += 2,
            Some(b'|') => {
                parts.push(unescape(&text[from..at]));
                at += 1;
                from = at;
            }
            Some(_) => at += 1,
            None => {
                parts.push(unescape(&text[from..]));
                return (parts, "");
            }
        }
    }
    (parts, &text[from..])
}

/// `key=value` pairs, where a value may hold blanks and ends before the next key.
fn extend<'a>(native: &mut Map<'a>, extension: &'a str, problems: &mut Vec<Problem>) {
    let keys = keys(extension);
    let first = keys.first().map_or(extension.len(), |(start, _)| *start);
    let before = extension[..first].trim_ascii();
    if !before.is_empty() {
        problems.push(problem("cef.extension", "text before the first `key=` of the extension, kept under `extension`".into()));
        native.push("extension", before);
    }
    for (index, (start, equals)) in keys.iter().enumerate() {
        let end = keys.get(index + 1).map_or(extension.len(), |(next, _)| *next);
        native.push(&extension[*start..*equals], unescape(extension[equals + 1..end].trim_end_matches([' ', '\t'])));
    }
}

/// Where the keys of an extension start, each with the place of its `=`.
fn keys(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    // A key is one word from a blank to `=`; `plain` says whether the word so far could be one.
    let (mut start, mut plain, mut escaped) = (0, true, false);
    for (at, byte) in text.bytes().enumerate() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match byte {
            b' ' | b'\t' => (start, plain) = (at + 1, true),
            b'=' => {
                if plain && at > start {
                    found.push((start, at));
                }
                plain = false;
            }
            b'\\' => (escaped, plain) = (true, false),
            byte => plain &= byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'[' | b']'),
        }
    }
    found
}

fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some(meant @ ('\\' | '|' | '=')) => out.push(meant),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    Cow::Owned(out)
}

/// Adds the values of custom fields under the names that their labels give them.
fn name_custom(native: &mut Map<'_>) {
    if !native.iter().any(|(name, _)| name.ends_with("Label")) {
        return;
    }
    let mut named = Vec::new();
    for (key, label) in CUSTOM {
        if let (Some(value), Some(Value::Str(name))) = (native.get(key), native.get(label))
            && !name.is_empty()
        {
            named.push((name.clone(), value.clone()));
        }
    }
    native.0.extend(named);
}

/// When the device says it had the event, else when it ended or began.
fn time(native: &Map<'_>, received: Timestamp, problems: &mut Vec<Problem>) -> Option<EventTime> {
    let written = |name| native.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let found = ["rt", "end", "start"].into_iter().filter_map(written).find_map(|text| moment(text, received));
    if found.is_none() && written("rt").is_some() {
        problems.push(problem("time.unreadable", "`rt` is in no known form or names a moment that does not exist".into()));
    }
    found
}

/// A time as CEF and LEEF write it: since 1970, as RFC 3339, or `Mon dd yyyy hh:mm:ss.SSS zone`, of which year, fraction and zone may lack.
pub(crate) fn moment(text: &str, received: Timestamp) -> Option<EventTime> {
    family::moment(&Value::from(text)).or_else(|| {
        let text = text.trim_ascii();
        let found = month_stamp(text, received)?;
        let Some(east) = zone(text[found.len..].trim_ascii()) else { return Some(found.time) };
        let at = found.time.at.checked_sub(SignedDuration::from_secs(east)).ok()?;
        let inferred = found.time.certainty == Certainty::ZoneInferred;
        Some(EventTime { at, certainty: if inferred { Certainty::Exact } else { found.time.certainty } })
    })
}

pub(crate) fn problem(code: &'static str, detail: String) -> Problem {
    Problem { code, offset: 0, detail: Cow::Owned(detail) }
}

const HEADER: [&str; 7] =
    ["cefVersion", "deviceVendor", "deviceProduct", "deviceVersion", "deviceEventClassId", "name", "severity"];

/// The fields that a device gives a meaning of its own, with the field that names it.
const CUSTOM: [(&str, &str); 23] = [
    ("cs1", "cs1Label"),
    ("cs2", "cs2Label"),
    ("cs3", "cs3Label"),
    ("cs4", "cs4Label"),
    ("cs5", "cs5Label"),
    ("cs6", "cs6Label"),
    ("cn1", "cn1Label"),
    ("cn2", "cn2Label"),
    ("cn3", "cn3Label"),
    ("cfp1", "cfp1Label"),
    ("cfp2", "cfp2Label"),
    ("cfp3", "cfp3Label"),
    ("cfp4", "cfp4Label"),
    ("c6a1", "c6a1Label"),
    ("c6a2", "c6a2Label"),
    ("c6a3", "c6a3Label"),
    ("c6a4", "c6a4Label"),
    ("deviceCustomDate1", "deviceCustomDate1Label"),
    ("deviceCustomDate2", "deviceCustomDate2Label"),
    ("flexDate1", "flexDate1Label"),
    ("flexNumber1", "flexNumber1Label"),
    ("flexString1", "flexString1Label"),
    ("flexString2", "flexString2Label"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, want: &str, problems: &[&str]) {
        let found = read(line, Timestamp::UNIX_EPOCH).unwrap_or_else(|| panic!("no CEF: {line}"));
        assert_eq!(serde_json::to_string(&found.native).expect("fields serialise"), want, "{line}");
        assert_eq!(found.problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), problems, "{line}");
    }

    #[test]
    fn escapes_blanks_and_custom_fields() {
        check(
            r"CEF:0|A\|B|C\\D|1|100|a name|7|msg=two words\nand a \= sign request=http://h.example/?a=b act=blocked  cs1=web cs1Label=Rule Name",
            r#"{"cefVersion":"0","deviceVendor":"A|B","deviceProduct":"C\\D","deviceVersion":"1","deviceEventClassId":"100","name":"a name","severity":"7","msg":"two words\nand a = sign","request":"http://h.example/?a=b","act":"blocked","cs1":"web","cs1Label":"Rule Name","Rule Name":"web"}"#,
            &[],
        );
    }

    #[test]
    fn what_is_broken_is_named() {
        check(
            "CEF:0|V|P|1|x",
            r#"{"cefVersion":"0","deviceVendor":"V","deviceProduct":"P","deviceVersion":"1","deviceEventClassId":"x"}"#,
            &["cef.header"],
        );
        check(
            "CEF:1|V|P|1|x|n|3|no pairs here",
            r#"{"cefVersion":"1","deviceVendor":"V","deviceProduct":"P","deviceVersion":"1","deviceEventClassId":"x","name":"n","severity":"3","extension":"no pairs here"}"#,
            &["cef.extension"],
        );
    }

    #[test]
    fn times_of_all_kinds() {
        let received = "2026-11-21T12:00:00Z".parse().expect("a time");
        for (text, want, certainty) in [
            ("1700000000123", "2023-11-14T22:13:20.123Z", Certainty::Exact),
            ("Nov 20 2026 10:00:00.5 UTC", "2026-11-20T10:00:00.5Z", Certainty::Exact),
            ("Nov 20 2026 10:00:00 +0200", "2026-11-20T08:00:00Z", Certainty::Exact),
            ("Nov 20 2026 10:00:00 CET", "2026-11-20T10:00:00Z", Certainty::ZoneInferred),
            ("Nov 20 10:00:00", "2026-11-20T10:00:00Z", Certainty::YearInferred),
            ("2026-11-20T10:00:00+01:00", "2026-11-20T09:00:00Z", Certainty::Exact),
        ] {
            let at = want.parse().expect("a time");
            assert_eq!(moment(text, received), Some(EventTime { at, certainty }), "{text}");
        }
    }
}
