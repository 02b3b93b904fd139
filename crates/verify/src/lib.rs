//! The stand-alone verifier: a second reading of `docs/spec/`, sharing no code with what writes ledgers.
//!
//! Two questions: is a ledger folder as it was sealed ([`verify`]), and is this the record that proof speaks of ([`verify_proof`]).
//! Files come through [`Files`], so the same code runs on a folder, in memory and in a browser. Invariants: no network, no unsafe code,
//! nothing is written, any bytes at all give a verdict and never a panic.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = std::env::temp_dir().join(format!("reeve-verify-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir)?;
//! let report = reeve_verify::verify(&reeve_verify::Folder::new(&dir), &reeve_verify::Trust::default());
//! assert_eq!(report.faults[0].code, "LEDGER-028"); // an empty folder has no key
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok(())
//! # }
//! ```
mod beside; // what witnesses and time-stamping authorities said
mod bytes; // fields taken off the front
mod disposal; // content that was taken out, and holds
mod epoch; // key epochs and forks
mod files; // where bytes come from
mod ledger; // a folder as a whole
mod log; // checkpoint, tiles, statements
mod note; // signed notes, keys, checkpoints
mod parquet; // the little of Parquet that segment files use
mod policy; // who must have cosigned
mod proof; // of one record
mod record; // leaf, salt, commitment
mod request; // one question as JSON, one answer
mod segment; // one sealed segment
mod stamp; // RFC 3161
mod statement;
mod text; // the one spelling of numbers, hashes, times
mod thrift; // the encoding of Parquet's metadata
mod tree; // RFC 6962
mod wal; // what is not sealed yet

pub use files::{Files, Folder};
pub use ledger::{Fault, RecordRange, Report, Trust, verify};
pub use note::{Checkpoint, VerifierKey};
pub use policy::Policy;
pub use proof::{Proven, verify_proof};
pub use request::{Question, answer};
pub use text::base64;

/// SHA-256.
pub type Hash = [u8; 32];
