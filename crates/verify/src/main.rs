//! `reeve-verify`: arguments in, verdict and exit code out. Everything else is the library.
use std::{
    fs,
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use lexopt::{Arg, Parser, ValueExt};
use reeve_verify::{Fault, Folder, Policy, Proven, Report, Trust, VerifierKey, answer, fork_hash, verify, verify_proof};
use serde_json::json;

const HELP: &str = include_str!("help.txt");

/// What was asked for.
#[derive(Default)]
struct Wanted {
    target: Option<PathBuf>,
    key: Option<String>,
    root_key: Option<String>,
    policy: Option<PathBuf>,
    forks: Vec<String>,
    raw: Option<PathBuf>,
    ndjson: Option<bool>,
    batch: bool,
}

/// Why nothing could be verified, and the exit code for it.
struct Failure(u8, String);

fn main() -> ExitCode {
    match run() {
        Ok(code) => code.into(),
        Err(Failure(code, why)) => {
            let _ = writeln!(io::stderr(), "reeve-verify: {why}");
            code.into()
        }
    }
}

fn run() -> Result<u8, Failure> {
    let Some(wanted) = arguments().map_err(|error| Failure(USAGE, format!("{error}; see --help")))? else { return Ok(0) };
    if wanted.batch {
        return batch();
    }
    let target = wanted.target.ok_or_else(|| Failure(USAGE, "name a ledger or a proof; see --help".into()))?;
    let policy = wanted.policy.as_deref().map(policy_in).transpose()?;
    let trust = Trust {
        key: wanted.key.as_deref().map(trusted).transpose()?,
        root: wanted.root_key.as_deref().map(trusted).transpose()?,
        policy,
        forks: wanted.forks.iter().map(|fork| fork_hash(fork)).collect::<Result<_, _>>().map_err(|why| Failure(USAGE, why))?,
    };
    let ndjson = wanted.ndjson.unwrap_or_else(|| !io::stdout().is_terminal());
    let metadata = fs::metadata(&target).map_err(|error| unusable(&target, &error))?;
    if metadata.is_dir() {
        if wanted.raw.is_some() {
            return Err(Failure(USAGE, "--raw goes with a proof, and this is a folder".into()));
        }
        return Ok(ledger(&target, &trust, ndjson));
    }
    let key = trust.key.ok_or_else(|| Failure(USAGE, "a proof says nothing without a key you trust: give --key".into()))?;
    let raw = wanted.raw.ok_or_else(|| Failure(USAGE, "give the record's bytes with --raw".into()))?;
    let read = |path: &Path| fs::read(path).map_err(|error| unusable(path, &error));
    let proven = verify_proof(&read(&target)?, &read(&raw)?, &key, trust.policy.as_ref());
    Ok(proof(proven, ndjson))
}

/// `None` where help or version was all that was asked for.
fn arguments() -> Result<Option<Wanted>, lexopt::Error> {
    let (mut wanted, mut parser) = (Wanted::default(), Parser::from_env());
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("key") => wanted.key = Some(parser.value()?.string()?),
            Arg::Long("root-key") => wanted.root_key = Some(parser.value()?.string()?),
            Arg::Long("policy") => wanted.policy = Some(parser.value()?.into()),
            Arg::Long("fork") => wanted.forks.push(parser.value()?.string()?),
            Arg::Long("raw") => wanted.raw = Some(parser.value()?.into()),
            Arg::Long("batch") => wanted.batch = true,
            Arg::Long("format") => wanted.ndjson = Some(format(&parser.value()?.string()?)?),
            Arg::Short('h') | Arg::Long("help") => return Ok(said(HELP)),
            Arg::Short('V') | Arg::Long("version") => return Ok(said(concat!("reeve-verify ", env!("CARGO_PKG_VERSION"), "\n"))),
            Arg::Value(value) if wanted.target.is_none() => wanted.target = Some(value.into()),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some(wanted))
}

fn format(name: &str) -> Result<bool, lexopt::Error> {
    match name {
        "ndjson" => Ok(true),
        "human" => Ok(false),
        _ => Err(format!("--format is human or ndjson, not `{name}`").into()),
    }
}

fn said(text: &str) -> Option<Wanted> {
    print(text);
    None
}

/// The key that is given as text, or in the file of that name.
fn trusted(given: &str) -> Result<VerifierKey, Failure> {
    let text = match VerifierKey::parse(given) {
        Ok(key) => return Ok(key),
        Err(_) => fs::read_to_string(given).map_err(|error| unusable(Path::new(given), &error))?,
    };
    VerifierKey::parse(&text).map_err(|why| Failure(UNUSABLE, format!("`{given}`: {why}")))
}

fn policy_in(path: &Path) -> Result<Policy, Failure> {
    let text = fs::read_to_string(path).map_err(|error| unusable(path, &error))?;
    Policy::parse(&text).map_err(|why| Failure(UNUSABLE, format!("`{}`: {why}", path.display())))
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure(UNUSABLE, format!("`{}`: {error}", path.display()))
}

fn ledger(dir: &Path, trust: &Trust, ndjson: bool) -> u8 {
    // A data folder keeps its ledger in a folder of its own.
    let inner = dir.join("ledger");
    let dir = if !dir.join("log").exists() && inner.join("log").is_dir() { inner } else { dir.to_owned() };
    let mut report = verify(&Folder::new(&dir), trust);
    let verdict = report.verdict();
    if report.own_key {
        let warning =
            "warning: trusting the key in the folder itself; that shows damage, but not a log rewritten as a whole: give --key";
        let _ = writeln!(io::stderr(), "reeve-verify: {warning}");
    }
    for fault in &report.faults {
        print_fault(fault, ndjson);
    }
    let faults = report.faults.split_off(0);
    print(&if ndjson {
        format!("{}\n", json!({ "verdict": verdict, "report": report }))
    } else {
        summary(&report, verdict, faults.len())
    });
    if faults.is_empty() { 0 } else { FAILED }
}

fn summary(report: &Report, verdict: &str, faults: usize) -> String {
    let signed = report.signed.as_deref().map_or("no valid checkpoint".into(), |at| format!("checkpoint of {at}"));
    format!(
        "{verdict}: {faults} faults; {} segments, {} records recomputed ({} declared lost), {signed}; {} records unsealed, checked by checksum only\n",
        report.segments, report.records, report.lost_records, report.open_records,
    )
}

fn proof(proven: Result<Proven, Fault>, ndjson: bool) -> u8 {
    match proven {
        Ok(proven) if ndjson => {
            print(&format!("{}\n", json!({ "verdict": "intact", "proven": proven })));
            0
        }
        Ok(proven) => {
            print(&told(&proven));
            0
        }
        Err(fault) => {
            print_fault(&fault, ndjson);
            print(&if ndjson {
                format!("{}\n", json!({ "verdict": "failed", "faults": 1 }))
            } else {
                "failed: 1 fault\n".into()
            });
            FAILED
        }
    }
}

fn told(proven: &Proven) -> String {
    let Proven { record, source, received, transport, grade, raw_bytes, sealed, origin, entries, signed, .. } = proven;
    format!(
        "intact: these {raw_bytes} bytes are record {record} of {origin}, from {source} by {transport} (grade {grade}), received {received}, \
         sealed {sealed}, under the checkpoint over {entries} entries signed {signed}\n"
    )
}

fn print_fault(fault: &Fault, ndjson: bool) {
    print(&if ndjson { format!("{}\n", json!({ "fault": fault })) } else { format!("{fault}\n") });
}

/// Answers every line of standard input; the verdicts are in the answers, not in the exit code.
fn batch() -> Result<u8, Failure> {
    for question in io::stdin().lock().lines() {
        let question = question.map_err(|error| Failure(UNUSABLE, format!("standard input: {error}")))?;
        print(&format!("{}\n", answer(&question)));
    }
    Ok(0)
}

/// A reader that closed the pipe has what it wanted; the exit code still tells the verdict.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

const UNUSABLE: u8 = 2;
const USAGE: u8 = 3;
const FAILED: u8 = 4;
