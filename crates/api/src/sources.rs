//! The registered sources: what is known of each, and changes. Shows no content. What a source is: `docs/spec/source.md`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use futures::StreamExt as _;
use reeve_access::{Access, Action, Person, Reads, Scoped};
use reeve_lake::{SearchEvent, SearchRequest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    App,
    error::{Fault, Refusal},
    session::{Who, blocking},
};

/// Keeps the registry, and knows what the listeners have counted. Calls may block for a disk write.
pub trait SourceDesk: Send + Sync {
    /// Every source, and senders that nobody registered.
    fn list(&self, scoped: &Scoped<SourcesOf>) -> SourceList;

    /// Makes a change that its request is in the audit log for.
    ///
    /// # Errors
    /// Why it is not made.
    fn change(&self, scoped: &Scoped<SourceChange>) -> Result<ChangedSource, SourceFault>;
}

/// Which sources somebody asks about: all, or one.
#[derive(Clone, Debug)]
pub struct SourcesOf(pub Option<String>);

/// Why a change of a source is not made.
#[derive(Clone, Debug)]
pub enum SourceFault {
    /// There is no such source.
    Missing(String),
    /// It cannot be as it was asked for.
    Unfit(String),
    /// The registry could not be written.
    Failed(String),
}

/// A change of one source. `add` takes all members, the others `reason` alone.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceChange {
    /// What to do.
    pub act: SourceAct,
    /// The source's name.
    #[serde(default)]
    pub name: String,
    /// What it sends with; `curl` unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<String>,
    /// Its policy label; `default` unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The name in its client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Addresses and networks it sends from. With neither these nor a certificate it gets a token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Why; kept with the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What can be done with a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceAct {
    /// Register it.
    Add,
    /// Give it another token.
    Token,
    /// Refuse what it sends.
    Disable,
    /// Take it again.
    Enable,
    /// Give it up for good.
    Retire,
}

/// Whether a source's deliveries are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// They are.
    Enabled,
    /// They are refused.
    Disabled,
    /// It is gone.
    Retired,
    /// Nobody registered it: it is taken under the name its protocol gives.
    Unregistered,
}

/// A source: what it is, and what was counted since the server started.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Whether its deliveries are taken.
    pub state: SourceState,
    /// Retention and access regime of its records.
    pub label: String,
    /// What it is meant to send with.
    #[schema(required)]
    pub way: Option<String>,
    /// What it is known by: `token`, `certificate NAME`, addresses.
    pub known_by: Vec<String>,
    /// When it was registered, RFC 3339.
    #[schema(required)]
    pub created_at: Option<String>,
    /// By whom.
    #[schema(required)]
    pub created_by: Option<String>,
    /// When it was last changed, RFC 3339.
    #[schema(required)]
    pub changed_at: Option<String>,
    /// By whom.
    #[schema(required)]
    pub changed_by: Option<String>,
    /// Why, if that was said.
    #[schema(required)]
    pub reason: Option<String>,
    /// Finds its events.
    pub query: String,
    /// Since when the counts below are, RFC 3339: the server's start. None if no server runs.
    #[schema(required)]
    pub counted_since: Option<String>,
    /// Records made durable.
    pub records: u64,
    /// Their raw bytes.
    pub bytes: u64,
    /// Records a second over the last minute.
    pub rate_per_second: f64,
    /// When the last became durable, RFC 3339.
    #[schema(required)]
    pub last_seen_at: Option<String>,
    /// Wrong on the way in, but kept, by reason.
    pub problems: BTreeMap<String, u64>,
    /// Named by a decoder in what was kept, by problem.
    pub misread: BTreeMap<String, u64>,
    /// Not taken, sender told, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Lost, by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// Every source.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceList {
    /// By name; those that nobody registered last.
    pub sources: Vec<Source>,
}

/// How many of a source's events one decoder read.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReadAs {
    /// The decoder; `json`, `text` and `unknown` recognised nothing.
    pub decoder: String,
    /// Whether it recognised what it read.
    pub recognised: bool,
    /// Events.
    pub events: u64,
    /// Time of the first, RFC 3339.
    pub first_at: String,
    /// Time of the last, RFC 3339.
    pub last_at: String,
    /// When the first was received, RFC 3339.
    pub first_received_at: String,
    /// When the last was received, RFC 3339.
    pub last_received_at: String,
    /// Finds these events.
    pub query: String,
}

/// A source with what was read of it, at any time.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceDetail {
    /// What it is.
    pub source: Source,
    /// Events by decoder, most first.
    pub read_as: Vec<ReadAs>,
}

/// What came of a change.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChangedSource {
    /// The source as it is now.
    pub source: Source,
    /// Its new token; shown this once.
    #[schema(required)]
    pub token: Option<String>,
    /// What to paste where the events are, with the token in it.
    #[schema(required)]
    pub setup: Option<String>,
}

/// The registered sources, and senders that nobody registered.
#[utoipa::path(get, path = "/sources", responses((status = 200, body = SourceList), (status = 401, body = Fault)))]
pub async fn sources(State(app): State<Arc<App>>, Who(person, _): Who) -> Result<Json<SourceList>, Refusal> {
    blocking(move || Ok(Json(list(&app.access, &*app.sources, &person, None)?))).await
}

/// One source, with what its events were read as.
#[utoipa::path(get, path = "/sources/{name}", responses((status = 200, body = SourceDetail), (status = 404, body = Fault), (status = 401, body = Fault)))]
pub async fn source(
    State(app): State<Arc<App>>,
    Who(person, _): Who,
    Path(name): Path<String>,
) -> Result<Json<SourceDetail>, Refusal> {
    let runtime = tokio::runtime::Handle::current();
    blocking(move || {
        let detail = detail(&app.access, &app.reads, &*app.sources, &person, &name, &runtime)?;
        detail.map(Json).ok_or_else(|| Refusal::not_found(format!("there is no source `{name}`")))
    })
    .await
}

/// Register, disable, enable or retire a source, or give it another token.
#[utoipa::path(post, path = "/sources", request_body = SourceChange, responses((status = 200, body = ChangedSource), (status = 400, body = Fault), (status = 404, body = Fault)))]
pub async fn change_source(
    State(app): State<Arc<App>>,
    Who(person, _): Who,
    Json(asked): Json<SourceChange>,
) -> Result<Json<ChangedSource>, Refusal> {
    blocking(move || {
        let scoped = app.access.ask(&person, Action::ManageSources, json!(asked), asked)?;
        Ok(Json(app.sources.change(&scoped)?))
    })
    .await
}

/// Asks for the list as a person, who is recorded.
///
/// # Errors
/// Whatever [`Access::ask`] refuses.
pub fn list(
    access: &Access,
    desk: &dyn SourceDesk,
    person: &Person,
    name: Option<&str>,
) -> Result<SourceList, reeve_access::Error> {
    let of = SourcesOf(name.map(str::to_owned));
    let scoped = access.ask(person, Action::ReadSources, json!({ "source": name }), of)?;
    Ok(desk.list(&scoped))
}

/// Asks for one source with what its events were read as; `None` if there is no such. Blocks while the events are counted.
///
/// # Errors
/// Whatever [`Access::ask`] refuses, and what the lake says.
pub fn detail(
    access: &Access,
    reads: &Reads,
    desk: &dyn SourceDesk,
    person: &Person,
    name: &str,
    runtime: &tokio::runtime::Handle,
) -> Result<Option<SourceDetail>, reeve_access::Error> {
    let Some(source) = list(access, desk, person, Some(name))?.sources.into_iter().next() else { return Ok(None) };
    let request = SearchRequest { query: counting(name), sql: true, ..SearchRequest::default() };
    let scoped = access.ask(person, Action::ReadSources, json!({ "source": name, "events": "counted" }), request)?;
    let read_as = runtime.block_on(read_as(reads, &scoped, &source.query))?;
    Ok(Some(SourceDetail { source, read_as }))
}

/// Counts events by decoder; gives no content.
fn counting(name: &str) -> String {
    let quoted = name.replace('\'', "''");
    // `starts_with`, not LIKE: names may hold its wildcards.
    format!(
        "SELECT decoder, count(*), min(time), max(time), min(received_at), max(received_at) FROM events \
         WHERE source = '{quoted}' OR starts_with(source, '{quoted}/') GROUP BY decoder ORDER BY 2 DESC, 1"
    )
}

async fn read_as(reads: &Reads, scoped: &Scoped<SearchRequest>, query: &str) -> Result<Vec<ReadAs>, reeve_access::Error> {
    let mut answer = reads.search(scoped)?;
    let mut rows = Vec::new();
    while let Some(part) = answer.next().await {
        if let SearchEvent::Table(table) = part? {
            rows.extend(table.iter().filter_map(|row| row_of(&json!(row), query)));
        }
    }
    Ok(rows)
}

fn row_of(row: &Value, query: &str) -> Option<ReadAs> {
    let text = |at: usize| row[at].as_str().map(str::to_owned);
    let decoder = text(0)?;
    Some(ReadAs {
        recognised: !UNRECOGNISED.contains(&decoder.as_str()),
        events: row[1].as_u64()?,
        first_at: text(2)?,
        last_at: text(3)?,
        first_received_at: text(4)?,
        last_received_at: text(5)?,
        query: format!("({query}) decoder:{decoder}"),
        decoder,
    })
}

impl From<SourceFault> for Refusal {
    fn from(fault: SourceFault) -> Self {
        match fault {
            SourceFault::Missing(message) => Self::not_found(message),
            SourceFault::Unfit(message) => Self::bad_request(message),
            SourceFault::Failed(message) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_durable", message),
        }
    }
}

/// Decoders that take what no other recognises.
const UNRECOGNISED: [&str; 3] = ["json", "text", "unknown"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_in_sql() {
        assert!(counting("a'b_%").contains("source = 'a''b_%' OR starts_with(source, 'a''b_%/')"));
    }

    #[test]
    fn a_row_says_whether_it_was_recognised() {
        let at = "2026-01-06T10:00:00Z";
        let row = |decoder: &str| row_of(&json!([decoder, 3, at, at, at, at]), "source:web1").unwrap();
        assert!(row("web.access").recognised);
        let text = row("text");
        assert!(!text.recognised && text.query == "(source:web1) decoder:text", "{text:?}");
        assert!(row_of(&json!([null, 3, at, at, at, at]), "").is_none());
    }
}
