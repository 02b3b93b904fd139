use std::sync::Arc;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, Method, StatusCode, header},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use reeve_record::Transport;

use crate::{
    Arrival, DeliveryError,
    bulk::check_name,
    http::{Api, LINES_MAX, Refusal, Shared, json},
    lines::{self, Cut},
    stream::Peer,
};

/// `POST /ingest/{source}`: the body's records are kept under the source's name; the answer comes when they are durable.
pub(crate) async fn answer(shared: &Shared, segments: &[&str], peer: &Peer, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let result = async {
        let source = match segments {
            ["ingest", source] => *source,
            _ => return Err(Refusal::NotFound(parts.uri.path().to_owned())),
        };
        if !matches!(parts.method, Method::POST | Method::PUT) {
            return Err(Refusal::Method(parts.method.clone()));
        }
        check_name(source).map_err(Refusal::Malformed)?;
        if parts.headers.contains_key(DELIVERY) {
            return deliver(shared, source, &parts.headers, body).await;
        }
        let source = named(shared, peer, source)?;
        if shared.intake.deliveries.as_ref().is_some_and(|deliveries| deliveries.is_numbered(&source)) {
            return Err(Refusal::Unsigned(source.to_string()));
        }
        let (body, mut room) = shared.body(&parts.headers, body).await?;
        let cut = cut(&body, &parts.headers, shared.limits.record_bytes_max)?;
        if cut.oversize > 0 {
            shared.intake.counters.source(&source).problem("oversize_split", cut.oversize);
        }
        let accepted = cut.records.len();
        shared.weigh(&mut room, accepted).await?;
        let batch: Vec<Arrival> = cut.records.into_iter().map(|raw| Arrival::new(raw, source.clone(), Transport::Http)).collect();
        let ids = if batch.is_empty() { Vec::new() } else { shared.intake.keep(batch).await.map_err(Refusal::Keep)? };
        drop(room);
        Ok(serde_json::json!({ "accepted": accepted, "first": ids.first(), "last": ids.last() }))
    };
    match result.await {
        Ok(answer) => json(StatusCode::OK, answer.to_string().into_bytes()),
        Err(refusal) => shared.turn_away(&refusal, Api::Ingest, &parts.headers),
    }
}

/// What the records are named: a registered source writes under its own name, and nobody else does.
fn named(shared: &Shared, peer: &Peer, source: &str) -> Result<Arc<str>, Refusal> {
    match (&peer.sender, shared.intake.senders.owner(source)) {
        (Some(sender), _) if sender.owns(source) => Ok(source.into()),
        (Some(_), _) => Ok(peer.stream("", source)),
        (None, Some(owner)) => Err(Refusal::NotThisSource(owner.name().clone())),
        (None, None) => Ok(source.into()),
    }
}

/// A delivery that its source numbered and signed; the answer carries the receipt. Format: `docs/spec/receipt.md`.
async fn deliver(shared: &Shared, source: &str, headers: &HeaderMap, body: Body) -> Result<serde_json::Value, Refusal> {
    let malformed = || Refusal::Malformed(format!("`{DELIVERY}` is not the base64 of a signed head"));
    let head = headers.get(DELIVERY).and_then(|value| STANDARD.decode(value.as_bytes()).ok()).ok_or_else(malformed)?;
    let head = String::from_utf8(head).map_err(|_| malformed())?;
    let Some(deliveries) = &shared.intake.deliveries else {
        let reason = "no numbered source is registered here".to_owned();
        return Err(Refusal::Delivery { status: StatusCode::FORBIDDEN, code: "not_this_source", reason });
    };
    let (body, room) = shared.body(headers, body).await?;
    let bytes = body.len() as u64;
    let delivered = deliveries.deliver(source, head, body).await.map_err(refusal)?;
    drop(room);
    let count = shared.intake.counters.source(source);
    if delivered.duplicate {
        count.problem("duplicate", delivered.accepted);
    } else {
        count.received(delivered.accepted, bytes - delivered.accepted);
    }
    let (receipt, problem) = (delivered.receipt.as_ref().ok(), delivered.receipt.as_ref().err());
    let mut answer = serde_json::json!({
        "accepted": delivered.accepted, "first": delivered.first, "last": delivered.last, "duplicate": delivered.duplicate, "receipt": receipt,
    });
    if let (Some(problem), Some(answer)) = (problem, answer.as_object_mut()) {
        answer.insert("receipt_problem".to_owned(), problem.clone().into());
    }
    Ok(answer)
}

fn refusal(error: DeliveryError) -> Refusal {
    match error {
        DeliveryError::Refused { status, code, reason } => {
            Refusal::Delivery { status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), code, reason }
        }
        DeliveryError::Keep(error) => Refusal::Keep(error),
    }
}

/// The header with the base64 of a delivery's signed head.
const DELIVERY: &str = "reeve-delivery";

/// An error as this API words it.
pub(crate) fn refuse(refusal: &Refusal) -> Response {
    let body = serde_json::json!({ "error": { "code": refusal.code(), "message": refusal.reason() } });
    json(refusal.status(), body.to_string().into_bytes())
}

/// Cuts by content type: `application/json` is an array of records or a single one, everything else is lines.
fn cut(body: &Bytes, headers: &HeaderMap, record_bytes_max: usize) -> Result<Cut, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let in_lines = || {
        let many = memchr::memchr_iter(b'\n', body).count() > LINES_MAX;
        if many { Err(Refusal::TooManyRecords(LINES_MAX)) } else { Ok(lines::lines(body, record_bytes_max)) }
    };
    if kind != "application/json" {
        return in_lines();
    }
    match lines::array(body, record_bytes_max, LINES_MAX) {
        Ok(cut) => Ok(cut),
        // NDJSON under the wrong name is common; what starts as an array can only have been meant as one.
        Err(_) if body.trim_ascii_start().first() == Some(&b'{') => in_lines(),
        Err(detail) => Err(Refusal::Malformed(format!("the body is not JSON: {detail}; nothing of it was kept"))),
    }
}
