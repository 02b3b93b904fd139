//! Containers, splitter and decoders over any stream.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let limits = reeve_decode::Limits { record_bytes_max: 1 << 16, expand_bytes_max: 1 << 22, nesting_max: 3, ..Default::default() };
    struct Nothing;
    impl reeve_decode::Sink for Nothing {}
    reeve_decode::read(Box::new(data), "fuzz", &limits, &mut Nothing);
});
