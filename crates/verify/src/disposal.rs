//! What took content out of the ledger, and what forbids it: `docs/spec/retention.md`. What a hold covers is for those to heed who dispose.
use crate::{
    epoch::{is_plain, two_people},
    statement::{FileHash, Statement, are_apart, pair},
    text::{self, need},
};

/// Segment, map and salts file, and the records whose content is gone.
type Redaction = ([FileHash; 3], Vec<(u32, u32)>);

/// An entry about the content of one segment.
#[derive(Clone, Debug)]
pub(crate) struct Disposal {
    segment: u32,
    /// `None`: all was destroyed.
    redaction: Option<Redaction>,
}

impl Disposal {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let redacts = lines.next()? == "reeve-redaction/v1";
        let mut field = |name: &str| text::field(lines.next()?, name);
        field("origin")?;
        text::time(field("at")?)?;
        let segment = text::number(field("segment")?)?;
        two_people(field("requester")?, field("approver")?)?;
        let mut told = ["reason", "authority", "policy"].into_iter().map(|name| field(name).filter(|text| is_plain(text, 1024)));
        told.all(|text| text.is_some()).then_some(())?;
        let mut file = |name: &str| pair(field(name)?, text::number, text::hash);
        let files = if redacts { Some([file("file")?, file("map")?, file("salts")?]) } else { None };
        let redacted = lines.map(|line| pair(text::field(line, "redacted")?, text::number, text::number));
        let redacted: Vec<(u32, u32)> = redacted.collect::<Option<_>>()?;
        let sound = redacts != redacted.is_empty() && are_apart(&redacted, 1, u64::MAX);
        sound.then_some(Self { segment, redaction: files.map(|files| (files, redacted)) })
    }

    /// Makes of its segment's statement, among those before it, what it is from here on. The reason follows "it".
    pub(crate) fn apply(&self, found: &mut [Option<Statement>]) -> Result<(), String> {
        let statement = found.get_mut(self.segment as usize).and_then(Option::as_mut);
        let statement = statement.filter(|statement| statement.segment == self.segment && !statement.destroyed);
        let statement = statement.ok_or("is about a segment that was not sealed by an entry before, or was destroyed")?;
        let Some(([file, map, salts], redacted)) = &self.redaction else {
            statement.destroyed = true;
            return Ok(());
        };
        let mut redacted = [&statement.redacted[..], redacted].concat();
        redacted.sort_unstable();
        let mut gone = [&statement.lost[..], &redacted].concat();
        gone.sort_unstable();
        let apart = are_apart(&gone, 0, statement.records.into());
        need(apart, "redacts records that are not in the segment, or were lost or redacted before")?;
        (statement.file, statement.map, statement.salts_file) = (*file, *map, Some(*salts));
        (statement.redacted, statement.redactions) = (redacted, statement.redactions + 1);
        Ok(())
    }
}

/// Whether a text is a hold, added or released.
pub(crate) fn is_hold(text: &str) -> bool {
    let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or_default().split('\n').collect();
    let [_, origin, at, act, told @ ..] = &lines[..] else { return false };
    let is_word = |word: &str, most, others: &[u8]| {
        (1..=most).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase() || others.contains(&byte))
    };
    let is_told = |line: &&str| {
        let (word, value) = line.split_once(' ').unwrap_or_default();
        is_word(word, 32, b"_") && !value.is_empty() && !value.chars().any(char::is_control)
    };
    let name = text::field(act, "add").or(text::field(act, "release"));
    text::field(origin, "origin").is_some()
        && text::field(at, "at").and_then(text::time).is_some()
        && name.is_some_and(|name| is_word(name, 64, b"0123456789-"))
        && told.iter().all(is_told)
}
