//! What std cannot do: context switches, signals, a core of one's own, a fence.

use std::ffi::{c_int, c_long};

/// `struct rusage` of 64-bit Linux: two times of two words, then 14 words.
type Usage = [c_long; 18];
/// Where in it voluntary and involuntary context switches are.
const SWITCHES: usize = 16;
const RUSAGE_SELF: c_int = 0;

unsafe extern "C" {
    fn getrusage(who: c_int, usage: *mut Usage) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn sched_setaffinity(pid: c_int, size: usize, set: *const u64) -> c_int;
}

/// Voluntary and involuntary context switches of this process up to now.
pub fn switches() -> [i64; 2] {
    let mut usage: Usage = [0; 18];
    // SAFETY: a place as large as the struct that the kernel fills.
    unsafe { getrusage(RUSAGE_SELF, &raw mut usage) };
    [usage[SWITCHES], usage[SWITCHES + 1]]
}

/// Sends a signal to a child that nobody has waited for.
pub fn signal(child: u32, signal: c_int) {
    // SAFETY: the caller's own child.
    assert_eq!(unsafe { kill(child.cast_signed(), signal) }, 0);
}

/// Runs this process on these of the first 64 processors, as bits.
pub fn run_on(set: u64) {
    // SAFETY: a set of so many bytes, which is read.
    assert_eq!(unsafe { sched_setaffinity(0, size_of_val(&set), &raw const set) }, 0);
}

/// Called between two operations, as in bench.h: the first has ended before the second begins.
#[inline]
pub fn settle() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has it.
    unsafe {
        std::arch::x86_64::_mm_lfence();
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

/// SplitMix64's finaliser: every number another one that looks random.
pub fn mix(number: u64) -> u64 {
    let mut n = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    n = (n ^ n >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    n = (n ^ n >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ n >> 31
}
