//! The identity of a server: its certificate, whom it trusts, the name that a client asked for.
//!
//! Read through OpenSSL's getters, which take none of the locks that libssl holds when it
//! calls us. No locks of ours.

use super::failed::{Failed, present};
use super::handle::{Ctx, Ssl};
use super::kdf::{HASH_BYTES, sha256};
use super::names::{Names, hash_of};
use super::reference::{Counted, Reference};
use super::table::Libssl;
use libc::{c_int, c_uint};
use openssl_sys::{EVP_PKEY, OPENSSL_STACK, X509, X509_STORE};
use std::ffi::CStr;
use std::ptr::{self, NonNull};

/// `TLSEXT_TYPE_server_name` (RFC 6066 3).
const SERVER_NAME: c_uint = 0;
/// `TLSEXT_NAMETYPE_host_name`.
const HOST_NAME: c_int = 0;
/// `SSL_CTRL_GET_VERIFY_CERT_STORE`, OpenSSL 3.0.
const SSL_CTRL_GET_VERIFY_CERT_STORE: c_int = 137;
/// `SSL_VERIFY_PEER`.
const VERIFY_PEER: c_int = 1;

/// The identity of a server: its certificate and, if it asks clients for theirs, whom it trusts.
///
/// Another trust store changes it. A certificate that is added to a trust store later does not,
/// because libssl adds those that it finds in a folder, in each process another part.
#[derive(Debug)]
pub struct Identity {
    certificate: Option<Reference<X509>>,
    /// Its key, if the server may show that raw.
    key: Option<Reference<EVP_PKEY>>,
    verify_mode: c_int,
    trust: [Option<Reference<X509_STORE>>; 2],
    /// The server, as it follows from these.
    pub server: Server,
}

/// A server, as far as its sessions are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// A hash of its identity and of SESSCACHE_NAMESPACE: equal for those that may share sessions.
    pub namespace: [u8; HASH_BYTES],
    /// Whether it has a certificate.
    pub has_certificate: bool,
    /// The clients it asks for a certificate, and how.
    pub policy: Policy,
}

/// Whether clients are asked for a certificate, how, and who may have issued it: a hash of that, or
/// zeros if they are not asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy([u8; HASH_BYTES]);

impl Policy {
    /// Whether clients are asked.
    pub fn asks(self) -> bool {
        self != Policy::default()
    }

    /// The hash.
    pub fn bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }

    fn new(
        libssl: &'static Libssl,
        verify_mode: c_int,
        trusted: &[u8; HASH_BYTES],
    ) -> Result<Policy, Failed> {
        let parts: [&[u8]; 3] = [b"sesscache policy 1", &verify_mode.to_le_bytes(), trusted];
        sha256(libssl, &parts).map(Policy)
    }
}

impl Identity {
    /// The identity of this context's server.
    pub fn of(ctx: Ctx<'_>, namespace: &str) -> Result<Identity, Failed> {
        let libssl = ctx.libssl();
        let hold = |certificate| Reference::new(libssl, certificate).ok();
        let certificate = ctx.certificate().and_then(hold);
        let verify_mode = ctx.verify_mode();
        let own = match &certificate {
            Some(certificate) => hash_of(libssl, certificate.as_ptr())?,
            None => [0; HASH_BYTES],
        };
        let (mut trust, mut policy) = ([None, None], Policy::default());
        if verify_mode & VERIFY_PEER != 0 {
            let hold =
                |store: Option<_>| store.and_then(|store| Reference::new(libssl, store).ok());
            trust = ctx.trust_stores().map(hold);
            policy = Policy::new(libssl, verify_mode, &ctx.trusted()?)?;
        }
        let length = (namespace.len() as u64).to_le_bytes();
        let parts: [&[u8]; 5] =
            [b"sesscache namespace 1", &length, namespace.as_bytes(), &own, policy.bytes()];
        let server = Server {
            namespace: sha256(libssl, &parts)?,
            has_certificate: certificate.is_some(),
            policy,
        };
        Ok(Identity { certificate, key: None, verify_mode, trust, server })
    }

    /// The identity of this context's server by the names that its certificates are good for.
    ///
    /// `alone` is a number of the context whose certificates are set for each connection, so that
    /// their names cannot be known here: it shares with its own, or with those that the operator
    /// has given the same namespace.
    pub fn by_names(ctx: Ctx<'_>, namespace: &str, alone: Option<u64>) -> Result<Identity, Failed> {
        let libssl = ctx.libssl();
        let hold = |certificate| Reference::new(libssl, certificate).ok();
        let certificate = ctx.certificate().and_then(hold);
        let key = ctx.raw_key().and_then(|key| Reference::new(libssl, key).ok());
        let names = if alone.is_none() { Names::of(ctx)?.bytes()? } else { Vec::new() };
        let number = alone.unwrap_or(0).to_le_bytes();
        let (kind, own): (&[u8; 1], &[u8]) = match alone {
            Some(_) if namespace.is_empty() => (b"n", &number),
            Some(_) => (b"o", &[]),
            None => (b"c", &names),
        };
        let length = (namespace.len() as u64).to_le_bytes();
        let parts: [&[u8]; 5] =
            [b"sesscache namespace 2", kind, &length, namespace.as_bytes(), own];
        let server = Server {
            namespace: sha256(libssl, &parts)?,
            has_certificate: certificate.is_some() || key.is_some() || alone.is_some(),
            policy: Policy::default(),
        };
        Ok(Identity { certificate, key, verify_mode: 0, trust: [None, None], server })
    }

    /// Whether the context still shows the certificate of this identity, and the key if it may show
    /// that raw. A certificate that is added becomes the one that is shown.
    #[inline]
    pub fn is_current_of(&self, ctx: Ctx<'_>) -> bool {
        self.certificate.as_ref().map(Reference::address) == ctx.certificate()
            && self.key.as_ref().map(Reference::address) == ctx.raw_key()
    }

    /// Whether the context's server still has this identity.
    #[inline]
    pub fn is_of(&self, ctx: Ctx<'_>) -> bool {
        fn address<T: Counted>(held: &Option<Reference<T>>) -> Option<NonNull<T>> {
            held.as_ref().map(Reference::address)
        }
        address(&self.certificate) == ctx.certificate()
            && self.verify_mode == ctx.verify_mode()
            && (!self.server.policy.asks()
                || self.trust.each_ref().map(address) == ctx.trust_stores())
    }
}

impl Ctx<'_> {
    /// Whether it asks for the other side's certificate.
    pub fn asks_for_certificate(self) -> bool {
        self.verify_mode() & VERIFY_PEER != 0
    }

    /// `SSL_VERIFY_…` bits.
    fn verify_mode(self) -> c_int {
        // SAFETY: a valid context.
        self.libssl().SSL_CTX_get_verify_mode.map_or(0, |mode| unsafe { mode(self.as_ptr()) })
    }

    /// The trust store, and the one that goes before it when clients' certificates are verified.
    fn trust_stores(self) -> [Option<NonNull<X509_STORE>>; 2] {
        let mut verify: *mut X509_STORE = ptr::null_mut();
        // SAFETY: a valid context, and a place for the store, to which no reference is added.
        unsafe {
            let command = SSL_CTRL_GET_VERIFY_CERT_STORE;
            (self.libssl().SSL_CTX_ctrl)(self.as_ptr(), command, 0, (&raw mut verify).cast())
        };
        // SAFETY: a valid context.
        let trust = self.libssl().SSL_CTX_get_cert_store.map(|get| unsafe { get(self.as_ptr()) });
        [trust.and_then(NonNull::new), NonNull::new(verify)]
    }

    /// A hash of whom it trusts. Order does not count.
    fn trusted(self) -> Result<[u8; HASH_BYTES], Failed> {
        let mut hashes = Vec::new();
        for (number, store) in self.trust_stores().into_iter().enumerate() {
            let Some(store) = store else { continue };
            // SAFETY: a valid trust store.
            let all = unsafe { present(self.libssl().X509_STORE_get1_all_certs)?(store.as_ptr()) };
            let anchors = Anchors {
                stack: NonNull::new(all).ok_or(Failed::NoMemory)?,
                libssl: self.libssl(),
            };
            for anchor in anchors.iter() {
                hashes.try_reserve(1).map_err(|_| Failed::NoMemory)?;
                let kind = [if number == 0 { b't' } else { b'v' }];
                hashes.push(sha256(self.libssl(), &[&kind, &hash_of(self.libssl(), anchor)?])?);
            }
        }
        // SAFETY: a valid context; its own list, or NULL.
        let names = unsafe { present(self.libssl().SSL_CTX_get_client_CA_list)?(self.as_ptr()) };
        for name in elements(self.libssl(), names) {
            let (mut der, mut length) = (ptr::null(), 0);
            // SAFETY: a name of the list, and places for its encoding.
            let ok = unsafe {
                present(self.libssl().X509_NAME_get0_der)?(
                    name.cast(),
                    &raw mut der,
                    &raw mut length,
                )
            };
            if ok != 1 || der.is_null() {
                return Err(Failed::Refused);
            }
            // SAFETY: the encoding belongs to the name and has that length.
            let der = unsafe { std::slice::from_raw_parts(der, length) };
            hashes.try_reserve(1).map_err(|_| Failed::NoMemory)?;
            hashes.push(sha256(self.libssl(), &[b"n", der])?);
        }
        hashes.sort_unstable();
        sha256(self.libssl(), &[hashes.as_flattened()])
    }
}

/// The certificates of a trust store, one reference to each.
struct Anchors {
    stack: NonNull<OPENSSL_STACK>,
    libssl: &'static Libssl,
}

impl Anchors {
    fn iter(&self) -> impl Iterator<Item = *mut X509> {
        elements(self.libssl, self.stack.as_ptr()).map(<*mut _>::cast)
    }
}

impl Drop for Anchors {
    fn drop(&mut self) {
        let (Some(free), Some(free_stack)) = (self.libssl.X509_free, self.libssl.OPENSSL_sk_free)
        else {
            return;
        };
        for certificate in self.iter() {
            // SAFETY: the reference that came with the stack.
            unsafe { free(certificate) };
        }
        // SAFETY: the stack is ours, and what was in it is freed.
        unsafe { free_stack(self.stack.as_ptr()) };
    }
}

/// The elements of a stack; none if it is NULL.
fn elements(
    libssl: &'static Libssl,
    stack: *mut OPENSSL_STACK,
) -> impl Iterator<Item = *mut std::ffi::c_void> {
    // SAFETY: a valid stack or NULL, which has -1 elements.
    let count = libssl.OPENSSL_sk_num.map_or(0, |count| unsafe { count(stack) });
    (0..count).filter_map(move |number| {
        // SAFETY: one of its elements.
        libssl.OPENSSL_sk_value.map(|value| unsafe { value(stack, number) })
    })
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

    /// Whether this connection asks for a client certificate.
    pub fn asks_for_certificate(self) -> bool {
        // SAFETY: a valid connection.
        let mode =
            self.libssl().SSL_get_verify_mode.map_or(0, |mode| unsafe { mode(self.as_ptr()) });
        mode & VERIFY_PEER != 0
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
