//! The seam to the network: witnesses and time-stamping authorities are asked through [`Net`], so that a test can lose or alter what they say.
use std::time::Duration;

/// An HTTP client, as far as the ledger needs one.
pub trait Net: Send + Sync {
    /// Posts `body` to `url` and reads at most `limit` bytes of the answer, whatever its status.
    ///
    /// # Errors
    /// No answer, or one that is too long; in words.
    fn post(&self, url: &str, content_type: &str, body: &[u8], limit: u64) -> Result<Answer, String>;
}

/// What a server said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The header of that name; empty if there was none.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

/// The operating system's network.
#[derive(Clone, Debug)]
pub struct RealNet(ureq::Agent);

impl Default for RealNet {
    fn default() -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT)).max_redirects(0);
        Self(config.build().into())
    }
}

impl Net for RealNet {
    fn post(&self, url: &str, content_type: &str, body: &[u8], limit: u64) -> Result<Answer, String> {
        if url.starts_with("https:") {
            return Err(format!("`{url}`: TLS is not built in; give the http address of a proxy on this machine that adds it"));
        }
        let sent = self.0.post(url).header("Content-Type", content_type).send(body);
        let mut answer = sent.map_err(|error| format!("no answer from `{url}`: {error}"))?;
        let content_type =
            answer.headers().get("Content-Type").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let body = answer.body_mut().with_config().limit(limit).read_to_vec();
        let body = body.map_err(|error| format!("the answer of `{url}` cannot be read: {error}"))?;
        Ok(Answer { status: answer.status().as_u16(), content_type, body })
    }
}

/// For a whole exchange.
const TIMEOUT: Duration = Duration::from_secs(10);
