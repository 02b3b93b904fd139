//! The write-ahead log: a file with bytes altered, cut or added never panics, never gives an altered record, and ends in bounds.
#![no_main]
use std::{
    io,
    path::Path,
    sync::{Arc, OnceLock},
};

use libfuzzer_sys::fuzz_target;
use reeve_ledger::{
    DiskFile, Ledger, NewRecord, Options,
    wal::{HEADER_LENGTH, Header, Scan, scan},
};
use reeve_record::Transport;

/// A WAL file of six groups, made by the ledger itself, and what its scan gives.
fn sound() -> &'static (Vec<u8>, Scan) {
    static FILE: OnceLock<(Vec<u8>, Scan)> = OnceLock::new();
    FILE.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("reeve-fuzz-{}", std::process::id()));
        let ledger = Ledger::open(&dir, Options::new("reeve.example/fuzz")).expect("a ledger in the temporary folder");
        for n in 0..6 {
            let batch = (0..n).map(|k| NewRecord::new("a", Transport::Http, format!("group {n} record {k}"))).collect();
            ledger.append(batch).expect("space for a few records");
        }
        drop(ledger);
        let bytes = std::fs::read(Path::new(&dir).join("wal/00000000.wal")).expect("the file just written");
        let _ = std::fs::remove_dir_all(&dir);
        let header = Header::decode(&bytes).expect("a sound head");
        let found = scan(&Memory(bytes.clone()), &header, None).expect("memory does not fail");
        (bytes, found)
    })
}

struct Memory(Vec<u8>);

impl DiskFile for Memory {
    fn append(&self, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = self.0.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

fuzz_target!(|edits: (Vec<(u16, u8)>, u16, Vec<u8>, Option<u16>)| {
    let (edits, keep, added, complete) = edits;
    let (sealed, found) = sound();
    let mut bytes = sealed.clone();
    for (at, mask) in edits.iter().take(64) {
        let at = HEADER_LENGTH + *at as usize % (bytes.len() - HEADER_LENGTH);
        bytes[at] ^= mask;
    }
    bytes.truncate(bytes.len().saturating_sub(keep as usize % 2048));
    bytes.extend_from_slice(&added);
    let header = Header::decode(sealed).expect("a sound head");
    let length = bytes.len() as u64;
    let file: Arc<dyn DiskFile> = Arc::new(Memory(bytes));
    let scan = scan(&*file, &header, complete.map(u32::from)).expect("memory does not fail");
    assert!(scan.end <= length.max(HEADER_LENGTH as u64));
    for (index, place) in scan.places.iter().enumerate().filter(|(_, place)| place.length > 0) {
        // Whatever passes is at its own place and has its own bytes.
        assert_eq!(Some(place), found.places.get(index));
    }
});
