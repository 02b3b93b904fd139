//! Any text as a search bar query: read, or refused with an offset inside it. Never a panic, never a hang.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = reeve_lake::language::parse(text) {
        let offset = error.offset().expect("an offset");
        assert!(offset <= text.len().max(reeve_lake::language::MAX_BYTES), "{offset} in {}", text.len());
    }
});
