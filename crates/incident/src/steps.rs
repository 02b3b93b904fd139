//! Marked events to ordered steps: what each means, which belong together, what led to what.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use reeve_record::{Certainty, RecordId};

use crate::{
    actions::{self, of_command, of_file},
    model::{
        Action, Actor, Because, Citation, Edge, EventRow, FindingRef, Incident, Link, Order, ProcessNode, Seed, Step, Tactic,
        Technique,
    },
    walk::{Marked, Origin, canonical, windows::carried},
    world::{EventId, ProcessId, World},
};

/// Acts of one kind on one host within this time are one step.
const GAP: SignedDuration = SignedDuration::from_secs(150);
/// Requests of one client within this time are one visit.
const VISIT: SignedDuration = SignedDuration::from_secs(60);
/// So many failed requests in one visit are a search for paths.
const FAILED_REQUESTS: usize = 10;
/// Records listed per step.
const RECORDS_MAX: usize = 60;
/// Processes shown in the tree.
const NODES_MAX: usize = 2000;

struct Group {
    action: Action,
    host: String,
    events: Vec<EventId>,
    until: Timestamp,
}

pub(crate) fn tell(world: &World, marked: &Marked, findings: &[FindingRef], seed: &Seed) -> Incident {
    let judge = Judge::new(world, marked, findings);
    let mut groups: Vec<Group> = Vec::new();
    let mut open: HashMap<(String, &'static str, String), usize> = HashMap::new();
    for (id, origin) in &marked.events {
        let Some(action) = judge.action(*id, *origin) else { continue };
        let (time, host) = (world.events[*id].time, world.host[*id].clone());
        // Looking around is one act, whatever was looked at.
        let kind = if action.tactic == Tactic::Discovery && action != actions::SCAN { "discovery" } else { action.technique };
        // Each account's sign-ins are a story of their own.
        let account =
            if world.events[*id].class_uid == 3002 { world.events[*id].get("user.name").to_owned() } else { String::new() };
        let key = (host.clone(), kind, account);
        match open.get(&key).copied().filter(|at| time.duration_since(groups[*at].until) <= GAP) {
            Some(at) => {
                groups[at].events.push(*id);
                groups[at].until = groups[at].until.max(time);
            }
            None => {
                open.insert(key, groups.len());
                groups.push(Group { action, host, events: vec![*id], until: time });
            }
        }
    }
    let steps: Vec<Step> = groups.iter().enumerate().map(|(index, group)| judge.step(index, group, &groups)).collect();
    Teller { world, marked, steps, groups }.incident(seed)
}

struct Judge<'w> {
    world: &'w World,
    marked: &'w Marked,
    findings: HashMap<RecordId, Vec<&'w FindingRef>>,
    /// Requests that made the server start or write something.
    effective: BTreeSet<EventId>,
    /// Requests of visits that looked for paths.
    scanning: BTreeSet<EventId>,
    seeds: BTreeSet<EventId>,
}

impl<'w> Judge<'w> {
    fn new(world: &'w World, marked: &'w Marked, findings: &'w [FindingRef]) -> Self {
        let mut by_record: HashMap<RecordId, Vec<&FindingRef>> = HashMap::new();
        for finding in findings {
            finding.records.iter().for_each(|record| by_record.entry(*record).or_default().push(finding));
        }
        let origins = marked.events.values().chain(marked.processes.values()).chain(marked.files.values());
        let effective = origins
            .filter(|origin| matches!(origin.link, Link::WebRequest | Link::FileWriteExecute))
            .filter_map(|origin| origin.event)
            .filter(|id| world.events[*id].class_uid == 4002)
            .collect();
        let seeds = marked.events.iter().filter(|(_, origin)| origin.link == Link::Finding).map(|(id, _)| *id).collect();
        Self { world, marked, findings: by_record, effective, scanning: scanning(world, marked), seeds }
    }

    fn findings_of(&self, id: EventId) -> impl Iterator<Item = &'w FindingRef> {
        self.world.events[id].records.iter().filter_map(|record| self.findings.get(record)).flatten().copied()
    }

    /// What the event means: by our table, made more exact by the findings on it; by a finding alone where the table is silent.
    fn action(&self, id: EventId, origin: Origin) -> Option<Action> {
        let own = self.own(id, origin);
        let family = |uid: &str| uid.split('.').next().unwrap_or_default().to_owned();
        let named = self
            .findings_of(id)
            .filter(|finding| finding.severity_id >= 3 || own.is_some())
            .flat_map(|finding| &finding.techniques)
            .filter_map(|uid| actions::by_technique(uid));
        match own {
            Some(own) => Some(
                named
                    .filter(|action| family(action.technique) == family(own.technique))
                    .find(|action| action.technique.contains('.'))
                    .unwrap_or(own),
            ),
            None => named.into_iter().next().or_else(|| self.seeds.contains(&id).then_some(actions::SCRIPT)),
        }
    }

    fn own(&self, id: EventId, origin: Origin) -> Option<Action> {
        let event = &self.world.events[id];
        let failed = event.status_id == Some(2);
        match (event.class_uid, event.activity_id) {
            (1007, 1) if !failed => {
                let path = event.get("process.file.path");
                let name = if path.is_empty() { event.get("process.name") } else { path };
                of_command(name, event.get("process.cmd_line"))
            }
            (1007, 2) => stops_logger(event.get("process.name")).then_some(actions::STOP_LOGGING),
            (1007, 3) => event.get("process.file.path").to_lowercase().ends_with("lsass.exe").then_some(actions::LSASS),
            (1007, 4) => Some(actions::INJECT),
            (1001, activity) if !failed => self.file(event, activity, origin),
            (4002, _) => Some(self.request(id)),
            (3002, 7) => Some(actions::SUDO),
            (3002, activity) => logon(event, activity, origin),
            (4007, _) => (origin.link == Link::SharedAddress).then_some(actions::TRY_LOGON),
            (4001, 1) => self.connection(id),
            (4006, _) => carried(event).map(|_| actions::TRANSFER),
            (3001, 1) => Some(actions::ACCOUNT),
            (3001 | 3006, activity) if activity != 0 => Some(actions::ACCOUNT_CHANGE),
            (1006, 1 | 2 | 4) => Some(actions::TASK),
            (1006, _) => Some(actions::CRON),
            (1008, 1 | 2) => Some(actions::CLEAR_EVENT_LOG),
            (1008, 7 | 10) => Some(actions::STOP_LOGGING),
            (1002, 1) => Some(actions::MODULE),
            (201_002, 2 | 3) => {
                event.get("reg_value.path").to_lowercase().contains("\\currentversion\\run").then_some(actions::RUN_KEY)
            }
            (201_004, 1) => Some(actions::WINDOWS_SERVICE),
            _ => None,
        }
    }

    fn file(&self, event: &EventRow, activity: u32, origin: Origin) -> Option<Action> {
        let path = &*canonical(event.get("file.path"));
        if origin.link == Link::WebRequest && matches!(activity, 1 | 3 | 5) {
            return Some(actions::WEB_SHELL);
        }
        // Session records of the system itself are no doing of the one who signs in.
        let keeper = [
            "sshd",
            "login",
            "sudo",
            "su",
            "useradd",
            "systemd-logind",
            "cron",
            "rsyslogd",
            "systemd-journald",
            "in:imuxsock",
            "rs:main",
        ]
        .iter()
        .any(|name| {
            event.get("actor.process.name").starts_with(name)
                || event.get("actor.process.file.path").rsplit('/').next() == Some(name)
        });
        if keeper {
            return None;
        }
        of_file(path, activity).or_else(|| {
            (activity == 4 && self.marked.files.contains_key(&(event.host.clone(), path.to_owned()))).then_some(actions::DELETE)
        })
    }

    fn request(&self, id: EventId) -> Action {
        let event = &self.world.events[id];
        let path = event.get("http_request.url.path");
        let script = path.rsplit('/').next().filter(|last| last.contains('.'));
        let ours = |name: &str| self.marked.files.keys().any(|(_, path)| path.rsplit('/').next() == Some(name));
        let failed = event.number_at("http_response.code").is_some_and(|code| code >= 400);
        let uploads = event.get("http_request.http_method") == "POST" && self.effective.contains(&id);
        match () {
            () if self.scanning.contains(&id) => actions::SCAN_WEB,
            () if !failed && (script.is_some_and(ours) || (uploads && self.wrote(id))) => actions::WEB_SHELL,
            () if self.effective.contains(&id) => actions::EXPLOIT_WEB,
            () => actions::TRY_WEB,
        }
    }

    fn wrote(&self, id: EventId) -> bool {
        self.marked.events.iter().any(|(other, origin)| origin.event == Some(id) && self.world.events[*other].class_uid == 1001)
    }

    /// A shell that talks to an outside address; other programs' command lines say more than their connections.
    fn connection(&self, id: EventId) -> Option<Action> {
        let event = &self.world.events[id];
        let outside = self.marked.addresses.contains_key(event.get("dst_endpoint.ip"));
        let name = self.world.actor[id].map_or("", |process| self.world.processes[process].name.as_str());
        match name.to_lowercase().as_str() {
            _ if !outside => None,
            "sh" | "bash" | "dash" | "zsh" | "nc" | "ncat" | "socat" => Some(actions::REVERSE_SHELL),
            "powershell.exe" | "pwsh.exe" | "cmd.exe" | "mshta.exe" | "rundll32.exe" | "regsvr32.exe" => Some(actions::TALK),
            _ => None,
        }
    }

    fn step(&self, index: usize, group: &Group, _: &[Group]) -> Step {
        let world = self.world;
        let first = &world.events[group.events[0]];
        let mut records: Vec<RecordId> = Vec::new();
        let mut known = BTreeSet::new();
        for id in &group.events {
            let event = &world.events[*id];
            records.extend(event.records.iter().chain([&event.record]).filter(|record| known.insert(**record)));
        }
        let omitted = records.len().saturating_sub(RECORDS_MAX);
        records.truncate(RECORDS_MAX);
        let mut findings: Vec<String> =
            group.events.iter().flat_map(|id| self.findings_of(*id)).map(|finding| finding.id.clone()).collect();
        findings.sort();
        findings.dedup();
        let action = self.title_action(group);
        Step {
            n: index + 1,
            time: first.time,
            until: group.until,
            time_certainty: group.events.iter().map(|id| world.events[*id].certainty).max().unwrap_or(Certainty::Exact),
            certainty: Order::Certain,
            host: group.host.clone(),
            actor: self.actor(group),
            action: self.claim(group, action),
            tactic: action.tactic.name().to_owned(),
            technique: Technique {
                uid: action.technique.to_owned(),
                name: action.name.to_owned(),
                tactic: action.tactic.name().to_owned(),
            },
            because: Because { kind: Link::Finding, step: None },
            records,
            records_omitted: omitted,
            findings,
        }
    }

    /// Of a group of different looks around, the system at large stands for all.
    fn title_action(&self, group: &Group) -> Action {
        let kinds: BTreeSet<&str> = group
            .events
            .iter()
            .filter_map(|id| self.action(*id, self.marked.events[id]))
            .map(|action| action.technique)
            .collect();
        if kinds.len() > 1 {
            return actions::SYSTEM;
        }
        // What succeeded says more than the tries around it.
        let mut all = group.events.iter().filter_map(|id| self.action(*id, self.marked.events[id]));
        all.find(|action| [actions::EXPLOIT_WEB, actions::EXPLOIT_SERVICE, actions::LOGON_OUTSIDE].contains(action))
            .unwrap_or(group.action)
    }

    fn actor(&self, group: &Group) -> Actor {
        let world = self.world;
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let mut users: BTreeMap<&str, usize> = BTreeMap::new();
        for id in &group.events {
            let event = &world.events[*id];
            let user = match event.class_uid {
                1007 if event.activity_id == 1 => {
                    [event.get("process.user.name"), event.get("actor.user.name"), event.get("process.user.uid")]
                }
                3002 => [event.get("user.name"), "", event.get("user.uid")],
                _ => [
                    event.get("actor.user.name"),
                    world.actor[*id].map_or("", |process| world.processes[process].user.as_str()),
                    event.get("actor.user.uid"),
                ],
            };
            if let Some(user) = user.into_iter().find(|user| !user.is_empty() && *user != "unset") {
                *users.entry(user).or_default() += 1;
            }
        }
        let user = users.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0))).map(|(user, _)| (*user).to_owned());
        let first = group.events[0];
        let event = &world.events[first];
        let process = world.actor[first].map(|process| world.processes[process].name.clone()).filter(|name| !name.is_empty());
        let process = process.or_else(|| some(event.get("actor.process.name"))).or_else(|| some(event.get("src_endpoint.ip")));
        Actor { user, process, session: some(event.get("actor.session.uid")).or_else(|| some(event.get("session.uid"))) }
    }

    /// One sentence: who did what where, with the most telling particulars.
    fn claim(&self, group: &Group, action: Action) -> String {
        let world = self.world;
        let who = match group.events.iter().map(|id| &world.events[*id]).find(|event| matches!(event.class_uid, 4002 | 4007)) {
            Some(event) => event.get("src_endpoint.ip").to_owned(),
            None => self.actor(group).user.unwrap_or_else(|| "someone".into()),
        };
        let mut particulars: Vec<(String, usize)> = Vec::new();
        for id in &group.events {
            let text = particular(&world.events[*id]);
            if text.is_empty() {
                continue;
            }
            match particulars.iter_mut().find(|(known, _)| *known == text) {
                Some((_, count)) => *count += 1,
                None => particulars.push((text, 1)),
            }
        }
        let place = if group.host.is_empty() { String::new() } else { format!(" on {}", group.host) };
        let shown: Vec<String> = particulars
            .iter()
            .take(4)
            .map(|(text, count)| if *count > 2 { format!("{text} ({count} times)") } else { text.clone() })
            .collect();
        let more = particulars.len().saturating_sub(4);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let list = if shown.is_empty() { String::new() } else { format!(": {}{more}", shown.join(", ")) };
        format!("{who} {}{place}{list}", action.verb)
    }
}

/// What stands for an event in a sentence.
fn particular(event: &EventRow) -> String {
    let short = |text: &str| -> String {
        let text: String = text.chars().filter(|sign| !sign.is_control()).collect();
        if text.chars().count() > 110 {
            format!("`{}…`", text.chars().take(109).collect::<String>())
        } else {
            format!("`{text}`")
        }
    };
    match event.class_uid {
        1007 if !event.get("process.cmd_line").is_empty() => short(event.get("process.cmd_line")),
        1007 => short(event.get("process.name")),
        1001 => short(event.get("file.path")),
        1006 => short(event.get("job.cmd_line")),
        4002 => {
            let query = event.get("http_request.url.query_string");
            let sign = if query.is_empty() { "" } else { "?" };
            short(&format!("{} {}{sign}{query}", event.get("http_request.http_method"), event.get("http_request.url.path")))
        }
        3002 => {
            let result = match event.status_id {
                Some(2) => "refused",
                Some(1) if event.activity_id == 1 => "accepted",
                _ => return String::new(),
            };
            let user =
                [event.get("user.name"), event.get("user.uid")].into_iter().find(|user| !user.is_empty()).unwrap_or("someone");
            let from = event.get("src_endpoint.ip");
            if from.is_empty() { String::new() } else { format!("{result} {user} from {from}") }
        }
        4006 => short(&format!("{}\\{}", event.get("share").trim_start_matches(r"\\*\"), event.get("file.path"))),
        4001 => format!("{}:{}", event.get("dst_endpoint.ip"), event.get("dst_endpoint.port")),
        3001 => short(event.get("user.name")),
        3006 => short(&format!("{} in {}", event.get("user.name"), event.get("group.name"))),
        201_004 => short(event.get("win_service.cmd_line")),
        201_002 => short(event.get("reg_value.path")),
        _ => String::new(),
    }
}

/// Whether a logging daemon has that name.
fn stops_logger(name: &str) -> bool {
    ["rsyslogd", "auditd", "systemd-journal", "syslog-ng", "in:imklog", "rs:main"].iter().any(|logger| name.starts_with(logger))
}

fn logon(event: &EventRow, activity: u32, origin: Origin) -> Option<Action> {
    let failed = event.status_id == Some(2);
    // Checks on the way to a sign-in (of the key, of the account) count when they refuse; only the sign-in itself accepts.
    if activity == 2 || (activity != 1 && !failed) || event.get("src_endpoint.ip").is_empty() {
        return None;
    }
    match origin.link {
        _ if !failed && event.status_id != Some(1) => None,
        Link::SharedAddress if failed => Some(actions::TRY_LOGON),
        Link::SharedAddress => Some(actions::LOGON_OUTSIDE),
        _ if failed => Some(actions::GUESS),
        _ if event.get("logon_type").starts_with("Remote Interactive") => Some(actions::RDP),
        _ if event.get("service.name").contains("ssh") || event.get("auth_protocol").contains("key") => Some(actions::SSH),
        _ if event.get("logon_type") == "Network" => Some(actions::SMB),
        _ => Some(actions::SSH),
    }
}

/// Failed requests of visits in which so many failed that they were guesses.
fn scanning(world: &World, marked: &Marked) -> BTreeSet<EventId> {
    let mut found = BTreeSet::new();
    let mut visit: HashMap<&str, (Timestamp, Vec<EventId>)> = HashMap::new();
    let mut close = |failed: Vec<EventId>| {
        if failed.len() >= FAILED_REQUESTS {
            found.extend(failed);
        }
    };
    for id in marked.events.keys().filter(|id| world.events[**id].class_uid == 4002) {
        let event = &world.events[*id];
        let failed = event.number_at("http_response.code").is_some_and(|code| code >= 400);
        let entry = visit.entry(event.get("src_endpoint.ip")).or_insert_with(|| (event.time, Vec::new()));
        if event.time.duration_since(entry.0) > VISIT {
            close(std::mem::take(&mut entry.1));
        }
        entry.0 = event.time;
        if failed {
            entry.1.push(*id);
        }
    }
    let mut rest: Vec<_> = visit.into_values().collect();
    rest.sort();
    rest.into_iter().for_each(|(_, failed)| close(failed));
    found
}

struct Teller<'w> {
    world: &'w World,
    marked: &'w Marked,
    steps: Vec<Step>,
    groups: Vec<Group>,
}

impl Teller<'_> {
    fn incident(mut self, seed: &Seed) -> Incident {
        let step_of: HashMap<EventId, usize> =
            self.groups.iter().enumerate().flat_map(|(index, group)| group.events.iter().map(move |id| (*id, index))).collect();
        let mut first_of: HashMap<ProcessId, usize> = HashMap::new();
        for (index, group) in self.groups.iter().enumerate() {
            group.events.iter().filter_map(|id| self.world.actor[*id]).for_each(|process| {
                first_of.entry(process).or_insert(index);
            });
        }
        for index in 0..self.steps.len() {
            self.steps[index].because = self.because(index, &step_of, &first_of);
            self.steps[index].certainty =
                if index == 0 { Order::Certain } else { order(&self.steps[index - 1], &self.steps[index]) };
        }
        let edges = self.edges();
        let world = self.world;
        let cited: BTreeSet<RecordId> = self.steps.iter().flat_map(|step| step.records.iter().copied()).collect();
        let mut citations = BTreeMap::new();
        for event in &world.events {
            for record in event.records.iter().chain([&event.record]).filter(|record| cited.contains(record)) {
                let number = if *record == event.record { event.number } else { None };
                let entry =
                    citations.entry(record.to_string()).or_insert_with(|| Citation { source: event.source.clone(), number });
                entry.number = entry.number.or(number);
            }
        }
        let unique = |texts: Vec<String>| {
            let mut seen = BTreeSet::new();
            texts.into_iter().filter(|text| !text.is_empty() && seen.insert(text.clone())).collect::<Vec<_>>()
        };
        let mut techniques: Vec<Technique> = Vec::new();
        for step in &self.steps {
            if !techniques.contains(&step.technique) {
                techniques.push(step.technique.clone());
            }
        }
        let notes = world.notes.iter().chain(&self.marked.notes).cloned().collect();
        Incident {
            id: String::new(),
            title: title(&self.steps),
            seed: seed.clone(),
            from: self.steps.first().map_or(Timestamp::UNIX_EPOCH, |step| step.time),
            to: self.steps.iter().map(|step| step.until).max().unwrap_or(Timestamp::UNIX_EPOCH),
            hosts: unique(self.steps.iter().map(|step| step.host.clone()).collect()),
            users: unique(self.steps.iter().filter_map(|step| step.actor.user.clone()).collect()),
            addresses: self.marked.addresses.keys().cloned().collect(),
            techniques,
            edges,
            process_tree: self.tree(&first_of),
            citations,
            notes,
            steps: self.steps,
        }
    }

    /// Why a step belongs, and to which step it is tied: the origin of its first event, followed until it lies in another step.
    fn because(&self, index: usize, step_of: &HashMap<EventId, usize>, first_of: &HashMap<ProcessId, usize>) -> Because {
        let Some(first) = self.groups[index].events.first() else { return Because { kind: Link::Finding, step: None } };
        let mut origin = self.marked.events[first];
        let kind = origin.link;
        for _ in 0..64 {
            let by_event = origin.event.and_then(|id| step_of.get(&id)).copied();
            let by_process = origin.process.and_then(|process| first_of.get(&process)).copied();
            if let Some(step) = by_event.into_iter().chain(by_process).find(|step| *step != index) {
                return Because { kind, step: Some(step + 1) };
            }
            let next = origin
                .process
                .and_then(|process| self.marked.processes.get(&process))
                .or_else(|| origin.event.and_then(|id| self.marked.events.get(&id)));
            match next.filter(|next| **next != origin) {
                Some(next) => origin = *next,
                None => break,
            }
        }
        Because { kind, step: None }
    }

    fn edges(&self) -> Vec<Edge> {
        let mut edges: Vec<Edge> = Vec::new();
        for step in &self.steps {
            if let Some(other) = step.because.step {
                let edge = Edge { from: other.min(step.n), to: other.max(step.n), kind: step.because.kind };
                if !edges.contains(&edge) {
                    edges.push(edge);
                }
            }
        }
        edges.sort_by_key(|edge| (edge.from, edge.to, edge.kind));
        edges
    }

    /// The marked processes that act in a step or lead to one that does.
    fn tree(&self, first_of: &HashMap<ProcessId, usize>) -> Vec<ProcessNode> {
        let world = self.world;
        let mut shown: BTreeSet<ProcessId> = BTreeSet::new();
        for process in self.marked.processes.keys().filter(|process| first_of.contains_key(process)) {
            let mut here = Some(*process);
            while let Some(id) = here.filter(|id| self.marked.processes.contains_key(id) && shown.insert(*id)) {
                here = world.processes[id].parent;
            }
            if shown.len() >= NODES_MAX {
                break;
            }
        }
        let roots =
            shown.iter().filter(|process| world.processes[**process].parent.is_none_or(|parent| !shown.contains(&parent)));
        roots.map(|process| self.node(*process, &shown, first_of, 0)).collect()
    }

    fn node(
        &self,
        id: ProcessId,
        shown: &BTreeSet<ProcessId>,
        first_of: &HashMap<ProcessId, usize>,
        depth: usize,
    ) -> ProcessNode {
        let process = &self.world.processes[id];
        let children = self.world.children[id].iter().filter(|child| depth < 64 && shown.contains(child));
        ProcessNode {
            id: if process.uid.is_empty() {
                format!("{}:{}", process.host, process.pid.unwrap_or(0))
            } else {
                process.uid.clone()
            },
            host: process.host.clone(),
            pid: process.pid,
            name: process.name.clone(),
            cmd_line: process.cmd_line.chars().take(400).collect(),
            user: process.user.clone(),
            at: process.first,
            step: first_of.get(&id).map(|step| step + 1),
            records: process.launches.iter().take(4).map(|launch| self.world.events[*launch].record).collect(),
            children: children.map(|child| self.node(*child, shown, first_of, depth + 1)).collect(),
        }
    }
}

fn order(before: &Step, after: &Step) -> Order {
    let (a, b) = (before.time_certainty, after.time_certainty);
    if a == Certainty::Received || b == Certainty::Received {
        return Order::Unknown;
    }
    let apart = after.time.duration_since(before.time) > SignedDuration::from_secs(2);
    if a == Certainty::Exact && b == Certainty::Exact && (apart || before.host == after.host) {
        Order::Certain
    } else {
        Order::Likely
    }
}

fn title(steps: &[Step]) -> String {
    let Some(first) = steps.iter().find(|step| step.tactic != Tactic::Reconnaissance.name()).or(steps.first()) else {
        return "Nothing found".into();
    };
    let weight = |step: &&Step| match step.tactic.as_str() {
        "Exfiltration" => 6,
        "Impact" => 5,
        "Collection" => 4,
        "Lateral Movement" => 3,
        "Persistence" => 2,
        _ => 1,
    };
    let worst = steps.iter().max_by(|a, b| weight(a).cmp(&weight(b)).then(b.n.cmp(&a.n))).unwrap_or(first);
    let lower = |text: &str| text.to_lowercase();
    if worst.n == first.n {
        return format!("{} on {}", first.tactic, first.host);
    }
    format!("{} on {} led to {} on {}", first.tactic, first.host, lower(&worst.tactic), worst.host)
}
