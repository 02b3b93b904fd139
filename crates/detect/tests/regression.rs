//! SigmaHQ's own positive tests: each recorded log must fire the rule it was recorded for, at least the stated number of times.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::{collections::BTreeMap, path::PathBuf};

use reeve_decode::{Limits, Parsed, Problem, Sink, read_path};
use reeve_detect::{Engine, RuleSet, Scratch};

fn shared_data() -> Option<PathBuf> {
    let path = std::env::var_os("REEVE_SHARED_DATA")
        .map_or_else(|| PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/../../../shared/data"), PathBuf::from);
    path.join("sigma").is_dir().then_some(path)
}

/// Counts matches by the folder of the log and the rule's id.
struct Count<'e> {
    engine: &'e Engine,
    scratch: Scratch,
    matches: BTreeMap<(String, String), u64>,
    problems: Vec<String>,
}

impl Sink for Count<'_> {
    fn event(&mut self, source: &str, parsed: Parsed<'_>) {
        let folder = folder(source);
        let matches = &mut self.matches;
        self.engine.evaluate(&parsed, &mut self.scratch, &mut |found| {
            *matches.entry((folder.clone(), found.rule.id.clone())).or_default() += 1;
        });
    }

    fn problem(&mut self, source: &str, problem: Problem) {
        self.problems.push(format!("{source}: {} {}", problem.code, problem.detail));
    }
}

fn folder(path: &str) -> String {
    let member = path.rsplit('!').next().unwrap_or(path);
    format!(
        "{}|{}",
        member.rsplit_once('/').map_or("", |(folder, _)| folder),
        if path.ends_with(".evtx") { "evtx" } else { "json" }
    )
}

/// Rule id and count per folder, out of the `info.yml` files.
fn expectations(archive: &std::path::Path) -> Vec<(String, String, u64)> {
    let mut zip = zip::ZipArchive::new(std::fs::File::open(archive).unwrap()).unwrap();
    let mut expected = Vec::new();
    for index in 0..zip.len() {
        let mut member = zip.by_index(index).unwrap();
        let name = String::from_utf8_lossy(member.name_raw()).into_owned();
        if !name.ends_with("info.yml") {
            continue;
        }
        let mut text = String::new();
        std::io::Read::read_to_string(&mut member, &mut text).unwrap();
        let after = |key: &str| text.split(key).nth(1).map(|rest| rest.lines().next().unwrap().trim().to_owned());
        let rule =
            text.split("rule_metadata:").nth(1).unwrap().split("id:").nth(1).unwrap().lines().next().unwrap().trim().to_owned();
        let count = after("match_count:").and_then(|count| count.parse().ok()).unwrap_or(1);
        expected.push((name.trim_end_matches("/info.yml").to_owned(), rule, count));
    }
    expected
}

#[test]
fn each_recording_fires_its_rule() {
    let Some(data) = shared_data() else {
        eprintln!("skipped: no shared data");
        return;
    };
    let (rules, problems) = RuleSet::load(&[data.join("sigma/sigmahq-rules.tar.zst")]);
    assert!(rules.len() > 3_600, "{} rules", rules.len());
    // The archive also carries rules its authors gave up; every other one must be usable.
    let given_up = |path: &str| ["!unsupported/", "!deprecated/"].iter().any(|folder| path.contains(folder));
    let unexpected: Vec<_> =
        problems.iter().filter(|problem| !given_up(&problem.path) && !problem.reason.contains("placeholder")).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    let archive = data.join("sigma/regression_data.zip");
    let engine = Engine::new(&rules);
    let mut count = Count { engine: &engine, scratch: Scratch::new(), matches: BTreeMap::new(), problems: Vec::new() };
    read_path(&archive, &Limits::default(), &mut count);
    let mut wrong = Vec::new();
    let expected = expectations(&archive);
    let total = expected.len();
    for (folder, rule, wanted) in expected {
        let got = count.matches.get(&(format!("{folder}|evtx"), rule.clone())).copied().unwrap_or(0);
        // Some recordings hold the same act several times and state it once, so more is right and fewer is not.
        if got < wanted {
            wrong.push(format!("{folder}: rule {rule} fired {got} times, {wanted} wanted"));
        }
    }
    eprintln!("{} of {total} as recorded", total - wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Compares the engine with each rule looked at on its own, without automata and candidates.
struct Compare<'e> {
    engine: &'e Engine,
    scratch: Scratch,
    number: usize,
    compared: u64,
    differing: Vec<String>,
}

impl Sink for Compare<'_> {
    fn event(&mut self, source: &str, parsed: Parsed<'_>) {
        self.number += 1;
        if !self.number.is_multiple_of(16) {
            return;
        }
        let mut fired = std::collections::HashSet::new();
        self.engine.evaluate(&parsed, &mut self.scratch, &mut |found| {
            fired.insert(found.rule.id.clone());
        });
        let rules = self.engine.rules().rules();
        for rule in rules.iter().skip(self.number % 7).step_by(7).filter(|rule| !rule.is_correlation()) {
            self.compared += 1;
            if self.engine.explain(rule, &parsed).matches != fired.contains(&rule.id) {
                self.differing.push(format!("{source} #{}: {}", parsed.number, rule.id));
            }
        }
    }
}

#[test]
fn looking_for_rare_texts_first_loses_no_match() {
    let Some(data) = shared_data() else {
        eprintln!("skipped: no shared data");
        return;
    };
    let (rules, _) = RuleSet::load(&[data.join("sigma/sigmahq-rules.tar.zst")]);
    let engine = Engine::new(&rules);
    let mut compare = Compare { engine: &engine, scratch: Scratch::new(), number: 0, compared: 0, differing: Vec::new() };
    read_path(&data.join("sigma/regression_data.zip"), &Limits::default(), &mut compare);
    eprintln!("{} pairs of event and rule compared", compare.compared);
    assert!(compare.compared > 10_000);
    assert!(compare.differing.is_empty(), "{:#?}", compare.differing);
}

/// Names of the rules that fired, with how often.
struct Fired<'e> {
    engine: &'e Engine,
    scratch: Scratch,
    rules: BTreeMap<String, u64>,
}

impl Sink for Fired<'_> {
    fn event(&mut self, _: &str, parsed: Parsed<'_>) {
        let rules = &mut self.rules;
        self.engine.evaluate(&parsed, &mut self.scratch, &mut |found| *rules.entry(found.rule.title.clone()).or_default() += 1);
    }
}

/// Attacks on macOS as Elastic's agent recorded them, against the rules for macOS and no others.
#[test]
fn rules_for_macos_fire_on_recorded_attacks() {
    let Some(data) = shared_data().filter(|data| data.join("macos/attack-dataset").is_dir()) else {
        eprintln!("skipped: no shared data");
        return;
    };
    let (rules, _) = RuleSet::load(&[data.join("sigma/sigmahq-rules.tar.zst")]);
    let engine = Engine::new(&rules);
    let mut fired = Fired { engine: &engine, scratch: Scratch::new(), rules: BTreeMap::new() };
    read_path(&data.join("macos/attack-dataset"), &Limits::default(), &mut fired);
    eprintln!("{:#?}", fired.rules);
    for title in ["Scheduled Cron Task/Job - MacOs", "Root Account Enable Via Dsenableroot"] {
        assert!(fired.rules.contains_key(title), "`{title}` did not fire");
    }
}
