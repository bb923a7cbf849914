//! A client's certificate verified again, when its session comes back: as a full handshake would.
//!
//! Modelled on libssl's ssl_verify_cert_chain (ssl_cert.c). It differs where only a handshake has
//! what is needed: there are no intermediate certificates of the client's, and the application's
//! callbacks do not run. Both make it stricter. No locks of ours; the trust store's own, as libssl.

use super::asn1_time::seconds;
use super::error_queue::KeepErrors;
use super::failed::{Failed, present, succeeded};
use super::handle::{SessionRef, Ssl};
use super::names::encoded;
use super::reference::Reference;
use super::table::Libssl;
use libc::{c_int, c_long, c_ulong, c_void};
use openssl_sys::{OPENSSL_STACK, SSL, X509, X509_STORE, X509_STORE_CTX, X509_VERIFY_PARAM};
use sesscache_core::system::clock::now;
use sesscache_core::system::errno::KeepErrno;
use std::ptr::{self, NonNull};

/// `SSL_CTRL_CERT_FLAGS`.
const SSL_CTRL_CERT_FLAGS: c_int = 99;
/// `SSL_CTRL_GET_VERIFY_CERT_STORE`, OpenSSL 3.0.
const SSL_CTRL_GET_VERIFY_CERT_STORE: c_int = 137;
/// `SSL_CERT_FLAG_SUITEB_128_LOS`: both of the suite's bits.
const SUITE_B: c_long = 0x30000;
/// `SSL_VERIFY_PEER`.
const VERIFY_PEER: c_int = 1;
/// `SSL_VERIFY_POST_HANDSHAKE`.
const VERIFY_POST_HANDSHAKE: c_int = 8;
/// `X509_V_OK`.
const X509_V_OK: c_long = 0;
/// `X509_V_FLAG_CRL_CHECK`.
const CRL_CHECK: c_ulong = 4;
/// `X509_LU_CRL`.
const X509_LU_CRL: c_int = 2;

/// How many seconds a result may be kept at most: what changes in a folder of revocation lists, or
/// in a rule that has no getter, is seen after them.
pub const KEPT_SECONDS: i64 = 10;
/// How many objects of a trust store are asked for their next update.
const MOST_OBJECTS: c_int = 10_000;

/// What a connection demands of its client.
#[derive(Debug, PartialEq, Eq)]
pub struct Demands {
    asks: bool,
    pub(super) depth: c_int,
    /// Where the certificate must come from.
    pub(super) store: Option<Reference<X509_STORE>>,
}

impl Clone for Demands {
    /// Without a reference to the trust store, which OpenSSL never refuses, nobody is let in.
    fn clone(&self) -> Self {
        let store = self.store.as_ref().and_then(Reference::another);
        Demands { asks: self.asks, depth: self.depth, store }
    }
}

impl Demands {
    /// Whether it asks for a certificate in the handshake.
    pub fn asks(&self) -> bool {
        self.asks
    }

    /// Without the trust store: nobody is let in by a certificate.
    pub fn without_store(self) -> Demands {
        Demands { store: None, ..self }
    }

    /// Whether both are the same, with the trust store or apart from it.
    pub fn equals(&self, other: &Demands, with_store: bool) -> bool {
        (self.asks, self.depth) == (other.asks, other.depth)
            && (!with_store || self.store == other.store)
    }
}

/// Verifies the client of this session as a full handshake on this connection would, if it demanded
/// this. The certificate is decoded in `library_context`, if that is not NULL. Returns the last
/// second in which the result may be kept; `None` if the client would not be let in.
pub fn verify_again(
    ssl: Ssl<'_>,
    session: SessionRef<'_>,
    demands: &Demands,
    library_context: *mut c_void,
) -> Option<i64> {
    let _errno = KeepErrno::new();
    let _errors = KeepErrors::new(ssl.libssl());
    let begun = now();
    let peer = Reference::new(ssl.libssl(), session.peer()?).ok()?;
    let place = Place { library_context, libssl: ssl.libssl() };
    let certificate = place.certificate(peer).ok()?;
    let verification = Verification::new(place, certificate, demands.store.as_ref()?).ok()?;
    verification.set_up(ssl, demands).ok()?;
    if !verification.is_good() {
        return None;
    }
    let mut until = begun.saturating_add(KEPT_SECONDS).min(session.peer_not_after()?);
    if verification.checks_revocation() {
        let objects = Objects::of(ssl.libssl(), demands.store.as_ref()?);
        until = objects.map_or(i64::MIN, |objects| objects.unchanged_until(begun, until));
    }
    Some(until)
}

/// Where a certificate is decoded and verified.
#[derive(Clone, Copy)]
struct Place {
    /// An `OSSL_LIB_CTX`, or NULL for the default one.
    library_context: *mut c_void,
    libssl: &'static Libssl,
}

impl Place {
    /// The certificate as it must be for this place: a session's is decoded in the default context,
    /// which may have no algorithms.
    fn certificate(self, peer: Reference<X509>) -> Result<Reference<X509>, Failed> {
        let (new, encode, decode) =
            (self.libssl.X509_new_ex, self.libssl.i2d_X509, self.libssl.d2i_X509);
        if self.library_context.is_null() {
            return Ok(peer);
        }
        let (new, encode, decode) = (present(new)?, present(encode)?, present(decode)?);
        // SAFETY: a valid certificate.
        let der = encoded(|place| unsafe { encode(peer.as_ptr(), place) })?;
        let length = c_long::try_from(der.len()).map_err(|_| Failed::Refused)?;
        // SAFETY: the library context of the connection's context, no properties.
        let mut certificate = unsafe { new(self.library_context, ptr::null()) };
        if certificate.is_null() {
            return Err(Failed::NoMemory);
        }
        let mut place = der.as_ptr();
        // SAFETY: an empty certificate, and bytes of that length.
        let decoded = unsafe { decode(&raw mut certificate, &raw mut place, length) };
        // A failure frees it and leaves NULL.
        let certificate = NonNull::new(certificate).map(Reference::take_over);
        certificate.filter(|_| !decoded.is_null()).ok_or(Failed::Refused)
    }
}

/// An `X509_STORE_CTX`.
struct Verification<'a> {
    ctx: NonNull<X509_STORE_CTX>,
    libssl: &'static Libssl,
    /// It is verified, and freed after `ctx`.
    _certificate: Reference<X509>,
    _store: &'a Reference<X509_STORE>,
}

impl Drop for Verification<'_> {
    fn drop(&mut self) {
        if let Some(free) = self.libssl.X509_STORE_CTX_free {
            // SAFETY: made in `new`, which nobody else frees.
            unsafe { free(self.ctx.as_ptr()) };
        }
    }
}

/// Leaves the verdict to libcrypto: the application's callbacks of connection and trust store do
/// not run.
unsafe extern "C-unwind" fn keep_verdict(verdict: c_int, _ctx: *mut X509_STORE_CTX) -> c_int {
    verdict
}

impl<'a> Verification<'a> {
    fn new(
        place: Place,
        certificate: Reference<X509>,
        store: &'a Reference<X509_STORE>,
    ) -> Result<Self, Failed> {
        let libssl = place.libssl;
        present(libssl.X509_STORE_CTX_free)?;
        // SAFETY: the library context of the connection's context, no properties.
        let ctx =
            unsafe { present(libssl.X509_STORE_CTX_new_ex)?(place.library_context, ptr::null()) };
        let ctx = NonNull::new(ctx).ok_or(Failed::NoMemory)?;
        let made = Verification { ctx, libssl, _certificate: certificate, _store: store };
        let (init, leaf) = (present(libssl.X509_STORE_CTX_init)?, made._certificate.as_ptr());
        // SAFETY: a context just made; store and certificate live as long as it does.
        succeeded(unsafe { init(ctx.as_ptr(), store.as_ptr(), leaf, ptr::null_mut()) })?;
        Ok(made)
    }

    /// Gives it the rules of the connection, in libssl's order.
    fn set_up(&self, ssl: Ssl<'_>, demands: &Demands) -> Result<(), Failed> {
        let (libssl, ctx, param) = (self.libssl, self.ctx.as_ptr(), self.param()?);
        let level = ssl.security_level().ok_or(Failed::Missing)?;
        // SAFETY: the context's parameters.
        unsafe { present(libssl.X509_VERIFY_PARAM_set_auth_level)?(param, level) };
        let suite_b = ssl.suite_b().ok_or(Failed::Missing)?;
        let suite_b = c_ulong::try_from(suite_b).map_err(|_| Failed::Refused)?;
        // SAFETY: a valid context.
        unsafe { present(libssl.X509_STORE_CTX_set_flags)?(ctx, suite_b) };
        // SAFETY: takes nothing.
        let index = unsafe { present(libssl.SSL_get_ex_data_X509_STORE_CTX_idx)?() };
        let set = present(libssl.X509_STORE_CTX_set_ex_data)?;
        // SAFETY: a valid context, libssl's index, the connection that belongs there.
        succeeded(unsafe { set(ctx, index, ssl.as_ptr().cast()) })?;
        let set_default = present(libssl.X509_STORE_CTX_set_default)?;
        // SAFETY: a valid context and a C string.
        succeeded(unsafe { set_default(ctx, c"ssl_client".as_ptr()) })?;
        let get_depth = present(libssl.X509_VERIFY_PARAM_get_depth)?;
        // SAFETY: the context's parameters.
        let default_depth = unsafe { get_depth(param) };
        // SAFETY: both are valid parameters.
        succeeded(unsafe { present(libssl.X509_VERIFY_PARAM_set1)?(param, ssl.param()) })?;
        if Some(demands.depth) != ssl.verify_depth() {
            let depth = if demands.depth < 0 { default_depth } else { demands.depth };
            // SAFETY: the context's parameters.
            unsafe { present(libssl.X509_VERIFY_PARAM_set_depth)?(param, depth) };
        }
        // SAFETY: a valid context and a function of the right type.
        unsafe { present(libssl.X509_STORE_CTX_set_verify_cb)?(ctx, Some(keep_verdict)) };
        Ok(())
    }

    fn param(&self) -> Result<*mut X509_VERIFY_PARAM, Failed> {
        // SAFETY: a valid context.
        let param = unsafe { present(self.libssl.X509_STORE_CTX_get0_param)?(self.ctx.as_ptr()) };
        if param.is_null() { Err(Failed::Refused) } else { Ok(param) }
    }

    /// -1, an error that is none of the certificate's, is no.
    fn is_good(&self) -> bool {
        // SAFETY: a context that was set up.
        self.libssl.X509_verify_cert.is_some_and(|f| unsafe { f(self.ctx.as_ptr()) } == 1)
    }

    fn checks_revocation(&self) -> bool {
        let get_flags = self.libssl.X509_VERIFY_PARAM_get_flags;
        let flags = self.param().ok().zip(get_flags).map(|(param, get)| {
            // SAFETY: the context's parameters.
            unsafe { get(param) }
        });
        flags.is_some_and(|flags| flags & CRL_CHECK != 0)
    }
}

/// What a trust store holds, locked.
pub(super) struct Objects<'a> {
    stack: *mut OPENSSL_STACK,
    store: &'a Reference<X509_STORE>,
    libssl: &'static Libssl,
}

impl<'a> Objects<'a> {
    pub(super) fn of(libssl: &'static Libssl, store: &'a Reference<X509_STORE>) -> Option<Self> {
        libssl.X509_STORE_unlock?;
        let objects = libssl.X509_STORE_get0_objects?;
        // SAFETY: a valid trust store.
        if unsafe { libssl.X509_STORE_lock?(store.as_ptr()) } != 1 {
            return None;
        }
        // SAFETY: a valid trust store, which is locked as long as the stack is used.
        Some(Objects { stack: unsafe { objects(store.as_ptr()) }, store, libssl })
    }

    pub(super) fn count(&self) -> c_int {
        // SAFETY: a valid stack.
        self.libssl.OPENSSL_sk_num.map_or(-1, |count| unsafe { count(self.stack) })
    }

    /// The last second up to `until` before any of the revocation lists that are good at `begun` is
    /// to be replaced.
    fn unchanged_until(&self, begun: i64, until: i64) -> i64 {
        let updates = (0..self.count().min(MOST_OBJECTS)).filter_map(|n| self.next_update(n));
        updates.filter(|update| *update >= begun).fold(until, i64::min)
    }

    /// When the next update of a revocation list is due; `None` if this object is none, or has no
    /// such time.
    fn next_update(&self, number: c_int) -> Option<i64> {
        // SAFETY: one of the stack's objects.
        let object = unsafe { self.libssl.OPENSSL_sk_value?(self.stack, number) }.cast_const();
        // SAFETY: as above.
        if unsafe { self.libssl.X509_OBJECT_get_type?(object.cast()) } != X509_LU_CRL {
            return None;
        }
        // SAFETY: a revocation list.
        let list = unsafe { self.libssl.X509_OBJECT_get0_X509_CRL?(object.cast()) };
        // SAFETY: as above.
        let update = unsafe { self.libssl.X509_CRL_get0_nextUpdate?(list) };
        seconds(self.libssl, update)
    }
}

impl Drop for Objects<'_> {
    fn drop(&mut self) {
        if let Some(unlock) = self.libssl.X509_STORE_unlock {
            // SAFETY: locked in `of`.
            unsafe { unlock(self.store.as_ptr()) };
        }
    }
}

impl Ssl<'_> {
    /// Whether it asks for a client certificate.
    pub fn asks_for_certificate(self) -> bool {
        self.verify_mode() & VERIFY_PEER != 0
    }

    /// Whether it asks for a client certificate in the handshake, and not only later
    /// (`send_certificate_request` in statem_srvr.c).
    pub fn asks_in_handshake(self, is_tls13: bool) -> bool {
        let mode = self.verify_mode();
        mode & VERIFY_PEER != 0 && !(is_tls13 && mode & VERIFY_POST_HANDSHAKE != 0)
    }

    fn verify_mode(self) -> c_int {
        // SAFETY: a valid connection.
        self.libssl().SSL_get_verify_mode.map_or(0, |get| unsafe { get(self.as_ptr()) })
    }

    /// What it demands of its client, as it is now.
    pub fn demands(self, is_tls13: bool) -> Demands {
        let libssl = self.libssl();
        let store = self.trust_store().and_then(|store| Reference::new(libssl, store).ok());
        Demands {
            asks: self.asks_in_handshake(is_tls13),
            depth: self.verify_depth().unwrap_or(0),
            store,
        }
    }

    /// The trust store of its own or of its context for clients' certificates, else the context's.
    fn trust_store(self) -> Option<NonNull<X509_STORE>> {
        let libssl = self.libssl();
        let mut own: *mut X509_STORE = ptr::null_mut();
        let (command, place) = (SSL_CTRL_GET_VERIFY_CERT_STORE, (&raw mut own).cast());
        // SAFETY: a valid connection, and a place for the store, to which no reference is added.
        unsafe { libssl.SSL_ctrl?(self.as_ptr(), command, 0, place) };
        NonNull::new(own).or_else(|| {
            // SAFETY: a valid context.
            NonNull::new(unsafe { libssl.SSL_CTX_get_cert_store?(self.ctx()?.as_ptr()) })
        })
    }

    fn verify_depth(self) -> Option<c_int> {
        // SAFETY: a valid connection.
        Some(unsafe { self.libssl().SSL_get_verify_depth?(self.as_ptr()) })
    }

    pub(super) fn security_level(self) -> Option<c_int> {
        // SAFETY: a valid connection.
        Some(unsafe { self.libssl().SSL_get_security_level?(self.as_ptr()) })
    }

    pub(super) fn suite_b(self) -> Option<c_long> {
        let ctrl = self.libssl().SSL_ctrl?;
        // SAFETY: a valid connection; sets no flag and returns those that are set.
        Some(unsafe { ctrl(self.as_ptr(), SSL_CTRL_CERT_FLAGS, 0, ptr::null_mut()) } & SUITE_B)
    }

    /// SSL_get0_param(3): its rules for certificates; NULL if it has none.
    pub fn param(self) -> *mut X509_VERIFY_PARAM {
        // SAFETY: a valid connection.
        unsafe { (self.libssl().SSL_get0_param)(self.as_ptr()) }
    }

    /// Whether no verification of the other side has failed: SSL_get_verify_result(3).
    pub fn verify_result_is_ok(self) -> bool {
        let get = self.libssl().SSL_get_verify_result;
        // SAFETY: a valid connection.
        get.is_some_and(|get| unsafe { get(self.as_ptr()) } == X509_V_OK)
    }

    /// Whether the other side's Finished has come: SSL_get_peer_finished(3). Then its handshake is over,
    /// or is about to fail for it.
    pub fn has_peers_finished(self) -> bool {
        let mut byte = 0_u8;
        let get = self.libssl().SSL_get_peer_finished;
        // SAFETY: a valid connection, and room for no byte.
        get.is_some_and(|get| unsafe { get(self.as_ptr(), (&raw mut byte).cast(), 0) } > 0)
    }

    /// The first bytes of the random that its client has sent; zeroes before the ClientHello has come.
    #[inline]
    pub fn client_random(self) -> [u8; 8] {
        self.random(self.libssl().SSL_get_client_random)
    }

    /// The first bytes of the random that its server has sent; zeroes before that.
    pub fn server_random(self) -> [u8; 8] {
        self.random(self.libssl().SSL_get_server_random)
    }

    #[inline]
    fn random(
        self,
        get: Option<unsafe extern "C-unwind" fn(*const SSL, *mut u8, usize) -> usize>,
    ) -> [u8; 8] {
        let mut random = [0; 8];
        if let Some(get) = get {
            // SAFETY: a valid connection, and room for so many bytes.
            unsafe { get(self.as_ptr(), random.as_mut_ptr(), random.len()) };
        }
        random
    }

    /// Whether its session was resumed, as far as the handshake has come: SSL_session_reused(3).
    pub fn is_resumed(self) -> bool {
        // SAFETY: a valid connection.
        self.libssl().SSL_session_reused.is_some_and(|get| unsafe { get(self.as_ptr()) } == 1)
    }
}

impl SessionRef<'_> {
    /// Where the certificate is that the client has shown.
    pub fn peer_address(self) -> Option<usize> {
        self.peer().map(|peer| peer.as_ptr() as usize)
    }

    /// The certificate that the client has shown.
    pub(super) fn peer(self) -> Option<NonNull<X509>> {
        // SAFETY: a valid session.
        NonNull::new(unsafe { self.libssl().SSL_SESSION_get0_peer?(self.as_ptr()) })
    }

    /// Whether the client has shown a certificate.
    pub fn has_peer(self) -> bool {
        self.peer().is_some()
    }

    /// Whether the client has shown a raw public key.
    pub fn has_raw_public_key(self) -> bool {
        let get = self.libssl().SSL_SESSION_get0_peer_rpk;
        // SAFETY: a valid session.
        get.is_some_and(|get| !unsafe { get(self.as_ptr()) }.is_null())
    }
}

#[cfg(test)]
mod tests;
