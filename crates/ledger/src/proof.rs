//! Proof of one record: a C2SP tlog-proof text that anyone can check with the raw bytes and the log's key, offline.
use std::{path::Path, sync::Arc};

use reeve_record::{Hash, Leaf, RecordId, commit, leaf_hash};

use crate::{
    Disk, Error, Policy, RealDisk,
    disk::read_all,
    disposal::Disposed,
    entry::Entry,
    epoch::EpochStatement,
    main_log::{open_checkpoint, read_entries},
    note::{Checkpoint, VerifierKey},
    segment::redact,
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
    /// Index of the batch's entry in the main log.
    pub entry: u64,
    /// The signed tree head that covers it.
    pub checkpoint: Checkpoint,
    /// The key epoch of that checkpoint; `None` in a log of before there were any.
    pub epoch: Option<EpochStatement>,
    /// Names of the witnesses that cosigned the checkpoint; empty if no policy was given.
    pub witnesses: Vec<String>,
}

/// What a proof is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// The log's stable key.
    pub key: &'a VerifierKey,
    /// Whose cosignatures are demanded; `None`: nobody's.
    pub policy: Option<&'a Policy>,
}

impl<'a> From<&'a VerifierKey> for Trust<'a> {
    fn from(key: &'a VerifierKey) -> Self {
        Self { key, policy: None }
    }
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
    let disk = &**disk;
    let key = own_key(disk, dir)?;
    let Some(newest) = read_checkpoint(disk, &dir.join("log/checkpoint"), &key)? else { return Err(Error::NotSealed { id }) };
    let found = find(disk, dir, &newest, id)?;
    // One that the witnesses cosigned convinces more people, if it covers the record.
    let cosigned = read_checkpoint(disk, &dir.join("log/cosigned"), &key).ok().flatten();
    let cosigned = cosigned.filter(|cosigned| cosigned.0.size > found.entry && cosigned.0.size <= newest.0.size);
    let (found, note) = match cosigned {
        // The files are those that the newest one speaks of.
        Some(cosigned) => (Found { disposed: found.disposed, ..find(disk, dir, &cosigned, id)? }, cosigned.1),
        None => (found, newest.1),
    };
    if id.index >= found.statement.records || found.statement.is_lost(id.index) {
        return Err(Error::NoRecord { id });
    }
    let entry = found.disposed.entry;
    if found.disposed.destroyed {
        return Err(Error::Disposed { id, how: "destroyed", entry });
    }
    if found.disposed.is_redacted(id.index) {
        return Err(Error::Disposed { id, how: "redacted", entry });
    }
    let (leaf, salt, path) = prove_in_batch(disk, dir, id, &found.statement, &found.disposed)?;
    let way_to = |index: u64| tree::inclusion_path(&found.leaves, index as usize).unwrap_or_default();
    let epoch =
        found.epoch.as_ref().map(|(index, epoch)| EpochPart { index: *index, path: way_to(*index), entry: epoch.to_text() });
    let extra = Extra { leaf: leaf.encode(), salt, path, epoch, statement: found.statement.to_text() };
    Ok(Proof { extra: extra.to_text(), index: found.entry, path: way_to(found.entry), note }.to_text())
}

fn read_checkpoint(disk: &dyn Disk, path: &Path, key: &VerifierKey) -> Result<Option<(Checkpoint, String)>, Error> {
    match read_all(disk, path, 1 << 16) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => open_checkpoint(path, read.map_err(|error| Error::io("read", path, error))?, key).map(Some),
    }
}

/// A batch in the main log under one checkpoint.
struct Found {
    leaves: Vec<Hash>,
    entry: u64,
    statement: Statement,
    /// What became of its content.
    disposed: Disposed,
    /// The last epoch under the checkpoint, with its index.
    epoch: Option<(u64, EpochStatement)>,
}

fn find(disk: &dyn Disk, dir: &Path, (checkpoint, _): &(Checkpoint, String), id: RecordId) -> Result<Found, Error> {
    let (mut leaves, mut batch, mut epoch, mut disposed) = (Vec::new(), None, None, Disposed::default());
    read_entries(disk, &dir.join("log"), checkpoint.size, |index, bytes| {
        match Entry::parse(bytes) {
            Ok(Entry::Batch(statement)) if statement.segment == id.segment => batch = Some((index, statement)),
            Ok(Entry::Disposal(disposal)) if disposal.segment == id.segment => {
                let bad = |reason| Error::Log { place: format!("entry {index}"), reason: format!("it {reason}") };
                disposed.take(index, &disposal, u32::MAX, &[]).map_err(bad)?;
            }
            Ok(Entry::Epoch(statement)) => epoch = Some((index, statement)),
            _ => {}
        }
        leaves.push(leaf_hash(bytes));
        Ok(())
    })?;
    if tree::root(&leaves) != checkpoint.root {
        let reason = format!("the root over {} entries is not that of the entries stored", checkpoint.size);
        return Err(Error::Checkpoint { path: dir.join("log/checkpoint"), reason });
    }
    let (entry, statement) = batch.ok_or(Error::NotSealed { id })?;
    Ok(Found { leaves, entry, statement, disposed, epoch })
}

fn prove_in_batch(
    disk: &dyn Disk,
    dir: &Path,
    id: RecordId,
    statement: &Statement,
    disposed: &Disposed,
) -> Result<(Leaf, [u8; 32], Vec<Hash>), Error> {
    let mut wanted = None;
    let leaves = redact::recompute(disk, &dir.join("segments"), statement, disposed, |index, _, leaf, salts| {
        if index == id.index {
            wanted = leaf.map(|leaf| (leaf, salts.salt(index)));
        }
    })?;
    let broken = || Error::Segment { segment: id.segment, reason: "it does not hold the record that was signed".into() };
    let path = tree::inclusion_path(&leaves, id.index as usize).ok_or_else(broken)?;
    let (leaf, salt) = wanted.ok_or_else(broken)?;
    Ok((leaf, salt, path))
}

/// Checks a proof against the raw bytes and the log's key; with a policy, also that a quorum of witnesses cosigned.
///
/// # Errors
/// [`Error::Proof`] says which step does not hold.
pub fn verify_proof<'a>(proof: &str, raw: &[u8], trust: impl Into<Trust<'a>>) -> Result<ProvenRecord, Error> {
    check_proof(proof, raw, trust.into()).map_err(|reason| Error::Proof { reason })
}

fn check_proof(proof: &str, raw: &[u8], trust: Trust<'_>) -> Result<ProvenRecord, String> {
    let parsed = Proof::parse(proof).ok_or("it is not in the form of docs/spec/record.md")?;
    let checkpoint = Checkpoint::open(&parsed.note, trust.key).map_err(|reason| format!("the checkpoint {reason}"))?;
    let extra = Extra::parse(&parsed.extra).ok_or("its `extra` is not in the form of docs/spec")?;
    let statement = Statement::parse(&extra.statement).ok_or("its batch statement is none")?;
    let entry = leaf_hash(extra.statement.as_bytes());
    if tree::root_from_path(&entry, parsed.index, checkpoint.size, &parsed.path) != Some(checkpoint.root) {
        return Err("the batch statement is not in the main log under this checkpoint".into());
    }
    let leaf = Leaf::decode(&extra.leaf).map_err(|error| error.to_string())?;
    if leaf.id.segment != statement.segment || leaf.receipt.epoch != statement.epoch || statement.origin != checkpoint.origin {
        return Err("leaf, batch statement and checkpoint are not of one segment, epoch and log".into());
    }
    let root = tree::root_from_path(&leaf_hash(&extra.leaf), u64::from(leaf.id.index), u64::from(statement.records), &extra.path);
    if root != Some(statement.root) {
        return Err(format!("the leaf of record {} is not in its batch", leaf.id));
    }
    if leaf.raw_length != raw.len() as u64 || leaf.commitment != commit(&extra.salt, raw) {
        return Err(format!("the bytes are not those of record {}", leaf.id));
    }
    let epoch = extra.epoch.map(|part| part.check(&parsed.note, &checkpoint)).transpose()?;
    let witnesses = match trust.policy {
        Some(policy) if !policy.accepts(trust.key) => return Err("the policy does not list the key of this log".into()),
        Some(policy) => policy.quorum_of(&parsed.note).map_err(|reason| format!("the checkpoint {reason}"))?,
        None => Vec::new(),
    };
    Ok(ProvenRecord { leaf, statement, entry: parsed.index, checkpoint, epoch, witnesses })
}

/// The verifier key the folder itself names.
pub(crate) fn own_key(disk: &dyn Disk, dir: &Path) -> Result<VerifierKey, Error> {
    read_key(disk, &dir.join("keys/checkpoint.vkey"))
}

/// A verifier key from a file that holds nothing else.
pub(crate) fn read_key(disk: &dyn Disk, path: &Path) -> Result<VerifierKey, Error> {
    let bytes = read_all(disk, path, 4096).map_err(|error| Error::io("read", path, error))?;
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

/// What a tlog-proof carries besides: the way from the record to the entry of the main log, and the epoch of the key that signed.
struct Extra {
    leaf: Vec<u8>,
    salt: [u8; 32],
    path: Vec<Hash>,
    epoch: Option<EpochPart>,
    statement: String,
}

/// The epoch's entry and its way to the checkpoint.
struct EpochPart {
    index: u64,
    path: Vec<Hash>,
    entry: String,
}

impl EpochPart {
    /// The epoch is in the log under the checkpoint, its key signed that, and in its time.
    fn check(&self, note: &str, checkpoint: &Checkpoint) -> Result<EpochStatement, String> {
        let epoch = EpochStatement::parse(&self.entry).ok_or("its epoch entry is none")?;
        let root = tree::root_from_path(&leaf_hash(self.entry.as_bytes()), self.index, checkpoint.size, &self.path);
        if root != Some(checkpoint.root) || epoch.origin != checkpoint.origin {
            return Err("the epoch is not in the main log under this checkpoint".into());
        }
        epoch.check_checkpoint(note, checkpoint).map_err(|reason| format!("the checkpoint {reason}"))?;
        Ok(epoch)
    }
}

impl Extra {
    fn to_text(&self) -> String {
        let head = if self.epoch.is_some() { EXTRA_HEAD } else { EXTRA_HEAD_1 };
        let mut out = format!("{head}\nleaf {}\nsalt {}\n", text::base64(&self.leaf), text::base64(&self.salt));
        push_path(&mut out, "path", &self.path);
        if let Some(epoch) = &self.epoch {
            out.push_str(&format!("epoch {}\n", epoch.index));
            push_path(&mut out, "epoch_path", &epoch.path);
            out.push_str(&format!("epoch_entry {}\n", text::base64(epoch.entry.as_bytes())));
        }
        out.push_str("statement\n");
        out.push_str(&self.statement);
        out
    }

    fn parse(extra: &str) -> Option<Self> {
        let (head, statement) = extra.split_once("\nstatement\n")?;
        let mut lines = head.split('\n').peekable();
        let with_epoch = match lines.next()? {
            EXTRA_HEAD => true,
            EXTRA_HEAD_1 => false,
            _ => return None,
        };
        let leaf = text::bytes(lines.next()?.strip_prefix("leaf ")?)?;
        let salt = text::hash(lines.next()?.strip_prefix("salt ")?)?;
        let path = take_path(&mut lines, "path ")?;
        let epoch = if with_epoch {
            let index = text::number(lines.next()?.strip_prefix("epoch ")?)?;
            let path = take_path(&mut lines, "epoch_path ")?;
            let entry = String::from_utf8(text::bytes(lines.next()?.strip_prefix("epoch_entry ")?)?).ok()?;
            Some(EpochPart { index, path, entry })
        } else {
            None
        };
        lines.next().is_none().then(|| Self { leaf, salt, path, epoch, statement: statement.into() })
    }
}

fn push_path(out: &mut String, name: &str, path: &[Hash]) {
    for hash in path {
        out.push_str(&format!("{name} {}\n", text::base64(hash)));
    }
}

/// The lines that begin with `name`, as hashes, at most 64.
fn take_path<'a>(lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>, name: &str) -> Option<Vec<Hash>> {
    let mut path = Vec::new();
    while let Some(line) = lines.next_if(|line| line.starts_with(name)) {
        path.push(text::hash(&line[name.len()..])?);
    }
    (path.len() <= 64).then_some(path)
}

const PROOF_HEAD: &str = "c2sp.org/tlog-proof@v1";
const EXTRA_HEAD: &str = "reeve-record-proof/v2";
/// Without an epoch.
const EXTRA_HEAD_1: &str = "reeve-record-proof/v1";
/// Far above any proof that can be: two paths, a leaf, a statement and a checkpoint.
const PROOF_LIMIT: usize = 256 << 10;
