//! The entries of one shard, found by number; an entry never moves.
//!
//! It grows by chunks and copies no entries: every thread would notice a pause under the shard's lock.
//! A chunk has an eighth of the entries there are, or a little more, so that few are made before they
//! are needed. Free entries are chained through `newer`. No locks: the shard's caller has
//! one.

use super::key::{Key, Stored};
use crate::sync::AtomicU8;

/// The number of an entry in a [`Slab`].
pub(super) type EntryNumber = u32;

/// No entry: the end of a chain.
pub(super) const NONE: EntryNumber = EntryNumber::MAX;

/// The fewest entries of a chunk.
const FIRST_CHUNK: usize = 16;
/// There are so many chunks of a length before the next are twice as long, as a power of two.
const SAME_LENGTH: u32 = 3;
/// There are places for so many entries: their numbers have 32 bits.
const MOST_ENTRIES: usize = 1 << 31;

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

/// A chunk by number, and the place of an entry in it.
struct Position {
    chunk: usize,
    /// How many entries the chunk has.
    length: usize,
    offset: usize,
}

#[inline]
fn position(number: EntryNumber) -> Position {
    // As if the first chunks came after as many entries as they have themselves.
    let shifted = number as usize + (FIRST_CHUNK << SAME_LENGTH);
    let bits = shifted.ilog2() - SAME_LENGTH;
    let before = (bits - FIRST_CHUNK.ilog2()) << SAME_LENGTH;
    let chunk = before as usize + (shifted >> bits) - (1 << SAME_LENGTH);
    let length = 1 << bits;
    Position { chunk, length, offset: shifted & (length - 1) }
}

impl<V> Slab<V> {
    pub(super) const fn new() -> Self {
        Slab { chunks: Vec::new(), free: NONE, end: 0 }
    }

    pub(super) fn get(&self, number: EntryNumber) -> Option<&Entry<V>> {
        if number == NONE {
            return None;
        }
        let Position { chunk, offset, .. } = position(number);
        self.chunks.get(chunk)?.get(offset)
    }

    pub(super) fn get_mut(&mut self, number: EntryNumber) -> Option<&mut Entry<V>> {
        if number == NONE {
            return None;
        }
        let Position { chunk, offset, .. } = position(number);
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
        let Position { chunk, .. } = position(number);
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
        let Position { chunk, length, .. } = position(number);
        if chunk < self.chunks.len() {
            return true;
        }
        let mut entries = Vec::new();
        if number as usize >= MOST_ENTRIES
            || self.chunks.try_reserve(1).is_err()
            || entries.try_reserve_exact(length).is_err()
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
    fn a_chunk_has_at_most_an_eighth_of_the_entries_before_it() {
        let mut end = 0;
        let mut chunk = 0;
        while end < 1 << 20 {
            let first = position(u32::try_from(end).unwrap());
            let last = position(u32::try_from(end + first.length - 1).unwrap());
            assert_eq!((first.chunk, first.offset), (chunk, 0), "{end}");
            assert_eq!((last.chunk, last.offset), (chunk, first.length - 1), "{end}");
            assert!(first.length <= end / 8 + FIRST_CHUNK, "{end}");
            (end, chunk) = (end + first.length, chunk + 1);
        }
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
