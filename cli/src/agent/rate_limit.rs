//! A rate limit for log lines that others can cause, so that nobody who can write to Redis fills
//! the log.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The limit for one kind of line, which may contain a number.
#[derive(Debug)]
pub(crate) struct RateLimit {
    /// The shortest time between two lines with the same number.
    same: Duration,
    /// The shortest time between any two lines.
    other: Duration,
    /// The numbers logged within `same`, and when. There are at most `same / other` of them.
    said: Mutex<BTreeMap<u64, Instant>>,
}

impl RateLimit {
    pub(crate) fn new(same: Duration, other: Duration) -> RateLimit {
        RateLimit { same, other, said: Mutex::default() }
    }

    /// Whether a line may be logged now. If so, it counts as logged.
    pub(crate) fn allows(&self, what: u64, now: Instant) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let age = |when: &Instant| now.saturating_duration_since(*when);
        said.retain(|_, when| age(when) < self.same);
        if said.contains_key(&what) || said.values().any(|when| age(when) < self.other) {
            return false;
        }
        said.insert(what, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_same_is_said_once_and_another_a_little_later() {
        let rate_limit = RateLimit::new(SECOND * 100, SECOND * 10);
        let start = Instant::now();
        let at = |second| start + SECOND * second;
        assert!(rate_limit.allows(3, at(0)));
        assert!(!rate_limit.allows(3, at(50)), "it was said");
        assert!(!rate_limit.allows(4, at(9)), "too soon");
        assert!(rate_limit.allows(4, at(51)), "what was not said is still to be said");
        assert!(rate_limit.allows(3, at(100)), "it was long ago");
    }

    #[test]
    fn whoever_alternates_causes_few_lines() {
        let rate_limit = RateLimit::new(SECOND * 3600, SECOND * 60);
        let start = Instant::now();
        let lines = |numbers: u64| {
            let asked = (0..36_000_u32).map(|tenth| start + SECOND / 10 * tenth);
            asked
                .enumerate()
                .filter(|(n, when)| rate_limit.allows(*n as u64 % numbers, *when))
                .count()
        };
        assert_eq!(lines(2), 2);
        assert!(lines(1000) <= 60);
    }
}
