//! The deterministic simulator: the ledger's own code in a world that a seed decides: disk, clock, chance, network and the order of turns.
//!
//! `REEVE_SIM_SEED=n` replays one run and prints what happened; `REEVE_SIM_SEEDS=n` runs that many, `REEVE_SIM_FROM=n` from that one on.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod disk;
mod dispose;
mod model;
mod net;
mod pressure;
mod random;
mod run;
mod script;
#[path = "../support/tsa.rs"]
mod tsa;
mod watch;
mod witness;

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use disk::Way;
use run::{Machine, Outcome, run};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: `{text}` is no number")))
}

/// Of three machines one lies, and one is watched over a bad network.
fn machine(seed: u64) -> Machine {
    [Machine::Lying, Machine::Honest, Machine::Watched][(seed % 3) as usize]
}

/// Runs seeds on all cores; the outcomes, or the first failures.
fn run_all(seeds: std::ops::Range<u64>, machine: impl Fn(u64) -> Machine + Sync) -> (Vec<Outcome>, Vec<String>) {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let (mut outcomes, mut failures) = (Vec::new(), Vec::new());
        while failures.len() < 5 {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                break;
            }
            match run(seed, machine(seed), false) {
                Ok(outcome) => outcomes.push(outcome),
                Err(failure) => failures.push(failure),
            }
        }
        (outcomes, failures)
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let mut all = (Vec::new(), Vec::new());
        for worker in workers {
            let (outcomes, failures) = worker.join().unwrap();
            all.0.extend(outcomes);
            all.1.extend(failures);
        }
        all
    })
}

#[test]
fn nothing_acknowledged_is_lost_or_altered_unnamed() {
    if let Some(seed) = number("REEVE_SIM_SEED") {
        let outcome = run(seed, machine(seed), true).unwrap_or_else(|failure| panic!("{failure}"));
        eprintln!("{outcome:?}");
        return;
    }
    let (from, seeds) = (number("REEVE_SIM_FROM").unwrap_or(0), number("REEVE_SIM_SEEDS").unwrap_or(100));
    let started = Instant::now();
    let (outcomes, failures) = run_all(from..from + seeds, machine);
    let seconds = started.elapsed().as_secs_f64();
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    eprintln!(
        "torture: {seeds} seeds in {seconds:.1} s ({:.0}/s): {} acknowledged records, {} crashes, {} disk calls; {} devices lied, after which {} records were \
         named as lost, {} as an unfinished group, {} were in a file whose name the device forgot, and {} ledgers refused to open until the disk was repaired; \
         {} requests to witnesses and authorities, of which {} met a fault, {} old copies put back; {} acts took content out, of {} records; {} failures",
        outcomes.len() as f64 / seconds,
        sum(|outcome| outcome.kept.acknowledged),
        sum(|outcome| outcome.crashes),
        sum(|outcome| outcome.calls),
        outcomes.iter().filter(|outcome| outcome.lie.is_some()).count(),
        sum(|outcome| outcome.kept.named_lost),
        sum(|outcome| outcome.kept.named_cut),
        sum(|outcome| outcome.kept.forgotten),
        outcomes.iter().filter(|outcome| outcome.refused).count(),
        sum(|outcome| outcome.net.0),
        sum(|outcome| outcome.net.1),
        outcomes.iter().filter(|outcome| outcome.restored).count(),
        sum(|outcome| outcome.acts),
        sum(|outcome| outcome.kept.taken_out),
        failures.len(),
    );
    assert!(failures.is_empty(), "replay with REEVE_SIM_SEED=<seed>:\n{}", failures.join("\n"));
    assert!(sum(|outcome| outcome.kept.acknowledged) > 20 * seeds, "the runs store too little to show anything");
}

#[test]
fn a_seed_replays_call_for_call() {
    for seed in 0..12 {
        let once = run(seed, machine(seed), false).map(|outcome| outcome.digest);
        assert_eq!(once, run(seed, machine(seed), true).map(|outcome| outcome.digest), "seed {seed}");
    }
}

/// Of places to put a fault, every one with `REEVE_SIM_EVERY=1`, else one in so many.
fn stride(usual: u64) -> u64 {
    number("REEVE_SIM_EVERY").unwrap_or(usual)
}

/// Every call of a scripted life fails once, each way; after a kill and after a power cut everything acknowledged is there.
#[test]
fn any_call_may_fail() {
    std::thread::scope(|scope| {
        // A stride that starts at another call for each way meets more of them together.
        for (first, way) in (0..).zip([Way::Fails, Way::HappensAndFails, Way::Full, Way::Half, Way::Crash]) {
            scope.spawn(move || {
                let stride = stride(11);
                let (mut at, mut met) = (first % stride, 0);
                while script::fail_call(at, way).unwrap_or_else(|failure| panic!("{failure}")) {
                    at += stride;
                    met += 1;
                }
                assert!(at > 100, "the script makes more calls than {at}");
                eprintln!("torture: {way:?} at {met} of {at} calls, then kill and power cut: nothing acknowledged was lost");
            });
        }
    });
}

/// The disk is full after every 512 bytes, and has room again later.
#[test]
fn the_disk_may_fill_anywhere() {
    let (mut sector, mut met) = (0, 0);
    while script::fill_disk(sector * disk::SECTOR).unwrap_or_else(|failure| panic!("{failure}")) {
        sector += stride(7) as usize;
        met += 1;
    }
    assert!(sector > 50, "the script writes more than {sector} sectors");
    eprintln!("torture: disk full at {met} of {sector} offsets of 512 bytes: nothing acknowledged was lost, and it resumed");
}

#[test]
fn records_give_way_to_the_audit_and_both_resume() {
    pressure::records_give_way_first();
}

const CANARY_RUNS: u64 = 120;

/// The tester tested: a disk that only says that it synced must be found out, and so must a network that makes old answers pass as fresh.
#[test]
fn machines_that_break_their_word_are_found_out() {
    for (machine, law) in [(Machine::NoSync, ""), (Machine::NoFolderSync, ""), (Machine::StaleAnswers, "counts as witnessed")] {
        let (_, failures) = run_all(0..CANARY_RUNS, |_| machine);
        let found = failures.iter().find(|failure| failure.contains(law));
        let found = found.unwrap_or_else(|| panic!("{machine:?} went unnoticed in {CANARY_RUNS} runs"));
        eprintln!("torture: canary {machine:?} found, as in {}", found.lines().next().unwrap());
    }
}
