//! When two values say the same: conversions that a pair's file names.

use jiff::{Timestamp, civil, tz::TimeZone};
use serde_json::Value;

/// `value` after `conversions`. What a conversion does not fit stays as it is.
pub fn converted(value: &Value, conversions: &[String]) -> Value {
    conversions.iter().fold(value.clone(), |value, name| one(&value, name))
}

/// Whether two converted values are equal: numbers by value, everything else by its text; lists place by place.
pub fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len() && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| equal(value, other)))
        }
        (Value::Number(_), _) | (_, Value::Number(_)) => match (number(one), number(other)) {
            (Some(one), Some(other)) => (one - other).abs() <= f64::EPSILON * one.abs().max(1.0),
            _ => false,
        },
        _ => text(one) == text(other),
    }
}

/// A scalar as text; a list or object as JSON.
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn one(value: &Value, conversion: &str) -> Value {
    if let (Value::Array(values), false) = (value, matches!(conversion, "words" | "set" | "lines")) {
        return values.iter().map(|value| one(value, conversion)).collect();
    }
    if let Value::Object(_) = value {
        return joined(value, conversion);
    }
    let written = text(value);
    let named = |text: Option<&str>| text.map_or_else(|| value.clone(), Value::from);
    match conversion {
        "lower" => written.to_lowercase().into(),
        "trim" => written.trim().into(),
        "words" => list(value, " ").into(),
        "lines" => list(value, "\n").into(),
        "set" => set(value),
        "time" => moment(value).map_or_else(|| value.clone(), |time| time.as_millisecond().into()),
        "second" => moment(value).map_or_else(|| value.clone(), |time| time.as_second().into()),
        "yearless" => moment(value).map_or_else(|| value.clone(), |time| time.strftime("%m-%d %H:%M:%S").to_string().into()),
        "hex" => i128::from_str_radix(digits(&written, "0x"), 16).map_or_else(|_| value.clone(), |n| n.to_string().into()),
        "octal" => i128::from_str_radix(digits(&written, "0o"), 8).map_or_else(|_| value.clone(), |n| n.to_string().into()),
        "number" => counted(&written).map_or_else(|| value.clone(), |n| n.to_string().into()),
        "host" => named(written.split('.').next()),
        "name" => named(written.rsplit(['/', '\\']).next()),
        "account" => named(written.rsplit('\\').next()),
        "folder" => named(written.rfind(['/', '\\']).map(|at| &written[..=at])),
        "bare" => written.trim_matches(['{', '}', '"', '\'', '(', ')', '[', ']']).into(),
        "permissions" => i64::from_str_radix(&written, 8).map_or_else(|_| value.clone(), |mode| (mode & 0o7777).into()),
        // As many digits as Zeek's tables have.
        "micro" => number(value).map_or_else(|| value.clone(), |number| ((number * 1e6).round() / 1e6).into()),
        "host_part" => named(written.split(':').next()),
        "port_part" => named(written.rsplit(':').next()),
        "day_first" => day_first(&written).map_or_else(|| value.clone(), Value::from),
        "four_letters" => value.as_u64().map_or_else(|| value.clone(), |number| four_letters(number).into()),
        "squeezed" => written.split_whitespace().collect::<Vec<_>>().join(" ").into(),
        _ => value.clone(),
    }
}

/// Several fields of ours that are one of theirs.
fn joined(value: &Value, conversion: &str) -> Value {
    let part = |name: &str| value[name].as_str().map(str::to_owned);
    match conversion {
        "arguments" => (0..4).filter_map(|at| part(&format!("a{at}"))).collect(),
        "user_at_database" => match (part("user"), part("database")) {
            (Some(user), Some(database)) => format!("{user}@{database}").into(),
            _ => Value::Null,
        },
        _ => value.clone(),
    }
}

/// `20-02-2024 13:10:33` with the year first.
fn day_first(text: &str) -> Option<String> {
    let (date, clock) = text.split_once(' ')?;
    let mut parts = date.split(['-', '.']);
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    (year.len() == 4).then(|| format!("{year}-{month}-{day} {clock}"))
}

/// A number as the letters of which it is the bytes, the lowest first.
fn four_letters(number: u64) -> String {
    number.to_le_bytes().into_iter().filter(|byte| *byte != 0).map(char::from).collect()
}

fn digits<'t>(text: &'t str, prefix: &str) -> &'t str {
    let digits = text.trim().trim_start_matches(prefix);
    if digits.is_empty() { "0" } else { digits }
}

/// A number in decimal, or in hexadecimal where it says so.
fn counted(text: &str) -> Option<i128> {
    let text = text.trim();
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| i128::from_str_radix(hex, 16).ok())
}

fn list(value: &Value, between: &str) -> String {
    value.as_array().map_or_else(|| text(value), |values| values.iter().map(text).collect::<Vec<_>>().join(between))
}

fn set(value: &Value) -> Value {
    let mut values: Vec<String> = match value {
        Value::Array(values) => values.iter().map(text).collect(),
        other => text(other).split([',', '|', ' ']).filter(|part| !part.is_empty()).map(str::to_owned).collect(),
    };
    values.sort();
    values.into()
}

/// A moment in any notation met here; without a zone it counts as UTC. Numbers are seconds, or milliseconds and smaller by their size.
fn moment(value: &Value) -> Option<Timestamp> {
    if let Some(number) = number(value) {
        return of_number(number);
    }
    let text = value.as_str()?.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let plain = text.replace(" UTC", "").replacen(' ', "T", 1);
    let zoned = plain.parse::<Timestamp>().ok();
    // Year 0 stands for none; it was written in a leap year or not, nobody knows.
    zoned.or_else(|| Some(plain.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp()))
}

fn of_number(number: f64) -> Option<Timestamp> {
    // To the microsecond, which is what a double still holds of seconds.
    let scale = match number.abs() {
        small if small < 1e11 => 1e6,
        small if small < 1e14 => 1e3,
        small if small < 1e17 => 1.0,
        _ => 1e-3,
    };
    #[allow(clippy::cast_possible_truncation, reason = "a microsecond count within a few thousand years")]
    Timestamp::from_microsecond((number * scale).round() as i64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(one: Value, other: Value, conversions: &[&str]) -> bool {
        let names: Vec<String> = conversions.iter().map(|name| (*name).to_owned()).collect();
        equal(&converted(&one, &names), &converted(&other, &names))
    }

    #[test]
    fn notations_of_one_value_are_equal_and_others_are_not() {
        assert!(alike("0xc000003e".into(), "c000003e".into(), &["hex"]));
        assert!(alike("0o100755".into(), "0100755".into(), &["octal"]));
        assert!(alike("2016-01-13T19:31:20+02:00".into(), 1_452_706_280_000i64.into(), &["time"]));
        assert!(alike("2013-10-17 15:45:19".into(), "2013-10-17T15:45:19Z".into(), &["time"]));
        assert!(alike(4624.into(), "4624".into(), &[]));
        assert!(alike(serde_json::json!(["a", "b"]), "a b".into(), &["words"]));
        assert!(!alike("4624 ".into(), "4625".into(), &["trim"]));
        assert!(!alike("a".into(), "A".into(), &[]));
        assert!(!alike("0x10".into(), "10".into(), &["number"]));
    }
}
