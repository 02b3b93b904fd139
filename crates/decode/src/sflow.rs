//! sFlow version 5 (sflow.org, "sFlow Version 5", July 2004): a datagram to one event a sample.
//!
//! What agent and sample say of themselves is under `sflow`; the sampled packet has IANA's names of flow fields, as NetFlow has, and counters
//! those of the specification. An agent sends no time of day: its events have the time of their receipt.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::decoder::Record;
use crate::netflow::{mac, number};
use crate::octets::{Octets, is_zero};
use crate::sequence::{Numbers, Place, Sequences, Unit};
use crate::{Map, Parsed, Problem, Value, packet};

/// Whether bytes begin as a datagram does.
pub(crate) fn may_be(raw: &[u8]) -> bool {
    raw.len() >= 28 && raw.starts_with(&[0, 0, 0, 5, 0, 0, 0]) && matches!(raw[7], 1 | 2)
}

/// What the head of a datagram says of its place; none if it is not all there.
pub(crate) fn numbered(raw: &[u8]) -> Option<Numbers> {
    let mut octets = Octets::new(raw);
    octets.u32()?;
    let (agent, sub_agent) = (address(&mut octets)?, octets.u32()?);
    let (sequence, uptime) = (octets.u32()?, Some(octets.u32()?));
    Some(Numbers { key: (0, agent, sub_agent), unit: Unit::Datagrams, sequence, uptime })
}

/// Reads a datagram for which [`may_be`] holds. What is cut or contradicts itself is named, and what was read before it stands.
pub(crate) fn read<'a>(sequences: &mut Sequences, record: Record<'a>, emit: &mut dyn FnMut(Parsed<'_>)) {
    let mut octets = Octets::new(record.raw);
    let mut about = Map::new();
    let samples = head(&mut octets, &mut about);
    let (mut missing, mut first) = place(sequences, record.raw, &mut about);
    let (mut waiting, mut part, mut problem) = (None::<Parsed<'a>>, 0, None);
    let mut event = |mut native: Map<'a>, raw, waiting: &mut Option<Parsed<'a>>| {
        if let (Some((name, count)), Some((_, Value::Map(about)))) = (missing.take(), native.0.first_mut()) {
            about.push(name, count);
        }
        let mut parsed = Record { raw, problems: std::mem::take(&mut first), ..record }.event("sflow", native, None);
        parsed.part = part;
        part += 1;
        if let Some(before) = waiting.replace(parsed) {
            emit(before);
        }
    };
    for _ in 0..samples.unwrap_or(0) {
        let start = octets.at();
        let taken = tagged(&mut octets);
        let (raw, whole) = match taken {
            Some(((enterprise, format), body)) => (octets.since(start), sample(enterprise, format, body, &about)),
            None => (octets.rest(), Err(Map::new())),
        };
        let cut = whole.is_err();
        match whole {
            Ok(native) | Err(native) if !native.is_empty() => event(native, raw, &mut waiting),
            _ => {}
        }
        if cut {
            problem = Some(start);
        }
        if taken.is_none() {
            break;
        }
    }
    if samples.is_none() {
        problem = Some(octets.at());
    }
    if waiting.is_none() {
        let mut native = Map::new();
        native.push("sflow", about);
        event(native, record.raw, &mut waiting);
    }
    if let Some(mut last) = waiting {
        if let Some(at) = problem {
            let detail = Cow::Borrowed("a sample is longer than what is left of the datagram, or than its records");
            last.problems.push(Problem { code: "sflow.truncated", offset: at as u64, detail });
        }
        emit(last);
    }
}

/// What is missing before the datagram, as a field of its first event, and the problems that name this. That it is late is said in `about`.
fn place(sequences: &mut Sequences, raw: &[u8], about: &mut Map<'static>) -> (Option<(&'static str, i64)>, Vec<Problem>) {
    let Some(numbers) = numbered(raw) else { return (None, Vec::new()) };
    let late = sequences.arrive(&numbers, None) == Place::Late;
    let missing = sequences.untold(numbers.key);
    let offset = if matches!(numbers.key.1, Some(IpAddr::V6(_))) { 28 } else { 16 };
    let mut problems = Vec::new();
    if late {
        about.push("late", true);
        problems.push(Problem::late("sflow.late", offset));
    }
    problems.extend(missing.map(|(count, unit)| Problem::missing("sflow.missing", offset, count, unit)));
    (missing.map(|(count, unit)| (unit.missing(), i64::from(count))), problems)
}

/// The datagram's head into `about`; how many samples are announced.
fn head(octets: &mut Octets<'_>, about: &mut Map<'static>) -> Option<u32> {
    about.push("version", i64::from(octets.u32()?));
    let agent = address(octets)?;
    about.push("agent", agent.map_or_else(String::new, |agent| agent.to_string()));
    for name in ["subAgentId", "sequenceNumber", "systemUpTime"] {
        about.push(name, i64::from(octets.u32()?));
    }
    octets.u32()
}

/// An address behind its kind; `None` inside for one of no known kind, which has no bytes.
fn address(octets: &mut Octets<'_>) -> Option<Option<IpAddr>> {
    Some(match octets.u32()? {
        1 => Some(IpAddr::from(octets.u32()?.to_be_bytes())),
        2 => Some(IpAddr::from(<[u8; 16]>::try_from(octets.take(16)?).ok()?)),
        _ => None,
    })
}

/// Enterprise, format and bytes of a sample or of a record in one.
fn tagged<'a>(octets: &mut Octets<'a>) -> Option<((u32, u32), &'a [u8])> {
    let mut ahead = *octets;
    let (tag, length) = (ahead.u32()?, ahead.u32()?);
    let body = ahead.take(usize::try_from(length).ok()?)?;
    *octets = ahead;
    Some(((tag >> 12, tag & 0xFFF), body))
}

/// A sample's document.
///
/// # Errors
/// The document as far as it could be read.
fn sample<'a>(enterprise: u32, format: u32, body: &'a [u8], about: &Map<'static>) -> Result<Map<'a>, Map<'a>> {
    let (mut octets, mut about, mut native) = (Octets::new(body), about.clone(), Map::new());
    let read = match (enterprise, format) {
        (0, 1 | 3) => flow(&mut octets, format == 3, &mut about, &mut native),
        (0, 2 | 4) => counters(&mut octets, format == 4, &mut about, &mut native),
        _ => {
            about.push("sample", format!("{enterprise}:{format}"));
            native.push("data", hex::encode(body));
            Some(())
        }
    };
    native.0.insert(0, (Cow::Borrowed("sflow"), Value::Map(about)));
    if read.is_some() { Ok(native) } else { Err(native) }
}

fn flow<'a>(octets: &mut Octets<'a>, expanded: bool, about: &mut Map<'_>, native: &mut Map<'a>) -> Option<()> {
    about.push("sample", "flow");
    source(octets, expanded, about)?;
    for name in ["samplingRate", "samplePool", "drops"] {
        about.push(name, i64::from(octets.u32()?));
    }
    for (name, other) in [("ingressInterface", "input"), ("egressInterface", "output")] {
        let (kind, value) = split(octets, expanded, 30)?;
        match kind {
            0 => native.push(name, i64::from(value)),
            1 => about.push(other, format!("discarded ({value})")),
            _ => about.push(other, format!("{value} interfaces")),
        }
    }
    records(octets, native, flow_record)
}

fn counters<'a>(octets: &mut Octets<'a>, expanded: bool, about: &mut Map<'_>, native: &mut Map<'a>) -> Option<()> {
    about.push("sample", "counters");
    source(octets, expanded, about)?;
    records(octets, native, counter_record)
}

fn source(octets: &mut Octets<'_>, expanded: bool, about: &mut Map<'_>) -> Option<()> {
    about.push("sampleSequenceNumber", i64::from(octets.u32()?));
    let (kind, index) = split(octets, expanded, 24)?;
    about.push("sourceIdType", i64::from(kind));
    about.push("sourceIdIndex", i64::from(index));
    Some(())
}

/// A kind and a value: in one number with the kind above bit `bits`, or in two.
fn split(octets: &mut Octets<'_>, expanded: bool, bits: u32) -> Option<(u32, u32)> {
    let first = octets.u32()?;
    if expanded { Some((first, octets.u32()?)) } else { Some((first >> bits, first & ((1 << bits) - 1))) }
}

/// The records of a sample; those of forms not read here are kept in hexadecimal under their numbers.
fn records<'a>(octets: &mut Octets<'a>, native: &mut Map<'a>, read: Reads) -> Option<()> {
    for _ in 0..octets.u32()? {
        let ((enterprise, format), body) = tagged(octets)?;
        if enterprise != 0 || !read(format, &mut Octets::new(body), native)? {
            native.push(format!("record_{enterprise}_{format}"), hex::encode(body));
        }
    }
    Some(())
}

/// Reads a record: false if its form is not known, none if it is cut.
type Reads = for<'a> fn(u32, &mut Octets<'a>, &mut Map<'a>) -> Option<bool>;

fn flow_record<'a>(format: u32, octets: &mut Octets<'a>, native: &mut Map<'a>) -> Option<bool> {
    match format {
        1 => sampled_header(octets, native)?,
        2 => {
            native.push("frameLength", i64::from(octets.u32()?));
            for name in ["sourceMacAddress", "destinationMacAddress"] {
                native.push(name, mac(octets.take(8)?.get(..6)?));
            }
            native.push("ethernetType", i64::from(octets.u32()?));
        }
        3 | 4 => sampled_ip(octets, format == 4, native)?,
        1001 => numbers(octets, &["vlanId", "dot1qPriority", "postVlanId", "postDot1qPriority"], native)?,
        1002 => {
            next_hop(octets, "ipNextHop", native)?;
            numbers(octets, &["sourcePrefixLength", "destinationPrefixLength"], native)?;
        }
        1003 => gateway(octets, native)?,
        _ => return Some(false),
    }
    Some(true)
}

fn sampled_header<'a>(octets: &mut Octets<'a>, native: &mut Map<'a>) -> Option<()> {
    let protocol = octets.u32()?;
    numbers(octets, &["frameLength", "strippedOctets"], native)?;
    let length = usize::try_from(octets.u32()?).ok()?;
    let header = octets.take(length)?;
    match protocol {
        1 => packet::ethernet(header, native),
        11 | 12 => packet::ip(header, native),
        other => {
            native.push("headerProtocol", i64::from(other));
            native.push("header", hex::encode(header));
        }
    }
    Some(())
}

fn sampled_ip(octets: &mut Octets<'_>, six: bool, native: &mut Map<'_>) -> Option<()> {
    numbers(octets, &["frameLength", "protocolIdentifier"], native)?;
    let names =
        if six { ["sourceIPv6Address", "destinationIPv6Address"] } else { ["sourceIPv4Address", "destinationIPv4Address"] };
    for name in names {
        let address = match six {
            true => Ipv6Addr::from(<[u8; 16]>::try_from(octets.take(16)?).ok()?).to_string(),
            false => Ipv4Addr::from(octets.u32()?).to_string(),
        };
        native.push(name, address);
    }
    numbers(octets, &["sourceTransportPort", "destinationTransportPort", "tcpControlBits", "ipClassOfService"], native)
}

fn next_hop(octets: &mut Octets<'_>, name: &str, native: &mut Map<'_>) -> Option<()> {
    if let Some(address) = address(octets)? {
        let version = if address.is_ipv6() { 6 } else { 4 };
        native.push(format!("{name}IPv{version}Address"), address.to_string());
    }
    Some(())
}

/// Autonomous systems: ours, the source's and its neighbour, and the way to the destination.
fn gateway(octets: &mut Octets<'_>, native: &mut Map<'_>) -> Option<()> {
    next_hop(octets, "bgpNextHop", native)?;
    numbers(octets, &["bgpRouterAsNumber", "bgpSourceAsNumber", "bgpPrevAdjacentAsNumber"], native)?;
    let mut path = Vec::new();
    for _ in 0..octets.u32()? {
        octets.u32()?;
        for _ in 0..octets.u32()? {
            path.push(Value::Int(i64::from(octets.u32()?)));
        }
    }
    native.0.extend(path.last().cloned().map(|last| (Cow::Borrowed("bgpDestinationAsNumber"), last)));
    native.push("bgpDestinationAsPath", Value::List(path));
    Some(())
}

fn counter_record<'a>(format: u32, octets: &mut Octets<'a>, native: &mut Map<'a>) -> Option<bool> {
    match format {
        1 => {
            for (name, length) in INTERFACE {
                native.push(name, number(octets.number(length)?));
            }
        }
        2 => numbers(octets, &ETHERNET, native)?,
        5 => numbers(octets, &["vlanId"], native)?,
        _ => return Some(false),
    }
    // Newer forms may be longer; what is filled with zeros says nothing.
    if !is_zero(octets.rest()) {
        native.push(format!("record_0_{format}_more"), hex::encode(octets.rest()));
    }
    Some(true)
}

fn numbers(octets: &mut Octets<'_>, names: &[&'static str], native: &mut Map<'_>) -> Option<()> {
    for name in names {
        native.push(*name, i64::from(octets.u32()?));
    }
    Some(())
}

const INTERFACE: [(&str, usize); 19] = [
    ("ifIndex", 4),
    ("ifType", 4),
    ("ifSpeed", 8),
    ("ifDirection", 4),
    ("ifStatus", 4),
    ("ifInOctets", 8),
    ("ifInUcastPkts", 4),
    ("ifInMulticastPkts", 4),
    ("ifInBroadcastPkts", 4),
    ("ifInDiscards", 4),
    ("ifInErrors", 4),
    ("ifInUnknownProtos", 4),
    ("ifOutOctets", 8),
    ("ifOutUcastPkts", 4),
    ("ifOutMulticastPkts", 4),
    ("ifOutBroadcastPkts", 4),
    ("ifOutDiscards", 4),
    ("ifOutErrors", 4),
    ("ifPromiscuousMode", 4),
];
const ETHERNET: [&str; 13] = [
    "dot3StatsAlignmentErrors",
    "dot3StatsFCSErrors",
    "dot3StatsSingleCollisionFrames",
    "dot3StatsMultipleCollisionFrames",
    "dot3StatsSQETestErrors",
    "dot3StatsDeferredTransmissions",
    "dot3StatsLateCollisions",
    "dot3StatsExcessiveCollisions",
    "dot3StatsInternalMacTransmitErrors",
    "dot3StatsCarrierSenseErrors",
    "dot3StatsFrameTooLongs",
    "dot3StatsInternalMacReceiveErrors",
    "dot3StatsSymbolErrors",
];
