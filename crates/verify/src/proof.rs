//! The proof of one record: *Proof of one record* in `docs/spec/record.md` and `docs/spec/log.md`.
use serde::Serialize;

use crate::{
    Checkpoint, Fault, Hash, Policy, VerifierKey,
    epoch::Epoch,
    record::{self, Leaf},
    statement::Statement,
    text::{self, need},
    tree,
};

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
    steps(proof, raw, key, policy).map_err(|what| Fault { code: "LEDGER-012", what, place: "proof".into(), records: Vec::new() })
}

fn steps(proof: &[u8], raw: &[u8], key: &VerifierKey, policy: Option<&Policy>) -> Result<Proven, String> {
    let (extra, index, path, note) = outer(proof).ok_or("it is not in the form of docs/spec/record.md")?;
    let checkpoint = Checkpoint::open(note, key).map_err(|what| format!("its checkpoint {what}"))?;
    let extra = Extra::parse(&extra).ok_or("its extra is not in the form of docs/spec/record.md")?;
    let statement = Statement::parse(extra.statement.as_bytes()).ok_or("its statement is no batch statement")?;
    let is_in_log = |leaf, index, path: &[Hash]| tree::root_of_path(leaf, index, checkpoint.size, path) == Some(checkpoint.root);
    let sealed = is_in_log(statement.leaf, index, &path);
    need(sealed, "the statement is not in the main log under this checkpoint")?;
    let leaf = Leaf::decode(&extra.leaf).ok_or("its leaf is not in the form of docs/spec/record.md")?;
    let same = (leaf.segment, leaf.epoch) == (statement.segment, statement.epoch) && statement.origin == checkpoint.origin;
    need(same, "leaf, batch statement and checkpoint are not of one segment, epoch and log")?;
    let root = tree::root_of_path(tree::leaf(&extra.leaf), leaf.index.into(), statement.records.into(), &extra.path);
    need(root == Some(statement.root), format!("record {} is not in its batch", leaf.id()))?;
    let same = leaf.raw_length == raw.len() as u64 && leaf.commitment == record::commit(&extra.salt, raw);
    need(same, format!("the bytes are not those of record {}", leaf.id()))?;
    if let Some((index, path, entry)) = &extra.epoch {
        let epoch =
            Epoch::parse(entry).filter(|epoch| epoch.origin == checkpoint.origin).ok_or("it names no epoch of this log")?;
        need(is_in_log(tree::leaf(entry.as_bytes()), *index, path), "the epoch is not in the main log under this checkpoint")?;
        epoch.check(&checkpoint).map_err(|what| format!("its checkpoint {what}"))?;
    }
    policy.map_or(Ok(()), |policy| policy.check(&checkpoint.note)).map_err(|what| format!("its checkpoint {what}"))?;
    Ok(Proven {
        record: leaf.id(),
        source: leaf.source.into(),
        sequence: leaf.sequence,
        received: text::time_text(leaf.received_at),
        transport: leaf.transport_name(),
        grade: leaf.grade(),
        raw_bytes: leaf.raw_length,
        policy: leaf.policy.into(),
        sealed: text::time_text(statement.sealed),
        origin: statement.origin,
        entries: checkpoint.size,
        signed: text::time_text(checkpoint.at),
    })
}

/// The outer text: what the checkpoint vouches for, its place in the main log with the path there, and the checkpoint.
fn outer(proof: &[u8]) -> Option<(String, u64, Vec<Hash>, &[u8])> {
    let text = std::str::from_utf8(proof).ok().filter(|text| text.len() <= PROOF_LIMIT)?;
    let (head, note) = text.strip_prefix("c2sp.org/tlog-proof@v1\n")?.split_once("\n\n")?;
    let mut lines = head.split('\n');
    let extra = text::bytes(text::field(lines.next()?, "extra")?)?;
    let index = text::number(text::field(lines.next()?, "index")?)?;
    Some((String::from_utf8(extra).ok()?, index, path(lines.map(text::hash))?, note.as_bytes()))
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
