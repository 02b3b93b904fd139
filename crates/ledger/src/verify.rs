//! The independent reader: recomputes everything from stored bytes, trusts only the key, and says which records it cannot vouch for.
mod against;
mod log;
mod segment;

use std::{collections::HashMap, path::Path, sync::Arc};

use reeve_record::Hash;
use serde::Serialize;

use crate::{
    Disk, Error, RealDisk,
    note::{Checkpoint, VerifierKey},
    proof::own_key,
    wal::{self, HEADER_LENGTH, Header},
};

/// How a ledger is verified.
#[derive(Clone)]
pub struct VerifyOptions {
    /// The key one trusts. Without one the folder's own is taken, which shows damage but not a log rewritten as a whole.
    pub key: Option<VerifierKey>,
    /// Checkpoints kept elsewhere, as signed note text: the log must continue each.
    pub against: Vec<String>,
    /// Where bytes come from.
    pub disk: Arc<dyn Disk>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { key: None, against: Vec::new(), disk: Arc::new(RealDisk) }
    }
}

/// How far verifying has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Segments done.
    pub segments: u32,
    /// Segments in all.
    pub segments_total: u32,
    /// Records recomputed.
    pub records: u64,
}

/// Some records of one segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct RecordRange {
    /// Segment number.
    pub segment: u32,
    /// First index.
    pub first: u32,
    /// Number of records, 1 or more.
    pub count: u32,
}

impl std::fmt::Display for RecordRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.count {
            1 => write!(f, "{}-{}", self.segment, self.first),
            count => write!(f, "{}-{}…{}", self.segment, self.first, u64::from(self.first) + u64::from(count) - 1),
        }
    }
}

/// Something that is not as it was sealed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Fault {
    /// Stable code, listed in `docs/errors/`.
    pub code: &'static str,
    /// What is wrong.
    pub what: String,
    /// File, and place in it where known.
    pub place: String,
    /// Records that cannot be vouched for because of it; never empty where records depend on what is damaged.
    pub records: Vec<RecordRange>,
    /// What else is known and what to do.
    pub hint: String,
}

/// The outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The key that was trusted, as text; empty if there was none.
    pub key: String,
    /// Whether that was the folder's own, for want of a better one.
    pub own_key: bool,
    /// Entries under the checkpoint.
    pub log_size: u64,
    /// Sealed segments read.
    pub segments: u32,
    /// Sealed records recomputed.
    pub records: u64,
    /// Records in the write-ahead log, checked by checksum only.
    pub open_records: u64,
    /// Records the batch statements declare as lost before they were sealed.
    pub lost_records: u64,
    /// … and which those are.
    pub lost: Vec<RecordRange>,
    /// What is not as it was sealed.
    pub faults: Vec<Fault>,
}

impl Report {
    /// Whether everything is as it was sealed.
    pub fn is_intact(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Verifies the ledger in `dir`; it may be in use. Damage is no error but a [`Fault`]: everything is read to the end.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be listed at all.
pub fn verify(dir: &Path, options: &VerifyOptions, progress: &mut dyn FnMut(Progress)) -> Result<Report, Error> {
    let disk = &*options.disk;
    disk.list(dir).map_err(|error| Error::io("list", dir, error))?;
    let mut report = Report {
        key: String::new(),
        own_key: options.key.is_none(),
        log_size: 0,
        segments: 0,
        records: 0,
        open_records: 0,
        lost_records: 0,
        lost: Vec::new(),
        faults: Vec::new(),
    };
    let key = trusted_key(disk, dir, options, &mut report);
    let log = log::verify(disk, dir, key.as_ref(), &mut report);
    report.log_size = log.size;
    for note in &options.against {
        against::check(disk, dir, key.as_ref(), note, &log.statements, &mut report);
    }
    let mut chains = segment::Chains::default();
    let total = log.statements.len() as u32;
    for (number, statement) in (0..).zip(&log.statements) {
        match statement {
            Some(statement) => segment::verify(disk, dir, statement, &mut chains, &mut report),
            None => chains.break_off(),
        }
        report.segments += 1;
        progress(Progress { segments: number + 1, segments_total: total, records: report.records });
    }
    verify_wal(disk, dir, total, &mut report)?;
    Ok(report)
}

fn trusted_key(disk: &dyn Disk, dir: &Path, options: &VerifyOptions, report: &mut Report) -> Option<VerifierKey> {
    let own = own_key(disk, dir);
    if let Err(error) = &own
        && (options.key.is_none() || !matches!(error, Error::Io { .. }))
    {
        report.faults.push(Fault {
            code: "LEDGER-028",
            what: format!("the verifier key cannot be read: {error}"),
            place: "keys/checkpoint.vkey".into(),
            records: Vec::new(),
            hint: "give the key you noted when the ledger was made".into(),
        });
    }
    let key = options.key.clone().or(own.ok());
    report.key = key.as_ref().map(VerifierKey::to_string).unwrap_or_default();
    key
}

/// Checks frames of segments that are not sealed yet.
fn verify_wal(disk: &dyn Disk, dir: &Path, sealed: u32, report: &mut Report) -> Result<(), Error> {
    let folder = dir.join("wal");
    let names = disk.list(&folder).map_err(|error| Error::io("list", &folder, error))?;
    let mut next: Option<(u32, u32)> = None;
    for name in names.iter().rev() {
        let Some(segment) = name.strip_suffix(".wal").and_then(|number| number.parse::<u32>().ok()).filter(|n| *n >= sealed)
        else {
            continue;
        };
        // Gone since the folder was listed: it was sealed meanwhile.
        let Ok(file) = disk.open(&folder.join(name)) else { continue };
        let mut head = vec![0; HEADER_LENGTH];
        let read = file.read_at(&mut head, 0).unwrap_or(0);
        let complete = next.take().and_then(|(number, records)| {
            let follows = number == segment + 1;
            if !follows {
                missing_wal(disk, dir, number - 1, records, report);
            }
            follows.then_some(records)
        });
        let mut fault = |what: String, records: Vec<RecordRange>| {
            let hint = "these records were acknowledged and are not sealed; compare with what the source still has".into();
            report.faults.push(Fault { code: "LEDGER-025", what, place: format!("wal/{name}"), records, hint });
        };
        let Some(header) = Header::decode(&head[..read]).filter(|header| header.segment == segment) else {
            if complete.is_some() || file.length().unwrap_or(0) > HEADER_LENGTH as u64 {
                let records = complete.map(|count| RecordRange { segment, first: 0, count }).into_iter().collect();
                fault("both copies of the head are damaged".into(), records);
            }
            continue;
        };
        next = Some((segment, header.records_before));
        match wal::scan(&*file, &header, complete) {
            Err(error) => fault(
                format!("it cannot be read: {error}"),
                complete.map(|count| RecordRange { segment, first: 0, count }).into_iter().collect(),
            ),
            Ok(scan) => {
                let lost =
                    ranges(segment, (0..).zip(&scan.places).filter(|(_, place)| place.length == 0).map(|(index, _)| index));
                report.open_records += scan.places.len() as u64 - lost.iter().map(|range| u64::from(range.count)).sum::<u64>();
                if !scan.damage.is_empty() {
                    let what = scan
                        .damage
                        .iter()
                        .map(|(offset, what)| format!("at byte {offset} {what}"))
                        .collect::<Vec<_>>()
                        .join("; ");
                    fault(what, lost);
                }
            }
        }
    }
    if let Some((number, records)) = next.filter(|(number, _)| *number > sealed) {
        missing_wal(disk, dir, number - 1, records, report);
    }
    Ok(())
}

/// A file of the write-ahead log is not there, though the next one says how many records it holds.
fn missing_wal(disk: &dyn Disk, dir: &Path, segment: u32, records: u32, report: &mut Report) {
    // Sealed meanwhile, if its segment file is there.
    if disk.open(&crate::segment::segment_path(&dir.join("segments"), segment)).is_err() {
        report.faults.push(Fault {
            code: "LEDGER-025",
            what: format!("it is missing with {records} records"),
            place: format!("wal/{segment:08}.wal"),
            records: vec![RecordRange { segment, first: 0, count: records }],
            hint: "these records were acknowledged and are not sealed; compare with what the source still has".into(),
        });
    }
}

/// Ascending indexes as ranges.
fn ranges(segment: u32, indexes: impl IntoIterator<Item = u32>) -> Vec<RecordRange> {
    let mut out: Vec<RecordRange> = Vec::new();
    for index in indexes {
        match out.last_mut().filter(|range| range.first + range.count == index) {
            Some(range) => range.count += 1,
            None => out.push(RecordRange { segment, first: index, count: 1 }),
        }
    }
    out
}

/// What the main log says, as far as it can be trusted.
struct Log {
    size: u64,
    /// By segment; `None` where no stored copy of the entry fits the log.
    statements: Vec<Option<crate::Statement>>,
}

type Hashes = HashMap<u64, Hash>;

/// All records of a log of this many entries: without their statements nobody knows how many that are.
fn all_of(checkpoint: Option<&Checkpoint>, statements: &[Option<crate::Statement>]) -> Vec<RecordRange> {
    let size = checkpoint.map_or(statements.len(), |checkpoint| checkpoint.size as usize).max(statements.len()).min(1 << 24);
    (0..size).map(|segment| whole(segment as u32, statements.get(segment).and_then(Option::as_ref))).collect()
}

fn whole(segment: u32, statement: Option<&crate::Statement>) -> RecordRange {
    RecordRange { segment, first: 0, count: statement.map_or(u32::MAX, |statement| statement.records) }
}
