//! Sigma 2.1 as rule authors write it: rules, correlations and filters, read from YAML into compiled conditions.
//!
//! Source of the standard: the Sigma specification, version 2.1.0.
pub(crate) mod condition;
pub(crate) mod correlation;
pub(crate) mod item;
pub(crate) mod pattern;
pub(crate) mod rule;
