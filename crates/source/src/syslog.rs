use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use reeve_record::Transport;
use tokio::sync::watch;

use crate::{
    Arrival, Error, Intake, Place, Running, StreamLimits,
    datagram::{self, Datagrams},
    framing::{Framer, Message},
    stream::{self, BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Heard, Link},
};

/// Opens a syslog listener for datagrams: each is one record. What the kernel had to drop because they came faster than they could be
/// read is counted. Stops when `stop` turns true, after what is already in the socket is kept.
///
/// # Errors
/// [`Error::Bind`] if the address cannot be listened on.
pub async fn serve_udp(place: &Place, intake: Intake, stop: watch::Receiver<bool>) -> Result<Running, Error> {
    datagram::serve(place, Messages, intake, stop).await
}

/// One message a datagram.
struct Messages;

impl Datagrams for Messages {
    const WAY: &'static str = "syslog";

    fn take(&mut self, raw: Bytes, _peer: IpAddr, source: Arc<str>, _intake: &Intake) -> Option<Arrival> {
        Some(Arrival::new(raw, source, Transport::SyslogUdp))
    }
}

/// Opens a syslog listener for streams (RFC 6587, both framings), over TLS (RFC 5425) if the place has it. A connection is not read on
/// before what it sent is durable, so a sender that is too fast is slowed down and nothing is dropped. Stops when `stop` turns true.
///
/// # Errors
/// [`Error::Bind`] if the address cannot be listened on.
pub async fn serve_tcp(
    place: &Place,
    intake: Intake,
    limits: StreamLimits,
    stop: watch::Receiver<bool>,
) -> Result<Running, Error> {
    let transport = if place.tls.is_some() { Transport::SyslogTls } else { Transport::SyslogTcp };
    stream::serve(place, intake, limits, stop, move |link| Connection::new(link, transport).run()).await
}

struct Connection {
    source: Arc<str>,
    transport: Transport,
    framer: Framer,
    link: Link,
}

impl Connection {
    fn new(link: Link, transport: Transport) -> Self {
        Self { source: link.peer.source("syslog"), transport, framer: Framer::new(link.limits.message_bytes_max), link }
    }

    async fn run(mut self) {
        loop {
            match self.link.hear(self.framer.buffer(), BATCH_BYTES_MAX).await {
                Heard::Bytes => self.source = self.link.peer.source("syslog"),
                Heard::End => break,
                Heard::Disabled => return self.link.close().await,
                Heard::Broken(reason) => {
                    self.link.intake.counters.source(&self.source).problem(reason, 1);
                    break;
                }
                // What has arrived is taken.
                Heard::Stop => {
                    self.link.hear_what_is_there(self.framer.buffer(), BATCH_BYTES_MAX);
                    break;
                }
            }
            if !self.keep_whole_messages().await {
                return;
            }
        }
        if !self.keep_whole_messages().await {
            return;
        }
        let last = self.framer.finish();
        let batch = last.map(|message| self.arrival(message)).into_iter().collect();
        self.keep(batch).await;
    }

    async fn keep_whole_messages(&mut self) -> bool {
        let mut batch = Vec::new();
        while let Some(message) = self.framer.next() {
            if batch.len() == BATCH_RECORDS_MAX && !self.keep(std::mem::take(&mut batch)).await {
                return false;
            }
            batch.push(self.arrival(message));
        }
        self.keep(batch).await
    }

    fn arrival(&self, message: Message) -> Arrival {
        if let Some(problem) = message.problem {
            self.link.intake.counters.source(&self.source).problem(problem.name(), 1);
        }
        Arrival::new(message.bytes, self.source.clone(), self.transport)
    }

    async fn keep(&self, batch: Vec<Arrival>) -> bool {
        batch.is_empty() || self.link.intake.keep_stubbornly(batch, self.link.stop.clone()).await
    }
}
