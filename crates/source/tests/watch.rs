//! A watched folder and everything that happens to files in one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops where it is wrong, and says what it passes over"
)]
mod common;

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use common::{Memory, intake, runtime};
use reeve_source::{Intake, WatchOptions, Watcher};
use tokio::sync::watch;

struct Watching {
    runtime: tokio::runtime::Runtime,
    stop: watch::Sender<bool>,
    done: tokio::task::JoinHandle<()>,
}

fn options(folder: &Path, note: &Path) -> WatchOptions {
    WatchOptions {
        interval: Duration::from_millis(20),
        settled_after: Duration::from_millis(150),
        record_bytes_max: 100,
        ..WatchOptions::new(folder.to_owned(), note.to_owned())
    }
}

/// Starts as a server does: what the ledger has past the note is given to the watcher first.
fn start(folder: &Path, note: &Path, memory: &Memory, intake: &Intake) -> Watching {
    let runtime = runtime();
    let mut watcher = Watcher::open(options(folder, note), reeve_source::Keeper::end(memory)).unwrap();
    for arrival in memory.kept.lock().iter().skip(watcher.recover_from().index as usize) {
        watcher.recovered(&arrival.source, arrival.raw.clone());
    }
    let (stop, stopped) = watch::channel(false);
    let done = {
        let _inside = runtime.enter();
        watcher.run(intake.clone(), stopped)
    };
    Watching { runtime, stop, done }
}

impl Watching {
    fn stop(self) {
        self.stop.send(true).unwrap();
        self.runtime.block_on(self.done).unwrap();
    }
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

struct Folder {
    _root: tempfile::TempDir,
    logs: PathBuf,
    note: PathBuf,
    memory: Arc<Memory>,
    intake: Intake,
}

fn folder() -> Folder {
    let root = tempfile::tempdir().unwrap();
    let logs = root.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let (memory, intake) = intake();
    Folder { note: root.path().join("watch.json"), logs, _root: root, memory, intake }
}

impl Folder {
    fn start(&self) -> Watching {
        start(&self.logs, &self.note, &self.memory, &self.intake)
    }
}

#[test]
fn grows_rotates_and_is_truncated() {
    let folder = folder();
    let log = folder.logs.join("sub/app.log");
    fs::create_dir(folder.logs.join("sub")).unwrap();
    append(&log, "one\ntwo\nthr");
    let watching = folder.start();
    assert_eq!(folder.memory.wait_for(2)[..2], ["one", "two"]);
    append(&log, "ee\r\n");
    assert_eq!(folder.memory.wait_for(3)[2..], ["three"]);
    // Rotation: the old file gets a last line under its new name.
    let rotated = folder.logs.join("sub/app.log.1");
    fs::rename(&log, &rotated).unwrap();
    append(&rotated, "four\n");
    append(&log, "five\n");
    folder.memory.wait_for(5);
    fs::write(&log, "6\n").unwrap();
    let kept = folder.memory.wait_for(6);
    let mut middle = kept[3..5].to_vec();
    middle.sort();
    assert_eq!((&middle[..], kept[5].as_str()), (&["five".to_owned(), "four".to_owned()][..], "6"));
    assert!(folder.memory.sources().iter().all(|source| source == "watch/sub/app.log"));
    // The rotated file compressed is the same bytes again.
    let mut encoder = flate2::write::GzEncoder::new(
        fs::File::create(folder.logs.join("sub/app.log.1.gz")).unwrap(),
        flate2::Compression::fast(),
    );
    encoder.write_all(&fs::read(&rotated).unwrap()).unwrap();
    encoder.finish().unwrap();
    fs::remove_file(&rotated).unwrap();
    std::thread::sleep(Duration::from_millis(600));
    watching.stop();
    assert_eq!(folder.memory.raws().len(), 6);
    let snapshot = folder.intake.counters.snapshot();
    assert_eq!(snapshot.sources[0].problems.get("truncated").or(snapshot.sources[0].problems.get("replaced")), Some(&1));
}

#[test]
fn a_last_line_without_newline_is_taken_when_the_file_has_settled() {
    let folder = folder();
    append(&folder.logs.join("a"), "no newline");
    let watching = folder.start();
    assert_eq!(folder.memory.wait_for(1), ["no newline"]);
    append(&folder.logs.join("a"), "\nnext\n");
    assert_eq!(folder.memory.wait_for(2)[1], "next");
    watching.stop();
}

#[test]
fn a_compressed_file_is_read_once() {
    let folder = folder();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"x\ny\n").unwrap();
    fs::write(folder.logs.join("new.gz"), encoder.finish().unwrap()).unwrap();
    let watching = folder.start();
    assert_eq!(folder.memory.wait_for(2), ["x", "y"]);
    watching.stop();
    let watching = folder.start();
    std::thread::sleep(Duration::from_millis(400));
    watching.stop();
    assert_eq!(folder.memory.raws().len(), 2);
}

#[test]
fn a_restart_neither_loses_nor_doubles_wherever_the_crash_was() {
    let folder = folder();
    let log = folder.logs.join("app.log");
    append(&log, "first\n");
    folder.start().stop();
    let watching = folder.start();
    folder.memory.wait_for(1);
    watching.stop();
    let note_before = fs::read(&folder.note).unwrap();
    let lines: String = (0..200).map(|nth| format!("line {nth}\n\n")).collect();
    append(&log, &lines);
    append(&folder.logs.join("other.log"), "other\n");
    let watching = folder.start();
    assert_eq!(folder.memory.wait_for(202).len(), 202);
    watching.stop();
    let whole = folder.memory.raws();
    // As if killed at each of these points: the note is the old one, and only so many of the records were durable.
    for durable in [1, 2, 3, 100, 201, 202] {
        fs::write(&folder.note, &note_before).unwrap();
        folder.memory.kept.lock().truncate(durable);
        let watching = folder.start();
        folder.memory.wait_for(202);
        std::thread::sleep(Duration::from_millis(100));
        watching.stop();
        let mut again = folder.memory.raws();
        let mut want = whole.clone();
        again.sort();
        want.sort();
        assert_eq!(again, want, "killed after {durable}");
    }
}

#[test]
fn a_long_line_comes_in_pieces_and_a_damaged_note_is_named() {
    let folder = folder();
    append(&folder.logs.join("long"), &format!("{}\nshort\n", "x".repeat(250)));
    let watching = folder.start();
    let kept = folder.memory.wait_for(4);
    assert_eq!(kept.iter().map(String::len).collect::<Vec<_>>(), [100, 100, 50, 5]);
    watching.stop();
    fs::write(&folder.note, "{").unwrap();
    let error = Watcher::open(options(&folder.logs, &folder.note), Default::default()).map(drop).unwrap_err();
    assert!(error.to_string().contains("watch.json"), "{error}");
}
