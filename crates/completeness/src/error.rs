use reeve_record::RecordId;

/// Why a delivery is not taken. Nothing of it counts as received; only what [`Error::Contradiction`] says is kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Head or body break their form.
    #[error("the delivery {0}; see docs/spec/receipt.md")]
    Malformed(String),
    /// The name is not that of a numbered source, or its key did not sign.
    #[error("{0}")]
    NotThisSource(String),
    /// The ledger holds something else under these numbers. What was sent is kept as evidence.
    #[error(
        "the delivery contradicts what this source sent before: it {why}; it is kept as evidence at {notice} and not counted. Begin a new epoch once somebody has looked"
    )]
    Contradiction {
        /// What is wrong, in words that follow "it".
        why: String,
        /// The notice's record.
        notice: RecordId,
    },
    /// More stretches of numbers are missing than are kept track of.
    #[error("too many stretches of this epoch are missing: send them, or begin a new epoch")]
    TooManyGaps,
    /// Later epochs of the source have begun.
    #[error("epoch {epoch} of this source is over: later ones have begun")]
    EpochOver {
        /// The delivery's epoch.
        epoch: u64,
    },
    /// The ledger refused.
    #[error(transparent)]
    Ledger(#[from] reeve_ledger::Error),
    /// The copy of what is known cannot be written.
    #[error("cannot write `{path}`: {reason}")]
    Copy {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
}

impl Error {
    /// A stable name, as it is sent and counted.
    pub const fn code(&self) -> &'static str {
        match self {
            Error::Malformed(_) => "bad_delivery",
            Error::NotThisSource(_) => "not_this_source",
            Error::Contradiction { .. } => "contradiction",
            Error::TooManyGaps => "too_many_gaps",
            Error::EpochOver { .. } => "epoch_over",
            Error::Ledger(_) | Error::Copy { .. } => "not_durable",
        }
    }
}
