//! What a sender keeps: how far it has come, and the delivery that is not receipted yet. Each step is durable before the next is taken.
//!
//! Order, and what a kill after each leaves: (1) `pending` holds the signed delivery: it is sent again, the very same bytes; (2) the server has it: the same,
//! and the answer is that of a duplicate; (3) its receipt is added to the receipts: the same; (4) `state.json` is past it: `pending` is left over and removed.
use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use reeve_record::Hash;
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, USAGE};

/// How far a file was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) offset: u64,
    /// Which file it was: another one under the same name is sent from its start.
    device: u64,
    inode: u64,
}

/// How far the source has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    source: String,
    /// The source's epoch: POSIX seconds of its beginning, so that a later one is higher.
    pub(super) epoch: u64,
    /// Number of the next record.
    pub(super) next: u64,
    /// Hash of the head of the delivery before.
    #[serde(with = "hexed")]
    pub(super) previous: Hash,
    files: BTreeMap<String, Place>,
}

/// A delivery that is signed and not receipted.
pub(super) struct Pending {
    pub(super) head: String,
    pub(super) epoch: u64,
    pub(super) first: u64,
    pub(super) count: u64,
    pub(super) hash: Hash,
    /// Where its files stand after it.
    pub(super) places: Vec<(String, Place)>,
    pub(super) body: Vec<u8>,
}

/// The first line of a pending delivery's file; the body follows.
#[derive(Serialize, Deserialize)]
struct PendingLine {
    epoch: u64,
    first: u64,
    count: u64,
    #[serde(with = "hexed")]
    hash: Hash,
    head: String,
    places: Vec<(String, Place)>,
}

/// The folder of one source's sender; one process at a time.
pub(super) struct Spool {
    dir: PathBuf,
    state: State,
    receipts: File,
    _lock: File,
}

impl Spool {
    pub(super) fn open(dir: &Path, source: &str, receipts: Option<&Path>) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::new(USAGE, format!("cannot use the spool `{}`: {error}", dir.display()));
        fs::create_dir_all(dir).map_err(failed)?;
        let lock = File::options().write(true).create(true).truncate(false).open(dir.join("lock")).map_err(failed)?;
        if lock.try_lock().is_err() {
            let message =
                format!("the spool `{}` is in use by another process: stop that one or give another --spool", dir.display());
            return Err(Failure::new(USAGE, message));
        }
        let state = match fs::read(dir.join("state.json")) {
            Ok(bytes) => read_state(&bytes, dir, source)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                State { source: source.to_owned(), epoch: seconds(), next: 0, previous: [0; 32], files: BTreeMap::new() }
            }
            Err(error) => return Err(failed(error)),
        };
        let receipts = receipts.map_or_else(|| dir.join("receipts"), Path::to_owned);
        let receipts = File::options().append(true).create(true).open(receipts).map_err(failed)?;
        let spool = Self { dir: dir.to_owned(), state, receipts, _lock: lock };
        // Also a first state: the epoch must not be another one after a kill.
        spool.write_state()?;
        Ok(spool)
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Where a file stands.
    pub(super) fn place(&self, name: &str, metadata: &Metadata) -> Place {
        let fresh = Place { offset: 0, device: metadata.dev(), inode: metadata.ino() };
        let known = self.state.files.get(name).copied();
        known.filter(|known| Place { offset: 0, ..*known } == fresh && known.offset <= metadata.len()).unwrap_or(fresh)
    }

    /// The delivery that an earlier run signed and did not see receipted.
    pub(super) fn pending(&self) -> Result<Option<Pending>, Failure> {
        let path = self.dir.join("pending");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(&error)),
        };
        let damaged =
            || Failure::new(USAGE, format!("`{}` is damaged: restore it, or remove it and begin a new epoch", path.display()));
        let end = memchr::memchr(b'\n', &bytes).ok_or_else(damaged)?;
        let line: PendingLine = serde_json::from_slice(&bytes[..end]).map_err(|_| damaged())?;
        if (line.epoch, line.first) < (self.state.epoch, self.state.next) {
            fs::remove_file(&path).map_err(|error| self.failed(&error))?;
            return Ok(None);
        }
        let PendingLine { epoch, first, count, hash, head, places } = line;
        Ok(Some(Pending { head, epoch, first, count, hash, places, body: bytes[end + 1..].to_vec() }))
    }

    /// Makes a delivery durable here.
    pub(super) fn stage(&self, pending: &Pending) -> Result<(), Failure> {
        let Pending { head, epoch, first, count, hash, places, body } = pending;
        let (head, places) = (head.clone(), places.clone());
        let line = PendingLine { epoch: *epoch, first: *first, count: *count, hash: *hash, head, places };
        let mut bytes = serde_json::to_vec(&line).map_err(|error| self.failed(&error.into()))?;
        bytes.push(b'\n');
        bytes.extend_from_slice(body);
        self.write("pending", &bytes)
    }

    /// The delivery is receipted: the next may come.
    pub(super) fn settle(&mut self, pending: &Pending, receipt: &str) -> Result<(), Failure> {
        let noted = self.receipts.write_all(receipt.as_bytes()).and_then(|()| self.receipts.sync_data());
        noted.map_err(|error| self.failed(&error))?;
        // The epoch too: a kill may have come between the first delivery of a new one and the note of it.
        let next = pending.first + pending.count;
        (self.state.epoch, self.state.next, self.state.previous) = (pending.epoch, next, pending.hash);
        self.state.files.extend(pending.places.iter().cloned());
        self.write_state()?;
        fs::remove_file(self.dir.join("pending")).map_err(|error| self.failed(&error))
    }

    /// Numbers begin again. Not durable before [`Spool::write_state`]: what waits is to be staged under the new epoch first, or a kill would take it for
    /// receipted.
    pub(super) fn begin_epoch(&mut self) {
        (self.state.epoch, self.state.next, self.state.previous) = (seconds().max(self.state.epoch + 1), 0, [0; 32]);
    }

    pub(super) fn write_state(&self) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(&self.state).map_err(|error| self.failed(&error.into()))?;
        self.write("state.json", &bytes)
    }

    /// Whole or not at all, and durable on return.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let (path, part) = (self.dir.join(name), self.dir.join("part"));
        let write = || {
            let mut file = File::create(&part)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&part, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::new(USAGE, format!("cannot use the spool `{}`: {error}", self.dir.display()))
    }
}

fn read_state(bytes: &[u8], dir: &Path, source: &str) -> Result<State, Failure> {
    let state: State = serde_json::from_slice(bytes).map_err(|error| {
        let place = dir.join("state.json");
        Failure::new(USAGE, format!("`{}` is damaged ({error}): restore it, or remove it to begin a new epoch", place.display()))
    })?;
    if state.source == source {
        return Ok(state);
    }
    Err(Failure::new(USAGE, format!("the spool `{}` is that of source `{}`, not of `{source}`", dir.display(), state.source)))
}

fn seconds() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)
}

/// Hashes as 64 hex digits.
mod hexed {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(hash: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(hash))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| D::Error::custom("not a hash"))
    }
}
