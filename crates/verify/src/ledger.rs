//! A ledger folder as a whole: `docs/spec/record.md`, *Checking a ledger*.
use std::fmt;

use serde_json::{Value, json};

use crate::{
    Files, VerifierKey,
    files::read_all,
    log, segment,
    statement::Statement,
    wal::{self, numbers},
};

/// Some records of one segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordRange {
    /// Segment number.
    pub segment: u32,
    /// First index.
    pub first: u32,
    /// Number of records; [`u32::MAX`] where nothing says how many the segment has.
    pub count: u32,
}

impl RecordRange {
    pub(crate) fn all(segment: u32, statement: Option<&Statement>) -> Self {
        Self { segment, first: 0, count: statement.map_or(u32::MAX, |statement| statement.records) }
    }
}

impl fmt::Display for RecordRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, first, count } = self;
        match count {
            &u32::MAX => write!(f, "{segment}-*"),
            1 => write!(f, "{segment}-{first}"),
            count => write!(f, "{segment}-{first}…{}", u64::from(*first) + u64::from(*count) - 1),
        }
    }
}

/// Something that is not as it was sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The code of `docs/errors/` that says what it means and what to do.
    pub code: &'static str,
    /// What is wrong.
    pub what: String,
    /// File, and place in it where known.
    pub place: String,
    /// Records that cannot be vouched for because of it.
    pub records: Vec<RecordRange>,
}

impl Fault {
    pub(crate) fn new(code: &'static str, place: impl Into<String>, what: impl Into<String>, records: Vec<RecordRange>) -> Self {
        Self { code, what: what.into(), place: place.into(), records }
    }

    /// As one JSON object.
    pub fn to_json(&self) -> Value {
        let records: Vec<String> = self.records.iter().map(RecordRange::to_string).collect();
        json!({ "code": self.code, "what": self.what, "where": self.place, "records": records })
    }
}

/// One line: code, what, where, and the records hit, shortened after eight ranges.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.code, self.place, self.what)?;
        for (n, range) in self.records.iter().take(8).enumerate() {
            write!(f, "{}{range}", if n == 0 { "; records " } else { ", " })?;
        }
        let more = self.records.len().saturating_sub(8);
        if more > 0 { write!(f, " and {more} more ranges") } else { Ok(()) }
    }
}

/// The outcome of [`verify`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// The key that was trusted, as text; empty if there was none.
    pub key: String,
    /// Whether that was the folder's own, for want of a better one.
    pub own_key: bool,
    /// Entries under the checkpoint.
    pub size: u64,
    /// When the checkpoint was signed, as text in UTC; `None` without a valid one.
    pub signed: Option<String>,
    /// Records recomputed from sealed segments, lost ones included.
    pub records: u64,
    /// Records declared lost in signed statements.
    pub lost_records: u64,
    /// Records in the write-ahead log: unsealed, so checked by checksum only.
    pub open_records: u64,
    /// What is not as it was sealed.
    pub faults: Vec<Fault>,
}

impl Report {
    /// Whether everything is as it was sealed.
    pub fn is_intact(&self) -> bool {
        self.faults.is_empty()
    }

    /// As one JSON object, faults included.
    pub fn to_json(&self) -> Value {
        json!({
            "verdict": if self.is_intact() { "intact" } else { "failed" },
            "key": self.key,
            "own_key": self.own_key,
            "segments": self.size,
            "signed": self.signed,
            "records": self.records,
            "lost_records": self.lost_records,
            "unsealed_records": self.open_records,
            "faults": self.faults.iter().map(Fault::to_json).collect::<Vec<_>>(),
        })
    }
}

/// Checks a ledger under `key`, or else under the key that lies in it. Damage is no error but a [`Fault`]; everything is read to the end.
pub fn verify(files: &dyn Files, key: Option<&VerifierKey>) -> Report {
    let mut report = Report { own_key: key.is_none(), ..Report::default() };
    // Before the checkpoint: what a running ledger seals meanwhile is then in one of the lists, or below the checkpoint.
    let segments = listed(files, "segments", ".parquet", &mut report);
    let wals = listed(files, "wal", ".wal", &mut report);
    let key = trusted_key(files, key, &mut report);
    let log = log::check(files, key.as_ref(), &mut report);
    let mut chains = segment::Chains::default();
    for statement in &log.statements {
        match statement {
            Some(statement) => segment::check(files, statement, &mut chains, &mut report),
            None => chains.break_off(),
        }
    }
    wal::check(files, &wals, report.size, &mut report);
    nothing_cut_off(&segments, &wals, &mut report);
    report
}

/// Numbers of the files in a folder whose names are eight digits and this ending.
fn listed(files: &dyn Files, folder: &str, ending: &str, report: &mut Report) -> Vec<u32> {
    match files.list(folder) {
        Ok(names) => numbers(&names, ending),
        Err(error) => {
            report.faults.push(Fault::new("LEDGER-025", folder, format!("it cannot be listed: {error}"), Vec::new()));
            Vec::new()
        }
    }
}

fn trusted_key(files: &dyn Files, given: Option<&VerifierKey>, report: &mut Report) -> Option<VerifierKey> {
    let own = own_key(files);
    let (key, problem) = match (given, own) {
        (Some(given), Some(Err(problem))) => (Some(given.clone()), Some(problem)),
        (Some(given), _) => (Some(given.clone()), None),
        (None, Some(Ok(own))) => (Some(own), None),
        (None, Some(Err(problem))) => (None, Some(problem)),
        (None, None) => (None, Some("it cannot be read, and no other key was given".into())),
    };
    report.faults.extend(problem.map(|problem| Fault::new("LEDGER-028", OWN_KEY, problem, Vec::new())));
    report.key = key.as_ref().map(VerifierKey::to_string).unwrap_or_default();
    key
}

/// The key in the folder: `None` if it cannot be read, an error if it is not in its form.
fn own_key(files: &dyn Files) -> Option<Result<VerifierKey, String>> {
    let bytes = read_all(files, OWN_KEY, 4096).ok()?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned());
    Some(text.and_then(|text| {
        let key = VerifierKey::parse(&text)?;
        if text == format!("{key}\n") { Ok(key) } else { Err("it is not a verifier key and a line break".into()) }
    }))
}

/// A segment's WAL goes only after its statement is under a checkpoint, so a segment file past the checkpoint has its WAL beside it.
fn nothing_cut_off(segments: &[u32], wals: &[u32], report: &mut Report) {
    for segment in segments.iter().filter(|segment| u64::from(**segment) >= report.size && !wals.contains(segment)) {
        let what = format!(
            "it was sealed, but the log under the checkpoint has only {} statements: an older checkpoint was put back",
            report.size
        );
        let place = format!("segments/{segment:08}.parquet");
        report.faults.push(Fault::new("LEDGER-027", place, what, vec![RecordRange::all(*segment, None)]));
    }
}

const OWN_KEY: &str = "keys/checkpoint.vkey";
