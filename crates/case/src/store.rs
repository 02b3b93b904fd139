use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rusqlite::Connection;

use crate::{Error, forget};

/// `case.sqlite`: alerts, which records raised them, their history, and incidents.
pub struct Store {
    pub(crate) db: Mutex<Connection>,
    path: PathBuf,
}

impl Drop for Store {
    fn drop(&mut self) {
        // What is left if this fails is what any database leaves; the content itself is in the database, and overwritten there when it goes.
        let _ = forget::erase_wal(self.db.get_mut(), &self.path);
    }
}

impl Store {
    /// Opens or creates `case.sqlite` in `dir`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("case.sqlite");
        let db = Connection::open(&path)?;
        // NORMAL may lose the last transactions in a power cut, never break the file; the reading makes lost findings again,
        // because the lake's read position moves only after them.
        db.execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA secure_delete=ON;
             CREATE TABLE IF NOT EXISTS alert(
                 id TEXT PRIMARY KEY, seq INTEGER NOT NULL, rule_uid TEXT NOT NULL, title TEXT NOT NULL, level TEXT NOT NULL,
                 severity_id INTEGER NOT NULL, status TEXT NOT NULL DEFAULT 'new', assignee TEXT, host TEXT NOT NULL, user TEXT NOT NULL,
                 first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, count INTEGER NOT NULL,
                 techniques TEXT NOT NULL, finding TEXT NOT NULL);
             CREATE INDEX IF NOT EXISTS alert_group ON alert(rule_uid, host, user, last_at);
             CREATE INDEX IF NOT EXISTS alert_seq ON alert(seq);
             CREATE INDEX IF NOT EXISTS alert_order ON alert(severity_id DESC, last_at DESC);
             CREATE TABLE IF NOT EXISTS raised(
                 rule_uid TEXT NOT NULL, record INTEGER NOT NULL, part INTEGER NOT NULL, alert TEXT NOT NULL, at INTEGER NOT NULL,
                 PRIMARY KEY(rule_uid, record, part)) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS raised_alert ON raised(alert, record);
             CREATE INDEX IF NOT EXISTS raised_at ON raised(at);
             CREATE TABLE IF NOT EXISTS history(
                 alert TEXT NOT NULL, at TEXT NOT NULL, by TEXT NOT NULL, change TEXT NOT NULL, reason TEXT NOT NULL, request TEXT NOT NULL);
             CREATE INDEX IF NOT EXISTS history_alert ON history(alert);
             CREATE TABLE IF NOT EXISTS incident(
                 id TEXT PRIMARY KEY, title TEXT NOT NULL, seed TEXT NOT NULL, from_at TEXT NOT NULL, to_at TEXT NOT NULL,
                 steps INTEGER NOT NULL, created_at TEXT NOT NULL, created_by TEXT NOT NULL, document TEXT NOT NULL);",
        )?;
        Ok(Self { db: Mutex::new(db), path })
    }
}
