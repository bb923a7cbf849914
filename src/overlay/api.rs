//! Our own functions.

use super::guard::guard;
use super::{hooks, state};
use crate::openssl::handle::Ctx;
use crate::openssl::next::next;
use libc::{c_char, c_int};
use openssl_sys::SSL_CTX;
use std::ffi::CStr;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"unknown",
    };

/// Returns the version of the library, such as "0.1.0".
///
/// The string is constant and must not be freed. Any thread may call it at any time. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn sesscache_version() -> *const c_char {
    VERSION.as_ptr()
}

/// Returns 1 if the session cache of `ctx` is sesscache's, 0 if it is OpenSSL's own: the context
/// was made before the library was loaded or when there was no memory, the OpenSSL is not a
/// supported one, or `ctx` is NULL.
///
/// Any thread may call it at any time. Since 0.1.
///
/// # Safety
/// `ctx` must be NULL or a valid context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sesscache_is_active(ctx: *const SSL_CTX) -> c_int {
    guard(0, || {
        let Some(next) = next() else { return 0 };
        // SAFETY: the caller's promise.
        let Some(ctx) = (unsafe { Ctx::borrow(ctx) }) else { return 0 };
        (state(next, ctx).is_some() && hooks::are_registered(next, ctx)).into()
    })
}
