use std::borrow::Cow;

use reeve_record::EventTime;

use crate::decoder::Record;
use crate::form::Line;
use crate::{Map, Parsed, Problem, Value, host_text};

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
    decoder: &'static str,
    /// Its fields but the message.
    native: Map<'static>,
    /// The lines as text, a newline between them.
    text: String,
    time: Option<EventTime>,
    problems: Vec<Problem>,
}

impl Joiner {
    /// Keeps a dated line until it is known whether it goes on.
    pub(crate) fn hold(&mut self, record: Record<'_>, line: &str, time: EventTime) {
        self.pending = Some(Pending {
            keys: vec![record.key],
            number: record.number,
            raw: record.raw.to_vec(),
            decoder: "text",
            native: Map::new(),
            text: line.to_owned(),
            time: Some(time),
            problems: record.problems,
        });
    }

    /// Keeps a line told by its form whose message may go on.
    pub(crate) fn hold_told(&mut self, record: Record<'_>, line: Line<'_>) {
        let mut native = line.native.into_owned();
        let message = native.0.iter().position(|(name, _)| name == "message").map(|at| native.0.remove(at).1);
        let mut problems = record.problems;
        problems.extend(line.problems);
        self.pending = Some(Pending {
            keys: vec![record.key],
            number: record.number,
            raw: record.raw.to_vec(),
            decoder: line.decoder,
            native,
            text: message.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned(),
            time: line.time,
            problems,
        });
    }

    /// Whether a line belongs to the one that waits although it starts like one of its own: it closes what was opened there, or is the
    /// command to a time in a shell's history.
    pub(crate) fn wants(&self, raw: &[u8]) -> bool {
        self.pending.as_ref().is_some_and(|pending| {
            matches!(raw.first(), Some(b')' | b'}')) || host_text::command_goes_on(&pending.native, &pending.text, raw)
        })
    }

    /// Takes a line that goes on from the one before; gives the record back if there is none that it could go on from.
    pub(crate) fn join<'a>(&mut self, record: Record<'a>, line: &str) -> Option<Record<'a>> {
        let room = |pending: &&mut Pending| pending.keys.len() < LINES_MAX && pending.raw.len() + record.raw.len() < BYTES_MAX;
        let Some(pending) = self.pending.as_mut().filter(room) else { return Some(record) };
        pending.keys.push(record.key);
        pending.raw.push(b'\n');
        pending.raw.extend_from_slice(record.raw);
        // The time of a command stands on a line before it.
        if !pending.text.is_empty() {
            pending.text.push('\n');
        }
        pending.text.push_str(line);
        pending.problems.extend(record.problems);
        None
    }

    /// Emits the event that waits.
    pub(crate) fn flush(&mut self, emit: &mut dyn FnMut(Parsed<'_>)) {
        let Some(pending) = self.pending.take() else { return };
        let mut native = pending.native;
        native.push("message", pending.text.as_str());
        emit(Parsed {
            records: pending.keys,
            part: 0,
            number: pending.number,
            raw: Cow::Borrowed(&pending.raw),
            decoder: pending.decoder,
            native,
            time: pending.time,
            head: None,
            problems: pending.problems,
        });
    }
}
