//! Those outside who keep the log honest: witnesses that cosign it, authorities that time-stamp it. Each has a thread of its own; the log only
//! tells them what it published and asks whether it may sign. Nothing that is acknowledged waits here.
mod der; // as much of DER as a time-stamp needs
pub(crate) mod stamp; // RFC 3161
pub(crate) mod witness; // C2SP tlog-witness

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use parking_lot::{Condvar, Mutex};
use serde::Serialize;

pub use self::witness::Asked;
use self::{stamp::StampWork, witness::Witness};
use crate::{
    Clock, Disk, Error, Net, Policy, Rng, TimeStamper,
    disk::{read_all, write_durably},
    main_log::open_checkpoint,
    note::{Checkpoint, VerifierKey},
    text,
};

/// What the threads work with.
pub(crate) struct Outside {
    pub(crate) log: PathBuf,
    pub(crate) origin: String,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) net: Arc<dyn Net>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) policy: Option<Policy>,
    pub(crate) stampers: Vec<TimeStamper>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// The newest published checkpoint; before there is one, an empty one that only asks.
    latest: Option<(Checkpoint, String)>,
    round: Option<Round>,
    witnesses: Vec<Witness>,
    cosigned: Option<(Checkpoint, String)>,
    /// Why the newest cosigned checkpoint could not be written.
    cosigned_problem: Option<String>,
    ahead: Option<Ahead>,
    stamps: StampWork,
}

/// One checkpoint that all witnesses are asked to cosign. They work on the same one, so that a quorum comes together however fast the log grows.
struct Round {
    number: u64,
    checkpoint: Checkpoint,
    note: String,
    /// Cosignature lines, by place of the witness.
    lines: Vec<Option<String>>,
    complete: bool,
}

/// A witness saw a log that ours does not continue.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Ahead {
    witness: String,
    size: u64,
    at: Timestamp,
}

/// How one witness is doing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct WitnessStatus {
    /// Its name in the policy.
    pub name: String,
    /// Where it is asked; `None`: it is not.
    pub url: Option<String>,
    /// Size of the latest checkpoint it cosigned since the ledger was opened.
    pub cosigned_size: Option<u64>,
    /// The time in that cosignature.
    pub cosigned_at: Option<Timestamp>,
    /// Why the latest attempt failed, if it did.
    pub last_error: Option<String>,
}

/// How one time-stamping authority is doing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct StampStatus {
    /// Its name.
    pub name: String,
    /// The epoch whose first checkpoint it stamped last.
    pub epoch: Option<u64>,
    /// The time in that stamp.
    pub at: Option<Timestamp>,
    /// Why the latest attempt failed, if it did.
    pub last_error: Option<String>,
}

impl Outside {
    /// Reads what earlier openings learned.
    pub(crate) fn open(options: OutsideOptions, key: &VerifierKey) -> Result<Self, Error> {
        let OutsideOptions { log, disk, net, clock, rng, policy, stampers } = options;
        let policy = settle_policy(&*disk, &log, policy, key)?;
        let path = log.join("cosigned");
        let cosigned = match read_all(&*disk, &path, 1 << 16) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("read", &path, error)),
            // A damaged one is replaced by the next; verify names it.
            Ok(bytes) => open_checkpoint(&path, bytes, key).ok(),
        };
        let ahead = read_ahead(&*disk, &log, key.name())?;
        let witnesses = policy.iter().flat_map(Policy::witnesses).map(|_| Witness::default()).collect();
        let state = Mutex::new(State { cosigned, ahead, witnesses, ..State::default() });
        let origin = key.name().to_owned();
        Ok(Self { log, origin, disk, net, clock, rng, policy, stampers, state, changed: Condvar::new() })
    }

    /// What is shown first: the stored checkpoint, or an empty one; and which epoch goes on.
    pub(crate) fn begin(&self, first: (Checkpoint, String), epoch: Option<u64>) {
        // Without a note the epoch is not stamped at all: a crash came before it, or nobody was asked until now. Then the newest one stands for it.
        let newest = (first.0.size > 0).then(|| first.1.clone());
        let going_on = epoch.filter(|_| !self.stampers.is_empty());
        let kept = going_on.and_then(|epoch| self.kept_note(epoch).or_else(|| Some((epoch, newest?))));
        let mut state = self.state.lock();
        state.latest = Some(first);
        state.stamps.begin(self.stampers.len(), kept);
    }

    /// Starts the threads. They are not waited for at the end: they hold neither lock nor key, and after [`Outside::close`] write nothing.
    pub(crate) fn start(self: &Arc<Self>) -> Result<(), Error> {
        let mut threads: Vec<(String, Box<dyn FnOnce() + Send>)> = Vec::new();
        for (place, witness) in self.policy.iter().flat_map(Policy::witnesses).enumerate() {
            if witness.url.is_some() {
                let outside = self.clone();
                threads.push((format!("witness-{place}"), Box::new(move || outside.run_witness(place))));
            }
        }
        if !self.stampers.is_empty() {
            let outside = self.clone();
            threads.push(("time-stamps".into(), Box::new(move || outside.run_stamps())));
        }
        for (name, body) in threads {
            let spawned = std::thread::Builder::new().name(name).spawn(body);
            spawned.map_err(|error| Error::io("start a thread for", &self.log, error))?;
        }
        Ok(())
    }

    /// Ends the threads; what they learn from now on is dropped.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits until each witness that can be asked has answered once, `patience` is over, or the ledger is closed.
    pub(crate) fn wait_asked(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.state.lock();
        let asked = |state: &State| {
            let urls = self.policy.iter().flat_map(Policy::witnesses).map(|witness| witness.url.is_some());
            urls.zip(&state.witnesses).all(|(has_url, witness)| !has_url || witness.answered)
        };
        while !state.closed && !asked(&state) {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                tracing::warn!(
                    origin = self.origin,
                    "not all witnesses answered, so an old copy of this log might go unnoticed until they do"
                );
                return;
            }
        }
    }

    /// Whether a log of `have` entries may sign, where a fork permits to pass over `forgiven`.
    pub(crate) fn may_sign(&self, have: u64, forgiven: u64) -> Result<(), Error> {
        match &self.state.lock().ahead {
            Some(ahead) if ahead.size > forgiven => {
                Err(Error::RolledBack { witness: ahead.witness.clone(), told: ahead.size, have })
            }
            _ => Ok(()),
        }
    }

    /// The largest size a witness told that ours does not continue; 0 if there is none.
    pub(crate) fn told(&self) -> u64 {
        self.state.lock().ahead.as_ref().map_or(0, |ahead| ahead.size)
    }

    /// A checkpoint is durable, with the number of the epoch if one began with it.
    pub(crate) fn published(&self, checkpoint: &Checkpoint, note: &str, begun: Option<u64>) {
        let mut state = self.state.lock();
        state.latest = Some((checkpoint.clone(), note.into()));
        if let Some(epoch) = begun {
            state.stamps.wanted = Some((epoch, note.into()));
        }
        if self.policy.as_ref().is_some_and(|policy| policy.is_met(&[])) {
            self.keep_cosigned(&mut state, checkpoint, note.into());
        }
        self.changed.notify_all();
    }

    /// The newest checkpoint that reached the quorum.
    pub(crate) fn cosigned(&self) -> Option<Checkpoint> {
        self.state.lock().cosigned.as_ref().map(|(checkpoint, _)| checkpoint.clone())
    }

    /// Each witness of the policy, and why the newest cosigned checkpoint could not be written, if it could not.
    pub(crate) fn witness_status(&self) -> (Vec<WitnessStatus>, Option<String>) {
        let state = self.state.lock();
        let known = self.policy.iter().flat_map(Policy::witnesses).zip(&state.witnesses);
        let status = known.map(|(witness, how)| WitnessStatus {
            name: witness.name.clone(),
            url: witness.url.clone(),
            cosigned_size: how.cosigned.map(|(size, _)| size),
            cosigned_at: how.cosigned.map(|(_, at)| at),
            last_error: how.last_error.clone(),
        });
        (status.collect(), state.cosigned_problem.clone())
    }

    pub(crate) fn stamp_status(&self) -> Vec<StampStatus> {
        self.state.lock().stamps.status(&self.stampers)
    }

    /// Keeps a checkpoint that reached the quorum, unless a newer one did before.
    fn keep_cosigned(&self, state: &mut State, checkpoint: &Checkpoint, note: String) {
        if state.closed
            || state.cosigned.as_ref().is_some_and(|(have, _)| (have.size, have.at) > (checkpoint.size, checkpoint.at))
        {
            return;
        }
        // A crash before this is durable leaves an older one: the records in between are shown as not cosigned until the next round.
        let path = self.log.join("cosigned");
        match write_durably(&*self.disk, &path, note.as_bytes(), false) {
            Ok(()) => {
                state.cosigned = Some((checkpoint.clone(), note));
                state.cosigned_problem = None;
            }
            Err(error) => state.cosigned_problem = Some(Error::io("write", &path, error).to_string()),
        }
    }

    /// A witness saw a log of `size` entries that ours does not continue. Noted for good, so that a restart without network knows it too.
    fn note_ahead(&self, state: &mut State, witness: &str, size: u64) {
        if state.closed || state.ahead.as_ref().is_some_and(|ahead| ahead.size >= size) {
            return;
        }
        let ahead = Ahead { witness: witness.into(), size, at: text::floor(self.clock.now()) };
        tracing::error!(witness, size, "a witness saw a log that this one does not continue: nothing more is signed");
        let content = format!("{AHEAD}\norigin {}\nwitness {witness}\nsize {size}\nat {}\n", self.origin, text::time(ahead.at));
        // Stopped in memory even if the disk refuses: then a restart asks the witnesses again.
        state.ahead = Some(ahead);
        if let Err(error) = write_durably(&*self.disk, &self.log.join("ahead"), content.as_bytes(), false) {
            tracing::error!(%error, "that could not be noted on disk");
        }
    }
}

/// What [`Outside::open`] needs.
pub(crate) struct OutsideOptions {
    pub(crate) log: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) net: Arc<dyn Net>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) policy: Option<Policy>,
    pub(crate) stampers: Vec<TimeStamper>,
}

/// The policy given, kept for later openings; or else the one kept.
fn settle_policy(
    disk: &dyn Disk,
    log: &std::path::Path,
    given: Option<Policy>,
    key: &VerifierKey,
) -> Result<Option<Policy>, Error> {
    let path = log.join("policy");
    let place = || path.display().to_string();
    let kept = match read_all(disk, &path, 1 << 16) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io("read", &path, error)),
        Ok(bytes) => {
            Some(String::from_utf8(bytes).map_err(|_| Error::Policy { place: place(), reason: "it is not UTF-8".into() })?)
        }
    };
    let Some(policy) = given else {
        let at = |error| match error {
            Error::Policy { place: line, reason } => Error::Policy { place: format!("{}, {line}", place()), reason },
            other => other,
        };
        return kept.map(|text| text.parse().map_err(at)).transpose();
    };
    if !policy.accepts(key) {
        let reason = format!("it lists logs, and not this one's key `{key}`");
        return Err(Error::Policy { place: key.name().into(), reason });
    }
    if kept.as_deref() != Some(policy.text()) {
        write_durably(disk, &path, policy.text().as_bytes(), false).map_err(|error| Error::io("write", &path, error))?;
    }
    Ok(Some(policy))
}

fn read_ahead(disk: &dyn Disk, log: &std::path::Path, origin: &str) -> Result<Option<Ahead>, Error> {
    let path = log.join("ahead");
    let bytes = match read_all(disk, &path, 1 << 16) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| Error::io("read", &path, error))?,
    };
    let parse = || {
        let text = std::str::from_utf8(&bytes).ok()?;
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let mut field = |name: &str| lines.next()?.strip_prefix(name);
        field(AHEAD).filter(|rest| rest.is_empty())?;
        field("origin ").filter(|name| *name == origin)?;
        let witness = field("witness ")?.to_owned();
        Some(Ahead { witness, size: text::number(field("size ")?)?, at: text::parse_time(field("at ")?)? })
    };
    // Unreadable is not taken for absent: it was written because something was wrong.
    let damaged = || Ahead { witness: "unknown, its note is damaged".into(), size: u64::MAX, at: Timestamp::UNIX_EPOCH };
    Ok(Some(parse().unwrap_or_else(damaged)))
}

const AHEAD: &str = "reeve-ahead/v1";
