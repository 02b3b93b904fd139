//! Audit logs of clouds and services that come as JSON: which one an object is from, and when it happened.
//!
//! Each family is told by a name only it uses, seen while the top level is passed once ([`Marks::note`]), and then by a closer look.
//! Shapes: the service's own API, and what its exporters make of it (diagnostic settings and Log Analytics for Azure, Event Hubs,
//! EventBridge, `az` on the command line).

use reeve_record::{Certainty, EventTime};

use crate::family::{Family, moment};
use crate::{Map, Value, apple, services, time};

// The decoders of this module.
pub(crate) const KUBERNETES: &str = "kubernetes.audit";
pub(crate) const OKTA: &str = "okta.system";
pub(crate) const GITHUB: &str = "github.audit";
pub(crate) const GCP: &str = "gcp.audit";
pub(crate) const AZURE_ACTIVITY: &str = "azure.activity";
pub(crate) const AZURE_SIGNIN: &str = "azure.signin";
pub(crate) const AZURE_AUDIT: &str = "azure.audit";
pub(crate) const AZURE_RISK: &str = "azure.risk";
pub(crate) const M365: &str = "m365.audit";
pub(crate) const WORKSPACE: &str = "google.workspace";
pub(crate) const GUARDDUTY: &str = "aws.guardduty";
pub(crate) const ROUTE53: &str = "aws.route53";
pub(crate) const SECURITY_HUB: &str = "aws.securityhub";
pub(crate) const OSQUERY: &str = "osquery";

/// Families that an object may be of, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Marks(u32);

const IS_KUBERNETES: u32 = 1;
const HAS_ACTOR: u32 = 1 << 1;
const IS_GCP: u32 = 1 << 2;
const IS_AZURE: u32 = 1 << 3;
const IS_M365: u32 = 1 << 4;
const IS_GUARDDUTY: u32 = 1 << 5;
const IS_ROUTE53: u32 = 1 << 6;
const IS_OSQUERY: u32 = 1 << 7;
const IS_WAF: u32 = 1 << 8;
const IS_CLOUDFLARE: u32 = 1 << 9;
const IS_AUTH0: u32 = 1 << 10;
const IS_DUO: u32 = 1 << 11;
const IS_ZOOM: u32 = 1 << 12;
const IS_BOX: u32 = 1 << 13;
const IS_ONELOGIN: u32 = 1 << 14;
const IS_ONEPASSWORD: u32 = 1 << 15;
const IS_CROWDSTRIKE: u32 = 1 << 16;
const IS_ZSCALER: u32 = 1 << 17;
const IS_UMBRELLA: u32 = 1 << 18;
const IS_ENDPOINT_SECURITY: u32 = 1 << 19;
const IS_UNIFIED_LOG: u32 = 1 << 20;
const IS_REPORT: u32 = 1 << 21;
const IS_PRIVACY: u32 = 1 << 22;
const IS_ELASTIC: u32 = 1 << 23;
const IS_FLOW: u32 = 1 << 24;

impl Marks {
    /// Notes a top-level name. Names that several families share are no marks, but `actor`, which four of them need.
    pub(crate) fn note(&mut self, name: &str) {
        self.0 |= match name {
            "objectRef" | "auditID" | "requestURI" => IS_KUBERNETES,
            "actor" => HAS_ACTOR,
            "protoPayload" => IS_GCP,
            "operationName"
            | "OperationName"
            | "operationname"
            | "operation_name"
            | "OperationNameValue"
            | "riskEventType"
            | "RiskEventType"
            | "activityDisplayName"
            | "ActivityDisplayName"
            | "userPrincipalName"
            | "UserPrincipalName" => IS_AZURE,
            "Workload" | "workload" => IS_M365,
            "schemaVersion" | "SchemaVersion" => IS_GUARDDUTY,
            "query_timestamp" => IS_ROUTE53,
            "hostIdentifier" => IS_OSQUERY,
            "webaclId" => IS_WAF,
            "RayID" => IS_CLOUDFLARE,
            "log_id" | "data" => IS_AUTH0,
            "isotimestamp" | "access_device" => IS_DUO,
            "operation_detail" => IS_ZOOM,
            "created_by" => IS_BOX,
            "event_type_id" => IS_ONELOGIN,
            "vault_uuid" | "target_user" | "actor_uuid" => IS_ONEPASSWORD,
            "event_simpleName" | "fdr_event_type" | "metadata" => IS_CROWDSTRIKE,
            "sourcetype" => IS_ZSCALER,
            "internalIp" => IS_UMBRELLA,
            "process" => IS_ENDPOINT_SECURITY,
            "machTimestamp" | "eventMessage" => IS_UNIFIED_LOG,
            "bug_type" | "procName" | "procPath" => IS_REPORT,
            "timeStamp" => IS_PRIVACY,
            "data_stream" | "agent" => IS_ELASTIC,
            "interface_id" => IS_FLOW,
            _ => return,
        };
    }
}

/// The family of an object that bears such marks.
pub(crate) fn tell<'a>(map: &Map<'a>, marks: Marks) -> Option<Family<'a>> {
    let (decoder, time) = FAMILIES.iter().filter(|(bit, _)| marks.0 & bit != 0).find_map(|(_, look)| look(map))?;
    Some(Family { decoder, head: None, time })
}

/// The closer look that each mark asks for, in the order in which they are taken.
const FAMILIES: [(u32, Look); 26] = [
    (IS_KUBERNETES, kubernetes),
    (HAS_ACTOR, with_actor),
    (IS_GCP, gcp),
    (IS_M365, m365),
    (IS_AZURE, azure),
    (IS_GUARDDUTY, guardduty),
    (IS_GUARDDUTY, security_hub),
    (IS_ROUTE53, route53),
    (IS_OSQUERY, osquery),
    (IS_WAF, services::waf),
    (IS_CLOUDFLARE, services::cloudflare),
    (IS_AUTH0, services::auth0),
    (IS_DUO, services::duo),
    (IS_ZOOM, services::zoom),
    (IS_BOX, services::r#box),
    (IS_ONELOGIN, services::onelogin),
    (IS_ONEPASSWORD, services::onepassword),
    (IS_CROWDSTRIKE, services::crowdstrike),
    (IS_ZSCALER, services::zscaler),
    (IS_UMBRELLA, services::umbrella),
    (IS_ENDPOINT_SECURITY, apple::endpoint_security),
    (IS_UNIFIED_LOG, apple::unified_log),
    (IS_REPORT, apple::report),
    (IS_PRIVACY, apple::privacy),
    (IS_ELASTIC, apple::elastic),
    (IS_FLOW, vpc_flow),
];

type Look = fn(&Map<'_>) -> Told;

/// The decoder, and when it happened.
pub(crate) type Told = Option<(&'static str, Option<EventTime>)>;

fn kubernetes(map: &Map<'_>) -> Told {
    let ours = text(map, "apiVersion").starts_with("audit.k8s.io/");
    // Some exporters leave the version out.
    let like = text(map, "kind") == "Event" && map.get("verb").is_some() && map.get("objectRef").is_some();
    (ours || like).then(|| (KUBERNETES, first(map, &["stageTimestamp", "requestReceivedTimestamp", "timestamp"])))
}

/// Okta, Google Workspace, Slack and GitHub all say `actor`.
fn with_actor(map: &Map<'_>) -> Told {
    let actor = map.get("actor")?.as_map();
    let has = |name: &str| map.get(name).is_some();
    if actor.is_some() && (text(map, "kind") == ACTIVITY || !text(map, "id.applicationName").is_empty()) {
        return Some((WORKSPACE, first(map, &["id.time"])));
    }
    let typed = has("eventType") || has("eventtype");
    if typed && actor.is_some() && (has("published") || has("legacyEventType")) {
        return Some((OKTA, first(map, &["published"])));
    }
    if actor.is_some() && has("action") && map.get("context").is_some_and(|context| context.as_map().is_some()) {
        return Some((services::SLACK, first(map, &["date_create"]).map(utc)));
    }
    let places = ["org", "business", "repo", "_document_id", "actor_location"];
    let acted = text(map, "action").contains('.') && actor.is_none() && places.iter().any(|name| has(name));
    acted.then(|| (GITHUB, first(map, &["@timestamp", "created_at"])))
}

/// What Google calls one activity of its reports.
const ACTIVITY: &str = "admin#reports#activity";

/// Whether an object is one activity of Google Workspace: its list of events is not a bundle of records, each lacks the rest.
pub(crate) fn is_workspace(map: &Map<'_>) -> bool {
    map.get("actor").is_some_and(|actor| actor.as_map().is_some())
        && with_actor(map).is_some_and(|(decoder, _)| decoder == WORKSPACE)
}

fn gcp(map: &Map<'_>) -> Told {
    let payload = map.get("protoPayload")?.as_map()?;
    let ours = text(payload, "@type").ends_with("audit.AuditLog")
        || payload.get("methodName").is_some()
        || payload.get("serviceName").is_some();
    let times = ["timestamp", "protoPayload.requestMetadata.requestAttributes.time", "receiveTimestamp"];
    ours.then(|| (GCP, first(map, &times)))
}

fn m365(map: &Map<'_>) -> Told {
    let has = |names: [&str; 2]| names.iter().any(|name| map.get(name).is_some());
    let ours = has(["Operation", "operation"]) && has(["CreationTime", "creationtime"]);
    ours.then(|| (M365, first(map, &["CreationTime", "creationtime"]).map(utc)))
}

fn azure(map: &Map<'_>) -> Told {
    let properties = map.get("properties").and_then(Value::as_map);
    let has = |names: &[&str]| {
        names.iter().any(|name| map.get(name).is_some() || properties.is_some_and(|inner| inner.get(name).is_some()))
    };
    let top = |names: &[&str]| names.iter().any(|name| map.get(name).is_some());
    if carried(map) {
        return None;
    }
    let category = [text(map, "category"), text(map, "Category")].concat();
    if has(&["riskEventType", "RiskEventType"]) {
        return Some((AZURE_RISK, first(map, RISK_TIMES)));
    }
    if category.ends_with("SignInLogs")
        || (has(&["userPrincipalName", "UserPrincipalName", "servicePrincipalId", "ServicePrincipalId"])
            && has(&["conditionalAccessStatus", "ConditionalAccessStatus", "appDisplayName", "AppDisplayName"]))
    {
        return Some((AZURE_SIGNIN, first(map, SIGNIN_TIMES)));
    }
    if category == "AuditLogs" || has(&["activityDisplayName", "ActivityDisplayName"]) {
        return Some((AZURE_AUDIT, first(map, AUDIT_TIMES)));
    }
    let named = top(&["operationName", "OperationName", "operationname", "operation_name", "OperationNameValue"]);
    let placed = top(&["resourceId", "ResourceId", "_ResourceId", "resourceid", "resource_id", "resourceUri", "resourceUrl"]);
    (named && placed).then(|| (AZURE_ACTIVITY, first(map, ACTIVITY_TIMES)))
}

// What happened is dated by the properties; `time` and `TimeGenerated` are when Azure wrote it down where both are there.
const SIGNIN_TIMES: &[&str] = &["properties.createdDateTime", "createdDateTime", "CreatedDateTime", "TimeGenerated", "time"];
const AUDIT_TIMES: &[&str] =
    &["properties.activityDateTime", "activityDateTime", "ActivityDateTime", "TimeGenerated", "time", "Timestamp"];
const RISK_TIMES: &[&str] = &[
    "properties.detectedDateTime",
    "detectedDateTime",
    "DetectedDateTime",
    "properties.activityDateTime",
    "activityDateTime",
    "TimeGenerated",
    "time",
];
const ACTIVITY_TIMES: &[&str] = &[
    "eventTimestamp",
    "event_timestamp",
    "EventTimestamp",
    "TimeGenerated",
    "time",
    "timeStamp",
    "Timestamp",
    "submissionTimestamp",
];

fn guardduty(map: &Map<'_>) -> Told {
    let services = ["service.serviceName", "Service.ServiceName"];
    let ours = services.iter().any(|name| text(map, name) == "guardduty")
        || ["arn", "Arn"].iter().any(|name| text(map, name).contains(":guardduty:"));
    ours.then(|| (GUARDDUTY, first(map, &["updatedAt", "UpdatedAt", "createdAt", "CreatedAt"])))
}

/// A finding in AWS's own format, whichever product found it.
fn security_hub(map: &Map<'_>) -> Told {
    let ours = text(map, "ProductArn").starts_with("arn:aws") && map.get("GeneratorId").is_some();
    ours.then(|| (SECURITY_HUB, first(map, &["UpdatedAt", "LastObservedAt", "CreatedAt", "FirstObservedAt"])))
}

/// A row of VPC flow logs as they lie in Parquet, where names have underscores.
fn vpc_flow(map: &Map<'_>) -> Told {
    let ours = ["srcaddr", "dstaddr", "start", "log_status"].iter().all(|name| map.get(name).is_some());
    ours.then(|| ("aws.vpcflow", first(map, &["start", "end"])))
}

fn route53(map: &Map<'_>) -> Told {
    map.get("query_name")?;
    Some((ROUTE53, first(map, &["query_timestamp"])))
}

fn osquery(map: &Map<'_>) -> Told {
    map.get("name").or_else(|| map.get("log_type"))?;
    let rows = ["columns", "snapshot", "diffResults", "message"];
    rows.iter().any(|name| map.get(name).is_some()).then(|| (OSQUERY, first(map, &["unixTime"]).or_else(|| calendar(map))))
}

/// The calendar time of osquery, as in `Tue Sep 11 16:14:21 2018 UTC`.
fn calendar(map: &Map<'_>) -> Option<EventTime> {
    let (_, dated) = text(map, "calendarTime").split_once(' ')?;
    let clock = dated.strip_suffix(" UTC")?;
    time::month_stamp(clock, jiff::Timestamp::UNIX_EPOCH).filter(|stamp| stamp.len == clock.len()).map(|stamp| utc(stamp.time))
}

/// Whether an Azure diagnostic record only carries what another program wrote, as those of a Kubernetes cluster do.
pub(crate) fn carried(map: &Map<'_>) -> bool {
    text(map, "category").starts_with("kube-") && text(map, "properties.log").trim_start().starts_with('{')
}

/// The list of hits in what Elasticsearch answers to a search, one of `hits`, `events` and `sequences`.
pub(crate) fn hits(map: &Map<'_>) -> Option<&'static str> {
    let inner = map.get("hits")?.as_map()?;
    ["hits", "events", "sequences"].into_iter().find(
        |name| matches!(inner.get(name), Some(Value::List(items)) if items.first().is_some_and(|item| item.as_map().is_some())),
    )
}

/// The list of a bundle whose list has a name that others use for a part of one event: told by what stands beside it.
pub(crate) fn bundle(map: &Map<'_>) -> Option<&'static str> {
    let has = |name: &str| map.get(name).is_some();
    if has("items") && (text(map, "kind") == "admin#reports#activities" || text(map, "apiVersion").starts_with("audit.k8s.io/")) {
        return Some("items");
    }
    if has("value") && (has("@odata.context") || has("nextLink")) {
        return Some("value");
    }
    if has("data") && has("node_key") && has("log_type") {
        return Some("data");
    }
    if has("entries") && first_item(map, "entries").is_some_and(|item| item.get("logName").is_some()) {
        return Some("entries");
    }
    let finding = |item: &Map<'_>| item.get("Arn").is_some() || item.get("ProductArn").is_some();
    ["Findings", "findings"].into_iter().find(|name| has(name) && first_item(map, name).is_some_and(finding))
}

fn first_item<'m, 'a>(map: &'m Map<'a>, name: &str) -> Option<&'m Map<'a>> {
    match map.get(name)? {
        Value::List(items) => items.first()?.as_map(),
        _ => None,
    }
}

/// Where a document of such a decoder may tell of several things done at once.
pub(crate) fn several(decoder: &str) -> Option<&'static [&'static str]> {
    match decoder {
        WORKSPACE => Some(&["events"]),
        GCP => Some(&["protoPayload", "serviceData", "policyDelta", "bindingDeltas"]),
        _ => None,
    }
}

/// The things done, if there are several and not too many.
pub(crate) fn items<'m, 'a>(map: &'m Map<'a>, path: &[&str]) -> Option<&'m [Value<'a>]> {
    let (first, rest) = path.split_first()?;
    match map.get(first)? {
        Value::Map(inner) => items(inner, rest),
        Value::List(items) if rest.is_empty() => {
            Some(items).filter(|items| (2..=EVENTS_MAX).contains(&items.len())).map(Vec::as_slice)
        }
        _ => None,
    }
}

/// The document with just this one in the list at `path`.
pub(crate) fn with_only<'a>(map: &Map<'a>, path: &[&str], item: &Value<'a>) -> Map<'a> {
    let Some((first, rest)) = path.split_first() else { return map.clone() };
    let value = |name: &str, value: &Value<'a>| match value {
        Value::Map(inner) if name == *first && !rest.is_empty() => Value::Map(with_only(inner, rest, item)),
        Value::List(_) if name == *first && rest.is_empty() => Value::List(vec![item.clone()]),
        other => other.clone(),
    };
    Map(map.0.iter().map(|(name, inner)| (name.clone(), value(name, inner))).collect())
}

/// More things than this done at once stay together: each would carry a copy of the rest.
const EVENTS_MAX: usize = 64;

/// The text at a path, or none.
pub(crate) fn text<'m>(map: &'m Map<'_>, path: &str) -> &'m str {
    map.path(path).and_then(Value::as_str).unwrap_or_default()
}

/// The first time at one of these paths.
pub(crate) fn first(map: &Map<'_>, paths: &[&str]) -> Option<EventTime> {
    paths.iter().find_map(|path| moment(map.path(path)?))
}

/// A time that its source always writes in UTC, though it does not say so.
pub(crate) fn utc(time: EventTime) -> EventTime {
    match time.certainty {
        Certainty::ZoneInferred => EventTime::exact(time.at),
        _ => time,
    }
}
