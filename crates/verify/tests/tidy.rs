//! What keeps the verifiers small enough to be read by whoever has to trust them.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::{fs, path::Path};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Lines that are neither empty nor a comment; of Rust, up to the tests at the end of the file.
fn code_lines(text: &str, comment: &str) -> usize {
    let code = text.split("\n#[cfg(test)]\n").next().unwrap();
    code.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(comment)).count()
}

/// Short enough to be read in an afternoon; it is to get smaller, not larger.
#[test]
fn the_verifier_stays_small() {
    let files = fs::read_dir(root().join("src")).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let lines: usize = files.map(|path| code_lines(&fs::read_to_string(path).unwrap(), "//")).sum();
    eprintln!("reeve-verify: {lines} lines");
    assert!((1000..=2500).contains(&lines), "{lines} lines");
}

#[test]
fn the_python_verifier_has_at_most_400_lines() {
    let text = fs::read_to_string(root().join("../../witness/verify.py")).unwrap();
    let lines = code_lines(&text, "#");
    eprintln!("witness/verify.py: {lines} lines");
    assert!((200..=400).contains(&lines), "{lines} lines");
}

/// Few, none of ours, and none that speaks to a network.
#[test]
fn the_verifier_has_at_most_10_dependencies() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let names: Vec<&str> =
        section.lines().filter_map(|line| line.split(['.', ' ']).next()).filter(|name| !name.is_empty()).collect();
    eprintln!("{names:?}");
    assert!((3..=10).contains(&names.len()), "{names:?}");
    assert!(
        !names.iter().any(|name| name.starts_with("reeve-") || ["arrow", "parquet", "tokio", "ureq"].contains(name)),
        "{names:?}"
    );
    let lints = manifest.split("\n[lints]\n").nth(1).unwrap();
    assert!(lints.starts_with("workspace = true"), "the workspace forbids unsafe code");
    let sources = fs::read_dir(root().join("src")).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    for source in sources {
        assert!(!source.contains("std::net") && !source.contains("allow(unsafe"), "no network, no unsafe code");
    }
}
