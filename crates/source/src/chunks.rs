//! GELF chunks put together again, within bounds whatever is sent.
//!
//! A chunk is `1e 0f`, an id of 8 bytes, its number from 0, how many there are, and its part of the message.
use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

/// Messages of which chunks are still to come, by sender and id. A sender that leaves many unfinished uses up its own share.
#[derive(Debug)]
pub struct Chunks<P> {
    open: HashMap<(P, [u8; 8]), Parts>,
    /// Ids in the order they were begun, with when; some may be gone.
    begun: VecDeque<(Instant, (P, [u8; 8]))>,
    /// How many messages and bytes of a sender are open.
    shares: HashMap<P, (usize, usize)>,
    /// Bytes of memory that are open in all.
    bytes: usize,
}

#[derive(Debug)]
struct Parts {
    parts: Vec<Option<Bytes>>,
    missing: usize,
    /// Of the parts that have come, and the places of all.
    bytes: usize,
    since: Instant,
}

/// What a datagram comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whole {
    /// A message, put together if it came in chunks.
    Message(Bytes),
    /// A chunk; others are still to come.
    NotYet,
    /// Not taken, with the reason it is counted under.
    Refused(&'static str),
}

impl<P> Default for Chunks<P> {
    fn default() -> Self {
        Self { open: HashMap::new(), begun: VecDeque::new(), shares: HashMap::new(), bytes: 0 }
    }
}

impl<P: Copy + Eq + Hash> Chunks<P> {
    /// Takes a datagram of a sender.
    pub fn take(&mut self, peer: P, datagram: Bytes, now: Instant) -> Whole {
        let [0x1e, 0x0f, ..] = datagram[..] else { return Whole::Message(datagram) };
        let Some((head, part)) = datagram.split_at_checked(HEAD_BYTES) else { return Whole::Refused("chunk_malformed") };
        let (number, count) = (usize::from(head[10]), usize::from(head[11]));
        if count == 0 || count > CHUNKS_MAX || number >= count || part.is_empty() {
            return Whole::Refused("chunk_malformed");
        }
        let mut id = [0; 8];
        id.copy_from_slice(&head[2..10]);
        let part = datagram.slice(HEAD_BYTES..);
        if count == 1 {
            return Whole::Message(part);
        }
        let key = (peer, id);
        if !self.open.contains_key(&key) {
            if let Some(reason) = self.lacks_room(peer, part.len() + count * PLACE_BYTES) {
                return Whole::Refused(reason);
            }
            self.begin(key, count, now);
        }
        self.add(key, number, count, part)
    }

    /// Forgets messages that were begun too long ago; how many of which sender.
    pub fn expire(&mut self, now: Instant) -> Vec<(P, u64)> {
        let mut gone: HashMap<P, u64> = HashMap::new();
        while let Some((since, key)) = self.begun.front().copied() {
            if now.saturating_duration_since(since) < PATIENCE {
                break;
            }
            self.begun.pop_front();
            // The id may have been finished and used again since.
            if self.open.get(&key).is_some_and(|parts| parts.since == since) {
                self.forget(&key);
                *gone.entry(key.0).or_default() += 1;
            }
        }
        gone.into_iter().collect()
    }

    fn lacks_room(&self, peer: P, bytes: usize) -> Option<&'static str> {
        let (messages, of_peer) = self.shares.get(&peer).copied().unwrap_or_default();
        if messages >= MESSAGES_PER_PEER_MAX || of_peer + bytes > BYTES_PER_PEER_MAX {
            return Some("chunks_too_many_of_peer");
        }
        (self.open.len() >= MESSAGES_MAX || self.bytes + bytes > BYTES_MAX).then_some("chunks_too_many")
    }

    fn begin(&mut self, key: (P, [u8; 8]), count: usize, now: Instant) {
        if self.begun.len() >= 2 * MESSAGES_MAX {
            // Most are whole by now: at least half go, so that this is seldom done.
            self.begun.retain(|(since, key)| self.open.get(key).is_some_and(|parts| parts.since == *since));
        }
        let bytes = count * PLACE_BYTES;
        self.open.insert(key, Parts { parts: vec![None; count], missing: count, bytes, since: now });
        self.begun.push_back((now, key));
        let share = self.shares.entry(key.0).or_default();
        *share = (share.0 + 1, share.1 + bytes);
        self.bytes += bytes;
    }

    fn add(&mut self, key: (P, [u8; 8]), number: usize, count: usize, part: Bytes) -> Whole {
        let share = self.shares.entry(key.0).or_default();
        let Some(parts) = self.open.get_mut(&key) else { return Whole::NotYet };
        if parts.parts.len() != count {
            return Whole::Refused("chunk_contradicts");
        }
        let Some(place) = parts.parts.get_mut(number).filter(|place| place.is_none()) else {
            return Whole::Refused("chunk_twice");
        };
        if share.1 + part.len() > BYTES_PER_PEER_MAX || self.bytes + part.len() > BYTES_MAX {
            self.forget(&key);
            return Whole::Refused("chunks_too_many_of_peer");
        }
        share.1 += part.len();
        self.bytes += part.len();
        parts.bytes += part.len();
        parts.missing -= 1;
        *place = Some(part);
        if parts.missing > 0 {
            return Whole::NotYet;
        }
        let mut whole = BytesMut::with_capacity(parts.bytes);
        parts.parts.iter().flatten().for_each(|part| whole.extend_from_slice(part));
        self.forget(&key);
        Whole::Message(whole.freeze())
    }

    fn forget(&mut self, key: &(P, [u8; 8])) {
        let Some(parts) = self.open.remove(key) else { return };
        self.bytes -= parts.bytes;
        if let Some(share) = self.shares.get_mut(&key.0) {
            share.0 -= 1;
            share.1 -= parts.bytes;
            if *share == (0, 0) {
                self.shares.remove(&key.0);
            }
        }
    }
}

const HEAD_BYTES: usize = 12;
/// As the format has it.
const CHUNKS_MAX: usize = 128;
/// As the format has it: what is not whole by then will not be.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the place of a part takes, whether it has come or not.
const PLACE_BYTES: usize = size_of::<Option<Bytes>>();
const MESSAGES_MAX: usize = 32_768;
const MESSAGES_PER_PEER_MAX: usize = 1024;
const BYTES_MAX: usize = 64 << 20;
const BYTES_PER_PEER_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk(id: u8, number: u8, count: u8, part: &[u8]) -> Bytes {
        [&[0x1e, 0x0f, id, 0, 0, 0, 0, 0, 0, 0, number, count][..], part].concat().into()
    }

    #[test]
    fn chunks_of_two_senders_under_one_id_stay_apart() {
        let (mut chunks, now) = (Chunks::default(), Instant::now());
        assert_eq!(chunks.take(1, chunk(9, 1, 2, b"b"), now), Whole::NotYet);
        assert_eq!(chunks.take(2, chunk(9, 0, 2, b"x"), now), Whole::NotYet);
        assert_eq!(chunks.take(1, chunk(9, 0, 2, b"a"), now), Whole::Message(Bytes::from_static(b"ab")));
        assert_eq!(chunks.take(2, chunk(9, 1, 2, b"y"), now), Whole::Message(Bytes::from_static(b"xy")));
        assert_eq!(chunks.take(1, Bytes::from_static(b"{}"), now), Whole::Message(Bytes::from_static(b"{}")));
        assert_eq!((chunks.open.len(), chunks.bytes, chunks.shares.len()), (0, 0, 0));
    }

    #[test]
    fn broken_chunks_are_named() {
        let (mut chunks, now) = (Chunks::default(), Instant::now());
        for (datagram, reason) in [
            (Bytes::from_static(b"\x1e\x0f123"), "chunk_malformed"),
            (chunk(1, 0, 0, b"x"), "chunk_malformed"),
            (chunk(1, 2, 2, b"x"), "chunk_malformed"),
            (chunk(1, 0, 129, b"x"), "chunk_malformed"),
            (chunk(1, 0, 2, b""), "chunk_malformed"),
        ] {
            assert_eq!(chunks.take(1, datagram, now), Whole::Refused(reason));
        }
        assert_eq!(chunks.take(1, chunk(1, 0, 3, b"x"), now), Whole::NotYet);
        assert_eq!(chunks.take(1, chunk(1, 0, 3, b"x"), now), Whole::Refused("chunk_twice"));
        assert_eq!(chunks.take(1, chunk(1, 1, 4, b"x"), now), Whole::Refused("chunk_contradicts"));
    }

    #[test]
    fn what_never_comes_is_forgotten_and_counted_and_its_sender_alone_is_bounded() {
        let (mut chunks, start) = (Chunks::default(), Instant::now());
        let mut refused = 0;
        for nth in 0..2000_u16 {
            let mut datagram = chunk(0, 0, 2, &[0; 100]).to_vec();
            datagram[4..6].copy_from_slice(&nth.to_be_bytes());
            refused += u32::from(chunks.take(1, datagram.into(), start) != Whole::NotYet);
        }
        assert_eq!(refused, 2000 - MESSAGES_PER_PEER_MAX as u32);
        assert_eq!(chunks.take(2, chunk(1, 0, 2, b"a"), start + PATIENCE / 2), Whole::NotYet);
        assert_eq!(chunks.expire(start + PATIENCE), [(1, MESSAGES_PER_PEER_MAX as u64)]);
        assert_eq!(chunks.take(2, chunk(1, 1, 2, b"b"), start + PATIENCE), Whole::Message(Bytes::from_static(b"ab")));
        assert_eq!((chunks.expire(start + 2 * PATIENCE).len(), chunks.bytes, chunks.shares.len()), (0, 0, 0));
    }

    #[test]
    fn a_byte_of_many_parts_counts_with_its_places_and_finished_messages_do_not() {
        let (mut chunks, now) = (Chunks::default(), Instant::now());
        let mut taken = 0_usize;
        for sender in 0..17_000_u32 {
            taken += usize::from(chunks.take(sender, chunk(1, 0, 128, b"x"), now) == Whole::NotYet);
        }
        assert!(taken > 10_000 && taken * 128 * PLACE_BYTES <= BYTES_MAX && chunks.bytes <= BYTES_MAX, "{taken}");
        let mut chunks = Chunks::default();
        for sender in 0..2 * MESSAGES_MAX + 100 {
            assert_eq!(chunks.take(sender, chunk(1, 0, 2, b"a"), now), Whole::NotYet);
            assert!(matches!(chunks.take(sender, chunk(1, 1, 2, b"b"), now), Whole::Message(_)));
        }
        assert!(chunks.begun.len() <= 2 * MESSAGES_MAX && chunks.bytes == 0, "{}", chunks.begun.len());
    }

    proptest! {
        #[test]
        fn chunks_in_any_order_give_the_message(message in proptest::collection::vec(any::<u8>(), 2..200), size in 1_usize..20, seed: u64) {
            let parts: Vec<&[u8]> = message.chunks(size.max(message.len().div_ceil(CHUNKS_MAX))).collect();
            let mut order: Vec<usize> = (0..parts.len()).collect();
            order.sort_by_key(|nth| (*nth as u64 + 1).wrapping_mul(seed | 1));
            let (mut chunks, now) = (Chunks::default(), Instant::now());
            let mut got = Vec::new();
            for nth in order {
                match chunks.take(1, chunk(7, nth as u8, parts.len() as u8, parts[nth]), now) {
                    Whole::Message(whole) => got.push(whole),
                    other => prop_assert_eq!(other, Whole::NotYet),
                }
            }
            prop_assert_eq!(got, vec![Bytes::from(message.clone())]);
            prop_assert_eq!(chunks.bytes, 0);
        }
    }
}
