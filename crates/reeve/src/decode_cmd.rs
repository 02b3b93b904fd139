//! `reeve decode`: files in, one JSON object a record out.

use std::{
    io::{self, BufWriter, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::ValueEnum;
use jiff::Timestamp;
use reeve_decode::{Limits, Parsed, Problem, RawRecord, Sink};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    exit,
    scan::{
        damage::{Damage, Told},
        in_order::in_order,
        progress,
    },
};

/// Arguments of `reeve decode`.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub(crate) struct Args {
    /// Files and folders to decode; .gz, .zst, .zip and .tar archives are opened
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Which face of an event to write
    #[arg(long, value_enum, default_value = "both")]
    face: Face,
    /// Files read at the same time [default: number of processors]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

/// What is read, by the names that decoders have: as many as there are, so that the text cannot fall behind.
fn after_help() -> String {
    let kinds = reeve_decode::kinds(100);
    format!(
        "Content decides, not the name. Understood, by an event's `decoder` (docs/reference/sources.md):
{kinds}

Archives and rotated files are opened; what no decoder knows is kept as json, text or unknown.

Examples:
  reeve decode Security.evtx --face ocsf | head
  reeve decode /var/log --face native > events.ndjson"
    )
}

/// A face of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Face {
    /// The fields as the source names them
    Native,
    /// OCSF 1.8
    Ocsf,
    /// Both
    Both,
}

/// One line of output.
#[derive(Serialize)]
struct Line<'l> {
    source: &'l str,
    record: u64,
    #[serde(skip_serializing_if = "is_zero")]
    part: u32,
    raw_sha256: String,
    decoder: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    native: Option<&'l reeve_decode::Map<'l>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ocsf: Option<serde_json::Value>,
    problems: &'l [Problem],
}

fn is_zero(part: &u32) -> bool {
    *part == 0
}

/// What reading a file gives.
enum Piece {
    Lines(Vec<u8>),
    Unreadable { source: String, code: &'static str, detail: String },
    Done { events: u64, damage: Damage },
}

/// Decodes; problems of whole files are said on standard error.
pub(crate) fn run(args: Args) -> ExitCode {
    match decode(&args) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => exit::of(Err(failure)),
    }
}

fn decode(args: &Args) -> Result<u8, exit::Failure> {
    let mut unreadable = 0u64;
    let mut files = Vec::new();
    for found in args.paths.iter().flat_map(|path| reeve_decode::files(path)) {
        match found {
            Ok(path) => {
                let size = std::fs::metadata(&path).map_or(0, |about| about.len());
                files.push((path, size));
            }
            Err((path, error)) => {
                unreadable += 1;
                say("unreadable", &path.to_string_lossy(), "input.unreadable", &error.to_string());
            }
        }
    }
    if files.is_empty() {
        return Err(exit::Failure::new(exit::UNUSABLE, "no input could be read"));
    }
    let threads = args.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let bar = progress(&files);
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout());
    let mut events = 0;
    let read = |(path, size): &(PathBuf, u64), _: &mut (), send: &mut dyn FnMut(Piece) -> bool| {
        read(path, args.face, send);
        bar.inc(*size);
    };
    let done = in_order(
        &files,
        threads,
        || (),
        read,
        |piece| {
            match piece {
                Piece::Lines(lines) => out.write_all(&lines)?,
                Piece::Unreadable { source, code, detail } => {
                    unreadable += 1;
                    say("unreadable", &source, code, &detail);
                }
                Piece::Done { events: count, damage } => {
                    events += count;
                    for (source, code, detail) in damage.told() {
                        unreadable += 1;
                        say("damaged", &source, code, &detail);
                    }
                }
            }
            Ok(())
        },
    )
    .and_then(|()| out.flush());
    bar.finish_and_clear();
    match done {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit::DONE),
        Err(error) => Err(exit::Failure::new(exit::UNUSABLE, format!("cannot write the events: {error}"))),
        Ok(()) if unreadable > 0 && events == 0 => Ok(exit::UNUSABLE),
        Ok(()) if unreadable > 0 => Ok(exit::PARTIAL),
        Ok(()) => Ok(exit::DONE),
    }
}

#[allow(clippy::print_stderr, reason = "inputs that could not be read are named here")]
fn say(how: &str, source: &str, code: &str, detail: &str) {
    let line = format!("{how}: `{source}`: {detail} [{code}]");
    eprintln!("{}", line.chars().map(|c| if c.is_control() { '·' } else { c }).collect::<String>());
}

fn read(path: &Path, face: Face, send: &mut dyn FnMut(Piece) -> bool) {
    let mut reader = Reader {
        face,
        lines: Vec::new(),
        events: 0,
        damage: Damage::default(),
        received: Timestamp::now(),
        stopped: false,
        told: Told::default(),
        send,
    };
    reeve_decode::read_path(path, &Limits::default(), &mut reader);
    reader.hand_over();
    let (events, damage) = (reader.events, reader.damage);
    send(Piece::Done { events, damage });
}

struct Reader<'r> {
    face: Face,
    lines: Vec<u8>,
    events: u64,
    damage: Damage,
    received: Timestamp,
    stopped: bool,
    told: Told,
    send: &'r mut dyn FnMut(Piece) -> bool,
}

impl Reader<'_> {
    fn hand_over(&mut self) {
        if !self.lines.is_empty() {
            self.stopped |= !(self.send)(Piece::Lines(std::mem::take(&mut self.lines)));
        }
    }
}

impl Sink for Reader<'_> {
    fn raw(&mut self, record: RawRecord<'_>) {
        self.received = record.received;
    }

    fn event(&mut self, source: &str, parsed: Parsed<'_>) {
        self.events += 1;
        self.damage.note(source, &parsed);
        if parsed.decoder == "unknown" {
            self.problem(source, Problem { code: "input.unknown", offset: 0, detail: "in no format that is read here".into() });
        }
        let about =
            reeve_ocsf::Source { name: source, record: None, part: parsed.part, received_at: self.received, raw: &parsed.raw };
        let ocsf = (self.face != Face::Native).then(|| reeve_ocsf::to_json(&reeve_ocsf::map(&parsed), &about));
        let line = Line {
            source,
            record: parsed.number,
            part: parsed.part,
            raw_sha256: hex::encode(Sha256::digest(&parsed.raw)),
            decoder: parsed.decoder,
            native: (self.face != Face::Ocsf).then_some(&parsed.native),
            ocsf,
            problems: &parsed.problems,
        };
        if serde_json::to_writer(&mut self.lines, &line).is_ok() {
            self.lines.push(b'\n');
        }
        if self.lines.len() > 1 << 16 {
            self.hand_over();
        }
    }

    fn problem(&mut self, source: &str, problem: Problem) {
        if !self.told.first(source, problem.code) {
            return;
        }
        let piece = Piece::Unreadable { source: source.to_owned(), code: problem.code, detail: problem.detail.into_owned() };
        self.stopped |= !(self.send)(piece);
    }

    fn stopped(&self) -> bool {
        self.stopped
    }
}
