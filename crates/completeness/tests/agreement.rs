//! The reader in Python, written from the specification alone, comes to the same verdict on the example and on texts that were altered and signed again.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test stops where it is wrong, and says what it passes over")]
use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use reeve_completeness::{Head, Receipt, check_statement};
use reeve_ledger::NoteKey;
use serde_json::{Value, json};

const SPEC: &str = include_str!("../../../docs/spec/receipt.md");

/// The interpreter that has what receipt.py needs; says so where there is none, and fails where tools are required.
fn python() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/witness/venv/bin/python");
    let candidates = [std::env::var_os("REEVE_PYTHON").map(PathBuf::from), Some(own), Some("python3".into())];
    let probe = |python: &PathBuf| Command::new(python).args(["-c", "import cryptography"]).stderr(Stdio::null()).status();
    let found = candidates.into_iter().flatten().find(|python| probe(python).is_ok_and(|status| status.success()));
    if found.is_none() {
        let required = std::env::var("REEVE_REQUIRE_TOOLS").is_ok_and(|value| value == "1");
        assert!(!required, "no Python with cryptography: run witness/install.sh");
        eprintln!("skipped: no Python with cryptography (witness/install.sh makes one)");
    }
    found
}

/// The text that is signed in the example after a line.
fn signed(after: &str) -> String {
    let rest = SPEC.split_once(&format!("\n{after}\n\n")).unwrap().1;
    let lines = rest.split('\n').take_while(|line| line.starts_with("    "));
    lines.map(|line| format!("{}\n", line.trim_start())).collect()
}

/// One edit of a text, chosen by a number.
fn edited(text: &str, seed: u64) -> String {
    let mut state = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let mut pick = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    let mut characters: Vec<char> = text.chars().collect();
    let at = pick(characters.len());
    let other = ['0', '1', '9', ' ', '\n', '-', '+', 'Z', '=', 'A', ':', '.', 'é'][pick(13)];
    match pick(4) {
        0 => characters[at] = other,
        1 => characters.insert(at, other),
        2 => _ = characters.remove(at),
        _ => {
            // A digit that is another digit keeps the form and changes what is said.
            let digits: Vec<usize> = (0..characters.len()).filter(|at| characters[*at].is_ascii_digit()).collect();
            characters[digits[pick(digits.len())]] = char::from(b'0' + pick(10) as u8);
        }
    }
    let mut text: String = characters.into_iter().collect();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

#[test]
fn both_readers_agree() {
    let Some(python) = python() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../witness/receipt.py");
    let mut child = Command::new(python).arg(script).arg("--batch").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut ask = |note: &str, key: &NoteKey| {
        writeln!(input, "{}", json!({ "note": note, "key": key.verifier().to_string() })).unwrap();
        let mut answer = String::new();
        output.read_line(&mut answer).unwrap();
        serde_json::from_str::<Value>(&answer).unwrap()["verdict"] == "holds"
    };
    let source = NoteKey::new("edge/web1", &[0x31; 32]).unwrap();
    let ledger = NoteKey::new("reeve.example/record", &[7; 32]).unwrap();
    let ours = |note: &str, key: &NoteKey| {
        let key = key.verifier();
        Head::open(note, key).is_ok() || Receipt::open(note, key).is_ok() || check_statement(note, key).is_ok()
    };
    let statement = signed("A statement about that hour:");
    assert!(ask(&ledger.sign(&statement), &ledger) && ours(&ledger.sign(&statement), &ledger));
    for (from, to) in
        [("\"missing\":3", "\"missing\":2"), ("\"late\":0", "\"late\": 0"), ("\"late\":0,", ""), ("edge/web1\",\"g", "\",\"g")]
    {
        let note = ledger.sign(&statement.replace(from, to));
        assert_eq!(ask(&note, &ledger), ours(&note, &ledger), "{note}");
    }
    let mut held = 0;
    for (what, key) in [("Head:", &source), ("A heartbeat a minute later:", &source), ("Receipt:", &ledger)] {
        let text = signed(what);
        assert!(ask(&key.sign(&text), key) && ours(&key.sign(&text), key), "{what}");
        assert!(!ask(&text, key) && !ours(&text, key), "unsigned");
        for seed in 0..1500 {
            let note = key.sign(&edited(&text, seed));
            let (theirs, ours) = (ask(&note, key), ours(&note, key));
            assert_eq!(theirs, ours, "seed {seed}, Python {theirs}, Rust {ours}:\n{note}");
            held += usize::from(ours);
        }
    }
    assert!(held > 100, "edits that keep the form have to be among them: {held}");
    drop(input);
    assert!(child.wait().unwrap().success());
}
