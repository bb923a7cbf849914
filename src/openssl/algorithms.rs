//! The algorithms of our own cryptography, fetched once, and the library context they come from.
//!
//! The default library context is the program's. It may have no providers, only FIPS's, or a
//! configuration that fails to load. So the algorithms come from there only if libssl uses it, and if
//! it has them all. Else they come from a library context of our own. That has the default provider,
//! which is built into libcrypto, and reads no configuration. Making it costs 6 million instructions
//! (3.0), a third of a server's start.
//!
//! Both stay for the life of the process. OPENSSL_cleanup() leaves our own context, so that no thread
//! finds it gone. A failed attempt is not remembered. Random bytes come from elsewhere, see
//! `generator`. No locks of ours.

use super::failed::{Failed, present};
use super::table::Libssl;
use libc::{c_char, c_int, c_void};
use once_cell::sync::OnceCell;
use openssl_sys::{EVP_CIPHER, EVP_MD};
use std::ffi::CStr;
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The algorithms.
#[derive(Debug)]
pub(super) struct Algorithms {
    /// AES-256-ECB.
    pub blocks: Fetched<EVP_CIPHER>,
    /// AES-256-GCM.
    pub gcm: Fetched<EVP_CIPHER>,
    /// AES-256-CBC.
    pub cbc: Fetched<EVP_CIPHER>,
    /// SHA-256.
    pub sha256: Fetched<EVP_MD>,
    /// Where they come from, if it is not the default context; the last to be dropped.
    own: Option<LibraryContext>,
    /// A function of the libcrypto that they belong to.
    libcrypto: usize,
}

static ALGORITHMS: OnceCell<Algorithms> = OnceCell::new();

/// Whether libssl has made an SSL_CTX in the default library context. Until then a look into it would
/// change it: libcrypto loads the default provider there, if the program has loaded none.
static DEFAULT_IS_IN_USE: AtomicBool = AtomicBool::new(false);

/// libssl has made an SSL_CTX in this library context; NULL is the default one.
pub fn note_library_context(library_context: *mut c_void) {
    if library_context.is_null() {
        DEFAULT_IS_IN_USE.store(true, Relaxed);
    }
}

/// Whether there are algorithms. Without them no key of ours can be used.
///
/// # Errors
/// Why there are none.
pub fn probe(libssl: &'static Libssl) -> Result<(), Failed> {
    Algorithms::get(libssl).map(|_| ())
}

impl Algorithms {
    #[inline]
    pub(super) fn get(libssl: &'static Libssl) -> Result<&'static Algorithms, Failed> {
        let all = ALGORITHMS.get().map_or_else(|| Algorithms::fetch(libssl), Ok)?;
        // Two libcryptos do not understand each other's objects.
        let is_of_it = Algorithms::libcrypto(libssl) == all.libcrypto;
        if is_of_it { Ok(all) } else { Err(Failed::Refused) }
    }

    fn libcrypto(libssl: &'static Libssl) -> usize {
        libssl.EVP_CIPHER_fetch.map_or(0, |fetch| fetch as usize)
    }

    #[cold]
    fn fetch(libssl: &'static Libssl) -> Result<&'static Algorithms, Failed> {
        // Not inside the cell: another thread may wait for it with a lock that libcrypto wants, and a
        // child that is forked meanwhile would wait for ever.
        let of_default = || Algorithms::make(libssl, None).ok();
        let of_default = DEFAULT_IS_IN_USE.load(Relaxed).then(of_default).flatten();
        let made = match of_default {
            Some(made) => made,
            None => Algorithms::make(libssl, Some(LibraryContext::new(libssl)?))?,
        };
        Ok(ALGORITHMS.get_or_init(|| made))
    }

    fn make(libssl: &'static Libssl, own: Option<LibraryContext>) -> Result<Algorithms, Failed> {
        let context = address(own.as_ref());
        let ciphers = (libssl.EVP_CIPHER_fetch, libssl.EVP_CIPHER_free);
        Ok(Algorithms {
            blocks: Fetched::new(context, ciphers, c"AES-256-ECB")?,
            gcm: Fetched::new(context, ciphers, c"AES-256-GCM")?,
            cbc: Fetched::new(context, ciphers, c"AES-256-CBC")?,
            sha256: Fetched::new(context, (libssl.EVP_MD_fetch, libssl.EVP_MD_free), c"SHA256")?,
            own,
            libcrypto: Algorithms::libcrypto(libssl),
        })
    }

    /// The library context that the algorithms come from; NULL is the default one.
    pub(super) fn library_context(&self) -> *mut c_void {
        address(self.own.as_ref())
    }
}

/// The address of our own library context; NULL, which is the default one, if there is none.
fn address(own: Option<&LibraryContext>) -> *mut c_void {
    own.map_or(ptr::null_mut(), |own| own.context.as_ptr())
}

/// An `OSSL_LIB_CTX` with the default provider.
#[derive(Debug)]
struct LibraryContext {
    context: NonNull<c_void>,
    free: unsafe extern "C-unwind" fn(*mut c_void),
    provider: *mut c_void,
    unload: unsafe extern "C-unwind" fn(*mut c_void) -> c_int,
}

// SAFETY: libcrypto locks what changes in a library context and in a provider.
unsafe impl Send for LibraryContext {}
// SAFETY: as above.
unsafe impl Sync for LibraryContext {}

impl LibraryContext {
    fn new(libssl: &'static Libssl) -> Result<LibraryContext, Failed> {
        let (new, load) = (present(libssl.OSSL_LIB_CTX_new)?, present(libssl.OSSL_PROVIDER_load)?);
        // Whoever made one must be able to free it.
        let free = present(libssl.OSSL_LIB_CTX_free)?;
        let unload = present(libssl.OSSL_PROVIDER_unload)?;
        // SAFETY: takes nothing.
        let context = NonNull::new(unsafe { new() }).ok_or(Failed::NoMemory)?;
        let mut made = LibraryContext { context, free, provider: ptr::null_mut(), unload };
        // SAFETY: a library context and a C string.
        made.provider = unsafe { load(context.as_ptr(), c"default".as_ptr()) };
        if made.provider.is_null() { Err(Failed::NoProvider) } else { Ok(made) }
    }
}

impl Drop for LibraryContext {
    fn drop(&mut self) {
        if !self.provider.is_null() {
            // SAFETY: loaded in `new`; nothing that was fetched from it is left.
            unsafe { (self.unload)(self.provider) };
        }
        // SAFETY: made in `new`, which nobody else frees.
        unsafe { (self.free)(self.context.as_ptr()) };
    }
}

/// EVP_CIPHER_fetch(3) and its like.
type Fetch<T> = unsafe extern "C-unwind" fn(*mut c_void, *const c_char, *const c_char) -> *mut T;
type Free<T> = unsafe extern "C-unwind" fn(*mut T);

/// A reference to an algorithm of a provider.
pub(super) struct Fetched<T> {
    algorithm: NonNull<T>,
    free: Free<T>,
}

// SAFETY: a fetched algorithm is not changed but for its reference count, which is atomic.
unsafe impl<T> Send for Fetched<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Fetched<T> {}

impl<T> Fetched<T> {
    fn new(
        context: *mut c_void,
        (fetch, free): (Option<Fetch<T>>, Option<Free<T>>),
        name: &'static CStr,
    ) -> Result<Fetched<T>, Failed> {
        let (fetch, free) = (present(fetch)?, present(free)?);
        // SAFETY: a library context, a C string, no properties.
        let algorithm = unsafe { fetch(context, name.as_ptr(), ptr::null()) };
        let algorithm = NonNull::new(algorithm).ok_or(Failed::NoAlgorithm(name))?;
        Ok(Fetched { algorithm, free })
    }

    pub(super) fn as_ptr(&self) -> *mut T {
        self.algorithm.as_ptr()
    }
}

impl<T> fmt::Debug for Fetched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.algorithm.fmt(f)
    }
}

impl<T> Drop for Fetched<T> {
    fn drop(&mut self) {
        // SAFETY: the reference this value owns.
        unsafe { (self.free)(self.algorithm.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openssl::libssl::libssl_in_test;

    #[test]
    fn both_library_contexts_have_all() {
        let libssl = libssl_in_test();
        let of_default = Algorithms::make(libssl, None).unwrap();
        assert!(of_default.library_context().is_null());
        let own = LibraryContext::new(libssl).unwrap();
        let of_own = Algorithms::make(libssl, Some(own)).unwrap();
        assert!(!of_own.library_context().is_null());
        assert!(probe(libssl).is_ok());
    }

    #[test]
    fn each_cause_has_its_words() {
        let libssl = libssl_in_test();
        let ciphers = (libssl.EVP_CIPHER_fetch, libssl.EVP_CIPHER_free);
        let fetched = |ciphers| Fetched::new(ptr::null_mut(), ciphers, c"AES-512-GCM");
        let failed = fetched(ciphers).unwrap_err();
        assert_eq!(failed.to_string(), "libcrypto's default provider has no AES-512-GCM");
        let failed = fetched((None, ciphers.1)).unwrap_err();
        assert_eq!(failed.to_string(), "this OpenSSL lacks a function");
    }
}
