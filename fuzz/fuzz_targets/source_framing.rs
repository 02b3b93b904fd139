//! Any stream, split into any reads, gives the same messages, none empty and none over the bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_source::framing::{Framer, Message};

fn messages<'a>(reads: impl Iterator<Item = &'a [u8]>) -> Vec<Message> {
    let mut framer = Framer::new(48);
    let mut out = Vec::new();
    for read in reads {
        framer.buffer().extend_from_slice(read);
        while let Some(message) = framer.next() {
            out.push(message);
        }
    }
    out.extend(framer.finish());
    out
}

fuzz_target!(|input: (u8, &[u8])| {
    let (step, stream) = input;
    let whole = messages(std::iter::once(stream));
    assert_eq!(whole, messages(stream.chunks(usize::from(step) + 1)));
    assert!(whole.iter().all(|message| (1..=48).contains(&message.bytes.len())));
});
