//! Virtual hosts: connections that are switched to another context, and whom contexts ask for a
//! certificate.

use super::guard::{guard, with};
use super::lifecycle::{Connection, connection_or_new};
use super::{current, session_state, state};
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::next::{Next, VerifyCb, next_of};
use libc::c_int;
use openssl_sys::{SSL, SSL_CTX};
use sesscache_core::system::errno::KeepErrno;
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
        // SAFETY: the caller's promise.
        let Some(next) = (unsafe { next_of(ssl) }) else { return ptr::null_mut() };
        // SAFETY: the caller's promise.
        let Some(ssl) = (unsafe { Ssl::borrow(ssl) }) else { return ptr::null_mut() };
        let connection = note_start(next, ssl);
        // SAFETY: the caller's promise.
        let switched = unsafe { (next.SSL_set_SSL_CTX)(ssl.as_ptr(), ctx) };
        let Some(current) = current(next, ssl).filter(|_| ssl.is_in_handshake(next)) else {
            return switched;
        };
        let _errno = KeepErrno::new();
        if let Some(state) = current.state {
            // SSL_CONF_cmd(3) sets it past SSL_CTX_set_verify.
            state.note_verify_mode(next, current.ctx);
        }
        if ssl.session(next).is_none() {
            // Before libssl has looked for one: this is a ClientHello callback.
            if let Some(connection) = connection {
                connection.was_switched.store(true, Relaxed);
            }
        } else if let Some((ctx, state)) = session_state(next, ssl) {
            with(state, (), || state.note_switch(next, ctx, ssl, &current));
        }
        switched
    })
}

/// Notes the context a connection started with: before the first switch, the one it has.
fn note_start<'a>(next: &Next, ssl: Ssl<'a>) -> Option<&'a Connection> {
    let ctx = ssl.ctx(next)?;
    let connection = connection_or_new(next, ssl)?;
    if connection.session_ctx.load(Relaxed).is_null() {
        connection.session_ctx.store(ctx.as_ptr(), Relaxed);
    }
    Some(connection)
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
        // SAFETY: the caller's promise.
        let Some(next) = (unsafe { next_of(ctx) }) else { return };
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
