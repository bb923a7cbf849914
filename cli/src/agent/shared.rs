//! The state that the agent's tasks share while they follow one store, and the log lines that any
//! of them may write.
//!
//! It names no task: tasks use it, and it uses the files below them. Its fields lock for
//! themselves.

use super::caught_up::CaughtUp;
use super::connection::Connection;
use super::failure::Failure;
use super::health::Health;
use super::metrics::Metrics;
use super::notes::MOST_STREAMS;
use super::rate_limit::RateLimit;
use super::redis_clock::{RedisClock, host_time};
use super::retention::Retention;
use super::settings::AgentSettings;
use super::stream_entry::EntryId;
use super::warmup::Warmup;
use redis::cmd;
use sesscache_core::store::Store;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

/// The number of the sender's connection; those of the receivers follow.
pub(crate) const SENDER: usize = 0;

/// The metrics and the health, which outlive a store that is replaced.
#[derive(Debug)]
pub(crate) struct Monitoring {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Arc<Health>,
}

/// The state that the tasks share while they follow one store.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Arc<AgentSettings>,
    pub(crate) store: Arc<Store>,
    /// The store's id, by which a receiver knows the entries of its own host.
    pub(crate) id: [u8; 16],
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Arc<Health>,
    pub(crate) clock: RedisClock,
    pub(crate) warmup: Warmup,
    /// Tells the follower to begin anew.
    pub(crate) rewind: AtomicBool,
    /// Tells the follower to end when it has read everything.
    pub(crate) ending: AtomicBool,
    /// When each stream was last read to its end.
    pub(crate) caught_up: CaughtUp,
    /// Which entries are older than --retention, by the time at which they were seen.
    pub(crate) retention: Retention,
    /// Limits lines about the stream counts of other hosts, by that count.
    stream_count_lines: RateLimit,
    /// Limits lines about streams that are shorter than before.
    truncated_lines: RateLimit,
    /// Limits lines about missed entries.
    missed_lines: RateLimit,
    /// The time of the last id that Redis gave, in milliseconds.
    newest_id: AtomicU64,
    /// Limits lines about ids ahead of Redis's clock.
    ahead_lines: RateLimit,
}

/// Streams that are emptied, or have a gap, within this time are one event.
const SAME_EVENT: Duration = Duration::from_secs(60);
/// Ids that are further ahead of Redis's clock are logged. Nodes of a cluster differ by less.
const MOST_AHEAD: Duration = Duration::from_secs(60);
/// The shortest time between two lines about stream counts, and about the same count.
const ANY_COUNT: Duration = Duration::from_secs(60);
const SAME_COUNT: Duration = Duration::from_secs(24 * 60 * 60);

impl Shared {
    pub(crate) fn new(
        settings: &Arc<AgentSettings>,
        store: &Arc<Store>,
        monitoring: &Monitoring,
    ) -> Shared {
        Shared {
            settings: Arc::clone(settings),
            store: Arc::clone(store),
            id: store.id(),
            metrics: Arc::clone(&monitoring.metrics),
            health: Arc::clone(&monitoring.health),
            clock: RedisClock::default(),
            warmup: Warmup::new(settings.streams),
            rewind: AtomicBool::new(false),
            ending: AtomicBool::new(settings.once),
            caught_up: CaughtUp::of(store, settings.streams),
            retention: Retention::new(settings.retention, settings.streams),
            stream_count_lines: RateLimit::new(SAME_COUNT, ANY_COUNT),
            truncated_lines: RateLimit::new(SAME_EVENT, SAME_EVENT),
            missed_lines: RateLimit::new(SAME_EVENT, SAME_EVENT),
            newest_id: AtomicU64::new(0),
            ahead_lines: RateLimit::new(SAME_COUNT, SAME_COUNT),
        }
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Acquire)
    }

    pub(crate) async fn measure_clock(&self, connection: &mut Connection) -> Result<(), Failure> {
        let (asked, start) = (host_time(), Instant::now());
        let answer = connection.ask(&cmd("TIME")).await?;
        let roundtrip = start.elapsed();
        let (seconds, micros): (u64, u64) = redis::from_redis_value(answer)
            .map_err(|error| Failure::from(redis::RedisError::from(error)))?;
        let time = seconds.saturating_mul(1000).saturating_add(micros / 1000);
        self.clock.set(asked, roundtrip, time);
        self.check_ids();
        self.metrics.skew.set(self.clock.skew_seconds());
        self.metrics.roundtrip.set(roundtrip.as_secs_f64());
        Ok(())
    }

    /// The time before which entries may leave the streams, in milliseconds by Redis's clock.
    pub(crate) fn oldest_time(&self) -> u64 {
        self.clock.steady().saturating_sub(self.retention_time())
    }

    fn retention_time(&self) -> u64 {
        u64::try_from(self.settings.retention.as_millis()).unwrap_or(u64::MAX)
    }

    /// The entry before which entries may leave a stream. The first measurement of Redis's clock may
    /// have come while it was ahead, so by this host's clock they must be old, too.
    pub(crate) fn oldest_retained(&self, stream: usize) -> EntryId {
        let time = self.oldest_time().min(host_time().saturating_sub(self.retention_time()));
        let by_clock = EntryId { time, number: 0 };
        by_clock.max(self.retention.passed(stream, Instant::now()))
    }

    /// Notes an id that Redis gave to an entry.
    pub(crate) fn see_id(&self, id: EntryId) {
        self.newest_id.store(id.time, Relaxed);
    }

    /// Logs that ids are ahead of Redis's clock, because they never go back: that clock was wrong.
    fn check_ids(&self) {
        let ahead = self.newest_id.load(Relaxed).saturating_sub(self.clock.now()) / 1000;
        if ahead > MOST_AHEAD.as_secs() && self.ahead_lines.allows(0, Instant::now()) {
            tracing::warn!(
                "the ids of the streams are {ahead} s ahead of Redis's clock, because it was ahead \
                 once: entries now leave the streams --retention after this agent has seen them"
            );
        }
    }

    pub(crate) fn failed(&self, number: usize, failure: &Failure) {
        self.metrics.failed(failure.state);
        self.health.failed(number, failure);
    }

    pub(crate) fn warn_truncated(&self) {
        if self.truncated_lines.allows(0, Instant::now()) {
            tracing::warn!(
                "the streams end before what was read of them (Redis was emptied or restored); \
                 reading them from their beginning"
            );
        }
    }

    /// Logs that a stream was not read since `caught_up`, by Redis's clock, and has a gap since.
    pub(crate) fn warn_missed(&self, caught_up: u64) {
        self.metrics.gaps.inc();
        if self.missed_lines.allows(0, Instant::now()) {
            let seconds = |from: u64, to: u64| to.saturating_sub(from) / 1000;
            tracing::warn!(
                "the streams were not read for {} s, longer than --retention: what other hosts \
                 made in the first {} s of that is missed",
                seconds(caught_up, self.clock.now()),
                seconds(caught_up, self.oldest_time())
            );
        }
    }

    /// Logs that another host uses another number of streams, because the two miss sessions of each
    /// other. A number that no agent can use is ignored, because anybody may have written it.
    pub(crate) fn check_stream_count(&self, theirs: Option<&[u8]>) {
        let theirs = theirs.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
        let theirs = theirs.filter(|theirs| (1..=MOST_STREAMS as u64).contains(theirs));
        let Some(theirs) = theirs.filter(|theirs| *theirs != self.settings.streams as u64) else {
            return;
        };
        if self.stream_count_lines.allows(theirs, Instant::now()) {
            tracing::warn!(
                "another host uses --streams {theirs}, this one {}: give all hosts the same, or \
                 they miss each other's sessions",
                self.settings.streams
            );
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::arguments::{Arguments, Command};
    use clap::Parser;
    use sesscache_core::store::StoreUrl;

    pub(in super::super) fn shared() -> Arc<Shared> {
        let words = ["sesscache", "agent", "--store", "/x", "--redis", "redis://x"];
        let Command::Agent(options) = Arguments::try_parse_from(words).unwrap().command else {
            unreachable!()
        };
        let store = Store::open(&StoreUrl::parse("shm:?size=1MiB").unwrap()).unwrap();
        let health = Arc::new(Health::new("x".into(), 1));
        let monitoring = Monitoring { metrics: Arc::new(Metrics::default()), health };
        let settings = Arc::new(AgentSettings::of(&options).unwrap());
        Arc::new(Shared::new(&settings, &Arc::new(store), &monitoring))
    }

    #[test]
    fn nothing_leaves_for_a_clock_of_redis_that_is_ahead_at_the_start() {
        let (shared, now) = (shared(), host_time());
        let hour = 60 * 60 * 1000;
        let oldest = |redis: u64| {
            shared.clock.set(now, Duration::ZERO, redis);
            shared.oldest_retained(0).time
        };
        assert!((now - hour..now).contains(&oldest(now + 9000 * hour)));
        // This host's clock may be the one that is ahead.
        assert!((now - 3 * hour..now - 2 * hour).contains(&oldest(now - 2 * hour)));
    }
}
