//! Merging files: the same events before and after, at most two rewrites, and neither a crash, a failed step, a reader nor another
//! process makes an event vanish or show twice.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test stops where it is wrong")]

mod common;

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arrow::array::{Array, AsArray};
use common::{Raws, Told, World, append, ask, identities, query};
use futures::StreamExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use reeve_lake::{Catalog, Compaction, FlushStep, Lake, Options, SearchEvent, SearchRequest, SqliteCatalog};
use reeve_record::RecordId;

fn told(index: u32) -> Told {
    let seed = index.wrapping_mul(2_654_435_761) >> 7;
    let host = ["web01", "DC01", "db02", "edge"][seed as usize / 4 % 4];
    let class_uid = [1007, 3002][seed as usize % 2];
    let mut attributes = serde_json::json!({"user.name": format!("user{}", seed % 11), "process.pid": seed % 5000});
    if host != "edge" {
        attributes["device.hostname"] = host.into();
    }
    let json = serde_json::json!({
        "record": format!("0-{index}"),
        "time": format!("2026-11-{}T{:02}:{:02}:{:02}Z", 19 + seed / 16 % 2, seed % 24, seed / 5 % 60, seed / 7 % 60),
        "class_uid": class_uid,
        "severity_id": 1 + seed % 5,
        "source": host,
        "attributes": attributes,
        "native": {"seq": index, "word": format!("word{}", seed % 37), format!("only{}", seed % 5): index},
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

/// Every flush leaves its files, and three of them are enough to merge.
fn rules() -> Compaction {
    Compaction { carry_rows: 0, files: 3, lease: Duration::from_secs(10), ..Compaction::default() }
}

fn options(raws: &Arc<Raws>) -> Options {
    Options { compaction: rules(), ..common::options(raws) }
}

fn open(folder: &Path, raws: &Arc<Raws>) -> Arc<Lake> {
    Arc::new(Lake::open(&folder.join("lake"), options(raws)).unwrap())
}

/// A lake of `flushes` flushes with 300 events each, too few for files of their own class.
fn filled(flushes: u32) -> World {
    filled_with(flushes, 300)
}

fn filled_with(flushes: u32, events: u32) -> World {
    let World { folder, raws, lake } = World::new();
    drop(lake);
    let world = World { lake: open(folder.path(), &raws), folder, raws };
    for flush in 0..flushes {
        world.append(&batch(flush * events..(flush + 1) * events));
        world.lake.flush(id((flush + 1) * events)).unwrap();
    }
    world
}

/// All events in full, by identity.
async fn rows(lake: &Arc<Lake>) -> BTreeMap<String, serde_json::Value> {
    let answer = ask(lake, SearchRequest { native: true, ..SearchRequest::default() }).await.unwrap();
    let count = answer.events.len();
    let rows: BTreeMap<_, _> = identities(&answer.events)
        .into_iter()
        .zip(answer.events.iter().map(|event| serde_json::to_value(event).unwrap()))
        .collect();
    assert_eq!(rows.len(), count, "no event twice");
    rows
}

fn compact_all(lake: &Lake) -> usize {
    let mut merges = 0;
    while lake.compact(&|| true).unwrap().is_some() {
        merges += 1;
    }
    merges
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "parquet" || extension == "tmp"));
    found
}

fn assert_sorted(path: &Path) -> usize {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    let mut last: Option<(Option<String>, i64, i64)> = None;
    let mut count = 0;
    for batch in reader {
        let batch = batch.unwrap();
        let hosts = batch.column_by_name("device_hostname").unwrap().as_string::<i32>().clone();
        let times = batch.column_by_name("time").unwrap().as_primitive::<arrow::datatypes::TimestampMicrosecondType>().clone();
        let records = batch.column_by_name("record").unwrap().as_primitive::<arrow::datatypes::Int64Type>().clone();
        for row in 0..batch.num_rows() {
            let key = (hosts.is_valid(row).then(|| hosts.value(row).to_owned()), times.value(row), records.value(row));
            assert!(last.as_ref().is_none_or(|last| *last <= key), "{} is sorted", path.display());
            last = Some(key);
            count += 1;
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merged_files_hold_the_same_events_in_order() {
    let world = filled_with(5, 1300);
    let before = rows(&world.lake).await;
    assert_eq!(before.len(), 6500);
    let many = files(&world.folder.path().join("lake/events"));
    let slots: std::collections::BTreeSet<_> = many.iter().map(|path| path.parent().unwrap()).collect();
    assert!(slots.len() >= 4 && many.len() >= 5 * slots.len() - 4, "two days of two classes: {many:?}");
    // Their days are long over: each slot becomes one file.
    assert_eq!(compact_all(&world.lake), slots.len());
    assert_eq!(rows(&world.lake).await, before);
    let left = files(&world.folder.path().join("lake/events"));
    assert_eq!(left.len(), slots.len(), "{left:?}");
    assert_eq!(left.iter().map(|path| assert_sorted(path)).sum::<usize>(), 6500);
    assert_eq!(compact_all(&world.lake), 0, "nothing is left to do");
    let World { folder, raws, lake } = world;
    drop(lake);
    assert_eq!(rows(&open(folder.path(), &raws)).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_is_rewritten_more_than_twice() {
    // Days to come never end, so files gather by age.
    let world = filled(0);
    let mut written = 0;
    let mut merged = 0;
    for flush in 0..40_u32 {
        let mut events = batch(flush * 300..(flush + 1) * 300);
        events.iter_mut().for_each(|event| event.time = Some("2126-03-01T00:00:00Z".parse().unwrap()));
        world.append(&events);
        written += world.lake.flush(id((flush + 1) * 300)).unwrap().rows;
        while let Some(done) = world.lake.compact(&|| true).unwrap() {
            assert_eq!(done.files, 3);
            merged += done.rows;
        }
    }
    assert_eq!(written, 12_000);
    assert!(merged <= 2 * written, "{merged} rows were rewritten of {written}");
    let (segments, _) = SqliteCatalog::open(&world.folder.path().join("lake/catalog.sqlite")).unwrap().load().unwrap();
    assert!(segments.iter().all(|segment| segment.rewrites <= 2));
    assert!(segments.iter().any(|segment| segment.rewrites == 2));
    assert_eq!(rows(&world.lake).await.len(), 12_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_stopped_at_any_step_leaves_the_old_or_the_new_files() {
    for step in [FlushStep::MergeStart, FlushStep::MergeWritten, FlushStep::MergeCommitted] {
        let World { folder, raws, lake } = filled(4);
        let before = rows(&lake).await;
        drop(lake);
        let armed = Arc::new(AtomicBool::new(true));
        let trip = armed.clone();
        let mut faulty = options(&raws);
        faulty.faults = Some(Arc::new(move |at| {
            if at == step && trip.load(Ordering::Relaxed) { Err(io::Error::other("stopped here")) } else { Ok(()) }
        }));
        let lake = Arc::new(Lake::open(&folder.path().join("lake"), faulty).unwrap());
        // What was committed and reported as failed has happened, and the catalog told so.
        assert_eq!(lake.compact(&|| true).is_ok(), step == FlushStep::MergeCommitted, "{step:?}");
        assert_eq!(rows(&lake).await, before, "{step:?}: this process");
        drop(lake);
        let lake = open(folder.path(), &raws);
        assert_eq!(rows(&lake).await, before, "{step:?}: the next process");
        let (live, _) = SqliteCatalog::open(&folder.path().join("lake/catalog.sqlite")).unwrap().load().unwrap();
        assert_eq!(files(&folder.path().join("lake/events")).len(), live.len(), "{step:?}: what nobody names is removed");
        // The same process that met the fault goes on once it is gone, and so does the next.
        armed.store(false, Ordering::Relaxed);
        compact_all(&lake);
        append(&lake, &batch(1200..1300)).unwrap();
        lake.flush(id(1300)).unwrap();
        assert_eq!(rows(&lake).await.len(), 1300, "{step:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_merge_the_same_process_goes_on() {
    for (step, times) in [(FlushStep::MergeWritten, 2), (FlushStep::MergeCommitted, 1)] {
        let World { folder, raws, lake } = filled(4);
        drop(lake);
        let failures = Arc::new(AtomicUsize::new(times));
        let left = failures.clone();
        let mut faulty = options(&raws);
        faulty.faults = Some(Arc::new(move |at| {
            let fails = at == step && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
            if fails { Err(io::Error::other("a failure")) } else { Ok(()) }
        }));
        let lake = Arc::new(Lake::open(&folder.path().join("lake"), faulty).unwrap());
        let before = rows(&lake).await;
        while failures.load(Ordering::Relaxed) > 0 {
            assert_eq!(lake.compact(&|| true).is_ok(), step == FlushStep::MergeCommitted);
        }
        compact_all(&lake);
        assert_eq!(rows(&lake).await, before);
        append(&lake, &batch(1200..1500)).unwrap();
        lake.flush(id(1500)).unwrap();
        compact_all(&lake);
        assert_eq!(rows(&lake).await.len(), 1500);
        let (live, _) = SqliteCatalog::open(&folder.path().join("lake/catalog.sqlite")).unwrap().load().unwrap();
        assert_eq!(files(&folder.path().join("lake/events")).len(), live.len(), "{step:?}: no file is left over");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_goes_on_over_files_that_are_replaced_meanwhile() {
    let world = filled(6);
    let before = rows(&world.lake).await;
    let mut stream = world.lake.search(SearchRequest::default()).unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert!(matches!(first, SearchEvent::Columns { .. }));
    assert!(compact_all(&world.lake) > 0);
    let mut found = 0;
    while let Some(event) = stream.next().await {
        if let SearchEvent::Rows(rows) = event.unwrap() {
            found += rows.len();
        }
    }
    assert_eq!(found, before.len());
    drop(stream);
    // The search was the last to know the old files.
    for _ in 0..100 {
        if files(&world.folder.path().join("lake/events")).len() == world.lake.status().segments {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("replaced files stay on disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_gives_way_and_can_be_called_off() {
    let world = filled(6);
    let before = rows(&world.lake).await;
    let asked = AtomicUsize::new(0);
    let stop = || {
        asked.fetch_add(1, Ordering::Relaxed);
        false
    };
    assert_eq!(world.lake.compact(&stop).unwrap(), None);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(rows(&world.lake).await, before);
    let on_disk = files(&world.folder.path().join("lake/events"));
    assert!(on_disk.iter().all(|path| path.extension().is_some_and(|extension| extension == "parquet")), "{on_disk:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_holds_the_lease_merges() {
    let world = filled(4);
    let path = world.folder.path().join("lake/catalog.sqlite");
    let other = SqliteCatalog::open(&path).unwrap();
    for slot in ["2026-11-19/mixed", "2026-11-20/mixed"] {
        assert!(other.lease(&format!("compact events/{slot}"), "another", Duration::from_millis(300)).unwrap());
    }
    assert_eq!(world.lake.compact(&|| true).unwrap(), None, "all slots are another's");
    std::thread::sleep(Duration::from_millis(350));
    assert!(world.lake.compact(&|| true).unwrap().is_some(), "a lease that is not extended ends");
}

/// Kill -9 at any moment of flushing and merging. The child says what it flushed only after it was told so.
#[test]
fn killed_at_any_moment_nothing_is_lost_or_doubled() {
    if let Some(folder) = std::env::var_os("REEVE_LAKE_VICTIM") {
        victim(Path::new(&folder));
    }
    let cycles: u32 = std::env::var("REEVE_KILL_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let folder = tempfile::tempdir().unwrap();
    let mut flushed = 0;
    for cycle in 0..cycles {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed_at_any_moment_nothing_is_lost_or_doubled", "--nocapture"])
            .env("REEVE_LAKE_VICTIM", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Once it flushes again, at any moment of what it does then.
        let told = || std::fs::read_to_string(folder.path().join("told")).ok().and_then(|text| text.trim().parse::<u32>().ok());
        for _ in 0..6000 {
            if told().is_some_and(|told| told > flushed) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(u64::from(cycle) * 131 % 700));
        child.kill().unwrap();
        child.wait().unwrap();
        let told = told().unwrap_or(0);
        let raws = Arc::new(Raws::default());
        let lake = open(folder.path(), &raws);
        let position = lake.read_through().index;
        assert!(position >= told && position >= flushed, "cycle {cycle}: {told} were told, the position is {position}");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let rows = runtime.block_on(rows(&lake));
        assert_eq!(rows.len(), position as usize, "cycle {cycle}: each event before the position, once");
        assert!(position > flushed, "cycle {cycle}: it flushed before it was killed");
        flushed = position;
        let (live, _) = SqliteCatalog::open(&folder.path().join("lake/catalog.sqlite")).unwrap().load().unwrap();
        assert_eq!(files(&folder.path().join("lake/events")).len(), live.len(), "cycle {cycle}: no file is left over");
    }
    eprintln!("{cycles} kills, {flushed} events in files");
    assert!(flushed > 0);
}

/// Flushes and merges until it is killed.
fn victim(folder: &Path) -> ! {
    let raws = Arc::new(Raws::default());
    let lake = open(folder, &raws);
    let merging = lake.clone();
    std::thread::spawn(move || {
        loop {
            let _ = merging.compact(&|| true);
        }
    });
    let mut next = lake.read_through().index;
    loop {
        append(&lake, &batch(next..next + 150)).unwrap();
        next += 150;
        lake.flush(id(next)).unwrap();
        let part = folder.join("told.part");
        std::fs::write(&part, next.to_string()).unwrap();
        std::fs::rename(part, folder.join("told")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushes_searches_and_merges_at_once() {
    let world = filled(2);
    let stop = Arc::new(AtomicBool::new(false));
    let (merging, ended) = (world.lake.clone(), stop.clone());
    let merger = std::thread::spawn(move || {
        let mut merges = 0;
        while !ended.load(Ordering::Relaxed) {
            merges += usize::from(merging.compact(&|| true).unwrap().is_some());
        }
        merges
    });
    for flush in 2..14_u32 {
        world.append(&batch(flush * 300..(flush + 1) * 300));
        world.lake.flush(id((flush + 1) * 300)).unwrap();
        let found = identities(&query(&world.lake, "").await.unwrap().events).len();
        assert_eq!(found as u32, (flush + 1) * 300, "each event once at any moment");
    }
    stop.store(true, Ordering::Relaxed);
    assert!(merger.join().unwrap() > 0);
    assert_eq!(rows(&world.lake).await.len(), 4200);
}
