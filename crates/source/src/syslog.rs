use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd as _,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use reeve_record::Transport;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Semaphore, watch},
    task::JoinSet,
};

use crate::{
    Arrival, Error, Intake, ListenerCount, Running,
    framing::{Framer, Message},
    gate::{Gate, Pass},
};

/// Bounds of a syslog stream listener.
#[derive(Clone, Debug)]
pub struct StreamLimits {
    /// Longest message; longer ones come out in pieces, and are counted.
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

/// Opens a syslog listener for datagrams: each is one record. What the kernel had to drop because they came faster than they could be
/// read is counted. Stops when `stop` turns true, after what is already in the socket is kept.
///
/// # Errors
/// [`Error::Bind`] if the address cannot be listened on.
pub async fn serve_udp(name: &str, address: SocketAddr, intake: Intake, stop: watch::Receiver<bool>) -> Result<Running, Error> {
    let bind = |cause| Error::Bind { listener: name.to_owned(), protocol: "udp", address, cause };
    let socket = UdpSocket::bind(address).await.map_err(bind)?;
    // Room for bursts while a batch is being written. The kernel gives what it allows.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    let bound = socket.local_addr().map_err(bind)?;
    let count = intake.counters.listener(name);
    Ok(Running { address: bound, done: tokio::spawn(datagrams(socket, intake, count, stop)) })
}

async fn datagrams(socket: UdpSocket, intake: Intake, count: Arc<ListenerCount>, mut stop: watch::Receiver<bool>) {
    let mut names = Names::default();
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let mut drops = KernelDrops::of(&socket);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let turns = Arc::new(Semaphore::new(BATCHES_UNDER_WAY));
    let mut under_way = JoinSet::new();
    let mut stopped_at = None;
    loop {
        let stopping = *stop.borrow_and_update();
        // What is in the socket at a stop is taken; a sender that never pauses must not put off the end.
        if stopping && stopped_at.get_or_insert_with(Instant::now).elapsed() > DRAIN {
            break;
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_RECORDS_MAX && bytes < BATCH_BYTES_MAX {
            match socket.try_recv_from(&mut buffer) {
                Ok((0, peer)) => intake.counters.source(&names.of(peer.ip())).problem("empty_datagram", 1),
                Ok((length, peer)) => {
                    bytes += length;
                    let raw = Bytes::copy_from_slice(&buffer[..length]);
                    batch.push(Arrival { raw, source: names.of(peer.ip()), transport: Transport::SyslogUdp, claimed: None });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP answer to something; the socket goes on.
                Err(_) => count.dropped("receive_error", 1),
            }
        }
        if !batch.is_empty() {
            if let Ok(turn) = turns.clone().acquire_owned().await {
                let keeping = intake.keep_stubbornly(batch, stop.clone());
                under_way.spawn(async move {
                    keeping.await;
                    drop(turn);
                });
            }
            while under_way.try_join_next().is_some() {}
            continue;
        }
        if stopping {
            break;
        }
        tokio::select! {
            _ = socket.readable() => {}
            _ = tick.tick() => drops.count(&count),
            _ = stop.changed() => {}
        }
    }
    drops.count(&count);
    while under_way.join_next().await.is_some() {}
}

/// Datagrams the kernel dropped, from `/proc/net/udp`.
struct KernelDrops {
    inode: Option<String>,
    seen: u64,
}

impl KernelDrops {
    fn of(socket: &UdpSocket) -> Self {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok();
        let inode = link.and_then(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()));
        Self { inode, seen: 0 }
    }

    fn count(&mut self, count: &ListenerCount) {
        let Some(inode) = &self.inode else { return };
        for table in ["/proc/self/net/udp", "/proc/self/net/udp6"] {
            let Ok(text) = std::fs::read_to_string(table) else { continue };
            let Some(drops) = drops_of(&text, inode) else { continue };
            if drops > self.seen {
                count.dropped("kernel_buffer_full", drops - self.seen);
                self.seen = drops;
            }
        }
    }
}

/// The last column of the line whose tenth is the socket's inode.
fn drops_of(table: &str, inode: &str) -> Option<u64> {
    let line =
        table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>()).find(|line| line.get(9) == Some(&inode))?;
    line.last()?.parse().ok()
}

/// Opens a syslog listener for streams (RFC 6587, both framings). A connection is not read on before what it sent is durable, so a
/// sender that is too fast is slowed down and nothing is dropped. Stops when `stop` turns true.
///
/// # Errors
/// [`Error::Bind`] if the address cannot be listened on.
pub async fn serve_tcp(
    name: &str,
    address: SocketAddr,
    intake: Intake,
    limits: StreamLimits,
    mut stop: watch::Receiver<bool>,
) -> Result<Running, Error> {
    let bind = |cause| Error::Bind { listener: name.to_owned(), protocol: "tcp", address, cause };
    let listener = TcpListener::bind(address).await.map_err(bind)?;
    let bound = listener.local_addr().map_err(bind)?;
    let gate = Gate::new(limits.connections_per_peer_max, limits.connections_max, intake.counters.listener(name));
    let done = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        let for_connections = stop.clone();
        loop {
            tokio::select! {
                (stream, peer, pass) = gate.accept(&listener) => {
                    let connection = Connection::new(peer, intake.clone(), limits.clone(), for_connections.clone(), pass);
                    connections.spawn(connection.run(stream));
                }
                _ = stop.wait_for(|stop| *stop) => break,
            }
            while connections.try_join_next().is_some() {}
        }
        while connections.join_next().await.is_some() {}
    });
    Ok(Running { address: bound, done })
}

struct Connection {
    source: Arc<str>,
    framer: Framer,
    intake: Intake,
    idle: Duration,
    stop: watch::Receiver<bool>,
    _pass: Pass,
}

impl Connection {
    fn new(peer: SocketAddr, intake: Intake, limits: StreamLimits, stop: watch::Receiver<bool>, pass: Pass) -> Self {
        let source = source_name(peer.ip());
        Self { source, framer: Framer::new(limits.message_bytes_max), intake, idle: limits.idle, stop, _pass: pass }
    }

    async fn run(mut self, mut stream: TcpStream) {
        loop {
            self.framer.buffer().reserve(READ_BYTES);
            let read = tokio::select! {
                read = tokio::time::timeout(self.idle, stream.read_buf(self.framer.buffer())) => read,
                _ = self.stop.wait_for(|stop| *stop) => break,
            };
            match read {
                Ok(Ok(length)) if length > 0 => {}
                Ok(Ok(_)) => break,
                Ok(Err(_)) => {
                    self.intake.counters.source(&self.source).problem("connection_broken", 1);
                    break;
                }
                Err(_) => {
                    self.intake.counters.source(&self.source).problem("idle_closed", 1);
                    break;
                }
            }
            self.read_what_is_there(&stream);
            if !self.keep_whole_messages().await {
                return;
            }
        }
        self.read_what_is_there(&stream);
        if !self.keep_whole_messages().await {
            return;
        }
        let last = self.framer.finish();
        let batch = last.map(|message| self.arrival(message)).into_iter().collect();
        self.keep(batch).await;
    }

    /// Reads on without waiting, so that one write to disk serves more messages.
    fn read_what_is_there(&mut self, stream: &TcpStream) {
        while self.framer.buffer().len() < BATCH_BYTES_MAX {
            self.framer.buffer().reserve(READ_BYTES);
            match stream.try_read_buf(self.framer.buffer()) {
                Ok(length) if length > 0 => {}
                _ => return,
            }
        }
    }

    async fn keep_whole_messages(&mut self) -> bool {
        let mut batch = Vec::new();
        while let Some(message) = self.framer.next() {
            batch.push(self.arrival(message));
        }
        self.keep(batch).await
    }

    fn arrival(&self, message: Message) -> Arrival {
        if let Some(problem) = message.problem {
            self.intake.counters.source(&self.source).problem(problem.name(), 1);
        }
        Arrival { raw: message.bytes, source: self.source.clone(), transport: Transport::SyslogTcp, claimed: None }
    }

    async fn keep(&self, batch: Vec<Arrival>) -> bool {
        batch.is_empty() || self.intake.keep_stubbornly(batch, self.stop.clone()).await
    }
}

/// Source names by address, made once.
#[derive(Default)]
struct Names(HashMap<IpAddr, Arc<str>>);

impl Names {
    fn of(&mut self, peer: IpAddr) -> Arc<str> {
        // Addresses of datagrams can be made up: the table is bounded.
        if self.0.len() > 10_000 {
            self.0.clear();
        }
        self.0.entry(peer).or_insert_with(|| source_name(peer)).clone()
    }
}

fn source_name(peer: IpAddr) -> Arc<str> {
    format!("syslog/{}", peer.to_canonical()).into()
}

/// How long a stop goes on reading what is there.
const DRAIN: Duration = Duration::from_secs(2);
const RECEIVE_BUFFER_BYTES: usize = 16 << 20;
const DATAGRAM_BYTES_MAX: usize = 65_536;
const READ_BYTES: usize = 64 << 10;
const BATCH_RECORDS_MAX: usize = 4096;
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Batches of datagrams waiting to be durable; more are left to the socket's buffer.
const BATCHES_UNDER_WAY: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_found_by_inode() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n  \
            523: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 12\n";
        assert_eq!(drops_of(table, "4711"), Some(12));
        assert_eq!(drops_of(table, "1"), None);
    }
}
