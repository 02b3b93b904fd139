//! Correlations: matches counted or ordered over time, per group, in event time, with bounded state.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use hashbrown::HashMap;
use jiff::Timestamp;
use reeve_decode::Parsed;

use super::slots::Slots;
use crate::{
    load::RuleSet,
    sigma::{
        correlation::{Correlation, CorrelationKind},
        item::FieldId,
        rule::Body,
    },
};

/// How many matches all correlations remember together; the oldest groups go first and are counted.
const REMEMBERED_MAX: usize = 500_000;
/// How many matches one group remembers.
const GROUP_MAX: usize = 50_000;

/// What a correlation needs to know of one match.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Which correlation, by its place among the correlations.
    correlation: u32,
    /// Which of its rules matched.
    member: u32,
    /// The values of its `group-by` fields.
    group: Vec<String>,
    /// The value it counts.
    value: Option<String>,
    /// When, in milliseconds since 1970.
    at_ms: i64,
    /// What the caller finds the match by again: at first the key of its first record.
    pub token: u64,
}

impl Hit {
    /// When the match happened: hits are to be fed in this order.
    pub fn at_ms(&self) -> i64 {
        self.at_ms
    }
}

/// A correlation that came true.
#[derive(Clone, Debug)]
pub struct Correlated {
    /// Its place in the rule set (see [`super::Engine::rule_at`]).
    pub rule: usize,
    /// The group and what was counted.
    pub fields: Vec<(String, String)>,
    /// The tokens of the matches it rests on, in order of time, at most 100.
    pub tokens: Vec<u64>,
    /// The first match it rests on, in milliseconds since 1970.
    pub from_ms: i64,
    /// The last.
    pub to_ms: i64,
}

/// One correlation, its references resolved.
struct Definition {
    rule: usize,
    wanted: Correlation,
    members: Vec<usize>,
    /// By member: the fields its group is made of.
    group_fields: Vec<Vec<FieldId>>,
    value_field: Option<FieldId>,
}

/// All correlations of a rule set.
pub(crate) struct Definitions {
    all: Vec<Definition>,
    /// Rule → (correlation, member).
    counting: HashMap<usize, Vec<(u32, u32)>>,
    fields: HashMap<usize, Vec<FieldId>>,
    silent: hashbrown::HashSet<usize>,
}

impl Definitions {
    pub(crate) fn new(rules: &RuleSet) -> Self {
        let mut it =
            Self { all: Vec::new(), counting: HashMap::new(), fields: HashMap::new(), silent: hashbrown::HashSet::new() };
        for (index, rule) in rules.rules.iter().enumerate() {
            if let Body::Correlation(wanted) = &rule.body {
                it.add(index, wanted, rules);
            }
        }
        it
    }

    fn add(&mut self, index: usize, wanted: &Correlation, rules: &RuleSet) {
        let members: Vec<usize> = wanted
            .rules
            .iter()
            .filter_map(|name| rules.rules.iter().position(|rule| rule.id == *name || rule.name.as_ref() == Some(name)))
            .collect();
        let field = |name: &str| rules.fields.find(name).unwrap_or_default();
        let stands_for = |name: &String, member: usize| {
            let rule = &rules.rules[member];
            let by_rule = wanted.aliases.iter().find(|(alias, _)| alias == name).map(|(_, by_rule)| by_rule);
            by_rule
                .and_then(|by_rule| by_rule.iter().find(|(of, _)| *of == rule.id || Some(of) == rule.name.as_ref()))
                .map_or_else(|| field(name), |(_, name)| field(name))
        };
        let group_fields: Vec<Vec<FieldId>> =
            members.iter().map(|member| wanted.group_by.iter().map(|name| stands_for(name, *member)).collect()).collect();
        let value_field = wanted.field.as_deref().map(field);
        let number = self.all.len() as u32;
        for (at, member) in members.iter().enumerate() {
            self.counting.entry(*member).or_default().push((number, at as u32));
            let fields = self.fields.entry(*member).or_default();
            fields.extend(&group_fields[at]);
            fields.extend(value_field);
            if !wanted.generate {
                self.silent.insert(*member);
            }
        }
        self.all.push(Definition { rule: index, wanted: wanted.clone(), members, group_fields, value_field });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn fields_of(&self, rule: usize) -> &[FieldId] {
        self.fields.get(&rule).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn counting(&self, rule: usize) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.counting.get(&rule).into_iter().flatten().map(|(number, _)| *number).collect();
        numbers.dedup();
        numbers
    }

    pub(crate) fn reports(&self, rule: usize) -> bool {
        !self.silent.contains(&rule)
    }

    /// What a match says to a correlation; `None` if the event lacks a field it is grouped by or no time is known.
    pub(crate) fn hit(&self, number: u32, rule: usize, parsed: &Parsed<'_>, slots: &Slots) -> Option<Hit> {
        let definition = self.all.get(number as usize)?;
        let member = definition.members.iter().position(|member| *member == rule)?;
        let first = |field: &FieldId| slots.get(*field).find(|seen| !seen.null).map(|seen| seen.folded.to_owned());
        let group: Option<Vec<String>> = definition.group_fields[member].iter().map(first).collect();
        let value = match &definition.value_field {
            Some(field) => Some(first(field)?),
            None => None,
        };
        let at_ms = parsed.time.map(|time| time.at.as_millisecond())?;
        let token = parsed.records.first().copied().unwrap_or_default();
        Some(Hit { correlation: number, member: member as u32, group: group?, value, at_ms, token })
    }

    fn of(&self, rule: usize) -> impl Iterator<Item = (u32, u32)> {
        self.counting.get(&rule).into_iter().flatten().copied()
    }
}

/// The state of all correlations.
pub struct Correlator {
    definitions: Arc<Definitions>,
    windows: HashMap<(u32, Vec<String>), Window>,
    remembered: usize,
    evicted: u64,
}

/// The matches of one group, in order of time.
#[derive(Default)]
struct Window {
    matches: VecDeque<Remembered>,
    /// The time of the last match that completed it: it does not come true again within the same span.
    reported_ms: Option<i64>,
}

struct Remembered {
    at_ms: i64,
    member: u32,
    value: Option<String>,
    token: u64,
}

impl Correlator {
    pub(crate) fn new(definitions: Arc<Definitions>) -> Self {
        Self { definitions, windows: HashMap::new(), remembered: 0, evicted: 0 }
    }

    /// How many remembered matches had to be given up for want of room.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Takes in one match and calls `found` for each correlation it completes, also those that correlate correlations.
    pub fn observe(&mut self, hit: &Hit, found: &mut dyn FnMut(Correlated)) {
        self.observe_nested(hit, 0, found);
    }

    fn observe_nested(&mut self, hit: &Hit, depth: usize, found: &mut dyn FnMut(Correlated)) {
        let definitions = Arc::clone(&self.definitions);
        let Some(definition) = definitions.all.get(hit.correlation as usize) else { return };
        let Some(correlated) = self.take_in(definition, hit) else { return };
        // A correlation of correlations is fed by what it correlates.
        if depth < 8 {
            for (number, member) in definitions.of(definition.rule) {
                let outer = Hit {
                    correlation: number,
                    member,
                    group: hit.group.clone(),
                    value: None,
                    at_ms: hit.at_ms,
                    token: hit.token,
                };
                self.observe_nested(&outer, depth + 1, found);
            }
        }
        if definitions.reports(definition.rule) {
            found(correlated);
        }
    }

    fn take_in(&mut self, definition: &Definition, hit: &Hit) -> Option<Correlated> {
        if self.remembered >= REMEMBERED_MAX {
            self.evict();
        }
        let key = (hit.correlation, hit.group.clone());
        let window = self.windows.entry(key).or_default();
        let before = window.matches.len();
        window.insert(hit, definition.wanted.timespan_ms);
        let correlated = window.complete(definition, hit);
        let after = window.matches.len();
        self.remembered = (self.remembered + after).saturating_sub(before);
        correlated
    }

    /// Gives up the half of the groups that were quiet longest.
    fn evict(&mut self) {
        let mut times: Vec<i64> = self.windows.values().map(Window::last_ms).collect();
        let middle = times.len() / 2;
        let (_, cut, _) = times.select_nth_unstable(middle);
        let cut = *cut;
        let evicted = &mut self.evicted;
        self.windows.retain(|_, window| {
            let keep = window.last_ms() > cut;
            if !keep {
                *evicted += window.matches.len() as u64;
            }
            keep
        });
        self.remembered = self.windows.values().map(|window| window.matches.len()).sum();
    }
}

impl Window {
    fn last_ms(&self) -> i64 {
        self.matches.back().map_or(i64::MIN, |last| last.at_ms)
    }

    /// Puts a match in its place by time and forgets what is out of reach of the newest.
    fn insert(&mut self, hit: &Hit, timespan_ms: i64) {
        let at = self.matches.partition_point(|known| known.at_ms <= hit.at_ms);
        self.matches.insert(at, Remembered { at_ms: hit.at_ms, member: hit.member, value: hit.value.clone(), token: hit.token });
        let oldest = self.last_ms().saturating_sub(timespan_ms);
        while self.matches.len() > GROUP_MAX || self.matches.front().is_some_and(|first| first.at_ms < oldest) {
            self.matches.pop_front();
        }
    }

    fn complete(&mut self, definition: &Definition, hit: &Hit) -> Option<Correlated> {
        let wanted = &definition.wanted;
        let (count, what) = match wanted.kind {
            CorrelationKind::EventCount => (self.matches.len() as f64, "events"),
            CorrelationKind::ValueCount => (self.distinct(|one| one.value.clone()) as f64, "distinct values"),
            CorrelationKind::ValueSum => (self.numbers().sum(), "sum"),
            CorrelationKind::ValueAvg => (self.numbers().sum::<f64>() / self.numbers().count().max(1) as f64, "average"),
            CorrelationKind::Temporal => (self.distinct(|one| Some(one.member.to_string())) as f64, "rules"),
            CorrelationKind::TemporalOrdered => (self.longest_order(definition.members.len()) as f64, "rules in order"),
        };
        let met = if wanted.bounds.is_empty() {
            count >= definition.members.len() as f64
        } else {
            wanted.bounds.iter().all(|(bound, number)| bound.holds(count, *number))
        };
        let repeated = self.reported_ms.is_some_and(|at| hit.at_ms >= at && hit.at_ms - at <= wanted.timespan_ms);
        if !met || repeated {
            return None;
        }
        self.reported_ms = Some(hit.at_ms);
        let mut fields: Vec<(String, String)> = wanted.group_by.iter().cloned().zip(hit.group.iter().cloned()).collect();
        fields.push((what.to_owned(), count.to_string()));
        let first = self.matches.front().map_or(hit.at_ms, |first| first.at_ms);
        let tokens = self.matches.iter().rev().take(100).map(|one| one.token).collect::<Vec<_>>().into_iter().rev().collect();
        Some(Correlated { rule: definition.rule, fields, tokens, from_ms: first, to_ms: self.last_ms() })
    }

    fn distinct(&self, of: impl Fn(&Remembered) -> Option<String>) -> usize {
        self.matches.iter().filter_map(of).collect::<hashbrown::HashSet<_>>().len()
    }

    fn numbers(&self) -> impl Iterator<Item = f64> {
        self.matches.iter().filter_map(|one| one.value.as_deref()?.trim().parse().ok())
    }

    /// How many of the rules, from the first, matched one after the other.
    fn longest_order(&self, members: usize) -> u32 {
        let mut next = 0;
        for one in &self.matches {
            if one.member == next {
                next += 1;
            }
            if next as usize == members {
                break;
            }
        }
        next
    }
}

impl std::fmt::Display for Correlated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = |ms| Timestamp::from_millisecond(ms).map(|time| time.to_string()).unwrap_or_default();
        let fields: BTreeMap<_, _> = self.fields.iter().map(|(name, value)| (name, value)).collect();
        write!(f, "{} to {}: {fields:?}", time(self.from_ms), time(self.to_ms))
    }
}
