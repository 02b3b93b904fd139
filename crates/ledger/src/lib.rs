//! The ledger: seals records into a Merkle log that others can check. Formats: `docs/spec/record.md`, `docs/spec/log.md`, `docs/spec/wal.md`.
//!
//! A record is appended to a write-ahead log and durable when the call returns; a full or old segment is sealed into a Parquet file,
//! and its batch statement becomes an entry of the main log, under a signed checkpoint. Invariant: this crate never looks inside a record.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! use reeve_ledger::{Ledger, NewRecord, Options};
//! use reeve_record::Transport;
//!
//! let ledger = Ledger::open(dir.path(), Options::new("reeve.example/record"))?;
//! let ids = ledger.append(vec![NewRecord::new("file/auth.log", Transport::File, "session opened for ana")])?;
//! let back = ledger.get(ids[0])?.ok_or("just appended")?;
//! assert_eq!(&back.raw[..], b"session opened for ana");
//! # Ok(())
//! # }
//! ```
#![allow(clippy::single_range_in_vec_init, reason = "readers take a list of ranges, and one is a list")]
mod append; // records in, group commit
mod disk; // the seam to storage
mod disposal; // what says that content was taken out
mod dispose; // taking it out
mod entry; // what the main log holds
mod env; // the seams to time and chance
mod epoch; // signing keys that live an hour
mod error;
mod fork; // going on after a restore
mod hold; // what forbids it
mod ledger; // the handle: open, read, wait, status
mod main_log; // C2SP tlog-tiles
mod net; // the seam to the network
mod note; // signed notes and checkpoints
mod outside; // witnesses and time-stamping authorities
mod policy; // who must have cosigned
mod pressure; // a full disk
mod proof; // of one record, for anyone
mod recover; // what a crash left behind
mod retention; // what is due to go
mod seal; // full segments to Parquet, batch statements to the main log
mod segment; // the Parquet file of a sealed segment
mod statement;
mod text;
pub mod tree; // RFC 6962
pub mod verify; // the independent reader: recompute everything from stored bytes
pub mod wal;

pub use append::{MAX_RECORD, NewRecord, Ticket};
pub use disk::{Disk, DiskFile, LockFailure, RealDisk, read_all, write_durably};
pub use disposal::{DisposalAuthority, DisposalStatement, RedactedFiles, Redaction};
pub use dispose::{Disposal, EventTimes, SegmentStatus};
pub use env::{Clock, Rng, SystemClock, SystemRng};
pub use epoch::{EpochStatement, Seal};
pub use error::Error;
pub use fork::{ForkAuthority, ForkStatement};
pub use hold::{Hold, HoldScope, NewHold, Release};
pub use ledger::{CheckpointStatus, EpochStatus, Ledger, Options, Recovery, SealedSegment, Status, StoredRecord, Turns};
pub use net::{Answer, Net, RealNet, Request};
pub use note::{Attested, Checkpoint, ExternalKey, NoteKey, VerifierKey, WitnessKey, open_attested};
pub use outside::{Asked, StampStatus, WitnessStatus, stamp::TimeStamper};
pub use policy::{Policy, PolicyWitness};
pub use pressure::Priority;
pub use proof::{ProvenRecord, Trust, prove, prove_on, verify_proof};
pub use retention::{Act, Facts, FactsOf, Period, Plan, PlannedSegment, RetentionPolicy, Witnessed};
pub use statement::{FileHash, Statement};
pub use verify::{Fault, Progress, RecordRange, Report, VerifyOptions, verify};
