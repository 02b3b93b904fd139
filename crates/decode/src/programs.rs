//! What well-known programs write into the message of a syslog line, as fields of their own.
//!
//! | program | `event` | further fields |
//! |---|---|---|
//! | sshd | `accepted`, `failed`, `invalid_user`, `disconnected` | `user` `src_ip` `src_port` `auth_method` `protocol` `key_type` `fingerprint` `invalid_user` |
//! | any, by PAM | `session_opened`, `session_closed`, `auth_failure`, `password_changed` | `service` `user` `uid` `by_user` `by_uid` `rhost` `ruser` `tty` |
//! | sudo | `command`, `denied` | `user` `tty` `pwd` `run_as` `command` `reason` |
//! | su | `su`, `su_failed` | `user` `run_as` `tty` |
//! | cron | `command` | `user` `command` |
//! | systemd | `started`, `stopped`, `starting`, `stopping`, `reloaded`, `failed` | `unit` |
//! | systemd-logind | `session_new`, `session_removed` | `session` `user` |
//! | useradd, groupadd, usermod, userdel … | `user_added`, `group_added`, `member_added`, `user_deleted`, `group_deleted` | `user` `group` `uid` `gid` `home` `shell` `from` |
//! | dnsmasq | `query`, `reply`, `forwarded`, `cached` | `query` `query_type` `src_ip` `answer` `server` |
//! | socketfilterfw | `firewall` | `app` `action` `protocol` `state` `in` `out` |
//! | nginx, apache, httpd | `access` | those of `web.access` |

use crate::{Map, Value, apple_text, web};

/// The fields of a message, if its program and form are known.
pub(crate) fn parse<'a>(program: &str, message: &'a str) -> Option<Map<'a>> {
    let program = program.rsplit('/').next().unwrap_or(program);
    if message.starts_with("pam_unix(") || message.starts_with("pam_sss(") {
        return pam(message);
    }
    match program {
        "sshd" | "sshd-session" | "sshd-auth" => sshd(message),
        "sudo" => sudo(message),
        "su" | "su-l" => su(message),
        "CRON" | "cron" | "crond" | "anacron" => cron(message),
        "systemd" => systemd(message),
        "systemd-logind" => logind(message),
        "useradd" | "adduser" | "groupadd" | "addgroup" | "usermod" | "userdel" | "groupdel" | "gpasswd" => account(message),
        "socketfilterfw" => apple_text::firewall(message),
        "dnsmasq" | "dnsmasq-dhcp" => dnsmasq(message),
        "nginx" | "apache" | "apache2" | "httpd" | "access" => web::access(message).map(|access| {
            let mut fields = event("access");
            fields.0.extend(access.native.0);
            fields
        }),
        _ => None,
    }
}

fn event(name: &'static str) -> Map<'static> {
    let mut fields = Map(Vec::with_capacity(8));
    fields.push("event", name);
    fields
}

fn put<'a>(fields: &mut Map<'a>, name: &'static str, value: &'a str) {
    if !value.is_empty() {
        fields.push(name, value);
    }
}

/// `ADDRESS port PORT` at the end of sshd's messages.
fn peer<'a>(fields: &mut Map<'a>, text: &'a str) -> &'a str {
    let (address, rest) = text.split_once(' ').unwrap_or((text, ""));
    put(fields, "src_ip", address);
    let Some(rest) = rest.strip_prefix("port ") else { return rest };
    let (port, rest) = rest.split_at(rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len()));
    if let Ok(port) = port.parse::<i64>() {
        fields.push("src_port", port);
    }
    rest.trim_start()
}

fn sshd(message: &str) -> Option<Map<'_>> {
    for (prefix, name) in [("Accepted ", "accepted"), ("Failed ", "failed"), ("Postponed ", "postponed")] {
        if let Some(rest) = message.strip_prefix(prefix) {
            return sshd_auth(event(name), rest);
        }
    }
    if let Some(rest) = message.strip_prefix("Invalid user ").or_else(|| message.strip_prefix("Illegal user ")) {
        let mut fields = event("invalid_user");
        let (user, rest) = rest.rsplit_once(" from ").or_else(|| Some(("", rest.strip_prefix("from ")?)))?;
        put(&mut fields, "user", user.trim());
        peer(&mut fields, rest);
        return Some(fields);
    }
    let rest =
        ["Connection closed by ", "Connection reset by ", "Disconnected from ", "Received disconnect from ", "Disconnecting "]
            .iter()
            .find_map(|prefix| message.strip_prefix(prefix))?;
    let mut fields = event("disconnected");
    let rest = ["authenticating user ", "invalid user ", "user "].iter().find_map(|prefix| rest.strip_prefix(prefix)).map_or(
        rest,
        |rest| {
            let (user, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            put(&mut fields, "user", user);
            rest
        },
    );
    peer(&mut fields, rest);
    Some(fields)
}

/// `METHOD for [invalid user ]USER from ADDRESS port PORT [PROTOCOL][: KEYTYPE FINGERPRINT]`
fn sshd_auth<'a>(mut fields: Map<'a>, rest: &'a str) -> Option<Map<'a>> {
    let (method, rest) = rest.split_once(" for ")?;
    put(&mut fields, "auth_method", method);
    // The name is the guesser's to choose and may hold ` from `: the last one is sshd's.
    let (user, rest) = rest.rsplit_once(" from ")?;
    let (invalid, user) = match user.strip_prefix("invalid user ").or_else(|| user.strip_prefix("illegal user ")) {
        Some(user) => (true, user),
        None => (false, user),
    };
    put(&mut fields, "user", user);
    if invalid {
        fields.push("invalid_user", true);
    }
    let rest = peer(&mut fields, rest);
    let (protocol, key) = rest.split_once(": ").unwrap_or((rest, ""));
    put(&mut fields, "protocol", protocol);
    if let Some((kind, fingerprint)) = key.split_once(' ') {
        put(&mut fields, "key_type", kind);
        put(&mut fields, "fingerprint", fingerprint);
    }
    Some(fields)
}

/// `pam_unix(SERVICE:TYPE): …`
fn pam(message: &str) -> Option<Map<'_>> {
    let (head, rest) = message.split_once("): ")?;
    let (_, service) = head.split_once('(')?;
    let service = service.split_once(':').map_or(service, |(service, _)| service);
    let mut fields;
    if let Some(who) = rest.strip_prefix("session opened for user ") {
        fields = event("session_opened");
        put(&mut fields, "service", service);
        let (user, by) = who.split_once(" by ").unwrap_or((who, ""));
        person(&mut fields, "user", "uid", user.trim());
        person(&mut fields, "by_user", "by_uid", by.trim());
    } else if let Some(who) = rest.strip_prefix("session closed for user ") {
        fields = event("session_closed");
        put(&mut fields, "service", service);
        put(&mut fields, "user", who.trim());
    } else if let Some(who) = rest.strip_prefix("password changed for ") {
        fields = event("password_changed");
        put(&mut fields, "service", service);
        put(&mut fields, "user", who.trim());
    } else {
        let pairs = rest.strip_prefix("authentication failure;")?;
        fields = event("auth_failure");
        put(&mut fields, "service", service);
        for pair in pairs.split_ascii_whitespace() {
            match pair.split_once('=') {
                Some(("user", value)) => put(&mut fields, "user", value),
                Some(("rhost", value)) => put(&mut fields, "rhost", value),
                Some(("ruser", value)) => put(&mut fields, "ruser", value),
                Some(("tty", value)) => put(&mut fields, "tty", value),
                Some(("uid", value)) => put(&mut fields, "by_uid", value),
                _ => {}
            }
        }
    }
    Some(fields)
}

/// `NAME(uid=N)` or `NAME` or `(uid=N)`
fn person<'a>(fields: &mut Map<'a>, name: &'static str, uid: &'static str, text: &'a str) {
    let (user, rest) = text.split_once("(uid=").unwrap_or((text, ""));
    put(fields, name, user);
    put(fields, uid, rest.trim_end_matches(')'));
}

/// `USER : [REASON ; ]TTY=… ; PWD=… ; USER=… ; COMMAND=…`
fn sudo(message: &str) -> Option<Map<'_>> {
    let (user, rest) = message.split_once(" : ")?;
    let mut fields = event("command");
    put(&mut fields, "user", user.trim());
    let (settings, command) = match rest.split_once("COMMAND=") {
        Some((settings, command)) => (settings, command),
        None => (rest, ""),
    };
    for setting in settings.split(" ; ") {
        match setting.trim().split_once('=') {
            Some(("TTY", value)) => put(&mut fields, "tty", value),
            Some(("PWD", value)) => put(&mut fields, "pwd", value),
            Some(("USER", value)) => put(&mut fields, "run_as", value),
            Some(_) => {}
            None if setting.trim().is_empty() => {}
            None => {
                put(&mut fields, "reason", setting.trim());
                fields.0[0].1 = Value::from("denied");
            }
        }
    }
    put(&mut fields, "command", command.trim());
    (fields.len() > 2).then_some(fields)
}

/// `(to ROOT) USER on TTY`, after `FAILED SU ` or `Successful su for …`
fn su(message: &str) -> Option<Map<'_>> {
    let (name, rest) = match message.strip_prefix("FAILED SU ") {
        Some(rest) => ("su_failed", rest),
        None => ("su", message),
    };
    let (run_as, rest) = rest.strip_prefix("(to ")?.split_once(") ")?;
    let (user, tty) = rest.split_once(" on ").unwrap_or((rest, ""));
    let mut fields = event(name);
    put(&mut fields, "user", user);
    put(&mut fields, "run_as", run_as);
    put(&mut fields, "tty", tty);
    Some(fields)
}

/// `(USER) CMD (COMMAND)`
fn cron(message: &str) -> Option<Map<'_>> {
    let (user, rest) = message.strip_prefix('(')?.split_once(") ")?;
    let command = rest.strip_prefix("CMD (")?;
    let mut fields = event("command");
    put(&mut fields, "user", user);
    put(&mut fields, "command", command.strip_suffix(')').unwrap_or(command).trim());
    Some(fields)
}

fn systemd(message: &str) -> Option<Map<'_>> {
    const ACTS: [(&str, &str); 6] = [
        ("Started ", "started"),
        ("Stopped ", "stopped"),
        ("Starting ", "starting"),
        ("Stopping ", "stopping"),
        ("Reloaded ", "reloaded"),
        ("Failed to start ", "failed"),
    ];
    let (unit, name) = ACTS.iter().find_map(|(prefix, name)| Some((message.strip_prefix(prefix)?, *name)))?;
    let mut fields = event(name);
    put(&mut fields, "unit", unit.trim_end_matches("...").trim_end_matches('.'));
    Some(fields)
}

fn logind(message: &str) -> Option<Map<'_>> {
    if let Some(rest) = message.strip_prefix("New session ") {
        let (session, user) = rest.split_once(" of user ")?;
        let mut fields = event("session_new");
        put(&mut fields, "session", session);
        put(&mut fields, "user", user.split(['.', ' ']).next().unwrap_or(user));
        return Some(fields);
    }
    let session = message.strip_prefix("Removed session ")?;
    let mut fields = event("session_removed");
    put(&mut fields, "session", session.trim_end_matches('.'));
    Some(fields)
}

fn account(message: &str) -> Option<Map<'_>> {
    if let Some(rest) = message.strip_prefix("new user: ") {
        return Some(pairs(event("user_added"), "user", rest));
    }
    if let Some(rest) = message.strip_prefix("new group: ") {
        return Some(pairs(event("group_added"), "group", rest));
    }
    if let Some(rest) = message.strip_prefix("add '") {
        let (user, rest) = rest.split_once('\'')?;
        let group = rest.split('\'').nth(1)?;
        let mut fields = event(if rest.contains("shadow group") { "shadow_member_added" } else { "member_added" });
        put(&mut fields, "user", user);
        put(&mut fields, "group", group);
        return Some(fields);
    }
    if let Some(rest) = message.strip_prefix("delete user '") {
        let mut fields = event("user_deleted");
        put(&mut fields, "user", rest.split('\'').next().unwrap_or(rest));
        return Some(fields);
    }
    let rest = message.strip_prefix("removed group '")?;
    let mut fields = event("group_deleted");
    put(&mut fields, "group", rest.split('\'').next().unwrap_or(rest));
    Some(fields)
}

/// `name=x, UID=1001, GID=1001, home=/home/x, shell=/bin/sh`
fn pairs<'a>(mut fields: Map<'a>, who: &'static str, text: &'a str) -> Map<'a> {
    for pair in text.split(", ") {
        match pair.split_once('=') {
            Some(("name", value)) => put(&mut fields, who, value),
            Some(("UID", value)) => put(&mut fields, "uid", value),
            Some(("GID", value)) => put(&mut fields, "gid", value),
            Some(("home", value)) => put(&mut fields, "home", value),
            Some(("shell", value)) => put(&mut fields, "shell", value),
            Some(("from", value)) => put(&mut fields, "from", value),
            _ => {}
        }
    }
    fields
}

/// `query[A] NAME from ADDRESS`, `reply NAME is ANSWER`, …, after an optional `SERIAL ADDRESS/PORT `
fn dnsmasq(message: &str) -> Option<Map<'_>> {
    let mut rest = message;
    let mut asker = "";
    if rest.starts_with(|first: char| first.is_ascii_digit()) {
        let (_, after) = rest.split_once(' ')?;
        let (peer, after) = after.split_once(' ')?;
        asker = peer.split('/').next().unwrap_or(peer);
        rest = after;
    }
    if let Some(query) = rest.strip_prefix("query[") {
        let (kind, query) = query.split_once("] ")?;
        let (name, from) = query.split_once(" from ")?;
        let mut fields = event("query");
        put(&mut fields, "query_type", kind);
        put(&mut fields, "query", name);
        put(&mut fields, "src_ip", from);
        return Some(fields);
    }
    for (prefix, name, between, value) in [
        ("reply ", "reply", " is ", "answer"),
        ("cached ", "cached", " is ", "answer"),
        ("forwarded ", "forwarded", " to ", "server"),
        ("config ", "reply", " is ", "answer"),
        ("/etc/hosts ", "reply", " is ", "answer"),
    ] {
        if let Some((query, found)) = rest.strip_prefix(prefix).and_then(|rest| rest.split_once(between)) {
            let mut fields = event(name);
            put(&mut fields, "query", query);
            put(&mut fields, value, found);
            put(&mut fields, "src_ip", asker);
            return Some(fields);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_become_fields() {
        for (program, message, want) in [
            (
                "sshd",
                "Failed password for invalid user a from b from 10.0.0.9 port 4242 ssh2",
                r#"{"event":"failed","auth_method":"password","user":"a from b","invalid_user":true,"src_ip":"10.0.0.9","src_port":4242,"protocol":"ssh2"}"#,
            ),
            (
                "sshd",
                "Accepted publickey for root from ::1 port 22 ssh2: ED25519 SHA256:abc",
                r#"{"event":"accepted","auth_method":"publickey","user":"root","src_ip":"::1","src_port":22,"protocol":"ssh2","key_type":"ED25519","fingerprint":"SHA256:abc"}"#,
            ),
            (
                "sshd",
                "Connection closed by authenticating user root 10.0.0.9 port 7 [preauth]",
                r#"{"event":"disconnected","user":"root","src_ip":"10.0.0.9","src_port":7}"#,
            ),
            (
                "sudo",
                "alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/cat /etc/shadow",
                r#"{"event":"command","user":"alice","tty":"pts/0","pwd":"/home/alice","run_as":"root","command":"/bin/cat /etc/shadow"}"#,
            ),
            (
                "CRON",
                "(root) CMD (   cd / && run-parts x)",
                r#"{"event":"command","user":"root","command":"cd / && run-parts x"}"#,
            ),
            (
                "su",
                "pam_unix(su:session): session opened for user root(uid=0) by alice(uid=1000)",
                r#"{"event":"session_opened","service":"su","user":"root","uid":"0","by_user":"alice","by_uid":"1000"}"#,
            ),
            (
                "dnsmasq",
                "query[A] evil.example from 10.0.0.5",
                r#"{"event":"query","query_type":"A","query":"evil.example","src_ip":"10.0.0.5"}"#,
            ),
            (
                "useradd",
                "new user: name=eve, UID=1001, GID=1001, home=/home/eve, shell=/bin/bash, from=none",
                r#"{"event":"user_added","user":"eve","uid":"1001","gid":"1001","home":"/home/eve","shell":"/bin/bash","from":"none"}"#,
            ),
            ("usermod", "add 'eve' to group 'sudo'", r#"{"event":"member_added","user":"eve","group":"sudo"}"#),
        ] {
            let fields = parse(program, message).unwrap_or_else(|| panic!("not read: {message}"));
            assert_eq!(serde_json::to_string(&fields).expect("fields serialise"), want);
        }
    }
}
