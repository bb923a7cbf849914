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
pub(crate) struct Heard {
    streams: Vec<AtomicU64>,
}

impl Heard {
    /// As the store remembers it, for all streams alike.
    pub(crate) fn of(store: &Store, streams: usize) -> Heard {
        let time = notes::heard(store);
        Heard { streams: (0..streams).map(|_| AtomicU64::new(time)).collect() }
    }

    /// Until when the stream was read.
    pub(crate) fn until(&self, stream: usize) -> u64 {
        self.streams.get(stream).map_or(0, |time| time.load(Relaxed))
    }

    /// The stream was read to its end at this time. The store remembers the earliest of all.
    pub(crate) fn read_to_the_end(&self, store: &Store, stream: usize, time: u64) {
        if let Some(place) = self.streams.get(stream) {
            place.store(time, Relaxed);
        }
        let times = self.streams.iter().map(|time| time.load(Relaxed));
        notes::keep_heard(store, times.min().unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sesscache_core::store::StoreUrl;

    #[test]
    fn the_store_remembers_the_stream_that_is_furthest_behind() {
        let store = Store::open(&StoreUrl::parse("shm:?size=1MiB").unwrap()).unwrap();
        let heard = Heard::of(&store, 2);
        assert_eq!(heard.until(1), 0);
        heard.read_to_the_end(&store, 0, 70);
        assert_eq!(Heard::of(&store, 2).until(0), 0, "the other was never read");
        heard.read_to_the_end(&store, 1, 50);
        assert_eq!((heard.until(0), heard.until(1)), (70, 50));
        assert_eq!(Heard::of(&store, 2).until(0), 50);
    }
}
