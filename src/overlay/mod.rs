//! C calls this: OpenSSL's exported names, and our hooks in the stock contexts.
//!
//! Every function is one call inside [`guard`]. With no state for the context (no memory when it
//! was made, or an OpenSSL that is not supported) it is stock's. With NULL it does nothing and
//! returns failure, where stock would crash; SSL_CTX_ctrl alone passes NULL on. Knows C's rules
//! only; `context` decides what is to be done. No locks here.

pub mod api;
pub mod application;
pub mod arguments;
pub mod callbacks;
mod caller;
pub mod closing;
pub mod connection;
pub mod ctrl;
pub mod early_data;
pub mod generate;
pub mod guard;
pub mod hooks;
pub mod lifecycle;
// Not in the crate's own test programs, where nothing is overlaid.
#[cfg(not(test))]
pub mod load;
pub mod sessions;
pub mod shared_keys;
pub mod switch;
pub mod ticket_data;
pub mod tickets;
mod unwinding;

use crate::context::{Current, Event, Facts, State};
use crate::log;
use crate::openssl::ex_data;
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::libssl::libssl;
use arguments::Argument;
use connection::Connection;
use guard::{guard, with};
use openssl_sys::{SSL, SSL_CTX};

/// The connection that libssl passes to a hook; `None` for NULL, and while no libssl is known.
///
/// # Safety
/// `ssl` is NULL or valid for `'a`.
#[inline]
unsafe fn borrow<'a>(ssl: *mut SSL) -> Option<Ssl<'a>> {
    // SAFETY: the caller's promise.
    unsafe { Ssl::borrow(libssl()?, ssl) }
}

/// The state of a context, if its cache is ours.
#[inline]
fn state(ctx: Ctx<'_>) -> Option<&State> {
    let state = ex_data::of_ctx::<State>(ctx, lifecycle::CTX_INDEX.get()?)?;
    // SAFETY: the slot holds what `lifecycle::attach` put there until the context goes.
    Some(unsafe { state.as_ref() })
}

/// Answers a call about a context: by `ours` if its cache is ours, else by `stock`. NULL, and a
/// panic of ours, are answered with `failure`.
#[inline]
fn answer<'a, T: Copy>(
    ctx: &'a Argument<*mut SSL_CTX>,
    failure: T,
    ours: impl FnOnce(Ctx<'a>, &State) -> T,
    stock: impl FnOnce(Ctx<'a>) -> T,
) -> T {
    guard(failure, || {
        let Some(ctx) = ctx.ctx() else { return failure };
        match state(ctx) {
            Some(state) => with(state, failure, || ours(ctx, state)),
            None => stock(ctx.onward()),
        }
    })
}

/// A context is set up as that of a server, unless its method is for clients: the time for lines to
/// the operator.
fn note_server(ctx: Ctx<'_>) {
    if !ctx.is_client() {
        log::note_serving();
        log::write_held();
    }
}

/// The context that a connection started with, whose cache counts, and its state.
#[inline]
fn session_state(ssl: Ssl<'_>) -> Option<(Ctx<'_>, &State)> {
    let ctx = match connection::of(ssl) {
        Some(connection) => connection.session_ctx(ssl)?,
        None => ssl.ctx()?,
    };
    Some((ctx, state(ctx)?))
}

/// libssl's call about a connection, and the state of the context that it started with.
#[inline]
fn event(ssl: Ssl<'_>) -> Option<(Event<'_>, &State)> {
    let attached = connection::of(ssl);
    let now = ssl.ctx()?;
    let here = state(now);
    let ctx = attached.map_or(Some(now), |attached| attached.session_ctx(ssl))?;
    let started = if ctx.as_ptr() == now.as_ptr() { here } else { state(ctx) };
    let current = Current {
        ctx: now,
        application: here.map(State::application),
        is_final: attached.is_some_and(Connection::was_switched) && ssl.session().is_none(),
    };
    let own_id_context = attached.map(Connection::id_context);
    let facts = Facts {
        own_id_context,
        has_own_rules: connection::has_own_rules(attached),
        used_shared_key: attached.is_some_and(Connection::used_shared_key),
        pending_renewal: attached.map(Connection::pending_renewal),
    };
    Some((Event::new(ssl, ctx, current, facts), started?))
}
