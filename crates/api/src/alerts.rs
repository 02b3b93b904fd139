//! The alert queue.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
};
use reeve_access::{Action, Digest};
use reeve_case::{AlertFilter, AlertStatus, Change};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::{
    App,
    error::{Fault, Refusal},
    session::{Who, blocking},
    shapes::{self, AlertDetail, AlertPage},
};

/// Which alerts to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AlertQuery {
    /// `new`, `in_progress`, `resolved` or `suppressed`.
    status: Option<String>,
    /// Least OCSF severity, 1 to 5.
    severity: Option<u32>,
    /// Words in title, host, user or technique.
    q: Option<String>,
    /// Rows to give, 1 to 1,000; 100 unless told.
    limit: Option<u64>,
    /// Where the page before ended.
    cursor: Option<u64>,
}

/// A change to an alert.
#[derive(Deserialize, ToSchema)]
pub struct AlertChange {
    /// New status.
    #[schema(value_type = Option<shapes::AlertStatus>)]
    status: Option<String>,
    /// New assignee, empty for nobody.
    assignee: Option<String>,
    /// Why; required.
    reason: Option<String>,
}

/// Alerts, most severe and latest first.
#[utoipa::path(get, path = "/alerts", params(AlertQuery), responses((status = 200, body = AlertPage), (status = 401, body = Fault)))]
pub async fn alerts(
    State(app): State<Arc<App>>,
    Who(person, _): Who,
    Query(query): Query<AlertQuery>,
) -> Result<Json<Value>, Refusal> {
    blocking(move || {
        let status = query.status.as_deref().filter(|name| !name.is_empty()).map(AlertStatus::parse).transpose()?;
        let offset = query.cursor.unwrap_or(0);
        let filter = AlertFilter {
            status,
            severity: query.severity,
            text: query.q.clone(),
            offset,
            limit: query.limit.unwrap_or(100).clamp(1, 1000),
        };
        let detail = json!({ "status": query.status, "severity": query.severity, "q": query.q, "offset": offset });
        let scoped = app.access.ask(&person, Action::ReadAlerts, detail, filter)?;
        let page = app.case.alerts(scoped.what())?;
        let mut digest = Digest::default();
        page.alerts.iter().for_each(|alert| digest.row(alert.id.as_bytes()));
        app.access.answered(&scoped, digest);
        let next = offset + page.alerts.len() as u64;
        Ok(Json(json!({ "alerts": page.alerts, "total": page.total, "next_cursor": (next < page.total).then_some(next) })))
    })
    .await
}

/// One alert, with why it fired.
#[utoipa::path(get, path = "/alerts/{id}", params(("id" = String, Path)), responses((status = 200, body = AlertDetail), (status = 404, body = Fault)))]
pub async fn alert(State(app): State<Arc<App>>, Who(person, _): Who, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    blocking(move || {
        let scoped = app.access.ask(&person, Action::ReadAlerts, json!({ "alert": id }), id)?;
        let alert = app.case.alert(scoped.what())?;
        let mut digest = Digest::default();
        digest.row(alert.id.as_bytes());
        app.access.answered(&scoped, digest);
        Ok(Json(with_rule(&app, serde_json::to_value(alert).map_err(Refusal::internal)?)))
    })
    .await
}

/// Change status or assignee. The request is in the audit ledger before the queue changes.
#[utoipa::path(patch, path = "/alerts/{id}", params(("id" = String, Path)), request_body = AlertChange,
    responses((status = 200, body = AlertDetail), (status = 400, body = Fault), (status = 404, body = Fault)))]
pub async fn change(
    State(app): State<Arc<App>>,
    Who(person, _): Who,
    Path(id): Path<String>,
    Json(given): Json<AlertChange>,
) -> Result<Json<Value>, Refusal> {
    blocking(move || {
        let status = given.status.as_deref().map(AlertStatus::parse).transpose()?;
        let reason = given.reason.unwrap_or_default();
        if reason.trim().is_empty() {
            return Err(Refusal::bad_request("a change needs a `reason`: it stays with the alert and in the audit ledger"));
        }
        let detail = json!({ "alert": id, "status": given.status, "assignee": given.assignee, "reason": reason });
        let scoped = app.access.ask(&person, Action::ChangeAlert, detail, id)?;
        let change = Change { status, assignee: given.assignee, reason, by: person.name.clone(), request: scoped.request() };
        let alert = app.case.change(scoped.what(), &change)?;
        Ok(Json(with_rule(&app, serde_json::to_value(alert).map_err(Refusal::internal)?)))
    })
    .await
}

/// Adds the rule's text and author, and the fields that matched.
fn with_rule(app: &App, mut alert: Value) -> Value {
    let rule = alert["rule_uid"].as_str().and_then(|uid| app.rules.find(uid));
    let matched = alert["finding"]["evidences"][0]["data"]["fields"].clone();
    if let Some(object) = alert.as_object_mut() {
        object.insert("matched_fields".to_owned(), matched);
        object.insert("rule_text".to_owned(), rule.as_ref().map_or(Value::Null, |rule| Value::String(rule.yaml.to_string())));
        object.insert("author".to_owned(), rule.as_ref().map_or(Value::Null, |rule| Value::String(rule.author.clone())));
    }
    alert
}
