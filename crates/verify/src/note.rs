//! C2SP signed notes with Ed25519, and the checkpoint they carry.
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::{Hash, text};

/// The key whose word one takes; made only by [`VerifierKey::parse`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl VerifierKey {
    /// Reads `<name>+<id>+<key>`, with or without line breaks at the end.
    ///
    /// # Errors
    /// Says what breaks the form of `docs/spec/record.md`, *Main log*.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.trim_end_matches('\n').splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("a verifier key is `name+id+key`".into());
        };
        let key = text::bytes(key).ok_or("the last part of a verifier key is base64")?;
        let [ED25519, key @ ..] = &key[..] else { return Err("only Ed25519 keys (algorithm 1) are known".into()) };
        let public: [u8; 32] = key.try_into().map_err(|_| "an Ed25519 key has 32 bytes")?;
        let hash = Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(public).finalize();
        let expected = [hash[0], hash[1], hash[2], hash[3]];
        if !is_name(name) || id != format!("{:08x}", u32::from_be_bytes(expected)) {
            return Err("the id in the verifier key is not that of its name and key".into());
        }
        let key = VerifyingKey::from_bytes(&public).map_err(|_| "the verifier key is no point on the curve")?;
        Ok(Self { name: name.into(), id: expected, key })
    }

    /// The origin of the log whose checkpoints it signs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The signed text of a note, the line break at its end included, if this key signed it.
    fn open<'a>(&self, note: &'a str) -> Result<&'a str, String> {
        let parting = note.rfind("\n\n").ok_or("has no signature block")?;
        let signed = &note[..=parting];
        let block = note[parting + 2..].strip_suffix('\n').ok_or("does not end with a line break")?;
        let mut good = 0;
        for line in block.split('\n') {
            let (name, blob) =
                line.strip_prefix("— ").and_then(|line| line.split_once(' ')).ok_or("has a broken signature line")?;
            let blob = text::bytes(blob).ok_or("has a signature that is not base64")?;
            let (id, signature) = blob.split_at_checked(4).ok_or("has a signature that is too short")?;
            if name == self.name && id == self.id {
                let signature = Signature::from_slice(signature).map_err(|_| "has a signature of the wrong length")?;
                self.key
                    .verify_strict(signed.as_bytes(), &signature)
                    .map_err(|_| "has a signature that does not fit its text")?;
                good += 1;
            }
        }
        if good > 0 { Ok(signed) } else { Err(format!("is not signed by `{}`", self.name)) }
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = text::base64(&[&[ED25519], &self.key.as_bytes()[..]].concat());
        write!(f, "{}+{:08x}+{key}", self.name, u32::from_be_bytes(self.id))
    }
}

/// A tree head whose signature was checked; made only by [`Checkpoint::open`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    at: i64,
}

impl Checkpoint {
    /// Reads a signed note as a checkpoint under `key`.
    ///
    /// # Errors
    /// Says what is wrong, as the end of a sentence that begins with "it".
    pub fn open(note: &[u8], key: &VerifierKey) -> Result<Self, String> {
        if note.len() > NOTE_LIMIT {
            return Err(format!("has {} bytes where at most {NOTE_LIMIT} belong", note.len()));
        }
        let note = std::str::from_utf8(note).map_err(|_| "is not UTF-8")?;
        let checkpoint = Self::parse(key.open(note)?).ok_or("is signed but not in the form of docs/spec/record.md")?;
        if checkpoint.origin != key.name {
            return Err(format!("is of origin `{}`, signed by `{}`", checkpoint.origin, key.name));
        }
        Ok(checkpoint)
    }

    fn parse(signed: &str) -> Option<Self> {
        let lines: Vec<&str> = signed.strip_suffix('\n')?.split('\n').collect();
        let [origin, size, root, time] = lines[..] else { return None };
        let at = text::time(time.strip_prefix("time ")?)?;
        Some(Self { origin: origin.into(), size: text::number(size)?, root: text::hash(root)?, at })
    }

    /// The log it speaks of.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Entries in the log.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root of their tree.
    pub fn root(&self) -> &Hash {
        &self.root
    }

    /// When it was signed, as text in UTC.
    pub fn time(&self) -> String {
        text::time_text(self.at)
    }
}

fn is_name(name: &str) -> bool {
    (1..=255).contains(&name.len()) && !name.chars().any(|c| c == '+' || c.is_whitespace() || c.is_control())
}

/// Signature algorithm of the note format.
const ED25519: u8 = 1;
pub(crate) const NOTE_LIMIT: usize = 65_536;
