//! What the main log holds besides batch statements: key epochs and forks. `docs/spec/log.md`, *Key epochs* and *The ceremony*.
use crate::{
    Checkpoint, Hash, VerifierKey,
    disposal::{self, Disposal},
    note::ED25519,
    statement::{Statement, pair},
    text::{self, need},
    tree,
};

/// An entry of the main log.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) origin: String,
    pub(crate) what: What,
}

/// What an entry is.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Batch(Statement),
    Epoch(Epoch),
    Fork(Fork),
    Disposal(Disposal),
    Hold,
}

impl Entry {
    /// Reads an entry; the reason follows "the entry".
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
        let mut lines = text.split('\n');
        let what = match lines.next() {
            Some("reeve-batch/v1") => Statement::parse(bytes).map(What::Batch),
            Some("reeve-epoch/v1") => Epoch::parse(text).map(What::Epoch),
            Some("reeve-fork/v1") => Fork::parse(text).map(What::Fork),
            Some("reeve-redaction/v1" | "reeve-destruction/v1") => Disposal::parse(text).map(What::Disposal),
            Some("reeve-hold/v1") => disposal::is_hold(text).then_some(What::Hold),
            _ => return Err("is of a kind that docs/spec/log.md does not know"),
        };
        let origin = lines.next().and_then(|line| text::field(line, "origin"));
        let entry = origin.zip(what).map(|(origin, what)| Self { origin: origin.into(), what });
        entry.ok_or("is not in its form")
    }
}

/// A key epoch begins.
#[derive(Clone, Debug)]
pub(crate) struct Epoch {
    pub(crate) origin: String,
    pub(crate) number: u64,
    begins: i64,
    ends: i64,
    key: Hash,
    /// Size, root and time of the last checkpoint of the epoch before.
    seal: Option<(u64, (Hash, i64))>,
    signature: Option<Vec<u8>>,
    /// What the signature is over.
    signed: String,
}

impl Epoch {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.strip_prefix("reeve-epoch/v1\n")?.strip_suffix('\n')?.split('\n').collect();
        let [origin, number, begins, ends, key, seal, signature] = lines[..] else { return None };
        let sealed = |text: &str| pair(text, text::number, |rest| pair(rest, text::hash, text::time));
        Some(Self {
            origin: text::field(origin, "origin")?.into(),
            number: text::number(text::field(number, "epoch")?)?,
            begins: text::time(text::field(begins, "begins")?)?,
            ends: text::time(text::field(ends, "ends")?)?,
            key: text::hash(text::field(key, "key")?)?,
            seal: or_none(text::field(seal, "seal")?, sealed)?,
            signature: or_none(text::field(signature, "signature")?, |text| text::bytes(text).filter(|bytes| bytes.len() == 64))?,
            signed: text[..text.len() - signature.len() - 1].into(),
        })
    }

    pub(crate) fn key(&self) -> Result<VerifierKey, String> {
        VerifierKey::new(ED25519, &format!("{}/epoch/{}", self.origin, self.number), self.key)
    }

    fn covers(&self, at: i64) -> bool {
        (self.begins..self.ends).contains(&at)
    }

    /// Rule E6: the checkpoint is signed by this epoch's key, in its time. The reason follows "it".
    pub(crate) fn check(&self, checkpoint: &Checkpoint) -> Result<(), String> {
        self.key()?.open(&checkpoint.note)?;
        need(self.covers(checkpoint.at), format!("was signed at a time outside of its key epoch {}", self.number))
    }
}

/// `none`, or something that parses.
fn or_none<T>(text: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if text == "none" { Some(None) } else { parse(text).map(Some) }
}

/// The log went on after something was restored.
#[derive(Clone, Debug)]
pub(crate) struct Fork {
    tree: (u64, Hash),
    /// What the two people said.
    pub(crate) told: String,
}

impl Fork {
    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.strip_prefix("reeve-fork/v1\n")?.strip_suffix('\n')?.split('\n').collect();
        let [_, at, size, lost, requester, approver, reason] = lines[..] else { return None };
        text::time(text::field(at, "at")?)?;
        text::number::<u64>(text::field(lost, "lost")?)?;
        let (requester, approver) = (text::field(requester, "requester")?, text::field(approver, "approver")?);
        let reason = text::field(reason, "reason")?;
        two_people(requester, approver).filter(|()| is_plain(reason, 1024))?;
        Some(Self {
            tree: pair(text::field(size, "size")?, text::number, text::hash)?,
            told: format!("by {requester} and {approver}: {reason}"),
        })
    }
}

/// Whether a text is of so many bytes at most, on one line, without spaces at its ends.
pub(crate) fn is_plain(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.trim() == text && !text.chars().any(char::is_control)
}

/// Two names, of different people.
pub(crate) fn two_people(one: &str, other: &str) -> Option<()> {
    (is_plain(one, 256) && is_plain(other, 256) && one.to_lowercase() != other.to_lowercase()).then_some(())
}

/// Goes through a log from its first entry and holds epochs and forks to the rules E1 to E5 and V4.
#[derive(Default)]
pub(crate) struct Follower {
    pub(crate) tree: tree::Tree,
    pub(crate) last: Option<Epoch>,
    /// Size and root before the fork that came last, until the epoch after it.
    pub(crate) fork: Option<(u64, Hash)>,
}

impl Follower {
    /// Takes the next entry, `None` if it could not be read; says what is wrong with it.
    pub(crate) fn take(&mut self, leaf: Hash, entry: Option<&Entry>) -> Result<(), String> {
        let now = (self.tree.size(), self.tree.root());
        let fork = self.fork.take();
        self.tree.push(leaf);
        match entry.map(|entry| &entry.what) {
            Some(What::Epoch(epoch)) => {
                let checked = self.follows(epoch, fork.unwrap_or(now), fork.is_some());
                // A faulty one goes on, too: one fault is told once.
                self.last = Some(epoch.clone());
                checked.map_err(|reason| format!("epoch {} {reason}", epoch.number))
            }
            _ if fork.is_some() => Err("the fork before it is not followed by an epoch".into()),
            Some(What::Fork(fork)) => {
                self.fork = Some(now);
                need(fork.tree == now, "the fork names another tree than the one before it")
            }
            _ => Ok(()),
        }
    }

    fn follows(&self, next: &Epoch, before: (u64, Hash), forked: bool) -> Result<(), String> {
        let lasts = next.ends - next.begins;
        need(0 < lasts && lasts <= 86_400_000_000, "does not end within a day after it begins")?;
        next.key()?;
        let Some(last) = &self.last else {
            let first = next.number == 0 && next.seal.is_none() && next.signature.is_none();
            return need(first, "is the log's first and not numbered 0, or seals something");
        };
        let follows = Some(next.number) == last.number.checked_add(1) && next.origin == last.origin;
        need(follows, format!("does not follow epoch {}", last.number))?;
        let (size, (root, at)) = next.seal.ok_or("does not seal the one before")?;
        need((size, root) == before, "seals another tree than the one before it")?;
        need(last.covers(at) && at <= next.begins, "seals a checkpoint from outside of the epoch before it")?;
        let key = last.key()?;
        let signed = next.signature.as_ref().map_or(forked, |signature| key.signed(next.signed.as_bytes(), signature));
        need(signed, "is not signed by the key of the one before")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;

    /// The worked example of `docs/spec/log.md`: two epochs, a cosigned checkpoint over them, a policy it satisfies.
    #[test]
    fn the_worked_example_holds() {
        let spec = include_str!("../../../docs/spec/log.md");
        let example = spec.split("## Worked example").nth(1).unwrap();
        let block = |title: &str| -> String {
            let lines = example.split(title).nth(1).unwrap().lines().skip(2);
            let block = lines.take_while(|line| line.starts_with("    ") || line.is_empty());
            let text: String = block.map(|line| format!("{}\n", line.trim_start())).collect();
            text.trim_end_matches('\n').to_owned() + "\n"
        };
        let entries = [block("Entry 0:"), block("Entry 1:")];
        let mut follower = Follower::default();
        for entry in &entries {
            let parsed = Entry::parse(entry.as_bytes()).unwrap();
            assert_eq!(follower.take(tree::leaf(entry.as_bytes()), Some(&parsed)), Ok(()));
        }
        let key = VerifierKey::parse(block("Verifier keys:").lines().next().unwrap()).unwrap();
        let note = block("cosigned (`log/cosigned`):");
        let checkpoint = Checkpoint::open(note.as_bytes(), &key).unwrap();
        assert_eq!((checkpoint.size, checkpoint.root), (follower.tree.size(), follower.tree.root()));
        assert_eq!(follower.last.unwrap().check(&checkpoint), Ok(()));
        let policy = Policy::parse(&block("A policy it satisfies:")).unwrap();
        assert_eq!(policy.check(&note), Ok(()));
        assert_eq!(policy.log("reeve.example/record"), Some(&key));
        let (alone, _) = note.split_at(note.find("— witness").unwrap());
        assert!(policy.check(alone).is_err());
        assert!(Checkpoint::open(note.replace("10:00:00", "10:00:01").as_bytes(), &key).is_err());
    }
}
