//! The catalog on a PostgreSQL server, for processes on several machines.
//!
//! Text that events bring (hosts, names of fields) is kept as bytes: PostgreSQL's text cannot hold U+0000.

use std::{path::PathBuf, time::Duration};

use parking_lot::Mutex;
use reeve_record::RecordId;
use url::Url;

use crate::{
    Catalog, Change, Departed, Error, READ_POSITION, SegmentRow, Withdrawn, age,
    connection::{Address, Connection, Fault, Host, Row, Value, hex},
    digest, milliseconds, path_of, ranges_of, ranges_text, stored,
};

/// Which server, and who asks it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// Its address, as in `postgres://reeve@db.example/reeve` or `postgres:///reeve?host=/run/postgresql&user=reeve`; without a password.
    pub url: String,
    /// File whose first line is the password; `None`: none is needed.
    pub password_file: Option<PathBuf>,
}

/// The catalog in tables `reeve_…` of one database.
pub struct PostgresCatalog {
    address: Address,
    connection: Mutex<Option<Connection>>,
}

const FORMAT: i64 = 1;
/// Older servers get no fixes any more.
const SERVER_VERSION_MIN: i64 = 12;
const PORT: u16 = 5432;
/// A connection that was silent for so long is asked whether it still is one.
const TRUSTED: Duration = Duration::from_secs(1);
/// Names of fields are suggestions: longer ones are not kept, an index has its bounds.
const NAME_BYTES_MAX: usize = 1000;

/// What kept a transaction from its end.
enum Stopped {
    Fault(Fault),
    Refused(Error),
}

impl From<Fault> for Stopped {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl PostgresCatalog {
    /// Connects to the server and makes the tables if they are not there.
    ///
    /// # Errors
    /// The address is none, the server cannot be reached, is too old, refuses, or its catalog is newer than this program.
    pub fn open(server: &Server) -> Result<Self, Error> {
        let catalog = Self { address: Address::of(server)?, connection: Mutex::new(None) };
        catalog.ask("create tables", |connection| {
            let version = one(connection, "SHOW server_version_num", &[])?.number(0)?;
            if version / 10_000 < SERVER_VERSION_MIN {
                return Err(Stopped::Refused(Error::ServerVersion { found: version / 10_000, needed: SERVER_VERSION_MIN }));
            }
            create(connection)
        })?;
        Ok(catalog)
    }

    /// Runs `work` with a connection. After a fault the next call connects anew.
    fn ask<T>(&self, what: &'static str, work: impl FnOnce(&mut Connection) -> Result<T, Stopped>) -> Result<T, Error> {
        let failed = |source| Error::Server { what, server: self.address.to_string(), source };
        let mut kept = self.connection.lock();
        let mut connection = self.connected(kept.take()).map_err(failed)?;
        match work(&mut connection) {
            Ok(done) => {
                *kept = Some(connection);
                Ok(done)
            }
            Err(Stopped::Fault(fault)) => Err(failed(fault)),
            Err(Stopped::Refused(error)) => {
                if connection.batch("ROLLBACK").is_ok() {
                    *kept = Some(connection);
                }
                Err(error)
            }
        }
    }

    /// As [`PostgresCatalog::ask`], in one transaction.
    fn transact<T>(&self, what: &'static str, work: impl FnOnce(&mut Connection) -> Result<T, Stopped>) -> Result<T, Error> {
        self.ask(what, |connection| {
            connection.batch("BEGIN")?;
            let done = work(connection)?;
            connection.batch("COMMIT")?;
            Ok(done)
        })
    }

    /// A connection that works: the one there is, or a new one.
    fn connected(&self, kept: Option<Connection>) -> Result<Connection, Fault> {
        if let Some(mut connection) = kept
            && (connection.silent_for() < TRUSTED || connection.batch("").is_ok())
        {
            return Ok(connection);
        }
        let mut connection = Connection::open(&self.address)?;
        connection.batch(SESSION)?;
        Ok(connection)
    }
}

impl Address {
    fn of(server: &Server) -> Result<Self, Error> {
        let wrong = |detail: String| Error::Settings { detail };
        let url: Url = server.url.parse().map_err(|error| {
            wrong(format!("`{}` is no address of a server: {error}; write postgres://ROLE@HOST/DATABASE", server.url))
        })?;
        if !["postgres", "postgresql"].contains(&url.scheme()) {
            return Err(wrong(format!("`{}` is no address of a server; write postgres://ROLE@HOST/DATABASE", server.url)));
        }
        if url.password().is_some() {
            return Err(wrong(
                "the address holds a password: put it into a file and name that in catalog_password_file".to_owned(),
            ));
        }
        let (mut host, mut role) = (url.host_str().map(str::to_owned), Some(url.username().to_owned()));
        for (name, value) in url.query_pairs() {
            match &*name {
                "host" => host = Some(value.into_owned()),
                "user" => role = Some(value.into_owned()),
                _ => return Err(wrong(format!("`{name}` in `{}` is not known: there are host and user", server.url))),
            }
        }
        let host = host.filter(|host| !host.is_empty()).ok_or_else(|| wrong(format!("`{}` names no host", server.url)))?;
        let role = role.filter(|role| !role.is_empty()).ok_or_else(|| wrong(format!("`{}` names no role", server.url)))?;
        let database = url.path().trim_start_matches('/');
        let host =
            if host.starts_with('/') { Host::Unix(host.into()) } else { Host::Tcp(host.trim_matches(['[', ']']).to_owned()) };
        Ok(Self {
            host,
            port: url.port().unwrap_or(PORT),
            database: if database.is_empty() { role.clone() } else { database.to_owned() },
            role,
            password: server.password_file.as_ref().map(read_password).transpose()?,
        })
    }
}

fn read_password(file: &PathBuf) -> Result<String, Error> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Error::Settings { detail: format!("cannot read the password in `{}`: {error}", file.display()) })?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Host::Tcp(name) => write!(f, "{} on {name}:{}", self.database, self.port),
            Host::Unix(folder) => write!(f, "{} in {}", self.database, folder.display()),
        }
    }
}

/// A commit that was told is on the disk, whatever the server's default; nobody waits for a process that hangs.
const SESSION: &str = "
SET statement_timeout = '60s';
SET lock_timeout = '30s';
SET idle_in_transaction_session_timeout = '60s';
SET client_min_messages = warning;
SET bytea_output = hex;
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED;
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local');";

/// Keeps two processes from making the tables at once.
const CREATING: i64 = 0x7265_6576_6531;

const TABLES: &str = "
CREATE TABLE reeve_segments (
  path TEXT COLLATE \"C\" PRIMARY KEY,
  day INTEGER NOT NULL,
  class_uid INTEGER NOT NULL,
  rows BIGINT NOT NULL,
  bytes BIGINT NOT NULL,
  time_min BIGINT NOT NULL,
  time_max BIGINT NOT NULL,
  host_min BYTEA,
  host_max BYTEA,
  ranges TEXT NOT NULL,
  rewrites SMALLINT NOT NULL,
  sha256 BYTEA,
  counts_bytes BIGINT,
  counts_sha256 BYTEA
);
CREATE TABLE reeve_native_names (name BYTEA PRIMARY KEY);
CREATE TABLE reeve_leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until_ms BIGINT NOT NULL);
CREATE TABLE reeve_announced (path TEXT COLLATE \"C\" PRIMARY KEY, owner TEXT NOT NULL, until_ms BIGINT NOT NULL);
CREATE TABLE reeve_departed (path TEXT COLLATE \"C\" PRIMARY KEY, since_ms BIGINT NOT NULL);
CREATE TABLE reeve_state (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  format INTEGER NOT NULL,
  read_through BIGINT NOT NULL,
  next_file BIGINT NOT NULL,
  place TEXT
);";

const NOW_MS: &str = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";

fn create(connection: &mut Connection) -> Result<(), Stopped> {
    connection.batch("BEGIN")?;
    connection.run("SELECT pg_advisory_xact_lock($1)", &[Value::Number(CREATING)])?;
    let there = one(connection, "SELECT CAST(to_regclass('reeve_state') IS NOT NULL AS INTEGER)", &[])?;
    if there.number(0)? == 0 {
        connection.batch(TABLES)?;
        connection.run("INSERT INTO reeve_state VALUES (1, $1, 0, 1, NULL)", &[Value::Number(FORMAT)])?;
    }
    let found = one(connection, "SELECT format FROM reeve_state", &[])?.number(0)?;
    if found > FORMAT {
        return Err(Stopped::Refused(Error::Format { found, known: FORMAT }));
    }
    Ok(connection.batch("COMMIT")?)
}

/// The one row that a statement gives.
fn one(connection: &mut Connection, sql: &str, values: &[Value<'_>]) -> Result<Row, Fault> {
    let rows = connection.run(sql, values)?.rows;
    rows.into_iter().next().ok_or_else(|| Fault::Unsupported("its tables lack the row of the state".to_owned()))
}

impl Catalog for PostgresCatalog {
    fn load(&self) -> Result<(Vec<SegmentRow>, RecordId), Error> {
        self.transact("list segments", |connection| {
            // One moment for both.
            connection.batch("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")?;
            let position = read_through(connection, "")?;
            let rows = connection.run(LIST, &[])?.rows;
            Ok((rows.iter().map(segment_row).collect::<Result<_, _>>()?, position))
        })
    }

    fn commit(&self, change: &Change<'_>) -> Result<(), Error> {
        self.transact("commit segments", |connection| match apply(connection, change)? {
            Some(what) => Err(Stopped::Refused(Error::Superseded { what })),
            None => Ok(()),
        })
    }

    fn lease(&self, name: &str, holder: &str, term: Duration) -> Result<bool, Error> {
        let take = format!(
            "INSERT INTO reeve_leases AS held VALUES ($1, $2, {NOW_MS} + $3) ON CONFLICT (name) DO UPDATE
             SET holder = excluded.holder, until_ms = excluded.until_ms
             WHERE held.holder = excluded.holder OR held.until_ms <= {NOW_MS}"
        );
        let values = [Value::Text(name), Value::Text(holder), Value::Number(milliseconds(term))];
        self.ask("take a lease", |connection| Ok(connection.run(&take, &values)?.changed == 1))
    }

    fn release(&self, name: &str, holder: &str) -> Result<(), Error> {
        let release = "DELETE FROM reeve_leases WHERE name = $1 AND holder = $2";
        self.run("give a lease back", release, &[Value::Text(name), Value::Text(holder)])
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let rows = self.ask("list names", |connection| Ok(connection.run("SELECT name FROM reeve_native_names", &[])?.rows))?;
        Ok(rows.iter().filter_map(|row| text(row, 0)).collect())
    }

    fn announce(&self, folder: &str, owner: &str, term: Duration) -> Result<String, Error> {
        self.transact("announce a file", |connection| {
            let take = "UPDATE reeve_state SET next_file = next_file + 1 RETURNING next_file - 1";
            let path = path_of(folder, one(connection, take, &[])?.number(0)?);
            let insert = format!("INSERT INTO reeve_announced VALUES ($1, $2, {NOW_MS} + $3)");
            connection.run(&insert, &[Value::Text(&path), Value::Text(owner), Value::Number(milliseconds(term))])?;
            Ok(path)
        })
    }

    fn withdraw(&self, which: Withdrawn<'_>) -> Result<(), Error> {
        match which {
            Withdrawn::Owner(owner) => self.run("withdraw files", &depart("owner = $1"), &[Value::Text(owner)]),
            Withdrawn::Paths([]) => Ok(()),
            Withdrawn::Paths(paths) => {
                self.run("withdraw files", &depart(&format!("path = {ANY_OF_LINES}")), &[Value::Text(&paths.join("\n"))])
            }
        }
    }

    fn announced(&self) -> Result<Vec<String>, Error> {
        let all = "SELECT path FROM reeve_announced ORDER BY path";
        let rows = self.ask("list announced files", |connection| Ok(connection.run(all, &[])?.rows))?;
        Ok(rows.iter().map(|row| row.text(0)).collect())
    }

    fn departed(&self) -> Result<Vec<Departed>, Error> {
        let all = format!("SELECT path, {NOW_MS} - since_ms FROM reeve_departed ORDER BY path");
        self.ask("list departed files", |connection| {
            connection.run(&depart(&format!("until_ms <= {NOW_MS}")), &[])?;
            let rows = connection.run(&all, &[])?.rows;
            let files = rows.iter().map(|row| Ok(Departed { path: row.text(0), age: age(row.number(1)?) }));
            Ok(files.collect::<Result<_, Fault>>()?)
        })
    }

    fn drop_departed(&self, paths: &[String]) -> Result<(), Error> {
        let drop_all = format!("DELETE FROM reeve_departed WHERE path = {ANY_OF_LINES}");
        self.run("forget departed files", &drop_all, &[Value::Text(&paths.join("\n"))])
    }

    fn keep_at(&self, place: &str) -> Result<(), Error> {
        let note = "UPDATE reeve_state SET place = coalesce(place, $1) RETURNING place";
        let kept =
            self.ask("note where files are kept", |connection| Ok(one(connection, note, &[Value::Text(place)])?.text(0)))?;
        if kept == place { Ok(()) } else { Err(Error::Elsewhere { kept, asked: place.to_owned() }) }
    }

    fn is_shared(&self) -> bool {
        true
    }
}

impl PostgresCatalog {
    fn run(&self, what: &'static str, sql: &str, values: &[Value<'_>]) -> Result<(), Error> {
        self.ask(what, |connection| Ok(connection.run(sql, values).map(drop)?))
    }
}

const LIST: &str = "SELECT path, day, class_uid, rows, bytes, time_min, time_max, host_min, host_max, ranges, rewrites, sha256,
  counts_bytes, counts_sha256 FROM reeve_segments ORDER BY path";

/// Paths have no line ends.
const ANY_OF_LINES: &str = "ANY (string_to_array($1, E'\\n'))";

/// Makes the change; tells what is superseded, if anything is. The lock on the state's row puts all changes in one order.
fn apply(connection: &mut Connection, change: &Change<'_>) -> Result<Option<String>, Fault> {
    let position = read_through(connection, "FOR UPDATE")?;
    if let Some((name, holder)) = change.lease {
        let held = format!("SELECT 1 FROM reeve_leases WHERE name = $1 AND holder = $2 AND until_ms > {NOW_MS} FOR SHARE");
        if connection.run(&held, &[Value::Text(name), Value::Text(holder)])?.rows.is_empty() {
            return Ok(Some(name.to_owned()));
        }
    }
    if let Some((from, to)) = change.read_through {
        if position != from {
            return Ok(Some(READ_POSITION.to_owned()));
        }
        connection.run("UPDATE reeve_state SET read_through = $1", &[Value::Number(to.pack().cast_signed())])?;
    }
    for path in change.remove {
        if connection.run("DELETE FROM reeve_segments WHERE path = $1", &[Value::Text(path)])?.changed == 0 {
            return Ok(Some(path.clone()));
        }
        connection.run(&format!("INSERT INTO reeve_departed VALUES ($1, {NOW_MS})"), &[Value::Text(path)])?;
    }
    for row in change.add {
        if connection.run("DELETE FROM reeve_announced WHERE path = $1", &[Value::Text(&row.path)])?.changed == 0 {
            return Ok(Some(row.path.clone()));
        }
        insert(connection, row)?;
    }
    let names: Vec<String> =
        change.names.iter().filter(|name| name.len() <= NAME_BYTES_MAX).map(|name| hex(name.as_bytes())).collect();
    if !names.is_empty() {
        let add = "INSERT INTO reeve_native_names SELECT CAST(name AS BYTEA) FROM unnest(string_to_array($1, ',')) AS name
                   ON CONFLICT DO NOTHING";
        connection.run(add, &[Value::Text(&names.join(","))])?;
    }
    Ok(None)
}

fn read_through(connection: &mut Connection, lock: &str) -> Result<RecordId, Fault> {
    let packed = one(connection, &format!("SELECT read_through FROM reeve_state {lock}"), &[])?.number(0)?;
    Ok(RecordId::unpack(packed.cast_unsigned()))
}

/// Announced files for which the condition holds are departed from now on.
fn depart(condition: &str) -> String {
    format!(
        "WITH gone AS (DELETE FROM reeve_announced WHERE {condition} RETURNING path)
         INSERT INTO reeve_departed SELECT path, {NOW_MS} FROM gone ON CONFLICT DO NOTHING"
    )
}

fn insert(connection: &mut Connection, row: &SegmentRow) -> Result<(), Fault> {
    let (host_min, host_max) = row.host.as_ref().map(|(low, high)| (low.as_bytes(), high.as_bytes())).unzip();
    let counts = row.counts.as_ref();
    let values = [
        Value::Text(&row.path),
        Value::Number(row.day.into()),
        Value::Number(row.class_uid.into()),
        Value::Number(row.rows.cast_signed()),
        Value::Number(row.bytes.cast_signed()),
        Value::Number(row.time.0),
        Value::Number(row.time.1),
        Value::bytes_or_null(host_min),
        Value::bytes_or_null(host_max),
        Value::Text(&ranges_text(row)),
        Value::Number(row.rewrites.into()),
        Value::bytes_or_null(row.sha256.as_ref().map(|digest| &digest[..])),
        counts.map_or(Value::Null, |counts| Value::Number(counts.bytes.cast_signed())),
        Value::bytes_or_null(counts.map(|counts| &counts.sha256[..])),
    ];
    let add =
        "INSERT INTO reeve_segments (path, day, class_uid, rows, bytes, time_min, time_max, host_min, host_max, ranges, rewrites,
                 sha256, counts_bytes, counts_sha256) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    connection.run(add, &values).map(drop)
}

fn segment_row(row: &Row) -> Result<SegmentRow, Fault> {
    let small = |column: usize| {
        let number = row.number(column)?;
        i32::try_from(number).map_err(|_| Fault::Unsupported(format!("{number} is out of bounds")))
    };
    Ok(SegmentRow {
        path: row.text(0),
        day: small(1)?,
        class_uid: small(2)?,
        rows: row.number(3)?.cast_unsigned(),
        bytes: row.number(4)?.cast_unsigned(),
        sha256: digest(row.bytes(11)),
        counts: stored(row.number_or_null(12), row.bytes(13)),
        time: (row.number(5)?, row.number(6)?),
        host: text(row, 7).zip(text(row, 8)),
        ranges: ranges_of(&row.text(9)),
        rewrites: u8::try_from(row.number(10)?).unwrap_or(crate::MAX_REWRITES),
    })
}

fn text(row: &Row, column: usize) -> Option<String> {
    String::from_utf8(row.bytes(column)?).ok()
}
