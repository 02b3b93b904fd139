//! Content that is taken out in a run, and what forbids it: redaction, destruction, holds.
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use jiff::Timestamp;
use reeve_ledger::{DisposalAuthority, Error, HoldScope, Ledger, NewHold, StoredRecord};
use reeve_record::RecordId;

use crate::{disk::SimDisk, model::number, random::Random};

/// What two people had taken out.
#[derive(Clone, Default)]
pub struct Gone {
    /// By record: its number, and whether it was said to be gone; where an act was reported failed it may be there or not.
    records: BTreeMap<RecordId, (u64, bool)>,
    /// Segments of which nothing but leaves may be left.
    destroyed: BTreeSet<u32>,
    /// Holds that were said to be there, by the segment they cover.
    holds: BTreeMap<u32, String>,
    /// Holds that may be there: an act was reported failed.
    unsure: bool,
    /// Holds there ever were.
    names: u32,
    pub acts: u64,
}

impl Gone {
    /// Whether the content of `id` was, or may have been, taken out.
    pub fn may_be(&self, id: RecordId) -> bool {
        self.records.contains_key(&id)
    }

    /// Whether it was said to be gone.
    pub fn surely(&self, id: RecordId) -> bool {
        self.records.get(&id).is_some_and(|(_, surely)| *surely)
    }

    /// Numbers among these that were or may have been taken out.
    pub fn count(&self, numbers: std::ops::Range<u64>) -> u64 {
        self.records.values().filter(|(number, _)| numbers.contains(number)).count() as u64
    }

    /// Somebody redacts, destroys, holds or releases.
    pub fn step(&mut self, random: &mut Random, ledger: &Ledger) -> Result<(), String> {
        let segments = ledger.status().segments;
        if segments == 0 {
            return Ok(());
        }
        let segment = random.below(u64::from(segments)) as u32;
        match random.below(10) {
            0 => self.hold(ledger, segment),
            1 => self.release(ledger),
            2..4 => return self.destroy(ledger, segment),
            _ => return self.redact(random, ledger, segment),
        }
        Ok(())
    }

    fn hold(&mut self, ledger: &Ledger, segment: u32) {
        if self.holds.contains_key(&segment) {
            return;
        }
        self.names += 1;
        let name = format!("hold-{}", self.names);
        let (first, last) = (RecordId { segment, index: 0 }, RecordId { segment, index: u32::MAX });
        let scope = HoldScope { records: vec![(first, last)], ..HoldScope::default() };
        let (by, owner, reason) = ("ana".into(), "counsel".into(), "litigation".into());
        let hold = NewHold { name: name.clone(), by, owner, reason, review: Timestamp::constant(1_800_000_000, 0), scope };
        match ledger.hold(&hold) {
            Ok(_) => _ = self.holds.insert(segment, name),
            Err(_) => self.unsure = true,
        }
    }

    fn release(&mut self, ledger: &Ledger) {
        // Gone from here also if that is reported failed: then it may be there or not.
        let Some((_, name)) = self.holds.pop_first() else { return };
        self.unsure |= ledger.release(&name, "ben", "settled").is_err();
    }

    fn redact(&mut self, random: &mut Random, ledger: &Ledger, segment: u32) -> Result<(), String> {
        let Some(stored) = in_segment(ledger, segment) else { return Ok(()) };
        let chosen: Vec<StoredRecord> = stored.into_iter().filter(|_| random.chance(1, 4)).collect();
        let ids: Vec<RecordId> = chosen.iter().map(|record| record.id).collect();
        let outcome = ledger.redact(&ids, &authority(), &|_| None);
        self.note(&chosen, segment, outcome.map(drop))
    }

    fn destroy(&mut self, ledger: &Ledger, segment: u32) -> Result<(), String> {
        let Some(stored) = in_segment(ledger, segment) else { return Ok(()) };
        let outcome = ledger.destroy(segment, &authority(), &|_| None);
        if outcome.is_ok() {
            self.destroyed.insert(segment);
        }
        self.note(&stored, segment, outcome.map(drop))
    }

    fn note(&mut self, chosen: &[StoredRecord], segment: u32, outcome: Result<(), Error>) -> Result<(), String> {
        let surely = match outcome {
            Ok(()) if self.holds.contains_key(&segment) && !chosen.is_empty() => {
                return Err(format!("content of segment {segment} was taken out, and {} covers it", self.holds[&segment]));
            }
            Ok(()) => true,
            Err(Error::Held { .. }) if self.unsure || self.holds.contains_key(&segment) => return Ok(()),
            Err(error @ Error::Held { .. }) => return Err(format!("nobody holds segment {segment}: {error}")),
            Err(_) => false,
        };
        self.acts += 1;
        for record in chosen {
            let number = number(&record.raw).unwrap_or_default();
            self.records.entry(record.id).or_insert((number, false)).1 |= surely;
        }
        Ok(())
    }

    /// What was said to be gone is, and stays so; what may be gone is there whole, or gone for good.
    pub fn check(&mut self, ledger: &Ledger) -> Result<(), String> {
        for (id, (number, surely)) in &mut self.records {
            match ledger.get(*id) {
                Ok(Some(_)) if *surely => return Err(format!("{id}, record {number}, was taken out and is there")),
                Ok(None) if ledger.disposed_by(*id).is_none() => {
                    return Err(format!("{id}, record {number}, is gone, and the ledger knows no act that took it out"));
                }
                Ok(None) => *surely = true,
                Ok(Some(_)) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// After an opening nothing that held content of what is gone lies in the folder.
    pub fn check_files(&self, disk: &SimDisk, segments: &Path) -> Result<(), String> {
        let files = disk.files(segments);
        let names: Vec<&str> = files.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        for segment in self.records.keys().map(|id| id.segment).collect::<BTreeSet<_>>() {
            let own = |name: &&&str| name.starts_with(&format!("{segment:08}.")) && name.ends_with(".parquet");
            let most = usize::from(!self.destroyed.contains(&segment));
            let found: Vec<_> = names.iter().filter(own).collect();
            if found.len() > most {
                return Err(format!("of segment {segment}, of which content was taken out, there are {found:?}"));
            }
        }
        Ok(())
    }
}

/// Every record of a sealed segment; `None` if it cannot be read now.
fn in_segment(ledger: &Ledger, segment: u32) -> Option<Vec<StoredRecord>> {
    let (records, _) = ledger.extent(segment)?;
    let ids: Vec<RecordId> = (0..records).map(|index| RecordId { segment, index }).collect();
    Some(ledger.get_many(&ids).ok()?.into_iter().flatten().collect())
}

fn authority() -> DisposalAuthority {
    DisposalAuthority::new("ana", "ben", "asked to be forgotten", "order 7", "none").unwrap()
}
