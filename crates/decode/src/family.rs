use std::borrow::Cow;

use jiff::Timestamp;
use reeve_record::{Certainty, EventTime};

use crate::{Head, Map, Value, cloud, time, zeek};

/// What a JSON object turned out to be.
pub(crate) struct Family<'a> {
    pub(crate) decoder: &'static str,
    pub(crate) head: Option<Head<'a>>,
    pub(crate) time: Option<EventTime>,
}

/// Whether an object has a field for its time, readable or not.
pub(crate) fn claims_time(map: &Map<'_>) -> bool {
    let fields = Fields::of(map);
    let claimed = [fields.at_timestamp, fields.event_time, fields.plain_time, fields.ts];
    claimed
        .into_iter()
        .flatten()
        .any(|value| matches!(value, Value::Str(text) if text.bytes().filter(u8::is_ascii_digit).count() >= 8))
}

/// The top-level fields that tell the families apart, found in one pass over the object.
#[derive(Default)]
struct Fields<'m, 'a> {
    event: Option<&'m Value<'a>>,
    system: Option<&'m Value<'a>>,
    winlog: Option<&'m Value<'a>>,
    event_data: Option<&'m Value<'a>>,
    log_name: Option<&'m Value<'a>>,
    event_id: Option<&'m Value<'a>>,
    channel: Option<&'m Value<'a>>,
    source_name: Option<&'m Value<'a>>,
    computer: Option<&'m Value<'a>>,
    at_timestamp: Option<&'m Value<'a>>,
    event_time: Option<&'m Value<'a>>,
    utc_time: Option<&'m Value<'a>>,
    time_created: Option<&'m Value<'a>>,
    event_type: Option<&'m Value<'a>>,
    event_source: Option<&'m Value<'a>>,
    event_name: Option<&'m Value<'a>>,
    ts: Option<&'m Value<'a>>,
    zeek_mark: Option<&'m Value<'a>>,
    realtime: Option<&'m Value<'a>>,
    laurel_id: Option<&'m Value<'a>>,
    flow: Option<&'m Value<'a>>,
    plain_time: Option<&'m Value<'a>>,
    flow_id: Option<&'m Value<'a>>,
    /// Names that only one audit log of a cloud or service uses.
    cloud: cloud::Marks,
}

impl<'m, 'a> Fields<'m, 'a> {
    fn of(map: &'m Map<'a>) -> Self {
        let mut fields = Self::default();
        for (name, value) in map.iter() {
            let slot = match name {
                "Event" => &mut fields.event,
                "System" => &mut fields.system,
                "winlog" => &mut fields.winlog,
                "event_data" => &mut fields.event_data,
                "log_name" => &mut fields.log_name,
                "EventID" | "EventId" | "event_id" | "winlog.event_id" => &mut fields.event_id,
                "Channel" | "winlog.channel" | "LogName" => &mut fields.channel,
                "SourceName" | "Provider_Name" | "ProviderName" | "Provider" | "source_name" | "winlog.provider_name" => {
                    &mut fields.source_name
                }
                "Computer" | "Hostname" | "computer_name" | "ComputerName" | "winlog.computer_name" => &mut fields.computer,
                "@timestamp" => &mut fields.at_timestamp,
                "EventTime" => &mut fields.event_time,
                "UtcTime" => &mut fields.utc_time,
                "TimeCreated" | "SystemTime" => &mut fields.time_created,
                "event_type" => &mut fields.event_type,
                "eventSource" => &mut fields.event_source,
                "eventName" => &mut fields.event_name,
                "ts" => &mut fields.ts,
                "id.orig_h" | "_path" | "uid" | "fuid" => &mut fields.zeek_mark,
                "__REALTIME_TIMESTAMP" => &mut fields.realtime,
                "ID" => &mut fields.laurel_id,
                "t_first" | "t_last" | "first" => &mut fields.flow,
                "flow_id" | "src_ip" => &mut fields.flow_id,
                "timestamp" | "eventTime" | "time" | "unixTime" | "published" | "TimeGenerated" | "created_at" | "date"
                | "_time" | "datetime" | "start_time" => &mut fields.plain_time,
                _ => {
                    fields.cloud.note(name);
                    continue;
                }
            };
            slot.get_or_insert(value);
        }
        fields
    }
}

/// Windows events that an exporter flattened (`winlog.event_data.Image`, `Event.System.EventID`) with their dotted names nested again:
/// the same paths lead to the same values, and rules find their fields by bare name. Anything else is left as it is.
pub(crate) fn nested<'a>(map: Map<'a>) -> Map<'a> {
    const FLATTENED: [&str; 2] = ["winlog.", "Event."];
    let Some(prefix) = FLATTENED.into_iter().find(|prefix| map.iter().any(|(name, _)| name.starts_with(prefix))) else {
        return map;
    };
    if map.get(prefix.trim_end_matches('.')).is_some() {
        return map;
    }
    let mut nested = Map::new();
    for (name, value) in map.0 {
        if name.starts_with(prefix) {
            let parts: Vec<Cow<'a, str>> = match name {
                Cow::Borrowed(name) => name.splitn(LEVELS, '.').map(Cow::Borrowed).collect(),
                Cow::Owned(name) => name.splitn(LEVELS, '.').map(|part| Cow::Owned(part.to_owned())).collect(),
            };
            put(&mut nested, &parts, value);
        } else {
            nested.0.push((name, value));
        }
    }
    nested
}

/// Levels a flattened name is taken apart into; what is left keeps its dots.
const LEVELS: usize = 4;

fn put<'a>(map: &mut Map<'a>, parts: &[Cow<'a, str>], value: Value<'a>) {
    let Some((first, rest)) = parts.split_first() else { return };
    if rest.is_empty() {
        return map.0.push((first.clone(), value));
    }
    let inner = map.0.iter_mut().find_map(|(name, inner)| match inner {
        Value::Map(inner) if name == first => Some(inner),
        _ => None,
    });
    match inner {
        Some(inner) => put(inner, rest, value),
        None => {
            let mut inner = Map::new();
            put(&mut inner, rest, value);
            map.0.push((first.clone(), Value::Map(inner)));
        }
    }
}

/// Tells the family of an object by its fields.
pub(crate) fn tell<'a>(map: &Map<'a>) -> Family<'a> {
    let fields = Fields::of(map);
    windows(map, &fields)
        .or_else(|| network(map, &fields))
        .or_else(|| host(map, &fields))
        .or_else(|| cloud::tell(map, fields.cloud))
        .unwrap_or_else(|| Family { decoder: "json", head: None, time: any_time(&fields) })
}

fn windows<'a>(map: &Map<'a>, fields: &Fields<'_, 'a>) -> Option<Family<'a>> {
    if let Some(event) = fields.event.and_then(Value::as_map)
        && event.get("System").is_some()
    {
        let time = export_time(event).or_else(|| any_time(fields));
        return Some(Family { decoder: "json.evtx", head: Some(evtx_head(map)), time });
    }
    if let Some(system) = fields.system.and_then(Value::as_map)
        && system.get("EventID").is_some()
    {
        let head = system_head(system, &["EventData", "UserData.*", "System", ""]);
        return Some(Family { decoder: "json.evtx", head: Some(head), time: export_time(map).or_else(|| any_time(fields)) });
    }
    if let Some(winlog) = fields.winlog.and_then(Value::as_map) {
        return Some(Family {
            decoder: "json.winlogbeat",
            head: Some(winlog_head(map, winlog)),
            time: winlog_time(winlog, fields),
        });
    }
    let event_id = fields.event_id?;
    if fields.log_name.is_some() && (fields.event_data.is_some() || fields.source_name.is_some()) {
        let head = flat_head(event_id, fields.log_name, fields, &["event_data", "user_data.*", "user_data", ""]);
        return Some(Family { decoder: "json.winlogbeat", head: Some(head), time: text_time(fields.at_timestamp) });
    }
    let windows_like = fields.channel.is_some() || fields.source_name.is_some() || fields.utc_time.is_some();
    if !windows_like || event_id.as_i64().is_none() {
        return None;
    }
    let head = flat_head(event_id, fields.channel, fields, &["", "EventData", "event_data"]);
    Some(Family { decoder: "json.nxlog", head: Some(head), time: flat_time(fields) })
}

fn network<'a>(map: &Map<'a>, fields: &Fields<'_, 'a>) -> Option<Family<'a>> {
    // Every EVE record has an object named after its type, or at least the flow it belongs to.
    if fields.event_type.and_then(Value::as_str).is_some_and(|kind| fields.flow_id.is_some() || map.get(kind).is_some()) {
        return Some(Family { decoder: "suricata.eve", head: None, time: any_time(fields) });
    }
    if fields.event_source.is_some() && fields.event_name.is_some() {
        let time = text_time(map.get("eventTime")).or_else(|| any_time(fields));
        return Some(Family { decoder: "aws.cloudtrail", head: None, time });
    }
    if let Some(ts) = fields.ts
        && (fields.zeek_mark.is_some() || zeek::guess(map).is_some())
    {
        let path = map.get("_path").and_then(Value::as_str).or_else(|| zeek::guess(map)).unwrap_or("other");
        return Some(Family { decoder: zeek::decoder(path), head: None, time: moment(ts) });
    }
    if fields.flow.is_some()
        && (map.get("src4_addr").is_some() || map.get("src6_addr").is_some() || map.get("src_addr").is_some())
    {
        let time = ["t_first", "first"].iter().find_map(|name| moment(map.get(name)?));
        return Some(Family { decoder: "nfdump", head: None, time });
    }
    None
}

fn host<'a>(map: &Map<'a>, fields: &Fields<'_, 'a>) -> Option<Family<'a>> {
    if let Some(realtime) = fields.realtime {
        let at = realtime.as_i64().and_then(|micros| Timestamp::from_microsecond(micros).ok());
        return Some(Family { decoder: "journald", head: None, time: at.map(EventTime::exact) });
    }
    if let Some(at) = fields.laurel_id.and_then(Value::as_str).and_then(audit_id)
        && map.iter().any(|(name, value)| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') && is_record(value))
    {
        return Some(Family { decoder: "auditd.laurel", head: None, time: Some(EventTime::exact(at)) });
    }
    None
}

fn is_record(value: &Value<'_>) -> bool {
    matches!(value, Value::Map(_) | Value::List(_))
}

/// The time in an audit event id such as `1615114232.375:15558`.
fn audit_id(id: &str) -> Option<Timestamp> {
    let (at, serial) = id.split_once(':')?;
    serial.parse::<u64>().ok()?;
    at.contains('.').then(|| time::epoch(at)).flatten()
}

/// The head of a document with `Event.System`, whether attributes are folded in, under `#attributes` or under `NAME_attributes`.
pub(crate) fn evtx_head<'a>(native: &Map<'a>) -> Head<'a> {
    let scopes = &["Event.EventData", "Event.UserData.*", "Event.System", "Event", ""];
    match native.get("Event").and_then(|event| event.as_map()?.get("System")?.as_map()) {
        Some(system) => system_head(system, scopes),
        None => Head { scopes, ..Head::default() },
    }
}

fn system_head<'a>(system: &Map<'a>, scopes: &'static [&'static str]) -> Head<'a> {
    let mut head = Head { scopes, ..Head::default() };
    for (name, value) in system.iter() {
        match name {
            "Channel" => head.channel = share(value),
            "Computer" => head.computer = share(value),
            "EventID" => head.event_id = event_number(value),
            "Provider" | "Provider_attributes" => head.provider = provider(value),
            "Provider_Name" => head.provider = share(value),
            _ => {}
        }
    }
    complete(head)
}

fn provider<'a>(value: &Value<'a>) -> Cow<'a, str> {
    let Some(map) = value.as_map() else { return share(value) };
    let attributes = map.get("#attributes").and_then(Value::as_map).unwrap_or(map);
    attributes.get("Name").or_else(|| attributes.get("@Name")).map(share).unwrap_or_default()
}

fn winlog_head<'a>(map: &Map<'a>, winlog: &Map<'a>) -> Head<'a> {
    let scopes = &["winlog.event_data", "winlog.user_data", "winlog", ""];
    let mut head = Head { scopes, ..Head::default() };
    for (name, value) in winlog.iter() {
        match name {
            "channel" => head.channel = share(value),
            "computer_name" => head.computer = share(value),
            "event_id" => head.event_id = event_number(value),
            "provider_name" => head.provider = share(value),
            _ => {}
        }
    }
    if head.event_id == 0 {
        head.event_id = map.path("event.code").map_or(0, event_number);
    }
    if head.computer.is_empty() {
        head.computer = map.path("host.name").map(share).unwrap_or_default();
    }
    complete(head)
}

fn flat_head<'a>(
    event_id: &Value<'a>,
    channel: Option<&Value<'a>>,
    fields: &Fields<'_, 'a>,
    scopes: &'static [&'static str],
) -> Head<'a> {
    complete(Head {
        channel: channel.map(share).unwrap_or_default(),
        event_id: event_number(event_id),
        provider: fields.source_name.map(provider).unwrap_or_default(),
        computer: fields.computer.map(share).unwrap_or_default(),
        scopes,
    })
}

/// A channel that the source left out, where its provider writes to one only.
fn complete(mut head: Head<'_>) -> Head<'_> {
    if head.channel.is_empty() {
        head.channel = Cow::Borrowed(match head.provider.as_ref() {
            "Microsoft-Windows-Sysmon" => "Microsoft-Windows-Sysmon/Operational",
            "Linux-Sysmon" => "Linux-Sysmon/Operational",
            "Microsoft-Windows-Security-Auditing" => "Security",
            "Microsoft-Windows-PowerShell" => "Microsoft-Windows-PowerShell/Operational",
            "Service Control Manager" => "System",
            "PowerShell" => "Windows PowerShell",
            _ => "",
        });
    }
    head
}

/// An event id as number, text, `{"#text": …}` or `{"Value": …}`; qualifiers in the upper half are cut off.
fn event_number(value: &Value<'_>) -> u32 {
    let number = match value {
        Value::Map(map) => ["#text", "Value", "value"].iter().find_map(|name| map.get(name)?.as_i64()),
        other => other.as_i64(),
    };
    number.map_or(0, |number| (number & 0xFFFF) as u32)
}

/// The text of a value with the lifetime of the document: borrowed text stays borrowed.
pub(crate) fn share<'a>(value: &Value<'a>) -> Cow<'a, str> {
    match value {
        Value::Str(text) => text.clone(),
        other => other.text().map(|text| Cow::Owned(text.into_owned())).unwrap_or_default(),
    }
}

fn export_time(event: &Map<'_>) -> Option<EventTime> {
    let created = event.path("System.TimeCreated").or_else(|| event.path("System.TimeCreated_attributes"))?;
    let text = match created {
        Value::Map(map) => {
            let map = map.get("#attributes").and_then(Value::as_map).unwrap_or(map);
            map.get("SystemTime").or_else(|| map.get("@SystemTime"))?
        }
        other => other,
    };
    moment(text)
}

/// `winlog.time_created` where the shipper kept it, else `@timestamp`, which Winlogbeat sets to the same.
fn winlog_time(winlog: &Map<'_>, fields: &Fields<'_, '_>) -> Option<EventTime> {
    text_time(winlog.get("time_created")).or_else(|| text_time(fields.at_timestamp)).or_else(|| any_time(fields))
}

/// The time of a flat Windows event.
///
/// NXLog writes `EventTime` in the host's local time without an offset and `@timestamp` when the collector took it, a second or two
/// later. Sysmon's `UtcTime` says it exactly; else the two together give the offset, to the quarter hour.
fn flat_time(fields: &Fields<'_, '_>) -> Option<EventTime> {
    if let Some(at) = fields.utc_time.and_then(Value::as_str).and_then(time::whole_stamp) {
        return Some(EventTime::exact(at.at));
    }
    let created = fields.time_created.and_then(|value| match value {
        Value::Map(map) => map.get("SystemTime").and_then(moment),
        other => moment(other),
    });
    if created.is_some() {
        return created;
    }
    let collected = text_time(fields.at_timestamp);
    match (fields.event_time.and_then(moment), collected) {
        (Some(local), Some(collected)) if local.certainty == Certainty::ZoneInferred => Some(with_offset_of(local, collected)),
        (Some(local), _) => Some(local),
        (None, collected) => collected.or_else(|| any_time(fields)),
    }
}

fn with_offset_of(local: EventTime, collected: EventTime) -> EventTime {
    const QUARTER: i64 = 900;
    const WIDEST: i64 = 15 * 3600;
    let ahead = local.at.as_second() - collected.at.as_second();
    let offset = (ahead + QUARTER / 2).div_euclid(QUARTER) * QUARTER;
    if offset.abs() > WIDEST {
        return local;
    }
    let at = local.at.checked_sub(jiff::SignedDuration::from_secs(offset)).unwrap_or(local.at);
    EventTime { at, certainty: Certainty::ZoneInferred }
}

fn any_time(fields: &Fields<'_, '_>) -> Option<EventTime> {
    [fields.plain_time, fields.at_timestamp, fields.event_time, fields.utc_time, fields.ts].into_iter().flatten().find_map(moment)
}

fn text_time(value: Option<&Value<'_>>) -> Option<EventTime> {
    moment(value?)
}

/// A time as text or as a number since 1970.
pub(crate) fn moment(value: &Value<'_>) -> Option<EventTime> {
    match value {
        Value::Str(text) => time::whole_stamp(text).or_else(|| {
            let text = text.trim();
            if text.len() < 9 {
                return None;
            }
            let at = if text.contains('.') { time::epoch(text) } else { text.parse().ok().and_then(time::epoch_any) };
            at.map(EventTime::exact)
        }),
        Value::Int(number) if *number > 100_000_000 => time::epoch_any(*number).map(EventTime::exact),
        Value::Float(seconds) if *seconds > 1.0e11 => time::epoch_float(seconds / 1000.0).map(EventTime::exact),
        Value::Float(seconds) => time::epoch_float(*seconds).map(EventTime::exact),
        _ => None,
    }
}
