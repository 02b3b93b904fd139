//! A process that appends and seals is killed (SIGKILL) again and again; what it was told is stored must be there, and everything must verify.
//!
//! `REEVE_KILL_CYCLES` sets how often; the default keeps the test short.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use reeve_ledger::{Ledger, NewRecord, Options, VerifyOptions, verify};
use reeve_record::{RecordId, Transport};

const FOLDER: &str = "REEVE_KILL_FOLDER";

fn open(dir: &Path) -> Ledger {
    // Small segments, so that kills meet sealing as often as appending.
    let epoch = Some(Duration::from_secs(1));
    Ledger::open(dir, Options { segment_records: 300, epoch, ..Options::new("reeve.example/record") }).unwrap()
}

fn raw(cycle: u64, thread: u64, n: u64) -> String {
    format!("cycle {cycle} thread {thread} record {n} {}", "y".repeat((n * 37 % 500) as usize))
}

#[test]
#[ignore = "the process that `nothing_acknowledged_is_lost_to_sigkill` starts and kills"]
fn appends_until_killed() {
    let (dir, cycle) = std::env::var(FOLDER)
        .ok()
        .and_then(|text| text.split_once('#').map(|(a, b)| (a.to_owned(), b.parse::<u64>().unwrap())))
        .unwrap();
    let ledger = Arc::new(open(Path::new(&dir)));
    let threads: Vec<_> = (0..3u64)
        .map(|thread| {
            let ledger = ledger.clone();
            std::thread::spawn(move || {
                let mut n = 0;
                loop {
                    let count = 1 + n % 17;
                    let batch = (n..n + count)
                        .map(|n| NewRecord::new(format!("t{thread}"), Transport::Http, raw(cycle, thread, n)))
                        .collect();
                    let ids = ledger.append(batch).unwrap();
                    let lines: String = ids.iter().zip(n..).map(|(id, n)| format!("{id} {cycle} {thread} {n}\n")).collect();
                    // Into the pipe before the next batch: the parent knows what we were told, however we end.
                    std::io::stdout().lock().write_all(lines.as_bytes()).unwrap();
                    n += count;
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn nothing_acknowledged_is_lost_to_sigkill() {
    let cycles: u64 = std::env::var("REEVE_KILL_CYCLES").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let dir = tempfile::tempdir().unwrap();
    let mut stored: BTreeMap<RecordId, String> = BTreeMap::new();
    for cycle in 0..cycles {
        stored.extend(run_and_kill(dir.path(), cycle));
    }
    assert!(!stored.is_empty());
    let ledger = open(dir.path());
    assert_eq!(ledger.status().recovery.lost, 0);
    ledger.seal_now().unwrap();
    let ids: Vec<RecordId> = stored.keys().copied().collect();
    for part in ids.chunks(1000) {
        for (id, have) in part.iter().zip(ledger.get_many(part).unwrap()) {
            let have = have.unwrap_or_else(|| panic!("{id} was acknowledged and is gone"));
            assert_eq!(have.raw, stored[id].as_bytes(), "{id}");
        }
    }
    drop(ledger);
    let report = verify(dir.path(), &VerifyOptions::default(), &mut |_| {}).unwrap();
    assert!(report.is_intact(), "{:#?}", report.faults);
    assert!(report.records >= stored.len() as u64 && report.lost_records == 0);
    eprintln!("torture: {cycles} kills, {} records acknowledged, all there; {} segments verify", stored.len(), report.segments);
}

/// One life of the process: what it was told is stored, by record.
fn run_and_kill(dir: &Path, cycle: u64) -> Vec<(RecordId, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "appends_until_killed", "--ignored", "--nocapture"])
        .env(FOLDER, format!("{}#{cycle}", dir.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pipe = child.stdout.take().unwrap();
    let (first, started) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut stored = Vec::new();
        for line in BufReader::new(pipe).split(b'\n') {
            let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
            let fields: Vec<&str> = line.split(' ').collect();
            let [id, cycle, thread, n] = fields[..] else { continue };
            let (Ok(id), Ok(cycle), Ok(thread), Ok(n)) = (id.parse::<RecordId>(), cycle.parse(), thread.parse(), n.parse())
            else {
                continue;
            };
            let _ = first.send(());
            stored.push((id, raw(cycle, thread, n)));
        }
        stored
    });
    started.recv_timeout(Duration::from_secs(60)).expect("the process stores something within a minute");
    std::thread::sleep(Duration::from_millis(30 + cycle * 7919 % 370));
    child.kill().unwrap();
    child.wait().unwrap();
    let mut stored = reader.join().unwrap();
    // The last line may have been cut in the pipe; a cut number would name another record.
    stored.pop();
    stored
}
