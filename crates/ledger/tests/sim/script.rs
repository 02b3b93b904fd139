//! The same short life of a ledger again and again, with one fault at every place it can have.
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use reeve_ledger::{Ledger, Options, Turns, VerifyOptions, verify};

use crate::{
    disk::{SimDisk, Way},
    model::Model,
    random::{SimClock, SimRng},
};

/// A machine and what its clients know.
pub struct Life {
    pub disk: SimDisk,
    options: Options,
    clock: Arc<SimClock>,
    pub model: Model,
}

/// How the script's life ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Kill,
    PowerCut,
    /// The next process sees what only the page cache holds, and then the power fails.
    KillThenPowerCut,
}

impl Life {
    pub fn new() -> Self {
        let disk = SimDisk::new(7, Path::new("/srv"), false);
        let clock = Arc::new(SimClock::new());
        let options = Options {
            heartbeat: Duration::from_secs(10),
            epoch: Some(Duration::from_secs(15)),
            disk: Arc::new(disk.clone()),
            clock: clock.clone(),
            rng: Arc::new(SimRng::new(7)),
            ..Options::new("reeve.example/record")
        };
        Self { disk, options, clock, model: Model::default() }
    }

    /// The same machine and clients once more, from here on apart.
    fn fork(&self) -> Self {
        let disk = self.disk.fork();
        let options = Options { disk: Arc::new(disk.clone()), ..self.options.clone() };
        Self { disk, options, clock: self.clock.clone(), model: self.model.clone() }
    }

    fn open(&mut self) -> Result<(Ledger, Turns), String> {
        let opened = Ledger::open_in_turns(&dir(), self.options.clone()).map_err(|error| error.to_string())?;
        self.model.opened(&opened.0);
        Ok(opened)
    }

    /// Appends, seals, signs, restarts, appends and seals again. What fails, fails; the clients are told.
    pub fn script(&mut self) -> Option<(Ledger, Turns)> {
        let mut last = None;
        for _ in 0..2 {
            drop(last.take());
            let Ok((ledger, mut turns)) = self.open() else { continue };
            for records in [5, 1, 8] {
                self.store(&ledger, &mut turns, records);
                self.clock.advance(Duration::from_secs(4));
                turns.seal();
                self.model.saw_checkpoint(&ledger);
            }
            turns.commit();
            turns.end_segment();
            turns.seal();
            self.store(&ledger, &mut turns, 3);
            turns.seal();
            self.model.saw_checkpoint(&ledger);
            last = Some((ledger, turns));
        }
        last
    }

    fn store(&mut self, ledger: &Ledger, turns: &mut Turns, records: u64) {
        self.model.submit(ledger, records);
        turns.commit();
    }

    /// The disk has room again: without a restart, if it could start at all, everything goes on.
    fn resumes(&mut self, last: Option<(Ledger, Turns)>) -> Result<(), String> {
        let (ledger, mut turns) = last.map_or_else(|| self.open(), Ok)?;
        self.go_on(&ledger, &mut turns)
    }

    /// After `end`, all that was acknowledged is there, the ledger goes on, and everything verifies.
    pub fn check_after(&mut self, end: End) -> Result<(), String> {
        match end {
            End::Kill => self.disk.kill(),
            End::PowerCut => self.disk.cut_power(),
            End::KillThenPowerCut => {
                self.disk.kill();
                drop(self.open()?);
                self.disk.cut_power();
            }
        }
        let before = self.verify()?;
        let (ledger, mut turns) = self.open()?;
        self.model.check(&ledger, &before)?;
        self.go_on(&ledger, &mut turns)?;
        drop((ledger, turns));
        let after = self.verify()?;
        if !after.is_intact() || !after.lost.is_empty() {
            return Err(format!("verify: {:?} {:#?}", after.lost, after.faults));
        }
        let (ledger, _) = self.open()?;
        self.model.check(&ledger, &after)?;
        self.model.check_history(&self.disk, &dir().join("log"))
    }

    fn verify(&self) -> Result<reeve_ledger::Report, String> {
        let options = VerifyOptions { disk: Arc::new(self.disk.clone()), ..VerifyOptions::default() };
        verify(&dir(), &options, &mut |_| {}).map_err(|error| format!("verify: {error}"))
    }

    fn go_on(&mut self, ledger: &Ledger, turns: &mut Turns) -> Result<(), String> {
        let acknowledged = self.model.acknowledged_count();
        self.model.submit(ledger, 2);
        turns.commit();
        if self.model.acknowledged_count() != acknowledged + 2 {
            return Err(format!("it takes no more records: {:?}", ledger.status()));
        }
        turns.end_segment();
        while turns.seal() {}
        let status = ledger.status();
        if status.open_records > 0 || status.seal_problem.is_some() {
            return Err(format!("it does not seal: {status:?}"));
        }
        Ok(())
    }
}

/// Fails call `at` in one way; false once the script has no such call.
pub fn fail_call(at: u64, way: Way) -> Result<bool, String> {
    let mut met = false;
    // One script for all ends: what the clients were told is the same.
    let mut lived = Life::new();
    lived.disk.fail_call(at, way);
    drop(lived.script());
    for end in [End::Kill, End::PowerCut, End::KillThenPowerCut] {
        let mut life = lived.fork();
        met = life.disk.calls() > at;
        life.disk.heal();
        life.check_after(end).map_err(|what| format!("{way:?} at call {at}, {}, then {end:?}: {what}", life.disk.call_name()))?;
    }
    Ok(met)
}

/// Gives the script only so many bytes of disk; true while that is too little for it.
pub fn fill_disk(bytes: usize) -> Result<bool, String> {
    let mut full = false;
    for end in [End::Kill, End::PowerCut] {
        let mut life = Life::new();
        life.disk.set_space(Some(bytes));
        let last = life.script();
        full = life.disk.was_full();
        life.disk.heal();
        let case = |what| format!("a disk of {bytes} bytes, then {end:?}: {what}");
        life.resumes(last).map_err(case)?;
        life.check_after(end).map_err(case)?;
    }
    Ok(full)
}

fn dir() -> PathBuf {
    PathBuf::from("/srv/reeve/ledger")
}
