//! What a source signs: the head of a delivery, and how its body falls into records.
use bytes::Bytes;
use jiff::Timestamp;
use reeve_ledger::{NoteKey, VerifierKey};
use reeve_record::Hash;

use crate::spelling::{base64, exact, hash, parse_time, sha256, sized, time};

/// Records of a delivery at most.
pub const COUNT_MAX: u64 = 16_384;
/// Bytes of its body at most.
pub const BODY_MAX: u64 = 16 << 20;
const HEAD: &str = "reeve-delivery/v1";
/// A head is far smaller.
const NOTE_MAX: usize = 8192;
const NUMBER_MAX: u64 = 1 << 63;

/// The signed statement of a source about one delivery; format `docs/spec/receipt.md`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Name of the source.
    pub source: String,
    /// Its own epoch: numbers count from 0 in each.
    pub epoch: u64,
    /// Number of the first record; of a heartbeat, of the record that will come next.
    pub first: u64,
    /// Records; 0 is a heartbeat.
    pub count: u64,
    /// Length of the body in bytes.
    pub body_bytes: u64,
    /// SHA-256 of the body.
    pub body_hash: Hash,
    /// [`Head::hash`] of the delivery before it in this epoch; zeros for the first.
    pub previous: Hash,
    /// When it was signed, by the source's clock; whole microseconds.
    pub sent: Timestamp,
}

/// The bytes are no head, or not signed by the key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeadError {
    /// The signature is not that of the key. The reason follows "the head …".
    #[error("the head {0}")]
    Signature(String),
    /// The text breaks its form.
    #[error("the head is not in the form of docs/spec/receipt.md")]
    Form,
}

impl Head {
    /// A head over `body`, which is records each followed by a line break.
    pub fn over(source: &str, epoch: u64, first: u64, count: u64, body: &[u8], previous: Hash, sent: Timestamp) -> Self {
        let sent = crate::spelling::floor(sent);
        let body_hash = sha256(body);
        Self { source: source.into(), epoch, first, count, body_bytes: body.len() as u64, body_hash, previous, sent }
    }

    /// The text that is signed.
    pub fn to_text(&self) -> String {
        format!(
            "{HEAD}\nsource {}\nepoch {}\nfirst {}\ncount {}\nbody {} {}\nprevious {}\nsent {}\n",
            self.source,
            self.epoch,
            self.first,
            self.count,
            self.body_bytes,
            base64(&self.body_hash),
            base64(&self.previous),
            time(self.sent),
        )
    }

    /// SHA-256 of the text: what the next delivery's `previous` is.
    pub fn hash(&self) -> Hash {
        sha256(self.to_text().as_bytes())
    }

    /// The note a source sends.
    pub fn sign(&self, key: &NoteKey) -> String {
        key.sign(&self.to_text())
    }

    /// Reads a note that `key` signed.
    ///
    /// # Errors
    /// [`HeadError`] says what does not hold.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, HeadError> {
        if note.len() > NOTE_MAX {
            return Err(HeadError::Form);
        }
        let text = key.open(note).map_err(HeadError::Signature)?;
        Self::parse(text).filter(|head| head.source == key.name()).ok_or(HeadError::Form)
    }

    /// Reads a note without looking at who signed it: for a head that a ledger holds, whose key may not be known any more.
    pub(crate) fn read(note: &[u8]) -> Option<Self> {
        let note = std::str::from_utf8(note).ok().filter(|note| note.len() <= NOTE_MAX)?;
        Self::parse(&note[..=note.rfind("\n\n")?])
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != HEAD {
            return None;
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let source = field("source")?.to_owned();
        let (epoch, first, count) = (exact(field("epoch")?)?, exact(field("first")?)?, exact(field("count")?)?);
        let (body_bytes, body_hash) = sized(field("body")?)?;
        let (previous, sent) = (hash(field("previous")?)?, parse_time(field("sent")?)?);
        let head = Self { source, epoch, first, count, body_bytes, body_hash, previous, sent };
        (lines.next().is_none() && head.is_sound()).then_some(head)
    }

    fn is_sound(&self) -> bool {
        let rooted = self.first > 0 || self.previous == [0; 32];
        let fits = self.count <= COUNT_MAX && self.first < NUMBER_MAX - self.count && self.body_bytes <= BODY_MAX;
        rooted && fits && (self.count == 0) == (self.body_bytes == 0)
    }

    /// One past the last number.
    pub fn end(&self) -> u64 {
        self.first + self.count
    }

    /// The records of `body`, if it is the one that was signed.
    ///
    /// # Errors
    /// The reason, in words that follow "the delivery".
    pub fn records(&self, body: &Bytes) -> Result<Vec<Bytes>, String> {
        if body.len() as u64 != self.body_bytes || sha256(body) != self.body_hash {
            return Err("has a body that is not the one that was signed".into());
        }
        let mut records = Vec::with_capacity(self.count as usize);
        let mut at = 0;
        while let Some(end) = body[at..].iter().position(|byte| *byte == b'\n') {
            records.push(body.slice(at..at + end));
            at += end + 1;
        }
        if at != body.len() || records.iter().any(Bytes::is_empty) {
            return Err("has a body that is not records each followed by a line break".into());
        }
        if records.len() as u64 != self.count {
            return Err(format!("has {} records where its head says {}", records.len(), self.count));
        }
        Ok(records)
    }
}
