//! Bits and sectors of a sealed store of 256 KiB change, one after the other: each change must be found and traced to where it is.
//!
//! `REEVE_FLIPS=n` flips n bits, spread over the whole store (2,097,152 and more: each once); `REEVE_SECTORS=1` spoils every sector.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, dead_code)]

#[path = "sim/disk.rs"]
mod disk;
#[path = "sim/random.rs"]
mod random;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use disk::{SECTOR, SimDisk};
use random::{Random, SimClock, SimRng};
use reeve_ledger::{Ledger, NewRecord, Options, RecordRange, Report, VerifyOptions, verify};
use reeve_record::Transport;

const DIR: &str = "/srv/ledger";
/// Records of one segment, and their length: they do not compress, so that their bytes lie in the file as they are.
const RECORDS: u32 = 30;
const LENGTH: usize = 4240;

struct Store {
    disk: SimDisk,
    /// Sealed files with their length in bytes.
    files: Vec<(PathBuf, u64)>,
    /// Where the raw bytes of each record begin: file, offset, record.
    raws: Vec<(PathBuf, usize, RecordRange)>,
}

impl Store {
    fn new() -> Self {
        let disk = SimDisk::new(1, Path::new("/srv"), false);
        let options = Options {
            disk: Arc::new(disk.clone()),
            clock: Arc::new(SimClock::new()),
            rng: Arc::new(SimRng::new(1)),
            ..Options::new("reeve.example/record")
        };
        let (ledger, mut turns) = Ledger::open_in_turns(Path::new(DIR), options).unwrap();
        let mut random = Random::new(2);
        let mut raws = Vec::new();
        for number in 0..2 {
            let segment: Vec<Vec<u8>> = (0..RECORDS).map(|_| (0..LENGTH).map(|_| random.next() as u8).collect()).collect();
            let batch = segment.iter().map(|raw| NewRecord::new("host", Transport::Http, raw.clone())).collect();
            ledger.submit_with(batch, |told| assert!(told.is_ok()));
            turns.commit();
            turns.end_segment();
            assert!(turns.seal());
            raws.extend(places(&disk, number, &segment));
        }
        let sealed = ["segments", "log"].into_iter().flat_map(|folder| disk.files(&Path::new(DIR).join(folder)));
        let files = sealed.map(|path| (path.clone(), disk.read(&path).unwrap().len() as u64)).collect();
        Self { disk, files, raws }
    }

    fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, length)| length).sum()
    }

    /// The file and the offset in it of byte `at` of the store.
    fn place(&self, mut at: u64) -> (&Path, usize) {
        for (path, length) in &self.files {
            if at < *length {
                return (path, at as usize);
            }
            at -= length;
        }
        panic!("past the end");
    }

    /// The record whose raw bytes lie at `offset` of `file`, if any do.
    fn record_at(&self, file: &Path, offset: usize) -> Option<RecordRange> {
        let hit = self.raws.iter().find(|(path, at, _)| path == file && (*at..at + LENGTH).contains(&offset));
        hit.map(|(_, _, record)| *record)
    }
}

/// Where the raw bytes of a segment's records lie in its file.
fn places(disk: &SimDisk, segment: u32, raws: &[Vec<u8>]) -> Vec<(PathBuf, usize, RecordRange)> {
    let path = Path::new(DIR).join(format!("segments/{segment:08}.parquet"));
    let content = disk.read(&path).unwrap();
    let find = |raw: &Vec<u8>| content.windows(LENGTH).position(|window| window[0] == raw[0] && window == &raw[..]);
    let found =
        (0..).zip(raws).filter_map(|(first, raw)| Some((path.clone(), find(raw)?, RecordRange { segment, first, count: 1 })));
    found.collect()
}

fn report(disk: &SimDisk) -> Report {
    let options = VerifyOptions { disk: Arc::new(disk.clone()), ..VerifyOptions::default() };
    verify(Path::new(DIR), &options, &mut |_| {}).unwrap()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: `{text}` is no number")))
}

/// What must hold of a report when the bytes at `offset` of `file` are not what was sealed.
fn check(report: &Report, file: &Path, case: &str) {
    assert!(!report.is_intact(), "{case} stayed unseen");
    let place = file.strip_prefix(DIR).unwrap().display().to_string();
    assert!(report.faults.iter().any(|fault| fault.place.starts_with(&place)), "{case}: {:#?}", report.faults);
    assert!(report.faults.iter().all(|fault| !fault.records.is_empty()), "{case}: {:#?}", report.faults);
}

/// Runs `case` for 0, 1, 2 … below `cases` on all cores, each with a copy of the disk.
fn on_all_cores(store: &Store, cases: u64, case: impl Fn(&SimDisk, u64) + Sync) {
    let next = AtomicU64::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let disk = store.disk.fork();
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= cases {
                        break;
                    }
                    case(&disk, number);
                }
            });
        }
    });
}

#[test]
fn every_flipped_bit_is_found_and_traced() {
    let store = Store::new();
    assert!(report(&store.disk).is_intact());
    let bits = 8 * store.bytes();
    assert!(store.bytes() >= 256 << 10, "{} bytes", store.bytes());
    let flips = number("REEVE_FLIPS").unwrap_or(300).min(bits);
    let started = Instant::now();
    let in_records = AtomicU64::new(0);
    on_all_cores(&store, flips, |disk, n| {
        // Spread evenly, but not always on the same bit of a byte.
        let bit = if flips == bits { n } else { (n * bits / flips + n * 5 % 8).min(bits - 1) };
        let (file, offset) = store.place(bit / 8);
        let flip = |disk: &SimDisk| disk.edit(file, |bytes| bytes[offset] ^= 1 << (bit % 8));
        flip(disk);
        let report = report(disk);
        let case = format!("bit {} of byte {offset} of {}", bit % 8, file.display());
        check(&report, file, &case);
        if let Some(record) = store.record_at(file, offset) {
            let named: Vec<RecordRange> = report.faults.iter().flat_map(|fault| fault.records.clone()).collect();
            assert_eq!(named, [record], "{case}: {:#?}", report.faults);
            in_records.fetch_add(1, Relaxed);
        }
        flip(disk);
    });
    let in_records = in_records.into_inner();
    assert!(in_records * 2 > flips, "most of the store is records");
    eprintln!(
        "torture: {flips} of {bits} single-bit flips, all found; {in_records} in the bytes of a record, each of which named that record alone; {:.0} flips/s",
        flips as f64 / started.elapsed().as_secs_f64()
    );
}

#[test]
fn every_spoilt_sector_is_found_and_traced() {
    let store = Store::new();
    let sectors: Vec<(PathBuf, usize)> = store
        .files
        .iter()
        .flat_map(|(path, length)| (0..*length as usize).step_by(SECTOR).map(|at| (path.clone(), at)))
        .collect();
    let stride = if number("REEVE_SECTORS") == Some(1) { 1 } else { 9 };
    let cases = (sectors.len() / stride) as u64 * 3;
    on_all_cores(&store, cases, |disk, n| {
        let (file, at) = &sectors[n as usize / 3 * stride];
        let whole = disk.read(file).unwrap();
        let end = whole.len().min(at + SECTOR);
        let mut spoilt = whole.clone();
        let kind = ["zeroed", "overwritten with the one before", "cut off with all behind it"][n as usize % 3];
        match n % 3 {
            0 => spoilt[*at..end].fill(0),
            1 => (*at..end).for_each(|byte| spoilt[byte] = whole.get(byte.wrapping_sub(SECTOR)).copied().unwrap_or(0xff)),
            _ => spoilt.truncate(*at),
        }
        disk.edit(file, |bytes| *bytes = spoilt);
        check(&report(disk), file, &format!("sector at {at} of {}, {kind}", file.display()));
        disk.edit(file, |bytes| *bytes = whole);
    });
    eprintln!("torture: {cases} spoilt sectors (zeroed, stale, cut off) in a store of {} sectors, all found", sectors.len());
}
