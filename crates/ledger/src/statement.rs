//! The batch statement: what the main log says about one sealed segment.
use jiff::Timestamp;
use reeve_record::{Hash, leaf_hash};
use sha2::{Digest, Sha256};

use crate::text;

/// A length and a SHA-256 that bind a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileHash {
    /// Length in bytes.
    pub length: u64,
    /// SHA-256 of the content.
    pub sha256: Hash,
}

impl FileHash {
    /// What binds these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { length: bytes.len() as u64, sha256: Sha256::digest(bytes).into() }
    }
}

/// What the main log says about one sealed segment; format `docs/spec/record.md`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    /// Name of the log.
    pub origin: String,
    /// Segment number, from 0 without gaps.
    pub segment: u32,
    /// Epoch of its records.
    pub epoch: u64,
    /// Number of records, lost ones included.
    pub records: u32,
    /// Sum of their raw lengths.
    pub raw_bytes: u64,
    /// Earliest and latest time of receipt.
    pub received: (Timestamp, Timestamp),
    /// When it was sealed.
    pub sealed_at: Timestamp,
    /// Root of the batch tree.
    pub root: Hash,
    /// Leaf hash of the statement before; zeros for the first.
    pub previous: Hash,
    /// Commitment of the salt secret.
    pub salts: Hash,
    /// The segment file.
    pub file: FileHash,
    /// The map file.
    pub map: FileHash,
    /// Lost records as (first index, count), ascending, not touching.
    pub lost: Vec<(u32, u32)>,
}

impl Statement {
    /// The text that is the entry of the main log.
    pub fn to_text(&self) -> String {
        let mut out = format!(
            "{HEAD}\norigin {}\nsegment {}\nepoch {}\nrecords {}\nraw_bytes {}\nreceived {} {}\nsealed {}\nroot {}\nprevious {}\nsalts {}\nfile {} {}\nmap {} {}\n",
            self.origin,
            self.segment,
            self.epoch,
            self.records,
            self.raw_bytes,
            text::time(self.received.0),
            text::time(self.received.1),
            text::time(self.sealed_at),
            text::base64(&self.root),
            text::base64(&self.previous),
            text::base64(&self.salts),
            self.file.length,
            text::base64(&self.file.sha256),
            self.map.length,
            text::base64(&self.map.sha256),
        );
        for (first, count) in &self.lost {
            out.push_str(&format!("lost {first} {count}\n"));
        }
        out
    }

    /// Reads exactly what [`Statement::to_text`] writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n').peekable();
        if lines.next()? != HEAD {
            return None;
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let statement = Self {
            origin: field("origin")?.into(),
            segment: text::number(field("segment")?)?,
            epoch: text::number(field("epoch")?)?,
            records: text::number(field("records")?)?,
            raw_bytes: text::number(field("raw_bytes")?)?,
            received: {
                let (first, last) = field("received")?.split_once(' ')?;
                (text::parse_time(first)?, text::parse_time(last)?)
            },
            sealed_at: text::parse_time(field("sealed")?)?,
            root: text::hash(field("root")?)?,
            previous: text::hash(field("previous")?)?,
            salts: text::hash(field("salts")?)?,
            file: file_hash(field("file")?)?,
            map: file_hash(field("map")?)?,
            lost: Vec::new(),
        };
        let lost = lines.map(lost_line).collect::<Option<Vec<_>>>()?;
        let ordered = lost.windows(2).all(|pair| u64::from(pair[0].0) + u64::from(pair[0].1) < u64::from(pair[1].0));
        let inside =
            lost.iter().all(|(first, count)| *count > 0 && u64::from(*first) + u64::from(*count) <= u64::from(statement.records));
        (ordered && inside && statement.records > 0).then_some(Self { lost, ..statement })
    }

    /// RFC 6962 leaf hash of the entry.
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(self.to_text().as_bytes())
    }

    /// Whether the statement says the record at `index` was lost.
    pub fn is_lost(&self, index: u32) -> bool {
        self.lost.iter().any(|(first, count)| index >= *first && index - first < *count)
    }
}

pub(crate) fn file_hash(text: &str) -> Option<FileHash> {
    let (length, sha256) = text.split_once(' ')?;
    Some(FileHash { length: text::number(length)?, sha256: text::hash(sha256)? })
}

fn lost_line(line: &str) -> Option<(u32, u32)> {
    let (first, count) = line.strip_prefix("lost ")?.split_once(' ')?;
    Some((text::number(first)?, text::number(count)?))
}

const HEAD: &str = "reeve-batch/v1";

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        let at = "2026-01-05T09:12:44Z".parse().unwrap();
        Statement {
            origin: "reeve.example/record".into(),
            segment: 4,
            epoch: 2,
            records: 10,
            raw_bytes: 999,
            received: (at, at),
            sealed_at: at,
            root: [1; 32],
            previous: [2; 32],
            salts: [3; 32],
            file: FileHash { length: 5, sha256: [4; 32] },
            map: FileHash { length: 6, sha256: [5; 32] },
            lost: vec![(0, 2), (4, 6)],
        }
    }

    #[test]
    fn a_statement_has_one_text() {
        let statement = statement();
        let text = statement.to_text();
        assert_eq!(Statement::parse(&text).as_ref(), Some(&statement));
        for (from, to) in [
            ("segment 4", "segment 04"),
            ("segment 4", "segment +4"),
            ("44.000000Z", "44Z"),
            ("lost 4 6", "lost 2 6"),
            ("lost 4 6", "lost 4 7"),
            ("lost 4 6", "lost 4 0"),
            ("records 10", "records 0"),
            ("\nepoch 2", ""),
        ] {
            let broken = text.replacen(from, to, 1);
            assert_ne!(broken, text);
            assert_eq!(Statement::parse(&broken), None, "{broken}");
        }
        assert_eq!(Statement::parse(&format!("{text}\n")), None);
        assert_eq!(Statement::parse(text.trim_end()), None);
        assert!(statement.is_lost(1) && !statement.is_lost(2) && statement.is_lost(9));
    }
}
