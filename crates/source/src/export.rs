//! The export format of systemd's journal, cut into entries while it streams.
//!
//! A field is `NAME=value` and a line feed, or `NAME`, a line feed, a little-endian length of 64 bits, so many bytes and a line feed. An empty
//! line ends an entry.
use bytes::{Buf, Bytes, BytesMut};
use reeve_record::EventTime;

use crate::moment;

/// An entry, or a piece of one that was too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its fields, without the empty line after them.
    pub raw: Bytes,
    /// Its `__REALTIME_TIMESTAMP`, where that has been read by the end of this piece.
    pub claimed: Option<EventTime>,
    /// What is wrong with it, by the name it is counted under.
    pub problem: Option<&'static str>,
}

/// The stream is not in the export format: nothing after this can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// There is no `=` or line feed where a name has to end.
    #[error("a field's name does not end")]
    Name,
    /// There is no line feed behind a binary field.
    #[error("a binary field does not end where its length says")]
    Data,
}

/// Cuts a stream into entries.
#[derive(Debug)]
pub struct Entries {
    buffer: BytesMut,
    /// Everything before this in the buffer has been looked at.
    at: usize,
    state: State,
    claimed: Option<EventTime>,
    cut: bool,
    entry_bytes_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Where a field or the empty line begins.
    Field,
    /// In the value of a text field that began there; `None` if the start is in an earlier piece.
    Text { start: Option<usize> },
    /// At the length of a binary field.
    Size,
    /// In a binary field of which so much is still to come.
    Data { left: u64 },
}

impl Entries {
    /// Entries from the start of a stream. Longer ones than `entry_bytes_max` come out in pieces of that size.
    pub fn new(entry_bytes_max: usize) -> Self {
        let entry_bytes_max = entry_bytes_max.max(1);
        Self { buffer: BytesMut::new(), at: 0, state: State::Field, claimed: None, cut: false, entry_bytes_max }
    }

    /// The buffer that reads append to.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next entry, if it has arrived.
    ///
    /// # Errors
    /// [`ExportError`]; nothing more can be read then.
    #[allow(clippy::should_implement_trait, reason = "more may come after `None`, which an iterator forbids")]
    pub fn next(&mut self) -> Result<Option<Entry>, ExportError> {
        loop {
            if self.at > self.entry_bytes_max {
                return Ok(Some(self.piece()));
            }
            let step = match self.state {
                State::Field => self.field()?,
                State::Text { start } => self.text(start),
                State::Size => self.size(),
                State::Data { left } => self.data(left)?,
            };
            match step {
                Step::On => {}
                Step::End => return Ok(Some(self.entry())),
                Step::More if self.at > self.entry_bytes_max => {}
                Step::More => return Ok(None),
            }
        }
    }

    /// What is left when the stream has ended; call after [`Entries::next`] has no more.
    pub fn finish(&mut self) -> Option<Entry> {
        let raw = self.buffer.split().freeze();
        let whole = self.state == State::Field && self.at == raw.len();
        self.at = 0;
        let problem = if whole { self.cut.then_some(OVERSIZE) } else { Some("incomplete_at_close") };
        (!raw.is_empty()).then(|| Entry { raw, claimed: self.claimed.take(), problem })
    }

    fn field(&mut self) -> Result<Step, ExportError> {
        let rest = &self.buffer[self.at..];
        match rest.first() {
            None => return Ok(Step::More),
            Some(b'\n') if self.at > 0 => return Ok(Step::End),
            Some(b'\n') => {
                self.buffer.advance(1);
                return Ok(Step::On);
            }
            Some(_) => {}
        }
        let near = &rest[..rest.len().min(NAME_BYTES_MAX + 1)];
        let Some(end) = memchr::memchr2(b'=', b'\n', near) else {
            return if near.len() > NAME_BYTES_MAX { Err(ExportError::Name) } else { Ok(Step::More) };
        };
        self.state = if near[end] == b'=' { State::Text { start: Some(self.at) } } else { State::Size };
        self.at += end + 1;
        Ok(Step::On)
    }

    fn text(&mut self, start: Option<usize>) -> Step {
        let Some(length) = memchr::memchr(b'\n', &self.buffer[self.at..]) else {
            self.at = self.buffer.len();
            return Step::More;
        };
        let line = start.and_then(|start| self.buffer.get(start..self.at + length));
        if let Some(time) = line.and_then(|line| line.strip_prefix(b"__REALTIME_TIMESTAMP=")) {
            self.claimed = moment::microseconds(time);
        }
        self.at += length + 1;
        self.state = State::Field;
        Step::On
    }

    fn size(&mut self) -> Step {
        let Some(size) = self.buffer.get(self.at..self.at + 8).and_then(|size| size.try_into().ok()) else {
            return Step::More;
        };
        self.at += 8;
        self.state = State::Data { left: u64::from_le_bytes(size) };
        Step::On
    }

    fn data(&mut self, left: u64) -> Result<Step, ExportError> {
        let there = (self.buffer.len() - self.at) as u64;
        let taken = left.min(there);
        self.at += taken as usize;
        self.state = State::Data { left: left - taken };
        match self.buffer.get(self.at) {
            None => return Ok(Step::More),
            Some(b'\n') => {}
            Some(_) => return Err(ExportError::Data),
        }
        self.at += 1;
        self.state = State::Field;
        Ok(Step::On)
    }

    fn entry(&mut self) -> Entry {
        let raw = self.buffer.split_to(self.at).freeze();
        self.buffer.advance(1);
        self.at = 0;
        let problem = std::mem::take(&mut self.cut).then_some(OVERSIZE);
        Entry { raw, claimed: self.claimed.take(), problem }
    }

    fn piece(&mut self) -> Entry {
        let raw = self.buffer.split_to(self.entry_bytes_max).freeze();
        self.at -= self.entry_bytes_max;
        if let State::Text { start } = &mut self.state {
            *start = start.and_then(|start| start.checked_sub(self.entry_bytes_max));
        }
        self.cut = true;
        Entry { raw, claimed: self.claimed, problem: Some(OVERSIZE) }
    }
}

enum Step {
    On,
    More,
    End,
}

const OVERSIZE: &str = "oversize_split";
/// Names have 64 bytes at most.
const NAME_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries(stream: &[u8], step: usize, max: usize) -> (Vec<Entry>, Option<ExportError>) {
        let mut entries = Entries::new(max);
        let mut out = Vec::new();
        for part in stream.chunks(step.max(1)) {
            entries.buffer().extend_from_slice(part);
            loop {
                match entries.next() {
                    Ok(Some(entry)) => out.push(entry),
                    Ok(None) => break,
                    Err(error) => return (out, Some(error)),
                }
            }
        }
        out.extend(entries.finish());
        (out, None)
    }

    #[test]
    fn binary_fields_may_hold_what_would_end_an_entry() {
        let first = b"__CURSOR=a\n__REALTIME_TIMESTAMP=1767604364000001\nMESSAGE\n\x06\0\0\0\0\0\0\0a\n\nb=c\nPRIORITY=6\n";
        let stream = [&first[..], b"\n\n__CURSOR=b\nMESSAGE=x=y\n\n__CURSOR=c\n"].concat();
        let (got, error) = entries(&stream, 5, 1000);
        assert_eq!(error, None);
        assert_eq!(got.len(), 3);
        assert_eq!(&got[0].raw[..], first);
        assert_eq!(got[0].claimed.map(|time| time.at.as_microsecond()), Some(1_767_604_364_000_001));
        assert_eq!((&got[1].raw[..], got[1].claimed), (&b"__CURSOR=b\nMESSAGE=x=y\n"[..], None));
        assert_eq!((&got[2].raw[..], got[2].problem), (&b"__CURSOR=c\n"[..], None));
    }

    #[test]
    fn lies_about_lengths_are_named_and_take_no_memory() {
        let (got, error) = entries(b"A\n\xff\xff\xff\xff\xff\xff\xff\xff0123456789", 3, 8);
        assert_eq!((got.len(), error), (3, None));
        assert_eq!(got.last().and_then(|entry| entry.problem), Some("incomplete_at_close"));
        assert_eq!(entries(b"A\n\x01\0\0\0\0\0\0\0ab", 20, 100).1, Some(ExportError::Data));
        assert_eq!(entries(&[b'x'; 300], 300, 1000).1, Some(ExportError::Name));
    }

    proptest! {
        #[test]
        fn any_split_into_reads_gives_the_same_entries_and_all_bytes(
            pieces in proptest::collection::vec(prop_oneof![
                Just(b"A=b\n".to_vec()), Just(b"__REALTIME_TIMESTAMP=7\n".to_vec()), Just(b"\n".to_vec()),
                Just(b"M\n\x03\0\0\0\0\0\0\0\n\n=\n".to_vec()), Just(b"LONG=0123456789abcdef\n".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..12),
            ], 0..12),
            step in 1_usize..30,
            max in 1_usize..40,
        ) {
            let stream = pieces.concat();
            let (whole, error) = entries(&stream, stream.len(), max);
            let raws = |entries: &[Entry]| entries.iter().map(|entry| entry.raw.clone()).collect::<Vec<_>>();
            let (apart, apart_error) = entries(&stream, step, max);
            prop_assert_eq!((raws(&whole), error), (raws(&apart), apart_error));
            prop_assert!(whole.iter().all(|entry| (1..=max).contains(&entry.raw.len()) || entry.problem.is_some()));
            if error.is_none() {
                let kept: usize = whole.iter().map(|entry| entry.raw.len()).sum();
                prop_assert!(kept <= stream.len());
            }
        }
    }
}
