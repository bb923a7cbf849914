//! A value that is replaced while threads use it: a few slots, of which one is current.
//!
//! A new value is written into a free slot, which then becomes current in a single step. Users of
//! the old value keep it until they have finished with it, and the last of them empties its slot.
//! So no use waits for a replacement, and no replacement waits for a use.
//!
//! Locks: one for each slot, held for reading while its value is used, and for writing while it is
//! filled or emptied. Each is tried a bounded number of times and never waited for. In a forked
//! child, a lock that another thread of the parent held stays held for ever.

use crate::sync::{AtomicU64, TryReadGuard, TryRwLock, TryWriteGuard, fence, pause};
use std::sync::atomic::Ordering::{AcqRel, Acquire, SeqCst};
use std::{array, mem};

/// The current slot, a slot that is being filled, and others whose users have not finished with an
/// old value.
const SLOTS: usize = 8;

/// A value, and those before it that are still in use. The empty value of the type marks a slot
/// that is free.
///
/// Each slot is in one of these states:
///
/// | state | current | lock | value |
/// |---|---|---|---|
/// | free | no | open | empty |
/// | filling | no | written by a [`Slots::put`] | becomes the new one |
/// | offered | no | read by that put, so that no other put takes the slot | the new one |
/// | current | yes | open, or read by users | the current one |
/// | retired | no | read by its last users, which empty it | an old one |
/// | lost | yes or no | held for ever by a thread that a fork did not copy | any |
///
/// No thread writes to the current slot. A thread with an old [`Generation`] may lock it for
/// writing for an instant. It then sees that the slot is current, and lets go.
#[derive(Debug)]
pub struct Slots<T> {
    slots: [TryRwLock<T>; SLOTS],
    /// The [`Generation`] of the current value. It only grows, by [`Slots::put`] alone.
    current: AtomicU64,
}

/// The number of replacements, and the slot of the value. Both are in the same word, so that a
/// single compare-and-exchange changes both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

impl Generation {
    /// The value that the slots are made with.
    const FIRST: Generation = Generation(0);
    const PER_REPLACEMENT: u64 = SLOTS as u64;

    fn slot(self) -> usize {
        // Less than SLOTS.
        usize::try_from(self.0 % Self::PER_REPLACEMENT).unwrap_or(0)
    }

    fn replacements(self) -> u64 {
        self.0 / Self::PER_REPLACEMENT
    }

    /// The generation after this one, in `slot`.
    fn next(self, slot: usize) -> Generation {
        Generation((self.replacements() + 1) * Self::PER_REPLACEMENT + slot as u64)
    }

    /// A number that no other generation of these slots has.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// A fork has left the current slot locked for writing, by a thread that it did not copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked;

/// How a [`Slots::put`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// The value is current.
    Done,
    /// Another thread replaced the value first.
    Late,
    /// Every other slot is locked, and stays so.
    Full,
}

impl<T: Default> Slots<T> {
    /// Slots with this value.
    pub fn new(value: T) -> Slots<T> {
        let mut value = Some(value);
        let slots = array::from_fn(|_| TryRwLock::new(value.take().unwrap_or_default()));
        Slots { slots, current: AtomicU64::new(Generation::FIRST.0) }
    }

    /// The generation of the current value.
    pub fn generation(&self) -> Generation {
        Generation(self.current.load(Acquire))
    }

    /// The result of `use_it` on the current value, which stays as it is until `use_it` returns.
    ///
    /// # Errors
    /// [`Locked`], and then `use_it` was not called.
    pub fn using<R>(&self, use_it: impl FnOnce(&T) -> R) -> Result<R, Locked> {
        let (slot, value) = soon(|| self.hold()).ok_or(Locked)?;
        let result = use_it(&value);
        drop(value);
        self.empty(slot);
        Ok(result)
    }

    /// Replaces the value by the one that `make` returns, if it returns any.
    ///
    /// `make` is called again if another thread replaced the value meanwhile. That thread may have
    /// looked at the world before this one did, and its value may be older.
    pub fn update(&self, mut make: impl FnMut() -> Option<T>) {
        /// The most other threads that may be faster.
        const ROUNDS: u32 = 8;
        for _ in 0..ROUNDS {
            let generation = self.generation();
            let Some(value) = make() else { return };
            if self.put(generation, value) != Replacement::Late {
                return;
            }
        }
    }

    /// Makes `value` the current one, in place of the one of `generation`.
    pub fn put(&self, generation: Generation, value: T) -> Replacement {
        let mut value = Some(value);
        let mut put_somewhere =
            || (0..SLOTS).find_map(|slot| self.put_at(slot, generation, &mut value));
        soon(&mut put_somewhere).unwrap_or(Replacement::Full)
    }

    /// Locks the current slot for reading. `None` if the slot is locked, or is current no more.
    fn hold(&self) -> Option<(usize, TryReadGuard<'_, T>)> {
        let slot = self.generation().slot();
        let value = self.slots.get(slot)?.try_read()?;
        if self.is_current(slot) {
            return Some((slot, value));
        }
        drop(value);
        self.empty(slot);
        None
    }

    /// `None` if the slot is current or locked; then `value` is still there.
    fn put_at(
        &self,
        slot: usize,
        generation: Generation,
        value: &mut Option<T>,
    ) -> Option<Replacement> {
        // Not even for an instant: a thread that loses the processor then keeps all users away.
        if self.is_current(slot) {
            return None;
        }
        let mut free = self.slots.get(slot)?.try_write()?;
        // Under the lock: the slot cannot become current now.
        if self.is_current(slot) {
            drop(free);
            self.empty(slot);
            return None;
        }
        *free = value.take()?;
        // Users may read the slot from the moment in which it is current, also in a forked child.
        let offered = TryWriteGuard::downgrade(free);
        let next = generation.next(slot);
        let put = self.current.compare_exchange(generation.0, next.0, AcqRel, Acquire);
        drop(offered);
        self.empty(slot);
        if put.is_err() {
            return Some(Replacement::Late);
        }
        self.empty(generation.slot());
        Some(Replacement::Done)
    }

    /// Empties a slot that is not current, unless another thread has it locked. So each thread that
    /// has let go of a slot's lock calls this, for whatever reason it had the lock.
    fn empty(&self, slot: usize) {
        loop {
            // The put sees that the lock is open, or the thread that let go sees that another slot
            // is current. The fences rule out that both miss it.
            fence(SeqCst);
            if self.is_current(slot) {
                return;
            }
            let Some(mut old) = self.slots.get(slot).and_then(TryRwLock::try_write) else { return };
            if !self.is_current(slot) {
                drop(mem::take(&mut *old));
                return;
            }
            // The slot has become current again. A put that ends its turn may be refused by this
            // lock, so look again.
            drop(old);
        }
    }

    fn is_current(&self, slot: usize) -> bool {
        self.generation().slot() == slot
    }
}

/// Tries until it succeeds, but not for ever.
fn soon<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    const TRIES: u32 = if cfg!(shuttle) { 1000 } else { 10_000 };
    attempt().or_else(|| {
        (0..TRIES).find_map(|_| {
            pause();
            attempt()
        })
    })
}

#[cfg(all(test, shuttle))]
mod interleavings;
#[cfg(test)]
mod tests;
