//! A real exporter of flows, and datagrams that are none, against the listener for them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops where it is wrong, and says what it passes over"
)]
mod common;

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{Memory, intake, runtime};
use jiff::Timestamp;
use reeve_decode::{Decoder, Hint};
use reeve_record::Transport;
use reeve_source::{Arrival, Intake, Place, Running, serve_flows};
use tokio::sync::watch;

struct Listener {
    memory: Arc<Memory>,
    intake: Intake,
    address: SocketAddr,
    running: Running,
    stop: watch::Sender<bool>,
    runtime: tokio::runtime::Runtime,
}

fn listener() -> Listener {
    let runtime = runtime();
    let (memory, intake) = intake();
    let (stop, stopped) = watch::channel(false);
    let place = Place::plain("netflow", "127.0.0.1:0".parse().unwrap());
    let running = runtime.block_on(serve_flows(&place, intake.clone(), stopped)).unwrap();
    Listener { memory, intake, address: running.address, running, stop, runtime }
}

impl Listener {
    /// Waits until `enough` of what is kept, and looks at it.
    fn kept(&self, enough: impl Fn(&[Arrival]) -> bool) -> Vec<Arrival> {
        let until = Instant::now() + Duration::from_secs(20);
        while !enough(&self.memory.kept.lock()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.memory.kept.lock().clone()
    }
}

/// One packet of the traffic that is exported.
struct Packet {
    millis: i64,
    ends: (IpAddr, IpAddr),
    protocol: u8,
    ports: (u16, u16),
    flags: u8,
    payload: usize,
}

/// Addresses, ports, protocol.
type Flow = (IpAddr, IpAddr, u64, u64, u64);

/// What is known of a flow: packets, octets with IP heads, flags, first and last packet.
#[derive(Clone, PartialEq, Debug)]
struct Sum {
    packets: u64,
    octets: u64,
    flags: u64,
    times: (i64, i64),
}

impl Packet {
    fn octets(&self) -> usize {
        let head = if self.ends.0.is_ipv4() { 20 } else { 40 };
        head + if self.protocol == 6 { 20 } else { 8 } + self.payload
    }

    /// As an Ethernet frame.
    fn frame(&self) -> Vec<u8> {
        let transport = self.octets() - if self.ends.0.is_ipv4() { 20 } else { 40 };
        let mut frame = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1].to_vec();
        match self.ends {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend([8, 0, 0x45, 0]);
                frame.extend((self.octets() as u16).to_be_bytes());
                frame.extend([0, 1, 0, 0, 64, self.protocol, 0, 0]);
                frame.extend([source.octets(), destination.octets()].concat());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend([0x86, 0xDD, 0x60, 0, 0, 0]);
                frame.extend((transport as u16).to_be_bytes());
                frame.extend([self.protocol, 64]);
                frame.extend([source.octets(), destination.octets()].concat());
            }
            _ => panic!("addresses of two kinds"),
        }
        frame.extend(self.ports.0.to_be_bytes());
        frame.extend(self.ports.1.to_be_bytes());
        if self.protocol == 6 {
            frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, self.flags, 4, 0, 0, 0, 0, 0]);
        } else {
            frame.extend((transport as u16).to_be_bytes());
            frame.extend([0, 0]);
        }
        frame.resize(frame.len() + self.payload, b'x');
        frame
    }
}

/// A TLS connection both ways, a question and its answer, the same over IPv6, and so many more questions that one datagram does not hold
/// them. Addresses of RFC 5737 and RFC 3849.
fn traffic() -> Vec<Packet> {
    let four = |last: [u8; 4]| IpAddr::V4(Ipv4Addr::from(last));
    let six = |last: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, last));
    let (here, server, resolver) = (four([192, 0, 2, 10]), four([198, 51, 100, 20]), four([203, 0, 113, 53]));
    let tcp = |millis, back: bool, flags, payload| {
        let (ends, ports) = if back { ((server, here), (443, 40_000)) } else { ((here, server), (40_000, 443)) };
        Packet { millis, ends, protocol: 6, ports, flags, payload }
    };
    let udp = |millis, ends, ports, payload| Packet { millis, ends, protocol: 17, ports, flags: 0, payload };
    let more = (0..QUESTIONS).map(|nth| udp(300 + i64::from(nth), (here, resolver), (6000 + nth, 53), 30));
    let few = [
        tcp(0, false, 0x02, 0),
        tcp(20, true, 0x12, 0),
        tcp(40, false, 0x18, 500),
        udp(100, (here, resolver), (5353, 53), 30),
        udp(130, (resolver, here), (53, 5353), 90),
        udp(200, (six(10), six(53)), (5354, 53), 40),
        tcp(1500, true, 0x18, 1000),
        tcp(2000, false, 0x11, 0),
    ];
    few.into_iter().chain(more).collect()
}

const QUESTIONS: u16 = 300;

fn sums(traffic: &[Packet], start: i64, ipv6: bool) -> BTreeMap<Flow, Sum> {
    let mut sums = BTreeMap::new();
    for packet in traffic.iter().filter(|packet| ipv6 || packet.ends.0.is_ipv4()) {
        let flow = (packet.ends.0, packet.ends.1, packet.ports.0.into(), packet.ports.1.into(), packet.protocol.into());
        let at = start + packet.millis;
        let sum = sums.entry(flow).or_insert(Sum { packets: 0, octets: 0, flags: 0, times: (at, at) });
        sum.packets += 1;
        sum.octets += packet.octets() as u64;
        sum.flags |= u64::from(packet.flags);
        sum.times.1 = at;
    }
    // softflowd gives both directions the times of the two together.
    let both: BTreeMap<Flow, (i64, i64)> = sums.iter().map(|(flow, sum): (&Flow, &Sum)| (*flow, sum.times)).collect();
    for ((source, destination, from, to, protocol), sum) in &mut sums {
        if let Some((first, last)) = both.get(&(*destination, *source, *to, *from, *protocol)) {
            sum.times = (sum.times.0.min(*first), sum.times.1.max(*last));
        }
    }
    sums
}

/// A capture file (libpcap's classic form, microseconds, Ethernet).
fn capture(path: &Path, traffic: &[Packet], start: i64) {
    let mut bytes = [0xA1B2_C3D4_u32, 0x0004_0002, 0, 0, 65_535, 1].map(u32::to_le_bytes).concat();
    for packet in traffic {
        let (at, frame) = (start + packet.millis, packet.frame());
        let head = [(at / 1000) as u32, (at % 1000 * 1000) as u32, frame.len() as u32, frame.len() as u32];
        bytes.extend(head.map(u32::to_le_bytes).concat());
        bytes.extend(frame);
    }
    fs::write(path, bytes).unwrap();
}

/// What the decoder reads out of datagrams.
#[derive(Default)]
struct Decoded {
    flows: BTreeMap<Flow, Sum>,
    problems: Vec<&'static str>,
    /// Records and datagrams that are missing by their numbers.
    missing: [u64; 2],
}

fn decoded<'k>(kept: impl IntoIterator<Item = &'k Arrival>) -> Decoded {
    let mut decoder = Decoder::new(Hint::of_source("netflow/127.0.0.1"));
    let Decoded { mut flows, mut problems, mut missing } = Decoded::default();
    for (key, arrival) in (1..).zip(kept) {
        decoder.feed(key, key, &arrival.raw, Timestamp::now(), &mut |parsed| {
            problems.extend(parsed.problems.iter().map(|problem| problem.code));
            let native = serde_json::to_value(&parsed.native).unwrap();
            let about = native.get("netflow").unwrap_or(&native["sflow"]);
            for (sum, name) in missing.iter_mut().zip(["missingRecords", "missingDatagrams"]) {
                *sum += about[name].as_u64().unwrap_or(0);
            }
            let address = |names: [&str; 2]| names.iter().find_map(|name| native.get(name)?.as_str()?.parse().ok());
            let (Some(source), Some(destination)) = (
                address(["sourceIPv4Address", "sourceIPv6Address"]),
                address(["destinationIPv4Address", "destinationIPv6Address"]),
            ) else {
                return;
            };
            let number = |name: &str| native[name].as_u64().unwrap_or_default();
            let moment = |name: &str| native["netflow"][name].as_str().unwrap().parse::<Timestamp>().unwrap().as_millisecond();
            let flow = (
                source,
                destination,
                number("sourceTransportPort"),
                number("destinationTransportPort"),
                number("protocolIdentifier"),
            );
            let times = (moment("start"), moment("end"));
            assert_eq!(parsed.time.unwrap().at.as_millisecond(), times.1);
            let (packets, octets) = (number("packetDeltaCount"), number("octetDeltaCount"));
            flows.insert(flow, Sum { packets, octets, flags: number("tcpControlBits"), times });
        });
    }
    Decoded { flows, problems, missing }
}

/// Whether two accounts of flows agree, times to the few milliseconds that an exporter's own clocks are apart, and so many that they may be early.
fn agree(found: &BTreeMap<Flow, Sum>, sent: &BTreeMap<Flow, Sum>, early: i64) -> bool {
    let near = |one: i64, other: i64| (-5 - early..=5).contains(&(one - other));
    let alike = |one: &Sum, other: &Sum| {
        near(one.times.0, other.times.0)
            && near(one.times.1, other.times.1)
            && Sum { times: other.times, ..one.clone() } == *other
    };
    found.len() == sent.len() && found.iter().all(|(flow, sum)| sent.get(flow).is_some_and(|sent| alike(sum, sent)))
}

#[test]
fn softflowd() {
    let there = Command::new("softflowd").arg("-h").output().is_ok();
    if !there {
        assert!(std::env::var_os("REEVE_REQUIRE_TOOLS").is_none(), "softflowd is required and not there");
        eprintln!("skipped: no softflowd");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (traffic, start) = (traffic(), Timestamp::now().as_millisecond() - 60_000);
    capture(&folder.path().join("traffic.pcap"), &traffic, start);
    // Version 9 says to the second when it counts from. The last says times as such; IPFIX otherwise counts from the start of the device, which it says in options.
    for (version, more) in [("5", &[][..]), ("9", &["-6"]), ("10", &["-6"]), ("10", &["-6", "-A", "milli"])] {
        let listener = listener();
        let sent = sums(&traffic, start, version != "5");
        let mut softflowd = Command::new("softflowd");
        softflowd.args(["-r", &path("traffic.pcap"), "-n", &listener.address.to_string(), "-v", version, "-d"]);
        softflowd.args(["-p", &path("pid"), "-c", "none"]).args(more);
        let output = softflowd.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let kept = listener.kept(|kept| decoded(kept).flows.len() >= sent.len());
        let Decoded { flows, problems, missing } = decoded(&kept);
        assert!(
            agree(&flows, &sent, if version == "9" { 1000 } else { 0 }),
            "version {version} {more:?}:\n{flows:#?}\n{sent:#?}"
        );
        assert_eq!((problems, missing), (Vec::new(), [0; 2]), "version {version}, all that came");
        one_lost(&kept, version);
        assert!(kept.iter().all(|arrival| arrival.transport == Transport::NetflowUdp && &*arrival.source == "netflow/127.0.0.1"));
        assert!(kept.iter().all(|arrival| arrival.claimed.is_some()), "when it was exported");
    }
}

/// Without one of the datagrams just its flows are missing, or just it, and its numbers say so.
fn one_lost(kept: &[Arrival], version: &str) {
    assert!(kept.len() > 6, "version {version}: {} datagrams", kept.len());
    let lost = kept.len() - 2;
    let rest = decoded(kept.iter().enumerate().filter(|(nth, _)| *nth != lost).map(|(_, arrival)| arrival));
    let flows = (decoded(kept).flows.len() - rest.flows.len()) as u64;
    assert!(
        flows > 1 && [[flows, 0], [0, 1]].contains(&rest.missing),
        "version {version}: {flows} lost, {:?} named",
        rest.missing
    );
    assert_eq!(rest.problems, ["netflow.missing"], "version {version}");
}

#[test]
fn what_numbers_say_is_missing_is_counted() {
    let listener = listener();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let five = |count: u8, sequence: u32| {
        let mut five = vec![0; 24 + 48 * usize::from(count)];
        (five[1], five[3]) = (5, count);
        five[16..20].copy_from_slice(&sequence.to_be_bytes());
        five
    };
    let sflow =
        |sequence: u32| [&[0, 0, 0, 5, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0, 0, 0][..], &sequence.to_be_bytes(), &[0; 8]].concat();
    // Of 33 flows after the third 30 come late; of three datagrams of sFlow none.
    for datagram in [five(3, 0), five(2, 36), sflow(7), five(30, 5), sflow(11), five(1, 38)] {
        socket.send_to(&datagram, listener.address).unwrap();
    }
    listener.kept(|kept| kept.len() == 6);
    let dropped = || {
        let sources = listener.intake.counters.snapshot().sources;
        sources.into_iter().filter(|line| !line.dropped.is_empty()).map(|line| (line.source, line.dropped)).collect::<Vec<_>>()
    };
    let until = Instant::now() + Duration::from_secs(10);
    while dropped().len() < 2 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    let expected = [("netflow/127.0.0.1", "flows_missing", 3), ("sflow/127.0.0.1", "datagrams_missing", 3)];
    let expected = expected.map(|(source, reason, count)| (source.to_owned(), BTreeMap::from([(reason.to_owned(), count)])));
    assert_eq!(dropped(), expected);
}

#[test]
fn what_is_missing_at_a_stop_is_counted_then() {
    let Listener { intake, address, stop, runtime, memory, running } = listener();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sflow = |sequence: u8| [&[0, 0, 0, 5, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, sequence][..], &[0; 8]].concat();
    for sequence in [1, 6] {
        socket.send_to(&sflow(sequence), address).unwrap();
    }
    memory.wait_for(2);
    stop.send(true).unwrap();
    runtime.block_on(running.done).unwrap();
    let dropped = intake.counters.snapshot().sources.into_iter().find(|line| line.source == "sflow/127.0.0.1").unwrap().dropped;
    assert_eq!(dropped.get("datagrams_missing"), Some(&4));
}

#[test]
fn each_datagram_is_kept_as_it_came() {
    let listener = listener();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut five = [0, 5, 0, 1, 0, 1, 0x86, 0xA0].to_vec();
    five.extend(1_767_604_364_u32.to_be_bytes());
    five.resize(72, 0);
    let sflow = [&[0, 0, 0, 5, 0, 0, 0, 1, 192, 0, 2, 1][..], &[0; 16]].concat();
    let other = b"neither\0of them".to_vec();
    for datagram in [&five, &sflow, &other] {
        socket.send_to(datagram, listener.address).unwrap();
    }
    let kept = listener.kept(|kept| kept.len() == 3);
    let seen: Vec<_> = kept.iter().map(|arrival| (&arrival.raw[..], &*arrival.source, arrival.transport)).collect();
    let expected = [
        (&five[..], "netflow/127.0.0.1", Transport::NetflowUdp),
        (&sflow, "sflow/127.0.0.1", Transport::SflowUdp),
        (&other, "netflow/127.0.0.1", Transport::NetflowUdp),
    ];
    assert_eq!(seen, expected);
    let claimed: Vec<_> = kept.iter().map(|arrival| arrival.claimed.map(|time| time.at.as_second())).collect();
    assert_eq!(claimed, [Some(1_767_604_364), None, None]);
    let problems = |source: &str| {
        let sources = listener.intake.counters.snapshot().sources;
        sources.into_iter().find(|line| line.source == source).map(|line| line.problems).unwrap_or_default()
    };
    assert_eq!(problems("netflow/127.0.0.1").get("not_a_flow"), Some(&1));
    assert!(problems("sflow/127.0.0.1").is_empty());
}
