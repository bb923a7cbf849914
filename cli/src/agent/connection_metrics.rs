//! How connections began, as metrics.

use crate::connections::{ages, full, resumed};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;
use sesscache_core::store::Connections;
use std::fmt;

/// Writes the connections by result, and the ages of what resumed.
pub(super) fn encode(
    found: &Connections,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(
        "connections",
        "Connections that have ended, by whether a session was resumed, and how or why not.",
        None,
        MetricType::Counter,
    )?;
    let rows = [("resumed", resumed(found)), ("full", full(found))];
    for (result, rows) in rows {
        for (how, count, _) in rows {
            let labels = [("result", result), ("how", how)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    let buckets: Vec<(f64, u64)> =
        ages(found).into_iter().map(|(bound, count)| (bound_of(bound), count)).collect();
    let count = buckets.iter().map(|(_, count)| count).sum();
    let mut histogram = encoder.encode_descriptor(
        "resumed_age",
        "Age of the sessions that were resumed, but for tickets of the server's own keys.",
        Some(&Unit::Seconds),
        MetricType::Histogram,
    )?;
    histogram.encode_histogram::<NoLabelSet>(as_f64(found.age_sum), count, &buckets, None)
}

fn bound_of(age: Option<u64>) -> f64 {
    age.map_or(f64::INFINITY, as_f64)
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
fn as_f64(number: u64) -> f64 {
    number as f64
}
