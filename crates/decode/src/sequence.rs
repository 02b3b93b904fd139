//! What the numbers that an exporter gives its datagrams say of those that did not come.
//!
//! NetFlow 5 and IPFIX number their records, NetFlow 9 and sFlow their datagrams; some exporters of 9 and 10 do it the other way round, which
//! shows in their first steps. UDP may bring datagrams late: a number out of a hole that was seen fills it, and is no new beginning.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use crate::Problem;

/// What a number counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    Datagrams,
    Records,
}

impl Unit {
    /// The field that says how many did not come.
    pub(crate) fn missing(self) -> &'static str {
        match self {
            Self::Datagrams => "missingDatagrams",
            Self::Records => "missingRecords",
        }
    }
}

impl Problem {
    /// That so many were to come before the datagram whose number is at `offset`.
    pub(crate) fn missing(code: &'static str, offset: u64, count: u32, unit: Unit) -> Self {
        let what = if unit == Unit::Datagrams { "datagrams" } else { "flow records" };
        Self { code, offset, detail: Cow::Owned(format!("by its number {count} {what} before it did not come")) }
    }

    /// That the datagram whose number is at `offset` was missing when later ones came.
    pub(crate) fn late(code: &'static str, offset: u64) -> Self {
        Self { code, offset, detail: Cow::Borrowed("by its number it is one of those that were missing before") }
    }
}

/// Whose count it is: the version of NetFlow or 0 for sFlow, the agent of sFlow, and the observation domain, engine or sub-agent.
pub(crate) type Key = (u16, Option<IpAddr>, u32);

/// What a datagram's head says of its place.
pub(crate) struct Numbers {
    pub(crate) key: Key,
    pub(crate) unit: Unit,
    pub(crate) sequence: u32,
    /// Milliseconds since the exporter started.
    pub(crate) uptime: Option<u32>,
}

/// What did not come.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Missing {
    /// Flow records, where the exporter numbers these.
    pub flows: u64,
    /// Datagrams, where it numbers these.
    pub datagrams: u64,
}

impl Missing {
    fn add(&mut self, unit: Unit, count: u64) {
        match unit {
            Unit::Datagrams => self.datagrams += count,
            Unit::Records => self.flows += count,
        }
    }
}

/// Where a datagram stands among the others of its count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// As was expected, or nothing can be said: it is the first, the exporter began anew, or what lay before could not be counted.
    InOrder,
    /// So many of the unit were to come before it.
    After(u32, Unit),
    /// Out of a hole that was seen before.
    Late,
}

/// The counts of one exporter.
#[derive(Default)]
pub(crate) struct Sequences {
    counts: HashMap<Key, Count>,
    /// Of holes that are forgotten.
    gone: Missing,
}

impl Sequences {
    /// Takes a datagram with so many records, `None` if that cannot be told yet.
    pub(crate) fn arrive(&mut self, numbers: &Numbers, records: Option<u32>) -> Place {
        let Numbers { key, unit, sequence, uptime } = *numbers;
        if self.counts.len() >= COUNTS_MAX && !self.counts.contains_key(&key) {
            self.forget();
        }
        match self.counts.get_mut(&key) {
            Some(count) => count.arrive(sequence, records, uptime),
            None => {
                self.counts.insert(key, Count::new(unit, sequence, uptime));
                Place::InOrder
            }
        }
    }

    /// How many records the datagram that arrived last under the key holds; `None` if that cannot be told.
    pub(crate) fn holds(&mut self, key: Key, records: Option<u32>) {
        if let Some(count) = self.counts.get_mut(&key) {
            count.holds(records);
        }
    }

    /// How many of which unit were to come before the next event of this count; told once.
    pub(crate) fn untold(&mut self, key: Key) -> Option<(u32, Unit)> {
        let count = self.counts.get_mut(&key).filter(|count| count.untold > 0)?;
        Some((std::mem::take(&mut count.untold), count.unit))
    }

    /// Gives back what [`Sequences::untold`] gave: there was no event to tell it.
    pub(crate) fn still_untold(&mut self, key: Key, missing: u32) {
        if let Some(count) = self.counts.get_mut(&key) {
            count.untold = count.untold.saturating_add(missing);
        }
    }

    /// Lets the next number of each count be a first one.
    pub(crate) fn forget(&mut self) {
        for (_, count) in self.counts.drain() {
            let holes = count.holes.iter().filter(|hole| !hole.told).map(|hole| (hole.unit, hole.left));
            holes.chain(count.dropped).for_each(|(unit, left)| self.gone.add(unit, left.into()));
        }
    }

    /// What was missing when this was last called and has not come since. Each is told once.
    pub(crate) fn missing(&mut self) -> Missing {
        let mut missing = std::mem::take(&mut self.gone);
        for hole in self.counts.values_mut().flat_map(|count| &mut count.holes).filter(|hole| !hole.told) {
            if hole.waited {
                missing.add(hole.unit, hole.left.into());
                hole.told = true;
            }
            hole.waited = true;
        }
        for (unit, left) in self.counts.values_mut().flat_map(|count| std::mem::take(&mut count.dropped)) {
            missing.add(unit, left.into());
        }
        missing
    }
}

/// One count as far as it was followed.
struct Count {
    unit: Unit,
    /// Whether a number says how many records there were behind the datagram, and not before it as RFC 7011 has it.
    ends: bool,
    /// Steps that no other unit explains, at most [`PROVEN`]: then it is the unit.
    proven: u8,
    newest: Numbered,
    uptime: Option<u32>,
    /// A number that fits nowhere. If the next one follows it the exporter began anew there.
    stray: Option<Numbered>,
    holes: VecDeque<Hole>,
    /// Untold holes that had to make room.
    dropped: Vec<(Unit, u32)>,
    /// Which datagram arrived last.
    latest: Latest,
    /// Lengths of holes that no event has told yet.
    untold: u32,
}

/// A datagram's number, and how many records it holds as far as that is known.
#[derive(Clone, Copy)]
struct Numbered {
    number: u32,
    records: Option<u32>,
}

/// Numbers that were passed over.
struct Hole {
    unit: Unit,
    start: u32,
    length: u32,
    /// What has not come out of it since.
    left: u32,
    waited: bool,
    told: bool,
}

#[derive(Clone, Copy)]
enum Latest {
    Newest,
    Stray,
    /// Out of the hole that starts there.
    Hole(u32),
}

impl Count {
    fn new(unit: Unit, number: u32, uptime: Option<u32>) -> Self {
        let newest = Numbered { number, records: None };
        let (holes, dropped) = (VecDeque::new(), Vec::new());
        Self { unit, ends: false, proven: 0, newest, uptime, stray: None, holes, dropped, latest: Latest::Newest, untold: 0 }
    }

    fn arrive(&mut self, number: u32, records: Option<u32>, uptime: Option<u32>) -> Place {
        let restarted = self.restarted(uptime);
        let way = (self.unit, self.ends);
        let expected = next(self.newest, way, records);
        if expected == Some(number) && self.otherwise(number, records).is_none() {
            self.proven = (self.proven + 1).min(PROVEN);
        }
        let place = match expected {
            Some(expected) if expected != number && !self.counts_otherwise(number, records) => {
                let ahead = number.wrapping_sub(expected).cast_signed();
                let begins_anew = self.stray.is_some_and(|stray| next(stray, way, records) == Some(number));
                if ahead < 0 && !restarted && !begins_anew {
                    return self.behind(number);
                }
                match u32::try_from(ahead) {
                    Ok(ahead @ 1..=HOLE_MAX) if !restarted => self.hole(expected, ahead),
                    _ => Place::InOrder,
                }
            }
            _ => Place::InOrder,
        };
        (self.newest, self.uptime) = (Numbered { number, records: None }, uptime);
        (self.stray, self.latest) = (None, Latest::Newest);
        place
    }

    /// Whether the exporter has been started again: a late datagram is some seconds older at most.
    fn restarted(&self, uptime: Option<u32>) -> bool {
        let back = self.uptime.zip(uptime).map(|(before, now)| before.wrapping_sub(now).cast_signed());
        back.is_some_and(|back| back > LATE_MILLIS_MAX)
    }

    /// Another way of counting by which `number` is the next.
    fn otherwise(&self, number: u32, records: Option<u32>) -> Option<(Unit, bool)> {
        let ways = [(Unit::Datagrams, false), (Unit::Records, false), (Unit::Records, true)];
        let fits = |way: &(Unit, bool)| *way != (self.unit, self.ends) && next(self.newest, *way, records) == Some(number);
        ways.into_iter().find(fits)
    }

    /// Whether the step to `number` shows that the exporter counts in another way.
    fn counts_otherwise(&mut self, number: u32, records: Option<u32>) -> bool {
        let other = self.otherwise(number, records).filter(|_| self.proven < PROVEN && number != self.newest.number);
        if let Some((unit, ends)) = other {
            (self.unit, self.ends, self.proven) = (unit, ends, 0);
        }
        other.is_some()
    }

    /// A number from before: out of a hole, or out of nowhere.
    fn behind(&mut self, number: u32) -> Place {
        let within = |hole: &&Hole| hole.left > 0 && number.wrapping_sub(hole.start) < hole.length;
        if let Some(hole) = self.holes.iter().find(within) {
            self.latest = Latest::Hole(hole.start);
            return Place::Late;
        }
        self.stray = Some(Numbered { number, records: None });
        self.latest = Latest::Stray;
        Place::InOrder
    }

    fn hole(&mut self, start: u32, length: u32) -> Place {
        if self.holes.len() >= HOLES_MAX
            && let Some(oldest) = self.holes.pop_front().filter(|hole| !hole.told)
        {
            match self.dropped.iter_mut().find(|(unit, _)| *unit == oldest.unit) {
                Some((_, left)) => *left = left.saturating_add(oldest.left),
                None => self.dropped.push((oldest.unit, oldest.left)),
            }
        }
        let start = if self.ends { self.newest.number.wrapping_add(1) } else { start };
        self.holes.push_back(Hole { unit: self.unit, start, length, left: length, waited: false, told: false });
        self.untold = self.untold.saturating_add(length);
        Place::After(length, self.unit)
    }

    fn holds(&mut self, records: Option<u32>) {
        match self.latest {
            Latest::Newest => self.newest.records = records,
            Latest::Stray => self.stray = self.stray.map(|stray| Numbered { records, ..stray }),
            Latest::Hole(start) => {
                if let Some(hole) = self.holes.iter_mut().find(|hole| hole.start == start) {
                    let came = if hole.unit == Unit::Datagrams { 1 } else { records.unwrap_or(0) };
                    hole.left = hole.left.saturating_sub(came);
                }
            }
        }
    }
}

/// The number that follows a datagram's in a way of counting, if the next one has so many records.
fn next(seen: Numbered, (unit, ends): (Unit, bool), records: Option<u32>) -> Option<u32> {
    let step = match unit {
        Unit::Datagrams => Some(1),
        Unit::Records if ends => records,
        Unit::Records => seen.records,
    };
    Some(seen.number.wrapping_add(step?))
}

/// Counts of one exporter that are followed.
const COUNTS_MAX: usize = 256;
const HOLES_MAX: usize = 16;
/// A longer hole is a new beginning.
const HOLE_MAX: u32 = 1 << 26;
const LATE_MILLIS_MAX: i32 = 10_000;
const PROVEN: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(sequences: &mut Sequences, (key, unit): (Key, Unit), sequence: u32, uptime: Option<u32>) -> Place {
        sequences.arrive(&Numbers { key, unit, sequence, uptime }, None)
    }

    /// What is said of datagrams with these numbers and so many records each.
    fn places(unit: Unit, datagrams: &[(u32, u32)]) -> (Vec<Place>, Missing) {
        let mut sequences = Sequences::default();
        let key = (9, None, 0);
        let place = |(number, records): &(u32, u32)| {
            let place = sequences.arrive(&Numbers { key, unit, sequence: *number, uptime: None }, Some(*records));
            sequences.holds(key, Some(*records));
            place
        };
        let places = datagrams.iter().map(place).collect();
        assert_eq!(sequences.missing(), Missing::default(), "it may still come");
        let missing = sequences.missing();
        assert_eq!(sequences.missing(), Missing::default(), "told once");
        (places, missing)
    }

    #[test]
    fn holes_are_counted_in_the_unit_that_is_numbered() {
        let (seen, missing) = places(Unit::Records, &[(0, 30), (30, 30), (90, 10), (100, 1)]);
        assert_eq!(seen[2], Place::After(30, Unit::Records));
        assert_eq!(
            (missing, seen.iter().filter(|place| **place == Place::InOrder).count()),
            (Missing { flows: 30, datagrams: 0 }, 3)
        );
        let (seen, missing) = places(Unit::Datagrams, &[(u32::MAX, 5), (0, 5), (3, 5), (4, 2)]);
        assert_eq!(seen[2], Place::After(2, Unit::Datagrams), "past the end of the numbers");
        assert_eq!(missing, Missing { flows: 0, datagrams: 2 });
    }

    #[test]
    fn what_comes_late_is_not_missing() {
        let (seen, missing) = places(Unit::Records, &[(0, 10), (10, 10), (50, 10), (30, 20), (60, 10), (20, 10), (70, 1)]);
        let expected =
            [Place::InOrder, Place::InOrder, Place::After(30, Unit::Records), Place::Late, Place::InOrder, Place::Late];
        assert_eq!((&seen[..6], seen[6], missing), (&expected[..], Place::InOrder, Missing::default()));
    }

    #[test]
    fn the_same_datagram_twice_changes_nothing() {
        let (seen, missing) = places(Unit::Records, &[(0, 10), (10, 10), (10, 10), (20, 10), (20, 10), (30, 10)]);
        assert_eq!((seen, missing), (vec![Place::InOrder; 6], Missing::default()));
    }

    #[test]
    fn an_exporter_that_began_anew_lost_nothing() {
        let (seen, missing) = places(Unit::Records, &[(5000, 10), (5010, 10), (0, 10), (10, 10), (20, 10)]);
        assert_eq!((seen, missing), (vec![Place::InOrder; 5], Missing::default()));
        let (seen, _) = places(Unit::Records, &[(3_000_000_000, 10), (0, 10), (10, 10)]);
        assert_eq!(seen, [Place::InOrder; 3], "no hole of a thousand million");
        let mut sequences = Sequences::default();
        let mut arrive = |number, uptime| arrive(&mut sequences, ((9, None, 0), Unit::Datagrams), number, Some(uptime));
        assert_eq!([arrive(7, 900_000), arrive(12, 3_000), arrive(13, 4_000)], [Place::InOrder; 3], "its clock says so");
        assert_eq!(arrive(15, 3_500), Place::After(1, Unit::Datagrams), "a clock may jitter");
    }

    #[test]
    fn the_unit_is_learned_from_the_first_steps() {
        let (seen, missing) = places(Unit::Datagrams, &[(0, 12), (12, 7), (19, 20), (39, 1), (50, 3)]);
        assert_eq!((&seen[..4], seen[4]), (&[Place::InOrder; 4][..], Place::After(10, Unit::Records)));
        assert_eq!(missing.flows, 10);
        let (seen, missing) = places(Unit::Records, &[(0, 12), (1, 7), (2, 20), (5, 1)]);
        assert_eq!((seen[3], missing.datagrams), (Place::After(2, Unit::Datagrams), 2));
        let proven = [(0, 3), (1, 3), (2, 3), (3, 3), (4, 3), (7, 3)];
        assert_eq!(
            places(Unit::Datagrams, &proven).0[5],
            Place::After(2, Unit::Datagrams),
            "as many as the records, and yet lost"
        );
    }

    #[test]
    fn a_number_may_stand_behind_its_records() {
        let (seen, missing) = places(Unit::Records, &[(24, 24), (56, 32), (88, 32), (95, 7), (130, 5), (133, 3), (125, 30)]);
        assert_eq!(seen[..4], [Place::InOrder; 4]);
        assert_eq!(seen[4..], [Place::After(30, Unit::Records), Place::InOrder, Place::Late]);
        assert_eq!(missing, Missing::default());
    }

    #[test]
    fn what_cannot_be_counted_is_not_claimed() {
        let mut sequences = Sequences::default();
        let key = (10, None, 0);
        for (number, records) in [(0, None), (70, Some(10)), (80, Some(10)), (95, None)] {
            let place = sequences.arrive(&Numbers { key, unit: Unit::Records, sequence: number, uptime: None }, records);
            sequences.holds(key, records);
            assert_eq!(place == Place::After(5, Unit::Records), number == 95, "{number}");
        }
    }

    #[test]
    fn however_many_holes_and_counts_all_are_told() {
        let mut sequences = Sequences::default();
        for nth in 0..100 {
            arrive(&mut sequences, ((0, None, 0), Unit::Datagrams), nth * 3, None);
        }
        for domain in 1..1000 {
            arrive(&mut sequences, ((0, None, domain), Unit::Datagrams), 5, None);
            arrive(&mut sequences, ((0, None, domain), Unit::Datagrams), 7, None);
        }
        let (at_once, later) = (sequences.missing(), sequences.missing());
        assert_eq!(at_once.datagrams + later.datagrams, 99 * 2 + 999);
        assert!(sequences.counts.len() <= COUNTS_MAX && at_once.datagrams > 0);
        arrive(&mut sequences, ((0, None, 7), Unit::Datagrams), 9, None);
        arrive(&mut sequences, ((0, None, 7), Unit::Datagrams), 19, None);
        sequences.forget();
        assert!(sequences.counts.is_empty() && sequences.missing().datagrams >= 9);
    }
}
