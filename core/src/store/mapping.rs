//! The mapped memory itself: bytes and atomic words at offsets, all bounds checked.
//!
//! An unsafe corner of the store; the other is `table/wide`. Other processes change the memory at any time, so no
//! reference to plain bytes is ever made. Bytes are copied in and out through raw pointers; words
//! are atomics. Their meaning is not known here.

use super::layout::{Geometry, HEADER_BYTES, header};
use super::table::{Bucket, Region, Share, Table};
use libc::c_int;
use std::fs::File;
use std::io;
use std::mem::{align_of, size_of};
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

/// Memory that is shared with other processes, mapped for as long as the value lives.
#[derive(Debug)]
pub(super) struct Mapping {
    base: NonNull<u8>,
    length: usize,
    parts: Parts,
}

/// The parts of the table in a mapping, all inside: found once, and not at each operation.
#[derive(Clone, Copy, Debug)]
struct Parts {
    share: NonNull<[Share]>,
    regions: NonNull<[Region]>,
    buckets: NonNull<[Bucket]>,
}

impl Parts {
    const NONE: Parts = Parts {
        share: NonNull::slice_from_raw_parts(NonNull::dangling(), 0),
        regions: NonNull::slice_from_raw_parts(NonNull::dangling(), 0),
        buckets: NonNull::slice_from_raw_parts(NonNull::dangling(), 0),
    };
}

// SAFETY: the memory stays mapped until the value is dropped, and every access is by copying or
// atomic, as for memory that other processes change.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// Bytes that are not all inside the mapping, or a word that is not aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outside;

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
        Ok(Mapping { base, length, parts: Parts::NONE })
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
        // SAFETY: inside and aligned, and only ever used as an atomic.
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

    /// Copies bytes in.
    #[inline]
    pub(super) fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Outside> {
        let place = self.place(offset, bytes.len())?;
        // SAFETY: inside the mapping, which no Rust value overlaps.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        Ok(())
    }

    /// Finds the parts of the table. Before that it has none.
    pub(super) fn lay_out(&mut self, geometry: &Geometry) {
        self.parts = Parts {
            share: self.parts(header::SHARE, 1).into(),
            regions: self.parts(HEADER_BYTES, geometry.regions).into(),
            buckets: self.parts(geometry.buckets_offset(), geometry.buckets).into(),
        };
    }

    /// The heads of the regions and the buckets.
    #[inline]
    pub(super) fn table(&self) -> Table<'_> {
        let Parts { share, regions, buckets } = self.parts;
        // SAFETY: found in this mapping by `parts`, and it stays mapped while `self` is borrowed.
        let share = unsafe { share.as_ref() }.first();
        // SAFETY: as above.
        let regions = unsafe { regions.as_ref() };
        // SAFETY: as above.
        let buckets = unsafe { buckets.as_ref() };
        Table { share, regions, buckets }
    }

    /// `count` parts in a row; none if they are not all inside.
    #[inline]
    fn parts<T: Shared>(&self, offset: usize, count: usize) -> &[T] {
        let length = count.saturating_mul(size_of::<T>());
        let Ok(place) = self.aligned::<T>(offset, length) else { return &[] };
        // SAFETY: inside and aligned, and of words only, as for `word`.
        unsafe { std::slice::from_raw_parts(place, count) }
    }
}

/// A type that consists of atomic words alone, so that any bytes are a value of it.
///
/// # Safety
/// No other fields, and `repr(C)`.
unsafe trait Shared {}

// SAFETY: words alone.
unsafe impl Shared for Bucket {}
// SAFETY: words alone.
unsafe impl Shared for Region {}
// SAFETY: words alone.
unsafe impl Shared for Share {}

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
