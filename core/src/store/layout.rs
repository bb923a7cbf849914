//! The layout of a store: a header page, then the shards, each with head words, index and ring.
//!
//! It follows from the total size alone, so that nothing read from a file can lead outside.
//! docs/STORE.md has the layout, byte by byte.

use super::record::UNIT;
use super::url::LEAST_SIZE;

/// Bytes of the header page.
pub(super) const HEADER_BYTES: usize = 4096;
/// Bytes of a shard before its index.
pub(super) const SHARD_HEAD_BYTES: usize = 512;
/// Cells of a bucket: two cache lines that are fetched together.
pub(super) const BUCKET_CELLS: usize = 16;
/// Bytes of a bucket.
pub(super) const BUCKET_BYTES: usize = BUCKET_CELLS * size_of::<u64>();
/// The index is this part of index and ring. With the smallest records, its buckets are half full.
const INDEX_SHARE: usize = 14;
/// The most shards.
const MOST_SHARDS: usize = 64;

/// Offsets in the header page.
pub(super) mod header {
    /// [`super::MAGIC`].
    pub(in crate::store) const MAGIC: usize = 0;
    /// Layout, sizes: everything that [`super::Geometry::header`] writes.
    pub(in crate::store) const DESCRIPTION: usize = 8;
    /// 16 random bytes.
    pub(in crate::store) const ID: usize = 72;
    /// The bytes that were asked for when the store was made.
    pub(in crate::store) const ASKED: usize = 88;
    /// The boot during which the locks were made. They mean nothing in another boot.
    pub(in crate::store) const BOOT: usize = 96;
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
    /// Counters of the whole store.
    pub(in crate::store) const TALLIES: usize = 512;
    /// The table of flushes.
    pub(in crate::store) const FLUSHES: usize = 1280;
    /// Notes of the log's reader.
    pub(in crate::store) const NOTES: usize = 2048;
}

/// Offsets in a shard.
pub(super) mod shard {
    pub(in crate::store) const LOCK: usize = 0;
    /// The position of the next record. Positions only grow.
    pub(in crate::store) const HEAD: usize = 64;
    /// The oldest record.
    pub(in crate::store) const TAIL: usize = 72;
    /// Sessions that began until this second may have been removed without a trace.
    pub(in crate::store) const FLOOR: usize = 80;
    /// Sessions in the ring.
    pub(in crate::store) const LIVE: usize = 88;
    /// Their bytes.
    pub(in crate::store) const LIVE_BYTES: usize = 96;
    /// Removals in the ring.
    pub(in crate::store) const REMOVALS: usize = 104;
    /// The number of resets.
    pub(in crate::store) const EPOCH: usize = 112;
    /// 1 while nobody waits for the lock: see `Shard::lock`.
    pub(in crate::store) const STUCK: usize = 120;
    /// Removals since the last reset that were not written, because the lock was not to be had.
    pub(in crate::store) const LOST: usize = 124;
    pub(in crate::store) const COUNTERS: usize = 128;
    /// Records ever appended. A record that was only moved does not count.
    pub(in crate::store) const APPENDED: usize = 320;
    /// Appended records that are not in the ring any more.
    pub(in crate::store) const PASSED: usize = 328;
    /// The reader's position in the log: [`crate::store::log::Cursor`].
    pub(in crate::store) const READ_EPOCH: usize = 384;
    pub(in crate::store) const READ_POSITION: usize = 392;
    pub(in crate::store) const READ_NUMBER: usize = 400;
    pub(in crate::store) const READ_MOVED: usize = 408;
    pub(in crate::store) const INDEX: usize = super::SHARD_HEAD_BYTES;
}

/// The first bytes of every store.
pub(super) const MAGIC: [u8; 8] = *b"SESSCACH";
/// The version of the layout.
pub(super) const VERSION: u32 = 1;
/// Written as the machine writes numbers.
pub(super) const BYTE_ORDER: u32 = 0x0102_0304;

/// The sizes of a store's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) total: usize,
    pub(super) shards: usize,
    pub(super) shard_bytes: usize,
    pub(super) buckets: usize,
    pub(super) ring: usize,
}

impl Geometry {
    /// The parts of a store of `total` bytes; `None` if it is too small.
    pub(super) fn of(total: usize) -> Option<Geometry> {
        if total < LEAST_SIZE {
            return None;
        }
        let shards = 1 << (total / LEAST_SIZE).min(MOST_SHARDS).ilog2();
        let shard_bytes = (total - HEADER_BYTES) / shards / BUCKET_BYTES * BUCKET_BYTES;
        let room = shard_bytes - SHARD_HEAD_BYTES;
        let buckets = room / INDEX_SHARE / BUCKET_BYTES;
        let ring = (room - buckets * BUCKET_BYTES) / UNIT * UNIT;
        Some(Geometry { total, shards, shard_bytes, buckets, ring })
    }

    /// The offset of a shard.
    #[inline]
    pub(super) fn shard(&self, number: usize) -> usize {
        HEADER_BYTES + number * self.shard_bytes
    }

    /// The parts that a new store writes to: offset and length of each. Their room is taken at once.
    pub(super) fn heads(&self) -> impl Iterator<Item = (usize, usize)> {
        let shards = (0..self.shards).map(|number| (self.shard(number), SHARD_HEAD_BYTES));
        [(0, HEADER_BYTES)].into_iter().chain(shards)
    }

    /// The offset of the ring in a shard.
    #[inline]
    pub(super) fn ring_offset(&self) -> usize {
        shard::INDEX + self.buckets * BUCKET_BYTES
    }

    /// The description in the header page of such a store on such a machine.
    pub(super) fn header(&self) -> [u8; header::ID - header::DESCRIPTION] {
        let halves = [VERSION, BYTE_ORDER, half(super::mapping::LOCK_BYTES), half(self.shards)];
        let words = [self.total, self.shard_bytes, self.buckets, self.ring];
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

fn half(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::MOST_BYTES;

    #[test]
    fn the_parts_of_every_size_fit_and_are_large_enough() {
        assert_eq!(Geometry::of(LEAST_SIZE - 1), None);
        for total in
            [LEAST_SIZE, LEAST_SIZE + 1, 3 << 20, 64 << 20, (64 << 20) - 1, 5 << 30, 1 << 40]
        {
            let geometry = Geometry::of(total).unwrap();
            assert!(geometry.shard(geometry.shards) <= total, "{geometry:?}");
            assert!(geometry.ring_offset() + geometry.ring <= geometry.shard_bytes);
            assert!(geometry.ring >= 4 * MOST_BYTES && geometry.ring.is_multiple_of(UNIT));
            assert!(geometry.ring / UNIT < u32::MAX as usize);
            assert_eq!(geometry.shard(1) % 64, 0);
        }
    }
}
