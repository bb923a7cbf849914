//! The text that /metrics serves: the name and help of each metric, in both text formats.
//!
//! docs/METRICS.md lists them all.

use super::accept::Format;
use super::failure::RedisState;
use super::health::Health;
use super::metrics::Metrics;
use super::settings::Local;
use super::shared::Monitoring;
use super::store_metrics::{CurrentStore, StoreMetrics};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// The registry of all metrics.
#[derive(Debug)]
pub(crate) struct Exposition {
    registry: Registry,
}

impl Exposition {
    /// The metrics of a store, and of an agent with Redis: `monitoring`. Each sample has the labels
    /// `store` and `name`.
    pub(crate) fn new(
        local: &Local,
        monitoring: Option<&Monitoring>,
        current_store: &Arc<CurrentStore>,
    ) -> Exposition {
        let labels = [
            ("store".into(), local.store.to_string_lossy().into_owned().into()),
            ("name".into(), local.name.clone().into()),
        ];
        let mut registry = Registry::with_prefix_and_labels("sesscache", labels.into_iter());
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the agent", version);
        registry.register_collector(Box::new(StoreMetrics {
            current: Arc::clone(current_store),
            is_replicated: monitoring.is_some(),
        }));
        if let Some(Monitoring { metrics, health }) = monitoring {
            metrics.prepare();
            replication(metrics, registry.sub_registry_with_prefix("replication"));
            redis(metrics, Arc::clone(health), registry.sub_registry_with_prefix("redis"));
        }
        Exposition { registry }
    }

    /// The text that /metrics serves.
    pub(crate) fn text(&self, format: Format) -> Result<String, fmt::Error> {
        let mut text = String::new();
        match format {
            Format::OpenMetrics => text::encode(&mut text, &self.registry)?,
            Format::Text => prometheus_text::encode(&mut text, &self.registry)?,
        }
        Ok(text)
    }
}

fn redis(metrics: &Metrics, health: Arc<Health>, registry: &mut Registry) {
    registry.register(
        "reconnects",
        "Connections made again after one was lost",
        metrics.reconnects.clone(),
    );
    registry.register(
        "errors",
        "Requests that Redis did not fulfil, by its state then",
        metrics.errors.clone(),
    );
    registry.register_with_unit(
        "clock_skew",
        "Redis's clock less this host's",
        Unit::Seconds,
        metrics.skew.clone(),
    );
    registry.register_with_unit(
        "roundtrip",
        "Time of a question and its answer, as last measured",
        Unit::Seconds,
        metrics.roundtrip.clone(),
    );
    registry.register_collector(Box::new(RedisMetrics(health)));
}

fn replication(metrics: &Metrics, registry: &mut Registry) {
    replication_counters(metrics, registry);
    registry.register(
        "unapplied_records",
        "Records of other hosts not applied, by cause",
        metrics.unapplied.clone(),
    );
    registry.register(
        "rewinds",
        "Times that a direction began anew, because Redis had lost entries",
        metrics.rewinds.clone(),
    );
    registry.register(
        "warming",
        "1 while the store is filled from the streams after a start",
        metrics.warming.clone(),
    );
    registry.register(
        "other_hosts",
        "Agents of other hosts that were heard of within a minute",
        metrics.other_hosts.clone(),
    );
    registry.register(
        "differing_hosts",
        "Those with which not all sessions are exchanged, by what differs",
        metrics.differing_hosts.clone(),
    );
    registry.register_with_unit(
        "lag",
        "From the writing of a record on its host to its arrival here, by their clocks",
        Unit::Seconds,
        metrics.lag.clone(),
    );
}

fn replication_counters(metrics: &Metrics, registry: &mut Registry) {
    for (name, help, counter) in [
        ("sent_records", "Records that Redis has acknowledged", &metrics.sent_records),
        ("sent_entries", "Entries that Redis has acknowledged", &metrics.sent_entries),
        ("received_records", "Records of other hosts that were read", &metrics.received_records),
        ("received_entries", "Entries of other hosts that were read", &metrics.received_entries),
        ("own_entries", "Entries read that this host wrote, and skipped", &metrics.own_entries),
        ("poison_entries", "Malformed entries, which were skipped", &metrics.poison_entries),
        (
            "applied_records",
            "Records of other hosts applied to the store",
            &metrics.applied_records,
        ),
        ("lost_records", "Records overwritten before they could be sent", &metrics.lost_records),
        ("gaps", "Times that a stream had dropped unread entries by age", &metrics.gaps),
        (
            "future_records",
            "Records read before they were written, by clocks that differ",
            &metrics.future_records,
        ),
    ] {
        registry.register(name, help, counter.clone());
    }
    for (name, help, counter) in [
        ("sent", "Bytes of the records that were sent", &metrics.sent_bytes),
        ("received", "Bytes of the records of other hosts that were read", &metrics.received_bytes),
    ] {
        registry.register_with_unit(name, help, Unit::Bytes, counter.clone());
    }
}

/// The state of Redis now, and its last error.
#[derive(Debug)]
struct RedisMetrics(Arc<Health>);

impl Collector for RedisMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = self.0.state();
        let kind = MetricType::Gauge;
        let mut states =
            encoder.encode_descriptor("state", "1 for the present state.", None, kind)?;
        for state in RedisState::ALL {
            let label = [("state", state.name())];
            let gauge = ConstGauge::new(u64::from(state == now));
            gauge.encode(states.encode_family(&label)?)?;
        }
        let Some((failure, when)) = self.0.last_error() else { return Ok(()) };
        let when = when.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let gauge = ConstGauge::new(when.as_secs_f64());
        let mut last = encoder.encode_descriptor(
            "last_error_timestamp",
            "Time of the last request that Redis did not fulfil, by its state then.",
            Some(&Unit::Seconds),
            kind,
        )?;
        let label = [("state", failure.state.name())];
        gauge.encode(last.encode_family(&label)?)
    }
}
