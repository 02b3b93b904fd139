//! A folder whose files appear, grow, are renamed, truncated and replaced.
//!
//! What was read is noted only after it is durable. A crash between the two leaves records that the note does not know; on start they are
//! matched against the files byte for byte ([`Watcher::recovered`]), so that nothing is kept twice and nothing is passed over.
use std::{
    collections::{HashMap, VecDeque},
    fs::{self, File, Metadata},
    io::{self, BufRead as _, BufReader, Read},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use reeve_record::{RecordId, Transport};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::{runtime::Handle, sync::watch};

use crate::{Arrival, Error, Intake};

/// Cuts a file that is not plain text (EVTX, archives) into raw records. Must give the same records each time.
pub type Splitter = Arc<dyn Fn(&Path, &mut dyn FnMut(Bytes)) -> io::Result<()> + Send + Sync>;

/// What to watch and how.
#[derive(Clone)]
pub struct WatchOptions {
    /// The folder; its subfolders are watched too, symbolic links are not followed, names that start with a dot are passed over.
    pub folder: PathBuf,
    /// Where it is noted how far files were read.
    pub position_file: PathBuf,
    /// How often the folder is looked at.
    pub interval: Duration,
    /// After how long without growth a last line without newline is taken as it is, and a file that is not text is taken as complete.
    pub settled_after: Duration,
    /// Longer lines are cut in pieces of this size.
    pub record_bytes_max: usize,
    /// For files that are not plain text; without one only `.gz` and `.zst` of text lines are read.
    pub splitter: Option<Splitter>,
}

impl WatchOptions {
    /// The usual intervals.
    pub fn new(folder: PathBuf, position_file: PathBuf) -> Self {
        Self {
            folder,
            position_file,
            interval: Duration::from_millis(250),
            settled_after: Duration::from_secs(5),
            record_bytes_max: 1 << 20,
            splitter: None,
        }
    }
}

/// Reads a watched folder.
pub struct Watcher {
    options: WatchOptions,
    note: Note,
    /// Where in `note.files` a file is.
    index: HashMap<Identity, usize>,
    live: HashMap<Identity, Live>,
    opened_at: Instant,
    /// Records that are durable but not noted, by source, in order.
    unnoted: HashMap<String, VecDeque<Bytes>>,
    saved_at: Instant,
    changed: bool,
    too_many: bool,
}

/// How far files were read, as written to disk.
#[derive(Serialize, Deserialize, Default)]
struct Note {
    version: u32,
    /// Every record of this folder before this id is reflected in `files`.
    through: RecordId,
    files: Vec<Noted>,
}

#[derive(Serialize, Deserialize, Clone)]
struct Noted {
    #[serde(flatten)]
    identity: Identity,
    source: String,
    /// Bytes of text read; records for a file that is read as a whole.
    offset: u64,
    /// The first bytes, to tell a file from another one under its inode, or from its own compressed copy.
    head: Head,
    complete: bool,
    seen_at: Timestamp,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
}

#[derive(Serialize, Deserialize, Clone, Default, PartialEq, Eq)]
struct Head {
    bytes: u64,
    sha256: String,
}

/// What is known of a file since this start only.
struct Live {
    size: u64,
    grew_at: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Whole,
}

impl Watcher {
    /// Opens the note of how far the folder was read; without one, everything in the folder is new. `end` is one past the last durable record.
    ///
    /// # Errors
    /// [`Error::Watch`] if folder or note cannot be read, [`Error::Position`] if the note is damaged.
    pub fn open(options: WatchOptions, end: RecordId) -> Result<Self, Error> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |cause| Error::Watch { path, cause }
        };
        fs::read_dir(&options.folder).map_err(failed(&options.folder))?;
        let note = match fs::read(&options.position_file) {
            Ok(bytes) => serde_json::from_slice::<Note>(&bytes)
                .map_err(|error| Error::Position { path: options.position_file.clone(), detail: error.to_string() })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Note { version: NOTE_VERSION, through: end, files: Vec::new() }
            }
            Err(error) => return Err(failed(&options.position_file)(error)),
        };
        if note.version != NOTE_VERSION {
            let detail = format!("version {}, expected {NOTE_VERSION}", note.version);
            return Err(Error::Position { path: options.position_file.clone(), detail });
        }
        let mut watcher = Self {
            options,
            index: index(&note.files),
            note,
            live: HashMap::new(),
            opened_at: Instant::now(),
            unnoted: HashMap::new(),
            saved_at: Instant::now(),
            changed: false,
            too_many: false,
        };
        // Written before the first record is: from here on a crash finds a note to start from.
        watcher
            .save(watcher.note.through)
            .map_err(|cause| Error::Watch { path: watcher.options.position_file.clone(), cause })?;
        Ok(watcher)
    }

    /// From where on durable records of [`Transport::Watch`] must be given to [`Watcher::recovered`].
    pub fn recover_from(&self) -> RecordId {
        self.note.through
    }

    /// Tells of a record of this folder that is durable; in the order of their ids, before [`Watcher::run`].
    pub fn recovered(&mut self, source: &str, raw: Bytes) {
        self.unnoted.entry(source.to_owned()).or_default().push_back(raw);
    }

    /// Watches until `stop` turns true, on a thread of its own.
    pub fn run(mut self, intake: Intake, stop: watch::Receiver<bool>) -> tokio::task::JoinHandle<()> {
        let handle = Handle::current();
        tokio::task::spawn_blocking(move || {
            while !*stop.borrow() {
                let more = self.look(&intake, &handle, &stop);
                let due = if self.changed { SAVE_CHANGED } else { SAVE_UNCHANGED };
                if self.saved_at.elapsed() >= due && self.unnoted.is_empty() {
                    self.try_save(&intake);
                }
                if !more {
                    let mut stop = stop.clone();
                    let _ = handle.block_on(async {
                        tokio::time::timeout(self.options.interval, stop.wait_for(|stop| *stop)).await.map(drop)
                    });
                }
            }
            if self.unnoted.is_empty() {
                self.try_save(&intake);
            }
        })
    }

    /// Looks at every file once; true if there is more to read at once.
    fn look(&mut self, intake: &Intake, handle: &Handle, stop: &watch::Receiver<bool>) -> bool {
        let mut found = Vec::new();
        let whole = self.walk(&self.options.folder.clone(), 0, &mut found);
        if !whole && !self.too_many {
            intake.counters.listener("watch").dropped("more_files_than_watched", 1);
            self.too_many = true;
        }
        // What was known first, and older before newer: a rotated file is finished before the one that replaces it.
        found.sort_by_key(|(path, metadata)| (metadata.modified().ok(), path.clone()));
        let mut more = false;
        for (path, metadata) in found {
            if *stop.borrow() {
                return false;
            }
            match self.file(&path, &metadata, intake, handle, stop) {
                Ok(unfinished) => more |= unfinished,
                Err(error) => {
                    intake.counters.source(&self.name(&path)).problem("unreadable", 1);
                    tracing::warn!(path = %path.display(), %error, "cannot read a watched file");
                }
            }
        }
        // A file that has not shown up again by now is gone.
        let gone = self.opened_at.elapsed() > self.options.settled_after * 3;
        self.unnoted.retain(|_, records| !records.is_empty() && !gone);
        let old = Timestamp::now().as_second() - FORGET_SECONDS;
        if self.note.files.iter().any(|file| file.seen_at.as_second() <= old) {
            self.note.files.retain(|file| file.seen_at.as_second() > old);
            self.index = index(&self.note.files);
        }
        more
    }

    fn walk(&self, folder: &Path, depth: usize, found: &mut Vec<(PathBuf, Metadata)>) -> bool {
        let Ok(entries) = fs::read_dir(folder) else { return true };
        for entry in entries.flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // Does not follow symbolic links.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() && depth < DEPTH_MAX {
                if !self.walk(&entry.path(), depth + 1, found) {
                    return false;
                }
            } else if metadata.is_file() {
                if found.len() >= FILES_MAX {
                    return false;
                }
                found.push((entry.path(), metadata));
            }
        }
        true
    }

    /// Reads what is new in a file; true if more is left for the next turn.
    fn file(
        &mut self,
        path: &Path,
        metadata: &Metadata,
        intake: &Intake,
        handle: &Handle,
        stop: &watch::Receiver<bool>,
    ) -> io::Result<bool> {
        let identity = Identity { device: metadata.dev(), inode: metadata.ino() };
        let size = metadata.len();
        let live = self.live.entry(identity).or_insert(Live { size, grew_at: Instant::now() });
        if live.size != size {
            *live = Live { size, grew_at: Instant::now() };
        }
        let settled = live.grew_at.elapsed() >= self.options.settled_after;
        let known = self.index.get(&identity).copied();
        // Nothing new and nothing waiting: the file is not even opened.
        if let Some(file) = known.and_then(|at| self.note.files.get_mut(at)) {
            file.seen_at = Timestamp::now();
            let source_waits = self.unnoted.contains_key(&file.source);
            if !source_waits
                && (file.offset == size && file.head.bytes >= size.min(HEAD_BYTES)
                    || file.complete && !size_changed(live, settled))
            {
                return Ok(false);
            }
        }
        if size == 0 && known.is_none() {
            return Ok(false);
        }
        let file = File::open(path)?;
        let at = match known {
            Some(at) => {
                self.check_same(at, path, &file, size, intake)?;
                at
            }
            None => {
                let Some(noted) = self.begin(path, identity, &file, size, settled)? else { return Ok(false) };
                self.note.files.push(noted);
                self.changed = true;
                self.index.insert(identity, self.note.files.len() - 1);
                self.note.files.len() - 1
            }
        };
        match kind(&file)? {
            Kind::Text => self.text(at, &file, size, settled, intake, handle, stop),
            Kind::Whole if settled => self.whole(at, path, intake, handle, stop),
            Kind::Whole => Ok(false),
        }
    }

    /// A note for a file not seen before; `None` if it should wait.
    fn begin(&self, path: &Path, identity: Identity, file: &File, size: u64, settled: bool) -> io::Result<Option<Noted>> {
        let head = Head::of(file, size)?;
        let mut noted = Noted { identity, source: self.name(path), offset: 0, head, complete: false, seen_at: Timestamp::now() };
        if kind(file)? == Kind::Whole {
            if !settled {
                return Ok(None);
            }
            // A rotated log that was compressed after we read it: the same bytes again, under another name.
            if let Some(first) = unpacked_head(path)? {
                noted.complete = self.note.files.iter().any(|other| other.head.bytes > 0 && other.head.is_start_of(&first));
            }
        }
        Ok(Some(noted))
    }

    /// Starts a known file over if it was truncated or is another file by now.
    fn check_same(&mut self, at: usize, path: &Path, file: &File, size: u64, intake: &Intake) -> io::Result<()> {
        let name = self.name(path);
        let Some(noted) = self.note.files.get_mut(at) else { return Ok(()) };
        let is_text = kind(file)? == Kind::Text;
        let reason = if is_text && size < noted.offset {
            "truncated"
        } else if size < noted.head.bytes || Head::of(file, noted.head.bytes)? != noted.head {
            "replaced"
        } else {
            ""
        };
        if !reason.is_empty() {
            intake.counters.source(&noted.source).problem(reason, 1);
            noted.source = name;
            noted.offset = 0;
            noted.complete = false;
            noted.head = Head::default();
            self.changed = true;
        } else if noted.complete {
            // Read as a whole and changed since: its records are kept; what came later in it is not told apart.
            return Ok(());
        }
        if noted.head.bytes < HEAD_BYTES && noted.head.bytes < size {
            noted.head = Head::of(file, size)?;
            self.changed = true;
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "one call site; a struct for it would only rename them")]
    fn text(
        &mut self,
        at: usize,
        file: &File,
        size: u64,
        settled: bool,
        intake: &Intake,
        handle: &Handle,
        stop: &watch::Receiver<bool>,
    ) -> io::Result<bool> {
        let Some(noted) = self.note.files.get(at) else { return Ok(false) };
        let (source, mut offset) = (noted.source.clone(), noted.offset);
        if let Some(records) = self.unnoted.get_mut(&source) {
            offset = catch_up(file, offset, records)?;
            if !records.is_empty() && offset < size {
                // Those at the front were read from a file that is gone; what comes after them may still be here.
                let before = records.len();
                while !records.is_empty() && offset < size {
                    records.pop_front();
                    offset = catch_up(file, offset, records)?;
                }
                intake.counters.source(&source).problem("position_uncertain", (before - records.len()) as u64);
            }
        }
        let chunk = read_at(file, offset, READ_BYTES.max(self.options.record_bytes_max + 1))?;
        let more = offset + (chunk.len() as u64) < size;
        let cut = cut_lines(&chunk, self.options.record_bytes_max, settled && !more);
        if cut.oversize > 0 {
            intake.counters.source(&source).problem("oversize_split", cut.oversize);
        }
        let shared: Arc<str> = source.as_str().into();
        let batch: Vec<Arrival> =
            cut.records.into_iter().map(|raw| Arrival::new(raw, shared.clone(), Transport::Watch)).collect();
        if !batch.is_empty() && !handle.block_on(intake.keep_stubbornly(batch, stop.clone())) {
            return Ok(false);
        }
        if let Some(noted) = self.note.files.get_mut(at) {
            let read_to = offset + cut.bytes as u64;
            self.changed |= noted.offset != read_to;
            noted.offset = read_to;
        }
        Ok(more && cut.bytes > 0)
    }

    fn whole(
        &mut self,
        at: usize,
        path: &Path,
        intake: &Intake,
        handle: &Handle,
        stop: &watch::Receiver<bool>,
    ) -> io::Result<bool> {
        let Some(noted) = self.note.files.get(at) else { return Ok(false) };
        if noted.complete {
            return Ok(false);
        }
        let source = noted.source.clone();
        let mut already = noted.offset;
        let mut unnoted = self.unnoted.remove(&source).unwrap_or_default();
        let shared: Arc<str> = source.as_str().into();
        let mut read = noted.offset;
        let mut batch: Vec<Arrival> = Vec::new();
        let mut bytes = 0;
        let mut stopped = false;
        let keep = |batch: &mut Vec<Arrival>| handle.block_on(intake.keep_stubbornly(std::mem::take(batch), stop.clone()));
        let result = split(path, &self.options, &mut |raw| {
            if stopped {
                return;
            }
            if already > 0 {
                already -= 1;
                return;
            }
            if unnoted.front() == Some(&raw) {
                unnoted.pop_front();
                read += 1;
                return;
            }
            bytes += raw.len();
            batch.push(Arrival::new(raw, shared.clone(), Transport::Watch));
            if bytes >= READ_BYTES || batch.len() >= BATCH_RECORDS_MAX {
                let records = batch.len() as u64;
                bytes = 0;
                stopped = !keep(&mut batch);
                read += if stopped { 0 } else { records };
            }
        });
        if !stopped && !batch.is_empty() {
            let records = batch.len() as u64;
            stopped = !keep(&mut batch);
            read += if stopped { 0 } else { records };
        }
        if let Some(noted) = self.note.files.get_mut(at) {
            noted.offset = read;
            // Also when it could not be read to the end: what could be is kept, and reading it again would not change that.
            noted.complete = !stopped;
        }
        self.changed = true;
        result.map(|()| false)
    }

    /// `watch/` and the path below the folder.
    fn name(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.options.folder).unwrap_or(path);
        format!("watch/{}", below.to_string_lossy())
    }

    fn try_save(&mut self, intake: &Intake) {
        // This thread keeps one batch after the other: all of its records that are durable now are reflected in the note.
        if let Err(error) = self.save(intake.keeper.end()) {
            tracing::warn!(path = %self.options.position_file.display(), %error, "cannot note how far the watched folder was read");
            self.saved_at = Instant::now();
        }
    }

    fn save(&mut self, through: RecordId) -> io::Result<()> {
        self.note.through = through;
        let part = self.options.position_file.with_extension("part");
        let text = serde_json::to_vec(&self.note).map_err(io::Error::other)?;
        let mut file = File::create(&part)?;
        io::Write::write_all(&mut file, &text)?;
        file.sync_data()?;
        fs::rename(&part, &self.options.position_file)?;
        self.saved_at = Instant::now();
        self.changed = false;
        Ok(())
    }
}

fn size_changed(live: &Live, settled: bool) -> bool {
    // A complete file is looked at again only shortly after it changed, to see whether another one took its place.
    !settled && live.grew_at.elapsed() < Duration::from_secs(1)
}

fn index(files: &[Noted]) -> HashMap<Identity, usize> {
    files.iter().enumerate().map(|(at, file)| (file.identity, at)).collect()
}

impl Head {
    /// Of the first bytes of a file, at most so many.
    fn of(file: &File, bytes: u64) -> io::Result<Self> {
        let first = read_at(file, 0, bytes.min(HEAD_BYTES) as usize)?;
        Ok(Self::of_bytes(&first))
    }

    fn of_bytes(first: &[u8]) -> Self {
        Self { bytes: first.len() as u64, sha256: hex::encode(Sha256::digest(first)) }
    }

    fn is_start_of(&self, content: &[u8]) -> bool {
        content.get(..self.bytes as usize).is_some_and(|first| Self::of_bytes(first) == *self)
    }
}

fn kind(file: &File) -> io::Result<Kind> {
    let head = read_at(file, 0, 8)?;
    let whole = matches!(head[..], [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [b'P', b'K', 3, 4, ..])
        || head.starts_with(b"ElfFile\0");
    Ok(if whole { Kind::Whole } else { Kind::Text })
}

/// Moves past records that were kept from here; stops at the first that is not there.
fn catch_up(file: &File, mut offset: u64, records: &mut VecDeque<Bytes>) -> io::Result<u64> {
    while let Some(record) = records.front() {
        let mut start = offset;
        let bytes = loop {
            let bytes = read_at(file, start, record.len() + 1)?;
            // Line ends and blank lines between records are not part of any.
            match bytes.first() {
                Some(b'\n' | b'\r' | b' ' | b'\t') if !bytes.starts_with(record) => start += 1,
                _ => break bytes,
            }
        };
        if !bytes.starts_with(record) {
            break;
        }
        offset = start + record.len() as u64;
        records.pop_front();
    }
    Ok(offset)
}

struct CutLines {
    records: Vec<Bytes>,
    /// How much of the chunk is done with.
    bytes: usize,
    oversize: u64,
}

/// The whole lines of a chunk; with `take_rest` also a last one without its newline.
fn cut_lines(chunk: &Bytes, record_bytes_max: usize, take_rest: bool) -> CutLines {
    let mut cut = CutLines { records: Vec::new(), bytes: 0, oversize: 0 };
    let mut take = |line: Bytes| {
        let line = if line.ends_with(b"\r") { line.slice(..line.len() - 1) } else { line };
        if !line.trim_ascii().is_empty() {
            cut.records.push(line);
        }
    };
    let mut at = 0;
    while at < chunk.len() {
        let rest = &chunk[at..];
        match memchr::memchr(b'\n', rest) {
            Some(length) if length <= record_bytes_max => {
                take(chunk.slice(at..at + length));
                at += length + 1;
            }
            _ if rest.len() > record_bytes_max => {
                take(chunk.slice(at..at + record_bytes_max));
                at += record_bytes_max;
                cut.oversize += 1;
            }
            _ if take_rest => {
                take(chunk.slice(at..));
                at = chunk.len();
            }
            _ => break,
        }
    }
    cut.bytes = at;
    cut
}

fn read_at(file: &File, offset: u64, bytes_max: usize) -> io::Result<Bytes> {
    let mut buffer = BytesMut::zeroed(bytes_max);
    let mut filled = 0;
    while filled < bytes_max {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer.freeze())
}

fn unpacking(path: &Path) -> io::Result<Option<Box<dyn Read>>> {
    let file = File::open(path)?;
    let head = read_at(&file, 0, 4)?;
    Ok(match head[..] {
        [0x1f, 0x8b, ..] => Some(Box::new(flate2::read::MultiGzDecoder::new(file))),
        [0x28, 0xb5, 0x2f, 0xfd] => Some(Box::new(zstd::stream::read::Decoder::new(file)?)),
        _ => None,
    })
}

fn unpacked_head(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(unpacking) = unpacking(path)? else { return Ok(None) };
    let mut first = Vec::new();
    // A damaged archive has no head to compare; reading it tells what is wrong.
    Ok(unpacking.take(HEAD_BYTES).read_to_end(&mut first).is_ok().then_some(first))
}

fn split(path: &Path, options: &WatchOptions, take: &mut dyn FnMut(Bytes)) -> io::Result<()> {
    if let Some(splitter) = &options.splitter {
        return splitter(path, take);
    }
    let Some(unpacking) = unpacking(path)? else {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "not a text file"));
    };
    let mut lines = BufReader::new(unpacking);
    let limit = options.record_bytes_max as u64;
    loop {
        let mut line = Vec::new();
        if (&mut lines).take(limit).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let line = Bytes::from(line);
        let line = line.slice_ref(line.strip_suffix(b"\n").unwrap_or(&line));
        let line = line.slice_ref(line.strip_suffix(b"\r").unwrap_or(&line));
        if !line.trim_ascii().is_empty() {
            take(line);
        }
    }
}

const NOTE_VERSION: u32 = 1;
const HEAD_BYTES: u64 = 256;
const READ_BYTES: usize = 2 << 20;
const BATCH_RECORDS_MAX: usize = 8192;
const DEPTH_MAX: usize = 8;
const FILES_MAX: usize = 50_000;
const SAVE_CHANGED: Duration = Duration::from_secs(1);
const SAVE_UNCHANGED: Duration = Duration::from_secs(10);
/// A file not seen for this long is forgotten.
const FORGET_SECONDS: i64 = 7 * 86_400;
