//! The entries of one shard, found by number; an entry never moves.
//!
//! It grows by chunks that double, and copies no entries: every thread would notice a pause under
//! the shard's lock. Free entries are chained through `newer`. No locks: the shard's caller has
//! one.

use super::key::{Key, Stored};
use crate::sync::AtomicU8;

/// The number of an entry in a [`Slab`].
pub(super) type EntryNumber = u32;

/// No entry: the end of a chain.
pub(super) const NONE: EntryNumber = EntryNumber::MAX;

const FIRST_CHUNK: usize = 16;
/// Doubling from [`FIRST_CHUNK`], this many chunks hold 2^31 entries.
const CHUNKS: usize = 27;

/// An entry with its value. It has 64 bytes, so that a hit touches one cache line of ours.
#[repr(align(64))]
#[derive(Debug)]
pub(super) struct Entry<V> {
    /// `None` in a free entry.
    pub(super) value: Option<V>,
    pub(super) key: Stored,
    /// How often it was used, and when last (see `order`). Readers change it.
    pub(super) state: AtomicU8,
    /// The second in which the wheel looks at the entry. The value's own deadline decides then.
    pub(super) due: u32,
    /// Neighbours in a list of the order of eviction.
    pub(super) older: EntryNumber,
    pub(super) newer: EntryNumber,
    /// Neighbours in the wheel's bucket (see `wheel`).
    pub(super) wheel_prev: u32,
    pub(super) wheel_next: EntryNumber,
}

/// Entries by number, used and free ones.
#[derive(Debug)]
pub(super) struct Slab<V> {
    chunks: Vec<Vec<Entry<V>>>,
    free: EntryNumber,
    /// The first number that was never used.
    end: EntryNumber,
}

fn position(number: EntryNumber) -> (usize, usize) {
    let shifted = number as usize + FIRST_CHUNK;
    let chunk = shifted.ilog2() - FIRST_CHUNK.ilog2();
    (chunk as usize, shifted - (FIRST_CHUNK << chunk))
}

impl<V> Slab<V> {
    pub(super) const fn new() -> Self {
        Slab { chunks: Vec::new(), free: NONE, end: 0 }
    }

    pub(super) fn get(&self, number: EntryNumber) -> Option<&Entry<V>> {
        if number == NONE {
            return None;
        }
        let (chunk, offset) = position(number);
        self.chunks.get(chunk)?.get(offset)
    }

    pub(super) fn get_mut(&mut self, number: EntryNumber) -> Option<&mut Entry<V>> {
        if number == NONE {
            return None;
        }
        let (chunk, offset) = position(number);
        self.chunks.get_mut(chunk)?.get_mut(offset)
    }

    /// All values, in the order of numbers.
    pub(super) fn into_values(self) -> impl Iterator<Item = V> {
        self.chunks.into_iter().flatten().filter_map(|entry| entry.value)
    }

    /// The number of entries, free ones included. Every entry's number is below this.
    pub(super) fn end(&self) -> EntryNumber {
        self.end
    }

    /// Puts a value into a free entry, or gives it back when there is no memory.
    pub(super) fn insert(&mut self, key: Key, value: V) -> Result<EntryNumber, V> {
        let free = self.free;
        if let Some(entry) = self.get_mut(free) {
            let next = entry.newer;
            entry.key = key.into();
            entry.value = Some(value);
            self.free = next;
            return Ok(free);
        }
        let number = self.end;
        if !self.reserve(number) {
            return Err(value);
        }
        let (chunk, _) = position(number);
        let Some(chunk) = self.chunks.get_mut(chunk) else { return Err(value) };
        chunk.push(Entry {
            value: Some(value),
            key: key.into(),
            state: AtomicU8::new(0),
            due: 0,
            older: NONE,
            newer: NONE,
            wheel_prev: NONE,
            wheel_next: NONE,
        });
        self.end += 1;
        Ok(number)
    }

    /// Makes room for the entry `number`, which is the next; false when there is no memory.
    fn reserve(&mut self, number: EntryNumber) -> bool {
        let (chunk, _) = position(number);
        if chunk < self.chunks.len() {
            return true;
        }
        let mut entries = Vec::new();
        if chunk >= CHUNKS
            || self.chunks.try_reserve(1).is_err()
            || entries.try_reserve_exact(FIRST_CHUNK << chunk).is_err()
        {
            return false;
        }
        self.chunks.push(entries);
        true
    }

    /// Empties an entry; the caller has already unlinked it everywhere.
    pub(super) fn remove(&mut self, number: EntryNumber) -> Option<V> {
        let free = self.free;
        let entry = self.get_mut(number)?;
        let value = entry.value.take()?;
        entry.newer = free;
        self.free = number;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_cache_line() {
        assert_eq!(size_of::<Entry<Box<u8>>>(), 64);
    }

    #[test]
    fn numbers_are_reused_and_entries_stay_put() {
        let mut slab = Slab::new();
        let key = Key::new(1, b"x").unwrap();
        let numbers: Vec<EntryNumber> = (0..1000).map(|n| slab.insert(key, n).unwrap()).collect();
        assert_eq!(numbers, (0..1000).collect::<Vec<EntryNumber>>());
        assert_eq!(slab.remove(500), Some(500));
        assert_eq!(slab.remove(500), None);
        assert_eq!(slab.insert(key, 7), Ok(500));
        assert_eq!(slab.get(999).and_then(|entry| entry.value), Some(999));
        assert_eq!(slab.end(), 1000);
    }
}
