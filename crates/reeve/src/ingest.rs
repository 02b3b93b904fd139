//! `reeve ingest`: files into the record, then read, with a count and the checkpoint they are under.

use std::{path::PathBuf, sync::Arc, time::Instant};

use bytes::Bytes;
use reeve_decode::{Limits, Problem, RawRecord, Sink};
use reeve_ledger::{Ledger, NewRecord, Ticket};
use reeve_record::Transport;
use serde_json::json;

use crate::{
    client::Client,
    exit::{Failure, PARTIAL, UNUSABLE},
    folder::{Folder, ORIGIN, engine},
    output,
    serve::reading::Reading,
};

/// Arguments of `reeve ingest`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Each line, object or EVTX chunk becomes one record, bit for bit, under the file's path as its source. Into a data folder the
records are read and run through the rules as well before this returns.

Examples:
  reeve ingest evidence/ --data case-17
  reeve ingest /var/log/auth.log --server http://127.0.0.1:8421"
)]
pub(crate) struct Args {
    /// Files or folders; compressed files and archives are unpacked
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Data folder, while no server runs on it; created if it is not there
    #[arg(long, value_name = "DIR", required_unless_present = "server", conflicts_with = "server")]
    data: Option<PathBuf>,
    /// Address of a running server's NDJSON listener, as in http://127.0.0.1:8421; REEVE_TOKEN is sent if it is set
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Rule file, folder or archive; may be given again [default: the built-in rules]
    #[arg(long, value_name = "PATH", conflicts_with = "server")]
    rules: Vec<PathBuf>,
}

/// Records handed to the ledger together, and their bytes.
const BATCH_RECORDS: usize = 4096;
const BATCH_BYTES: usize = 8 << 20;
/// Batches on their way to the disk at once.
const BATCHES_AHEAD: usize = 4;

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let started = Instant::now();
    if let Some(server) = &args.server {
        return send(server, &args.paths, started);
    }
    let Some(data) = &args.data else { return Err(Failure::new(crate::exit::USAGE, "give --data DIR or --server URL")) };
    let folder = Folder::open(data, ORIGIN)?;
    let (engine, _) = engine(&args.rules)?;
    let mut taking = Taking::new(|batch| Ok(Sent::Durable(folder.ledger.submit(batch))));
    take(&args.paths, &mut taking)?;
    let Counts { records, bytes, problems, .. } = taking.counts;
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 16);
    let reading =
        Reading::new(&folder.dir, folder.ledger.clone(), folder.lake.clone(), Arc::new(engine), folder.queue.clone(), threads);
    let progress = reading.progress();
    reading.finish();
    seal(&folder.ledger)?;
    let read = progress.line();
    output::json(&json!({
        "records": records, "bytes": bytes, "events": read.events, "findings": read.findings, "problems": problems + read.problems,
        "seconds": started.elapsed().as_secs_f64(), "checkpoint": folder.ledger.status().last_checkpoint,
    }))?;
    partial(problems)
}

fn seal(ledger: &Ledger) -> Result<(), Failure> {
    ledger.seal_now().and_then(|()| ledger.checkpoint().map(drop)).map_err(|error| {
        Failure::new(
            UNUSABLE,
            format!("the records are durable but could not be sealed: {error}; that follows when the folder is opened again"),
        )
    })
}

fn send(server: &str, paths: &[PathBuf], started: Instant) -> Result<(), Failure> {
    let mut taking = Taking::new(|batch| Client::ingest(server, &batch).map(|()| Sent::Answered));
    take(paths, &mut taking)?;
    let Counts { records, bytes, problems, .. } = taking.counts;
    output::json(
        &json!({ "records": records, "bytes": bytes, "problems": problems, "seconds": started.elapsed().as_secs_f64() }),
    )?;
    partial(problems)
}

fn partial(problems: u64) -> Result<(), Failure> {
    if problems == 0 {
        Ok(())
    } else {
        Err(Failure::new(PARTIAL, format!("{problems} inputs had problems, named above; the rest was taken")))
    }
}

fn take<F: FnMut(Vec<NewRecord>) -> Result<Sent, Failure>>(paths: &[PathBuf], taking: &mut Taking<F>) -> Result<(), Failure> {
    for path in paths {
        reeve_decode::read_path(path, &Limits::default(), taking);
    }
    taking.submit();
    taking.wait_for(0);
    taking.failed.take().map_or(Ok(()), Err)
}

/// How a batch went off.
enum Sent {
    /// On its way to the disk.
    Durable(Ticket),
    /// Durable: the server said so.
    Answered,
}

#[derive(Default)]
struct Counts {
    records: u64,
    bytes: u64,
    problems: u64,
}

/// Gathers raw records into batches.
struct Taking<F> {
    submit: F,
    batch: Vec<NewRecord>,
    batch_bytes: usize,
    under_way: std::collections::VecDeque<Ticket>,
    source: (String, Arc<str>),
    counts: Counts,
    failed: Option<Failure>,
}

impl<F: FnMut(Vec<NewRecord>) -> Result<Sent, Failure>> Taking<F> {
    fn new(submit: F) -> Self {
        let source = (String::new(), Arc::from(""));
        Self {
            submit,
            batch: Vec::new(),
            batch_bytes: 0,
            under_way: Default::default(),
            source,
            counts: Counts::default(),
            failed: None,
        }
    }

    fn submit(&mut self) {
        if self.batch.is_empty() || self.failed.is_some() {
            return;
        }
        self.batch_bytes = 0;
        match (self.submit)(std::mem::take(&mut self.batch)) {
            Ok(Sent::Durable(ticket)) => self.under_way.push_back(ticket),
            Ok(Sent::Answered) => {}
            Err(failure) => self.failed = Some(failure),
        }
        self.wait_for(BATCHES_AHEAD);
    }

    fn wait_for(&mut self, ahead: usize) {
        while self.under_way.len() > ahead {
            let Some(ticket) = self.under_way.pop_front() else { return };
            if let Err(error) = ticket.wait() {
                self.failed.get_or_insert_with(|| Failure::new(UNUSABLE, format!("records could not be made durable: {error}")));
            }
        }
    }
}

impl<F: FnMut(Vec<NewRecord>) -> Result<Sent, Failure>> Sink for Taking<F> {
    fn raw(&mut self, record: RawRecord<'_>) {
        if self.source.0 != record.source {
            self.source = (record.source.to_owned(), source_name(record.source).into());
        }
        self.counts.records += 1;
        self.counts.bytes += record.raw.len() as u64;
        self.batch_bytes += record.raw.len();
        self.batch.push(NewRecord::new(self.source.1.clone(), Transport::File, Bytes::copy_from_slice(record.raw)));
        if self.batch.len() >= BATCH_RECORDS || self.batch_bytes >= BATCH_BYTES {
            self.submit();
        }
    }

    #[allow(clippy::print_stderr, reason = "each unreadable input is named as it is met")]
    fn problem(&mut self, source: &str, problem: Problem) {
        self.counts.problems += 1;
        eprintln!("warning: {source}: {} at byte {}: {}", problem.code, problem.offset, problem.detail);
    }

    fn wants_events(&self) -> bool {
        false
    }

    fn stopped(&self) -> bool {
        self.failed.is_some()
    }
}

/// A source is named by the path as given, without a leading `./`.
fn source_name(path: &str) -> &str {
    let name = path.trim_start_matches("./");
    if name.is_empty() { path } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_named_by_path() {
        assert_eq!(
            (source_name("./web1/auth.log.zst"), source_name("/var/log/auth.log"), source_name(".")),
            ("web1/auth.log.zst", "/var/log/auth.log", ".")
        );
    }
}
