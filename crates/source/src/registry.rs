//! The registered sources as they are kept, and what may be changed about them. Format: `docs/spec/source.md`.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Network;

/// Every source that was ever registered, by name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    format: u32,
    sources: Vec<Registered>,
}

/// One registered source.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Registered {
    /// Its name; never used again.
    pub name: String,
    /// What it is meant to send with, as in `filebeat`.
    pub way: String,
    /// Label of the retention and access regime of its records.
    pub label: String,
    /// Whether its deliveries are taken.
    pub state: State,
    /// SHA-256 of its token, in hexadecimal.
    pub token: Option<String>,
    /// The name in its client certificate.
    pub certificate: Option<String>,
    /// Where it sends from.
    pub addresses: Vec<Network>,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it was last changed.
    pub changed_at: Timestamp,
    /// By whom.
    pub changed_by: String,
    /// Why, if that was said.
    pub reason: Option<String>,
}

/// Whether a source's deliveries are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// They are.
    Enabled,
    /// They are refused.
    Disabled,
    /// It is gone; its name stays taken.
    Retired,
}

impl State {
    /// The name in files and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Retired => "retired",
        }
    }
}

/// A change of the registry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// A new source.
    Add {
        /// Its name.
        name: String,
        /// What it is meant to send with.
        way: String,
        /// Its policy label.
        label: String,
        /// SHA-256 of its token, in hexadecimal.
        token: Option<String>,
        /// The name in its client certificate.
        certificate: Option<String>,
        /// Where it sends from.
        addresses: Vec<Network>,
    },
    /// Another token; the one before is refused from then on.
    Token {
        /// The source.
        name: String,
        /// SHA-256 of the new token, in hexadecimal.
        token: String,
    },
    /// Its deliveries are taken again.
    Enable {
        /// The source.
        name: String,
        /// Why.
        reason: Option<String>,
    },
    /// Its deliveries are refused.
    Disable {
        /// The source.
        name: String,
        /// Why.
        reason: Option<String>,
    },
    /// It is gone for good; what was kept of it stays.
    Retire {
        /// The source.
        name: String,
        /// Why.
        reason: Option<String>,
    },
}

/// Why a change is not made, or a registry not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// A part of a new source cannot be as it was given.
    #[error("{what} `{given}` will not do: {wanted}")]
    Unfit {
        /// Which part.
        what: &'static str,
        /// As given, shortened.
        given: String,
        /// What would do.
        wanted: &'static str,
    },
    /// Nothing would tell its deliveries from those of others.
    #[error("`{0}` would be known by nothing: give it a token, a certificate or an address")]
    Unknowable(String),
    /// The name is or was another source's.
    #[error("there is a source `{0}` already, or there was one: names are not used again; choose another")]
    Taken(String),
    /// Two sources would be known by the same thing.
    #[error("{what} is already that of the source `{other}`: two cannot be told apart by it")]
    Shared {
        /// Token, certificate or address.
        what: String,
        /// Whose it is.
        other: String,
    },
    /// There is no such source.
    #[error("there is no source `{0}`{1}")]
    Missing(String, String),
    /// It was retired.
    #[error("the source `{0}` was retired: add another under a new name")]
    Retired(String),
    /// There are as many as there may be.
    #[error("there are {SOURCES_MAX} sources already, which is as many as there may be")]
    TooMany,
    /// The file is no registry.
    #[error("it is no registry of sources: {0}")]
    Damaged(String),
}

impl Default for Registry {
    fn default() -> Self {
        Self { format: FORMAT, sources: Vec::new() }
    }
}

impl Registry {
    /// Reads what [`Registry::bytes`] wrote.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], also for one of a newer format.
    pub fn read(bytes: &[u8]) -> Result<Self, RegistryError> {
        let read: Self = serde_json::from_slice(bytes).map_err(|error| RegistryError::Damaged(error.to_string()))?;
        if read.format != FORMAT {
            return Err(RegistryError::Damaged(format!("its format is {}, and {FORMAT} is read here", read.format)));
        }
        Ok(read)
    }

    /// As it is kept in `sources.json`.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// All sources, by name.
    pub fn sources(&self) -> &[Registered] {
        &self.sources
    }

    /// The source of that name.
    ///
    /// # Errors
    /// [`RegistryError::Missing`], with the nearest name there is.
    pub fn find(&self, name: &str) -> Result<&Registered, RegistryError> {
        self.sources.iter().find(|source| source.name == name).ok_or_else(|| self.missing(name))
    }

    /// Makes a change, by whom and when.
    ///
    /// # Errors
    /// [`RegistryError`]; nothing is changed then.
    pub fn change(&mut self, change: &Change, by: &str, at: Timestamp) -> Result<(), RegistryError> {
        match change {
            Change::Add { .. } => self.add(change, by, at),
            Change::Token { name, token } => {
                if let Some(other) = self.sources.iter().find(|source| source.token.as_ref() == Some(token)) {
                    return Err(shared("the token".to_owned(), other));
                }
                check_token(token)?;
                let source = self.living(name, by, at, &None)?;
                source.token = Some(token.clone());
                Ok(())
            }
            Change::Enable { name, reason } => self.living(name, by, at, reason).map(|source| source.state = State::Enabled),
            Change::Disable { name, reason } => self.living(name, by, at, reason).map(|source| source.state = State::Disabled),
            Change::Retire { name, reason } => self.living(name, by, at, reason).map(|source| {
                source.state = State::Retired;
                (source.token, source.certificate) = (None, None);
                source.addresses.clear();
            }),
        }
    }

    fn add(&mut self, change: &Change, by: &str, at: Timestamp) -> Result<(), RegistryError> {
        let Change::Add { name, way, label, token, certificate, addresses } = change else { return Ok(()) };
        check_word("the name", name)?;
        check_word("the label", label)?;
        check_word("the way", way)?;
        if RESERVED.contains(&name.as_str()) {
            return Err(unfit("the name", name, "listeners give it to what nobody registered"));
        }
        if self.sources.iter().any(|source| source.name == *name) {
            return Err(RegistryError::Taken(name.clone()));
        }
        if self.sources.len() >= SOURCES_MAX {
            return Err(RegistryError::TooMany);
        }
        if token.is_none() && certificate.is_none() && addresses.is_empty() {
            return Err(RegistryError::Unknowable(name.clone()));
        }
        token.as_deref().map_or(Ok(()), check_token)?;
        certificate.as_deref().map_or(Ok(()), check_certificate)?;
        if addresses.len() > ADDRESSES_MAX {
            return Err(unfit("the list of addresses", &addresses.len().to_string(), "a source has at most 256"));
        }
        self.check_own(token.as_deref(), certificate.as_deref(), addresses)?;
        let source = Registered {
            name: name.clone(),
            way: way.clone(),
            label: label.clone(),
            state: State::Enabled,
            token: token.clone(),
            certificate: certificate.clone(),
            addresses: addresses.clone(),
            created_at: at,
            created_by: by.to_owned(),
            changed_at: at,
            changed_by: by.to_owned(),
            reason: None,
        };
        let place = self.sources.partition_point(|other| other.name < source.name);
        self.sources.insert(place, source);
        Ok(())
    }

    /// That nothing of it is another's.
    fn check_own(&self, token: Option<&str>, certificate: Option<&str>, addresses: &[Network]) -> Result<(), RegistryError> {
        for other in &self.sources {
            if token.is_some() && other.token.as_deref() == token {
                return Err(shared("the token".to_owned(), other));
            }
            if let Some(name) = certificate.filter(|name| other.certificate.as_deref() == Some(name)) {
                return Err(shared(format!("the certificate `{name}`"), other));
            }
            if let Some(network) = addresses.iter().find(|network| other.addresses.contains(network)) {
                return Err(shared(format!("the address `{network}`"), other));
            }
        }
        Ok(())
    }

    /// A source that was not retired, with who changes it noted.
    fn living(&mut self, name: &str, by: &str, at: Timestamp, reason: &Option<String>) -> Result<&mut Registered, RegistryError> {
        if self.find(name)?.state == State::Retired {
            return Err(RegistryError::Retired(name.to_owned()));
        }
        if let Some(reason) = reason
            && (reason.is_empty() || reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control))
        {
            return Err(unfit("the reason", reason, "1 to 1,024 bytes on one line"));
        }
        let missing = self.missing(name);
        let source = self.sources.iter_mut().find(|source| source.name == name).ok_or(missing)?;
        (source.changed_at, source.changed_by) = (at, by.to_owned());
        source.reason.clone_from(reason);
        Ok(source)
    }

    fn missing(&self, name: &str) -> RegistryError {
        let close = |other: &&Registered| distance(&other.name, name) <= 2;
        let nearest = self.sources.iter().filter(close).min_by_key(|other| distance(&other.name, name));
        let hint = nearest.map(|other| format!("; did you mean `{}`?", other.name)).unwrap_or_default();
        RegistryError::Missing(name.chars().take(80).collect(), hint)
    }
}

impl Change {
    /// The source it is about.
    pub fn name(&self) -> &str {
        match self {
            Self::Add { name, .. }
            | Self::Token { name, .. }
            | Self::Enable { name, .. }
            | Self::Disable { name, .. }
            | Self::Retire { name, .. } => name,
        }
    }
}

fn check_word(what: &'static str, word: &str) -> Result<(), RegistryError> {
    let fine = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let starts_well = word.as_bytes().first().is_some_and(fine);
    if starts_well && word.len() <= WORD_BYTES_MAX && word.bytes().all(|byte| fine(&byte) || b"._-".contains(&byte)) {
        return Ok(());
    }
    Err(unfit(what, word, "1 to 64 of a-z, 0-9, dot, underscore and dash, beginning with a letter or digit"))
}

fn check_token(token: &str) -> Result<(), RegistryError> {
    let hash = hex::decode(token).is_ok_and(|bytes| bytes.len() == 32) && token.bytes().all(|byte| !byte.is_ascii_uppercase());
    if hash { Ok(()) } else { Err(unfit("the token's hash", token, "a SHA-256 in lower-case hexadecimal")) }
}

fn check_certificate(name: &str) -> Result<(), RegistryError> {
    let fine = (1..=256).contains(&name.len()) && !name.chars().any(char::is_control);
    if fine { Ok(()) } else { Err(unfit("the certificate's name", name, "1 to 256 bytes without control characters")) }
}

fn unfit(what: &'static str, given: &str, wanted: &'static str) -> RegistryError {
    RegistryError::Unfit { what, given: given.chars().take(80).collect(), wanted }
}

fn shared(what: String, other: &Registered) -> RegistryError {
    RegistryError::Shared { what, other: other.name.clone() }
}

/// How many letters have to be put in, taken out or changed.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (nth, a) in one.bytes().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], nth + 1);
        for (at, b) in other.bytes().enumerate() {
            let changed = corner + usize::from(a != b);
            corner = row[at + 1];
            row[at + 1] = changed.min(corner + 1).min(row[at] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

/// The words that listeners and Reeve itself put in front of the names of what nobody registered.
pub const RESERVED: [&str; 10] =
    ["reeve", "syslog", "elastic", "watch", "splunk", "gelf", "forward", "otlp", "journal", "netflow"];

const FORMAT: u32 = 1;
const WORD_BYTES_MAX: usize = 64;
const REASON_BYTES_MAX: usize = 1024;
const ADDRESSES_MAX: usize = 256;
const SOURCES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn add(name: &str) -> Change {
        Change::Add {
            name: name.to_owned(),
            way: "curl".to_owned(),
            label: "default".to_owned(),
            token: None,
            certificate: None,
            addresses: Vec::new(),
        }
    }

    fn known(name: &str, by: &str) -> Change {
        let Change::Add { name, way, label, .. } = add(name) else { unreachable!() };
        let token = (by.len() == 64).then(|| by.to_owned());
        let addresses: Vec<Network> = by.parse().ok().into_iter().collect();
        let certificate = (token.is_none() && addresses.is_empty()).then(|| by.to_owned());
        Change::Add { name, way, label, token, certificate, addresses }
    }

    fn registry() -> Registry {
        let mut registry = Registry::default();
        let hash = "ab".repeat(32);
        for (name, by) in [("web2", "192.0.2.0/24"), ("web1", hash.as_str()), ("mail", "mail.example")] {
            registry.change(&known(name, by), "ana", Timestamp::UNIX_EPOCH).unwrap();
        }
        registry
    }

    #[test]
    fn a_registry_comes_back_from_its_file() {
        let registry = registry();
        assert_eq!(Registry::read(&registry.bytes()), Ok(registry.clone()));
        let names: Vec<_> = registry.sources().iter().map(|source| source.name.as_str()).collect();
        assert_eq!(names, ["mail", "web1", "web2"]);
        for damaged in [&b""[..], b"{}", b"{\"format\":2,\"sources\":[]}", b"{\"format\":1,\"sources\":[{}]}"] {
            assert!(matches!(Registry::read(damaged), Err(RegistryError::Damaged(_))), "{damaged:?}");
        }
    }

    #[test]
    fn what_cannot_be_told_apart_is_refused() {
        let before = registry();
        let mut registry = before.clone();
        for (change, said) in [
            (add("web3"), "known by nothing"),
            (known("web1", "198.51.100.1"), "not used again"),
            (known("web3", &"ab".repeat(32)), "`web1`"),
            (known("web3", "192.0.2.0/24"), "`web2`"),
            (known("web3", "mail.example"), "`mail`"),
            (known("syslog", "198.51.100.1"), "listeners give it"),
            (known("Web", "198.51.100.1"), "a-z"),
            (known("a/b", "198.51.100.1"), "a-z"),
            (known("", "198.51.100.1"), "a-z"),
            (known(&"a".repeat(65), "198.51.100.1"), "1 to 64"),
            (known("web3", &"zz".repeat(32)), "SHA-256"),
            (Change::Disable { name: "wab1".to_owned(), reason: None }, "did you mean `web1`?"),
            (Change::Disable { name: "web1".to_owned(), reason: Some("a\nb".to_owned()) }, "one line"),
            (Change::Token { name: "mail".to_owned(), token: "ab".repeat(32) }, "`web1`"),
        ] {
            let refused = registry.change(&change, "ben", Timestamp::UNIX_EPOCH).unwrap_err().to_string();
            assert!(refused.contains(said), "{change:?}: {refused}");
            assert_eq!(registry, before, "nothing is changed by what is refused");
        }
    }

    #[test]
    fn a_retired_source_keeps_its_name_and_nothing_else() {
        let mut registry = registry();
        let reason = Some("replaced".to_owned());
        let later = Timestamp::from_second(1).unwrap();
        registry.change(&Change::Retire { name: "web1".to_owned(), reason: reason.clone() }, "ben", later).unwrap();
        let web1 = registry.find("web1").unwrap();
        assert_eq!((web1.state, &web1.token, &web1.reason, web1.changed_by.as_str()), (State::Retired, &None, &reason, "ben"));
        let again = Change::Enable { name: "web1".to_owned(), reason: None };
        assert_eq!(registry.change(&again, "ben", later), Err(RegistryError::Retired("web1".to_owned())));
        // Its token may be another's now; its name may not.
        registry.change(&known("web3", &"ab".repeat(32)), "ben", later).unwrap();
        assert!(matches!(registry.change(&known("web1", "x.example"), "ben", later), Err(RegistryError::Taken(_))));
    }
}
