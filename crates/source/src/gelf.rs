//! GELF: datagrams in chunks, streams of messages that end with NUL, and HTTP. A record is one message, unpacked.
use std::{borrow::Cow, net::IpAddr, sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use reeve_record::{EventTime, Transport};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::{
    Arrival, Error, Intake, Place, Running, StreamLimits,
    chunks::{Chunks, Whole},
    datagram::{self, Datagrams},
    framing::{Framer, Message},
    http::{Api, RECORDS_MAX, Refusal, Shared},
    lines::Cut,
    moment,
    packing::Packing,
    sender,
    stream::{self, BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Heard, Link, Peer},
};

/// Opens a GELF listener for datagrams: whole, or in chunks that are put together again; plain, zlib or gzip, told by their bytes. A message
/// that is larger than `message_bytes_max` when unpacked is kept packed. Stops when `stop` turns true.
///
/// # Errors
/// [`Error::Bind`] if the address cannot be listened on.
pub async fn serve_gelf_udp(
    place: &Place,
    intake: Intake,
    message_bytes_max: usize,
    stop: watch::Receiver<bool>,
) -> Result<Running, Error> {
    datagram::serve(place, Messages { chunks: Chunks::default(), message_bytes_max }, intake, stop).await
}

struct Messages {
    chunks: Chunks<IpAddr>,
    message_bytes_max: usize,
}

impl Datagrams for Messages {
    const WAY: &'static str = "gelf";

    fn take(&mut self, raw: Bytes, peer: IpAddr, source: Arc<str>, intake: &Intake) -> Option<Arrival> {
        let whole = match self.chunks.take(peer, raw, Instant::now()) {
            Whole::Message(whole) => whole,
            Whole::NotYet => return None,
            Whole::Refused(reason) => {
                intake.counters.source(&source).dropped(reason, 1);
                return None;
            }
        };
        let message = unpack(&whole, self.message_bytes_max).unwrap_or_else(|problem| {
            intake.counters.source(&source).problem(problem, 1);
            whole
        });
        (!message.is_empty()).then(|| arrival(message, source, Transport::GelfUdp))
    }

    fn tick(&mut self, intake: &Intake) {
        for (peer, messages) in self.chunks.expire(Instant::now()) {
            let sender = intake.senders.by_peer(None, peer);
            let source = sender::of_peer(sender.as_deref(), Self::WAY, &peer.to_canonical());
            intake.counters.source(&source).dropped("chunks_incomplete", messages);
        }
    }
}

/// Opens a GELF listener for streams, over TLS if the place has it: a message ends with NUL. A connection is not read on before what it
/// sent is durable. Stops when `stop` turns true.
///
/// # Errors
/// [`Error::Bind`] if the address cannot be listened on.
pub async fn serve_gelf_tcp(
    place: &Place,
    intake: Intake,
    limits: StreamLimits,
    stop: watch::Receiver<bool>,
) -> Result<Running, Error> {
    stream::serve(place, intake, limits, stop, run).await
}

async fn run(mut link: Link) {
    let mut source = link.peer.source(Messages::WAY);
    let mut framer = Framer::until_nul(link.limits.message_bytes_max);
    loop {
        let heard = link.hear(framer.buffer(), BATCH_BYTES_MAX).await;
        match heard {
            Heard::Bytes => source = link.peer.source(Messages::WAY),
            Heard::Stop => link.hear_what_is_there(framer.buffer(), BATCH_BYTES_MAX),
            Heard::Disabled => return link.close().await,
            Heard::End | Heard::Broken(_) => {}
        }
        if let Heard::Broken(reason) = heard {
            link.intake.counters.source(&source).problem(reason, 1);
        }
        let ends = heard != Heard::Bytes;
        loop {
            let mut batch = Vec::new();
            while batch.len() < BATCH_RECORDS_MAX
                && let Some(message) = framer.next()
            {
                batch.push(taken(&link, message, &source));
            }
            if ends && batch.len() < BATCH_RECORDS_MAX {
                batch.extend(framer.finish().map(|message| taken(&link, message, &source)));
            }
            if batch.is_empty() {
                break;
            }
            if !link.intake.keep_stubbornly(batch, link.stop.clone()).await {
                return link.close().await;
            }
        }
        if ends {
            return link.close().await;
        }
    }
}

fn taken(link: &Link, message: Message, source: &Arc<str>) -> Arrival {
    if let Some(problem) = message.problem {
        link.intake.counters.source(source).problem(problem.name(), 1);
    }
    arrival(message.bytes, source.clone(), Transport::GelfTcp)
}

/// `POST /gelf`: a message, or several one after another; 202 when they are durable.
pub(crate) async fn answer(shared: &Shared, peer: &Peer, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match take(shared, peer, &parts.headers, body).await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(refusal) => shared.turn_away(&refusal, Api::Gelf, &parts.headers),
    }
}

async fn take(shared: &Shared, peer: &Peer, headers: &axum::http::HeaderMap, body: Body) -> Result<(), Refusal> {
    let (body, room) = shared.body_by_its_bytes(headers, body).await?;
    let source = peer.source(Messages::WAY);
    let count = shared.intake.counters.source(&source);
    let mut batch = Vec::new();
    let messages = messages(&body, RECORDS_MAX);
    if messages.len() > RECORDS_MAX {
        return Err(Refusal::TooManyRecords(RECORDS_MAX));
    }
    for message in messages {
        let cut = Cut::of(message, shared.limits.record_bytes_max);
        if cut.oversize > 0 {
            count.problem("oversize_split", cut.oversize);
        }
        batch.extend(cut.records.into_iter().map(|raw| arrival(raw, source.clone(), Transport::GelfHttp)));
    }
    if batch.is_empty() {
        return Err(Refusal::Malformed("the body is empty".to_owned()));
    }
    shared.keep(batch, room).await.map(drop)
}

/// The JSON values that a body is made of, or one more than `max` of them; the whole body if it is not JSON.
fn messages(body: &Bytes, max: usize) -> Vec<Bytes> {
    let values = serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>().take(max + 1);
    let values: Result<Vec<Bytes>, _> = values.map(|value| value.map(|value| body.slice_ref(value.get().as_bytes()))).collect();
    values.unwrap_or_else(|_| vec![body.clone()])
}

fn arrival(raw: Bytes, source: Arc<str>, transport: Transport) -> Arrival {
    Arrival { claimed: claimed(&raw), ..Arrival::new(raw, source, transport) }
}

/// The message's `timestamp`, seconds since 1970.
fn claimed(message: &[u8]) -> Option<EventTime> {
    #[derive(Deserialize)]
    struct Members<'a> {
        #[serde(borrow)]
        timestamp: Option<&'a RawValue>,
    }
    let members: Members<'_> = serde_json::from_slice(message).ok()?;
    let written = members.timestamp?.get();
    let text = serde_json::from_str::<Cow<'_, str>>(written).unwrap_or(Cow::Borrowed(written));
    moment::seconds(&text)
}

/// The message unpacked, if its bytes say that it is packed; the name of the problem if it cannot be.
///
/// # Errors
/// `packed_damaged`, or `packed_too_large` if it has more than `bytes_max` when unpacked.
pub fn unpack(message: &Bytes, bytes_max: usize) -> Result<Bytes, &'static str> {
    match Packing::of(message) {
        Some(packing) => packing.unpack(message, bytes_max).map_err(|error| error.name()),
        None => Ok(message.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_a_body_and_their_times() {
        let body =
            Bytes::from_static(b"{\"a\":1,\"timestamp\":1767604364.5}\n{\"timestamp\":\"1767604364.5\"} {\"timestamp\":{}}");
        let got = messages(&body, 10);
        assert_eq!(&got[0][..], b"{\"a\":1,\"timestamp\":1767604364.5}");
        let times: Vec<_> = got.iter().map(|message| claimed(message).map(|time| time.at.as_millisecond())).collect();
        assert_eq!(times, [Some(1_767_604_364_500), Some(1_767_604_364_500), None]);
        assert_eq!(messages(&Bytes::from_static(b"{\"a\":1} and text"), 10).len(), 1);
        assert_eq!(messages(&Bytes::from_static(b"1 2 3 4 5"), 2).len(), 3);
    }

    #[test]
    fn a_bomb_and_half_a_gzip_are_named() {
        let packed = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            std::io::Write::write_all(&mut encoder, bytes).unwrap();
            Bytes::from(encoder.finish().unwrap())
        };
        let bomb = packed(&vec![b' '; 1_000_000]);
        assert_eq!(unpack(&bomb, 10_000), Err("packed_too_large"));
        assert_eq!(unpack(&bomb.slice(..bomb.len() / 2), 10_000_000), Err("packed_damaged"));
        assert_eq!(unpack(&packed(b"{}"), 2).unwrap(), Bytes::from_static(b"{}"));
    }
}
