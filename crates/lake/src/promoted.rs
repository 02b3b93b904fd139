//! The OCSF attributes that have a typed column of their own.

pub(crate) use reeve_ocsf::{Column, Kind, PROMOTED};
