//! RFC 3161 time-stamp responses: what they say, not whether their authority is to be trusted (that is for `openssl ts -verify`).
use crate::{
    Hash,
    bytes::Bytes,
    text::{self, need},
};

/// The time in a response about bytes of this hash, in microseconds since 1970. The reason follows "the response".
pub(crate) fn read(response: &[u8], hash: &Hash) -> Result<i64, String> {
    let mut body = Der::whole(response).ok_or("is no TimeStampResp")?;
    let status = body.enter(SEQUENCE).and_then(|mut status| status.take(INTEGER)).ok_or("is no TimeStampResp")?;
    need(matches!(status, [0 | 1]), "is a refusal")?;
    let (algorithm, imprint, at) = content(body).and_then(info_of).ok_or("holds no TSTInfo that can be read")?;
    need(algorithm == SHA_256 && imprint == hash, "is about something else").map(|()| at)
}

/// The TSTInfo in a ContentInfo with SignedData (RFC 5652).
fn content(token: Der<'_>) -> Option<&[u8]> {
    let mut content = Der::whole(token.0.0)?;
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
    let mut info = Der::whole(bytes)?;
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
    (whole.len() == 14 && digits(whole) && digits(fraction)).then_some(())?;
    let [year, month, day, hour, minute, second] =
        [0..4, 4..6, 6..8, 8..10, 10..12, 12..14].map(|part: std::ops::Range<usize>| &whole[part]);
    text::time(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}.{fraction:0<6.6}Z"))
}

/// Elements of DER, read from the front.
struct Der<'a>(Bytes<'a>);

impl<'a> Der<'a> {
    /// The content of the next element, which has this tag and a definite length in its shortest form.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let Der(rest) = self;
        rest.byte().filter(|found| *found == tag)?;
        let first = usize::from(rest.byte()?);
        if first < 0x80 {
            return rest.take(first);
        }
        let digits = rest.take(first & 0x7f).filter(|digits| (1..=4).contains(&digits.len()) && digits[0] != 0)?;
        let length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
        rest.take(length).filter(|_| length >= 0x80)
    }

    fn enter(&mut self, tag: u8) -> Option<Der<'a>> {
        self.take(tag).map(|content| Der(Bytes(content)))
    }

    /// The one element that these bytes are.
    fn whole(bytes: &'a [u8]) -> Option<Self> {
        let mut all = Der(Bytes(bytes));
        all.enter(SEQUENCE).filter(|_| all.0.0.is_empty())
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
