//! One decoder over any lines: syslog, audit, Zeek, web, journal, JSON.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut decoder = reeve_decode::Decoder::new(reeve_decode::Hint::default());
    for record in data.split(|byte| *byte == 0x0A) {
        decoder.feed(1, 1, record, jiff::Timestamp::UNIX_EPOCH, &mut |parsed| assert!(!parsed.records.is_empty()));
    }
    decoder.flush(&mut |_| {});
});
