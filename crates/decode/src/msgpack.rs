//! MessagePack, value by value: where each begins and ends, and what it is. Nothing is copied, nothing recurses.

/// The head of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item<'a> {
    /// Nothing.
    Nil,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number above `i64::MAX`.
    Uint(u64),
    /// A floating-point number.
    Float(f64),
    /// Text, as its bytes.
    Text(&'a [u8]),
    /// Bytes.
    Binary(&'a [u8]),
    /// So many values follow.
    Array(usize),
    /// So many pairs follow.
    Map(usize),
    /// An extension's type and bytes.
    Extension(i8, &'a [u8]),
}

/// The bytes are no MessagePack, or end inside a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MsgpackError {
    /// A byte that begins no value.
    #[error("a byte that begins no value")]
    Unknown,
    /// The bytes end inside a value.
    #[error("the bytes end inside a value")]
    Incomplete,
    /// A value claims more than is taken.
    #[error("a value claims more than is taken")]
    TooLong,
}

/// Finds the end of a value that arrives bit by bit: each byte is looked at once.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Where the next head is; may be past what has arrived.
    at: u64,
    /// Values still to come.
    pending: u64,
}

impl Default for Extent {
    fn default() -> Self {
        Self { at: 0, pending: 1 }
    }
}

impl Extent {
    /// Looks on in `bytes`, which begin where they did before; the value's length once it is there.
    ///
    /// # Errors
    /// [`MsgpackError::Unknown`], or [`MsgpackError::TooLong`] as soon as it cannot end within `bytes_max`.
    pub fn find(&mut self, bytes: &[u8], bytes_max: usize) -> Result<Option<usize>, MsgpackError> {
        while self.pending > 0 {
            // Every value to come has a byte at least.
            if self.at.saturating_add(self.pending) > bytes_max as u64 {
                return Err(MsgpackError::TooLong);
            }
            let Some(rest) = usize::try_from(self.at).ok().and_then(|at| bytes.get(at..)) else { return Ok(None) };
            match head(rest) {
                Ok(head) => {
                    self.at += head.bytes as u64 + head.payload;
                    self.pending = self.pending - 1 + head.children;
                }
                Err(MsgpackError::Incomplete) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        if self.at > bytes_max as u64 {
            return Err(MsgpackError::TooLong);
        }
        Ok(usize::try_from(self.at).ok().filter(|end| *end <= bytes.len()))
    }
}

/// Reads values one after another.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// At the start of the bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What has not been read.
    pub const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Reads a head; what is in an array or map follows.
    ///
    /// # Errors
    /// As [`MsgpackError`] says; nothing is read then.
    pub fn item(&mut self) -> Result<Item<'a>, MsgpackError> {
        let head = head(self.0)?;
        let payload = usize::try_from(head.payload).map_err(|_| MsgpackError::Incomplete)?;
        let (value, rest) =
            self.0.get(head.bytes..).and_then(|rest| rest.split_at_checked(payload)).ok_or(MsgpackError::Incomplete)?;
        let item = head.item(self.0, value);
        self.0 = rest;
        Ok(item)
    }

    /// Reads a value with all that is in it, as its bytes.
    ///
    /// # Errors
    /// As [`Reader::item`].
    pub fn value(&mut self) -> Result<&'a [u8], MsgpackError> {
        let end = Extent::default().find(self.0, self.0.len())?.ok_or(MsgpackError::Incomplete)?;
        let (value, rest) = self.0.split_at_checked(end).ok_or(MsgpackError::Incomplete)?;
        self.0 = rest;
        Ok(value)
    }
}

/// Sizes of a value: of its head, of the bytes that belong to it, of the values in it.
struct Head {
    bytes: usize,
    payload: u64,
    children: u64,
}

fn head(bytes: &[u8]) -> Result<Head, MsgpackError> {
    let first = *bytes.first().ok_or(MsgpackError::Incomplete)?;
    let number = |size: usize| {
        let digits = bytes.get(1..=size).ok_or(MsgpackError::Incomplete)?;
        Ok(digits.iter().fold(0_u64, |number, digit| number << 8 | u64::from(*digit)))
    };
    let sized = |bytes, payload, children| Ok(Head { bytes, payload, children });
    match first {
        0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0.. => sized(1, 0, 0),
        0x80..=0x8f => sized(1, 0, 2 * u64::from(first & 0x0f)),
        0x90..=0x9f => sized(1, 0, u64::from(first & 0x0f)),
        0xa0..=0xbf => sized(1, u64::from(first & 0x1f), 0),
        0xc1 => Err(MsgpackError::Unknown),
        0xc4 | 0xd9 => sized(2, number(1)?, 0),
        0xc5 | 0xda => sized(3, number(2)?, 0),
        0xc6 | 0xdb => sized(5, number(4)?, 0),
        0xc7 => sized(2, number(1)? + 1, 0),
        0xc8 => sized(3, number(2)? + 1, 0),
        0xc9 => sized(5, number(4)? + 1, 0),
        0xca | 0xce | 0xd2 => sized(1, 4, 0),
        0xcb | 0xcf | 0xd3 => sized(1, 8, 0),
        0xcc | 0xd0 => sized(1, 1, 0),
        0xcd | 0xd1 => sized(1, 2, 0),
        0xd4..=0xd8 => sized(1, (1 << (first - 0xd4)) + 1, 0),
        0xdc => sized(3, 0, number(2)?),
        0xdd => sized(5, 0, number(4)?),
        0xde => sized(3, 0, 2 * number(2)?),
        0xdf => sized(5, 0, 2 * number(4)?),
    }
}

impl Head {
    /// The value whose head is at the start of `bytes`.
    fn item<'a>(&self, bytes: &'a [u8], value: &'a [u8]) -> Item<'a> {
        let first = bytes.first().copied().unwrap_or(0xc0);
        let number = value.iter().fold(0_u64, |number, digit| number << 8 | u64::from(*digit));
        // Moves the sign of a number of these bytes to where a number of 64 bits has it.
        let signed = |number: u64| (number << (64 - 8 * value.len())) as i64 >> (64 - 8 * value.len());
        match first {
            0x00..=0x7f => Item::Int(i64::from(first)),
            0xe0.. => Item::Int(i64::from(first as i8)),
            0xc2 | 0xc3 => Item::Bool(first == 0xc3),
            0xa0..=0xbf | 0xd9..=0xdb => Item::Text(value),
            0xc4..=0xc6 => Item::Binary(value),
            0xca => Item::Float(f64::from(f32::from_bits(number as u32))),
            0xcb => Item::Float(f64::from_bits(number)),
            0xcc..=0xcf => i64::try_from(number).map_or(Item::Uint(number), Item::Int),
            0xd0..=0xd3 => Item::Int(signed(number)),
            0x90..=0x9f | 0xdc | 0xdd => Item::Array(self.children as usize),
            0x80..=0x8f | 0xde | 0xdf => Item::Map(self.children as usize / 2),
            0xc7..=0xc9 | 0xd4..=0xd8 => match value.split_first() {
                Some((kind, value)) => Item::Extension(*kind as i8, value),
                None => Item::Nil,
            },
            _ => Item::Nil,
        }
    }
}

/// Appends text.
pub fn text(out: &mut Vec<u8>, text: &str) {
    out.push(0xdb);
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Appends bytes.
pub fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(0xc6);
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_is_read() {
        let bytes = b"\x7f\xff\xc0\xc3\xcc\xff\xd0\xff\xd1\xff\xfe\xce\xff\xff\xff\xff\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xcb\x3f\xf8\0\0\0\0\0\0\xca\x3f\xc0\0\0\
            \xa2hi\xc4\x01b\xd4\x05x\xc7\x02\xffab\x92\x81\xde\0\x03";
        let mut reader = Reader::new(bytes);
        let mut got = Vec::new();
        while let Ok(item) = reader.item() {
            got.push(item);
        }
        let whole = [
            Item::Int(127),
            Item::Int(-1),
            Item::Nil,
            Item::Bool(true),
            Item::Int(255),
            Item::Int(-1),
            Item::Int(-2),
            Item::Int(0xffff_ffff),
            Item::Uint(u64::MAX),
            Item::Float(1.5),
            Item::Float(1.5),
            Item::Text(b"hi"),
            Item::Binary(b"b"),
            Item::Extension(5, b"x"),
            Item::Extension(-1, b"ab"),
            Item::Array(2),
            Item::Map(1),
            Item::Map(3),
        ];
        assert_eq!(got, whole);
        assert_eq!(reader.rest(), b"");
    }

    #[test]
    fn claims_beyond_the_bound_are_refused_at_their_head() {
        for claim in [&b"\xc6\xff\xff\xff\xff"[..], b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff"] {
            assert_eq!(Extent::default().find(claim, 1 << 20), Err(MsgpackError::TooLong));
        }
        assert_eq!(Extent::default().find(b"\xc1", 10), Err(MsgpackError::Unknown));
        let deep = vec![0x91; 100_000];
        assert_eq!(Extent::default().find(&deep, 1 << 20), Ok(None));
    }

    proptest! {
        #[test]
        fn an_end_is_found_alike_however_the_bytes_arrive(bytes in proptest::collection::vec(prop_oneof![0x80..0xc4_u8, any::<u8>()], 1..60)) {
            let at_once = Extent::default().find(&bytes, 50);
            let mut extent = Extent::default();
            let mut apart = Ok(None);
            for end in 1..=bytes.len() {
                apart = extent.find(&bytes[..end], 50);
                if apart != Ok(None) {
                    break;
                }
            }
            prop_assert_eq!(at_once, apart);
            if let Ok(Some(end)) = at_once {
                let mut reader = Reader::new(&bytes);
                prop_assert_eq!(reader.value().map(<[u8]>::len), Ok(end));
            }
            let mut reader = Reader::new(&bytes);
            while reader.item().is_ok() {}
        }
    }
}
