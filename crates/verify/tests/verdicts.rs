//! Three verifiers, one verdict: `reeve_ledger::verify`, `reeve-verify` and `witness/verify.py` on a real ledger and thousands of mutants of it.
//!
//! Blind mutants are what disks and meddlers do to files. Resealed ones are made by somebody who has the signing key: the files and the
//! signature agree, and only what they say is wrong. `REEVE_MUTANTS=20000` sets how many of each, `REEVE_SEED` where chance begins.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use base64::{Engine, engine::general_purpose::STANDARD};
use reeve_ledger::VerifyOptions;
use serde_json::{Value, json};
use support::{Changes, Dice, Python, Store, file_hash, rows::Table, with_line};

/// What was asked and said, and how often each verdict came.
#[derive(Default)]
struct Tally {
    intact: usize,
    failed: usize,
    differ: Vec<String>,
}

impl Tally {
    fn note(&mut self, what: &str, verdicts: [(&str, Result<bool, String>, Value); 3]) {
        let said: Vec<_> = verdicts.iter().filter(|(_, verdict, _)| *verdict != Err("skipped".into())).collect();
        match &said[0].1 {
            Ok(true) => self.intact += 1,
            _ => self.failed += 1,
        }
        if said.iter().any(|(_, verdict, _)| verdict.is_err() || *verdict != said[0].1) {
            let all: Vec<String> = said.iter().map(|(who, verdict, why)| format!("  {who}: {verdict:?} {why}")).collect();
            self.differ.push(format!("{what}\n{}", all.join("\n")));
        }
    }

    fn settle(&self, name: &str) {
        let (intact, failed) = (self.intact, self.failed);
        eprintln!(
            "torture: {name}: {} mutants, {intact} intact, {failed} failed, {} verdicts differ",
            intact + failed,
            self.differ.len()
        );
        let shown = self.differ.iter().take(12).cloned().collect::<Vec<_>>().join("\n");
        assert!(self.differ.is_empty(), "{} verdicts differ:\n{shown}", self.differ.len());
    }
}

fn mutants(default: usize) -> usize {
    std::env::var("REEVE_MUTANTS").ok().and_then(|count| count.parse().ok()).unwrap_or(default)
}

fn dice(name: &str) -> Dice {
    let seed = std::env::var("REEVE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    eprintln!("{name}: REEVE_SEED={seed}");
    Dice(name.bytes().fold(seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte))))
}

fn ask_python(python: &mut Option<Python>, question: &Value) -> (Result<bool, String>, Value) {
    let Some(python) = python else { return (Err("skipped".into()), Value::Null) };
    let answer = python.ask(question);
    let verdict = match answer["verdict"].as_str() {
        Some("intact") => Ok(true),
        Some("failed") => Ok(false),
        other => Err(format!("{other:?}")),
    };
    (verdict, json!([answer["faults"][0], answer["report"]["faults"][0], answer["why"]]))
}

/// All three on the folder as it is now.
fn judge(store: &Store, python: &mut Option<Python>, given: bool, what: &str, tally: &mut Tally) {
    let dir = store.dir.path();
    let ledger = catch_unwind(AssertUnwindSafe(|| {
        let key = given.then(|| reeve_ledger::VerifierKey::parse(&store.vkey).unwrap());
        let report = reeve_ledger::verify(dir, &VerifyOptions { key, ..VerifyOptions::default() }, &mut |_| {}).unwrap();
        (Ok(report.is_intact()), json!(report.faults.first().map(|fault| format!("{fault:?}"))))
    }));
    let ours = catch_unwind(AssertUnwindSafe(|| {
        let key = given.then(|| reeve_verify::VerifierKey::parse(&store.vkey).unwrap());
        let trust = reeve_verify::Trust { key, ..reeve_verify::Trust::default() };
        let report = reeve_verify::verify(&reeve_verify::Folder::new(dir), &trust);
        (Ok(report.faults.is_empty()), json!(report.faults.first()))
    }));
    let panicked = |_| (Err("panicked".into()), Value::Null);
    let (ledger, ours) = (ledger.unwrap_or_else(panicked), ours.unwrap_or_else(panicked));
    let question = if given { json!({ "dir": dir, "key": store.vkey }) } else { json!({ "dir": dir }) };
    let python = ask_python(python, &question);
    tally.note(what, [("ledger", ledger.0, ledger.1), ("verify", ours.0, ours.1), ("python", python.0, python.1)]);
}

fn judge_all(store: &Store, python: &mut Option<Python>, given: bool, (what, changes): &(String, Changes), tally: &mut Tally) {
    store.apply(changes);
    judge(store, python, given, what, tally);
    store.restore(changes);
}

#[test]
fn an_intact_ledger_is_intact_to_all() {
    let (store, mut python, mut tally) = (Store::make(), Python::start(), Tally::default());
    judge(&store, &mut python, true, "as it was made", &mut tally);
    judge(&store, &mut python, false, "as it was made, own key", &mut tally);
    assert_eq!(tally.differ, Vec::<String>::new());
    assert_eq!(tally.intact, 2);
    let report = reeve_verify::verify(&reeve_verify::Folder::new(store.dir.path()), &reeve_verify::Trust::default());
    assert_eq!((report.entries, report.segments, report.cosigned, report.time_stamps), (10, 4, Some(10), 1));
    assert_eq!((report.records, report.lost_records, report.unsealed_records), (650 + 90 + 25, 1, 30));
    assert_eq!((report.redacted_records, report.destroyed_records), (4, 40));
}

/// A frame that claims what the file does not hold, under a checksum that fits: no secret is in it, anybody can make one.
fn claiming(wal: &[u8], length: u32, first: u32, count: u32) -> Vec<u8> {
    let (epoch, file_id) = (&wal[12..20], &wal[20..36]);
    let numbers = [length, first, count].map(u32::to_be_bytes).concat();
    let frame = [b"RVF1\x01\0\0\0", &numbers[..]].concat();
    let sum = crc32fast::hash(&[file_id, epoch, &(wal.len() as u64).to_be_bytes(), &frame].concat());
    [wal, &frame, &sum.to_be_bytes(), &[0; 64]].concat()
}

/// The head of the next file, which claims so many records for this one.
fn claiming_before(wal: &[u8], records: u32) -> Vec<u8> {
    let mut block = [&wal[..8], &5u32.to_be_bytes(), &wal[12..68], &records.to_be_bytes()].concat();
    block.extend(crc32fast::hash(&block).to_be_bytes());
    block.resize(2048, 0);
    block.repeat(2)
}

/// What is only claimed takes no memory, and is judged alike by all: each is also looked at by a process that has little.
#[test]
fn claims_cost_nothing() {
    let (store, mut python, mut tally) = (Store::make(), Python::start(), Tally::default());
    let name = "wal/00000004.wal";
    let wal = store.files[name].clone();
    let most = 160 << 20;
    let claims = [
        ("a frame of 160 MiB", claiming(&wal, most, 31, 1)),
        ("forty million records", claiming(&wal, most, 31, (most - 28) / 4)),
        ("three million records", claiming(&wal, most, 31, 3_000_000)),
        ("records far off", claiming(&wal, 32, u32::MAX - 1, 1)),
        ("records not so far off", claiming(&wal, 32, 4_000_000, 1)),
        ("many records before", claiming_before(&wal, u32::MAX)),
        ("fewer records before", claiming_before(&wal, 4_000_000)),
    ];
    for (what, bytes) in claims {
        let file = if what.ends_with("before") { "wal/00000005.wal" } else { name };
        let changes = Changes::from([(file.to_owned(), Some(bytes))]);
        store.apply(&changes);
        judge(&store, &mut python, true, what, &mut tally);
        let dir = store.dir.path().display();
        let verifier = env!("CARGO_BIN_EXE_reeve-verify");
        let with_little = format!("ulimit -v 100000; exec {verifier} --key '{}' {dir}", store.vkey.trim());
        let said = std::process::Command::new("sh").args(["-c", &with_little]).output().unwrap();
        assert!(matches!(said.status.code(), Some(0 | 4)), "{what}: {said:?}");
        store.restore(&changes);
    }
    assert_eq!(tally.differ, Vec::<String>::new());
}

/// A checkpoint kept elsewhere is continued, or it is not: earlier ones of this log are, and nothing else.
#[test]
fn a_checkpoint_kept_elsewhere_has_one_verdict() {
    let (store, mut python) = (Store::make(), Python::start());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let newest = text(&store.files["log/checkpoint"]);
    let signed = newest.rsplit_once("\n\n").unwrap().0.to_owned() + "\n";
    let line = |n: usize| signed.lines().nth(n).unwrap().to_owned();
    let root = STANDARD.encode([7; 32]);
    let mut kept: Vec<(bool, String)> = store.older.iter().map(|note| (true, text(note))).collect();
    kept.push((true, newest.clone()));
    kept.push((false, store.sign(&signed.replacen(&line(2), &root, 1))));
    kept.push((false, store.sign(&signed.replacen(&format!("\n{}\n", line(1)), "\n1000\n", 1))));
    kept.push((false, newest.replacen("time 2", "time 1", 1)));
    assert!(store.older.len() > 1, "{} earlier checkpoints", store.older.len());
    for (continues, note) in kept {
        let dir = store.dir.path();
        let against = vec![note.clone()];
        let options = VerifyOptions { against: against.clone(), ..VerifyOptions::default() };
        let ledger = reeve_ledger::verify(dir, &options, &mut |_| {}).unwrap();
        assert_eq!(ledger.is_intact(), continues, "{note}\n{:?}", ledger.faults);
        let trust = reeve_verify::Trust { against, ..reeve_verify::Trust::default() };
        let report = reeve_verify::verify(&reeve_verify::Folder::new(dir), &trust);
        assert_eq!(report.faults.is_empty(), continues, "{note}\n{:?}", report.faults);
        assert!(report.faults.iter().all(|fault| fault.code == "LEDGER-035"), "{:?}", report.faults);
        if let Some(python) = &mut python {
            let answer = python.ask(&json!({ "dir": dir, "against": [note] }));
            assert_eq!(answer["verdict"], if continues { "intact" } else { "failed" }, "{note}\n{answer}");
        }
    }
    // What is no checkpoint at all says nothing of the log: the question is wrong.
    for other in [String::new(), "notes of the case\n".into(), newest.replacen("time 2", "at 2", 1), signed.trim_end().into()] {
        let question = json!({ "dir": store.dir.path(), "against": [other] });
        assert!(!reeve_ledger::Checkpoint::is_form_of(&other), "{other}");
        assert_eq!(reeve_verify::answer(&question.to_string())["verdict"], "unusable", "{other}");
        if let Some(python) = &mut python {
            assert_eq!(python.ask(&question)["verdict"], "unusable", "{other}");
        }
    }
}

#[test]
fn blind_mutants_have_one_verdict() {
    let (store, mut python, mut tally, mut dice) = (Store::make(), Python::start(), Tally::default(), dice("blind"));
    for n in 0..mutants(120) {
        let mutant = blind(&store, &mut dice);
        judge_all(&store, &mut python, n % 2 == 0, &mutant, &mut tally);
    }
    tally.settle("blind");
    assert!(tally.failed > tally.intact, "most damage must show");
}

/// Damages one file, or exchanges two.
fn blind(store: &Store, dice: &mut Dice) -> (String, Changes) {
    let names: Vec<&String> = store.files.keys().collect();
    let name = (*dice.pick(&names)).clone();
    let content = store.files[&name].clone();
    let mut changes = Changes::new();
    let what = match dice.below(16) {
        0 => {
            changes.insert(name.clone(), None);
            "is gone".into()
        }
        1 => {
            let other = (*dice.pick(&names)).clone();
            changes.insert(name.clone(), Some(store.files[&other].clone()));
            changes.insert(other.clone(), Some(content));
            format!("exchanged with {other}")
        }
        2 => {
            let other = (*dice.pick(&names)).clone();
            changes.insert(name.clone(), Some(store.files[&other].clone()));
            format!("overwritten with {other}")
        }
        3 => {
            let older = dice.below(store.older.len());
            changes.insert("log/checkpoint".into(), Some(store.older[older].clone()));
            format!("(not) checkpoint {older} put back")
        }
        4 => {
            let renamed = renamed(&name, dice);
            changes.insert(name.clone(), None);
            changes.insert(renamed.clone(), Some(content));
            format!("renamed to {renamed}")
        }
        5 | 6 => {
            let text = String::from_utf8_lossy(&content).into_owned();
            let (how, text) = edit_lines(&text, dice);
            changes.insert(name.clone(), Some(text.into_bytes()));
            how
        }
        _ => {
            let (how, content) = damage(content, dice);
            changes.insert(name.clone(), Some(content));
            how
        }
    };
    (format!("{name} {what}"), changes)
}

fn renamed(name: &str, dice: &mut Dice) -> String {
    let digits: Vec<usize> = name.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_digit()).map(|(at, _)| at).collect();
    let mut bytes = name.as_bytes().to_vec();
    match digits.as_slice() {
        [] => bytes.extend(b".tmp"),
        digits => bytes[*dice.pick(digits)] = b'0' + dice.below(8) as u8,
    }
    String::from_utf8(bytes).unwrap()
}

/// What happens to bytes on disks.
fn damage(mut bytes: Vec<u8>, dice: &mut Dice) -> (String, Vec<u8>) {
    let length = bytes.len();
    if length == 0 {
        return ("gets a byte".into(), vec![dice.next() as u8]);
    }
    let sector = |dice: &mut Dice| {
        let start = dice.below(length.div_ceil(512)) * 512;
        start..(start + 512).min(length)
    };
    let at = dice.below(length);
    let how = match dice.below(8) {
        0 | 1 => {
            let bit = dice.below(8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} flipped")
        }
        2 => {
            bytes[at] = dice.next() as u8;
            format!("byte {at} set")
        }
        3 => {
            bytes.truncate(at);
            format!("cut to {at} bytes")
        }
        4 => {
            let more = 1 + dice.below(600);
            bytes.extend((0..more).map(|_| dice.next() as u8 & if more.is_multiple_of(2) { 0 } else { 255 }));
            format!("{more} bytes longer")
        }
        5 => {
            let zeroed = sector(dice);
            bytes[zeroed.clone()].fill(0);
            format!("sector at {} zeroed", zeroed.start)
        }
        6 => {
            let (from, to) = (sector(dice), sector(dice));
            let length = from.len().min(to.len());
            bytes.copy_within(from.start..from.start + length, to.start);
            format!("sector at {} copied to {}", from.start, to.start)
        }
        _ => {
            let (one, two) = (sector(dice), sector(dice));
            for n in 0..one.len().min(two.len()) {
                bytes.swap(one.start + n, two.start + n);
            }
            format!("sectors at {} and {} exchanged", one.start, two.start)
        }
    };
    (how, bytes)
}

/// What a person with an editor does.
fn edit_lines(text: &str, dice: &mut Dice) -> (String, String) {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let (at, other) = (dice.below(lines.len()), dice.below(lines.len()));
    let how = match dice.below(7) {
        0 => {
            lines.remove(at);
            format!("line {at} removed")
        }
        1 => {
            let line = lines[at].clone();
            lines.insert(other, line);
            format!("line {at} again at {other}")
        }
        2 => {
            lines.swap(at, other);
            format!("lines {at} and {other} exchanged")
        }
        3 => {
            lines[at].push(*dice.pick(&[' ', '\r', 'x', '=', '\u{a0}']));
            format!("line {at} longer")
        }
        4 => {
            lines.insert(at, String::new());
            format!("empty line at {at}")
        }
        _ => {
            let digits: Vec<usize> =
                lines[at].bytes().enumerate().filter(|(_, byte)| byte.is_ascii_digit()).map(|(n, _)| n).collect();
            let mut bytes = lines[at].clone().into_bytes();
            if let Some(n) = digits.get(dice.below(digits.len())) {
                bytes[*n] = b'0' + dice.below(10) as u8;
            }
            lines[at] = String::from_utf8(bytes).unwrap();
            format!("a digit in line {at} changed")
        }
    };
    (how, lines.join("\n"))
}

#[test]
fn resealed_mutants_have_one_verdict() {
    let (store, mut python, mut tally, mut dice) = (Store::make(), Python::start(), Tally::default(), dice("resealed"));
    for n in 0..mutants(120) {
        let mutant = resealed(&store, &mut dice, false);
        judge_all(&store, &mut python, n % 2 == 0, &mutant, &mut tally);
    }
    tally.settle("resealed");
    assert!(tally.intact > 0, "some changes are no fault to anyone");
}

fn resealed(store: &Store, dice: &mut Dice, damaged: bool) -> (String, Changes) {
    let mut entries = store.entries();
    let batches: Vec<usize> = (0..entries.len()).filter(|n| entries[*n].starts_with(b"reeve-batch/")).collect();
    let place = dice.below(entries.len());
    // Of the first two, one was destroyed and one redacted: the names of their files are others.
    let segment = 2 + dice.below(batches.len() - 2);
    let batch = batches[segment];
    let mut extra = Changes::new();
    // 11 is for damage alone.
    let kind = dice.below(13);
    let how = match if damaged { 11 } else { kind + usize::from(kind >= 11) } {
        0 => {
            entries.remove(place);
            format!("entry {place} dropped")
        }
        1 => {
            let other = dice.below(entries.len());
            entries.swap(place, other);
            format!("entries {place} and {other} exchanged")
        }
        2 | 3 => {
            let (how, text) = edit_lines(&String::from_utf8(entries[place].clone()).unwrap(), dice);
            entries[place] = text.into_bytes();
            format!("entry {place}: {how}")
        }
        11 => {
            // The file's hash is right, and its bytes are not what any writer wrote.
            let name = format!("segments/{segment:08}.parquet");
            let (how, file) = damage(store.files[&name].clone(), dice);
            let map = map_of(&file);
            entries[batch] = with_line(&entries[batch], "file", |_| file_hash(&file));
            entries[batch] = with_line(&entries[batch], "map", |_| file_hash(&map));
            extra.insert(name.clone(), Some(file));
            extra.insert(format!("segments/{segment:08}.map"), Some(map));
            format!("{name} {how}")
        }
        12 => {
            let (how, files) = change_redacted(&mut entries, store, dice);
            extra.extend(files);
            how
        }
        13 => {
            let (how, entry) = disposal(&entries, dice);
            entries.insert(dice.below(entries.len() + 1), entry);
            how
        }
        4 => {
            let fork = "reeve-fork/v1\norigin reeve.example/record\nat 2026-01-05T09:12:44.000000Z\nsize 0 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\nlost 9\nrequester ana\napprover bo\nreason disk\n";
            entries.insert(place, fork.into());
            format!("a fork before entry {place}")
        }
        5 | 6 => {
            let (how, entry) = change_field(&entries[batch], dice);
            entries[batch] = entry;
            format!("statement {segment}: {how}")
        }
        7 => {
            let name = format!("segments/{segment:08}.map");
            let (how, text) = edit_lines(std::str::from_utf8(&store.files[&name]).unwrap(), dice);
            entries[batch] = with_line(&entries[batch], "map", |_| file_hash(text.as_bytes()));
            extra.insert(name.clone(), Some(text.into_bytes()));
            format!("{name} {how}")
        }
        _ => {
            let name = format!("segments/{segment:08}.parquet");
            let (how, entry, file, map) = change_rows(&entries[batch], &store.files[&name], dice);
            extra.insert(name.clone(), Some(file));
            extra.insert(format!("segments/{segment:08}.map"), Some(map));
            entries[batch] = entry;
            format!("{name} {how}")
        }
    };
    // Half of them keep the chain of statements whole, and most the chain of epochs, so that what was changed is all that is wrong.
    let (relink, mend) = (dice.below(2) == 0, dice.below(5) > 0);
    if relink {
        let mut previous = [0; 32];
        for entry in entries.iter_mut().filter(|entry| String::from_utf8_lossy(entry).contains("\nprevious ")) {
            *entry = with_line(entry, "previous", |_| STANDARD.encode(previous));
            previous = reeve_record::leaf_hash(entry);
        }
    }
    if mend {
        Store::mend_epochs(&mut entries);
    }
    let mut changes = store.reseal(&entries);
    changes.extend(extra);
    (format!("{how}{}{}", if relink { ", statements relinked" } else { "" }, if mend { ", epochs mended" } else { "" }), changes)
}

/// Changes a file of the redacted segment, with the hash in its last redaction.
fn change_redacted(entries: &mut [Vec<u8>], store: &Store, dice: &mut Dice) -> (String, Changes) {
    let last = entries.iter().rposition(|entry| entry.starts_with(b"reeve-redaction/")).unwrap();
    let mut changes = Changes::new();
    let name = "segments/00000001.r2";
    if dice.below(2) == 0 {
        let (salts, at) = (format!("{name}.salts"), dice.below(650));
        let mut bytes = store.files[&salts].clone();
        // Among them a salt, a length, and a commitment.
        let row = *dice.pick(&[at, 5, 7, 300]);
        bytes[40 * row + *dice.pick(&[0, 7, 8, 39])] ^= 1;
        if dice.below(4) == 0 {
            bytes.truncate(40 * 649);
        }
        entries[last] = with_line(&entries[last], "salts", |_| file_hash(&bytes));
        changes.insert(salts.clone(), Some(bytes));
        return (format!("{salts} row {row}"), changes);
    }
    let parquet = format!("{name}.parquet");
    let (how, entry, file, map) = change_rows(&entries[last], &store.files[&parquet], dice);
    entries[last] = entry;
    changes.insert(parquet.clone(), Some(file));
    changes.insert(format!("{name}.map"), Some(map));
    (format!("{parquet} {how}"), changes)
}

/// One more entry about content: again, too early, or about what is not there.
fn disposal(entries: &[Vec<u8>], dice: &mut Dice) -> (String, Vec<u8>) {
    let known: Vec<&Vec<u8>> = entries
        .iter()
        .filter(|entry| ["reeve-red", "reeve-des", "reeve-hol"].iter().any(|head| entry.starts_with(head.as_bytes())))
        .collect();
    let entry = (*dice.pick(&known)).clone();
    let has_segment = !entry.starts_with(b"reeve-hold");
    let segment = dice.below(5);
    let entry = if has_segment { with_line(&entry, "segment", |_| segment.to_string()) } else { entry };
    let first = String::from_utf8_lossy(&entry).lines().next().unwrap().to_owned();
    (format!("one more {first} of segment {segment}"), entry)
}

/// A map of one region.
fn map_of(file: &[u8]) -> Vec<u8> {
    let hash = file_hash(file);
    let (length, sha) = hash.split_once(' ').unwrap();
    format!("reeve-map/v1\n0 {length} 0 1 00000000 {sha}\n").into_bytes()
}

/// Damaged Parquet under true hashes: nobody may panic. That three readers by three authors stumble over the same bytes is not to be had, and is not
/// needed: who has the key can seal no content that one of them reads otherwise, since all must come to the batch root.
#[test]
fn damaged_files_under_true_hashes_do_no_harm() {
    let (store, mut python, mut tally, mut dice) = (Store::make(), Python::start(), Tally::default(), dice("parquet"));
    for _ in 0..mutants(120) {
        let mutant = resealed(&store, &mut dice, true);
        judge_all(&store, &mut python, true, &mutant, &mut tally);
    }
    eprintln!("parquet: {} intact, {} failed, {} verdicts differ", tally.intact, tally.failed, tally.differ.len());
    assert!(!tally.differ.iter().any(|differ| differ.contains("Err(")), "{:?}", tally.differ);
}

fn change_field(entry: &[u8], dice: &mut Dice) -> (String, Vec<u8>) {
    let name = *dice.pick(&[
        "segment",
        "epoch",
        "records",
        "raw_bytes",
        "received",
        "sealed",
        "root",
        "previous",
        "salts",
        "file",
        "map",
        "origin",
    ]);
    let choice = dice.below(6);
    let digit = char::from(b'0' + dice.below(10) as u8);
    let changed = |value: &str| match (choice, value.parse::<u64>()) {
        (0, Ok(value)) => value.wrapping_add(1).to_string(),
        (1, Ok(value)) => value.wrapping_sub(1).to_string(),
        (2, Ok(value)) => format!("0{value}"),
        (3, Ok(_)) => "18446744073709551616".into(),
        (4, _) => format!("{value} "),
        _ => value.chars().enumerate().map(|(n, c)| if n == value.len() / 2 { digit } else { c }).collect(),
    };
    let mut text = String::from_utf8(with_line(entry, name, changed)).unwrap();
    if dice.below(8) == 0 {
        text.push_str(&format!("lost {} {}\n", dice.below(30), dice.below(4)));
        return (format!("{name} changed and lost records declared"), text.into_bytes());
    }
    (format!("{name} changed"), text.into_bytes())
}

/// Changes what rows say and writes the file anew; half the time the batch root, too.
fn change_rows(entry: &[u8], file: &[u8], dice: &mut Dice) -> (String, Vec<u8>, Vec<u8>, Vec<u8>) {
    let mut table = Table::read(file);
    let at = dice.below(table.rows.len());
    let other = dice.below(table.rows.len());
    let (number, byte) = (dice.next(), dice.next() as u8);
    let row = &mut table.rows[at];
    let how = match dice.below(17) {
        0 => "written anew",
        1 => {
            row.sequence = row.sequence.wrapping_add(number % 3).wrapping_sub(1);
            "sequence"
        }
        2 => {
            row.received_at += (number % 3) as i64 - 1;
            "received_at"
        }
        3 => {
            row.received_at = *dice.pick(&[i64::MIN, i64::MAX, -377_705_023_201_000_001, 253_402_207_200_999_999, 0]);
            "received_at at its limits"
        }
        4 => {
            row.transport = (*dice.pick(&["file", "internal", "telegraph", ""])).into();
            "transport"
        }
        5 => {
            row.certainty = *dice.pick(&[None, Some(0), Some(1), Some(4), Some(5), Some(255)]);
            "certainty"
        }
        6 => {
            row.claimed_at = *dice.pick(&[None, Some(0), Some(number as i64)]);
            "claimed_at"
        }
        7 => {
            row.source = (*dice.pick(&["web1", "web2", "", "wéb"])).into();
            "source"
        }
        8 => {
            row.policy = (*dice.pick(&["default", "other", ""])).into();
            "policy"
        }
        9 => {
            row.previous = *dice.pick(&[None, Some([0; 32]), Some([byte; 32])]);
            "previous"
        }
        10 => {
            row.raw = Some(vec![byte; (number % 3000) as usize]);
            "raw"
        }
        11 => {
            row.raw = None;
            "raw null"
        }
        12 => {
            row.index = row.index.wrapping_add((number % 3) as u32).wrapping_sub(1);
            "index"
        }
        13 => {
            table.rows.remove(at);
            "row removed"
        }
        14 => {
            table.rows.swap(at, other);
            "rows exchanged"
        }
        15 => {
            let pair = dice.below(table.pairs.len());
            table.pairs[pair].1 = (*dice.pick(&["", "1", "2", "01", "zz"])).into();
            "metadata"
        }
        _ => {
            for row in &mut table.rows[at..] {
                row.previous = None;
            }
            "previous of all after it"
        }
    };
    let mut how = format!("row {at}: {how}");
    let file = table.write(*dice.pick(&[1, 7, 512, 20_000]));
    let mut entry = with_line(entry, "file", |_| file_hash(&file));
    let map = map_of(&file);
    entry = with_line(&entry, "map", |_| file_hash(&map));
    if let Some(root) = table.root().filter(|_| dice.below(3) > 0) {
        entry = with_line(&entry, "root", |_| STANDARD.encode(root));
        entry = with_line(&entry, "records", |_| table.rows.len().max(1).to_string());
        let size: usize = table.rows.iter().filter_map(|row| row.raw.as_ref()).map(Vec::len).sum();
        entry = with_line(&entry, "raw_bytes", |_| size.to_string());
        how.push_str(", root recomputed");
    }
    (how, entry, file, map)
}

#[test]
fn mutated_proofs_have_one_verdict() {
    let (store, mut python, mut tally, mut dice) = (Store::make(), Python::start(), Tally::default(), dice("proofs"));
    let mut ask = |what: &str, proof: &str, raw: &[u8], key: &str, tally: &mut Tally| {
        let ledger = reeve_ledger::VerifierKey::parse(key).unwrap();
        let ledger = catch_unwind(AssertUnwindSafe(|| reeve_ledger::verify_proof(proof, raw, &ledger)));
        let ledger = ledger
            .map_or((Err("panicked".into()), Value::Null), |said| (Ok(said.is_ok()), json!(said.err().map(|e| e.to_string()))));
        let ours = reeve_verify::VerifierKey::parse(key).unwrap();
        let ours = catch_unwind(AssertUnwindSafe(|| reeve_verify::verify_proof(proof.as_bytes(), raw, &ours, None)));
        let ours = ours.map_or((Err("panicked".into()), Value::Null), |said| (Ok(said.is_ok()), json!(said.err())));
        let python = ask_python(&mut python, &json!({ "proof": proof, "raw": STANDARD.encode(raw), "key": key }));
        tally.note(what, [("ledger", ledger.0, ledger.1), ("verify", ours.0, ours.1), ("python", python.0, python.1)]);
    };
    for (proof, raw) in &store.proofs {
        ask("as it was made", proof, raw, &store.vkey, &mut tally);
    }
    assert_eq!((tally.intact, tally.differ.len()), (store.proofs.len(), 0), "{:?}", tally.differ);
    let stranger = "reeve.example/record+d585d52e+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs\n";
    for n in 0..mutants(400) {
        let (proof, raw) = dice.pick(&store.proofs).clone();
        let (what, proof, raw) = mutate_proof(&store, &proof, raw, &mut dice);
        let key = if n % 50 == 0 { stranger } else { &store.vkey };
        ask(&what, &proof, &raw, key, &mut tally);
    }
    tally.settle("proofs");
    // What passes: the proof itself, signature lines of strangers, and a checkpoint signed anew with another time.
    assert!(tally.failed > 2 * tally.intact);
}

fn mutate_proof(store: &Store, proof: &str, raw: Vec<u8>, dice: &mut Dice) -> (String, String, Vec<u8>) {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    match dice.below(10) {
        0 => {
            let (how, raw) = damage(raw, dice);
            (format!("raw: {how}"), proof.into(), raw)
        }
        1 => ("raw of another record".into(), proof.into(), dice.pick(&store.proofs).1.clone()),
        2 | 3 => {
            let (how, proof) = edit_lines(proof, dice);
            (how, proof, raw)
        }
        4 => {
            let (how, bytes) = damage(proof.as_bytes().to_vec(), dice);
            (how, text(bytes), raw)
        }
        5 => {
            let note = text(dice.pick(&store.older).clone());
            let head = proof.split_once("\n\n").unwrap().0;
            ("an older checkpoint".into(), format!("{head}\n\n{note}"), raw)
        }
        6 => {
            let stranger = format!("{proof}— stranger.example {}\n", STANDARD.encode([dice.next() as u8; 68]));
            ("a stranger's signature more".into(), stranger, raw)
        }
        7 => {
            // Signed anew over what the checkpoint says, with one digit or line changed.
            let (head, note) = proof.split_once("\n\n").unwrap();
            let (how, signed) = edit_lines(note.rsplit_once("\n\n").unwrap().0, dice);
            (format!("checkpoint: {how}, signed"), format!("{head}\n\n{}", store.sign(&format!("{signed}\n"))), raw)
        }
        _ => inside_extra(proof, raw, dice),
    }
}

/// Changes what the base64 hides: leaf, salt, path, statement.
fn inside_extra(proof: &str, raw: Vec<u8>, dice: &mut Dice) -> (String, String, Vec<u8>) {
    let line = proof.lines().nth(1).unwrap().to_owned();
    let extra = String::from_utf8(STANDARD.decode(line.strip_prefix("extra ").unwrap()).unwrap()).unwrap();
    let (how, extra) = if dice.below(3) == 0 {
        let leaf = extra.lines().nth(1).unwrap().to_owned();
        let bytes = STANDARD.decode(leaf.strip_prefix("leaf ").unwrap()).unwrap();
        let (how, bytes) = damage(bytes, dice);
        (format!("leaf: {how}"), extra.replacen(&leaf, &format!("leaf {}", STANDARD.encode(bytes)), 1))
    } else {
        let (how, text) = edit_lines(&extra, dice);
        (format!("extra: {how}"), text)
    };
    (how, proof.replacen(&line, &format!("extra {}", STANDARD.encode(extra)), 1), raw)
}
