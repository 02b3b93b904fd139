//! Input that lies, for each parser that reads what came over a network: read or refused within its bounds, however it is cut into reads.
//! The fuzz target `source_protocols` does the same with made-up input.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops where it is wrong, and says what it passes over"
)]
use std::{fs, path::PathBuf, time::Instant};

#[path = "../../../fuzz/protocols.rs"]
mod protocols;

#[test]
fn every_case_is_read_or_refused() {
    let folder = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../cases/source/hostile");
    let mut cases = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let (parser, bytes) = (name.split('-').next().unwrap(), fs::read(&path).unwrap());
        let known = protocols::PARSERS.iter().find(|(known, _)| *known == parser);
        let (_, read) = known.unwrap_or_else(|| panic!("no parser for {name}"));
        let begun = Instant::now();
        for step in [1, 7, 4096] {
            read(&bytes, step);
        }
        assert!(begun.elapsed().as_secs() < 5, "{name} took {:?}", begun.elapsed());
        cases += 1;
    }
    assert!(cases >= 20, "{cases}");
}
