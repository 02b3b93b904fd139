//! Every `cases/lake/search/*.case`: a query and what it must find, asked of unflushed events, of files, of both, of files whose records
//! are sealed and have needle filters, and of files whose raw bytes come from a store that cannot be read in order.
//! `REEVE_UPDATE_CASES=1` rewrites the expectations; review the diff.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{
    fmt::Write as _,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use common::{UNORDERED, World, ask, identities, read_events};
use reeve_lake::{Lake, SearchRequest};
use reeve_record::RecordId;

const ALL: RecordId = RecordId { segment: u32::MAX >> 1, index: 0 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cases() {
    let folder = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../cases/lake/search");
    let events = read_events(&folder.join("events.jsonl"));
    let hot = World::new();
    hot.append(&events);
    let flushed = World::new();
    flushed.append(&events);
    flushed.lake.flush(ALL).unwrap();
    let both = World::new();
    both.append(&events[..events.len() / 2]);
    both.lake.flush(ALL).unwrap();
    both.append(&events[events.len() / 2..]);
    let (indexed, unordered) = (World::new(), World::new());
    for world in [&indexed, &unordered] {
        world.append(&events);
        world.lake.flush(ALL).unwrap();
    }
    indexed.raws.1.store(1, Ordering::Relaxed);
    assert!(indexed.lake.index_raw(&|| true).unwrap().is_some_and(|made| made.records > 0), "filters were made");
    unordered.raws.1.store(UNORDERED, Ordering::Relaxed);

    let mut failures = String::new();
    let mut count = 0;
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "case")) {
        count += 1;
        let text = std::fs::read_to_string(path).unwrap();
        let (head, expected) = text.split_once("---\n").unwrap_or_else(|| panic!("{}: no --- line", path.display()));
        let found = check(&hot.lake, head).await;
        for (name, world) in [("flushed", &flushed), ("half flushed", &both), ("indexed", &indexed), ("unordered", &unordered)] {
            let other = check(&world.lake, head).await;
            if other != found {
                let _ =
                    writeln!(failures, "{}: {name} differs from unflushed\nunflushed:\n{found}{name}:\n{other}", path.display());
            }
        }
        if found == expected {
            continue;
        }
        if std::env::var_os("REEVE_UPDATE_CASES").is_some() {
            std::fs::write(path, format!("{head}---\n{found}")).unwrap();
        } else {
            let _ = writeln!(failures, "{}\nexpected:\n{expected}found:\n{found}", path.display());
        }
    }
    assert!(count > 20, "the cases are there");
    assert!(failures.is_empty(), "{failures}");
}

async fn check(lake: &Arc<Lake>, head: &str) -> String {
    let mut request = SearchRequest::default();
    for line in head.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once(": ") {
            Some(("query", text)) => request.query = text.into(),
            Some(("sql", text)) => (request.query, request.sql) = (text.into(), true),
            Some(("limit", text)) => request.limit = Some(text.parse().unwrap()),
            Some(("from", text)) => request.from = Some(text.parse().unwrap()),
            Some(("to", text)) => request.to = Some(text.parse().unwrap()),
            _ => panic!("`{line}`: query, sql, limit, from or to"),
        }
    }
    let mut out = String::new();
    match ask(lake, request).await {
        Ok(answer) => {
            answer.notes.iter().for_each(|note| writeln!(out, "note: {note}").unwrap());
            if answer.events.is_empty() && !answer.table.is_empty() {
                writeln!(out, "{}", answer.columns.join(" | ")).unwrap();
            }
            answer.table.iter().for_each(|row| writeln!(out, "{}", serde_json::to_string(row).unwrap()).unwrap());
            identities(&answer.events).iter().for_each(|id| writeln!(out, "{id}").unwrap());
            if answer.cost.truncated {
                writeln!(out, "truncated").unwrap();
            }
        }
        Err(error) => writeln!(out, "error: {error}").unwrap(),
    }
    out
}
