//! The outside of a run: witnesses and a time-stamping authority beyond a bad network, a backup that may be put back, and the ceremony after it.
use std::{path::Path, sync::Arc, time::Duration};

use reeve_ledger::{Asked, Checkpoint, ForkAuthority, ForkStatement, Ledger, Options, Policy, TimeStamper, Turns, tree};
use reeve_record::Hash;

use crate::{
    disk::SimDisk,
    model::{Model, entries, leaves},
    net::{NetFaults, SimNet},
    random::{Random, SimClock},
    witness::{SimAuthority, SimWitness, Tree},
};

/// Who watches the log of a run, and what they were told.
pub struct Watch {
    pub net: SimNet,
    clock: Arc<SimClock>,
    witnesses: Vec<Arc<SimWitness>>,
    quorum: usize,
    policy: Policy,
    /// Answers that are not taken in yet.
    asked: Vec<Asked>,
    backup: Option<(SimDisk, Model)>,
    /// Leaves of logs that a backup took the place of.
    replaced: Vec<Vec<Hash>>,
    /// The largest checkpoint that counted as witnessed.
    witnessed: Option<String>,
    forgiven: u64,
    /// How often somebody held the ceremony, well or not.
    pub ceremonies: u64,
    /// The checkpoint at which signing was stopped, and how many more appeared since.
    stopped: Option<(Checkpoint, u32)>,
    pub restored: bool,
}

/// What happens outside in one step.
pub enum Happening {
    /// Nothing that the ledger's machine notices.
    None,
    /// The machine is stopped and copied.
    Backup,
    /// The machine is stopped, and an earlier copy takes its place.
    Restore,
}

impl Watch {
    pub fn new(random: &mut Random, clock: Arc<SimClock>, stale_passes_as_fresh: bool, loud: bool) -> Self {
        let fails = if stale_passes_as_fresh { 300 } else { [0, 50, 300][random.below(3) as usize] };
        let net = SimNet::new(random.next(), NetFaults { fails, stale_passes_as_fresh }, loud);
        let count = 1 + random.below(4) as usize;
        let quorum = 1 + random.below(count as u64) as usize;
        let witnesses: Vec<_> = (0..count).map(|place| Arc::new(SimWitness::new(place as u8, clock.clone()))).collect();
        let mut text = String::new();
        for (place, witness) in witnesses.iter().enumerate() {
            net.attach(&address(place), witness.clone());
            text.push_str(&format!("witness w{place} {} {}\n", witness.vkey(), address(place)));
        }
        net.attach("http://tsa", Arc::new(SimAuthority));
        let names: String = (0..count).map(|place| format!(" w{place}")).collect();
        text.push_str(&format!("group all {quorum}{names}\nquorum all\n"));
        let policy = text.parse().unwrap();
        Self {
            net,
            clock,
            witnesses,
            quorum,
            policy,
            asked: Vec::new(),
            backup: None,
            replaced: Vec::new(),
            witnessed: None,
            forgiven: 0,
            ceremonies: 0,
            stopped: None,
            restored: false,
        }
    }

    /// What a ledger is opened with to be watched.
    pub fn options(&self, options: Options) -> Options {
        Options {
            net: Arc::new(self.net.clone()),
            policy: Some(self.policy.clone()),
            witness_patience: Duration::ZERO,
            time_stampers: vec![TimeStamper::new("tsa", "http://tsa/").unwrap()],
            ..options
        }
    }

    /// The operators of the witnesses learn of the log, once. Those who held a ceremony look whether it was made although they were told that it failed.
    pub fn opened(&mut self, ledger: &Ledger, disk: &SimDisk, log: &Path) {
        self.witnesses.iter().for_each(|witness| witness.watch(ledger.verifier_key()));
        let signed = ledger.last_checkpoint().map_or(0, |last| last.size as usize);
        let statements = entries(disk, log).into_iter().take(signed).filter_map(|entry| String::from_utf8(entry).ok());
        let forks: Vec<_> = statements.filter_map(|text| ForkStatement::parse(&text)).take(self.ceremonies as usize).collect();
        self.forgiven = forks.iter().map(|fork| fork.lost).fold(self.forgiven, u64::max);
        // What was signed before and not yet known to be durable is on the disk by now, or forgotten with the process.
        if let (Some((stopped, more)), Some(last)) = (&mut self.stopped, ledger.last_checkpoint()) {
            if *more < MORE_MAX {
                *stopped = last;
            }
            *more = MORE_MAX;
        }
    }

    pub fn step(&mut self, random: &mut Random, ledger: &Ledger, turns: &mut Turns) -> Happening {
        let place = random.below(self.witnesses.len() as u64) as usize;
        match random.below(100) {
            0..40 => self.asked.extend(turns.ask(place)),
            40..70 if !self.asked.is_empty() => {
                let at = random.below(self.asked.len() as u64) as usize;
                self.asked.swap_remove(at).take_in();
            }
            40..76 => _ = turns.stamp(),
            76..84 => self.net.deliver_late(),
            84..90 => self.net.cut(&address(place), random.chance(1, 2)),
            // What is of before the first checkpoint no ceremony can go on from.
            90..94 if !self.restored && ledger.last_checkpoint().is_some() => return Happening::Backup,
            94..97 if self.backup.is_some() && !self.restored => return Happening::Restore,
            97..100 if self.restored => self.hold_ceremony(ledger),
            _ => {}
        }
        Happening::None
    }

    /// A copy of all there is, while nothing runs.
    pub fn back_up(&mut self, disk: &SimDisk, model: &Model) {
        self.backup = Some((disk.fork(), model.clone()));
    }

    /// The copy takes the place of what there is; whoever was told of more than it holds was told by a machine that is gone.
    pub fn restore(&mut self, disk: &SimDisk, model: &mut Model, log: &Path) {
        let Some((copy, known)) = self.backup.take() else { return };
        self.replaced.push(leaves(disk, log));
        disk.restore(&copy);
        model.restore(known);
        (self.restored, self.stopped, self.witnessed) = (true, None, None);
    }

    /// What must hold at every moment.
    pub fn check(&mut self, ledger: &Ledger, disk: &SimDisk, log: &Path) -> Result<(), String> {
        let status = ledger.status();
        if let Some(cosigned) = status.cosigned.filter(|cosigned| self.witnessed.as_ref() != Some(&cosigned.root)) {
            let by = self.witnesses.iter().filter(|witness| {
                let is_it = |tree: &Tree| tree.0 == cosigned.size && hex::encode(tree.1) == cosigned.root;
                witness.signed().0.iter().any(is_it)
            });
            let by = by.count();
            if by < self.quorum {
                return Err(format!("{cosigned:?} counts as witnessed, and {by} of {} cosigned it", self.quorum));
            }
            self.witnessed = Some(cosigned.root);
        }
        let Some(ahead) = told(disk, log).filter(|size| *size > self.forgiven) else { return Ok(()) };
        if !self.restored {
            return Err(format!("a witness is said to have seen {ahead} entries, and nobody put an old log back"));
        }
        let Some(last) = ledger.last_checkpoint() else { return Ok(()) };
        match &mut self.stopped {
            Some((stopped, _)) if *stopped == last => {}
            // One was signed before, and only its writing had failed.
            Some((stopped, more)) if *more < MORE_MAX => (*stopped, *more) = (last, *more + 1),
            Some((stopped, _)) => {
                return Err(format!("it signed {last:?} after {stopped:?}, with a witness that saw {ahead} entries"));
            }
            none => *none = Some((last, 0)),
        }
        Ok(())
    }

    /// Two people let the log go on, and the witnesses' operators take their records back.
    fn hold_ceremony(&mut self, ledger: &Ledger) {
        let authority = ForkAuthority::new("ana", "ben", "restored from a backup").unwrap();
        self.ceremonies += 1;
        if let Ok(fork) = ledger.fork(&authority) {
            self.forgiven = fork.lost.max(self.forgiven);
        }
        self.stopped = None;
    }

    /// The operators compare what they have with the log as it now is, and take back what is not of it.
    fn reconcile(&self, ledger: &Ledger, leaves: &[Hash]) {
        let Some(last) = ledger.last_checkpoint() else { return };
        self.witnesses.iter().for_each(|witness| witness.roll_back((last.size, last.root), &|tree| is_of(tree, leaves)));
    }

    /// The network is well again: everybody is asked until the last checkpoint has its quorum.
    pub fn catch_up(&mut self, ledger: &Ledger, turns: &mut Turns, disk: &SimDisk, log: &Path) -> Result<(), String> {
        self.net.heal();
        for round in 0..20 {
            self.asked.drain(..).for_each(Asked::take_in);
            self.clock.advance(Duration::from_secs(301));
            turns.stamp();
            for place in 0..self.witnesses.len() {
                self.asked.extend(turns.ask(place));
            }
            self.asked.drain(..).for_each(Asked::take_in);
            self.check(ledger, disk, log)?;
            let status = ledger.status();
            // An empty log needs no quorum.
            let last = status.last_checkpoint.filter(|last| last.size > 0).map(|last| last.root);
            let cosigned = status.cosigned.map(|cosigned| cosigned.root);
            let is_stopped = told(disk, log).is_some_and(|size| size > self.forgiven);
            if !is_stopped && (last.is_none() || last == cosigned) {
                return Ok(());
            }
            if self.restored && round > 3 {
                if is_stopped {
                    self.hold_ceremony(ledger);
                }
                self.reconcile(ledger, &leaves(disk, log));
                while turns.seal() {}
            }
        }
        Err(format!("the last checkpoint does not reach its quorum: {:#?}", ledger.status()))
    }

    /// No witness cosigned two trees that do not continue each other, but for what its operator took back.
    pub fn check_witnesses(&self, disk: &SimDisk, log: &Path) -> Result<(), String> {
        let mut histories = self.replaced.clone();
        histories.push(leaves(disk, log));
        for witness in &self.witnesses {
            let (_, standing) = witness.signed();
            let fits = |history: &Vec<Hash>| standing.iter().all(|tree| is_of(tree, history));
            if !histories.iter().any(fits) {
                let sizes: Vec<u64> = standing.iter().map(|tree| tree.0).collect();
                return Err(format!("{} cosigned trees of more than one log: {sizes:?}", witness.vkey()));
            }
        }
        Ok(())
    }
}

fn is_of(tree: &Tree, leaves: &[Hash]) -> bool {
    leaves.get(..tree.0 as usize).map(tree::root) == Some(tree.1)
}

/// The size in `log/ahead`.
fn told(disk: &SimDisk, log: &Path) -> Option<u64> {
    let text = String::from_utf8(disk.read(&log.join("ahead"))?).ok()?;
    text.lines().find_map(|line| line.strip_prefix("size ")?.parse().ok())
}

fn address(place: usize) -> String {
    format!("http://w{place}")
}

/// Checkpoints that may appear after signing was stopped.
const MORE_MAX: u32 = 1;
