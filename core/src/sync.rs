//! The locks and atomics of this crate. Under `--cfg shuttle` they are those of shuttle, which runs
//! the same code in many interleavings (`make shuttle`).

/// A lock that is tried and never waited for.
#[cfg(not(shuttle))]
pub(crate) use parking_lot::{
    RwLock as TryRwLock, RwLockReadGuard as TryReadGuard, RwLockWriteGuard as TryWriteGuard,
};
/// What a thread does between two tries. Not sched_yield(2): a sandbox may kill for it.
#[cfg(not(shuttle))]
pub(crate) use std::hint::spin_loop as pause;
#[cfg(not(shuttle))]
pub(crate) use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence};

/// ThreadSanitizer sees no lock of std's, which is not instrumented.
#[cfg(all(not(shuttle), tsan))]
pub(crate) use parking_lot::RwLock;
#[cfg(not(any(shuttle, tsan)))]
pub(crate) use waiting::RwLock;

#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence};
#[cfg(shuttle)]
pub(crate) use shuttle::thread::yield_now as pause;
#[cfg(shuttle)]
pub(crate) use under_shuttle::{RwLock, TryReadGuard, TryRwLock, TryWriteGuard};

/// The atomics of a store's table. Under `--cfg loom` they are those of loom, which runs the same code in
/// every order that the memory model allows (`make loom`).
pub(crate) mod shared {
    #[cfg(not(loom))]
    pub(crate) use super::{AtomicU64, fence};
    #[cfg(loom)]
    pub(crate) use loom::sync::atomic::{AtomicU64, fence};
}

/// The lock that is waited for.
#[cfg(not(any(shuttle, tsan)))]
mod waiting {
    use std::sync::{PoisonError, RwLockReadGuard, RwLockWriteGuard};

    /// std's, because it makes no system call but futex(2). parking_lot's calls sched_yield(2), for
    /// which a sandbox may kill the server. Whatever a panic leaves is not used any more.
    #[derive(Debug)]
    pub(crate) struct RwLock<T>(std::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) const fn new(value: T) -> Self {
            RwLock(std::sync::RwLock::new(value))
        }

        #[inline]
        pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(PoisonError::into_inner)
        }

        #[inline]
        pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

/// parking_lot's interface on shuttle.
#[cfg(shuttle)]
mod under_shuttle {
    use shuttle::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::mem;
    use std::ops::{Deref, DerefMut};
    use std::sync::PoisonError;

    /// Shuttle's lock, which like std's can be poisoned.
    #[derive(Debug)]
    pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            RwLock(shuttle::sync::RwLock::new(value))
        }

        pub(crate) fn read(&self) -> shuttle::sync::RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn write(&self) -> shuttle::sync::RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// A lock whose write guard can be downgraded, which shuttle's cannot. Each operation is one
    /// step on `holders`; std's lock within follows it and is never contended, because shuttle
    /// switches threads at its own operations alone.
    #[derive(Debug)]
    pub(crate) struct TryRwLock<T> {
        /// [`WRITER`], or the number of readers.
        holders: AtomicUsize,
        value: std::sync::RwLock<T>,
    }

    const WRITER: usize = usize::MAX;

    /// A guard; std's is there until the drop.
    #[derive(Debug)]
    pub(crate) struct TryReadGuard<'a, T> {
        lock: &'a TryRwLock<T>,
        value: Option<std::sync::RwLockReadGuard<'a, T>>,
    }

    #[derive(Debug)]
    pub(crate) struct TryWriteGuard<'a, T> {
        lock: &'a TryRwLock<T>,
        value: Option<std::sync::RwLockWriteGuard<'a, T>>,
    }

    impl<T> TryRwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            TryRwLock { holders: AtomicUsize::new(0), value: std::sync::RwLock::new(value) }
        }

        pub(crate) fn try_read(&self) -> Option<TryReadGuard<'_, T>> {
            let one_more = |holders| (holders != WRITER).then(|| holders + 1);
            self.holders.fetch_update(SeqCst, SeqCst, one_more).ok()?;
            Some(TryReadGuard { lock: self, value: Some(self.value.try_read().unwrap()) })
        }

        pub(crate) fn try_write(&self) -> Option<TryWriteGuard<'_, T>> {
            self.holders.compare_exchange(0, WRITER, SeqCst, SeqCst).ok()?;
            Some(TryWriteGuard { lock: self, value: Some(self.value.try_write().unwrap()) })
        }
    }

    impl<'a, T> TryWriteGuard<'a, T> {
        pub(crate) fn downgrade(mut guard: Self) -> TryReadGuard<'a, T> {
            let lock = guard.lock;
            guard.value = None;
            mem::forget(guard);
            let value = Some(lock.value.try_read().unwrap());
            lock.holders.store(1, SeqCst);
            TryReadGuard { lock, value }
        }
    }

    impl<T> Drop for TryReadGuard<'_, T> {
        fn drop(&mut self) {
            self.value = None;
            self.lock.holders.fetch_sub(1, SeqCst);
        }
    }

    impl<T> Drop for TryWriteGuard<'_, T> {
        fn drop(&mut self) {
            self.value = None;
            self.lock.holders.store(0, SeqCst);
        }
    }

    impl<T> Deref for TryReadGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.value.as_ref().unwrap()
        }
    }

    impl<T> Deref for TryWriteGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.value.as_ref().unwrap()
        }
    }

    impl<T> DerefMut for TryWriteGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.value.as_mut().unwrap()
        }
    }
}
