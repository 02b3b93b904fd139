//! The main log: checkpoint, tiles, entry bundles, epochs and forks.
use std::{collections::HashMap, path::Path};

use reeve_record::{Hash, leaf_hash};

use super::{
    Fault, Hashes, Log, RecordRange, Report, Trusted,
    entries::{Entries, Slot},
    outside::{self, Beside},
    whole,
};
use crate::{
    Disk, EpochStatement,
    disk::read_all,
    disposal::Disposals,
    entry::Entry,
    main_log::{BUNDLE_LIMIT, Follower, WIDTH, open_checkpoint},
    note::{Checkpoint, VerifierKey},
    tree::{self, Peaks},
};

/// One stored tile or bundle.
struct Tile {
    name: String,
    /// `None`: entries.
    level: Option<u32>,
    index: u64,
    width: u64,
    content: Result<Vec<u8>, String>,
}

pub(super) fn verify(disk: &dyn Disk, dir: &Path, trusted: &Trusted<'_>, report: &mut Report) -> Log {
    // What lies beside the checkpoint first, then it, then tiles: a ledger in use only adds to what was read before.
    let beside = Beside::read(disk, dir, trusted, report);
    let checkpoint = checkpoint(disk, dir, trusted.key.as_ref());
    let tiles = tiles(disk, &dir.join("log"));
    let from_entries = entry_hashes(&tiles);
    let from_tiles = tile_hashes(&tiles);
    let stored = (0..).take_while(|n| from_entries.contains_key(n) || from_tiles.contains_key(n)).count() as u64;
    let size = checkpoint.as_ref().map_or(stored, |(checkpoint, _)| checkpoint.size);
    let leaves = match &checkpoint {
        Ok((checkpoint, _)) => trusted_leaves(checkpoint, &from_entries, &from_tiles),
        Err(_) => None,
    };
    let entries = Entries::new(slots(&tiles, leaves.as_deref(), size));
    if let Err(reason) = &checkpoint
        // Without a checkpoint and without batches the first publication was cut short: no record was ever under it.
        && !(reason.is_empty() && entries.statements.is_empty())
    {
        let hint =
            "records are compared with the stored log, but no valid signature covers it: restore the checkpoint from a copy";
        let what = if reason.is_empty() { "it is missing".into() } else { reason.clone() };
        let records = entries.all_records();
        report.faults.push(Fault { code: "LEDGER-020", what, place: "log/checkpoint".into(), records, hint: hint.into() });
    }
    match (&leaves, &checkpoint) {
        (Some(leaves), Ok(signed)) => {
            check_tiles(&tiles, leaves, &entries, report);
            let known = follow(leaves, &entries, trusted, &beside.sizes(), report);
            check_epoch(signed, &known, &entries, report);
            beside.check(signed, &known, &entries, trusted, report);
        }
        (None, Ok(_)) => report.faults.push(Fault {
            code: "LEDGER-021",
            what: "neither the stored entries nor the stored hashes give the root that was signed".into(),
            place: "log/tile".into(),
            records: entries.all_records(),
            hint: outside::COPY.into(),
        }),
        _ => {}
    }
    let disposals = check_statements(&entries, checkpoint.as_ref().ok().map(|(checkpoint, _)| checkpoint), report);
    Log { size, statements: entries.statements, disposals }
}

/// What the entries gave at the sizes asked for, and in the end.
#[derive(Default)]
pub(super) struct Known {
    /// By size: root, and the epoch that goes on then.
    pub(super) at: HashMap<u64, (Hash, Option<EpochStatement>)>,
    /// The last epoch, with its index.
    pub(super) last: Option<(usize, EpochStatement)>,
}

/// Goes through the entries in order: epochs and forks must keep their rules.
fn follow(leaves: &[Hash], entries: &Entries, trusted: &Trusted<'_>, sizes: &[u64], report: &mut Report) -> Known {
    let (mut follower, mut peaks, mut known) = (Follower::default(), Peaks::default(), Known::default());
    for (index, leaf) in leaves.iter().enumerate() {
        if sizes.binary_search(&(index as u64)).is_ok() {
            known.at.insert(index as u64, (peaks.root(), follower.chain.last().cloned()));
        }
        let entry = match entries.slots.get(index) {
            Some(Slot::Known(entry)) => Some(&**entry),
            _ => None,
        };
        if let Err(what) = follower.take(*leaf, entry) {
            report.faults.push(epoch_fault(what, index, entries));
        }
        peaks.push(*leaf);
        match entry {
            Some(Entry::Epoch(epoch)) => {
                if known.last.is_none() {
                    check_root(epoch, index, trusted, entries, report);
                }
                known.last = Some((index, epoch.clone()));
                report.epochs += 1;
            }
            Some(Entry::Fork(fork)) => {
                report.forks.push(fork.to_text());
                if !trusted.forks.contains(leaf) {
                    report.faults.push(fork_fault(fork, leaf, index, entries));
                }
            }
            _ => {}
        }
    }
    known.at.insert(leaves.len() as u64, (peaks.root(), follower.chain.last().cloned()));
    if known.last.is_none() && trusted.root_given {
        report.faults.push(epoch_fault("a root key was given, and the log has no key epochs".into(), 0, entries));
    }
    known
}

/// The first epoch must be that of the root key.
fn check_root(epoch: &EpochStatement, index: usize, trusted: &Trusted<'_>, entries: &Entries, report: &mut Report) {
    let same = |root: &VerifierKey| epoch.verifier().is_ok_and(|key| &key == root);
    if trusted.root.as_ref().is_some_and(|root| !same(root)) {
        report.faults.push(epoch_fault("epoch 0 does not have the root key".into(), index, entries));
    }
}

/// The checkpoint must be signed by the key of the last epoch, within its time.
fn check_epoch((checkpoint, note): &(Checkpoint, String), known: &Known, entries: &Entries, report: &mut Report) {
    let Some((index, epoch)) = &known.last else { return };
    if let Err(reason) = epoch.check_checkpoint(note, checkpoint) {
        let fault = epoch_fault(format!("the checkpoint {reason}"), *index, entries);
        report.faults.push(Fault { place: "log/checkpoint".into(), ..fault });
    }
}

fn epoch_fault(what: String, index: usize, entries: &Entries) -> Fault {
    Fault {
        code: "LEDGER-030",
        what,
        place: format!("entry {index} of the main log"),
        records: entries.records_from(index),
        hint: "only the stable key vouches for these records, which can be stolen: compare with a witness or another copy of the log".into(),
    }
}

fn fork_fault(fork: &crate::ForkStatement, leaf: &Hash, index: usize, entries: &Entries) -> Fault {
    Fault {
        code: super::UNTOLD_FORK,
        what: format!(
            "the log was forked at {} entries, where {} were seen before, by {} and {}: {}",
            fork.size, fork.lost, fork.requester, fork.approver, fork.reason
        ),
        place: format!("entry {index} of the main log"),
        records: entries.records_from(index),
        hint: format!("if those two confirm it, verify with the fork {}", hex::encode(leaf)),
    }
}

/// The signed checkpoint with its note, or what is wrong with it; empty if there is none.
fn checkpoint(disk: &dyn Disk, dir: &Path, key: Option<&VerifierKey>) -> Result<(Checkpoint, String), String> {
    let path = dir.join("log/checkpoint");
    let bytes = read_all(disk, &path, 1 << 16).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => String::new(),
        _ => error.to_string(),
    })?;
    let key = key.ok_or("there is no key to check it with")?;
    open_checkpoint(&path, bytes, key).map_err(|error| error.to_string())
}

/// The leaf hashes whose root was signed: those of the entries, or else those of the level-0 tiles.
fn trusted_leaves(checkpoint: &Checkpoint, entries: &Hashes, tiles: &Hashes) -> Option<Vec<Hash>> {
    // Either file may have some damaged places; where they differ, mend one with the other and let the root decide.
    let collect = |first: &Hashes, second: &Hashes| -> Option<Vec<Hash>> {
        (0..checkpoint.size).map(|n| first.get(&n).or_else(|| second.get(&n)).copied()).collect()
    };
    let fits = |leaves: &Vec<Hash>| tree::root(leaves) == checkpoint.root;
    if checkpoint.size > (entries.len() + tiles.len()) as u64 {
        return None;
    }
    collect(entries, tiles).filter(fits).or_else(|| collect(tiles, entries).filter(fits))
}

/// Every stored tile, the widest of each place last.
fn tiles(disk: &dyn Disk, log: &Path) -> Vec<Tile> {
    let mut tiles = Vec::new();
    let mut folders = vec![("tile".to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for name in disk.list(&log.join(&folder)).unwrap_or_default() {
            let path = format!("{folder}/{name}");
            if let Some((level, index, width)) = parse_path(&path) {
                let content = read_all(disk, &log.join(&path), BUNDLE_LIMIT);
                // A folder where a tile belongs reads as an error and is named as one; one of the same name is looked into below.
                match content {
                    Err(error) if matches!(error.kind(), std::io::ErrorKind::IsADirectory | std::io::ErrorKind::NotFound) => {}
                    content => {
                        tiles.push(Tile { name: path, level, index, width, content: content.map_err(|error| error.to_string()) });
                        continue;
                    }
                }
            } else if !name.ends_with(".tmp") && depth < 12 {
                folders.push((path, depth + 1));
            }
        }
    }
    tiles.sort_by_key(|tile| (tile.level, tile.index, tile.width));
    tiles
}

/// Undoes `tile_path`.
fn parse_path(path: &str) -> Option<(Option<u32>, u64, u64)> {
    let rest = path.strip_prefix("tile/")?;
    let (level, rest) = rest.split_once('/')?;
    let number = if level == "entries" { None } else { Some(level.parse().ok().filter(|level| *level < 8)?) };
    let (digits, width) = match rest.split_once(".p/") {
        Some((digits, width)) => (digits, width.parse().ok().filter(|width| (1..WIDTH).contains(width))?),
        None => (rest, WIDTH),
    };
    let parts: Vec<&str> = digits.split('/').collect();
    let (last, upper) = parts.split_last()?;
    let mut index = 0u64;
    for (part, marked) in upper.iter().map(|part| (*part, true)).chain([(*last, false)]) {
        let digits = if marked { part.strip_prefix('x')? } else { part };
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    // Only the one spelling: a second file for the same place would be read as that place.
    let canonical = index < INDEX_LIMIT && crate::main_log::tile_path(level, index, width as usize) == path;
    canonical.then_some((number, index, width))
}

/// Entries of a bundle, up to the first that breaks its form.
fn entries(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = content;
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let (entry, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = tail;
        Some(entry)
    })
}

fn entry_hashes(tiles: &[Tile]) -> Hashes {
    let mut hashes = Hashes::new();
    for tile in tiles.iter().filter(|tile| tile.level.is_none()) {
        let content = tile.content.as_deref().unwrap_or_default();
        for (place, entry) in (tile.index * WIDTH..).zip(entries(content).take(tile.width as usize)) {
            hashes.insert(place, leaf_hash(entry));
        }
    }
    hashes
}

fn tile_hashes(tiles: &[Tile]) -> Hashes {
    let mut hashes = Hashes::new();
    for tile in tiles.iter().filter(|tile| tile.level == Some(0)) {
        let (whole, _) = tile.content.as_deref().unwrap_or_default().as_chunks::<32>();
        hashes.extend((tile.index * WIDTH..).zip(whole.iter().take(tile.width as usize).copied()));
    }
    hashes
}

/// For each entry a stored copy that fits the log; without a trusted log, the last copy that reads.
fn slots(tiles: &[Tile], leaves: Option<&[Hash]>, size: u64) -> Vec<Slot> {
    let mut slots = vec![Slot::Missing; size.min(1 << 24) as usize];
    for tile in tiles.iter().filter(|tile| tile.level.is_none()) {
        let content = tile.content.as_deref().unwrap_or_default();
        for (place, entry) in ((tile.index * WIDTH) as usize..).zip(entries(content).take(tile.width as usize)) {
            let fits = leaves.is_none_or(|leaves| leaves.get(place) == Some(&leaf_hash(entry)));
            let Some(slot) = slots.get_mut(place).filter(|_| fits) else { continue };
            match Entry::parse(entry) {
                Ok(entry) => *slot = Slot::Known(Box::new(entry)),
                Err(reason) if leaves.is_some() => *slot = Slot::Unknown(reason),
                Err(_) => {}
            }
        }
    }
    slots
}

/// Compares every tile and bundle below the checkpoint with what the trusted leaves give, and misses those that must be there.
fn check_tiles(tiles: &[Tile], leaves: &[Hash], log: &Entries, report: &mut Report) {
    let size = leaves.len() as u64;
    for tile in tiles {
        let span = WIDTH.pow(tile.level.unwrap_or(0));
        if (tile.index * WIDTH + tile.width).saturating_mul(span) > size {
            // Written before a crash, for a checkpoint that never was.
            continue;
        }
        let bad: Vec<u64> = match (&tile.content, tile.level) {
            (Err(_), _) => (0..tile.width).collect(),
            (Ok(content), None) => bad_entries(content, tile, leaves),
            (Ok(content), Some(_)) => bad_hashes(content, tile, span, leaves),
        };
        if !bad.is_empty() {
            let records = hit(&bad, tile, span, size, log);
            let what = tile
                .content
                .as_ref()
                .err()
                .cloned()
                .unwrap_or_else(|| format!("{} of {} places are not what was signed", bad.len(), tile.width));
            let hint = "the signed root is met without this file; it can be made again from the rest of the log".into();
            report.faults.push(Fault { code: "LEDGER-021", what, place: format!("log/{}", tile.name), records, hint });
        }
    }
    for (level, index, width) in required(size) {
        if !tiles.iter().any(|tile| tile.level == level && tile.index == index && tile.width >= width) {
            let span = WIDTH.pow(level.unwrap_or(0));
            let name =
                crate::main_log::tile_path(&level.map_or("entries".into(), |level| level.to_string()), index, width as usize);
            let missing = Tile { name: name.clone(), level, index, width, content: Ok(Vec::new()) };
            let records = hit(&(0..width).collect::<Vec<_>>(), &missing, span, size, log);
            let hint = "restore it from a copy of the log".into();
            report.faults.push(Fault {
                code: "LEDGER-021",
                what: "it is missing".into(),
                place: format!("log/{name}"),
                records,
                hint,
            });
        }
    }
}

fn bad_entries(content: &[u8], tile: &Tile, leaves: &[Hash]) -> Vec<u64> {
    let mut read = entries(content).map(leaf_hash);
    let mut bad: Vec<u64> =
        (0..tile.width).filter(|place| read.next().as_ref() != leaves.get((tile.index * WIDTH + place) as usize)).collect();
    let length: usize = entries(content).take(tile.width as usize).map(|entry| entry.len() + 2).sum();
    if bad.is_empty() && length != content.len() {
        bad.push(tile.width - 1);
    }
    bad
}

fn bad_hashes(content: &[u8], tile: &Tile, span: u64, leaves: &[Hash]) -> Vec<u64> {
    let (hashes, rest) = content.as_chunks::<32>();
    let expected = |place: u64| {
        let first = ((tile.index * WIDTH + place) * span) as usize;
        tree::root(&leaves[first..first + span as usize])
    };
    let mut bad: Vec<u64> = (0..tile.width).filter(|place| hashes.get(*place as usize) != Some(&expected(*place))).collect();
    if bad.is_empty() && (!rest.is_empty() || hashes.len() as u64 != tile.width) {
        bad.push(tile.width - 1);
    }
    bad
}

/// The records whose proof leads through the damaged places.
fn hit(bad: &[u64], tile: &Tile, span: u64, size: u64, log: &Entries) -> Vec<RecordRange> {
    let places = bad.iter().flat_map(|place| {
        let first = (tile.index * WIDTH + place) * span;
        first..(first + span).min(size)
    });
    let mut records: Vec<RecordRange> = places.flat_map(|entry| log.records_at(entry as usize)).collect();
    records.sort_unstable();
    records.dedup();
    records
}

/// Tiles and bundles a log of this size must have: level, index, width.
fn required(size: u64) -> Vec<(Option<u32>, u64, u64)> {
    let mut required = Vec::new();
    for level in [None].into_iter().chain((0..8).map(Some)) {
        let here = size / WIDTH.pow(level.unwrap_or(0));
        required.extend((0..here / WIDTH).map(|index| (level, index, WIDTH)));
        if !here.is_multiple_of(WIDTH) {
            required.push((level, here / WIDTH, here % WIDTH));
        }
    }
    required
}

/// Entries must be there and known, batch statements in order of segment, and each name the one before; content may only be taken out of what is there.
fn check_statements(entries: &Entries, checkpoint: Option<&Checkpoint>, report: &mut Report) -> Disposals {
    let mut disposals = Disposals::default();
    let mut previous: Option<Hash> = Some([0; 32]);
    let (mut segment, mut epoch) = (0, 0);
    for (number, slot) in entries.slots.iter().enumerate() {
        let mut fault = |what: &str| {
            report.faults.push(Fault {
                code: "LEDGER-027",
                what: what.into(),
                place: format!("entry {number} of the main log"),
                records: entries.records_at(number),
                hint: outside::COPY.into(),
            });
        };
        let entry = match slot {
            Slot::Known(entry) => &**entry,
            Slot::Unknown(reason) => {
                fault(&format!("the entry {reason}"));
                continue;
            }
            Slot::Missing => {
                fault("no stored copy of this entry fits the log");
                previous = None;
                segment += u32::from(entries.is_batch(number));
                continue;
            }
        };
        if checkpoint.is_some_and(|checkpoint| checkpoint.origin != entry.origin()) {
            fault("the entry is that of another log");
        }
        if let Entry::Disposal(disposal) = entry {
            let batch = entries.statements.get(disposal.segment as usize).filter(|_| disposal.segment < segment);
            let batch = batch.and_then(Option::as_ref);
            let taken = disposals.take(number as u64, disposal, batch.map(|batch| (batch.records, &batch.lost[..])));
            report.faults.extend(taken.err().map(|reason| Fault {
                code: "LEDGER-036",
                what: format!("it {reason}"),
                place: format!("entry {number} of the main log"),
                records: vec![whole(disposal.segment, batch)],
                hint: "who signed this broke the rules of docs/spec/retention.md: compare with a witness or another copy of the log".into(),
            }));
            continue;
        }
        let Entry::Batch(statement) = entry else { continue };
        if statement.segment != segment {
            fault("the batch statement is that of another segment");
        }
        if previous.is_some_and(|previous| previous != statement.previous) {
            fault("the batch statement does not continue the one before it");
        }
        if statement.epoch < epoch {
            fault("its epoch is below that of the statement before it");
        }
        epoch = statement.epoch;
        previous = Some(statement.leaf_hash());
        segment += 1;
    }
    disposals
}

/// Beyond it, places times spans would not fit their type, and no log is that long.
const INDEX_LIMIT: u64 = 1 << 40;
