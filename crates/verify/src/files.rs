//! Where bytes come from.
use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

/// A ledger's files, by name with `/` between folders, relative to the ledger.
pub trait Files {
    /// Names in a folder, in any order; of a folder that is not there, none.
    ///
    /// # Errors
    /// The folder is there and cannot be listed.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// The first `most` bytes of a file, or all it has. `most` may be any number at all, also one that a damaged file claims: no more memory is to be
    /// taken than the file has bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it is not there, [`io::ErrorKind::IsADirectory`] for a folder.
    fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>>;
}

/// A whole file, unless it is longer than `limit`.
pub(crate) fn read_all(files: &dyn Files, name: &str, limit: u64) -> io::Result<Vec<u8>> {
    let bytes = files.read(name, limit.saturating_add(1))?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {limit} bytes")));
    }
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

    fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // Grows with what comes, so that a false length costs nothing.
        File::open(self.0.join(name))?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
