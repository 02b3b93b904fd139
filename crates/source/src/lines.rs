//! NDJSON, JSON arrays and text, cut into records without copying.
use std::fmt;

use bytes::Bytes;
use serde::{
    Deserializer as _,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// The lines that are not empty, without LF or CRLF. A line longer than `record_bytes_max` is cut in pieces of that size.
pub fn lines(body: &Bytes, record_bytes_max: usize) -> Cut {
    let mut cut = Cut::default();
    let mut at = 0;
    for end in memchr::memchr_iter(b'\n', body).chain(std::iter::once(body.len())) {
        let line = body.slice(at..end);
        at = (end + 1).min(body.len());
        cut.take(if line.ends_with(b"\r") { line.slice(..line.len() - 1) } else { line }, record_bytes_max);
    }
    cut
}

/// The elements of a JSON array, at most `elements_max`, or the one value that the body is, as the bytes they were written in.
///
/// # Errors
/// What is wrong with the JSON and where, in words.
pub fn array(body: &Bytes, record_bytes_max: usize, elements_max: usize) -> Result<Cut, String> {
    let mut cut = Cut::default();
    if body.trim_ascii_start().first() != Some(&b'[') {
        let value: &RawValue = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        cut.take(body.slice_ref(value.get().as_bytes()), record_bytes_max);
        return Ok(cut);
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let cutting = Elements { body, cut: &mut cut, record_bytes_max, elements_max };
    json.deserialize_seq(cutting).and_then(|()| json.end()).map_err(|error| error.to_string())?;
    Ok(cut)
}

/// Takes the elements of an array as they come.
struct Elements<'a> {
    body: &'a Bytes,
    cut: &'a mut Cut,
    record_bytes_max: usize,
    elements_max: usize,
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { body, cut, record_bytes_max, elements_max } = self;
        for taken in 0.. {
            let Some(element) = elements.next_element::<&'de RawValue>()? else { break };
            if taken == elements_max {
                return Err(A::Error::custom(format!("it has more than {elements_max} elements; send it in parts")));
            }
            cut.take(body.slice_ref(element.get().as_bytes()), record_bytes_max);
        }
        Ok(())
    }
}

/// Records cut from a body.
#[derive(Debug, Default)]
pub struct Cut {
    /// In order, none empty.
    pub records: Vec<Bytes>,
    /// How many were too long and came out in pieces.
    pub oversize: u64,
}

impl Cut {
    /// One record, in pieces if it is too long; none if it is empty.
    pub(crate) fn of(record: Bytes, record_bytes_max: usize) -> Self {
        let mut cut = Self::default();
        if !record.is_empty() {
            cut.push(record, record_bytes_max);
        }
        cut
    }

    /// A line or element; blank ones separate others.
    fn take(&mut self, record: Bytes, record_bytes_max: usize) {
        if !record.trim_ascii().is_empty() {
            self.push(record, record_bytes_max);
        }
    }

    fn push(&mut self, mut record: Bytes, record_bytes_max: usize) {
        let max = record_bytes_max.max(1);
        self.oversize += u64::from(record.len() > max);
        while record.len() > max {
            self.records.push(record.split_to(max));
        }
        self.records.push(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_ending() {
        let cut = lines(&Bytes::from_static(b"a\r\n\n  \nbb\nccccc"), 4);
        assert_eq!(cut.records, [&b"a"[..], b"bb", b"cccc", b"c"]);
        assert_eq!(cut.oversize, 1);
    }

    #[test]
    fn elements_keep_their_bytes() {
        let cut = array(&Bytes::from_static(b" [ {\"a\": 1} ,2, \"x\"]\n"), 100, 3).unwrap();
        assert_eq!(cut.records, [&b"{\"a\": 1}"[..], b"2", b"\"x\""]);
        assert!(array(&Bytes::from_static(b"[1,"), 100, 3).is_err());
        assert_eq!(array(&Bytes::from_static(b"{\"a\":1}"), 100, 3).unwrap().records.len(), 1);
    }
}
