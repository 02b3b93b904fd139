//! Reads the record: ledger → decode → OCSF → lake, with detection on the way.
//!
//! The reading follows the ledger's durable end and keeps nothing of its own that a crash could lose: after a restart it goes on at the
//! lake's read position. Events past that position are made again, and findings are known by rule, record and part, so nothing doubles.
mod again;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use parking_lot::Mutex;
use reeve_case::NewFinding;
use reeve_decode::{Decoder, Hint, Parsed};
use reeve_detect::{Correlator, Engine, Evidence, Finding, Hit, Scratch};
use reeve_lake::{Lake, Row, Rows};
use reeve_ledger::{Ledger, StoredRecord};
use reeve_record::{RecordId, Transport};
use reeve_source::Counters;

pub(crate) use again::read_again;

/// Where findings go.
pub(crate) trait Findings: Send + Sync {
    /// Takes findings; one that was taken before changes nothing.
    ///
    /// # Errors
    /// None was taken; they will come again.
    fn take(&self, findings: &[NewFinding]) -> Result<(), String>;
}

impl Findings for reeve_case::Store {
    fn take(&self, findings: &[NewFinding]) -> Result<(), String> {
        reeve_case::Store::take(self, findings).map(drop).map_err(|error| error.to_string())
    }
}

/// How the reading is doing; counts since start.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    records: AtomicU64,
    events: AtomicU64,
    findings: AtomicU64,
    problems: Mutex<BTreeMap<&'static str, u64>>,
    unreadable_segments: AtomicU64,
    position: AtomicU64,
}

/// [`Progress`] at one moment.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct ProgressLine {
    /// Records read.
    pub(crate) records: u64,
    /// Events made of them.
    pub(crate) events: u64,
    /// Findings, repeated ones included.
    pub(crate) findings: u64,
    /// Problems decoders named.
    pub(crate) problems: u64,
    /// The same by their names, as in `netflow.no_template`.
    pub(crate) problems_by_name: BTreeMap<&'static str, u64>,
    /// Segments that could not be read and were passed over.
    pub(crate) unreadable_segments: u64,
    /// The next record to read.
    pub(crate) position: RecordId,
}

impl Progress {
    /// The next record to read.
    pub(crate) fn next(&self) -> RecordId {
        RecordId::unpack(self.position.load(Relaxed))
    }

    pub(crate) fn line(&self) -> ProgressLine {
        let problems_by_name = self.problems.lock().clone();
        ProgressLine {
            records: self.records.load(Relaxed),
            events: self.events.load(Relaxed),
            findings: self.findings.load(Relaxed),
            problems: problems_by_name.values().sum(),
            problems_by_name,
            unreadable_segments: self.unreadable_segments.load(Relaxed),
            position: self.next(),
        }
    }
}

/// The reading of one data folder.
pub(crate) struct Reading {
    ledger: Arc<Ledger>,
    lake: Arc<Lake>,
    engine: Arc<Engine>,
    findings: Arc<dyn Findings>,
    progress: Arc<Progress>,
    shards: Vec<Shard>,
    correlator: Correlator,
    next: RecordId,
    headers: Headers,
    flusher: Flusher,
    /// Where problems are counted by source.
    counters: Option<Arc<Counters>>,
    /// Findings the queue has not taken yet.
    untaken: Vec<NewFinding>,
    failures: u32,
}

impl Reading {
    /// A reading that goes on where the lake's files end. `dir` holds the note of header lines.
    pub(crate) fn new(
        dir: &Path,
        ledger: Arc<Ledger>,
        lake: Arc<Lake>,
        engine: Arc<Engine>,
        findings: Arc<dyn Findings>,
        threads: usize,
    ) -> Self {
        let next = lake.read_through();
        let correlator = engine.correlator();
        let shards = (0..threads.max(1)).map(|_| Shard::new()).collect();
        let progress = Arc::new(Progress::default());
        progress.position.store(next.pack(), Relaxed);
        let mut reading = Self {
            headers: Headers::load(dir.join("headers.json")),
            flusher: Flusher::default(),
            untaken: Vec::new(),
            failures: 0,
            ledger,
            lake,
            engine,
            findings,
            progress,
            shards,
            correlator,
            next,
            counters: None,
        };
        reading.restore_headers();
        reading
    }

    /// The same, with problems counted there by source.
    pub(crate) fn counting(self, counters: Arc<Counters>) -> Self {
        Self { counters: Some(counters), ..self }
    }

    /// The counts, to be shown elsewhere.
    pub(crate) fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// Follows the ledger until `stop` turns true, then reads to the end and writes everything to files. Waits while the disk is `tight`.
    pub(crate) fn run(mut self, stop: &AtomicBool, tight: impl Fn() -> bool) {
        while !stop.load(Relaxed) {
            if tight() {
                std::thread::sleep(TICK);
            } else if !self.round() {
                self.ledger.wait_for(self.next, TICK);
            }
        }
        self.finish();
    }

    /// Reads everything durable and writes it to files.
    pub(crate) fn finish(mut self) {
        let until = Instant::now() + FINISH_PATIENCE;
        // The end is where nothing more is given: the durable end may already name a segment that has no record.
        while Instant::now() < until && self.round() {}
        let mut work = Work::default();
        for shard in &mut self.shards {
            shard.flush(Duration::ZERO, &self.engine, &mut work);
        }
        self.deliver(work);
        self.flusher.wait();
        if let Err(error) = self.write_files() {
            tracing::error!(%error, "the reading could not be written; it will be made again from the record at the next start");
        }
    }

    /// Reads what is durable now, up to a bound; true if there was something.
    fn round(&mut self) -> bool {
        if !self.has_room() {
            std::thread::sleep(TICK);
            return true;
        }
        let end = self.ledger.durable_end();
        let records = match self.ledger.read_from(self.next, ROUND_RECORDS_MAX) {
            Ok(records) => records,
            Err(error) => return self.unreadable(&error),
        };
        self.failures = 0;
        let mut work = Work::default();
        let last = records.last().map(|record| record.id);
        if let Some(last) = last {
            self.read(&records, &mut work);
            self.next = RecordId { index: last.index + 1, ..last };
        } else if end > self.next {
            // A segment ended here: the next record starts another one. Without this the wait below would not wait.
            self.next = end;
        }
        for shard in &mut self.shards {
            shard.flush(SILENCE, &self.engine, &mut work);
        }
        self.progress.records.fetch_add(records.len() as u64, Relaxed);
        self.deliver(work);
        self.progress.position.store(self.next.pack(), Relaxed);
        if self.lake.flush_due() {
            self.flush_behind();
        }
        last.is_some()
    }

    /// Spreads records over the shards: lines of one source stay together and in order, JSON objects stand for themselves.
    fn read(&mut self, records: &[StoredRecord], work: &mut Work) {
        let shards = self.shards.len();
        let mut parts: Vec<Vec<&StoredRecord>> = (0..shards).map(|_| Vec::with_capacity(records.len() / shards + 1)).collect();
        // What Reeve itself notes beside deliveries is about records, and no event.
        let told = records.iter().filter(|record| record.receipt.transport != Transport::Internal);
        for (nth, record) in told.enumerate() {
            let alone = record.raw.first() == Some(&b'{')
                && matches!(record.receipt.transport, Transport::Http | Transport::ElasticBulk | Transport::Delivery);
            let at = if alone { nth / STRETCH % shards } else { shard_of(&record.receipt.source, shards) };
            if let Some(part) = parts.get_mut(at) {
                part.push(record);
            }
        }
        if records.len() < THREADS_WORTH {
            for (shard, part) in self.shards.iter_mut().zip(&parts) {
                shard.read(part, &self.engine, work);
            }
            return;
        }
        let engine = &self.engine;
        let done: Vec<Work> = std::thread::scope(|scope| {
            let reading: Vec<_> = self
                .shards
                .iter_mut()
                .zip(&parts)
                .map(|(shard, part)| {
                    scope.spawn(move || {
                        let mut work = Work::default();
                        shard.read(part, engine, &mut work);
                        work
                    })
                })
                .collect();
            reading.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
        });
        for part in done {
            work.join(part);
        }
    }

    /// Gives findings to the queue and rows to the lake.
    fn deliver(&mut self, mut work: Work) {
        self.progress.events.fetch_add(work.events, Relaxed);
        if !work.misread.is_empty() {
            let mut counts = self.progress.problems.lock();
            for ((source, problem), times) in &work.misread {
                *counts.entry(*problem).or_default() += *times;
                if let Some(counters) = &self.counters {
                    counters.source(source).misread(problem, *times);
                }
            }
        }
        self.headers.note(&mut work.headers);
        for rows in work.rows {
            // Only a stopped lake or an impossible batch: the record holds everything, and the position does not pass a stopped lake.
            if let Err(error) = self.lake.append_rows(rows) {
                tracing::error!(%error, "events could not be added to the lake");
            }
        }
        work.hits.sort_by_key(|(hit, _)| hit.at_ms());
        for (hit, evidence) in &work.hits {
            let (engine, findings) = (&self.engine, &mut work.findings);
            self.correlator.observe(hit, &mut |found| {
                if let Some(rule) = engine.rule_at(found.rule) {
                    let mut piece = evidence.piece.clone();
                    piece.fields = found.fields;
                    findings.push(new_finding(&Finding::from_evidence(rule, vec![piece]), evidence.record, evidence.part));
                }
            });
        }
        self.progress.findings.fetch_add(work.findings.len() as u64, Relaxed);
        self.untaken.append(&mut work.findings);
        self.hand_over();
    }

    /// Gives the queue its findings. While it does not take them the read position stays, so that a restart makes them again.
    fn hand_over(&mut self) -> bool {
        if self.untaken.is_empty() {
            return true;
        }
        match self.findings.take(&self.untaken) {
            Ok(()) => self.untaken.clear(),
            Err(error) => {
                tracing::warn!(%error, waiting = self.untaken.len(), "the alert queue does not take findings; trying again")
            }
        }
        self.untaken.is_empty()
    }

    /// Every record before this one is done with: read, and not waiting in a decoder.
    fn position(&self) -> RecordId {
        if !self.untaken.is_empty() {
            return self.lake.read_through();
        }
        self.shards.iter().filter_map(Shard::oldest_waiting).min().map_or(self.next, |oldest| oldest.min(self.next))
    }

    /// Memory is bounded: if files cannot be written, the reading waits. The ledger goes on.
    fn has_room(&mut self) -> bool {
        if !self.hand_over() && self.untaken.len() > UNTAKEN_MAX {
            return false;
        }
        let hot = self.lake.status().hot_bytes;
        if hot > HOT_BYTES_MAX {
            self.flusher.start(&self.lake, &mut || self.prepared());
        }
        hot <= HOT_BYTES_MAX
    }

    fn flush_behind(&self) {
        self.flusher.start(&self.lake, &mut || self.prepared());
    }

    fn prepared(&self) -> RecordId {
        self.headers.save();
        self.position()
    }

    fn write_files(&self) -> Result<(), reeve_lake::Error> {
        self.headers.save();
        self.lake.flush(self.position()).map(drop)
    }

    /// A damaged segment must not stop the reading of those after it.
    fn unreadable(&mut self, error: &reeve_ledger::Error) -> bool {
        self.failures += 1;
        tracing::error!(%error, position = %self.next, attempt = self.failures, "the record cannot be read here");
        if self.failures < READ_ATTEMPTS || self.next.segment >= self.ledger.durable_end().segment {
            std::thread::sleep(Duration::from_millis(500));
            return false;
        }
        self.progress.unreadable_segments.fetch_add(1, Relaxed);
        self.next = RecordId { segment: self.next.segment + 1, index: 0 };
        self.failures = 0;
        true
    }

    /// Header lines that later lines need were read before the position: they are shown to the decoders again.
    fn restore_headers(&mut self) {
        let shards = self.shards.len();
        for (source, ids) in self.headers.known.clone() {
            let before: Vec<RecordId> = ids.into_iter().filter(|id| *id < self.next).collect();
            let Ok(records) = self.ledger.get_many(&before) else { continue };
            let records: Vec<&StoredRecord> = records.iter().flatten().collect();
            if let Some(shard) = self.shards.get_mut(shard_of(&source, shards)) {
                shard.read(&records, &self.engine, &mut Work::default());
                shard.forget_waiting();
            }
        }
    }
}

/// What a stretch of reading gave.
#[derive(Default)]
struct Work {
    rows: Vec<Rows>,
    findings: Vec<NewFinding>,
    hits: Vec<(Hit, HitEvidence)>,
    headers: Vec<(Arc<str>, RecordId, bool)>,
    events: u64,
    /// Problems by source and name; few events have any.
    misread: HashMap<(Arc<str>, &'static str), u64>,
}

#[derive(Clone)]
struct HitEvidence {
    piece: Evidence,
    record: RecordId,
    part: u32,
}

impl Work {
    fn join(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.findings.extend(other.findings);
        self.hits.extend(other.hits);
        self.headers.extend(other.headers);
        self.events += other.events;
        for (problem, times) in other.misread {
            *self.misread.entry(problem).or_default() += times;
        }
    }
}

/// The sources one thread reads, with what their decoders remember.
struct Shard {
    streams: HashMap<Arc<str>, Stream>,
    /// Sources with records waiting in a decoder.
    waiting: HashSet<Arc<str>>,
    scratch: Scratch,
}

struct Stream {
    decoder: Decoder,
    /// Records fed that no event came of yet.
    waiting: VecDeque<u64>,
    fed_at: Instant,
    waiting_since: Instant,
    received_at: Timestamp,
    /// Whether the decoder holds header lines or templates that later records need.
    has_learned: bool,
}

impl Shard {
    fn new() -> Self {
        Self { streams: HashMap::new(), waiting: HashSet::new(), scratch: Scratch::collecting() }
    }

    fn read(&mut self, records: &[&StoredRecord], engine: &Engine, work: &mut Work) {
        if records.is_empty() {
            return;
        }
        let mut rows = Rows::with_capacity(records.len());
        let now = Instant::now();
        for record in records {
            let source = &record.receipt.source;
            if self.streams.len() > STREAMS_MAX && !self.streams.contains_key(source) {
                self.forget_quiet_streams();
            }
            let stream = self.streams.entry(source.clone()).or_insert_with(|| Stream::new(source, now));
            let mut events = Events {
                engine,
                scratch: &mut self.scratch,
                source,
                received_at: record.receipt.received_at,
                rows: &mut rows,
                work,
            };
            if stream.feed(record, now, &mut events) {
                self.waiting.insert(source.clone());
            }
        }
        if !rows.is_empty() {
            work.rows.push(rows);
        }
    }

    /// Takes what waits in decoders of sources silent for so long, or waiting for too long.
    fn flush(&mut self, silence: Duration, engine: &Engine, work: &mut Work) {
        if self.waiting.is_empty() {
            return;
        }
        let mut rows = Rows::with_capacity(0);
        let (streams, scratch) = (&mut self.streams, &mut self.scratch);
        self.waiting.retain(|source| {
            let Some(stream) = streams.get_mut(source) else { return false };
            if stream.waiting.is_empty() {
                return false;
            }
            if stream.fed_at.elapsed() < silence && stream.waiting_since.elapsed() < silence * 20 {
                return true;
            }
            let received_at = stream.received_at;
            let mut events = Events { engine, scratch, source, received_at, rows: &mut rows, work };
            stream.decoder.flush(&mut |parsed| events.take(&parsed));
            // What still has no event is a header or the like and never will.
            stream.waiting.clear();
            false
        });
        if !rows.is_empty() {
            work.rows.push(rows);
        }
    }

    fn oldest_waiting(&self) -> Option<RecordId> {
        self.waiting.iter().filter_map(|source| self.streams.get(source)?.waiting.front().copied()).min().map(RecordId::unpack)
    }

    fn forget_waiting(&mut self) {
        self.waiting.clear();
        self.streams.values_mut().for_each(|stream| stream.waiting.clear());
    }

    /// Decoders are made anew when needed; those that hold nothing can go.
    fn forget_quiet_streams(&mut self) {
        let recent = self.streams.values().map(|stream| stream.fed_at).max();
        self.streams.retain(|_, stream| {
            let is_recent = recent.is_some_and(|recent| recent.duration_since(stream.fed_at) < SILENCE);
            !stream.waiting.is_empty() || is_recent || stream.has_learned
        });
        if self.streams.len() > STREAMS_MAX {
            self.streams.retain(|_, stream| !stream.waiting.is_empty());
        }
    }
}

impl Stream {
    fn new(source: &str, now: Instant) -> Self {
        Self {
            decoder: Decoder::new(Hint::of_source(source)),
            waiting: VecDeque::new(),
            fed_at: now,
            waiting_since: now,
            received_at: Timestamp::UNIX_EPOCH,
            has_learned: false,
        }
    }

    /// Feeds a record; true if records wait in the decoder afterwards.
    fn feed(&mut self, record: &StoredRecord, now: Instant, events: &mut Events<'_, '_>) -> bool {
        let key = record.id.pack();
        self.fed_at = now;
        self.received_at = record.receipt.received_at;
        let (mut told, waiting, waiting_since) = (false, &mut self.waiting, &mut self.waiting_since);
        self.decoder.feed(key, record.receipt.sequence + 1, &record.raw, record.receipt.received_at, &mut |parsed| {
            told |= parsed.records.contains(&key);
            if !waiting.is_empty() {
                let oldest = waiting.front().copied();
                waiting.retain(|waiting| !parsed.records.contains(waiting));
                if waiting.front().copied() != oldest {
                    *waiting_since = now;
                }
            }
            events.take(&parsed);
        });
        // Templates of flows are to be seen again like header lines, also where the datagram held flows too.
        for (nth, key) in self.decoder.taught_by().into_iter().flatten().enumerate() {
            self.has_learned = true;
            events.work.headers.push((events.source.clone(), RecordId::unpack(key), nth == 0));
        }
        if !told {
            if self.waiting.is_empty() {
                self.waiting_since = now;
            }
            self.waiting.push_back(key);
            if record.raw.first() == Some(&b'#') {
                self.has_learned = true;
                events.work.headers.push((events.source.clone(), record.id, opens_header(&record.raw)));
            }
            if self.waiting.len() > WAITING_MAX {
                self.waiting.pop_front();
            }
        }
        // A header without `#` is known as one when the line after it has come.
        if let Some(header) = self.decoder.header() {
            self.has_learned = true;
            events.work.headers.push((events.source.clone(), RecordId::unpack(header), true));
        }
        !self.waiting.is_empty()
    }
}

/// Whether a `#` line is the first of a header: Zeek's, or that of a log in W3C's extended format.
fn opens_header(line: &[u8]) -> bool {
    line.starts_with(b"#separator") || line.starts_with(b"#Software:")
}

/// Turns what a decoder tells into rows and findings.
struct Events<'e, 's> {
    engine: &'e Engine,
    scratch: &'s mut Scratch,
    source: &'s Arc<str>,
    received_at: Timestamp,
    rows: &'s mut Rows,
    work: &'s mut Work,
}

impl Events<'_, '_> {
    fn take(&mut self, parsed: &Parsed<'_>) {
        let records: Vec<RecordId> = parsed.records.iter().map(|key| RecordId::unpack(*key)).collect();
        let first = records.first().copied().unwrap_or_default();
        let event = reeve_ocsf::map(parsed);
        self.rows.push(&Row {
            records: &records,
            part: parsed.part,
            received_at: self.received_at,
            source: self.source,
            parsed,
            event: &event,
        });
        self.work.events += 1;
        for problem in &parsed.problems {
            *self.work.misread.entry((self.source.clone(), problem.code)).or_default() += 1;
        }
        let (source, work) = (self.source, &mut *self.work);
        self.engine.evaluate(parsed, self.scratch, &mut |matched| {
            let evidence = |fields| Evidence::new(parsed, source, first.to_string().into(), fields);
            if matched.reports {
                let finding = Finding::from_evidence(matched.rule, vec![evidence(matched.fields.clone())]);
                work.findings.push(new_finding(&finding, first, parsed.part));
            }
            if !matched.hits.is_empty() {
                let piece = HitEvidence { piece: evidence(matched.fields), record: first, part: parsed.part };
                work.hits.extend(matched.hits.into_iter().map(|hit| (hit, piece.clone())));
            }
        });
    }
}

fn new_finding(finding: &Finding, record: RecordId, part: u32) -> NewFinding {
    let mut techniques: Vec<serde_json::Value> = Vec::new();
    for (uid, name, _) in finding.attacks() {
        let technique = serde_json::json!({ "uid": uid, "name": name });
        if !uid.is_empty() && !techniques.contains(&technique) {
            techniques.push(technique);
        }
    }
    let user = finding.evidence.iter().find_map(|piece| piece.user.clone()).unwrap_or_default();
    NewFinding {
        rule_uid: finding.rule_id.clone(),
        title: finding.title.clone(),
        level: finding.level.name().to_owned(),
        host: finding.host().unwrap_or_default().to_owned(),
        user,
        at: finding.at,
        record,
        part,
        techniques: techniques.into(),
        finding: finding.to_ocsf(),
    }
}

/// Header lines by source: what a decoder must see again before it can read on in the middle of a stream.
struct Headers {
    path: PathBuf,
    known: HashMap<Arc<str>, Vec<RecordId>>,
    changed: AtomicBool,
}

impl Headers {
    fn load(path: PathBuf) -> Self {
        let known = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { path, known, changed: AtomicBool::new(false) }
    }

    fn note(&mut self, seen: &mut Vec<(Arc<str>, RecordId, bool)>) {
        for (source, id, starts) in seen.drain(..) {
            if self.known.len() >= STREAMS_MAX && !self.known.contains_key(&source) {
                self.known.clear();
            }
            let ids = self.known.entry(source).or_default();
            if starts || ids.len() >= HEADER_LINES_MAX {
                ids.clear();
            }
            if ids.last() != Some(&id) {
                ids.push(id);
            }
            self.changed.store(true, Relaxed);
        }
    }

    /// Written before the read position moves past the lines. Derived: if it cannot be written, rows after a restart are read as text.
    fn save(&self) {
        if !self.changed.swap(false, Relaxed) {
            return;
        }
        let part = self.path.with_extension("part");
        let write = serde_json::to_vec(&self.known)
            .map_err(std::io::Error::other)
            .and_then(|text| std::fs::write(&part, text))
            .and_then(|()| std::fs::rename(&part, &self.path));
        if let Err(error) = write {
            tracing::warn!(path = %self.path.display(), %error, "cannot note header lines");
        }
    }
}

/// Writes files on a thread of its own, one flush at a time, so that reading goes on.
#[derive(Default)]
struct Flusher {
    running: Arc<AtomicBool>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    failed_at: Arc<Mutex<Option<Instant>>>,
}

impl Flusher {
    /// Starts a flush unless one runs or has just failed; `position` is asked for only if it does.
    fn start(&self, lake: &Arc<Lake>, position: &mut dyn FnMut() -> RecordId) {
        let resting = self.failed_at.lock().is_some_and(|at| at.elapsed() < FLUSH_REST);
        if resting || self.running.swap(true, Relaxed) {
            return;
        }
        let through = position();
        let (lake, running, failed_at) = (lake.clone(), self.running.clone(), self.failed_at.clone());
        let flush = move || {
            let result = lake.flush(through);
            *failed_at.lock() = result.is_err().then(Instant::now);
            if let Err(error) = result {
                tracing::error!(%error, "events could not be written to files; they stay searchable in memory, trying again");
            }
            running.store(false, Relaxed);
        };
        match std::thread::Builder::new().name("lake-flush".to_owned()).spawn(flush) {
            Ok(thread) => *self.thread.lock() = Some(thread),
            Err(error) => {
                self.running.store(false, Relaxed);
                tracing::error!(%error, "cannot start a thread to write files");
            }
        }
    }

    fn wait(&self) {
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

fn shard_of(source: &str, shards: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    (hasher.finish() % shards.max(1) as u64) as usize
}

const TICK: Duration = Duration::from_millis(100);
/// After so much silence a decoder gives out what it holds.
const SILENCE: Duration = Duration::from_millis(500);
const ROUND_RECORDS_MAX: usize = 16_384;
/// Fewer records than this are read on one thread.
const THREADS_WORTH: usize = 512;
/// JSON records are dealt to threads in stretches of this many.
const STRETCH: usize = 256;
const STREAMS_MAX: usize = 4096;
const WAITING_MAX: usize = 100_000;
/// As many as a decoder names at most ([`Decoder::taught_by`]).
const HEADER_LINES_MAX: usize = 64;
const HOT_BYTES_MAX: usize = 384 << 20;
const FLUSH_REST: Duration = Duration::from_secs(2);
/// With more findings waiting for the queue the reading waits too.
const UNTAKEN_MAX: usize = 20_000;
const READ_ATTEMPTS: u32 = 5;
/// How long a stop waits for the reading to catch up; what is left is read at the next start.
const FINISH_PATIENCE: Duration = Duration::from_secs(20);
