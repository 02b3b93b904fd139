use std::{collections::BTreeMap, time::Duration};

use reeve_detect::{Engine, Level, RuleProblem};

use super::{FileCounts, Rendered};

/// How many lines of a kind are said before the rest is only counted.
const LINES_MAX: usize = 50;

/// What a scan saw.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) events: u64,
    pub(crate) by_level: BTreeMap<Level, u64>,
    pub(crate) by_rule: BTreeMap<String, u64>,
    pub(crate) problems: BTreeMap<&'static str, u64>,
    pub(crate) unreadable: u64,
    pub(crate) seen: BTreeMap<String, (u64, usize)>,
    /// Matches that correlations could not take in for want of room.
    pub(crate) hits_lost: u64,
}

#[allow(clippy::print_stderr, reason = "what a scan says besides its findings is said here")]
fn say(line: &str) {
    // A path or a field out of evidence must not steer the terminal.
    let clean: String = line.chars().map(|c| if c.is_control() && c != '\n' { '·' } else { c }).collect();
    eprintln!("{clean}");
}

impl Totals {
    /// Counts a finding.
    pub(crate) fn found(&mut self, level: Level, line: &Rendered) {
        *self.by_level.entry(level).or_default() += 1;
        match self.by_rule.get_mut(&line.rule) {
            Some(count) => *count += 1,
            None => {
                self.by_rule.insert(line.rule.clone(), 1);
            }
        }
    }

    /// Adds what one file held.
    pub(crate) fn add(&mut self, counts: FileCounts) {
        self.events += counts.events;
        for (code, count) in counts.problems {
            *self.problems.entry(code).or_default() += count;
        }
        for (name, (events, rules)) in counts.seen {
            let entry = self.seen.entry(name).or_default();
            *entry = (entry.0 + events, rules);
        }
        for (source, code, detail) in counts.damage.told() {
            self.unreadable += 1;
            say(&format!("damaged: `{source}`: {detail} [{code}]"));
        }
    }

    /// Names an input that could not be read, or not to its end.
    pub(crate) fn unreadable_input(&mut self, source: &str, code: &'static str, detail: &str) {
        self.unreadable += 1;
        *self.problems.entry(code).or_default() += 1;
        say(&format!("unreadable: `{source}`: {detail} [{code}]"));
    }

    /// The last lines: what was scanned and found, and why nothing was if nothing was.
    pub(crate) fn say(&self, engine: &Engine, rules: &[RuleProblem], files: usize, took: Duration, verbose: bool) {
        let found: u64 = self.by_level.values().sum();
        if verbose {
            for (code, count) in &self.problems {
                say(&format!("problem {code}: {count} times"));
            }
            for (name, (events, rules)) in &self.seen {
                say(&format!("seen {name}: {events} events, {rules} rules look at them"));
            }
        }
        if self.hits_lost > 0 {
            say(&format!("correlations: {} matches were not counted for want of room", self.hits_lost));
        }
        if found == 0 {
            self.why_nothing(engine);
        }
        let levels: Vec<String> = self.by_level.iter().rev().map(|(level, count)| format!("{count} {level}")).collect();
        let levels = if levels.is_empty() { String::new() } else { format!(" ({})", levels.join(", ")) };
        say(&format!(
            "{files} files, {} events, {} problems, {found} findings{levels} in {:.1} s; {} rules, {} not used",
            self.events,
            self.problems.values().sum::<u64>(),
            took.as_secs_f64(),
            engine.rules().len(),
            rules.len(),
        ));
    }

    /// Rules by log source against events by kind: the usual reasons for an empty result can be read off it.
    fn why_nothing(&self, engine: &Engine) {
        say("nothing matched. Events seen, and rules that look at such events:");
        if self.events == 0 {
            say("  no event was read: is this a log, and in a format listed by `reeve decode --help`?");
        }
        for (name, (events, rules)) in self.seen.iter().take(40) {
            say(&format!("  {events:>9} events  {rules:>5} rules  {name}"));
        }
        say("Rules by log source:");
        let mut sources: Vec<(String, usize)> = engine.rules_by_logsource().into_iter().collect();
        sources.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        for (name, rules) in sources.iter().take(20) {
            say(&format!("                    {rules:>5} rules  {name}"));
        }
        if sources.len() > 20 {
            say(&format!("                    and {} more log sources", sources.len() - 20));
        }
        if self.events > 0 && self.seen.values().all(|(_, rules)| *rules == 0) {
            say("No loaded rule looks at any of these events: give rules for them with --rules.");
        }
    }
}

/// Names rules that could not be used: those of files named one by one and faulty ones; those withdrawn, given twice or in want of
/// values by number, or by name if asked.
pub(crate) fn rule_problems(problems: &[RuleProblem], by_name: &[&RuleProblem], verbose: bool) {
    let withdrawn = |problem: &RuleProblem| problem.reason.starts_with("not used");
    let in_want = |problem: &RuleProblem| problem.reason.ends_with("has no values here");
    let told = |problem: &RuleProblem| verbose || by_name.contains(&problem) || !(withdrawn(problem) || in_want(problem));
    let shown: Vec<&RuleProblem> = problems.iter().filter(|problem| told(problem)).collect();
    let most = if verbose { usize::MAX } else { LINES_MAX };
    for problem in shown.iter().take(most) {
        say(&format!("rule not used: {problem}"));
    }
    if problems.len() > shown.len().min(most) {
        let count = |of: &dyn Fn(&RuleProblem) -> bool| problems.iter().filter(|problem| of(problem)).count();
        let (withdrawn, in_want) = (count(&withdrawn), count(&in_want));
        say(&format!(
            "{} rules not used ({withdrawn} withdrawn by their authors or given twice, {in_want} with placeholders that have no values, {} \
             faulty); --verbose lists them",
            problems.len(),
            problems.len() - withdrawn - in_want
        ));
    }
}
