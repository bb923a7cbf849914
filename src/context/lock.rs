//! Locks of a context that a handshake asks for and does not wait for long.

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::hint::spin_loop;

const TRIES: u32 = 10_000;

/// Locks for reading a value that others lock for the length of a copy. `None` after many tries,
/// because a fork may have left the lock held for ever.
pub(super) fn read_soon<T>(lock: &RwLock<T>) -> Option<RwLockReadGuard<'_, T>> {
    (0..TRIES).find_map(|_| {
        spin_loop();
        lock.try_read()
    })
}

/// As [`read_soon`], for writing.
pub(super) fn write_soon<T>(lock: &RwLock<T>) -> Option<RwLockWriteGuard<'_, T>> {
    (0..TRIES).find_map(|_| {
        spin_loop();
        lock.try_write()
    })
}
