//! What we ask the C library about the process we are in.

use libc::c_int;
use std::ffi::CStr;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::thread::sleep;
use std::time::Duration;
use std::{io, mem, ptr};

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
/// our frames: that it could be unwound through them, and that they are cleaned up, Rust does not
/// promise. It takes effect afterwards.
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

/// Fills `out` from the system's generator; false if it cannot.
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

/// The time in milliseconds since 1970. Answered without a system call.
pub fn now_milliseconds() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place for the time.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

/// Whether a file is on a file system that other machines write to as well.
pub fn is_network_filesystem(file: &File) -> bool {
    // linux/magic.h; the libc crate has not all of them.
    const NFS: u32 = 0x6969;
    const CIFS: u32 = 0xFF53_4D42;
    const SMB2: u32 = 0xFE53_4D42;
    const CEPH: u32 = 0x00C3_6400;
    let mut about = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: an open descriptor and a place for what is asked.
    if unsafe { libc::fstatfs(file.as_raw_fd(), about.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: filled, see above.
    let kind = unsafe { about.assume_init() }.f_type;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "32-bit magic")]
    let kind = kind as u32;
    matches!(kind, NFS | CIFS | SMB2 | CEPH)
}

/// Gives a new file its size, with the room on the disk that it needs.
///
/// # Errors
/// As posix_fallocate(3).
pub fn reserve(file: &File, size: usize) -> io::Result<()> {
    let size = libc::off_t::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: an open descriptor.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, size) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Takes the file's lock, which goes with its descriptor; false if others keep it for a second.
pub fn try_exclusive_lock(file: &File) -> bool {
    const TRIES: u32 = 100;
    (0..TRIES).any(|_| {
        // SAFETY: an open descriptor.
        let taken = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0;
        if !taken {
            sleep(Duration::from_millis(10));
        }
        taken
    })
}

/// An address in the program itself, where it begins.
pub fn program_entry() -> usize {
    // SAFETY: asks the kernel's list for one of its entries.
    usize::try_from(unsafe { libc::getauxval(libc::AT_ENTRY) }).unwrap_or(0)
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
