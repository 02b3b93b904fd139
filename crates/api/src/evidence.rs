//! What vouches for a record: its state, a check from stored bytes, and what anybody else needs to check it: proof, bytes, key.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::header,
    response::IntoResponse,
};
use reeve_access::{Action, Digest};
use reeve_ledger::{prove, verify_proof};
use reeve_record::RecordId;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    App,
    error::{Fault, Refusal},
    session::{Who, blocking},
    shapes::{Evidence, EvidenceState, RawBytes},
};

/// The outcome of a check.
#[derive(Serialize, ToSchema)]
pub struct Verification {
    /// `verified`; `pending` for a record that is durable but not sealed yet; `failed`.
    #[schema(value_type = EvidenceState)]
    state: &'static str,
    /// When it was checked, RFC 3339.
    checked_at: String,
    /// What was checked, in order.
    steps: Vec<CheckStep>,
}

/// One step of a check.
#[derive(Serialize, ToSchema)]
pub struct CheckStep {
    /// What.
    name: &'static str,
    /// Whether it holds.
    ok: bool,
    /// What was found.
    detail: String,
}

/// Where a record stands in the log. Shows no content.
#[utoipa::path(get, path = "/records/{record}/evidence", params(("record" = String, Path)), responses((status = 200, body = Evidence), (status = 404, body = Fault)))]
pub async fn evidence(
    State(app): State<Arc<App>>,
    Who(person, _): Who,
    Path(record): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let id: RecordId = record.parse().map_err(Refusal::bad_request)?;
    blocking(move || {
        let scoped = app.access.ask(&person, Action::CheckEvidence, json!({ "evidence": id }), id)?;
        let id = *scoped.what();
        if id >= app.ledger.durable_end() {
            return Err(Refusal::not_found(format!("record `{id}` is not found")));
        }
        let sealed = app.ledger.is_sealed(id);
        let status = app.ledger.status();
        let checkpoint = status
            .last_checkpoint
            .filter(|_| sealed)
            .map(|at| json!({ "origin": status.origin, "size": at.size, "root": at.root, "at": at.at }));
        let state = if sealed { "sealed" } else { "pending" };
        Ok(Json(json!({ "state": state, "segment": id.segment, "leaf_index": id.index, "checkpoint": checkpoint })))
    })
    .await
}

/// Recompute the record's proof from stored bytes, and check it.
#[utoipa::path(post, path = "/records/{record}/verify", params(("record" = String, Path)), responses((status = 200, body = Verification), (status = 404, body = Fault)))]
pub async fn verify(
    State(app): State<Arc<App>>,
    Who(person, _): Who,
    Path(record): Path<String>,
) -> Result<Json<Verification>, Refusal> {
    let id: RecordId = record.parse().map_err(Refusal::bad_request)?;
    blocking(move || {
        let scoped = app.access.ask(&person, Action::CheckEvidence, json!({ "verify": id }), id)?;
        Ok(Json(checked(&app, *scoped.what())?))
    })
    .await
}

/// The record's `.tlog-proof`: with the raw bytes and the log's public key anyone can check it offline.
#[utoipa::path(get, path = "/records/{record}/proof", params(("record" = String, Path)),
    responses((status = 200, content_type = "text/plain", body = String), (status = 404, body = Fault), (status = 409, body = Fault), (status = 410, body = Fault)))]
pub async fn proof(
    State(app): State<Arc<App>>,
    Who(person, _): Who,
    Path(record): Path<String>,
) -> Result<impl IntoResponse, Refusal> {
    let id: RecordId = record.parse().map_err(Refusal::bad_request)?;
    blocking(move || {
        let scoped = app.access.ask(&person, Action::CheckEvidence, json!({ "proof": id }), id)?;
        let text = prove(app.ledger.dir(), *scoped.what()).map_err(|error| match error {
            reeve_ledger::Error::NotSealed { .. } => Refusal::new(
                axum::http::StatusCode::CONFLICT,
                "pending",
                "the record is durable but not sealed yet: try again within a minute",
            ),
            reeve_ledger::Error::NoRecord { .. } => Refusal::not_found(error),
            reeve_ledger::Error::Disposed { .. } => Refusal::new(axum::http::StatusCode::GONE, "disposed", error),
            other => Refusal::internal(other),
        })?;
        let name = format!("attachment; filename=\"{id}.tlog-proof\"");
        Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, name)], text))
    })
    .await
}

/// The record's raw bytes exactly as received, all of them: what its proof is about. (An event may be a part of a record, or made of several.)
#[utoipa::path(get, path = "/records/{record}/raw", params(("record" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream", body = RawBytes), (status = 404, body = Fault)))]
pub async fn raw(
    State(app): State<Arc<App>>,
    Who(person, _): Who,
    Path(record): Path<String>,
) -> Result<impl IntoResponse, Refusal> {
    let id: RecordId = record.parse().map_err(Refusal::bad_request)?;
    blocking(move || {
        let scoped = app.access.ask(&person, Action::ReadEvent, json!({ "raw": id }), id)?;
        let raw = app.reads.raw(&scoped)?.ok_or_else(|| Refusal::not_found(format!("record `{id}` is not found")))?;
        let mut digest = Digest::default();
        digest.row(&raw);
        app.access.answered(&scoped, digest);
        let name = format!("attachment; filename=\"{id}.raw\"");
        Ok(([(header::CONTENT_TYPE, "application/octet-stream".to_owned()), (header::CONTENT_DISPOSITION, name)], raw))
    })
    .await
}

/// The log's public key, as a C2SP verifier key. Whoever takes it from the server that is to be checked sees damage, but not a log
/// that was written anew: compare it with a copy kept elsewhere.
#[utoipa::path(get, path = "/log/key", responses((status = 200, content_type = "text/plain", body = String), (status = 401, body = Fault)))]
pub async fn key(State(app): State<Arc<App>>, Who(person, _): Who) -> Result<impl IntoResponse, Refusal> {
    blocking(move || {
        let key = app.ledger.verifier_key().to_string();
        app.access.ask(&person, Action::CheckEvidence, json!({ "key": key }), ())?;
        Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], key + "\n"))
    })
    .await
}

fn checked(app: &App, id: RecordId) -> Result<Verification, Refusal> {
    let mut steps = Vec::new();
    let mut step = |name, ok, detail: String| steps.push(CheckStep { name, ok, detail });
    let checked_at = jiff::Timestamp::now().to_string();
    let stored = match app.ledger.get(id) {
        Ok(Some(stored)) => stored,
        Ok(None) => return Err(Refusal::not_found(format!("record `{id}` is not found"))),
        // Damage is an outcome of the check, and the loudest.
        Err(error) => {
            step("stored bytes can be read", false, error.to_string());
            return Ok(Verification { state: "failed", checked_at, steps });
        }
    };
    step(
        "record is stored",
        true,
        format!("{} bytes from {}, received {}", stored.raw.len(), stored.receipt.source, stored.receipt.received_at),
    );
    let state = match prove(app.ledger.dir(), id) {
        Err(reeve_ledger::Error::NotSealed { .. }) => {
            step(
                "record is sealed",
                false,
                "not yet: it is durable in the write-ahead log and will be sealed within about a minute".to_owned(),
            );
            "pending"
        }
        Err(error) => {
            step("batch gives the root that was signed", false, error.to_string());
            "failed"
        }
        Ok(text) => match verify_proof(&text, &stored.raw, &app.ledger.verifier_key()) {
            Err(error) => {
                step("proof holds", false, error.to_string());
                "failed"
            }
            Ok(proven) => {
                step("bytes match the leaf", true, format!("leaf {} of segment {}", id.index, id.segment));
                step(
                    "leaf is in its batch",
                    true,
                    format!("{} records, root {}", proven.statement.records, hex::encode(proven.statement.root)),
                );
                step("batch is in the main log", true, format!("entry {} of {}", proven.entry, proven.checkpoint.size));
                step(
                    "checkpoint is signed",
                    true,
                    format!("{}, root {}", proven.checkpoint.origin, hex::encode(proven.checkpoint.root)),
                );
                if let Some(epoch) = proven.epoch {
                    step(
                        "checkpoint is in its key epoch",
                        true,
                        format!("epoch {}, {} to {}", epoch.epoch, epoch.begins, epoch.ends),
                    );
                }
                "verified"
            }
        },
    };
    Ok(Verification { state, checked_at, steps })
}
