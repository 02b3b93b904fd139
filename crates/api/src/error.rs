//! What a caller is told: code and message. The inner detail goes to the log, joined by the request id.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

/// An answer that is no success.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    body: Fault,
}

/// The body of every refusal.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Fault {
    /// What went wrong.
    pub error: FaultDetail,
}

/// What went wrong, for a program and for a person.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FaultDetail {
    /// A stable name, as in `not_found`.
    pub code: &'static str,
    /// What, where, what to do.
    pub message: String,
    /// Joins this answer to the server's log.
    pub request_id: String,
    /// Byte offset in the query, for errors in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<usize>,
}

impl Refusal {
    /// A refusal with a code and a message that may be shown.
    pub fn new(status: StatusCode, code: &'static str, message: impl ToString) -> Self {
        let error = FaultDetail { code, message: message.to_string(), request_id: request_id(), offset: None };
        Self { status, body: Fault { error } }
    }

    /// The same, pointing into the query.
    pub fn at(mut self, offset: Option<usize>) -> Self {
        self.body.error.offset = offset;
        self
    }

    /// Not there, or not for this person: the two look alike.
    pub fn not_found(what: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", what)
    }

    /// The request breaks a rule the caller can mend.
    pub fn bad_request(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// Our own failure: the detail stays in the log.
    pub fn internal(detail: impl std::fmt::Display) -> Self {
        let refusal = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server failed; its log has the detail under this request id",
        );
        tracing::error!(request_id = refusal.body.error.request_id, %detail, "request failed");
        refusal
    }

    /// The body, for answers that have begun to stream.
    pub fn fault(self) -> Fault {
        self.body
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

impl From<reeve_access::Error> for Refusal {
    fn from(error: reeve_access::Error) -> Self {
        use reeve_access::Error;
        match &error {
            Error::SignIn => Self::new(StatusCode::UNAUTHORIZED, "sign_in", error),
            Error::NoSession => Self::new(StatusCode::UNAUTHORIZED, "no_session", error),
            Error::Throttled { .. } => Self::new(StatusCode::TOO_MANY_REQUESTS, "throttled", error),
            // What one may not see is "not found".
            Error::NotAllowed { .. } => Self::not_found("not found"),
            Error::BadAccount(_) => Self::bad_request(error),
            Error::Lake(_) => match error {
                Error::Lake(inner) => crate::events::of_lake(inner),
                other => Self::internal(other),
            },
            Error::Audit(_) => {
                tracing::error!(%error, "audit ledger refused an act");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "audit",
                    "the act could not be recorded, so it was not done: see the server's log",
                )
            }
            Error::Store(_) | Error::Credential(_) => Self::internal(error),
        }
    }
}

impl From<reeve_case::Error> for Refusal {
    fn from(error: reeve_case::Error) -> Self {
        use reeve_case::Error;
        match &error {
            Error::NotFound { .. } => Self::not_found(error),
            Error::Status(_) => Self::bad_request(error),
            Error::Store(_) | Error::Damaged { .. } | Error::Reconstruction { .. } => Self::internal(error),
        }
    }
}

fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:x}-{}", jiff::Timestamp::now().as_millisecond(), NEXT.fetch_add(1, Ordering::Relaxed))
}
