//! Problems of an input and inside its events, told once for each input and kind: what, where first, how often.

use std::{borrow::Cow, collections::BTreeMap};

use reeve_decode::{Parsed, Problem};

/// Inputs and kinds told apart in one file; what comes beyond is in the counts only.
const KINDS_MAX: usize = 1000;
/// Not damage of the input: found in space no longer used; a time that is kept as text; and two that are told of the input as a whole.
const NOT_DAMAGE: [&str; 4] = ["evtx.recovered", "time.unreadable", "unknown.binary", "evtx.chunk_truncated"];

/// What was damaged in one file.
#[derive(Default)]
pub(crate) struct Damage {
    kinds: BTreeMap<(String, &'static str), Kind>,
}

struct Kind {
    place: String,
    detail: Cow<'static, str>,
    count: u64,
}

impl Damage {
    /// Takes the problems of an event.
    pub(crate) fn note(&mut self, source: &str, parsed: &Parsed<'_>) {
        for problem in parsed.problems.iter().filter(|problem| !NOT_DAMAGE.contains(&problem.code)) {
            let full = self.kinds.len() >= KINDS_MAX;
            match self.kinds.get_mut(&(source.to_owned(), problem.code)) {
                Some(kind) => kind.count += 1,
                None if full => {}
                None => {
                    let kind = Kind { place: place(parsed, problem), detail: problem.detail.clone(), count: 1 };
                    self.kinds.insert((source.to_owned(), problem.code), kind);
                }
            }
        }
    }

    /// Input, code and words of each kind.
    pub(crate) fn told(self) -> impl Iterator<Item = (String, &'static str, String)> {
        self.kinds.into_iter().map(|((source, code), Kind { place, detail, count })| {
            let more = if count > 1 { format!(", and {} more", count - 1) } else { String::new() };
            (source, code, format!("{detail}, {place}{more}"))
        })
    }
}

/// Which kinds of problem of an input as a whole were told: a line of a gibibyte is too long once, however many records it is cut into.
#[derive(Default)]
pub(crate) struct Told {
    source: String,
    codes: Vec<&'static str>,
}

impl Told {
    /// Whether this is the first of its kind in its input; inputs come one after the other.
    pub(crate) fn first(&mut self, source: &str, code: &'static str) -> bool {
        if self.source != source {
            self.source = source.to_owned();
            self.codes.clear();
        }
        let first = !self.codes.contains(&code);
        if first {
            self.codes.push(code);
        }
        first
    }
}

fn place(parsed: &Parsed<'_>, problem: &Problem) -> String {
    // A damaged block has no record number of its own: it is named by its place in the input.
    match (parsed.number, parsed.records.first()) {
        (0, Some(block)) => format!("at byte {} of block {block}", problem.offset),
        (number, _) => format!("at byte {} of record {number}", problem.offset),
    }
}
