//! Somebody reads the whole medium after content was taken out: a real ext4 file system on a loop device, unmounted and searched byte for byte.
//!
//! Takes root and `mkfs.ext4`; without them the test says that it was skipped.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use reeve_ledger::{DisposalAuthority, Ledger, NewRecord, Options, VerifyOptions, verify};
use reeve_record::{RecordId, Transport};

/// A small file system in a file.
struct Ext4 {
    image: PathBuf,
    mount: PathBuf,
}

impl Ext4 {
    fn new(dir: &Path) -> Result<Self, String> {
        let disk = Self { image: dir.join("image"), mount: dir.join("mount") };
        std::fs::create_dir(&disk.mount).unwrap();
        File::create(&disk.image).unwrap().set_len(96 << 20).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk.image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&disk.image).arg(&disk.mount))?;
        Ok(disk)
    }

    /// Unmounts, and counts in how many places of the image each needle begins.
    fn carve(&self, needles: &[[u8; 16]]) -> Vec<usize> {
        run(Command::new("umount").arg(&self.mount)).unwrap();
        let mut bytes = Vec::new();
        File::open(&self.image).unwrap().read_to_end(&mut bytes).unwrap();
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mount)).unwrap();
        let count = |needle: &[u8; 16]| {
            let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == needle[0]);
            starts.filter(|(at, _)| bytes[*at..].starts_with(needle)).count()
        };
        needles.iter().map(count).collect()
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.mount).status();
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())) }
}

/// Bytes that no compression hides.
fn needle(n: u32) -> [u8; 16] {
    let mut state = u64::from(n) + 77;
    std::array::from_fn(|_| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 56) as u8
    })
}

fn open(dir: &Path) -> Ledger {
    Ledger::open(dir, Options::new("reeve.example/record")).unwrap()
}

#[test]
fn nothing_that_was_taken_out_is_left_on_the_medium() {
    let scratch = tempfile::tempdir().unwrap();
    let disk = match Ext4::new(scratch.path()) {
        Ok(disk) => disk,
        Err(reason) => return eprintln!("skipped: carving takes root and ext4 on a loop device: {reason}"),
    };
    let dir = disk.mount.join("data/ledger");
    let needles: Vec<[u8; 16]> = (0..60).map(needle).collect();
    let ledger = open(&dir);
    for segment in needles.chunks(20) {
        for part in segment.chunks(5) {
            let record = |needle: &[u8; 16]| NewRecord::new("a", Transport::File, [&b"secret "[..], needle].concat());
            ledger.append(part.iter().map(record).collect()).unwrap();
        }
        ledger.seal_now().unwrap();
    }
    drop(ledger);
    let before = disk.carve(&needles);
    assert!(before.iter().all(|count| *count == 1), "in its segment, and no more in a write-ahead file: {before:?}");
    let ledger = open(&dir);
    let authority = DisposalAuthority::new("ana", "ben", "yearly run", "GRS 3.2 item 030", "none").unwrap();
    let id = |segment, index| RecordId { segment, index };
    ledger.redact(&[id(0, 3), id(0, 19)], &authority, &|_| None).unwrap();
    ledger.redact(&[id(0, 4)], &authority, &|_| None).unwrap();
    ledger.destroy(1, &authority, &|_| None).unwrap();
    drop(ledger);
    let after = disk.carve(&needles);
    for (n, count) in after.iter().enumerate() {
        let gone = [3, 4, 19].contains(&n) || (20..40).contains(&n);
        assert_eq!(*count, usize::from(!gone), "record {n}");
    }
    let report = verify(&dir, &VerifyOptions::default(), &mut |_| {}).unwrap();
    assert!(report.is_intact(), "{:#?}", report.faults);
    eprintln!("carving: 23 of 60 records taken out, 0 found on 96 MiB of ext4; 37 kept, all found once");
}
