//! NetFlow, IPFIX and sFlow: datagrams one after another, each behind its length in two bytes, to one decoder that learns templates.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut decoder = reeve_decode::Decoder::new(reeve_decode::Hint::of_source("netflow/192.0.2.1"));
    let mut exporter = reeve_decode::flows::Exporter::default();
    let (mut rest, mut key) = (data, 0);
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (datagram, next) = behind.split_at(behind.len().min(u16::from_be_bytes(*length).into()));
        (rest, key) = (next, key + 1);
        let mut part = 0;
        decoder.feed(key, key, datagram, jiff::Timestamp::UNIX_EPOCH, &mut |parsed| {
            assert!(parsed.records == [key] || reeve_decode::flows::Protocol::of(datagram).is_none());
            assert!(parsed.part == part || reeve_decode::flows::Protocol::of(datagram).is_none());
            part += 1;
        });
        exporter.follow(datagram, jiff::Timestamp::UNIX_EPOCH);
        exporter.missing();
        assert!(decoder.taught_by().is_none_or(|keys| keys.len() <= 64 && keys.is_sorted()));
    }
    decoder.flush(&mut |_| {});
});
