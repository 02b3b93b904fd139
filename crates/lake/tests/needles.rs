//! A needle filter never hides a record that matches: words, phrases and wildcards find the same events with filters, without, and in
//! plain code.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test stops where it is wrong")]

mod common;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use common::{Told, UNORDERED, World, identities, query};
use reeve_record::RecordId;

const ALL: RecordId = RecordId { segment: u32::MAX >> 1, index: 0 };

/// A repeatable source of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }
}

const PARTS: &[&str] = &[
    "user",
    "Kennwort",
    "\u{212a}ELVIN",
    "mi\u{17f}\u{17f}",
    "ssh-rsa",
    "10.0.3.77",
    "C:\\Temp\\a.txt",
    "Stra\u{df}e",
    "GET /index.html",
    "\u{e9}t\u{e9}",
    "\"quoted\"",
    "\u{1f512}lock",
    "AAAA",
    "aaaa",
    "0xdeadbeef",
    "tab\there",
    " ",
    "-",
    "=",
    "{\"k\":\"v\"}",
    "\u{130}stanbul",
];

fn raw(random: &mut Random) -> String {
    (0..1 + random.below(8)).map(|_| random.pick(PARTS)).collect::<Vec<_>>().join(random.pick(&["", " ", "/"]))
}

fn events(random: &mut Random, count: u32) -> Vec<Told> {
    let mut ends = [0; 3];
    (0..count)
        .map(|index| {
            // Three segments; every ninth event is joined of its record and the one after it.
            let (segment, joined) = (index as usize % 3, index % 9 == 4);
            let at = ends[segment];
            ends[segment] += 1 + u32::from(joined);
            let ids: Vec<String> = (at..ends[segment]).map(|at| format!("{segment}-{at}")).collect();
            let chunked = index % 17 == 3;
            let lines: Vec<String> = ids.iter().map(|_| raw(random)).collect();
            let json = serde_json::json!({
                "record": ids[0], "records": if joined { ids.clone() } else { Vec::new() }, "time": "2026-11-20T10:00:00Z",
                "class_uid": if joined || chunked { 1007 } else { 3002 }, "decoder": if chunked { "evtx" } else { "json" }, "native": {"text": raw(random)},
                "raw": lines.join("\n"),
            });
            serde_json::from_value(json).unwrap()
        })
        .collect()
}

/// The text written so that the query means exactly it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn cut(random: &mut Random, text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let start = random.below(letters.len());
    let length = 1 + random.below((letters.len() - start).min(14));
    let cut: String = letters[start..start + length].iter().collect();
    match random.below(4) {
        0 => cut.to_uppercase(),
        1 => cut.to_lowercase(),
        _ => cut,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_hide_nothing_that_matches() {
    let seed = std::env::var("REEVE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_122);
    eprintln!("REEVE_SEED={seed}");
    let mut random = Random(seed);
    let events = events(&mut random, 400);
    let [filtered, plain, unordered] = [World::new(), World::new(), World::new()];
    for world in [&filtered, &plain, &unordered] {
        world.append(&events);
        world.lake.flush(ALL).unwrap();
    }
    filtered.raws.1.store(3, Ordering::Relaxed);
    let mut made = 0;
    while filtered.lake.index_raw(&|| true).unwrap().is_some() {
        made += 1;
    }
    assert_eq!(made, 3);
    unordered.raws.1.store(UNORDERED, Ordering::Relaxed);
    let (mut with_hits, mut without) = (0, 0);
    for _ in 0..120 {
        let from = &events[random.below(events.len())];
        let from_native = random.below(5) == 0;
        let text = cut(&mut random, if from_native { from.native["text"].as_str().unwrap() } else { &from.raw });
        if text.trim().is_empty() {
            continue;
        }
        let (text, expected) = match random.below(3) {
            0 => (format!("NOT {}", quoted(&text)), None),
            1 => (format!("{}*{}", quoted(&text), quoted(&cut(&mut random, &from.raw))), None),
            _ => {
                let folded = text.to_lowercase();
                let plainly = text.is_ascii() && !text.contains(['\\', '"', '\t', 'k', 'K', 's', 'S']);
                (quoted(&text), plainly.then(|| holding(&events, &folded)))
            }
        };
        let wanted = found(&unordered, &text).await;
        assert_eq!(found(&plain, &text).await, wanted, "read in order, without filters: `{text}`");
        assert_eq!(found(&filtered, &text).await, wanted, "with filters: `{text}`");
        if let Some(expected) = expected {
            assert_eq!(wanted, expected, "in plain code: `{text}`");
        }
        *(if wanted.is_empty() { &mut without } else { &mut with_hits }) += 1;
    }
    assert!(with_hits > 30 && without > 0, "{with_hits} queries with hits, {without} without");
}

async fn found(world: &World, text: &str) -> BTreeSet<String> {
    let answer = query(&world.lake, text).await.unwrap_or_else(|error| panic!("`{text}`: {error}"));
    identities(&answer.events).into_iter().collect()
}

fn holding(events: &[Told], folded: &str) -> BTreeSet<String> {
    let text = |event: &Told| {
        if event.decoder == "evtx" { event.native["text"].as_str().unwrap().to_owned() } else { event.raw.clone() }
    };
    events.iter().filter(|event| text(event).to_lowercase().contains(folded)).map(|event| format!("{}/0", event.id())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_stretches_that_may_hold_the_text_are_read() {
    let mut random = Random(7);
    let mut told = events(&mut random, 300);
    told[10].raw = "the-only-needle in here".into();
    let world = World::new();
    world.append(&told);
    world.lake.flush(ALL).unwrap();
    world.raws.1.store(3, Ordering::Relaxed);
    while world.lake.index_raw(&|| true).unwrap().is_some() {}
    let hit = told[10].id();
    let in_segment = world.raws.0.lock().keys().filter(|id| id.segment == hit.segment).count() as u32;
    world.raws.2.store(0, Ordering::Relaxed);
    assert_eq!(found(&world, "the-only-needle").await, BTreeSet::from([format!("{hit}/0")]));
    assert_eq!(world.raws.2.load(Ordering::Relaxed), in_segment, "filters alone ruled the other segments out");
    found(&world, "the-only-needle").await;
    assert_eq!(world.raws.2.load(Ordering::Relaxed), in_segment, "and what was found in sealed segments is remembered");
    // Destroyed and forgotten: nothing tells of it any more.
    world.raws.0.lock().remove(&hit);
    world.lake.forget_raw(hit.segment).unwrap();
    assert!(found(&world, "the-only-needle").await.is_empty());
    let left = std::fs::read_dir(world.folder.path().join("lake/needles")).unwrap().count();
    assert_eq!(left, 2);
    assert!(world.lake.index_raw(&|| true).unwrap().is_some(), "and its filters are made anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_filters_are_not_used() {
    let mut random = Random(11);
    let told = events(&mut random, 60);
    let world = World::new();
    world.append(&told);
    world.lake.flush(ALL).unwrap();
    world.raws.1.store(3, Ordering::Relaxed);
    while world.lake.index_raw(&|| true).unwrap().is_some() {}
    let wanted = found(&world, "\"10.0.3.77\"").await;
    assert!(!wanted.is_empty());
    let folder = world.folder.path().join("lake/needles");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..].iter_mut().for_each(|byte| *byte = 0);
        std::fs::write(path, bytes).unwrap();
    }
    let World { folder, raws, lake } = world;
    drop(lake);
    let world = World { lake: Arc::clone(&common::open(folder.path(), &raws)), folder, raws };
    assert_eq!(found(&world, "\"10.0.3.77\"").await, wanted);
}
