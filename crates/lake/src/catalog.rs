//! The segment catalog: which event segments are live, what they can hold, and up to where the record has been read.
//!
//! Format: docs/spec/lake.md. One SQLite database; the trait is the seam for a database shared by many nodes.

use std::{collections::BTreeMap, path::Path, time::Duration};

use parking_lot::Mutex;
use reeve_record::RecordId;
use rusqlite::{Connection, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use crate::Error;

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

/// Where the list of live segments and the read position are kept.
pub trait Catalog: Send + Sync {
    /// All live segments, and the read position.
    ///
    /// # Errors
    /// The store cannot be read.
    fn load(&self) -> Result<(Vec<SegmentRow>, RecordId), Error>;

    /// Adds and removes segments and moves the read position, all or nothing, durable on return.
    ///
    /// # Errors
    /// [`Error::Superseded`] if a segment to remove is no longer live or the lease has passed to somebody else. Nothing has
    /// changed then, unless the store failed while it was saying that it had: ask [`Catalog::load`].
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

    /// A number for a new segment file, never given twice.
    ///
    /// # Errors
    /// The store cannot be written.
    fn next_file(&self) -> Result<u64, Error>;
}

/// One catalog transaction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'a> {
    /// Segments that become live.
    pub add: &'a [SegmentRow],
    /// Paths of segments that stop being live; all must be live until then.
    pub remove: &'a [String],
    /// Every record before this one is in the segments; `None` leaves the position.
    pub read_through: Option<RecordId>,
    /// Native field names to remember.
    pub names: &'a [String],
    /// A lease that must still be held, and by whom.
    pub lease: Option<(&'a str, &'a str)>,
}

/// The catalog in one SQLite file.
pub struct SqliteCatalog {
    connection: Mutex<Connection>,
}

const FORMAT: i64 = 2;

impl SqliteCatalog {
    /// Opens or creates the catalog.
    ///
    /// # Errors
    /// The file is no catalog, is newer than this program, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let connection = Connection::open(path).map_err(Error::catalog("open the database"))?;
        // FULL: the read position must not outlive a power cut that its segments did not.
        connection
            .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA secure_delete=ON;")
            .map_err(Error::catalog("set up the database"))?;
        let found: i64 =
            connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(Error::catalog("read the format"))?;
        if found > FORMAT {
            return Err(Error::CatalogFormat { found, known: FORMAT });
        }
        let tables = if found == 1 { FROM_1 } else { TABLES };
        connection.execute_batch(tables).map_err(Error::catalog("create tables"))?;
        Ok(Self { connection: Mutex::new(connection) })
    }
}

const TABLES: &str = "
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS segments (
  path TEXT PRIMARY KEY,
  day INTEGER NOT NULL,
  class_uid INTEGER NOT NULL,
  rows INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  time_min INTEGER NOT NULL,
  time_max INTEGER NOT NULL,
  host_min TEXT,
  host_max TEXT,
  ranges TEXT NOT NULL,
  rewrites INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS segments_by_day ON segments (day, class_uid);
CREATE TABLE IF NOT EXISTS state (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  read_through INTEGER NOT NULL,
  next_file INTEGER NOT NULL
);
INSERT OR IGNORE INTO state VALUES (1, 0, 1);
CREATE TABLE IF NOT EXISTS native_names (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until_ms INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 2;
COMMIT;";

/// Format 1 knew neither rewrites nor leases.
const FROM_1: &str = "
BEGIN IMMEDIATE;
ALTER TABLE segments ADD COLUMN rewrites INTEGER NOT NULL DEFAULT 0;
CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until_ms INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 2;
COMMIT;";

const NOW_MS: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

impl Catalog for SqliteCatalog {
    fn load(&self) -> Result<(Vec<SegmentRow>, RecordId), Error> {
        let connection = self.connection.lock();
        let mut statement = connection
            .prepare("SELECT path, day, class_uid, rows, bytes, time_min, time_max, host_min, host_max, ranges, rewrites FROM segments ORDER BY path")
            .map_err(Error::catalog("list segments"))?;
        let segments =
            statement.query_map([], segment_row).and_then(Iterator::collect).map_err(Error::catalog("list segments"))?;
        let position: i64 = connection
            .query_row("SELECT read_through FROM state", [], |row| row.get(0))
            .map_err(Error::catalog("read the position"))?;
        Ok((segments, RecordId::unpack(position.cast_unsigned())))
    }

    fn commit(&self, change: &Change<'_>) -> Result<(), Error> {
        let failed = || Error::catalog("commit segments");
        let mut connection = self.connection.lock();
        // Dropped without a commit, the transaction is rolled back.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed())?;
        if let Some((name, holder)) = change.lease
            && !is_held(&transaction, name, holder).map_err(failed())?
        {
            return Err(Error::Superseded { what: name.to_owned() });
        }
        for path in change.remove {
            if transaction.execute("DELETE FROM segments WHERE path = ?1", [path]).map_err(failed())? == 0 {
                return Err(Error::Superseded { what: path.clone() });
            }
        }
        for row in change.add {
            insert(&transaction, row).map_err(failed())?;
        }
        for name in change.names {
            transaction.execute("INSERT OR IGNORE INTO native_names VALUES (?1)", [name]).map_err(failed())?;
        }
        if let Some(position) = change.read_through {
            transaction.execute("UPDATE state SET read_through = ?1", [position.pack().cast_signed()]).map_err(failed())?;
        }
        transaction.commit().map_err(failed())
    }

    fn lease(&self, name: &str, holder: &str, term: Duration) -> Result<bool, Error> {
        let term_ms = i64::try_from(term.as_millis()).unwrap_or(i64::MAX / 2);
        let take = format!(
            "INSERT INTO leases VALUES (?1, ?2, {NOW_MS} + ?3) ON CONFLICT (name) DO UPDATE
             SET holder = excluded.holder, until_ms = excluded.until_ms WHERE holder = excluded.holder OR until_ms <= {NOW_MS}"
        );
        let taken = self.connection.lock().execute(&take, params![name, holder, term_ms]);
        Ok(taken.map_err(Error::catalog("take a lease"))? == 1)
    }

    fn release(&self, name: &str, holder: &str) -> Result<(), Error> {
        let connection = self.connection.lock();
        let released = connection.execute("DELETE FROM leases WHERE name = ?1 AND holder = ?2", [name, holder]);
        released.map(drop).map_err(Error::catalog("give a lease back"))
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let connection = self.connection.lock();
        let mut statement = connection.prepare("SELECT name FROM native_names").map_err(Error::catalog("list names"))?;
        statement.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(Error::catalog("list names"))
    }

    fn next_file(&self) -> Result<u64, Error> {
        let connection = self.connection.lock();
        let number: i64 = connection
            .query_row("UPDATE state SET next_file = next_file + 1 RETURNING next_file - 1", [], |row| row.get(0))
            .map_err(Error::catalog("take a file number"))?;
        Ok(number.cast_unsigned())
    }
}

fn is_held(transaction: &rusqlite::Transaction<'_>, name: &str, holder: &str) -> rusqlite::Result<bool> {
    let held = format!("SELECT count(*) FROM leases WHERE name = ?1 AND holder = ?2 AND until_ms > {NOW_MS}");
    transaction.query_row(&held, [name, holder], |row| row.get::<_, i64>(0)).map(|count| count == 1)
}

fn insert(transaction: &rusqlite::Transaction<'_>, row: &SegmentRow) -> rusqlite::Result<usize> {
    let ranges = serde_json::to_string(&row.ranges).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let (host_min, host_max) = row.host.as_ref().map(|(low, high)| (low, high)).unzip();
    transaction.execute(
        "INSERT INTO segments VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            row.path,
            row.day,
            row.class_uid,
            row.rows.cast_signed(),
            row.bytes.cast_signed(),
            row.time.0,
            row.time.1,
            host_min,
            host_max,
            ranges,
            row.rewrites
        ],
    )
}

fn segment_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<SegmentRow> {
    let ranges: String = row.get(9)?;
    let host_min: Option<String> = row.get(7)?;
    let host_max: Option<String> = row.get(8)?;
    Ok(SegmentRow {
        path: row.get(0)?,
        day: row.get(1)?,
        class_uid: row.get(2)?,
        rows: row.get::<_, i64>(3)?.cast_unsigned(),
        bytes: row.get::<_, i64>(4)?.cast_unsigned(),
        time: (row.get(5)?, row.get(6)?),
        host: host_min.zip(host_max),
        // Ranges only save work: a text that cannot be read means nothing is skipped.
        ranges: serde_json::from_str(&ranges).unwrap_or_default(),
        rewrites: row.get(10)?,
    })
}
