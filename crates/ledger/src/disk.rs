//! The seam to storage: everything the ledger writes or reads goes through [`Disk`], so that a test can lose, tear or refuse it.
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use reeve_record::Hash;
use sha2::{Digest, Sha256};

/// A file system, as far as the ledger needs one.
pub trait Disk: Send + Sync + 'static {
    /// Makes a folder and its parents; one that exists is fine.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a file, or empties the one there, for reading and appending. `private`: only the owner may read it.
    fn create(&self, path: &Path, private: bool) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading and appending, or only for reading where it may not be written.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Moves a file over another, atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Overwrites a file's content with zeros where it lies, as far as the file system does that, and makes it durable.
    fn overwrite(&self, path: &Path) -> io::Result<()> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Names in a folder, sorted; empty where there is no folder.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Takes an exclusive lock until the guard is dropped; `Err(Ok(holder))` if another process has it.
    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>, LockFailure>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at the end. After an error, part of it may be there.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;
    /// Makes the content durable (fdatasync). After an error nothing may be assumed of bytes written since the last success.
    fn sync(&self) -> io::Result<()>;
    /// Reads at `offset`; fewer bytes than asked only at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Takes room for `length` bytes from the file system, from the start of an empty file, all or nothing.
    fn allocate(&self, length: u64) -> io::Result<()>;
    /// Cuts the file.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;
}

/// Why a lock was not to be had.
#[derive(Debug)]
pub enum LockFailure {
    /// Another process holds it, with what it wrote into the file.
    Held(String),
    /// The operating system refused.
    Io(io::Error),
}

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn create(&self, path: &Path, private: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mode = if private { 0o600 } else { 0o640 };
        if path.exists() {
            fs::remove_file(path)?;
        }
        Ok(Arc::new(RealFile(OpenOptions::new().create_new(true).read(true).append(true).mode(mode).open(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = match OpenOptions::new().read(true).append(true).open(path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
                File::open(path)
            }
            opened => opened,
        };
        Ok(Arc::new(RealFile(file?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn overwrite(&self, path: &Path) -> io::Result<()> {
        // Not opened for appending: that would put the zeros behind the content.
        let mut file = OpenOptions::new().write(true).open(path)?;
        let mut left = file.metadata()?.len();
        let zeros = vec![0; left.min(1 << 20) as usize];
        while left > 0 {
            let part = left.min(zeros.len() as u64) as usize;
            file.write_all(&zeros[..part])?;
            left -= part as u64;
        }
        file.sync_all()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names: Vec<_> =
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<io::Result<_>>()?;
        names.sort();
        Ok(names)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>, LockFailure> {
        let open = || OpenOptions::new().create(true).read(true).write(true).truncate(false).mode(0o640).open(path);
        let mut file = open().map_err(LockFailure::Io)?;
        if let Err(error) = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(LockFailure::Io(error.into()));
            }
            let mut holder = String::new();
            let _ = Read::by_ref(&mut file).take(20).read_to_string(&mut holder);
            let holder = holder.trim();
            return Err(LockFailure::Held(if holder.is_empty() { "unknown".into() } else { holder.into() }));
        }
        // Only for the message of the next process; the lock itself is the kernel's and ends with us however we end.
        let note = |file: &mut File| {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            writeln!(file, "{}", std::process::id())
        };
        let _ = note(&mut file);
        Ok(Box::new(file))
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.0).write_all(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.0.read_at(&mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, length) {
            // A file system that cannot promise room still gives it to what is written.
            Err(rustix::io::Errno::OPNOTSUPP) => io::copy(&mut io::repeat(0).take(length), &mut &self.0).map(|_| ()),
            allocated => allocated.map_err(Into::into),
        }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Reads a whole file.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if it is longer than `limit` bytes; else what the disk said.
pub fn read_all(disk: &dyn Disk, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let length = file.length()?;
    if length > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{length} bytes where at most {limit} belong")));
    }
    let mut bytes = vec![0; length as usize];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// SHA-256 of the first `length` bytes of a file, or of what there is of them.
pub(crate) fn hash_file(file: &dyn DiskFile, length: u64) -> io::Result<Hash> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while at < length {
        let read = file.read_at(&mut buffer, at)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        at += read as u64;
    }
    Ok(hasher.finalize().into())
}

/// Overwrites a file in place, then removes it. A crash in between leaves the file with zeros or its content in part; whoever opens next finishes.
/// What lies elsewhere on the medium it cannot reach: `docs/spec/retention.md`.
pub(crate) fn erase(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.overwrite(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return disk.sync_dir(path.parent().unwrap_or(Path::new("."))),
        overwritten => overwritten?,
    }
    disk.remove(path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Writes a file so that after a crash either the old or the new content is there: temporary file (the name with the extension `tmp`), sync, rename, sync of
/// the folder. `private`: only the owner may read it.
///
/// # Errors
/// What the disk said; either content may be there then.
pub fn write_durably(disk: &dyn Disk, path: &Path, bytes: &[u8], private: bool) -> io::Result<()> {
    let temporary = temporary(path);
    let file = disk.create(&temporary, private)?;
    file.append(bytes)?;
    file.sync()?;
    disk.rename(&temporary, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// The name that a file has until all of it is durable.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    path.with_extension("tmp")
}
