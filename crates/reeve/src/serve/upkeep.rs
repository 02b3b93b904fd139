//! What the lake needs in the background: files merged, and what is derived from them made, when the reading has nothing better to do with the machine.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use reeve_lake::Lake;
use reeve_ledger::Ledger;

use super::{keep::Space, reading::Progress};

/// Works on the lake until `stop` turns true.
pub(crate) struct Upkeep {
    ledger: Arc<Ledger>,
    lake: Arc<Lake>,
    progress: Arc<Progress>,
    space: Arc<Space>,
    stop: Arc<AtomicBool>,
}

impl Upkeep {
    /// Upkeep of `lake`, which rests while `space` is tight and waits while the reading, which `progress` tells of, lags behind `ledger`.
    pub(crate) fn new(ledger: Arc<Ledger>, lake: Arc<Lake>, progress: Arc<Progress>, space: Arc<Space>) -> Self {
        Self { ledger, lake, progress, space, stop: Arc::new(AtomicBool::new(false)) }
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
        give_way();
        let mut published: Option<Instant> = None;
        while !self.stop.load(Relaxed) {
            if !self.space.is_tight() && published.is_none_or(|at| at.elapsed() >= PUBLISH_EVERY) {
                self.publish();
                self.sweep();
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

    /// Removes files that are no longer live, and takes over what others did.
    fn sweep(&self) {
        match self.lake.sweep() {
            Ok(0) => {}
            Ok(files) => tracing::debug!(files, "event files that are no longer live removed"),
            Err(error) => tracing::warn!(%error, "event files that are no longer live could not be removed, trying again later"),
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

    /// Waits while the reading lags behind, for a bounded time: a merge under way keeps its lease and comes to its end all the same.
    fn go_on(&self) -> bool {
        let until = Instant::now() + WAIT_MAX;
        while self.ledger.count_from(self.progress.next()) > LAG_MAX && Instant::now() < until && !self.stop.load(Relaxed) {
            std::thread::sleep(WAIT);
        }
        !self.stop.load(Relaxed) && !self.space.is_tight()
    }
}

/// Gives this thread the processor time others leave, so that searches and listeners do not wait for it either.
fn give_way() {
    if let Err(error) = rustix::process::nice(LOWEST) {
        tracing::warn!(%error, "the upkeep of the lake cannot be made to give way; it may slow the reading down");
    }
}

const PUBLISH_EVERY: Duration = Duration::from_secs(60);
/// Between two looks for work: `RESTS` times `REST`.
const RESTS: u32 = 25;
const REST: Duration = Duration::from_millis(200);
const WAIT: Duration = Duration::from_millis(50);
/// A sixth of a merge's lease, so that the lease is renewed in time.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Records; a few tenths of a second of a busy server.
const LAG_MAX: u64 = 10_000;
const LOWEST: i32 = 19;
