use jiff::Timestamp;
use reeve_record::EventTime;

use crate::cef::{moment, problem};
use crate::form::Line;
use crate::{Map, Problem, Value};

/// QRadar's Log Event Extended Format: `LEEF:1.0|vendor|product|version|event|key=value<tab>…`, or `LEEF:2.0|…|event|delimiter|…`.
///
/// Fields: `leefVersion vendor product version eventId`, then the attributes as written. `None` if there is no event id.
pub(crate) fn read(text: &str, received: Timestamp) -> Option<Line<'_>> {
    let mut parts = text.strip_prefix("LEEF:")?.trim_start_matches(' ').splitn(HEADER.len() + 1, '|');
    let mut native = Map(Vec::with_capacity(24));
    for name in HEADER {
        native.push(name, parts.next()?);
    }
    let mut problems = Vec::new();
    let version_2 = native.get("leefVersion").and_then(Value::as_str).is_some_and(|version| version.starts_with('2'));
    let (delimiter, attributes) = delimiter(version_2, parts.next().unwrap_or_default());
    extend(&mut native, attributes, &delimiter, &mut problems);
    let time = time(&native, received, &mut problems);
    Some(Line { decoder: "leef", native, time, problems })
}

/// The sign between attributes, and the attributes. Without a declared one it is a tab, which rsyslog writes as `#011`.
fn delimiter(declared: bool, rest: &str) -> (String, &str) {
    if declared
        && let Some((written, attributes)) = rest.split_once('|')
        && let Some(sign) = sign(written)
    {
        return (sign, attributes);
    }
    let escaped = !rest.contains('\t') && rest.contains("#011");
    (if escaped { "#011" } else { "\t" }.to_owned(), rest)
}

/// A declared delimiter: nothing for a tab, one character, or its code in hexadecimal as in `x09`, `0x09` and `\x09`.
fn sign(written: &str) -> Option<String> {
    let mut characters = written.chars();
    match (characters.next(), characters.next()) {
        (None, _) => return Some("\t".to_owned()),
        (Some(only), None) => return Some(only.to_string()),
        _ => {}
    }
    let digits = written.trim_start_matches(['0', '\\']).strip_prefix(['x', 'X'])?;
    let code = u32::from_str_radix(digits, 16).ok().filter(|_| digits.len() <= 4)?;
    char::from_u32(code).map(|sign| sign.to_string())
}

fn extend<'a>(native: &mut Map<'a>, attributes: &'a str, delimiter: &str, problems: &mut Vec<Problem>) {
    let mut loose = Vec::new();
    for attribute in attributes.split(delimiter).filter(|attribute| !attribute.trim_ascii().is_empty()) {
        match attribute.split_once('=') {
            Some((key, value)) if !key.trim_ascii().is_empty() => native.push(key.trim_ascii(), value),
            _ => loose.push(Value::from(attribute)),
        }
    }
    if !loose.is_empty() {
        let detail = format!("{} attributes are no `key=value`, kept under `attributes`", loose.len());
        problems.push(problem("leef.attribute", detail));
        native.push("attributes", Value::List(loose));
    }
}

fn time(native: &Map<'_>, received: Timestamp, problems: &mut Vec<Problem>) -> Option<EventTime> {
    let written = native.get("devTime").and_then(Value::as_str).filter(|text| !text.is_empty())?;
    let found = moment(written, received);
    if found.is_none() {
        problems.push(problem("time.unreadable", "`devTime` is in no known form or names a moment that does not exist".into()));
    }
    found
}

const HEADER: [&str; 5] = ["leefVersion", "vendor", "product", "version", "eventId"];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, attributes: &str, problems: &[&str]) {
        let found = read(line, Timestamp::UNIX_EPOCH).unwrap_or_else(|| panic!("no LEEF: {line}"));
        let version = &line[5..8];
        let want = format!(
            r#"{{"leefVersion":"{version}","vendor":"V","product":"P","version":"9","eventId":"login","src":"192.0.2.1","usrName":"a b"{attributes}}}"#
        );
        assert_eq!(serde_json::to_string(&found.native).expect("fields serialise"), want, "{line}");
        assert_eq!(found.problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), problems, "{line}");
    }

    #[test]
    fn delimiters_declared_and_not() {
        check("LEEF:1.0|V|P|9|login|src=192.0.2.1\tusrName=a b", "", &[]);
        check("LEEF:1.0|V|P|9|login|src=192.0.2.1#011usrName=a b", "", &[]);
        check("LEEF:2.0|V|P|9|login|src=192.0.2.1\tusrName=a b", "", &[]);
        for written in ["^|src=192.0.2.1^usrName=a b", "0x5E|src=192.0.2.1^usrName=a b", "x5e|src=192.0.2.1^usrName=a b"] {
            check(&format!("LEEF:2.0|V|P|9|login|{written}"), "", &[]);
        }
        check("LEEF:2.0|V|P|9|login||src=192.0.2.1\tusrName=a b", "", &[]);
        check("LEEF:2.0|V|P|9|login|0x09|src=192.0.2.1\tusrName=a b\tloose", r#","attributes":["loose"]"#, &["leef.attribute"]);
    }
}
