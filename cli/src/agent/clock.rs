//! The time of this host, and how far Redis's is from it.

use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

/// Clocks that differ by more are worth a line: records would expire too early or too late.
const TOLERABLE: Duration = Duration::from_secs(2);

/// Milliseconds since 1970 by the clock of this host.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Redis's clock, as last measured.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// Redis's time less ours, in milliseconds.
    skew: AtomicI64,
}

impl Clock {
    /// Takes a measurement: the question left at `asked`, the answer took `roundtrip`.
    pub(crate) fn measured(&self, asked: u64, roundtrip: Duration, answer: u64) {
        let half = u64::try_from(roundtrip.as_millis() / 2).unwrap_or(0);
        let skew = i128::from(answer) - i128::from(asked) - i128::from(half);
        let skew = i64::try_from(skew).unwrap_or(i64::MAX);
        let was_tolerable = self.is_tolerable();
        self.skew.store(skew, Relaxed);
        match (was_tolerable, self.is_tolerable()) {
            (true, false) => tracing::warn!(
                "the clocks of this host and of Redis differ by {:.1} s: sessions expire early or \
                 late; set them right",
                self.skew_seconds()
            ),
            (false, true) => tracing::info!("the clocks of this host and of Redis agree again"),
            _ => {}
        }
    }

    /// Redis's time less ours, in seconds.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of centuries are exact")]
    pub(crate) fn skew_seconds(&self) -> f64 {
        self.skew.load(Relaxed) as f64 / 1000.0
    }

    /// Milliseconds since 1970 by Redis's clock.
    pub(crate) fn of_redis(&self) -> u64 {
        now().saturating_add_signed(self.skew.load(Relaxed))
    }

    fn is_tolerable(&self) -> bool {
        Duration::from_millis(self.skew.load(Relaxed).unsigned_abs()) <= TOLERABLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_roundtrip_is_taken_off() {
        let clock = Clock::default();
        clock.measured(1_000_000, Duration::from_millis(40), 1_000_020);
        assert!(clock.skew_seconds().abs() < 1e-9);
        clock.measured(1_000_000, Duration::from_millis(40), 995_020);
        assert!((clock.skew_seconds() + 5.0).abs() < 1e-9);
        assert!(!clock.is_tolerable());
        assert!(clock.of_redis() < now() - 4000);
    }
}
