//! Times as sources write them: parsed by hand, because most of the cost of an event is otherwise its time.

use jiff::Timestamp;
use reeve_record::{Certainty, EventTime};

/// A time at the start of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// The moment, and whether the offset was given ([`Certainty::Exact`]) or taken as UTC.
    pub time: EventTime,
    /// How many bytes it took.
    pub len: usize,
}

/// A time that starts like `2024-05-01T12:30:00`, with any fraction and any offset. `T`, `t`, a blank or `_` parts date and clock.
///
/// `None` if the text does not start like that, or names a day or hour that does not exist.
pub fn stamp(text: &str) -> Option<Stamp> {
    let bytes = text.as_bytes();
    let year = number(bytes, 0, 4)?;
    let separator = *bytes.get(4)?;
    if !matches!(separator, b'-' | b'/')
        || bytes.get(7) != Some(&separator)
        || !matches!(bytes.get(10)?, b'T' | b't' | b' ' | b'_')
    {
        return None;
    }
    let days = days(year, number(bytes, 5, 2)?, number(bytes, 8, 2)?)?;
    let (seconds, mut at) = clock(bytes, 11)?;
    let nanos = fraction(bytes, &mut at);
    let (offset, len) = offset(bytes, at);
    let certainty = if offset.is_some() { Certainty::Exact } else { Certainty::ZoneInferred };
    let at = Timestamp::new(days * 86_400 + seconds - offset.unwrap_or(0), nanos).ok()?;
    Some(Stamp { time: EventTime { at, certainty }, len })
}

/// A whole text that is a [`stamp`].
pub fn whole_stamp(text: &str) -> Option<EventTime> {
    let text = text.trim();
    stamp(text).filter(|stamp| stamp.len == text.len()).map(|stamp| stamp.time)
}

/// `Mon dd hh:mm:ss` at the start of a text, with an optional fraction, or with a year (`Mon dd yyyy hh:mm:ss`, `Mon dd hh:mm:ss yyyy`).
///
/// Without a year it gets the one that puts it nearest before `received` (a day of clock error is allowed for).
pub fn month_stamp(text: &str, received: Timestamp) -> Option<Stamp> {
    let bytes = text.as_bytes();
    let month = month(bytes.get(..3)?)?;
    let mut at = 3;
    let gap = skip_blanks(bytes, &mut at);
    if gap == 0 {
        return None;
    }
    let day = short_number(bytes, &mut at)?;
    if skip_blanks(bytes, &mut at) == 0 {
        return None;
    }
    let mut year = None;
    if let (Some(number), Some(b' ')) = (number(bytes, at, 4), bytes.get(at + 4)) {
        year = Some(number);
        at += 5;
    }
    let (seconds, mut at) = clock(bytes, at)?;
    let nanos = fraction(bytes, &mut at);
    if year.is_none()
        && bytes.get(at) == Some(&b' ')
        && let Some(number) = number(bytes, at + 1, 4)
        && (1970..2200).contains(&number)
        && matches!(bytes.get(at + 5), None | Some(b' ' | b':'))
    {
        year = Some(number);
        at += 5;
    }
    let moment = |year: i64| Timestamp::new(days(year, month, day)? * 86_400 + seconds, nanos).ok();
    let time = match year {
        Some(year) => EventTime { at: moment(year)?, certainty: Certainty::ZoneInferred },
        None => EventTime { at: nearest_before(moment, received)?, certainty: Certainty::YearInferred },
    };
    Some(Stamp { time, len: at })
}

/// `MM-dd hh:mm:ss` with an optional fraction at the start of a text, with the year that puts it nearest before `received`.
pub fn day_stamp(text: &str, received: Timestamp) -> Option<Stamp> {
    let bytes = text.as_bytes();
    let (month, day) = (number(bytes, 0, 2)?, number(bytes, 3, 2)?);
    if bytes.get(2) != Some(&b'-') || bytes.get(5) != Some(&b' ') {
        return None;
    }
    let (seconds, mut at) = clock(bytes, 6)?;
    let nanos = fraction(bytes, &mut at);
    let moment = |year: i64| Timestamp::new(days(year, month, day)? * 86_400 + seconds, nanos).ok();
    Some(Stamp { time: EventTime { at: nearest_before(moment, received)?, certainty: Certainty::YearInferred }, len: at })
}

/// The latest year in which `moment` exists and is at most a day after `received`; eight years reach over a missing leap day.
fn nearest_before(moment: impl Fn(i64) -> Option<Timestamp>, received: Timestamp) -> Option<Timestamp> {
    let latest = received.as_second() + 86_400;
    let this_year = civil_year(received.as_second());
    (0..=8).find_map(|back| moment(this_year + 1 - back).filter(|at| at.as_second() <= latest))
}

/// `dd/Mon/yyyy:hh:mm:ss[.fraction][ +hhmm]`, as web servers and proxies write it.
pub fn web_stamp(text: &str) -> Option<EventTime> {
    let bytes = text.as_bytes();
    let mut at = 0;
    let day = short_number(bytes, &mut at)?;
    let month = month(bytes.get(at + 1..at + 4)?)?;
    let year = number(bytes, at + 5, 4)?;
    let (seconds, mut end) = clock(bytes, at + 10)?;
    let nanos = fraction(bytes, &mut end);
    let (offset, _) = offset(bytes, end);
    let certainty = if offset.is_some() { Certainty::Exact } else { Certainty::ZoneInferred };
    let at = Timestamp::new(days(year, month, day)? * 86_400 + seconds - offset.unwrap_or(0), nanos).ok()?;
    Some(EventTime { at, certainty })
}

/// Seconds since 1970 in decimal, with up to nine digits of fraction, as in `1615114232.375`.
pub fn epoch(text: &str) -> Option<Timestamp> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let seconds: i64 = whole.parse().ok()?;
    if !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut nanos = 0i32;
    for place in 0..9 {
        nanos = nanos * 10 + part.as_bytes().get(place).map_or(0, |digit| i32::from(digit - b'0'));
    }
    Timestamp::new(seconds, if negative { -nanos } else { nanos }).ok()
}

/// A number since 1970 in the unit its size suggests: seconds, milliseconds, microseconds or nanoseconds.
pub fn epoch_any(number: i64) -> Option<Timestamp> {
    match number.unsigned_abs() {
        0..100_000_000_000 => Timestamp::new(number, 0).ok(),
        100_000_000_000..100_000_000_000_000 => Timestamp::from_millisecond(number).ok(),
        100_000_000_000_000..100_000_000_000_000_000 => Timestamp::from_microsecond(number).ok(),
        _ => Timestamp::from_nanosecond(i128::from(number)).ok(),
    }
}

/// Seconds since 1970 as a floating number, to the microsecond that a double still holds.
pub fn epoch_float(seconds: f64) -> Option<Timestamp> {
    if !seconds.is_finite() || seconds.abs() > 2.0e11 {
        return None;
    }
    Timestamp::from_microsecond((seconds * 1e6).round() as i64).ok()
}

fn clock(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    if bytes.get(at + 2) != Some(&b':') {
        return None;
    }
    let (hour, minute) = (number(bytes, at, 2)?, number(bytes, at + 3, 2)?);
    let (second, end) = match bytes.get(at + 5) {
        Some(b':') => (number(bytes, at + 6, 2)?, at + 8),
        _ => (0, at + 5),
    };
    // A leap second counts as the first of the next minute.
    (hour < 24 && minute < 60 && second <= 60).then_some((hour * 3600 + minute * 60 + second, end))
}

fn fraction(bytes: &[u8], at: &mut usize) -> i32 {
    if !matches!(bytes.get(*at), Some(b'.' | b',')) || !bytes.get(*at + 1).is_some_and(u8::is_ascii_digit) {
        return 0;
    }
    *at += 1;
    let (mut nanos, mut places) = (0i32, 0);
    while let Some(digit @ b'0'..=b'9') = bytes.get(*at) {
        if places < 9 {
            nanos = nanos * 10 + i32::from(digit - b'0');
            places += 1;
        }
        *at += 1;
    }
    nanos * 10i32.pow(9 - places)
}

/// `Z`, `+hh:mm`, `+hhmm` or `+hh` at `at`, after an optional blank: seconds east of UTC, and where it ends.
fn offset(bytes: &[u8], at: usize) -> (Option<i64>, usize) {
    let start = at + usize::from(bytes.get(at) == Some(&b' '));
    match bytes.get(start) {
        Some(b'Z' | b'z') if !bytes.get(start + 1).is_some_and(u8::is_ascii_alphanumeric) => (Some(0), start + 1),
        Some(b'U') if bytes[start..].starts_with(b"UTC") => (Some(0), start + 3),
        Some(sign @ (b'+' | b'-')) => {
            let Some(hours) = number(bytes, start + 1, 2).filter(|hours| *hours < 24) else { return (None, at) };
            let colon = usize::from(bytes.get(start + 3) == Some(&b':'));
            let (minutes, end) = match number(bytes, start + 3 + colon, 2).filter(|minutes| *minutes < 60) {
                Some(minutes) => (minutes, start + 5 + colon),
                None => (0, start + 3),
            };
            let seconds = hours * 3600 + minutes * 60;
            (Some(if *sign == b'-' { -seconds } else { seconds }), end)
        }
        _ => (None, at),
    }
}

/// Seconds east of UTC of a text that is a zone: `Z`, `UTC`, `GMT` or an offset; `None` for names only a calendar knows.
pub(crate) fn zone(text: &str) -> Option<i64> {
    if text == "GMT" {
        return Some(0);
    }
    let (seconds, len) = offset(text.as_bytes(), 0);
    seconds.filter(|_| len == text.len())
}

fn month(name: &[u8]) -> Option<i64> {
    const NAMES: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    NAMES.iter().position(|known| known.as_slice() == name).map(|index| index as i64 + 1)
}

fn skip_blanks(bytes: &[u8], at: &mut usize) -> usize {
    let start = *at;
    while bytes.get(*at) == Some(&b' ') {
        *at += 1;
    }
    *at - start
}

fn short_number(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let len = if bytes.get(*at + 1).is_some_and(u8::is_ascii_digit) { 2 } else { 1 };
    let value = number(bytes, *at, len)?;
    *at += len;
    Some(value)
}

fn number(bytes: &[u8], at: usize, len: usize) -> Option<i64> {
    let mut value = 0;
    for byte in bytes.get(at..at + len)? {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(byte - b'0');
    }
    Some(value)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, `None` if there is no such date.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) || year == 0 {
        return None;
    }
    // Years start in March here, so that the leap day is the last (H. Hinnant, days_from_civil).
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

fn civil_year(seconds: i64) -> i64 {
    let days = seconds.div_euclid(86_400) + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    era * 400 + year + i64::from((5 * of_year + 2) / 153 >= 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn stamps_with_and_without_offset() {
        for (text, want, certainty) in [
            ("2024-02-29T12:30:01Z", "2024-02-29T12:30:01Z", Certainty::Exact),
            ("2020-05-31T00:00:45.698463+00:00", "2020-05-31T00:00:45.698463Z", Certainty::Exact),
            ("2020-05-31 02:00:45,5 +0200", "2020-05-31T00:00:45.5Z", Certainty::Exact),
            ("2020-05-31 00:00:45", "2020-05-31T00:00:45Z", Certainty::ZoneInferred),
            ("1969-12-31T23:59:59.25Z", "1969-12-31T23:59:59.25Z", Certainty::Exact),
        ] {
            assert_eq!(whole_stamp(text), Some(EventTime { at: at(want), certainty }), "{text}");
        }
        for text in
            ["2023-02-29T00:00:00Z", "2024-13-01T00:00:00Z", "2024-01-01T25:00:00Z", "2024-01-01", "", "0000-01-01T00:00:00Z"]
        {
            assert_eq!(whole_stamp(text), None, "{text}");
        }
    }

    #[test]
    fn the_year_is_the_nearest_before_receipt() {
        let stamp = |text, received| month_stamp(text, at(received)).map(|stamp| stamp.time.at);
        assert_eq!(stamp("Dec 31 23:59:58", "2026-01-01T00:00:03Z"), Some(at("2025-12-31T23:59:58Z")));
        assert_eq!(stamp("Jan  1 00:00:02", "2026-01-01T00:00:03Z"), Some(at("2026-01-01T00:00:02Z")));
        assert_eq!(stamp("Jan  1 00:00:02", "2025-12-31T23:59:59Z"), Some(at("2026-01-01T00:00:02Z")));
        assert_eq!(stamp("Feb 29 01:00:00", "2027-03-01T00:00:00Z"), Some(at("2024-02-29T01:00:00Z")));
        assert_eq!(stamp("Feb 30 01:00:00", "2027-03-01T00:00:00Z"), None);
    }

    #[test]
    fn days_agree_with_the_calendar_of_jiff() {
        for day in (-200_000..200_000).step_by(97) {
            let moment = Timestamp::new(day * 86_400, 0).expect("in range");
            let text = moment.to_string();
            assert_eq!(whole_stamp(&text).map(|time| time.at), Some(moment), "{text}");
            assert_eq!(civil_year(moment.as_second()), text[..4].parse::<i64>().expect("a year"));
        }
    }

    #[test]
    fn epochs() {
        assert_eq!(epoch("1615114232.375"), Some(at("2021-03-07T10:50:32.375Z")));
        assert_eq!(epoch("1615114232"), Some(at("2021-03-07T10:50:32Z")));
        assert_eq!(epoch("x"), None);
        assert_eq!(epoch_any(1_615_114_232_375), Some(at("2021-03-07T10:50:32.375Z")));
        assert_eq!(web_stamp("07/Mar/2021:11:50:32 +0100").map(|time| time.at), Some(at("2021-03-07T10:50:32Z")));
    }
}
