//! The fork: how a log goes on after something older was restored. Two people, a reason, an entry everybody sees.
use jiff::Timestamp;
use reeve_record::{Hash, leaf_hash};

use crate::{Error, text};

/// Who permits a log to go on after a restore, and why. Made only by [`ForkAuthority::new`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForkAuthority {
    requester: String,
    approver: String,
    reason: String,
}

impl ForkAuthority {
    /// Two different people and a reason. That they are who they say is for the caller to check.
    ///
    /// # Errors
    /// [`Error::Fork`] if a text is empty, too long, has control characters or spaces at its ends, or both are one person.
    pub fn new(requester: &str, approver: &str, reason: &str) -> Result<Self, Error> {
        let bad = |reason: &str| Error::Fork { reason: reason.into() };
        if !is_text(requester, NAME_MAX) || !is_text(approver, NAME_MAX) {
            return Err(bad("a name has 1 to 256 bytes, no control characters and no spaces at its ends"));
        }
        if !is_text(reason, REASON_MAX) {
            return Err(bad("a reason has 1 to 1,024 bytes, no control characters and no spaces at its ends"));
        }
        if is_same(requester, approver) {
            return Err(bad("it takes two different people"));
        }
        Ok(Self { requester: requester.into(), approver: approver.into(), reason: reason.into() })
    }
}

/// The entry of the main log that a fork leaves; format `docs/spec/log.md`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForkStatement {
    /// Name of the log.
    pub origin: String,
    /// When the ceremony was held.
    pub at: Timestamp,
    /// Entries the log had when it was found restored; the index of this entry.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
    /// The largest size any witness told.
    pub lost: u64,
    /// Who asked.
    pub requester: String,
    /// Who agreed.
    pub approver: String,
    /// Why.
    pub reason: String,
}

impl ForkStatement {
    pub(crate) fn new(authority: &ForkAuthority, origin: &str, at: Timestamp, (size, root): (u64, Hash), lost: u64) -> Self {
        let ForkAuthority { requester, approver, reason } = authority.clone();
        Self { origin: origin.into(), at, size, root, lost, requester, approver, reason }
    }

    /// The text that is the entry of the main log.
    pub fn to_text(&self) -> String {
        format!(
            "{HEAD}\norigin {}\nat {}\nsize {} {}\nlost {}\nrequester {}\napprover {}\nreason {}\n",
            self.origin,
            text::time(self.at),
            self.size,
            text::base64(&self.root),
            self.lost,
            self.requester,
            self.approver,
            self.reason
        )
    }

    /// Reads exactly what [`ForkStatement::to_text`] writes for a [`ForkAuthority`]; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != HEAD {
            return None;
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let statement = Self {
            origin: field("origin")?.into(),
            at: text::parse_time(field("at")?)?,
            size: 0,
            root: [0; 32],
            lost: 0,
            requester: String::new(),
            approver: String::new(),
            reason: String::new(),
        };
        let (size, root) = field("size")?.split_once(' ')?;
        let (size, root, lost) = (text::number(size)?, text::hash(root)?, text::number(field("lost")?)?);
        let authority = ForkAuthority::new(field("requester")?, field("approver")?, field("reason")?).ok()?;
        let ForkAuthority { requester, approver, reason } = authority;
        lines.next().is_none().then_some(Self { size, root, lost, requester, approver, reason, ..statement })
    }

    /// RFC 6962 leaf hash of the entry: what the two people note down, and a verifier is given.
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(self.to_text().as_bytes())
    }
}

pub(crate) fn is_text(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && text.trim() == text && !text.chars().any(char::is_control)
}

pub(crate) fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

pub(crate) const HEAD: &str = "reeve-fork/v1";
const NAME_MAX: usize = 256;
const REASON_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_two_people_and_a_reason() {
        for (requester, approver, reason) in [
            ("ana", "ana", "disk replaced"),
            ("ana", "ANA", "disk replaced"),
            ("", "ben", "disk replaced"),
            ("ana", "ben", ""),
            ("ana", "ben ", "disk replaced"),
            ("ana", "ben", "disk\nreplaced"),
        ] {
            assert_eq!(ForkAuthority::new(requester, approver, reason).unwrap_err().code(), "LEDGER-017");
        }
        assert!(ForkAuthority::new("ana", "ben", "disk replaced").is_ok());
    }

    #[test]
    fn a_statement_has_one_text() {
        let authority = ForkAuthority::new("ana", "ben", "restored from the backup of 4 January").unwrap();
        let at = "2026-01-05T09:12:44Z".parse().unwrap();
        let statement = ForkStatement::new(&authority, "reeve.example/record", at, (7, [7; 32]), 12);
        let text = statement.to_text();
        assert_eq!(ForkStatement::parse(&text), Some(statement));
        for (from, to) in [("approver ben", "approver ana"), ("size 7", "size 07"), ("lost 12\n", ""), ("44.000000Z", "44Z")] {
            let broken = text.replacen(from, to, 1);
            assert_ne!(broken, text);
            assert_eq!(ForkStatement::parse(&broken), None, "{broken}");
        }
    }
}
