//! What the lake needs in the background: files merged, and what is derived from them made. It gives way to the reading.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use reeve_lake::Lake;

use super::{keep::Space, reading::Progress};

/// Works on the lake until `stop` turns true.
pub(crate) struct Upkeep {
    lake: Arc<Lake>,
    progress: Arc<Progress>,
    space: Arc<Space>,
    stop: Arc<AtomicBool>,
}

impl Upkeep {
    /// Upkeep of `lake`, which yields to the reading that `progress` tells of.
    pub(crate) fn new(lake: Arc<Lake>, progress: Arc<Progress>, space: Arc<Space>) -> Self {
        Self { lake, progress, space, stop: Arc::new(AtomicBool::new(false)) }
    }

    /// Starts the work on a thread of its own; the flag ends it.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(self) -> std::io::Result<(std::thread::JoinHandle<()>, Arc<AtomicBool>)> {
        let stop = self.stop.clone();
        Ok((std::thread::Builder::new().name("lake-upkeep".to_owned()).spawn(move || self.run())?, stop))
    }

    fn run(self) {
        let mut published: Option<Instant> = None;
        while !self.stop.load(Relaxed) {
            if !self.space.is_tight() && published.is_none_or(|at| at.elapsed() >= PUBLISH_EVERY) {
                self.publish();
                published = Some(Instant::now());
            }
            // A merge needs as much room as its inputs take: while the disk fills, that is the record's.
            let worked = !self.space.is_tight() && self.work();
            for _ in 0..if worked { 0 } else { RESTS } {
                if self.stop.load(Relaxed) {
                    break;
                }
                std::thread::sleep(REST);
            }
        }
    }

    /// Shows other engines what is live.
    fn publish(&self) {
        match self.lake.publish() {
            Ok(Some(done)) => {
                tracing::debug!(version = done.version, added = done.added, removed = done.removed, "Delta table published")
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the Delta table could not be published; other engines see what it was"),
        }
    }

    /// True if there was something to do and it is done.
    fn work(&self) -> bool {
        // Both get their turn.
        let filtered = self.filter();
        self.merge() || filtered
    }

    fn filter(&self) -> bool {
        match self.lake.index_raw(&|| self.go_on()) {
            Ok(Some(done)) => {
                tracing::debug!(segment = done.segment, records = done.records, bytes = done.bytes, "needle filters made");
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(%error, "needle filters could not be made; searches read what they would rule out, trying again later");
                false
            }
        }
    }

    fn merge(&self) -> bool {
        match self.lake.compact(&|| self.go_on()) {
            Ok(Some(done)) => {
                tracing::debug!(files = done.files, rows = done.rows, bytes = done.bytes_after, "event files merged");
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(%error, "event files could not be merged; they stay as they are, trying again later");
                false
            }
        }
    }

    /// Sleeps while the reading is busy, for a bounded time: merging only waits, it does not starve.
    fn go_on(&self) -> bool {
        let mut before = self.progress.line().records;
        for _ in 0..YIELDS_MAX {
            if self.stop.load(Relaxed) {
                return false;
            }
            std::thread::sleep(YIELD);
            let now = self.progress.line().records;
            if now.saturating_sub(before) < BUSY_RECORDS {
                break;
            }
            before = now;
        }
        !self.stop.load(Relaxed) && !self.space.is_tight()
    }
}

const PUBLISH_EVERY: Duration = Duration::from_secs(60);
/// Between two looks for work: `RESTS` times `REST`.
const RESTS: u32 = 25;
const REST: Duration = Duration::from_millis(200);
const YIELD: Duration = Duration::from_millis(2);
/// Records read within a yield that mean the reading is busy: ten thousand a second.
const BUSY_RECORDS: u64 = 20;
const YIELDS_MAX: u32 = 20;
