//! The search bar's language: words, `field:value` tests, AND OR NOT, then `| commands`.
//!
//! Reference: `docs/reference/search.md`. Parsing knows neither columns nor the engine; lowering gives them meaning.
mod ast; // what a query is
mod fields; // names to columns
mod lower; // tests and commands to plans
mod parse; // text to query, with offsets in errors

pub use ast::{Aggregate, Call, Command, Named, Operator, Pattern, Piece, Query, Search, SortKey, Test};
pub(crate) use fields::Fields;
pub(crate) use lower::{Lowered, Shape, lower, lower_search, time};
pub use parse::{MAX_BYTES, parse};
