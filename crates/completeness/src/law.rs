//! The law of numbers: which numbers of a source are there, and what a delivery is to them. Knows neither ledger nor clock.
use std::collections::BTreeMap;

use reeve_record::{Hash, RecordId};
use serde::{Deserialize, Serialize};

use crate::Head;

/// Stretches of numbers that an epoch is known by, at most.
pub(crate) const RUNS_MAX: usize = 4096;
/// Deliveries of an epoch that are known one by one.
const RECENT_MAX: usize = 64;
/// Epochs of a source that are known.
const EPOCHS_MAX: usize = 8;

/// What a delivery is to those before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// To be taken; it passes over the numbers of `gap` (first and count).
    New { gap: Option<(u64, u64)> },
    /// The very same was taken; its head lies there.
    Known(RecordId),
    /// Its numbers are there from deliveries that are not known one by one any more: they lie from this record on.
    Old(RecordId),
    /// It contradicts what was taken.
    Contradicts { why: &'static str, known: Option<RecordId> },
    /// Too many stretches are missing.
    TooManyGaps,
    /// Much later epochs have begun.
    EpochOver,
}

/// Epochs of one source, by number.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Epochs(BTreeMap<u64, Epoch>);

impl Epochs {
    /// What `head` is to what was taken. Changes nothing.
    pub(crate) fn judge(&self, head: &Head) -> Verdict {
        match self.0.get(&head.epoch) {
            Some(epoch) => epoch.judge(head),
            None if self.is_over(head.epoch) => Verdict::EpochOver,
            None => Epoch::default().judge(head),
        }
    }

    fn is_over(&self, epoch: u64) -> bool {
        self.0.len() >= EPOCHS_MAX && self.0.first_key_value().is_some_and(|(first, _)| epoch < *first)
    }

    /// Counts a delivery whose head lies at `id`. One that was counted before changes nothing.
    pub(crate) fn take(&mut self, head: &Head, id: RecordId) {
        self.0.entry(head.epoch).or_default().take(head, id);
        while self.0.len() > EPOCHS_MAX {
            self.0.pop_first();
        }
    }

    /// Forgets one delivery, so that it can be taken again: its records are lost.
    pub(crate) fn forget(&mut self, head: &Head) {
        if let Some(epoch) = self.0.get_mut(&head.epoch) {
            epoch.forget(head);
        }
    }
}

/// A stretch of numbers that are there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Run {
    /// One past its last number.
    end: u64,
    /// No head of it lies before this record.
    from: RecordId,
}

/// A delivery known one by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Taken {
    end: u64,
    hash: Hash,
    previous: Hash,
    head: RecordId,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Epoch {
    /// By first number; neither touching nor overlapping.
    runs: BTreeMap<u64, Run>,
    /// By first number.
    recent: BTreeMap<u64, Taken>,
    /// Highest number that a heartbeat said would come next.
    announced: u64,
}

impl Epoch {
    fn judge(&self, head: &Head) -> Verdict {
        let hash = head.hash();
        if head.count > 0 {
            if let Some(taken) = self.recent.get(&head.first).filter(|taken| taken.hash == hash) {
                return Verdict::Known(taken.head);
            }
            if let Some((known, from)) = self.overlap(head) {
                let why = "has numbers that are there from another delivery";
                return if known.is_some() { Verdict::Contradicts { why, known } } else { Verdict::Old(from) };
            }
        }
        if let Some(taken) = self.ending_at(head.first).filter(|taken| taken.hash != head.previous) {
            let why = "does not follow the delivery that ends where it begins";
            return Verdict::Contradicts { why, known: Some(taken.head) };
        }
        if let Some(next) = self.recent.get(&head.end()).filter(|next| head.count > 0 && next.previous != hash) {
            let why = "is not what the delivery follows that begins where it ends";
            return Verdict::Contradicts { why, known: Some(next.head) };
        }
        let frontier = self.frontier();
        if head.count > 0 && self.runs.len() >= RUNS_MAX && !self.joins(head) {
            return Verdict::TooManyGaps;
        }
        let gap = (head.first > frontier).then(|| (frontier, head.first - frontier));
        Verdict::New { gap }
    }

    /// One past the highest number that is there or was announced.
    fn frontier(&self) -> u64 {
        self.runs.last_key_value().map_or(0, |(_, run)| run.end).max(self.announced)
    }

    /// A delivery with some of its numbers, if it is known, and the record that those numbers lie after.
    fn overlap(&self, head: &Head) -> Option<(Option<RecordId>, RecordId)> {
        let (_, run) = self.runs.range(..head.end()).next_back().filter(|(_, run)| run.end > head.first)?;
        let known = self.recent.range(..head.end()).next_back().filter(|(_, taken)| taken.end > head.first);
        Some((known.map(|(_, taken)| taken.head), run.from))
    }

    fn ending_at(&self, number: u64) -> Option<&Taken> {
        self.recent.range(..number).next_back().map(|(_, taken)| taken).filter(|taken| taken.end == number)
    }

    fn joins(&self, head: &Head) -> bool {
        let before = self.runs.range(..=head.first).next_back();
        before.is_some_and(|(_, run)| run.end == head.first) || self.runs.contains_key(&head.end())
    }

    fn take(&mut self, head: &Head, id: RecordId) {
        self.announced = self.announced.max(head.first);
        if head.count == 0 || self.overlap(head).is_some() {
            return;
        }
        let mut run = (head.first, Run { end: head.end(), from: id });
        let before = self.runs.range(..head.first).next_back().map(|(first, run)| (*first, *run));
        if let Some((first, before)) = before.filter(|(_, before)| before.end == head.first) {
            run = (first, Run { end: run.1.end, from: before.from.min(id) });
        }
        if let Some(after) = self.runs.remove(&head.end()) {
            run.1 = Run { end: after.end, from: run.1.from.min(after.from) };
        }
        self.runs.insert(run.0, run.1);
        let taken = Taken { end: head.end(), hash: head.hash(), previous: head.previous, head: id };
        self.recent.insert(head.first, taken);
        if self.recent.len() > RECENT_MAX
            && let Some(oldest) = self.recent.iter().min_by_key(|(_, taken)| taken.head).map(|(first, _)| *first)
        {
            self.recent.remove(&oldest);
        }
    }

    fn forget(&mut self, head: &Head) {
        self.recent.remove(&head.first);
        let Some((first, run)) = self.runs.range(..=head.first).next_back().map(|(first, run)| (*first, *run)) else { return };
        if run.end < head.end() {
            return;
        }
        self.announced = self.frontier();
        self.runs.remove(&first);
        for (first, end) in [(first, head.first), (head.end(), run.end)] {
            if first < end {
                self.runs.insert(first, Run { end, ..run });
            }
        }
    }
}

/// Numbers that are there, as stretches; counts what is missing below a frontier. For looking back over a whole ledger.
#[derive(Clone, Default, Debug)]
pub(crate) struct Numbers(BTreeMap<u64, u64>);

impl Numbers {
    /// Adds the numbers from `first` up to `end`; how many of them were not there.
    pub(crate) fn add(&mut self, first: u64, end: u64) -> u64 {
        let fresh = end.saturating_sub(first) - self.within(first, end);
        let (mut first, mut end) = (first, end);
        while let Some((have, until)) =
            self.0.range(..=end).next_back().map(|(first, end)| (*first, *end)).filter(|run| run.1 >= first)
        {
            self.0.remove(&have);
            (first, end) = (first.min(have), end.max(until));
        }
        if first < end {
            self.0.insert(first, end);
        }
        fresh
    }

    /// Shows each stretch, as first number and one past the last.
    pub(crate) fn each(&self, mut show: impl FnMut(u64, u64)) {
        self.0.iter().for_each(|(first, end)| show(*first, *end));
    }

    /// How many numbers from `first` up to `end` are there.
    pub(crate) fn within(&self, first: u64, end: u64) -> u64 {
        let before = self.0.range(..first).next_back().filter(|(_, until)| **until > first);
        let runs = before.into_iter().chain(self.0.range(first..end.max(first)));
        runs.map(|(from, until)| (*until).min(end).saturating_sub((*from).max(first))).sum()
    }

    /// Stretches from `first` up to `end` that are not there, as first and count.
    pub(crate) fn missing(&self, first: u64, end: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut at = self.0.range(..=first).next_back().map_or(first, |(_, until)| first.max(*until));
        let mut runs =
            self.0.range(first..end.max(first)).map(|(from, until)| (*from, *until)).chain(std::iter::once((end, end)));
        std::iter::from_fn(move || {
            loop {
                let (from, until) = runs.next()?;
                let hole = (at, from.min(end).saturating_sub(at));
                at = at.max(until);
                if hole.1 > 0 {
                    return Some(hole);
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn head(first: u64, count: u64, previous: Hash) -> Head {
        let body = "x\n".repeat(count as usize);
        Head::over("s", 0, first, count, body.as_bytes(), previous, Timestamp::UNIX_EPOCH)
    }

    fn id(index: u32) -> RecordId {
        RecordId { segment: 0, index }
    }

    #[test]
    fn each_kind_of_delivery_has_its_verdict() {
        let (mut epochs, first) = (Epochs::default(), head(0, 10, [0; 32]));
        assert_eq!(epochs.judge(&first), Verdict::New { gap: None });
        epochs.take(&first, id(1));
        assert_eq!(epochs.judge(&first), Verdict::Known(id(1)));
        let third = head(15, 5, [3; 32]);
        assert_eq!(epochs.judge(&third), Verdict::New { gap: Some((10, 5)) });
        epochs.take(&third, id(20));
        let second = head(10, 5, first.hash());
        // The third says that another one comes before it.
        assert!(matches!(epochs.judge(&second), Verdict::Contradicts { known: Some(known), .. } if known == id(20)));
        assert!(matches!(epochs.judge(&head(10, 3, [9; 32])), Verdict::Contradicts { known: Some(known), .. } if known == id(1)));
        assert!(matches!(epochs.judge(&head(9, 2, [9; 32])), Verdict::Contradicts { .. }));
        assert_eq!(epochs.judge(&head(10, 3, first.hash())), Verdict::New { gap: None });
        assert_eq!(epochs.judge(&head(30, 0, [0; 32])), Verdict::New { gap: Some((20, 10)) }, "a heartbeat");
        epochs.take(&head(30, 0, [0; 32]), id(40));
        assert_eq!(epochs.judge(&head(30, 1, [0; 32])), Verdict::New { gap: None });
    }

    #[test]
    fn what_is_no_longer_known_one_by_one_is_looked_up() {
        let mut epochs = Epochs::default();
        let mut previous = [0; 32];
        let mut heads = Vec::new();
        for n in 0..200 {
            let head = head(n * 2, 2, previous);
            previous = head.hash();
            epochs.take(&head, id(n as u32 * 3));
            heads.push(head);
        }
        assert_eq!(epochs.judge(&heads[3]), Verdict::Old(id(0)));
        assert_eq!(epochs.judge(&heads[199]), Verdict::Known(id(597)));
        epochs.forget(&heads[3]);
        assert_eq!(epochs.judge(&heads[3]), Verdict::New { gap: None });
        epochs.take(&heads[3], id(700));
        assert_eq!(epochs.judge(&heads[3]), Verdict::Known(id(700)));
    }

    #[test]
    fn stretches_and_epochs_are_bounded() {
        let mut epochs = Epochs::default();
        for n in 0..RUNS_MAX as u64 {
            epochs.take(&head(n * 2, 1, [1; 32]), id(n as u32));
        }
        assert_eq!(epochs.judge(&head(1 << 20, 1, [1; 32])), Verdict::TooManyGaps);
        assert_eq!(epochs.judge(&head(1, 1, [1; 32])), Verdict::New { gap: None }, "what fills a gap is welcome");
        for epoch in 1..20 {
            epochs.take(&Head { epoch, ..head(0, 1, [0; 32]) }, id(epoch as u32));
        }
        assert_eq!(epochs.judge(&head(0, 1, [0; 32])), Verdict::EpochOver);
    }

    #[test]
    fn numbers_are_what_a_list_of_them_would_be() {
        let mut seed = 7u64;
        let mut random = |limit: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % limit
        };
        for _ in 0..200 {
            let (mut numbers, mut list) = (Numbers::default(), [false; 64]);
            for _ in 0..random(12) {
                let first = random(60);
                let end = (first + random(9)).min(64);
                let fresh = (first..end).filter(|n| !std::mem::replace(&mut list[*n as usize], true)).count();
                assert_eq!(numbers.add(first, end), fresh as u64);
            }
            let (first, end) = (random(40), 24 + random(41));
            let there = (first..end).filter(|n| list[*n as usize]).count() as u64;
            assert_eq!(numbers.within(first, end), there);
            let holes: Vec<u64> = numbers.missing(first, end).flat_map(|(first, count)| first..first + count).collect();
            assert_eq!(holes, (first..end).filter(|n| !list[*n as usize]).collect::<Vec<_>>());
        }
    }
}
