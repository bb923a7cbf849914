//! The content of a shard: slab, index, order of eviction and wheel, always changed together.
//!
//! No locks: [`super::Cache`] has one for each shard, and every method is a short step under it.
//! Values are handed out, never dropped here, so that no code of the caller runs under the lock.

use super::index::Index;
use super::key::Key;
use super::order::{Order, Standing};
use super::share::{Part, Share};
use super::slab::{EntryNumber, Slab};
use super::wheel::{Next, Wheel};
use super::{Batch, Value, second};

/// The most entries that a step looks at, because another thread may have to wait for a step.
const STEP: u32 = 16;

/// Entries that share a lock.
#[derive(Debug)]
pub(super) struct Shard<V> {
    slab: Slab<V>,
    index: Index,
    wheel: Wheel,
    order: Order,
}

/// The result of adding a value.
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
            order: Order::new(),
        }
    }

    #[inline]
    fn find(&self, hash: u32, key: &Key) -> Option<EntryNumber> {
        self.index.find(hash, |number| self.slab.get(number).is_some_and(|entry| entry.key.is(key)))
    }

    pub(super) fn contains(&self, hash: u32, key: &Key) -> bool {
        self.find(hash, key).is_some()
    }

    /// The value under `key`, which counts as used.
    #[inline]
    pub(super) fn get(&self, hash: u32, key: &Key) -> Option<&V> {
        let number = self.find(hash, key)?;
        self.order.note_use(&self.slab, number);
        self.slab.get(number)?.value.as_ref()
    }

    /// A value of this hash. It does not count as used.
    pub(super) fn peek(&self, hash: u32) -> Option<&V> {
        let number = self.index.find(hash, |_| true)?;
        self.slab.get(number)?.value.as_ref()
    }

    /// Finds this very value.
    fn find_value(&self, hash: u32, value: &V) -> Option<EntryNumber>
    where
        V: PartialEq,
    {
        let is_it = |number| self.slab.get(number).is_some_and(|e| e.value.as_ref() == Some(value));
        self.index.find(hash, is_it)
    }

    /// Puts `new` in the place of `old`, which is returned, if `may_go` says so; else gives it back.
    pub(super) fn replace(
        &mut self,
        hash: u32,
        old: &V,
        new: V,
        may_go: impl FnOnce() -> bool,
    ) -> Result<V, V>
    where
        V: PartialEq,
    {
        let Some(number) = self.find_value(hash, old).filter(|_| may_go()) else { return Err(new) };
        match self.slab.get_mut(number).and_then(|entry| entry.value.as_mut()) {
            Some(value) => Ok(std::mem::replace(value, new)),
            None => Err(new),
        }
    }

    /// Takes out this very value.
    pub(super) fn remove_value(&mut self, hash: u32, value: &V) -> Option<V>
    where
        V: PartialEq,
    {
        let number = self.find_value(hash, value)?;
        self.take(hash, number)
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
        let Some(number) = self.find(hash, key) else { return Err(value) };
        self.wheel.unlink(&mut self.slab, number);
        self.wheel.link(&mut self.slab, number, due);
        self.order.renew(&mut self.slab, number);
        let Some(entry) = self.slab.get_mut(number) else { return Err(value) };
        match entry.value.replace(value) {
            Some(old) if entry.value.as_ref() != Some(&old) => Ok(Insertion::Replaced(old)),
            // The new reference is kept and the old one dropped.
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
        let number = match self.slab.insert(key, value) {
            Ok(number) => number,
            Err(value) => return Insertion::Refused(value),
        };
        self.wheel.skip_to(now);
        self.index.insert(hash, number);
        self.wheel.link(&mut self.slab, number, due);
        self.order.add(&mut self.slab, number);
        Insertion::Added
    }

    /// Takes out the entry of `key` if `is_it` holds for its value.
    pub(super) fn remove_if(
        &mut self,
        hash: u32,
        key: &Key,
        is_it: impl FnOnce(&V) -> bool,
    ) -> Option<V> {
        let number = self.find(hash, key)?;
        let wanted = self.slab.get(number)?.value.as_ref().is_some_and(is_it);
        if wanted { self.take(hash, number) } else { None }
    }

    /// Moves the entry of `key` in the order of expiry if `is_it` holds for its value.
    pub(super) fn set_due(
        &mut self,
        hash: u32,
        key: &Key,
        due: u32,
        is_it: impl FnOnce(&V) -> bool,
    ) {
        let Some(number) = self.find(hash, key) else { return };
        let Some(entry) = self.slab.get(number) else { return };
        if entry.due != due && entry.value.as_ref().is_some_and(is_it) {
            self.wheel.unlink(&mut self.slab, number);
            self.wheel.link(&mut self.slab, number, due);
        }
    }

    fn take(&mut self, hash: u32, number: EntryNumber) -> Option<V> {
        self.index.remove(hash, number);
        self.wheel.unlink(&mut self.slab, number);
        self.order.remove(&mut self.slab, number);
        self.slab.remove(number)
    }

    /// Evicts the entry that is the next to make room.
    pub(super) fn evict(&mut self, share: &Share, hash_of: impl FnOnce(&Key) -> u32) -> Option<V>
    where
        V: Value,
    {
        let number = self.order.victim(&mut self.slab, share)?;
        let hash = hash_of(&self.slab.get(number)?.key.key());
        self.order.keep_trace(&mut self.slab, number, hash);
        let victim = self.take(hash, number);
        // The next victim, whose memory will be cold.
        if let Some(next) =
            self.slab.get(self.order.next(share)).and_then(|entry| entry.value.as_ref())
        {
            next.prefetch();
        }
        victim
    }

    /// See [`Order::trace`].
    pub(super) fn trace(&self, hash: u32, share: &Share, entries: usize) -> Option<Part> {
        self.order.trace(hash, share, entries)
    }

    /// The value of this hash makes room next. Returns what its successor inherits.
    pub(super) fn spend(&mut self, hash: u32) -> Standing {
        match self.index.find(hash, |_| true) {
            Some(number) => self.order.spend(&mut self.slab, number),
            None => Standing::NEWCOMER,
        }
    }

    /// Gives the entry of `key` a standing, unless it has a better one.
    pub(super) fn raise(&mut self, hash: u32, key: &Key, standing: Standing) {
        if let Some(number) = self.find(hash, key) {
            self.order.raise(&mut self.slab, number, standing);
        }
    }

    /// Takes a step of expiry: fills `out` with entries whose deadline, as `deadline_of` tells,
    /// lies before `target`. Returns the second before which nothing is due. While that is smaller
    /// than `target`, there is more to do.
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
            let number = match self.wheel.next(target) {
                Next::Look(number) => number,
                Next::Nothing(bound) => return bound,
            };
            let Some(entry) = self.slab.get(number) else { return u32::MAX };
            let deadline = entry.value.as_ref().map_or(0, &deadline_of);
            if deadline < target {
                let hash = hash_of(&entry.key.key());
                out.push(self.take(hash, number));
            } else {
                self.wheel.unlink(&mut self.slab, number);
                self.wheel.link(&mut self.slab, number, deadline);
            }
        }
        0
    }

    /// The clock was set back. The wheel turns back too, which takes a look at every entry.
    fn set_back(&mut self, now: u32) {
        self.wheel = Wheel::new(now);
        for number in 0..self.slab.end() {
            let Some(entry) = self.slab.get(number) else { continue };
            if entry.value.is_some() {
                let due = entry.due;
                self.wheel.link(&mut self.slab, number, due);
            }
        }
    }

    /// Takes a step of a walk over all entries from `cursor`. Fills `out` with entries whose
    /// deadline, as `deadline_of` tells, lies before `at`. Moves the others to their place in the
    /// order of expiry.
    ///
    /// Returns the next cursor, `None` at the end, and the first second in which a moved entry is
    /// due.
    #[expect(
        clippy::too_many_arguments,
        reason = "the step, and what only the cache can tell of an entry"
    )]
    pub(super) fn sweep(
        &mut self,
        cursor: EntryNumber,
        at: i64,
        deadline_of: impl Fn(&V) -> i64,
        hash_of: impl Fn(&Key) -> u32,
        out: &mut Batch<V>,
    ) -> (Option<EntryNumber>, u32) {
        let mut earliest = u32::MAX;
        let end = self.slab.end().min(cursor.saturating_add(STEP));
        for number in cursor..end {
            if out.is_full() {
                return (Some(number), earliest);
            }
            let Some(entry) = self.slab.get(number) else { continue };
            let Some(deadline) = entry.value.as_ref().map(&deadline_of) else { continue };
            let due = second(deadline);
            if deadline < at {
                let hash = hash_of(&entry.key.key());
                out.push(self.take(hash, number));
            } else if due != entry.due {
                self.wheel.unlink(&mut self.slab, number);
                self.wheel.link(&mut self.slab, number, due);
                earliest = earliest.min(due);
            }
        }
        ((end < self.slab.end()).then_some(end), earliest)
    }

    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// All values, roughly oldest first.
    pub(super) fn into_values(self) -> impl Iterator<Item = V> {
        self.slab.into_values()
    }

    /// All keys with their values, in no order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Key, &V)> {
        (0..self.slab.end()).filter_map(|number| {
            let entry = self.slab.get(number)?;
            Some((entry.key.key(), entry.value.as_ref()?))
        })
    }
}
