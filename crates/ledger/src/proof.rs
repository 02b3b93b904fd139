//! Proof of one record: a C2SP tlog-proof text that anyone can check with the raw bytes and the log's key, offline.
use std::{path::Path, sync::Arc};

use reeve_record::{Hash, Leaf, RecordId, commit, leaf_hash};

use crate::{
    Disk, Error, RealDisk,
    disk::read_all,
    main_log::{open_checkpoint, read_entries},
    note::{Checkpoint, VerifierKey},
    segment::{Leaves, SegmentReader},
    statement::Statement,
    text, tree,
};

/// What a proof shows once it was checked. Made only by [`verify_proof`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProvenRecord {
    /// The leaf: where, when and how the record was received.
    pub leaf: Leaf,
    /// The batch it was sealed in.
    pub statement: Statement,
    /// The signed tree head that covers it.
    pub checkpoint: Checkpoint,
}

/// The proof of the sealed record `id` in the ledger folder `dir`, which may be in use. Recomputes the record's whole batch from stored bytes.
///
/// # Errors
/// [`Error::NotSealed`], [`Error::NoRecord`]; [`Error::Segment`] if the batch no longer gives the root that was signed.
pub fn prove(dir: &Path, id: RecordId) -> Result<String, Error> {
    prove_on(&(Arc::new(RealDisk) as Arc<dyn Disk>), dir, id)
}

/// As [`prove`], on another disk.
///
/// # Errors
/// As [`prove`].
pub fn prove_on(disk: &Arc<dyn Disk>, dir: &Path, id: RecordId) -> Result<String, Error> {
    let key = own_key(&**disk, dir)?;
    let path = dir.join("log/checkpoint");
    let bytes = match read_all(&**disk, &path, 1 << 16) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Error::NotSealed { id }),
        read => read.map_err(|error| Error::io("read", &path, error))?,
    };
    let (checkpoint, note) = open_checkpoint(&path, bytes, &key)?;
    let mut entries = Vec::new();
    let mut statement = None;
    read_entries(&**disk, &dir.join("log"), checkpoint.size, |_, entry| {
        if entries.len() as u32 == id.segment {
            statement = std::str::from_utf8(entry).ok().and_then(Statement::parse);
        }
        entries.push(leaf_hash(entry));
        Ok(())
    })?;
    if tree::root(&entries) != checkpoint.root {
        return Err(Error::Checkpoint { path, reason: "its root is not that of the entries stored".into() });
    }
    let statement = statement.filter(|statement| statement.segment == id.segment).ok_or(Error::NotSealed { id })?;
    if id.index >= statement.records || statement.is_lost(id.index) {
        return Err(Error::NoRecord { id });
    }
    let (leaf, salt, path) = prove_in_batch(&**disk, dir, id, &statement)?;
    let log_path = tree::inclusion_path(&entries, id.segment as usize).unwrap_or_default();
    let extra = Extra { leaf: leaf.encode(), salt, path, statement: statement.to_text() };
    Ok(Proof { extra: extra.to_text(), index: u64::from(id.segment), path: log_path, note }.to_text())
}

fn prove_in_batch(
    disk: &dyn Disk,
    dir: &Path,
    id: RecordId,
    statement: &Statement,
) -> Result<(Leaf, [u8; 32], Vec<Hash>), Error> {
    let reader = SegmentReader::open(disk, &dir.join("segments"), id.segment)?;
    let salt = reader.identity.secret.salts(id.segment).salt(id.index);
    let mut leaves = Leaves::new(reader.identity.clone());
    let mut wanted = None;
    let mut first = 0;
    while first < statement.records {
        let end = statement.records.min(first.saturating_add(4096));
        for (row, index) in reader.read(&[first..end])?.into_iter().zip(first..) {
            match &row.raw {
                None => leaves.lost(),
                Some(raw) => {
                    let leaf = leaves.push(&row.receipt, row.previous, raw);
                    if index == id.index {
                        wanted = Some(leaf);
                    }
                }
            }
        }
        first = end;
    }
    let broken = || Error::Segment { segment: id.segment, reason: "its records no longer give the root that was signed".into() };
    if leaves.root() != statement.root {
        return Err(broken());
    }
    let path = tree::inclusion_path(&leaves.hashes, id.index as usize).ok_or_else(broken)?;
    Ok((wanted.ok_or_else(broken)?, salt, path))
}

/// Checks a proof against the raw bytes and the log's key.
///
/// # Errors
/// [`Error::Proof`] says which step does not hold.
pub fn verify_proof(proof: &str, raw: &[u8], key: &VerifierKey) -> Result<ProvenRecord, Error> {
    let bad = |reason: String| Error::Proof { reason };
    let parsed = Proof::parse(proof).ok_or_else(|| bad("it is not in the form of docs/spec/record.md".into()))?;
    let checkpoint = Checkpoint::open(&parsed.note, key).map_err(|reason| bad(format!("the checkpoint {reason}")))?;
    let extra = Extra::parse(&parsed.extra).ok_or_else(|| bad("its `extra` is not in the form of docs/spec/record.md".into()))?;
    let statement = Statement::parse(&extra.statement).ok_or_else(|| bad("its batch statement is none".into()))?;
    let entry = leaf_hash(extra.statement.as_bytes());
    if tree::root_from_path(&entry, parsed.index, checkpoint.size, &parsed.path) != Some(checkpoint.root) {
        return Err(bad("the batch statement is not in the main log under this checkpoint".into()));
    }
    let leaf = Leaf::decode(&extra.leaf).map_err(|error| bad(error.to_string()))?;
    if leaf.id.segment != statement.segment || leaf.receipt.epoch != statement.epoch || statement.origin != checkpoint.origin {
        return Err(bad("leaf, batch statement and checkpoint are not of one segment, epoch and log".into()));
    }
    let root = tree::root_from_path(&leaf_hash(&extra.leaf), u64::from(leaf.id.index), u64::from(statement.records), &extra.path);
    if root != Some(statement.root) {
        return Err(bad(format!("the leaf of record {} is not in its batch", leaf.id)));
    }
    if leaf.raw_length != raw.len() as u64 || leaf.commitment != commit(&extra.salt, raw) {
        return Err(bad(format!("the bytes are not those of record {}", leaf.id)));
    }
    Ok(ProvenRecord { leaf, statement, checkpoint })
}

/// The verifier key the folder itself names.
pub(crate) fn own_key(disk: &dyn Disk, dir: &Path) -> Result<VerifierKey, Error> {
    let path = dir.join("keys/checkpoint.vkey");
    let bytes = read_all(disk, &path, 4096).map_err(|error| Error::io("read", &path, error))?;
    let bad = || Error::Key { place: path.display().to_string(), reason: "it is not a verifier key".into() };
    let text = String::from_utf8(bytes).map_err(|_| bad())?;
    let key = VerifierKey::parse(&text)?;
    if text == format!("{key}\n") { Ok(key) } else { Err(bad()) }
}

/// The tlog-proof frame.
struct Proof {
    extra: String,
    index: u64,
    path: Vec<Hash>,
    note: String,
}

impl Proof {
    fn to_text(&self) -> String {
        let mut out = format!("{PROOF_HEAD}\nextra {}\nindex {}\n", text::base64(self.extra.as_bytes()), self.index);
        for hash in &self.path {
            out.push_str(&text::base64(hash));
            out.push('\n');
        }
        out.push('\n');
        out.push_str(&self.note);
        out
    }

    fn parse(proof: &str) -> Option<Self> {
        let (head, note) = proof.get(..).filter(|proof| proof.len() <= PROOF_LIMIT)?.split_once("\n\n")?;
        let mut lines = head.split('\n');
        if lines.next()? != PROOF_HEAD {
            return None;
        }
        let extra = String::from_utf8(text::bytes(lines.next()?.strip_prefix("extra ")?)?).ok()?;
        let index = text::number(lines.next()?.strip_prefix("index ")?)?;
        let path = lines.map(text::hash).collect::<Option<Vec<_>>>().filter(|path| path.len() <= 64)?;
        Some(Self { extra, index, path, note: note.into() })
    }
}

/// What a tlog-proof carries besides: the way from the record to the entry of the main log.
struct Extra {
    leaf: Vec<u8>,
    salt: [u8; 32],
    path: Vec<Hash>,
    statement: String,
}

impl Extra {
    fn to_text(&self) -> String {
        let mut out = format!("{EXTRA_HEAD}\nleaf {}\nsalt {}\n", text::base64(&self.leaf), text::base64(&self.salt));
        for hash in &self.path {
            out.push_str(&format!("path {}\n", text::base64(hash)));
        }
        out.push_str("statement\n");
        out.push_str(&self.statement);
        out
    }

    fn parse(extra: &str) -> Option<Self> {
        let (head, statement) = extra.split_once("\nstatement\n")?;
        let mut lines = head.split('\n');
        if lines.next()? != EXTRA_HEAD {
            return None;
        }
        let leaf = text::bytes(lines.next()?.strip_prefix("leaf ")?)?;
        let salt = text::hash(lines.next()?.strip_prefix("salt ")?)?;
        let path = lines
            .map(|line| text::hash(line.strip_prefix("path ")?))
            .collect::<Option<Vec<_>>>()
            .filter(|path| path.len() <= 64)?;
        Some(Self { leaf, salt, path, statement: statement.into() })
    }
}

const PROOF_HEAD: &str = "c2sp.org/tlog-proof@v1";
const EXTRA_HEAD: &str = "reeve-record-proof/v1";
/// Far above any proof that can be: two paths, a leaf, a statement and a checkpoint.
const PROOF_LIMIT: usize = 256 << 10;
