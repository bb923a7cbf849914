//! errno as the program left it, because our bookkeeping must not show there.

/// Puts errno back when dropped. It is dropped before a callback of the application runs, so that
/// the callback's errno stays.
#[derive(Debug)]
pub struct KeepErrno(libc::c_int);

impl KeepErrno {
    /// Remembers errno.
    #[inline]
    pub fn new() -> Self {
        // SAFETY: the calling thread's errno always exists.
        let location = unsafe { libc::__errno_location() };
        // SAFETY: see above; nobody else writes it.
        KeepErrno(unsafe { *location })
    }
}

impl Default for KeepErrno {
    fn default() -> Self {
        KeepErrno::new()
    }
}

impl Drop for KeepErrno {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the calling thread's errno always exists.
        let location = unsafe { libc::__errno_location() };
        // SAFETY: see above; nobody else writes it.
        unsafe { *location = self.0 };
    }
}
