//! Thrift's compact encoding, as Parquet uses it for its metadata: bytes to a tree of values, looked at by field number.

/// A value; lists, structures and texts point into the bytes they were read from.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    Int(i64),
    Bytes(&'a [u8]),
    List(Vec<Value<'a>>),
    Struct(Vec<(i16, Value<'a>)>),
}

impl<'a> Value<'a> {
    pub(crate) fn field(&self, number: i16) -> Option<&Value<'a>> {
        let Value::Struct(fields) = self else { return None };
        fields.iter().find(|(field, _)| *field == number).map(|(_, value)| value)
    }

    pub(crate) fn int(&self, number: i16) -> Option<i64> {
        if let Some(Value::Int(value)) = self.field(number) { Some(*value) } else { None }
    }

    /// A field that counts or points: never negative.
    pub(crate) fn count(&self, number: i16) -> Option<u64> {
        u64::try_from(self.int(number)?).ok()
    }

    pub(crate) fn text(&self, number: i16) -> Option<&'a str> {
        if let Some(Value::Bytes(bytes)) = self.field(number) { std::str::from_utf8(bytes).ok() } else { None }
    }

    pub(crate) fn list(&self, number: i16) -> Option<&[Value<'a>]> {
        if let Some(Value::List(values)) = self.field(number) { Some(values) } else { None }
    }
}

/// Reads one structure; returns it and the bytes behind it. `None` if the encoding is broken or nests too deep, or for maps and
/// floating point numbers, which Parquet's metadata does not have.
pub(crate) fn read(bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let mut reader = Reader { bytes };
    let value = reader.structure(DEPTH)?;
    Some((value, reader.bytes))
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*byte)
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(usize::try_from(length).ok()?)?;
        self.bytes = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let (value, rest) = varint(self.bytes)?;
        self.bytes = rest;
        Some(value)
    }

    fn structure(&mut self, depth: u32) -> Option<Value<'a>> {
        let mut fields = Vec::new();
        let mut number = 0i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(Value::Struct(fields));
            }
            number = match head >> 4 {
                0 => i16::try_from(zigzag(self.varint()?)).ok()?,
                step => number.checked_add(i16::from(step))?,
            };
            let value = match head & 15 {
                // In a structure the type is the truth value itself.
                truth @ (1 | 2) => Value::Int(i64::from(truth == 1)),
                kind => self.value(kind, depth)?,
            };
            fields.push((number, value));
        }
    }

    fn value(&mut self, kind: u8, depth: u32) -> Option<Value<'a>> {
        let inner = depth.checked_sub(1)?;
        Some(match kind {
            1 | 2 => Value::Int(i64::from(self.byte()? == 1)),
            3 => Value::Int(i64::from(self.byte()? as i8)),
            4..=6 => Value::Int(zigzag(self.varint()?)),
            8 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                // Grows with the bytes read, so that a false count costs nothing.
                Value::List((0..count).map(|_| self.value(head & 15, inner)).collect::<Option<_>>()?)
            }
            12 => self.structure(inner)?,
            _ => return None,
        })
    }
}

/// A number of seven bits a byte, lowest first, and the bytes behind it.
pub(crate) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (n, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 127).checked_shl(7 * n as u32)?;
        if byte & 128 == 0 {
            return Some((value, &bytes[n + 1..]));
        }
    }
    None
}

pub(crate) fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Parquet's own metadata nests six deep.
const DEPTH: u32 = 16;
