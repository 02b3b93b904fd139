//! Requests of the OpenTelemetry logs service, cut into records: each LogRecord as the bytes it was sent in.
//!
//! Messages and field numbers: `opentelemetry/proto/logs/v1/logs.proto`, `collector/logs/v1/logs_service.proto`.
use std::{borrow::Cow, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use reeve_decode::protobuf::{Field, Fields};
use reeve_record::EventTime;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::moment;

/// The records of one resource and scope; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The resource's `service.name`.
    pub service: Option<Arc<str>>,
    /// In the order they were sent.
    pub records: Vec<LogRecord>,
    /// What the request says of them, as members of a JSON object, in order. Shared by the groups of a resource.
    said: Vec<(&'static str, Arc<str>)>,
}

/// One record of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// The message's bytes, or the JSON object's.
    pub raw: Bytes,
    /// Its time, or else when it was observed.
    pub claimed: Option<EventTime>,
}

impl Group {
    /// What was said of the records, as the claims of an envelope; `None` if nothing was.
    pub fn claims(&self, identity: Option<&str>) -> Option<String> {
        let identity = identity.map(|name| ("identity", serde_json::Value::from(name).to_string().into()));
        let members: Vec<String> =
            self.said.iter().cloned().chain(identity).map(|(name, value)| format!("\"{name}\":{value}")).collect();
        (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
    }

    /// How long the claims are without an identity, nearly. Each group has its own, though a resource came once: look before they are written.
    pub fn claims_bytes(&self) -> usize {
        self.said.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

/// Cuts an `ExportLogsServiceRequest` in protobuf.
///
/// # Errors
/// What is wrong, in words; also if there are more than `records_max` records. Nothing of the request is to be kept then.
pub fn of_protobuf(body: &Bytes, records_max: usize) -> Result<Vec<Group>, String> {
    let packed = |bytes: Bytes| Arc::from(format!("\"{}\"", STANDARD.encode(bytes)));
    let text = |bytes: Bytes| Arc::from(serde_json::Value::from(String::from_utf8_lossy(&bytes)).to_string());
    let (mut groups, mut left) = (Vec::new(), records_max);
    for resource_logs in messages(body, 1) {
        let resource_logs = resource_logs?;
        let resource = last(&resource_logs, 1)?;
        let service: Option<Arc<str>> = resource.as_ref().map(service_name).transpose()?.flatten().map(Arc::from);
        let resource = resource.map(packed);
        let resource_schema = last(&resource_logs, 3)?.map(text);
        for scope_logs in messages(&resource_logs, 2) {
            let scope_logs = scope_logs?;
            let records: Vec<LogRecord> =
                messages(&scope_logs, 2).take(left + 1).map(|record| log_record(record?)).collect::<Result<_, String>>()?;
            left = left.checked_sub(records.len()).ok_or_else(|| too_many(records_max))?;
            let said = [
                ("resource_protobuf", resource.clone()),
                ("resource_schema", resource_schema.clone()),
                ("scope_protobuf", last(&scope_logs, 1)?.map(packed)),
                ("scope_schema", last(&scope_logs, 3)?.map(text)),
            ];
            push(&mut groups, &service, records, said);
        }
    }
    Ok(groups)
}

fn push(
    groups: &mut Vec<Group>,
    service: &Option<Arc<str>>,
    records: Vec<LogRecord>,
    said: [(&'static str, Option<Arc<str>>); 4],
) {
    if !records.is_empty() {
        let said = said.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        groups.push(Group { service: service.clone(), records, said });
    }
}

fn too_many(records_max: usize) -> String {
    format!("the request has more than {records_max} records; send it in parts")
}

fn log_record(raw: Bytes) -> Result<LogRecord, String> {
    let (mut time, mut observed) = (0, 0);
    for field in Fields::new(&raw) {
        match field? {
            (1, Field::Eight(nanos)) => time = nanos,
            (11, Field::Eight(nanos)) => observed = nanos,
            _ => {}
        }
    }
    Ok(LogRecord { claimed: moment::nanoseconds(if time == 0 { observed } else { time }), raw })
}

/// The value of `service.name` among a resource's attributes.
fn service_name(resource: &Bytes) -> Result<Option<String>, String> {
    for attribute in messages(resource, 1) {
        let attribute = attribute?;
        if last(&attribute, 1)?.as_deref() == Some(b"service.name") {
            let value = last(&attribute, 2)?.map(|value| last(&value, 1)).transpose()?.flatten();
            return Ok(value.map(|name| String::from_utf8_lossy(&name).into_owned()));
        }
    }
    Ok(None)
}

/// The messages in a repeated field, one at a time: a message of two bytes must not cost a list of them.
fn messages(message: &Bytes, number: u64) -> impl Iterator<Item = Result<Bytes, String>> + '_ {
    Fields::new(message).filter_map(move |field| match field {
        Ok((found, Field::Bytes(bytes))) if found == number => Some(Ok(message.slice_ref(bytes))),
        Ok((found, _)) if found == number => Some(Err(format!("field {number} is of another type"))),
        Ok(_) => None,
        Err(error) => Some(Err(error.into())),
    })
}

/// A field that is there at most once: of several the last counts.
fn last(message: &Bytes, number: u64) -> Result<Option<Bytes>, String> {
    messages(message, number).try_fold(None, |_, found| found.map(Some))
}

/// Cuts an `ExportLogsServiceRequest` in JSON.
///
/// # Errors
/// What is wrong, in words; also if there are more than `records_max` records. Nothing of the request is to be kept then.
pub fn of_json(body: &Bytes, records_max: usize) -> Result<Vec<Group>, String> {
    let wrong = |error: serde_json::Error| error.to_string();
    let line = |value: &RawValue| Arc::from(one_line(value.get()));
    let request: Request<'_> = serde_json::from_slice(body).map_err(wrong)?;
    let (mut groups, mut left) = (Vec::new(), records_max);
    for resource_logs in request.resource_logs {
        let resource_logs: ResourceLogs<'_> = serde_json::from_str(resource_logs.get()).map_err(wrong)?;
        let service = resource_logs.resource.and_then(json_service_name).map(Arc::from);
        let (resource, resource_schema) = (resource_logs.resource.map(line), resource_logs.schema_url.map(line));
        for scope_logs in resource_logs.scope_logs {
            let scope_logs: ScopeLogs<'_> = serde_json::from_str(scope_logs.get()).map_err(wrong)?;
            left = left.checked_sub(scope_logs.log_records.len()).ok_or_else(|| too_many(records_max))?;
            let said = [
                ("resource", resource.clone()),
                ("resource_schema", resource_schema.clone()),
                ("scope", scope_logs.scope.map(line)),
                ("scope_schema", scope_logs.schema_url.map(line)),
            ];
            let records = scope_logs.log_records.iter().map(|record| json_log_record(body, record)).collect();
            push(&mut groups, &service, records, said);
        }
    }
    Ok(groups)
}

/// White space between JSON tokens may hold line breaks, texts cannot: a blank for each changes nothing.
fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

fn json_log_record(body: &Bytes, record: &RawValue) -> LogRecord {
    let times: Times<'_> = serde_json::from_str(record.get()).unwrap_or_default();
    let nanos = |written: Option<&RawValue>| written.and_then(|number| number.get().trim_matches('"').parse().ok());
    let nanos = nanos(times.time).filter(|nanos| *nanos != 0).or_else(|| nanos(times.observed)).unwrap_or(0);
    LogRecord { raw: body.slice_ref(record.get().as_bytes()), claimed: moment::nanoseconds(nanos) }
}

fn json_service_name(resource: &RawValue) -> Option<String> {
    let resource: Resource<'_> = serde_json::from_str(resource.get()).ok()?;
    let found = resource.attributes.into_iter().find(|attribute| attribute.key.as_deref() == Some("service.name"))?;
    found.value?.string.map(Cow::into_owned)
}

/// The lists hold what is in them unread: an empty object in JSON is two bytes, a place for all that it could be is eighty.
#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, default, rename = "resourceLogs", alias = "resource_logs")]
    resource_logs: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct ResourceLogs<'a> {
    #[serde(borrow, default)]
    resource: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "scopeLogs", alias = "scope_logs")]
    scope_logs: Vec<&'a RawValue>,
    #[serde(borrow, default, rename = "schemaUrl", alias = "schema_url")]
    schema_url: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ScopeLogs<'a> {
    #[serde(borrow, default)]
    scope: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "logRecords", alias = "log_records")]
    log_records: Vec<&'a RawValue>,
    #[serde(borrow, default, rename = "schemaUrl", alias = "schema_url")]
    schema_url: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Times<'a> {
    #[serde(borrow, default, rename = "timeUnixNano", alias = "time_unix_nano")]
    time: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "observedTimeUnixNano", alias = "observed_time_unix_nano")]
    observed: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(borrow, default)]
    attributes: Vec<Attribute<'a>>,
}

#[derive(Deserialize)]
struct Attribute<'a> {
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    value: Option<AnyValue<'a>>,
}

#[derive(Deserialize)]
struct AnyValue<'a> {
    #[serde(borrow, default, rename = "stringValue", alias = "string_value")]
    string: Option<Cow<'a, str>>,
}

/// A `google.rpc.Status` in protobuf.
pub(crate) fn status(code: u16, message: &str) -> Vec<u8> {
    let mut out = vec![0x08];
    varint(&mut out, u64::from(code));
    out.push(0x12);
    varint(&mut out, message.len() as u64);
    out.extend_from_slice(message.as_bytes());
    out
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        varint(&mut out, bytes.len() as u64);
        out.extend_from_slice(bytes);
        out
    }

    fn eight(number: u8, value: u64) -> Vec<u8> {
        [&[number << 3 | 1][..], &value.to_le_bytes()].concat()
    }

    /// A request whose scope comes after its records, as the encoding allows.
    fn request() -> (Vec<u8>, Vec<u8>) {
        let name = [part(1, b"service.name"), part(2, &part(1, b"checkout"))].concat();
        let resource = part(1, &name);
        let record = [eight(1, 1_767_604_364_000_001_000), part(5, &part(1, b"hello"))].concat();
        let scope_logs = [part(2, &record), part(2, &eight(11, 1_767_604_364_000_000_000)), part(1, &part(1, b"lib"))].concat();
        (part(1, &[part(2, &scope_logs), part(1, &resource), part(3, b"https://schema")].concat()), record)
    }

    #[test]
    fn records_keep_their_bytes_and_what_is_said_of_them_is_beside() {
        let (body, record) = request();
        let groups = of_protobuf(&Bytes::from(body), 2).unwrap();
        assert_eq!((groups.len(), groups[0].service.as_deref()), (1, Some("checkout")));
        assert_eq!(groups[0].records[0].raw, record);
        let times: Vec<_> = groups[0].records.iter().map(|record| record.claimed.map(|time| time.at.as_microsecond())).collect();
        assert_eq!(times, [Some(1_767_604_364_000_001), Some(1_767_604_364_000_000)]);
        let claims: serde_json::Value = serde_json::from_str(&groups[0].claims(Some("web1")).unwrap()).unwrap();
        assert_eq!(claims["resource_schema"], "https://schema");
        assert_eq!((claims["scope_protobuf"].as_str(), claims["identity"].as_str()), (Some("CgNsaWI="), Some("web1")));
    }

    #[test]
    fn json_is_cut_at_the_same_places() {
        let body = Bytes::from_static(
            b"{\"resourceLogs\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\n\"value\":{\"stringValue\":\"checkout\"}}]},\"scopeLogs\":[{\"logRecords\":[\
            {\"timeUnixNano\":\"1767604364000001000\", \"body\":{\"stringValue\":\"x\"}},{\"observedTimeUnixNano\":1767604364000000000},7]}]}]}",
        );
        let groups = of_json(&body, 3).unwrap();
        assert_eq!(groups[0].service.as_deref(), Some("checkout"));
        assert_eq!(
            &groups[0].records[0].raw[..],
            b"{\"timeUnixNano\":\"1767604364000001000\", \"body\":{\"stringValue\":\"x\"}}"
        );
        let times: Vec<_> = groups[0].records.iter().map(|record| record.claimed.map(|time| time.at.as_microsecond())).collect();
        assert_eq!(times, [Some(1_767_604_364_000_001), Some(1_767_604_364_000_000), None]);
        assert!(!groups[0].claims(None).unwrap().contains('\n'));
        assert_eq!(of_json(&Bytes::from_static(b"{}"), 0).unwrap(), []);
        assert!(of_json(&Bytes::from_static(b"{\"resourceLogs\":{}}"), 9).is_err());
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let (body, _) = request();
        for wrong in
            [&body[..body.len() - 1], b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0b", b"\x08\x01", b"\x00\x01", b"\xff"]
        {
            assert!(of_protobuf(&Bytes::copy_from_slice(wrong), 9).is_err(), "{wrong:?}");
        }
        assert_eq!(of_protobuf(&Bytes::new(), 0).unwrap(), []);
    }

    #[test]
    fn one_record_too_many_is_named_and_empty_scopes_are_nothing() {
        let (body, _) = request();
        assert!(of_protobuf(&Bytes::from(body), 1).unwrap_err().contains("more than 1 records"));
        let json = Bytes::from_static(
            b"{\"resourceLogs\":[{\"resource\":{\"a\":1},\"scopeLogs\":[{},{\"logRecords\":[1,2]},{\"logRecords\":[3]}]}]}",
        );
        assert!(of_json(&json, 2).unwrap_err().contains("more than 2 records"));
        let groups = of_json(&json, 3).unwrap();
        assert_eq!(groups.iter().map(|group| group.records.len()).collect::<Vec<_>>(), [2, 1]);
        let scopes = part(1, &[part(1, b""), [0x12, 0].repeat(1000)].concat());
        assert_eq!(of_protobuf(&Bytes::from(scopes), 1).unwrap(), []);
        let claims = groups[0].claims(None).unwrap();
        assert!(claims == "{\"resource\":{\"a\":1}}" && groups[0].claims_bytes().abs_diff(claims.len()) < 20, "{claims}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_cut_or_refused(noise in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..100, byte: u8) {
            let _ = of_protobuf(&Bytes::from(noise), 9);
            let (mut body, _) = request();
            let at = at % body.len();
            body[at] = byte;
            let _ = of_protobuf(&Bytes::from(body), 9);
        }
    }
}
