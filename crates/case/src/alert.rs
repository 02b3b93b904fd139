use jiff::Timestamp;
use reeve_record::RecordId;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter, types::Value as Sql};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{Error, Store};

/// Findings of one rule on one host and user join the alert they follow within this time.
const JOIN_WITHIN_MS: i64 = 60 * 60 * 1000;
/// Records listed on an alert; the count goes on beyond it.
const RECORDS_SHOWN: usize = 200;
// What is asked for each finding; a test holds that each goes by an index.
const KNOWN: &str = "SELECT 1 FROM raised WHERE rule_uid = ?1 AND record = ?2 AND part = ?3";
const OPEN_ALERT: &str =
    "SELECT id FROM alert WHERE rule_uid = ?1 AND host = ?2 AND user = ?3 AND last_at >= ?4 AND first_at <= ?5
    AND status IN ('new', 'in_progress') ORDER BY last_at DESC LIMIT 1";
const COUNT_UP: &str =
    "UPDATE alert SET count = count + 1, first_at = min(first_at, ?2), last_at = max(last_at, ?2) WHERE id = ?1";
const NEXT_SEQ: &str = "SELECT coalesce(max(seq), 0) + 1 FROM alert";

/// One match of one rule, as the detection engine gives it.
pub struct NewFinding {
    /// The rule.
    pub rule_uid: String,
    /// Its title.
    pub title: String,
    /// `informational`, `low`, `medium`, `high` or `critical`.
    pub level: String,
    /// The host it was seen on, empty if unknown.
    pub host: String,
    /// The user it was seen for, empty if unknown.
    pub user: String,
    /// When the event happened.
    pub at: Timestamp,
    /// The event: its first record, and which event of it.
    pub record: RecordId,
    /// Which event of the record, from 0.
    pub part: u32,
    /// ATT&CK techniques as `[{"uid","name"}]`.
    pub techniques: Value,
    /// The OCSF Detection Finding.
    pub finding: Value,
}

/// Where the work on an alert stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertStatus {
    /// Nobody has looked.
    New,
    /// Somebody is on it.
    InProgress,
    /// Done.
    Resolved,
    /// Known and not wanted again in the queue.
    Suppressed,
}

impl AlertStatus {
    /// The name in the API and the database.
    pub const fn name(self) -> &'static str {
        match self {
            AlertStatus::New => "new",
            AlertStatus::InProgress => "in_progress",
            AlertStatus::Resolved => "resolved",
            AlertStatus::Suppressed => "suppressed",
        }
    }

    /// The status of that name.
    ///
    /// # Errors
    /// [`Error::Status`].
    pub fn parse(name: &str) -> Result<Self, Error> {
        let all = [AlertStatus::New, AlertStatus::InProgress, AlertStatus::Resolved, AlertStatus::Suppressed];
        all.into_iter().find(|status| status.name() == name).ok_or_else(|| Error::Status(name.to_owned()))
    }
}

/// An alert: findings of one rule on one host and user that followed each other within an hour.
#[derive(Clone, Debug, Serialize)]
pub struct Alert {
    /// Stable: made from rule, host, user and its first record.
    pub id: String,
    /// The rule's title.
    pub title: String,
    /// OCSF severity.
    pub severity_id: u32,
    /// The rule's level.
    pub level: String,
    /// Where the work stands.
    pub status: AlertStatus,
    /// Who works on it.
    pub assignee: Option<String>,
    /// The rule.
    pub rule_uid: String,
    /// Host, empty if unknown.
    pub host: String,
    /// User, empty if unknown.
    pub user: String,
    /// First and last time seen.
    pub first_at: Timestamp,
    /// Last time seen.
    pub last_at: Timestamp,
    /// How many findings it stands for.
    pub count: u64,
    /// Records that raised it, oldest first, at most 200.
    pub records: Vec<RecordId>,
    /// ATT&CK techniques.
    pub techniques: Value,
    /// The first finding, OCSF 2004.
    pub finding: Value,
    /// Changes, oldest first; only on a single alert.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Value>,
}

/// Which alerts to list.
#[derive(Clone, Debug, Default)]
pub struct AlertFilter {
    /// Only this status.
    pub status: Option<AlertStatus>,
    /// At least this severity.
    pub severity: Option<u32>,
    /// Text in title, host or user.
    pub text: Option<String>,
    /// Rows to skip.
    pub offset: u64,
    /// Rows to give, 1 to 1,000.
    pub limit: u64,
}

/// One page of alerts, most severe and latest first.
#[derive(Debug, Serialize)]
pub struct AlertPage {
    /// The alerts.
    pub alerts: Vec<Alert>,
    /// How many the filter matches in all.
    pub total: u64,
}

/// One finding in the queue, with the alert it joined.
#[derive(Clone, Debug)]
pub struct Raised {
    /// The alert.
    pub alert: String,
    /// The rule.
    pub rule_uid: String,
    /// The event's first record.
    pub record: RecordId,
    /// Which event of it.
    pub part: u32,
    /// When the event happened, to the millisecond.
    pub at: Timestamp,
    /// The rule's title.
    pub title: String,
    /// The rule's level.
    pub level: String,
    /// ATT&CK techniques as `[{"uid","name"}]`.
    pub techniques: Value,
}

/// A change somebody makes to an alert.
#[derive(Clone, Debug)]
pub struct Change {
    /// New status.
    pub status: Option<AlertStatus>,
    /// New assignee; empty takes it off.
    pub assignee: Option<String>,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
    /// The request's record in the audit ledger.
    pub request: RecordId,
}

impl Store {
    /// Takes findings into the queue in one transaction; one known by (rule, record, part) changes nothing. Returns how many were new.
    ///
    /// # Errors
    /// [`Error::Store`]; then none of them was taken.
    pub fn take(&self, findings: &[NewFinding]) -> Result<u64, Error> {
        let mut db = self.db.lock();
        let transaction = db.transaction()?;
        let mut new = 0;
        for finding in findings {
            new += u64::from(take_one(&transaction, finding)?);
        }
        transaction.commit()?;
        Ok(new)
    }

    /// Lists alerts.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Damaged`].
    pub fn alerts(&self, filter: &AlertFilter) -> Result<AlertPage, Error> {
        let (condition, mut values) = condition(filter);
        let db = self.db.lock();
        let total: i64 =
            db.query_row(&format!("SELECT count(*) FROM alert WHERE {condition}"), params_from_iter(values.iter()), |row| {
                row.get(0)
            })?;
        values.push(Sql::from(i64::try_from(filter.limit.clamp(1, 1000)).unwrap_or(100)));
        values.push(Sql::from(i64::try_from(filter.offset).unwrap_or(i64::MAX)));
        let sql = format!("SELECT * FROM alert WHERE {condition} ORDER BY severity_id DESC, last_at DESC, seq LIMIT ? OFFSET ?");
        let mut statement = db.prepare(&sql)?;
        let rows: Vec<Alert> = statement.query_map(params_from_iter(values.iter()), alert)?.collect::<Result<_, _>>()?;
        let mut alerts = Vec::with_capacity(rows.len());
        for mut row in rows {
            row.records = records(&db, &row.id)?;
            alerts.push(row);
        }
        Ok(AlertPage { alerts, total: total.unsigned_abs() })
    }

    /// One alert with its history.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn alert(&self, id: &str) -> Result<Alert, Error> {
        let db = self.db.lock();
        let found = db.query_row("SELECT * FROM alert WHERE id = ?1", [id], alert).optional()?;
        let mut found = found.ok_or_else(|| Error::NotFound { what: "alert", id: id.to_owned() })?;
        found.records = records(&db, id)?;
        let mut statement = db.prepare("SELECT at, by, change, reason, request FROM history WHERE alert = ?1 ORDER BY rowid")?;
        let entry = |row: &Row<'_>| {
            Ok(serde_json::json!({
                "at": row.get::<_, String>(0)?, "by": row.get::<_, String>(1)?, "change": row.get::<_, String>(2)?,
                "reason": row.get::<_, String>(3)?, "request": row.get::<_, String>(4)?,
            }))
        };
        found.history = statement.query_map([id], entry)?.collect::<Result<_, _>>()?;
        Ok(found)
    }

    /// Every finding whose event happened from `from` to `to`, earliest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn findings(&self, from: Timestamp, to: Timestamp, limit: usize) -> Result<Vec<Raised>, Error> {
        let db = self.db.lock();
        let mut statement = db.prepare_cached(
            "SELECT raised.alert, raised.rule_uid, raised.record, raised.part, raised.at, alert.title, alert.level, alert.techniques
             FROM raised JOIN alert ON alert.id = raised.alert WHERE raised.at BETWEEN ?1 AND ?2
             ORDER BY raised.at, raised.record, raised.part, raised.rule_uid LIMIT ?3",
        )?;
        let rows = statement.query_map(
            params![from.as_millisecond(), to.as_millisecond(), i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| {
                Ok(Raised {
                    alert: row.get(0)?,
                    rule_uid: row.get(1)?,
                    record: RecordId::unpack(row.get::<_, i64>(2)?.cast_unsigned()),
                    part: row.get(3)?,
                    at: Timestamp::from_millisecond(row.get(4)?).unwrap_or_default(),
                    title: row.get(5)?,
                    level: row.get(6)?,
                    techniques: serde_json::from_str(&row.get::<_, String>(7)?).unwrap_or(Value::Null),
                })
            },
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Changes an alert. The request must be in the audit ledger already (`change.request`).
    ///
    /// # Errors
    /// [`Error::NotFound`]; nothing is changed then.
    pub fn change(&self, id: &str, change: &Change) -> Result<Alert, Error> {
        let before = self.alert(id)?;
        let mut what = Vec::new();
        if let Some(status) = change.status.filter(|status| *status != before.status) {
            what.push(format!("status {} → {}", before.status.name(), status.name()));
        }
        let assignee = change.assignee.as_deref().map(|name| if name.is_empty() { None } else { Some(name.to_owned()) });
        if let Some(name) = assignee.as_ref().filter(|name| **name != before.assignee) {
            what.push(format!(
                "assignee {} → {}",
                before.assignee.as_deref().unwrap_or("nobody"),
                name.as_deref().unwrap_or("nobody")
            ));
        }
        if !what.is_empty() {
            let mut db = self.db.lock();
            let transaction = db.transaction()?;
            transaction.execute(
                "UPDATE alert SET status = ?2, assignee = ?3 WHERE id = ?1",
                params![id, change.status.unwrap_or(before.status).name(), assignee.unwrap_or(before.assignee)],
            )?;
            transaction.execute(
                "INSERT INTO history(alert, at, by, change, reason, request) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![id, Timestamp::now().to_string(), change.by, what.join(", "), change.reason, change.request.to_string()],
            )?;
            transaction.commit()?;
        }
        self.alert(id)
    }
}

fn take_one(db: &Connection, finding: &NewFinding) -> Result<bool, Error> {
    let record = finding.record.pack() as i64;
    let known = db.prepare_cached(KNOWN)?.exists(params![finding.rule_uid, record, finding.part])?;
    if known {
        return Ok(false);
    }
    let at = finding.at.as_millisecond();
    let open: Option<String> = db
        .prepare_cached(OPEN_ALERT)?
        .query_row(params![finding.rule_uid, finding.host, finding.user, at - JOIN_WITHIN_MS, at + JOIN_WITHIN_MS], |row| {
            row.get(0)
        })
        .optional()?;
    let id = match open {
        Some(id) => {
            db.prepare_cached(COUNT_UP)?.execute(params![id, at])?;
            id
        }
        None => insert(db, finding, at)?,
    };
    db.prepare_cached("INSERT INTO raised(rule_uid, record, part, alert, at) VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        finding.rule_uid,
        record,
        finding.part,
        id,
        at
    ])?;
    Ok(true)
}

fn insert(db: &Connection, finding: &NewFinding, at: i64) -> Result<String, Error> {
    let mut hash = Sha256::new();
    let key = format!("{}\0{}\0{}\0{}\0{}", finding.rule_uid, finding.host, finding.user, finding.record, finding.part);
    hash.update(key.as_bytes());
    let id = hex::encode(&hash.finalize()[..8]);
    let seq: i64 = db.prepare_cached(NEXT_SEQ)?.query_row([], |row| row.get(0))?;
    db.prepare_cached(
        "INSERT INTO alert(id, seq, rule_uid, title, level, severity_id, host, user, first_at, last_at, count, techniques, finding)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, 1, ?10, ?11)",
    )?
    .execute(params![
        id,
        seq,
        finding.rule_uid,
        finding.title,
        finding.level,
        severity(&finding.level),
        finding.host,
        finding.user,
        at,
        finding.techniques.to_string(),
        finding.finding.to_string()
    ])?;
    Ok(id)
}

/// OCSF severity of a Sigma level.
pub(crate) fn severity(level: &str) -> u32 {
    match level {
        "informational" => 1,
        "low" => 2,
        "medium" => 3,
        "high" => 4,
        "critical" => 5,
        _ => 0,
    }
}

fn condition(filter: &AlertFilter) -> (String, Vec<Sql>) {
    let (mut terms, mut values) = (vec!["1".to_owned()], Vec::new());
    if let Some(status) = filter.status {
        terms.push("status = ?".to_owned());
        values.push(Sql::from(status.name().to_owned()));
    }
    if let Some(least) = filter.severity {
        terms.push("severity_id >= ?".to_owned());
        values.push(Sql::from(i64::from(least)));
    }
    for word in filter.text.iter().flat_map(|text| text.split_whitespace()).take(16) {
        terms.push("instr(lower(title || ' ' || host || ' ' || user || ' ' || techniques), ?) > 0".to_owned());
        values.push(Sql::from(word.to_lowercase()));
    }
    (terms.join(" AND "), values)
}

fn records(db: &Connection, id: &str) -> Result<Vec<RecordId>, Error> {
    let mut statement = db.prepare_cached("SELECT DISTINCT record FROM raised WHERE alert = ?1 ORDER BY record LIMIT ?2")?;
    let rows =
        statement.query_map(params![id, RECORDS_SHOWN as i64], |row| Ok(RecordId::unpack(row.get::<_, i64>(0)? as u64)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn alert(row: &Row<'_>) -> rusqlite::Result<Alert> {
    let moment =
        |name: &str| -> rusqlite::Result<Timestamp> { Ok(Timestamp::from_millisecond(row.get(name)?).unwrap_or_default()) };
    let document =
        |name: &str| -> rusqlite::Result<Value> { Ok(serde_json::from_str(&row.get::<_, String>(name)?).unwrap_or(Value::Null)) };
    Ok(Alert {
        id: row.get("id")?,
        title: row.get("title")?,
        severity_id: row.get("severity_id")?,
        level: row.get("level")?,
        status: AlertStatus::parse(&row.get::<_, String>("status")?).unwrap_or(AlertStatus::New),
        assignee: row.get("assignee")?,
        rule_uid: row.get("rule_uid")?,
        host: row.get("host")?,
        user: row.get("user")?,
        first_at: moment("first_at")?,
        last_at: moment("last_at")?,
        count: row.get::<_, i64>("count")?.unsigned_abs(),
        records: Vec::new(),
        techniques: document("techniques")?,
        finding: document("finding")?,
        history: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(index: u32, minute: i64) -> NewFinding {
        NewFinding {
            rule_uid: "r1".to_owned(),
            title: "Shell started by a web server".to_owned(),
            level: "high".to_owned(),
            host: "web1".to_owned(),
            user: "www-data".to_owned(),
            at: Timestamp::from_second(1_800_000_000 + minute * 60).expect("in range"),
            record: RecordId { segment: 0, index },
            part: 0,
            techniques: serde_json::json!([]),
            finding: serde_json::json!({"class_uid": 2004}),
        }
    }

    #[test]
    fn findings_join_within_an_hour_and_count_once() -> Result<(), Error> {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = Store::open(dir.path())?;
        assert_eq!(store.take(&[finding(1, 0), finding(2, 30), finding(1, 0), finding(3, 200)])?, 3);
        assert_eq!(store.take(&[finding(2, 30)])?, 0, "the reading may come by twice");
        let page = store.alerts(&AlertFilter { limit: 10, ..AlertFilter::default() })?;
        let counts: Vec<u64> = page.alerts.iter().map(|alert| alert.count).collect();
        assert_eq!((page.total, counts), (2, vec![1, 2]));
        Ok(())
    }

    #[test]
    fn no_step_of_taking_a_finding_walks_through_a_table() -> Result<(), Error> {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = Store::open(dir.path())?;
        let db = store.db.lock();
        for sql in [NEXT_SEQ, OPEN_ALERT, KNOWN, COUNT_UP] {
            let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let wanted = vec![0; plan.parameter_count()];
            let steps: Vec<String> =
                plan.query_map(params_from_iter(wanted), |row| row.get("detail"))?.collect::<Result<_, _>>()?;
            // With thousands of alerts a walk made each new one a millisecond.
            assert!(
                steps.iter().all(|step| !step.starts_with("SCAN alert") && !step.starts_with("SCAN raised")),
                "{sql}: {steps:?}"
            );
        }
        Ok(())
    }

    #[test]
    fn a_change_is_kept_with_its_reason() -> Result<(), Error> {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = Store::open(dir.path())?;
        store.take(&[finding(1, 0)])?;
        let id = store.alerts(&AlertFilter { limit: 1, ..AlertFilter::default() })?.alerts[0].id.clone();
        let change = Change {
            status: Some(AlertStatus::Resolved),
            assignee: Some("ada".to_owned()),
            reason: "planned test".to_owned(),
            by: "ada".to_owned(),
            request: RecordId { segment: 0, index: 7 },
        };
        let changed = store.change(&id, &change)?;
        assert_eq!((changed.status, changed.assignee.as_deref(), changed.history.len()), (AlertStatus::Resolved, Some("ada"), 1));
        assert_eq!(changed.history[0]["request"], "0-7");
        assert!(matches!(store.change("nope", &change), Err(Error::NotFound { .. })));
        // A later finding of the same rule opens a new alert: the resolved one is closed.
        store.take(&[finding(2, 5)])?;
        assert_eq!(store.alerts(&AlertFilter { limit: 10, ..AlertFilter::default() })?.total, 2);
        Ok(())
    }
}
