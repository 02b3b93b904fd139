//! `reeve ledger`: verify, prove, checkpoint.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
};

use reeve_access::Action;
use reeve_ledger::{VerifierKey, VerifyOptions, prove, verify, verify_proof};
use reeve_record::RecordId;
use serde_json::json;

use crate::{
    client::{Client, Where},
    exit::{Failure, UNUSABLE, UNVERIFIED, USAGE},
    folder::Folder,
    output::{self, Format},
};

/// What to do with the record.
#[derive(clap::Subcommand, Debug)]
#[command(after_help = "Examples:
  reeve ledger verify --data /var/lib/reeve --key reeve.vkey
  reeve ledger prove 12-3407 --data case-17 > 12-3407.tlog-proof")]
pub(crate) enum Command {
    /// Recompute everything from stored bytes; names every record that cannot be vouched for and exits with 4
    Verify(Verify),
    /// Print a record's .tlog-proof
    Prove(Prove),
    /// Check a .tlog-proof against the record's bytes and the log's public key, offline
    Check(Check),
    /// Print the latest checkpoint as a signed note
    Checkpoint(Checkpoint),
}

/// Verify a data folder; a server may be running on it
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve ledger verify --data /var/lib/reeve --key reeve.vkey
  reeve ledger verify --data case-17 --format ndjson

The key is DIR/ledger/keys/checkpoint.vkey: keep a copy elsewhere. Exit codes: 0 everything holds, 4 something does not.")]
pub(crate) struct Verify {
    /// Data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// File with the log's public key (vkey) kept from before; without it the folder's own is trusted
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// How faults are shown [default: table on a terminal, ndjson into a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// Print a record's proof
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve ledger prove 12-3407 --data case-17 > 12-3407.tlog-proof
  reeve ledger prove 12-3407 --server http://127.0.0.1:8420 > 12-3407.tlog-proof")]
pub(crate) struct Prove {
    /// The record, as in 12-3407
    record: RecordId,
    #[command(flatten)]
    place: Where,
}

/// Check a proof offline
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve ledger check 12-3407.tlog-proof 12-3407.raw --key reeve.vkey
  reeve ledger check 12-3407.tlog-proof 12-3407.raw --key reeve.vkey && echo intact")]
pub(crate) struct Check {
    /// The .tlog-proof
    proof: PathBuf,
    /// The record's raw bytes
    raw: PathBuf,
    /// File with the log's public key (vkey)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// Print the latest checkpoint
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve ledger checkpoint --data /var/lib/reeve
  reeve ledger checkpoint --data /var/lib/reeve | mail -s checkpoint auditor@example.org")]
pub(crate) struct Checkpoint {
    /// Data folder; a server may be running on it
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// Runs the command.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Verify(args) => check_folder(&args),
        Command::Prove(args) => print_proof(&args),
        Command::Check(args) => check_proof(&args),
        Command::Checkpoint(args) => checkpoint(&args.data),
    }
}

fn check_folder(args: &Verify) -> Result<(), Failure> {
    let key = args.key.as_deref().map(read_key).transpose()?;
    let mut faults = 0;
    for name in ["ledger", "audit"] {
        let dir = args.data.join(name);
        if !dir.is_dir() {
            return Err(Failure::new(USAGE, format!("`{}` has no `{name}`: it is no data folder", args.data.display())));
        }
        // A key from outside is that of the record; the audit log has its own.
        let options = VerifyOptions { key: if name == "ledger" { key.clone() } else { None }, ..VerifyOptions::default() };
        faults += check_ledger(name, &dir, &options, Format::or_default(args.format))?;
    }
    if faults == 0 {
        Ok(())
    } else {
        Err(Failure::new(UNVERIFIED, format!("{faults} faults: the records named above cannot be vouched for")))
    }
}

#[allow(clippy::print_stderr, reason = "progress and summary are not data")]
fn check_ledger(name: &str, dir: &Path, options: &VerifyOptions, format: Format) -> Result<usize, Failure> {
    let show = std::io::stderr().is_terminal();
    let bar = if show { indicatif::ProgressBar::new(0) } else { indicatif::ProgressBar::hidden() };
    let report = verify(dir, options, &mut |progress| {
        bar.set_length(u64::from(progress.segments_total));
        bar.set_position(u64::from(progress.segments));
    })
    .map_err(|error| Failure::new(UNUSABLE, error))?;
    bar.finish_and_clear();
    for fault in &report.faults {
        if format == Format::Ndjson {
            output::json(&json!({ "log": name, "fault": fault }))?;
        } else {
            let records: Vec<String> = fault.records.iter().map(ToString::to_string).collect();
            let records = if records.is_empty() { "none".to_owned() } else { records.join(" ") };
            output::text(&format!(
                "{} {}\n  where: {}\n  records: {records}\n  hint: {}\n",
                fault.code, fault.what, fault.place, fault.hint
            ))?;
        }
    }
    let key = if report.own_key { "the folder's own key: keep it elsewhere and give it with --key" } else { "the key given" };
    eprintln!(
        "{name}: {} records in {} segments recomputed under {} log entries, {} more durable and not sealed, {} declared lost; {} faults; trusted {key}",
        report.records,
        report.segments,
        report.log_size,
        report.open_records,
        report.lost_records,
        report.faults.len()
    );
    Ok(report.faults.len())
}

fn print_proof(args: &Prove) -> Result<(), Failure> {
    if let Some(server) = &args.place.server {
        let client = Client::sign_in(server)?;
        return output::text(&client.text(&format!("/records/{}/proof", args.record))?);
    }
    let Some(data) = &args.place.data else { return Err(Failure::new(USAGE, "give --data DIR or --server URL")) };
    let folder = Folder::existing(data)?;
    let ask = folder.access.ask(&Folder::person(), Action::CheckEvidence, json!({ "proof": args.record }), args.record);
    let scoped = ask.map_err(|error| Failure::new(USAGE, error))?;
    let text = prove(folder.ledger.dir(), *scoped.what()).map_err(|error| match error {
        reeve_ledger::Error::NoRecord { .. } | reeve_ledger::Error::NotSealed { .. } => Failure::new(USAGE, error),
        other => Failure::new(UNVERIFIED, other),
    })?;
    output::text(&text)
}

fn check_proof(args: &Check) -> Result<(), Failure> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| Failure::new(UNUSABLE, format!("cannot read `{}`: {error}", path.display())))
    };
    let proof = String::from_utf8_lossy(&read(&args.proof)?).into_owned();
    let proven =
        verify_proof(&proof, &read(&args.raw)?, &read_key(&args.key)?).map_err(|error| Failure::new(UNVERIFIED, error))?;
    let receipt = &proven.leaf.receipt;
    output::json(&json!({
        "verified": true, "record": proven.leaf.id, "source": receipt.source, "sequence": receipt.sequence,
        "received_at": receipt.received_at, "transport": receipt.transport, "log": proven.checkpoint.origin, "size": proven.checkpoint.size,
    }))
}

fn checkpoint(data: &Path) -> Result<(), Failure> {
    let path = data.join("ledger/log/checkpoint");
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Failure::new(
            USAGE,
            format!(
                "cannot read `{}`: {error}; a data folder has its first checkpoint when its first segment is sealed",
                path.display()
            ),
        )
    })?;
    output::text(&text)
}

fn read_key(path: &Path) -> Result<VerifierKey, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(USAGE, format!("cannot read the key `{}`: {error}", path.display())))?;
    VerifierKey::parse(text.trim())
        .map_err(|error| Failure::new(USAGE, format!("`{}` is no verifier key: {error}", path.display())))
}
