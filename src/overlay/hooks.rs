//! The engine calls these: our three callbacks in every stock context.

use super::guard::with;
use super::{current, session_state, state};
use crate::context::is_in_stock;
use crate::openssl::handle::{Ctx, SessionRef, Ssl, session_id};
use crate::openssl::next::{Next, next};
use libc::c_int;
use openssl_sys::{SSL, SSL_CTX, SSL_SESSION};
use std::ptr;

/// Has the stock context call us.
pub(super) fn register(next: &Next, ctx: Ctx<'_>) {
    // SAFETY: a valid context and a function of the right type.
    unsafe { (next.SSL_CTX_sess_set_new_cb)(ctx.as_ptr(), Some(new_hook)) };
    // SAFETY: as above.
    unsafe { (next.SSL_CTX_sess_set_get_cb)(ctx.as_ptr(), Some(get_hook)) };
    // SAFETY: as above.
    unsafe { (next.SSL_CTX_sess_set_remove_cb)(ctx.as_ptr(), Some(remove_hook)) };
}

/// Whether the stock context still calls us: a program may reach stock's setters past the overlay.
pub(super) fn are_registered(next: &Next, ctx: Ctx<'_>) -> bool {
    let ctx = ctx.as_ptr();
    // SAFETY: a valid context.
    let new = unsafe { (next.SSL_CTX_sess_get_new_cb)(ctx) };
    // SAFETY: a valid context.
    let get = unsafe { (next.SSL_CTX_sess_get_get_cb)(ctx) };
    // SAFETY: a valid context.
    let remove = unsafe { (next.SSL_CTX_sess_get_remove_cb)(ctx) };
    new.is_some_and(|hook| hook as usize == new_hook as *const () as usize)
        && get.is_some_and(|hook| hook as usize == get_hook as *const () as usize)
        && remove.is_some_and(|hook| hook as usize == remove_hook as *const () as usize)
}

/// A session was negotiated; the engine has taken a reference for the application, and drops it
/// when 0 is returned.
unsafe extern "C" fn new_hook(ssl: *mut SSL, sess: *mut SSL_SESSION) -> c_int {
    let Some(next) = next() else { return 0 };
    // SAFETY: the engine's connection, valid during the call.
    let Some(ssl) = (unsafe { Ssl::borrow(ssl) }) else { return 0 };
    // SAFETY: the engine's session, of which it holds two references.
    let Some(session) = (unsafe { SessionRef::borrow(sess) }) else { return 0 };
    let Some((ctx, state)) = session_state(next, ssl) else { return 0 };
    let Some(current) = current(next, ssl) else { return 0 };
    with(state, 0, || state.new_session(next, ctx, ssl, session, &current))
}

/// A client offers the session `id`.
unsafe extern "C" fn get_hook(
    ssl: *mut SSL,
    id: *const u8,
    len: c_int,
    copy: *mut c_int,
) -> *mut SSL_SESSION {
    let Some(next) = next() else { return ptr::null_mut() };
    // SAFETY: the engine's connection, valid during the call.
    let Some(ssl) = (unsafe { Ssl::borrow(ssl) }) else { return ptr::null_mut() };
    let Ok(length) = usize::try_from(len) else { return ptr::null_mut() };
    // SAFETY: the engine passes the id it read, and its length.
    let Some(id) = (unsafe { session_id(id, length) }) else { return ptr::null_mut() };
    let Some((ctx, state)) = session_state(next, ssl) else { return ptr::null_mut() };
    let Some(current) = current(next, ssl) else { return ptr::null_mut() };
    let miss = (ptr::null_mut(), 0);
    let (session, new_copy) = with(state, miss, || state.look_up(next, ctx, ssl, id, &current));
    // SAFETY: NULL or the engine's variable.
    if let Some(copy) = unsafe { copy.as_mut() } {
        *copy = new_copy;
    }
    session
}

/// A session was removed from the stock cache, or would have been if it were there.
unsafe extern "C" fn remove_hook(ctx: *mut SSL_CTX, sess: *mut SSL_SESSION) {
    if is_in_stock() {
        // Called by us, which does the rest.
        return;
    }
    let Some(next) = next() else { return };
    // SAFETY: the engine's context, valid during the call.
    let Some(ctx) = (unsafe { Ctx::borrow(ctx) }) else { return };
    // SAFETY: the engine's session, valid during the call.
    let Some(session) = (unsafe { SessionRef::borrow(sess) }) else { return };
    if let Some(state) = state(next, ctx) {
        with(state, (), || state.removed(next, ctx, session));
    }
}
