//! The session functions around the callbacks: add, remove, flush, list, match, data, lifetimes.

use super::arguments::Argument;
use super::caller::caller;
use super::guard::{guard, with};
use super::{answer, session_state};
use crate::context::{State, lifetime_changed};
use crate::openssl::handle::{Ctx, SessionRef};
use crate::openssl::side_data;
use crate::openssl::types::Lhash;
use libc::{c_int, c_long, c_uint, c_void, time_t};
use openssl_sys::{SSL, SSL_CTX, SSL_SESSION};
use std::ptr;

/// As [`answer`], for a call about a session too. NULL for either, and a panic of ours, are answered
/// with 0.
fn answer_about<'a>(
    ctx: &'a Argument<*mut SSL_CTX>,
    session: &'a Argument<*mut SSL_SESSION>,
    ours: impl FnOnce(&State, Ctx<'a>, SessionRef<'a>) -> bool,
    stock: impl FnOnce(Ctx<'a>, SessionRef<'a>) -> bool,
) -> c_int {
    let session = |ctx: Ctx<'a>| session.session(ctx.libssl());
    answer(
        ctx,
        0,
        |ctx, state| session(ctx).is_some_and(|session| ours(state, ctx, session)).into(),
        |ctx| session(ctx).is_some_and(|session| stock(ctx, session)).into(),
    )
}

/// Adds a session to the internal cache, whatever the cache mode; see SSL_CTX_add_session(3).
/// Returns 0 for NULL.
///
/// # Safety
/// `ctx` is a valid context or NULL, `session` a valid session or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_add_session(
    ctx: Argument<*mut SSL_CTX>,
    session: Argument<*mut SSL_SESSION>,
) -> c_int {
    answer_about(
        &ctx,
        &session,
        |state, ctx, session| state.add_session(ctx, session),
        Ctx::stock_add,
    )
}

/// Removes a session from the internal cache and marks it not resumable; see
/// SSL_CTX_remove_session(3). Returns 0 for NULL.
///
/// # Safety
/// `ctx` is a valid context or NULL, `session` a valid session or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_remove_session(
    ctx: Argument<*mut SSL_CTX>,
    session: Argument<*mut SSL_SESSION>,
) -> c_int {
    answer_about(
        &ctx,
        &session,
        |state, ctx, session| state.remove_session(ctx.onward(), session),
        Ctx::stock_remove,
    )
}

/// Removes the sessions that have expired at `tm`, or all if it is 0; see
/// SSL_CTX_flush_sessions(3). Does nothing for NULL.
///
/// # Safety
/// `ctx` is a valid context or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_flush_sessions(ctx: Argument<*mut SSL_CTX>, tm: c_long) {
    answer(&ctx, (), |ctx, state| state.flush(ctx, tm), |ctx| ctx.stock_flush(tm));
}

/// As SSL_CTX_flush_sessions(), with a time_t; see SSL_CTX_flush_sessions_ex(3), OpenSSL 3.4. Does
/// nothing for NULL.
///
/// # Safety
/// `ctx` is a valid context or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_flush_sessions_ex(ctx: Argument<*mut SSL_CTX>, tm: time_t) {
    answer(&ctx, (), |ctx, state| state.flush(ctx, tm), |ctx| ctx.stock_flush(tm));
}

/// Returns a table of the sessions that are cached at the time of the call; see
/// SSL_CTX_sessions(3). It belongs to the context and is good until the next call. Returns NULL for
/// NULL.
///
/// # Safety
/// `ctx` is a valid context or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_sessions(ctx: Argument<*mut SSL_CTX>) -> *mut Lhash {
    answer(
        &ctx,
        ptr::null_mut(),
        |ctx, state| state.sessions(ctx.libssl()).unwrap_or_else(|_| ctx.stock_sessions()),
        |ctx| ctx.stock_sessions(),
    )
}

/// Whether the internal cache has a session with this id in the connection's version; see
/// SSL_has_matching_session_id(3). Returns 0 if `ssl` is NULL.
///
/// # Safety
/// `ssl` is a valid connection or NULL; `id` points to `id_len` bytes or is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_has_matching_session_id(
    ssl: Argument<*const SSL>,
    id: Argument<*const u8>,
    id_len: c_uint,
) -> c_int {
    guard(0, || {
        let Some(ssl) = ssl.ssl() else { return 0 };
        // SAFETY: the two arguments belong together.
        let Some(id) = (unsafe { id.session_id(id_len as usize) }) else { return 0 };
        match session_state(ssl) {
            Some((_, state)) => {
                // libssl's cache is empty, so it says no. A wrapper that comes after us may not.
                let wrapper = ssl.libssl().wrapped.map_or(0, |_| ssl.stock_has_id(id));
                with(state, 0, || state.has_id(ssl, id).into()) | wrapper
            }
            None => ssl.stock_has_id(id),
        }
    })
}

/// Puts data of the application's at a session; see SSL_SESSION_set_ex_data(3). Returns 0 for NULL.
///
/// # Safety
/// `ss` is a valid session or NULL; `data` is what the functions of index `idx` expect.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_SESSION_set_ex_data(
    ss: Argument<*mut SSL_SESSION>,
    idx: c_int,
    data: *mut c_void,
) -> c_int {
    guard(0, || {
        let Some(session) = ss.of_any_libssl(caller) else { return 0 };
        // Index 0 is there for all: SSL_SESSION_set_app_data(3).
        if session.libssl().is_supported {
            side_data::note_data();
        }
        // SAFETY: the caller's own arguments.
        unsafe { session.stock_set_ex_data(idx, data) }
    })
}

/// Sets how long a session lives; see SSL_SESSION_set_timeout(3). Returns 0 for NULL.
///
/// # Safety
/// `s` is a valid session or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_SESSION_set_timeout(
    s: Argument<*mut SSL_SESSION>,
    t: c_long,
) -> c_long {
    change_lifetime(&s, |session| session.stock_set_timeout(t))
}

/// Sets when a session began; see SSL_SESSION_set_time(3). Returns 0 for NULL.
///
/// # Safety
/// `s` is a valid session or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_SESSION_set_time(
    s: Argument<*mut SSL_SESSION>,
    t: c_long,
) -> c_long {
    change_lifetime(&s, |session| session.stock_set_time(t))
}

/// Sets when a session began; see SSL_SESSION_set_time_ex(3), OpenSSL 3.3. Returns 0 for NULL.
///
/// # Safety
/// `s` is a valid session or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_SESSION_set_time_ex(
    s: Argument<*mut SSL_SESSION>,
    t: time_t,
) -> time_t {
    change_lifetime(&s, |session| session.stock_set_time_ex(t))
}

/// Runs stock's setter, and says so if the session's end has changed.
fn change_lifetime(
    session: &Argument<*mut SSL_SESSION>,
    set: impl FnOnce(SessionRef<'_>) -> c_long,
) -> c_long {
    guard(0, || {
        let Some(session) = session.of_any_libssl(caller) else { return 0 };
        if !session.libssl().is_supported {
            return set(session);
        }
        let before = session.deadline();
        let result = set(session);
        let after = session.deadline();
        if after != before {
            lifetime_changed(session, before, after);
        }
        result
    })
}
