//! A shard: a lock, an index and a ring, and the operations on them.
//!
//! Everything but a glance at the index happens under the shard's lock, for the length of a copy. A
//! shard is emptied if its last holder died or if its memory is damaged. It may forget and must not
//! lie, so sessions that began before are refused where nothing else proves them good. [`Damaged`]
//! names the value that makes no sense.

use super::cell::Cell;
use super::counters::Counter;
use super::damaged::Damaged;
use super::layout::{BUCKET_BYTES, Geometry, shard};
use super::mapping::{Guard, Lock, Mapping, Outside};
use super::record::{HEAD_BYTES, Head, Kind, UNIT};
use super::skew::believed;
use crate::system::clock::now_milliseconds;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};
use std::time::Duration;

/// The longest wait for another process's copy. A process that takes longer is stopped or starved.
const PATIENCE: Duration = Duration::from_millis(20);
/// Positions beyond this are not believed.
const MOST_POSITION: u64 = 1 << 62;

/// A shard of a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shard<'a> {
    pub(super) mapping: &'a Mapping,
    pub(super) geometry: &'a Geometry,
    pub(super) base: usize,
}

/// The lock was not to be had, or the shard was damaged and has been emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy;

/// A shard whose lock is held.
#[derive(Debug)]
pub(super) struct LockedShard<'a> {
    pub(super) shard: Shard<'a>,
    /// Now, in milliseconds since 1970.
    pub(super) now: u64,
    _guard: Guard<'a>,
}

impl<'a> Shard<'a> {
    #[inline]
    pub(super) fn word(&self, offset: usize) -> Result<&'a AtomicU64, Outside> {
        self.mapping.word(self.base + offset)
    }

    pub(super) fn value(&self, offset: usize) -> u64 {
        self.word(offset).map_or(0, |word| word.load(Acquire))
    }

    #[inline]
    pub(super) fn count(&self, counter: Counter) {
        if let Ok(word) = self.word(shard::COUNTERS + counter as usize * size_of::<u64>()) {
            word.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn counted(&self, counter: Counter) -> u64 {
        self.value(shard::COUNTERS + counter as usize * size_of::<u64>())
    }

    /// Sessions that began until this second may have been removed without a trace.
    #[inline]
    pub(super) fn floor(&self, now: u64) -> u64 {
        let floor = self.value(shard::FLOOR);
        let counts = believed(floor, now);
        // From then on it rises again.
        if counts != floor
            && let Ok(word) = self.word(shard::FLOOR)
        {
            let _ = word.compare_exchange(floor, counts, Release, Relaxed);
        }
        counts
    }

    fn lost(&self) -> Result<&'a AtomicU32, Outside> {
        self.mapping.half_word(self.base + shard::LOST)
    }

    /// Whether a removal could not be written. Then nothing in here is believed until the next
    /// holder of the lock has emptied the shard.
    #[inline]
    pub(super) fn has_lost_a_removal(&self) -> bool {
        self.lost().is_ok_and(|lost| lost.load(Acquire) != 0)
    }

    /// Notes that a removal could not be written.
    pub(super) fn lose_a_removal(&self) {
        if let Ok(lost) = self.lost() {
            // It never becomes 0 again, however often.
            let more = |lost: u32| Some(lost.wrapping_add(1).max(1));
            let _ = lost.fetch_update(AcqRel, Relaxed, more);
        }
    }

    /// Empties the shard now; false if the lock is still not to be had.
    #[cold]
    pub(super) fn mend(&self, now: u64) -> bool {
        self.locked(now, |_| Ok(())).is_ok()
    }

    /// Runs `body` with the lock held. If a lock is not to be had within [`PATIENCE`], every
    /// process tries it without waiting from then on, until one gets it.
    pub(super) fn locked<T>(
        &self,
        now: u64,
        body: impl FnOnce(&LockedShard<'a>) -> Result<T, Damaged>,
    ) -> Result<T, Busy> {
        let stuck = self.mapping.half_word(self.base + shard::STUCK).map_err(|Outside| Busy)?;
        let patience = (stuck.load(Relaxed) == 0).then_some(PATIENCE);
        let (guard, inherited) = match self.mapping.lock(self.base + shard::LOCK, patience) {
            Lock::Held(guard) => (guard, false),
            Lock::Inherited(guard) => (guard, true),
            Lock::Busy | Lock::Broken => {
                stuck.store(1, Relaxed);
                self.count(Counter::Busy);
                return Err(Busy);
            }
        };
        if patience.is_none() {
            stuck.store(0, Relaxed);
        }
        let locked = LockedShard { shard: *self, now, _guard: guard };
        if inherited || self.has_lost_a_removal() || !locked.makes_sense() {
            locked.reset();
        }
        body(&locked).map_err(|_| {
            locked.reset();
            Busy
        })
    }
}

impl LockedShard<'_> {
    pub(super) fn get(&self, offset: usize) -> u64 {
        self.shard.word(offset).map_or(0, |word| word.load(Relaxed))
    }

    pub(super) fn set(&self, offset: usize, value: u64) {
        if let Ok(word) = self.shard.word(offset) {
            word.store(value, Release);
        }
    }

    pub(super) fn change(&self, offset: usize, add: u64, take: u64) {
        self.set(offset, self.get(offset).saturating_add(add).saturating_sub(take));
    }

    pub(super) fn ring(&self) -> u64 {
        self.shard.geometry.ring as u64
    }

    fn makes_sense(&self) -> bool {
        let (head, tail) = (self.get(shard::HEAD), self.get(shard::TAIL));
        let unit = UNIT as u64;
        head.is_multiple_of(unit)
            && tail.is_multiple_of(unit)
            && head < MOST_POSITION
            && head.checked_sub(tail).is_some_and(|used| used <= self.ring())
    }

    /// Forgets everything, and notes that removals were forgotten too. The ring stays as it is. To
    /// wipe it takes longer than other processes wait, and a removal given up is the next reset's
    /// reason.
    fn reset(&self) {
        let lost = self.shard.lost().map(|lost| (lost, lost.load(Acquire)));
        // The present counts, not only the start of this operation. It may have waited or been
        // stopped since, while others removed sessions that began later.
        self.raise_floor(self.now.max(now_milliseconds()) / 1000);
        // A thread that sees an empty cell must see the floor. The stores after this are not
        // atomic.
        fence(Release);
        let Shard { mapping, geometry, base } = self.shard;
        // The index lies inside the mapping: `Geometry`.
        let _ = mapping.wipe(base + shard::INDEX, geometry.buckets * BUCKET_BYTES);
        let head = self.get(shard::HEAD).checked_next_multiple_of(UNIT as u64);
        let head = head.filter(|head| *head < MOST_POSITION).unwrap_or(0);
        self.set(shard::HEAD, head);
        self.set(shard::TAIL, head);
        for counter in [shard::LIVE, shard::LIVE_BYTES, shard::REMOVALS] {
            self.set(counter, 0);
        }
        self.set(shard::PASSED, self.get(shard::APPENDED));
        self.change(shard::EPOCH, 1, 0);
        self.shard.count(Counter::Resets);
        // A removal that was lost meanwhile may be of a session that began after the floor.
        if let Ok((lost, before)) = lost {
            let _ = lost.compare_exchange(before, 0, AcqRel, Relaxed);
        }
    }

    /// A removal is forgotten. Sessions that began until `second` are trusted no more unless they
    /// are in the store. Called before the cell is emptied: see `Store::trust`.
    pub(super) fn raise_floor(&self, second: u64) {
        let now = self.now / 1000;
        self.shard.floor(now);
        if let Ok(floor) = self.shard.word(shard::FLOOR) {
            floor.fetch_max(believed(second, now), Release);
        }
    }

    /// The offset in the mapping of the record at a position.
    pub(super) fn place(&self, position: u64) -> usize {
        self.shard.base + self.shard.geometry.ring_offset() + self.offset(position)
    }

    /// The offset in the ring of the record at a position.
    pub(super) fn offset(&self, position: u64) -> usize {
        // Less than the ring's length, which is a `usize`.
        usize::try_from(position % self.ring()).unwrap_or(0)
    }

    /// The position of the record that a cell names.
    pub(super) fn position(&self, cell: Cell) -> Result<u64, Damaged> {
        let (head, ring) = (self.get(shard::HEAD), self.ring());
        let offset = cell.offset().and_then(|offset| u64::try_from(offset).ok());
        let offset = offset.filter(|offset| *offset < ring).ok_or(Damaged::Cell)?;
        let back = (head % ring + ring - offset) % ring;
        let position = head.checked_sub(if back == 0 { ring } else { back });
        position.filter(|position| *position >= self.get(shard::TAIL)).ok_or(Damaged::Cell)
    }

    /// The head of the record at a position, which must lie within what is in use.
    #[inline]
    pub(super) fn head(&self, position: u64) -> Result<Head, Damaged> {
        let mut bytes = [0; HEAD_BYTES];
        let in_use = self.get(shard::HEAD).checked_sub(position).ok_or(Damaged::Length)?;
        let room = in_use.min(self.ring() - position % self.ring());
        if room < HEAD_BYTES as u64 {
            return Err(Damaged::Length);
        }
        self.shard.mapping.read(self.place(position), &mut bytes)?;
        let head = Head::from_bytes(&bytes)?;
        if head.size() as u64 > room { Err(Damaged::Length) } else { Ok(head) }
    }

    /// A session leaves. Its bytes are wiped; the ring passes over its place when it comes round.
    /// The caller clears its cell.
    pub(super) fn bury(&self, position: u64, head: &Head) -> Result<(), Damaged> {
        let place = self.place(position);
        self.shard.mapping.wipe(place + HEAD_BYTES, head.size() - HEAD_BYTES)?;
        let dead = Head { kind: Kind::Dead, ..*head }.to_bytes()?;
        self.shard.mapping.write(place, &dead)?;
        self.change(shard::LIVE, 0, 1);
        self.change(shard::LIVE_BYTES, 0, head.size() as u64);
        Ok(())
    }

    /// A removal goes before its time.
    pub(super) fn forget_removal(&self, head: &Head) {
        self.raise_floor(head.written.div_ceil(1000));
        self.change(shard::REMOVALS, 0, 1);
    }
}
