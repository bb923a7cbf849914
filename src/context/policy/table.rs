//! A bounded table by hash, of two classes: what anybody may put in, and what is kept because it was
//! asked for again.
//!
//! Whatever comes into the first class pushes nothing out of the second. In each, values go by the
//! last time they were put in: there are a young and an old generation, and the old one goes when
//! the young one is full. Returns what goes, so that nothing is dropped under a lock. No locks.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem::{replace, take};

type Map<V> = HashMap<u64, V, BuildHasherDefault<Itself>>;

/// The hash of a hash: the keys are hashes already, with a secret.
#[derive(Debug, Default)]
pub(super) struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// The table. Each class holds at most two generations.
#[derive(Debug)]
pub(super) struct Table<V> {
    seen: Generations<V>,
    kept: Generations<V>,
}

/// Values that were taken out, to be dropped where no lock is held.
#[must_use]
pub(super) struct Gone<V> {
    _one: Option<V>,
    _many: Option<Map<V>>,
}

#[derive(Debug)]
struct Generations<V> {
    young: Map<V>,
    old: Map<V>,
    /// The most values of a generation.
    most: usize,
}

impl<V> Table<V> {
    /// An empty one, whose generations hold so many values that anybody put in, and that are kept.
    pub(super) fn new(most_seen: usize, most_kept: usize) -> Table<V> {
        Table { seen: Generations::new(most_seen), kept: Generations::new(most_kept) }
    }

    /// The value of this hash.
    pub(super) fn get(&self, hash: u64) -> Option<&V> {
        self.kept.get(hash).or_else(|| self.seen.get(hash))
    }

    /// The value, if [`Table::keep`] would change nothing.
    pub(super) fn settled(&self, hash: u64) -> Option<&V> {
        self.kept.young.get(&hash)
    }

    /// Replaces a value, or puts it in where anybody may.
    pub(super) fn see(&mut self, hash: u64, value: V) -> Gone<V> {
        match self.kept.get_mut(hash).or_else(|| self.seen.get_mut(hash)) {
            Some(place) => Gone { _one: Some(replace(place, value)), _many: None },
            None => self.seen.insert(hash, value),
        }
    }

    /// Keeps the value of this hash, or the default one, after `change`.
    pub(super) fn keep(&mut self, hash: u64, change: impl FnOnce(&mut V)) -> Gone<V>
    where
        V: Default,
    {
        let known = self.kept.take(hash).or_else(|| self.seen.take(hash));
        let mut value = known.unwrap_or_default();
        change(&mut value);
        self.kept.insert(hash, value)
    }
}

impl<V> Generations<V> {
    fn new(most: usize) -> Generations<V> {
        Generations { young: Map::default(), old: Map::default(), most }
    }

    fn get(&self, hash: u64) -> Option<&V> {
        self.young.get(&hash).or_else(|| self.old.get(&hash))
    }

    fn get_mut(&mut self, hash: u64) -> Option<&mut V> {
        self.young.get_mut(&hash).or_else(|| self.old.get_mut(&hash))
    }

    fn take(&mut self, hash: u64) -> Option<V> {
        self.young.remove(&hash).or_else(|| self.old.remove(&hash))
    }

    /// The hash is not in it. Without memory the value goes.
    fn insert(&mut self, hash: u64, value: V) -> Gone<V> {
        let is_full = self.young.len() >= self.most;
        let many = is_full.then(|| replace(&mut self.old, take(&mut self.young)));
        let one = if self.young.try_reserve(1).is_ok() {
            self.young.insert(hash, value)
        } else {
            Some(value)
        };
        Gone { _one: one, _many: many }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST_SEEN: usize = 10;
    const MOST_KEPT: usize = 100;

    fn table() -> Table<u64> {
        Table::new(MOST_SEEN, MOST_KEPT)
    }

    fn count(table: &Table<u64>) -> usize {
        [&table.seen, &table.kept].map(|class| class.young.len() + class.old.len()).iter().sum()
    }

    #[test]
    fn invented_ones_push_out_none_that_is_kept() {
        let mut table = table();
        for hash in 0..MOST_KEPT as u64 {
            drop(table.see(hash, hash));
            drop(table.keep(hash, |_| {}));
        }
        for hash in 1000..100_000 {
            drop(table.see(hash, hash));
            assert!(count(&table) <= MOST_KEPT + 2 * MOST_SEEN);
        }
        assert!((0..MOST_KEPT as u64).all(|hash| table.get(hash) == Some(&hash)));
        assert_eq!(table.get(1000), None);
        assert_eq!(table.get(99_999), Some(&99_999));
    }

    #[test]
    fn names_in_turn_stay_as_long_as_a_generation_holds_them() {
        let mut table = table();
        for round in 0..5 {
            for hash in 0..MOST_KEPT as u64 {
                assert_eq!(table.get(hash), (round > 0).then_some(&hash));
                drop(table.keep(hash, |value| *value = hash));
                assert_eq!(table.settled(hash), Some(&hash));
            }
            // A few that come once push out some that are as old, and none that is in turn.
            drop(table.keep(1_000_000 + round, |_| {}));
            assert!(count(&table) <= 2 * MOST_KEPT);
        }
    }

    #[test]
    fn a_value_is_replaced_where_it_is() {
        let mut table = table();
        drop(table.keep(7, |value| *value = 1));
        drop(table.see(7, 2));
        drop(table.see(8, 3));
        drop(table.see(8, 4));
        assert_eq!((table.settled(7), table.get(8), table.settled(8)), (Some(&2), Some(&4), None));
        assert_eq!(count(&table), 2);
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let mut table = table();
        for hash in 0..10_000 {
            drop(table.see(hash, hash));
            drop(table.keep(hash * 3, |_| {}));
            assert!(count(&table) <= 2 * (MOST_SEEN + MOST_KEPT));
        }
    }
}
