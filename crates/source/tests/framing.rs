//! `cases/source/framing/*.case`: reads in, messages out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops where it is wrong, and says what it passes over"
)]
use std::{
    fs,
    path::{Path, PathBuf},
};

use reeve_source::framing::Framer;

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, byte == b'\\') {
            (byte, false) => byte,
            (_, true) => match rest.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b'0') => 0,
                Some(b'x') => {
                    let digits: Vec<u8> = rest.by_ref().take(2).collect();
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other.unwrap(),
            },
        });
    }
    bytes
}

fn check(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    let max = text.lines().find_map(|line| line.strip_prefix('=')).map_or(1 << 20, |max| max.parse().unwrap());
    let want: Vec<(String, Vec<u8>)> = text
        .lines()
        .filter_map(|line| line.strip_prefix('>'))
        .map(|line| match line.strip_prefix('!').and_then(|line| line.split_once(' ')) {
            Some((problem, message)) => (problem.to_owned(), unescape(message)),
            None => (String::new(), unescape(line)),
        })
        .collect();
    let mut framer = Framer::new(max);
    let mut got = Vec::new();
    let mut take = |message: reeve_source::framing::Message| {
        got.push((message.problem.map_or("", |problem| problem.name()).to_owned(), message.bytes.to_vec()));
    };
    for read in text.lines().filter_map(|line| line.strip_prefix('<')) {
        framer.buffer().extend_from_slice(&unescape(read));
        while let Some(message) = framer.next() {
            take(message);
        }
    }
    if let Some(message) = framer.finish() {
        take(message);
    }
    assert_eq!(got, want, "{}", path.display());
}

#[test]
fn cases() {
    let folder = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../cases/source/framing");
    let mut cases: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "case"))
        .collect();
    cases.sort();
    assert!(cases.len() >= 12, "{} cases", cases.len());
    cases.iter().for_each(|path| check(path));
}
