//! The store's counters as metrics, read when /metrics is asked for.

use super::connection_metrics;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use sesscache_core::store::{Counters, Store};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The store that the agent follows now, if any.
#[derive(Debug, Default)]
pub(crate) struct CurrentStore(Mutex<Option<Arc<Store>>>);

impl CurrentStore {
    pub(crate) fn set(&self, store: Option<Arc<Store>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = store;
    }

    pub(crate) fn get(&self) -> Option<Arc<Store>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Collects the counters of the current store.
#[derive(Debug)]
pub(crate) struct StoreMetrics {
    pub(crate) current: Arc<CurrentStore>,
    /// Whether an agent sends its records to other hosts.
    pub(crate) is_replicated: bool,
}

impl Collector for StoreMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(store) = self.current.get() else { return Ok(()) };
        let c = store.counters();
        connection_metrics::encode(&store.connections(), &mut encoder)?;
        lookups(&c, &mut encoder)?;
        records(&c, &mut encoder)?;
        refusals(&c, &mut encoder)?;
        declines(&c, &mut encoder)?;
        contexts(&c, &mut encoder)?;
        counter(
            &mut encoder,
            (
                "store_busy",
                "Sessions that were not stored because others changed the same few slots again and again.",
            ),
            c.busy,
        )?;
        counter(
            &mut encoder,
            ("store_resets", "Removals that were forgotten before their time."),
            c.resets,
        )?;
        room(&c, &mut encoder)?;
        if !self.is_replicated {
            return Ok(());
        }
        gauge(
            &mut encoder,
            (
                "replication_unread_records",
                "Records of the store's log that the agent has not dealt with.",
            ),
            None,
            store.unread(),
        )
    }
}

fn lookups(c: &Counters, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    family(
        encoder,
        ("store_lookups", "Lookups of sessions, by result."),
        "result",
        &[
            ("hit", c.hits),
            ("take", c.takes),
            ("miss", c.misses),
            ("removed", c.tombstone_hits),
            ("undecryptable", c.undecryptable),
            ("mismatched", c.mismatched),
        ],
    )
}

fn records(c: &Counters, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    family(
        encoder,
        ("store_records", "Records, by event."),
        "event",
        &[
            ("stored", c.stores),
            ("removed", c.removes),
            ("expired", c.expired),
            ("evicted", c.evicted),
            ("oversize", c.oversize),
        ],
    )
}

fn refusals(c: &Counters, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    family(
        encoder,
        ("store_refused_sessions", "Sessions that are not shared, by cause."),
        "cause",
        &[
            ("no_identity", c.refused_no_identity),
            ("verify_without_id_context", c.refused_verify_without_id_context),
            ("not_asked", c.refused_not_asked),
            ("no_client_certificate", c.refused_no_client_certificate),
            ("unverified", c.refused_unverified),
            ("application", c.refused_application),
            ("side_data", c.refused_side_data),
        ],
    )
}

fn declines(c: &Counters, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    family(
        encoder,
        ("store_declined_sessions", "Sessions that were found and not resumed, by cause."),
        "cause",
        &[
            ("name", c.declined_name),
            ("lifetime", c.declined_lifetime),
            ("id_context", c.declined_id_context),
            ("cipher", c.declined_cipher),
            ("client", c.declined_client),
            ("host", c.declined_host),
        ],
    )
}

fn contexts(c: &Counters, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    counter(
        encoder,
        (
            "store_application_ticket_keys",
            "Contexts whose ticket keys are the program's, although there is a key file.",
        ),
        c.application_ticket_keys,
    )?;
    counter(
        encoder,
        (
            "store_shared_memory_contexts",
            "Contexts with OpenSSL's own session cache, in memory that processes share.",
        ),
        c.shared_memory,
    )
}

fn room(c: &Counters, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    gauge(encoder, ("store_entries", "Sessions in the store."), None, c.entries)?;
    gauge(encoder, ("store_used", "Space that they take."), Some(&Unit::Bytes), c.bytes)?;
    gauge(encoder, ("store_capacity", "Space for sessions."), Some(&Unit::Bytes), c.capacity)
}

type NameAndHelp = (&'static str, &'static str);

fn family(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): NameAndHelp,
    label: &'static str,
    values: &[(&'static str, u64)],
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (value, count) in values {
        let label = [(label, *value)];
        ConstCounter::new(*count).encode(family.encode_family(&label)?)?;
    }
    Ok(())
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): NameAndHelp,
    value: u64,
) -> Result<(), fmt::Error> {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    ConstCounter::new(value).encode(metric)
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): NameAndHelp,
    unit: Option<&Unit>,
    value: u64,
) -> Result<(), fmt::Error> {
    let metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    ConstGauge::new(value).encode(metric)
}
