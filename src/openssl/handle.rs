//! SSL_SESSION, SSL and SSL_CTX as values.
//!
//! [`Session`] owns one reference; [`SessionRef`], [`Ssl`] and [`Ctx`] borrow what the caller of
//! the C function or OpenSSL's libssl keeps alive for the length of a call.

use super::constants::DTLS1_3_VERSION;
use super::failed::{Failed, succeeded};
use super::libssl::libssl;
use super::table::Libssl;
use libc::{c_int, c_uint};
use openssl_sys::{SSL, SSL_CTX, SSL_SESSION, TLS1_3_VERSION};
use sesscache_core::cache::{Key, MAX_ID_LENGTH};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// `OSSL_QUIC1_VERSION`: what SSL_version() says of a QUIC connection, whose sessions are those of
/// TLS 1.3.
const QUIC1_VERSION: c_int = 1;

/// Whether a negotiated version is TLS 1.3, or DTLS 1.3, which is the same but for its records.
#[inline]
pub fn is_tls13(version: c_int) -> bool {
    matches!(version, TLS1_3_VERSION | DTLS1_3_VERSION)
}

/// A borrowed SSL_SESSION.
#[derive(Clone, Copy, Debug)]
pub struct SessionRef<'a> {
    session: NonNull<SSL_SESSION>,
    libssl: &'static Libssl,
    owner: PhantomData<&'a SSL_SESSION>,
}

impl<'a> SessionRef<'a> {
    /// Borrows a session; `None` for NULL.
    ///
    /// # Safety
    /// `session` is NULL or stays valid for `'a`.
    #[inline]
    pub unsafe fn borrow(
        libssl: &'static Libssl,
        session: *mut SSL_SESSION,
    ) -> Option<SessionRef<'a>> {
        Some(SessionRef { session: NonNull::new(session)?, libssl, owner: PhantomData })
    }

    /// The functions of the libssl that made it.
    pub fn libssl(self) -> &'static Libssl {
        self.libssl
    }

    /// The pointer, to be passed on.
    pub fn as_ptr(self) -> *mut SSL_SESSION {
        self.session.as_ptr()
    }

    /// The same session, for calls of the application's that go on as they would without us.
    pub fn onward(self) -> Self {
        SessionRef { libssl: self.libssl.onward(), ..self }
    }

    /// Takes a reference. Fails if the count is exhausted.
    pub fn to_owned(self) -> Result<Session, Failed> {
        // SAFETY: a valid session.
        let taken = unsafe { (self.libssl.SSL_SESSION_up_ref)(self.as_ptr()) };
        succeeded(taken).map(|()| Session(self.session))
    }

    /// Version and id, by which a cache finds the session.
    pub fn key(self) -> Option<Key> {
        let mut length: c_uint = 0;
        // SAFETY: a valid session and a place for the length.
        let id = unsafe { (self.libssl.SSL_SESSION_get_id)(self.as_ptr(), &raw mut length) };
        // SAFETY: a valid session.
        let version = unsafe { (self.libssl.SSL_SESSION_get_protocol_version)(self.as_ptr()) };
        // SAFETY: OpenSSL's id is `length` bytes inside the session.
        let id = unsafe { bytes(id, length as usize) }?;
        Key::new(u16::try_from(version).ok()?, id)
    }

    /// When it expires: the last second in which it is good.
    pub fn deadline(self) -> i64 {
        // SAFETY: a valid session.
        let time = unsafe { (self.libssl.SSL_SESSION_get_time)(self.as_ptr()) };
        // SAFETY: a valid session.
        let timeout = unsafe { (self.libssl.SSL_SESSION_get_timeout)(self.as_ptr()) };
        time.saturating_add(timeout)
    }

    /// Whether OpenSSL would let it be resumed.
    pub fn is_resumable(self) -> bool {
        // SAFETY: a valid session.
        unsafe { (self.libssl.SSL_SESSION_is_resumable)(self.as_ptr()) == 1 }
    }

    /// Sets the time it was established (or last used), as SSL_SESSION_set_time(3).
    pub fn set_time(self, time: i64) {
        // SAFETY: a valid session.
        unsafe { (self.libssl.SSL_SESSION_set_time)(self.as_ptr(), time) };
    }
}

/// A reference to an SSL_SESSION, which it owns.
#[derive(Debug, PartialEq, Eq)]
pub struct Session(pub(super) NonNull<SSL_SESSION>);

// SAFETY: OpenSSL's reference count is atomic, and a session in a cache is not changed by us but
// through OpenSSL's own setters.
unsafe impl Send for Session {}
// SAFETY: as above.
unsafe impl Sync for Session {}

impl Session {
    /// Takes over a reference; `None` for NULL.
    ///
    /// # Safety
    /// `session` is NULL or comes with a reference that nobody else drops.
    pub unsafe fn from_raw(session: *mut SSL_SESSION) -> Option<Session> {
        NonNull::new(session).map(Session)
    }

    /// The session without the reference. (A session keeps no table of its own, because in a
    /// cache it is one word.)
    #[inline]
    pub fn as_ref(&self, libssl: &'static Libssl) -> SessionRef<'_> {
        SessionRef { session: self.0, libssl, owner: PhantomData }
    }

    /// The pointer, to be passed on.
    pub fn as_ptr(&self) -> *mut SSL_SESSION {
        self.0.as_ptr()
    }

    /// Hands the reference to whoever takes the pointer.
    pub fn into_raw(self) -> *mut SSL_SESSION {
        let session = self.0.as_ptr();
        std::mem::forget(self);
        session
    }
}

impl Clone for Session {
    #[inline]
    fn clone(&self) -> Self {
        if let Some(libssl) = libssl() {
            // SAFETY: a valid session. It fails only when 2^31 references are held.
            unsafe { (libssl.SSL_SESSION_up_ref)(self.0.as_ptr()) };
        }
        Session(self.0)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(libssl) = libssl() {
            // SAFETY: the reference this value owns.
            unsafe { (libssl.SSL_SESSION_free)(self.0.as_ptr()) };
        }
    }
}

/// A connection, valid for the length of a call.
#[derive(Clone, Copy, Debug)]
pub struct Ssl<'a> {
    ssl: NonNull<SSL>,
    libssl: &'static Libssl,
    owner: PhantomData<&'a SSL>,
}

impl<'a> Ssl<'a> {
    /// Borrows a connection; `None` for NULL.
    ///
    /// # Safety
    /// `ssl` is NULL or stays valid for `'a`.
    #[inline]
    pub unsafe fn borrow(libssl: &'static Libssl, ssl: *const SSL) -> Option<Ssl<'a>> {
        Some(Ssl { ssl: NonNull::new(ssl.cast_mut())?, libssl, owner: PhantomData })
    }

    /// The functions of the libssl that made it.
    #[inline]
    pub fn libssl(self) -> &'static Libssl {
        self.libssl
    }

    /// The pointer, to be passed on.
    #[inline]
    pub fn as_ptr(self) -> *mut SSL {
        self.ssl.as_ptr()
    }

    /// The same connection, for calls of the application's that go on as they would without us.
    #[inline]
    pub fn onward(self) -> Self {
        Ssl { libssl: self.libssl.onward(), ..self }
    }

    /// Whether this is the server's side.
    pub fn is_server(self) -> bool {
        // SAFETY: a valid connection.
        unsafe { (self.libssl.SSL_is_server)(self.as_ptr()) == 1 }
    }

    /// Whether its handshake has begun and is not over.
    pub fn is_in_handshake(self) -> bool {
        [(self.libssl.SSL_in_init, true), (self.libssl.SSL_in_before, false)].into_iter().all(
            |(ask, expected)| {
                // SAFETY: a valid connection.
                ask.is_some_and(|ask| (unsafe { ask(self.as_ptr()) } == 1) == expected)
            },
        )
    }

    /// Whether this is an object of QUIC's, of which a connection has several.
    pub fn is_quic(self) -> bool {
        // SAFETY: a valid connection.
        unsafe { (self.libssl.SSL_version)(self.as_ptr()) == QUIC1_VERSION }
    }

    /// The negotiated version, as sessions are keyed by it.
    #[inline]
    pub fn version(self) -> c_int {
        // SAFETY: a valid connection.
        match unsafe { (self.libssl.SSL_version)(self.as_ptr()) } {
            QUIC1_VERSION => TLS1_3_VERSION,
            version => version,
        }
    }

    /// Whether TLS 1.3 was negotiated, QUIC's and DTLS 1.3 included.
    #[inline]
    pub fn is_tls13(self) -> bool {
        is_tls13(self.version())
    }

    /// The key of the session with this id in this connection's version.
    #[inline]
    pub fn key(self, id: &[u8]) -> Option<Key> {
        Key::new(u16::try_from(self.version()).ok()?, id)
    }

    /// `SSL_OP_…` bits; those of `ctx`, the connection's context, for a QUIC connection, whose
    /// SSL_get_options() takes a lock that libssl holds when it calls us (quic_impl.c, 3.5).
    pub fn options(self, ctx: Ctx<'_>) -> u64 {
        // SAFETY: a valid connection.
        if unsafe { (self.libssl.SSL_version)(self.as_ptr()) } == QUIC1_VERSION {
            // SAFETY: a valid context.
            return unsafe { (self.libssl.SSL_CTX_get_options)(ctx.as_ptr()) };
        }
        // SAFETY: a valid connection.
        unsafe { (self.libssl.SSL_get_options)(self.as_ptr()) }
    }

    /// How much early data the server would accept.
    pub fn max_early_data(self) -> u32 {
        // SAFETY: a valid connection.
        unsafe { (self.libssl.SSL_get_max_early_data)(self.as_ptr()) }
    }

    /// Its session.
    pub fn session(self) -> Option<SessionRef<'a>> {
        // SAFETY: a valid connection.
        let session = unsafe { self.libssl.SSL_get_session?(self.as_ptr()) };
        // SAFETY: a connection's session lives as long as it is that, which callers do not change.
        unsafe { SessionRef::borrow(self.libssl, session) }
    }

    /// The context it has now, which a servername callback may have switched.
    #[inline]
    pub fn ctx(self) -> Option<Ctx<'a>> {
        // SAFETY: a valid connection.
        let ctx = unsafe { (self.libssl.SSL_get_SSL_CTX)(self.as_ptr()) };
        // SAFETY: a connection's context lives as long as the connection.
        unsafe { Ctx::borrow(self.libssl, ctx) }
    }
}

/// A context, valid for the length of a call.
#[derive(Clone, Copy, Debug)]
pub struct Ctx<'a> {
    ctx: NonNull<SSL_CTX>,
    libssl: &'static Libssl,
    owner: PhantomData<&'a SSL_CTX>,
}

impl<'a> Ctx<'a> {
    /// Borrows a context; `None` for NULL.
    ///
    /// # Safety
    /// `ctx` is NULL or stays valid for `'a`.
    #[inline]
    pub unsafe fn borrow(libssl: &'static Libssl, ctx: *const SSL_CTX) -> Option<Ctx<'a>> {
        Some(Ctx { ctx: NonNull::new(ctx.cast_mut())?, libssl, owner: PhantomData })
    }

    /// The functions of the libssl that made it.
    #[inline]
    pub fn libssl(self) -> &'static Libssl {
        self.libssl
    }

    /// The pointer, to be passed on.
    #[inline]
    pub fn as_ptr(self) -> *mut SSL_CTX {
        self.ctx.as_ptr()
    }

    /// The context, whose calls go on to wrappers that come after us; `None` if there are none.
    #[inline]
    pub fn wrapped(self) -> Option<Self> {
        self.libssl.wrapped.map(|libssl| Ctx { libssl, ..self })
    }

    /// The same context, for calls of the application's that go on as they would without us.
    #[inline]
    pub fn onward(self) -> Self {
        Ctx { libssl: self.libssl.onward(), ..self }
    }

    /// How many seconds its new sessions live: SSL_CTX_get_timeout(3).
    pub fn timeout(self) -> i64 {
        // SAFETY: a valid context.
        self.libssl().SSL_CTX_get_timeout.map_or(i64::MAX, |get| unsafe { get(self.as_ptr()) })
    }

    /// Whether SSL_CTX_free(3) is at work on it, for the last reference: then there is none to add to,
    /// so that SSL_CTX_up_ref(3) fails. It leaves a count that nobody looks at any more.
    pub fn is_being_freed(self) -> bool {
        let (Some(up_ref), Some(free)) = (self.libssl.SSL_CTX_up_ref, self.libssl.SSL_CTX_free)
        else {
            return false;
        };
        // SAFETY: a valid context, or one whose memory OpenSSL frees after this call.
        let is_in_use = unsafe { up_ref(self.as_ptr()) } == 1;
        if is_in_use {
            // SAFETY: the reference taken above, which is not the last.
            unsafe { free(self.as_ptr()) };
        }
        !is_in_use
    }

    /// Whether it was made by TLS_client_method(3) or DTLS_client_method(3).
    pub fn is_client(self) -> bool {
        // SAFETY: a valid context.
        let method = self.libssl.SSL_CTX_get_ssl_method.map(|get| unsafe { get(self.as_ptr()) });
        // SAFETY: these take nothing and return a constant.
        let clients = [self.libssl.TLS_client_method, self.libssl.DTLS_client_method]
            .map(|f| f.map(|f| unsafe { f() }));
        method.is_some() && clients.contains(&method)
    }
}

/// The session id that C passed as pointer and length; `None` if it cannot be one.
///
/// # Safety
/// `id` is NULL or points to `len` readable bytes.
pub unsafe fn session_id<'a>(id: *const u8, len: usize) -> Option<&'a [u8]> {
    if len > MAX_ID_LENGTH {
        return None;
    }
    // SAFETY: the caller's promise.
    unsafe { bytes(id, len) }
}

/// # Safety
/// `data` is NULL or points to `len` readable bytes.
pub(super) unsafe fn bytes<'a>(data: *const u8, len: usize) -> Option<&'a [u8]> {
    match NonNull::new(data.cast_mut()) {
        _ if len == 0 => Some(&[]),
        // SAFETY: not NULL, so the caller promises the bytes.
        Some(data) => Some(unsafe { std::slice::from_raw_parts(data.as_ptr(), len) }),
        None => None,
    }
}
