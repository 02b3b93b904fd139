//! The handle: open, read, wait, status.
use std::{
    collections::VecDeque,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::{Condvar, Mutex, RwLock};
use reeve_record::{Hash, Receipt, RecordId, SaltSecret};
use serde::Serialize;

use crate::{
    Asked, Error, ForkAuthority, ForkStatement, Net, Policy, RealNet, StampStatus, TimeStamper, WitnessStatus,
    append::{Committer, NewRecord, Outcome, Queue, Ticket, Turn},
    disk::{Disk, RealDisk, erase},
    disposal::Disposals,
    dispose::Unfinished,
    env::{Clock, Rng, SystemClock, SystemRng, random},
    hold::{Hold, Holds},
    main_log::MainLog,
    note::{Attested, Checkpoint, ExternalKey, VerifierKey},
    outside::Outside,
    pressure::{Priority, Reserve},
    recover,
    seal::{SealState, Sealer},
    segment::SegmentReader,
    statement::Statement,
    wal::WalSegment,
};

/// How a ledger is opened.
#[derive(Clone)]
pub struct Options {
    /// Name of the log in its checkpoints: text without spaces and `+`, as `reeve.example/record`.
    pub origin: String,
    /// A segment is sealed when its write-ahead log has this many bytes.
    pub segment_bytes: u64,
    /// … or this many records,
    pub segment_records: u32,
    /// … or when its first record is this old.
    pub seal_after: Duration,
    /// A checkpoint is signed at least this often.
    pub heartbeat: Duration,
    /// Bytes set aside, so that a full disk can be lived through; 0 sets none aside. See [`Priority`].
    pub reserve: u64,
    /// What the reserve is for.
    pub priority: Priority,
    /// How long a signing key lives before it is destroyed; 1 s to 24 h. `None` begins no key epochs in a log that has none, and goes on with hours in one
    /// that has.
    pub epoch: Option<Duration>,
    /// Which witnesses are asked to cosign, and how many must. Kept in the folder; `None` goes by the one kept there.
    pub policy: Option<Policy>,
    /// How long signing waits at opening for witnesses that do not answer.
    pub witness_patience: Duration,
    /// Authorities that time-stamp the first checkpoint of each epoch.
    pub time_stampers: Vec<TimeStamper>,
    /// The stable key, if somebody else keeps it, as a PKCS#11 token does; `None`: a file in the folder.
    pub stable_key: Option<Arc<dyn ExternalKey>>,
    /// Where bytes go.
    pub disk: Arc<dyn Disk>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where keys, salt secrets and file ids come from.
    pub rng: Arc<dyn Rng>,
    /// How witnesses and authorities are reached.
    pub net: Arc<dyn Net>,
}

impl Options {
    /// The defaults for a log named `origin`: 64 MiB, 131,072 records or 60 s a segment, a checkpoint each minute, a key each hour, no witnesses.
    pub fn new(origin: impl Into<String>) -> Self {
        Self {
            origin: origin.into(),
            segment_bytes: 64 << 20,
            segment_records: 1 << 17,
            seal_after: Duration::from_secs(60),
            heartbeat: Duration::from_secs(60),
            reserve: 0,
            priority: Priority::Record,
            epoch: Some(Duration::from_secs(3600)),
            policy: None,
            witness_patience: Duration::from_secs(10),
            time_stampers: Vec::new(),
            stable_key: None,
            disk: Arc::new(RealDisk),
            clock: Arc::new(SystemClock),
            rng: Arc::new(SystemRng),
            net: Arc::new(RealNet::default()),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("origin", &self.origin)
            .field("segment_bytes", &self.segment_bytes)
            .finish_non_exhaustive()
    }
}

/// A record as it was stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredRecord {
    /// Where it lies.
    pub id: RecordId,
    /// The bytes as received.
    pub raw: Bytes,
    /// What was noted on receipt.
    pub receipt: Receipt,
}

/// How the ledger is doing.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Name of the log.
    pub origin: String,
    /// Sealed segments.
    pub segments: u32,
    /// Records in sealed segments.
    pub sealed_records: u64,
    /// Raw bytes in sealed segments, uncompressed.
    pub sealed_raw_bytes: u64,
    /// Bytes of the sealed segment files.
    pub sealed_file_bytes: u64,
    /// Durable records that are not sealed yet.
    pub open_records: u64,
    /// Records that were acknowledged but damaged on disk before they could be sealed.
    pub lost_records: u64,
    /// Sealed records whose content was redacted.
    pub redacted_records: u64,
    /// Records of destroyed segments.
    pub destroyed_records: u64,
    /// Holds that are active.
    pub holds: u32,
    /// One past the last durable record.
    pub durable_end: RecordId,
    /// Why the ledger takes no more records, if it does not.
    pub read_only: Option<String>,
    /// What a full disk makes the ledger do, if it does; it ends by itself when there is room.
    pub pressure: Option<String>,
    /// Why the last attempt to seal failed; it is tried again.
    pub seal_problem: Option<String>,
    /// The latest checkpoint.
    pub last_checkpoint: Option<CheckpointStatus>,
    /// The latest checkpoint that reached the quorum of witnesses; `None` without a policy, or before the first.
    pub cosigned: Option<CheckpointStatus>,
    /// Segments, from the first on, that are under it.
    pub cosigned_segments: u32,
    /// Each witness of the policy.
    pub witnesses: Vec<WitnessStatus>,
    /// Why the latest cosigned checkpoint could not be kept, if it could not.
    pub witness_problem: Option<String>,
    /// Each time-stamping authority.
    pub time_stamps: Vec<StampStatus>,
    /// The key epoch that goes on.
    pub epoch: Option<EpochStatus>,
    /// What opening found.
    pub recovery: Recovery,
}

/// The key epoch that goes on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct EpochStatus {
    /// Its number.
    pub number: u64,
    /// When it began.
    pub begins: Timestamp,
    /// When it ends at the latest.
    pub ends: Timestamp,
    /// Files of ended epochs' keys that could not be destroyed yet.
    pub undestroyed: Vec<String>,
}

/// A checkpoint, for showing.
#[derive(Clone, Debug, Serialize)]
pub struct CheckpointStatus {
    /// Entries in the main log.
    pub size: u64,
    /// Root over them, hex.
    pub root: String,
    /// When it was signed.
    pub at: Timestamp,
}

impl From<&Checkpoint> for CheckpointStatus {
    fn from(checkpoint: &Checkpoint) -> Self {
        Self { size: checkpoint.size, root: hex::encode(checkpoint.root as Hash), at: checkpoint.at }
    }
}

/// What opening found in the write-ahead log.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Recovery {
    /// Records taken over from the write-ahead log.
    pub records: u64,
    /// Records that were durable once and are damaged now.
    pub lost: u64,
    /// Records of groups whose writing a crash cut short; they were never acknowledged.
    pub torn: u64,
    /// Where that group began and was cut off. A device that lost its last write after it said that it was durable leaves the same sight, so
    /// whoever was told of records from here on, in this segment, must compare.
    pub unfinished: Option<RecordId>,
    /// What was damaged, in words.
    pub damage: Vec<String>,
}

/// The ledger of one folder. Cheap to share behind an `Arc`; all calls may come from any thread. Dropping it ends its threads; nothing is lost by that.
pub struct Ledger {
    pub(crate) inner: Arc<Inner>,
    threads: Vec<JoinHandle<()>>,
}

/// What the statement of a sealed segment says of its records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SealedSegment {
    /// Records, lost ones included.
    pub records: u32,
    /// Of those, acknowledged and lost before they could be sealed.
    pub lost: u32,
    /// Earliest and latest time of receipt.
    pub received: (Timestamp, Timestamp),
}

/// One sealed segment, as the main log says.
#[derive(Clone)]
pub(crate) struct Sealed {
    /// Index of its statement in the main log.
    pub(crate) entry: u64,
    pub(crate) records: u32,
    pub(crate) raw_bytes: u64,
    pub(crate) file_bytes: u64,
    pub(crate) lost: u32,
    pub(crate) received: (Timestamp, Timestamp),
}

impl Sealed {
    pub(crate) fn new(entry: u64, statement: &Statement) -> Self {
        Self {
            entry,
            records: statement.records,
            raw_bytes: statement.raw_bytes,
            file_bytes: statement.file.length,
            lost: statement.lost.iter().map(|(_, count)| count).sum(),
            received: statement.received,
        }
    }
}

/// Segments by number: first the sealed ones, then those in the WAL, the last of which is open.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) sealed: Vec<Sealed>,
    pub(crate) unsealed: VecDeque<Arc<WalSegment>>,
    pub(crate) disposals: Disposals,
    pub(crate) holds: Holds,
    pub(crate) failed: Option<Error>,
}

pub(crate) struct Inner {
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) state: RwLock<State>,
    pub(crate) recovery: Recovery,
    pub(crate) reserve: Reserve,

    pub(crate) queue: Mutex<Queue>,
    pub(crate) queue_has_work: Condvar,
    pub(crate) queue_has_space: Condvar,
    pub(crate) rotated: Condvar,

    durable: Mutex<RecordId>,
    durable_changed: Condvar,

    /// Segments below this number take no more records.
    pub(crate) closed_segments: AtomicU32,
    pub(crate) seal: Mutex<SealState>,
    pub(crate) seal_changed: Condvar,
    pub(crate) log: Mutex<MainLog>,
    pub(crate) outside: Arc<Outside>,

    readers: Mutex<VecDeque<(u32, Arc<SegmentReader>)>>,
    /// Held for reading while sealed files are read, so that none is erased under a reader.
    pub(crate) layout: RwLock<()>,
    /// One act at a time takes content out.
    pub(crate) disposing: Mutex<Option<Unfinished>>,
    /// Takes write-ahead files of sealed segments to be erased; `None`: the sealer does it.
    eraser: Mutex<Option<std::sync::mpsc::Sender<Arc<WalSegment>>>>,
    /// Held until the last thread is gone.
    _lock: Box<dyn Send + Sync>,
}

impl Ledger {
    /// Opens the ledger in `dir`, or makes it, and repairs what a crash left: afterwards every record that was ever acknowledged is there
    /// or counted in [`Status::recovery`] as lost.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process has it; [`Error::Checkpoint`] or [`Error::Log`] if the main log is not what was signed;
    /// [`Error::Origin`] if it is another log's.
    pub fn open(dir: &Path, options: Options) -> Result<Self, Error> {
        let (mut ledger, Turns { committer, sealer, .. }) = Self::open_in_turns(dir, options)?;
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            let spawned = std::thread::Builder::new().name(name.into()).spawn(body);
            spawned.map_err(|error| Error::io("start a thread for", dir, error))
        };
        ledger.inner.outside.start()?;
        let (sender, ended) = std::sync::mpsc::channel::<Arc<WalSegment>>();
        *ledger.inner.eraser.lock() = Some(sender);
        let inner = ledger.inner.clone();
        ledger.threads.push(spawn("ledger-erase", Box::new(move || ended.iter().for_each(|wal| inner.erase_wal(&wal))))?);
        ledger.threads.push(spawn("ledger-commit", Box::new(move || committer.run()))?);
        ledger.threads.push(spawn("ledger-seal", Box::new(move || sealer.run()))?);
        Ok(ledger)
    }

    /// Opens the ledger without threads of its own: nothing is written or sealed but in the turns that the caller gives, so a simulator
    /// decides what happens in which order. Use [`Ledger::submit_with`]; calls that wait would wait for a turn.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn open_in_turns(dir: &Path, options: Options) -> Result<(Self, Turns), Error> {
        let opened = recover::open(dir, &options)?;
        let next_segment = opened.state.sealed.len() as u32 + opened.state.unsealed.len() as u32;
        let inner = Arc::new(Inner {
            dir: dir.into(),
            disk: options.disk.clone(),
            options,
            state: RwLock::new(opened.state),
            recovery: opened.recovery,
            reserve: opened.reserve,
            queue: Mutex::default(),
            queue_has_work: Condvar::new(),
            queue_has_space: Condvar::new(),
            rotated: Condvar::new(),
            durable: Mutex::new(RecordId { segment: next_segment, index: 0 }),
            durable_changed: Condvar::new(),
            closed_segments: AtomicU32::new(next_segment),
            seal: Mutex::default(),
            seal_changed: Condvar::new(),
            log: Mutex::new(opened.log),
            outside: opened.outside,
            readers: Mutex::default(),
            layout: RwLock::default(),
            disposing: Mutex::default(),
            eraser: Mutex::default(),
            _lock: opened.lock,
        });
        let committer = Committer::new(inner.clone(), opened.epoch, next_segment, opened.records_before);
        let sealer = Sealer::new(inner.clone(), opened.last_statement);
        let turns = Turns { committer, sealer, outside: inner.outside.clone() };
        let ledger = Self { inner, threads: Vec::new() };
        ledger.begin_outside()?;
        Ok((ledger, turns))
    }

    /// The witnesses are to see what this log has before anything new is signed.
    fn begin_outside(&self) -> Result<(), Error> {
        let log = self.inner.log.lock();
        let first = match log.checkpoint() {
            Some(last) => last.clone(),
            None => log.empty_checkpoint(self.inner.options.clock.now())?,
        };
        let epoch = log.epochs().current().map(|epoch| epoch.epoch);
        self.inner.outside.begin(first, epoch);
        Ok(())
    }

    /// Lets a log go on after a witness saw more than it has, or its epoch's key was lost: the ceremony of `docs/spec/log.md`. The entry it leaves, whose
    /// [`ForkStatement::leaf_hash`] is to be noted down: without it the log no longer verifies.
    ///
    /// # Errors
    /// [`Error::Fork`] if there is nothing to fork from, or nothing that stands in the way of signing; else as when signing.
    pub fn fork(&self, authority: &ForkAuthority) -> Result<ForkStatement, Error> {
        self.inner.outside.wait_asked(self.inner.options.witness_patience);
        let mut log = self.inner.log.lock();
        if log.may_sign().is_ok() {
            let reason = "nothing keeps it from going on: no witness saw more than it has, and its epoch's key is there";
            return Err(Error::Fork { reason: reason.into() });
        }
        let fork = log.fork(authority, self.inner.options.clock.now())?;
        drop(log);
        self.inner.wake_sealer();
        Ok(fork)
    }

    /// Appends a batch, all or nothing; returns its ids, in order, once it is durable. Many threads may call at once: one sync serves them all.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::DiskFull`]: nothing of the batch was kept. [`Error::ReadOnly`]: the disk failed, and whether the
    /// batch is there shows when the ledger is opened again.
    pub fn append(&self, batch: Vec<NewRecord>) -> Outcome {
        self.submit(batch).wait()
    }

    /// Hands a batch over; the ticket tells when it is durable. Blocks while too much is queued.
    pub fn submit(&self, batch: Vec<NewRecord>) -> Ticket {
        self.inner.submit_ticket(batch)
    }

    /// Hands a batch over; `done` is called once with the outcome, from the committer's thread, so it must be quick.
    pub fn submit_with(&self, batch: Vec<NewRecord>, done: impl FnOnce(Outcome) + Send + 'static) {
        self.inner.submit(batch, Box::new(done));
    }

    /// The durable record `id`; `None` if there is none, it was lost, or its content was taken out ([`Ledger::disposed_by`]).
    ///
    /// # Errors
    /// [`Error::Segment`] if its segment cannot be read.
    pub fn get(&self, id: RecordId) -> Result<Option<StoredRecord>, Error> {
        Ok(self.get_many(&[id])?.pop().flatten())
    }

    /// The durable records `ids`, in the order asked; each segment is read once.
    ///
    /// # Errors
    /// As [`Ledger::get`].
    pub fn get_many(&self, ids: &[RecordId]) -> Result<Vec<Option<StoredRecord>>, Error> {
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|n| ids[*n]);
        let mut found = vec![None; ids.len()];
        for same_segment in order.chunk_by(|a, b| ids[*a].segment == ids[*b].segment) {
            let segment = ids[same_segment[0]].segment;
            // Bounded, so that a request for a whole segment does not hold it twice.
            for part in same_segment.chunks(4096) {
                let mut indexes: Vec<u32> = part.iter().map(|n| ids[*n].index).collect();
                indexes.dedup();
                let records = self.inner.read_indexes(segment, &indexes)?;
                for n in part {
                    let at = indexes.binary_search(&ids[*n].index).ok();
                    found[*n] = at.and_then(|at| records[at].clone());
                }
            }
        }
        Ok(found)
    }

    /// Durable records in order from `next` on, at most `max` and about 16 MiB. Empty at the end. Lost records are left out, so continue
    /// after the last id given; that may lead over into the next segment.
    ///
    /// # Errors
    /// As [`Ledger::get`].
    pub fn read_from(&self, next: RecordId, max: usize) -> Result<Vec<StoredRecord>, Error> {
        let mut next = next;
        loop {
            let Some(records) = self.inner.segment_records(next.segment) else { return Ok(Vec::new()) };
            if next.index < records && max > 0 {
                let (read, taken) = self.inner.read_stretch(next, max.min((records - next.index) as usize))?;
                if !read.is_empty() {
                    return Ok(read);
                }
                next.index += taken;
                continue;
            }
            if max == 0 || next.segment >= self.durable_end().segment {
                return Ok(Vec::new());
            }
            next = RecordId { segment: next.segment + 1, index: 0 };
        }
    }

    /// One past the last durable record.
    pub fn durable_end(&self) -> RecordId {
        *self.inner.durable.lock()
    }

    /// How many places of durable records there are from `next` on, those of lost records included.
    pub fn count_from(&self, next: RecordId) -> u64 {
        let state = self.inner.state.read();
        let counts = state.sealed.iter().map(|sealed| sealed.records).chain(state.unsealed.iter().map(|wal| wal.records()));
        let later = counts.skip(next.segment as usize).map(u64::from).sum::<u64>();
        later.saturating_sub(u64::from(next.index))
    }

    /// How many records a segment has, lost ones included, and whether it is sealed; `None` if there is no such segment.
    pub fn extent(&self, segment: u32) -> Option<(u32, bool)> {
        let records = self.inner.segment_records(segment)?;
        let sealed = (segment as usize) < self.inner.state.read().sealed.len();
        let end = self.durable_end();
        // What is written and not yet durable is nobody's to read.
        Some((if !sealed && segment == end.segment { records.min(end.index) } else { records }, sealed))
    }

    /// Waits until something past `end` is durable, or `timeout`; returns the end then.
    pub fn wait_for(&self, end: RecordId, timeout: Duration) -> RecordId {
        let deadline = Instant::now() + timeout;
        let mut durable = self.inner.durable.lock();
        while *durable <= end && !self.inner.durable_changed.wait_until(&mut durable, deadline).timed_out() {}
        *durable
    }

    /// Seals everything durable so far; when it returns, all of it is under a checkpoint.
    ///
    /// # Errors
    /// What kept the sealer from it. The records stay durable, and sealing is tried again by itself.
    pub fn seal_now(&self) -> Result<(), Error> {
        let inner = &self.inner;
        let mut queue = inner.queue.lock();
        if queue.closed {
            return Err(Error::Closed);
        }
        queue.rotations_wanted += 1;
        let wanted = queue.rotations_wanted;
        inner.queue_has_work.notify_one();
        while queue.rotations_done < wanted && !queue.closed {
            inner.rotated.wait(&mut queue);
        }
        drop(queue);
        inner.wait_sealed(inner.closed_segments.load(Ordering::Acquire))
    }

    /// The latest checkpoint as signed note text; signs a first one if there is none yet.
    ///
    /// # Errors
    /// If that one cannot be written.
    pub fn checkpoint(&self) -> Result<String, Error> {
        self.inner.outside.wait_asked(self.inner.options.witness_patience);
        let mut log = self.inner.log.lock();
        if log.checkpoint().is_none() {
            log.heartbeat(self.inner.options.clock.now())?;
        }
        Ok(log.checkpoint().map(|(_, note)| note.clone()).unwrap_or_default())
    }

    /// The latest checkpoint, read.
    pub fn last_checkpoint(&self) -> Option<Checkpoint> {
        self.inner.log.lock().checkpoint().map(|(checkpoint, _)| checkpoint.clone())
    }

    /// Whether the record is in a sealed segment, and so under the latest checkpoint.
    pub fn is_sealed(&self, id: RecordId) -> bool {
        self.inner.state.read().sealed.get(id.segment as usize).is_some_and(|sealed| id.index < sealed.records)
    }

    /// Whether the record is under a checkpoint that reached the quorum of witnesses. Never without a policy.
    pub fn is_cosigned(&self, id: RecordId) -> bool {
        let size = self.inner.outside.cosigned().map_or(0, |checkpoint| checkpoint.size);
        let state = self.inner.state.read();
        state.sealed.get(id.segment as usize).is_some_and(|sealed| id.index < sealed.records && sealed.entry < size)
    }

    /// Signs a receipt or a statement with the keys that sign checkpoints now.
    ///
    /// # Errors
    /// What keeps it from signing, as [`Error::RolledBack`] or the lost key of an epoch.
    pub fn attest(&self, kind: Attested, lines: &str) -> Result<String, Error> {
        self.inner.log.lock().attest(kind, lines, self.inner.options.clock.now())
    }

    /// The sealed segments as their statements say, from the first on.
    pub fn sealed_segments(&self) -> Vec<SealedSegment> {
        let line = |sealed: &Sealed| SealedSegment { records: sealed.records, lost: sealed.lost, received: sealed.received };
        self.inner.state.read().sealed.iter().map(line).collect()
    }

    /// The time of day by the ledger's clock.
    pub fn now(&self) -> Timestamp {
        self.inner.options.clock.now()
    }

    /// The key that verifies this ledger's checkpoints.
    pub fn verifier_key(&self) -> VerifierKey {
        self.inner.log.lock().verifier().clone()
    }

    /// Where its bytes go.
    pub fn disk(&self) -> Arc<dyn Disk> {
        self.inner.disk.clone()
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// How it is doing.
    pub fn status(&self) -> Status {
        let (last_checkpoint, epoch) = {
            let log = self.inner.log.lock();
            (log.checkpoint().map(|(checkpoint, _)| checkpoint.into()), epoch_status(&log))
        };
        let cosigned = self.inner.outside.cosigned();
        let cosigned_size = cosigned.as_ref().map_or(0, |checkpoint| checkpoint.size);
        let (witnesses, witness_problem) = self.inner.outside.witness_status();
        let seal_problem = self.inner.seal.lock().problem.as_ref().map(Error::to_string);
        let state = self.inner.state.read();
        let kept = || state.disposals.each().filter(|(_, disposed)| !disposed.destroyed);
        let destroyed = state.disposals.each().filter(|(_, disposed)| disposed.destroyed);
        let destroyed = destroyed.filter_map(|(segment, _)| state.sealed.get(segment as usize));
        Status {
            origin: self.inner.options.origin.clone(),
            segments: state.sealed.len() as u32,
            sealed_records: state.sealed.iter().map(|sealed| u64::from(sealed.records)).sum(),
            sealed_raw_bytes: state.sealed.iter().map(|sealed| sealed.raw_bytes).sum(),
            sealed_file_bytes: state.sealed.iter().map(|sealed| sealed.file_bytes).sum(),
            open_records: state.unsealed.iter().map(|wal| u64::from(wal.records())).sum(),
            lost_records: state.sealed.iter().map(|sealed| u64::from(sealed.lost)).sum(),
            redacted_records: kept().map(|(_, disposed)| disposed.redacted_records()).sum(),
            destroyed_records: destroyed.map(|sealed| u64::from(sealed.records)).sum(),
            holds: state.holds.all().filter(|hold| Hold::is_active(hold)).count() as u32,
            durable_end: self.durable_end(),
            read_only: state.failed.as_ref().map(Error::to_string),
            pressure: self.inner.reserve.pressure(),
            seal_problem,
            last_checkpoint,
            cosigned: cosigned.as_ref().map(CheckpointStatus::from),
            cosigned_segments: state.sealed.partition_point(|sealed| sealed.entry < cosigned_size) as u32,
            witnesses,
            witness_problem,
            time_stamps: self.inner.outside.stamp_status(),
            epoch,
            recovery: self.inner.recovery.clone(),
        }
    }
}

/// The workers of a ledger that was opened without threads.
pub struct Turns {
    committer: Committer,
    sealer: Sealer,
    outside: Arc<Outside>,
}

impl Turns {
    /// Makes one group of what is queued durable; with nothing queued, notes that the ledger is idle. False if there was nothing to commit, or
    /// too much waits to be sealed first.
    pub fn commit(&mut self) -> bool {
        self.committer.turn() == Turn::Done
    }

    /// Ends the open segment, so that it can be sealed.
    pub fn end_segment(&mut self) {
        self.committer.rotate();
    }

    /// Seals the oldest ended segment; without one, signs the heartbeat checkpoint if that is due. False if nothing was sealed.
    pub fn seal(&mut self) -> bool {
        self.sealer.turn()
    }

    /// Asks the witness at this place of the policy, from 0, if there is something to ask it and it is due. Its answer counts when it is taken in, so
    /// whatever may happen meanwhile can.
    pub fn ask(&mut self, witness: usize) -> Option<Asked> {
        self.outside.ask_in_turn(witness)
    }

    /// Asks the time-stamping authorities, if there is something to stamp and it is due; whether there was.
    pub fn stamp(&mut self) -> bool {
        self.outside.stamp_in_turn()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.inner.queue.lock().closed = true;
        self.inner.queue_has_work.notify_all();
        self.inner.queue_has_space.notify_all();
        self.inner.rotated.notify_all();
        self.inner.seal.lock().closed = true;
        self.inner.seal_changed.notify_all();
        self.inner.outside.close();
        *self.inner.eraser.lock() = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the ledger panicked");
            }
        }
    }
}

fn epoch_status(log: &MainLog) -> Option<EpochStatus> {
    let epochs = log.epochs();
    let undestroyed = epochs.undestroyed().to_vec();
    epochs.current().map(|epoch| EpochStatus { number: epoch.epoch, begins: epoch.begins, ends: epoch.ends, undestroyed })
}

impl Inner {
    pub(crate) fn wal_path(&self, segment: u32) -> PathBuf {
        self.dir.join("wal").join(format!("{segment:08}.wal"))
    }

    /// Has the write-ahead file of a sealed segment erased, off the path of those who append.
    pub(crate) fn discard(&self, wal: &Arc<WalSegment>) {
        let sender = self.eraser.lock().clone();
        match sender {
            Some(sender) => _ = sender.send(wal.clone()),
            None => self.erase_wal(wal),
        }
    }

    /// What fails is done at the next opening.
    fn erase_wal(&self, wal: &Arc<WalSegment>) {
        // Somebody may still read from it, who found it before it was sealed.
        while Arc::strong_count(wal) > 1 && self.eraser.lock().is_some() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = erase(&*self.disk, &wal.path);
    }

    pub(crate) fn segments_dir(&self) -> PathBuf {
        self.dir.join("segments")
    }

    pub(crate) fn new_secret(&self) -> Result<SaltSecret, Error> {
        let mut secret = [0; 32];
        random(&*self.options.rng, &mut secret)?;
        Ok(SaltSecret::new(secret))
    }

    /// Makes the ledger read-only after a write whose fate is unknown.
    pub(crate) fn fail(&self, path: &Path, error: &std::io::Error) -> Error {
        let error = Error::ReadOnly { path: path.into(), reason: error.to_string() };
        tracing::error!(code = error.code(), %error, "the ledger takes no more records");
        self.state.write().failed.get_or_insert(error).clone()
    }

    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        self.state.read().failed.clone().map_or(Ok(()), Err)
    }

    pub(crate) fn advance(&self, end: RecordId) {
        let mut durable = self.durable.lock();
        *durable = end.max(*durable);
        self.durable_changed.notify_all();
    }

    fn segment_records(&self, segment: u32) -> Option<u32> {
        let state = self.state.read();
        let sealed = state.sealed.len();
        match state.sealed.get(segment as usize) {
            Some(sealed) => Some(sealed.records),
            None => Some(state.unsealed.get(segment as usize - sealed)?.records()),
        }
    }

    fn unsealed(&self, segment: u32) -> Option<Arc<WalSegment>> {
        let state = self.state.read();
        let place = (segment as usize).checked_sub(state.sealed.len())?;
        state.unsealed.get(place).cloned()
    }

    /// Records at ascending `indexes` of one segment.
    fn read_indexes(&self, segment: u32, indexes: &[u32]) -> Result<Vec<Option<StoredRecord>>, Error> {
        if let Some(wal) = self.unsealed(segment) {
            let read_one = |index: &u32| {
                let entry = wal.read(*index, 1, 0)?.pop().flatten();
                let id = RecordId { segment, index: *index };
                Ok(entry.map(|entry| StoredRecord { id, raw: entry.raw, receipt: entry.receipt }))
            };
            return indexes.iter().map(read_one).collect();
        }
        let records = self.segment_records(segment).unwrap_or(0);
        let known = indexes.partition_point(|index| *index < records);
        let ranges: Vec<_> = indexes[..known].iter().map(|index| *index..index + 1).collect();
        let _reading = self.layout.read();
        if ranges.is_empty() || self.is_destroyed(segment) {
            return Ok(vec![None; indexes.len()]);
        }
        let rows = self.reader(segment)?.read(&ranges)?;
        let mut records: Vec<_> = rows
            .into_iter()
            .zip(indexes)
            .map(|(row, index)| {
                Some(StoredRecord { id: RecordId { segment, index: *index }, raw: row.raw?, receipt: row.receipt })
            })
            .collect();
        records.resize(indexes.len(), None);
        Ok(records)
    }

    /// Records from `first` on in its segment, and how many indexes that covers.
    fn read_stretch(&self, first: RecordId, max: usize) -> Result<(Vec<StoredRecord>, u32), Error> {
        let id = |n: usize| RecordId { index: first.index + n as u32, ..first };
        if let Some(wal) = self.unsealed(first.segment) {
            let entries = wal.read(first.index, max, READ_BYTES)?;
            let taken = entries.len() as u32;
            let present = entries.into_iter().enumerate();
            let records =
                present.filter_map(|(n, entry)| entry.map(|e| StoredRecord { id: id(n), raw: e.raw, receipt: e.receipt }));
            return Ok((records.collect(), taken));
        }
        let _reading = self.layout.read();
        if self.is_destroyed(first.segment) {
            return Ok((Vec::new(), max as u32));
        }
        let reader = self.reader(first.segment)?;
        let (mut records, mut bytes, mut taken) = (Vec::new(), 0, 0);
        while taken < max && bytes < READ_BYTES {
            let count = (max - taken).min(READ_ROWS);
            let from = first.index + taken as u32;
            for (n, row) in reader.read(&[from..from + count as u32])?.into_iter().enumerate() {
                if let Some(raw) = row.raw {
                    bytes += raw.len();
                    records.push(StoredRecord { id: id(taken + n), raw, receipt: row.receipt });
                }
            }
            taken += count;
        }
        Ok((records, taken as u32))
    }

    fn is_destroyed(&self, segment: u32) -> bool {
        self.state.read().disposals.of(segment).is_some_and(|disposed| disposed.destroyed)
    }

    /// The next reader of the segment opens its files anew.
    pub(crate) fn forget_reader(&self, segment: u32) {
        self.readers.lock().retain(|(have, _)| *have != segment);
    }

    /// A reader of a sealed segment; the last few stay open.
    fn reader(&self, segment: u32) -> Result<Arc<SegmentReader>, Error> {
        let mut readers = self.readers.lock();
        if let Some(at) = readers.iter().position(|(have, _)| *have == segment) {
            if let Some(found) = readers.remove(at) {
                readers.push_front(found);
            }
        } else {
            drop(readers);
            let redactions = self.state.read().disposals.of(segment).map_or(0, |disposed| disposed.redactions);
            let reader = Arc::new(SegmentReader::open(&*self.disk, &self.segments_dir(), segment, redactions)?);
            readers = self.readers.lock();
            readers.push_front((segment, reader));
            readers.truncate(OPEN_READERS);
        }
        let front = readers.front().map(|(_, reader)| reader.clone());
        front.ok_or_else(|| Error::Segment { segment, reason: "its reader is gone".into() })
    }
}

/// Bytes of raw records that one read returns, about.
const READ_BYTES: usize = 16 << 20;
/// Rows read from a sealed segment at once.
const READ_ROWS: usize = 2048;
/// Segment files kept open with their metadata.
const OPEN_READERS: usize = 16;
