//! Every event of the shared data maps to a valid OCSF event; prints what came out per decoder.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use reeve_decode::{Decoder, Hint, Limits, Parsed, Problem, Sink, read_path};
use reeve_ocsf::{Source, class, map, to_json, validate};

/// Events of one kind that are validated; the rest is only mapped and counted.
const PER_KIND: usize = 40;

#[derive(Default)]
struct Judge {
    per_decoder: BTreeMap<&'static str, (usize, usize)>,
    per_class: BTreeMap<(&'static str, u32), usize>,
    kinds: HashMap<String, usize>,
    violations: BTreeMap<String, (usize, String)>,
}

impl Sink for Judge {
    fn event(&mut self, source: &str, parsed: Parsed<'_>) {
        let event = map(&parsed);
        let count = self.per_decoder.entry(parsed.decoder).or_default();
        count.0 += 1;
        count.1 += usize::from(event.class_uid != 0);
        *self.per_class.entry((parsed.decoder, event.class_uid)).or_default() += 1;
        let kind = format!(
            "{} {} {} {}",
            parsed.decoder,
            event.class_uid,
            event.activity_id,
            event.text("metadata.event_code").unwrap_or("")
        );
        let seen = self.kinds.entry(kind.clone()).or_default();
        *seen += 1;
        if *seen > PER_KIND {
            return;
        }
        let about =
            Source { name: source, record: Some("1-1"), part: 0, received_at: jiff::Timestamp::UNIX_EPOCH, raw: &parsed.raw };
        for violation in validate(&to_json(&event, &about)) {
            let entry = self
                .violations
                .entry(format!("{kind}: {} {}", violation.code, violation.path))
                .or_insert_with(|| (0, violation.detail.clone()));
            entry.0 += 1;
        }
    }

    fn problem(&mut self, _: &str, _: Problem) {}
}

fn data() -> PathBuf {
    std::env::var_os("REEVE_SHARED_DATA")
        .map_or_else(|| PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/../../../shared/data"), PathBuf::from)
}

fn check(folders: &[&str]) {
    let mut judge = Judge::default();
    for folder in folders {
        let path = data().join(folder);
        if !Path::new(&path).exists() {
            println!("skipped: no shared data at {folder}");
            return;
        }
        read_path(&path, &Limits::default(), &mut judge);
    }
    judge.say();
}

impl Judge {
    /// Prints what came out.
    fn say(&self) {
        for (decoder, (events, mapped)) in &self.per_decoder {
            println!("{decoder}: {events} events, {mapped} in a class of their own");
            for ((_, uid), count) in self.per_class.iter().filter(|((name, _), _)| name == decoder) {
                println!("    {count:>7}  {uid} {}", class(*uid).map_or("?", |class| class.caption));
            }
        }
        for (what, (count, detail)) in &self.violations {
            println!("VIOLATION {count:>5} {what}: {detail}");
        }
        assert!(self.violations.is_empty(), "{} kinds of violation", self.violations.len());
    }
}

#[test]
fn linux_is_valid() {
    check(&["linux"]);
}

#[test]
fn macs_and_phones_are_valid() {
    check(&["macos", "mobile"]);
}

#[test]
fn windows_is_valid() {
    check(&["windows/evtx-attack", "windows/plaso"]);
}

#[test]
fn network_is_valid() {
    check(&["network/zeek", "network/suricata", "web"]);
}

#[test]
fn cloud_is_valid() {
    check(&["cloud"]);
}

#[test]
fn flows_are_valid() {
    let folder = data().join("network/netflow");
    let Ok(cases) = std::fs::read(folder.join("expected.json")) else {
        println!("skipped: no shared data at network/netflow");
        return;
    };
    let (mut judge, cases) = (Judge::default(), serde_json::from_slice::<Vec<serde_json::Value>>(&cases).unwrap());
    for case in &cases {
        let mut decoder = Decoder::new(Hint::of_source("netflow/192.0.2.1"));
        for (key, packet) in (1..).zip(case["packets_in_order"].as_array().unwrap()) {
            let datagram = std::fs::read(folder.join(packet.as_str().unwrap())).unwrap();
            decoder.feed(key, key, &datagram, jiff::Timestamp::UNIX_EPOCH, &mut |parsed| judge.event("netflow", parsed));
        }
    }
    judge.say();
    let (events, mapped) = judge.per_decoder["netflow"];
    assert!(events > 200 && mapped > 180, "{events} events, {mapped} of them flows");
}
