//! Whose sessions a context's are: its certificate, whom it trusts, the name a client asked for.
//!
//! Read through OpenSSL's getters, which take none of the locks that the engine holds when it
//! calls us. `None` where OpenSSL could not. No locks of ours.

use super::handle::{Ctx, Ssl};
use super::kdf::{HASH_BYTES, sha256};
use super::next::{Next, next};
use libc::{c_int, c_uint};
use openssl_sys::{OPENSSL_STACK, X509};
use std::ffi::CStr;
use std::ptr::{self, NonNull};

/// `TLSEXT_TYPE_server_name` (RFC 6066 3).
const SERVER_NAME: c_uint = 0;
/// `TLSEXT_NAMETYPE_host_name`.
const HOST_NAME: c_int = 0;
/// `SSL_VERIFY_PEER`.
const VERIFY_PEER: c_int = 1;

/// One reference to a certificate: as long as it is held, no other can be at its address.
#[derive(Debug)]
pub struct Certificate(NonNull<X509>);

// SAFETY: the reference count is atomic, and we only hash it.
unsafe impl Send for Certificate {}
// SAFETY: as above.
unsafe impl Sync for Certificate {}

impl Certificate {
    /// Whether this is the certificate that `ctx` has now.
    pub fn is_of(&self, next: &Next, ctx: Ctx<'_>) -> bool {
        Certificate::borrow(next, ctx) == Some(self.0)
    }

    fn borrow(next: &Next, ctx: Ctx<'_>) -> Option<NonNull<X509>> {
        // SAFETY: a valid context.
        NonNull::new(unsafe { next.SSL_CTX_get0_certificate?(ctx.as_ptr()) })
    }

    fn hash(&self, next: &Next) -> Option<[u8; HASH_BYTES]> {
        hash_of(next, self.0.as_ptr())
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        if let Some(free) = next().and_then(|next| next.X509_free) {
            // SAFETY: the reference this value owns.
            unsafe { free(self.0.as_ptr()) };
        }
    }
}

fn hash_of(next: &Next, certificate: *const X509) -> Option<[u8; HASH_BYTES]> {
    let mut hash = [0; HASH_BYTES];
    let mut length: c_uint = 0;
    // SAFETY: takes nothing and returns a constant.
    let kind = unsafe { next.EVP_sha256?() };
    // SAFETY: a valid certificate, and room for the hash's length.
    let ok = unsafe { next.X509_digest?(certificate, kind, hash.as_mut_ptr(), &raw mut length) };
    (ok == 1 && length as usize == HASH_BYTES).then_some(hash)
}

impl<'a> Ctx<'a> {
    /// The certificate it shows now, held.
    pub fn certificate(self, next: &Next) -> Option<Certificate> {
        let certificate = Certificate::borrow(next, self)?;
        // SAFETY: a valid certificate.
        let held = unsafe { next.X509_up_ref?(certificate.as_ptr()) };
        (held == 1).then_some(Certificate(certificate))
    }

    /// `SSL_VERIFY_…` bits.
    pub fn verify_mode(self, next: &Next) -> c_int {
        // SAFETY: a valid context.
        next.SSL_CTX_get_verify_mode.map_or(0, |mode| unsafe { mode(self.as_ptr()) })
    }

    /// Whether clients are asked for a certificate.
    pub fn asks_for_certificate(self, next: &Next) -> bool {
        self.verify_mode(next) & VERIFY_PEER != 0
    }

    /// A hash of who this server is and, if it asks clients for certificates, of whom it trusts.
    /// Order does not count among those.
    pub fn identity(
        self,
        next: &Next,
        certificate: Option<&Certificate>,
        namespace: &str,
    ) -> Option<[u8; HASH_BYTES]> {
        let mode = self.verify_mode(next);
        let own = match certificate {
            Some(certificate) => certificate.hash(next)?,
            None => [0; HASH_BYTES],
        };
        let trusted = if mode & VERIFY_PEER == 0 { [0; HASH_BYTES] } else { self.trusted(next)? };
        let length = (namespace.len() as u64).to_le_bytes();
        let parts: [&[u8]; 6] = [
            b"sesscache namespace 1",
            &length,
            namespace.as_bytes(),
            &own,
            &mode.to_le_bytes(),
            &trusted,
        ];
        sha256(next, &parts)
    }

    fn trusted(self, next: &Next) -> Option<[u8; HASH_BYTES]> {
        let mut hashes = Vec::new();
        // SAFETY: a valid context, whose trust store it returns.
        let store = unsafe { next.SSL_CTX_get_cert_store?(self.as_ptr()) };
        if !store.is_null() {
            // SAFETY: a valid trust store.
            let all = unsafe { next.X509_STORE_get1_all_certs?(store) };
            let anchors = Anchors { stack: NonNull::new(all)?, next };
            for anchor in anchors.iter() {
                hashes.push(hash_of(next, anchor)?);
            }
        }
        // SAFETY: a valid context; its own list, or NULL.
        let names = unsafe { next.SSL_CTX_get_client_CA_list?(self.as_ptr()) };
        for name in elements(next, names) {
            let (mut der, mut length) = (ptr::null(), 0);
            // SAFETY: a name of the list, and places for its encoding.
            let ok =
                unsafe { next.X509_NAME_get0_der?(name.cast(), &raw mut der, &raw mut length) };
            if ok != 1 || der.is_null() {
                return None;
            }
            // SAFETY: the encoding belongs to the name and has that length.
            let der = unsafe { std::slice::from_raw_parts(der, length) };
            hashes.push(sha256(next, &[b"name", der])?);
        }
        hashes.sort_unstable();
        let parts: Vec<&[u8]> = hashes.iter().map(<[u8; HASH_BYTES]>::as_slice).collect();
        sha256(next, &parts)
    }
}

/// The certificates of a trust store, one reference to each.
struct Anchors<'a> {
    stack: NonNull<OPENSSL_STACK>,
    next: &'a Next,
}

impl Anchors<'_> {
    fn iter(&self) -> impl Iterator<Item = *mut X509> {
        elements(self.next, self.stack.as_ptr()).map(<*mut _>::cast)
    }
}

impl Drop for Anchors<'_> {
    fn drop(&mut self) {
        let (Some(free), Some(free_stack)) = (self.next.X509_free, self.next.OPENSSL_sk_free)
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

/// What is in a stack; nothing if it is NULL.
fn elements(next: &Next, stack: *mut OPENSSL_STACK) -> impl Iterator<Item = *mut std::ffi::c_void> {
    // SAFETY: a valid stack or NULL, which has -1 elements.
    let count = next.OPENSSL_sk_num.map_or(0, |count| unsafe { count(stack) });
    (0..count).filter_map(move |number| {
        // SAFETY: one of its elements.
        next.OPENSSL_sk_value.map(|value| unsafe { value(stack, number) })
    })
}

impl<'a> Ssl<'a> {
    /// The server name that the client asks for, while its ClientHello is looked at: in the get
    /// hook, before OpenSSL has read it. Empty if it asks for none.
    pub fn offered_name(self, next: &Next) -> &'a [u8] {
        let (mut data, mut length) = (ptr::null(), 0);
        let Some(extension) = next.SSL_client_hello_get0_ext else { return &[] };
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
    pub fn negotiated_name(self, next: &Next) -> &'a [u8] {
        let Some(get) = next.SSL_get_servername else { return &[] };
        // SAFETY: a valid connection.
        let name = unsafe { get(self.as_ptr(), HOST_NAME) };
        if name.is_null() {
            return &[];
        }
        // SAFETY: a C string of the connection or its session, not changed during the call.
        unsafe { CStr::from_ptr(name) }.to_bytes()
    }

    /// Whether this connection asks for a client certificate.
    pub fn asks_for_certificate(self, next: &Next) -> bool {
        // SAFETY: a valid connection.
        let mode = next.SSL_get_verify_mode.map_or(0, |mode| unsafe { mode(self.as_ptr()) });
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
