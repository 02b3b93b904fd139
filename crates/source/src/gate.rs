use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{extract::connect_info::Connected, serve::IncomingStream};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep},
};

use crate::{
    ListenerCount,
    count::OpenConnection,
    stream::{Door, Entered, Peer, Wire},
};

/// Lets connections in up to a number by peer and in all.
#[derive(Clone)]
pub(crate) struct Gate {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    per_peer_max: usize,
    total_max: usize,
    count: Arc<ListenerCount>,
}

/// A connection let in; makes room again when dropped.
pub(crate) struct Pass {
    peer: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    _counted: OpenConnection,
}

impl Gate {
    pub(crate) fn new(per_peer_max: usize, total_max: usize, count: Arc<ListenerCount>) -> Self {
        Self { open: Arc::default(), per_peer_max, total_max, count }
    }

    /// Counts a connection that was let in and then turned away.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.count.refused(reason);
    }

    /// A pass for a new connection; `None` if there are too many, which is counted.
    pub(crate) fn admit(&self, peer: IpAddr) -> Option<Pass> {
        let mut open = self.open.lock();
        if open.values().sum::<usize>() >= self.total_max {
            self.count.refused("too_many_connections");
            return None;
        }
        let of_peer = open.entry(peer).or_default();
        if *of_peer >= self.per_peer_max {
            self.count.refused("too_many_connections_of_peer");
            return None;
        }
        *of_peer += 1;
        Some(Pass { peer, open: self.open.clone(), _counted: self.count.connection() })
    }

    /// The next connection that is let in; those that are not are closed.
    pub(crate) async fn accept(&self, listener: &TcpListener) -> (TcpStream, SocketAddr, Pass) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if let Some(pass) = self.admit(peer.ip().to_canonical()) {
                        return (stream, peer, pass);
                    }
                }
                Err(error) => {
                    // Out of file descriptors or memory: others will close in a while, a busy loop would not help them.
                    self.count.refused("accept_failed");
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        if let Some(of_peer) = open.get_mut(&self.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

/// A listener for axum whose connections come through the door and are cut when silent for too long, or too slow with a request's head.
pub(crate) struct GatedListener {
    pub(crate) door: Door,
    pub(crate) idle: Duration,
}

impl axum::serve::Listener for GatedListener {
    type Io = GatedStream;
    type Addr = Peer;

    async fn accept(&mut self) -> (GatedStream, Peer) {
        let Entered { wire, peer, pass } = self.door.next().await;
        let silence = Box::pin(tokio::time::sleep(self.idle));
        (
            GatedStream {
                wire,
                idle: self.idle,
                silence,
                unanswered: false,
                head: Head::default(),
                spoken: Spoken::Begun(0),
                has_ended: false,
                _pass: pass,
            },
            peer,
        )
    }

    fn local_addr(&self) -> io::Result<Peer> {
        self.door.listener.local_addr().map(|address| Peer { address: address.ip(), identity: None, sender: None })
    }
}

impl Connected<IncomingStream<'_, GatedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, GatedListener>) -> Self {
        stream.remote_addr().clone()
    }
}

pub(crate) struct GatedStream {
    wire: Wire,
    idle: Duration,
    /// Until when the other end may say nothing; after its end, until when that is not told.
    silence: Pin<Box<Sleep>>,
    /// Something was read since anything was written.
    unanswered: bool,
    head: Head,
    spoken: Spoken,
    has_ended: bool,
    _pass: Pass,
}

/// Which HTTP a connection speaks, told by its first bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Spoken {
    /// So many bytes have come, all as HTTP/2 begins.
    Begun(usize),
    One,
    /// Frames: requests and answers cross, and where a head ends cannot be seen from here.
    Two,
}

impl Spoken {
    fn after(self, bytes: &[u8]) -> Self {
        let Self::Begun(so_far) = self else { return self };
        let rest = PREFACE.get(so_far..).unwrap_or_default();
        let common = rest.iter().zip(bytes).take_while(|(want, got)| want == got).count();
        match common {
            _ if common == rest.len() => Self::Two,
            _ if common == bytes.len() => Self::Begun(so_far + common),
            _ => Self::One,
        }
    }
}

/// How a client that speaks HTTP/2 begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Looks for the end of a request's head: one that comes a byte at a time is not waited for as long as its client likes.
#[derive(Default)]
struct Head {
    /// By when it has to be whole; `None` between requests and in bodies.
    until: Option<Instant>,
    /// Something other than line breaks has come of it.
    has_text: bool,
    /// Something other than a line break has come of its last line.
    in_line: bool,
}

impl Head {
    fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.until.is_none() {
                return;
            }
            match byte {
                b'\n' if self.has_text && !self.in_line => self.until = None,
                b'\n' => self.in_line = false,
                b'\r' => {}
                _ => (self.has_text, self.in_line) = (true, true),
            }
        }
    }
}

impl GatedStream {
    /// Notes what was read: until when more of it has to come, or that it is too late.
    fn heard(&mut self, bytes: &[u8]) -> io::Result<()> {
        let now = Instant::now();
        if !std::mem::replace(&mut self.unanswered, true) {
            self.head = Head { until: Some(now + HEAD_PATIENCE.min(self.idle)), ..Head::default() };
        }
        self.head.read(bytes);
        self.spoken = self.spoken.after(bytes);
        if self.spoken == Spoken::Two {
            self.head.until = None;
        }
        let idle = now + self.idle;
        let until = self.head.until.map_or(idle, |until| until.min(idle));
        self.silence.as_mut().reset(until);
        if until < now { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    /// Notes what is being written. To say that a body may come is no answer.
    fn says(&mut self, bytes: &[u8]) {
        self.unanswered &= bytes.starts_with(b"HTTP/1.1 100 ");
    }

    /// Some clients close as soon as they have sent, without a look at the answer. What they sent is to be kept all the same, so
    /// their end is told only when it was answered, or after a while.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.unanswered {
            return Poll::Ready(Ok(()));
        }
        if !std::mem::replace(&mut self.has_ended, true) {
            self.silence.as_mut().reset(Instant::now() + END_PATIENCE);
        }
        self.silence.as_mut().poll(cx).map(Ok)
    }
}

/// How long the head of a request may take.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// How long a request of a client that is gone may take.
const END_PATIENCE: Duration = Duration::from_secs(5);

impl AsyncRead for GatedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.wire).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) if buffer.filled().len() == before && buffer.remaining() > 0 => self.poll_end(cx),
            // Over TLS without a farewell. Where a request ends, the request says.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => self.poll_end(cx),
            Poll::Ready(result) => {
                Poll::Ready(result.and_then(|()| self.heard(buffer.filled().get(before..).unwrap_or_default())))
            }
            Poll::Pending => match self.silence.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

impl AsyncWrite for GatedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.says(bytes);
        Pin::new(&mut self.wire).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.says(bytes.iter().find(|part| !part.is_empty()).map_or(&[], |part| part));
        Pin::new(&mut self.wire).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_2_is_told_by_its_preface() {
        for step in [1, 5, 24, 100] {
            let spoken = |bytes: &[u8]| bytes.chunks(step).fold(Spoken::Begun(0), Spoken::after);
            assert_eq!(spoken(PREFACE), Spoken::Two);
            assert_eq!(spoken(&[PREFACE, b"\0\0\x12\x04"].concat()), Spoken::Two);
            assert_eq!(spoken(&PREFACE[..20]), Spoken::Begun(20));
            assert_eq!(spoken(b"PRI * HTTP/2.0\r\n\r\nXY"), Spoken::One);
            assert_eq!(spoken(b"POST / HTTP/1.1\r\n"), Spoken::One);
        }
    }

    #[test]
    fn a_head_ends_with_its_empty_line() {
        let whole = b"\r\n\r\nPOST / HTTP/1.1\r\nhost: x\r\n\r\n";
        for step in [1, 3, 100] {
            let mut head = Head { until: Some(Instant::now()), ..Head::default() };
            for (nth, part) in whole.chunks(step).enumerate() {
                head.read(part);
                assert_eq!(head.until.is_none(), (nth + 1) * step >= whole.len(), "{step} {nth}");
            }
        }
    }
}
