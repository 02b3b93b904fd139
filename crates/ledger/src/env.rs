//! The seams to time and chance. With [`Disk`](crate::Disk) and [`Net`](crate::Net) they are all that the ledger knows of its machine and the world, so that a
//! simulator can hold all four and replay a run from its seed.
use std::{
    io,
    path::Path,
    sync::LazyLock,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::Error;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The time of day. It may be wrong, jump and go back: it is noted, and nothing is ordered or aged by it.
    fn now(&self) -> Timestamp;
    /// Time since a fixed moment; never goes back. Ages and pauses are measured by it.
    fn elapsed(&self) -> Duration;
}

/// Gives random bytes: keys, salt secrets, file ids.
pub trait Rng: Send + Sync + 'static {
    /// Fills `bytes` with bytes nobody can guess.
    ///
    /// # Errors
    /// The operating system has none to give; `bytes` must not be used then.
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()>;
}

/// The operating system's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn elapsed(&self) -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    }
}

/// The operating system's random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
    }
}

/// Fills `bytes` for a key or an id.
pub(crate) fn random(rng: &dyn Rng, bytes: &mut [u8]) -> Result<(), Error> {
    rng.fill(bytes).map_err(|error| Error::io("read random bytes for", Path::new("a key"), error))
}
