//! The head of a region: which buckets have something to tell, and counters.

use super::bucket::STORED;
use super::word::Word;
use super::{Place, REGION_BUCKETS, Table};
use crate::store::counters::Counter;

/// Counters for which there is room.
const COUNTERS: usize = 24;

/// The head of a region, as it lies in the mapping.
#[derive(Debug)]
#[repr(C)]
pub(in crate::store) struct Region {
    /// A bit for each bucket in which something may be untold.
    pub(super) dirty: Word,
    /// 1 once a reader came.
    pub(super) read: Word,
    padding: [Word; 6],
    counters: [Word; COUNTERS],
}

// Words of shuttle and loom are larger.
#[cfg(not(any(shuttle, loom)))]
const _: () = assert!(size_of::<Region>() == 256 && REGION_BUCKETS == 64);

impl Region {
    #[cfg(test)]
    pub(in crate::store) fn new() -> Region {
        let word = |_| Word::default();
        Region {
            dirty: Word::default(),
            read: Word::default(),
            padding: std::array::from_fn(word),
            counters: std::array::from_fn(word),
        }
    }

    #[inline]
    pub(super) fn count(&self, counter: Counter) {
        if let Some(word) = self.counters.get(counter as usize) {
            word.add(1);
        }
    }

    /// Whether a reader of the log has ever come.
    #[inline]
    pub(super) fn is_read(&self) -> bool {
        self.read.peek() != 0
    }

    pub(in crate::store) fn counted(&self, counter: Counter) -> u64 {
        self.counters.get(counter as usize).map_or(0, Word::peek)
    }
}

impl Place<'_> {
    #[inline]
    pub(in crate::store) fn count(&self, counter: Counter) {
        self.region.count(counter);
    }

    /// Notes that the bucket has something to tell. Called after it was published.
    #[inline]
    pub(super) fn mark(&self) {
        let bit = 1 << (self.number % REGION_BUCKETS);
        if self.region.dirty.get() & bit == 0 {
            self.region.dirty.set(bit);
        }
    }
}

impl Table<'_> {
    /// The counter's value, of all regions.
    pub(in crate::store) fn counted(&self, counter: Counter) -> u64 {
        let counts =
            |shift: u32| self.buckets.iter().map(move |bucket| bucket.counts.peek() >> shift);
        let half = u64::from(u32::MAX);
        match counter {
            Counter::Stores => counts(STORED.trailing_zeros())
                .map(|count| count & half)
                .sum::<u64>()
                .saturating_sub(self.counted(Counter::CameToNothing)),
            Counter::Evicted => counts(0).map(|count| count & half).sum(),
            _ => {
                self.regions.iter().map(|region| region.counted(counter)).fold(0, u64::wrapping_add)
            }
        }
    }

    /// Sessions, and the slots that they take.
    pub(in crate::store) fn occupied(&self) -> (u64, u64) {
        let (mut sessions, mut slots) = (0, 0);
        for bucket in self.buckets {
            let [live, more] = bucket.occupied();
            sessions += live;
            slots += live + more;
        }
        (sessions, slots)
    }
}
