use std::{collections::BTreeMap, fmt};

use jiff::{SignedDuration, Timestamp};
use reeve_record::{Certainty, RecordId};
use serde::{Deserialize, Serialize};

/// Where events come from.
pub trait Events {
    /// Events that fit, earliest first, at most `want.limit`.
    ///
    /// # Errors
    /// Whatever keeps storage from answering.
    fn events(&self, want: &Want) -> Result<Vec<EventRow>, Error>;
}

/// Which events; empty lists ask for nothing.
#[derive(Clone, Debug, Default)]
pub struct Want {
    /// At or after.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
    /// Of one of these classes.
    pub class_uids: Vec<u32>,
    /// Read from one of these records.
    pub records: Vec<RecordId>,
    /// With all of these attributes (OCSF path) having exactly that value.
    pub equal: Vec<(String, String)>,
    /// At most so many.
    pub limit: usize,
}

/// One normalised event.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    /// The record it was read from.
    pub record: RecordId,
    /// All records it was read from; contains `record`.
    pub records: Vec<RecordId>,
    /// Which event of the record.
    pub part: u32,
    /// When it happened.
    pub time: Timestamp,
    /// What had to be inferred to know that.
    pub certainty: Certainty,
    /// The source's name.
    pub source: String,
    /// Record number in the source, if known.
    pub number: Option<u64>,
    /// The host it happened on; empty if the event does not say.
    pub host: String,
    /// OCSF class.
    pub class_uid: u32,
    /// OCSF activity.
    pub activity_id: u32,
    /// OCSF status, 1 success, 2 failure.
    pub status_id: Option<u32>,
    /// OCSF attributes by dotted path, as text.
    pub attributes: BTreeMap<String, String>,
    /// Native fields by dotted path, as text.
    pub native: BTreeMap<String, String>,
}

impl EventRow {
    /// An attribute's text, empty when absent.
    pub fn get(&self, path: &str) -> &str {
        self.attributes.get(path).map_or("", String::as_str)
    }

    /// An attribute's whole number.
    pub fn number_at(&self, path: &str) -> Option<i64> {
        self.get(path).parse().ok()
    }
}

/// What reconstruction needs of a finding.
#[derive(Clone, Debug, Default)]
pub struct FindingRef {
    /// The finding's id.
    pub id: String,
    /// The rule's title.
    pub title: String,
    /// OCSF severity, 1 informational … 5 critical.
    pub severity_id: u32,
    /// The records it rests on.
    pub records: Vec<RecordId>,
    /// ATT&CK techniques its rule names, as in `T1059.004`.
    pub techniques: Vec<String>,
}

/// Where to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seed {
    /// A finding, by id.
    Finding(String),
    /// A record.
    Record(RecordId),
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seed::Finding(id) => write!(f, "finding {id}"),
            Seed::Record(id) => write!(f, "record {id}"),
        }
    }
}

/// Bounds of the walk.
#[derive(Clone, Debug)]
pub struct Options {
    /// How far before the seed to look.
    pub before: SignedDuration,
    /// How far after it.
    pub after: SignedDuration,
    /// Events read of one class.
    pub events_max: usize,
    /// Processes that may be found to belong to the incident.
    pub processes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            before: SignedDuration::from_hours(12),
            after: SignedDuration::from_hours(24),
            events_max: 100_000,
            processes_max: 20_000,
        }
    }
}

/// What happened, step by step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Incident {
    /// Of seed and steps: the same story has the same id.
    pub id: String,
    /// One line.
    pub title: String,
    /// Where the walk started.
    pub seed: Seed,
    /// Time of the first step.
    pub from: Timestamp,
    /// Time of the last.
    pub to: Timestamp,
    /// Hosts with a step, in order of appearance.
    pub hosts: Vec<String>,
    /// Users who act in a step, in order of appearance.
    pub users: Vec<String>,
    /// Addresses outside that took part.
    pub addresses: Vec<String>,
    /// Techniques in order of appearance.
    pub techniques: Vec<Technique>,
    /// The story.
    pub steps: Vec<Step>,
    /// Which step led to which.
    pub edges: Vec<Edge>,
    /// The processes behind the steps.
    pub process_tree: Vec<ProcessNode>,
    /// Every cited record's source and number in it.
    pub citations: BTreeMap<String, Citation>,
    /// What a bound or a gap kept out.
    pub notes: Vec<String>,
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// From 1, in order of time.
    pub n: usize,
    /// When it began.
    pub time: Timestamp,
    /// When its last event happened.
    pub until: Timestamp,
    /// The weakest certainty of its events' times.
    pub time_certainty: Certainty,
    /// Whether it surely came after the step before.
    pub certainty: Order,
    /// Where.
    pub host: String,
    /// Who.
    pub actor: Actor,
    /// The claim, one sentence.
    pub action: String,
    /// ATT&CK tactic, as in `Discovery`.
    pub tactic: String,
    /// ATT&CK technique.
    pub technique: Technique,
    /// Why it belongs to the incident.
    pub because: Because,
    /// The records it rests on.
    pub records: Vec<RecordId>,
    /// How many further records show the same and are not listed.
    pub records_omitted: usize,
    /// Findings on those records.
    pub findings: Vec<String>,
}

/// Whether one step surely follows another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Both times are exact, and on one clock or far enough apart.
    Certain,
    /// Clocks of two hosts, coarse or inferred times.
    Likely,
    /// A time is only that of receipt.
    Unknown,
}

/// Who did it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// User name.
    pub user: Option<String>,
    /// Process name, or an address where nothing more is known.
    pub process: Option<String>,
    /// Logon session on that host.
    pub session: Option<String>,
}

/// An ATT&CK technique.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Technique {
    /// As in `T1059.004`.
    pub uid: String,
    /// As in `Unix Shell`.
    pub name: String,
    /// As in `Execution`.
    pub tactic: String,
}

/// The link that makes an event part of the incident.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// It is where the walk started.
    Finding,
    /// Started by a process of the incident, or started one.
    ProcessLineage,
    /// In a logon session of the incident.
    LogonSession,
    /// Runs a file the incident wrote, or wrote one it ran.
    FileWriteExecute,
    /// A logon on another host by a connection of the incident.
    RemoteLogon,
    /// A web request that made the web server start a process of the incident or write a file of it, or of the same client.
    WebRequest,
    /// Talks to an outside address of the incident.
    SharedAddress,
    /// Uses an account the incident made.
    AccountUse,
    /// Started by a service or a task of the incident, or set up one.
    ServiceStart,
}

/// Why a step belongs to the incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Because {
    /// The link.
    pub kind: Link,
    /// The step it links to.
    pub step: Option<usize>,
}

/// One step led to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edge {
    /// The earlier step.
    pub from: usize,
    /// The later one.
    pub to: usize,
    /// How.
    pub kind: Link,
}

/// A process of the incident with what it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessNode {
    /// `HOST:PID`, or the process's own unique id.
    pub id: String,
    /// Where.
    pub host: String,
    /// Process id.
    pub pid: Option<i64>,
    /// Name.
    pub name: String,
    /// Command line as last seen.
    pub cmd_line: String,
    /// User.
    pub user: String,
    /// When it was first seen.
    pub at: Timestamp,
    /// The step it acts in first.
    pub step: Option<usize>,
    /// The records of its start.
    pub records: Vec<RecordId>,
    /// What it started.
    pub children: Vec<ProcessNode>,
}

/// Where a cited record stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Citation {
    /// The source's name.
    pub source: String,
    /// Record number in it, if known.
    pub number: Option<u64>,
}

/// Why there is no story.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing to start from.
    #[error("no event belongs to {seed}: it may not be decoded yet, or lies outside the searched time")]
    SeedUnknown {
        /// What was asked for.
        seed: String,
    },
    /// Storage did not answer.
    #[error("events cannot be read: {reason}")]
    Storage {
        /// What it said.
        reason: String,
    },
}

/// What an event means: a tactic, a technique, and words for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Action {
    /// ATT&CK tactic.
    pub tactic: Tactic,
    /// ATT&CK technique id.
    pub technique: &'static str,
    /// The technique's name.
    pub name: &'static str,
    /// How the claim reads, as in `looked around`.
    pub verb: &'static str,
}

/// ATT&CK's tactics in the order of an intrusion.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)]
pub enum Tactic {
    Reconnaissance,
    InitialAccess,
    Execution,
    Persistence,
    PrivilegeEscalation,
    DefenseEvasion,
    CredentialAccess,
    Discovery,
    LateralMovement,
    Collection,
    CommandAndControl,
    Exfiltration,
    Impact,
}

impl Tactic {
    /// ATT&CK's own spelling.
    pub const fn name(self) -> &'static str {
        match self {
            Tactic::Reconnaissance => "Reconnaissance",
            Tactic::InitialAccess => "Initial Access",
            Tactic::Execution => "Execution",
            Tactic::Persistence => "Persistence",
            Tactic::PrivilegeEscalation => "Privilege Escalation",
            Tactic::DefenseEvasion => "Defense Evasion",
            Tactic::CredentialAccess => "Credential Access",
            Tactic::Discovery => "Discovery",
            Tactic::LateralMovement => "Lateral Movement",
            Tactic::Collection => "Collection",
            Tactic::CommandAndControl => "Command and Control",
            Tactic::Exfiltration => "Exfiltration",
            Tactic::Impact => "Impact",
        }
    }
}
