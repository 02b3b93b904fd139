//! What a crash, a merge or a race may not do: lose an event that the read position claims, or show one twice.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use common::{Raws, Told, World, append, ask, identities, options, query};
use reeve_lake::{FlushStep, Lake, SearchRequest};
use reeve_record::RecordId;

/// Event `index` of an endless, repeatable sequence.
fn told(index: u32) -> Told {
    let seed = index.wrapping_mul(2_654_435_761) >> 7;
    let (class_uid, host) = ([1007, 3002, 4001, 0][seed as usize % 4], ["web01", "DC01", "db02"][seed as usize / 4 % 3]);
    let day = 19 + seed / 16 % 3;
    let json = serde_json::json!({
        "record": format!("0-{index}"),
        "time": format!("2026-11-{day}T{:02}:{:02}:{:02}Z", seed % 24, seed / 5 % 60, seed / 7 % 60),
        "class_uid": class_uid,
        "severity_id": 1 + seed % 5,
        "source": host,
        "attributes": {"device.hostname": host, "user.name": format!("user{}", seed % 11), "src_endpoint.ip": format!("10.0.{}.{}", seed % 4, seed % 200), "process.pid": seed % 5000},
        // The first stands in a column as well, the other does not.
        "observables": [[4, format!("user{}", seed % 11)], [2, "192.0.2.9"]],
        "native": {"seq": index, "word": format!("word{}", seed % 37)},
        "raw": format!("event {index} by user{} word{}", seed % 11, seed % 37),
    });
    serde_json::from_value(json).unwrap()
}

fn batch(range: std::ops::Range<u32>) -> Vec<Told> {
    range.map(told).collect()
}

fn id(index: u32) -> RecordId {
    RecordId { segment: 0, index }
}

async fn all(lake: &Arc<Lake>) -> Vec<String> {
    identities(&query(lake, "").await.unwrap().events)
}

fn expected(range: std::ops::Range<u32>) -> BTreeSet<String> {
    range.map(|index| format!("0-{index}/0")).collect()
}

async fn assert_exactly(lake: &Arc<Lake>, range: std::ops::Range<u32>) {
    let found = all(lake).await;
    let set: BTreeSet<String> = found.iter().cloned().collect();
    assert_eq!(set.len(), found.len(), "no event twice");
    assert_eq!(set, expected(range), "every event once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_stopped_at_any_step_loses_and_doubles_nothing() {
    for step in [FlushStep::Start, FlushStep::SegmentWritten, FlushStep::BeforeCommit, FlushStep::AfterCommit] {
        let world = World::new();
        world.append(&batch(0..700));
        world.lake.flush(id(700)).unwrap();
        let World { folder, raws, lake } = world;
        drop(lake);
        let armed = Arc::new(AtomicBool::new(true));
        let trip = armed.clone();
        let mut faulty = options(&raws);
        faulty.faults = Some(Arc::new(move |at| {
            if at == step && trip.load(Ordering::Relaxed) { Err(io::Error::other("stopped here")) } else { Ok(()) }
        }));
        let lake = Arc::new(Lake::open(&folder.path().join("lake"), faulty).unwrap());
        append(&lake, &batch(700..1500)).unwrap();
        assert!(lake.flush(id(1500)).is_err(), "{step:?}");
        armed.store(false, Ordering::Relaxed);
        if step == FlushStep::AfterCommit {
            assert!(append(&lake, &batch(1500..1501)).is_err(), "this process no longer knows what is in files");
        } else {
            assert_exactly(&lake, 0..1500).await;
        }
        drop(lake);

        // Another process: it reads again from where the catalog says.
        let world = World { lake: common::open(folder.path(), &raws), folder, raws };
        let from = world.lake.read_through();
        assert_eq!(from, if step == FlushStep::AfterCommit { id(1500) } else { id(700) }, "{step:?}");
        assert_exactly(&world.lake, 0..from.index).await;
        world.append(&batch(from.index..1500));
        assert_exactly(&world.lake, 0..1500).await;
        world.lake.flush(id(1500)).unwrap();
        assert_exactly(&world.reopen().lake, 0..1500).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_the_position_covers_is_flushed() {
    let world = World::new();
    world.append(&batch(0..300));
    let flushed = world.lake.flush(id(120)).unwrap();
    assert_eq!(flushed.rows, 120);
    assert_eq!(world.lake.status().hot_rows, 180);
    assert_exactly(&world.lake, 0..300).await;
    let world = world.reopen();
    assert_eq!(world.lake.read_through(), id(120));
    assert_exactly(&world.lake, 0..120).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_flushes_leave_few_files() {
    let world = World::new();
    for round in 0..24 {
        world.append(&batch(round * 20..(round + 1) * 20));
        world.lake.flush(id((round + 1) * 20)).unwrap();
    }
    let status = world.lake.status();
    assert_eq!(status.stored_rows, 480);
    assert!(status.segments <= 3 * 5, "{} files for three days", status.segments);
    assert_exactly(&world.lake, 0..480).await;
    let on_disk = walk(&world.folder.path().join("lake/events"));
    assert_eq!(on_disk, status.segments, "replaced files are removed");
    assert_exactly(&world.reopen().lake, 0..480).await;
}

fn walk(folder: &std::path::Path) -> usize {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { walk(&path) } else { 1 })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_during_appends_and_flushes_see_each_event_once() {
    let world = World::new();
    let appended = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let (lake, raws) = (world.lake.clone(), world.raws.clone());
    let (count, ended) = (appended.clone(), stop.clone());
    let writer = std::thread::spawn(move || {
        for round in 0..24 {
            let events = batch(round * 50..(round + 1) * 50);
            put(&raws, &events);
            append(&lake, &events).unwrap();
            count.store(u64::from(round + 1) * 50, Ordering::Release);
            if round % 3 == 2 {
                lake.flush(id((round + 1) * 50 - 10)).unwrap();
            }
        }
        ended.store(true, Ordering::Release);
    });
    let mut searches = 0;
    loop {
        let last = stop.load(Ordering::Acquire);
        let before = appended.load(Ordering::Acquire);
        let found = all(&world.lake).await;
        let after = appended.load(Ordering::Acquire) + 50;
        let set: BTreeSet<&String> = found.iter().collect();
        assert_eq!(set.len(), found.len(), "no event twice");
        assert!((before..=after).contains(&(found.len() as u64)), "{before} <= {} <= {after}", found.len());
        searches += 1;
        if last {
            break;
        }
    }
    writer.join().unwrap();
    assert!(searches > 1);
    assert_exactly(&world.lake, 0..1200).await;
}

fn put(raws: &Arc<Raws>, events: &[Told]) {
    let mut store = raws.0.lock();
    for event in events {
        store.insert(event.id(), bytes::Bytes::from(event.raw.clone().into_bytes()));
    }
}

/// A condition in the query language with the same condition in plain code.
#[allow(clippy::type_complexity, reason = "named once, read once")]
fn condition(seed: u64) -> (String, Box<dyn Fn(&Told) -> bool>) {
    let attribute = |event: &Told, path: &str| {
        event
            .attributes
            .get(path)
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .unwrap_or_default()
    };
    match seed % 10 {
        0 => {
            let user = format!("user{}", seed / 10 % 12);
            (format!("user.name:{}", user.to_uppercase()), Box::new(move |event| attribute(event, "user.name") == user))
        }
        1 => {
            let net = seed / 10 % 5;
            (
                format!("src_endpoint.ip:10.0.{net}.0/24"),
                Box::new(move |event| attribute(event, "src_endpoint.ip").starts_with(&format!("10.0.{net}."))),
            )
        }
        2 => {
            let pid = (seed / 10 % 5000) as i64;
            (format!("process.pid>={pid}"), Box::new(move |event| event.attributes["process.pid"].as_i64().unwrap() >= pid))
        }
        3 => {
            let class = [1007, 3002, 4001, 0, 9999][seed as usize / 10 % 5];
            (format!("class_uid:{class}"), Box::new(move |event| event.class_uid == class))
        }
        4 => {
            let word = format!("word{}", seed / 10 % 40);
            (format!("word:{word}"), Box::new(move |event| event.native["word"] == word.as_str()))
        }
        5 => {
            let text = format!("by USER{} W", seed / 10 % 12);
            (format!("\"{text}\""), Box::new(move |event| event.raw.to_lowercase().contains(&text.to_lowercase())))
        }
        6 => {
            let (left, left_holds) = condition(seed / 10);
            let (right, right_holds) = condition(seed / 90 + 1);
            (format!("({left} OR {right})"), Box::new(move |event| left_holds(event) || right_holds(event)))
        }
        7 => {
            let (inner, holds) = condition(seed / 10);
            (format!("NOT ({inner})"), Box::new(move |event| !holds(event)))
        }
        8 => {
            let (left, left_holds) = condition(seed / 10);
            let (right, right_holds) = condition(seed / 70 + 3);
            (format!("({left}) AND ({right})"), Box::new(move |event| left_holds(event) && right_holds(event)))
        }
        _ => (
            "device.hostname:*b0?".to_owned(),
            Box::new(move |event| ["web01", "db02"].contains(&attribute(event, "device.hostname").as_str())),
        ),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hot_and_flushed_and_plain_code_agree() {
    let events = batch(0..900);
    let (hot, flushed, both) = (World::new(), World::new(), World::new());
    hot.append(&events);
    flushed.append(&events);
    flushed.lake.flush(id(900)).unwrap();
    both.append(&events[..500]);
    both.lake.flush(id(400)).unwrap();
    both.append(&events[500..]);
    let mut seed: u64 = std::env::var("REEVE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    for round in 0..30 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (text, holds) = condition(seed >> 20);
        let wanted: BTreeSet<String> =
            events.iter().filter(|event| holds(event)).map(|event| format!("{}/0", event.id())).collect();
        let mut orders = Vec::new();
        for world in [&hot, &flushed, &both] {
            let answer = query(&world.lake, &text).await.unwrap_or_else(|error| panic!("round {round}, `{text}`: {error}"));
            let found = identities(&answer.events);
            assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), wanted, "round {round}, `{text}`");
            assert_eq!(answer.cost.matched, Some(wanted.len() as u64), "`{text}`");
            assert!(answer.events.is_sorted_by(|left, right| (left.time, left.record) >= (right.time, right.record)), "`{text}`");
            orders.push(found);
            if round % 6 == 0 {
                let histogram = world.lake.histogram(&text, None, None, 17).await.unwrap();
                assert_eq!(histogram.count, wanted.len() as u64, "`{text}`");
                assert_eq!(histogram.buckets.iter().map(|bucket| bucket.count).sum::<u64>(), histogram.count);
                assert!(histogram.buckets.iter().all(|bucket| bucket.by_severity.values().sum::<u64>() == bucket.count));
            }
        }
        assert!(orders.windows(2).all(|pair| pair[0] == pair[1]), "the same order everywhere, `{text}`");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_join_to_the_whole() {
    let world = World::new();
    world.append(&batch(0..300));
    world.lake.flush(id(200)).unwrap();
    let whole = all(&world.lake).await;
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let request = SearchRequest { limit: Some(37), after, ..SearchRequest::default() };
        let answer = ask(&world.lake, request).await.unwrap();
        pages.extend(identities(&answer.events));
        match answer.cost.next_cursor {
            Some(cursor) => after = Some(cursor.parse().unwrap()),
            None => break,
        }
        assert!(answer.cost.truncated);
    }
    assert_eq!(pages, whole);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn catalog_ranges_rule_files_out() {
    let world = World::new();
    world.append(&batch(0..4000));
    world.lake.flush(id(4000)).unwrap();
    let files = world.lake.status().segments as u64;
    assert!(files >= 12, "a file per day and class");
    let answer = query(&world.lake, "class_uid:3002 time:2026-11-20").await.unwrap();
    assert_eq!((answer.cost.files, answer.cost.files_pruned), (1, files - 1));
    let nothing = query(&world.lake, "class_uid:4711").await.unwrap();
    assert_eq!((nothing.cost.files, nothing.cost.bytes_scanned), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_and_events_by_attribute() {
    let world = World::new();
    world.append(&batch(0..500));
    world.lake.flush(id(300)).unwrap();
    for index in [7, 450] {
        let wanted = told(index);
        let found = world.lake.event(id(index), 0).await.unwrap().unwrap();
        assert_eq!(found.event.native.unwrap()["seq"], index.to_string());
        assert_eq!(found.ocsf["user"]["name"], wanted.attributes["user.name"]);
        let observables = found.ocsf["observables"].as_array().unwrap();
        for (type_id, value) in
            [(4, &wanted.attributes["user.name"]), (2, &"192.0.2.9".into()), (2, &wanted.attributes["src_endpoint.ip"])]
        {
            let same = |one: &&serde_json::Value| one["type_id"] == type_id && one["value"] == *value;
            assert_eq!(observables.iter().filter(same).count(), 1, "{value} in {observables:?}");
        }
    }
    assert!(world.lake.event(id(9999), 0).await.unwrap().is_none());
    let want = reeve_lake::EventFilter {
        hosts: vec!["WEB01".into()],
        class_uids: vec![1007],
        equal: vec![("user.name".into(), vec!["user3".into()])],
        native: true,
        ..Default::default()
    };
    let found = world.lake.events_by(&want).await.unwrap();
    let expected = batch(0..500)
        .into_iter()
        .filter(|event| event.class_uid == 1007 && event.source == "web01" && event.attributes["user.name"] == "user3")
        .count();
    assert!(expected > 0);
    assert_eq!(found.len(), expected);
    assert!(found.is_sorted_by_key(|event| event.time));
    let fields = world.lake.fields("", None, None, 3).await.unwrap();
    assert_eq!((fields.events, fields.sampled), (500, false));
    let user = fields.fields.iter().find(|field| field.name == "user.name").unwrap();
    assert_eq!((user.count, user.distinct, user.top.len()), (500, 11, 3));
}
