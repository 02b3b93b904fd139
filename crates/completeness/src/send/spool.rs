//! What a sender keeps: how far it has come, and the delivery that is not receipted yet. Each step is durable before the next is taken.
//!
//! Order, and what a kill after each leaves: (1) `pending` holds the signed delivery: it is sent again, the very same bytes; (2) the server has it: the same,
//! and the answer is that of a duplicate; (3) its receipt is added to the receipts: the same, and what was added is cut off again; (4) `state.json` is past
//! it: `pending` is left over and removed.
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use reeve_ledger::{Clock, Disk, DiskFile, LockFailure, read_all, write_durably};
use reeve_record::Hash;
use serde::{Deserialize, Serialize};

/// How far a file was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Place {
    /// Bytes of it that were sent.
    pub offset: u64,
    /// Which file it was, by device …
    pub device: u64,
    /// … and number on it: another one under the same name is sent from its start.
    pub inode: u64,
}

/// The spool cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process has it.
    #[error("the spool `{0}` is in use by another process: stop that one or give another --spool")]
    InUse(String),
    /// It is another source's.
    #[error("the spool `{folder}` is that of source `{source_name}`, not of `{wanted}`")]
    Other {
        /// The folder.
        folder: String,
        /// Whose it is.
        source_name: String,
        /// Who wanted it.
        wanted: String,
    },
    /// A file of it is damaged.
    #[error("`{path}` is damaged ({reason}): restore it, or remove it and begin a new epoch")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The disk refused.
    #[error("cannot use the spool `{folder}`: {reason}")]
    Io {
        /// The folder.
        folder: String,
        /// What the system said.
        reason: String,
    },
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
    /// Bytes of the spool's own file of receipts; what lies beyond was being written when a crash came. `None` in spools of before.
    #[serde(default)]
    receipts: Option<u64>,
}

/// A delivery that is signed and not receipted.
#[derive(Clone)]
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
    disk: Arc<dyn Disk>,
    state: State,
    pending: Option<Pending>,
    receipts: Arc<dyn DiskFile>,
    /// Whether the file of receipts is the spool's own, where nobody else writes.
    own_receipts: bool,
    /// Whether memory and disk may differ.
    failed: bool,
    _lock: Box<dyn Send + Sync>,
}

impl Spool {
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        source: &str,
        receipts: Option<PathBuf>,
        clock: &dyn Clock,
    ) -> Result<Self, SpoolError> {
        let failed = |error: io::Error| SpoolError::Io { folder: dir.display().to_string(), reason: error.to_string() };
        make_folder(&*disk, dir).map_err(failed)?;
        let lock = disk.lock(&dir.join("lock")).map_err(|failure| match failure {
            LockFailure::Held(_) => SpoolError::InUse(dir.display().to_string()),
            LockFailure::Io(error) => failed(error),
        })?;
        let state = match read_all(&*disk, &dir.join("state.json"), STATE_MAX) {
            Ok(bytes) => read_state(&bytes, dir, source)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (epoch, files) = (seconds(clock), BTreeMap::new());
                State { source: source.to_owned(), epoch, next: 0, previous: [0; 32], files, receipts: Some(0) }
            }
            Err(error) => return Err(failed(error)),
        };
        let own_receipts = receipts.is_none();
        let receipts = open_receipts(&*disk, &receipts.unwrap_or_else(|| dir.join("receipts"))).map_err(failed)?;
        let mut spool =
            Self { dir: dir.to_owned(), disk, state, pending: None, receipts, own_receipts, failed: false, _lock: lock };
        // Also a first state: the epoch must not be another one after a kill.
        spool.write_state()?;
        spool.pending = spool.read_pending()?;
        Ok(spool)
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    pub(super) fn take_pending(&mut self) -> Option<Pending> {
        self.pending.take()
    }

    pub(super) fn place(&self, name: &str, fresh: Place, length: u64) -> Place {
        let known = self.state.files.get(name).copied();
        known.filter(|known| Place { offset: 0, ..*known } == fresh && known.offset <= length).unwrap_or(fresh)
    }

    /// The delivery that an earlier run signed and did not see receipted.
    fn read_pending(&self) -> Result<Option<Pending>, SpoolError> {
        let path = self.dir.join("pending");
        let bytes = match read_all(&*self.disk, &path, PENDING_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failure(&error)),
        };
        let damaged = |reason: &str| SpoolError::Damaged { path: path.display().to_string(), reason: reason.into() };
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged("it has no first line"))?;
        let line: PendingLine = serde_json::from_slice(&bytes[..end]).map_err(|error| damaged(&error.to_string()))?;
        if (line.epoch, line.first) < (self.state.epoch, self.state.next) {
            self.remove_pending()?;
            return Ok(None);
        }
        let PendingLine { epoch, first, count, hash, head, places } = line;
        Ok(Some(Pending { head, epoch, first, count, hash, places, body: bytes[end + 1..].to_vec() }))
    }

    /// Makes a delivery durable here.
    pub(super) fn stage(&mut self, pending: Pending) -> Result<(), SpoolError> {
        let Pending { head, epoch, first, count, hash, places, body } = &pending;
        let (head, places) = (head.clone(), places.clone());
        let line = PendingLine { epoch: *epoch, first: *first, count: *count, hash: *hash, head, places };
        let mut bytes = serde_json::to_vec(&line).map_err(|error| self.failure(&error.into()))?;
        bytes.push(b'\n');
        bytes.extend_from_slice(body);
        if self.failed {
            return Err(self.failure(&io::Error::other("it failed before, and is to be opened again")));
        }
        // What is in memory is sent only if it is what a restart would find.
        self.pending = None;
        self.write("pending", &bytes)?;
        self.pending = Some(pending);
        Ok(())
    }

    /// What waits is receipted: the next may come.
    pub(super) fn settle(&mut self, receipt: &str) -> Result<(), SpoolError> {
        let Some(pending) = self.pending.clone() else { return Ok(()) };
        let end = self.add_receipt(receipt).map_err(|error| self.failure(&error))?;
        let mut state = State { receipts: end, ..self.state.clone() };
        // The epoch too: a kill may have come between the first delivery of a new one and the note of it.
        (state.epoch, state.next, state.previous) = (pending.epoch, pending.first + pending.count, pending.hash);
        state.files.extend(pending.places);
        self.state = state;
        self.pending = None;
        // Whether it is there after an error only the next opening can tell.
        self.write_state().inspect_err(|_| self.failed = true)?;
        self.remove_pending()
    }

    /// Adds a receipt to the file; its end, if the file is ours alone.
    fn add_receipt(&self, receipt: &str) -> io::Result<Option<u64>> {
        let mut length = self.receipts.length()?;
        if let Some(end) = self.state.receipts.filter(|end| self.own_receipts && *end < length) {
            self.receipts.truncate(end)?;
            length = end;
        }
        self.receipts.append(receipt.as_bytes())?;
        self.receipts.sync()?;
        Ok(self.own_receipts.then_some(length + receipt.len() as u64))
    }

    /// Numbers begin again. Not durable before [`Spool::write_state`]: what waits is to be staged under the new epoch first, or a kill would take it for
    /// receipted.
    pub(super) fn begin_epoch(&mut self, clock: &dyn Clock) {
        (self.state.epoch, self.state.next, self.state.previous) = (seconds(clock).max(self.state.epoch + 1), 0, [0; 32]);
    }

    pub(super) fn write_state(&self) -> Result<(), SpoolError> {
        let bytes = serde_json::to_vec(&self.state).map_err(|error| self.failure(&error.into()))?;
        self.write("state.json", &bytes)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), SpoolError> {
        write_durably(&*self.disk, &self.dir.join(name), bytes, false).map_err(|error| self.failure(&error))
    }

    fn remove_pending(&self) -> Result<(), SpoolError> {
        match self.disk.remove(&self.dir.join("pending")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failure(&error)),
            _ => Ok(()),
        }
    }

    fn failure(&self, error: &io::Error) -> SpoolError {
        SpoolError::Io { folder: self.dir.display().to_string(), reason: error.to_string() }
    }
}

/// The folder and its name, durable; also where a process that was killed made it and did not come to that.
fn make_folder(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    disk.create_dir(dir)?;
    disk.sync_dir(above(dir))
}

fn above(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn open_receipts(disk: &dyn Disk, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
    let file = match disk.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(path, false)?,
        opened => opened?,
    };
    disk.sync_dir(above(path))?;
    Ok(file)
}

fn read_state(bytes: &[u8], dir: &Path, source: &str) -> Result<State, SpoolError> {
    let state: State = serde_json::from_slice(bytes).map_err(|error| {
        let path = dir.join("state.json").display().to_string();
        SpoolError::Damaged { path, reason: error.to_string() }
    })?;
    if state.source == source {
        return Ok(state);
    }
    Err(SpoolError::Other { folder: dir.display().to_string(), source_name: state.source, wanted: source.into() })
}

fn seconds(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.now().as_second()).unwrap_or(0)
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

/// A spool knows thousands of files before its state is this long.
const STATE_MAX: u64 = 16 << 20;
/// A body, its head and the places of its files.
const PENDING_MAX: u64 = 32 << 20;
