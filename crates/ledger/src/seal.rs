//! Full segments become Parquet files, and their batch statements entries of the main log. One thread, one segment after the other.
//!
//! Order, and what a crash after each step leaves: (1) segment and map file under their final names: nobody refers to them, they are made
//! again; (2) tiles of the main log: the same; (3) the checkpoint: the segment is sealed, its WAL file is left over and removed at open;
//! (4) the WAL file is erased: it held the content, which may have to be destroyed one day.
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use reeve_record::Hash;

use crate::{
    Error,
    ledger::{Inner, Sealed},
    segment::{self, Identity},
    statement::Statement,
    text,
    wal::WalSegment,
};

/// What the sealer and those who wait for it share.
#[derive(Default)]
pub(crate) struct SealState {
    pub(crate) closed: bool,
    /// Wakes the sealer though its pause after a failure is not over.
    hurry: bool,
    /// Attempts that have ended, well or not.
    attempts: u64,
    pub(crate) problem: Option<Error>,
}

impl Inner {
    pub(crate) fn wake_sealer(&self) {
        self.seal.lock().hurry = true;
        self.seal_changed.notify_all();
    }

    /// Waits until all segments below `segment` are sealed; gives up with the sealer's error if an attempt made meanwhile fails.
    pub(crate) fn wait_sealed(&self, segment: u32) -> Result<(), Error> {
        let mut seal = self.seal.lock();
        // An attempt that is already under way may have begun before the cause of its failure was removed.
        let patience = seal.attempts + 2;
        loop {
            if self.state.read().sealed.len() >= segment as usize {
                return Ok(());
            }
            if seal.closed {
                return Err(Error::Closed);
            }
            if seal.attempts >= patience
                && let Some(problem) = &seal.problem
            {
                return Err(problem.clone());
            }
            seal.hurry = true;
            self.seal_changed.notify_all();
            self.seal_changed.wait_for(&mut seal, Duration::from_secs(1));
        }
    }

    /// Keeps segments from piling up when they are written faster than sealed; returns at once where sealing fails.
    pub(crate) fn wait_for_sealer(&self) {
        if self.sealer_is_behind() {
            let mut seal = self.seal.lock();
            while self.sealer_is_behind() && seal.problem.is_none() && !seal.closed {
                self.seal_changed.wait_for(&mut seal, Duration::from_secs(1));
            }
        }
    }

    /// Whether too much waits to be sealed, and it is worth waiting.
    pub(crate) fn must_wait_for_sealer(&self) -> bool {
        self.sealer_is_behind() && {
            let seal = self.seal.lock();
            seal.problem.is_none() && !seal.closed
        }
    }

    /// Fails if too much waits to be sealed and sealing fails.
    pub(crate) fn check_sealer(&self) -> Result<(), Error> {
        if self.sealer_is_behind() { Err(self.seal.lock().problem.clone().unwrap_or(Error::Closed)) } else { Ok(()) }
    }

    fn sealer_is_behind(&self) -> bool {
        self.closed_segments.load(Ordering::Acquire) as usize >= self.state.read().sealed.len() + UNSEALED_MAX
    }
}

/// The one who seals and signs.
pub(crate) struct Sealer {
    inner: Arc<Inner>,
    /// Leaf hash of the last statement in the main log.
    previous: Hash,
    /// A statement that may already be published although the disk reported a failure. It is tried again with the same bytes, never others.
    staged: Option<Statement>,
    /// When it was signed, by [`Clock::elapsed`](crate::Clock::elapsed).
    last_checkpoint: Option<Duration>,
    pause: Duration,
}

impl Sealer {
    pub(crate) fn new(inner: Arc<Inner>, previous: Hash) -> Self {
        Self { inner, previous, staged: None, last_checkpoint: None, pause: Duration::ZERO }
    }

    pub(crate) fn run(mut self) {
        // An old copy that was restored must not sign before the witnesses had a chance to say so.
        self.inner.outside.wait_asked(self.inner.options.witness_patience);
        while !self.inner.seal.lock().closed {
            if !self.turn() {
                self.rest();
            }
        }
    }

    /// One turn, without waiting: seals the oldest segment that has ended, or signs a heartbeat if that is due. Whether it sealed one.
    pub(crate) fn turn(&mut self) -> bool {
        self.inner.reserve.refill();
        if let Some(mut unfinished) = self.inner.disposing.try_lock() {
            // What fails again is told by the sealing that follows, which meets the same log.
            let _ = self.inner.finish(&mut unfinished);
        }
        let outcome = match self.work() {
            // What was taken is sealed with the room that was set aside.
            Err(Error::DiskFull { .. }) if self.inner.reserve.give_back() => self.work(),
            outcome => outcome,
        };
        let sealed = matches!(outcome, Ok(true));
        self.pause = if outcome.is_err() { (self.pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE) } else { Duration::ZERO };
        if let Err(error) = &outcome {
            tracing::error!(code = error.code(), %error, "sealing failed and will be tried again");
        }
        let mut seal = self.inner.seal.lock();
        seal.attempts += 1;
        seal.problem = outcome.err();
        self.inner.seal_changed.notify_all();
        sealed
    }

    /// Seals the oldest segment that has ended, or signs a heartbeat if that is due. Whether it sealed one.
    fn work(&mut self) -> Result<bool, Error> {
        match self.next_segment() {
            Some(wal) => self.seal(&wal).map(|()| true),
            None => self.heartbeat().map(|()| false),
        }
    }

    /// Waits for the next heartbeat, or out the pause after a failure, unless there is a hurry.
    fn rest(&self) {
        let wait = if self.pause > Duration::ZERO { self.pause } else { self.until_heartbeat() };
        let deadline = Instant::now() + wait;
        let mut seal = self.inner.seal.lock();
        while !seal.closed && !seal.hurry && !self.inner.seal_changed.wait_until(&mut seal, deadline).timed_out() {}
        seal.hurry = false;
    }

    /// The oldest segment that takes no more records.
    fn next_segment(&self) -> Option<Arc<WalSegment>> {
        let closed = self.inner.closed_segments.load(Ordering::Acquire);
        let state = self.inner.state.read();
        state.unsealed.front().filter(|wal| wal.header.segment < closed).cloned()
    }

    fn seal(&mut self, wal: &Arc<WalSegment>) -> Result<(), Error> {
        let statement = match &self.staged {
            Some(statement) => statement.clone(),
            None => self.write(wal)?,
        };
        self.staged = Some(statement.clone());
        let entry = statement.to_text();
        let entry = self.inner.log.lock().append(entry.as_bytes(), self.inner.options.clock.now())?;
        self.last_checkpoint = Some(self.inner.options.clock.elapsed());
        self.staged = None;
        self.previous = statement.leaf_hash();
        {
            // Both at once, so that a reader finds the segment in one place or the other.
            let mut state = self.inner.state.write();
            state.sealed.push(Sealed::new(entry, &statement));
            state.unsealed.pop_front();
        }
        self.inner.discard(wal);
        tracing::debug!(segment = statement.segment, records = statement.records, "sealed");
        Ok(())
    }

    fn write(&self, wal: &WalSegment) -> Result<Statement, Error> {
        let header = &wal.header;
        let identity = Identity { segment: header.segment, epoch: header.epoch, secret: Some(header.secret.clone()) };
        let dir = self.inner.segments_dir();
        let written = segment::write(&*self.inner.disk, &dir, &identity, |first| wal.read(first, CHUNK_ROWS, CHUNK_BYTES))?;
        Ok(Statement {
            origin: self.inner.options.origin.clone(),
            segment: header.segment,
            epoch: header.epoch,
            records: written.records,
            raw_bytes: written.raw_bytes,
            received: written.received,
            sealed_at: text::floor(self.inner.options.clock.now()),
            root: written.root,
            previous: self.previous,
            salts: header.secret.commitment(),
            file: written.file,
            map: written.map,
            lost: written.lost,
        })
    }

    fn heartbeat(&mut self) -> Result<(), Error> {
        if !self.until_heartbeat().is_zero() {
            return Ok(());
        }
        self.inner.log.lock().heartbeat(self.inner.options.clock.now())?;
        self.last_checkpoint = Some(self.inner.options.clock.elapsed());
        Ok(())
    }

    fn until_heartbeat(&self) -> Duration {
        let age = |last| self.inner.options.clock.elapsed().saturating_sub(last);
        self.last_checkpoint.map_or(Duration::ZERO, |last| self.inner.options.heartbeat.saturating_sub(age(last)))
    }
}

/// Segments that may wait to be sealed before appends wait too.
const UNSEALED_MAX: usize = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(30);
const CHUNK_ROWS: usize = 2048;
const CHUNK_BYTES: usize = 8 << 20;
