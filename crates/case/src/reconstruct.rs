//! An incident from what is stored: events through the gate, findings from the queue.

use std::{collections::BTreeMap, fmt};

use jiff::{SignedDuration, Timestamp};
use reeve_access::{Reads, Scoped};
use reeve_incident::{EventRow, Events, FindingRef, Options, Want, reconstruct, story};
use reeve_lake::EventFilter;
use reeve_record::{Certainty, RecordId};
use serde_json::Value;
use tokio::runtime::Handle;

use crate::{Error, IncidentRow, Raised, Store};

/// Findings looked at around the seed.
const FINDINGS_MAX: usize = 50_000;

/// Where a reconstruction starts.
#[derive(Clone, Debug)]
pub enum Seed {
    /// An alert of the queue.
    Alert(String),
    /// A record.
    Record(RecordId),
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seed::Alert(id) => write!(f, "alert {id}"),
            Seed::Record(id) => write!(f, "record {id}"),
        }
    }
}

/// Reconstructs the incident that was asked for, keeps it and gives its document: the incident with its `story`, and for every
/// cited record the source and its number there. Blocks; must not be called on an async thread.
///
/// # Errors
/// [`Error::NotFound`] if there is no such alert or event, [`Error::Reconstruction`] if events cannot be read.
pub fn reconstruct_and_keep(store: &Store, reads: &Reads, scoped: &Scoped<Seed>, runtime: &Handle) -> Result<Value, Error> {
    let stored = Stored { reads, scoped, runtime };
    let (seed, around) = match scoped.what() {
        Seed::Alert(id) => (reeve_incident::Seed::Finding(id.clone()), store.alert(id)?.first_at),
        Seed::Record(id) => (reeve_incident::Seed::Record(*id), stored.time_of(*id)?),
    };
    let options = Options::default();
    let bound = |by: SignedDuration| around.checked_add(by).unwrap_or(around);
    let raised = store.findings(bound(-options.before), bound(options.after), FINDINGS_MAX)?;
    let mut incident = reconstruct(&stored, &by_alert(raised), &seed, &options).map_err(|error| match error {
        reeve_incident::Error::SeedUnknown { .. } => Error::NotFound { what: "event of the", id: scoped.what().to_string() },
        reeve_incident::Error::Storage { reason } => Error::Reconstruction { reason },
    })?;
    stored.number(&mut incident.citations)?;
    let telling = story(&incident);
    let mut document = serde_json::to_value(&incident).map_err(|error| Error::Reconstruction { reason: error.to_string() })?;
    let row = IncidentRow {
        id: incident.id,
        title: incident.title,
        seed: seed.to_string(),
        from: incident.from.to_string(),
        to: incident.to.to_string(),
        steps: incident.steps.len() as u64,
        created_at: Timestamp::now().to_string(),
        created_by: scoped.person().name.clone(),
    };
    if let Some(object) = document.as_object_mut() {
        object.insert("story".to_owned(), Value::String(telling));
        object.insert("created_at".to_owned(), Value::String(row.created_at.clone()));
        object.insert("created_by".to_owned(), Value::String(row.created_by.clone()));
    }
    store.keep_incident(&row, &document.to_string())?;
    Ok(document)
}

fn by_alert(raised: Vec<Raised>) -> Vec<FindingRef> {
    let mut findings: BTreeMap<String, FindingRef> = BTreeMap::new();
    for one in raised {
        let techniques = one.techniques.as_array().into_iter().flatten();
        let finding = findings.entry(one.alert.clone()).or_insert_with(|| FindingRef {
            id: one.alert,
            severity_id: crate::alert::severity(&one.level),
            techniques: techniques.filter_map(|technique| technique["uid"].as_str().map(str::to_owned)).collect(),
            title: one.title,
            records: Vec::new(),
        });
        finding.records.push(one.record);
    }
    findings.into_values().collect()
}

/// Events of the lake, read under a request that was recorded.
struct Stored<'a> {
    reads: &'a Reads,
    scoped: &'a Scoped<Seed>,
    runtime: &'a Handle,
}

impl Stored<'_> {
    fn read(&self, filter: &EventFilter) -> Result<Vec<reeve_lake::EventRow>, Error> {
        let rows = self.runtime.block_on(self.reads.events_for(self.scoped, filter));
        rows.map_err(|error| Error::Reconstruction { reason: error.to_string() })
    }

    fn time_of(&self, record: RecordId) -> Result<Timestamp, Error> {
        let rows = self.read(&EventFilter { records: vec![record], limit: Some(1), ..EventFilter::default() })?;
        rows.first().map(|row| row.time).ok_or_else(|| Error::NotFound { what: "event of record", id: record.to_string() })
    }

    /// Says of each cited record where it stands in its source, from 1.
    fn number(&self, citations: &mut BTreeMap<String, reeve_incident::Citation>) -> Result<(), Error> {
        let ids: Vec<RecordId> = citations.keys().filter_map(|id| id.parse().ok()).collect();
        let receipts =
            self.reads.receipts_for(self.scoped, &ids).map_err(|error| Error::Reconstruction { reason: error.to_string() })?;
        for (id, receipt) in ids.iter().zip(receipts) {
            if let (Some(citation), Some(receipt)) = (citations.get_mut(&id.to_string()), receipt) {
                citation.number = Some(receipt.sequence + 1);
            }
        }
        Ok(())
    }
}

impl Events for Stored<'_> {
    fn events(&self, want: &Want) -> Result<Vec<EventRow>, reeve_incident::Error> {
        let filter = EventFilter {
            from: want.from,
            to: want.to,
            class_uids: want.class_uids.clone(),
            equal: want.equal.iter().map(|(name, value)| (name.clone(), vec![value.clone()])).collect(),
            records: want.records.clone(),
            limit: Some(want.limit),
            native: true,
            ..EventFilter::default()
        };
        let rows = self.read(&filter).map_err(|error| reeve_incident::Error::Storage { reason: error.to_string() })?;
        Ok(rows.into_iter().map(event).collect())
    }
}

fn event(row: reeve_lake::EventRow) -> EventRow {
    let text = |value: Value| if let Value::String(text) = value { text } else { value.to_string() };
    let attributes: BTreeMap<String, String> = row.fields.into_iter().map(|(name, value)| (name, text(value))).collect();
    EventRow {
        records: if row.records.is_empty() { vec![row.record] } else { row.records },
        record: row.record,
        part: row.part,
        time: row.time,
        certainty: certainty(&row.time_certainty),
        source: row.source,
        number: None,
        host: attributes.get("device.hostname").cloned().unwrap_or_default(),
        class_uid: row.class_uid,
        activity_id: row.activity_id,
        status_id: row.status_id,
        attributes,
        native: row.native.unwrap_or_default(),
    }
}

fn certainty(name: &str) -> Certainty {
    match name {
        "exact" => Certainty::Exact,
        "zone_inferred" => Certainty::ZoneInferred,
        "year_inferred" => Certainty::YearInferred,
        _ => Certainty::Received,
    }
}
