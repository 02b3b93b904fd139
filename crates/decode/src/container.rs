use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::rc::Rc;

use crate::read::Limits;

/// What a stream's first bytes say it is packed in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Packing {
    None,
    Gzip,
    Zstd,
    Zip,
    Tar,
    /// A packing that is known but not read, by name.
    Unread(&'static str),
}

/// How many first bytes [`Packing::told_by`] wants to see.
pub(crate) const HEAD: usize = 512;

impl Packing {
    pub(crate) fn told_by(head: &[u8]) -> Self {
        match head {
            [0x1F, 0x8B, 8, ..] => Self::Gzip,
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Self::Zstd,
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Self::Zip,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => Self::Unread("bzip2"),
            [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => Self::Unread("xz"),
            [b'7', b'z', 0xBC, 0xAF, ..] => Self::Unread("7z"),
            _ if head.get(257..262) == Some(b"ustar") => Self::Tar,
            _ => Self::None,
        }
    }
}

/// A name inside an archive that would leave the folder it is unpacked into.
pub(crate) fn leaves_folder(name: &str) -> bool {
    name.starts_with(['/', '\\']) || name.get(1..2) == Some(":") || name.split(['/', '\\']).any(|part| part == "..")
}

/// Where a zip archive's bytes lie; its directory is at the end, so it must be possible to go there.
pub(crate) enum ZipInput {
    File(BufReader<File>),
    Memory(Cursor<Vec<u8>>),
}

impl Read for ZipInput {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(out),
            Self::Memory(bytes) => bytes.read(out),
        }
    }
}

impl Seek for ZipInput {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        match self {
            Self::File(file) => file.seek(to),
            Self::Memory(bytes) => bytes.seek(to),
        }
    }
}

/// Counts what is read through it.
pub(crate) struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R> Counted<R> {
    pub(crate) fn new(inner: R) -> (Self, Rc<Cell<u64>>) {
        let count = Rc::new(Cell::new(0));
        (Self { inner, count: Rc::clone(&count) }, count)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(out)?;
        self.count.set(self.count.get() + len as u64);
        Ok(len)
    }
}

/// Stops an unpacked stream that grows out of all proportion.
pub(crate) struct Guard<R> {
    inner: R,
    packed: Rc<Cell<u64>>,
    unpacked: u64,
    ratio_max: u64,
    free: u64,
    bytes_max: u64,
}

impl<R> Guard<R> {
    pub(crate) fn new(inner: R, packed: Rc<Cell<u64>>, limits: &Limits) -> Self {
        let (ratio_max, free, bytes_max) = (limits.expand_ratio_max, limits.expand_free_bytes, limits.expand_bytes_max);
        Self { inner, packed, unpacked: 0, ratio_max, free, bytes_max }
    }
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(out)?;
        self.unpacked += len as u64;
        let packed = self.packed.get().max(1);
        if self.unpacked > self.bytes_max || (self.unpacked > self.free && self.unpacked / packed > self.ratio_max) {
            return Err(io::Error::other(Bomb { packed, unpacked: self.unpacked }));
        }
        Ok(len)
    }
}

/// The error of a [`Guard`] that stopped.
#[derive(Debug, thiserror::Error)]
#[error("{packed} packed bytes gave more than {unpacked}; the rest was not unpacked")]
pub(crate) struct Bomb {
    packed: u64,
    unpacked: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder() {
        for name in ["../x", "a/../../x", "/etc/passwd", "C:\\x", "a\\..\\b"] {
            assert!(leaves_folder(name), "{name}");
        }
        for name in ["a/b", "a..b/c", "...", "é:x"] {
            assert!(!leaves_folder(name), "{name}");
        }
    }
}
