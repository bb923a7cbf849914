//! Forked processes that are killed, stopped and waited for, and the memory they share.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{hint, ops};

/// A child of this process. It is killed when this is dropped, or when its parent dies.
pub(crate) struct Process {
    id: libc::pid_t,
    is_over: bool,
}

impl Process {
    /// Runs `body` in a child, which ends after it.
    pub(crate) fn run(body: impl FnOnce()) -> Process {
        // SAFETY: the child runs code of this test only, which takes no lock that another thread of
        // the parent might hold (malloc's are seen to by glibc), and ends by _exit.
        let id = unsafe { libc::fork() };
        assert!(id >= 0, "fork: {}", std::io::Error::last_os_error());
        if id == 0 {
            // SAFETY: sets the child's own state.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let status = if catch_unwind(AssertUnwindSafe(body)).is_ok() { 0 } else { 1 };
            // SAFETY: ends the child, without what the parent wants done at its own end.
            unsafe { libc::_exit(status) };
        }
        Process { id, is_over: false }
    }

    fn signal(&self, signal: i32) {
        // SAFETY: a child of ours that nobody has waited for.
        let sent = unsafe { libc::kill(self.id, signal) };
        assert_eq!(sent, 0, "kill: {}", std::io::Error::last_os_error());
    }

    /// The wait status, if there is one to be had.
    fn status(&mut self, flags: i32) -> Option<i32> {
        let mut status = 0;
        // SAFETY: a child of ours and a place for its status.
        let got = unsafe { libc::waitpid(self.id, &raw mut status, flags) };
        self.is_over |= got == self.id && !libc::WIFSTOPPED(status);
        (got == self.id).then_some(status)
    }

    /// Kills it in whatever it does.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Stops it; it has stopped when this returns.
    pub(crate) fn stop(&mut self) {
        self.signal(libc::SIGSTOP);
        let status = self.status(libc::WUNTRACED);
        assert!(
            status.is_some_and(|status| libc::WIFSTOPPED(status)),
            "it ended by itself: {status:?}"
        );
    }

    pub(crate) fn go_on(&self) {
        self.signal(libc::SIGCONT);
    }

    /// Waits for its end; whether that was a good one, and in time.
    pub(crate) fn ends_well(mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.status(libc::WNOHANG) {
                return libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
            }
            sleep(Duration::from_millis(1));
        }
        false
    }

    /// Kills it in whatever it does, unless it is over.
    pub(crate) fn end(&mut self) {
        if !self.is_over {
            self.signal(libc::SIGKILL);
            self.status(0);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// A type of value that may lie in shared memory.
///
/// # Safety
/// All zeroes must be a value of it, and all of it must be atomics.
pub(crate) unsafe trait Plain: Sync + 'static {}

/// A value that starts as zeroes and is shared with the children made after it.
pub(crate) struct Shared<T: Plain> {
    place: NonNull<T>,
    _value: PhantomData<T>,
}

impl<T: Plain> Shared<T> {
    pub(crate) fn new() -> Shared<T> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at a place the kernel chooses.
        let place = unsafe { libc::mmap(ptr::null_mut(), size_of::<T>(), access, flags, -1, 0) };
        assert_ne!(place, libc::MAP_FAILED);
        Shared { place: NonNull::new(place.cast()).unwrap(), _value: PhantomData }
    }
}

impl<T: Plain> ops::Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: mapped until dropped, on a page's boundary, and a value by what `Plain` demands.
        unsafe { self.place.as_ref() }
    }
}

impl<T: Plain> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`.
        unsafe { libc::munmap(self.place.as_ptr().cast(), size_of::<T>()) };
    }
}

/// Where processes wait for each other, at numbered points.
#[derive(Default)]
pub(crate) struct Gate(AtomicU32);

// SAFETY: one atomic.
unsafe impl Plain for Gate {}

impl Gate {
    /// Returns when all of `count` processes have come to point `number`, counted from 1.
    pub(crate) fn pass(&self, number: u32, count: u32) {
        self.0.fetch_add(1, SeqCst);
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.0.load(SeqCst) < number * count {
            assert!(Instant::now() < deadline, "the others do not come");
            hint::spin_loop();
            std::thread::yield_now();
        }
    }
}
