//! A record: raw bytes as received, with their receipt, the canonical leaf that stands for them, and time with error bars.
//!
//! Format: `docs/spec/record.md`. This crate does no I/O and never looks inside a record's bytes.
mod id;
mod time;

pub use id::{ParseIdError, RecordId};
pub use time::{Certainty, EventTime};
