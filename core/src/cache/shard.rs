//! One shard's content: slab, index, order of eviction and wheel, always changed together.
//!
//! No lock here: [`super::Cache`] holds one a shard, and every method is one short step under it.
//! Values are handed out, never dropped or called, so that nothing of the caller's runs inside.

use super::index::Index;
use super::key::Key;
use super::slab::{NONE, Slab, Slot};
use super::wheel::{Next, Wheel};
use super::{Batch, Value, second};
use std::sync::atomic::Ordering::Relaxed;

/// How many entries one step looks at, at most: a step is what another thread may have to wait for.
const STEP: u32 = 16;
/// How many looked-up entries eviction passes over before it takes the oldest all the same.
const SECOND_CHANCES: usize = 64;

/// Entries that share a lock.
#[derive(Debug)]
pub(super) struct Shard<V> {
    slab: Slab<V>,
    index: Index,
    wheel: Wheel,
    oldest: Slot,
    newest: Slot,
}

/// What became of a value that was to be added.
#[derive(Debug)]
pub(super) enum Insertion<V> {
    /// A new entry.
    Added,
    /// This very value was there already.
    Present,
    /// Another value had the key.
    Replaced(V),
    /// There was no memory.
    Refused(V),
}

impl<V> Shard<V> {
    pub(super) fn new(now: u32) -> Self {
        Shard {
            slab: Slab::new(),
            index: Index::default(),
            wheel: Wheel::new(now),
            oldest: NONE,
            newest: NONE,
        }
    }

    #[inline]
    fn find(&self, hash: u32, key: &Key) -> Option<Slot> {
        self.index.find(hash, |slot| self.slab.get(slot).is_some_and(|entry| entry.key.is(key)))
    }

    pub(super) fn contains(&self, hash: u32, key: &Key) -> bool {
        self.find(hash, key).is_some()
    }

    /// The value under `key`, which counts as used.
    #[inline]
    pub(super) fn get(&self, hash: u32, key: &Key) -> Option<&V> {
        let entry = self.slab.get(self.find(hash, key)?)?;
        if !entry.referenced.load(Relaxed) {
            entry.referenced.store(true, Relaxed);
        }
        entry.value.as_ref()
    }

    /// Changes the entry of `key`, if there is one; gives the value back if not.
    pub(super) fn refresh(
        &mut self,
        hash: u32,
        key: &Key,
        value: V,
        due: u32,
    ) -> Result<Insertion<V>, V>
    where
        V: PartialEq,
    {
        let Some(slot) = self.find(hash, key) else { return Err(value) };
        self.wheel.unlink(&mut self.slab, slot);
        self.wheel.link(&mut self.slab, slot, due);
        self.age_unlink(slot);
        self.age_link(slot);
        let Some(entry) = self.slab.get_mut(slot) else { return Err(value) };
        match entry.value.replace(value) {
            Some(old) if entry.value.as_ref() != Some(&old) => Ok(Insertion::Replaced(old)),
            // The reference that came is the one that is kept.
            _ => Ok(Insertion::Present),
        }
    }

    /// Adds an entry; the key is not there yet.
    #[expect(clippy::too_many_arguments, reason = "an entry's parts, and the present")]
    pub(super) fn insert(
        &mut self,
        hash: u32,
        key: Key,
        value: V,
        due: u32,
        now: u32,
    ) -> Insertion<V> {
        if !self.index.reserve() {
            return Insertion::Refused(value);
        }
        let slot = match self.slab.insert(key, value) {
            Ok(slot) => slot,
            Err(value) => return Insertion::Refused(value),
        };
        self.wheel.skip_to(now);
        self.index.insert(hash, slot);
        self.wheel.link(&mut self.slab, slot, due);
        self.age_link(slot);
        Insertion::Added
    }

    /// Takes out the entry of `key` if `is_it` holds for its value.
    pub(super) fn remove_if(
        &mut self,
        hash: u32,
        key: &Key,
        is_it: impl FnOnce(&V) -> bool,
    ) -> Option<V> {
        let slot = self.find(hash, key)?;
        let wanted = self.slab.get(slot)?.value.as_ref().is_some_and(is_it);
        if wanted { self.take(hash, slot) } else { None }
    }

    /// Moves the entry of `key` in the order of expiry if `is_it` holds for its value.
    pub(super) fn set_due(
        &mut self,
        hash: u32,
        key: &Key,
        due: u32,
        is_it: impl FnOnce(&V) -> bool,
    ) {
        let Some(slot) = self.find(hash, key) else { return };
        let Some(entry) = self.slab.get(slot) else { return };
        if entry.due != due && entry.value.as_ref().is_some_and(is_it) {
            self.wheel.unlink(&mut self.slab, slot);
            self.wheel.link(&mut self.slab, slot, due);
        }
    }

    fn take(&mut self, hash: u32, slot: Slot) -> Option<V> {
        self.index.remove(hash, slot);
        self.wheel.unlink(&mut self.slab, slot);
        self.age_unlink(slot);
        self.slab.remove(slot)
    }

    /// Takes out the entry that was not used for longest, by second chance.
    pub(super) fn evict(&mut self, hash_of: impl FnOnce(&Key) -> u32) -> Option<V>
    where
        V: Value,
    {
        for _ in 0..SECOND_CHANCES {
            let slot = self.oldest;
            let referenced = self.slab.get_mut(slot)?.referenced.get_mut();
            if !std::mem::take(referenced) {
                break;
            }
            self.age_unlink(slot);
            self.age_link(slot);
        }
        let slot = self.oldest;
        let hash = hash_of(&self.slab.get(slot)?.key.key());
        let victim = self.take(hash, slot);
        // The next to go; it will be cold memory.
        if let Some(next) = self.slab.get(self.oldest).and_then(|entry| entry.value.as_ref()) {
            next.prefetch();
        }
        victim
    }

    /// One step of expiry: fills `out` with entries whose deadline, as `deadline_of` tells, lies
    /// before `target`. Returns the second before which nothing is due; while that is smaller than
    /// `target`, there is more to do.
    pub(super) fn expire(
        &mut self,
        target: u32,
        deadline_of: impl Fn(&V) -> u32,
        hash_of: impl Fn(&Key) -> u32,
        out: &mut Batch<V>,
    ) -> u32 {
        if self.wheel.is_past(target) {
            self.set_back(target);
        }
        for _ in 0..STEP {
            if out.is_full() {
                break;
            }
            let slot = match self.wheel.next(target) {
                Next::Look(slot) => slot,
                Next::Nothing(bound) => return bound,
            };
            let Some(entry) = self.slab.get(slot) else { return u32::MAX };
            let deadline = entry.value.as_ref().map_or(0, &deadline_of);
            if deadline < target {
                let hash = hash_of(&entry.key.key());
                out.push(self.take(hash, slot));
            } else {
                self.wheel.unlink(&mut self.slab, slot);
                self.wheel.link(&mut self.slab, slot, deadline);
            }
        }
        0
    }

    /// The clock was set back: the wheel turns back too, which takes a look at every entry.
    fn set_back(&mut self, now: u32) {
        self.wheel = Wheel::new(now);
        for slot in 0..self.slab.end() {
            let Some(entry) = self.slab.get(slot) else { continue };
            if entry.value.is_some() {
                let due = entry.due;
                self.wheel.link(&mut self.slab, slot, due);
            }
        }
    }

    /// One step of a walk over all entries from `cursor`: fills `out` with those whose deadline, as
    /// `deadline_of` tells, lies before `at`, and moves those that stay to where they belong in the
    /// order of expiry. Returns where to go on, `None` at the end, and the first second in which
    /// one of those that were moved is due.
    #[expect(
        clippy::too_many_arguments,
        reason = "the step, and what only the cache can tell of an entry"
    )]
    pub(super) fn sweep(
        &mut self,
        cursor: Slot,
        at: i64,
        deadline_of: impl Fn(&V) -> i64,
        hash_of: impl Fn(&Key) -> u32,
        out: &mut Batch<V>,
    ) -> (Option<Slot>, u32) {
        let mut earliest = u32::MAX;
        let end = self.slab.end().min(cursor.saturating_add(STEP));
        for slot in cursor..end {
            if out.is_full() {
                return (Some(slot), earliest);
            }
            let Some(entry) = self.slab.get(slot) else { continue };
            let Some(deadline) = entry.value.as_ref().map(&deadline_of) else { continue };
            let due = second(deadline);
            if deadline < at {
                let hash = hash_of(&entry.key.key());
                out.push(self.take(hash, slot));
            } else if due != entry.due {
                self.wheel.unlink(&mut self.slab, slot);
                self.wheel.link(&mut self.slab, slot, due);
                earliest = earliest.min(due);
            }
        }
        ((end < self.slab.end()).then_some(end), earliest)
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// All values, roughly oldest first.
    pub(super) fn into_values(self) -> impl Iterator<Item = V> {
        self.slab.into_values()
    }

    /// All values, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        (0..self.slab.end()).filter_map(|slot| self.slab.get(slot)?.value.as_ref())
    }

    /// Appends an unlinked entry as the newest.
    fn age_link(&mut self, slot: Slot) {
        let newest = self.newest;
        if let Some(entry) = self.slab.get_mut(slot) {
            entry.older = newest;
            entry.newer = NONE;
        }
        match self.slab.get_mut(newest) {
            Some(entry) => entry.newer = slot,
            None => self.oldest = slot,
        }
        self.newest = slot;
    }

    fn age_unlink(&mut self, slot: Slot) {
        let Some(entry) = self.slab.get(slot) else { return };
        let (older, newer) = (entry.older, entry.newer);
        match self.slab.get_mut(older) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.slab.get_mut(newer) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }
}
