//! The session functions around the callbacks: add, remove, flush, list, match, lifetimes.

use super::guard::{guard, with};
use super::{session_state, state};
use crate::context::{State, lifetime_shortened};
use crate::openssl::handle::{Ctx, SessionRef, Ssl, session_id};
use crate::openssl::next::{Lhash, Next, next, next_of};
use libc::{c_int, c_long, c_uint, time_t};
use openssl_sys::{SSL, SSL_CTX, SSL_SESSION};
use std::ptr;

/// The stock functions, a context and a session that C passed, and the state if there is one;
/// `None` if something is NULL.
///
/// # Safety
/// Both are valid or NULL.
unsafe fn find<'a>(
    ctx: *mut SSL_CTX,
    session: *mut SSL_SESSION,
) -> Option<(&'static Next, Ctx<'a>, SessionRef<'a>, Option<&'a State>)> {
    // SAFETY: the caller's promise.
    let next = unsafe { next_of(ctx) }?;
    // SAFETY: the caller's promise.
    let ctx = unsafe { Ctx::borrow(ctx) }?;
    // SAFETY: the caller's promise.
    let session = unsafe { SessionRef::borrow(session) }?;
    Some((next, ctx, session, state(next, ctx)))
}

/// Adds a session to the internal cache, whatever the cache mode; see SSL_CTX_add_session(3).
///
/// # Safety
/// `ctx` is a valid context or NULL, `session` a valid session or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_CTX_add_session(
    ctx: *mut SSL_CTX,
    session: *mut SSL_SESSION,
) -> c_int {
    guard(0, || {
        // SAFETY: the caller's promise.
        match unsafe { find(ctx, session) } {
            Some((next, ctx, session, Some(state))) => {
                with(state, 0, || state.add_session(next, ctx, session).into())
            }
            Some((next, ctx, session, None)) => ctx.stock_add(next, session).into(),
            None => 0,
        }
    })
}

/// Removes a session from the internal cache and marks it not resumable; see
/// SSL_CTX_remove_session(3).
///
/// # Safety
/// `ctx` is a valid context or NULL, `session` a valid session or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_CTX_remove_session(
    ctx: *mut SSL_CTX,
    session: *mut SSL_SESSION,
) -> c_int {
    guard(0, || {
        // SAFETY: the caller's promise.
        match unsafe { find(ctx, session) } {
            Some((next, ctx, session, Some(state))) => {
                with(state, 0, || state.remove_session(next, ctx, session).into())
            }
            Some((next, ctx, session, None)) => ctx.stock_remove(next, session).into(),
            None => 0,
        }
    })
}

/// Removes the sessions that have expired at `tm`, or all if it is 0; see
/// SSL_CTX_flush_sessions(3).
///
/// # Safety
/// `ctx` is a valid context or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_CTX_flush_sessions(ctx: *mut SSL_CTX, tm: c_long) {
    // SAFETY: the caller's promise.
    guard((), || unsafe { flush(ctx, tm) });
}

/// As SSL_CTX_flush_sessions(), with a time_t; see SSL_CTX_flush_sessions_ex(3), OpenSSL 3.4.
///
/// # Safety
/// `ctx` is a valid context or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_CTX_flush_sessions_ex(ctx: *mut SSL_CTX, tm: time_t) {
    // SAFETY: the caller's promise.
    guard((), || unsafe { flush(ctx, tm) });
}

/// # Safety
/// `ctx` is a valid context or NULL.
unsafe fn flush(ctx: *mut SSL_CTX, tm: time_t) {
    // SAFETY: the caller's promise.
    let Some(next) = (unsafe { next_of(ctx) }) else { return };
    // SAFETY: the caller's promise.
    let Some(context) = (unsafe { Ctx::borrow(ctx) }) else { return };
    match (state(next, context), next.SSL_CTX_flush_sessions_ex) {
        (Some(state), _) => with(state, (), || state.flush(next, context, tm)),
        // SAFETY: the caller's promise.
        (None, Some(stock)) => unsafe { stock(ctx, tm) },
        // SAFETY: the caller's promise.
        (None, None) => unsafe { (next.SSL_CTX_flush_sessions)(ctx, tm) },
    }
}

/// Returns a table of the sessions that are cached at the time of the call; see
/// SSL_CTX_sessions(3). It belongs to the context and is good until the next call.
///
/// # Safety
/// `ctx` is a valid context or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_CTX_sessions(ctx: *mut SSL_CTX) -> *mut Lhash {
    guard(ptr::null_mut(), || {
        // SAFETY: the caller's promise.
        let Some(next) = (unsafe { next_of(ctx) }) else { return ptr::null_mut() };
        // SAFETY: the caller's promise.
        let Some(context) = (unsafe { Ctx::borrow(ctx) }) else { return ptr::null_mut() };
        let ours = state(next, context).and_then(State::sessions);
        // SAFETY: the caller's promise.
        ours.unwrap_or_else(|| unsafe { (next.SSL_CTX_sessions)(ctx) })
    })
}

/// Whether the internal cache has a session with this id in the connection's version; see
/// SSL_has_matching_session_id(3).
///
/// # Safety
/// `ssl` is a valid connection or NULL; `id` points to `id_len` bytes or is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_has_matching_session_id(
    ssl: *const SSL,
    id: *const u8,
    id_len: c_uint,
) -> c_int {
    guard(0, || {
        // SAFETY: the caller's promise.
        let Some(next) = (unsafe { next_of(ssl) }) else { return 0 };
        // SAFETY: the caller's promise.
        let Some(connection) = (unsafe { Ssl::borrow(ssl) }) else { return 0 };
        // SAFETY: the caller's promise.
        let Some(bytes) = (unsafe { session_id(id, id_len as usize) }) else { return 0 };
        match session_state(next, connection) {
            Some((_, state)) => with(state, 0, || state.has_id(next, connection, bytes).into()),
            // SAFETY: the caller's promise.
            None => unsafe { (next.SSL_has_matching_session_id)(ssl, id, id_len) },
        }
    })
}

/// Sets how long a session lives; see SSL_SESSION_set_timeout(3).
///
/// # Safety
/// `s` is a valid session or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_SESSION_set_timeout(s: *mut SSL_SESSION, t: c_long) -> c_long {
    guard(0, || {
        let Some(next) = next() else { return 0 };
        // SAFETY: the caller's promise.
        unsafe { change_lifetime(next, next.SSL_SESSION_set_timeout, s, t) }
    })
}

/// Sets when a session began; see SSL_SESSION_set_time(3).
///
/// # Safety
/// `s` is a valid session or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_SESSION_set_time(s: *mut SSL_SESSION, t: c_long) -> c_long {
    guard(0, || {
        let Some(next) = next() else { return 0 };
        // SAFETY: the caller's promise.
        unsafe { change_lifetime(next, next.SSL_SESSION_set_time, s, t) }
    })
}

/// Sets when a session began; see SSL_SESSION_set_time_ex(3), OpenSSL 3.3.
///
/// # Safety
/// `s` is a valid session or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_SESSION_set_time_ex(s: *mut SSL_SESSION, t: time_t) -> time_t {
    guard(0, || {
        let Some(next) = next() else { return 0 };
        let stock = next.SSL_SESSION_set_time_ex.unwrap_or(next.SSL_SESSION_set_time);
        // SAFETY: the caller's promise.
        unsafe { change_lifetime(next, stock, s, t) }
    })
}

/// SSL_SESSION_set_timeout and its like: on 64-bit Linux long and time_t are the same.
type SetLifetime = unsafe extern "C" fn(*mut SSL_SESSION, c_long) -> c_long;

/// Runs stock's setter, and says so if the session now ends earlier.
///
/// # Safety
/// `session` is a valid session or NULL.
unsafe fn change_lifetime(
    next: &Next,
    stock: SetLifetime,
    session: *mut SSL_SESSION,
    value: c_long,
) -> c_long {
    // SAFETY: the caller's promise.
    let handle = unsafe { SessionRef::borrow(session) };
    let before = handle.map(|session| session.deadline(next));
    // SAFETY: the caller's promise.
    let result = unsafe { stock(session, value) };
    if handle.map(|session| session.deadline(next)) < before {
        lifetime_shortened();
    }
    result
}
