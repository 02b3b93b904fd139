//! The main log on disk: C2SP tlog-tiles. Keeps only the right edge in memory.
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use reeve_record::{Hash, leaf_hash};

use crate::{
    Error,
    disk::{Disk, read_all, write_durably},
    note::{Checkpoint, SignerKey, VerifierKey},
    text,
    tree::{self, node_hash},
};

/// Appends entries and signs tree heads. One writer.
pub(crate) struct MainLog {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    key: SignerKey,
    edge: Edge,
    checkpoint: Option<(Checkpoint, String)>,
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
    /// Opens the log in `dir`; `each` sees every entry in order. Entries past the checkpoint were never published and are written anew.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        key: SignerKey,
        mut each: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let path = dir.join("checkpoint");
        let checkpoint = match read_all(&*disk, &path, 1 << 16) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("read", &path, error)),
            Ok(bytes) => Some(open_checkpoint(&path, bytes, key.verifier())?),
        };
        let mut edge = Edge::default();
        if let Some((checkpoint, _)) = &checkpoint {
            read_entries(&*disk, &dir, checkpoint.size, |_, entry| {
                edge.append(entry);
                each(entry)
            })?;
            if edge.root() != checkpoint.root {
                let reason = format!("its root is not that of the {} entries stored", checkpoint.size);
                return Err(Error::Checkpoint { path, reason });
            }
        }
        Ok(Self { dir, disk, key, edge, checkpoint })
    }

    /// Adds an entry and publishes a checkpoint over it. On an error nothing has been published, and the call may be repeated with any entry.
    pub(crate) fn append(&mut self, entry: &[u8], now: Timestamp) -> Result<u64, Error> {
        if entry.len() > usize::from(u16::MAX) {
            return Err(Error::TooLarge { what: "a log entry", size: entry.len(), limit: usize::from(u16::MAX) });
        }
        let mut edge = self.edge.clone();
        // Tiles before the checkpoint: a crash in between leaves tiles nobody refers to, and the next append writes over them.
        for (name, content) in edge.append(entry) {
            self.write(&name, &content)?;
        }
        self.publish(&edge, now)?;
        let index = self.edge.size;
        self.edge = edge;
        if (index + 1).is_multiple_of(WIDTH) {
            self.remove_partials(index / WIDTH);
        }
        Ok(index)
    }

    /// Signs the present tree head again with the present time.
    pub(crate) fn heartbeat(&mut self, now: Timestamp) -> Result<(), Error> {
        let edge = std::mem::take(&mut self.edge);
        let published = self.publish(&edge, now);
        self.edge = edge;
        published
    }

    /// The latest checkpoint with its signed text.
    pub(crate) fn checkpoint(&self) -> Option<&(Checkpoint, String)> {
        self.checkpoint.as_ref()
    }

    pub(crate) fn verifier(&self) -> &VerifierKey {
        self.key.verifier()
    }

    fn publish(&mut self, edge: &Edge, now: Timestamp) -> Result<(), Error> {
        // Time never goes back from one checkpoint to the next, whatever the clock does.
        let at = self.checkpoint.as_ref().map_or(now, |(last, _)| last.at.max(now));
        let origin = self.key.verifier().name().to_owned();
        let checkpoint = Checkpoint { origin, size: edge.size, root: edge.root(), at: text::floor(at) };
        let note = self.key.sign(&checkpoint.to_text());
        self.write("checkpoint", note.as_bytes())?;
        self.checkpoint = Some((checkpoint, note));
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

/// Hashes or entries in a full tile.
pub(crate) const WIDTH: u64 = 256;
/// 256 entries of the greatest length.
pub(crate) const BUNDLE_LIMIT: u64 = WIDTH * (2 + 65_535);

#[cfg(test)]
mod tests {
    use super::*;

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
