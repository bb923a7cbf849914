//! Callbacks by which libssl asks the application for a client's shared key.
//!
//! No getter tells whether a client is known by one: in TLS 1.3 the session may be any object that the
//! application has. So the application's callbacks run inside ours, which note an answer at the
//! connection. A context's connections ask the callback that was set last.

use super::arguments::Argument;
use super::connection::{self, Connection};
use super::guard::guard;
use super::{answer, borrow, session_state};
use crate::context::SharedKeys;
use crate::openssl::callback::{Callback, FnPtr, call_with_libssls};
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::types::{CallbackArg, PskFindSessionCb, PskServerCb, SessionSecretCb};
use libc::{c_char, c_int, c_uint, c_void};
use openssl_sys::{OPENSSL_STACK, SSL, SSL_CIPHER, SSL_CTX, SSL_SESSION};
use sesscache_core::system::errno::KeepErrno;

/// Keeps a context's callback, and passes ours on in its place.
fn set_of_context<F: FnPtr>(
    ctx: &Argument<*mut SSL_CTX>,
    cb: Option<F>,
    ours: F,
    place: impl FnOnce(&SharedKeys) -> &Callback<F>,
    pass_on: impl Fn(Ctx<'_>, Option<F>) + Copy,
) {
    answer(
        ctx,
        (),
        |ctx, state| {
            // Connections that were made before have a copy of ours.
            if cb.is_some() {
                place(state.application().shared_keys()).set(cb);
                state.application().note_asks_for_shared_keys();
            }
            pass_on(ctx, cb.map(|_| ours));
        },
        |ctx| pass_on(ctx, cb),
    );
}

/// Keeps a connection's callback, and passes ours on in its place.
fn set_of_connection<F: FnPtr, T: Copy>(
    (ssl, failure): (&Argument<*mut SSL>, T),
    cb: Option<F>,
    ours: F,
    place: impl FnOnce(&Connection) -> &Callback<F>,
    pass_on: impl FnOnce(Ssl<'_>, Option<F>) -> T,
) -> T {
    guard(failure, || {
        let Some(ssl) = ssl.ssl() else { return failure };
        let attached = match cb {
            Some(_) => session_state(ssl).and_then(|(_, state)| {
                state.application().note_asks_for_shared_keys();
                connection::attach(ssl)
            }),
            None => connection::of(ssl),
        };
        if let Some(attached) = attached {
            place(attached).set(cb);
        }
        // Not attached: stock, or no memory. The application's own then runs unwrapped.
        pass_on(ssl, attached.and(cb).map(|_| ours).or(cb))
    })
}

/// The connection, and the application's callback that stock would call: the connection's own, or
/// that of the context it started with.
///
/// # Safety
/// `ssl` is libssl's connection, valid for `'a`.
unsafe fn asked<'a, F: FnPtr>(
    ssl: *mut SSL,
    place: impl Fn(&SharedKeys) -> &Callback<F>,
) -> Option<(Ssl<'a>, F)> {
    // SAFETY: the caller's promise.
    let ssl = unsafe { borrow(ssl) }?;
    let own = connection::of(ssl).and_then(|own| place(own.shared_keys()).get());
    let of_context = || place(session_state(ssl)?.1.application().shared_keys()).get();
    Some((ssl, own.or_else(of_context)?))
}

/// The application has told a key. Without memory a session of unknown past is still suspect.
fn note_use(ssl: Ssl<'_>) {
    let _errno = KeepErrno::new();
    if let Some(attached) = session_state(ssl).and_then(|_| connection::attach(ssl)) {
        attached.set_used_shared_key(true);
    }
}

/// libssl asks for the session of a shared key in TLS 1.3. 0 ends the handshake.
unsafe extern "C-unwind" fn find_session(
    ssl: *mut SSL,
    identity: *const u8,
    identity_len: usize,
    sess: *mut *mut SSL_SESSION,
) -> c_int {
    guard(0, || {
        // SAFETY: libssl's connection, valid during the call.
        let asked = unsafe { asked(ssl, |keys| &keys.find_session_cb) };
        let Some((ssl, callback)) = asked else { return 1 };
        // SAFETY: the application's promise by setting it; libssl's arguments.
        let answer =
            call_with_libssls(|| unsafe { callback(ssl.as_ptr(), identity, identity_len, sess) });
        // SAFETY: libssl's variable.
        if answer != 0 && unsafe { sess.as_ref() }.is_some_and(|found| !found.is_null()) {
            note_use(ssl);
        }
        answer
    })
}

/// libssl asks for a shared key. 0: it is not known.
unsafe extern "C-unwind" fn server_key(
    ssl: *mut SSL,
    identity: *const c_char,
    psk: *mut u8,
    max_psk_len: c_uint,
) -> c_uint {
    guard(0, || {
        // SAFETY: libssl's connection, valid during the call.
        let asked = unsafe { asked(ssl, |keys| &keys.server_cb) };
        let Some((ssl, callback)) = asked else { return 0 };
        // SAFETY: the application's promise by setting it; libssl's arguments.
        let length =
            call_with_libssls(|| unsafe { callback(ssl.as_ptr(), identity, psk, max_psk_len) });
        if length > 0 {
            note_use(ssl);
        }
        length
    })
}

/// libssl asks for the secret of a session. 0: it is not known.
unsafe extern "C-unwind" fn session_secret(
    ssl: *mut SSL,
    secret: *mut c_void,
    secret_len: *mut c_int,
    peer_ciphers: *mut OPENSSL_STACK,
    cipher: *mut *const SSL_CIPHER,
    arg: CallbackArg,
) -> c_int {
    guard(0, || {
        // SAFETY: libssl's connection, valid during the call.
        let Some(ssl) = (unsafe { borrow(ssl) }) else { return 0 };
        let own = connection::of(ssl).and_then(|own| own.session_secret_cb().get());
        let Some(callback) = own else { return 0 };
        // SAFETY: the application's promise by setting it; libssl's arguments.
        let answer = call_with_libssls(|| unsafe {
            callback(ssl.as_ptr(), secret, secret_len, peer_ciphers, cipher, arg)
        });
        if answer != 0 {
            note_use(ssl);
        }
        answer
    })
}

/// Sets a callback for TLS 1.3's shared keys; see SSL_CTX_set_psk_find_session_callback(3). Does
/// nothing if `ctx` is NULL.
///
/// # Safety
/// `ctx` is a valid context or NULL; `cb` is callable while the context is in use, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_set_psk_find_session_callback(
    ctx: Argument<*mut SSL_CTX>,
    cb: Option<PskFindSessionCb>,
) {
    let pass_on = |ctx: Ctx<'_>, cb| ctx.stock_set_psk_find_session_cb(cb);
    set_of_context(&ctx, cb, find_session, |keys| &keys.find_session_cb, pass_on);
}

/// Sets a callback for a connection's shared keys; see SSL_set_psk_find_session_callback(3). Does
/// nothing if `s` is NULL.
///
/// # Safety
/// `s` is a valid connection or NULL; `cb` is callable while the connection lives, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_set_psk_find_session_callback(
    s: Argument<*mut SSL>,
    cb: Option<PskFindSessionCb>,
) {
    let pass_on = |ssl: Ssl<'_>, cb| ssl.stock_set_psk_find_session_cb(cb);
    set_of_connection(
        (&s, ()),
        cb,
        find_session,
        |own| &own.shared_keys().find_session_cb,
        pass_on,
    );
}

/// Sets a callback for shared keys; see SSL_CTX_set_psk_server_callback(3). Does nothing if `ctx`
/// is NULL.
///
/// # Safety
/// `ctx` is a valid context or NULL; `cb` is callable while the context is in use, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_CTX_set_psk_server_callback(
    ctx: Argument<*mut SSL_CTX>,
    cb: Option<PskServerCb>,
) {
    let pass_on = |ctx: Ctx<'_>, cb| ctx.stock_set_psk_server_cb(cb);
    set_of_context(&ctx, cb, server_key, |keys| &keys.server_cb, pass_on);
}

/// Sets a callback for a connection's shared keys; see SSL_set_psk_server_callback(3). Does nothing
/// if `s` is NULL.
///
/// # Safety
/// `s` is a valid connection or NULL; `cb` is callable while the connection lives, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_set_psk_server_callback(
    s: Argument<*mut SSL>,
    cb: Option<PskServerCb>,
) {
    let pass_on = |ssl: Ssl<'_>, cb| ssl.stock_set_psk_server_cb(cb);
    set_of_connection((&s, ()), cb, server_key, |own| &own.shared_keys().server_cb, pass_on);
}

/// Sets a callback that knows a session's secret without libssl, as EAP-FAST does; see ssl.h.
/// Returns 0 if `s` is NULL.
///
/// # Safety
/// `s` is a valid connection or NULL; `session_secret_cb` is callable while the connection lives,
/// or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn SSL_set_session_secret_cb(
    s: Argument<*mut SSL>,
    session_secret_cb: Option<SessionSecretCb>,
    arg: CallbackArg,
) -> c_int {
    let pass_on = |ssl: Ssl<'_>, cb| ssl.stock_set_session_secret_cb(cb, arg);
    set_of_connection(
        (&s, 0),
        session_secret_cb,
        session_secret,
        Connection::session_secret_cb,
        pass_on,
    )
}
