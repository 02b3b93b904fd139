//! The fields of a protobuf message, without its schema. Nothing is copied, nothing recurses.
//!
//! Wire format: <https://protobuf.dev/programming-guides/encoding/>; groups, which it calls deprecated, are not read.

/// The fields of a message, in the order they were written.
#[derive(Clone, Debug)]
pub struct Fields<'a>(&'a [u8]);

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// A variable-length number: whole, boolean or of an enumeration.
    Number(u64),
    /// Eight bytes, little-endian.
    Eight(u64),
    /// Text, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
    /// Four bytes, little-endian.
    Four(u32),
}

/// The bytes are no protobuf message, or end inside a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a protobuf message")]
pub struct NotProtobuf;

impl From<NotProtobuf> for String {
    fn from(error: NotProtobuf) -> Self {
        error.to_string()
    }
}

impl<'a> Fields<'a> {
    /// The fields of these bytes.
    pub const fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn field(&mut self) -> Option<(u64, Field<'a>)> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Field::Number(self.varint()?),
            1 => Field::Eight(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Four(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        (key >> 3 != 0).then_some((key >> 3, value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for nth in 0..10 {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f).checked_shl(7 * nth)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    /// Number and value of a field; nothing follows an error.
    type Item = Result<(u64, Field<'a>), NotProtobuf>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(NotProtobuf))
    }
}
