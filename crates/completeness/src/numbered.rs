//! Deliveries in, receipts out. What is known of each source is a projection of the ledger's records.
use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use reeve_ledger::{Attested, Ledger, NewRecord, StoredRecord, VerifierKey, read_all, write_durably};
use reeve_record::{Hash, RecordId, Transport};
use serde::{Deserialize, Serialize};

use crate::{
    CONTRADICTIONS, Error, HEADS, Head, HeadError, Notice, Receipt,
    law::{Epochs, Verdict},
    receipt::head_in,
    scan,
};

/// A source that numbers and signs what it sends.
#[derive(Clone, Debug)]
pub struct SourceKey {
    /// Its key; the key's name is the source's.
    pub key: VerifierKey,
    /// How often it sends at least a heartbeat; two missed are noticed.
    pub heartbeat: Option<Duration>,
}

/// Told of each notice that is a finding, with its record. May hear of one again after a restart.
pub type Noticed = Box<dyn Fn(RecordId, &Notice) + Send + Sync>;

/// Makes a batch durable, all or nothing, and gives its ids: [`Ledger::append`], or the same in turns that a simulator gives.
pub type Append = Box<dyn Fn(&Ledger, Vec<NewRecord>) -> Result<Vec<RecordId>, reeve_ledger::Error> + Send + Sync>;

/// What [`Numbered`] is opened with.
pub struct NumberedOptions {
    /// File with a copy of what is known; made anew where it does not fit.
    pub copy: PathBuf,
    /// The registered sources.
    pub sources: Vec<SourceKey>,
    /// Where notices go.
    pub noticed: Noticed,
}

/// The sources that number their records, and what is there of each. All calls may come from any thread; deliveries of one source wait for each other.
pub struct Numbered {
    ledger: Arc<Ledger>,
    copy: PathBuf,
    saved: Mutex<RecordId>,
    started: Timestamp,
    sources: BTreeMap<String, Registered>,
    /// Sources that are not registered any more.
    former: BTreeMap<String, Known>,
    /// Whether the whole ledger was looked at, now or for the copy.
    looked: bool,
    /// Whether a segment could not be read: then no copy is written, so that the next start tries it again.
    partial: bool,
    noticed: Noticed,
    append: Append,
}

struct Registered {
    key: VerifierKey,
    heartbeat: Option<Duration>,
    known: Mutex<Known>,
}

/// What is known of one source.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Known {
    /// Key and heartbeat as last registered.
    registration: Option<(String, Option<u64>)>,
    epochs: Epochs,
    /// When its last delivery was received.
    heard: Option<Timestamp>,
    /// Whether its silence was noticed.
    silent: bool,
    /// The last contradicting deliveries with their notices, so that one sent again and again is kept once.
    contradictions: VecDeque<(Hash, RecordId)>,
}

impl Known {
    fn hear(&mut self, head: &Head, id: RecordId, at: Timestamp) {
        self.epochs.take(head, id);
        (self.heard, self.silent) = (Some(at), false);
    }

    fn contradicted(&mut self, hash: Hash, notice: RecordId) {
        self.contradictions.push_back((hash, notice));
        if self.contradictions.len() > CONTRADICTIONS_MAX {
            self.contradictions.pop_front();
        }
    }

    fn notice(&mut self, notice: &Notice, id: RecordId) {
        match notice {
            Notice::Source { key, heartbeat_seconds, .. } => self.registration = Some((key.clone(), *heartbeat_seconds)),
            Notice::Silence { .. } => self.silent = true,
            Notice::Contradiction { head, .. } => {
                if let Some(head) = Head::read(head.as_bytes()) {
                    self.contradicted(head.hash(), id);
                }
            }
            Notice::Gap { .. } => {}
        }
    }
}

/// The copy of what is known, up to a record.
#[derive(Serialize, Deserialize)]
struct Copy {
    format: u32,
    origin: String,
    position: RecordId,
    sources: BTreeMap<String, Known>,
}

/// What became of a delivery.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its records.
    pub accepted: u64,
    /// Id of the first; `None` for a heartbeat.
    pub first: Option<RecordId>,
    /// Id of the last.
    pub last: Option<RecordId>,
    /// Whether it was there already.
    pub duplicate: bool,
    /// The signed receipt, or why the ledger signs nothing at present.
    pub receipt: Result<String, String>,
}

impl Numbered {
    /// Takes up what the ledger knows. Sources that are new or registered otherwise than before are noted in the ledger.
    ///
    /// # Errors
    /// [`Error::Ledger`] if a registration cannot be noted.
    pub fn open(ledger: Arc<Ledger>, options: NumberedOptions) -> Result<Self, Error> {
        Self::open_with(ledger, options, Box::new(Ledger::append))
    }

    /// As [`Numbered::open`], with another way to append.
    ///
    /// # Errors
    /// As [`Numbered::open`].
    pub fn open_with(ledger: Arc<Ledger>, options: NumberedOptions, append: Append) -> Result<Self, Error> {
        let NumberedOptions { copy, sources, noticed } = options;
        let read = read_copy(&copy, &ledger);
        // Where nobody numbers and nobody did, a start need not read the ledger.
        let looked = read.is_some() || !sources.is_empty();
        let (mut known, position) = read.unwrap_or_default();
        let mut unread = 0;
        if looked {
            unread = scan::each(&ledger, position, ledger.durable_end(), |record| {
                project(&mut known, record, &noticed);
                true
            });
        }
        let started = ledger.now();
        let registered = sources.into_iter().map(|SourceKey { key, heartbeat }| {
            let name = key.name().to_owned();
            let known = Mutex::new(known.remove(&name).unwrap_or_default());
            (name, Registered { key, heartbeat, known })
        });
        let sources = registered.collect();
        let numbered = Self {
            ledger,
            copy,
            saved: Mutex::new(position),
            started,
            sources,
            former: known,
            looked,
            partial: unread > 0,
            noticed,
            append,
        };
        numbered.register()?;
        Ok(numbered)
    }

    fn register(&self) -> Result<(), Error> {
        for (name, source) in &self.sources {
            let mut known = source.known.lock();
            let registration = (source.key.to_string(), source.heartbeat.map(|heartbeat| heartbeat.as_secs()));
            if known.registration.as_ref() == Some(&registration) {
                continue;
            }
            let (key, heartbeat_seconds) = registration;
            let notice = Notice::Source { source: name.clone(), key, heartbeat_seconds, at: self.ledger.now() };
            let id = self.append(vec![notice.record()])?.0;
            known.notice(&notice, id);
        }
        Ok(())
    }

    /// Whether only signed deliveries are taken under this name.
    pub fn is_numbered(&self, source: &str) -> bool {
        self.sources.contains_key(source)
    }

    /// Whether any source that fits the pattern may number its records, or may have done so once.
    pub fn any_fits(&self, pattern: &str) -> bool {
        !self.looked || self.sources.keys().chain(self.former.keys()).any(|name| crate::survey::fits(pattern, name))
    }

    /// Takes a delivery; returns when it is durable, or was already. Blocks for one group commit.
    ///
    /// # Errors
    /// As [`Error`] says; what contradicts the ledger is kept as evidence first.
    pub fn deliver(&self, source: &str, note: &str, body: &Bytes) -> Result<Outcome, Error> {
        let Some(registered) = self.sources.get(source) else {
            let why = format!("`{}` is not registered as a numbered source: add its key to the configuration", cut(source));
            return Err(Error::NotThisSource(why));
        };
        let head = Head::open(note, &registered.key).map_err(|error| match error {
            HeadError::Signature(_) => Error::NotThisSource(format!("{error}: it takes the key registered for `{source}`")),
            HeadError::Form => Error::Malformed("has a head that is not in form".into()),
        })?;
        let records = head.records(body).map_err(Error::Malformed)?;
        let mut known = registered.known.lock();
        match self.judge(&mut known, &head) {
            Verdict::New { gap } => self.take(&mut known, note, &head, records, gap),
            Verdict::Known(id) => self.answer(&head, id, true),
            Verdict::Contradicts { why, known: other } => Err(self.contradict(&mut known, note, &head, records, (why, other))?),
            Verdict::TooManyGaps => Err(Error::TooManyGaps),
            Verdict::EpochOver | Verdict::Old(_) => Err(Error::EpochOver { epoch: head.epoch }),
        }
    }

    /// The verdict, with the ledger's help where memory does not reach.
    fn judge(&self, known: &mut Known, head: &Head) -> Verdict {
        match known.epochs.judge(head) {
            // It was acknowledged and lost since: whoever still has it is welcome.
            Verdict::Known(id) if !self.is_there(id) => self.judge_again(known, head),
            Verdict::Old(from) => match self.look_up(from, head) {
                Some((id, same)) if same == head.hash() => Verdict::Known(id),
                Some((id, _)) => {
                    Verdict::Contradicts { why: "has numbers that are there from another delivery", known: Some(id) }
                }
                None => self.judge_again(known, head),
            },
            verdict => verdict,
        }
    }

    fn judge_again(&self, known: &mut Known, head: &Head) -> Verdict {
        known.epochs.forget(head);
        match known.epochs.judge(head) {
            Verdict::Old(_) | Verdict::Known(_) => {
                Verdict::Contradicts { why: "has numbers that are there from deliveries cut otherwise", known: None }
            }
            verdict => verdict,
        }
    }

    fn is_there(&self, id: RecordId) -> bool {
        // A segment that cannot be read now may be restored: not taken for a loss.
        self.ledger.get(id).map_or(true, |record| record.is_some())
    }

    /// A delivery with some of the head's numbers that lies at or after `from`, with its hash.
    fn look_up(&self, from: RecordId, head: &Head) -> Option<(RecordId, Hash)> {
        let mut found = None;
        scan::each(&self.ledger, from, self.ledger.durable_end(), |record| {
            let other = head_in(record).filter(|other| other.source == head.source && other.epoch == head.epoch);
            if let Some(other) = other.filter(|other| other.first < head.end() && head.first < other.end()) {
                found = Some((record.id, other.hash()));
            }
            found.is_none()
        });
        found
    }

    fn take(
        &self,
        known: &mut Known,
        note: &str,
        head: &Head,
        records: Vec<Bytes>,
        gap: Option<(u64, u64)>,
    ) -> Result<Outcome, Error> {
        let gap = gap.map(|(first, count)| Notice::Gap {
            source: head.source.clone(),
            epoch: head.epoch,
            first,
            count,
            at: self.ledger.now(),
        });
        let mut batch = vec![NewRecord::new(format!("{HEADS}{}", head.source), Transport::Internal, note.to_owned())];
        batch.extend(of_source(&head.source, records));
        batch.extend(gap.as_ref().map(Notice::record));
        let (id, last) = self.append(batch)?;
        known.hear(head, id, self.ledger.now());
        if let Some(gap) = &gap {
            (self.noticed)(last, gap);
        }
        self.answer(head, id, false)
    }

    /// The answer to a delivery whose head lies at `id`: the same however often it is asked for.
    fn answer(&self, head: &Head, id: RecordId, duplicate: bool) -> Result<Outcome, Error> {
        let record = self.ledger.get(id)?.ok_or(reeve_ledger::Error::NoRecord { id })?;
        let receipt = Receipt::of(head, id, record.receipt.received_at);
        let at = |n: u64| (head.count > 0).then_some(RecordId { index: id.index + n as u32, ..id });
        Ok(Outcome {
            accepted: head.count,
            first: at(1),
            last: at(head.count),
            duplicate,
            receipt: self.ledger.attest(Attested::Receipt, &receipt.to_lines()).map_err(|error| error.to_string()),
        })
    }

    /// Keeps what contradicts the ledger as evidence, once; gives the answer to it.
    fn contradict(
        &self,
        known: &mut Known,
        note: &str,
        head: &Head,
        records: Vec<Bytes>,
        (why, other): (&str, Option<RecordId>),
    ) -> Result<Error, Error> {
        let hash = head.hash();
        if let Some((_, notice)) = known.contradictions.iter().find(|(before, _)| *before == hash) {
            return Ok(Error::Contradiction { why: why.into(), notice: *notice });
        }
        let notice = Notice::Contradiction {
            source: head.source.clone(),
            epoch: head.epoch,
            first: head.first,
            count: head.count,
            why: why.into(),
            known: other,
            head: note.into(),
            at: self.ledger.now(),
        };
        let mut batch = vec![notice.record()];
        batch.extend(of_source(&format!("{CONTRADICTIONS}{}", head.source), records));
        let id = self.append(batch)?.0;
        known.contradicted(hash, id);
        (self.noticed)(id, &notice);
        Ok(Error::Contradiction { why: why.into(), notice: id })
    }

    /// Ids of the first and the last record of a batch.
    fn append(&self, batch: Vec<NewRecord>) -> Result<(RecordId, RecordId), Error> {
        let ids = (self.append)(&self.ledger, batch)?;
        match (ids.first(), ids.last()) {
            (Some(first), Some(last)) => Ok((*first, *last)),
            _ => Err(reeve_ledger::Error::Closed.into()),
        }
    }

    /// Notices sources that missed two heartbeats; to be called every second or so.
    pub fn watch(&self) {
        let now = self.ledger.now();
        for (name, source) in &self.sources {
            // Whoever is delivering is not silent.
            let (Some(heartbeat), Some(mut known)) = (source.heartbeat, source.known.try_lock()) else { continue };
            let since = known.heard.map_or(self.started, |heard| heard.max(self.started));
            let silence = Duration::try_from(now.duration_since(since)).unwrap_or_default();
            if known.silent || silence <= heartbeat * 2 {
                continue;
            }
            let notice =
                Notice::Silence { source: name.clone(), heard: known.heard, heartbeat_seconds: heartbeat.as_secs(), at: now };
            match self.append(vec![notice.record()]) {
                Ok((id, _)) => {
                    known.notice(&notice, id);
                    (self.noticed)(id, &notice);
                }
                Err(error) => tracing::error!(%error, source = name, "a silence could not be noted and will be tried again"),
            }
        }
    }

    /// Writes the copy of what is known, if there is anything new.
    ///
    /// # Errors
    /// [`Error::Copy`]; the next start then reads more of the ledger.
    pub fn save(&self) -> Result<(), Error> {
        // Before the sources are locked: whatever is durable by now is known to its source by the time its lock is free.
        let position = self.ledger.durable_end();
        let mut saved = self.saved.lock();
        if *saved == position || !self.looked || self.partial {
            return Ok(());
        }
        let mut sources = self.former.clone();
        sources.extend(self.sources.iter().map(|(name, source)| (name.clone(), source.known.lock().clone())));
        let copy = Copy { format: FORMAT, origin: self.ledger.verifier_key().name().into(), position, sources };
        let bytes = serde_json::to_vec(&copy).map_err(std::io::Error::from);
        let written = bytes.and_then(|bytes| write_durably(&*self.ledger.disk(), &self.copy, &bytes, false));
        written.map_err(|error| Error::Copy { path: self.copy.display().to_string(), reason: error.to_string() })?;
        *saved = position;
        Ok(())
    }
}

fn of_source(name: &str, records: Vec<Bytes>) -> impl Iterator<Item = NewRecord> + use<> {
    let name: Arc<str> = name.into();
    records.into_iter().map(move |raw| NewRecord::new(name.clone(), Transport::Delivery, raw))
}

fn project(known: &mut BTreeMap<String, Known>, record: &StoredRecord, noticed: &Noticed) {
    if record.receipt.transport != Transport::Internal {
        return;
    }
    if let Some(head) = head_in(record) {
        known.entry(head.source.clone()).or_default().hear(&head, record.id, record.receipt.received_at);
    } else if let Some(notice) = Notice::of(record) {
        known.entry(notice.source().to_owned()).or_default().notice(&notice, record.id);
        if notice.rule().is_some() {
            noticed(record.id, &notice);
        }
    }
}

/// What is known, and up to which record; `None` where there is no copy that fits the ledger.
fn read_copy(path: &Path, ledger: &Ledger) -> Option<(BTreeMap<String, Known>, RecordId)> {
    let copy = read_all(&*ledger.disk(), path, COPY_MAX).ok().and_then(|bytes| serde_json::from_slice::<Copy>(&bytes).ok());
    let fits = |copy: &Copy| {
        copy.format == FORMAT && copy.origin == ledger.verifier_key().name() && copy.position <= ledger.durable_end()
    };
    copy.filter(fits).map(|copy| (copy.sources, copy.position))
}

fn cut(name: &str) -> String {
    name.chars().take(80).collect()
}

const FORMAT: u32 = 1;
/// A copy is a few KiB for each source.
const COPY_MAX: u64 = 1 << 30;
const CONTRADICTIONS_MAX: usize = 64;
