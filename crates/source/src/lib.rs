//! Receives bytes from other machines and files, and answers only for what is kept.
//!
//! Every listener cuts what it receives into raw records, hands them as a batch to a [`Keeper`] and answers its client once the
//! keeper says they are durable. This crate never looks inside a record's bytes further than it must to find where one ends, and
//! knows nothing of how they are stored. Reference: `docs/reference/configuration.md`.
mod arrival; // one raw record on its way in, and the keeper that makes it durable
pub mod bulk; // Elastic bulk bodies: actions and documents in, per-item answers out
pub mod chunk; // messages of Fluent Forward cut into events
pub mod chunks; // GELF chunks put together again
mod count; // what was received, refused and dropped, by source
mod datagram; // datagrams as fast as they come, and what the kernel dropped
mod elastic; // the Elastic handshakes around `_bulk`
pub mod export; // the export format of systemd's journal cut into entries
mod flow; // NetFlow, IPFIX and sFlow over UDP
mod forward; // Fluent Forward: handshake, chunks, acknowledgements
pub mod framing; // where one syslog message ends and the next begins on a stream
mod gate; // how many connections, by peer and in all, and for how long they may be silent
pub mod gelf; // GELF over UDP, TCP and HTTP
mod grpc; // OpenTelemetry logs over gRPC
pub mod hec; // bodies of the Splunk HTTP Event Collector
mod http; // bodies, limits, tokens and answers the HTTP listeners share
mod ingest; // POST /ingest/{source}: NDJSON, JSON arrays, text lines, signed deliveries
mod journal; // POST /upload: systemd-journal-upload
pub mod lines; // NDJSON, JSON arrays and text cut into records
pub mod logs; // requests of the OpenTelemetry logs service cut into records
mod moment; // times as envelopes write them
mod network; // addresses, and how many of their bits count
mod otlp; // OpenTelemetry logs over HTTP
mod pace; // how slowly something may come in
mod packing; // packed bytes, told by how they begin
mod registry; // the registered sources as they are kept
pub mod relp; // RELP: syslog with an answer to every message
mod sender; // the registered sources as listeners look them up
mod splunk; // the Splunk HTTP Event Collector
mod stream; // connections, plain or over TLS
mod syslog; // UDP, TCP and TLS syslog
mod tls; // certificates, and the names in those of clients
mod token; // who may write
mod watch; // a folder whose files appear, grow and rotate

pub use arrival::{Arrival, Delivered, Deliveries, Delivering, DeliveryError, Intake, KeepError, Keeper, Kept};
pub use count::{Counters, ListenerCount, ListenerLine, Snapshot, SourceCount, SourceLine};
pub use elastic::Elastic;
pub use flow::serve_flows;
pub use forward::{ForwardOptions, serve_forward};
pub use gelf::{serve_gelf_tcp, serve_gelf_udp};
pub use http::{Api, HttpLimits, Running, serve_http};
pub use network::{Network, NotANetwork};
pub use registry::{Change, RESERVED, Registered, Registry, RegistryError, State};
pub use relp::serve_relp;
pub use sender::{Sender, Senders, new_token, token_hash};
pub use stream::{Place, StreamLimits};
pub use syslog::{serve_tcp, serve_udp};
pub use tls::{Tls, TlsFiles};
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
    /// A certificate or key cannot be used.
    #[error("TLS: cannot use `{path}`: {detail}")]
    Tls {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        detail: String,
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
