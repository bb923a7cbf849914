//! Our slots in OpenSSL's ex_data: one a context, one a connection or a session that needs it.
//!
//! A slot holds a value on the heap; OpenSSL's free function gives it back to us. Our indexes must
//! come before any the application takes, see `overlay::lifecycle`. No locks of ours.

use super::boxed;
use super::error_queue::KeepErrors;
use super::handle::{Ctx, SessionRef, Ssl};
use super::libssl::libssl;
use super::memory;
use super::table::Libssl;
use super::types::ExFree;
use libc::{c_int, c_long, c_void};
use once_cell::sync::OnceCell;
use openssl_sys::{CRYPTO_EX_DATA, CRYPTO_EX_dup, CRYPTO_EX_free};
use std::mem::transmute;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// `CRYPTO_EX_INDEX_SSL` (crypto.h of OpenSSL 1.1.0 and later).
pub const CLASS_SSL: c_int = 0;
/// `CRYPTO_EX_INDEX_SSL_CTX`.
pub const CLASS_SSL_CTX: c_int = 1;

/// `CRYPTO_EX_INDEX_SSL_SESSION`.
pub const CLASS_SSL_SESSION: c_int = 2;

/// An index, taken once.
#[derive(Debug, Default)]
pub struct Index {
    taken: OnceCell<c_int>,
    /// Whether a connection may have a number here: a look at a slot costs a call.
    has_numbers: AtomicBool,
}

impl Index {
    /// Not taken yet.
    pub const fn new() -> Self {
        Index { taken: OnceCell::new(), has_numbers: AtomicBool::new(false) }
    }

    /// The index, taken now if it was not; `None` without memory.
    pub fn take(
        &self,
        libssl: &'static Libssl,
        class: c_int,
        dup: Option<CRYPTO_EX_dup>,
        free: ExFree,
    ) -> Option<c_int> {
        // SAFETY: the same type, but that C's unwinding may pass through.
        let free = unsafe { transmute::<ExFree, CRYPTO_EX_free>(free) };
        let take = || {
            // SAFETY: known class; the functions have the types that libcrypto calls them by.
            let index = unsafe {
                (libssl.CRYPTO_get_ex_new_index)(class, 0, ptr::null_mut(), None, dup, Some(free))
            };
            // 0 belongs to SSL_set_app_data(3) and SSL_CTX_set_app_data(3).
            if index > 0 { Ok(index) } else { Err(()) }
        };
        self.taken.get_or_try_init(take).ok().copied()
    }

    /// As [`Index::take`], for slots of connections with numbers, of which nothing has to be freed.
    pub fn take_for_numbers(&self, libssl: &'static Libssl) -> Option<c_int> {
        self.take(libssl, CLASS_SSL, None, free_nothing)
    }

    /// The index, if it was taken.
    #[inline]
    pub fn get(&self) -> Option<c_int> {
        self.taken.get().copied()
    }

    /// The number that a connection has here; 0 if it has none.
    #[inline]
    pub fn number_of(&self, ssl: Ssl<'_>) -> u64 {
        let index = self.get().filter(|_| self.has_numbers.load(Relaxed));
        let number = index.and_then(|index| of_ssl::<c_void>(ssl, index));
        number.map_or(0, |number| number.addr().get() as u64)
    }

    /// Sets the number that a connection has here. Nothing is set without memory, in memory that other
    /// processes may use, or if the number is larger than a pointer. The error queue stays as it was.
    pub fn set_number_of(&self, ssl: Ssl<'_>, number: u64) {
        let libssl = ssl.libssl();
        if memory::may_be_shared(libssl) {
            return;
        }
        // A slot that has a number takes another without memory, and so it does not fail.
        let is_new = self.number_of(ssl) == 0;
        let _errors = is_new.then(|| KeepErrors::new(libssl));
        if let (Some(index), Ok(number)) = (self.take_for_numbers(libssl), usize::try_from(number))
        {
            // First: who is given the connection afterwards sees it, too.
            self.has_numbers.store(true, Relaxed);
            set_of_ssl(ssl, index, ptr::without_provenance_mut::<c_void>(number));
        }
    }
}

/// A value on the heap; `None` without memory.
pub fn try_box<T>(value: T) -> Option<NonNull<T>> {
    NonNull::new(Box::into_raw(boxed::try_new(value)?))
}

/// Frees a value that [`try_box`] made.
///
/// # Safety
/// `value` comes from [`try_box`] and is not used any more.
pub unsafe fn free_box<T>(value: NonNull<T>) {
    // SAFETY: made as a box, see `try_box`.
    drop(unsafe { Box::from_raw(value.as_ptr()) });
}

/// The value that a context holds under `index`.
#[inline]
pub fn of_ctx<T>(ctx: Ctx<'_>, index: c_int) -> Option<NonNull<T>> {
    // SAFETY: a valid context; any index may be asked for.
    NonNull::new(unsafe { (ctx.libssl().SSL_CTX_get_ex_data)(ctx.as_ptr(), index) }.cast())
}

/// The value under `index` in an object's data, which OpenSSL passes to a function of ours.
///
/// # Safety
/// `data` is an object's data, or NULL.
pub unsafe fn of_data<T>(data: *const CRYPTO_EX_DATA, index: c_int) -> Option<NonNull<T>> {
    let get = libssl()?.CRYPTO_get_ex_data.filter(|_| !data.is_null())?;
    // SAFETY: valid data; any index may be asked for.
    NonNull::new(unsafe { get(data, index) }.cast())
}

/// Sets the value that a context holds under `index`; false without memory.
pub fn set_of_ctx<T>(ctx: Ctx<'_>, index: c_int, value: *mut T) -> bool {
    // SAFETY: a valid context and an index of ours.
    unsafe { (ctx.libssl().SSL_CTX_set_ex_data)(ctx.as_ptr(), index, value.cast()) == 1 }
}

/// The value that a connection holds under `index`.
#[inline]
pub fn of_ssl<T>(ssl: Ssl<'_>, index: c_int) -> Option<NonNull<T>> {
    // SAFETY: a valid connection; any index may be asked for.
    NonNull::new(unsafe { (ssl.libssl().SSL_get_ex_data)(ssl.as_ptr(), index) }.cast())
}

/// Sets the value that a connection holds under `index`; false without memory.
pub fn set_of_ssl<T>(ssl: Ssl<'_>, index: c_int, value: *mut T) -> bool {
    // SAFETY: a valid connection and an index of ours.
    unsafe { (ssl.libssl().SSL_set_ex_data)(ssl.as_ptr(), index, value.cast()) == 1 }
}

/// A slot's free function where the slot has a number.
unsafe extern "C-unwind" fn free_nothing(
    _object: *mut c_void,
    _number: *mut c_void,
    _ad: *mut CRYPTO_EX_DATA,
    _index: c_int,
    _argl: c_long,
    _argp: *mut c_void,
) {
}

/// Sets the value that a session holds under `index`; false without memory.
pub fn set_of_session<T>(session: SessionRef<'_>, index: c_int, value: *mut T) -> bool {
    let Some(set) = session.libssl().SSL_SESSION_set_ex_data else { return false };
    // SAFETY: a valid session and an index of ours.
    unsafe { set(session.as_ptr(), index, value.cast()) == 1 }
}
