use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use reeve_record::RecordId;

/// What can go wrong with a ledger. Clones, because one failed write fails everyone whose records were in it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process has the folder.
    #[error("the ledger `{}` is in use by process {holder}: stop that process or choose another folder", path.display())]
    Locked {
        /// The ledger's folder.
        path: PathBuf,
        /// Process id as the other process wrote it, or `unknown`.
        holder: String,
    },
    /// The operating system refused a read or write.
    #[error("cannot {what} `{}`: {source}", path.display())]
    Io {
        /// The act, as in `read`.
        what: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// No space is left. Nothing of the batch was kept; appends succeed again when there is space.
    #[error("the disk of `{}` is full, so nothing new was kept there; free some space and try again", path.display())]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// A write could not be made durable; the ledger takes no more records until it is opened again.
    #[error("the ledger is read-only since `{}` could not be made durable ({reason}): check the disk, then start again", path.display())]
    ReadOnly {
        /// The file that failed.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// A batch or a part of it exceeds a limit. Nothing of the batch was kept.
    #[error("{what} has {size} bytes, the limit is {limit}: split or shorten it")]
    TooLarge {
        /// `a record`, `a batch`, `a source name` or `a policy label`.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The checkpoint cannot be trusted.
    #[error("the checkpoint `{}` cannot be trusted: {reason}; run `reeve ledger verify` and compare with a copy", path.display())]
    Checkpoint {
        /// The checkpoint file.
        path: PathBuf,
        /// Which check failed.
        reason: String,
    },
    /// The main log does not fit its checkpoint or its own rules.
    #[error("the main log is damaged at `{place}`: {reason}; run `reeve ledger verify`")]
    Log {
        /// Tile, bundle or entry.
        place: String,
        /// Which check failed.
        reason: String,
    },
    /// A sealed segment cannot be read.
    #[error("segment {segment} cannot be read: {reason}; run `reeve ledger verify`")]
    Segment {
        /// Segment number.
        segment: u32,
        /// Which check failed.
        reason: String,
    },
    /// The folder belongs to a log of another name.
    #[error("the ledger is that of origin `{have}`, not `{want}`: correct the configuration or choose another folder")]
    Origin {
        /// Name the key was made for.
        have: String,
        /// Name asked for.
        want: String,
    },
    /// A signing or verifier key cannot be used.
    #[error("the key `{place}` cannot be used: {reason}")]
    Key {
        /// File, or the text of the key.
        place: String,
        /// Which rule is broken.
        reason: String,
    },
    /// The ledger was closed while the call waited.
    #[error("the ledger is closed")]
    Closed,
    /// A proof does not hold.
    #[error("the proof does not hold: {reason}")]
    Proof {
        /// Which check failed.
        reason: String,
    },
    /// The record is durable but not yet under a checkpoint.
    #[error("record {id} is not sealed yet: try again in a minute")]
    NotSealed {
        /// The record.
        id: RecordId,
    },
    /// A witness saw a larger log, or another one: an old copy was restored, or somebody else signs in this log's name.
    #[error(
        "nothing is signed: witness `{witness}` saw a log of {told} entries that this one of {have} does not continue. If a backup was restored, two people may let it go on with `reeve ledger fork`"
    )]
    RolledBack {
        /// The witness.
        witness: String,
        /// Entries of the log it saw.
        told: u64,
        /// Entries of this one.
        have: u64,
    },
    /// A trust policy cannot be used.
    #[error("the policy `{place}` cannot be used: {reason}")]
    Policy {
        /// File, and line where known.
        place: String,
        /// Which rule is broken.
        reason: String,
    },
    /// A fork is not permitted.
    #[error("the log cannot be forked: {reason}")]
    Fork {
        /// Why not.
        reason: String,
    },
    /// Content may not be taken out this way.
    #[error("nothing was taken out: {reason}")]
    Disposal {
        /// Why not.
        reason: String,
    },
    /// A hold forbids it. Nothing was taken out.
    #[error("hold `{hold}` covers record {id}, so it stays: it may go only when that hold is released")]
    Held {
        /// Name of the hold.
        hold: String,
        /// The first such record.
        id: RecordId,
    },
    /// The record's content was taken out.
    #[error("the content of record {id} was {how} by entry {entry} of the main log")]
    Disposed {
        /// The record.
        id: RecordId,
        /// `redacted` or `destroyed`.
        how: &'static str,
        /// Index of the entry that says by whose word and why.
        entry: u64,
    },
    /// There is no such record, or its bytes were lost.
    #[error("there is no record {id}, or its bytes were lost before it was sealed")]
    NoRecord {
        /// The record.
        id: RecordId,
    },
}

impl Error {
    /// The stable code, listed in `docs/errors/`.
    pub const fn code(&self) -> &'static str {
        match self {
            Error::Locked { .. } => "LEDGER-001",
            Error::Io { .. } => "LEDGER-002",
            Error::DiskFull { .. } => "LEDGER-003",
            Error::ReadOnly { .. } => "LEDGER-004",
            Error::TooLarge { .. } => "LEDGER-005",
            Error::Checkpoint { .. } => "LEDGER-006",
            Error::Log { .. } => "LEDGER-007",
            Error::Segment { .. } => "LEDGER-008",
            Error::Origin { .. } => "LEDGER-009",
            Error::Key { .. } => "LEDGER-010",
            Error::Closed => "LEDGER-011",
            Error::Proof { .. } => "LEDGER-012",
            Error::NotSealed { .. } => "LEDGER-013",
            Error::NoRecord { .. } => "LEDGER-014",
            Error::RolledBack { .. } => "LEDGER-015",
            Error::Policy { .. } => "LEDGER-016",
            Error::Fork { .. } => "LEDGER-017",
            Error::Disposal { .. } => "LEDGER-018",
            Error::Held { .. } => "LEDGER-019",
            Error::Disposed { .. } => "LEDGER-037",
        }
    }

    /// Wraps what the operating system said about `path`; a full disk or quota becomes [`Error::DiskFull`].
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::DiskFull { path: path.into() },
            _ => Error::Io { what, path: path.into(), source: Arc::new(source) },
        }
    }
}
