//! A word that processes share. Every write goes through here, so that a test can stop a process at its
//! n-th.

use crate::sync::shared::{AtomicU64, fence};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use std::sync::atomic::compiler_fence;

/// A shared word.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(in crate::store) struct Word(AtomicU64);

impl Word {
    /// Its value now. Whatever was published with that is seen.
    #[inline]
    pub(in crate::store) fn get(&self) -> u64 {
        self.0.load(Acquire)
    }

    /// Its value now, in no order with other words.
    #[inline]
    pub(in crate::store) fn peek(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Makes it another, in no order with other words.
    #[inline]
    pub(in crate::store) fn put(&self, value: u64) {
        step();
        self.0.store(value, Relaxed);
    }

    /// Makes `old` another. False if it was not `old`.
    #[inline]
    pub(in crate::store) fn change(&self, old: u64, new: u64) -> bool {
        step();
        self.0.compare_exchange(old, new, AcqRel, Relaxed).is_ok()
    }

    /// Makes it another, and gives what it was.
    #[inline]
    pub(in crate::store) fn swap(&self, value: u64) -> u64 {
        step();
        self.0.swap(value, AcqRel)
    }

    /// Makes it at least so much.
    #[inline]
    pub(in crate::store) fn raise(&self, value: u64) {
        step();
        self.0.fetch_max(value, AcqRel);
    }

    /// Adds, and gives what it was.
    #[inline]
    pub(in crate::store) fn add(&self, value: u64) -> u64 {
        step();
        self.0.fetch_add(value, Relaxed)
    }

    /// Adds. Who sees that sees whatever this process wrote before.
    #[inline]
    pub(in crate::store) fn advance(&self, value: u64) {
        step();
        self.0.fetch_add(value, AcqRel);
    }

    /// Sets bits.
    #[inline]
    pub(in crate::store) fn set(&self, bits: u64) {
        step();
        self.0.fetch_or(bits, AcqRel);
    }
}

/// A fence of all orders between a word that this thread has changed, in one step that also reads it, and words
/// that it reads from now on.
#[inline]
pub(in crate::store) fn fence_after_change() {
    // On x86 such a step is one by itself, and costs less than a second.
    if cfg!(all(target_arch = "x86_64", not(any(loom, shuttle)))) {
        compiler_fence(SeqCst);
    } else {
        fence(SeqCst);
    }
}

#[cfg(not(test))]
#[inline]
fn step() {}

#[cfg(test)]
pub(in crate::store) use seam::step;

/// Stops the thread at its n-th shared write, as a kill does, or lets something run before it.
#[cfg(test)]
pub(in crate::store) mod seam {
    use std::cell::{Cell, RefCell};

    type Before = Box<dyn FnOnce()>;

    thread_local! {
        /// Writes until something happens; 0: never.
        static LEFT: Cell<u64> = const { Cell::new(0) };
        /// The thing that happens: `None` is death.
        static BEFORE: RefCell<Option<Before>> = const { RefCell::new(None) };
    }

    /// The payload of the panic that stands for death.
    #[derive(Debug)]
    pub(in crate::store) struct Died;

    pub(in crate::store) fn step() {
        let left = LEFT.get();
        if left == 0 {
            return;
        }
        LEFT.set(left - 1);
        if left == 1 {
            match BEFORE.take() {
                Some(run) => run(),
                None => std::panic::resume_unwind(Box::new(Died)),
            }
        }
    }

    /// Runs `body`, which dies before its `nth` shared write. Returns whether it did.
    pub(in crate::store) fn dies_at(nth: u64, body: impl FnOnce()) -> bool {
        LEFT.set(nth);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        LEFT.set(0);
        result.is_err_and(|payload| payload.downcast::<Died>().is_ok())
    }

    /// Runs `body`; before its `nth` shared write `run` runs whole, and `body` dies before the `death`-th from there.
    /// Returns whether it did.
    pub(in crate::store) fn with_before_dies_at(
        nth: u64,
        run: impl FnOnce() + 'static,
        death: u64,
        body: impl FnOnce(),
    ) -> bool {
        BEFORE.replace(Some(Box::new(move || {
            run();
            LEFT.set(death);
        })));
        let died = dies_at(nth, body);
        drop(BEFORE.take());
        died
    }

    /// Runs `body`; before its `nth` shared write `run` runs whole. Returns whether it came to that.
    pub(in crate::store) fn with_before(
        nth: u64,
        run: impl FnOnce() + 'static,
        body: impl FnOnce(),
    ) -> bool {
        BEFORE.replace(Some(Box::new(run)));
        LEFT.set(nth);
        body();
        LEFT.set(0);
        BEFORE.take().is_none()
    }
}
