//! What takes content out of the ledger and leaves its leaves: redaction of records, destruction of segments. Format: `docs/spec/retention.md`.
use std::collections::HashMap;

use jiff::Timestamp;
use reeve_record::{Hash, leaf_hash};
use serde::Serialize;

use crate::{Error, FileHash, fork::is_same, fork::is_text, statement, text};

/// Who permits content to be taken out, why, and by what right. Made only by [`DisposalAuthority::new`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DisposalAuthority {
    requester: String,
    approver: String,
    reason: String,
    authority: String,
    policy: String,
}

impl DisposalAuthority {
    /// Two different people, a reason, what permits it (a records schedule, an order), and the policy that calls for it (or `none`).
    /// That the people are who they say is for the caller to check.
    ///
    /// # Errors
    /// [`Error::Disposal`] if a text is empty, too long, has control characters or spaces at its ends, or both are one person.
    pub fn new(requester: &str, approver: &str, reason: &str, authority: &str, policy: &str) -> Result<Self, Error> {
        let bad = |reason: &str| Error::Disposal { reason: reason.into() };
        if !is_text(requester, NAME_MAX) || !is_text(approver, NAME_MAX) {
            return Err(bad("a name has 1 to 256 bytes, no control characters and no spaces at its ends"));
        }
        if ![reason, authority, policy].iter().all(|text| is_text(text, TEXT_MAX)) {
            return Err(bad(
                "reason, authority and policy have 1 to 1,024 bytes, no control characters and no spaces at their ends",
            ));
        }
        if is_same(requester, approver) {
            return Err(bad("it takes two different people"));
        }
        let [requester, approver, reason, authority, policy] = [requester, approver, reason, authority, policy].map(Into::into);
        Ok(Self { requester, approver, reason, authority, policy })
    }

    fn to_lines(&self) -> String {
        format!(
            "requester {}\napprover {}\nreason {}\nauthority {}\npolicy {}\n",
            self.requester, self.approver, self.reason, self.authority, self.policy
        )
    }
}

/// The files of a redacted segment, as its last redaction binds them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RedactedFiles {
    /// The segment file.
    pub file: FileHash,
    /// The map file.
    pub map: FileHash,
    /// The salts file.
    pub salts: FileHash,
}

/// What a redaction leaves: the files, and the records it took the content of, as (first index, count).
pub type Redaction = (RedactedFiles, Vec<(u32, u32)>);

/// An entry that says that content of one segment was taken out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DisposalStatement {
    /// Name of the log.
    pub origin: String,
    /// When.
    pub at: Timestamp,
    /// The segment.
    pub segment: u32,
    /// By whose word.
    pub authority: DisposalAuthority,
    /// What is left of its content: files, and the records redacted as (first index, count); `None`: nothing.
    pub redaction: Option<Redaction>,
}

impl DisposalStatement {
    /// The text that is the entry of the main log.
    pub fn to_text(&self) -> String {
        let head = if self.redaction.is_some() { REDACTION } else { DESTRUCTION };
        let mut out = format!("{head}\norigin {}\nat {}\nsegment {}\n", self.origin, text::time(self.at), self.segment);
        out.push_str(&self.authority.to_lines());
        if let Some((files, redacted)) = &self.redaction {
            for (name, file) in [("file", files.file), ("map", files.map), ("salts", files.salts)] {
                out.push_str(&format!("{name} {} {}\n", file.length, text::base64(&file.sha256)));
            }
            for (first, count) in redacted {
                out.push_str(&format!("redacted {first} {count}\n"));
            }
        }
        out
    }

    /// Reads exactly what [`DisposalStatement::to_text`] writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let is_redaction = match lines.next()? {
            REDACTION => true,
            DESTRUCTION => false,
            _ => return None,
        };
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let origin = field("origin")?.into();
        let (at, segment) = (text::parse_time(field("at")?)?, text::number(field("segment")?)?);
        let people = (field("requester")?, field("approver")?);
        let (reason, authority, policy) = (field("reason")?, field("authority")?, field("policy")?);
        let authority = DisposalAuthority::new(people.0, people.1, reason, authority, policy).ok()?;
        let redaction = if is_redaction {
            let mut file = |name| statement::file_hash(field(name)?);
            let files = RedactedFiles { file: file("file")?, map: file("map")?, salts: file("salts")? };
            let redacted = lines.by_ref().map(redacted_line).collect::<Option<Vec<_>>>()?;
            let ordered = redacted.windows(2).all(|pair| end(pair[0]) < u64::from(pair[1].0));
            let sound = !redacted.is_empty() && ordered && redacted.iter().all(|(_, count)| *count > 0);
            Some((files, sound.then_some(redacted)?))
        } else {
            None
        };
        lines.next().is_none().then_some(Self { origin, at, segment, authority, redaction })
    }

    /// RFC 6962 leaf hash of the entry.
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(self.to_text().as_bytes())
    }
}

fn redacted_line(line: &str) -> Option<(u32, u32)> {
    let (first, count) = line.strip_prefix("redacted ")?.split_once(' ')?;
    Some((text::number(first)?, text::number(count)?))
}

fn end((first, count): (u32, u32)) -> u64 {
    u64::from(first) + u64::from(count)
}

/// What became of one segment's content.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Disposed {
    /// Redaction entries so far: the number in the names of its files.
    pub(crate) redactions: u32,
    /// What binds these files; `None` before the first.
    pub(crate) files: Option<RedactedFiles>,
    /// Redacted records as (first index, count), ascending, not touching.
    pub(crate) redacted: Vec<(u32, u32)>,
    /// Index of the last entry about it.
    pub(crate) entry: u64,
    pub(crate) destroyed: bool,
}

impl Disposed {
    pub(crate) fn is_redacted(&self, index: u32) -> bool {
        holds(&self.redacted, index)
    }

    pub(crate) fn redacted_records(&self) -> u64 {
        self.redacted.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// Takes the next entry about the segment; the reason follows "it".
    /// The segment has so many `records`, of which some are `lost`.
    pub(crate) fn take(
        &mut self,
        index: u64,
        next: &DisposalStatement,
        records: u32,
        lost: &[(u32, u32)],
    ) -> Result<(), &'static str> {
        if self.destroyed {
            return Err("is about a segment that was destroyed by an entry before");
        }
        let Some((files, redacted)) = &next.redaction else {
            (self.destroyed, self.entry) = (true, index);
            return Ok(());
        };
        if redacted.iter().any(|range| end(*range) > u64::from(records)) {
            return Err("redacts records that are not in the segment");
        }
        if meet(redacted, lost) || meet(redacted, &self.redacted) {
            return Err("redacts records that were lost or redacted before");
        }
        (self.files, self.entry) = (Some(*files), index);
        self.redactions += 1;
        self.redacted = joined(&self.redacted, redacted);
        Ok(())
    }
}

/// Whether ascending ranges hold an index.
pub(crate) fn holds(ranges: &[(u32, u32)], index: u32) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= index);
    ranges[..after].last().is_some_and(|range| end(*range) > u64::from(index))
}

/// Whether ascending ranges have an index in common.
fn meet(some: &[(u32, u32)], others: &[(u32, u32)]) -> bool {
    some.iter().any(|range| {
        let after = others.partition_point(|(first, _)| u64::from(*first) < end(*range));
        others[..after].last().is_some_and(|other| end(*other) > u64::from(range.0))
    })
}

/// Ascending ranges of both, those that touch made one.
fn joined(some: &[(u32, u32)], others: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let mut all: Vec<(u32, u32)> = [some, others].concat();
    all.sort_unstable();
    let mut out: Vec<(u32, u32)> = Vec::new();
    for (first, count) in all {
        match out.last_mut().filter(|last| end(**last) == u64::from(first)) {
            Some(last) => last.1 += count,
            None => out.push((first, count)),
        }
    }
    out
}

/// Indexes in any order as ascending ranges, each once.
pub(crate) fn ranges_of(mut indexes: Vec<u32>) -> Vec<(u32, u32)> {
    indexes.sort_unstable();
    indexes.dedup();
    let mut out: Vec<(u32, u32)> = Vec::new();
    for index in indexes {
        match out.last_mut().filter(|last| end(**last) == u64::from(index)) {
            Some(last) => last.1 += 1,
            None => out.push((index, 1)),
        }
    }
    out
}

/// What became of all segments: a projection of the log.
#[derive(Clone, Default, Debug)]
pub(crate) struct Disposals(HashMap<u32, Disposed>);

impl Disposals {
    pub(crate) fn of(&self, segment: u32) -> Option<&Disposed> {
        self.0.get(&segment)
    }

    /// Takes the next entry; `batch` are the records and lost records of its segment, if that was sealed by an entry before. The reason follows "it".
    pub(crate) fn take(
        &mut self,
        index: u64,
        next: &DisposalStatement,
        batch: Option<(u32, &[(u32, u32)])>,
    ) -> Result<(), &'static str> {
        let (records, lost) = batch.ok_or("is about a segment that was not sealed by an entry before")?;
        self.0.entry(next.segment).or_default().take(index, next, records, lost)
    }

    pub(crate) fn put(&mut self, segment: u32, disposed: Disposed) {
        self.0.insert(segment, disposed);
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (u32, &Disposed)> {
        self.0.iter().map(|(segment, disposed)| (*segment, disposed))
    }
}

pub(crate) const REDACTION: &str = "reeve-redaction/v1";
pub(crate) const DESTRUCTION: &str = "reeve-destruction/v1";
const NAME_MAX: usize = 256;
const TEXT_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> DisposalAuthority {
        DisposalAuthority::new("ana", "ben", "a password in clear text", "GRS 3.2 item 030", "none").unwrap()
    }

    fn redaction(redacted: Vec<(u32, u32)>) -> DisposalStatement {
        let file = |n| FileHash { length: u64::from(n), sha256: [n; 32] };
        DisposalStatement {
            origin: "reeve.example/record".into(),
            at: "2026-01-06T10:00:00Z".parse().unwrap(),
            segment: 7,
            authority: authority(),
            redaction: Some((RedactedFiles { file: file(1), map: file(2), salts: file(3) }, redacted)),
        }
    }

    #[test]
    fn a_disposal_has_one_text() {
        let destruction = DisposalStatement { redaction: None, ..redaction(Vec::new()) };
        assert_eq!(DisposalStatement::parse(&destruction.to_text()), Some(destruction.clone()));
        assert_eq!(DisposalStatement::parse(&format!("{}redacted 0 1\n", destruction.to_text())), None);
        let statement = redaction(vec![(0, 2), (4, 6)]);
        let text = statement.to_text();
        assert_eq!(DisposalStatement::parse(&text), Some(statement));
        for (from, to) in [
            ("approver ben", "approver Ana"),
            ("segment 7", "segment 07"),
            ("redacted 4 6", "redacted 2 6"),
            ("redacted 4 6", "redacted 4 0"),
            ("redacted 0 2\nredacted 4 6\n", ""),
            ("policy none\n", ""),
            ("reeve-redaction", "reeve-destruction"),
            ("00.000000Z", "00Z"),
        ] {
            let broken = text.replacen(from, to, 1);
            assert_ne!(broken, text);
            assert_eq!(DisposalStatement::parse(&broken), None, "{broken}");
        }
    }

    #[test]
    fn it_takes_two_people_and_reasons() {
        for texts in [
            ["ana", "ANA", "r", "a", "p"],
            ["ana", "ben", "", "a", "p"],
            ["ana", "ben", "r", " a", "p"],
            ["a\tb", "ben", "r", "a", "p"],
        ] {
            let [requester, approver, reason, authority, policy] = texts;
            let error = DisposalAuthority::new(requester, approver, reason, authority, policy).unwrap_err();
            assert_eq!(error.code(), "LEDGER-018");
        }
    }

    /// The lines of the worked example in docs/spec/retention.md.
    #[test]
    fn the_specification_example_comes_out() {
        let spec = include_str!("../../../docs/spec/retention.md");
        let example = spec.split("## Worked example").nth(1).unwrap();
        let lines: Vec<&str> = example.lines().collect();
        let mut read = 0;
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("    reeve-")) {
            let block = lines[at..].iter().map_while(|line| line.strip_prefix("    "));
            let text: String = block.map(|line| format!("{line}\n")).collect();
            let again = match crate::entry::Entry::parse(text.as_bytes()).unwrap() {
                crate::entry::Entry::Disposal(disposal) => disposal.to_text(),
                crate::entry::Entry::Hold(hold) => hold.to_text(),
                other => panic!("{other:?}"),
            };
            assert_eq!(again, text);
            let hash = format!("leaf hash: {}", hex::encode(leaf_hash(text.as_bytes())));
            assert!(lines.contains(&hash.as_str()), "the specification does not hold the line\n{hash}");
            read += 1;
        }
        assert_eq!(read, 3);
        let raw = b"Jan  5 09:12:44 web1 sshd[311]: Accepted publickey for ana";
        let salts = reeve_record::SaltSecret::new([0x5a; 32]).salts(7);
        let redacted = [&(raw.len() as u64).to_be_bytes()[..], &reeve_record::commit(&salts.salt(2), raw)].concat();
        let kept = [&[0; 8][..], &salts.salt(3)].concat();
        for (record, row) in [("7-2", redacted), ("7-3", kept)] {
            let line = format!("salts row of {record}: {}", hex::encode(row));
            assert!(lines.contains(&line.as_str()), "the specification does not hold the line\n{line}");
        }
    }

    #[test]
    fn nothing_is_redacted_twice_or_beyond() {
        let batch: (u32, &[(u32, u32)]) = (10, &[(5, 1)]);
        let mut disposed = Disposed::default();
        assert!(disposed.take(3, &redaction(vec![(0, 1), (8, 3)]), batch.0, batch.1).is_err());
        assert!(disposed.take(3, &redaction(vec![(4, 2)]), batch.0, batch.1).is_err());
        assert_eq!(disposed, Disposed::default());
        assert_eq!(disposed.take(3, &redaction(vec![(2, 2), (8, 2)]), batch.0, batch.1), Ok(()));
        assert!(disposed.take(4, &redaction(vec![(3, 1)]), batch.0, batch.1).is_err());
        assert_eq!(disposed.take(4, &redaction(vec![(4, 1), (6, 2)]), batch.0, batch.1), Ok(()));
        assert_eq!((disposed.redactions, &disposed.redacted[..]), (2, &[(2, 3), (6, 4)][..]));
        let redacted: Vec<u32> = (0..12).filter(|index| disposed.is_redacted(*index)).collect();
        assert_eq!(redacted, [2, 3, 4, 6, 7, 8, 9]);
        let destruction = DisposalStatement { redaction: None, ..redaction(Vec::new()) };
        assert_eq!(disposed.take(5, &destruction, batch.0, batch.1), Ok(()));
        assert!(disposed.take(6, &destruction, batch.0, batch.1).is_err());
        assert_eq!((disposed.destroyed, disposed.entry), (true, 5));
        assert_eq!(ranges_of(vec![3, 1, 2, 3, 7]), [(1, 3), (7, 1)]);
    }
}
