//! What Apple's systems, and agents on endpoints of any system, write as JSON: one closer look for each family.

use crate::cloud::{Told, first, text};
use crate::{Map, Value};

// The decoders of this module.
pub(crate) const ENDPOINT_SECURITY: &str = "macos.es";
pub(crate) const UNIFIED_LOG: &str = "macos.unifiedlog";
pub(crate) const REPORT: &str = "apple.ips";
pub(crate) const PRIVACY: &str = "ios.privacy";
pub(crate) const ELASTIC: &str = "elastic.endpoint";

/// A message of macOS's Endpoint Security as `eslogger` and agents built on the same names write it: the kind as a number, the process
/// that acted, and one object named after the kind.
pub(crate) fn endpoint_security(map: &Map<'_>) -> Told {
    let is_map = |name: &str| map.get(name).is_some_and(|value| value.as_map().is_some());
    let numbered = matches!(map.get("event_type"), Some(Value::Int(_)));
    (numbered && is_map("event") && is_map("process")).then(|| (ENDPOINT_SECURITY, first(map, &["time"])))
}

/// An entry of the unified log as `log show` and `log stream` print it with `--style ndjson` or `json`.
pub(crate) fn unified_log(map: &Map<'_>) -> Told {
    let has = |name: &str| map.get(name).is_some();
    let ours = has("eventType") && (has("eventMessage") || has("traceID") || has("processImagePath"));
    ours.then(|| (UNIFIED_LOG, first(map, &["timestamp"])))
}

/// The head of a report file (`.ips`: crashes, hangs, resource use), or its body, which is the file's second object.
pub(crate) fn report(map: &Map<'_>) -> Told {
    let has = |name: &str| map.get(name).is_some();
    let head = has("bug_type") && (has("incident_id") || has("os_version"));
    let body = (has("procName") || has("procPath")) && (has("captureTime") || has("incident"));
    (head || body).then(|| (REPORT, first(map, &["captureTime", "timestamp"])))
}

/// A line of the App Privacy Report that iOS exports.
pub(crate) fn privacy(map: &Map<'_>) -> Told {
    matches!(text(map, "type"), "access" | "networkActivity").then(|| (PRIVACY, first(map, &["timeStamp"])))
}

/// An event of Elastic's endpoint agent, on macOS, Windows or Linux.
pub(crate) fn elastic(map: &Map<'_>) -> Told {
    let ours = text(map, "event.module") == "endpoint"
        || text(map, "agent.type") == "endpoint"
        || text(map, "data_stream.dataset").starts_with("endpoint.");
    (ours && map.get("event").is_some()).then(|| (ELASTIC, first(map, &["@timestamp", "event.created"])))
}
