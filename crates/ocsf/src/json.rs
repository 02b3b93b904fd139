use jiff::Timestamp;
use reeve_decode::Value;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use crate::{
    Event,
    schema::{self, Class, Kind, Member},
};

/// Where an event came from: what `to_json` adds to the mapping's own attributes.
#[derive(Clone, Copy, Debug)]
pub struct Source<'s> {
    /// The source's name, as in a file's path or a listener's name.
    pub name: &'s str,
    /// The record it was read from, as in `3-17`, if it is in a ledger.
    pub record: Option<&'s str>,
    /// Which event of the record.
    pub part: u32,
    /// When the record was received; stands in for a missing event time.
    pub received_at: Timestamp,
    /// The bytes of just this event.
    pub raw: &'s [u8],
}

/// The full nested OCSF 1.8 event: classification with captions, metadata, observables, hash of the raw bytes, `unmapped`.
pub fn to_json(event: &Event<'_>, source: &Source<'_>) -> Json {
    let class = schema::class(event.class_uid);
    let mut json = classification(event, class, source);
    for (path, value) in &event.attributes {
        insert(&mut json, path, Json::from_value(value));
    }
    let mut partial = Map::new();
    prune(&mut json, class.map_or(&[], |class| &class.attributes), "", &mut partial);
    captions(&mut json, class.map_or(&[], |class| &class.attributes));
    fill_required(&mut json, class, source);
    metadata(&mut json, event, class, source);
    json.insert(
        "raw_data_hash".into(),
        json!({"algorithm": "SHA-256", "algorithm_id": 3, "value": hex::encode(Sha256::digest(source.raw))}),
    );
    json.insert("raw_data_size".into(), source.raw.len().into());
    let stands =
        |name: &str| !partial.keys().any(|path| name.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('.')));
    let observables: Vec<Json> = event.observables.iter().filter(|observable| stands(observable.name)).map(observable).collect();
    if !observables.is_empty() {
        json.insert("observables".into(), observables.into());
    }
    if !event.unmapped.is_empty() || !partial.is_empty() {
        let mut unmapped = serde_json::to_value(&event.unmapped).unwrap_or_default();
        if let Some(unmapped) = unmapped.as_object_mut() {
            for (path, value) in partial {
                unmapped.entry(path).or_insert(value);
            }
        }
        json.insert("unmapped".into(), unmapped);
    }
    Json::Object(json)
}

fn observable(observable: &crate::Observable<'_>) -> Json {
    let mut one = json!({"name": observable.name, "type_id": observable.type_id, "value": observable.value});
    if let Some(caption) = observable_caption(observable.type_id) {
        one["type"] = caption.into();
    }
    one
}

/// Takes out objects that lack what the schema demands of them (an `api` without its operation) into `partial`, by path: the event
/// stays valid, and what the source said of them is still in it.
fn prune(json: &mut Map<String, Json>, members: &[Member], at: &str, partial: &mut Map<String, Json>) {
    for member in members.iter().filter(|member| member.attribute.kind == Kind::Object) {
        let name = member.attribute.name;
        let Some(object) = schema::schema().object(member.attribute.type_name) else { continue };
        let path = if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
        let whole = match json.get_mut(name) {
            Some(Json::Object(inner)) => {
                prune(inner, &object.attributes, &path, partial);
                is_whole(inner, object)
            }
            Some(Json::Array(items)) => {
                items
                    .iter_mut()
                    .filter_map(Json::as_object_mut)
                    .for_each(|inner| prune(inner, &object.attributes, &path, partial));
                items.iter().all(|item| item.as_object().is_some_and(|inner| is_whole(inner, object)))
            }
            _ => continue,
        };
        // Metadata is completed below, whatever the mapping set of it.
        if !whole
            && at.split('.').next() != Some("metadata")
            && name != "metadata"
            && let Some(value) = json.remove(name)
        {
            partial.insert(path, value);
        }
    }
}

fn is_whole(json: &Map<String, Json>, object: &schema::Object) -> bool {
    let required = object.attributes.iter().filter(|member| member.required && member.profiles.is_empty());
    let constrained = |constraint: &schema::Constraint| constraint.names.iter().any(|name| json.contains_key(*name));
    required.into_iter().all(|member| json.contains_key(member.attribute.name)) && object.constraints.iter().all(constrained)
}

/// The caption of an observable's `type_id`, as in `IP Address` for 2.
pub fn observable_caption(type_id: u32) -> Option<&'static str> {
    let object = schema::schema().object("observable")?;
    object.attributes.iter().find(|member| member.attribute.name == "type_id")?.attribute.caption(i64::from(type_id))
}

trait FromValue {
    fn from_value(value: &Value<'_>) -> Json;
}

impl FromValue for Json {
    fn from_value(value: &Value<'_>) -> Json {
        serde_json::to_value(value).unwrap_or_default()
    }
}

fn classification(event: &Event<'_>, class: Option<&Class>, source: &Source<'_>) -> Map<String, Json> {
    let mut json = Map::new();
    let at = event.time.map_or(source.received_at, |time| time.at);
    json.insert("time".into(), at.as_millisecond().into());
    json.insert("class_uid".into(), event.class_uid.into());
    json.insert("category_uid".into(), class.map_or(0, |class| class.category_uid).into());
    json.insert("type_uid".into(), event.type_uid().into());
    json.insert("activity_id".into(), event.activity_id.into());
    json.insert("severity_id".into(), event.severity_id.into());
    if let Some(status_id) = event.status_id {
        json.insert("status_id".into(), status_id.into());
    }
    if let Some(class) = class {
        json.insert("class_name".into(), class.caption.into());
        json.insert("category_name".into(), class.category.into());
        if let Some(activity) = class.activity(event.activity_id) {
            json.insert("activity_name".into(), activity.into());
            json.insert("type_name".into(), format!("{}: {activity}", class.caption).into());
        }
    }
    json
}

/// Puts a value at a dotted path; a path through something that is no object is left alone.
fn insert(json: &mut Map<String, Json>, path: &str, value: Json) {
    match path.split_once('.') {
        None => {
            json.entry(path).or_insert(value);
        }
        Some((name, rest)) => {
            if let Json::Object(inner) = json.entry(name).or_insert_with(|| Json::Object(Map::new())) {
                insert(inner, rest, value);
            }
        }
    }
}

/// Writes the caption beside each enum value (`severity` beside `severity_id`), at every depth.
fn captions(json: &mut Map<String, Json>, members: &[Member]) {
    for member in members {
        let attribute = member.attribute;
        let Some(value) = json.get_mut(attribute.name) else { continue };
        if attribute.kind == Kind::Object
            && let Some(object) = schema::schema().object(attribute.type_name)
        {
            match value {
                Json::Object(inner) => captions(inner, &object.attributes),
                Json::Array(items) => {
                    items.iter_mut().filter_map(Json::as_object_mut).for_each(|inner| captions(inner, &object.attributes))
                }
                _ => {}
            }
        } else if let (Some(sibling), Some(caption)) =
            (attribute.sibling, value.as_i64().and_then(|value| attribute.caption(value)))
            && members.iter().any(|member| member.attribute.name == sibling)
        {
            json.entry(sibling).or_insert_with(|| caption.into());
        }
    }
}

/// What the schema demands and the source does not say is said to be unknown, in the schema's own words.
fn fill_required(json: &mut Map<String, Json>, class: Option<&Class>, source: &Source<'_>) {
    let Some(class) = class else { return };
    for member in class.attributes.iter().filter(|member| member.required && member.profiles.is_empty()) {
        if json.contains_key(member.attribute.name) {
            continue;
        }
        let unknown = match member.attribute.type_name {
            "device" => json!({"name": source.name, "type_id": 0, "type": "Unknown"}),
            "actor" => json!({"user": {"name": "unknown", "type_id": 0, "type": "Unknown"}}),
            "user" => json!({"name": "unknown", "type_id": 0, "type": "Unknown"}),
            "network_endpoint" => json!({"name": "unknown"}),
            _ => continue,
        };
        json.insert(member.attribute.name.into(), unknown);
    }
    // Said by the class as a whole: a connection has an end, a sign-in a service or a place.
    let missing = |json: &Map<String, Json>, names: &[&str]| !names.iter().any(|name| json.contains_key(*name));
    for constraint in &class.constraints {
        if missing(json, &constraint.names) && constraint.names.contains(&"dst_endpoint") {
            json.insert("dst_endpoint".into(), json!({"name": "unknown"}));
        }
    }
}

fn metadata(json: &mut Map<String, Json>, event: &Event<'_>, class: Option<&Class>, source: &Source<'_>) {
    let mut profiles: Vec<&str> = Vec::new();
    for member in class.map_or(&[][..], |class| &class.attributes) {
        if json.contains_key(member.attribute.name)
            && let Some(profile) = member.profiles.first()
            && !profiles.contains(profile)
        {
            profiles.push(profile);
        }
    }
    profiles.sort_unstable();
    let Json::Object(metadata) = json.entry("metadata").or_insert_with(|| Json::Object(Map::new())) else { return };
    metadata.insert("version".into(), schema::VERSION.into());
    let family = event.mapping.split('/').next().unwrap_or(event.mapping);
    let product = metadata.entry("product").or_insert_with(|| json!({}));
    if product.get("name").is_none() {
        product["name"] = family.into();
    }
    if let Some(record) = source.record {
        metadata.insert("uid".into(), format!("{record}/{}", source.part).into());
    }
    metadata.insert("logged_time".into(), source.received_at.as_millisecond().into());
    metadata.insert("log_source".into(), source.name.into());
    if let Some(time) = event.time {
        metadata.entry("original_time").or_insert_with(|| time.at.to_string().into());
    }
    metadata.insert("labels".into(), json!([format!("mapping:{}", event.mapping), format!("time:{}", certainty(event))]));
    if !profiles.is_empty() {
        metadata.insert("profiles".into(), json!(profiles));
    }
    if (class.is_some_and(|class| class.key.starts_with("win/")) || json.get("win_service").is_some())
        && let Some(Json::Object(metadata)) = json.get_mut("metadata")
    {
        metadata.insert("extensions".into(), json!([{"name": "win", "uid": "2", "version": schema::VERSION}]));
    }
}

fn certainty(event: &Event<'_>) -> &'static str {
    use reeve_record::Certainty;
    match event.time.map(|time| time.certainty) {
        Some(Certainty::Exact) => "exact",
        Some(Certainty::ZoneInferred) => "zone_inferred",
        Some(Certainty::YearInferred) => "year_inferred",
        Some(Certainty::Received) | None => "received",
    }
}
