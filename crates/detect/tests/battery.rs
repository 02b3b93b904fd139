//! Each feature of the rule language on its own: `cases/detect/battery/NAME.yml` is the rule, `NAME.ndjson` events and whether it fires.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use reeve_decode::{Decoder, Hint};
use reeve_detect::{Engine, RuleSet, Scratch};

fn check(rule: &Path, wrong: &mut Vec<String>) {
    let (set, problems) = RuleSet::load(&[rule.to_owned()]);
    assert!(problems.is_empty(), "{problems:?}");
    let engine = Engine::new(&set);
    let mut scratch = Scratch::new();
    let events = fs::read_to_string(rule.with_extension("ndjson")).unwrap();
    for (number, line) in events.lines().enumerate() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let raw = case["event"].to_string();
        let mut fired = false;
        let mut explained = false;
        Decoder::new(Hint::default()).feed(1, 1, raw.as_bytes(), Timestamp::UNIX_EPOCH, &mut |parsed| {
            engine.evaluate(&parsed, &mut scratch, &mut |_| fired = true);
            explained = engine.explain(&set.rules()[0], &parsed).matches;
        });
        if fired != case["fires"] || explained != fired {
            wrong.push(format!("{}:{}: fired {fired}, explained {explained}: {line}", rule.display(), number + 1));
        }
    }
}

#[test]
fn battery() {
    let folder = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/../../cases/detect/battery");
    let mut rules: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    rules.retain(|path| path.extension().is_some_and(|ending| ending == "yml"));
    rules.sort();
    assert!(rules.len() > 40);
    let mut wrong = Vec::new();
    rules.iter().for_each(|rule| check(rule, &mut wrong));
    assert!(wrong.is_empty(), "{wrong:#?}");
}
