//! May early data be accepted: SSL_CTX_set_allow_early_data_cb(3). libssl asks once a handshake, if all
//! else is in favour.
//!
//! Our callback is set when a context is made, and the application's runs inside it. Its refusal counts
//! first. A context's connections ask the callback that was set last.

use super::arguments::Argument;
use super::connection::{self, Connection};
use super::guard::{guard, with};
use super::{answer, event, state};
use crate::openssl::callback::call_allow_early_data;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::libssl::libssl;
use crate::openssl::types::{AllowEarlyDataCb, CallbackArg};
use libc::c_int;
use openssl_sys::{SSL, SSL_CTX};
use sesscache_core::system::errno::KeepErrno;
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Release};

/// Sets our callback in a new context.
pub(super) fn register(ctx: Ctx<'_>) {
    ctx.stock_set_allow_early_data_cb(Some(allow), CallbackArg::new(ptr::null_mut()));
}

/// Sets the callback that allows early data; see SSL_CTX_set_allow_early_data_cb(3). Does nothing if
/// `ctx` is NULL.
///
/// # Safety
/// `ctx` is a valid context or NULL; `cb` is callable while the context is in use, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_CTX_set_allow_early_data_cb(
    ctx: Argument<*mut SSL_CTX>,
    cb: Option<AllowEarlyDataCb>,
    arg: CallbackArg,
) {
    answer(
        &ctx,
        (),
        |ctx, state| {
            state.application().early_data().allow_cb.set(cb);
            ctx.stock_set_allow_early_data_cb(Some(allow), arg);
        },
        |ctx| ctx.stock_set_allow_early_data_cb(cb, arg),
    );
}

/// Sets the same for a connection, in place of its context's; see SSL_set_allow_early_data_cb(3). Does
/// nothing if `s` is NULL.
///
/// # Safety
/// `s` is a valid connection or NULL; `cb` is callable while the connection lives, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_set_allow_early_data_cb(
    s: Argument<*mut SSL>,
    cb: Option<AllowEarlyDataCb>,
    arg: CallbackArg,
) {
    guard((), || {
        let Some(ssl) = s.ssl() else { return };
        if ssl.ctx().and_then(state).is_none() {
            return ssl.stock_set_allow_early_data_cb(cb, arg);
        }
        let Some(attached) = connection::attach(ssl) else {
            // No memory to keep it in, and nobody to ask later.
            return ssl.stock_set_allow_early_data_cb(Some(refuse), arg);
        };
        attached.early_data().allow_cb.set(cb);
        attached.early_data().is_set.store(true, Release);
        ssl.stock_set_allow_early_data_cb(Some(allow), arg);
    });
}

unsafe extern "C" fn refuse(_ssl: *mut SSL, _arg: CallbackArg) -> c_int {
    0
}

/// libssl asks whether to accept early data. 0: no, and the handshake goes on.
unsafe extern "C" fn allow(ssl: *mut SSL, arg: CallbackArg) -> c_int {
    guard(0, || {
        let Some(libssl) = libssl() else { return 1 };
        // SAFETY: libssl's connection, valid during the call.
        let Some(ssl) = (unsafe { Ssl::borrow(libssl, ssl) }) else { return 1 };
        let Some((event, state)) = event(ssl) else { return 1 };
        let own = connection::of(ssl).map(Connection::early_data);
        let own = own.filter(|own| own.is_set.load(Acquire));
        let asked = own.unwrap_or_else(|| state.application().early_data());
        if let Some(callback) = asked.allow_cb.get() {
            // SAFETY: libssl's argument, which was set with this callback.
            let answer = unsafe { call_allow_early_data(callback, ssl, arg) };
            if answer == 0 {
                return answer;
            }
        }
        let _errno = KeepErrno::new();
        let _errors = KeepErrors::new(libssl);
        c_int::from(with(state, false, || state.accepts_early_data(&event)))
    })
}
