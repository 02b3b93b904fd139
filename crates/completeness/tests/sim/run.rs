//! One run: a server, its sources and the network between them, in an order that the seed decides, and what must hold in the end.
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use reeve_completeness::{Notice, Query, SendError, SourceLine, survey};
use reeve_ledger::{Ledger, Options, StoredRecord, VerifyOptions, verify};
use reeve_record::{RecordId, Transport};

use crate::{
    disk::{Faults, SimDisk},
    net::{NetFaults, SimNet},
    random::Random,
    receiver::{Receiver, ledger_dir},
    sources::{CAREFUL, CARELESS, Careful, Careless, key, line},
};

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Records that were receipted to a source that kept the receipts.
    pub receipted: u64,
    /// Records of a source that kept nothing.
    pub arrived: u64,
    pub missing: u64,
    pub net: (u64, u64),
    pub stops: u64,
    pub digest: u64,
}

/// Runs `seed`, with a network that lets stale receipts pass as fresh if it is the canary; what went wrong, with the log of the run, if anything did.
pub fn run(seed: u64, canary: bool, loud: bool) -> Result<Outcome, String> {
    let mut world = World::new(seed, canary, loud)?;
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(format!("panic: {}", text.unwrap_or_default()))
    });
    result.map_err(|what| {
        let logs = [world.receiver.disk.log(), world.careful.disk.log(), world.net.log()].concat();
        format!("seed {seed}: {what}\n{}", logs.join("\n"))
    })
}

struct World {
    random: Random,
    net: SimNet,
    receiver: Arc<Receiver>,
    careful: Careful,
    careless: Careless,
    faults: Faults,
    stops: u64,
}

impl World {
    fn new(seed: u64, canary: bool, loud: bool) -> Result<Self, String> {
        let mut random = Random::new(seed);
        let fails = if canary { 300 } else { [0, 50, 300][random.below(3) as usize] };
        let net = SimNet::new(random.next(), NetFaults { fails, stale_passes_as_fresh: canary }, loud);
        let keys = [CAREFUL, CARELESS].map(|name| key(name).verifier().clone());
        let receiver = Arc::new(Receiver::new(&mut random, keys.into(), loud));
        net.attach("http://reeve", receiver.clone());
        receiver.start()?;
        let running = receiver.running().ok_or("it does not run")?;
        let careful = Careful::new(random.next(), net.clone(), running.ledger.verifier_key(), loud);
        let careless = Careless::new(net.clone(), careful.clock.clone());
        let rate = [0, 3, 20][random.below(3) as usize];
        let faults = Faults { fails: rate, short: rate, sync_fails: rate, ..Faults::default() };
        receiver.disk.set_faults(faults);
        careful.disk.set_faults(faults);
        Ok(Self { random, net, receiver, careful, careless, faults, stops: 0 })
    }

    fn run(&mut self) -> Result<Outcome, String> {
        for _ in 0..40 + self.random.below(160) {
            self.step();
        }
        self.end()
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..35 => {
                let records = 1 + self.random.below(5);
                let _ = self.careful.step(records);
            }
            35..50 => self.careless.step(&mut self.random),
            50..53 => self.careful.beat(),
            53..60 => self.net.deliver_late(),
            60..64 => self.net.cut("http://reeve", self.random.chance(1, 2)),
            64..80 => self.turn(),
            80..83 => self.pass_time(),
            83..86 => self.fail_disk(),
            86..92 => self.stop_server(),
            92..96 => self.stop_sender(),
            _ => self.save(),
        }
        if self.receiver.disk.is_dead() {
            self.stop_server();
        }
        if self.careful.disk.is_dead() {
            self.stop_sender();
        }
        if self.receiver.running().is_none() && self.receiver.start().is_err() && self.random.chance(1, 2) {
            // A disk that was replaced lets it start; an honest one has everything.
            self.receiver.disk.heal();
        }
    }

    /// The server does something by itself.
    fn turn(&mut self) {
        let Some(running) = self.receiver.running() else { return };
        let mut turns = running.turns.lock().unwrap();
        match self.random.below(3) {
            0 => turns.end_segment(),
            _ => _ = turns.seal(),
        }
    }

    fn pass_time(&mut self) {
        let clock = if self.random.chance(1, 2) { &self.receiver.clock } else { &self.careful.clock };
        match self.random.chance(1, 3) {
            true => clock.jump([-10, 10, -1, 1][self.random.below(4) as usize]),
            false => clock.advance(Duration::from_millis(self.random.below(60_000))),
        }
    }

    fn fail_disk(&mut self) {
        let disk = if self.random.chance(2, 3) { &self.receiver.disk } else { &self.careful.disk };
        match self.random.below(4) {
            0 => disk.set_space(Some(self.random.below(9000) as usize)),
            1 => disk.set_space(None),
            _ => disk.crash_after(self.random.below(30)),
        }
    }

    fn stop_server(&mut self) {
        self.stops += 1;
        self.receiver.stop(self.random.chance(2, 3), self.faults);
        self.receiver.disk.set_space(None);
    }

    fn stop_sender(&mut self) {
        self.stops += 1;
        self.careful.stop(self.random.chance(2, 3), self.faults);
        self.careful.disk.set_space(None);
    }

    fn save(&self) {
        if let Some(running) = self.receiver.running() {
            let _ = running.numbered.save();
        }
    }

    /// The faults end, everybody restarts, and what waits is sent.
    fn end(&mut self) -> Result<Outcome, String> {
        self.net.heal();
        self.receiver.stop(true, Faults::default());
        self.careful.stop(true, Faults::default());
        self.receiver.disk.heal();
        self.careful.disk.heal();
        self.receiver.start().map_err(|error| format!("the server does not start: {error}"))?;
        let sent = self.send_rest()?;
        let running = self.receiver.running().ok_or("the server does not run")?;
        let ledger = &running.ledger;
        let records = read_all(ledger)?;
        self.check_careful(ledger, &records, sent)?;
        let (arrived, missing) = self.check_careless(ledger, &records)?;
        drop(running);
        self.check_ledger()?;
        Ok(Outcome {
            receipted: self.careful.receipted,
            arrived,
            missing,
            net: self.net.counted(),
            stops: self.stops,
            digest: self.receiver.disk.digest() ^ self.careful.disk.digest().rotate_left(1) ^ self.net.digest().rotate_left(2),
        })
    }

    /// Lines of its file that the careful source has sent in the end.
    fn send_rest(&mut self) -> Result<u64, String> {
        let mut why = String::new();
        for _ in 0..10 {
            match self.careful.step(0) {
                Ok(()) => {}
                // What the operator of the ledger would do: let its time pass, so that it signs again.
                Err(error @ (SendError::NotYet { .. } | SendError::NoReceipt { .. })) => why = error.to_string(),
                Err(error) => return Err(format!("the sender stops: {error}")),
            }
            if let Some(sent) = self.careful.sent() {
                return Ok(sent);
            }
        }
        Err(format!("the sender does not go on: {why}"))
    }

    /// Each line is there once and in order, and each receipt holds.
    fn check_careful(&self, ledger: &Ledger, records: &[StoredRecord], sent: u64) -> Result<(), String> {
        let there = numbers(CAREFUL, records)?;
        if there.keys().copied().ne(0..sent) {
            return Err(format!("{sent} lines were receipted, and there are {:?}", there.keys().collect::<Vec<_>>()));
        }
        if there.values().is_sorted() && there.len() as u64 == sent {
            self.check_receipts(ledger, sent)?;
            let line = statement(ledger, CAREFUL)?;
            let said = (line.expected, line.received, line.missing, line.contradicting, line.unproven);
            return if said == (Some(sent), sent, Some(0), 0, 0) { Ok(()) } else { Err(format!("of {sent} lines: {line:?}")) };
        }
        Err("the lines are out of order".into())
    }

    fn check_receipts(&self, ledger: &Ledger, sent: u64) -> Result<(), String> {
        let mut next = 0;
        for receipt in self.careful.receipts()? {
            if receipt.first != next {
                return Err(format!("the receipts go on with {} after {next}", receipt.first));
            }
            receipt.check_in(ledger).map_err(|fault| fault.to_string())?;
            next += receipt.count;
        }
        if next == sent { Ok(()) } else { Err(format!("{sent} lines were sent, and there are receipts up to {next}")) }
    }

    /// Whatever it was said yes to is there once; what is missing is told. How many records arrived, and how many are missing.
    fn check_careless(&self, ledger: &Ledger, records: &[StoredRecord]) -> Result<(u64, u64), String> {
        let there = numbers(CARELESS, records)?;
        let taken = self.receiver.taken();
        for (head, _) in taken.iter().filter(|(head, _)| head.source == CARELESS) {
            if let Some(gone) = (head.first..head.end()).find(|n| !there.contains_key(n)) {
                return Err(format!("{gone} of {CARELESS} was taken, and is gone"));
            }
        }
        let line = statement(ledger, CARELESS)?;
        let told: BTreeSet<u64> = line.missing_numbers.iter().flat_map(|gap| gap.first..gap.first + gap.count).collect();
        let frontier = line.expected.ok_or("nothing is expected of a numbered source")?;
        let beaten = taken.iter().map(|(head, _)| head).filter(|head| head.source == CARELESS).map(|head| head.end()).max();
        if frontier < beaten.unwrap_or(0) || there.keys().any(|n| *n >= frontier) {
            return Err(format!("the frontier is {frontier}: {line:?}"));
        }
        let missing: BTreeSet<u64> = (0..frontier).filter(|n| !there.contains_key(n)).collect();
        if told != missing || line.missing != Some(missing.len() as u64) || line.received != there.len() as u64 {
            return Err(format!("{missing:?} are missing, and it says {line:?}"));
        }
        let gaps = records.iter().filter_map(Notice::of).filter_map(|notice| match notice {
            Notice::Gap { source, first, count, .. } if source == CARELESS => Some(first..first + count),
            _ => None,
        });
        let noticed: BTreeSet<u64> = gaps.flatten().collect();
        if !noticed.is_superset(&missing) {
            return Err(format!("{missing:?} are missing, and noticed were {noticed:?}"));
        }
        if line.contradicting + line.unproven > 0 {
            return Err(format!("nobody lied: {line:?}"));
        }
        Ok((there.len() as u64, missing.len() as u64))
    }

    fn check_ledger(&self) -> Result<(), String> {
        self.receiver.stop(true, Faults::default());
        let options = VerifyOptions { disk: Arc::new(self.receiver.disk.clone()), ..VerifyOptions::default() };
        let report = verify(&ledger_dir(), &options, &mut |_| {}).map_err(|error| format!("verify: {error}"))?;
        if report.is_intact() { Ok(()) } else { Err(format!("verify: {:#?}", report.faults)) }
    }
}

/// Every record, in order.
fn read_all(ledger: &Ledger) -> Result<Vec<StoredRecord>, String> {
    let (mut next, mut all) = (RecordId::default(), Vec::new());
    loop {
        let read = ledger.read_from(next, 200).map_err(|error| error.to_string())?;
        let Some(last) = read.last() else { return Ok(all) };
        next = RecordId { index: last.id.index + 1, ..last.id };
        all.extend(read);
    }
}

/// Where each line of a source lies, once.
fn numbers(source: &str, records: &[StoredRecord]) -> Result<BTreeMap<u64, RecordId>, String> {
    let mut there = BTreeMap::new();
    for record in records.iter().filter(|record| record.receipt.transport == Transport::Delivery) {
        let text = String::from_utf8_lossy(&record.raw);
        let Some(rest) = text.strip_prefix(source).and_then(|rest| rest.strip_prefix(' ')) else { continue };
        let n: u64 = rest.trim_end_matches('.').parse().map_err(|_| format!("{} is no line of {source}", record.id))?;
        if text != line(source, n) || *record.receipt.source != *source {
            return Err(format!("{} of {source} is altered", record.id));
        }
        if there.insert(n, record.id).is_some() {
            return Err(format!("{n} of {source} is there twice"));
        }
    }
    Ok(there)
}

/// What the ledger says of a source.
fn statement(ledger: &Ledger, source: &str) -> Result<SourceLine, String> {
    let audit = Options { disk: Arc::new(SimDisk::new(1, Path::new("/audit"), false)), ..Options::new("reeve.example/audit") };
    let (audit, _turns) = Ledger::open_in_turns(Path::new("/audit/ledger"), audit).map_err(|error| error.to_string())?;
    let query = Query { source: source.into(), numbered: true, ..Query::default() };
    let line = survey(ledger, &audit, &query, None).sources.into_iter().next();
    line.ok_or_else(|| format!("no line of {source}; it is {}", ledger.now()))
}
