//! Numbered sources of a running server: their deliveries, what is noticed about them, and what is lost on the way in.
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use reeve_access::Access;
use reeve_case::NewFinding;
use reeve_completeness::{Error, Notice, Numbered, NumberedOptions, SourceKey};
use reeve_record::RecordId;
use reeve_source::{Counters, Delivered, Deliveries, Delivering, DeliveryError, KeepError, Snapshot};
use serde_json::{Value, json};

use super::{keep::Space, reading::Findings};

/// Opens the numbered sources of a data folder; what is noticed becomes findings.
///
/// # Errors
/// A registration could not be noted in the ledger.
pub(crate) fn open(
    dir: &Path,
    ledger: Arc<reeve_ledger::Ledger>,
    sources: Vec<SourceKey>,
    findings: Arc<dyn Findings>,
) -> Result<Numbered, Error> {
    let noticed = move |record: RecordId, notice: &Notice| {
        let Some(finding) = finding(record, notice) else { return };
        // Not lost if this fails: the notice is a record, and raised again at the next start.
        if let Err(error) = findings.take(&[finding]) {
            tracing::error!(%error, %record, "a notice could not be put into the alert queue");
        }
    };
    Numbered::open(ledger, NumberedOptions { copy: dir.join("deliveries.json"), sources, noticed: Box::new(noticed) })
}

/// Hands deliveries to the ledger, unless its disk is full.
pub(crate) struct Gate {
    pub(crate) numbered: Arc<Numbered>,
    pub(crate) space: Arc<Space>,
}

impl Deliveries for Gate {
    fn is_numbered(&self, source: &str) -> bool {
        self.numbered.is_numbered(source)
    }

    fn deliver(&self, source: &str, head: String, body: Bytes) -> Delivering {
        if let Some(free) = self.space.lacking() {
            let full = format!("{free} bytes are free on the data folder's disk, which is less than its reserve");
            return Box::pin(std::future::ready(Err(DeliveryError::Keep(KeepError::Full(full)))));
        }
        let (numbered, source) = (self.numbered.clone(), source.to_owned());
        Box::pin(async move {
            let delivering = tokio::task::spawn_blocking(move || numbered.deliver(&source, &head, &body));
            let outcome = delivering.await.map_err(|_| DeliveryError::Keep(KeepError::Stopping))?.map_err(refused)?;
            let reeve_completeness::Outcome { accepted, first, last, duplicate, receipt } = outcome;
            Ok(Delivered { accepted, first, last, duplicate, receipt })
        })
    }
}

fn refused(error: Error) -> DeliveryError {
    let status = match &error {
        Error::Malformed(_) => 400,
        Error::NotThisSource(_) => 403,
        Error::Contradiction { .. } | Error::TooManyGaps | Error::EpochOver { .. } => 409,
        Error::Ledger(error) => return DeliveryError::Keep(super::keep::told(error.clone())),
        Error::Copy { .. } => 503,
    };
    DeliveryError::Refused { status, code: error.code(), reason: error.to_string() }
}

/// A notice as an OCSF Detection Finding of Reeve's own.
fn finding(record: RecordId, notice: &Notice) -> Option<NewFinding> {
    let rule = notice.rule()?;
    let (title, level, severity, message) = match notice {
        Notice::Source { .. } => return None,
        Notice::Gap { source, epoch, first, count, .. } => (
            "Numbered Source Left A Gap",
            "medium",
            3,
            format!("{count} records of `{source}` are missing: numbers {first} to {} of its epoch {epoch}", first + count - 1),
        ),
        Notice::Silence { source, heard, heartbeat_seconds, .. } => (
            "Numbered Source Went Silent",
            "medium",
            3,
            match heard {
                Some(heard) => format!("`{source}` promised a heartbeat every {heartbeat_seconds} s and was last heard {heard}"),
                None => format!("`{source}` promised a heartbeat every {heartbeat_seconds} s and was never heard"),
            },
        ),
        Notice::Contradiction { source, epoch, first, count, why, .. } => (
            "Numbered Source Contradicts Itself",
            "high",
            4,
            format!(
                "a signed delivery of `{source}` (epoch {epoch}, first {first}, {count} records) {why}: its key is used twice, or its records were changed"
            ),
        ),
    };
    let detail = serde_json::to_value(notice).unwrap_or_default();
    let finding = json!({
        "class_uid": 2004, "class_name": "Detection Finding", "category_uid": 2, "category_name": "Findings", "activity_id": 1,
        "type_uid": 200_401, "severity_id": severity, "severity": title_case(level), "status_id": 1,
        "time": notice.at().as_millisecond(), "message": message,
        "metadata": { "version": "1.8.0", "product": { "name": "Reeve", "vendor_name": "Reeve" } },
        "finding_info": {
            "uid": format!("{rule}/{record}"), "title": title, "desc": message, "created_time": notice.at().as_millisecond(),
            "analytic": { "uid": rule, "name": title, "type_id": 1, "type": "Rule" },
        },
        "evidences": [{ "data": { "source": notice.source(), "record": record, "notice": detail } }],
    });
    Some(NewFinding {
        rule_uid: rule.to_owned(),
        title: title.to_owned(),
        level: level.to_owned(),
        host: notice.source().to_owned(),
        user: String::new(),
        at: notice.at(),
        record,
        part: 0,
        techniques: Value::Array(Vec::new()),
        finding,
    })
}

fn title_case(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

/// What was lost on the way in since it was last written down.
pub(crate) struct Losses {
    counters: Arc<Counters>,
    access: Arc<Access>,
    told: Mutex<(Timestamp, BTreeMap<String, u64>)>,
}

impl Losses {
    pub(crate) fn new(counters: Arc<Counters>, access: Arc<Access>) -> Self {
        Self { counters, access, told: Mutex::new((Timestamp::now(), BTreeMap::new())) }
    }

    /// Writes what was lost or refused since the last call into the audit ledger, if anything was. Blocks for one disk write.
    pub(crate) fn tell(&self) {
        let mut told = self.told.lock();
        let (since, before) = (told.0, told.1.clone());
        let mut now = before;
        let detail = changes(&self.counters.snapshot(), &mut now);
        let Some(mut detail) = detail else { return };
        detail["since"] = json!(since);
        match self.access.own_act("intake_losses", detail) {
            Ok(_) => *told = (Timestamp::now(), now),
            Err(error) => tracing::error!(%error, "losses could not be recorded and will be tried again"),
        }
    }
}

/// The counts that grew, by how much; `before` has what each was and is brought up to date.
fn changes(snapshot: &Snapshot, before: &mut BTreeMap<String, u64>) -> Option<Value> {
    let mut grown = |place: &str, counts: &BTreeMap<String, u64>| -> BTreeMap<String, u64> {
        let mut more = BTreeMap::new();
        for (reason, count) in counts {
            let last = before.insert(format!("{place}\0{reason}"), *count).unwrap_or(0);
            if *count > last {
                more.insert(reason.clone(), count - last);
            }
        }
        more
    };
    let mut sources = Vec::new();
    for line in &snapshot.sources {
        let name = &line.source;
        let (dropped, refused) = (grown(&format!("s\0{name}\0d"), &line.dropped), grown(&format!("s\0{name}\0r"), &line.refused));
        let problems = grown(&format!("s\0{name}\0p"), &line.problems);
        if !(dropped.is_empty() && refused.is_empty() && problems.is_empty()) {
            sources.push(json!({ "source": name, "dropped": dropped, "refused": refused, "problems": problems }));
        }
    }
    let mut listeners = Vec::new();
    for line in &snapshot.listeners {
        let name = &line.listener;
        let (dropped, refused) = (grown(&format!("l\0{name}\0d"), &line.dropped), grown(&format!("l\0{name}\0r"), &line.refused));
        if !(dropped.is_empty() && refused.is_empty()) {
            listeners.push(json!({ "listener": name, "dropped": dropped, "refused": refused }));
        }
    }
    (!(sources.is_empty() && listeners.is_empty())).then(|| json!({ "since": null, "sources": sources, "listeners": listeners }))
}

/// When the folder's checkpoint was signed: until then at least a server ran.
pub(crate) fn last_alive(data: &Path) -> Option<Timestamp> {
    let checkpoint = std::fs::read_to_string(data.join("ledger/log/checkpoint")).ok()?;
    checkpoint.lines().nth(3)?.strip_prefix("time ")?.parse().ok()
}

/// Looks after silences, losses and the copy of what is known, until it is aborted.
pub(crate) async fn look_after(numbered: Arc<Numbered>, losses: Arc<Losses>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    for second in 0u64.. {
        tick.tick().await;
        let (numbered, losses) = (numbered.clone(), losses.clone());
        let turn = tokio::task::spawn_blocking(move || {
            numbered.watch();
            if second % LOSSES_EVERY == LOSSES_EVERY - 1 {
                losses.tell();
            }
            if second % SAVE_EVERY == SAVE_EVERY - 1 {
                save(&numbered);
            }
        });
        let _ = turn.await;
    }
}

/// Writes the copy of what is known; the next start reads the rest from the ledger.
pub(crate) fn save(numbered: &Numbered) {
    if let Err(error) = numbered.save() {
        tracing::warn!(%error, "the next start reads more of the ledger");
    }
}

/// Seconds between two acts about losses.
const LOSSES_EVERY: u64 = 15;
/// Seconds between two copies.
const SAVE_EVERY: u64 = 60;
