//! Thrift's compact encoding, as Parquet uses it for its metadata: bytes to a tree of values, looked at by field number.
use crate::bytes::Bytes;

/// A value; texts point into the bytes they were read from.
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

    /// The values of a list; of one that is not there, none.
    pub(crate) fn list(&self, number: i16) -> &[Value<'a>] {
        if let Some(Value::List(values)) = self.field(number) { values } else { &[] }
    }
}

/// Takes one structure. `None` if the encoding is broken or nests too deep, or for maps and floating point numbers, which Parquet's metadata
/// does not have.
pub(crate) fn read<'a>(bytes: &mut Bytes<'a>) -> Option<Value<'a>> {
    structure(bytes, DEPTH)
}

fn structure<'a>(bytes: &mut Bytes<'a>, depth: u32) -> Option<Value<'a>> {
    let (mut fields, mut number) = (Vec::new(), 0i16);
    loop {
        let head = bytes.byte()?;
        if head == 0 {
            return Some(Value::Struct(fields));
        }
        number = match head >> 4 {
            0 => i16::try_from(bytes.zigzag()?).ok()?,
            step => number.checked_add(i16::from(step))?,
        };
        let value = match head & 15 {
            // In a structure the type is the truth value itself.
            truth @ (1 | 2) => Value::Int(i64::from(truth == 1)),
            kind => value(bytes, kind, depth)?,
        };
        fields.push((number, value));
    }
}

fn value<'a>(bytes: &mut Bytes<'a>, kind: u8, depth: u32) -> Option<Value<'a>> {
    let inner = depth.checked_sub(1)?;
    Some(match kind {
        1 | 2 => Value::Int(i64::from(bytes.byte()? == 1)),
        3 => Value::Int(i64::from(bytes.byte()? as i8)),
        4..=6 => Value::Int(bytes.zigzag()?),
        8 => {
            let length = usize::try_from(bytes.varint()?).ok()?;
            Value::Bytes(bytes.take(length)?)
        }
        9 | 10 => {
            let head = bytes.byte()?;
            let count = if head >> 4 == 15 { bytes.varint()? } else { u64::from(head >> 4) };
            // Grows with the bytes read, so that a false count costs nothing.
            Value::List((0..count).map(|_| value(bytes, head & 15, inner)).collect::<Option<_>>()?)
        }
        12 => structure(bytes, inner)?,
        _ => return None,
    })
}

/// Parquet's own metadata nests six deep.
const DEPTH: u32 = 16;
