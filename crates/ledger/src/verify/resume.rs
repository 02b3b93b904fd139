//! What an earlier run made out, so that the next need not read it again.
//!
//! A file of lines of JSON, one for each segment that was found faultless: what the log said of it, what its files were then (size, times, inode), and
//! what its records say to those of the next. The log itself is verified anew each time; a segment counts as read only if the log says the same of it
//! and its files are still those. Lines that cannot be read are passed over, as a killed run leaves half of one.
use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use reeve_record::Hash;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::segment::{Judged, Links, Opening};
use crate::{Error, Statement, disposal::Disposed, segment::file_name, statement::FileHash};

/// What an earlier run made out.
pub(super) struct Resume {
    /// The ledger's folder.
    dir: PathBuf,
    /// By what the log says of the segment.
    known: HashMap<String, Line>,
}

/// Where this run notes what it makes out.
pub(super) struct Notes {
    path: PathBuf,
    out: File,
    /// Lines that this run goes by or wrote, and those about other folders.
    kept: Vec<Line>,
}

/// What is known of a segment, and whence.
pub(super) enum Known {
    /// It was read by this run; the line for a later one, where there can be one.
    Read(Judged, Option<Line>),
    /// It was read by an earlier run.
    Recalled(Judged, Line),
}

/// What was made out about a segment.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Line {
    reeve_verified: u32,
    folder: PathBuf,
    /// Hash over all that the log says of the segment, in hex.
    sealed: String,
    files: Vec<Identity>,
    /// When it was read.
    pub(super) read_at: Timestamp,
    records: u64,
    redacted: u64,
    entered: bool,
    links: Option<LinkLine>,
}

/// What a file is as long as nobody touches it. The time of its last change of any kind cannot be set by ordinary means, as the others can.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Identity {
    name: String,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    inode: u64,
}

#[derive(Clone, Serialize, Deserialize)]
struct LinkLine {
    lossy: bool,
    /// Index, source, sequence, previous leaf hash in hex.
    openings: Vec<(u32, String, u64, String)>,
    /// Source, sequence, leaf hash in hex.
    heads: Vec<(String, u64, String)>,
}

impl Resume {
    /// Reads what is there; a file that is not there is made, and one that is of something else is left as it is.
    pub(super) fn open(path: &Path, dir: &Path) -> Result<(Self, Notes), Error> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(|error| Error::io("read", path, error))?,
        };
        if !text.starts_with(&HEAD[..HEAD.len().min(text.len())]) {
            let other =
                io::Error::new(io::ErrorKind::AlreadyExists, "it is not from an earlier run, and is left as it is: name another");
            return Err(Error::io("go on from", path, other));
        }
        let dir = dir.canonicalize().map_err(|error| Error::io("find", dir, error))?;
        let lines = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        let (ours, others): (Vec<Line>, Vec<Line>) =
            lines.filter(|line| line.reeve_verified == FORMAT).partition(|line| line.folder == dir);
        let out = OpenOptions::new().create(true).append(true).open(path);
        let mut out = out.map_err(|error| Error::io("open", path, error))?;
        if text.last().is_some_and(|byte| *byte != b'\n') {
            // Behind half a line, which a kill left, the next would be lost, too.
            out.write_all(b"\n").map_err(|error| Error::io("write", path, error))?;
        }
        let known = ours.into_iter().map(|line| (line.sealed.clone(), line)).collect();
        Ok((Self { dir, known }, Notes { path: path.to_owned(), out, kept: others }))
    }

    /// What is known of a segment if its files are still what they were, else what `judge` finds.
    pub(super) fn judge(&self, statement: &Statement, disposed: Option<&Disposed>, judge: impl FnOnce() -> Judged) -> Known {
        let read_at = Timestamp::now();
        let files = identities(&self.dir, statement, disposed).ok();
        let line = self.known.get(&sealed(statement, disposed)).filter(|line| files.as_ref() == Some(&line.files));
        match line.and_then(|line| Some(Known::Recalled(line.judged()?, line.clone()))) {
            Some(recalled) => recalled,
            None => self.read(statement, disposed, (read_at, files), judge),
        }
    }

    /// Also makes the line for a segment that is faultless, unless its files changed meanwhile or so shortly before that a change would not show.
    fn read(
        &self,
        statement: &Statement,
        disposed: Option<&Disposed>,
        (read_at, before): (Timestamp, Option<Vec<Identity>>),
        judge: impl FnOnce() -> Judged,
    ) -> Known {
        let judged = judge();
        let after = identities(&self.dir, statement, disposed);
        let settled = |files: &Vec<Identity>| files.iter().all(|file| file.is_settled(read_at));
        let files = before.filter(|files| settled(files) && after.is_ok_and(|after| after == *files));
        let faultless = judged.faults.is_empty() && judged.links.as_ref().is_none_or(|links| links.astray.is_empty());
        let line = files.filter(|_| faultless).map(|files| Line {
            reeve_verified: FORMAT,
            folder: self.dir.clone(),
            sealed: sealed(statement, disposed),
            files,
            read_at,
            records: judged.records,
            redacted: judged.redacted,
            entered: judged.entered,
            links: judged.links.as_ref().map(LinkLine::of),
        });
        Known::Read(judged, line)
    }
}

impl Notes {
    /// Writes a line of this run, so that it is there if the run is stopped.
    pub(super) fn note(&mut self, line: Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        self.out.write_all(&text)?;
        self.kept.push(line);
        Ok(())
    }

    /// Keeps a line that was gone by.
    pub(super) fn keep(&mut self, line: Line) {
        self.kept.push(line);
    }

    /// Leaves a file with the lines that are still of use. A crash leaves the old one or the new.
    pub(super) fn finish(self) -> io::Result<()> {
        let mut part = self.path.clone().into_os_string();
        part.push(".part");
        let mut out = io::BufWriter::new(File::create(&part)?);
        for line in &self.kept {
            serde_json::to_writer(&mut out, line)?;
            out.write_all(b"\n")?;
        }
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&part, &self.path)
    }
}

impl Line {
    /// `None` if the line was tampered with.
    fn judged(&self) -> Option<Judged> {
        let links = match &self.links {
            None => None,
            Some(links) => Some(links.read()?),
        };
        Some(Judged { faults: Vec::new(), records: self.records, redacted: self.redacted, entered: self.entered, links })
    }
}

impl LinkLine {
    fn of(links: &Links) -> Self {
        let opening =
            |opening: &Opening| (opening.index, opening.source.to_string(), opening.sequence, hex::encode(opening.previous));
        let mut heads: Vec<_> =
            links.heads.iter().map(|(source, (n, hash))| (source.to_string(), *n, hex::encode(hash))).collect();
        heads.sort_unstable();
        Self { lossy: links.lossy, openings: links.openings.iter().map(opening).collect(), heads }
    }

    fn read(&self) -> Option<Links> {
        let hash = |text: &str| Hash::try_from(hex::decode(text).ok()?).ok();
        let opening = |(index, source, sequence, previous): &(u32, String, u64, String)| {
            Some(Opening { index: *index, source: Arc::from(&**source), sequence: *sequence, previous: hash(previous)? })
        };
        let head = |(source, n, leaf): &(String, u64, String)| Some((Arc::from(&**source), (*n, hash(leaf)?)));
        Some(Links {
            openings: self.openings.iter().map(opening).collect::<Option<_>>()?,
            astray: Vec::new(),
            lossy: self.lossy,
            heads: self.heads.iter().map(head).collect::<Option<_>>()?,
        })
    }
}

impl Identity {
    fn of(dir: &Path, name: String) -> io::Result<Self> {
        let is = fs::metadata(dir.join("segments").join(&name))?;
        let (modified, changed) = ((is.mtime(), is.mtime_nsec()), (is.ctime(), is.ctime_nsec()));
        Ok(Self { name, length: is.len(), modified, changed, inode: is.ino() })
    }

    /// Whether it was last changed long enough ago that another change would have another time.
    fn is_settled(&self, now: Timestamp) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let changed = Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap_or(0));
        changed.is_ok_and(|changed| now.duration_since(changed) >= SETTLED)
    }
}

fn identities(dir: &Path, statement: &Statement, disposed: Option<&Disposed>) -> io::Result<Vec<Identity>> {
    let (redactions, destroyed) = disposed.map_or((0, false), |disposed| (disposed.redactions, disposed.destroyed));
    let kinds: &[&str] = match (destroyed, redactions) {
        (true, _) => &["leaves"],
        (false, 0) => &["parquet", "map"],
        (false, _) => &["parquet", "map", "salts"],
    };
    let redactions = if destroyed { 0 } else { redactions };
    kinds.iter().map(|kind| Identity::of(dir, file_name(statement.segment, redactions, kind))).collect()
}

/// Hash over what the log says: the statement with its root, and the files and records of what was taken out since.
fn sealed(statement: &Statement, disposed: Option<&Disposed>) -> String {
    let mut hasher = Sha256::new().chain_update(statement.leaf_hash());
    if let Some(Disposed { redactions, files, redacted, destroyed, .. }) = disposed {
        hasher.update([u8::from(*destroyed)]);
        hasher.update(redactions.to_be_bytes());
        for FileHash { length, sha256 } in files.iter().flat_map(|files| [files.file, files.map, files.salts]) {
            hasher.update(length.to_be_bytes());
            hasher.update(sha256);
        }
        for (first, count) in redacted {
            hasher.update(first.to_be_bytes());
            hasher.update(count.to_be_bytes());
        }
    }
    hex::encode(hasher.finalize())
}

const FORMAT: u32 = 1;
/// How every line begins, in whatever format.
const HEAD: &[u8] = b"{\"reeve_verified\":";
/// File systems note times in steps of up to two seconds.
const SETTLED: SignedDuration = SignedDuration::from_secs(2);
