//! The events around the seed as a world: hosts with addresses, processes with parents, sessions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use reeve_record::RecordId;

use crate::model::{Error, EventRow, Events, Options, Want};

/// Classes a story is made of.
const CLASSES: &[u32] =
    &[1007, 1001, 3002, 4001, 4002, 4003, 4006, 4007, 3001, 3006, 1006, 1008, 1009, 1002, 201_002, 201_004, 3003];
/// A process that is not seen for that long and then started again under the same number is another one.
const REUSE: SignedDuration = SignedDuration::from_mins(30);

pub(crate) type ProcessId = usize;
pub(crate) type EventId = usize;

pub(crate) struct World {
    pub(crate) events: Vec<EventRow>,
    pub(crate) processes: Vec<Process>,
    /// The process that did it (or was started), per event.
    pub(crate) actor: Vec<Option<ProcessId>>,
    /// Host per event: as the event says, else as its source's path says.
    pub(crate) host: Vec<String>,
    /// Events by process.
    pub(crate) of_process: Vec<Vec<EventId>>,
    pub(crate) children: Vec<Vec<ProcessId>>,
    /// Processes by host and session.
    pub(crate) of_session: HashMap<(String, String), Vec<ProcessId>>,
    /// Which host an address is.
    pub(crate) host_of: BTreeMap<String, String>,
    pub(crate) addresses_of: BTreeMap<String, BTreeSet<String>>,
    pub(crate) notes: Vec<String>,
    by_record: HashMap<RecordId, Vec<EventId>>,
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) host: String,
    pub(crate) pid: Option<i64>,
    pub(crate) uid: String,
    pub(crate) parent: Option<ProcessId>,
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) cmd_line: String,
    pub(crate) user: String,
    pub(crate) session: String,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) launches: Vec<EventId>,
    ppid: Option<i64>,
}

impl World {
    pub(crate) fn gather(source: &dyn Events, seeds: &[RecordId], options: &Options) -> Result<Self, Error> {
        let found = source.events(&Want { records: seeds.to_vec(), limit: 1000, ..Want::default() })?;
        let (Some(first), Some(last)) = (found.iter().map(|event| event.time).min(), found.iter().map(|event| event.time).max())
        else {
            return Ok(Self::new(Vec::new(), Vec::new()));
        };
        let from = first.checked_sub(options.before).unwrap_or(Timestamp::MIN);
        let to = last.checked_add(options.after).unwrap_or(Timestamp::MAX);
        let (mut events, mut notes) = (found, Vec::new());
        for class in CLASSES {
            let want =
                Want { from: Some(from), to: Some(to), class_uids: vec![*class], limit: options.events_max, ..Want::default() };
            let rows = source.events(&want)?;
            if rows.len() >= options.events_max {
                notes.push(format!("only the first {} events of class {class} between {from} and {to} were read", rows.len()));
            }
            events.extend(rows);
        }
        // By time, then by record: the order of the answers must not show.
        events.sort_by_key(|event| (event.time, event.record, event.part, event.class_uid));
        events.dedup_by(|a, b| a.record == b.record && a.part == b.part && a.class_uid == b.class_uid);
        Ok(Self::new(events, notes))
    }

    fn new(events: Vec<EventRow>, notes: Vec<String>) -> Self {
        let count = events.len();
        let mut world = Self {
            host: hosts(&events),
            actor: vec![None; count],
            events,
            processes: Vec::new(),
            of_process: Vec::new(),
            children: Vec::new(),
            of_session: HashMap::new(),
            host_of: BTreeMap::new(),
            addresses_of: BTreeMap::new(),
            notes,
            by_record: HashMap::new(),
        };
        for (id, event) in world.events.iter().enumerate() {
            event.records.iter().chain([&event.record]).for_each(|record| {
                let known: &mut Vec<EventId> = world.by_record.entry(*record).or_default();
                if known.last() != Some(&id) {
                    known.push(id);
                }
            });
        }
        Builder::default().run(&mut world);
        world.learn_addresses();
        world
    }

    pub(crate) fn of_records(&self, records: &[RecordId]) -> Vec<EventId> {
        let mut found: Vec<EventId> = records.iter().filter_map(|record| self.by_record.get(record)).flatten().copied().collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Events of that class within `[from, to]`.
    pub(crate) fn between(&self, class_uid: u32, from: Timestamp, to: Timestamp) -> impl Iterator<Item = (EventId, &EventRow)> {
        let start = self.events.partition_point(|event| event.time < from);
        self.events[start..]
            .iter()
            .enumerate()
            .map(move |(at, event)| (start + at, event))
            .take_while(move |(_, event)| event.time <= to)
            .filter(move |(_, event)| event.class_uid == class_uid)
    }

    pub(crate) fn is_local(&self, ip: &str) -> bool {
        ip.is_empty() || ip.starts_with("127.") || ip == "::1" || ip == "0.0.0.0" || ip == "::"
    }

    /// Whether two addresses belong to one host, or are one.
    pub(crate) fn at_host(&self, ip: &str, host: &str) -> bool {
        self.host_of.get(ip).is_some_and(|owner| owner == host)
    }

    /// An address belongs to a host when the host itself says so in a way no other does: it listens or is connected to there at
    /// the very moment its own log tells of the other end.
    fn learn_addresses(&mut self) {
        let mut votes: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        let mut vote = |ip: &str, host: &str, weight: usize| {
            if !ip.is_empty() && !host.is_empty() && !ip.starts_with("127.") && ip != "0.0.0.0" && !ip.contains(':') {
                *votes.entry(ip.to_owned()).or_default().entry(host.to_owned()).or_default() += weight;
            }
        };
        let names: BTreeSet<&str> = self.host.iter().map(String::as_str).filter(|host| !host.is_empty()).collect();
        // Sign-ins: somebody connected to an address on port 22 just before a host heard from his address.
        let connects: Vec<EventId> = (0..self.events.len())
            .filter(|id| {
                self.events[*id].class_uid == 4001
                    && self.events[*id].activity_id == 1
                    && self.events[*id].get("dst_endpoint.port") == "22"
            })
            .collect();
        let accepted: Vec<EventId> = (0..self.events.len())
            .filter(|id| self.events[*id].class_uid == 3002 && !self.events[*id].get("src_endpoint.ip").is_empty())
            .collect();
        // Which host answers, and which address it hears, again and again after one host's connections to one address: on a busy
        // network others sign in at the same moment, but not each time, and they do it at other times as well.
        type Heard<'h> = (&'h str, &'h str);
        let mut total: BTreeMap<Heard<'_>, usize> = BTreeMap::new();
        for other in &accepted {
            *total.entry((self.host[*other].as_str(), self.events[*other].get("src_endpoint.ip"))).or_default() += 1;
        }
        let mut after: BTreeMap<(&str, &str), BTreeMap<Heard<'_>, usize>> = BTreeMap::new();
        for id in &connects {
            let connect = &self.events[*id];
            let until = connect.time + SignedDuration::from_secs(3);
            let start = accepted.partition_point(|other| self.events[*other].time < connect.time);
            let mut heard: BTreeSet<Heard<'_>> = BTreeSet::new();
            for other in accepted[start..].iter().take_while(|other| self.events[**other].time <= until) {
                let logon = &self.events[*other];
                if self.host[*other] != self.host[*id] && logon.get("service.name").contains("ssh") {
                    heard.insert((self.host[*other].as_str(), logon.get("src_endpoint.ip")));
                }
            }
            let counts = after.entry((self.host[*id].as_str(), connect.get("dst_endpoint.ip"))).or_default();
            heard.into_iter().for_each(|pair| *counts.entry(pair).or_default() += 1);
        }
        for ((from, target), counts) in &after {
            let score = |pair: &Heard<'_>, hits: usize| hits * hits * 1_000_000 / total.get(pair).copied().unwrap_or(1).max(1);
            let best = counts.iter().max_by_key(|(pair, hits)| (score(pair, **hits), std::cmp::Reverse(**pair)));
            if let Some(((host, ip), hits)) = best {
                vote(target, host, *hits);
                vote(ip, from, *hits);
            }
        }
        for (id, event) in self.events.iter().enumerate() {
            // What a host binds to, or is itself the source of by name.
            if event.class_uid == 4001 && event.activity_id == 7 {
                vote(event.get("dst_endpoint.ip"), &self.host[id], 3);
            }
            // Windows and agents name both ends.
            for end in ["src_endpoint", "dst_endpoint"] {
                let (name, ip) = (event.get(&format!("{end}.hostname")), event.get(&format!("{end}.ip")));
                if let Some(host) = names.iter().find(|host| {
                    host.eq_ignore_ascii_case(name)
                        || host.split('.').next().is_some_and(|short| short.eq_ignore_ascii_case(name))
                }) {
                    vote(ip, host, 5);
                }
            }
        }
        for (ip, hosts) in votes {
            let best = hosts.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0))).map(|(host, _)| host.clone());
            if let Some(host) = best {
                self.addresses_of.entry(host.clone()).or_default().insert(ip.clone());
                self.host_of.insert(ip, host);
            }
        }
    }
}

/// Host per event. A log file without host names in it lies in a folder or file that is named after its host more often than not.
fn hosts(events: &[EventRow]) -> Vec<String> {
    let known: BTreeSet<&str> = events.iter().map(|event| event.host.as_str()).filter(|host| !host.is_empty()).collect();
    let mut of_source: HashMap<&str, String> = HashMap::new();
    let host_of = |event: &'_ EventRow| -> String {
        if !event.host.is_empty() {
            return event.host.clone();
        }
        let parts =
            || event.source.split(['/', '\\', '!']).flat_map(|part| [part, part.split(['.', '_']).next().unwrap_or(part)]);
        parts().find(|part| known.contains(part)).unwrap_or_default().to_owned()
    };
    events
        .iter()
        .map(|event| {
            if event.host.is_empty() {
                of_source.entry(event.source.as_str()).or_insert_with(|| host_of(event)).clone()
            } else {
                event.host.clone()
            }
        })
        .collect()
}

#[derive(Default)]
struct Builder {
    /// The latest process of that number on a host.
    by_pid: HashMap<(String, i64), ProcessId>,
    by_uid: HashMap<String, ProcessId>,
}

impl Builder {
    fn run(mut self, world: &mut World) {
        for id in 0..world.events.len() {
            world.actor[id] = if world.events[id].class_uid == 1007 && world.events[id].activity_id == 1 {
                self.launch(world, id)
            } else {
                self.acting(world, id)
            };
        }
        world.of_process = vec![Vec::new(); world.processes.len()];
        world.children = vec![Vec::new(); world.processes.len()];
        for (id, actor) in world.actor.iter().enumerate() {
            if let Some(process) = actor {
                world.of_process[*process].push(id);
            }
        }
        for (id, process) in world.processes.iter().enumerate() {
            if let Some(parent) = process.parent {
                world.children[parent].push(id);
            }
            if !process.session.is_empty() {
                world.of_session.entry((process.host.clone(), process.session.clone())).or_default().push(id);
            }
        }
    }

    fn launch(&mut self, world: &mut World, id: EventId) -> Option<ProcessId> {
        let event = &world.events[id];
        let host = world.host[id].clone();
        let (pid, uid) = (event.number_at("process.pid"), event.get("process.uid").to_owned());
        let (ppid, puid) = (event.number_at("process.parent_process.pid"), event.get("process.parent_process.uid").to_owned());
        let known = if uid.is_empty() {
            pid.and_then(|pid| self.by_pid.get(&(host.clone(), pid)).copied())
        } else {
            self.by_uid.get(&uid).copied()
        };
        // The same number with another parent, or after a long silence, is another process; with the same it is one that
        // replaced its program. A parent that died in between leaves its children to process 1.
        let known = known.filter(|process| {
            let process = &world.processes[*process];
            let same_parent = process.ppid == ppid || process.ppid.is_none() || ppid.is_none() || ppid == Some(1);
            same_parent && event.time.duration_since(process.last) < REUSE
        });
        let parent = if puid.is_empty() {
            ppid.and_then(|ppid| self.by_pid.get(&(host.clone(), ppid)).copied())
        } else {
            self.by_uid.get(&puid).copied()
        };
        let (time, path) = (event.time, event.get("process.file.path").to_owned());
        let base = path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        let name = if base.is_empty() { event.get("process.name").to_owned() } else { base };
        let cmd_line = event.get("process.cmd_line").to_owned();
        let user = [event.get("process.user.name"), event.get("actor.user.name")]
            .into_iter()
            .find(|user| !user.is_empty())
            .unwrap_or_default()
            .to_owned();
        let session = event.get("actor.session.uid").to_owned();
        let parent_facts = (
            event.get("process.parent_process.file.path").to_owned(),
            event.get("process.parent_process.cmd_line").to_owned(),
            event.get("process.parent_process.name").to_owned(),
        );
        let parent = parent.or_else(|| {
            let (path, cmd_line, name) = parent_facts;
            (ppid.is_some() || !puid.is_empty())
                .then(|| self.add(world, Process::unseen(&host, ppid, puid, time, path, cmd_line, name)))
        });
        let process = match known {
            Some(process) => process,
            None => self.add(world, Process::unseen(&host, pid, uid, time, String::new(), String::new(), String::new())),
        };
        let entry = &mut world.processes[process];
        entry.parent = entry.parent.or(parent.filter(|parent| *parent != process));
        entry.ppid = entry.ppid.or(ppid);
        (entry.last, entry.path, entry.name, entry.user) = (time, path, name, user);
        if !cmd_line.is_empty() {
            entry.cmd_line = cmd_line;
        }
        if entry.session.is_empty() {
            entry.session = session;
        }
        entry.launches.push(id);
        Some(process)
    }

    fn acting(&mut self, world: &mut World, id: EventId) -> Option<ProcessId> {
        let event = &world.events[id];
        let host = world.host[id].clone();
        let (pid, uid) = (event.number_at("actor.process.pid"), event.get("actor.process.uid").to_owned());
        let known = if uid.is_empty() {
            pid.and_then(|pid| self.by_pid.get(&(host.clone(), pid)).copied())
        } else {
            self.by_uid.get(&uid).copied()
        };
        let (time, path, session) =
            (event.time, event.get("actor.process.file.path").to_owned(), event.get("actor.session.uid").to_owned());
        let name = event.get("actor.process.name").to_owned();
        let user = event.get("actor.user.name").to_owned();
        let ppid = event.native.get("SYSCALL.ppid").and_then(|ppid| ppid.parse::<i64>().ok());
        // Only what a kernel reports about a process says something of it: a log line's process id alone makes no process.
        if known.is_none() && (host.is_empty() || (pid.is_none() && uid.is_empty())) {
            return None;
        }
        let process = match known {
            Some(process) => process,
            None => {
                let process = self.add(world, Process::unseen(&host, pid, uid, time, path, String::new(), name));
                let parent = ppid.and_then(|ppid| self.by_pid.get(&(host, ppid)).copied());
                let entry = &mut world.processes[process];
                (entry.parent, entry.ppid, entry.user) = (parent, ppid, user);
                process
            }
        };
        let entry = &mut world.processes[process];
        entry.last = time;
        if entry.session.is_empty() {
            entry.session = session;
        }
        Some(process)
    }

    fn add(&mut self, world: &mut World, process: Process) -> ProcessId {
        let id = world.processes.len();
        if let Some(pid) = process.pid {
            self.by_pid.insert((process.host.clone(), pid), id);
        }
        if !process.uid.is_empty() {
            self.by_uid.insert(process.uid.clone(), id);
        }
        world.processes.push(process);
        id
    }
}

impl Process {
    fn unseen(host: &str, pid: Option<i64>, uid: String, at: Timestamp, path: String, cmd_line: String, name: String) -> Self {
        let base = path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        Self {
            host: host.to_owned(),
            pid,
            uid,
            parent: None,
            name: if base.is_empty() { name } else { base },
            path,
            cmd_line,
            user: String::new(),
            session: String::new(),
            first: at,
            last: at,
            launches: Vec::new(),
            ppid: None,
        }
    }
}
