//! Where bytes come from.
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
};

/// A ledger's files, by name with `/` between folders, relative to the ledger.
pub trait Files {
    /// Names in a folder, in any order; of a folder that is not there, none.
    ///
    /// # Errors
    /// The folder is there and cannot be listed.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Length in bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it is not there, [`io::ErrorKind::IsADirectory`] for a folder.
    fn length(&self, name: &str) -> io::Result<u64>;

    /// Fills `buffer` from `offset` as far as the file goes; returns how much that is.
    ///
    /// # Errors
    /// As `length`.
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// A whole file, unless it is longer than `limit`.
pub(crate) fn read_all(files: &dyn Files, name: &str, limit: u64) -> io::Result<Vec<u8>> {
    let length = files.length(name)?;
    if length > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{length} bytes where at most {limit} belong")));
    }
    read_part(files, name, 0, length)
}

/// Bytes of a file; fewer where it ends before. The caller has bounded `length` by that of the file.
pub(crate) fn read_part(files: &dyn Files, name: &str, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    let mut bytes = vec![0; length];
    let read = files.read_at(name, offset, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// A folder of this machine. Nothing in it is written.
pub struct Folder(PathBuf);

impl Folder {
    /// The ledger in `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

impl Files for Folder {
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match self.0.join(folder).read_dir() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn length(&self, name: &str) -> io::Result<u64> {
        let metadata = self.0.join(name).metadata()?;
        if metadata.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(metadata.len()) }
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut file = File::open(self.0.join(name))?;
        file.seek(SeekFrom::Start(offset))?;
        let mut read = 0;
        while read < buffer.len() {
            match file.read(&mut buffer[read..]) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }
}
