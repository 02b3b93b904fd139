//! Stores events as open columnar tables and reads them back: hot buffer, Parquet segments, catalog, search, SQL.
//!
//! Reference: `docs/reference/search.md`. Raw bytes are not kept here: rows carry record ids, and [`RawStore`] resolves them.
//! Invariant: a query sees each event exactly once, in memory or in a file. This crate knows neither HTTP nor who is asking.
mod answer; // result rows as JSON
mod compact; // small segments into large ones
mod delta; // the table for other engines
mod distinct; // count(distinct) beside counts
mod engine; // the query engine's bounds
mod error;
mod event; // one event, events by attribute
mod fetching; // files for the query engine, from object storage
mod files; // where event files are kept
mod forget; // events whose records were taken out
mod functions; // what queries call
mod hot; // unflushed events
pub mod language; // the search bar
mod merge; // sorted segments into one
mod minutes; // counts beside each segment
mod native; // names of native fields
mod needles; // which stretches of the record cannot hold a text
mod promoted; // attributes with a column
mod raw; // raw bytes while a query runs
mod reread; // events of a stretch of the record made anew
mod rows; // decoded events to columns
mod schema; // the columns
mod search; // queries to streams
mod segment; // Parquet files
mod store; // append, flush, snapshots
mod summary; // histogram and field sidebar
mod sweep; // files that are no longer live
mod table; // the table `events`
mod texts; // words in the record
mod writer; // one segment, batch by batch

use reeve_catalog as catalog;

pub use answer::EventRow;
pub use compact::{Compacted, Compaction};
pub use delta::Published;
pub use error::Error;
pub use event::{EventDetail, EventFilter};
pub use forget::{EventFacts, Forgotten};
pub use raw::RawStore;
pub use reeve_catalog::{
    Bound, Catalog, Change, Error as CatalogError, MAX_REWRITES, MIXED, PostgresCatalog, Range, SegmentRow, Server, SqliteCatalog,
};
pub use reeve_objects::{Credentials, Error as ObjectsError, Objects, S3, Settings as ObjectSettings};
pub use reread::{Reread, Rereading};
pub use rows::{Caps, MAX_FIELDS, MAX_NATIVE_BYTES, MAX_OBSERVABLES, MAX_VALUE_BYTES, Row, Rows};
pub use schema::{RAW, promoted};
pub use search::{ColumnInfo, Cost, Cursor, Order, SearchEvent, SearchRequest, SearchStream};
pub use store::{FlushStep, Flushed, Lake, Options, Status};
pub use summary::{Bucket, FieldSummary, FieldsSummary, Histogram, ValueCount};
pub use sweep::Kept;
pub use texts::{Indexed, RawSegment};
