//! Checks an event by the schema alone: what is required, what is known, types, enums, arithmetic, observables.

use std::net::IpAddr;

use serde_json::{Map, Value as Json};

use crate::schema::{self, Attribute, Constraint, Kind, Member};

/// One place where an event is not what the schema says.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Violation {
    /// A stable name: `unknown_attribute`, `missing`, `type`, `enum`, `constraint`, `type_uid`, `category_uid`, `observable`, `class`, `version`.
    pub code: &'static str,
    /// The attribute's path, as in `process.pid`.
    pub path: String,
    /// What is there and what should be.
    pub detail: String,
}

/// Everything in which `event` departs from the schema; empty when it is a valid OCSF 1.8 event.
pub fn validate(event: &Json) -> Vec<Violation> {
    let mut check = Check::default();
    let Some(event) = event.as_object() else {
        check.add("type", "", "an event is a JSON object".into());
        return check.0;
    };
    let uid = event.get("class_uid").and_then(Json::as_u64).and_then(|uid| u32::try_from(uid).ok());
    let Some(class) = uid.and_then(schema::class) else {
        check.add(
            "class",
            "class_uid",
            format!("`{}` is no class of OCSF {}", event.get("class_uid").unwrap_or(&Json::Null), schema::VERSION),
        );
        return check.0;
    };
    let profiles: Vec<&str> = event
        .get("metadata")
        .and_then(|metadata| metadata.get("profiles"))
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect();
    check.members(event, &class.attributes, &class.constraints, "", &profiles, 0);
    check.arithmetic(event, class);
    check.observables(event);
    check.0
}

/// Deeper nesting than this is refused: the schema's own objects end long before.
const DEPTH_MAX: usize = 24;

#[derive(Default)]
struct Check(Vec<Violation>);

impl Check {
    fn add(&mut self, code: &'static str, path: &str, detail: String) {
        self.0.push(Violation { code, path: path.to_owned(), detail });
    }

    fn members(
        &mut self,
        json: &Map<String, Json>,
        members: &[Member],
        constraints: &[Constraint],
        at: &str,
        profiles: &[&str],
        depth: usize,
    ) {
        if depth > DEPTH_MAX {
            return self.add("type", at, format!("nested deeper than {DEPTH_MAX}"));
        }
        let path = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
        let in_force =
            |member: &Member| member.profiles.is_empty() || member.profiles.iter().any(|profile| profiles.contains(profile));
        for (name, value) in json {
            match members.iter().find(|member| member.attribute.name == name) {
                None => self.add("unknown_attribute", &path(name), "the schema has no such attribute here".into()),
                Some(member) if depth == 0 && !in_force(member) => {
                    self.add(
                        "unknown_attribute",
                        &path(name),
                        format!("comes with profile `{}`, which metadata.profiles does not name", member.profiles.join("` or `")),
                    );
                }
                Some(member) => self.value(value, member.attribute, &path(name), profiles, depth),
            }
        }
        for member in
            members.iter().filter(|member| member.required && in_force(member) && !json.contains_key(member.attribute.name))
        {
            self.add("missing", &path(member.attribute.name), "required".into());
        }
        for constraint in constraints {
            let count = constraint.names.iter().filter(|name| json.contains_key(name.split('.').next().unwrap_or(name))).count();
            if count == 0 || (constraint.just_one && count != 1) {
                let rule = if constraint.just_one { "just one" } else { "at least one" };
                self.add("constraint", at, format!("{rule} of {} is needed", constraint.names.join(", ")));
            }
        }
    }

    fn value(&mut self, value: &Json, attribute: &Attribute, path: &str, profiles: &[&str], depth: usize) {
        if !attribute.array {
            return self.one(value, attribute, path, profiles, depth);
        }
        match value.as_array() {
            Some(items) => items.iter().for_each(|item| self.one(item, attribute, path, profiles, depth)),
            None => self.add("type", path, format!("a list of {} is expected", attribute.type_name)),
        }
    }

    fn one(&mut self, value: &Json, attribute: &Attribute, path: &str, profiles: &[&str], depth: usize) {
        if attribute.kind == Kind::Object {
            return match (value.as_object(), schema::schema().object(attribute.type_name)) {
                (Some(json), Some(object)) => {
                    self.members(json, &object.attributes, &object.constraints, path, profiles, depth + 1)
                }
                (None, _) => self.add("type", path, format!("an object `{}` is expected", attribute.type_name)),
                (_, None) => {}
            };
        }
        if !fits(value, attribute.kind) {
            let shown: String = value.to_string().chars().take(80).collect();
            return self.add("type", path, format!("`{shown}` is no {}", attribute.type_name));
        }
        if !attribute.values.is_empty() {
            let key = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if !attribute.values.iter().any(|(known, _)| *known == key) {
                let shown: String = key.chars().take(80).collect();
                self.add("enum", path, format!("`{shown}` is none of the permitted values"));
            }
        }
    }

    fn arithmetic(&mut self, event: &Map<String, Json>, class: &schema::Class) {
        let number = |name: &str| event.get(name).and_then(Json::as_u64);
        if let (Some(activity), Some(type_uid)) = (number("activity_id"), number("type_uid")) {
            let right = u64::from(class.uid) * 100 + activity;
            if type_uid != right {
                self.add("type_uid", "type_uid", format!("{type_uid} should be {right}"));
            }
        }
        if let Some(category) = number("category_uid").filter(|category| *category != u64::from(class.category_uid)) {
            self.add("category_uid", "category_uid", format!("{category} should be {}", class.category_uid));
        }
        let version = event.get("metadata").and_then(|metadata| metadata.get("version")).and_then(Json::as_str);
        if let Some(version) = version.filter(|version| *version != schema::VERSION) {
            self.add("version", "metadata.version", format!("`{version}` is not {}", schema::VERSION));
        }
    }

    /// An observable's name must lead to its value.
    fn observables(&mut self, event: &Map<String, Json>) {
        for observable in event.get("observables").and_then(Json::as_array).into_iter().flatten() {
            let (name, value) = (observable.get("name").and_then(Json::as_str), observable.get("value").and_then(Json::as_str));
            let (Some(name), Some(value)) = (name, value) else { continue };
            let mut path = name.split('.').map(|part| part.trim_end_matches("[]"));
            let root = path.next().and_then(|part| event.get(part));
            if !root.is_some_and(|root| leads_to(root, &mut path, value)) {
                self.add("observable", name, format!("no `{}` stands there", value.chars().take(80).collect::<String>()));
            }
        }
    }
}

fn leads_to<'p>(json: &Json, path: &mut (impl Iterator<Item = &'p str> + Clone), value: &str) -> bool {
    match json {
        Json::Array(items) => items.iter().any(|item| leads_to(item, &mut path.clone(), value)),
        Json::Object(map) => match path.next() {
            Some(part) => map.get(part).is_some_and(|inner| leads_to(inner, path, value)),
            None => map.get("value").and_then(Json::as_str) == Some(value),
        },
        Json::String(text) => text == value,
        other => {
            let text = other.to_string();
            text == value
        }
    }
}

fn fits(value: &Json, kind: Kind) -> bool {
    let text = value.as_str();
    match kind {
        Kind::Boolean => value.is_boolean(),
        Kind::Integer | Kind::Timestamp => value.is_i64() || value.is_u64(),
        Kind::Port => value.as_u64().is_some_and(|port| port <= 65535),
        Kind::Float => value.is_number(),
        Kind::Ip => text.is_some_and(|text| text.parse::<IpAddr>().is_ok()),
        Kind::Mac => text.is_some_and(|text| text.len() == 17),
        Kind::Datetime => text.is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
        Kind::Uuid => text.is_some_and(is_uuid),
        Kind::Email => text.is_some_and(is_email),
        Kind::Text => text.is_some(),
        Kind::Json => true,
        Kind::Object => value.is_object(),
    }
}

pub(crate) fn is_uuid(text: &str) -> bool {
    let text = text.trim_matches(['{', '}']);
    text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 8 | 13 | 18 | 23) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}

pub(crate) fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, domain)| {
        !name.is_empty() && domain.contains('.') && !domain.contains('@') && !text.contains([' ', '<', '>'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event() -> Json {
        json!({
            "time": 1, "class_uid": 4001, "category_uid": 4, "activity_id": 1, "type_uid": 400101, "severity_id": 1,
            "metadata": {"version": "1.8.0", "product": {"name": "x"}},
            "src_endpoint": {"ip": "10.0.0.1", "port": 5}, "observables": [{"name": "src_endpoint.ip", "type_id": 2, "value": "10.0.0.1"}],
        })
    }

    fn codes(change: impl FnOnce(&mut Json)) -> Vec<&'static str> {
        let mut event = event();
        change(&mut event);
        validate(&event).into_iter().map(|violation| violation.code).collect()
    }

    #[test]
    fn each_rule_has_its_name() {
        assert_eq!(codes(|_| {}), [""; 0]);
        assert_eq!(codes(|e| e["type_uid"] = 4001001.into()), ["enum", "type_uid"]);
        assert_eq!(codes(|e| e["src_endpoint"]["ip"] = "nowhere".into()), ["type", "observable"]);
        assert_eq!(codes(|e| e["src_endpoint"]["port"] = 70000.into()), ["type"]);
        assert_eq!(codes(|e| e["nonsense"] = 1.into()), ["unknown_attribute"]);
        assert_eq!(codes(|e| e["device"] = json!({"hostname": "a", "type_id": 0})), ["unknown_attribute"]);
        assert_eq!(codes(|e| e["src_endpoint"] = json!({})), ["constraint", "observable"]);
        assert_eq!(codes(|e| e["severity_id"] = 42.into()), ["enum"]);
        assert_eq!(codes(|e| e["category_uid"] = 3.into()), ["enum", "category_uid"]);
        assert_eq!(codes(|e| drop(e.as_object_mut().map(|e| e.remove("time")))), ["missing"]);
        assert_eq!(codes(|e| e["class_uid"] = 77.into()), ["class"]);
    }
}
