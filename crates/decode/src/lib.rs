//! Bytes to the source's own fields, with problems beside them. Any bytes at all give a result.
//!
//! This crate knows neither OCSF nor storage.
mod parsed;
pub mod value;

pub use parsed::{Head, Parsed, Problem};
pub use value::{Map, Value};
