//! Names and types of information elements, and values as text (RFC 7373) or number.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use jiff::Timestamp;

use crate::octets::unsigned;
use crate::value::Value;

/// Which element a field holds: private enterprise number and number.
pub(crate) type Id = (u32, u16);

/// Elements of the direction back, with the numbers of IANA's (RFC 5103).
const REVERSE: u32 = 29_305;
/// Stands for the scopes of NetFlow version 9, which are numbered by themselves.
pub(crate) const SCOPE: u32 = u32::MAX;

/// The registry as it is in the file beside this one.
static ELEMENTS: LazyLock<Vec<(Id, &str, u8)>> = LazyLock::new(|| {
    let lines = include_str!("elements.tsv").lines().filter(|line| !line.starts_with('#'));
    let element = |line: &'static str| {
        let mut columns = line.split('\t');
        let mut next = || columns.next();
        Some(((next()?.parse().ok()?, next()?.parse().ok()?), next()?, *next()?.as_bytes().first()?))
    };
    lines.filter_map(element).collect()
});

fn known((enterprise, element): Id) -> Option<&'static (Id, &'static str, u8)> {
    let at = ELEMENTS.binary_search_by_key(&(enterprise, element), |(id, ..)| *id).ok()?;
    ELEMENTS.get(at)
}

/// The element's name; numbers for one that is not known here.
pub(crate) fn name(id: Id) -> Cow<'static, str> {
    let scopes = ["scopeSystem", "scopeInterface", "scopeLineCard", "scopeCache", "scopeTemplate"];
    if let (SCOPE, Some(name)) = (id.0, scopes.get(usize::from(id.1).wrapping_sub(1))) {
        return Cow::Borrowed(*name);
    }
    if let Some((_, name, _)) = known(id) {
        return Cow::Borrowed(name);
    }
    match (id, known((0, id.1))) {
        ((REVERSE, _), Some((_, name, _))) => {
            let (first, rest) = name.split_at(1);
            Cow::Owned(format!("reverse{}{rest}", first.to_ascii_uppercase()))
        }
        ((0, element), _) => Cow::Owned(format!("element_{element}")),
        ((SCOPE, element), _) => Cow::Owned(format!("scope_{element}")),
        ((enterprise, element), _) => Cow::Owned(format!("enterprise_{enterprise}_{element}")),
    }
}

/// A field's bytes as its element's type has them; bytes that no such value has, and those of unknown elements, in hexadecimal.
pub(crate) fn value<'a>(id: Id, bytes: &'a [u8]) -> Value<'a> {
    let kind = match id.0 {
        SCOPE => b'u',
        REVERSE => known((0, id.1)).map_or(b'a', |(_, _, kind)| *kind),
        _ => known(id).map_or(b'a', |(_, _, kind)| *kind),
    };
    typed(kind, bytes).unwrap_or_else(|| Value::from(hex::encode(bytes)))
}

fn typed<'a>(kind: u8, bytes: &'a [u8]) -> Option<Value<'a>> {
    Some(match (kind, bytes.len()) {
        (b'u', 1..=8) => number(unsigned(bytes)),
        (b'i', length @ 1..=8) => {
            let unused = 64 - 8 * length as u32;
            Value::Int((unsigned(bytes) << unused).cast_signed() >> unused)
        }
        (b'f', 4) => Value::Float(f64::from(f32::from_bits(unsigned(bytes) as u32))),
        (b'f', 8) => Value::Float(f64::from_bits(unsigned(bytes))),
        (b'b', 1) if matches!(bytes, [1 | 2]) => Value::Bool(bytes == [1]),
        (b's', _) => text(bytes),
        (b'm', 6) => mac(bytes),
        (b'4', 4) => Ipv4Addr::from(unsigned(bytes) as u32).to_string().into(),
        (b'6', 16) => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string().into(),
        (b'S' | b'M' | b'U' | b'N', _) => match moment(kind, bytes) {
            Some(at) => at.to_string().into(),
            None if bytes.len() <= 8 => number(unsigned(bytes)),
            None => return None,
        },
        _ => return None,
    })
}

/// A moment as its element's type has it; none where the exporter wrote 0 for "not known".
pub(crate) fn time(id: Id, bytes: &[u8]) -> Option<Timestamp> {
    moment(known(id)?.2, bytes)
}

fn moment(kind: u8, bytes: &[u8]) -> Option<Timestamp> {
    let number = unsigned(bytes);
    match (kind, bytes.len()) {
        _ if number == 0 => None,
        (b'S', 4) => Timestamp::from_second(number as i64).ok(),
        (b'M', 8) => Timestamp::from_millisecond(i64::try_from(number).ok()?).ok(),
        (b'U' | b'N', 8) => ntp(number, kind == b'U'),
        _ => None,
    }
}

/// Seconds since 1900 and their 2^32nd parts; from 2036 on the count begins again (RFC 4330 section 3). Microseconds alone are meant where
/// the type says so: what is below is noise.
fn ntp(stamp: u64, micros: bool) -> Option<Timestamp> {
    let seconds = (stamp >> 32) as i64;
    let era = if stamp >> 63 == 0 { 1_i64 << 32 } else { 0 };
    let scale = |unit: u64| ((stamp & 0xFFFF_FFFF) * unit) >> 32;
    let nanos = if micros { scale(1_000_000) * 1000 } else { scale(1_000_000_000) };
    Timestamp::new(seconds + era - 2_208_988_800, nanos as i32).ok()
}

pub(crate) fn number(number: u64) -> Value<'static> {
    i64::try_from(number).map_or(Value::Uint(number), Value::Int)
}

pub(crate) fn mac(bytes: &[u8]) -> Value<'static> {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":").into()
}

/// Text, without the zeros that fill a field of fixed length.
fn text(bytes: &[u8]) -> Value<'_> {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    String::from_utf8_lossy(&bytes[..end]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_sorted_and_whole() {
        let lines = include_str!("elements.tsv").lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(ELEMENTS.len(), lines, "a line that cannot be read");
        assert!(ELEMENTS.is_sorted_by(|one, next| one.0 < next.0));
        assert!(ELEMENTS.iter().all(|(_, _, kind)| b"uifbsalm46SMUN".contains(kind)));
    }

    #[test]
    fn names_of_all_schools() {
        assert_eq!(name((0, 8)), "sourceIPv4Address");
        assert_eq!(name((29_305, 1)), "reverseOctetDeltaCount");
        assert_eq!(name((6871, 33)), "silkAppLabel");
        assert_eq!(name((SCOPE, 2)), "scopeInterface");
        assert_eq!((name((0, 65_000)), name((99_999, 7))), ("element_65000".into(), "enterprise_99999_7".into()));
    }

    #[test]
    fn values_by_type() {
        let text = |id, bytes: &[u8]| value(id, bytes).text().expect("a value").into_owned();
        assert_eq!(value((0, 1), &[1, 0]), Value::Int(256), "fewer bytes than the type has");
        assert_eq!(value((0, 1), &[0xFF; 8]), Value::Uint(u64::MAX));
        assert_eq!(text((0, 1), &[7; 9]), "070707070707070707", "more bytes than the type has");
        assert_eq!(text((0, 8), &[192, 0, 2, 7]), "192.0.2.7");
        assert_eq!(text((0, 56), &[0, 1, 2, 3, 4, 0xAB]), "00:01:02:03:04:ab");
        assert_eq!(text((0, 82), b"ge-0/0/1\0\0"), "ge-0/0/1");
        assert_eq!(text((0, 152), &1_767_604_364_005_u64.to_be_bytes()), "2026-01-05T09:12:44.005Z");
        assert_eq!(text((0, 154), &0xED05_FF0C_8000_0000_u64.to_be_bytes()), "2026-01-05T09:12:44.5Z");
        assert_eq!(text((0, 276), &[2]), "false");
        assert_eq!(text((99_999, 7), &[0xBE, 0xEF]), "beef");
    }
}
