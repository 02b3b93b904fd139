//! The write-ahead log: what was acknowledged and is not sealed yet. `docs/spec/wal.md`, *Frames* and *Checking*.
use std::io;

use crc32fast::Hasher;

use crate::{Files, RecordRange, Report, bytes::Bytes};

/// Numbers of the files with eight digits, or more where eight do not hold it, and this ending; ascending.
pub(crate) fn numbers(names: &[String], ending: &str) -> Vec<u32> {
    let number = |name: &String| {
        let number = name.strip_suffix(ending)?.parse().ok()?;
        (format!("{number:08}{ending}") == *name).then_some(number)
    };
    let mut numbers: Vec<u32> = names.iter().filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// Checks the files of segments that are not sealed.
pub(crate) fn check(files: &dyn Files, numbers: &[u32], sealed: u64, report: &mut Report) {
    let open: Vec<u32> = numbers.iter().copied().filter(|number| u64::from(*number) >= sealed).collect();
    let wals: Vec<io::Result<Vec<u8>>> = open.iter().map(|segment| files.read(&name(*segment), u64::MAX)).collect();
    let heads: Vec<_> = open.iter().zip(&wals).map(|(segment, wal)| head(wal.as_ref().ok()?, *segment)).collect();
    let mut expected = sealed;
    for (n, (segment, wal)) in open.iter().copied().zip(&wals).enumerate() {
        if u64::from(segment) > expected {
            // A file with a far-off number leaves millions: the first tell enough.
            let missing = (expected..u64::from(segment)).take(MISSING_NAMED);
            let missing = missing.map(|missing| RecordRange::all(missing as u32, None)).collect();
            report.fault("LEDGER-025", name(segment), "files before it are missing", missing);
        }
        expected = u64::from(segment) + 1;
        let complete = heads.get(n + 1).and_then(|next| Some(next.as_ref()?.1));
        let lost = |what: String| Found::lost(0, complete.unwrap_or(u32::MAX), what);
        let found = match (wal, &heads[n]) {
            (Ok(bytes), Some((seed, _))) => Wal { bytes, seed }.scan(complete),
            (Ok(bytes), None) if n + 1 < open.len() || bytes.len() > HEAD_LENGTH => {
                lost("both copies of its head are damaged".into())
            }
            (Err(error), _) if error.kind() != io::ErrorKind::NotFound => lost(format!("it cannot be read: {error}")),
            // A head that was not finished; or gone since the folder was listed: it was sealed meanwhile.
            _ => Found::default(),
        };
        found.report(segment, report);
    }
}

fn name(segment: u32) -> String {
    format!("wal/{segment:08}.wal")
}

/// A file whose head is whole.
struct Wal<'a> {
    bytes: &'a [u8],
    /// Every checksum of the file starts with its id and epoch.
    seed: &'a Hasher,
}

struct Frame {
    is_records: bool,
    length: usize,
    first: u32,
    count: u32,
}

impl Wal<'_> {
    fn sum(&self, place: &[u8], bytes: &[u8]) -> [u8; 4] {
        let mut hasher = self.seed.clone();
        hasher.update(place);
        hasher.update(bytes);
        hasher.finalize().to_be_bytes()
    }

    /// The frame that begins at this offset and continues so many records.
    fn frame(&self, offset: usize, records: u32) -> Option<Frame> {
        let mut rest = Bytes(self.bytes.get(offset..)?);
        rest.array().filter(|magic| magic == b"RVF1")?;
        let is_records = match rest.array()? {
            [1, 0, 0, 0] => true,
            [2, 0, 0, 0] => false,
            _ => return None,
        };
        let [length, first, count] = [rest.array()?, rest.array()?, rest.array()?].map(u32::from_be_bytes);
        let sound = self.sum(&(offset as u64).to_be_bytes(), &self.bytes[offset..offset + 20]) == rest.array()?
            && (28 + 4 * u64::from(count)..=FRAME_MAX).contains(&u64::from(length))
            && first >= records
            && first.checked_add(count).is_some_and(|end| end <= RECORDS_MAX);
        sound.then_some(Frame { is_records, length: length as usize, first, count })
    }

    /// Reads all frames; `complete` is what the next file's head says this one holds.
    fn scan(&self, complete: Option<u32>) -> Found {
        // The last group is set aside until something behind it proves that it was durable.
        let (mut found, mut last, mut at) = (Found::default(), Found::default(), HEAD_LENGTH);
        loop {
            let expected = found.records + last.records;
            // Zeros and rubbish are skipped: only a checksum for its place counts.
            let next = (at..self.bytes.len()).find_map(|next| Some((next, self.frame(next, expected)?)));
            let Some((next, frame)) = next else { break };
            found.add(&mut last);
            if next > at {
                found.damage.push(format!("at byte {at} {} bytes are not what was written", next - at));
            }
            if frame.first > found.records {
                found.lose_until(frame.first, format!("a frame before byte {next} is missing"));
            }
            if frame.is_records {
                last = self.group(next, &frame);
            }
            at = next + frame.length;
        }
        // A group that is not whole, with nothing behind it, was never acknowledged; nor was one past what the next file counts.
        if complete.map_or(last.damage.is_empty(), |records| found.records < records) {
            found.add(&mut last);
        }
        if let Some(records) = complete.filter(|records| *records > found.records) {
            let what = format!("it ends at record {}, the next file says {records}", found.records);
            found.lose_until(records, what);
        }
        found
    }

    /// Checks the table and the entries of a frame.
    fn group(&self, at: usize, frame: &Frame) -> Found {
        let Frame { first, count, .. } = *frame;
        let bytes = Bytes(&self.bytes[at..]).up_to(frame.length);
        let table_end = 28 + 4 * count as usize;
        let Some((table, rest)) = bytes.split_at_checked(table_end) else {
            return Found::lost(first, count, format!("at byte {at} the group is cut off"));
        };
        let (covered, sum) = table.split_at(table_end - 4);
        if self.sum(&(at as u64).to_be_bytes(), covered) != *sum {
            return Found::lost(first, count, format!("at byte {at} the table of the group is damaged"));
        }
        let (mut rest, mut group) = (Bytes(rest), Found { records: count, ..Found::default() });
        for (index, length) in (first..).zip(covered[FRAME_HEAD..].as_chunks::<4>().0) {
            let length = u32::from_be_bytes(*length) as usize;
            let entry = rest.up_to(length);
            let sound = |(entry, sum): (&[u8], &[u8; 4])| self.sum(&index.to_be_bytes(), entry) == *sum;
            if entry.len() < length || !entry.split_last_chunk().is_some_and(sound) {
                group.lost.push((index, 1));
            }
        }
        if !group.lost.is_empty() {
            group.damage.push(format!("at byte {at} {} of {count} records are damaged", group.lost.len()));
        }
        group
    }
}

/// Seed of the checksums and number of records before: of the first copy of the head that is whole, if it is of this segment.
fn head(bytes: &[u8], segment: u32) -> Option<(Hasher, u32)> {
    let copies = bytes[..bytes.len().min(HEAD_LENGTH)].chunks(HEAD_LENGTH / 2);
    let (of, seed, records_before) = copies.into_iter().find_map(copy)?;
    (of == segment).then_some((seed, records_before))
}

fn copy(bytes: &[u8]) -> Option<(u32, Hasher, u32)> {
    let mut rest = Bytes(bytes);
    rest.array().filter(|magic| magic == b"RVWAL\0\0\x01")?;
    let segment = u32::from_be_bytes(rest.array()?);
    let (epoch, file_id, _secret) = (rest.take(8)?, rest.take(16)?, rest.take(32)?);
    let records_before = u32::from_be_bytes(rest.array()?);
    let covered = bytes.len() - rest.0.len();
    let sound = crc32fast::hash(&bytes[..covered]).to_be_bytes() == rest.array()? && records_before <= RECORDS_MAX;
    let mut seed = Hasher::new();
    seed.update(file_id);
    seed.update(epoch);
    sound.then_some((segment, seed, records_before))
}

/// What a file, or a group in it, holds.
#[derive(Default)]
struct Found {
    /// Lost ones included.
    records: u32,
    /// First index and count.
    lost: Vec<(u32, u32)>,
    damage: Vec<String>,
}

impl Found {
    /// Nothing of so many records.
    fn lost(first: u32, count: u32, what: String) -> Self {
        Self { records: count, lost: vec![(first, count)], damage: vec![what] }
    }

    fn add(&mut self, group: &mut Self) {
        let Self { records, lost, damage } = std::mem::take(group);
        self.records += records;
        self.lost.extend(lost);
        self.damage.extend(damage);
    }

    /// The records up to `to` are not there.
    fn lose_until(&mut self, to: u32, what: String) {
        let (first, count) = (self.records, to - self.records);
        self.add(&mut Self::lost(first, count, what));
    }

    fn report(self, segment: u32, report: &mut Report) {
        let lost = self.lost.iter().filter(|(_, count)| *count > 0);
        let lost: Vec<_> = lost.map(|(first, count)| RecordRange { segment, first: *first, count: *count }).collect();
        report.unsealed_records += u64::from(self.records) - lost.iter().map(|range| u64::from(range.count)).sum::<u64>();
        if !self.damage.is_empty() {
            report.fault("LEDGER-025", name(segment), self.damage.join("; "), lost);
        }
    }
}

const MISSING_NAMED: usize = 1000;
const HEAD_LENGTH: usize = 4096;
const FRAME_HEAD: usize = 24;
const FRAME_MAX: u64 = 160 << 20;
/// Of one file: a group begins below 2^17 records, and itself has less than 2^22.
const RECORDS_MAX: u32 = 1 << 22;
