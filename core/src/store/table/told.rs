//! The agent's side of the table: what other hosts have not been told.
//!
//! A session and a removal are untold from the step in which they are published. A bit of the region's head
//! says in which buckets to look. Without an agent all bits are soon set, and nobody writes them again. What
//! the agent has read is in flight until Redis has it.

use super::body::Facts;
use super::bucket::{CELLS, Key, WAYS};
use super::cell::{COMPLETE, Cell, IN_FLIGHT, QUIET, State, UNTOLD};
use super::word::fence_after_change;
use super::{Place, REGION_BUCKETS, Table};
use crate::store::Now;
use crate::store::counters::Counter;
use crate::store::record::{APPLIED, HEAD_BYTES, Head, Kind, LOCAL, Locator, UNIT};

/// A cell that the agent has read, until it is told.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct InFlight {
    bucket: usize,
    number: usize,
    cell: Cell,
}

impl<'a> Table<'a> {
    /// Whether something may be untold in a region.
    pub(in crate::store) fn is_dirty(&self, region: usize) -> bool {
        self.regions.get(region).is_some_and(|region| region.dirty.get() != 0)
    }

    /// Appends to `bytes` what is untold in a region, as records, until it is more than `most` bytes. Returns
    /// the number of records.
    #[expect(clippy::too_many_arguments, reason = "a region, and the parts of a batch")]
    pub(in crate::store) fn read_untold(
        &self,
        number: usize,
        now: Now,
        most: usize,
        bytes: &mut Vec<u8>,
        in_flight: &mut Vec<InFlight>,
    ) -> u64 {
        let Some(region) = self.regions.get(number) else { return 0 };
        let mut records = 0;
        // A process that publishes after this sets the bit anew.
        let mut dirty = region.dirty.swap(0);
        fence_after_change();
        while dirty != 0 {
            let bit = dirty.trailing_zeros() as usize;
            let place =
                self.numbered(number * REGION_BUCKETS + bit, Key { low: 0, high: 0, tag: 0 });
            if bytes.len() >= most {
                region.dirty.set(dirty);
                break;
            }
            records += place.map_or(0, |place| place.read_cells(now, bytes, in_flight));
            dirty &= dirty - 1;
        }
        records
    }

    /// Other hosts have what was in flight.
    pub(in crate::store) fn note_told(&self, in_flight: &[InFlight]) {
        for one in in_flight {
            self.change_flags(one, 0, UNTOLD | IN_FLIGHT);
        }
    }

    fn change_flags(&self, one: &InFlight, set: u64, clear: u64) {
        /// A use may come between.
        const TRIES: usize = 4;
        let Some(bucket) = self.buckets.get(one.bucket) else { return };
        for _ in 0..TRIES {
            let cell = bucket.cell(one.number);
            if !cell.is_same_as(one.cell) || bucket.change(one.number, cell, cell.with(set, clear))
            {
                return;
            }
        }
    }

    /// A reader begins: what an earlier one had in flight is untold.
    pub(in crate::store) fn begin_reading(&self) {
        self.each_cell(|one| {
            if one.cell.has(IN_FLIGHT) && one.cell.is_told_of() {
                self.change_flags(&one, 0, IN_FLIGHT);
            }
        });
        for region in self.regions {
            region.read.put(1);
            region.dirty.set(u64::MAX);
        }
    }

    /// All is to be told again that was made here.
    pub(in crate::store) fn tell_again(&self) {
        self.each_cell(|one| {
            let place = self.numbered(one.bucket, Key { low: 0, high: 0, tag: 0 });
            if one.cell.is_told_of()
                && place.is_some_and(|place| place.is_ours(one.number, one.cell))
            {
                self.change_flags(&one, UNTOLD, IN_FLIGHT);
            }
        });
        self.regions.iter().for_each(|region| region.dirty.set(u64::MAX));
    }

    /// How much is untold.
    pub(in crate::store) fn untold(&self) -> u64 {
        let mut untold = 0;
        self.each_cell(|one| {
            untold += u64::from(one.cell.has(UNTOLD) && one.cell.is_told_of());
        });
        untold
    }

    fn each_cell(&self, mut look: impl FnMut(InFlight)) {
        for (bucket, cells) in self.buckets.iter().enumerate() {
            for (number, cell) in cells.look().cells().iter().copied().enumerate() {
                look(InFlight { bucket, number, cell });
            }
        }
    }
}

impl Cell {
    /// Whether it is what other hosts are told of.
    fn is_told_of(self) -> bool {
        matches!(self.state(), State::Live | State::Trace)
    }
}

impl Place<'_> {
    fn is_ours(&self, number: usize, cell: Cell) -> bool {
        match cell.state() {
            State::Trace => !cell.has(QUIET),
            _ => number < WAYS && self.bucket.facts(number).flags & (LOCAL | APPLIED) == 0,
        }
    }

    fn read_cells(&self, now: Now, bytes: &mut Vec<u8>, in_flight: &mut Vec<InFlight>) -> u64 {
        let mut records = 0;
        for number in 0..CELLS {
            let cell = self.bucket.cell(number);
            if !cell.has(UNTOLD) || cell.has(IN_FLIGHT) || cell.is_over(now) {
                continue;
            }
            let before = bytes.len();
            let is_read = match cell.state() {
                State::Live if number < WAYS => self.read_session(number, cell, bytes),
                State::Trace if cell.has(COMPLETE) => self.read_trace(number, cell, bytes),
                _ => continue,
            };
            if is_read.is_none() {
                bytes.truncate(before);
                if cell.is(State::Live) && self.kill(number, cell, now) {
                    // A part of it has made room.
                    self.count(Counter::Untold);
                }
                continue;
            }
            self.bucket.change(number, cell, cell.with(IN_FLIGHT, 0));
            in_flight.push(InFlight { bucket: self.number, number, cell });
            records += 1;
        }
        records
    }

    fn read_session(&self, way: usize, cell: Cell, bytes: &mut Vec<u8>) -> Option<()> {
        let Facts { deadline, written, length, .. } = self.bucket.facts(way);
        let [low, high, ..] = self.bucket.slot(way);
        let locator = Locator::of(low.peek(), high.peek());
        let head = Head { kind: Kind::Put, flags: 0, payload: length, deadline, written, locator };
        let place = self.table.numbered(self.number, Key::of(&locator))?;
        bytes.try_reserve(HEAD_BYTES + length + UNIT).ok()?;
        bytes.extend_from_slice(&head.to_bytes()?);
        let before = bytes.len();
        let next = self.bucket.read_first(way, length, bytes);
        let facts = self.bucket.facts(way);
        // A process that goes on after a stop may have written its own session here, for this host alone.
        if facts.flags & (LOCAL | APPLIED) != 0
            || facts.length != length
            || !place.read_further(next, facts, before, bytes)
            || !self.bucket.is_still(way, cell)
        {
            return None;
        }
        pad(bytes, head.size() - HEAD_BYTES - length);
        Some(())
    }

    fn read_trace(&self, number: usize, cell: Cell, bytes: &mut Vec<u8>) -> Option<()> {
        let [low, high, ..] = self.bucket.body(number) else { return None };
        let locator = Locator::of(low.peek(), high.peek());
        let times = self.bucket.times(number, cell)?;
        let head = Head {
            kind: Kind::Removal,
            flags: 0,
            payload: 0,
            deadline: times.deadline,
            written: times.written,
            locator,
        };
        bytes.try_reserve(HEAD_BYTES + UNIT).ok()?;
        bytes.extend_from_slice(&head.to_bytes()?);
        pad(bytes, head.size() - HEAD_BYTES);
        Some(())
    }
}

fn pad(bytes: &mut Vec<u8>, padding: usize) {
    bytes.resize(bytes.len() + padding, 0);
}
