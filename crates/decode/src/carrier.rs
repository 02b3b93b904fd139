//! Events that a shipper wrapped: the text or object inside is read as what it is, and the wrapping stays under `shipper`.
//!
//! Filebeat and Logstash put a line under `message`, Docker and Fluent Bit under `log`, GELF under `short_message`, the Splunk HTTP Event
//! Collector text or object under `event`, Elasticsearch an object under `_source`, OpenTelemetry under `body`, AWS what CloudTrail wrote under `CloudTrailEvent` or `@message`,
//! EventBridge an object under `detail`, and Azure what a Kubernetes cluster wrote under `properties.log`.

use std::borrow::Cow;

use reeve_record::EventTime;

use crate::decoder::{Record, told};
use crate::{Map, Parsed, Value, application, auditd, cloud, form, json, syslog, web};

/// The field under which the wrapping is kept.
pub(crate) const SHIPPER: &str = "shipper";

/// Reads what an object of no known family carries. Gives both back if it carries nothing that is known by itself: then the object is the
/// event. `time` is what the object, or the protocol around it, said.
pub(crate) fn read<'b>(
    record: Record<'b>,
    mut map: Map<'b>,
    time: Option<EventTime>,
    audit: Option<&mut auditd::Joiner>,
    emit: &mut dyn FnMut(Parsed<'_>),
) -> Option<(Record<'b>, Map<'b>)> {
    if cloud::carried(&map) {
        map = with_log(map);
    }
    let Some(at) = place(&map) else { return Some((record, map)) };
    if let Value::Map(_) = map.0[at].1 {
        let Value::Map(inner) = map.0.remove(at).1 else { return None };
        emit(wrap(told(record, inner), map, time));
        return None;
    }
    let text = match &map.0[at].1 {
        Value::Str(text) => text.clone(),
        _ => return Some((record, map)),
    };
    let line = text.trim_ascii();
    if let Some(audit) = audit
        && auditd::is_record(line)
    {
        audit.feed(record, line, &host(&map), emit);
        return None;
    }
    // An application's own event may have a payload under `message`: only what is known by itself takes its place there.
    let only_known = !OTHERS_OWN.contains(&&*map.0[at].0);
    let Some(parsed) = inside(&record, line).filter(|parsed| !only_known || parsed.decoder != "json") else {
        return Some((record, map));
    };
    map.0.remove(at);
    emit(wrap(parsed, map, time));
    None
}

fn wrap<'b>(mut parsed: Parsed<'b>, wrapping: Map<'b>, time: Option<EventTime>) -> Parsed<'b> {
    if !wrapping.is_empty() {
        parsed.native.push(SHIPPER, wrapping);
    }
    parsed.time = parsed.time.or(time);
    parsed
}

/// The members of an Azure record's `properties` in their place, so that its `log` is found as that of others.
fn with_log(map: Map<'_>) -> Map<'_> {
    let mut flat = Map::new();
    for (name, value) in map.0 {
        match value {
            Value::Map(inner) if name == "properties" => flat.0.extend(inner.0),
            other => flat.0.push((name, other)),
        }
    }
    flat
}

/// Where in an object that is which it carries may be.
fn place(map: &Map<'_>) -> Option<usize> {
    let at = |name: &str| map.iter().position(|(found, _)| found == name);
    // ECS has an object of that name too, which says things about the event.
    if let Some(event) = at("event").filter(|_| map.iter().all(|(name, _)| COLLECTOR.contains(&name))) {
        return Some(event);
    }
    if let Some(detail) = at("detail").filter(|at| map.get("detail-type").is_some() && matches!(map.0[*at].1, Value::Map(_))) {
        return Some(detail);
    }
    if let Some(source) = at("_source").filter(|at| map.get("_index").is_some() && matches!(map.0[*at].1, Value::Map(_))) {
        return Some(source);
    }
    let is_record =
        map.get("severityNumber").is_some() || map.get("timeUnixNano").is_some() || map.get("observedTimeUnixNano").is_some();
    if let Some(body) = at("body").filter(|_| is_record) {
        return Some(body);
    }
    TEXTS.iter().find_map(|name| at(name)).filter(|at| matches!(map.0[*at].1, Value::Str(_)))
}

/// The event that a text is, if it is of a kind that is known by its form.
fn inside<'b>(record: &Record<'b>, line: &'b str) -> Option<Parsed<'b>> {
    let event = |decoder, native, time| record.clone().event(decoder, native, time);
    if line.starts_with('{') {
        let (Value::Map(inner), problems) = json::parse(line) else { return None };
        return (problems.is_empty() && !inner.is_empty()).then(|| told(record.clone(), inner));
    }
    if let Some(found) = form::read(line, record.received).or_else(|| application::read(line)) {
        return Some(record.clone().told(found));
    }
    if let Some(access) = web::access(line) {
        return Some(event("web.access", access.native, access.time));
    }
    if let Some(message) = syslog::read(line, record.received)
        && (line.starts_with('<')
            || line.starts_with(|first: char| first.is_ascii_uppercase())
            || message.native.get("procid").is_some())
    {
        return Some(event(message.decoder, message.native, message.time));
    }
    web::error(line).map(|error| event("web.error", error.native, error.time))
}

/// The host that a shipper names.
fn host<'m>(wrapping: &'m Map<'_>) -> Cow<'m, str> {
    ["host.name", "host.hostname", "host", "hostname", "agent.hostname"]
        .iter()
        .find_map(|name| wrapping.path(name)?.text())
        .unwrap_or_default()
}

/// Names of text fields that shippers put a line into.
const TEXTS: [&str; 7] = ["CloudTrailEvent", "message", "log", "short_message", "MESSAGE", "msg", "@message"];
/// Those of them, and of the others, that nobody uses but to carry something.
const OTHERS_OWN: [&str; 4] = ["log", "short_message", "event", "body"];
/// Names that an event object of the Splunk HTTP Event Collector may have.
const COLLECTOR: [&str; 7] = ["time", "host", "source", "sourcetype", "index", "event", "fields"];
