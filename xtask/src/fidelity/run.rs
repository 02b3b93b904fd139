//! Inputs through `reeve decode`, as a user's would go.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::{
    expect::Case,
    pair::{Pair, Reader},
};
use crate::run::{Done, reeve, target_dir};

/// The program that decodes: what `--with` names, else the release build, else (or with `--dev`) the debug build.
pub fn program(flags: &[&str]) -> Done<PathBuf> {
    if let Some(named) = crate::bench::value(flags, "--with") {
        return Ok(named.into());
    }
    let profiles: &[&str] = if flags.contains(&"--dev") { &["debug"] } else { &["release", "debug"] };
    let built = profiles.iter().map(|profile| reeve(profile)).find(|path| path.exists());
    built.ok_or_else(|| format!("no reeve is built: cargo build --release -p reeve\n{}", super::USAGE))
}

/// Decodes all cases of a pair in one run and hands over each with its events, in order.
pub fn decode(program: &Path, pair: &Pair, cases: Vec<Case>, mut each: impl FnMut(Case, Vec<Value>)) -> Done {
    let folder = target_dir().join("fidelity");
    _ = fs::remove_dir_all(&folder);
    for (at, case) in cases.iter().enumerate() {
        let place = folder.join(format!("{at:05}"));
        fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
        fs::write(place.join(&case.file_name), &case.bytes).map_err(|error| format!("{}: {error}", place.display()))?;
    }
    let face = if pair.reader == Reader::Counts { "native" } else { "both" };
    let mut command = Command::new(program);
    command.args(["decode", "--face", face, "."]).current_dir(&folder);
    let failed = |error: std::io::Error| format!("{}: {error}", program.display());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(failed)?;
    let mut gathered: Vec<Gathered> = cases.iter().map(|case| Gathered::new(pair, case)).collect();
    for line in BufReader::new(child.stdout.take().ok_or("no output")?).lines() {
        let event: Value = serde_json::from_str(&line.map_err(failed)?).map_err(|error| format!("`reeve decode`: {error}"))?;
        if let Some(gathered) = case_of(&event).and_then(|at| gathered.get_mut(at)) {
            gathered.take(event);
        }
    }
    // Damaged inputs are among them, and their exit code is 3; a program that did not run at all has no events to compare.
    child.wait().map_err(failed)?;
    _ = fs::remove_dir_all(&folder);
    for (case, gathered) in cases.into_iter().zip(gathered) {
        let events = gathered.events(&case);
        each(case, events);
    }
    Ok(())
}

fn case_of(event: &Value) -> Option<usize> {
    let source = event["source"].as_str()?;
    source.trim_start_matches("./").split('/').next()?.parse().ok()
}

/// What is kept of a case's events until all are read.
enum Gathered {
    Events { events: Vec<Value>, most: usize },
    Counted(Counted),
}

impl Gathered {
    fn new(pair: &Pair, case: &Case) -> Self {
        match pair.reader {
            Reader::Counts => Self::Counted(Counted::default()),
            Reader::Notations => Self::Events { events: Vec::new(), most: case.expected.len() },
            _ => Self::Events { events: Vec::new(), most: usize::MAX },
        }
    }

    fn take(&mut self, event: Value) {
        match self {
            Self::Events { events, most } if events.len() < *most => events.push(event),
            Self::Events { .. } => {}
            Self::Counted(counted) => counted.take(&event),
        }
    }

    fn events(self, case: &Case) -> Vec<Value> {
        match self {
            Self::Counted(counted) => vec![counted.event()],
            Self::Events { events, .. } if case.file_name == "eve.json" => vec![matching(&events, case)],
            Self::Events { events, .. } => events,
        }
    }
}

/// What another reader of EVTX counts, counted over our events.
#[derive(Default)]
struct Counted {
    records: u64,
    ids: Option<(u64, u64)>,
    times: Option<(String, String)>,
    by_channel_event_id: BTreeMap<String, u64>,
    computers: BTreeMap<String, u64>,
}

impl Counted {
    fn take(&mut self, event: &Value) {
        // The other reader counts what it recovered apart.
        let recovered = event["problems"].as_array().into_iter().flatten().any(|problem| problem["code"] == "evtx.recovered");
        if recovered || event["decoder"] != "evtx" || event["native"]["Event"].is_null() {
            return;
        }
        let system = &event["native"]["Event"]["System"];
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.records += 1;
        // In the file's order, as the other reader names the first and the last.
        if let Some(id) = text(&system["EventRecordID"]).parse().ok() {
            self.ids = Some((self.ids.map_or(id, |(first, _)| first), id));
        }
        let time = text(&system["TimeCreated"]["SystemTime"]);
        self.times = Some((self.times.take().map_or_else(|| time.clone(), |(first, _)| first), time));
        let kind = format!("{}/{}", text(&system["Channel"]), text(&system["EventID"]));
        *self.by_channel_event_id.entry(kind).or_default() += 1;
        *self.computers.entry(text(&system["Computer"])).or_default() += 1;
    }

    fn event(self) -> Value {
        let (ids, times) = (self.ids.unzip(), self.times.unzip());
        json!({"native": {"records": self.records, "first_record_id": ids.0, "last_record_id": ids.1, "first_time": times.0,
            "last_time": times.1, "by_channel_event_id": self.by_channel_event_id, "computers": self.computers}})
    }
}

/// How many events meet each of the case's checks.
fn matching(events: &[Value], case: &Case) -> Value {
    let counts = case.expected.iter().flatten().map(|(check, _)| {
        let matched: Value = serde_json::from_str(check).unwrap_or_default();
        let count = events.iter().filter(|event| meets(&event["native"], &matched)).count();
        (check.clone(), Value::from(count))
    });
    json!({"native": Value::Object(counts.collect())})
}

/// Whether an event has what suricata-verify asks for: values by path, and its conditions.
fn meets(native: &Value, matched: &Value) -> bool {
    matched.as_object().into_iter().flatten().all(|(path, want)| match path.as_str() {
        "has-key" => !super::compare::find(native, &super::same::text(want)).is_empty(),
        "not-has-key" => super::compare::find(native, &super::same::text(want)).is_empty(),
        path => condition(native, path, want),
    })
}

fn condition(native: &Value, path: &str, want: &Value) -> bool {
    let (path, test) = path.split_once("__").unwrap_or((path, ""));
    let path = path.replace(['[', ']'], ".").replace("..", ".");
    let found = super::compare::find(native, path.trim_end_matches('.'));
    let text = super::same::text(want);
    match test {
        "contains" => found.iter().any(|value| super::same::text(value).contains(&text)),
        "startswith" => found.iter().any(|value| super::same::text(value).starts_with(&text)),
        "endswith" => found.iter().any(|value| super::same::text(value).ends_with(&text)),
        "len" => found.first().and_then(|value| value.as_array()).map(Vec::len) == want.as_u64().and_then(|n| n.try_into().ok()),
        _ => found.iter().any(|value| super::same::equal(value, want)),
    }
}
