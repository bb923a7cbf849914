//! Locks of a context that a handshake asks for and does not wait for long.

use parking_lot::{RwLock, RwLockReadGuard};
use std::hint::spin_loop;

/// Locks for reading a value that others lock for the length of a copy. `None` after many tries,
/// because a fork may have left the lock held for ever.
pub(super) fn read_soon<T>(lock: &RwLock<T>) -> Option<RwLockReadGuard<'_, T>> {
    const TRIES: u32 = 10_000;
    (0..TRIES).find_map(|_| {
        spin_loop();
        lock.try_read()
    })
}
