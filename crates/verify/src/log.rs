//! The main log: checkpoint, tiles, bundles, and what the entries say. `docs/spec/log.md`, and `record.md`, *Checking a ledger*.
use std::{collections::HashMap, io::ErrorKind};

use crate::{
    Checkpoint, Files, Hash, RecordRange, Report, Trust,
    beside::{Beside, note},
    bytes::Bytes,
    epoch::{Entry, Epoch, Follower, What},
    files::read_all,
    statement::Statement,
    text, tree,
};

/// What is known of one entry: what it says; else why it says nothing this program knows, or `None` where no stored copy fits the log.
type Slot = Result<Entry, Option<&'static str>>;

/// The entries in order. Without a trusted log, what is stored.
pub(crate) struct Entries(Vec<Slot>);

impl Entries {
    fn batch(&self, place: usize) -> Option<&Statement> {
        if let What::Batch(statement) = &self.0.get(place)?.as_ref().ok()?.what { Some(statement) } else { None }
    }

    fn has_batches(&self) -> bool {
        self.0.iter().any(|slot| matches!(slot, Ok(Entry { what: What::Batch(_), .. }) | Err(None)))
    }

    /// All records whose batch lies at or after an entry.
    pub(crate) fn from(&self, place: u64) -> Vec<RecordRange> {
        let rest = (place as usize..self.0.len()).filter_map(|place| self.batch(place));
        rest.map(|statement| RecordRange::all(statement.segment, Some(statement))).collect()
    }

    /// The records that depend on an entry: its batch, or else the next one.
    fn at(&self, place: u64) -> Option<RecordRange> {
        let statement = (place as usize..self.0.len()).find_map(|place| self.batch(place))?;
        Some(RecordRange::all(statement.segment, Some(statement)))
    }
}

/// A stored tile, or a bundle of entries.
struct Tile {
    name: String,
    /// `None` for a bundle.
    level: Option<u32>,
    index: u64,
    width: u64,
    /// Nothing if it cannot be read.
    content: Vec<u8>,
    unreadable: Option<String>,
}

impl Tile {
    fn new(level: Option<u32>, index: u64, width: u64) -> Self {
        Self { name: path(level, index, width), level, index, width, content: Vec::new(), unreadable: None }
    }

    /// Entries below each of its places.
    fn span(&self) -> u64 {
        WIDTH.pow(self.level.unwrap_or(0))
    }

    /// One past the last entry it serves.
    fn end(&self) -> u64 {
        (self.index * WIDTH + self.width).saturating_mul(self.span())
    }

    /// Its entries or hashes with their places, up to where its form breaks.
    fn items(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut rest = Bytes(&self.content);
        let items = std::iter::from_fn(move || if self.level.is_none() { rest.prefixed() } else { rest.take(32) });
        (self.index * WIDTH..).zip(items).take(self.width as usize)
    }

    fn hashes(&self) -> impl Iterator<Item = (u64, Hash)> {
        let hash = |item: &[u8]| if self.level.is_none() { tree::leaf(item) } else { item.try_into().unwrap_or_default() };
        self.items().map(move |(place, item)| (place, hash(item)))
    }

    /// Places, counted from its first, that do not hold what the leaves give; the last one if bytes follow it.
    fn bad_places(&self, leaves: &[Hash]) -> Vec<u64> {
        let (first, span) = ((self.index * WIDTH * self.span()) as usize, self.span() as usize);
        let stored: Vec<Hash> = self.hashes().map(|(_, hash)| hash).collect();
        let expected = (0..self.width).zip(leaves[first..self.end() as usize].chunks(span));
        let is_bad = |(place, below): &(u64, &[Hash])| stored.get(*place as usize) != Some(&tree::root(*below));
        let mut bad: Vec<u64> = expected.filter(is_bad).map(|(place, _)| place).collect();
        let prefix = if self.level.is_none() { 2 } else { 0 };
        let length: usize = self.items().map(|(_, item)| item.len() + prefix).sum();
        bad.extend((bad.is_empty() && length != self.content.len()).then_some(self.width - 1));
        bad
    }
}

/// The log under its checkpoint, once its leaves are known.
pub(crate) struct Log<'a> {
    pub(crate) newest: Checkpoint,
    pub(crate) entries: &'a Entries,
    /// By size: root, and the epoch that goes on then.
    pub(crate) at: HashMap<u64, (Hash, Option<Epoch>)>,
}

/// Checks the log; returns the batch statements in order with what became of their content, `None` for each entry that may have been one.
pub(crate) fn check(files: &dyn Files, trusted: &Trust, root_given: bool, report: &mut Report) -> Vec<Option<Statement>> {
    // What lies beside the checkpoint first, then it, then tiles: a ledger in use only adds to what was read before.
    let beside = Beside::read(files, trusted, report);
    let read = note(files, "log/checkpoint", trusted.key.as_ref());
    let checkpoint = read.as_ref().and_then(|read| read.as_ref().ok());
    let tiles = tiles(files);
    let (from_entries, from_tiles) = (places(&tiles, None), places(&tiles, Some(0)));
    let stored = (0..).take_while(|place| from_entries.contains_key(place) || from_tiles.contains_key(place)).count() as u64;
    let leaves = checkpoint.and_then(|checkpoint| trusted_leaves(checkpoint, &from_entries, &from_tiles));
    report.entries = checkpoint.map_or(stored, |checkpoint| checkpoint.size);
    report.signed = checkpoint.map(|checkpoint| text::time_text(checkpoint.at));
    let entries = entries(&tiles, leaves.as_deref(), stored);
    let statements = check_entries(&entries, checkpoint, report);
    match (read, leaves) {
        (Some(Ok(newest)), Some(leaves)) => {
            check_tiles(&tiles, &leaves, &entries, report);
            let mut log = Log { newest, entries: &entries, at: HashMap::new() };
            log.follow(&leaves, &beside.sizes(), trusted, root_given, report);
            beside.check(files, &log, trusted.policy.as_ref(), report);
        }
        (Some(Ok(_)), None) => {
            let what = "neither the stored entries nor the stored hashes give the root that was signed";
            report.fault("LEDGER-021", "log/tile", what, entries.from(0));
        }
        (Some(Err(reason)), _) => report.fault("LEDGER-020", "log/checkpoint", format!("it {reason}"), entries.from(0)),
        // Without a checkpoint and without batches the first publication was cut short: no record was ever under it.
        (None, _) if !entries.has_batches() => {}
        (None, _) => report.fault("LEDGER-020", "log/checkpoint", "it is missing", entries.from(0)),
    }
    statements
}

impl Log<'_> {
    /// Epochs and forks in order, by the rules of `docs/spec/log.md`: E1 to E6, V3, V4. Notes what the log was at these sizes.
    fn follow(&mut self, leaves: &[Hash], sizes: &[u64], trusted: &Trust, root_given: bool, report: &mut Report) {
        let (mut follower, entries) = (Follower::default(), self.entries);
        for (place, leaf) in (0..).zip(leaves) {
            if sizes.contains(&place) {
                self.at.insert(place, (follower.tree.root(), follower.last.clone()));
            }
            let entry = entries.0[place as usize].as_ref().ok();
            let mut fault = |code, what: String| {
                report.fault(code, format!("entry {place} of the main log"), what, entries.from(place));
            };
            let what = entry.map(|entry| &entry.what);
            if let (Some(What::Epoch(epoch)), None, Some(root)) = (what, &follower.last, &trusted.root)
                && epoch.key().as_ref() != Ok(root)
            {
                fault("LEDGER-030", "epoch 0 does not have the root key".into());
            }
            if let Some(What::Fork(fork)) = what
                && !trusted.forks.contains(leaf)
            {
                fault("LEDGER-031", format!("the log was forked {}; its leaf hash was not given", fork.told));
            }
            if let Err(what) = follower.take(*leaf, entry) {
                fault("LEDGER-030", what);
            }
        }
        let held = match &follower.last {
            None if root_given => Err("a root key was given, and the log has no key epochs".to_owned()),
            _ if follower.fork.is_some() => Err("it ends with a fork that no epoch follows".into()),
            epoch => epoch.as_ref().map_or(Ok(()), |epoch| epoch.check(&self.newest)),
        };
        report.expect("LEDGER-030", "log/checkpoint", || entries.from(0), held);
        self.at.insert(follower.tree.size(), (follower.tree.root(), follower.last));
    }
}

/// Every stored tile and bundle, by level, index and width.
fn tiles(files: &dyn Files) -> Vec<Tile> {
    let mut tiles = Vec::new();
    let mut folders = vec![("tile".to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in files.list(&format!("log/{folder}")).unwrap_or_default() {
            let name = format!("{folder}/{entry}");
            let Some((level, index, width)) = place_of(&name) else {
                if depth < DEPTH && !entry.ends_with(".tmp") {
                    folders.push((name, depth + 1));
                }
                continue;
            };
            let tile = Tile::new(level, index, width);
            match read_all(files, &format!("log/{name}"), BUNDLE_LIMIT) {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => {}
                Err(error) => tiles.push(Tile { unreadable: Some(format!("it cannot be read: {error}")), ..tile }),
                Ok(content) => tiles.push(Tile { content, ..tile }),
            }
        }
    }
    tiles.sort_by_key(|tile| (tile.level, tile.index, tile.width));
    tiles
}

/// Level, index and width of the tile with this path; `None` unless it is exactly that tile's path.
fn place_of(name: &str) -> Option<(Option<u32>, u64, u64)> {
    let (level, rest) = name.strip_prefix("tile/")?.split_once('/')?;
    let level = if level == "entries" { None } else { Some(text::number(level).filter(|level| *level < LEVELS)?) };
    let (digits, width) = match rest.split_once(".p/") {
        Some((digits, width)) => (digits, text::number(width)?),
        None => (rest, WIDTH),
    };
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    let index = digits.parse().ok().filter(|index| *index < INDEX_LIMIT)?;
    ((1..=WIDTH).contains(&width) && path(level, index, width) == name).then_some((level, index, width))
}

/// `tile/<L>/<N>[.p/<W>]`: the index in groups of three digits, all but the last marked with `x`.
fn path(level: Option<u32>, index: u64, width: u64) -> String {
    let mut groups = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        groups = format!("x{:03}/{groups}", rest % 1000);
        rest /= 1000;
    }
    let level = level.map_or("entries".into(), |level| level.to_string());
    let partial = if width < WIDTH { format!(".p/{width}") } else { String::new() };
    format!("tile/{level}/{groups}{partial}")
}

/// Hashes of a level by place; the widest file of an index prevails.
fn places(tiles: &[Tile], level: Option<u32>) -> HashMap<u64, Hash> {
    tiles.iter().filter(|tile| tile.level == level).flat_map(Tile::hashes).collect()
}

/// The leaf hashes whose root was signed. Either source may be damaged in places; where it has gaps the other fills them.
fn trusted_leaves(checkpoint: &Checkpoint, entries: &HashMap<u64, Hash>, tiles: &HashMap<u64, Hash>) -> Option<Vec<Hash>> {
    if checkpoint.size > (entries.len() + tiles.len()) as u64 {
        return None;
    }
    [(entries, tiles), (tiles, entries)].into_iter().find_map(|(first, second)| {
        let leaf = |place| first.get(&place).or_else(|| second.get(&place)).copied();
        let leaves: Vec<Hash> = (0..checkpoint.size).map(leaf).collect::<Option<_>>()?;
        (tree::root(&leaves) == checkpoint.root).then_some(leaves)
    })
}

/// For each place a stored copy of its entry that fits the log; without a trusted log the last that reads.
fn entries(tiles: &[Tile], leaves: Option<&[Hash]>, stored: u64) -> Entries {
    let mut slots = vec![Err(None); leaves.map_or(stored as usize, <[Hash]>::len)];
    for (place, entry) in tiles.iter().filter(|tile| tile.level.is_none()).flat_map(Tile::items) {
        let fits = leaves.is_none_or(|leaves| leaves.get(place as usize) == Some(&tree::leaf(entry)));
        let parsed = Entry::parse(entry).map_err(Some);
        if let Some(slot) = slots.get_mut(place as usize).filter(|_| fits && (parsed.is_ok() || leaves.is_some())) {
            *slot = parsed;
        }
    }
    Entries(slots)
}

/// Every file that the checkpoint covers against the trusted leaves; files that must be there and are not.
fn check_tiles(tiles: &[Tile], leaves: &[Hash], entries: &Entries, report: &mut Report) {
    let size = leaves.len() as u64;
    for tile in tiles.iter().filter(|tile| tile.end() <= size) {
        let bad = tile.bad_places(leaves);
        if !bad.is_empty() {
            let differ = || format!("{} of its {} places are not what was signed", bad.len(), tile.width);
            let what = tile.unreadable.clone().unwrap_or_else(differ);
            report.fault("LEDGER-021", format!("log/{}", tile.name), what, hit(tile, bad, size, entries));
        }
    }
    for missing in required(size) {
        let covers = |tile: &Tile| (tile.level, tile.index) == (missing.level, missing.index) && tile.width >= missing.width;
        if !tiles.iter().any(covers) {
            let records = hit(&missing, 0..missing.width, size, entries);
            report.fault("LEDGER-021", format!("log/{}", missing.name), "it is missing", records);
        }
    }
}

/// The records whose proofs lead through these places of the tile.
fn hit(tile: &Tile, bad: impl IntoIterator<Item = u64>, size: u64, entries: &Entries) -> Vec<RecordRange> {
    let places = bad.into_iter().flat_map(|place| {
        let first = (tile.index * WIDTH + place) * tile.span();
        first..(first + tile.span()).min(size)
    });
    let mut records: Vec<RecordRange> = places.filter_map(|place| entries.at(place)).collect();
    records.dedup();
    records
}

/// The files that a log of this size has, without content.
fn required(size: u64) -> impl Iterator<Item = Tile> {
    let levels = [None].into_iter().chain((0..LEVELS).map(Some));
    levels.flat_map(move |level| {
        let places = size / WIDTH.pow(level.unwrap_or(0));
        (0..places.div_ceil(WIDTH)).map(move |index| Tile::new(level, index, WIDTH.min(places - index * WIDTH)))
    })
}

/// Entries are there, of a known kind, of this log; batch statements in order of segment and naming each other; what was taken out was there.
fn check_entries(entries: &Entries, checkpoint: Option<&Checkpoint>, report: &mut Report) -> Vec<Option<Statement>> {
    let mut statements: Vec<Option<Statement>> = Vec::new();
    // Unknown after a missing entry: that may have been a batch or not.
    let (mut previous, mut segment, mut epoch) = (Some([0; 32]), Some(0), 0);
    for (place, slot) in (0..).zip(&entries.0) {
        let mut fault = |code, what: &str| {
            let records = entries.at(place).into_iter().collect();
            report.fault(code, format!("entry {place} of the main log"), what, records);
        };
        let entry = match slot {
            Ok(entry) => entry,
            Err(Some(reason)) => {
                fault("LEDGER-027", &format!("the entry {reason}"));
                continue;
            }
            Err(None) => {
                fault("LEDGER-027", "no stored copy of this entry fits the log");
                (previous, segment) = (None, None);
                statements.push(None);
                continue;
            }
        };
        if checkpoint.is_some_and(|checkpoint| checkpoint.origin != entry.origin) {
            fault("LEDGER-027", "the entry is that of another log");
        }
        if let What::Disposal(disposal) = &entry.what
            && let Err(what) = disposal.apply(&mut statements)
        {
            fault("LEDGER-036", &format!("it {what}"));
        }
        let What::Batch(statement) = &entry.what else { continue };
        if segment.is_some_and(|segment| segment != statement.segment) {
            fault("LEDGER-027", "the batch statement is that of another segment");
        }
        if previous.is_some_and(|previous| previous != statement.previous) {
            fault("LEDGER-027", "the batch statement does not continue the one before it");
        }
        if statement.epoch < epoch {
            fault("LEDGER-027", "its epoch is below that of the statement before it");
        }
        (previous, segment, epoch) = (Some(statement.leaf), statement.segment.checked_add(1), statement.epoch);
        statements.push(Some(statement.clone()));
    }
    statements
}

/// Places in a full tile.
const WIDTH: u64 = 256;
const LEVELS: u32 = 8;
const INDEX_LIMIT: u64 = 1 << 40;
/// A full bundle of the longest entries.
const BUNDLE_LIMIT: u64 = WIDTH * (2 + 65_535);
/// Folders below one another that tile paths need, with room.
const DEPTH: u32 = 12;
