use std::borrow::Cow;

use memchr::memchr;

use crate::Problem;

/// How the characters of a text stream are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
}

/// The encoding a byte order mark at the start of `bytes` names, and the mark's length.
pub(crate) fn byte_order_mark(bytes: &[u8]) -> Option<(Encoding, usize)> {
    match bytes {
        [0xEF, 0xBB, 0xBF, ..] => Some((Encoding::Utf8, 3)),
        [0xFF, 0xFE, ..] => Some((Encoding::Utf16Le, 2)),
        [0xFE, 0xFF, ..] => Some((Encoding::Utf16Be, 2)),
        _ => None,
    }
}

/// The bytes as text. What is not valid is replaced by U+FFFD and named in `problems`; borrowed if nothing had to change.
pub(crate) fn decode<'a>(raw: &'a [u8], encoding: Encoding, problems: &mut Vec<Problem>) -> Cow<'a, str> {
    let raw = match byte_order_mark(raw) {
        Some((found, len)) if found == encoding || found == Encoding::Utf8 => &raw[len..],
        _ => raw,
    };
    if encoding != Encoding::Utf8 {
        return Cow::Owned(from_utf16(raw, encoding, problems));
    }
    if let Some(nul) = memchr(0, raw) {
        if let Some(encoding) = looks_utf16(raw) {
            return Cow::Owned(from_utf16(raw, encoding, problems));
        }
        problems.push(Problem { code: "text.nul", offset: nul as u64, detail: Cow::Borrowed("a NUL byte in text") });
    }
    match simdutf8::basic::from_utf8(raw) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let offset = std::str::from_utf8(raw).map_or_else(|error| error.valid_up_to(), str::len);
            let detail = Cow::Borrowed("not valid UTF-8; replaced by U+FFFD in the text, kept in the raw bytes");
            problems.push(Problem { code: "text.invalid_utf8", offset: offset as u64, detail });
            String::from_utf8_lossy(raw)
        }
    }
}

/// A line of a UTF-16 file whose byte order mark was seen elsewhere: half of all bytes, always on the same side, are zero.
fn looks_utf16(raw: &[u8]) -> Option<Encoding> {
    let pairs = raw.len() / 2;
    if pairs < 4 {
        return None;
    }
    let zeros = |start: usize| raw.iter().skip(start).step_by(2).filter(|byte| **byte == 0).count();
    let (first, second) = (zeros(0), zeros(1));
    if second * 10 >= pairs * 7 && first * 10 < pairs {
        Some(Encoding::Utf16Le)
    } else if first * 10 >= pairs * 7 && second * 10 < pairs {
        Some(Encoding::Utf16Be)
    } else {
        None
    }
}

fn from_utf16(raw: &[u8], encoding: Encoding, problems: &mut Vec<Problem>) -> String {
    let units = raw.chunks_exact(2).map(|pair| match encoding {
        Encoding::Utf16Be => u16::from_be_bytes([pair[0], pair[1]]),
        _ => u16::from_le_bytes([pair[0], pair[1]]),
    });
    let mut out = String::with_capacity(raw.len() / 2);
    let mut broken = raw.len() % 2 == 1;
    for unit in char::decode_utf16(units) {
        broken |= unit.is_err();
        out.push(unit.unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    if broken {
        let detail = Cow::Borrowed("not valid UTF-16; replaced by U+FFFD in the text, kept in the raw bytes");
        problems.push(Problem { code: "text.invalid_utf16", offset: 0, detail });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf16_is_told_by_its_zeros() {
        let raw: Vec<u8> = "type=LOGIN".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut problems = Vec::new();
        assert_eq!(decode(&raw, Encoding::Utf8, &mut problems), "type=LOGIN");
        assert_eq!(problems, []);
    }

    #[test]
    fn broken_text_is_replaced_and_named() {
        let mut problems = Vec::new();
        assert_eq!(decode(b"ab\xffc\0d", Encoding::Utf8, &mut problems), "ab\u{fffd}c\0d");
        let codes: Vec<_> = problems.iter().map(|problem| (problem.code, problem.offset)).collect();
        assert_eq!(codes, [("text.nul", 4), ("text.invalid_utf8", 2)]);
    }
}
