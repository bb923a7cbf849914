//! The pointers that C callers pass to exported functions, borrowed as handles.
//!
//! The one place where the overlay relies on its callers: whoever calls an OpenSSL function passes
//! pointers that are NULL or valid for the length of the call, as the manual pages want and each
//! exported function's `# Safety` repeats. An [`Argument`] stands for that promise: C makes one by
//! calling, and Rust code makes one only by the unsafe [`Argument::from_c`]. So to borrow it is
//! safe.

use crate::context::IdContext;
use crate::openssl::handle::{Ctx, SessionRef, Ssl, session_id};
use crate::openssl::libssl::{libssl_of, libssl_of_session};
use crate::openssl::table::Libssl;
use libc::c_uint;
use openssl_sys::{SSL, SSL_CTX, SSL_SESSION};

/// A pointer that a C caller passed: to C just that pointer. NULL, or valid for the length of the
/// call.
#[repr(transparent)]
#[derive(Debug)]
pub struct Argument<P>(P);

impl<P: Copy> Argument<P> {
    /// The argument of an exported function that is in the header, where its type is C's own.
    ///
    /// # Safety
    /// `pointer` is NULL or valid for as long as the result lives.
    pub(super) unsafe fn from_c(pointer: P) -> Argument<P> {
        Argument(pointer)
    }

    /// The pointer itself, to be passed on.
    pub(super) fn as_ptr(&self) -> P {
        self.0
    }
}

impl Argument<*mut SSL_CTX> {
    /// The functions of the libssl that made the context, for NULL those of this process's libssl;
    /// `None` while no libssl is known.
    #[inline]
    pub(super) fn libssl(&self) -> Option<&'static Libssl> {
        // SAFETY: NULL or valid, see `Argument`.
        unsafe { libssl_of(self.0) }
    }

    /// The context; `None` for NULL, and while no libssl is known.
    #[inline]
    pub(super) fn ctx(&self) -> Option<Ctx<'_>> {
        // SAFETY: NULL or valid, see `Argument`.
        unsafe { Ctx::borrow(self.libssl()?, self.0) }
    }
}

impl Argument<*mut SSL> {
    /// The connection; `None` for NULL, and while no libssl is known.
    #[inline]
    pub(super) fn ssl(&self) -> Option<Ssl<'_>> {
        // SAFETY: NULL or valid, see `Argument`.
        let libssl = unsafe { libssl_of(self.0) }?;
        // SAFETY: as above.
        unsafe { Ssl::borrow(libssl, self.0) }
    }
}

impl Argument<*const SSL> {
    /// The connection, as above. OpenSSL's const only promises that the call does not change it.
    pub(super) fn ssl(&self) -> Option<Ssl<'_>> {
        // SAFETY: NULL or valid, see `Argument`.
        let libssl = unsafe { libssl_of(self.0) }?;
        // SAFETY: as above.
        unsafe { Ssl::borrow(libssl, self.0) }
    }
}

impl Argument<*mut SSL_SESSION> {
    /// The session; `None` for NULL. `libssl` made it.
    pub(super) fn session(&self, libssl: &'static Libssl) -> Option<SessionRef<'_>> {
        // SAFETY: NULL or valid, see `Argument`.
        unsafe { SessionRef::borrow(libssl, self.0) }
    }

    /// The session, of whichever libssl; `None` for NULL, and while none is known.
    pub(super) fn of_any_libssl(
        &self,
        caller: impl FnOnce() -> Option<usize>,
    ) -> Option<SessionRef<'_>> {
        // SAFETY: NULL or valid, see `Argument`.
        self.session(unsafe { libssl_of_session(self.0, caller) }?)
    }
}

impl Argument<*const u8> {
    /// The session id of `length` bytes; `None` if it cannot be one.
    ///
    /// # Safety
    /// `length` is the argument that C passed beside this one.
    pub(super) unsafe fn session_id(&self, length: usize) -> Option<&[u8]> {
        // SAFETY: NULL or that many bytes, see `Argument`.
        unsafe { session_id(self.0, length) }
    }

    /// The session id context of `length` bytes; `None` if it cannot be one.
    ///
    /// # Safety
    /// `length` is the argument that C passed beside this one.
    pub(super) unsafe fn id_context(&self, length: c_uint) -> Option<IdContext> {
        // SAFETY: the caller's promise. An id context may be as long as an id.
        IdContext::new(unsafe { self.session_id(length as usize) }?)
    }
}
