//! The text format that a client of /metrics asks for, by its Accept header.

/// A format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus's text format 0.0.4, which every client reads.
    Text,
}

/// The format that a client wants most (RFC 9110, section 12.5.1). Text, unless it names OpenMetrics.
pub(crate) fn format(accept: &str) -> Format {
    let wanted = |names: &[&str]| {
        accept.split(',').filter_map(|range| weight(range, names)).fold(0.0, f64::max)
    };
    let open_metrics = wanted(&["application/openmetrics-text"]);
    let text = wanted(&["text/plain", "text/*", "*/*"]);
    if open_metrics > 0.0 && open_metrics >= text { Format::OpenMetrics } else { Format::Text }
}

/// The weight of a media range, if it is one of these; its other parameters, as a version, do not count.
fn weight(range: &str, names: &[&str]) -> Option<f64> {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next()?;
    if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return None;
    }
    match parts.find_map(|part| part.strip_prefix("q=")) {
        Some(weight) => weight.parse().ok(),
        None => Some(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_openmetrics_gets_it() {
        // As Prometheus 2.42 and 3 ask.
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                          version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let third = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;q=0.6,\
                     application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                     text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for accept in
            [prometheus, third, "Application/OpenMetrics-Text", "application/openmetrics-text, */*"]
        {
            assert_eq!(format(accept), Format::OpenMetrics, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/html",
            "text/plain;version=0.0.4",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.1, text/plain",
            "application/openmetrics-text;q=x",
        ] {
            assert_eq!(format(accept), Format::Text, "{accept}");
        }
    }
}
