use std::borrow::Cow;
use std::collections::VecDeque;

use reeve_record::EventTime;

use crate::decoder::Record;
use crate::{Map, Parsed, Problem, Value, time};

/// Separates what the kernel wrote from what auditd added in enriched logs.
const ENRICHED: char = '\x1d';
/// Events that may be in the making at once; the oldest goes first.
const PENDING_MAX: usize = 128;
/// Records of one event.
const RECORDS_MAX: usize = 2048;
/// Seconds of log time after which an event without its end record counts as whole.
const WAIT_SECONDS: i64 = 2;

/// Whether a line is a record of the Linux audit system as auditd writes it.
pub(crate) fn is_record(line: &str) -> bool {
    let rest = match line.strip_prefix("node=") {
        Some(rest) => rest.split_once(' ').map_or("", |(_, rest)| rest),
        None => line,
    };
    rest.strip_prefix("type=").and_then(|rest| rest.split_once(' ')).is_some_and(|(_, rest)| rest.starts_with("msg=audit("))
}

/// Joins the records of an event, which share node, time and serial number but may lie among those of others.
#[derive(Default)]
pub(crate) struct Joiner {
    pending: VecDeque<Pending>,
}

struct Pending {
    node: String,
    id: String,
    seconds: i64,
    number: u64,
    keys: Vec<u64>,
    /// The records, a newline after each.
    text: String,
    problems: Vec<Problem>,
    done: bool,
}

/// The head of a record line: `[node=N ]type=T msg=audit(ID): rest`
struct Line<'a> {
    node: &'a str,
    kind: &'a str,
    id: &'a str,
    rest: &'a str,
}

fn split(line: &str) -> Option<Line<'_>> {
    let (node, rest) = match line.strip_prefix("node=") {
        Some(rest) => rest.split_once(' ')?,
        None => ("", line),
    };
    let (kind, rest) = rest.strip_prefix("type=")?.split_once(' ')?;
    let (id, rest) = rest.strip_prefix("msg=audit(")?.split_once(')')?;
    Some(Line { node, kind, id, rest: rest.strip_prefix(':').unwrap_or(rest).trim_start_matches(' ') })
}

impl Joiner {
    /// Takes a record line; `host` is the node if the line names none.
    pub(crate) fn feed(&mut self, mut record: Record<'_>, line: &str, host: &str, emit: &mut dyn FnMut(Parsed<'_>)) {
        let Some(head) = split(line) else {
            record.problems.push(Problem {
                code: "auditd.syntax",
                offset: 0,
                detail: Cow::Borrowed("an audit record without its id"),
            });
            let mut native = Map::new();
            native.push("message", line);
            return emit(record.event("text", native, None));
        };
        let node = if head.node.is_empty() { host } else { head.node };
        let seconds = head.id.split(['.', ':']).next().and_then(|text| text.parse().ok()).unwrap_or(0);
        let at = self.pending.iter().position(|pending| pending.id == head.id && pending.node == node);
        if head.kind == "EOE" {
            let Some(pending) = at.and_then(|at| self.pending.remove(at)) else { return };
            let mut pending = pending;
            pending.take(&record, line);
            return pending.emit(emit);
        }
        match at {
            Some(at) => {
                let pending = &mut self.pending[at];
                pending.take(&record, line);
                pending.problems.append(&mut record.problems);
                pending.done |= pending.keys.len() >= RECORDS_MAX;
            }
            None => {
                let mut pending = Pending {
                    node: node.to_owned(),
                    id: head.id.to_owned(),
                    seconds,
                    number: record.number,
                    keys: Vec::with_capacity(8),
                    text: String::with_capacity(line.len() + 512),
                    problems: std::mem::take(&mut record.problems),
                    done: false,
                };
                pending.take(&record, line);
                if stands_alone(head.kind) {
                    self.ripe(seconds, emit);
                    return pending.emit(emit);
                }
                self.pending.push_back(pending);
            }
        }
        self.ripe(seconds, emit);
    }

    /// Emits everything that waits.
    pub(crate) fn flush(&mut self, emit: &mut dyn FnMut(Parsed<'_>)) {
        for pending in self.pending.drain(..) {
            pending.emit(emit);
        }
    }

    /// Emits the events that need wait no longer at `seconds` of log time.
    fn ripe(&mut self, seconds: i64, emit: &mut dyn FnMut(Parsed<'_>)) {
        while let Some(first) = self.pending.front() {
            if !first.done && self.pending.len() <= PENDING_MAX && seconds - first.seconds < WAIT_SECONDS {
                return;
            }
            if let Some(first) = self.pending.pop_front() {
                first.emit(emit);
            }
        }
    }
}

impl Pending {
    fn take(&mut self, record: &Record<'_>, line: &str) {
        self.keys.push(record.key);
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn emit(self, emit: &mut dyn FnMut(Parsed<'_>)) {
        let mut problems = self.problems;
        let native = document(&self.node, &self.id, &self.text);
        let at = self.id.split_once(':').and_then(|(at, _)| time::epoch(at));
        if at.is_none() {
            problems.push(Problem { code: "auditd.time", offset: 0, detail: Cow::Borrowed("the record's time is out of range") });
        }
        let raw = self.text.strip_suffix('\n').unwrap_or(&self.text);
        emit(Parsed {
            records: self.keys,
            part: 0,
            number: self.number,
            raw: Cow::Borrowed(raw.as_bytes()),
            decoder: "auditd",
            native,
            time: at.map(EventTime::exact),
            head: None,
            problems,
        });
    }
}

/// Kinds that programs write through the kernel: always an event of one record.
fn stands_alone(kind: &str) -> bool {
    const PREFIXES: [&str; 14] = [
        "USER", "CRED_", "SERVICE_", "DAEMON_", "ADD_", "DEL_", "GRP_", "ACCT_", "CHGRP_", "CHUSER_", "SYSTEM_", "ROLE_",
        "VIRT_", "CRYPTO_",
    ];
    PREFIXES.iter().any(|prefix| kind.starts_with(prefix))
}

/// `{node, serial, timestamp, types, SYSCALL: {…}, PATH: [{…}, …], …}`
fn document<'a>(node: &'a str, id: &'a str, text: &'a str) -> Map<'a> {
    let mut native = Map(Vec::with_capacity(12));
    if !node.is_empty() {
        native.push("node", node);
    }
    let (timestamp, serial) = id.split_once(':').unwrap_or((id, ""));
    native.push("serial", serial);
    native.push("timestamp", timestamp);
    native.push("types", Value::List(Vec::new()));
    let types = native.len() - 1;
    let mut kinds = Vec::new();
    for line in text.lines() {
        let Some(head) = split(line) else { continue };
        let kind = name(head.kind);
        if kind == "EOE" {
            continue;
        }
        let fields = fields(&kind, head.rest);
        kinds.push(kind.clone());
        add(&mut native, kind, fields);
    }
    native.0[types].1 = Value::List(kinds.into_iter().map(Value::Str).collect());
    native
}

/// An event that a collector took apart at its head, `{"node", "timestamp", "timestampfractional", "eventid", "items": {"SYSCALL": ["arch=…"], …}}`,
/// as the document it is in the log.
pub(crate) fn structured(map: &Map<'_>) -> Option<(Map<'static>, EventTime)> {
    let items = map.get("items")?.as_map()?;
    let text = |name: &str| map.get(name)?.text();
    let (seconds, serial) = (text("timestamp")?, text("eventid")?);
    let id = match text("timestampfractional") {
        Some(fraction) => format!("{seconds}.{fraction}:{serial}"),
        None => format!("{seconds}:{serial}"),
    };
    let at = time::epoch(id.split_once(':')?.0)?;
    let (mut lines, mut beside) = (String::new(), Map::new());
    for (kind, records) in items.iter() {
        // What the collector says itself is no record.
        let Value::List(records) = records else {
            beside.push(kind.to_owned(), records.clone().into_owned());
            continue;
        };
        for record in records {
            lines.push_str(&format!("type={kind} msg=audit({id}): {}\n", record.as_str()?.replace('\n', " ")));
        }
    }
    if lines.is_empty() {
        return None;
    }
    let mut native = document(&text("node").unwrap_or_default(), &id, &lines).into_owned();
    native.0.extend(beside.0);
    Some((native, EventTime::exact(at)))
}

/// `UNKNOWN[1334]` and the like keep their number; the kinds a log names by number get their name.
fn name(kind: &str) -> Cow<'_, str> {
    match kind.strip_prefix("UNKNOWN[").and_then(|rest| rest.strip_suffix(']')) {
        Some("1326") => Cow::Borrowed("SECCOMP"),
        Some("1327") => Cow::Borrowed("PROCTITLE"),
        Some("1334") => Cow::Borrowed("BPF"),
        _ => Cow::Borrowed(kind),
    }
}

/// Adds one record: PATH is always a list; any other kind becomes one at its second record.
fn add<'a>(native: &mut Map<'a>, kind: Cow<'a, str>, fields: Map<'a>) {
    let executes = kind == "EXECVE";
    let found = native.0.iter_mut().find(|(name, _)| *name == kind);
    match found {
        Some((_, Value::List(items))) => items.push(Value::Map(fields)),
        Some((_, Value::Map(first))) if executes => first.0.extend(fields.0),
        Some((_, first)) => {
            let before = std::mem::replace(first, Value::Null);
            *first = Value::List(vec![before, Value::Map(fields)]);
        }
        None if kind == "PATH" => native.push(kind, Value::List(vec![Value::Map(fields)])),
        None => native.push(kind, fields),
    }
    if executes && let Some((_, Value::Map(record))) = native.0.iter_mut().find(|(name, _)| name == "EXECVE") {
        arguments(record);
    }
}

/// The fields of a record after its head.
fn fields<'a>(kind: &str, rest: &'a str) -> Map<'a> {
    let (written, enriched) = rest.split_once(ENRICHED).unwrap_or((rest, ""));
    let mut map = Map(Vec::with_capacity(if kind == "SYSCALL" { 42 } else { 16 }));
    pairs(kind, written, &mut map);
    pairs("", enriched, &mut map);
    if kind == "SOCKADDR" {
        socket_address(&mut map);
    }
    map
}

/// `name=value` pairs; a value in single quotes (`msg='…'`) or braces (`SADDR={ … }`) holds pairs of its own, which are taken in here.
fn pairs<'a>(kind: &str, text: &'a str, map: &mut Map<'a>) {
    let mut rest = text.trim();
    while !rest.is_empty() {
        let Some(equals) = rest.find('=') else {
            push_words(map, rest);
            return;
        };
        let (before, after) = rest.split_at(equals);
        // Words without `=` (as in `avc:  denied  { read } for  pid=1`) stand before the name.
        let (words, name) = before.rsplit_once(' ').unwrap_or(("", before));
        push_words(map, words);
        let after = &after[1..];
        let (value, next) = match after.as_bytes().first() {
            Some(b'\'') => {
                let inner = &after[1..];
                let end = inner.rfind('\'').unwrap_or(inner.len());
                pairs(kind, &inner[..end], map);
                (None, inner.get(end + 1..).unwrap_or(""))
            }
            Some(b'{') => {
                let end = after.find('}').unwrap_or(after.len());
                pairs(kind, &after[1..end], map);
                (None, after.get(end + 1..).unwrap_or(""))
            }
            Some(b'"') => {
                let inner = &after[1..];
                let end = inner.find('"').unwrap_or(inner.len());
                (Some(Value::from(&inner[..end])), inner.get(end + 1..).unwrap_or(""))
            }
            _ => {
                let end = after.find(' ').unwrap_or(after.len());
                let end =
                    if after.as_bytes().first() == Some(&b'(') { after.find(')').map_or(end, |close| close + 1) } else { end };
                (Some(unquoted(kind, name, &after[..end])), &after[end..])
            }
        };
        if let Some(value) = value {
            map.push(name, value);
        }
        rest = next.trim_start_matches([' ', ',']);
    }
}

/// The words of SELinux messages, `denied { read write } for`, and of an `op` that is several: `op=deleting user from group id=1104`.
fn push_words<'a>(map: &mut Map<'a>, words: &'a str) {
    let words = words.trim();
    if let Some((name, Value::Str(op))) = map.0.last_mut()
        && name == "op"
        && !words.is_empty()
        && !words.contains('{')
    {
        op.to_mut().push(' ');
        op.to_mut().push_str(words);
        return;
    }
    if let Some(open) = words.find('{') {
        let result = words[..open].trim().trim_start_matches("avc:").trim();
        if !result.is_empty() {
            map.push("seresult", result);
        }
        let inner = words[open + 1..].split('}').next().unwrap_or("").trim();
        map.push("seperms", inner);
    }
}

/// A value without quotes. Names and texts that held unusual bytes were written in hexadecimal by the kernel.
fn unquoted<'a>(kind: &str, name: &str, value: &'a str) -> Value<'a> {
    let text = match name {
        "comm" | "exe" | "name" | "cwd" | "cmd" | "acct" | "path" | "proctitle" | "dir" | "file" | "vm" | "old-disk"
        | "new-disk" | "watch" | "ocomm" | "key" | "grp" | "new_group" | "device" | "root_dir" | "igrp" => true,
        "data" => kind == "TTY" || kind == "USER_TTY",
        _ => {
            kind == "EXECVE"
                && name.starts_with('a')
                && name.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
                && !name.ends_with("_len")
        }
    };
    if !text {
        return Value::from(value);
    }
    match from_hex(value) {
        Some(bytes) => {
            let mut text = String::from_utf8_lossy(&bytes).into_owned();
            if name == "proctitle" || name == "cmd" {
                text = text.trim_end_matches('\0').replace('\0', " ");
            }
            Value::from(text)
        }
        None => Value::from(value),
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    hex::decode(text).ok().filter(|bytes| !bytes.is_empty())
}

/// Puts `argv` beside `a0`, `a1`, …: the arguments in order, those the kernel cut (`a1[0]`, `a1[1]`, …) joined.
fn arguments(record: &mut Map<'_>) {
    let mut argv: Vec<(usize, String)> = Vec::new();
    for (name, value) in &record.0 {
        let Some(rest) = name.strip_prefix('a') else { continue };
        let index = rest.split('[').next().and_then(|digits| digits.parse::<usize>().ok());
        let (Some(index), Some(text)) = (index, value.as_str()) else { continue };
        match argv.iter_mut().rev().find(|(known, _)| *known == index) {
            Some((_, joined)) => joined.push_str(text),
            None => argv.push((index, text.to_owned())),
        }
    }
    argv.sort_by_key(|(index, _)| *index);
    record.0.retain(|(name, _)| name != "argv");
    record.push("argv", Value::List(argv.into_iter().map(|(_, text)| Value::from(text)).collect()));
}

/// Adds `saddr_fam`, `laddr`, `lport` or `path` out of the bytes in `saddr`, where auditd did not write them itself.
fn socket_address(map: &mut Map<'_>) {
    if map.get("saddr_fam").is_some() {
        return;
    }
    let Some(bytes) = map.get("saddr").and_then(Value::as_str).and_then(from_hex) else { return };
    let Some((family, rest)) = bytes.split_first_chunk::<2>() else { return };
    // The family is in the order of the machine: little-endian nearly everywhere, s390x and old POWER aside.
    let family = if family[1] == 0 { family[0] } else { family[1] };
    let port = || rest.first_chunk::<2>().map(|port| i64::from(u16::from_be_bytes(*port)));
    match family {
        1 => {
            map.push("saddr_fam", "local");
            let path = rest.strip_prefix(b"\0").unwrap_or(rest);
            let path = path.split(|byte| *byte == 0).next().unwrap_or(path);
            map.push("path", String::from_utf8_lossy(path).into_owned());
        }
        2 => {
            map.push("saddr_fam", "inet");
            if let (Some(port), Some(address)) = (port(), rest.get(2..6).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok())) {
                map.push("laddr", std::net::Ipv4Addr::from(address).to_string());
                map.push("lport", port);
            }
        }
        10 => {
            map.push("saddr_fam", "inet6");
            if let (Some(port), Some(address)) = (port(), rest.get(6..22).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok())) {
                map.push("laddr", std::net::Ipv6Addr::from(address).to_string());
                map.push("lport", port);
            }
        }
        16 => map.push("saddr_fam", "netlink"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn read(lines: &[&str]) -> Vec<(Vec<u64>, String)> {
        let mut joiner = Joiner::default();
        let mut seen = Vec::new();
        let mut emit =
            |parsed: Parsed<'_>| seen.push((parsed.records.clone(), serde_json::to_string(&parsed.native).expect("serialises")));
        for (index, line) in lines.iter().enumerate() {
            let key = index as u64 + 1;
            let record = Record { key, number: key, raw: line.as_bytes(), received: Timestamp::UNIX_EPOCH, problems: Vec::new() };
            joiner.feed(record, line, "", &mut emit);
        }
        joiner.flush(&mut emit);
        seen
    }

    #[test]
    fn interleaved_events_are_joined_by_serial() {
        let seen = read(&[
            "node=a type=SYSCALL msg=audit(100.5:1): arch=c000003e syscall=59 comm=\"sh\" key=(null)\x1dARCH=x86_64 UID=\"root\"",
            "node=b type=SYSCALL msg=audit(100.5:1): syscall=2",
            "node=a type=EXECVE msg=audit(100.5:1): argc=3 a0=\"sh\" a1_len=8 a1[0]=6162 a1[1]=6364 a2=\"x\"",
            "node=a type=EOE msg=audit(100.5:1): ",
        ]);
        assert_eq!(seen[0].0, [1, 3, 4]);
        assert_eq!(
            seen[0].1,
            r#"{"node":"a","serial":"1","timestamp":"100.5","types":["SYSCALL","EXECVE"],"SYSCALL":{"arch":"c000003e","syscall":"59","comm":"sh","key":"(null)","ARCH":"x86_64","UID":"root"},"EXECVE":{"argc":"3","a0":"sh","a1_len":"8","a1[0]":"ab","a1[1]":"cd","a2":"x","argv":["sh","abcd","x"]}}"#
        );
        assert_eq!(seen[1].0, [2]);
    }

    #[test]
    fn an_event_in_parts_is_the_event() {
        let parts = r#"{"node":"n","timestamp":"100","timestampfractional":"500","eventid":"7","items":{"COMMENT":"c","PATH":["item=0 name=\"/a\""],"USER_AUTH":["pid=1 msg='op=PAM res=failed' UID=\"root\""]}}"#;
        let (Value::Map(map), _) = crate::json::parse(parts) else { unreachable!("an object") };
        let (native, time) = structured(&map).expect("an audit event");
        assert_eq!(
            serde_json::to_string(&native).expect("serialises"),
            r#"{"node":"n","serial":"7","timestamp":"100.500","types":["PATH","USER_AUTH"],"PATH":[{"item":"0","name":"/a"}],"USER_AUTH":{"pid":"1","op":"PAM","res":"failed","UID":"root"},"COMMENT":"c"}"#
        );
        assert_eq!(time.at.as_millisecond(), 100_500);
        assert!(structured(&Map(vec![("items".into(), Value::Map(Map::new()))])).is_none());
    }

    #[test]
    fn messages_inside_quotes_are_taken_in() {
        let seen = read(&[
            "type=USER_LOGIN msg=audit(1492896301.818:19955): pid=12635 uid=0 msg='op=login acct=28696E76616C6964207573657229 exe=\"/usr/sbin/sshd\" hostname=? res=failed'\x1dUID=\"root\"",
            "type=DEL_USER msg=audit(1492896301.900:3): pid=1 msg='op=deleting user from group id=7 res=success'",
            "type=PROCTITLE msg=audit(1492896302.000:2): proctitle=6C73002D6C00",
            "type=SOCKADDR msg=audit(1492896302.000:2): saddr=020000357F0000350000000000000000",
        ]);
        assert_eq!(
            seen[0].1,
            r#"{"serial":"19955","timestamp":"1492896301.818","types":["USER_LOGIN"],"USER_LOGIN":{"pid":"12635","uid":"0","op":"login","acct":"(invalid user)","exe":"/usr/sbin/sshd","hostname":"?","res":"failed","UID":"root"}}"#
        );
        assert!(seen[1].1.contains(r#""op":"deleting user from group","id":"7""#), "{}", seen[1].1);
        assert!(seen[2].1.contains(r#""PROCTITLE":{"proctitle":"ls -l"}"#), "{}", seen[2].1);
        assert!(seen[2].1.contains(r#""saddr_fam":"inet","laddr":"127.0.0.53","lport":53"#), "{}", seen[2].1);
    }
}
