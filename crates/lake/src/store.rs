//! The lake's write side: append, flush, and the snapshots readers work on.

use std::{
    collections::BTreeSet,
    fs::{self, File},
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
use reeve_record::RecordId;

use crate::{
    Compaction, Error, RawStore, Row, Rows,
    catalog::{Catalog, Change, MIXED, SegmentRow},
    delta,
    engine::Engine,
    hot::Hot,
    minutes::Counts,
    native::Natives,
    rows::{self, Caps},
    segment::{self, SegmentFile, Slot},
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
    pub(crate) options: Options,
    pub(crate) catalog: Box<dyn Catalog>,
    pub(crate) state: RwLock<State>,
    // Held for a whole flush, so that two cannot interleave. Appends and reads do not take it.
    pub(crate) flushing: Mutex<()>,
    pub(crate) texts: Arc<TextSearch>,
    pub(crate) counts: Counts,
    pub(crate) published: Mutex<Option<delta::Table>>,
    /// Who this is in leases.
    pub(crate) holder: String,
    pub(crate) engine: Engine,
}

pub(crate) struct State {
    pub(crate) files: Vec<Arc<SegmentFile>>,
    /// Paths of files that a flush or merge of this process is about to replace: no other may.
    pub(crate) claimed: BTreeSet<String>,
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
        let catalog = crate::SqliteCatalog::open(&folder.join("catalog.sqlite"))?;
        let (segments, read_through) = catalog.load()?;
        let names = catalog.names()?.into_iter().collect();
        let engine = Engine::new(&folder, &options)?;
        let files = segments.into_iter().map(|row| Arc::new(SegmentFile::new(&folder, row))).collect();
        let state = State {
            files,
            claimed: BTreeSet::new(),
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
        let (state, flushing, holder) = (RwLock::new(state), Mutex::new(()), holder());
        let (catalog, counts, published) = (Box::new(catalog), Counts::new(), Mutex::new(None));
        let lake = Self { folder, options, catalog, state, flushing, texts, counts, published, holder, engine };
        // First what others read, then the files it no longer names.
        if delta::is_published(&lake.folder)
            && let Err(error) = lake.publish()
        {
            tracing::warn!(%error, "the Delta table may name files that are gone until it is published again");
        }
        let live = lake.snapshot().files;
        remove_orphans(&lake.folder, &live.iter().map(|file| file.row.path.as_str()).collect())?;
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
        let result = self.write_segments(&sealed, read_through);
        if result.is_err() {
            self.state.write().hot.unseal();
        }
        let written = result?;
        self.commit(written, read_through)
    }

    fn write_segments(&self, sealed: &[RecordBatch], read_through: RecordId) -> Result<Written<'_>, Error> {
        self.step(FlushStep::Start)?;
        let (taken, left) = split(sealed, read_through).map_err(Error::columns("split events"))?;
        let mut written = Written { left, rows: taken.iter().map(|batch| batch.num_rows() as u64).sum(), ..Written::default() };
        written.names = self.new_names(&taken);
        for (slot, rows) in slots(&taken) {
            self.write_slot(slot, rows, &taken, &mut written)?;
            self.step(FlushStep::SegmentWritten)?;
        }
        for folder in &written.folders {
            sync_folder(folder)?;
        }
        Ok(written)
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
            let old = segment::read(&self.folder, &file.row.path)?;
            for batch in old {
                rows.extend((0..batch.num_rows()).map(|row| (batches.len(), row)));
                batches.push(batch);
            }
            written.remove.push(file);
        }
        let relative = slot.folder();
        let folder = self.folder.join(&relative);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let path = format!("{relative}/{:012}.parquet", self.catalog.next_file()?);
        written.add.push(segment::write(&self.folder, &path, slot, &batches, rows)?);
        let day = folder.parent().map(Path::to_path_buf);
        written.folders.extend([Some(folder), day, Some(self.folder.join("events"))].into_iter().flatten());
        Ok(())
    }

    fn commit(&self, written: Written<'_>, read_through: RecordId) -> Result<Flushed, Error> {
        let remove: Vec<String> = written.remove.iter().map(|file| file.row.path.clone()).collect();
        let position = read_through.max(self.read_through());
        let change =
            Change { add: &written.add, remove: &remove, read_through: Some(position), names: &written.names, lease: None };
        let unchanged = self.step(FlushStep::BeforeCommit).and_then(|()| self.catalog.commit(&change));
        if let Err(error) = unchanged {
            self.state.write().hot.unseal();
            if matches!(error, Error::Superseded { .. }) {
                // Another process merged what this flush meant to: the next flush sees it.
                self.refresh()?;
            }
            return Err(error);
        }
        let known = self.step(FlushStep::AfterCommit);
        let mut state = self.state.write();
        if let Err(error) = known {
            // Committed, but this process would show the events twice: only a fresh open is right again.
            state.stopped = true;
            return Err(error);
        }
        let flushed = Flushed {
            rows: written.rows,
            files: written.add.len(),
            merged: written.remove.len(),
            bytes: written.add.iter().map(|row| row.bytes).sum(),
        };
        // One lock for all of it: a snapshot has each event in memory or in a file, never in both and never in neither.
        state.files.retain(|file| !remove.contains(&file.row.path));
        state.files.extend(written.add.into_iter().map(|row| Arc::new(SegmentFile::new(&self.folder, row))));
        state.hot.replace_sealed(written.left);
        state.oldest = (state.hot.rows() > 0).then(Instant::now);
        state.read_through = position;
        state.names.extend(written.names);
        state.flushes += 1;
        drop(state);
        written.remove.iter().for_each(|file| file.retire());
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
    pub(crate) fn replace(&self, remove: &[Arc<SegmentFile>], add: Vec<SegmentRow>) {
        let mut state = self.state.write();
        state.files.retain(|file| !remove.iter().any(|gone| gone.row.path == file.row.path));
        state.files.extend(add.into_iter().map(|row| Arc::new(SegmentFile::new(&self.folder, row))));
        drop(state);
        remove.iter().for_each(|file| file.retire());
    }

    /// Takes over the catalog's list of live files. Called with the flush lock held: a flush that has committed and not yet said so
    /// would show its events twice.
    pub(crate) fn refresh(&self) -> Result<(), Error> {
        let (segments, _) = self.catalog.load()?;
        let mut state = self.state.write();
        let mut known: std::collections::BTreeMap<String, Arc<SegmentFile>> =
            state.files.drain(..).map(|file| (file.row.path.clone(), file)).collect();
        let live = |row: SegmentRow| known.remove(&row.path).unwrap_or_else(|| Arc::new(SegmentFile::new(&self.folder, row)));
        state.files = segments.into_iter().map(live).collect();
        drop(state);
        known.values().for_each(|file| file.retire());
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

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes rows of `batches` as a new file of a slot, durable with its name; no catalog lists it yet.
    pub(crate) fn write_file(&self, slot: Slot, batches: &[RecordBatch], rows: Vec<(usize, usize)>) -> Result<SegmentRow, Error> {
        let relative = slot.folder();
        let folder = self.folder.join(&relative);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let path = format!("{relative}/{:012}.parquet", self.catalog.next_file()?);
        let row = segment::write(&self.folder, &path, slot, batches, rows)?;
        sync_folder(&folder)?;
        Ok(row)
    }

    /// Commits a change of files and lets readers go over to it.
    pub(crate) fn commit_change(&self, change: &Change<'_>) -> Result<(), Error> {
        self.catalog.commit(change)?;
        let mut state = self.state.write();
        state.files.retain(|file| !change.remove.contains(&file.row.path));
        state.files.extend(change.add.iter().map(|row| Arc::new(SegmentFile::new(&self.folder, row.clone()))));
        Ok(())
    }

    pub(crate) fn step(&self, step: FlushStep) -> Result<(), Error> {
        match &self.options.faults {
            Some(fault) => fault(step).map_err(Error::io("flush", &self.folder)),
            None => Ok(()),
        }
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
fn remove_orphans(folder: &Path, live: &BTreeSet<&str>) -> Result<(), Error> {
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
