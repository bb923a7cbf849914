//! The agent's own counters and gauges; docs/METRICS.md explains each.

use super::failure::RedisState;
use crate::difference::Difference;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use sesscache_core::store::OtherHost;
use std::sync::atomic::AtomicU64;

/// Upper bounds of the lag's buckets, in seconds. The clocks behind it count milliseconds.
const LAGS: [f64; 16] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0];

type Label = [(&'static str, &'static str); 1];

/// The reasons why a record of another host was not applied.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unapplied {
    /// The record expired before it arrived.
    Expired,
    /// The store has the record: it arrived twice.
    Known,
    /// The session was removed before.
    Removed,
    /// Others changed the same few slots again and again.
    Busy,
    /// The record is larger than the store allows.
    Oversize,
}

impl Unapplied {
    const ALL: [Unapplied; 5] = [
        Unapplied::Expired,
        Unapplied::Known,
        Unapplied::Removed,
        Unapplied::Busy,
        Unapplied::Oversize,
    ];

    fn name(self) -> &'static str {
        match self {
            Unapplied::Expired => "expired",
            Unapplied::Known => "known",
            Unapplied::Removed => "removed",
            Unapplied::Busy => "busy",
            Unapplied::Oversize => "oversize",
        }
    }
}

/// The direction that began anew, because Redis lost what was done before.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Direction {
    Send,
    Receive,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Direction::Send => "send",
            Direction::Receive => "receive",
        }
    }
}

/// The agent's counters and gauges.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) sent_records: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) sent_entries: Counter,
    pub(crate) received_records: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) received_entries: Counter,
    pub(crate) own_entries: Counter,
    pub(crate) poison_entries: Counter,
    pub(crate) applied_records: Counter,
    pub(crate) lost_records: Counter,
    pub(crate) gaps: Counter,
    pub(crate) unapplied: Family<Label, Counter>,
    pub(crate) rewinds: Family<Label, Counter>,
    pub(crate) lag: Histogram,
    pub(crate) future_records: Counter,
    pub(crate) warming: Gauge,
    pub(crate) reconnects: Counter,
    pub(crate) errors: Family<Label, Counter>,
    pub(crate) other_hosts: Gauge,
    pub(crate) differing_hosts: Family<Label, Gauge>,
    pub(crate) skew: Gauge<f64, AtomicU64>,
    pub(crate) roundtrip: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            sent_records: Counter::default(),
            sent_bytes: Counter::default(),
            sent_entries: Counter::default(),
            received_records: Counter::default(),
            received_bytes: Counter::default(),
            received_entries: Counter::default(),
            own_entries: Counter::default(),
            poison_entries: Counter::default(),
            applied_records: Counter::default(),
            lost_records: Counter::default(),
            gaps: Counter::default(),
            unapplied: Family::default(),
            rewinds: Family::default(),
            lag: Histogram::new(LAGS),
            future_records: Counter::default(),
            warming: Gauge::default(),
            reconnects: Counter::default(),
            errors: Family::default(),
            other_hosts: Gauge::default(),
            differing_hosts: Family::default(),
            skew: Gauge::default(),
            roundtrip: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Counts a record that was not applied.
    pub(crate) fn unapplied(&self, cause: Unapplied) {
        self.unapplied.get_or_create(&[("cause", cause.name())]).inc();
    }

    /// Counts a direction that begins anew.
    pub(crate) fn rewound(&self, direction: Direction) {
        self.rewinds.get_or_create(&[("direction", direction.name())]).inc();
    }

    /// Counts a request that Redis did not fulfil.
    pub(crate) fn failed(&self, state: RedisState) {
        self.errors.get_or_create(&[("state", state.name())]).inc();
    }

    /// Notes how many other hosts there are, and how many of them differ in what.
    pub(crate) fn compared(&self, hosts: usize, differing: &[OtherHost]) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.other_hosts.set(number(hosts));
        for what in Difference::ALL {
            let count = differing.iter().filter(|host| what.is_in(host.differs)).count();
            self.differing_hosts.get_or_create(&[("what", what.name())]).set(number(count));
        }
    }

    /// Makes every series exist, so that a rate is 0 and not missing.
    pub(crate) fn prepare(&self) {
        for cause in Unapplied::ALL {
            drop(self.unapplied.get_or_create(&[("cause", cause.name())]));
        }
        self.compared(0, &[]);
        for direction in [Direction::Send, Direction::Receive] {
            drop(self.rewinds.get_or_create(&[("direction", direction.name())]));
        }
        let failures = RedisState::ALL
            .into_iter()
            .filter(|s| !matches!(s, RedisState::Ok | RedisState::Connecting));
        for state in failures {
            drop(self.errors.get_or_create(&[("state", state.name())]));
        }
    }
}
