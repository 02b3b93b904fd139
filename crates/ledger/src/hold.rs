//! Holds: what forbids content to be taken out, whatever its age. Format: `docs/spec/retention.md`, *Holds*.
use std::collections::BTreeMap;

use jiff::Timestamp;
use reeve_record::{Receipt, RecordId};
use serde::Serialize;

use crate::{Error, fork::is_text, text};

/// Which records a hold covers: those that fit all of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct HoldScope {
    /// Patterns of source names with `*` for any characters; any of them, or every source if there is none.
    pub sources: Vec<String>,
    /// Times of receipt or claimed times not before this.
    pub from: Option<Timestamp>,
    /// … and not after this.
    pub to: Option<Timestamp>,
    /// First and last record; any of these, or every record if there is none.
    pub records: Vec<(RecordId, RecordId)>,
}

impl HoldScope {
    /// Whether a record is covered. `event` is its event time where that is known better than by the receipt.
    pub fn covers(&self, id: RecordId, receipt: &Receipt, event: Option<Timestamp>) -> bool {
        let source = self.sources.is_empty() || self.sources.iter().any(|pattern| fits(pattern, &receipt.source));
        let claimed = receipt.claimed.map(|claimed| claimed.at);
        let in_time = |at: Timestamp| self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at <= to);
        let time = [Some(receipt.received_at), claimed, event].into_iter().flatten().any(in_time);
        let place = self.records.is_empty() || self.records.iter().any(|(first, last)| (*first..=*last).contains(&id));
        source && time && place
    }

    /// Whether it can cover any record of a segment, as far as the segment's number tells.
    pub fn may_cover(&self, segment: u32) -> bool {
        self.records.is_empty() || self.records.iter().any(|(first, last)| (first.segment..=last.segment).contains(&segment))
    }
}

/// Whether a text fits a pattern in which `*` stands for any characters.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = pattern[first.len()..].rsplit_once('*').map(|(_, last)| last) else { return rest.is_empty() };
    let middle: Vec<&str> = parts.collect();
    for part in middle.iter().take(middle.len().saturating_sub(1)) {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// A hold to be added.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NewHold {
    /// 1 to 64 characters from a-z, 0-9 and `-`; never used before.
    pub name: String,
    /// Who adds it.
    pub by: String,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// When the owner looks at it again.
    pub review: Timestamp,
    /// What it covers.
    pub scope: HoldScope,
}

/// A hold as the log has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Hold {
    /// Its name.
    pub name: String,
    /// Index of its entry in the main log.
    pub entry: u64,
    /// When it was added.
    pub added_at: Timestamp,
    /// Who added it, where that could be read.
    pub by: String,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// When the owner looks at it again.
    pub review: Option<Timestamp>,
    /// What it covers; `None`: it was not understood, so everything.
    pub scope: Option<HoldScope>,
    /// When and by whom and why it was released.
    pub released: Option<Release>,
}

/// The end of a hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Release {
    /// Index of its entry in the main log.
    pub entry: u64,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Hold {
    /// Whether it covers a record, if it is active.
    pub fn covers(&self, id: RecordId, receipt: &Receipt, event: Option<Timestamp>) -> bool {
        self.is_active() && self.scope.as_ref().is_none_or(|scope| scope.covers(id, receipt, event))
    }

    /// Whether it can cover any record of a segment.
    pub fn may_cover(&self, segment: u32) -> bool {
        self.is_active() && self.scope.as_ref().is_none_or(|scope| scope.may_cover(segment))
    }

    /// Whether it was not released.
    pub fn is_active(&self) -> bool {
        self.released.is_none()
    }
}

/// The entry of the main log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HoldStatement {
    pub(crate) origin: String,
    pub(crate) at: Timestamp,
    /// False: released.
    add: bool,
    name: String,
    /// Words with their values.
    lines: Vec<(String, String)>,
}

impl HoldStatement {
    pub(crate) fn add(origin: &str, at: Timestamp, hold: &NewHold) -> Result<Self, Error> {
        let mut lines = vec![("by", hold.by.clone()), ("owner", hold.owner.clone()), ("reason", hold.reason.clone())];
        lines.push(("review", text::time(text::floor(hold.review))));
        lines.extend(hold.scope.sources.iter().map(|source| ("source", source.clone())));
        lines.extend(hold.scope.from.map(|from| ("from", text::time(text::floor(from)))));
        lines.extend(hold.scope.to.map(|to| ("to", text::time(text::floor(to)))));
        lines.extend(hold.scope.records.iter().map(|(first, last)| ("records", format!("{first} {last}"))));
        Self::new(origin, at, true, &hold.name, lines)
    }

    pub(crate) fn release(origin: &str, at: Timestamp, name: &str, by: &str, reason: &str) -> Result<Self, Error> {
        Self::new(origin, at, false, name, vec![("by", by.into()), ("reason", reason.into())])
    }

    fn new(origin: &str, at: Timestamp, add: bool, name: &str, lines: Vec<(&str, String)>) -> Result<Self, Error> {
        let bad = |reason: String| Error::Disposal { reason };
        if !is_name(name) {
            return Err(bad(format!("`{name}` is no name of a hold: 1 to 64 of a-z, 0-9 and `-`")));
        }
        if let Some((word, _)) = lines.iter().find(|(_, value)| !is_text(value, VALUE_MAX)) {
            return Err(bad(format!("`{word}` of a hold has 1 to 1,024 bytes, no control characters and no spaces at its ends")));
        }
        let lines = lines.into_iter().map(|(word, value)| (word.into(), value)).collect();
        Ok(Self { origin: origin.into(), at: text::floor(at), add, name: name.into(), lines })
    }

    pub(crate) fn to_text(&self) -> String {
        let act = if self.add { "add" } else { "release" };
        let mut out = format!("{HEAD}\norigin {}\nat {}\n{act} {}\n", self.origin, text::time(self.at), self.name);
        for (word, value) in &self.lines {
            out.push_str(&format!("{word} {value}\n"));
        }
        out
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != HEAD {
            return None;
        }
        let origin = lines.next()?.strip_prefix("origin ")?.into();
        let at = text::parse_time(lines.next()?.strip_prefix("at ")?)?;
        let (act, name) = lines.next()?.split_once(' ')?;
        let add = match act {
            "add" => true,
            "release" => false,
            _ => return None,
        };
        let lines = lines.map(word_line).collect::<Option<Vec<_>>>()?;
        is_name(name).then(|| Self { origin, at, add, name: name.into(), lines })
    }

    /// The only value of a word.
    fn one(&self, word: &str) -> Option<&str> {
        let mut values = self.all(word);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }

    fn all<'a, 'w>(&'a self, word: &'w str) -> impl Iterator<Item = &'a str> + use<'a, 'w> {
        self.lines.iter().filter(move |(have, _)| have == word).map(|(_, value)| value.as_str())
    }

    /// What it covers; `None` if any of it is not understood.
    fn scope(&self) -> Option<HoldScope> {
        let known = ["by", "owner", "reason", "review", "source", "from", "to", "records"];
        if !self.lines.iter().all(|(word, _)| known.contains(&word.as_str())) {
            return None;
        }
        let time = |word| match self.all(word).next() {
            None => Some(None),
            Some(_) => Some(Some(text::parse_time(self.one(word)?)?)),
        };
        let records = self.all("records").map(|value| {
            let (first, last) = value.split_once(' ')?;
            Some((first.parse().ok()?, last.parse().ok()?))
        });
        Some(HoldScope {
            sources: self.all("source").map(Into::into).collect(),
            from: time("from")?,
            to: time("to")?,
            records: records.collect::<Option<_>>()?,
        })
    }

    fn text_of(&self, word: &str) -> String {
        self.one(word).unwrap_or_default().into()
    }
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

fn word_line(line: &str) -> Option<(String, String)> {
    let (word, value) = line.split_once(' ')?;
    let plain = (1..=32).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    (plain && !value.is_empty() && !value.chars().any(char::is_control)).then(|| (word.into(), value.into()))
}

/// All holds there were: a projection of the log.
#[derive(Clone, Default, Debug)]
pub(crate) struct Holds(BTreeMap<String, Hold>);

impl Holds {
    /// Takes the next entry. What breaks a rule of holds is read as the stricter: a name used again covers everything, a release of nothing does nothing.
    pub(crate) fn take(&mut self, entry: u64, statement: &HoldStatement) {
        let HoldStatement { at, name, .. } = statement;
        let (by, reason) = (statement.text_of("by"), statement.text_of("reason"));
        if !statement.add {
            if let Some(hold) = self.0.get_mut(name).filter(|hold| hold.is_active()) {
                hold.released = Some(Release { entry, at: *at, by, reason });
            }
            return;
        }
        let is_again = self.0.contains_key(name);
        let hold = Hold {
            name: name.clone(),
            entry,
            added_at: *at,
            by,
            owner: statement.text_of("owner"),
            reason,
            review: statement.one("review").and_then(text::parse_time),
            scope: statement.scope().filter(|_| !is_again),
            released: None,
        };
        self.0.insert(name.clone(), hold);
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Hold> {
        self.0.get(name)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Hold> {
        self.0.values()
    }
}

pub(crate) const HEAD: &str = "reeve-hold/v1";
const VALUE_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use reeve_record::{Certainty, EventTime, Transport};

    use super::*;

    fn receipt(source: &str, received: &str) -> Receipt {
        Receipt {
            source: source.into(),
            epoch: 1,
            sequence: 0,
            received_at: received.parse().unwrap(),
            transport: Transport::File,
            claimed: None,
            policy: "default".into(),
        }
    }

    fn at(segment: u32, index: u32) -> RecordId {
        RecordId { segment, index }
    }

    #[test]
    fn a_pattern_fits_what_it_says() {
        for (pattern, text, yes) in [
            ("web1", "web1", true),
            ("web1", "web11", false),
            ("web*", "web11", true),
            ("*", "", true),
            ("*/auth", "syslog/auth", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("a*a", "a", false),
            ("ab*b", "ab", false),
            ("", "x", false),
        ] {
            assert_eq!(fits(pattern, text), yes, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hold_covers_what_fits_all_of_it() {
        let scope = HoldScope {
            sources: vec!["web*".into(), "db".into()],
            from: Some("2026-01-05T00:00:00Z".parse().unwrap()),
            to: Some("2026-01-06T00:00:00Z".parse().unwrap()),
            records: vec![(at(1, 5), at(2, 7))],
        };
        let inside = receipt("web1", "2026-01-05T10:00:00Z");
        assert!(scope.covers(at(1, 5), &inside, None) && scope.covers(at(2, 7), &inside, None));
        assert!(!scope.covers(at(1, 4), &inside, None) && !scope.covers(at(2, 8), &inside, None));
        assert!(!scope.covers(at(1, 5), &receipt("mail", "2026-01-05T10:00:00Z"), None));
        let late = receipt("db", "2026-02-05T10:00:00Z");
        assert!(!scope.covers(at(1, 6), &late, None));
        // Received late, but it speaks of that day.
        assert!(scope.covers(at(1, 6), &late, Some(inside.received_at)));
        let claimed = EventTime { at: inside.received_at, certainty: Certainty::Exact };
        assert!(scope.covers(at(1, 6), &Receipt { claimed: Some(claimed), ..late }, None));
        assert!(scope.may_cover(2) && !scope.may_cover(3));
        assert!(HoldScope::default().covers(at(9, 9), &inside, None));
    }

    #[test]
    fn holds_are_read_from_their_entries() {
        let now = "2026-01-06T10:00:00Z".parse().unwrap();
        let new = NewHold {
            name: "case-17".into(),
            by: "ana".into(),
            owner: "counsel".into(),
            reason: "litigation".into(),
            review: "2027-01-06T00:00:00Z".parse().unwrap(),
            scope: HoldScope { sources: vec!["web*".into()], ..HoldScope::default() },
        };
        let add = HoldStatement::add("o", now, &new).unwrap();
        assert_eq!(HoldStatement::parse(&add.to_text()).as_ref(), Some(&add));
        let mut holds = Holds::default();
        holds.take(4, &add);
        assert_eq!(holds.get("case-17").unwrap().scope.as_ref(), Some(&new.scope));
        holds.take(5, &HoldStatement::release("o", now, "other", "ben", "settled").unwrap());
        assert!(holds.get("case-17").unwrap().is_active());
        holds.take(6, &HoldStatement::release("o", now, "case-17", "ben", "settled").unwrap());
        assert!(!holds.get("case-17").unwrap().is_active());
        // Words of a newer Reeve, a word twice, a time that is none: everything is held.
        for more in
            ["colour red\n", "from x\n", "records 1-2\n", "from 2026-01-06T00:00:00.000000Z\nfrom 2026-01-06T00:00:00.000000Z\n"]
        {
            let odd = HoldStatement::parse(&format!("{}{more}", add.to_text().replace("case-17", "odd"))).unwrap();
            let mut holds = Holds::default();
            holds.take(7, &odd);
            assert!(holds.get("odd").unwrap().covers(at(0, 0), &receipt("mail", "1999-01-05T10:00:00Z"), None), "{more}");
        }
        for broken in ["Case", "", "a b"] {
            assert!(HoldStatement::release("o", now, broken, "ben", "x").is_err());
        }
        assert!(HoldStatement::release("o", now, "a", "ben", "").is_err());
        assert_eq!(HoldStatement::parse(&format!("{}x\n", add.to_text())), None);
    }
}
