//! The states of the calling thread: in a stock function, making a context, evicting, in a servername
//! callback, closing, after an expired one.
//!
//! Each state is entered for as long as a guard lives, and put back when the guard is dropped, also
//! while a panic or a cancellation unwinds. A callback of the application may leave by longjmp(3), or
//! pause its job (ASYNC_pause_job(3)) while the thread does something else. So no state that holds
//! during a callback says anything of other connections, or for long. A fork copies the states of
//! its one thread. No locks.

use crate::openssl::handle::{SessionRef, Ssl};
use openssl_sys::{SSL, SSL_SESSION};
use sesscache_core::cache::Key;
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
    /// Set while the thread runs remove_cb for an evicted session. If that callback adds a session,
    /// it must not evict another one, and so on without end.
    evicting: Cell<Eviction>,
    /// The connection whose servername callback the thread runs, or NULL. After that callback the
    /// connection is looked at again.
    in_servername: Cell<*mut SSL>,
    /// The expired session that the thread has given libssl, or NULL. libssl removes it at
    /// once, which is no reason to remove it everywhere.
    expired: Cell<*mut SSL_SESSION>,
    /// The session whose end the application has moved away last on this thread.
    raised: Cell<Option<Raised>>,
    /// The session of the connection that the thread is freeing or clearing, or NULL.
    closing: Cell<*mut SSL_SESSION>,
    /// The session with which the thread calls new_cb, or NULL. It is not in the store yet.
    offering: Cell<*mut SSL_SESSION>,
}

/// An eviction whose remove_cb runs, if `left` is not 0.
#[derive(Clone, Copy)]
pub(super) struct Eviction {
    /// Where the stack was. Another job of this thread has another stack.
    at: usize,
    /// So many more sessions are refused.
    left: u32,
}

/// A session whose end was moved away.
#[derive(Clone, Copy)]
struct Raised {
    key: Key,
    /// When it ended at first, and when it ends now.
    first: i64,
    last: i64,
}

const NO_EVICTION: Eviction = Eviction { at: 0, left: 0 };
/// So many sessions are refused while a session is evicted. If remove_cb has jumped out, the next so
/// many are refused, and then they are added again.
const MOST_REFUSED: u32 = 64;
/// So much of the stack remove_cb may use: as much as a job's stack has (crypto/async).
const STACK_OF_CALLBACK: usize = 32 << 10;

thread_local! {
    static THREAD: Thread = const {
        Thread {
            in_stock: Cell::new(false),
            making: Cell::new(false),
            evicting: Cell::new(NO_EVICTION),
            in_servername: Cell::new(ptr::null_mut()),
            expired: Cell::new(ptr::null_mut()),
            raised: Cell::new(None),
            closing: Cell::new(ptr::null_mut()),
            offering: Cell::new(ptr::null_mut()),
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

    /// As `enter`, for a state that a jump may have left behind: it is `after` in the end.
    #[inline]
    fn once(state: fn(&Thread) -> &Cell<T>, value: T, after: T) -> Self {
        THREAD.with(|thread| state(thread).set(value));
        Restore { state, before: after }
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

/// Runs the application's servername callback for a connection.
pub fn in_servername<T>(ssl: Ssl<'_>, run: impl FnOnce() -> T) -> T {
    let _servername = Restore::once(|thread| &thread.in_servername, ssl.as_ptr(), ptr::null_mut());
    run()
}

/// Whether the thread runs the application's servername callback for this connection.
pub(super) fn is_in_servername(ssl: Ssl<'_>) -> bool {
    THREAD.with(|thread| thread.in_servername.get()) == ssl.as_ptr()
}

/// The connection starts anew, or another one may be at its address: no servername callback of it
/// runs.
#[inline]
pub fn forget_servername(ssl: Ssl<'_>) {
    THREAD.with(|thread| {
        if thread.in_servername.get() == ssl.as_ptr() {
            thread.in_servername.set(ptr::null_mut());
        }
    });
}

/// The thread calls remove_cb for a session that was evicted.
pub(super) fn enter_eviction() -> Restore<Eviction> {
    let eviction = Eviction { at: stack_address(), left: MOST_REFUSED };
    Restore::enter(|thread| &thread.evicting, eviction)
}

/// Whether the thread runs remove_cb for a session that was evicted.
#[expect(clippy::inline_always, reason = "the caller's place in the stack counts")]
#[inline(always)]
pub(super) fn is_evicting() -> bool {
    THREAD.with(|thread| {
        let Eviction { at, left } = thread.evicting.get();
        left != 0 && at.wrapping_sub(stack_address()) < STACK_OF_CALLBACK
    })
}

/// A session was refused, because [`is_evicting`].
pub(super) fn note_refused() {
    THREAD.with(|thread| {
        let Eviction { at, left } = thread.evicting.get();
        thread.evicting.set(Eviction { at, left: left.saturating_sub(1) });
    });
}

/// The thread frees or clears a connection that has this session.
pub(super) fn enter_closing(session: Option<SessionRef<'_>>) -> Restore<*mut SSL_SESSION> {
    Restore::once(|thread| &thread.closing, pointer(session), ptr::null_mut())
}

/// Whether the thread frees or clears a connection that has this session, which libssl removes once.
/// The note is taken away, because remove_cb runs next.
pub(super) fn take_closing(session: SessionRef<'_>) -> bool {
    THREAD.with(|thread| {
        let is_closing = thread.closing.get() == session.as_ptr();
        if is_closing {
            thread.closing.set(ptr::null_mut());
        }
        is_closing
    })
}

/// The thread calls new_cb with this session.
pub(super) fn enter_offering(session: SessionRef<'_>) -> Restore<*mut SSL_SESSION> {
    Restore::once(|thread| &thread.offering, session.as_ptr(), ptr::null_mut())
}

/// Whether the thread runs new_cb for this session.
pub(super) fn is_offering(session: SessionRef<'_>) -> bool {
    THREAD.with(|thread| thread.offering.get()) == session.as_ptr()
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

/// The application has moved a session's end away, from `first` to `last`.
pub(super) fn note_raised(key: Key, first: i64, last: i64) {
    THREAD.with(|thread| thread.raised.set(Some(Raised { key, first, last })));
}

/// When this session ended at first, if its end was the last that was moved away, and until this
/// second. The note is taken away.
pub(super) fn take_raised(key: &Key, last: i64) -> Option<i64> {
    let raised = THREAD.with(|thread| thread.raised.take())?;
    (raised.key == *key && raised.last == last).then_some(raised.first)
}

/// About where the stack is.
#[expect(clippy::inline_always, reason = "the caller's place in the stack counts")]
#[inline(always)]
fn stack_address() -> usize {
    let here = 0_u8;
    (&raw const here).addr()
}

fn pointer(session: Option<SessionRef<'_>>) -> *mut SSL_SESSION {
    session.map_or(ptr::null_mut(), SessionRef::as_ptr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    /// As in a callback, which has a frame of its own.
    #[inline(never)]
    fn is_evicting_deeper() -> bool {
        std::hint::black_box([0_u8; 64]);
        is_evicting()
    }

    #[test]
    fn nested_states_are_put_back_one_by_one() {
        let outer = enter_stock();
        let inner = enter_stock();
        let other = enter_eviction();
        assert!(is_in_stock() && is_evicting_deeper());
        drop(inner);
        assert!(is_in_stock(), "the outer one goes on");
        drop(outer);
        assert!(!is_in_stock() && is_evicting_deeper(), "each state is by itself");
        drop(other);
        assert!(!is_evicting_deeper());
    }

    #[test]
    fn a_jump_out_of_an_eviction_is_over_soon() {
        // What a jump leaves out is the drop.
        std::mem::forget(enter_eviction());
        for _ in 0..MOST_REFUSED {
            assert!(is_evicting_deeper());
            note_refused();
        }
        assert!(!is_evicting_deeper());
        drop(enter_eviction());
        assert!(!is_evicting_deeper(), "the next one puts back what it found");
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
        assert!(is_evicting_deeper(), "what was entered outside goes on");
        drop(outer);
        assert!(!is_evicting_deeper());
    }
}
