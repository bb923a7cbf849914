//! The filling of a new store from the streams. Its progress is logged once a second.

use super::metrics::Metrics;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::timeout;

const REPORT: Duration = Duration::from_secs(1);

/// Counts the streams whose backlog is not read yet, and the entries read.
#[derive(Debug)]
pub(crate) struct Warmup {
    since: Instant,
    /// Streams whose length is not known yet.
    unknown: AtomicU64,
    behind: AtomicU64,
    length: AtomicU64,
    read: AtomicU64,
    ended: Notify,
}

impl Warmup {
    pub(crate) fn new(streams: usize) -> Warmup {
        let streams = streams as u64;
        Warmup {
            since: Instant::now(),
            unknown: AtomicU64::new(streams),
            behind: AtomicU64::new(streams),
            length: AtomicU64::new(0),
            read: AtomicU64::new(0),
            ended: Notify::new(),
        }
    }

    /// Notes that a stream has this many entries to fill the store with.
    pub(crate) fn begin(&self, length: u64) {
        self.length.fetch_add(length, Relaxed);
        self.unknown.fetch_sub(1, Relaxed);
    }

    /// Notes that an entry was read.
    pub(crate) fn read(&self) {
        if self.behind.load(Relaxed) > 0 {
            self.read.fetch_add(1, Relaxed);
        }
    }

    /// Notes that the backlog of a stream was read.
    pub(crate) fn end(&self) {
        self.behind.fetch_sub(1, Relaxed);
        self.ended.notify_one();
    }

    /// Logs the progress until all backlogs are read.
    pub(crate) async fn report(&self, metrics: &Metrics) {
        metrics.warming.set(1);
        let mut reported = Instant::now();
        while self.behind.load(Relaxed) > 0 {
            let _ = timeout(REPORT.saturating_sub(reported.elapsed()), self.ended.notified()).await;
            if reported.elapsed() >= REPORT {
                reported = Instant::now();
                if let Some(line) = self.line() {
                    tracing::info!("{line}");
                }
            }
        }
        metrics.warming.set(0);
        let (read, length) = (self.read.load(Relaxed), self.length.load(Relaxed));
        if length > 0 {
            let seconds = self.since.elapsed().as_secs_f64();
            tracing::info!("filled the store from the streams: {read} entries in {seconds:.1} s");
        }
    }

    fn line(&self) -> Option<String> {
        if self.unknown.load(Relaxed) > 0 {
            return None;
        }
        let (read, length) = (self.read.load(Relaxed), self.length.load(Relaxed));
        (length > 0)
            .then(|| format!("filling the store from the streams: {read} of {length} entries"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_not_new_has_nothing_to_tell() {
        let warmup = Warmup::new(2);
        warmup.begin(0);
        warmup.read();
        assert_eq!(warmup.line(), None);
        warmup.begin(5);
        assert_eq!(warmup.line().unwrap(), "filling the store from the streams: 1 of 5 entries");
        warmup.end();
        warmup.end();
        warmup.read();
        assert_eq!(warmup.read.load(Relaxed), 1);
    }
}
