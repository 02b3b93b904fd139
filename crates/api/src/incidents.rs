//! Incidents: reconstruct one from a finding or a record, list them, read them.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use reeve_access::{Action, Digest};
use reeve_case::{Seed, reconstruct_and_keep};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    App,
    error::{Fault, Refusal},
    session::{Who, blocking},
    shapes::{Incident, IncidentList},
};

/// Where to start: an alert, or a record. Exactly one of them.
#[derive(Deserialize, ToSchema)]
pub struct Start {
    /// Id of an alert.
    from_finding: Option<String>,
    /// Id of a record.
    from_record: Option<String>,
}

/// Incidents that were reconstructed, latest first.
#[utoipa::path(get, path = "/incidents", responses((status = 200, body = IncidentList), (status = 401, body = Fault)))]
pub async fn incidents(State(app): State<Arc<App>>, Who(person, _): Who) -> Result<Json<Value>, Refusal> {
    blocking(move || {
        let scoped = app.access.ask(&person, Action::ReadIncidents, json!({}), ())?;
        let rows = app.case.incidents()?;
        let mut digest = Digest::default();
        rows.iter().for_each(|row| digest.row(row.id.as_bytes()));
        app.access.answered(&scoped, digest);
        Ok(Json(json!({ "incidents": rows })))
    })
    .await
}

/// Walk causes and consequences from a finding or a record, and keep the incident.
#[utoipa::path(post, path = "/incidents", request_body = Start, responses((status = 200, body = Incident), (status = 400, body = Fault), (status = 404, body = Fault)))]
pub async fn reconstruct(
    State(app): State<Arc<App>>,
    Who(person, _): Who,
    Json(start): Json<Start>,
) -> Result<Json<Value>, Refusal> {
    let seed = match (start.from_finding, start.from_record) {
        (Some(alert), None) => Seed::Alert(alert),
        (None, Some(record)) => Seed::Record(record.parse().map_err(Refusal::bad_request)?),
        _ => return Err(Refusal::bad_request("give exactly one of `from_finding` and `from_record`")),
    };
    let runtime = tokio::runtime::Handle::current();
    blocking(move || {
        let detail = json!({ "from": seed.to_string() });
        let scoped = app.access.ask(&person, Action::ReconstructIncident, detail, seed)?;
        let document = reconstruct_and_keep(&app.case, &app.reads, &scoped, &runtime)?;
        let mut digest = Digest::default();
        digest.row(document.to_string().as_bytes());
        app.access.answered(&scoped, digest);
        Ok(Json(document))
    })
    .await
}

/// One incident, as it was reconstructed.
#[utoipa::path(get, path = "/incidents/{id}", params(("id" = String, Path)), responses((status = 200, body = Incident), (status = 404, body = Fault)))]
pub async fn incident(State(app): State<Arc<App>>, Who(person, _): Who, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    blocking(move || {
        let scoped = app.access.ask(&person, Action::ReadIncidents, json!({ "incident": id }), id)?;
        let document = app.case.incident(scoped.what())?;
        let mut digest = Digest::default();
        digest.row(document.to_string().as_bytes());
        app.access.answered(&scoped, digest);
        Ok(Json(document))
    })
    .await
}
