//! A record: raw bytes as received, with their receipt, the canonical leaf that stands for them, and time with error bars.
//!
//! Format: `docs/spec/record.md`. This crate does no I/O and never looks inside a record's bytes.
mod id;
mod leaf;
mod receipt;
mod time;

pub use id::{ParseIdError, RecordId};
pub use leaf::{
    Hash, Leaf, LeafError, SaltSecret, Salts, certainty_code, certainty_from_code, commit, encode_into, leaf_hash, lost_leaf,
};
pub use receipt::{Grade, Receipt, Transport, UnknownTransport};
pub use time::{Certainty, EventTime};
