//! How slowly something may come in that holds room others wait for.
use std::time::Duration;

use tokio::time::Instant;

/// The pace at which one body or message has to arrive. A client that sends a byte now and then is never silent, and would hold its room
/// for as long as it likes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    begun: Instant,
    patience: Duration,
    /// Bytes that were there when it began.
    from: usize,
}

impl Pace {
    /// Begins now, with so many bytes here. For as long as `patience` it does not matter how little comes.
    pub(crate) fn begin(patience: Duration, from: usize) -> Self {
        Self { begun: Instant::now(), patience, from }
    }

    /// By when more has to be here than these bytes.
    pub(crate) fn until(&self, bytes: usize) -> Instant {
        let seconds = bytes.saturating_sub(self.from) as u64 / BYTES_PER_SECOND_MIN;
        self.begun + self.patience + Duration::from_secs(seconds)
    }
}

/// A slow line brings more than this.
const BYTES_PER_SECOND_MIN: u64 = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_bytes_give_more_time() {
        let pace = Pace::begin(Duration::from_secs(10), 1000);
        assert_eq!(pace.until(0) - pace.begun, Duration::from_secs(10));
        assert_eq!(pace.until(1000 + (1 << 20)) - pace.begun, Duration::from_secs(42));
    }
}
