//! Search, histogram, field values, and one event with its four faces.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use reeve_access::{Action, Digest, EventKey, Range, Scoped};
use reeve_lake::{EventRow, Order, SearchEvent, SearchRequest};
use reeve_record::RecordId;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use utoipa::IntoParams;

use crate::{
    App,
    error::{Fault, Refusal},
    session::{Who, blocking},
    shapes::{Fields, FullEvent, Histogram, SearchLine},
    summary::summary,
};

/// Rows of a search unless told, and at most in one answer.
const ROWS: usize = 200;
const ROWS_MAX: usize = 100_000;

/// A search.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// In the search bar's language; empty matches everything.
    #[serde(default)]
    q: String,
    /// Whether `q` is SQL over the table `events`.
    #[serde(default)]
    sql: bool,
    /// Only events at or after this, RFC 3339.
    #[param(value_type = Option<String>)]
    from: Option<Timestamp>,
    /// Only events before this, RFC 3339.
    #[param(value_type = Option<String>)]
    to: Option<Timestamp>,
    /// Rows to give, 1 to 100,000; 200 unless told.
    limit: Option<usize>,
    /// `next_cursor` of the answer before.
    cursor: Option<String>,
    /// `newest` (the default) or `oldest`.
    order: Option<String>,
}

/// A range to summarise.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RangeQuery {
    /// In the search bar's language.
    #[serde(default)]
    q: String,
    /// At or after, RFC 3339.
    #[param(value_type = Option<String>)]
    from: Option<Timestamp>,
    /// Before, RFC 3339.
    #[param(value_type = Option<String>)]
    to: Option<Timestamp>,
    /// Buckets of a histogram, about 100 unless told.
    buckets: Option<usize>,
    /// Values for each field, 10 unless told.
    top: Option<usize>,
}

/// Search: a stream of JSON lines, each with a `type`: columns, note, row, table, progress, done, error.
#[utoipa::path(get, path = "/search", params(SearchQuery),
    responses((status = 200, description = "JSON lines, each of them a `SearchLine`", content_type = "application/x-ndjson", body = SearchLine), (status = 400, body = Fault), (status = 401, body = Fault)))]
pub async fn search(
    State(app): State<Arc<App>>,
    Who(person, _): Who,
    Query(query): Query<SearchQuery>,
) -> Result<Response, Refusal> {
    let request = SearchRequest {
        query: query.q,
        sql: query.sql,
        from: query.from,
        to: query.to,
        limit: Some(query.limit.unwrap_or(ROWS).clamp(1, ROWS_MAX)),
        order: if query.order.as_deref() == Some("oldest") { Order::Oldest } else { Order::Newest },
        after: query.cursor.as_deref().filter(|text| !text.is_empty()).map(str::parse).transpose().map_err(of_lake)?,
        native: false,
    };
    let detail =
        json!({ "q": request.query, "sql": request.sql, "from": request.from, "to": request.to, "limit": request.limit });
    let gate = Arc::clone(&app);
    let scoped = blocking(move || Ok(gate.access.ask(&person, Action::SearchEvents, detail, request)?)).await?;
    let answer = app.reads.search(&scoped)?;
    let sent = Sent { app, scoped: Some(scoped), digest: Digest::default() };
    let lines = stream::unfold((answer, sent), async |(mut answer, mut sent)| {
        let mut out = Vec::new();
        match answer.next().await? {
            Ok(part) => lines_of(part, &mut sent.digest, &mut out),
            Err(error) => push(&mut out, &json!({ "type": "error", "error": of_lake(error).fault().error })),
        }
        Some((Ok::<_, Infallible>(Bytes::from(out)), (answer, sent)))
    });
    // Fused: the compressing layer asks once more after the end.
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines.fuse())).into_response())
}

/// Counts over time, by severity.
#[utoipa::path(get, path = "/histogram", params(RangeQuery), responses((status = 200, body = Histogram), (status = 400, body = Fault)))]
pub async fn histogram(State(app): State<Arc<App>>, who: Who, Query(query): Query<RangeQuery>) -> Result<Json<Value>, Refusal> {
    let parts = query.buckets.unwrap_or(100).clamp(1, 1000);
    let scoped = range(&app, who, query, parts, "histogram").await?;
    let counts = app.reads.histogram(&scoped).await?;
    note_answer(&app, Some(scoped), Digest::default());
    serde_json::to_value(counts).map(Json).map_err(Refusal::internal)
}

/// The fields that matching events have, with their most frequent values.
#[utoipa::path(get, path = "/fields", params(RangeQuery), responses((status = 200, body = Fields), (status = 400, body = Fault)))]
pub async fn fields(State(app): State<Arc<App>>, who: Who, Query(query): Query<RangeQuery>) -> Result<Json<Value>, Refusal> {
    let parts = query.top.unwrap_or(10).clamp(1, 100);
    let scoped = range(&app, who, query, parts, "fields").await?;
    let fields = app.reads.fields(&scoped).await?;
    note_answer(&app, Some(scoped), Digest::default());
    serde_json::to_value(fields).map(Json).map_err(Refusal::internal)
}

/// One event: receipt, raw bytes, native fields, OCSF.
#[utoipa::path(get, path = "/events/{record}/{part}", params(("record" = String, Path), ("part" = u32, Path)),
    responses((status = 200, body = FullEvent), (status = 404, body = Fault)))]
pub async fn event(
    State(app): State<Arc<App>>,
    Who(person, _): Who,
    Path((record, part)): Path<(String, u32)>,
) -> Result<Json<Value>, Refusal> {
    let record: RecordId = record.parse().map_err(Refusal::bad_request)?;
    let gate = Arc::clone(&app);
    let key = EventKey { record, part };
    let detail = json!({ "record": record, "part": part });
    let scoped = blocking(move || Ok(gate.access.ask(&person, Action::ReadEvent, detail, key)?)).await?;
    let full = app.reads.event(&scoped).await?.ok_or_else(|| Refusal::not_found(format!("record `{record}` is not found")))?;
    let mut digest = Digest::default();
    full.records.iter().for_each(|record| digest.row(&record.raw));
    note_answer(&app, Some(scoped), digest);
    let event = full.event.as_ref();
    Ok(Json(json!({
        "record": record,
        "part": part,
        "receipt": full.records[0].receipt,
        "records": full.records.iter().map(|record| record.id).collect::<Vec<_>>(),
        "raw_base64": BASE64_STANDARD.encode(&full.raw),
        "raw_text": std::str::from_utf8(&full.raw).ok(),
        "raw_sha256": hex::encode(Sha256::digest(&full.raw)),
        "native": full.native,
        "ocsf": event.map(|event| &event.ocsf),
        "decoder": event.map(|event| &event.event.decoder),
        "mapping": event.map(|event| &event.event.mapping),
        "time": event.map(|event| event.event.time),
        "time_certainty": event.map(|event| &event.event.time_certainty),
        "row": event.map(|event| listed(&event.event)),
        "problems": full.problems,
    })))
}

async fn range(
    app: &Arc<App>,
    Who(person, _): Who,
    query: RangeQuery,
    parts: usize,
    what: &'static str,
) -> Result<Scoped<Range>, Refusal> {
    let detail = json!({ "what": what, "q": query.q, "from": query.from, "to": query.to });
    let range = Range { query: query.q, from: query.from, to: query.to, parts };
    let gate = Arc::clone(app);
    blocking(move || Ok(gate.access.ask(&person, Action::SearchEvents, detail, range)?)).await
}

/// What a streamed answer has given so far. Recorded when the stream ends, and also when the client breaks it off: what was sent was seen.
struct Sent<T> {
    app: Arc<App>,
    scoped: Option<Scoped<T>>,
    digest: Digest,
}

impl<T> Drop for Sent<T> {
    fn drop(&mut self) {
        note_answer(&self.app, self.scoped.take(), std::mem::take(&mut self.digest));
    }
}

fn note_answer<T>(app: &App, scoped: Option<Scoped<T>>, digest: Digest) {
    if let Some(scoped) = scoped {
        app.access.answered(&scoped, digest);
    }
}

fn lines_of(part: SearchEvent, digest: &mut Digest, out: &mut Vec<u8>) {
    match part {
        SearchEvent::Columns { events, columns } => {
            push(out, &json!({ "type": "columns", "events": events, "columns": columns }))
        }
        SearchEvent::Note(message) => push(out, &json!({ "type": "note", "message": message })),
        SearchEvent::Progress(cost) => push(out, &tagged("progress", &cost)),
        SearchEvent::Done(cost) => push(out, &json!({ "type": "done", "cost": cost })),
        SearchEvent::Rows(rows) => {
            for row in rows {
                let from = out.len();
                push(out, &json!({ "type": "row", "row": listed(&row) }));
                digest.row(&out[from..]);
            }
        }
        SearchEvent::Table(rows) => {
            let from = out.len();
            push(out, &json!({ "type": "table", "rows": rows }));
            digest.row(&out[from..]);
        }
    }
}

/// An event as a list shows it: its identity, its class and one line.
pub fn listed(row: &EventRow) -> Value {
    let mut fields = row.fields.clone();
    if let Some(status) = row.status_id {
        fields.insert("status_id".to_owned(), json!(status));
    }
    let line = summary(u64::from(row.class_uid), u64::from(row.activity_id), &fields);
    json!({
        "record": row.record,
        "records": row.records,
        "part": row.part,
        "time": row.time,
        "time_certainty": row.time_certainty,
        "received_at": row.received_at,
        "class_uid": row.class_uid,
        "class_name": reeve_ocsf::class(row.class_uid).map(|class| class.caption),
        "activity_id": row.activity_id,
        "severity_id": row.severity_id,
        "host": row.fields.get("device.hostname"),
        "source": row.source,
        "decoder": row.decoder,
        "summary": line,
        "fields": fields,
    })
}

fn tagged(kind: &str, value: &impl serde::Serialize) -> Value {
    let mut value = serde_json::to_value(value).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        object.insert("type".to_owned(), json!(kind));
    }
    value
}

fn push(out: &mut Vec<u8>, line: &Value) {
    // Writing to memory cannot fail; a value made here always has a JSON form.
    let _ = serde_json::to_writer(&mut *out, line);
    out.push(b'\n');
}

pub(crate) fn of_lake(error: reeve_lake::Error) -> Refusal {
    use reeve_lake::Error;
    let offset = error.offset();
    match error {
        Error::Query { message, .. } => Refusal::new(StatusCode::BAD_REQUEST, "query", message).at(offset),
        Error::Sql { message } => Refusal::new(StatusCode::BAD_REQUEST, "sql", message),
        Error::Engine { message } => Refusal::new(StatusCode::BAD_REQUEST, "engine", message),
        other => Refusal::internal(other),
    }
}
