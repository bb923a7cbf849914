//! The six functions of the manual page SSL_CTX_sess_set_get_cb(3).

use super::arguments::Argument;
use super::{answer, note_server};
use crate::openssl::handle::Ctx;
use libc::{c_int, c_uchar};
use openssl_sys::{SSL, SSL_CTX, SSL_SESSION};

/// Sets the function that is called when a session was negotiated: once for every session in
/// TLS 1.2 and DTLS, once for every ticket in TLS 1.3, never on a resumption in TLS 1.2, and not
/// while caching is off for that side (SSL_CTX_set_session_cache_mode(3)).
///
/// `cb` gets a session of which one reference belongs to the application. Return 1 to keep the
/// reference; the session also stays in the internal cache. Return 0 to give it back: the session
/// is then removed from the internal cache at once, and no remove_cb is called for it. In a program
/// that was not linked with this library, 0 leaves the session cached, as OpenSSL does;
/// SESSCACHE_NEW_CB_ZERO decides in both. With a host store the session is shared all the same.
/// NULL unsets it. Ignored if `ctx` is NULL.
///
/// Thread safety: may be called at any time by any thread; handshakes that are past the point call
/// the function of before. No lock is held around `cb`, which may call any session function.
///
/// Since 0.1. See SSL_CTX_sess_set_get_cb(3).
///
/// # Safety
/// `ctx` must be NULL or a valid context, and `cb` callable while the context is in use.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_sess_set_new_cb(
    ctx: *mut SSL_CTX,
    cb: Option<unsafe extern "C-unwind" fn(ssl: *mut SSL, sess: *mut SSL_SESSION) -> c_int>,
) {
    // SAFETY: NULL or valid, as above.
    let ctx = unsafe { Argument::from_c(ctx) };
    answer(
        &ctx,
        (),
        |ctx, state| {
            if let Some(cb) = ctx.arriving(cb, Ctx::stock_set_new_cb, Ctx::stock_new_cb) {
                state.new_cb().set(cb);
            }
        },
        |ctx| ctx.stock_set_new_cb(cb),
    );
}

/// Returns the function that SSL_CTX_sess_set_new_cb() set, or NULL.
///
/// Thread safety: may be called at any time by any thread. Since 0.1.
///
/// # Safety
/// `ctx` must be NULL or a valid context.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_sess_get_new_cb(
    ctx: *mut SSL_CTX,
) -> Option<unsafe extern "C-unwind" fn(ssl: *mut SSL, sess: *mut SSL_SESSION) -> c_int> {
    // SAFETY: NULL or valid, as above.
    let ctx = unsafe { Argument::from_c(ctx) };
    answer(
        &ctx,
        None,
        |ctx, state| ctx.answered(state.new_cb().get(), Ctx::stock_new_cb),
        |ctx| ctx.stock_new_cb(),
    )
}

/// Sets the function that is called when a session leaves the internal cache: because it was
/// removed or flushed, faulty (fatal alert, unclean close), expired or evicted, and for every
/// cached session when `ctx` is freed. As in OpenSSL it is also called by SSL_CTX_remove_session()
/// for a session that is not cached, so that external caches hear of it.
///
/// The session belongs to the library; take a reference to keep it. NULL unsets it. Ignored if
/// `ctx` is NULL.
///
/// Thread safety: may be called at any time by any thread. No lock is held around `cb`, which may
/// call any session function, and runs on the thread that caused the removal.
///
/// Since 0.1. See SSL_CTX_sess_set_get_cb(3).
///
/// # Safety
/// `ctx` must be NULL or a valid context, and `cb` callable while the context is in use.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_sess_set_remove_cb(
    ctx: *mut SSL_CTX,
    cb: Option<unsafe extern "C-unwind" fn(ctx: *mut SSL_CTX, sess: *mut SSL_SESSION)>,
) {
    // SAFETY: NULL or valid, as above.
    let ctx = unsafe { Argument::from_c(ctx) };
    answer(
        &ctx,
        (),
        |ctx, state| {
            if let Some(cb) = ctx.arriving(cb, Ctx::stock_set_remove_cb, Ctx::stock_remove_cb) {
                state.set_remove_cb(ctx.libssl(), cb);
            }
        },
        |ctx| ctx.stock_set_remove_cb(cb),
    );
}

/// Returns the function that SSL_CTX_sess_set_remove_cb() set, or NULL.
///
/// Thread safety: may be called at any time by any thread. Since 0.1.
///
/// # Safety
/// `ctx` must be NULL or a valid context.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_sess_get_remove_cb(
    ctx: *mut SSL_CTX,
) -> Option<unsafe extern "C-unwind" fn(ctx: *mut SSL_CTX, sess: *mut SSL_SESSION)> {
    // SAFETY: NULL or valid, as above.
    let ctx = unsafe { Argument::from_c(ctx) };
    answer(
        &ctx,
        None,
        |ctx, state| ctx.answered(state.remove_cb().get(), Ctx::stock_remove_cb),
        |ctx| ctx.stock_remove_cb(),
    )
}

/// Sets the function that provides sessions from an external cache: it is called on servers, when
/// a client offers the session of `len` bytes at `data` and the internal cache does not have it
/// (or SSL_SESS_CACHE_NO_INTERNAL_LOOKUP is set), also while caching is off.
///
/// `cb` returns the session or NULL. `*copy` is 1 on entry. If it is left so, OpenSSL takes a
/// reference of its own; set it to 0 to pass on the reference that the application holds. The
/// session is added to the internal cache unless SSL_SESS_CACHE_NO_INTERNAL_STORE is set.
/// NULL unsets it. Ignored if `ctx` is NULL.
///
/// Thread safety: may be called at any time by any thread. No lock is held around `cb`, which may
/// call any session function.
///
/// Since 0.1. See SSL_CTX_sess_set_get_cb(3).
///
/// # Safety
/// `ctx` must be NULL or a valid context, and `cb` callable while the context is in use.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_sess_set_get_cb(
    ctx: *mut SSL_CTX,
    cb: Option<
        unsafe extern "C-unwind" fn(
            ssl: *mut SSL,
            data: *const c_uchar,
            len: c_int,
            copy: *mut c_int,
        ) -> *mut SSL_SESSION,
    >,
) {
    // SAFETY: NULL or valid, as above.
    let ctx = unsafe { Argument::from_c(ctx) };
    answer(
        &ctx,
        (),
        |ctx, state| {
            if let Some(cb) = ctx.arriving(cb, Ctx::stock_set_get_cb, Ctx::stock_get_cb) {
                state.set_get_cb(ctx, cb);
            }
            note_server(ctx);
        },
        |ctx| ctx.stock_set_get_cb(cb),
    );
}

/// Returns the function that SSL_CTX_sess_set_get_cb() set, or NULL.
///
/// Thread safety: may be called at any time by any thread. Since 0.1.
///
/// # Safety
/// `ctx` must be NULL or a valid context.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_sess_get_get_cb(
    ctx: *mut SSL_CTX,
) -> Option<
    unsafe extern "C-unwind" fn(
        ssl: *mut SSL,
        data: *const c_uchar,
        len: c_int,
        copy: *mut c_int,
    ) -> *mut SSL_SESSION,
> {
    // SAFETY: NULL or valid, as above.
    let ctx = unsafe { Argument::from_c(ctx) };
    answer(
        &ctx,
        None,
        |ctx, state| ctx.answered(state.get_cb().get(), Ctx::stock_get_cb),
        |ctx| ctx.stock_get_cb(),
    )
}
