//! The OCSF schema as tables: classes, objects, attributes, enums. Facts only; the prose stays with the standard.

use std::{collections::HashMap, sync::LazyLock};

/// The schema version all of this crate speaks.
pub const VERSION: &str = "1.8.0";

/// One event class.
#[derive(Debug)]
pub struct Class {
    /// As in 1007.
    pub uid: u32,
    /// The schema's key, as in `process_activity` or `win/registry_key_activity`.
    pub key: &'static str,
    /// As in `Process Activity`.
    pub caption: &'static str,
    /// As in 1 for System Activity; 0 for the Base Event.
    pub category_uid: u32,
    /// As in `System Activity`.
    pub category: &'static str,
    /// What it may carry.
    pub attributes: Vec<Member>,
    pub(crate) constraints: Vec<Constraint>,
}

/// One object type, as in `process` or `network_endpoint`.
#[derive(Debug)]
pub struct Object {
    /// The schema's key.
    pub key: &'static str,
    /// The observable type of the object as a whole, if it is one.
    pub observable: Option<u32>,
    /// What it may carry.
    pub attributes: Vec<Member>,
    pub(crate) constraints: Vec<Constraint>,
}

/// An attribute as it stands in one class or object.
#[derive(Debug)]
pub struct Member {
    /// What it is.
    pub attribute: &'static Attribute,
    /// Whether the owner demands it.
    pub required: bool,
    /// The profiles it comes with; empty when it belongs to the owner itself.
    pub profiles: Vec<&'static str>,
}

/// An attribute's name, type and permitted values.
#[derive(Debug)]
pub struct Attribute {
    /// As in `cmd_line`.
    pub name: &'static str,
    /// A scalar type, as in `ip_t`, or an object's key.
    pub kind: Kind,
    /// The schema's own name of the type, as in `ip_t` or `process`.
    pub type_name: &'static str,
    /// Whether it holds a list of that type.
    pub array: bool,
    /// Permitted values with their captions; empty when anything of the type goes.
    pub values: &'static [(&'static str, &'static str)],
    /// The attribute that carries the caption of this one's value.
    pub sibling: Option<&'static str>,
    /// Observable `type_id` of its values.
    pub observable: Option<u32>,
}

/// What an attribute's value must look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `boolean_t`
    Boolean,
    /// `integer_t`, `long_t`
    Integer,
    /// `port_t`: 0 to 65535
    Port,
    /// `timestamp_t`: milliseconds since 1970
    Timestamp,
    /// `float_t`
    Float,
    /// `ip_t`
    Ip,
    /// `mac_t`
    Mac,
    /// `datetime_t`: RFC 3339
    Datetime,
    /// `uuid_t`
    Uuid,
    /// `email_t`
    Email,
    /// any other text
    Text,
    /// `json_t`, or the free-form `object`: any value
    Json,
    /// an object of the schema
    Object,
}

#[derive(Debug)]
pub(crate) struct Constraint {
    /// `just_one`, else at least one.
    pub(crate) just_one: bool,
    pub(crate) names: Vec<&'static str>,
}

/// The whole schema.
#[derive(Debug)]
pub struct Schema {
    classes: Vec<Class>,
    class_index: HashMap<u32, usize>,
    objects: HashMap<&'static str, Object>,
}

static TABLES: &str = include_str!("../schema/ocsf-1.8.0.tsv");
static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::read(TABLES));

/// The embedded schema, read once.
pub fn schema() -> &'static Schema {
    &SCHEMA
}

/// All classes by ascending uid.
pub fn classes() -> &'static [Class] {
    &SCHEMA.classes
}

/// The class of that uid.
pub fn class(uid: u32) -> Option<&'static Class> {
    SCHEMA.class_index.get(&uid).map(|index| &SCHEMA.classes[*index])
}

impl Schema {
    /// The object type of that key.
    pub fn object(&self, key: &str) -> Option<&Object> {
        self.objects.get(key)
    }

    fn read(tables: &'static str) -> Self {
        let mut enums: Vec<&'static [(&str, &str)]> = Vec::new();
        let mut observables = HashMap::new();
        let mut bases = HashMap::new();
        let mut attributes: Vec<&'static Attribute> = Vec::new();
        let mut schema = Self { classes: Vec::new(), class_index: HashMap::new(), objects: HashMap::new() };
        for line in tables.lines() {
            let mut cells = line.split('\t');
            let tag = cells.next().unwrap_or_default();
            match tag {
                "T" => {
                    let mut cell = || cells.next().unwrap_or_default();
                    let (name, base, observable) = (cell(), cell(), cell().parse::<u32>().ok());
                    bases.insert(name, base);
                    observables.insert(name, observable);
                }
                "E" => enums.push(cells.filter_map(|pair| pair.split_once('=')).collect::<Vec<_>>().leak()),
                "A" => attributes.push(Box::leak(Box::new(attribute(cells.collect(), &enums, &bases, &observables)))),
                "O" => {
                    let cells: Vec<_> = cells.collect();
                    let [key, _, observable, constraints, members] = cells[..] else { continue };
                    let object = Object {
                        key,
                        observable: observable.parse().ok(),
                        attributes: members_of(members, &attributes),
                        constraints: constraints_of(constraints),
                    };
                    schema.objects.insert(key, object);
                }
                "C" => {
                    let cells: Vec<_> = cells.collect();
                    let [uid, key, caption, category_uid, category, constraints, members] = cells[..] else { continue };
                    schema.classes.push(Class {
                        uid: uid.parse().unwrap_or_default(),
                        key,
                        caption,
                        category_uid: category_uid.parse().unwrap_or_default(),
                        category,
                        attributes: members_of(members, &attributes),
                        constraints: constraints_of(constraints),
                    });
                }
                _ => {}
            }
        }
        schema.classes.sort_by_key(|class| class.uid);
        schema.class_index = schema.classes.iter().enumerate().map(|(index, class)| (class.uid, index)).collect();
        schema
    }
}

impl Class {
    /// The attribute at a dotted path, as in `process.parent_process.pid`.
    pub fn attribute(&self, path: &str) -> Option<&'static Attribute> {
        let mut owner = &self.attributes;
        let mut names = path.split('.').peekable();
        loop {
            let name = names.next()?;
            let member = owner.iter().find(|member| member.attribute.name == name)?;
            if names.peek().is_none() {
                return Some(member.attribute);
            }
            owner = &SCHEMA.objects.get(member.attribute.type_name)?.attributes;
        }
    }

    /// The caption of one of its activities.
    pub fn activity(&self, id: u32) -> Option<&'static str> {
        self.attributes.iter().find(|member| member.attribute.name == "activity_id")?.attribute.caption(i64::from(id))
    }
}

impl Attribute {
    /// The caption of a value of this enum attribute.
    pub fn caption(&self, value: i64) -> Option<&'static str> {
        let mut digits = [0u8; 20];
        let text = decimal(value, &mut digits)?;
        self.values.iter().find(|(key, _)| *key == text).map(|(_, caption)| *caption)
    }
}

/// `value` as decimal text without an allocation; `None` when negative.
fn decimal(value: i64, digits: &mut [u8; 20]) -> Option<&str> {
    let mut rest = u64::try_from(value).ok()?;
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return std::str::from_utf8(&digits[at..]).ok();
        }
    }
}

fn attribute(
    cells: Vec<&'static str>,
    enums: &[&'static [(&'static str, &'static str)]],
    bases: &HashMap<&str, &str>,
    observables: &HashMap<&str, Option<u32>>,
) -> Attribute {
    let cell = |index: usize| cells.get(index).copied().unwrap_or_default();
    let type_name = cell(1);
    let kind = match type_name {
        "boolean_t" => Kind::Boolean,
        "integer_t" | "long_t" => Kind::Integer,
        "port_t" => Kind::Port,
        "timestamp_t" => Kind::Timestamp,
        "float_t" => Kind::Float,
        "ip_t" => Kind::Ip,
        "mac_t" => Kind::Mac,
        "datetime_t" => Kind::Datetime,
        "uuid_t" => Kind::Uuid,
        "email_t" => Kind::Email,
        "json_t" | "object" => Kind::Json,
        other if bases.contains_key(other) || other.ends_with("_t") => Kind::Text,
        _ => Kind::Object,
    };
    Attribute {
        name: cell(0),
        kind,
        type_name,
        array: cell(2) == "[]",
        values: cell(3).parse::<usize>().ok().and_then(|index| enums.get(index).copied()).unwrap_or_default(),
        sibling: Some(cell(4)).filter(|name| !name.is_empty()),
        observable: cell(5).parse().ok().or_else(|| observables.get(type_name).copied().flatten()),
    }
}

fn members_of(list: &'static str, attributes: &[&'static Attribute]) -> Vec<Member> {
    let member = |entry: &'static str| {
        let mut parts = entry.split('@');
        let head = parts.next()?;
        let (index, required) = head.strip_suffix('!').map_or((head, false), |index| (index, true));
        let attribute = attributes.get(index.parse::<usize>().ok()?)?;
        Some(Member { attribute, required, profiles: parts.collect() })
    };
    list.split(',').filter_map(member).collect()
}

fn constraints_of(list: &'static str) -> Vec<Constraint> {
    let constraint = |rule: &'static str| {
        let (kind, names) = rule.split_once('=')?;
        Some(Constraint { just_one: kind == "just_one", names: names.split('|').collect() })
    };
    list.split(',').filter_map(constraint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_observable_has_its_attributes() {
        use std::collections::BTreeSet;
        let kinds =
            schema().objects["observable"].attributes.iter().find(|member| member.attribute.name == "type_id").expect("type_id");
        let kinds: BTreeSet<u32> = kinds.attribute.values.iter().filter_map(|(id, _)| id.parse().ok()).collect();
        let owners =
            schema().objects.values().map(|object| &object.attributes).chain(classes().iter().map(|class| &class.attributes));
        let found: BTreeSet<u32> =
            owners.flatten().filter_map(|member| crate::mapping::compile::observable(member.attribute)).collect();
        // Unknown and other; whole objects, whose parts are found one by one; the text of a script, which is no value to look for.
        let without: BTreeSet<u32> = [0, 99, 36].into_iter().chain(20..=30).collect();
        assert_eq!(found, kinds.difference(&without).copied().collect());
    }

    #[test]
    fn the_tables_hold_the_standard() {
        assert_eq!(classes().len(), 83);
        assert_eq!(schema().objects.len(), 178);
        let process = class(1007).expect("1007");
        assert_eq!((process.caption, process.category_uid, process.category), ("Process Activity", 1, "System Activity"));
        assert_eq!(process.activity(1), Some("Launch"));
        let pid = process.attribute("process.parent_process.pid").expect("path");
        assert_eq!((pid.kind, pid.observable), (Kind::Integer, Some(15)));
        assert_eq!(process.attribute("actor.user.name").and_then(|a| a.observable), Some(4));
        assert_eq!(process.attribute("process.cmdline").map(|a| a.name), None);
        let ip = class(4001).and_then(|class| class.attribute("src_endpoint.ip")).expect("ip");
        assert_eq!((ip.kind, ip.observable), (Kind::Ip, Some(2)));
    }
}
