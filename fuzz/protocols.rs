//! What holds for each parser of `reeve-source` whatever it is given; shared by the fuzz target and the test with the kept cases.
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use reeve_decode::msgpack::Extent;
use reeve_source::{
    chunk,
    chunks::{Chunks, Whole},
    export::Entries,
    gelf, hec, logs,
    relp::{Frame, Frames},
};

/// Reads input in steps of so many bytes.
type Read = fn(&[u8], usize);

/// Each parser by the name its cases begin with.
pub const PARSERS: [(&str, Read); 6] =
    [("relp", relp), ("forward", forward), ("gelf", gelf), ("journal", journal), ("otlp", otlp), ("hec", hec)];

const MAX: usize = 100_000;

fn relp(input: &[u8], step: usize) {
    let mut frames = Frames::new(64);
    let mut bytes = 0;
    for part in input.chunks(step.max(1)) {
        frames.buffer().extend_from_slice(part);
        while let Ok(Some(frame)) = frames.next() {
            if let Frame::Syslog { data, .. } = frame {
                assert!(data.len() <= 64);
                bytes += data.len();
            }
        }
    }
    assert!(bytes <= input.len());
}

fn forward(input: &[u8], step: usize) {
    let (mut buffer, mut extent) = (BytesMut::new(), Extent::default());
    for part in input.chunks(step.max(1)) {
        buffer.extend_from_slice(part);
        loop {
            match extent.find(&buffer, MAX) {
                Ok(Some(end)) => {
                    let message = buffer.split_to(end).freeze();
                    extent = Extent::default();
                    if let Ok(Some(chunk)) = chunk::read(&message, MAX) {
                        let bytes: usize = chunk.entries.map(|entry| entry.raw.len()).sum();
                        assert!(bytes <= MAX.max(message.len()));
                    }
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

fn gelf(input: &[u8], step: usize) {
    let (mut chunks, now) = (Chunks::default(), Instant::now());
    for datagram in [input].into_iter().chain(input.chunks(step.max(1))) {
        if let Whole::Message(whole) = chunks.take(step % 3, Bytes::copy_from_slice(datagram), now)
            && let Ok(message) = gelf::unpack(&whole, MAX)
        {
            assert!(message.len() <= MAX.max(whole.len()));
        }
    }
}

fn journal(input: &[u8], step: usize) {
    let mut entries = Entries::new(64);
    let mut bytes = 0;
    for part in input.chunks(step.max(1)) {
        entries.buffer().extend_from_slice(part);
        loop {
            match entries.next() {
                Ok(Some(entry)) => {
                    assert!((1..=64).contains(&entry.raw.len()));
                    bytes += entry.raw.len();
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
    bytes += entries.finish().map_or(0, |entry| entry.raw.len());
    assert!(bytes <= input.len());
}

fn otlp(input: &[u8], _step: usize) {
    let body = Bytes::copy_from_slice(input);
    for groups in [logs::of_protobuf(&body, 1000), logs::of_json(&body, 1000)].into_iter().flatten() {
        assert!(groups.iter().map(|group| group.records.len()).sum::<usize>() <= 1000);
        for group in groups {
            assert!(group.records.iter().all(|record| record.raw.len() <= input.len()));
            assert!(group.claims(None).is_none_or(|claims| !claims.contains('\n')));
        }
    }
}

fn hec(input: &[u8], _step: usize) {
    let body = Bytes::copy_from_slice(input);
    match hec::events(&body, 1000) {
        Ok(events) => assert!(events.iter().all(|event| event.raw.starts_with(b"{") && event.raw.ends_with(b"}"))),
        Err(fault) => assert!((400..500).contains(&fault.status)),
    }
}
