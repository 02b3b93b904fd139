//! Hand-written inputs under `cases/ocsf` against the events expected of them; all of them valid.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::{fs, path::PathBuf};

use reeve_decode::{Decoder, Hint, Limits, Parsed, Sink, read_path};
use reeve_ocsf::{Source, map, to_json, validate};

#[derive(Default)]
struct Events(Vec<String>);

impl Sink for Events {
    fn event(&mut self, _: &str, parsed: Parsed<'_>) {
        let event = map(&parsed);
        let about = Source {
            name: "case",
            record: Some("0-1"),
            part: parsed.part,
            received_at: jiff::Timestamp::UNIX_EPOCH,
            raw: &parsed.raw,
        };
        let json = to_json(&event, &about);
        assert_eq!(validate(&json), [], "{json:#}");
        self.0.push(json.to_string());
    }
}

/// One datagram a line, of one exporter.
fn read_datagrams(text: &str, events: &mut Events) {
    let mut decoder = Decoder::new(Hint::of_source("netflow/192.0.2.1"));
    for (key, line) in (1..).zip(text.lines().filter(|line| !line.starts_with('#'))) {
        let datagram = hex::decode(line).unwrap();
        decoder.feed(key, key, &datagram, jiff::Timestamp::UNIX_EPOCH, &mut |parsed| events.event("case", parsed));
    }
}

#[test]
fn cases_map_as_written_down() {
    let folder = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/../../cases/ocsf");
    let mut inputs: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "log" || end == "hex"))
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 4, "the cases are there");
    for input in inputs {
        let mut events = Events::default();
        if input.extension().is_some_and(|end| end == "hex") {
            read_datagrams(&fs::read_to_string(&input).unwrap(), &mut events);
        } else {
            read_path(&input, &Limits { received: Some(jiff::Timestamp::UNIX_EPOCH), ..Limits::default() }, &mut events);
        }
        let (found, expected) = (events.0.join("\n") + "\n", input.with_extension("json"));
        if std::env::var_os("REEVE_UPDATE").is_some() {
            fs::write(&expected, &found).unwrap();
            continue;
        }
        let wanted = fs::read_to_string(&expected).unwrap();
        for (line, (found, wanted)) in found.lines().zip(wanted.lines()).enumerate() {
            assert_eq!(found, wanted, "{} line {}", expected.display(), line + 1);
        }
        assert_eq!(found.lines().count(), wanted.lines().count(), "{}", expected.display());
    }
}
