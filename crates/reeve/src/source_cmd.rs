//! `reeve source`: register senders, see how they do, try a sample; and keys of those that number and sign what they send.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{IsTerminal as _, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use reeve_api::sources::{ChangedSource, Source, SourceAct, SourceChange, SourceDetail, SourceList, SourceState};
use reeve_decode::{Limits, Parsed, Problem, RawRecord, Sink};
use reeve_ledger::NoteKey;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    asked::{self, Act, EventOf},
    client::{Client, escaped},
    exit::{Failure, UNUSABLE, USAGE},
    output::{self, Format},
};

/// What to do with sources.
#[derive(clap::Subcommand, Debug)]
#[command(after_help = "Examples:
  reeve source add web1 --wait
  reeve source list
  reeve source show web1")]
pub(crate) enum Command {
    /// Register a source and print what to paste where its events are
    Add(Add),
    /// List the sources: state, rate, last seen, problems
    List(List),
    /// Show one source: what its events were read as, the first and the last, problems by reason
    Show(Show),
    /// Say how a sample would be read: decoder, OCSF class, problems. Nothing is kept
    Test(Test),
    /// Refuse what a source sends; what was kept stays
    #[command(
        after_help = "Examples:\n  reeve source disable web1 --reason 'decommissioned'\n  reeve source disable web1 --data /var/lib/reeve"
    )]
    Disable(Change),
    /// Take what a source sends again
    #[command(after_help = "Examples:\n  reeve source enable web1\n  reeve source enable web1 --server http://127.0.0.1:8420")]
    Enable(Change),
    /// Give a source up for good: its token is forgotten, its name stays taken, what was kept stays
    #[command(
        visible_alias = "remove",
        after_help = "Examples:\n  reeve source retire web1 --reason 'replaced by web2'\n  reeve source retire web1 --data /var/lib/reeve"
    )]
    Retire(Change),
    /// Give a source another token; the one before is refused from then on
    #[command(
        after_help = "Examples:\n  reeve source token web1\n  reeve source token web1 --data /var/lib/reeve | jq -r .token"
    )]
    Token(Change),
    /// Make the key of a source that numbers and signs: the file signs, the key that is printed goes into the server's configuration
    #[command(after_help = "Examples:
  reeve source key edge/web1 web1.key
  reeve source key edge/web1 web1.key | jq -r .key

In the server's configuration:
  [[sources]]
  key = \"edge/web1+53121d4e+AUgH…\"
  heartbeat_seconds = 60")]
    Key {
        /// Name of the source: text without spaces and +
        name: String,
        /// File for the signing key; must not be there yet
        file: PathBuf,
    },
}

/// Where the sources are registered.
#[derive(clap::Args, Debug)]
struct Place {
    /// Data folder, with or without a server running on it
    #[arg(long, value_name = "DIR", default_value = "reeve-data", conflicts_with = "server")]
    data: PathBuf,
    /// Address of a running server, as in http://127.0.0.1:8420; signs in with REEVE_USER and REEVE_PASSWORD
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

/// Register a source
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve source add web1 --wait
  reeve source add shop --for filebeat --label customers --data /var/lib/reeve
  reeve source add edge --for rsyslog --address 192.0.2.0/24

Without --address and --certificate the source gets a token, which is shown this once. A running server takes it at once.")]
pub(crate) struct Add {
    /// Name of the source: 1 to 64 of a-z, 0-9, dot, underscore and dash
    name: String,
    /// What it sends with: curl, filebeat, fluent-bit, vector, otel, splunk, rsyslog or journal-upload
    #[arg(long = "for", value_name = "WAY", default_value = "curl")]
    way: String,
    /// Policy label: the retention and access regime of its records, for good
    #[arg(long, value_name = "LABEL", default_value = "default")]
    label: String,
    /// An address or network it sends from; may be given again
    #[arg(long, value_name = "IP|NETWORK")]
    address: Vec<String>,
    /// The name in its client certificate
    #[arg(long, value_name = "NAME")]
    certificate: Option<String>,
    /// Wait for its first event and show it, for so many seconds at most
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "300")]
    wait: Option<u64>,
    #[command(flatten)]
    place: Place,
    /// How it is shown [default: text on a terminal, ndjson into a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// List the sources
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve source list
  reeve source list --server http://127.0.0.1:8420 --format ndjson

Senders that nobody registered are listed too, while a server runs. Counts are since its start.")]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
    /// How they are shown [default: table on a terminal, ndjson into a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// Show one source
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve source show web1
  reeve source show web1 --data /var/lib/reeve --format ndjson")]
pub(crate) struct Show {
    /// Name of the source
    name: String,
    #[command(flatten)]
    place: Place,
    /// How it is shown [default: table on a terminal, ndjson into a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// Say how a sample would be read
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve source test web1 /var/log/nginx/access.log
  tail -n 100 /var/log/app.log | reeve source test web1

Content decides how it is read, not the source: the name only says whose sample it is.")]
pub(crate) struct Test {
    /// Name of the source
    name: String,
    /// The sample; standard input without it
    file: Option<PathBuf>,
    /// How it is shown [default: table on a terminal, ndjson into a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// A change of one source.
#[derive(clap::Args, Debug)]
pub(crate) struct Change {
    /// Name of the source
    name: String,
    /// Why; kept with the source and in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Runs the command.
pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Add(args) => add(args),
        Command::List(args) => list(args),
        Command::Show(args) => show(args),
        Command::Test(args) => test(args),
        Command::Disable(args) => change(args, SourceAct::Disable),
        Command::Enable(args) => change(args, SourceAct::Enable),
        Command::Retire(args) => change(args, SourceAct::Retire),
        Command::Token(args) => change(args, SourceAct::Token),
        Command::Key { name, file } => key(name, file),
    }
}

fn add(args: &Add) -> Result<(), Failure> {
    let asked = SourceChange {
        act: SourceAct::Add,
        name: args.name.clone(),
        way: Some(args.way.clone()),
        label: Some(args.label.clone()),
        certificate: args.certificate.clone(),
        addresses: args.address.clone(),
        reason: None,
    };
    let made = args.place.change(&asked)?;
    let as_text = Format::or_default(args.format) == Format::Table;
    if as_text {
        output::text(made.setup.as_deref().unwrap_or_default())?;
    } else {
        output::json(&made)?;
    }
    say(&about(&made));
    match args.wait {
        Some(seconds) => wait(args, seconds, as_text),
        None => Ok(()),
    }
}

/// What goes on standard error beside a new source or token.
fn about(made: &ChangedSource) -> String {
    let Source { name, label, known_by, .. } = &made.source;
    let token = made.token.as_ref().map_or("", |_| "; its token is shown this once");
    format!("`{name}` is registered under the label `{label}`, known by {}{token}", known_by.join(", "))
}

fn wait(args: &Add, seconds: u64, as_text: bool) -> Result<(), Failure> {
    say(&format!("waiting for the first event of `{}`, {seconds} s at most", args.name));
    let began = Instant::now();
    let event = args.place.first_event(&args.name, seconds)?;
    if event.is_null() {
        let message = format!(
            "no event of `{0}` came within {seconds} s. The source is registered: `reeve source show {0}` says what was refused, if anything was",
            args.name
        );
        return Err(Failure::new(UNUSABLE, message));
    }
    say(&format!("the first event came after {:.1} s", began.elapsed().as_secs_f64()));
    if !as_text {
        return output::json(&event);
    }
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let class = event["class_name"].as_str().map_or_else(|| event["class_uid"].to_string(), str::to_owned);
    let row = vec![text("time"), text("source"), text("decoder"), class, text("summary"), text("record")];
    output::table(&["time", "source", "read as", "class", "summary", "record"], [row])
}

fn list(args: &List) -> Result<(), Failure> {
    let list: SourceList = read(args.place.ask(Act::ListSources, "/sources", json!({}))?)?;
    if Format::or_default(args.format) == Format::Ndjson {
        return list.sources.iter().try_for_each(output::json);
    }
    let rows = list.sources.iter().map(|source| {
        let wrong: u64 =
            [&source.problems, &source.misread, &source.refused, &source.dropped].into_iter().flat_map(BTreeMap::values).sum();
        vec![
            source.name.clone(),
            state(source.state).to_owned(),
            source.label.clone(),
            source.known_by.join(" "),
            format!("{:.1}/s", source.rate_per_second),
            source.last_seen_at.clone().unwrap_or_else(|| "not since the start".to_owned()),
            source.records.to_string(),
            wrong.to_string(),
        ]
    });
    output::table(&["source", "state", "label", "known by", "rate", "last seen", "records", "problems"], rows)
}

fn show(args: &Show) -> Result<(), Failure> {
    let path = format!("/sources/{}", escaped(&args.name));
    let detail: SourceDetail = read(args.place.ask(Act::ShowSource, &path, json!({ "name": args.name }))?)?;
    if Format::or_default(args.format) == Format::Ndjson {
        return output::json(&detail);
    }
    output::table(&["", ""], facts(&detail))?;
    let rows = detail.read_as.iter().map(|read| {
        let decoder = if read.recognised { read.decoder.clone() } else { format!("{} (not recognised)", read.decoder) };
        vec![decoder, read.events.to_string(), read.first_at.clone(), read.last_at.clone(), read.query.clone()]
    });
    output::table(&["read as", "events", "first", "last", "find with"], rows)?;
    let source = &detail.source;
    let counts =
        [("problem", &source.problems), ("misread", &source.misread), ("refused", &source.refused), ("dropped", &source.dropped)];
    let rows = counts.into_iter().flat_map(|(what, counts)| {
        counts.iter().map(move |(reason, times)| vec![what.to_owned(), reason.clone(), times.to_string()])
    });
    output::table(&["since the start", "reason", "times"], rows)
}

fn facts(detail: &SourceDetail) -> Vec<Vec<String>> {
    let source = &detail.source;
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".to_owned());
    let first = detail.read_as.iter().map(|read| &read.first_at).min();
    let last = detail.read_as.iter().map(|read| &read.last_at).max();
    let pairs = [
        ("source", source.name.clone()),
        ("state", state(source.state).to_owned()),
        ("reason", or_none(&source.reason)),
        ("label", source.label.clone()),
        ("known by", source.known_by.join(" ")),
        ("registered", format!("{} by {}", or_none(&source.created_at), or_none(&source.created_by))),
        ("changed", format!("{} by {}", or_none(&source.changed_at), or_none(&source.changed_by))),
        ("first event", or_none(&first.cloned())),
        ("last event", or_none(&last.cloned())),
        ("last seen", or_none(&source.last_seen_at)),
        ("rate", format!("{:.1} records/s over the last minute", source.rate_per_second)),
        ("find with", source.query.clone()),
    ];
    pairs.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect()
}

const fn state(state: SourceState) -> &'static str {
    match state {
        SourceState::Enabled => "enabled",
        SourceState::Disabled => "disabled",
        SourceState::Retired => "retired",
        SourceState::Unregistered => "unregistered",
    }
}

fn change(args: &Change, act: SourceAct) -> Result<(), Failure> {
    let asked = SourceChange {
        act,
        name: args.name.clone(),
        way: None,
        label: None,
        certificate: None,
        addresses: Vec::new(),
        reason: args.reason.clone(),
    };
    output::json(&args.place.change(&asked)?)
}

impl Place {
    fn change(&self, asked: &SourceChange) -> Result<ChangedSource, Failure> {
        let changed = match &self.server {
            Some(server) => Client::sign_in(server)?.post("/sources", &json!(asked))?,
            None => asked::sources(&self.data, Act::ChangeSource, json!(asked), Duration::ZERO)?,
        };
        read(changed)
    }

    fn ask(&self, act: Act, path: &str, detail: Value) -> Result<Value, Failure> {
        match &self.server {
            Some(server) => Client::sign_in(server)?.get(path),
            None => asked::sources(&self.data, act, detail, PATIENCE),
        }
    }

    /// The latest event of a source as a list shows it; null if none came in time.
    fn first_event(&self, name: &str, seconds: u64) -> Result<Value, Failure> {
        let Some(server) = &self.server else {
            let of = EventOf { name: name.to_owned(), wait_seconds: seconds };
            return asked::sources(&self.data, Act::SourceEvent, json!(of), Duration::from_secs(seconds));
        };
        let (client, until) = (Client::sign_in(server)?, Instant::now() + Duration::from_secs(seconds));
        loop {
            let list: SourceList = read(client.get("/sources")?)?;
            let came = list.sources.iter().any(|source| source.name == name && source.records > 0);
            let mut event = Value::Null;
            if came {
                let query = [("q", format!("source:{name} OR source:{name}/*")), ("limit", "1".to_owned())];
                client.lines("/search", &query, |mut line| {
                    if line["type"] == "row" {
                        event = line["row"].take();
                    }
                    Ok(())
                })?;
            }
            if !event.is_null() || Instant::now() >= until {
                return Ok(event);
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|error| Failure::new(UNUSABLE, format!("the answer is not as it should be: {error}")))
}

/// How the events of a sample with one decoder and class were read.
#[derive(Serialize, Default)]
struct Sampled {
    source: String,
    decoder: String,
    recognised: bool,
    class_uid: u64,
    class_name: String,
    events: u64,
    problems: BTreeMap<String, u64>,
}

/// Takes a sample apart.
struct Sample<'s> {
    name: &'s str,
    received: jiff::Timestamp,
    read: BTreeMap<(String, u64), Sampled>,
    /// Problems of the sample as a whole.
    broken: Vec<Problem>,
}

impl Sink for Sample<'_> {
    fn raw(&mut self, record: RawRecord<'_>) {
        self.received = record.received;
    }

    fn event(&mut self, _source: &str, parsed: Parsed<'_>) {
        let about =
            reeve_ocsf::Source { name: self.name, record: None, part: parsed.part, received_at: self.received, raw: &parsed.raw };
        let ocsf = reeve_ocsf::to_json(&reeve_ocsf::map(&parsed), &about);
        let class_uid = ocsf["class_uid"].as_u64().unwrap_or_default();
        let sampled = self.read.entry((parsed.decoder.to_owned(), class_uid)).or_insert_with(|| Sampled {
            source: self.name.to_owned(),
            decoder: parsed.decoder.to_owned(),
            recognised: !matches!(parsed.decoder, "json" | "text" | "unknown"),
            class_uid,
            class_name: ocsf["class_name"].as_str().unwrap_or_default().to_owned(),
            ..Sampled::default()
        });
        sampled.events += 1;
        for problem in &parsed.problems {
            *sampled.problems.entry(problem.code.to_owned()).or_default() += 1;
        }
    }

    fn problem(&mut self, _source: &str, problem: Problem) {
        self.broken.push(problem);
    }
}

fn test(args: &Test) -> Result<(), Failure> {
    let mut sample = Sample { name: &args.name, received: jiff::Timestamp::now(), read: BTreeMap::new(), broken: Vec::new() };
    read_sample(args, &mut sample)?;
    for problem in &sample.broken {
        say(&format!("sample of `{}`: {} [{}, byte {}]", args.name, problem.detail, problem.code, problem.offset));
    }
    if sample.read.is_empty() {
        return Err(Failure::new(UNUSABLE, "nothing was read out of the sample"));
    }
    if Format::or_default(args.format) == Format::Ndjson {
        return sample.read.values().try_for_each(output::json);
    }
    let rows = sample.read.values().map(|read| {
        let decoder = if read.recognised { read.decoder.clone() } else { format!("{} (not recognised)", read.decoder) };
        let problems: Vec<String> = read.problems.iter().map(|(code, times)| format!("{code} {times}×")).collect();
        vec![decoder, format!("{} {}", read.class_uid, read.class_name), read.events.to_string(), problems.join(", ")]
    });
    output::table(&["read as", "OCSF class", "events", "problems"], rows)
}

/// Reads the file with the sample, or standard input.
fn read_sample(args: &Test, sample: &mut Sample<'_>) -> Result<(), Failure> {
    match &args.file {
        Some(file) => reeve_decode::read_path(file, &Limits::default(), sample),
        None if std::io::stdin().is_terminal() => return Err(Failure::new(USAGE, "give a FILE with a sample, or pipe one in")),
        None => reeve_decode::read(Box::new(std::io::stdin().take(SAMPLE_BYTES_MAX)), &args.name, &Limits::default(), sample),
    }
    Ok(())
}

fn key(name: &str, file: &Path) -> Result<(), Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Failure::new(USAGE, format!("the system gives no random numbers: {error}")))?;
    let key = NoteKey::new(name, &seed).map_err(|error| Failure::new(USAGE, error))?;
    let failed = |error: std::io::Error| Failure::new(USAGE, format!("cannot write `{}`: {error}", file.display()));
    let mut out = File::options().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
    out.write_all(key.to_text().as_bytes()).and_then(|()| out.sync_all()).map_err(failed)?;
    output::json(&json!({ "source": name, "key": key.verifier().to_string(), "file": file }))
}

/// Says something that is not data.
#[allow(clippy::print_stderr, reason = "what is not data goes to standard error")]
fn say(line: &str) {
    eprintln!("{}", line.chars().map(|c| if c.is_control() { '·' } else { c }).collect::<String>());
}

/// A source with very many events takes a while to be counted.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of a sample this much is read.
const SAMPLE_BYTES_MAX: u64 = 64 << 20;
