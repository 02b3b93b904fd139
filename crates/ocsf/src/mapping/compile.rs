//! Mapping files, read once into rules that are quick to choose and to apply.

use std::{borrow::Cow, collections::HashMap};

use hashbrown::HashMap as FastMap;
use reeve_decode::Value;

use super::{
    condition::Condition,
    expr::{Expr, Name},
    steps::Step,
};
use crate::{
    Error,
    schema::{self, Attribute, Class, Kind},
};

pub(crate) type Tables = HashMap<String, &'static Table>;

/// What one value stands for, by its text in lower case.
#[derive(Debug)]
pub(crate) struct Table(FastMap<String, Value<'static>>);

impl Table {
    pub(crate) fn get<'a>(&self, text: &str) -> Option<Value<'a>> {
        let value = match self.0.get(text) {
            Some(value) => Some(value),
            None if text.bytes().any(|byte| byte.is_ascii_uppercase()) => self.0.get(&text.to_ascii_lowercase()),
            None => None,
        };
        value.or_else(|| self.0.get("*")).cloned()
    }
}

/// All mappings, indexed by decoder.
#[derive(Debug, Default)]
pub(crate) struct Mappings {
    by_decoder: FastMap<&'static str, Vec<usize>>,
    files: Vec<Mapping>,
}

/// One mapping file.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// Name and version, as in `windows.sysmon/1`.
    pub(crate) label: &'static str,
    channels: Vec<String>,
    providers: Vec<String>,
    index: Option<Expr>,
    rules: Vec<Rule>,
    /// Rules by event id or index value, each list in file order.
    keyed: FastMap<String, Vec<usize>>,
    ids: FastMap<u32, Vec<usize>>,
    /// Rules for any key.
    unkeyed: Vec<usize>,
    /// Native fields whose meaning the event's head already carries.
    pub(crate) consume: Vec<Name<'static>>,
}

/// How one kind of event is mapped.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) class_uid: u32,
    pub(crate) activity: Expr,
    pub(crate) severity: Expr,
    pub(crate) status: Option<Expr>,
    pub(crate) assigns: Vec<Assign>,
    /// For each of `assigns` the first one with the same path: an attribute that is set keeps its first value.
    pub(crate) slots: Vec<usize>,
    /// Groups of paths; of each at least one must be set, or the event is not of this class.
    pub(crate) core: &'static [&'static [&'static str]],
    conditions: Vec<Condition>,
    /// No key and no condition: the mapping's last word.
    fallback: bool,
}

/// One attribute to set.
#[derive(Debug)]
pub(crate) struct Assign {
    pub(crate) path: &'static str,
    pub(crate) attribute: &'static Attribute,
    pub(crate) from: From,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) observable: Option<u32>,
}

#[derive(Debug)]
pub(crate) enum From {
    Expr(Expr),
    /// A constant that only makes sense when something below that path was set.
    With(&'static str, Value<'static>),
    /// A list of one object, built attribute by attribute: full path (as in `evidences.src_endpoint.ip`), path in the object, source.
    Build(Vec<(&'static str, &'static str, &'static Attribute, Expr)>),
    /// A list out of several fields, each of which may give elements.
    Gather(Vec<Expr>),
    /// The caption of the enum value at that path.
    Caption(&'static str, &'static Attribute),
}

impl Mappings {
    /// Reads mapping files; those that cannot be used are left out and named.
    pub(crate) fn read(files: &[(&'static str, &'static str)]) -> (Self, Vec<Error>) {
        let (mut all, mut problems) = (Self::default(), Vec::new());
        for (name, text) in files {
            match compile(name, text) {
                Ok((decoders, mapping)) => {
                    for decoder in decoders {
                        all.by_decoder.entry(&*decoder.leak()).or_default().push(all.files.len());
                    }
                    all.files.push(mapping);
                }
                Err(error) => problems.push(error),
            }
        }
        (all, problems)
    }

    /// The mapping and the rule for an event: the first that fits, the mappings' fallbacks last.
    pub(crate) fn choose<'m>(&'m self, scope: &super::expr::Scope<'_, '_>) -> Option<(&'m Mapping, &'m Rule)> {
        let decoder = scope.parsed.decoder;
        let mut files = self.by_decoder.get(decoder);
        if files.is_none() {
            // `zeek.anything` without rules of its own falls to `zeek`.
            files = self.by_decoder.get(decoder.split_once('.').map_or(decoder, |(family, _)| family));
        }
        let files = || files.into_iter().flatten().map(|index| &self.files[*index]).filter(|mapping| mapping.hears(scope));
        let found = files().find_map(|mapping| mapping.choose(scope).map(|rule| (mapping, rule)));
        found.or_else(|| files().find_map(|mapping| mapping.rules.iter().find(|rule| rule.fallback).map(|rule| (mapping, rule))))
    }
}

impl Mapping {
    fn hears(&self, scope: &super::expr::Scope<'_, '_>) -> bool {
        if self.channels.is_empty() && self.providers.is_empty() {
            return true;
        }
        let Some(head) = &scope.parsed.head else { return false };
        let among = |list: &[String], text: &str| list.iter().any(|one| one.eq_ignore_ascii_case(text));
        among(&self.channels, &head.channel) || among(&self.providers, &head.provider)
    }

    fn choose(&self, scope: &super::expr::Scope<'_, '_>) -> Option<&Rule> {
        let fits = |index: &&usize| self.rules[**index].conditions.iter().all(|condition| condition.holds(scope));
        let mut keyed: &[usize] = &[];
        if let Some(head) = &scope.parsed.head {
            keyed = self.ids.get(&head.event_id).map_or(&[], Vec::as_slice);
        }
        if let Some(index) = &self.index
            && let Some(key) = index.text(scope)
        {
            keyed = match self.keyed.get(key.as_ref()) {
                Some(rules) => rules,
                None if key.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                    self.keyed.get(&key.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
                }
                None => &[],
            };
        }
        keyed.iter().find(fits).or_else(|| self.unkeyed.iter().find(fits)).map(|index| &self.rules[*index])
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    name: String,
    version: u32,
    decoders: Vec<String>,
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default)]
    providers: Vec<String>,
    index: Option<String>,
    #[serde(default, rename = "let")]
    lets: toml::Table,
    #[serde(default)]
    tables: HashMap<String, toml::Table>,
    /// Attributes of every event of the file.
    #[serde(default)]
    set: toml::Table,
    /// Named groups of attributes that events pull in with `use`.
    #[serde(default)]
    groups: HashMap<String, toml::Table>,
    #[serde(default)]
    consume: Vec<String>,
    event: Vec<EventText>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct EventText {
    /// Windows event ids.
    #[serde(default)]
    id: Vec<u32>,
    /// Values of the file's `index`.
    #[serde(default)]
    is: Vec<String>,
    #[serde(default)]
    when: Vec<String>,
    class: u32,
    activity: toml::Value,
    severity: Option<toml::Value>,
    status: Option<toml::Value>,
    #[serde(default, rename = "use")]
    groups: Vec<String>,
    #[serde(default)]
    set: toml::Table,
}

fn compile(file: &str, text: &str) -> Result<(Vec<String>, Mapping), Error> {
    let text: FileText =
        toml::from_str(text).map_err(|error| Error::Unreadable { file: file.into(), reason: error.to_string() })?;
    let tables = text.tables.iter().map(|(name, entries)| (name.clone(), table(entries))).collect();
    let compiler = Compiler { tables, lets: &text.lets };
    let bad = |event: usize| move |reason: String| Error::Rule { file: file.into(), event, reason };
    let mut mapping = Mapping {
        label: format!("{}/{}", text.name, text.version).leak(),
        channels: text.channels,
        providers: text.providers,
        index: text.index.as_deref().map(|index| compiler.expr_text(index)).transpose().map_err(bad(0))?,
        rules: Vec::new(),
        keyed: FastMap::new(),
        ids: FastMap::new(),
        unkeyed: Vec::new(),
        consume: text.consume.into_iter().map(|name| Name::new(name.leak())).collect(),
    };
    for (index, event) in text.event.iter().enumerate() {
        let rule = compiler.rule(event, &text.set, &text.groups).map_err(bad(index + 1))?;
        event.id.iter().for_each(|id| mapping.ids.entry(*id).or_default().push(index));
        event.is.iter().for_each(|key| mapping.keyed.entry(key.to_ascii_lowercase()).or_default().push(index));
        if event.id.is_empty() && event.is.is_empty() && !rule.fallback {
            mapping.unkeyed.push(index);
        }
        mapping.rules.push(rule);
    }
    Ok((text.decoders, mapping))
}

fn table(entries: &toml::Table) -> &'static Table {
    let value = |value: &toml::Value| match value {
        toml::Value::Integer(number) => Value::Int(*number),
        toml::Value::Boolean(value) => Value::Bool(*value),
        other => Value::from(other.as_str().map_or_else(|| other.to_string(), str::to_owned)),
    };
    Box::leak(Box::new(Table(entries.iter().map(|(key, entry)| (key.to_ascii_lowercase(), value(entry))).collect())))
}

struct Compiler<'t> {
    tables: Tables,
    lets: &'t toml::Table,
}

impl Compiler<'_> {
    fn expr_text(&self, text: &str) -> Result<Expr, String> {
        let lets = |name: &str| self.expr_text(self.lets.get(name)?.as_str()?).ok();
        Expr::parse(text, &lets, &self.tables)
    }

    fn expr(&self, value: &toml::Value) -> Result<Expr, String> {
        Ok(match value {
            toml::Value::Integer(number) => Expr::constant(Value::Int(*number)),
            toml::Value::Boolean(value) => Expr::constant(Value::Bool(*value)),
            toml::Value::String(text) => self.expr_text(text)?,
            other => return Err(format!("`{other}` is neither a number, true, false nor an expression")),
        })
    }

    fn rule(&self, event: &EventText, shared: &toml::Table, groups: &HashMap<String, toml::Table>) -> Result<Rule, String> {
        let class = schema::class(event.class).ok_or_else(|| format!("no class {}", event.class))?;
        let mut rule = Rule {
            class_uid: event.class,
            activity: self.expr(&event.activity)?,
            severity: event.severity.as_ref().map_or_else(|| Ok(Expr::constant(Value::Int(1))), |value| self.expr(value))?,
            status: event.status.as_ref().map(|value| self.expr(value)).transpose()?,
            assigns: Vec::new(),
            slots: Vec::new(),
            core: core(class),
            conditions: event.when.iter().map(|text| self.condition(text)).collect::<Result<_, _>>()?,
            fallback: event.id.is_empty() && event.is.is_empty() && event.when.is_empty(),
        };
        // The event's own entries first: an attribute that is set keeps its first value.
        let mut sets = vec![&event.set];
        for group in &event.groups {
            sets.push(groups.get(group).ok_or_else(|| format!("no group `{group}`"))?);
        }
        sets.push(shared);
        for (level, set) in sets.iter().enumerate() {
            for (path, value) in *set {
                // What a nearer level says of an attribute stands, also where it finds nothing: a default would be a false claim.
                if sets[..level].iter().any(|nearer| nearer.contains_key(path)) {
                    continue;
                }
                let Some(attribute) = class.attribute(path) else {
                    // What all events of a file share may not fit every class; an event's own entries must.
                    if level == 0 {
                        return Err(format!("class {} has no attribute `{path}`", class.uid));
                    }
                    continue;
                };
                self.assign(&mut rule, path, attribute, value)?;
            }
        }
        complete(&mut rule, class);
        let first = |assign: &Assign| rule.assigns.iter().position(|other| other.path == assign.path).unwrap_or_default();
        rule.slots = rule.assigns.iter().map(first).collect();
        Ok(rule)
    }

    fn parts(
        &self,
        class_uid: u32,
        path: &str,
        entries: Option<&toml::Value>,
    ) -> Result<Vec<(&'static str, &'static str, &'static Attribute, Expr)>, String> {
        let entries = entries.and_then(toml::Value::as_table).ok_or("`build` is a table of attributes")?;
        let class = schema::class(class_uid).ok_or("no such class")?;
        let part = |(name, value): (&String, &toml::Value)| {
            let full: &'static str = format!("{path}.{name}").leak();
            let attribute = class.attribute(full).ok_or_else(|| format!("class {class_uid} has no attribute `{full}`"))?;
            Ok((full, &full[path.len() + 1..], attribute, self.expr(value)?))
        };
        entries.iter().map(part).collect()
    }

    fn condition(&self, text: &str) -> Result<Condition, String> {
        Condition::parse(text, &|text| self.expr_text(text))
    }

    fn assign(&self, rule: &mut Rule, path: &str, attribute: &'static Attribute, value: &toml::Value) -> Result<(), String> {
        let entries: Vec<(&toml::Value, Vec<Condition>)> = match value {
            toml::Value::Array(list) => list.iter().map(|entry| (entry, Vec::new())).collect(),
            one => vec![(one, Vec::new())],
        };
        for (value, _) in entries {
            let (value, conditions) = match value {
                toml::Value::Table(entry) if entry.contains_key("build") => {
                    let from = From::Build(self.parts(rule.class_uid, path, entry.get("build"))?);
                    rule.assigns.push(Assign {
                        path: path.to_owned().leak(),
                        attribute,
                        from,
                        conditions: Vec::new(),
                        observable: None,
                    });
                    continue;
                }
                toml::Value::Table(entry) if entry.contains_key("gather") => {
                    let fields = entry.get("gather").and_then(toml::Value::as_array).filter(|_| attribute.array);
                    let fields = fields.ok_or_else(|| format!("`gather` is a list of fields for a list; `{path}` is none"))?;
                    rule.assigns.push(Assign {
                        path: path.to_owned().leak(),
                        attribute,
                        from: From::Gather(fields.iter().map(|field| self.expr(field)).collect::<Result<_, _>>()?),
                        conditions: Vec::new(),
                        observable: observable(attribute),
                    });
                    continue;
                }
                toml::Value::Table(entry) => {
                    let when = entry.get("when").and_then(toml::Value::as_str).ok_or("an entry with braces needs `when`")?;
                    (entry.get("value").ok_or("an entry with braces needs `value`")?, vec![self.condition(when)?])
                }
                plain => (plain, Vec::new()),
            };
            let from = From::Expr(self.expr(value)?);
            rule.assigns.push(Assign {
                path: path.to_owned().leak(),
                attribute,
                from,
                conditions,
                observable: observable(attribute),
            });
        }
        Ok(())
    }
}

/// A whole process or user is no value to search for; ports and process ids are, though they say little alone.
pub(crate) fn observable(attribute: &Attribute) -> Option<u32> {
    if attribute.kind == Kind::Object && attribute.type_name != "fingerprint" {
        None
    } else {
        attribute.observable.or((attribute.type_name == "fingerprint").then_some(8))
    }
}

/// The attributes without which an event is not one of this class: of each group at least one.
fn core(class: &Class) -> &'static [&'static [&'static str]] {
    match class.uid {
        1001 | 4010 => &[&["file.name"]],
        1002 => &[&["driver.file.name"]],
        1004 | 1007 => &[&["process.pid", "process.uid"]],
        1005 => &[&["module.file.name", "module.function_name"]],
        1006 => &[&["job.name"]],
        1008 => &[&["log_name", "log_provider"]],
        1009 => &[&["script.script_content.value"]],
        2004 => &[&["finding_info.uid"]],
        3001 | 3002 => &[&["user.name", "user.uid"]],
        3003 | 3005 => &[&["user.name", "user.uid"], &["privileges"]],
        3006 => &[&["group.name", "group.uid"]],
        4002 => &[&["http_request.http_method", "http_request.url.path", "http_response.code"]],
        4009 => &[&["email.from", "email.to"]],
        4003 => &[&["query.hostname"]],
        6002 => &[&["app.name"]],
        6003 => &[&["api.operation"]],
        6005 => &[&["database.name", "table.name"]],
        // A certificate seen on its way is of the network, though its log may not say between whom.
        4001 => &[&[
            "src_endpoint.ip",
            "dst_endpoint.ip",
            "src_endpoint.hostname",
            "dst_endpoint.hostname",
            "tls.certificate.serial_number",
        ]],
        4004..=4008 | 4013 | 4014 => &[&["src_endpoint.ip", "dst_endpoint.ip", "src_endpoint.hostname", "dst_endpoint.hostname"]],
        201_001 => &[&["reg_key.path"]],
        201_002 => &[&["reg_value.path"], &["reg_value.name"]],
        201_004 => &[
            &["win_service.name"],
            &["win_service.cmd_line", "win_service.service_start_type_id", "win_service.service_start_name"],
        ],
        _ => &[],
    }
}

/// Adds what the schema demands beside what the rule sets: names of files and processes, type ids, captions.
fn complete(rule: &mut Rule, class: &'static Class) {
    let mut extra: Vec<Assign> = Vec::new();
    let has = |rule: &Rule, extra: &[Assign], path: &str| rule.assigns.iter().chain(extra).any(|assign| assign.path == path);
    let add = |extra: &mut Vec<Assign>, path: String, from: From| {
        if let Some(attribute) = class.attribute(&path) {
            extra.push(Assign { path: path.leak(), attribute, from, conditions: Vec::new(), observable: observable(attribute) });
        }
    };
    for index in 0..rule.assigns.len() {
        let (path, attribute) = (rule.assigns[index].path, rule.assigns[index].attribute);
        let Some((owner, name)) = path.rsplit_once('.') else {
            if let Some(sibling) = attribute.sibling.filter(|sibling| !attribute.values.is_empty() && !has(rule, &extra, sibling))
            {
                add(&mut extra, sibling.to_owned(), From::Caption(path, attribute));
            }
            continue;
        };
        let kind = class.attribute(owner).map_or("", |attribute| attribute.type_name);
        let From::Expr(expr) = &rule.assigns[index].from else { continue };
        if name == "url_string" && kind == "url" {
            // Under the same conditions: what is no URL has no host.
            let hosts = From::Expr(expr.then(Step::UrlHost));
            add(&mut extra, format!("{owner}.hostname"), hosts);
            if let Some(assign) = extra.last_mut() {
                assign.conditions.clone_from(&rule.assigns[index].conditions);
            }
        }
        if name == "path" && kind == "file" {
            // A path that ends in its separator has no last part: then the path is the name.
            let mut base = expr.then(Step::Basename);
            base.terms.extend(expr.terms.iter().cloned());
            add(&mut extra, format!("{owner}.name"), From::Expr(base.clone()));
            if let Some((process, "file")) = owner.rsplit_once('.')
                && class.attribute(process).is_some_and(|attribute| attribute.type_name == "process")
            {
                add(&mut extra, format!("{process}.name"), From::Expr(base));
            }
        }
        for owner in [Some(owner), owner.rsplit_once('.').map(|(outer, _)| outer)].into_iter().flatten() {
            let type_id = format!("{owner}.type_id");
            let default = match class.attribute(owner).map_or("", |attribute| attribute.type_name) {
                "file" => 1,
                "device" | "script" => 0,
                _ => continue,
            };
            if !has(rule, &extra, &type_id) {
                let owner: &'static str = owner.to_owned().leak();
                add(&mut extra, type_id, From::With(owner, Value::Int(default)));
            }
        }
        if kind == "network_connection_info" && !has(rule, &extra, &format!("{owner}.direction_id")) {
            add(&mut extra, format!("{owner}.direction_id"), From::With(owner.to_owned().leak(), Value::Int(0)));
        }
        if name == "direction_id" && !has(rule, &extra, &format!("{owner}.direction")) {
            add(&mut extra, format!("{owner}.direction"), From::Caption(path, attribute));
        }
    }
    rule.assigns.append(&mut extra);
}

impl Assign {
    /// The constant of a [`From::With`] when its partner was set.
    pub(crate) fn companion<'a>(&self, set: &[(&'static str, Value<'a>)]) -> Option<Value<'a>> {
        match &self.from {
            From::With(partner, value) => set
                .iter()
                .any(|(path, _)| path.strip_prefix(partner).is_some_and(|rest| rest.starts_with('.')))
                .then(|| value.clone()),
            From::Caption(path, attribute) => {
                let value = set.iter().find(|(name, _)| name == path)?.1.as_i64()?;
                attribute.caption(value).map(|caption| Value::Str(Cow::Borrowed(caption)))
            }
            From::Expr(_) | From::Build(_) | From::Gather(_) => None,
        }
    }
}
