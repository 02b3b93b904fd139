//! Logs of security and office services that come as JSON, told as those of the clouds are: by a name that is theirs, then by a closer
//! look.
//!
//! Shapes: what the service hands out itself (its API, log stream or export to a bucket), and the same with times made readable.

use crate::cloud::{Told, first, text, utc};
use crate::{Map, Value};

// The decoders of this module.
pub(crate) const WAF: &str = "aws.waf";
pub(crate) const CLOUDFLARE_HTTP: &str = "cloudflare.http";
pub(crate) const CLOUDFLARE_FIREWALL: &str = "cloudflare.firewall";
pub(crate) const AUTH0: &str = "auth0";
pub(crate) const DUO: &str = "duo";
pub(crate) const SLACK: &str = "slack.audit";
pub(crate) const ZOOM: &str = "zoom";
pub(crate) const BOX: &str = "box";
pub(crate) const ONELOGIN: &str = "onelogin";
pub(crate) const ONEPASSWORD: &str = "onepassword";
pub(crate) const FDR: &str = "crowdstrike.fdr";
pub(crate) const FALCON: &str = "crowdstrike.stream";
pub(crate) const ZSCALER: &str = "zscaler";
pub(crate) const UMBRELLA: &str = "umbrella.dns";

fn has(map: &Map<'_>, names: &[&str]) -> bool {
    names.iter().all(|name| map.get(name).is_some())
}

/// The first time at one of these paths, where the service writes UTC without saying so.
fn told(decoder: &'static str, map: &Map<'_>, times: &[&str]) -> Told {
    Some((decoder, first(map, times).map(utc)))
}

pub(crate) fn waf(map: &Map<'_>) -> Told {
    map.get("httpRequest").and_then(Value::as_map)?;
    told(WAF, map, &["timestamp"])
}

/// Logpush names the fields that its owner chose; the request and the ray are in every choice that says anything.
pub(crate) fn cloudflare(map: &Map<'_>) -> Told {
    if has(map, &["Action"]) && (has(map, &["Source"]) || has(map, &["RuleID"]) || has(map, &["Kind"])) {
        return told(CLOUDFLARE_FIREWALL, map, &["Datetime"]);
    }
    let is_request = ["ClientRequestMethod", "ClientRequestURI", "ClientRequestPath", "EdgeResponseStatus"];
    is_request.iter().any(|name| map.get(name).is_some()).then_some(())?;
    told(CLOUDFLARE_HTTP, map, &["EdgeStartTimestamp", "EdgeEndTimestamp", "Datetime"])
}

/// A log stream wraps each entry in `data`; the Management API gives the entry itself.
pub(crate) fn auth0(map: &Map<'_>) -> Told {
    let entry = map.get("data").and_then(Value::as_map).unwrap_or(map);
    let ours = has(entry, &["log_id", "type", "date"])
        && (has(entry, &["client_id"]) || has(entry, &["user_id"]) || has(entry, &["ip"]));
    ours.then_some(())?;
    told(AUTH0, entry, &["date"])
}

pub(crate) fn duo(map: &Map<'_>) -> Told {
    let signed_in = has(map, &["factor", "result"]) && (has(map, &["user"]) || has(map, &["username"]));
    let administered = has(map, &["isotimestamp", "action", "username"]);
    (signed_in || administered).then_some(())?;
    told(DUO, map, &["isotimestamp", "timestamp"])
}

pub(crate) fn zoom(map: &Map<'_>) -> Told {
    has(map, &["operator", "category_type", "action"]).then_some(())?;
    told(ZOOM, map, &["time"])
}

pub(crate) fn r#box(map: &Map<'_>) -> Told {
    let ours = map.get("created_by").is_some_and(|by| by.path("login").is_some()) && has(map, &["event_type"]);
    ours.then_some(())?;
    told(BOX, map, &["created_at", "recorded_at"])
}

pub(crate) fn onelogin(map: &Map<'_>) -> Told {
    (has(map, &["user_id"]) || has(map, &["actor_user_id"]) || has(map, &["account_id"])).then_some(())?;
    told(ONELOGIN, map, &["created_at", "event_timestamp"])
}

/// What items were used, who signed in, and what administrators did.
pub(crate) fn onepassword(map: &Map<'_>) -> Told {
    let used = has(map, &["vault_uuid", "item_uuid", "user"]);
    let signed_in = has(map, &["target_user", "category", "client"]);
    let administered = has(map, &["actor_uuid", "action", "object_type"]);
    (used || signed_in || administered).then_some(())?;
    told(ONEPASSWORD, map, &["timestamp"])
}

/// Falcon Data Replicator, flat as it is exported or with the event set apart; or an event of the streaming API.
pub(crate) fn crowdstrike(map: &Map<'_>) -> Told {
    if has(map, &["event_simpleName"]) || has(map, &["fdr_event_type"]) {
        has(map, &["aid"]).then_some(())?;
        // `ContextTimeStamp` is the sensor's, the others are when the cloud took it.
        return told(FDR, map, &["ContextTimeStamp", "event.ContextTimeStamp", "timestamp", "UTCTimestamp"]);
    }
    let ours = map.get("event").is_some_and(|event| event.as_map().is_some()) && map.path("metadata.customerIDString").is_some();
    ours.then_some(())?;
    told(FALCON, map, &["event.UTCTimestamp", "event.ProcessStartTime", "event.StartTimestamp", "metadata.eventCreationTime"])
}

/// What a Nanolog streaming service sends, in the form for Splunk.
pub(crate) fn zscaler(map: &Map<'_>) -> Told {
    let ours =
        text(map, "sourcetype").starts_with("zscalernss") && map.get("event").is_some_and(|event| event.as_map().is_some());
    ours.then_some(())?;
    told(ZSCALER, map, &["event.datetime", "event.time", "time"])
}

pub(crate) fn umbrella(map: &Map<'_>) -> Told {
    has(map, &["externalIp", "domain", "responseCode"]).then_some(())?;
    told(UMBRELLA, map, &["timestamp"])
}
