//! Ticket keys: ours, from the key file, unless the application sets its own.
//!
//! Ours are set when a context is made. Whatever the application sets afterwards, by any of the
//! three doors that OpenSSL has, wins.
//!
//! Clients use a ticket once (RFC 8446 C.4). So each ticket that is opened brings a new one, except
//! that in TLS 1.2 the application's own keys decide about it.

use super::arguments::Argument;
use super::guard::{guard, with};
use super::{answer, event, session_state, ticket_data};
use crate::config::{TicketMode, config};
use crate::context::{Event, State, TicketKeyCallbacks};
use crate::openssl::callback::{Callback, TicketKeyQuestion, ticket_key_cb};
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::libssl::libssl;
use crate::openssl::ticket::{Contexts, IV_BYTES, NAME_BYTES};
use crate::openssl::types::{EvpMacCtx, HmacCtx, TicketKeyCb, TicketKeyEvpCb};
use libc::c_int;
use openssl_sys::{EVP_CIPHER_CTX, SSL, SSL_CTX, TLS1_3_VERSION};
use sesscache_core::system::errno::KeepErrno;
use std::mem::transmute;

/// The answer of a callback for ticket keys: the ticket is good.
const USE: c_int = 1;
/// The same, and it is to be replaced by a new one.
const RENEW: c_int = 2;

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
            state.application().ticket_keys().evp_cb.set(fp);
            let ours: TicketKeyEvpCb = application_key;
            ctx.stock_set_ticket_key_cb(fp.map(|_| ours)).unwrap_or(0)
        },
        |ctx| ctx.stock_set_ticket_key_cb(fp).unwrap_or(0),
    )
}

/// Keeps the callback that the application gives SSL_CTX_callback_ctrl(3). Returns what stock is to
/// get instead.
///
/// # Safety
/// `function` is the one of SSL_CTX_set_tlsext_ticket_key_cb(3), or `None`.
pub(super) unsafe fn wrap_key_cb(
    ctx: Ctx<'_>,
    state: &State,
    function: Option<unsafe extern "C" fn()>,
) -> Option<unsafe extern "C" fn()> {
    give_way(ctx, state);
    // SAFETY: the caller's promise.
    state.application().ticket_keys().hmac_cb.set(unsafe { ticket_key_cb(function) });
    let ours: TicketKeyCb<HmacCtx> = application_key;
    // SAFETY: stock casts it back, as it does the application's.
    function.map(|_| unsafe { transmute::<TicketKeyCb<HmacCtx>, unsafe extern "C" fn()>(ours) })
}

/// A MAC's context, by which libssl chooses among the application's callbacks.
trait MacContext: Sized {
    fn callback(callbacks: &TicketKeyCallbacks) -> &Callback<TicketKeyCb<Self>>;
}

impl MacContext for EvpMacCtx {
    fn callback(callbacks: &TicketKeyCallbacks) -> &Callback<TicketKeyCb<Self>> {
        &callbacks.evp_cb
    }
}

impl MacContext for HmacCtx {
    fn callback(callbacks: &TicketKeyCallbacks) -> &Callback<TicketKeyCb<Self>> {
        &callbacks.hmac_cb
    }
}

/// libssl seals or opens a ticket with the application's keys.
unsafe extern "C" fn application_key<M: MacContext>(
    ssl: *mut SSL,
    key_name: *mut u8,
    iv: *mut u8,
    cipher: *mut EVP_CIPHER_CTX,
    mac: *mut M,
    enc: c_int,
) -> c_int {
    let question = TicketKeyQuestion { key_name, iv, cipher, mac, enc };
    guard(0, || {
        let Some(libssl) = libssl() else { return 0 };
        // SAFETY: libssl's connection, valid during the call.
        let Some(ssl) = (unsafe { Ssl::borrow(libssl, ssl) }) else { return 0 };
        let Some((_, state)) = session_state(ssl) else { return 0 };
        let callbacks = state.application().ticket_keys();
        let Some(callback) = M::callback(callbacks).get() else { return 0 };
        // SAFETY: libssl's arguments.
        let answer = unsafe { question.ask(callback, ssl) };
        // divergence: stock renews the tickets of its own keys, and asks the application of its.
        let renews = enc == 0 && answer == USE && ssl.version() == TLS1_3_VERSION;
        if renews { RENEW } else { answer }
    })
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
    let Some(key) = state.opening_key(event, name) else { return 0 };
    // In TLS 1.2 an application that is asked about each ticket decides, as on stock.
    let decides = || state.application().ticket_data().decrypt_cb.get().is_some();
    let renews = event.ssl.version() == TLS1_3_VERSION || !decides();
    key.open(iv, contexts).map_or(-1, |()| if renews { RENEW } else { USE })
}
