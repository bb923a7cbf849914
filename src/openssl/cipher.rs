//! A session's cipher: whether it belongs to a shared key, and whether it would be negotiated now.
//!
//! No locks.

use super::handle::{SessionRef, Ssl};
use super::table::Libssl;
use libc::c_int;
use openssl_sys::SSL_CIPHER;
use std::ptr::{self, NonNull};

/// `NID_kx_…` and `NID_auth_…` of pre-shared keys (RFC 4279, 5489) and SRP (RFC 5054).
const KEY_EXCHANGES_BY_SHARED_KEY: [c_int; 5] = [1040, 1041, 1042, 1043, 1044];
const AUTHENTICATIONS_BY_SHARED_KEY: [c_int; 2] = [1048, 1052];
/// `NID_auth_null`.
const NO_AUTHENTICATION: c_int = 1053;
/// `NID_kx_ecdhe`, `NID_kx_dhe`, and `NID_kx_any` of TLS 1.3.
const FORWARD_SECRET: [c_int; 3] = [1038, 1039, 1063];
/// `NID_md5`.
const MD5: c_int = 4;
/// `NID_sha1`.
const SHA1: c_int = 64;
/// The least bits at each security level (SSL_CTX_set_security_level(3)).
const LEAST_BITS: [c_int; 6] = [0, 80, 112, 128, 192, 256];

/// A cipher, which is a constant of libssl.
#[derive(Clone, Copy)]
struct Cipher {
    cipher: NonNull<SSL_CIPHER>,
    libssl: &'static Libssl,
}

type Property = Option<unsafe extern "C-unwind" fn(*const SSL_CIPHER) -> c_int>;

impl Cipher {
    fn property(self, get: Property) -> Option<c_int> {
        // SAFETY: a constant of libssl.
        Some(unsafe { get?(self.cipher.as_ptr()) })
    }

    fn key_exchange(self) -> Option<c_int> {
        self.property(self.libssl.SSL_CIPHER_get_kx_nid)
    }

    fn authentication(self) -> Option<c_int> {
        self.property(self.libssl.SSL_CIPHER_get_auth_nid)
    }

    fn bits(self) -> Option<c_int> {
        // SAFETY: a constant of libssl; the algorithm's own bits are not asked for.
        Some(unsafe { self.libssl.SSL_CIPHER_get_bits?(self.cipher.as_ptr(), ptr::null_mut()) })
    }

    /// libssl's rule (`ssl_security_default_callback` in ssl_cert.c). `None` if it cannot be told.
    fn is_allowed_at(self, level: c_int) -> Option<bool> {
        let Ok(level @ 1..) = usize::try_from(level) else { return Some(true) };
        let least = *LEAST_BITS.get(level).or(LEAST_BITS.last())?;
        let digest = self.property(self.libssl.SSL_CIPHER_get_digest_nid)?;
        Some(
            self.bits()? >= least
                && self.authentication()? != NO_AUTHENTICATION
                && digest != MD5
                && (digest != SHA1 || least <= 160)
                && (level < 3 || FORWARD_SECRET.contains(&self.key_exchange()?)),
        )
    }
}

impl SessionRef<'_> {
    fn cipher(self) -> Option<Cipher> {
        let libssl = self.libssl();
        // SAFETY: a valid session.
        let cipher = unsafe { libssl.SSL_SESSION_get0_cipher?(self.as_ptr()) };
        Some(Cipher { cipher: NonNull::new(cipher.cast_mut())?, libssl })
    }

    /// Whether a pre-shared key or SRP has authenticated the client, by the cipher: in TLS 1.3 it
    /// does not say so.
    pub fn is_by_shared_key(self) -> bool {
        let Some(cipher) = self.cipher() else { return false };
        let is_one_of = |nid: Option<c_int>, of: &[c_int]| nid.is_none_or(|nid| of.contains(&nid));
        is_one_of(cipher.key_exchange(), &KEY_EXCHANGES_BY_SHARED_KEY)
            || is_one_of(cipher.authentication(), &AUTHENTICATIONS_BY_SHARED_KEY)
    }
}

impl Ssl<'_> {
    /// Whether this connection would negotiate the session's cipher now, if the client offers it.
    pub fn would_negotiate(self, session: SessionRef<'_>) -> bool {
        let would = || {
            let (libssl, cipher) = (self.libssl(), session.cipher()?);
            // SAFETY: a valid connection, whose list or whose context's it is; or NULL.
            let ciphers = unsafe { libssl.SSL_get_ciphers?(self.as_ptr()) };
            // SAFETY: a valid stack, or NULL, which is -1.
            let count = unsafe { libssl.OPENSSL_sk_num?(ciphers) };
            let value = libssl.OPENSSL_sk_value?;
            // SAFETY: one of the stack's elements.
            let is_it = |n| ptr::eq(unsafe { value(ciphers, n) }, cipher.cipher.as_ptr().cast());
            // SAFETY: a valid connection.
            let level = unsafe { libssl.SSL_get_security_level?(self.as_ptr()) };
            Some((0..count).any(is_it) && cipher.is_allowed_at(level)?)
        };
        would().unwrap_or(false)
    }
}
