//! What Reeve notices about a numbered source; each notice is a record.
use jiff::Timestamp;
use reeve_ledger::{NewRecord, StoredRecord};
use reeve_record::{RecordId, Transport};
use serde::{Deserialize, Serialize};

use crate::NOTICES;

/// A notice; its JSON is fixed by `docs/spec/receipt.md`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "reeve", deny_unknown_fields)]
pub enum Notice {
    /// A source is registered, or its key or heartbeat is another than before.
    #[serde(rename = "source/v1")]
    Source {
        /// Name of the source.
        source: String,
        /// Its verifier key.
        key: String,
        /// How often it sends at least a heartbeat.
        heartbeat_seconds: Option<u64>,
        /// When this was noticed.
        at: Timestamp,
    },
    /// Numbers were passed over.
    #[serde(rename = "gap/v1")]
    Gap {
        /// Name of the source.
        source: String,
        /// Its epoch.
        epoch: u64,
        /// First number that is missing.
        first: u64,
        /// How many.
        count: u64,
        /// When this was noticed.
        at: Timestamp,
    },
    /// Two heartbeats were missed.
    #[serde(rename = "silence/v1")]
    Silence {
        /// Name of the source.
        source: String,
        /// When it was heard last.
        heard: Option<Timestamp>,
        /// How often it sends at least a heartbeat.
        heartbeat_seconds: u64,
        /// When this was noticed.
        at: Timestamp,
    },
    /// Something else was sent under numbers that are there.
    #[serde(rename = "contradiction/v1")]
    Contradiction {
        /// Name of the source.
        source: String,
        /// The delivery's epoch.
        epoch: u64,
        /// Number of its first record.
        first: u64,
        /// Its records; they follow the notice.
        count: u64,
        /// What is wrong with it, in words that follow "it".
        why: String,
        /// Head of a delivery it contradicts.
        known: Option<RecordId>,
        /// Its head, as it was signed.
        head: String,
        /// When this was noticed.
        at: Timestamp,
    },
}

impl Notice {
    /// Name of the source.
    pub fn source(&self) -> &str {
        match self {
            Notice::Source { source, .. }
            | Notice::Gap { source, .. }
            | Notice::Silence { source, .. }
            | Notice::Contradiction { source, .. } => source,
        }
    }

    /// When it was noticed.
    pub fn at(&self) -> Timestamp {
        match self {
            Notice::Source { at, .. }
            | Notice::Gap { at, .. }
            | Notice::Silence { at, .. }
            | Notice::Contradiction { at, .. } => *at,
        }
    }

    /// The rule whose finding it is; `None` if nobody need look at it.
    pub const fn rule(&self) -> Option<&'static str> {
        match self {
            Notice::Source { .. } => None,
            Notice::Gap { .. } => Some("reeve.sequence.gap"),
            Notice::Silence { .. } => Some("reeve.sequence.silence"),
            Notice::Contradiction { .. } => Some("reeve.sequence.contradiction"),
        }
    }

    pub(crate) fn record(&self) -> NewRecord {
        let text = serde_json::to_string(self).unwrap_or_default();
        NewRecord::new(format!("{NOTICES}{}", self.source()), Transport::Internal, text)
    }

    /// The notice that a stored record is, if it is one.
    pub fn of(record: &StoredRecord) -> Option<Self> {
        let source = record.receipt.source.strip_prefix(NOTICES).filter(|_| record.receipt.transport == Transport::Internal)?;
        serde_json::from_slice(&record.raw).ok().filter(|notice: &Self| notice.source() == source)
    }
}
