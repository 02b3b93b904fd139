//! The Delta table as engines we did not write read it: after flushes, merges, kills, and from any version on.
//!
//! Needs Python with `deltalake`, `duckdb`, `pyarrow` and `chdb` (`cases/lake/readers/install.sh`); `REEVE_READERS` names the interpreter. Without them the
//! part that needs them says that it was skipped; with `REEVE_REQUIRE_TOOLS=1` it fails.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test stops where it is wrong")]

mod common;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use common::{Told, World, append};
use reeve_lake::{Compaction, Lake, Options};
use reeve_record::RecordId;
use serde_json::Value;

fn told(index: u32) -> Told {
    let json = serde_json::json!({
        "record": format!("0-{index}"), "time": format!("2026-11-{}T10:00:{:02}.{:06}Z", 19 + index % 2, index % 60, index % 1_000_000),
        "class_uid": 1007, "attributes": {"device.hostname": format!("h\u{f6}st{}", index % 4), "process.pid": index},
        "native": {"seq": index, "text": "with \"quotes\"\nand lines"}, "observables": [[2, "10.0.0.1"]], "raw": format!("event {index}"),
    });
    serde_json::from_value(json).unwrap()
}

fn options(raws: &Arc<common::Raws>) -> Options {
    Options { compaction: Compaction { carry_rows: 0, ..Compaction::default() }, ..common::options(raws) }
}

fn world() -> World {
    let World { folder, raws, lake } = World::new();
    drop(lake);
    let lake = Arc::new(Lake::open(&folder.path().join("lake"), options(&raws)).unwrap());
    World { folder, raws, lake }
}

fn fill(lake: &Lake, range: std::ops::Range<u32>) {
    let end = range.end;
    append(lake, &range.map(told).collect::<Vec<_>>()).unwrap();
    lake.flush(RecordId { segment: 0, index: end }).unwrap();
}

fn python() -> Option<PathBuf> {
    let own = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../target/readers/venv/bin/python");
    let candidates = [std::env::var_os("REEVE_READERS").map(PathBuf::from), Some(own), Some("python3".into())];
    let works = |python: &PathBuf| {
        let tried = Command::new(python).args(["-c", "import deltalake, duckdb, pyarrow, chdb"]).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let found = candidates.into_iter().flatten().find(works);
    if found.is_none() {
        let required = std::env::var("REEVE_REQUIRE_TOOLS").is_ok_and(|value| value == "1");
        assert!(!required, "Python with deltalake, duckdb, pyarrow and chdb is required and not there");
        eprintln!("skipped: no Python with deltalake, duckdb, pyarrow and chdb (cases/lake/readers/install.sh)");
    }
    found
}

fn read(python: &Path, lake: &Path) -> Value {
    let script = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../cases/lake/readers/read.py");
    let output = Command::new(python).arg(script).arg(lake.join("events")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn assert_reads(python: &Path, lake: &Path, events: u32) -> Value {
    let seen = read(python, lake);
    let sum = u64::from(events) * u64::from(events - 1) / 2;
    let wanted = serde_json::json!({ "rows": events, "records": sum, "seq": sum, "ranged": 100 });
    assert_eq!(seen["delta_rs"], wanted);
    assert_eq!(seen["duckdb"], wanted);
    assert_eq!(seen["chdb"], wanted);
    if seen["duckdb_delta"] != Value::Null {
        assert_eq!(seen["duckdb_delta"], serde_json::json!([events, sum]));
    }
    seen
}

/// Files the log names now, by reading it as the protocol says.
fn named(lake: &Path) -> (u64, BTreeSet<String>) {
    let (mut files, mut version) = (BTreeSet::new(), 0);
    while let Ok(text) = std::fs::read_to_string(lake.join(format!("events/_delta_log/{version:020}.json"))) {
        for line in text.lines() {
            let action: Value = serde_json::from_str(line).unwrap();
            if let Some(path) = action["add"]["path"].as_str() {
                assert!(files.insert(path.to_owned()), "{path} is added once");
                assert_eq!(
                    serde_json::from_str::<Value>(action["add"]["stats"].as_str().unwrap()).unwrap()["numRecords"].as_u64(),
                    Some(rows(&lake.join("events").join(path), &action))
                );
            }
            if let Some(path) = action["remove"]["path"].as_str() {
                assert!(files.remove(path), "{path} was there");
            }
        }
        version += 1;
    }
    (version, files)
}

/// Rows of a file, or what the log says where it is gone by now.
fn rows(path: &Path, action: &Value) -> u64 {
    let Ok(file) = std::fs::File::open(path) else {
        return serde_json::from_str::<Value>(action["add"]["stats"].as_str().unwrap()).unwrap()["numRecords"].as_u64().unwrap();
    };
    assert_eq!(action["add"]["size"].as_u64().unwrap(), file.metadata().unwrap().len());
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    reader.metadata().file_metadata().num_rows() as u64
}

#[test]
fn other_engines_read_what_is_live() {
    let Some(python) = python() else { return };
    let world = world();
    let place = world.folder.path().join("lake");
    fill(&world.lake, 0..700);
    assert_eq!(world.lake.publish().unwrap().unwrap().version, 0);
    let seen = assert_reads(&python, &place, 700);
    assert_eq!(seen["version"], 0);
    assert!(seen["schema"].as_array().unwrap().iter().any(|name| name == "device_hostname"));
    fill(&world.lake, 700..1500);
    assert_reads(&python, &place, 700);
    world.lake.publish().unwrap().unwrap();
    assert_reads(&python, &place, 1500);
    while world.lake.compact(&|| true).unwrap().is_some() {}
    // Merged and not published: readers still find the files that the table names.
    assert_reads(&python, &place, 1500);
    let done = world.lake.publish().unwrap().unwrap();
    assert!(done.removed >= 2 * done.added, "{done:?}");
    assert_reads(&python, &place, 1500);
    let world = world.reopen();
    assert_reads(&python, &place, 1500);
    assert_eq!(world.lake.publish().unwrap(), None, "nothing has changed");
}

#[test]
fn the_log_follows_the_catalog() {
    let world = world();
    let place = world.folder.path().join("lake");
    assert_eq!(world.lake.publish().unwrap().unwrap().added, 0, "an empty table is a table");
    for part in 0..4 {
        fill(&world.lake, part * 300..(part + 1) * 300);
        if part != 1 {
            world.lake.publish().unwrap().unwrap();
        }
    }
    let World { folder, raws, lake } = world;
    while lake.compact(&|| true).unwrap().is_some() {}
    let before = named(&place);
    assert!(before.1.iter().all(|path| place.join("events").join(path).is_file()), "files stay while the table names them");
    // Without a last word, as after a kill: the next opening says what is live before it removes what is not.
    drop(lake);
    let lake = Arc::new(Lake::open(&place, options(&raws)).unwrap());
    let after = named(&place);
    assert_eq!(after.0, before.0 + 1);
    assert_eq!(after.1.len(), lake.status().segments);
    assert!(after.1.iter().all(|path| place.join("events").join(path).is_file()));
    // The log is derived: without it, it is written anew.
    std::fs::remove_dir_all(place.join("events/_delta_log")).unwrap();
    drop(lake);
    let lake = Arc::new(Lake::open(&place, options(&raws)).unwrap());
    lake.publish().unwrap().unwrap();
    assert_eq!(named(&place), (1, after.1));
    drop(folder);
}

#[test]
fn a_version_is_never_written_over() {
    let world = world();
    let place = world.folder.path().join("lake");
    fill(&world.lake, 0..300);
    world.lake.publish().unwrap().unwrap();
    // Another writer was faster by one version.
    let theirs = place.join("events/_delta_log/00000000000000000001.json");
    std::fs::write(&theirs, "{\"commitInfo\":{\"operation\":\"another\"}}\n").unwrap();
    fill(&world.lake, 300..600);
    assert!(world.lake.publish().is_err());
    assert!(std::fs::read_to_string(&theirs).unwrap().contains("another"));
    assert_eq!(world.lake.publish().unwrap().unwrap().version, 2, "the next try goes on from what is there");
    assert_eq!(named(&place).1.len(), world.lake.status().segments);
    let left = std::fs::read_dir(place.join("events/_delta_log")).unwrap().count();
    assert_eq!(left, 3, "nothing half written is left over");
}
