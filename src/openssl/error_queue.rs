//! OpenSSL's error queue, kept as the program left it: our failures must not show there.

use super::table::Libssl;
use libc::{c_char, c_int};
use std::ffi::CString;
use std::mem::transmute;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// `ERR_R_PASSED_INVALID_ARGUMENT`, a reason that every library may give.
const PASSED_INVALID_ARGUMENT: c_int = 262 | 1 << 19;

/// Our number among libcrypto's libraries; 0 while there is none.
static LIBRARY: AtomicI32 = AtomicI32::new(0);

/// Puts an error with this text into the calling thread's queue: of our own functions only.
pub fn put(libssl: &'static Libssl, text: &str) {
    type SetError = unsafe extern "C-unwind" fn(c_int, c_int, *const c_char, ...);
    let (Some(new), Some(set)) = (libssl.ERR_new, libssl.ERR_set_error) else { return };
    let (Some(next_library), Ok(text)) = (libssl.ERR_get_next_error_library, CString::new(text))
    else {
        return;
    };
    if LIBRARY.load(Relaxed) == 0 {
        // SAFETY: takes nothing.
        LIBRARY.store(unsafe { next_library() }, Relaxed);
    }
    // SAFETY: void ERR_set_error(int lib, int reason, const char *fmt, ...) since OpenSSL 3.0.
    let set: SetError = unsafe { transmute(set) };
    // SAFETY: takes nothing.
    unsafe { new() };
    // SAFETY: a format and its one argument.
    unsafe { set(LIBRARY.load(Relaxed), PASSED_INVALID_ARGUMENT, c"%s".as_ptr(), text.as_ptr()) };
}

/// Takes away the errors that came into the calling thread's queue since, when dropped.
#[derive(Debug)]
pub struct KeepErrors(&'static Libssl);

impl KeepErrors {
    /// Marks where the queue ends.
    #[inline]
    pub fn new(libssl: &'static Libssl) -> Self {
        // SAFETY: takes nothing. In an empty queue no mark can be set; then all is taken away
        // later, which is as good.
        unsafe { (libssl.ERR_set_mark)() };
        KeepErrors(libssl)
    }
}

impl Drop for KeepErrors {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: takes nothing; the mark is the one set above.
        unsafe { (self.0.ERR_pop_to_mark)() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openssl::library::object_of;
    use crate::openssl::libssl::libssl_in_test;
    use libc::c_ulong;
    use std::mem::transmute;
    use std::ptr;

    /// The error that this thread got last, 0 for none.
    fn last(libssl: &'static Libssl) -> c_ulong {
        let (_, libcrypto) = object_of(libssl.ERR_set_mark as usize).unwrap();
        // SAFETY: the path of a library that is in the process.
        let handle = unsafe { libc::dlopen(libcrypto.as_ptr(), libc::RTLD_NOW) };
        // SAFETY: a handle, and a C string.
        let found = unsafe { libc::dlsym(handle, c"ERR_peek_last_error".as_ptr()) };
        assert!(!found.is_null());
        // SAFETY: unsigned long ERR_peek_last_error(void).
        let peek: unsafe extern "C-unwind" fn() -> c_ulong = unsafe { transmute(found) };
        // SAFETY: takes nothing.
        unsafe { peek() }
    }

    /// Asks for a cipher that there is not.
    fn fail(libssl: &'static Libssl) {
        let (fetch, name) = (libssl.EVP_CIPHER_fetch.unwrap(), c"NO-SUCH-CIPHER".as_ptr());
        // SAFETY: the default library context, a C string, no properties.
        assert!(unsafe { fetch(ptr::null_mut(), name, ptr::null()) }.is_null());
    }

    /// Finishes an encryption that was not begun.
    fn fail_otherwise(libssl: &'static Libssl) {
        // SAFETY: takes nothing.
        let ctx = unsafe { libssl.EVP_CIPHER_CTX_new.unwrap()() };
        let (mut out, mut length) = ([0; 32], 0);
        let finish = libssl.EVP_EncryptFinal_ex.unwrap();
        // SAFETY: a context without a cipher, which is refused, and room for a block.
        assert_eq!(unsafe { finish(ctx, out.as_mut_ptr(), &raw mut length) }, 0);
        // SAFETY: made above.
        unsafe { libssl.EVP_CIPHER_CTX_free.unwrap()(ctx) };
    }

    #[test]
    fn what_was_in_the_queue_stays_and_ours_goes() {
        let libssl = libssl_in_test();
        let errors = KeepErrors::new(libssl);
        fail(libssl);
        assert_ne!(last(libssl), 0);
        drop(errors);
        assert_eq!(last(libssl), 0);
        fail_otherwise(libssl);
        let before = last(libssl);
        let errors = KeepErrors::new(libssl);
        fail(libssl);
        assert_ne!(last(libssl), before);
        drop(errors);
        assert_eq!(last(libssl), before);
    }
}
