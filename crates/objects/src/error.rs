use std::{io, path::PathBuf};

/// What can go wrong with object storage. No object is ever changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Settings that cannot work.
    #[error("object storage: {detail}")]
    Settings {
        /// What is wrong, and what to write instead.
        detail: String,
    },
    /// No answer came, however often it was tried.
    #[error(
        "object storage: cannot {what} `{name}`: {endpoint} does not answer: {source}; check that it runs and can be reached from here"
    )]
    Unreachable {
        /// What was attempted, as in `store`.
        what: &'static str,
        /// The object.
        name: String,
        /// The store's address.
        endpoint: String,
        /// What happened to the last try.
        source: Box<ureq::Error>,
    },
    /// The store answered that it will not.
    #[error("object storage: cannot {what} `{name}`: the store answers {status} {code}: {message}{}", hint(*status, code))]
    Refused {
        /// What was attempted.
        what: &'static str,
        /// The object.
        name: String,
        /// HTTP status.
        status: u16,
        /// S3's error code, as in `AccessDenied`.
        code: String,
        /// The store's words.
        message: String,
    },
    /// Another object has the name.
    #[error("object storage: `{name}` is there already with other content; nothing was overwritten")]
    Taken {
        /// The object.
        name: String,
    },
    /// There is no such object.
    #[error("object storage: `{name}` is missing")]
    Missing {
        /// The object.
        name: String,
    },
    /// The object is not what it was.
    #[error("object storage: `{name}` is not what was stored: {detail}")]
    Damaged {
        /// The object.
        name: String,
        /// How it differs.
        detail: String,
    },
    /// The store does not do what S3 promises.
    #[error(
        "object storage: the store overwrites objects although it is told not to (If-None-Match); take one that honours conditional puts"
    )]
    Overwrites,
    /// A file on this machine.
    #[error("cannot {what} `{}`: {source}", path.display())]
    File {
        /// What was attempted.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl Error {
    /// Whether the same may succeed later without anybody changing settings.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => is_passing(*status),
            _ => false,
        }
    }

    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }
}

/// Answers that another try may change: busy, a conflict with a request under way, or the store's own trouble.
pub(crate) fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 409 | 425 | 429 | 500..=599) && status != 501
}

fn hint(status: u16, code: &str) -> &'static str {
    match (status, code) {
        (_, "NoSuchBucket") => "; make the bucket first, or correct `bucket`",
        (_, "RequestTimeTooSkewed") => "; set this machine's clock",
        (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch") => "; check access key, secret and region",
        (401 | 403, _) => "; this access key needs GetObject, PutObject, DeleteObject and ListBucket there",
        (301 | 307, _) => "; the bucket is in another region: correct `endpoint` and `region`",
        _ => "",
    }
}
