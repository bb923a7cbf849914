//! When everything may be sent again, because Redis has lost entries.

use std::time::{Duration, Instant};

/// The shortest time between two times if no reason is known. It doubles each time, because a Redis
/// that is out of memory may throw streams away again and again.
const UNEXPLAINED: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(600);
/// The shortest time after a change of the node, by which a failover loses entries once.
const MOVED: Duration = Duration::from_secs(2);

/// The times at which everything was sent again.
#[derive(Debug)]
pub(super) struct Rewinds {
    last: Option<Instant>,
    pause: Duration,
}

impl Rewinds {
    pub(super) fn new() -> Rewinds {
        Rewinds { last: None, pause: UNEXPLAINED }
    }

    /// Whether everything is to be sent again now. `has_moved`: another node acknowledges entries
    /// since. The pause does not grow then.
    pub(super) fn is_due(&mut self, has_moved: bool, now: Instant) -> bool {
        match self.last.map(|last| now.saturating_duration_since(last)) {
            Some(since) if has_moved && since >= MOVED => {}
            Some(since) if since < self.pause => return false,
            Some(since) if since < self.pause * 2 => self.pause = (self.pause * 2).min(LONGEST),
            _ => self.pause = UNEXPLAINED,
        }
        self.last = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds in which everything is sent again, if entries are lost in each.
    fn due(has_moved: bool, seconds: u64) -> Vec<u64> {
        let (mut rewinds, start) = (Rewinds::new(), Instant::now());
        let mut is_due = |second| rewinds.is_due(has_moved, start + Duration::from_secs(second));
        (0..seconds).filter(|&second| is_due(second)).collect()
    }

    #[test]
    fn without_a_known_reason_the_pause_grows() {
        assert_eq!(due(false, 100), [0, 5, 15, 35, 75]);
    }

    #[test]
    fn failovers_in_a_row_are_each_made_good_at_once() {
        let (mut rewinds, start) = (Rewinds::new(), Instant::now());
        // A check each second, and a takeover every 4.5 seconds.
        for takeover in 0..20 {
            let at = start + takeover * Duration::from_millis(4500);
            let mut checks = (0..3).map(|second| at + Duration::from_secs(second));
            assert!(checks.any(|check| rewinds.is_due(true, check)), "takeover {takeover}");
        }
    }

    #[test]
    fn a_failover_does_not_end_the_growth() {
        let (mut rewinds, start) = (Rewinds::new(), Instant::now());
        let mut is_due =
            |has_moved, second| rewinds.is_due(has_moved, start + Duration::from_secs(second));
        assert!(is_due(false, 0) && is_due(false, 5), "the pause is 10 seconds now");
        assert!(is_due(true, 7) && !is_due(false, 16) && is_due(false, 17));
    }
}
