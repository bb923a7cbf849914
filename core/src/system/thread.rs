//! The calling thread: cancellation and SIGPIPE, held back for as long as a guard lives.

use libc::c_int;
use std::{mem, ptr};

/// `PTHREAD_CANCEL_DISABLE` (pthread.h).
const PTHREAD_CANCEL_DISABLE: c_int = 1;

unsafe extern "C" {
    // The libc crate lacks it.
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}

/// Keeps pthread_cancel(3) from ending the thread while we call functions of the C library in which
/// a thread can be cancelled: open(2), for example. std's frames around them do not let an unwinding
/// pass. It takes effect afterwards. Not around the application's callbacks, which may leave by a
/// jump.
#[derive(Debug)]
pub struct HoldCancel(c_int);

impl HoldCancel {
    /// Until dropped.
    pub fn new() -> Self {
        let mut before = 0;
        // SAFETY: sets the calling thread's own state and tells the one before.
        unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut before) };
        HoldCancel(before)
    }
}

impl Default for HoldCancel {
    fn default() -> Self {
        HoldCancel::new()
    }
}

impl Drop for HoldCancel {
    fn drop(&mut self) {
        // SAFETY: puts the calling thread's own state back.
        unsafe { pthread_setcancelstate(self.0, ptr::null_mut()) };
    }
}

/// Lives while a callback of the application runs. On x86-64 it is nothing: a thread that ends in the
/// callback is unwound through our frames. Elsewhere cancellation is held back, because the unwinding
/// would abort the process; a callback that jumps out leaves it so.
#[derive(Debug)]
pub struct DuringCallback {
    #[cfg(not(target_arch = "x86_64"))]
    _cancel: HoldCancel,
}

impl DuringCallback {
    /// Until dropped.
    #[inline]
    pub fn new() -> Self {
        DuringCallback {
            #[cfg(not(target_arch = "x86_64"))]
            _cancel: HoldCancel::new(),
        }
    }
}

impl Default for DuringCallback {
    fn default() -> Self {
        DuringCallback::new()
    }
}

/// Blocks SIGPIPE in this thread while it lives, because the program's action for that signal may
/// be to end. A SIGPIPE that was caused meanwhile is taken away.
pub struct BlockSigpipe {
    sigpipe: libc::sigset_t,
    before: libc::sigset_t,
}

impl BlockSigpipe {
    /// Until dropped.
    pub fn new() -> Self {
        // SAFETY: all zeroes is a set; sigemptyset makes it an empty one.
        let mut sigpipe: libc::sigset_t = unsafe { mem::zeroed() };
        // SAFETY: a set of ours.
        unsafe { libc::sigemptyset(&raw mut sigpipe) };
        // SAFETY: a set of ours.
        unsafe { libc::sigaddset(&raw mut sigpipe, libc::SIGPIPE) };
        // SAFETY: all zeroes is a set.
        let mut before: libc::sigset_t = unsafe { mem::zeroed() };
        // SAFETY: two sets of ours; the calling thread's own mask.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const sigpipe, &raw mut before) };
        BlockSigpipe { sigpipe, before }
    }
}

impl Default for BlockSigpipe {
    fn default() -> Self {
        BlockSigpipe::new()
    }
}

impl Drop for BlockSigpipe {
    fn drop(&mut self) {
        // SAFETY: a set of ours.
        if unsafe { libc::sigismember(&raw const self.before, libc::SIGPIPE) } != 0 {
            return;
        }
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: takes away a signal that was caused meanwhile; it was not blocked before.
        unsafe { libc::sigtimedwait(&raw const self.sigpipe, ptr::null_mut(), &raw const at_once) };
        // SAFETY: the mask of before.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut())
        };
    }
}
