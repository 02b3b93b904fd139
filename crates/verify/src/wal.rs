//! The write-ahead log: what was acknowledged and is not sealed yet. `docs/spec/wal.md`, *Frames* and *Checking*.
use std::io;

use crc32fast::Hasher;

use crate::{Files, RecordRange, Report, files::read_part, record::Fields};

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
    let heads: Vec<_> = open.iter().map(|number| head(files, *number)).collect();
    let mut expected = sealed;
    for (n, (number, head)) in open.iter().zip(&heads).enumerate() {
        let place = format!("wal/{number:08}.wal");
        let next = heads.get(n + 1).and_then(|next| next.as_ref().ok()?.as_ref()).map(|next| next.records_before);
        let whole = || vec![RecordRange { segment: *number, first: 0, count: next.unwrap_or(u32::MAX) }];
        let mut fault = |what: &str, records| report.fault("LEDGER-025", &place, what, records);
        if u64::from(*number) > expected {
            // A file with a far-off number leaves millions: the first tell enough.
            let missing = (expected..u64::from(*number)).take(MISSING_NAMED);
            fault("files before it are missing", missing.map(|missing| RecordRange::all(missing as u32, None)).collect());
        }
        expected = u64::from(*number) + 1;
        let is_last = n + 1 == open.len();
        match head.as_ref().map(|head| head.as_ref().map(|head| scan(files, &place, head, next))) {
            Ok(Some(Ok(found))) => found.report(*number, &place, report),
            Ok(None) if is_last && files.length(&place).is_ok_and(|length| length <= HEAD_LENGTH) => {}
            Ok(None) => fault("both copies of its head are damaged", whole()),
            // Gone since the folder was listed: it was sealed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(Some(Err(error))) => fault(&format!("it cannot be read: {error}"), whole()),
            Err(error) => fault(&format!("it cannot be read: {error}"), whole()),
        }
    }
}

/// What a file's head says that checking needs.
#[derive(Clone)]
struct Head {
    /// Every checksum of the file starts with its id and epoch.
    seed: Hasher,
    records_before: u32,
}

/// The head, if one of its two copies is whole and of this segment.
fn head(files: &dyn Files, segment: u32) -> io::Result<Option<Head>> {
    let name = format!("wal/{segment:08}.wal");
    let length = files.length(&name)?;
    let bytes = read_part(files, &name, 0, length.min(HEAD_LENGTH))?;
    let found = bytes.chunks(HEAD_LENGTH as usize / 2).find_map(block);
    Ok(found.filter(|(of, _)| *of == segment).map(|(_, head)| head))
}

fn block(bytes: &[u8]) -> Option<(u32, Head)> {
    let mut fields = Fields(bytes);
    if fields.take::<8>()? != *b"RVWAL\0\0\x01" {
        return None;
    }
    let segment = u32::from_be_bytes(fields.take()?);
    let (epoch, file_id, _secret) = (fields.take::<8>()?, fields.take::<16>()?, fields.take::<32>()?);
    let records_before = u32::from_be_bytes(fields.take()?);
    let covered = bytes.len() - fields.0.len();
    let mut seed = Hasher::new();
    seed.update(&file_id);
    seed.update(&epoch);
    (crc32fast::hash(&bytes[..covered]).to_be_bytes() == fields.take()?).then_some((segment, Head { seed, records_before }))
}

struct Frame {
    is_records: bool,
    length: u64,
    first: u32,
    count: u32,
}

/// Reads the head of a frame that was written at this offset of this file.
fn frame(seed: &Hasher, offset: u64, bytes: &[u8]) -> Option<Frame> {
    let mut fields = Fields(bytes);
    if fields.take::<4>()? != *b"RVF1" {
        return None;
    }
    let is_records = match fields.take()? {
        [1, 0, 0, 0] => true,
        [2, 0, 0, 0] => false,
        _ => return None,
    };
    let [length, first, count] = [fields.take()?, fields.take()?, fields.take()?].map(u32::from_be_bytes);
    let sound = crc(seed, &offset.to_be_bytes(), bytes.get(..20)?).to_be_bytes() == fields.take()?
        && (28 + 4 * u64::from(count)..=FRAME_MAX).contains(&u64::from(length))
        && first.checked_add(count).is_some();
    sound.then_some(Frame { is_records, length: u64::from(length), first, count })
}

fn crc(seed: &Hasher, place: &[u8], bytes: &[u8]) -> u32 {
    let mut hasher = seed.clone();
    hasher.update(place);
    hasher.update(bytes);
    hasher.finalize()
}

/// What a file holds.
#[derive(Default)]
struct Found {
    /// Records so far, lost ones included.
    records: u32,
    /// First index and count.
    lost: Vec<(u32, u32)>,
    damage: Vec<String>,
}

/// The last group read, until something behind it proves that it was durable.
struct Group {
    count: u32,
    lost: Vec<(u32, u32)>,
    problem: Option<String>,
}

impl Found {
    fn settle(&mut self, group: &mut Option<Group>) {
        if let Some(group) = group.take() {
            self.records += group.count;
            self.lost.extend(group.lost);
            self.damage.extend(group.problem);
        }
    }

    /// The records up to `to` are not there.
    fn lose_until(&mut self, to: u32, what: String) {
        self.damage.push(what);
        self.lost.push((self.records, to - self.records));
        self.records = to;
    }

    fn report(self, segment: u32, place: &str, report: &mut Report) {
        let lost: u64 = self.lost.iter().map(|(_, count)| u64::from(*count)).sum();
        report.open_records += u64::from(self.records) - lost;
        if !self.damage.is_empty() {
            let records = self.lost.iter().map(|(first, count)| RecordRange { segment, first: *first, count: *count }).collect();
            report.fault("LEDGER-025", place, self.damage.join("; "), records);
        }
    }
}

/// Reads all frames; `complete` is what the next file's head says this one holds.
fn scan(files: &dyn Files, name: &str, head: &Head, complete: Option<u32>) -> io::Result<Found> {
    let length = files.length(name)?;
    let (mut found, mut last, mut at) = (Found::default(), None::<Group>, HEAD_LENGTH);
    while at < length {
        let expected = found.records + last.as_ref().map_or(0, |group| group.count);
        let bytes = read_part(files, name, at, FRAME_HEAD)?;
        let Some(frame) = frame(&head.seed, at, &bytes).filter(|frame| frame.first >= expected) else {
            let Some(next) = find_frame(files, name, &head.seed, at + 1..length, expected)? else { break };
            found.settle(&mut last);
            found.damage.push(format!("at byte {at} {} bytes are not what was written", next - at));
            at = next;
            continue;
        };
        found.settle(&mut last);
        if frame.first > found.records {
            found.lose_until(frame.first, format!("a frame before byte {at} is missing"));
        }
        if frame.is_records {
            last = Some(group(files, name, &head.seed, at, &frame)?);
        }
        at += frame.length;
    }
    // A group that is not whole, with nothing behind it, was never acknowledged; nor was one past what the next file counts.
    let acknowledged = match complete {
        Some(records) => found.records < records,
        None => last.as_ref().is_some_and(|group| group.problem.is_none()),
    };
    if acknowledged {
        found.settle(&mut last);
    }
    if let Some(records) = complete.filter(|records| *records > found.records) {
        let what = format!("it ends at record {}, the next file says {records}", found.records);
        found.lose_until(records, what);
    }
    Ok(found)
}

/// Checks the table and the entries of a frame.
fn group(files: &dyn Files, name: &str, seed: &Hasher, at: u64, frame: &Frame) -> io::Result<Group> {
    let bytes = read_part(files, name, at, frame.length)?;
    let (count, table_end) = (frame.count, 28 + 4 * frame.count as usize);
    let lost_whole = |what: &str| {
        let lost = if count > 0 { vec![(frame.first, count)] } else { Vec::new() };
        Ok(Group { count, lost, problem: Some(format!("at byte {at} {what}")) })
    };
    let Some((table, mut rest)) = bytes.split_at_checked(table_end) else { return lost_whole("the group is cut off") };
    let (covered, sum) = table.split_at(table_end - 4);
    if crc(seed, &at.to_be_bytes(), covered).to_be_bytes() != *sum {
        return lost_whole("the table of the group is damaged");
    }
    let mut lost = Vec::new();
    for (index, length) in (frame.first..).zip(covered[FRAME_HEAD as usize..].as_chunks::<4>().0) {
        let length = u32::from_be_bytes(*length) as usize;
        let (entry, behind) = rest.split_at(length.min(rest.len()));
        let whole = entry.len() == length && entry_is_sound(seed, index, entry);
        rest = behind;
        if !whole {
            lost.push((index, 1));
        }
    }
    let problem = (!lost.is_empty()).then(|| format!("at byte {at} {} of {count} records are damaged", lost.len()));
    Ok(Group { count, lost, problem })
}

fn entry_is_sound(seed: &Hasher, index: u32, entry: &[u8]) -> bool {
    let Some((entry, sum)) = entry.split_last_chunk::<4>() else { return false };
    crc(seed, &index.to_be_bytes(), entry).to_be_bytes() == *sum
}

/// The next place where a frame of this file begins. Zeros and rubbish are skipped: only a checksum for its place counts.
fn find_frame(
    files: &dyn Files,
    name: &str,
    seed: &Hasher,
    within: std::ops::Range<u64>,
    expected: u32,
) -> io::Result<Option<u64>> {
    let mut at = within.start;
    while at < within.end {
        let window = read_part(files, name, at, (within.end - at).min(WINDOW))?;
        let hit = (0..window.len()).find(|start| {
            let bytes = &window[*start..];
            bytes.starts_with(b"RVF1") && frame(seed, at + *start as u64, bytes).is_some_and(|frame| frame.first >= expected)
        });
        if let Some(start) = hit {
            return Ok(Some(at + start as u64));
        }
        if (window.len() as u64) <= FRAME_HEAD {
            break;
        }
        // A head across the edge of two windows is seen whole in the second.
        at += window.len() as u64 - FRAME_HEAD + 1;
    }
    Ok(None)
}

const MISSING_NAMED: usize = 1000;
const HEAD_LENGTH: u64 = 4096;
const FRAME_HEAD: u64 = 24;
const FRAME_MAX: u64 = 160 << 20;
const WINDOW: u64 = 1 << 20;
