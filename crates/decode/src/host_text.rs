//! Lines that programs on servers and workstations write: containers, shells, programs that log with glog, Jira, TeamViewer.

use jiff::Timestamp;
use reeve_record::{Certainty, EventTime};

use crate::form::Line;
use crate::time::{day_stamp, epoch, stamp, web_stamp, whole_stamp};
use crate::{Map, Value};

/// What a shell keeps of commands, with their times.
pub(crate) const SHELL: &str = "shell.history";
/// What a container printed, as its runtime keeps it.
pub(crate) const CONTAINER: &str = "container.cri";

/// A line told by its own form; `None` if it is none of these.
pub(crate) fn read(line: &str, received: Timestamp) -> Option<Line<'_>> {
    match line.as_bytes() {
        [b'0'..=b'9', ..] => container(line).or_else(|| connection(line)),
        [b'#', b'0'..=b'9', ..] => bash(line),
        [b':', b' ', ..] => zsh(line),
        [b'I' | b'W' | b'E' | b'F', b'0' | b'1', ..] => glog(line, received),
        [b'[', b'0'..=b'3', ..] => jira(line),
        _ => None,
    }
}

fn told<'a>(decoder: &'static str, native: Map<'a>, time: Option<EventTime>) -> Line<'a> {
    Line { decoder, native, time, problems: Vec::new() }
}

/// `TIME stdout|stderr P|F text`: `P` is a part of a line that goes on in the next.
fn container(line: &str) -> Option<Line<'_>> {
    let (timestamp, rest) = line.split_once(' ')?;
    let (stream, rest) = rest.split_once(' ').filter(|(stream, _)| matches!(*stream, "stdout" | "stderr"))?;
    let (flags, text) = rest.split_once(' ').unwrap_or((rest, ""));
    if !matches!(flags.split(':').next(), Some("P" | "F")) {
        return None;
    }
    let time = whole_stamp(timestamp)?;
    let mut native = Map(Vec::with_capacity(4));
    native.push("timestamp", timestamp);
    native.push("stream", stream);
    native.push("flags", flags);
    native.push("log", text);
    Some(told(CONTAINER, native, Some(time)))
}

/// `#SECONDS`, as bash writes it before the command of the next line if it keeps times.
fn bash(line: &str) -> Option<Line<'_>> {
    let digits = line.strip_prefix('#').filter(|digits| (9..=10).contains(&digits.len()))?;
    let at = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| epoch(digits)).flatten()?;
    let mut native = Map::new();
    native.push("shell", "bash");
    native.push("timestamp", digits);
    native.push("message", "");
    Some(told(SHELL, native, Some(EventTime::exact(at))))
}

/// `: SECONDS:TAKEN;command`, as zsh writes its extended history.
fn zsh(line: &str) -> Option<Line<'_>> {
    let (times, command) = line.strip_prefix(": ")?.split_once(';')?;
    let (begun, taken) = times.trim_start().split_once(':')?;
    let at = epoch(begun).filter(|_| (9..=10).contains(&begun.len()) && !begun.contains('.'))?;
    let mut native = Map::new();
    native.push("shell", "zsh");
    native.push("timestamp", begun);
    native.push("duration", taken.parse::<i64>().ok()?);
    native.push("message", command);
    Some(told(SHELL, native, Some(EventTime::exact(at))))
}

/// `Lmmdd hh:mm:ss.uuuuuu THREAD file:line] message`, as programs with Google's logging library write it, Kubernetes among them.
fn glog(line: &str, received: Timestamp) -> Option<Line<'_>> {
    let (day, rest) = (line.get(1..5)?, line.get(5..)?);
    let (clock, rest) = rest.strip_prefix(' ')?.split_once(' ')?;
    let (place, message) =
        rest.trim_start_matches(' ').split_once("] ").or_else(|| Some((rest.trim().strip_suffix(']')?, "")))?;
    let (thread, place) = place.split_once(' ')?;
    let (file, number) = place.rsplit_once(':')?;
    let written = format!("{}-{} {clock}", day.get(..2)?, day.get(2..)?);
    let found = day_stamp(&written, received).filter(|found| found.len == written.len())?;
    let mut native = Map(Vec::with_capacity(7));
    native.push("level", &line[..1]);
    native.push("timestamp", &line[1..5 + 1 + clock.len()]);
    native.push("thread", thread.parse::<i64>().ok()?);
    native.push("file", file);
    native.push("line", number.parse::<i64>().ok()?);
    native.push("message", message);
    Some(told("glog", native, Some(found.time)))
}

/// `[TIME] [FORWARDED ]USER THREAD CLIENT METHOD URI HTTP/… STATUS TIMEms SIZE REFERRER AGENT`: Jira's access log, with the names of other
/// web servers' fields.
fn jira(line: &str) -> Option<Line<'_>> {
    let (timestamp, rest) = line.strip_prefix('[')?.split_once("] ")?;
    let time = web_stamp(timestamp)?;
    let (before, rest) = rest.split_once(" HTTP/")?;
    let words: Vec<&str> = before.split(' ').collect();
    let (forwarded, words) = match words.len() {
        5 => ("-", &words[..]),
        6 => (words[0], &words[1..]),
        _ => return None,
    };
    let [user, thread, client, method, uri] = words[..] else { return None };
    let [version, status, taken, size, referrer, ..] = rest.splitn(6, ' ').collect::<Vec<_>>()[..] else { return None };
    let agent = rest.splitn(6, ' ').nth(5).unwrap_or_default();
    if !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let mut native = Map(Vec::with_capacity(14));
    native.push("client", client);
    for (name, value) in [("forwarded_for", forwarded), ("user", user)] {
        if value != "-" {
            native.push(name, value);
        }
    }
    native.push("timestamp", timestamp);
    native.push("thread", thread);
    native.push("method", method);
    native.push("uri", uri);
    native.push("protocol", format!("HTTP/{version}"));
    native.push("status", status.parse::<i64>().ok()?);
    native.push("duration_ms", taken.strip_suffix("ms")?.parse::<i64>().ok()?);
    if let Ok(size) = size.parse::<i64>() {
        native.push("size", size);
    }
    for (name, value) in [("referrer", referrer), ("user_agent", agent)] {
        if !matches!(value, "" | "-") {
            native.push(name, value);
        }
    }
    native.push("request", format!("{method} {uri} HTTP/{version}"));
    Some(told("web.access", native, Some(time)))
}

/// A connection that TeamViewer took (`connections_incoming.txt`, parted by tabs) or made (`Connections.txt`, parted by blanks): the other
/// side's number and name, begin, end, the user here, the kind and an id.
fn connection(line: &str) -> Option<Line<'_>> {
    if !line.ends_with('}') {
        return None;
    }
    let tabs: Vec<&str> = line.split('\t').collect();
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (direction, id, name, begun, ended, user, kind, uid) = match (&tabs[..], &words[..]) {
        ([id, name, begun, ended, user, kind, uid], _) => {
            ("incoming", *id, *name, (*begun).to_owned(), (*ended).to_owned(), *user, *kind, *uid)
        }
        (_, [id, day, clock, last_day, last_clock, user, kind, uid]) => {
            ("outgoing", *id, "", format!("{day} {clock}"), format!("{last_day} {last_clock}"), *user, *kind, *uid)
        }
        _ => return None,
    };
    let time = day_first(&begun)?;
    let mut native = Map(Vec::with_capacity(8));
    native.push("direction", direction);
    for (field, value) in [("remote_id", id), ("remote_name", name), ("user", user), ("kind", kind), ("uid", uid)] {
        if !value.is_empty() {
            native.push(field, value);
        }
    }
    native.push("start", begun);
    native.push("end", ended);
    Some(told("teamviewer", native, Some(time)))
}

/// `dd-MM-yyyy hh:mm:ss`, which TeamViewer writes in UTC.
fn day_first(text: &str) -> Option<EventTime> {
    let (date, clock) = text.split_once(' ')?;
    let [day, month, year] = date.split('-').collect::<Vec<_>>()[..] else { return None };
    let written = format!("{year}-{month}-{day} {clock}");
    let found = stamp(&written).filter(|found| found.len == written.len())?;
    Some(EventTime { at: found.time.at, certainty: Certainty::Exact })
}

/// Whether a line belongs to the command that waits: it follows its time, or the end of the line before was escaped.
pub(crate) fn command_goes_on(native: &Map<'_>, text: &str, raw: &[u8]) -> bool {
    match native.get("shell").and_then(Value::as_str) {
        Some("bash") => !matches!(raw, [b'#', b'0'..=b'9', ..]) && (text.is_empty() || text.ends_with('\\')),
        Some("zsh") => text.ends_with('\\'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, want: Option<&str>) {
        let received = "2026-11-21T12:00:00Z".parse().expect("a time");
        let found = read(line, received).map(|line| {
            let time = line.time.map(|time| time.at.to_string()).unwrap_or_default();
            format!("{} {time} {}", line.decoder, serde_json::to_string(&line.native).expect("fields serialise"))
        });
        assert_eq!(found.as_deref(), want, "{line}");
    }

    #[test]
    fn containers_and_glog() {
        check(
            "2026-11-20T10:00:00.123456789Z stderr F door opened",
            Some(
                r#"container.cri 2026-11-20T10:00:00.123456789Z {"timestamp":"2026-11-20T10:00:00.123456789Z","stream":"stderr","flags":"F","log":"door opened"}"#,
            ),
        );
        check(
            "W1120 10:00:00.000001   311 door.cc:65] no key: 7",
            Some(
                r#"glog 2026-11-20T10:00:00.000001Z {"level":"W","timestamp":"1120 10:00:00.000001","thread":311,"file":"door.cc","line":65,"message":"no key: 7"}"#,
            ),
        );
        for other in ["2026-11-20T10:00:00Z stdout door", "E1120 is a number", "I0 x] y", "2026-11-20T10:00:00Z stdout X y"] {
            check(other, None);
        }
    }

    #[test]
    fn histories_of_shells() {
        check(
            "#1795168800",
            Some(r#"shell.history 2026-11-20T10:00:00Z {"shell":"bash","timestamp":"1795168800","message":""}"#),
        );
        check(
            ": 1795168800:2;ls; id",
            Some(
                r#"shell.history 2026-11-20T10:00:00Z {"shell":"zsh","timestamp":"1795168800","duration":2,"message":"ls; id"}"#,
            ),
        );
        for other in ["#12", "# a comment", "#1795168800 and more", ": x;y", ": 7:0;ls"] {
            check(other, None);
        }
    }

    #[test]
    fn jira_and_teamviewer() {
        check(
            "[20/Nov/2026:11:00:00 +0100] 10.0.0.5 mara exec-1 192.0.2.7 GET /secure/a?b=c HTTP/1.1 302 12ms - http://x/ Mozilla/5.0 (X11; Linux)",
            Some(
                r#"web.access 2026-11-20T10:00:00Z {"client":"192.0.2.7","forwarded_for":"10.0.0.5","user":"mara","timestamp":"20/Nov/2026:11:00:00 +0100","thread":"exec-1","method":"GET","uri":"/secure/a?b=c","protocol":"HTTP/1.1","status":302,"duration_ms":12,"referrer":"http://x/","user_agent":"Mozilla/5.0 (X11; Linux)","request":"GET /secure/a?b=c HTTP/1.1"}"#,
            ),
        );
        let uid = "{01234567-89ab-cdef-0123-456789abcdef}";
        check(
            &format!("123456789\tMARA-PC\t20-11-2026 10:00:00\t20-11-2026 10:05:00\tivo\tRemoteControl\t{uid}"),
            Some(&format!(
                r#"teamviewer 2026-11-20T10:00:00Z {{"direction":"incoming","remote_id":"123456789","remote_name":"MARA-PC","user":"ivo","kind":"RemoteControl","uid":"{uid}","start":"20-11-2026 10:00:00","end":"20-11-2026 10:05:00"}}"#
            )),
        );
        check(
            &format!("123456789     20-11-2026 10:00:00  20-11-2026 10:05:00  ivo  RemoteControl {uid}"),
            Some(&format!(
                r#"teamviewer 2026-11-20T10:00:00Z {{"direction":"outgoing","remote_id":"123456789","user":"ivo","kind":"RemoteControl","uid":"{uid}","start":"20-11-2026 10:00:00","end":"20-11-2026 10:05:00"}}"#
            )),
        );
        check("1 2 3}", None);
    }
}
