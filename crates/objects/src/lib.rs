//! Files on object storage: stored once under a name, never overwritten, and read back only as what they were.
//!
//! Format of names: docs/spec/lake.md, *Object storage*. Invariant: no request of this crate can replace an object. It knows nothing of what
//! is in a file.
mod error;
mod s3; // Amazon's S3 protocol
mod settings; // where, and as whom

use std::path::Path;

pub use error::Error;
pub use s3::S3;
pub use settings::{Credentials, Settings};

/// What a file is, apart from its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256.
    pub sha256: [u8; 32],
}

/// Where objects are kept.
pub trait Objects: Send + Sync {
    /// Stores a file, whose content is this, under a name that nothing has. Durable on return. If the name already has exactly this content,
    /// as after a request that was carried out and reported as failed, that is success.
    ///
    /// # Errors
    /// [`Error::Taken`] if the name has other content. After any other error the object may be there or not; storing it again tells.
    fn put(&self, name: &str, file: &Path, content: &Content) -> Result<(), Error>;

    /// Stores a few bytes as [`Objects::put`] stores a file.
    ///
    /// # Errors
    /// As [`Objects::put`].
    fn put_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), Error>;

    /// Writes an object to a new file, durably, once it is known to be this content; `None`: of this many bytes is all that is known.
    ///
    /// # Errors
    /// [`Error::Missing`], or [`Error::Damaged`] if it is something else. No file is there then.
    fn get(&self, name: &str, file: &Path, bytes: u64, sha256: Option<&[u8; 32]>) -> Result<(), Error>;

    /// A small object, at most 64 MiB.
    ///
    /// # Errors
    /// [`Error::Missing`], or the store cannot be asked.
    fn get_bytes(&self, name: &str) -> Result<Vec<u8>, Error>;

    /// Size of an object in bytes; `None` if there is none of this name.
    ///
    /// # Errors
    /// The store cannot be asked.
    fn size(&self, name: &str) -> Result<Option<u64>, Error>;

    /// Removes an object; one that is not there is fine.
    ///
    /// # Errors
    /// It may be there or not.
    fn remove(&self, name: &str) -> Result<(), Error>;

    /// Names that begin so, in order of bytes.
    ///
    /// # Errors
    /// The store cannot be asked.
    fn list(&self, prefix: &str) -> Result<Vec<String>, Error>;

    /// Which store this is, the same for as long as its objects are, as in `s3 bucket/prefix`.
    fn place(&self) -> String;
}
