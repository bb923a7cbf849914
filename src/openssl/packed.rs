//! The bytes of a session, its secret among them, in one small piece of memory.
//!
//! Most are *short*: a number for the session's shape, its secret, and the times that are not known. A
//! session without a shape is there *whole*. Both are wiped with the last reference. No locks of ours.

use super::cells;
use super::shapes::InUse;
use crate::compact::Known;
use crate::compact::shape::{Parts, Shape};
use sesscache_core::system::wipe::wipe;
use std::alloc::{Layout, alloc, dealloc};
use std::mem::offset_of;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

/// A reference to the bytes of a session.
#[derive(Debug)]
pub struct Packed(pub(super) NonNull<Block>);

/// The head of the bytes, which follow without padding.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Block {
    mark: u64,
    deadline: u32,
    /// At [`FOR_EVER`] it is not counted any more, and the block stays.
    references: AtomicU16,
    /// `None`: the bytes are a length and the whole session.
    shape: Option<InUse>,
    /// Of a short one: four bytes of time follow the secret.
    has_time: bool,
    bytes: [u8; 0],
}

/// More threads than a process has would have to hold a reference.
const FOR_EVER: u16 = u16::MAX;

/// A session that is packed.
#[derive(Debug)]
pub enum Content<'a> {
    /// The session, as it was given.
    Whole(&'a [u8]),
    /// The session is of this shape.
    Short {
        /// Its shape.
        shape: &'a Shape,
        /// Its secret.
        secret: &'a [u8],
        /// When it began, if that was given.
        time: Option<u32>,
    },
}

// SAFETY: nobody changes the bytes, and their count is atomic.
unsafe impl Send for Packed {}
// SAFETY: as above.
unsafe impl Sync for Packed {}

/// Before the bytes of a whole session: how many there are.
const LENGTH: usize = size_of::<u16>();

/// Behind the secret of a short one.
const TIME: usize = size_of::<u32>();

fn whole_layout(length: u16) -> Option<Layout> {
    let size = offset_of!(Block, bytes) + LENGTH + usize::from(length);
    Layout::from_size_align(size, align_of::<Block>()).ok()
}

fn short_size(length: usize) -> usize {
    offset_of!(Block, bytes) + length
}

impl Packed {
    /// A session whole, as these bytes; `None` without memory, or if there are too many. `mark`: the
    /// session's, as a number. `deadline`: the last second in which the session is good.
    pub fn whole(mark: u64, deadline: u32, bytes: &[u8]) -> Option<Packed> {
        let length = u16::try_from(bytes.len()).ok()?;
        // SAFETY: a block is larger than nothing.
        let block = NonNull::new(unsafe { alloc(whole_layout(length)?) }.cast::<Block>())?;
        let head = Block::new(mark, deadline, None, false);
        // SAFETY: there is room for all of it.
        Some(unsafe { Packed::write(block, head, &[&length.to_ne_bytes(), bytes]) })
    }

    /// A session that was taken apart, as its shape and what the shape does not have. `keeps_time`: when it
    /// began is to be kept. `None` if there is no room for its shape, if its secret is too long, without
    /// memory and without a lock.
    pub fn short(
        mark: u64,
        parts: &Parts<'_>,
        known: &Known<'_>,
        keeps_time: bool,
    ) -> Option<Packed> {
        let (secret, deadline) = (parts.fields.secret, u32::try_from(known.deadline).ok()?);
        let time = u32::try_from(parts.fields.time).ok()?.to_ne_bytes();
        let time = if keeps_time { time.as_slice() } else { &[] };
        let size = short_size(secret.len() + time.len());
        if size > cells::MOST {
            return None;
        }
        let shape = Some(InUse::of(parts, known)?);
        let block = cells::take(size)?.cast::<Block>();
        let head = Block::new(mark, deadline, shape, keeps_time);
        // SAFETY: there is room for all of it.
        Some(unsafe { Packed::write(block, head, &[secret, time]) })
    }

    /// # Safety
    /// The block has room for these bytes, and is ours.
    unsafe fn write(block: NonNull<Block>, head: Block, all: &[&[u8]]) -> Packed {
        // SAFETY: there is room for it.
        unsafe { block.write(head) };
        let packed = Packed(block);
        let mut place = packed.place();
        for bytes in all {
            // SAFETY: there is room for them.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
            // SAFETY: as above.
            place = unsafe { place.add(bytes.len()) };
        }
        packed
    }

    fn block(&self) -> &Block {
        // SAFETY: a block lives as long as there is a reference.
        unsafe { self.0.as_ref() }
    }

    fn place(&self) -> *mut u8 {
        // SAFETY: where the bytes of a block begin.
        unsafe { (&raw mut (*self.0.as_ptr()).bytes).cast() }
    }

    /// The session's mark, as a number.
    pub fn mark(&self) -> u64 {
        self.block().mark
    }

    /// The last second in which the session is good.
    pub fn deadline(&self) -> u32 {
        self.block().deadline
    }

    /// How many bytes of a whole session there are.
    fn whole_length(&self) -> u16 {
        // SAFETY: a whole session begins with its length.
        u16::from_ne_bytes(unsafe { self.place().cast::<[u8; LENGTH]>().read() })
    }

    /// How many bytes follow the head.
    fn length(&self) -> usize {
        let block = self.block();
        match block.shape.as_ref().and_then(InUse::shape) {
            Some(shape) => shape.secret_length() + if block.has_time { TIME } else { 0 },
            None => LENGTH + usize::from(self.whole_length()),
        }
    }

    /// The session.
    pub fn content(&self) -> Content<'_> {
        // SAFETY: so many bytes of a block, which nobody changes.
        let bytes = unsafe { slice::from_raw_parts(self.place(), self.length()) };
        match self.block().shape.as_ref().and_then(InUse::shape) {
            Some(shape) => {
                let secret = shape.secret_length();
                let (secret, time) = bytes.split_at_checked(secret).unwrap_or_default();
                let time = time.first_chunk().map(|time| u32::from_ne_bytes(*time));
                Content::Short { shape, secret, time }
            }
            None => Content::Whole(bytes.get(LENGTH..).unwrap_or_default()),
        }
    }

    /// Frees the block of the last reference.
    fn free(&mut self) {
        let length = self.length();
        // SAFETY: so many bytes of a block that nobody else has.
        wipe(unsafe { slice::from_raw_parts_mut(self.place(), length) });
        // SAFETY: nobody reads it any more.
        let shape = unsafe { &mut (*self.0.as_ptr()).shape }.take();
        if shape.is_some() {
            // SAFETY: taken for so many bytes.
            return unsafe { cells::give_back(self.0.cast(), short_size(length)) };
        }
        if let Some(layout) = u16::try_from(length - LENGTH).ok().and_then(whole_layout) {
            // SAFETY: made with this layout.
            unsafe { dealloc(self.0.as_ptr().cast(), layout) };
        }
    }
}

impl Block {
    /// Of one reference.
    fn new(mark: u64, deadline: u32, shape: Option<InUse>, has_time: bool) -> Block {
        Block { mark, deadline, references: AtomicU16::new(1), shape, has_time, bytes: [] }
    }
}

impl Clone for Packed {
    fn clone(&self) -> Packed {
        let more = |count| (count != FOR_EVER).then(|| count + 1);
        let _ = self.block().references.fetch_update(Relaxed, Relaxed, more);
        Packed(self.0)
    }
}

impl Drop for Packed {
    fn drop(&mut self) {
        let less = |count| (count != FOR_EVER).then(|| count - 1);
        if self.block().references.fetch_update(AcqRel, Relaxed, less) == Ok(1) {
            self.free();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sesscache_core::system::seed::draw;
    use std::thread;

    #[test]
    fn a_block_has_room_for_a_secret_in_a_cache_line() {
        assert_eq!(short_size(48), 64);
    }

    #[test]
    fn bytes_of_any_length_come_back() {
        let bytes: Vec<u8> = (0..=255).cycle().take(usize::from(u16::MAX) + 1).collect();
        for length in [0, 1, 5, 6, 7, 80, 1000, u16::MAX.into()] {
            let packed = Packed::whole(u64::MAX, 7, &bytes[..length]).unwrap();
            let again = packed.clone();
            assert_eq!((packed.mark(), packed.deadline()), (u64::MAX, 7));
            drop(packed);
            let Content::Whole(content) = again.content() else { panic!("{length}") };
            assert_eq!(content, &bytes[..length]);
        }
        assert!(Packed::whole(1, 1, &bytes).is_none());
    }

    const KNOWN: Known<'_> =
        Known { version: 0x304, id: &[7, 8], name: &[], began: 1, deadline: 7 };

    /// A shortened session with a secret of this length, which began at 5.
    fn shortened(secret: u8) -> Vec<u8> {
        let mut short = vec![secret, 0x13, 1];
        short.extend((0..secret).map(|byte| byte + 100));
        short.extend([0x09, 5, 0x11, 2]);
        short
    }

    /// Another test may have a lock.
    fn short(parts: &Parts<'_>, keeps_time: bool) -> Packed {
        loop {
            if let Some(packed) = Packed::short(u64::MAX, parts, &KNOWN, keeps_time) {
                return packed;
            }
            thread::yield_now();
        }
    }

    #[test]
    fn a_session_with_a_shape_comes_back() {
        draw();
        for length in [1, 32, 48, 76, 80] {
            let bytes = shortened(length);
            let parts = Parts::of(&bytes, &KNOWN).unwrap();
            for keeps_time in [false, true] {
                if keeps_time && length == 80 {
                    assert!(Packed::short(1, &parts, &KNOWN, true).is_none());
                    continue;
                }
                let packed = short(&parts, keeps_time);
                let again = packed.clone();
                assert_eq!((packed.mark(), packed.deadline()), (u64::MAX, 7));
                drop(packed);
                let Content::Short { shape, secret, time } = again.content() else {
                    panic!("{length}")
                };
                assert!(shape.is_of(&parts, &KNOWN));
                assert_eq!((secret, time), (parts.fields.secret, keeps_time.then_some(5)));
            }
        }
    }

    #[test]
    fn a_count_that_is_full_stays() {
        draw();
        let bytes = shortened(2);
        let packed = short(&Parts::of(&bytes, &KNOWN).unwrap(), false);
        packed.block().references.store(FOR_EVER - 1, Relaxed);
        drop([packed.clone(), packed.clone()]);
        assert_eq!(packed.block().references.load(Relaxed), FOR_EVER);
        packed.block().references.store(1, Relaxed);
    }
}
