//! `reeve send`: lines of files, numbered, signed and kept until each is receipted.
mod lines;

use std::{
    fs::{File, Metadata},
    io::Seek as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use reeve_completeness::{Place, SendError, SenderOptions, Sent, SpoolError};
use reeve_ledger::{Net, NoteKey, RealDisk, RealNet, SystemClock};
use serde_json::json;

use self::lines::Lines;
use crate::{
    client::escaped,
    exit::{Failure, UNUSABLE, USAGE},
    ledger_cmd::read_key,
    output, outward,
};

/// Arguments of `reeve send`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve source key edge/web1 web1.key
  reeve send /var/log/auth.log --server http://127.0.0.1:8421 --key web1.key --server-key reeve.vkey
  journalctl -o json -f | reeve send - --server http://127.0.0.1:8421 --key web1.key --follow

Each line that is not empty is a record. What was read is signed and kept in the spool until the server has receipted it; after a kill the same
command goes on where it was, without loss or duplicates. What of standard input was not read into the spool is lost with a kill. REEVE_TOKEN
is sent if it is set. Format: docs/spec/receipt.md. Exit codes: 0 all receipted, 2 the server did not take it, 3 usage.")]
pub(crate) struct Args {
    /// Files to send, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Address of the server's NDJSON listener, as in http://127.0.0.1:8421, or https of what ends TLS before it
    #[arg(long, value_name = "URL")]
    server: String,
    /// The source's signing key, as `reeve source key` makes it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Name of the source; must be the key's
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// File with the public key of the server's log (vkey): receipts are checked with it
    #[arg(long, value_name = "FILE")]
    server_key: Option<PathBuf>,
    /// Certificate authorities to trust instead of the public ones, if the server's address is https (PEM)
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Folder for what is not receipted yet and how far each file was sent [default: the key's path with .spool]
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// File that receipts are added to [default: `receipts` in the spool]
    #[arg(long, value_name = "FILE")]
    receipts: Option<PathBuf>,
    /// Records of one delivery at most, 1 to 16384
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=16_384))]
    batch: u64,
    /// Seconds to go on trying while the server does not answer or take anything
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    retry: u64,
    /// Go on at the end of the files, sending what is added to them and heartbeats
    #[arg(long)]
    follow: bool,
    /// With --follow: seconds of silence after which a heartbeat is sent
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    heartbeat: u64,
    /// Begin a new epoch: numbers start again from 0, also for what waits in the spool
    #[arg(long)]
    new_epoch: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut sender = Sender::open(args)?;
    sender.take_up(args.new_epoch)?;
    let mut idle_since = Instant::now();
    loop {
        let mut sent = false;
        for file in &args.files {
            sent |= sender.send_file(file, args)?;
        }
        if !args.follow {
            return sender.told();
        }
        if sent {
            idle_since = Instant::now();
        } else if idle_since.elapsed() >= Duration::from_secs(args.heartbeat) {
            sender.beat()?;
            idle_since = Instant::now();
        } else {
            std::thread::sleep(POLL);
        }
    }
}

struct Sender {
    inner: reeve_completeness::Sender,
    retry: Duration,
    stdin: Option<Lines<std::io::Stdin>>,
    records: u64,
    deliveries: u64,
    duplicates: u64,
}

impl Sender {
    fn open(args: &Args) -> Result<Self, Failure> {
        let unreadable =
            |error: &dyn std::fmt::Display| Failure::new(USAGE, format!("the key `{}`: {error}", args.key.display()));
        let text = std::fs::read_to_string(&args.key).map_err(|error| unreadable(&error))?;
        let key = NoteKey::parse(&text, &args.key.display().to_string()).map_err(|error| unreadable(&error))?;
        let name = key.verifier().name().to_owned();
        if let Some(source) = args.source.as_ref().filter(|source| **source != name) {
            return Err(Failure::new(USAGE, format!("the key is that of source `{name}`, not of `{source}`")));
        }
        let mut folder = args.key.clone().into_os_string();
        folder.push(".spool");
        let options = SenderOptions {
            spool: args.spool.clone().unwrap_or_else(|| folder.into()),
            receipts: args.receipts.clone(),
            key,
            address: format!("{}/ingest/{}", args.server.trim_end_matches('/'), escaped(&name)),
            server_key: args.server_key.as_deref().map(read_key).transpose()?,
            token: std::env::var("REEVE_TOKEN").ok(),
            disk: Arc::new(RealDisk),
            net: args.ca_file.as_deref().map_or_else(|| Ok(Arc::new(RealNet::default()) as Arc<dyn Net>), outward::trusting)?,
            clock: Arc::new(SystemClock),
        };
        let inner = reeve_completeness::Sender::open(options).map_err(unusable)?;
        let retry = Duration::from_secs(args.retry);
        Ok(Self { inner, retry, stdin: None, records: 0, deliveries: 0, duplicates: 0 })
    }

    /// Sends what an earlier run left in the spool.
    fn take_up(&mut self, new_epoch: bool) -> Result<(), Failure> {
        if new_epoch {
            self.inner.begin_epoch().map_err(unusable)?;
        }
        self.deliver()
    }

    /// Sends what a file has and was not sent; whether there was anything.
    fn send_file(&mut self, path: &Path, args: &Args) -> Result<bool, Failure> {
        let failed = |error: std::io::Error| Failure::new(UNUSABLE, format!("cannot read `{}`: {error}", path.display()));
        if path == Path::new("-") {
            let mut lines = self.stdin.take().unwrap_or_else(|| Lines::new(std::io::stdin()));
            let sent = self.send_lines(&mut lines, None, args);
            self.stdin = Some(lines);
            return sent;
        }
        let mut file = File::open(path).map_err(failed)?;
        let name = std::path::absolute(path).map_err(failed)?.display().to_string();
        let metadata = file.metadata().map_err(failed)?;
        let place = self.inner.place(&name, fresh(&metadata), metadata.len());
        file.seek(std::io::SeekFrom::Start(place.offset)).map_err(failed)?;
        self.send_lines(&mut Lines::new(file), Some((name, place)), args)
    }

    fn send_lines<R: std::io::Read>(
        &mut self,
        lines: &mut Lines<R>,
        mut place: Option<(String, Place)>,
        args: &Args,
    ) -> Result<bool, Failure> {
        let mut any = false;
        loop {
            let chunk =
                lines.chunk(args.batch, !args.follow).map_err(|error| Failure::new(UNUSABLE, format!("cannot read: {error}")))?;
            if let Some((_, place)) = &mut place {
                place.offset += chunk.consumed;
            }
            if chunk.count > 0 {
                self.inner.stage(chunk.body, chunk.count, place.clone().into_iter().collect()).map_err(unusable)?;
                self.deliver()?;
                any = true;
            } else if chunk.at_end {
                return Ok(any);
            }
        }
    }

    /// Sends what waits until it is receipted.
    fn deliver(&mut self) -> Result<(), Failure> {
        let sent = patiently(self.retry, || self.inner.deliver())?;
        if let Some(Sent { records, duplicate }) = sent {
            self.records += records;
            self.deliveries += 1;
            self.duplicates += u64::from(duplicate);
        }
        Ok(())
    }

    /// Says that everything so far was sent.
    fn beat(&mut self) -> Result<(), Failure> {
        patiently(self.retry, || self.inner.beat())
    }

    fn told(&self) -> Result<(), Failure> {
        let (epoch, next) = self.inner.progress();
        output::json(&json!({
            "source": self.inner.source(), "records": self.records, "deliveries": self.deliveries, "duplicates": self.duplicates,
            "epoch": epoch, "next": next,
        }))
    }
}

/// Tries again until it succeeds, can no longer, or the patience ends.
fn patiently<T>(patience: Duration, mut attempt: impl FnMut() -> Result<T, SendError>) -> Result<T, Failure> {
    let (began, mut pause) = (Instant::now(), FIRST_PAUSE);
    loop {
        let error = match attempt() {
            Ok(done) => return Ok(done),
            Err(SendError::Spool(error)) => return Err(unusable(error)),
            Err(error @ SendError::NotYet { .. }) => error,
            Err(error) => return Err(Failure::new(UNUSABLE, error.to_string())),
        };
        if began.elapsed() + pause > patience {
            return Err(Failure::new(UNUSABLE, format!("{error}; nothing is lost, run the same command again")));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// A file as yet unsent.
fn fresh(metadata: &Metadata) -> Place {
    Place { offset: 0, device: metadata.dev(), inode: metadata.ino() }
}

fn unusable(error: SpoolError) -> Failure {
    Failure::new(USAGE, error.to_string())
}

/// How often files are looked at for more.
const POLL: Duration = Duration::from_millis(250);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
