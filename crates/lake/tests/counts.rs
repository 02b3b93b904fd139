//! Answers from counts are the answers that the events themselves give, at any range, with events in memory and after merging, and
//! also where counts are damaged or missing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it is wrong")]

mod common;

use std::sync::Arc;

use common::{Told, World, append, ask};
use jiff::Timestamp;
use reeve_lake::{Compaction, Lake, Options, SearchRequest};
use reeve_record::RecordId;

/// 240 events a minute on three hosts, one of them without a name.
fn told(index: u32) -> Told {
    let seed = index.wrapping_mul(2_654_435_761) >> 7;
    let base: Timestamp = "2026-11-20T23:50:00Z".parse().unwrap();
    let mut attributes = serde_json::json!({"user.name": format!("user{}", seed % 7)});
    if !seed.is_multiple_of(5) {
        attributes["device.hostname"] = ["web01", "DC01"][seed as usize % 2].into();
    }
    let class_uid = [1007, 3002, 3002, 3002][seed as usize / 3 % 4];
    let json = serde_json::json!({
        "record": format!("0-{index}"), "time": Timestamp::from_millisecond(base.as_millisecond() + i64::from(index) * 250).unwrap(),
        "class_uid": class_uid, "severity_id": 1 + seed % 2, "attributes": attributes,
        "status_id": if seed.is_multiple_of(3) { None } else { Some(seed % 3) }, "raw": format!("event {index}"),
    });
    serde_json::from_value(json).unwrap()
}

fn options(raws: &Arc<common::Raws>) -> Options {
    Options { compaction: Compaction { carry_rows: 0, ..Compaction::default() }, ..common::options(raws) }
}

/// Two flushes of 4,500 events each in files, 300 events in memory.
fn world() -> World {
    let World { folder, raws, lake } = World::new();
    drop(lake);
    let lake = Arc::new(Lake::open(&folder.path().join("lake"), options(&raws)).unwrap());
    for part in 0..2 {
        append(&lake, &(part * 4500..(part + 1) * 4500).map(told).collect::<Vec<_>>()).unwrap();
        lake.flush(RecordId { segment: 0, index: (part + 1) * 4500 }).unwrap();
    }
    append(&lake, &(9000..9300).map(told).collect::<Vec<_>>()).unwrap();
    World { folder, raws, lake }
}

/// Query, and the same in SQL over events.
const PAIRS: &[(&str, &str)] = &[
    ("* | stats count", "SELECT count(*) FROM events"),
    ("* | stats count as a, count as b by class_uid", "SELECT class_uid, count(*) AS a, count(*) AS b FROM events GROUP BY 1"),
    ("* | stats count by device.hostname, status_id", "SELECT device_hostname, status_id, count(*) FROM events GROUP BY 1, 2"),
    (
        "class_uid:3002 severity_id:2 | stats count by device.hostname",
        "SELECT device_hostname, count(*) FROM events WHERE class_uid = 3002 AND severity_id = 2 GROUP BY 1",
    ),
    (
        "NOT device.hostname:web* | stats count by severity_id",
        "SELECT severity_id, count(*) FROM events WHERE device_hostname NOT LIKE 'web%' OR device_hostname IS NULL GROUP BY 1",
    ),
    ("class_uid:4711 | stats count", "SELECT count(*) FROM events WHERE class_uid = 4711"),
    (
        "* | timechart span=5m count by class_uid",
        "SELECT date_bin(INTERVAL '5 minutes', time), class_uid, count(*) FROM events GROUP BY 1, 2",
    ),
    ("* | timechart span=1m count", "SELECT date_bin(INTERVAL '1 minute', time), count(*) FROM events GROUP BY 1"),
    (
        "* | top 2 device.hostname",
        "SELECT device_hostname, count(*) FROM events WHERE device_hostname IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 2",
    ),
    (
        "* | top 1 severity_id by class_uid",
        "SELECT class_uid, severity_id, n FROM (SELECT class_uid, severity_id, count(*) AS n, row_number() OVER (PARTITION BY class_uid ORDER BY count(*) DESC, severity_id) AS r FROM events GROUP BY 1, 2) WHERE r = 1",
    ),
    // Not answered from counts, and the same all the same.
    ("* | timechart span=90s count", "SELECT date_bin(INTERVAL '90 seconds', time), count(*) FROM events GROUP BY 1"),
    ("* | stats count by user.name", "SELECT user_name, count(*) FROM events GROUP BY 1"),
];

const RANGES: &[(Option<&str>, Option<&str>)] = &[
    (None, None),
    (Some("2026-11-20T23:58:00Z"), Some("2026-11-21T00:10:00Z")),
    (Some("2026-11-20T23:58:13.1Z"), Some("2026-11-21T00:10:59.9Z")),
    (Some("2026-11-21T00:00:00.000001Z"), None),
    (None, Some("2026-11-20T23:50:00.25Z")),
    (Some("2026-11-21T00:03:10Z"), Some("2026-11-21T00:03:20Z")),
    (Some("2026-11-21T00:03:50Z"), Some("2026-11-21T00:04:20Z")),
    (Some("2030-01-01T00:00:00Z"), None),
];

async fn rows(lake: &Arc<Lake>, query: &str, sql: bool, range: (Option<&str>, Option<&str>)) -> Vec<String> {
    let at = |text: Option<&str>| text.map(|text| text.parse().unwrap());
    let request = SearchRequest { query: query.into(), sql, from: at(range.0), to: at(range.1), ..SearchRequest::default() };
    let answer = ask(lake, request).await.unwrap_or_else(|error| panic!("`{query}`: {error}"));
    let mut rows: Vec<String> = answer.table.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
    rows.sort();
    rows
}

async fn assert_same(lake: &Arc<Lake>, what: &str) {
    for (query, sql) in PAIRS {
        for range in RANGES {
            let (counted, scanned) = (rows(lake, query, false, *range).await, rows(lake, sql, true, *range).await);
            assert_eq!(counted, scanned, "{what}: `{query}` in {range:?}");
        }
    }
}

fn beside(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(beside(&path)) } else { found.push(path) }
    }
    found.retain(|path| path.extension().is_some_and(|kind| kind == "minutes"));
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_and_events_give_the_same_answers() {
    let world = world();
    let events = world.folder.path().join("lake/events");
    assert!(beside(&events).len() >= 3, "most files have counts: {:?}", beside(&events));
    assert_same(&world.lake, "in files and memory").await;
    // Whole files are not even opened for it.
    let request = SearchRequest { query: "* | stats count by class_uid".into(), ..SearchRequest::default() };
    let answer = ask(&world.lake, request).await.unwrap();
    assert!(answer.cost.files <= 2, "{:?}", answer.cost);
    while world.lake.compact(&|| true).unwrap().is_some() {}
    assert_same(&world.lake, "after merging").await;
    assert!(beside(&events).len() >= 3);
    for path in beside(&events) {
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        std::fs::write(&path, bytes).unwrap();
    }
    let World { folder, raws, lake } = world;
    drop(lake);
    let lake = Arc::new(Lake::open(&folder.path().join("lake"), options(&raws)).unwrap());
    assert_same(&lake, "with damaged counts").await;
    beside(&events).iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let lake = {
        drop(lake);
        Arc::new(Lake::open(&folder.path().join("lake"), options(&raws)).unwrap())
    };
    assert_same(&lake, "without counts").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histograms_add_up() {
    let world = world();
    for range in RANGES {
        let at = |text: Option<&str>| text.map(|text| text.parse::<Timestamp>().unwrap());
        for (query, sql) in
            [("", "SELECT count(*) FROM events"), ("class_uid:1007", "SELECT count(*) FROM events WHERE class_uid = 1007")]
        {
            for buckets in [1, 3, 7, 60, 500] {
                let histogram = world.lake.histogram(query, at(range.0), at(range.1), buckets).await.unwrap();
                let counted = rows(&world.lake, sql, true, *range).await;
                assert_eq!(counted, [format!("[{}]", histogram.count)], "`{query}` in {range:?}, {buckets} buckets");
                assert_eq!(histogram.buckets.iter().map(|bucket| bucket.count).sum::<u64>(), histogram.count);
                assert!(histogram.buckets.len() <= buckets + 1, "{} of {buckets}", histogram.buckets.len());
                for (bucket, next) in histogram.buckets.iter().zip(histogram.buckets.iter().skip(1)) {
                    let from = at(range.0).map_or(bucket.at, |from| from.max(bucket.at));
                    let to = at(range.1).map_or(next.at, |to| to.min(next.at));
                    if buckets == 7 && from < to {
                        let range = (from.to_string(), to.to_string());
                        let counted = rows(&world.lake, sql, true, (Some(&range.0), Some(&range.1))).await;
                        assert_eq!(counted, [format!("[{}]", bucket.count)], "`{query}` {range:?}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_sample_of_fields_comes_from_all_files() {
    let World { folder, raws, lake } = World::new();
    drop(lake);
    let lake = Arc::new(Lake::open(&folder.path().join("lake"), options(&raws)).unwrap());
    // One host alone in each of the first files, each larger than the sample; the second host's field only at the end.
    for (part, host) in ["flows", "web01"].into_iter().enumerate() {
        let first = u32::try_from(part).unwrap() * 30_000;
        let events: Vec<Told> = (first..first + 30_000)
            .map(|index| {
                let mut event = told(0);
                event.record = Some(format!("0-{index}"));
                event.attributes = serde_json::Map::from_iter([("device.hostname".to_owned(), host.into())]);
                event
            })
            .collect();
        append(&lake, &events).unwrap();
        lake.flush(RecordId { segment: 0, index: first + 30_000 }).unwrap();
    }
    let fields = lake.fields("", None, None, 5).await.unwrap();
    assert!(fields.sampled && fields.events <= 20_000 && fields.events > 19_000, "{} events", fields.events);
    let host = fields.fields.iter().find(|field| field.name == "device.hostname").unwrap();
    for value in &host.top {
        assert!(value.count.abs_diff(10_000) < 500, "{value:?}");
    }
    assert_eq!(host.top.len(), 2);
    assert_eq!(lake.fields("", None, None, 5).await.unwrap(), fields, "asked twice");
}
