//! From the seed up to where it came from and down to what followed, over links that each say why.

pub(crate) mod windows;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use jiff::SignedDuration;

use crate::{
    actions::is_shell,
    model::{EventRow, Link, Options},
    world::{EventId, ProcessId, World},
};

/// How an event or a process came to belong to the incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) link: Link,
    /// The event that led here, if it is one.
    pub(crate) event: Option<EventId>,
    /// The process that led here, if it is one.
    pub(crate) process: Option<ProcessId>,
}

/// Everything that belongs to the incident.
#[derive(Debug, Default)]
pub(crate) struct Marked {
    pub(crate) events: BTreeMap<EventId, Origin>,
    pub(crate) processes: BTreeMap<ProcessId, Origin>,
    pub(crate) addresses: BTreeMap<String, Origin>,
    pub(crate) files: HashMap<(String, String), Origin>,
    pub(crate) notes: Vec<String>,
}

pub(crate) struct Walk<'w> {
    world: &'w World,
    options: &'w Options,
    marked: Marked,
    sessions: BTreeSet<(String, String)>,
    queue: VecDeque<Todo>,
    /// Sign-ins that a connection has already explained, and which.
    explained: BTreeMap<EventId, EventId>,
}

enum Todo {
    Process(ProcessId),
    Up(ProcessId),
    Session(String, String, Origin),
    Address(String),
    File(String, String),
}

/// A connection is answered, a request served, within this time.
const PROMPT: SignedDuration = SignedDuration::from_secs(3);
/// A sign-in may wait for a password or a slow handshake.
const SIGN_IN: SignedDuration = SignedDuration::from_secs(15);

/// Programs that serve others: what started them is not what they did for this caller.
const SERVERS: &[&str] = &[
    "systemd",
    "init",
    "sshd",
    "sshd-session",
    "cron",
    "crond",
    "atd",
    "nginx",
    "apache2",
    "httpd",
    "lighttpd",
    "php-fpm",
    "caddy",
    "tomcat",
    "java",
    "node",
    "gunicorn",
    "uwsgi",
    "postgres",
    "mysqld",
    "mariadbd",
    "redis-server",
    "dockerd",
    "containerd",
    "containerd-shim",
    "runc",
    "login",
    "gdm",
    "services.exe",
    "svchost.exe",
    "explorer.exe",
    "wininit.exe",
    "winlogon.exe",
    "w3wp.exe",
    "wmiprvse.exe",
    "taskeng.exe",
    "userinit.exe",
    "lsass.exe",
    "smss.exe",
    "System",
];

impl<'w> Walk<'w> {
    pub(crate) fn new(world: &'w World, options: &'w Options) -> Self {
        Self {
            world,
            options,
            marked: Marked::default(),
            sessions: BTreeSet::new(),
            queue: VecDeque::new(),
            explained: BTreeMap::new(),
        }
    }

    pub(crate) fn from(mut self, seeds: &[EventId]) -> Marked {
        for seed in seeds {
            let origin = Origin { link: Link::Finding, event: None, process: None };
            self.event(*seed, origin);
            let event = &self.world.events[*seed];
            let because = Origin { link: Link::Finding, event: Some(*seed), process: None };
            match self.world.actor[*seed] {
                Some(process) if !self.is_server(process) => {
                    self.process(process, Origin { link: Link::ProcessLineage, ..because });
                    self.queue.push_back(Todo::Up(process));
                }
                _ => self.client_of(event, *seed, because),
            }
            if event.class_uid == 3002 && !event.get("session.uid").is_empty() {
                self.queue.push_back(Todo::Session(self.world.host[*seed].clone(), event.get("session.uid").to_owned(), because));
            }
        }
        while let Some(todo) = self.queue.pop_front() {
            match todo {
                Todo::Process(process) => self.down(process),
                Todo::Up(process) => self.up(process),
                Todo::Session(host, session, origin) => self.session(host, session, origin),
                Todo::Address(ip) => self.address(&ip),
                Todo::File(host, path) => self.file(&host, &path),
            }
            if self.marked.processes.len() > self.options.processes_max {
                self.marked
                    .notes
                    .push(format!("more than {} processes belong to this; the walk stopped there", self.options.processes_max));
                break;
            }
        }
        self.marked
    }

    fn event(&mut self, event: EventId, origin: Origin) -> bool {
        let new = !self.marked.events.contains_key(&event);
        if new {
            self.marked.events.insert(event, origin);
        }
        new
    }

    fn process(&mut self, process: ProcessId, origin: Origin) {
        if self.is_server(process) || self.marked.processes.contains_key(&process) {
            return;
        }
        self.marked.processes.insert(process, origin);
        self.queue.push_back(Todo::Process(process));
    }

    /// Where the request or the sign-in of a seed came from.
    fn client_of(&mut self, event: &EventRow, id: EventId, origin: Origin) {
        let ip = event.get("src_endpoint.ip");
        if matches!(event.class_uid, 4002 | 3002 | 4007) && !self.world.host_of.contains_key(ip) {
            self.outside(ip, Origin { event: Some(id), ..origin });
        }
    }

    fn outside(&mut self, ip: &str, origin: Origin) {
        if self.world.is_local(ip) || self.world.host_of.contains_key(ip) || self.marked.addresses.contains_key(ip) {
            return;
        }
        self.marked.addresses.insert(ip.to_owned(), origin);
        self.queue.push_back(Todo::Address(ip.to_owned()));
    }

    /// Whether a process serves many callers, so that nothing follows from having been started by it.
    fn is_server(&self, process: ProcessId) -> bool {
        let entry = &self.world.processes[process];
        if entry.pid == Some(1) || SERVERS.iter().any(|name| entry.name.eq_ignore_ascii_case(name)) {
            return true;
        }
        // A long-lived program outside any session whose start was not seen, or which process 1 started, is a service.
        let orphan = entry
            .parent
            .is_none_or(|parent| self.world.processes[parent].pid == Some(1) || self.world.processes[parent].launches.is_empty());
        let long = entry.last.duration_since(entry.first) > SignedDuration::from_secs(60);
        orphan
            && entry.session.is_empty()
            && !is_shell(&entry.name)
            && (long || entry.launches.is_empty())
            && self.world.children[process].len() > 1
    }

    // ---- down: what a process did

    fn down(&mut self, process: ProcessId) {
        let world = self.world;
        let lineage = Origin { link: Link::ProcessLineage, event: None, process: Some(process) };
        for child in &world.children[process] {
            self.process(*child, lineage);
        }
        let own = self.marked.processes.get(&process).copied().unwrap_or(lineage);
        for id in &world.of_process[process] {
            self.event(*id, own);
            self.consequences(*id, process);
        }
    }

    fn consequences(&mut self, id: EventId, process: ProcessId) {
        let world = self.world;
        let event = &world.events[id];
        let host = world.host[id].clone();
        let origin = Origin { link: Link::ProcessLineage, event: Some(id), process: Some(process) };
        match (event.class_uid, event.activity_id) {
            (1001, 1 | 3 | 5) if event.status_id != Some(2) => {
                for path in [event.get("file.path"), event.get("file_result.path")] {
                    self.wrote(&host, path, Origin { link: Link::FileWriteExecute, ..origin });
                }
            }
            (4001, 1) if event.get("connection_info.direction") != "Inbound" => {
                let (ip, port) = (event.get("dst_endpoint.ip"), event.get("dst_endpoint.port"));
                if world.is_local(ip) || port == "53" {
                    return;
                }
                match world.host_of.get(ip).cloned() {
                    Some(target) => self.remote(id, &host, &target),
                    None if is_private(ip) => {}
                    None => self.outside(ip, Origin { link: Link::SharedAddress, ..origin }),
                }
            }
            (1007, 1) => self.spoken(id, &host),
            (3001, 1) => {
                let user = event.get("user.name").to_owned();
                self.account(&host, &user, id);
            }
            _ => {}
        }
    }

    /// Consequences that only the command line tells: a sign-in elsewhere where connections are not recorded.
    fn spoken(&mut self, id: EventId, host: &str) {
        let world = self.world;
        let event = &world.events[id];
        let cmd = event.get("process.cmd_line");
        let name = event.get("process.file.path").rsplit(['/', '\\']).next().unwrap_or_default();
        if matches!(name, "ssh" | "scp" | "sftp" | "plink.exe") {
            let targets: BTreeSet<String> = cmd
                .split_whitespace()
                .filter_map(|word| {
                    let place = word.rsplit('@').next().unwrap_or(word).split(':').next().unwrap_or(word);
                    world
                        .host_of
                        .get(place)
                        .cloned()
                        .or_else(|| world.host.iter().any(|known| known == place).then(|| place.to_owned()))
                })
                .collect();
            for target in targets.into_iter().filter(|target| target != host) {
                self.remote(id, host, &target);
            }
        }
        if name.eq_ignore_ascii_case("wevtutil.exe") {
            let at = event.time;
            let cleared = world.between(1008, at, at + PROMPT).filter(|(other, _)| world.host[*other] == host);
            for (other, _) in cleared {
                self.event(other, Origin { link: Link::ProcessLineage, event: Some(id), process: world.actor[id] });
            }
        }
        if matches!(name, "useradd" | "adduser")
            && let Some(user) = cmd.split_whitespace().last()
        {
            self.account(host, user, id);
        }
    }

    /// Sign-ins on `target` from `host` right after the connection.
    fn remote(&mut self, id: EventId, host: &str, target: &str) {
        let world = self.world;
        let at = world.events[id].time;
        let origin = Origin { link: Link::RemoteLogon, event: Some(id), process: world.actor[id] };
        let mut accepted = false;
        let fits: Vec<(EventId, &EventRow)> = world
            .between(3002, at - SignedDuration::from_millis(500), at + SIGN_IN)
            .filter(|(other, event)| world.host[*other] == target && world.at_host(event.get("src_endpoint.ip"), host))
            .collect();
        // One connection, one server process: the one known to have answered, else the first that no other connection explains.
        let known = fits.iter().find(|(other, _)| self.explained.get(other) == Some(&id));
        let Some(first) = known.or_else(|| fits.iter().find(|(other, _)| !self.explained.contains_key(other))) else { return };
        let (server, answered) = (first.1.get("actor.process.pid").to_owned(), first.1.time);
        let user = first.1.get("user.name").to_owned();
        for (other, event) in fits {
            let same = (!server.is_empty() && event.get("actor.process.pid") == server)
                || (event.time.duration_since(answered) <= PROMPT && event.get("user.name") == user);
            if !same || self.explained.contains_key(&other) {
                continue;
            }
            self.explained.insert(other, id);
            self.event(other, origin);
            accepted |= event.status_id == Some(1);
            self.open_session(other, origin);
        }
        if accepted && let Ok(pid) = server.parse::<i64>() {
            self.session_by_pid(target, pid, answered, origin);
        }
    }

    /// The session an audit record of a sign-in names.
    fn open_session(&mut self, id: EventId, origin: Origin) {
        let event = &self.world.events[id];
        let session = [event.get("session.uid"), event.get("actor.session.uid")]
            .into_iter()
            .find(|session| !session.is_empty())
            .unwrap_or_default();
        if !session.is_empty() && event.status_id != Some(2) {
            self.queue.push_back(Todo::Session(
                self.world.host[id].clone(),
                session.to_owned(),
                Origin { event: Some(id), ..origin },
            ));
        }
    }

    /// The session of the server process that answered, however its records are told.
    fn session_by_pid(&mut self, host: &str, pid: i64, at: jiff::Timestamp, origin: Origin) {
        let world = self.world;
        let text = pid.to_string();
        let near: Vec<EventId> = world
            .between(3002, at - PROMPT, at + SIGN_IN)
            .filter(|(other, event)| world.host[*other] == host && event.get("actor.process.pid") == text)
            .map(|(other, _)| other)
            .collect();
        for other in near {
            self.event(other, origin);
            self.open_session(other, origin);
        }
        let mut servers: Vec<ProcessId> = (0..world.processes.len())
            .filter(|process| {
                world.processes[*process].host == host
                    && world.processes[*process].pid == Some(pid)
                    && world.processes[*process].last >= at - PROMPT
            })
            .collect();
        while let Some(server) = servers.pop() {
            for child in &world.children[server] {
                if world.processes[*child].first < at - PROMPT {
                    continue;
                }
                if self.is_server(*child) {
                    servers.push(*child)
                } else {
                    self.process(*child, Origin { link: Link::LogonSession, ..origin })
                }
            }
        }
    }

    fn session(&mut self, host: String, session: String, origin: Origin) {
        if session.is_empty() || windows::is_system(&session) || !self.sessions.insert((host.clone(), session.clone())) {
            return;
        }
        let world = self.world;
        let logons: Vec<EventId> = (0..world.events.len())
            .filter(|id| {
                world.events[*id].class_uid == 3002 && world.host[*id] == host && world.events[*id].get("session.uid") == session
            })
            .collect();
        if !logons.is_empty() && logons.iter().all(|id| windows::at_the_machine(&world.events[*id])) {
            return;
        }
        let origin = Origin { link: Link::LogonSession, ..origin };
        self.acts_of(&host, &session, origin);
        for process in world.of_session.get(&(host.clone(), session.clone())).into_iter().flatten() {
            self.process(*process, origin);
            // A server process in a session belongs to it, though not to what it serves elsewhere.
            for id in &world.of_process[*process] {
                let event = &world.events[*id];
                if event.get("actor.session.uid") == session && matches!(event.class_uid, 3002 | 1001 | 3001 | 3006 | 1007) {
                    self.event(*id, origin);
                }
            }
        }
        for id in logons {
            self.event(id, origin);
            let event = &world.events[id];
            let ip = event.get("src_endpoint.ip").to_owned();
            match world.host_of.get(&ip).cloned() {
                Some(from) if from != host => self.backwards(id, &from),
                // An inner address without a name is some colleague's machine as well: nothing follows from sharing it.
                None if is_private(&ip) => {}
                None => self.outside(&ip, Origin { event: Some(id), ..origin }),
                Some(_) => {}
            }
        }
    }

    /// The process on `from` whose connection became this sign-in.
    fn backwards(&mut self, logon: EventId, from: &str) {
        let world = self.world;
        let event = &world.events[logon];
        let target = &world.host[logon];
        let earliest = event.time - SIGN_IN;
        let connects = world.between(4001, earliest, event.time + SignedDuration::from_millis(500)).filter(|(id, other)| {
            world.host[*id] == from
                && other.activity_id == 1
                && world.at_host(other.get("dst_endpoint.ip"), target)
                && matches!(other.get("dst_endpoint.port"), "22" | "3389" | "135" | "139" | "445" | "5985" | "5986")
        });
        let Some((id, _)) = connects.last() else { return };
        if let Some(process) = world.actor[id] {
            let origin = Origin { link: Link::RemoteLogon, event: Some(logon), process: None };
            self.explained.insert(logon, id);
            self.process(process, origin);
            self.queue.push_back(Todo::Up(process));
        }
    }

    fn wrote(&mut self, host: &str, path: &str, origin: Origin) {
        let path = &canonical(path);
        let shared = path.is_empty()
            || (path.starts_with("/dev/") && !path.starts_with("/dev/shm/"))
            || ["/proc/", "/sys/", "/run/", "/var/log/", "/var/lib/"].iter().any(|folder| path.starts_with(folder))
            || path.starts_with("/etc/")
                && ["passwd", "shadow", "group", "gshadow", "subuid", "subgid", ".lock", "-", "hosts"]
                    .iter()
                    .any(|end| path.ends_with(end));
        let key = (host.to_owned(), path.to_owned());
        if !shared && !self.marked.files.contains_key(&key) {
            self.marked.files.insert(key, origin);
            self.queue.push_back(Todo::File(host.to_owned(), path.to_owned()));
        }
    }

    /// Who runs a file that the incident wrote.
    fn file(&mut self, host: &str, path: &str) {
        let world = self.world;
        let Some(origin) = self.marked.files.get(&(host.to_owned(), path.to_owned())).copied() else { return };
        let written = origin.event.map(|id| world.events[id].time);
        for (id, event) in world.events.iter().enumerate() {
            if event.class_uid != 1007
                || event.activity_id != 1
                || world.host[id] != host
                || written.is_some_and(|at| event.time < at)
            {
                continue;
            }
            if runs(event, path)
                && let Some(process) = world.actor[id]
            {
                self.process(process, Origin { link: Link::FileWriteExecute, ..origin });
            }
        }
        self.set_up_for(host, path, written, origin);
    }

    fn account(&mut self, host: &str, user: &str, id: EventId) {
        if user.is_empty() || user.starts_with('-') {
            return;
        }
        let world = self.world;
        let origin = Origin { link: Link::AccountUse, event: Some(id), process: world.actor[id] };
        let logons: Vec<EventId> = (id..world.events.len())
            .filter(|other| {
                world.events[*other].class_uid == 3002
                    && world.events[*other].get("user.name") == user
                    && world.host[*other] == host
            })
            .collect();
        for other in logons {
            if self.event(other, origin) {
                self.open_session(other, origin);
            }
        }
    }

    /// Everything an outside address of the incident did or was used for.
    fn address(&mut self, ip: &str) {
        let world = self.world;
        let because = self.marked.addresses.get(ip).copied();
        for (id, event) in world.events.iter().enumerate() {
            let origin = Origin { link: Link::SharedAddress, event: because.and_then(|origin| origin.event), process: None };
            match event.class_uid {
                4002 if event.get("src_endpoint.ip") == ip => {
                    self.event(id, Origin { link: Link::WebRequest, ..origin });
                    self.served(id);
                }
                3002 | 4007 if event.get("src_endpoint.ip") == ip => {
                    self.event(id, origin);
                    self.open_session(id, origin);
                    if event.status_id == Some(1)
                        && let Some(pid) = event.number_at("actor.process.pid")
                    {
                        self.session_by_pid(&world.host[id].clone(), pid, event.time, origin);
                    }
                }
                4001 if event.get("dst_endpoint.ip") == ip && event.activity_id == 1 => {
                    if let Some(process) = world.actor[id] {
                        self.process(process, Origin { event: Some(id), ..origin });
                    }
                }
                1007 if event.activity_id == 1 && has_word(event.get("process.cmd_line"), ip) => {
                    if let Some(process) = world.actor[id] {
                        self.process(process, Origin { event: Some(id), ..origin });
                    }
                }
                1006 if has_word(event.get("job.cmd_line"), ip) => {
                    self.event(id, origin);
                }
                _ => {}
            }
        }
    }

    /// What the web server started or wrote for a request.
    fn served(&mut self, id: EventId) {
        let world = self.world;
        let request = &world.events[id];
        let host = world.host[id].clone();
        let asked = Asked::of(request);
        let origin = Origin { link: Link::WebRequest, event: Some(id), process: None };
        let (from, to) = (request.time - PROMPT, request.time + PROMPT);
        let started: Vec<EventId> = world
            .between(1007, from, to)
            .filter(|(other, event)| {
                world.host[*other] == host && event.activity_id == 1 && asked.fits(event.get("process.cmd_line"))
            })
            .map(|(other, _)| other)
            .collect();
        for other in started {
            let Some(process) = world.actor[other] else { continue };
            if world.processes[process].parent.is_none_or(|parent| self.is_server(parent))
                || is_shell(&world.processes[process].name)
            {
                self.process(process, origin);
            }
        }
        let wrote: Vec<EventId> = world
            .between(1001, from, to)
            .filter(|(other, event)| {
                world.host[*other] == host && matches!(event.activity_id, 1 | 3 | 5 | 6) && asked.names(event.get("file.path"))
            })
            .map(|(other, _)| other)
            .collect();
        for other in wrote {
            self.event(other, origin);
            let path = world.events[other].get("file.path").to_owned();
            self.wrote(&host, &path, Origin { link: Link::FileWriteExecute, event: Some(other), process: None });
        }
    }

    // ---- up: where a process came from

    fn up(&mut self, process: ProcessId) {
        let world = self.world;
        let mut here = process;
        let mut seen = BTreeSet::new();
        while seen.insert(here) {
            self.written_by(here);
            self.ordered(here);
            let entry = &world.processes[here];
            if !entry.session.is_empty() {
                let origin = Origin { link: Link::LogonSession, event: None, process: Some(here) };
                self.queue.push_back(Todo::Session(entry.host.clone(), entry.session.clone(), origin));
            }
            match entry.parent {
                Some(parent) if !self.is_server(parent) => {
                    self.process(parent, Origin { link: Link::ProcessLineage, event: None, process: Some(here) });
                    here = parent;
                }
                _ => break,
            }
        }
        self.requested(here);
    }

    /// Who wrote the file that a process runs.
    fn written_by(&mut self, process: ProcessId) {
        let world = self.world;
        let entry = &world.processes[process];
        let Some(launch) = entry.launches.first().map(|id| &world.events[*id]) else { return };
        let writers: Vec<EventId> = world
            .events
            .iter()
            .enumerate()
            .take_while(|(_, event)| event.time <= launch.time)
            .filter(|(id, event)| {
                event.class_uid == 1001
                    && matches!(event.activity_id, 1 | 3 | 5)
                    && world.host[*id] == entry.host
                    && runs(launch, event.get("file.path"))
            })
            .map(|(id, _)| id)
            .collect();
        let Some(id) = writers.last().copied() else { return };
        let origin = Origin { link: Link::FileWriteExecute, event: launchid(entry), process: Some(process) };
        self.event(id, origin);
        match world.actor[id] {
            Some(writer)
                if !self.is_server(writer)
                    && !matches!(world.processes[writer].name.as_str(), "dpkg" | "rpm" | "apt" | "apt-get" | "yum" | "dnf") =>
            {
                self.process(writer, origin);
                self.queue.push_back(Todo::Up(writer));
            }
            // A server wrote it: for whoever asked for that file at that moment.
            Some(_) => {
                let (at, path) = (world.events[id].time, world.events[id].get("file.path"));
                let requests: Vec<EventId> = world
                    .between(4002, at - PROMPT, at + PROMPT)
                    .filter(|(other, event)| world.host[*other] == entry.host && Asked::of(event).names(path))
                    .map(|(other, _)| other)
                    .collect();
                for other in requests {
                    self.outside(
                        world.events[other].get("src_endpoint.ip"),
                        Origin { link: Link::WebRequest, event: Some(other), process: None },
                    );
                }
            }
            None => {}
        }
    }

    /// The web request that made a server start this process.
    fn requested(&mut self, process: ProcessId) {
        let world = self.world;
        let entry = &world.processes[process];
        let Some(launch) = entry.launches.first() else { return };
        let event = &world.events[*launch];
        let best = world
            .between(4002, event.time - PROMPT, event.time + PROMPT)
            .filter(|(id, request)| world.host[*id] == entry.host && Asked::of(request).fits(event.get("process.cmd_line")))
            .min_by_key(|(id, request)| (request.time.duration_since(event.time).abs(), *id));
        if let Some((id, request)) = best {
            let origin = Origin { link: Link::WebRequest, event: Some(*launch), process: Some(process) };
            self.event(id, origin);
            self.outside(request.get("src_endpoint.ip"), Origin { event: Some(id), ..origin });
        }
    }
}

fn launchid(process: &crate::world::Process) -> Option<EventId> {
    process.launches.first().copied()
}

/// A path under the one name that all events of it can be compared by: without `.`, `..` and doubled separators; on Windows in small
/// letters, without the kernel's prefix, its system folder as `%systemroot%`.
pub(crate) fn canonical(path: &str) -> String {
    if path.contains('\\') {
        let small = path.to_lowercase();
        let bare = [r"\??\", r"\\?\", r"\\.\"].iter().find_map(|prefix| small.strip_prefix(prefix)).unwrap_or(&small);
        let drive = bare.get(1..).and_then(|rest| rest.strip_prefix(r":\windows\"));
        let inside = drive.or_else(|| [r"%windir%\", r"\systemroot\"].iter().find_map(|prefix| bare.strip_prefix(prefix)));
        return inside.map_or_else(|| bare.to_owned(), |inside| format!(r"%systemroot%\{inside}"));
    }
    if !path.contains("/.") && !path.contains("//") {
        return path.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("{}{}", if path.starts_with('/') { "/" } else { "" }, parts.join("/"))
}

fn is_private(ip: &str) -> bool {
    match ip.parse() {
        Ok(std::net::IpAddr::V4(ip)) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        Ok(std::net::IpAddr::V6(ip)) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
        Err(_) => false,
    }
}

/// What a web request asks for, decoded.
struct Asked {
    values: Vec<String>,
    path: String,
    all: String,
}

impl Asked {
    fn of(request: &EventRow) -> Self {
        let query = request.get("http_request.url.query_string");
        let values = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(_, value)| unescape(value))
            .filter(|value| telling(value))
            .collect();
        let path = unescape(request.get("http_request.url.path"));
        let all = format!("{path}?{}", unescape(query));
        Self { values, path, all }
    }

    /// Whether a command line carries a telling value of the request, or runs the script it names.
    fn fits(&self, cmd_line: &str) -> bool {
        let script = self.path.rsplit('/').next().filter(|last| last.contains('.') && last.len() > 3);
        self.values.iter().any(|value| cmd_line.contains(value.as_str()))
            || script.is_some_and(|script| cmd_line.contains(&format!("/{script}")))
    }

    /// Whether the request names this file.
    fn names(&self, path: &str) -> bool {
        let base = path.rsplit('/').next().unwrap_or_default();
        base.len() > 3 && base.contains('.') && self.all.contains(base)
    }
}

/// A value that would hardly stand in a command line by chance.
fn telling(value: &str) -> bool {
    value.len() >= 8 || (value.len() >= 4 && value.contains([';', '|', '&', '`', '$', ' ', '/', '<', '>']))
}

fn unescape(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or(0) as u8;
                bytes.push(digit(*high) * 16 + digit(*low));
                rest = after;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether a start runs that file: as its program, or as the script of an interpreter.
fn runs(launch: &EventRow, path: &str) -> bool {
    if path.len() < 4 {
        return false;
    }
    let (program, cmd_line) = (launch.get("process.file.path"), launch.get("process.cmd_line"));
    if program.contains('\\') && path.contains('\\') {
        return runs_on_windows(program, cmd_line, &canonical(path));
    }
    if program == path || cmd_line.split_whitespace().next() == Some(path) {
        return true;
    }
    interprets(program.rsplit('/').next().unwrap_or_default()) && has_word(cmd_line, path)
}

/// The same for a canonical path on Windows, where a program is named by itself, by its interpreter, or with its system folder spelled out.
fn runs_on_windows(program: &str, cmd_line: &str, path: &str) -> bool {
    let program = canonical(program);
    let named = || path.strip_prefix("%systemroot%").map_or_else(|| path.to_owned(), |rest| format!(r"\windows{rest}"));
    program == path
        || (interprets(program.rsplit('\\').next().unwrap_or_default()) && has_word(&cmd_line.to_lowercase(), &named()))
}

/// Whether a program runs the files it is given.
fn interprets(name: &str) -> bool {
    is_shell(name.trim_end_matches(".exe"))
        || ["python", "perl", "ruby", "php", "node", "wscript", "cscript", "mshta", "rundll32", "regsvr32"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Whether `word` stands in `text` with no letter or digit of a longer name around it.
fn has_word(text: &str, word: &str) -> bool {
    let part = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'.');
    text.match_indices(word).any(|(at, _)| {
        let bytes = text.as_bytes();
        !part(at.checked_sub(1).and_then(|before| bytes.get(before)))
            && !bytes.get(at + word.len()).is_some_and(u8::is_ascii_alphanumeric)
    })
}
