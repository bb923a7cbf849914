//! The bytes of a session, its secret among them, in one small piece of memory.
//!
//! They are wiped with the last reference. No locks.

use std::alloc::{Layout, alloc, dealloc};
use std::mem::offset_of;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use zeroize::Zeroize;

/// A reference to the bytes of a session.
#[derive(Debug)]
pub struct Packed(pub(super) NonNull<Block>);

/// What is before the bytes, which follow without padding.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Block {
    mark: u64,
    deadline: u32,
    references: AtomicU32,
    length: u16,
    bytes: [u8; 0],
}

// SAFETY: nobody changes the bytes, and their count is atomic.
unsafe impl Send for Packed {}
// SAFETY: as above.
unsafe impl Sync for Packed {}

fn layout(length: u16) -> Option<Layout> {
    let size = offset_of!(Block, bytes) + usize::from(length);
    Layout::from_size_align(size.max(size_of::<Block>()), align_of::<Block>()).ok()
}

impl Packed {
    /// These bytes; `None` without memory, or if there are too many. `mark`: the session's, as a number.
    /// `deadline`: the last second in which the session is good.
    pub fn new(mark: u64, deadline: u32, bytes: &[u8]) -> Option<Packed> {
        let length = u16::try_from(bytes.len()).ok()?;
        // SAFETY: a block is larger than nothing.
        let block = NonNull::new(unsafe { alloc(layout(length)?) }.cast::<Block>())?;
        let references = AtomicU32::new(1);
        // SAFETY: there is room for it.
        unsafe { block.write(Block { mark, deadline, references, length, bytes: [] }) };
        // SAFETY: where the bytes begin.
        let place = unsafe { (&raw mut (*block.as_ptr()).bytes).cast::<u8>() };
        // SAFETY: there is room for them.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        Some(Packed(block))
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

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes of a block, which nobody changes.
        unsafe { slice::from_raw_parts(self.place(), self.block().length.into()) }
    }
}

impl Clone for Packed {
    /// Memory holds fewer references than can be counted.
    fn clone(&self) -> Packed {
        self.block().references.fetch_add(1, Relaxed);
        Packed(self.0)
    }
}

impl Drop for Packed {
    fn drop(&mut self) {
        let length = self.block().length;
        if self.block().references.fetch_sub(1, AcqRel) > 1 {
            return;
        }
        // SAFETY: nobody else has a reference any more.
        unsafe { slice::from_raw_parts_mut(self.place(), length.into()) }.zeroize();
        if let Some(layout) = layout(length) {
            // SAFETY: made with this layout.
            unsafe { dealloc(self.0.as_ptr().cast(), layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_length_come_back() {
        let bytes: Vec<u8> = (0..=255).cycle().take(usize::from(u16::MAX) + 1).collect();
        for length in [0, 1, 5, 6, 7, 80, 1000, u16::MAX.into()] {
            let packed = Packed::new(u64::MAX, 7, &bytes[..length]).unwrap();
            let again = packed.clone();
            assert_eq!((packed.mark(), packed.deadline()), (u64::MAX, 7));
            drop(packed);
            assert_eq!(again.bytes(), &bytes[..length]);
        }
        assert!(Packed::new(1, 1, &bytes).is_none());
    }
}
