//! Whether the installation does its work, for load balancers and monitoring; no content and no names of sources or people, so nobody has to sign in.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use jiff::Timestamp;
use reeve_ledger::Status as LedgerStatus;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{App, error::Refusal, session::blocking};

/// How it is going, and what to do about what is not.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `ok`; `degraded`: events are taken and something needs attention; `failing`: events are not taken.
    status: Condition,
    /// Version of the program.
    version: &'static str,
    /// What is durable.
    stored: Stored,
    /// What is in sealed segments under a checkpoint.
    sealed: Sealed,
    /// What is durable and not read yet.
    lag: Lag,
    /// The latest checkpoint of the record.
    last_checkpoint: Option<Signed>,
    /// The witnesses, where a policy names some.
    witnesses: Vec<Witness>,
    /// The latest scrub: when it ended, records recomputed, faults found.
    #[schema(value_type = Option<Object>)]
    last_scrub: Value,
    /// What is wrong.
    problems: Vec<Problem>,
}

/// See [`Health::status`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// All is well.
    Ok,
    /// Events are taken; something needs attention.
    Degraded,
    /// Events are not taken.
    Failing,
}

/// What is durable.
#[derive(Serialize, ToSchema)]
pub struct Stored {
    /// One past the last durable record.
    end: String,
    /// Records, sealed or not.
    records: u64,
}

/// What is sealed.
#[derive(Serialize, ToSchema)]
pub struct Sealed {
    /// Segments.
    segments: u32,
    /// Records in them.
    records: u64,
}

/// How far the reading is behind.
#[derive(Serialize, ToSchema)]
pub struct Lag {
    /// Durable records that are not read yet.
    records: u64,
}

/// A signed checkpoint.
#[derive(Serialize, ToSchema)]
pub struct Signed {
    /// Entries in the log.
    size: u64,
    /// When it was signed.
    at: String,
    /// Seconds since then; negative if the clock went back.
    age_seconds: i64,
}

/// One witness.
#[derive(Serialize, ToSchema)]
pub struct Witness {
    /// Its name in the policy.
    name: String,
    /// Size of the latest checkpoint that it cosigned since the start.
    cosigned_size: Option<u64>,
    /// The time in that cosignature.
    cosigned_at: Option<String>,
    /// Whether its last answer was a cosignature.
    answers: bool,
}

/// Something that needs attention.
#[derive(Serialize, ToSchema)]
#[schema(as = HealthProblem)]
pub struct Problem {
    /// A stable name.
    code: &'static str,
    /// How bad it is.
    state: Condition,
    /// What is wrong.
    what: String,
    /// What to do.
    hint: &'static str,
}

/// Whether Reeve takes, seals, reads and is watched. Shows counts only, so it asks for no session.
#[utoipa::path(get, path = "/health", responses((status = 200, body = Health), (status = 503, description = "events are not taken", body = Health)))]
pub async fn health(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Refusal> {
    let health = blocking(move || Ok(Health::of(&Sight::take(&app)))).await?;
    let code = if health.status == Condition::Failing { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    Ok((code, Json(health)))
}

/// The same counts in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn metrics(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Refusal> {
    let text = blocking(move || Ok(exposition(&Sight::take(&app)))).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

/// Everything that health and metrics look at, at one moment.
struct Sight {
    record: LedgerStatus,
    audit: LedgerStatus,
    counters: Value,
    now: Timestamp,
}

impl Sight {
    fn take(app: &App) -> Self {
        Self {
            record: app.ledger.status(),
            audit: app.access.audit().status(),
            counters: (app.counters)(),
            now: Timestamp::now(),
        }
    }

    fn count(&self, pointer: &str) -> u64 {
        self.counters.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
    }

    fn lag(&self) -> u64 {
        self.count("/lag_records")
    }

    fn checkpoint_age(&self) -> Option<i64> {
        self.record.last_checkpoint.as_ref().map(|last| self.now.as_second() - last.at.as_second())
    }
}

impl Health {
    fn of(sight: &Sight) -> Self {
        let record = &sight.record;
        let problems = problems(sight);
        let signed = |last: &reeve_ledger::CheckpointStatus| Signed {
            size: last.size,
            at: last.at.to_string(),
            age_seconds: sight.now.as_second() - last.at.as_second(),
        };
        let witness = |witness: &reeve_ledger::WitnessStatus| Witness {
            name: witness.name.clone(),
            cosigned_size: witness.cosigned_size,
            cosigned_at: witness.cosigned_at.map(|at| at.to_string()),
            answers: witness.last_error.is_none(),
        };
        Self {
            status: problems.iter().map(|problem| problem.state).max().unwrap_or(Condition::Ok),
            version: env!("CARGO_PKG_VERSION"),
            stored: Stored { end: record.durable_end.to_string(), records: record.sealed_records + record.open_records },
            sealed: Sealed { segments: record.segments, records: record.sealed_records },
            lag: Lag { records: sight.lag() },
            last_checkpoint: record.last_checkpoint.as_ref().map(signed),
            witnesses: record.witnesses.iter().map(witness).collect(),
            last_scrub: sight.counters["scrub"].clone(),
            problems,
        }
    }
}

/// What is wrong, from counts and states alone; the inner details are in `/status` and the server's log.
fn problems(sight: &Sight) -> Vec<Problem> {
    let mut found = Vec::new();
    for (name, ledger) in [("record", &sight.record), ("audit log", &sight.audit)] {
        found.extend(of_ledger(name, ledger));
    }
    found.extend(of_disk(sight));
    found.extend(of_signing(sight));
    found.extend(of_reading(sight));
    found
}

fn degraded(code: &'static str, what: String, hint: &'static str) -> Problem {
    Problem { code, state: Condition::Degraded, what, hint }
}

fn failing(code: &'static str, what: String, hint: &'static str) -> Problem {
    Problem { code, state: Condition::Failing, what, hint }
}

fn of_ledger(name: &str, ledger: &LedgerStatus) -> Vec<Problem> {
    let mut found = Vec::new();
    if ledger.read_only.is_some() {
        let hint = "look at the server's log and the disk, then start the server again";
        found.push(failing("read_only", format!("the {name} takes nothing more: its disk failed a write"), hint));
    }
    if ledger.seal_problem.is_some() {
        let what = format!("the {name} cannot seal; what it takes is durable and waits");
        found.push(degraded("not_sealed", what, "`/status` and the server's log say why"));
    }
    if ledger.recovery.lost > 0 {
        let what = format!("at its last start the {name} found {} records damaged before they were sealed", ledger.recovery.lost);
        found.push(degraded("records_lost", what, "`reeve ledger verify` names them; ask their sources to send them again"));
    }
    let undestroyed = ledger.epoch.as_ref().map_or(0, |epoch| epoch.undestroyed.len());
    if undestroyed > 0 {
        let what = format!("{undestroyed} signing keys of ended epochs of the {name} could not be destroyed");
        found.push(degraded("keys_left", what, "see that the server may write in `keys/`; it tries again"));
    }
    found
}

fn of_disk(sight: &Sight) -> Option<Problem> {
    let hint = "make room on the data folder's disk; it goes on by itself";
    match sight.counters["disk_state"].as_str() {
        Some("lacking") => Some(failing(
            "disk_full",
            "the disk is nearly full: nothing is taken and nothing is read until there is space".into(),
            hint,
        )),
        Some("tight") => {
            let what = "the disk fills: records are taken and sealed, the reading waits until there is space";
            Some(degraded("disk_fills", what.into(), hint))
        }
        _ => None,
    }
}

/// Checkpoints, witnesses, time-stamps.
fn of_signing(sight: &Sight) -> Vec<Problem> {
    let mut found = Vec::new();
    let age = sight.checkpoint_age().unwrap_or_default();
    if age > CHECKPOINT_AGE_MAX {
        let what = format!("the last checkpoint is {age} seconds old; one is signed each minute");
        found.push(degraded("checkpoint_late", what, "the server's log says why nothing is signed"));
    }
    if age < -CLOCK_DOUBT {
        let what = format!("the last checkpoint is {} seconds in the future: the clock went back", -age);
        found.push(degraded("clock_back", what, "set the clock; until then times of receipt are wrong"));
    }
    let silent = silent(&sight.record);
    if silent > 0 {
        let what = format!("{silent} of {} witnesses did not cosign when last asked", sight.record.witnesses.len());
        found.push(degraded("witness_silent", what, "`/status` has each one's answer; see that it runs and can be reached"));
    }
    let stamps = &sight.record.time_stamps;
    let unstamped = stamps.iter().filter(|stamp| stamp.last_error.is_some()).count();
    if unstamped > 0 {
        let what = format!("{unstamped} of {} time-stamping authorities did not stamp when last asked", stamps.len());
        found.push(degraded("time_stamp_missing", what, "`/status` has each one's answer; see that it can be reached"));
    }
    found
}

fn of_reading(sight: &Sight) -> Vec<Problem> {
    let mut found = Vec::new();
    if sight.lag() > LAG_MAX {
        let what = format!("{} durable records are not read yet: search and alerts lag", sight.lag());
        found.push(degraded("reading_behind", what, "it catches up when less comes in; give it more processors if it does not"));
    }
    let faults = sight.count("/scrub/faults");
    if faults > 0 {
        let what = format!("the latest scrub found {faults} places that are not as they were sealed");
        let hint = "`reeve ledger verify` names them with the records they hit; restore these from a backup";
        found.push(degraded("scrub_faults", what, hint));
    }
    let unreadable = sight.count("/reading/unreadable_segments");
    if unreadable > 0 {
        let what = format!("{unreadable} segments could not be read and were passed over");
        found.push(degraded("segments_unreadable", what, "`reeve ledger verify` names what is damaged"));
    }
    found
}

fn silent(record: &LedgerStatus) -> usize {
    record.witnesses.iter().filter(|witness| witness.last_error.is_some()).count()
}

/// Name, kind, what it counts, value.
type Metric = (&'static str, &'static str, &'static str, f64);

/// The counts in the text format 0.0.4 of Prometheus. Totals of the record and the audit log count since they were made, all others since the start.
fn exposition(sight: &Sight) -> String {
    let mut text = String::new();
    for (name, kind, help, value) in ledger_metrics(sight).into_iter().chain(running_metrics(sight)) {
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    }
    for (name, help, part) in [
        ("reeve_intake_dropped_records_total", "Events lost before they could be kept, by reason.", "dropped"),
        ("reeve_intake_refused_records_total", "Events not taken whose sender was told so, by reason.", "refused"),
        ("reeve_intake_problem_records_total", "Events kept with something wrong about them, by reason.", "problems"),
        ("reeve_misread_problems_total", "Problems that decoders named in what was kept, by problem.", "misread"),
    ] {
        by_reason(&mut text, name, help, &reasons(&sight.counters["intake"]["sources"], part));
    }
    by_reason(
        &mut text,
        "reeve_listener_dropped_messages_total",
        "Messages lost before they could be read, by reason.",
        &reasons(&sight.counters["intake"]["listeners"], "dropped"),
    );
    by_reason(
        &mut text,
        "reeve_listener_refused_total",
        "Connections and requests turned away, by reason.",
        &reasons(&sight.counters["intake"]["listeners"], "refused"),
    );
    let version = env!("CARGO_PKG_VERSION");
    let _ = write!(
        text,
        "# HELP reeve_build_info The running version.\n# TYPE reeve_build_info gauge\nreeve_build_info{{version=\"{version}\"}} 1\n"
    );
    text
}

fn ledger_metrics(sight: &Sight) -> Vec<Metric> {
    let (record, audit) = (&sight.record, &sight.audit);
    let mut metrics = vec![
        ("reeve_record_records_total", "counter", "Durable records.", (record.sealed_records + record.open_records) as f64),
        ("reeve_record_raw_bytes_total", "counter", "Raw bytes in sealed segments.", record.sealed_raw_bytes as f64),
        ("reeve_record_segments_total", "counter", "Sealed segments.", f64::from(record.segments)),
        (
            "reeve_record_lost_records_total",
            "counter",
            "Records acknowledged and damaged before they were sealed.",
            record.lost_records as f64,
        ),
        ("reeve_record_file_bytes", "gauge", "Bytes of the sealed segments' files.", record.sealed_file_bytes as f64),
        ("reeve_record_unsealed_records", "gauge", "Durable records not sealed yet.", record.open_records as f64),
        (
            "reeve_record_cosigned_segments",
            "gauge",
            "Segments under a checkpoint with its quorum of witnesses.",
            f64::from(record.cosigned_segments),
        ),
        ("reeve_record_read_only", "gauge", "1 if the record takes nothing more.", flag(record.read_only.is_some())),
        (
            "reeve_audit_records_total",
            "counter",
            "Durable records of the audit log.",
            (audit.sealed_records + audit.open_records) as f64,
        ),
        ("reeve_audit_read_only", "gauge", "1 if the audit log takes nothing more.", flag(audit.read_only.is_some())),
        ("reeve_witnesses_silent", "gauge", "Witnesses that did not cosign when last asked.", silent(record) as f64),
    ];
    if let Some(last) = &record.last_checkpoint {
        let age = sight.checkpoint_age().unwrap_or_default() as f64;
        metrics.push(("reeve_checkpoint_entries_total", "counter", "Entries under the latest checkpoint.", last.size as f64));
        metrics.push(("reeve_checkpoint_age_seconds", "gauge", "Age of the latest checkpoint.", age));
    }
    metrics
}

fn running_metrics(sight: &Sight) -> Vec<Metric> {
    let sources = |field: &str| {
        let sources = sight.counters["intake"]["sources"].as_array();
        sources.into_iter().flatten().filter_map(|source| source[field].as_u64()).sum::<u64>() as f64
    };
    let listeners = |field: &str| {
        let listeners = sight.counters["intake"]["listeners"].as_array();
        listeners.into_iter().flatten().filter_map(|listener| listener[field].as_u64()).sum::<u64>() as f64
    };
    let count = |pointer: &str| sight.count(pointer) as f64;
    vec![
        ("reeve_intake_records_total", "counter", "Events kept.", sources("records")),
        ("reeve_intake_raw_bytes_total", "counter", "Raw bytes kept.", sources("bytes")),
        ("reeve_listener_connections_total", "counter", "Connections accepted.", listeners("connections")),
        ("reeve_listener_connections", "gauge", "Connections open.", listeners("connections_open")),
        ("reeve_listener_requests_total", "counter", "Requests.", listeners("requests")),
        ("reeve_reading_records_total", "counter", "Records read.", count("/reading/records")),
        ("reeve_reading_events_total", "counter", "Events made of them.", count("/reading/events")),
        ("reeve_reading_findings_total", "counter", "Findings, repeated ones included.", count("/reading/findings")),
        ("reeve_reading_problems_total", "counter", "Problems that decoders named.", count("/reading/problems")),
        ("reeve_reading_lag_records", "gauge", "Durable records not read yet.", sight.lag() as f64),
        ("reeve_lake_events", "gauge", "Events in files.", count("/lake/stored_rows")),
        ("reeve_lake_file_bytes", "gauge", "Bytes of these files.", count("/lake/stored_bytes")),
        ("reeve_lake_hot_events", "gauge", "Events not in files yet.", count("/lake/hot_rows")),
        ("reeve_lake_hot_bytes", "gauge", "Memory they take.", count("/lake/hot_bytes")),
        ("reeve_lake_flushes_total", "counter", "Times they were written.", count("/lake/flushes")),
        ("reeve_scrub_faults", "gauge", "Places that the latest scrub found not as they were sealed.", count("/scrub/faults")),
        ("reeve_rules", "gauge", "Rules in force.", count("/rules")),
        ("reeve_disk_free_bytes", "gauge", "Free bytes on the data folder's disk.", count("/disk_free_bytes")),
    ]
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

/// The counts by reason, over all lines.
fn reasons(lines: &Value, part: &str) -> std::collections::BTreeMap<String, u64> {
    let mut counts = std::collections::BTreeMap::new();
    for (reason, count) in lines.as_array().into_iter().flatten().filter_map(|line| line[part].as_object()).flatten() {
        *counts.entry(reason.clone()).or_default() += count.as_u64().unwrap_or_default();
    }
    counts
}

fn by_reason(text: &mut String, name: &str, help: &str, counts: &std::collections::BTreeMap<String, u64>) {
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n");
    for (reason, count) in counts {
        let _ = writeln!(text, "{name}{{reason=\"{reason}\"}} {count}");
    }
}

/// Three times the pause between checkpoints, in seconds.
const CHECKPOINT_AGE_MAX: i64 = 180;
/// Seconds by which a clock may be set back without being called wrong.
const CLOCK_DOUBT: i64 = 5;
/// At 10,000 events a second these are a minute.
const LAG_MAX: u64 = 600_000;
