//! A ledger folder as a whole: `docs/spec/record.md`, *Checking a ledger*.
use std::{fmt, io::ErrorKind};

use serde::{Serialize, Serializer};

use crate::{
    Files, Hash, Policy, VerifierKey,
    files::read_all,
    log, segment,
    statement::Statement,
    wal::{self, numbers},
};

/// What one takes for true from the start. What is not given is taken from the folder, which shows damage but not a log rewritten as a whole.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The log's stable key.
    pub key: Option<VerifierKey>,
    /// The key of epoch 0, from which all others have to descend.
    pub root: Option<VerifierKey>,
    /// Whose cosignatures are demanded; a `log` line in it stands for the key.
    pub policy: Option<Policy>,
    /// Leaf hashes of the forks one knows of.
    pub forks: Vec<Hash>,
}

/// That, with what the folder has.
pub(crate) struct Trusted<'a> {
    pub(crate) key: Option<VerifierKey>,
    pub(crate) root: Option<VerifierKey>,
    pub(crate) root_given: bool,
    pub(crate) policy: Option<Policy>,
    pub(crate) forks: &'a [Hash],
}

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

impl Serialize for RecordRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Something that is not as it was sealed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Fault {
    /// The code of `docs/errors/` that says what it means and what to do.
    pub code: &'static str,
    /// What is wrong.
    pub what: String,
    /// File, and place in it where known.
    #[serde(rename = "where")]
    pub place: String,
    /// Records that cannot be vouched for because of it.
    pub records: Vec<RecordRange>,
}

impl Fault {
    pub(crate) fn new(code: &'static str, place: impl Into<String>, what: impl Into<String>, records: Vec<RecordRange>) -> Self {
        Self { code, what: what.into(), place: place.into(), records }
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
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// The key that was trusted, as text; empty if there was none.
    pub key: String,
    /// Whether that was the folder's own, for want of a better one.
    pub own_key: bool,
    /// Entries under the checkpoint.
    #[serde(rename = "entries")]
    pub size: u64,
    /// Sealed segments, as far as the entries say.
    pub segments: u64,
    /// Entries under the quorum of a policy; `None` without a policy.
    pub cosigned: Option<u64>,
    /// Time-stamps that answer for a checkpoint of this log; their signatures are for `openssl ts -verify` to judge.
    #[serde(rename = "time_stamps")]
    pub stamps: u64,
    /// When the checkpoint was signed, as text in UTC; `None` without a valid one.
    pub signed: Option<String>,
    /// Records recomputed from sealed segments, lost ones included.
    pub records: u64,
    /// Records declared lost in signed statements.
    pub lost_records: u64,
    /// Records whose content was redacted; their leaves were recomputed all the same.
    pub redacted_records: u64,
    /// Records of destroyed segments, of which only leaf hashes are left.
    pub destroyed_records: u64,
    /// Records in the write-ahead log: unsealed, so checked by checksum only.
    #[serde(rename = "unsealed_records")]
    pub open_records: u64,
    /// What is not as it was sealed.
    pub faults: Vec<Fault>,
}

impl Report {
    pub(crate) fn fault(
        &mut self,
        code: &'static str,
        place: impl Into<String>,
        what: impl Into<String>,
        records: Vec<RecordRange>,
    ) {
        self.faults.push(Fault { code, what: what.into(), place: place.into(), records });
    }

    /// Whether everything is as it was sealed.
    pub fn is_intact(&self) -> bool {
        self.faults.is_empty()
    }

    /// `intact` or `failed`.
    pub fn verdict(&self) -> &'static str {
        if self.is_intact() { "intact" } else { "failed" }
    }
}

/// Checks a ledger. Damage is no error but a [`Fault`]; everything is read to the end.
pub fn verify(files: &dyn Files, trust: &Trust) -> Report {
    let mut report = Report::default();
    // Before the checkpoint: what a running ledger seals meanwhile is then in one of the lists, or below the checkpoint.
    let segments = listed(files, "segments", ".parquet", &mut report);
    let wals = listed(files, "wal", ".wal", &mut report);
    let trusted = Trusted {
        key: trusted_key(files, trust, &mut report),
        root: trust.root.clone().or_else(|| own(files, "keys/root.vkey", "LEDGER-028", key_file, &mut report)),
        root_given: trust.root.is_some(),
        policy: trust.policy.clone().or_else(|| own(files, "log/policy", "LEDGER-032", Policy::parse, &mut report)),
        forks: &trust.forks,
    };
    let entries = log::check(files, &trusted, &mut report);
    let mut chains = segment::Chains::default();
    for statement in entries.statements(&mut report) {
        report.segments += 1;
        match &statement {
            Some(statement) => segment::check(files, statement, &mut chains, &mut report),
            None => chains.break_off(),
        }
    }
    wal::check(files, &wals, report.segments, &mut report);
    nothing_cut_off(&segments, &wals, &mut report);
    report
}

/// Numbers of the files in a folder whose names are eight digits and this ending.
fn listed(files: &dyn Files, folder: &str, ending: &str, report: &mut Report) -> Vec<u32> {
    match files.list(folder) {
        Ok(names) => numbers(&names, ending),
        Err(error) => {
            report.fault("LEDGER-025", folder, format!("it cannot be listed: {error}"), Vec::new());
            Vec::new()
        }
    }
}

fn trusted_key(files: &dyn Files, trust: &Trust, report: &mut Report) -> Option<VerifierKey> {
    let before = report.faults.len();
    let own = own(files, OWN_KEY, "LEDGER-028", key_file, report);
    let listed = || trust.policy.as_ref()?.log(own.as_ref()?.name()).cloned();
    let given = trust.key.clone().or_else(listed);
    report.own_key = given.is_none();
    if given.is_none() && own.is_none() && report.faults.len() == before {
        let what = "it cannot be read, and no other key was given";
        report.fault("LEDGER-028", OWN_KEY, what, Vec::new());
    }
    let key = given.or(own);
    report.key = key.as_ref().map(VerifierKey::to_string).unwrap_or_default();
    key
}

/// What the folder has to be trusted, if it can be read; that it is not in its form is a fault.
fn own<T>(
    files: &dyn Files,
    name: &str,
    code: &'static str,
    parse: impl FnOnce(&str) -> Result<T, String>,
    report: &mut Report,
) -> Option<T> {
    let read = match read_all(files, name, if name.starts_with("keys/") { 4096 } else { 65_536 }) {
        // Where another key was given, this one need not be readable.
        Err(error) if error.kind() == ErrorKind::NotFound || name == OWN_KEY => return None,
        read => read.map_err(|error| format!("it cannot be read: {error}")),
    };
    let text = read.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned()));
    let parsed = text.and_then(|text| parse(&text));
    parsed.map_err(|problem| report.fault(code, name, problem, Vec::new())).ok()
}

/// A key as a file holds it.
fn key_file(text: &str) -> Result<VerifierKey, String> {
    let key = VerifierKey::parse(text)?;
    if text == format!("{key}\n") { Ok(key) } else { Err("it is not a verifier key and a line break".into()) }
}

/// A segment's WAL goes only after its statement is under a checkpoint, so a segment file past the checkpoint has its WAL beside it.
fn nothing_cut_off(segments: &[u32], wals: &[u32], report: &mut Report) {
    let sealed = report.segments;
    for segment in segments.iter().filter(|segment| u64::from(**segment) >= sealed && !wals.contains(segment)) {
        let what = format!(
            "it was sealed, but the log under the checkpoint has only {} batch statements: an older checkpoint was put back",
            report.size
        );
        let place = format!("segments/{segment:08}.parquet");
        report.fault("LEDGER-027", place, what, vec![RecordRange::all(*segment, None)]);
    }
}

const OWN_KEY: &str = "keys/checkpoint.vkey";
