//! SSL_free(3), SSL_clear(3) and SSL_set_session(3): libssl removes the session of a connection
//! that was not shut down. Only from here can that be told from a fatal alert.

use super::arguments::Argument;
use super::connection;
use super::guard::{guard, with};
use super::session_state;
use crate::context::{Begun, forget_servername, host, let_notes_go, while_closing};
use crate::openssl::handle::Ssl;
use libc::c_int;
use openssl_sys::{SSL, SSL_SESSION};
use sesscache_core::system::errno::KeepErrno;

/// Frees a connection; see SSL_free(3). Does nothing for NULL.
///
/// # Safety
/// `ssl` is a valid connection, whose reference is given up, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_free(ssl: Argument<*mut SSL>) {
    guard((), || {
        let Some(connection) = ssl.ssl() else { return };
        let free = connection.onward().libssl().SSL_free;
        forget_servername(connection);
        count(connection, false);
        // SAFETY: a valid connection, whose reference the caller gives up. Its handle is used
        // before.
        closing(connection, || unsafe { free(ssl.as_ptr()) });
    });
}

/// Makes a connection ready for another handshake; see SSL_clear(3). Returns 0 for NULL.
///
/// # Safety
/// `s` is a valid connection or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_clear(s: Argument<*mut SSL>) -> c_int {
    guard(0, || {
        let Some(ssl) = s.ssl() else { return 0 };
        forget_servername(ssl);
        count(ssl, true);
        let cleared = closing(ssl, || ssl.stock_clear());
        if let Some(connection) = connection::of(ssl) {
            // The callback that leads the next handshake where it belongs is yet to come.
            connection.set_was_switched(false);
            connection.set_used_shared_key(false);
            connection.pending_renewal().set(None);
        }
        cleared
    })
}

/// Sets the session to be resumed, or none; see SSL_set_session(3). Returns 0 if `to` is NULL.
///
/// # Safety
/// `to` is a valid connection or NULL, `session` a valid session or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_set_session(
    to: Argument<*mut SSL>,
    session: Argument<*mut SSL_SESSION>,
) -> c_int {
    guard(0, || {
        let Some(ssl) = to.ssl() else { return 0 };
        closing(ssl, || ssl.stock_set_session(session.session(ssl.libssl())))
    })
}

/// A connection ends, or is made ready for another one.
fn count(ssl: Ssl<'_>, is_used_again: bool) {
    if !ssl.libssl().is_supported || !host::is_used() {
        return;
    }
    if let Some(begun) = Begun::of(ssl)
        && ssl.is_server()
        && !ssl.is_quic()
        && let Some((_, state)) = session_state(ssl)
    {
        let _errno = KeepErrno::new();
        with(state, (), || state.count_connection(ssl, begun, is_used_again));
    }
    if !is_used_again {
        let_notes_go(ssl);
    }
}

fn closing<T>(ssl: Ssl<'_>, close: impl FnOnce() -> T) -> T {
    if ssl.libssl().is_supported && host::is_used() { while_closing(ssl, close) } else { close() }
}
