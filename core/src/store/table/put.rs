//! Putting a session: a slot is claimed, written and published.

use super::Place;
use super::body::{FURTHER, Facts, Link, further, split};
use super::bucket::{EVICTED, RISE, STORED, TRACED, WAYS};
use super::cell::{CHANCE, Cell, LARGE, LONG, REGULAR, SPENT, State, UNTOLD};
use super::victim::{Ages, FEW, Ways, victim};
use super::word::fence_after_change;
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
    /// The bucket's time when this slot has come.
    time: u64,
    /// The session may be in another cell too, where another process has put it or is about to.
    has_rival: bool,
}

/// A session that has left its slot to another.
#[derive(Clone, Copy, Debug)]
struct Left {
    cell: Cell,
    /// It was under the same locator.
    is_replaced: bool,
}

/// A way that is to be claimed.
struct Chosen {
    way: usize,
    /// Its cell now.
    before: Cell,
    reason: Reason,
}

/// Why a way is claimed, by what was seen of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// It has the session that is put.
    Same,
    /// Nobody needs it.
    Free,
    /// Its session, or its further slot, makes room.
    Victim,
    /// It is a removal, and the bucket's floor has risen for it: whatever it is, it goes.
    Forgotten,
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
        let began = self.bucket.events();
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
        let (first, rest) = split(payload);
        let next = self.write_further(facts, rest, regular, now)?;
        let Claimed { way, cell: claim, time, has_rival } =
            self.claim_for(None, now).map_err(|error| {
                self.free_further(self.key.tag, next, facts, now);
                self.refused(error)
            })?;
        self.bucket.write_first(way, &self.key, facts, first, next);
        let untold = if flags & (LOCAL | APPLIED) == 0 { UNTOLD } else { 0 };
        let live = claim.done(State::Live, deadline, now, untold | regular | long).with_stamp(time);
        if !self.bucket.change(way, claim, live) {
            self.uncount();
            self.free_further(self.key.tag, next, facts, now);
            return Err(self.busy());
        }
        // A removal or another record of the session that came meanwhile has not seen this one, or is seen here.
        fence_after_change();
        let events = self.bucket.events();
        if has_rival || !events.are_one_session_after(began) {
            self.settle(way, live, events.removals() ^ began.removals(), now)?;
        }
        if untold != 0 {
            self.mark();
        }
        Ok(())
    }

    /// A session is published, and others may have come to its bucket meanwhile. `removals`: what has changed of
    /// [`Events::removals`](super::bucket::Events::removals).
    #[cold]
    fn settle(&self, way: usize, live: Cell, removals: u64, now: Now) -> Result<(), PutError> {
        if removals != 0 && (removals >= RISE / TRACED || self.is_removed(now)) {
            self.uncount();
            self.kill(way, live, now);
            return Err(PutError::Removed);
        }
        // Of several that were put at once the one stays that lookups find, and that later puts replace.
        let tagged = self.bucket.with_tag(self.key.tag);
        for hit in tagged.filter_map(|way| self.hit(way)).skip(1) {
            if self.kill(hit.way, hit.cell, now) {
                self.makes_room(hit.cell, true, now);
            }
        }
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
        rest: &[u8],
        regular: u64,
        now: Now,
    ) -> Result<Link, PutError> {
        let large = if facts.further() >= FEW { LARGE } else { 0 };
        let mut next = Link::END;
        for (before, part) in rest.chunks(FURTHER).enumerate().rev() {
            let number = before + 1;
            let place = self.ahead(number);
            let claimed =
                place.and_then(|place| Some((place, place.claim_for(Some(large != 0), now).ok()?)));
            let Some((place, Claimed { way, cell: claim, time, .. })) = claimed else {
                self.free_tail(number, next, facts, now);
                return Err(self.busy());
            };
            place.bucket.write_further(way, part, next);
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
            let (matches, ways) = self.bucket.survey(self.key.tag, now);
            // Later, so that no stamp is from the future.
            let clock = self.bucket.time();
            if clock.is_multiple_of(WAYS as u64) {
                self.bucket.keep_old(&ways, clock);
            }
            if further.is_none() && self.is_removed_by(matches, now) {
                return Err(PutError::Removed);
            }
            let own = if further.is_none() { u32::MAX } else { 0 };
            let same = matches.and(own & ways.live).next();
            let chosen = match same {
                Some(way) => Some(self.chosen(way, Reason::Same)),
                None => self.victim(&ways, clock, now, further == Some(true)),
            };
            let chosen = chosen.ok_or(PutError::Busy)?;
            let Chosen { way, before, .. } = chosen;
            let may_pass = same.is_none() && tried < MOST_PASSED;
            if !self.may_claim(&chosen, &ways, now)
                || may_pass && self.passes_over(way, before, clock, now)
            {
                continue;
            }
            let claim = before.claim(State::Writing, self.key.tag, now);
            self.bucket.fetch(way);
            if self.bucket.change(way, before, claim) {
                if before.is(State::Live) && before.has(LONG) {
                    // They are still the session's, until this process writes.
                    let (facts, next) = (self.bucket.facts(way), self.bucket.link(way));
                    self.free_further(before.tag(), next, facts, now);
                }
                let left = Left { cell: before, is_replaced: same.is_some() };
                self.count_claim(further.is_some(), left, now);
                let rivals = matches.and(own & (ways.live | ways.claimed) & !(1 << way));
                let (time, has_rival) = (clock.wrapping_add(1), !rivals.is_empty());
                return Ok(Claimed { way, cell: claim, time, has_rival });
            }
        }
        Err(PutError::Busy)
    }

    /// The way that makes room.
    #[inline]
    fn victim<S: Ages>(
        &self,
        ways: &Ways<S>,
        clock: u64,
        now: Now,
        is_of_large: bool,
    ) -> Option<Chosen> {
        let may_have = || self.table.share.map_or(WAYS, |share| share.ways(clock ^ self.key.low));
        let cell = |way: usize| self.bucket.cell(way);
        let free = self.bucket.free_ways(cell, ways, now);
        let excess = || self.bucket.excess_of_large(ways, is_of_large);
        let way = victim(ways, free, clock, may_have, excess);
        let reason = if free == 0 { Reason::Victim } else { Reason::Free };
        way.map(|way| self.chosen(way, reason)).or_else(|| {
            // Damage may have left nothing but removals.
            let seen = self.bucket.look();
            let ways = seen.cells().get(..WAYS)?;
            let way = self.forget_trace(ways, now, &mut 0)?;
            Some(Chosen { way, before: *ways.get(way)?, reason: Reason::Forgotten })
        })
    }

    #[inline]
    fn chosen(&self, way: usize, reason: Reason) -> Chosen {
        Chosen { way, before: self.bucket.cell(way), reason }
    }

    /// Whether a cell is nobody's who still needs it, or a session's, which may have to make room. It may have become
    /// another's since, or between two words of the look.
    #[inline]
    fn may_claim<S: Ages>(&self, chosen: &Chosen, ways: &Ways<S>, now: Now) -> bool {
        let Chosen { way, before, reason } = *chosen;
        if reason == Reason::Forgotten {
            return true;
        }
        let is_right = match before.state() {
            State::Live | State::More => match reason {
                Reason::Same => before.tag() == self.key.tag,
                Reason::Free => before.is_over(now),
                Reason::Victim | Reason::Forgotten => true,
            },
            State::Free => true,
            State::Trace => !self.bucket.renews(way, before, now),
            State::Writing | State::Taken => before.is_free(now),
        };
        is_right && !ways.has_changed(way, before)
    }

    /// Whether a session is passed over because its client came back again. It has no chance more then.
    fn passes_over(&self, way: usize, cell: Cell, clock: u64, now: Now) -> bool {
        cell.has(CHANCE)
            && cell.is(State::Live)
            && !cell.has(SPENT)
            && !cell.is_over(now)
            && self.bucket.change(way, cell, cell.with(0, CHANCE).with_stamp(clock))
    }

    /// Counts a slot that is claimed, and what was there. Before the body is written, because each such step waits for
    /// all writes before it.
    #[inline]
    fn count_claim(&self, is_further: bool, left: Left, now: Now) {
        if is_further {
            self.bucket.clock.add(1);
        }
        let left = left.cell.is(State::Live).then_some(left);
        self.count_put(if is_further { 0 } else { STORED }, left, now);
    }

    /// Counts a session that is put, [`STORED`] or 0, and the one that made room for it.
    #[inline]
    fn count_put(&self, stored: u64, left: Option<Left>, now: Now) {
        let evicted = left.is_some_and(|left| self.makes_room(left.cell, left.is_replaced, now));
        self.bucket.counts.advance(stored + if evicted { EVICTED } else { 0 });
        if let (true, Some(left)) = (evicted, left) {
            self.note_gone(left.cell);
        }
    }

    /// A session that was counted is not put.
    #[cold]
    fn uncount(&self) {
        self.count(Counter::CameToNothing);
    }

    /// Counts a session that made room for a removal.
    pub(super) fn count_evicted(&self, cell: Cell, now: Now) {
        self.count_put(0, Some(Left { cell, is_replaced: false }), now);
    }

    /// Whether a session that has left its slot had to make room. Counts it if it did not, and if it was untold.
    #[inline]
    fn makes_room(&self, cell: Cell, is_replaced: bool, now: Now) -> bool {
        let is_over = cell.is_over(now);
        if cell.has(UNTOLD) && !is_over && self.region.is_read() {
            self.count(Counter::Untold);
        }
        if is_over && !is_replaced {
            self.count(Counter::Expired);
        }
        !is_over && !is_replaced
    }

    /// Remembers a session that had to make room.
    #[inline]
    fn note_gone(&self, cell: Cell) {
        if !cell.has(SPENT) {
            let clock = self.bucket.time();
            self.bucket.note_ghost(cell, clock);
            if let Some(share) = self.table.share {
                share.note_gone(cell.has(REGULAR), cell.tag(), self.slots());
            }
        }
    }

    /// Whether a payload of so many bytes has its slots in different buckets.
    pub(in crate::store) fn has_room_for(&self, length: usize) -> bool {
        further(length) < self.table.buckets.len()
    }
}
