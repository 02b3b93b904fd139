//! Lines that programs of macOS and iOS write: Santa, `log show`, sysdiagnose, and syslog with a level behind the program.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::form::Line;
use crate::time::{month_stamp, stamp};
use crate::{Map, Value, apple};

/// A line told by its own form; `None` if it is none of these.
pub(crate) fn read(line: &str, received: Timestamp) -> Option<Line<'_>> {
    match line.as_bytes().first()? {
        b'[' => santa(line),
        b'0'..=b'9' => unified(line),
        b'M' | b'T' | b'W' | b'F' | b'S' => sysdiagnose(line, received),
        _ => None,
    }
}

fn line<'a>(decoder: &'static str, native: Map<'a>, time: Option<reeve_record::EventTime>) -> Line<'a> {
    Line { decoder, native, time, problems: Vec::new() }
}

/// `[TIME] LEVEL santad: action=…|name=value|…`
fn santa(text: &str) -> Option<Line<'_>> {
    let rest = text.strip_prefix('[')?;
    let found = stamp(rest)?;
    let (timestamp, rest) = rest.split_at(found.len);
    let (level, rest) = rest.strip_prefix("] ")?.split_once(" santad: ")?;
    if !rest.starts_with("action=") || level.len() > 8 {
        return None;
    }
    let mut native = Map(Vec::with_capacity(20));
    native.push("timestamp", timestamp);
    native.push("level", level);
    pairs(rest, &mut native);
    Some(line("santa", native, Some(found.time)))
}

/// `name=value` between bars. A part without a name goes on from the value before it.
fn pairs<'a>(text: &'a str, native: &mut Map<'a>) {
    let mut start = 0;
    while start < text.len() {
        let mut end = bar(text, start);
        let Some((name, _)) = text[start..end].split_once('=') else { return };
        while end < text.len() && !is_named(&text[end + 1..]) {
            end = bar(text, end + 1);
        }
        native.push(name, &text[start + name.len() + 1..end]);
        start = end + 1;
    }
}

/// Where the next bar is, or the end.
fn bar(text: &str, from: usize) -> usize {
    memchr::memchr(b'|', &text.as_bytes()[from..]).map_or(text.len(), |at| from + at)
}

/// Whether a part starts with `name=`; names are short words in lower case.
fn is_named(part: &str) -> bool {
    let name = part.bytes().take_while(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_').count();
    (1..=24).contains(&name) && part.as_bytes().get(name) == Some(&b'=')
}

/// A line of `log show` in one of its text styles. All start with a date, a blank and a time with a fraction.
fn unified(text: &str) -> Option<Line<'_>> {
    if text.as_bytes().get(10) != Some(&b' ') || text.as_bytes().get(19) != Some(&b'.') {
        return None;
    }
    let found = stamp(text)?;
    let (timestamp, rest) = text.split_at(found.len);
    let mut native = Map(Vec::with_capacity(12));
    native.push("timestamp", timestamp);
    let told = if rest.starts_with(" 0x") {
        columns(rest, &mut native)
    } else if rest.starts_with("  ") {
        with_host(rest.trim_start_matches(' '), &mut native)
    } else {
        compact(rest.strip_prefix(' ')?, &mut native)
    };
    told.map(|()| line(apple::UNIFIED_LOG, native, Some(found.time)))
}

/// `0xTHREAD  Type  0xACTIVITY  PID  TTL  process: (sender) [subsystem:category] message`
fn columns<'a>(rest: &'a str, native: &mut Map<'a>) -> Option<()> {
    let mut rest = rest;
    let mut word = || {
        let (word, after) = rest.trim_start_matches(' ').split_once(' ')?;
        rest = after;
        Some(word)
    };
    let (thread, kind, activity, pid, ttl) = (word()?, word()?, word()?, word()?, word()?);
    let number = |text: &str| text.strip_prefix("0x").and_then(|digits| i64::from_str_radix(digits, 16).ok());
    native.push("threadID", number(thread)?);
    native.push("messageType", TYPES.iter().find(|known| **known == kind).copied()?);
    native.push("activityIdentifier", number(activity)?);
    native.push("processID", pid.parse::<i64>().ok()?);
    native.push("ttl", ttl.parse::<i64>().ok()?);
    let (process, rest) = rest.trim_start_matches(' ').split_once(": ")?;
    native.push("process", process);
    origin(rest, native);
    Some(())
}

/// `host process[PID]: (sender) [subsystem:category] message`
fn with_host<'a>(rest: &'a str, native: &mut Map<'a>) -> Option<()> {
    let (host, rest) = rest.split_once(' ')?;
    let (process, rest) = rest.split_once("]: ")?;
    let (process, pid) = process.rsplit_once('[')?;
    native.push("host", host);
    native.push("process", process);
    native.push("processID", pid.parse::<i64>().ok()?);
    let rest = match rest.strip_prefix('<').and_then(|inside| inside.split_once(">: ")) {
        Some((level, rest)) if level.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            native.push("messageType", level);
            rest
        }
        _ => rest,
    };
    origin(rest, native);
    Some(())
}

/// `Ty process[PID:THREAD] (sender) [subsystem:category] message`
fn compact<'a>(rest: &'a str, native: &mut Map<'a>) -> Option<()> {
    let (kind, rest) = rest.split_once(' ')?;
    let kind = COMPACT.iter().find(|(short, _)| *short == kind)?.1;
    let (process, rest) = rest.trim_start_matches(' ').split_once(']')?;
    let (process, ids) = process.rsplit_once('[')?;
    let (pid, thread) = ids.split_once(':')?;
    native.push("messageType", kind);
    native.push("process", process);
    native.push("processID", pid.parse::<i64>().ok()?);
    native.push("threadID", i64::from_str_radix(thread, 16).ok()?);
    origin(rest.strip_prefix(' ').unwrap_or(rest), native);
    Some(())
}

/// What may stand before the message: the library that wrote it, and the subsystem with its category.
fn origin<'a>(text: &'a str, native: &mut Map<'a>) {
    let mut rest = text;
    if let Some((sender, after)) = rest.strip_prefix('(').and_then(|inside| inside.split_once(") ")) {
        native.push("sender", sender);
        rest = after;
    }
    if let Some((inside, after)) = rest.strip_prefix('[').and_then(|inside| inside.split_once("] "))
        && let Some((subsystem, category)) = inside.split_once(':')
        && !inside.contains(' ')
    {
        native.push("subsystem", subsystem);
        native.push("category", category);
        rest = after;
    }
    native.push("eventMessage", rest);
}

/// `Wed Aug 11 05:51:02 2021 [PID] <level> (0xTHREAD) function: message`
fn sysdiagnose(text: &str, received: Timestamp) -> Option<Line<'_>> {
    if text.as_bytes().get(3) != Some(&b' ') {
        return None;
    }
    let rest = text.get(4..)?;
    let found = month_stamp(rest, received)?;
    let (pid, rest) = rest[found.len..].strip_prefix(" [")?.split_once("] <")?;
    let (level, rest) = rest.split_once("> (0x")?;
    let (thread, rest) = rest.split_once(") ")?;
    let mut native = Map(Vec::with_capacity(8));
    native.push("timestamp", &text[..4 + found.len]);
    native.push("pid", pid.parse::<i64>().ok()?);
    native.push("level", level);
    native.push("thread", thread);
    let message = match rest.split_once(": ") {
        Some((function, message)) => {
            native.push("function", function);
            message
        }
        None => rest,
    };
    native.push("message", message);
    Some(line("ios.sysdiagnose", native, Some(found.time)))
}

/// What stands after the time in the log files of macOS: `[host ]program[pid][ (other[pid])] <Level>[ [facility{api} caller]]: message`.
pub(crate) struct Leveled<'a> {
    pub(crate) hostname: &'a str,
    pub(crate) program: &'a str,
    pub(crate) pid: &'a str,
    /// Further fields: `on_behalf_of`, `level`, `facility`, `security_api`, `caller`.
    pub(crate) further: Vec<(&'static str, &'a str)>,
    pub(crate) message: &'a str,
}

/// Reads what follows the time; `None` if no level stands behind the program.
pub(crate) fn leveled(after: &str) -> Option<Leveled<'_>> {
    let (head, rest) = after.split_once(" <")?;
    let (level, rest) = rest.split_once('>')?;
    if !LEVELS.contains(&level) || head.len() > 512 {
        return None;
    }
    let mut further = Vec::with_capacity(4);
    let (head, other) = head.strip_suffix(')').and_then(|head| head.split_once(" (")).unwrap_or((head, ""));
    let (head, pid) = head.strip_suffix(']')?.rsplit_once('[')?;
    if pid.is_empty() || !pid.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hostname, program) = head.split_once(' ').unwrap_or(("", head));
    further.push(("level", level));
    further.push(("on_behalf_of", other));
    let message = match rest.strip_prefix(" [") {
        Some(inside) => {
            let (inside, message) = inside.split_once("]:")?;
            security(inside, &mut further);
            message
        }
        None => rest.strip_prefix(':')?,
    };
    further.retain(|(_, value)| !value.is_empty());
    Some(Leveled { hostname, program, pid, further, message: message.strip_prefix(' ').unwrap_or(message) })
}

/// `facility{api} caller…`, as the security daemon writes it.
fn security<'a>(inside: &'a str, further: &mut Vec<(&'static str, &'a str)>) {
    let (facility, rest) = inside.split_once('{').unwrap_or((inside, ""));
    let (api, caller) = rest.split_once('}').unwrap_or((rest, ""));
    further.extend([("facility", facility.trim()), ("security_api", api), ("caller", caller.trim())]);
}

/// A verdict of the application firewall: `app: Allow TCP LISTEN  (in:0 out:1)`, in older systems without the colon.
pub(crate) fn firewall(message: &str) -> Option<Map<'_>> {
    let (at, action) = ["Allow ", "Deny "].iter().find_map(|verb| Some((message.find(verb)?, verb.trim_end())))?;
    let app = message[..at].trim_end().trim_end_matches(':');
    let mut words = message[at + action.len()..].split_ascii_whitespace();
    let (protocol, state) = (words.next()?, words.next()?);
    let counts = words.next().and_then(|word| word.strip_prefix("(in:"));
    if app.is_empty() || !matches!(protocol, "TCP" | "UDP" | "ICMP") {
        return None;
    }
    let mut fields = Map(Vec::with_capacity(7));
    let whole = |text: &str| text.trim_end_matches(')').parse::<i64>().ok();
    for (name, value) in [("event", "firewall"), ("app", app), ("action", action), ("protocol", protocol), ("state", state)] {
        fields.push(name, value);
    }
    if let Some(count) = counts.and_then(whole) {
        fields.push("in", count);
    }
    if let Some(count) = words.next().and_then(|word| word.strip_prefix("out:")).and_then(whole) {
        fields.push("out", count);
    }
    Some(fields)
}

/// The envelope of a line with a level as native fields.
pub(crate) fn native<'a>(timestamp: &'a str, found: &Leveled<'a>) -> Map<'a> {
    let mut native = Map(Vec::with_capacity(10));
    let fixed = [("timestamp", timestamp), ("hostname", found.hostname), ("app_name", found.program), ("procid", found.pid)];
    for (name, value) in fixed.into_iter().chain(found.further.iter().copied()).filter(|(_, value)| !value.is_empty()) {
        native.0.push((Cow::Borrowed(name), Value::from(value)));
    }
    native
}

const TYPES: [&str; 7] = ["Default", "Info", "Debug", "Error", "Fault", "Activity", "State"];
const COMPACT: [(&str, &str); 7] =
    [("Df", "Default"), ("I", "Info"), ("Db", "Debug"), ("E", "Error"), ("F", "Fault"), ("A", "Activity"), ("S", "State")];
const LEVELS: [&str; 8] = ["Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Info", "Debug"];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: Option<(&str, &str)>) {
        let found = read(text, Timestamp::UNIX_EPOCH);
        let found = found.map(|line| (line.decoder, serde_json::to_string(&line.native).expect("fields serialise")));
        assert_eq!(found, want.map(|(decoder, native)| (decoder, native.to_owned())), "{text}");
    }

    #[test]
    fn santa_keeps_bars_in_values() {
        check(
            "[2026-11-20T10:00:00.001Z] I santad: action=EXEC|decision=DENY|path=/tmp/a|b|args=/tmp/a | tee x=1|mode=L",
            Some((
                "santa",
                r#"{"timestamp":"2026-11-20T10:00:00.001Z","level":"I","action":"EXEC","decision":"DENY","path":"/tmp/a|b","args":"/tmp/a | tee x=1","mode":"L"}"#,
            )),
        );
        check("[2026-11-20T10:00:00.001Z] I santad: Starting", None);
        check("[2026-11-20T10:00:00.001Z] I other: action=EXEC", None);
    }

    #[test]
    fn the_styles_of_the_unified_log() {
        check(
            "2026-11-20 11:00:00.123456+0100 0x1f4      Error       0x0                  311    0    doord: (libDoor.dylib) [org.example.door:lock] no key",
            Some((
                "macos.unifiedlog",
                r#"{"timestamp":"2026-11-20 11:00:00.123456+0100","threadID":500,"messageType":"Error","activityIdentifier":0,"processID":311,"ttl":0,"process":"doord","sender":"libDoor.dylib","subsystem":"org.example.door","category":"lock","eventMessage":"no key"}"#,
            )),
        );
        check(
            "2026-11-20 11:00:00.123456+0100  mac-7 doord[311]: [org.example.door:lock] no key",
            Some((
                "macos.unifiedlog",
                r#"{"timestamp":"2026-11-20 11:00:00.123456+0100","host":"mac-7","process":"doord","processID":311,"subsystem":"org.example.door","category":"lock","eventMessage":"no key"}"#,
            )),
        );
        check(
            "2026-11-20 11:00:00.123 Df doord[311:1f4] (libDoor.dylib) no key",
            Some((
                "macos.unifiedlog",
                r#"{"timestamp":"2026-11-20 11:00:00.123","messageType":"Default","process":"doord","processID":311,"threadID":500,"sender":"libDoor.dylib","eventMessage":"no key"}"#,
            )),
        );
        for other in
            ["2026-11-20 11:00:00.123 INFO started", "2026-11-20 11:00:00.123456 UTC [31] LOG:  ready", "2026-11-20 11:00"]
        {
            check(other, None);
        }
    }

    #[test]
    fn lines_of_sysdiagnose() {
        check(
            "Fri Nov 20 10:00:00 2026 [66] <err> (0x16d0f7000) -[Door open:]: no key: 7",
            Some((
                "ios.sysdiagnose",
                r#"{"timestamp":"Fri Nov 20 10:00:00 2026","pid":66,"level":"err","thread":"16d0f7000","function":"-[Door open:]","message":"no key: 7"}"#,
            )),
        );
        check("Sun Jan 17 was a day", None);
    }

    #[test]
    fn levels_behind_the_program() {
        let seen = |after| leveled(after).map(|found| (found.hostname, found.program, found.pid, found.further, found.message));
        assert_eq!(seen("mac doord[7] <Error>: no key"), Some(("mac", "doord", "7", vec![("level", "Error")], "no key")));
        let want = vec![("level", "Notice"), ("facility", "user"), ("security_api", "SecOpen"), ("caller", "C0x7f")];
        assert_eq!(seen("secd[1] <Notice> [user{SecOpen} C0x7f]:"), Some(("", "secd", "1", want, "")));
        let want = vec![("level", "Warning"), ("on_behalf_of", "org.example.door[7]")];
        assert_eq!(seen("mac launchd[1] (org.example.door[7]) <Warning>: gone"), Some(("mac", "launchd", "1", want, "gone")));
        for other in ["mac doord[7]: <Error>: no key", "mac doord <Error>: x", "mac doord[7] <tag>: x", ""] {
            assert!(leveled(other).is_none(), "{other}");
        }
    }

    #[test]
    fn verdicts_of_the_firewall() {
        let fields = |message| firewall(message).map(|fields| serde_json::to_string(&fields).expect("fields serialise"));
        let want = r#"{"event":"firewall","app":"Door App","action":"Deny","protocol":"TCP","state":"CONNECT","in":3,"out":0}"#;
        assert_eq!(fields("Door App: Deny TCP CONNECT (in:3 out:0)").as_deref(), Some(want));
        assert!(fields("launchd Allow TCP LISTEN  (in:0 out:2)").is_some_and(|text| text.contains(r#""app":"launchd""#)));
        assert_eq!(fields("Logging: creating a file"), None);
    }
}
