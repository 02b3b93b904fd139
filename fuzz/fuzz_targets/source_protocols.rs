//! RELP, Fluent Forward, GELF, journal export, OTLP and HEC: any bytes, in any reads, are read or refused within bounds.
//! The first byte chooses the parser, the second how it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../protocols.rs"]
mod protocols;

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (parser, step, bytes) = input;
    let (_, read) = protocols::PARSERS[usize::from(parser) % protocols::PARSERS.len()];
    read(bytes, usize::from(step) + 1);
});
