//! Ticket keys: ours, from the key file, unless the application sets its own.
//!
//! Ours are set when a context is made. Whatever the application sets afterwards, by any of the
//! three doors that OpenSSL has, wins.

use super::arguments::Argument;
use super::guard::{guard, with};
use super::{answer, event, ticket_data};
use crate::config::{TicketMode, config};
use crate::context::{Event, State};
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::libssl::libssl;
use crate::openssl::ticket::{Contexts, IV_BYTES, NAME_BYTES};
use crate::openssl::types::{EvpMacCtx, TicketKeyEvpCb};
use libc::c_int;
use openssl_sys::{EVP_CIPHER_CTX, SSL, SSL_CTX, TLS1_3_VERSION};
use sesscache_core::system::errno::KeepErrno;

/// Does with a new context as SESSCACHE_TICKETS says.
pub(super) fn register(ctx: Ctx<'_>, state: &State) {
    if config().tickets == Some(TicketMode::Off) {
        ticket_data::withhold(ctx, state);
    } else if state.shares_tickets() {
        ctx.stock_set_ticket_key_cb(Some(ticket_key));
        ticket_data::apply(ctx, state);
    }
}

/// The application sets keys or a callback of its own: ours go.
pub(super) fn give_way(ctx: Ctx<'_>, state: &State) {
    if state.give_up_tickets() {
        ctx.stock_set_ticket_key_cb(None);
        ticket_data::apply(ctx, state);
    }
}

/// Sets the callback for ticket keys; see SSL_CTX_set_tlsext_ticket_key_evp_cb(3). Returns 0 for
/// NULL.
///
/// # Safety
/// `ctx` is a valid context or NULL; `fp` is callable while the context is in use, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_CTX_set_tlsext_ticket_key_evp_cb(
    ctx: Argument<*mut SSL_CTX>,
    fp: Option<TicketKeyEvpCb>,
) -> c_int {
    answer(
        &ctx,
        0,
        |ctx, state| {
            if state.give_up_tickets() {
                ticket_data::apply(ctx, state);
            }
            ctx.stock_set_ticket_key_cb(fp).unwrap_or(0)
        },
        |ctx| ctx.stock_set_ticket_key_cb(fp).unwrap_or(0),
    )
}

/// libssl seals or opens a ticket: as SSL_CTX_set_tlsext_ticket_key_evp_cb(3) describes, with
/// its six parameters.
unsafe extern "C" fn ticket_key(
    ssl: *mut SSL,
    key_name: *mut u8,
    iv: *mut u8,
    cipher: *mut EVP_CIPHER_CTX,
    mac: *mut EvpMacCtx,
    enc: c_int,
) -> c_int {
    guard(0, || {
        let Some(libssl) = libssl() else { return 0 };
        // SAFETY: libssl's connection, valid during the call.
        let Some(ssl) = (unsafe { Ssl::borrow(libssl, ssl) }) else { return 0 };
        // SAFETY: libssl passes room for a key's name.
        let name = unsafe { key_name.cast::<[u8; NAME_BYTES]>().as_mut() };
        // SAFETY: libssl passes room for EVP_MAX_IV_LENGTH bytes.
        let iv = unsafe { iv.cast::<[u8; IV_BYTES]>().as_mut() };
        let (Some(name), Some(iv)) = (name, iv) else { return 0 };
        // SAFETY: libssl's contexts, valid during the call.
        let contexts = unsafe { Contexts::of_libssl(libssl, cipher, mac) };
        let Some((event, state)) = event(ssl) else { return 0 };
        with(state, 0, || {
            let _errno = KeepErrno::new();
            match enc {
                1 => seal(state, &event, name, iv, &contexts),
                _ => open(state, &event, name, iv, &contexts),
            }
        })
    })
}

/// Sets the contexts up to seal a ticket. The five parameters are libssl's.
fn seal(
    state: &State,
    event: &Event<'_>,
    name: &mut [u8; NAME_BYTES],
    iv: &mut [u8; IV_BYTES],
    contexts: &Contexts,
) -> c_int {
    let Some(key) = state.sealing_key(event) else { return 0 };
    *name = key.name;
    key.seal(iv, contexts).map_or(-1, |()| 1)
}

/// Sets the contexts up to open a ticket. The five parameters are libssl's.
fn open(
    state: &State,
    event: &Event<'_>,
    name: &[u8; NAME_BYTES],
    iv: &[u8; IV_BYTES],
    contexts: &Contexts,
) -> c_int {
    let Some((key, renew)) = state.opening_key(event, name) else { return 0 };
    // With keys of its own libssl renews each ticket of TLS 1.3, because clients use it once
    // (tls_decrypt_ticket).
    let renew = renew || event.ssl.version() == TLS1_3_VERSION;
    key.open(iv, contexts).map_or(-1, |()| if renew { 2 } else { 1 })
}
