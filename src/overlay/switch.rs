//! Virtual hosts: connections that are switched to another context, and whom contexts ask for a
//! certificate.

use super::arguments::Argument;
use super::connection::{self, Connection};
use super::guard::{guard, with};
use super::{answer, event, state};
use crate::context::IdContext;
use crate::openssl::handle::Ssl;
use crate::openssl::types::VerifyCb;
use libc::c_int;
use openssl_sys::{SSL, SSL_CTX};
use sesscache_core::system::errno::KeepErrno;
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
pub unsafe extern "C" fn SSL_set_SSL_CTX(
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
    if ssl.session().is_none() {
        // Before libssl has looked for one: this is a ClientHello callback.
        if let Some(connection) = connection {
            connection.set_was_switched(true);
        }
    } else if let Some((event, state)) = event(ssl) {
        with(state, (), || state.note_switch(&event));
    }
}

/// Sets whether the other side is asked for a certificate; see SSL_CTX_set_verify(3). Does nothing
/// for NULL.
///
/// # Safety
/// `ctx` is a valid context or NULL; `callback` is callable while the context is in use, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_CTX_set_verify(
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
