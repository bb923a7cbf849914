//! Ticket keys: ours, from the key file, unless the application sets its own.
//!
//! Ours are set when a context is made. Whatever the application sets afterwards, by any of the
//! three doors that OpenSSL has, wins.

use super::guard::{guard, with};
use super::{current, session_state, state};
use crate::config::{Tickets, config};
use crate::context::State;
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::next::{EvpMacCtx, Next, TicketKeyEvpCb, next, next_of};
use crate::openssl::ticket::{IV_BYTES, NAME_BYTES};
use libc::c_int;
use openssl_sys::{EVP_CIPHER_CTX, SSL, SSL_CTX, SSL_OP_NO_TICKET};
use sesscache_core::system::errno::KeepErrno;

/// Does with a new context what SESSCACHE_TICKETS says.
pub(super) fn register(next: &Next, ctx: Ctx<'_>, state: &State) {
    match (config().tickets, next.SSL_CTX_set_tlsext_ticket_key_evp_cb) {
        (Some(Tickets::Off), _) => {
            // SAFETY: a valid context.
            unsafe { (next.SSL_CTX_set_options)(ctx.as_ptr(), SSL_OP_NO_TICKET) };
        }
        (_, Some(set)) if state.shares_tickets() => {
            // SAFETY: a valid context and a function of the right type.
            unsafe { set(ctx.as_ptr(), Some(ticket_key)) };
        }
        _ => {}
    }
}

/// The application sets keys or a callback of its own: ours go.
pub(super) fn give_way(next: &Next, ctx: Ctx<'_>, state: &State) {
    if let Some(set) = next.SSL_CTX_set_tlsext_ticket_key_evp_cb
        && state.give_up_tickets()
    {
        // SAFETY: a valid context.
        unsafe { set(ctx.as_ptr(), None) };
    }
}

/// Sets the callback for ticket keys; see SSL_CTX_set_tlsext_ticket_key_evp_cb(3).
///
/// # Safety
/// `ctx` is a valid context or NULL; `fp` is callable while the context is in use, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_CTX_set_tlsext_ticket_key_evp_cb(
    ctx: *mut SSL_CTX,
    fp: Option<TicketKeyEvpCb>,
) -> c_int {
    guard(0, || {
        // SAFETY: the caller's promise.
        let Some(next) = (unsafe { next_of(ctx) }) else { return 0 };
        // SAFETY: the caller's promise.
        if let Some(ctx) = unsafe { Ctx::borrow(ctx) }
            && let Some(state) = state(next, ctx)
        {
            state.give_up_tickets();
        }
        let Some(set) = next.SSL_CTX_set_tlsext_ticket_key_evp_cb else { return 0 };
        // SAFETY: the caller's promise.
        unsafe { set(ctx, fp) }
    })
}

/// The engine seals or opens a ticket: as SSL_CTX_set_tlsext_ticket_key_evp_cb(3) describes.
unsafe extern "C" fn ticket_key(
    ssl: *mut SSL,
    key_name: *mut u8,
    iv: *mut u8,
    cipher: *mut EVP_CIPHER_CTX,
    mac: *mut EvpMacCtx,
    enc: c_int,
) -> c_int {
    let Some(next) = next() else { return 0 };
    // SAFETY: the engine's connection, valid during the call.
    let Some(ssl) = (unsafe { Ssl::borrow(ssl) }) else { return 0 };
    // SAFETY: the engine passes room for a key's name.
    let Some(name) = (unsafe { key_name.cast::<[u8; NAME_BYTES]>().as_mut() }) else { return 0 };
    // SAFETY: the engine passes room for EVP_MAX_IV_LENGTH bytes.
    let Some(iv) = (unsafe { iv.cast::<[u8; IV_BYTES]>().as_mut() }) else { return 0 };
    let Some((ctx, state)) = session_state(next, ssl) else { return 0 };
    let Some(current) = current(next, ssl) else { return 0 };
    with(state, 0, || {
        let _errno = KeepErrno::new();
        if enc == 1 {
            let Some(key) = state.sealing_key(next, ctx, ssl, &current) else { return 0 };
            *name = key.name;
            // SAFETY: the engine's contexts.
            unsafe { key.seal(next, iv, cipher, mac) }.map_or(-1, |()| 1)
        } else {
            let found = state.opening_key(next, ctx, ssl, name, &current);
            let Some((key, renew)) = found else { return 0 };
            // SAFETY: the engine's contexts.
            let opened = unsafe { key.open(next, iv, cipher, mac) };
            opened.map_or(-1, |()| if renew { 2 } else { 1 })
        }
    })
}
