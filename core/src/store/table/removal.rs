//! Removing a session: a trace says so to everybody, whatever else is in the bucket.
//!
//! A trace can always be written, because something else gives: a session of the bucket, or the traces
//! themselves. If one of these is forgotten, the bucket's floor rises first.

use super::body::{Facts, Link};
use super::bucket::{CELLS, Cells, Places, RISE, TRACED, WAYS};
use super::cell::{COMPLETE, Cell, QUIET, REGULAR, State, UNTOLD};
use super::lookup::Hit;
use super::victim::{may_take_slot, victim};
use super::word::fence_after_change;
use super::{Place, Seen};
use crate::store::counters::Counter;
use crate::store::record::{APPLIED, LOCAL};
use crate::store::skew::believed;
use crate::store::{Lookup, Now};

/// Tries to write a trace, each of which fails only because another process has changed the very cell.
const TRIES: usize = 8;

/// The result of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Removal {
    /// It is written, in this cell.
    Written(usize),
    /// It was there before.
    Known,
    /// All that began until now counts as removed in this bucket.
    Floor,
}

/// A removal that is to be written.
#[derive(Clone, Copy, Debug)]
struct Trace {
    deadline: u64,
    now: Now,
    /// Whether other hosts are to be told.
    is_told: bool,
}

/// A bucket, as it was seen.
#[derive(Clone, Copy, Debug)]
struct Look {
    seen: Seen,
    /// The cells that have the tag.
    tagged: Cells,
    places: Places,
}

impl Place<'_> {
    /// Removes the session under the locator, and remembers that until the end of second `deadline` or of
    /// the record's, whichever is later. `flags`: [`APPLIED`].
    pub(in crate::store) fn remove(&self, deadline: u64, now: Now, flags: u8) -> Removal {
        let look = self.look_to_end(now);
        let hit = self.find_in(look.tagged);
        let facts = hit.map(|hit| hit.facts);
        let is_local = facts.is_some_and(|facts| facts.flags & LOCAL != 0);
        let trace = Trace {
            deadline: facts.map_or(deadline, |facts| deadline.max(facts.deadline)),
            now,
            is_told: flags & APPLIED == 0 && !is_local,
        };
        let own = hit.map(|hit| (hit.way, hit.cell));
        let removal = self.write_trace(trace, own, look, &mut 0);
        // A put that was published meanwhile is seen here, or sees the trace.
        fence_after_change();
        self.kill_all(now);
        removal
    }

    /// As [`Place::get`](super::Place), and removes it. Of several callers, in any processes, one finds it.
    pub(in crate::store) fn take(&self, now: Now, into: &mut Vec<u8>) -> Lookup {
        let rises = self.bucket.rises();
        let look = self.look_to_end(now);
        if self.is_removed_by(look.tagged, now) {
            self.count(Counter::TombstoneHits);
            return Lookup::Removed;
        }
        let good = |hit: &Hit| hit.facts.deadline >= now.seconds();
        let Some(hit) = self.find_in(look.tagged).filter(good) else {
            self.count(Counter::Misses);
            return Lookup::Missing;
        };
        if into.try_reserve(hit.facts.length).is_err() {
            return Lookup::Busy;
        }
        let before = into.len();
        let taken = self.claim(hit.way, hit.cell, now).and_then(|claim| {
            let further = self.further_of(hit.way, hit.cell);
            let next = further.map_or(Link::END, |(_, next)| next);
            self.bucket.swap_first(hit.way, hit.facts.first_part(), into);
            let is_whole = self.read_further(next, hit.facts, before, into);
            self.free_further(self.key.tag, next, hit.facts, now);
            if !is_whole {
                // A part of it has made room.
                self.give_back(hit.way, claim);
                return None;
            }
            self.is_mine((hit.way, claim), hit.facts, look, now, rises)
                .then_some(hit.facts.deadline)
        });
        let Some(deadline) = taken else {
            into.truncate(before);
            self.count(Counter::Misses);
            return Lookup::Missing;
        };
        self.count(Counter::Takes);
        let is_elsewhere = hit.facts.flags & APPLIED != 0;
        Lookup::Found { deadline, came_back: hit.cell.has(REGULAR), is_elsewhere }
    }

    #[inline]
    fn look(&self, now: Now) -> Look {
        let seen = self.bucket.look();
        Look { seen, tagged: seen.tagged(self.key.tag), places: seen.places(now) }
    }

    /// As [`Place::look`]. The memory of the cells that have the tag comes, and that of the trace that one of them
    /// leaves.
    #[inline]
    fn look_to_end(&self, now: Now) -> Look {
        self.bucket.fetch_pages();
        let look = self.look(now);
        self.bucket.fetch_each(look.tagged);
        self.bucket.fetch_for_trace(&look.places);
        look
    }

    /// Leaves the removal of a session whose slot is claimed. Whether nobody else has taken it, from another
    /// cell of the bucket. `look`, and `rises`: see [`Bucket::rises`](super::Bucket), before the session was found.
    #[expect(clippy::too_many_arguments, reason = "what a take knows")]
    fn is_mine(
        &self,
        (way, claim): (usize, Cell),
        facts: Facts,
        look: Look,
        now: Now,
        mut rises: u64,
    ) -> bool {
        let is_told = facts.flags & LOCAL == 0;
        let trace = Trace { deadline: facts.deadline, now, is_told };
        let written = self.write_trace(trace, Some((way, claim)), look, &mut rises);
        if written != Removal::Written(way) {
            self.bucket.change(way, claim, claim.freed());
        }
        // Each taker leaves its trace before it looks for another's.
        fence_after_change();
        let others = self.bucket.with_tag(self.key.tag);
        let is_alone = { others }.all(|number| {
            written == Removal::Written(number)
                || !self.bucket.holds(number, self.bucket.cell(number), now)
        });
        self.kill_each(others, now);
        // A trace that another taker left may be forgotten already.
        is_alone && matches!(written, Removal::Written(_)) && self.bucket.rises() == rises
    }

    /// Ends all sessions of the tag.
    fn kill_all(&self, now: Now) {
        self.kill_each(self.bucket.with_tag(self.key.tag), now);
    }

    fn kill_each(&self, cells: Cells, now: Now) {
        for way in cells.filter(|way| *way < WAYS) {
            let cell = self.bucket.cell(way);
            if cell.is(State::Live) {
                self.kill(way, cell, now);
            }
        }
    }

    /// Writes a trace. `own`: the session's own cell, if it has one. `look`: a while ago. `rises` counts by how much
    /// this itself raises the floor.
    fn write_trace(
        &self,
        trace: Trace,
        own: Option<(usize, Cell)>,
        mut look: Look,
        rises: &mut u64,
    ) -> Removal {
        for tried in 0..TRIES {
            if tried > 0 {
                look = self.look(trace.now);
            }
            if let Some(done) = self.extend_trace(look.tagged, trace) {
                return done;
            }
            let Some((number, before)) = self.cell_for_trace(&look, trace.now, own, rises) else {
                break;
            };
            let told = if trace.is_told { UNTOLD } else { QUIET };
            let cell = before
                .claim(State::Trace, self.key.tag, trace.now)
                .done(State::Trace, trace.deadline, trace.now, told)
                .with_stamp(self.bucket.time().wrapping_add(1));
            let is_session = before.is(State::Live) && number < WAYS;
            let further = self.further_of(number, before).filter(|_| is_session);
            if self.bucket.change(number, before, cell) {
                // From here on it holds.
                self.bucket.clock.advance(TRACED + 1);
                if is_session {
                    if before.tag() != self.key.tag {
                        self.count_evicted(before, trace.now);
                    }
                    self.bucket.wipe(number);
                    if let Some((facts, next)) = further {
                        self.free_further(before.tag(), next, facts, trace.now);
                    }
                }
                self.complete(number, cell, trace);
                return Removal::Written(number);
            }
        }
        self.raise_floor(trace.now.seconds(), trace.now, rises);
        Removal::Floor
    }

    /// Writes the body of a trace, which the log needs.
    fn complete(&self, number: usize, cell: Cell, trace: Trace) {
        self.bucket.write_trace(number, &self.key);
        self.bucket.set_times(number, trace.now.0, trace.deadline);
        // Another process may make it hold for longer meanwhile.
        for _ in 0..TRIES {
            let now = self.bucket.cell(number);
            let is_it = now.is(State::Trace)
                && (now.tag(), now.generation()) == (cell.tag(), cell.generation());
            if !is_it || self.bucket.change(number, now, now.with(COMPLETE, 0)) {
                break;
            }
        }
        if trace.is_told {
            // The reader of the log sees the trace, or its bit is set anew.
            fence_after_change();
            self.mark();
        }
    }

    /// Makes a trace that is there hold for as long.
    fn extend_trace(&self, mut cells: Cells, trace: Trace) -> Option<Removal> {
        let Trace { deadline, now, .. } = trace;
        // Another session may have the same tag, and other hosts have to be told of both.
        let is_ours = |number: usize, cell: Cell| {
            self.bucket.holds(number, cell, now) && self.bucket.may_be_of(number, cell, &self.key)
        };
        let number = cells.find(|number| is_ours(*number, self.bucket.cell(*number)))?;
        let cell = self.bucket.cell(number);
        if !is_ours(number, cell) {
            return None;
        }
        // To the second, if it is known.
        let times = self.bucket.sure_times(number, cell);
        if times.map_or(!cell.ends_before(deadline, now), |times| times.deadline >= deadline) {
            return Some(Removal::Known);
        }
        let is_longer = self.bucket.change(number, cell, cell.with_deadline(deadline, now));
        if is_longer {
            self.bucket.set_times(number, now.0, deadline);
        }
        is_longer.then_some(Removal::Known)
    }

    /// The cell into which a trace goes, as it was seen.
    fn cell_for_trace(
        &self,
        look: &Look,
        now: Now,
        own: Option<(usize, Cell)>,
        rises: &mut u64,
    ) -> Option<(usize, Cell)> {
        let Look { seen, places, .. } = look;
        // Since the look the caller may have claimed it. Or it has made room for another removal.
        let own = own.and_then(|(number, was)| {
            let cell = self.bucket.cell(number);
            cell.is_same_as(was).then_some((number, cell))
        });
        let cells = seen.cells();
        let cell = |number: usize| cells.get(number).copied().unwrap_or(Cell(0));
        let unused = { places.unused }.find(|number| cell(*number).is_free(now));
        // Those whose words say so first: the bodies of the others need not be looked at then.
        let over =
            || { places.over }.find(|number| !self.bucket.renews(*number, cell(*number), now));
        let dead = || {
            (WAYS..CELLS).find(|number| match cell(*number) {
                cell if cell.is(State::Trace) => !self.bucket.renews(*number, cell, now),
                // Damage: no session begins in a place for removals.
                cell => cell.is(State::Live) || cell.is(State::More),
            })
        };
        let of_session = || {
            let ways = seen.ways(now);
            match own {
                _ if !may_take_slot(&ways) => None,
                Some((number, _)) => Some(number),
                None => {
                    let free = self.bucket.free_ways(cell, &ways, now);
                    let excess = || self.bucket.excess_of_large(&ways, false);
                    victim(&ways, free, self.bucket.time(), || 0, excess)
                }
            }
        };
        let room = unused.or_else(over).or_else(dead).or_else(of_session);
        let number = room.or_else(|| self.forget_trace(cells, now, rises))?;
        Some(own.filter(|(own, _)| *own == number).unwrap_or((number, cell(number))))
    }

    /// Chooses the trace that would hold least long. The bucket's floor rises before it goes.
    pub(super) fn forget_trace(&self, cells: &[Cell], now: Now, rises: &mut u64) -> Option<usize> {
        let traces = cells.iter().enumerate().filter(|(_, cell)| cell.is(State::Trace));
        let (number, cell) = traces
            .min_by_key(|(_, cell)| (cell.units_left(now), u8::MAX - self.bucket.age(**cell)))?;
        let times = self.bucket.sure_times(number, *cell);
        let written =
            times.map(|times| times.written.div_ceil(1000)).filter(|at| *at <= now.seconds());
        self.raise_floor(written.unwrap_or(now.seconds()), now, rises);
        // Nothing that it stopped may come to light.
        self.kill_each(self.bucket.with_tag(cell.tag()), now);
        Some(number)
    }

    /// Removals until `second` may be forgotten from now on.
    fn raise_floor(&self, second: u64, now: Now, rises: &mut u64) {
        self.bucket.believed_floor(now);
        self.bucket.floor.raise(believed(second, now.seconds()));
        self.bucket.clock.advance(RISE);
        *rises = rises.wrapping_add(1);
        self.count(Counter::Forgotten);
    }
}
