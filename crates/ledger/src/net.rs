//! The seam to the network: whatever a ledger, or a sender of deliveries, says to others goes through [`Net`], so that a test can lose, delay, double
//! or alter it.
use std::time::Duration;

use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// An HTTP client, as far as the ledger and its senders need one.
pub trait Net: Send + Sync {
    /// Posts a request and reads the answer, whatever its status.
    ///
    /// # Errors
    /// No answer, or one that is too long; in words. The request may have arrived all the same, may arrive later, or more than once.
    fn post(&self, request: &Request<'_>) -> Result<Answer, String>;
}

/// What is posted.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where to.
    pub url: &'a str,
    /// Name and value of each header.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
    /// Bytes of the answer's body at most; a longer one is an error.
    pub limit: u64,
    /// How long the whole exchange may take.
    pub patience: Duration,
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

/// The operating system's network: HTTP/1.1, and TLS 1.2 or 1.3 for `https` addresses, whose certificates must be good.
#[derive(Clone, Debug)]
pub struct RealNet(ureq::Agent);

impl Default for RealNet {
    /// Trusts the public certificate authorities that Mozilla lists.
    fn default() -> Self {
        Self::with_roots(RootCerts::WebPki)
    }
}

impl RealNet {
    /// Trusts the certificate authorities of `pem`, and no others.
    ///
    /// # Errors
    /// It holds no certificate, or something in it is none; as words that follow "the file".
    pub fn trusting(pem: &[u8]) -> Result<Self, String> {
        let mut roots = Vec::new();
        for item in parse_pem(pem) {
            match item.map_err(|error| format!("has a part that cannot be read: {error}"))? {
                PemItem::Certificate(certificate) => roots.push(certificate),
                _ => return Err("has a part that is no certificate: a private key does not belong here".into()),
            }
        }
        if roots.is_empty() { Err("holds no certificate in PEM form".into()) } else { Ok(Self::with_roots(roots.into())) }
    }

    fn with_roots(roots: RootCerts) -> Self {
        let tls = TlsConfig::builder().root_certs(roots).build();
        let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).tls_config(tls);
        Self(config.build().into())
    }
}

impl Net for RealNet {
    fn post(&self, request: &Request<'_>) -> Result<Answer, String> {
        let Request { url, headers, body, limit, patience } = *request;
        let mut post = self.0.post(url).config().timeout_global(Some(patience)).build();
        for (name, value) in headers {
            post = post.header(*name, *value);
        }
        let mut answer = post.send(body).map_err(|error| no_answer(url, &error))?;
        let content_type =
            answer.headers().get("Content-Type").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let body = answer.body_mut().with_config().limit(limit).read_to_vec();
        let body = body.map_err(|error| format!("the answer of `{url}` cannot be read: {error}"))?;
        Ok(Answer { status: answer.status().as_u16(), content_type, body })
    }
}

/// What went wrong, and what to do where the certificate was refused.
fn no_answer(url: &str, error: &ureq::Error) -> String {
    let said = error.to_string();
    let hint = match () {
        () if said.contains("UnknownIssuer") => ": give the file of the authority that issued its certificate",
        () if said.contains("certificate expired") => {
            ": its operator must renew its certificate, or this machine's clock is wrong"
        }
        () if said.contains("not valid for name") => ": the address must be one of the names in its certificate",
        () => "",
    };
    format!("no answer from `{url}`: {said}{hint}")
}
