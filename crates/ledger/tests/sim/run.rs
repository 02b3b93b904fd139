//! One run: a ledger, its clients and its machine, in an order that the seed decides.
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use reeve_ledger::{Error, Ledger, Options, Report, Turns, VerifyOptions, verify};
use reeve_record::leaf_hash;

use crate::{
    disk::{Faults, Lie, SimDisk},
    model::{Kept, Model},
    random::{Random, SimClock, SimRng},
    watch::{Happening, Watch},
};

/// What kind of machine a run has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Machine {
    /// Errors, full disks, crashes and power cuts, but what a device says is true.
    Honest,
    /// The same, with witnesses and a time-stamping authority beyond a bad network, and once perhaps an old copy in its place.
    Watched,
    /// The device also lies once: a lost, misdirected or torn sector, a lost name, a stale read, rot.
    Lying,
    /// Canary: syncing does nothing.
    NoSync,
    /// Canary: syncing folders does nothing.
    NoFolderSync,
    /// Canary: as `Watched`, with a network that makes old answers pass as fresh.
    StaleAnswers,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub kept: Kept,
    pub crashes: u64,
    pub calls: u64,
    /// The lie, if one was told.
    pub lie: Option<Lie>,
    /// The ledger refused to open on what the lie left, and all was there once that was repaired.
    pub refused: bool,
    /// Requests to witnesses and authorities, and how many of them met a fault.
    pub net: (u64, u64),
    /// Acts that took content out, or were reported failed.
    pub acts: u64,
    /// An old copy took the ledger's place, and it went on after the ceremony.
    pub restored: bool,
    pub digest: u64,
}

/// Runs `seed`; what went wrong, with the log of the run, if anything did.
pub fn run(seed: u64, machine: Machine, loud: bool) -> Result<Outcome, String> {
    let mut world = World::new(seed, machine, loud);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(format!("panic: {}", text.unwrap_or_default()))
    });
    result.map_err(|what| {
        let mut log = world.disk.log();
        log.extend(world.watch.iter().flat_map(|watch| watch.net.log()));
        let told = world.disk.told().unwrap_or_default();
        format!("seed {seed} ({machine:?}): {what} {told}\n{}", log.join("\n"))
    })
}

struct World {
    random: Random,
    disk: SimDisk,
    clock: Arc<SimClock>,
    model: Model,
    faults: Faults,
    options: Options,
    open: Option<(Ledger, Turns)>,
    watch: Option<Watch>,
    crashes: u64,
    lie: Option<Lie>,
    refused: bool,
}

impl World {
    fn new(seed: u64, machine: Machine, loud: bool) -> Self {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(random.next(), Path::new(ROOT), loud);
        let (clock, rng) = (Arc::new(SimClock::new()), Arc::new(SimRng::new(random.next())));
        let mut options = Options {
            segment_records: 3 + random.below(40) as u32,
            segment_bytes: 2000 + random.below(30_000),
            seal_after: Duration::from_secs(1 + random.below(60)),
            heartbeat: Duration::from_secs(1 + random.below(60)),
            // Half of the ledgers change their keys, so often that most runs see it.
            epoch: random.chance(1, 2).then(|| Duration::from_secs(20 + random.below(200))),
            disk: Arc::new(disk.clone()),
            clock: clock.clone(),
            rng,
            ..Options::new("reeve.example/record")
        };
        let rate = [0, 3, 20][random.below(3) as usize];
        let faults = Faults {
            fails: rate,
            short: rate,
            sync_fails: rate,
            sync_does_nothing: machine == Machine::NoSync,
            folder_sync_does_nothing: machine == Machine::NoFolderSync,
        };
        let lie = (machine == Machine::Lying).then(|| Lie::ALL[random.below(Lie::ALL.len() as u64) as usize]);
        let model = Model::new(lie.is_some());
        let stale = machine == Machine::StaleAnswers;
        let watch = (stale || machine == Machine::Watched).then(|| Watch::new(&mut random, clock.clone(), stale, loud));
        if let Some(watch) = &watch {
            options = watch.options(options);
        }
        Self { random, disk, clock, model, faults, options, open: None, watch, crashes: 0, lie, refused: false }
    }

    fn run(&mut self) -> Result<Outcome, String> {
        let outside = if self.watch.is_some() { 60 } else { 0 };
        let steps = 20 + outside + self.random.below(120);
        let lie_at = self.random.below(steps);
        for step in 0..steps {
            if let Some(lie) = self.lie.filter(|_| step == lie_at) {
                self.disk.plan_lie(lie);
            }
            self.step()?;
            if self.refused {
                break;
            }
        }
        self.end()
    }

    fn step(&mut self) -> Result<(), String> {
        if self.open.is_none() {
            return self.open_again();
        }
        if self.watch.is_some() && self.random.chance(2, 5) {
            return self.outside_step();
        }
        let Some((ledger, turns)) = &mut self.open else { return Ok(()) };
        match self.random.below(100) {
            0..25 => self.model.submit(ledger, 1 + self.random.below(9)),
            25..55 => _ = turns.commit(),
            55..60 => turns.end_segment(),
            60..75 => _ = turns.seal(),
            75..80 => self.clock.advance(Duration::from_millis(self.random.below(40_000))),
            80..82 => self.clock.jump([-10, 10, -1, 1][self.random.below(4) as usize]),
            82..84 => self.disk.set_space(Some(self.random.below(9000) as usize)),
            84..87 => self.disk.set_space(None),
            87..90 => self.model.spot_check(ledger, &mut self.random)?,
            90..92 if self.lie.is_none() => self.model.gone.step(&mut self.random, ledger)?,
            90..94 => self.disk.evict(),
            94..97 => self.disk.crash_after(self.random.below(30)),
            _ => self.stop(),
        }
        self.after_step()
    }

    /// Something happens outside: a witness is asked, an answer is taken in, an old copy is put back.
    fn outside_step(&mut self) -> Result<(), String> {
        let (Some((ledger, turns)), Some(watch)) = (&mut self.open, &mut self.watch) else { return Ok(()) };
        match watch.step(&mut self.random, ledger, turns) {
            Happening::None => return self.after_step(),
            Happening::Backup => {
                self.stop();
                self.disk.note(|| "---- a copy is made".into());
                self.watch.iter_mut().for_each(|watch| watch.back_up(&self.disk, &self.model));
            }
            Happening::Restore => {
                self.stop();
                self.disk.note(|| "---- the copy is put back".into());
                self.watch.iter_mut().for_each(|watch| watch.restore(&self.disk, &mut self.model, &dir().join("log")));
            }
        }
        Ok(())
    }

    fn after_step(&mut self) -> Result<(), String> {
        if self.open.is_some() && self.disk.is_dead() {
            self.stop();
        }
        let Some((ledger, _)) = &self.open else { return Ok(()) };
        self.model.saw_checkpoint(ledger);
        self.watch.as_mut().map_or(Ok(()), |watch| watch.check(ledger, &self.disk, &dir().join("log")))
    }

    /// The process ends: killed, or with the machine.
    fn stop(&mut self) {
        self.crashes += 1;
        self.open = None;
        self.disk.note(|| "---- the process ends".into());
        if self.random.chance(1, 3) {
            self.disk.kill();
        } else {
            self.disk.note(|| "---- the power fails".into());
            self.disk.cut_power();
        }
        self.disk.set_faults(self.faults);
    }

    /// Opens; where that fails, tries again on a machine without faults, so that only what is on the disk can be the reason.
    fn open_again(&mut self) -> Result<(), String> {
        self.disk.set_faults(self.faults);
        let opened = match self.try_open() {
            Ok(opened) => opened,
            Err(_) => {
                self.heal();
                match self.try_open() {
                    Ok(opened) => opened,
                    Err(error) => return self.refuse(&error),
                }
            }
        };
        self.opened(&opened.0);
        self.open = Some(opened);
        self.after_step()
    }

    fn opened(&mut self, ledger: &Ledger) {
        self.model.opened(ledger);
        self.watch.iter_mut().for_each(|watch| watch.opened(ledger, &self.disk, &dir().join("log")));
        let lost = self.disk.lost_name().filter(|path| self.disk.read(path).is_none());
        let segment = lost.and_then(|path| path.file_name()?.to_str()?.strip_suffix(".wal")?.parse::<u32>().ok());
        if let Some(segment) = segment.filter(|segment| ledger.durable_end().segment <= *segment) {
            self.model.forgotten.insert(segment);
        }
    }

    fn heal(&mut self) {
        if self.disk.is_dead() {
            self.stop();
        }
        self.disk.set_space(None);
        let canaries = Faults { fails: 0, short: 0, sync_fails: 0, ..self.faults };
        self.disk.set_faults(canaries);
        self.disk.kill();
    }

    fn try_open(&self) -> Result<(Ledger, Turns), Error> {
        Ledger::open_in_turns(&dir(), self.options.clone())
    }

    /// An honest machine's ledger always opens. After a lie it may refuse, saying why, but then it has destroyed nothing: on a repaired disk all is there.
    fn refuse(&mut self, error: &Error) -> Result<(), String> {
        if self.disk.told().is_none() {
            return Err(format!("it does not open although no device lied: {error}"));
        }
        self.disk.note(|| format!("---- it refuses to open: {error}"));
        self.disk.note(|| "---- the disk is repaired".into());
        self.verify()?;
        self.disk.repair();
        self.refused = true;
        Ok(())
    }

    fn verify(&self) -> Result<Report, String> {
        let mut options = VerifyOptions { disk: Arc::new(self.disk.clone()), ..VerifyOptions::default() };
        let once = |options: &VerifyOptions| verify(&dir(), options, &mut |_| {}).map_err(|error| format!("verify: {error}"));
        let report = once(&options)?;
        // Those who held a ceremony noted down what it left, also where they were told that it failed.
        let held = self.watch.as_ref().map_or(0, |watch| watch.ceremonies);
        if report.forks.is_empty() || report.forks.len() as u64 > held {
            return Ok(report);
        }
        options.forks = report.forks.iter().map(|fork| leaf_hash(fork.as_bytes())).collect();
        once(&options)
    }

    /// What the outside demands where the ledger is watched: in the end everything has its quorum, however bad the network was.
    fn catch_up(&mut self, ledger: &Ledger, turns: &mut Turns) -> Result<(), String> {
        let caught_up = self.watch.as_mut().map(|watch| watch.catch_up(ledger, turns, &self.disk, &dir().join("log")));
        self.model.saw_checkpoint(ledger);
        caught_up.unwrap_or(Ok(()))
    }

    /// The faults end, the machine restarts, and everything is looked at: as found, after sealing, and after one more restart.
    fn end(&mut self) -> Result<Outcome, String> {
        if self.open.is_some() || self.disk.is_dead() {
            self.stop();
        }
        self.heal();
        self.disk.evict();
        let mut before = self.verify()?;
        let opened = match self.try_open() {
            Ok(opened) => opened,
            Err(error) => {
                self.refuse(&error)?;
                before = self.verify()?;
                self.try_open().map_err(|error| format!("it does not open on the repaired disk: {error}"))?
            }
        };
        self.opened(&opened.0);
        self.check(&opened.0, &before)?;
        self.go_on(opened)?;
        self.disk.cut_power();
        let report = self.verify()?;
        if !report.is_intact() && !self.model.lied {
            return Err(format!("verify: {:#?}", report.faults));
        }
        let (ledger, _) = self.try_open().map_err(|error| format!("it does not open again: {error}"))?;
        let kept = self.check(&ledger, &report)?;
        self.model.check_history(&self.disk, &dir().join("log"))?;
        if let Some(watch) = &self.watch {
            watch.check_witnesses(&self.disk, &dir().join("log"))?;
        }
        let digest = self.watch.as_ref().map_or(0, |watch| watch.net.digest());
        Ok(Outcome {
            net: self.watch.as_ref().map_or((0, 0), |watch| watch.net.counted()),
            acts: self.model.gone.acts,
            restored: self.watch.as_ref().is_some_and(|watch| watch.restored),
            kept,
            crashes: self.crashes,
            calls: self.disk.calls(),
            lie: self.disk.told().and(self.lie),
            refused: self.refused,
            digest: self.disk.digest() ^ digest,
        })
    }

    fn check(&mut self, ledger: &Ledger, report: &Report) -> Result<Kept, String> {
        self.model.gone.check(ledger)?;
        self.model.gone.check_files(&self.disk, &dir().join("segments"))?;
        self.model.check(ledger, report)
    }

    /// It takes records and seals, as if nothing had happened.
    fn go_on(&mut self, (ledger, mut turns): (Ledger, Turns)) -> Result<(), String> {
        self.catch_up(&ledger, &mut turns)?;
        self.model.submit(&ledger, 3);
        turns.commit();
        turns.end_segment();
        for _ in 0..60 {
            while turns.seal() {}
        }
        let status = ledger.status();
        if status.open_records > 0 || status.read_only.is_some() || status.seal_problem.is_some() {
            return Err(format!("it does not go on: {status:?}"));
        }
        self.model.saw_checkpoint(&ledger);
        self.catch_up(&ledger, &mut turns)
    }
}

fn dir() -> PathBuf {
    PathBuf::from(ROOT).join("reeve/ledger")
}

const ROOT: &str = "/srv";
