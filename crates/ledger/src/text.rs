//! The one spelling of numbers, hashes and times in our text formats. Readers accept exactly what writers write.
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use reeve_record::Hash;

pub(crate) fn number<N: std::str::FromStr + std::fmt::Display>(text: &str) -> Option<N> {
    text.parse::<N>().ok().filter(|number| number.to_string() == text)
}

pub(crate) fn hash(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn bytes(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// RFC 3339 in UTC with six decimals.
pub(crate) fn time(at: Timestamp) -> String {
    format!("{at:.6}")
}

pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    // Years of four digits, from 1 on: the one shape that every reader can hold to.
    let shape = text.len() == "0001-01-01T00:00:00.000000Z".len() && !text.starts_with("0000");
    text.parse().ok().filter(|at| shape && time(*at) == text)
}

/// Floors a time to the microseconds that leaves and files hold.
pub(crate) fn floor(at: Timestamp) -> Timestamp {
    let nanos = at.as_nanosecond().div_euclid(1000);
    Timestamp::from_microsecond(i64::try_from(nanos).unwrap_or_default()).unwrap_or(at)
}
