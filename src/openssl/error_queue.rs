//! OpenSSL's error queue as the program left it: what fails in here must not show there.

use super::next::Next;
use libc::{c_char, c_int};
use std::ffi::CString;
use std::mem::transmute;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// `ERR_R_PASSED_INVALID_ARGUMENT`, a reason that every library may give.
const PASSED_INVALID_ARGUMENT: c_int = 262 | 1 << 19;

/// Our number among libcrypto's libraries; 0 while there is none.
static LIBRARY: AtomicI32 = AtomicI32::new(0);

/// Puts an error with this text into the calling thread's queue: of our own functions only.
pub fn put(next: &Next, text: &str) {
    type SetError = unsafe extern "C" fn(c_int, c_int, *const c_char, ...);
    let (Some(new), Some(set)) = (next.ERR_new, next.ERR_set_error) else { return };
    let (Some(next_library), Ok(text)) = (next.ERR_get_next_error_library, CString::new(text))
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

/// Takes away what was put into the calling thread's error queue since, when dropped.
#[derive(Debug)]
pub struct KeepErrors<'a>(&'a Next);

impl<'a> KeepErrors<'a> {
    /// Marks where the queue ends.
    #[inline]
    pub fn new(next: &'a Next) -> Self {
        // SAFETY: takes nothing. In an empty queue no mark can be set; then all is taken away
        // later, which is as good.
        unsafe { (next.ERR_set_mark)() };
        KeepErrors(next)
    }
}

impl Drop for KeepErrors<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: takes nothing; the mark is the one set above.
        unsafe { (self.0.ERR_pop_to_mark)() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openssl::next::{next_in_test, object_of};
    use libc::c_ulong;
    use std::mem::transmute;
    use std::ptr;

    /// The error that this thread got last, 0 for none.
    fn last(next: &Next) -> c_ulong {
        let (_, libcrypto) = object_of(next.ERR_set_mark as usize).unwrap();
        // SAFETY: the path of a library that is in the process.
        let handle = unsafe { libc::dlopen(libcrypto.as_ptr(), libc::RTLD_NOW) };
        // SAFETY: a handle, and a C string.
        let found = unsafe { libc::dlsym(handle, c"ERR_peek_last_error".as_ptr()) };
        assert!(!found.is_null());
        // SAFETY: unsigned long ERR_peek_last_error(void).
        let peek: unsafe extern "C" fn() -> c_ulong = unsafe { transmute(found) };
        // SAFETY: takes nothing.
        unsafe { peek() }
    }

    /// Asks for a cipher that there is not.
    fn fail(next: &Next) {
        let (fetch, name) = (next.EVP_CIPHER_fetch.unwrap(), c"NO-SUCH-CIPHER".as_ptr());
        // SAFETY: the default library context, a C string, no properties.
        assert!(unsafe { fetch(ptr::null_mut(), name, ptr::null()) }.is_null());
    }

    /// Finishes an encryption that was not begun.
    fn fail_otherwise(next: &Next) {
        // SAFETY: takes nothing.
        let ctx = unsafe { next.EVP_CIPHER_CTX_new.unwrap()() };
        let (mut out, mut length) = ([0; 32], 0);
        let finish = next.EVP_EncryptFinal_ex.unwrap();
        // SAFETY: a context without a cipher, which is refused, and room for a block.
        assert_eq!(unsafe { finish(ctx, out.as_mut_ptr(), &raw mut length) }, 0);
        // SAFETY: made above.
        unsafe { next.EVP_CIPHER_CTX_free.unwrap()(ctx) };
    }

    #[test]
    fn what_was_in_the_queue_stays_and_ours_goes() {
        let next = next_in_test();
        let errors = KeepErrors::new(next);
        fail(next);
        assert_ne!(last(next), 0);
        drop(errors);
        assert_eq!(last(next), 0);
        fail_otherwise(next);
        let before = last(next);
        let errors = KeepErrors::new(next);
        fail(next);
        assert_ne!(last(next), before);
        drop(errors);
        assert_eq!(last(next), before);
    }
}
