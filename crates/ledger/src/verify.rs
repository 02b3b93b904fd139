//! The independent reader: recomputes everything from stored bytes, trusts only the key, and says which records it cannot vouch for.
mod against;
mod entries;
mod log;
mod order;
mod outside;
mod resume;
mod segment;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use jiff::Timestamp;
use reeve_record::Hash;
use serde::Serialize;

use self::{
    resume::{Known, Notes, Resume},
    segment::Judged,
};
use crate::{
    Disk, Error, Policy, RealDisk,
    disposal::{Disposals, Disposed},
    note::VerifierKey,
    proof::{own_key, read_key},
    segment::parse_name,
    wal::{self, HEADER_LENGTH, Header},
};

/// How a ledger is verified.
#[derive(Clone)]
pub struct VerifyOptions {
    /// The stable key one trusts. Without one that of the policy's `log` line or else the folder's own is taken; the latter shows damage but not a
    /// log rewritten as a whole.
    pub key: Option<VerifierKey>,
    /// Checkpoints kept elsewhere, as signed note text: the log must continue each.
    pub against: Vec<String>,
    /// The key of epoch 0, from which all later ones must descend. Without one the folder's own is taken.
    pub root: Option<VerifierKey>,
    /// Whose cosignatures are demanded. Without one the folder's own is taken; where there is none, nobody's.
    pub policy: Option<Policy>,
    /// Leaf hashes of the forks one knows of; any other is a fault.
    pub forks: Vec<Hash>,
    /// Threads that read segments; 0 for as many as there are processors. With one, each segment is read when [`Progress`] was told of the one before.
    /// The report is the same, however many there are; each takes the memory of a few thousand records.
    pub threads: usize,
    /// A file that keeps what was made out of each segment, so that another run reads only those that are new or whose files changed since: by length,
    /// times and inode, on the machine's own file system. It is made if it is not there, and goes on where a run was stopped.
    pub resume: Option<PathBuf>,
    /// Where bytes come from.
    pub disk: Arc<dyn Disk>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        let (key, root, policy) = (None, None, None);
        Self { key, root, policy, against: Vec::new(), forks: Vec::new(), threads: 1, resume: None, disk: Arc::new(RealDisk) }
    }
}

/// How far verifying has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Segments done.
    pub segments: u32,
    /// Segments in all.
    pub segments_total: u32,
    /// Records recomputed, those of recalled segments included.
    pub records: u64,
    /// Segments that were not read, since an earlier run had read them.
    pub recalled: u32,
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
    /// The key of epoch 0 that was trusted, as text; empty if there was none.
    pub root_key: String,
    /// Whether that was the folder's own.
    pub own_root: bool,
    /// Whether the policy was the folder's own.
    pub own_policy: bool,
    /// Entries under the checkpoint.
    pub log_size: u64,
    /// Key epochs, each of which signed the next.
    pub epochs: u64,
    /// Forks in the log, as their entries say; those not given are faults too.
    pub forks: Vec<String>,
    /// Entries under a quorum of witnesses; `None` without a policy.
    pub cosigned_size: Option<u64>,
    /// Time-stamps that answer for a checkpoint of this log. Their signatures are for `openssl ts -verify` to judge.
    pub time_stamps: u32,
    /// Sealed segments.
    pub segments: u32,
    /// Of these, segments that this run did not read: an earlier one had, and their files are as they were then.
    pub recalled: u32,
    /// When the first of them was read.
    pub recalled_since: Option<Timestamp>,
    /// Why what was made out could not be noted for a later run, if so.
    pub resume_problem: Option<String>,
    /// Sealed records recomputed.
    pub records: u64,
    /// Records in the write-ahead log, checked by checksum only.
    pub open_records: u64,
    /// Records the batch statements declare as lost before they were sealed.
    pub lost_records: u64,
    /// … and which those are.
    pub lost: Vec<RecordRange>,
    /// Records whose content was redacted, and whose leaves were recomputed all the same.
    pub redacted_records: u64,
    /// Records of destroyed segments, of which only the leaf hashes are left.
    pub destroyed_records: u64,
    /// … and which those are.
    pub destroyed: Vec<RecordRange>,
    /// Files of content that was redacted or destroyed and is still there. The ledger erases them when it is opened.
    pub left_over: Vec<String>,
    /// What is not as it was sealed.
    pub faults: Vec<Fault>,
}

impl Report {
    /// What is damaged: the faults, without forks that one was not told of. Whoever keeps the folder made these and knows of them.
    pub fn damage(&self) -> impl Iterator<Item = &Fault> + Clone {
        self.faults.iter().filter(|fault| fault.code != UNTOLD_FORK)
    }

    /// Whether everything is as it was sealed.
    pub fn is_intact(&self) -> bool {
        self.faults.is_empty()
    }
}

/// The code of a fork that the one who verifies was not told of.
const UNTOLD_FORK: &str = "LEDGER-031";

/// Verifies the ledger in `dir`; it may be in use. Damage is no error but a [`Fault`]: everything is read to the end.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be listed at all.
pub fn verify(dir: &Path, options: &VerifyOptions, progress: &mut dyn FnMut(Progress)) -> Result<Report, Error> {
    let disk = &*options.disk;
    disk.list(dir).map_err(|error| Error::io("list", dir, error))?;
    let mut report = Report {
        key: String::new(),
        own_key: false,
        root_key: String::new(),
        own_root: options.root.is_none(),
        own_policy: options.policy.is_none(),
        log_size: 0,
        epochs: 0,
        forks: Vec::new(),
        cosigned_size: None,
        time_stamps: 0,
        segments: 0,
        recalled: 0,
        recalled_since: None,
        resume_problem: None,
        records: 0,
        open_records: 0,
        lost_records: 0,
        lost: Vec::new(),
        redacted_records: 0,
        destroyed_records: 0,
        destroyed: Vec::new(),
        left_over: Vec::new(),
        faults: Vec::new(),
    };
    // Before the checkpoint: what a running ledger seals meanwhile is then in one of the lists, or below the checkpoint.
    let segments = numbered(disk, &dir.join("segments"), ".parquet")?;
    let wals = numbered(disk, &dir.join("wal"), ".wal")?;
    let trusted = Trusted {
        key: trusted_key(disk, dir, options, &mut report),
        root: trusted_root(disk, dir, options, &mut report),
        policy: outside::trusted_policy(disk, dir, options, &mut report),
        forks: &options.forks,
        root_given: options.root.is_some(),
    };
    let log = log::verify(disk, dir, &trusted, &mut report);
    report.log_size = log.size;
    for note in &options.against {
        against::check(disk, dir, trusted.key.as_ref(), note, &log.statements, &mut report);
    }
    let total = log.statements.len() as u32;
    verify_segments(disk, dir, &log, options, &mut report, progress)?;
    left_over(disk, dir, &log.disposals, &mut report)?;
    verify_wal(disk, dir, total, &wals, &mut report);
    nothing_cut_off(total, &segments, &wals, &mut report);
    Ok(report)
}

/// Every segment: judged on many threads, joined to those before it in order.
fn verify_segments(
    disk: &dyn Disk,
    dir: &Path,
    log: &Log,
    options: &VerifyOptions,
    report: &mut Report,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), Error> {
    let (resume, mut notes) = options.resume.as_deref().map(|path| Resume::open(path, dir)).transpose()?.unzip();
    let (total, mut chains) = (log.statements.len() as u32, segment::Chains::default());
    let work = |number: u32| {
        let statement = log.statements[number as usize].as_ref()?;
        let disposed = log.disposals.of(number);
        let judge = || segment::judge(disk, dir, statement, disposed);
        let known = match &resume {
            Some(resume) => resume.judge(statement, disposed, judge),
            None => Known::Read(judge(), None),
        };
        Some((statement, known))
    };
    let threads = if options.threads == 0 { thread::available_parallelism().map_or(1, usize::from) } else { options.threads };
    order::in_order(total, threads, &work, &mut |number, known| {
        match known {
            Some((statement, known)) => {
                let judged = note(known, &mut notes, report);
                segment::join(statement, log.disposals.of(number), judged, &mut chains, report);
            }
            None => chains.break_off(),
        }
        report.segments += 1;
        progress(Progress { segments: number + 1, segments_total: total, records: report.records, recalled: report.recalled });
    });
    if let Some(Err(error)) = notes.map(Notes::finish) {
        report.resume_problem = Some(error.to_string());
    }
    Ok(())
}

/// What was made out, noted for a later run. That it cannot be noted is no fault of the ledger: the next run then reads more.
fn note(known: Known, notes: &mut Option<Notes>, report: &mut Report) -> Judged {
    let (judged, line) = match known {
        Known::Recalled(judged, line) => {
            report.recalled += 1;
            report.recalled_since = report.recalled_since.into_iter().chain([line.read_at]).min();
            notes.iter_mut().for_each(|notes| notes.keep(line.clone()));
            return judged;
        }
        Known::Read(judged, line) => (judged, line),
    };
    let noted = notes.as_mut().zip(line).map(|(notes, line)| notes.note(line));
    if let Some(Err(error)) = noted {
        report.resume_problem = Some(error.to_string());
        *notes = None;
    }
    judged
}

/// Numbers of the files in a folder that have one and this ending, ascending.
fn numbered(disk: &dyn Disk, folder: &Path, ending: &str) -> Result<Vec<u32>, Error> {
    let names = disk.list(folder).map_err(|error| Error::io("list", folder, error))?;
    let number = |name: &String| {
        let number: u32 = name.strip_suffix(ending)?.parse().ok()?;
        (format!("{number:08}{ending}") == *name).then_some(number)
    };
    let mut numbers: Vec<u32> = names.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Files of content that was taken out: what a crash left, until the ledger is opened.
fn left_over(disk: &dyn Disk, dir: &Path, disposals: &Disposals, report: &mut Report) -> Result<(), Error> {
    let folder = dir.join("segments");
    let names = disk.list(&folder).map_err(|error| Error::io("list", &folder, error))?;
    let is_left = |name: &&String| {
        let Some((segment, redactions, kind)) = parse_name(name) else { return false };
        let before = |disposed: &Disposed| if disposed.destroyed { kind != "leaves" } else { redactions < disposed.redactions };
        disposals.of(segment).is_some_and(before)
    };
    report.left_over.extend(names.iter().filter(is_left).map(|name| format!("segments/{name}")));
    Ok(())
}

/// A segment's WAL file goes only after its statement is under a checkpoint, so a segment file past the log has its WAL beside it.
fn nothing_cut_off(sealed: u32, segments: &[u32], wals: &[u32], report: &mut Report) {
    for segment in segments.iter().copied().filter(|segment| *segment >= sealed && !wals.contains(segment)) {
        report.faults.push(Fault {
            code: "LEDGER-027",
            what: format!(
                "it was sealed, but the log under the checkpoint has {sealed} statements: an older checkpoint was put back"
            ),
            place: format!("segments/{segment:08}.parquet"),
            records: vec![whole(segment, None)],
            hint: "restore the log from a copy that has this segment; do not start Reeve on it before, as that removes the file"
                .into(),
        });
    }
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
    let listed = || own.as_ref().ok().and_then(|own| options.policy.as_ref()?.log(own.name()).cloned());
    let given = options.key.clone().or_else(listed);
    report.own_key = given.is_none();
    let key = given.or(own.ok());
    report.key = key.as_ref().map(VerifierKey::to_string).unwrap_or_default();
    key
}

/// The key of epoch 0. That the folder has none is no fault by itself: there may be no epochs yet.
fn trusted_root(disk: &dyn Disk, dir: &Path, options: &VerifyOptions, report: &mut Report) -> Option<VerifierKey> {
    let own = || match read_key(disk, &dir.join("keys/root.vkey")) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            report.faults.push(Fault {
                code: "LEDGER-028",
                what: format!("the key of epoch 0 cannot be read: {error}"),
                place: "keys/root.vkey".into(),
                records: Vec::new(),
                hint: "give the key you noted when the ledger was made".into(),
            });
            None
        }
        Ok(key) => Some(key),
    };
    let root = options.root.clone().or_else(own);
    report.root_key = root.as_ref().map(VerifierKey::to_string).unwrap_or_default();
    root
}

/// What is taken for true from the start.
struct Trusted<'a> {
    key: Option<VerifierKey>,
    root: Option<VerifierKey>,
    root_given: bool,
    policy: Option<Policy>,
    forks: &'a [Hash],
}

/// Checks the files of segments that are not sealed yet: none missing between them, heads, frames.
fn verify_wal(disk: &dyn Disk, dir: &Path, sealed: u32, wals: &[u32], report: &mut Report) {
    let open: Vec<u32> = wals.iter().copied().filter(|segment| *segment >= sealed).collect();
    let mut next: Option<u32> = None;
    for (n, segment) in open.iter().copied().enumerate().rev() {
        let before = n.checked_sub(1).map_or(sealed, |n| open[n] + 1);
        if before < segment {
            // A file with a far-off number leaves millions: the first tell enough.
            let records = (before..segment).take(1000).map(|missing| whole(missing, None)).collect();
            report.faults.push(open_fault(segment, "files before it are missing".into(), records));
        }
        let is_last = n + 1 == open.len();
        let complete = next.take().filter(|_| open.get(n + 1) == Some(&(segment + 1)));
        next = verify_wal_file(disk, &dir.join("wal"), segment, complete, is_last, report);
    }
}

/// Checks one file; returns what its head says about the number of records in the file before.
fn verify_wal_file(
    disk: &dyn Disk,
    folder: &Path,
    segment: u32,
    complete: Option<u32>,
    is_last: bool,
    report: &mut Report,
) -> Option<u32> {
    let all = || complete.map(|count| RecordRange { segment, first: 0, count }).into_iter().collect();
    let mut head = vec![0; HEADER_LENGTH];
    let opened = disk.open(&folder.join(format!("{segment:08}.wal"))).and_then(|file| Ok((file.read_at(&mut head, 0)?, file)));
    let (read, file) = match opened {
        Ok(opened) => opened,
        // Gone since the folder was listed: it was sealed meanwhile.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            report.faults.push(open_fault(segment, format!("it cannot be read: {error}"), all()));
            return None;
        }
    };
    let Some(header) = Header::decode(&head[..read]).filter(|header| header.segment == segment) else {
        if !is_last || file.length().unwrap_or(u64::MAX) > HEADER_LENGTH as u64 {
            report.faults.push(open_fault(segment, "both copies of the head are damaged".into(), all()));
        }
        return None;
    };
    match wal::scan(&*file, &header, complete) {
        Err(error) => report.faults.push(open_fault(segment, format!("it cannot be read: {error}"), all())),
        Ok(scan) => {
            let lost = ranges(segment, (0..).zip(&scan.places).filter(|(_, place)| place.length == 0).map(|(index, _)| index));
            report.open_records += scan.places.len() as u64 - lost.iter().map(|range| u64::from(range.count)).sum::<u64>();
            if !scan.damage.is_empty() {
                let what: Vec<String> = scan.damage.iter().map(|(offset, what)| format!("at byte {offset} {what}")).collect();
                report.faults.push(open_fault(segment, what.join("; "), lost));
            }
        }
    }
    Some(header.records_before)
}

fn open_fault(segment: u32, what: String, records: Vec<RecordRange>) -> Fault {
    let hint = "these records were acknowledged and are not sealed; compare with what the source still has".into();
    Fault { code: "LEDGER-025", what, place: format!("wal/{segment:08}.wal"), records, hint }
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
    /// What became of their content.
    disposals: Disposals,
}

type Hashes = HashMap<u64, Hash>;

fn whole(segment: u32, statement: Option<&crate::Statement>) -> RecordRange {
    RecordRange { segment, first: 0, count: statement.map_or(u32::MAX, |statement| statement.records) }
}
