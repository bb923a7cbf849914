//! How long the follower pauses between rounds.
//!
//! A round costs the same system calls for one record as for many, here, in Redis and on each host that
//! reads it. So a busy store is read less often.

use std::time::{Duration, Instant};

/// The shortest time between rounds, so that the writers need not wake the follower for each record.
const SHORT: Duration = Duration::from_millis(1);
/// The same while the store is busy. It is most of what a record is delayed.
const LONG: Duration = Duration::from_millis(10);
/// A store is busy if in the long time so many records come. With fewer, a pause saves nothing.
const BUSY_RECORDS: u64 = 3;
/// The records of so long are counted.
const WINDOW: Duration = Duration::from_millis(50);

/// The records that came lately.
#[derive(Debug)]
pub(crate) struct Pace {
    since: Instant,
    records: u64,
    is_busy: bool,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Pace {
        Pace { since: now, records: 0, is_busy: false }
    }

    /// How long the next round is to begin after one with so many records, which begins now. `has_more`:
    /// some records had no room in it.
    pub(crate) fn pause(&mut self, now: Instant, records: u64, has_more: bool) -> Duration {
        self.records += records;
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= WINDOW {
            let busy = u128::from(BUSY_RECORDS) * elapsed.as_micros() / LONG.as_micros();
            self.is_busy = u128::from(self.records) >= busy;
            (self.since, self.records) = (now, 0);
        }
        if self.is_busy && !has_more { LONG } else { SHORT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses of a store with so many records in each round, for a second.
    fn pauses(
        pace: &mut Pace,
        now: &mut Instant,
        records: impl Fn(Duration) -> u64,
    ) -> Vec<Duration> {
        let (end, mut pause, mut all) = (*now + Duration::from_secs(1), SHORT, Vec::new());
        while *now < end {
            *now += pause;
            pause = pace.pause(*now, records(pause), false);
            all.push(pause);
        }
        all
    }

    #[test]
    fn a_busy_store_is_read_less_often() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        // 1,000 records a second.
        let busy = pauses(&mut pace, &mut now, |pause| pause.as_millis().try_into().unwrap());
        assert_eq!((busy[0], *busy.last().unwrap()), (SHORT, LONG));
        assert!(busy.len() < 160, "{} rounds", busy.len());
        assert_eq!(pace.pause(now, 1000, true), SHORT, "a backlog is read at once");
        let idle = pauses(&mut pace, &mut now, |_| 0);
        assert_eq!((idle[0], *idle.last().unwrap()), (LONG, SHORT));
    }

    #[test]
    fn a_record_now_and_then_is_sent_at_once() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        // 100 records a second: each is a round of its own, either way.
        for number in 0..1000 {
            now += Duration::from_millis(1);
            assert_eq!(pace.pause(now, u64::from(number % 10 == 0), false), SHORT);
        }
    }
}
