//! The main log on disk: C2SP tlog-tiles. Keeps only the right edge in memory.
//!
//! Order of a publication, and what a crash after each step leaves: (1) the key of a new epoch, if one begins: nobody names it, it is
//! destroyed at open; (2) tiles: nobody refers to them, the next publication writes over them; (3) the checkpoint: the entries are in the log,
//! and if an epoch began the key of the one before is still there, and destroyed at open; (4) that key is destroyed.
//! A publication whose checkpoint was reported failed may be on disk all the same. So it is written again byte for byte before anything else is signed.
use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use reeve_record::{Hash, leaf_hash};

use crate::{
    Clock, Error, ForkAuthority, ForkStatement, Rng,
    disk::{Disk, read_all, write_durably},
    entry::Entry,
    epoch::{Chain, Epochs, NextEpoch},
    note::{self, Attested, Checkpoint, SignerKey, VerifierKey},
    outside::Outside,
    text,
    tree::{self, Peaks, node_hash},
};

/// Appends entries and signs tree heads. One writer.
pub(crate) struct MainLog {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    key: SignerKey,
    epochs: Epochs,
    edge: Edge,
    checkpoint: Option<(Checkpoint, String)>,
    /// Made and signed, and not known to be durable.
    pending: Option<Publication>,
    /// Entries that became durable while somebody else was at it, by leaf hash: who asked for them was told of a failure, and asks again.
    untold: Vec<(Hash, u64)>,
    /// The largest lost size that a fork in this log permits to pass over.
    forgiven: u64,
    outside: Arc<Outside>,
}

/// What a log is opened with.
pub(crate) struct LogOptions {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    /// The folder of the epochs' keys.
    pub(crate) keys: PathBuf,
    pub(crate) key: SignerKey,
    /// `None`: none is begun in a log that has none.
    pub(crate) epoch_length: Option<Duration>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) outside: Arc<Outside>,
}

/// Entries with the tree and the checkpoint over them.
struct Publication {
    first: u64,
    entries: Vec<Vec<u8>>,
    /// Tiles and bundles, as path in the log and content.
    files: Vec<(String, Vec<u8>)>,
    edge: Edge,
    checkpoint: Checkpoint,
    note: String,
    /// The epoch that begins with it.
    next: Option<NextEpoch>,
}

/// The right edge of the tree: for each tile level the hashes of its unfinished tile, and the unfinished entry bundle.
#[derive(Clone, Default)]
pub(crate) struct Edge {
    size: u64,
    levels: Vec<Vec<Hash>>,
    bundle: Vec<u8>,
}

impl Edge {
    /// Adds an entry; returns the files that then differ, as path in the log and content. A full tile carries up to the level above.
    fn append(&mut self, entry: &[u8]) -> Vec<(String, Vec<u8>)> {
        let index = self.size;
        self.size += 1;
        self.bundle.extend_from_slice(&(entry.len() as u16).to_be_bytes());
        self.bundle.extend_from_slice(entry);
        let mut files = vec![(tile_path("entries", index / WIDTH, (index % WIDTH + 1) as usize), self.bundle.clone())];
        if self.size.is_multiple_of(WIDTH) {
            self.bundle.clear();
        }
        let (mut hash, mut index) = (leaf_hash(entry), index);
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let tile = &mut self.levels[level];
            tile.push(hash);
            files.push((tile_path(&level.to_string(), index / WIDTH, tile.len()), tile.concat()));
            if (tile.len() as u64) < WIDTH {
                break;
            }
            hash = tree::root(tile);
            tile.clear();
            index /= WIDTH;
        }
        files
    }

    /// Root of the whole tree: the perfect subtrees of the edge, joined from the right.
    pub(crate) fn root(&self) -> Hash {
        let mut peaks = Vec::new();
        for tile in self.levels.iter().rev() {
            let mut rest = &tile[..];
            while !rest.is_empty() {
                let (head, tail) = rest.split_at(1 << rest.len().ilog2());
                peaks.push(tree::root(head));
                rest = tail;
            }
        }
        let Some(mut root) = peaks.pop() else { return tree::root(&[]) };
        while let Some(left) = peaks.pop() {
            root = node_hash(&left, &root);
        }
        root
    }
}

impl MainLog {
    /// Opens the log; `each` sees every entry in order. Entries past the checkpoint were never published and are written anew.
    pub(crate) fn open(options: LogOptions, mut each: impl FnMut(u64, Entry) -> Result<(), Error>) -> Result<Self, Error> {
        let LogOptions { disk, dir, keys, key, epoch_length, clock, rng, outside } = options;
        let path = dir.join("checkpoint");
        let checkpoint = match read_all(&*disk, &path, 1 << 16) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("read", &path, error)),
            Ok(bytes) => Some(open_checkpoint(&path, bytes, key.verifier())?),
        };
        let mut edge = Edge::default();
        let mut follower = Follower::default();
        let mut forgiven = 0;
        if let Some((checkpoint, note)) = &checkpoint {
            read_entries(&*disk, &dir, checkpoint.size, |index, bytes| {
                let bad = |reason: String| Error::Log { place: format!("entry {index}"), reason };
                let entry = Entry::parse(bytes).map_err(|reason| bad(format!("it {reason}")))?;
                follower.take(leaf_hash(bytes), Some(&entry)).map_err(bad)?;
                edge.append(bytes);
                if let Entry::Fork(fork) = &entry {
                    forgiven = fork.lost.max(forgiven);
                }
                each(index, entry)
            })?;
            let bad = |reason: String| Error::Checkpoint { path: path.clone(), reason };
            if edge.root() != checkpoint.root {
                return Err(bad(format!("its root is not that of the {} entries stored", checkpoint.size)));
            }
            if let Some(epoch) = follower.chain.last() {
                epoch.check_checkpoint(note, checkpoint).map_err(|reason| bad(format!("it {reason}")))?;
            }
        }
        let mut epochs = Epochs::new(keys, key.verifier().name(), epoch_length, clock, rng);
        epochs.take_up(&*disk, follower.chain.last())?;
        Ok(Self { dir, disk, key, epochs, edge, checkpoint, pending: None, untold: Vec::new(), forgiven, outside })
    }

    /// Adds an entry and publishes a checkpoint over it; its index. After an error the call has to be repeated with the same entry: it may have been published.
    pub(crate) fn append(&mut self, entry: &[u8], now: Timestamp) -> Result<u64, Error> {
        self.append_all(&[entry.to_vec()], now)
    }

    /// Adds entries under one checkpoint; the index of the first. After an error as [`MainLog::append`].
    pub(crate) fn append_all(&mut self, entries: &[Vec<u8>], now: Timestamp) -> Result<u64, Error> {
        if let Some(entry) = entries.iter().find(|entry| entry.len() > ENTRY_MAX) {
            return Err(Error::TooLarge { what: "a log entry", size: entry.len(), limit: ENTRY_MAX });
        }
        let leaf = entries.first().map(|entry| leaf_hash(entry)).unwrap_or_default();
        self.settle()?;
        if let Some(at) = self.untold.iter().position(|(untold, _)| *untold == leaf) {
            return Ok(self.untold.swap_remove(at).1);
        }
        self.make_ready(now)?;
        let index = self.edge.size;
        self.publish(entries.to_vec(), self.time(now), None)?;
        self.untold.retain(|(untold, _)| *untold != leaf);
        Ok(index)
    }

    /// Whether an entry waits to be made durable, or was since its appending failed: appending it again says so.
    pub(crate) fn may_be_published(&self, entry: &[u8]) -> bool {
        let pending = self.pending.iter().flat_map(|pending| &pending.entries);
        pending.into_iter().any(|have| have == entry) || self.untold.iter().any(|(leaf, _)| *leaf == leaf_hash(entry))
    }

    /// The entry at `index`, which is below the checkpoint's size.
    pub(crate) fn entry(&self, index: u64) -> Result<Vec<u8>, Error> {
        read_entry(&*self.disk, &self.dir, self.edge.size, index)
    }

    /// Signs the present tree head again with the present time.
    pub(crate) fn heartbeat(&mut self, now: Timestamp) -> Result<(), Error> {
        if self.make_ready(now)? {
            // The checkpoint that began an epoch is as fresh as any.
            return Ok(());
        }
        self.publish(Vec::new(), self.time(now), None)
    }

    /// Signs a text that is no checkpoint with the keys that sign checkpoints now.
    pub(crate) fn attest(&mut self, kind: Attested, lines: &str, now: Timestamp) -> Result<String, Error> {
        self.make_ready(now)?;
        let text = kind.text(self.key.verifier().name(), lines);
        match self.epochs.signer() {
            Some(epoch) => note::sign(&text, &[&self.key, epoch?]),
            None => note::sign(&text, &[&self.key]),
        }
    }

    /// Lets the log go on after a restore, with an entry that says by whose authority, and a new epoch.
    pub(crate) fn fork(&mut self, authority: &ForkAuthority, now: Timestamp) -> Result<ForkStatement, Error> {
        self.settle()?;
        let Some((last, _)) = self.checkpoint.clone() else {
            return Err(Error::Fork { reason: "it has no checkpoint yet, so there is nothing to go on from".into() });
        };
        let at = self.time(now);
        let lost = self.outside.told().max(last.size);
        let fork = ForkStatement::new(authority, self.key.verifier().name(), at, (last.size, last.root), lost);
        let next = self.epochs.next(&*self.disk, at, Some(&last), true)?;
        let entries = vec![fork.to_text().into_bytes(), next.statement.to_text().into_bytes()];
        self.publish(entries, at, Some(next))?;
        self.forgiven = lost.max(self.forgiven);
        Ok(fork)
    }

    /// The latest checkpoint with its signed text.
    pub(crate) fn checkpoint(&self) -> Option<&(Checkpoint, String)> {
        self.checkpoint.as_ref()
    }

    pub(crate) fn verifier(&self) -> &VerifierKey {
        self.key.verifier()
    }

    pub(crate) fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// Whether nothing stands in the way of signing: no witness saw more than a fork forgives, and the epoch's key is there.
    pub(crate) fn may_sign(&self) -> Result<(), Error> {
        self.outside.may_sign(self.edge.size, self.forgiven)?;
        self.epochs.signer().transpose().map(|_| ())
    }

    /// An empty checkpoint, which is consistent with every tree: to ask witnesses what they saw when there is no other. It is not published.
    pub(crate) fn empty_checkpoint(&self, now: Timestamp) -> Result<(Checkpoint, String), Error> {
        let origin = self.key.verifier().name().to_owned();
        let checkpoint = Checkpoint { origin, size: 0, root: tree::root(&[]), at: text::floor(now) };
        let note = note::sign(&checkpoint.to_text(), &[&self.key])?;
        Ok((checkpoint, note))
    }

    /// Before anything is signed: what is pending is settled, no witness has seen more, and an epoch goes on. Whether one began.
    fn make_ready(&mut self, now: Timestamp) -> Result<bool, Error> {
        self.settle()?;
        self.may_sign()?;
        self.epochs.destroy_ended(&*self.disk);
        let at = self.time(now);
        if !self.epochs.is_over(at) {
            return Ok(false);
        }
        let last = self.checkpoint.as_ref().map(|(checkpoint, _)| checkpoint);
        let next = self.epochs.next(&*self.disk, at, last, false)?;
        self.publish(vec![next.statement.to_text().into_bytes()], at, Some(next))?;
        Ok(true)
    }

    /// Time never goes back from one checkpoint to the next, whatever the clock does.
    pub(crate) fn time(&self, now: Timestamp) -> Timestamp {
        text::floor(self.checkpoint.as_ref().map_or(now, |(last, _)| last.at.max(now)))
    }

    fn publish(&mut self, entries: Vec<Vec<u8>>, at: Timestamp, next: Option<NextEpoch>) -> Result<(), Error> {
        let mut edge = self.edge.clone();
        let files = entries.iter().flat_map(|entry| edge.append(entry)).collect();
        let origin = self.key.verifier().name().to_owned();
        let checkpoint = Checkpoint { origin, size: edge.size, root: edge.root(), at };
        let text = checkpoint.to_text();
        let note = match (&next, self.epochs.signer()) {
            (Some(next), _) => note::sign(&text, &[&self.key, &next.signer])?,
            (None, Some(epoch)) => note::sign(&text, &[&self.key, epoch?])?,
            (None, None) => note::sign(&text, &[&self.key])?,
        };
        self.pending = Some(Publication { first: self.edge.size, entries, files, edge, checkpoint, note, next });
        self.settle()
    }

    /// Makes the pending publication durable.
    fn settle(&mut self) -> Result<(), Error> {
        let Some(pending) = &self.pending else { return Ok(()) };
        for (name, content) in &pending.files {
            self.write(name, content)?;
        }
        self.write("checkpoint", pending.note.as_bytes())?;
        let Some(done) = self.pending.take() else { return Ok(()) };
        self.edge = done.edge;
        if done.next.is_none() {
            // Whoever appends only one batch of entries at a time has at most its first untold.
            let first = done.entries.first().map(|entry| (leaf_hash(entry), done.first));
            self.untold.extend(first);
        }
        for index in (done.first..self.edge.size).filter(|index| (index + 1).is_multiple_of(WIDTH)) {
            self.remove_partials(index / WIDTH);
        }
        let begun = done.next.as_ref().map(|next| next.statement.epoch);
        if let Some(next) = done.next {
            self.epochs.begin(&*self.disk, next);
        }
        self.outside.published(&done.checkpoint, &done.note, begun);
        self.checkpoint = Some((done.checkpoint, done.note));
        Ok(())
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let path = self.dir.join(name);
        let write = || {
            // Missing, or made by a process that did not live to make its name durable.
            if self.disk.list(path.parent().unwrap_or(&self.dir))?.is_empty() {
                self.create_parents(name)?;
            }
            write_durably(&*self.disk, &path, content, false)
        };
        write().map_err(|error| Error::io("write", &path, error))
    }

    fn create_parents(&self, name: &str) -> io::Result<()> {
        let mut dir = self.dir.clone();
        for part in Path::new(name).parent().into_iter().flatten() {
            let parent = dir.clone();
            dir.push(part);
            self.disk.create_dir(&dir)?;
            self.disk.sync_dir(&parent)?;
        }
        Ok(())
    }

    /// The full tile is there; its unfinished versions only cost space. Failing is harmless, verify reads them too.
    fn remove_partials(&self, tile: u64) {
        for kind in ["0", "entries"] {
            let dir = self.dir.join(format!("{}.p", tile_path(kind, tile, WIDTH as usize)));
            for name in self.disk.list(&dir).unwrap_or_default() {
                let _ = self.disk.remove(&dir.join(name));
            }
        }
    }
}

/// Goes through a log entry by entry and holds epochs and forks to their rules.
#[derive(Default)]
pub(crate) struct Follower {
    peaks: Peaks,
    pub(crate) chain: Chain,
    /// Size and root before the fork that came last, until the epoch after it.
    fork: Option<(u64, Hash)>,
}

impl Follower {
    /// Takes the next entry; `None` if it cannot be read. The reason says what is wrong with it.
    pub(crate) fn take(&mut self, leaf: Hash, entry: Option<&Entry>) -> Result<(), String> {
        let outcome = self.check(entry);
        self.peaks.push(leaf);
        outcome
    }

    fn check(&mut self, entry: Option<&Entry>) -> Result<(), String> {
        let fork = self.fork.take();
        match entry {
            Some(Entry::Epoch(epoch)) => {
                let before = fork.unwrap_or_else(|| (self.peaks.size(), self.peaks.root()));
                self.chain
                    .follow(epoch.clone(), before, fork.is_some())
                    .map_err(|reason| format!("epoch {} {reason}", epoch.epoch))
            }
            _ if fork.is_some() => Err("the fork before it is not followed by an epoch".into()),
            Some(Entry::Fork(fork)) => {
                let before = (self.peaks.size(), self.peaks.root());
                self.fork = Some(before);
                if (fork.size, fork.root) == before {
                    Ok(())
                } else {
                    Err("the fork names another tree than the one before it".into())
                }
            }
            Some(Entry::Batch(_) | Entry::Disposal(_) | Entry::Hold(_)) | None => Ok(()),
        }
    }
}

/// Root of the entries in `range` of a log that had `size` entries, from its tiles. The range starts at a multiple of its length rounded up to a power of two.
pub(crate) fn root_of(disk: &dyn Disk, dir: &Path, size: u64, range: Range<u64>) -> Result<Hash, Error> {
    let mut root: Option<Hash> = None;
    let mut end = range.end;
    // Perfect subtrees from the right: their sizes are the binary digits of the length.
    while end > range.start {
        let length = 1 << (end - range.start).trailing_zeros();
        let left = perfect(disk, dir, size, (end - length)..end)?;
        root = Some(root.map_or(left, |right| node_hash(&left, &right)));
        end -= length;
    }
    Ok(root.unwrap_or_else(|| tree::root(&[])))
}

/// Root of a perfect subtree, from the one tile that has its nodes.
fn perfect(disk: &dyn Disk, dir: &Path, size: u64, range: Range<u64>) -> Result<Hash, Error> {
    let height = (range.end - range.start).trailing_zeros();
    let level = height / 8;
    let span = WIDTH.pow(level);
    let (first, count) = (range.start / span, 1usize << (height % 8));
    let tile = first / WIDTH;
    let width = (size / span - tile * WIDTH).min(WIDTH) as usize;
    let (name, bytes) = read_tile(disk, dir, &level.to_string(), tile, width, WIDTH * 32)?;
    let hashes = bytes.as_chunks::<32>().0;
    let start = (first % WIDTH) as usize;
    let nodes = hashes.get(start..start + count);
    nodes.map(tree::root).ok_or_else(|| Error::Log { place: name, reason: "it is cut short".into() })
}

/// Reads and checks a checkpoint file.
pub(crate) fn open_checkpoint(path: &Path, bytes: Vec<u8>, key: &VerifierKey) -> Result<(Checkpoint, String), Error> {
    let bad = |reason: String| Error::Checkpoint { path: path.into(), reason };
    let note = String::from_utf8(bytes).map_err(|_| bad("it is not UTF-8".into()))?;
    let checkpoint = Checkpoint::open(&note, key).map_err(|reason| bad(format!("it {reason}")))?;
    Ok((checkpoint, note))
}

/// Reads the first `size` entries in order, from full or unfinished bundles.
pub(crate) fn read_entries(
    disk: &dyn Disk,
    dir: &Path,
    size: u64,
    mut each: impl FnMut(u64, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    for bundle in 0..size.div_ceil(WIDTH) {
        let count = (size - bundle * WIDTH).min(WIDTH) as usize;
        let (name, bytes) = read_tile(disk, dir, "entries", bundle, count, BUNDLE_LIMIT)?;
        let damaged = |reason: &str| Error::Log { place: name.clone(), reason: reason.into() };
        let mut rest = &bytes[..];
        for index in 0..count {
            let (length, tail) = rest.split_first_chunk::<2>().ok_or_else(|| damaged("the bundle ends early"))?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (entry, tail) = tail.split_at_checked(length).ok_or_else(|| damaged("the bundle ends early"))?;
            each(bundle * WIDTH + index as u64, entry)?;
            rest = tail;
        }
    }
    Ok(())
}

/// Reads one entry of a log that has `size` of them.
fn read_entry(disk: &dyn Disk, dir: &Path, size: u64, index: u64) -> Result<Vec<u8>, Error> {
    let bundle = index / WIDTH;
    let missing = || Error::Log { place: format!("entry {index}"), reason: "it is missing".into() };
    let count = size.checked_sub(bundle * WIDTH).ok_or_else(missing)?.min(WIDTH) as usize;
    let (_, bytes) = read_tile(disk, dir, "entries", bundle, count, BUNDLE_LIMIT)?;
    let mut rest = &bytes[..];
    for _ in 0..index % WIDTH {
        rest = rest
            .split_first_chunk::<2>()
            .and_then(|(n, tail)| tail.get(usize::from(u16::from_be_bytes(*n))..))
            .ok_or_else(missing)?;
    }
    let entry = rest.split_first_chunk::<2>().and_then(|(n, tail)| tail.get(..usize::from(u16::from_be_bytes(*n))));
    entry.map(Into::into).ok_or_else(missing)
}

/// Reads the tile of `width`, or the full one where that has replaced it. Returns its name too.
fn read_tile(disk: &dyn Disk, dir: &Path, kind: &str, index: u64, width: usize, limit: u64) -> Result<(String, Vec<u8>), Error> {
    let partial = tile_path(kind, index, width);
    let full = tile_path(kind, index, WIDTH as usize);
    for name in [&partial, &full] {
        match read_all(disk, &dir.join(name), limit) {
            Ok(bytes) => return Ok((name.clone(), bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("read", &dir.join(name), error)),
        }
    }
    Err(Error::Log { place: partial, reason: "it is missing".into() })
}

/// `tile/<L>/<N>[.p/<W>]` of the specification.
pub(crate) fn tile_path(kind: &str, index: u64, width: usize) -> String {
    let mut path = format!("tile/{kind}/");
    let digits = format!("{index}");
    let digits = format!("{digits:0>width$}", width = digits.len().div_ceil(3) * 3);
    let groups = digits.len() / 3;
    for group in 0..groups {
        let mark = if group + 1 < groups { "x" } else { "" };
        let end = if group + 1 < groups { "/" } else { "" };
        path.push_str(&format!("{mark}{}{end}", &digits[3 * group..3 * group + 3]));
    }
    if width < WIDTH as usize {
        path.push_str(&format!(".p/{width}"));
    }
    path
}

/// Greatest length of an entry.
pub(crate) const ENTRY_MAX: usize = u16::MAX as usize;
/// Hashes or entries in a full tile.
pub(crate) const WIDTH: u64 = 256;
/// 256 entries of the greatest length.
pub(crate) const BUNDLE_LIMIT: u64 = WIDTH * (2 + 65_535);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_of_ranges_come_from_tiles() {
        let dir = tempfile::tempdir().unwrap();
        let (mut edge, mut leaves) = (Edge::default(), Vec::new());
        for n in 0..700u32 {
            leaves.push(leaf_hash(&n.to_be_bytes()));
            for (name, content) in edge.append(&n.to_be_bytes()) {
                let path = dir.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
        }
        for size in [1u64, 2, 3, 255, 256, 257, 511, 512, 513, 699, 700] {
            for old in [1, 2, 128, 255, 256, 257, 300, 512, 600, 699].into_iter().filter(|old| *old <= size) {
                let mut root = |range| root_of(&crate::RealDisk, dir.path(), size, range);
                let (old_root, new_root) = (root(0..old).unwrap(), root(0..size).unwrap());
                assert_eq!(new_root, tree::root(&leaves[..size as usize]), "{size}");
                let path = tree::consistency_path(old, size, &mut root).unwrap();
                assert!(tree::is_consistent(old, &old_root, size, &new_root, &path), "{old} in {size}");
            }
        }
    }

    #[test]
    fn tile_names_follow_the_specification() {
        for (index, width, path) in [
            (0, 256, "tile/0/000"),
            (273, 112, "tile/0/273.p/112"),
            (1_234_067, 256, "tile/0/x001/x234/067"),
            (999, 256, "tile/0/999"),
            (1000, 1, "tile/0/x001/000.p/1"),
        ] {
            assert_eq!(tile_path("0", index, width), path);
        }
    }

    #[test]
    fn the_edge_keeps_the_root_of_the_whole_tree() {
        let mut edge = Edge::default();
        let mut leaves = Vec::new();
        assert_eq!(edge.root(), tree::root(&[]));
        for n in 0..70_000u32 {
            leaves.push(leaf_hash(&n.to_be_bytes()));
            edge.append(&n.to_be_bytes());
            if n < 600 || n.is_multiple_of(9973) || n == 65_535 || n == 65_536 {
                assert_eq!(edge.root(), tree::root(&leaves), "{} entries", n + 1);
            }
        }
        // The example of the specification: 70,000 entries leave widths 112, 17 and 1.
        assert_eq!(edge.levels.iter().map(Vec::len).collect::<Vec<_>>(), [112, 17, 1]);
    }
}
