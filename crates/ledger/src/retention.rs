//! What is due to go, and why: a plan from a policy, the receipts, and time as the log witnessed it. Rules: `docs/spec/retention.md`, *Time and age*.
use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use reeve_record::{Receipt, RecordId};
use serde::{Deserialize, Serialize};

use crate::{Error, Hold, Ledger, SegmentStatus, disposal::ranges_of, entry::Entry};

/// How long something is kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Period {
    /// Days until its content may be taken out of the record.
    pub retrievable_days: u32,
    /// Days it stays searchable; not more than it is retrievable.
    pub searchable_days: u32,
}

/// A policy pack: how long what is kept, and by whose rule.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionPolicy {
    /// Its name, as in `M-26-14`.
    pub name: String,
    /// The text it follows.
    pub authority: String,
    /// What holds for everything else.
    pub default: Period,
    /// By policy label of the source; prevails over class and default.
    #[serde(default)]
    pub labels: BTreeMap<String, Period>,
    /// By OCSF class of the events that were read out of a record; the longest counts.
    #[serde(default)]
    pub classes: BTreeMap<String, Period>,
}

impl RetentionPolicy {
    /// Whether it can be meant.
    ///
    /// # Errors
    /// Says which rule of it cannot.
    pub fn check(&self) -> Result<(), String> {
        let all = [("default", &self.default)].into_iter();
        let named = self.labels.iter().chain(&self.classes).map(|(name, period)| (name.as_str(), period));
        for (name, period) in all.chain(named) {
            if period.searchable_days > period.retrievable_days || period.retrievable_days == 0 {
                return Err(format!("`{name}`: what is searchable is retrievable, and kept for a day at least"));
            }
        }
        match self.classes.keys().find(|class| class.parse::<u32>().is_err()) {
            Some(class) => Err(format!("class `{class}` is no OCSF class number, as 3002 is")),
            None => Ok(()),
        }
    }

    /// The period of a record, and the rule that gives it.
    pub fn period(&self, label: &str, classes: &[u32]) -> (Period, String) {
        if let Some(period) = self.labels.get(label) {
            return (*period, format!("label {label}"));
        }
        let of_class = |class: &u32| match self.classes.get(&class.to_string()) {
            Some(period) => (*period, format!("class {class}")),
            None => (self.default, "default".to_owned()),
        };
        classes.iter().map(of_class).max_by_key(|(period, _)| *period).unwrap_or((self.default, "default".into()))
    }
}

/// What a reading knows of a record.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Times of its events; the latest counts.
    pub event: Option<Timestamp>,
    /// Their OCSF classes.
    pub classes: Vec<u32>,
}

/// Gives what a reading knows of the records of one segment, by index.
pub type FactsOf<'a> = &'a dyn Fn(u32) -> HashMap<u32, Facts>;

/// Time as the log witnessed it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Witnessed {
    /// The time by which event times are judged.
    pub now: Timestamp,
    /// What the machine's clock says.
    pub clock: Timestamp,
    /// Time that was not counted, since it passed in larger steps than the longest: a stopped server, or a clock that was wrong.
    pub uncounted_seconds: i64,
    /// Witnessed seconds since each segment was sealed.
    #[serde(skip)]
    ages: Vec<i64>,
}

/// What is to be done with a segment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Everything in it is due.
    Destroy,
    /// Only these records are, as (first index, count), and the rest stays for long.
    Redact(Vec<(u32, u32)>),
}

/// A segment of which something is due.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PlannedSegment {
    /// Its number.
    pub segment: u32,
    /// What is to be done.
    pub act: Act,
    /// Records that go.
    pub records: u64,
    /// Bytes of the segment file.
    pub file_bytes: u64,
    /// Rules by which they go, with how many records each.
    pub rules: BTreeMap<String, u64>,
}

/// What a retention run would do, and what keeps the rest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Plan {
    /// The policy's name.
    pub policy: String,
    /// The time it was made by.
    pub time: Witnessed,
    /// What goes.
    pub segments: Vec<PlannedSegment>,
    /// Records that are due, and stay because a hold covers them, by hold.
    pub held: BTreeMap<String, u64>,
    /// Records that are due, and wait for the rest of their segment, which is due within a month.
    pub waiting: u64,
    /// Records that are not due.
    pub kept: u64,
    /// Segments that could not be read, and why: nothing of them goes.
    pub unread: BTreeMap<u32, String>,
}

impl Ledger {
    /// Time as this log witnessed it, each step counted as at most `longest_step`.
    ///
    /// # Errors
    /// [`Error::Log`], [`Error::Io`] if the log cannot be read.
    pub fn witnessed(&self, longest_step: SignedDuration) -> Result<Witnessed, Error> {
        let mut watch = Watch::new(longest_step);
        let mut sealed = Vec::new();
        self.inner.each_entry(|entry| {
            let at = match entry {
                Entry::Batch(batch) => batch.sealed_at,
                Entry::Epoch(epoch) => epoch.begins,
                Entry::Fork(fork) => fork.at,
                Entry::Disposal(disposal) => disposal.at,
                Entry::Hold(hold) => hold.at,
            };
            watch.see(at);
            if matches!(entry, Entry::Batch(_)) {
                sealed.push(watch.counted);
            }
        })?;
        self.last_checkpoint().iter().for_each(|checkpoint| watch.see(checkpoint.at));
        let clock = self.inner.options.clock.now();
        watch.see(clock);
        let latest = watch.last.unwrap_or(clock);
        let now = clock.min(latest).checked_sub(SignedDuration::from_secs(watch.uncounted)).unwrap_or(Timestamp::MIN);
        let ages = sealed.into_iter().map(|at| watch.counted - at).collect();
        Ok(Witnessed { now, clock, uncounted_seconds: watch.uncounted, ages })
    }

    /// What `policy` would take out now. Reads the receipts of every segment that is old enough; changes nothing.
    ///
    /// # Errors
    /// As [`Ledger::witnessed`]. A segment that cannot be read is told in the plan.
    pub fn plan(&self, policy: &RetentionPolicy, longest_step: SignedDuration, facts: FactsOf<'_>) -> Result<Plan, Error> {
        let time = self.witnessed(longest_step)?;
        let (segments, held, unread) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let mut plan = Plan { policy: policy.name.clone(), time, segments, held, waiting: 0, kept: 0, unread };
        let holds: Vec<Hold> = self.holds().into_iter().filter(Hold::is_active).collect();
        let shortest =
            policy.labels.values().chain(policy.classes.values()).chain([&policy.default]).map(|p| p.retrievable_days).min();
        let shortest = i64::from(shortest.unwrap_or(u32::MAX)) * DAY;
        for segment in 0..plan.time.ages.len() as u32 {
            let Some(status) = self.segment(segment)?.filter(|status| !status.destroyed) else { continue };
            let age = plan.time.ages[segment as usize];
            if age < shortest {
                plan.kept += present(&status);
                continue;
            }
            let facts = facts(segment);
            let mut view = View { policy, holds: &holds, now: plan.time.now, age, facts: &facts, tally: Tally::default() };
            match self.receipts(segment, &mut |id, receipt, is_there| view.take(id, receipt, is_there)) {
                Ok(()) => {
                    let tally = view.tally;
                    plan.add(&status, tally);
                }
                Err(error) => _ = plan.unread.insert(segment, error.to_string()),
            }
        }
        Ok(plan)
    }
}

impl Plan {
    fn add(&mut self, status: &SegmentStatus, tally: Tally) {
        let Tally { due, rules, held, soon, late } = tally;
        self.kept += soon + late;
        let stays_held: u64 = held.values().sum();
        for (hold, count) in held {
            *self.held.entry(hold).or_default() += count;
        }
        if due.is_empty() {
            return;
        }
        let (segment, records, file_bytes) = (status.statement.segment, due.len() as u64, status.statement.file.length);
        if soon + late + stays_held == 0 {
            self.segments.push(PlannedSegment { segment, act: Act::Destroy, records, file_bytes, rules });
        } else if late + stays_held > 0 {
            self.segments.push(PlannedSegment { segment, act: Act::Redact(ranges_of(due)), records, file_bytes, rules });
        } else {
            // Written anew for a month's difference, a segment would be written anew every day.
            self.waiting += records;
        }
    }
}

/// Records of a segment whose content is there.
fn present(status: &SegmentStatus) -> u64 {
    let count = |ranges: &[(u32, u32)]| ranges.iter().map(|(_, count)| u64::from(*count)).sum::<u64>();
    u64::from(status.statement.records) - count(&status.statement.lost) - count(&status.redacted)
}

/// What was found in one segment.
#[derive(Default)]
struct Tally {
    due: Vec<u32>,
    rules: BTreeMap<String, u64>,
    held: BTreeMap<String, u64>,
    /// Not due, but within a month.
    soon: u64,
    late: u64,
}

/// How one segment's records are looked at.
struct View<'a> {
    policy: &'a RetentionPolicy,
    holds: &'a [Hold],
    now: Timestamp,
    /// Witnessed seconds since it was sealed.
    age: i64,
    facts: &'a HashMap<u32, Facts>,
    tally: Tally,
}

impl View<'_> {
    fn take(&mut self, id: RecordId, receipt: &Receipt, is_there: bool) {
        if !is_there {
            return;
        }
        let facts = self.facts.get(&id.index);
        let event = facts.and_then(|facts| facts.event);
        let (period, rule) = self.policy.period(&receipt.policy, facts.map_or(&[], |facts| &facts.classes));
        let left = (i64::from(period.retrievable_days) * DAY - self.age.min(self.since_event(receipt, event))).max(0);
        if left > MONTH {
            self.tally.late += 1;
        } else if left > 0 {
            self.tally.soon += 1;
        } else if let Some(hold) = self.holds.iter().find(|hold| hold.covers(id, receipt, event)) {
            *self.tally.held.entry(hold.name.clone()).or_default() += 1;
        } else {
            self.tally.due.push(id.index);
            *self.tally.rules.entry(format!("{rule}, {} days", period.retrievable_days)).or_default() += 1;
        }
    }

    /// Seconds since what the record tells of: the latest of what source and reading say, but not later than its receipt.
    fn since_event(&self, receipt: &Receipt, event: Option<Timestamp>) -> i64 {
        let claimed = receipt.claimed.map(|claimed| claimed.at);
        let told = [claimed, event].into_iter().flatten().max().unwrap_or(receipt.received_at);
        (self.now - told.min(receipt.received_at)).total(jiff::Unit::Second).map_or(0, |seconds| seconds as i64)
    }
}

/// Counts time in steps that are bounded.
struct Watch {
    longest: i64,
    last: Option<Timestamp>,
    counted: i64,
    uncounted: i64,
}

impl Watch {
    fn new(longest: SignedDuration) -> Self {
        Self { longest: longest.as_secs().max(0), last: None, counted: 0, uncounted: 0 }
    }

    fn see(&mut self, at: Timestamp) {
        let last = *self.last.get_or_insert(at);
        let step = at.duration_since(last).as_secs();
        if step > 0 {
            self.counted += step.min(self.longest);
            self.uncounted += (step - self.longest).max(0);
            self.last = Some(at);
        }
    }
}

const DAY: i64 = 86_400;
const MONTH: i64 = 31 * DAY;
