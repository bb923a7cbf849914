//! The entries of one shard, in slots that never move.
//!
//! Grows by chunks that double, so that no growth copies entries: a pause under the shard's lock
//! would be seen by every thread. Free slots are chained through `newer`.
//! No locks here: the shard holds one.

use super::key::{Key, Stored};
use crate::sync::AtomicBool;

/// The number of a slot in a [`Slab`].
pub(super) type Slot = u32;

/// No slot: the end of a chain.
pub(super) const NONE: Slot = Slot::MAX;

const FIRST_CHUNK: usize = 16;
/// Doubling from [`FIRST_CHUNK`], this many chunks hold 2^31 entries.
const CHUNKS: usize = 27;

/// One cached value, 64 bytes so that a hit touches one cache line of ours.
#[repr(align(64))]
#[derive(Debug)]
pub(super) struct Entry<V> {
    /// `None` in a free slot.
    pub(super) value: Option<V>,
    pub(super) key: Stored,
    /// Looked up since it was added or last passed over for eviction. Set by readers.
    pub(super) referenced: AtomicBool,
    /// When the wheel looks at the entry; the value's own deadline decides then.
    pub(super) due: u32,
    /// Neighbours in the order of eviction.
    pub(super) older: Slot,
    pub(super) newer: Slot,
    /// Neighbours in the wheel's bucket (see `wheel`).
    pub(super) wheel_prev: u32,
    pub(super) wheel_next: Slot,
}

/// Slots with entries.
#[derive(Debug)]
pub(super) struct Slab<V> {
    chunks: Vec<Vec<Entry<V>>>,
    free: Slot,
    /// The first slot that was never used.
    end: Slot,
}

fn position(slot: Slot) -> (usize, usize) {
    let shifted = slot as usize + FIRST_CHUNK;
    let chunk = shifted.ilog2() - FIRST_CHUNK.ilog2();
    (chunk as usize, shifted - (FIRST_CHUNK << chunk))
}

impl<V> Slab<V> {
    pub(super) const fn new() -> Self {
        Slab { chunks: Vec::new(), free: NONE, end: 0 }
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Entry<V>> {
        if slot == NONE {
            return None;
        }
        let (chunk, offset) = position(slot);
        self.chunks.get(chunk)?.get(offset)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Entry<V>> {
        if slot == NONE {
            return None;
        }
        let (chunk, offset) = position(slot);
        self.chunks.get_mut(chunk)?.get_mut(offset)
    }

    /// All values, in the order of slots.
    pub(super) fn into_values(self) -> impl Iterator<Item = V> {
        self.chunks.into_iter().flatten().filter_map(|entry| entry.value)
    }

    /// How many slots there are, free ones included: every slot is below this.
    pub(super) fn end(&self) -> Slot {
        self.end
    }

    /// Puts a value into a free slot, or gives it back when there is no memory.
    pub(super) fn insert(&mut self, key: Key, value: V) -> Result<Slot, V> {
        let free = self.free;
        if let Some(entry) = self.get_mut(free) {
            let next = entry.newer;
            entry.key = key.into();
            entry.value = Some(value);
            *entry.referenced.get_mut() = false;
            self.free = next;
            return Ok(free);
        }
        let slot = self.end;
        if !self.reserve(slot) {
            return Err(value);
        }
        let (chunk, _) = position(slot);
        let Some(chunk) = self.chunks.get_mut(chunk) else { return Err(value) };
        chunk.push(Entry {
            value: Some(value),
            key: key.into(),
            referenced: AtomicBool::new(false),
            due: 0,
            older: NONE,
            newer: NONE,
            wheel_prev: NONE,
            wheel_next: NONE,
        });
        self.end += 1;
        Ok(slot)
    }

    /// Makes room for `slot`, the next one to be used; false when there is no memory.
    fn reserve(&mut self, slot: Slot) -> bool {
        let (chunk, _) = position(slot);
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

    /// Empties a slot; the caller has already unlinked it everywhere.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<V> {
        let free = self.free;
        let entry = self.get_mut(slot)?;
        let value = entry.value.take()?;
        entry.newer = free;
        self.free = slot;
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
    fn slots_are_reused_and_stay_put() {
        let mut slab = Slab::new();
        let key = Key::new(1, b"x").unwrap();
        let slots: Vec<Slot> = (0..1000).map(|n| slab.insert(key, n).unwrap()).collect();
        assert_eq!(slots, (0..1000).collect::<Vec<Slot>>());
        assert_eq!(slab.remove(500), Some(500));
        assert_eq!(slab.remove(500), None);
        assert_eq!(slab.insert(key, 7), Ok(500));
        assert_eq!(slab.get(999).and_then(|entry| entry.value), Some(999));
        assert_eq!(slab.end(), 1000);
    }
}
