//! The proof of one record: `docs/spec/record.md`, *Proof of one record*.
use serde_json::{Value, json};

use crate::{Checkpoint, Fault, Hash, Leaf, Statement, VerifierKey, record, text, tree};

/// What a proof establishes about a record; made only by [`verify_proof`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proven {
    /// `segment-index`.
    pub record: String,
    /// Name of its source.
    pub source: String,
    /// Number among the records of its source in its epoch.
    pub sequence: u64,
    /// When it was received, UTC.
    pub received: String,
    /// The way it came.
    pub transport: &'static str,
    /// How well that way protects it: A, B or C.
    pub grade: char,
    /// Length of its bytes.
    pub raw_bytes: u64,
    /// Policy label.
    pub policy: String,
    /// When its segment was sealed, UTC.
    pub sealed: String,
    /// The log.
    pub origin: String,
    /// Entries of the log under the checkpoint.
    pub size: u64,
    /// When the checkpoint was signed, UTC.
    pub signed: String,
}

impl Proven {
    /// As one JSON object.
    pub fn to_json(&self) -> Value {
        json!({
            "record": self.record,
            "source": self.source,
            "sequence": self.sequence,
            "received": self.received,
            "transport": self.transport,
            "grade": self.grade.to_string(),
            "raw_bytes": self.raw_bytes,
            "policy": self.policy,
            "sealed": self.sealed,
            "origin": self.origin,
            "size": self.size,
            "signed": self.signed,
        })
    }
}

/// Checks that `proof` is about these bytes and rests on a checkpoint signed by `key`.
///
/// # Errors
/// A [`Fault`] that says which step does not hold.
pub fn verify_proof(proof: &[u8], raw: &[u8], key: &VerifierKey) -> Result<Proven, Fault> {
    steps(proof, raw, key).map_err(|(place, what)| Fault::new("LEDGER-012", place, what, Vec::new()))
}

fn steps(proof: &[u8], raw: &[u8], key: &VerifierKey) -> Result<Proven, (&'static str, String)> {
    let fault = |place, what: &str| (place, what.to_owned());
    let proof = Proof::parse(proof).ok_or_else(|| fault("proof", "it is not in the form of docs/spec/record.md"))?;
    let checkpoint = Checkpoint::open(proof.note.as_bytes(), key).map_err(|what| ("checkpoint", format!("it {what}")))?;
    let extra = Extra::parse(&proof.extra).ok_or_else(|| fault("extra", "it is not in the form of docs/spec/record.md"))?;
    let statement = Statement::parse(extra.statement.as_bytes()).ok_or_else(|| fault("statement", "it is no batch statement"))?;
    if tree::root_of_path(statement.leaf, proof.index, checkpoint.size(), &proof.path) != Some(*checkpoint.root()) {
        return Err(fault("statement", "it is not in the main log under this checkpoint"));
    }
    let leaf = Leaf::decode(&extra.leaf).ok_or_else(|| fault("leaf", "it is not in the form of docs/spec/record.md"))?;
    if (leaf.segment, leaf.epoch) != (statement.segment, statement.epoch) || statement.origin != checkpoint.origin() {
        return Err(fault("leaf", "leaf, batch statement and checkpoint are not of one segment, epoch and log"));
    }
    let root = tree::root_of_path(tree::leaf(&extra.leaf), u64::from(leaf.index), u64::from(statement.records), &extra.path);
    if root != Some(statement.root) {
        return Err(("leaf", format!("record {} is not in its batch", leaf.id())));
    }
    if leaf.raw_length != raw.len() as u64 || leaf.commitment != record::commit(&extra.salt, raw) {
        return Err(("raw bytes", format!("they are not those of record {}", leaf.id())));
    }
    Ok(proven(&leaf, &statement, &checkpoint))
}

fn proven(leaf: &Leaf, statement: &Statement, checkpoint: &Checkpoint) -> Proven {
    Proven {
        record: leaf.id(),
        source: leaf.source.into(),
        sequence: leaf.sequence,
        received: leaf.received(),
        transport: leaf.transport_name(),
        grade: leaf.grade(),
        raw_bytes: leaf.raw_length,
        policy: leaf.policy.into(),
        sealed: statement.sealed(),
        origin: checkpoint.origin().into(),
        size: checkpoint.size(),
        signed: checkpoint.time(),
    }
}

/// The outer text: the statement's place in the main log, and the checkpoint.
struct Proof<'a> {
    extra: String,
    index: u64,
    path: Vec<Hash>,
    note: &'a str,
}

impl<'a> Proof<'a> {
    fn parse(proof: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(proof).ok().filter(|text| text.len() <= PROOF_LIMIT)?;
        let (head, note) = text.split_once("\n\n")?;
        let mut lines = head.split('\n');
        if lines.next()? != "c2sp.org/tlog-proof@v1" {
            return None;
        }
        let extra = String::from_utf8(text::bytes(lines.next()?.strip_prefix("extra ")?)?).ok()?;
        let index = text::number(lines.next()?.strip_prefix("index ")?)?;
        Some(Self { extra, index, path: path(lines.map(text::hash))?, note })
    }
}

/// The inner text: leaf, salt, its place in the batch, and the batch statement.
struct Extra<'a> {
    leaf: Vec<u8>,
    salt: Hash,
    path: Vec<Hash>,
    statement: &'a str,
}

impl<'a> Extra<'a> {
    fn parse(extra: &'a str) -> Option<Self> {
        let (head, statement) = extra.split_once("\nstatement\n")?;
        let mut lines = head.split('\n');
        if lines.next()? != "reeve-record-proof/v1" {
            return None;
        }
        let leaf = text::bytes(lines.next()?.strip_prefix("leaf ")?)?;
        let salt = text::hash(lines.next()?.strip_prefix("salt ")?)?;
        let path = path(lines.map(|line| text::hash(line.strip_prefix("path ")?)))?;
        Some(Self { leaf, salt, path, statement })
    }
}

fn path(hashes: impl Iterator<Item = Option<Hash>>) -> Option<Vec<Hash>> {
    hashes.collect::<Option<Vec<_>>>().filter(|path| path.len() <= 64)
}

const PROOF_LIMIT: usize = 262_144;
