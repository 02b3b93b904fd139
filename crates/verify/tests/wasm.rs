//! The verifier as WebAssembly, run the way a browser runs it: no files, no network, one question and one answer.
//!
//! Needs the target (`rustup target add wasm32-wasip1 wasm32-unknown-unknown`) and Node. Without them the test says that it was skipped.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]
mod support;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use support::Store;

/// Whether a tool is there; says so where it is not.
fn have(what: &str, try_it: &mut Command) -> bool {
    let there = try_it.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !there {
        assert!(!std::env::var("REEVE_REQUIRE_TOOLS").is_ok_and(|value| value == "1"), "{what} is required and not there");
        eprintln!("skipped: no {what}");
    }
    there
}

fn has_target(name: &str) -> bool {
    let list = Command::new("rustc").args(["--print", "target-libdir", "--target", name]).output().unwrap();
    PathBuf::from(String::from_utf8(list.stdout).unwrap().trim()).exists()
        || Command::new("rustup").args(["target", "add", name]).status().is_ok_and(|status| status.success())
        || {
            // Part of the toolchain and no tool of its own: where it cannot be fetched, that says nothing about the verifier.
            eprintln!("skipped: no {name}, and rustup cannot add it");
            false
        }
}

fn build(target: &str, what: &[&str]) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("wasm");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "-p", "reeve-verify", "--locked", "--quiet", "--target", target]).args(what);
    let built = cargo.env("CARGO_TARGET_DIR", &folder).env_remove("RUSTFLAGS").output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    folder.join(target).join("debug")
}

#[test]
fn a_browser_would_hear_the_same_verdicts() {
    if !have("Node", Command::new("node").arg("--version")) || !has_target("wasm32-wasip1") {
        return;
    }
    let module = build("wasm32-wasip1", &["--bin", "reeve-verify"]).join("reeve-verify.wasm");
    let store = Store::make();
    let mut questions = Vec::new();
    for (n, (proof, raw)) in store.proofs.iter().enumerate() {
        let right = json!({ "proof": proof, "raw": STANDARD.encode(raw), "key": store.vkey });
        questions.push((right.clone(), "intact"));
        let mut wrong = right.clone();
        wrong["raw"] = json!(STANDARD.encode(b"something else"));
        questions.push((wrong, "failed"));
        let mut altered = right.clone();
        altered["proof"] = json!(proof.replacen(&format!("index {}", n.min(1)), "index 7", 1).replacen("index 0", "index 7", 1));
        altered["proof"] = json!(altered["proof"].as_str().unwrap().replacen("time 2", "time 3", 1));
        questions.push((altered, "failed"));
        let mut none = right;
        none["key"] = json!("rubbish");
        questions.push((none, "unusable"));
    }
    let scratch = tempfile::tempdir().unwrap();
    let asked: Vec<&Value> = questions.iter().map(|(question, _)| question).collect();
    fs::write(scratch.path().join("questions.json"), json!(asked).to_string()).unwrap();
    let shim = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("wasm/verify.mjs");
    let script = format!(
        "import fs from 'node:fs'; import {{ verify }} from {};
         const module = await WebAssembly.compile(fs.readFileSync({}));
         const asked = JSON.parse(fs.readFileSync({}));
         console.log(JSON.stringify(asked.map((question) => verify(module, question))));",
        json!(shim),
        json!(module),
        json!(scratch.path().join("questions.json"))
    );
    fs::write(scratch.path().join("ask.mjs"), script).unwrap();
    let said = Command::new("node").arg(scratch.path().join("ask.mjs")).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let answers: Vec<Value> = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(answers.len(), questions.len());
    for ((question, verdict), answer) in questions.iter().zip(&answers) {
        assert_eq!(answer["verdict"], *verdict, "{answer}");
        assert_eq!(*answer, reeve_verify::answer(&question.to_string()), "the same as on this machine");
    }
}

/// Whoever brings their own files, as an object store or a browser's, builds the library for no system at all.
#[test]
fn the_library_needs_no_operating_system() {
    if has_target("wasm32-unknown-unknown") {
        build("wasm32-unknown-unknown", &["--lib"]);
    }
}
