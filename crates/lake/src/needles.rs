//! Filters over the raw bytes of sealed record segments: which stretches of records cannot hold a text.
//!
//! Format: docs/spec/lake.md, *Needle filters*. Derived from the record and never trusted further than to leave stretches out: what a
//! filter lets pass is tested on the bytes, and a filter that is missing or damaged lets everything pass.

use std::{
    borrow::Cow,
    fs,
    io::{self, Write as _},
    ops::Range,
    path::{Path, PathBuf},
};

use bytes::Bytes;

/// Bytes of a gram.
pub(crate) const GRAM: usize = 5;
/// Records of a granule at most.
const GRANULE_RECORDS: u32 = 4096;
/// Raw bytes of a granule, about, at most.
const GRANULE_BYTES: usize = 4 << 20;
/// Different values a gram is reduced to: 2 to this.
const ID_BITS: u32 = 22;
/// Bits of filter a gram.
const BITS_PER_GRAM: usize = 4;
const MAGIC: &[u8; 8] = b"RVGRAM01";
const HEAD: usize = 20;
const ENTRY: usize = 12;

/// The filters of one sealed segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Needles {
    segment: u32,
    records: u32,
    granules: Vec<Granule>,
}

#[derive(Debug, PartialEq, Eq)]
struct Granule {
    first: u32,
    /// Records that were not there when the filter was made.
    missing: u32,
    words: Vec<u64>,
}

impl Needles {
    /// Stretches of records in which all of `texts` may stand, in any letter case. Texts shorter than a gram may stand anywhere.
    pub(crate) fn candidates(&self, texts: &[Grams]) -> impl Iterator<Item = Range<u32>> {
        (0..self.granules.len())
            .filter(|at| {
                let granule = &self.granules[*at];
                granule.missing > 0 || texts.iter().all(|text| text.may_be_in(&granule.words))
            })
            .map(|at| self.granules[at].first..self.granules.get(at + 1).map_or(self.records, |next| next.first))
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for number in [self.segment, self.records, length(self.granules.len())] {
            out.extend(number.to_le_bytes());
        }
        for granule in &self.granules {
            for number in [granule.first, granule.missing, length(granule.words.len())] {
                out.extend(number.to_le_bytes());
            }
        }
        self.granules.iter().flat_map(|granule| &granule.words).for_each(|word| out.extend(word.to_le_bytes()));
        out.extend(crc32fast::hash(&out).to_le_bytes());
        out
    }

    /// Reads a file; `None` if it is damaged or of another segment.
    fn from_bytes(bytes: &[u8], segment: u32, records: u32) -> Option<Self> {
        let (body, checksum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) || !body.starts_with(MAGIC) {
            return None;
        }
        let number = |at: usize| Some(u32::from_le_bytes(body.get(at..at + 4)?.try_into().ok()?));
        if (number(8)?, number(12)?) != (segment, records) {
            return None;
        }
        let count = number(16)? as usize;
        let mut at = HEAD + count.checked_mul(ENTRY)?;
        let mut granules = Vec::with_capacity(count.min(body.len() / ENTRY));
        for entry in (0..count).map(|nth| HEAD + nth * ENTRY) {
            let end = at.checked_add((number(entry + 8)? as usize).checked_mul(8)?)?;
            let words = body.get(at..end)?.chunks_exact(8).filter_map(|word| word.try_into().ok()).map(u64::from_le_bytes);
            granules.push(Granule { first: number(entry)?, missing: number(entry + 4)?, words: words.collect() });
            at = end;
        }
        (at == body.len()).then_some(Self { segment, records, granules })
    }
}

/// The grams of a text that is looked for: those of each of its spellings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grams {
    any: Vec<Vec<u32>>,
}

impl Grams {
    /// For a text that may be spelled in any of these ways.
    pub(crate) fn of(spellings: &[String]) -> Self {
        Self { any: spellings.iter().map(|text| grams_of(text)).collect() }
    }

    fn may_be_in(&self, words: &[u64]) -> bool {
        self.any.iter().any(|all| all.iter().all(|gram| is_in(words, *gram)))
    }
}

/// Letters beyond ASCII are spelled in ways a filter of bytes does not know: only what stands between them counts.
fn grams_of(text: &str) -> Vec<u32> {
    let mut grams = Vec::new();
    for part in text.split(|letter: char| !letter.is_ascii()) {
        each_gram(part.as_bytes(), |gram| grams.push(gram));
    }
    grams
}

fn each_gram(text: &[u8], mut take: impl FnMut(u32)) {
    let mut key = 0_u64;
    for (at, byte) in text.iter().enumerate() {
        key = ((key << 8) | u64::from(byte.to_ascii_lowercase())) & 0xff_ffff_ffff;
        if at + 1 >= GRAM {
            take((key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - ID_BITS)) as u32);
        }
    }
}

/// The word of a filter that a gram is in, and its bits there.
fn place(gram: u32, words: usize) -> (usize, u64) {
    let mixed = u64::from(gram).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let word = ((mixed >> 32) * words as u64) >> 32;
    (word as usize, (1 << ((mixed >> 20) & 63)) | (1 << ((mixed >> 26) & 63)))
}

fn is_in(words: &[u64], gram: u32) -> bool {
    let (word, bits) = place(gram, words.len());
    words.get(word).is_some_and(|word| word & bits == bits)
}

/// Makes the filters of a segment from its records, told in order.
pub(crate) struct Builder {
    needles: Needles,
    next: u32,
    bytes: usize,
    /// Which grams stand in the granule so far.
    seen: Vec<u64>,
}

impl Builder {
    /// For a segment of so many records.
    pub(crate) fn new(segment: u32, records: u32) -> Self {
        let needles = Needles { segment, records, granules: Vec::new() };
        let mut builder = Self { needles, next: 0, bytes: 0, seen: vec![0; 1 << (ID_BITS - 6)] };
        builder.needles.granules.push(Granule { first: 0, missing: 0, words: Vec::new() });
        builder
    }

    /// Adds a stretch: the records there are, of the indexes up to `end`.
    pub(crate) fn add(&mut self, records: &[(u32, Bytes)], end: u32) {
        for (index, raw) in records {
            self.skip_to(*index);
            let seen = &mut self.seen;
            each_gram(&plain_letters(raw), |gram| seen[gram as usize / 64] |= 1 << (gram % 64));
            self.bytes += raw.len();
            self.next = index + 1;
            self.end_if_full();
        }
        self.skip_to(end);
    }

    fn skip_to(&mut self, index: u32) {
        while self.next < index {
            if let Some(granule) = self.needles.granules.last_mut() {
                granule.missing += 1;
            }
            self.next += 1;
            self.end_if_full();
        }
    }

    fn end_if_full(&mut self) {
        let first = self.needles.granules.last().map_or(0, |granule| granule.first);
        let full = self.next - first >= GRANULE_RECORDS || self.bytes >= GRANULE_BYTES;
        if full && self.next < self.needles.records {
            self.end_granule();
            self.needles.granules.push(Granule { first: self.next, missing: 0, words: Vec::new() });
        }
    }

    fn end_granule(&mut self) {
        let count: usize = self.seen.iter().map(|word| word.count_ones() as usize).sum();
        let mut words = vec![0; (count * BITS_PER_GRAM).div_ceil(64).max(1)];
        for (at, seen) in self.seen.iter_mut().enumerate() {
            let mut left = std::mem::take(seen);
            while left != 0 {
                let (word, bits) = place(at as u32 * 64 + left.trailing_zeros(), words.len());
                words[word] |= bits;
                left &= left - 1;
            }
        }
        if let Some(granule) = self.needles.granules.last_mut() {
            granule.words = words;
        }
        self.bytes = 0;
    }

    /// The filters; every record has been told.
    pub(crate) fn finish(mut self) -> Needles {
        self.skip_to(self.needles.records);
        self.end_granule();
        self.needles
    }
}

/// The two letters beyond ASCII that a search without letter case takes for ASCII ones: the Kelvin sign and the long s.
fn plain_letters(raw: &[u8]) -> Cow<'_, [u8]> {
    const ALIKE: [(&[u8], u8); 2] = [("\u{212a}".as_bytes(), b'k'), ("\u{17f}".as_bytes(), b's')];
    if raw.is_ascii() || ALIKE.iter().all(|(letter, _)| memchr::memmem::find(raw, letter).is_none()) {
        return Cow::Borrowed(raw);
    }
    let (mut out, mut left) = (Vec::with_capacity(raw.len()), raw);
    while let Some((first, rest)) = left.split_first() {
        match ALIKE.iter().find(|(letter, _)| left.starts_with(letter)) {
            Some((letter, plain)) => {
                out.push(*plain);
                left = &left[letter.len()..];
            }
            None => {
                out.push(*first);
                left = rest;
            }
        }
    }
    Cow::Owned(out)
}

/// Where the filters of a segment are kept.
fn path_of(folder: &Path, segment: u32) -> PathBuf {
    folder.join(format!("{segment:08}.needles"))
}

/// Whether a segment has filters.
pub(crate) fn is_there(folder: &Path, segment: u32) -> bool {
    path_of(folder, segment).is_file()
}

/// The filters of a segment; `None` if there are none that can be used.
pub(crate) fn load(folder: &Path, segment: u32, records: u32) -> Option<Needles> {
    let path = path_of(folder, segment);
    let bytes = fs::read(&path).ok()?;
    let needles = Needles::from_bytes(&bytes, segment, records);
    if needles.is_none() {
        tracing::warn!(path = %path.display(), "needle filters are damaged or of another record; they are made anew");
        let _ = fs::remove_file(&path);
    }
    needles
}

/// Keeps filters; whole or not at all. Returns their size in bytes.
pub(crate) fn save(folder: &Path, needles: &Needles) -> io::Result<u64> {
    let path = path_of(folder, needles.segment);
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let bytes = needles.to_bytes();
    let mut file = fs::File::create(&part)?;
    file.write_all(&bytes)?;
    // Not needed for truth, the checksum sees to that, but a filter lost to a power cut costs the making again.
    file.sync_all()?;
    fs::rename(&part, &path)?;
    Ok(bytes.len() as u64)
}

/// Removes the filters of a segment, as when its records are destroyed.
pub(crate) fn remove(folder: &Path, segment: u32) -> io::Result<()> {
    match fs::remove_file(path_of(folder, segment)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn length(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(raws: &[&str]) -> Needles {
        let mut builder = Builder::new(7, raws.len() as u32);
        let records: Vec<_> = raws.iter().zip(0..).map(|(raw, index)| (index, Bytes::from((*raw).to_owned()))).collect();
        builder.add(&records, raws.len() as u32);
        builder.finish()
    }

    fn finds(needles: &Needles, text: &str) -> Vec<Range<u32>> {
        needles.candidates(&[Grams::of(&[text.to_owned()])]).collect()
    }

    #[test]
    fn texts_are_found_in_any_case_and_absent_ones_left_out() {
        let needles = made(&["the quick brown fox", "jumps over 10.0.3.77", "\u{212a}elvin \u{17f}pelled"]);
        for there in ["QUICK brown", "0.3.77", "kelvin", "SPELLED", "fox", "brown\u{e9}", ""] {
            assert_eq!(finds(&needles, there), std::slice::from_ref(&(0..3)), "{there}");
        }
        for absent in ["quick-brown", "10.0.4.77", "lazy dog"] {
            assert!(finds(&needles, absent).is_empty(), "{absent}");
        }
    }

    #[test]
    fn the_example_of_the_format_holds() {
        assert_eq!(grams_of("fox10"), [2_056_558]);
        assert_eq!(place(2_056_558, 10), (4, 1 << 8 | 1 << 50));
    }

    #[test]
    fn granules_end_by_number_and_what_is_missing_may_be_anything() {
        let mut builder = Builder::new(0, 10_000);
        builder.add(&[(5000, Bytes::from_static(b"a needle in the hay"))], 10_000);
        let needles = builder.finish();
        let all = vec![0..4096, 4096..8192, 8192..10_000];
        assert_eq!(finds(&needles, "nothing like it"), all);
        let records: Vec<_> = (0..10_000).map(|index| (index, Bytes::from(format!("record {index} of many")))).collect();
        let mut builder = Builder::new(0, 10_000);
        builder.add(&records[..6000], 6000);
        builder.add(&records[6000..], 10_000);
        let needles = builder.finish();
        assert_eq!(finds(&needles, "record 9876"), vec![8192..10_000]);
        assert_eq!(finds(&needles, "of many"), all);
    }

    #[test]
    fn files_are_read_back_and_damage_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let needles = made(&["one", "two with more text", "three"]);
        let size = save(folder.path(), &needles).unwrap() as usize;
        assert_eq!(load(folder.path(), 7, 3).unwrap(), needles);
        let path = path_of(folder.path(), 7);
        let good = fs::read(&path).unwrap();
        for bit in 0..size * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Needles::from_bytes(&bad, 7, 3).is_none(), "bit {bit}");
        }
        for end in 0..size {
            assert!(Needles::from_bytes(&good[..end], 7, 3).is_none(), "cut at {end}");
        }
        assert!(load(folder.path(), 7, 4).is_none(), "of another record");
        assert!(!is_there(folder.path(), 7), "and gone");
    }
}
