//! Memory for many small blocks, without what malloc takes for each.
//!
//! Blocks of one size lie side by side in pieces of 4,000 bytes. The pieces go when no block of the
//! size is in use any more. Whoever gives a block back has wiped it.
//!
//! Locks: one for each size, tried and never waited for, because a fork may have left it held for ever.
//! Without it there is no block, and one that is given back waits for the next who has the lock.

use parking_lot::{Mutex, MutexGuard};
use std::alloc::{Layout, alloc, dealloc};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Blocks begin at such addresses, and their sizes are multiples of it.
const STEP: usize = 8;

/// The largest block.
pub(super) const MOST: usize = 96;

const SIZES: usize = MOST / STEP;

/// A piece of memory, with its head. Together with malloc's 8 bytes it is a bit less than a page.
const PIECE: usize = 4000;

static CELLS: [Cells; SIZES] = [const { Cells::new() }; SIZES];

/// The blocks of one size.
#[derive(Debug)]
struct Cells {
    held: Mutex<Held>,
    /// A list of blocks that were given back without the lock.
    returned: AtomicPtr<Link>,
}

/// The beginning of a free block, and of a piece: the next of its kind.
#[repr(C, align(8))]
#[derive(Debug)]
struct Link {
    next: *mut Link,
}

/// The blocks of a size as its lock protects them. All pointers are to memory of its pieces.
#[derive(Debug)]
struct Held {
    free: *mut Link,
    pieces: *mut Link,
    /// How many bytes of the newest piece are used. The others are used whole.
    filled: usize,
    in_use: usize,
}

// SAFETY: memory that nobody else knows may be used by any thread.
unsafe impl Send for Held {}

fn piece_layout() -> Option<Layout> {
    Layout::from_size_align(PIECE, align_of::<Link>()).ok()
}

/// The cells of blocks of so many bytes, and the size of each.
fn cells(bytes: usize) -> Option<(&'static Cells, usize)> {
    let steps = bytes.div_ceil(STEP).max(1);
    Some((CELLS.get(steps - 1)?, steps * STEP))
}

/// A block of so many bytes, which have any content. `None` without memory, without the lock, and if it
/// would be too large.
pub(super) fn take(bytes: usize) -> Option<NonNull<u8>> {
    let (cells, size) = cells(bytes)?;
    cells.take(size)
}

/// Gives a block back.
///
/// # Safety
/// [`take`] has returned it for so many bytes, and nobody uses it any more.
pub(super) unsafe fn give_back(block: NonNull<u8>, bytes: usize) {
    if let Some((cells, _)) = cells(bytes) {
        // SAFETY: as the caller says.
        unsafe { cells.give_back(block) };
    }
}

impl Cells {
    const fn new() -> Cells {
        let held =
            Held { free: ptr::null_mut(), pieces: ptr::null_mut(), filled: PIECE, in_use: 0 };
        Cells { held: Mutex::new(held), returned: AtomicPtr::new(ptr::null_mut()) }
    }

    /// All blocks of these cells have this size.
    fn take(&self, size: usize) -> Option<NonNull<u8>> {
        let mut held = self.held.try_lock()?;
        self.collect(&mut held);
        held.take(size)
    }

    /// # Safety
    /// A block of these cells that nobody uses.
    unsafe fn give_back(&self, block: NonNull<u8>) {
        let link = block.cast::<Link>().as_ptr();
        match self.held.try_lock() {
            Some(mut held) => {
                // SAFETY: the caller's block, which is large enough and aligned.
                unsafe { held.free_one(link) };
                self.collect(&mut held);
                held.let_go();
            }
            // SAFETY: as above.
            None => unsafe { self.push_returned(link) },
        }
    }

    /// # Safety
    /// A block of these cells that nobody uses.
    unsafe fn push_returned(&self, link: *mut Link) {
        let mut next = self.returned.load(Relaxed);
        loop {
            // SAFETY: the caller's block.
            unsafe { link.write(Link { next }) };
            match self.returned.compare_exchange_weak(next, link, Release, Relaxed) {
                Ok(_) => return,
                Err(other) => next = other,
            }
        }
    }

    /// Takes in the blocks that were given back without the lock.
    fn collect(&self, held: &mut MutexGuard<'_, Held>) {
        if self.returned.load(Relaxed).is_null() {
            return;
        }
        let mut link = self.returned.swap(ptr::null_mut(), Acquire);
        while !link.is_null() {
            // SAFETY: a block of the list, which is this thread's now.
            let next = unsafe { link.read() }.next;
            // SAFETY: a block of these cells that nobody uses.
            unsafe { held.free_one(link) };
            link = next;
        }
    }
}

impl Held {
    fn take(&mut self, size: usize) -> Option<NonNull<u8>> {
        if let Some(link) = NonNull::new(self.free) {
            // SAFETY: a free block has a link.
            self.free = unsafe { link.read() }.next;
            self.in_use += 1;
            return Some(link.cast());
        }
        if self.filled + size > PIECE {
            self.grow()?;
        }
        let piece = NonNull::new(self.pieces)?.cast::<u8>();
        // SAFETY: the newest piece has room for it.
        let block = unsafe { piece.add(self.filled) };
        self.filled += size;
        self.in_use += 1;
        Some(block)
    }

    fn grow(&mut self) -> Option<()> {
        // SAFETY: a piece is larger than nothing.
        let piece = NonNull::new(unsafe { alloc(piece_layout()?) })?.cast::<Link>();
        // SAFETY: there is room for it, and malloc's addresses are aligned.
        unsafe { piece.write(Link { next: self.pieces }) };
        self.pieces = piece.as_ptr();
        self.filled = size_of::<Link>();
        Some(())
    }

    /// # Safety
    /// A block of these cells that nobody uses.
    unsafe fn free_one(&mut self, link: *mut Link) {
        // SAFETY: the caller's block.
        unsafe { link.write(Link { next: self.free }) };
        self.free = link;
        self.in_use -= 1;
    }

    /// Frees all pieces, if no block is in use.
    fn let_go(&mut self) {
        let Some(layout) = piece_layout().filter(|_| self.in_use == 0) else { return };
        self.free = ptr::null_mut();
        self.filled = PIECE;
        while let Some(piece) = NonNull::new(self.pieces) {
            // SAFETY: a piece begins with a link.
            self.pieces = unsafe { piece.read() }.next;
            // SAFETY: made with this layout, and no block of it is in use.
            unsafe { dealloc(piece.as_ptr().cast(), layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    impl Cells {
        /// Blocks, each filled with a number of its own.
        fn fill(&self, size: usize, count: usize) -> Vec<NonNull<u8>> {
            let fill = |number: usize| {
                let block = self.take(size).unwrap();
                assert!(block.addr().get().is_multiple_of(STEP));
                // SAFETY: a block of this size.
                unsafe { block.write_bytes(number.to_le_bytes()[0], size) };
                block
            };
            (0..count).map(fill).collect()
        }

        fn give_all_back(&self, blocks: Vec<NonNull<u8>>) {
            // SAFETY: taken from these cells, and not used any more.
            blocks.into_iter().for_each(|block| unsafe { self.give_back(block) });
        }

        fn has_pieces(&self) -> bool {
            !self.held.lock().pieces.is_null()
        }
    }

    fn assert_filled(blocks: &[NonNull<u8>], size: usize) {
        for (number, block) in blocks.iter().enumerate() {
            // SAFETY: a block of this size, all of which was written.
            let content = unsafe { std::slice::from_raw_parts(block.as_ptr(), size) };
            assert!(content.iter().all(|byte| *byte == number.to_le_bytes()[0]), "{number}");
        }
    }

    #[test]
    fn blocks_do_not_overlap_and_their_memory_goes_when_none_is_in_use() {
        for size in (STEP..=MOST).step_by(STEP) {
            let cells = Cells::new();
            let mut blocks = cells.fill(size, 1000);
            cells.give_all_back(blocks.split_off(500));
            assert_filled(&blocks, size);
            let more = cells.fill(size, 600);
            assert_filled(&blocks, size);
            assert_filled(&more, size);
            cells.give_all_back(blocks);
            assert!(cells.has_pieces());
            cells.give_all_back(more);
            assert!(!cells.has_pieces());
        }
    }

    #[test]
    fn each_length_has_cells_that_are_large_enough() {
        for bytes in 0..=MOST {
            assert!(cells(bytes).unwrap().1 >= bytes.max(size_of::<Link>()));
        }
        assert!(cells(MOST + 1).is_none());
    }

    #[test]
    fn without_the_lock_there_is_none_and_one_that_is_given_back_is_not_lost() {
        let cells = Cells::new();
        let mut blocks = cells.fill(32, 3);
        let held = cells.held.lock();
        assert!(cells.take(32).is_none());
        let last = blocks.pop().unwrap();
        cells.give_all_back(blocks);
        drop(held);
        let before = cells.take(32).unwrap();
        assert_eq!(cells.held.lock().in_use, 2);
        cells.give_all_back(vec![before, last]);
        assert!(!cells.has_pieces());
    }

    #[test]
    fn threads_take_and_give_back() {
        let cells = Cells::new();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        cells.give_all_back((0..20).filter_map(|_| cells.take(56)).collect());
                    }
                });
            }
        });
        cells.give_all_back(cells.fill(56, 1));
        assert!(!cells.has_pieces());
    }
}
