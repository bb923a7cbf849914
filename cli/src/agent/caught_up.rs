//! The time at which each stream was last read to its end. A host that was away for longer than
//! entries stay in a stream knows by it that it missed some.
//!
//! The stream itself does not show that: its last entry may be old because nobody wrote since.

use super::notes;
use sesscache_core::store::Store;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Times in milliseconds by Redis's clock, one for each stream; 0 if the time is not known.
#[derive(Debug)]
pub(crate) struct CaughtUp {
    streams: Vec<AtomicU64>,
}

impl CaughtUp {
    /// The time that the store keeps, the same for all streams.
    pub(crate) fn of(store: &Store, streams: usize) -> CaughtUp {
        let time = notes::caught_up(store);
        CaughtUp { streams: (0..streams).map(|_| AtomicU64::new(time)).collect() }
    }

    /// When the stream was last read to its end.
    pub(crate) fn at(&self, stream: usize) -> u64 {
        self.streams.get(stream).map_or(0, |time| time.load(Relaxed))
    }

    /// Notes that the stream was read to its end at this time. The store keeps the earliest of all.
    pub(crate) fn set(&self, store: &Store, stream: usize, time: u64) {
        if let Some(last) = self.streams.get(stream) {
            last.store(time, Relaxed);
        }
        let times = self.streams.iter().map(|time| time.load(Relaxed));
        notes::keep_caught_up(store, times.min().unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sesscache_core::store::StoreUrl;

    #[test]
    fn the_store_remembers_the_stream_that_is_furthest_behind() {
        let store = Store::open(&StoreUrl::parse("shm:?size=1MiB").unwrap()).unwrap();
        let caught_up = CaughtUp::of(&store, 2);
        assert_eq!(caught_up.at(1), 0);
        caught_up.set(&store, 0, 70);
        assert_eq!(CaughtUp::of(&store, 2).at(0), 0, "the other was never read");
        caught_up.set(&store, 1, 50);
        assert_eq!((caught_up.at(0), caught_up.at(1)), (70, 50));
        assert_eq!(CaughtUp::of(&store, 2).at(0), 50);
    }
}
