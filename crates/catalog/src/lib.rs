//! The segment catalog: which event segments of the lake are live, what they can hold, and up to where the record has been read.
//!
//! Format: docs/spec/lake.md, *Catalog*. One trait, two databases: a file of SQLite, or a PostgreSQL server that several processes share.
//! Every change is one transaction that holds with any number of them. This crate opens no segment.
mod connection; // to a server
mod error;
mod postgresql; // a server
mod sqlite; // a file

use std::{collections::BTreeMap, time::Duration};

use reeve_record::RecordId;
use serde::{Deserialize, Serialize};

pub use connection::Fault;
pub use error::Error;
pub use postgresql::{PostgresCatalog, Server};
pub use sqlite::SqliteCatalog;

/// Class number of a segment that holds events of several classes, each too few for a file of its own.
pub const MIXED: i32 = -1;

/// One immutable Parquet file of events.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentRow {
    /// Path below the lake folder, as in `events/2026-11-21/1007/000000000012.parquet`.
    pub path: String,
    /// Days since 1970-01-01 of every event in it.
    pub day: i32,
    /// OCSF class of every event in it, or [`MIXED`].
    pub class_uid: i32,
    /// Number of events.
    pub rows: u64,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// SHA-256 of the file; `None` if a Reeve wrote it that did not note it.
    pub sha256: Option<[u8; 32]>,
    /// The file of counts by the minute beside it; `None` if there is none, or a Reeve wrote it that did not note it.
    pub counts: Option<Stored>,
    /// First and last event time, microseconds since 1970.
    pub time: (i64, i64),
    /// First and last host name; `None` if no event names one.
    pub host: Option<(String, String)>,
    /// What each column can hold; a column that is absent can hold anything.
    pub ranges: BTreeMap<String, Range>,
    /// How often compaction has rewritten these events, at most [`MAX_REWRITES`].
    pub rewrites: u8,
}

/// Files rewritten so often are left as they are.
pub const MAX_REWRITES: u8 = 2;

/// What a file is, apart from its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256.
    pub sha256: [u8; 32],
}

/// Bounds of one column in one segment. The bounds may be wider than the values, never narrower.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Lowest and highest value; `None` if all are null.
    #[serde(rename = "b")]
    pub bounds: Option<(Bound, Bound)>,
    /// Number of nulls.
    #[serde(rename = "n", default)]
    pub nulls: u64,
}

/// A bound's value.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bound {
    /// Integers, and times in microseconds since 1970.
    Integer(i64),
    /// Text, by bytes.
    Text(String),
}

/// A file that is no longer live, or never became so, and may still be where files are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departed {
    /// Its path below the lake folder.
    pub path: String,
    /// How long it has been so, by the catalog's clock.
    pub age: Duration,
}

/// Where the list of live segments and the read position are kept.
///
/// A file is named here from before its first byte until after its last: announced, then live, then departed. So whatever a crash leaves
/// behind is known by its name.
pub trait Catalog: Send + Sync {
    /// All live segments by path, and the read position.
    ///
    /// # Errors
    /// The store cannot be read.
    fn load(&self) -> Result<(Vec<SegmentRow>, RecordId), Error>;

    /// Adds and removes segments and moves the read position, all or nothing, durable on return.
    ///
    /// # Errors
    /// [`Error::Superseded`] if a segment to remove is no longer live, one to add is no longer announced, the position or the lease is
    /// another. Nothing has changed then. After any other error it may have: ask [`Catalog::load`].
    fn commit(&self, change: &Change<'_>) -> Result<(), Error>;

    /// Takes the lease `name` for `term` from now by the catalog's clock, or extends it; false while another `holder` has it.
    ///
    /// # Errors
    /// The store cannot be written.
    fn lease(&self, name: &str, holder: &str, term: Duration) -> Result<bool, Error>;

    /// Gives a lease back. One that passed to another holder stays with them.
    ///
    /// # Errors
    /// The store cannot be written; the lease ends by itself.
    fn release(&self, name: &str, holder: &str) -> Result<(), Error>;

    /// Native field names seen so far.
    ///
    /// # Errors
    /// The store cannot be read.
    fn names(&self) -> Result<Vec<String>, Error>;

    /// Path of a new segment file in `folder`, with a number never given twice. It is announced for `term`: until then it is `owner`'s.
    ///
    /// # Errors
    /// The store cannot be written.
    fn announce(&self, folder: &str, owner: &str, term: Duration) -> Result<String, Error>;

    /// Says that announced files will not become live: those of `paths`, or all of `owner`. Files that are live stay so.
    ///
    /// # Errors
    /// The store cannot be written; the announcements end by themselves.
    fn withdraw(&self, which: Withdrawn<'_>) -> Result<(), Error>;

    /// Files that are announced.
    ///
    /// # Errors
    /// The store cannot be read.
    fn announced(&self) -> Result<Vec<String>, Error>;

    /// Files that departed and were not dropped since, those included whose announcement has ended.
    ///
    /// # Errors
    /// The store cannot be written.
    fn departed(&self) -> Result<Vec<Departed>, Error>;

    /// Says that departed files are gone from where files are kept.
    ///
    /// # Errors
    /// The store cannot be written.
    fn drop_departed(&self, paths: &[String]) -> Result<(), Error>;

    /// Notes where the files are kept, once and for all.
    ///
    /// # Errors
    /// [`Error::Elsewhere`] if that is another place.
    fn keep_at(&self, place: &str) -> Result<(), Error>;

    /// Whether other processes may change it while this one runs.
    fn is_shared(&self) -> bool;
}

/// Which announcements are withdrawn.
#[derive(Clone, Copy, Debug)]
pub enum Withdrawn<'a> {
    /// Those of these files.
    Paths(&'a [String]),
    /// Every one that this owner made.
    Owner(&'a str),
}

/// One catalog transaction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'a> {
    /// Segments that become live; all must be announced.
    pub add: &'a [SegmentRow],
    /// Paths of segments that stop being live; all must be live until then.
    pub remove: &'a [String],
    /// Every record before the second is in the segments; every record before the first was until now. `None` leaves the position.
    pub read_through: Option<(RecordId, RecordId)>,
    /// Native field names to remember.
    pub names: &'a [String],
    /// A lease that must still be held, and by whom.
    pub lease: Option<(&'a str, &'a str)>,
}

/// What is superseded when the read position is another than was thought.
pub const READ_POSITION: &str = "read position";

fn ranges_text(row: &SegmentRow) -> String {
    // A map with text keys always has a JSON text.
    serde_json::to_string(&row.ranges).unwrap_or_default()
}

/// Ranges only save work: a text that cannot be read means nothing is skipped.
fn ranges_of(text: &str) -> BTreeMap<String, Range> {
    serde_json::from_str(text).unwrap_or_default()
}

fn stored(bytes: Option<i64>, sha256: Option<Vec<u8>>) -> Option<Stored> {
    Some(Stored { bytes: bytes?.cast_unsigned(), sha256: digest(sha256)? })
}

fn digest(bytes: Option<Vec<u8>>) -> Option<[u8; 32]> {
    bytes?.try_into().ok()
}

fn path_of(folder: &str, number: i64) -> String {
    format!("{folder}/{number:012}.parquet")
}

fn milliseconds(term: Duration) -> i64 {
    i64::try_from(term.as_millis()).unwrap_or(i64::MAX / 2)
}

fn age(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}
