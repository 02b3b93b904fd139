//! `reeve ledger`: verify, prove, check, checkpoint, fork.

use std::{
    io::IsTerminal,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use indicatif::{ProgressBar, ProgressStyle};
use reeve_access::{Access, Accounts, Action};
use reeve_ledger::{
    ForkAuthority, Ledger, Options, Progress, Report, Trust, VerifierKey, VerifyOptions, prove, verify, verify_proof,
};
use reeve_record::RecordId;
use serde_json::json;

use crate::{
    ceremony::TwoPeople,
    client::{Client, Where},
    completeness_cmd::{Completeness, Receipts, completeness, receipts},
    exit::{Failure, UNUSABLE, UNVERIFIED, USAGE},
    folder::{Folder, stable_key},
    output::{self, Format},
    retention_cmd::{Redact, redact},
    serve::{DataLock, config::read_policy},
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
    /// Say what is there of a source and what is missing, in a signed statement; or check one
    Completeness(Completeness),
    /// Check receipts for deliveries, offline or against the ledger that gave them
    Receipt(Receipts),
    /// Let a restored record go on: two people, a reason, and an entry in the log that everybody sees
    Fork(Fork),
    /// Take the content of records out; their leaves, and all proofs of others, stay. Two people, a reason, an entry in the log
    Redact(Redact),
}

/// Verify a data folder; a server may be running on it
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve ledger verify --data /var/lib/reeve --key reeve.vkey
  reeve ledger verify --data case-17 --format ndjson
  reeve ledger verify --data /var/lib/reeve --key reeve.vkey --against checkpoint-of-monday
  reeve ledger verify --data /var/lib/reeve --key reeve.vkey --resume verified.state

The keys are DIR/ledger/keys/checkpoint.vkey and root.vkey: keep copies elsewhere. Exit codes: 0 everything holds, 4 something does not.")]
pub(crate) struct Verify {
    /// Data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// File with the log's public key (vkey) kept from before; without it the folder's own is trusted
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// File with the public key of the first key epoch (root.vkey) kept from before; all later keys must descend from it
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// Trust policy (C2SP tlog-policy): its quorum of witnesses must have cosigned [default: the folder's own]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Hash of a fork you know of, as `reeve ledger fork` printed it; may be given again
    #[arg(long, value_name = "HASH")]
    fork: Vec<String>,
    /// File with a checkpoint of the record's log kept from before: the log must still hold what it covers; may be given more than once
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,
    /// Threads that read segments [default: as many as there are processors]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// File that keeps what was read, made if it is not there: a run that was stopped goes on, a later one reads only what is new or changed
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
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
    /// Trust policy (C2SP tlog-policy): its quorum of witnesses must have cosigned
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
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

/// Let a restored record go on
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve ledger fork --data /var/lib/reeve --requester ana --approver ben --reason 'disk failed, restored from the backup of 4 January'
  REEVE_REQUESTER_PASSWORD=... REEVE_APPROVER_PASSWORD=... reeve ledger fork --data DIR --requester ana --approver ben --reason '...'

Both are accounts of this folder and give their passwords in REEVE_REQUESTER_PASSWORD and REEVE_APPROVER_PASSWORD. The server must be
stopped. Note each hash it prints: the logs verify only for those who give them. Witnesses' operators take their record back by hand.")]
pub(crate) struct Fork {
    /// Data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    people: TwoPeople,
    /// Why, in one line of at most 1,024 bytes
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Runs the command.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Verify(args) => check_folder(&args),
        Command::Prove(args) => print_proof(&args),
        Command::Check(args) => check_proof(&args),
        Command::Checkpoint(args) => checkpoint(&args.data),
        Command::Completeness(args) => completeness(&args),
        Command::Receipt(args) => receipts(&args),
        Command::Fork(args) => fork(&args),
        Command::Redact(args) => redact(&args),
    }
}

fn check_folder(args: &Verify) -> Result<(), Failure> {
    let record = VerifyOptions {
        key: args.key.as_deref().map(read_key).transpose()?,
        root: args.root.as_deref().map(read_key).transpose()?,
        policy: args.policy.as_deref().map(read_policy).transpose()?,
        forks: args.fork.iter().map(|hash| read_hash(hash)).collect::<Result<_, _>>()?,
        against: args.against.iter().map(|path| read_checkpoint(path)).collect::<Result<_, _>>()?,
        threads: args.threads.map_or(0, NonZeroUsize::get),
        resume: args.resume.clone(),
        ..VerifyOptions::default()
    };
    let mut faults = 0;
    for name in ["ledger", "audit"] {
        let dir = args.data.join(name);
        if !dir.is_dir() {
            return Err(Failure::new(USAGE, format!("`{}` has no `{name}`: it is no data folder", args.data.display())));
        }
        // What is given from outside is the record's; the audit log has its own, but for the forks: one ceremony may let both go on.
        let audit = || VerifyOptions {
            forks: record.forks.clone(),
            threads: record.threads,
            resume: args.resume.clone(),
            ..VerifyOptions::default()
        };
        let options = if name == "ledger" { record.clone() } else { audit() };
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
    let bar = progress_bar(name);
    let report =
        verify(dir, options, &mut |progress| show_progress(&bar, progress)).map_err(|error| Failure::new(UNUSABLE, error))?;
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
    show_left_over(name, &report, format)?;
    if let Some(problem) = &report.resume_problem {
        eprintln!("{name}: what was read could not be noted for a later run: {problem}");
    }
    let key = if report.own_key { "the folder's own key: keep it elsewhere and give it with --key" } else { "the key given" };
    eprintln!(
        "{name}: {} records in {} segments recomputed under {} log entries, {} more durable and not sealed, {} declared lost; {}{}{} faults; trusted {key}",
        report.records,
        report.segments,
        report.log_size,
        report.open_records,
        report.lost_records,
        watched(&report),
        recalled(&report),
        report.faults.len()
    );
    Ok(report.faults.len())
}

/// Segments, records and how many a second, on a terminal; else nothing.
fn progress_bar(name: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} segments, {msg}, {elapsed} gone, about {eta} left");
    ProgressBar::new(0).with_prefix(name.to_owned()).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show_progress(bar: &ProgressBar, progress: Progress) {
    bar.set_length(u64::from(progress.segments_total));
    bar.set_position(u64::from(progress.segments));
    let rate = progress.records as f64 / bar.elapsed().as_secs_f64().max(0.001);
    let recalled = if progress.recalled > 0 { format!(", {} of them read before", progress.recalled) } else { String::new() };
    bar.set_message(format!("{} records, {rate:.0}/s{recalled}", progress.records));
}

/// Files of content that was taken out, which a crash left: no fault, since nothing that is kept depends on them, but content that should be gone.
fn show_left_over(name: &str, report: &Report, format: Format) -> Result<(), Failure> {
    for file in &report.left_over {
        if format == Format::Ndjson {
            output::json(&json!({ "log": name, "left_over": file }))?;
        } else {
            output::text(&format!(
                "left over: {file} has content that was taken out\n  hint: it is erased when a server opens this folder\n"
            ))?;
        }
    }
    Ok(())
}

/// What this run did not read itself.
fn recalled(report: &Report) -> String {
    match report.recalled_since {
        Some(since) => format!("{} segments read by earlier runs, since {since}, and unchanged; ", report.recalled),
        None => String::new(),
    }
}

/// What epochs, witnesses and authorities add, where there are any.
fn watched(report: &Report) -> String {
    let mut said = String::new();
    if report.epochs > 0 {
        said.push_str(&format!("{} key epochs; ", report.epochs));
    }
    if let Some(size) = report.cosigned_size {
        said.push_str(&format!("{size} entries under a quorum of witnesses; "));
    }
    if report.time_stamps > 0 {
        said.push_str(&format!("{} time-stamps; ", report.time_stamps));
    }
    said
}

/// The ceremony: both people sign in, the fork is written, and the audit ledger says who held it.
fn fork(args: &Fork) -> Result<(), Failure> {
    let refused = |error: &dyn std::fmt::Display| Failure::new(USAGE, error);
    let authority =
        ForkAuthority::new(&args.people.requester, &args.people.approver, &args.reason).map_err(|error| refused(&error))?;
    if !args.data.join("ledger").is_dir() {
        return Err(Failure::new(USAGE, format!("`{}` is no data folder", args.data.display())));
    }
    let _lock = DataLock::take(&args.data)?;
    let accounts = Accounts::open(&args.data).map_err(|error| refused(&error))?;
    args.people.sign_in(&accounts)?;
    let (ledger, audit) = (own_ledger(&args.data, "ledger")?, own_ledger(&args.data, "audit")?);
    let access = Access::new(Arc::new(audit));
    // Before the fork: a crash in between leaves a note about a fork that is not there, never one without a note.
    for (act, name) in [("ledger_fork_requested", &args.people.requester), ("ledger_fork_approved", &args.people.approver)] {
        access.session(act, name).map_err(|error| refused(&error))?;
    }
    let fork = ledger.fork(&authority).map_err(|error| refused(&error))?;
    // The audit log of a restored folder stands still as the record does: the same two people, the same reason. Where it goes on, there is nothing to do.
    match access.audit().fork(&authority) {
        Ok(fork) => show_fork("audit", &fork)?,
        Err(reeve_ledger::Error::Fork { .. }) => {}
        Err(error) => return Err(refused(&error)),
    }
    show_fork("ledger", &fork)
}

fn show_fork(log: &str, fork: &reeve_ledger::ForkStatement) -> Result<(), Failure> {
    output::json(&json!({
        "log": log, "fork": hex::encode(fork.leaf_hash()), "size": fork.size, "lost": fork.lost, "at": fork.at,
        "root": STANDARD.encode(fork.root), "requester": fork.requester, "approver": fork.approver, "reason": fork.reason,
    }))
}

/// Opens a ledger under the name its own key has.
pub(crate) fn own_ledger(data: &Path, name: &str) -> Result<Ledger, Failure> {
    let dir = data.join(name);
    let key = read_key(&dir.join("keys/checkpoint.vkey"))?;
    let stable_key = stable_key(data, None)?;
    let net = crate::outward::of_folder(data, None)?;
    Ledger::open(&dir, Options { stable_key, net, ..Options::new(key.name()) }).map_err(|error| Failure::new(USAGE, error))
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
        reeve_ledger::Error::NoRecord { .. } | reeve_ledger::Error::NotSealed { .. } | reeve_ledger::Error::Disposed { .. } => {
            Failure::new(USAGE, error)
        }
        other => Failure::new(UNVERIFIED, other),
    })?;
    output::text(&text)
}

fn check_proof(args: &Check) -> Result<(), Failure> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| Failure::new(UNUSABLE, format!("cannot read `{}`: {error}", path.display())))
    };
    let proof = String::from_utf8_lossy(&read(&args.proof)?).into_owned();
    let (key, policy) = (read_key(&args.key)?, args.policy.as_deref().map(read_policy).transpose()?);
    let trust = Trust { key: &key, policy: policy.as_ref() };
    let proven = verify_proof(&proof, &read(&args.raw)?, trust).map_err(|error| Failure::new(UNVERIFIED, error))?;
    let receipt = &proven.leaf.receipt;
    output::json(&json!({
        "verified": true, "record": proven.leaf.id, "source": receipt.source, "sequence": receipt.sequence,
        "received_at": receipt.received_at, "transport": receipt.transport, "grade": receipt.transport.grade(), "log": proven.checkpoint.origin, "size": proven.checkpoint.size,
        "signed_at": proven.checkpoint.at, "epoch": proven.epoch.map(|epoch| epoch.epoch), "witnesses": proven.witnesses,
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

fn read_hash(text: &str) -> Result<reeve_record::Hash, Failure> {
    let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| Failure::new(USAGE, format!("`{text}` is no fork: give the 64 digits that `reeve ledger fork` printed")))
}

fn read_checkpoint(path: &Path) -> Result<String, Failure> {
    let note = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(USAGE, format!("cannot read the checkpoint `{}`: {error}", path.display())))?;
    if reeve_ledger::Checkpoint::is_form_of(&note) {
        return Ok(note);
    }
    let what = "is no checkpoint: give what `reeve ledger checkpoint` printed, or a copy of the file log/checkpoint";
    Err(Failure::new(USAGE, format!("`{}` {what}", path.display())))
}

pub(crate) fn read_key(path: &Path) -> Result<VerifierKey, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(USAGE, format!("cannot read the key `{}`: {error}", path.display())))?;
    VerifierKey::parse(text.trim())
        .map_err(|error| Failure::new(USAGE, format!("`{}` is no verifier key: {error}", path.display())))
}
