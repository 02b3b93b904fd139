//! Numbers and parts out of binary records: every step is checked against the end.

/// A place in bytes that moves on as they are read.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// The same bytes, read from `at` on; `None` behind their end.
    pub(crate) fn from(data: &'a [u8], at: usize) -> Option<Self> {
        (at <= data.len()).then_some(Self { data, at })
    }

    /// Where the next byte is.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.data[self.at..]
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let found = self.data.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(found)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn be16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn be32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn be64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn le16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn le32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn le64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// The bytes up to a NUL, which is read too; `None` without one.
    pub(crate) fn c_string(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(0, self.rest())?;
        let found = self.take(end)?;
        self.at += 1;
        Some(found)
    }
}

/// The bytes before the first NUL.
pub(crate) fn until_nul(field: &[u8]) -> &[u8] {
    memchr::memchr(0, field).map_or(field, |end| &field[..end])
}

/// Sixteen bytes as `00000000-0000-0000-0000-000000000000`, in upper case as Apple writes them.
pub(crate) fn uuid(bytes: &[u8]) -> String {
    let digits = hex::encode_upper(bytes);
    match digits.len() {
        32 => [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-"),
        _ => digits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_past_the_end() {
        let mut bytes = Bytes::new(&[0, 1, 2, 3, b'a', 0, 9]);
        assert_eq!((bytes.be16(), bytes.le16()), (Some(1), Some(0x0302)));
        assert_eq!(bytes.c_string(), Some(&b"a"[..]));
        assert_eq!((bytes.be32(), bytes.take(usize::MAX), bytes.u8(), bytes.u8()), (None, None, Some(9), None));
        assert_eq!(bytes.position(), 7);
    }

    #[test]
    fn identifiers_have_their_dashes() {
        assert_eq!(
            uuid(&[0xE9, 0x55, 0xFE, 7, 0xAB, 0x9D, 0x48, 0xEC, 0xA8, 0x51, 0x97, 0xAC, 0x5C, 0x61, 0x11, 0x82]),
            "E955FE07-AB9D-48EC-A851-97AC5C611182"
        );
    }
}
