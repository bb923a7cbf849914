//! What we ask the C library about the process we are in.

use libc::c_int;
use std::ffi::CStr;
use std::{mem, ptr};

/// `PTHREAD_CANCEL_DISABLE` (pthread.h).
const PTHREAD_CANCEL_DISABLE: c_int = 1;

unsafe extern "C" {
    // The libc crate lacks these.
    fn secure_getenv(name: *const libc::c_char) -> *const libc::c_char;
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}

/// An environment variable's value; `None` if unset, not UTF-8, or in a set-user-ID program.
pub fn environment_variable(name: &CStr) -> Option<String> {
    // SAFETY: a valid C string; called while the library is loaded, before threads change the
    // environment.
    let value = unsafe { self::secure_getenv(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: getenv returns a C string; it is copied at once.
    unsafe { CStr::from_ptr(value) }.to_str().ok().map(str::to_owned)
}

/// Keeps pthread_cancel(3) from ending the thread while a callback of the application runs under
/// our frames, which it could not unwind: the process would be ended. It takes effect afterwards.
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

/// Runs `body`, which may write to a pipe, with SIGPIPE held back: the program's way with that
/// signal may be to end.
pub fn without_sigpipe<T>(body: impl FnOnce() -> T) -> T {
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
    let result = body();
    // SAFETY: a set of ours.
    if unsafe { libc::sigismember(&raw const before, libc::SIGPIPE) } == 0 {
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: takes away the signal that `body` may have caused; it was not blocked before.
        unsafe { libc::sigtimedwait(&raw const sigpipe, ptr::null_mut(), &raw const at_once) };
        // SAFETY: the mask of before.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
    }
    result
}

/// The time in seconds since 1970, as libssl takes it. Answered without a system call.
#[inline]
pub fn now() -> i64 {
    // SAFETY: time(2) may be given no place for its result.
    unsafe { libc::time(ptr::null_mut()) }
}

/// How many processors this process may use: one system call and no file, which a chroot or a
/// seccomp filter might not allow.
pub fn cpus() -> usize {
    // SAFETY: all zeroes is an empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: a set of the size that is named.
    let got = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    if got != 0 {
        return 1;
    }
    // SAFETY: a set that the kernel filled.
    let count = unsafe { libc::CPU_COUNT(&set) };
    usize::try_from(count).unwrap_or(1).max(1)
}
