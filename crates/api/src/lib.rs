//! HTTP only: requests in, answers out. Every read goes through `access` and leaves an audit record.
//!
//! Reference: `docs/reference/api.md`, and the OpenAPI document that the server writes itself.
mod alerts; // the queue
mod completeness; // what is there of a source
mod error; // refusals
mod events; // search, histogram, fields, one event
mod evidence; // state, verification and proof of a record
mod health; // health and metrics, for monitoring
mod incidents; // reconstruct, list, read
mod session; // who is asking
pub mod shapes; // what the answers look like
pub mod sources; // the registered sources
mod status; // counters
mod summary; // one line for an event

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::Response,
};
use reeve_access::{Access, Accounts, Reads};
use reeve_detect::RuleSet;
use reeve_ledger::Ledger;
use tower_http::compression::CompressionLayer;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use completeness::{CompletenessOf, SignedStatement};
pub use error::{Fault, Refusal};
pub use events::listed;
pub use summary::summary;

/// What the handlers work on.
pub struct App {
    /// The gate.
    pub access: Arc<Access>,
    /// Local accounts.
    pub accounts: Arc<Accounts>,
    /// Events and records, behind the gate.
    pub reads: Arc<Reads>,
    /// The record ledger, for evidence that shows no content.
    pub ledger: Arc<Ledger>,
    /// The alert queue.
    pub case: Arc<reeve_case::Store>,
    /// The rules in force.
    pub rules: Arc<RuleSet>,
    /// Counters of everything that runs, as JSON; shows no content.
    pub counters: Box<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// Makes a signed statement of completeness; shows no content. Blocks.
    pub completeness: Completeness,
    /// The registered sources.
    pub sources: Arc<dyn sources::SourceDesk>,
}

/// How statements of completeness are made.
pub type Completeness = Box<dyn Fn(&CompletenessOf) -> Result<SignedStatement, String> + Send + Sync>;

/// A body an API call may have, in bytes.
const BODY_MAX: usize = 1 << 20;

/// The security policy of the console, the same in development and production: nothing but our own files. `wasm-unsafe-eval` lets the page
/// compile WebAssembly, which the verifier in the browser is; it allows no `eval` of script.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; \
                      manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[derive(OpenApi)]
#[openapi(info(title = "Reeve", description = "Search, evidence, alerts and incidents of one Reeve."))]
struct Description;

fn described() -> (Router<Arc<App>>, utoipa::openapi::OpenApi) {
    let api = OpenApiRouter::new()
        .routes(routes!(session::sign_in, session::who, session::sign_out))
        .routes(routes!(events::search))
        .routes(routes!(events::histogram))
        .routes(routes!(events::fields))
        .routes(routes!(events::event))
        .routes(routes!(evidence::evidence))
        .routes(routes!(evidence::verify))
        .routes(routes!(evidence::proof))
        .routes(routes!(evidence::raw))
        .routes(routes!(evidence::key))
        .routes(routes!(alerts::alerts))
        .routes(routes!(alerts::alert, alerts::change))
        .routes(routes!(incidents::incidents, incidents::reconstruct))
        .routes(routes!(incidents::incident))
        .routes(routes!(completeness::completeness))
        .routes(routes!(sources::sources, sources::change_source))
        .routes(routes!(sources::source))
        .routes(routes!(status::status))
        .routes(routes!(health::health))
        .routes(routes!(health::metrics));
    OpenApiRouter::with_openapi(Description::openapi()).nest("/api/v1", api).split_for_parts()
}

/// The API's description as OpenAPI 3.1 JSON.
pub fn openapi_json() -> String {
    let (_, api) = described();
    api.to_pretty_json().unwrap_or_default() + "\n"
}

/// The console and the API.
pub fn router(app: Arc<App>) -> Router {
    let (api, description) = described();
    let console = memory_serve::load!()
        .index_file(Some("/index.html"))
        .fallback(Some("/index.html"))
        .fallback_status(StatusCode::OK)
        .html_cache_control(memory_serve::CacheControl::NoCache)
        .cache_control(memory_serve::CacheControl::Long)
        .into_router();
    let api = api
        .route("/api/v1/openapi.json", axum::routing::get(move || std::future::ready(Json(description.clone()))))
        .route("/api/{*rest}", axum::routing::any(async || Refusal::not_found("no such API path: see /api/v1/openapi.json")))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(CompressionLayer::new())
        .with_state(app);
    api.merge(console).layer(middleware::from_fn(headers))
}

async fn headers(request: Request, next: Next) -> Response {
    let api = request.uri().path().starts_with("/api/");
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    if api {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    answer
}
