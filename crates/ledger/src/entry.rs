//! What an entry of the main log is, by its first line. Format: `docs/spec/log.md`.
use crate::{DisposalStatement, EpochStatement, ForkStatement, Statement, disposal, epoch, fork, hold, hold::HoldStatement};

/// An entry that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    Batch(Statement),
    Epoch(EpochStatement),
    Fork(ForkStatement),
    Disposal(DisposalStatement),
    Hold(HoldStatement),
}

impl Entry {
    /// Reads an entry; the reason follows "it …".
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_| "is not text")?;
        let head = text.split('\n').next().unwrap_or_default();
        let parsed = match head {
            "reeve-batch/v1" => Statement::parse(text).map(Self::Batch),
            epoch::HEAD => EpochStatement::parse(text).map(Self::Epoch),
            fork::HEAD => ForkStatement::parse(text).map(Self::Fork),
            disposal::REDACTION | disposal::DESTRUCTION => DisposalStatement::parse(text).map(Self::Disposal),
            hold::HEAD => HoldStatement::parse(text).map(Self::Hold),
            _ => return Err("is of a kind this program does not know"),
        };
        parsed.ok_or("is not in the form of docs/spec")
    }

    /// The log it names.
    pub(crate) fn origin(&self) -> &str {
        match self {
            Self::Batch(batch) => &batch.origin,
            Self::Epoch(epoch) => &epoch.origin,
            Self::Fork(fork) => &fork.origin,
            Self::Disposal(disposal) => &disposal.origin,
            Self::Hold(hold) => &hold.origin,
        }
    }
}
