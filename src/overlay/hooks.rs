//! libssl calls these: our three callbacks in every stock context.

use super::guard::{guard, with};
use super::{borrow, event, state};
use crate::context::{Reply, is_in_stock};
use crate::log;
use crate::openssl::handle::{Ctx, SessionRef, session_id};
use crate::openssl::libssl::libssl;
use libc::c_int;
use openssl_sys::{SSL, SSL_CTX, SSL_SESSION};

/// Has the stock context call us.
pub(super) fn register(ctx: Ctx<'_>) {
    ctx.stock_set_new_cb(Some(new_hook));
    ctx.stock_set_get_cb(Some(get_hook));
    ctx.stock_set_remove_cb(Some(remove_hook));
}

/// Whether the stock context still calls us: a program may reach stock's setters past the overlay.
pub(super) fn are_registered(ctx: Ctx<'_>) -> bool {
    let is = |hook: Option<usize>, ours: *const ()| hook == Some(ours as usize);
    is(ctx.stock_new_cb().map(|hook| hook as usize), new_hook as *const ())
        && is(ctx.stock_get_cb().map(|hook| hook as usize), get_hook as *const ())
        && is(ctx.stock_remove_cb().map(|hook| hook as usize), remove_hook as *const ())
}

/// A session was negotiated; libssl has taken a reference for the application, and drops it
/// when 0 is returned.
unsafe extern "C-unwind" fn new_hook(ssl: *mut SSL, sess: *mut SSL_SESSION) -> c_int {
    guard(0, || {
        // SAFETY: libssl's connection, valid during the call.
        let Some(ssl) = (unsafe { borrow(ssl) }) else { return 0 };
        // SAFETY: libssl's session, of which it holds two references.
        let Some(session) = (unsafe { SessionRef::borrow(ssl.libssl(), sess) }) else { return 0 };
        let Some((event, state)) = event(ssl) else { return 0 };
        if !log::is_serving() && ssl.is_server() {
            log::note_serving();
        }
        with(state, 0, || state.new_session(&event, session))
    })
}

/// A client offers the session `id`.
unsafe extern "C-unwind" fn get_hook(
    ssl: *mut SSL,
    id: *const u8,
    len: c_int,
    copy: *mut c_int,
) -> *mut SSL_SESSION {
    let reply = guard(Reply::MISS, || {
        // SAFETY: libssl's connection, valid during the call.
        let Some(ssl) = (unsafe { borrow(ssl) }) else { return Reply::MISS };
        let Ok(length) = usize::try_from(len) else { return Reply::MISS };
        // SAFETY: libssl passes the id it read, and its length.
        let Some(id) = (unsafe { session_id(id, length) }) else { return Reply::MISS };
        let Some((event, state)) = event(ssl) else { return Reply::MISS };
        with(state, Reply::MISS, || state.look_up(&event, id))
    });
    // SAFETY: NULL or libssl's variable.
    if let Some(copy) = unsafe { copy.as_mut() } {
        *copy = reply.copy;
    }
    reply.session
}

/// A session was removed from the stock cache, or would have been if it were there.
unsafe extern "C-unwind" fn remove_hook(ctx: *mut SSL_CTX, sess: *mut SSL_SESSION) {
    guard((), || {
        if is_in_stock() {
            // Called by us, and our caller does the rest.
            return;
        }
        let Some(libssl) = libssl() else { return };
        // SAFETY: libssl's context, valid during the call.
        let Some(ctx) = (unsafe { Ctx::borrow(libssl, ctx) }) else { return };
        // SAFETY: libssl's session, valid during the call.
        let Some(session) = (unsafe { SessionRef::borrow(libssl, sess) }) else { return };
        if let Some(state) = state(ctx) {
            with(state, (), || state.removed(ctx, session));
        }
    });
}
