//! What is there of a source, and what is missing; no content.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State},
};
use jiff::Timestamp;
use reeve_access::Action;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::{
    App,
    error::{Fault, Refusal},
    session::{Who, blocking},
};

/// Which sources, and when.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CompletenessOf {
    /// Name of the source; `*` stands for any text, `?` for one character.
    pub source: String,
    /// Only records received at or after this, RFC 3339.
    #[param(value_type = Option<String>)]
    pub from: Option<Timestamp>,
    /// Only records received before this, RFC 3339.
    #[param(value_type = Option<String>)]
    pub to: Option<Timestamp>,
}

/// A statement, and the note over it that the ledger signed: `docs/spec/receipt.md`.
#[derive(ToSchema, Serialize)]
pub struct SignedStatement {
    /// What is there and what is not.
    #[schema(value_type = Object)]
    pub statement: Value,
    /// The signed note.
    pub note: String,
}

/// What is there of each source that fits, and what is missing, in a signed statement.
#[utoipa::path(get, path = "/completeness", params(CompletenessOf), responses((status = 200, body = SignedStatement), (status = 401, body = Fault)))]
pub async fn completeness(
    State(app): State<Arc<App>>,
    Who(person, _): Who,
    Query(asked): Query<CompletenessOf>,
) -> Result<Json<SignedStatement>, Refusal> {
    blocking(move || {
        let detail = json!({ "completeness": asked.source, "from": asked.from, "to": asked.to });
        let scoped = app.access.ask(&person, Action::CheckEvidence, detail, asked)?;
        (app.completeness)(scoped.what()).map(Json).map_err(Refusal::internal)
    })
    .await
}
