//! Virtual hosts: connections that are switched to another context, and whom contexts ask for a
//! certificate.

use super::guard::guard;
use super::lifecycle::connection_or_new;
use super::state;
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::next::{Next, VerifyCb, next};
use libc::c_int;
use openssl_sys::{SSL, SSL_CTX};
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;

/// Switches a connection to another context, as servername callbacks do; see SSL_set_SSL_CTX(3).
///
/// The session cache stays that of the context the connection started with, and OpenSSL tells
/// nobody which that was: it is noted here.
///
/// # Safety
/// `ssl` is a valid connection; `ctx` is a valid context or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_set_SSL_CTX(ssl: *mut SSL, ctx: *mut SSL_CTX) -> *mut SSL_CTX {
    guard(ptr::null_mut(), || {
        let Some(next) = next() else { return ptr::null_mut() };
        // SAFETY: the caller's promise.
        let Some(connection) = (unsafe { Ssl::borrow(ssl) }) else { return ptr::null_mut() };
        note_switch(next, connection);
        // SAFETY: the caller's promise.
        if let Some(target) = unsafe { Ctx::borrow(ctx) }
            && let Some(state) = state(next, target)
        {
            // SSL_CONF_cmd(3) sets it past SSL_CTX_set_verify.
            state.note_verify_mode(next, target);
        }
        // SAFETY: the caller's promise.
        unsafe { (next.SSL_set_SSL_CTX)(ssl, ctx) }
    })
}

fn note_switch(next: &Next, ssl: Ssl<'_>) {
    // Before the first switch the context it has is the one it started with.
    let Some(ctx) = ssl.ctx(next) else { return };
    let Some(connection) = connection_or_new(next, ssl) else { return };
    if connection.session_ctx.load(Relaxed).is_null() {
        connection.session_ctx.store(ctx.as_ptr(), Relaxed);
    }
    if ssl.is_in_handshake(next) {
        connection.was_switched.store(true, Relaxed);
    }
}

/// Sets whether the other side is asked for a certificate; see SSL_CTX_set_verify(3).
///
/// # Safety
/// `ctx` is a valid context; `callback` is callable while the context is in use, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_CTX_set_verify(
    ctx: *mut SSL_CTX,
    mode: c_int,
    callback: Option<VerifyCb>,
) {
    guard((), || {
        let Some(next) = next() else { return };
        // SAFETY: the caller's promise.
        unsafe { (next.SSL_CTX_set_verify)(ctx, mode, callback) };
        // SAFETY: the caller's promise.
        if let Some(ctx) = unsafe { Ctx::borrow(ctx) }
            && let Some(state) = state(next, ctx)
        {
            state.note_verify_mode(next, ctx);
        }
    });
}
