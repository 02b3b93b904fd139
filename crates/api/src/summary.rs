//! One line that says what an event is about, for a list of events.

use serde_json::{Map, Value};

/// The line's longest length, in characters.
const LONGEST: usize = 240;

/// What happened, from OCSF attributes under their dotted names.
pub fn summary(class_uid: u64, activity_id: u64, fields: &Map<String, Value>) -> String {
    let get = |name: &str| fields.get(name).map(plain).unwrap_or_default();
    let first = |names: &[&str]| names.iter().map(|name| get(name)).find(|text| !text.is_empty()).unwrap_or_default();
    let line = match class_uid {
        1007 => join(&[
            if activity_id == 2 { "ended" } else { "" },
            &first(&["process.cmd_line", "process.file.path", "process.name"]),
            &label("by", &first(&["process.user.name", "actor.user.name"])),
            &label("from", &first(&["process.parent_process.name", "process.parent_process.file.path", "actor.process.name"])),
        ]),
        3002 => join(&[
            verdict(&get("status_id")),
            &first(&["user.name", "actor.user.name"]),
            &label("from", &first(&["src_endpoint.ip", "src_endpoint.hostname"])),
            &label("via", &first(&["service.name", "auth_protocol", "logon_type"])),
        ]),
        4002 => join(&[
            &get("http_request.http_method"),
            &(get("http_request.url.path") + &prefixed("?", &get("http_request.url.query_string"))),
            &label("→", &get("http_response.code")),
            &label("from", &get("src_endpoint.ip")),
        ]),
        4003 => join(&[
            &get("query.type"),
            &get("query.hostname"),
            &label("→", &get("rcode")),
            &label("from", &get("src_endpoint.ip")),
        ]),
        4000..5000 => join(&[
            &endpoint(&get("src_endpoint.ip"), &get("src_endpoint.port")),
            "→",
            &endpoint(&first(&["dst_endpoint.ip", "dst_endpoint.hostname"]), &get("dst_endpoint.port")),
            &get("connection_info.protocol_name"),
            &label("by", &get("actor.process.name")),
        ]),
        1001 => {
            join(&[&get("file.path"), &label("by", &first(&["actor.process.cmd_line", "actor.process.name", "actor.user.name"]))])
        }
        1005 => join(&[&get("module.file.path"), &label("into", &get("actor.process.name"))]),
        1006 => join(&[&get("job.name"), &get("job.cmd_line"), &label("by", &get("actor.user.name"))]),
        3001 | 3005 | 3006 => join(&[&first(&["user.name", "group.name"]), &label("by", &get("actor.user.name"))]),
        6003 => join(&[
            &get("api.operation"),
            &get("api.service.name"),
            &label("by", &get("actor.user.name")),
            &label("from", &get("src_endpoint.ip")),
        ]),
        201_001 | 201_002 => join(&[&first(&["reg_key.path", "reg_value.path"]), &get("reg_value.name"), &get("reg_value.data")]),
        201_004 => join(&[&first(&["win_service.name", "service.name"]), &get("win_service.cmd_line")]),
        _ => String::new(),
    };
    let line =
        if line.is_empty() { first(&["message", "status_detail", "metadata.event_code", "metadata.log_name"]) } else { line };
    shortened(&line)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn join(parts: &[&str]) -> String {
    let line = parts.iter().copied().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    if line == "→" { String::new() } else { line }
}

fn label(word: &str, text: &str) -> String {
    prefixed(&format!("{word} "), text)
}

fn prefixed(prefix: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{prefix}{text}") }
}

fn endpoint(ip: &str, port: &str) -> String {
    if port.is_empty() || ip.is_empty() { ip.to_owned() } else { format!("{ip}:{port}") }
}

fn verdict(status_id: &str) -> &'static str {
    match status_id {
        "1" => "success",
        "2" => "failure",
        _ => "",
    }
}

fn shortened(line: &str) -> String {
    // Control characters would break the row, and let a log line draw on a terminal.
    let clean: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST + 1).collect();
    if clean.chars().count() > LONGEST { clean.chars().take(LONGEST).chain(['…']).collect() } else { clean }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(class_uid: u64, fields: Value, expected: &str) {
        let Value::Object(fields) = fields else { panic!("fields are an object") };
        assert_eq!(summary(class_uid, 1, &fields), expected);
    }

    #[test]
    fn lines_say_what_happened() {
        check(
            1007,
            serde_json::json!({"process.cmd_line": "id", "process.user.name": "www-data", "process.parent_process.name": "sh"}),
            "id by www-data from sh",
        );
        check(
            3002,
            serde_json::json!({"status_id": 2, "user.name": "root", "src_endpoint.ip": "10.0.0.9", "service.name": "sshd"}),
            "failure root from 10.0.0.9 via sshd",
        );
        check(
            4001,
            serde_json::json!({"src_endpoint.ip": "10.0.0.9", "src_endpoint.port": 4000, "dst_endpoint.ip": "10.0.0.1"}),
            "10.0.0.9:4000 → 10.0.0.1",
        );
        check(4001, serde_json::json!({}), "");
        check(0, serde_json::json!({"message": "a\u{1b}[31mb"}), "a [31mb");
    }
}
