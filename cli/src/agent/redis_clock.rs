//! The time of this host, and the time of Redis, which decides which entries leave the streams.
//!
//! Between measurements, Redis's time goes on by the monotonic clock. So a host whose wall clock
//! jumps does not trim the streams to nothing.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::time::{Duration, Instant, SystemTime};

/// Clocks that differ by more milliseconds are logged: records expire too early or too late.
const TOLERABLE: u64 = 2000;
/// Clocks that differ by fewer milliseconds agree again.
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
    /// Redis's time at `start`, in milliseconds since 1970; 0 before the first measurement.
    at_start: AtomicU64,
    /// The same by the first measurement.
    at_start_first: AtomicU64,
    /// Whether a difference was logged.
    is_logged: AtomicBool,
}

impl Default for RedisClock {
    fn default() -> Self {
        RedisClock {
            start: Instant::now(),
            skew: AtomicI64::new(0),
            at_start: AtomicU64::new(0),
            at_start_first: AtomicU64::new(0),
            is_logged: AtomicBool::new(false),
        }
    }
}

impl RedisClock {
    /// Takes a measurement: we asked at `asked`, and the answer took `roundtrip`.
    pub(crate) fn set(&self, asked: u64, roundtrip: Duration, answer: u64) {
        let half = u64::try_from(roundtrip.as_millis() / 2).unwrap_or(0);
        let skew = i128::from(answer) - i128::from(asked) - i128::from(half);
        let skew = i64::try_from(skew).unwrap_or(i64::MAX);
        self.skew.store(skew, Relaxed);
        // The answer took half of the roundtrip to arrive.
        let at_start = answer.saturating_add(half).saturating_sub(self.runs());
        self.at_start.store(at_start, Relaxed);
        let _ = self.at_start_first.compare_exchange(0, at_start, Relaxed, Relaxed);
        self.log_skew(skew, half);
    }

    /// Logs once that the clocks differ, if that is certain however long the answer took. Logs once
    /// that they agree again.
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

    /// Redis's time less ours, in milliseconds.
    pub(crate) fn skew(&self) -> i64 {
        self.skew.load(Relaxed)
    }

    /// Redis's time less ours, in seconds.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of centuries are exact")]
    pub(crate) fn skew_seconds(&self) -> f64 {
        self.skew() as f64 / 1000.0
    }

    /// Milliseconds since 1970 by Redis's clock; 0 before the first measurement.
    pub(crate) fn now(&self) -> u64 {
        match self.at_start.load(Relaxed) {
            0 => 0,
            at_start => at_start.saturating_add(self.runs()),
        }
    }

    /// The same, but never ahead of the first measurement and the time since: a clock of Redis that
    /// jumps ahead makes no entry old.
    pub(crate) fn steady(&self) -> u64 {
        let first = self.at_start_first.load(Relaxed).saturating_add(self.runs());
        self.now().min(first)
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
        // The time of this host does not matter: an hour behind, a year ahead.
        for asked in [host_time() - 3_600_000, host_time() + 31_536_000_000] {
            clock.set(asked, Duration::from_millis(20), 5_000_000);
            assert!((5_000_010..5_001_000).contains(&clock.now()), "{}", clock.now());
        }
    }

    #[test]
    fn a_clock_of_redis_that_jumps_ahead_makes_nothing_old() {
        let clock = RedisClock::default();
        let set = |time| clock.set(time, Duration::ZERO, time);
        set(5_000_000);
        set(31_536_000_000);
        assert!(clock.now() >= 31_536_000_000);
        assert!((5_000_000..5_001_000).contains(&clock.steady()), "{}", clock.steady());
        set(4_000_000);
        assert!((4_000_000..4_001_000).contains(&clock.steady()), "{}", clock.steady());
    }
}
