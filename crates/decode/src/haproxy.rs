//! Lines of HAProxy in its own formats: HTTP, HTTPS, TCP, and what it says of connections that never got that far.
//!
//! Source: HAProxy configuration manual, section 8.2. The names are those of the manual's tables, shortened where it explains them.

use std::borrow::Cow;

use crate::form::Line;
use crate::time::web_stamp;
use crate::{Map, Value, web};

/// A line in one of HAProxy's formats; `None` if it is in none of them.
pub(crate) fn read(line: &str) -> Option<Line<'_>> {
    if let Some(rest) = line.strip_prefix("Connect from ") {
        return connect(rest);
    }
    let bracket = line.as_bytes().iter().take(CLIENT_MAX).position(|byte| *byte == b' ')?;
    let (client, rest) = line.split_at(bracket);
    let (stamp, rest) = rest.strip_prefix(" [")?.split_once("] ")?;
    let time = Some(stamp).filter(|stamp| stamp.len() <= STAMP_MAX).and_then(web_stamp)?;
    let mut native = Map(Vec::with_capacity(28));
    endpoint(&mut native, "client_ip", "client_port", client)?;
    native.push("accept_date", stamp);
    let (frontend, rest) = rest.split_once(' ')?;
    match frontend.strip_suffix(':') {
        Some(frontend) => {
            put_frontend(&mut native, frontend.split_once('/').map_or(frontend, |(name, _)| name));
            native.push("message", rest);
        }
        None => {
            put_frontend(&mut native, frontend);
            proxied(&mut native, rest)?;
        }
    }
    Some(Line { decoder: "haproxy", native, time: Some(time), problems: Vec::new() })
}

/// What follows the frontend: `backend/server`, then numbers by which the formats are told apart.
fn proxied<'a>(native: &mut Map<'a>, rest: &'a str) -> Option<()> {
    let (server, rest) = rest.split_once(' ')?;
    let (backend, server) = server.split_once('/')?;
    native.push("backend", backend);
    native.push("server", server);
    let (timers, rest) = rest.split_once(' ')?;
    match timers.split('/').count() {
        5 => http(native, timers, rest),
        3 => tcp(native, timers, rest),
        _ => None,
    }
}

/// `Tw/Tc/Tt bytes state connections queues`
fn tcp<'a>(native: &mut Map<'a>, timers: &'a str, rest: &'a str) -> Option<()> {
    numbers(native, &["time_queue", "time_connect", "time_total"], timers)?;
    let mut words = rest.splitn(5, ' ');
    native.push("bytes_read", count(words.next()?)?);
    native.push("termination_state", words.next().filter(|state| state.len() == 2)?);
    numbers(native, &CONNECTIONS, words.next()?)?;
    numbers(native, &QUEUES, words.next()?)?;
    if let Some(more) = words.next().filter(|more| !more.is_empty()) {
        native.push("rest", more);
    }
    Some(())
}

/// `TR/Tw/Tc/Tr/Ta status bytes cookie cookie state connections queues [{headers} [{headers}]] "request"[ tls]`
fn http<'a>(native: &mut Map<'a>, timers: &'a str, rest: &'a str) -> Option<()> {
    numbers(native, &["time_request", "time_queue", "time_connect", "time_response", "time_active"], timers)?;
    let mut rest = rest;
    let mut word = || {
        let (word, after) = rest.split_once(' ')?;
        rest = after;
        Some(word)
    };
    native.push("status", count(word()?)?);
    native.push("bytes_read", count(word()?)?);
    for name in ["captured_request_cookie", "captured_response_cookie"] {
        if let Some(cookie) = Some(word()?).filter(|cookie| *cookie != "-") {
            native.push(name, cookie);
        }
    }
    native.push("termination_state", word().filter(|state| state.len() == 4)?);
    numbers(native, &CONNECTIONS, word()?)?;
    numbers(native, &QUEUES, word()?)?;
    for name in ["captured_request_headers", "captured_response_headers"] {
        let Some((headers, after)) = rest.strip_prefix('{').and_then(|inside| inside.split_once("} ")) else { break };
        if !headers.is_empty() {
            native.push(name, Value::List(headers.split('|').map(Value::from).collect()));
        }
        rest = after;
    }
    let (request, after) = rest.strip_prefix('"')?.rsplit_once('"').or_else(|| Some((rest.strip_prefix('"')?, "")))?;
    if request == "<BADREQ>" {
        native.push("request", request);
    } else {
        web::request_fields(native, Cow::Borrowed(request));
    }
    let after = after.trim_ascii();
    if !after.is_empty() && !tls(native, after) {
        native.push("rest", after);
    }
    Some(())
}

/// What the HTTPS format adds: `errors sni/version/cipher`.
fn tls<'a>(native: &mut Map<'a>, text: &'a str) -> bool {
    let Some((errors, session)) = text.split_once(' ') else { return false };
    let mut parts = session.rsplitn(3, '/');
    let (Some(cipher), Some(version), Some(sni)) = (parts.next(), parts.next(), parts.next()) else { return false };
    if errors.split('/').count() != 5 {
        return false;
    }
    native.push("ssl_errors", errors);
    for (name, value) in [("ssl_sni", sni), ("ssl_version", version), ("ssl_ciphers", cipher)] {
        if value != "-" {
            native.push(name, value);
        }
    }
    true
}

/// `A:PORT to B:PORT (frontend/MODE)`, written before there is anything else to say.
fn connect(rest: &str) -> Option<Line<'_>> {
    let (client, rest) = rest.split_once(" to ")?;
    let (here, rest) = rest.split_once(" (")?;
    let (frontend, mode) = rest.strip_suffix(')')?.rsplit_once('/')?;
    let mut native = Map(Vec::with_capacity(6));
    endpoint(&mut native, "client_ip", "client_port", client)?;
    endpoint(&mut native, "frontend_ip", "frontend_port", here)?;
    native.push("frontend", frontend);
    native.push("mode", mode);
    Some(Line { decoder: "haproxy", native, time: None, problems: Vec::new() })
}

/// A frontend that spoke TLS has a `~` behind its name.
fn put_frontend<'a>(native: &mut Map<'a>, frontend: &'a str) {
    native.push("frontend", frontend.trim_end_matches('~'));
    if frontend.ends_with('~') {
        native.push("ssl", true);
    }
}

/// `ADDRESS:PORT`; `None` if the end is no port.
fn endpoint<'a>(native: &mut Map<'a>, ip_name: &'static str, port_name: &'static str, text: &'a str) -> Option<()> {
    let (ip, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    native.push(ip_name, ip);
    native.push(port_name, i64::from(port));
    Some(())
}

/// As many numbers as there are names, a slash between them.
fn numbers(native: &mut Map<'_>, names: &[&'static str], text: &str) -> Option<()> {
    let mut parts = text.split('/');
    for name in names {
        native.push(*name, count(parts.next()?)?);
    }
    parts.next().is_none().then_some(())
}

/// A number; `+` before it says that the session still went on, -1 that it never came so far.
fn count(text: &str) -> Option<i64> {
    text.strip_prefix('+').unwrap_or(text).parse().ok()
}

const CONNECTIONS: [&str; 5] = ["connections", "frontend_connections", "backend_connections", "server_connections", "retries"];
const QUEUES: [&str; 2] = ["server_queue", "backend_queue"];
/// Longest `ADDRESS:PORT` and a blank, in bytes.
const CLIENT_MAX: usize = 128;
/// Longest time, in bytes, as in `06/Feb/2026:12:14:14.655 +0100`.
const STAMP_MAX: usize = 34;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, want: Option<&str>) {
        let found = read(line).map(|line| serde_json::to_string(&line.native).expect("fields serialise"));
        assert_eq!(found.as_deref(), want, "{line}");
    }

    #[test]
    fn formats_of_the_manual() {
        check(
            r#"10.0.1.2:33317 [06/Feb/2026:12:14:14.655] http-in~ static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu|curl} {} "GET /index.html?a=1 HTTP/1.1""#,
            Some(
                r#"{"client_ip":"10.0.1.2","client_port":33317,"accept_date":"06/Feb/2026:12:14:14.655","frontend":"http-in","ssl":true,"backend":"static","server":"srv1","time_request":10,"time_queue":0,"time_connect":30,"time_response":69,"time_active":109,"status":200,"bytes_read":2750,"termination_state":"----","connections":1,"frontend_connections":1,"backend_connections":1,"server_connections":1,"retries":0,"server_queue":0,"backend_queue":0,"captured_request_headers":["1wt.eu","curl"],"method":"GET","uri":"/index.html?a=1","protocol":"HTTP/1.1","request":"GET /index.html?a=1 HTTP/1.1"}"#,
            ),
        );
        check(
            "2001:db8::2:33313 [06/Feb/2026:12:12:51.443] fnt bck/srv1 0/0/+5007 +212 -- 0/0/0/0/3 0/0",
            Some(
                r#"{"client_ip":"2001:db8::2","client_port":33313,"accept_date":"06/Feb/2026:12:12:51.443","frontend":"fnt","backend":"bck","server":"srv1","time_queue":0,"time_connect":0,"time_total":5007,"bytes_read":212,"termination_state":"--","connections":0,"frontend_connections":0,"backend_connections":0,"server_connections":0,"retries":3,"server_queue":0,"backend_queue":0}"#,
            ),
        );
        check(
            "Connect from 10.0.1.2:33312 to 10.0.3.31:8012 (www/HTTP)",
            Some(
                r#"{"client_ip":"10.0.1.2","client_port":33312,"frontend_ip":"10.0.3.31","frontend_port":8012,"frontend":"www","mode":"HTTP"}"#,
            ),
        );
        check(
            "127.0.0.1:34042 [13/Jul/2026:15:12:11.123] http-in/1: Connection error during SSL handshake",
            Some(
                r#"{"client_ip":"127.0.0.1","client_port":34042,"accept_date":"13/Jul/2026:15:12:11.123","frontend":"http-in","message":"Connection error during SSL handshake"}"#,
            ),
        );
    }

    #[test]
    fn tls_and_bad_requests() {
        let head = "10.0.1.2:1 [06/Feb/2026:12:14:14.655] f b/<NOSRV> -1/-1/-1/-1/7 400 187 - - PR-- 1/1/0/0/0 0/0";
        let line = format!("{head} \"<BADREQ>\"");
        let found = read(&line).expect("a line").native;
        assert_eq!(found.get("request").and_then(Value::as_str), Some("<BADREQ>"));
        assert!(found.get("method").is_none());
        let line = format!("{head} \"GET /a\"b HTTP/1.1\" 0/0/0/0/0 shop.example/TLSv1.3/TLS_AES_256_GCM_SHA384");
        let found = read(&line).expect("a line");
        assert_eq!(found.native.get("ssl_sni").and_then(Value::as_str), Some("shop.example"));
        assert_eq!(found.native.get("uri").and_then(Value::as_str), Some("/a\"b"));
        assert_eq!(found.time.map(|time| time.at.to_string()).as_deref(), Some("2026-02-06T12:14:14.655Z"));
    }

    #[test]
    fn others_are_left_alone() {
        for line in [
            "10.0.1.2 - - [06/Feb/2026:12:14:14 +0000] \"GET / HTTP/1.1\" 200 1",
            "10.0.1.2:33317 [06/Feb/2026:12:14:14.655] f b/s 1/2 x",
            "10.0.1.2:x [06/Feb/2026:12:14:14.655] f b/s 0/0/1 2 -- 0/0/0/0/0 0/0",
            "Connect from nowhere",
            "",
        ] {
            check(line, None);
        }
    }
}
