//! The states of the calling thread: in a stock function, making a context, evicting, in a servername callback, closing,
//! after an expired one.
//!
//! Each state is entered for as long as a guard lives, and put back when the guard is dropped, also
//! while a panic unwinds. A fork copies the states of its one thread. No locks.

use crate::openssl::handle::SessionRef;
use openssl_sys::SSL_SESSION;
use std::cell::Cell;
use std::ptr;

struct Thread {
    /// Whether the thread is in a stock function that we called, which runs no callback of the
    /// application. Our remove hook, if stock calls it, has nothing to do then. When Debian's
    /// libssl asks our SSL_CTX_ctrl for the number and size of its own cache, with its lock held,
    /// stock must answer.
    in_stock: Cell<bool>,
    /// Whether the thread is in SSL_CTX_new, which on Debian calls our SSL_CTX_new_ex.
    making: Cell<bool>,
    /// Whether the thread runs remove_cb for an evicted session. If that callback adds a session,
    /// it must not evict another one, and so on without end.
    evicting: Cell<bool>,
    /// Whether the thread runs the application's servername callback, after which the connection is
    /// looked at again.
    in_servername: Cell<bool>,
    /// The expired session that the thread has given libssl, or NULL. libssl removes it at
    /// once, which is no reason to remove it everywhere.
    expired: Cell<*mut SSL_SESSION>,
    /// The session of the connection that the thread is freeing or clearing, or NULL.
    closing: Cell<*mut SSL_SESSION>,
}

thread_local! {
    static THREAD: Thread = const {
        Thread {
            in_stock: Cell::new(false),
            making: Cell::new(false),
            evicting: Cell::new(false),
            in_servername: Cell::new(false),
            expired: Cell::new(ptr::null_mut()),
            closing: Cell::new(ptr::null_mut()),
        }
    };
}

/// Puts a state back when dropped.
#[must_use]
pub(super) struct Restore<T: Copy> {
    state: fn(&Thread) -> &Cell<T>,
    before: T,
}

impl<T: Copy> Restore<T> {
    #[inline]
    fn enter(state: fn(&Thread) -> &Cell<T>, value: T) -> Self {
        Restore { state, before: THREAD.with(|thread| state(thread).replace(value)) }
    }
}

impl<T: Copy> Drop for Restore<T> {
    #[inline]
    fn drop(&mut self) {
        THREAD.with(|thread| (self.state)(thread).set(self.before));
    }
}

/// The thread calls a stock function that runs no callback of the application.
#[inline]
pub(super) fn enter_stock() -> Restore<bool> {
    Restore::enter(|thread| &thread.in_stock, true)
}

/// Whether stock was called by us, see [`enter_stock`].
#[inline]
pub fn is_in_stock() -> bool {
    THREAD.with(|thread| thread.in_stock.get())
}

/// Runs the stock SSL_CTX_new.
pub fn while_making<T>(run: impl FnOnce() -> T) -> T {
    let _making = Restore::enter(|thread| &thread.making, true);
    run()
}

/// Whether the thread is in SSL_CTX_new.
pub fn is_making() -> bool {
    THREAD.with(|thread| thread.making.get())
}

/// Runs the application's servername callback.
pub fn in_servername<T>(run: impl FnOnce() -> T) -> T {
    let _servername = Restore::enter(|thread| &thread.in_servername, true);
    run()
}

/// Whether the thread runs the application's servername callback.
pub(super) fn is_in_servername() -> bool {
    THREAD.with(|thread| thread.in_servername.get())
}

/// The thread calls remove_cb for a session that was evicted.
pub(super) fn enter_eviction() -> Restore<bool> {
    Restore::enter(|thread| &thread.evicting, true)
}

/// Whether the thread runs remove_cb for a session that was evicted.
pub(super) fn is_evicting() -> bool {
    THREAD.with(|thread| thread.evicting.get())
}

/// The thread frees or clears a connection that has this session.
pub(super) fn enter_closing(session: Option<SessionRef<'_>>) -> Restore<*mut SSL_SESSION> {
    Restore::enter(|thread| &thread.closing, pointer(session))
}

/// Whether the thread frees or clears a connection that has this session.
pub(super) fn is_closing(session: SessionRef<'_>) -> bool {
    THREAD.with(|thread| thread.closing.get()) == session.as_ptr()
}

/// Notes the expired session that libssl is about to look at; `None` if it is not expired.
#[inline]
pub(super) fn note_expired(session: Option<SessionRef<'_>>) {
    THREAD.with(|thread| thread.expired.set(pointer(session)));
}

/// Whether this session was noted last by [`note_expired`]. The note is taken away.
pub(super) fn take_expired(session: SessionRef<'_>) -> bool {
    THREAD.with(|thread| thread.expired.replace(ptr::null_mut())) == session.as_ptr()
}

fn pointer(session: Option<SessionRef<'_>>) -> *mut SSL_SESSION {
    session.map_or(ptr::null_mut(), SessionRef::as_ptr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn nested_states_are_put_back_one_by_one() {
        let outer = enter_stock();
        let inner = enter_stock();
        let other = enter_eviction();
        assert!(is_in_stock() && is_evicting());
        drop(inner);
        assert!(is_in_stock(), "the outer one goes on");
        drop(outer);
        assert!(!is_in_stock() && is_evicting(), "each state is by itself");
        drop(other);
        assert!(!is_evicting());
    }

    #[test]
    fn a_panic_puts_states_back() {
        let outer = enter_eviction();
        let unwound = catch_unwind(|| {
            let _stock = enter_stock();
            let _eviction = enter_eviction();
            panic!("this test's own panic");
        });
        assert!(unwound.is_err());
        assert!(!is_in_stock(), "what was entered inside is left");
        assert!(is_evicting(), "what was entered outside goes on");
        drop(outer);
        assert!(!is_evicting());
    }
}
