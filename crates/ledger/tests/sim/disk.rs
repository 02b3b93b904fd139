//! A disk in memory with the faults real ones have, all drawn from the run's seed.
//!
//! It keeps what programs see (the page cache) apart from what the medium holds, in sectors of 512 bytes, and names apart from files. A power cut
//! keeps any part of what was not synced. Beside it lies `truth`: what the medium would hold if the device had never lied, so that a repair can be
//! simulated and the check knows what a lie destroyed.
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use reeve_ledger::{Disk, DiskFile, LockFailure};

use crate::random::Random;

pub const SECTOR: usize = 512;

/// How the machine below misbehaves. Chances are in 1,000 for each call that they apply to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A call fails without having happened, or having happened.
    pub fails: u64,
    /// An append writes only a part and fails.
    pub short: u64,
    /// A sync fails; what was to be synced is durable, dropped but still shown, or dropped and no longer shown.
    pub sync_fails: u64,
    /// Canary: every sync succeeds and does nothing.
    pub sync_does_nothing: bool,
    /// Canary: syncing a folder succeeds and does nothing.
    pub folder_sync_does_nothing: bool,
}

/// A way in which a device lies about one sector or name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    /// A sector of a synced write never reaches the medium.
    Lost,
    /// … reaches another place.
    Misdirected,
    /// … is torn in the middle.
    Torn,
    /// A name that was made durable is not.
    LostName,
    /// A read gives a sector as it was before it was last written; once.
    StaleRead,
    /// A sector at rest changes.
    Rot,
}

impl Lie {
    pub const ALL: [Lie; 6] = [Lie::Lost, Lie::Misdirected, Lie::Torn, Lie::LostName, Lie::StaleRead, Lie::Rot];
}

/// How one chosen call fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// EIO, and it did not happen.
    Fails,
    /// EIO, and it did happen.
    HappensAndFails,
    /// ENOSPC where the call needs room, from this call on, until the disk heals.
    Full,
    /// An append writes the half of it; a sync drops what it should have written; other calls do not happen.
    Half,
    /// The machine stops before it.
    Crash,
}

#[derive(Clone, Debug)]
enum Write {
    At(usize, Vec<u8>),
    Length(usize),
}

impl Write {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Write::At(offset, new) => {
                if bytes.len() < offset + new.len() {
                    bytes.resize(offset + new.len(), 0);
                }
                bytes[*offset..offset + new.len()].copy_from_slice(new);
            }
            Write::Length(length) => bytes.resize(*length, 0),
        }
    }

    /// The same write cut at sector boundaries.
    fn sectors(&self) -> Vec<Write> {
        let Write::At(offset, bytes) = self else { return vec![self.clone()] };
        let (mut parts, mut from) = (Vec::new(), 0);
        while from < bytes.len() {
            let room = SECTOR - (offset + from) % SECTOR;
            let to = bytes.len().min(from + room);
            parts.push(Write::At(offset + from, bytes[from..to].to_vec()));
            from = to;
        }
        parts
    }
}

#[derive(Clone, Default, Debug)]
struct Inode {
    /// What programs read.
    cached: Vec<u8>,
    /// What the medium holds.
    medium: Vec<u8>,
    /// What an honest medium would hold.
    truth: Vec<u8>,
    unsynced: Vec<Write>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Clone, Debug)]
enum Naming {
    Set(PathBuf, Node),
    Unset(PathBuf),
    Move(PathBuf, PathBuf, Node),
}

type Names = BTreeMap<PathBuf, Node>;

impl Naming {
    fn folder(&self) -> Option<&Path> {
        match self {
            Naming::Set(path, _) | Naming::Unset(path) | Naming::Move(_, path, _) => path.parent(),
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Naming::Set(path, node) => _ = names.insert(path.clone(), *node),
            Naming::Unset(path) => _ = names.remove(path),
            Naming::Move(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

#[derive(Clone)]
struct State {
    random: Random,
    faults: Faults,
    /// The lie to be told at the next call it fits, if any.
    lie: Option<Lie>,
    told: Option<String>,
    lost_name: Option<PathBuf>,
    space: Option<usize>,
    calls: u64,
    crash_at: Option<u64>,
    dead: bool,
    plan: Option<(u64, Way)>,
    half: bool,
    was_full: bool,
    planned: String,

    inodes: Vec<Inode>,
    names: Names,
    medium_names: Names,
    true_names: Names,
    unsynced_names: Vec<Naming>,
    /// Everything that was asked and answered, folded into one number: two runs of one seed must agree in it.
    digest: u64,
    log: Vec<String>,
    /// Whether to keep `log`.
    loud: bool,
}

#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    /// An empty disk with the folder `root`.
    pub fn new(seed: u64, root: &Path, loud: bool) -> Self {
        let names: Names = root.ancestors().map(|folder| (folder.to_path_buf(), Node::Folder)).collect();
        Self(Arc::new(Mutex::new(State {
            random: Random::new(seed),
            faults: Faults::default(),
            lie: None,
            told: None,
            lost_name: None,
            space: None,
            calls: 0,
            crash_at: None,
            dead: false,
            plan: None,
            half: false,
            was_full: false,
            planned: String::new(),
            inodes: Vec::new(),
            medium_names: names.clone(),
            true_names: names.clone(),
            names,
            unsynced_names: Vec::new(),
            digest: 0,
            log: Vec::new(),
            loud,
        })))
    }

    /// A copy that goes its own way.
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    /// Everything on it is replaced by what programs see on `copy`.
    #[allow(dead_code, reason = "tests/flips.rs shares this disk")]
    pub fn restore(&self, copy: &Self) {
        let from = copy.state().clone();
        let mut state = self.state();
        (state.inodes, state.names) = (from.inodes, from.names);
        state.unsynced_names.clear();
        for inode in &mut state.inodes {
            (inode.medium, inode.truth) = (inode.cached.clone(), inode.cached.clone());
            inode.unsynced.clear();
        }
        (state.medium_names, state.true_names) = (state.names.clone(), state.names.clone());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Only so many more bytes can be written, or any number.
    pub fn set_space(&self, bytes: Option<usize>) {
        self.state().space = bytes;
    }

    /// The machine stops before the call that comes after `calls` more.
    pub fn crash_after(&self, calls: u64) {
        let mut state = self.state();
        state.crash_at = Some(state.calls + calls);
    }

    /// Call number `at` from 0 fails in one way.
    pub fn fail_call(&self, at: u64, way: Way) {
        self.state().plan = Some((at, way));
    }

    /// Which call that was.
    pub fn call_name(&self) -> String {
        self.state().planned.clone()
    }

    /// Whether anything found no room.
    pub fn was_full(&self) -> bool {
        self.state().was_full
    }

    /// No more faults, and room.
    pub fn heal(&self) {
        let mut state = self.state();
        (state.space, state.plan, state.faults) = (None, None, Faults::default());
        state.revive();
    }

    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    pub fn digest(&self) -> u64 {
        self.state().digest
    }

    pub fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    pub fn note(&self, line: impl FnOnce() -> String) {
        let mut state = self.state();
        if state.loud {
            let line = line();
            state.log.push(line);
        }
    }

    /// Tells `lie` as soon as a call fits it.
    pub fn plan_lie(&self, lie: Lie) {
        let mut state = self.state();
        state.lie = Some(lie);
        if lie == Lie::Rot {
            state.rot();
        }
    }

    /// What was lied about, once it has happened.
    pub fn told(&self) -> Option<String> {
        self.state().told.clone()
    }

    /// The file or folder whose name was lost.
    pub fn lost_name(&self) -> Option<PathBuf> {
        self.state().lost_name.clone()
    }

    /// The process is gone; the machine runs on.
    pub fn kill(&self) {
        self.state().revive();
    }

    /// The power fails: of what was not synced, any part is kept.
    pub fn cut_power(&self) {
        let mut state = self.state();
        state.revive();
        state.cut_power();
    }

    /// The page cache is dropped where it is clean: from now on reads show the medium.
    pub fn evict(&self) {
        let mut state = self.state();
        for inode in &mut state.inodes {
            inode.cached = inode.medium.clone();
            let unsynced = std::mem::take(&mut inode.unsynced);
            unsynced.iter().for_each(|write| write.apply(&mut inode.cached));
            inode.unsynced = unsynced;
        }
        state.names = state.medium_names.clone();
        let unsynced = state.unsynced_names.clone();
        unsynced.iter().for_each(|naming| naming.apply(&mut state.names));
    }

    /// Undoes all lies, as if the disk had been restored from a perfect copy.
    pub fn repair(&self) {
        let mut state = self.state();
        for inode in &mut state.inodes {
            inode.medium = inode.truth.clone();
            inode.cached = inode.truth.clone();
            inode.unsynced.clear();
        }
        state.medium_names = state.true_names.clone();
        state.names = state.true_names.clone();
        state.unsynced_names.clear();
    }

    /// Files below `folder`.
    #[allow(dead_code, reason = "tests/flips.rs shares this disk")]
    pub fn files(&self, folder: &Path) -> Vec<PathBuf> {
        let state = self.state();
        let below = state.names.iter().filter(|(path, node)| path.starts_with(folder) && **node != Node::Folder);
        below.map(|(path, _)| path.clone()).collect()
    }

    /// Changes a file as it lies there.
    #[allow(dead_code, reason = "tests/flips.rs shares this disk")]
    pub fn edit(&self, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        if let Some(Node::File(inode)) = state.names.get(path).copied() {
            edit(&mut state.inodes[inode].cached);
        }
    }

    /// A file as programs see it.
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        match state.names.get(path)? {
            Node::File(inode) => Some(state.inodes[*inode].cached.clone()),
            Node::Folder => None,
        }
    }

    fn call<T>(&self, what: &str, path: &Path, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        let fate = state.next_call(what, path);
        let result = match fate {
            Fate::Happens => act(&mut state),
            Fate::Fails => Err(failed()),
            Fate::HappensAndFails => act(&mut state).and_then(|_| Err(failed())),
        };
        state.answer(&result);
        result
    }
}

enum Fate {
    Happens,
    Fails,
    HappensAndFails,
}

fn failed() -> io::Error {
    io::Error::other("input/output error")
}

impl State {
    fn revive(&mut self) {
        (self.dead, self.crash_at) = (false, None);
    }

    fn fold(&mut self, bytes: &[u8]) {
        let crc = u64::from(crc32fast::hash(bytes));
        self.digest = (self.digest ^ crc).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
    }

    fn next_call(&mut self, what: &str, path: &Path) -> Fate {
        self.calls += 1;
        self.fold(what.as_bytes());
        self.fold(path.as_os_str().as_encoded_bytes());
        if self.loud {
            let line = format!("{:5} {what} {}", self.calls, path.display());
            self.log.push(line);
        }
        if self.crash_at.is_some_and(|at| self.calls > at) {
            self.dead = true;
        }
        if let Some((_, way)) = self.plan.take_if(|(at, _)| *at + 1 == self.calls) {
            self.planned = format!("{what} {}", path.display());
            match way {
                Way::Fails => return Fate::Fails,
                Way::HappensAndFails => return Fate::HappensAndFails,
                Way::Full => self.space = Some(0),
                Way::Crash => self.dead = true,
                Way::Half if ["append to", "sync"].contains(&what) => self.half = true,
                Way::Half => return Fate::Fails,
            }
        }
        if self.dead {
            return Fate::Fails;
        }
        let fails = self.faults.fails;
        match self.random.chance(fails, 1000) {
            false => Fate::Happens,
            true if self.random.chance(1, 2) => Fate::Fails,
            true => Fate::HappensAndFails,
        }
    }

    fn answer<T>(&mut self, result: &io::Result<T>) {
        self.fold(if result.is_ok() { b"ok" } else { b"failed" });
        if let (true, Err(error)) = (self.loud, result) {
            let line = format!("      -> {error}");
            self.log.push(line);
        }
    }

    fn tell(&mut self, lie: String) {
        if self.loud {
            self.log.push(format!("      LIE {lie}"));
        }
        self.lie = None;
        self.told = Some(lie);
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.unsynced_names.push(naming);
    }

    fn path_of(&self, inode: usize) -> String {
        let named = |names: &Names| names.iter().find(|(_, node)| **node == Node::File(inode)).map(|(path, _)| path.clone());
        named(&self.names)
            .or_else(|| named(&self.medium_names))
            .map_or("a nameless file".into(), |path| path.display().to_string())
    }

    fn append(&mut self, inode: usize, bytes: &[u8]) -> io::Result<()> {
        let short = self.faults.short;
        let mut room = bytes.len();
        let mut result = Ok(());
        if self.random.chance(short, 1000) {
            room = self.random.below(bytes.len() as u64 + 1) as usize;
            result = Err(failed());
        }
        if std::mem::take(&mut self.half) {
            room = bytes.len() / 2;
            result = Err(failed());
        }
        if let Some(space) = self.space.filter(|space| *space < room) {
            room = space;
            self.was_full = true;
            result = Err(io::ErrorKind::StorageFull.into());
        }
        self.space = self.space.map(|space| space - room);
        let file = &mut self.inodes[inode];
        let write = Write::At(file.cached.len(), bytes[..room].to_vec());
        write.apply(&mut file.cached);
        file.unsynced.push(write);
        result
    }

    fn sync(&mut self, inode: usize) -> io::Result<()> {
        if self.faults.sync_does_nothing {
            return Ok(());
        }
        if std::mem::take(&mut self.half) {
            self.inodes[inode].unsynced.clear();
            return Err(failed());
        }
        let sync_fails = self.faults.sync_fails;
        if self.random.chance(sync_fails, 1000) {
            match self.random.below(3) {
                0 => self.write_back(inode),
                1 => self.inodes[inode].unsynced.clear(),
                _ => {
                    let file = &mut self.inodes[inode];
                    file.unsynced.clear();
                    file.cached = file.medium.clone();
                }
            }
            return Err(failed());
        }
        self.write_back(inode);
        Ok(())
    }

    fn write_back(&mut self, inode: usize) {
        let writes = std::mem::take(&mut self.inodes[inode].unsynced);
        writes.iter().for_each(|write| write.apply(&mut self.inodes[inode].truth));
        let mut sectors: Vec<Write> = writes.iter().flat_map(Write::sectors).collect();
        let data: Vec<usize> = (0..sectors.len()).filter(|n| matches!(sectors[*n], Write::At(..))).collect();
        if let (Some(lie @ (Lie::Lost | Lie::Misdirected | Lie::Torn)), false) = (self.lie, data.is_empty()) {
            let victim = data[self.random.below(data.len() as u64) as usize];
            if let Write::At(offset, bytes) = sectors[victim].clone() {
                sectors[victim] = self.lie_about(lie, inode, offset, &bytes);
            }
        }
        let length = writes.iter().fold(self.inodes[inode].medium.len(), |length, write| match write {
            Write::At(offset, bytes) => length.max(offset + bytes.len()),
            Write::Length(length) => *length,
        });
        sectors.iter().for_each(|write| write.apply(&mut self.inodes[inode].medium));
        // The length is the file system's, which does not lie.
        self.inodes[inode].medium.resize(length, 0);
    }

    /// What reaches the place instead.
    fn lie_about(&mut self, lie: Lie, inode: usize, offset: usize, bytes: &[u8]) -> Write {
        self.tell(format!("{lie:?}: {} bytes at {offset} of {}", bytes.len(), self.path_of(inode)));
        if lie == Lie::Torn {
            let cut = self.random.below(bytes.len() as u64) as usize;
            return Write::At(offset, bytes[..cut].to_vec());
        }
        let elsewhere: Vec<usize> = (0..self.inodes.len()).filter(|n| self.inodes[*n].medium.len() >= SECTOR).collect();
        if lie == Lie::Misdirected && !elsewhere.is_empty() {
            let other = elsewhere[self.random.below(elsewhere.len() as u64) as usize];
            let sectors = (self.inodes[other].medium.len() / SECTOR) as u64;
            let at = self.random.below(sectors) as usize * SECTOR;
            let place = self.path_of(other);
            self.inodes[other].medium[at..at + bytes.len()].copy_from_slice(bytes);
            self.tell(format!("Misdirected: {} bytes for {offset} of {} to {at} of {place}", bytes.len(), self.path_of(inode)));
        }
        Write::At(offset, Vec::new())
    }

    fn rot(&mut self) {
        let files: Vec<usize> = (0..self.inodes.len()).filter(|n| !self.inodes[*n].medium.is_empty()).collect();
        let named: Vec<usize> =
            files.into_iter().filter(|n| self.medium_names.values().any(|node| *node == Node::File(*n))).collect();
        let Some(inode) = named.get(self.random.below(named.len().max(1) as u64) as usize).copied() else { return };
        let length = self.inodes[inode].medium.len();
        let sector = self.random.below(length.div_ceil(SECTOR) as u64) as usize * SECTOR;
        let end = length.min(sector + SECTOR);
        let zero = self.random.chance(1, 3);
        for at in sector..end {
            let noise = self.random.next() as u8;
            self.inodes[inode].medium[at] = if zero { 0 } else { noise };
        }
        self.tell(format!("Rot: sector at {sector} of {}", self.path_of(inode)));
    }

    fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
        if self.names.get(path) != Some(&Node::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if self.faults.sync_does_nothing || self.faults.folder_sync_does_nothing {
            return Ok(());
        }
        let (mut here, elsewhere): (Vec<Naming>, _) =
            std::mem::take(&mut self.unsynced_names).into_iter().partition(|naming| naming.folder() == Some(path));
        self.unsynced_names = elsewhere;
        here.iter().for_each(|naming| naming.apply(&mut self.true_names));
        if self.lie == Some(Lie::LostName) && !here.is_empty() {
            let victim = here.remove(self.random.below(here.len() as u64) as usize);
            self.tell(format!("LostName: {victim:?}"));
            if let Naming::Set(path, _) | Naming::Move(_, path, _) = victim {
                self.lost_name = Some(path);
            }
        }
        here.iter().for_each(|naming| naming.apply(&mut self.medium_names));
        Ok(())
    }

    fn cut_power(&mut self) {
        // How much was written back before: nothing, some, most, all.
        let kept = [0, 300, 900, 1000][self.random.below(4) as usize];
        for n in 0..self.inodes.len() {
            let writes = std::mem::take(&mut self.inodes[n].unsynced);
            let mut parts: Vec<Write> = writes.iter().flat_map(Write::sectors).collect();
            parts.retain(|_| self.random.chance(kept, 1000));
            let torn = self.random.below(parts.len().max(1) as u64) as usize;
            if let Some(Write::At(_, bytes)) = parts.get_mut(torn).filter(|_| kept < 1000) {
                let cut = self.random.below(bytes.len() as u64 + 1) as usize;
                bytes.truncate(cut);
            }
            let file = &mut self.inodes[n];
            for held in [&mut file.medium, &mut file.truth] {
                parts.iter().for_each(|write| write.apply(held));
            }
            file.cached = file.medium.clone();
        }
        for naming in std::mem::take(&mut self.unsynced_names) {
            if self.random.chance(kept, 1000) {
                naming.apply(&mut self.medium_names);
                naming.apply(&mut self.true_names);
            }
        }
        prune(&mut self.medium_names);
        prune(&mut self.true_names);
        self.names = self.medium_names.clone();
    }

    fn stale(&mut self, inode: usize, buffer: &mut [u8], offset: usize) {
        if self.lie != Some(Lie::StaleRead) || buffer.is_empty() {
            return;
        }
        let (first, last) = (offset / SECTOR, (offset + buffer.len() - 1) / SECTOR);
        let sector = (first + self.random.below((last - first + 1) as u64) as usize) * SECTOR;
        let from = sector.max(offset) - offset;
        let to = (sector + SECTOR - offset).min(buffer.len());
        self.tell(format!("StaleRead: sector at {sector} of {}", self.path_of(inode)));
        // Files only grow, so what was there before is what the file system gave out empty.
        buffer[from..to].fill(0);
    }
}

/// Names below a folder that is gone are gone.
fn prune(names: &mut Names) {
    let whole = names.clone();
    names.retain(|path, _| path.ancestors().skip(1).all(|above| whole.get(above) == Some(&Node::Folder)));
}

impl Disk for SimDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = path.ancestors().take_while(|folder| !self.state().names.contains_key(*folder)).collect();
        for folder in missing.into_iter().rev() {
            self.call("mkdir", folder, |state| {
                state.name(Naming::Set(folder.into(), Node::Folder));
                Ok(())
            })?;
        }
        Ok(())
    }

    fn create(&self, path: &Path, _: bool) -> io::Result<Arc<dyn DiskFile>> {
        if self.state().names.contains_key(path) {
            self.remove(path)?;
        }
        let inode = self.call("create", path, |state| {
            if path.parent().is_none_or(|folder| state.names.get(folder) != Some(&Node::Folder)) {
                return Err(io::ErrorKind::NotFound.into());
            }
            if state.space == Some(0) {
                state.was_full = true;
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.inodes.push(Inode::default());
            let inode = state.inodes.len() - 1;
            state.name(Naming::Set(path.into(), Node::File(inode)));
            Ok(inode)
        })?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode, path: path.into() }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.call("open", path, |state| state.find(path))?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode, path: path.into() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename to", to, |state| {
            let inode = state.find(from)?;
            state.name(Naming::Move(from.into(), to.into(), Node::File(inode)));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call("remove", path, |state| {
            let inode = state.find(path)?;
            state.space = state.space.map(|space| space + state.inodes[inode].cached.len());
            state.name(Naming::Unset(path.into()));
            Ok(())
        })
    }

    fn overwrite(&self, path: &Path) -> io::Result<()> {
        let inode = self.call("overwrite", path, |state| {
            let inode = state.find(path)?;
            let file = &mut state.inodes[inode];
            let write = Write::At(0, vec![0; file.cached.len()]);
            write.apply(&mut file.cached);
            file.unsynced.push(write);
            Ok(inode)
        })?;
        self.call("sync", path, |state| state.sync(inode))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call("sync folder", path, |state| {
            let sync_fails = state.faults.sync_fails;
            let fails = state.random.chance(sync_fails, 1000);
            if !fails || state.random.chance(1, 2) {
                state.sync_folder(path)?;
            }
            if fails { Err(failed()) } else { Ok(()) }
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.call("list", path, |state| {
            let inside = state.names.keys().filter(|name| name.parent() == Some(path));
            Ok(inside.filter_map(|name| Some(name.file_name()?.to_string_lossy().into_owned())).collect())
        })
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>, LockFailure> {
        self.call("lock", path, |_| Ok(())).map_err(LockFailure::Io)?;
        Ok(Box::new(()))
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
    path: PathBuf,
}

impl DiskFile for SimFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.disk.call("append to", &self.path, |state| {
            state.fold(bytes);
            state.append(self.inode, bytes)
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.call("sync", &self.path, |state| state.sync(self.inode))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.call("read", &self.path, |state| {
            let rest = state.inodes[self.inode].cached.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            state.stale(self.inode, &mut buffer[..count], offset as usize);
            Ok(count)
        })
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.disk.call("allocate", &self.path, |state| {
            if state.space.is_some_and(|space| space < length as usize) {
                state.was_full = true;
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.space = state.space.map(|space| space - length as usize);
            let write = Write::Length(length as usize);
            let file = &mut state.inodes[self.inode];
            write.apply(&mut file.cached);
            file.unsynced.push(write);
            Ok(())
        })
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.disk.call("truncate", &self.path, |state| {
            let write = Write::Length(length as usize);
            let file = &mut state.inodes[self.inode];
            let freed = file.cached.len().saturating_sub(length as usize);
            state.space = state.space.map(|space| space + freed);
            write.apply(&mut file.cached);
            file.unsynced.push(write);
            Ok(())
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.disk.call("length of", &self.path, |state| Ok(state.inodes[self.inode].cached.len() as u64))
    }
}
