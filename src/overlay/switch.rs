//! Virtual hosts: connections that are switched to another context, and whom contexts ask for a
//! certificate.
//!
//! A servername callback switches when libssl has already found the session. So the application's
//! runs inside ours, which looks once more at a session that resumes.

use super::arguments::Argument;
use super::connection::{self, Connection};
use super::guard::{guard, with};
use super::{answer, borrow, event, session_state, state};
use crate::context::{IdContext, State, in_servername};
use crate::openssl::callback::{call_servername, servername_cb};
use crate::openssl::constants::{
    SSL_AD_ACCESS_DENIED, SSL_TLSEXT_ERR_ALERT_FATAL, SSL_TLSEXT_ERR_NOACK,
};
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::types::{CallbackArg, ServernameCb, VerifyCb};
use libc::c_int;
use openssl_sys::{SSL, SSL_CTX};
use sesscache_core::system::errno::KeepErrno;
use std::mem::transmute;
use std::ptr;

/// Switches a connection to another context, as servername callbacks do; see SSL_set_SSL_CTX(3).
/// Returns NULL if `ssl` is NULL.
///
/// The session cache stays that of the context the connection started with, and OpenSSL tells
/// nobody which that was: it is noted here.
///
/// # Safety
/// `ssl` is a valid connection or NULL; `ctx` is a valid context or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_set_SSL_CTX(
    ssl: Argument<*mut SSL>,
    ctx: Argument<*mut SSL_CTX>,
) -> *mut SSL_CTX {
    guard(ptr::null_mut(), || {
        let Some(ssl) = ssl.ssl() else { return ptr::null_mut() };
        let connection = note_start(ssl);
        let id_context = id_context_here(ssl);
        let switched = ssl.stock_set_ctx(ctx.ctx());
        if let Some(own) = connection.map(Connection::id_context)
            && !switched.is_null()
            && own.get().is_some_and(|own| Some(own) == id_context)
        {
            // It was that of the old context: libssl has replaced it by the new one's.
            own.set(None);
        }
        if ssl.is_in_handshake() {
            let _errno = KeepErrno::new();
            note_switch(ssl, connection);
        }
        switched
    })
}

/// The session id context of the context that a connection is in.
pub(super) fn id_context_here(ssl: Ssl<'_>) -> Option<IdContext> {
    state(ssl.ctx()?)?.application().id_context()
}

/// Notes the context a connection started with: before the first switch, the one it has.
fn note_start(ssl: Ssl<'_>) -> Option<&Connection> {
    let ctx = ssl.ctx()?;
    let connection = connection::attach(ssl)?;
    connection.note_start(ctx);
    Some(connection)
}

/// A callback of the application has switched a connection during a handshake.
fn note_switch(ssl: Ssl<'_>, connection: Option<&Connection>) {
    let Some(current) = ssl.ctx() else { return };
    if let Some(state) = state(current) {
        // SSL_CONF_cmd(3) sets it past SSL_CTX_set_verify.
        state.virtual_host().note_verify_mode(current);
    }
    if ssl.session().is_none()
        && let Some(connection) = connection
    {
        // Before libssl has looked for one: this is a ClientHello callback.
        connection.set_was_switched(true);
    }
}

/// Sets whether the other side is asked for a certificate; see SSL_CTX_set_verify(3). Does nothing
/// for NULL.
///
/// # Safety
/// `ctx` is a valid context or NULL; `callback` is callable while the context is in use, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_set_verify(
    ctx: Argument<*mut SSL_CTX>,
    mode: c_int,
    callback: Option<VerifyCb>,
) {
    answer(
        &ctx,
        (),
        |ctx, state| {
            ctx.stock_set_verify(mode, callback);
            state.virtual_host().note_verify_mode(ctx);
        },
        |ctx| ctx.stock_set_verify(mode, callback),
    );
}

/// Sets whether a connection asks the other side for a certificate; see SSL_set_verify(3). Does
/// nothing if `s` is NULL.
///
/// # Safety
/// `s` is a valid connection or NULL; `callback` is callable while the connection lives, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_set_verify(
    s: Argument<*mut SSL>,
    mode: c_int,
    callback: Option<VerifyCb>,
) {
    guard((), || {
        let Some(ssl) = s.ssl() else { return };
        // One that is to ask after the handshake does not ask in it.
        let is_tls13 = ssl.is_tls13();
        let asked = ssl.asks_in_handshake(is_tls13);
        ssl.stock_set_verify(mode, callback);
        // With a session, libssl has looked for one: this is a servername callback or a later one.
        let asks_late = !asked
            && ssl.asks_in_handshake(is_tls13)
            && ssl.is_in_handshake()
            && ssl.is_server()
            && ssl.session().is_some();
        if asks_late && let Some((_, state)) = session_state(ssl) {
            let context_asks = ssl.ctx().is_some_and(Ctx::asks_for_certificate);
            state.virtual_host().note_connection_asks(ssl, context_asks);
        }
    });
}

/// Notes the application's servername callback, and returns the one for stock: ours, or none.
///
/// # Safety
/// `function` is the one of SSL_CTX_set_tlsext_servername_callback(3), or `None`.
pub(super) unsafe fn wrap_servername_cb(
    state: &State,
    function: Option<unsafe extern "C-unwind" fn()>,
) -> Option<unsafe extern "C-unwind" fn()> {
    // SAFETY: the caller's promise.
    state.application().servername_cb().set(unsafe { servername_cb(function) });
    state.virtual_host().set_may_switch(function.is_some());
    let ours: ServernameCb = servername;
    // SAFETY: stock casts it back, as it does the application's.
    function.map(|_| unsafe { transmute::<ServernameCb, unsafe extern "C-unwind" fn()>(ours) })
}

/// libssl has found the session, or made one, and asks for the host.
unsafe extern "C-unwind" fn servername(ssl: *mut SSL, al: *mut c_int, arg: CallbackArg) -> c_int {
    guard(SSL_TLSEXT_ERR_ALERT_FATAL, || {
        // SAFETY: libssl's connection, valid during the call.
        let Some(ssl) = (unsafe { borrow(ssl) }) else { return SSL_TLSEXT_ERR_NOACK };
        let Some(callback) = servername_cb_of(ssl) else { return SSL_TLSEXT_ERR_NOACK };
        // SAFETY: libssl's arguments; it passes that of the context whose callback it calls.
        let answer = in_servername(ssl, || unsafe { call_servername(callback, ssl, al, arg) });
        if answer == SSL_TLSEXT_ERR_ALERT_FATAL || admits(ssl) {
            return answer;
        }
        // SAFETY: libssl's variable.
        if let Some(al) = unsafe { al.as_mut() } {
            *al = SSL_AD_ACCESS_DENIED;
        }
        SSL_TLSEXT_ERR_ALERT_FATAL
    })
}

/// The application's servername callback that stock would call (final_server_name): that of the
/// context the connection is in, else of the one it started with.
fn servername_cb_of(ssl: Ssl<'_>) -> Option<ServernameCb> {
    let of = |state: &State| state.application().servername_cb().get();
    let here = ssl.ctx().and_then(state).and_then(of);
    here.or_else(|| session_state(ssl).and_then(|(_, started)| of(started)))
}

/// Whether the host that the servername callback has led to lets the client in.
fn admits(ssl: Ssl<'_>) -> bool {
    if !ssl.is_server() {
        return true;
    }
    let _errno = KeepErrno::new();
    event(ssl).is_none_or(|(event, state)| with(state, false, || state.admits_after_switch(&event)))
}
