//! The sender's side: records are numbered, signed and kept until each delivery is receipted.
mod spool;

use std::{path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use reeve_ledger::{Clock, Disk, Net, NoteKey, Request, VerifierKey};
use serde::Deserialize;

use self::spool::{Pending, Spool};
pub use self::spool::{Place, SpoolError};
use crate::{Head, Receipt};

/// What a [`Sender`] is opened with.
pub struct SenderOptions {
    /// Folder for what is not receipted yet and how far each file was sent.
    pub spool: PathBuf,
    /// File that receipts are added to; `None`: `receipts` in the spool.
    pub receipts: Option<PathBuf>,
    /// The source's key; its name is the source's.
    pub key: NoteKey,
    /// Address that takes deliveries of this source, as in `http://127.0.0.1:8421/ingest/edge%2Fweb1`.
    pub address: String,
    /// Key of the server's log: receipts are checked with it, if it is known.
    pub server_key: Option<VerifierKey>,
    /// Sent along as a bearer's, if there is one.
    pub token: Option<String>,
    /// Where the spool lies.
    pub disk: Arc<dyn Disk>,
    /// How the server is reached.
    pub net: Arc<dyn Net>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

/// A source's sender. One delivery is under way at a time.
pub struct Sender {
    key: NoteKey,
    address: String,
    server_key: Option<VerifierKey>,
    token: Option<String>,
    net: Arc<dyn Net>,
    clock: Arc<dyn Clock>,
    spool: Spool,
}

/// A delivery that was receipted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Its records.
    pub records: u64,
    /// Whether the server had it already.
    pub duplicate: bool,
}

/// Why a delivery is not receipted. It stays in the spool.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SendError {
    /// The server did not answer, or takes nothing at present: the same delivery is to be sent again.
    #[error("`{address}`: {why}")]
    NotYet {
        /// Where.
        address: String,
        /// In words.
        why: String,
    },
    /// The server refuses it, and will do so again.
    #[error("`{address}` refused with {status}: {message}")]
    Refused {
        /// Where.
        address: String,
        /// HTTP status.
        status: u16,
        /// What the server said.
        message: String,
    },
    /// What came as a receipt is none for this delivery, by the server's key.
    #[error("`{address}`{why}")]
    NoReceipt {
        /// Where.
        address: String,
        /// In words.
        why: String,
    },
    /// The spool failed.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// The part of an answer that matters here; `docs/spec/receipt.md`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Told {
    duplicate: bool,
    receipt: Option<String>,
    receipt_problem: Option<String>,
    error: ToldError,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ToldError {
    message: Option<String>,
}

impl Sender {
    /// Opens the spool, or makes it, and takes up what an earlier sender signed and did not see receipted.
    ///
    /// # Errors
    /// [`SpoolError`] if another process has it, it is another source's, it is damaged, or the disk refuses.
    pub fn open(options: SenderOptions) -> Result<Self, SpoolError> {
        let SenderOptions { spool, receipts, key, address, server_key, token, disk, net, clock } = options;
        let spool = Spool::open(disk, &spool, key.verifier().name(), receipts, &*clock)?;
        Ok(Self { key, address, server_key, token, net, clock, spool })
    }

    /// Name of the source.
    pub fn source(&self) -> &str {
        self.key.verifier().name()
    }

    /// The source's epoch, and the number of the next record that is not receipted.
    pub fn progress(&self) -> (u64, u64) {
        (self.spool.state().epoch, self.spool.state().next)
    }

    /// Where a file of `length` bytes stands; `fresh` if it is another than the one sent under this name before.
    pub fn place(&self, name: &str, fresh: Place, length: u64) -> Place {
        self.spool.place(name, fresh, length)
    }

    /// Whether a delivery waits to be receipted.
    pub fn is_waiting(&self) -> bool {
        self.spool.pending().is_some()
    }

    /// Numbers begin again, also for what waits.
    ///
    /// # Errors
    /// [`SpoolError`]; the epoch is then the one before or the new one, and nothing that waits is lost.
    pub fn begin_epoch(&mut self) -> Result<(), SpoolError> {
        self.spool.begin_epoch(&*self.clock);
        if let Some(Pending { body, count, places, .. }) = self.spool.take_pending() {
            self.stage(body, count, places)?;
        }
        self.spool.write_state()
    }

    /// Signs the next delivery and makes it durable in the spool, before anybody else hears of it: `count` records, each followed by a line break, and where
    /// the files they came from stand after it. One may wait at a time.
    ///
    /// # Errors
    /// [`SpoolError`]; it is to be staged again.
    pub fn stage(&mut self, body: Vec<u8>, count: u64, places: Vec<(String, Place)>) -> Result<(), SpoolError> {
        let state = self.spool.state();
        let (epoch, first, previous) = (state.epoch, state.next, state.previous);
        let head = Head::over(self.source(), epoch, first, count, &body, previous, self.clock.now());
        let (note, hash) = (head.sign(&self.key), head.hash());
        self.spool.stage(Pending { head: note, epoch, first, count, hash, places, body })
    }

    /// Sends what waits, once; `None` if nothing does. When it returns [`Sent`], the receipt is kept.
    ///
    /// # Errors
    /// [`SendError`]: after [`SendError::NotYet`] it is to be tried again.
    pub fn deliver(&mut self) -> Result<Option<Sent>, SendError> {
        let Some(pending) = self.spool.pending() else { return Ok(None) };
        let told = self.post(&pending.head, &pending.body)?;
        let receipt = self.receipt_in(&told, pending)?;
        let sent = Sent { records: pending.count, duplicate: told.duplicate };
        self.spool.settle(&receipt)?;
        Ok(Some(sent))
    }

    /// Says that everything so far was sent.
    ///
    /// # Errors
    /// As [`Sender::deliver`].
    pub fn beat(&self) -> Result<(), SendError> {
        let state = self.spool.state();
        let head = Head::over(self.source(), state.epoch, state.next, 0, b"", state.previous, self.clock.now());
        self.post(&head.sign(&self.key), b"").map(drop)
    }

    /// Posts a delivery, once. What comes back says that it is durable and receipted.
    fn post(&self, head: &str, body: &[u8]) -> Result<Told, SendError> {
        let (delivery, bearer) = (STANDARD.encode(head), self.token.as_ref().map(|token| format!("Bearer {token}")));
        let mut headers = vec![("Content-Type", "application/x-ndjson"), ("Reeve-Delivery", delivery.as_str())];
        headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
        let request = Request { url: &self.address, headers: &headers, body, limit: ANSWER_MAX, patience: PATIENCE };
        let not_yet = |why: String| SendError::NotYet { address: self.address.clone(), why };
        let answer = self.net.post(&request).map_err(not_yet)?;
        let told: Result<Told, _> = serde_json::from_slice(&answer.body);
        match (answer.status, told) {
            (200, Ok(told)) if told.receipt.is_some() => Ok(told),
            (200, Ok(told)) => {
                let problem = told.receipt_problem.unwrap_or_default();
                Err(not_yet(format!("it is durable, but not receipted: {problem}")))
            }
            (status @ (408 | 429 | 500..=599), told) => {
                let message = told.ok().and_then(|told| told.error.message).unwrap_or_default();
                Err(not_yet(format!("{status} {message}")))
            }
            (200, Err(error)) => Err(not_yet(format!("its answer cannot be read: {error}"))),
            (status, told) => {
                let message = told.ok().and_then(|told| told.error.message).unwrap_or_else(|| "without a reason".into());
                Err(SendError::Refused { address: self.address.clone(), status, message })
            }
        }
    }

    /// The receipt of an answer, if it is this delivery's: something in between may have kept the answer to another. Its signature is checked as far as the
    /// server's key is known.
    fn receipt_in(&self, told: &Told, pending: &Pending) -> Result<String, SendError> {
        let note = told.receipt.clone().unwrap_or_default();
        let no_receipt = |why: String| SendError::NoReceipt { address: self.address.clone(), why };
        let receipt = match &self.server_key {
            Some(key) => Receipt::open(&note, key),
            None => Receipt::read(&note),
        };
        let receipt = receipt.map_err(|fault| no_receipt(format!(": {fault}")))?;
        if receipt.delivery == pending.hash && receipt.count == pending.count {
            return Ok(note);
        }
        Err(no_receipt(" gave the receipt of another delivery".into()))
    }
}

/// How long the server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
const ANSWER_MAX: u64 = 1 << 20;
