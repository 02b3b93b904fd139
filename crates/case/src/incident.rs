use rusqlite::{OptionalExtension, params};
use serde::Serialize;
use serde_json::Value;

use crate::{Error, Store};

/// A reconstructed incident in the list.
#[derive(Clone, Debug, Serialize)]
pub struct IncidentRow {
    /// Its id.
    pub id: String,
    /// One line that says what happened.
    pub title: String,
    /// The finding or record it started from.
    pub seed: String,
    /// First and last moment of its steps.
    pub from: String,
    /// Last moment of its steps.
    pub to: String,
    /// How many steps it has.
    pub steps: u64,
    /// When it was reconstructed.
    pub created_at: String,
    /// Who asked for it.
    pub created_by: String,
}

impl Store {
    /// Keeps a reconstructed incident; the same id replaces an earlier reconstruction.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn keep_incident(&self, row: &IncidentRow, document: &str) -> Result<(), Error> {
        self.db.lock().execute(
            "INSERT OR REPLACE INTO incident(id, title, seed, from_at, to_at, steps, created_at, created_by, document)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![row.id, row.title, row.seed, row.from, row.to, row.steps as i64, row.created_at, row.created_by, document],
        )?;
        Ok(())
    }

    /// Incidents, latest reconstruction first, at most 1,000.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn incidents(&self) -> Result<Vec<IncidentRow>, Error> {
        let db = self.db.lock();
        let mut statement = db.prepare(
            "SELECT id, title, seed, from_at, to_at, steps, created_at, created_by FROM incident ORDER BY created_at DESC LIMIT 1000",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(IncidentRow {
                id: row.get(0)?,
                title: row.get(1)?,
                seed: row.get(2)?,
                from: row.get(3)?,
                to: row.get(4)?,
                steps: row.get::<_, i64>(5)?.unsigned_abs(),
                created_at: row.get(6)?,
                created_by: row.get(7)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One incident's document, as it was reconstructed.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Damaged`].
    pub fn incident(&self, id: &str) -> Result<Value, Error> {
        let found: Option<String> =
            self.db.lock().query_row("SELECT document FROM incident WHERE id = ?1", [id], |row| row.get(0)).optional()?;
        let text = found.ok_or_else(|| Error::NotFound { what: "incident", id: id.to_owned() })?;
        serde_json::from_str(&text).map_err(|error| Error::Damaged {
            what: "incident",
            id: id.to_owned(),
            reason: error.to_string(),
        })
    }
}
