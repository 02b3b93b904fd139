//! What a correlation asks for; its state lives in the engine.

use crate::yaml::{Fault, Node};

/// A correlation as written.
#[derive(Clone, Debug)]
pub(crate) struct Correlation {
    pub(crate) kind: CorrelationKind,
    /// Ids or names of the rules (or correlations) it counts.
    pub(crate) rules: Vec<String>,
    pub(crate) group_by: Vec<String>,
    /// The length of the window in milliseconds.
    pub(crate) timespan_ms: i64,
    /// Bounds on the count; all must hold.
    pub(crate) bounds: Vec<(Bound, f64)>,
    /// The field whose values are counted or summed.
    pub(crate) field: Option<String>,
    /// `group-by` name → rule → the field that stands for it in that rule's events.
    pub(crate) aliases: Vec<(String, Vec<(String, String)>)>,
    /// Whether the rules it counts also report on their own.
    pub(crate) generate: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum CorrelationKind {
    EventCount,
    ValueCount,
    Temporal,
    TemporalOrdered,
    ValueSum,
    ValueAvg,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
}

impl Bound {
    pub(crate) fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Bound::Greater => left > right,
            Bound::GreaterOrEqual => left >= right,
            Bound::Less => left < right,
            Bound::LessOrEqual => left <= right,
            Bound::Equal => left == right,
            Bound::NotEqual => left != right,
        }
    }
}

/// Reads the `correlation` part of a document.
pub(crate) fn read(node: &Node) -> Result<Correlation, Fault> {
    let line = node.line;
    let fault = |reason: String| Fault::at(line, format!("correlation: {reason}"));
    let kind = match node.get("type").and_then(Node::text) {
        Some("event_count") => CorrelationKind::EventCount,
        Some("value_count") => CorrelationKind::ValueCount,
        Some("temporal") => CorrelationKind::Temporal,
        Some("temporal_ordered") => CorrelationKind::TemporalOrdered,
        Some("value_sum") => CorrelationKind::ValueSum,
        Some("value_avg") => CorrelationKind::ValueAvg,
        Some(other) => return Err(fault(format!("type `{other}` is not supported"))),
        None => return Err(fault("has no `type`".into())),
    };
    let rules = texts(node.get("rules"));
    if rules.is_empty() {
        return Err(fault("names no `rules`".into()));
    }
    let timespan = node.get("timespan").and_then(Node::text).ok_or_else(|| fault("has no `timespan`".into()))?;
    let timespan_ms =
        timespan_ms(timespan).ok_or_else(|| fault(format!("timespan `{timespan}`: write a number and one of s m h d w M y")))?;
    let (bounds, field) = condition(node.get("condition")).map_err(fault)?;
    let needs_bounds = !matches!(kind, CorrelationKind::Temporal | CorrelationKind::TemporalOrdered);
    if needs_bounds && bounds.is_empty() {
        return Err(fault("has no `condition`".into()));
    }
    let needs_field = matches!(kind, CorrelationKind::ValueCount | CorrelationKind::ValueSum | CorrelationKind::ValueAvg);
    if needs_field && field.is_none() {
        return Err(fault("its condition names no `field`".into()));
    }
    Ok(Correlation {
        kind,
        rules,
        group_by: texts(node.get("group-by")),
        timespan_ms,
        bounds,
        field,
        aliases: aliases(node.get("aliases")),
        generate: node.get("generate").and_then(Node::text).is_some_and(|text| text.eq_ignore_ascii_case("true")),
    })
}

fn texts(node: Option<&Node>) -> Vec<String> {
    node.map_or(&[][..], Node::items).iter().filter_map(Node::text).map(str::to_owned).collect()
}

fn timespan_ms(text: &str) -> Option<i64> {
    let unit = text.chars().next_back()?;
    let count: i64 = text[..text.len() - unit.len_utf8()].trim().parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        'M' => 2_629_746,
        'y' => 31_556_952,
        _ => return None,
    };
    count.checked_mul(seconds * 1000).filter(|span| *span > 0)
}

type Bounds = (Vec<(Bound, f64)>, Option<String>);

fn condition(node: Option<&Node>) -> Result<Bounds, String> {
    let Some(node) = node else { return Ok((Vec::new(), None)) };
    let entries = node.map().ok_or("conditions over rule names are not supported: use a count")?;
    let mut bounds = Vec::new();
    let mut field = None;
    for (key, value) in entries {
        let text = value.items().first().and_then(Node::text).unwrap_or_default();
        let bound = match key.as_str() {
            "gt" => Bound::Greater,
            "gte" => Bound::GreaterOrEqual,
            "lt" => Bound::Less,
            "lte" => Bound::LessOrEqual,
            "eq" => Bound::Equal,
            "neq" => Bound::NotEqual,
            "field" => {
                field = Some(text.to_owned());
                continue;
            }
            other => return Err(format!("unknown condition `{other}`")),
        };
        bounds.push((bound, text.parse().map_err(|_| format!("`{text}` is no number"))?));
    }
    Ok((bounds, field))
}

fn aliases(node: Option<&Node>) -> Vec<(String, Vec<(String, String)>)> {
    let pairs = |node: &Node| {
        let entries = node.map().unwrap_or_default();
        entries.iter().filter_map(|(rule, field)| Some((rule.clone(), field.text()?.to_owned()))).collect()
    };
    node.and_then(Node::map).unwrap_or_default().iter().map(|(name, node)| (name.clone(), pairs(node))).collect()
}
