//! EVTX chunks with anything behind their magic.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut chunk = b"ElfChnk\0".to_vec();
    chunk.extend_from_slice(data);
    let hint = reeve_decode::Hint { recover_deleted: true, ..Default::default() };
    reeve_decode::Decoder::new(hint).feed(1, 1, &chunk, jiff::Timestamp::UNIX_EPOCH, &mut |_| {});
});
