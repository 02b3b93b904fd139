//! The two programs as one calls them: arguments, output, exit codes.
#![allow(clippy::unwrap_used, clippy::print_stderr)]
mod support;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use support::{Store, python, python_verifier};

/// Each program, as the start of a command line.
fn programs() -> Vec<Vec<String>> {
    let mut programs = vec![vec![env!("CARGO_BIN_EXE_reeve-verify").to_owned()]];
    if let Some(python) = python() {
        programs.push(vec![python.display().to_string(), python_verifier().display().to_string()]);
    }
    programs
}

fn run(program: &[String], arguments: &[&str]) -> Output {
    Command::new(&program[0]).args(&program[1..]).args(arguments).output().unwrap()
}

#[test]
fn exit_codes_are_the_contract() {
    let store = Store::make();
    let (proof, raw) = store.proofs[3].clone();
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = scratch.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let dir = store.dir.path().display().to_string();
    let (vkey, vkey_file) = (store.vkey.trim(), file("reeve.vkey", store.vkey.as_bytes()));
    let (proof, raw, wrong) = (file("a.tlog-proof", proof.as_bytes()), file("a.raw", &raw), file("b.raw", b"something else"));
    let (nothing, rubbish) = (scratch.path().join("nothing").display().to_string(), file("rubbish.vkey", b"rubbish"));
    let root = file("root.vkey", &store.files["keys/root.vkey"]);
    let policy = String::from_utf8(store.files["log/policy"].clone()).unwrap();
    let both = file("both", policy.replace("group both 1", "group both 2").as_bytes());
    let one = file("one", policy.as_bytes());
    for program in programs() {
        for (code, arguments) in [
            (0, vec!["--key", vkey, "--root-key", &root, "--policy", &one, &dir]),
            (4, vec!["--key", vkey, "--root-key", vkey, &dir]),
            (4, vec!["--key", vkey, "--policy", &both, &dir]),
            (4, vec!["--key", vkey, "--policy", &one, "--raw", &raw, &proof]),
            (2, vec!["--key", vkey, "--policy", &raw, &dir]),
            (0, vec![dir.as_str()]),
            (0, vec!["--key", vkey, &dir]),
            (0, vec!["--key", &vkey_file, &dir]),
            (0, vec!["--key", vkey, "--raw", &raw, &proof]),
            (4, vec!["--key", vkey, "--raw", &wrong, &proof]),
            (4, vec!["--key", vkey, "--raw", &raw, &raw]),
            (2, vec!["--key", vkey, &nothing]),
            (2, vec!["--key", vkey, "--raw", &nothing, &proof]),
            (2, vec!["--key", &rubbish, &dir]),
            (2, vec!["--key", &nothing, &dir]),
            (3, vec![]),
            (3, vec!["--raw", &raw, &proof]),
            (3, vec!["--no-such-option", &dir]),
            (0, vec!["--help"]),
        ] {
            let said = run(&program, &arguments);
            let text = [&said.stdout[..], &said.stderr[..]].concat();
            assert_eq!(said.status.code(), Some(code), "{program:?} {arguments:?}\n{}", String::from_utf8_lossy(&text));
        }
        let said = run(&program, &[&dir]);
        assert!(String::from_utf8_lossy(&said.stderr).contains("warning"), "trusting the folder's own key is said");
    }
}

#[test]
fn a_fault_is_a_line_that_names_place_and_records() {
    let store = Store::make();
    let dir = store.dir.path();
    let place = dir.join("segments/00000001.r2.parquet");
    let mut bytes = fs::read(&place).unwrap();
    bytes[5000] ^= 4;
    fs::write(&place, bytes).unwrap();
    let dir = dir.display().to_string();
    for program in programs() {
        let said = run(&program, &["--key", store.vkey.trim(), &dir]);
        assert_eq!(said.status.code(), Some(4));
        let lines: Vec<Value> =
            said.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        assert_eq!(lines.len(), 2, "one fault and the verdict: {lines:?}");
        assert_eq!(lines[0]["fault"]["code"], "LEDGER-022");
        assert!(lines[0]["fault"]["where"].as_str().unwrap().starts_with("segments/00000001.r2.parquet"));
        assert_eq!(lines[1]["verdict"], "failed");
    }
    let said = run(&programs()[0], &["--key", store.vkey.trim(), "--format", "human", &dir]);
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(text.starts_with("LEDGER-022 segments/00000001.r2.parquet bytes ") && text.contains("; records 1-0…"), "{text}");
    assert_eq!(text.lines().last(), Some("failed: 1 faults"), "{text}");
}

/// A log with more than one full tile, so that upper levels and the right edge are judged: every file of it is missed and every flip seen.
#[test]
fn tiles_above_the_first_level_are_judged() {
    use reeve_ledger::{Ledger, NewRecord, Options};
    use reeve_record::Transport;
    let dir = support::scratch();
    // Without key epochs: their entries would come between, and each batch is one place here.
    let ledger = Ledger::open(dir.path(), Options { epoch: None, ..Options::new(support::ORIGIN) }).unwrap();
    for n in 0..258 {
        ledger.append(vec![NewRecord::new("file/a", Transport::File, format!("record {n}"))]).unwrap();
        ledger.seal_now().unwrap();
    }
    drop(ledger);
    let mut python = support::Python::start();
    let mut judge = |dir: &Path| {
        let report = reeve_verify::verify(&reeve_verify::Folder::new(dir), &reeve_verify::Trust::default());
        let ledger = reeve_ledger::verify(dir, &reeve_ledger::VerifyOptions::default(), &mut |_| {}).unwrap();
        assert_eq!(report.faults.is_empty(), ledger.is_intact(), "{:?} {:?}", report.faults, ledger.faults);
        if let Some(python) = &mut python {
            let answer = python.ask(&serde_json::json!({ "dir": dir }));
            assert_eq!(
                answer["verdict"],
                if report.faults.is_empty() { "intact" } else { "failed" },
                "{answer} {:?}",
                report.faults
            );
        }
        report
    };
    let report = judge(dir.path());
    assert_eq!((report.faults, report.entries, report.records), (Vec::new(), 258, 258));
    for name in ["log/tile/0/000", "log/tile/0/001.p/2", "log/tile/1/000.p/1", "log/tile/entries/000", "log/tile/entries/001.p/2"]
    {
        let path = dir.path().join(name);
        let sealed = fs::read(&path).unwrap();
        let mut flipped = sealed.clone();
        flipped[sealed.len() / 2] ^= 16;
        fs::write(&path, flipped).unwrap();
        assert!(judge(dir.path()).faults.iter().any(|fault| fault.place == name), "{name} flipped");
        fs::remove_file(&path).unwrap();
        assert!(judge(dir.path()).faults.iter().any(|fault| fault.place == name && fault.what == "it is missing"), "{name} gone");
        fs::write(&path, sealed).unwrap();
    }
}
