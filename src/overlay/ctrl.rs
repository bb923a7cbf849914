//! SSL_CTX_ctrl(3) and SSL_CTX_callback_ctrl(3): cache mode, cache size and the session counters
//! are macros over the first, the callbacks for ticket keys and server names over the second.

use super::arguments::Argument;
use super::guard::guard;
use super::{answer, state, switch, tickets};
use crate::context::{State, is_in_stock};
use crate::openssl::constants::{
    SSL_CTRL_GET_SESS_CACHE_MODE, SSL_CTRL_GET_TLSEXT_TICKET_KEYS, SSL_CTRL_SESS_CACHE_FULL,
    SSL_CTRL_SESS_CB_HIT, SSL_CTRL_SESS_MISSES, SSL_CTRL_SESS_NUMBER,
    SSL_CTRL_SET_TLSEXT_SERVERNAME_CB, SSL_CTRL_SET_TLSEXT_TICKET_KEYS,
};
use crate::openssl::handle::Ctx;
use libc::{c_int, c_long, c_void};
use openssl_sys::{
    SSL_CTRL_GET_SESS_CACHE_SIZE, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_CTRL_SET_SESS_CACHE_SIZE,
    SSL_CTX,
};

/// Gets and sets a context's parameters; see SSL_CTX_ctrl(3). With NULL for `ctx` stock checks the
/// syntax of some lists; that is passed on.
///
/// # Safety
/// As SSL_CTX_ctrl(3): `ctx` is a valid context or NULL, `parg` what `cmd` asks for.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_ctrl(
    ctx: Argument<*mut SSL_CTX>,
    cmd: c_int,
    larg: c_long,
    parg: *mut c_void,
) -> c_long {
    guard(0, || {
        let context = ctx.ctx();
        let ours = context.and_then(|context| Command { cmd, larg }.run(context, state(context)?));
        let Some(libssl) = ctx.libssl() else { return 0 };
        if let Some(ours) = ours {
            return ours;
        }
        let stock = libssl.onward().SSL_CTX_ctrl;
        // SAFETY: the caller's own arguments. Only the caller knows what `parg` must be for `cmd`.
        let answer = unsafe { stock(ctx.as_ptr(), cmd, larg, parg) };
        if let Some(context) = context.filter(|_| handles_ticket_keys(cmd) && answer == 1) {
            // An application that takes the keys gives them to other contexts or processes.
            // SAFETY: stock has taken the key of that length from there, or has written it there.
            unsafe { tickets::note_key(context, parg.cast(), larg) };
        }
        answer
    })
}

/// Sets a callback of a context; see SSL_CTX_callback_ctrl(3). Returns 0 for NULL.
///
/// # Safety
/// As SSL_CTX_callback_ctrl(3): `ctx` is a valid context or NULL, `fp` the callback that `cmd`
/// sets.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_callback_ctrl(
    ctx: Argument<*mut SSL_CTX>,
    cmd: c_int,
    fp: Option<unsafe extern "C-unwind" fn()>,
) -> c_long {
    answer(
        &ctx,
        0,
        |ctx, state| {
            if cmd == tickets::SSL_CTRL_SET_TLSEXT_TICKET_KEY_CB {
                // SAFETY: the callback that this command sets, as above.
                return unsafe { tickets::set_hmac_cb(ctx, state, fp) };
            }
            let fp = if cmd == SSL_CTRL_SET_TLSEXT_SERVERNAME_CB {
                // SAFETY: the callback that this command sets, as above.
                unsafe { switch::wrap_servername_cb(state, fp) }
            } else {
                fp
            };
            ctx.stock_callback_ctrl(cmd, fp)
        },
        |ctx| ctx.stock_callback_ctrl(cmd, fp),
    )
}

/// Whether a command sets ticket keys or asks for them.
fn handles_ticket_keys(cmd: c_int) -> bool {
    [SSL_CTRL_SET_TLSEXT_TICKET_KEYS, SSL_CTRL_GET_TLSEXT_TICKET_KEYS].contains(&cmd)
}

/// A command of SSL_CTX_ctrl(3).
struct Command {
    cmd: c_int,
    larg: c_long,
}

impl Command {
    /// The answer to a command about the cache; `None` if stock is to answer. May be called with
    /// the stock context's lock held (Debian's SSL_CTX_add_session asks for number and size).
    fn run(&self, ctx: Ctx<'_>, state: &State) -> Option<c_long> {
        match self.cmd {
            SSL_CTRL_SESS_NUMBER | SSL_CTRL_GET_SESS_CACHE_SIZE if is_in_stock() => None,
            SSL_CTRL_SET_SESS_CACHE_SIZE | SSL_CTRL_SET_SESS_CACHE_MODE => {
                Some(self.set(ctx, state))
            }
            _ => {
                let answer = self.get(ctx, state)?;
                if let Some(wrapped) = ctx.wrapped() {
                    wrapped.stock_ctrl(self.cmd, self.larg);
                }
                Some(answer)
            }
        }
    }

    /// Sets the cache's size or mode, and returns the one before; the one that stays, if a wrapper
    /// keeps the command for itself.
    fn set(&self, ctx: Ctx<'_>, state: &State) -> c_long {
        let is_mode = self.cmd == SSL_CTRL_SET_SESS_CACHE_MODE;
        match ctx.arriving_setting(self.cmd, self.larg) {
            Some(mode) if is_mode => state.set_mode(ctx, mode),
            Some(size) => state.set_cache_size(size),
            None if is_mode => state.mode(),
            None => state.cache_size(),
        }
    }

    /// What the command asks for.
    fn get(&self, ctx: Ctx<'_>, state: &State) -> Option<c_long> {
        match self.cmd {
            SSL_CTRL_SESS_NUMBER => Some(state.number()),
            SSL_CTRL_GET_SESS_CACHE_SIZE => Some(state.cache_size()),
            SSL_CTRL_GET_SESS_CACHE_MODE => Some(state.mode()),
            SSL_CTRL_SESS_CB_HIT => Some(state.cb_hits()),
            SSL_CTRL_SESS_CACHE_FULL => Some(state.cache_full()),
            // Stock counts the sessions that a client's server refused, and nothing on a server,
            // because it looks up in no cache of its own.
            SSL_CTRL_SESS_MISSES => Some(state.misses() + ctx.stock_ctrl(self.cmd, 0)),
            _ => None,
        }
    }
}
