//! DER, as far as RFC 3161 needs it: reading with every length checked, writing of short values.

/// Reads one element after the other. Every method gives `None` where the bytes are not DER of that kind.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next element.
    pub(super) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element: tag, content, and the whole with its head.
    pub(super) fn any(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        // Tags above 30 take more bytes and do not occur here.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (length, head) = length(rest)?;
        let whole = self.0.get(..1 + head + length)?;
        self.0 = &self.0[whole.len()..];
        Some((*tag, &whole[1 + head..], whole))
    }

    /// The content of the next element, which has this tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.peek()? != tag {
            return None;
        }
        self.any().map(|(_, content, _)| content)
    }

    /// As [`Reader::take`], to be read on.
    pub(super) fn enter(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.take(tag).map(Reader)
    }

    /// Passes over the next element if it has this tag.
    pub(super) fn skip(&mut self, tag: u8) {
        if self.peek() == Some(tag) {
            let _ = self.any();
        }
    }
}

/// A definite length in its shortest form, and how many bytes it takes.
fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    let (first, rest) = bytes.split_first()?;
    if *first < 0x80 {
        return Some((usize::from(*first), 1));
    }
    let count = usize::from(first & 0x7f);
    let digits = rest.get(..count).filter(|digits| (1..=4).contains(&count) && digits[0] != 0)?;
    let value = digits.iter().fold(0usize, |value, digit| value << 8 | usize::from(*digit));
    (value >= 0x80).then_some((value, 1 + count))
}

/// An element of these parts.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    if content.len() < 0x80 {
        out.push(content.len() as u8);
    } else {
        let digits: Vec<u8> = content.len().to_be_bytes().into_iter().skip_while(|digit| *digit == 0).collect();
        out.push(0x80 | digits.len() as u8);
        out.extend(digits);
    }
    out.extend(content);
    out
}

/// A positive INTEGER of these big-endian bytes.
pub(super) fn integer(bytes: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = bytes.iter().copied().skip_while(|digit| *digit == 0).collect();
    let sign: &[u8] = if digits.first().is_none_or(|first| *first >= 0x80) { &[0] } else { &[] };
    element(INTEGER, &[sign, &digits])
}

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// `[0]`, constructed.
pub(super) const CONTEXT_0: u8 = 0xa0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_have_one_form() {
        for size in [0, 1, 0x7f, 0x80, 0xff, 0x100, 70_000] {
            let bytes = element(OCTETS, &[&vec![7; size]]);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.take(OCTETS).map(<[u8]>::len), Some(size));
            assert!(reader.is_empty());
        }
        for wrong in
            [&[4, 0x81, 5, 1, 1, 1, 1, 1][..], &[4, 0x80, 0, 0], &[4, 3, 1, 1], &[4, 0x82, 0, 0x80], &[0x1f, 0x81, 0], &[4]]
        {
            assert!(Reader::new(wrong).any().is_none(), "{wrong:?}");
        }
        assert_eq!(integer(&[0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[]), [2, 1, 0]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            while reader.any().is_some() {}
        }
    }
}
