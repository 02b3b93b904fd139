//! What the tests over the shared data have in common.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use reeve_decode::{Parsed, Problem, RawRecord, Sink};

/// A path in the shared data; `None`, with a line that says so, where there is none.
pub(crate) fn data(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("REEVE_SHARED_DATA")
        .map_or_else(|| PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/../../../shared/data"), PathBuf::from);
    let path = root.join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no shared data (`{}`)", path.display());
    None
}

/// One event as the tests look at it.
pub(crate) struct Seen {
    pub(crate) decoder: &'static str,
    pub(crate) number: u64,
    pub(crate) records: Vec<u64>,
    pub(crate) native: serde_json::Value,
    pub(crate) time: Option<reeve_record::EventTime>,
    pub(crate) head: Option<(String, u32, String, String)>,
    pub(crate) codes: Vec<&'static str>,
}

/// Everything read, by source.
#[derive(Default)]
pub(crate) struct Collected {
    pub(crate) events: BTreeMap<String, Vec<Seen>>,
    pub(crate) problems: Vec<(String, Problem)>,
    pub(crate) raw: u64,
    pub(crate) raw_bytes: u64,
}

impl Sink for Collected {
    fn raw(&mut self, record: RawRecord<'_>) {
        self.raw += 1;
        self.raw_bytes += record.raw.len() as u64;
        self.events.entry(record.source.to_owned()).or_default();
    }

    fn event(&mut self, source: &str, parsed: Parsed<'_>) {
        assert!(!parsed.records.is_empty(), "an event without records in {source}");
        assert!(reeve_decode::DECODERS.contains(&parsed.decoder), "`{}` is not in the list", parsed.decoder);
        let head = parsed
            .head
            .as_ref()
            .map(|head| (head.channel.to_string(), head.event_id, head.provider.to_string(), head.computer.to_string()));
        self.events.entry(source.to_owned()).or_default().push(Seen {
            decoder: parsed.decoder,
            number: parsed.number,
            records: parsed.records.clone(),
            native: serde_json::to_value(&parsed.native).expect("native fields serialise"),
            time: parsed.time,
            head,
            codes: parsed.problems.iter().map(|problem| problem.code).collect(),
        });
    }

    fn problem(&mut self, source: &str, problem: Problem) {
        self.problems.push((source.to_owned(), problem));
    }
}

/// Reads a path with the default limits.
pub(crate) fn read(path: &std::path::Path) -> Collected {
    let mut collected = Collected::default();
    reeve_decode::read_path(path, &reeve_decode::Limits::default(), &mut collected);
    collected
}

impl Collected {
    /// All events with the name of their source.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Seen)> {
        self.events.iter().flat_map(|(source, events)| events.iter().map(move |event| (source.as_str(), event)))
    }

    /// How many events each decoder read.
    pub(crate) fn by_decoder(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for (_, event) in self.all() {
            *counts.entry(event.decoder).or_default() += 1;
        }
        counts
    }
}
