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
    /// Checkpoints kept elsewhere, as signed notes: the log has to be what each covers, or that and more.
    pub against: Vec<String>,
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

/// The outcome of [`verify`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// The key that was trusted, as text; empty if there was none.
    pub key: String,
    /// Whether that was the folder's own, for want of a better one.
    pub own_key: bool,
    /// Entries under the checkpoint.
    pub entries: u64,
    /// Sealed segments, as far as the entries say.
    pub segments: u64,
    /// Entries under the quorum of a policy; `None` without a policy.
    pub cosigned: Option<u64>,
    /// Time-stamps that answer for a checkpoint of this log; their signatures are for `openssl ts -verify` to judge.
    pub time_stamps: u64,
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
    pub unsealed_records: u64,
    /// What is not as it was sealed.
    pub faults: Vec<Fault>,
}

impl Report {
    pub(crate) fn fault(&mut self, code: &'static str, place: impl Into<String>, what: impl Into<String>, records: Ranges) {
        self.faults.push(Fault { code, what: what.into(), place: place.into(), records });
    }

    /// What there is if it holds; else a fault.
    pub(crate) fn expect<T>(
        &mut self,
        code: &'static str,
        place: impl Into<String>,
        records: impl FnOnce() -> Ranges,
        held: Result<T, impl Into<String>>,
    ) -> Option<T> {
        held.map_err(|what| self.fault(code, place, what, records())).ok()
    }

    /// `intact` if everything is as it was sealed, else `failed`.
    pub fn verdict(&self) -> &'static str {
        if self.faults.is_empty() { "intact" } else { "failed" }
    }
}

type Ranges = Vec<RecordRange>;

/// Checks a ledger. Damage is no error but a [`Fault`]; everything is read to the end.
pub fn verify(files: &dyn Files, given: &Trust) -> Report {
    let mut report = Report::default();
    // Before the checkpoint: what a running ledger seals meanwhile is then in one of the lists, or below the checkpoint.
    let segments = listed(files, "segments", ".parquet", &mut report);
    let wals = listed(files, "wal", ".wal", &mut report);
    let mut trusted = given.clone();
    trusted.key = trusted_key(files, given, &mut report);
    trusted.root = trusted.root.or_else(|| own(files, "keys/root.vkey", key_file, &mut report));
    trusted.policy = trusted.policy.or_else(|| own(files, "log/policy", Policy::parse, &mut report));
    let statements = log::check(files, &trusted, given.root.is_some(), &mut report);
    let mut chains = segment::Chains::default();
    for statement in &statements {
        report.segments += 1;
        match statement {
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
    let names = files.list(folder).map_err(|error| format!("it cannot be listed: {error}"));
    numbers(&report.expect("LEDGER-025", folder, Vec::new, names).unwrap_or_default(), ending)
}

fn trusted_key(files: &dyn Files, given: &Trust, report: &mut Report) -> Option<VerifierKey> {
    let before = report.faults.len();
    let own = own(files, OWN_KEY, key_file, report);
    let listed = || given.policy.as_ref()?.log(own.as_ref()?.name()).cloned();
    let given = given.key.clone().or_else(listed);
    report.own_key = given.is_none();
    let key = given.or(own);
    if key.is_none() && report.faults.len() == before {
        report.fault("LEDGER-028", OWN_KEY, "it cannot be read, and no other key was given", Vec::new());
    }
    report.key = key.as_ref().map(VerifierKey::to_string).unwrap_or_default();
    key
}

/// What the folder has to be trusted, if it can be read; that it is not in its form is a fault.
fn own<T>(files: &dyn Files, name: &str, parse: impl FnOnce(&str) -> Result<T, String>, report: &mut Report) -> Option<T> {
    let (code, most) = if name.starts_with("keys/") { ("LEDGER-028", 4096) } else { ("LEDGER-032", 65_536) };
    let read = match read_all(files, name, most) {
        // Where another key was given, this one need not be readable.
        Err(error) if error.kind() == ErrorKind::NotFound || name == OWN_KEY => return None,
        read => read.map_err(|error| format!("it cannot be read: {error}")),
    };
    let text = read.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned()));
    report.expect(code, name, Vec::new, text.and_then(|text| parse(&text)))
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
        let what = format!("it was sealed, but the log has only {sealed} batch statements: an older checkpoint was put back");
        report.fault("LEDGER-027", format!("segments/{segment:08}.parquet"), what, vec![RecordRange::all(*segment, None)]);
    }
}

const OWN_KEY: &str = "keys/checkpoint.vkey";
