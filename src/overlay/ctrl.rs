//! SSL_CTX_ctrl(3) and SSL_CTX_callback_ctrl(3): cache mode, cache size and the session counters are
//! macros over the one, the callbacks for ticket keys and server names over the other.

use super::guard::guard;
use super::{state, tickets};
use crate::context::{State, is_in_stock};
use crate::openssl::constants::{
    SSL_CTRL_GET_SESS_CACHE_MODE, SSL_CTRL_SESS_CACHE_FULL, SSL_CTRL_SESS_CB_HIT,
    SSL_CTRL_SESS_MISSES, SSL_CTRL_SESS_NUMBER, SSL_CTRL_SET_TLSEXT_TICKET_KEYS,
};
use crate::openssl::handle::Ctx;
use crate::openssl::next::{Next, next_of};
use libc::{c_int, c_long, c_void};
use openssl_sys::{
    SSL_CTRL_GET_SESS_CACHE_SIZE, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_CTRL_SET_SESS_CACHE_SIZE,
    SSL_CTX,
};

/// SSL_CTX_set_tlsext_servername_callback(3) is a macro over it.
const SSL_CTRL_SET_TLSEXT_SERVERNAME_CB: c_int = 53;
/// SSL_CTX_set_tlsext_ticket_key_cb(3) is a macro over it.
const SSL_CTRL_SET_TLSEXT_TICKET_KEY_CB: c_int = 72;

/// Gets and sets a context's parameters; see SSL_CTX_ctrl(3).
///
/// # Safety
/// As SSL_CTX_ctrl(3): `ctx` is a valid context or NULL, `parg` what `cmd` asks for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_CTX_ctrl(
    ctx: *mut SSL_CTX,
    cmd: c_int,
    larg: c_long,
    parg: *mut c_void,
) -> c_long {
    guard(0, || {
        // SAFETY: the caller's promise.
        let Some(next) = (unsafe { next_of(ctx) }) else { return 0 };
        // SAFETY: the caller's promise.
        let ours = unsafe { Ctx::borrow(ctx) }
            .and_then(|ctx| session_command(next, ctx, state(next, ctx)?, cmd, larg, parg));
        // SAFETY: the caller's promise.
        ours.unwrap_or_else(|| unsafe { (next.SSL_CTX_ctrl)(ctx, cmd, larg, parg) })
    })
}

/// Sets a callback of a context; see SSL_CTX_callback_ctrl(3).
///
/// # Safety
/// As SSL_CTX_callback_ctrl(3): `ctx` is a valid context or NULL, `fp` what `cmd` asks for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_CTX_callback_ctrl(
    ctx: *mut SSL_CTX,
    cmd: c_int,
    fp: Option<unsafe extern "C" fn()>,
) -> c_long {
    guard(0, || {
        // SAFETY: the caller's promise.
        let Some(next) = (unsafe { next_of(ctx) }) else { return 0 };
        // SAFETY: the caller's promise.
        if let Some(context) = unsafe { Ctx::borrow(ctx) }
            && let Some(state) = state(next, context)
        {
            match cmd {
                SSL_CTRL_SET_TLSEXT_TICKET_KEY_CB => tickets::give_way(next, context, state),
                SSL_CTRL_SET_TLSEXT_SERVERNAME_CB => state.set_may_switch(fp.is_some()),
                _ => {}
            }
        }
        // SAFETY: the caller's promise.
        unsafe { (next.SSL_CTX_callback_ctrl)(ctx, cmd, fp) }
    })
}

/// The answer to a command about the cache; `None` if stock is to answer. May be called with the
/// stock context's lock held (Debian's SSL_CTX_add_session asks for number and size).
fn session_command(
    next: &Next,
    ctx: Ctx<'_>,
    state: &State,
    cmd: c_int,
    larg: c_long,
    parg: *const c_void,
) -> Option<c_long> {
    match cmd {
        // Without a place for them it asks how long they are.
        SSL_CTRL_SET_TLSEXT_TICKET_KEYS if !parg.is_null() => {
            tickets::give_way(next, ctx, state);
            None
        }
        SSL_CTRL_SESS_NUMBER | SSL_CTRL_GET_SESS_CACHE_SIZE if is_in_stock() => None,
        SSL_CTRL_SESS_NUMBER => Some(state.number()),
        SSL_CTRL_GET_SESS_CACHE_SIZE => Some(state.cache_size()),
        SSL_CTRL_SET_SESS_CACHE_SIZE => Some(state.set_cache_size(larg)),
        SSL_CTRL_GET_SESS_CACHE_MODE => Some(state.mode()),
        SSL_CTRL_SET_SESS_CACHE_MODE => Some(state.set_mode(next, ctx, larg)),
        SSL_CTRL_SESS_CB_HIT => Some(state.cb_hits()),
        SSL_CTRL_SESS_CACHE_FULL => Some(state.cache_full()),
        // Stock counts what a client's server refused, and nothing on a server: it looks up in no
        // cache of its own.
        SSL_CTRL_SESS_MISSES => Some(state.misses() + ctx.stock_ctrl(next, cmd, 0)),
        _ => None,
    }
}
