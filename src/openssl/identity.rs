//! The identity of a server, and the name that a client asked for.
//!
//! Read through OpenSSL's getters, which take none of the locks that libssl holds when it
//! calls us. No locks of ours.

use super::failed::Failed;
use super::handle::{Ctx, Ssl};
use super::kdf::{HASH_BYTES, sha256};
use super::names::{Names, held_certificates};
use super::reference::Reference;
use super::table::Libssl;
use libc::{c_int, c_uint};
use openssl_sys::{EVP_PKEY, X509};
use std::ffi::CStr;
use std::ptr;

/// `TLSEXT_TYPE_server_name` (RFC 6066 3).
const SERVER_NAME: c_uint = 0;
/// `TLSEXT_NAMETYPE_host_name`.
const HOST_NAME: c_int = 0;
/// `SSL_VERIFY_PEER`.
const VERIFY_PEER: c_int = 1;

/// The identity of a server: the names that its certificates are good for.
#[derive(Debug)]
pub struct Identity {
    certificate: Option<Reference<X509>>,
    /// Its key, if the server may show that raw.
    key: Option<Reference<EVP_PKEY>>,
    /// The server, as it follows from these.
    pub server: Server,
}

/// A server, as far as its sessions are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// A hash of its identity and of SESSCACHE_NAMESPACE: equal for those that may share sessions.
    pub namespace: [u8; HASH_BYTES],
    /// A hash of its names alone, for what hosts compare; `None` if nobody else can have the same.
    pub names: Option<u64>,
    /// Whether it has a certificate.
    pub has_certificate: bool,
}

impl Identity {
    /// The identity of this context's server by the names that its certificates are good for.
    ///
    /// `alone` is a number of the context whose certificates are set for each connection, so that
    /// their names cannot be known here: it shares with its own, or with those that the operator
    /// has given the same namespace.
    pub fn of(ctx: Ctx<'_>, namespace: &str, alone: Option<u64>) -> Result<Identity, Failed> {
        let libssl = ctx.libssl();
        let hold = |certificate| Reference::new(libssl, certificate).ok();
        let certificate = ctx.certificate().and_then(hold);
        let key = ctx.raw_key().and_then(|key| Reference::new(libssl, key).ok());
        let names = if alone.is_none() { Names::of(ctx)?.bytes()? } else { Vec::new() };
        let server = Server {
            namespace: namespace_of(libssl, namespace, alone, &names)?,
            names: names_hash(libssl, namespace, alone, &names),
            has_certificate: certificate.is_some() || key.is_some() || alone.is_some(),
        };
        Ok(Identity { certificate, key, server })
    }

    /// The same by the certificates that a connection got from its context. While connections are made,
    /// the application may load others into the context, under a lock of its own. `None` if only the
    /// context can tell: it shows raw keys, or no certificate, or the connection may not be asked.
    pub fn of_connection(
        ctx: Ctx<'_>,
        ssl: Ssl<'_>,
        namespace: &str,
        alone: Option<u64>,
    ) -> Option<Identity> {
        let libssl = ssl.libssl();
        let wanted = ctx.certificate()?;
        if ctx.shows_raw_keys() || ctx.is_quic_server() {
            return None;
        }
        let (shown, held) = held_certificates(ssl).ok()?;
        let names = match alone {
            None => Names::of_held(libssl, &held).ok()?.bytes().ok()?,
            Some(_) => Vec::new(),
        };
        let hash = names_hash(libssl, namespace, alone, &names);
        let namespace = namespace_of(libssl, namespace, alone, &names).ok()?;
        let certificate = held.into_iter().find(|one| one.address() == wanted).unwrap_or(shown);
        let server = Server { namespace, names: hash, has_certificate: true };
        Some(Identity { certificate: Some(certificate), key: None, server })
    }

    /// Whether the context still shows the certificate of this identity, and the key if it may show
    /// that raw. A certificate that is added becomes the one that is shown.
    #[inline]
    pub fn is_of(&self, ctx: Ctx<'_>) -> bool {
        self.certificate.as_ref().map(Reference::address) == ctx.certificate()
            && self.key.as_ref().map(Reference::address) == ctx.raw_key()
    }
}

fn namespace_of(
    libssl: &'static Libssl,
    namespace: &str,
    alone: Option<u64>,
    names: &[u8],
) -> Result<[u8; HASH_BYTES], Failed> {
    let number = alone.unwrap_or(0).to_le_bytes();
    let (kind, own): (&[u8; 1], &[u8]) = match alone {
        Some(_) if namespace.is_empty() => (b"n", &number),
        Some(_) => (b"o", &[]),
        None => (b"c", names),
    };
    let length = (namespace.len() as u64).to_le_bytes();
    let parts: [&[u8]; 5] = [b"sesscache namespace 2", kind, &length, namespace.as_bytes(), own];
    sha256(libssl, &parts)
}

/// A short hash of names, which are none if the operator's namespace stands for them.
fn names_hash(
    libssl: &'static Libssl,
    namespace: &str,
    alone: Option<u64>,
    names: &[u8],
) -> Option<u64> {
    match alone {
        Some(_) if namespace.is_empty() => None,
        _ => short_hash(libssl, names),
    }
}

/// The first bytes of a SHA-256; `None` if OpenSSL fails.
pub fn short_hash(libssl: &'static Libssl, bytes: &[u8]) -> Option<u64> {
    let hash = sha256(libssl, &[bytes]).ok()?;
    hash.first_chunk().map(|first| u64::from_be_bytes(*first))
}

impl Ctx<'_> {
    /// Whether it asks for the other side's certificate.
    pub fn asks_for_certificate(self) -> bool {
        let get = self.libssl().SSL_CTX_get_verify_mode;
        // SAFETY: a valid context.
        get.is_some_and(|get| unsafe { get(self.as_ptr()) } & VERIFY_PEER != 0)
    }
}

impl<'a> Ssl<'a> {
    /// The server name that the client asks for, while its ClientHello is looked at: in the get
    /// hook, before OpenSSL has read it. Empty if it asks for none.
    pub fn offered_name(self) -> &'a [u8] {
        let (mut data, mut length) = (ptr::null(), 0);
        let Some(extension) = self.libssl().SSL_client_hello_get0_ext else { return &[] };
        // SAFETY: a valid connection, and places for the result.
        let found =
            unsafe { extension(self.as_ptr(), SERVER_NAME, &raw mut data, &raw mut length) };
        if found != 1 || data.is_null() {
            return &[];
        }
        // SAFETY: OpenSSL's copy of the extension, which lives as long as the ClientHello.
        let extension = unsafe { std::slice::from_raw_parts(data, length) };
        host_name(extension).unwrap_or(&[])
    }

    /// The server name that the client asked for, when a session has been negotiated. Empty if it
    /// asked for none.
    pub fn negotiated_name(self) -> &'a [u8] {
        let Some(get) = self.libssl().SSL_get_servername else { return &[] };
        // SAFETY: a valid connection.
        let name = unsafe { get(self.as_ptr(), HOST_NAME) };
        if name.is_null() {
            return &[];
        }
        // SAFETY: a C string of the connection or its session, not changed during the call.
        unsafe { CStr::from_ptr(name) }.to_bytes()
    }
}

/// The host name in a server_name extension (RFC 6066 3); `None` if it has none.
fn host_name(extension: &[u8]) -> Option<&[u8]> {
    let (length, list) = extension.split_first_chunk()?;
    let list = list.get(..usize::from(u16::from_be_bytes(*length)))?;
    let (&[kind], rest) = list.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    (kind == 0).then_some(rest.get(..usize::from(u16::from_be_bytes(*length)))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_is_found_and_junk_is_none() {
        assert_eq!(host_name(b"\x00\x06\x00\x00\x03abc"), Some(b"abc".as_slice()));
        assert_eq!(host_name(b"\x00\x06\x01\x00\x03abc"), None);
        assert_eq!(host_name(b"\x00\x07\x00\x00\x03abc"), None);
        assert_eq!(host_name(b"\x00\x06\x00\x00\x04abc"), None);
        assert_eq!(host_name(b""), None);
        assert_eq!(host_name(b"\x00"), None);
    }
}
