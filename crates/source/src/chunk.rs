//! Messages of Fluent Forward, cut into events as the bytes they were sent in.
use bytes::Bytes;
use reeve_decode::msgpack::{Item, MsgpackError, Reader};
use reeve_record::EventTime;

use crate::{moment, packing::Packing};

/// What a message holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its tag; what is no UTF-8 in it is replaced.
    pub tag: String,
    /// Its events, in order.
    pub entries: Entries,
    /// Its id, as the value that was sent; an answer is wanted if there is one.
    pub id: Option<Bytes>,
    /// Whether it is one event, kept as the message that it is.
    pub is_message: bool,
}

/// An event: `[time, record]`, or the whole message if it holds one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its bytes.
    pub raw: Bytes,
    /// Its time.
    pub claimed: Option<EventTime>,
    /// What is wrong with it, by the name it is counted under.
    pub problem: Option<&'static str>,
}

/// The events of a message, cut one at a time: a million of a byte each take no more memory than their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries {
    rest: Bytes,
    cut: CutBy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum CutBy {
    /// Events follow one another.
    Value,
    /// There is one, and this is said of it.
    Nothing { claimed: Option<EventTime>, problem: Option<&'static str> },
}

impl Entries {
    fn one(raw: Bytes, claimed: Option<EventTime>, problem: Option<&'static str>) -> Self {
        Self { rest: raw, cut: CutBy::Nothing { claimed, problem } }
    }
}

impl Iterator for Entries {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if self.rest.is_empty() {
            return None;
        }
        if let CutBy::Nothing { claimed, problem } = self.cut {
            return Some(Entry { raw: std::mem::take(&mut self.rest), claimed, problem });
        }
        let value = Reader::new(&self.rest).value().map(<[u8]>::len);
        Some(match value {
            Ok(length) => entry(self.rest.split_to(length)),
            // Nothing after it can be found.
            Err(_) => Entry { raw: std::mem::take(&mut self.rest), claimed: None, problem: Some("entry_incomplete") },
        })
    }
}

/// Why a message is not taken; the connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is not `[tag, events, option]` in any of its forms.
    #[error("this is no message of the Forward protocol")]
    Shape,
    /// It is not MessagePack.
    #[error("this is not MessagePack")]
    Encoding,
    /// It claims to be longer than is taken.
    #[error("the message is too long")]
    TooLong,
}

impl Malformed {
    /// The name it is counted under.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shape => "forward_malformed",
            Self::Encoding => "forward_not_msgpack",
            Self::TooLong => "forward_too_long",
        }
    }
}

impl From<MsgpackError> for Malformed {
    fn from(error: MsgpackError) -> Self {
        if error == MsgpackError::TooLong { Self::TooLong } else { Self::Encoding }
    }
}

/// Reads a message; `None` for a nil, which only says that the client is there. What is wrong inside a chunk is kept as it came and named.
///
/// # Errors
/// [`Malformed`].
pub fn read(message: &Bytes, unpacked_bytes_max: usize) -> Result<Option<Chunk>, Malformed> {
    let mut reader = Reader::new(message);
    let length = match reader.item()? {
        Item::Nil => return Ok(None),
        Item::Array(length @ 2..) => length,
        _ => return Err(Malformed::Shape),
    };
    let Item::Text(tag) = reader.item()? else { return Err(Malformed::Shape) };
    if tag.len() > NAME_BYTES_MAX {
        return Err(Malformed::TooLong);
    }
    let tag = String::from_utf8_lossy(tag).into_owned();
    let events = reader.clone();
    let (first, is_message) =
        (reader.value()?, matches!(events.clone().item()?, Item::Int(_) | Item::Extension(..) | Item::Float(_)));
    if is_message && length < 3 {
        return Err(Malformed::Shape);
    }
    if is_message {
        reader.value()?;
    }
    let places = if is_message { 3 } else { 2 };
    let option = if length > places { Options::read(message, reader)? } else { Options::default() };
    let entries = match events.clone().item()? {
        _ if is_message => Entries::one(message.clone(), time(first), None),
        Item::Array(_) => listed(message, first)?,
        Item::Binary(packed) | Item::Text(packed) => of_packed(&message.slice_ref(packed), &option, unpacked_bytes_max),
        _ => return Err(Malformed::Shape),
    };
    Ok(Some(Chunk { tag, entries, id: option.chunk, is_message }))
}

/// The last value of a message.
#[derive(Default)]
struct Options {
    chunk: Option<Bytes>,
    compressed: Option<Bytes>,
}

impl Options {
    fn read(message: &Bytes, mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let mut found = Self::default();
        let Item::Map(pairs) = reader.item()? else { return Ok(found) };
        for _ in 0..pairs {
            let key = reader.value()?;
            let value = reader.value()?;
            match Reader::new(key).item()? {
                Item::Text(b"chunk") if value.len() > NAME_BYTES_MAX => return Err(Malformed::TooLong),
                Item::Text(b"chunk") if value != [0xc0] => found.chunk = Some(message.slice_ref(value)),
                Item::Text(b"compressed") => {
                    if let Item::Text(name) | Item::Binary(name) = Reader::new(value).item()? {
                        found.compressed = Some(message.slice_ref(name));
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// The events of an array.
fn listed(message: &Bytes, array: &[u8]) -> Result<Entries, Malformed> {
    let mut inside = Reader::new(array);
    inside.item()?;
    Ok(Entries { rest: message.slice_ref(inside.rest()), cut: CutBy::Value })
}

/// The events of a packed chunk. What cannot be unpacked is an event of its own with its problem.
fn of_packed(packed: &Bytes, option: &Options, unpacked_bytes_max: usize) -> Entries {
    match unpack(packed, option.compressed.as_deref(), unpacked_bytes_max) {
        Ok(rest) => Entries { rest, cut: CutBy::Value },
        Err(problem) => Entries::one(packed.clone(), None, Some(problem)),
    }
}

fn unpack(packed: &Bytes, compressed: Option<&[u8]>, bytes_max: usize) -> Result<Bytes, &'static str> {
    let packing = match compressed {
        None | Some(b"text" | b"") => return Ok(packed.clone()),
        Some(b"gzip") => Packing::Gzip,
        Some(b"zstd") => Packing::Zstd,
        Some(_) => return Err("packing_unknown"),
    };
    packing.unpack(packed, bytes_max).map_err(|error| error.name())
}

/// An event of a chunk: `[time, record]`, or `[[time, metadata], record]` as newer clients have it.
fn entry(raw: Bytes) -> Entry {
    let mut reader = Reader::new(&raw);
    let shape = reader.item();
    let first = reader.value().unwrap_or_default();
    let whole = matches!(shape, Ok(Item::Array(2..)));
    let claimed = if whole { time(first) } else { None };
    Entry { claimed, problem: (!whole).then_some("entry_malformed"), raw }
}

/// A time: seconds, or the extension of type 0 with seconds and nanoseconds; of an array its first value.
fn time(value: &[u8]) -> Option<EventTime> {
    let mut reader = Reader::new(value);
    let mut item = reader.item().ok()?;
    if matches!(item, Item::Array(1..)) {
        item = reader.item().ok()?;
    }
    match item {
        Item::Int(seconds) => moment::since_epoch(seconds, 0),
        Item::Float(seconds) => moment::seconds(&format!("{seconds:.9}")),
        Item::Extension(0, bytes) => {
            let number = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
            moment::since_epoch(i64::from(number(0)?), i32::try_from(number(4)?).ok()?)
        }
        _ => None,
    }
}

/// Tags and ids are names of some bytes: they are repeated, in envelopes and answers.
const NAME_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENTRY: &[u8] = b"\x92\xd7\0\x69\x5b\x7f\x3c\x07\x5b\xcd\x15\x81\xa3msg\xa3one";

    fn tagged(events: &[u8], option: &[u8]) -> Bytes {
        let head: &[u8] = if option.is_empty() { b"\x92\xa3app" } else { b"\x93\xa3app" };
        [head, events, option].concat().into()
    }

    fn binary(bytes: &[u8]) -> Vec<u8> {
        [&[0xc4, bytes.len() as u8][..], bytes].concat()
    }

    #[test]
    fn the_four_modes_give_the_same_event() {
        let option = b"\x82\xa5chunk\xa2id\xa4size\x01";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, ENTRY).unwrap();
        let compressed = [&b"\x82\xa5chunk\xa2id\xaacompressed\xa4gzip"[..]].concat();
        for message in [
            tagged(&[b"\x91", ENTRY].concat(), option),
            tagged(&binary(ENTRY), option),
            tagged(&binary(&gzip.finish().unwrap()), &compressed),
        ] {
            let chunk = read(&message, 1000).unwrap().unwrap();
            assert_eq!((&*chunk.tag, chunk.is_message, chunk.id.as_deref()), ("app", false, Some(&b"\xa2id"[..])));
            let entries: Vec<Entry> = chunk.entries.collect();
            assert_eq!((entries.len(), &entries[0].raw[..], entries[0].problem), (1, ENTRY, None));
            let at = entries[0].claimed.map(|time| time.at.to_string());
            assert_eq!(at.as_deref(), Some("2026-01-05T09:07:08.123456Z"));
        }
        let message = Bytes::from([&b"\x94\xa3app"[..], &ENTRY[1..], &option[..]].concat());
        let chunk = read(&message, 1000).unwrap().unwrap();
        let entries: Vec<Entry> = chunk.entries.collect();
        assert_eq!((chunk.is_message, &entries[0].raw, chunk.id.as_deref()), (true, &message, Some(&b"\xa2id"[..])));
        assert!(entries.len() == 1 && entries[0].claimed.is_some());
        assert_eq!(read(&Bytes::from_static(b"\xc0"), 10), Ok(None));
    }

    #[test]
    fn what_is_wrong_in_a_chunk_is_kept_and_named() {
        let problems = |message: Bytes| -> Vec<_> {
            read(&message, 1000).unwrap().unwrap().entries.map(|entry| (entry.raw.to_vec(), entry.problem)).collect()
        };
        assert_eq!(
            problems(tagged(b"\x92\x01\x92\x01\x80", b"")),
            [(vec![1], Some("entry_malformed")), (vec![0x92, 1, 0x80], None)]
        );
        let cut = &ENTRY[..10];
        assert_eq!(problems(tagged(&binary(cut), b"")), [(cut.to_vec(), Some("entry_incomplete"))]);
        let gzip = b"\x81\xaacompressed\xa4gzip";
        assert_eq!(problems(tagged(&binary(b"\x1f\x8bno"), gzip)), [(b"\x1f\x8bno".to_vec(), Some("packed_damaged"))]);
        let other = b"\x81\xaacompressed\xa3rar";
        assert_eq!(problems(tagged(&binary(b"x"), other)), [(b"x".to_vec(), Some("packing_unknown"))]);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for message in [&b"\x01"[..], b"\x91\xa1a", b"\x92\x01\x90", b"\x92\xa1a\x01", b"\x92\xa1a\x80", b"\x93\xa1a\xc0\x80"] {
            assert_eq!(read(&Bytes::copy_from_slice(message), 10), Err(Malformed::Shape), "{message:?}");
        }
        let long = [&b"\xda\x10\x01"[..], &[b'x'; 4097]].concat();
        for message in [[&b"\x92"[..], &long, b"\x90"].concat(), [&b"\x93\xa1a\x90\x81\xa5chunk"[..], &long].concat()] {
            assert_eq!(read(&message.into(), 10), Err(Malformed::TooLong));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(message in proptest::collection::vec(prop_oneof![0x80..0xc4_u8, any::<u8>()], 0..80), at in 0_usize..40, byte: u8) {
            let _ = read(&Bytes::from(message), 100).map(|chunk| chunk.map(|chunk| chunk.entries.count()));
            let mut whole = tagged(&[b"\x91", ENTRY].concat(), b"\x81\xa5chunk\xa2id").to_vec();
            let at = at % whole.len();
            whole[at] = byte;
            let length = whole.len();
            if let Ok(Some(chunk)) = read(&Bytes::from(whole), 100) {
                prop_assert!(chunk.entries.map(|entry| entry.raw.len()).sum::<usize>() <= length);
            }
        }
    }
}
