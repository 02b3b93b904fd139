//! Records in: callers queue batches, one committer thread writes them as one frame and makes them durable together.
use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering, mpsc},
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use reeve_record::{EventTime, Hash, Receipt, RecordId, Salts, Transport, commit, encode_into, leaf_hash};

use crate::{
    Error,
    env::random,
    ledger::Inner,
    text,
    wal::{self, ENTRY_OVERHEAD, FrameWriter, HEADER_LENGTH, Header, Place, WalSegment},
};

/// A record to be appended.
#[derive(Clone, Debug)]
pub struct NewRecord {
    /// The bytes as received, at most [`MAX_RECORD`].
    pub raw: Bytes,
    /// Name of the source, at most 4,096 bytes.
    pub source: Arc<str>,
    /// The way it came.
    pub transport: Transport,
    /// When the source claims it happened, where that is known already.
    pub claimed: Option<EventTime>,
    /// Label of the retention and access regime, at most 256 bytes.
    pub policy: Arc<str>,
}

impl NewRecord {
    /// A record under the policy `default`, without a claimed time.
    pub fn new(source: impl Into<Arc<str>>, transport: Transport, raw: impl Into<Bytes>) -> Self {
        Self { raw: raw.into(), source: source.into(), transport, claimed: None, policy: "default".into() }
    }
}

/// A batch on its way; [`Ticket::wait`] blocks until it is durable.
pub struct Ticket(mpsc::Receiver<Outcome>);

impl Ticket {
    /// The ids of the batch, in its order, once it is durable.
    ///
    /// # Errors
    /// As [`crate::Ledger::append`].
    pub fn wait(self) -> Outcome {
        self.0.recv().unwrap_or(Err(Error::Closed))
    }
}

pub(crate) type Outcome = Result<Vec<RecordId>, Error>;
type Done = Box<dyn FnOnce(Outcome) + Send>;

struct Pending {
    batch: Vec<NewRecord>,
    bytes: usize,
    received_at: Timestamp,
    done: Done,
}

/// What callers and the committer share.
#[derive(Default)]
pub(crate) struct Queue {
    batches: VecDeque<Pending>,
    bytes: usize,
    pub(crate) closed: bool,
    /// Requests to end the open segment, and how many were served.
    pub(crate) rotations_wanted: u64,
    pub(crate) rotations_done: u64,
}

impl Inner {
    /// Queues a batch. Blocks while more than [`QUEUE_BYTES`] wait: that is the back-pressure.
    pub(crate) fn submit(&self, batch: Vec<NewRecord>, done: Done) {
        let bytes = match measure(&batch) {
            Ok(bytes) => bytes,
            Err(error) => return done(Err(error)),
        };
        if batch.is_empty() {
            return done(Ok(Vec::new()));
        }
        let received_at = text::floor(self.options.clock.now());
        let mut queue = self.queue.lock();
        while queue.bytes > QUEUE_BYTES && !queue.closed {
            self.queue_has_space.wait(&mut queue);
        }
        if queue.closed {
            drop(queue);
            return done(Err(Error::Closed));
        }
        queue.bytes += bytes;
        queue.batches.push_back(Pending { batch, bytes, received_at, done });
        self.queue_has_work.notify_one();
    }

    pub(crate) fn submit_ticket(&self, batch: Vec<NewRecord>) -> Ticket {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.submit(
            batch,
            Box::new(move |outcome| {
                // Nobody waits any more: the records are stored all the same.
                let _ = sender.send(outcome);
            }),
        );
        Ticket(receiver)
    }
}

/// Bytes the batch takes in the WAL.
fn measure(batch: &[NewRecord]) -> Result<usize, Error> {
    let mut bytes = 0;
    for record in batch {
        for (what, size, limit) in [
            ("a record", record.raw.len(), MAX_RECORD),
            ("a source name", record.source.len(), MAX_SOURCE),
            ("a policy label", record.policy.len(), MAX_POLICY),
        ] {
            if size > limit {
                return Err(Error::TooLarge { what, size, limit });
            }
        }
        bytes += ENTRY_OVERHEAD + record.raw.len() + record.source.len() + record.policy.len();
    }
    if bytes > MAX_BATCH {
        return Err(Error::TooLarge { what: "a batch", size: bytes, limit: MAX_BATCH });
    }
    Ok(bytes)
}

/// Where the chain of one source stands in this epoch.
struct Head {
    next: u64,
    last: Hash,
    /// The group that changed it last, so that each group notes the state before it once.
    group: u64,
}

/// The open segment, as the committer sees it.
struct Open {
    wal: Arc<WalSegment>,
    salts: Salts,
    /// End of what is durable in the file.
    end: u64,
    bytes: u64,
    /// When its first record was written, by [`Clock::elapsed`](crate::Clock::elapsed).
    since: Option<Duration>,
    /// Whether a refused group was cut off since the last sync.
    cut: bool,
}

/// What a turn of the committer was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    Done,
    Idle,
    Closed,
}

/// A source and how its chain stood: last sequence and leaf hash.
type Undo = (Arc<str>, Option<(u64, Hash)>);

/// The one who writes. It alone knows chains, sequences and the end of the open file.
pub(crate) struct Committer {
    inner: Arc<Inner>,
    epoch: u64,
    open: Option<Open>,
    next_segment: u32,
    records_before: u32,
    heads: HashMap<Arc<str>, Head>,
    group: u64,
    /// How each head stood before the group that is being written; `None`: there was none.
    undo: Vec<Undo>,
    buffer: Vec<u8>,
    leaf: Vec<u8>,
    marked: bool,
}

impl Committer {
    pub(crate) fn new(inner: Arc<Inner>, epoch: u64, next_segment: u32, records_before: u32) -> Self {
        Self {
            inner,
            epoch,
            open: None,
            next_segment,
            records_before,
            heads: HashMap::new(),
            group: 0,
            undo: Vec::new(),
            buffer: Vec::new(),
            leaf: Vec::new(),
            marked: true,
        }
    }

    pub(crate) fn run(mut self) {
        loop {
            self.wait_for_work();
            self.inner.wait_for_sealer();
            if self.turn() == Turn::Closed {
                break;
            }
        }
    }

    /// Waits for batches, a rotation, idleness or the end.
    fn wait_for_work(&self) {
        let mut queue = self.inner.queue.lock();
        while queue.batches.is_empty() && queue.rotations_wanted == queue.rotations_done && !queue.closed {
            if self.inner.queue_has_work.wait_for(&mut queue, self.patience()).timed_out() {
                return;
            }
        }
    }

    /// One turn, without waiting: commits a group, or notes idleness, and ends the segment if it is full or that is wanted.
    pub(crate) fn turn(&mut self) -> Turn {
        if self.inner.must_wait_for_sealer() {
            return Turn::Idle;
        }
        let (group, rotations, closed) = self.take_work();
        let done = if group.is_empty() && rotations.is_none() { Turn::Idle } else { Turn::Done };
        if !group.is_empty() {
            self.commit_group(group);
        } else if done == Turn::Idle {
            self.mark();
        }
        if rotations.is_some() || self.is_full() {
            self.rotate();
        }
        if let Some(wanted) = rotations {
            self.inner.queue.lock().rotations_done = wanted;
            self.inner.rotated.notify_all();
        }
        if closed {
            self.mark();
            return Turn::Closed;
        }
        done
    }

    /// The next group, the rotations to be done after it, and whether it is the last.
    fn take_work(&self) -> (Vec<Pending>, Option<u64>, bool) {
        let mut queue = self.inner.queue.lock();
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some(pending) = queue.batches.pop_front_if(|pending| bytes == 0 || bytes + pending.bytes <= GROUP_BYTES) {
            bytes += pending.bytes;
            group.push(pending);
        }
        queue.bytes -= bytes;
        self.inner.queue_has_space.notify_all();
        // Whoever wants it has their records durable already, so batches that still wait need not go first.
        let rotations = (queue.rotations_wanted > queue.rotations_done).then_some(queue.rotations_wanted);
        (group, rotations, queue.closed && queue.batches.is_empty())
    }

    /// How long to wait for work before looking at the idle mark and the segment's age.
    fn patience(&self) -> Duration {
        if !self.marked {
            return IDLE;
        }
        let due = self
            .open
            .as_ref()
            .and_then(|open| open.since)
            .map(|since| self.inner.options.seal_after.saturating_sub(self.age(since)));
        due.unwrap_or(Duration::from_secs(3600)).max(Duration::from_millis(1))
    }

    fn is_full(&self) -> bool {
        let options = &self.inner.options;
        self.open.as_ref().is_some_and(|open| {
            open.bytes >= options.segment_bytes
                || open.wal.records() >= options.segment_records.min(wal::SEGMENT_RECORDS_MAX)
                || open.since.is_some_and(|since| self.age(since) >= options.seal_after)
                || self.heads.len() > MAX_SOURCES
        })
    }

    fn age(&self, since: Duration) -> Duration {
        self.inner.options.clock.elapsed().saturating_sub(since)
    }

    fn commit_group(&mut self, group: Vec<Pending>) {
        match self.write_group_from_reserve(&group) {
            Ok(mut first) => {
                for pending in group {
                    let count = pending.batch.len() as u32;
                    let ids = (first.index..first.index + count).map(|index| RecordId { index, ..first }).collect();
                    first.index += count;
                    complete(pending.done, Ok(ids));
                }
            }
            Err(error) => {
                tracing::error!(code = error.code(), %error, "records were refused");
                for pending in group {
                    complete(pending.done, Err(error.clone()));
                }
            }
        }
    }

    /// Writes a group; on a full disk once more, if the reserve is for that.
    fn write_group_from_reserve(&mut self, group: &[Pending]) -> Result<RecordId, Error> {
        match self.write_group(group) {
            Err(Error::DiskFull { .. }) if self.inner.reserve.give_back() && self.inner.reserve.serves_records() => {
                self.write_group(group)
            }
            written => written,
        }
    }

    /// Writes a group as one frame and makes it durable; the id of its first record.
    fn write_group(&mut self, group: &[Pending]) -> Result<RecordId, Error> {
        self.inner.check_writable()?;
        self.inner.reserve.check()?;
        self.inner.check_sealer()?;
        self.open_segment()?;
        let Some(mut open) = self.open.take() else { return Err(Error::Closed) };
        let first = open.wal.records();
        let (frame, places) = self.build_frame(&open, first, group);
        let written = self.write_frame(&mut open, &frame);
        self.buffer = frame;
        // One rare large batch must not hold its memory for good.
        self.buffer.clear();
        self.buffer.shrink_to(2 * GROUP_BYTES);
        let id = RecordId { segment: open.wal.header.segment, index: first };
        if let Err(error) = written {
            self.roll_back_heads();
            self.open = Some(open);
            return Err(error);
        }
        open.since.get_or_insert_with(|| self.inner.options.clock.elapsed());
        let durable = RecordId { index: first + places.len() as u32, ..id };
        open.wal.places.write().extend(places);
        self.open = Some(open);
        self.marked = false;
        self.undo.clear();
        self.inner.advance(durable);
        Ok(id)
    }

    fn build_frame(&mut self, open: &Open, first: u32, group: &[Pending]) -> (Vec<u8>, Vec<Place>) {
        self.group += 1;
        self.undo.clear();
        let count = group.iter().map(|pending| pending.batch.len()).sum();
        let mut frame = FrameWriter::new(&open.wal.header, open.end, first, count, std::mem::take(&mut self.buffer));
        let mut id = RecordId { segment: open.wal.header.segment, index: first };
        for pending in group {
            for record in &pending.batch {
                let (receipt, previous) = self.receipt(record, pending.received_at);
                frame.push(&receipt, &previous, &record.raw);
                let commitment = commit(&open.salts.salt(id.index), &record.raw);
                self.leaf.clear();
                encode_into(&mut self.leaf, id, &previous, &receipt, record.raw.len() as u64, &commitment);
                let hash = leaf_hash(&self.leaf);
                if let Some(head) = self.heads.get_mut(&record.source) {
                    head.last = hash;
                }
                id.index += 1;
            }
        }
        frame.finish()
    }

    /// The next receipt of the record's source, and its leaf before.
    fn receipt(&mut self, record: &NewRecord, received_at: Timestamp) -> (Receipt, Hash) {
        if !self.heads.contains_key(&record.source) {
            self.undo.push((record.source.clone(), None));
            self.heads.insert(record.source.clone(), Head { next: 0, last: [0; 32], group: self.group });
        }
        let (mut sequence, mut previous) = (0, [0; 32]);
        if let Some(head) = self.heads.get_mut(&record.source) {
            if head.group != self.group {
                head.group = self.group;
                self.undo.push((record.source.clone(), Some((head.next, head.last))));
            }
            (sequence, previous) = (head.next, head.last);
            head.next += 1;
        }
        let receipt = Receipt {
            source: record.source.clone(),
            epoch: self.epoch,
            sequence,
            received_at,
            transport: record.transport,
            claimed: record.claimed.map(|claimed| EventTime { at: text::floor(claimed.at), ..claimed }),
            policy: record.policy.clone(),
        };
        (receipt, previous)
    }

    fn roll_back_heads(&mut self) {
        for (source, before) in self.undo.drain(..) {
            match before {
                Some((next, last)) => _ = self.heads.insert(source, Head { next, last, group: 0 }),
                None => _ = self.heads.remove(&source),
            }
        }
    }

    fn write_frame(&self, open: &mut Open, frame: &[u8]) -> Result<(), Error> {
        let wal = &open.wal;
        if let Err(error) = wal.file.append(frame) {
            // Part of the frame may be there. It is cut off, so that the next frame follows the last durable one.
            if let Err(error) = wal.file.truncate(open.end) {
                return Err(self.inner.fail(&wal.path, &error));
            }
            open.cut = true;
            return Err(Error::io("append to", &wal.path, error));
        }
        // After a failed sync the kernel may have dropped our pages and call them clean: trying again would lie. No more is written here.
        wal.file.sync().map_err(|error| self.inner.fail(&wal.path, &error))?;
        open.cut = false;
        open.end += frame.len() as u64;
        open.bytes += frame.len() as u64;
        Ok(())
    }

    /// Notes, unsynced, that everything before was durable, so that damage to the last group is not taken for a torn write.
    fn mark(&mut self) {
        if std::mem::replace(&mut self.marked, true) || self.inner.check_writable().is_err() {
            return;
        }
        let Some(open) = &mut self.open else { return };
        let frame = wal::mark(&open.wal.header, open.end, open.wal.records());
        match open.wal.file.append(&frame) {
            Ok(()) => open.end += frame.len() as u64,
            Err(_) => {
                if let Err(error) = open.wal.file.truncate(open.end) {
                    self.inner.fail(&open.wal.path, &error);
                }
            }
        }
    }

    fn open_segment(&mut self) -> Result<(), Error> {
        if self.open.is_some() {
            return Ok(());
        }
        let mut file_id = [0; 16];
        random(&*self.inner.options.rng, &mut file_id)?;
        let secret = self.inner.new_secret()?;
        let segment = self.next_segment;
        let salts = secret.salts(segment);
        let header = Header { segment, epoch: self.epoch, file_id, secret, records_before: self.records_before };
        let path = self.inner.wal_path(segment);
        let wal = Arc::new(WalSegment::create(&*self.inner.disk, path, header)?);
        self.inner.state.write().unsealed.push_back(wal.clone());
        self.open = Some(Open { wal, salts, end: HEADER_LENGTH as u64, bytes: 0, since: None, cut: false });
        self.marked = true;
        Ok(())
    }

    /// Ends the open segment if it has records and hands it to the sealer.
    pub(crate) fn rotate(&mut self) {
        if self.inner.check_writable().is_err() {
            return;
        }
        let Some(open) = self.open.take_if(|open| open.wal.records() > 0) else { return };
        // A refused group that was cut off could come back with a power cut, behind an end that was told.
        if open.cut
            && let Err(error) = open.wal.file.sync()
        {
            self.inner.fail(&open.wal.path, &error);
            return;
        }
        self.next_segment += 1;
        self.records_before = open.wal.records();
        if self.heads.len() > MAX_SOURCES {
            // A new epoch lets the chains start again, so that memory stays bounded however many source names there are.
            self.heads.clear();
            self.epoch += 1;
        }
        self.inner.closed_segments.fetch_max(self.next_segment, Ordering::Release);
        self.inner.advance(RecordId { segment: self.next_segment, index: 0 });
        self.inner.wake_sealer();
    }
}

/// Tells a caller; a panic of theirs must not take the committer with it.
fn complete(done: Done, outcome: Outcome) {
    if catch_unwind(AssertUnwindSafe(|| done(outcome))).is_err() {
        tracing::error!("a caller's completion panicked");
    }
}

/// Largest record in bytes.
pub const MAX_RECORD: usize = 16 << 20;
const MAX_SOURCE: usize = 4096;
const MAX_POLICY: usize = 256;
/// Largest batch in bytes, receipts included.
const MAX_BATCH: usize = 64 << 20;
/// One group commit takes batches up to this many bytes.
const GROUP_BYTES: usize = 16 << 20;
/// Callers wait when this much is queued.
const QUEUE_BYTES: usize = 64 << 20;
/// Sources in one epoch; with more, a new one begins.
const MAX_SOURCES: usize = 100_000;
/// Without new records for this long, the idle mark is written.
const IDLE: Duration = Duration::from_millis(200);
