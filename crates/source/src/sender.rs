//! Who senders are: the registered sources as listeners look them up, for each request, connection and datagram.
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::RwLock;
use sha2::{Digest as _, Sha256};

use crate::{
    Network,
    registry::{Registered, State},
};

/// A registered source, as the records it sends are named and labelled.
#[derive(Debug)]
pub struct Sender {
    name: Arc<str>,
    label: Arc<str>,
    /// It is one host, so that its streams by peer need no more than its name.
    is_one: bool,
    is_enabled: AtomicBool,
}

impl Sender {
    /// The source's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Policy label of its records.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// Whether its deliveries are taken now.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled.load(Relaxed)
    }

    /// Whether a record of that source name is its own.
    pub fn owns(&self, source: &str) -> bool {
        front(source) == &*self.name
    }
}

/// The registered sources, by what they are known by. Changes are seen by the next look-up.
#[derive(Debug, Default)]
pub struct Senders {
    table: RwLock<Table>,
    version: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    names: HashMap<Arc<str>, Arc<Sender>>,
    /// By hash: how long a look-up takes says nothing about the token.
    tokens: HashMap<[u8; 32], Arc<Sender>>,
    certificates: HashMap<String, Arc<Sender>>,
    /// Smallest first.
    networks: Vec<(Network, Arc<Sender>)>,
}

impl Senders {
    /// Puts these in place of those before. Connections that know a source of the same name see its new state.
    pub fn set(&self, sources: &[Registered]) {
        let mut table = self.table.write();
        let before = std::mem::take(&mut table.names);
        *table = Table::default();
        for source in sources {
            table.add(source, before.get(source.name.as_str()));
        }
        table.networks.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix()));
        self.version.fetch_add(1, Relaxed);
    }

    /// Grows with each change.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Relaxed)
    }

    /// The source whose token this is.
    pub fn by_token(&self, token: &[u8]) -> Option<Arc<Sender>> {
        // Tokens of others are passwords of people and machines: not looked at further.
        if !is_token(token) {
            return None;
        }
        self.table.read().tokens.get(&<[u8; 32]>::from(Sha256::digest(token))).cloned()
    }

    /// The source a peer is: by the name in its certificate, else by its address.
    pub fn by_peer(&self, identity: Option<&str>, address: IpAddr) -> Option<Arc<Sender>> {
        let table = self.table.read();
        let certified = identity.and_then(|name| table.certificates.get(name));
        let placed = || table.networks.iter().find(|(network, _)| network.has(address)).map(|(_, sender)| sender);
        certified.or_else(placed).cloned()
    }

    /// Whose a record of that source name is, also after it was retired.
    pub fn owner(&self, source: &str) -> Option<Arc<Sender>> {
        self.table.read().names.get(front(source)).cloned()
    }
}

impl Table {
    fn add(&mut self, source: &Registered, before: Option<&Arc<Sender>>) {
        let known_by = usize::from(source.certificate.is_some()) + source.addresses.len();
        let is_one = source.token.is_none() && known_by == 1 && source.addresses.iter().all(Network::is_host);
        let fits = |before: &&Arc<Sender>| before.is_one == is_one || source.state == State::Retired;
        let sender = before.filter(fits).cloned().unwrap_or_else(|| {
            let (name, label) = (source.name.as_str().into(), source.label.as_str().into());
            Arc::new(Sender { name, label, is_one, is_enabled: AtomicBool::new(false) })
        });
        sender.is_enabled.store(source.state == State::Enabled, Relaxed);
        self.names.insert(sender.name.clone(), sender.clone());
        let hash = source.token.as_deref().and_then(|token| <[u8; 32]>::try_from(hex::decode(token).ok()?).ok());
        self.tokens.extend(hash.map(|hash| (hash, sender.clone())));
        self.certificates.extend(source.certificate.iter().map(|name| (name.clone(), sender.clone())));
        self.networks.extend(source.addresses.iter().map(|network| (*network, sender.clone())));
    }
}

/// What records of a peer are named: by the source it is or by the way they came, then by who it is.
pub(crate) fn of_peer(sender: Option<&Sender>, way: &str, peer: &dyn std::fmt::Display) -> Arc<str> {
    match sender {
        Some(sender) if sender.is_one => sender.name.clone(),
        Some(sender) => format!("{}/{peer}", sender.name).into(),
        None => format!("{way}/{peer}").into(),
    }
}

/// What records of a stream are named that the sender gave a name.
pub(crate) fn of_stream(sender: Option<&Sender>, way: &str, stream: &str) -> Arc<str> {
    let front = sender.map_or(way, |sender| &*sender.name);
    // A name over the ledger's bound would not be kept: the front alone stands for it.
    if stream.is_empty() || front.len() + stream.len() >= NAME_BYTES_MAX {
        front.into()
    } else {
        format!("{front}/{stream}").into()
    }
}

/// The part of a record's source name that a registered source can be.
fn front(source: &str) -> &str {
    source.split('/').next().unwrap_or_default()
}

/// A new token: 256 random bits.
///
/// # Errors
/// The system gives no random numbers.
pub fn new_token() -> Result<String, getrandom::Error> {
    use base64::Engine as _;
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{TOKEN}{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)))
}

/// What is kept of a token.
pub fn token_hash(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

/// Whether these bytes are meant as the token of a registered source.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    bytes.starts_with(TOKEN.as_bytes())
}

/// How a token begins, so that one that was retired or mistyped does not pass for none.
const TOKEN: &str = "rvs_";
/// As the ledger has it.
const NAME_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::registry::{Change, Registry};

    fn add(name: &str, token: Option<&str>, certificate: Option<&str>, addresses: &[&str]) -> Change {
        Change::Add {
            name: name.to_owned(),
            way: "curl".to_owned(),
            label: format!("of-{name}"),
            token: token.map(token_hash),
            certificate: certificate.map(str::to_owned),
            addresses: addresses.iter().map(|network| network.parse().unwrap()).collect(),
        }
    }

    fn senders(changes: &[Change]) -> (Registry, Senders) {
        let mut registry = Registry::default();
        for change in changes {
            registry.change(change, "ana", Timestamp::UNIX_EPOCH).unwrap();
        }
        let senders = Senders::default();
        senders.set(registry.sources());
        (registry, senders)
    }

    #[test]
    fn a_sender_is_known_by_token_certificate_and_the_smallest_network() {
        let token = new_token().unwrap();
        assert!(token.len() == 47 && token != new_token().unwrap(), "{token}");
        let (_, senders) = senders(&[
            add("api", Some(&token), None, &[]),
            add("all", None, None, &["192.0.2.0/24"]),
            add("one", None, None, &["192.0.2.7"]),
            add("cert", None, Some("web1.example"), &[]),
        ]);
        let name = |sender: Option<Arc<Sender>>| sender.map(|sender| sender.name().to_string());
        assert_eq!(name(senders.by_token(token.as_bytes())).as_deref(), Some("api"));
        assert_eq!(name(senders.by_token(b"rvs_other")), None);
        let by_peer = |identity, address: &str| name(senders.by_peer(identity, address.parse().unwrap()));
        assert_eq!(by_peer(None, "192.0.2.7").as_deref(), Some("one"));
        assert_eq!(by_peer(None, "::ffff:192.0.2.8").as_deref(), Some("all"));
        assert_eq!(by_peer(Some("web1.example"), "192.0.2.7").as_deref(), Some("cert"));
        assert_eq!(by_peer(Some("web2.example"), "198.51.100.1"), None);
        assert_eq!(name(senders.owner("all/192.0.2.8")).as_deref(), Some("all"));
        assert_eq!(name(senders.owner("al")), None);
        assert_eq!(&**senders.owner("api").unwrap().label(), "of-api");
    }

    #[test]
    fn names_are_the_sources_in_place_of_the_protocols() {
        let (_, senders) = senders(&[add("one", None, None, &["192.0.2.7"]), add("many", None, None, &["198.51.100.0/24"])]);
        let of = |address: &str| {
            let address: IpAddr = address.parse().unwrap();
            let sender = senders.by_peer(None, address);
            [of_peer(sender.as_deref(), "syslog", &address), of_stream(sender.as_deref(), "elastic", "logs")]
                .map(|name| name.to_string())
        };
        assert_eq!(of("192.0.2.7"), ["one", "one/logs"]);
        assert_eq!(of("198.51.100.7"), ["many/198.51.100.7", "many/logs"]);
        assert_eq!(of("203.0.113.7"), ["syslog/203.0.113.7", "elastic/logs"]);
        assert_eq!(&*of_stream(None, "splunk", ""), "splunk");
        assert_eq!(&*of_stream(None, "elastic", &"x".repeat(4090)), "elastic");
    }

    #[test]
    fn who_holds_a_sender_sees_its_state_change() {
        let (mut registry, senders) = senders(&[add("one", None, None, &["192.0.2.7"])]);
        let held = senders.by_peer(None, "192.0.2.7".parse().unwrap()).unwrap();
        let version = senders.version();
        assert!(held.is_enabled());
        for (change, enabled) in [
            (Change::Disable { name: "one".to_owned(), reason: None }, false),
            (Change::Enable { name: "one".to_owned(), reason: None }, true),
            (Change::Retire { name: "one".to_owned(), reason: None }, false),
        ] {
            registry.change(&change, "ben", Timestamp::UNIX_EPOCH).unwrap();
            senders.set(registry.sources());
            assert_eq!(held.is_enabled(), enabled, "{change:?}");
        }
        assert!(senders.version() > version);
        assert!(senders.by_peer(None, "192.0.2.7".parse().unwrap()).is_none(), "its address is free for another");
        assert!(senders.owner("one/x").is_some(), "its name is not");
    }
}
