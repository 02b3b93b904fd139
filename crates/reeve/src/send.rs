//! `reeve send`: lines of files, numbered, signed and kept until each is receipted.
mod lines;
mod spool;

use std::{
    fs::File,
    io::Seek as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use reeve_completeness::{Head, Receipt};
use reeve_ledger::{NoteKey, VerifierKey};
use serde_json::{Value, json};

use self::{
    lines::Lines,
    spool::{Pending, Place, Spool},
};
use crate::{
    client::escaped,
    exit::{Failure, UNUSABLE, USAGE},
    ledger_cmd::read_key,
    output,
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
    /// Address of the server's NDJSON listener, as in http://127.0.0.1:8421
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
    key: NoteKey,
    spool: Spool,
    server: Server,
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
        let folder = args.spool.clone().unwrap_or_else(|| folder.into());
        let spool = Spool::open(&folder, &name, args.receipts.as_deref())?;
        let server = Server {
            agent: ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER)).build().into(),
            address: format!("{}/ingest/{}", args.server.trim_end_matches('/'), escaped(&name)),
            key: args.server_key.as_deref().map(read_key).transpose()?,
            retry: Duration::from_secs(args.retry),
        };
        Ok(Self { key, spool, server, stdin: None, records: 0, deliveries: 0, duplicates: 0 })
    }

    /// Sends what an earlier run left in the spool.
    fn take_up(&mut self, new_epoch: bool) -> Result<(), Failure> {
        let mut left = self.spool.pending()?;
        if new_epoch {
            self.spool.begin_epoch();
            if let Some(pending) = left {
                left = Some(self.stage(pending.body, pending.count, pending.places)?);
            }
            self.spool.write_state()?;
        }
        left.map_or(Ok(()), |pending| self.deliver(&pending))
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
        let place = self.spool.place(&name, &file.metadata().map_err(failed)?);
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
                let pending = self.stage(chunk.body, chunk.count, place.clone().into_iter().collect())?;
                self.deliver(&pending)?;
                any = true;
            } else if chunk.at_end {
                return Ok(any);
            }
        }
    }

    /// Signs a delivery and makes it durable in the spool, before anybody else hears of it.
    fn stage(&mut self, body: Vec<u8>, count: u64, places: Vec<(String, Place)>) -> Result<Pending, Failure> {
        let state = self.spool.state();
        let name = self.key.verifier().name();
        let head = Head::over(name, state.epoch, state.next, count, &body, state.previous, Timestamp::now());
        let (signed, hash) = (head.sign(&self.key), head.hash());
        let pending = Pending { head: signed, epoch: head.epoch, first: head.first, count, hash, places, body };
        self.spool.stage(&pending)?;
        Ok(pending)
    }

    /// Sends a delivery until it is receipted.
    fn deliver(&mut self, pending: &Pending) -> Result<(), Failure> {
        let answer = self.server.deliver(&pending.head, &pending.body)?;
        let receipt = self.server.receipt(&answer, pending)?;
        self.spool.settle(pending, &receipt)?;
        self.records += pending.count;
        self.deliveries += 1;
        self.duplicates += u64::from(answer["duplicate"] == true);
        Ok(())
    }

    /// Says that everything so far was sent.
    fn beat(&mut self) -> Result<(), Failure> {
        let state = self.spool.state();
        let name = self.key.verifier().name();
        let head = Head::over(name, state.epoch, state.next, 0, b"", state.previous, Timestamp::now());
        self.server.deliver(&head.sign(&self.key), b"").map(drop)
    }

    fn told(&self) -> Result<(), Failure> {
        let state = self.spool.state();
        output::json(&json!({
            "source": self.key.verifier().name(), "records": self.records, "deliveries": self.deliveries, "duplicates": self.duplicates,
            "epoch": state.epoch, "next": state.next,
        }))
    }
}

struct Server {
    agent: ureq::Agent,
    address: String,
    key: Option<VerifierKey>,
    retry: Duration,
}

impl Server {
    /// Sends until the server has taken and receipted it, refuses it, or the patience ends.
    fn deliver(&self, head: &str, body: &[u8]) -> Result<Value, Failure> {
        let (began, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let why = match self.try_once(head, body) {
                Ok((200, answer)) if answer["receipt"].is_string() => return Ok(answer),
                Ok((200, answer)) => format!("it is durable, but not receipted: {}", answer["receipt_problem"]),
                Ok((status @ (408 | 429 | 500..=599), answer)) => format!("{status} {}", answer["error"]["message"]),
                Ok((status, answer)) => {
                    let message = answer["error"]["message"].as_str().unwrap_or("without a reason").to_owned();
                    return Err(Failure::new(UNUSABLE, format!("`{}` refused with {status}: {message}", self.address)));
                }
                Err(error) => error,
            };
            if began.elapsed() + pause > self.retry {
                let message = format!("`{}`: {why}; nothing is lost, run the same command again", self.address);
                return Err(Failure::new(UNUSABLE, message));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    fn try_once(&self, head: &str, body: &[u8]) -> Result<(u16, Value), String> {
        let mut request = self.agent.post(&self.address).header("content-type", "application/x-ndjson");
        request = request.header("reeve-delivery", STANDARD.encode(head));
        if let Ok(token) = std::env::var("REEVE_TOKEN") {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut answer = request.send(body).map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        Ok((status, answer.body_mut().read_json().map_err(|error| error.to_string())?))
    }

    /// The receipt of an answer, checked as far as the server's key is known.
    fn receipt(&self, answer: &Value, pending: &Pending) -> Result<String, Failure> {
        let note = answer["receipt"].as_str().unwrap_or_default().to_owned();
        let Some(key) = &self.key else { return Ok(note) };
        let receipt =
            Receipt::open(&note, key).map_err(|fault| Failure::new(UNUSABLE, format!("`{}`: {fault}", self.address)))?;
        if receipt.delivery == pending.hash && receipt.count == pending.count {
            return Ok(note);
        }
        Err(Failure::new(UNUSABLE, format!("`{}` gave the receipt of another delivery", self.address)))
    }
}

/// How often files are looked at for more.
const POLL: Duration = Duration::from_millis(250);
/// How long the server may take for an answer.
const ANSWER: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
