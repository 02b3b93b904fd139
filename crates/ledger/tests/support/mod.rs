//! A disk in memory that keeps what was synced apart from what was not, and fails when told to.
#![allow(dead_code, clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use reeve_ledger::{Disk, DiskFile, LockFailure};

/// What happens at the chosen write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The machine stops before it.
    CrashBefore,
    /// It happens, but the machine stops before it is reported.
    CrashAfter,
    /// It does not happen and is reported failed; everything after works.
    FailBefore,
    /// It happens and is reported failed; everything after works.
    FailAfter,
    /// As before, and what was written by then reaches the device unasked, as it may at any time.
    FailAndWriteBack,
}

/// What is left after the machine stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reboot {
    /// The process was killed: all that was written is there.
    Kill,
    /// The power was cut: only what was synced is there, names included.
    PowerCut,
    /// The power was cut while pages were written back: of unsynced bytes, some are there, some are zero, the rest is missing.
    Torn,
}

#[derive(Clone, Default)]
struct Inode {
    content: Vec<u8>,
    synced: Vec<u8>,
}

#[derive(Clone, Default)]
struct Model {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    writes: u64,
    plan: Option<(u64, Fault)>,
    plan_two: Option<(PathBuf, u64, u64)>,
    /// Reads until the one that fails.
    plan_read: Option<u64>,
    dead: bool,
    space: Option<u64>,
}

#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Model>>);

impl MemoryDisk {
    fn model(&self) -> MutexGuard<'_, Model> {
        self.0.lock().unwrap()
    }

    /// The `write`-th write from now, from 0, meets `fault`.
    pub fn plan(&self, write: u64, fault: Fault) {
        let mut model = self.model();
        model.plan = Some((model.writes + write, fault));
    }

    /// After the `nth` sync of `folder` from now, which happens but is reported failed, `more` writes succeed and then the machine stops.
    pub fn plan_two(&self, folder: &Path, nth: u64, more: u64) {
        self.model().plan_two = Some((folder.into(), nth, more));
    }

    /// Whether the planned fault has happened; forgets it if not.
    pub fn met(&self) -> bool {
        self.model().plan.take().is_none()
    }

    /// The `read`-th read from now, from 0, fails; the same one succeeds when it is tried again.
    pub fn plan_read(&self, read: u64) {
        self.model().plan_read = Some(read);
    }

    /// Whether the planned read has failed; forgets the plan if not.
    pub fn met_read(&self) -> bool {
        self.model().plan_read.take().is_none()
    }

    /// What a new process finds.
    pub fn reboot(&self, reboot: Reboot) -> Self {
        let mut model = self.model().clone();
        if reboot != Reboot::Kill {
            model.names = model.synced_names.clone();
            for inode in &mut model.inodes {
                let unsynced = inode.content.len().saturating_sub(inode.synced.len());
                let kept = if reboot == Reboot::Torn { unsynced * 3 / 4 } else { 0 };
                let mut content = inode.synced.clone();
                if kept > 0 && inode.content.starts_with(&inode.synced) {
                    content.extend_from_slice(&inode.content[inode.synced.len()..][..kept]);
                    let hole = inode.synced.len() + kept / 3;
                    content[hole..hole + kept / 3].fill(0);
                }
                inode.content = content.clone();
                inode.synced = content;
            }
        }
        (model.dead, model.plan, model.plan_two, model.space) = (false, None, None, None);
        Self(Arc::new(Mutex::new(model)))
    }

    /// Only so many more bytes can be written, or any number.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.model().space = bytes;
    }

    /// Content of all files, removed ones too, in which `needle` occurs: what somebody finds who reads the whole disk.
    pub fn remembered(&self, needle: &[u8]) -> Vec<Vec<u8>> {
        let model = self.model();
        let contents = model.inodes.iter().flat_map(|inode| [&inode.content, &inode.synced]);
        let mut found: Vec<Vec<u8>> =
            contents.filter(|content| content.windows(needle.len()).any(|window| window == needle)).cloned().collect();
        found.dedup();
        found
    }

    pub fn edit(&self, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut model = self.model();
        let inode = model.names[path];
        edit(&mut model.inodes[inode].content);
        model.inodes[inode].synced = model.inodes[inode].content.clone();
    }

    /// Runs one write under the plan.
    fn write<T>(&self, write: impl FnOnce(&mut Model) -> io::Result<T>) -> io::Result<T> {
        let mut model = self.model();
        let failed = || io::Error::other("input/output error");
        if model.dead {
            return Err(failed());
        }
        let number = model.writes;
        model.writes += 1;
        let Some((_, fault)) = model.plan.take_if(|(at, _)| *at == number) else { return write(&mut model) };
        if matches!(fault, Fault::CrashAfter | Fault::FailAfter | Fault::FailAndWriteBack) {
            write(&mut model)?;
        }
        if fault == Fault::FailAndWriteBack {
            for inode in &mut model.inodes {
                inode.synced = inode.content.clone();
            }
        }
        model.dead = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
        Err(failed())
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        let model = self.model();
        if model.dead {
            return Err(io::Error::other("input/output error"));
        }
        model.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for MemoryDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &Path, _: bool) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.write(|model| {
            model.inodes.push(Inode::default());
            let inode = model.inodes.len() - 1;
            model.names.insert(path.into(), inode);
            Ok(inode)
        })?;
        Ok(Arc::new(MemoryFile { disk: self.clone(), inode }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(MemoryFile { disk: self.clone(), inode: self.inode(path)? }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.write(|model| {
            let inode = model.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            model.names.insert(to.into(), inode);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.write(|model| model.names.remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into()))
    }

    fn overwrite(&self, path: &Path) -> io::Result<()> {
        let inode = self.inode(path)?;
        self.write(|model| {
            let inode = &mut model.inodes[inode];
            inode.content.fill(0);
            inode.synced = inode.content.clone();
            Ok(())
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.write(|model| {
            let here = |name: &Path| name.parent() == Some(path);
            model.synced_names.retain(|name, _| !here(name));
            let synced: Vec<_> =
                model.names.iter().filter(|(name, _)| here(name)).map(|(name, inode)| (name.clone(), *inode)).collect();
            model.synced_names.extend(synced);
            if let Some((_, _, more)) = model.plan_two.take_if(|(folder, nth, _)| folder.as_path() == path && *nth == 0) {
                model.plan = Some((model.writes + more, Fault::CrashBefore));
                return Err(io::Error::other("input/output error"));
            }
            if let Some((_, nth, _)) = model.plan_two.as_mut().filter(|(folder, ..)| folder.as_path() == path) {
                *nth -= 1;
            }
            Ok(())
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let names: BTreeSet<String> = self
            .model()
            .names
            .keys()
            .filter_map(|name| {
                Some(name.strip_prefix(path).ok()?.components().next()?.as_os_str().to_string_lossy().into_owned())
            })
            .collect();
        Ok(names.into_iter().collect())
    }

    fn lock(&self, _: &Path) -> Result<Box<dyn Send + Sync>, LockFailure> {
        Ok(Box::new(()))
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    inode: usize,
}

impl DiskFile for MemoryFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.disk.write(|model| {
            let room = model.space.unwrap_or(u64::MAX).min(bytes.len() as u64) as usize;
            // A full disk takes what still fits.
            model.inodes[self.inode].content.extend_from_slice(&bytes[..room]);
            if let Some(space) = &mut model.space {
                *space -= room as u64;
            }
            if room < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.write(|model| {
            let inode = &mut model.inodes[self.inode];
            inode.synced = inode.content.clone();
            Ok(())
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut model = self.disk.model();
        let fails = model.plan_read.take_if(|left| *left == 0).is_some();
        model.plan_read = model.plan_read.map(|left| left - 1);
        if fails || model.dead {
            return Err(io::Error::other("input/output error"));
        }
        let content = &model.inodes[self.inode].content;
        let rest = content.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.append(&vec![0; length as usize])
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.disk.write(|model| {
            model.inodes[self.inode].content.truncate(length as usize);
            Ok(())
        })
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.model().inodes[self.inode].content.len() as u64)
    }
}
