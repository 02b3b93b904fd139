//! The one spelling of numbers, hashes and times: `docs/spec/record.md`, *Spelling*.
use std::str::FromStr;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::Hash;

/// The value of a line `name value`.
pub(crate) fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.strip_prefix(name)?.strip_prefix(' ')
}

/// Digits without sign or leading zero.
pub(crate) fn number<N: FromStr>(text: &str) -> Option<N> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if digits { text.parse().ok() } else { None }
}

pub(crate) fn bytes(base64: &str) -> Option<Vec<u8>> {
    STANDARD.decode(base64).ok()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn hash(base64: &str) -> Option<Hash> {
    bytes(base64)?.try_into().ok()
}

/// Bytes of hex digits in either case.
pub(crate) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Microseconds since 1970 of `YYYY-MM-DDTHH:MM:SS.ffffffZ`.
pub(crate) fn time(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let shape = bytes.len() == 27
        && bytes.iter().zip(b"0000-00-00T00:00:00.000000Z").all(|(byte, like)| match like {
            b'0' => byte.is_ascii_digit(),
            like => byte == like,
        });
    if !shape {
        return None;
    }
    let part = |from: usize, to: usize| bytes[from..to].iter().fold(0i64, |sum, digit| 10 * sum + i64::from(digit - b'0'));
    let (year, month, day) = (part(0, 4), part(5, 7), part(8, 10));
    let (hour, minute, second) = (part(11, 13), part(14, 16), part(17, 19));
    let sound = year > 0
        && (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let seconds = ((days_before(year, month) + day - 1) * 24 + hour) * 3600 + minute * 60 + second;
    Some(seconds * 1_000_000 + part(20, 26)).filter(|at| sound && in_range(*at))
}

/// The text of a time.
pub(crate) fn time_text(at: i64) -> String {
    let (mut days, micros) = (at.div_euclid(DAY), at.rem_euclid(DAY));
    let mut year = 1970 + days.div_euclid(366);
    while days_before(year + 1, 1) <= days {
        year += 1;
    }
    while days_before(year, 1) > days {
        year -= 1;
    }
    days -= days_before(year, 1);
    let mut month = 1;
    while days >= days_of(year, month) {
        days -= days_of(year, month);
        month += 1;
    }
    let seconds = micros / 1_000_000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{:06}Z", days + 1, micros % 1_000_000)
}

/// Whether a time is one that records and statements can have.
pub(crate) fn in_range(at: i64) -> bool {
    (-377_705_023_201_000_000..=253_402_207_200_999_999).contains(&at)
}

/// Days from 1970-01-01 to the first of a month; proleptic Gregorian calendar.
fn days_before(year: i64, month: i64) -> i64 {
    let past = year - 1;
    let to_year = 365 * year + past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400) - TO_1970;
    to_year + (1..month).map(|month| days_of(year, month)).sum::<i64>()
}

fn days_of(year: i64, month: i64) -> i64 {
    let leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

const DAY: i64 = 86_400_000_000;
/// `days_before(1970, 1)` without it.
const TO_1970: i64 = 365 * 1970 + 492 - 19 + 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_of_a_number() {
        assert_eq!(number::<u32>("4294967295"), Some(u32::MAX));
        for text in ["", "+1", "-1", "01", "00", "1 ", "4294967296", "٣"] {
            assert_eq!(number::<u32>(text), None, "{text}");
        }
    }

    #[test]
    fn times_come_back() {
        for (text, at) in [
            ("1970-01-01T00:00:00.000000Z", 0),
            ("2026-01-05T09:12:44.123456Z", 1_767_604_364_123_456),
            ("2000-02-29T23:59:59.999999Z", 951_868_799_999_999),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("0001-01-01T00:00:00.000000Z", -62_135_596_800_000_000),
            ("0004-03-01T00:00:00.000000Z", -62_035_804_800_000_000),
            ("9999-12-30T22:00:00.999999Z", 253_402_207_200_999_999),
        ] {
            assert_eq!(time(text), Some(at), "{text}");
            assert_eq!(time_text(at), text);
        }
        for text in [
            "2026-02-29T00:00:00.000000Z",
            "2026-01-05T24:00:00.000000Z",
            "2026-01-05T09:12:60.000000Z",
            "2026-01-05 09:12:44.123456Z",
            "2026-01-05T09:12:44.12345Z",
            "9999-12-31T00:00:00.000000Z",
            "0000-01-01T00:00:00.000000Z",
            "1900-02-29T00:00:00.000000Z",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
