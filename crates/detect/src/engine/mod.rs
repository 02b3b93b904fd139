//! All rules against one event in one pass.
//!
//! An event is routed by what it is to the groups of rules about such events. In each group one automaton per field looks for the
//! rarest text of every rule at once; only rules whose text is there are verified. Adding rules hardly costs events that are not
//! about them.
pub(crate) mod correlate;
mod explain;
mod mac;
mod slots;
pub(crate) mod source;
mod verify;
mod view;
mod witness;

use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use hashbrown::HashMap;
use reeve_decode::Parsed;

pub use self::{
    correlate::{Correlated, Correlator, Hit},
    explain::{Explanation, SearchResult, TestResult},
};
use self::{
    slots::Slots,
    source::Source,
    view::{Key, View, Wanted},
};
use crate::{
    load::RuleSet,
    sigma::{
        item::{Check, Expr, FieldId, Fields, Test},
        pattern::Pattern,
        rule::{Body, LogSource, Rule},
    },
};

/// How many kinds of events are remembered; senders choose channel names, so the memory for them has an end.
const ROUTES_MAX: usize = 20_000;

/// All rules of a set, compiled together. Shared between threads; each thread has its own [`Scratch`].
pub struct Engine {
    rules: Arc<RuleSet>,
    /// By rule: its condition with filters joined in; `None` for correlations.
    exprs: Vec<Option<Expr>>,
    groups: Vec<Group>,
    sources: Vec<Sources>,
    /// By rule: the correlations that count it.
    counted_by: Vec<Vec<u32>>,
    /// By rule: whether it reports on its own.
    reports: Vec<bool>,
    correlations: Arc<correlate::Definitions>,
    literals: usize,
}

/// The groups of rules about one log source.
struct Sources {
    logsource: LogSource,
    any: Option<usize>,
    by_event: HashMap<u32, usize>,
}

/// Rules that look at the same events.
#[derive(Default)]
struct Group {
    rules: Vec<u32>,
    fields: Vec<FieldId>,
    scans: Vec<Scan>,
    /// Rules that can match without any text: verified each time.
    always: Vec<u32>,
}

/// One automaton over one field.
struct Scan {
    field: FieldId,
    automaton: AhoCorasick,
    /// By pattern: the rules it makes candidates.
    rules: Vec<Vec<u32>>,
}

/// A rule that matched an event.
#[derive(Clone, Debug)]
pub struct Match<'e> {
    /// The rule, or the correlation.
    pub rule: &'e Rule,
    /// The fields that made it match, by the names rules use, with their values.
    pub fields: Vec<(String, String)>,
    /// The keys of the records it rests on: the event's own, for a correlation those of the matches it counted (at most 100).
    pub records: Vec<u64>,
    /// Whether the rule is to be reported; `false` if it only feeds correlations (see [`Scratch::collecting`]).
    pub reports: bool,
    /// What correlations need to know of this match; empty unless some count this rule.
    pub hits: Vec<Hit>,
}

/// What an engine needs to look at an event, kept between events so that nothing is allocated anew.
#[derive(Default)]
pub struct Scratch {
    slots: Slots,
    routes: Routes,
    /// By rule: the number of the last look at which it was a candidate, and of the last event it fired on.
    candidate_at: Vec<u64>,
    fired_at: Vec<u64>,
    looks: u64,
    events: u64,
    candidates: Vec<u32>,
    correlator: Option<Correlator>,
    collecting: bool,
    seen: std::collections::BTreeMap<String, (u64, usize)>,
}

#[derive(Default)]
struct Routes {
    windows: HashMap<String, HashMap<u32, usize>>,
    others: HashMap<Source, usize>,
    all: Vec<Route>,
}

/// Where events of one kind go.
struct Route {
    source: Source,
    groups: Vec<usize>,
    wanted: Wanted,
    /// How many events went here.
    events: u64,
    /// How many rules look at events of this source.
    rules: usize,
}

impl Routes {
    fn count_into(&self, seen: &mut std::collections::BTreeMap<String, (u64, usize)>) {
        for route in self.all.iter().filter(|route| route.events > 0) {
            let entry = seen.entry(route.source.name()).or_default();
            *entry = (entry.0 + route.events, route.rules);
        }
    }
}

impl Scratch {
    /// Correlations run inside [`Engine::evaluate`] over the events this scratch sees.
    pub fn new() -> Self {
        Self::default()
    }

    /// Correlations do not run: every match carries the [`Hit`]s that a [`Correlator`] is to be fed later, in order of time, and
    /// rules that only feed correlations are emitted as well, with `reports` false.
    pub fn collecting() -> Self {
        Self { collecting: true, ..Self::default() }
    }

    /// Events seen by kind, as in `windows/process_creation/sysmon`, with how many rules look at such events.
    pub fn seen(&self) -> std::collections::BTreeMap<String, (u64, usize)> {
        let mut seen = self.seen.clone();
        self.routes.count_into(&mut seen);
        seen
    }

    /// The state of correlations that ran inside.
    pub fn correlator(&self) -> Option<&Correlator> {
        self.correlator.as_ref()
    }
}

impl Engine {
    /// Compiles a rule set.
    pub fn new(rules: &RuleSet) -> Self {
        Self::from_shared(Arc::new(rules.clone()))
    }

    /// Compiles a rule set that others share.
    pub fn from_shared(rules: Arc<RuleSet>) -> Self {
        let correlations = Arc::new(correlate::Definitions::new(&rules));
        let mut builder = Builder { groups: Vec::new(), sources: Vec::new(), witnesses: Vec::new() };
        let mut exprs = Vec::with_capacity(rules.rules.len());
        for (index, rule) in rules.rules.iter().enumerate() {
            let expr = rule.detection().map(|detection| narrowed(rule, filtered(rule, &detection.expr, &rules), &rules.fields));
            if let Some(expr) = &expr {
                builder.add(index as u32, rule, expr, correlations.fields_of(index), &rules.fields);
            }
            exprs.push(expr);
        }
        let literals = builder.witnesses.iter().map(|texts| texts.len()).sum();
        let (groups, sources) = builder.finish();
        let counted_by = (0..rules.rules.len()).map(|index| correlations.counting(index)).collect();
        let reports = (0..rules.rules.len()).map(|index| correlations.reports(index)).collect();
        Self { rules, exprs, groups, sources, counted_by, reports, correlations, literals }
    }

    /// The rules it was made of.
    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// How many rules look at each log source, by its name, sorted.
    pub fn rules_by_logsource(&self) -> std::collections::BTreeMap<String, usize> {
        let mut counts = std::collections::BTreeMap::new();
        for rule in self.rules.rules.iter().filter(|rule| !rule.is_correlation()) {
            *counts.entry(rule.logsource.to_string()).or_default() += 1;
        }
        counts
    }

    /// A correlator for this engine's correlations, empty.
    pub fn correlator(&self) -> Correlator {
        Correlator::new(Arc::clone(&self.correlations))
    }

    /// Whether any correlation is loaded.
    pub fn correlates(&self) -> bool {
        !self.correlations.is_empty()
    }

    /// Groups, automata and texts looked for: for benchmarks.
    pub fn size(&self) -> (usize, usize, usize) {
        (self.groups.len(), self.groups.iter().map(|group| group.scans.len()).sum(), self.literals)
    }

    /// Looks at one event with all rules and calls `emit` for each match, rules in the order they were loaded, then correlations.
    pub fn evaluate(&self, parsed: &Parsed<'_>, scratch: &mut Scratch, emit: &mut dyn FnMut(Match<'_>)) {
        let count = self.rules.rules.len();
        if scratch.fired_at.len() != count {
            scratch.fired_at = vec![0; count];
            scratch.candidate_at = vec![0; count];
            scratch.routes = Routes::default();
            scratch.correlator = None;
        }
        scratch.events += 1;
        let mut first = true;
        view::views(parsed, |key, view| {
            self.look(parsed, key, &view, scratch, std::mem::take(&mut first), emit);
        });
    }

    fn look(
        &self,
        parsed: &Parsed<'_>,
        key: Key<'_>,
        view: &View<'_, '_>,
        scratch: &mut Scratch,
        first: bool,
        emit: &mut dyn FnMut(Match<'_>),
    ) {
        if scratch.routes.all.len() >= ROUTES_MAX {
            scratch.routes.count_into(&mut scratch.seen);
            scratch.routes = Routes::default();
        }
        let at = self.route(key, &mut scratch.routes);
        let Some(route) = scratch.routes.all.get_mut(at) else { return };
        if first {
            route.events += 1;
        }
        if route.groups.is_empty() {
            return;
        }
        scratch.slots.clear(self.rules.fields.len());
        view::fill(view, &route.wanted, &mut scratch.slots);
        scratch.looks += 1;
        scratch.candidates.clear();
        for group in &route.groups {
            self.groups[*group].candidates(&scratch.slots, &mut scratch.candidate_at, scratch.looks, &mut scratch.candidates);
        }
        scratch.candidates.sort_unstable();
        for index in 0..scratch.candidates.len() {
            let rule = scratch.candidates[index] as usize;
            let Some(expr) = &self.exprs[rule] else { continue };
            if scratch.fired_at[rule] != scratch.events && verify::holds(expr, &scratch.slots) {
                scratch.fired_at[rule] = scratch.events;
                self.fire(rule, expr, parsed, scratch, emit);
            }
        }
    }

    fn fire(&self, index: usize, expr: &Expr, parsed: &Parsed<'_>, scratch: &mut Scratch, emit: &mut dyn FnMut(Match<'_>)) {
        let hits: Vec<Hit> = self.counted_by[index]
            .iter()
            .filter_map(|correlation| self.correlations.hit(*correlation, index, parsed, &scratch.slots))
            .collect();
        let reports = self.reports[index];
        if reports || scratch.collecting {
            let fields = self.fields_of(expr, &scratch.slots);
            emit(Match { rule: &self.rules.rules[index], fields, records: parsed.records.clone(), reports, hits: hits.clone() });
        }
        if scratch.collecting || hits.is_empty() {
            return;
        }
        let correlator = scratch.correlator.get_or_insert_with(|| self.correlator());
        for hit in hits {
            correlator.observe(&hit, &mut |found| {
                let rule = &self.rules.rules[found.rule];
                emit(Match { rule, fields: found.fields, records: found.tokens, reports: true, hits: Vec::new() });
            });
        }
    }

    /// The rule or correlation at a place in the set, as [`Correlated::rule`] gives it.
    pub fn rule_at(&self, index: usize) -> Option<&Rule> {
        self.rules.rules.get(index)
    }

    fn fields_of(&self, expr: &Expr, slots: &Slots) -> Vec<(String, String)> {
        let mut found = Vec::new();
        verify::matched_fields(expr, slots, &mut found);
        found.into_iter().map(|(field, text)| (self.rules.fields.name(field).to_owned(), text)).collect()
    }

    fn looking_at(&self, source: &Source) -> usize {
        let rules = self.rules.rules.iter().filter(|rule| !rule.is_correlation());
        rules.filter(|rule| source.serves(&rule.logsource)).count()
    }

    fn route(&self, key: Key<'_>, routes: &mut Routes) -> usize {
        let known = match key {
            Key::Windows(channel, event_id) => routes.windows.get(channel).and_then(|by_id| by_id.get(&event_id)),
            Key::Other(source) => routes.others.get(&source),
        };
        if let Some(at) = known {
            return *at;
        }
        let at = routes.all.len();
        routes.all.push(self.new_route(key));
        match key {
            Key::Windows(channel, event_id) => {
                routes.windows.entry(channel.to_owned()).or_default().insert(event_id, at);
            }
            Key::Other(source) => {
                routes.others.insert(source, at);
            }
        }
        at
    }

    fn new_route(&self, key: Key<'_>) -> Route {
        let (source, event_id) = match key {
            Key::Windows(channel, event_id) => (source::windows(channel, event_id), Some(event_id)),
            Key::Other(source) => (source, None),
        };
        let mut route =
            Route { source, groups: Vec::new(), wanted: Wanted::default(), events: 0, rules: self.looking_at(&source) };
        for sources in self.sources.iter().filter(|sources| source.serves(&sources.logsource)) {
            route.groups.extend(sources.any);
            route.groups.extend(event_id.and_then(|id| sources.by_event.get(&id)));
        }
        let aliases = view::aliases(&source, event_id);
        for group in &route.groups {
            for field in &self.groups[*group].fields {
                route.wanted.add(*field, self.rules.fields.name(*field), aliases);
            }
        }
        route
    }
}

impl Group {
    /// Rules whose text is in the event, and those that need none, each once.
    fn candidates(&self, slots: &Slots, seen_at: &mut [u64], look: u64, found: &mut Vec<u32>) {
        let mut add = |rule: u32| {
            if let Some(seen) = seen_at.get_mut(rule as usize).filter(|seen| **seen != look) {
                *seen = look;
                found.push(rule);
            }
        };
        self.always.iter().copied().for_each(&mut add);
        for scan in &self.scans {
            for seen in slots.get(scan.field) {
                for hit in scan.automaton.find_overlapping_iter(seen.folded) {
                    scan.rules[hit.pattern().as_usize()].iter().copied().for_each(&mut add);
                }
            }
        }
    }
}

/// A rule's condition with the filters that name it.
fn filtered(rule: &Rule, expr: &Expr, rules: &RuleSet) -> Expr {
    let mut parts = vec![expr.clone()];
    for filter in &rules.filters {
        let Body::Filter { detection, rules, any } = &filter.body else { continue };
        let named = rules.iter().any(|name| *name == rule.id || Some(name) == rule.name.as_ref());
        let same = |wanted: &Option<String>, has: &Option<String>| wanted.is_none() || wanted == has;
        let source = same(&filter.logsource.product, &rule.logsource.product)
            && same(&filter.logsource.category, &rule.logsource.category)
            && same(&filter.logsource.service, &rule.logsource.service);
        if source && (named || *any) {
            parts.push(detection.expr.clone());
        }
    }
    if parts.len() == 1 { parts.swap_remove(0) } else { Expr::All(parts) }
}

/// Sysmon writes creation and deletion of keys under one event id; the categories mean one of them.
fn narrowed(rule: &Rule, expr: Expr, fields: &Fields) -> Expr {
    let wanted = match rule.logsource.category.as_deref() {
        Some("registry_add") => Pattern::Starts("create".into()),
        Some("registry_delete") => Pattern::Starts("delete".into()),
        _ => return expr,
    };
    match fields.find("EventType") {
        Some(field) => {
            let kind = Expr::Test(Test { field, check: Check::Text { patterns: vec![wanted], all: false, cased: false } });
            let unknown = Expr::Test(Test { field, check: Check::Null });
            Expr::All(vec![expr, Expr::Any(vec![kind, unknown])])
        }
        None => expr,
    }
}

struct Builder {
    groups: Vec<Group>,
    sources: Vec<Sources>,
    /// By group: what to look for and for whom.
    witnesses: Vec<Vec<(FieldId, String, u32)>>,
}

impl Builder {
    fn add(&mut self, index: u32, rule: &Rule, expr: &Expr, correlated: &[FieldId], fields: &Fields) {
        let mut used = correlated.to_vec();
        collect_fields(expr, &mut used);
        let witness = witness::of(expr);
        for group in self.groups_of(rule, expr, fields) {
            self.groups[group].rules.push(index);
            self.groups[group].fields.extend(&used);
            match &witness {
                Some(witness) => {
                    self.witnesses[group].extend(witness.texts.iter().map(|(field, text)| (*field, text.clone(), index)))
                }
                None => self.groups[group].always.push(index),
            }
        }
    }

    /// The groups of a rule: one per event id if it names them, else one for its log source.
    fn groups_of(&mut self, rule: &Rule, expr: &Expr, fields: &Fields) -> Vec<usize> {
        let at = self.sources.iter().position(|sources| sources.logsource == rule.logsource).unwrap_or_else(|| {
            self.sources.push(Sources { logsource: rule.logsource.clone(), any: None, by_event: HashMap::new() });
            self.sources.len() - 1
        });
        let sources = &mut self.sources[at];
        let windows = rule.logsource.product.as_deref() == Some("windows");
        let ids = fields.find("EventID").filter(|_| windows).and_then(|field| event_ids(expr, field));
        let mut new_group = || {
            self.groups.push(Group::default());
            self.witnesses.push(Vec::new());
            self.groups.len() - 1
        };
        match ids {
            Some(ids) => ids.into_iter().map(|id| *sources.by_event.entry(id).or_insert_with(&mut new_group)).collect(),
            None => vec![*sources.any.get_or_insert_with(new_group)],
        }
    }

    fn finish(mut self) -> (Vec<Group>, Vec<Sources>) {
        for (group, witnesses) in self.groups.iter_mut().zip(self.witnesses.drain(..)) {
            group.fields.sort_unstable();
            group.fields.dedup();
            let mut by_field: std::collections::BTreeMap<FieldId, std::collections::BTreeMap<String, Vec<u32>>> =
                Default::default();
            for (field, text, rule) in witnesses {
                by_field.entry(field).or_default().entry(text).or_default().push(rule);
            }
            for (field, texts) in by_field {
                match scan(field, &texts) {
                    Some(scan) => group.scans.push(scan),
                    // An automaton too large to build costs speed, never a match.
                    None => group.always.extend(texts.into_values().flatten()),
                }
            }
            group.always.sort_unstable();
            group.always.dedup();
        }
        (self.groups, self.sources)
    }
}

fn scan(field: FieldId, texts: &std::collections::BTreeMap<String, Vec<u32>>) -> Option<Scan> {
    let kind = if texts.len() <= 64 { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA };
    let automaton = AhoCorasick::builder().match_kind(MatchKind::Standard).kind(Some(kind)).build(texts.keys()).ok()?;
    Some(Scan { field, automaton, rules: texts.values().cloned().collect() })
}

fn collect_fields(expr: &Expr, fields: &mut Vec<FieldId>) {
    match expr {
        Expr::All(parts) | Expr::Any(parts) | Expr::Some(_, parts) => parts.iter().for_each(|part| collect_fields(part, fields)),
        Expr::Not(part) => collect_fields(part, fields),
        Expr::Test(test) => {
            fields.push(test.field);
            if let Check::SameAs { other, .. } = test.check {
                fields.push(other);
            }
        }
    }
}

/// The event ids without which a condition cannot hold.
fn event_ids(expr: &Expr, field: FieldId) -> Option<Vec<u32>> {
    match expr {
        Expr::All(parts) => parts.iter().filter_map(|part| event_ids(part, field)).min_by_key(Vec::len),
        Expr::Any(parts) | Expr::Some(_, parts) => {
            let all: Option<Vec<Vec<u32>>> = parts.iter().map(|part| event_ids(part, field)).collect();
            let mut ids: Vec<u32> = all?.into_iter().flatten().collect();
            ids.sort_unstable();
            ids.dedup();
            Some(ids)
        }
        Expr::Not(_) => None,
        Expr::Test(Test { field: tested, check: Check::Text { patterns, all: false, .. } }) if *tested == field => {
            patterns.iter().map(|pattern| if let Pattern::Equals(text) = pattern { text.parse().ok() } else { None }).collect()
        }
        Expr::Test(_) => None,
    }
}
