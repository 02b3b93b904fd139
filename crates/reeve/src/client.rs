//! A running server, spoken to over its public API.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use crate::exit::{Failure, UNUSABLE, USAGE};

/// Where a command reads: a data folder nobody serves, or a running server.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Where {
    /// Data folder, while no server runs on it
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<std::path::PathBuf>,
    /// Address of a running server, as in http://127.0.0.1:8420; signs in with REEVE_USER and REEVE_PASSWORD
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
}

/// A server's own account of its health; takes no sign-in.
pub(crate) fn health(url: &str) -> Result<Value, Failure> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let address = format!("{}/api/v1/health", url.trim_end_matches('/'));
    let mut answer = agent.get(&address).call().map_err(|error| Failure::new(USAGE, format!("cannot reach `{url}`: {error}")))?;
    answer
        .body_mut()
        .read_json()
        .map_err(|error| Failure::new(UNUSABLE, format!("`{url}` does not answer like a Reeve: {error}")))
}

/// A signed-in client.
pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
    cookie: String,
    csrf: String,
}

impl Client {
    /// Signs in with `REEVE_USER` and `REEVE_PASSWORD`.
    pub(crate) fn sign_in(url: &str) -> Result<Self, Failure> {
        let variable = |name: &str| {
            std::env::var(name).map_err(|_| {
                Failure::new(USAGE, format!("`{name}` is not set: --server signs in with REEVE_USER and REEVE_PASSWORD"))
            })
        };
        let (user, password) = (variable("REEVE_USER")?, variable("REEVE_PASSWORD")?);
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let base = format!("{}/api/v1", url.trim_end_matches('/'));
        let mut answer = agent
            .post(format!("{base}/session"))
            .send_json(json!({ "user": user, "password": password }))
            .map_err(|error| Failure::new(USAGE, format!("cannot reach `{url}`: {error}; is `reeve serve` running there?")))?;
        let cookie = answer.headers().get("set-cookie").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let failed = !answer.status().is_success();
        let body: Value = answer
            .body_mut()
            .read_json()
            .map_err(|error| Failure::new(UNUSABLE, format!("`{url}` does not answer like a Reeve: {error}")))?;
        if failed {
            return Err(refused(&body));
        }
        Ok(Self { agent, base, cookie, csrf: body["csrf_token"].as_str().unwrap_or_default().to_owned() })
    }

    /// Reads a stream of JSON lines; `each` gets every object.
    pub(crate) fn lines(
        &self,
        path: &str,
        query: &[(&str, String)],
        mut each: impl FnMut(Value) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut request = self.agent.get(format!("{}{path}", self.base)).header("cookie", &self.cookie);
        for (name, value) in query {
            request = request.query(*name, value);
        }
        let mut answer = request.call().map_err(broken)?;
        if !answer.status().is_success() {
            return Err(refused(&answer.body_mut().read_json().map_err(broken)?));
        }
        for line in BufReader::new(answer.into_body().into_reader()).lines() {
            let line = line?;
            each(
                serde_json::from_str(&line)
                    .map_err(|error| Failure::new(UNUSABLE, format!("the server sent a broken line: {error}")))?,
            )?;
        }
        Ok(())
    }

    /// Gets a JSON document.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        let answer = self.agent.get(format!("{}{path}", self.base)).header("cookie", &self.cookie).call().map_err(broken)?;
        document(answer)
    }

    /// Gets a JSON document with a query.
    pub(crate) fn get_with(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
        let mut request = self.agent.get(format!("{}{path}", self.base)).header("cookie", &self.cookie);
        for (name, value) in query {
            request = request.query(*name, value);
        }
        document(request.call().map_err(broken)?)
    }

    /// Gets text.
    pub(crate) fn text(&self, path: &str) -> Result<String, Failure> {
        let mut answer = self.agent.get(format!("{}{path}", self.base)).header("cookie", &self.cookie).call().map_err(broken)?;
        if !answer.status().is_success() {
            return Err(refused(&answer.body_mut().read_json().map_err(broken)?));
        }
        answer.body_mut().read_to_string().map_err(broken)
    }

    /// Posts a JSON document.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request =
            self.agent.post(format!("{}{path}", self.base)).header("cookie", &self.cookie).header("x-csrf-token", &self.csrf);
        document(request.send_json(body).map_err(broken)?)
    }
}

impl Client {
    /// Sends records to a server's NDJSON listener, one request for each run of one source; returns when they are durable there.
    pub(crate) fn ingest(url: &str, batch: &[reeve_ledger::NewRecord]) -> Result<(), Failure> {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        for run in batch.chunk_by(|a, b| a.source == b.source) {
            let Some(first) = run.first() else { continue };
            let mut body = Vec::new();
            for record in run {
                // The listener cuts at line ends: a record that holds one would come apart and no longer be bit for bit.
                if record.raw.contains(&b'\n') {
                    let message = format!(
                        "`{}` has records that are no single lines: give --data DIR, which takes any bytes",
                        first.source
                    );
                    return Err(Failure::new(UNUSABLE, message));
                }
                body.extend_from_slice(&record.raw);
                body.push(b'\n');
            }
            // The source is one part of the address, whatever folders its name holds.
            let address = format!("{}/ingest/{}", url.trim_end_matches('/'), escaped(&first.source));
            let mut request = agent.post(address).header("content-type", "text/plain");
            if let Ok(token) = std::env::var("REEVE_TOKEN") {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let mut answer =
                request.send(&body[..]).map_err(|error| Failure::new(USAGE, format!("cannot reach `{url}`: {error}")))?;
            if !answer.status().is_success() {
                let said = answer.body_mut().read_to_string().unwrap_or_default();
                return Err(Failure::new(
                    UNUSABLE,
                    format!("`{url}` did not take records of `{}`: {} {said}", first.source, answer.status()),
                ));
            }
        }
        Ok(())
    }
}

/// One part of a path, percent-encoded.
pub(crate) fn escaped(part: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    part.bytes().map(|byte| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn document(mut answer: ureq::http::Response<ureq::Body>) -> Result<Value, Failure> {
    let ok = answer.status().is_success();
    let body: Value = answer.body_mut().with_config().limit(1 << 30).read_json().map_err(broken)?;
    if ok { Ok(body) } else { Err(refused(&body)) }
}

fn refused(body: &Value) -> Failure {
    let message = body["error"]["message"].as_str().unwrap_or("the server refused without a reason");
    // The codes that the same command gives on a folder.
    let asked_wrongly = matches!(
        body["error"]["code"].as_str(),
        Some("bad_request" | "query" | "sql" | "not_found" | "sign_in" | "no_session" | "csrf")
    );
    Failure::new(if asked_wrongly { USAGE } else { UNUSABLE }, message)
}

fn broken(error: ureq::Error) -> Failure {
    Failure::new(UNUSABLE, format!("the server's answer broke off: {error}"))
}
