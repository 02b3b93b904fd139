//! Leaves: any bytes are refused or are the one encoding of what was read.
#![no_main]
use libfuzzer_sys::fuzz_target;
use reeve_record::Leaf;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(leaf) = Leaf::decode(bytes) {
        assert_eq!(leaf.encode(), bytes);
    }
});
