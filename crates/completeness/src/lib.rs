//! What each source sent, and what is missing: numbered deliveries and their receipts, gaps, the signed statement of completeness.
//!
//! Format: `docs/spec/receipt.md`. All state is a projection of records in the ledger. Invariant: nothing is counted as received that is not durable,
//! and nothing that a source signed is dropped without its duplicate being there.
mod delivery; // what a source signs
mod error;
mod law; // which numbers are there, and what a delivery is to them
mod notice; // what Reeve notices about a source
mod numbered; // deliveries in, receipts out
mod receipt; // what Reeve signs
mod scan; // the ledger, read from end to end
mod send; // the other end: signed, kept, sent until receipted
mod spelling; // one spelling of numbers, hashes and times
mod statement; // what is there and what is not
mod survey; // how a statement is made

pub use delivery::{BODY_MAX, COUNT_MAX, Head, HeadError};
pub use error::Error;
pub use notice::Notice;
pub use numbered::{Append, Numbered, NumberedOptions, Outcome, SourceKey};
pub use receipt::{Receipt, ReceiptFault};
pub use send::{Place, SendError, Sender, SenderOptions, Sent, SpoolError};
pub use statement::{Down, LedgerLine, ListenerLine, Missing, ServerLine, SourceLine, Span, Statement, Under, check_statement};
pub use survey::{Query, Reading, survey};

/// Sources under which Reeve keeps what it notes about deliveries. Nobody outside can write records of transport `internal`.
pub(crate) const HEADS: &str = "reeve/delivery/";
/// Notices.
pub(crate) const NOTICES: &str = "reeve/notice/";
/// Records of deliveries that contradict what is there.
pub(crate) const CONTRADICTIONS: &str = "reeve/contradiction/";
