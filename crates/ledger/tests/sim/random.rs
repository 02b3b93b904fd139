//! Numbers and time that a seed decides.
use std::{io, sync::Mutex, time::Duration};

use jiff::{Span, Timestamp};
use reeve_ledger::{Clock, Rng};

/// SplitMix64: small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x5265_6576_655f_7369)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `bound` - 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub fn chance(&mut self, hits: u64, of: u64) -> bool {
        hits > 0 && self.below(of) < hits
    }
}

/// Keys, secrets and ids of a run.
pub struct SimRng(Mutex<Random>);

impl SimRng {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Random::new(seed)))
    }
}

impl Rng for SimRng {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        let mut random = self.0.lock().map_err(|_| io::Error::other("poisoned"))?;
        bytes.iter_mut().for_each(|byte| *byte = random.next() as u8);
        Ok(())
    }
}

/// A clock whose time of day jumps and whose age only grows.
pub struct SimClock(Mutex<(Timestamp, Duration)>);

impl SimClock {
    pub fn new() -> Self {
        Self(Mutex::new((Timestamp::constant(1_767_225_600, 0), Duration::ZERO)))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, (Timestamp, Duration)> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        state.0 = state.0.checked_add(by).unwrap_or(state.0);
        state.1 += by;
    }

    /// The time of day is set wrong, or right again.
    pub fn jump(&self, years: i64) {
        let mut state = self.state();
        let hours = Span::new().hours(years * 8766);
        state.0 = state.0.checked_add(hours).unwrap_or(state.0);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.state().0
    }

    fn elapsed(&self) -> Duration {
        self.state().1
    }
}
