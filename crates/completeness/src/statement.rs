//! The statement of completeness: what it says, and how anyone checks it.
use std::collections::BTreeMap;

use jiff::Timestamp;
use reeve_ledger::{Attested, Ledger, VerifierKey, open_attested};
use reeve_record::{Grade, RecordId};
use serde::{Deserialize, Serialize};

/// What is there of the sources asked for, and what is not; members as fixed in `docs/spec/receipt.md`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Pattern of the sources' names.
    pub source: String,
    /// Received at or after.
    pub from: Option<Timestamp>,
    /// Received before.
    pub to: Option<Timestamp>,
    /// When it was made.
    pub made: Timestamp,
    /// One past the last record that was looked at.
    pub end: RecordId,
    /// The checkpoint at that moment.
    pub checkpoint: Option<Under>,
    /// Records that are durable and not under it.
    pub unsealed: u64,
    /// How far the reading had come; `None` if there was none at hand.
    pub read_through: Option<RecordId>,
    /// Each source, in order of name.
    pub sources: Vec<SourceLine>,
    /// Sources that are not listed.
    pub sources_left_out: u64,
    /// What became of the ledger itself in this time.
    pub ledger: LedgerLine,
    /// When a server ran.
    pub server: ServerLine,
    /// Losses that are no source's.
    pub listeners: Vec<ListenerLine>,
}

/// A checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Under {
    /// Entries of the main log.
    pub size: u64,
    /// Root over them, base64.
    pub root: String,
    /// When it was signed.
    pub at: Timestamp,
}

/// One source. Numbers count records.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceLine {
    /// Its name.
    pub source: String,
    /// The lowest grade among its records.
    pub grade: Option<Grade>,
    /// Whether it numbers its records itself.
    pub numbered: bool,
    /// Records it sent, if it numbers them.
    pub expected: Option<u64>,
    /// Records that are there.
    pub received: u64,
    /// Records that are not.
    pub missing: Option<u64>,
    /// Which, at most 100 stretches.
    pub missing_numbers: Vec<Missing>,
    /// Numbers that may have been sent in segments that are gone; not expected.
    pub removed: u64,
    /// Epochs whose end nobody knows.
    pub unknown_tails: u64,
    /// Records sent again, and dropped.
    pub duplicates: u64,
    /// Records that contradict others under the same numbers.
    pub contradicting: u64,
    /// Records that are not what their head says.
    pub unproven: u64,
    /// Records that came late.
    pub late: u64,
    /// Records that claim to be of a time after their receipt.
    pub clock_ahead: u64,
    /// Events that are nothing but text or bytes.
    pub unparsed: Option<u64>,
    /// When it was silent for too long, at most 100.
    pub silences: Vec<Span>,
    /// Lost on the way in, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Not taken, sender told, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Wrong but kept, by reason.
    pub problems: BTreeMap<String, u64>,
    /// When the first of its records in this time was received.
    pub first_received: Option<Timestamp>,
    /// And the last.
    pub last_received: Option<Timestamp>,
}

/// Numbers that are not there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Missing {
    /// The source's epoch.
    pub epoch: u64,
    /// First number.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// A stretch of time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// From when on.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
}

/// The ledger in this time.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerLine {
    /// Records acknowledged and lost since.
    pub lost: u64,
    /// Records redacted or destroyed since.
    pub removed: u64,
    /// Segments that could not be read.
    pub unreadable_segments: u64,
    /// How often the server's clock went back.
    pub clock_steps: u64,
}

/// The server in this time.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerLine {
    /// How often one was started.
    pub starts: u64,
    /// When none ran, at most 1,000.
    pub down: Vec<Down>,
}

/// A time without server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Down {
    /// When it stopped, or the last checkpoint before it was killed.
    pub from: Timestamp,
    /// When the next was started.
    pub to: Timestamp,
    /// Whether it stopped as it should.
    pub clean: bool,
}

/// What a listener lost before it was any source's.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerLine {
    /// Its name in the configuration.
    pub listener: String,
    /// Messages lost, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Connections and requests turned away, by reason.
    pub refused: BTreeMap<String, u64>,
}

impl Statement {
    /// Its one JSON text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The note over it, signed by `ledger`.
    ///
    /// # Errors
    /// What keeps the ledger from signing.
    pub fn sign(&self, ledger: &Ledger) -> Result<String, reeve_ledger::Error> {
        ledger.attest(Attested::Completeness, &format!("{}\n", self.to_json()))
    }

    /// Whether the figures agree with each other.
    fn adds_up(&self) -> Result<(), String> {
        for line in &self.sources {
            let named = line.missing_numbers.iter().try_fold(0u64, |sum, missing| sum.checked_add(missing.count));
            let agrees = match (line.expected, line.missing) {
                (Some(expected), Some(missing)) => {
                    line.numbered
                        && line.received.checked_add(missing) == Some(expected)
                        && named.is_some_and(|named| named <= missing)
                }
                (None, None) => !line.numbered && line.missing_numbers.is_empty(),
                _ => false,
            };
            if !agrees {
                return Err(format!("the figures of source `{}` do not agree", line.source));
            }
        }
        if self.sources.is_sorted_by(|a, b| a.source < b.source) { Ok(()) } else { Err("its sources are not in order".into()) }
    }
}

/// Reads a signed statement and checks signature, form and figures, offline.
///
/// # Errors
/// What does not hold, in words.
pub fn check_statement(note: &str, key: &VerifierKey) -> Result<Statement, String> {
    let lines = open_attested(Attested::Completeness, note, key).map_err(|reason| format!("the statement {reason}"))?;
    let form = || "the statement is signed but not in the form of docs/spec/receipt.md".to_owned();
    let json = lines.strip_suffix('\n').ok_or_else(form)?;
    let statement: Statement = serde_json::from_str(json).map_err(|_| form())?;
    if statement.to_json() != json {
        return Err(form());
    }
    statement.adds_up()?;
    Ok(statement)
}
