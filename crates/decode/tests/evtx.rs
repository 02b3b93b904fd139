//! EVTX records counted against another implementation (libevtx), file by file.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where it is wrong and says what it skipped"
)]
mod shared;

use std::collections::BTreeMap;
use std::io::Read;

fn expectations(path: &std::path::Path) -> serde_json::Value {
    let mut text = String::new();
    let file = std::fs::File::open(path).expect("the expectations open");
    if path.extension().is_some_and(|end| end == "gz") {
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("they unpack");
    } else {
        std::io::BufReader::new(file).read_to_string(&mut text).expect("they read");
    }
    serde_json::from_str(&text).expect("they are JSON")
}

/// Files in which the two differ, with the reason. `(name, ours)`.
const EXPLAINED: &[(&str, i64, &str)] = &[
    (
        "2-vss_0-Microsoft-Windows-TerminalServices-RemoteConnectionManager%4Operational.evtx",
        1795,
        "a shadow copy with chunks overwritten in the middle: libevtx leaves such a chunk and carves 267, we go on at its next record",
    ),
    (
        "Microsoft-Windows-LanguagePackSetup%4Operational.evtx",
        17,
        "not closed properly: the 17th record was written but not yet counted in the header that libevtx follows",
    ),
    (
        "Microsoft-Windows-HelloForBusiness%4Operational.evtx",
        6,
        "not closed properly: a 6th, half-written record; named `evtx.record_damaged`",
    ),
    (
        "sample-with-zero-data-size-event.evtx",
        449,
        "libevtx leaves the chunk at a record of size 0 and carves 147, we go on at its next record",
    ),
    (
        "sample_with_a_bad_chunk_magic.evtx",
        301,
        "libevtx ends at the chunk without magic and carves 163, we go on at the next chunk; one record is half written",
    ),
];

fn check(archive: &str, expected: &str) {
    let (Some(archive), Some(expected)) = (shared::data(archive), shared::data(expected)) else { return };
    let read = shared::read(&archive);
    let expected = expectations(&expected);
    let (mut files, mut same, mut records, mut recovered, mut unread) = (0, 0, 0, 0, 0);
    let mut differences = Vec::new();
    for (name, want) in expected.as_object().expect("one object a file") {
        files += 1;
        let source = format!("{}!{name}", archive.display());
        let events = read.events.get(&source).map_or(&[][..], Vec::as_slice);
        let live: Vec<_> =
            events.iter().filter(|event| event.head.is_some() && !event.codes.contains(&"evtx.recovered")).collect();
        recovered += events.iter().filter(|event| event.codes.contains(&"evtx.recovered")).count();
        unread += events.iter().filter(|event| event.head.is_none()).count();
        records += live.len();
        let count = want["records_libevtx"].as_i64().expect("a count");
        let mut by_id: BTreeMap<String, i64> = BTreeMap::new();
        for event in &live {
            let (channel, id, ..) = event.head.as_ref().expect("a head");
            *by_id.entry(format!("{channel}/{id}")).or_default() += 1;
        }
        let stopped = want["exit"].as_i64() != Some(0);
        let ids_same = stopped
            || want["by_channel_event_id"].as_object().is_none_or(|ids| {
                ids.len() == by_id.len() && ids.iter().all(|(id, count)| by_id.get(id) == count.as_i64().as_ref())
            });
        if live.len() as i64 == count && ids_same {
            same += 1;
        } else {
            for odd in live.iter().filter(|event| event.head.as_ref().is_some_and(|head| head.1 == 0 || head.0.is_empty())) {
                println!("  a damaged record {}: {}", odd.number, odd.native);
            }
            differences.push((name.as_str(), live.len() as i64, count, ids_same));
        }
    }
    let codes: std::collections::BTreeSet<_> = read.all().flat_map(|(_, event)| event.codes.iter().copied()).collect();
    println!("problems named: {codes:?}");
    println!(
        "{}: {same} of {files} files agree with libevtx; {records} records, {recovered} recovered, {unread} unread",
        archive.display()
    );
    for (name, ours, theirs, ids_same) in &differences {
        println!("  differs: {name}: ours {ours}, libevtx {theirs}, event ids {}", if *ids_same { "same" } else { "differ" });
    }
    let unexplained: Vec<_> = differences
        .iter()
        .filter(|(name, ours, ..)| !EXPLAINED.iter().any(|(known, count, _)| name.ends_with(known) && count == ours))
        .collect();
    assert!(unexplained.is_empty(), "differences without an explanation: {unexplained:?}");
}

#[test]
fn attack_samples() {
    check("windows/evtx-attack/EVTX-to-MITRE-Attack.zip", "windows/evtx-attack/EVTX-to-MITRE-Attack.expected-libevtx.json");
    check("windows/evtx-attack/EVTX-ATTACK-SAMPLES.zip", "windows/evtx-attack/EVTX-ATTACK-SAMPLES.expected-libevtx.json.gz");
}

#[test]
fn parser_samples() {
    check(
        "windows/evtx-parser/omerbenamram-evtx-samples.zip",
        "windows/evtx-parser/omerbenamram-evtx-samples.expected-libevtx.json",
    );
    check("windows/evtx-parser/artemis-evtx.zip", "windows/evtx-parser/artemis-evtx.expected-libevtx.json");
}

#[test]
fn sigma_regression_data() {
    check("sigma/regression_data.zip", "sigma/regression_data.expected-libevtx.json.gz");
}
