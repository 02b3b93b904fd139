//! The alert queue and the incidents somebody had reconstructed.
//!
//! A projection: alerts come from findings, their status from acts in the audit ledger. This crate knows no HTTP.
mod alert;
mod forget;
mod incident;
mod reconstruct;
mod store;

pub use alert::{Alert, AlertFilter, AlertPage, AlertStatus, Change, NewFinding, Raised};
pub use forget::Forgotten;
pub use incident::IncidentRow;
pub use reconstruct::{Seed, reconstruct_and_keep};
pub use store::Store;

/// What went wrong with the queue.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed.
    #[error("alert database `case.sqlite`: {0}")]
    Store(#[from] rusqlite::Error),
    /// There is no such alert or incident, or not for this person.
    #[error("{what} `{id}` is not found")]
    NotFound {
        /// `alert` or `incident`.
        what: &'static str,
        /// As asked for.
        id: String,
    },
    /// A stored document does not read back.
    #[error("{what} `{id}` does not read back from case.sqlite: {reason}")]
    Damaged {
        /// `alert` or `incident`.
        what: &'static str,
        /// Its id.
        id: String,
        /// What the reader said.
        reason: String,
    },
    /// Events could not be read for a reconstruction.
    #[error("the incident cannot be reconstructed: {reason}")]
    Reconstruction {
        /// What storage said.
        reason: String,
    },
    /// A status nobody knows.
    #[error("`{0}` is no alert status: use new, in_progress, resolved or suppressed")]
    Status(String),
}
