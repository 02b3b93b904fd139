//! RFC 3161 time-stamp responses: what they say, not whether their authority is to be trusted (that is for `openssl ts -verify`).
use crate::{Hash, text};

/// The time in a response about bytes of this hash, in microseconds since 1970. The reason follows "the response".
pub(crate) fn read(response: &[u8], hash: &Hash) -> Result<i64, String> {
    let mut all = Der(response);
    let mut body = all.enter(SEQUENCE).filter(|_| all.0.is_empty()).ok_or("is no TimeStampResp")?;
    let status = body.enter(SEQUENCE).and_then(|mut status| status.take(INTEGER)).ok_or("is no TimeStampResp")?;
    if !matches!(status, [0 | 1]) {
        return Err("is a refusal".into());
    }
    let info = content(body).ok_or("holds no signed TSTInfo")?;
    let (algorithm, imprint, at) = info_of(info).ok_or("holds a TSTInfo that cannot be read")?;
    if algorithm == SHA_256 && imprint == hash { Ok(at) } else { Err("is about something else".into()) }
}

/// The TSTInfo in a ContentInfo with SignedData (RFC 5652).
fn content(mut token: Der<'_>) -> Option<&[u8]> {
    let mut content = token.enter(SEQUENCE).filter(|_| token.0.is_empty())?;
    content.take(OID).filter(|kind| *kind == SIGNED_DATA)?;
    let mut signed = content.enter(CONTEXT_0)?.enter(SEQUENCE)?;
    signed.take(INTEGER)?;
    signed.take(SET)?;
    let mut inner = signed.enter(SEQUENCE)?;
    inner.take(OID).filter(|kind| *kind == TST_INFO)?;
    inner.enter(CONTEXT_0)?.take(OCTETS)
}

/// Hash algorithm, imprint and time.
fn info_of(bytes: &[u8]) -> Option<(&[u8], &[u8], i64)> {
    let mut all = Der(bytes);
    let mut info = all.enter(SEQUENCE).filter(|_| all.0.is_empty())?;
    info.take(INTEGER).filter(|version| *version == [1])?;
    info.take(OID)?;
    let mut imprint = info.enter(SEQUENCE)?;
    let algorithm = imprint.enter(SEQUENCE)?.take(OID)?;
    let hash = imprint.take(OCTETS)?;
    info.take(INTEGER)?;
    Some((algorithm, hash, time(info.take(GENERALIZED_TIME)?)?))
}

/// `YYYYMMDDhhmmss[.fraction]Z`.
fn time(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let part = |from: usize, to: usize| &whole[from..to];
    let (date, clock) = ((part(0, 4), part(4, 6), part(6, 8)), (part(8, 10), part(10, 12), part(12, 14)));
    text::time(&format!("{}-{}-{}T{}:{}:{}.{fraction:0<6.6}Z", date.0, date.1, date.2, clock.0, clock.1, clock.2))
}

/// Elements of DER, read from the front.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next element, which has this tag and a definite length in its shortest form.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..0x80 => (usize::from(*first), rest),
            first => {
                let (digits, rest) =
                    rest.split_at_checked(usize::from(first & 0x7f)).filter(|(digits, _)| (1..=4).contains(&digits.len()))?;
                let length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
                (digits[0] != 0 && length >= 0x80).then_some((length, rest))?
            }
        };
        let (content, rest) = rest.split_at_checked(length).filter(|_| *found == tag)?;
        self.0 = rest;
        Some(content)
    }

    fn enter(&mut self, tag: u8) -> Option<Der<'a>> {
        self.take(tag).map(Der)
    }
}

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONTEXT_0: u8 = 0xa0;
/// 2.16.840.1.101.3.4.2.1
const SHA_256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// 1.2.840.113549.1.7.2
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// 1.2.840.113549.1.9.16.1.4
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
