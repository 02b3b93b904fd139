//! One sealed segment: every byte against the statement, every record against the batch root.
use std::{collections::HashMap, io, path::Path, sync::Arc};

use jiff::Timestamp;
use reeve_record::Hash;
use sha2::{Digest, Sha256};

use super::{Fault, RecordRange, Report, ranges, whole};
use crate::{
    Disk, Error, Statement,
    disk::{DiskFile, read_all},
    segment::{Leaves, MAP_LIMIT, Region, Row, SegmentReader, map_path, parse_map, segment_path},
    statement::FileHash,
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
    pub(super) fn break_off(&mut self) {
        (self.whole, self.broken) = (false, true);
        self.heads.clear();
    }
}

pub(super) fn verify(disk: &dyn Disk, dir: &Path, statement: &Statement, chains: &mut Chains, report: &mut Report) {
    let segment = statement.segment;
    report.lost.extend(statement.lost.iter().map(|(first, count)| RecordRange { segment, first: *first, count: *count }));
    report.lost_records += statement.lost.iter().map(|(_, count)| u64::from(*count)).sum::<u64>();
    let before = report.faults.len();
    let folder = dir.join("segments");
    let regions = check_map(disk, &folder, statement, report);
    let place = format!("segments/{segment:08}.parquet");
    let file = match disk.open(&segment_path(&folder, segment)) {
        Ok(file) => file,
        Err(error) => {
            let hint = "restore it from a copy; the batch statement says whether the copy is the right one".into();
            let records = vec![whole(segment, Some(statement))];
            report.faults.push(Fault { code: "LEDGER-024", what: format!("it cannot be opened: {error}"), place, records, hint });
            return chains.break_off();
        }
    };
    match check_bytes(&file, statement, regions.as_deref()) {
        Ok(faults) if faults.is_empty() => check_records(file, statement, chains, report),
        Ok(faults) => {
            report.faults.extend(faults.into_iter().map(|fault| Fault { place: format!("{place}{}", fault.place), ..fault }));
        }
        Err(error) => {
            let records = vec![whole(segment, Some(statement))];
            let hint = "check the disk, then verify again".into();
            report.faults.push(Fault { code: "LEDGER-022", what: format!("it cannot be read: {error}"), place, records, hint });
        }
    }
    if report.faults.len() > before {
        chains.break_off();
    }
}

/// The map, if it is the one the statement names.
fn check_map(disk: &dyn Disk, folder: &Path, statement: &Statement, report: &mut Report) -> Option<Vec<Region>> {
    let read = read_all(disk, &map_path(folder, statement.segment), MAP_LIMIT);
    let problem = match read {
        Err(error) => format!("it cannot be read: {error}"),
        Ok(bytes) if hash(&bytes) != statement.map => "it is not the file that was sealed".into(),
        Ok(bytes) => match String::from_utf8(bytes).ok().as_deref().and_then(parse_map) {
            Some(regions) if serves(&regions, statement) => return Some(regions),
            _ => "it is sealed but not in the form of docs/spec/record.md".into(),
        },
    };
    report.faults.push(Fault {
        code: "LEDGER-026",
        what: problem,
        place: format!("segments/{:08}.map", statement.segment),
        records: vec![whole(statement.segment, Some(statement))],
        hint: "records are still compared with the batch root; only naming damage closely needs the map".into(),
    });
    None
}

/// Whether the map covers the whole file and names no record that is not in the segment.
fn serves(regions: &[Region], statement: &Statement) -> bool {
    let end = regions.last().map(|region| region.offset + region.length);
    end == Some(statement.file.length) && regions.iter().all(|region| region.first + region.count <= statement.records)
}

fn hash(bytes: &[u8]) -> FileHash {
    FileHash { length: bytes.len() as u64, sha256: Sha256::digest(bytes).into() }
}

/// Compares every byte with the statement; damage is named by region, and by record where one flipped bit explains it.
fn check_bytes(file: &Arc<dyn DiskFile>, statement: &Statement, regions: Option<&[Region]>) -> io::Result<Vec<Fault>> {
    let length = file.length()?;
    if length == statement.file.length && hash_file(file, length)? == statement.file.sha256 {
        return Ok(Vec::new());
    }
    let segment = statement.segment;
    let mut faults = Vec::new();
    if length != statement.file.length {
        faults.push(Fault {
            code: "LEDGER-022",
            what: format!("it has {length} bytes, {} were sealed", statement.file.length),
            place: String::new(),
            records: vec![whole(segment, Some(statement))],
            hint: "the last bytes say where all others are: restore it from a copy".into(),
        });
    }
    for region in regions.unwrap_or_default() {
        let mut bytes = vec![0; usize::try_from(region.length.min(length)).unwrap_or(0)];
        let read = file.read_at(&mut bytes, region.offset)?;
        if read as u64 == region.length && hash(&bytes).sha256 == region.sha256 {
            continue;
        }
        faults.push(region_fault(file, statement, region, &bytes[..read]));
    }
    if faults.is_empty() {
        faults.push(Fault {
            code: "LEDGER-022",
            what: "it is not the file that was sealed".into(),
            place: String::new(),
            records: vec![whole(segment, Some(statement))],
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

fn hash_file(file: &Arc<dyn DiskFile>, length: u64) -> io::Result<Hash> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while at < length {
        let read = file.read_at(&mut buffer, at)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        at += read as u64;
    }
    Ok(hasher.finalize().into())
}

/// Recomputes every leaf, the root and the totals, and joins each source's records to those before them.
fn check_records(file: Arc<dyn DiskFile>, statement: &Statement, chains: &mut Chains, report: &mut Report) {
    let segment = statement.segment;
    let mut fault = |what: String, records: Vec<RecordRange>| {
        let hint = "the bytes are those that were sealed, so this was wrong when it was sealed".into();
        report.faults.push(Fault { code: "LEDGER-023", what, place: format!("segments/{segment:08}.parquet"), records, hint });
    };
    let all = || vec![whole(segment, Some(statement))];
    let reader = match SegmentReader::from_file(file, segment) {
        Ok(reader) => reader,
        Err(error) => return fault(error.to_string(), all()),
    };
    if reader.identity.secret.commitment() != statement.salts || reader.identity.epoch != statement.epoch {
        fault("salt secret or epoch is not that of the batch statement".into(), all());
    }
    if reader.records() != u64::from(statement.records) {
        return fault(format!("it holds {} records, the batch statement says {}", reader.records(), statement.records), all());
    }
    if chains.epoch != Some(statement.epoch) {
        *chains = Chains { epoch: Some(statement.epoch), whole: !chains.broken, ..Chains::default() };
    }
    chains.broken = false;
    let mut leaves = Leaves::new(reader.identity.clone());
    let (mut raw_bytes, mut received, mut lost, mut unchained) = (0, None, Vec::new(), Vec::new());
    let mut first = 0;
    while first < statement.records {
        let end = statement.records.min(first.saturating_add(4096));
        let rows = match reader.read(&[first..end]) {
            Ok(rows) => rows,
            Err(error) => return fault(error.to_string(), vec![RecordRange { segment, first, count: end - first }]),
        };
        for (row, index) in rows.into_iter().zip(first..) {
            let Some(raw) = &row.raw else {
                leaves.lost();
                lost.push(index);
                chains.break_off();
                continue;
            };
            raw_bytes += raw.len() as u64;
            let at = row.receipt.received_at;
            received = Some(received.map_or((at, at), |(first, last): (Timestamp, Timestamp)| (first.min(at), last.max(at))));
            let leaf = leaves.push(&row.receipt, row.previous, raw);
            if !follows(chains, &leaf, leaves.hashes.last()) {
                unchained.push(index);
            }
        }
        first = end;
    }
    report.records += u64::from(statement.records);
    if leaves.root() != statement.root || raw_bytes != statement.raw_bytes {
        fault("its records do not give the batch root that was signed".into(), all());
    } else if received.unwrap_or_default() != statement.received || lost_as_declared(&lost) != statement.lost {
        fault("times of receipt or lost records are not those that were signed".into(), all());
    } else if !unchained.is_empty() {
        fault("these records do not continue what their source sent before".into(), ranges(segment, unchained));
    }
}

/// Indexes of lost records as a statement lists them.
fn lost_as_declared(lost: &[u32]) -> Vec<(u32, u32)> {
    ranges(0, lost.iter().copied()).into_iter().map(|range| (range.first, range.count)).collect()
}

/// Whether the leaf continues its source's chain; notes it as the new head.
fn follows(chains: &mut Chains, leaf: &reeve_record::Leaf, hash: Option<&Hash>) -> bool {
    let hash = hash.copied().unwrap_or_default();
    let (sequence, previous) = (leaf.receipt.sequence, leaf.previous);
    match chains.heads.get_mut(&leaf.receipt.source) {
        Some(head) => {
            let before = std::mem::replace(head, (sequence, hash));
            before.0.checked_add(1) == Some(sequence) && previous == before.1
        }
        None => {
            chains.heads.insert(leaf.receipt.source.clone(), (sequence, hash));
            !chains.whole || (sequence == 0 && previous == [0; 32])
        }
    }
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
