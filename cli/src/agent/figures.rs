//! What the agent counts, and the text that /metrics serves. docs/METRICS.md lists it all.

use super::failure::RedisState;
use super::health::Health;
use super::store_figures::{Figures as StoreFigures, Watched};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

/// Upper bounds of the lag's buckets, in seconds. The clock behind it counts milliseconds.
const LAGS: [f64; 16] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0];

type Label = [(&'static str, &'static str); 1];

/// Why a record of another host was not taken over.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unapplied {
    /// Its end was before it arrived.
    Expired,
    /// The store has it: it was told twice.
    Known,
    /// The session was removed before.
    Removed,
    /// A lock was held too long.
    Busy,
    /// It is larger than a record can be.
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

/// What began anew, as Redis had forgotten what was done before.
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

/// What the agent counts.
#[derive(Debug)]
pub(crate) struct Figures {
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
    unapplied: Family<Label, Counter>,
    rewinds: Family<Label, Counter>,
    pub(crate) lag: Histogram,
    pub(crate) future_records: Counter,
    pub(crate) warming: Gauge,
    pub(crate) reconnects: Counter,
    errors: Family<Label, Counter>,
    pub(crate) skew: Gauge<f64, AtomicU64>,
    pub(crate) roundtrip: Gauge<f64, AtomicU64>,
}

impl Default for Figures {
    fn default() -> Self {
        Figures {
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
            skew: Gauge::default(),
            roundtrip: Gauge::default(),
        }
    }
}

impl Figures {
    /// A record could not be taken over.
    pub(crate) fn unapplied(&self, cause: Unapplied) {
        self.unapplied.get_or_create(&[("cause", cause.name())]).inc();
    }

    /// What was done before is done again, as Redis has forgotten it.
    pub(crate) fn rewound(&self, direction: Direction) {
        self.rewinds.get_or_create(&[("direction", direction.name())]).inc();
    }

    /// Redis did not do what it was asked.
    pub(crate) fn failed(&self, state: RedisState) {
        self.errors.get_or_create(&[("state", state.name())]).inc();
    }

    /// Makes every series appear, so that a rate is 0 rather than missing.
    fn prepare(&self) {
        for cause in Unapplied::ALL {
            drop(self.unapplied.get_or_create(&[("cause", cause.name())]));
        }
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

/// Everything that /metrics serves.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
}

impl Metrics {
    pub(crate) fn new(figures: &Figures, health: Arc<Health>, watched: Arc<Watched>) -> Metrics {
        figures.prepare();
        let mut registry = Registry::with_prefix("sesscache");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the agent", version);
        registry.register_collector(Box::new(StoreFigures(watched)));
        replication(figures, registry.sub_registry_with_prefix("replication"));
        let redis = registry.sub_registry_with_prefix("redis");
        redis.register(
            "reconnects",
            "Connections made again after one was lost",
            figures.reconnects.clone(),
        );
        redis.register(
            "errors",
            "What Redis did not do, by its state then",
            figures.errors.clone(),
        );
        redis.register_with_unit(
            "clock_skew",
            "Redis's clock less this host's",
            Unit::Seconds,
            figures.skew.clone(),
        );
        redis.register_with_unit(
            "roundtrip",
            "Question and answer, as last measured",
            Unit::Seconds,
            figures.roundtrip.clone(),
        );
        redis.register_collector(Box::new(RedisFigures(health)));
        Metrics { registry }
    }

    /// The text, in OpenMetrics 1.0.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn replication(figures: &Figures, registry: &mut Registry) {
    for (name, help, counter) in [
        ("sent_records", "Records that Redis has acknowledged", &figures.sent_records),
        ("sent_entries", "Entries that Redis has acknowledged", &figures.sent_entries),
        ("received_records", "Records of other hosts that were read", &figures.received_records),
        ("received_entries", "Entries of other hosts that were read", &figures.received_entries),
        ("own_entries", "Entries read that this host wrote, and skipped", &figures.own_entries),
        ("poison_entries", "Entries that made no sense, and were skipped", &figures.poison_entries),
        ("applied_records", "Records of other hosts taken over", &figures.applied_records),
        ("lost_records", "Records overwritten before they could be sent", &figures.lost_records),
        ("gaps", "Times that a stream had dropped by age what was not read", &figures.gaps),
        (
            "future_records",
            "Records read before they were written, by clocks that differ",
            &figures.future_records,
        ),
    ] {
        registry.register(name, help, counter.clone());
    }
    for (name, help, counter) in [
        ("sent", "Bytes of the records that were sent", &figures.sent_bytes),
        ("received", "Bytes of the records of other hosts that were read", &figures.received_bytes),
    ] {
        registry.register_with_unit(name, help, Unit::Bytes, counter.clone());
    }
    registry.register(
        "unapplied_records",
        "Records of other hosts not taken over, by cause",
        figures.unapplied.clone(),
    );
    registry.register(
        "rewinds",
        "How often a direction began anew, as Redis had forgotten",
        figures.rewinds.clone(),
    );
    registry.register(
        "warming",
        "1 while the store is filled from the streams after a start",
        figures.warming.clone(),
    );
    registry.register_with_unit(
        "lag",
        "From the writing of a record on its host to its arrival here, by their clocks",
        Unit::Seconds,
        figures.lag.clone(),
    );
}

/// How Redis is now.
#[derive(Debug)]
struct RedisFigures(Arc<Health>);

impl Collector for RedisFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = self.0.state();
        let kind = prometheus_client::metrics::MetricType::Gauge;
        let mut states =
            encoder.encode_descriptor("state", "1 for the state it is in.", None, kind)?;
        for state in RedisState::ALL {
            let label = [("state", state.name())];
            let gauge = ConstGauge::new(u64::from(state == now));
            gauge.encode(states.encode_family(&label)?)?;
        }
        let Some((failure, when)) = self.0.error() else { return Ok(()) };
        let when = when.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let gauge = ConstGauge::new(when.as_secs_f64());
        let mut last = encoder.encode_descriptor(
            "last_error_timestamp",
            "When it last did not do what it was asked, and what it said.",
            Some(&Unit::Seconds),
            kind,
        )?;
        let label = [("error", failure.to_string())];
        gauge.encode(last.encode_family(&label)?)
    }
}
