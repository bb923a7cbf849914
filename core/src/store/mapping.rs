//! The mapped memory itself: bytes, atomic words and locks at offsets, all bounds checked.
//!
//! The single unsafe corner of the store. Other processes change the memory at any time, so no
//! reference to plain bytes is ever made. Bytes are copied in and out through raw pointers; words
//! are atomics. Layout and meaning of the bytes are not known here.
//!
//! Locks: a process-shared robust mutex at an offset. If a process dies with it, the next one gets
//! it and is told. No two are ever held at once.

use libc::{c_int, pthread_mutex_t, pthread_mutexattr_t};
use std::fs::File;
use std::hint::spin_loop;
use std::io;
use std::mem::{MaybeUninit, align_of, size_of};
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

/// Bytes that a lock takes.
pub(super) const LOCK_BYTES: usize = size_of::<pthread_mutex_t>();

/// The most tries for a lock before the kernel is asked to wake us.
const SPINS: u32 = 64;

/// The offset of a mutex's kind in glibc, on 64-bit machines.
const KIND_OFFSET: usize = 16;

unsafe extern "C" {
    // glibc 2.30; the libc crate lacks it.
    fn pthread_mutex_clocklock(
        mutex: *mut pthread_mutex_t,
        clock: libc::clockid_t,
        deadline: *const libc::timespec,
    ) -> c_int;
}

/// Memory that is shared with other processes, mapped for as long as the value lives.
#[derive(Debug)]
pub(super) struct Mapping {
    base: NonNull<u8>,
    length: usize,
    /// The kind word of a lock as [`Mapping::init_lock`] makes it.
    lock_kind: u32,
}

// SAFETY: the memory stays mapped until the value is dropped, and every access is by copying or
// atomic, as for memory that other processes change.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// Bytes that are not all inside the mapping, or a word that is not aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outside;

/// How an attempt to take a lock ended.
#[derive(Debug)]
pub(super) enum Lock<'a> {
    /// Held until the guard is dropped.
    Held(Guard<'a>),
    /// Held, and the holder before died: its change is half done.
    Inherited(Guard<'a>),
    /// Another thread or process holds it.
    Busy,
    /// The memory does not hold a lock.
    Broken,
}

/// A lock that is held.
#[derive(Debug)]
pub(super) struct Guard<'a> {
    mutex: *mut pthread_mutex_t,
    _mapping: &'a Mapping,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // SAFETY: a lock that this thread holds, in memory that the guard keeps mapped.
        unsafe { libc::pthread_mutex_unlock(self.mutex) };
    }
}

impl Mapping {
    /// Memory that is shared with the processes this one forks. It is all zeroes.
    pub(super) fn anonymous(length: usize) -> io::Result<Mapping> {
        Mapping::map(length, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1)
    }

    /// The first `length` bytes of a file, which must have them: an access past its end is a fault.
    pub(super) fn of_file(file: &File, length: usize) -> io::Result<Mapping> {
        Mapping::map(length, libc::MAP_SHARED, file.as_raw_fd())
    }

    fn map(length: usize, flags: c_int, fd: c_int) -> io::Result<Mapping> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place the kernel chooses.
        let base = unsafe { libc::mmap(ptr::null_mut(), length, access, flags, fd, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping made above. Core dumps need not hold other processes' sessions.
        unsafe { libc::madvise(base, length, libc::MADV_DONTDUMP) };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mut mapping = Mapping { base, length, lock_kind: 0 };
        mapping.lock_kind = kind_of(&new_mutex()?);
        Ok(mapping)
    }

    /// Puts empty memory in place of what is mapped, which the kernel may then free. The addresses
    /// stay good. If it cannot be done, all stays as it is.
    pub(super) fn let_go(&self) {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let base = self.base.as_ptr().cast();
        // SAFETY: exactly the mapping that `map` made. To its users it changes as if another process
        // wrote zeroes, which they must expect at any moment.
        unsafe { libc::mmap(base, self.length, access, flags, -1, 0) };
        // SAFETY: as above. A late user may write here what was for the store.
        unsafe { libc::madvise(base, self.length, libc::MADV_DONTDUMP) };
    }

    /// Gives every page its memory, or its place on the disk. If there is none, that is an error here and
    /// no fault later. The bytes stay, and the pages do not count as this process's.
    pub(super) fn populate(&self) -> io::Result<()> {
        const CHUNK: usize = 1 << 20;
        for offset in (0..self.length).step_by(CHUNK) {
            let length = CHUNK.min(self.length - offset);
            let place =
                self.place(offset, length).map_err(|Outside| io::ErrorKind::InvalidInput)?;
            // SAFETY: inside the mapping, whose bytes this does not change.
            if unsafe { libc::madvise(place.cast(), length, libc::MADV_POPULATE_WRITE) } != 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: as above: the pages of a shared mapping stay with the file.
            unsafe { libc::madvise(place.cast(), length, libc::MADV_DONTNEED) };
        }
        Ok(())
    }

    /// The address of `length` bytes at `offset`.
    #[inline]
    fn place(&self, offset: usize, length: usize) -> Result<*mut u8, Outside> {
        let inside = offset.checked_add(length).is_some_and(|end| end <= self.length);
        // SAFETY: inside the mapping, by the line above.
        inside.then(|| unsafe { self.base.as_ptr().add(offset) }).ok_or(Outside)
    }

    /// As [`Mapping::place`], for values of type `T`.
    #[inline]
    fn aligned<T>(&self, offset: usize, length: usize) -> Result<*mut T, Outside> {
        let place = self.place(offset, length)?;
        // A mapping starts on a page.
        offset.is_multiple_of(align_of::<T>()).then(|| place.cast()).ok_or(Outside)
    }

    /// The word at `offset`.
    #[inline]
    pub(super) fn word(&self, offset: usize) -> Result<&AtomicU64, Outside> {
        let place = self.aligned(offset, size_of::<AtomicU64>())?;
        // SAFETY: inside and aligned, and only ever used as an atomic or copied under the lock of
        // its shard.
        Ok(unsafe { AtomicU64::from_ptr(place) })
    }

    /// `count` words in a row, as [`Mapping::word`].
    #[inline]
    pub(super) fn words(&self, offset: usize, count: usize) -> Result<&[AtomicU64], Outside> {
        let length = count.checked_mul(size_of::<AtomicU64>()).ok_or(Outside)?;
        let place = self.aligned::<AtomicU64>(offset, length)?;
        // SAFETY: as for `word`, for all of them.
        Ok(unsafe { std::slice::from_raw_parts(place, count) })
    }

    /// The half word at `offset`, as [`Mapping::word`].
    #[inline]
    pub(super) fn half_word(&self, offset: usize) -> Result<&AtomicU32, Outside> {
        let place = self.aligned(offset, size_of::<AtomicU32>())?;
        // SAFETY: as for `word`.
        Ok(unsafe { AtomicU32::from_ptr(place) })
    }

    /// Copies bytes out.
    #[inline]
    pub(super) fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), Outside> {
        let place = self.place(offset, into.len())?;
        // SAFETY: inside the mapping, which no Rust value overlaps.
        unsafe { ptr::copy_nonoverlapping(place, into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    /// Appends bytes to `into`, which must have room for them.
    #[inline]
    pub(super) fn append_to(
        &self,
        offset: usize,
        length: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), Outside> {
        let place = self.place(offset, length)?;
        let room = into.spare_capacity_mut().get_mut(..length).ok_or(Outside)?;
        // SAFETY: both sides have `length` bytes; no Rust value overlaps the mapping.
        unsafe { ptr::copy_nonoverlapping(place, room.as_mut_ptr().cast(), length) };
        // SAFETY: the bytes up to there were written above.
        unsafe { into.set_len(into.len() + length) };
        Ok(())
    }

    /// Copies bytes in.
    #[inline]
    pub(super) fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Outside> {
        let place = self.place(offset, bytes.len())?;
        // SAFETY: inside the mapping, which no Rust value overlaps.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        Ok(())
    }

    /// Overwrites bytes with zeroes.
    pub(super) fn wipe(&self, offset: usize, length: usize) -> Result<(), Outside> {
        let place = self.place(offset, length)?;
        // SAFETY: inside the mapping, which no Rust value overlaps.
        unsafe { ptr::write_bytes(place, 0, length) };
        Ok(())
    }

    /// Makes a lock at `offset`, where no lock may be in use.
    pub(super) fn init_lock(&self, offset: usize) -> io::Result<()> {
        let place = self.mutex(offset).map_err(|Outside| io::ErrorKind::InvalidInput)?;
        let fresh = new_mutex()?;
        // SAFETY: inside and aligned; a fresh mutex that nobody has used may be moved.
        unsafe { ptr::write(place, fresh) };
        Ok(())
    }

    fn mutex(&self, offset: usize) -> Result<*mut pthread_mutex_t, Outside> {
        self.aligned(offset, LOCK_BYTES)
    }

    /// Takes the lock at `offset`; waits `patience` at most, if any is given.
    #[inline]
    pub(super) fn lock(&self, offset: usize, patience: Option<Duration>) -> Lock<'_> {
        let Ok(mutex) = self.mutex(offset) else { return Lock::Broken };
        // glibc stops the process over a mutex of an unknown kind, which a damaged file must not
        // do.
        let Ok(kind) = self.half_word(offset + KIND_OFFSET) else { return Lock::Broken };
        if cfg!(target_pointer_width = "64") && kind.load(Relaxed) != self.lock_kind {
            return Lock::Broken;
        }
        // SAFETY: a mutex of ours, see above, in memory that stays mapped while `self` lives.
        let attempt = || unsafe { libc::pthread_mutex_trylock(mutex) };
        let mut result = attempt();
        // The holder needs the length of a copy, and sleeping takes longer than that.
        for _ in 0..SPINS {
            if result != libc::EBUSY {
                break;
            }
            spin_loop();
            result = attempt();
        }
        if result == libc::EBUSY
            && let Some(patience) = patience
        {
            let deadline = after(patience);
            // SAFETY: as above, and a time that is ours.
            result = unsafe {
                pthread_mutex_clocklock(mutex, libc::CLOCK_MONOTONIC, &raw const deadline)
            };
        }
        let guard = |mutex| Guard { mutex, _mapping: self };
        match result {
            0 => Lock::Held(guard(mutex)),
            libc::EOWNERDEAD => {
                // SAFETY: this thread holds the mutex, whose last owner died.
                unsafe { libc::pthread_mutex_consistent(mutex) };
                Lock::Inherited(guard(mutex))
            }
            libc::EBUSY | libc::ETIMEDOUT => Lock::Busy,
            _ => Lock::Broken,
        }
    }
}

/// Waiting for a word to change, and waking the waiting threads.
impl Mapping {
    /// Waits while the half word at `offset` is `value`, until [`Mapping::wake`] or until
    /// `patience` is over.
    pub(super) fn wait(&self, offset: usize, value: u32, patience: Duration) {
        let Ok(word) = self.half_word(offset) else { return };
        let seconds = libc::time_t::try_from(patience.as_secs()).unwrap_or(1);
        let patience =
            libc::timespec { tv_sec: seconds, tv_nsec: i64::from(patience.subsec_nanos()) };
        // SAFETY: a word of the mapping, which processes share, and a time of ours.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT,
                value,
                &raw const patience,
            )
        };
    }

    /// Wakes every thread that waits at `offset`.
    pub(super) fn wake(&self, offset: usize) {
        let Ok(word) = self.half_word(offset) else { return };
        // SAFETY: a word of the mapping.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping made by `map`; nothing refers to it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

/// A moment on the clock that cannot be set.
fn after(patience: Duration) -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place for the time.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_nsec += i64::from(patience.subsec_nanos());
    now.tv_sec += i64::try_from(patience.as_secs()).unwrap_or(0) + now.tv_nsec / 1_000_000_000;
    now.tv_nsec %= 1_000_000_000;
    now
}

/// A mutex for several processes that tells if its owner died.
fn new_mutex() -> io::Result<pthread_mutex_t> {
    let mut attributes = MaybeUninit::<pthread_mutexattr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    let mut mutex = MaybeUninit::<pthread_mutex_t>::zeroed();
    // SAFETY: a place for attributes.
    done(unsafe { libc::pthread_mutexattr_init(attributes) })?;
    // SAFETY: attributes, initialised above.
    done(unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) })?;
    // SAFETY: as above.
    done(unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) })?;
    // SAFETY: a place for a mutex, and attributes as above.
    done(unsafe { libc::pthread_mutex_init(mutex.as_mut_ptr(), attributes) })?;
    // SAFETY: as above.
    done(unsafe { libc::pthread_mutexattr_destroy(attributes) })?;
    // SAFETY: zeroed and then initialised.
    Ok(unsafe { mutex.assume_init() })
}

fn done(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

fn kind_of(mutex: &pthread_mutex_t) -> u32 {
    let bytes = ptr::from_ref(mutex).cast::<u8>();
    // SAFETY: a mutex is larger than the offset and four bytes (40 on 64-bit machines).
    let kind = unsafe { bytes.add(KIND_OFFSET) };
    // SAFETY: as above; a mutex's fields are plain numbers.
    unsafe { kind.cast::<u32>().read_unaligned() }
}
