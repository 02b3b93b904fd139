//! C2SP signed notes with Ed25519, and the checkpoint they carry.
use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use jiff::Timestamp;
use reeve_record::Hash;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{Error, text};

/// Public half of a log's signing key, with its name and key id. Text form `name+id+key`, as `golang.org/x/mod/sumdb/note` reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifierKey {
    name: String,
    id: u32,
    key: VerifyingKey,
}

impl VerifierKey {
    /// Name of the log, its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn new(name: String, key: VerifyingKey) -> Self {
        let id = key_id(&name, key.as_bytes());
        Self { name, id, key }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// [`Error::Key`] if it is not such a key, is not Ed25519 or its id does not fit.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |reason: &str| Error::Key { place: text.chars().take(200).collect(), reason: reason.into() };
        let mut parts = text.trim_end_matches('\n').splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad("a verifier key is `name+id+key`"));
        };
        let key = STANDARD.decode(key).map_err(|_| bad("its last part is not base64"))?;
        let [ALGORITHM, key @ ..] = &key[..] else { return Err(bad("only Ed25519 keys are known")) };
        let key = <[u8; 32]>::try_from(key).map_err(|_| bad("an Ed25519 key has 32 bytes"))?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| bad("it is no point on the curve"))?;
        let key = Self::new(name.into(), key);
        if !is_name(name) || id != format!("{:08x}", key.id) {
            return Err(bad("its id is not that of name and key"));
        }
        Ok(key)
    }

    /// Checks that `note` is signed by this key; gives the signed text.
    ///
    /// # Errors
    /// The reason, as words that follow "the note …".
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, String> {
        let split = note.rfind("\n\n").ok_or("has no signature block")?;
        let (signed, lines) = (&note[..=split], &note[split + 2..]);
        let lines = lines.strip_suffix('\n').ok_or("does not end with a line break")?;
        let mut found = false;
        for line in lines.split('\n') {
            let (name, blob) =
                line.strip_prefix("— ").and_then(|line| line.split_once(' ')).ok_or("has a broken signature line")?;
            let blob = STANDARD.decode(blob).map_err(|_| "has a signature that is not base64")?;
            let (id, signature) = blob.split_at_checked(4).ok_or("has a signature that is too short")?;
            if name != self.name || id != self.id.to_be_bytes() {
                continue;
            }
            let signature = Signature::from_slice(signature).map_err(|_| "has a signature of the wrong length")?;
            self.key.verify_strict(signed.as_bytes(), &signature).map_err(|_| "has a signature that does not fit its text")?;
            found = true;
        }
        if found { Ok(signed) } else { Err(format!("is not signed by `{}`", self.name)) }
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{:08x}+{}", self.name, self.id, encode_key(self.key.as_bytes()))
    }
}

/// The log's signing key.
pub(crate) struct SignerKey {
    key: SigningKey,
    verifier: VerifierKey,
}

impl SignerKey {
    pub(crate) fn new(name: &str, seed: &[u8; 32]) -> Result<Self, Error> {
        if !is_name(name) {
            let reason = "an origin is text without spaces, control characters and `+`, of at most 255 bytes";
            return Err(Error::Key { place: name.chars().take(200).collect(), reason: reason.into() });
        }
        let key = SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(name.into(), key.verifying_key());
        Ok(Self { key, verifier })
    }

    pub(crate) fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The text kept in the key file, in the form of `golang.org/x/mod/sumdb/note`.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(encode_key(self.key.as_bytes()));
        Zeroizing::new(format!("PRIVATE+KEY+{}+{:08x}+{}\n", self.verifier.name, self.verifier.id, *secret))
    }

    /// Reads the key file's text; the reason never repeats the key.
    pub(crate) fn parse(text: &str, place: &str) -> Result<Self, Error> {
        let bad = |reason: &str| Error::Key { place: place.into(), reason: reason.into() };
        let rest = text
            .strip_prefix("PRIVATE+KEY+")
            .and_then(|rest| rest.strip_suffix('\n'))
            .ok_or_else(|| bad("it is not a signing key"))?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad("it is cut short"));
        };
        let key = Zeroizing::new(STANDARD.decode(key).map_err(|_| bad("its last part is not base64"))?);
        let [ALGORITHM, seed @ ..] = &key[..] else { return Err(bad("only Ed25519 keys are known")) };
        let seed = Zeroizing::new(<[u8; 32]>::try_from(seed).map_err(|_| bad("an Ed25519 key has 32 bytes"))?);
        let key = Self::new(name, &seed)?;
        if id != format!("{:08x}", key.verifier.id) {
            return Err(bad("its id is not that of name and key"));
        }
        Ok(key)
    }

    /// The note over `text`, which ends with a line break.
    pub(crate) fn sign(&self, text: &str) -> String {
        let signature = self.key.sign(text.as_bytes());
        let blob = [&self.verifier.id.to_be_bytes()[..], &signature.to_bytes()].concat();
        format!("{text}\n— {} {}\n", self.verifier.name, STANDARD.encode(blob))
    }
}

/// A tree head of the main log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Name of the log.
    pub origin: String,
    /// Entries in the main log.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
    /// When it was signed, in whole microseconds, by Reeve's own clock.
    pub at: Timestamp,
}

impl Checkpoint {
    pub(crate) fn to_text(&self) -> String {
        format!("{}\n{}\n{}\ntime {}\n", self.origin, self.size, STANDARD.encode(self.root), text::time(self.at))
    }

    /// Checks the signature on a checkpoint and reads it. The reason follows "the checkpoint …".
    pub(crate) fn open(note: &str, key: &VerifierKey) -> Result<Self, String> {
        if note.len() > LIMIT {
            return Err(format!("has {} bytes where at most {LIMIT} belong", note.len()));
        }
        let signed = key.open(note)?;
        let checkpoint = Self::parse(signed).ok_or("is signed but not in the form of docs/spec/record.md")?;
        if checkpoint.origin != key.name {
            return Err(format!("is of origin `{}`, signed by `{}`", checkpoint.origin, key.name));
        }
        Ok(checkpoint)
    }

    fn parse(signed: &str) -> Option<Self> {
        let mut lines = signed.strip_suffix('\n')?.split('\n');
        let checkpoint = Self {
            origin: lines.next()?.into(),
            size: text::number(lines.next()?)?,
            root: text::hash(lines.next()?)?,
            at: text::parse_time(lines.next()?.strip_prefix("time ")?)?,
        };
        lines.next().is_none().then_some(checkpoint)
    }
}

fn key_id(name: &str, public: &[u8; 32]) -> u32 {
    let hash: Hash = Sha256::new().chain_update(name).chain_update([b'\n', ALGORITHM]).chain_update(public).finalize().into();
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

fn encode_key(key: &[u8; 32]) -> String {
    STANDARD.encode([&[ALGORITHM], &key[..]].concat())
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.contains('+') && !name.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// Ed25519 in C2SP signed-note; other numbers leave room for other algorithms.
const ALGORITHM: u8 = 1;
/// A checkpoint with a good number of cosignatures stays far below this many bytes.
const LIMIT: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> (SignerKey, String) {
        let key = SignerKey::new("reeve.example/record", &[7; 32]).unwrap();
        let at = "2026-01-05T09:12:44.5Z".parse().unwrap();
        let note = key.sign(&Checkpoint { origin: "reeve.example/record".into(), size: 3, root: [9; 32], at }.to_text());
        (key, note)
    }

    #[test]
    fn a_checkpoint_opens_and_no_flipped_bit_does() {
        let (key, note) = checkpoint();
        assert_eq!(Checkpoint::open(&note, key.verifier()).map(|c| c.size), Ok(3));
        for bit in 0..note.len() * 8 {
            let mut bytes = note.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(text) = String::from_utf8(bytes) {
                assert!(Checkpoint::open(&text, key.verifier()).is_err(), "bit {bit} of\n{text}");
            }
        }
    }

    #[test]
    fn keys_come_back_from_their_text() {
        let (key, note) = checkpoint();
        let verifier = VerifierKey::parse(&key.verifier().to_string()).unwrap();
        assert_eq!(&verifier, key.verifier());
        assert_eq!(SignerKey::parse(&key.to_text(), "file").unwrap().verifier(), &verifier);
        assert!(Checkpoint::open(&note, &verifier).is_ok());
        for broken in ["", "a+b", "a+00000000+AAAA", &key.verifier().to_string().replace("record", "recorD")] {
            assert!(VerifierKey::parse(broken).is_err(), "`{broken}`");
        }
    }

    #[test]
    fn origins_that_would_break_the_note_are_refused() {
        for name in ["", "a b", "a+b", "a\nb"] {
            assert!(SignerKey::new(name, &[1; 32]).is_err(), "`{name}`");
        }
    }
}
