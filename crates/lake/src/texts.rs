//! Words and patterns in raw bytes: found in the order records lie in the record, a stretch at a time, not event by event.
//!
//! Filters beside the lake say which stretches cannot hold the text; the others are read and tested on their bytes. What comes out is the
//! set of records that hold it, and the scan of events asks that set.

use std::{
    collections::BTreeSet,
    fmt, io,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray},
    datatypes::Int64Type,
};
use bytes::Bytes;
use hashbrown::HashMap;
use lru::LruCache;
use parking_lot::Mutex;
use reeve_record::RecordId;
use regex::bytes::Regex;

use crate::{
    RawStore,
    functions::CHUNKED,
    native::Natives,
    needles::{self, Builder, Grams},
};

/// A test on the text of an event.
#[derive(Debug)]
pub(crate) struct TextTest {
    /// The test in words, unique to it.
    pub(crate) said: String,
    /// What decides.
    pub(crate) pattern: Regex,
    /// Texts that all stand in whatever the pattern matches.
    pub(crate) literals: Vec<Grams>,
    /// Whether a match can reach over the end of a line, and so over the records of a joined event.
    pub(crate) spanning: bool,
}

/// Which records of one segment hold a text.
#[derive(Debug, Default)]
struct Verdict {
    records: u32,
    hits: Bits,
    missing: Bits,
}

#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn set(&mut self, index: u32) {
        let word = index as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (index % 64);
    }

    fn has(&self, index: u32) -> bool {
        self.0.get(index as usize / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }
}

/// What is known of one record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Hit,
    Miss,
    /// Not looked at, or not there when it was.
    Nothing,
}

/// The records that hold a text, in the segments that were looked at.
pub(crate) struct Found {
    pub(crate) test: Arc<TextTest>,
    raw: Arc<dyn RawStore>,
    segments: HashMap<u32, Arc<Verdict>>,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {} in {} segments", self.test.said, self.segments.len())
    }
}

impl Found {
    fn known(&self, packed: i64) -> Known {
        let id = RecordId::unpack(packed.cast_unsigned());
        match self.segments.get(&id.segment) {
            Some(verdict) if verdict.hits.has(id.index) => Known::Hit,
            Some(verdict) if id.index < verdict.records && !verdict.missing.has(id.index) => Known::Miss,
            _ => Known::Nothing,
        }
    }

    /// Whether any record between these (packed ids, inclusive) holds the text; `None` if not all of them are known.
    pub(crate) fn between(&self, low: i64, high: i64) -> Option<bool> {
        let (low, high) = (RecordId::unpack(low.cast_unsigned()), RecordId::unpack(high.cast_unsigned()));
        let mut any = false;
        for segment in low.segment..=high.segment {
            let verdict = self.segments.get(&segment)?;
            if !verdict.missing.0.is_empty() || (segment == high.segment && high.index >= verdict.records) {
                return None;
            }
            any |= !verdict.hits.0.is_empty();
        }
        Some(any)
    }

    /// For events of one record each, all of them known.
    pub(crate) fn of_known(&self, records: &Int64Array) -> BooleanArray {
        records.values().iter().map(|id| Some(self.known(*id) == Known::Hit)).collect()
    }

    /// For any events: those of binary chunks and of records that are gone are tested on their native values, those whose records were
    /// not looked at on bytes fetched now.
    pub(crate) fn of_all(
        &self,
        records: &Int64Array,
        lists: &ListArray,
        natives: &Natives<'_>,
        decoder: impl Fn(usize) -> bool,
    ) -> io::Result<BooleanArray> {
        let several = lists.values().as_primitive_opt::<Int64Type>();
        let ids = |row: usize| -> Vec<i64> {
            match several.filter(|_| lists.is_valid(row)) {
                Some(several) => {
                    let offsets = lists.value_offsets();
                    several.values()[offsets[row] as usize..offsets[row + 1] as usize].to_vec()
                }
                None => vec![records.value(row)],
            }
        };
        let mut unsure = Vec::new();
        let mut holds: Vec<bool> = Vec::with_capacity(records.len());
        for row in 0..records.len() {
            if decoder(row) {
                holds.push(self.in_natives(natives, row));
                continue;
            }
            let ids = ids(row);
            let known = self.of_one(&ids);
            holds.push(known == Known::Hit);
            if known == Known::Nothing {
                unsure.push((row, ids));
            }
        }
        self.fetch(&unsure, natives, &mut holds)?;
        Ok(holds.into())
    }

    fn of_one(&self, ids: &[i64]) -> Known {
        if ids.len() > 1 && self.test.spanning {
            return Known::Nothing;
        }
        let mut known = Known::Miss;
        for id in ids {
            match self.known(*id) {
                Known::Hit => return Known::Hit,
                Known::Nothing => known = Known::Nothing,
                Known::Miss => {}
            }
        }
        known
    }

    fn in_natives(&self, natives: &Natives<'_>, row: usize) -> bool {
        natives
            .entries(row)
            .any(|place| natives.values.is_valid(place) && self.test.pattern.is_match(natives.values.value(place).as_bytes()))
    }

    fn fetch(&self, unsure: &[(usize, Vec<i64>)], natives: &Natives<'_>, holds: &mut [bool]) -> io::Result<()> {
        if unsure.is_empty() {
            return Ok(());
        }
        let wanted: BTreeSet<i64> = unsure.iter().flat_map(|(_, ids)| ids).copied().collect();
        let wanted: Vec<RecordId> = wanted.into_iter().map(|id| RecordId::unpack(id.cast_unsigned())).collect();
        let found = self.raw.get_many(&wanted)?;
        for (row, ids) in unsure {
            let ids = ids.iter().map(|id| RecordId::unpack(id.cast_unsigned()));
            let parts: Vec<&Bytes> =
                ids.filter_map(|id| found.get(wanted.binary_search(&id).ok()?).and_then(Option::as_ref)).collect();
            holds[*row] = match parts.as_slice() {
                [] => self.in_natives(natives, *row),
                [one] => self.test.pattern.is_match(one),
                _ => self.test.pattern.is_match(&parts.iter().map(AsRef::as_ref).collect::<Vec<&[u8]>>().join(&b'\n')),
            };
        }
        Ok(())
    }
}

/// Whether events of this decoder are tested on their native values.
pub(crate) fn is_chunked(decoder: &str) -> bool {
    decoder == CHUNKED
}

/// Looks for texts in the record, and keeps the filters that make it fast.
pub(crate) struct TextSearch {
    raw: Arc<dyn RawStore>,
    folder: PathBuf,
    threads: usize,
    /// Answers of sealed segments by test and segment: they never change.
    known: Mutex<LruCache<(String, u32), Arc<Verdict>>>,
    /// Every segment before this one has filters.
    next: AtomicU32,
}

impl fmt::Debug for TextSearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "text search, filters in {}", self.folder.display())
    }
}

const KNOWN_MAX: usize = 4096;
/// Records read together where no filter says which.
const STRETCH: u32 = 512;

impl TextSearch {
    pub(crate) fn new(raw: Arc<dyn RawStore>, folder: PathBuf, threads: usize) -> Self {
        Self {
            raw,
            folder,
            threads,
            known: Mutex::new(LruCache::new(NonZeroUsize::MIN.saturating_add(KNOWN_MAX - 1))),
            next: AtomicU32::new(0),
        }
    }

    /// The records of these segments that pass the test; `None` if the store of raw bytes cannot be read in order.
    pub(crate) fn find(&self, test: &Arc<TextTest>, segments: &BTreeSet<u32>) -> io::Result<Option<Found>> {
        let there: Vec<u32> = segments.iter().copied().filter(|segment| self.raw.segment(*segment).is_some()).collect();
        if there.is_empty() && !segments.is_empty() {
            return Ok(None);
        }
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while let Some(segment) = there.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push((*segment, self.verdict(test, *segment)?));
            }
            io::Result::Ok(done)
        };
        let threads = self.threads.clamp(1, there.len().max(1));
        let mut all = HashMap::new();
        std::thread::scope(|scope| {
            let running: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let own = work();
            let others =
                running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))));
            for part in std::iter::once(own).chain(others) {
                all.extend(part?);
            }
            io::Result::Ok(())
        })?;
        Ok(Some(Found { test: test.clone(), raw: self.raw.clone(), segments: all }))
    }

    fn verdict(&self, test: &TextTest, segment: u32) -> io::Result<Arc<Verdict>> {
        let Some(info) = self.raw.segment(segment) else { return Ok(Arc::default()) };
        let key = (test.said.clone(), segment);
        if info.sealed
            && let Some(known) = self.known.lock().get(&key)
        {
            return Ok(known.clone());
        }
        let mut verdict = Verdict { records: info.records, ..Verdict::default() };
        for stretch in self.candidates(test, segment, &info) {
            let records = self.raw.stretch(segment, stretch.clone())?;
            let mut expected = stretch.start;
            for (index, raw) in &records {
                (expected..*index).for_each(|missing| verdict.missing.set(missing));
                expected = index + 1;
                if test.pattern.is_match(raw) {
                    verdict.hits.set(*index);
                }
            }
            (expected..stretch.end).for_each(|missing| verdict.missing.set(missing));
        }
        let verdict = Arc::new(verdict);
        if info.sealed {
            self.known.lock().put(key, verdict.clone());
        }
        Ok(verdict)
    }

    /// The stretches of a segment that may hold the text.
    fn candidates(&self, test: &TextTest, segment: u32, info: &RawSegment) -> Vec<std::ops::Range<u32>> {
        let filters =
            if info.sealed && !test.literals.is_empty() { needles::load(&self.folder, segment, info.records) } else { None };
        match filters {
            Some(needles) => needles.candidates(&test.literals).collect(),
            None => (0..info.records)
                .step_by(STRETCH as usize)
                .map(|first| first..first.saturating_add(STRETCH).min(info.records))
                .collect(),
        }
    }

    /// Makes the filters of one sealed segment that has none; `None` if all have. `go_on` is asked between stretches.
    pub(crate) fn index_next(&self, go_on: &dyn Fn() -> bool) -> io::Result<Option<Indexed>> {
        loop {
            let segment = self.next.load(Ordering::Relaxed);
            let Some(info) = self.raw.segment(segment).filter(|info| info.sealed) else { return Ok(None) };
            if !needles::is_there(&self.folder, segment) {
                let Some(done) = self.index(segment, &info, go_on)? else { return Ok(None) };
                self.next.store(segment + 1, Ordering::Relaxed);
                return Ok(Some(done));
            }
            self.next.store(segment + 1, Ordering::Relaxed);
        }
    }

    fn index(&self, segment: u32, info: &RawSegment, go_on: &dyn Fn() -> bool) -> io::Result<Option<Indexed>> {
        let mut builder = Builder::new(segment, info.records);
        let mut raw_bytes = 0;
        for first in (0..info.records).step_by(STRETCH as usize) {
            if !go_on() {
                return Ok(None);
            }
            let end = first.saturating_add(STRETCH).min(info.records);
            let records = self.raw.stretch(segment, first..end)?;
            raw_bytes += records.iter().map(|(_, raw)| raw.len() as u64).sum::<u64>();
            builder.add(&records, end);
        }
        let bytes = needles::save(&self.folder, &builder.finish())?;
        Ok(Some(Indexed { segment, records: info.records, raw_bytes, bytes }))
    }

    /// Forgets what filters and answers tell of a segment whose bytes are destroyed or changed.
    pub(crate) fn forget(&self, segment: u32) -> io::Result<()> {
        let mut known = self.known.lock();
        let stale: Vec<_> = known.iter().map(|(key, _)| key).filter(|key| key.1 == segment).cloned().collect();
        stale.iter().for_each(|key| {
            known.pop(key);
        });
        drop(known);
        self.next.fetch_min(segment, Ordering::Relaxed);
        needles::remove(&self.folder, segment)
    }
}

/// A segment of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawSegment {
    /// How many records it has, lost ones included.
    pub records: u32,
    /// Whether it is sealed: no record will be added.
    pub sealed: bool,
}

/// Filters that were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Indexed {
    /// The segment of the record they are about.
    pub segment: u32,
    /// Its records.
    pub records: u32,
    /// Their raw bytes.
    pub raw_bytes: u64,
    /// Bytes of the filters.
    pub bytes: u64,
}

/// The decoder column as a test of rows.
pub(crate) fn chunked_rows(decoders: &ArrayRef) -> impl Fn(usize) -> bool + use<> {
    let views = arrow::compute::cast(decoders, &arrow::datatypes::DataType::Utf8View).ok();
    move |row| views.as_ref().is_some_and(|views| is_chunked(views.as_string_view().value(row)))
}
