//! Connections, plain or over TLS: let in, counted, and handed to the protocol that is spoken on them.
use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use futures::FutureExt as _;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::server::TlsStream;

use crate::{
    Error, Intake, Running, Sender, Senders, Tls,
    gate::{Gate, Pass},
    sender,
};

/// What a listener is called, where it listens, and whether over TLS.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its name in the configuration; counted and named in errors.
    pub name: String,
    /// Port 0 takes any free port.
    pub address: SocketAddr,
    /// With it nothing is spoken but TLS.
    pub tls: Option<Tls>,
}

impl Place {
    /// A listener without TLS.
    pub fn plain(name: &str, address: SocketAddr) -> Self {
        Self { name: name.to_owned(), address, tls: None }
    }

    pub(crate) fn failed(&self, protocol: &'static str, cause: io::Error) -> Error {
        Error::Bind { listener: self.name.clone(), protocol, address: self.address, cause }
    }
}

/// Bounds of a listener for streams.
#[derive(Clone, Debug)]
pub struct StreamLimits {
    /// Longest message. Syslog, RELP and GELF cut longer ones in pieces, and count them; Forward closes the connection.
    pub message_bytes_max: usize,
    /// Connections open at once.
    pub connections_max: usize,
    /// Of those, from one address.
    pub connections_per_peer_max: usize,
    /// How long a connection may be silent. Plain syslog senders lose a message when the connection was closed behind their back, so
    /// this is long.
    pub idle: Duration,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self { message_bytes_max: 1 << 20, connections_max: 512, connections_per_peer_max: 128, idle: Duration::from_secs(3600) }
    }
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    /// The name in the client's certificate, which the handshake has checked.
    pub(crate) identity: Option<Arc<str>>,
    /// The registered source it is.
    pub(crate) sender: Option<Arc<Sender>>,
}

impl Peer {
    /// Looks up who it is by certificate and address.
    pub(crate) fn recognise(&mut self, senders: &Senders) {
        self.sender = senders.by_peer(self.identity.as_deref(), self.address);
    }

    /// What its records are named where the protocol names nothing: by its certificate, else by its address.
    pub(crate) fn source(&self, way: &str) -> Arc<str> {
        match &self.identity {
            Some(name) => sender::of_peer(self.sender.as_deref(), way, name),
            None => sender::of_peer(self.sender.as_deref(), way, &self.address.to_canonical()),
        }
    }

    /// What the records of a stream are named that it gives a name.
    pub(crate) fn stream(&self, way: &str, stream: &str) -> Arc<str> {
        sender::of_stream(self.sender.as_deref(), way, stream)
    }
}

/// A connection's bytes, with or without TLS around them.
pub(crate) enum Wire {
    Plain(TcpStream),
    Secured(Box<TlsStream<TcpStream>>),
}

/// A connection that was let in.
pub(crate) struct Entered {
    pub(crate) wire: Wire,
    pub(crate) peer: Peer,
    pub(crate) pass: Pass,
}

/// Lets connections in; handshakes go on beside each other, so that a slow one holds up none.
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    gate: Gate,
    tls: Option<Tls>,
    shaking: JoinSet<Option<Entered>>,
}

impl Door {
    pub(crate) async fn open(place: &Place, gate: Gate) -> Result<Self, Error> {
        let listener = TcpListener::bind(place.address).await.map_err(|cause| place.failed("tcp", cause))?;
        Ok(Self { listener, gate, tls: place.tls.clone(), shaking: JoinSet::new() })
    }

    /// The next connection that is let in and, where that is asked for, has shaken hands. Nothing is lost if this is dropped and called again.
    pub(crate) async fn next(&mut self) -> Entered {
        loop {
            tokio::select! {
                (stream, from, pass) = self.gate.accept(&self.listener) => {
                    // Answers are small and awaited: do not hold them back.
                    let _ = stream.set_nodelay(true);
                    let peer = Peer { address: from.ip(), identity: None, sender: None };
                    match self.tls.clone() {
                        None => return Entered { wire: Wire::Plain(stream), peer, pass },
                        Some(tls) => drop(self.shaking.spawn(shake(tls, stream, peer, pass, self.gate.clone()))),
                    }
                }
                Some(shaken) = self.shaking.join_next() => {
                    if let Ok(Some(entered)) = shaken {
                        return entered;
                    }
                }
            }
        }
    }
}

async fn shake(tls: Tls, stream: TcpStream, peer: Peer, pass: Pass, gate: Gate) -> Option<Entered> {
    match tls.shake(stream).await {
        Ok((stream, identity)) => Some(Entered { wire: Wire::Secured(Box::new(stream)), peer: Peer { identity, ..peer }, pass }),
        Err(reason) => {
            gate.refused(reason);
            tracing::debug!(peer = %peer.address, reason, "a TLS handshake failed");
            None
        }
    }
}

/// Opens a listener whose connections are each given to `talk`. Stops when `stop` turns true and the connections have come to their ends.
pub(crate) async fn serve<T, F>(
    place: &Place,
    intake: Intake,
    limits: StreamLimits,
    mut stop: watch::Receiver<bool>,
    talk: T,
) -> Result<Running, Error>
where
    T: Fn(Link) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let gate = Gate::new(limits.connections_per_peer_max, limits.connections_max, intake.counters.listener(&place.name));
    let mut door = Door::open(place, gate).await?;
    let address = door.listener.local_addr().map_err(|cause| place.failed("tcp", cause))?;
    let done = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        let stopped = stop.clone();
        loop {
            tokio::select! {
                Entered { wire, mut peer, pass } = door.next() => {
                    let known = intake.senders.version();
                    peer.recognise(&intake.senders);
                    let (intake, limits, stop) = (intake.clone(), limits.clone(), stopped.clone());
                    connections.spawn(talk(Link { wire, peer, known, intake, limits, stop, _pass: pass }));
                }
                _ = stop.wait_for(|stop| *stop) => break,
            }
            while connections.try_join_next().is_some() {}
        }
        while connections.join_next().await.is_some() {}
    });
    Ok(Running { address, done })
}

/// A connection at work, with what its protocol needs.
pub(crate) struct Link {
    pub(crate) wire: Wire,
    pub(crate) peer: Peer,
    /// The registry's version that the peer was looked up in.
    known: u64,
    pub(crate) intake: Intake,
    pub(crate) limits: StreamLimits,
    pub(crate) stop: watch::Receiver<bool>,
    _pass: Pass,
}

/// What came of waiting for more bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    /// Some were added to the buffer.
    Bytes,
    /// The other end has no more to say.
    End,
    /// The connection broke, by the name it is counted under.
    Broken(&'static str),
    /// The server is to stop.
    Stop,
    /// The source at the other end is disabled: what it sent was not taken, and is counted.
    Disabled,
}

impl Link {
    /// Waits for bytes and adds them to the buffer, with all that have arrived by then up to `bytes_max`, so that one write to disk serves
    /// more messages.
    pub(crate) async fn hear(&mut self, buffer: &mut BytesMut, bytes_max: usize) -> Heard {
        let before = buffer.len();
        let heard = self.hear_anyone(buffer, bytes_max).await;
        self.recognise();
        if heard == Heard::Bytes && self.is_disabled() {
            buffer.truncate(before);
            return Heard::Disabled;
        }
        heard
    }

    /// Looks up anew who is at the other end, if the registry changed.
    fn recognise(&mut self) {
        let version = self.intake.senders.version();
        if self.known != version {
            self.known = version;
            self.peer.recognise(&self.intake.senders);
        }
    }

    /// Whether the source at the other end is disabled; then that is counted.
    fn is_disabled(&self) -> bool {
        let Some(sender) = self.peer.sender.as_ref().filter(|sender| !sender.is_enabled()) else { return false };
        self.intake.counters.source(sender.name()).refused(DISABLED, 1);
        true
    }

    async fn hear_anyone(&mut self, buffer: &mut BytesMut, bytes_max: usize) -> Heard {
        buffer.reserve(READ_BYTES);
        let read = tokio::select! {
            read = tokio::time::timeout(self.limits.idle, self.wire.read_buf(buffer)) => read,
            _ = self.stop.wait_for(|stop| *stop) => return Heard::Stop,
        };
        match read {
            Ok(Ok(0)) => Heard::End,
            Ok(Ok(_)) => {
                self.hear_what_is_there(buffer, bytes_max);
                Heard::Bytes
            }
            Ok(Err(_)) => Heard::Broken("connection_broken"),
            Err(_) => Heard::Broken("idle_closed"),
        }
    }

    /// Sends an answer; false if the other end does not take it.
    pub(crate) async fn say(&mut self, answer: &[u8]) -> bool {
        let saying = async {
            self.wire.write_all(answer).await?;
            self.wire.flush().await
        };
        matches!(tokio::time::timeout(ANSWER_MAX, saying).await, Ok(Ok(())))
    }

    /// Ends the connection so that the other end sees that it was meant.
    pub(crate) async fn close(mut self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.wire.shutdown()).await;
    }

    /// Reads on without waiting.
    pub(crate) fn hear_what_is_there(&mut self, buffer: &mut BytesMut, bytes_max: usize) {
        while buffer.len() < bytes_max {
            buffer.reserve(READ_BYTES);
            match self.wire.read_buf(buffer).now_or_never() {
                Some(Ok(length)) if length > 0 => {}
                _ => return,
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Secured(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Secured(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Secured(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Secured(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Self::Secured(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Secured(stream) => stream.is_write_vectored(),
        }
    }
}

/// How much is read before it is kept, beside one message that is larger.
pub(crate) const BATCH_BYTES_MAX: usize = 1 << 20;
/// How many records are kept in one write: small ones cost more than their bytes.
pub(crate) const BATCH_RECORDS_MAX: usize = 16_384;
const READ_BYTES: usize = 64 << 10;
/// What deliveries of a disabled source are counted as.
pub(crate) const DISABLED: &str = "source_disabled";
/// A client that does not read its answers is given up.
const ANSWER_MAX: Duration = Duration::from_secs(30);
