//! The proof of one record: *Proof of one record* in `docs/spec/record.md` and `docs/spec/log.md`.
use serde::Serialize;

use crate::{Checkpoint, Fault, Hash, Leaf, Policy, Statement, VerifierKey, epoch::Epoch, record, text, tree};

/// What a proof establishes about a record; made only by [`verify_proof`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
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
    pub entries: u64,
    /// When the checkpoint was signed, UTC.
    pub signed: String,
}

/// Checks that `proof` is about these bytes and rests on a checkpoint signed by `key`, and cosigned as the policy demands if there is one.
///
/// # Errors
/// A [`Fault`] that says which step does not hold.
pub fn verify_proof(proof: &[u8], raw: &[u8], key: &VerifierKey, policy: Option<&Policy>) -> Result<Proven, Fault> {
    steps(proof, raw, key, policy).map_err(|(place, what)| Fault::new("LEDGER-012", place, what, Vec::new()))
}

fn steps(proof: &[u8], raw: &[u8], key: &VerifierKey, policy: Option<&Policy>) -> Result<Proven, (&'static str, String)> {
    let fault = |place, what: &str| (place, what.to_owned());
    let proof = Proof::parse(proof).ok_or_else(|| fault("proof", "it is not in the form of docs/spec/record.md"))?;
    let checkpoint = Checkpoint::open(proof.note.as_bytes(), key).map_err(|what| ("checkpoint", format!("it {what}")))?;
    let extra = Extra::parse(&proof.extra).ok_or_else(|| fault("extra", "it is not in the form of docs/spec/record.md"))?;
    let statement = Statement::parse(extra.statement.as_bytes()).ok_or_else(|| fault("statement", "it is no batch statement"))?;
    if tree::root_of_path(statement.leaf, proof.index, checkpoint.size, &proof.path) != Some(checkpoint.root) {
        return Err(fault("statement", "it is not in the main log under this checkpoint"));
    }
    let leaf = Leaf::decode(&extra.leaf).ok_or_else(|| fault("leaf", "it is not in the form of docs/spec/record.md"))?;
    if (leaf.segment, leaf.epoch) != (statement.segment, statement.epoch) || statement.origin != checkpoint.origin {
        return Err(fault("leaf", "leaf, batch statement and checkpoint are not of one segment, epoch and log"));
    }
    let root = tree::root_of_path(tree::leaf(&extra.leaf), u64::from(leaf.index), u64::from(statement.records), &extra.path);
    if root != Some(statement.root) {
        return Err(("leaf", format!("record {} is not in its batch", leaf.id())));
    }
    if leaf.raw_length != raw.len() as u64 || leaf.commitment != record::commit(&extra.salt, raw) {
        return Err(("raw bytes", format!("they are not those of record {}", leaf.id())));
    }
    if let Some((index, path, entry)) = &extra.epoch {
        let epoch = Epoch::parse(entry).filter(|epoch| epoch.origin == checkpoint.origin);
        let epoch = epoch.ok_or_else(|| fault("epoch", "it is no epoch of this log"))?;
        if tree::root_of_path(tree::leaf(entry.as_bytes()), *index, checkpoint.size, path) != Some(checkpoint.root) {
            return Err(fault("epoch", "it is not in the main log under this checkpoint"));
        }
        epoch.check(&checkpoint).map_err(|what| ("checkpoint", format!("it {what}")))?;
    }
    policy.map_or(Ok(()), |policy| policy.check(&checkpoint.note)).map_err(|what| ("checkpoint", format!("it {what}")))?;
    Ok(proven(&leaf, &statement, &checkpoint))
}

fn proven(leaf: &Leaf, statement: &Statement, checkpoint: &Checkpoint) -> Proven {
    Proven {
        record: leaf.id(),
        source: leaf.source.into(),
        sequence: leaf.sequence,
        received: text::time_text(leaf.received_at),
        transport: leaf.transport_name(),
        grade: leaf.grade(),
        raw_bytes: leaf.raw_length,
        policy: leaf.policy.into(),
        sealed: text::time_text(statement.sealed),
        origin: checkpoint.origin.clone(),
        entries: checkpoint.size,
        signed: text::time_text(checkpoint.at),
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

/// The inner text: leaf, salt, its place in the batch, the key epoch of the checkpoint, and the batch statement.
struct Extra<'a> {
    leaf: Vec<u8>,
    salt: Hash,
    path: Vec<Hash>,
    /// Index, path and text of the epoch's entry; version 1 has none.
    epoch: Option<(u64, Vec<Hash>, String)>,
    statement: &'a str,
}

impl<'a> Extra<'a> {
    fn parse(extra: &'a str) -> Option<Self> {
        let (head, statement) = extra.split_once("\nstatement\n")?;
        let mut lines = head.split('\n').peekable();
        let version = lines.next()?;
        let leaf = text::bytes(text::field(lines.next()?, "leaf")?)?;
        let salt = text::hash(text::field(lines.next()?, "salt")?)?;
        let hashes = |lines: &mut std::iter::Peekable<std::str::Split<'a, char>>, name| {
            let named = std::iter::from_fn(|| text::field(lines.next_if(|line| text::field(line, name).is_some())?, name));
            path(named.map(text::hash))
        };
        let path = hashes(&mut lines, "path")?;
        let epoch = match version {
            "reeve-record-proof/v1" => None,
            "reeve-record-proof/v2" => {
                let index = text::number(text::field(lines.next()?, "epoch")?)?;
                let path = hashes(&mut lines, "epoch_path")?;
                Some((index, path, String::from_utf8(text::bytes(text::field(lines.next()?, "epoch_entry")?)?).ok()?))
            }
            _ => return None,
        };
        lines.next().is_none().then_some(Self { leaf, salt, path, epoch, statement })
    }
}

fn path(hashes: impl Iterator<Item = Option<Hash>>) -> Option<Vec<Hash>> {
    hashes.collect::<Option<Vec<_>>>().filter(|path| path.len() <= 64)
}

const PROOF_LIMIT: usize = 262_144;
