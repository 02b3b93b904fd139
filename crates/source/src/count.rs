use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use serde::Serialize;

/// Counts by source and by listener since the server started. At most 10,000 sources have a line of their own; the rest are counted together.
#[derive(Debug, Default)]
pub struct Counters {
    sources: RwLock<BTreeMap<Arc<str>, Arc<SourceCount>>>,
    listeners: RwLock<BTreeMap<String, Arc<ListenerCount>>>,
}

impl Counters {
    /// The counter of a source.
    pub fn source(&self, name: &str) -> Arc<SourceCount> {
        if let Some(found) = self.sources.read().get(name) {
            return found.clone();
        }
        let mut sources = self.sources.write();
        let name = if sources.len() < MAX_SOURCES || sources.contains_key(name) { name } else { OTHERS };
        sources.entry(name.into()).or_default().clone()
    }

    /// The counter of a listener, by its name in the configuration.
    pub fn listener(&self, name: &str) -> Arc<ListenerCount> {
        if let Some(found) = self.listeners.read().get(name) {
            return found.clone();
        }
        self.listeners.write().entry(name.to_owned()).or_default().clone()
    }

    /// Everything as it stands now.
    pub fn snapshot(&self) -> Snapshot {
        let sources = self.sources.read().iter().map(|(name, count)| count.line(name)).collect();
        let listeners = self.listeners.read().iter().map(|(name, count)| count.line(name)).collect();
        Snapshot { sources, listeners }
    }
}

/// What one source has sent.
#[derive(Debug, Default)]
pub struct SourceCount {
    records: AtomicU64,
    bytes: AtomicU64,
    last_seen_ms: AtomicI64,
    recent: Mutex<Recent>,
    problems: Mutex<BTreeMap<&'static str, u64>>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    dropped: Mutex<BTreeMap<&'static str, u64>>,
    misread: Mutex<BTreeMap<&'static str, u64>>,
}

impl SourceCount {
    /// Counts records that are durable now.
    pub fn received(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        let now_ms = Timestamp::now().as_millisecond();
        self.last_seen_ms.store(now_ms, Relaxed);
        self.recent.lock().add(now_ms, records);
    }

    /// Counts problems that a decoder named in what was kept.
    pub fn misread(&self, reason: &'static str, times: u64) {
        *self.misread.lock().entry(reason).or_default() += times;
    }

    /// Counts something wrong with what was received and kept.
    pub fn problem(&self, reason: &'static str, times: u64) {
        *self.problems.lock().entry(reason).or_default() += times;
    }

    /// Counts records that were not taken and whose sender was told so.
    pub fn refused(&self, reason: &'static str, times: u64) {
        *self.refused.lock().entry(reason).or_default() += times;
    }

    /// Counts what was lost.
    pub fn dropped(&self, reason: &'static str, times: u64) {
        *self.dropped.lock().entry(reason).or_default() += times;
    }

    fn line(&self, name: &str) -> SourceLine {
        let last = self.last_seen_ms.load(Relaxed);
        SourceLine {
            source: name.to_owned(),
            records: self.records.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            rate_per_second: self.recent.lock().rate(Timestamp::now().as_millisecond()),
            last_seen_at: (last != 0).then(|| Timestamp::from_millisecond(last).ok()).flatten(),
            problems: named(&self.problems),
            refused: named(&self.refused),
            dropped: named(&self.dropped),
            misread: named(&self.misread),
        }
    }
}

/// Records of this minute and the one before.
#[derive(Debug, Default)]
struct Recent {
    minute: i64,
    now: u64,
    before: u64,
}

impl Recent {
    fn add(&mut self, now_ms: i64, records: u64) {
        self.go_on(now_ms);
        self.now += records;
    }

    /// Records a second over the last minute; what of the minute before still counts is taken as spread evenly.
    fn rate(&mut self, now_ms: i64) -> f64 {
        self.go_on(now_ms);
        let into = now_ms.rem_euclid(MINUTE_MS) as f64 / MINUTE_MS as f64;
        (self.now as f64 + self.before as f64 * (1.0 - into)) / 60.0
    }

    fn go_on(&mut self, now_ms: i64) {
        let minute = now_ms.div_euclid(MINUTE_MS);
        if minute == self.minute {
            return;
        }
        // A clock that went back begins anew.
        self.before = if minute == self.minute + 1 { self.now } else { 0 };
        (self.minute, self.now) = (minute, 0);
    }
}

const MINUTE_MS: i64 = 60_000;

/// What one listener has seen, whoever sent it.
#[derive(Debug, Default)]
pub struct ListenerCount {
    connections: AtomicU64,
    connections_open: AtomicU64,
    requests: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    dropped: Mutex<BTreeMap<&'static str, u64>>,
}

impl ListenerCount {
    /// Counts a connection for as long as the guard lives.
    pub fn connection(self: &Arc<Self>) -> OpenConnection {
        self.connections.fetch_add(1, Relaxed);
        self.connections_open.fetch_add(1, Relaxed);
        OpenConnection(self.clone())
    }

    /// Counts a request.
    pub fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// Counts a connection or request turned away.
    pub fn refused(&self, reason: &'static str) {
        *self.refused.lock().entry(reason).or_default() += 1;
    }

    /// Counts messages lost before they could be read.
    pub fn dropped(&self, reason: &'static str, times: u64) {
        *self.dropped.lock().entry(reason).or_default() += times;
    }

    fn line(&self, name: &str) -> ListenerLine {
        ListenerLine {
            listener: name.to_owned(),
            connections: self.connections.load(Relaxed),
            connections_open: self.connections_open.load(Relaxed),
            requests: self.requests.load(Relaxed),
            refused: named(&self.refused),
            dropped: named(&self.dropped),
        }
    }
}

/// A connection counted as open.
#[derive(Debug)]
pub struct OpenConnection(Arc<ListenerCount>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Relaxed);
    }
}

/// The counters at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// By source name.
    pub sources: Vec<SourceLine>,
    /// By listener name.
    pub listeners: Vec<ListenerLine>,
}

/// One source's counts since start.
#[derive(Clone, Debug, Serialize)]
pub struct SourceLine {
    /// As in `syslog/192.0.2.7`.
    pub source: String,
    /// Records made durable.
    pub records: u64,
    /// Their raw bytes.
    pub bytes: u64,
    /// Records a second over the last minute.
    pub rate_per_second: f64,
    /// When the last became durable.
    pub last_seen_at: Option<Timestamp>,
    /// Wrong but kept, by reason.
    pub problems: BTreeMap<String, u64>,
    /// Not taken, sender told, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Lost, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Kept and named by a decoder, by problem.
    pub misread: BTreeMap<String, u64>,
}

/// One listener's counts since start.
#[derive(Clone, Debug, Serialize)]
pub struct ListenerLine {
    /// The listener's name.
    pub listener: String,
    /// Connections accepted.
    pub connections: u64,
    /// Of those, open now.
    pub connections_open: u64,
    /// HTTP requests.
    pub requests: u64,
    /// Connections and requests turned away, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Messages lost before they could be read, by reason.
    pub dropped: BTreeMap<String, u64>,
}

fn named(counts: &Mutex<BTreeMap<&'static str, u64>>) -> BTreeMap<String, u64> {
    counts.lock().iter().map(|(reason, times)| ((*reason).to_owned(), *times)).collect()
}

/// How many sources are told apart; further ones are counted together as [`OTHERS`].
pub(crate) const MAX_SOURCES: usize = 10_000;

/// The line under which sources past [`MAX_SOURCES`] are counted.
pub(crate) const OTHERS: &str = "(others)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_minute() {
        let mut recent = Recent::default();
        recent.add(10 * MINUTE_MS, 600);
        assert_eq!(recent.rate(10 * MINUTE_MS + 1), 10.0);
        // Half of them lie more than a minute back.
        assert_eq!(recent.rate(11 * MINUTE_MS + MINUTE_MS / 2), 5.0);
        recent.add(11 * MINUTE_MS + MINUTE_MS / 2, 60);
        assert_eq!(recent.rate(11 * MINUTE_MS + MINUTE_MS / 2), 6.0);
        assert_eq!(recent.rate(20 * MINUTE_MS), 0.0);
        assert_eq!(recent.rate(0), 0.0, "a clock set back");
    }
}
