//! Data in tickets, and the verdict about tickets that come back: SSL_CTX_set_session_ticket_cb(3).
//!
//! While ticket keys of ours are in use, stock has our two callbacks, in which the application's
//! run. Else a ticket is the application's affair, and stock has its callbacks; but the first is ours
//! as well where early data needs a permit.

use super::arguments::Argument;
use super::guard::{guard, with};
use super::{answer, borrow, connection, event};
use crate::config::{TicketMode, config};
use crate::context::{State, TicketVerdict};
use crate::openssl::callback::{OpenedTicket, call_generate_ticket};
use crate::openssl::constants::{
    SSL_TICKET_RETURN_IGNORE_RENEW, SSL_TICKET_RETURN_USE, SSL_TICKET_RETURN_USE_RENEW,
};
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::types::{CallbackArg, DecryptTicketCb, GenerateTicketCb};
use libc::c_int;
use openssl_sys::{SSL, SSL_CTX, SSL_SESSION};
use sesscache_core::system::errno::KeepErrno;

/// Sets the callbacks for the data in tickets; see SSL_CTX_set_session_ticket_cb(3). Returns 0 if
/// `ctx` is NULL.
///
/// # Safety
/// `ctx` is a valid context or NULL; `gen_cb` and `dec_cb` are callable while the context is in
/// use, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_set_session_ticket_cb(
    ctx: Argument<*mut SSL_CTX>,
    gen_cb: Option<GenerateTicketCb>,
    dec_cb: Option<DecryptTicketCb>,
    arg: CallbackArg,
) -> c_int {
    answer(
        &ctx,
        0,
        |ctx, state| {
            let ticket_data = state.application().ticket_data();
            let asked_before = ticket_data.decrypt_cb.get().is_some();
            ticket_data.set(gen_cb, dec_cb, arg);
            asks_application(ctx, state, asked_before, dec_cb.is_some());
            apply(ctx.onward(), state)
        },
        |ctx| ctx.stock_set_ticket_data_cbs(gen_cb, dec_cb, arg),
    )
}

/// Forbids stateless tickets in a context, as SESSCACHE_TICKETS says.
pub(super) fn withhold(ctx: Ctx<'_>, state: &State) {
    // A configuration file of OpenSSL may have forbidden them.
    let withholds = ctx.stock_forbid_tickets();
    state.application().note_withholds_tickets(withholds);
}

/// The application has a callback for tickets that come back, or has none any more. Only stateless
/// tickets ask it: it has them then, as on stock, unless others than we have forbidden them.
fn asks_application(ctx: Ctx<'_>, state: &State, before: bool, now: bool) {
    if config().tickets != Some(TicketMode::Off) || before == now {
        return;
    }
    if !now {
        return withhold(ctx, state);
    }
    if state.application().withholds_tickets() {
        ctx.stock_allow_tickets();
        state.application().note_withholds_tickets(false);
    }
}

/// Gives stock our callbacks while tickets are sealed with our keys, or one of them where only early
/// data needs it, else the application's.
pub(super) fn apply(ctx: Ctx<'_>, state: &State) -> c_int {
    let ticket_data = state.application().ticket_data();
    let (generate_cb, decrypt_cb): (Option<GenerateTicketCb>, Option<DecryptTicketCb>) =
        if state.shares_tickets() {
            (Some(generate), Some(decrypt))
        } else if state.keeps_permits() {
            (Some(generate), ticket_data.decrypt_cb.get())
        } else {
            (ticket_data.generate_cb.get(), ticket_data.decrypt_cb.get())
        };
    ctx.stock_set_ticket_data_cbs(generate_cb, decrypt_cb, ticket_data.argument())
}

/// libssl is about to make a ticket. 0 ends the handshake.
unsafe extern "C-unwind" fn generate(ssl: *mut SSL, arg: CallbackArg) -> c_int {
    guard(1, || {
        // SAFETY: libssl's connection, valid during the call.
        let Some(ssl) = (unsafe { borrow(ssl) }) else { return 1 };
        let Some((event, state)) = event(ssl) else { return 1 };
        if let Some(callback) = state.application().ticket_data().generate_cb.get() {
            // SAFETY: libssl's argument, which is the application's for this callback.
            let answer = unsafe { call_generate_ticket(callback, ssl, arg) };
            if answer == 0 {
                return answer;
            }
        }
        let _errno = KeepErrno::new();
        if let Some(session) = ssl.session() {
            with(state, (), || {
                if state.shares_tickets() {
                    state.write_origin(&event, session);
                }
                state.put_permit(&event, session);
            });
        }
        1
    })
}

/// libssl has opened a ticket, or could not.
unsafe extern "C-unwind" fn decrypt(
    ssl: *mut SSL,
    ss: *mut SSL_SESSION,
    keyname: *const u8,
    keyname_length: usize,
    status: c_int,
    arg: CallbackArg,
) -> c_int {
    let ticket =
        OpenedTicket { session: ss, key_name: keyname, key_name_length: keyname_length, status };
    guard(SSL_TICKET_RETURN_IGNORE_RENEW, || {
        // SAFETY: libssl's connection, valid during the call.
        let Some(ssl) = (unsafe { borrow(ssl) }) else { return ticket.neutral() };
        let Some((event, state)) = event(ssl) else { return ticket.neutral() };
        // SAFETY: libssl's arguments, valid during the call.
        let opened = unsafe { ticket.session(ssl.libssl()) };
        let verdict = opened.map_or(TicketVerdict::Resume(None), |(session, key_name)| {
            let _errno = KeepErrno::new();
            with(state, TicketVerdict::Decline, || state.judge_ticket(&event, session, key_name))
        });
        if ticket.is_unopened() {
            let _errno = KeepErrno::new();
            with(state, (), || state.note_unopened_ticket(&event));
        }
        let callback = state.application().ticket_data().decrypt_cb.get();
        let answer = match (verdict, callback) {
            (TicketVerdict::Decline, None) => SSL_TICKET_RETURN_IGNORE_RENEW,
            (TicketVerdict::Decline, Some(callback)) => {
                // SAFETY: as below.
                match unsafe { ticket.unopened().call(callback, ssl, arg) } {
                    SSL_TICKET_RETURN_USE | SSL_TICKET_RETURN_USE_RENEW => {
                        SSL_TICKET_RETURN_IGNORE_RENEW
                    }
                    answer => answer,
                }
            }
            // SAFETY: libssl's arguments; the last is the application's for this callback.
            (_, Some(callback)) => unsafe { ticket.call(callback, ssl, arg) },
            (TicketVerdict::Resume(_), None) => ticket.neutral(),
        };
        note_renewal(ssl, verdict, answer);
        answer
    })
}

/// Remembers the trailer for the ticket that replaces one of TLS 1.2, until libssl makes that ticket.
/// Without memory it is one for this context only.
fn note_renewal(ssl: Ssl<'_>, verdict: TicketVerdict, answer: c_int) {
    let _errno = KeepErrno::new();
    let renewal = match verdict {
        TicketVerdict::Resume(renewal) if answer == SSL_TICKET_RETURN_USE_RENEW => renewal,
        _ => None,
    };
    let attached = if renewal.is_some() { connection::attach(ssl) } else { connection::of(ssl) };
    if let Some(connection) = attached {
        connection.pending_renewal().set(renewal);
    }
}
