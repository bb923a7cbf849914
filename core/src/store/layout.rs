//! The layout of a store: two header pages, the heads of the regions, then the buckets.
//!
//! It follows from the total size alone, so that nothing read from a file can lead outside.
//! docs/STORE.md has the layout, word by word.

use super::table::{Bucket, REGION_BUCKETS, Region, WAYS};
use super::url::LEAST_SIZE;

/// Bytes of the header pages.
pub(super) const HEADER_BYTES: usize = 8192;
/// Bytes of a bucket.
const BUCKET_BYTES: usize = size_of::<Bucket>();
/// Bytes of a region's head.
const REGION_BYTES: usize = size_of::<Region>();

/// Offsets in the header pages.
pub(super) mod header {
    /// [`super::MAGIC`].
    pub(in crate::store) const MAGIC: usize = 0;
    /// Layout, sizes: everything that [`super::Geometry::header`] writes.
    pub(in crate::store) const DESCRIPTION: usize = 8;
    /// 16 random bytes.
    pub(in crate::store) const ID: usize = 72;
    /// The bytes that were asked for when the store was made.
    pub(in crate::store) const ASKED: usize = 88;
    /// 1 while a reader of the log waits (a futex).
    pub(in crate::store) const WAITING: usize = 256;
    /// The kind of keys of the process that came last: [`crate::store::KeyKind`].
    pub(in crate::store) const KEY_KIND: usize = 260;
    /// The format of the records of the process that came last: [`crate::store::RECORD_FORMAT`].
    pub(in crate::store) const RECORD_FORMAT: usize = 264;
    /// Whether all its room is taken: `room::Store::take_room`.
    pub(in crate::store) const ROOM: usize = 268;
    /// 1 if it took the place of a file of another version.
    pub(in crate::store) const REPLACES: usize = 272;
    /// 1 once there was a flush: see [`crate::store::flushes`].
    pub(in crate::store) const FLUSHED: usize = 280;
    /// 1 once a reader has told other hosts of anything.
    pub(in crate::store) const READ: usize = 288;
    /// Records that made room before a reader came, up to its last round.
    pub(in crate::store) const READ_LOST: usize = 296;
    /// The words of [`crate::store::table::Share`], in two cache lines.
    pub(in crate::store) const SHARE: usize = 384;
    /// Counters of the whole store.
    pub(in crate::store) const TALLIES: usize = 512;
    /// The table of connections: [`crate::store::connections`].
    pub(in crate::store) const CONNECTIONS: usize = 704;
    /// The table of flushes.
    pub(in crate::store) const FLUSHES: usize = 1280;
    /// Notes of the log's reader.
    pub(in crate::store) const NOTES: usize = 2048;
    /// The ids of the keys of the process that came last: [`crate::store::fleet`].
    pub(in crate::store) const KEY_IDS: usize = 4096;
    /// The servers that share their sessions here.
    pub(in crate::store) const SERVICES: usize = 4352;
    /// The findings of an agent about other hosts.
    pub(in crate::store) const OTHER_HOSTS: usize = 5120;
}

/// The first bytes of every store.
pub(super) const MAGIC: [u8; 8] = *b"SESSCACH";
/// The version of the layout.
pub(super) const VERSION: u32 = 3;
/// Written as the machine writes numbers.
pub(super) const BYTE_ORDER: u32 = 0x0102_0304;

/// The sizes of a store's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) total: usize,
    pub(super) regions: usize,
    pub(super) buckets: usize,
}

impl Geometry {
    /// The parts of a store of `total` bytes; `None` if it is too small.
    pub(super) fn of(total: usize) -> Option<Geometry> {
        if total < LEAST_SIZE {
            return None;
        }
        let room = total - HEADER_BYTES;
        let whole = REGION_BYTES + REGION_BUCKETS * BUCKET_BYTES;
        let rest = (room % whole).saturating_sub(REGION_BYTES) / BUCKET_BYTES;
        let buckets = room / whole * REGION_BUCKETS + rest;
        Some(Geometry { total, regions: buckets.div_ceil(REGION_BUCKETS), buckets })
    }

    /// The offset of the buckets.
    #[inline]
    pub(super) fn buckets_offset(&self) -> usize {
        HEADER_BYTES + self.regions * REGION_BYTES
    }

    /// The slots of a store.
    pub(super) fn slots(&self) -> usize {
        self.buckets * WAYS
    }

    /// The parts that a new store writes to: offset and length of each. Their room is taken at once.
    pub(super) fn heads(&self) -> impl Iterator<Item = (usize, usize)> {
        [(0, self.buckets_offset())].into_iter()
    }

    /// The description in the header page of such a store on such a machine.
    pub(super) fn header(&self) -> [u8; header::ID - header::DESCRIPTION] {
        let halves = [VERSION, BYTE_ORDER];
        let words = [self.total, BUCKET_BYTES, self.buckets, self.regions];
        let mut bytes = [0; header::ID - header::DESCRIPTION];
        let (first, rest) = bytes.split_at_mut(halves.len() * 4);
        for (place, half) in first.chunks_exact_mut(4).zip(halves) {
            place.copy_from_slice(&half.to_ne_bytes());
        }
        for (place, word) in rest.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&(word as u64).to_ne_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_every_size_fit_and_leave_no_bucket_unused() {
        assert_eq!(Geometry::of(LEAST_SIZE - 1), None);
        for total in
            [LEAST_SIZE, LEAST_SIZE + 1, 3 << 20, 64 << 20, (64 << 20) - 1, 5 << 30, 1 << 40]
        {
            let geometry = Geometry::of(total).unwrap();
            let end = geometry.buckets_offset() + geometry.buckets * BUCKET_BYTES;
            assert!(end <= total && total - end < 2 * BUCKET_BYTES, "{geometry:?}");
            assert_eq!(geometry.buckets_offset() % 64, 0);
        }
    }

    #[test]
    fn a_record_of_one_slot_costs_no_more_than_240_bytes() {
        let geometry = Geometry::of(1 << 20).unwrap();
        assert!(geometry.total / geometry.slots() <= 240);
    }
}
