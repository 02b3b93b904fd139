//! C2SP signed notes with Ed25519, the checkpoint they carry, and cosignatures.
use std::sync::Arc;

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

    /// The 32 bytes of the public key.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// A key by its 32 bytes. The reason follows "the key …".
    pub(crate) fn from_bytes(name: &str, bytes: &[u8; 32]) -> Result<Self, String> {
        if !is_name(name) {
            return Err("has a name with spaces, control characters or `+`, or of no or more than 255 bytes".into());
        }
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| "is no point on the curve")?;
        Ok(Self { name: name.into(), id: key_id(name, ED25519, bytes), key })
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// [`Error::Key`] if it is not such a key, is not Ed25519 or its id does not fit.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (name, id, key) = parse_key(text, ED25519)?;
        Ok(Self { name, id, key })
    }

    /// Checks that `note` is signed by this key; gives the signed text.
    ///
    /// # Errors
    /// The reason, as words that follow "the note …".
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, String> {
        let (signed, lines) = split(note)?;
        let mut found = false;
        for line in lines.iter().filter(|line| line.name == self.name && line.id == self.id) {
            let signature = Signature::from_slice(&line.signature).map_err(|_| "has a signature of the wrong length")?;
            self.key.verify_strict(signed.as_bytes(), &signature).map_err(|_| "has a signature that does not fit its text")?;
            found = true;
        }
        if found { Ok(signed) } else { Err(format!("is not signed by `{}`", self.name)) }
    }

    /// Whether `signature` is this key's over `message`.
    pub(crate) fn signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{:08x}+{}", self.name, self.id, encode_key(ED25519, self.key.as_bytes()))
    }
}

/// Public key of a witness that cosigns checkpoints (C2SP tlog-cosignature, `cosignature/v1`, Ed25519).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WitnessKey {
    name: String,
    id: u32,
    key: VerifyingKey,
}

impl WitnessKey {
    /// The witness's own name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Reads the text form `name+id+key`.
    ///
    /// # Errors
    /// [`Error::Key`] if it is not the Ed25519 cosignature key of a witness.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (name, id, key) = parse_key(text, COSIGNATURE)?;
        Ok(Self { name, id, key })
    }

    /// When this witness cosigned `note`, in seconds since 1970; `None` if it did not.
    ///
    /// # Errors
    /// A line that names this key and does not fit, as words that follow "the note …".
    pub(crate) fn cosigned(&self, note: &str) -> Result<Option<u64>, String> {
        let (signed, lines) = split(note)?;
        let mut at = None;
        for line in lines.iter().filter(|line| line.name == self.name && line.id == self.id) {
            let wrong = || format!("has a cosignature of `{}` that does not fit its text", self.name);
            let (time, signature) = line.signature.split_first_chunk::<8>().ok_or_else(wrong)?;
            let time = u64::from_be_bytes(*time);
            let signature = Signature::from_slice(signature).map_err(|_| wrong())?;
            let message = format!("cosignature/v1\ntime {time}\n{signed}");
            if time > i64::MAX as u64 || self.key.verify_strict(message.as_bytes(), &signature).is_err() {
                return Err(wrong());
            }
            at = Some(time);
        }
        Ok(at)
    }
}

impl std::fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{:08x}+{}", self.name, self.id, encode_key(COSIGNATURE, self.key.as_bytes()))
    }
}

/// One signature line of a note, not checked yet.
struct SignatureLine<'a> {
    name: &'a str,
    id: u32,
    signature: Vec<u8>,
}

/// The signed text of a note, and its signature lines.
fn split(note: &str) -> Result<(&str, Vec<SignatureLine<'_>>), String> {
    let split = note.rfind("\n\n").ok_or("has no signature block")?;
    let (signed, lines) = (&note[..=split], &note[split + 2..]);
    let lines = lines.strip_suffix('\n').ok_or("does not end with a line break")?;
    let lines: Result<Vec<_>, String> = lines.split('\n').map(signature_line).collect();
    Ok((signed, lines.map(|lines| lines.into_iter().take(SIGNATURES_MAX).collect())?))
}

fn signature_line(line: &str) -> Result<SignatureLine<'_>, String> {
    let (name, blob) = line.strip_prefix("— ").and_then(|line| line.split_once(' ')).ok_or("has a broken signature line")?;
    let blob = STANDARD.decode(blob).map_err(|_| "has a signature that is not base64")?;
    let (id, signature) = blob.split_first_chunk::<4>().ok_or("has a signature that is too short")?;
    Ok(SignatureLine { name, id: u32::from_be_bytes(*id), signature: signature.into() })
}

/// A signing key kept by somebody else, such as a PKCS#11 token. The log's stable key may be one.
pub trait ExternalKey: Send + Sync {
    /// The 32 bytes of the Ed25519 public key.
    fn public(&self) -> [u8; 32];

    /// The Ed25519 signature (RFC 8032, pure) over `message`.
    ///
    /// # Errors
    /// What the keeper said, in words.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String>;
}

/// A signing key of the log, with its public half.
#[derive(Clone)]
pub(crate) struct SignerKey {
    secret: Secret,
    verifier: VerifierKey,
}

#[derive(Clone)]
enum Secret {
    /// In memory; zeroed when dropped.
    Own(Box<SigningKey>),
    Kept(Arc<dyn ExternalKey>),
}

impl SignerKey {
    pub(crate) fn new(name: &str, seed: &[u8; 32]) -> Result<Self, Error> {
        if !is_name(name) {
            let reason = "an origin is text without spaces, control characters and `+`, of at most 255 bytes";
            return Err(Error::Key { place: name.chars().take(200).collect(), reason: reason.into() });
        }
        let key = SigningKey::from_bytes(seed);
        let verifying = key.verifying_key();
        let verifier = VerifierKey { name: name.into(), id: key_id(name, ED25519, verifying.as_bytes()), key: verifying };
        Ok(Self { secret: Secret::Own(Box::new(key)), verifier })
    }

    /// A key that somebody else keeps.
    pub(crate) fn kept(name: &str, key: Arc<dyn ExternalKey>) -> Result<Self, Error> {
        let bad = |reason| Error::Key { place: "the external key".into(), reason: format!("it {reason}") };
        let verifier = VerifierKey::from_bytes(name, &key.public()).map_err(bad)?;
        Ok(Self { secret: Secret::Kept(key), verifier })
    }

    pub(crate) fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The text kept in the key file, in the form of `golang.org/x/mod/sumdb/note`; `None` if the key is kept by somebody else.
    pub(crate) fn to_text(&self) -> Option<Zeroizing<String>> {
        let Secret::Own(key) = &self.secret else { return None };
        let secret = Zeroizing::new(encode_key(ED25519, key.as_bytes()));
        Some(Zeroizing::new(format!("PRIVATE+KEY+{}+{:08x}+{}\n", self.verifier.name, self.verifier.id, *secret)))
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
        let [ED25519, seed @ ..] = &key[..] else { return Err(bad("only Ed25519 keys are known")) };
        let seed = Zeroizing::new(<[u8; 32]>::try_from(seed).map_err(|_| bad("an Ed25519 key has 32 bytes"))?);
        let key = Self::new(name, &seed)?;
        if id != format!("{:08x}", key.verifier.id) {
            return Err(bad("its id is not that of name and key"));
        }
        Ok(key)
    }

    /// The signature over `message`; only a key kept by somebody else can fail.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<[u8; 64], Error> {
        let key = match &self.secret {
            Secret::Own(key) => return Ok(key.sign(message).to_bytes()),
            Secret::Kept(key) => key,
        };
        let bad = |reason: String| Error::Key { place: self.verifier.to_string(), reason };
        let signature = key.sign(message).map_err(|said| bad(format!("its keeper does not sign: {said}")))?;
        if self.verifier.signed(message, &signature) {
            Ok(signature)
        } else {
            Err(bad("what its keeper signed does not verify".into()))
        }
    }

    fn line(&self, text: &str) -> Result<String, Error> {
        let blob = [&self.verifier.id.to_be_bytes()[..], &self.sign(text.as_bytes())?].concat();
        Ok(format!("— {} {}\n", self.verifier.name, STANDARD.encode(blob)))
    }
}

/// The note over `text`, which ends with a line break, with a line for each key in order.
pub(crate) fn sign(text: &str, keys: &[&SignerKey]) -> Result<String, Error> {
    let lines: Result<String, Error> = keys.iter().map(|key| key.line(text)).collect();
    Ok(format!("{text}\n{}", lines?))
}

/// A key that signs notes in its own name, as a source's does. Zeroed when dropped.
pub struct NoteKey(SignerKey);

impl NoteKey {
    /// A key named `name` from 32 secret random bytes.
    ///
    /// # Errors
    /// [`Error::Key`] if a key cannot have that name.
    pub fn new(name: &str, seed: &[u8; 32]) -> Result<Self, Error> {
        SignerKey::new(name, seed).map(Self)
    }

    /// Reads the text of a key file; `place` names it in errors.
    ///
    /// # Errors
    /// [`Error::Key`], which never repeats the key.
    pub fn parse(text: &str, place: &str) -> Result<Self, Error> {
        SignerKey::parse(text, place).map(Self)
    }

    /// The text of a key file, `PRIVATE+KEY+name+id+key`.
    pub fn to_text(&self) -> Zeroizing<String> {
        self.0.to_text().unwrap_or_default()
    }

    /// Its public half.
    pub fn verifier(&self) -> &VerifierKey {
        self.0.verifier()
    }

    /// The note over `text`, which ends with a line break.
    pub fn sign(&self, text: &str) -> String {
        // A key in memory signs whatever it is given.
        sign(text, &[&self.0]).unwrap_or_default()
    }
}

impl std::fmt::Debug for NoteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NoteKey({})", self.0.verifier())
    }
}

/// What a ledger signs besides checkpoints; format `docs/spec/receipt.md`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attested {
    /// That a delivery is durable.
    Receipt,
    /// What is there of a source, and what is not.
    Completeness,
}

impl Attested {
    const fn head(self) -> &'static str {
        match self {
            Attested::Receipt => "reeve-receipt/v1",
            Attested::Completeness => "reeve-completeness/v1",
        }
    }

    /// The text that is signed. Its first line keeps it apart from checkpoints, whose second line is a number.
    pub(crate) fn text(self, origin: &str, lines: &str) -> String {
        format!("{}\norigin {origin}\n{lines}", self.head())
    }
}

/// The lines after kind and origin of a note that the ledger with this key signed.
///
/// # Errors
/// The reason, as words that follow "the note …".
pub fn open_attested<'a>(kind: Attested, note: &'a str, key: &VerifierKey) -> Result<&'a str, String> {
    let signed = key.open(note)?;
    let lines = signed.strip_prefix(kind.head()).and_then(|rest| rest.strip_prefix("\norigin "));
    let (origin, lines) = lines.and_then(|rest| rest.split_once('\n')).ok_or("is signed but of another kind")?;
    if origin == key.name { Ok(lines) } else { Err(format!("is of origin `{origin}`, signed by `{}`", key.name)) }
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
        let checkpoint = Self::parse(signed).ok_or("is signed but not in the form of docs/spec/log.md")?;
        if checkpoint.origin != key.name {
            return Err(format!("is of origin `{}`, signed by `{}`", checkpoint.origin, key.name));
        }
        Ok(checkpoint)
    }

    /// Whether `note` has the form of a signed checkpoint, of whatever log and by whatever key.
    pub fn is_form_of(note: &str) -> bool {
        note.rsplit_once("\n\n").is_some_and(|(text, _)| Self::parse(&format!("{text}\n")).is_some())
    }

    /// Reads the text of a checkpoint.
    pub(crate) fn parse(signed: &str) -> Option<Self> {
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

/// Reads the text form of a public key of one algorithm.
fn parse_key(text: &str, algorithm: u8) -> Result<(String, u32, VerifyingKey), Error> {
    let bad = |reason: &str| Error::Key { place: text.chars().take(200).collect(), reason: reason.into() };
    let mut parts = text.trim_end_matches('\n').splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(bad("a verifier key is `name+id+key`"));
    };
    let key = STANDARD.decode(key).map_err(|_| bad("its last part is not base64"))?;
    let key = match &key[..] {
        [have, key @ ..] if *have == algorithm => key,
        _ if algorithm == COSIGNATURE => return Err(bad("only Ed25519 cosignature keys (type 4) of witnesses are known")),
        _ => return Err(bad("only Ed25519 keys are known")),
    };
    let key = <[u8; 32]>::try_from(key).map_err(|_| bad("an Ed25519 key has 32 bytes"))?;
    let number = key_id(name, algorithm, &key);
    let key = VerifyingKey::from_bytes(&key).map_err(|_| bad("it is no point on the curve"))?;
    if !is_name(name) || id != format!("{number:08x}") {
        return Err(bad("its id is not that of name and key"));
    }
    Ok((name.into(), number, key))
}

/// The text form of a witness's key.
#[cfg(test)]
pub(crate) fn witness_vkey(name: &str, key: &[u8; 32]) -> String {
    format!("{name}+{:08x}+{}", key_id(name, COSIGNATURE, key), encode_key(COSIGNATURE, key))
}

fn key_id(name: &str, algorithm: u8, public: &[u8; 32]) -> u32 {
    let hash: Hash = Sha256::new().chain_update(name).chain_update([b'\n', algorithm]).chain_update(public).finalize().into();
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

fn encode_key(algorithm: u8, key: &[u8; 32]) -> String {
    STANDARD.encode([&[algorithm], &key[..]].concat())
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.contains('+') && !name.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// Ed25519 in C2SP signed-note; other numbers leave room for other algorithms.
const ED25519: u8 = 1;
/// Timestamped Ed25519 cosignature, C2SP tlog-cosignature.
const COSIGNATURE: u8 = 4;
/// Signature lines that are looked at.
const SIGNATURES_MAX: usize = 128;
/// A checkpoint with a good number of cosignatures stays far below this many bytes.
const LIMIT: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> (SignerKey, String) {
        let key = SignerKey::new("reeve.example/record", &[7; 32]).unwrap();
        let at = "2026-01-05T09:12:44.5Z".parse().unwrap();
        let text = Checkpoint { origin: "reeve.example/record".into(), size: 3, root: [9; 32], at }.to_text();
        let note = sign(&text, &[&key]).unwrap();
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
        assert_eq!(SignerKey::parse(&key.to_text().unwrap(), "file").unwrap().verifier(), &verifier);
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
