//! The batch statement: what the main log says about one segment.
use crate::{Hash, text, tree};

/// Length and SHA-256 of a file.
pub(crate) type FileHash = (u64, Hash);

/// A batch statement in the form of `docs/spec/record.md`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Statement {
    pub(crate) origin: String,
    pub(crate) segment: u32,
    pub(crate) epoch: u64,
    pub(crate) records: u32,
    pub(crate) raw_bytes: u64,
    pub(crate) received: (i64, i64),
    pub(crate) sealed: i64,
    pub(crate) root: Hash,
    pub(crate) previous: Hash,
    pub(crate) salts: Hash,
    pub(crate) file: FileHash,
    pub(crate) map: FileHash,
    /// First index and count, ascending, not touching.
    pub(crate) lost: Vec<(u32, u32)>,
    /// Its leaf hash in the main log.
    pub(crate) leaf: Hash,
    /// Redaction entries about it so far, with the records they name and the file that has their salts; `file` and `map` are then theirs, too.
    pub(crate) redactions: u32,
    pub(crate) redacted: Vec<(u32, u32)>,
    pub(crate) salts_file: Option<FileHash>,
    /// Only leaf hashes are left.
    pub(crate) destroyed: bool,
}

impl Statement {
    pub(crate) fn parse(entry: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(entry).ok()?.strip_prefix("reeve-batch/v1\n")?.strip_suffix('\n')?.split('\n');
        let mut field = |name: &str| text::field(lines.next()?, name);
        let statement = Self {
            origin: field("origin")?.into(),
            segment: text::number(field("segment")?)?,
            epoch: text::number(field("epoch")?)?,
            records: text::number(field("records")?).filter(|records| *records > 0)?,
            raw_bytes: text::number(field("raw_bytes")?)?,
            received: pair(field("received")?, text::time, text::time)?,
            sealed: text::time(field("sealed")?)?,
            root: text::hash(field("root")?)?,
            previous: text::hash(field("previous")?)?,
            salts: text::hash(field("salts")?)?,
            file: pair(field("file")?, text::number, text::hash)?,
            map: pair(field("map")?, text::number, text::hash)?,
            lost: lines.map(|line| pair(text::field(line, "lost")?, text::number, text::number)).collect::<Option<_>>()?,
            leaf: tree::leaf(entry),
            redactions: 0,
            redacted: Vec::new(),
            salts_file: None,
            destroyed: false,
        };
        are_apart(&statement.lost, 1, statement.records.into()).then_some(statement)
    }
}

/// Whether ranges ascend, each with `gap` indexes to the next at least, none empty, and none past `end`.
pub(crate) fn are_apart(ranges: &[(u32, u32)], gap: u64, end: u64) -> bool {
    let mut free = 0;
    ranges.iter().all(|(first, count)| {
        let next = u64::from(*first) + u64::from(*count);
        let fits = u64::from(*first) >= free && *count > 0 && next <= end;
        free = next + gap;
        fits
    })
}

pub(crate) fn pair<A, B>(text: &str, first: impl Fn(&str) -> Option<A>, second: impl Fn(&str) -> Option<B>) -> Option<(A, B)> {
    let (left, right) = text.split_once(' ')?;
    Some((first(left)?, second(right)?))
}
