//! What C calls: OpenSSL's exported names, and our three hooks in the stock contexts.
//!
//! Every function is one call inside [`guard`]; with no state for the context (no memory when it
//! was made, or an OpenSSL that is not supported) it is stock's. Knows C's rules only; what is to
//! be done is in `context`. No locks here.

pub mod api;
pub mod callbacks;
pub mod closing;
pub mod ctrl;
pub mod generate;
pub mod guard;
pub mod hooks;
pub mod lifecycle;
// Not in the crate's own test programs, where nothing is overlaid.
#[cfg(not(test))]
pub mod load;
pub mod sessions;
pub mod switch;
pub mod tickets;

use crate::context::{Current, State};
use crate::openssl::ex_data;
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::next::Next;
use std::sync::atomic::Ordering::Relaxed;

/// The state of a context, if its cache is ours.
#[inline]
fn state<'a>(next: &Next, ctx: Ctx<'a>) -> Option<&'a State> {
    let state = ex_data::of_ctx::<State>(next, ctx, lifecycle::CTX_INDEX.get()?)?;
    // SAFETY: the slot holds what `lifecycle::attach` put there until the context goes.
    Some(unsafe { state.as_ref() })
}

/// The context that a connection started with, whose cache counts, and its state.
#[inline]
fn session_state<'a>(next: &Next, ssl: Ssl<'a>) -> Option<(Ctx<'a>, &'a State)> {
    let ctx = match lifecycle::connection(next, ssl) {
        Some(connection) => connection.session_ctx(next, ssl)?,
        None => ssl.ctx(next)?,
    };
    Some((ctx, state(next, ctx)?))
}

/// The context that a connection is in now, and what it is known to become.
#[inline]
fn current<'a>(next: &Next, ssl: Ssl<'a>) -> Option<Current<'a>> {
    let ctx = ssl.ctx(next)?;
    let is_final = lifecycle::connection(next, ssl)
        .is_some_and(|connection| connection.was_switched.load(Relaxed))
        && ssl.session(next).is_none();
    Some(Current { ctx, state: state(next, ctx), is_final })
}
