//! The lake with its files on a real S3 server and its catalog on a real PostgreSQL: the same events as in a folder, whatever fails.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test stops where it is wrong")]

mod common;
#[path = "../../catalog/tests/postgresql/mod.rs"]
mod postgresql;
#[path = "../../objects/tests/seaweedfs/mod.rs"]
mod seaweedfs;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use common::{Raws, Told, append, ask, gathered, identities, query};
use parking_lot::Mutex;
use postgresql::{Cut, PostgreSql};
use reeve_lake::{Catalog, Compaction, FlushStep, Kept, Lake, Objects, Options, PostgresCatalog, SearchRequest, SqliteCatalog};
use reeve_record::RecordId;
use seaweedfs::{Break, SeaweedFs};

const FLUSH: u32 = 1500;

type Faults = Arc<dyn Fn(FlushStep) -> std::io::Result<()> + Send + Sync>;

fn told(index: u32) -> Told {
    let seed = index.wrapping_mul(2_654_435_761) >> 7;
    let (host, class_uid) = (["web01", "DC01", "db02"][seed as usize / 4 % 3], [1007, 3002][seed as usize % 2]);
    let json = serde_json::json!({
        "record": format!("0-{index}"), "time": format!("2026-11-{}T10:{:02}:{:02}Z", 19 + seed / 16 % 2, seed / 7 % 3, seed % 60),
        "class_uid": class_uid, "severity_id": 1 + seed % 2, "source": host,
        "attributes": {"device.hostname": host, "user.name": format!("user{}", seed % 11), "process.pid": seed % 5000},
        "native": {"seq": index, "word": format!("word{}", seed % 37)}, "raw": format!("event {index} word{}", seed % 37),
    });
    serde_json::from_value(json).unwrap()
}

fn batch(range: std::ops::Range<u32>) -> Vec<Told> {
    range.map(told).collect()
}

fn id(index: u32) -> RecordId {
    RecordId { segment: 0, index }
}

/// Where one lake's parts are.
struct Place<'a> {
    folder: &'a Path,
    catalog: Option<Arc<dyn Catalog>>,
    objects: Option<Arc<dyn Objects>>,
    cache_bytes: u64,
}

impl<'a> Place<'a> {
    fn new(folder: &'a Path, objects: impl Objects + 'static) -> Self {
        Self { folder, catalog: None, objects: Some(Arc::new(objects)), cache_bytes: 1 << 30 }
    }

    fn open(&self) -> Arc<Lake> {
        let raws = Arc::new(Raws::default());
        let compaction = Compaction { carry_rows: 0, files: 3, ..Compaction::default() };
        let (catalog, objects, cache_bytes) = (self.catalog.clone(), self.objects.clone(), self.cache_bytes);
        Arc::new(
            Lake::open(self.folder, Options { compaction, catalog, objects, cache_bytes, ..common::options(&raws) }).unwrap(),
        )
    }
}

/// Flushes events that follow those there are.
fn fill(lake: &Lake, flushes: u32) {
    for _ in 0..flushes {
        let from = lake.read_through().index;
        append(lake, &batch(from..from + FLUSH)).unwrap();
        lake.flush(id(from + FLUSH)).unwrap();
    }
}

/// All events in full, by identity.
async fn rows(lake: &Arc<Lake>) -> BTreeMap<String, serde_json::Value> {
    let answer = ask(lake, SearchRequest { native: true, ..SearchRequest::default() }).await.unwrap();
    let values = answer.events.iter().map(|event| serde_json::to_value(event).unwrap());
    let rows: BTreeMap<_, _> = identities(&answer.events).into_iter().zip(values).collect();
    assert_eq!(rows.len(), answer.events.len(), "no event twice");
    rows
}

async fn assert_exactly(lake: &Arc<Lake>, events: u32, why: &str) {
    let found: BTreeSet<String> = rows(lake).await.into_keys().collect();
    assert_eq!(found, (0..events).map(|index| format!("0-{index}/0")).collect(), "{why}");
}

/// What is on the store is what the catalog lists, and nothing else.
fn assert_kept(lake: &Lake, why: &str) -> Kept {
    lake.sweep().unwrap();
    let kept = lake.kept().unwrap();
    assert!(kept.missing.is_empty() && kept.orphans.is_empty() && kept.passing == 0, "{why}: {kept:?}");
    kept
}

fn files(folder: &Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), path.metadata().unwrap().len()));
        }
    }
    found.retain(|(path, _)| path.extension().is_some_and(|kind| kind != "json"));
    found
}

fn compact_all(lake: &Lake) -> usize {
    std::iter::from_fn(|| lake.compact(&|| true).unwrap()).count()
}

async fn the_same_events_as_in_a_folder(server: &mut SeaweedFs) {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let local = Place { objects: None, ..Place::new(here.path(), server.open("unused/")) }.open();
    let mut place = Place::new(there.path(), server.open("same/"));
    let lake = place.open();
    for lake in [&local, &lake] {
        fill(lake, 4);
    }
    let wanted = rows(&local).await;
    assert_eq!(rows(&lake).await, wanted);
    assert_eq!(compact_all(&lake), compact_all(&local));
    assert_eq!(rows(&lake).await, wanted, "merged");
    let kept = assert_kept(&lake, "merged");
    assert_eq!(kept.files, lake.status().segments);
    lake.publish().unwrap().unwrap();
    let stored = server.open("same/").list("").unwrap();
    assert!(stored.contains(&"events/_delta_log/00000000000000000000.json".to_owned()), "{stored:?}");
    assert!(stored.iter().any(|name| name.ends_with(".minutes")), "{stored:?}");
    drop(lake);

    // Nothing is left but the catalog, and the cache holds a part only.
    std::fs::remove_dir_all(there.path().join("events")).unwrap();
    let total: u64 = files(&here.path().join("events")).iter().map(|(_, bytes)| bytes).sum();
    place.cache_bytes = total / 2;
    let lake = place.open();
    assert_eq!(rows(&lake).await, wanted, "fetched");
    let cached: u64 = files(&there.path().join("events")).iter().map(|(_, bytes)| bytes).sum();
    assert!(cached > 0 && cached <= place.cache_bytes, "{cached} of {total} bytes are here");
    let count = SearchRequest { query: "* | stats count by class_uid".into(), ..SearchRequest::default() };
    assert_eq!(ask(&lake, count.clone()).await.unwrap().table, ask(&local, count).await.unwrap().table);
    assert_eq!(lake.publish().unwrap(), None, "the Delta table was read back from where it is");

    // Read again, and taken out.
    for lake in [&local, &lake] {
        let mut rereading = lake.reread(id(1000), id(2000)).unwrap();
        let (from, to) = rereading.range();
        rereading.append(gathered(&batch(from.index..to.index))).unwrap();
        rereading.finish().unwrap();
    }
    assert_eq!(rows(&lake).await, wanted, "read again");
    let gone = |record: RecordId| record.index.is_multiple_of(3);
    let forgotten = lake.forget(0..=0, &gone).unwrap();
    assert_eq!(forgotten.events, local.forget(0..=0, &gone).unwrap().events);
    assert_eq!(rows(&lake).await, rows(&local).await, "taken out");
    assert_kept(&lake, "taken out");
    // A file that the store lost is noticed, and made anew.
    let lost = server.open("same/").list("events/").unwrap().into_iter().find(|name| name.ends_with("parquet")).unwrap();
    server.open("same/").remove(&lost).unwrap();
    drop(lake);
    std::fs::remove_dir_all(there.path().join("events")).unwrap();
    let lake = place.open();
    assert_eq!(lake.kept().unwrap().missing, [lost]);
    let error = query(&lake, "").await.unwrap_err().to_string();
    assert!(error.contains("missing"), "{error}");
    let mut rereading = lake.reread(id(0), id(u32::MAX)).unwrap();
    let (from, to) = rereading.range();
    let again: Vec<Told> = batch(from.index..to.index).into_iter().filter(|event| !gone(event.id())).collect();
    rereading.append(gathered(&again)).unwrap();
    assert_eq!(rereading.finish().unwrap().files_broken, 1);
    assert_eq!(rows(&lake).await, rows(&local).await, "made anew");
    let kept = lake.kept().unwrap();
    // Those that were replaced stay a while for who reads the Delta table.
    assert!(kept.missing.is_empty() && kept.orphans.is_empty() && kept.passing > 0, "{kept:?}");
}

async fn a_request_that_fails_either_way_loses_and_doubles_nothing(server: &mut SeaweedFs) {
    let breaker = server.breaker();
    let folder = tempfile::tempdir().unwrap();
    let lake = Place::new(folder.path(), server.behind(&breaker, "broken/")).open();
    for (nth, how) in (1..).zip([Break::Before, Break::Middle, Break::After]) {
        breaker.arm(how, 3);
        fill(&lake, 1);
        assert_exactly(&lake, nth * FLUSH, &format!("{how:?}")).await;
        assert_eq!(breaker.left(), 0, "{how:?}");
    }
    breaker.arm(Break::After, 2);
    assert!(compact_all(&lake) > 0);
    assert_exactly(&lake, 3 * FLUSH, "merged").await;
    assert_kept(&lake, "after all of it");
}

async fn a_store_killed_in_the_middle_of_uploads_loses_and_doubles_nothing(server: &mut SeaweedFs) {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(folder.path(), server.open("killed/"));
    let lake = place.open();
    fill(&lake, 1);
    let stop = Arc::new(AtomicBool::new(false));
    let (flushing, ended) = (lake.clone(), stop.clone());
    let flusher = std::thread::spawn(move || {
        let mut failures = 0;
        let mut next = FLUSH;
        while !ended.load(Ordering::Relaxed) {
            append(&flushing, &batch(next..next + FLUSH)).unwrap();
            next += FLUSH;
            while let Err(error) = flushing.flush(id(next)) {
                assert_eq!(error.code(), "LAKE-OBJECTS", "{error}");
                failures += 1;
            }
            let _ = flushing.compact(&|| true);
        }
        (next, failures)
    });
    for pause in [450] {
        std::thread::sleep(Duration::from_millis(pause));
        server.kill();
        // Longer than all tries of one request.
        std::thread::sleep(Duration::from_secs(7));
        server.launch();
        let (before, begun) = (lake.read_through(), Instant::now());
        while lake.read_through() == before && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    stop.store(true, Ordering::Relaxed);
    let (events, failures) = flusher.join().unwrap();
    assert!(failures > 0, "it was killed while files were stored");
    assert_exactly(&lake, events, "this process").await;
    let kept = assert_kept(&lake, "after the kills");
    assert!(kept.files > 0);
    drop(lake);
    std::fs::remove_dir_all(folder.path().join("events")).unwrap();
    assert_exactly(&place.open(), events, "another process, from the store alone").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_on_object_storage() {
    let Some(mut server) = SeaweedFs::start() else { return };
    let begun = Instant::now();
    the_same_events_as_in_a_folder(&mut server).await;
    eprintln!("the same events: {:?}", begun.elapsed());
    a_request_that_fails_either_way_loses_and_doubles_nothing(&mut server).await;
    eprintln!("requests that fail: {:?}", begun.elapsed());
    two_processes_on_one_catalog_and_store(&server).await;
    eprintln!("two processes: {:?}", begun.elapsed());
    a_store_killed_in_the_middle_of_uploads_loses_and_doubles_nothing(&mut server).await;
    eprintln!("kills: {:?}", begun.elapsed());
}

/// One reads the record and flushes, both merge.
async fn two_processes_on_one_catalog_and_store(store: &SeaweedFs) {
    let Some(server) = PostgreSql::start() else { return };
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = |folder: &Path| {
        let catalog: Arc<dyn Catalog> = Arc::new(PostgresCatalog::open(&server.server()).unwrap());
        Place { catalog: Some(catalog), ..Place::new(folder, store.open("two/")) }.open()
    };
    let (reading, merging) = (open(first.path()), open(second.path()));
    let stop = Arc::new(AtomicBool::new(false));
    let mergers: Vec<_> = [reading.clone(), merging.clone()]
        .into_iter()
        .map(|lake| {
            let ended = stop.clone();
            std::thread::spawn(move || {
                let mut merges = 0;
                while !ended.load(Ordering::Relaxed) {
                    lake.sweep().unwrap();
                    match lake.compact(&|| true) {
                        Ok(done) => merges += usize::from(done.is_some()),
                        // The other was faster, or has taken away what was to be read.
                        Err(error) => assert!(error.is_superseded(), "{error}"),
                    }
                    std::thread::sleep(Duration::from_millis(30));
                }
                merges
            })
        })
        .collect();
    let mut done = 0;
    while done < 6 {
        let from = reading.read_through().index;
        append(&reading, &batch(from..from + FLUSH)).unwrap();
        while let Err(error) = reading.flush(id(from + FLUSH)) {
            assert!(error.is_superseded(), "{error}");
        }
        done += 1;
        assert_exactly(&reading, done * FLUSH, "while both merge").await;
    }
    stop.store(true, Ordering::Relaxed);
    let merges: Vec<usize> = mergers.into_iter().map(|merger| merger.join().unwrap()).collect();
    assert!(merges.iter().sum::<usize>() > 0, "{merges:?}");
    merging.sweep().unwrap();
    assert_exactly(&merging, done * FLUSH, "as the other sees it").await;
    let kept = merging.kept().unwrap();
    assert!(kept.missing.is_empty() && kept.orphans.is_empty(), "{kept:?}");
    // Both read what they read: what a second reader flushes as well is refused, and is not there twice.
    append(&merging, &batch(done * FLUSH..done * FLUSH + 100)).unwrap();
    append(&reading, &batch(done * FLUSH..done * FLUSH + 100)).unwrap();
    merging.flush(id(done * FLUSH + 100)).unwrap();
    assert!(reading.flush(id(done * FLUSH + 100)).unwrap_err().is_superseded());
    assert_exactly(&reading, done * FLUSH + 100, "read by two").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_that_breaks_off_at_a_commit_loses_and_doubles_nothing() {
    let Some(server) = PostgreSql::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (cutter, next) = (Arc::new(server.cut()), Arc::new(Mutex::new(Cut::None)));
    let open = || {
        let catalog: Arc<dyn Catalog> = Arc::new(PostgresCatalog::open(&cutter.server()).unwrap());
        let raws = Arc::new(Raws::default());
        let compaction = Compaction { carry_rows: 0, files: 3, ..Compaction::default() };
        // Announcements are transactions too: only that of the flush itself is cut.
        let (armed, cut) = (cutter.clone(), next.clone());
        let faults: Faults = Arc::new(move |step| {
            if step == FlushStep::BeforeCommit {
                armed.arm(std::mem::replace(&mut *cut.lock(), Cut::None));
            }
            Ok(())
        });
        let options = Options { compaction, catalog: Some(catalog), faults: Some(faults), ..common::options(&raws) };
        Arc::new(Lake::open(folder.path(), options).unwrap())
    };
    let lake = open();
    let mut events = 0;
    for (cut, happens) in [(Cut::Before, false), (Cut::After, true), (Cut::None, true)] {
        append(&lake, &batch(events..events + FLUSH)).unwrap();
        *next.lock() = cut;
        let flushed = lake.flush(id(events + FLUSH));
        assert_eq!(flushed.is_ok(), happens, "{cut:?}: {flushed:?}");
        events += FLUSH;
        assert_exactly(&lake, events, &format!("{cut:?}, this process")).await;
        if !happens {
            lake.flush(id(events)).unwrap();
            assert_exactly(&lake, events, &format!("{cut:?}, tried again")).await;
        }
    }
    drop(lake);
    let lake = open();
    assert_eq!(lake.read_through(), id(events));
    assert_exactly(&lake, events, "another process").await;
    lake.sweep().unwrap();
    let (live, _) = PostgresCatalog::open(&server.server()).unwrap().load().unwrap();
    let on_disk = files(&folder.path().join("events")).iter().filter(|(path, _)| path.extension().unwrap() == "parquet").count();
    assert_eq!(on_disk, live.len(), "no file is left over");
}

#[test]
fn a_catalog_is_not_used_for_files_elsewhere() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let catalog: Arc<dyn Catalog> = Arc::new(SqliteCatalog::open(&one.path().join("shared.sqlite")).unwrap());
    let raws = Arc::new(Raws::default());
    let open = |folder: &Path| Lake::open(folder, Options { catalog: Some(catalog.clone()), ..common::options(&raws) });
    drop(open(&one.path().join("lake")).unwrap());
    drop(open(&one.path().join("lake")).unwrap());
    let error = open(other.path()).err().unwrap();
    assert!(error.code() == "LAKE-CATALOG" && error.to_string().contains("[lake]"), "{error}");
}
