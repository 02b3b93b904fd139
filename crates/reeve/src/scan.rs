//! `reeve scan`: files in, findings out, no server and no configuration.
pub(crate) mod damage; // problems inside events
mod html; // the self-contained report
pub(crate) mod in_order; // files in parallel, results in order
mod render; // findings as NDJSON, CSV, Timesketch CSV, table rows
mod summary; // what is said at the end

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reeve_decode::{Limits, Parsed, Problem, RawRecord, Sink};
use reeve_detect::{Engine, Evidence, Finding, Hit, Level, RuleProblem, Scratch};

use self::{
    damage::{Damage, Told},
    in_order::in_order,
    render::{Render, Rendered},
    summary::Totals,
};
use crate::{exit, rules};

/// How many matches are kept for correlations; what comes beyond is counted and said.
const HITS_MAX: usize = 2_000_000;

/// Arguments of `reeve scan`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  reeve scan /mnt/evidence/winevt --rules sigma-rules.zip --min-level high
  reeve scan case.zip --format html -o report.html

Exit codes: 0 done, 1 findings at or above --fail-on, 2 no input or no rule usable (or a rule file named by itself is
faulty), 3 usage, 5 some input was unreadable (each named on standard error; what could be read was scanned).")]
pub(crate) struct Args {
    /// Files and folders to scan; .gz, .zst, .zip and .tar archives are opened
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Sigma rules: a file, a folder or an archive (.zip, .tar.gz, .tar.zst) [default: the built-in rules]
    #[arg(long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// Leave out findings below this level
    #[arg(long, value_name = "LEVEL", default_value = "informational")]
    min_level: Level,
    /// How findings are written [default: table on a terminal, ndjson into a file or pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the output file if it exists
    #[arg(long)]
    clobber: bool,
    /// End with exit code 1 if there is a finding of this level or above
    #[arg(long, value_name = "LEVEL")]
    fail_on: Option<Level>,
    /// Files read at the same time [default: number of processors]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// List rules that could not be used and every problem
    #[arg(short, long)]
    verbose: bool,
}

/// How findings are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// One OCSF Detection Finding a line
    Ndjson,
    /// Aligned columns
    Table,
    /// Comma-separated values for a spreadsheet
    Csv,
    /// One file to read in a browser, with no other file needed
    Html,
    /// Comma-separated values for Timesketch
    Timesketch,
}

/// Runs the scan; everything but findings is said on standard error.
pub(crate) fn run(args: Args) -> ExitCode {
    match scan(&args) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => exit::of(Err(failure)),
    }
}

fn scan(args: &Args) -> Result<u8, exit::Failure> {
    let start = std::time::Instant::now();
    let format = args.format.unwrap_or(match &args.output {
        None if io::stdout().is_terminal() => Format::Table,
        _ => Format::Ndjson,
    });
    // Said before the work, not after it; the file itself is made only when there is something to write.
    if let Some(path) = args.output.as_ref().filter(|path| !args.clobber && path.exists()) {
        return Err(exists(path));
    }
    let (set, rule_problems) = rules::load(&args.rules);
    let faulty = faulty_by_name(&args.rules, &rule_problems);
    summary::rule_problems(&rule_problems, &faulty, args.verbose);
    if set.is_empty() {
        return Err(exit::Failure::new(
            exit::UNUSABLE,
            "no rule could be used; see the reasons above or run again with --verbose",
        ));
    }
    let engine = Engine::from_shared(std::sync::Arc::new(set));
    let mut totals = Totals::default();
    let files = list(&args.paths, &mut totals);
    if files.is_empty() {
        return Err(exit::Failure::new(exit::UNUSABLE, "no input could be read"));
    }
    let mut out = open(args)?;
    let color =
        args.output.is_none() && io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let render = Render::new(format, color);
    let bar = progress(&files);
    let work = Work { engine: &engine, render: &render, min_level: args.min_level, bar: &bar };
    let threads = args.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let written = write_all(&work, &files, threads, &mut out, &mut totals).and_then(|()| out.flush());
    bar.finish_and_clear();
    match written {
        // The reader has what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(exit::DONE),
        Err(error) => return Err(exit::Failure::new(exit::UNUSABLE, format!("cannot write the findings: {error}"))),
        Ok(()) => {}
    }
    totals.say(&engine, &rule_problems, files.len(), start.elapsed(), args.verbose);
    Ok(code(args, &totals, !faulty.is_empty()))
}

fn code(args: &Args, totals: &Totals, faulty_rule: bool) -> u8 {
    let failing = args.fail_on.is_some_and(|level| totals.by_level.iter().any(|(found, count)| *found >= level && *count > 0));
    if failing {
        1
    } else if totals.events == 0 && totals.unreadable > 0 || faulty_rule {
        exit::UNUSABLE
    } else if totals.unreadable > 0 {
        exit::PARTIAL
    } else {
        exit::DONE
    }
}

/// Faults in rule files that were named one by one: there the author is asking, and gets the answer as an exit code.
fn faulty_by_name<'p>(named: &[PathBuf], problems: &'p [RuleProblem]) -> Vec<&'p RuleProblem> {
    problems.iter().filter(|problem| named.iter().any(|path| path.display().to_string() == problem.path)).collect()
}

/// All files below the paths, with their size; paths that cannot be read are named and counted.
fn list(paths: &[PathBuf], totals: &mut Totals) -> Vec<(PathBuf, u64)> {
    let mut files = Vec::new();
    for found in paths.iter().flat_map(|path| reeve_decode::files(path)) {
        match found {
            Ok(path) => {
                let size = std::fs::metadata(&path).map_or(0, |about| about.len());
                files.push((path, size));
            }
            Err((path, error)) => totals.unreadable_input(&path.to_string_lossy(), "input.unreadable", &error.to_string()),
        }
    }
    files
}

fn open(args: &Args) -> Result<Box<dyn Write>, exit::Failure> {
    let Some(path) = &args.output else { return Ok(Box::new(BufWriter::with_capacity(1 << 16, io::stdout()))) };
    let mut options = File::options();
    options.write(true);
    if args.clobber {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    match options.open(path) {
        Ok(file) => Ok(Box::new(BufWriter::with_capacity(1 << 16, file))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists(path)),
        Err(error) => Err(exit::Failure::new(exit::USAGE, format!("cannot write `{}`: {error}", path.display()))),
    }
}

fn exists(path: &Path) -> exit::Failure {
    exit::Failure::new(exit::USAGE, format!("`{}` exists: give another file, or --clobber to replace it", path.display()))
}

/// A bar over the bytes of all files, on a terminal only.
pub(crate) fn progress(files: &[(PathBuf, u64)]) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let total = files.iter().map(|(_, size)| size).sum();
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8));
    let template = "{bar:30} {bytes}/{total_bytes}  {binary_bytes_per_sec}  {eta} left  {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// What every file is read with.
struct Work<'w> {
    engine: &'w Engine,
    render: &'w Render,
    min_level: Level,
    bar: &'w ProgressBar,
}

/// What reading a file gives, piece by piece.
enum Piece {
    Finding(Level, Rendered),
    /// A match that correlations count.
    Hits(Vec<Hit>, Box<Evidence>),
    /// Something wrong with the file itself: part of it is not scanned.
    Unreadable {
        source: String,
        code: &'static str,
        detail: String,
    },
    Done(FileCounts),
}

/// What one file held.
#[derive(Default)]
struct FileCounts {
    events: u64,
    problems: BTreeMap<&'static str, u64>,
    seen: BTreeMap<String, (u64, usize)>,
    damage: Damage,
}

fn write_all(
    work: &Work<'_>,
    files: &[(PathBuf, u64)],
    threads: usize,
    out: &mut dyn Write,
    totals: &mut Totals,
) -> io::Result<()> {
    let mut rendered = 0u64;
    let mut hits: Vec<(Hit, usize)> = Vec::new();
    let mut kept: Vec<Evidence> = Vec::new();
    out.write_all(work.render.head().as_bytes())?;
    in_order(
        files,
        threads,
        Scratch::collecting,
        |(path, size), scratch, send| read(work, path, *size, scratch, send),
        |piece| {
            match piece {
                Piece::Finding(level, line) => {
                    totals.found(level, &line);
                    work.render.write(out, &line, &mut rendered)?;
                }
                Piece::Hits(found, evidence) => {
                    if hits.len() + found.len() > HITS_MAX {
                        totals.hits_lost += found.len() as u64;
                    } else {
                        hits.extend(found.into_iter().map(|hit| (hit, kept.len())));
                        kept.push(*evidence);
                    }
                }
                Piece::Unreadable { source, code, detail } => totals.unreadable_input(&source, code, &detail),
                Piece::Done(counts) => totals.add(counts),
            }
            Ok(())
        },
    )?;
    for finding in correlate(work.engine, hits, &kept).into_iter().filter(|finding| finding.level >= work.min_level) {
        let line = work.render.one(&finding);
        totals.found(finding.level, &line);
        work.render.write(out, &line, &mut rendered)?;
    }
    out.write_all(work.render.tail(totals).as_bytes())
}

/// Runs correlations over the matches of all files, in order of time.
fn correlate(engine: &Engine, mut hits: Vec<(Hit, usize)>, kept: &[Evidence]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut correlator = engine.correlator();
    hits.sort_by_key(|(hit, at)| (hit.at_ms(), *at));
    for (mut hit, at) in hits {
        hit.token = at as u64;
        correlator.observe(&hit, &mut |found| {
            let mut evidence: Vec<Evidence> =
                found.tokens.iter().filter_map(|token| kept.get(*token as usize)).cloned().collect();
            // The match that completed it stands for the finding, the others follow.
            evidence.reverse();
            if let (Some(first), Some(rule)) = (evidence.first_mut(), engine.rule_at(found.rule)) {
                first.fields.splice(0..0, found.fields);
                findings.push(Finding::from_evidence(rule, evidence));
            }
        });
    }
    findings
}

fn read(work: &Work<'_>, path: &Path, size: u64, scratch: &mut Scratch, send: &mut dyn FnMut(Piece) -> bool) {
    let before = scratch.seen();
    let mut reader =
        Reader { work, scratch, send, counts: FileCounts::default(), size, shown: 0, stopped: false, told: Told::default() };
    reeve_decode::read_path(path, &Limits::default(), &mut reader);
    work.bar.inc(size.saturating_sub(reader.shown));
    let (mut counts, stopped) = (reader.counts, reader.stopped);
    for (name, (events, rules)) in scratch.seen() {
        let known = before.get(&name).map_or(0, |(events, _)| *events);
        if events > known {
            counts.seen.insert(name, (events - known, rules));
        }
    }
    if !stopped {
        send(Piece::Done(counts));
    }
}

/// Takes the events of one file through the rules.
struct Reader<'r> {
    work: &'r Work<'r>,
    scratch: &'r mut Scratch,
    send: &'r mut dyn FnMut(Piece) -> bool,
    counts: FileCounts,
    size: u64,
    shown: u64,
    stopped: bool,
    told: Told,
}

impl Sink for Reader<'_> {
    fn raw(&mut self, record: RawRecord<'_>) {
        // Compressed files unpack to more than their size: the bar waits at their end.
        let at = (record.offset + record.raw.len() as u64).min(self.size);
        if at > self.shown + (1 << 16) {
            self.work.bar.inc(at - self.shown);
            self.shown = at;
        }
    }

    fn event(&mut self, source: &str, parsed: Parsed<'_>) {
        self.counts.events += 1;
        for problem in &parsed.problems {
            *self.counts.problems.entry(problem.code).or_default() += 1;
        }
        self.counts.damage.note(source, &parsed);
        if parsed.decoder == "unknown" && self.told.first(source, "input.unknown") {
            self.tell(source, Problem { code: "input.unknown", offset: 0, detail: "in no format that is read here".into() });
        }
        let (work, send, stopped) = (self.work, &mut *self.send, &mut self.stopped);
        work.engine.evaluate(&parsed, self.scratch, &mut |found| {
            let evidence = Evidence::new(&parsed, source, parsed.number.into(), found.fields);
            if !found.hits.is_empty() {
                *stopped |= !send(Piece::Hits(found.hits, Box::new(evidence.clone())));
            }
            if found.reports && found.rule.level >= work.min_level {
                let finding = Finding::from_evidence(found.rule, vec![evidence]);
                *stopped |= !send(Piece::Finding(finding.level, work.render.one(&finding)));
            }
        });
    }

    fn problem(&mut self, source: &str, problem: Problem) {
        if self.told.first(source, problem.code) {
            self.tell(source, problem);
        } else {
            *self.counts.problems.entry(problem.code).or_default() += 1;
        }
    }

    fn stopped(&self) -> bool {
        self.stopped
    }
}

impl Reader<'_> {
    fn tell(&mut self, source: &str, problem: Problem) {
        let piece = Piece::Unreadable { source: source.to_owned(), code: problem.code, detail: problem.detail.into_owned() };
        self.stopped |= !(self.send)(piece);
    }
}
