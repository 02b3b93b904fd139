//! What was made from records whose content was taken out: evidence in alerts, incidents that cite them.
use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::Path,
};

use reeve_record::RecordId;
use rusqlite::{Connection, params};
use serde_json::{Map, Value};

use crate::{Error, Store};

/// How much of it went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Forgotten {
    /// Alerts whose finding lost what it quoted.
    pub alerts: u64,
    /// Incidents that were removed; they can be reconstructed from what is left.
    pub incidents: u64,
}

impl Store {
    /// Takes out what was made from records for which `gone` says so. An alert that cites one keeps rule, times and count, and loses host, user, and all that its
    /// finding quotes; an incident that cites one is removed.
    ///
    /// # Errors
    /// [`Error::Store`]; nothing is changed then.
    pub fn forget(&self, gone: &dyn Fn(RecordId) -> bool) -> Result<Forgotten, Error> {
        let mut db = self.db.lock();
        let transaction = db.transaction()?;
        let mut forgotten = Forgotten::default();
        for alert in alerts_citing(&transaction, gone)? {
            let finding: String = transaction.query_row("SELECT finding FROM alert WHERE id = ?1", [&alert], |row| row.get(0))?;
            let bare = without_evidence(&finding);
            if bare != finding {
                transaction.execute("UPDATE alert SET finding = ?2, host = '', user = '' WHERE id = ?1", params![alert, bare])?;
                forgotten.alerts += 1;
            }
        }
        let mut incidents = transaction.prepare("SELECT id, document FROM incident")?;
        let cites = |row: &rusqlite::Row<'_>| {
            let document: String = row.get(1)?;
            let cites = serde_json::from_str::<Value>(&document).is_ok_and(|document| cites(&document, gone));
            Ok((row.get::<_, String>(0)?, cites))
        };
        let found: Vec<(String, bool)> = incidents.query_map([], cites)?.collect::<Result<_, _>>()?;
        drop(incidents);
        for (id, _) in found.iter().filter(|(_, cites)| *cites) {
            transaction.execute("DELETE FROM incident WHERE id = ?1", [id])?;
            forgotten.incidents += 1;
        }
        transaction.commit()?;
        Ok(forgotten)
    }
}

fn alerts_citing(db: &Connection, gone: &dyn Fn(RecordId) -> bool) -> Result<Vec<String>, Error> {
    let mut statement = db.prepare("SELECT DISTINCT alert, record FROM raised ORDER BY alert")?;
    let cited = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, RecordId::unpack(row.get::<_, i64>(1)?.cast_unsigned())));
    let mut found: Vec<String> = Vec::new();
    for row in statement.query_map([], cited)? {
        let (alert, record) = row?;
        if found.last() != Some(&alert) && gone(record) {
            found.push(alert);
        }
    }
    Ok(found)
}

/// Only what says which rule matched, and when.
fn without_evidence(finding: &str) -> String {
    let whole: Map<String, Value> = serde_json::from_str(finding).unwrap_or_default();
    let mut bare: Map<String, Value> = whole.into_iter().filter(|(name, _)| KEPT.contains(&name.as_str())).collect();
    if let Some(Value::Object(info)) = bare.get_mut("finding_info") {
        info.retain(|name, _| INFO_KEPT.contains(&name.as_str()));
    }
    bare.insert("comment".into(), "the content this finding rests on was taken out of the record".into());
    Value::Object(bare).to_string()
}

/// Whether a document names a record that is gone.
fn cites(value: &Value, gone: &dyn Fn(RecordId) -> bool) -> bool {
    match value {
        Value::String(text) => text.parse().is_ok_and(gone),
        Value::Array(values) => values.iter().any(|value| cites(value, gone)),
        Value::Object(fields) => fields.values().any(|value| cites(value, gone)),
        _ => false,
    }
}

/// Empties the database's write-ahead file and overwrites it, since removing it would leave the pages of before on the medium.
pub(crate) fn erase_wal(db: &Connection, path: &Path) -> io::Result<()> {
    let busy: i64 = db.query_row("PRAGMA wal_checkpoint(FULL)", [], |row| row.get(0)).map_err(io::Error::other)?;
    if busy != 0 {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    // All of it is in the database now, so nobody reads these bytes again; closing removes the file.
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let mut file = match OpenOptions::new().write(true).open(Path::new(&wal)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let mut left = file.metadata()?.len();
    let zeros = vec![0; left.min(1 << 20) as usize];
    while left > 0 {
        let part = left.min(zeros.len() as u64) as usize;
        file.write_all(&zeros[..part])?;
        left -= part as u64;
    }
    file.sync_all()
}

const KEPT: [&str; 13] = [
    "activity_id",
    "activity_name",
    "category_name",
    "category_uid",
    "class_name",
    "class_uid",
    "finding_info",
    "metadata",
    "severity",
    "severity_id",
    "time",
    "type_name",
    "type_uid",
];
const INFO_KEPT: [&str; 4] = ["analytic", "attacks", "title", "uid"];
