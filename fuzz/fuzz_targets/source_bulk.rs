//! Any bulk body is read; documents and taken items agree, and the answer lists every item.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use reeve_source::{
    bulk::{self, Outcome},
    lines,
};

fuzz_target!(|body: &[u8]| {
    let body = Bytes::copy_from_slice(body);
    let read = bulk::read(&body, Some("fuzz"), 4096);
    let taken = read.items.iter().filter(|item| item.outcome == Outcome::Document).count();
    assert_eq!(taken, read.documents.len());
    let answer = bulk::answer(&read, &[], 0);
    assert!(answer.starts_with(b"{\"errors\":"));
    let cut = lines::lines(&body, 64);
    assert!(cut.records.iter().all(|record| (1..=64).contains(&record.len())));
    let _ = lines::array(&body, 64, 1000);
});
