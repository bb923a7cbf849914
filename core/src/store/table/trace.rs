//! The body of a trace: locator, when it was written, and its deadline.
//!
//! That a session was removed is in the cell's word alone. The body says it to other hosts, and tells the
//! deadline to the second.

use super::bucket::{Bucket, Cells, Key};
use super::cell::{COMPLETE, Cell, State};
use super::victim::{ALL, Ways};
use crate::store::Now;
use crate::store::skew::{SKEW, believed};
use crate::sync::shared::fence;
use std::sync::atomic::Ordering::Release;

/// When a trace was written, and until when it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// In milliseconds since 1970.
    pub(super) written: u64,
    /// Its last second, since 1970.
    pub(super) deadline: u64,
}

/// The bits of a trace's life in seconds, 48 days. Above them is when it was written.
const LIFE_BITS: u32 = 22;
const LONGEST: u64 = (1 << LIFE_BITS) - 1;

impl Bucket {
    /// Writes the locator of a trace.
    pub(super) fn write_trace(&self, number: usize, key: &Key) {
        // After the cell's step: the body that was there before is another's.
        fence(Release);
        if let [low, high, ..] = self.body(number) {
            low.put(key.low);
            high.put(key.high);
        }
    }

    pub(super) fn set_times(&self, number: usize, written: u64, deadline: u64) {
        if let [_, _, times, ..] = self.body(number) {
            let life = deadline.saturating_sub(written / 1000).min(LONGEST);
            times.put(written << LIFE_BITS | life);
        }
    }

    /// The times of a trace; `None` if its body is not written, or is not this cell's.
    pub(super) fn times(&self, number: usize, cell: Cell) -> Option<Times> {
        let [low, _, times, ..] = self.body(number) else { return None };
        let (low, times) = (low.peek(), times.peek());
        let is_its = cell.has(COMPLETE) && Key::tag_of(low) == cell.tag();
        (is_its && self.is_still(number, cell)).then(|| Times::of(times))
    }

    /// The times of a trace, if its word agrees: a process that goes on after a stop may have written into its
    /// body.
    pub(super) fn sure_times(&self, number: usize, cell: Cell) -> Option<Times> {
        self.times(number, cell).filter(|times| cell.ends_with(times.deadline))
    }

    /// Whether a removal may be that of this locator, which has its tag. One whose body is not written
    /// yet may be.
    pub(super) fn may_be_of(&self, number: usize, cell: Cell, key: &Key) -> bool {
        let [low, high, ..] = self.body(number) else { return true };
        let is_it = (low.peek(), high.peek()) == (key.low, key.high);
        is_it || !cell.has(COMPLETE) || !self.is_still(number, cell)
    }

    /// Whether a cell is a removal that holds. One whose clock was ahead does.
    ///
    /// The word decides. Its body tells the second.
    pub(super) fn holds(&self, number: usize, cell: Cell, now: Now) -> bool {
        cell.is(State::Trace)
            && match self.sure_times(number, cell) {
                Some(times) => times.is_ahead(now) || times.deadline >= now.seconds(),
                None => !cell.is_over(now),
            }
    }

    /// As [`Bucket::holds`]. A removal whose clock was ahead gets its times anew.
    pub(super) fn renews(&self, number: usize, cell: Cell, now: Now) -> bool {
        let times = self.sure_times(number, cell).filter(|times| times.is_ahead(now));
        if let Some(Times { written, deadline }) = times {
            let begins = believed(written / 1000, now.seconds());
            let deadline = begins + deadline.saturating_sub(written / 1000);
            if self.change(number, cell, cell.with_deadline(deadline, now)) {
                self.set_times(number, begins * 1000, deadline);
            }
        }
        times.is_some() || self.holds(number, cell, now)
    }
}

impl Bucket {
    /// The ways that whoever needs room may have: unused ones, sessions that are over, removals that do not hold
    /// any more, and claims whose claimers do not go on.
    #[inline]
    pub(super) fn free_ways<S>(
        &self,
        cell: impl Fn(usize) -> Cell,
        ways: &Ways<S>,
        now: Now,
    ) -> u32 {
        let sessions = ways.live | ways.more;
        let mut free = ALL & !(sessions | ways.trace | ways.claimed) | sessions & ways.over;
        let seldom = ways.trace & ways.over | ways.claimed;
        for way in Cells(u64::from(seldom)) {
            let cell = cell(way);
            let is_free = match cell.state() {
                State::Trace => !self.renews(way, cell, now),
                _ => cell.is_free(now),
            };
            free |= u32::from(is_free) << way;
        }
        free
    }
}

impl Times {
    fn of(word: u64) -> Times {
        let written = word >> LIFE_BITS;
        Times { written, deadline: written / 1000 + (word & LONGEST) }
    }

    fn is_ahead(&self, now: Now) -> bool {
        self.written / 1000 > now.seconds() + SKEW
    }
}
