//! A data folder, opened by one process at a time.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use reeve_access::{Access, Accounts, Person, Reads};
use reeve_detect::{Engine, RuleSet};
use reeve_lake::Lake;
use reeve_ledger::{ExternalKey, Ledger, Policy, Priority, TimeStamper};

use crate::{
    exit::{Failure, UNUSABLE, USAGE},
    lake_place::{self, LakePlace},
    outward, pkcs11, rules,
    serve::DataLock,
};

/// Everything in a data folder.
pub(crate) struct Folder {
    /// Where it is.
    pub(crate) dir: PathBuf,
    /// The record.
    pub(crate) ledger: Arc<Ledger>,
    /// The reading.
    pub(crate) lake: Arc<Lake>,
    /// The alert queue.
    pub(crate) queue: Arc<reeve_case::Store>,
    /// Local accounts.
    pub(crate) accounts: Arc<Accounts>,
    /// The gate.
    pub(crate) access: Arc<Access>,
    /// What passes through it.
    pub(crate) reads: Arc<Reads>,
    // Last, so that it is given back after everything else is closed.
    _lock: DataLock,
}

impl Folder {
    /// Opens a data folder, creating what is not there.
    ///
    /// # Errors
    /// Another process has it, or a part of it cannot be opened; says which.
    pub(crate) fn open(dir: &Path, origin: &str) -> Result<Self, Failure> {
        Self::open_with(dir, origin, &LedgerSettings::default(), None)
    }

    /// As [`Folder::open`], with keys, witnesses, time-stamps and the lake's place as configured.
    ///
    /// # Errors
    /// As [`Folder::open`].
    pub(crate) fn open_with(
        dir: &Path,
        origin: &str,
        settings: &LedgerSettings,
        place: Option<&LakePlace>,
    ) -> Result<Self, Failure> {
        let lock = DataLock::take(dir)?;
        let stable_key = stable_key(dir, settings.pkcs11.as_ref())?;
        let net = outward::of_folder(dir, settings.ca_file.as_deref())?;
        let ledger = |name: &str, folder: &str| {
            let mut options = settings.options(format!("{origin}/{name}"));
            options.stable_key.clone_from(&stable_key);
            options.net = net.clone();
            if name == "audit" {
                // Without its record no act is allowed, so this log must be the last that a full disk stops.
                (options.priority, options.reserve) = (Priority::Audit, AUDIT_RESERVE_BYTES);
            }
            Ledger::open(&dir.join(folder), options).map(Arc::new).map_err(|error| failed(dir, folder, &error))
        };
        let (record, audit) = (ledger("record", "ledger")?, ledger("audit", "audit")?);
        let options = lake_place::options(dir, place, reeve_lake::Options::new(Arc::new(LedgerRaw(record.clone()))))?;
        let lake = Arc::new(Lake::open(&dir.join("lake"), options).map_err(|error| failed(dir, "lake", &error))?);
        let queue = Arc::new(reeve_case::Store::open(dir).map_err(|error| failed(dir, "alert queue", &error))?);
        let accounts = Arc::new(Accounts::open(dir).map_err(|error| failed(dir, "accounts", &error))?);
        let reads = Arc::new(Reads::new(lake.clone(), record.clone()));
        Ok(Self {
            dir: dir.to_owned(),
            ledger: record,
            lake,
            queue,
            accounts,
            access: Arc::new(Access::new(audit)),
            reads,
            _lock: lock,
        })
    }

    /// Opens a data folder that must be there already.
    ///
    /// # Errors
    /// There is none, and as [`Folder::open`].
    pub(crate) fn existing(dir: &Path) -> Result<Self, Failure> {
        if !dir.join("ledger").is_dir() {
            let message = format!(
                "`{}` is no data folder: `reeve ingest PATH --data DIR` or `reeve serve --data DIR` makes one",
                dir.display()
            );
            return Err(Failure::new(USAGE, message));
        }
        Self::open(dir, &origin_of(dir).unwrap_or_else(|| ORIGIN.to_owned()))
    }

    /// Whoever runs this command.
    pub(crate) fn person() -> Person {
        Person::at_shell(rustix::process::getuid().as_raw())
    }
}

/// How the ledgers of record and audit sign, and who watches them.
#[derive(Clone, Default, Debug)]
pub(crate) struct LedgerSettings {
    /// How long a signing key lives; `None`: as the ledger has it.
    pub(crate) epoch: Option<Duration>,
    /// Which witnesses cosign.
    pub(crate) policy: Option<Policy>,
    /// Who time-stamps.
    pub(crate) time_stampers: Vec<TimeStamper>,
    /// Whose certificates are trusted (PEM); `None`: those noted in the data folder, else the public authorities.
    pub(crate) ca_file: Option<PathBuf>,
    /// The token that keeps the stable key; `None`: the one noted in the data folder, else a file there.
    pub(crate) pkcs11: Option<pkcs11::Place>,
}

impl LedgerSettings {
    /// What the log `origin` is opened with. A policy that lists other logs only is not for this one.
    fn options(&self, origin: String) -> reeve_ledger::Options {
        let defaults = reeve_ledger::Options::new(origin);
        let policy = self.policy.clone().filter(|policy| policy.is_about(&defaults.origin));
        let time_stampers = self.time_stampers.clone();
        reeve_ledger::Options { epoch: self.epoch.or(defaults.epoch), policy, time_stampers, ..defaults }
    }
}

/// The stable key, if a token keeps it: the one configured, or the one the folder notes.
pub(crate) fn stable_key(data: &Path, configured: Option<&pkcs11::Place>) -> Result<Option<Arc<dyn ExternalKey>>, Failure> {
    let noted = pkcs11::noted(data)?;
    let Some(place) = configured.cloned().or_else(|| noted.clone()) else { return Ok(None) };
    let key = pkcs11::open(&place)?;
    if noted.as_ref() != Some(&place) {
        pkcs11::note(data, &place)?;
    }
    Ok(Some(key))
}

/// Set aside for the audit log: some ten thousand acts.
const AUDIT_RESERVE_BYTES: u64 = 8 << 20;

/// The name that the folder's own key gives its logs, without the part that tells record and audit apart.
fn origin_of(dir: &Path) -> Option<String> {
    let key = std::fs::read_to_string(dir.join("ledger/keys/checkpoint.vkey")).ok()?;
    let name = key.split('+').next()?;
    Some(name.strip_suffix("/record")?.to_owned())
}

/// The name of a log nobody named.
pub(crate) const ORIGIN: &str = "reeve.local";

/// The engine for rules given, or for the built-in ones. Rules that cannot be used are named, and the rest is used.
///
/// # Errors
/// None of the rules given can be used.
pub(crate) fn engine(paths: &[PathBuf]) -> Result<(Engine, Arc<RuleSet>), Failure> {
    let (set, problems) = rules::load(paths);
    // An archive as published holds hundreds that its authors withdrew: one line says so, the list is there for who asks.
    for problem in &problems {
        tracing::debug!(path = %problem.path, line = problem.line, reason = %problem.reason, "a rule is not used");
    }
    if !problems.is_empty() {
        tracing::warn!(rules = problems.len(), "rules that cannot be used; REEVE_LOG=reeve=debug lists each with its reason");
    }
    if set.is_empty() && !paths.is_empty() {
        return Err(Failure::new(UNUSABLE, "none of the rules given with --rules can be used"));
    }
    tracing::info!(rules = set.len(), "rules loaded");
    let set = Arc::new(set);
    Ok((Engine::from_shared(set.clone()), set))
}

/// Raw bytes for the lake, from the ledger.
pub(crate) struct LedgerRaw(pub(crate) Arc<Ledger>);

impl reeve_lake::RawStore for LedgerRaw {
    fn get_many(&self, ids: &[reeve_record::RecordId]) -> std::io::Result<Vec<Option<Bytes>>> {
        let records = self.0.get_many(ids).map_err(std::io::Error::other)?;
        Ok(records.into_iter().map(|record| record.map(|record| record.raw)).collect())
    }

    fn segment(&self, segment: u32) -> Option<reeve_lake::RawSegment> {
        self.0.extent(segment).map(|(records, sealed)| reeve_lake::RawSegment { records, sealed })
    }

    fn stretch(&self, segment: u32, indexes: std::ops::Range<u32>) -> std::io::Result<Vec<(u32, Bytes)>> {
        let mut found = Vec::with_capacity(indexes.len());
        let mut next = indexes.start;
        while next < indexes.end {
            let max = (indexes.end - next) as usize;
            let records =
                self.0.read_from(reeve_record::RecordId { segment, index: next }, max).map_err(std::io::Error::other)?;
            // What is lost is passed over, into the next segment if need be.
            let inside = records.into_iter().take_while(|record| record.id.segment == segment && record.id.index < indexes.end);
            let before = found.len();
            found.extend(inside.map(|record| (record.id.index, record.raw)));
            match found.get(before..).and_then(<[_]>::last) {
                Some((last, _)) => next = last + 1,
                None => break,
            }
        }
        Ok(found)
    }
}

fn failed(dir: &Path, what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(USAGE, format!("cannot open the {what} in `{}`: {error}", dir.display()))
}
