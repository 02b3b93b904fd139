//! The catalog in one SQLite file, for one data folder.

use std::{path::Path, time::Duration};

use parking_lot::Mutex;
use reeve_record::RecordId;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::{
    Catalog, Change, Departed, Error, READ_POSITION, SegmentRow, Withdrawn, age, digest, milliseconds, path_of, ranges_of,
    ranges_text, stored,
};

/// The catalog in one SQLite file.
pub struct SqliteCatalog {
    connection: Mutex<Connection>,
}

const FORMAT: i64 = 3;

impl SqliteCatalog {
    /// Opens or creates the catalog. One of an earlier format is taken over.
    ///
    /// # Errors
    /// The file is no catalog, is newer than this program, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let connection = Connection::open(path).map_err(Error::file("open the database"))?;
        // FULL: the read position must not outlive a power cut that its segments did not.
        connection
            .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA secure_delete=ON;")
            .map_err(Error::file("set up the database"))?;
        let found: i64 =
            connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(Error::file("read the format"))?;
        if found > FORMAT {
            return Err(Error::Format { found, known: FORMAT });
        }
        let steps: &[&str] = match found {
            0 => &[TABLES],
            1 => &[FROM_1, FROM_2],
            2 => &[FROM_2],
            _ => &[],
        };
        for step in steps {
            connection.execute_batch(step).map_err(Error::file("create tables"))?;
        }
        Ok(Self { connection: Mutex::new(connection) })
    }
}

/// Another process may have been first: each statement asks.
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
  rewrites INTEGER NOT NULL DEFAULT 0,
  sha256 BLOB,
  counts_bytes INTEGER,
  counts_sha256 BLOB
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS segments_by_day ON segments (day, class_uid);
CREATE TABLE IF NOT EXISTS state (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  read_through INTEGER NOT NULL,
  next_file INTEGER NOT NULL,
  place TEXT
);
INSERT OR IGNORE INTO state VALUES (1, 0, 1, NULL);
CREATE TABLE IF NOT EXISTS native_names (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS announced (path TEXT PRIMARY KEY, owner TEXT NOT NULL, until_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS departed (path TEXT PRIMARY KEY, since_ms INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 3;
COMMIT;";

/// Format 1 knew neither rewrites nor leases.
const FROM_1: &str = "
BEGIN IMMEDIATE;
ALTER TABLE segments ADD COLUMN rewrites INTEGER NOT NULL DEFAULT 0;
CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until_ms INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 2;
COMMIT;";

/// Format 2 knew neither digests nor files that come or go.
const FROM_2: &str = "
BEGIN IMMEDIATE;
ALTER TABLE segments ADD COLUMN sha256 BLOB;
ALTER TABLE segments ADD COLUMN counts_bytes INTEGER;
ALTER TABLE segments ADD COLUMN counts_sha256 BLOB;
ALTER TABLE state ADD COLUMN place TEXT;
CREATE TABLE announced (path TEXT PRIMARY KEY, owner TEXT NOT NULL, until_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE departed (path TEXT PRIMARY KEY, since_ms INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 3;
COMMIT;";

const NOW_MS: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

impl Catalog for SqliteCatalog {
    fn load(&self) -> Result<(Vec<SegmentRow>, RecordId), Error> {
        let mut connection = self.connection.lock();
        // One moment for both.
        let transaction = connection.transaction().map_err(Error::file("list segments"))?;
        let mut statement = transaction
            .prepare(
                "SELECT path, day, class_uid, rows, bytes, time_min, time_max, host_min, host_max, ranges, rewrites, sha256,
                   counts_bytes, counts_sha256 FROM segments ORDER BY path",
            )
            .map_err(Error::file("list segments"))?;
        let segments = statement.query_map([], segment_row).and_then(Iterator::collect).map_err(Error::file("list segments"))?;
        Ok((segments, read_through(&transaction).map_err(Error::file("read the position"))?))
    }

    fn commit(&self, change: &Change<'_>) -> Result<(), Error> {
        let failed = || Error::file("commit segments");
        let mut connection = self.connection.lock();
        // Dropped without a commit, the transaction is rolled back.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed())?;
        if let Some(what) = apply(&transaction, change).map_err(failed())? {
            return Err(Error::Superseded { what });
        }
        transaction.commit().map_err(failed())
    }

    fn lease(&self, name: &str, holder: &str, term: Duration) -> Result<bool, Error> {
        let take = format!(
            "INSERT INTO leases VALUES (?1, ?2, {NOW_MS} + ?3) ON CONFLICT (name) DO UPDATE
             SET holder = excluded.holder, until_ms = excluded.until_ms WHERE holder = excluded.holder OR until_ms <= {NOW_MS}"
        );
        let taken = self.connection.lock().execute(&take, params![name, holder, milliseconds(term)]);
        Ok(taken.map_err(Error::file("take a lease"))? == 1)
    }

    fn release(&self, name: &str, holder: &str) -> Result<(), Error> {
        let connection = self.connection.lock();
        let released = connection.execute("DELETE FROM leases WHERE name = ?1 AND holder = ?2", [name, holder]);
        released.map(drop).map_err(Error::file("give a lease back"))
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let connection = self.connection.lock();
        let mut statement = connection.prepare("SELECT name FROM native_names").map_err(Error::file("list names"))?;
        statement.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(Error::file("list names"))
    }

    fn announce(&self, folder: &str, owner: &str, term: Duration) -> Result<String, Error> {
        let mut connection = self.connection.lock();
        let announced = connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
            let number: i64 =
                transaction
                    .query_row("UPDATE state SET next_file = next_file + 1 RETURNING next_file - 1", [], |row| row.get(0))?;
            let path = path_of(folder, number);
            let insert = format!("INSERT INTO announced VALUES (?1, ?2, {NOW_MS} + ?3)");
            transaction.execute(&insert, params![path, owner, milliseconds(term)])?;
            transaction.commit()?;
            Ok(path)
        });
        announced.map_err(Error::file("announce a file"))
    }

    fn withdraw(&self, which: Withdrawn<'_>) -> Result<(), Error> {
        let mut connection = self.connection.lock();
        let withdrawn = connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
            match which {
                Withdrawn::Owner(owner) => depart(&transaction, "owner = ?1", [owner])?,
                Withdrawn::Paths(paths) => {
                    for path in paths {
                        depart(&transaction, "path = ?1", [path])?;
                    }
                }
            }
            transaction.commit()
        });
        withdrawn.map_err(Error::file("withdraw files"))
    }

    fn announced(&self) -> Result<Vec<String>, Error> {
        let connection = self.connection.lock();
        let mut statement =
            connection.prepare("SELECT path FROM announced ORDER BY path").map_err(Error::file("list announced files"))?;
        statement.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(Error::file("list announced files"))
    }

    fn departed(&self) -> Result<Vec<Departed>, Error> {
        let failed = || Error::file("list departed files");
        let mut connection = self.connection.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed())?;
        let now: i64 = transaction.query_row(&format!("SELECT {NOW_MS}"), [], |row| row.get(0)).map_err(failed())?;
        depart(&transaction, "until_ms <= ?1", [now]).map_err(failed())?;
        let all = format!("SELECT path, {NOW_MS} - since_ms FROM departed ORDER BY path");
        let list = transaction
            .prepare(&all)
            .and_then(|mut statement| {
                statement.query_map([], |row| Ok(Departed { path: row.get(0)?, age: age(row.get(1)?) }))?.collect()
            })
            .map_err(failed())?;
        transaction.commit().map_err(failed())?;
        Ok(list)
    }

    fn drop_departed(&self, paths: &[String]) -> Result<(), Error> {
        let mut connection = self.connection.lock();
        let dropped = connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
            for path in paths {
                transaction.execute("DELETE FROM departed WHERE path = ?1", [path])?;
            }
            transaction.commit()
        });
        dropped.map_err(Error::file("forget departed files"))
    }

    fn keep_at(&self, place: &str) -> Result<(), Error> {
        let kept: String = self
            .connection
            .lock()
            .query_row("UPDATE state SET place = coalesce(place, ?1) RETURNING place", [place], |row| row.get(0))
            .map_err(Error::file("note where files are kept"))?;
        if kept == place { Ok(()) } else { Err(Error::Elsewhere { kept, asked: place.to_owned() }) }
    }

    fn is_shared(&self) -> bool {
        false
    }
}

/// Makes the change; tells what is superseded, if anything is.
fn apply(transaction: &Transaction<'_>, change: &Change<'_>) -> rusqlite::Result<Option<String>> {
    if let Some((name, holder)) = change.lease
        && !is_held(transaction, name, holder)?
    {
        return Ok(Some(name.to_owned()));
    }
    if let Some((from, to)) = change.read_through {
        if read_through(transaction)? != from {
            return Ok(Some(READ_POSITION.to_owned()));
        }
        transaction.execute("UPDATE state SET read_through = ?1", [to.pack().cast_signed()])?;
    }
    for path in change.remove {
        if transaction.execute("DELETE FROM segments WHERE path = ?1", [path])? == 0 {
            return Ok(Some(path.clone()));
        }
        transaction.execute(&format!("INSERT INTO departed VALUES (?1, {NOW_MS})"), [path])?;
    }
    for row in change.add {
        if transaction.execute("DELETE FROM announced WHERE path = ?1", [&row.path])? == 0 {
            return Ok(Some(row.path.clone()));
        }
        insert(transaction, row)?;
    }
    for name in change.names {
        transaction.execute("INSERT OR IGNORE INTO native_names VALUES (?1)", [name])?;
    }
    Ok(None)
}

fn read_through(connection: &Connection) -> rusqlite::Result<RecordId> {
    let packed: i64 = connection.query_row("SELECT read_through FROM state", [], |row| row.get(0))?;
    Ok(RecordId::unpack(packed.cast_unsigned()))
}

fn is_held(transaction: &Transaction<'_>, name: &str, holder: &str) -> rusqlite::Result<bool> {
    let held = format!("SELECT count(*) FROM leases WHERE name = ?1 AND holder = ?2 AND until_ms > {NOW_MS}");
    transaction.query_row(&held, [name, holder], |row| row.get::<_, i64>(0)).map(|count| count == 1)
}

/// Announced files for which the condition holds are departed from now on.
fn depart(transaction: &Transaction<'_>, condition: &str, with: impl rusqlite::Params + Clone) -> rusqlite::Result<()> {
    let insert = format!("INSERT OR IGNORE INTO departed SELECT path, {NOW_MS} FROM announced WHERE {condition}");
    transaction.execute(&insert, with.clone())?;
    transaction.execute(&format!("DELETE FROM announced WHERE {condition}"), with).map(drop)
}

fn insert(transaction: &Transaction<'_>, row: &SegmentRow) -> rusqlite::Result<usize> {
    let (host_min, host_max) = row.host.as_ref().map(|(low, high)| (low, high)).unzip();
    transaction.execute(
        "INSERT INTO segments (path, day, class_uid, rows, bytes, time_min, time_max, host_min, host_max, ranges, rewrites, sha256,
           counts_bytes, counts_sha256) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
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
            ranges_text(row),
            row.rewrites,
            row.sha256,
            row.counts.map(|counts| counts.bytes.cast_signed()),
            row.counts.map(|counts| counts.sha256),
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
        sha256: digest(row.get(11)?),
        counts: stored(row.get(12)?, row.get(13)?),
        time: (row.get(5)?, row.get(6)?),
        host: host_min.zip(host_max),
        ranges: ranges_of(&ranges),
        rewrites: row.get(10)?,
    })
}
