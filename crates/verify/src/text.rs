//! The one spelling of numbers, hashes and times: `docs/spec/record.md`, *Spelling*.
use std::str::FromStr;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;

use crate::Hash;

/// Fails with a reason unless something holds.
pub(crate) fn need(holds: bool, what: impl Into<String>) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.into()) }
}

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

/// Base64 of RFC 4648 section 4, padded.
pub fn base64(bytes: &[u8]) -> String {
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
    let at = text.parse::<Timestamp>().ok()?.as_microsecond();
    // What comes back as another text was in another spelling.
    (text.len() == 27 && !text.starts_with("0000") && time_text(at) == text && in_range(at)).then_some(at)
}

/// The text of a time.
pub(crate) fn time_text(at: i64) -> String {
    // Not `from_microsecond`, which refuses the very last second that a time may have.
    let nanosecond = i32::try_from(at.rem_euclid(1_000_000) * 1000).unwrap_or(0);
    Timestamp::new(at.div_euclid(1_000_000), nanosecond).map_or_else(|_| at.to_string(), |at| format!("{at:.6}"))
}

/// Whether a time is one that records and statements can have.
pub(crate) fn in_range(at: i64) -> bool {
    (-377_705_023_201_000_000..=253_402_207_200_999_999).contains(&at)
}

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
