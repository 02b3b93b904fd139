use std::borrow::Cow;
use std::io::{self, Read};

use memchr::{memchr, memmem};

use crate::json::{Extent, extent};
use crate::text::{Encoding, byte_order_mark};
use crate::{Problem, android, artefact, asl, bsm, fsevents, journald, tracev3, utmp};

/// One raw record of a stream.
#[derive(Debug)]
pub struct Piece<'a> {
    /// The record's bytes, without the newline that ended it.
    pub raw: &'a [u8],
    /// Where in the stream it starts.
    pub offset: u64,
    /// Its place among the stream's records, from 1; blank lines count.
    pub number: u64,
    /// What was wrong with the cut itself.
    pub problem: Option<Problem>,
}

/// Cuts a byte stream into raw records: lines, JSON values, EVTX chunks, journal entries, login and audit records, chunks of Apple's logs,
/// told apart by content.
///
/// Memory stays near twice `record_max`: a longer record comes in several pieces, each with the problem `line_too_long`.
pub struct Splitter<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
    ended: bool,
    failed: Option<io::Error>,
    number: u64,
    mode: Mode,
    record_max: usize,
    /// Inside a line that was longer than `record_max`.
    in_long: bool,
    /// Up to this offset a `{` starts a line, not a JSON value: a value that never ended was given up here.
    flat_until: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Start,
    Lines,
    Wide(Encoding),
    Array,
    EvtxHeader,
    EvtxChunks,
    Journal,
    Logins,
    /// Audit records of BSM, chunks of the unified log, pages of file system events: each says how long it is.
    Framed(Framed),
    Tombstones,
    /// All of the file is one record.
    Whole,
    Binary,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Framed {
    Trail,
    UnifiedLog,
    FileEvents,
}

impl Framed {
    fn extent(self, window: &[u8]) -> Option<usize> {
        match self {
            Self::Trail => bsm::extent(window),
            Self::UnifiedLog => tracev3::extent(window),
            Self::FileEvents => fsevents::extent(window),
        }
    }
}

/// Bytes of one piece of a file that is neither text nor a format read here.
pub(crate) const PIECE: usize = 65_536;

const FIRST_READ: usize = 256 << 10;
const EVTX_HEADER: usize = 4096;
const EVTX_CHUNK: usize = 65_536;
/// The rest of a file that ends inside a JSON value stays one record up to this size.
const CUT_TAIL_MAX: usize = 64 << 10;

impl<R: Read> Splitter<R> {
    /// A splitter over `input`; `record_max` bounds one record, in bytes.
    pub fn new(input: R, record_max: usize) -> Self {
        Self {
            input,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            offset: 0,
            ended: false,
            failed: None,
            number: 0,
            mode: Mode::Start,
            record_max: record_max.max(EVTX_CHUNK),
            in_long: false,
            flat_until: 0,
        }
    }

    /// The next record, `None` at the end.
    ///
    /// # Errors
    /// A read that failed, once, after everything read before it was handed out.
    pub fn next_piece(&mut self) -> Result<Option<Piece<'_>>, io::Error> {
        let Some((len, eat, problem)) = self.cut() else {
            return self.failed.take().map_or(Ok(None), Err);
        };
        self.number += 1;
        let (start, offset) = (self.start, self.offset);
        self.consume(eat);
        Ok(Some(Piece { raw: &self.buffer[start..start + len], offset, number: self.number, problem }))
    }

    /// The length of the next record, how much of the buffer it uses up, and what is wrong with it.
    fn cut(&mut self) -> Option<(usize, usize, Option<Problem>)> {
        loop {
            if self.start == self.end && !self.fill() {
                return None;
            }
            match self.mode {
                Mode::Start => self.sniff(),
                Mode::Lines => {
                    if let Some(cut) = self.cut_text() {
                        return Some(cut);
                    }
                }
                Mode::Array => {
                    if let Some(cut) = self.cut_element() {
                        return Some(cut);
                    }
                }
                Mode::Wide(encoding) => return Some(self.cut_wide(encoding)),
                Mode::EvtxHeader => {
                    self.want(EVTX_HEADER);
                    self.mode = Mode::EvtxChunks;
                    let len = self.window().len().min(EVTX_HEADER);
                    return Some((len, len, None));
                }
                Mode::EvtxChunks => {
                    if let Some(cut) = self.cut_chunk() {
                        return Some(cut);
                    }
                }
                Mode::Journal => return Some(self.cut_entry()),
                Mode::Logins => return Some(self.cut_login()),
                Mode::Framed(kind) => return Some(self.cut_framed(kind)),
                Mode::Tombstones => return Some(self.cut_tombstone()),
                Mode::Whole => return Some(self.cut_whole()),
                Mode::Binary => {
                    self.want(PIECE);
                    let len = self.window().len().min(PIECE);
                    return Some((len, len, None));
                }
            }
        }
    }

    fn sniff(&mut self) {
        self.want(EVTX_HEADER);
        let window = &self.buffer[self.start..self.end];
        if let Some((encoding, len)) = byte_order_mark(window) {
            if encoding != Encoding::Utf8 {
                self.mode = Mode::Wide(encoding);
                return;
            }
            self.consume(len);
        }
        let window = &self.buffer[self.start..self.end];
        let head = &window[..window.len().min(EVTX_HEADER)];
        let blank = head.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if head.starts_with(b"ElfFile\0") {
            self.mode = Mode::EvtxHeader;
        } else if head.starts_with(b"ElfChnk\0") {
            self.mode = Mode::EvtxChunks;
        } else if head.starts_with(b"__CURSOR=") || head.starts_with(b"__REALTIME_TIMESTAMP=") {
            self.mode = Mode::Journal;
        } else if utmp::is_file(head) {
            self.mode = Mode::Logins;
        } else if let Some(mode) = of_phones_and_macs(head) {
            self.mode = mode;
        } else if let Some(len) = array_start(&head[blank..]) {
            self.consume(blank + len);
            self.mode = Mode::Array;
        } else if is_binary(head) {
            self.mode = Mode::Binary;
        } else {
            self.mode = Mode::Lines;
        }
    }

    fn cut_text(&mut self) -> Option<(usize, usize, Option<Problem>)> {
        if !self.in_long && self.offset >= self.flat_until && self.buffer[self.start] == b'{' {
            return Some(self.cut_json());
        }
        let mut searched = 0;
        loop {
            let window = self.window();
            let found = memchr(b'\n', &window[searched..]).map(|len| searched + len);
            if let Some(len) = found.filter(|len| *len < self.record_max) {
                if len == 0 && !self.in_long {
                    self.number += 1;
                    self.consume(1);
                    return None;
                }
                let problem = std::mem::take(&mut self.in_long).then(|| self.too_long());
                return Some((len, len + 1, problem));
            }
            searched = window.len();
            if searched >= self.record_max {
                self.in_long = true;
                return Some((self.record_max, self.record_max, Some(self.too_long())));
            }
            if !self.fill() {
                let problem = std::mem::take(&mut self.in_long).then(|| self.too_long());
                return Some((searched, searched, problem));
            }
        }
    }

    /// A JSON value at the start of the window, with what separates it from the next.
    fn cut_json(&mut self) -> (usize, usize, Option<Problem>) {
        loop {
            match extent(self.window()) {
                Extent::Whole(len) => return (len, len + self.separator(len), None),
                Extent::Cut(at) => {
                    let len = at - usize::from(self.buffer[self.start + at - 1] == b'\n');
                    let newline = usize::from(self.window()[at] == b'\n');
                    return (len, at + newline, None);
                }
                Extent::More if self.window().len() < self.record_max && self.fill() => {}
                Extent::More => return self.cut_open(),
            }
        }
    }

    /// A value that does not end in what we may hold: a short rest of the file is one record, else it goes on line by line.
    fn cut_open(&mut self) -> (usize, usize, Option<Problem>) {
        let len = self.window().len();
        if self.ended && len <= CUT_TAIL_MAX {
            let trimmed = self.window().trim_ascii_end().len().max(1);
            return (trimmed, len, None);
        }
        self.flat_until = self.offset + len as u64;
        match memchr(b'\n', self.window()) {
            Some(line) => (line, line + 1, None),
            None => {
                self.in_long = !self.ended;
                let len = len.min(self.record_max);
                (len, len, self.in_long.then(|| self.too_long()))
            }
        }
    }

    /// Blanks, one comma and one newline after a value at `len`.
    fn separator(&mut self, len: usize) -> usize {
        if self.window().len() < len + 3 {
            self.fill();
        }
        let rest = &self.window()[len..];
        let mut at = 0;
        while matches!(rest.get(at), Some(b' ' | b'\t' | b'\r' | b',')) {
            at += 1;
        }
        at + usize::from(rest.get(at) == Some(&b'\n'))
    }

    fn cut_element(&mut self) -> Option<(usize, usize, Option<Problem>)> {
        let window = self.window();
        let skip = window.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == b',').count();
        if skip > 0 {
            self.consume(skip);
            return None;
        }
        match window[0] {
            b']' | b'}' => {
                let skip = window.iter().take_while(|byte| byte.is_ascii_whitespace() || matches!(byte, b']' | b'}')).count();
                self.consume(skip);
                self.mode = Mode::Start;
                None
            }
            b'{' | b'[' => Some(self.cut_json()),
            _ => {
                let len = window.iter().take_while(|byte| !matches!(byte, b',' | b']' | b'\n')).count().max(1);
                Some((len, len, None))
            }
        }
    }

    fn cut_wide(&mut self, encoding: Encoding) -> (usize, usize, Option<Problem>) {
        let newline: [u8; 2] = if encoding == Encoding::Utf16Le { [b'\n', 0] } else { [0, b'\n'] };
        let mut from = 0;
        loop {
            let window = self.window();
            let found = memmem::find_iter(&window[from..], &newline).map(|at| from + at).find(|at| at % 2 == 0);
            if let Some(at) = found {
                return (at, at + 2, None);
            }
            from = window.len().saturating_sub(1) & !1;
            if window.len() >= self.record_max {
                let len = self.record_max & !1;
                return (len, len, Some(self.too_long()));
            }
            if !self.fill() {
                let len = self.window().len();
                return (len, len, None);
            }
        }
    }

    fn cut_chunk(&mut self) -> Option<(usize, usize, Option<Problem>)> {
        self.want(EVTX_CHUNK);
        let window = self.window();
        let len = window.len().min(EVTX_CHUNK);
        if window[..len].iter().all(|byte| *byte == 0) {
            // Windows sets chunks aside before it writes them.
            self.consume(len);
            return None;
        }
        let problem = (len < EVTX_CHUNK).then(|| Problem {
            code: "evtx.chunk_truncated",
            offset: self.offset,
            detail: Cow::Owned(format!("the file ends after {len} of the chunk's 65536 bytes")),
        });
        Some((len, len, problem))
    }

    fn cut_entry(&mut self) -> (usize, usize, Option<Problem>) {
        loop {
            match journald::extent(self.window()) {
                Some((len, eat)) => return (len, eat, None),
                None if self.window().len() >= self.record_max => {
                    return (self.record_max, self.record_max, Some(self.too_long()));
                }
                None if self.fill() => {}
                None => {
                    let len = self.window().len();
                    return (len, len, None);
                }
            }
        }
    }

    fn cut_login(&mut self) -> (usize, usize, Option<Problem>) {
        self.want(utmp::RECORD);
        let len = self.window().len().min(utmp::RECORD);
        let problem = (len < utmp::RECORD).then(|| Problem {
            code: "utmp.record_truncated",
            offset: self.offset,
            detail: Cow::Owned(format!("the file ends after {len} of the record's 384 bytes")),
        });
        (len, len, problem)
    }

    /// A record that says how long it is. Where one does not, nothing behind it can be found.
    fn cut_framed(&mut self, kind: Framed) -> (usize, usize, Option<Problem>) {
        self.want(EVTX_HEADER);
        let Some(len) = kind.extent(self.window()).filter(|len| (1..=self.record_max).contains(len)) else {
            self.mode = Mode::Binary;
            let len = self.window().len().min(PIECE);
            return (len, len, None);
        };
        self.want(len);
        let have = self.window().len().min(len);
        // What fills a last chunk up to eight bytes may not have been written.
        let problem = (have + 7 < len).then(|| Problem {
            code: "record_truncated",
            offset: self.offset,
            detail: Cow::Owned(format!("the file ends after {have} of the record's {len} bytes")),
        });
        (have, have, problem)
    }

    fn cut_tombstone(&mut self) -> (usize, usize, Option<Problem>) {
        loop {
            match android::tombstone_extent(self.window()) {
                Some(len) => return (len, len, None),
                None if self.window().len() < self.record_max && self.fill() => {}
                None => return self.cut_whole(),
            }
        }
    }

    fn cut_whole(&mut self) -> (usize, usize, Option<Problem>) {
        self.want(self.record_max);
        let len = self.window().len().min(self.record_max);
        let problem = (len == self.record_max && !self.ended).then(|| self.too_long());
        (len, len, problem)
    }

    fn too_long(&self) -> Problem {
        let detail = Cow::Owned(format!("longer than {} bytes; kept in several records", self.record_max));
        Problem { code: "line_too_long", offset: self.offset, detail }
    }

    fn window(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn consume(&mut self, len: usize) {
        self.start += len;
        self.offset += len as u64;
    }

    fn want(&mut self, len: usize) {
        while self.end - self.start < len && self.fill() {}
    }

    /// Reads more behind the window; false at the end of the input.
    fn fill(&mut self) -> bool {
        if self.ended {
            return false;
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            let len = (self.buffer.len() * 2).max(FIRST_READ);
            self.buffer.resize(len, 0);
        }
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(len) => self.end += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.ended = true;
                    self.failed = Some(error);
                }
            }
            return !self.ended;
        }
    }
}

/// How a file of macOS, iOS or Android is cut, by how it starts; `None` if it is none of these.
fn of_phones_and_macs(head: &[u8]) -> Option<Mode> {
    if bsm::is_file(head) {
        return Some(Mode::Framed(Framed::Trail));
    }
    if tracev3::is_file(head) {
        return Some(Mode::Framed(Framed::UnifiedLog));
    }
    if fsevents::extent(head).is_some() {
        return Some(Mode::Framed(Framed::FileEvents));
    }
    if head.starts_with(android::TOMBSTONE) {
        return Some(Mode::Tombstones);
    }
    let kind = artefact::Kind::told_by(head);
    if head.starts_with(asl::MAGIC) || kind.is_some_and(artefact::Kind::is_whole) {
        return Some(Mode::Whole);
    }
    kind.map(|_| Mode::Binary)
}

/// The length of what opens a list of objects: `[`, or a wrapper such as CloudTrail's `{"Records":[`.
fn array_start(head: &[u8]) -> Option<usize> {
    const WRAPPERS: [&[u8]; 5] = [b"\"Records\"", b"\"records\"", b"\"Events\"", b"\"events\"", b"\"value\""];
    let blank = |at: usize| at + head[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let mut at = 0;
    if head.first() == Some(&b'{') {
        at = blank(1);
        let name = WRAPPERS.iter().find(|name| head[at..].starts_with(name))?;
        at = blank(at + name.len());
        if head.get(at) != Some(&b':') {
            return None;
        }
        at = blank(at + 1);
    }
    if head.get(at) != Some(&b'[') {
        return None;
    }
    let first = blank(at + 1);
    (head.get(first) == Some(&b'{')).then_some(at + 1)
}

/// Bytes that are no text: NULs, or many control characters.
fn is_binary(head: &[u8]) -> bool {
    let head = &head[..head.len().min(1024)];
    let odd = head.iter().filter(|byte| **byte < 0x09 || (0x0E..0x1B).contains(*byte)).count();
    // A short file with a few odd bytes is better read line by line.
    head.len() >= 256 && odd * 20 > head.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(input: &[u8]) -> Vec<String> {
        // One byte a read shows every place where the window may end.
        struct Drip<'a>(&'a [u8]);
        impl Read for Drip<'_> {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                let len = self.0.len().min(out.len()).min(1);
                out[..len].copy_from_slice(&self.0[..len]);
                self.0 = &self.0[len..];
                Ok(len)
            }
        }
        let mut splitter = Splitter::new(Drip(input), 1 << 20);
        let mut all = Vec::new();
        while let Some(piece) = splitter.next_piece().expect("no read fails") {
            all.push(String::from_utf8_lossy(piece.raw).into_owned());
        }
        all
    }

    #[test]
    fn lines_and_json_values() {
        assert_eq!(pieces(b"a\n\nb\r\nc"), ["a", "b\r", "c"]);
        assert_eq!(pieces(b"{\"a\":1}\n{\"b\":\"}\\\"\"}\n"), ["{\"a\":1}", "{\"b\":\"}\\\"\"}"]);
        assert_eq!(pieces(b"{\"a\":1}{\"b\":2} {\"c\":3}"), ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]);
        assert_eq!(pieces(b"{\n \"a\": {\n  \"b\": 1\n }\n}\n{\"c\":1}"), ["{\n \"a\": {\n  \"b\": 1\n }\n}", "{\"c\":1}"]);
    }

    #[test]
    fn lists_of_objects() {
        assert_eq!(pieces(b"[{\"a\":1},\n {\"b\":[1,2]}]\n"), ["{\"a\":1}", "{\"b\":[1,2]}"]);
        assert_eq!(pieces(b"{\"Records\": [{\"a\":1},{\"b\":2}]}\n"), ["{\"a\":1}", "{\"b\":2}"]);
        assert_eq!(pieces(b"[2024] text\n"), ["[2024] text"]);
    }

    #[test]
    fn a_broken_value_does_not_swallow_the_next() {
        assert_eq!(pieces(b"{\"a\":{\"b\":1\n{\"c\":2}\n"), ["{\"a\":{\"b\":1", "{\"c\":2}"]);
        assert_eq!(pieces(b"{\"a\":\"open\n{\"c\":2}\n"), ["{\"a\":\"open", "{\"c\":2}"]);
        assert_eq!(pieces(b"{\"a\":1}\n{\"c\":"), ["{\"a\":1}", "{\"c\":"]);
    }

    #[test]
    fn a_long_line_comes_in_pieces() {
        let mut input = vec![b'x'; 200_000];
        input.extend_from_slice(b"\nshort\n");
        let mut splitter = Splitter::new(&input[..], 65_536);
        let mut seen = Vec::new();
        while let Some(piece) = splitter.next_piece().expect("no read fails") {
            seen.push((piece.raw.len(), piece.problem.map(|problem| problem.code)));
        }
        let long = Some("line_too_long");
        assert_eq!(seen, [(65_536, long), (65_536, long), (65_536, long), (3_392, long), (5, None)]);
    }

    #[test]
    fn utf16_lines_keep_their_bytes() {
        let raw: Vec<u8> = "\u{feff}a\nb".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut splitter = Splitter::new(&raw[..], 1 << 20);
        assert_eq!(splitter.next_piece().expect("reads").expect("a line").raw, [0xFF, 0xFE, b'a', 0]);
        assert_eq!(splitter.next_piece().expect("reads").expect("a line").raw, [b'b', 0]);
    }
}
