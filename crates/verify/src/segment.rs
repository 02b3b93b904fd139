//! One sealed segment: its bytes against the statement, its records against the batch root and their sources' chains.
use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::{
    Fault, Files, Hash, Leaf, RecordRange, Report,
    files::{read_all, read_part},
    parquet::{Cell, Kind, Physical, TIMESTAMP_MICROS, Table, UINT_8, UINT_32, UINT_64, UTF8},
    record::{Fields, Salts, commit, commit_secret, lost_leaf, transport_number},
    statement::{FileHash, Statement},
    text,
    tree::{self, Tree},
};

/// Last sequence and leaf hash of each source in the present epoch, over the segments read so far.
#[derive(Default)]
pub(crate) struct Chains {
    epoch: Option<u64>,
    /// A record was lost, or a segment could not be read, in this epoch: a source not met since may have sent it.
    broken: bool,
    heads: HashMap<String, (u64, Hash)>,
}

impl Chains {
    pub(crate) fn break_off(&mut self) {
        self.broken = true;
        self.heads.clear();
    }

    fn enter(&mut self, epoch: u64) {
        if self.epoch != Some(epoch) {
            *self = Self { epoch: Some(epoch), ..Self::default() };
        }
    }

    /// Whether the leaf continues its source's chain; notes it as the last.
    fn continues(&mut self, leaf: &Leaf, hash: Hash) -> bool {
        let this = (leaf.sequence, hash);
        match self.heads.get_mut(leaf.source) {
            Some(head) => {
                let (sequence, last) = std::mem::replace(head, this);
                sequence.checked_add(1) == Some(leaf.sequence) && last == leaf.previous
            }
            None => {
                self.heads.insert(leaf.source.to_owned(), this);
                self.broken || (leaf.sequence == 0 && leaf.previous == [0; 32])
            }
        }
    }
}

pub(crate) fn check(files: &dyn Files, statement: &Statement, chains: &mut Chains, report: &mut Report) {
    if statement.destroyed {
        return check_leaves(files, statement, chains, report);
    }
    let before = report.faults.len();
    report.lost_records += statement.lost.iter().map(|(_, count)| u64::from(*count)).sum::<u64>();
    chains.enter(statement.epoch);
    let regions = check_map(files, statement, report);
    let name = name(statement, "parquet");
    match compare(files, &name, statement, &regions) {
        Ok(faults) if faults.is_empty() => check_records(files, &name, statement, chains, report),
        Ok(faults) => report.faults.extend(faults),
        Err(error) => {
            let code = if error.kind() == std::io::ErrorKind::NotFound { "LEDGER-024" } else { "LEDGER-022" };
            report.fault(code, name, format!("it cannot be read: {error}"), vec![all(statement)]);
        }
    }
    if report.faults.len() > before {
        chains.break_off();
    }
}

/// Of a destroyed segment the leaf hashes are there, and give its root.
fn check_leaves(files: &dyn Files, statement: &Statement, chains: &mut Chains, report: &mut Report) {
    chains.enter(statement.epoch);
    chains.break_off();
    report.destroyed_records += u64::from(statement.records);
    let name = format!("segments/{:08}.leaves", statement.segment);
    let length = 32 * u64::from(statement.records);
    let read = read_all(files, &name, length).unwrap_or_default();
    if read.len() as u64 != length || tree::root(read.as_chunks::<32>().0) != statement.root {
        let what = "it cannot be read, or does not give the batch root that was signed";
        report.fault("LEDGER-024", name, what, vec![all(statement)]);
    }
}

/// Name of a file of the segment as it is now.
fn name(statement: &Statement, kind: &str) -> String {
    let redacted = if statement.redactions > 0 { format!(".r{}", statement.redactions) } else { String::new() };
    format!("segments/{:08}{redacted}.{kind}", statement.segment)
}

fn all(statement: &Statement) -> RecordRange {
    RecordRange::all(statement.segment, Some(statement))
}

/// A stretch of the segment file and the records it serves.
struct Region {
    offset: u64,
    length: u64,
    first: u32,
    count: u32,
    sha256: Hash,
}

/// The map, if it is the one that was sealed; else no regions.
fn check_map(files: &dyn Files, statement: &Statement, report: &mut Report) -> Vec<Region> {
    let name = name(statement, "map");
    let problem = match read_all(files, &name, MAP_LIMIT) {
        Err(error) => format!("it cannot be read: {error}"),
        Ok(bytes) if (bytes.len() as u64, <Hash>::from(Sha256::digest(&bytes))) != statement.map => {
            "it is not the file that was sealed".into()
        }
        Ok(bytes) => match parse_map(&bytes, statement) {
            Some(regions) => return regions,
            None => "it is sealed but not in the form of docs/spec/record.md".into(),
        },
    };
    report.fault("LEDGER-026", name, problem, vec![all(statement)]);
    Vec::new()
}

fn parse_map(bytes: &[u8], statement: &Statement) -> Option<Vec<Region>> {
    let mut lines = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.split('\n');
    if lines.next()? != "reeve-map/v1" {
        return None;
    }
    let mut end = 0u64;
    let mut region = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [offset, length, first, count, crc, sha256] = fields[..] else { return None };
        let region = Region {
            offset: text::number(offset)?,
            length: text::number(length)?,
            first: text::number(first)?,
            count: text::number(count)?,
            sha256: text::hash(sha256)?,
        };
        let crc_spelt = crc.len() == 8 && crc.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let inside = u64::from(region.first) + u64::from(region.count) <= u64::from(statement.records);
        let follows = region.offset == end;
        end = end.checked_add(region.length)?;
        (crc_spelt && inside && follows).then_some(region)
    };
    let regions: Vec<Region> = lines.map(&mut region).collect::<Option<_>>()?;
    (end == statement.file.0 && !regions.is_empty()).then_some(regions)
}

/// Every byte against the statement; where they differ, the map says which records that hits.
fn compare(files: &dyn Files, name: &str, statement: &Statement, regions: &[Region]) -> std::io::Result<Vec<Fault>> {
    let length = files.length(name)?;
    if hash_file(files, name, length)? == statement.file {
        return Ok(Vec::new());
    }
    let mut faults = Vec::new();
    if length != statement.file.0 {
        let what = format!("it has {length} bytes, {} were sealed", statement.file.0);
        faults.push(Fault::new("LEDGER-022", name, what, vec![all(statement)]));
    }
    for region in regions {
        let bytes = read_part(files, name, region.offset, region.length.min(length))?;
        if <Hash>::from(Sha256::digest(&bytes)) != region.sha256 {
            let place = format!("{name} bytes {}…{}", region.offset, region.offset + region.length.saturating_sub(1));
            let records = RecordRange { segment: statement.segment, first: region.first, count: region.count.max(1) };
            faults.push(Fault::new("LEDGER-022", place, "these bytes are not what was sealed", vec![records]));
        }
    }
    if faults.is_empty() {
        faults.push(Fault::new("LEDGER-022", name, "it is not the file that was sealed", vec![all(statement)]));
    }
    Ok(faults)
}

fn hash_file(files: &dyn Files, name: &str, length: u64) -> std::io::Result<FileHash> {
    let (mut hasher, mut at) = (Sha256::new(), 0);
    while at < length {
        let bytes = read_part(files, name, at, (length - at).min(1 << 20))?;
        if bytes.is_empty() {
            break;
        }
        hasher.update(&bytes);
        at += bytes.len() as u64;
    }
    Ok((at, hasher.finalize().into()))
}

/// What the rows of a segment add up to.
#[derive(Default)]
struct Totals {
    tree: Tree,
    raw_bytes: u64,
    received: Option<(i64, i64)>,
    /// First index and count.
    lost: Vec<(u32, u32)>,
    /// Records that do not continue their source's chain.
    astray: Vec<(u32, u32)>,
    redacted: u64,
    index: u32,
}

fn check_records(files: &dyn Files, name: &str, statement: &Statement, chains: &mut Chains, report: &mut Report) {
    let mut totals = Totals::default();
    let read = read_records(files, name, statement, chains, &mut totals);
    report.records += u64::from(totals.index);
    report.redacted_records += totals.redacted;
    let mut records = vec![all(statement)];
    let what = if let Err(problem) = read {
        problem
    } else if totals.tree.root() != statement.root || totals.raw_bytes != statement.raw_bytes {
        "its records do not give the batch root and the number of bytes that were signed".into()
    } else if totals.received.unwrap_or((0, 0)) != statement.received || totals.lost != statement.lost {
        "times of receipt or lost records are not those that were signed".into()
    } else if !totals.astray.is_empty() {
        let range = |(first, count): &(u32, u32)| RecordRange { segment: statement.segment, first: *first, count: *count };
        records = totals.astray.iter().map(range).collect();
        "these records do not continue what their source sent before".into()
    } else {
        return;
    };
    report.fault("LEDGER-023", name, what, records);
}

/// Reads every row and recomputes its leaf.
fn read_records(
    files: &dyn Files,
    name: &str,
    statement: &Statement,
    chains: &mut Chains,
    totals: &mut Totals,
) -> Result<(), String> {
    let table = Table::open(files, name, statement.file.0, &COLUMNS)?;
    let salts = salting(files, &table, statement)?;
    if table.rows != u64::from(statement.records) {
        return Err(format!("it holds {} records, the batch statement says {}", table.rows, statement.records));
    }
    let mut heads: HashMap<String, Hash> = HashMap::new();
    let mut encoded = Vec::new();
    table.for_each(|cells| {
        let index = totals.index;
        let broken = || format!("row {index} breaks the form of docs/spec/record.md");
        let (mut leaf, raw) = leaf_of(cells, statement, index).ok_or_else(broken)?;
        totals.index += 1;
        let before = statement.redacted.partition_point(|(first, _)| *first <= index);
        let redacted = statement.redacted[..before].last().is_some_and(|(first, count)| index - first < *count);
        match raw {
            Some(raw) if !redacted => leaf.commitment = commit(&salts(index).1, raw),
            None if redacted => {
                (leaf.raw_length, leaf.commitment) = salts(index);
                totals.redacted += 1;
            }
            Some(_) => return Err(format!("row {index} has content though it was redacted")),
            None => {
                add(&mut totals.lost, index);
                totals.tree.push(lost_leaf(statement.segment, index));
                chains.break_off();
                return Ok(());
            }
        }
        let is_written_out = matches!(cells[9], Cell::Bytes(_));
        if let Some(head) = heads.get(leaf.source).filter(|_| !is_written_out) {
            leaf.previous = *head;
        }
        leaf.encode(&mut encoded).ok_or_else(broken)?;
        let hash = tree::leaf(&encoded);
        totals.take(&leaf, hash);
        match heads.get_mut(leaf.source) {
            Some(head) => *head = hash,
            None => _ = heads.insert(leaf.source.to_owned(), hash),
        }
        if !chains.continues(&leaf, hash) {
            add(&mut totals.astray, index);
        }
        Ok(())
    })
}

/// Gives zero and the salt of a record; of a redacted one length and commitment.
type Salting = Box<dyn Fn(u32) -> (u64, Hash)>;

/// The salts, if the file's metadata is that of the segment: from its secret, or from the file that takes its place once records were redacted.
fn salting(files: &dyn Files, table: &Table<'_, 10>, statement: &Statement) -> Result<Salting, String> {
    let (secret, logged) = (table.pair("reeve.salt_secret"), statement.salts_file);
    let same = table.pair("reeve.format") == Some(if logged.is_some() { "2" } else { "1" })
        && table.pair("reeve.segment").and_then(text::number) == Some(statement.segment)
        && table.pair("reeve.epoch").and_then(text::number) == Some(statement.epoch);
    if let (Some(logged), None, true) = (logged, secret, same) {
        let rows = read_all(files, &name(statement, "salts"), logged.0).map_err(|error| format!("its salts: {error}"))?;
        let fits = logged.0 == 40 * u64::from(statement.records) && logged == (rows.len() as u64, Sha256::digest(&rows).into());
        let of = move |index| {
            let mut row = Fields(rows.get(40 * index as usize..).unwrap_or_default());
            (u64::from_be_bytes(row.take().unwrap_or_default()), row.take().unwrap_or([0; 32]))
        };
        return if fits { Ok(Box::new(of)) } else { Err("its salts are not those that were logged".into()) };
    }
    let secret: Option<Hash> = secret.and_then(|secret| text::hex(secret)?.try_into().ok());
    let secret = secret.filter(|secret| same && logged.is_none() && commit_secret(secret) == statement.salts);
    let salts = Salts::new(&secret.ok_or("its metadata is not that of the batch statement, or incomplete")?, statement.segment);
    Ok(Box::new(move |index| (0, salts.salt(index))))
}

impl Totals {
    fn take(&mut self, leaf: &Leaf, hash: Hash) {
        let at = leaf.received_at;
        self.raw_bytes = self.raw_bytes.saturating_add(leaf.raw_length);
        self.received = Some(self.received.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
        self.tree.push(hash);
    }
}

/// Adds the next index to ascending ranges.
fn add(ranges: &mut Vec<(u32, u32)>, index: u32) {
    match ranges.last_mut().filter(|(first, count)| first + count == index) {
        Some((_, count)) => *count += 1,
        None => ranges.push((index, 1)),
    }
}

/// The leaf a row gives but for its commitment, with zeros for a `previous` that is not written out, and the raw bytes; `None` unless every part has the
/// form it must have.
fn leaf_of<'a>(cells: &'a [Cell], statement: &Statement, index: u32) -> Option<(Leaf<'a>, Option<&'a [u8]>)> {
    let [place, raw, source, sequence, received_at, transport, claimed_at, certainty, policy, previous] = cells else {
        return None;
    };
    let certainty = match certainty {
        Cell::Null => 0,
        certainty => u8::try_from(int(certainty)?).ok().filter(|certainty| *certainty <= 4)?,
    };
    let raw = bytes(raw);
    let leaf = Leaf {
        segment: statement.segment,
        index: u32::try_from(int(place)?).ok().filter(|place| *place == index)?,
        epoch: statement.epoch,
        // Unsigned, in the signed type of its width.
        sequence: int(sequence)? as u64,
        previous: bytes(previous).map_or(Ok([0; 32]), Hash::try_from).ok()?,
        received_at: time(received_at)?,
        certainty,
        claimed_at: if certainty == 0 { 0 } else { time(claimed_at)? },
        transport: transport_number(bytes(transport)?)?,
        raw_length: raw.map_or(0, <[u8]>::len) as u64,
        commitment: [0; 32],
        source: std::str::from_utf8(bytes(source)?).ok()?,
        policy: std::str::from_utf8(bytes(policy)?).ok()?,
    };
    Some((leaf, raw))
}

fn int(cell: &Cell) -> Option<i64> {
    if let Cell::Int(value) = cell { Some(*value) } else { None }
}

fn bytes(cell: &Cell) -> Option<&[u8]> {
    if let Cell::Bytes(value) = cell { Some(value) } else { None }
}

fn time(cell: &Cell) -> Option<i64> {
    int(cell).filter(|at| text::in_range(*at))
}

const fn column(name: &'static str, physical: Physical, converted: Option<i64>, optional: bool) -> Kind {
    Kind { name, physical, converted, optional }
}

const COLUMNS: [Kind; 10] = [
    column("index", Physical::Int32, Some(UINT_32), false),
    column("raw", Physical::Bytes, None, true),
    column("source", Physical::Bytes, Some(UTF8), false),
    column("sequence", Physical::Int64, Some(UINT_64), false),
    column("received_at", Physical::Int64, Some(TIMESTAMP_MICROS), false),
    column("transport", Physical::Bytes, Some(UTF8), false),
    column("claimed_at", Physical::Int64, Some(TIMESTAMP_MICROS), true),
    column("claimed_certainty", Physical::Int32, Some(UINT_8), true),
    column("policy", Physical::Bytes, Some(UTF8), false),
    column("previous", Physical::Hash, None, true),
];
const MAP_LIMIT: u64 = 64 << 20;
