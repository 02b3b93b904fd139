//! The main log: checkpoint, tiles, bundles, and what the entries say. `docs/spec/log.md`, and `record.md`, *Checking a ledger*.
use std::{collections::HashMap, io::ErrorKind};

use crate::{
    Checkpoint, Files, Hash, RecordRange, Report, VerifierKey,
    beside::Beside,
    epoch::{Entry, Epoch, Follower},
    files::read_all,
    ledger::Trusted,
    note::NOTE_LIMIT,
    statement::Statement,
    text, tree,
};

/// What is known of one entry.
#[derive(Clone)]
enum Slot {
    /// No stored copy fits the log.
    Missing,
    /// A copy fits and says nothing this program knows; why.
    Unknown(&'static str),
    Known(Box<Entry>),
}

/// The entries in order. Without a trusted log, what is stored.
pub(crate) struct Entries(Vec<Slot>);

impl Entries {
    fn batch(&self, place: usize) -> Option<&Statement> {
        match self.0.get(place)? {
            Slot::Known(entry) => match &**entry {
                Entry::Batch(statement) => Some(statement),
                _ => None,
            },
            _ => None,
        }
    }

    /// The batch statements in order, with what became of their content; `None` for each entry that may have been one.
    pub(crate) fn statements(&self, report: &mut Report) -> Vec<Option<Statement>> {
        let mut found: Vec<Option<Statement>> = Vec::new();
        for (place, slot) in self.0.iter().enumerate() {
            let Slot::Known(entry) = slot else {
                found.extend(matches!(slot, Slot::Missing).then_some(None));
                continue;
            };
            match &**entry {
                Entry::Batch(statement) => found.push(Some(statement.clone())),
                Entry::Disposal(disposal) => {
                    if let Err(what) = disposal.apply(&mut found) {
                        report.fault("LEDGER-036", format!("entry {place} of the main log"), format!("it {what}"), self.from(0));
                    }
                }
                _ => {}
            }
        }
        found
    }

    fn has_batches(&self) -> bool {
        (0..self.0.len()).any(|place| matches!(self.0[place], Slot::Missing) || self.batch(place).is_some())
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
    content: Result<Vec<u8>, String>,
}

impl Tile {
    /// Entries below each of its places.
    fn span(&self) -> u64 {
        WIDTH.pow(self.level.unwrap_or(0))
    }

    /// One past the last entry it serves.
    fn end(&self) -> u64 {
        (self.index * WIDTH + self.width).saturating_mul(self.span())
    }

    fn bytes(&self) -> &[u8] {
        self.content.as_deref().unwrap_or_default()
    }

    fn entries(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut rest = self.bytes();
        let entries = std::iter::from_fn(move || {
            let (length, tail) = rest.split_first_chunk::<2>()?;
            let (entry, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            rest = tail;
            Some(entry)
        });
        (self.index * WIDTH..).zip(entries).take(self.width as usize)
    }

    /// Hashes by place in its level.
    fn hashes(&self) -> Vec<(u64, Hash)> {
        match self.level {
            None => self.entries().map(|(place, entry)| (place, tree::leaf(entry))).collect(),
            Some(_) => {
                (self.index * WIDTH..).zip(self.bytes().as_chunks::<32>().0.iter().copied()).take(self.width as usize).collect()
            }
        }
    }

    /// Length of the content that its places make up.
    fn sound_length(&self) -> usize {
        match self.level {
            None => self.entries().map(|(_, entry)| entry.len() + 2).sum(),
            Some(_) => 32 * self.width as usize,
        }
    }
}

/// The log under its checkpoint, once its leaves are known.
pub(crate) struct Log {
    pub(crate) newest: Checkpoint,
    pub(crate) entries: Entries,
    /// By size: root, and the epoch that goes on then.
    pub(crate) at: HashMap<u64, (Hash, Option<Epoch>)>,
}

pub(crate) fn check(files: &dyn Files, trusted: &Trusted<'_>, report: &mut Report) -> Entries {
    // What lies beside the checkpoint first, then it, then tiles: a ledger in use only adds to what was read before.
    let beside = Beside::read(files, trusted.key.as_ref());
    let checkpoint = checkpoint(files, trusted.key.as_ref());
    let tiles = tiles(files);
    let from_entries = places(&tiles, None);
    let from_tiles = places(&tiles, Some(0));
    let stored = (0..).take_while(|place| from_entries.contains_key(place) || from_tiles.contains_key(place)).count() as u64;
    let leaves = checkpoint.as_ref().ok().and_then(|checkpoint| trusted_leaves(checkpoint, &from_entries, &from_tiles));
    report.size = checkpoint.as_ref().map_or(stored, |checkpoint| checkpoint.size);
    report.signed = checkpoint.as_ref().ok().map(|checkpoint| text::time_text(checkpoint.at));
    let entries = entries(&tiles, leaves.as_deref(), stored);
    check_entries(&entries, checkpoint.as_ref().ok(), report);
    match (checkpoint, leaves) {
        (Ok(checkpoint), Some(leaves)) => {
            check_tiles(&tiles, &leaves, &entries, report);
            let log = follow(checkpoint, entries, &leaves, &beside.sizes(), trusted, report);
            beside.check(&log, trusted.policy.as_ref(), report);
            return log.entries;
        }
        (Ok(_), None) => {
            let what = "neither the stored entries nor the stored hashes give the root that was signed";
            report.fault("LEDGER-021", "log/tile", what, entries.from(0));
        }
        // Without a checkpoint and without batches the first publication was cut short: no record was ever under it.
        (Err(None), _) if !entries.has_batches() => {}
        (Err(reason), _) => {
            let what = reason.map_or("it is missing".into(), |reason| format!("it {reason}"));
            report.fault("LEDGER-020", "log/checkpoint", what, entries.from(0));
        }
    }
    entries
}

/// The signed checkpoint; else what is wrong with it, `None` if it is not there.
fn checkpoint(files: &dyn Files, key: Option<&VerifierKey>) -> Result<Checkpoint, Option<String>> {
    let note = read_all(files, "log/checkpoint", NOTE_LIMIT as u64).map_err(|error| match error.kind() {
        ErrorKind::NotFound => None,
        _ => Some(format!("cannot be read: {error}")),
    })?;
    let key = key.ok_or_else(|| Some("has no key to be checked with".into()))?;
    Checkpoint::open(&note, key).map_err(Some)
}

/// Epochs and forks in order, by the rules of `docs/spec/log.md`: E1 to E6, V3, V4.
fn follow(
    newest: Checkpoint,
    entries: Entries,
    leaves: &[Hash],
    sizes: &[u64],
    trusted: &Trusted<'_>,
    report: &mut Report,
) -> Log {
    let mut follower = Follower::default();
    let mut log = Log { newest, entries, at: HashMap::new() };
    for (place, leaf) in (0..).zip(leaves) {
        if sizes.contains(&place) {
            log.at.insert(place, (follower.tree.root(), follower.last.clone()));
        }
        let entry = match &log.entries.0[place as usize] {
            Slot::Known(entry) => Some(&**entry),
            _ => None,
        };
        let mut fault = |code, what| {
            report.fault(code, format!("entry {place} of the main log"), what, log.entries.from(place));
        };
        if let (Some(Entry::Epoch(epoch)), None, Some(root)) = (entry, &follower.last, &trusted.root)
            && epoch.key().as_ref() != Ok(root)
        {
            fault("LEDGER-030", "epoch 0 does not have the root key".into());
        }
        if let Some(Entry::Fork(fork)) = entry
            && !trusted.forks.contains(leaf)
        {
            fault("LEDGER-031", format!("the log was forked {}; its leaf hash was not given", fork.told));
        }
        if let Err(what) = follower.take(*leaf, entry) {
            fault("LEDGER-030", what);
        }
    }
    let problem = match &follower.last {
        None if trusted.root_given => Some("a root key was given, and the log has no key epochs".into()),
        _ if follower.is_open() => Some("it ends with a fork that no epoch follows".into()),
        epoch => epoch.as_ref().and_then(|epoch| epoch.check(&log.newest).err()),
    };
    if let Some(what) = problem {
        report.fault("LEDGER-030", "log/checkpoint", what, log.entries.from(0));
    }
    log.at.insert(follower.tree.size(), (follower.tree.root(), follower.last));
    log
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
            match read_all(files, &format!("log/{name}"), BUNDLE_LIMIT) {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => {}
                content => tiles.push(Tile { name, level, index, width, content: content.map_err(|error| error.to_string()) }),
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
    let mut slots = vec![Slot::Missing; leaves.map_or(stored as usize, <[Hash]>::len)];
    for (place, entry) in tiles.iter().filter(|tile| tile.level.is_none()).flat_map(Tile::entries) {
        let fits = leaves.is_none_or(|leaves| leaves.get(place as usize) == Some(&tree::leaf(entry)));
        match (slots.get_mut(place as usize).filter(|_| fits), Entry::parse(entry)) {
            (Some(slot), Ok(entry)) => *slot = Slot::Known(Box::new(entry)),
            (Some(slot), Err(reason)) if leaves.is_some() => *slot = Slot::Unknown(reason),
            _ => {}
        }
    }
    Entries(slots)
}

/// Every file that the checkpoint covers against the trusted leaves; files that must be there and are not.
fn check_tiles(tiles: &[Tile], leaves: &[Hash], entries: &Entries, report: &mut Report) {
    let size = leaves.len() as u64;
    for tile in tiles.iter().filter(|tile| tile.end() <= size) {
        let bad = bad_places(tile, leaves);
        if !bad.is_empty() || tile.content.is_err() {
            let what = match &tile.content {
                Err(error) => format!("it cannot be read: {error}"),
                Ok(_) => format!("{} of its {} places are not what was signed", bad.len(), tile.width),
            };
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

fn bad_places(tile: &Tile, leaves: &[Hash]) -> Vec<u64> {
    let (stored, span) = (tile.hashes(), tile.span() as usize);
    let expected = |place: u64| {
        let first = (tile.index * WIDTH + place) as usize * span;
        leaves.get(first..first + span).map(|leaves| if span == 1 { leaves[0] } else { tree::root(leaves) })
    };
    let sound = |place: &u64| stored.get(*place as usize).map(|(_, hash)| *hash) == expected(*place);
    let mut bad: Vec<u64> = (0..tile.width).filter(|place| !sound(place)).collect();
    if bad.is_empty() && tile.bytes().len() != tile.sound_length() {
        bad.push(tile.width - 1);
    }
    bad
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
fn required(size: u64) -> Vec<Tile> {
    let mut required = Vec::new();
    for level in [None].into_iter().chain((0..LEVELS).map(Some)) {
        let places = size / WIDTH.pow(level.unwrap_or(0));
        let full = (0..places / WIDTH).map(|index| (index, WIDTH));
        let edge = (!places.is_multiple_of(WIDTH)).then_some((places / WIDTH, places % WIDTH));
        required.extend(full.chain(edge).map(|(index, width)| {
            let name = path(level, index, width);
            Tile { name, level, index, width, content: Ok(Vec::new()) }
        }));
    }
    required
}

/// Entries are there, of a known kind, of this log; batch statements in order of segment and naming each other.
fn check_entries(entries: &Entries, checkpoint: Option<&Checkpoint>, report: &mut Report) {
    // Unknown after a missing entry: that may have been a batch or not.
    let (mut previous, mut segment) = (Some([0; 32]), Some(0));
    let mut epoch = 0;
    for (place, slot) in (0..).zip(&entries.0) {
        let mut fault = |what: &str| {
            let records = entries.at(place).into_iter().collect();
            report.fault("LEDGER-027", format!("entry {place} of the main log"), what, records);
        };
        let entry = match slot {
            Slot::Known(entry) => entry,
            Slot::Unknown(reason) => {
                fault(&format!("the entry {reason}"));
                continue;
            }
            Slot::Missing => {
                fault("no stored copy of this entry fits the log");
                (previous, segment) = (None, None);
                continue;
            }
        };
        if checkpoint.is_some_and(|checkpoint| checkpoint.origin != entry.origin()) {
            fault("the entry is that of another log");
        }
        let Entry::Batch(statement) = &**entry else { continue };
        if segment.is_some_and(|segment| segment != statement.segment) {
            fault("the batch statement is that of another segment");
        }
        if previous.is_some_and(|previous| previous != statement.previous) {
            fault("the batch statement does not continue the one before it");
        }
        if statement.epoch < epoch {
            fault("its epoch is below that of the statement before it");
        }
        (previous, segment, epoch) = (Some(statement.leaf), statement.segment.checked_add(1), statement.epoch);
    }
}

/// Places in a full tile.
const WIDTH: u64 = 256;
const LEVELS: u32 = 8;
const INDEX_LIMIT: u64 = 1 << 40;
/// A full bundle of the longest entries.
const BUNDLE_LIMIT: u64 = WIDTH * (2 + 65_535);
/// Folders below one another that tile paths need, with room.
const DEPTH: u32 = 12;
