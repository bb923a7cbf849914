//! What we ask the C library about the process we are in.

use std::ffi::CStr;
use std::{mem, ptr};

unsafe extern "C" {
    // The libc crate lacks it.
    fn secure_getenv(name: *const libc::c_char) -> *const libc::c_char;
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
