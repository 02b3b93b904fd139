//! Whatever a source writes into the fields a mapping reads, the event is valid and nothing is lost.
#![allow(clippy::unwrap_used, missing_docs)]

use std::borrow::Cow;

use proptest::prelude::*;
use reeve_decode::{Head, Map, Parsed, Value};
use reeve_ocsf::{Source, map, to_json, validate};

const FIELDS: &[&str] = &[
    "Image",
    "CommandLine",
    "ProcessId",
    "User",
    "TargetFilename",
    "TargetObject",
    "Details",
    "Hashes",
    "QueryName",
    "QueryResults",
    "SourceIp",
    "DestinationIp",
    "DestinationPort",
    "IpAddress",
    "LogonType",
    "TargetUserName",
    "ServiceName",
    "ImagePath",
    "TaskName",
    "EventType",
    "ObjectType",
    "ObjectName",
    "AccessMask",
    "PrivilegeList",
    "ShareName",
    "RelativeTargetName",
    "id.orig_h",
    "id.resp_h",
    "id.resp_p",
    "query",
    "rcode",
    "answers",
    "method",
    "uri",
    "status",
    "status_code",
    "client",
    "user",
    "event_type",
    "src_ip",
    "dest_ip",
    "proto",
    "eventName",
    "sourceIPAddress",
    "errorCode",
    "src4_addr",
    "message",
    "app_name",
    "hostname",
    "procid",
    "node",
    "verb",
    "sourceIPs",
    "responseStatus",
    "objectRef",
    "eventType",
    "actor",
    "target",
    "client",
    "outcome",
    "action",
    "org",
    "team",
    "permission",
    "protoPayload",
    "resource",
    "operationName",
    "resourceId",
    "callerIpAddress",
    "resultType",
    "properties",
    "riskEventType",
    "Operation",
    "ObjectId",
    "ClientIP",
    "UserId",
    "ModifiedProperties",
    "events",
    "id",
    "ipAddress",
    "type",
    "service",
    "severity",
    "query_name",
    "srcaddr",
    "firewall_rule_action",
    "columns",
    "name",
    "cs-method",
    "cs-uri-stem",
    "c-ip",
    "sc-status",
    "time-taken",
    "dstaddr",
    "flow-direction",
    "start",
    "src",
    "dst",
    "dpt",
    "deviceProduct",
    "request",
    "requestMethod",
    "srcip",
    "devid",
    "logid",
    "line",
    "address",
    "elb_status_code",
];
const DECODERS: &[&str] = &[
    "evtx",
    "json.nxlog",
    "zeek.conn",
    "zeek.dns",
    "zeek.http",
    "zeek.kerberos",
    "suricata.eve",
    "aws.cloudtrail",
    "web.access",
    "nfdump",
    "syslog.5424",
    "journald",
    "auditd",
    "kubernetes.audit",
    "okta.system",
    "github.audit",
    "gcp.audit",
    "azure.activity",
    "azure.audit",
    "azure.risk",
    "azure.signin",
    "m365.audit",
    "google.workspace",
    "aws.guardduty",
    "aws.route53",
    "osquery",
    "text",
    "web.iis",
    "windows.firewall",
    "aws.vpcflow",
    "aws.alb",
    "cef",
    "kv",
    "utmp",
];
const IDS: &[u32] = &[
    1, 3, 7, 8, 11, 12, 13, 22, 25, 4624, 4625, 4656, 4663, 4672, 4688, 4697, 4698, 4720, 4728, 4768, 4776, 5140, 5145, 5156,
    7045, 1102, 4104,
];
const CHANNELS: &[&str] =
    &["Security", "Microsoft-Windows-Sysmon/Operational", "System", "Microsoft-Windows-PowerShell/Operational"];

fn value() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        ".{0,24}".prop_map(Value::from),
        prop::sample::select(vec![
            "-",
            "10.0.0.1",
            "::ffff:10.0.0.1",
            "fe80::1%eth0",
            "0x1f",
            "65536",
            "GET",
            "alert",
            "dns",
            "CreateUser",
            "File",
            "Key",
            "a\\b",
            "\\",
            "/",
            "SHA1=00ff,MD5=",
            "query",
            "user.session.start",
            "group.user_membership.add",
            "team.add_member",
            "Add member to role",
            "FileDownloaded",
            "AlertTriggered",
            "Firewall",
            "traffic",
            "USER_PROCESS",
            "LOGIN_PROCESS",
            "REJECT",
            "1795161600"
        ])
        .prop_map(Value::from),
        prop::collection::vec(".{0,8}".prop_map(Value::from), 0..3).prop_map(Value::List),
        document(),
        prop::collection::vec(document(), 0..3).prop_map(Value::List),
    ]
}

/// What the nested documents of cloud audit logs hold.
fn document() -> impl Strategy<Value = Value<'static>> {
    let name = prop::sample::select(vec![
        "type",
        "id",
        "name",
        "displayName",
        "alternateId",
        "ipAddress",
        "userPrincipalName",
        "methodName",
        "resourceName",
        "status",
        "code",
        "result",
        "labels",
        "email",
        "pid",
        "path",
        "cmdline",
        "serviceName",
        "resource",
        "namespace",
        "action",
        "parameters",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Int),
        Just(Value::from("User")),
        ".{0,12}".prop_map(Value::from)
    ];
    let map = |inner: BoxedStrategy<Value<'static>>, name: BoxedStrategy<&'static str>| {
        prop::collection::vec((name, inner), 0..5)
            .prop_map(|fields| Value::Map(Map(fields.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).collect())))
    };
    let inner = prop_oneof![leaf.clone(), map(leaf.boxed(), name.clone().boxed())];
    map(inner.boxed(), name.boxed())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_fields_give_a_valid_event(
        fields in prop::collection::vec((prop::sample::select(FIELDS), value()), 0..16),
        decoder in prop::sample::select(DECODERS), id in prop::sample::select(IDS), channel in prop::sample::select(CHANNELS),
    ) {
        let native = Map(fields.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).collect());
        let windows = matches!(decoder, "evtx" | "json.nxlog");
        let head = windows.then(|| Head { channel: channel.into(), event_id: id, computer: "host".into(), scopes: &[""], ..Head::default() });
        let parsed = Parsed { records: vec![1], part: 0, number: 1, raw: Cow::Borrowed(b"raw"), decoder, native, time: None, head, problems: Vec::new() };
        let event = map(&parsed);
        let json = to_json(&event, &Source { name: "law", record: None, part: 0, received_at: jiff::Timestamp::UNIX_EPOCH, raw: &parsed.raw });
        prop_assert_eq!(validate(&json), vec![]);
    }
}
