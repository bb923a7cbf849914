//! The clock: seconds and milliseconds since 1970, both answered without a system call.

use std::ptr;

/// The time in seconds since 1970, as libssl takes it. Answered without a system call.
#[inline]
pub fn now() -> i64 {
    // SAFETY: time(2) may be given no place for its result.
    unsafe { libc::time(ptr::null_mut()) }
}

/// The time in milliseconds since 1970. Answered without a system call.
pub fn now_milliseconds() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place for the time.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}
