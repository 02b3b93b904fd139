use std::borrow::Cow;

use reeve_record::EventTime;

use crate::decoder::Record;
use crate::{Map, Parsed, Problem};

/// Lines of one event; what follows stands for itself.
const LINES_MAX: usize = 4096;
/// Bytes of one event; what follows stands for itself.
const BYTES_MAX: usize = 1 << 20;

/// Whether a line cannot be the first of its event: SQL over several lines, the frames of a stack trace.
pub(crate) fn goes_on(raw: &[u8]) -> bool {
    raw.starts_with(b" ") || raw.starts_with(b"\t") || raw.starts_with(b"Caused by: ")
}

/// Joins a dated line of text with the lines that go on from it, as database servers and stack traces write them.
#[derive(Default)]
pub(crate) struct Joiner {
    pending: Option<Pending>,
}

struct Pending {
    keys: Vec<u64>,
    number: u64,
    raw: Vec<u8>,
    /// The lines as text, a newline between them.
    text: String,
    time: EventTime,
    problems: Vec<Problem>,
}

impl Joiner {
    /// Keeps a dated line until it is known whether it goes on.
    pub(crate) fn hold(&mut self, record: Record<'_>, line: &str, time: EventTime) {
        self.pending = Some(Pending {
            keys: vec![record.key],
            number: record.number,
            raw: record.raw.to_vec(),
            text: line.to_owned(),
            time,
            problems: record.problems,
        });
    }

    /// Takes a line that goes on from the one before; gives the record back if there is none that it could go on from.
    pub(crate) fn join<'a>(&mut self, record: Record<'a>, line: &str) -> Option<Record<'a>> {
        let room = |pending: &&mut Pending| pending.keys.len() < LINES_MAX && pending.raw.len() + record.raw.len() < BYTES_MAX;
        let Some(pending) = self.pending.as_mut().filter(room) else { return Some(record) };
        pending.keys.push(record.key);
        pending.raw.push(b'\n');
        pending.raw.extend_from_slice(record.raw);
        pending.text.push('\n');
        pending.text.push_str(line);
        pending.problems.extend(record.problems);
        None
    }

    /// Emits the event that waits.
    pub(crate) fn flush(&mut self, emit: &mut dyn FnMut(Parsed<'_>)) {
        let Some(pending) = self.pending.take() else { return };
        let mut native = Map::new();
        native.push("message", pending.text.as_str());
        emit(Parsed {
            records: pending.keys,
            part: 0,
            number: pending.number,
            raw: Cow::Borrowed(&pending.raw),
            decoder: "text",
            native,
            time: Some(pending.time),
            head: None,
            problems: pending.problems,
        });
    }
}
