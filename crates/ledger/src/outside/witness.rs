//! Asking a witness for its cosignature: C2SP tlog-witness, `add-checkpoint`.
use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{Outside, Round, State};
use crate::{
    Answer, Error, PolicyWitness, Request,
    main_log::root_of,
    note::Checkpoint,
    text,
    tree::{consistency_path, is_consistent},
};

/// What is known of a witness since the ledger was opened.
#[derive(Default)]
pub(super) struct Witness {
    /// Size it said it has; asked for with the first request.
    size: u64,
    pub(super) cosigned: Option<(u64, Timestamp)>,
    pub(super) last_error: Option<String>,
    /// Whether it ever answered.
    pub(super) answered: bool,
    /// Round it was done with last, well or not.
    round: u64,
    /// When to ask again after a failure, by [`Clock::elapsed`](crate::Clock::elapsed).
    retry: Option<Duration>,
    pause: Duration,
}

/// One checkpoint to be cosigned by one witness.
struct Job {
    round: u64,
    checkpoint: Checkpoint,
    note: String,
    /// Size the witness is thought to have.
    known: u64,
}

/// What came of asking.
enum Outcome {
    /// It cosigned, with this line, at this time.
    Cosigned(String, u64),
    /// It has another size.
    Size(u64),
    /// It saw another tree of the size that was proven from.
    OtherTree,
    Failed(String),
}

/// A witness was asked; what it said is not taken in yet.
pub struct Asked {
    outside: Arc<Outside>,
    place: usize,
    job: Job,
    /// Size that was proven from.
    known: u64,
    outcome: Outcome,
}

impl Asked {
    /// Takes in what it said. Once the ledger is closed that is nothing any more.
    pub fn take_in(self) {
        self.outside.take_outcome(self.place, &self.job, self.known, self.outcome);
    }
}

impl Outside {
    pub(super) fn run_witness(self: &Arc<Self>, place: usize) {
        while let Some(job) = self.next_job(place) {
            if let Some(asked) = self.ask_for(place, job) {
                asked.take_in();
            }
        }
    }

    /// Asks the witness at this place, if there is something to ask it and it is due.
    pub(crate) fn ask_in_turn(self: &Arc<Self>, place: usize) -> Option<Asked> {
        let job = self.ready_job(&mut self.state.lock(), place)?;
        self.ask_for(place, job)
    }

    fn ask_for(self: &Arc<Self>, place: usize, job: Job) -> Option<Asked> {
        let witness = self.policy.as_ref()?.witnesses().get(place)?;
        let url = format!("{}/add-checkpoint", witness.url.as_ref()?.trim_end_matches('/'));
        let mut known = job.known;
        let mut outcome = self.ask(witness, &url, &job, known);
        // Told once where it stands, it is asked again from there; if that changes meanwhile, somebody else talks to it in our name.
        if let Outcome::Size(size) = outcome
            && size <= job.checkpoint.size
            && size != known
        {
            known = size;
            outcome = self.ask(witness, &url, &job, known);
        }
        Some(Asked { outside: self.clone(), place, job, known, outcome })
    }

    /// Waits for a round this witness has not done, or may try again. `None` when the ledger is closed.
    fn next_job(&self, place: usize) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = self.ready_job(&mut state, place) {
                return Some(job);
            }
            match state.witnesses[place].retry {
                Some(at) => _ = self.changed.wait_for(&mut state, at.saturating_sub(self.clock.elapsed())),
                None => self.changed.wait(&mut state),
            }
        }
    }

    /// A round this witness has not done, or may try again now.
    fn ready_job(&self, state: &mut State, place: usize) -> Option<Job> {
        if state.closed {
            return None;
        }
        if start_round(state) {
            self.changed.notify_all();
        }
        let witness = state.witnesses.get(place)?;
        let round = state.round.as_ref()?;
        let is_due = witness.retry.map_or(witness.round < round.number, |at| at <= self.clock.elapsed());
        let (checkpoint, note) = (round.checkpoint.clone(), round.note.clone());
        // A witness that had more may have been taken back since: asked from no more than it is shown, it tells where it stands.
        let known = witness.size.min(checkpoint.size);
        is_due.then_some(Job { round: round.number, checkpoint, note, known })
    }

    fn ask(&self, witness: &PolicyWitness, url: &str, job: &Job, old: u64) -> Outcome {
        let body = match self.request(&job.checkpoint, &job.note, old) {
            Ok(body) => body,
            Err(error) => return Outcome::Failed(error.to_string()),
        };
        let headers = &[("Content-Type", "text/plain; charset=utf-8")];
        match self.net.post(&Request { url, headers, body: body.as_bytes(), limit: ANSWER_MAX, patience: PATIENCE }) {
            Ok(answer) => read_answer(witness, &job.note, &answer),
            Err(reason) => Outcome::Failed(reason),
        }
    }

    fn request(&self, checkpoint: &Checkpoint, note: &str, old: u64) -> Result<String, Error> {
        let mut body = format!("old {old}\n");
        if old > 0 && old < checkpoint.size {
            let mut root = |range| root_of(&*self.disk, &self.log, checkpoint.size, range);
            let old_root = root(0..old)?;
            let path = consistency_path(old, checkpoint.size, &mut root)?;
            // Damaged tiles must not look like a rolled back log.
            if !is_consistent(old, &old_root, checkpoint.size, &checkpoint.root, &path) {
                let reason = "the stored tiles do not give the root that was signed".into();
                return Err(Error::Log { place: "log/tile".into(), reason });
            }
            for hash in path {
                body.push_str(&text::base64(&hash));
                body.push('\n');
            }
        }
        body.push('\n');
        body.push_str(note);
        Ok(body)
    }

    fn take_outcome(&self, place: usize, job: &Job, known: u64, outcome: Outcome) {
        let Some(named) = self.policy.as_ref().and_then(|policy| policy.witnesses().get(place)) else { return };
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let ours = state.latest.as_ref().map_or(0, |(checkpoint, _)| checkpoint.size);
        let size = job.checkpoint.size;
        state.witnesses[place].round = job.round;
        state.witnesses[place].answered |= !matches!(outcome, Outcome::Failed(_));
        let problem = match outcome {
            Outcome::Cosigned(line, at) => {
                let at = i64::try_from(at).ok().and_then(|at| Timestamp::from_second(at).ok()).unwrap_or_default();
                let witness = &mut state.witnesses[place];
                (witness.size, witness.cosigned) = (size, Some((size, at)));
                // A round that reached its quorum without it may be over.
                if let Some(round) = state.round.as_mut().filter(|round| round.number == job.round) {
                    round.lines[place] = Some(line);
                }
                None
            }
            Outcome::Size(told) => {
                state.witnesses[place].size = told;
                if told > ours {
                    self.note_ahead(state, &named.name, told);
                }
                Some(format!("it has a log of {told} entries, and was shown one of {size}"))
            }
            Outcome::OtherTree => {
                self.note_ahead(state, &named.name, known);
                Some(format!("it saw another log of {known} entries than ours"))
            }
            Outcome::Failed(reason) => Some(reason),
        };
        let witness = &mut state.witnesses[place];
        witness.pause = if problem.is_some() { (witness.pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE) } else { Duration::ZERO };
        witness.retry = problem.is_some().then(|| self.clock.elapsed() + witness.pause);
        witness.last_error = problem;
        self.close_round(state);
        self.changed.notify_all();
    }

    /// Keeps the round's checkpoint if it has a quorum; it is complete then, or when nobody is left to ask.
    fn close_round(&self, state: &mut State) {
        let (Some(policy), Some(round)) = (&self.policy, &mut state.round) else { return };
        let cosigned: Vec<bool> = round.lines.iter().map(Option::is_some).collect();
        let met = policy.is_met(&cosigned);
        let number = round.number;
        let asked = policy.witnesses().iter().zip(&state.witnesses).filter(|(witness, _)| witness.url.is_some());
        round.complete |= met || asked.into_iter().all(|(_, witness)| witness.round >= number);
        if met && round.checkpoint.size > 0 {
            let note: String = std::iter::once(&round.note).chain(round.lines.iter().flatten()).map(String::as_str).collect();
            let checkpoint = round.checkpoint.clone();
            self.keep_cosigned(state, &checkpoint, note);
        }
    }
}

/// Begins a round for the newest checkpoint if the one before is complete and was for another. Whether it did.
fn start_round(state: &mut State) -> bool {
    let Some((checkpoint, note)) = &state.latest else { return false };
    let number = match &state.round {
        Some(round) if !round.complete || round.note == *note => return false,
        Some(round) => round.number + 1,
        None => 1,
    };
    let lines = vec![None; state.witnesses.len()];
    state.round = Some(Round { number, checkpoint: checkpoint.clone(), note: note.clone(), lines, complete: false });
    true
}

fn read_answer(witness: &PolicyWitness, note: &str, answer: &Answer) -> Outcome {
    let said = || String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]).trim().to_owned();
    let failed = |reason: &str| Outcome::Failed(format!("it answered {}: {reason}", answer.status));
    let body = std::str::from_utf8(&answer.body).unwrap_or_default();
    match answer.status {
        200 => read_cosignature(witness, note, body).unwrap_or_else(|reason| failed(&reason)),
        409 if answer.content_type.starts_with("text/x.tlog.size") => {
            let size = body.strip_suffix('\n').and_then(text::number);
            size.map_or_else(|| failed("its size is no number"), Outcome::Size)
        }
        422 => Outcome::OtherTree,
        403 | 404 => failed(&format!("it does not know this log's key or origin ({})", said())),
        _ => failed(&said()),
    }
}

/// The line of the answer that is by this witness's key and fits; others are dropped.
fn read_cosignature(witness: &PolicyWitness, note: &str, body: &str) -> Result<Outcome, String> {
    for line in body.split_inclusive('\n') {
        let with = format!("{note}{line}");
        if let Some(at) = witness.key.cosigned(&with).map_err(|reason| format!("the checkpoint {reason}"))? {
            return Ok(Outcome::Cosigned(line.into(), at));
        }
    }
    Err(format!("it has no cosignature by `{}`", witness.key))
}

const ANSWER_MAX: u64 = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);
