//! What `reeve serve` is told, by file and by option. Reference: `docs/reference/configuration.md`.
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use reeve_completeness::SourceKey;
use reeve_ledger::{Policy, TimeStamper, VerifierKey};
use reeve_source::{TlsFiles, Tokens};
use serde::Deserialize;

use crate::{
    exit::{Failure, USAGE},
    folder::LedgerSettings,
    lake_place::LakePlace,
};

/// Arguments of `reeve serve`.
#[derive(clap::Args, Debug, Default)]
#[command(after_help = "Examples:
  reeve serve --data /var/lib/reeve
  reeve serve --config reeve.toml --elastic 0.0.0.0:9200 --syslog-udp off

When it is ready, one JSON line with the console's and the listeners' addresses is on standard output. On the first start name and
password of an account are in DIR/first-account. SIGTERM and SIGINT end it once everything taken is read and sealed.")]
pub(crate) struct Args {
    /// Configuration file (TOML); options win over it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data folder; created if it is not there [default: reeve-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Rule file, folder or archive; may be given again [default: the built-in rules]
    #[arg(long, value_name = "PATH")]
    pub(crate) rules: Vec<PathBuf>,
    /// Address of console and API [default: 127.0.0.1:8420]
    #[arg(long, value_name = "ADDRESS|off")]
    pub(crate) console: Option<Address>,
    /// Address for syslog datagrams [default: 127.0.0.1:5514]
    #[arg(long, value_name = "ADDRESS|off")]
    pub(crate) syslog_udp: Option<Address>,
    /// Address for syslog streams [default: 127.0.0.1:5514]
    #[arg(long, value_name = "ADDRESS|off")]
    pub(crate) syslog_tcp: Option<Address>,
    /// Address for the Elastic bulk API [default: 127.0.0.1:9200]
    #[arg(long, value_name = "ADDRESS|off")]
    pub(crate) elastic: Option<Address>,
    /// Address for NDJSON over HTTP [default: 127.0.0.1:8421]
    #[arg(long, value_name = "ADDRESS|off")]
    pub(crate) http: Option<Address>,
    /// Folder whose files are read as they appear and grow; may be given again
    #[arg(long, value_name = "DIR")]
    pub(crate) watch: Vec<PathBuf>,
}

/// An address to listen on, or `off`. Port 0 takes any free port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Address {
    On(SocketAddr),
    Off,
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::On).map_err(|_| format!("`{text}` is no address: write IP:PORT, as in 127.0.0.1:9200, or `off`"))
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Address {
    pub(crate) fn socket(self) -> Option<SocketAddr> {
        match self {
            Self::On(address) => Some(address),
            Self::Off => None,
        }
    }
}

/// Everything the server needs to know.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) data: PathBuf,
    pub(crate) origin: String,
    pub(crate) rules: Vec<PathBuf>,
    pub(crate) console: Address,
    pub(crate) syslog_udp: Address,
    pub(crate) syslog_tcp: Address,
    pub(crate) gelf_udp: Address,
    pub(crate) netflow: Address,
    pub(crate) sflow: Address,
    /// Listeners for streams but plain syslog, by name.
    pub(crate) streams: Vec<(&'static str, Listening)>,
    /// Listeners for HTTP, by name. Each takes every kind of request.
    pub(crate) http: Vec<(&'static str, Listening)>,
    pub(crate) watch: Vec<PathBuf>,
    pub(crate) ledger: LedgerSettings,
    pub(crate) lake: LakePlace,
    pub(crate) sources: Vec<SourceKey>,
    pub(crate) limits: Limits,
    /// How often record and audit log are recomputed while the server runs.
    pub(crate) scrub: Option<Duration>,
}

/// A listener's settings.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) address: Address,
    pub(crate) tokens: Tokens,
    pub(crate) version: Option<String>,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) shared_key: Option<Arc<str>>,
}

impl Listening {
    /// Whether something has to be known or shown to write here.
    pub(crate) fn knows_its_clients(&self) -> bool {
        let vouched = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some() && !tls.client_optional);
        vouched || self.tokens.is_needed() || self.shared_key.is_some()
    }
}

/// The configuration file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    origin: Option<String>,
    rules: Option<Vec<PathBuf>>,
    watch: Option<Vec<PathBuf>>,
    #[serde(default)]
    console: Listener,
    #[serde(default)]
    syslog_udp: Listener,
    #[serde(default)]
    syslog_tcp: Listener,
    #[serde(default)]
    syslog_tls: Listener,
    #[serde(default)]
    relp: Listener,
    #[serde(default)]
    gelf_udp: Listener,
    #[serde(default)]
    netflow: Listener,
    #[serde(default)]
    sflow: Listener,
    #[serde(default)]
    gelf_tcp: Listener,
    #[serde(default)]
    forward: Listener,
    #[serde(default)]
    elastic: Listener,
    #[serde(default)]
    http: Listener,
    #[serde(default)]
    splunk: Listener,
    #[serde(default)]
    otlp: Listener,
    #[serde(default)]
    gelf_http: Listener,
    #[serde(default)]
    journal: Listener,
    #[serde(default)]
    ledger: LedgerSection,
    #[serde(default)]
    lake: LakePlace,
    #[serde(default)]
    scrub: ScrubSection,
    #[serde(default)]
    sources: Vec<SourceSection>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    retention: Retention,
}

/// What `reeve retention --config` goes by. The server itself takes nothing out: that takes two people.
#[derive(Deserialize, Default, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    /// Name of a built-in policy, or a file.
    pub(crate) policy: Option<String>,
    /// Longest step of time that is believed, in days.
    pub(crate) longest_step_days: Option<u32>,
}

/// The section [retention] of a configuration file; a policy file is found relative to it.
pub(crate) fn read_retention(path: &Path) -> Result<Retention, Failure> {
    let mut retention = read(path)?.retention;
    let base = path.parent().unwrap_or(Path::new(""));
    let beside = retention.policy.as_ref().map(|policy| base.join(policy)).filter(|file| file.is_file());
    if let Some(file) = beside {
        retention.policy = Some(file.display().to_string());
    }
    Ok(retention)
}

/// The scheduled recomputation of everything kept.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ScrubSection {
    /// Hours from the end of one to the next; 0: never.
    every_hours: u32,
}

impl Default for ScrubSection {
    fn default() -> Self {
        Self { every_hours: 168 }
    }
}

/// A source that numbers and signs what it sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceSection {
    /// Its verifier key; the key's name is the source's.
    key: String,
    /// It sends at least a heartbeat this often.
    heartbeat_seconds: Option<u64>,
}

impl SourceSection {
    fn read(&self) -> Result<SourceKey, Failure> {
        let wrong = |what: String| Failure::new(USAGE, format!("configuration, [[sources]] `{}`: {what}", self.key));
        let key = VerifierKey::parse(&self.key).map_err(|error| wrong(error.to_string()))?;
        // Names that other listeners give, or Reeve itself: records of theirs are not signed.
        if let Some(taken) =
            ["reeve/", "syslog/", "elastic/", "watch/", "splunk", "gelf/", "forward", "otlp", "journal/", "netflow/", "sflow/"]
                .into_iter()
                .find(|taken| key.name().starts_with(taken))
        {
            return Err(wrong(format!("a name that begins with `{taken}` is not free: choose another")));
        }
        if let Some(seconds) = self.heartbeat_seconds.filter(|seconds| !(1..=HEARTBEAT_SECONDS_MAX).contains(seconds)) {
            return Err(wrong(format!("`heartbeat_seconds` is {seconds}; it is 1 to {HEARTBEAT_SECONDS_MAX}")));
        }
        Ok(SourceKey { key, heartbeat: self.heartbeat_seconds.map(Duration::from_secs) })
    }
}

fn read_sources(sections: &[SourceSection]) -> Result<Vec<SourceKey>, Failure> {
    let sources: Vec<SourceKey> = sections.iter().map(SourceSection::read).collect::<Result<_, _>>()?;
    for (nth, source) in sources.iter().enumerate() {
        if sources.iter().skip(nth + 1).any(|other| other.key.name() == source.key.name()) {
            return Err(Failure::new(
                USAGE,
                format!("configuration: `{}` is registered twice in [[sources]]", source.key.name()),
            ));
        }
    }
    Ok(sources)
}

/// Keys, witnesses and time-stamps of the ledger.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct LedgerSection {
    /// How long a signing key lives, in seconds.
    epoch_seconds: Option<u64>,
    /// Trust policy (C2SP tlog-policy) with the witnesses.
    policy: Option<PathBuf>,
    /// Certificate authorities of witnesses and time-stamping authorities (PEM).
    ca_file: Option<PathBuf>,
    /// Time-stamping authorities.
    #[serde(default)]
    time_stamps: Vec<TimeStampSection>,
    /// The token that keeps the stable key.
    pkcs11: Option<crate::pkcs11::Place>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeStampSection {
    name: String,
    url: String,
}

impl LedgerSection {
    fn settings(self, within: impl Fn(PathBuf) -> PathBuf) -> Result<LedgerSettings, Failure> {
        let wrong = |what: String| Failure::new(USAGE, format!("configuration, [ledger]: {what}"));
        if let Some(seconds) = self.epoch_seconds.filter(|seconds| !(1..=EPOCH_SECONDS_MAX).contains(seconds)) {
            return Err(wrong(format!("`epoch_seconds` is {seconds}; a key lives 1 to {EPOCH_SECONDS_MAX} seconds")));
        }
        let stampers = self.time_stamps.iter().map(|stamper| TimeStamper::new(&stamper.name, &stamper.url));
        let pkcs11 = self.pkcs11.map(|place| crate::pkcs11::Place {
            module: within(place.module),
            pin_file: within(place.pin_file),
            ..place
        });
        Ok(LedgerSettings {
            pkcs11,
            epoch: self.epoch_seconds.map(Duration::from_secs),
            ca_file: self.ca_file.map(&within),
            policy: self.policy.map(&within).map(|path| read_policy(&path)).transpose()?,
            time_stampers: stampers.collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))?,
        })
    }
}

/// Reads a trust policy.
pub(crate) fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(USAGE, format!("cannot read the policy `{}`: {error}", path.display())))?;
    text.parse().map_err(|error| Failure::new(USAGE, format!("policy `{}`: {error}", path.display())))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Listener {
    address: Option<Address>,
    token_file: Option<PathBuf>,
    version: Option<String>,
    /// Certificate chain in PEM; with it the listener speaks TLS alone.
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    /// Who vouches for clients; with it a client needs a certificate.
    client_ca: Option<PathBuf>,
    #[serde(default)]
    client_optional: bool,
    shared_key_file: Option<PathBuf>,
}

/// What a kind of listener has no use for is an error: whoever wrote it expects something of it.
struct Kind {
    tokens: bool,
    tls: bool,
    shared_key: bool,
    /// TLS is what the listener is for.
    tls_needed: bool,
}

const HTTP: Kind = Kind { tokens: true, tls: true, shared_key: false, tls_needed: false };
const STREAM: Kind = Kind { tokens: false, tls: true, shared_key: false, tls_needed: false };
const PLAIN: Kind = Kind { tokens: false, tls: false, shared_key: false, tls_needed: false };

impl Listener {
    fn settings(
        self,
        name: &'static str,
        kind: &Kind,
        default: Address,
        within: &impl Fn(PathBuf) -> PathBuf,
    ) -> Result<(&'static str, Listening), Failure> {
        let wrong = |what: &str| Err(Failure::new(USAGE, format!("configuration, [{name}]: {what}")));
        if self.token_file.is_some() && !kind.tokens {
            return wrong("`token_file` has no meaning here: this protocol carries no token");
        }
        if self.shared_key_file.is_some() && !kind.shared_key {
            return wrong("`shared_key_file` has no meaning here");
        }
        let tls_named = self.certificate.is_some() || self.key.is_some() || self.client_ca.is_some() || self.client_optional;
        if tls_named && !kind.tls {
            return wrong("this listener has no TLS");
        }
        let tls = match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => Some(TlsFiles {
                certificate: within(certificate),
                key: within(key),
                client_ca: self.client_ca.map(within),
                client_optional: self.client_optional,
            }),
            (None, None) if !tls_named => None,
            _ => return wrong("TLS needs `certificate` and `key`"),
        };
        let address = self.address.unwrap_or(default);
        if kind.tls_needed && tls.is_none() && address != Address::Off {
            return wrong("this listener needs `certificate` and `key`");
        }
        let tokens = self.token_file.map(|path| read_tokens(&within(path))).transpose()?.unwrap_or_default();
        let shared_key = self.shared_key_file.map(|path| read_shared_key(&within(path))).transpose()?;
        Ok((name, Listening { address, tokens, version: self.version, tls, shared_key }))
    }
}

/// Bounds; each has a default that suits a small machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Largest HTTP body after decompression, in bytes.
    pub(crate) body_bytes: usize,
    /// Largest document in a bulk request or line of NDJSON, in bytes.
    pub(crate) record_bytes: usize,
    /// Longest syslog message, in bytes.
    pub(crate) message_bytes: usize,
    /// Connections open at once, by listener.
    pub(crate) connections: usize,
    /// Of those, from one address.
    pub(crate) connections_per_peer: usize,
    /// Seconds a syslog connection may be silent.
    pub(crate) idle_seconds: u64,
    /// Free bytes on the data folder's disk below which nothing more is taken; by default 2 % of the disk, at most 512 MiB.
    pub(crate) disk_reserve_bytes: Option<u64>,
    /// Threads that decode and detect.
    pub(crate) reading_threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 64 << 20,
            record_bytes: 8 << 20,
            message_bytes: 1 << 20,
            connections: 512,
            connections_per_peer: 128,
            idle_seconds: 3600,
            disk_reserve_bytes: None,
            reading_threads: std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 16),
        }
    }
}

impl Config {
    /// The file with the options over it.
    pub(crate) fn load(args: Args) -> Result<Self, Failure> {
        let file = match &args.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        // Paths in the file are relative to it, so that the server may be started from anywhere.
        let base = args.config.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
        let within = |path: PathBuf| if path.is_relative() { base.join(path) } else { path };
        let all = |given: Vec<PathBuf>, filed: Option<Vec<PathBuf>>| {
            if given.is_empty() { filed.unwrap_or_default().into_iter().map(within).collect() } else { given }
        };
        let address = |given: Option<Address>, filed: Option<Address>, port: u16| {
            given.or(filed).unwrap_or(Address::On(SocketAddr::from(([127, 0, 0, 1], port))))
        };
        let syslog_udp = Listener { address: Some(address(args.syslog_udp, file.syslog_udp.address, 5514)), ..file.syslog_udp };
        let syslog_udp = syslog_udp.settings("syslog_udp", &PLAIN, Address::Off, &within)?;
        let syslog_tcp = Listener { address: Some(address(args.syslog_tcp, file.syslog_tcp.address, 5514)), ..file.syslog_tcp };
        let syslog_tcp = syslog_tcp.settings("syslog_tcp", &PLAIN, Address::Off, &within)?;
        let elastic = address(args.elastic, file.elastic.address, 9200);
        let http = address(args.http, file.http.address, 8421);
        let mut limits = file.limits;
        limits.record_bytes = limits.record_bytes.clamp(1, RECORD_BYTES_MAX);
        limits.message_bytes = limits.message_bytes.clamp(1, RECORD_BYTES_MAX);
        Ok(Self {
            data: args.data.or_else(|| file.data.map(within)).unwrap_or_else(|| PathBuf::from("reeve-data")),
            origin: file.origin.unwrap_or_else(|| "reeve.local".to_owned()),
            rules: all(args.rules, file.rules),
            watch: all(args.watch, file.watch),
            console: address(args.console, file.console.address, 8420),
            syslog_udp: syslog_udp.1.address,
            syslog_tcp: syslog_tcp.1.address,
            gelf_udp: file.gelf_udp.settings("gelf_udp", &PLAIN, Address::Off, &within)?.1.address,
            netflow: file.netflow.settings("netflow", &PLAIN, Address::Off, &within)?.1.address,
            sflow: file.sflow.settings("sflow", &PLAIN, Address::Off, &within)?.1.address,
            streams: vec![
                file.syslog_tls.settings("syslog_tls", &Kind { tls_needed: true, ..STREAM }, Address::Off, &within)?,
                file.relp.settings("relp", &STREAM, Address::Off, &within)?,
                file.gelf_tcp.settings("gelf_tcp", &STREAM, Address::Off, &within)?,
                file.forward.settings("forward", &Kind { shared_key: true, ..STREAM }, Address::Off, &within)?,
            ],
            http: vec![
                Listener { address: Some(elastic), ..file.elastic }.settings("elastic", &HTTP, Address::Off, &within)?,
                Listener { address: Some(http), ..file.http }.settings("http", &HTTP, Address::Off, &within)?,
                file.splunk.settings("splunk", &HTTP, Address::Off, &within)?,
                file.otlp.settings("otlp", &HTTP, Address::Off, &within)?,
                file.gelf_http.settings("gelf_http", &HTTP, Address::Off, &within)?,
                file.journal.settings("journal", &HTTP, Address::Off, &within)?,
            ],
            lake: file.lake.within(within),
            ledger: file.ledger.settings(within)?,
            sources: read_sources(&file.sources)?,
            limits,
            scrub: (file.scrub.every_hours > 0).then(|| Duration::from_secs(u64::from(file.scrub.every_hours) * 3600)),
        })
    }
}

fn read(path: &Path) -> Result<File, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(USAGE, format!("cannot read the configuration `{}`: {error}", path.display())))?;
    toml::from_str(&text).map_err(|error| Failure::new(USAGE, format!("configuration `{}`: {error}", path.display())))
}

/// One token a line; empty lines and lines that start with `#` do not count.
fn read_tokens(path: &Path) -> Result<Tokens, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(USAGE, format!("cannot read the tokens in `{}`: {error}", path.display())))?;
    let tokens: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    if tokens.is_empty() {
        // Rather no server than one that anybody may write to.
        return Err(Failure::new(
            USAGE,
            format!("`{}` holds no token: write one a line, or take `token_file` out", path.display()),
        ));
    }
    Ok(Tokens::new(tokens))
}

/// The first line that is not empty.
fn read_shared_key(path: &Path) -> Result<Arc<str>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(USAGE, format!("cannot read the shared key in `{}`: {error}", path.display())))?;
    let key = text.lines().map(str::trim).find(|line| !line.is_empty());
    key.map(Arc::from).ok_or_else(|| Failure::new(USAGE, format!("`{}` holds no shared key", path.display())))
}

/// A key lives a day at most.
const EPOCH_SECONDS_MAX: u64 = 86_400;
/// A source that is silent for two days may well be gone.
const HEARTBEAT_SECONDS_MAX: u64 = 86_400;
/// What the ledger takes as one record.
const RECORD_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_win_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reeve.toml");
        std::fs::write(folder.path().join("tokens"), "# one\nabc\n").unwrap();
        std::fs::write(
            &path,
            "data = \"d\"\n[elastic]\naddress = \"0.0.0.0:9201\"\ntoken_file = \"tokens\"\n[syslog_udp]\naddress = \"off\"\n",
        )
        .unwrap();
        let args = Args { config: Some(path), http: Some("127.0.0.1:0".parse().unwrap()), ..Args::default() };
        let config = Config::load(args).unwrap();
        assert_eq!(config.data, folder.path().join("d"));
        assert_eq!([config.syslog_udp, config.gelf_udp, config.netflow, config.sflow], [Address::Off; 4]);
        let (_, elastic) = &config.http[0];
        assert_eq!(elastic.address, "0.0.0.0:9201".parse().unwrap());
        assert!(elastic.tokens.is_needed());
        assert_eq!(config.http[1].1.address, "127.0.0.1:0".parse().unwrap());
        assert!(config.http[2..].iter().chain(&config.streams).all(|(_, listener)| listener.address == Address::Off));
    }

    #[test]
    fn a_listeners_settings_fit_its_kind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reeve.toml");
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Config::load(Args { config: Some(path.clone()), ..Args::default() })
        };
        std::fs::write(folder.path().join("key"), "\n s3cret \n").unwrap();
        let config = load(
            "[forward]\naddress = \"127.0.0.1:0\"\nshared_key_file = \"key\"\ncertificate = \"c.pem\"\nkey = \"k.pem\"\nclient_ca = \"ca.pem\"\n",
        )
        .unwrap();
        let (name, forward) = &config.streams[3];
        assert_eq!((*name, forward.shared_key.as_deref()), ("forward", Some("s3cret")));
        assert_eq!(forward.tls.as_ref().and_then(|tls| tls.client_ca.clone()), Some(folder.path().join("ca.pem")));
        for (wrong, named) in [
            ("[syslog_tls]\naddress = \"127.0.0.1:0\"\n", "certificate"),
            ("[relp]\ncertificate = \"c\"\n", "`key`"),
            ("[relp]\ntoken_file = \"t\"\n", "token"),
            ("[gelf_udp]\ncertificate = \"c\"\nkey = \"k\"\n", "no TLS"),
            ("[netflow]\naddress = \"127.0.0.1:0\"\ntoken_file = \"t\"\n", "token"),
            ("[otlp]\nshared_key_file = \"key\"\n", "shared_key_file"),
            ("[syslog_tcp]\nclient_optional = true\n", "no TLS"),
        ] {
            let failure = load(wrong).unwrap_err();
            assert!(failure.code == USAGE && failure.message.contains(named), "{wrong}: {}", failure.message);
        }
    }

    #[test]
    fn the_ledgers_settings_are_read_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reeve.toml");
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Config::load(Args { config: Some(path.clone()), ..Args::default() })
        };
        std::fs::write(folder.path().join("witnesses"), "quorum none\n").unwrap();
        let stamps = "[[ledger.time_stamps]]\nname = \"one\"\nurl = \"http://127.0.0.1:1/\"\n";
        let config =
            load(&format!("[ledger]\nepoch_seconds = 600\npolicy = \"witnesses\"\nca_file = \"ca.pem\"\n{stamps}")).unwrap();
        assert_eq!(config.ledger.ca_file, Some(folder.path().join("ca.pem")));
        assert_eq!(config.ledger.epoch, Some(Duration::from_secs(600)));
        assert!(config.ledger.policy.is_some() && config.ledger.time_stampers.len() == 1);
        for (wrong, named) in [
            ("[ledger]\nepoch_seconds = 0\n", "epoch_seconds"),
            ("[ledger]\nepoch_seconds = 90000\n", "86400"),
            ("[ledger]\npolicy = \"absent\"\n", "absent"),
            ("[ledger]\npolicy = \"reeve.toml\"\n", "line 1"),
            ("[[ledger.time_stamps]]\nname = \"A B\"\nurl = \"http://x/\"\n", "a-z"),
        ] {
            let failure = load(wrong).unwrap_err();
            assert!(failure.code == USAGE && failure.message.contains(named), "{wrong}: {}", failure.message);
        }
    }

    #[test]
    fn the_lakes_place_is_read_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reeve.toml");
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Config::load(Args { config: Some(path.clone()), ..Args::default() })
        };
        assert_eq!(load("").unwrap().lake, LakePlace::default());
        let text = "[lake]\ncatalog = \"postgres://reeve@db/reeve\"\ncatalog_password_file = \"pw\"\n[lake.objects]\nendpoint = \"http://s3:8333\"\n\
                    bucket = \"b\"\nprefix = \"lake/\"\ncredentials_file = \"key\"\ncache_bytes = 1000\n";
        let lake = load(text).unwrap().lake;
        assert_eq!(lake.catalog_password_file, Some(folder.path().join("pw")));
        let bucket = lake.objects.unwrap();
        assert_eq!((bucket.region.as_str(), bucket.path_style, bucket.cache_bytes), ("us-east-1", true, Some(1000)));
        assert_eq!(bucket.credentials_file, Some(folder.path().join("key")));
        for (wrong, named) in [("[lake]\ncatalogue = \"x\"\n", "catalogue"), ("[lake.objects]\nbucket = \"b\"\n", "endpoint")] {
            let failure = load(wrong).unwrap_err();
            assert!(failure.code == USAGE && failure.message.contains(named), "{wrong}: {}", failure.message);
        }
    }

    #[test]
    fn numbered_sources_are_read_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reeve.toml");
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Config::load(Args { config: Some(path.clone()), ..Args::default() })
        };
        let key = |name: &str| reeve_ledger::NoteKey::new(name, &[3; 32]).unwrap().verifier().to_string();
        let section = |name: &str, more: &str| format!("[[sources]]\nkey = \"{}\"\n{more}\n", key(name));
        let config = load(&section("edge/web1", "heartbeat_seconds = 60")).unwrap();
        assert_eq!((config.sources[0].key.name(), config.sources[0].heartbeat), ("edge/web1", Some(Duration::from_secs(60))));
        for (wrong, named) in [
            (section("edge/web1", "") + &section("edge/web1", ""), "twice"),
            (section("elastic/logs", ""), "elastic/"),
            (section("edge/web1", "heartbeat_seconds = 0"), "heartbeat_seconds"),
            ("[[sources]]\nkey = \"edge\"\n".to_owned(), "name+id+key"),
        ] {
            let failure = load(&wrong).unwrap_err();
            assert!(failure.code == USAGE && failure.message.contains(named), "{wrong}: {}", failure.message);
        }
    }

    #[test]
    fn a_wrong_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reeve.toml");
        std::fs::write(&path, "[elastic]\nadress = \"0.0.0.0:9201\"\n").unwrap();
        let failure = Config::load(Args { config: Some(path), ..Args::default() }).unwrap_err();
        assert!(failure.message.contains("adress") && failure.code == USAGE, "{}", failure.message);
    }
}
