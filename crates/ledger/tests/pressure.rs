//! A really full file system: records give way first, what was taken is sealed, the audit ledger goes on, and all resume when there is room.
//!
//! Mounts a small tmpfs, which takes root; without it the test says that it was skipped. The same on a simulated disk is in `sim/`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use reeve_ledger::{Error, Ledger, NewRecord, Options, Priority, VerifyOptions, verify};
use reeve_record::{RecordId, Transport};

/// A file system of its own, gone with the value.
struct Mount {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Mount {
    fn new(mebibytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("small");
        fs::create_dir(&path).unwrap();
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { _dir: dir, path }),
            Ok(output) => skipped(&String::from_utf8_lossy(&output.stderr)),
            Err(error) => skipped(&error.to_string()),
        }
    }
}

fn skipped(reason: &str) -> Option<Mount> {
    eprintln!("skipped: no tmpfs could be mounted, which takes root: {}", reason.trim());
    None
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.path).status();
    }
}

fn open(dir: &Path, name: &str, priority: Priority) -> Ledger {
    let options = Options {
        reserve: 2 << 20,
        priority,
        segment_bytes: 512 << 10,
        heartbeat: Duration::from_secs(1),
        ..Options::new(format!("reeve.example/{name}"))
    };
    Ledger::open(&dir.join(name), options).unwrap()
}

/// Bytes that do not compress, so that sealing needs the room.
fn record(n: u32) -> NewRecord {
    let mut state = n.wrapping_mul(0x9e37_79b9) | 1;
    let raw: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    })
    .take(8 << 10)
    .collect();
    NewRecord::new("host", Transport::Http, raw)
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come within 30 s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn records_give_way_to_the_audit_and_both_resume() {
    let Some(small) = Mount::new(16) else { return };
    let (record_log, audit) = (open(&small.path, "record", Priority::Record), open(&small.path, "audit", Priority::Audit));
    let mut stored: Vec<RecordId> = Vec::new();
    let refused = (0..10_000).find_map(|n| match record_log.append(vec![record(n)]) {
        Ok(ids) => {
            stored.extend(ids);
            None
        }
        Err(error) => Some(error),
    });
    assert!(matches!(refused, Some(Error::DiskFull { .. })), "{refused:?}");
    assert!(stored.len() > 500, "{} records", stored.len());
    until("pressure", || record_log.status().pressure.is_some());

    // What was taken is sealed with the reserve's room, reads go on, and the audit takes what people do.
    until("sealing", || record_log.seal_now().is_ok());
    assert_eq!(record_log.get(stored[7]).unwrap().unwrap().raw, record(7).raw);
    let acts: Vec<RecordId> = (0..50).map(|n| audit.append(vec![record(n)]).unwrap()[0]).collect();
    assert!(matches!(record_log.append(vec![record(0)]), Err(Error::DiskFull { .. })), "records do not eat the reserve");

    // Somebody fills the last block: now the audit, too, lives on its reserve.
    fill(&small.path.join("ballast"));
    let more: Vec<RecordId> = (0..50).map(|n| audit.append(vec![record(n)]).unwrap()[0]).collect();
    assert!(audit.status().pressure.is_some_and(|text| text.contains("reserve")));

    fs::remove_file(small.path.join("ballast")).unwrap();
    grow(&small.path, 40);
    until("the end of the pressure", || {
        let taken = record_log.append(vec![record(1)]);
        taken.map(|ids| stored.extend(ids)).is_ok()
    });
    until("quiet", || record_log.status().pressure.is_none() && audit.status().pressure.is_none());
    record_log.seal_now().unwrap();
    audit.seal_now().unwrap();
    for id in stored.iter() {
        assert!(record_log.get(*id).unwrap().is_some(), "{id}");
    }
    assert!(acts.iter().chain(&more).all(|id| audit.get(*id).unwrap().is_some()));
    for (name, ledger) in [("record", record_log), ("audit", audit)] {
        drop(ledger);
        let report = verify(&small.path.join(name), &VerifyOptions::default(), &mut |_| {}).unwrap();
        assert!(report.is_intact(), "{name}: {:#?}", report.faults);
        assert_eq!(fs::metadata(small.path.join(name).join("reserve")).unwrap().len(), 2 << 20);
    }
    eprintln!(
        "torture: a full tmpfs: {} records taken, then refused; the audit took {} more",
        stored.len(),
        acts.len() + more.len()
    );
}

fn fill(path: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(path).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
}

fn grow(path: &Path, mebibytes: u32) {
    let size = format!("remount,size={mebibytes}m");
    assert!(Command::new("mount").args(["-o", &size]).arg(path).status().unwrap().success());
}
