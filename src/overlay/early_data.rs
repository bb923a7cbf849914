//! Callbacks by which libssl asks whether to accept early data.
//!
//! Where others may open a context's tickets, stock has ours. It asks the application first, and
//! then takes the ticket's permit, of which there is one. Else stock has the application's.

use super::arguments::Argument;
use super::connection;
use super::guard::{guard, with};
use super::{answer, borrow, event, session_state, ticket_data};
use crate::context::State;
use crate::openssl::early_data::application_allows;
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::types::{AllowEarlyDataCb, CallbackArg};
use libc::c_int;
use openssl_sys::{SSL, SSL_CTX};
use sesscache_core::system::errno::KeepErrno;
use std::ptr;

/// Has libssl ask us, in a context that is new or has got a store.
pub(super) fn register(ctx: Ctx<'_>, state: &State) {
    if state.keeps_permits() {
        let argument = state.application().early_data().argument();
        ctx.stock_set_allow_early_data_cb(Some(allow), argument);
        // Permits are put when a ticket is made.
        ticket_data::apply(ctx, state);
    }
}

/// Sets the callback that decides about early data; see SSL_CTX_set_allow_early_data_cb(3). Does
/// nothing if `ctx` is NULL.
///
/// # Safety
/// `ctx` is a valid context or NULL; `cb` is callable while the context is in use, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_set_allow_early_data_cb(
    ctx: Argument<*mut SSL_CTX>,
    cb: Option<AllowEarlyDataCb>,
    arg: CallbackArg,
) {
    answer(
        &ctx,
        (),
        |ctx, state| {
            let kept = state.application().early_data().set(cb, arg);
            let (cb, arg) = if state.keeps_permits() { wrapped(kept) } else { (cb, arg) };
            ctx.onward().stock_set_allow_early_data_cb(cb, arg);
        },
        |ctx| ctx.stock_set_allow_early_data_cb(cb, arg),
    );
}

/// Sets the callback that decides about a connection's early data; see
/// SSL_set_allow_early_data_cb(3). Does nothing if `s` is NULL.
///
/// # Safety
/// `s` is a valid connection or NULL; `cb` is callable while the connection lives, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_set_allow_early_data_cb(
    s: Argument<*mut SSL>,
    cb: Option<AllowEarlyDataCb>,
    arg: CallbackArg,
) {
    guard((), || {
        let Some(ssl) = s.ssl() else { return };
        let keeps_permits = session_state(ssl).is_some_and(|(_, state)| state.keeps_permits());
        let (cb, arg) = if keeps_permits { wrapped(keep(ssl, cb, arg)) } else { (cb, arg) };
        ssl.stock_set_allow_early_data_cb(cb, arg);
    });
}

/// Keeps a connection's callback. Returns the argument for ours; `None` without memory.
fn keep(ssl: Ssl<'_>, cb: Option<AllowEarlyDataCb>, arg: CallbackArg) -> Option<CallbackArg> {
    let _errno = KeepErrno::new();
    match cb {
        Some(_) => connection::attach(ssl)?.early_data().set(cb, arg),
        None => Some(CallbackArg::new(ptr::null_mut())),
    }
}

/// The callback for stock, and its argument. An application whose callback could not be kept might
/// refuse.
fn wrapped(kept: Option<CallbackArg>) -> (Option<AllowEarlyDataCb>, CallbackArg) {
    match kept {
        Some(argument) => (Some(allow), argument),
        None => (Some(refuse), CallbackArg::new(ptr::null_mut())),
    }
}

/// libssl would accept early data. 0: it is refused, and the client sends it again when the
/// handshake is over.
unsafe extern "C-unwind" fn allow(ssl: *mut SSL, arg: CallbackArg) -> c_int {
    let allows = guard(false, || {
        // SAFETY: libssl's connection, valid during the call.
        let Some(ssl) = (unsafe { borrow(ssl) }) else { return false };
        // SAFETY: the argument is of this connection, or of the context it started with, to which it
        // holds a reference.
        if !unsafe { application_allows(arg, ssl) } {
            return false;
        }
        let _errno = KeepErrno::new();
        event(ssl)
            .is_some_and(|(event, state)| with(state, false, || state.allows_early_data(&event)))
    });
    c_int::from(allows)
}

/// As [`allow`], and says no.
unsafe extern "C-unwind" fn refuse(_ssl: *mut SSL, _arg: CallbackArg) -> c_int {
    0
}
