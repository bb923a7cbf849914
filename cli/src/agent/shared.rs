//! The state that the agent's tasks share while they follow one store, and the lines that any of
//! them may log.
//!
//! It names no task: tasks use it, and it uses the parts below them. No locks but those of its parts.

use super::caught_up::CaughtUp;
use super::connection::Connection;
use super::failure::Failure;
use super::health::Health;
use super::metrics::Metrics;
use super::notes::MOST_STREAMS;
use super::rate_limit::RateLimit;
use super::redis_clock::{RedisClock, host_time};
use super::settings::AgentSettings;
use super::warmup::Warmup;
use redis::cmd;
use sesscache_core::store::Store;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Acquire;
use std::time::{Duration, Instant};

/// The number of the sender's connection; the receivers' come behind it.
pub(crate) const SENDER: usize = 0;

/// What outlives a store that is replaced, and what the metrics show.
#[derive(Debug)]
pub(crate) struct Monitoring {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Arc<Health>,
}

/// What the parts of the agent share while they follow one store.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Arc<AgentSettings>,
    pub(crate) store: Arc<Store>,
    /// Its id, by which our own entries are known.
    pub(crate) id: [u8; 16],
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Arc<Health>,
    pub(crate) clock: RedisClock,
    pub(crate) warmup: Warmup,
    /// The follower is to begin anew.
    pub(crate) rewind: AtomicBool,
    /// The follower is to end when it has read everything.
    pub(crate) ending: AtomicBool,
    /// How far all streams were read, by time.
    pub(crate) caught_up: CaughtUp,
    /// Lines about other hosts' number of streams, by that number.
    stream_count_lines: RateLimit,
    /// Lines about streams that are shorter than they were.
    truncated_lines: RateLimit,
    /// Lines about what was missed.
    missed_lines: RateLimit,
}

/// All streams are shorter, or have dropped something, at about the same time: one event.
const SAME_EVENT: Duration = Duration::from_secs(60);
/// Numbers of streams are said as often at most, and each again only so much later.
const NUMBERS: Duration = Duration::from_secs(60);
const SAME_NUMBER: Duration = Duration::from_secs(24 * 60 * 60);

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
            stream_count_lines: RateLimit::new(SAME_NUMBER, NUMBERS),
            truncated_lines: RateLimit::new(SAME_EVENT, SAME_EVENT),
            missed_lines: RateLimit::new(SAME_EVENT, SAME_EVENT),
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
        self.metrics.skew.set(self.clock.skew_seconds());
        self.metrics.roundtrip.set(roundtrip.as_secs_f64());
        Ok(())
    }

    /// What is older, in milliseconds since 1970 by Redis's clock, may leave the streams.
    pub(crate) fn oldest_retained(&self) -> u64 {
        let retention = u64::try_from(self.settings.retention.as_millis()).unwrap_or(u64::MAX);
        self.clock.now().saturating_sub(retention)
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

    /// Since `caught_up`, by Redis's clock, a stream was not read, and it has dropped what was old.
    pub(crate) fn warn_missed(&self, caught_up: u64) {
        self.metrics.gaps.inc();
        if self.missed_lines.allows(0, Instant::now()) {
            let seconds = |from: u64, to: u64| to.saturating_sub(from) / 1000;
            tracing::warn!(
                "the streams were not read for {} s, longer than --retention: what other hosts \
                 made in the first {} s of that is missed",
                seconds(caught_up, self.clock.now()),
                seconds(caught_up, self.oldest_retained())
            );
        }
    }

    /// Hosts with another number of streams do not see all of ours, nor we all of theirs. Anybody
    /// may have written the number: one that no host can use is nobody's.
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
