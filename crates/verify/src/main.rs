//! `reeve-verify`: a command line in, one question to the library, verdict and exit code out.
use std::{
    fs,
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use lexopt::{Arg, Parser, ValueExt};
use reeve_verify::{Question, VerifierKey, answer, base64};
use serde_json::{Value, json};

/// Why nothing could be verified, and the exit code for it.
struct Failure(u8, String);

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self(USAGE, format!("{error}; see --help"))
    }
}

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
    let (mut question, mut target, mut parser) = (Question::default(), None, Parser::from_env());
    let (mut ndjson, usage) = (!io::stdout().is_terminal(), |why: &str| Failure(USAGE, why.into()));
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("key") => question.key = Some(key_text(parser.value()?.string()?)?),
            Arg::Long("root-key") => question.root_key = Some(key_text(parser.value()?.string()?)?),
            Arg::Long("policy") => question.policy = Some(text_in(&PathBuf::from(parser.value()?))?),
            Arg::Long("fork") => question.forks.push(parser.value()?.string()?),
            Arg::Long("against") => question.against.push(checkpoint_in(&PathBuf::from(parser.value()?))?),
            Arg::Long("raw") => question.raw = Some(base64(&bytes_in(&PathBuf::from(parser.value()?))?)),
            Arg::Long("format") => match parser.value()?.string()?.as_str() {
                "ndjson" => ndjson = true,
                "human" => ndjson = false,
                other => return Err(usage(&format!("--format is human or ndjson, not `{other}`"))),
            },
            Arg::Long("batch") => return batch(),
            Arg::Short('h') | Arg::Long("help") => return Ok(print(include_str!("help.txt"))),
            Arg::Short('V') | Arg::Long("version") => {
                return Ok(print(concat!("reeve-verify ", env!("CARGO_PKG_VERSION"), "\n")));
            }
            Arg::Value(value) if target.is_none() => target = Some(PathBuf::from(value)),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let target = target.ok_or_else(|| usage("name a ledger or a proof; see --help"))?;
    let is_folder = fs::metadata(&target).map_err(|error| unusable(&target, &error))?.is_dir();
    match (is_folder, &question) {
        (true, Question { raw: Some(_), .. }) => return Err(usage("--raw goes with a proof, and this is a folder")),
        (true, _) => question.dir = Some(ledger_in(target)),
        (false, Question { key: None, .. }) => return Err(usage("a proof says nothing without a key you trust: give --key")),
        (false, Question { raw: None, .. }) => return Err(usage("give the record's bytes with --raw")),
        (false, _) => question.proof = Some(String::from_utf8_lossy(&bytes_in(&target)?).into_owned()),
    }
    show(question.answer(), ndjson)
}

/// A data folder keeps its ledger in a folder of its own.
fn ledger_in(dir: PathBuf) -> PathBuf {
    let inner = dir.join("ledger");
    if !dir.join("log").exists() && inner.join("log").is_dir() { inner } else { dir }
}

/// The key that is given as text, or in the file of that name.
fn key_text(given: String) -> Result<String, Failure> {
    if VerifierKey::parse(&given).is_ok() { Ok(given) } else { text_in(Path::new(&given)) }
}

/// A checkpoint, or that of another copy of the ledger.
fn checkpoint_in(path: &Path) -> Result<String, Failure> {
    if path.is_dir() { text_in(&ledger_in(path.to_owned()).join("log/checkpoint")) } else { text_in(path) }
}

fn text_in(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| unusable(path, &error))
}

fn bytes_in(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure(UNUSABLE, format!("`{}`: {error}", path.display()))
}

/// Prints faults, what was found, and the verdict; returns the exit code.
fn show(mut answer: Value, ndjson: bool) -> Result<u8, Failure> {
    let verdict = text(&answer["verdict"]);
    if verdict == "unusable" {
        return Err(Failure(UNUSABLE, text(&answer["why"])));
    }
    if answer["report"]["own_key"] == true {
        let why = "trusting the key in the folder itself; that shows damage, but not a log rewritten as a whole: give --key";
        let _ = writeln!(io::stderr(), "reeve-verify: warning: {why}");
    }
    let place = if answer.get("report").is_some() { "/report/faults" } else { "/faults" };
    let faults = answer.pointer_mut(place).map_or(json!([]), Value::take);
    let faults = faults.as_array().map(Vec::as_slice).unwrap_or_default();
    for fault in faults {
        print(&if ndjson { format!("{}\n", json!({ "fault": fault })) } else { line(fault) });
    }
    if ndjson {
        print(&format!("{answer}\n"));
    } else {
        let found = ["report", "proven"].iter().filter_map(|part| answer[part].as_object()).flatten();
        found.filter(|(_, value)| !value.is_null()).for_each(|(name, value)| _ = print(&format!("{name} {}\n", text(value))));
        print(&format!("{verdict}: {} faults\n", faults.len()));
    }
    Ok(if verdict == "intact" { 0 } else { FAILED })
}

/// One line: code, place, what, and the records hit, shortened after eight ranges.
fn line(fault: &Value) -> String {
    let mut records: Vec<String> = fault["records"].as_array().into_iter().flatten().map(text).collect();
    if records.len() > 8 {
        records.splice(8.., ["and more".to_owned()]);
    }
    let hit = if records.is_empty() { String::new() } else { format!("; records {}", records.join(", ")) };
    format!("{} {}: {}{hit}\n", text(&fault["code"]), text(&fault["where"]), text(&fault["what"]))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
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
fn print(text: &str) -> u8 {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    0
}

const UNUSABLE: u8 = 2;
const USAGE: u8 = 3;
const FAILED: u8 = 4;
