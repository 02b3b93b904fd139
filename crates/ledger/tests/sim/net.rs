//! A network in memory with the faults real ones have, all drawn from the run's seed: messages are lost, answers are lost, either comes late, twice, out of
//! order or cut short, servers are cut off, and something in between may give an answer of before to another question.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use reeve_ledger::{Answer, Net, Request};

use crate::random::Random;

/// How the network misbehaves. Chances are in 1,000 for each request.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetFaults {
    /// The request, its answer, or both are lost, cut short, late, doubled, or answered with what was said before.
    pub fails: u64,
    /// Canary: an answer of before comes as if it were fresh, signed with the server's own keys, to a request the server never sees.
    pub stale_passes_as_fresh: bool,
}

/// Somebody who answers.
pub trait Serve: Send + Sync {
    /// The answer to a request; `None` if nobody is there at the moment.
    fn serve(&self, message: &Message) -> Option<Answer>;

    /// What it would say to the request had it done what it says: for the canary.
    fn pretend(&self, message: &Message) -> Option<Answer>;
}

/// A request under way.
#[derive(Clone, Debug)]
pub struct Message {
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message {
    /// The value of a header.
    #[allow(dead_code, reason = "witnesses and authorities look at none")]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }
}

struct Wire {
    random: Random,
    faults: NetFaults,
    servers: BTreeMap<String, Arc<dyn Serve>>,
    /// Servers that cannot be reached.
    cut: BTreeSet<String>,
    /// Requests that have not arrived yet.
    late: Vec<Message>,
    /// The last answers of each server.
    said: BTreeMap<String, Vec<Answer>>,
    exchanges: u64,
    faulty: u64,
    digest: u64,
    loud: bool,
    log: Vec<String>,
}

#[derive(Clone)]
pub struct SimNet(Arc<Mutex<Wire>>);

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Arrives,
    RequestLost,
    AnswerLost,
    /// It arrives later, when whoever asked has given up.
    Late,
    Twice,
    /// It arrives, and an answer of before comes back.
    Stale,
    /// An answer of before comes back, and it does not arrive.
    StaleInstead,
    /// The connection is cut within the answer, which some clients take for its end.
    CutShort,
}

impl Fate {
    const FAULTS: [Fate; 7] =
        [Fate::RequestLost, Fate::AnswerLost, Fate::Late, Fate::Twice, Fate::Stale, Fate::StaleInstead, Fate::CutShort];
}

impl SimNet {
    pub fn new(seed: u64, faults: NetFaults, loud: bool) -> Self {
        Self(Arc::new(Mutex::new(Wire {
            random: Random::new(seed),
            faults,
            servers: BTreeMap::new(),
            cut: BTreeSet::new(),
            late: Vec::new(),
            said: BTreeMap::new(),
            exchanges: 0,
            faulty: 0,
            digest: 0,
            loud,
            log: Vec::new(),
        })))
    }

    /// Somebody answers at all addresses that begin so.
    pub fn attach(&self, prefix: &str, server: Arc<dyn Serve>) {
        self.wire().servers.insert(prefix.into(), server);
    }

    /// A server is cut off, or can be reached again.
    pub fn cut(&self, prefix: &str, cut: bool) {
        let mut wire = self.wire();
        wire.note(|| format!("---- {prefix} {}", if cut { "is cut off" } else { "can be reached" }));
        if cut {
            wire.cut.insert(prefix.into())
        } else {
            wire.cut.remove(prefix)
        };
    }

    /// From now on everything arrives, once and in order. What was late is gone.
    pub fn heal(&self) {
        let mut wire = self.wire();
        wire.faults.fails = 0;
        wire.cut.clear();
        wire.late.clear();
    }

    /// Some of the late requests arrive, in any order. Nobody waits for their answers.
    pub fn deliver_late(&self) {
        loop {
            let message = {
                let mut wire = self.wire();
                let late = wire.late.len() as u64;
                if late == 0 || wire.random.chance(1, late + 1) {
                    return;
                }
                let at = wire.random.below(late) as usize;
                let message = wire.late.swap_remove(at);
                wire.note(|| format!("      a late request arrives at {}", message.url));
                message
            };
            self.serve(&message);
        }
    }

    /// Requests, and of those how many met a fault.
    pub fn counted(&self) -> (u64, u64) {
        let wire = self.wire();
        (wire.exchanges, wire.faulty)
    }

    pub fn digest(&self) -> u64 {
        self.wire().digest
    }

    pub fn log(&self) -> Vec<String> {
        self.wire().log.clone()
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The request arrives; what the server says is kept, to be said again.
    fn serve(&self, message: &Message) -> Option<Answer> {
        let (prefix, server) = self.wire().server(&message.url)?;
        let answer = server.serve(message);
        if let Some(answer) = &answer {
            let mut wire = self.wire();
            let said = wire.said.entry(prefix).or_default();
            said.push(answer.clone());
            if said.len() > SAID_MAX {
                said.remove(0);
            }
        }
        answer
    }

    fn pretend(&self, message: &Message) -> Option<Answer> {
        let (_, server) = self.wire().server(&message.url)?;
        server.pretend(message)
    }

    /// An answer of before, by whoever it was asked.
    fn stale(&self, message: &Message) -> Option<Answer> {
        if self.wire().faults.stale_passes_as_fresh {
            return self.pretend(message);
        }
        let mut wire = self.wire();
        let (prefix, _) = wire.server(&message.url)?;
        let said = wire.said.get(&prefix)?.clone();
        let at = wire.random.below(said.len() as u64) as usize;
        said.get(at).cloned()
    }

    fn exchange(&self, message: &Message, fate: Fate) -> Option<Answer> {
        match fate {
            Fate::Arrives => self.serve(message),
            Fate::RequestLost => None,
            Fate::AnswerLost => self.serve(message).and(None),
            Fate::Late => {
                self.wire().late.push(message.clone());
                None
            }
            Fate::Twice => {
                let first = self.serve(message);
                let second = self.serve(message);
                if self.wire().random.chance(1, 2) { first } else { second }
            }
            Fate::Stale => {
                let stale = self.stale(message);
                self.serve(message).and(stale)
            }
            Fate::StaleInstead => self.stale(message),
            Fate::CutShort => self.serve(message).map(|mut answer| {
                let length = self.wire().random.below(answer.body.len() as u64 + 1) as usize;
                answer.body.truncate(length);
                answer
            }),
        }
    }
}

impl Wire {
    fn note(&mut self, line: impl FnOnce() -> String) {
        if self.loud {
            let line = line();
            self.log.push(line);
        }
    }

    fn fold(&mut self, bytes: &[u8]) {
        let crc = u64::from(crc32fast::hash(bytes));
        self.digest = (self.digest ^ crc).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
    }

    /// Who answers at `url`, unless cut off.
    fn server(&self, url: &str) -> Option<(String, Arc<dyn Serve>)> {
        let (prefix, server) = self.servers.iter().find(|(prefix, _)| url.starts_with(prefix.as_str()))?;
        (!self.cut.contains(prefix)).then(|| (prefix.clone(), server.clone()))
    }

    fn fate(&mut self) -> Fate {
        self.exchanges += 1;
        let fails = self.faults.fails;
        if !self.random.chance(fails, 1000) {
            return Fate::Arrives;
        }
        self.faulty += 1;
        Fate::FAULTS[self.random.below(Fate::FAULTS.len() as u64) as usize]
    }
}

impl Net for SimNet {
    fn post(&self, request: &Request<'_>) -> Result<Answer, String> {
        let headers = request.headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let message = Message { url: request.url.into(), headers: headers.collect(), body: request.body.into() };
        let fate = self.wire().fate();
        let answer = self.exchange(&message, fate);
        let mut wire = self.wire();
        wire.fold(&message.body);
        wire.fold(answer.as_ref().map_or(b"nothing", |answer| &answer.body));
        wire.note(|| {
            let said = answer.as_ref().map_or("no answer".into(), |answer| format!("{} {}", answer.status, answer.body.len()));
            format!("      NET {fate:?} {} -> {said}", message.url)
        });
        answer.ok_or_else(|| format!("no answer from `{}`: the network", message.url))
    }
}

/// Answers that may come again.
const SAID_MAX: usize = 8;
