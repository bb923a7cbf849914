//! Putting a session: a slot is claimed, written and published.

use super::body::{Facts, Link, further, parts};
use super::bucket::{EVICTED, RISE, STORED, TRACED, WAYS};
use super::cell::{CHANCE, Cell, LARGE, LONG, REGULAR, SPENT, State, UNTOLD};
use super::victim::{FEW, victim};
use super::word::fence_after_change;
use super::{Place, Seen};
use crate::store::counters::Counter;
use crate::store::record::{APPLIED, CAME_BACK, LOCAL};
use crate::store::{Now, PutError};

/// Tries to claim a slot. One fails because another process has changed the very cell, or because a session is
/// passed over.
const TRIES: usize = 16;
/// The most sessions that a put passes over.
const MOST_PASSED: usize = 8;

/// A slot that is claimed.
#[derive(Clone, Copy, Debug)]
struct Claimed {
    way: usize,
    cell: Cell,
    /// [`EVICTED`] if a session made room, else 0.
    evicted: u64,
    /// The bucket's time when this slot will have come.
    time: u64,
}

impl Place<'_> {
    /// Puts a payload under the locator, in place of one before. `flags`: [`LOCAL`], [`APPLIED`],
    /// [`CAME_BACK`].
    ///
    /// # Errors
    /// [`PutError`].
    pub(in crate::store) fn put(
        &self,
        deadline: u64,
        now: Now,
        flags: u8,
        payload: &[u8],
    ) -> Result<(), PutError> {
        self.bucket.fetch_next();
        let removals = self.bucket.removals();
        if further(payload.len()) > 0 && self.is_removed(now) {
            return Err(PutError::Removed);
        }
        let facts = Facts {
            deadline,
            written: now.0,
            length: payload.len(),
            flags: flags & (LOCAL | APPLIED),
        };
        let regular = if flags & CAME_BACK != 0 { REGULAR } else { 0 };
        let long = if facts.further() > 0 { LONG } else { 0 };
        let next = self.write_further(facts, payload, regular, now)?;
        let Claimed { way, cell: claim, evicted, time } =
            self.claim_for(None, now).map_err(|error| {
                self.free_further(self.key.tag, next, facts, now);
                self.refused(error)
            })?;
        let first = parts(payload).next().unwrap_or(&[]);
        self.bucket.write_first(way, &self.key, facts, first, next);
        let untold = if flags & (LOCAL | APPLIED) == 0 { UNTOLD } else { 0 };
        let live = claim.done(State::Live, deadline, now, untold | regular | long).with_stamp(time);
        if !self.bucket.change(way, claim, live) {
            self.bucket.counts.add(evicted);
            self.free_further(self.key.tag, next, facts, now);
            return Err(self.busy());
        }
        // A removal that was written meanwhile has not seen this session, or is seen here.
        fence_after_change();
        let changed = self.bucket.removals() ^ removals;
        if changed != 0 && (changed >= RISE / TRACED || self.is_removed(now)) {
            self.bucket.counts.add(evicted);
            self.kill(way, live, now);
            return Err(PutError::Removed);
        }
        if untold != 0 {
            self.mark();
        }
        self.bucket.counts.add(STORED + evicted);
        Ok(())
    }

    fn refused(&self, error: PutError) -> PutError {
        if error == PutError::Busy { self.busy() } else { error }
    }

    fn busy(&self) -> PutError {
        self.count(Counter::Busy);
        PutError::Busy
    }

    /// Writes all slots but the first, the last one first. Returns where the first one leads.
    fn write_further(
        &self,
        facts: Facts,
        payload: &[u8],
        regular: u64,
        now: Now,
    ) -> Result<Link, PutError> {
        let large = if facts.further() >= FEW { LARGE } else { 0 };
        let mut next = Link::END;
        for (number, part) in parts(payload).enumerate().skip(1).rev() {
            let place = self.ahead(number);
            let claimed =
                place.and_then(|place| Some((place, place.claim_for(Some(large != 0), now).ok()?)));
            let Some((place, Claimed { way, cell: claim, evicted, time })) = claimed else {
                self.free_tail(number, next, facts, now);
                return Err(self.busy());
            };
            place.bucket.counts.add(evicted);
            place.bucket.write_further(way, part, next);
            place.bucket.clock.add(1);
            let cell =
                claim.done(State::More, facts.deadline, now, large | regular).with_stamp(time);
            if !place.bucket.change(way, claim, cell) {
                self.free_tail(number, next, facts, now);
                return Err(self.busy());
            }
            next = Link::to(way, cell);
        }
        Ok(next)
    }

    /// Frees the slots behind number `written`.
    fn free_tail(&self, written: usize, next: Link, facts: Facts, now: Now) {
        if let Some(place) = self.ahead(written) {
            place.free_counted(self.key.tag, next, facts.further().saturating_sub(written), now);
        }
    }

    /// Claims a slot in this bucket, for the first slot of a session, or for a further one of a session that
    /// has many or not.
    fn claim_for(&self, further: Option<bool>, now: Now) -> Result<Claimed, PutError> {
        for tried in 0..TRIES {
            let seen = self.bucket.look();
            let cells = seen.cells();
            let clock = self.bucket.time();
            if clock.is_multiple_of(WAYS as u64) {
                self.bucket.keep_old(cells, clock);
            }
            let matches = seen.tagged(self.key.tag);
            if further.is_none() && self.is_removed_by(matches, now) {
                return Err(PutError::Removed);
            }
            let is_live = |way: &usize| cells.get(*way).is_some_and(|cell| cell.is(State::Live));
            let mut same = matches.filter(|way| *way < WAYS && further.is_none());
            let same = same.find(is_live);
            let way = same.or_else(|| self.victim(&seen, clock, now, further == Some(true)));
            let way = way.ok_or(PutError::Busy)?;
            let before = *cells.get(way).ok_or(PutError::Busy)?;
            let may_pass = same.is_none() && tried < MOST_PASSED;
            if may_pass && self.passes_over(way, before, clock, now) {
                continue;
            }
            let claim = before.claim(State::Writing, self.key.tag, now);
            self.bucket.fetch(way);
            if self.bucket.change(way, before, claim) {
                let mut evicted = 0;
                if before.is(State::Live) {
                    evicted = self.count_leaving(before, same.is_some(), now);
                }
                if before.is(State::Live) && before.has(LONG) {
                    // They are still the session's, until this process writes.
                    let (facts, next) = (self.bucket.facts(way), self.bucket.link(way));
                    self.free_further(before.tag(), next, facts, now);
                }
                return Ok(Claimed { way, cell: claim, evicted, time: clock.wrapping_add(1) });
            }
        }
        Err(PutError::Busy)
    }

    /// The way that makes room.
    #[inline]
    fn victim(&self, seen: &Seen, clock: u64, now: Now, is_of_large: bool) -> Option<usize> {
        let may_have = self.table.share.map_or(WAYS, |share| share.ways(clock ^ self.key.low));
        let (cells, ways) = (seen.cells(), seen.ways(now));
        let free = self.bucket.free_ways(cells, &ways, now);
        // Damage may have left nothing but removals.
        let forgotten = || self.forget_trace(cells, now, &mut 0).filter(|number| *number < WAYS);
        victim(&ways, free, clock, may_have, is_of_large).or_else(forgotten)
    }

    /// Whether a session is passed over because its client came back again. It has no chance more then.
    fn passes_over(&self, way: usize, cell: Cell, clock: u64, now: Now) -> bool {
        cell.has(CHANCE)
            && cell.is(State::Live)
            && !cell.has(SPENT)
            && !cell.is_over(now)
            && self.bucket.change(way, cell, cell.with(0, CHANCE).with_stamp(clock))
    }

    /// A session makes room. Returns by how much the bucket's counts grow: [`EVICTED`] or 0.
    pub(super) fn count_leaving(&self, cell: Cell, is_replaced: bool, now: Now) -> u64 {
        let is_over = cell.is_over(now);
        if cell.has(UNTOLD) && !is_over && self.region.is_read() {
            self.count(Counter::Untold);
        }
        if is_replaced {
            return 0;
        }
        if is_over {
            self.count(Counter::Expired);
            return 0;
        }
        if !cell.has(SPENT) {
            self.bucket.note_ghost(cell);
            let clock = self.bucket.time();
            if let Some(share) = self.table.share {
                share.note_gone(cell.has(REGULAR), clock, self.slots());
            }
        }
        EVICTED
    }

    /// Whether a payload of so many bytes has its slots in different buckets.
    pub(in crate::store) fn has_room_for(&self, length: usize) -> bool {
        further(length) < self.table.buckets.len()
    }
}
