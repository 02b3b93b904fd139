//! Reading a stretch of the record again yields the same events, whatever became of the files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it is wrong")]

mod common;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use common::{Told, World, ask, gathered};
use reeve_lake::{FlushStep, Lake, Options, SearchRequest};
use reeve_record::RecordId;

fn told(index: u32) -> Told {
    let class_uid = [1007, 3002][index as usize % 2];
    let json = serde_json::json!({
        "record": format!("{}-{}", index / 500, index % 500), "time": format!("2026-11-{}T10:00:{:02}Z", 19 + index % 3, index % 60),
        "class_uid": class_uid, "attributes": {"device.hostname": format!("host{}", index % 4)},
        "native": {"seq": index}, "raw": format!("event {index}"),
    });
    serde_json::from_value(json).unwrap()
}

fn batch(range: std::ops::Range<u32>) -> Vec<Told> {
    range.map(told).collect()
}

fn id(index: u32) -> RecordId {
    RecordId { segment: index / 500, index: index % 500 }
}

/// Four flushes of 500 events each.
fn world() -> World {
    let world = World::new();
    for part in 0..4 {
        world.append(&batch(part * 500..(part + 1) * 500));
        world.lake.flush(RecordId { segment: part, index: 500 }).unwrap();
    }
    world
}

async fn all(lake: &Arc<Lake>) -> Vec<Vec<serde_json::Value>> {
    let query = "SELECT * EXCLUDE (raw) FROM events ORDER BY record, part".to_owned();
    ask(lake, SearchRequest { query, sql: true, ..SearchRequest::default() }).await.unwrap().table
}

fn reread(lake: &Lake, from: u32, to: u32, events: impl Fn(u32) -> Told) -> reeve_lake::Reread {
    let mut rereading = lake.reread(id(from), id(to)).unwrap();
    let (from, to) = rereading.range();
    let index = |id: RecordId| id.segment * 500 + id.index;
    // Some more than asked for, as decoders are shown.
    let (from, to) = (index(from).saturating_sub(37), (index(to) + 53).min(2000));
    for start in (from..to).step_by(100) {
        rereading.append(gathered(&(start..(start + 100).min(to)).map(&events).collect::<Vec<_>>())).unwrap();
    }
    rereading.finish().unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_record_gives_the_same_rows() {
    let world = world();
    let before = all(&world.lake).await;
    assert_eq!(before.len(), 2000);
    let done = reread(&world.lake, 700, 1300, told);
    assert_eq!((done.rows_before, done.rows_after, done.files_broken), (600, 600, 0));
    assert_eq!(all(&world.lake).await, before);
    let done = reread(&world.lake, 0, 2000, told);
    assert_eq!((done.rows_before, done.rows_after), (2000, 2000));
    assert_eq!(all(&world.lake).await, before);
    let world = world.reopen();
    assert_eq!(all(&world.lake).await, before);
    assert_eq!(world.lake.read_through(), RecordId { segment: 3, index: 500 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_and_damaged_files_come_back() {
    let world = world();
    let before = all(&world.lake).await;
    // The two largest: each holds events of all but the last segment of the record.
    let mut on_disk = files(&world.folder.path().join("lake/events"));
    on_disk.sort_by_key(|path| std::cmp::Reverse(path.metadata().unwrap().len()));
    let World { folder, raws, lake } = world;
    drop(lake);
    std::fs::remove_file(&on_disk[0]).unwrap();
    std::fs::write(&on_disk[1], b"PAR1 and nothing more").unwrap();
    let world = World { lake: common::open(folder.path(), &raws), folder, raws };
    let query = || SearchRequest { query: "SELECT * EXCLUDE (raw) FROM events".into(), sql: true, ..SearchRequest::default() };
    assert!(ask(&world.lake, query()).await.is_err(), "a missing file is not passed over in silence");
    // Asked for one record: the stretch grows to all that the lost files held.
    let done = reread(&world.lake, 999, 1000, told);
    assert_eq!(done.files_broken, 2);
    assert!(done.rows_after > 500, "{done:?}");
    assert_eq!(all(&world.lake).await, before);
    for path in files(&world.folder.path().join("lake/events")) {
        std::fs::remove_file(path).unwrap();
    }
    assert_eq!(reread(&world.lake, 0, 2000, told).rows_after, 2000);
    assert_eq!(all(&world.reopen().lake).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_reading_replaces_the_old_one_and_no_other() {
    let world = world();
    let other = |index| Told { class_uid: 4001, ..told(index) };
    let done = reread(&world.lake, 250, 750, other);
    assert_eq!((done.rows_before, done.rows_after), (500, 500));
    let request = SearchRequest { query: "* | stats count by class_uid".into(), ..SearchRequest::default() };
    let counted = ask(&world.lake, request).await.unwrap().table;
    assert_eq!(serde_json::to_string(&counted).unwrap(), "[[1007,750],[3002,750],[4001,500]]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_anywhere_it_changes_nothing_or_all() {
    for step in [FlushStep::SegmentWritten, FlushStep::BeforeCommit, FlushStep::AfterCommit] {
        let World { folder, raws, lake } = world();
        let before = all(&lake).await;
        drop(lake);
        let fault = Arc::new(move |at| if at == step { Err(io::Error::other("stopped here")) } else { Ok(()) });
        let faulty = Options { faults: Some(fault), ..common::options(&raws) };
        let lake = Arc::new(Lake::open(&folder.path().join("lake"), faulty).unwrap());
        let other = |index| Told { class_uid: 4001, ..told(index) };
        let mut rereading = lake.reread(id(0), id(1000)).unwrap();
        rereading.append(gathered(&(0..1000).map(other).collect::<Vec<_>>())).unwrap();
        // What was committed and reported as failed has happened, and the catalog told so.
        assert_eq!(rereading.finish().is_ok(), step == FlushStep::AfterCommit, "{step:?}");
        let now = all(&lake).await;
        assert_eq!(now == before, step != FlushStep::AfterCommit, "{step:?}");
        assert_eq!(now.len(), 2000, "{step:?}");
        let on_disk = files(&folder.path().join("lake/events")).len();
        assert_eq!(on_disk, lake.status().segments, "{step:?}: no file is left over");
        drop(lake);
        assert_eq!(all(&common::open(folder.path(), &raws)).await, now, "{step:?}: after opening again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_halfway_it_leaves_nothing() {
    let world = world();
    let before = all(&world.lake).await;
    let on_disk = files(&world.folder.path().join("lake/events"));
    let mut rereading = world.lake.reread(id(0), id(2000)).unwrap();
    rereading.append(gathered(&batch(0..900))).unwrap();
    drop(rereading);
    assert_eq!(all(&world.lake).await, before);
    assert_eq!(files(&world.folder.path().join("lake/events")), on_disk);
}
