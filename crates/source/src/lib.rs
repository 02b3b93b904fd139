//! Receives bytes from other machines and files, and answers only for what is kept.
//!
//! Every listener cuts what it receives into raw records, hands them as a batch to a [`Keeper`] and answers its client once the
//! keeper says they are durable. This crate never looks inside a record's bytes further than it must to find where one ends, and
//! knows nothing of how they are stored. Reference: `docs/reference/configuration.md`.
mod arrival; // one raw record on its way in, and the keeper that makes it durable
pub mod bulk; // Elastic bulk bodies: actions and documents in, per-item answers out
mod count; // what was received, refused and dropped, by source
mod elastic; // the Elastic handshakes around `_bulk`
pub mod framing; // where one syslog message ends and the next begins on a stream
mod gate; // how many connections, by peer and in all, and for how long they may be silent
mod http; // bodies, limits, tokens and answers the HTTP listeners share
mod ingest; // POST /ingest/{source}: NDJSON, JSON arrays, text lines, signed deliveries
pub mod lines; // NDJSON, JSON arrays and text cut into records
mod syslog; // UDP and TCP syslog
mod token; // who may write
mod watch; // a folder whose files appear, grow and rotate

pub use arrival::{Arrival, Delivered, Deliveries, Delivering, DeliveryError, Intake, KeepError, Keeper, Kept};
pub use count::{Counters, ListenerCount, Snapshot, SourceCount};
pub use elastic::Elastic;
pub use http::{HttpLimits, Running, serve_http};
pub use syslog::{StreamLimits, serve_tcp, serve_udp};
pub use token::Tokens;
pub use watch::{Splitter, WatchOptions, Watcher};

/// What may go wrong when a listener is opened or a watched folder read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {protocol} `{address}` for {listener}: {cause}; choose another address or stop what holds it")]
    Bind {
        /// The listener's name in the configuration.
        listener: String,
        /// `udp` or `tcp`.
        protocol: &'static str,
        /// As configured.
        address: std::net::SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The watched folder or the note of how far it was read cannot be used.
    #[error("watched folder: cannot use `{path}`: {cause}")]
    Watch {
        /// The path.
        path: std::path::PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The note of how far the watched folder was read is not readable.
    #[error("watched folder: `{path}` is damaged ({detail}); move it away to read the folder again from the start")]
    Position {
        /// The file.
        path: std::path::PathBuf,
        /// What was found.
        detail: String,
    },
}
