//! A source's own document to an OCSF 1.8 event. Mappings are data; the schema is embedded as compact tables.
//!
//! Source of the standard: OCSF schema 1.8.0. This crate knows neither storage nor network.
mod event;

pub use event::{Event, Observable};
