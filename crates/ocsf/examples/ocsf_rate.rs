//! How many events per second of one thread are mapped: `cargo run --release -p reeve-ocsf --example ocsf_rate -- PATH…`
#![allow(clippy::print_stdout)]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use reeve_decode::{Limits, Parsed, Sink, read_path};

#[derive(Default)]
struct Rate {
    events: u64,
    spent: Duration,
    attributes: usize,
}

impl Sink for Rate {
    fn event(&mut self, _: &str, parsed: Parsed<'_>) {
        let start = Instant::now();
        let event = reeve_ocsf::map(&parsed);
        self.spent += start.elapsed();
        self.events += 1;
        self.attributes += event.attributes.len();
    }
}

fn main() {
    let mut rate = Rate::default();
    for path in std::env::args().skip(1) {
        read_path(Path::new(&path), &Limits::default(), &mut rate);
    }
    let each = rate.spent.as_secs_f64() / rate.events.max(1) as f64;
    println!("{} events, {} attributes, {:.2} us each", rate.events, rate.attributes, each * 1e6);
}
