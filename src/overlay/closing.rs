//! SSL_free(3), SSL_clear(3) and SSL_set_session(3): the engine removes the session of a connection
//! that was not shut down. Only from here can that be told from a fatal alert.

use super::guard::guard;
use super::lifecycle::connection;
use crate::context::{host, while_closing};
use crate::openssl::handle::Ssl;
use crate::openssl::next::{Next, next_of};
use libc::c_int;
use openssl_sys::{SSL, SSL_SESSION};
use std::sync::atomic::Ordering::Relaxed;

/// Frees a connection; see SSL_free(3).
///
/// # Safety
/// `ssl` is a valid connection, whose reference is given up, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_free(ssl: *mut SSL) {
    guard((), || {
        // SAFETY: the caller's promise.
        let Some(next) = (unsafe { next_of(ssl) }) else { return };
        // SAFETY: the caller's promise.
        let close = || unsafe { (next.SSL_free)(ssl) };
        // SAFETY: the caller's promise.
        unsafe { closing(next, ssl, close) }
    });
}

/// Makes a connection ready for another handshake; see SSL_clear(3).
///
/// # Safety
/// `s` is a valid connection or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_clear(s: *mut SSL) -> c_int {
    guard(0, || {
        // SAFETY: the caller's promise.
        let Some(next) = (unsafe { next_of(s) }) else { return 0 };
        // SAFETY: the caller's promise.
        let close = || unsafe { (next.SSL_clear)(s) };
        // SAFETY: the caller's promise.
        let cleared = unsafe { closing(next, s, close) };
        // SAFETY: the caller's promise.
        if let Some(connection) = unsafe { Ssl::borrow(s) }.and_then(|ssl| connection(next, ssl)) {
            // What leads the next one where it belongs is yet to come.
            connection.was_switched.store(false, Relaxed);
        }
        cleared
    })
}

/// Sets the session to be resumed, or none; see SSL_set_session(3).
///
/// # Safety
/// `to` is a valid connection or NULL, `session` a valid session or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_set_session(to: *mut SSL, session: *mut SSL_SESSION) -> c_int {
    guard(0, || {
        // SAFETY: the caller's promise.
        let Some(next) = (unsafe { next_of(to) }) else { return 0 };
        // SAFETY: the caller's promise.
        let set = || unsafe { (next.SSL_set_session)(to, session) };
        // SAFETY: the caller's promise.
        unsafe { closing(next, to, set) }
    })
}

/// # Safety
/// `ssl` is a valid connection or NULL.
unsafe fn closing<T>(next: &Next, ssl: *mut SSL, close: impl FnOnce() -> T) -> T {
    // SAFETY: the caller's promise.
    match unsafe { Ssl::borrow(ssl) }.filter(|_| next.is_supported && host::is_used()) {
        Some(connection) => while_closing(next, connection, close),
        None => close(),
    }
}
