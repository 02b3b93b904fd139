//! C2SP signed notes with Ed25519, and the checkpoint they carry.
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::{
    Hash,
    text::{self, need},
};

/// A key whose word one takes; made only by [`VerifierKey::parse`] and from epochs that are in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifierKey {
    name: String,
    algorithm: u8,
    id: [u8; 4],
    pub(crate) key: VerifyingKey,
}

impl VerifierKey {
    /// Reads `<name>+<id>+<key>`, with or without line breaks at the end.
    ///
    /// # Errors
    /// Says what breaks the form of `docs/spec/log.md`, *Checkpoint*.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_as(ED25519, text)
    }

    pub(crate) fn parse_as(algorithm: u8, text: &str) -> Result<Self, String> {
        let mut parts = text.trim_end_matches('\n').splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("a verifier key is `name+id+key`".into());
        };
        let key = text::bytes(key).ok_or("the last part of a verifier key is base64")?;
        let Some((kind, key)) = key.split_first() else { return Err("the verifier key is empty".into()) };
        need(*kind == algorithm, format!("the verifier key has algorithm {kind}, {algorithm} belongs here"))?;
        let key = Self::new(algorithm, name, key.try_into().map_err(|_| "an Ed25519 key has 32 bytes")?)?;
        need(id == hex_id(key.id), "the id in the verifier key is not that of its name and key").map(|()| key)
    }

    pub(crate) fn new(algorithm: u8, name: &str, public: [u8; 32]) -> Result<Self, String> {
        let hash = Sha256::new().chain_update(name).chain_update([b'\n', algorithm]).chain_update(public).finalize();
        let is_odd = |c: char| c == '+' || c.is_whitespace() || c.is_control();
        let is_name = (1..=255).contains(&name.len()) && !name.contains(is_odd);
        need(is_name, "the name of the verifier key is not in its form")?;
        let key = VerifyingKey::from_bytes(&public).map_err(|_| "the verifier key is no point on the curve")?;
        Ok(Self { name: name.into(), algorithm, id: [hash[0], hash[1], hash[2], hash[3]], key })
    }

    /// The origin of the log whose checkpoints it signs, or the name of the witness.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.key.verify_strict(message, &signature).is_ok())
    }

    /// The signed text of a note, the line break at its end included, if this key signed it.
    pub(crate) fn open<'a>(&self, note: &'a str) -> Result<&'a str, String> {
        let (signed, signatures) = self.signatures(note)?;
        let fit = signatures.iter().all(|signature| self.signed(signed.as_bytes(), signature));
        need(fit, format!("has a signature by `{}` that does not fit its text", self.name))?;
        need(!signatures.is_empty(), format!("is not signed by `{}`", self.name)).map(|()| signed)
    }

    /// Whether this witness cosigned the note.
    pub(crate) fn cosigned(&self, note: &str) -> Result<bool, String> {
        let (signed, cosignatures) = self.signatures(note)?;
        let fits = |cosignature: &Vec<u8>| {
            let Some((seconds, signature)) = cosignature.split_first_chunk::<8>() else { return false };
            let seconds = i64::from_be_bytes(*seconds);
            seconds >= 0 && self.signed(format!("cosignature/v1\ntime {seconds}\n{signed}").as_bytes(), signature)
        };
        let fit = cosignatures.iter().all(fits);
        need(fit, format!("has a cosignature by `{}` that does not fit its text", self.name))?;
        Ok(!cosignatures.is_empty())
    }

    /// The text of a note, and the signatures in lines that name this key.
    fn signatures<'a>(&self, note: &'a str) -> Result<(&'a str, Vec<Vec<u8>>), String> {
        let parting = note.rfind("\n\n").ok_or("has no signature block")?;
        let block = note[parting + 2..].strip_suffix('\n').ok_or("does not end with a line break")?;
        let mut signatures = Vec::new();
        for line in block.split('\n') {
            let (name, blob) =
                line.strip_prefix("— ").and_then(|line| line.split_once(' ')).ok_or("has a broken signature line")?;
            let blob = text::bytes(blob).ok_or("has a signature that is not base64")?;
            let (id, signature) = blob.split_at_checked(4).ok_or("has a signature that is too short")?;
            if name == self.name && id == self.id {
                signatures.push(signature.to_vec());
            }
        }
        Ok((&note[..=parting], signatures))
    }
}

fn hex_id(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = text::base64(&[&[self.algorithm], &self.key.as_bytes()[..]].concat());
        write!(f, "{}+{}+{key}", self.name, hex_id(self.id))
    }
}

/// A tree head whose signature was checked; made only by [`Checkpoint::open`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The log it speaks of.
    pub origin: String,
    /// Entries in the log.
    pub size: u64,
    /// Root of their tree.
    pub root: Hash,
    /// When it was signed, microseconds since 1970.
    pub at: i64,
    /// The signed note, with all its signature lines.
    pub note: String,
}

impl Checkpoint {
    /// Reads a signed note as a checkpoint under `key`.
    ///
    /// # Errors
    /// Says what is wrong, as the end of a sentence that begins with "it".
    pub fn open(note: &[u8], key: &VerifierKey) -> Result<Self, String> {
        need(note.len() <= NOTE_LIMIT, format!("has {} bytes where at most {NOTE_LIMIT} belong", note.len()))?;
        let note = std::str::from_utf8(note).map_err(|_| "is not UTF-8")?;
        let checkpoint = Self::parse(key.open(note)?, note).filter(|checkpoint| checkpoint.origin == key.name);
        Ok(checkpoint.ok_or("is signed but not in the form of docs/spec/record.md, or of another origin than the key")?)
    }

    /// Whether a text has the form of a signed checkpoint, of whatever log and by whatever key.
    pub(crate) fn is_form_of(note: &str) -> bool {
        note.rsplit_once("\n\n").is_some_and(|(text, _)| Self::parse(&format!("{text}\n"), note).is_some())
    }

    fn parse(signed: &str, note: &str) -> Option<Self> {
        let lines: Vec<&str> = signed.strip_suffix('\n')?.split('\n').collect();
        let [origin, size, root, time] = lines[..] else { return None };
        let at = text::time(time.strip_prefix("time ")?)?;
        Some(Self { origin: origin.into(), size: text::number(size)?, root: text::hash(root)?, at, note: note.into() })
    }
}

/// Signature algorithms of the note format.
pub(crate) const ED25519: u8 = 1;
pub(crate) const COSIGNATURE: u8 = 4;
pub(crate) const NOTE_LIMIT: usize = 65_536;
