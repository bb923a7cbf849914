//! Settings that decide who may resume, and for which libssl has no getter: passed on, and noted.
//!
//! A setting of a connection is noted for the context whose cache counts for it; that it may have
//! rules for certificates of its own is noted on the connection.

use super::arguments::Argument;
use super::connection::{self, Connection};
use super::guard::guard;
use super::switch::id_context_here;
use super::{answer, note_server, session_state, state};
use crate::context::{Application, IdContext};
use crate::log;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::types::{CallbackArg, CertCb, CertVerifyCb};
use libc::{c_int, c_uint};
use openssl_sys::{SSL, SSL_CTX, X509_VERIFY_PARAM};
use sesscache_core::system::errno::KeepErrno;
use std::ptr;

/// `SSL_MAX_SID_CTX_LENGTH`.
const MAX_ID_CONTEXT: c_uint = 32;

/// Passes a setting of a context on, and notes it.
fn note(
    ctx: &Argument<*mut SSL_CTX>,
    pass_on: impl Fn(Ctx<'_>) + Copy,
    noted: impl FnOnce(&Application),
) {
    answer(
        ctx,
        (),
        |ctx, state| {
            pass_on(ctx);
            noted(state.application());
        },
        pass_on,
    );
}

/// Passes a setting of a connection on, and notes it.
fn note_of_connection(
    ssl: &Argument<*mut SSL>,
    pass_on: impl FnOnce(Ssl<'_>),
    noted: impl FnOnce(&Application),
) {
    guard((), || {
        let Some(ssl) = ssl.ssl() else { return };
        pass_on(ssl);
        if let Some((_, state)) = session_state(ssl) {
            noted(state.application());
        }
    });
}

/// Sets within which context sessions may be reused; see SSL_CTX_set_session_id_context(3). Returns
/// 0 if `ctx` is NULL, or `sid_ctx` is NULL and has a length.
///
/// # Safety
/// `ctx` is a valid context or NULL; `sid_ctx` points to `sid_ctx_len` bytes or is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_set_session_id_context(
    ctx: Argument<*mut SSL_CTX>,
    sid_ctx: Argument<*const u8>,
    sid_ctx_len: c_uint,
) -> c_int {
    guard(0, || {
        let Some(ctx) = ctx.ctx() else { return 0 };
        // SAFETY: the two arguments belong together.
        let id_context = unsafe { sid_ctx.id_context(sid_ctx_len) };
        if id_context.is_none() && sid_ctx_len <= MAX_ID_CONTEXT {
            return 0;
        }
        let stock = ctx.onward().libssl().SSL_CTX_set_session_id_context;
        // SAFETY: the caller's own arguments, of which the length is libssl's to refuse.
        let set = unsafe { stock(ctx.as_ptr(), sid_ctx.as_ptr(), sid_ctx_len) };
        if let Some((id_context, state)) = id_context.filter(|_| set == 1).zip(state(ctx)) {
            state.application().note_id_context(id_context);
        }
        note_server(ctx);
        set
    })
}

/// Sets within which context a connection may reuse sessions; see SSL_set_session_id_context(3).
/// Returns 0 if `ssl` is NULL, or `sid_ctx` is NULL and has a length.
///
/// # Safety
/// `ssl` is a valid connection or NULL; `sid_ctx` points to `sid_ctx_len` bytes or is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_set_session_id_context(
    ssl: Argument<*mut SSL>,
    sid_ctx: Argument<*const u8>,
    sid_ctx_len: c_uint,
) -> c_int {
    guard(0, || {
        let Some(ssl) = ssl.ssl() else { return 0 };
        // SAFETY: the two arguments belong together.
        let id_context = unsafe { sid_ctx.id_context(sid_ctx_len) };
        if id_context.is_none() && sid_ctx_len <= MAX_ID_CONTEXT {
            return 0;
        }
        let stock = ssl.onward().libssl().SSL_set_session_id_context;
        // SAFETY: the caller's own arguments, of which the length is libssl's to refuse.
        let set = unsafe { stock(ssl.as_ptr(), sid_ctx.as_ptr(), sid_ctx_len) };
        if let Some(id_context) = id_context.filter(|_| set == 1) {
            note_own_id_context(ssl, id_context);
        }
        set
    })
}

/// Notes the id context of a connection, unless it is that of its context: then it is replaced with
/// the context, as [`SSL_set_SSL_CTX`] does.
///
/// [`SSL_set_SSL_CTX`]: super::switch::SSL_set_SSL_CTX
fn note_own_id_context(ssl: Ssl<'_>, id_context: IdContext) {
    let own = (id_context_here(ssl) != Some(id_context)).then_some(id_context);
    let attached = match own {
        Some(_) => session_state(ssl).and_then(|_| connection::attach(ssl)),
        None => connection::of(ssl),
    };
    if let Some(own_id_context) = attached.map(Connection::id_context) {
        own_id_context.set(own);
    }
}

/// Sets a callback that sets each connection's certificates; see SSL_CTX_set_cert_cb(3). Does
/// nothing if `c` is NULL.
///
/// # Safety
/// `c` is a valid context or NULL; `cb` is callable while the context is in use, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_set_cert_cb(
    c: Argument<*mut SSL_CTX>,
    cb: Option<CertCb>,
    arg: CallbackArg,
) {
    answer(
        &c,
        (),
        |ctx, state| {
            ctx.stock_set_cert_cb(cb, arg);
            state.application().note_certificate_callback(cb.is_some());
            if cb.is_some() && !ctx.is_client() && state.may_share() {
                // Here, because a handshake writes no line.
                state.virtual_host().say_alone();
                log::write_held();
            }
        },
        |ctx| ctx.stock_set_cert_cb(cb, arg),
    );
}

/// Sets a callback that sets a connection's certificates; see SSL_set_cert_cb(3). Does nothing if
/// `s` is NULL.
///
/// # Safety
/// `s` is a valid connection or NULL; `cb` is callable while the connection lives, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_set_cert_cb(
    s: Argument<*mut SSL>,
    cb: Option<CertCb>,
    arg: CallbackArg,
) {
    note_of_connection(
        &s,
        |ssl| ssl.stock_set_cert_cb(cb, arg),
        |application| {
            if cb.is_some() {
                application.note_connection_sets_certificates();
            }
        },
    );
}

/// Sets the function that verifies certificates in place of libssl's; see
/// SSL_CTX_set_cert_verify_callback(3). Does nothing if `ctx` is NULL.
///
/// # Safety
/// `ctx` is a valid context or NULL; `cb` is callable while the context is in use, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_set_cert_verify_callback(
    ctx: Argument<*mut SSL_CTX>,
    cb: Option<CertVerifyCb>,
    arg: CallbackArg,
) {
    note(
        &ctx,
        |ctx| ctx.stock_set_cert_verify_cb(cb, arg),
        |application| application.note_verifies_itself(cb.is_some()),
    );
}

/// Notes that a connection may have rules for certificates of its own, and passes the call on.
fn note_rules<T: Copy>(
    ssl: &Argument<*mut SSL>,
    failure: T,
    pass_on: impl FnOnce(Ssl<'_>) -> T,
) -> T {
    guard(failure, || {
        let Some(ssl) = ssl.ssl() else { return failure };
        {
            let _errno = KeepErrno::new();
            let _errors = KeepErrors::new(ssl.libssl());
            connection::note_own_rules(ssl);
        }
        pass_on(ssl)
    })
}

/// Sets what the other side's certificate must be for; see SSL_set_purpose in ssl.h. Returns 0 if
/// `ssl` is NULL.
///
/// # Safety
/// `ssl` is a valid connection or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_set_purpose(ssl: Argument<*mut SSL>, purpose: c_int) -> c_int {
    note_rules(&ssl, 0, |ssl| ssl.stock_set_purpose(purpose))
}

/// Sets what an authority must be trusted for; see SSL_set_trust in ssl.h. Returns 0 if `ssl` is
/// NULL.
///
/// # Safety
/// `ssl` is a valid connection or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_set_trust(ssl: Argument<*mut SSL>, trust: c_int) -> c_int {
    note_rules(&ssl, 0, |ssl| ssl.stock_set_trust(trust))
}

/// Sets a connection's rules for certificates; see SSL_set1_param(3). Returns 0 if `ssl` is NULL.
///
/// # Safety
/// `ssl` is a valid connection or NULL; `vpm` is as SSL_set1_param(3) wants it.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_set1_param(
    ssl: Argument<*mut SSL>,
    vpm: Argument<*mut X509_VERIFY_PARAM>,
) -> c_int {
    note_rules(&ssl, 0, |ssl| {
        // SAFETY: the caller's own arguments.
        unsafe { (ssl.onward().libssl().SSL_set1_param)(ssl.as_ptr(), vpm.as_ptr()) }
    })
}

/// Returns a connection's rules for certificates, through which they can be changed at any time; see
/// SSL_get0_param(3). Returns NULL if `ssl` is NULL.
///
/// # Safety
/// `ssl` is a valid connection or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_get0_param(ssl: Argument<*mut SSL>) -> *mut X509_VERIFY_PARAM {
    note_rules(&ssl, ptr::null_mut(), |ssl| ssl.onward().param())
}
