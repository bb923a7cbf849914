//! The names that a context's certificates are good for, by which a server is known to its clients.
//!
//! All certificates are looked at in the connection that asks, else in one that is made for it and
//! thrown away: what a context calls its current certificate stays. No locks of ours.

use super::failed::{Failed, present};
use super::handle::{Ctx, Ssl};
use super::kdf::{HASH_BYTES, sha256};
use super::reference::Reference;
use super::table::Libssl;
use libc::{c_int, c_long, c_void};
use openssl_sys::{ASN1_STRING, EVP_PKEY, OPENSSL_STACK, SSL, SSL_CTX, X509, X509_NAME};
use std::ptr::{self, NonNull};

/// `SSL_CTRL_SELECT_CURRENT_CERT`.
const SSL_CTRL_SELECT_CURRENT_CERT: c_int = 116;
/// `SSL_CTRL_SET_CURRENT_CERT`.
const SSL_CTRL_SET_CURRENT_CERT: c_int = 117;
/// `SSL_CERT_SET_FIRST`.
const SSL_CERT_SET_FIRST: c_long = 1;
/// `SSL_CERT_SET_NEXT`.
const SSL_CERT_SET_NEXT: c_long = 2;
/// More certificates than a context has: `SSL_PKEY_NUM` is 9, and providers bring a few.
const MOST_CERTIFICATES: usize = 64;
/// `TLSEXT_cert_type_rpk` (RFC 7250).
const RAW_PUBLIC_KEY: u8 = 2;
/// `NID_commonName`.
const COMMON_NAME: c_int = 13;
/// `NID_subject_alt_name`.
const SUBJECT_ALT_NAME: c_int = 85;
/// `GEN_DNS`.
const GEN_DNS: c_int = 2;
/// `GEN_IPADD`.
const GEN_IPADD: c_int = 7;

/// The kinds of names. A name of one kind is no name of another.
const DNS_NAME: u8 = b'd';
const IP_ADDRESS: u8 = b'i';
const CERTIFICATE: u8 = b'x';
const KEY: u8 = b'k';

/// Names, each with its kind and its length before it: no two sets give the same bytes.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<Vec<u8>>);

impl Names {
    /// Those of all certificates of a context, in whatever order they were loaded, and its keys if
    /// it shows them raw.
    pub(super) fn of(ctx: Ctx<'_>) -> Result<Names, Failed> {
        let libssl = ctx.libssl();
        let mut certificates = certificates(ctx)?;
        if certificates.is_empty()
            && let Some(certificate) = ctx.certificate()
        {
            // Without its key: the context may get that for each connection.
            push(&mut certificates, Reference::new(libssl, certificate)?)?;
        }
        let is_raw = ctx.shows_raw_keys();
        let mut names = Names::of_certificates(libssl, &certificates, is_raw)?;
        if let Some(key) = ctx.raw_key() {
            names.add_key(libssl, key.as_ptr())?;
        }
        names.sort();
        Ok(names)
    }

    /// Those of the certificates that a connection holds, none of which is shown as a raw key.
    pub(super) fn of_held(
        libssl: &'static Libssl,
        certificates: &[Reference<X509>],
    ) -> Result<Names, Failed> {
        let mut names = Names::of_certificates(libssl, certificates, false)?;
        names.sort();
        Ok(names)
    }

    fn of_certificates(
        libssl: &'static Libssl,
        certificates: &[Reference<X509>],
        is_raw: bool,
    ) -> Result<Names, Failed> {
        let mut names = Names::default();
        for certificate in certificates {
            names.add_certificate(libssl, certificate.as_ptr())?;
            if is_raw {
                // SAFETY: a valid certificate, whose key it is.
                let key = unsafe { present(libssl.X509_get0_pubkey)?(certificate.as_ptr()) };
                names.add_key(libssl, key)?;
            }
        }
        Ok(names)
    }

    fn sort(&mut self) {
        self.0.sort_unstable();
        self.0.dedup();
    }

    /// All of them, one after the other.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, Failed> {
        let mut bytes = Vec::new();
        let length = self.0.iter().map(Vec::len).sum();
        bytes.try_reserve_exact(length).map_err(|_| Failed::NoMemory)?;
        self.0.iter().for_each(|name| bytes.extend_from_slice(name));
        Ok(bytes)
    }

    fn add(&mut self, kind: u8, name: &[u8]) -> Result<(), Failed> {
        let length = (name.len() as u64).to_le_bytes();
        let mut encoded = Vec::new();
        let all = 1 + length.len() + name.len();
        encoded.try_reserve_exact(all).map_err(|_| Failed::NoMemory)?;
        encoded.push(kind);
        encoded.extend_from_slice(&length);
        encoded.extend_from_slice(name);
        if kind == DNS_NAME {
            encoded.iter_mut().skip(1 + length.len()).for_each(u8::make_ascii_lowercase);
        }
        push(&mut self.0, encoded)
    }

    /// The names that a certificate is good for: of its subject alternative name, else its common
    /// names, which clients look at then (X509_check_host(3)), else the certificate itself.
    fn add_certificate(
        &mut self,
        libssl: &'static Libssl,
        certificate: *mut X509,
    ) -> Result<(), Failed> {
        if self.add_alternative_names(libssl, certificate)?
            || self.add_common_names(libssl, certificate)?
        {
            return Ok(());
        }
        self.add(CERTIFICATE, &hash_of(libssl, certificate)?)
    }

    /// Whether there were any.
    fn add_alternative_names(
        &mut self,
        libssl: &'static Libssl,
        certificate: *const X509,
    ) -> Result<bool, Failed> {
        let before = self.0.len();
        let Some(found) = AlternativeNames::of(libssl, certificate)? else { return Ok(false) };
        for number in 0..found.count()? {
            let (kind, value) = found.name(number)?;
            let kind = match kind {
                GEN_DNS => DNS_NAME,
                GEN_IPADD => IP_ADDRESS,
                _ => continue,
            };
            self.add(kind, string(libssl, value.cast())?)?;
        }
        Ok(self.0.len() > before)
    }

    /// Whether there were any.
    fn add_common_names(
        &mut self,
        libssl: &'static Libssl,
        certificate: *const X509,
    ) -> Result<bool, Failed> {
        // SAFETY: a valid certificate, whose name it is.
        let subject = unsafe { present(libssl.X509_get_subject_name)?(certificate) };
        let mut place = -1;
        loop {
            let next = present(libssl.X509_NAME_get_index_by_NID)?;
            // SAFETY: a valid name.
            let found = unsafe { next(subject, COMMON_NAME, place) };
            if found <= place {
                return Ok(place >= 0);
            }
            place = found;
            let text = Text::of(libssl, subject, place)?;
            // A certificate that is renewed with an alternative name stays that service's.
            self.add(DNS_NAME, text.bytes())?;
        }
    }

    fn add_key(&mut self, libssl: &'static Libssl, key: *mut EVP_PKEY) -> Result<(), Failed> {
        let encode = present(libssl.i2d_PUBKEY)?;
        // SAFETY: a valid key, or NULL, which has no encoding.
        let encoded = encoded(|place| unsafe { encode(key, place) })?;
        self.add(KEY, &encoded)
    }
}

/// A certificate's SHA-256.
pub(super) fn hash_of(
    libssl: &'static Libssl,
    certificate: *const X509,
) -> Result<[u8; HASH_BYTES], Failed> {
    let encode = present(libssl.i2d_X509)?;
    // SAFETY: a valid certificate.
    let encoded = encoded(|place| unsafe { encode(certificate, place) })?;
    // Not by X509_digest(), which asks the library context that the certificate was decoded in.
    sha256(libssl, &[&encoded])
}

/// What an `i2d_` function writes.
pub(super) fn encoded(encode: impl Fn(*mut *mut u8) -> c_int) -> Result<Vec<u8>, Failed> {
    let length = usize::try_from(encode(ptr::null_mut())).map_err(|_| Failed::Refused)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| Failed::NoMemory)?;
    bytes.resize(length, 0);
    let mut place = bytes.as_mut_ptr();
    let written = encode(&raw mut place);
    if length > 0 && usize::try_from(written) == Ok(length) {
        Ok(bytes)
    } else {
        Err(Failed::Refused)
    }
}

fn push<T>(values: &mut Vec<T>, value: T) -> Result<(), Failed> {
    values.try_reserve(1).map_err(|_| Failed::NoMemory)?;
    values.push(value);
    Ok(())
}

/// The bytes of a string.
fn string<'a>(libssl: &'static Libssl, string: *const ASN1_STRING) -> Result<&'a [u8], Failed> {
    if string.is_null() {
        return Err(Failed::Refused);
    }
    // SAFETY: a valid string.
    let length = unsafe { present(libssl.ASN1_STRING_length)?(string) };
    // SAFETY: a valid string.
    let data = unsafe { present(libssl.ASN1_STRING_get0_data)?(string) };
    match usize::try_from(length) {
        Ok(0) => Ok(&[]),
        // SAFETY: the string's own bytes, for as long as its owner, which the caller keeps.
        Ok(length) if !data.is_null() => Ok(unsafe { std::slice::from_raw_parts(data, length) }),
        _ => Err(Failed::Refused),
    }
}

/// A `GENERAL_NAMES`.
struct AlternativeNames {
    stack: NonNull<OPENSSL_STACK>,
    libssl: &'static Libssl,
}

impl AlternativeNames {
    /// `None` if the certificate has none that can be read.
    fn of(libssl: &'static Libssl, certificate: *const X509) -> Result<Option<Self>, Failed> {
        present(libssl.GENERAL_NAMES_free)?;
        let get = present(libssl.X509_get_ext_d2i)?;
        let nowhere = ptr::null_mut();
        // SAFETY: a valid certificate; without a place for more, a second such extension is an error.
        let found = unsafe { get(certificate, SUBJECT_ALT_NAME, nowhere, ptr::null_mut()) };
        Ok(NonNull::new(found.cast()).map(|stack| AlternativeNames { stack, libssl }))
    }

    fn count(&self) -> Result<c_int, Failed> {
        // SAFETY: a valid stack.
        Ok(unsafe { present(self.libssl.OPENSSL_sk_num)?(self.stack.as_ptr()) })
    }

    /// The kind of a name and its value.
    fn name(&self, number: c_int) -> Result<(c_int, *mut c_void), Failed> {
        // SAFETY: a valid stack.
        let name = unsafe { present(self.libssl.OPENSSL_sk_value)?(self.stack.as_ptr(), number) };
        let mut kind: c_int = -1;
        if name.is_null() {
            return Err(Failed::Refused);
        }
        let get = present(self.libssl.GENERAL_NAME_get0_value)?;
        // SAFETY: a name of the stack, and a place for its kind.
        let value = unsafe { get(name, &raw mut kind) };
        Ok((kind, value))
    }
}

impl Drop for AlternativeNames {
    fn drop(&mut self) {
        if let Some(free) = self.libssl.GENERAL_NAMES_free {
            // SAFETY: decoded for us, see `of`.
            unsafe { free(self.stack.as_ptr()) };
        }
    }
}

/// A text in UTF-8, whatever its string's type.
struct Text {
    data: NonNull<u8>,
    length: usize,
    libssl: &'static Libssl,
}

impl Text {
    /// A part of a name.
    fn of(libssl: &'static Libssl, name: *const X509_NAME, place: c_int) -> Result<Text, Failed> {
        present(libssl.CRYPTO_free)?;
        // SAFETY: a valid name.
        let entry = unsafe { present(libssl.X509_NAME_get_entry)?(name, place) };
        // SAFETY: an entry of it, or NULL, which has no data.
        let value = unsafe { present(libssl.X509_NAME_ENTRY_get_data)?(entry) };
        let mut data = ptr::null_mut();
        // SAFETY: a string, or NULL, which is refused, and a place for the text.
        let length = unsafe { present(libssl.ASN1_STRING_to_UTF8)?(&raw mut data, value) };
        let length = usize::try_from(length).map_err(|_| Failed::Refused)?;
        Ok(Text { data: NonNull::new(data).ok_or(Failed::Refused)?, length, libssl })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the text has that length.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.length) }
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        if let Some(free) = self.libssl.CRYPTO_free {
            // SAFETY: made for us, see `of`; the place is for messages.
            unsafe { free(self.data.as_ptr().cast(), c"sesscache".as_ptr(), 0) };
        }
    }
}

/// A connection that exists to be asked.
struct Scratch {
    ssl: NonNull<SSL>,
    libssl: &'static Libssl,
}

impl Scratch {
    fn new(ctx: Ctx<'_>) -> Result<Scratch, Failed> {
        // SAFETY: a valid context.
        let ssl = unsafe { present(ctx.libssl().SSL_new)?(ctx.as_ptr()) };
        Ok(Scratch { ssl: NonNull::new(ssl).ok_or(Failed::NoMemory)?, libssl: ctx.libssl() })
    }

    /// Goes to its first certificate or the next; `None` behind the last.
    fn go(&self, to: c_long) -> Option<NonNull<X509>> {
        let (ssl, command) = (self.ssl.as_ptr(), SSL_CTRL_SET_CURRENT_CERT);
        // SAFETY: a valid connection; the command takes no pointer.
        if unsafe { self.libssl.SSL_ctrl?(ssl, command, to, ptr::null_mut()) } != 1 {
            return None;
        }
        // SAFETY: a valid connection.
        NonNull::new(unsafe { self.libssl.SSL_get_certificate?(ssl) })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: made in `new`, which nobody else frees. Stock's function: for us it is none.
        unsafe { (self.libssl.SSL_free)(self.ssl.as_ptr()) };
    }
}

/// All certificates of a context that have a key.
fn certificates(ctx: Ctx<'_>) -> Result<Vec<Reference<X509>>, Failed> {
    if ctx.is_quic_server() {
        // SSL_new() fails there.
        let Some(current) = ctx.certificate() else { return Ok(Vec::new()) };
        let found = walk(ctx.libssl(), |to| {
            let went = ctx.ctrl(SSL_CTRL_SET_CURRENT_CERT, to, ptr::null_mut()) == 1;
            ctx.certificate().filter(|_| went)
        });
        ctx.ctrl(SSL_CTRL_SELECT_CURRENT_CERT, 0, current.as_ptr().cast());
        return found;
    }
    let scratch = Scratch::new(ctx)?;
    walk(ctx.libssl(), |to| scratch.go(to))
}

/// The certificate that a connection shows, and all that it has with a key. They are its own copies of
/// its context's references, so nobody changes them meanwhile. Which is the current one stays.
pub(super) fn held_certificates(
    ssl: Ssl<'_>,
) -> Result<(Reference<X509>, Vec<Reference<X509>>), Failed> {
    let libssl = ssl.libssl();
    let (get, ctrl) = (present(libssl.SSL_get_certificate)?, present(libssl.SSL_ctrl)?);
    // SAFETY: a valid connection.
    let current = || NonNull::new(unsafe { get(ssl.as_ptr()) });
    let shown = current().ok_or(Failed::Missing)?;
    let select = || {
        let shown = shown.as_ptr().cast();
        // SAFETY: a valid connection, and its certificate.
        unsafe { ctrl(ssl.as_ptr(), SSL_CTRL_SELECT_CURRENT_CERT, 0, shown) }
    };
    // One without a key could not be made the current one again.
    if select() != 1 {
        return Err(Failed::Refused);
    }
    let found = walk(libssl, |to| {
        // SAFETY: a valid connection; the command takes no pointer.
        let went = unsafe { ctrl(ssl.as_ptr(), SSL_CTRL_SET_CURRENT_CERT, to, ptr::null_mut()) };
        current().filter(|_| went == 1)
    });
    select();
    Ok((Reference::new(libssl, shown)?, found?))
}

fn walk(
    libssl: &'static Libssl,
    go: impl Fn(c_long) -> Option<NonNull<X509>>,
) -> Result<Vec<Reference<X509>>, Failed> {
    let mut found = Vec::new();
    let mut at = go(SSL_CERT_SET_FIRST);
    while let Some(certificate) = at.filter(|_| found.len() < MOST_CERTIFICATES) {
        push(&mut found, Reference::new(libssl, certificate)?)?;
        at = go(SSL_CERT_SET_NEXT);
    }
    Ok(found)
}

impl Ctx<'_> {
    /// The certificate it shows now.
    #[inline]
    pub(super) fn certificate(self) -> Option<NonNull<X509>> {
        // SAFETY: a valid context.
        NonNull::new(unsafe { self.libssl().SSL_CTX_get0_certificate?(self.as_ptr()) })
    }

    /// The key of the certificate it shows now, if it may show that raw. A connection that may, by
    /// SSL_set1_server_cert_type(3), is not seen.
    #[inline]
    pub(super) fn raw_key(self) -> Option<NonNull<EVP_PKEY>> {
        if !self.shows_raw_keys() {
            return None;
        }
        // SAFETY: a valid context.
        NonNull::new(unsafe { self.libssl().SSL_CTX_get0_privatekey?(self.as_ptr()) })
    }

    /// Whether it may show raw public keys instead of certificates.
    #[inline]
    pub(super) fn shows_raw_keys(self) -> bool {
        let Some(get) = self.libssl().SSL_CTX_get0_server_cert_type else { return false };
        let (mut kinds, mut count) = (ptr::null_mut(), 0);
        // SAFETY: a valid context, and places for its own list.
        if unsafe { get(self.as_ptr(), &raw mut kinds, &raw mut count) } != 1 || kinds.is_null() {
            return false;
        }
        // SAFETY: the context's list, which has that length.
        unsafe { std::slice::from_raw_parts(kinds, count) }.contains(&RAW_PUBLIC_KEY)
    }

    pub(super) fn is_quic_server(self) -> bool {
        let libssl = self.libssl();
        let (Some(method), Some(quic)) =
            (libssl.SSL_CTX_get_ssl_method, libssl.OSSL_QUIC_server_method)
        else {
            return false;
        };
        // SAFETY: a valid context.
        let method = unsafe { method(self.as_ptr()) };
        // SAFETY: takes nothing and returns a constant.
        ptr::eq(method, unsafe { quic() })
    }

    fn ctrl(self, command: c_int, larg: c_long, parg: *mut c_void) -> c_long {
        let ctx: *mut SSL_CTX = self.as_ptr();
        // SAFETY: a valid context, and what the command takes.
        unsafe { (self.libssl().SSL_CTX_ctrl)(ctx, command, larg, parg) }
    }
}

#[cfg(test)]
mod tests;
