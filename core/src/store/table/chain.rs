//! The slots of a large session, and how a session's slots are given back.
//!
//! The first slot is in the locator's bucket, and each further one in the next bucket. A slot names the way
//! and the generation of the next one.

use super::Place;
use super::body::{Facts, Link};
use super::bucket::WAYS;
use super::cell::{Cell, LONG, REGULAR, State};
use crate::store::Now;

impl Place<'_> {
    /// Ends a session that is still as it was seen, and wipes its bytes. One of several callers gets true.
    pub(super) fn kill(&self, way: usize, seen: Cell, now: Now) -> bool {
        let further = self.further_of(way, seen);
        let Some(claim) = self.claim(way, seen, now) else { return false };
        self.give_back(way, claim);
        if let Some((facts, next)) = further {
            self.free_further(seen.tag(), next, facts, now);
        }
        true
    }

    /// The facts of a session that has further slots, and where they begin.
    #[inline]
    pub(super) fn further_of(&self, way: usize, seen: Cell) -> Option<(Facts, Link)> {
        seen.has(LONG).then(|| (self.bucket.facts(way), self.bucket.link(way)))
    }

    /// Claims a session's slot for wiping.
    pub(super) fn claim(&self, way: usize, seen: Cell, now: Now) -> Option<Cell> {
        let claim = seen.claim(State::Taken, seen.tag(), now);
        if self.bucket.change(way, seen, claim) {
            return Some(claim);
        }
        // It may have been used since.
        let cell = self.bucket.cell(way);
        (cell.is_same_as(seen) && self.bucket.change(way, cell, claim)).then_some(claim)
    }

    /// Wipes a slot that is claimed, and frees it.
    pub(super) fn give_back(&self, way: usize, claim: Cell) {
        self.bucket.wipe(way);
        self.bucket.change(way, claim, claim.freed());
    }

    /// Keeps the further slots of a session as long as the first.
    pub(super) fn keep_further(&self, mut next: Link, facts: Facts) {
        for further in 1..=facts.further() {
            let Some((place, way)) = self.ahead(further).zip(next.way()) else { return };
            let cell = place.bucket.cell(way);
            if way >= WAYS || !next.leads_to(self.key.tag, cell) {
                return;
            }
            next = place.bucket.link(way);
            let kept = cell.with(REGULAR, 0).with_stamp(place.bucket.time());
            place.bucket.change(way, cell, kept);
        }
    }

    /// Frees the further slots of a session that is gone.
    #[inline]
    pub(super) fn free_further(&self, tag: u64, next: Link, facts: Facts, now: Now) {
        if facts.further() > 0 {
            self.free_counted(tag, next, facts.further(), now);
        }
    }

    /// Frees so many slots, the first of them in the next bucket.
    pub(super) fn free_counted(&self, tag: u64, mut next: Link, count: usize, now: Now) {
        for further in 1..=count {
            let Some((place, way)) = self.ahead(further).zip(next.way()) else { return };
            let cell = place.bucket.cell(way);
            if way >= WAYS || !next.leads_to(tag, cell) {
                return;
            }
            next = place.bucket.link(way);
            let Some(claim) = place.claim(way, cell, now) else { return };
            place.give_back(way, claim);
        }
    }
}
