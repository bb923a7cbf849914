//! Ticket keys: ours, from the key file, unless the application sets its own.
//!
//! Ours are set when a context is made. Whatever the application sets afterwards, by any of the
//! three doors that OpenSSL has, wins. With SESSCACHE_TICKETS=override ours stay, and the
//! application's are asked for the tickets that ours do not know.
//!
//! Clients use a ticket once (RFC 8446 C.4). So in TLS 1.3 each ticket that is opened brings a new one.

use super::arguments::Argument;
use super::guard::{guard, with};
use super::{answer, borrow, event, ticket_data};
use crate::config::{TicketMode, config};
use crate::context::{Event, OwnTicketKeys, State};
use crate::openssl::callback::{Callback, TicketKeyQuestion, ticket_key_cb};
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::ticket::{
    APPLICATION_KEY_BYTES, Contexts, IV_BYTES, MacContext, NAME_BYTES, TicketKey,
};
use crate::openssl::types::{EvpMacCtx, HmacCtx, TicketKeyCb, TicketKeyEvpCb};
use libc::{c_int, c_long};
use openssl_sys::{EVP_CIPHER_CTX, SSL, SSL_CTX};
use sesscache_core::system::errno::KeepErrno;
use std::mem::transmute;

/// The answer of a callback for ticket keys: the ticket is good.
const USE: c_int = 1;
/// The same, and it is to be replaced by a new one.
const RENEW: c_int = 2;

/// SSL_CTX_set_tlsext_ticket_key_cb(3) is a macro over it.
pub(super) const SSL_CTRL_SET_TLSEXT_TICKET_KEY_CB: c_int = 72;

/// Does with a new context as SESSCACHE_TICKETS says.
pub(super) fn register(ctx: Ctx<'_>, state: &State) {
    if config().tickets == Some(TicketMode::Off) {
        ticket_data::withhold(ctx, state);
    } else if state.shares_tickets() {
        ctx.stock_set_ticket_key_cb(Some(ticket_key));
        ticket_data::apply(ctx, state);
    }
}

/// The application has keys of its own, or has taken OpenSSL's: ours go.
fn give_way(ctx: Ctx<'_>, state: &State) {
    if state.give_up_tickets() {
        ctx.stock_set_ticket_key_cb(None);
        ticket_data::apply(ctx, state);
    }
}

/// The application has set a key, or has taken OpenSSL's: ours go, or if they stay, it is kept.
///
/// # Safety
/// `key` points to `length` bytes that can be read, or is NULL.
pub(super) unsafe fn note_key(ctx: Ctx<'_>, key: *const u8, length: c_long) {
    let Some(state) = super::state(ctx) else { return };
    if !state.overrides_tickets() {
        return give_way(ctx, state);
    }
    if usize::try_from(length) != Ok(APPLICATION_KEY_BYTES) {
        return;
    }
    // SAFETY: the caller's promise.
    let bytes = unsafe { key.cast::<[u8; APPLICATION_KEY_BYTES]>().as_ref() };
    if let Some(key) = bytes.and_then(TicketKey::from_bytes) {
        state.application().ticket_keys().note_key(key);
    }
}

/// Sets the callback for ticket keys; see SSL_CTX_set_tlsext_ticket_key_evp_cb(3). Returns 0 for
/// NULL.
///
/// # Safety
/// `ctx` is a valid context or NULL; `fp` is callable while the context is in use, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_set_tlsext_ticket_key_evp_cb(
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
            if state.overrides_tickets() {
                return open_door(ctx.onward(), state);
            }
            let ours: TicketKeyEvpCb = ticket_key;
            ctx.onward().stock_set_ticket_key_cb(fp.map(|_| ours)).unwrap_or(0)
        },
        |ctx| ctx.stock_set_ticket_key_cb(fp).unwrap_or(0),
    )
}

/// Keeps the callback that the application gives SSL_CTX_callback_ctrl(3), and gives stock ours.
///
/// # Safety
/// `function` is the one of SSL_CTX_set_tlsext_ticket_key_cb(3), or `None`.
pub(super) unsafe fn set_hmac_cb(
    ctx: Ctx<'_>,
    state: &State,
    function: Option<unsafe extern "C-unwind" fn()>,
) -> c_long {
    give_way(ctx, state);
    // SAFETY: the caller's promise.
    state.application().ticket_keys().hmac_cb.set(unsafe { ticket_key_cb(function) });
    if state.overrides_tickets() {
        return c_long::from(open_door(ctx.onward(), state));
    }
    let ours: TicketKeyCb<HmacCtx> = ticket_key;
    set_stock_hmac_cb(ctx, function.map(|_| ours))
}

/// Has stock call ours by the door of the application's callback, so that the MAC's context is of the
/// kind which that one wants. Both answers of stock are 1.
fn open_door(ctx: Ctx<'_>, state: &State) -> c_int {
    let own = state.application().ticket_keys();
    if own.evp_cb.get().is_some() || own.hmac_cb.get().is_none() {
        return ctx.stock_set_ticket_key_cb(Some(ticket_key)).unwrap_or(0);
    }
    set_stock_hmac_cb(ctx, Some(ticket_key));
    // Stock prefers the other one.
    ctx.stock_set_ticket_key_cb(None).unwrap_or(0)
}

fn set_stock_hmac_cb(ctx: Ctx<'_>, callback: Option<TicketKeyCb<HmacCtx>>) -> c_long {
    // SAFETY: stock casts it back.
    let function = callback.map(|callback| unsafe {
        transmute::<TicketKeyCb<HmacCtx>, unsafe extern "C-unwind" fn()>(callback)
    });
    ctx.stock_callback_ctrl(SSL_CTRL_SET_TLSEXT_TICKET_KEY_CB, function)
}

/// A MAC's context, by which libssl chooses among the application's callbacks.
trait Mac: Sized {
    fn callback(own: &OwnTicketKeys) -> &Callback<TicketKeyCb<Self>>;
    fn context(mac: *mut Self) -> MacContext;
}

impl Mac for EvpMacCtx {
    fn callback(own: &OwnTicketKeys) -> &Callback<TicketKeyCb<Self>> {
        &own.evp_cb
    }

    fn context(mac: *mut Self) -> MacContext {
        MacContext::Evp(mac)
    }
}

impl Mac for HmacCtx {
    fn callback(own: &OwnTicketKeys) -> &Callback<TicketKeyCb<Self>> {
        &own.hmac_cb
    }

    fn context(mac: *mut Self) -> MacContext {
        MacContext::Hmac(mac)
    }
}

/// Asks the application.
///
/// # Safety
/// The question is libssl's.
unsafe fn ask<M>(callback: TicketKeyCb<M>, ssl: Ssl<'_>, question: TicketKeyQuestion<M>) -> c_int {
    let opens = question.enc == 0;
    // SAFETY: the caller's promise.
    let answer = unsafe { question.ask(callback, ssl) };
    // divergence: stock renews the tickets of its own keys, and asks the application of its.
    if opens && answer == USE { answer_for_opened(ssl) } else { answer }
}

/// libssl seals or opens a ticket, as the manual page of SSL_CTX_set_tlsext_ticket_key_evp_cb(3)
/// describes, with its six parameters: with our keys while they are used, else with the application's.
unsafe extern "C-unwind" fn ticket_key<M: Mac>(
    ssl: *mut SSL,
    key_name: *mut u8,
    iv: *mut u8,
    cipher: *mut EVP_CIPHER_CTX,
    mac: *mut M,
    enc: c_int,
) -> c_int {
    let question = TicketKeyQuestion { key_name, iv, cipher, mac, enc };
    guard(0, || {
        // SAFETY: libssl's connection, valid during the call.
        let Some(ssl) = (unsafe { borrow(ssl) }) else { return 0 };
        let Some((event, state)) = event(ssl) else { return 0 };
        // SAFETY: libssl's arguments.
        let ours = || with(state, Some(0), || unsafe { answer_with_ours(state, &event, question) });
        let answer = if state.shares_tickets() { ours() } else { None };
        // SAFETY: the same.
        answer.unwrap_or_else(|| unsafe { answer_with_application(state, ssl, question) })
    })
}

/// The answer of our keys; `None` if the ticket is the application's affair.
///
/// # Safety
/// The question is libssl's.
unsafe fn answer_with_ours<M: Mac>(
    state: &State,
    event: &Event<'_>,
    question: TicketKeyQuestion<M>,
) -> Option<c_int> {
    let _errno = KeepErrno::new();
    // SAFETY: the caller's promise.
    let places = unsafe { places(state, event.ssl, question) };
    let Some((name, iv, contexts)) = places else { return Some(0) };
    if question.enc != 0 {
        let key = state.sealing_key(event)?;
        *name = key.name;
        return Some(key.seal(iv, &contexts).map_or(-1, |()| USE));
    }
    let key = state.opening_key(event, name)?;
    Some(key.open(iv, &contexts).map_or(-1, |()| answer_for_opened(event.ssl)))
}

/// The answer about a ticket that a key has opened, as libssl has it with a key of its own
/// (tls_decrypt_ticket). In TLS 1.2 a new ticket would do harm: OpenSSL's client resumes a session no more
/// for which it got one, and does not tell its application of the new one
/// (tls_process_new_session_ticket).
fn answer_for_opened(ssl: Ssl<'_>) -> c_int {
    if ssl.is_tls13() { RENEW } else { USE }
}

/// The answer of the application's keys; 0 if there are none.
///
/// # Safety
/// The question is libssl's.
unsafe fn answer_with_application<M: Mac>(
    state: &State,
    ssl: Ssl<'_>,
    question: TicketKeyQuestion<M>,
) -> c_int {
    let own = state.application().ticket_keys();
    if let Some(callback) = M::callback(own).get() {
        // SAFETY: the caller's promise.
        return unsafe { ask(callback, ssl, question) };
    }
    let _errno = KeepErrno::new();
    // SAFETY: the caller's promise.
    let places = unsafe { places(state, ssl, question) };
    let Some((key, (name, iv, contexts))) = own.key().zip(places) else { return 0 };
    if question.enc != 0 {
        *name = key.name;
        return key.seal(iv, &contexts).map_or(-1, |()| USE);
    }
    if key.name != *name {
        return 0;
    }
    key.open(iv, &contexts).map_or(-1, |()| answer_for_opened(ssl))
}

/// The places for a key's name and an initialisation vector, and the contexts to be set up.
///
/// # Safety
/// The question is libssl's, and only one such result is used at a time.
unsafe fn places<'a, M: Mac>(
    state: &State,
    ssl: Ssl<'a>,
    question: TicketKeyQuestion<M>,
) -> Option<(&'a mut [u8; NAME_BYTES], &'a mut [u8; IV_BYTES], Contexts)> {
    let TicketKeyQuestion { key_name, iv, cipher, mac, .. } = question;
    // SAFETY: libssl passes room for a key's name.
    let name = unsafe { key_name.cast::<[u8; NAME_BYTES]>().as_mut() }?;
    // SAFETY: libssl passes room for EVP_MAX_IV_LENGTH bytes.
    let iv = unsafe { iv.cast::<[u8; IV_BYTES]>().as_mut() }?;
    let generator = state.generator(ssl.libssl());
    // SAFETY: libssl's contexts, valid during the call.
    Some((name, iv, unsafe { Contexts::of_libssl(generator, cipher, M::context(mac)) }))
}
