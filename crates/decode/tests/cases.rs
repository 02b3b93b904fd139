//! The cases under `cases/decode/<decoder>/`: `NAME.input` is read as a stream received at the end of 2026-11-21 UTC, and
//! `NAME.expected` holds one line of JSON an event. `REEVE_BLESS=1` rewrites what is expected; review the difference.

use std::path::PathBuf;

use reeve_decode::{Limits, Parsed, Problem, Sink};

#[derive(Default)]
struct Lines(String);

impl Sink for Lines {
    fn event(&mut self, _source: &str, parsed: Parsed<'_>) {
        let line = serde_json::json!({
            "decoder": parsed.decoder,
            "records": parsed.records,
            "part": parsed.part,
            "number": parsed.number,
            "time": parsed.time,
            "head": parsed.head.as_ref().map(|head| serde_json::json!({
                "channel": head.channel, "event_id": head.event_id, "provider": head.provider, "computer": head.computer, "scopes": head.scopes,
            })),
            "native": parsed.native,
            "problems": parsed.problems,
        });
        self.0.push_str(&line.to_string());
        self.0.push('\n');
    }

    fn problem(&mut self, source: &str, problem: Problem) {
        self.0.push_str(&serde_json::json!({ "source": source, "problem": problem }).to_string());
        self.0.push('\n');
    }
}

#[test]
fn cases_are_read_as_written() {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/../../cases/decode");
    let limits = Limits { received: "2026-11-21T23:59:59Z".parse().ok(), ..Limits::default() };
    let mut count = 0;
    for found in reeve_decode::files(&root) {
        let input = found.expect("a readable case");
        if input.extension().is_none_or(|end| end != "input") {
            continue;
        }
        let mut lines = Lines::default();
        let bytes = std::fs::read(&input).expect("the input reads");
        reeve_decode::read(Box::new(&bytes[..]), "input", &limits, &mut lines);
        let expected = input.with_extension("expected");
        if std::env::var_os("REEVE_BLESS").is_some() {
            std::fs::write(&expected, &lines.0).expect("the expectation is written");
        }
        let want = std::fs::read_to_string(&expected).unwrap_or_default();
        let (got, want): (Vec<_>, Vec<_>) = (lines.0.lines().collect(), want.lines().collect());
        assert_eq!(got, want, "{}", input.display());
        count += 1;
    }
    assert!(count >= 15, "only {count} cases were found");
}
