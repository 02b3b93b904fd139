//! Code we did not write is the judge: Go's `golang.org/x/mod/sumdb` checks our checkpoint, tiles and proofs.
//!
//! Needs `apt-get install golang-go golang-golang-x-mod-dev`. Without them the test says that it was skipped; with `REEVE_REQUIRE_TOOLS=1` it fails.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use reeve_ledger::{Ledger, NewRecord, Options, prove};
use reeve_record::Transport;

/// The judge, built; `None` where Go or its library is missing.
fn build(dir: &Path) -> Option<PathBuf> {
    let judge = dir.join("judge");
    let source = std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/../../cases/ledger/judge/main.go";
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&judge).arg(source);
    build.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode").env("GOCACHE", dir.join("go-cache")).env("GOFLAGS", "");
    let problem = match build.output() {
        Ok(output) if output.status.success() => return Some(judge),
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    let required = std::env::var("REEVE_REQUIRE_TOOLS").is_ok_and(|value| value == "1");
    assert!(!required, "the judge does not build: {problem}");
    assert!(problem.contains("cannot find package") || problem.contains("No such file"), "the judge does not build: {problem}");
    eprintln!("skipped: no Go with golang.org/x/mod ({})", problem.trim());
    None
}

fn ask(judge: &Path, ledger: &Path, proof: &Path, raw: &Path) -> Output {
    Command::new(judge).args([ledger, proof, raw]).output().unwrap()
}

#[test]
fn go_accepts_what_we_sign_and_refuses_what_was_altered() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(judge) = build(scratch.path()) else { return };
    let dir = scratch.path().join("ledger");
    let ledger =
        Ledger::open(&dir, Options { epoch: Some(std::time::Duration::from_secs(3600)), ..Options::new("reeve.example/record") })
            .unwrap();
    let text = |n: usize| format!("record {n} of a small test");
    // More than one full tile, so that level 1 and the right edge are judged too.
    let mut picked = None;
    for segment in 0..260 {
        let batch = (0..5).map(|n| NewRecord::new("file/a", Transport::File, text(segment * 5 + n))).collect();
        let ids = ledger.append(batch).unwrap();
        ledger.seal_now().unwrap();
        if segment == 200 {
            picked = Some((ids[3], text(segment * 5 + 3)));
        }
    }
    let (id, raw) = picked.unwrap();
    let (proof, raw_file) = (scratch.path().join("record.tlog-proof"), scratch.path().join("record.raw"));
    fs::write(&proof, prove(&dir, id).unwrap()).unwrap();
    fs::write(&raw_file, &raw).unwrap();
    let verdict = ask(&judge, &dir, &proof, &raw_file);
    let said = String::from_utf8_lossy(&verdict.stdout);
    assert!(verdict.status.success(), "{said}{}", String::from_utf8_lossy(&verdict.stderr));
    assert!(said.contains("261 entries give the signed root") && said.ends_with("accepted\n"), "{said}");

    for altered in [
        dir.join("log/checkpoint"),
        dir.join("log/tile/0/000"),
        dir.join("log/tile/entries/000"),
        proof.clone(),
        raw_file.clone(),
    ] {
        let sealed = fs::read(&altered).unwrap();
        let mut flipped = sealed.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        fs::write(&altered, flipped).unwrap();
        assert!(!ask(&judge, &dir, &proof, &raw_file).status.success(), "{} was altered and accepted", altered.display());
        fs::write(&altered, sealed).unwrap();
    }
    assert!(ask(&judge, &dir, &proof, &raw_file).status.success());
}
