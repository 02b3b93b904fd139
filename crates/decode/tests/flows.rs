//! Datagrams of routers: the values others read out of real ones, templates over a restart, and input made to break parsers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where it is wrong and says what it skipped"
)]
mod shared;

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use reeve_decode::flows::{Exporter, Missing};
use reeve_decode::{Decoder, Hint, Parsed};
use serde_json::{Value, json};

/// One event as these tests look at it.
#[derive(Clone, PartialEq, Debug)]
struct Seen {
    part: u32,
    raw: usize,
    native: Value,
    time: Option<String>,
    codes: Vec<&'static str>,
}

fn feed(decoder: &mut Decoder, key: u64, datagram: &[u8]) -> Vec<Seen> {
    let received = "2026-01-05T09:12:45Z".parse().unwrap();
    let mut seen = Vec::new();
    decoder.feed(key, key, datagram, received, &mut |parsed: Parsed<'_>| {
        assert_eq!(parsed.records, [key]);
        seen.push(Seen {
            part: parsed.part,
            raw: parsed.raw.len(),
            native: serde_json::to_value(&parsed.native).unwrap(),
            time: parsed.time.map(|time| time.at.to_string()),
            codes: parsed.problems.iter().map(|problem| problem.code).collect(),
        });
    });
    seen
}

fn read(datagram: &[u8]) -> Vec<Seen> {
    feed(&mut Decoder::new(Hint::of_source("netflow/192.0.2.1")), 1, datagram)
}

fn set(id: u16, body: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes()[..], &(body.len() as u16 + 4).to_be_bytes(), body].concat()
}

/// A datagram of version 9 exported at 2026-01-05T09:12:44Z, 100 s after its router started.
fn nine(domain: u32, sets: &[Vec<u8>]) -> Vec<u8> {
    let mut datagram = [0, 9, 0, 1].to_vec();
    for number in [100_000, 1_767_604_364, 7, domain] {
        datagram.extend(u32::to_be_bytes(number));
    }
    datagram.extend(sets.concat());
    datagram
}

fn ten(sets: &[Vec<u8>]) -> Vec<u8> {
    let sets = sets.concat();
    let mut datagram = [&[0, 10][..], &(sets.len() as u16 + 16).to_be_bytes()].concat();
    for number in [1_767_604_364, 7, 3] {
        datagram.extend(u32::to_be_bytes(number));
    }
    datagram.extend(sets);
    datagram
}

fn template(id: u16, fields: &[(u16, u16)]) -> Vec<u8> {
    let numbers = [id, fields.len() as u16].into_iter().chain(fields.iter().flat_map(|(element, length)| [*element, *length]));
    numbers.flat_map(u16::to_be_bytes).collect()
}

/// Source, destination, octets, first and last switched.
const FIELDS: [(u16, u16); 5] = [(8, 4), (12, 4), (1, 2), (22, 4), (21, 4)];
/// From 192.0.2.7 to 198.51.100.9, 300 octets, from 90 s to 99.5 s after the start.
const FLOW: [u8; 18] = [192, 0, 2, 7, 198, 51, 100, 9, 1, 44, 0, 1, 0x5F, 0x90, 0, 1, 0x84, 0xAC];

#[test]
fn a_flow_with_its_times() {
    let seen = read(&nine(5, &[set(0, &template(256, &FIELDS)), set(256, &[&FLOW[..], &FLOW, &[0, 0]].concat())]));
    let native = json!({
        "netflow": {
            "version": 9, "exporter": "192.0.2.1", "exportTime": "2026-01-05T09:12:44Z", "systemUpTime": 100_000, "sequenceNumber": 7,
            "recordCount": 1, "observationDomainId": 5, "templateId": 256,
            "start": "2026-01-05T09:12:34Z", "end": "2026-01-05T09:12:43.5Z",
        },
        "sourceIPv4Address": "192.0.2.7", "destinationIPv4Address": "198.51.100.9", "octetDeltaCount": 300,
        "flowStartSysUpTime": 90_000, "flowEndSysUpTime": 99_500,
    });
    let time = Some("2026-01-05T09:12:43.5Z".to_owned());
    let flow = Seen { part: 0, raw: 18, native, time, codes: Vec::new() };
    assert_eq!(seen, [flow.clone(), Seen { part: 1, ..flow }]);
}

#[test]
fn an_uptime_that_began_again_is_the_nearest() {
    let mut early = FLOW;
    early[10..14].copy_from_slice(&(u32::MAX - 1999).to_be_bytes());
    let seen = read(&nine(5, &[set(0, &template(256, &FIELDS)), set(256, &early)]));
    assert_eq!(seen[0].native["netflow"]["start"], "2026-01-05T09:11:02Z", "2 s before the count began again");
}

#[test]
fn what_a_router_says_of_itself_is_no_flow() {
    let options = [&[1, 0, 0, 4, 0, 8][..], &[0, 1, 0, 4, 0, 34, 0, 4, 0, 35, 0, 1]].concat();
    let seen = read(&nine(0, &[set(1, &options), set(256, &[0, 0, 0, 9, 0, 0, 3, 232, 2])]));
    let native = &seen[0].native;
    assert_eq!(native["netflow"]["scope"], json!(["scopeSystem"]));
    assert_eq!(
        (&native["scopeSystem"], &native["samplingInterval"], &native["samplingAlgorithm"]),
        (&json!(9), &json!(1000), &json!(2))
    );
}

#[test]
fn fields_of_any_length_and_of_enterprises() {
    let mut fields =
        [&template(300, &[(371, 65_535), (210, 2)])[..], &[0x80, 33, 0, 2, 0, 0, 0x1A, 0xD7, 0x80, 1, 0, 8, 0, 0, 0x72, 0x79]]
            .concat();
    fields[3] = 4;
    let long = "u".repeat(300);
    let flow = |name: &str| {
        let length =
            if name.len() < 255 { vec![name.len() as u8] } else { [&[255][..], &(name.len() as u16).to_be_bytes()].concat() };
        [&length[..], name.as_bytes(), &[0, 0], &[0, 53], &7_u64.to_be_bytes()].concat()
    };
    let seen = read(&ten(&[set(2, &fields), set(300, &[flow("anna"), flow(&long)].concat())]));
    let natives: Vec<&Value> = seen.iter().map(|seen| &seen.native).collect();
    assert_eq!((&natives[0]["userName"], &natives[1]["userName"]), (&json!("anna"), &json!(long)));
    assert_eq!((&natives[1]["silkAppLabel"], &natives[1]["reverseOctetDeltaCount"]), (&json!(53), &json!(7)));
    assert_eq!(natives[0].get("paddingOctets"), None);
}

#[test]
fn templates_of_domains_are_kept_apart() {
    let mut decoder = Decoder::new(Hint::default());
    assert_eq!(feed(&mut decoder, 1, &nine(1, &[set(0, &template(256, &FIELDS))])), [], "a template alone is no event");
    let seen = feed(&mut decoder, 2, &nine(2, &[set(256, &FLOW)]));
    assert_eq!((seen.len(), &seen[0].codes[..], seen[0].raw), (1, &["netflow.no_template"][..], 18));
    assert_eq!(seen[0].native["netflow"]["templateId"], 256);
    assert_eq!(feed(&mut decoder, 3, &nine(1, &[set(256, &FLOW)]))[0].native["octetDeltaCount"], 300);
}

#[test]
fn a_decoder_made_anew_learns_from_the_records_named() {
    let mut decoder = Decoder::new(Hint::default());
    assert_eq!(decoder.taught_by(), None);
    let records = [
        nine(1, &[set(0, &template(256, &FIELDS)), set(256, &FLOW)]),
        nine(1, &[set(0, &template(257, &[(8, 4)]))]),
        nine(1, &[set(0, &template(256, &FIELDS))]),
        nine(1, &[set(0, &template(257, &[(12, 4)]))]),
    ];
    let mut taught = Vec::new();
    for (key, record) in (1..).zip(&records) {
        feed(&mut decoder, key, record);
        taught.push(decoder.taught_by());
    }
    // The third says what is known; the fourth takes the place of the second, which a reading that goes on before the fourth still needs.
    assert_eq!(taught, [Some(vec![1]), Some(vec![1, 2]), None, Some(vec![1, 2, 4])]);
    let mut anew = Decoder::new(Hint::default());
    for key in [1, 2, 4] {
        feed(&mut anew, key, &records[key as usize - 1]);
    }
    let later = nine(1, &[set(257, &[192, 0, 2, 8]), set(256, &FLOW)]);
    assert_eq!(feed(&mut decoder, 9, &later), feed(&mut anew, 9, &later));
}

/// The same with another number.
fn numbered(mut datagram: Vec<u8>, sequence: u32) -> Vec<u8> {
    let at = match datagram[1] {
        5 => 16,
        9 => 12,
        _ => 8,
    };
    datagram[at..at + 4].copy_from_slice(&sequence.to_be_bytes());
    datagram
}

/// What the events of a datagram say of what is missing before it.
fn missing(seen: &[Seen]) -> Vec<Option<(&'static str, u64)>> {
    let of = |native: &Value| {
        let about = native.get("netflow").unwrap_or(&native["sflow"]);
        ["missingRecords", "missingDatagrams"].into_iter().find_map(|name| Some((name, about.get(name)?.as_u64()?)))
    };
    let told = |seen: &Seen| {
        let missing = of(&seen.native);
        assert_eq!(missing.is_some(), seen.codes.iter().any(|code| code.ends_with("flow.missing")), "{seen:?}");
        missing
    };
    seen.iter().map(told).collect()
}

#[test]
fn datagrams_that_did_not_come_are_told_once() {
    let mut decoder = Decoder::new(Hint::default());
    let known = || set(0, &template(256, &FIELDS));
    let flows = |count| set(256, &FLOW.repeat(count));
    let mut read = |key, sets: &[Vec<u8>], sequence| feed(&mut decoder, key, &numbered(nine(5, sets), sequence));
    assert_eq!(missing(&read(1, &[known(), flows(2)], 10)), [None, None]);
    assert_eq!(missing(&read(2, &[flows(5)], 11)), [None; 5]);
    assert_eq!(read(3, &[known()], 14), [], "templates alone are no event");
    let seen = read(4, &[flows(3)], 16);
    assert_eq!(missing(&seen), [Some(("missingDatagrams", 3)), None, None], "12, 13 and 15");
    let seen = read(5, &[flows(2)], 12);
    assert!(
        seen.iter().all(|seen| seen.native["netflow"]["late"] == true)
            && seen[0].codes == ["netflow.late"]
            && seen[1].codes.is_empty()
    );
    assert_eq!(missing(&read(6, &[flows(1)], 17)), [None]);
    // As after a restart, or where a stretch is read again: what is left out is not missing.
    assert_eq!(missing(&read(90, &[flows(1)], 70)), [None]);
    assert_eq!(missing(&read(91, &[flows(1)], 72)), [Some(("missingDatagrams", 1))]);
}

#[test]
fn records_that_did_not_come_are_told_by_version_5_and_ipfix() {
    let mut decoder = Decoder::new(Hint::default());
    let (known, flows) = (set(2, &template(256, &FIELDS)), |count| set(256, &FLOW.repeat(count)));
    let mut read = |key, sets: &[Vec<u8>], sequence| missing(&feed(&mut decoder, key, &numbered(ten(sets), sequence)));
    assert_eq!(read(1, &[known, flows(2)], 100), [None, None]);
    assert_eq!(read(2, &[flows(3)], 102), [None; 3]);
    assert_eq!(read(3, &[flows(1)], 112), [Some(("missingRecords", 7))]);
    assert_eq!(read(4, &[set(400, &[1; 9])], 113), [None], "a set without a template");
    assert_eq!(read(5, &[flows(1)], 115), [None], "how many records that had is not known");
    let five = |count: u8, sequence| {
        let mut five = vec![0; 24 + 48 * usize::from(count)];
        (five[1], five[3]) = (5, count);
        numbered(five, sequence)
    };
    let seen = [five(3, 0), five(2, 3), five(1, 35)]
        .into_iter()
        .zip(10..)
        .flat_map(|(raw, key)| missing(&feed(&mut decoder, key, &raw)));
    assert_eq!(seen.collect::<Vec<_>>(), [None, None, None, None, None, Some(("missingRecords", 30))]);
}

#[test]
fn sflow_datagrams_that_did_not_come() {
    let mut decoder = Decoder::new(Hint::default());
    let mut read = |key, last: u8, sequence: u32, uptime: u32| {
        let words = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
        let sample = words(&[99, 4, 7]);
        let raw = [&words(&[5, 1])[..], &[192, 0, 2, last], &words(&[0, sequence, uptime, 2]), &sample, &sample].concat();
        missing(&feed(&mut decoder, key, &raw))
    };
    assert_eq!(read(1, 1, 40, 1000), [None, None]);
    assert_eq!(read(2, 2, 7, 1000), [None, None], "another agent behind the same address");
    assert_eq!(read(3, 1, 43, 3000), [Some(("missingDatagrams", 2)), None]);
    assert_eq!(read(4, 2, 8, 2000), [None, None]);
    assert_eq!(read(5, 1, 60, 90_000), [Some(("missingDatagrams", 16)), None]);
    assert_eq!(read(6, 1, 70, 500), [None, None], "begun anew, as its clock says");
}

#[test]
fn an_exporter_can_be_followed_without_reading_its_flows() {
    let received = "2026-01-05T09:12:45Z".parse().unwrap();
    let mut exporter = Exporter::default();
    let lists = set(2, &template(257, &[(371, 65_535), (8, 4)]));
    let names = set(257, &[&[1, b'a', 192, 0, 2, 7][..], &[3, b'b', b'c', b'd', 192, 0, 2, 8], &[0, 192, 0, 2, 9]].concat());
    let datagrams = [
        numbered(ten(&[set(2, &template(256, &FIELDS)), lists, set(256, &FLOW.repeat(4))]), 0),
        numbered(ten(&[names.clone(), set(256, &FLOW)]), 4),
        numbered(ten(&[names]), 8),
        numbered(ten(&[set(256, &FLOW)]), 21),
    ];
    let mut told = 0;
    let mut decoder = Decoder::new(Hint::default());
    for (key, datagram) in (1..).zip(&datagrams) {
        exporter.follow(datagram, received);
        told += missing(&feed(&mut decoder, key, datagram)).into_iter().flatten().map(|(_, count)| count).sum::<u64>();
    }
    assert_eq!([exporter.missing(), exporter.missing()], [Missing::default(), Missing { flows: 10, datagrams: 0 }]);
    assert_eq!(told, 10);
}

#[test]
fn lengths_that_lie() {
    let codes = |datagram: &[u8]| read(datagram).last().map(|seen| seen.codes.clone()).unwrap();
    let known = set(0, &template(256, &FIELDS));
    assert_eq!(codes(&nine(0, &[known.clone(), vec![1, 0, 0xFF, 0xFF]])), ["netflow.truncated"]);
    assert_eq!(codes(&nine(0, &[known.clone(), vec![1, 0, 0, 2]])), ["netflow.set_length"]);
    assert_eq!(codes(&nine(0, &[known.clone(), vec![1]])), ["netflow.truncated"]);
    assert_eq!(codes(&nine(0, &[set(0, &[1, 0, 0xFF, 0xFF, 0, 8])])), ["netflow.template"]);
    assert_eq!(codes(&nine(0, &[set(0, &template(9, &FIELDS))])), ["netflow.template"]);
    assert_eq!(
        codes(&nine(0, &[set(0, &template(256, &[(8, 0), (12, 0)])), set(256, &FLOW)])),
        ["netflow.no_template", "netflow.template"]
    );
    assert_eq!(codes(&nine(0, &[set(0, &template(256, &vec![(8, 1); 600]))])), ["netflow.template"]);
    assert_eq!(codes(&ten(&[set(2, &template(256, &[(371, 65_535)])), set(256, &[255, 0xFF, 0xFF, 1])])), ["netflow.truncated"]);
    let mut five = [0, 5, 0, 30].to_vec();
    five.resize(24 + 48 + 47, 1);
    assert_eq!(read(&five).iter().map(|seen| seen.codes.len()).collect::<Vec<_>>(), [1], "one record is whole");
    let tiny = nine(0, &[set(0, &template(256, &[(4, 1)])), set(256, &[6; 60_000])]);
    assert_eq!((read(&tiny).len(), codes(&tiny)), (4096, vec!["netflow.too_many"]));
}

#[test]
fn fields_without_bytes_are_left_out() {
    let seen = read(&nine(0, &[set(0, &template(256, &[(8, 4), (1, 0), (2, 1)])), set(256, &[192, 0, 2, 7, 5])]));
    assert_eq!((seen[0].native.get("octetDeltaCount"), &seen[0].native["packetDeltaCount"]), (None, &json!(5)));
}

#[test]
fn however_many_templates_come_few_are_kept() {
    let mut decoder = Decoder::new(Hint::default());
    let mut forgotten = 0;
    for key in 1..=8_000_u64 {
        let id = 255 + key as u16;
        let seen = feed(&mut decoder, key, &nine(key as u32 % 7, &[set(0, &template(id, &FIELDS))]));
        forgotten += seen.iter().filter(|seen| seen.codes == ["netflow.templates_full"]).count();
    }
    assert_eq!(decoder.taught_by().map(|keys| keys.len()), Some(64));
    let known = (1..=8_000_u64).filter(|key| {
        let seen = feed(&mut decoder, *key, &nine(*key as u32 % 7, &[set(255 + *key as u16, &FLOW)]));
        seen[0].codes.is_empty()
    });
    let known = known.count();
    assert!((500..=1024).contains(&known) && forgotten > 10, "{known} kept, {forgotten} times forgotten");
}

#[test]
fn an_sflow_sample_and_counters() {
    let words = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
    let tagged = |format: u32, body: &[u8]| [&words(&[format, body.len() as u32])[..], body].concat();
    // Ethernet in VLAN 7, IPv4, TCP with SYN, as an agent samples them.
    let frame = [
        &[0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x81, 0, 0, 7, 8, 0][..],
        &[0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 7, 198, 51, 100, 9],
        &[0xC0, 0, 1, 0xBB, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0],
        &[0, 0],
    ]
    .concat();
    let header = tagged(1, &[&words(&[1, 78, 4, frame.len() as u32])[..], &frame].concat());
    let strange = tagged(4413 << 12 | 1, &[0xBE, 0xEF, 0, 1]);
    let flow = tagged(1, &[&words(&[21, 3, 512, 9000, 2, 11, 1 << 30 | 257, 2])[..], &header, &strange].concat());
    let interface =
        [&words(&[3, 6])[..], &1_000_000_000_u64.to_be_bytes(), &words(&[1, 3]), &77_u64.to_be_bytes(), &words(&[0; 6])].concat();
    let interface = [&interface[..], &88_u64.to_be_bytes(), &words(&[0; 6])].concat();
    let counters = tagged(4, &[&words(&[5, 0, 3, 1])[..], &tagged(1, &interface)].concat());
    let datagram = [&words(&[5, 1])[..], &[192, 0, 2, 1], &words(&[0, 40, 100_000, 2]), &flow, &counters].concat();
    let seen = read(&datagram);
    assert_eq!(seen.iter().map(|seen| (seen.part, seen.codes.len())).collect::<Vec<_>>(), [(0, 0), (1, 0)]);
    let native = &seen[0].native;
    let sflow = json!({
        "version": 5, "agent": "192.0.2.1", "subAgentId": 0, "sequenceNumber": 40, "systemUpTime": 100_000, "sample": "flow",
        "sampleSequenceNumber": 21, "sourceIdType": 0, "sourceIdIndex": 3, "samplingRate": 512, "samplePool": 9000, "drops": 2,
        "output": "discarded (257)",
    });
    assert_eq!(native["sflow"], sflow);
    for (name, value) in [
        ("ingressInterface", json!(11)),
        ("frameLength", json!(78)),
        ("dot1qVlanId", json!(7)),
        ("sourceMacAddress", json!("02:00:00:00:00:02")),
        ("sourceIPv4Address", json!("192.0.2.7")),
        ("destinationTransportPort", json!(443)),
        ("tcpControlBits", json!(2)),
        ("record_4413_1", json!("beef0001")),
    ] {
        assert_eq!(native[name], value, "{name}");
    }
    assert_eq!((&seen[1].native["ifInOctets"], &seen[1].native["ifOutOctets"]), (&json!(77), &json!(88)));
    for length in 28..datagram.len() {
        let cut = read(&datagram[..length]);
        assert_eq!(cut.last().unwrap().codes, ["sflow.truncated"], "{length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sets_are_read(
        version in prop::sample::select(vec![5_u8, 9, 10]),
        sets in prop::collection::vec((prop_oneof![0..4_u16, 256..260_u16], prop::collection::vec(prop_oneof![Just(0), Just(1), Just(8), Just(255), any::<u8>()], 0..80), -4..5_i16), 0..6),
    ) {
        let mut decoder = Decoder::new(Hint::default());
        feed(&mut decoder, 1, &nine(0, &[set(0, &template(256, &FIELDS)), set(0, &template(257, &[(371, 65_535), (1, 0), (4, 1)]))]));
        let sets: Vec<Vec<u8>> = sets.into_iter().map(|(id, body, lie)| {
            let mut set = set(id, &body);
            let length = (set.len() as u16).wrapping_add_signed(lie);
            set[2..4].copy_from_slice(&length.to_be_bytes());
            set
        }).collect();
        let mut datagram = if version == 10 { ten(&sets) } else { nine(0, &sets) };
        datagram[1] = version;
        Exporter::default().follow(&datagram, Timestamp::UNIX_EPOCH);
        let seen = feed(&mut decoder, 2, &datagram);
        prop_assert!(seen.iter().enumerate().all(|(nth, seen)| seen.part as usize == nth));
        prop_assert!(seen.iter().map(|seen| seen.raw).sum::<usize>() <= datagram.len());
    }

    #[test]
    fn any_samples_are_read(body in prop::collection::vec(prop_oneof![Just(0), Just(1), any::<u8>()], 20..300)) {
        let datagram = [&[0, 0, 0, 5, 0, 0, 0, 1][..], &body].concat();
        let seen = read(&datagram);
        prop_assert!(!seen.is_empty() && seen.iter().enumerate().all(|(nth, seen)| seen.part as usize == nth));
    }
}

/// What the values of `network/netflow` were read with calls fields by other names; ours are IANA's.
const NAMES: &[(&str, &str)] = &[
    ("application_id", "applicationId"),
    ("application_name", "applicationName"),
    ("bgp_ipv4_next_hop", "bgpNextHopIPv4Address"),
    ("conn_id", "flowId"),
    ("direction", "flowDirection"),
    ("dst_as", "bgpDestinationAsNumber"),
    ("dst_mask", "destinationIPv4PrefixLength"),
    ("dst_traffic_index", "dstTrafficIndex"),
    ("dst_vlan", "postVlanId"),
    ("event_time_msec", "observationTimeMilliseconds"),
    ("flow_active_timeout", "flowActiveTimeout"),
    ("flow_inactive_timeout", "flowIdleTimeout"),
    ("flow_sampler_id", "samplerId"),
    ("flow_start_msec", "flowStartMilliseconds"),
    ("forwarding_status", "forwardingStatus"),
    ("fwd_flow_delta_bytes", "initiatorOctets"),
    ("icmp_code", "icmpCodeIPv4"),
    ("if_desc", "interfaceDescription"),
    ("in_bytes", "octetDeltaCount"),
    ("in_dst_mac", "destinationMacAddress"),
    ("in_permanent_bytes", "octetTotalCount"),
    ("in_pkts", "packetDeltaCount"),
    ("in_src_mac", "sourceMacAddress"),
    ("input_snmp", "ingressInterface"),
    ("ip_dscp", "ipDiffServCodePoint"),
    ("ip_protocol_version", "ipVersion"),
    ("ipv4_dst_addr", "destinationIPv4Address"),
    ("ipv4_ident", "fragmentIdentification"),
    ("ipv4_next_hop", "ipNextHopIPv4Address"),
    ("ipv4_src_addr", "sourceIPv4Address"),
    ("ipv4_src_prefix", "sourceIPv4Prefix"),
    ("l4_dst_port", "destinationTransportPort"),
    ("l4_src_port", "sourceTransportPort"),
    ("out_bytes", "postOctetDeltaCount"),
    ("out_pkts", "postPacketDeltaCount"),
    ("output_snmp", "egressInterface"),
    ("protocol", "protocolIdentifier"),
    ("rev_flow_delta_bytes", "responderOctets"),
    ("src_as", "bgpSourceAsNumber"),
    ("src_mask", "sourceIPv4PrefixLength"),
    ("src_tos", "ipClassOfService"),
    ("src_traffic_index", "srcTrafficIndex"),
    ("src_vlan", "vlanId"),
    ("tcp_flags", "tcpControlBits"),
    ("tcp_src_port", "tcpSourcePort"),
    ("total_bytes_exp", "exportedOctetTotalCount"),
    ("total_flows_exp", "exportedFlowRecordTotalCount"),
    ("total_pkts_exp", "exportedMessageTotalCount"),
    ("udp_dst_port", "udpDestinationPort"),
    ("xlate_dst_addr_ipv4", "postNATDestinationIPv4Address"),
    ("xlate_dst_port", "postNAPTDestinationTransportPort"),
    ("xlate_src_addr_ipv4", "postNATSourceIPv4Address"),
    ("xlate_src_port", "postNAPTSourceTransportPort"),
];

/// Values that differ, by case (empty: any) and field, and why.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    (
        "",
        "first_switched",
        "theirs is a second late (the second below which it counts back is not taken off), and does not undo a count that began again",
    ),
    ("", "last_switched", "likewise; of version 5 theirs is then after the export"),
    (
        "IPFIX from IXIA something something",
        "ixiaDstLongitude",
        "theirs has a digit less than the number that the field's four bytes are",
    ),
    ("Netflow 9 nprobe DPI L7", "nprobe_proto_name", "no text: theirs takes any byte for Latin-1"),
    ("Netflow 9 Streamcore", "reamcore_id_rule_1", "a slip of the pen for `streamcore_id_rule_1`"),
    ("IPFIX Netscaler with variable length fields", "flowStartMicroseconds", "theirs was not filled in: `#{nanos}`"),
    ("IPFIX Netscaler with variable length fields", "flowEndMicroseconds", "likewise"),
    (
        "IPFIX Netscaler with variable length fields",
        "netscalerUnknown330",
        "a name for no name; ours is `enterprise_5951_330`, octets in hexadecimal",
    ),
];

/// The value under which we have what the others call `name`, written as they write it.
fn ours(native: &Value, name: &str) -> Option<Value> {
    let about = &native["netflow"];
    let field = |name: &str| native.get(name).filter(|value| !value.is_null());
    let number = |value: &Value| value.as_u64();
    let millis = |value: &Value| Some(json!(value.as_str()?.parse::<Timestamp>().ok()?.as_millisecond()));
    let held = match name {
        "@timestamp" => about.get("exportTime"),
        "version" => about.get("version"),
        "flow_seq_num" => about.get("sequenceNumber"),
        "flowset_id" => about.get("templateId"),
        "flow_records" => about.get("recordCount"),
        "first_switched" => about.get("start"),
        "last_switched" => about.get("end"),
        "scope_system" => field("scopeSystem"),
        "engine_type" => about.get("engineType").or_else(|| field("engineType")),
        "engine_id" => about.get("engineId").or_else(|| field("engineId")),
        "sampling_interval" => about.get("samplingInterval").or_else(|| field("samplingInterval")),
        "sampling_algorithm" => about.get("samplingMode").or_else(|| field("samplingAlgorithm")),
        // Theirs for two elements.
        "icmp_type" => field("icmpTypeIPv4").or_else(|| field("icmpTypeCodeIPv4")),
        "fw_event" => field("firewallEvent").or_else(|| field("fw_event")),
        _ => NAMES.iter().find(|(theirs, _)| *theirs == name).and_then(|(_, ours)| field(ours)).or_else(|| field(name)),
    }?;
    // Numbers of milliseconds, parts of numbers and of octets: theirs to be shown, the same bits.
    Some(match name {
        "event_time_msec" | "flow_start_msec" | "systemInitTimeMilliseconds" => millis(held)?,
        "forwarding_status" => json!({ "status": number(held)? >> 6, "reason": number(held)? & 0x3F }),
        "application_id" => {
            let octets = held.as_str()?;
            json!(format!(
                "{}..{}",
                u64::from_str_radix(octets.get(..2)?, 16).ok()?,
                u64::from_str_radix(octets.get(2..)?, 16).ok()?
            ))
        }
        "ingress_acl_id" | "egress_acl_id" => {
            let octets = held.as_str()?;
            json!(format!("{}-{}-{}", octets.get(..8)?, octets.get(8..16)?, octets.get(16..)?))
        }
        _ => held.clone(),
    })
}

fn equal(ours: &Value, theirs: &Value) -> bool {
    let moment = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
    match (moment(ours), moment(theirs)) {
        // Theirs are cut to milliseconds.
        (Some(ours), Some(theirs)) => ours.as_millisecond() == theirs.as_millisecond(),
        _ => ours == theirs || matches!((ours.as_f64(), theirs.as_f64()), (Some(ours), Some(theirs)) if ours == theirs),
    }
}

/// Fields of an expected event that are equal in ours, and those that are not.
fn compare<'e>(native: &Value, expected: &BTreeMap<&'e str, &Value>) -> (usize, Vec<(&'e str, Option<Value>)>) {
    let mut different = Vec::new();
    for (name, theirs) in expected {
        let ours = ours(native, name);
        // A text without bytes is left out in ours.
        let empty = ours.is_none() && theirs.as_str() == Some("");
        if !empty && !ours.as_ref().is_some_and(|ours| equal(ours, theirs)) {
            different.push((*name, ours));
        }
    }
    (expected.len() - different.len(), different)
}

#[test]
fn values_that_others_read() {
    let Some(folder) = shared::data("network/netflow") else { return };
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let (mut events, mut same, mut all, mut wrong, mut explained) = (0, 0, 0, Vec::new(), 0);
    for case in &cases {
        let (name, mut decoder) = (case["case"].as_str().unwrap(), Decoder::new(Hint::default()));
        let packets = case["packets_in_order"].as_array().unwrap().iter().map(|packet| folder.join(packet.as_str().unwrap()));
        let read = |(key, packet): (u64, _)| feed(&mut decoder, key, &std::fs::read(packet).unwrap());
        let mut seen: Vec<Seen> = (1..).zip(packets).flat_map(read).collect();
        let whole =
            seen.iter().filter(|seen| !seen.codes.contains(&"netflow.no_template") && seen.native.as_object().unwrap().len() > 1);
        let (whole, expected) = (whole.count(), case["expected_event_count"].as_u64());
        if expected.is_some_and(|expected| expected != whole as u64) {
            wrong.push(format!("{name}: {whole} events, not {}", expected.unwrap()));
        }
        for expected in case["expected_events"].as_array().unwrap() {
            // One "expected event" is the others' cache of templates.
            let Some(fields) = expected["netflow"].as_object() else { continue };
            let mut fields: BTreeMap<&str, &Value> = fields.iter().map(|(name, value)| (name.as_str(), value)).collect();
            fields.extend(expected.get("@timestamp").map(|value| ("@timestamp", value)));
            // Which of the events is meant is not said: the one that is most like it, each once.
            let best =
                (0..seen.len()).max_by_key(|nth| (compare(&seen[*nth].native, &fields).0, std::cmp::Reverse(*nth))).unwrap();
            let (equal, different) = compare(&seen.remove(best).native, &fields);
            (events, same, all) = (events + 1, same + equal, all + fields.len());
            for (field, ours) in different {
                let known = DIFFERENCES.iter().any(|(known, of, _)| (known.is_empty() || *known == name) && *of == field);
                explained += usize::from(known);
                if !known {
                    wrong.push(format!("{name}: `{field}` is {} and not {}", ours.unwrap_or_default(), fields[field]));
                }
            }
        }
    }
    println!(
        "{} cases, {events} events: {same} of {all} values equal, {explained} differ for reasons that are written down",
        cases.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn real_datagrams_cut_anywhere_and_with_flipped_bits() {
    let Some(folder) = shared::data("network/netflow") else { return };
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let (mut datagrams, mut seen) = (0, 0);
    let (mut decoder, mut exporter) = (Decoder::new(Hint::default()), Exporter::default());
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|end| end != "dat") {
            continue;
        }
        let whole = std::fs::read(file).unwrap();
        for nth in 0..200_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut bytes = whole[..whole.len() - (state >> 33) as usize % whole.len() * (nth as usize & 1)].to_vec();
            for flip in 0..nth as usize % 4 {
                let at = (state >> (8 * flip)) as usize % bytes.len();
                bytes[at] ^= 1 << (state >> 61);
            }
            datagrams += 1;
            seen += feed(&mut decoder, datagrams, &bytes).len();
            exporter.follow(&bytes, Timestamp::UNIX_EPOCH);
        }
    }
    println!("{datagrams} damaged datagrams gave {seen} events");
}
