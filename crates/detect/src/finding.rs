//! A match as an OCSF 1.8 Detection Finding (class 2004).

use jiff::Timestamp;
use reeve_decode::Parsed;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    attack,
    sigma::rule::{Level, Rule},
};

/// Where a match was found and what in it matched.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The input's path as given, or the name of the source.
    pub source: String,
    /// The record: its number in the input, or its id in the ledger.
    pub record: Value,
    /// Which event of the record, from 0.
    pub part: u32,
    /// The Windows channel, if it has one.
    pub channel: Option<String>,
    /// The Windows event id, if it has one.
    pub event_id: Option<u32>,
    /// The fields that matched, with their values.
    pub fields: Vec<(String, String)>,
    /// The host the event is about, if it says.
    pub host: Option<String>,
    /// The user the event is about, if it says.
    pub user: Option<String>,
    /// When it happened, if it says.
    pub at: Option<Timestamp>,
    /// SHA-256 of the event's own bytes, in hexadecimal.
    pub raw_sha256: Option<String>,
}

impl Evidence {
    /// What an event says of itself, with the place it was read from and the fields that matched.
    pub fn new(parsed: &Parsed<'_>, source: &str, record: Value, fields: Vec<(String, String)>) -> Self {
        let text = |names: &[&str]| {
            let value = names
                .iter()
                .filter_map(|name| parsed.field(name))
                .find_map(|value| value.text().filter(|text| !text.is_empty()))?;
            Some(value.into_owned())
        };
        let head = parsed.head.as_ref();
        let computer = head.map(|head| head.computer.to_string()).filter(|name| !name.is_empty());
        Self {
            source: source.to_owned(),
            record,
            part: parsed.part,
            channel: head.map(|head| head.channel.to_string()),
            event_id: head.map(|head| head.event_id),
            fields,
            host: computer.or_else(|| text(&["hostname", "node", "NODE", "_HOSTNAME", "host.name", "Hostname", "host"])),
            user: text(&[
                "User",
                "SubjectUserName",
                "TargetUserName",
                "SYSCALL.UID",
                "parsed.user",
                "user.name",
                "user",
                "userIdentity.userName",
            ]),
            at: parsed.time.map(|time| time.at),
            raw_sha256: Some(hex::encode(Sha256::digest(&parsed.raw))),
        }
    }
}

/// A rule's match on an event, or a correlation's on several.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Stable: the same rule on the same record gives the same.
    pub uid: String,
    /// The rule's id.
    pub rule_id: String,
    /// The rule's title.
    pub title: String,
    /// The rule's level.
    pub level: Level,
    /// When what was found happened; the time of finding where the evidence has none.
    pub at: Timestamp,
    /// What it rests on; never empty.
    pub evidence: Vec<Evidence>,
    rule: RuleFacts,
}

/// What a finding repeats of its rule.
#[derive(Clone, Debug)]
struct RuleFacts {
    description: String,
    author: String,
    license: String,
    status: String,
    modified: String,
    references: Vec<String>,
    falsepositives: Vec<String>,
    tags: Vec<String>,
    logsource: String,
    path: String,
    correlation: bool,
}

impl Finding {
    /// The finding of one match. `record` is the record's number in the source, or its id in the ledger.
    pub fn new(rule: &Rule, parsed: &Parsed<'_>, source: &str, record: Value, fields: Vec<(String, String)>) -> Self {
        Self::from_evidence(rule, vec![Evidence::new(parsed, source, record, fields)])
    }

    /// The finding of a rule on evidence gathered before; the first piece stands for the finding.
    pub fn from_evidence(rule: &Rule, evidence: Vec<Evidence>) -> Self {
        let mut hash = Sha256::new();
        hash.update(rule.id.as_bytes());
        for piece in &evidence {
            hash.update([0]);
            hash.update(piece.source.as_bytes());
            hash.update([0]);
            hash.update(piece.record.to_string().as_bytes());
            hash.update(piece.part.to_be_bytes());
        }
        let uid = hex::encode(&hash.finalize()[..16]);
        let at = evidence.iter().rev().find_map(|piece| piece.at).unwrap_or_else(Timestamp::now);
        Self {
            uid,
            rule_id: rule.id.clone(),
            title: rule.title.clone(),
            level: rule.level,
            at,
            evidence,
            rule: RuleFacts {
                description: rule.description.clone(),
                author: rule.author.clone(),
                license: rule.license.clone(),
                status: rule.status.clone(),
                modified: if rule.modified.is_empty() { rule.date.clone() } else { rule.modified.clone() },
                references: rule.references.clone(),
                falsepositives: rule.falsepositives.clone(),
                tags: rule.tags.clone(),
                logsource: rule.logsource.to_string(),
                path: rule.path.clone(),
                correlation: rule.is_correlation(),
            },
        }
    }

    /// The host the finding is about.
    pub fn host(&self) -> Option<&str> {
        self.evidence.iter().find_map(|piece| piece.host.as_deref())
    }

    /// The rule's author, to be credited wherever the finding is shown.
    pub fn author(&self) -> &str {
        &self.rule.author
    }

    /// The rule's tags.
    pub fn tags(&self) -> &[String] {
        &self.rule.tags
    }

    /// ATT&CK techniques and tactics as (technique id, technique name, tactic name); empty text where one is not given.
    pub fn attacks(&self) -> Vec<(&'static str, &'static str, &'static str)> {
        attack::of_tags(&self.rule.tags)
            .into_iter()
            .map(|(technique, tactic)| {
                (technique.map_or("", |it| it.uid), technique.map_or("", |it| it.name), tactic.map_or("", |it| it.name))
            })
            .collect()
    }

    /// The finding as an OCSF 1.8 event of class 2004, activity Create.
    pub fn to_ocsf(&self) -> Value {
        let at = self.at.as_millisecond();
        let mut event = json!({
            "activity_id": 1,
            "activity_name": "Create",
            "category_uid": 2,
            "category_name": "Findings",
            "class_uid": 2004,
            "class_name": "Detection Finding",
            "type_uid": 200401,
            "type_name": "Detection Finding: Create",
            "severity_id": self.level.severity_id(),
            "severity": severity_name(self.level),
            "status_id": 1,
            "status": "New",
            "time": at,
            "message": self.message(),
            "finding_info": self.info(at),
            "evidences": self.evidence.iter().map(evidence_json).collect::<Vec<_>>(),
            "metadata": {
                "version": "1.8.0",
                "product": { "name": "Reeve", "vendor_name": "Reeve", "version": env!("CARGO_PKG_VERSION") },
            },
            "unmapped": self.unmapped(),
        });
        let Value::Object(object) = &mut event else { return event };
        if let Some(host) = self.host() {
            object.insert("resources".into(), json!([{ "name": host, "type": "host" }]));
            object.insert("device".into(), json!({ "hostname": host, "type_id": 0 }));
            object["metadata"]["profiles"] = json!(["host"]);
        }
        event
    }

    fn message(&self) -> String {
        match self.host() {
            Some(host) => format!("{} on {host}", self.title),
            None => self.title.clone(),
        }
    }

    fn info(&self, at: i64) -> Value {
        let mut analytic = json!({ "uid": self.rule_id, "name": self.title, "type_id": 1, "type": "Rule" });
        if !self.rule.modified.is_empty() {
            analytic["version"] = json!(self.rule.modified);
        }
        let attacks: Vec<Value> =
            attack::of_tags(&self.rule.tags).into_iter().map(|(technique, tactic)| attack_json(technique, tactic)).collect();
        let times: Vec<i64> = self.evidence.iter().filter_map(|piece| Some(piece.at?.as_millisecond())).collect();
        let mut info = json!({
            "uid": self.uid,
            "title": self.title,
            "desc": self.rule.description,
            "created_time": at,
            "first_seen_time": times.iter().min().copied().unwrap_or(at),
            "last_seen_time": times.iter().max().copied().unwrap_or(at),
            "analytic": analytic,
        });
        if !attacks.is_empty() {
            info["attacks"] = json!(attacks);
        }
        info
    }

    fn unmapped(&self) -> Value {
        let mut rule = Map::new();
        let texts = [
            ("author", &self.rule.author),
            ("license", &self.rule.license),
            ("status", &self.rule.status),
            ("level", &self.level.name().to_owned()),
            ("logsource", &self.rule.logsource),
            ("path", &self.rule.path),
        ];
        for (name, text) in texts {
            if !text.is_empty() {
                rule.insert(name.to_owned(), json!(text));
            }
        }
        for (name, list) in
            [("references", &self.rule.references), ("falsepositives", &self.rule.falsepositives), ("tags", &self.rule.tags)]
        {
            if !list.is_empty() {
                rule.insert(name.to_owned(), json!(list));
            }
        }
        if self.rule.correlation {
            rule.insert("correlation".to_owned(), json!(true));
        }
        json!({ "rule": rule })
    }
}

fn severity_name(level: Level) -> &'static str {
    match level {
        Level::Informational => "Informational",
        Level::Low => "Low",
        Level::Medium => "Medium",
        Level::High => "High",
        Level::Critical => "Critical",
    }
}

fn evidence_json(piece: &Evidence) -> Value {
    let mut data = Map::new();
    data.insert("source".into(), json!(piece.source));
    data.insert("record".into(), piece.record.clone());
    if piece.part != 0 {
        data.insert("part".into(), json!(piece.part));
    }
    if let Some(channel) = &piece.channel {
        data.insert("channel".into(), json!(channel));
    }
    if let Some(event_id) = piece.event_id {
        data.insert("event_id".into(), json!(event_id));
    }
    if let Some(at) = piece.at {
        data.insert("time".into(), json!(at.to_string()));
    }
    if let Some(hash) = &piece.raw_sha256 {
        data.insert("raw_sha256".into(), json!(hash));
    }
    let mut fields = Map::new();
    for (name, value) in &piece.fields {
        // A field that matched with several values lists them.
        match fields.get_mut(name) {
            Some(Value::Array(list)) => list.push(json!(value)),
            Some(first) => *first = json!([first.clone(), value]),
            None => {
                fields.insert(name.clone(), json!(value));
            }
        }
    }
    data.insert("fields".into(), Value::Object(fields));
    json!({ "data": data })
}

fn attack_json(technique: Option<&attack::Technique>, tactic: Option<&attack::Tactic>) -> Value {
    let mut object = Map::new();
    if let Some(technique) = technique {
        object.insert("technique".into(), json!({ "uid": technique.uid, "name": technique.name }));
        if let Some(parent) = technique.uid.split_once('.').and_then(|(parent, _)| attack::technique(parent)) {
            object.insert("technique".into(), json!({ "uid": parent.uid, "name": parent.name }));
            object.insert("sub_technique".into(), json!({ "uid": technique.uid, "name": technique.name }));
        }
    }
    if let Some(tactic) = tactic {
        object.insert("tactic".into(), json!({ "uid": tactic.uid, "name": tactic.name }));
    }
    object.insert("version".into(), json!(attack::VERSION));
    Value::Object(object)
}
