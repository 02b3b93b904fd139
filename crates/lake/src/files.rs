//! Where event files are kept: in the lake's folder, or on object storage, with the folder as a bounded cache of whole files.
//!
//! Format: docs/spec/lake.md, *Object storage*. Files are written and synced in the folder either way. The catalog says what each one is, so
//! what comes back from object storage is that or an error.

use std::{
    collections::HashMap,
    fs::{self, File},
    hash::{BuildHasher as _, RandomState},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use lru::LruCache;
use parking_lot::{Mutex, RwLock};
use parquet::file::reader::{ChunkReader, Length};
use reeve_objects::{Content, Objects};

use crate::{Error, catalog::SegmentRow, forget::erase};

/// Uploads at once.
const UPLOADS: usize = 6;
/// Fetches at once of different files; two of one file never are.
const FETCHES: usize = 8;

/// The files of one lake.
pub(crate) struct Files {
    folder: PathBuf,
    remote: Option<Remote>,
}

struct Remote {
    objects: Arc<dyn Objects>,
    /// What live files are, by name.
    known: RwLock<HashMap<String, Known>>,
    cache: Mutex<Cache>,
    fetching: [Mutex<()>; FETCHES],
    hasher: RandomState,
    gone: AtomicU64,
}

/// Size in bytes, and SHA-256 where it was noted.
type Known = (u64, Option<[u8; 32]>);

/// Files that are in the folder too, the one used last first.
struct Cache {
    entries: LruCache<String, Arc<Cached>>,
    bytes: u64,
    limit: u64,
}

/// A file in the folder. While somebody has this it stays there.
#[derive(Debug)]
pub(crate) struct Cached(u64);

/// Keeps a file in the folder until it is dropped; nothing if all files are there anyway.
pub(crate) type Held = Option<Arc<Cached>>;

/// An event file open for reading.
pub(crate) struct Input {
    file: File,
    _held: Held,
}

impl Files {
    /// Files in `folder`, or on object storage with at most so many bytes of them in `folder` too.
    pub(crate) fn new(folder: &Path, remote: Option<(Arc<dyn Objects>, u64)>) -> Self {
        let remote = remote.map(|(objects, limit)| Remote {
            objects,
            known: RwLock::default(),
            cache: Mutex::new(Cache { entries: LruCache::unbounded(), bytes: 0, limit }),
            fetching: Default::default(),
            hasher: RandomState::new(),
            gone: AtomicU64::new(0),
        });
        Self { folder: folder.to_owned(), remote }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Object storage, if files are there.
    pub(crate) fn objects(&self) -> Option<&Arc<dyn Objects>> {
        self.remote.as_ref().map(|remote| &remote.objects)
    }

    /// Takes note of a live file; one that is in the folder already counts as fetched.
    pub(crate) fn register(&self, row: &SegmentRow) {
        let Some(remote) = &self.remote else { return };
        for (name, bytes, sha256) in parts(row) {
            let there = fs::metadata(self.folder.join(&name)).is_ok_and(|found| found.len() == bytes);
            remote.known.write().insert(name.clone(), (bytes, sha256));
            if there {
                remote.admit(&self.folder, name, bytes);
            }
        }
    }

    /// Forgets a file that nobody of this process reads any more. A dead one leaves the folder at once, erased, since what it held may have
    /// left the record, or will one day; on object storage it is removed by a sweep.
    pub(crate) fn let_go(&self, row: &SegmentRow, dead: bool) {
        if let Some(remote) = &self.remote {
            for (name, ..) in parts(row) {
                remote.known.write().remove(&name);
                remote.cache.lock().take(&name);
            }
        }
        if dead {
            // If one stays it is an orphan, and the next open removes it.
            let _ = self.erase_here(&row.path);
        }
    }

    /// Puts files that are finished in the folder where files are kept; durable on return.
    pub(crate) fn keep(&self, rows: &[SegmentRow]) -> Result<(), Error> {
        let Some(remote) = &self.remote else { return Ok(()) };
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.upload(remote, row)?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let running: Vec<_> = (1..UPLOADS.min(rows.len())).map(|_| scope.spawn(work)).collect();
            let own = work();
            let stopped =
                || Error::Io { what: "store", path: self.folder.clone(), source: io::Error::other("a thread panicked") };
            running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(stopped()))).fold(own, Result::and)
        })
    }

    fn upload(&self, remote: &Remote, row: &SegmentRow) -> Result<(), Error> {
        for (name, bytes, sha256) in parts(row) {
            let sha256 =
                sha256.ok_or_else(|| Error::Damaged { path: name.clone(), detail: "its digest is not known".to_owned() })?;
            remote.objects.put(&name, &self.folder.join(&name), &Content { bytes, sha256 })?;
        }
        Ok(())
    }

    /// Makes sure that a live file is in the folder, and keeps it there. `name` is that of a segment or of what stands beside one.
    pub(crate) fn hold(&self, name: &str) -> Result<Held, Error> {
        let Some(remote) = &self.remote else { return Ok(None) };
        if let Some(cached) = remote.cache.lock().entries.get(name) {
            return Ok(Some(cached.clone()));
        }
        let _one_at_a_time = remote.fetching[(remote.hasher.hash_one(name) as usize) % FETCHES].lock();
        if let Some(cached) = remote.cache.lock().entries.get(name) {
            return Ok(Some(cached.clone()));
        }
        let Some((bytes, sha256)) = remote.known.read().get(name).copied() else { return Ok(None) };
        let place = self.folder.join(name);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        // Room first: the limit holds while it comes, too.
        remote.make_room(&self.folder, bytes);
        let part = place.with_extension("part");
        remote.objects.get(name, &part, bytes, sha256.as_ref())?;
        fs::rename(&part, &place).map_err(Error::io("put in place", &place))?;
        Ok(Some(remote.admit(&self.folder, name.to_owned(), bytes)))
    }

    /// Opens an event file for reading.
    pub(crate) fn open(&self, row: &SegmentRow) -> Result<Input, Error> {
        let _held = self.hold(&row.path)?;
        let full = self.folder.join(&row.path);
        Ok(Input { file: File::open(&full).map_err(Error::io("open", &full))?, _held })
    }

    /// Whether the file is where files are kept, as far as that can be told without fetching it.
    pub(crate) fn is_kept(&self, row: &SegmentRow) -> Result<bool, Error> {
        match &self.remote {
            Some(remote) => Ok(remote.objects.size(&row.path)? == Some(row.bytes)),
            None => Ok(self.folder.join(&row.path).is_file()),
        }
    }

    /// The counts beside a segment as they are in the file; `None` if there are none that can be read.
    pub(crate) fn counts(&self, row: &SegmentRow) -> Option<Vec<u8>> {
        let name = counts_name(&row.path);
        if self.remote.is_some() {
            row.counts?;
        }
        let held = self.hold(&name).inspect_err(|error| tracing::warn!(%error, "counts are not used, the events are"));
        let _held = held.ok()?;
        fs::read(self.folder.join(name)).ok()
    }

    /// Removes a file and what stands beside it from where files are kept; what is not there is fine.
    pub(crate) fn remove(&self, path: &str) -> Result<(), Error> {
        self.erase_here(path)?;
        if let Some(remote) = &self.remote {
            for name in [counts_name(path), path.to_owned()] {
                remote.objects.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Files where files are kept, by path; `None` if that is the folder.
    pub(crate) fn list(&self) -> Result<Option<Vec<String>>, Error> {
        let Some(remote) = &self.remote else { return Ok(None) };
        let mut names = remote.objects.list("events/")?;
        names.retain(|name| !name.starts_with("events/_delta_log/"));
        Ok(Some(names))
    }

    /// Removes a file and what stands beside it from the folder.
    pub(crate) fn erase_here(&self, path: &str) -> Result<(), Error> {
        for name in [counts_name(path), path.to_owned()] {
            let full = self.folder.join(name);
            match erase(&full) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io("erase", full)(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Remote {
    /// Counts a file that has come into the folder.
    fn admit(&self, folder: &Path, name: String, bytes: u64) -> Arc<Cached> {
        self.make_room(folder, bytes);
        let mut cache = self.cache.lock();
        let cached = Arc::new(Cached(bytes));
        cache.take(&name);
        cache.bytes += bytes;
        cache.entries.put(name, cached.clone());
        cached
    }

    /// Lets files go that nobody holds, those first that were not used for longest, until there is room for so many bytes.
    fn make_room(&self, folder: &Path, bytes: u64) {
        let mut leaving = Vec::new();
        let mut cache = self.cache.lock();
        if cache.bytes + bytes > cache.limit {
            let free: Vec<(String, u64)> = cache
                .entries
                .iter()
                .rev()
                .filter(|(_, cached)| Arc::strong_count(cached) == 1)
                .map(|(name, cached)| (name.clone(), cached.0))
                .collect();
            for (name, _) in free {
                if cache.bytes + bytes <= cache.limit {
                    break;
                }
                cache.take(&name);
                // Under another name at once: the file may be fetched again while this one is erased.
                let number = self.gone.fetch_add(1, Ordering::Relaxed);
                let gone = folder.join(&name).with_extension(format!("gone{number}"));
                if fs::rename(folder.join(&name), &gone).is_ok() {
                    leaving.push(gone);
                }
            }
        }
        drop(cache);
        for path in leaving {
            if let Err(error) = erase(&path) {
                tracing::warn!(%error, path = %path.display(), "a file that left the cache could not be erased");
            }
        }
    }
}

impl Cache {
    fn take(&mut self, name: &str) {
        if let Some(cached) = self.entries.pop(name) {
            self.bytes -= cached.0;
        }
    }
}

/// A segment's file and that of its counts, with size and digest.
fn parts(row: &SegmentRow) -> impl Iterator<Item = (String, u64, Option<[u8; 32]>)> {
    let counts = row.counts.map(|counts| (counts_name(&row.path), counts.bytes, Some(counts.sha256)));
    counts.into_iter().chain([(row.path.clone(), row.bytes, row.sha256)])
}

/// What stands beside a segment is known by its name.
pub(crate) fn counts_name(path: &str) -> String {
    format!("{}.minutes", path.strip_suffix(".parquet").unwrap_or(path))
}

impl Length for Input {
    fn len(&self) -> u64 {
        Length::len(&self.file)
    }
}

impl ChunkReader for Input {
    type T = <File as ChunkReader>::T;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        self.file.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        ChunkReader::get_bytes(&self.file, start, length)
    }
}
