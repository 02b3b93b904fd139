//! From listeners to the ledger, with back-pressure and an eye on the disk.
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use reeve_ledger::{Ledger, NewRecord};
use reeve_record::{RecordId, Transport};
use reeve_source::{Arrival, KeepError, Keeper, Kept, Senders};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Keeps arrivals in the ledger. What is handed over and not yet durable is bounded; past the bound senders wait, then are told.
pub(crate) struct LedgerKeeper {
    ledger: Arc<Ledger>,
    senders: Arc<Senders>,
    room: Arc<Semaphore>,
    space: Arc<Space>,
}

impl LedgerKeeper {
    pub(crate) fn new(ledger: Arc<Ledger>, space: Arc<Space>, senders: Arc<Senders>) -> Self {
        Self { ledger, senders, room: Arc::new(Semaphore::new(ROOM_PERMITS)), space }
    }

    fn records(&self, batch: Vec<Arrival>) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut part = Part::default();
        let mut labels = Labels::new(&self.senders);
        for arrival in batch {
            if part.is_full(&arrival) {
                parts.push(std::mem::take(&mut part));
            }
            let label = labels.of(&arrival.source);
            part.add(arrival, label);
        }
        parts.push(part);
        parts.iter_mut().for_each(Part::close_envelope);
        parts
    }

    /// Hands the batch to the ledger; the receivers tell when each part is durable.
    fn submit(&self, batch: Vec<Arrival>, room: OwnedSemaphorePermit) -> Vec<Outcome> {
        let room = Arc::new(room);
        let submit = |part: Part| {
            let (sender, receiver) = oneshot::channel();
            let room = room.clone();
            let envelopes = part.envelopes.into_iter().map(|(at, _)| at).collect::<Vec<_>>();
            self.ledger.submit_with(part.records, move |outcome: Result<Vec<RecordId>, _>| {
                drop(room);
                // Nobody waits for the ids of envelopes. Whoever asked may be gone; the records are stored all the same.
                let _ = sender.send(outcome.map(|ids| without(ids, &envelopes)));
            });
            receiver
        };
        self.records(batch).into_iter().map(submit).collect()
    }
}

/// Policy labels by source name; batches are nearly always of one source.
struct Labels<'s> {
    senders: &'s Senders,
    default: Arc<str>,
    last: Option<(Arc<str>, Arc<str>)>,
}

impl<'s> Labels<'s> {
    fn new(senders: &'s Senders) -> Self {
        Self { senders, default: "default".into(), last: None }
    }

    fn of(&mut self, source: &Arc<str>) -> Arc<str> {
        if let Some((_, label)) = self.last.as_ref().filter(|(last, _)| Arc::ptr_eq(last, source)) {
            return label.clone();
        }
        let label = self.senders.owner(source).map_or_else(|| self.default.clone(), |sender| sender.label().clone());
        self.last.insert((source.clone(), label)).1.clone()
    }
}

/// What the ledger says of a part of a batch, when it is durable.
type Outcome = oneshot::Receiver<Result<Vec<RecordId>, reeve_ledger::Error>>;

/// Records that are appended in one go, an envelope before those it is about. Format: `docs/spec/envelope.md`.
#[derive(Default)]
struct Part {
    records: Vec<NewRecord>,
    bytes: usize,
    /// Where the envelopes are, and what they claim; the last one's count is open.
    envelopes: Vec<(usize, Arc<str>)>,
    /// What the last record belongs to.
    claims: Option<Arc<str>>,
}

impl Part {
    fn is_full(&self, arrival: &Arrival) -> bool {
        let size = arrival.raw.len() + arrival.source.len() + arrival.claims.as_ref().map_or(0, |claims| claims.len());
        // One place is left for an envelope.
        !self.records.is_empty() && (self.bytes + size > PART_BYTES_MAX || self.records.len() + 1 >= PART_RECORDS_MAX)
    }

    fn add(&mut self, arrival: Arrival, policy: Arc<str>) {
        let follows = self.claims == arrival.claims && self.records.last().is_some_and(|last| last.source == arrival.source);
        if !follows {
            self.close_envelope();
            self.claims.clone_from(&arrival.claims);
            if let Some(claims) = &arrival.claims {
                self.bytes += claims.len();
                self.envelopes.push((self.records.len(), claims.clone()));
                // Its text says how many records follow, which is known at the end.
                let envelope = NewRecord::new(format!("{ENVELOPES}{}", arrival.source), Transport::Internal, Bytes::new());
                self.records.push(NewRecord { policy: policy.clone(), ..envelope });
            }
        }
        self.bytes += arrival.raw.len() + arrival.source.len();
        let Arrival { raw, source, transport, claimed, .. } = arrival;
        self.records.push(NewRecord { raw, source, transport, claimed, policy });
    }

    /// Writes the text of the last envelope, now that the records it is about are there.
    fn close_envelope(&mut self) {
        let Some((at, claims)) = self.envelopes.last().filter(|_| self.claims.is_some()) else { return };
        let (count, at) = (self.records.len() - at - 1, *at);
        if let Some(envelope) = self.records.get_mut(at) {
            let source = serde_json::Value::from(envelope.source.strip_prefix(ENVELOPES).unwrap_or_default());
            let text = format!("{{\"reeve\":\"envelope/v1\",\"source\":{source},\"records\":{count},\"claims\":{claims}}}");
            envelope.raw = text.into();
        }
    }
}

/// Bytes of a batch, with its envelopes.
fn size_of_all(batch: &[Arrival]) -> usize {
    let records: usize = batch.iter().map(|arrival| arrival.raw.len() + OVERHEAD_BYTES).sum();
    let runs = batch.chunk_by(|one, next| one.claims == next.claims);
    let envelopes: usize = runs.filter_map(|run| run.first()?.claims.as_ref()).map(|claims| claims.len() + OVERHEAD_BYTES).sum();
    records + envelopes
}

/// The ids but for those at these places.
fn without(ids: Vec<RecordId>, places: &[usize]) -> Vec<RecordId> {
    if places.is_empty() {
        return ids;
    }
    ids.into_iter().enumerate().filter(|(at, _)| places.binary_search(at).is_err()).map(|(_, id)| id).collect()
}

impl Keeper for LedgerKeeper {
    fn keep(&self, batch: Vec<Arrival>) -> Kept {
        if let Some(free) = self.space.lacking() {
            return Box::pin(async move {
                Err(KeepError::Full(format!("{free} bytes are free on the data folder's disk, which is less than its reserve")))
            });
        }
        let permits = size_of_all(&batch).div_ceil(PERMIT_BYTES).clamp(1, ROOM_PERMITS) as u32;
        // At once if there is room, so that batches of one sender stay in order.
        if let Ok(room) = self.room.clone().try_acquire_many_owned(permits) {
            return Box::pin(wait(self.submit(batch, room)));
        }
        let keeper = Self {
            ledger: self.ledger.clone(),
            senders: self.senders.clone(),
            room: self.room.clone(),
            space: self.space.clone(),
        };
        Box::pin(async move {
            match tokio::time::timeout(PATIENCE, keeper.room.clone().acquire_many_owned(permits)).await {
                Ok(Ok(room)) => wait(keeper.submit(batch, room)).await,
                Ok(Err(_)) => Err(KeepError::Stopping),
                Err(_) => Err(KeepError::Overloaded),
            }
        })
    }

    fn end(&self) -> RecordId {
        self.ledger.durable_end()
    }

    fn is_taking(&self) -> bool {
        self.space.lacking().is_none()
    }
}

async fn wait(parts: Vec<Outcome>) -> Result<Vec<RecordId>, KeepError> {
    let mut ids = Vec::new();
    for part in parts {
        match part.await {
            Ok(Ok(mut durable)) if ids.is_empty() => std::mem::swap(&mut ids, &mut durable),
            Ok(Ok(durable)) => ids.extend(durable),
            Ok(Err(error)) => return Err(told(error)),
            Err(_) => return Err(KeepError::Stopping),
        }
    }
    Ok(ids)
}

pub(super) fn told(error: reeve_ledger::Error) -> KeepError {
    match error {
        reeve_ledger::Error::DiskFull { .. } => KeepError::Full(error.to_string()),
        reeve_ledger::Error::Closed => KeepError::Stopping,
        error => KeepError::Failed(error.to_string()),
    }
}

/// Whether the data folder's disk has room. As it fills, the reading waits first (it can be made again), then nothing more is taken, while there
/// is still room to seal what was; the audit log goes on to the last byte and then from its own reserve.
pub(crate) struct Space {
    tight: AtomicBool,
    lacking: AtomicBool,
    free_bytes: AtomicU64,
    reserve_bytes: Option<u64>,
}

impl Space {
    pub(crate) fn new(reserve_bytes: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            tight: AtomicBool::new(false),
            lacking: AtomicBool::new(false),
            free_bytes: AtomicU64::new(u64::MAX),
            reserve_bytes,
        })
    }

    /// Looks at the disk.
    pub(crate) fn measure(&self, folder: &Path) {
        let Ok(disk) = rustix::fs::statvfs(folder) else { return };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let reserve =
            self.reserve_bytes.unwrap_or_else(|| (disk.f_blocks.saturating_mul(disk.f_frsize) / 50).min(RESERVE_BYTES_MAX));
        self.free_bytes.store(free, Relaxed);
        let tight = free < reserve.saturating_mul(2);
        if self.tight.swap(tight, Relaxed) != tight {
            if tight {
                tracing::warn!(free, reserve, "the disk fills: the reading waits, so that its room is left to the record");
            } else {
                tracing::info!(free, "the reading goes on");
            }
        }
        let lacking = free < reserve;
        if self.lacking.swap(lacking, Relaxed) != lacking {
            if lacking {
                tracing::error!(free, reserve, "the disk is nearly full: nothing more is taken until there is space");
            } else {
                tracing::info!(free, "there is space on the disk again");
            }
        }
    }

    /// Free bytes, if they are too few.
    pub(crate) fn lacking(&self) -> Option<u64> {
        self.lacking.load(Relaxed).then(|| self.free_bytes.load(Relaxed))
    }

    /// Whether the reading has to wait.
    pub(crate) fn is_tight(&self) -> bool {
        self.tight.load(Relaxed)
    }

    /// `ok`; `tight`: the reading waits; `lacking`: nothing is taken.
    pub(crate) fn state(&self) -> &'static str {
        match (self.tight.load(Relaxed), self.lacking.load(Relaxed)) {
            (_, true) => "lacking",
            (true, false) => "tight",
            (false, false) => "ok",
        }
    }

    /// What waits for space, in words.
    pub(crate) fn pressure(&self) -> Option<&'static str> {
        match (self.tight.load(Relaxed), self.lacking.load(Relaxed)) {
            (_, true) => Some("the disk is nearly full: nothing is taken and nothing is read until there is space"),
            (true, false) => Some("the disk fills: records are taken and sealed, the reading waits until there is space"),
            (false, false) => None,
        }
    }

    /// Free bytes at the last look.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Relaxed)
    }
}

/// The sources of envelopes are called this and the name of the source they are about.
const ENVELOPES: &str = "reeve/envelope/";
const PERMIT_BYTES: usize = 1024;
/// 48 MiB handed to the ledger at once: less than it queues, so that handing over never blocks.
const ROOM_PERMITS: usize = (48 << 20) / PERMIT_BYTES;
const OVERHEAD_BYTES: usize = 128;
const PART_BYTES_MAX: usize = 12 << 20;
const PART_RECORDS_MAX: usize = 16_384;
/// How long a sender waits for room before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(5);
const RESERVE_BYTES_MAX: u64 = 512 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(source: &str, raw: &str, claims: Option<&str>) -> Arrival {
        let arrival = Arrival::new(Bytes::copy_from_slice(raw.as_bytes()), source.into(), Transport::FluentForward);
        Arrival { claims: claims.map(Into::into), ..arrival }
    }

    #[test]
    fn claims_that_are_shared_count_once() {
        let claims: Arc<str> = "x".repeat(1000).into();
        let one = Arrival { claims: Some(claims), ..arrival("f/a", "1", None) };
        assert_eq!(size_of_all(&[one.clone(), one.clone(), one]), 3 + 1000 + 4 * OVERHEAD_BYTES);
    }

    #[test]
    fn an_envelope_stands_before_the_records_it_is_about() {
        let mut part = Part::default();
        let policy: Arc<str> = "default".into();
        let tag = Some("{\"tag\":\"a\"}");
        for (source, raw, claims) in
            [("f/a", "1", tag), ("f/a", "2", tag), ("f/b", "3", tag), ("f/b", "4", None), ("f/b", "5", Some("{}"))]
        {
            part.add(arrival(source, raw, claims), policy.clone());
        }
        part.close_envelope();
        let got: Vec<_> = part.records.iter().map(|new| (&*new.source, String::from_utf8_lossy(&new.raw).into_owned())).collect();
        let envelope = |source: &str, records: u32, claims: &str| {
            format!("{{\"reeve\":\"envelope/v1\",\"source\":\"{source}\",\"records\":{records},\"claims\":{claims}}}")
        };
        let want = [
            ("reeve/envelope/f/a", envelope("f/a", 2, "{\"tag\":\"a\"}")),
            ("f/a", "1".to_owned()),
            ("f/a", "2".to_owned()),
            ("reeve/envelope/f/b", envelope("f/b", 1, "{\"tag\":\"a\"}")),
            ("f/b", "3".to_owned()),
            ("f/b", "4".to_owned()),
            ("reeve/envelope/f/b", envelope("f/b", 1, "{}")),
            ("f/b", "5".to_owned()),
        ];
        assert_eq!(got, want);
        let ids: Vec<RecordId> = (0..8).map(|index| RecordId { segment: 0, index }).collect();
        let places: Vec<usize> = part.envelopes.iter().map(|(at, _)| *at).collect();
        assert_eq!(without(ids, &places).iter().map(|id| id.index).collect::<Vec<_>>(), [1, 2, 4, 5, 7]);
    }
}
