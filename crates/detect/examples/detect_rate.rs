//! Events per second with all rules of a path, over the events of another: `cargo run --release -p reeve-detect --example detect_rate RULES INPUT…`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{path::PathBuf, time::Instant};

use reeve_decode::{Limits, Parsed, Sink, read_path};
use reeve_detect::{Engine, RuleSet, Scratch};

struct Bench<'e> {
    engine: &'e Engine,
    scratch: Scratch,
    events: u64,
    bytes: u64,
    matches: u64,
    nanoseconds: u128,
}

impl Sink for Bench<'_> {
    fn event(&mut self, _source: &str, parsed: Parsed<'_>) {
        self.events += 1;
        self.bytes += parsed.raw.len() as u64;
        let start = Instant::now();
        let matches = &mut self.matches;
        self.engine.evaluate(&parsed, &mut self.scratch, &mut |_| *matches += 1);
        self.nanoseconds += start.elapsed().as_nanos();
    }
}

fn main() {
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let rules = paths.next().unwrap();
    let start = Instant::now();
    let (set, problems) = RuleSet::load(&[rules]);
    let loaded = start.elapsed();
    let start = Instant::now();
    let engine = Engine::new(&set);
    let compiled = start.elapsed();
    let (groups, automata, texts) = engine.size();
    println!(
        "{} rules loaded in {loaded:.2?} ({} problems), compiled in {compiled:.2?}: {groups} groups, {automata} automata, {texts} texts",
        set.len(),
        problems.len()
    );
    for problem in problems.iter().filter(|problem| !problem.reason.starts_with("not used")).take(40) {
        println!("  {problem}");
    }
    let mut bench = Bench { engine: &engine, scratch: Scratch::new(), events: 0, bytes: 0, matches: 0, nanoseconds: 0 };
    let start = Instant::now();
    for path in paths {
        read_path(&path, &Limits::default(), &mut bench);
    }
    let whole = start.elapsed();
    let seconds = bench.nanoseconds as f64 / 1e9;
    println!(
        "{} events, {} MB, {} matches; matching {seconds:.3} s = {:.0} events/s ({:.2} µs/event); with decoding {whole:.2?} = {:.0} events/s",
        bench.events,
        bench.bytes / 1_000_000,
        bench.matches,
        bench.events as f64 / seconds,
        seconds * 1e6 / bench.events.max(1) as f64,
        bench.events as f64 / whole.as_secs_f64(),
    );
}
