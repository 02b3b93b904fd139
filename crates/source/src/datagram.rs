//! Datagrams: read as fast as they come, kept in batches, and what the kernel had to drop is counted.
use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    os::fd::AsRawFd as _,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    net::UdpSocket,
    sync::{Semaphore, watch},
    task::JoinSet,
};

use crate::{
    Arrival, Error, Intake, ListenerCount, Place, Running, Sender, Senders, sender,
    stream::{BATCH_BYTES_MAX, DISABLED},
};

/// What makes records of datagrams.
pub(crate) trait Datagrams: Send + 'static {
    /// What the sources' names begin with.
    const WAY: &'static str;

    /// The record that is whole with this datagram, if one is.
    fn take(&mut self, raw: Bytes, peer: IpAddr, source: Arc<str>, intake: &Intake) -> Option<Arrival>;

    /// Called once a second.
    fn tick(&mut self, _intake: &Intake) {}

    /// Called once, after the last datagram.
    fn finish(&mut self, _intake: &Intake) {}
}

/// Opens a listener for datagrams. What the kernel had to drop because they came faster than they could be read is counted. Stops when
/// `stop` turns true, after what is already in the socket is kept.
pub(crate) async fn serve<D: Datagrams>(
    place: &Place,
    cutter: D,
    intake: Intake,
    stop: watch::Receiver<bool>,
) -> Result<Running, Error> {
    let socket = UdpSocket::bind(place.address).await.map_err(|cause| place.failed("udp", cause))?;
    // Room for bursts while a batch is being written. The kernel gives what it allows.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    let address = socket.local_addr().map_err(|cause| place.failed("udp", cause))?;
    let count = intake.counters.listener(&place.name);
    Ok(Running { address, done: tokio::spawn(receive(socket, cutter, intake, count, stop)) })
}

async fn receive<D: Datagrams>(
    socket: UdpSocket,
    mut cutter: D,
    intake: Intake,
    count: Arc<ListenerCount>,
    mut stop: watch::Receiver<bool>,
) {
    let mut names = Names::new(D::WAY, intake.senders.clone());
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
        let (mut batch, mut bytes, mut datagrams) = (Vec::new(), 0, 0);
        names.refresh();
        while datagrams < BATCH_DATAGRAMS_MAX && bytes < BATCH_BYTES_MAX {
            datagrams += 1;
            match socket.try_recv_from(&mut buffer) {
                Ok((0, peer)) => intake.counters.source(&names.of(peer.ip()).0).problem("empty_datagram", 1),
                Ok((length, peer)) => {
                    let (source, sender) = names.of(peer.ip());
                    if let Some(sender) = sender.filter(|sender| !sender.is_enabled()) {
                        intake.counters.source(sender.name()).dropped(DISABLED, 1);
                        continue;
                    }
                    let raw = Bytes::copy_from_slice(&buffer[..length]);
                    let arrival = cutter.take(raw, peer.ip(), source, &intake);
                    // A small datagram may have been a large message, packed.
                    bytes += arrival.as_ref().map_or(length, |arrival| arrival.raw.len().max(length));
                    batch.extend(arrival);
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
        }
        let more = datagrams == BATCH_DATAGRAMS_MAX || bytes >= BATCH_BYTES_MAX;
        if stopping && !more {
            break;
        }
        tokio::select! {
            biased;
            // First, so that it comes in time however much else does.
            _ = tick.tick() => {
                drops.count(&count);
                cutter.tick(&intake);
            }
            // Others on this thread have their turn, also while datagrams come without a pause.
            () = tokio::task::yield_now(), if more => {}
            _ = socket.readable(), if !more => {}
            _ = stop.changed(), if !more => {}
        }
    }
    drops.count(&count);
    cutter.finish(&intake);
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

/// Source names by address, and which registered source that is, looked up once.
struct Names {
    way: &'static str,
    senders: Arc<Senders>,
    version: u64,
    known: HashMap<IpAddr, Named>,
}

/// What the records of an address are named, and the source it is.
type Named = (Arc<str>, Option<Arc<Sender>>);

impl Names {
    fn new(way: &'static str, senders: Arc<Senders>) -> Self {
        Self { way, version: senders.version(), senders, known: HashMap::new() }
    }

    /// Forgets what it knows if the registry changed.
    fn refresh(&mut self) {
        let version = self.senders.version();
        if std::mem::replace(&mut self.version, version) != version {
            self.known.clear();
        }
    }

    fn of(&mut self, peer: IpAddr) -> Named {
        // Addresses of datagrams can be made up: the table is bounded.
        if self.known.len() > 10_000 {
            self.known.clear();
        }
        let look_up = || {
            let sender = self.senders.by_peer(None, peer);
            (sender::of_peer(sender.as_deref(), self.way, &peer.to_canonical()), sender)
        };
        self.known.entry(peer).or_insert_with(look_up).clone()
    }
}

/// How long a stop goes on reading what is there.
const DRAIN: Duration = Duration::from_secs(2);
const RECEIVE_BUFFER_BYTES: usize = 16 << 20;
const DATAGRAM_BYTES_MAX: usize = 65_536;
const BATCH_DATAGRAMS_MAX: usize = 4096;
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
