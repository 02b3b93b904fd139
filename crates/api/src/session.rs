//! Signing in and out, and who is behind a request.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
    response::{AppendHeaders, IntoResponse},
};
use reeve_access::{Person, Session, Sessions};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{App, error::Refusal};

const COOKIE: &str = "reeve_session";
const CSRF_HEADER: &str = "x-csrf-token";

/// Name and password of a local account.
#[derive(Deserialize, ToSchema)]
pub struct SignIn {
    user: String,
    password: String,
}

/// Who is signed in.
#[derive(Serialize, ToSchema)]
pub struct SignedIn {
    user: User,
    /// To be sent as `X-CSRF-Token` with every request that changes something.
    csrf_token: String,
}

/// An account as its holder sees it.
#[derive(Serialize, ToSchema)]
pub struct User {
    name: String,
    roles: Vec<&'static str>,
}

impl From<&Session> for SignedIn {
    fn from(session: &Session) -> Self {
        let roles = session.person.roles.iter().map(|role| role.name()).collect();
        Self { user: User { name: session.person.name.clone(), roles }, csrf_token: session.csrf.clone() }
    }
}

/// The person behind a request, with a live session; changes must bring the session's CSRF token.
pub struct Who(pub Person, pub Session);

impl FromRequestParts<Arc<App>> for Who {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let token = cookie(&parts.headers).ok_or(reeve_access::Error::NoSession)?.to_owned();
        let accounts = Arc::clone(&app.accounts);
        let session = blocking(move || Ok(Sessions::find(&accounts, &token)?)).await?;
        let changes = !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let given = parts.headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if changes && !session.csrf_matches(given) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "csrf",
                "the X-CSRF-Token header is missing or not this session's: reload the page",
            ));
        }
        Ok(Self(session.person.clone(), session))
    }
}

/// Sign in.
#[utoipa::path(post, path = "/session", request_body = SignIn, responses((status = 200, body = SignedIn), (status = 401, body = crate::error::Fault)))]
pub async fn sign_in(State(app): State<Arc<App>>, Json(given): Json<SignIn>) -> Result<impl IntoResponse, Refusal> {
    let signed_in = blocking(move || {
        let name: String = given.user.chars().take(64).collect();
        match Sessions::sign_in(&app.accounts, &name, &given.password) {
            Ok(signed_in) => {
                app.access.session("sign_in", &name)?;
                Ok(signed_in)
            }
            Err(error) => {
                app.access.session("sign_in_failed", &name)?;
                Err(error.into())
            }
        }
    })
    .await?;
    let body = Json(SignedIn::from(&signed_in.session));
    Ok((set_cookie(&signed_in.token, 12 * 60 * 60), body))
}

/// Who is signed in.
#[utoipa::path(get, path = "/session", responses((status = 200, body = SignedIn), (status = 401, body = crate::error::Fault)))]
pub async fn who(Who(_, session): Who) -> Json<SignedIn> {
    Json(SignedIn::from(&session))
}

/// Sign out.
#[utoipa::path(delete, path = "/session", responses((status = 204)))]
pub async fn sign_out(
    State(app): State<Arc<App>>,
    Who(person, _): Who,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Refusal> {
    let token = cookie(&headers).unwrap_or_default().to_owned();
    blocking(move || {
        app.access.session("sign_out", &person.name)?;
        Ok(Sessions::end(&app.accounts, &token)?)
    })
    .await?;
    Ok((StatusCode::NO_CONTENT, set_cookie("", 0)))
}

/// Runs disk work off the async threads.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(Refusal::internal)?
}

fn set_cookie(token: &str, max_age_s: u32) -> AppendHeaders<[(header::HeaderName, String); 1]> {
    // Browsers take a Secure cookie over plain HTTP from localhost only: anywhere else the console needs TLS in front of it.
    let cookie = format!("{COOKIE}={token}; Path=/; Max-Age={max_age_s}; HttpOnly; Secure; SameSite=Strict");
    AppendHeaders([(header::SET_COOKIE, cookie)])
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|line| line.split(';')).find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}
