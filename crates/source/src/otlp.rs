//! OpenTelemetry logs over HTTP, as protobuf or JSON. A record is one LogRecord, byte for byte; what the request says about its
//! resource and scope goes beside it.
use axum::{
    extract::Request,
    http::{HeaderMap, Method, header},
    response::{IntoResponse as _, Response},
};
use reeve_record::Transport;
use serde_json::json;
use std::{collections::HashMap, sync::Arc};

use crate::{
    Arrival,
    bulk::check_name,
    http::{Api, Refusal, Shared},
    lines::Cut,
    logs::{self, Group},
    stream::Peer,
};

/// `POST /v1/logs`: answered in the encoding of the request, when the records are durable.
pub(crate) async fn answer(shared: &Shared, peer: &Peer, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let result = async {
        if parts.method != Method::POST {
            return Err(Refusal::Method(parts.method.clone()));
        }
        let (body, room) = shared.body(&parts.headers, body).await?;
        let groups = if is_json(&parts.headers) { logs::of_json(&body) } else { logs::of_protobuf(&body) };
        keep(shared, peer, groups.map_err(Refusal::Malformed)?).await?;
        drop(room);
        Ok(())
    };
    match result.await {
        Ok(()) if is_json(&parts.headers) => ([(header::CONTENT_TYPE, JSON)], "{}").into_response(),
        // The message without any field.
        Ok(()) => ([(header::CONTENT_TYPE, PROTOBUF)], "").into_response(),
        Err(refusal) => shared.turn_away(&refusal, Api::Otlp, &parts.headers),
    }
}

/// An error as the protocol words it: a `google.rpc.Status` in the encoding of the request.
pub(crate) fn refuse(refusal: &Refusal, asked: &HeaderMap) -> Response {
    let (status, code) = (refusal.status(), status_code(refusal));
    if is_json(asked) {
        let body = json!({ "code": code, "message": refusal.reason() }).to_string();
        return (status, [(header::CONTENT_TYPE, JSON)], body).into_response();
    }
    (status, [(header::CONTENT_TYPE, PROTOBUF)], logs::status(code, &refusal.reason())).into_response()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    kind.trim().to_ascii_lowercase().starts_with(JSON)
}

/// Code of `google.rpc.Code`. Exporters send again after `UNAVAILABLE`.
fn status_code(refusal: &Refusal) -> u16 {
    match refusal {
        Refusal::Unauthorized(_) => 16,
        Refusal::Keep(_) | Refusal::Incomplete => 14,
        Refusal::NotFound(_) | Refusal::Method(_) => 12,
        _ => 3,
    }
}

/// Keeps the records of a request; their order is that of the request.
async fn keep(shared: &Shared, peer: &Peer, groups: Vec<Group>) -> Result<(), Refusal> {
    let mut sources: HashMap<Option<String>, Arc<str>> = HashMap::new();
    let mut batch = Vec::new();
    for group in groups {
        let claims = group.claims(peer.identity.as_deref()).map(Arc::from);
        let source = sources.entry(group.service).or_insert_with_key(|service| source_name(service.as_deref())).clone();
        let count = shared.intake.counters.source(&source);
        for record in group.records {
            if record.raw.is_empty() {
                count.problem("empty_record", 1);
            }
            let cut = Cut::of(record.raw, shared.limits.record_bytes_max);
            if cut.oversize > 0 {
                count.problem("oversize_split", cut.oversize);
            }
            for raw in cut.records {
                let arrival = Arrival::new(raw, source.clone(), Transport::OtlpHttp);
                batch.push(Arrival { claimed: record.claimed, claims: Option::clone(&claims), ..arrival });
            }
        }
    }
    if batch.is_empty() {
        return Ok(());
    }
    shared.intake.keep(batch).await.map(drop).map_err(Refusal::Keep)
}

fn source_name(service: Option<&str>) -> Arc<str> {
    match service.filter(|name| check_name(name).is_ok()) {
        Some(name) => format!("otlp/{name}").into(),
        None => "otlp".into(),
    }
}

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";
