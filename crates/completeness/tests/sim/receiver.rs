//! The server's side of a run: a ledger and its numbered sources on a machine that fails, behind the network.
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use reeve_completeness::{Append, Error, Head, Numbered, NumberedOptions, Receipt, SourceKey};
use reeve_ledger::{Answer, Attested, Ledger, NewRecord, Options, Turns, VerifierKey};
use reeve_record::RecordId;
use serde_json::json;

use crate::{
    disk::{Faults, SimDisk},
    net::{Message, Serve},
    random::{Random, SimClock, SimRng},
};

/// An open ledger with its sources.
pub struct Running {
    pub ledger: Arc<Ledger>,
    pub turns: Arc<Mutex<Turns>>,
    pub numbered: Numbered,
}

/// A delivery the server said yes to: its head, and whether it was there before.
pub type Taken = (Head, bool);

pub struct Receiver {
    pub disk: SimDisk,
    pub clock: Arc<SimClock>,
    options: Options,
    sources: Vec<VerifierKey>,
    running: Mutex<Option<Arc<Running>>>,
    taken: Mutex<Vec<Taken>>,
}

impl Receiver {
    pub fn new(random: &mut Random, sources: Vec<VerifierKey>, loud: bool) -> Self {
        let disk = SimDisk::new(random.next(), Path::new(ROOT), loud);
        let clock = Arc::new(SimClock::new());
        let options = Options {
            segment_records: 6 + random.below(40) as u32,
            segment_bytes: 3000 + random.below(30_000),
            seal_after: Duration::from_secs(1 + random.below(60)),
            epoch: random.chance(1, 2).then(|| Duration::from_secs(20 + random.below(200))),
            disk: Arc::new(disk.clone()),
            clock: clock.clone(),
            rng: Arc::new(SimRng::new(random.next())),
            ..Options::new("reeve.example/record")
        };
        Self { disk, clock, options, sources, running: Mutex::default(), taken: Mutex::default() }
    }

    pub fn running(&self) -> Option<Arc<Running>> {
        self.locked().clone()
    }

    /// Every delivery it said yes to.
    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    /// The process ends: killed, or with the machine.
    pub fn stop(&self, power_fails: bool, faults: Faults) {
        *self.locked() = None;
        if power_fails {
            self.disk.cut_power()
        } else {
            self.disk.kill()
        }
        self.disk.set_faults(faults);
    }

    /// Opens the ledger and takes up what it knows of its sources.
    pub fn start(&self) -> Result<(), String> {
        let opened = Ledger::open_in_turns(Path::new(&ledger_dir()), self.options.clone());
        let (ledger, turns) = opened.map_err(|error| error.to_string())?;
        let (ledger, turns) = (Arc::new(ledger), Arc::new(Mutex::new(turns)));
        let sources = self.sources.iter().map(|key| SourceKey { key: key.clone(), heartbeat: None }).collect();
        let copy = Path::new(ROOT).join("reeve/deliveries.json");
        let options = NumberedOptions { copy, sources, noticed: Box::new(|_, _| ()) };
        let numbered =
            Numbered::open_with(ledger.clone(), options, in_turns(turns.clone())).map_err(|error| error.to_string())?;
        *self.locked() = Some(Arc::new(Running { ledger, turns, numbered }));
        Ok(())
    }

    fn locked(&self) -> MutexGuard<'_, Option<Arc<Running>>> {
        self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn deliver(&self, message: &Message) -> Option<Result<Answer, Error>> {
        let running = self.running()?;
        let note = String::from_utf8(STANDARD.decode(message.header("Reeve-Delivery")?).ok()?).ok()?;
        let source = message.url.rsplit("/ingest/").next()?.replace("%2F", "/");
        let outcome = running.numbered.deliver(&source, &note, &message.body.clone().into());
        let key = self.sources.iter().find(|key| key.name() == source)?;
        Some(outcome.map(|outcome| {
            if let Ok(head) = Head::open(&note, key) {
                self.taken.lock().unwrap().push((head, outcome.duplicate));
            }
            let receipt = outcome.receipt.as_ref().ok();
            let problem = outcome.receipt.as_ref().err();
            let body = json!({
                "accepted": outcome.accepted, "duplicate": outcome.duplicate, "receipt": receipt, "receipt_problem": problem,
            });
            answer(200, &body)
        }))
    }
}

/// Appends by turns: nothing happens by itself.
fn in_turns(turns: Arc<Mutex<Turns>>) -> Append {
    Box::new(move |ledger: &Ledger, batch: Vec<NewRecord>| {
        let outcome = Arc::new(Mutex::new(None));
        let told = outcome.clone();
        ledger.submit_with(batch, move |said| *told.lock().unwrap() = Some(said));
        let mut turns = turns.lock().unwrap();
        for _ in 0..TURNS_MAX {
            if let Some(said) = outcome.lock().unwrap().take() {
                return said;
            }
            if !turns.commit() {
                turns.seal();
            }
        }
        panic!("the ledger neither takes nor refuses a batch: {:?}", ledger.status());
    })
}

impl Serve for Receiver {
    fn serve(&self, message: &Message) -> Option<Answer> {
        let refused = |error: Error| {
            let status = match error {
                Error::Malformed(_) => 400,
                Error::NotThisSource(_) => 403,
                Error::Contradiction { .. } | Error::TooManyGaps | Error::EpochOver { .. } => 409,
                Error::Ledger(_) | Error::Copy { .. } => 503,
            };
            answer(status, &json!({ "error": { "code": error.code(), "message": error.to_string() } }))
        };
        let said = self.deliver(message)?.unwrap_or_else(refused);
        // Whoever is dead says nothing more.
        (!self.disk.is_dead()).then_some(said)
    }

    fn pretend(&self, message: &Message) -> Option<Answer> {
        let running = self.running()?;
        let note = String::from_utf8(STANDARD.decode(message.header("Reeve-Delivery")?).ok()?).ok()?;
        let head = self.sources.iter().find_map(|key| Head::open(&note, key).ok())?;
        let receipt = Receipt {
            source: head.source.clone(),
            epoch: head.epoch,
            first: head.first,
            count: head.count,
            delivery: head.hash(),
            body_bytes: head.body_bytes,
            body_hash: head.body_hash,
            head: RecordId::default(),
            received: running.ledger.now(),
        };
        let receipt = running.ledger.attest(Attested::Receipt, &receipt.to_lines()).ok()?;
        Some(answer(200, &json!({ "accepted": head.count, "duplicate": false, "receipt": receipt })))
    }
}

fn answer(status: u16, body: &serde_json::Value) -> Answer {
    Answer { status, content_type: "application/json".into(), body: body.to_string().into_bytes() }
}

/// The folder of the ledger.
pub fn ledger_dir() -> PathBuf {
    Path::new(ROOT).join("reeve/ledger")
}

const ROOT: &str = "/srv";
const TURNS_MAX: u32 = 1000;
