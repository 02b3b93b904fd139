//! Lines of a stream, in chunks that make a delivery.
use std::io::{self, Read};

/// Cuts what it reads into lines, as it comes: a chunk never waits for more than is there.
pub(super) struct Lines<R> {
    reader: R,
    /// Read and not given out.
    carry: Vec<u8>,
    ended: bool,
}

/// Some records, each followed by a line break.
pub(super) struct Chunk {
    pub(super) body: Vec<u8>,
    pub(super) count: u64,
    /// Bytes of the stream that they, and empty lines between them, took.
    pub(super) consumed: u64,
    /// Whether the stream had no more for now.
    pub(super) at_end: bool,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, carry: Vec::new(), ended: false }
    }

    /// The next records, at most `max`. An unfinished last line is a record only if it is the `last` word.
    pub(super) fn chunk(&mut self, max: u64, last: bool) -> io::Result<Chunk> {
        let mut chunk = Chunk { body: Vec::new(), count: 0, consumed: 0, at_end: false };
        self.ended = false;
        while !self.ended && self.carry.len() < RECORD_MAX && memchr::memchr(b'\n', &self.carry).is_none() {
            self.read()?;
        }
        let mut at = 0;
        while chunk.count < max && chunk.body.len() < BODY_ENOUGH {
            let rest = &self.carry[at..];
            let end = memchr::memchr(b'\n', &rest[..rest.len().min(RECORD_MAX)]);
            let (line, taken) = match end {
                Some(end) => (&rest[..end], end + 1),
                // Longer lines come in pieces, as the listener cuts them too.
                None if rest.len() >= RECORD_MAX => (&rest[..RECORD_MAX], RECORD_MAX),
                None if self.ended && last && !rest.is_empty() => (rest, rest.len()),
                None => break,
            };
            chunk.take(line);
            at += taken;
        }
        self.carry.drain(..at);
        chunk.consumed = at as u64;
        chunk.at_end = self.ended && at == 0;
        Ok(chunk)
    }

    fn read(&mut self) -> io::Result<()> {
        let have = self.carry.len();
        self.carry.resize(have + READ, 0);
        let read = self.reader.read(&mut self.carry[have..]);
        self.carry.truncate(have + read.as_ref().copied().unwrap_or(0));
        match read {
            Ok(0) => self.ended = true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Chunk {
    fn take(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.trim_ascii().is_empty() {
            self.body.extend_from_slice(line);
            self.body.push(b'\n');
            self.count += 1;
        }
    }
}

/// Read at once.
const READ: usize = 256 << 10;
/// A longer line is cut.
const RECORD_MAX: usize = 4 << 20;
/// A delivery takes no more records past so many bytes.
const BODY_ENOUGH: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// Every chunk's records, and the bytes consumed.
    fn all(text: &[u8], max: u64, last: bool) -> (Vec<String>, u64) {
        let (mut lines, mut bodies, mut consumed) = (Lines::new(text), Vec::new(), 0);
        loop {
            let chunk = lines.chunk(max, last).unwrap();
            assert!(chunk.count <= max && chunk.body.iter().filter(|byte| **byte == b'\n').count() as u64 == chunk.count);
            consumed += chunk.consumed;
            if chunk.count > 0 {
                bodies.push(String::from_utf8(chunk.body).unwrap());
            } else if chunk.at_end {
                return (bodies, consumed);
            }
        }
    }

    #[test]
    fn lines_make_chunks() {
        assert_eq!(all(b"a\r\n\n \nb\nc", 2, true), (vec!["a\nb\n".into(), "c\n".into()], 9));
        assert_eq!(all(b"a\nb\nc", 9, false), (vec!["a\nb\n".into()], 4), "an unfinished line waits");
        assert_eq!(all(b"", 9, true), (vec![], 0));
        assert_eq!(all(b"\n\n", 9, true), (vec![], 2));
    }

    #[test]
    fn a_line_without_end_comes_in_pieces() {
        let text = vec![b'x'; RECORD_MAX * 2 + 10];
        let (bodies, consumed) = all(&text, 10, true);
        let records: Vec<usize> = bodies.iter().flat_map(|body| body.lines()).map(str::len).collect();
        assert_eq!((records, consumed), (vec![RECORD_MAX, RECORD_MAX, 10], text.len() as u64));
    }
}
