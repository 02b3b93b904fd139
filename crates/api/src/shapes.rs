//! What the API sends, for its description only: the handlers build these answers as JSON from the crates that own the data.
//!
//! The console's types are made from this, so a field here that the server does not send, or the other way round, is an error;
//! the tests compare the names with real values.
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::error::FaultDetail;

/// How far a time can be trusted to name the moment it says.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeCertainty {
    /// The source wrote date, time and offset.
    Exact,
    /// No offset in the source.
    ZoneInferred,
    /// No year in the source.
    YearInferred,
    /// No usable time in the source: the time of receipt stands in.
    Received,
}

/// An event as a list shows it.
#[derive(Serialize, ToSchema)]
pub struct Row {
    /// The record it was read from, as in `3-17`; with `part` its identity.
    pub record: String,
    /// All records it was read from, if several.
    pub records: Vec<String>,
    /// Which event of the record it is.
    pub part: u32,
    /// When it happened, RFC 3339.
    pub time: String,
    /// How far `time` can be trusted.
    pub time_certainty: TimeCertainty,
    /// When its record was received, RFC 3339.
    pub received_at: String,
    /// OCSF class.
    pub class_uid: u32,
    /// Its caption, if the class is known.
    #[schema(required)]
    pub class_name: Option<String>,
    /// OCSF activity.
    pub activity_id: u32,
    /// OCSF severity.
    pub severity_id: u32,
    /// The host it happened on, if the event says.
    #[schema(required)]
    pub host: Option<String>,
    /// The source's name.
    pub source: String,
    /// What decoded it.
    pub decoder: String,
    /// One line that says what happened; may be empty.
    pub summary: String,
    /// The promoted OCSF attributes it has, by dotted path.
    pub fields: BTreeMap<String, Value>,
}

/// What an answer cost, and whether it is whole.
#[derive(Serialize, ToSchema)]
pub struct Cost {
    /// Rows that scans looked at.
    pub rows_scanned: u64,
    /// Bytes read from files.
    pub bytes_scanned: u64,
    /// Files opened.
    pub files: u64,
    /// Files that the catalog's ranges ruled out.
    pub files_pruned: u64,
    /// Time since the search began.
    pub elapsed_ms: u64,
    /// Rows returned.
    pub returned: u64,
    /// Rows that match in all; null while unknown, which it stays when the limit was hit.
    #[schema(required)]
    pub matched: Option<u64>,
    /// Whether there are more rows than were returned.
    pub truncated: bool,
    /// Where to go on if there are.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// A column of an answer.
#[derive(Serialize, ToSchema)]
pub struct Column {
    /// Its name; dotted path for OCSF attributes.
    pub name: String,
    /// `text`, `integer`, `number`, `timestamp`, `boolean` or `other`.
    pub kind: String,
}

/// One line of a search's answer.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SearchLine {
    /// Comes first: the columns that follow.
    Columns {
        /// Whether events follow as `row`, else rows of values as `table`.
        events: bool,
        /// The columns.
        columns: Vec<Column>,
    },
    /// Something the asker should know.
    Note {
        /// What.
        message: String,
    },
    /// An event.
    Row {
        /// The event.
        row: Row,
    },
    /// Rows of values, as many in each as there are columns.
    Table {
        /// The rows.
        rows: Vec<Vec<Value>>,
    },
    /// What was done so far.
    Progress(Cost),
    /// Comes last: the answer is complete.
    Done {
        /// What it cost.
        cost: Cost,
    },
    /// Comes last: the search failed.
    Error {
        /// Why.
        error: FaultDetail,
    },
}

/// Counts over time.
#[derive(Serialize, ToSchema)]
pub struct Histogram {
    /// Start of the first bucket, RFC 3339.
    pub from: String,
    /// End of the range, exclusive.
    pub to: String,
    /// Width of a bucket in milliseconds.
    pub bucket_ms: u64,
    /// All buckets in order, empty ones too.
    pub buckets: Vec<Bucket>,
    /// Events counted: the sum of the buckets.
    pub count: u64,
}

/// One bucket of a histogram.
#[derive(Serialize, ToSchema)]
pub struct Bucket {
    /// Its start, RFC 3339.
    pub at: String,
    /// Events in it.
    pub count: u64,
    /// Those by `severity_id`.
    pub by_severity: BTreeMap<String, u64>,
}

/// The fields that matching events have.
#[derive(Serialize, ToSchema)]
pub struct Fields {
    /// The most common first.
    pub fields: Vec<FieldSummary>,
    /// Events looked at.
    pub events: u64,
    /// Whether there were more: counts are then those of a sample of the latest days.
    pub sampled: bool,
}

/// One field with its most frequent values.
#[derive(Serialize, ToSchema)]
pub struct FieldSummary {
    /// OCSF path, or native name.
    pub name: String,
    /// `text`, `integer`, … or `native`.
    pub kind: String,
    /// Events that have it.
    pub count: u64,
    /// Distinct values; 2,000 means at least that many.
    pub distinct: u64,
    /// The most frequent values.
    pub top: Vec<FieldValue>,
}

/// A value and how often it occurs.
#[derive(Serialize, ToSchema)]
pub struct FieldValue {
    /// The value as text.
    pub value: String,
    /// Events that have it.
    pub count: u64,
}

/// What was noted when a record was received.
#[derive(Serialize, ToSchema)]
pub struct Receipt {
    /// Name of the source the record came from.
    pub source: String,
    /// Which opening of the ledger numbered it: sequences start again from 0 with each epoch.
    pub epoch: u64,
    /// Number of the record among those of its source in this epoch, from 0.
    pub sequence: u64,
    /// When it was received, by the server's own clock.
    pub received_at: String,
    /// The way it came, as in `syslog_tcp`.
    pub transport: String,
    /// When the source claims it happened, where the receiver already knew.
    #[schema(required)]
    pub claimed: Option<ClaimedTime>,
    /// Label of the retention and access regime it falls under.
    pub policy: String,
}

/// A time as a source gave it.
#[derive(Serialize, ToSchema)]
pub struct ClaimedTime {
    /// The moment, RFC 3339.
    pub at: String,
    /// What had to be inferred to know it.
    pub certainty: TimeCertainty,
}

/// Something wrong with the bytes of a record.
#[derive(Serialize, ToSchema)]
pub struct Problem {
    /// A stable name, as in `json.depth`.
    pub code: String,
    /// Byte offset in the record.
    pub offset: u64,
    /// What was found there.
    pub detail: String,
}

/// One event with its four faces. A record that was not read yet has bytes and receipt; the rest is null.
#[derive(Serialize, ToSchema)]
pub struct FullEvent {
    /// The record asked for.
    pub record: String,
    /// Which event of it.
    pub part: u32,
    /// What was noted when the record was received.
    pub receipt: Receipt,
    /// All records the event was read from.
    pub records: Vec<String>,
    /// The event's own bytes.
    pub raw_base64: String,
    /// The same as text, if it is UTF-8.
    #[schema(required)]
    pub raw_text: Option<String>,
    /// SHA-256 of the event's own bytes, in hexadecimal.
    pub raw_sha256: String,
    /// The fields as the source names them.
    pub native: Value,
    /// The OCSF event.
    pub ocsf: Value,
    /// What decoded it.
    #[schema(required)]
    pub decoder: Option<String>,
    /// What mapped it, with version.
    #[schema(required)]
    pub mapping: Option<String>,
    /// When it happened, RFC 3339.
    #[schema(required)]
    pub time: Option<String>,
    /// How far `time` can be trusted.
    #[schema(required)]
    pub time_certainty: Option<TimeCertainty>,
    /// The event as a list shows it.
    #[schema(required)]
    pub row: Option<Row>,
    /// What was wrong with the bytes.
    pub problems: Vec<Problem>,
}

/// What is known of a record's integrity.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceState {
    /// Recomputed from the stored bytes up to the signed checkpoint just now; only a check says so.
    Verified,
    /// Durable, not sealed yet.
    Pending,
    /// Covered by a signed checkpoint; not checked just now.
    Sealed,
    /// The stored bytes do not give what was signed; only a check says so.
    Failed,
}

/// Where a record stands in the log.
#[derive(Serialize, ToSchema)]
pub struct Evidence {
    /// `sealed` or `pending`.
    pub state: EvidenceState,
    /// Its segment: the entry of the main log.
    pub segment: u32,
    /// Its place in the segment.
    pub leaf_index: u32,
    /// The latest checkpoint, once it covers the record.
    #[schema(required)]
    pub checkpoint: Option<Checkpoint>,
}

/// A record's bytes exactly as received.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct RawBytes(pub Vec<u8>);

/// A signed state of the log.
#[derive(Serialize, ToSchema)]
pub struct Checkpoint {
    /// Name of the log.
    pub origin: String,
    /// Entries of the main log.
    pub size: u64,
    /// Its root hash.
    pub root: String,
    /// When it was signed.
    pub at: String,
}

/// Where the work on an alert stands.
#[derive(Serialize, ToSchema)]
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

/// An alert: findings of one rule on one host and user that followed each other within an hour.
#[derive(Serialize, ToSchema)]
pub struct Alert {
    /// Stable id.
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
    #[schema(required)]
    pub assignee: Option<String>,
    /// The rule.
    pub rule_uid: String,
    /// Host, empty if unknown.
    pub host: String,
    /// User, empty if unknown.
    pub user: String,
    /// First time seen, RFC 3339.
    pub first_at: String,
    /// Last time seen.
    pub last_at: String,
    /// How many findings it stands for.
    pub count: u64,
    /// Records that raised it, oldest first, at most 200.
    pub records: Vec<String>,
    /// ATT&CK techniques the rule names.
    pub techniques: Vec<AlertTechnique>,
    /// The first finding, OCSF 2004.
    pub finding: Value,
    /// Changes, oldest first; only on a single alert that was changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub history: Vec<HistoryEntry>,
}

/// A single alert with why it fired.
#[derive(Serialize, ToSchema)]
pub struct AlertDetail {
    /// The alert.
    #[serde(flatten)]
    pub alert: Alert,
    /// The fields that the rule matched in the first finding, with their values; null if it names none.
    #[schema(required)]
    pub matched_fields: Option<BTreeMap<String, Value>>,
    /// The rule as it is in force; null if it no longer is.
    #[schema(required)]
    pub rule_text: Option<String>,
    /// Who wrote the rule.
    #[schema(required)]
    pub author: Option<String>,
}

/// An ATT&CK technique that a rule names.
#[derive(Serialize, ToSchema)]
pub struct AlertTechnique {
    /// As in `T1059.004`.
    pub uid: String,
    /// As in `Unix Shell`; may be empty.
    pub name: String,
}

/// A change that was made to an alert.
#[derive(Serialize, ToSchema)]
pub struct HistoryEntry {
    /// When, RFC 3339.
    pub at: String,
    /// Who.
    pub by: String,
    /// What, in words.
    pub change: String,
    /// Why.
    pub reason: String,
    /// The request's record in the audit ledger.
    pub request: String,
}

/// A page of alerts, most severe and latest first.
#[derive(Serialize, ToSchema)]
pub struct AlertPage {
    /// The alerts.
    pub alerts: Vec<Alert>,
    /// How many the filter matches in all.
    pub total: u64,
    /// Where the next page starts, if there is one.
    #[schema(required)]
    pub next_cursor: Option<u64>,
}

/// A reconstructed incident in the list.
#[derive(Serialize, ToSchema)]
pub struct IncidentRow {
    /// Its id.
    pub id: String,
    /// One line that says what happened.
    pub title: String,
    /// The finding or record it started from, in words.
    pub seed: String,
    /// First moment of its steps, RFC 3339.
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

/// Reconstructed incidents, latest first.
#[derive(Serialize, ToSchema)]
pub struct IncidentList {
    /// The incidents.
    pub incidents: Vec<IncidentRow>,
}

/// Where a reconstruction started.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Seed {
    /// A finding, by id.
    Finding(String),
    /// A record.
    Record(String),
}

/// What happened, step by step.
#[derive(Serialize, ToSchema)]
pub struct Incident {
    /// Of seed and steps: the same story has the same id.
    pub id: String,
    /// One line.
    pub title: String,
    /// Where the walk started.
    pub seed: Seed,
    /// Time of the first step, RFC 3339.
    pub from: String,
    /// Time of the last.
    pub to: String,
    /// Hosts with a step, in order of appearance.
    pub hosts: Vec<String>,
    /// Users who act in a step, in order of appearance.
    pub users: Vec<String>,
    /// Addresses outside that took part.
    pub addresses: Vec<String>,
    /// Techniques in order of appearance.
    pub techniques: Vec<Technique>,
    /// The story as steps.
    pub steps: Vec<Step>,
    /// Which step led to which.
    pub edges: Vec<Edge>,
    /// The processes behind the steps.
    pub process_tree: Vec<ProcessNode>,
    /// Every cited record's source and number in it.
    pub citations: BTreeMap<String, Citation>,
    /// What a bound or a gap kept out.
    pub notes: Vec<String>,
    /// The story as text.
    pub story: String,
    /// When it was reconstructed.
    pub created_at: String,
    /// Who asked for it.
    pub created_by: String,
}

/// One thing that was done.
#[derive(Serialize, ToSchema)]
pub struct Step {
    /// From 1, in order of time.
    pub n: u64,
    /// When it began, RFC 3339.
    pub time: String,
    /// When its last event happened.
    pub until: String,
    /// The weakest certainty of its events' times.
    pub time_certainty: TimeCertainty,
    /// Whether it surely came after the step before.
    pub certainty: OrderCertainty,
    /// Where.
    pub host: String,
    /// Who.
    pub actor: Actor,
    /// The claim, one sentence.
    pub action: String,
    /// ATT&CK tactic, as in `Discovery`.
    pub tactic: String,
    /// ATT&CK technique.
    pub technique: Technique,
    /// Why it belongs to the incident.
    pub because: Because,
    /// The records it rests on.
    pub records: Vec<String>,
    /// How many further records show the same and are not listed.
    pub records_omitted: u64,
    /// Ids of alerts on those records.
    pub findings: Vec<String>,
}

/// Whether one step surely follows another.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderCertainty {
    /// Both times are exact, and on one clock or far enough apart.
    Certain,
    /// Clocks of two hosts, coarse or inferred times.
    Likely,
    /// A time is only that of receipt.
    Unknown,
}

/// Who did it.
#[derive(Serialize, ToSchema)]
pub struct Actor {
    /// User name.
    #[schema(required)]
    pub user: Option<String>,
    /// Process name, or an address where nothing more is known.
    #[schema(required)]
    pub process: Option<String>,
    /// Logon session on that host.
    #[schema(required)]
    pub session: Option<String>,
}

/// An ATT&CK technique.
#[derive(Serialize, ToSchema)]
pub struct Technique {
    /// As in `T1059.004`.
    pub uid: String,
    /// As in `Unix Shell`.
    pub name: String,
    /// As in `Execution`.
    pub tactic: String,
}

/// The link that makes an event part of the incident.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// It is where the walk started.
    Finding,
    /// Started by a process of the incident, or started one.
    ProcessLineage,
    /// In a logon session of the incident.
    LogonSession,
    /// Runs a file the incident wrote, or wrote one it ran.
    FileWriteExecute,
    /// A logon on another host by a connection of the incident.
    RemoteLogon,
    /// A web request that led to a process or a file of the incident, or of the same client.
    WebRequest,
    /// Talks to an outside address of the incident.
    SharedAddress,
    /// Uses an account the incident made.
    AccountUse,
    /// Started by a service or a task of the incident, or set up one.
    ServiceStart,
}

/// Why a step belongs to the incident.
#[derive(Serialize, ToSchema)]
pub struct Because {
    /// The link.
    pub kind: Link,
    /// The step it links to.
    #[schema(required)]
    pub step: Option<u64>,
}

/// One step led to another.
#[derive(Serialize, ToSchema)]
pub struct Edge {
    /// The earlier step.
    pub from: u64,
    /// The later one.
    pub to: u64,
    /// How.
    pub kind: Link,
}

/// A process of the incident with what it started.
#[derive(Serialize, ToSchema)]
pub struct ProcessNode {
    /// `HOST:PID`, or the process's own unique id.
    pub id: String,
    /// Where.
    pub host: String,
    /// Process id.
    #[schema(required)]
    pub pid: Option<i64>,
    /// Name.
    pub name: String,
    /// Command line as last seen.
    pub cmd_line: String,
    /// User.
    pub user: String,
    /// When it was first seen, RFC 3339.
    pub at: String,
    /// The step it acts in first.
    #[schema(required)]
    pub step: Option<u64>,
    /// The records of its start.
    pub records: Vec<String>,
    /// What it started.
    #[schema(no_recursion)]
    pub children: Vec<ProcessNode>,
}

/// Where a cited record stands.
#[derive(Serialize, ToSchema)]
pub struct Citation {
    /// The source's name.
    pub source: String,
    /// Record number in it, from 1, if known.
    #[schema(required)]
    pub number: Option<u64>,
}

/// Counters by part of the server, for people to read: names come and go with versions.
#[derive(Serialize, ToSchema)]
pub struct Status(pub BTreeMap<String, Value>);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;
    use reeve_record::{Certainty, EventTime, Receipt, RecordId, Transport};
    use serde_json::{Value, json};

    fn description() -> Value {
        serde_json::from_str(&crate::openapi_json()).expect("our own JSON")
    }

    /// Every property that a schema names, and those it says are always there.
    fn named(schemas: &Value, name: &str) -> (BTreeSet<String>, BTreeSet<String>) {
        let schema = &schemas[name];
        let texts = |list: &Value| list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let properties = schema["properties"].as_object().unwrap_or_else(|| panic!("no properties in schema {name}"));
        (properties.keys().cloned().collect(), texts(&schema["required"]))
    }

    /// The value has all that is required, and nothing that is not described.
    fn fits(schemas: &Value, name: &str, value: &impl serde::Serialize) {
        let value = serde_json::to_value(value).expect("JSON form");
        let given: BTreeSet<String> =
            value.as_object().unwrap_or_else(|| panic!("{name} is an object")).keys().cloned().collect();
        let (described, required) = named(schemas, name);
        assert!(given.is_subset(&described), "{name}: {:?} is sent but not described", given.difference(&described));
        assert!(required.is_subset(&given), "{name}: {:?} is described but not sent", required.difference(&given));
    }

    #[test]
    fn api_description_is_the_one_the_console_is_made_from() {
        let path = std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/../../console/openapi.json";
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == crate::openapi_json(),
            "console/openapi.json is not what the server describes: run `cargo xtask openapi`"
        );
    }

    #[test]
    fn api_query_parameters_are_in_the_query() {
        let description = description();
        for path in ["search", "histogram", "fields", "alerts"] {
            let parameters = description["paths"][format!("/api/v1/{path}")]["get"]["parameters"].as_array().cloned();
            let places: Vec<Value> = parameters.into_iter().flatten().map(|parameter| parameter["in"].clone()).collect();
            assert!(!places.is_empty() && places.iter().all(|place| place == "query"), "{path}: {places:?}");
        }
    }

    #[test]
    fn api_answers_have_the_described_names() {
        let description = description();
        let schemas = &description["components"]["schemas"];
        let (record, at) = (RecordId { segment: 3, index: 17 }, Timestamp::UNIX_EPOCH);
        let row = reeve_lake::EventRow {
            record,
            records: Vec::new(),
            part: 0,
            time: at,
            time_certainty: "exact".to_owned(),
            received_at: at,
            class_uid: 1007,
            type_uid: 100_701,
            activity_id: 1,
            severity_id: 1,
            status_id: None,
            source: "web1".to_owned(),
            decoder: "auditd".to_owned(),
            mapping: "auditd/1".to_owned(),
            fields: serde_json::Map::new(),
            native: None,
        };
        fits(schemas, "Row", &crate::listed(&row));
        fits(schemas, "Cost", &reeve_lake::Cost::default());
        let bucket = reeve_lake::Bucket { at, count: 0, by_severity: [(1, 1)].into() };
        fits(schemas, "Bucket", &bucket);
        fits(schemas, "Histogram", &reeve_lake::Histogram { from: at, to: at, bucket_ms: 1, buckets: vec![bucket], count: 1 });
        let value = reeve_lake::ValueCount { value: String::new(), count: 1 };
        fits(schemas, "FieldValue", &value);
        let field = reeve_lake::FieldSummary { name: String::new(), kind: "text", count: 1, distinct: 1, top: vec![value] };
        fits(schemas, "FieldSummary", &field);
        fits(schemas, "Fields", &reeve_lake::FieldsSummary { fields: vec![field], events: 1, sampled: false });
        fits(schemas, "Column", &reeve_lake::ColumnInfo { name: String::new(), kind: "text" });
        let receipt = Receipt {
            source: "web1".into(),
            epoch: 0,
            sequence: 0,
            received_at: at,
            transport: Transport::Http,
            claimed: Some(EventTime { at, certainty: Certainty::Exact }),
            policy: "default".into(),
        };
        fits(schemas, "Receipt", &receipt);
        fits(schemas, "ClaimedTime", &receipt.claimed);
        fits(
            schemas,
            "IncidentRow",
            &reeve_case::IncidentRow {
                id: String::new(),
                title: String::new(),
                seed: String::new(),
                from: String::new(),
                to: String::new(),
                steps: 0,
                created_at: String::new(),
                created_by: String::new(),
            },
        );
        let mut alert = reeve_case::Alert {
            id: String::new(),
            title: String::new(),
            severity_id: 1,
            level: String::new(),
            status: reeve_case::AlertStatus::InProgress,
            assignee: None,
            rule_uid: String::new(),
            host: String::new(),
            user: String::new(),
            first_at: at,
            last_at: at,
            count: 1,
            records: vec![record],
            techniques: json!([]),
            finding: json!({}),
            history: Vec::new(),
        };
        fits(schemas, "Alert", &alert);
        alert.history.push(json!({}));
        fits(schemas, "Alert", &alert);
    }

    #[test]
    fn api_incidents_have_the_described_names() {
        use reeve_incident::{Actor, Because, Citation, Edge, Link, Order, ProcessNode, Seed, Step, Technique};
        let description = description();
        let schemas = &description["components"]["schemas"];
        let at = Timestamp::UNIX_EPOCH;
        let technique = Technique { uid: "T1059.004".to_owned(), name: String::new(), tactic: String::new() };
        let because = Because { kind: Link::ProcessLineage, step: None };
        let step = Step {
            n: 1,
            time: at,
            until: at,
            time_certainty: Certainty::ZoneInferred,
            certainty: Order::Likely,
            host: String::new(),
            actor: Actor::default(),
            action: String::new(),
            tactic: String::new(),
            technique: technique.clone(),
            because: because.clone(),
            records: Vec::new(),
            records_omitted: 0,
            findings: Vec::new(),
        };
        let node = ProcessNode {
            id: String::new(),
            host: String::new(),
            pid: None,
            name: String::new(),
            cmd_line: String::new(),
            user: String::new(),
            at,
            step: None,
            records: Vec::new(),
            children: Vec::new(),
        };
        fits(schemas, "Technique", &technique);
        fits(schemas, "Because", &because);
        fits(schemas, "Step", &step);
        fits(schemas, "Actor", &step.actor);
        fits(schemas, "Edge", &Edge { from: 1, to: 2, kind: Link::WebRequest });
        fits(schemas, "ProcessNode", &node);
        fits(schemas, "Citation", &Citation { source: String::new(), number: None });
        let incident = reeve_incident::Incident {
            id: String::new(),
            title: String::new(),
            seed: Seed::Finding(String::new()),
            from: at,
            to: at,
            hosts: Vec::new(),
            users: Vec::new(),
            addresses: Vec::new(),
            techniques: vec![technique],
            steps: vec![step],
            edges: Vec::new(),
            process_tree: vec![node],
            citations: [].into(),
            notes: Vec::new(),
        };
        // The three that keeping it adds.
        let mut document = serde_json::to_value(&incident).expect("JSON form");
        for name in ["story", "created_at", "created_by"] {
            document[name] = json!("");
        }
        fits(schemas, "Incident", &document);
    }
}
