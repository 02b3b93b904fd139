//! The registered sources of a data folder: the file they are kept in, and what the listeners have counted of them. Format: `docs/spec/source.md`.
pub(crate) mod setup;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use reeve_access::Scoped;
use reeve_api::sources::{
    ChangedSource, Source, SourceAct, SourceChange, SourceDesk, SourceFault, SourceList, SourceState, SourcesOf,
};
use reeve_ledger::{RealDisk, write_durably};
use reeve_source::{
    Change, Counters, Network, Registered, Registry, RegistryError, Senders, Snapshot, State, new_token, token_hash,
};

use crate::exit::{Failure, USAGE};

/// Keeps the registry of one data folder. One process at a time has it.
pub(crate) struct Desk {
    path: PathBuf,
    registry: Mutex<Registry>,
    senders: Arc<Senders>,
    /// What a running server counts, and since when.
    counted: Option<(Arc<Counters>, Timestamp)>,
    /// Where the listeners are, by name.
    listeners: RwLock<BTreeMap<String, String>>,
}

impl Desk {
    /// Reads the registry of a data folder; without a file nobody is registered.
    ///
    /// # Errors
    /// The file is there and cannot be read, or is none.
    pub(crate) fn open(data: &Path) -> Result<Self, Failure> {
        let path = data.join("sources.json");
        let failed = |error: &dyn std::fmt::Display| {
            let hint = "put back the one from a backup, or move it away and register the sources again";
            Failure::new(USAGE, format!("cannot read the sources in `{}`: {error}; {hint}", path.display()))
        };
        let registry = match std::fs::read(&path) {
            Ok(bytes) => Registry::read(&bytes).map_err(|error| failed(&error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Registry::default(),
            Err(error) => return Err(failed(&error)),
        };
        let senders = Arc::new(Senders::default());
        senders.set(registry.sources());
        Ok(Self { path, registry: Mutex::new(registry), senders, counted: None, listeners: RwLock::default() })
    }

    /// The same, of a server that counts there from now on.
    pub(crate) fn counting(self, counters: Arc<Counters>) -> Self {
        Self { counted: Some((counters, Timestamp::now())), ..self }
    }

    /// Where listeners look senders up.
    pub(crate) fn senders(&self) -> Arc<Senders> {
        self.senders.clone()
    }

    /// Says where the listeners are.
    pub(crate) fn listening(&self, listeners: BTreeMap<String, String>) {
        *self.listeners.write() = listeners;
    }

    /// Fails if a numbered source of the configuration has the name of a registered one: nobody could say whose a record is.
    ///
    /// # Errors
    /// Names the source.
    pub(crate) fn check_against<'n>(&self, numbered: impl IntoIterator<Item = &'n str>) -> Result<(), Failure> {
        match numbered.into_iter().find(|name| self.senders.owner(name).is_some()) {
            Some(name) => {
                let message = format!(
                    "configuration: `{name}` in [[sources]] is or begins with the name of a registered source: choose another"
                );
                Err(Failure::new(USAGE, message))
            }
            None => Ok(()),
        }
    }

    /// Records counted of a source since the server started.
    pub(crate) fn counted(&self, name: &str) -> u64 {
        let Some((counters, _)) = &self.counted else { return 0 };
        counters.snapshot().sources.iter().filter(|line| front(&line.source) == name).map(|line| line.records).sum()
    }

    fn lines(&self, only: Option<&str>) -> Vec<Source> {
        let snapshot = self.counted.as_ref().map(|(counters, _)| counters.snapshot());
        let snapshot = snapshot.unwrap_or(Snapshot { sources: Vec::new(), listeners: Vec::new() });
        let since = self.counted.as_ref().map(|(_, since)| since.to_string());
        let registry = self.registry.lock();
        let mut lines: Vec<Source> = registry.sources().iter().map(registered).collect();
        let known = lines.len();
        for counted in &snapshot.sources {
            // The registry is in order of names.
            let place = lines[..known].binary_search_by(|line| line.name.as_str().cmp(front(&counted.source)));
            let place = place.unwrap_or_else(|_| {
                lines.push(unregistered(&counted.source));
                lines.len() - 1
            });
            add(&mut lines[place], counted);
        }
        lines.retain(|line| only.is_none_or(|name| line.name == name));
        lines.iter_mut().for_each(|line| line.counted_since.clone_from(&since));
        lines
    }

    fn made(&self, asked: &SourceChange, by: &str) -> Result<(Registered, Option<String>), SourceFault> {
        let needs_token = match asked.act {
            SourceAct::Add => asked.certificate.is_none() && asked.addresses.is_empty(),
            SourceAct::Token => true,
            _ => false,
        };
        let token = needs_token.then(new_token).transpose();
        let token = token.map_err(|error| SourceFault::Failed(format!("the system gives no random numbers: {error}")))?;
        let change = change_of(asked, token.as_deref())?;
        let mut registry = self.registry.lock();
        let mut next = registry.clone();
        next.change(&change, by, now()).map_err(fault)?;
        let written = write_durably(&RealDisk, &self.path, &next.bytes(), true);
        written.map_err(|error| SourceFault::Failed(format!("`{}` could not be written: {error}", self.path.display())))?;
        // From here on it holds; listeners see it with the next request.
        *registry = next;
        self.senders.set(registry.sources());
        Ok((registry.find(change.name()).map_err(fault)?.clone(), token))
    }
}

impl SourceDesk for Desk {
    fn list(&self, scoped: &Scoped<SourcesOf>) -> SourceList {
        SourceList { sources: self.lines(scoped.what().0.as_deref()) }
    }

    fn change(&self, scoped: &Scoped<SourceChange>) -> Result<ChangedSource, SourceFault> {
        let asked = scoped.what();
        let (source, token) = self.made(asked, &scoped.person().name)?;
        let wanted = matches!(asked.act, SourceAct::Add | SourceAct::Token);
        let setup = wanted.then(|| setup::text(&source, token.as_deref(), &self.listeners.read()));
        let line = self.lines(Some(&source.name)).into_iter().next().unwrap_or_else(|| registered(&source));
        Ok(ChangedSource { source: line, token, setup })
    }
}

/// Whole seconds: finer than that nobody changes a source.
fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default()
}

fn change_of(asked: &SourceChange, token: Option<&str>) -> Result<Change, SourceFault> {
    let (name, reason) = (asked.name.clone(), asked.reason.clone());
    let hash = token.map(token_hash);
    Ok(match asked.act {
        SourceAct::Add => {
            let addresses = asked.addresses.iter().map(|text| text.parse::<Network>()).collect::<Result<_, _>>();
            let way = asked.way.clone().unwrap_or_else(|| "curl".to_owned());
            setup::check(&way, hash.is_some()).map_err(SourceFault::Unfit)?;
            Change::Add {
                name,
                way,
                label: asked.label.clone().unwrap_or_else(|| "default".to_owned()),
                token: hash,
                certificate: asked.certificate.clone(),
                addresses: addresses.map_err(|error| SourceFault::Unfit(error.to_string()))?,
            }
        }
        SourceAct::Token => Change::Token { name, token: hash.unwrap_or_default() },
        SourceAct::Enable => Change::Enable { name, reason },
        SourceAct::Disable => Change::Disable { name, reason },
        SourceAct::Retire => Change::Retire { name, reason },
    })
}

fn fault(error: RegistryError) -> SourceFault {
    match error {
        RegistryError::Missing(..) => SourceFault::Missing(error.to_string()),
        error => SourceFault::Unfit(error.to_string()),
    }
}

fn registered(source: &Registered) -> Source {
    let state = match source.state {
        State::Enabled => SourceState::Enabled,
        State::Disabled => SourceState::Disabled,
        State::Retired => SourceState::Retired,
    };
    let token = source.token.iter().map(|_| "token".to_owned());
    let certificate = source.certificate.iter().map(|name| format!("certificate {name}"));
    let addresses = source.addresses.iter().map(Network::to_string);
    Source {
        state,
        label: source.label.clone(),
        way: Some(source.way.clone()),
        known_by: token.chain(certificate).chain(addresses).collect(),
        created_at: Some(source.created_at.to_string()),
        created_by: Some(source.created_by.clone()),
        changed_at: Some(source.changed_at.to_string()),
        changed_by: Some(source.changed_by.clone()),
        reason: source.reason.clone(),
        query: format!("source:{0} OR source:{0}/*", source.name),
        ..unregistered(&source.name)
    }
}

/// A sender that nobody registered.
fn unregistered(name: &str) -> Source {
    Source {
        name: name.to_owned(),
        state: SourceState::Unregistered,
        label: "default".to_owned(),
        way: None,
        known_by: Vec::new(),
        created_at: None,
        created_by: None,
        changed_at: None,
        changed_by: None,
        reason: None,
        query: format!("source:\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")),
        counted_since: None,
        records: 0,
        bytes: 0,
        rate_per_second: 0.0,
        last_seen_at: None,
        problems: BTreeMap::new(),
        misread: BTreeMap::new(),
        refused: BTreeMap::new(),
        dropped: BTreeMap::new(),
    }
}

/// Adds what was counted under one of its names.
fn add(line: &mut Source, counted: &reeve_source::SourceLine) {
    line.records += counted.records;
    line.bytes += counted.bytes;
    line.rate_per_second += counted.rate_per_second;
    // RFC 3339 in UTC: the later one is the greater one once both have their fractions.
    line.last_seen_at = counted.last_seen_at.map(|at| format!("{at:.3}")).max(line.last_seen_at.take());
    for (own, more) in [
        (&mut line.problems, &counted.problems),
        (&mut line.misread, &counted.misread),
        (&mut line.refused, &counted.refused),
        (&mut line.dropped, &counted.dropped),
    ] {
        for (reason, times) in more {
            *own.entry(reason.clone()).or_default() += times;
        }
    }
}

fn front(source: &str) -> &str {
    source.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(act: SourceAct, name: &str) -> SourceChange {
        SourceChange {
            act,
            name: name.to_owned(),
            way: None,
            label: None,
            certificate: None,
            addresses: Vec::new(),
            reason: None,
        }
    }

    #[test]
    fn a_change_is_there_for_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let desk = Desk::open(folder.path()).unwrap();
        let (web1, token) = desk.made(&asked(SourceAct::Add, "web1"), "ana").unwrap();
        let token = token.unwrap();
        assert_eq!((web1.created_by.as_str(), web1.way.as_str(), web1.label.as_str()), ("ana", "curl", "default"));
        assert!(desk.senders.by_token(token.as_bytes()).is_some_and(|sender| sender.is_enabled()));
        let file = std::fs::read_to_string(folder.path().join("sources.json")).unwrap();
        assert!(!file.contains(&token) && file.contains(&token_hash(&token)), "the token itself is not kept: {file}");
        desk.made(&SourceChange { reason: Some("noisy".to_owned()), ..asked(SourceAct::Disable, "web1") }, "ben").unwrap();

        let desk = Desk::open(folder.path()).unwrap();
        assert!(!desk.senders.by_token(token.as_bytes()).unwrap().is_enabled());
        let (_, second) = desk.made(&asked(SourceAct::Token, "web1"), "ben").unwrap();
        assert!(desk.senders.by_token(token.as_bytes()).is_none() && desk.senders.by_token(second.unwrap().as_bytes()).is_some());
        assert!(
            matches!(desk.made(&asked(SourceAct::Enable, "wab1"), "ben"), Err(SourceFault::Missing(said)) if said.contains("web1"))
        );
        assert!(desk.check_against(["edge/web1", "web2"]).is_ok() && desk.check_against(["web1/a"]).is_err());
        std::fs::write(folder.path().join("sources.json"), "{").unwrap();
        assert!(Desk::open(folder.path()).err().unwrap().message.contains("backup"));
    }

    #[test]
    fn what_was_counted_is_summed_up_by_source() {
        let folder = tempfile::tempdir().unwrap();
        let counters = Arc::new(Counters::default());
        let desk = Desk::open(folder.path()).unwrap().counting(counters.clone());
        desk.made(&asked(SourceAct::Add, "web1"), "ana").unwrap();
        counters.source("web1").received(2, 20);
        counters.source("web1/app").received(3, 30);
        counters.source("web1/app").misread("json.depth", 1);
        counters.source("web10").received(7, 70);
        let lines = desk.lines(None);
        let got: Vec<_> = lines.iter().map(|line| (line.name.as_str(), line.state, line.records, line.bytes)).collect();
        assert_eq!(got, [("web1", SourceState::Enabled, 5, 50), ("web10", SourceState::Unregistered, 7, 70)]);
        assert_eq!(lines[0].misread.get("json.depth"), Some(&1));
        assert!(lines[0].rate_per_second > 0.0 && lines[0].last_seen_at.is_some());
        assert_eq!(desk.counted("web1"), 5);
    }
}
