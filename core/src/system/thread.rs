//! The calling thread: cancellation and the signals of writes, held back for as long as a guard lives.

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

/// Lives while a callback of the application runs. On x86-64 and arm64 it is nothing: a thread that ends
/// in the callback is unwound through our frames. Elsewhere cancellation is held back, because the
/// unwinding would abort the process; a callback that jumps out leaves it so.
#[derive(Debug)]
pub struct DuringCallback {
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    _cancel: HoldCancel,
}

impl DuringCallback {
    /// Until dropped.
    #[inline]
    pub fn new() -> Self {
        DuringCallback {
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            _cancel: HoldCancel::new(),
        }
    }
}

impl Default for DuringCallback {
    fn default() -> Self {
        DuringCallback::new()
    }
}

/// The signals that a write can cause in its thread: a pipe that nobody reads, and a file that would
/// grow beyond RLIMIT_FSIZE.
const OF_WRITES: [c_int; 2] = [libc::SIGPIPE, libc::SIGXFSZ];

/// Blocks the signals that a write can cause in this thread while it lives, because the program's
/// action for them may be to end. Those that were caused meanwhile are taken away.
pub struct BlockWriteSignals {
    /// Those that were not blocked before.
    blocked: libc::sigset_t,
    before: libc::sigset_t,
}

impl BlockWriteSignals {
    /// Until dropped.
    pub fn new() -> Self {
        let signals = set_of(|_| true);
        let mut before = set_of(|_| false);
        // SAFETY: two sets of ours; the calling thread's own mask.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, &raw mut before) };
        // SAFETY: a set of ours.
        let was_open = |signal| unsafe { libc::sigismember(&raw const before, signal) } == 0;
        BlockWriteSignals { blocked: set_of(was_open), before }
    }
}

/// The signals of writes that `is_in` names.
fn set_of(is_in: impl Fn(c_int) -> bool) -> libc::sigset_t {
    // SAFETY: all zeroes is a set; sigemptyset makes it an empty one.
    let mut set: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: a set of ours.
    unsafe { libc::sigemptyset(&raw mut set) };
    for signal in OF_WRITES.into_iter().filter(|signal| is_in(*signal)) {
        // SAFETY: a set of ours.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    set
}

impl Default for BlockWriteSignals {
    fn default() -> Self {
        BlockWriteSignals::new()
    }
}

impl Drop for BlockWriteSignals {
    fn drop(&mut self) {
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        for _ in OF_WRITES {
            // SAFETY: takes away a signal that was caused meanwhile; it was not blocked before.
            unsafe {
                libc::sigtimedwait(&raw const self.blocked, ptr::null_mut(), &raw const at_once)
            };
        }
        // SAFETY: the mask of before.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut())
        };
    }
}
