//! Lookups: what is under a locator, and what its use means.

use super::Place;
use super::body::{Facts, Link};
use super::bucket::{Bucket, Cells, WAYS};
use super::cell::{CHANCE, Cell, DEADLINE_UNIT, REGULAR, REMEMBERED, SPENT, State, low_byte};
use crate::store::counters::Counter;
use crate::store::record::{APPLIED, LOCAL};
use crate::store::skew::believed;
use crate::store::{Lookup, Now, Trust, Use};

/// Uses within so many puts to the bucket are one visit: an eighth of the time in which a queue would
/// forget.
const VISIT: u8 = 4;
const _: () = assert!(cfg!(loom) || VISIT as usize == WAYS / 8);

/// A session that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    pub(super) way: usize,
    pub(super) cell: Cell,
    pub(super) facts: Facts,
}

impl Bucket {
    /// Sessions, and further slots of large ones.
    pub(super) fn occupied(&self) -> [u64; 2] {
        let seen = self.look();
        let cells = seen.cells();
        let count = |state| {
            let slots = cells.iter().take(WAYS);
            slots.filter(|cell| cell.is(state)).count() as u64
        };
        [count(State::Live), count(State::More)]
    }

    /// Sessions that began until this second may have been removed without a trace.
    #[inline]
    pub(super) fn believed_floor(&self, now: Now) -> u64 {
        let floor = self.floor.get();
        let counts = believed(floor, now.seconds());
        if counts != floor {
            // From then on it rises again.
            self.floor.change(floor, counts);
        }
        counts
    }

    /// Whether a use of the session now is by a client who has come back: it was one already, or this is
    /// another visit.
    #[inline]
    fn came_back(&self, cell: Cell) -> bool {
        cell.has(REGULAR) || self.age(cell) > VISIT
    }

    /// Puts since the cell's last use that counted, and 1. It is 0 for one that came and is not counted yet, nor
    /// ever if its process died: that one has the stamp of the next time.
    #[inline]
    pub(super) fn age(&self, cell: Cell) -> u8 {
        low_byte(self.time()).wrapping_add(1).wrapping_sub(cell.stamp())
    }
}

/// Removals of sessions that began until this second may be over, though the sessions are not.
#[inline]
fn oldest_remembered(now: Now) -> u64 {
    now.seconds().saturating_sub(REMEMBERED << DEADLINE_UNIT)
}

impl Place<'_> {
    /// The first session under the locator.
    pub(super) fn find(&self) -> Option<Hit> {
        self.find_in(self.bucket.with_tag(self.key.tag))
    }

    /// The first session under the locator, of those with its tag.
    pub(super) fn find_in(&self, mut cells: Cells) -> Option<Hit> {
        cells.find_map(|way| self.hit(way))
    }

    #[inline]
    pub(super) fn hit(&self, way: usize) -> Option<Hit> {
        let cell = self.bucket.cell(way);
        if !cell.is(State::Live) || way >= WAYS || !self.bucket.is_of(way, &self.key) {
            return None;
        }
        let facts = self.bucket.facts(way);
        self.bucket.is_still(way, cell).then_some(Hit { way, cell, facts })
    }

    /// Sessions that began until this second may have been removed without a trace.
    #[inline]
    pub(in crate::store) fn floor(&self, now: Now) -> u64 {
        self.bucket.believed_floor(now)
    }

    /// Whether the session was removed.
    #[inline]
    pub(in crate::store) fn is_removed(&self, now: Now) -> bool {
        self.is_removed_by(self.bucket.with_tag(self.key.tag), now)
    }

    /// Whether one of these cells is a removal that holds.
    #[inline]
    pub(super) fn is_removed_by(&self, mut cells: Cells, now: Now) -> bool {
        cells.any(|number| self.bucket.holds(number, self.bucket.cell(number), now))
    }

    /// Whether a session may be there; false is certain.
    #[inline]
    pub(in crate::store) fn may_have(&self) -> bool {
        let mut cells = self.bucket.with_tag(self.key.tag);
        cells.any(|number| self.bucket.cell(number).is(State::Live))
    }

    /// The facts of the session under the locator.
    pub(in crate::store) fn facts(&self) -> Option<Facts> {
        self.find().map(|hit| hit.facts)
    }

    /// Appends the payload under the locator to `into`.
    #[inline]
    pub(in crate::store) fn get(&self, now: Now, into: &mut Vec<u8>) -> Lookup {
        self.bucket.fetch_time();
        let cells = self.bucket.with_tag(self.key.tag);
        if cells.is_empty() {
            self.count(Counter::Misses);
            return Lookup::Missing;
        }
        self.bucket.fetch_each(cells);
        if self.is_removed_by(cells, now) {
            self.count(Counter::TombstoneHits);
            return Lookup::Removed;
        }
        let found =
            cells.filter_map(|way| self.hit(way)).find_map(|hit| self.copy(&hit, now, into));
        found.unwrap_or_else(|| {
            self.count(Counter::Misses);
            Lookup::Missing
        })
    }

    /// Appends the payload to `into`, and counts nothing.
    pub(in crate::store) fn copy_into(&self, now: Now, into: &mut Vec<u8>) -> bool {
        let copied = self.find().and_then(|hit| self.copy(&hit, now, into));
        matches!(copied, Some(Lookup::Found { .. }))
    }

    /// Copies a session out, unless it is over or changes meanwhile.
    fn copy(&self, hit: &Hit, now: Now, into: &mut Vec<u8>) -> Option<Lookup> {
        let Hit { way, cell, facts } = *hit;
        if facts.deadline < now.seconds() {
            if self.kill(way, cell, now) {
                self.count(Counter::Expired);
            }
            return None;
        }
        let before = into.len();
        if into.try_reserve(facts.length).is_err() {
            return Some(Lookup::Busy);
        }
        let next = self.bucket.read_first(way, facts.length, into);
        let is_whole = self.read_further(next, facts, before, into);
        if !is_whole || !self.bucket.is_still(way, cell) {
            into.truncate(before);
            // A part has made room, so that the rest is of no use.
            self.kill(way, cell, now);
            return None;
        }
        let came_back = self.bucket.came_back(cell);
        let is_elsewhere = facts.flags & APPLIED != 0;
        Some(Lookup::Found { deadline: facts.deadline, came_back, is_elsewhere })
    }

    /// Appends the rest of a session, behind its first slot. False if it is not whole any more.
    #[inline]
    pub(super) fn read_further(
        &self,
        next: Link,
        facts: Facts,
        before: usize,
        into: &mut Vec<u8>,
    ) -> bool {
        (facts.further() == 0 || self.read_slots(next, facts, before, into))
            && into.len() - before == facts.length
    }

    fn read_slots(&self, mut next: Link, facts: Facts, before: usize, into: &mut Vec<u8>) -> bool {
        for further in 1..=facts.further() {
            let Some((place, way)) = self.ahead(further).zip(next.way()) else { return false };
            let cell = place.bucket.cell(way);
            if way >= WAYS || !next.leads_to(self.key.tag, cell) {
                return false;
            }
            let left = facts.length.saturating_sub(into.len() - before);
            next = place.bucket.read_further(way, left, into);
            if !place.bucket.is_still(way, cell) {
                return false;
            }
        }
        true
    }

    /// The session resumes: a regular's stays longer, a ticket of TLS 1.3 is the next to make room. Returns
    /// whether its client has come back.
    #[inline]
    pub(in crate::store) fn note_use(&self, kind: Use) -> bool {
        let mut came_back = false;
        for way in self.bucket.with_tag(self.key.tag) {
            let cell = self.bucket.cell(way);
            if !cell.is(State::Live) {
                continue;
            }
            came_back |= self.bucket.came_back(cell);
            match kind {
                Use::Ticket if !cell.has(SPENT) => {
                    self.bucket.change(way, cell, cell.with(SPENT, 0));
                }
                Use::Visit if self.bucket.age(cell) > VISIT => {
                    let again = if cell.has(REGULAR) { CHANCE } else { 0 };
                    let used = cell.with(REGULAR | again, 0).with_stamp(self.bucket.time());
                    let further = self.further_of(way, cell);
                    if self.bucket.change(way, cell, used)
                        && let Some((facts, next)) = further
                    {
                        self.keep_further(next, facts);
                    }
                }
                Use::Ticket | Use::Visit => {}
            }
        }
        came_back
    }

    /// Whether the session had to make room a while ago, as far as is known. Asked once a connection,
    /// because the store learns from it.
    pub(in crate::store) fn had_to_go(&self) -> bool {
        let ghost = self.bucket.ghost_of(self.key.tag);
        if let Some((was_regular, share)) = ghost.zip(self.table.share) {
            share.learn(was_regular, self.slots());
        }
        ghost.is_some()
    }

    /// Whether a session that a process has itself may be used. It began in this second.
    #[inline]
    pub(in crate::store) fn trust(&self, began: u64, now: Now) -> Trust {
        if self.is_removed(now) {
            self.count(Counter::TombstoneHits);
            return Trust::Removed;
        }
        // In this order, because who forgets a removal raises the floor first.
        let floor = self.bucket.believed_floor(now).max(oldest_remembered(now));
        if believed(began, now.seconds()) > floor { Trust::Good } else { Trust::Unproven }
    }

    /// Takes the record of this host under the locator away, which leaves no removal. One of several callers
    /// gets true.
    pub(in crate::store) fn spend(&self, now: Now) -> bool {
        let Some(hit) = self.find() else { return false };
        let is_good = hit.facts.flags & LOCAL != 0 && hit.facts.deadline >= now.seconds();
        let is_spent = is_good && self.kill(hit.way, hit.cell, now);
        if is_spent {
            self.count(Counter::Takes);
        }
        is_spent
    }
}
