//! One sealed segment: its bytes against the statement, its records against the batch root and their sources' chains.
use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::{
    Files, Hash, RecordRange, Report,
    bytes::Bytes,
    files::read_all,
    parquet::{Cell, Kind, Physical, TIMESTAMP_MICROS, Table, UINT_8, UINT_32, UINT_64, UTF8},
    record::{self, Leaf, commit, commit_secret, lost_leaf, transport_number},
    statement::{FileHash, Statement},
    text::{self, need},
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

/// One segment under its statement, and where what is found goes.
struct Segment<'a> {
    files: &'a dyn Files,
    statement: &'a Statement,
    chains: &'a mut Chains,
    report: &'a mut Report,
}

pub(crate) fn check(files: &dyn Files, statement: &Statement, chains: &mut Chains, report: &mut Report) {
    let before = report.faults.len();
    chains.enter(statement.epoch);
    let mut segment = Segment { files, statement, chains, report };
    if statement.destroyed {
        segment.check_leaves();
    } else {
        segment.check_content();
    }
    if statement.destroyed || report.faults.len() > before {
        chains.break_off();
    }
}

impl Segment<'_> {
    /// Name of a file of the segment as it is now.
    fn name(&self, kind: &str) -> String {
        let Statement { segment, redactions, .. } = self.statement;
        let redacted = if *redactions > 0 { format!(".r{redactions}") } else { String::new() };
        format!("segments/{segment:08}{redacted}.{kind}")
    }

    fn all(&self) -> Vec<RecordRange> {
        vec![RecordRange::all(self.statement.segment, Some(self.statement))]
    }

    /// Of a destroyed segment the leaf hashes are there, and give its root.
    fn check_leaves(&mut self) {
        self.report.destroyed_records += u64::from(self.statement.records);
        let name = format!("segments/{:08}.leaves", self.statement.segment);
        let length = 32 * u64::from(self.statement.records);
        let read = read_all(self.files, &name, length).unwrap_or_default();
        if read.len() as u64 != length || tree::root(read.as_chunks::<32>().0) != self.statement.root {
            let what = "it cannot be read, or does not give the batch root that was signed";
            self.report.fault("LEDGER-024", name, what, self.all());
        }
    }

    fn check_content(&mut self) {
        self.report.lost_records += self.statement.lost.iter().map(|(_, count)| u64::from(*count)).sum::<u64>();
        let (regions, name) = (self.check_map(), self.name("parquet"));
        match self.files.read(&name, self.statement.file.0.saturating_add(1)) {
            Ok(file) if file_hash(&file) == self.statement.file => self.check_records(&name, &file),
            Ok(file) => self.compare(&name, &file, &regions),
            Err(error) => {
                let code = if error.kind() == std::io::ErrorKind::NotFound { "LEDGER-024" } else { "LEDGER-022" };
                self.report.fault(code, name, format!("it cannot be read: {error}"), self.all());
            }
        }
    }

    /// The map, if it is the one that was sealed; else no regions.
    fn check_map(&mut self) -> Vec<Region> {
        let name = self.name("map");
        let regions = match read_all(self.files, &name, MAP_LIMIT) {
            Err(error) => Err(format!("it cannot be read: {error}")),
            Ok(bytes) if file_hash(&bytes) != self.statement.map => Err("it is not the file that was sealed".into()),
            Ok(bytes) => {
                parse_map(&bytes, self.statement).ok_or("it is sealed but not in the form of docs/spec/record.md".into())
            }
        };
        let all = self.all();
        self.report.expect("LEDGER-026", name, || all, regions).unwrap_or_default()
    }

    /// Says which bytes are not what was sealed and, by the map, which records that hits.
    fn compare(&mut self, name: &str, file: &[u8], regions: &[Region]) {
        let (before, sealed) = (self.report.faults.len(), self.statement.file.0);
        if file.len() as u64 != sealed {
            let what = format!(
                "it has {} bytes than the {sealed} that were sealed",
                if (file.len() as u64) < sealed { "less" } else { "more" }
            );
            self.report.fault("LEDGER-022", name, what, self.all());
        }
        for Region { offset, length, first, count, sha256 } in regions {
            let stored = Bytes(file.get(*offset as usize..).unwrap_or_default()).up_to(*length as usize);
            if file_hash(stored).1 != *sha256 {
                let place = format!("{name} bytes {offset}…{}", offset + length.saturating_sub(1));
                let records = RecordRange { segment: self.statement.segment, first: *first, count: *count.max(&1) };
                self.report.fault("LEDGER-022", place, "these bytes are not what was sealed", vec![records]);
            }
        }
        if self.report.faults.len() == before {
            self.report.fault("LEDGER-022", name, "it is not the file that was sealed", self.all());
        }
    }

    fn check_records(&mut self, name: &str, file: &[u8]) {
        let mut totals = Totals::default();
        let held = self.read_records(file, &mut totals).and_then(|()| totals.check(self.statement));
        self.report.records += totals.tree.size();
        self.report.redacted_records += totals.redacted;
        let all = self.all();
        if self.report.expect("LEDGER-023", name, || all, held).is_some() && !totals.astray.is_empty() {
            let range =
                |(first, count): &(u32, u32)| RecordRange { segment: self.statement.segment, first: *first, count: *count };
            let astray = totals.astray.iter().map(range).collect();
            self.report.fault("LEDGER-023", name, "these records do not continue what their source sent before", astray);
        }
    }

    /// Reads every row and recomputes its leaf.
    fn read_records(&mut self, file: &[u8], totals: &mut Totals) -> Result<(), String> {
        let statement = self.statement;
        let table = Table::open(file, COLUMNS)?;
        let salts = self.salting(&table)?;
        let (held, sealed) = (table.rows, statement.records);
        need(held == u64::from(sealed), format!("it holds {held} records, the batch statement says {sealed}"))?;
        let mut heads: HashMap<String, Hash> = HashMap::new();
        table.for_each(|cells| {
            let index = totals.tree.size() as u32;
            let broken = || format!("row {index} breaks the form of docs/spec/record.md");
            let (mut leaf, raw) = leaf_of(cells, statement, index).ok_or_else(broken)?;
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
                    self.chains.break_off();
                    return Ok(());
                }
            }
            let is_written_out = matches!(cells[9], Cell::Bytes(_));
            if let Some(head) = heads.get(leaf.source).filter(|_| !is_written_out) {
                leaf.previous = *head;
            }
            let hash = tree::leaf(&leaf.encode().ok_or_else(broken)?);
            totals.tree.push(hash);
            totals.raw_bytes = totals.raw_bytes.saturating_add(leaf.raw_length);
            let at = leaf.received_at;
            totals.received = Some(totals.received.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
            // Not `insert`, which would take a new copy of the name for each record.
            match heads.get_mut(leaf.source) {
                Some(head) => *head = hash,
                None => _ = heads.insert(leaf.source.to_owned(), hash),
            }
            if !self.chains.continues(&leaf, hash) {
                add(&mut totals.astray, index);
            }
            Ok(())
        })
    }

    /// The salts, if the file's metadata is that of the segment: from its secret, or from the file that takes its place once records were redacted.
    fn salting(&self, table: &Table<'_>) -> Result<Salting, String> {
        let Statement { segment, epoch, records, salts, salts_file: logged, .. } = *self.statement;
        let secret = table.pair("reeve.salt_secret").map(|secret| text::hex(secret)?.try_into().ok());
        let same = table.pair("reeve.format") == Some(if logged.is_some() { "2" } else { "1" })
            && table.pair("reeve.segment").and_then(text::number) == Some(segment)
            && table.pair("reeve.epoch").and_then(text::number) == Some(epoch);
        need(same && logged.is_some() == secret.is_none(), "its metadata is not that of the batch statement, or incomplete")?;
        let Some(logged) = logged else {
            let secret: Option<Hash> = secret.flatten().filter(|secret| commit_secret(secret) == salts);
            let salt = record::salts(&secret.ok_or("its salt secret is not that of the batch statement")?, segment);
            return Ok(Box::new(move |index| (0, salt(index))));
        };
        let rows = read_all(self.files, &self.name("salts"), logged.0).map_err(|error| format!("its salts: {error}"))?;
        let fits = logged.0 == 40 * u64::from(records) && logged == file_hash(&rows);
        need(fits, "its salts are not those that were logged")?;
        Ok(Box::new(move |index| {
            let mut row = Bytes(rows.get(40 * index as usize..).unwrap_or_default());
            (row.array().map_or(0, u64::from_be_bytes), row.array().unwrap_or_default())
        }))
    }
}

/// A stretch of the segment file and the records it serves.
struct Region {
    offset: u64,
    length: u64,
    first: u32,
    count: u32,
    sha256: Hash,
}

fn file_hash(bytes: &[u8]) -> FileHash {
    (bytes.len() as u64, Sha256::digest(bytes).into())
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
}

impl Totals {
    fn check(&self, statement: &Statement) -> Result<(), String> {
        let same = self.tree.root() == statement.root && self.raw_bytes == statement.raw_bytes;
        need(same, "its records do not give the batch root and the number of bytes that were signed")?;
        let same = self.received.unwrap_or((0, 0)) == statement.received && self.lost == statement.lost;
        need(same, "times of receipt or lost records are not those that were signed")
    }
}

/// Gives zero and the salt of a record; of a redacted one length and commitment.
type Salting = Box<dyn Fn(u32) -> (u64, Hash)>;

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

const COLUMNS: &[Kind] = &[
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
