//! The process: its environment, its user, its processors, and random bytes from the kernel.

use std::ffi::CStr;
use std::mem;
use std::ptr;

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

/// Fills `out` from the system's generator; false if the system cannot.
pub fn random_bytes(out: &mut [u8]) -> bool {
    // SAFETY: that many bytes to write. Up to 256 bytes come at once.
    let got = unsafe { libc::getrandom(out.as_mut_ptr().cast(), out.len(), 0) };
    usize::try_from(got) == Ok(out.len())
}

/// The user this process acts as now.
pub fn effective_user() -> u32 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Whether this process acts in a group now.
pub fn is_in_group(group: u32) -> bool {
    // SAFETY: it takes nothing and cannot fail.
    if unsafe { libc::getegid() } == group {
        return true;
    }
    // SAFETY: with no room it writes nothing and returns their number.
    let count = unsafe { libc::getgroups(0, ptr::null_mut()) };
    let mut groups: Vec<libc::gid_t> = Vec::new();
    let length = usize::try_from(count).unwrap_or(0);
    if groups.try_reserve_exact(length).is_err() {
        return false;
    }
    groups.resize(length, 0);
    // SAFETY: room for so many, in case there are more by now it writes none.
    let got = unsafe { libc::getgroups(count, groups.as_mut_ptr()) };
    groups.truncate(usize::try_from(got).unwrap_or(0));
    groups.contains(&group)
}

/// The number of processors that this process may use. It takes a system call and no file, which a
/// chroot or a seccomp filter might not allow.
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
