use std::{sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use reeve_record::Transport;
use serde_json::{Value, json};

use crate::{
    Arrival,
    bulk::{self, Bulk, Outcome},
    http::{Api, LINES_MAX, Refusal, Shared},
    stream::Peer,
};

/// What the Elastic API says it is.
#[derive(Clone, Debug)]
pub struct Elastic {
    /// The version shippers see. They refuse servers older than themselves.
    pub version: String,
    /// Stable over restarts.
    pub cluster_uuid: String,
}

impl Default for Elastic {
    fn default() -> Self {
        Self { version: "9.2.0".to_owned(), cluster_uuid: "cmVldmUtc291cmNl".to_owned() }
    }
}

/// Answers a request of the Elastic API: the writes, and what clients ask around them.
pub(crate) async fn answer(shared: &Shared, segments: &[&str], peer: &Peer, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let asked = &parts.headers;
    let write = parts.method == Method::POST || parts.method == Method::PUT;
    let result = match segments {
        ["_bulk"] if write => write_bulk(shared, None, peer, asked, body).await,
        [index, "_bulk"] if write => write_bulk(shared, Some(index), peer, asked, body).await,
        [index, "_doc"] if write => write_one(shared, (index, None), peer, asked, body).await,
        [index, "_doc" | "_create", id] if write => write_one(shared, (index, Some(id)), peer, asked, body).await,
        ["_bulk"] | [_, "_bulk" | "_doc"] | [_, "_doc" | "_create", _] => Err(Refusal::Method(parts.method.clone())),
        _ => handshake(shared, &parts.method, segments),
    };
    match result {
        Ok((status, body)) => product(status, body, asked),
        Err(refusal) => shared.turn_away(&refusal, Api::Elastic, asked),
    }
}

/// An error as the Elastic API words it.
pub(crate) fn refuse(refusal: &Refusal, asked: &HeaderMap) -> Response {
    let status = refusal.status();
    let kind = match refusal {
        Refusal::Unauthorized(_) | Refusal::Disabled(_) => "security_exception",
        Refusal::Keep(crate::KeepError::Overloaded) => "es_rejected_execution_exception",
        Refusal::Keep(_) => "cluster_block_exception",
        Refusal::TooLarge(_) => "content_too_long_exception",
        _ => "illegal_argument_exception",
    };
    let cause = json!({ "type": kind, "reason": refusal.reason() });
    let body = json!({ "error": { "root_cause": [cause], "type": kind, "reason": refusal.reason() }, "status": status.as_u16() });
    product(status, body.to_string().into_bytes(), asked)
}

type Answer = Result<(StatusCode, Vec<u8>), Refusal>;

async fn write_bulk(shared: &Shared, index: Option<&str>, peer: &Peer, asked: &HeaderMap, body: Body) -> Answer {
    let started = Instant::now();
    let (body, mut room) = shared.body(asked, body).await?;
    // A document has a line before it, but for those that are deleted: no item takes less than a line.
    if memchr::memchr_iter(b'\n', &body).count() > 2 * LINES_MAX {
        return Err(Refusal::TooManyRecords(LINES_MAX));
    }
    let mut bulk = read(shared, body, index).await?;
    shared.weigh(&mut room, bulk.items.len()).await?;
    if bulk.items.is_empty() {
        return Err(Refusal::Malformed("request body is required".to_owned()));
    }
    let refused = bulk.items.len() - bulk.documents.len();
    if refused > 0 {
        for item in bulk.items.iter().filter(|item| item.outcome != Outcome::Document) {
            shared.intake.counters.source(&peer.stream("elastic", &item.index)).refused("bulk_item", 1);
        }
    }
    let ids = keep(shared, peer, &mut bulk).await?;
    drop(room);
    Ok((StatusCode::OK, bulk::answer(&bulk, &ids, started.elapsed().as_millis())))
}

/// Reads a bulk body; a large one away from the threads that serve connections.
async fn read(shared: &Shared, body: Bytes, index: Option<&str>) -> Result<Bulk, Refusal> {
    let max = shared.limits.record_bytes_max;
    if body.len() < INLINE_BYTES_MAX {
        return Ok(bulk::read(&body, index, max));
    }
    let index = index.map(str::to_owned);
    let reading = tokio::task::spawn_blocking(move || bulk::read(&body, index.as_deref(), max));
    reading.await.map_err(|error| Refusal::Malformed(error.to_string()))
}

async fn keep(shared: &Shared, peer: &Peer, bulk: &mut Bulk) -> Result<Vec<reeve_record::RecordId>, Refusal> {
    if bulk.documents.is_empty() {
        return Ok(Vec::new());
    }
    let mut named: Option<(Arc<str>, Arc<str>)> = None;
    let batch = std::mem::take(&mut bulk.documents)
        .into_iter()
        .map(|(index, raw)| {
            let source = match &named {
                Some((last, source)) if Arc::ptr_eq(last, &index) => source.clone(),
                _ => named.insert((index.clone(), peer.stream("elastic", &index))).1.clone(),
            };
            Arrival::new(raw, source, Transport::ElasticBulk)
        })
        .collect();
    shared.intake.keep(batch).await.map_err(Refusal::Keep)
}

async fn write_one(shared: &Shared, (index, id): (&str, Option<&str>), peer: &Peer, asked: &HeaderMap, body: Body) -> Answer {
    let (document, room) = shared.body(asked, body).await?;
    let checked = serde_json::from_slice::<serde::de::IgnoredAny>(&document);
    let trimmed = document.trim_ascii();
    if checked.is_err() || trimmed.first() != Some(&b'{') || trimmed.len() > shared.limits.record_bytes_max {
        let detail = checked.err().map_or_else(|| "it is not an object, or too long".to_owned(), |error| error.to_string());
        return Err(Refusal::Malformed(format!("the document cannot be taken: {detail}")));
    }
    bulk::check_name(index).map_err(Refusal::Malformed)?;
    let index: Arc<str> = index.into();
    let mut bulk = Bulk { items: Vec::new(), documents: vec![(index.clone(), document.slice_ref(trimmed))] };
    let ids = keep(shared, peer, &mut bulk).await?;
    drop(room);
    let stored = ids.first().map(ToString::to_string).unwrap_or_default();
    let answer = json!({
        "_index": &*index, "_id": id.filter(|id| !id.is_empty()).unwrap_or(&stored), "_version": 1, "result": "created",
        "_shards": { "total": 1, "successful": 1, "failed": 0 }, "_seq_no": ids.first().map_or(0, |id| id.index), "_primary_term": 1,
    });
    Ok((StatusCode::CREATED, answer.to_string().into_bytes()))
}

/// What shippers ask before they write. Set-up requests are acknowledged: there is nothing to set up.
fn handshake(shared: &Shared, method: &Method, segments: &[&str]) -> Answer {
    let ok = |value: Value| Ok((StatusCode::OK, value.to_string().into_bytes()));
    let missing = || Ok((StatusCode::NOT_FOUND, json!({ "error": "not found", "status": 404 }).to_string().into_bytes()));
    let reads = method == Method::GET || method == Method::HEAD;
    let elastic = &shared.elastic;
    match segments {
        [] if reads => ok(root(elastic)),
        ["_license"] if reads => ok(json!({ "license": {
            "status": "active", "uid": elastic.cluster_uuid, "type": "basic", "issue_date": "2024-01-01T00:00:00.000Z",
            "issue_date_in_millis": 1_704_067_200_000_u64, "max_nodes": 1000, "issued_to": "reeve", "issuer": "reeve", "start_date_in_millis": -1 } })),
        ["_xpack"] if reads => ok(json!({
            "build": { "hash": "reeve", "date": "2026-01-01T00:00:00.000Z" },
            "license": { "uid": elastic.cluster_uuid, "type": "basic", "mode": "basic", "status": "active" },
            "features": { "ilm": { "available": true, "enabled": true }, "security": { "available": true, "enabled": shared.tokens_needed() } } })),
        ["_cluster", "health", ..] if reads => ok(json!({
            "cluster_name": "reeve", "status": "green", "timed_out": false, "number_of_nodes": 1, "number_of_data_nodes": 1,
            "active_primary_shards": 1, "active_shards": 1, "relocating_shards": 0, "initializing_shards": 0, "unassigned_shards": 0,
            "delayed_unassigned_shards": 0, "number_of_pending_tasks": 0, "number_of_in_flight_fetch": 0,
            "task_max_waiting_in_queue_millis": 0, "active_shards_percent_as_number": 100.0 })),
        ["_cluster", "settings"] if reads => ok(json!({ "persistent": {}, "transient": {} })),
        // No addresses: a client that sniffs keeps the one it has.
        ["_nodes", ..] if reads => {
            ok(json!({ "_nodes": { "total": 1, "successful": 1, "failed": 0 }, "cluster_name": "reeve", "nodes": {} }))
        }
        ["_security", "_authenticate"] if reads => ok(json!({ "username": "reeve", "roles": [], "enabled": true })),
        ["_cat", ..] if reads => Ok((StatusCode::OK, b"[]".to_vec())),
        [
            "_index_template" | "_template" | "_component_template" | "_ilm" | "_ingest" | "_data_stream" | "_alias" | "_aliases",
            ..,
        ] => {
            if reads {
                missing()
            } else {
                ok(json!({ "acknowledged": true }))
            }
        }
        ["_refresh" | "_flush"] | [_, "_refresh" | "_flush"] => {
            ok(json!({ "_shards": { "total": 1, "successful": 1, "failed": 0 } }))
        }
        [index, "_mapping" | "_mappings" | "_settings" | "_alias", ..] if !index.starts_with('_') => {
            if reads {
                ok(json!({}))
            } else {
                ok(json!({ "acknowledged": true }))
            }
        }
        [index] if !index.starts_with('_') => match *method {
            Method::PUT => ok(json!({ "acknowledged": true, "shards_acknowledged": true, "index": index })),
            Method::HEAD | Method::GET => ok(json!({ *index: { "aliases": {}, "mappings": {}, "settings": {} } })),
            _ => Err(Refusal::Method(method.clone())),
        },
        _ => Err(Refusal::NotFound(format!("/{}", segments.join("/")))),
    }
}

fn root(elastic: &Elastic) -> Value {
    json!({
        "name": "reeve", "cluster_name": "reeve", "cluster_uuid": elastic.cluster_uuid,
        "version": {
            "number": elastic.version, "build_flavor": "default", "build_type": "tar", "build_hash": "reeve",
            "build_date": "2026-01-01T00:00:00.000Z", "build_snapshot": false, "lucene_version": "10.3.0",
            "minimum_wire_compatibility_version": "8.19.0", "minimum_index_compatibility_version": "8.0.0",
        },
        // Logstash looks for these words before it writes.
        "tagline": "You Know, for Search",
    })
}

/// The answer with the product header that official clients demand, in the content type that was asked for.
fn product(status: StatusCode, body: Vec<u8>, asked: &HeaderMap) -> Response {
    let compatible = asked
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .and_then(|accept| accept.split_once("compatible-with="))
        .and_then(|(_, version)| version.chars().next())
        .filter(char::is_ascii_digit);
    let kind = match compatible {
        Some('9') => "application/vnd.elasticsearch+json;compatible-with=9",
        Some('8') => "application/vnd.elasticsearch+json;compatible-with=8",
        Some('7') => "application/vnd.elasticsearch+json;compatible-with=7",
        _ => "application/json",
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert("x-elastic-product", HeaderValue::from_static("Elasticsearch"));
    response
}

/// Bodies under this size are read where they arrive; larger ones on a thread of their own.
const INLINE_BYTES_MAX: usize = 512 << 10;
