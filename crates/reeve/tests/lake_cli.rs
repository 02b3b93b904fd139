//! `reeve lake`: the reading is made again from the record, and what no longer says what the record says is found out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it is wrong")]

#[path = "support/mod.rs"]
mod support;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use arrow::{
    array::{AsArray, Int32Array, RecordBatch},
    datatypes::Int32Type,
};
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};
use support::reeve;

fn cases(path: &str) -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../cases").join(path)
}

fn folder() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    // Syslog, joined audit events, Zeek with header lines, JSON families.
    let logs = ["ocsf/linux.log", "ocsf/sysmon.log", "decode/auditd/execve.input", "decode/zeek/tsv.input", "ocsf/security.log"]
        .map(cases);
    let args = [PathBuf::from("ingest"), PathBuf::from("--data"), data.path().to_owned()];
    reeve(args.into_iter().chain(logs)).ended(0);
    data
}

fn events(data: &Path) -> BTreeSet<String> {
    let ran =
        reeve(["search", "--sql", "SELECT * EXCLUDE (raw) FROM events", "--format", "ndjson", "--data", data.to_str().unwrap()]);
    let ran = ran.ended(0);
    let lines: Vec<String> = ran.stdout.lines().map(str::to_owned).collect();
    let count = lines.len();
    let set: BTreeSet<String> = lines.into_iter().collect();
    assert_eq!(set.len(), count, "no event twice");
    set
}

fn lake(command: &str, data: &Path, more: &[&str], code: i32) -> serde_json::Value {
    let ran = reeve([&["lake", command, "--data", data.to_str().unwrap()], more].concat()).ended(code);
    ran.lines().remove(0)
}

fn event_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(event_files(&path)) } else { found.push(path) }
    }
    found.retain(|path| path.extension().is_some_and(|kind| kind == "parquet"));
    found.sort();
    found
}

/// Severities one higher than they were: a file that is well formed and lies.
fn falsify(path: &Path) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let metadata = reader.metadata().file_metadata().key_value_metadata().cloned();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    let at = batches[0].schema().index_of("severity_id").unwrap();
    let properties = parquet::file::properties::WriterProperties::builder().set_key_value_metadata(metadata).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batches[0].schema(), Some(properties)).unwrap();
    for batch in batches {
        let mut columns = batch.columns().to_vec();
        let raised: Int32Array = columns[at].as_primitive::<Int32Type>().unary(|severity| severity + 1);
        columns[at] = Arc::new(raised);
        writer.write(&RecordBatch::try_new(batch.schema(), columns).unwrap()).unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn the_reading_is_made_again() {
    let data = folder();
    let before = events(data.path());
    assert!(before.len() > 20, "{} events", before.len());
    let checked = lake("check", data.path(), &["--records", "1000000", "--seed", "1"], 0);
    assert_eq!((checked["differ"].as_u64(), checked["events"].as_u64()), (Some(0), Some(before.len() as u64)), "{checked}");

    let done = lake("rebuild", data.path(), &[], 0);
    assert_eq!(done["replaced"]["rows_before"], done["replaced"]["rows_after"], "{done}");
    assert_eq!(events(data.path()), before, "the same record gives the same events");

    let merged = lake("compact", data.path(), &[], 0);
    assert!(merged["segments_filtered"].as_u64() > Some(0), "{merged}");
    assert_eq!(events(data.path()), before, "and merging changes none");

    let files = event_files(&data.path().join("lake/events"));
    files.iter().step_by(2).for_each(|path| fs::remove_file(path).unwrap());
    reeve(["search", "", "--data", data.path().to_str().unwrap()]).ended(2);
    let done = lake("rebuild", data.path(), &["--from", "2020-01-01T00:00:00Z", "--to", "2100-01-01T00:00:00Z"], 0);
    assert_eq!(done["replaced"]["files_broken"], files.len().div_ceil(2), "{done}");
    assert_eq!(events(data.path()), before, "lost files are made anew");

    let lied = event_files(&data.path().join("lake/events")).remove(0);
    falsify(&lied);
    let found = lake("check", data.path(), &["--records", "1000000"], 4);
    assert!(found["first"][0]["unreadable"].as_str().is_some(), "its size tells: {found}");
    let size = lied.metadata().unwrap().len();
    let name = lied.strip_prefix(data.path().join("lake")).unwrap().to_str().unwrap().to_owned();
    let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('UPDATE segments SET bytes = ? WHERE path = ?', sys.argv[2:]); c.commit()";
    let catalog = data.path().join("lake/catalog.sqlite");
    let done = Command::new("python3").args(["-c", script]).arg(catalog).args([&size.to_string(), &name]).status().unwrap();
    assert!(done.success());
    let found = lake("check", data.path(), &["--records", "1000000"], 4);
    assert!(found["differ"].as_u64() > Some(0) && found["first"][0]["event"].is_array(), "and so does what it says: {found}");
    lake("rebuild", data.path(), &[], 0);
    assert_eq!(events(data.path()), before);
}

#[test]
fn without_the_lake_there_is_still_the_record() {
    let data = folder();
    let before = events(data.path());
    fs::remove_dir_all(data.path().join("lake")).unwrap();
    // An empty lake has read nothing: reading on from the start is what any start does.
    reeve(["ingest", cases("ocsf/network.log").to_str().unwrap(), "--data", data.path().to_str().unwrap()]).ended(0);
    let after = events(data.path());
    assert!(after.is_superset(&before), "{} of {} events are there", after.intersection(&before).count(), before.len());
    lake("check", data.path(), &[], 0);
}

#[test]
fn mistakes_are_told() {
    let data = tempfile::tempdir().unwrap();
    reeve(["lake", "rebuild", "--data", data.path().to_str().unwrap()]).ended(3).says(&["no data folder"]);
    reeve(["lake", "check"]).ended(3);
}
