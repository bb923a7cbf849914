//! References to certificates, keys and trust stores, which OpenSSL counts.
//!
//! No locks.

use super::failed::{Failed, present, succeeded};
use super::libssl::libssl;
use super::table::Libssl;
use libc::c_int;
use openssl_sys::{EVP_PKEY, X509, X509_STORE};
use std::fmt;
use std::ptr::NonNull;

/// A reference that is held. As long as it is, no other object can be at its address.
pub(super) struct Reference<T: Counted>(NonNull<T>);

impl<T: Counted> fmt::Debug for Reference<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Two are equal if they are of one object.
impl<T: Counted> PartialEq for Reference<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Counted> Eq for Reference<T> {}

/// An object that OpenSSL counts references to.
pub(super) trait Counted {
    /// Takes a reference: returns 1.
    fn up_ref(libssl: &'static Libssl) -> Option<unsafe extern "C-unwind" fn(*mut Self) -> c_int>;
    /// Gives one back.
    fn free(libssl: &'static Libssl) -> Option<unsafe extern "C-unwind" fn(*mut Self)>;
}

impl Counted for X509 {
    fn up_ref(libssl: &'static Libssl) -> Option<unsafe extern "C-unwind" fn(*mut X509) -> c_int> {
        libssl.X509_up_ref
    }

    fn free(libssl: &'static Libssl) -> Option<unsafe extern "C-unwind" fn(*mut X509)> {
        libssl.X509_free
    }
}

impl Counted for X509_STORE {
    fn up_ref(
        libssl: &'static Libssl,
    ) -> Option<unsafe extern "C-unwind" fn(*mut X509_STORE) -> c_int> {
        libssl.X509_STORE_up_ref
    }

    fn free(libssl: &'static Libssl) -> Option<unsafe extern "C-unwind" fn(*mut X509_STORE)> {
        libssl.X509_STORE_free
    }
}

impl Counted for EVP_PKEY {
    fn up_ref(
        libssl: &'static Libssl,
    ) -> Option<unsafe extern "C-unwind" fn(*mut EVP_PKEY) -> c_int> {
        libssl.EVP_PKEY_up_ref
    }

    fn free(libssl: &'static Libssl) -> Option<unsafe extern "C-unwind" fn(*mut EVP_PKEY)> {
        libssl.EVP_PKEY_free
    }
}

// SAFETY: the reference counts are atomic, and we change nothing else.
unsafe impl<T: Counted> Send for Reference<T> {}
// SAFETY: as above.
unsafe impl<T: Counted> Sync for Reference<T> {}

impl<T: Counted> Reference<T> {
    /// Takes a reference to a valid object.
    pub(super) fn new(libssl: &'static Libssl, object: NonNull<T>) -> Result<Self, Failed> {
        // Whoever takes one must be able to give it back.
        present(T::free(libssl))?;
        // SAFETY: a valid object of the context or connection we were called with, or one to which
        // a reference is held.
        succeeded(unsafe { present(T::up_ref(libssl))?(object.as_ptr()) })?;
        Ok(Reference(object))
    }

    /// Takes over a reference to an object that was just made.
    pub(super) fn take_over(object: NonNull<T>) -> Self {
        Reference(object)
    }

    /// Another reference to it.
    pub(super) fn another(&self) -> Option<Self> {
        Reference::new(libssl()?, self.0).ok()
    }

    /// The object.
    pub(super) fn address(&self) -> NonNull<T> {
        self.0
    }

    /// The pointer, to be passed on.
    pub(super) fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T: Counted> Drop for Reference<T> {
    fn drop(&mut self) {
        if let Some(free) = libssl().and_then(T::free) {
            // SAFETY: the reference this value owns.
            unsafe { free(self.0.as_ptr()) };
        }
    }
}
