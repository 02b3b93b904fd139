//! A clock that a test sets.
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use reeve_ledger::Clock;

/// Time of day and time since a fixed moment, moved by hand.
#[derive(Clone)]
pub struct TestClock {
    day: Arc<AtomicI64>,
    since: Arc<AtomicI64>,
}

impl TestClock {
    pub fn at(text: &str) -> Self {
        let at: Timestamp = text.parse().expect("a time");
        Self { day: Arc::new(at.as_microsecond().into()), since: Arc::default() }
    }

    /// Time passes.
    pub fn pass(&self, time: Duration) {
        let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        self.since.fetch_add(micros, Ordering::SeqCst);
        self.day.fetch_add(micros, Ordering::SeqCst);
    }

    /// Somebody sets the time of day.
    pub fn set(&self, text: &str) {
        let at: Timestamp = text.parse().expect("a time");
        self.day.store(at.as_microsecond(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.day.load(Ordering::SeqCst)).unwrap_or_default()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.since.load(Ordering::SeqCst).unsigned_abs())
    }
}
