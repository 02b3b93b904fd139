//! The lake's write side: append, flush, and the snapshots readers work on.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    hash::{BuildHasher as _, RandomState},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::Int64Type,
};
use parking_lot::{Mutex, RwLock};
use reeve_objects::Objects;
use reeve_record::RecordId;

use crate::{
    Compaction, Error, RawStore, Row, Rows,
    catalog::{Catalog, Change, MIXED, SegmentRow, Withdrawn},
    delta,
    engine::Engine,
    files::Files,
    hot::Hot,
    minutes::Counts,
    native::Natives,
    rows::{self, Caps},
    segment::{self, SegmentFile, Slot},
    sweep::Parting,
    texts::{Indexed, TextSearch},
};

/// How a lake is opened.
#[derive(Clone)]
pub struct Options {
    /// Where raw bytes are read from: the lake keeps none.
    pub raw: Arc<dyn RawStore>,
    /// Bytes of unflushed events at which [`Lake::flush_due`] says yes; default 128 MiB.
    pub flush_bytes: usize,
    /// Age of the oldest unflushed event at which it says yes; default 10 s.
    pub flush_after: Duration,
    /// Bytes all running queries may hold together; default 512 MiB. Sorts and groupings spill to `tmp` below the lake
    /// beyond it (at most `spill_bytes`), everything else fails with a clear error.
    pub query_memory: usize,
    /// Bytes of temporary files queries may write; default 8 GiB.
    pub spill_bytes: u64,
    /// Threads one query is spread over; default the number of processors.
    pub threads: usize,
    /// When small files are merged.
    pub compaction: Compaction,
    /// Where live segments are listed; default an SQLite file in the lake's folder.
    pub catalog: Option<Arc<dyn Catalog>>,
    /// Where event files are kept; default the lake's folder.
    pub objects: Option<Arc<dyn Objects>>,
    /// Bytes of files kept on object storage that are in the folder too; default 10 GiB.
    pub cache_bytes: u64,
    /// Called at each step of a flush or merge; an error stops it there, as a crash would. For tests.
    pub faults: Option<Arc<dyn Fn(FlushStep) -> io::Result<()> + Send + Sync>>,
}

impl Options {
    /// The defaults, with this store of raw bytes.
    pub fn new(raw: Arc<dyn RawStore>) -> Self {
        Self {
            raw,
            flush_bytes: 128 << 20,
            flush_after: Duration::from_secs(10),
            query_memory: 512 << 20,
            spill_bytes: 8 << 30,
            threads: std::thread::available_parallelism().map_or(2, Into::into),
            compaction: Compaction::default(),
            catalog: None,
            objects: None,
            cache_bytes: 10 << 30,
            faults: None,
        }
    }
}

/// The steps of a flush, and of a merge, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushStep {
    /// Nothing written yet.
    Start,
    /// One segment file is written and in place, not yet in the catalog.
    SegmentWritten,
    /// All files are in place and durable; the catalog does not know them.
    BeforeCommit,
    /// The catalog lists the new segments; this process does not know yet.
    AfterCommit,
    /// A merge has its lease; nothing is written yet.
    MergeStart,
    /// The merged file is in place and durable; the catalog does not know it.
    MergeWritten,
    /// The catalog lists the merged file instead of its inputs; this process does not know yet.
    MergeCommitted,
}

/// What readers see: files and unflushed batches at one moment, each event in exactly one of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) files: Vec<Arc<SegmentFile>>,
    pub(crate) hot: Vec<RecordBatch>,
}

/// Event tables of one data folder: one writer, any number of readers.
pub struct Lake {
    pub(crate) folder: PathBuf,
    pub(crate) files: Arc<Files>,
    pub(crate) options: Options,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) state: RwLock<State>,
    /// Files of changes of which it is not known whether they happened.
    pub(crate) undecided: Mutex<Vec<String>>,
    // Held for a whole flush, so that two cannot interleave. Appends and reads do not take it.
    pub(crate) flushing: Mutex<()>,
    pub(crate) texts: Arc<TextSearch>,
    pub(crate) counts: Counts,
    pub(crate) published: Mutex<Option<delta::Table>>,
    /// Who this is in leases.
    pub(crate) holder: String,
    /// Whose announced files are, now and after a restart.
    pub(crate) node: String,
    pub(crate) engine: Engine,
}

pub(crate) struct State {
    pub(crate) files: Vec<Arc<SegmentFile>>,
    /// Paths of files that a flush or merge of this process is about to replace: no other may.
    pub(crate) claimed: BTreeSet<String>,
    pub(crate) parting: Parting,
    hot: Hot,
    oldest: Option<Instant>,
    pub(crate) read_through: RecordId,
    names: BTreeSet<String>,
    caps: Caps,
    flushes: u64,
    stopped: bool,
}

/// Counters for status pages.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Status {
    /// Live event segments.
    pub segments: usize,
    /// Events in them.
    pub stored_rows: u64,
    /// Bytes of their files.
    pub stored_bytes: u64,
    /// Events not yet in files.
    pub hot_rows: usize,
    /// Memory they take, in bytes.
    pub hot_bytes: usize,
    /// Every record before this one is in files.
    pub read_through: RecordId,
    /// Flushes since the lake was opened.
    pub flushes: u64,
    /// What bounds cut since the lake was opened.
    pub caps: Caps,
}

/// What a flush did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Events moved from memory to files.
    pub rows: u64,
    /// Files written.
    pub files: usize,
    /// Small files that the written ones replace.
    pub merged: usize,
    /// Bytes written.
    pub bytes: u64,
}

/// Events of one class and day in one flush below which they share the day's mixed file.
const OWN_FILE_ROWS: usize = 256;
/// How long a file may be written before others may take it for abandoned. A process that begins again says so at once.
const ANNOUNCED: Duration = Duration::from_secs(86_400);
/// Native names remembered for suggestions; further ones are not.
const MAX_NAMES: usize = 20_000;

impl Lake {
    /// Opens the lake in `folder`, creating it if need be. Files that no catalog row lists (a crash left them) are removed.
    ///
    /// # Errors
    /// The folder cannot be written, or the catalog cannot be read.
    pub fn open(folder: &Path, options: Options) -> Result<Self, Error> {
        let events = folder.join("events");
        fs::create_dir_all(&events).map_err(Error::io("create", &events))?;
        let folder = folder.canonicalize().map_err(Error::io("resolve", folder))?;
        let catalog: Arc<dyn Catalog> = match &options.catalog {
            Some(catalog) => catalog.clone(),
            None => Arc::new(crate::SqliteCatalog::open(&folder.join("catalog.sqlite"))?),
        };
        let node = node(&folder)?;
        catalog.keep_at(&options.objects.as_ref().map_or_else(|| format!("folder {node}"), |objects| objects.place()))?;
        // One process at a time has this folder: what an earlier one announced and did not finish will not be.
        catalog.withdraw(Withdrawn::Owner(&node))?;
        let (segments, read_through) = catalog.load()?;
        let names = catalog.names()?.into_iter().collect();
        let live: BTreeSet<String> = segments.iter().map(|row| row.path.clone()).collect();
        let files = Arc::new(Files::new(&folder, options.objects.clone().map(|objects| (objects, options.cache_bytes))));
        let engine = Engine::new(&files, &options)?;
        let segments = segments.into_iter().map(|row| Arc::new(SegmentFile::new(&files, row))).collect();
        let state = State {
            files: segments,
            claimed: BTreeSet::new(),
            parting: Parting::new(),
            hot: Hot::default(),
            oldest: None,
            read_through,
            names,
            caps: Caps::default(),
            flushes: 0,
            stopped: false,
        };
        let needles = folder.join("needles");
        fs::create_dir_all(&needles).map_err(Error::io("create", &needles))?;
        let texts = Arc::new(TextSearch::new(options.raw.clone(), needles, options.threads));
        let (state, flushing, holder, undecided) = (RwLock::new(state), Mutex::new(()), holder(), Mutex::default());
        let (counts, published) = (Counts::new(), Mutex::new(None));
        let lake =
            Self { folder, files, options, catalog, state, undecided, flushing, texts, counts, published, holder, node, engine };
        // First what others read, then the files it no longer names.
        if let Err(error) = lake.publish_if_published() {
            tracing::warn!(%error, "the Delta table may name files that are gone until it is published again");
        }
        remove_orphans(&lake.folder, &live)?;
        if let Err(error) = lake.sweep() {
            tracing::warn!(%error, "files that are no longer live could not be removed, trying again later");
        }
        Ok(lake)
    }

    /// Adds events; a search that starts after the return sees them. They become durable with a flush; until then the
    /// ledger has their records, and reading resumes at [`Lake::read_through`].
    ///
    /// # Errors
    /// Nothing was added then.
    pub fn append(&self, rows: &[Row<'_>]) -> Result<(), Error> {
        let mut gathered = Rows::with_capacity(rows.len());
        rows.iter().for_each(|row| gathered.push(row));
        self.append_rows(gathered)
    }

    /// Adds rows gathered before; as [`Lake::append`].
    ///
    /// # Errors
    /// Nothing was added then.
    pub fn append_rows(&self, rows: Rows) -> Result<(), Error> {
        let (batches, caps) = rows.finish().map_err(Error::columns("build event columns"))?;
        let mut state = self.state.write();
        if state.stopped {
            return Err(Error::Stopped);
        }
        state.caps.add(caps);
        if !batches.is_empty() {
            state.oldest.get_or_insert_with(Instant::now);
        }
        for batch in batches {
            state.hot.push(batch).map_err(Error::columns("join event columns"))?;
        }
        Ok(())
    }

    /// Whether unflushed events are many or old enough that the writer should call [`Lake::flush`]. The writer must do so:
    /// memory is bounded by it.
    pub fn flush_due(&self) -> bool {
        let state = self.state.read();
        state.hot.bytes() >= self.options.flush_bytes
            || state.oldest.is_some_and(|since| since.elapsed() >= self.options.flush_after)
    }

    /// Every record before this one is in files: reading resumes here after a restart.
    pub fn read_through(&self) -> RecordId {
        self.state.read().read_through
    }

    /// Counters for status pages.
    pub fn status(&self) -> Status {
        let state = self.state.read();
        Status {
            segments: state.files.len(),
            stored_rows: state.files.iter().map(|file| file.row.rows).sum(),
            stored_bytes: state.files.iter().map(|file| file.row.bytes).sum(),
            hot_rows: state.hot.rows(),
            hot_bytes: state.hot.bytes(),
            read_through: state.read_through,
            flushes: state.flushes,
            caps: state.caps,
        }
    }

    /// Moves the events of all records before `read_through` from memory to files. The caller has appended every event of
    /// those records. Events of later records stay in memory, so that reading them again after a crash doubles nothing.
    ///
    /// Segments and read position become durable in one catalog transaction; a crash before it leaves only orphan files.
    /// Blocking: takes about a second for 128 MiB.
    ///
    /// # Errors
    /// The events are still in memory and searchable; calling again retries, except after [`Error::Stopped`].
    pub fn flush(&self, read_through: RecordId) -> Result<Flushed, Error> {
        let _one_at_a_time = self.flushing.lock();
        let sealed = {
            let mut state = self.state.write();
            if state.stopped {
                return Err(Error::Stopped);
            }
            state.hot.seal()
        };
        let mut written = Written::default();
        if let Err(error) = self.write_segments(&sealed, read_through, &mut written) {
            self.state.write().hot.unseal();
            written.add.iter().for_each(|row| self.discard(&row.path));
            return Err(error);
        }
        self.commit(written, read_through)
    }

    fn write_segments<'l>(
        &'l self,
        sealed: &[RecordBatch],
        read_through: RecordId,
        written: &mut Written<'l>,
    ) -> Result<(), Error> {
        self.step(FlushStep::Start)?;
        let (taken, left) = split(sealed, read_through).map_err(Error::columns("split events"))?;
        (written.left, written.rows) = (left, taken.iter().map(|batch| batch.num_rows() as u64).sum());
        written.names = self.new_names(&taken);
        for (slot, rows) in slots(&taken) {
            self.write_slot(slot, rows, &taken, written)?;
            self.step(FlushStep::SegmentWritten)?;
        }
        for folder in &written.folders {
            sync_folder(folder)?;
        }
        self.files.keep(&written.add)
    }

    fn write_slot<'l>(
        &'l self,
        slot: Slot,
        mut rows: Vec<(usize, usize)>,
        taken: &[RecordBatch],
        written: &mut Written<'l>,
    ) -> Result<(), Error> {
        // Small files of the slot are rewritten together with the new rows, as a binary counter carries: a slot keeps
        // about log2(carry_rows) small files however often it is flushed, and a byte of theirs is rewritten as often at most.
        let mut batches = taken.to_vec();
        let (small, claim) = self.claim_absorbed(slot, rows.len() as u64);
        written.claims.push(claim);
        for file in small {
            let old = segment::read(&self.files, &file.row)?;
            for batch in old {
                rows.extend((0..batch.num_rows()).map(|row| (batches.len(), row)));
                batches.push(batch);
            }
            written.remove.push(file);
        }
        let relative = slot.folder();
        let folder = self.folder.join(&relative);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let path = self.announce(slot)?;
        written.add.push(segment::write(&self.folder, &path, slot, &batches, rows)?);
        let day = folder.parent().map(Path::to_path_buf);
        written.folders.extend([Some(folder), day, Some(self.folder.join("events"))].into_iter().flatten());
        Ok(())
    }

    fn commit(&self, written: Written<'_>, read_through: RecordId) -> Result<Flushed, Error> {
        let remove: Vec<String> = written.remove.iter().map(|file| file.row.path.clone()).collect();
        let position = read_through.max(self.read_through());
        let read_through = Some((self.read_through(), position));
        let change = Change { add: &written.add, remove: &remove, read_through, names: &written.names, lease: None };
        let flushed = Flushed {
            rows: written.rows,
            files: written.add.len(),
            merged: written.remove.len(),
            bytes: written.add.iter().map(|row| row.bytes).sum(),
        };
        let unchanged = self.step(FlushStep::BeforeCommit).and_then(|()| Ok(self.catalog.commit(&change)?));
        if let Err(error) = unchanged {
            self.state.write().hot.unseal();
            // Another process merged what this flush meant to, or the commit may have been made: the catalog tells.
            return self.happened(&written.add, error).map(|()| flushed);
        }
        let known = self.step(FlushStep::AfterCommit);
        let mut state = self.state.write();
        if let Err(error) = known {
            // Committed, but this process would show the events twice: only a fresh open is right again.
            state.stopped = true;
            return Err(error);
        }
        // One lock for all of it: a snapshot has each event in memory or in a file, never in both and never in neither.
        let gone = state.exchange(&self.files, &remove, written.add);
        state.hot.replace_sealed(written.left);
        state.oldest = (state.hot.rows() > 0).then(Instant::now);
        state.read_through = position;
        state.names.extend(written.names);
        state.flushes += 1;
        drop(state);
        drop(gone);
        Ok(flushed)
    }

    /// The small files that a flush of so many rows takes along, kept from others until the claim is dropped.
    fn claim_absorbed(&self, slot: Slot, rows: u64) -> (Vec<Arc<SegmentFile>>, Claim<'_>) {
        let mut state = self.state.write();
        let free: Vec<_> = state.files.iter().filter(|file| !state.claimed.contains(&file.row.path)).cloned().collect();
        let small = absorbed(slot, rows, &free, self.options.compaction.carry_rows);
        let paths: Vec<String> = small.iter().map(|file| file.row.path.clone()).collect();
        state.claimed.extend(paths.iter().cloned());
        (small, Claim { lake: self, paths })
    }

    /// Keeps these files from every other flush and merge of this process; `None` if one is taken or gone.
    pub(crate) fn claim(&self, files: &[Arc<SegmentFile>]) -> Option<Claim<'_>> {
        let mut state = self.state.write();
        let is_free = |file: &Arc<SegmentFile>| {
            !state.claimed.contains(&file.row.path) && state.files.iter().any(|live| Arc::ptr_eq(live, file))
        };
        if !files.iter().all(is_free) {
            return None;
        }
        let paths: Vec<String> = files.iter().map(|file| file.row.path.clone()).collect();
        state.claimed.extend(paths.iter().cloned());
        Some(Claim { lake: self, paths })
    }

    /// Shows readers `add` instead of `remove`, after the catalog has changed so.
    pub(crate) fn replace(&self, remove: &[String], add: Vec<SegmentRow>) {
        let gone = self.state.write().exchange(&self.files, remove, add);
        drop(gone);
    }

    /// Takes over the catalog's list of live files and its read position: events before that are in files, and leave memory. Called with the
    /// flush lock held: a flush that has committed and not yet said so would show its events twice.
    pub(crate) fn refresh(&self) -> Result<(), Error> {
        let (segments, position) = self.catalog.load()?;
        let mut state = self.state.write();
        let live: BTreeSet<String> = segments.iter().map(|row| row.path.clone()).collect();
        let known: BTreeSet<String> = state.files.iter().map(|file| file.row.path.clone()).collect();
        let gone: Vec<String> = known.difference(&live).cloned().collect();
        let gone = state.exchange(&self.files, &gone, segments.into_iter().filter(|row| !known.contains(&row.path)).collect());
        if position > state.read_through {
            let (_, left) = split(state.hot.batches(), position).map_err(Error::columns("split events"))?;
            state.hot.seal();
            state.hot.replace_sealed(left);
            state.oldest = (state.hot.rows() > 0).then(Instant::now);
            state.read_through = position;
        }
        drop(state);
        drop(gone);
        Ok(())
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let state = self.state.read();
        Snapshot { files: state.files.clone(), hot: state.hot.batches().to_vec() }
    }

    /// Native names in files and in memory, for telling a misspelt field from one that has no events.
    pub(crate) fn native_names(&self) -> BTreeSet<String> {
        let (mut names, hot) = {
            let state = self.state.read();
            (state.names.clone(), state.hot.batches().to_vec())
        };
        collect_names(&hot, &mut names);
        names
    }

    /// Makes the needle filters of one sealed segment of the record that has none yet; `None` if all have. Blocking; `go_on` is asked every
    /// few hundred records, may sleep, and stops it with false.
    ///
    /// # Errors
    /// The record cannot be read or the file not be written. Searches then read the segment as a whole.
    pub fn index_raw(&self, go_on: &dyn Fn() -> bool) -> Result<Option<Indexed>, Error> {
        self.texts.index_next(go_on).map_err(Error::io("make needle filters in", self.folder.join("needles")))
    }

    /// Forgets what needle filters tell of a segment of the record, after records of it were destroyed.
    ///
    /// # Errors
    /// The filters' file cannot be removed.
    pub fn forget_raw(&self, segment: u32) -> Result<(), Error> {
        self.texts.forget(segment).map_err(Error::io("remove needle filters in", self.folder.join("needles")))
    }

    pub(crate) fn raw(&self) -> &Arc<dyn RawStore> {
        &self.options.raw
    }

    fn new_names(&self, batches: &[RecordBatch]) -> Vec<String> {
        let mut found = BTreeSet::new();
        collect_names(batches, &mut found);
        let state = self.state.read();
        let room = MAX_NAMES.saturating_sub(state.names.len());
        found.into_iter().filter(|name| !state.names.contains(name)).take(room).collect()
    }

    /// Held while files change, so that two who change them cannot interleave.
    pub(crate) fn flushing(&self) -> parking_lot::MutexGuard<'_, ()> {
        self.flushing.lock()
    }

    /// Writes rows of `batches` as a new file of a slot, durable with its name; no catalog lists it yet.
    pub(crate) fn write_file(&self, slot: Slot, batches: &[RecordBatch], rows: Vec<(usize, usize)>) -> Result<SegmentRow, Error> {
        let relative = slot.folder();
        let folder = self.folder.join(&relative);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let path = self.announce(slot)?;
        let row = segment::write(&self.folder, &path, slot, batches, rows)?;
        sync_folder(&folder)?;
        self.files.keep(std::slice::from_ref(&row))?;
        Ok(row)
    }

    /// The path of a new file of a slot, which is this process's to write.
    pub(crate) fn announce(&self, slot: Slot) -> Result<String, Error> {
        Ok(self.catalog.announce(&slot.folder(), &self.node, ANNOUNCED)?)
    }

    /// Removes a file that did not become live from the folder. What else there is of it the next sweep removes.
    pub(crate) fn discard(&self, path: &str) {
        if let Err(error) = self.files.erase_here(path) {
            tracing::warn!(%error, "a file that did not become live stays for now");
        }
        self.undecided.lock().push(path.to_owned());
    }

    /// Whether a change that was reported as failed happened all the same. The catalog knows; while it cannot be asked, the files of the
    /// change stay, and the error is the change's own. Called with the flush lock held.
    pub(crate) fn happened(&self, add: &[SegmentRow], error: Error) -> Result<(), Error> {
        let paths: Vec<String> = add.iter().map(|row| row.path.clone()).collect();
        // The server may still be at a change whose connection was cut. Withdrawing waits for it, or comes first and it fails.
        let decided = self.catalog.withdraw(Withdrawn::Paths(&paths)).map_err(Error::from).and_then(|()| self.refresh());
        if let Err(silent) = decided {
            tracing::warn!(error = %silent, "whether a change was made is not known until the catalog answers");
            self.undecided.lock().extend(paths);
            return Err(error);
        }
        let live: BTreeSet<String> = self.state.read().files.iter().map(|file| file.row.path.clone()).collect();
        if !add.is_empty() && paths.iter().all(|path| live.contains(path)) {
            tracing::info!(%error, "a change that was reported as failed was made");
            return Ok(());
        }
        paths.iter().filter(|path| !live.contains(*path)).for_each(|path| self.discard(path));
        Err(error)
    }

    pub(crate) fn step(&self, step: FlushStep) -> Result<(), Error> {
        match &self.options.faults {
            Some(fault) => fault(step).map_err(Error::io("flush", &self.folder)),
            None => Ok(()),
        }
    }
}

impl State {
    /// Puts files in the place of others and returns those, which are dead once the last query that knew them has ended. They are to be
    /// dropped after the state is given back: the last to go is erased.
    #[must_use]
    fn exchange(&mut self, files: &Arc<Files>, remove: &[String], add: Vec<SegmentRow>) -> Vec<Arc<SegmentFile>> {
        let remove: BTreeSet<&String> = remove.iter().collect();
        let gone: Vec<_> = self.files.extract_if(.., |file| remove.contains(&file.row.path)).collect();
        for file in &gone {
            file.retire();
            self.parting.insert(file.row.path.clone(), Arc::downgrade(file));
        }
        self.files.extend(add.into_iter().map(|row| Arc::new(SegmentFile::new(files, row))));
        gone
    }
}

/// Files that only one flush or merge may replace.
pub(crate) struct Claim<'l> {
    lake: &'l Lake,
    paths: Vec<String>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = self.lake.state.write();
        self.paths.iter().for_each(|path| {
            state.claimed.remove(path);
        });
    }
}

/// The name of this folder among those who share a catalog: given once, at random.
fn node(folder: &Path) -> Result<String, Error> {
    let path = folder.join("node");
    match fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io("read", path)(error)),
        _ => {}
    }
    let name = format!("{:016x}", RandomState::new().hash_one(holder()));
    let part = folder.join("node.part");
    let written = File::create(&part).and_then(|mut file| {
        io::Write::write_all(&mut file, name.as_bytes())?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&part, &path)).map_err(Error::io("write", path))?;
    sync_folder(folder)?;
    Ok(name)
}

/// A name no other process has: number, and when it began.
fn holder() -> String {
    format!("{} {}", std::process::id(), jiff::Timestamp::now().as_nanosecond())
}

#[derive(Default)]
struct Written<'l> {
    claims: Vec<Claim<'l>>,
    add: Vec<SegmentRow>,
    remove: Vec<Arc<SegmentFile>>,
    left: Vec<RecordBatch>,
    folders: BTreeSet<PathBuf>,
    names: Vec<String>,
    rows: u64,
}

/// Rows of records before the position, and all others.
fn split(
    batches: &[RecordBatch],
    read_through: RecordId,
) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), arrow::error::ArrowError> {
    let limit = rows::packed(read_through);
    let (mut taken, mut left) = (Vec::new(), Vec::new());
    for batch in batches {
        let Some(records) = batch.column_by_name("record").map(|column| column.as_primitive::<Int64Type>()) else { continue };
        let before: BooleanArray = records.values().iter().map(|record| Some(*record < limit)).collect();
        match before.true_count() {
            0 => left.push(batch.clone()),
            count if count == batch.num_rows() => taken.push(batch.clone()),
            _ => {
                taken.push(filter_record_batch(batch, &before)?);
                left.push(filter_record_batch(batch, &arrow::compute::not(&before)?)?);
            }
        }
    }
    Ok((taken, left))
}

/// Rows by slot; classes with few rows share the day's mixed slot.
pub(crate) fn slots(batches: &[RecordBatch]) -> Vec<(Slot, Vec<(usize, usize)>)> {
    let mut mixed = std::collections::BTreeMap::<i32, Vec<(usize, usize)>>::new();
    let mut own = Vec::new();
    for (slot, rows) in segment::by_slot(batches) {
        if rows.len() < OWN_FILE_ROWS {
            mixed.entry(slot.day).or_default().extend(rows);
        } else {
            own.push((slot, rows));
        }
    }
    own.extend(mixed.into_iter().map(|(day, rows)| (Slot { day, class_uid: MIXED }, rows)));
    own
}

fn absorbed(slot: Slot, rows: u64, files: &[Arc<SegmentFile>], below: u64) -> Vec<Arc<SegmentFile>> {
    let mut small: Vec<_> = files
        .iter()
        .filter(|file| file.row.day == slot.day && file.row.class_uid == slot.class_uid && file.row.rows < below)
        .filter(|file| file.row.rewrites == 0)
        .collect();
    small.sort_by_key(|file| file.row.rows);
    let mut total = rows;
    let mut taken = Vec::new();
    for file in small {
        if file.row.rows > 2 * total || total >= below {
            break;
        }
        total += file.row.rows;
        taken.push(file.clone());
    }
    taken
}

fn collect_names(batches: &[RecordBatch], names: &mut BTreeSet<String>) {
    let mut last = String::new();
    for batch in batches {
        let column = batch.column_by_name("native").and_then(|column| column.as_map_opt());
        let Some(natives) = column.and_then(Natives::of) else { continue };
        for name in natives.names.iter().flatten() {
            if names.len() < MAX_NAMES {
                crate::native::without_indexes(name, &mut last);
                if !names.contains(&last) {
                    names.insert(last.clone());
                }
            }
        }
    }
}

pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|handle| handle.sync_all()).map_err(Error::io("make durable", folder))
}

/// Removes event files that no catalog row lists, and what queries spilled before a crash.
fn remove_orphans(folder: &Path, live: &BTreeSet<String>) -> Result<(), Error> {
    let _ = fs::remove_dir_all(folder.join("tmp"));
    for day in listed(&folder.join("events"))? {
        for class in listed(&day)? {
            for file in listed(&class)? {
                // What stands beside a segment is known by its name.
                let segment = if file.extension().is_some_and(|kind| kind == "minutes") {
                    file.with_extension("parquet")
                } else {
                    file.clone()
                };
                let path = segment.strip_prefix(folder).ok().and_then(Path::to_str).unwrap_or_default();
                if !live.contains(path) {
                    tracing::info!(path, "removing an event file that was never committed");
                    crate::forget::erase(&file).map_err(Error::io("erase", &file))?;
                }
            }
        }
    }
    Ok(())
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(Error::io("list", folder))).collect()
}

impl Caps {
    fn add(&mut self, other: Self) {
        self.fields += other.fields;
        self.values += other.values;
        self.observables += other.observables;
    }
}
