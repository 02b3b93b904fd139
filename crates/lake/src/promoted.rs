//! The OCSF attributes that have a typed column of their own.

pub use reeve_ocsf::{Column, Kind, PROMOTED};
