//! The ring of a shard: records one behind the other, the oldest making room for the newest.
//!
//! An append never fails for want of room and never moves a session. When the ring comes round to a
//! removal that is still needed, the removal is written again at the head. Removals take no more
//! than a share of the ring.

use super::cell::Cell;
use super::counters::Counter;
use super::damaged::Damaged;
use super::layout::shard;
use super::record::{HEAD_BYTES, Head, Kind, Locator, MOVED, START_BYTES, UNIT, filler, start};
use super::shard::LockedShard;
use super::skew::believed;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// Bytes of a removal in the ring.
const REMOVAL_BYTES: usize = HEAD_BYTES.next_multiple_of(UNIT);
/// Removals may take this part of the ring.
const REMOVAL_SHARE: u64 = 8;
/// The most removals that an append carries along.
const MOST_CARRIED: usize = 1024;

/// A removal on its way from the tail to the head.
struct Carried {
    head: Head,
    /// The cell's value, which points to the old place.
    cell: Cell,
}

impl LockedShard<'_> {
    /// Writes a record at the head of the ring; returns its position.
    pub(super) fn append(&self, head: &Head, payload: &[u8]) -> Result<u64, Damaged> {
        for carried in self.make_room(head.size())? {
            let position = self.write(&carried.head, &[])?;
            self.repoint(&carried.head.locator, carried.cell, position)?;
        }
        self.write(head, payload)
    }

    fn used(&self) -> u64 {
        self.get(shard::HEAD).saturating_sub(self.get(shard::TAIL))
    }

    /// Bytes from the head to where the ring starts again.
    fn to_end(&self) -> u64 {
        self.ring() - self.get(shard::HEAD) % self.ring()
    }

    /// Frees the room for a record of `size` bytes, and for the removals that it meets.
    fn make_room(&self, size: usize) -> Result<Vec<Carried>, Damaged> {
        let mut carried = Vec::new();
        loop {
            let total = (size + carried.len() * REMOVAL_BYTES) as u64;
            // At most one record does not fit before the end, which is then filled.
            let fill = if self.to_end() < total { size.max(REMOVAL_BYTES) as u64 } else { 0 };
            if self.used() + total + fill <= self.ring() {
                return Ok(carried);
            }
            if self.used() == 0 {
                return Err(Damaged::Room);
            }
            self.evict(&mut carried)?;
        }
    }

    /// The oldest record leaves the ring.
    fn evict(&self, carried: &mut Vec<Carried>) -> Result<(), Damaged> {
        let tail = self.get(shard::TAIL);
        let mut bytes = [0; START_BYTES];
        self.shard.mapping.read(self.place(tail), &mut bytes)?;
        let (kind, size) = start(bytes)?;
        if size as u64 > self.used().min(self.ring() - tail % self.ring()) {
            return Err(Damaged::Length);
        }
        if kind != Kind::Filler && self.head(tail)?.flags & MOVED == 0 {
            self.change(shard::PASSED, 1, 0);
        }
        match kind {
            Kind::Filler | Kind::Dead => {}
            Kind::Put => {
                let head = self.head(tail)?;
                let is_over = head.deadline < self.now / 1000;
                self.shard.count(if is_over { Counter::Expired } else { Counter::Evicted });
                self.clear(&head.locator, self.cell_of(&head, tail))?;
                self.change(shard::LIVE, 0, 1);
                self.change(shard::LIVE_BYTES, 0, size as u64);
            }
            Kind::Removal => self.evict_removal(self.head(tail)?, tail, carried)?,
        }
        self.set(shard::TAIL, tail + size as u64);
        Ok(())
    }

    fn evict_removal(
        &self,
        head: Head,
        tail: u64,
        carried: &mut Vec<Carried>,
    ) -> Result<(), Damaged> {
        let cell = self.cell_of(&head, tail);
        if self.bucket_has(&head.locator, cell)? {
            if head.deadline < self.now / 1000 {
                self.change(shard::REMOVALS, 0, 1);
            } else {
                let share = self.get(shard::REMOVALS) * REMOVAL_BYTES as u64;
                let fits = share <= self.ring() / REMOVAL_SHARE && carried.len() < MOST_CARRIED;
                if fits && carried.try_reserve(1).is_ok() {
                    let mut head = Head { flags: head.flags | MOVED, ..head };
                    // Its times may be those of a clock that was ahead.
                    let written = believed(head.written.div_ceil(1000), self.now / 1000) * 1000;
                    if written < head.written {
                        head.deadline =
                            head.deadline.saturating_sub((head.written - written) / 1000);
                        head.written = written;
                    }
                    carried.push(Carried { head, cell });
                    return Ok(());
                }
                self.forget_removal(&head);
            }
            self.clear(&head.locator, cell)?;
        }
        Ok(())
    }

    fn cell_of(&self, head: &Head, position: u64) -> Cell {
        Cell::new(&head.locator, head.kind == Kind::Removal, self.offset(position))
    }

    fn bucket_has(&self, locator: &Locator, value: Cell) -> Result<bool, Damaged> {
        Ok(self.shard.bucket(locator)?.iter().any(|cell| cell.load(Relaxed) == value.0))
    }

    fn clear(&self, locator: &Locator, value: Cell) -> Result<(), Damaged> {
        self.replace(locator, value, 0)
    }

    fn repoint(&self, locator: &Locator, value: Cell, position: u64) -> Result<(), Damaged> {
        self.replace(locator, value, Cell::new(locator, true, self.offset(position)).0)
    }

    fn replace(&self, locator: &Locator, value: Cell, by: u64) -> Result<(), Damaged> {
        let bucket = self.shard.bucket(locator)?;
        if let Some(cell) = bucket.iter().find(|cell| cell.load(Relaxed) == value.0) {
            cell.store(by, Release);
        }
        Ok(())
    }

    /// Writes a record where there is room for it.
    fn write(&self, head: &Head, payload: &[u8]) -> Result<u64, Damaged> {
        let mapping = self.shard.mapping;
        let (size, to_end) = (head.size() as u64, self.to_end());
        if to_end < size {
            let position = self.get(shard::HEAD);
            mapping.write(self.place(position), &filler(to_end)?)?;
            self.set(shard::HEAD, position + to_end);
        }
        let position = self.get(shard::HEAD);
        if self.used() + size > self.ring() {
            return Err(Damaged::Room);
        }
        let place = self.place(position);
        mapping.write(place, &head.to_bytes()?)?;
        mapping.write(place + HEAD_BYTES, payload)?;
        self.set(shard::HEAD, position + size);
        if head.flags & MOVED == 0 {
            self.change(shard::APPENDED, 1, 0);
        }
        Ok(position)
    }
}
