//! A rule, a correlation or a filter as read from one YAML document.

use std::{fmt, str::FromStr, sync::Arc};

use super::{
    condition::{self, Condition},
    correlation::{self, Correlation},
    item::{self, Expr, Fields},
};
use crate::yaml::{Fault, Kind, Node};

/// How serious a rule's author takes a match.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Level {
    /// Worth knowing, no alert by itself.
    #[default]
    Informational,
    /// Rarely an incident.
    Low,
    /// To be looked at.
    Medium,
    /// To be looked at soon.
    High,
    /// To be looked at now.
    Critical,
}

impl Level {
    /// The level's name in Sigma.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Informational => "informational",
            Level::Low => "low",
            Level::Medium => "medium",
            Level::High => "high",
            Level::Critical => "critical",
        }
    }

    /// OCSF `severity_id`: 1 informational to 5 critical.
    pub const fn severity_id(self) -> u32 {
        self as u32 + 1
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "informational" | "info" => Level::Informational,
            "low" => Level::Low,
            "medium" => Level::Medium,
            "high" => Level::High,
            "critical" => Level::Critical,
            _ => return Err(format!("`{text}` is no level: use informational, low, medium, high or critical")),
        })
    }
}

/// Which logs a rule is about. What it does not name may be anything.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct LogSource {
    /// As in `windows`.
    pub product: Option<String>,
    /// As in `process_creation`.
    pub category: Option<String>,
    /// As in `security`.
    pub service: Option<String>,
}

impl fmt::Display for LogSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<&str> = [&self.product, &self.category, &self.service].into_iter().flatten().map(String::as_str).collect();
        f.write_str(&if named.is_empty() { "any".to_owned() } else { named.join("/") })
    }
}

/// A Sigma rule or correlation with what its author says about it.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The rule's UUID; where the author gave none, its name or its file.
    pub id: String,
    /// The author's title.
    pub title: String,
    /// The name correlations call it by, if it has one.
    pub name: Option<String>,
    /// How serious a match is.
    pub level: Level,
    /// `stable`, `test`, `experimental`, `deprecated` or `unsupported`; empty if not given.
    pub status: String,
    /// Who wrote it, as written; credited on every match.
    pub author: String,
    /// The licence the file names; empty if none.
    pub license: String,
    /// The author's description.
    pub description: String,
    /// Where the idea is from.
    pub references: Vec<String>,
    /// As in `attack.t1059.001`.
    pub tags: Vec<String>,
    /// What it looks at.
    pub logsource: LogSource,
    /// What else may look like it.
    pub falsepositives: Vec<String>,
    /// When it was written, as written.
    pub date: String,
    /// When it was last changed, as written.
    pub modified: String,
    /// The fields its author wants shown.
    pub fields: Vec<String>,
    /// The file it came from, archive members as `archive!member`.
    pub path: String,
    /// The line its document starts on, from 1.
    pub line: u32,
    /// The text of the whole file it came from.
    pub yaml: Arc<str>,
    pub(crate) body: Body,
}

/// What a document is, apart from its description.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Detection(Detection),
    Correlation(Correlation),
    Filter { detection: Detection, rules: Vec<String>, any: bool },
}

#[derive(Clone, Debug)]
pub(crate) struct Detection {
    pub(crate) expr: Expr,
    /// Name, line and test of each search, kept to explain why a rule did not match.
    pub(crate) searches: Vec<(String, u32, Expr)>,
}

impl Rule {
    /// Whether it counts or orders the matches of other rules.
    pub fn is_correlation(&self) -> bool {
        matches!(self.body, Body::Correlation(_))
    }

    pub(crate) fn detection(&self) -> Option<&Detection> {
        if let Body::Detection(detection) = &self.body { Some(detection) } else { None }
    }
}

/// Reads one document of a rule file.
pub(crate) fn read(node: &Node, path: &str, yaml: &Arc<str>, fields: &mut Fields) -> Result<Rule, Fault> {
    if node.map().is_none() {
        return Err(Fault::at(node.line, "not a rule: a map with `title`, `logsource` and `detection` is expected"));
    }
    if node.get("action").is_some() {
        return Err(Fault::at(node.line, "`action` was removed from Sigma: write each rule out"));
    }
    let title = text(node, "title");
    if title.is_empty() {
        return Err(Fault::at(node.line, "has no `title`"));
    }
    let logsource = logsource(node.get("logsource"));
    let body = body(node, fields)?;
    if logsource == LogSource::default() && matches!(body, Body::Detection(_)) {
        return Err(Fault::at(node.line, "`logsource` names no product, category or service"));
    }
    let level = match node.get("level").and_then(Node::text) {
        None => Level::default(),
        Some(word) => word.parse().map_err(|reason: String| Fault::at(node.get("level").map_or(0, |node| node.line), reason))?,
    };
    let name = node.get("name").and_then(Node::text).map(str::to_owned);
    let id = Some(text(node, "id"))
        .filter(|id| !id.is_empty())
        .or_else(|| name.clone())
        .unwrap_or_else(|| format!("{path}:{}", node.line));
    Ok(Rule {
        id,
        title,
        name,
        level,
        status: text(node, "status"),
        author: text(node, "author"),
        license: text(node, "license"),
        description: text(node, "description"),
        references: texts(node, "references"),
        tags: texts(node, "tags"),
        logsource,
        falsepositives: texts(node, "falsepositives"),
        date: text(node, "date"),
        modified: text(node, "modified"),
        fields: texts(node, "fields"),
        path: path.to_owned(),
        line: node.line,
        yaml: Arc::clone(yaml),
        body,
    })
}

fn body(node: &Node, fields: &mut Fields) -> Result<Body, Fault> {
    if let Some(correlation) = node.get("correlation") {
        let correlation = correlation::read(correlation)?;
        for name in correlation
            .group_by
            .iter()
            .chain(&correlation.field)
            .chain(correlation.aliases.iter().flat_map(|(_, by_rule)| by_rule.iter().map(|(_, field)| field)))
        {
            fields.id(name);
        }
        return Ok(Body::Correlation(correlation));
    }
    if let Some(filter) = node.get("filter") {
        let rules: Vec<String> =
            filter.get("rules").map_or(&[][..], Node::items).iter().filter_map(Node::text).map(str::to_owned).collect();
        let any = rules.is_empty() || rules.iter().any(|rule| rule == "any");
        return Ok(Body::Filter { detection: detection(filter, &["rules"], fields)?, rules, any });
    }
    match node.get("detection") {
        Some(node) => Ok(Body::Detection(detection(node, &["timeframe"], fields)?)),
        None => Err(Fault::at(node.line, "has no `detection`")),
    }
}

fn detection(node: &Node, other_keys: &[&str], fields: &mut Fields) -> Result<Detection, Fault> {
    let entries = node.map().ok_or_else(|| Fault::at(node.line, "`detection` must be a map of searches"))?;
    let mut searches = Vec::new();
    for (name, value) in entries {
        if name != "condition" && !other_keys.contains(&name.as_str()) {
            searches.push((name.clone(), value.line, search(name, value, fields)?));
        }
    }
    let names: Vec<String> = searches.iter().map(|(name, _, _)| name.clone()).collect();
    let condition = node.get("condition").ok_or_else(|| Fault::at(node.line, "`detection` has no `condition`"))?;
    let mut alternatives = Vec::new();
    for item in condition.items() {
        let text = item.text().ok_or_else(|| Fault::at(item.line, "a condition must be text"))?;
        alternatives.push(condition::parse(text, &names).map_err(|reason| Fault::at(condition.line, reason))?);
    }
    if alternatives.is_empty() {
        return Err(Fault::at(condition.line, "`condition` is empty"));
    }
    let mut exprs: Vec<Expr> = alternatives.iter().map(|condition| expr(condition, &searches)).collect();
    let expr = if exprs.len() == 1 { exprs.swap_remove(0) } else { Expr::Any(exprs) };
    Ok(Detection { expr, searches })
}

fn search(name: &str, node: &Node, fields: &mut Fields) -> Result<Expr, Fault> {
    match &node.kind {
        Kind::Map(entries) if entries.is_empty() => Err(Fault::at(node.line, format!("search `{name}` is empty"))),
        Kind::Map(entries) => all(entries, fields),
        Kind::List(items) if items.is_empty() => Err(Fault::at(node.line, format!("search `{name}` is empty"))),
        Kind::List(items) => {
            let parts: Result<Vec<Expr>, Fault> = items
                .iter()
                .map(|item| match &item.kind {
                    Kind::Map(entries) => all(entries, fields),
                    _ => item::keyword(item),
                })
                .collect();
            Ok(any(parts?))
        }
        Kind::Scalar { .. } if node.is_null() => Err(Fault::at(node.line, format!("search `{name}` is empty"))),
        Kind::Scalar { .. } => item::keyword(node),
    }
}

fn all(entries: &[(String, Node)], fields: &mut Fields) -> Result<Expr, Fault> {
    let parts: Result<Vec<Expr>, Fault> = entries.iter().map(|(key, value)| item::compile(key, value, fields)).collect();
    let mut parts = parts?;
    Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Expr::All(parts) })
}

fn any(mut parts: Vec<Expr>) -> Expr {
    if parts.len() == 1 { parts.swap_remove(0) } else { Expr::Any(parts) }
}

fn expr(condition: &Condition, searches: &[(String, u32, Expr)]) -> Expr {
    let list = |parts: &[Condition]| parts.iter().map(|part| expr(part, searches)).collect();
    match condition {
        Condition::Search(index) => searches[*index].2.clone(),
        Condition::All(parts) => Expr::All(list(parts)),
        Condition::Any(parts) => Expr::Any(list(parts)),
        Condition::Some(count, parts) => Expr::Some(*count, list(parts)),
        Condition::Not(part) => Expr::Not(Box::new(expr(part, searches))),
    }
}

fn text(node: &Node, key: &str) -> String {
    node.get(key).and_then(Node::text).unwrap_or_default().trim().to_owned()
}

fn texts(node: &Node, key: &str) -> Vec<String> {
    node.get(key).map_or(&[][..], Node::items).iter().filter_map(Node::text).map(str::to_owned).collect()
}

fn logsource(node: Option<&Node>) -> LogSource {
    let part = |key| {
        let text = node?.get(key)?.text()?.trim().to_ascii_lowercase();
        (!text.is_empty()).then_some(text)
    };
    LogSource { product: part("product"), category: part("category"), service: part("service") }
}
