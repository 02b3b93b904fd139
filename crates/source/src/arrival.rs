use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use reeve_record::{EventTime, RecordId, Transport};
use tokio::sync::watch;

use crate::{Counters, Senders};

/// One raw record on its way in: the bytes as received and where they came from.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The record's bytes, without the framing around them.
    pub raw: Bytes,
    /// The source's name, as in `syslog/192.0.2.7`, `elastic/logs-app`, `watch/nginx/access.log`.
    pub source: Arc<str>,
    /// How it came.
    pub transport: Transport,
    /// When the source's envelope says it happened, if the envelope says anything.
    pub claimed: Option<EventTime>,
    /// What its sender said about it outside its bytes: the claims of an envelope, a JSON object. Shared by the records it is about.
    /// Format: `docs/spec/envelope.md`.
    pub claims: Option<Arc<str>>,
}

impl Arrival {
    /// A record of which nothing is claimed.
    pub fn new(raw: Bytes, source: Arc<str>, transport: Transport) -> Self {
        Self { raw, source, transport, claimed: None, claims: None }
    }
}

/// Why a batch was not kept. Nothing of it is stored, unless the cause says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeepError {
    /// More is coming in than can be written; the sender should slow down and send again.
    #[error("receiving faster than records can be made durable; send again later")]
    Overloaded,
    /// The disk is full or nearly so.
    #[error("no space left to keep records: {0}")]
    Full(String),
    /// The server is stopping.
    #[error("the server is stopping; send again when it is back")]
    Stopping,
    /// Writing failed; whether the batch is stored is unknown.
    #[error("records could not be made durable: {0}")]
    Failed(String),
}

/// The answer to a batch: the records' ids, in the batch's order, once they are durable.
pub type Kept = BoxFuture<'static, Result<Vec<RecordId>, KeepError>>;

/// Makes records durable.
pub trait Keeper: Send + Sync + 'static {
    /// Keeps the batch; resolves when all of it is on disk.
    fn keep(&self, batch: Vec<Arrival>) -> Kept;

    /// One past the last durable record.
    fn end(&self) -> RecordId;

    /// Whether a batch would be taken now, as far as can be told.
    fn is_taking(&self) -> bool {
        true
    }
}

/// A delivery that is durable; `docs/spec/receipt.md`.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// Its records.
    pub accepted: u64,
    /// Id of the first; `None` for a heartbeat.
    pub first: Option<RecordId>,
    /// Id of the last.
    pub last: Option<RecordId>,
    /// Whether it was there already.
    pub duplicate: bool,
    /// The signed receipt, or why there is none at present.
    pub receipt: Result<String, String>,
}

/// Why a delivery is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryError {
    /// Not as it is.
    Refused {
        /// HTTP status that says who has to do something about it.
        status: u16,
        /// A stable name.
        code: &'static str,
        /// What is wrong, in words.
        reason: String,
    },
    /// Not now.
    Keep(KeepError),
}

/// The answer to a delivery, once it is durable.
pub type Delivering = BoxFuture<'static, Result<Delivered, DeliveryError>>;

/// Takes deliveries that their sources numbered and signed.
pub trait Deliveries: Send + Sync + 'static {
    /// Whether nothing but signed deliveries is taken under this name.
    fn is_numbered(&self, source: &str) -> bool;

    /// Takes a delivery: its signed head and its body. The future must be polled for anything to happen.
    fn deliver(&self, source: &str, head: String, body: Bytes) -> Delivering;
}

/// What every listener needs: the keeper and the counters.
#[derive(Clone)]
pub struct Intake {
    /// Where records go.
    pub keeper: Arc<dyn Keeper>,
    /// What is counted on the way.
    pub counters: Arc<Counters>,
    /// Where signed deliveries go; `None` takes none.
    pub deliveries: Option<Arc<dyn Deliveries>>,
    /// Who senders are.
    pub senders: Arc<Senders>,
}

impl Intake {
    /// An intake with its own counters.
    pub fn new(keeper: Arc<dyn Keeper>) -> Self {
        Self { keeper, counters: Arc::default(), deliveries: None, senders: Arc::default() }
    }

    /// The same, with signed deliveries going there.
    #[must_use]
    pub fn with_deliveries(self, deliveries: Arc<dyn Deliveries>) -> Self {
        Self { deliveries: Some(deliveries), ..self }
    }

    /// The same, with senders looked up there.
    #[must_use]
    pub fn with_senders(self, senders: Arc<Senders>) -> Self {
        Self { senders, ..self }
    }

    /// Keeps a batch and counts it by source once it is durable. Handed to the keeper at once, so batches stay in the order of calls.
    ///
    /// # Errors
    /// As the keeper says; the batch is then counted as refused.
    pub fn keep(&self, batch: Vec<Arrival>) -> impl Future<Output = Result<Vec<RecordId>, KeepError>> + Send + 'static {
        let tally = Tally::of(&batch);
        let counters = self.counters.clone();
        let keeping = self.keeper.keep(batch);
        async move {
            let kept = keeping.await;
            tally.count(&counters, kept.is_ok().then_some(()).ok_or(Lost::Refused));
            kept
        }
    }

    /// Keeps a batch of a sender that waits for the answer: an overload is waited out, which slows the sender down.
    ///
    /// # Errors
    /// As the keeper says, but for an overload only at a stop; the batch is then counted as refused.
    pub fn keep_in_time(
        &self,
        batch: Vec<Arrival>,
        mut stop: watch::Receiver<bool>,
    ) -> impl Future<Output = Result<(), KeepError>> + Send + 'static {
        let tally = Tally::of(&batch);
        let intake = self.clone();
        let mut keeping = self.keeper.keep(batch.clone());
        async move {
            let kept = loop {
                match keeping.await {
                    Err(KeepError::Overloaded) if !*stop.borrow_and_update() => {}
                    kept => break kept.map(drop),
                }
                let _ = tokio::time::timeout(OVERLOAD_PAUSE, stop.changed()).await;
                keeping = intake.keeper.keep(batch.clone());
            };
            tally.count(&intake.counters, kept.is_ok().then_some(()).ok_or(Lost::Refused));
            kept
        }
    }

    /// Keeps a batch whose sender cannot be told to send it again: tries until it is kept or the server stops; true if it was kept.
    /// A batch whose fate is unknown is tried again: rather twice than lost. Handed to the keeper at once, as in [`Intake::keep`].
    pub fn keep_stubbornly(
        &self,
        batch: Vec<Arrival>,
        mut stop: watch::Receiver<bool>,
    ) -> impl Future<Output = bool> + Send + 'static {
        let tally = Tally::of(&batch);
        let intake = self.clone();
        let mut keeping = self.keeper.keep(batch.clone());
        async move {
            let mut pause_ms = 50;
            loop {
                match keeping.await {
                    Ok(_) => {
                        tally.count(&intake.counters, Ok(()));
                        return true;
                    }
                    Err(KeepError::Stopping) => break,
                    Err(error) => tracing::warn!(%error, "waiting to keep a batch"),
                }
                if *stop.borrow_and_update() {
                    break;
                }
                // Woken early by a stop: one last try follows, then the loss is counted.
                let _ = tokio::time::timeout(Duration::from_millis(pause_ms), stop.changed()).await;
                pause_ms = (pause_ms * 2).min(2_000);
                keeping = intake.keeper.keep(batch.clone());
            }
            tally.count(&intake.counters, Err(Lost::Dropped));
            false
        }
    }
}

/// How long an overload is waited out before the next try.
const OVERLOAD_PAUSE: Duration = Duration::from_millis(200);

/// What became of a batch that was not kept.
#[derive(Clone, Copy)]
enum Lost {
    /// Its sender was told.
    Refused,
    /// Its sender cannot be told.
    Dropped,
}

/// How many records and bytes of which source a batch holds; batches are nearly always of one source.
struct Tally(Vec<(Arc<str>, u64, u64)>);

impl Tally {
    fn of(batch: &[Arrival]) -> Self {
        let mut tally: Vec<(Arc<str>, u64, u64)> = Vec::new();
        for arrival in batch {
            let at = match tally.last() {
                Some(last) if Arc::ptr_eq(&last.0, &arrival.source) => tally.len() - 1,
                _ => match tally.iter().position(|(source, ..)| *source == arrival.source) {
                    Some(at) => at,
                    None => {
                        tally.push((arrival.source.clone(), 0, 0));
                        tally.len() - 1
                    }
                },
            };
            if let Some(entry) = tally.get_mut(at) {
                entry.1 += 1;
                entry.2 += arrival.raw.len() as u64;
            }
        }
        Self(tally)
    }

    fn count(self, counters: &Counters, outcome: Result<(), Lost>) {
        for (source, records, bytes) in self.0 {
            let count = counters.source(&source);
            match outcome {
                Ok(()) => count.received(records, bytes),
                Err(Lost::Refused) => count.refused("not_durable", records),
                Err(Lost::Dropped) => count.dropped("not_durable_at_stop", records),
            }
        }
    }
}
