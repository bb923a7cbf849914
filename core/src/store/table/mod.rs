//! The table of a store: sessions and removals under locators, in buckets, without a lock.
//!
//! A locator has one bucket, and all that is known of it is there. One word decides each cell, and changes
//! in one step. Nothing moves. What the dead or the stopped leave is taken back by whoever needs the
//! room. A removal anywhere in the bucket counts, whatever else is there. Damage is a miss.
//!
//! No locks. Every loop is bounded.

mod body;
mod bucket;
mod cell;
mod chain;
mod counts;
mod lookup;
#[cfg(any(test, not(all(target_arch = "x86_64", not(any(loom, shuttle))))))]
mod narrow;
#[cfg(test)]
mod proofs;
mod put;
mod removal;
mod share;
mod told;
mod trace;
mod victim;
#[cfg(all(target_arch = "x86_64", not(any(loom, shuttle))))]
#[expect(unsafe_code, reason = "words are loaded two at a time")]
mod wide;
mod word;

pub(super) use body::Facts;
pub(super) use bucket::{Bucket, SLOT_BYTES, WAYS};
pub(super) use counts::Region;
pub(super) use removal::Removal;
pub(super) use share::Share;
pub(super) use told::InFlight;
pub(super) use word::fence_after_change;

use super::Locator;
use bucket::Key;

#[cfg(not(all(target_arch = "x86_64", not(any(loom, shuttle)))))]
use narrow::{Seen, Stamps, fetch, fetch_to_write, survey};
#[cfg(all(target_arch = "x86_64", not(any(loom, shuttle))))]
use wide::{Seen, Stamps, fetch, fetch_to_write, survey};

/// Buckets of a region.
pub(super) const REGION_BUCKETS: usize = 64;

/// The buckets of a store, and the heads of their regions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    pub(super) share: Option<&'a Share>,
    pub(super) regions: &'a [Region],
    /// At least one.
    pub(super) buckets: &'a [Bucket],
}

/// Where a locator is, if it is anywhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    table: Table<'a>,
    number: usize,
    bucket: &'a Bucket,
    region: &'a Region,
    key: Key,
}

impl<'a> Table<'a> {
    /// The place of a locator; `None` in a table without buckets.
    #[inline]
    pub(super) fn place(&self, locator: &Locator) -> Option<Place<'a>> {
        let key = Key::of(locator);
        // Less than the number of buckets, which is a `usize`.
        let number = (u128::from(key.high) * self.buckets.len() as u128) >> 64;
        self.numbered(usize::try_from(number).ok()?, key)
    }

    fn numbered(&self, number: usize, key: Key) -> Option<Place<'a>> {
        let bucket = self.buckets.get(number)?;
        let region = self.regions.get(number / REGION_BUCKETS)?;
        Some(Place { table: *self, number, bucket, region, key })
    }
}

impl<'a> Place<'a> {
    fn slots(&self) -> u64 {
        (self.table.buckets.len() * WAYS) as u64
    }

    /// The bucket into which a large session goes on, `further` slots on.
    fn ahead(&self, further: usize) -> Option<Place<'a>> {
        self.table.numbered((self.number + further) % self.table.buckets.len(), self.key)
    }
}
