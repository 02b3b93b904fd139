//! The little of Parquet that segment files use (`docs/spec/record.md`, *Segment file*): flat columns, zstd pages of version 1, three encodings.
//!
//! Own code rather than the library that writes them: a fault there cannot hide itself here, and it builds wherever Rust does, without C.
//! Format: the Apache Parquet format specification.
use std::{ops::Range, rc::Rc};

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

impl Kind {
    /// An unsigned column of 32 bits is stored in the signed type of its width; sums in it are modulo that.
    fn widen(&self, value: i64) -> i64 {
        match (self.physical, self.converted) {
            (Physical::Int32, Some(UINT_32)) => i64::from(value as u32),
            (Physical::Int32, _) => i64::from(value as i32),
            _ => value,
        }
    }
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
#[derive(Clone)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    Bytes(Rc<[u8]>),
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

    /// Calls `each` with the `N` cells of every row, in order, until it fails.
    pub(crate) fn for_each(&self, mut each: impl FnMut(&[Cell]) -> Read<()>) -> Read<()> {
        for group in &self.groups {
            let mut columns = Vec::with_capacity(N);
            for (kind, chunk) in self.kinds.iter().zip(&group.chunks) {
                let bytes =
                    read_part(self.files, self.name, chunk.start, chunk.end - chunk.start).map_err(|error| error.to_string())?;
                columns.push(Column {
                    kind,
                    bytes,
                    at: 0,
                    dictionary: Vec::new(),
                    page: Vec::new().into_iter(),
                    left: group.rows,
                });
            }
            for _ in 0..group.rows {
                let cells: Vec<Cell> = columns.iter_mut().map(Column::next).collect::<Read<_>>()?;
                each(&cells)?;
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
    dictionary: Vec<Cell>,
    /// What is left of the present page.
    page: std::vec::IntoIter<Cell>,
    /// Rows of the chunk that no page read so far has.
    left: u64,
}

impl Column {
    fn next(&mut self) -> Read<Cell> {
        loop {
            if let Some(cell) = self.page.next() {
                return Ok(cell);
            }
            let at = self.at;
            self.next_page()
                .ok_or_else(|| format!("a page of `{}` at byte {at} of its column breaks the form", self.kind.name))?;
        }
    }

    /// `None` if the next page breaks the form.
    fn next_page(&mut self) -> Option<()> {
        let (head, rest) = thrift::read(self.bytes.get(self.at..)?)?;
        let (size, stored) = (head.count(2)?, usize::try_from(head.count(3)?).ok()?);
        let body = decompress(rest.get(..stored)?, size)?;
        let behind = self.bytes.len() - rest.len() + stored;
        match (head.int(1)?, head.field(5), head.field(7)) {
            (DICTIONARY_PAGE, _, Some(head)) if self.at == 0 && matches!(head.int(2)?, PLAIN | PLAIN_DICTIONARY) => {
                self.dictionary = plain(self.kind, &body, usize::try_from(head.count(1)?).ok()?)?;
            }
            (DATA_PAGE, Some(head), _) => {
                let rows = head.count(1).filter(|rows| *rows <= self.left.min(PAGE_ROWS_MAX))?;
                self.page = self.data_page(&body, rows as usize, head.int(2)?)?.into_iter();
                self.left -= rows;
            }
            _ => return None,
        }
        self.at = behind;
        Some(())
    }

    fn data_page(&self, body: &[u8], rows: usize, encoding: i64) -> Option<Vec<Cell>> {
        if !self.kind.optional {
            return self.values(body, rows, encoding);
        }
        let (length, body) = body.split_first_chunk::<4>()?;
        let (levels, body) = body.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let levels = hybrid(levels, 1, rows)?;
        let present = levels.iter().filter(|level| **level == 1).count();
        let mut values = self.values(body, present, encoding)?.into_iter();
        levels.into_iter().map(|level| if level == 1 { values.next() } else { Some(Cell::Null) }).collect()
    }

    fn values(&self, body: &[u8], count: usize, encoding: i64) -> Option<Vec<Cell>> {
        match encoding {
            PLAIN => plain(self.kind, body, count),
            // A page of nulls alone may end before the width.
            RLE_DICTIONARY | PLAIN_DICTIONARY => match body.split_first() {
                None => (count == 0).then(Vec::new),
                Some((width, runs)) => {
                    let indexes = hybrid(runs, u32::from(*width), count)?;
                    indexes.into_iter().map(|index| self.dictionary.get(index as usize).cloned()).collect()
                }
            },
            DELTA_BINARY_PACKED => delta(self.kind, body, count),
            _ => None,
        }
    }
}

/// `None` unless the bytes are zstd and give exactly `size` bytes.
fn decompress(bytes: &[u8], size: u64) -> Option<Vec<u8>> {
    let mut body = vec![0; usize::try_from(size).ok().filter(|size| *size <= PAGE_LIMIT)?];
    let written = FrameDecoder::new().decode_all(bytes, &mut body).ok()?;
    (written == body.len()).then_some(body)
}

/// Values one after the other.
fn plain(kind: &Kind, body: &[u8], count: usize) -> Option<Vec<Cell>> {
    let mut rest = body;
    let mut take = |length: usize| {
        let (taken, behind) = rest.split_at_checked(length)?;
        rest = behind;
        Some(taken)
    };
    let mut cells = Vec::new();
    for _ in 0..count {
        cells.push(match kind.physical {
            Physical::Int32 => Cell::Int(kind.widen(i64::from(i32::from_le_bytes(take(4)?.try_into().ok()?)))),
            Physical::Int64 => Cell::Int(i64::from_le_bytes(take(8)?.try_into().ok()?)),
            Physical::Hash => Cell::Bytes(take(32)?.into()),
            Physical::Bytes => {
                let length = u32::from_le_bytes(take(4)?.try_into().ok()?);
                Cell::Bytes(take(length as usize)?.into())
            }
        });
    }
    Some(cells)
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
fn delta(kind: &Kind, bytes: &[u8], count: usize) -> Option<Vec<Cell>> {
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
    Some(out.into_iter().map(|value| Cell::Int(kind.widen(value))).collect())
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
