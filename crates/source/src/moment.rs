//! Times as envelopes write them, exactly: no floating point in between.
use jiff::Timestamp;
use reeve_record::EventTime;

/// Seconds since 1970 with a decimal fraction, as in `1767604364.25`; `None` if it is no such number or out of range.
pub(crate) fn seconds(text: &str) -> Option<EventTime> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole.strip_prefix('-').unwrap_or(whole)) || !(fraction.is_empty() || digits(fraction)) {
        return exponential(text);
    }
    let nanos = fraction.bytes().chain(std::iter::repeat(b'0')).take(9).fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0'));
    since_epoch(whole.parse().ok()?, if whole.starts_with('-') { -nanos } else { nanos })
}

/// The same written with an exponent, as some programs print large floats; as precise as a float is.
fn exponential(text: &str) -> Option<EventTime> {
    if !text.contains(['e', 'E']) {
        return None;
    }
    let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite() && number.abs() < 1e12)?;
    since_epoch(number.trunc() as i64, (number.fract() * 1e9) as i32)
}

/// Nanoseconds since 1970; `None` for 0, which says that there is no time.
pub(crate) fn nanoseconds(nanos: u64) -> Option<EventTime> {
    let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    if nanos == 0 { None } else { since_epoch(seconds as i64, rest as i32) }
}

/// Microseconds since 1970 in decimal.
pub(crate) fn microseconds(text: &[u8]) -> Option<EventTime> {
    Timestamp::from_microsecond(std::str::from_utf8(text).ok()?.parse().ok()?).ok().map(EventTime::exact)
}

/// Seconds and nanoseconds since 1970; records have whole microseconds.
pub(crate) fn since_epoch(seconds: i64, nanos: i32) -> Option<EventTime> {
    Timestamp::new(seconds, nanos / 1000 * 1000).ok().map(EventTime::exact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_exactly() {
        let at = |text: &str| seconds(text).map(|time| time.at.to_string());
        assert_eq!(at("1767604364.123456789").as_deref(), Some("2026-01-05T09:12:44.123456Z"));
        assert_eq!(at(" 1767604364 ").as_deref(), Some("2026-01-05T09:12:44Z"));
        assert_eq!(at("1.767604364e9").as_deref(), Some("2026-01-05T09:12:44Z"));
        assert_eq!(at("-1.5").as_deref(), Some("1969-12-31T23:59:58.5Z"));
        for none in ["", "-", ".", "now", "1.2.3", "1e400", "99999999999999", "NaN"] {
            assert_eq!(at(none), None, "{none}");
        }
        assert_eq!(nanoseconds(0), None);
        assert_eq!(nanoseconds(u64::MAX).map(|time| time.at.as_second()), Some(18_446_744_073));
        assert_eq!(
            microseconds(b"1767604364000001").map(|time| time.at.to_string()).as_deref(),
            Some("2026-01-05T09:12:44.000001Z")
        );
    }
}
