//! Why a rule matched an event, or why not.

use reeve_decode::Parsed;
use serde::Serialize;

use super::{
    Engine,
    slots::Slots,
    source, verify,
    view::{self, Key, Wanted},
};
use crate::sigma::{
    item::{Check, Expr, Test},
    pattern::{Pattern, Piece},
    rule::Rule,
};

/// What a rule made of an event.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// Whether the rule matches.
    pub matches: bool,
    /// What the rule looks at, as in `windows/process_creation`.
    pub wants: String,
    /// What the event is.
    pub event_is: Vec<String>,
    /// Whether the rule looks at such events at all.
    pub looks_at_it: bool,
    /// Each search of the rule; of several views of one event, those of the view nearest to a match.
    pub searches: Vec<SearchResult>,
}

/// One named search of a rule.
#[derive(Clone, Debug, Serialize)]
pub struct SearchResult {
    /// Its name.
    pub name: String,
    /// The line it starts on.
    pub line: u32,
    /// Whether it holds.
    pub holds: bool,
    /// Its tests.
    pub tests: Vec<TestResult>,
}

/// One test of one field.
#[derive(Clone, Debug, Serialize)]
pub struct TestResult {
    /// The field's name.
    pub field: String,
    /// What is asked of it.
    pub wanted: String,
    /// The values the event has.
    pub found: Vec<String>,
    /// Whether it holds.
    pub holds: bool,
}

impl Engine {
    /// Why `rule`, one of this engine's, matches an event or does not. Correlations have no searches of their own.
    pub fn explain(&self, rule: &Rule, parsed: &Parsed<'_>) -> Explanation {
        let mut explanation = Explanation {
            matches: false,
            wants: rule.logsource.to_string(),
            event_is: Vec::new(),
            looks_at_it: false,
            searches: Vec::new(),
        };
        let Some(index) = self.rules.rules.iter().position(|known| known.id == rule.id) else { return explanation };
        let Some(expr) = &self.exprs[index] else { return explanation };
        let mut used = Vec::new();
        super::collect_fields(expr, &mut used);
        let mut nearest = -1i64;
        view::views(parsed, |key, view| {
            let (source, event_id) = match key {
                Key::Windows(channel, event_id) => (source::windows(channel, event_id), Some(event_id)),
                Key::Other(source) => (source, None),
            };
            if !explanation.event_is.contains(&source.name()) {
                explanation.event_is.push(source.name());
            }
            if !source.serves(&rule.logsource) {
                return;
            }
            explanation.looks_at_it = true;
            let mut wanted = Wanted::default();
            used.iter().for_each(|field| wanted.add(*field, self.rules.fields.name(*field), view::aliases(&source, event_id)));
            let mut slots = Slots::default();
            slots.clear(self.rules.fields.len());
            view::fill(&view, &wanted, &mut slots);
            let holds = verify::holds(expr, &slots);
            let searches = self.searches(rule, &slots);
            let near = i64::from(holds) * 1000 + searches.iter().filter(|search| search.holds).count() as i64;
            if near > nearest {
                nearest = near;
                explanation.searches = searches;
            }
            explanation.matches |= holds;
        });
        explanation
    }

    fn searches(&self, rule: &Rule, slots: &Slots) -> Vec<SearchResult> {
        let Some(detection) = rule.detection() else { return Vec::new() };
        let result = |(name, line, expr): &(String, u32, Expr)| {
            let mut tests = Vec::new();
            self.tests(expr, slots, &mut tests);
            SearchResult { name: name.clone(), line: *line, holds: verify::holds(expr, slots), tests }
        };
        detection.searches.iter().map(result).collect()
    }

    fn tests(&self, expr: &Expr, slots: &Slots, results: &mut Vec<TestResult>) {
        match expr {
            Expr::All(parts) | Expr::Any(parts) | Expr::Some(_, parts) => {
                parts.iter().for_each(|part| self.tests(part, slots, results))
            }
            Expr::Not(part) => self.tests(part, slots, results),
            Expr::Test(test) => results.push(TestResult {
                field: self.rules.fields.name(test.field).to_owned(),
                wanted: self.wanted(test),
                found: slots.get(test.field).take(20).map(|seen| verify::shortened(seen.text)).collect(),
                holds: verify::test_holds(test, slots),
            }),
        }
    }

    fn wanted(&self, test: &Test) -> String {
        let list = |texts: Vec<String>, all: bool| texts.join(if all { " and " } else { " or " });
        match &test.check {
            Check::Text { patterns, all, .. } => list(patterns.iter().map(pattern_text).collect(), *all),
            Check::Regex { patterns, all } => {
                list(patterns.iter().map(|pattern| format!("matches {}", pattern.as_str())).collect(), *all)
            }
            Check::Network(networks) => format!("in {}", list(networks.iter().map(ToString::to_string).collect(), false)),
            Check::Exists(true) => "exists".to_owned(),
            Check::Exists(false) => "does not exist".to_owned(),
            Check::Null => "has no value".to_owned(),
            Check::Number(order, number) => format!("{order:?} {number}"),
            Check::SameAs { other, how, .. } => format!("{how:?} of field {}", self.rules.fields.name(*other)),
            Check::TimePart(part, order, number) => format!("{part:?} {order:?} {number}"),
        }
    }
}

fn pattern_text(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Something => "anything".to_owned(),
        Pattern::Equals(text) => format!("is `{text}`"),
        Pattern::Starts(text) => format!("starts with `{text}`"),
        Pattern::Ends(text) => format!("ends with `{text}`"),
        Pattern::Contains(text) => format!("contains `{text}`"),
        Pattern::Glob(pieces) => {
            let text: String = pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => text.as_str(),
                    Piece::One => "?",
                    Piece::Many => "*",
                })
                .collect();
            format!("fits `{text}`")
        }
    }
}
