//! The one spelling of numbers, hashes and times in texts that are signed. Readers accept exactly what writers write.
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use reeve_record::Hash;
use sha2::{Digest, Sha256};

pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn hash(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// Whatever prints as exactly this text.
pub(crate) fn exact<T: std::str::FromStr + std::fmt::Display>(text: &str) -> Option<T> {
    text.parse::<T>().ok().filter(|value| value.to_string() == text)
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

/// A length and a hash.
pub(crate) fn sized(text: &str) -> Option<(u64, Hash)> {
    let (length, hashed) = text.split_once(' ')?;
    Some((exact(length)?, hash(hashed)?))
}

/// Floors a time to the microseconds that texts hold.
pub(crate) fn floor(at: Timestamp) -> Timestamp {
    let micros = i64::try_from(at.as_nanosecond().div_euclid(1000)).unwrap_or_default();
    Timestamp::from_microsecond(micros).unwrap_or(at)
}
