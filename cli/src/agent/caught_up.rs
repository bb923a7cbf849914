//! Until when the streams were read to their ends, so that a host that was away for longer than
//! entries stay knows that it missed some.
//!
//! A stream does not tell that: its last entry may be old because nobody wrote since.

use super::notes;
use sesscache_core::store::Store;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Times in milliseconds by Redis's clock, one for each stream; 0 is not known.
#[derive(Debug)]
pub(crate) struct CaughtUp {
    streams: Vec<AtomicU64>,
}

impl CaughtUp {
    /// As the store remembers it, for all streams alike.
    pub(crate) fn of(store: &Store, streams: usize) -> CaughtUp {
        let time = notes::caught_up(store);
        CaughtUp { streams: (0..streams).map(|_| AtomicU64::new(time)).collect() }
    }

    /// Until when the stream was read.
    pub(crate) fn at(&self, stream: usize) -> u64 {
        self.streams.get(stream).map_or(0, |time| time.load(Relaxed))
    }

    /// The stream was read to its end at this time. The store remembers the earliest of all.
    pub(crate) fn set(&self, store: &Store, stream: usize, time: u64) {
        if let Some(place) = self.streams.get(stream) {
            place.store(time, Relaxed);
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
