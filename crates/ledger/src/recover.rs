//! What a crash left behind: opens the main log, drops what was never published, takes over the write-ahead log.
use std::{io, path::Path, sync::Arc};

use reeve_record::{Hash, RecordId};
use zeroize::Zeroizing;

use crate::{
    DiskFile, Error, LockFailure, Options,
    disk::{Disk, erase, read_all, write_durably},
    disposal::{Disposals, Disposed},
    entry::Entry,
    env::random,
    hold::Holds,
    ledger::{Recovery, Sealed, State},
    main_log::{LogOptions, MainLog},
    note::{SignerKey, VerifierKey},
    outside::{Outside, OutsideOptions},
    pressure::Reserve,
    segment::{file_name, parse_name},
    wal::{self, HEADER_LENGTH, Header, WalSegment},
};

/// Everything a ledger starts from.
pub(crate) struct Opened {
    pub(crate) state: State,
    pub(crate) log: MainLog,
    pub(crate) outside: std::sync::Arc<Outside>,
    pub(crate) recovery: Recovery,
    pub(crate) reserve: Reserve,
    pub(crate) lock: Box<dyn Send + Sync>,
    /// Leaf hash of the last statement; zeros if there is none.
    pub(crate) last_statement: Hash,
    /// Epoch of the records to come.
    pub(crate) epoch: u64,
    /// Records in the last segment there is.
    pub(crate) records_before: u32,
}

pub(crate) fn open(dir: &Path, options: &Options) -> Result<Opened, Error> {
    let disk = &*options.disk;
    create_folders(disk, dir)?;
    let lock = lock(disk, dir)?;
    let reserve = Reserve::open(options.disk.clone(), options.clock.clone(), dir, options.reserve, options.priority)?;
    let key = stable_key(options, dir)?;
    let outside = OutsideOptions {
        log: dir.join("log"),
        disk: options.disk.clone(),
        net: options.net.clone(),
        clock: options.clock.clone(),
        rng: options.rng.clone(),
        policy: options.policy.clone(),
        stampers: options.time_stampers.clone(),
    };
    let outside = std::sync::Arc::new(Outside::open(outside, key.verifier())?);
    let mut statements = Statements::default();
    let log = LogOptions {
        disk: options.disk.clone(),
        dir: dir.join("log"),
        keys: dir.join("keys"),
        key,
        epoch_length: options.epoch,
        clock: options.clock.clone(),
        rng: options.rng.clone(),
        outside: outside.clone(),
    };
    let log = MainLog::open(log, |index, entry| statements.take(index, entry))?;
    let Statements { sealed, disposals, holds, .. } = statements;
    let mut state = State { sealed, disposals, holds, ..State::default() };
    remove_unpublished(disk, dir, state.sealed.len() as u32, &state.disposals)?;
    let mut recovery = Recovery::default();
    let mut epoch = statements.epoch;
    let mut records_before = state.sealed.last().map_or(0, |sealed| sealed.records);
    take_over_wal(options, dir, &reserve, &mut state, &mut recovery, &mut epoch, &mut records_before)?;
    for damage in &recovery.damage {
        tracing::error!(%damage, "the write-ahead log is damaged");
    }
    Ok(Opened { state, log, outside, recovery, reserve, lock, last_statement: statements.last, epoch: epoch + 1, records_before })
}

/// Makes the folders, durable with the names above and in them. That is done each time: an earlier process may have made or moved something and
/// not lived to do it. What is decided from then on, as the removal of a file that a checkpoint makes superfluous, must not outlive its reason.
fn create_folders(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    for folder in ["", "keys", "log", "segments", "wal"] {
        let path = dir.join(folder);
        disk.create_dir(&path).map_err(|error| Error::io("create", &path, error))?;
    }
    for folder in ["keys", "log", "segments", "wal"] {
        let path = dir.join(folder);
        disk.sync_dir(&path).map_err(|error| Error::io("write", &path, error))?;
    }
    for folder in dir.ancestors() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        match disk.sync_dir(folder) {
            // Not ours to open, so we did not make anything in it either.
            Err(error) if folder != dir && error.kind() == io::ErrorKind::PermissionDenied => break,
            synced => synced.map_err(|error| Error::io("write", folder, error))?,
        }
    }
    Ok(())
}

fn lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn Send + Sync>, Error> {
    let path = dir.join("lock");
    disk.lock(&path).map_err(|failure| match failure {
        LockFailure::Held(holder) => Error::Locked { path: dir.into(), holder },
        LockFailure::Io(error) => Error::io("lock", &path, error),
    })
}

/// The key that signs every checkpoint, from its keeper or from the file; its public half is written down beside it.
fn stable_key(options: &Options, dir: &Path) -> Result<SignerKey, Error> {
    let key = match &options.stable_key {
        Some(kept) => SignerKey::kept(&options.origin, kept.clone())?,
        None => key_of_file(options, dir)?,
    };
    if key.verifier().name() != options.origin {
        return Err(Error::Origin { have: key.verifier().name().into(), want: options.origin.clone() });
    }
    note_public_key(&*options.disk, &dir.join("keys/checkpoint.vkey"), key.verifier())?;
    Ok(key)
}

/// Writes a public key down, where it is not there yet.
pub(crate) fn note_public_key(disk: &dyn Disk, path: &Path, key: &VerifierKey) -> Result<(), Error> {
    let text = format!("{key}\n");
    if read_all(disk, path, 4096).ok().as_deref() != Some(text.as_bytes()) {
        write_durably(disk, path, text.as_bytes(), false).map_err(|error| Error::io("write", path, error))?;
    }
    Ok(())
}

/// Reads the checkpoint key, or makes it at the first open.
fn key_of_file(options: &Options, dir: &Path) -> Result<SignerKey, Error> {
    let (disk, origin) = (&*options.disk, &options.origin);
    let path = dir.join("keys/checkpoint.key");
    match read_all(disk, &path, 4096) {
        Ok(bytes) => {
            let bytes = Zeroizing::new(bytes);
            let place = path.display().to_string();
            let text =
                std::str::from_utf8(&bytes).map_err(|_| Error::Key { place: place.clone(), reason: "it is not text".into() })?;
            SignerKey::parse(text, &place)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let checkpoint = dir.join("log/checkpoint");
            if disk.open(&checkpoint).is_ok() {
                let reason = "it is gone, but the log has checkpoints: put the key back, a new one would fork the log";
                return Err(Error::Key { place: path.display().to_string(), reason: reason.into() });
            }
            let mut seed = Zeroizing::new([0; 32]);
            random(&*options.rng, &mut *seed)?;
            let key = SignerKey::new(origin, &seed)?;
            let text = key.to_text().unwrap_or_default();
            write_durably(disk, &path, text.as_bytes(), true).map_err(|error| Error::io("write", &path, error))?;
            Ok(key)
        }
        Err(error) => Err(Error::io("read", &path, error)),
    }
}

/// Collects the statements of the main log and checks that they continue each other.
#[derive(Default)]
struct Statements {
    sealed: Vec<Sealed>,
    last: Hash,
    epoch: u64,
    disposals: Disposals,
    holds: Holds,
}

impl Statements {
    fn take(&mut self, index: u64, entry: Entry) -> Result<(), Error> {
        let bad = |reason: &str| Error::Log { place: format!("entry {index}"), reason: reason.into() };
        let statement = match entry {
            Entry::Batch(statement) => statement,
            Entry::Disposal(disposal) => {
                // Which records were lost is for a verifier to compare; here it is only about which files there are.
                let batch = self.sealed.get(disposal.segment as usize).map(|sealed| (sealed.records, &[][..]));
                return self.disposals.take(index, &disposal, batch).map_err(|reason| bad(&format!("it {reason}")));
            }
            Entry::Hold(hold) => {
                self.holds.take(index, &hold);
                return Ok(());
            }
            Entry::Epoch(_) | Entry::Fork(_) => return Ok(()),
        };
        if statement.segment as usize != self.sealed.len() || statement.previous != self.last {
            return Err(bad("it does not continue the statement before it"));
        }
        self.last = statement.leaf_hash();
        self.epoch = self.epoch.max(statement.epoch);
        self.sealed.push(Sealed::new(index, &statement));
        Ok(())
    }
}

/// Erases files in `segments/` that nothing refers to: those of before they were published, whose records the WAL still has; temporary ones; what acts that
/// took content out have left. Where files are missing that the log names, or there are some it does not reach, the log is not what it was: nothing is touched.
fn remove_unpublished(disk: &dyn Disk, dir: &Path, sealed: u32, disposals: &Disposals) -> Result<(), Error> {
    let (folder, wal) = (dir.join("segments"), dir.join("wal"));
    let waiting = disk.list(&wal).map_err(|error| Error::io("list", &wal, error))?;
    let names = disk.list(&folder).map_err(|error| Error::io("list", &folder, error))?;
    let older = |name: &str, reason: &str| {
        let reason = format!("{reason}: the log is older than the segments, restore the newer one from a copy");
        Err(Error::Log { place: folder.join(name).display().to_string(), reason })
    };
    let mut left = Vec::new();
    for name in &names {
        let found = parse_name(name);
        if let Some((segment, 0, "parquet")) = found
            && segment >= sealed
            && !waiting.contains(&format!("{segment:08}.wal"))
        {
            return older(name, "it was sealed, but the log does not reach it");
        }
        let belongs =
            found.is_some_and(|(segment, redactions, kind)| segment < sealed && belongs(disposals.of(segment), redactions, kind));
        if belongs {
            continue;
        }
        if let Some((segment, redactions, kind)) = found.filter(|(segment, ..)| *segment < sealed)
            && !disposals.of(segment).is_some_and(|disposed| disposed.destroyed)
        {
            let present = disposals.of(segment).map_or(0, |disposed| disposed.redactions);
            let is_newer = redactions > present || kind == "leaves";
            if is_newer && names.binary_search(&file_name(segment, present, "parquet")).is_err() {
                return older(name, "content was taken out of its segment, and the log does not say so");
            }
        }
        left.push(folder.join(name));
    }
    left.iter().try_for_each(|path| erase(disk, path).map_err(|error| Error::io("erase", path, error)))
}

/// Whether a sealed segment has such a file.
fn belongs(disposed: Option<&Disposed>, redactions: u32, kind: &str) -> bool {
    match disposed {
        None => redactions == 0 && ["parquet", "map"].contains(&kind),
        Some(disposed) if disposed.destroyed => kind == "leaves",
        Some(disposed) => redactions == disposed.redactions && kind != "leaves",
    }
}

fn take_over_wal(
    options: &Options,
    dir: &Path,
    reserve: &Reserve,
    state: &mut State,
    recovery: &mut Recovery,
    epoch: &mut u64,
    records_before: &mut u32,
) -> Result<(), Error> {
    let disk = &*options.disk;
    let files = wal_files(disk, dir, state.sealed.len() as u32)?;
    for (n, found) in files.iter().enumerate() {
        let next = files.get(n + 1);
        // How many records it held is known from the head of the file after it, not from that of a later one.
        let follows = next.filter(|next| next.header.segment == found.header.segment + 1);
        let complete = follows.map(|next| next.header.records_before);
        // Segments that should be there by number but have no file: every record of theirs is lost, and how many is known from the next head.
        while state.sealed.len() + state.unsealed.len() < found.header.segment as usize {
            let segment = (state.sealed.len() + state.unsealed.len()) as u32;
            let records = if segment + 1 == found.header.segment { found.header.records_before } else { 0 };
            recovery.damage.push(format!("`{segment:08}.wal` is missing with {records} records"));
            recovery.lost += u64::from(records);
            replace_missing(options, dir, state, found, (segment, records, *records_before))?;
            *records_before = records;
        }
        let path = dir.join("wal").join(&found.name);
        let scan = wal::scan(&*found.file, &found.header, complete).map_err(|error| Error::io("read", &path, error))?;
        *epoch = found.header.epoch.max(*epoch);
        recovery.damage.extend(scan.damage.iter().map(|(offset, what)| format!("`{}` at byte {offset}: {what}", found.name)));
        let lost = scan.places.iter().filter(|place| place.length == 0).count() as u64;
        recovery.lost += lost;
        recovery.records += scan.places.len() as u64 - lost;
        recovery.torn += scan.torn.map_or(0, |(_, records)| u64::from(records));
        let end = RecordId { segment: found.header.segment, index: scan.places.len() as u32 };
        recovery.unfinished = recovery.unfinished.or(scan.torn.map(|_| end));
        if scan.places.is_empty() && next.is_none() {
            // Nothing was ever acknowledged from it; its number is used again. Where records of the file before it are lost, its head alone knows of them
            // until they are sealed as lost, and stays.
            let is_needed = state.unsealed.back().is_some_and(|wal| wal.places.read().iter().any(|place| place.length == 0));
            if !is_needed {
                disk.remove(&path).map_err(|error| Error::io("remove", &path, error))?;
            }
            continue;
        }
        if scan.places.is_empty() && complete.is_none() {
            return Err(uncounted(&path));
        }
        // The last group may be what a failed sync left in the page cache: there to be read, and gone with the power. So what nobody knew to
        // be durable is written anew, without an unfinished group, before it counts as taken over and the next file's head says that it must be there.
        let file = if complete.is_some() || (scan.marked && scan.torn.is_none()) {
            found.file.clone()
        } else {
            repair(options, reserve, &path, &*found.file, scan.end)?
        };
        *records_before = scan.places.len() as u32;
        state.unsealed.push_back(WalSegment::new(found.header.clone(), path, file, scan.places).into());
    }
    Ok(())
}

/// Writes a WAL file anew, if need be with the room that was set aside.
fn repair(options: &Options, reserve: &Reserve, path: &Path, file: &dyn DiskFile, end: u64) -> Result<Arc<dyn DiskFile>, Error> {
    let rewrite = || wal::rewrite(&*options.disk, path, file, end).map_err(|error| Error::io("repair", path, error));
    match rewrite() {
        Err(Error::DiskFull { .. }) if reserve.give_back() => rewrite(),
        written => written,
    }
}

/// Stands in for a WAL file that is gone, so that its records are sealed as lost under their own numbers.
fn replace_missing(
    options: &Options,
    dir: &Path,
    state: &mut State,
    next: &WalFile,
    (segment, records, records_before): (u32, u32, u32),
) -> Result<(), Error> {
    let path = dir.join("wal").join(format!("{segment:08}.wal"));
    if records == 0 {
        return Err(uncounted(&path));
    }
    let mut header = next.header.clone();
    (header.segment, header.records_before) = (segment, records_before);
    random(&*options.rng, &mut header.file_id)?;
    let wal = WalSegment::create(&*options.disk, path, header)?;
    *wal.places.write() = vec![wal::Place::default(); records as usize];
    state.unsealed.push_back(wal.into());
    Ok(())
}

fn uncounted(path: &Path) -> Error {
    let reason = "it is missing and nothing says how many records it held: restore it from a copy";
    Error::Log { place: path.display().to_string(), reason: reason.into() }
}

struct WalFile {
    name: String,
    file: std::sync::Arc<dyn crate::DiskFile>,
    header: Header,
}

/// The WAL files that are not sealed, by segment. Those that are sealed are removed, as is a last one whose making was cut short.
fn wal_files(disk: &dyn Disk, dir: &Path, sealed: u32) -> Result<Vec<WalFile>, Error> {
    let folder = dir.join("wal");
    let names = disk.list(&folder).map_err(|error| Error::io("list", &folder, error))?;
    for name in names.iter().filter(|name| name.ends_with(".tmp")) {
        // A copy that was not finished; the file is there under its own name.
        let path = folder.join(name);
        erase(disk, &path).map_err(|error| Error::io("erase", &path, error))?;
    }
    let numbered: Vec<(u32, String)> =
        names.into_iter().filter_map(|name| Some((name.strip_suffix(".wal")?.parse().ok()?, name))).collect();
    let mut files = Vec::new();
    for (n, (segment, name)) in numbered.iter().enumerate() {
        let path = folder.join(name);
        if *segment < sealed {
            erase(disk, &path).map_err(|error| Error::io("erase", &path, error))?;
            continue;
        }
        let io = |error| Error::io("read", &path, error);
        let file = disk.open(&path).map_err(io)?;
        let mut head = vec![0; HEADER_LENGTH];
        let read = file.read_at(&mut head, 0).map_err(io)?;
        match Header::decode(&head[..read]).filter(|header| header.segment == *segment) {
            Some(header) => files.push(WalFile { name: name.clone(), file, header }),
            // Records are only written once the head is durable, so a file without one holds none.
            None if n + 1 == numbered.len() && file.length().map_err(io)? <= HEADER_LENGTH as u64 => {
                drop(file);
                disk.remove(&path).map_err(|error| Error::io("remove", &path, error))?;
            }
            None => {
                let reason =
                    "both copies of its head are damaged, so its records cannot be told from rubbish: restore it from a copy";
                return Err(Error::Log { place: path.display().to_string(), reason: reason.into() });
            }
        }
    }
    Ok(files)
}
