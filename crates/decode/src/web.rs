use std::borrow::Cow;

use reeve_record::EventTime;

use crate::time::{month_stamp, stamp, web_stamp};
use crate::{Map, Value};

/// A line of a web server's log.
pub(crate) struct Line<'a> {
    pub(crate) native: Map<'a>,
    pub(crate) time: Option<EventTime>,
}

/// Common or combined log format of Apache and nginx, also with the virtual host in front:
/// `[VHOST ]CLIENT IDENT USER [TIME] "REQUEST" STATUS SIZE[ "REFERRER" "AGENT"[ …]]`.
///
/// Fields: `vhost client ident user timestamp request method uri protocol status size referrer user_agent rest`, absent for `-`.
pub(crate) fn access(line: &str) -> Option<Line<'_>> {
    let open = line.find(" [")?;
    let (who, rest) = line.split_at(open);
    let (timestamp, rest) = rest[2..].split_once("] \"")?;
    let time = web_stamp(timestamp)?;
    let mut words: Vec<&str> = who.split(' ').collect();
    if words.len() < 3 || words.len() > 8 {
        return None;
    }
    let vhost = if words.len() == 4 { words.remove(0) } else { "" };
    let (request, rest) = until_quote(rest)?;
    let (status, rest) = word(rest.trim_start());
    let status: i64 = status.parse().ok().filter(|code| (0..1000).contains(code))?;
    let (size, rest) = word(rest);
    let mut native = Map(Vec::with_capacity(14));
    put(&mut native, "vhost", vhost);
    put(&mut native, "client", words[0]);
    put(&mut native, "ident", words[1]);
    if words[2..] != ["-"] {
        native.push("user", words[2..].join(" "));
    }
    native.push("timestamp", timestamp);
    request_fields(&mut native, request);
    native.push("status", status);
    if let Ok(size) = size.parse::<i64>() {
        native.push("size", size);
    }
    let mut rest = rest.trim_start();
    for name in ["referrer", "user_agent"] {
        let Some((value, after)) = rest.strip_prefix('"').and_then(until_quote) else { break };
        if value != "-" {
            native.push(name, value);
        }
        rest = after.trim_start();
    }
    put(&mut native, "rest", rest);
    Some(Line { native, time: Some(time) })
}

/// A request line with its parts: `method uri protocol request`.
pub(crate) fn request_fields<'a>(native: &mut Map<'a>, request: Cow<'a, str>) {
    let parts = |text: &str| {
        let (method, rest) = text.split_once(' ')?;
        let plausible =
            !method.is_empty() && method.len() < 32 && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        let (uri, protocol) = rest.rsplit_once(' ').filter(|(_, last)| last.starts_with("HTTP/")).unwrap_or((rest, ""));
        plausible.then_some((method.len(), uri.len(), protocol.len()))
    };
    if let Some((method, uri, protocol)) = parts(&request) {
        let slice = |from: usize, len: usize| -> Value<'a> {
            match &request {
                Cow::Borrowed(text) => Value::from(&text[from..from + len]),
                Cow::Owned(text) => Value::from(text[from..from + len].to_owned()),
            }
        };
        native.push("method", slice(0, method));
        native.push("uri", slice(method + 1, uri));
        if protocol > 0 {
            native.push("protocol", slice(method + uri + 2, protocol));
        }
    }
    native.push("request", request);
}

/// Apache's `[TIME] [MODULE:LEVEL] [pid N] [client A:P] message` and nginx's `YYYY/MM/DD hh:mm:ss [LEVEL] PID#TID: *C message`.
pub(crate) fn error(line: &str) -> Option<Line<'_>> {
    let mut native = Map(Vec::with_capacity(8));
    if let Some(found) = stamp(line)
        && let Some((level, rest)) = line[found.len..].strip_prefix(" [").and_then(|rest| rest.split_once("] "))
        && let Some((process, message)) = rest.split_once(": ")
        && let Some((pid, tid)) = process.split_once('#')
    {
        native.push("timestamp", &line[..found.len]);
        put(&mut native, "level", level);
        put(&mut native, "pid", pid);
        put(&mut native, "tid", tid);
        nginx_context(&mut native, message);
        native.push("message", message);
        return Some(Line { native, time: Some(found.time) });
    }
    let (timestamp, rest) = line.strip_prefix('[')?.split_once("] [")?;
    // `Wed Oct 11 14:32:52.123456 2000`
    let found = month_stamp(timestamp.get(4..)?, jiff::Timestamp::UNIX_EPOCH)?;
    if found.len + 4 != timestamp.len() {
        return None;
    }
    native.push("timestamp", timestamp);
    let (level, mut rest) = rest.split_once("] ")?;
    put(&mut native, "level", level);
    while let Some((part, after)) = rest.strip_prefix('[').and_then(|inner| inner.split_once("] ")) {
        if let Some((name @ ("pid" | "client"), value)) = part.split_once(' ') {
            native.push(name.to_owned(), value);
        }
        rest = after;
    }
    native.push("message", rest);
    Some(Line { native, time: Some(found.time) })
}

/// `…, client: A, server: S, request: "R", host: "H"` at the end of nginx's messages.
fn nginx_context<'a>(native: &mut Map<'a>, message: &'a str) {
    for part in message.split(", ") {
        match part.split_once(": ") {
            Some(("client", value)) => put(native, "client", value),
            Some(("server", value)) => put(native, "server", value),
            Some(("request", value)) => put(native, "request", value.trim_matches('"')),
            Some(("host", value)) => put(native, "host", value.trim_matches('"')),
            _ => {}
        }
    }
}

/// The text up to an unescaped quote, with `\"` and `\\` undone, and what follows the quote.
fn until_quote(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut from = 0;
    let mut escaped = false;
    loop {
        let at = from + text[from..].find(['"', '\\'])?;
        if text.as_bytes()[at] == b'"' {
            let inner = &text[..at];
            let inner =
                if escaped { Cow::Owned(inner.replace("\\\"", "\"").replace("\\\\", "\\")) } else { Cow::Borrowed(inner) };
            return Some((inner, &text[at + 1..]));
        }
        escaped = true;
        from = at + 1 + text[at + 1..].chars().next()?.len_utf8();
    }
}

fn word(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

fn put<'a>(native: &mut Map<'a>, name: &'static str, value: &'a str) {
    if !value.is_empty() && value != "-" {
        native.push(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: Option<Line<'_>>, want: &str) {
        let line = line.expect("a line of this format");
        assert_eq!(serde_json::to_string(&line.native).expect("fields serialise"), want);
    }

    #[test]
    fn combined_and_common() {
        check(
            access(r#"10.0.0.1 - bob [10/Oct/2024:13:55:36 +0200] "GET /a?b=\"c HTTP/1.1" 200 12 "-" "curl/8""#),
            r#"{"client":"10.0.0.1","user":"bob","timestamp":"10/Oct/2024:13:55:36 +0200","method":"GET","uri":"/a?b=\"c","protocol":"HTTP/1.1","request":"GET /a?b=\"c HTTP/1.1","status":200,"size":12,"user_agent":"curl/8"}"#,
        );
        check(
            access(r#"::1 - - [10/Oct/2024:13:55:36 +0200] "-" 408 -"#),
            r#"{"client":"::1","timestamp":"10/Oct/2024:13:55:36 +0200","request":"-","status":408}"#,
        );
        assert!(access("no log line").is_none());
    }

    #[test]
    fn error_logs() {
        check(
            error(
                r#"2024/10/11 10:00:00 [error] 12#13: *5 open() "/x" failed, client: 10.0.0.1, server: _, request: "GET /x HTTP/1.1", host: "h""#,
            ),
            r#"{"timestamp":"2024/10/11 10:00:00","level":"error","pid":"12","tid":"13","client":"10.0.0.1","server":"_","request":"GET /x HTTP/1.1","host":"h","message":"*5 open() \"/x\" failed, client: 10.0.0.1, server: _, request: \"GET /x HTTP/1.1\", host: \"h\""}"#,
        );
        check(
            error("[Wed Oct 11 14:32:52.123456 2000] [core:error] [pid 35708:tid 1] [client 10.0.0.9:44] AH00128: none"),
            r#"{"timestamp":"Wed Oct 11 14:32:52.123456 2000","level":"core:error","pid":"35708:tid 1","client":"10.0.0.9:44","message":"AH00128: none"}"#,
        );
    }
}
