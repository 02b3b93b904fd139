//! Sealed segments: a Parquet file of records, and the map that says which records each of its bytes serves.
use std::{
    collections::HashMap,
    io::{self, Read, Write},
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow::{
    array::{
        Array, BinaryArray, BinaryBuilder, FixedSizeBinaryArray, FixedSizeBinaryBuilder, RecordBatch, StringArray, StringBuilder,
        TimestampMicrosecondArray, TimestampMicrosecondBuilder, UInt8Array, UInt8Builder, UInt32Array, UInt32Builder,
        UInt64Array, UInt64Builder,
    },
    buffer::Buffer,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use bytes::Bytes;
use jiff::Timestamp;
use parquet::{
    arrow::{
        ArrowWriter,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector},
        arrow_writer::ArrowWriterOptions,
    },
    basic::{Compression, Encoding, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::{KeyValue, PageIndexPolicy, ParquetMetaData},
        properties::{EnabledStatistics, WriterProperties},
        reader::{ChunkReader, Length},
    },
    schema::types::ColumnPath,
};
use reeve_record::{
    EventTime, Hash, Leaf, Receipt, RecordId, SaltSecret, Transport, certainty_code, certainty_from_code, commit, leaf_hash,
    lost_leaf,
};
use sha2::{Digest, Sha256};

use crate::{
    Error,
    disk::{Disk, DiskFile},
    statement::FileHash,
    text, tree,
    wal::{Entry, Names},
};

pub(crate) mod redact; // written once more, without the content of some records

/// What identifies a segment file, kept in its metadata.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    pub(crate) segment: u32,
    pub(crate) epoch: u64,
    /// `None`: given up, since records were redacted.
    pub(crate) secret: Option<SaltSecret>,
}

/// The salts file of a redacted segment: per record a salt, or length and commitment of what was redacted.
pub(crate) struct KeptSalts(Vec<u8>);

impl KeptSalts {
    /// Reads the file of a segment with so many records.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path, segment: u32, redactions: u32, records: u32) -> Result<Self, Error> {
        let path = salts_path(dir, segment, redactions);
        let length = u64::from(records) * SALT_ROW as u64;
        let bytes = crate::disk::read_all(disk, &path, length).map_err(|error| Error::io("read", &path, error))?;
        Self::new(bytes, records).ok_or_else(|| Error::Segment { segment, reason: "its salts file is too short".into() })
    }

    /// `None` unless there are 40 bytes for each of `records`.
    pub(crate) fn new(bytes: Vec<u8>, records: u32) -> Option<Self> {
        (bytes.len() as u64 == u64::from(records) * SALT_ROW as u64).then_some(Self(bytes))
    }

    fn row(&self, index: u32) -> (u64, Hash) {
        let row = self.0.chunks_exact(SALT_ROW).nth(index as usize).unwrap_or(&[0; SALT_ROW][..]);
        let (length, rest) = row.split_first_chunk::<8>().unwrap_or((&[0; 8], row));
        (u64::from_be_bytes(*length), rest.try_into().unwrap_or_default())
    }

    /// The salt of a record that was not redacted.
    pub(crate) fn salt(&self, index: u32) -> Hash {
        self.row(index).1
    }

    /// Length of the raw bytes and commitment of a record that was redacted.
    pub(crate) fn redacted(&self, index: u32) -> (u64, Hash) {
        self.row(index)
    }

    /// Writes a record's 40 bytes.
    pub(crate) fn push(out: &mut Vec<u8>, length: u64, hash: &Hash) {
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(hash);
    }
}

/// Where the salts of a segment come from.
pub(crate) enum Salting {
    Derived(reeve_record::Salts),
    Kept(KeptSalts),
}

impl Salting {
    pub(crate) fn salt(&self, index: u32) -> Hash {
        match self {
            Self::Derived(salts) => salts.salt(index),
            Self::Kept(salts) => salts.salt(index),
        }
    }

    /// Length and commitment of a redacted record, where there are any.
    pub(crate) fn redacted(&self, index: u32) -> Option<(u64, Hash)> {
        match self {
            Self::Derived(_) => None,
            Self::Kept(salts) => Some(salts.redacted(index)),
        }
    }
}

/// A row of a segment file, as stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) receipt: Receipt,
    /// Only where it does not follow from an earlier row.
    pub(crate) previous: Option<Hash>,
    /// `None`: lost before it was sealed.
    pub(crate) raw: Option<Bytes>,
}

/// Turns rows into leaf hashes. Sealing and verifying share it: both see rows in order and keep the last leaf of each source.
pub(crate) struct Leaves {
    segment: u32,
    salts: Salting,
    heads: HashMap<Arc<str>, Hash>,
    pub(crate) hashes: Vec<Hash>,
}

impl Leaves {
    pub(crate) fn new(segment: u32, salts: Salting) -> Self {
        Self { segment, salts, heads: HashMap::new(), hashes: Vec::new() }
    }

    fn id(&self) -> RecordId {
        RecordId { segment: self.segment, index: self.hashes.len() as u32 }
    }

    /// Adds the next row: its leaf, or `None` for one that was lost.
    pub(crate) fn take(&mut self, row: &Row, is_redacted: bool) -> Option<Leaf> {
        match &row.raw {
            Some(raw) => Some(self.push(&row.receipt, row.previous, raw)),
            None if is_redacted => {
                let (length, commitment) = self.salts.redacted(self.id().index)?;
                Some(self.push_leaf(&row.receipt, row.previous, length, commitment))
            }
            None => {
                self.lost();
                None
            }
        }
    }

    /// What `previous` of the next row of `source` would be if it follows from the rows so far.
    pub(crate) fn head(&self, source: &str) -> Option<Hash> {
        self.heads.get(source).copied()
    }

    pub(crate) fn lost(&mut self) {
        self.hashes.push(leaf_hash(&lost_leaf(self.id())));
    }

    /// Adds the next row's leaf and returns it. A `previous` that neither is given nor follows is taken as zeros.
    pub(crate) fn push(&mut self, receipt: &Receipt, previous: Option<Hash>, raw: &[u8]) -> Leaf {
        let commitment = commit(&self.salts.salt(self.id().index), raw);
        self.push_leaf(receipt, previous, raw.len() as u64, commitment)
    }

    fn push_leaf(&mut self, receipt: &Receipt, previous: Option<Hash>, raw_length: u64, commitment: Hash) -> Leaf {
        let leaf = Leaf {
            id: self.id(),
            previous: previous.or_else(|| self.head(&receipt.source)).unwrap_or_default(),
            receipt: receipt.clone(),
            raw_length,
            commitment,
        };
        let hash = leaf.hash();
        self.hashes.push(hash);
        match self.heads.get_mut(&receipt.source) {
            Some(head) => *head = hash,
            None => _ = self.heads.insert(receipt.source.clone(), hash),
        }
        leaf
    }

    pub(crate) fn root(&self) -> Hash {
        tree::root(&self.hashes)
    }
}

/// Totals of a written segment, for its statement.
pub(crate) struct Written {
    pub(crate) records: u32,
    pub(crate) raw_bytes: u64,
    pub(crate) received: (Timestamp, Timestamp),
    pub(crate) root: Hash,
    pub(crate) lost: Vec<(u32, u32)>,
    pub(crate) file: FileHash,
    pub(crate) map: FileHash,
}

/// Writes the segment and map files of the records `next` gives, in order, until it gives none. Both files are durable on return, under their final names.
pub(crate) fn write(
    disk: &dyn Disk,
    dir: &Path,
    identity: &Identity,
    mut next: impl FnMut(u32) -> Result<Vec<Option<Entry>>, Error>,
) -> Result<Written, Error> {
    let segment = identity.segment;
    let path = segment_path(dir, segment, 0);
    let temporary = path.with_extension("parquet.tmp");
    let io = |error| Error::io("write", &temporary, error);
    let file = disk.create(&temporary, true).map_err(io)?;
    let mut writer = ArrowWriter::try_new_with_options(Sink::new(file.clone()), schema(), options(identity))
        .map_err(|e| parquet_error(segment, e))?;
    let secret = identity.secret.as_ref();
    let no_secret = || Error::Segment { segment, reason: "it has no salt secret to be sealed with".into() };
    let mut leaves = Leaves::new(segment, Salting::Derived(secret.ok_or_else(no_secret)?.salts(segment)));
    let mut totals = Totals::default();
    loop {
        let entries = next(leaves.hashes.len() as u32)?;
        if entries.is_empty() {
            break;
        }
        let rows: Vec<Row> = entries.into_iter().map(|entry| seal_row(&mut leaves, &mut totals, entry)).collect();
        let first = leaves.hashes.len() as u32 - rows.len() as u32;
        let batch = batch(first, &rows).map_err(|e| parquet_error(segment, e.into()))?;
        writer.write(&batch).map_err(|e| sink_error(&temporary, segment, e))?;
    }
    writer.finish().map_err(|e| sink_error(&temporary, segment, e))?;
    let written = writer.inner_mut().finish().map_err(io)?;
    file.sync().map_err(io)?;
    // Read back before anything is promised about it: the map is made from the bytes on disk, and must join to what was written.
    let (map, read) = map(&file, segment, leaves.hashes.len() as u32)?;
    if read != written {
        return Err(Error::Segment { segment, reason: "the disk gave back other bytes than were written".into() });
    }
    let map_path = map_path(dir, segment, 0);
    crate::disk::write_durably(disk, &map_path, map.as_bytes(), false).map_err(|e| Error::io("write", &map_path, e))?;
    disk.rename(&temporary, &path).and_then(|()| disk.sync_dir(dir)).map_err(|e| Error::io("write", &path, e))?;
    let map = FileHash { length: map.len() as u64, sha256: Sha256::digest(map.as_bytes()).into() };
    let received = totals.received.unwrap_or_default();
    let records = leaves.hashes.len() as u32;
    Ok(Written { records, raw_bytes: totals.raw_bytes, received, root: leaves.root(), lost: totals.lost, file: written, map })
}

#[derive(Default)]
struct Totals {
    raw_bytes: u64,
    received: Option<(Timestamp, Timestamp)>,
    lost: Vec<(u32, u32)>,
}

fn seal_row(leaves: &mut Leaves, totals: &mut Totals, entry: Option<Entry>) -> Row {
    let index = leaves.hashes.len() as u32;
    let Some(Entry { receipt, previous, raw }) = entry else {
        match totals.lost.last_mut().filter(|(first, count)| first + count == index) {
            Some((_, count)) => *count += 1,
            None => totals.lost.push((index, 1)),
        }
        leaves.lost();
        return lost_row();
    };
    totals.raw_bytes += raw.len() as u64;
    let at = receipt.received_at;
    totals.received = Some(totals.received.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
    let written_out = (leaves.head(&receipt.source) != Some(previous)).then_some(previous);
    leaves.push(&receipt, Some(previous), &raw);
    Row { receipt, previous: written_out, raw: Some(raw) }
}

fn lost_row() -> Row {
    let receipt = Receipt {
        source: "".into(),
        epoch: 0,
        sequence: 0,
        received_at: Timestamp::UNIX_EPOCH,
        transport: Transport::Internal,
        claimed: None,
        policy: "".into(),
    };
    Row { receipt, previous: None, raw: None }
}

/// A sealed segment, open for reading.
pub(crate) struct SegmentReader {
    input: FileInput,
    metadata: ArrowReaderMetadata,
    pub(crate) identity: Identity,
    /// Stretches of the file with their checksums, and which of them were found sound.
    regions: Vec<(Region, AtomicBool)>,
}

impl SegmentReader {
    /// Opens the files of a segment with so many redactions.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path, segment: u32, redactions: u32) -> Result<Self, Error> {
        let path = segment_path(dir, segment, redactions);
        let file = disk.open(&path).map_err(|error| Error::io("open", &path, error))?;
        let map = crate::disk::read_all(disk, &map_path(dir, segment, redactions), MAP_LIMIT).ok();
        let regions = map.and_then(|map| parse_map(std::str::from_utf8(&map).ok()?));
        let regions = regions.ok_or_else(|| Error::Segment { segment, reason: "its map is missing or damaged".into() })?;
        let everywhere: Vec<_> = regions.iter().filter(|region| region.serves_all()).collect();
        // Before the library looks at the footer: a damaged one could ask it for anything.
        everywhere.into_iter().try_for_each(|region| check_region(&*file, segment, region))?;
        let mut reader = Self::from_file(file, segment)?;
        reader.regions = regions.into_iter().map(|region| (region, AtomicBool::new(region.serves_all()))).collect();
        Ok(reader)
    }

    /// The Parquet library may panic on damaged input; that, too, is an answer about the file and nothing else.
    pub(crate) fn from_file(file: Arc<dyn DiskFile>, segment: u32) -> Result<Self, Error> {
        guard(segment, || Self::from_file_unguarded(file, segment))
    }

    fn from_file_unguarded(file: Arc<dyn DiskFile>, segment: u32) -> Result<Self, Error> {
        let length = file.length().map_err(|error| Error::Segment { segment, reason: error.to_string() })?;
        let input = FileInput { file, length };
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load(&input, options).map_err(|e| parquet_error(segment, e))?;
        let wrong = |what: &str| Error::Segment { segment, reason: format!("its metadata {what}") };
        if metadata.schema().fields().len() != schema().fields().len() {
            return Err(wrong("describes other columns"));
        }
        let identity =
            read_identity(metadata.metadata()).ok_or_else(|| wrong("does not name format, segment, epoch and salt secret"))?;
        if identity.segment != segment {
            return Err(wrong("is that of another segment"));
        }
        Ok(Self { input, metadata, identity, regions: Vec::new() })
    }

    pub(crate) fn records(&self) -> u64 {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// Rows of ascending, disjoint ranges of indexes, in order.
    pub(crate) fn read(&self, wanted: &[Range<u32>]) -> Result<Vec<Row>, Error> {
        let used =
            |region: &Region| wanted.iter().any(|rows| rows.start < region.first + region.count && region.first < rows.end);
        for (region, sound) in self.regions.iter().filter(|(region, sound)| !sound.load(Ordering::Relaxed) && used(region)) {
            check_region(&*self.input.file, self.identity.segment, region)?;
            sound.store(true, Ordering::Relaxed);
        }
        guard(self.identity.segment, || self.read_unguarded(wanted))
    }

    fn read_unguarded(&self, wanted: &[Range<u32>]) -> Result<Vec<Row>, Error> {
        let segment = self.identity.segment;
        let error = |e| parquet_error(segment, e);
        let mut selectors = Vec::with_capacity(2 * wanted.len() + 1);
        let mut at = 0;
        for range in wanted {
            selectors.push(RowSelector::skip((range.start - at) as usize));
            selectors.push(RowSelector::select((range.end - range.start) as usize));
            at = range.end;
        }
        let count: usize = wanted.iter().map(|range| range.len()).sum();
        let rest = self.records().saturating_sub(u64::from(at));
        selectors.push(RowSelector::skip(rest as usize));
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(self.input.clone(), self.metadata.clone())
            .with_batch_size(count.clamp(1, 1024))
            .with_row_selection(RowSelection::from(selectors))
            .build()
            .map_err(error)?;
        let mut rows = Vec::with_capacity(count);
        let mut names = Names::default();
        let mut places = wanted.iter().cloned().flatten();
        for batch in reader {
            let batch = batch.map_err(|e| error(e.into()))?;
            self.rows(&batch, &mut places, &mut names, &mut rows)?;
        }
        if rows.len() != count {
            return Err(Error::Segment { segment, reason: format!("{} rows where {count} belong", rows.len()) });
        }
        Ok(rows)
    }

    fn rows(
        &self,
        batch: &RecordBatch,
        places: &mut impl Iterator<Item = u32>,
        names: &mut Names,
        rows: &mut Vec<Row>,
    ) -> Result<(), Error> {
        let segment = self.identity.segment;
        let columns =
            Columns::new(batch).ok_or_else(|| Error::Segment { segment, reason: "its columns have other types".into() })?;
        for n in 0..batch.num_rows() {
            // Other engines read the index from its column, so it must be the place of the row.
            let in_place = places.next() == Some(columns.index.value(n));
            let row = columns.row(n, self.identity.epoch, names).filter(|_| in_place);
            rows.push(row.ok_or_else(|| Error::Segment { segment, reason: format!("row {} breaks the format", rows.len()) })?);
        }
        Ok(())
    }
}

/// The columns of a batch of rows.
struct Columns<'a> {
    index: &'a UInt32Array,
    raw: &'a BinaryArray,
    raw_values: Bytes,
    source: &'a StringArray,
    sequence: &'a UInt64Array,
    received_at: &'a TimestampMicrosecondArray,
    transport: &'a StringArray,
    claimed_at: &'a TimestampMicrosecondArray,
    claimed_certainty: &'a UInt8Array,
    policy: &'a StringArray,
    previous: &'a FixedSizeBinaryArray,
}

impl<'a> Columns<'a> {
    fn new(batch: &'a RecordBatch) -> Option<Self> {
        fn column<'a, A: 'static>(batch: &'a RecordBatch, name: &str) -> Option<&'a A> {
            batch.column_by_name(name)?.as_any().downcast_ref()
        }
        let raw: &BinaryArray = column(batch, "raw")?;
        Some(Self {
            index: column(batch, "index")?,
            raw,
            raw_values: share(raw.values()),
            source: column(batch, "source")?,
            sequence: column(batch, "sequence")?,
            received_at: column(batch, "received_at")?,
            transport: column(batch, "transport")?,
            claimed_at: column(batch, "claimed_at")?,
            claimed_certainty: column(batch, "claimed_certainty")?,
            policy: column(batch, "policy")?,
            previous: column(batch, "previous")?,
        })
    }

    fn row(&self, n: usize, epoch: u64, names: &mut Names) -> Option<Row> {
        let raw = self.raw.is_valid(n).then(|| {
            let offsets = self.raw.value_offsets();
            self.raw_values.slice(offsets[n] as usize..offsets[n + 1] as usize)
        });
        let certainty = if self.claimed_certainty.is_valid(n) { self.claimed_certainty.value(n) } else { 0 };
        let claimed = match certainty_from_code(certainty)? {
            None => None,
            Some(certainty) => Some(EventTime { at: time(self.claimed_at, n)?, certainty }),
        };
        let receipt = Receipt {
            source: names.source.text(self.source.value(n).as_bytes())?,
            epoch,
            sequence: self.sequence.value(n),
            received_at: time(self.received_at, n)?,
            transport: self.transport.value(n).parse().ok()?,
            claimed,
            policy: names.policy.text(self.policy.value(n).as_bytes())?,
        };
        let previous = self.previous.is_valid(n).then(|| self.previous.value(n).try_into().ok()).flatten();
        Some(Row { receipt, previous, raw })
    }
}

fn time(column: &TimestampMicrosecondArray, n: usize) -> Option<Timestamp> {
    column.is_valid(n).then(|| Timestamp::from_microsecond(column.value(n)).ok()).flatten()
}

/// The values of a column as shared bytes, without a copy.
fn share(values: &Buffer) -> Bytes {
    struct Shared(Buffer);
    impl AsRef<[u8]> for Shared {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Bytes::from_owner(Shared(values.clone()))
}

/// A stretch of the segment file and the records it serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Region {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) first: u32,
    pub(crate) count: u32,
    pub(crate) crc32: u32,
    pub(crate) sha256: Hash,
    /// The last one, with the footer.
    last: bool,
}

impl Region {
    /// Whether it lies outside the row groups: head, footer and indexes.
    pub(crate) fn serves_all(&self) -> bool {
        self.offset == 0 || self.last
    }
}

/// Reading must not pass on bytes that were not sealed, so each stretch is checked the first time it is used.
fn check_region(file: &dyn DiskFile, segment: u32, region: &Region) -> Result<(), Error> {
    let damaged = |what: &str| Error::Segment {
        segment,
        reason: format!("bytes {}…{} {what}", region.offset, region.offset + region.length),
    };
    let length = file.length().map_err(|error| damaged(&error.to_string()))?;
    if region.offset.checked_add(region.length).is_none_or(|end| end > length) {
        return Err(damaged("are missing"));
    }
    let mut bytes = vec![0; region.length as usize];
    let read = file.read_at(&mut bytes, region.offset).map_err(|error| damaged(&error.to_string()))?;
    if crc32fast::hash(&bytes[..read]) != region.crc32 {
        return Err(damaged("are not what was sealed"));
    }
    Ok(())
}

/// Reads a map file; `None` unless it is whole and contiguous.
pub(crate) fn parse_map(text: &str) -> Option<Vec<Region>> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    if lines.next()? != MAP_HEAD {
        return None;
    }
    let mut at = 0u64;
    let regions: Option<Vec<Region>> = lines
        .map(|line| {
            let mut fields = line.split(' ');
            let region = Region {
                offset: text::number(fields.next()?)?,
                length: text::number(fields.next()?)?,
                first: text::number(fields.next()?)?,
                count: text::number(fields.next()?)?,
                crc32: {
                    let hex = fields.next()?;
                    u32::from_str_radix(hex, 16).ok().filter(|crc| format!("{crc:08x}") == hex)?
                },
                sha256: text::hash(fields.next()?)?,
                last: false,
            };
            let follows = region.offset == at && fields.next().is_none();
            region.first.checked_add(region.count)?;
            at = at.checked_add(region.length)?;
            follows.then_some(region)
        })
        .collect();
    let mut regions = regions?;
    regions.last_mut()?.last = true;
    Some(regions)
}

/// Makes the map from the file as it lies on disk; also the hash of the whole.
fn map(file: &Arc<dyn DiskFile>, segment: u32, records: u32) -> Result<(String, FileHash), Error> {
    let reader = SegmentReader::from_file(file.clone(), segment)?;
    let mut out = format!("{MAP_HEAD}\n");
    let mut whole = Sha256::new();
    let mut buffer = Vec::new();
    for (range, rows) in regions(reader.metadata.metadata(), reader.input.length, records) {
        buffer.resize((range.end - range.start) as usize, 0);
        let read = file.read_at(&mut buffer, range.start).map_err(|e| Error::Segment { segment, reason: e.to_string() })?;
        whole.update(&buffer[..read]);
        let crc = crc32fast::hash(&buffer[..read]);
        let sha256 = text::base64(&Sha256::digest(&buffer[..read]));
        out.push_str(&format!("{} {} {} {} {crc:08x} {sha256}\n", range.start, read, rows.start, rows.len()));
    }
    Ok((out, FileHash { length: reader.input.length, sha256: whole.finalize().into() }))
}

/// Cuts the file where pages of raw bytes begin and end; what lies between serves its row group, and what lies outside serves all records.
fn regions(metadata: &ParquetMetaData, length: u64, records: u32) -> Vec<(Range<u64>, Range<u32>)> {
    let mut regions: Vec<(Range<u64>, Range<u32>)> = Vec::new();
    let (mut at, mut first) = (0, 0u32);
    let mut push = |at: &mut u64, end: u64, rows: Range<u32>| {
        let end = end.min(length);
        if end > *at {
            regions.push((*at..end, rows));
            *at = end;
        }
    };
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let rows = first..first + u32::try_from(group.num_rows()).unwrap_or(0);
        let start = group.columns().iter().map(|column| column.byte_range().0).min().unwrap_or(at);
        push(&mut at, start, 0..records);
        let pages = metadata
            .offset_index()
            .and_then(|index| index.get(number)?.get(RAW_COLUMN))
            .map(|column| column.page_locations().as_slice());
        let pages = pages.unwrap_or_default();
        for (n, page) in pages.iter().enumerate() {
            let from = rows.start + page.first_row_index as u32;
            let to = pages.get(n + 1).map_or(rows.end, |next| rows.start + next.first_row_index as u32);
            push(&mut at, page.offset as u64, rows.clone());
            push(&mut at, page.offset as u64 + page.compressed_page_size as u64, from..to);
        }
        let end =
            group.columns().iter().map(|column| column.byte_range()).map(|(start, length)| start + length).max().unwrap_or(at);
        push(&mut at, end, rows.clone());
        first = rows.end;
    }
    push(&mut at, length, 0..records);
    regions
}

fn batch(first: u32, rows: &[Row]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let count = rows.len();
    let bytes = rows.iter().filter_map(|row| row.raw.as_ref()).map(|raw| raw.len()).sum();
    let mut index = UInt32Builder::with_capacity(count);
    let mut raw = BinaryBuilder::with_capacity(count, bytes);
    let (mut source, mut transport, mut policy) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let mut sequence = UInt64Builder::with_capacity(count);
    let mut received_at = TimestampMicrosecondBuilder::with_capacity(count).with_timezone("UTC");
    let mut claimed_at = TimestampMicrosecondBuilder::with_capacity(count).with_timezone("UTC");
    let mut claimed_certainty = UInt8Builder::with_capacity(count);
    let mut previous = FixedSizeBinaryBuilder::with_capacity(count, 32);
    for (row, number) in rows.iter().zip(first..) {
        let receipt = &row.receipt;
        index.append_value(number);
        raw.append_option(row.raw.as_ref());
        source.append_value(&receipt.source);
        sequence.append_value(receipt.sequence);
        received_at.append_value(receipt.received_at.as_microsecond());
        transport.append_value(receipt.transport.name());
        claimed_at.append_option(receipt.claimed.map(|claimed| claimed.at.as_microsecond()));
        claimed_certainty.append_option(receipt.claimed.map(|claimed| certainty_code(Some(claimed.certainty))));
        policy.append_value(&receipt.policy);
        match &row.previous {
            Some(hash) => previous.append_value(hash)?,
            None => previous.append_null(),
        }
    }
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(index.finish()),
            Arc::new(raw.finish()),
            Arc::new(source.finish()),
            Arc::new(sequence.finish()),
            Arc::new(received_at.finish()),
            Arc::new(transport.finish()),
            Arc::new(claimed_at.finish()),
            Arc::new(claimed_certainty.finish()),
            Arc::new(policy.finish()),
            Arc::new(previous.finish()),
        ],
    )
}

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("index", DataType::UInt32, false),
        Field::new("raw", DataType::Binary, true),
        Field::new("source", DataType::Utf8, false),
        Field::new("sequence", DataType::UInt64, false),
        Field::new("received_at", time.clone(), false),
        Field::new("transport", DataType::Utf8, false),
        Field::new("claimed_at", time, true),
        Field::new("claimed_certainty", DataType::UInt8, true),
        Field::new("policy", DataType::Utf8, false),
        Field::new("previous", DataType::FixedSizeBinary(32), true),
    ]))
}

fn options(identity: &Identity) -> ArrowWriterOptions {
    let pair = |key: &str, value: String| KeyValue::new(key.into(), Some(value));
    let mut pairs = vec![
        pair("reeve.format", if identity.secret.is_some() { "1" } else { "2" }.into()),
        pair("reeve.segment", identity.segment.to_string()),
        pair("reeve.epoch", identity.epoch.to_string()),
    ];
    pairs.extend(identity.secret.as_ref().map(|secret| pair("reeve.salt_secret", hex::encode(secret.bytes()))));
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("reeve ", env!("CARGO_PKG_VERSION")).into())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_max_row_group_bytes(Some(GROUP_BYTES))
        .set_key_value_metadata(Some(pairs));
    for column in ["raw", "previous"] {
        let column = ColumnPath::from(column);
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_statistics_enabled(column, EnabledStatistics::None);
    }
    for column in ["index", "sequence", "received_at", "claimed_at"] {
        let column = ColumnPath::from(column);
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    ArrowWriterOptions::new().with_properties(properties.build())
}

fn read_identity(metadata: &ParquetMetaData) -> Option<Identity> {
    let pairs = metadata.file_metadata().key_value_metadata()?;
    let value = |key: &str| pairs.iter().find(|pair| pair.key == key)?.value.as_deref();
    let secret = match (value("reeve.format")?, value("reeve.salt_secret")) {
        ("1", Some(secret)) => Some(SaltSecret::new(hex::decode(secret).ok()?.try_into().ok()?)),
        ("2", None) => None,
        _ => return None,
    };
    Some(Identity { segment: text::number(value("reeve.segment")?)?, epoch: text::number(value("reeve.epoch")?)?, secret })
}

/// Hashes what it passes on to the file.
struct Sink {
    file: Arc<dyn DiskFile>,
    buffer: Vec<u8>,
    sha256: Sha256,
    length: u64,
}

impl Sink {
    fn new(file: Arc<dyn DiskFile>) -> Self {
        Self { file, buffer: Vec::with_capacity(1 << 20), sha256: Sha256::new(), length: 0 }
    }

    fn finish(&mut self) -> io::Result<FileHash> {
        self.flush()?;
        Ok(FileHash { length: self.length, sha256: self.sha256.clone().finalize().into() })
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= 1 << 20 {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.append(&self.buffer)?;
        self.sha256.update(&self.buffer);
        self.length += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// A file as the Parquet reader wants it.
#[derive(Clone)]
struct FileInput {
    file: Arc<dyn DiskFile>,
    length: u64,
}

impl Length for FileInput {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for FileInput {
    type T = io::BufReader<FileRead>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(io::BufReader::new(FileRead { file: self.file.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        // A damaged length must not become an allocation.
        if start.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} lie outside the file")));
        }
        let mut bytes = vec![0; length];
        let read = self.file.read_at(&mut bytes, start)?;
        if read < length {
            return Err(ParquetError::EOF(format!("the file ends at {}", start + read as u64)));
        }
        Ok(bytes.into())
    }
}

struct FileRead {
    file: Arc<dyn DiskFile>,
    at: u64,
}

impl Read for FileRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

fn guard<T>(segment: u32, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let panicked = |_| Err(Error::Segment { segment, reason: "the file is damaged where its reader did not expect it".into() });
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(panicked)
}

fn parquet_error(segment: u32, error: ParquetError) -> Error {
    Error::Segment { segment, reason: error.to_string() }
}

/// A write that failed in the disk below keeps its kind, so that a full disk is called one.
fn sink_error(path: &Path, segment: u32, error: ParquetError) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => Error::io("write", path, *error),
            Err(inner) => Error::Segment { segment, reason: inner.to_string() },
        },
        error => parquet_error(segment, error),
    }
}

/// The segment file after so many redactions.
pub(crate) fn segment_path(dir: &Path, segment: u32, redactions: u32) -> PathBuf {
    dir.join(file_name(segment, redactions, "parquet"))
}

pub(crate) fn map_path(dir: &Path, segment: u32, redactions: u32) -> PathBuf {
    dir.join(file_name(segment, redactions, "map"))
}

pub(crate) fn salts_path(dir: &Path, segment: u32, redactions: u32) -> PathBuf {
    dir.join(file_name(segment, redactions, "salts"))
}

/// The leaf hashes of a destroyed segment.
pub(crate) fn leaves_path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(file_name(segment, 0, "leaves"))
}

pub(crate) fn file_name(segment: u32, redactions: u32, kind: &str) -> String {
    match redactions {
        0 => format!("{segment:08}.{kind}"),
        redactions => format!("{segment:08}.r{redactions}.{kind}"),
    }
}

/// Segment, redactions and kind that a file's name says; `None` for any other name.
pub(crate) fn parse_name(name: &str) -> Option<(u32, u32, &str)> {
    let (number, rest) = name.split_once('.')?;
    let (redactions, kind) = match rest.strip_prefix('r').and_then(|rest| rest.split_once('.')) {
        Some((redactions, kind)) => (text::number(redactions).filter(|redactions| *redactions > 0)?, kind),
        None => (0, rest),
    };
    let segment = number.parse().ok()?;
    let known = ["parquet", "map", "salts", "leaves"].contains(&kind) && file_name(segment, redactions, kind) == name;
    known.then_some((segment, redactions, kind))
}

pub(crate) const MAP_LIMIT: u64 = 64 << 20;
/// Bytes of one record in a salts file.
const SALT_ROW: usize = 40;
const MAP_HEAD: &str = "reeve-map/v1";
/// Place of `raw` in the schema.
const RAW_COLUMN: usize = 1;
/// Rows in a page: what is decompressed to read one record, and what is named when a page is damaged.
const PAGE_ROWS: usize = 512;
const GROUP_ROWS: usize = 16_384;
/// Bounds what the writer holds in memory.
const GROUP_BYTES: usize = 32 << 20;
