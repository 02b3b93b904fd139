//! A source's document to an OCSF event by mapping files (`mappings/*.toml`), compiled once.
pub(crate) mod compile;
mod condition;
mod expr;
mod steps;

use std::{borrow::Cow, net::IpAddr, sync::LazyLock};

use reeve_decode::{Map, Parsed, Value};

use self::{
    compile::{Assign, From, Mapping, Mappings, Rule},
    expr::{Scope, into_text},
};
use crate::{
    Error, Event, Observable,
    schema::{Attribute, Kind},
};

/// The mapping files, in the order in which they are asked.
const FILES: &[(&str, &str)] = &[
    ("windows_sysmon.toml", include_str!("../../mappings/windows_sysmon.toml")),
    ("windows_security.toml", include_str!("../../mappings/windows_security.toml")),
    ("windows_other.toml", include_str!("../../mappings/windows_other.toml")),
    ("linux_auditd.toml", include_str!("../../mappings/linux_auditd.toml")),
    ("syslog.toml", include_str!("../../mappings/syslog.toml")),
    ("web_access.toml", include_str!("../../mappings/web_access.toml")),
    ("w3c.toml", include_str!("../../mappings/w3c.toml")),
    ("aws_text.toml", include_str!("../../mappings/aws_text.toml")),
    ("aws_waf.toml", include_str!("../../mappings/aws_waf.toml")),
    ("cloudflare.toml", include_str!("../../mappings/cloudflare.toml")),
    ("haproxy.toml", include_str!("../../mappings/haproxy.toml")),
    ("cef.toml", include_str!("../../mappings/cef.toml")),
    ("kv.toml", include_str!("../../mappings/kv.toml")),
    ("utmp.toml", include_str!("../../mappings/utmp.toml")),
    ("zeek.toml", include_str!("../../mappings/zeek.toml")),
    ("suricata.toml", include_str!("../../mappings/suricata.toml")),
    ("aws_cloudtrail.toml", include_str!("../../mappings/aws_cloudtrail.toml")),
    ("aws_guardduty.toml", include_str!("../../mappings/aws_guardduty.toml")),
    ("aws_route53.toml", include_str!("../../mappings/aws_route53.toml")),
    ("aws_securityhub.toml", include_str!("../../mappings/aws_securityhub.toml")),
    ("azure_activity.toml", include_str!("../../mappings/azure_activity.toml")),
    ("azure_audit.toml", include_str!("../../mappings/azure_audit.toml")),
    ("azure_risk.toml", include_str!("../../mappings/azure_risk.toml")),
    ("azure_signin.toml", include_str!("../../mappings/azure_signin.toml")),
    ("gcp.toml", include_str!("../../mappings/gcp.toml")),
    ("github.toml", include_str!("../../mappings/github.toml")),
    ("google_workspace.toml", include_str!("../../mappings/google_workspace.toml")),
    ("kubernetes.toml", include_str!("../../mappings/kubernetes.toml")),
    ("m365.toml", include_str!("../../mappings/m365.toml")),
    ("okta.toml", include_str!("../../mappings/okta.toml")),
    ("auth0.toml", include_str!("../../mappings/auth0.toml")),
    ("crowdstrike.toml", include_str!("../../mappings/crowdstrike.toml")),
    ("duo.toml", include_str!("../../mappings/duo.toml")),
    ("onelogin.toml", include_str!("../../mappings/onelogin.toml")),
    ("saas.toml", include_str!("../../mappings/saas.toml")),
    ("slack.toml", include_str!("../../mappings/slack.toml")),
    ("umbrella.toml", include_str!("../../mappings/umbrella.toml")),
    ("zscaler.toml", include_str!("../../mappings/zscaler.toml")),
    ("osquery.toml", include_str!("../../mappings/osquery.toml")),
    ("macos_es.toml", include_str!("../../mappings/macos_es.toml")),
    ("elastic_endpoint.toml", include_str!("../../mappings/elastic_endpoint.toml")),
    ("santa.toml", include_str!("../../mappings/santa.toml")),
    ("apple.toml", include_str!("../../mappings/apple.toml")),
    ("bsm.toml", include_str!("../../mappings/bsm.toml")),
    ("android.toml", include_str!("../../mappings/android.toml")),
    ("host_text.toml", include_str!("../../mappings/host_text.toml")),
    ("nfdump.toml", include_str!("../../mappings/nfdump.toml")),
    ("netflow.toml", include_str!("../../mappings/netflow.toml")),
    ("application.toml", include_str!("../../mappings/application.toml")),
    ("other.toml", include_str!("../../mappings/other.toml")),
];

/// Longest value that is listed as an observable, in bytes: needles are short.
const OBSERVABLE_MAX: usize = 2048;

static MAPPINGS: LazyLock<(Mappings, Vec<Error>)> = LazyLock::new(|| Mappings::read(FILES));

/// The OCSF event of a document. Never fails: what no mapping knows is a Base Event with everything in `unmapped`.
pub fn map<'a>(parsed: &Parsed<'a>) -> Event<'a> {
    let mut scope = Scope::new(parsed);
    let Some((mapping, rule)) = MAPPINGS.0.choose(&scope) else { return base(scope, "none/1") };
    let mut event = Event {
        class_uid: rule.class_uid,
        activity_id: id(&rule.activity, &mut scope).unwrap_or_default(),
        severity_id: id(&rule.severity, &mut scope).unwrap_or_default(),
        status_id: rule.status.as_ref().and_then(|status| id(status, &mut scope)),
        time: parsed.time,
        attributes: Vec::with_capacity(rule.assigns.len()),
        unmapped: Default::default(),
        observables: Vec::with_capacity(16),
        mapping: mapping.label,
    };
    assign(rule, &mut event, &mut scope);
    let set = |paths: &[&str]| event.attributes.iter().any(|(path, _)| paths.contains(path));
    if !rule.core.iter().all(|group| set(group)) {
        return base(Scope::new(parsed), mapping.label);
    }
    settle(mapping, &mut scope);
    event.unmapped = scope.unmapped();
    event
}

/// Mapping files of this build that cannot be used, each with the reason; a test holds this to none.
pub fn problems() -> &'static [Error] {
    &MAPPINGS.1
}

fn base<'a>(scope: Scope<'_, 'a>, mapping: &'static str) -> Event<'a> {
    let parsed = scope.parsed;
    let mut event = Event {
        class_uid: 0,
        activity_id: 0,
        severity_id: 0,
        status_id: None,
        time: parsed.time,
        attributes: Vec::new(),
        unmapped: parsed.native.clone(),
        observables: Vec::new(),
        mapping,
    };
    if let Some(head) = &parsed.head {
        let texts = [
            ("device.hostname", &head.computer),
            ("metadata.log_name", &head.channel),
            ("metadata.log_provider", &head.provider),
        ];
        for (path, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            event.attributes.push((path, Value::Str(text.clone())));
        }
        event.attributes.push(("metadata.event_code", Value::from(head.event_id.to_string())));
        if !head.computer.is_empty() {
            event.attributes.push(("device.type_id", Value::Int(0)));
            event.observables.push(Observable { type_id: 1, name: "device.hostname", value: head.computer.clone() });
        }
    }
    event
}

fn id(expr: &expr::Expr, scope: &mut Scope<'_, '_>) -> Option<u32> {
    let (value, _) = expr.eval(scope)?;
    u32::try_from(value.as_i64()?).ok()
}

fn assign<'a>(rule: &Rule, event: &mut Event<'a>, scope: &mut Scope<'_, 'a>) {
    let mut set = vec![false; rule.assigns.len()];
    for (assign, slot) in rule.assigns.iter().zip(&rule.slots) {
        if set[*slot] {
            continue;
        }
        if !assign.conditions.iter().all(|condition| condition.holds(scope)) {
            continue;
        }
        let found = match &assign.from {
            From::Expr(expr) => expr.terms.iter().find_map(|term| {
                let (value, origin) = term.eval(scope)?;
                Some((fit(value, assign.attribute)?, origin))
            }),
            From::Build(parts) => build(parts, scope, &mut event.observables).map(|value| (value, None)),
            From::Gather(fields) => gather(fields, assign.attribute, scope).map(|value| (value, None)),
            _ => assign.companion(&event.attributes).map(|value| (value, None)),
        };
        let Some((value, origin)) = found else { continue };
        if let Some(origin) = origin {
            scope.mark(origin);
        }
        observe(assign.observable, assign.path, &value, &mut event.observables);
        named(assign, &value, &mut event.observables);
        event.attributes.push((assign.path, value));
        set[*slot] = true;
    }
}

/// A list of one object out of its parts; their values are observables as any other.
fn build<'a>(
    parts: &[(&'static str, &'static str, &'static Attribute, expr::Expr)],
    scope: &mut Scope<'_, 'a>,
    observables: &mut Vec<Observable<'a>>,
) -> Option<Value<'a>> {
    let mut object = Map::new();
    // What is always the same says nothing by itself: it comes last, and only beside what the source said of that object.
    let of_kind = |constant: bool| parts.iter().filter(move |(.., expr)| expr.is_constant() == constant);
    for (full, path, attribute, expr) in of_kind(false).chain(of_kind(true)) {
        let beside = || path.rsplit_once('.').map_or(!object.is_empty(), |(owner, _)| holds(&object, owner));
        if expr.is_constant() && !beside() {
            continue;
        }
        let Some((value, origin)) = expr.eval(scope) else { continue };
        let Some(value) = fit(value, attribute) else { continue };
        if let Some(origin) = origin {
            scope.mark(origin);
        }
        observe(compile::observable(attribute), full, &value, observables);
        nest(&mut object, path, value);
    }
    (!object.is_empty()).then_some(Value::List(vec![Value::Map(object)]))
}

/// Whether anything stands at a dotted path of the object.
fn holds(object: &Map<'_>, path: &str) -> bool {
    match path.split_once('.') {
        None => object.get(path).is_some(),
        Some((name, rest)) => object.get(name).and_then(Value::as_map).is_some_and(|inner| holds(inner, rest)),
    }
}

/// A list of what each of several fields gives, in their order.
fn gather<'a>(fields: &[expr::Expr], attribute: &Attribute, scope: &mut Scope<'_, 'a>) -> Option<Value<'a>> {
    let mut all = Vec::new();
    for field in fields {
        let Some((value, origin)) = field.eval(scope) else { continue };
        let Some(Value::List(items)) = fit(value, attribute) else { continue };
        if let Some(origin) = origin {
            scope.mark(origin);
        }
        all.extend(items);
    }
    (!all.is_empty()).then_some(Value::List(all))
}

fn nest<'a>(object: &mut Map<'a>, path: &'static str, value: Value<'a>) {
    let Some((name, rest)) = path.split_once('.') else { return object.push(path, value) };
    let at = object.0.iter().position(|(key, _)| key == name).unwrap_or_else(|| {
        object.push(name, Value::Map(Map::new()));
        object.0.len() - 1
    });
    if let Value::Map(inner) = &mut object.0[at].1 {
        nest(inner, rest, value);
    }
}

/// Marks the fields that the event's head already carries.
fn settle(mapping: &Mapping, scope: &mut Scope<'_, '_>) {
    for name in &mapping.consume {
        scope.mark_field(name);
    }
}

/// Lists the value, or each of a list's, as something of that type to search for.
fn observe<'a>(type_id: Option<u32>, name: &'static str, value: &Value<'a>, observables: &mut Vec<Observable<'a>>) {
    let Some(type_id) = type_id else { return };
    let mut add = |value: Cow<'a, str>| {
        if worth_finding(&value) {
            observables.push(Observable { type_id, name, value });
        }
    };
    match value {
        Value::List(items) => {
            for item in items {
                let text = item.as_map().map_or(Some(item), |map| map.get("value"));
                if let Some(text) = text.cloned().and_then(into_text) {
                    add(text);
                }
            }
        }
        one => {
            let text = one.as_map().map_or(Some(one), |map| map.get("value"));
            if let Some(text) = text.cloned().and_then(into_text) {
                add(text);
            }
        }
    }
}

/// Whether anybody would search for the value: what a mapping says where its source says nothing is none to find.
fn worth_finding(value: &str) -> bool {
    !value.is_empty() && value.len() <= OBSERVABLE_MAX && value != "unknown"
}

/// Addresses and names that a name server answered, that a certificate speaks for or that a client asked a TLS server for are what
/// people search for, though the schema types them as text.
fn named<'a>(assign: &Assign, value: &Value<'a>, observables: &mut Vec<Observable<'a>>) {
    let mut add = |name: &'static str, value: Option<&Value<'a>>| {
        if let Some(Value::Str(text)) = value
            && let Some(type_id) = host_type(text)
        {
            observables.push(Observable { type_id, name, value: text.clone() });
        }
    };
    match (assign.path, value) {
        ("answers", Value::List(answers)) => answers.iter().for_each(|answer| add("answers.rdata", answer.path("rdata"))),
        ("tls.certificate.sans", Value::List(names)) => {
            names.iter().for_each(|name| add("tls.certificate.sans.name", name.path("name")));
        }
        ("tls.sni", sni) => add("tls.sni", Some(sni)),
        ("email.urls", Value::List(urls)) => {
            let urls = urls.iter().filter_map(|url| url.path("url_string").cloned().and_then(into_text));
            observables.extend(urls.filter(|url| worth_finding(url)).map(|value| Observable {
                type_id: 6,
                name: "email.urls.url_string",
                value,
            }));
        }
        _ => {}
    }
}

/// The observable type of an address or a host's name in full; `None` for any other text.
fn host_type(text: &str) -> Option<u32> {
    if text.parse::<IpAddr>().is_ok() {
        return Some(2);
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'*'))
    };
    // A last label that is a number is none of a name: `1.2.3` is the version of something.
    let last_is_name = name.rsplit('.').next().is_some_and(|last| !last.bytes().all(|byte| byte.is_ascii_digit()));
    (name.len() <= 253 && name.contains('.') && last_is_name && name.split('.').all(label)).then_some(1)
}

/// The value as the attribute's type wants it; `None` if it is none of that type.
fn fit<'a>(value: Value<'a>, attribute: &Attribute) -> Option<Value<'a>> {
    if attribute.array {
        return match value {
            Value::List(items) => {
                let items: Vec<_> = items.into_iter().filter_map(|item| fit_one(item, attribute)).collect();
                (!items.is_empty()).then_some(Value::List(items))
            }
            one => Some(Value::List(vec![fit_one(one, attribute)?])),
        };
    }
    fit_one(value, attribute)
}

fn fit_one<'a>(value: Value<'a>, attribute: &Attribute) -> Option<Value<'a>> {
    match attribute.kind {
        Kind::Integer => value.as_i64().map(Value::Int),
        Kind::Port => value.as_i64().filter(|port| (0..=65535).contains(port)).map(Value::Int),
        Kind::Timestamp => match value {
            Value::Int(_) => Some(value),
            other => other.as_str()?.parse::<jiff::Timestamp>().ok().map(|at| Value::Int(at.as_millisecond())),
        },
        Kind::Boolean => match value {
            Value::Bool(_) => Some(value),
            other => match other.text()?.as_ref() {
                "true" | "yes" | "1" | "True" | "%%1842" => Some(Value::Bool(true)),
                "false" | "no" | "0" | "False" | "%%1843" => Some(Value::Bool(false)),
                _ => None,
            },
        },
        Kind::Float => match value {
            Value::Float(_) => Some(value),
            other => other.text()?.parse().ok().map(Value::Float),
        },
        Kind::Ip => address(into_text(value)?).map(Value::Str),
        Kind::Mac => into_text(value).filter(|text| is_mac(text)).map(Value::Str),
        Kind::Uuid => into_text(value).map(Value::Str).filter(|value| value.as_str().is_some_and(crate::validate::is_uuid)),
        Kind::Email => into_text(value).filter(|text| crate::validate::is_email(text)).map(Value::Str),
        Kind::Datetime => into_text(value).filter(|text| text.parse::<jiff::Timestamp>().is_ok()).map(Value::Str),
        Kind::Json => Some(value),
        Kind::Object => matches!(value, Value::Map(_)).then_some(value),
        Kind::Text => {
            let text = into_text(value).filter(|text| !text.is_empty())?;
            let allowed = attribute.values.is_empty() || attribute.values.iter().any(|(name, _)| *name == text);
            allowed.then_some(Value::Str(text))
        }
    }
}

/// An IP address as such: without brackets, zone or the IPv4-in-IPv6 prefix.
fn address(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    if !text.contains(['.', ':']) || text.len() > 64 {
        return None;
    }
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => Some(text),
        Ok(IpAddr::V6(ip)) => match ip.to_ipv4_mapped() {
            Some(ip) => Some(Cow::Owned(ip.to_string())),
            None => Some(text),
        },
        Err(_) => {
            let bare = text.trim_matches(['[', ']']);
            let bare = bare.split('%').next().unwrap_or(bare);
            bare.parse::<IpAddr>().is_ok().then(|| Cow::Owned(bare.to_owned()))
        }
    }
}

fn is_mac(text: &str) -> bool {
    text.len() == 17
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at % 3 == 2 { matches!(byte, b':' | b'-') } else { byte.is_ascii_hexdigit() })
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_and_addresses_are_told_from_other_text() {
        for (text, kind) in [
            ("192.0.2.7", Some(2)),
            ("2001:db8::7", Some(2)),
            ("www.shop.example", Some(1)),
            ("*.shop.example.", Some(1)),
            ("_ldap._tcp.corp.example", Some(1)),
            ("1.2.3", None),
            ("v=spf1 include:x.example -all", None),
            ("localhost", None),
            ("a..b", None),
            ("", None),
        ] {
            assert_eq!(super::host_type(text), kind, "{text}");
        }
    }

    #[test]
    fn every_mapping_file_compiles() {
        let problems: Vec<_> = super::problems().iter().map(ToString::to_string).collect();
        assert!(problems.is_empty(), "{problems:#?}");
    }
}
