//! `reeve ledger completeness` and `reeve ledger receipt`: what is there of a source, and whether a promise was kept.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::StreamExt as _;
use jiff::Timestamp;
use reeve_access::Action;
use reeve_completeness::{Query, Reading, Receipt, ReceiptFault, SourceLine, Statement, check_statement, survey};
use reeve_lake::{Lake, SearchEvent, SearchRequest};
use reeve_ledger::{Ledger, VerifierKey};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::{
    client::Client,
    exit::{Failure, UNUSABLE, UNVERIFIED, USAGE},
    folder::Folder,
    ledger_cmd::{own_ledger, read_key},
    output,
};

/// Say what is there of a source, and what is missing, in a signed statement
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve ledger completeness 'edge/*' --from 2026-11-01T00:00:00Z --to 2026-12-01T00:00:00Z --data /var/lib/reeve -o november
  reeve ledger completeness '*' --server http://127.0.0.1:8420
  reeve ledger completeness --check november --key reeve.vkey

A source that does not number its records (reeve send does) has no number expected: then nobody can know what is missing. Format:
docs/spec/receipt.md. Exit codes: 0 said or verified, 4 the statement does not hold.")]
pub(crate) struct Completeness {
    /// Name of the source; * stands for any text, ? for one character
    #[arg(value_name = "SOURCE", required_unless_present = "check")]
    source: Option<String>,
    /// Only records received at or after this time, RFC 3339
    #[arg(long, value_name = "T")]
    from: Option<Timestamp>,
    /// Only records received before this time, RFC 3339
    #[arg(long, value_name = "T")]
    to: Option<Timestamp>,
    /// Data folder, while no server runs on it
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    data: Option<PathBuf>,
    /// Address of a running server, as in http://127.0.0.1:8420; signs in with REEVE_USER and REEVE_PASSWORD
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Keep the signed statement in this file
    #[arg(short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Check the signed statement in this file instead, offline
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with_all = ["source", "data", "server", "output"])]
    check: Option<PathBuf>,
    /// With --check: file with the log's public key (vkey)
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// How it is shown [default: text on a terminal, json into a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// How a statement is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Format {
    /// One JSON object: the statement, and the note that is signed
    Json,
    /// For people
    Text,
}

/// Check a receipt: that the ledger's key signed it, and with --data that the ledger holds what it promises
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve ledger receipt receipts --key reeve.vkey
  reeve ledger receipt receipts --key reeve.vkey --data /var/lib/reeve

FILE holds receipts one after the other, as `reeve send --receipts` keeps them. The server must be stopped for --data.
Exit codes: 0 all hold, 4 one does not; each that does not is named.")]
pub(crate) struct Receipts {
    /// The receipts
    file: PathBuf,
    /// File with the log's public key (vkey)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Data folder that gave them
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// What statements are made from.
pub(crate) struct Place {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) audit: Arc<Ledger>,
    pub(crate) lake: Arc<Lake>,
}

impl Place {
    /// A statement and the note over it. Blocks; must not be called on an async thread.
    pub(crate) fn state(&self, query: &Query, handle: &Handle) -> Result<(Statement, String), String> {
        let reading = handle.block_on(unparsed(&self.lake, query)).map_err(|error| error.to_string())?;
        let statement = survey(&self.ledger, &self.audit, query, Some(&reading));
        let note = statement.sign(&self.ledger).map_err(|error| error.to_string())?;
        Ok((statement, note))
    }
}

/// How many events of each source are nothing but text or bytes.
async fn unparsed(lake: &Arc<Lake>, query: &Query) -> Result<Reading, reeve_lake::Error> {
    let bound = |time: Option<Timestamp>, than: &str| time.map(|at| format!(" AND received_at {than} TIMESTAMP '{at:.6}'"));
    let sql = format!(
        "SELECT source, count(*) AS n FROM events WHERE decoder IN ('text', 'unknown'){}{} GROUP BY source",
        bound(query.from, ">=").unwrap_or_default(),
        bound(query.to, "<").unwrap_or_default(),
    );
    let through = lake.status().read_through;
    let mut answer = lake.search(SearchRequest { query: sql, sql: true, ..SearchRequest::default() })?;
    let mut unparsed = BTreeMap::new();
    while let Some(part) = answer.next().await {
        if let SearchEvent::Table(rows) = part? {
            for row in rows {
                if let [Value::String(source), count] = &row[..] {
                    unparsed.insert(source.clone(), count.as_u64().unwrap_or(0));
                }
            }
        }
    }
    Ok(Reading { through, unparsed })
}

/// `reeve ledger completeness`.
pub(crate) fn completeness(args: &Completeness) -> Result<(), Failure> {
    if let (Some(file), Some(key)) = (&args.check, &args.key) {
        return check(file, &read_key(key)?, args.format);
    }
    let source = args.source.clone().unwrap_or_default();
    let (statement, note) = match (&args.server, &args.data) {
        (Some(server), _) => remote(server, &source, args)?,
        (None, Some(data)) => local(data, source, args)?,
        (None, None) => return Err(Failure::new(USAGE, "give --data DIR or --server URL")),
    };
    if let Some(file) = &args.output {
        std::fs::write(file, &note)
            .map_err(|error| Failure::new(UNUSABLE, format!("cannot write `{}`: {error}", file.display())))?;
    }
    show(&statement, &note, args.format)
}

fn local(data: &Path, source: String, args: &Completeness) -> Result<(Statement, String), Failure> {
    let folder = Folder::existing(data)?;
    let query = Query { source, from: args.from, to: args.to, numbered: true };
    let detail = json!({ "completeness": query.source, "from": query.from, "to": query.to });
    let asked = folder.access.ask(&Folder::person(), Action::CheckEvidence, detail, query);
    let scoped = asked.map_err(|error| Failure::new(USAGE, error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let place = Place { ledger: folder.ledger.clone(), audit: folder.access.audit().clone(), lake: folder.lake.clone() };
    place.state(scoped.what(), runtime.handle()).map_err(|error| Failure::new(UNUSABLE, error))
}

fn remote(server: &str, source: &str, args: &Completeness) -> Result<(Statement, String), Failure> {
    let client = Client::sign_in(server)?;
    let mut query = vec![("source", source.to_owned())];
    query.extend(args.from.map(|time| ("from", time.to_string())));
    query.extend(args.to.map(|time| ("to", time.to_string())));
    let mut answer = client.get_with("/completeness", &query)?;
    let broken = |error: serde_json::Error| Failure::new(UNUSABLE, format!("the server sent a broken statement: {error}"));
    let statement = serde_json::from_value(answer["statement"].take()).map_err(broken)?;
    Ok((statement, answer["note"].as_str().unwrap_or_default().to_owned()))
}

fn check(file: &Path, key: &VerifierKey, format: Option<Format>) -> Result<(), Failure> {
    let text = read(file)?;
    // What `--format json` printed holds the note; the note alone is as good.
    let note =
        serde_json::from_str::<Value>(&text).ok().and_then(|value| Some(value["note"].as_str()?.to_owned())).unwrap_or(text);
    let statement = check_statement(&note, key).map_err(|reason| Failure::new(UNVERIFIED, reason))?;
    show(&statement, &note, format)
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::new(UNUSABLE, format!("cannot read `{}`: {error}", file.display())))
}

fn show(statement: &Statement, note: &str, format: Option<Format>) -> Result<(), Failure> {
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    match format.unwrap_or(if terminal { Format::Text } else { Format::Json }) {
        Format::Json => output::json(&json!({ "statement": statement, "note": note })),
        Format::Text => output::text(&told(statement)),
    }
}

/// The statement for people.
fn told(statement: &Statement) -> String {
    let time = |at: Option<Timestamp>, none: &str| at.map_or(none.to_owned(), |at| at.to_string());
    let mut out = format!(
        "Completeness of `{}`, received from {} to {}, as of {}\n",
        statement.source,
        time(statement.from, "the beginning"),
        time(statement.to, "now"),
        statement.made
    );
    match &statement.checkpoint {
        Some(under) => out.push_str(&format!(
            "under the checkpoint over {} entries of {}; {} records are durable and not under it yet\n",
            under.size, under.at, statement.unsealed
        )),
        None => out.push_str("under no checkpoint yet\n"),
    }
    for line in &statement.sources {
        out.push_str(&source_told(line));
    }
    if statement.sources_left_out > 0 {
        out.push_str(&format!("and {} sources more: narrow the pattern\n", statement.sources_left_out));
    }
    let ledger = &statement.ledger;
    out.push_str(&format!(
        "ledger: {} records lost, {} removed, {} segments unreadable, {} steps back of the clock\nserver: {} starts",
        ledger.lost, ledger.removed, ledger.unreadable_segments, ledger.clock_steps, statement.server.starts
    ));
    for down in &statement.server.down {
        out.push_str(&format!("\n  down from {} to {}{}", down.from, down.to, if down.clean { "" } else { " (killed)" }));
    }
    out.push('\n');
    for line in &statement.listeners {
        out.push_str(&format!(
            "listener {}: dropped {}, refused {}\n",
            line.listener,
            counts(&line.dropped),
            counts(&line.refused)
        ));
    }
    out
}

fn source_told(line: &SourceLine) -> String {
    let known = |count: Option<u64>| count.map_or("unknown".to_owned(), |count| count.to_string());
    let mut out = format!(
        "{}: expected {}, received {}, missing {}; grade {}\n  {} duplicates, {} contradicting, {} late, {} with a clock ahead, {} unparsed\n",
        line.source,
        known(line.expected),
        line.received,
        known(line.missing),
        line.grade.map_or("unknown".to_owned(), |grade| format!("{grade:?}")),
        line.duplicates,
        line.contradicting,
        line.late,
        line.clock_ahead,
        known(line.unparsed),
    );
    for missing in &line.missing_numbers {
        out.push_str(&format!("  missing: {} from number {} on, epoch {}\n", missing.count, missing.first, missing.epoch));
    }
    if line.unknown_tails > 0 {
        out.push_str(&format!("  {} epochs ended nobody knows where\n", line.unknown_tails));
    }
    for span in &line.silences {
        out.push_str(&format!("  silent from {} to {}\n", span.from, span.to));
    }
    if !(line.dropped.is_empty() && line.refused.is_empty()) {
        out.push_str(&format!("  dropped {}, refused {}\n", counts(&line.dropped), counts(&line.refused)));
    }
    out
}

fn counts(counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    counts.iter().map(|(reason, times)| format!("{times} ({reason})")).collect::<Vec<_>>().join(", ")
}

/// `reeve ledger receipt`.
pub(crate) fn receipts(args: &Receipts) -> Result<(), Failure> {
    let (text, key) = (read(&args.file)?, read_key(&args.key)?);
    let ledger = args.data.as_deref().map(|data| own_ledger(data, "ledger")).transpose()?;
    let mut failed = 0;
    let mut checked = 0;
    for note in notes(&text) {
        checked += 1;
        let outcome = Receipt::open(&note, &key).and_then(|receipt| {
            let held = ledger.as_ref().map(|ledger| receipt.check_in(ledger)).transpose()?;
            Ok((receipt, held.is_some()))
        });
        failed += usize::from(outcome.is_err());
        output::json(&receipt_line(outcome))?;
    }
    match (checked, failed) {
        (0, _) => Err(Failure::new(UNUSABLE, format!("`{}` holds no receipt", args.file.display()))),
        (_, 0) => Ok(()),
        _ => Err(Failure::new(UNVERIFIED, format!("{failed} of {checked} receipts do not hold"))),
    }
}

fn receipt_line(outcome: Result<(Receipt, bool), ReceiptFault>) -> Value {
    match outcome {
        Ok((receipt, held)) => json!({
            "verified": true, "held": held.then_some(true), "source": receipt.source, "epoch": receipt.epoch, "first": receipt.first,
            "count": receipt.count, "head": receipt.head, "received": receipt.received,
        }),
        Err(fault) => json!({ "verified": false, "reason": fault.to_string() }),
    }
}

/// Notes that follow each other: each begins with the line that says what it is.
fn notes(text: &str) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        match notes.last_mut() {
            Some(note) if line != "reeve-receipt/v1\n" => note.push_str(line),
            _ => notes.push(line.to_owned()),
        }
    }
    notes
}
