//! Where objects are kept, and as whom they are asked for.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::Error;

/// A bucket, or a part of one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Address of the store, as in `https://s3.eu-central-1.amazonaws.com` or `http://127.0.0.1:8333`.
    pub endpoint: String,
    /// The bucket; it must be there.
    pub bucket: String,
    /// What names of objects begin with, as in `lake/`; several lakes may share a bucket so.
    #[serde(default)]
    pub prefix: String,
    /// Region that requests are signed for.
    #[serde(default = "region")]
    pub region: String,
    /// Whether the bucket is the first part of the path (most private stores) or of the host name (Amazon).
    #[serde(default = "path_style")]
    pub path_style: bool,
    /// File with the certificate authorities that are trusted for `https`, in PEM form; `None`: the public ones that Mozilla lists.
    pub ca_file: Option<PathBuf>,
}

fn region() -> String {
    "us-east-1".to_owned()
}

fn path_style() -> bool {
    true
}

/// An access key.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub(crate) key: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "access key {}", self.key)
    }
}

impl Credentials {
    /// An access key, its secret, and a token if it is a temporary one.
    pub fn new(key: &str, secret: &str, token: Option<&str>) -> Self {
        Self { key: key.to_owned(), secret: secret.to_owned(), token: token.map(str::to_owned) }
    }

    /// The access key in `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, as `get` tells them; `None` if there is none.
    pub fn from_environment(get: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let (key, secret) = (get("AWS_ACCESS_KEY_ID")?, get("AWS_SECRET_ACCESS_KEY")?);
        Some(Self { key, secret, token: get("AWS_SESSION_TOKEN") })
    }

    /// The access key in a file as Amazon's tools have it: lines `aws_access_key_id = …`, `aws_secret_access_key = …` and perhaps
    /// `aws_session_token = …`, in section `[default]` or before any.
    ///
    /// # Errors
    /// The file cannot be read or lacks one of them.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(Error::file("read the access key in", path))?;
        let value = |name: &str| {
            let section = text.lines().map(str::trim).scan(true, |inside, line| {
                if line.starts_with('[') {
                    *inside = line == "[default]";
                }
                Some(line).map(|line| if *inside { line } else { "" })
            });
            section.filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
        };
        let (Some(key), Some(secret)) = (value("aws_access_key_id"), value("aws_secret_access_key")) else {
            let detail =
                format!("`{}` lacks aws_access_key_id or aws_secret_access_key in its section [default]", path.display());
            return Err(Error::Settings { detail });
        };
        Ok(Self::new(key, secret, value("aws_session_token")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_keys_are_found_where_amazons_tools_keep_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Credentials::read(&path)
        };
        let bare = read("aws_access_key_id=K\n aws_secret_access_key = s=/+\n").unwrap();
        assert_eq!(bare, Credentials::new("K", "s=/+", None));
        let sections = "# two\n[other]\naws_access_key_id = no\n[default]\naws_access_key_id = K\naws_secret_access_key = s\naws_session_token = t\n";
        assert_eq!(read(sections).unwrap(), Credentials::new("K", "s", Some("t")));
        assert!(read("[other]\naws_access_key_id = K\naws_secret_access_key = s\n").is_err());
        assert!(Credentials::read(&folder.path().join("absent")).unwrap_err().to_string().contains("absent"));
        assert!(!format!("{bare:?}").contains("s=/+"), "a secret is not shown");
        assert_eq!(Credentials::from_environment(|name| (name == "AWS_ACCESS_KEY_ID").then(String::new)), None);
    }
}
