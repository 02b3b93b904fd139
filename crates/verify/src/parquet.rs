//! The little of Parquet that segment files use (`docs/spec/record.md`, *Segment file*): flat columns, zstd pages of version 1, three encodings.
//!
//! Own code rather than the library that writes them: a fault there cannot hide itself here, and it builds wherever Rust does, without C.
//! Format: the Apache Parquet format specification.
use std::ops::Range;

use ruzstd::decoding::FrameDecoder;

use crate::{
    Files,
    files::read_part,
    thrift::{self, Value, varint, zigzag},
};

/// A column as the schema has to describe it.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) physical: Physical,
    /// Number of the converted type; `None` for plain bytes.
    pub(crate) converted: Option<i64>,
    pub(crate) optional: bool,
}

/// How a value is stored, with Parquet's number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Physical {
    Int32 = 1,
    Int64 = 2,
    Bytes = 6,
    /// 32 bytes.
    Hash = 7,
}

/// One value of a row.
#[derive(Clone, Copy)]
pub(crate) enum Cell<'a> {
    Null,
    Int(i64),
    Bytes(&'a [u8]),
}

/// A file whose footer was read and fits the columns wanted.
pub(crate) struct Table<'a, const N: usize> {
    files: &'a dyn Files,
    name: &'a str,
    kinds: &'static [Kind; N],
    groups: Vec<Group<N>>,
    pairs: Vec<(String, String)>,
    pub(crate) rows: u64,
}

struct Group<const N: usize> {
    rows: u64,
    /// Where each column lies in the file.
    chunks: [Range<u64>; N],
}

type Read<T> = Result<T, String>;

impl<'a, const N: usize> Table<'a, N> {
    pub(crate) fn open(files: &'a dyn Files, name: &'a str, length: u64, kinds: &'static [Kind; N]) -> Read<Self> {
        let io = |error: std::io::Error| error.to_string();
        let tail = read_part(files, name, length.saturating_sub(8), 8).map_err(io)?;
        let Some((size, b"PAR1")) = tail.split_first_chunk::<4>() else { return Err("it does not end as Parquet does".into()) };
        let size = u64::from(u32::from_le_bytes(*size));
        let start = length.checked_sub(8 + size).filter(|start| *start >= 4 && size <= FOOTER_LIMIT);
        let footer = read_part(files, name, start.ok_or("its footer has no sensible length")?, size).map_err(io)?;
        let (metadata, _) = thrift::read(&footer).ok_or("its footer is no Parquet metadata")?;
        check_schema(&metadata, kinds)?;
        let groups = metadata.list(4).unwrap_or_default();
        let groups = groups.iter().map(|group| read_group(group, kinds, length)).collect::<Option<Vec<_>>>();
        let groups = groups.ok_or("its row groups are not described as docs/spec/record.md has them")?;
        let pairs = metadata.list(5).unwrap_or_default().iter();
        let pairs = pairs.filter_map(|pair| Some((pair.text(1)?.to_owned(), pair.text(2)?.to_owned()))).collect();
        let rows = metadata.count(3).ok_or("its footer does not say how many rows it has")?;
        if groups.iter().try_fold(0u64, |sum, group| sum.checked_add(group.rows)) != Some(rows) {
            return Err("its row groups have not as many rows as the file".into());
        }
        Ok(Self { files, name, kinds, groups, pairs, rows })
    }

    /// A value of the file's own metadata.
    pub(crate) fn pair(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Calls `each` with the cells of every row, in order, until it fails.
    pub(crate) fn for_each(&self, mut each: impl FnMut([Cell<'_>; N]) -> Read<()>) -> Read<()> {
        for group in &self.groups {
            let mut columns = Vec::with_capacity(N);
            for (kind, chunk) in self.kinds.iter().zip(&group.chunks) {
                let bytes =
                    read_part(self.files, self.name, chunk.start, chunk.end - chunk.start).map_err(|error| error.to_string())?;
                columns.push(Column { kind, bytes, at: 0, dictionary: None, page: Page::default(), left: group.rows });
            }
            for _ in 0..group.rows {
                columns.iter_mut().try_for_each(Column::advance)?;
                each(std::array::from_fn(|n| columns[n].cell()))?;
            }
        }
        Ok(())
    }
}

fn check_schema<const N: usize>(metadata: &Value, kinds: &[Kind; N]) -> Read<()> {
    let columns = metadata.list(2).and_then(|schema| schema.split_first()).map(|(_, columns)| columns).unwrap_or_default();
    let fits = |(column, kind): (&Value, &Kind)| {
        column.text(4) == Some(kind.name)
            && column.int(1) == Some(kind.physical as i64)
            && column.int(3) == Some(i64::from(kind.optional))
            && column.int(6) == kind.converted
            && column.int(5).unwrap_or(0) == 0
            && (kind.physical != Physical::Hash || column.int(2) == Some(32))
    };
    let all = columns.len() == N && columns.iter().zip(kinds).all(fits);
    if all { Ok(()) } else { Err("its columns are not those of docs/spec/record.md".into()) }
}

/// `None` unless the group has one zstd chunk for each column, inside the file.
fn read_group<const N: usize>(group: &Value, kinds: &[Kind; N], length: u64) -> Option<Group<N>> {
    let (columns, rows) = (group.list(1)?, group.count(3)?);
    let mut chunks = [const { 0..0 }; N];
    for ((column, kind), chunk) in columns.iter().zip(kinds).zip(&mut chunks) {
        let metadata = column.field(3)?;
        let [Value::Bytes(path)] = metadata.list(3)? else { return None };
        let start = metadata.count(11).or(metadata.count(9))?;
        let end = start.checked_add(metadata.count(7)?).filter(|end| *end <= length)?;
        let described = *path == kind.name.as_bytes()
            && metadata.int(1)? == kind.physical as i64
            && metadata.int(4)? == ZSTD
            && metadata.count(5)? == rows;
        *chunk = described.then_some(start..end)?;
    }
    (columns.len() == N).then_some(Group { rows, chunks })
}

/// A column chunk, read page by page.
struct Column {
    kind: &'static Kind,
    bytes: Vec<u8>,
    at: usize,
    dictionary: Option<Values>,
    page: Page,
    /// Rows of the chunk that no page read so far has.
    left: u64,
}

/// A data page, decoded; stands at one of its rows.
#[derive(Default)]
struct Page {
    /// By row; empty where nothing can be null.
    present: Vec<bool>,
    values: Values,
    rows: usize,
    /// Rows passed, the present one included.
    row: usize,
    /// Values passed, that of the present row included.
    value: usize,
}

enum Values {
    Ints(Vec<i64>),
    Bytes(Vec<u8>, Vec<Range<usize>>),
    /// Into the dictionary.
    Indexes(Vec<u32>),
}

impl Default for Values {
    fn default() -> Self {
        Self::Ints(Vec::new())
    }
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::Ints(ints) => ints.len(),
            Values::Bytes(_, ranges) => ranges.len(),
            Values::Indexes(indexes) => indexes.len(),
        }
    }
}

impl Column {
    fn advance(&mut self) -> Read<()> {
        while self.page.row == self.page.rows {
            self.next_page()
                .ok_or_else(|| format!("a page of `{}` at byte {} of its column breaks the form", self.kind.name, self.at))?;
        }
        let page = &mut self.page;
        page.value += usize::from(page.present.get(page.row).copied().unwrap_or(true));
        page.row += 1;
        Ok(())
    }

    /// The value of the present row. Pages were checked as a whole when they were read, so places exist.
    fn cell(&self) -> Cell<'_> {
        let page = &self.page;
        if !page.present.get(page.row - 1).copied().unwrap_or(true) {
            return Cell::Null;
        }
        let place = page.value - 1;
        match (&page.values, &self.dictionary) {
            (Values::Indexes(indexes), Some(dictionary)) => pick(dictionary, indexes[place] as usize),
            (values, _) => pick(values, place),
        }
    }

    /// Reads pages up to the next one with rows; `None` if one breaks the form.
    fn next_page(&mut self) -> Option<()> {
        let (head, rest) = thrift::read(self.bytes.get(self.at..)?)?;
        let (size, stored) = (head.count(2)?, usize::try_from(head.count(3)?).ok()?);
        let body = rest.get(..stored)?;
        let body = decompress(body, size)?;
        let behind = self.bytes.len() - rest.len() + stored;
        match (head.int(1)?, head.field(5), head.field(7)) {
            (DICTIONARY_PAGE, _, Some(head)) if self.dictionary.is_none() && matches!(head.int(2)?, PLAIN | PLAIN_DICTIONARY) => {
                self.dictionary = Some(plain(self.kind.physical, body, head.count(1)?, self.kind.converted)?);
            }
            (DATA_PAGE, Some(head), _) => {
                let rows = head.count(1).filter(|rows| *rows <= self.left.min(PAGE_ROWS_MAX))?;
                self.page = self.data_page(body, rows as usize, head.int(2)?)?;
                self.left -= rows;
            }
            _ => return None,
        }
        self.at = behind;
        Some(())
    }

    fn data_page(&self, body: Vec<u8>, rows: usize, encoding: i64) -> Option<Page> {
        let (mut present, mut skip) = (Vec::new(), 0);
        if self.kind.optional {
            let length = u32::from_le_bytes(*body.first_chunk::<4>()?) as usize;
            let levels = hybrid(body.get(4..4 + length)?, 1, rows)?;
            present = levels.into_iter().map(|level| level == 1).collect();
            skip = 4 + length;
        }
        let count = if self.kind.optional { present.iter().filter(|present| **present).count() } else { rows };
        let values = match encoding {
            PLAIN => plain(self.kind.physical, body.get(skip..)?.to_vec(), count as u64, self.kind.converted)?,
            RLE_DICTIONARY | PLAIN_DICTIONARY => {
                let known = self.dictionary.as_ref()?.len();
                // A page of nulls alone may end before the width.
                let indexes = match body.get(skip..)?.split_first() {
                    Some((width, runs)) => hybrid(runs, u32::from(*width), count)?,
                    None => Vec::new(),
                };
                indexes.iter().all(|index| (*index as usize) < known).then_some(Values::Indexes(indexes))?
            }
            DELTA_BINARY_PACKED => Values::Ints(delta(self.kind, body.get(skip..)?, count)?),
            _ => return None,
        };
        (values.len() == count).then_some(Page { present, values, rows, row: 0, value: 0 })
    }
}

fn pick(values: &Values, place: usize) -> Cell<'_> {
    match values {
        Values::Ints(ints) => Cell::Int(ints[place]),
        Values::Bytes(bytes, ranges) => Cell::Bytes(&bytes[ranges[place].clone()]),
        Values::Indexes(_) => Cell::Null,
    }
}

/// `None` unless the bytes are zstd and give exactly `size` bytes.
fn decompress(bytes: &[u8], size: u64) -> Option<Vec<u8>> {
    let mut body = vec![0; usize::try_from(size).ok().filter(|size| *size <= PAGE_LIMIT)?];
    let written = FrameDecoder::new().decode_all(bytes, &mut body).ok()?;
    (written == body.len()).then_some(body)
}

/// Values one after the other.
fn plain(physical: Physical, body: Vec<u8>, count: u64, converted: Option<i64>) -> Option<Values> {
    let count = usize::try_from(count).ok()?;
    let fixed = |size: usize| body.get(..count.checked_mul(size)?).map(|bytes| bytes.chunks_exact(size));
    Some(match physical {
        Physical::Int32 => {
            let narrow = |bytes: &[u8]| widen(bytes.try_into().map(i32::from_le_bytes).unwrap_or_default(), converted);
            Values::Ints(fixed(4)?.map(narrow).collect())
        }
        Physical::Int64 => {
            Values::Ints(fixed(8)?.map(|bytes| bytes.try_into().map(i64::from_le_bytes).unwrap_or_default()).collect())
        }
        Physical::Hash => {
            let whole = fixed(32)?.len();
            Values::Bytes(body, (0..whole).map(|n| 32 * n..32 * n + 32).collect())
        }
        Physical::Bytes => {
            let (mut at, mut ranges) = (0, Vec::new());
            for _ in 0..count {
                let length = u32::from_le_bytes(*body.get(at..)?.first_chunk::<4>()?) as usize;
                body.get(at + 4..at + 4 + length)?;
                ranges.push(at + 4..at + 4 + length);
                at += 4 + length;
            }
            Values::Bytes(body, ranges)
        }
    })
}

/// An unsigned 32-bit column is stored in the signed type of its width.
fn widen(value: i32, converted: Option<i64>) -> i64 {
    if converted == Some(UINT_32) { i64::from(value as u32) } else { i64::from(value) }
}

/// Runs of repeated or bit-packed numbers of `width` bits.
fn hybrid(bytes: &[u8], width: u32, count: usize) -> Option<Vec<u32>> {
    if width > 32 {
        return None;
    }
    let (mut out, mut rest) = (Vec::new(), bytes);
    while out.len() < count {
        let (head, behind) = varint(rest)?;
        let wanted = count - out.len();
        if head & 1 == 1 {
            let groups = usize::try_from(head >> 1).ok()?;
            let (packed, behind) = behind.split_at(groups.saturating_mul(width as usize).min(behind.len()));
            let whole = groups.saturating_mul(8).min(wanted);
            out.extend(unpack(packed, width, whole)?.into_iter().map(|value| value as u32));
            rest = behind;
        } else {
            let (value, behind) = behind.split_at_checked(width.div_ceil(8) as usize)?;
            let value = value.iter().rev().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
            let repeats = usize::try_from(head >> 1).ok()?.min(wanted);
            if repeats == 0 {
                return None;
            }
            out.resize(out.len() + repeats, value);
            rest = behind;
        }
    }
    Some(out)
}

/// Numbers of `width` bits, lowest bit first.
fn unpack(bytes: &[u8], width: u32, count: usize) -> Option<Vec<u64>> {
    if width > 64 {
        return None;
    }
    let mask = if width == 0 { 0 } else { u64::MAX >> (64 - width.min(64)) };
    let (mut held, mut bits, mut bytes) = (0u128, 0, bytes.iter());
    let mut value = || {
        while bits < width {
            held |= u128::from(*bytes.next()?) << bits;
            bits += 8;
        }
        let value = held as u64 & mask;
        held >>= width;
        bits -= width;
        Some(value)
    };
    (0..count).map(|_| value()).collect()
}

/// First value, then blocks of differences packed in groups of one width each.
fn delta(kind: &Kind, bytes: &[u8], count: usize) -> Option<Vec<i64>> {
    let (block, rest) = varint(bytes)?;
    let (groups, rest) = varint(rest)?;
    let (total, rest) = varint(rest)?;
    let (first, mut rest) = varint(rest)?;
    let (block, groups) = (usize::try_from(block).ok()?, usize::try_from(groups).ok()?);
    let in_group = block.checked_div(groups).filter(|size| *size > 0 && size.is_multiple_of(8) && *size <= BLOCK_MAX)?;
    if usize::try_from(total).ok()? != count {
        return None;
    }
    let mut last = zigzag(first);
    let mut out = Vec::new();
    out.extend((count > 0).then_some(last));
    while out.len() < count {
        let (least, behind) = varint(rest)?;
        let (widths, behind) = behind.split_at_checked(groups)?;
        rest = behind;
        for width in widths {
            if out.len() == count {
                break;
            }
            let wanted = in_group.min(count - out.len());
            let width = u32::from(*width);
            let (packed, behind) = rest.split_at((in_group / 8).checked_mul(width as usize)?.min(rest.len()));
            rest = behind;
            for difference in unpack(packed, width, wanted)? {
                last = last.wrapping_add(zigzag(least)).wrapping_add(difference as i64);
                out.push(last);
            }
        }
    }
    let narrow = kind.physical == Physical::Int32;
    Some(if narrow { out.into_iter().map(|value| widen(value as i32, kind.converted)).collect() } else { out })
}

/// Of the footer; what it describes then fits in memory many times over.
const FOOTER_LIMIT: u64 = 16 << 20;
/// Of one page, decompressed: a page ends at 1 MiB, or with the one record that is longer.
const PAGE_LIMIT: usize = 64 << 20;
const PAGE_ROWS_MAX: u64 = 1 << 16;
const BLOCK_MAX: usize = 1 << 16;
pub(crate) const UTF8: i64 = 0;
pub(crate) const TIMESTAMP_MICROS: i64 = 10;
pub(crate) const UINT_8: i64 = 11;
pub(crate) const UINT_32: i64 = 13;
pub(crate) const UINT_64: i64 = 14;
const ZSTD: i64 = 6;
const DATA_PAGE: i64 = 0;
const DICTIONARY_PAGE: i64 = 2;
const PLAIN: i64 = 0;
const PLAIN_DICTIONARY: i64 = 2;
const DELTA_BINARY_PACKED: i64 = 5;
const RLE_DICTIONARY: i64 = 8;
