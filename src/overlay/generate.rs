//! Session id generators: libssl checks a new id against the stock cache, which is empty, so
//! the application's generator runs inside ours, which checks against our cache.
//!
//! A conflict ends the handshake as with stock, with "callback failed" for "conflict".

use super::arguments::Argument;
use super::guard::guard;
use super::{answer, borrow, connection, session_state};
use crate::openssl::callback::call_generate;
use crate::openssl::handle::session_id;
use crate::openssl::types::GenerateCb;
use libc::{c_int, c_uint};
use openssl_sys::{SSL, SSL_CTX};

/// Sets how session ids are made; see SSL_CTX_set_generate_session_id(3). Returns 0 if `ctx` is
/// NULL.
///
/// # Safety
/// `ctx` is a valid context or NULL; `cb` is callable while the context is in use, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_set_generate_session_id(
    ctx: Argument<*mut SSL_CTX>,
    cb: Option<GenerateCb>,
) -> c_int {
    answer(
        &ctx,
        0,
        |ctx, state| {
            // Connections that were made before have a copy of the wrapper: they go on with the
            // last.
            if cb.is_some() {
                state.generate_cb().set(cb);
            }
            ctx.stock_set_generate_cb(cb.map(|_| generate as GenerateCb))
        },
        |ctx| ctx.stock_set_generate_cb(cb),
    )
}

/// Sets how the session id of one connection is made; see SSL_set_generate_session_id(3). Returns 0
/// if `ssl` is NULL.
///
/// # Safety
/// `ssl` is a valid connection or NULL; `cb` is callable while the connection lives, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_set_generate_session_id(
    ssl: Argument<*mut SSL>,
    cb: Option<GenerateCb>,
) -> c_int {
    guard(0, || {
        let Some(ssl) = ssl.ssl() else { return 0 };
        let attached = match cb {
            Some(_) => session_state(ssl).and_then(|_| connection::attach(ssl)),
            None => connection::of(ssl),
        };
        if let Some(attached) = attached {
            attached.generate_cb().set(cb);
        }
        // Not attached: stock, or no memory. The application's own generator then runs unwrapped.
        let wrapped = attached.and(cb).map(|_| generate as GenerateCb);
        ssl.stock_set_generate_cb(wrapped.or(cb))
    })
}

/// Runs the application's generator and refuses an id that is in use.
unsafe extern "C-unwind" fn generate(ssl: *mut SSL, id: *mut u8, id_len: *mut c_uint) -> c_int {
    guard(0, || {
        // SAFETY: libssl's connection, valid during the call.
        let Some(ssl) = (unsafe { borrow(ssl) }) else { return 0 };
        let Some((_, state)) = session_state(ssl) else { return 0 };
        let own = connection::of(ssl).and_then(|own| own.generate_cb().get());
        let Some(callback) = own.or_else(|| state.generate_cb().get()) else { return 0 };
        // SAFETY: libssl's arguments, passed on.
        let made = unsafe { call_generate(callback, ssl, id, id_len) };
        if made == 0 {
            return made;
        }
        // SAFETY: libssl's variable.
        let length = unsafe { *id_len } as usize;
        // SAFETY: `id` has room for the longest id, and a longer one is refused unread.
        let id = unsafe { session_id(id, length) };
        match id {
            Some(id) if state.has_id(ssl, id) => 0,
            // A length that libssl refuses is libssl's to refuse.
            _ => made,
        }
    })
}
