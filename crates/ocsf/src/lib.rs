//! A source's own document to an OCSF 1.8 event. Mappings are data (`mappings/*.toml`); the schema is embedded as compact tables.
//!
//! Source of the standard: OCSF schema 1.8.0. This crate knows neither storage nor network.
mod aliases; // one thing, many names
mod columns; // the attributes worth a column
mod error;
mod event; // the flat event
mod json; // the nested event, with metadata
mod mapping; // document to event, by data
pub mod schema; // classes, objects, attributes, enums
mod validate; // the schema as a judge

pub use aliases::{Target, aliases, all as all_aliases, names_of};
pub use columns::{Column, Kind, PROMOTED};
pub use error::Error;
pub use event::{Event, Observable};
pub use json::{Source, observable_caption, to_json};
pub use mapping::{map, problems};
pub use schema::{Class, class, classes};
pub use validate::{Violation, validate};
