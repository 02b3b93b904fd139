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
    http::{Api, RECORDS_MAX, Refusal, Room, Shared},
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
        let cut = if is_json(&parts.headers) { logs::of_json } else { logs::of_protobuf };
        keep(shared, peer, Transport::OtlpHttp, cut(&body, RECORDS_MAX).map_err(Refusal::Malformed)?, room).await
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
pub(crate) fn status_code(refusal: &Refusal) -> u16 {
    match refusal {
        Refusal::Unauthorized(_) => 16,
        Refusal::Disabled(_) => 7,
        Refusal::Keep(_) | Refusal::Incomplete => 14,
        Refusal::NotFound(_) | Refusal::Method(_) => 12,
        _ => 3,
    }
}

/// Keeps the records of a request; their order is that of the request.
pub(crate) async fn keep(
    shared: &Shared,
    peer: &Peer,
    transport: Transport,
    groups: Vec<Group>,
    room: Room,
) -> Result<(), Refusal> {
    check_claims(&groups, shared.limits.body_bytes_max)?;
    let mut sources: HashMap<Option<Arc<str>>, Arc<str>> = HashMap::new();
    let mut batch = Vec::new();
    for group in groups {
        let claims = group.claims(peer.identity.as_deref()).map(Arc::from);
        let named = |service: &Option<Arc<str>>| {
            let service = service.as_deref().filter(|name| check_name(name).is_ok());
            peer.stream("otlp", service.unwrap_or_default())
        };
        let source = sources.entry(group.service).or_insert_with_key(named).clone();
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
                let arrival = Arrival::new(raw, source.clone(), transport);
                batch.push(Arrival { claimed: record.claimed, claims: Option::clone(&claims), ..arrival });
            }
        }
    }
    if batch.is_empty() {
        return Ok(());
    }
    shared.keep(batch, room).await.map(drop)
}

/// A resource is sent once and kept with each of its scopes: a small request must not become a large record.
fn check_claims(groups: &[Group], bytes_max: usize) -> Result<(), Refusal> {
    if groups.iter().any(|group| group.claims_bytes() > CLAIMS_BYTES_MAX) {
        return Err(Refusal::Malformed(format!("a resource and its scope have more than {CLAIMS_BYTES_MAX} bytes")));
    }
    if groups.iter().map(Group::claims_bytes).sum::<usize>() > bytes_max {
        let reason = "the resource is too large for so many scopes: with each of them it would be more than a body may be";
        return Err(Refusal::Malformed(format!("{reason}, {bytes_max} bytes")));
    }
    Ok(())
}

/// Resources have some hundred bytes.
const CLAIMS_BYTES_MAX: usize = 1 << 20;
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";
