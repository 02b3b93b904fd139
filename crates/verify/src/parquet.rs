//! The little of Parquet that segment files use (`docs/spec/record.md`, *Segment file*): flat columns, zstd pages of version 1, three encodings.
//!
//! Own code rather than the library that writes them: a fault there cannot hide itself here, and it builds wherever Rust does, without C.
//! Format: the Apache Parquet format specification.
use std::{ops::Range, rc::Rc};

use ruzstd::decoding::FrameDecoder;

use crate::{
    bytes::Bytes,
    text::need,
    thrift::{self, Value},
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
pub(crate) struct Table<'a> {
    file: &'a [u8],
    kinds: &'static [Kind],
    groups: Vec<Group>,
    pairs: Vec<(String, String)>,
    pub(crate) rows: u64,
}

struct Group {
    rows: u64,
    /// Where each column lies in the file.
    chunks: Vec<Range<usize>>,
}

type Read<T> = Result<T, String>;

impl<'a> Table<'a> {
    pub(crate) fn open(file: &'a [u8], kinds: &'static [Kind]) -> Read<Self> {
        let Some((rest, b"PAR1")) = file.split_last_chunk::<4>() else { return Err("it does not end as Parquet does".into()) };
        let footer = rest.split_last_chunk::<4>().and_then(|(rest, size)| {
            let start = rest.len().checked_sub(u32::from_le_bytes(*size) as usize).filter(|start| *start >= 4)?;
            Some(&rest[start..]).filter(|footer| footer.len() <= FOOTER_LIMIT)
        });
        let mut footer = Bytes(footer.ok_or("its footer has no sensible length")?);
        let metadata = thrift::read(&mut footer).ok_or("its footer is no Parquet metadata")?;
        need(has_columns(&metadata, kinds), "its columns are not those of docs/spec/record.md")?;
        let groups = metadata.list(4).iter().map(|group| read_group(group, kinds, file.len())).collect::<Option<Vec<_>>>();
        let groups = groups.ok_or("its row groups are not described as docs/spec/record.md has them")?;
        let pairs = metadata.list(5).iter();
        let pairs = pairs.filter_map(|pair| Some((pair.text(1)?.to_owned(), pair.text(2)?.to_owned()))).collect();
        let rows = metadata.count(3).ok_or("its footer does not say how many rows it has")?;
        let sum = groups.iter().try_fold(0u64, |sum, group| sum.checked_add(group.rows));
        need(sum == Some(rows), "its row groups have not as many rows as the file")?;
        Ok(Self { file, kinds, groups, pairs, rows })
    }

    /// A value of the file's own metadata.
    pub(crate) fn pair(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Calls `each` with the cells of every row, in order, until it fails.
    pub(crate) fn for_each(&self, mut each: impl FnMut(&[Cell]) -> Read<()>) -> Read<()> {
        for group in &self.groups {
            let mut columns = Vec::new();
            for (kind, chunk) in self.kinds.iter().zip(&group.chunks) {
                let (dictionary, page) = (Vec::new(), Vec::new().into_iter());
                columns.push(Column { kind, bytes: &self.file[chunk.clone()], at: 0, dictionary, page, left: group.rows });
            }
            for _ in 0..group.rows {
                let cells: Vec<Cell> = columns.iter_mut().map(Column::next).collect::<Read<_>>()?;
                each(&cells)?;
            }
        }
        Ok(())
    }
}

fn has_columns(metadata: &Value, kinds: &[Kind]) -> bool {
    let columns = metadata.list(2).split_first().map(|(_, columns)| columns).unwrap_or_default();
    let fits = |(column, kind): (&Value, &Kind)| {
        column.text(4) == Some(kind.name)
            && column.int(1) == Some(kind.physical as i64)
            && column.int(3) == Some(i64::from(kind.optional))
            && column.int(6) == kind.converted
            && column.int(5).unwrap_or(0) == 0
            && (kind.physical != Physical::Hash || column.int(2) == Some(32))
    };
    columns.len() == kinds.len() && columns.iter().zip(kinds).all(fits)
}

/// `None` unless the group has one zstd chunk for each column, inside the file.
fn read_group(group: &Value, kinds: &[Kind], length: usize) -> Option<Group> {
    let (columns, rows) = (group.list(1), group.count(3)?);
    let chunk = |(column, kind): (&Value, &Kind)| {
        let metadata = column.field(3)?;
        let start = usize::try_from(metadata.count(11).or(metadata.count(9))?).ok()?;
        let end = start.checked_add(usize::try_from(metadata.count(7)?).ok()?).filter(|end| *end <= length)?;
        let described = matches!(metadata.list(3), [Value::Bytes(path)] if *path == kind.name.as_bytes())
            && metadata.int(1)? == kind.physical as i64
            && metadata.int(4)? == ZSTD
            && metadata.count(5)? == rows;
        described.then_some(start..end)
    };
    let chunks = columns.iter().zip(kinds).map(chunk).collect::<Option<Vec<_>>>()?;
    (columns.len() == kinds.len()).then_some(Group { rows, chunks })
}

/// A column chunk, read page by page.
struct Column<'a> {
    kind: &'static Kind,
    bytes: &'a [u8],
    at: usize,
    dictionary: Vec<Cell>,
    /// What is left of the present page.
    page: std::vec::IntoIter<Cell>,
    /// Rows of the chunk that no page read so far has.
    left: u64,
}

impl Column<'_> {
    fn next(&mut self) -> Read<Cell> {
        loop {
            if let Some(cell) = self.page.next() {
                return Ok(cell);
            }
            let (name, at) = (self.kind.name, self.at);
            self.next_page().ok_or_else(|| format!("a page of `{name}` at byte {at} of its column breaks the form"))?;
        }
    }

    /// `None` if the next page breaks the form.
    fn next_page(&mut self) -> Option<()> {
        let mut rest = Bytes(self.bytes.get(self.at..)?);
        let head = thrift::read(&mut rest)?;
        let (size, stored) = (head.count(2)?, usize::try_from(head.count(3)?).ok()?);
        let body = decompress(rest.take(stored)?, size)?;
        let behind = self.bytes.len() - rest.0.len();
        match (head.int(1)?, head.field(5), head.field(7)) {
            (DICTIONARY_PAGE, _, Some(head)) if self.at == 0 && matches!(head.int(2)?, PLAIN | PLAIN_DICTIONARY) => {
                self.dictionary = plain(self.kind, &body, usize::try_from(head.count(1)?).ok()?)?;
            }
            (DATA_PAGE, Some(head), _) => {
                let rows = head.count(1).filter(|rows| *rows <= self.left.min(PAGE_ROWS_MAX))?;
                self.page = self.data_page(Bytes(&body), rows as usize, head.int(2)?)?.into_iter();
                self.left -= rows;
            }
            _ => return None,
        }
        self.at = behind;
        Some(())
    }

    fn data_page(&self, mut body: Bytes<'_>, rows: usize, encoding: i64) -> Option<Vec<Cell>> {
        if !self.kind.optional {
            return self.values(body, rows, encoding);
        }
        let length = u32::from_le_bytes(body.array()?);
        let levels = hybrid(Bytes(body.take(length as usize)?), 1, rows)?;
        let present = levels.iter().filter(|level| **level == 1).count();
        let mut values = self.values(body, present, encoding)?.into_iter();
        levels.into_iter().map(|level| if level == 1 { values.next() } else { Some(Cell::Null) }).collect()
    }

    fn values(&self, mut body: Bytes<'_>, count: usize, encoding: i64) -> Option<Vec<Cell>> {
        match encoding {
            PLAIN => plain(self.kind, body.0, count),
            // A page of nulls alone may end before the width.
            RLE_DICTIONARY | PLAIN_DICTIONARY if body.0.is_empty() => (count == 0).then(Vec::new),
            RLE_DICTIONARY | PLAIN_DICTIONARY => {
                let width = body.byte()?;
                let indexes = hybrid(body, u32::from(width), count)?;
                indexes.into_iter().map(|index| self.dictionary.get(index as usize).cloned()).collect()
            }
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
    let mut rest = Bytes(body);
    let mut value = || {
        Some(match kind.physical {
            Physical::Int32 => Cell::Int(kind.widen(i64::from(i32::from_le_bytes(rest.array()?)))),
            Physical::Int64 => Cell::Int(i64::from_le_bytes(rest.array()?)),
            Physical::Hash => Cell::Bytes(rest.take(32)?.into()),
            Physical::Bytes => {
                let length = u32::from_le_bytes(rest.array()?);
                Cell::Bytes(rest.take(length as usize)?.into())
            }
        })
    };
    // Grows with the bytes read, so that a false count costs nothing.
    (0..count).map(|_| value()).collect()
}

/// Runs of repeated or bit-packed numbers of `width` bits.
fn hybrid(mut rest: Bytes<'_>, width: u32, count: usize) -> Option<Vec<u32>> {
    let mut out = Vec::new();
    while out.len() < count && width <= 32 {
        let (head, wanted) = (rest.varint()?, count - out.len());
        let run = usize::try_from(head >> 1).ok()?;
        if head & 1 == 1 {
            let packed = rest.up_to(run.saturating_mul(width as usize));
            let values = unpack(packed, width, run.saturating_mul(8).min(wanted))?;
            out.extend(values.into_iter().map(|value| value as u32));
        } else {
            let value = rest.take(width.div_ceil(8) as usize)?;
            let value = value.iter().rev().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
            out.resize(out.len() + run.min(wanted), value);
            (run > 0).then_some(())?;
        }
    }
    (width <= 32).then_some(out)
}

/// Numbers of `width` bits, lowest bit first.
fn unpack(bytes: &[u8], width: u32, count: usize) -> Option<Vec<u64>> {
    let mask = u64::MAX.checked_shr(64u32.checked_sub(width)?).unwrap_or(0);
    let value = |at: usize| {
        let bytes = bytes.get(at / 8..(at + width as usize).div_ceil(8))?;
        let held = bytes.iter().rev().fold(0u128, |held, byte| held << 8 | u128::from(*byte));
        Some((held >> (at % 8)) as u64 & mask)
    };
    (0..count).map(|n| value(n * width as usize)).collect()
}

/// First value, then blocks of differences packed in groups of one width each.
fn delta(kind: &Kind, mut rest: Bytes<'_>, count: usize) -> Option<Vec<Cell>> {
    let mut number = || usize::try_from(rest.varint()?).ok();
    let (block, groups, total) = (number()?, number()?, number()?);
    let in_group = block.checked_div(groups).filter(|size| *size > 0 && size.is_multiple_of(8) && *size <= BLOCK_MAX)?;
    let mut last = rest.zigzag().filter(|_| total == count)?;
    let mut out = Vec::new();
    out.extend((count > 0).then_some(last));
    while out.len() < count {
        let least = rest.zigzag()?;
        for width in rest.take(groups)? {
            let (width, wanted) = (u32::from(*width), in_group.min(count - out.len()));
            if wanted == 0 {
                break;
            }
            let packed = rest.up_to((in_group / 8).checked_mul(width as usize)?);
            for difference in unpack(packed, width, wanted)? {
                last = last.wrapping_add(least).wrapping_add(difference as i64);
                out.push(last);
            }
        }
    }
    Some(out.into_iter().map(|value| Cell::Int(kind.widen(value))).collect())
}

/// Of the footer; what it describes then fits in memory many times over.
const FOOTER_LIMIT: usize = 16 << 20;
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
