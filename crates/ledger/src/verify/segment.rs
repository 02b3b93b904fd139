//! One sealed segment: every byte against the statement, every record against the batch root.
//!
//! Each is judged by itself, so that many can be at once; then, in order, its records are joined to those before them.
use std::{collections::HashMap, io, path::Path, sync::Arc};

use jiff::Timestamp;
use reeve_record::Hash;
use sha2::{Digest, Sha256};

use super::{Fault, RecordRange, Report, ranges, whole};
use crate::{
    Disk, Error, Statement,
    disk::{DiskFile, hash_file, read_all},
    disposal::Disposed,
    segment::{
        KeptSalts, Leaves, MAP_LIMIT, Region, Row, Salting, SegmentReader, file_name, leaves_path, map_path, parse_map,
        salts_path, segment_path,
    },
    statement::FileHash,
    tree,
};

/// Last leaf and sequence of each source of the present epoch, over the segments read so far.
pub(super) struct Chains {
    /// `None` before the first segment.
    epoch: Option<u64>,
    /// False after damage, and until the next epoch: what follows cannot be joined to what came before.
    whole: bool,
    /// Whether the segment before could not be read, so that a new epoch may have begun in it.
    broken: bool,
    heads: HashMap<Arc<str>, (u64, Hash)>,
}

impl Default for Chains {
    fn default() -> Self {
        Self { epoch: None, whole: true, broken: false, heads: HashMap::new() }
    }
}

impl Chains {
    /// Something could not be read.
    pub(super) fn break_off(&mut self) {
        self.broken = true;
        self.pass_over();
    }

    /// Some records of this epoch are not there to be joined to.
    fn pass_over(&mut self) {
        self.whole = false;
        self.heads.clear();
    }

    fn enter(&mut self, epoch: u64) {
        if self.epoch != Some(epoch) {
            *self = Chains { epoch: Some(epoch), whole: !self.broken, ..Chains::default() };
        }
        self.broken = false;
    }

    /// Goes on with the next segment; gives the indexes of its records that do not continue what their source sent before.
    fn follow(&mut self, links: Links) -> Vec<u32> {
        let continues = |opening: &Opening| match self.heads.get(&opening.source) {
            Some((sequence, hash)) => sequence.checked_add(1) == Some(opening.sequence) && opening.previous == *hash,
            None => !self.whole || (opening.sequence == 0 && opening.previous == [0; 32]),
        };
        let mut unchained = links.astray;
        unchained.extend(links.openings.iter().filter(|opening| !continues(opening)).map(|opening| opening.index));
        unchained.sort_unstable();
        if links.lossy {
            self.pass_over();
        }
        self.heads.extend(links.heads);
        unchained
    }
}

/// One sealed segment with what became of its content.
#[derive(Clone, Copy)]
struct Sealed<'a> {
    statement: &'a Statement,
    disposed: &'a Disposed,
}

impl Sealed<'_> {
    /// What the log names its files to be.
    fn file(self) -> FileHash {
        self.disposed.files.map_or(self.statement.file, |files| files.file)
    }

    fn map(self) -> FileHash {
        self.disposed.files.map_or(self.statement.map, |files| files.map)
    }

    fn place(self, kind: &str) -> String {
        format!("segments/{}", file_name(self.statement.segment, self.disposed.redactions, kind))
    }

    fn all(self) -> Vec<RecordRange> {
        vec![whole(self.statement.segment, Some(self.statement))]
    }
}

/// What a segment says by itself.
#[derive(Clone, Default)]
pub(super) struct Judged {
    /// What is not as it was sealed.
    pub(super) faults: Vec<Fault>,
    /// Records recomputed, and how many of them were redacted.
    pub(super) records: u64,
    pub(super) redacted: u64,
    /// Whether its rows could be come to.
    pub(super) entered: bool,
    /// `None` unless its rows are those that were signed.
    pub(super) links: Option<Links>,
}

/// How a segment's records continue what their sources sent before.
#[derive(Clone, Default)]
pub(super) struct Links {
    /// The first record of each source, as long as none was lost.
    pub(super) openings: Vec<Opening>,
    /// Records that do not continue an earlier one of this segment.
    pub(super) astray: Vec<u32>,
    /// Whether records were lost.
    pub(super) lossy: bool,
    /// Last sequence and leaf hash of each source, after the last lost record.
    pub(super) heads: HashMap<Arc<str>, (u64, Hash)>,
}

/// A source's first record in a segment.
#[derive(Clone)]
pub(super) struct Opening {
    pub(super) index: u32,
    pub(super) source: Arc<str>,
    pub(super) sequence: u64,
    pub(super) previous: Hash,
}

impl Links {
    fn pass_over(&mut self) {
        self.lossy = true;
        self.heads.clear();
    }

    /// Takes the next record.
    fn take(&mut self, index: u32, leaf: &reeve_record::Leaf, hash: Hash) {
        let (source, sequence, previous) = (&leaf.receipt.source, leaf.receipt.sequence, leaf.previous);
        match self.heads.get_mut(source) {
            Some(head) => {
                let before = std::mem::replace(head, (sequence, hash));
                if before.0.checked_add(1) != Some(sequence) || previous != before.1 {
                    self.astray.push(index);
                }
            }
            None => {
                self.heads.insert(source.clone(), (sequence, hash));
                if !self.lossy {
                    self.openings.push(Opening { index, source: source.clone(), sequence, previous });
                }
            }
        }
    }
}

/// Judges a segment by itself.
pub(super) fn judge(disk: &dyn Disk, dir: &Path, statement: &Statement, disposed: Option<&Disposed>) -> Judged {
    let mut judged = Judged::default();
    let folder = dir.join("segments");
    let untouched = Disposed::default();
    let sealed = Sealed { statement, disposed: disposed.unwrap_or(&untouched) };
    if sealed.disposed.destroyed {
        destroyed(disk, &folder, sealed, &mut judged.faults);
        return judged;
    }
    let regions = check_map(disk, &folder, sealed, &mut judged.faults);
    let place = sealed.place("parquet");
    let file = match disk.open(&segment_path(&folder, statement.segment, sealed.disposed.redactions)) {
        Ok(file) => file,
        Err(error) => {
            let hint = "restore it from a copy; the batch statement says whether the copy is the right one".into();
            let records = sealed.all();
            judged.faults.push(Fault { code: "LEDGER-024", what: format!("it cannot be opened: {error}"), place, records, hint });
            return judged;
        }
    };
    match check_bytes(&file, sealed, regions.as_deref()) {
        Ok(faults) if faults.is_empty() => {
            if let Some(kept) = check_salts(disk, &folder, sealed, &mut judged.faults) {
                check_records(file, sealed, kept, &mut judged);
            }
        }
        Ok(faults) => {
            judged.faults.extend(faults.into_iter().map(|fault| Fault { place: format!("{place}{}", fault.place), ..fault }));
        }
        Err(error) => {
            let records = sealed.all();
            let hint = "check the disk, then verify again".into();
            judged.faults.push(Fault { code: "LEDGER-022", what: format!("it cannot be read: {error}"), place, records, hint });
        }
    }
    judged
}

/// Joins a segment to those before it, and puts what it says into the report.
pub(super) fn join(statement: &Statement, disposed: Option<&Disposed>, judged: Judged, chains: &mut Chains, report: &mut Report) {
    let segment = statement.segment;
    report.lost.extend(statement.lost.iter().map(|(first, count)| RecordRange { segment, first: *first, count: *count }));
    report.lost_records += statement.lost.iter().map(|(_, count)| u64::from(*count)).sum::<u64>();
    let is_faulty = !judged.faults.is_empty();
    report.faults.extend(judged.faults);
    if disposed.is_some_and(|disposed| disposed.destroyed) {
        chains.enter(statement.epoch);
        chains.pass_over();
        report.destroyed_records += u64::from(statement.records);
        report.destroyed.push(whole(segment, Some(statement)));
        return;
    }
    report.records += judged.records;
    report.redacted_records += judged.redacted;
    if judged.entered {
        chains.enter(statement.epoch);
    }
    let unchained = judged.links.map(|links| chains.follow(links)).unwrap_or_default();
    if !unchained.is_empty() {
        report.faults.push(Fault {
            code: "LEDGER-023",
            what: "these records do not continue what their source sent before".into(),
            place: format!("segments/{}", file_name(segment, disposed.map_or(0, |disposed| disposed.redactions), "parquet")),
            records: ranges(segment, unchained.iter().copied()),
            hint: WHEN_SEALED.into(),
        });
    }
    if is_faulty || !unchained.is_empty() {
        chains.break_off();
    }
}

/// Of a destroyed segment the leaf hashes are left, and must give the root that was signed.
fn destroyed(disk: &dyn Disk, folder: &Path, sealed: Sealed<'_>, faults: &mut Vec<Fault>) {
    let statement = sealed.statement;
    let length = 32 * u64::from(statement.records);
    let (code, what) = match read_all(disk, &leaves_path(folder, statement.segment), length) {
        Err(error) => ("LEDGER-024", format!("the leaf hashes of the destroyed segment cannot be read: {error}")),
        Ok(bytes) if bytes.len() as u64 == length && tree::root(bytes.as_chunks::<32>().0) == statement.root => return,
        Ok(_) => ("LEDGER-023", "the leaf hashes of the destroyed segment do not give the batch root that was signed".into()),
    };
    let hint = "the content was destroyed by the entry the log has; restore this file from a copy".into();
    let place = format!("segments/{}", file_name(statement.segment, 0, "leaves"));
    faults.push(Fault { code, what, place, records: sealed.all(), hint });
}

/// The salts file of a redacted segment, if it is the one that was logged; `Some(None)` where none belongs.
fn check_salts(disk: &dyn Disk, folder: &Path, sealed: Sealed<'_>, faults: &mut Vec<Fault>) -> Option<Option<KeptSalts>> {
    let Some(files) = sealed.disposed.files else { return Some(None) };
    let Statement { segment, records, .. } = *sealed.statement;
    let path = salts_path(folder, segment, sealed.disposed.redactions);
    let what = match read_all(disk, &path, files.salts.length) {
        Err(error) => format!("it cannot be read: {error}"),
        Ok(bytes) if hash(&bytes) != files.salts => "it is not the file that was logged".into(),
        Ok(bytes) => match KeptSalts::new(bytes, records) {
            Some(kept) => return Some(Some(kept)),
            None => "it has not 40 bytes for each record".into(),
        },
    };
    let hint = "restore it from a copy; the redaction says whether the copy is the right one".into();
    faults.push(Fault { code: "LEDGER-026", what, place: sealed.place("salts"), records: sealed.all(), hint });
    None
}

/// The map, if it is the one the statement names.
fn check_map(disk: &dyn Disk, folder: &Path, sealed: Sealed<'_>, faults: &mut Vec<Fault>) -> Option<Vec<Region>> {
    let read = read_all(disk, &map_path(folder, sealed.statement.segment, sealed.disposed.redactions), MAP_LIMIT);
    let problem = match read {
        Err(error) => format!("it cannot be read: {error}"),
        Ok(bytes) if hash(&bytes) != sealed.map() => "it is not the file that was sealed".into(),
        Ok(bytes) => match String::from_utf8(bytes).ok().as_deref().and_then(parse_map) {
            Some(regions) if serves(&regions, sealed) => return Some(regions),
            _ => "it is sealed but not in the form of docs/spec/record.md".into(),
        },
    };
    faults.push(Fault {
        code: "LEDGER-026",
        what: problem,
        place: sealed.place("map"),
        records: sealed.all(),
        hint: "records are still compared with the batch root; only naming damage closely needs the map".into(),
    });
    None
}

/// Whether the map covers the whole file and names no record that is not in the segment.
fn serves(regions: &[Region], sealed: Sealed<'_>) -> bool {
    let end = regions.last().map(|region| region.offset + region.length);
    end == Some(sealed.file().length) && regions.iter().all(|region| region.first + region.count <= sealed.statement.records)
}

fn hash(bytes: &[u8]) -> FileHash {
    FileHash::of(bytes)
}

/// Compares every byte with the statement; damage is named by region, and by record where one flipped bit explains it.
fn check_bytes(file: &Arc<dyn DiskFile>, sealed: Sealed<'_>, regions: Option<&[Region]>) -> io::Result<Vec<Fault>> {
    let length = file.length()?;
    let expected = sealed.file();
    if length == expected.length && hash_file(&**file, length)? == expected.sha256 {
        return Ok(Vec::new());
    }
    let mut faults = Vec::new();
    if length != expected.length {
        faults.push(Fault {
            code: "LEDGER-022",
            what: format!("it has {length} bytes, {} were sealed", expected.length),
            place: String::new(),
            records: sealed.all(),
            hint: "the last bytes say where all others are: restore it from a copy".into(),
        });
    }
    for region in regions.unwrap_or_default() {
        let mut bytes = vec![0; usize::try_from(region.length.min(length)).unwrap_or(0)];
        let read = file.read_at(&mut bytes, region.offset)?;
        if read as u64 == region.length && hash(&bytes).sha256 == region.sha256 {
            continue;
        }
        faults.push(region_fault(file, sealed.statement, region, &bytes[..read]));
    }
    if faults.is_empty() {
        faults.push(Fault {
            code: "LEDGER-022",
            what: "it is not the file that was sealed".into(),
            place: String::new(),
            records: sealed.all(),
            hint: "without its map, damage can only be named for the segment as a whole".into(),
        });
    }
    Ok(faults)
}

fn region_fault(file: &Arc<dyn DiskFile>, statement: &Statement, region: &Region, bytes: &[u8]) -> Fault {
    let segment = statement.segment;
    let all = || vec![RecordRange { segment, first: region.first, count: region.count.max(1) }];
    let span = format!(" bytes {}…{}", region.offset, region.offset + region.length - 1);
    let mut fault = Fault {
        code: "LEDGER-022",
        what: "these bytes are not what was sealed".into(),
        place: span,
        records: all(),
        hint: "restore the file from a copy; the batch statement says whether the copy is the right one".into(),
    };
    let Some(bit) = flipped_bit(bytes, region) else { return fault };
    let offset = region.offset + bit / 8;
    fault.what = format!("bit {} of this byte is flipped", bit % 8);
    fault.place = format!(" byte {offset}");
    fault.hint = "flipping it back restores what was sealed".into();
    let mended: Arc<dyn DiskFile> = Arc::new(Mended { file: file.clone(), offset, mask: 1 << (bit % 8) });
    // A damaged footer may misdescribe everything else: the file as it is is not read then.
    if !region.serves_all() {
        match altered(file, &mended, region, segment) {
            Some(records) if records.is_empty() => {
                fault.hint.push_str("; the records these bytes serve still read as they were sealed")
            }
            Some(records) => fault.records = records,
            None => {}
        }
    }
    fault
}

/// Rows that read otherwise than from the mended file; all of the region where the damaged file does not read.
fn altered(file: &Arc<dyn DiskFile>, mended: &Arc<dyn DiskFile>, region: &Region, segment: u32) -> Option<Vec<RecordRange>> {
    let range = region.first..region.first + region.count;
    let read = |file: &Arc<dyn DiskFile>, range: std::ops::Range<u32>| -> Result<Vec<Row>, Error> {
        SegmentReader::from_file(file.clone(), segment)?.read(&[range])
    };
    let sealed = read(mended, range.clone()).ok()?;
    let Ok(stored) = read(file, range.clone()) else { return None };
    let differ = range.zip(sealed.iter().zip(&stored)).filter(|(_, (sealed, stored))| sealed != stored);
    Some(ranges(segment, differ.map(|(index, _)| index)))
}

/// The bit whose flip explains why the CRC differs, confirmed by SHA-256; counted from the region's start.
///
/// CRC-32 is linear: flipping one bit changes the CRC by a value that depends only on the bit's distance from the end.
fn flipped_bit(bytes: &[u8], region: &Region) -> Option<u64> {
    if bytes.len() as u64 != region.length {
        return None;
    }
    let difference = crc32fast::hash(bytes) ^ region.crc32;
    let table = crc_table();
    let mut effects: [u32; 8] = std::array::from_fn(|bit| table[1 << bit]);
    for place in (0..bytes.len()).rev() {
        if let Some(bit) = effects.iter().position(|effect| *effect == difference) {
            let mut mended = bytes.to_vec();
            mended[place] ^= 1 << bit;
            if <Hash>::from(Sha256::digest(&mended)) == region.sha256 {
                return Some(8 * place as u64 + bit as u64);
            }
        }
        for effect in &mut effects {
            *effect = (*effect >> 8) ^ table[(*effect & 0xff) as usize];
        }
    }
    None
}

fn crc_table() -> [u32; 256] {
    std::array::from_fn(|byte| (0..8).fold(byte as u32, |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 }))
}

/// Recomputes every leaf, the root and the totals, and joins each source's records to those before them in the segment.
fn check_records(file: Arc<dyn DiskFile>, sealed: Sealed<'_>, kept: Option<KeptSalts>, judged: &mut Judged) {
    let Sealed { statement, disposed } = sealed;
    let segment = statement.segment;
    let Judged { faults, .. } = judged;
    let mut fault = |what: String, records: Vec<RecordRange>| {
        faults.push(Fault { code: "LEDGER-023", what, place: sealed.place("parquet"), records, hint: WHEN_SEALED.into() });
    };
    let all = || vec![whole(segment, Some(statement))];
    let reader = match SegmentReader::from_file(file, segment) {
        Ok(reader) => reader,
        Err(error) => return fault(error.to_string(), all()),
    };
    if reader.identity.epoch != statement.epoch {
        fault("its epoch is not that of the batch statement".into(), all());
    }
    let salts = match (kept, &reader.identity.secret) {
        (Some(kept), None) => Salting::Kept(kept),
        (None, Some(secret)) => {
            if secret.commitment() != statement.salts {
                fault("its salt secret is not that of the batch statement".into(), all());
            }
            Salting::Derived(secret.salts(segment))
        }
        _ => return fault("it has a salt secret though records were redacted, or none though none were".into(), all()),
    };
    if reader.records() != u64::from(statement.records) {
        return fault(format!("it holds {} records, the batch statement says {}", reader.records(), statement.records), all());
    }
    judged.entered = true;
    let mut leaves = Leaves::new(segment, salts);
    let mut redacted = 0;
    let (mut raw_bytes, mut received, mut lost, mut links) = (0u64, None, Vec::new(), Links::default());
    let mut first = 0;
    while first < statement.records {
        let end = statement.records.min(first.saturating_add(4096));
        let rows = match reader.read(&[first..end]) {
            Ok(rows) => rows,
            Err(error) => return fault(error.to_string(), vec![RecordRange { segment, first, count: end - first }]),
        };
        for (row, index) in rows.into_iter().zip(first..) {
            let is_redacted = disposed.is_redacted(index);
            if is_redacted && row.raw.is_some() {
                return fault(
                    "content is there that the log says was redacted".into(),
                    vec![RecordRange { segment, first: index, count: 1 }],
                );
            }
            let Some(leaf) = leaves.take(&row, is_redacted) else {
                lost.push(index);
                links.pass_over();
                continue;
            };
            raw_bytes = raw_bytes.saturating_add(leaf.raw_length);
            redacted += u64::from(is_redacted);
            let at = row.receipt.received_at;
            received = Some(received.map_or((at, at), |(first, last): (Timestamp, Timestamp)| (first.min(at), last.max(at))));
            links.take(index, &leaf, leaves.hashes.last().copied().unwrap_or_default());
        }
        first = end;
    }
    (judged.records, judged.redacted) = (u64::from(statement.records), redacted);
    if leaves.root() != statement.root || raw_bytes != statement.raw_bytes {
        fault("its records do not give the batch root that was signed".into(), all());
    } else if received.unwrap_or_default() != statement.received || lost_as_declared(&lost) != statement.lost {
        fault("times of receipt or lost records are not those that were signed".into(), all());
    } else {
        judged.links = Some(links);
    }
}

/// Indexes of lost records as a statement lists them.
fn lost_as_declared(lost: &[u32]) -> Vec<(u32, u32)> {
    ranges(0, lost.iter().copied()).into_iter().map(|range| (range.first, range.count)).collect()
}

/// A file with one bit flipped back.
struct Mended {
    file: Arc<dyn DiskFile>,
    offset: u64,
    mask: u8,
}

impl DiskFile for Mended {
    fn append(&self, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.file.read_at(buffer, offset)?;
        if let Some(at) = self.offset.checked_sub(offset).filter(|at| *at < read as u64) {
            buffer[at as usize] ^= self.mask;
        }
        Ok(read)
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}

const WHEN_SEALED: &str = "the bytes are those that were sealed, so this was wrong when it was sealed";
