//! The time of this host, and that of Redis, which decides what leaves the streams.
//!
//! Redis's goes on from its last measurement by the clock that nobody sets: a host whose time jumps
//! must not have everything leave the streams until it is measured again.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::time::{Duration, Instant, SystemTime};

/// Clocks that differ by more are worth a line: records would expire too early or too late.
const TOLERABLE: u64 = 2000;
/// They agree again if they differ by less. In milliseconds.
const GOOD: u64 = 1000;

/// Milliseconds since 1970 by the clock of this host.
pub(crate) fn host_time() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Redis's clock, as last measured.
#[derive(Debug)]
pub(crate) struct RedisClock {
    start: Instant,
    /// Redis's time less ours, in milliseconds.
    skew: AtomicI64,
    /// Redis's time at `start`, in milliseconds since 1970; 0 before it was measured.
    at_start: AtomicU64,
    /// It was said that they differ.
    is_logged: AtomicBool,
}

impl Default for RedisClock {
    fn default() -> Self {
        RedisClock {
            start: Instant::now(),
            skew: AtomicI64::new(0),
            at_start: AtomicU64::new(0),
            is_logged: AtomicBool::new(false),
        }
    }
}

impl RedisClock {
    /// Takes a measurement: the question left at `asked`, the answer took `roundtrip`.
    pub(crate) fn set(&self, asked: u64, roundtrip: Duration, answer: u64) {
        let half = u64::try_from(roundtrip.as_millis() / 2).unwrap_or(0);
        let skew = i128::from(answer) - i128::from(asked) - i128::from(half);
        let skew = i64::try_from(skew).unwrap_or(i64::MAX);
        self.skew.store(skew, Relaxed);
        // The answer was on its way for half of it, and is here now.
        self.at_start.store(answer.saturating_add(half).saturating_sub(self.runs()), Relaxed);
        self.log_skew(skew, half);
    }

    /// One line when it is certain, however long the answer took, that the clocks differ, and one
    /// when they agree again.
    fn log_skew(&self, skew: i64, uncertain: u64) {
        let differ = skew.unsigned_abs();
        let is_logged = self.is_logged.load(Relaxed);
        if !is_logged && differ.saturating_sub(uncertain) > TOLERABLE {
            self.is_logged.store(true, Relaxed);
            tracing::warn!(
                "the clock of this host is {:.1} s {} that of Redis: sessions of this host and of \
                 others do not end when they should; set the clocks right",
                self.skew_seconds().abs(),
                if skew < 0 { "ahead of" } else { "behind" }
            );
        } else if is_logged && differ.saturating_add(uncertain) < GOOD {
            self.is_logged.store(false, Relaxed);
            tracing::info!("the clocks of this host and of Redis agree again");
        }
    }

    /// Redis's time less ours, in seconds.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of centuries are exact")]
    pub(crate) fn skew_seconds(&self) -> f64 {
        self.skew.load(Relaxed) as f64 / 1000.0
    }

    /// Milliseconds since 1970 by Redis's clock; a time long ago before it was measured.
    pub(crate) fn now(&self) -> u64 {
        match self.at_start.load(Relaxed) {
            0 => 0,
            at_start => at_start.saturating_add(self.runs()),
        }
    }

    fn runs(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_roundtrip_is_taken_off() {
        let clock = RedisClock::default();
        clock.set(1_000_000, Duration::from_millis(40), 1_000_020);
        assert!(clock.skew_seconds().abs() < 1e-9);
        clock.set(1_000_000, Duration::from_millis(40), 995_020);
        assert!((clock.skew_seconds() + 5.0).abs() < 1e-9);
    }

    #[test]
    fn that_they_differ_is_told_when_it_is_certain_and_until_they_agree() {
        let clock = RedisClock::default();
        let logged = |skew: u64, roundtrip: u64| {
            let half = roundtrip / 2;
            clock.set(1_000_000, Duration::from_millis(roundtrip), 1_000_000 + skew + half);
            clock.is_logged.load(Relaxed)
        };
        assert!(!logged(1900, 10) && !logged(2900, 2000));
        assert!(logged(2900, 10) && logged(2900, 2000));
        assert!(logged(1500, 10) && logged(900, 2000), "it may still be so");
        assert!(!logged(900, 10));
    }

    #[test]
    fn the_time_of_redis_is_not_that_of_this_host() {
        let clock = RedisClock::default();
        assert_eq!(clock.now(), 0);
        // Whatever this host thinks: an hour behind, a year ahead.
        for asked in [host_time() - 3_600_000, host_time() + 31_536_000_000] {
            clock.set(asked, Duration::from_millis(20), 5_000_000);
            assert!((5_000_010..5_001_000).contains(&clock.now()), "{}", clock.now());
        }
    }
}
