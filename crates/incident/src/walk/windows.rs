//! How one machine makes another run something on Windows: a share that carries the program there, a service or a task that starts it.

use jiff::Timestamp;

use super::{Origin, SIGN_IN, Todo, Walk, canonical, runs};
use crate::{
    model::{EventRow, Link},
    world::{EventId, ProcessId},
};

/// Sessions of the system itself: everybody's services run in them.
const SYSTEM_SESSIONS: &[&str] = &["0x3e4", "0x3e5", "0x3e7"];
/// Logon types of somebody sitting at the machine: interactive, unlocked, with cached credentials.
const AT_THE_MACHINE: &[i64] = &[2, 7, 11];
const NETWORK: i64 = 3;

pub(super) fn is_system(session: &str) -> bool {
    SYSTEM_SESSIONS.contains(&session)
}

/// Whether a sign-in was by somebody at the machine: what else happens in that session is a person's own work.
pub(super) fn at_the_machine(logon: &EventRow) -> bool {
    logon.number_at("logon_type_id").is_some_and(|kind| AT_THE_MACHINE.contains(&kind))
}

/// Where on the disk a file lies that came through an administrative share (`ADMIN$`, `C$`).
pub(crate) fn carried(event: &EventRow) -> Option<String> {
    let (share, file) = (event.get("share").rsplit('\\').next()?.to_lowercase(), event.get("file.path"));
    let drive = share.strip_suffix('$').filter(|_| file.len() > 1)?;
    match drive.as_bytes() {
        b"admin" => Some(canonical(&format!(r"%systemroot%\{file}"))),
        [letter] if letter.is_ascii_alphabetic() => Some(canonical(&format!(r"{drive}:\{file}"))),
        _ => None,
    }
}

/// The program that a service or a task starts.
fn program(event: &EventRow) -> String {
    let cmd_line = [event.get("win_service.cmd_line"), event.get("job.cmd_line")].into_iter().find(|text| !text.is_empty());
    let cmd_line = cmd_line.unwrap_or_default().trim();
    let first = match cmd_line.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        // Without quotes a path may have blanks in it: it ends with its program's ending.
        None => cmd_line.to_lowercase().find(".exe").and_then(|at| cmd_line.get(..at + 4)).or_else(|| cmd_line.split(' ').next()),
    };
    canonical(first.unwrap_or_default())
}

fn sets_up(event: &EventRow) -> bool {
    matches!((event.class_uid, event.activity_id), (201_004 | 1006, 1 | 2))
}

impl Walk<'_> {
    /// What a session did that no process is told of: files through shares, services and tasks.
    pub(super) fn acts_of(&mut self, host: &str, session: &str, origin: Origin) {
        let world = self.world;
        for (id, event) in world.events.iter().enumerate() {
            if matches!(event.class_uid, 4006 | 1006 | 201_004)
                && world.host[id] == host
                && event.get("actor.session.uid") == session
            {
                self.act(id, origin);
            }
        }
    }

    fn act(&mut self, id: EventId, origin: Origin) {
        let world = self.world;
        let event = &world.events[id];
        if !self.event(id, origin) {
            return;
        }
        if sets_up(event) {
            self.starts(id);
        } else if let Some(path) = carried(event) {
            let host = world.host[id].clone();
            self.wrote(&host, &path, Origin { link: Link::FileWriteExecute, event: Some(id), process: None });
        }
    }

    /// What a service or task of the incident started from then on.
    fn starts(&mut self, id: EventId) {
        let world = self.world;
        let event = &world.events[id];
        let program = program(event);
        let started: Vec<ProcessId> = world
            .between(1007, event.time, Timestamp::MAX)
            .filter(|(other, launch)| launch.activity_id == 1 && world.host[*other] == world.host[id] && runs(launch, &program))
            .filter_map(|(other, _)| world.actor[other])
            .filter(|process| world.processes[*process].parent.is_some_and(|parent| self.is_server(parent)))
            .collect();
        for process in started {
            self.process(process, Origin { link: Link::ServiceStart, event: Some(id), process: None });
        }
    }

    /// Services and tasks that run a file of the incident.
    pub(super) fn set_up_for(&mut self, host: &str, path: &str, since: Option<Timestamp>, origin: Origin) {
        let world = self.world;
        for (id, event) in world.events.iter().enumerate() {
            if sets_up(event) && world.host[id] == host && since.is_none_or(|since| event.time >= since) && program(event) == path
            {
                self.act(id, Origin { link: Link::FileWriteExecute, ..origin });
            }
        }
    }

    /// Who brought the program of this process to the machine, or had it started there.
    pub(super) fn ordered(&mut self, process: ProcessId) {
        let world = self.world;
        let entry = &world.processes[process];
        let Some(launch) = entry.launches.first().copied() else { return };
        let event = &world.events[launch];
        let before = |id: &EventId| world.host[*id] == entry.host && world.events[*id].time <= event.time;
        let because = Origin { link: Link::ServiceStart, event: Some(launch), process: Some(process) };
        let carriers = (0..=launch).filter(before).filter(|id| {
            world.events[*id].class_uid == 4006 && carried(&world.events[*id]).is_some_and(|path| runs(event, &path))
        });
        let carrier = carriers.last();
        if let Some(id) = carrier {
            self.event(id, Origin { link: Link::FileWriteExecute, ..because });
            self.session_of(id);
        }
        let set_up = (0..=launch)
            .filter(before)
            .filter(|id| sets_up(&world.events[*id]) && runs(event, &program(&world.events[*id])))
            .last();
        let Some(id) = set_up else { return };
        self.event(id, because);
        if !self.session_of(id) && carrier.is_none() {
            self.administrator(id, &entry.host);
        }
    }

    /// Follows the session that an event was done in, if it says so.
    fn session_of(&mut self, id: EventId) -> bool {
        let session = self.world.events[id].get("actor.session.uid");
        let says = !session.is_empty() && !is_system(session);
        if says {
            let origin = Origin { link: Link::LogonSession, event: Some(id), process: None };
            self.queue.push_back(Todo::Session(self.world.host[id].clone(), session.to_owned(), origin));
        }
        says
    }

    /// Whoever signed in over the network with an administrator's privileges right before a service was installed: nobody else may,
    /// and the event itself does not say.
    fn administrator(&mut self, id: EventId, host: &str) {
        let world = self.world;
        let at = world.events[id].time;
        let privileged = |session: &str| {
            world
                .between(3003, at - SIGN_IN, at)
                .any(|(other, event)| world.host[other] == host && event.get("session.uid") == session)
        };
        let logon = world
            .between(3002, at - SIGN_IN, at)
            .filter(|(other, event)| {
                world.host[*other] == host
                    && event.status_id == Some(1)
                    && event.number_at("logon_type_id") == Some(NETWORK)
                    && !world.is_local(event.get("src_endpoint.ip"))
                    && privileged(event.get("session.uid"))
            })
            .last();
        if let Some((other, event)) = logon {
            let origin = Origin { link: Link::ServiceStart, event: Some(id), process: None };
            self.event(other, origin);
            let session = event.get("session.uid").to_owned();
            self.queue.push_back(Todo::Session(host.to_owned(), session, Origin { event: Some(other), ..origin }));
        }
    }
}
