//! The deterministic simulator of deliveries: a sender and a server, each on a machine that fails, and a network between them that loses, delays, doubles,
//! reorders and cuts what they say. All of it is drawn from a seed; `REEVE_SIM_SEED=n` replays one run and prints what happened, `REEVE_SIM_SEEDS=n` runs
//! that many, `REEVE_SIM_FROM=n` from that one on.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test stops where it is wrong")]

#[path = "../../ledger/tests/sim/disk.rs"]
#[allow(dead_code, reason = "the ledger's simulator has more use for it")]
mod disk;
#[path = "../../ledger/tests/sim/net.rs"]
mod net;
#[path = "../../ledger/tests/sim/random.rs"]
mod random;
#[path = "sim/receiver.rs"]
mod receiver;
#[path = "sim/run.rs"]
mod run;
#[path = "sim/sources.rs"]
mod sources;

use std::time::Instant;

use run::{Outcome, run};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: `{text}` is no number")))
}

#[test]
fn nothing_receipted_is_lost_or_doubled_and_gaps_are_told() {
    if let Some(seed) = number("REEVE_SIM_SEED") {
        let outcome = run(seed, false, true).unwrap_or_else(|failure| panic!("{failure}"));
        eprintln!("{outcome:?}");
        return;
    }
    let (from, seeds) = (number("REEVE_SIM_FROM").unwrap_or(0), number("REEVE_SIM_SEEDS").unwrap_or(25));
    let started = Instant::now();
    let (mut outcomes, mut failures) = (Vec::new(), Vec::new());
    for seed in from..from + seeds {
        match run(seed, false, false) {
            Ok(outcome) => outcomes.push(outcome),
            Err(failure) => failures.push(failure),
        }
        if failures.len() == 5 {
            break;
        }
    }
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    eprintln!(
        "torture: {seeds} seeds of deliveries in {:.1} s: {} records receipted and {} more arrived, {} requests of which {} met a fault, {} stops of servers and \
         senders, {} numbers missing and told; {} failures",
        started.elapsed().as_secs_f64(),
        sum(|outcome| outcome.receipted),
        sum(|outcome| outcome.arrived),
        sum(|outcome| outcome.net.0),
        sum(|outcome| outcome.net.1),
        sum(|outcome| outcome.stops),
        sum(|outcome| outcome.missing),
        failures.len(),
    );
    assert!(failures.is_empty(), "replay with REEVE_SIM_SEED=<seed>:\n{}", failures.join("\n"));
    assert!(
        sum(|outcome| outcome.receipted) > 20 * seeds && sum(|outcome| outcome.missing) > 0,
        "the runs do too little to show anything"
    );
}

#[test]
fn a_seed_replays_message_for_message() {
    for seed in 0..4 {
        let digest = |loud| run(seed, false, loud).map(|outcome| outcome.digest);
        assert_eq!(digest(false), digest(true), "seed {seed}");
    }
}

/// The tester tested: a network that gives an old receipt out as one for the delivery at hand must be found out.
#[test]
fn receipts_for_what_never_arrived_are_found_out() {
    let found = (0..40).find_map(|seed| run(seed, true, false).err());
    let found = found.unwrap_or_else(|| panic!("stale receipts went unnoticed in 40 runs"));
    eprintln!("torture: canary of stale receipts found, as in {}", found.lines().next().unwrap());
}
