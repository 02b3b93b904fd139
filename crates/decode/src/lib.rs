//! Bytes to the source's own fields, with problems beside them. Any bytes at all give a result.
//!
//! [`read_path`] and [`read`] take files apart: containers, then raw records, then events. [`Decoder`] reads the raw records of one
//! stream, wherever they come from. Content decides the decoder, never a name. This crate knows neither OCSF nor storage.
mod android; // logcat and tombstones
mod apple; // JSON of Apple's systems and of endpoint agents
mod apple_text; // lines of macOS and iOS
mod application; // lines that applications write in a form of their own
mod artefact; // files that are known and no logs
mod asl; // stores of the Apple System Log
mod auditd; // Linux audit records, joined into events
mod aws_text; // load balancers, VPC flows and S3 accesses of AWS
mod bsm; // audit trails of macOS and FreeBSD
mod bytes; // numbers out of binary records
mod carrier; // what shippers wrap
mod cef; // ArcSight's Common Event Format
mod cloud; // audit logs of clouds and services
mod container; // gzip, zstd, zip and tar, nested and bounded
mod decoder; // one stream of raw records to events
mod delimited; // comma separated values under a header line
mod evtx; // Windows event log chunks
mod exported; // Windows events that a converter made of XML
mod family; // which JSON family an object belongs to, and what follows from it
pub mod flows; // exporters of flows by their datagrams
mod fluent; // events of Fluent Forward
mod form; // lines told by their own form, alone or in a syslog message
mod fsevents; // changes to files as macOS notes them
mod haproxy; // HAProxy's own formats
mod host_text; // lines of containers, shells and programs on servers
mod journald; // the journal's export format
pub mod json; // the JSON scanner
mod kinds; // the list of decoders for people
mod kv; // lines of key=value pairs
mod leef; // QRadar's Log Event Extended Format
mod lines; // lines of text that go on over several records
pub mod msgpack; // MessagePack values
mod netflow; // NetFlow version 5 and 9, IPFIX
mod octets; // numbers off the front of bytes
mod otlp; // OpenTelemetry log records
mod packet; // heads of sampled packets
mod parsed;
mod programs; // what well-known programs write into a syslog message
pub mod protobuf; // fields of protobuf messages
mod read; // files and folders
mod rowtime; // the time of a row by the names of its columns
mod sequence; // what the numbers on datagrams say is missing
mod services; // logs of security and office services
mod sflow; // sFlow version 5
mod split; // a byte stream to raw records
mod syslog; // RFC 3164, RFC 5424 and the formats of log files
mod text; // bytes to text: encodings, NULs, invalid UTF-8
pub mod time; // times as sources write them
mod tracev3; // Apple's unified log
mod utmp; // login records of Linux
pub mod value;
mod w3c; // logs with #Fields: IIS, CloudFront, firewalls, proxies
mod web; // access and error logs of web servers
mod winxml; // Windows events as XML
mod zeek; // Zeek's tab-separated logs

pub use decoder::{DECODERS, Decoder, Hint};
pub use kinds::kinds;
pub use parsed::{Head, Parsed, Problem};
pub use read::{Limits, RawRecord, Sink, files, read, read_path};
pub use split::Splitter;
pub use value::{Map, Value};
