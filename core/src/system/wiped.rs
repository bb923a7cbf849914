//! A page of memory that a forked child finds all zero: MADV_WIPEONFORK of madvise(2).
//!
//! The kernel wipes it for every copy of the process that gets memory of its own: fork(2), clone(2)
//! without CLONE_VM, and their children. vfork(2) and threads share it, as they share all memory.

use libc::c_int;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

/// The words of a page.
pub const WORDS: usize = BYTES / size_of::<u64>();

const BYTES: usize = 4096;

/// No advice of any kernel.
const NO_ADVICE: c_int = -1;

/// The page. Its words are atomic, because the kernel is a writer that no lock of ours holds off.
#[derive(Debug)]
pub struct WipedPage(NonNull<[AtomicU64; WORDS]>);

// SAFETY: it owns its mapping, and its words are atomic.
unsafe impl Send for WipedPage {}
// SAFETY: as above.
unsafe impl Sync for WipedPage {}

impl WipedPage {
    /// A page of zeroes. `None` if the kernel gives none, or none that it wipes (Linux before 4.14).
    pub fn new() -> Option<WipedPage> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
        // SAFETY: a new mapping, of which nobody knows.
        let page = unsafe {
            libc::mmap(ptr::null_mut(), BYTES, access, kind | libc::MAP_ANONYMOUS, -1, 0)
        };
        if page == libc::MAP_FAILED {
            return None;
        }
        let page = WipedPage(NonNull::new(page.cast())?);
        (page.advise(libc::MADV_WIPEONFORK) && !page.advise(NO_ADVICE)).then_some(page)
    }

    /// Whether the kernel takes the advice. qemu's emulation takes any and follows none.
    fn advise(&self, advice: c_int) -> bool {
        // SAFETY: the mapping of this value; neither advice takes anything away from this process.
        unsafe { libc::madvise(self.0.as_ptr().cast(), BYTES, advice) == 0 }
    }

    /// Its words.
    #[inline]
    pub fn words(&self) -> &[AtomicU64; WORDS] {
        // SAFETY: the mapping of this value, which is there until it is dropped; zeroes are words.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for WipedPage {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, which is not used any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), BYTES) };
    }
}
