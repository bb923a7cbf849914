//! The index of a shard: cells of tag and place, in buckets of two cache lines.
//!
//! A cell is `tag:31 | removal:1 | unit+1:32`, 0 if empty. Cells are read without the lock, so that
//! a miss costs next to nothing, and written with it. Without the lock a cell says only that a
//! record of this tag may be there; what is there is read with it.

use super::layout::{BUCKET_BYTES, BUCKET_CELLS, shard};
use super::record::{Locator, UNIT};
use super::shard::Shard;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Acquire;

/// A cell's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell(pub(super) u64);

const REMOVAL: u64 = 1 << 32;
const TAG_SHIFT: u32 = 33;

impl Cell {
    /// The cell of a record that lies `offset` bytes into the ring.
    pub(super) fn new(locator: &Locator, is_removal: bool, offset: usize) -> Cell {
        let unit = (offset / UNIT) as u64 + 1;
        Cell(tag(locator) << TAG_SHIFT | if is_removal { REMOVAL } else { 0 } | unit)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn is_removal(self) -> bool {
        self.0 & REMOVAL != 0
    }

    pub(super) fn has_tag_of(self, locator: &Locator) -> bool {
        self.0 != 0 && self.0 >> TAG_SHIFT == tag(locator)
    }

    /// Where in the ring its record begins; `None` if it is empty.
    pub(super) fn offset(self) -> Option<usize> {
        let unit = usize::try_from(self.0 & u64::from(u32::MAX)).ok()?.checked_sub(1)?;
        unit.checked_mul(UNIT)
    }
}

#[inline]
fn tag(locator: &Locator) -> u64 {
    locator.low() >> TAG_SHIFT
}

/// What a look at the index alone can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Glance {
    /// A session of this tag is there.
    pub(super) put: bool,
    /// A removal of this tag is there.
    pub(super) removal: bool,
}

impl<'a> Shard<'a> {
    /// The cells of the bucket in which this locator's is, if there is one.
    #[inline]
    pub(super) fn bucket(&self, locator: &Locator) -> Option<&'a [AtomicU64]> {
        let buckets = self.geometry.buckets as u128;
        let number = usize::try_from((u128::from(locator.high()) * buckets) >> 64).ok()?;
        self.mapping.words(self.base + shard::INDEX + number * BUCKET_BYTES, BUCKET_CELLS)
    }

    /// Looks for the tag, without the lock.
    #[inline]
    pub(super) fn glance(&self, locator: &Locator) -> Glance {
        let mut seen = Glance::default();
        for cell in self.bucket(locator).unwrap_or_default() {
            let cell = Cell(cell.load(Acquire));
            if cell.has_tag_of(locator) {
                seen.put |= !cell.is_removal();
                seen.removal |= cell.is_removal();
            }
        }
        seen
    }
}
