//! Counters of the installation; no content.

use std::sync::Arc;

use axum::{Json, extract::State};
use reeve_access::Action;
use serde_json::{Value, json};

use crate::{
    App,
    error::{Fault, Refusal},
    session::{Who, blocking},
    shapes::Status,
};

/// How the record, the lake, the sources and detection are doing.
#[utoipa::path(get, path = "/status", responses((status = 200, body = Status), (status = 401, body = Fault)))]
pub async fn status(State(app): State<Arc<App>>, Who(person, _): Who) -> Result<Json<Value>, Refusal> {
    blocking(move || {
        app.access.ask(&person, Action::ReadStatus, Value::Null, ())?;
        let mut status = (app.counters)();
        if let Some(object) = status.as_object_mut() {
            object.insert("version".to_owned(), json!(env!("CARGO_PKG_VERSION")));
            object.insert("audit".to_owned(), json!(app.access.audit().status()));
        }
        Ok(Json(status))
    })
    .await
}
