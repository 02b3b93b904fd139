//! A process that appends and seals is killed (SIGKILL), or its file system is shut down under it as a power cut would, again and again; what it was
//! told is stored must be there, and everything must verify.
//!
//! `REEVE_KILL_CYCLES` and `REEVE_POWER_CYCLES` set how often; the defaults keep the tests short. Power cuts take root, ext4 or XFS on a loop
//! device and Python for one ioctl; without them the test says that it was skipped.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reeve_ledger::{Error, Ledger, NewRecord, Options, VerifyOptions, verify};
use reeve_record::{RecordId, Transport};

const FOLDER: &str = "REEVE_KILL_FOLDER";

fn open(dir: &Path) -> Ledger {
    // Small segments, so that kills meet sealing as often as appending.
    let epoch = Some(Duration::from_secs(1));
    let begun = Instant::now();
    loop {
        // A process that another test starts has a copy of the lock from its fork to its exec.
        match Ledger::open(dir, Options { segment_records: 300, epoch, ..Options::new("reeve.example/record") }) {
            Err(Error::Locked { .. }) if begun.elapsed() < Duration::from_secs(5) => std::thread::sleep(Duration::from_millis(5)),
            opened => return opened.unwrap(),
        }
    }
}

fn raw(cycle: u64, thread: u64, n: u64) -> String {
    format!("cycle {cycle} thread {thread} record {n} {}", "y".repeat((n * 37 % 500) as usize))
}

#[test]
#[ignore = "the process that `nothing_acknowledged_is_lost_to_sigkill` starts and kills"]
fn appends_until_killed() {
    let (dir, cycle) = std::env::var(FOLDER)
        .ok()
        .and_then(|text| text.split_once('#').map(|(a, b)| (a.to_owned(), b.parse::<u64>().unwrap())))
        .unwrap();
    let ledger = Arc::new(open(Path::new(&dir)));
    let threads: Vec<_> = (0..3u64)
        .map(|thread| {
            let ledger = ledger.clone();
            std::thread::spawn(move || {
                let mut n = 0;
                loop {
                    let count = 1 + n % 17;
                    let batch = (n..n + count)
                        .map(|n| NewRecord::new(format!("t{thread}"), Transport::Http, raw(cycle, thread, n)))
                        .collect();
                    let ids = ledger.append(batch).unwrap();
                    let lines: String = ids.iter().zip(n..).map(|(id, n)| format!("{id} {cycle} {thread} {n}\n")).collect();
                    // Into the pipe before the next batch: the parent knows what we were told, however we end.
                    std::io::stdout().lock().write_all(lines.as_bytes()).unwrap();
                    n += count;
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn nothing_acknowledged_is_lost_to_sigkill() {
    let cycles: u64 = std::env::var("REEVE_KILL_CYCLES").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let dir = tempfile::tempdir().unwrap();
    let mut stored: BTreeMap<RecordId, String> = BTreeMap::new();
    for cycle in 0..cycles {
        stored.extend(run_and_end(dir.path(), cycle, |_| ()).told());
    }
    check(dir.path(), &stored, &format!("{cycles} kills"));
}

/// All that was acknowledged is there, and everything verifies.
fn check(dir: &Path, stored: &BTreeMap<RecordId, String>, what: &str) {
    assert!(!stored.is_empty());
    let ledger = open(dir);
    assert_eq!(ledger.status().recovery.lost, 0);
    ledger.seal_now().unwrap();
    let ids: Vec<RecordId> = stored.keys().copied().collect();
    for part in ids.chunks(1000) {
        for (id, have) in part.iter().zip(ledger.get_many(part).unwrap()) {
            let have = have.unwrap_or_else(|| panic!("{id} was acknowledged and is gone"));
            assert_eq!(have.raw, stored[id].as_bytes(), "{id}");
        }
    }
    drop(ledger);
    let report = verify(dir, &VerifyOptions::default(), &mut |_| {}).unwrap();
    assert!(report.is_intact(), "{:#?}", report.faults);
    assert!(report.records >= stored.len() as u64 && report.lost_records == 0);
    eprintln!("torture: {what}, {} records acknowledged, all there; {} segments verify", stored.len(), report.segments);
}

/// A small file system in a file, whose journal and page cache can be made to vanish.
struct Image {
    image: PathBuf,
    mount: PathBuf,
}

impl Image {
    /// `make` is the program that makes the file system, with its options.
    fn new(dir: &Path, make: &[&str]) -> Result<Self, String> {
        let (image, mount) = (dir.join("image"), dir.join("mount"));
        std::fs::create_dir(&mount).unwrap();
        // XFS takes no less.
        std::fs::File::create(&image).unwrap().set_len(320 << 20).unwrap();
        run(Command::new(make[0]).args(&make[1..]).arg(&image))?;
        let disk = Self { image, mount };
        disk.mount()?;
        disk.cut()?(&mut || ())?;
        disk.remount();
        Ok(disk)
    }

    fn mount(&self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mount))
    }

    /// Makes ready to shut the file system down without writing its journal out, so that all that was not synced is gone; the function does it, and
    /// calls `ending` at the last moment before.
    #[allow(clippy::type_complexity, reason = "a closure's type has no name that could be given")]
    fn cut(&self) -> Result<impl FnMut(&mut dyn FnMut()) -> Result<(), String> + use<>, String> {
        // EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN, both _IOR('X', 125, u32), without flushing the log.
        let script = "import fcntl, os, struct, sys\n\
                      mount = os.open(sys.argv[1], os.O_RDONLY)\n\
                      print(flush=True)\n\
                      sys.stdin.readline()\n\
                      fcntl.ioctl(mount, 0x8004587d, struct.pack('I', 2))";
        let mut python = Command::new("python3")
            .args(["-c", script])
            .arg(&self.mount)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("python3: {error}"))?;
        BufReader::new(python.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
        Ok(move |ending: &mut dyn FnMut()| {
            ending();
            python.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
            let status = python.wait().unwrap();
            if status.success() { Ok(()) } else { Err(format!("the shutdown call: {status}")) }
        })
    }

    /// As after the power is back: the journal is replayed.
    fn remount(&self) {
        run(Command::new("umount").arg(&self.mount)).unwrap();
        self.mount().unwrap();
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.mount).status();
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())) }
}

#[test]
fn nothing_acknowledged_is_lost_to_a_power_cut() {
    cut_power("ext4", &["mkfs.ext4", "-q", "-F"]);
}

#[test]
fn nothing_acknowledged_is_lost_to_a_power_cut_on_xfs() {
    cut_power("XFS", &["mkfs.xfs", "-q", "-f"]);
}

fn cut_power(name: &str, make: &[&str]) {
    let cycles: u64 = std::env::var("REEVE_POWER_CYCLES").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    let scratch = tempfile::tempdir().unwrap();
    let disk = match Image::new(scratch.path(), make) {
        Ok(disk) => disk,
        Err(reason) => return eprintln!("torture: skipped: power cuts take root and {name} on a loop device: {reason}"),
    };
    let dir = disk.mount.join("data/ledger");
    let mut stored: BTreeMap<RecordId, String> = BTreeMap::new();
    let (mut told_since, mut unheard) = (0, 0);
    for cycle in 0..cycles {
        let mut cut = disk.cut().unwrap();
        let life = run_and_end(&dir, cycle, |ending| cut(ending).unwrap());
        disk.remount();
        // Segments of earlier cycles are looked at in the end; those of this one now, before anything could mend them.
        let ledger = open(&dir);
        assert_eq!(ledger.status().recovery.lost, 0, "cycle {cycle}: {:?}", ledger.status().recovery);
        // The file system may answer the one sync that is in flight while it is shut down with success and throw its transaction away all the same. After a
        // power cut nobody would hear that answer, so it alone may be gone: the end of what was told, and told since.
        let mut since: Vec<RecordId> = life.since.iter().map(|(id, _)| *id).collect();
        since.sort_unstable();
        let kept: Vec<bool> = ledger.get_many(&since).unwrap().iter().map(Option::is_some).collect();
        let gone = kept.iter().filter(|kept| !**kept).count();
        assert!(
            kept.iter().rev().take(gone).all(|kept| !kept),
            "cycle {cycle}: not only the last group is gone: {since:?} {kept:?}"
        );
        (told_since, unheard) = (told_since + since.len(), unheard + gone);
        stored.extend(life.before);
    }
    let what = format!("{cycles} power cuts on {name} ({unheard} of {told_since} records answered during a cut are gone)");
    check(&dir, &stored, &what);
}

/// What one life of the process was told is stored.
struct Life {
    /// Told before its end began.
    before: Vec<(RecordId, String)>,
    /// Told since.
    since: Vec<(RecordId, String)>,
}

impl Life {
    fn told(self) -> impl Iterator<Item = (RecordId, String)> {
        self.before.into_iter().chain(self.since)
    }
}

/// One life of the process. `end` comes before it is killed and says when it begins.
fn run_and_end(dir: &Path, cycle: u64, end: impl FnOnce(&mut dyn FnMut())) -> Life {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "appends_until_killed", "--ignored", "--nocapture"])
        .env(FOLDER, format!("{}#{cycle}", dir.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pipe = child.stdout.take().unwrap();
    let (first, started) = std::sync::mpsc::channel();
    let ending = Arc::new(AtomicBool::new(false));
    let ended = ending.clone();
    let reader = std::thread::spawn(move || {
        let mut life = Life { before: Vec::new(), since: Vec::new() };
        for line in BufReader::new(pipe).split(b'\n') {
            let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
            let fields: Vec<&str> = line.split(' ').collect();
            let [id, cycle, thread, n] = fields[..] else { continue };
            let (Ok(id), Ok(cycle), Ok(thread), Ok(n)) = (id.parse::<RecordId>(), cycle.parse(), thread.parse(), n.parse())
            else {
                continue;
            };
            let _ = first.send(());
            // Read after the line: what was there before the end began counts as told before it.
            let told = if ended.load(Ordering::SeqCst) { &mut life.since } else { &mut life.before };
            told.push((id, raw(cycle, thread, n)));
        }
        life
    });
    started.recv_timeout(Duration::from_secs(60)).expect("the process stores something within a minute");
    std::thread::sleep(Duration::from_millis(20 + cycle * 7919 % 190));
    end(&mut || ending.store(true, Ordering::SeqCst));
    child.kill().unwrap();
    child.wait().unwrap();
    let mut life = reader.join().unwrap();
    // The last line may have been cut in the pipe; a cut number would name another record.
    life.since.pop().or_else(|| life.before.pop());
    life
}
