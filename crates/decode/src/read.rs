use std::borrow::Cow;
use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use jiff::Timestamp;

use crate::container::{Bomb, Counted, Guard, HEAD, Packing, ZipInput, leaves_folder};
use crate::{Decoder, Hint, Parsed, Problem, Splitter};

/// Bounds of reading. The defaults read any ordinary evidence and keep one stream below about 64 MiB of memory.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest raw record, in bytes.
    pub record_bytes_max: usize,
    /// How many containers may lie in each other.
    pub nesting_max: u32,
    /// Unpacked bytes per packed byte, once [`Limits::expand_free_bytes`] were unpacked.
    pub expand_ratio_max: u64,
    /// Below this many unpacked bytes no ratio is suspicious.
    pub expand_free_bytes: u64,
    /// Unpacked bytes of one member.
    pub expand_bytes_max: u64,
    /// Members of one archive.
    pub members_max: usize,
    /// Largest zip archive that may lie inside another container, in bytes: it has to be held in memory.
    pub inner_zip_bytes_max: u64,
    /// When the input counts as received, for times without a year; `None` takes the file's own time, else now.
    pub received: Option<Timestamp>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record_bytes_max: 16 << 20,
            nesting_max: 5,
            expand_ratio_max: 1000,
            expand_free_bytes: 256 << 20,
            expand_bytes_max: 64 << 30,
            members_max: 200_000,
            inner_zip_bytes_max: 512 << 20,
            received: None,
        }
    }
}

/// One raw record on its way to the record.
#[derive(Clone, Copy, Debug)]
pub struct RawRecord<'a> {
    /// The path as given, `!member` appended for each archive on the way.
    pub source: &'a str,
    /// The key its events name in [`Parsed::records`]: its place among the source's records, from 1.
    pub key: u64,
    /// Where in the unpacked source it starts.
    pub offset: u64,
    /// Its bytes.
    pub raw: &'a [u8],
    /// When it counts as received.
    pub received: Timestamp,
}

/// Takes what [`read`] finds. Every method has an empty default.
pub trait Sink {
    /// A raw record, before any event read from it.
    fn raw(&mut self, record: RawRecord<'_>) {
        let _ = record;
    }

    /// An event.
    fn event(&mut self, source: &str, parsed: Parsed<'_>) {
        let _ = (source, parsed);
    }

    /// Something wrong that belongs to the source and not to one event. `offset` is that in the unpacked source.
    fn problem(&mut self, source: &str, problem: Problem) {
        let _ = (source, problem);
    }

    /// Whether events are wanted at all; without them raw records are cut but not decoded.
    fn wants_events(&self) -> bool {
        true
    }

    /// Asked between records: true stops the reading.
    fn stopped(&self) -> bool {
        false
    }
}

/// Reads a stream named `name`: unpacks, cuts into records and decodes them.
pub fn read(input: Box<dyn Read + '_>, name: &str, limits: &Limits, sink: &mut dyn Sink) {
    let received = limits.received.unwrap_or_else(Timestamp::now);
    Walk { limits, sink, received }.stream(input, name, 0);
}

/// Reads a file, or every file of a folder in name order. What cannot be read is named as a problem and the rest goes on.
pub fn read_path(path: &Path, limits: &Limits, sink: &mut dyn Sink) {
    for found in files(path) {
        match found {
            Ok(file) => read_file(&file, limits, sink),
            Err((path, error)) => sink.problem(&path.to_string_lossy(), unreadable(&error)),
        }
    }
}

/// The files [`read_path`] would read, sorted by name in each folder, with the paths that could not be opened.
///
/// Links to folders are not followed; what is neither file nor folder is named as unreadable.
pub fn files(path: &Path) -> Vec<Result<PathBuf, (PathBuf, io::Error)>> {
    let mut found = Vec::new();
    walk(path, 0, &mut found);
    found
}

fn walk(path: &Path, depth: u32, found: &mut Vec<Result<PathBuf, (PathBuf, io::Error)>>) {
    const FOLDERS_DEEP: u32 = 256;
    let listed = fs::metadata(path).and_then(|meta| {
        if meta.is_file() {
            return Ok(None);
        }
        if !meta.is_dir() {
            return Err(io::Error::other("neither a file nor a folder"));
        }
        if depth >= FOLDERS_DEEP {
            return Err(io::Error::other("folders nested deeper than 256"));
        }
        let mut entries: Vec<PathBuf> =
            fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        entries.sort();
        Ok(Some(entries))
    });
    match listed {
        Ok(None) => found.push(Ok(path.to_owned())),
        Ok(Some(entries)) => {
            for entry in entries {
                if entry.is_symlink() && entry.is_dir() {
                    continue;
                }
                walk(&entry, depth + 1, found);
            }
        }
        Err(error) => found.push(Err((path.to_owned(), error))),
    }
}

fn read_file(path: &Path, limits: &Limits, sink: &mut dyn Sink) {
    let name = path.to_string_lossy();
    let opened = File::open(path).and_then(|mut file| {
        let mut head = [0u8; HEAD];
        let len = read_some(&mut file, &mut head)?;
        io::Seek::rewind(&mut file)?;
        let written = file.metadata().ok().and_then(|meta| meta.modified().ok()).and_then(|at| Timestamp::try_from(at).ok());
        Ok((file, Packing::told_by(&head[..len]), written))
    });
    match opened {
        Err(error) => sink.problem(&name, unreadable(&error)),
        Ok((file, packing, written)) => {
            let received = limits.received.or(written).unwrap_or_else(Timestamp::now);
            let mut walk = Walk { limits, sink, received };
            if packing == Packing::Zip {
                walk.zip(ZipInput::File(BufReader::new(file)), &name, 0);
            } else {
                walk.stream(Box::new(file), &name, 0);
            }
        }
    }
}

struct Walk<'s> {
    limits: &'s Limits,
    sink: &'s mut dyn Sink,
    received: Timestamp,
}

impl Walk<'_> {
    fn stream(&mut self, mut input: Box<dyn Read + '_>, source: &str, depth: u32) {
        let mut head = [0u8; HEAD];
        let len = match read_some(&mut input, &mut head) {
            Ok(len) => len,
            Err(error) => return self.sink.problem(source, unreadable(&error)),
        };
        let packing = Packing::told_by(&head[..len]);
        let input = Cursor::new(head[..len].to_vec()).chain(input);
        if packing != Packing::None && depth >= self.limits.nesting_max {
            let detail = format!("containers nested deeper than {}; kept packed", self.limits.nesting_max);
            self.sink.problem(source, Problem { code: "container.nesting", offset: 0, detail: Cow::Owned(detail) });
            return self.records(Box::new(input), source);
        }
        match packing {
            Packing::None => self.records(Box::new(input), source),
            Packing::Unread(name) => {
                let detail = format!("packed with {name}, which is not unpacked here; unpack it first");
                self.sink.problem(source, Problem { code: "container.unsupported", offset: 0, detail: Cow::Owned(detail) });
            }
            Packing::Gzip => {
                let (input, packed) = Counted::new(input);
                let unpacked = flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(64 << 10, input));
                self.stream(Box::new(Guard::new(unpacked, packed, self.limits)), source, depth + 1);
            }
            Packing::Zstd => {
                let (input, packed) = Counted::new(input);
                match zstd::stream::read::Decoder::new(input) {
                    Ok(unpacked) => self.stream(Box::new(Guard::new(unpacked, packed, self.limits)), source, depth + 1),
                    Err(error) => self.sink.problem(source, unreadable(&error)),
                }
            }
            Packing::Tar => self.tar(Box::new(input), source, depth),
            Packing::Zip => self.inner_zip(Box::new(input), source, depth),
        }
    }

    fn inner_zip(&mut self, input: Box<dyn Read + '_>, source: &str, depth: u32) {
        let max = self.limits.inner_zip_bytes_max;
        let mut bytes = Vec::new();
        if let Err(error) = input.take(max + 1).read_to_end(&mut bytes) {
            return self.sink.problem(source, unreadable(&error));
        }
        if bytes.len() as u64 > max {
            let detail = format!("a zip archive of more than {max} bytes inside another container; unpack it first");
            return self.sink.problem(source, Problem { code: "container.too_large", offset: 0, detail: Cow::Owned(detail) });
        }
        self.zip(ZipInput::Memory(Cursor::new(bytes)), source, depth);
    }

    fn zip(&mut self, input: ZipInput, source: &str, depth: u32) {
        let mut archive = match zip::ZipArchive::new(input) {
            Ok(archive) => archive,
            Err(error) => return self.sink.problem(source, broken_archive(&error)),
        };
        let count = archive.len();
        for index in 0..count.min(self.limits.members_max) {
            if self.sink.stopped() {
                return;
            }
            let known = archive.name_for_index(index).and_then(Result::ok).map_or_else(|| "?".to_owned(), Cow::into_owned);
            match archive.by_index(index) {
                Ok(member) if member.is_dir() => {}
                Ok(member) => {
                    let packed = Rc::new(Cell::new(member.compressed_size()));
                    let guarded = Guard::new(member, packed, self.limits);
                    self.member(Box::new(guarded), source, &known, depth);
                }
                Err(error) => self.sink.problem(&format!("{source}!{known}"), broken_archive(&error)),
            }
        }
        self.too_many(source, count);
    }

    fn tar(&mut self, input: Box<dyn Read + '_>, source: &str, depth: u32) {
        let mut archive = tar::Archive::new(input);
        let entries = match archive.entries() {
            Ok(entries) => entries,
            Err(error) => return self.sink.problem(source, unreadable(&error)),
        };
        for (index, entry) in entries.enumerate() {
            if index >= self.limits.members_max {
                return self.too_many(source, index + 1);
            }
            if self.sink.stopped() {
                return;
            }
            match entry {
                Ok(entry) if !entry.header().entry_type().is_file() => {}
                Ok(entry) => {
                    let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
                    self.member(Box::new(entry), source, &name, depth);
                }
                // The stream's position is lost with a broken header: nothing behind it can be found.
                Err(error) => return self.sink.problem(source, unreadable(&error)),
            }
        }
    }

    fn member(&mut self, input: Box<dyn Read + '_>, source: &str, name: &str, depth: u32) {
        let member = format!("{source}!{name}");
        if leaves_folder(name) {
            let detail = Cow::Borrowed("the name points out of the archive; it was read, nothing was written under it");
            self.sink.problem(&member, Problem { code: "container.unsafe_name", offset: 0, detail });
        }
        self.stream(input, &member, depth + 1);
    }

    fn too_many(&mut self, source: &str, count: usize) {
        if count > self.limits.members_max {
            let detail = format!("more than {} members; the rest was not read", self.limits.members_max);
            self.sink.problem(source, Problem { code: "container.members", offset: 0, detail: Cow::Owned(detail) });
        }
    }

    fn records(&mut self, input: Box<dyn Read + '_>, source: &str) {
        let mut splitter = Splitter::new(input, self.limits.record_bytes_max);
        let mut decoder = Decoder::new(Hint::default());
        let wants_events = self.sink.wants_events();
        let sink = &mut *self.sink;
        loop {
            let piece = match splitter.next_piece() {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(error) => {
                    sink.problem(source, unreadable(&error));
                    break;
                }
            };
            let (key, received) = (piece.number, self.received);
            if let Some(problem) = piece.problem {
                sink.problem(source, problem);
            }
            sink.raw(RawRecord { source, key, offset: piece.offset, raw: piece.raw, received });
            if wants_events {
                decoder.feed(key, key, piece.raw, received, &mut |parsed| sink.event(source, parsed));
            }
            if sink.stopped() {
                break;
            }
        }
        decoder.flush(&mut |parsed| sink.event(source, parsed));
    }
}

fn unreadable(error: &io::Error) -> Problem {
    let bomb = error.get_ref().is_some_and(|inner| inner.is::<Bomb>());
    let code = if bomb { "container.bomb" } else { "input.unreadable" };
    Problem { code, offset: 0, detail: Cow::Owned(error.to_string()) }
}

fn broken_archive(error: &zip::result::ZipError) -> Problem {
    Problem { code: "container.broken", offset: 0, detail: Cow::Owned(error.to_string()) }
}

/// Fills `out` as far as the input goes.
fn read_some(input: &mut dyn Read, out: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < out.len() {
        match input.read(&mut out[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}
