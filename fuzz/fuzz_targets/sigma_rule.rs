//! Any text as a rule file, then the rules against an event: faults are named, nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_decode::{Decoder, Hint};
use reeve_detect::{Engine, RuleSet, Scratch};

fuzz_target!(|text: &str| {
    let (set, _) = RuleSet::from_texts([("fuzz.yml", text)]);
    let engine = Engine::new(&set);
    let raw = br#"{"Channel":"Security","EventID":4688,"CommandLine":"cmd /c x","a":{"b":["c",1,null]},"EventTime":"2024-01-01T00:00:00Z"}"#;
    Decoder::new(Hint::default()).feed(1, 1, raw, jiff::Timestamp::UNIX_EPOCH, &mut |parsed| {
        engine.evaluate(&parsed, &mut Scratch::new(), &mut |_| {});
    });
});
