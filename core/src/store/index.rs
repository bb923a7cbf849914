//! The index of a shard: cells in buckets of two cache lines, and how a locator is found in them.
//!
//! Cells are read without the lock, so that a miss costs next to nothing, and written with it.
//! Without the lock, a cell says only that a record of this tag may be there. The record itself is
//! read with the lock.

use super::cell::Cell;
use super::counters::Counter;
use super::damaged::Damaged;
use super::layout::{BUCKET_BYTES, BUCKET_CELLS, shard};
use super::mapping::Outside;
use super::record::{Head, Kind, Locator};
use super::shard::{LockedShard, Shard};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The record that a lookup found, and the cell that names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit<'a> {
    pub(super) cell: &'a AtomicU64,
    pub(super) position: u64,
    pub(super) head: Head,
}

/// The result of a look at the index alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Glance {
    /// A session of this tag is there.
    pub(super) put: bool,
    /// A removal of this tag is there.
    pub(super) removal: bool,
}

impl<'a> Shard<'a> {
    /// The cells of the bucket in which a locator's is.
    #[inline]
    pub(super) fn bucket(&self, locator: &Locator) -> Result<&'a [AtomicU64], Outside> {
        let buckets = self.geometry.buckets as u128;
        let number = (u128::from(locator.high()) * buckets) >> 64;
        let number = usize::try_from(number).map_err(|_| Outside)?;
        self.mapping.words(self.base + shard::INDEX + number * BUCKET_BYTES, BUCKET_CELLS)
    }

    /// Looks for the tag, without the lock.
    #[inline]
    pub(super) fn glance(&self, locator: &Locator) -> Glance {
        let mut seen = Glance::default();
        let Ok(bucket) = self.bucket(locator) else { return seen };
        for cell in bucket {
            let cell = Cell(cell.load(Acquire));
            if cell.has_tag_of(locator) {
                seen.put |= !cell.is_removal();
                seen.removal |= cell.is_removal();
            }
        }
        seen
    }
}

impl<'a> LockedShard<'a> {
    /// The record of a locator: a session or a removal.
    pub(super) fn find(&self, locator: &Locator) -> Result<Option<Hit<'a>>, Damaged> {
        for cell in self.shard.bucket(locator)? {
            let value = Cell(cell.load(Relaxed));
            if !value.has_tag_of(locator) {
                continue;
            }
            let position = self.position(value)?;
            let head = self.head(position)?;
            let expected = if value.is_removal() { Kind::Removal } else { Kind::Put };
            if head.kind != expected {
                return Err(Damaged::Kind);
            }
            if head.locator == *locator {
                return Ok(Some(Hit { cell, position, head }));
            }
        }
        Ok(None)
    }

    /// A session leaves. Its bytes are wiped; the ring passes over its place when it comes round.
    pub(super) fn kill(&self, hit: &Hit<'_>) -> Result<(), Damaged> {
        hit.cell.store(0, Release);
        self.bury(hit.position, &hit.head)
    }

    /// Enters a record in the index. A full bucket forgets its oldest session.
    pub(super) fn enter(
        &self,
        locator: &Locator,
        is_removal: bool,
        position: u64,
    ) -> Result<(), Damaged> {
        let bucket = self.shard.bucket(locator)?;
        let empty = bucket.iter().find(|cell| Cell(cell.load(Relaxed)).is_empty());
        let place = match empty {
            Some(cell) => cell,
            None => self.clear_one(bucket)?,
        };
        self.point(place, locator, is_removal, position);
        Ok(())
    }

    /// Points a cell to the record at a position.
    pub(super) fn point(
        &self,
        cell: &AtomicU64,
        locator: &Locator,
        is_removal: bool,
        position: u64,
    ) {
        cell.store(Cell::new(locator, is_removal, self.offset(position)).0, Release);
    }

    /// Empties the cell of a bucket's oldest session, or of its oldest removal if it has no
    /// session.
    fn clear_one(&self, bucket: &'a [AtomicU64]) -> Result<&'a AtomicU64, Damaged> {
        let mut oldest: Option<(bool, u64, &AtomicU64)> = None;
        for cell in bucket {
            let value = Cell(cell.load(Relaxed));
            let position = self.position(value)?;
            let rank = (value.is_removal(), position);
            if oldest.is_none_or(|(is_removal, position, _)| rank < (is_removal, position)) {
                oldest = Some((rank.0, rank.1, cell));
            }
        }
        let (is_removal, position, cell) = oldest.ok_or(Damaged::Cell)?;
        let head = self.head(position)?;
        if is_removal {
            self.forget_removal(&head);
            cell.store(0, Release);
        } else {
            self.kill(&Hit { cell, position, head })?;
            self.shard.count(Counter::Evicted);
        }
        Ok(cell)
    }
}
