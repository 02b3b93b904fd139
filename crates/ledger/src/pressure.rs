//! What happens when the disk fills: bytes that were set aside are given back, the ledger that must go on goes on, the others refuse records
//! and seal what they took. When there is room again, the bytes are set aside anew and everything goes on by itself.
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use crate::{Error, disk::Disk, env::Clock};

/// Who gives way first when the disk is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Priority {
    /// Refuses records as soon as the disk is full; the reserve serves to seal those it took.
    #[default]
    Record,
    /// Takes records to the last byte of the reserve: for the acts of people, which must not go unrecorded.
    Audit,
}

/// Bytes set aside in the file `reserve` of the ledger's folder.
pub(crate) struct Reserve {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    bytes: u64,
    priority: Priority,
    state: Mutex<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The bytes lie aside, or there are none to lay aside and the disk has room.
    Held,
    /// The disk was full. When it was last looked whether it still is, by [`Clock::elapsed`].
    GivenBack(Duration),
}

impl Reserve {
    /// Sets `bytes` aside in `dir`, if they are not. A disk that is too full for that is under pressure from the start.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        bytes: u64,
        priority: Priority,
    ) -> Result<Self, Error> {
        let state = Mutex::new(State::Held);
        let reserve = Self { disk, clock, dir: dir.into(), bytes, priority, state };
        let have = match reserve.disk.open(&reserve.path()) {
            Ok(file) => file.length().map_err(|error| Error::io("read", &reserve.path(), error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(Error::io("open", &reserve.path(), error)),
        };
        // Who opens without a reserve, as a command beside the server's configuration does, leaves one that is there as it is.
        if have == bytes || bytes == 0 {
            return Ok(reserve);
        }
        match reserve.set_aside(bytes) {
            Err(Error::DiskFull { .. }) => *reserve.state.lock() = State::GivenBack(reserve.clock.elapsed()),
            set => set?,
        }
        Ok(reserve)
    }

    /// The disk is full: gives the bytes back to it. True if there were any, so that it is worth trying again at once.
    pub(crate) fn give_back(&self) -> bool {
        let mut state = self.state.lock();
        if *state != State::Held {
            return false;
        }
        *state = State::GivenBack(self.clock.elapsed());
        if self.bytes == 0 {
            return false;
        }
        tracing::error!(bytes = self.bytes, "the disk is full: the reserve is in use");
        let given = self.disk.remove(&self.path()).and_then(|()| self.disk.sync_dir(&self.dir));
        given.is_ok()
    }

    /// Whether records of this ledger may be written to a full disk.
    pub(crate) fn serves_records(&self) -> bool {
        self.priority == Priority::Audit
    }

    /// Why records are refused, or appending goes on only from the reserve.
    pub(crate) fn pressure(&self) -> Option<String> {
        (*self.state.lock() != State::Held).then(|| match (self.priority, self.bytes) {
            (_, 0) => "the disk is full: records are refused until there is room".into(),
            (Priority::Record, bytes) => format!(
                "the disk is full: records are refused, and what was taken is sealed from the reserve of {bytes} bytes; \
                 they are taken again once twice that is free"
            ),
            (Priority::Audit, bytes) => {
                format!("the disk is full: records go into the reserve of {bytes} bytes; free some space")
            }
        })
    }

    /// Refuses records while the disk is full, unless this ledger's go on. Looks from time to time whether it still is.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.refill();
        let refuses = self.bytes > 0 && !self.serves_records() && *self.state.lock() != State::Held;
        if refuses { Err(Error::DiskFull { path: self.dir.clone() }) } else { Ok(()) }
    }

    /// Sets the bytes aside again if there is room for twice as many: then the pressure is over.
    pub(crate) fn refill(&self) {
        let mut state = self.state.lock();
        let State::GivenBack(last) = *state else { return };
        let now = self.clock.elapsed();
        if now.saturating_sub(last) < PAUSE {
            return;
        }
        *state = State::GivenBack(now);
        // Without a reserve it is only a look whether there is some room.
        let wanted = if self.bytes == 0 { PROBE } else { 2 * self.bytes };
        if self.set_aside(wanted).and_then(|()| self.shrink()).is_ok() {
            tracing::info!("the disk has room again");
            *state = State::Held;
        }
    }

    /// Makes the file with room for `bytes`, really taken from the file system; nothing is left of it on an error.
    fn set_aside(&self, bytes: u64) -> Result<(), Error> {
        let path = self.path();
        let made = self.disk.create(&path, true).and_then(|file| {
            file.allocate(bytes)?;
            file.sync()?;
            self.disk.sync_dir(&self.dir)
        });
        made.map_err(|error| {
            let _ = self.disk.remove(&path);
            Error::io("set space aside in", &path, error)
        })
    }

    fn shrink(&self) -> Result<(), Error> {
        let path = self.path();
        let shrunk = if self.bytes == 0 {
            self.disk.remove(&path)
        } else {
            self.disk.open(&path).and_then(|file| {
                file.truncate(self.bytes)?;
                file.sync()
            })
        };
        shrunk.map_err(|error| Error::io("set space aside in", &path, error))
    }

    fn path(&self) -> PathBuf {
        self.dir.join("reserve")
    }
}

/// Between two looks whether there is room again.
const PAUSE: Duration = Duration::from_secs(1);
/// Room looked for where nothing is set aside, in bytes.
const PROBE: u64 = 1 << 20;
