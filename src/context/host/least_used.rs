//! A bounded table by hash: of its values those that are used least make room. No locks.

use crate::openssl::boxed;
use std::mem;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

/// The most values.
pub(super) const MOST: usize = 256;

/// After so many have made room, each counts half of its uses.
const HALF_LIFE: usize = 4 * MOST;

/// The table. With no value it takes no memory.
pub(super) struct LeastUsed<V> {
    /// In the order of their hashes.
    kept: Vec<Kept<V>>,
    /// The place of the value that was used last, unless others have moved it.
    latest: AtomicUsize,
    /// So many have made room since uses were halved.
    gone: usize,
}

struct Kept<V> {
    hash: u64,
    uses: AtomicU32,
    value: Box<V>,
}

impl<V> LeastUsed<V> {
    pub(super) const fn new() -> LeastUsed<V> {
        LeastUsed { kept: Vec::new(), latest: AtomicUsize::new(0), gone: 0 }
    }

    /// The value that is meant. It counts as used. The one that was used last needs no hash.
    ///
    /// # Errors
    /// The hash under which it can be kept, if there is one.
    pub(super) fn find(
        &self,
        is_it: impl Fn(&V) -> bool,
        hash: impl FnOnce() -> Option<u64>,
    ) -> Result<&V, Option<u64>> {
        if let Some(latest) = self.latest(&is_it) {
            return Ok(latest);
        }
        let hash = hash();
        hash.and_then(|hash| self.get(hash, is_it)).ok_or(hash)
    }

    /// The value of this hash, if it is the one that is meant. It counts as used.
    fn get(&self, hash: u64, is_it: impl FnOnce(&V) -> bool) -> Option<&V> {
        let place = self.kept.binary_search_by_key(&hash, |kept| kept.hash).ok()?;
        self.used(place, is_it)
    }

    /// The value that was used last, if it is the one that is meant. It counts as used.
    fn latest(&self, is_it: impl FnOnce(&V) -> bool) -> Option<&V> {
        self.used(self.latest.load(Relaxed), is_it)
    }

    fn used(&self, place: usize, is_it: impl FnOnce(&V) -> bool) -> Option<&V> {
        let kept = self.kept.get(place).filter(|kept| is_it(&kept.value))?;
        self.latest.store(place, Relaxed);
        // Not in one step: a count that is lost does not matter.
        kept.uses.store(kept.uses.load(Relaxed).saturating_add(1), Relaxed);
        Some(&kept.value)
    }

    /// Keeps a value, and returns one that is not kept, to be dropped where no lock is held.
    pub(super) fn keep(&mut self, hash: u64, value: V) -> Option<Box<V>> {
        let value = boxed::try_new(value)?;
        if let Ok(place) = self.kept.binary_search_by_key(&hash, |kept| kept.hash) {
            return self.kept.get_mut(place).map(|kept| mem::replace(&mut kept.value, value));
        }
        let gone = self.make_room();
        if self.kept.try_reserve(1).is_err() {
            return Some(value);
        }
        let place = self.kept.partition_point(|kept| kept.hash < hash);
        self.kept.insert(place, Kept { hash, uses: AtomicU32::new(1), value });
        gone
    }

    /// Takes out the value that is used least, if there are as many as there can be.
    fn make_room(&mut self) -> Option<Box<V>> {
        if self.kept.len() < MOST {
            return None;
        }
        self.gone += 1;
        if self.gone == HALF_LIFE {
            self.gone = 0;
            self.kept.iter_mut().for_each(|kept| *kept.uses.get_mut() /= 2);
        }
        let uses = |(_, kept): &(usize, &Kept<V>)| kept.uses.load(Relaxed);
        let (place, _) = self.kept.iter().enumerate().min_by_key(uses)?;
        Some(self.kept.remove(place).value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_if_it_is_the_one_that_is_meant() {
        let mut table = LeastUsed::new();
        assert!(table.keep(7, "one").is_none());
        assert_eq!(table.get(7, |value| *value == "one"), Some(&"one"));
        assert_eq!(table.get(7, |value| *value == "two"), None);
        assert_eq!(table.get(8, |_| true), None);
        assert_eq!(table.keep(7, "two").as_deref(), Some(&"one"));
    }

    #[test]
    fn the_one_that_was_used_last_needs_no_hash() {
        let mut table = LeastUsed::new();
        assert_eq!(table.latest(|_: &&str| true), None);
        for (hash, value) in [(5, "five"), (6, "six"), (7, "seven")] {
            drop(table.keep(hash, value));
        }
        table.get(7, |_| true);
        assert_eq!(table.latest(|value| *value == "seven"), Some(&"seven"));
        assert_eq!(table.latest(|value| *value == "six"), None);
        // Moves the others on.
        drop(table.keep(1, "one"));
        assert_eq!(table.latest(|value| *value == "seven"), None);
        assert_eq!(table.get(7, |value| *value == "seven"), Some(&"seven"));
        assert_eq!(table.latest(|value| *value == "seven"), Some(&"seven"));
    }

    #[test]
    fn what_is_not_there_can_be_kept_under_its_hash() {
        let mut table = LeastUsed::new();
        drop(table.keep(7, "seven"));
        assert_eq!(table.find(|value| *value == "seven", || panic!("no hash")), Ok(&"seven"));
        assert_eq!(table.find(|value| *value == "six", || Some(6)), Err(Some(6)));
        assert_eq!(table.find(|value| *value == "six", || None), Err(None));
        drop(table.keep(6, "six"));
        assert_eq!(table.find(|value| *value == "seven", || Some(7)), Ok(&"seven"));
    }

    #[test]
    fn those_that_are_used_stay() {
        let mut table = LeastUsed::new();
        (0..4).for_each(|hash| drop(table.keep(hash, hash)));
        for hash in 4..4 * MOST as u64 {
            table.get(hash % 4, |_| true);
            drop(table.keep(hash, hash));
            assert!(
                table.kept.len() <= MOST && (0..4).all(|old| table.get(old, |_| true).is_some())
            );
        }
        assert_eq!(table.kept.len(), MOST);
    }
}
