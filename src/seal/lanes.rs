//! Values that are made once and used by one thread at a time: contexts, and nonces drawn in advance.
//!
//! A thread comes back to its own lane, and takes another one if that is in use. A lane that was in
//! use by another thread during a fork stays so in the child. If all are, whoever asks does without.
//!
//! Locks: one for each lane, tried and never waited for.

use parking_lot::{Mutex, MutexGuard};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// More are hardly ever in use at once: sealing is a hundredth of a handshake.
const LANES: usize = 16;

/// The numbers given to threads so far.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The thread's number; `usize::MAX` before it asks.
    static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The lanes of one kind of value. An empty lane takes one word.
pub(crate) struct Lanes<T>([Mutex<Option<Box<T>>>; LANES]);

impl<T> Lanes<T> {
    /// All empty.
    pub(crate) const fn new() -> Lanes<T> {
        Lanes([const { Mutex::new(None) }; LANES])
    }

    /// A lane that is free, the thread's own if it can be.
    #[inline]
    pub(crate) fn take(&self) -> Option<MutexGuard<'_, Option<Box<T>>>> {
        let (before, from) = self.0.split_at(number() % LANES);
        from.iter().chain(before).find_map(Mutex::try_lock)
    }
}

#[inline]
fn number() -> usize {
    NUMBER.with(|number| match number.get() {
        usize::MAX => {
            number.set(THREADS.fetch_add(1, Relaxed));
            number.get()
        }
        known => known,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_comes_back_to_its_lane() {
        let lanes = Lanes::new();
        *lanes.take().unwrap() = Some(Box::new(7));
        assert_eq!(lanes.take().unwrap().as_deref(), Some(&7));
        let own = lanes.take().unwrap();
        assert_eq!(lanes.take().unwrap().as_deref(), None, "it is in use");
        drop(own);
        assert_eq!(lanes.take().unwrap().as_deref(), Some(&7));
    }

    #[test]
    fn there_are_so_many_lanes_and_no_more() {
        let lanes = Lanes::<()>::new();
        let mut taken: Vec<_> = (0..LANES).map(|_| lanes.take().unwrap()).collect();
        assert!(lanes.take().is_none());
        taken.pop();
        assert!(lanes.take().is_some());
    }
}
