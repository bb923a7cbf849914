//! A cell of the index: a word with the tag of a locator and the place of its record.
//!
//! A cell is `tag:31 | removal:1 | unit+1:32`, 0 if empty. Nothing here reads the mapping.

use super::record::{Locator, UNIT};

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

    /// The offset of its record in the ring; `None` if the cell is empty.
    pub(super) fn offset(self) -> Option<usize> {
        let unit = usize::try_from(self.0 & u64::from(u32::MAX)).ok()?.checked_sub(1)?;
        unit.checked_mul(UNIT)
    }
}

#[inline]
fn tag(locator: &Locator) -> u64 {
    locator.low() >> TAG_SHIFT
}
