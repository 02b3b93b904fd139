//! Write-ahead log files: one per segment, one frame per group commit. Format: `docs/spec/wal.md`.
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use crc32fast::Hasher;
use jiff::Timestamp;
use parking_lot::RwLock;
use reeve_record::{EventTime, Hash, Receipt, SaltSecret, Transport, certainty_code, certainty_from_code};

use crate::{
    Error,
    disk::{Disk, DiskFile},
};

/// What the head of a WAL file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Segment the file holds.
    pub segment: u32,
    /// Epoch of its records.
    pub epoch: u64,
    /// Random; part of every checksum, so that a frame of another file is never taken for one of this.
    pub file_id: [u8; 16],
    /// Secret of the segment's salts.
    pub secret: SaltSecret,
    /// Records in the segment before this one, so that a cut tail there shows.
    pub records_before: u32,
}

impl Header {
    /// The first [`HEADER_LENGTH`] bytes of the file: the same block twice, so that one damaged sector does not take the file with it.
    pub fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(HEADER_LENGTH / 2);
        block.extend_from_slice(FILE_MAGIC);
        block.extend_from_slice(&self.segment.to_be_bytes());
        block.extend_from_slice(&self.epoch.to_be_bytes());
        block.extend_from_slice(&self.file_id);
        block.extend_from_slice(self.secret.bytes());
        block.extend_from_slice(&self.records_before.to_be_bytes());
        let crc = crc32fast::hash(&block);
        block.extend_from_slice(&crc.to_be_bytes());
        block.resize(HEADER_LENGTH / 2, 0);
        block.repeat(2)
    }

    /// Reads the head of a file; `None` if neither copy is whole.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.chunks(HEADER_LENGTH / 2).take(2).find_map(Self::decode_block)
    }

    fn decode_block(block: &[u8]) -> Option<Self> {
        let mut fields = Fields(block);
        if fields.take::<8>()? != *FILE_MAGIC {
            return None;
        }
        let header = Self {
            segment: u32::from_be_bytes(fields.take()?),
            epoch: u64::from_be_bytes(fields.take()?),
            file_id: fields.take()?,
            secret: SaltSecret::new(fields.take()?),
            records_before: u32::from_be_bytes(fields.take()?),
        };
        let covered = block.len() - fields.0.len();
        let sound = crc32fast::hash(&block[..covered]) == u32::from_be_bytes(fields.take()?);
        (sound && header.records_before as usize <= RECORDS_MAX).then_some(header)
    }

    /// The state every checksum of this file starts from.
    fn seed(&self) -> Hasher {
        let mut hasher = Hasher::new();
        hasher.update(&self.file_id);
        hasher.update(&self.epoch.to_be_bytes());
        hasher
    }
}

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Records, made durable together.
    Records = 1,
    /// Written, unsynced, when the ledger falls idle: everything before it was durable, so damage there is no torn write.
    Mark = 2,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: Kind,
    /// Length of the whole frame.
    length: u32,
    first: u32,
    count: u32,
}

/// One record as the WAL holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What was noted on receipt.
    pub receipt: Receipt,
    /// Leaf hash of the record its source sent before, in this epoch.
    pub previous: Hash,
    /// The bytes as received.
    pub raw: Bytes,
}

/// Builds the frame of one group. Lengths are patched in at the end, so raw bytes are copied once.
pub(crate) struct FrameWriter {
    seed: Hasher,
    buffer: Vec<u8>,
    lengths: Vec<u32>,
    /// Index of the frame's first record.
    first: u32,
    offset: u64,
}

impl FrameWriter {
    /// A frame for `count` records at `offset` of the file; reuses `buffer`.
    pub(crate) fn new(header: &Header, offset: u64, first: u32, count: usize, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(table_end(count), 0);
        Self { seed: header.seed(), buffer, lengths: Vec::with_capacity(count), first, offset }
    }

    pub(crate) fn push(&mut self, receipt: &Receipt, previous: &Hash, raw: &[u8]) {
        let start = self.buffer.len();
        let out = &mut self.buffer;
        out.extend_from_slice(&receipt.sequence.to_be_bytes());
        out.extend_from_slice(&receipt.received_at.as_microsecond().to_be_bytes());
        out.push(receipt.transport.code());
        out.push(certainty_code(receipt.claimed.map(|time| time.certainty)));
        out.extend_from_slice(&receipt.claimed.map_or(0, |time| time.at.as_microsecond()).to_be_bytes());
        out.extend_from_slice(&(receipt.source.len() as u16).to_be_bytes());
        out.extend_from_slice(&(receipt.policy.len() as u16).to_be_bytes());
        out.extend_from_slice(previous);
        out.extend_from_slice(receipt.source.as_bytes());
        out.extend_from_slice(receipt.policy.as_bytes());
        out.extend_from_slice(raw);
        let index = self.first + self.lengths.len() as u32;
        let crc = entry_crc(&self.seed, index, &self.buffer[start..]);
        self.buffer.extend_from_slice(&crc.to_be_bytes());
        self.lengths.push((self.buffer.len() - start) as u32);
    }

    /// The frame's bytes and where each entry lies in the file.
    pub(crate) fn finish(mut self) -> (Vec<u8>, Vec<Place>) {
        let count = self.lengths.len();
        let mut places = Vec::with_capacity(count);
        let mut at = table_end(count);
        for (slot, length) in self.lengths.iter().enumerate() {
            let table = FRAME_HEADER + 4 * slot;
            self.buffer[table..table + 4].copy_from_slice(&length.to_be_bytes());
            places.push(Place { offset: self.offset + at as u64, length: *length });
            at += *length as usize;
        }
        let frame = Frame { kind: Kind::Records, length: self.buffer.len() as u32, first: self.first, count: count as u32 };
        frame.write(&self.seed, self.offset, &mut self.buffer);
        (self.buffer, places)
    }
}

/// The frame that says everything before it was durable.
pub(crate) fn mark(header: &Header, offset: u64, next: u32) -> Vec<u8> {
    let mut buffer = vec![0; table_end(0)];
    let frame = Frame { kind: Kind::Mark, length: buffer.len() as u32, first: next, count: 0 };
    frame.write(&header.seed(), offset, &mut buffer);
    buffer
}

impl Frame {
    /// Fills in the header and the table's checksum; the table is in place.
    fn write(&self, seed: &Hasher, offset: u64, buffer: &mut [u8]) {
        buffer[..4].copy_from_slice(FRAME_MAGIC);
        buffer[4..8].copy_from_slice(&[self.kind as u8, 0, 0, 0]);
        buffer[8..12].copy_from_slice(&self.length.to_be_bytes());
        buffer[12..16].copy_from_slice(&self.first.to_be_bytes());
        buffer[16..20].copy_from_slice(&self.count.to_be_bytes());
        let crc = header_crc(seed, offset, &buffer[..20]);
        buffer[20..24].copy_from_slice(&crc.to_be_bytes());
        let end = table_end(self.count as usize);
        let crc = header_crc(seed, offset, &buffer[..end - 4]);
        buffer[end - 4..end].copy_from_slice(&crc.to_be_bytes());
    }

    /// Reads a frame's head; `None` unless its checksum says that it was written at this place of this file.
    fn decode(seed: &Hasher, offset: u64, bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..FRAME_HEADER)?;
        let mut fields = Fields(head);
        if fields.take::<4>()? != *FRAME_MAGIC {
            return None;
        }
        let kind = match fields.take::<4>()? {
            [1, 0, 0, 0] => Kind::Records,
            [2, 0, 0, 0] => Kind::Mark,
            _ => return None,
        };
        let [length, first, count, crc] =
            [fields.take()?, fields.take()?, fields.take()?, fields.take()?].map(u32::from_be_bytes);
        let sound = crc == header_crc(seed, offset, &head[..20])
            && u64::from(length) >= 28 + 4 * u64::from(count)
            && (length as usize) <= MAX_FRAME
            && (first as usize).saturating_add(count as usize) <= RECORDS_MAX;
        sound.then_some(Self { kind, length, first, count })
    }
}

/// Where an entry lies in the WAL file, its checksum included. A lost entry has length 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Offset in the file.
    pub offset: u64,
    /// Length in bytes.
    pub length: u32,
}

/// What was found in a WAL file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scan {
    /// A place for every record index; lost ones have length 0.
    pub places: Vec<Place>,
    /// One past the last good frame.
    pub end: u64,
    /// Damaged stretches that later frames prove were once durable: offset, what is wrong.
    pub damage: Vec<(u64, String)>,
    /// Records in an unfinished last group, which was never acknowledged, and its offset.
    pub torn: Option<(u64, u32)>,
    /// Whether a mark follows the last group: whoever wrote it knew that the group was durable.
    pub marked: bool,
}

/// Reads all frames of a file. Never fails on content: what is damaged is named, and the scan finds the next frame behind it.
///
/// `complete`: the next file exists and says how many records this one holds, so the last group is not excused as torn.
pub fn scan(file: &dyn DiskFile, header: &Header, complete: Option<u32>) -> io::Result<Scan> {
    let seed = header.seed();
    let length = file.length()?;
    let mut scan = Scan { end: HEADER_LENGTH as u64, ..Scan::default() };
    let mut at = HEADER_LENGTH as u64;
    // The last group, kept aside until something behind it proves that it was durable.
    let mut last: Option<(u64, u32, Vec<Place>, Option<String>)> = None;
    while at < length {
        let mut head = [0; FRAME_HEADER];
        let read = file.read_at(&mut head, at)?;
        let Some(frame) = Frame::decode(&seed, at, &head[..read]).filter(|frame| frame.first as usize >= expected(&scan, &last))
        else {
            match find_frame(file, &seed, at + 1, length, expected(&scan, &last) as u32)? {
                Some(next) => {
                    settle(&mut scan, &mut last);
                    scan.damage.push((at, format!("{} bytes are not what was written", next - at)));
                    at = next;
                    continue;
                }
                None => {
                    // Bytes that are no frame, at the very end: a write that a crash cut short.
                    scan.torn = Some((at, 0));
                    break;
                }
            }
        };
        settle(&mut scan, &mut last);
        if frame.first as usize > scan.places.len() {
            if scan.damage.last().is_none_or(|(offset, _)| *offset < scan.end) {
                scan.damage.push((scan.end, "a frame is missing".into()));
            }
            scan.places.resize(frame.first as usize, Place::default());
        }
        scan.marked = frame.kind == Kind::Mark;
        if frame.kind == Kind::Records {
            let (places, problem) = read_group(file, &seed, at, &frame)?;
            last = Some((at, frame.count, places, problem));
        }
        at += u64::from(frame.length);
        scan.end = at.min(length);
    }
    finish(&mut scan, last, complete);
    Ok(scan)
}

/// Writes the first `end` bytes of a file anew under its own path, durable with its name; either the old or the new file is there at any time.
pub(crate) fn rewrite(disk: &dyn Disk, path: &Path, file: &dyn DiskFile, end: u64) -> io::Result<Arc<dyn DiskFile>> {
    let temporary = path.with_extension("tmp");
    let copy = disk.create(&temporary, true)?;
    let mut block = vec![0; end.min(1 << 20) as usize];
    let mut at = 0;
    while at < end {
        let wanted = block.len().min((end - at) as usize);
        let read = file.read_at(&mut block[..wanted], at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        copy.append(&block[..read])?;
        at += read as u64;
    }
    copy.sync()?;
    disk.rename(&temporary, path)?;
    disk.sync_dir(path.parent().unwrap_or(path))?;
    Ok(copy)
}

/// Takes over the group set aside: something valid lies behind it, so it was durable, and what is bad in it is damage.
fn settle(scan: &mut Scan, last: &mut Option<(u64, u32, Vec<Place>, Option<String>)>) {
    if let Some((offset, _, places, problem)) = last.take() {
        scan.places.extend(places);
        scan.damage.extend(problem.map(|problem| (offset, problem)));
    }
}

fn expected(scan: &Scan, last: &Option<(u64, u32, Vec<Place>, Option<String>)>) -> usize {
    scan.places.len() + last.as_ref().map_or(0, |(_, _, places, _)| places.len())
}

fn finish(scan: &mut Scan, mut last: Option<(u64, u32, Vec<Place>, Option<String>)>, complete: Option<u32>) {
    let cut = match complete {
        // It lies past what the next file's head counts: its writing failed, and the cut was lost with the power.
        Some(records) => scan.places.len() >= records as usize,
        None => last.as_ref().is_some_and(|(_, _, _, problem)| problem.is_some()),
    };
    if cut {
        if let Some((offset, count, ..)) = last {
            scan.torn = Some((offset, count));
            scan.end = offset;
        }
        return;
    }
    settle(scan, &mut last);
    if let Some(records) = complete.filter(|records| *records as usize > scan.places.len()) {
        scan.damage.push((scan.end, format!("the file ends at record {} of {records}", scan.places.len())));
        scan.places.resize(records as usize, Place::default());
    }
}

/// Checks the table and every entry of a frame. A bad entry gets an empty place and is named.
fn read_group(file: &dyn DiskFile, seed: &Hasher, offset: u64, frame: &Frame) -> io::Result<(Vec<Place>, Option<String>)> {
    // The length is only claimed: a small file must not make room for a large one.
    let held = file.length()?.saturating_sub(offset);
    let mut bytes = vec![0; u64::from(frame.length).min(held) as usize];
    let read = file.read_at(&mut bytes, offset)?;
    let count = frame.count as usize;
    let lost = |problem: String| Ok((vec![Place::default(); count], Some(problem)));
    let end = table_end(count);
    if read < end {
        return lost("the group is cut off".into());
    }
    if header_crc(seed, offset, &bytes[..end - 4]).to_be_bytes() != bytes[end - 4..end] {
        return lost(format!("the table of {count} records is damaged"));
    }
    let mut places = Vec::with_capacity(count);
    let (mut at, mut bad) = (end, 0);
    for slot in 0..count {
        let table = FRAME_HEADER + 4 * slot;
        let length = u32::from_be_bytes([bytes[table], bytes[table + 1], bytes[table + 2], bytes[table + 3]]);
        let entry = bytes.get(at..at.saturating_add(length as usize)).filter(|_| at + length as usize <= read);
        let good = entry.is_some_and(|entry| decode_checked(seed, frame.first + slot as u32, entry).is_some());
        places.push(if good { Place { offset: offset + at as u64, length } } else { Place::default() });
        bad += usize::from(!good);
        at = at.saturating_add(length as usize);
    }
    Ok((places, (bad > 0).then(|| format!("{bad} of {count} records are damaged"))))
}

/// Looks for the next frame behind damage. Zero pages and rubbish are skipped: only a checksum for this place of this file counts.
fn find_frame(file: &dyn DiskFile, seed: &Hasher, from: u64, length: u64, expected: u32) -> io::Result<Option<u64>> {
    let mut window = vec![0; (length - from).min(1 << 20) as usize];
    let mut at = from;
    while at < length {
        let read = file.read_at(&mut window, at)?;
        let found = find_magic(&window[..read]).find(|hit| {
            let frame = Frame::decode(seed, at + *hit as u64, &window[*hit..read]);
            frame.is_some_and(|frame| frame.first >= expected)
        });
        if let Some(hit) = found {
            return Ok(Some(at + hit as u64));
        }
        if read <= FRAME_HEADER {
            break;
        }
        // Heads that straddle two windows are seen whole in the second.
        at += (read - FRAME_HEADER + 1) as u64;
    }
    Ok(None)
}

fn find_magic(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    bytes.windows(4).enumerate().filter(|(_, window)| *window == FRAME_MAGIC).map(|(at, _)| at)
}

fn decode_checked(seed: &Hasher, index: u32, bytes: &[u8]) -> Option<()> {
    let (entry, crc) = bytes.split_last_chunk::<4>()?;
    (entry_crc(seed, index, entry).to_be_bytes() == *crc).then_some(())
}

/// Reads one entry, its checksum already cut off. `None` if it breaks the format.
fn decode_entry(epoch: u64, names: &mut Names, bytes: &Bytes) -> Option<Entry> {
    let mut fields = Fields(bytes);
    let sequence = u64::from_be_bytes(fields.take()?);
    let received_at = Timestamp::from_microsecond(i64::from_be_bytes(fields.take()?)).ok()?;
    let [transport, certainty] = fields.take()?;
    let transport = Transport::from_code(transport)?;
    let at = Timestamp::from_microsecond(i64::from_be_bytes(fields.take()?)).ok()?;
    let claimed = certainty_from_code(certainty)?.map(|certainty| EventTime { at, certainty });
    let source_length = usize::from(u16::from_be_bytes(fields.take()?));
    let policy_length = usize::from(u16::from_be_bytes(fields.take()?));
    let previous = fields.take()?;
    let source = names.source.text(fields.slice(source_length)?)?;
    let policy = names.policy.text(fields.slice(policy_length)?)?;
    let raw = bytes.slice(bytes.len() - fields.0.len()..);
    let receipt = Receipt { source, epoch, sequence, received_at, transport, claimed, policy };
    Some(Entry { receipt, previous, raw })
}

/// The last names read, shared between the records that carry them.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) source: Name,
    pub(crate) policy: Name,
}

#[derive(Default)]
pub(crate) struct Name(Option<Arc<str>>);

impl Name {
    pub(crate) fn text(&mut self, bytes: &[u8]) -> Option<Arc<str>> {
        match &self.0 {
            Some(name) if name.as_bytes() == bytes => Some(name.clone()),
            _ => {
                let name: Arc<str> = std::str::from_utf8(bytes).ok()?.into();
                self.0 = Some(name.clone());
                Some(name)
            }
        }
    }
}

/// A segment that lies in the WAL: the open one, or one that waits to be sealed.
pub(crate) struct WalSegment {
    pub(crate) header: Header,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Where each durable record lies.
    pub(crate) places: RwLock<Vec<Place>>,
    seed: Hasher,
}

impl WalSegment {
    /// Makes the file, durable with its name. One that was left there because its head was needed stays until then.
    pub(crate) fn create(disk: &dyn Disk, path: PathBuf, header: Header) -> Result<Self, Error> {
        let is_there = disk.open(&path).is_ok();
        let first = if is_there { path.with_extension("tmp") } else { path.clone() };
        let made = disk.create(&first, true).and_then(|file| {
            file.append(&header.encode())?;
            file.sync()?;
            if is_there {
                disk.rename(&first, &path)?;
            }
            disk.sync_dir(path.parent().unwrap_or(&path))?;
            Ok(file)
        });
        let file = made.map_err(|error| {
            // Half a header in the way would only cost the next open a question.
            let _ = disk.remove(&first);
            Error::io("create", &path, error)
        })?;
        Ok(Self::new(header, path, file, Vec::new()))
    }

    pub(crate) fn new(header: Header, path: PathBuf, file: Arc<dyn DiskFile>, places: Vec<Place>) -> Self {
        let seed = header.seed();
        Self { header, path, file, places: RwLock::new(places), seed }
    }

    pub(crate) fn records(&self) -> u32 {
        self.places.read().len() as u32
    }

    /// Reads records from `first` on: at most `max`, and no more than `max_bytes` after the first. `None` stands for a lost record.
    /// Neighbours are read from the file in one piece and share it.
    pub(crate) fn read(&self, first: u32, max: usize, max_bytes: usize) -> Result<Vec<Option<Entry>>, Error> {
        let places: Vec<Place> = {
            let all = self.places.read();
            let mut budget = max_bytes;
            let wanted = all.iter().skip(first as usize).take(max);
            let within = wanted.enumerate().take_while(|(n, place)| {
                let fits = *n == 0 || place.length as usize <= budget;
                budget = budget.saturating_sub(place.length as usize);
                fits
            });
            within.map(|(_, place)| *place).collect()
        };
        let present = || places.iter().filter(|place| place.length > 0);
        let start = present().map(|place| place.offset).next().unwrap_or(0);
        let end = present().map(|place| place.offset + u64::from(place.length)).next_back().unwrap_or(0);
        // Damage can lie between two records; it is at most as long as the file.
        let mut block = vec![0; (end - start) as usize];
        let read = self.file.read_at(&mut block, start).map_err(|error| Error::io("read", &self.path, error))?;
        block.truncate(read);
        let block = Bytes::from(block);
        let mut names = Names::default();
        places
            .iter()
            .zip(first..)
            .map(|(place, index)| {
                if place.length == 0 {
                    return Ok(None);
                }
                let from = (place.offset - start) as usize;
                self.entry(&block, from, place.length as usize, index, &mut names).map(Some)
            })
            .collect()
    }

    fn entry(&self, block: &Bytes, from: usize, length: usize, index: u32, names: &mut Names) -> Result<Entry, Error> {
        let damaged = || Error::Segment {
            segment: self.header.segment,
            reason: format!("record {index} in the write-ahead log is damaged"),
        };
        if from + length > block.len() {
            return Err(damaged());
        }
        let bytes = block.slice(from..from + length);
        decode_checked(&self.seed, index, &bytes).ok_or_else(damaged)?;
        decode_entry(self.header.epoch, names, &bytes.slice(..length - 4)).ok_or_else(damaged)
    }
}

fn table_end(count: usize) -> usize {
    FRAME_HEADER + 4 * count + 4
}

fn header_crc(seed: &Hasher, offset: u64, bytes: &[u8]) -> u32 {
    let mut hasher = seed.clone();
    hasher.update(&offset.to_be_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn entry_crc(seed: &Hasher, index: u32, bytes: &[u8]) -> u32 {
    let mut hasher = seed.clone();
    hasher.update(&index.to_be_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Takes fixed fields off the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }
}

/// Where the first frame starts.
pub const HEADER_LENGTH: usize = 4096;
/// Largest frame: a group stays below 64 MiB unless one batch alone is larger, and a batch is at most 64 MiB raw.
pub(crate) const MAX_FRAME: usize = 160 << 20;
/// Records of one file, so that a made-up number in a frame or head costs no more than a bounded list of places: those after which a segment is
/// closed, and the group that goes past them, which has less than 3 × 2^20 in [`MAX_FRAME`].
const RECORDS_MAX: usize = 4 * SEGMENT_RECORDS_MAX as usize;
/// A segment is closed when it has so many, whatever its options say.
pub(crate) const SEGMENT_RECORDS_MAX: u32 = 1 << 20;
/// Bytes an entry takes besides its names and raw bytes, table row included.
pub(crate) const ENTRY_OVERHEAD: usize = 8 + 8 + 2 + 8 + 4 + 32 + 4 + 4;
const FRAME_HEADER: usize = 24;
const FILE_MAGIC: &[u8; 8] = b"RVWAL\0\0\x01";
const FRAME_MAGIC: &[u8; 4] = b"RVF1";
