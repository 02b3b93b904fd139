//! An event as rules see it: the fields they name, under the names they use, whatever shape the event came in.

use std::borrow::Cow;

use reeve_decode::{Head, Map, Parsed, Value};

use super::{
    mac,
    slots::Slots,
    source::{self, Source},
};
use crate::sigma::item::{FieldId, KEYWORDS};

/// Which fields of an event are wanted, by the names under which the event may hold them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Name in the event → fields it fills.
    pub(crate) names: hashbrown::HashMap<String, Vec<FieldId>>,
    /// Names with a dot: looked up as a path when no such name stands at the top.
    pub(crate) dotted: Vec<(FieldId, String)>,
    /// Whether some rule looks for keywords anywhere in the event.
    pub(crate) keywords: bool,
}

impl Wanted {
    /// Wants `field`, known to rules as `name`, from events of a source with these aliases.
    pub(crate) fn add(&mut self, field: FieldId, name: &str, aliases: &[Alias]) {
        if field == KEYWORDS {
            self.keywords = true;
            return;
        }
        let mut want = |key: &str| {
            let fields = self.names.entry(key.to_owned()).or_default();
            if !fields.contains(&field) {
                fields.push(field);
            }
        };
        want(name);
        for (_, native) in aliases.iter().filter(|(sigma, _)| *sigma == name) {
            want(native);
        }
        if name.contains('.') && !self.dotted.iter().any(|(known, _)| *known == field) {
            self.dotted.push((field, name.to_owned()));
        }
        for (_, native) in aliases.iter().filter(|(sigma, native)| *sigma == name && native.contains('.')) {
            self.dotted.push((field, (*native).to_owned()));
        }
    }

    fn of(&self, name: &str) -> &[FieldId] {
        self.names.get(name).map_or(&[], Vec::as_slice)
    }
}

/// A name rules use and a name the source uses for the same thing.
pub(crate) type Alias = (&'static str, &'static str);

const PROCESS_4688: &[Alias] = &[
    ("Image", "NewProcessName"),
    ("ParentImage", "ParentProcessName"),
    ("CommandLine", "ProcessCommandLine"),
    ("ParentProcessId", "ProcessId"),
    ("LogonId", "SubjectLogonId"),
];
const REGISTRY_4657: &[Alias] = &[("Image", "ProcessName"), ("Details", "NewValue"), ("User", "SubjectUserName")];
const DEFENDER: &[Alias] = &[("Signature", "Threat Name"), ("Filename", "Path")];
const WEB: &[Alias] = &[
    ("c-ip", "remote_addr"),
    ("c-ip", "client"),
    ("c-ip", "id.orig_h"),
    ("c-ip", "src_ip"),
    ("cs-username", "remote_user"),
    ("cs-username", "user"),
    ("cs-method", "method"),
    ("cs-method", "request_method"),
    ("cs-method", "http.http_method"),
    ("c-uri", "uri"),
    ("c-uri", "target"),
    ("c-uri", "url"),
    ("c-uri", "request_uri"),
    ("c-uri", "http.url"),
    ("cs-uri", "uri"),
    ("cs-uri", "target"),
    ("cs-uri", "url"),
    ("cs-uri", "request_uri"),
    ("cs-uri", "http.url"),
    ("sc-status", "status"),
    ("sc-status", "status_code"),
    ("sc-status", "http.status"),
    ("sc-bytes", "body_bytes_sent"),
    ("sc-bytes", "size"),
    ("sc-bytes", "bytes"),
    ("cs-referer", "referer"),
    ("cs-referer", "referrer"),
    ("cs-referer", "http_referer"),
    ("cs-referer", "http.http_refer"),
    ("cs-referrer", "referer"),
    ("cs-referrer", "referrer"),
    ("cs-user-agent", "user_agent"),
    ("cs-user-agent", "http_user_agent"),
    ("cs-user-agent", "http.http_user_agent"),
    ("c-useragent", "user_agent"),
    ("c-useragent", "http_user_agent"),
    ("c-useragent", "http.http_user_agent"),
    ("cs-host", "host"),
    ("cs-host", "http_host"),
    ("cs-host", "http.hostname"),
    ("r-dns", "host"),
    ("r-dns", "http.hostname"),
    ("cs-version", "protocol"),
    ("c-ip", "client_ip"),
    ("c-ip", "remote_ip"),
    ("sc-status", "elb_status_code"),
    ("sc-status", "http_status"),
    ("sc-bytes", "sent_bytes"),
    ("sc-bytes", "bytes_sent"),
    ("cs-referer", "cs(Referer)"),
    ("cs-referrer", "cs(Referer)"),
    ("cs-host", "cs(Host)"),
    ("cs-cookie", "cs(Cookie)"),
    ("c-useragent", "cs-user-agent"),
    ("dst_ip", "id.resp_h"),
    ("dst_port", "id.resp_p"),
    ("c-ip", "httpRequest.clientIp"),
    ("cs-method", "httpRequest.httpMethod"),
    ("c-uri", "httpRequest.uri"),
    ("cs-uri", "httpRequest.uri"),
    ("cs-uri-stem", "httpRequest.uri"),
    ("cs-uri-query", "httpRequest.args"),
    ("sc-status", "responseCodeSent"),
    ("c-ip", "ClientIP"),
    ("cs-method", "ClientRequestMethod"),
    ("c-uri", "ClientRequestURI"),
    ("cs-uri", "ClientRequestURI"),
    ("cs-uri-stem", "ClientRequestPath"),
    ("cs-uri-query", "ClientRequestQuery"),
    ("cs-host", "ClientRequestHost"),
    ("cs-user-agent", "ClientRequestUserAgent"),
    ("c-useragent", "ClientRequestUserAgent"),
    ("cs-referer", "ClientRequestReferer"),
    ("cs-referrer", "ClientRequestReferer"),
    ("sc-status", "EdgeResponseStatus"),
    ("cs-method", "event.requestmethod"),
    ("c-uri", "event.url"),
    ("cs-uri", "event.url"),
    ("cs-host", "event.hostname"),
    ("r-dns", "event.hostname"),
    ("c-useragent", "event.useragent"),
    ("cs-user-agent", "event.useragent"),
    ("sc-status", "event.status"),
];
const FALCON: &[Alias] = &[
    ("Image", "ImageFileName"),
    ("Image", "event.ImageFileName"),
    ("CommandLine", "event.CommandLine"),
    ("User", "UserName"),
    ("User", "event.UserName"),
    ("ParentBaseFileName", "event.ParentBaseFileName"),
];
const DNS: &[Alias] = &[
    ("query", "domain"),
    ("query", "event.req"),
    ("query", "dns.rrname"),
    ("query", "query_name"),
    ("QueryName", "query"),
    ("record_type", "qtype_name"),
    ("record_type", "dns.rrtype"),
    ("record_type", "query_type"),
    ("answer", "answers.Rdata"),
    ("answer", "answers"),
    ("src_ip", "srcaddr"),
    ("src_ip", "id.orig_h"),
    ("src_ip", "client"),
    ("dst_ip", "id.resp_h"),
];
const OKTA: &[Alias] = &[
    ("eventType", "eventtype"),
    ("displayMessage", "displaymessage"),
    ("legacyEventType", "legacyeventtype"),
    ("debugContext.debugData.requestUri", "debugcontext.debugData.requestUri"),
    ("debugContext.debugData.behaviors", "debugcontext.debugData.behaviors"),
    ("debugContext.debugData.logOnlySecurityData", "debugcontext.debugData.logOnlySecurityData"),
    ("securityContext.isProxy", "securitycontext.isProxy"),
];
const KUBERNETES: &[Alias] = &[
    ("apiGroup", "objectRef.apiGroup"),
    ("hostPath", "requestObject.spec.volumes.hostPath.path"),
    ("hostPath", "requestObject.spec.template.spec.volumes.hostPath.path"),
    ("capabilities", "requestObject.spec.containers.securityContext.capabilities.add"),
    ("capabilities", "requestObject.spec.template.spec.containers.securityContext.capabilities.add"),
];
// Rules write the names of a Pub/Sub message or those of Elastic's integration.
const GCP: &[Alias] = &[
    ("gcp.audit.method_name", "protoPayload.methodName"),
    ("data.protoPayload.methodName", "protoPayload.methodName"),
    ("data.protoPayload.serviceName", "protoPayload.serviceName"),
    ("data.protoPayload.authorizationInfo.permission", "protoPayload.authorizationInfo.permission"),
    ("data.protoPayload.authorizationInfo.granted", "protoPayload.authorizationInfo.granted"),
    ("data.protoPayload.resource.type", "resource.type"),
    ("data.protoPayload.logName", "logName"),
    ("eventService", "protoPayload.serviceName"),
    ("eventName", "protoPayload.metadata.event.eventName"),
    ("eventName", "events.name"),
    ("protoPayload.Servicename", "protoPayload.serviceName"),
    ("protoPayload.metadata.event.eventName", "events.name"),
];
// What an operation is called depends on the way it came: Log Analytics, a diagnostic setting, Microsoft Graph or the command line.
const AZURE_ACTIVITY: &[Alias] = &[
    ("operationName", "OperationNameValue"),
    ("operationName", "OperationName"),
    ("operationName", "operation_name.value"),
    ("operationName", "operationName.value"),
    ("OperationNameValue", "operationName"),
    ("OperationNameValue", "operationName.value"),
    ("OperationNameValue", "operation_name.value"),
    ("properties.message", "operationName"),
    ("properties.message", "OperationNameValue"),
    ("CategoryValue", "category"),
    ("CategoryValue", "category.value"),
    ("ResourceId", "resourceId"),
    ("ResourceId", "resource_id"),
    ("ResourceProviderValue", "resourceProviderName.value"),
    ("ResourceProviderValue", "resource_provider_name.value"),
];
const AZURE_AUDIT: &[Alias] = &[
    ("operationName", "OperationName"),
    ("operationName", "properties.activityDisplayName"),
    ("operationName", "activityDisplayName"),
    ("OperationName", "operationName"),
    ("OperationName", "properties.activityDisplayName"),
    ("OperationName", "activityDisplayName"),
    ("properties.message", "operationName"),
    ("properties.message", "OperationName"),
    ("properties.message", "activityDisplayName"),
    ("ActivityDisplayName", "properties.activityDisplayName"),
    ("ActivityDisplayName", "activityDisplayName"),
    ("ActivityType", "operationName"),
    ("ActivityType", "OperationName"),
    ("activityType", "operationName"),
    ("activityType", "OperationName"),
    ("category", "properties.category"),
    ("Category", "properties.category"),
    ("Category", "category"),
    ("LoggedByService", "properties.loggedByService"),
    ("LoggedByService", "loggedByService"),
    ("Status", "properties.result"),
    ("Status", "result"),
    ("Status", "Result"),
    ("properties.result", "result"),
    ("properties.result", "Result"),
    ("properties.initiatedBy", "initiatedBy"),
    ("properties.initiatedBy", "InitiatedBy"),
    ("properties.targetResources", "targetResources"),
    ("properties.targetResources", "TargetResources"),
    ("TargetResources", "properties.targetResources"),
    ("TargetResources", "targetResources"),
    ("targetResources.type", "properties.targetResources.type"),
    ("targetResources.type", "TargetResources.type"),
    ("TargetResources.modifiedProperties", "properties.targetResources.modifiedProperties"),
    ("TargetResources.modifiedProperties", "targetResources.modifiedProperties"),
    ("TargetResources.modifiedProperties.newValue", "properties.targetResources.modifiedProperties.newValue"),
    ("TargetResources.modifiedProperties.newValue", "targetResources.modifiedProperties.newValue"),
    ("TargetResources.ModifiedProperties.DisplayName", "properties.targetResources.modifiedProperties.displayName"),
    ("TargetResources.ModifiedProperties.DisplayName", "targetResources.modifiedProperties.displayName"),
    ("TargetResources.ModifiedProperties.DisplayName", "TargetResources.modifiedProperties.displayName"),
    ("TargetResources.ModifiedProperties.NewValue", "properties.targetResources.modifiedProperties.newValue"),
    ("TargetResources.ModifiedProperties.NewValue", "targetResources.modifiedProperties.newValue"),
    ("TargetResources.ModifiedProperties.NewValue", "TargetResources.modifiedProperties.newValue"),
    ("additionalDetails.additionalInfo", "properties.resultReason"),
    ("additionalDetails.additionalInfo", "ResultReason"),
];
const AZURE_SIGNIN: &[Alias] = &[
    ("ResultType", "resultType"),
    ("ResultType", "properties.status.errorCode"),
    ("ResultType", "status.errorCode"),
    ("resultType", "ResultType"),
    ("resultType", "properties.status.errorCode"),
    ("resultType", "status.errorCode"),
    ("ResultDescription", "resultDescription"),
    ("ResultDescription", "properties.status.failureReason"),
    ("ResultDescription", "status.failureReason"),
    ("Resultdescription", "ResultDescription"),
    ("Resultdescription", "resultDescription"),
    ("Resultdescription", "properties.status.failureReason"),
    ("userAgent", "UserAgent"),
    ("userAgent", "properties.userAgent"),
    ("location", "Location"),
    ("callerIpAddress", "IPAddress"),
    ("callerIpAddress", "ipAddress"),
    ("callerIpAddress", "properties.ipAddress"),
    ("conditionalAccessStatus", "properties.conditionalAccessStatus"),
    ("conditionalAccessStatus", "ConditionalAccessStatus"),
    ("AuthenticationRequirement", "properties.authenticationRequirement"),
    ("AuthenticationRequirement", "authenticationRequirement"),
    ("properties.authenticationRequirement", "AuthenticationRequirement"),
    ("properties.authenticationRequirement", "authenticationRequirement"),
    ("properties.appId", "AppId"),
    ("properties.appId", "appId"),
    ("RiskState", "properties.riskState"),
    ("RiskState", "riskState"),
    ("ResourceDisplayName", "properties.resourceDisplayName"),
    ("ResourceDisplayName", "resourceDisplayName"),
    ("ClientApp", "properties.clientAppUsed"),
    ("ClientApp", "clientAppUsed"),
    ("ClientApp", "ClientAppUsed"),
    ("NetworkLocationDetails", "properties.networkLocationDetails"),
    ("NetworkLocationDetails", "networkLocationDetails"),
    ("homeTenantId", "properties.homeTenantId"),
    ("homeTenantId", "HomeTenantId"),
    ("resourceTenantId", "properties.resourceTenantId"),
    ("resourceTenantId", "ResourceTenantId"),
    ("DeviceDetail.trusttype", "properties.deviceDetail.trustType"),
    ("DeviceDetail.trusttype", "deviceDetail.trustType"),
    ("DeviceDetail.trusttype", "DeviceDetail.trustType"),
    ("DeviceDetail.deviceId", "properties.deviceDetail.deviceId"),
    ("DeviceDetail.deviceId", "deviceDetail.deviceId"),
    ("DeviceDetail.isCompliant", "properties.deviceDetail.isCompliant"),
    ("DeviceDetail.isCompliant", "deviceDetail.isCompliant"),
    ("properties.deviceDetail.deviceId", "DeviceDetail.deviceId"),
    ("properties.deviceDetail.deviceId", "deviceDetail.deviceId"),
];
const AZURE_RISK: &[Alias] = &[("riskEventType", "properties.riskEventType"), ("riskEventType", "RiskEventType")];
const M365: &[Alias] = &[
    ("Operation", "operation"),
    ("Workload", "workload"),
    ("Parameters", "parameters"),
    ("ResultStatus", "resultstatus"),
    ("ObjectId", "objectid"),
    ("eventSource", "Workload"),
    ("eventName", "Name"),
    ("eventName", "Operation"),
    ("status", "ResultStatus"),
    ("RequestType", "ExtendedProperties.Value"),
    ("Payload", "Parameters"),
];
const FLOW: &[Alias] = &[
    ("src_ip", "id.orig_h"),
    ("src_port", "id.orig_p"),
    ("dst_ip", "id.resp_h"),
    ("dst_port", "id.resp_p"),
    ("src_ip", "src4_addr"),
    ("dst_ip", "dst4_addr"),
    ("src_ip", "src6_addr"),
    ("dst_ip", "dst6_addr"),
    ("src_port", "sport"),
    ("dst_port", "dport"),
    ("src_ip", "sa"),
    ("dst_ip", "da"),
    ("src_port", "sp"),
    ("dst_port", "dp"),
    ("destination.port", "dst_port"),
    ("destination.port", "id.resp_p"),
    ("source.port", "src_port"),
    ("destination.ip", "dst_ip"),
    ("source.ip", "src_ip"),
    ("src_ip", "srcaddr"),
    ("dst_ip", "dstaddr"),
    ("src_ip", "srcip"),
    ("dst_ip", "dstip"),
    ("src_ip", "src-ip"),
    ("dst_ip", "dst-ip"),
    ("src_ip", "src"),
    ("dst_ip", "dst"),
    ("src_port", "srcport"),
    ("dst_port", "dstport"),
    ("src_port", "src-port"),
    ("dst_port", "dst-port"),
    ("src_port", "spt"),
    ("dst_port", "dpt"),
    ("src_port", "srcPort"),
    ("dst_port", "dstPort"),
];

// Elastic's names for what agents on endpoints see.
const ENDPOINT: &[Alias] = &[
    ("Image", "process.executable"),
    ("CommandLine", "process.command_line"),
    ("OriginalFileName", "process.pe.original_file_name"),
    ("CurrentDirectory", "process.working_directory"),
    ("ProcessId", "process.pid"),
    ("ProcessGuid", "process.entity_id"),
    ("ParentImage", "process.parent.executable"),
    ("ParentCommandLine", "process.parent.command_line"),
    ("ParentProcessId", "process.parent.pid"),
    ("User", "user.name"),
    ("TargetFilename", "file.path"),
    ("SourceFilename", "file.Ext.original.path"),
    ("ImageLoaded", "dll.path"),
    ("DestinationIp", "destination.ip"),
    ("DestinationPort", "destination.port"),
    ("SourceIp", "source.ip"),
    ("SourcePort", "source.port"),
    ("QueryName", "dns.question.name"),
    ("Hashes", "process.hash.sha256"),
    ("md5", "process.hash.md5"),
    ("sha256", "process.hash.sha256"),
];

/// The aliases of a source's events.
pub(crate) fn aliases(source: &Source, event_id: Option<u32>) -> &'static [Alias] {
    match (source.services, event_id) {
        (["security"], Some(4688)) => PROCESS_4688,
        (["security"], Some(4657)) => REGISTRY_4657,
        (["windefend"], _) => DEFENDER,
        (["endpoint"], _) => ENDPOINT,
        (["okta"], _) => OKTA,
        (["fdr"], _) => FALCON,
        (["gcp.audit" | "google_workspace.admin" | "google_workspace.login"], _) => GCP,
        (["activitylogs"], _) => AZURE_ACTIVITY,
        (["auditlogs"], _) => AZURE_AUDIT,
        (["signinlogs"], _) => AZURE_SIGNIN,
        (["riskdetection", ..], _) => AZURE_RISK,
        (["audit", "exchange", ..], _) => M365,
        (["audit"], _) if source.products == ["kubernetes"] => KUBERNETES,
        _ if source.categories.contains(&"webserver") => WEB,
        _ if source.categories.contains(&"dns") => DNS,
        _ if source.categories.contains(&"firewall") => FLOW,
        _ => &[],
    }
}

/// What a view of an event is taken from.
pub(crate) enum View<'p, 'a> {
    /// A Windows event.
    Windows(&'p Parsed<'a>, &'p Head<'a>),
    /// A document of any other source.
    Document(&'p Parsed<'a>),
    /// One record of a joined audit event, with its type.
    AuditRecord(&'p Parsed<'a>, &'p str, &'p Map<'a>),
    /// A program start told by audit records.
    AuditProcess(&'p Parsed<'a>),
    /// A file an audit event wrote.
    AuditFile(&'p Parsed<'a>, &'p Map<'a>),
    /// A connection an audit event opened.
    AuditNetwork(&'p Parsed<'a>, &'p Map<'a>),
}

/// What routes are kept by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key<'k> {
    Windows(&'k str, u32),
    Other(Source),
}

/// Calls `visit` with each view of an event.
pub(crate) fn views<'p, 'a>(parsed: &'p Parsed<'a>, mut visit: impl FnMut(Key<'p>, View<'p, 'a>)) {
    if let Some(head) = &parsed.head {
        return visit(Key::Windows(&head.channel, head.event_id), View::Windows(parsed, head));
    }
    if parsed.decoder.starts_with("auditd") {
        return audit_views(parsed, &mut visit);
    }
    let source = if let Some(program) = program(parsed) {
        syslog_source(parsed, program)
    } else {
        source::other(parsed.decoder, class(parsed))
    };
    visit(Key::Other(source), View::Document(parsed));
}

fn program<'p>(parsed: &'p Parsed<'_>) -> Option<&'p str> {
    let name = match parsed.decoder {
        decoder if decoder.starts_with("syslog") => parsed.native.get("app_name"),
        "journald" => parsed.native.get("SYSLOG_IDENTIFIER").or_else(|| parsed.native.get("_COMM")),
        "text" => return Some(""),
        "kv" => Some(parsed.native.path("syslog.app_name")?),
        _ => return None,
    };
    let name = name.and_then(Value::as_str).unwrap_or_default();
    Some(name.rsplit('/').next().unwrap_or(name))
}

/// Network gear logs in syslog too; its messages start with `%FACILITY-N-MNEMONIC:`.
fn syslog_source(parsed: &Parsed<'_>, program: &str) -> Source {
    let message = parsed.native.get("message").and_then(Value::as_str).unwrap_or_default();
    let gear = program.starts_with('%') || message.trim_start_matches([':', ' ']).starts_with('%');
    if gear { source::other("syslog", "cisco") } else { source::linux_program(program) }
}

/// What kind of event it is among those of its decoder; JSON documents of unnamed origin by the names only their source uses.
fn class<'p>(parsed: &'p Parsed<'_>) -> &'p str {
    let native = &parsed.native;
    let text = |path: &str| native.path(path).and_then(Value::as_str).unwrap_or_default();
    match parsed.decoder {
        "suricata.eve" => return text("event_type"),
        "okta.system" => return "okta",
        "github.audit" => return "github",
        "kubernetes.audit" => return "kubernetes",
        "m365.audit" => return "m365",
        "azure.activity" | "azure.audit" | "azure.risk" | "azure.signin" => return parsed.decoder,
        "onelogin" => return "onelogin",
        "zscaler" => return zscaler(text("sourcetype")),
        "crowdstrike.fdr" => return falcon(native),
        "gcp.audit" => return google(text("protoPayload.serviceName")),
        "google.workspace" => return google(text("id.applicationName")),
        "macos.es" => return mac::endpoint_security(parsed),
        "santa" => return mac::santa(parsed),
        "elastic.endpoint" => return mac::elastic(parsed),
        _ => {}
    }
    let has = |name: &str| native.get(name).is_some();
    if parsed.decoder == "kv" && has("logid") && (has("devid") || has("devname")) {
        return "fortigate";
    }
    if !parsed.decoder.starts_with("json") {
        return "";
    }
    if has("legacyEventType") || (has("eventType") && has("actor") && has("published")) {
        "okta"
    } else if text("apiVersion").starts_with("audit.k8s.io") {
        "kubernetes"
    } else if text("protoPayload.@type").contains("AuditLog") {
        google(text("protoPayload.serviceName"))
    } else if has("Workload") && has("Operation") {
        "m365"
    } else if has("riskEventType") {
        "azure.risk"
    } else if has("userPrincipalName") && (has("appDisplayName") || has("conditionalAccessStatus"))
        || text("category") == "SignInLogs"
    {
        "azure.signin"
    } else if has("activityDisplayName") || text("category") == "AuditLogs" {
        "azure.audit"
    } else if has("operationName") && (has("resourceId") || has("resourceUri")) {
        "azure.activity"
    } else if has("event_type_id") && has("account_id") {
        "onelogin"
    } else if has("logtype") && has("node_id") {
        "opencanary"
    } else if has("auditType.action") || native.path("auditType.category").is_some() {
        "bitbucket"
    } else if has("action") && has("actor") && (has("org") || has("@timestamp")) {
        "github"
    } else {
        ""
    }
}

/// What a Nanolog feed tells of.
fn zscaler(sourcetype: &str) -> &'static str {
    match sourcetype.strip_prefix("zscalernss-").unwrap_or_default() {
        feed if feed.starts_with("web") => "zscaler.web",
        feed if feed.starts_with("dns") => "zscaler.dns",
        feed if feed.starts_with("fw") => "zscaler.firewall",
        _ => "zscaler.audit",
    }
}

/// The start of a program that a Falcon sensor saw, by the system it runs on.
fn falcon(native: &Map<'_>) -> &'static str {
    let text = |names: &[&str]| names.iter().find_map(|name| native.path(name)?.as_str()).unwrap_or_default();
    let started = text(&["event_simpleName", "fdr_event_type", "event.event_simpleName"]).ends_with("ProcessRollup2");
    match text(&["event_platform", "event.event_platform"]) {
        "Win" if started => "falcon.windows",
        "Lin" if started => "falcon.linux",
        "Mac" if started => "falcon.macos",
        _ => "falcon",
    }
}

/// Rules part what Google Workspace does from what its cloud does, by the service that wrote it.
fn google(service: &str) -> &'static str {
    match service {
        "admin.googleapis.com" | "admin" => "gcp.admin",
        "login.googleapis.com" | "login" | "user_accounts" => "gcp.login",
        _ => "gcp",
    }
}

fn audit_views<'p, 'a>(parsed: &'p Parsed<'a>, visit: &mut impl FnMut(Key<'p>, View<'p, 'a>)) {
    let key = |class| Key::Other(source::other("auditd", class));
    let record_name =
        |name: &str| name.len() > 1 && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    for (name, value) in parsed.native.iter().filter(|(name, _)| record_name(name)) {
        each_map(value, &mut |map| visit(key("auditd"), View::AuditRecord(parsed, name, map)));
    }
    let records = |name: &str, visit: &mut dyn FnMut(&'p Map<'a>)| {
        if let Some(value) = parsed.native.get(name) {
            each_map(value, visit);
        }
    };
    if parsed.native.get("EXECVE").is_some() {
        visit(key("auditd.process"), View::AuditProcess(parsed));
    }
    records("PATH", &mut |path| {
        if writes(parsed, path) {
            visit(key("auditd.file"), View::AuditFile(parsed, path));
        }
    });
    records("SOCKADDR", &mut |address| visit(key("auditd.network"), View::AuditNetwork(parsed, address)));
}

fn each_map<'p, 'a>(value: &'p Value<'a>, visit: &mut dyn FnMut(&'p Map<'a>)) {
    match value {
        Value::Map(map) => visit(map),
        Value::List(items) => items.iter().filter_map(Value::as_map).for_each(visit),
        _ => {}
    }
}

/// Whether an audit event made or wrote the file of this path record.
fn writes(parsed: &Parsed<'_>, path: &Map<'_>) -> bool {
    match path.get("nametype").and_then(Value::as_str) {
        Some("CREATE") => true,
        Some("NORMAL") => {
            let syscall = |name: &str| parsed.native.path("SYSCALL").and_then(|record| record.path(name)).and_then(Value::text);
            let name = syscall("SYSCALL").or_else(|| syscall("syscall"));
            let argument = match name.as_deref() {
                Some("openat" | "257") => "a2",
                Some("open" | "2") => "a1",
                Some("truncate" | "76" | "creat" | "85") => return true,
                _ => return false,
            };
            // O_WRONLY or O_RDWR; arguments are written in hexadecimal.
            syscall(argument)
                .and_then(|flags| u64::from_str_radix(flags.trim_start_matches("0x"), 16).ok())
                .is_some_and(|flags| flags & 3 != 0)
        }
        _ => false,
    }
}

/// Copies the wanted fields of a view into the slots.
pub(crate) fn fill(view: &View<'_, '_>, wanted: &Wanted, slots: &mut Slots) {
    match view {
        View::Windows(parsed, head) => windows(parsed, head, wanted, slots),
        View::Document(parsed) => document(parsed, wanted, slots),
        View::AuditRecord(parsed, kind, map) => {
            put(slots, wanted, "type", kind);
            map_fields(map, wanted, slots);
            if wanted.keywords {
                keywords_of_map(map, slots);
                raw_keywords(parsed, slots);
            }
        }
        View::AuditProcess(parsed) => audit_process(parsed, wanted, slots),
        View::AuditFile(parsed, path) => {
            audit_common(parsed, wanted, slots);
            let name = path.get("name").and_then(Value::text).unwrap_or_default();
            let directory = parsed.native.path("CWD.cwd").and_then(Value::text).unwrap_or_default();
            put(slots, wanted, "TargetFilename", &absolute(&directory, &name));
        }
        View::AuditNetwork(parsed, address) => {
            audit_common(parsed, wanted, slots);
            for (field, names) in [
                ("DestinationIp", &["addr", "laddr", "ip", "address", "saddr_ip"][..]),
                ("DestinationPort", &["port", "lport", "saddr_port"]),
            ] {
                if let Some(value) = names.iter().find_map(|name| address.get(name)).and_then(Value::text) {
                    put(slots, wanted, field, &value);
                }
            }
            put(slots, wanted, "Initiated", "true");
        }
    }
}

fn put(slots: &mut Slots, wanted: &Wanted, name: &str, text: &str) {
    for field in wanted.of(name) {
        if slots.is_empty(*field) {
            slots.push(*field, text);
        }
    }
}

fn map_fields(map: &Map<'_>, wanted: &Wanted, slots: &mut Slots) {
    for (name, value) in map.iter() {
        let mut fields = wanted.of(name);
        if fields.is_empty() && name.contains(' ') {
            fields = wanted.of(&name.replace(' ', ""));
        }
        for field in fields {
            if slots.is_empty(*field) {
                slots.push_value(*field, value);
            }
        }
    }
}

fn windows(parsed: &Parsed<'_>, head: &Head<'_>, wanted: &Wanted, slots: &mut Slots) {
    for field in wanted.of("EventID") {
        let mut buffer = [0u8; 10];
        slots.push(*field, decimal(head.event_id, &mut buffer));
    }
    for (name, text) in [("Channel", &head.channel), ("Provider_Name", &head.provider), ("Computer", &head.computer)] {
        if !text.is_empty() {
            put(slots, wanted, name, text);
        }
    }
    for scope in head.scopes {
        let (path, inside) = scope.strip_suffix(".*").map_or((*scope, false), |path| (path, true));
        let map = if path.is_empty() { Some(&parsed.native) } else { parsed.native.path(path).and_then(Value::as_map) };
        match map {
            Some(map) if inside => {
                map.iter().filter_map(|(_, value)| value.as_map()).for_each(|inner| map_fields(inner, wanted, slots))
            }
            Some(map) => map_fields(map, wanted, slots),
            None => {}
        }
    }
    for (field, path) in &wanted.dotted {
        if slots.is_empty(*field)
            && let Some(value) = parsed.field(path)
        {
            slots.push_value(*field, value);
        }
    }
    derived(parsed, head, wanted, slots);
    if wanted.keywords {
        keywords_of_map(&parsed.native, slots);
    }
}

fn decimal(mut number: u32, buffer: &mut [u8; 10]) -> &str {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return std::str::from_utf8(&buffer[at..]).unwrap_or_default();
        }
    }
}

/// Fields that Windows events hold in another form than the one rules ask for.
fn derived(parsed: &Parsed<'_>, head: &Head<'_>, wanted: &Wanted, slots: &mut Slots) {
    let text = |name: &str| parsed.field(name).and_then(Value::text).unwrap_or_default();
    match (head.channel.as_ref(), head.event_id) {
        (channel, 4688) if channel.eq_ignore_ascii_case("security") => {
            let (domain, user) = (text("SubjectDomainName"), text("SubjectUserName"));
            put(slots, wanted, "User", &if domain.is_empty() { user } else { Cow::Owned(format!("{domain}\\{user}")) });
            put(slots, wanted, "IntegrityLevel", integrity(&text("MandatoryLabel")));
        }
        (channel, 4657) if channel.eq_ignore_ascii_case("security") => {
            put(slots, wanted, "TargetObject", &registry_path(&text("ObjectName"), &text("ObjectValueName")));
            let kind = if text("OperationType").contains("1906") { "DeleteValue" } else { "SetValue" };
            put(slots, wanted, "EventType", kind);
        }
        (channel, 400 | 403 | 600 | 800) if channel.eq_ignore_ascii_case("windows powershell") => {
            if let Some(data) = parsed.field("Data") {
                each_text(data, &mut |text| key_values(text, wanted, slots));
            }
        }
        _ => {}
    }
}

fn integrity(label: &str) -> &'static str {
    match label {
        "S-1-16-0" => "Untrusted",
        "S-1-16-4096" => "Low",
        "S-1-16-8192" => "Medium",
        "S-1-16-8448" => "Medium Plus",
        "S-1-16-12288" => "High",
        "S-1-16-16384" => "System",
        _ => "",
    }
}

/// The kernel's registry path in the form Sysmon writes.
fn registry_path(object: &str, value: &str) -> String {
    let rooted = match object.get(..18).filter(|head| head.eq_ignore_ascii_case("\\REGISTRY\\MACHINE\\")) {
        Some(_) => format!("HKLM\\{}", &object[18..]),
        None => match object.get(..15).filter(|head| head.eq_ignore_ascii_case("\\REGISTRY\\USER\\")) {
            Some(_) => format!("HKU\\{}", &object[15..]),
            None => object.to_owned(),
        },
    };
    if value.is_empty() { rooted } else { format!("{rooted}\\{value}") }
}

fn each_text(value: &Value<'_>, visit: &mut dyn FnMut(&str)) {
    match value {
        Value::Str(text) => visit(text),
        Value::List(items) => items.iter().for_each(|item| each_text(item, visit)),
        Value::Map(map) => map.iter().for_each(|(_, value)| each_text(value, visit)),
        _ => {}
    }
}

/// The `Key=Value` lines of classic PowerShell events.
fn key_values(text: &str, wanted: &Wanted, slots: &mut Slots) {
    for (name, value) in text.lines().filter_map(|line| line.trim().split_once('=')) {
        put(slots, wanted, name, value);
    }
}

fn document(parsed: &Parsed<'_>, wanted: &Wanted, slots: &mut Slots) {
    // Where the name of an operation comes with a translation, rules mean the name.
    if parsed.decoder == "azure.activity"
        && let Some(value) = parsed.native.path("operationName.value").and_then(Value::as_str)
    {
        put(slots, wanted, "operationName", value);
    }
    // Before the rest, in which some of these names stand for whole objects.
    if matches!(parsed.decoder, "macos.es" | "santa" | "elastic.endpoint") {
        mac::fields(parsed, &mut |name, text| put(slots, wanted, name, text));
    }
    map_fields(&parsed.native, wanted, slots);
    if let Some(inner) = parsed.native.get("parsed").and_then(Value::as_map) {
        map_fields(inner, wanted, slots);
    }
    for (field, path) in &wanted.dotted {
        if slots.is_empty(*field) {
            push_path(&parsed.native, path, *field, slots);
        }
    }
    web(parsed, wanted, slots);
    if parsed.decoder == "google.workspace" {
        workspace(parsed, wanted, slots);
    }
    if wanted.keywords {
        keywords_of_map(&parsed.native, slots);
        raw_keywords(parsed, slots);
    }
}

/// The values at a dotted path, through lists.
fn push_path(map: &Map<'_>, path: &str, field: FieldId, slots: &mut Slots) {
    if let Some(value) = map.get(path) {
        return slots.push_value(field, value);
    }
    let mut cut = 0;
    while let Some(dot) = path[cut..].find('.') {
        let (head, rest) = (&path[..cut + dot], &path[cut + dot + 1..]);
        match map.get(head) {
            Some(Value::Map(inner)) => push_path(inner, rest, field, slots),
            Some(Value::List(items)) => {
                items.iter().filter_map(Value::as_map).for_each(|inner| push_path(inner, rest, field, slots))
            }
            _ => {}
        }
        cut += dot + 1;
    }
}

/// What rules call the service and the parameters of a Google Workspace activity: `new_value` is the value of the one named `NEW_VALUE`.
fn workspace(parsed: &Parsed<'_>, wanted: &Wanted, slots: &mut Slots) {
    let service = parsed.native.path("id.applicationName").and_then(Value::text).unwrap_or_default();
    for name in ["eventService", "protoPayload.serviceName", "protoPayload.Servicename"] {
        put(slots, wanted, name, &format!("{service}.googleapis.com"));
    }
    let Some(Value::List(events)) = parsed.native.get("events") else { return };
    for parameters in events.iter().filter_map(|event| event.path("parameters")) {
        each_map(parameters, &mut |parameter| {
            let value = ["value", "boolValue", "intValue", "multiValue"].iter().find_map(|name| parameter.get(name));
            if let (Some(name), Some(value)) = (parameter.get("name").and_then(Value::as_str), value) {
                let lower = name.to_ascii_lowercase();
                wanted.of(&lower).iter().for_each(|field| slots.push_value(*field, value));
            }
        });
    }
}

/// The stem and the query of a request, where the source writes them as one.
fn web(parsed: &Parsed<'_>, wanted: &Wanted, slots: &mut Slots) {
    if wanted.of("cs-uri-query").is_empty() && wanted.of("cs-uri-stem").is_empty() && wanted.of("c-uri-query").is_empty() {
        return;
    }
    let names = ["target", "uri", "url", "request_uri", "http.url", "path"];
    let Some(uri) = names.iter().find_map(|name| parsed.native.path(name)).and_then(Value::text).or_else(|| two_columns(parsed))
    else {
        return;
    };
    let stem = uri.split(['?', '#']).next().unwrap_or_default();
    put(slots, wanted, "cs-uri-stem", stem);
    put(slots, wanted, "c-uri-query", uri.split_once('?').map_or("", |(_, query)| query));
    // Rules of the webserver category write paths into cs-uri-query as well, so it holds the whole of stem and query.
    put(slots, wanted, "cs-uri-query", &uri);
}

/// Stem and query as one, of a source that has a column for each.
fn two_columns(parsed: &Parsed<'_>) -> Option<Cow<'static, str>> {
    let text = |name: &str| parsed.native.get(name).and_then(Value::text);
    let stem = text("cs-uri-stem")?;
    Some(Cow::Owned(text("cs-uri-query").map_or_else(|| stem.to_string(), |query| format!("{stem}?{query}"))))
}

fn keywords_of_map(map: &Map<'_>, slots: &mut Slots) {
    map.iter().for_each(|(_, value)| keywords(value, slots));
}

fn keywords(value: &Value<'_>, slots: &mut Slots) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::List(items) => items.iter().for_each(|item| keywords(item, slots)),
        Value::Map(map) => keywords_of_map(map, slots),
        other => slots.push_value(KEYWORDS, other),
    }
}

/// The line itself, where it is text: keywords may span several of its fields.
fn raw_keywords(parsed: &Parsed<'_>, slots: &mut Slots) {
    if let Ok(text) = std::str::from_utf8(&parsed.raw) {
        slots.push(KEYWORDS, text);
    }
}

fn audit_common(parsed: &Parsed<'_>, wanted: &Wanted, slots: &mut Slots) {
    let text = |path: &str| parsed.native.path(path).and_then(Value::text);
    for (field, paths) in [
        ("Image", &["SYSCALL.exe"][..]),
        ("User", &["SYSCALL.UID", "SYSCALL.uid"]),
        ("LogonUser", &["SYSCALL.AUID", "SYSCALL.auid"]),
        ("ProcessId", &["SYSCALL.pid"]),
        ("ParentProcessId", &["SYSCALL.ppid"]),
        ("ParentImage", &["PARENT_INFO.exe"]),
        ("LogonId", &["SYSCALL.ses"]),
        ("CurrentDirectory", &["CWD.cwd"]),
    ] {
        if let Some(value) = paths.iter().find_map(|path| text(path)) {
            put(slots, wanted, field, &value);
        }
    }
}

fn audit_process(parsed: &Parsed<'_>, wanted: &Wanted, slots: &mut Slots) {
    audit_common(parsed, wanted, slots);
    // The name it was called by may be a link to the program the kernel names.
    if let Some(Value::List(paths)) = parsed.native.get("PATH")
        && let Some(called) = paths.first().and_then(|path| path.path("name")).and_then(Value::text)
    {
        wanted.of("Image").iter().for_each(|field| slots.push(*field, &called));
    }
    put(slots, wanted, "CommandLine", &command_line(parsed));
    if wanted.keywords {
        keywords_of_map(&parsed.native, slots);
    }
}

fn command_line(parsed: &Parsed<'_>) -> String {
    let execve = parsed.native.get("EXECVE").and_then(Value::as_map);
    let list = execve.and_then(|execve| execve.get("argv").or_else(|| execve.get("ARGV")));
    if let Some(Value::List(arguments)) = list {
        return arguments.iter().filter_map(Value::text).collect::<Vec<_>>().join(" ");
    }
    if let Some(execve) = execve {
        let arguments: Vec<_> = (0..1000).map_while(|n| execve.get(&format!("a{n}"))).filter_map(Value::text).collect();
        if !arguments.is_empty() {
            return arguments.join(" ");
        }
    }
    let title = parsed.native.path("PROCTITLE.proctitle").and_then(Value::text).unwrap_or_default();
    title.replace('\0', " ")
}

fn absolute(directory: &str, name: &str) -> String {
    if name.starts_with('/') || directory.is_empty() {
        return name.to_owned();
    }
    format!("{}/{}", directory.trim_end_matches('/'), name.trim_start_matches("./"))
}
