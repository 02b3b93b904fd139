//! Fluent Forward: events with a tag, one or many to a message, acknowledged by chunk once they are durable.
use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use reeve_decode::msgpack::{self, Extent, Item, Reader};
use reeve_record::Transport;
use serde_json::json;
use sha2::{Digest as _, Sha512};
use subtle::ConstantTimeEq as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::{
    Arrival, Error, Intake, Place, Running, StreamLimits,
    bulk::check_name,
    chunk::{self, Chunk, Malformed},
    lines::Cut,
    pace::Pace,
    stream::{self, BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Heard, Link},
};

/// What a Forward listener needs beside its limits.
#[derive(Clone, Default)]
pub struct ForwardOptions {
    /// What clients have to know; without it anyone may write who can reach the listener.
    pub shared_key: Option<Arc<str>>,
    /// Largest record; longer ones are cut in pieces.
    pub record_bytes_max: usize,
}

impl std::fmt::Debug for ForwardOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { shared_key, record_bytes_max } = self;
        f.debug_struct("ForwardOptions")
            .field("shared_key", &shared_key.is_some())
            .field("record_bytes_max", record_bytes_max)
            .finish()
    }
}

/// Opens a Fluent Forward listener, over TLS if the place has it. A chunk with an id is acknowledged when its events are durable; if they
/// cannot be kept the connection is closed, and the client sends it again. Stops when `stop` turns true.
///
/// # Errors
/// [`Error::Bind`] if the address cannot be listened on.
pub async fn serve_forward(
    place: &Place,
    intake: Intake,
    limits: StreamLimits,
    options: ForwardOptions,
    stop: watch::Receiver<bool>,
) -> Result<Running, Error> {
    let common = Arc::new(Common {
        options,
        large: Arc::new(Semaphore::new((LARGE_BYTES_MAX / limits.message_bytes_max.max(1)).max(2))),
        unpacking: Arc::new(Semaphore::new(2)),
    });
    stream::serve(place, intake, limits, stop, move |link| run(link, common.clone())).await
}

/// What the connections of a listener share.
struct Common {
    options: ForwardOptions,
    /// Each connection in the middle of a large message holds one.
    large: Arc<Semaphore>,
    /// Unpacking takes a core and memory: two at a time.
    unpacking: Arc<Semaphore>,
}

async fn run(link: Link, common: Arc<Common>) {
    let mut session = Session { link, common, buffer: BytesMut::new(), extent: Extent::default(), place: None, is_known: false };
    if let Err(reason) = session.talk().await {
        session.link.intake.counters.source(&session.link.peer.source("forward")).problem(reason, 1);
    }
    session.link.close().await;
}

struct Session {
    link: Link,
    common: Arc<Common>,
    buffer: BytesMut,
    extent: Extent,
    /// One of the places for large messages, and since when.
    place: Option<(OwnedSemaphorePermit, Pace)>,
    /// Whether the client has shown that it knows the shared key.
    is_known: bool,
}

/// What has arrived whole, to be kept in one write.
#[derive(Default)]
struct Round {
    batch: Vec<Arrival>,
    /// Acknowledgements, in order.
    acks: Vec<u8>,
    /// Somebody waits to hear that the batch is kept.
    is_awaited: bool,
    /// Held while what was unpacked is in memory.
    turn: Option<OwnedSemaphorePermit>,
}

impl Round {
    fn is_full(&self) -> bool {
        self.batch.len() >= BATCH_RECORDS_MAX || self.turn.is_some()
    }
}

impl Session {
    /// Goes on until the connection ends; an error is a reason to count.
    async fn talk(&mut self) -> Result<(), &'static str> {
        if let Some(key) = self.common.options.shared_key.clone() {
            self.greet(&key).await?;
        }
        self.is_known = true;
        loop {
            self.keep_what_is_there().await?;
            match self.hear().await? {
                Heard::Bytes => {}
                // Not acknowledged: the client sends it again, and finds the connection closed until the source is enabled.
                Heard::Disabled => return Ok(()),
                Heard::Broken(reason) => return Err(reason),
                Heard::End if self.buffer.is_empty() => return Ok(()),
                Heard::End => return Err("incomplete_at_close"),
                // What is not acknowledged comes again; of the rest nothing more can be known.
                Heard::Stop => {
                    self.link.hear_what_is_there(&mut self.buffer, BATCH_BYTES_MAX);
                    return self.keep_what_is_there().await;
                }
            }
        }
    }

    /// Waits for bytes. A message that grows large takes one of a bounded number of places first, and has to come on at a pace then.
    async fn hear(&mut self) -> Result<Heard, &'static str> {
        if self.buffer.len() < BATCH_BYTES_MAX {
            return Ok(self.link.hear(&mut self.buffer, BATCH_BYTES_MAX).await);
        }
        let place = match self.place.take() {
            Some(place) => place,
            None => {
                let waiting = tokio::time::timeout(PLACE_PATIENCE, self.common.large.clone().acquire_owned()).await;
                (waiting.ok().and_then(Result::ok).ok_or("too_many_large_messages")?, self.pace())
            }
        };
        let (until, bytes_max) = (place.1.until(self.buffer.len()), self.bytes_max());
        self.place = Some(place);
        let hearing = self.link.hear(&mut self.buffer, bytes_max);
        tokio::time::timeout_at(until, hearing).await.map_err(|_| "large_message_slow")
    }

    fn pace(&self) -> Pace {
        Pace::begin(LARGE_PATIENCE.min(self.link.limits.idle), self.buffer.len())
    }

    fn bytes_max(&self) -> usize {
        // Before the key is known there is no reason for more than a greeting.
        if self.is_known { self.link.limits.message_bytes_max } else { GREETING_BYTES_MAX }
    }

    /// The next message, if it has arrived.
    fn message(&mut self) -> Result<Option<Bytes>, &'static str> {
        let found = self.extent.find(&self.buffer, self.bytes_max());
        let Some(end) = found.map_err(|error| Malformed::from(error).name())? else { return Ok(None) };
        self.extent = Extent::default();
        let message = self.buffer.split_to(end).freeze();
        let place = self.place.take().filter(|_| self.buffer.len() >= BATCH_BYTES_MAX);
        // The next one has its own time.
        self.place = place.map(|(place, _)| (place, self.pace()));
        Ok(Some(message))
    }

    /// Keeps whole messages and acknowledges those that ask for it.
    async fn keep_what_is_there(&mut self) -> Result<(), &'static str> {
        loop {
            let (mut round, mut ends) = (Round::default(), Ok(false));
            while !round.is_full() && ends == Ok(false) {
                ends = match self.message() {
                    Ok(Some(message)) => self.take(message, &mut round).await.map(|()| false),
                    Ok(None) => Ok(true),
                    Err(reason) => Err(reason),
                };
            }
            // What came before something that is wrong is kept all the same.
            self.keep(round).await?;
            if ends? {
                return Ok(());
            }
        }
    }

    async fn keep(&mut self, round: Round) -> Result<(), &'static str> {
        if !round.batch.is_empty() {
            let stop = self.link.stop.clone();
            let kept = match round.is_awaited {
                false => self.link.intake.keep_stubbornly(round.batch, stop).await,
                true => self.link.intake.keep_in_time(round.batch, stop).await.is_ok(),
            };
            if !kept {
                return Err("closed_unkept");
            }
        }
        if round.acks.is_empty() || self.link.say(&round.acks).await { Ok(()) } else { Err("answer_not_taken") }
    }

    /// Adds a message's events to the round. Of one with very many, most are kept on the way, and it is acknowledged after the last.
    async fn take(&mut self, message: Bytes, round: &mut Round) -> Result<(), &'static str> {
        let (read, turn) = self.read(message).await;
        let Some(chunk) = read.map_err(Malformed::name)? else { return Ok(()) };
        let source =
            self.link.peer.stream("forward", Some(&*chunk.tag).filter(|tag| check_name(tag).is_ok()).unwrap_or_default());
        let count = self.link.intake.counters.source(&source);
        let claims = self.claims(&chunk);
        for entry in chunk.entries {
            if let Some(problem) = entry.problem {
                count.problem(problem, 1);
            }
            let cut = Cut::of(entry.raw, self.common.options.record_bytes_max);
            if cut.oversize > 0 {
                count.problem("oversize_split", cut.oversize);
            }
            for raw in cut.records {
                let arrival = Arrival::new(raw, source.clone(), Transport::FluentForward);
                round.batch.push(Arrival { claimed: entry.claimed, claims: claims.clone(), ..arrival });
            }
            round.is_awaited |= chunk.id.is_some();
            if round.is_full() {
                self.keep(std::mem::take(round)).await?;
            }
        }
        if let Some(id) = chunk.id {
            round.acks.extend_from_slice(b"\x81\xa3ack");
            round.acks.extend_from_slice(&id);
        }
        round.turn = turn;
        Ok(())
    }

    /// Reads a message; a large one, and one that may have to be unpacked, away from the threads that serve connections. Those are in
    /// memory two at a time, for as long as the turn is held.
    async fn read(&self, message: Bytes) -> (Result<Option<Chunk>, Malformed>, Option<OwnedSemaphorePermit>) {
        let max = UNPACKED_BYTES_MAX;
        if message.len() < INLINE_BYTES_MAX && memchr::memmem::find(&message, b"compressed").is_none() {
            return (chunk::read(&message, max), None);
        }
        let turn = self.common.unpacking.clone().acquire_owned().await.ok();
        let reading = tokio::task::spawn_blocking(move || chunk::read(&message, max));
        (reading.await.unwrap_or(Err(Malformed::Shape)), turn)
    }

    /// A message of its own says its tag itself.
    fn claims(&self, chunk: &Chunk) -> Option<Arc<str>> {
        let mut claims = serde_json::Map::new();
        if !chunk.is_message {
            claims.insert("tag".to_owned(), json!(chunk.tag));
        }
        if let Some(identity) = &self.link.peer.identity {
            claims.insert("identity".to_owned(), json!(&**identity));
        }
        (!claims.is_empty()).then(|| serde_json::Value::Object(claims).to_string().into())
    }

    /// The handshake: who knows the key can answer for the nonce, and we for the client's salt.
    async fn greet(&mut self, key: &str) -> Result<(), &'static str> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|_| "no_randomness")?;
        if !self.link.say(&hello(&nonce)).await {
            return Err("answer_not_taken");
        }
        let greeting = tokio::time::timeout(GREETING_PATIENCE, self.greeting()).await.map_err(|_| "greeting_slow")??;
        let Some(ping) = Ping::read(&greeting) else { return Err("greeting_malformed") };
        let right = bool::from(ping.digest.ct_eq(digest(&[ping.salt, ping.name, &nonce, key.as_bytes()]).as_bytes()));
        let own = digest(&[ping.salt, SERVER_NAME.as_bytes(), &nonce, key.as_bytes()]);
        if !self.link.say(&pong(right, &own)).await {
            return Err("answer_not_taken");
        }
        if right { Ok(()) } else { Err("shared_key_wrong") }
    }

    async fn greeting(&mut self) -> Result<Bytes, &'static str> {
        loop {
            if let Some(message) = self.message()? {
                return Ok(message);
            }
            if self.link.hear(&mut self.buffer, GREETING_BYTES_MAX).await != Heard::Bytes {
                return Err("greeting_missing");
            }
        }
    }
}

/// `["PING", name of the client, salt, digest, user name, password]`; there are no users here.
struct Ping<'a> {
    name: &'a [u8],
    salt: &'a [u8],
    digest: &'a [u8],
}

impl<'a> Ping<'a> {
    fn read(message: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(message);
        let mut next = || match reader.item() {
            Ok(Item::Text(bytes) | Item::Binary(bytes)) => Some(bytes),
            _ => None,
        };
        let message = message.first()?;
        // An array of six values, as it is written by every client; its length is not looked at more closely.
        if message & 0xf0 != 0x90 {
            return None;
        }
        let _ = next();
        (next()? == b"PING").then_some(())?;
        Some(Self { name: next()?, salt: next()?, digest: next()? })
    }
}

fn hello(nonce: &[u8]) -> Vec<u8> {
    let mut out = vec![0x92];
    msgpack::text(&mut out, "HELO");
    out.push(0x83);
    msgpack::text(&mut out, "nonce");
    msgpack::binary(&mut out, nonce);
    msgpack::text(&mut out, "auth");
    msgpack::binary(&mut out, b"");
    msgpack::text(&mut out, "keepalive");
    out.push(0xc3);
    out
}

fn pong(right: bool, digest: &str) -> Vec<u8> {
    let mut out = vec![0x95];
    msgpack::text(&mut out, "PONG");
    out.push(if right { 0xc3 } else { 0xc2 });
    msgpack::text(&mut out, if right { "" } else { "shared_key mismatch" });
    msgpack::text(&mut out, SERVER_NAME);
    msgpack::text(&mut out, if right { digest } else { "" });
    out
}

fn digest(parts: &[&[u8]]) -> String {
    hex::encode(parts.iter().fold(Sha512::new(), |hash, part| hash.chain_update(part)).finalize())
}

const SERVER_NAME: &str = "reeve";
const INLINE_BYTES_MAX: usize = 256 << 10;
const GREETING_BYTES_MAX: usize = 16 << 10;
const GREETING_PATIENCE: Duration = Duration::from_secs(10);
/// Messages of more than a batch that arrive at the same time, together.
const LARGE_BYTES_MAX: usize = 192 << 20;
const PLACE_PATIENCE: Duration = Duration::from_secs(10);
/// How long one may take however little of it comes.
const LARGE_PATIENCE: Duration = Duration::from_secs(60);
/// A chunk unpacked.
const UNPACKED_BYTES_MAX: usize = 64 << 20;
