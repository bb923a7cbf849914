//! Which cell of a bucket a new session gets.
//!
//! | first | |
//! |---|---|
//! | 1 | a free one, or a session that is over |
//! | 2 | the oldest slot of the sessions of many slots, if these have more than their ways |
//! | 3 | of the tickets that were used, the one that was used longest ago |
//! | 4 | of the newcomers, if they have more than their share, the oldest |
//! | 5 | of the regulars, the one whose client stayed away longest |
//!
//! A removal never makes room for a session, unless damage has left nothing else.

use super::bucket::{Bucket, Cells, WAYS};
use super::cell::{Cell, LONG, State};
use super::{Stamps, survey};
use crate::store::Now;

/// Sessions of many slots have so many ways of a bucket for all but their first, and those that nobody else needs.
/// So a few of them do not push out many small ones.
const MOST_OF_LARGE: u32 = 4;
/// A session of more slots than this has many.
pub(super) const FEW: usize = 8;
/// An age of which nobody asks more. It is so far from 255 that a few looks may be missed.
const OLD: u8 = 160;
/// All ways of a bucket, a bit each.
pub(super) const ALL: u32 = u32::MAX >> (32 - WAYS);

/// The ways of a bucket of which something holds, a bit each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ways<S> {
    /// In state LIVE.
    pub(super) live: u32,
    /// In state MORE.
    pub(super) more: u32,
    /// In state TRACE.
    pub(super) trace: u32,
    /// In state WRITING or TAKEN.
    pub(super) claimed: u32,
    /// Their deadlines have passed, or cannot be. Of no meaning for those in other states than the first three.
    pub(super) over: u32,
    /// With [`REGULAR`](super::cell::REGULAR).
    pub(super) regular: u32,
    /// With [`SPENT`](super::cell::SPENT), or of a further slot with [`LARGE`](super::cell::LARGE).
    pub(super) spent: u32,
    pub(super) stamps: S,
}

/// The stamps of a bucket's ways.
pub(super) trait Ages {
    /// The stamp of a way.
    fn of(&self, way: usize) -> u8;

    /// The ways whose last use is more than so many puts ago, a bit each.
    fn above(&self, age: u8, clock: u64) -> u32;

    /// Of some ways, a bit each, the one whose last use is longest ago; of several the first.
    fn oldest(&self, ways: u32, clock: u64) -> Option<usize>;
}

impl<S: Ages> Ways<S> {
    /// Whether a way's cell is not as it was seen.
    #[inline]
    pub(super) fn has_changed(&self, way: usize, cell: Cell) -> bool {
        (self.live >> way & 1 == 1) != cell.is(State::Live) || self.stamps.of(way) != cell.stamp()
    }
}

impl Bucket {
    /// The cells that have the tag, and the ways: what a put has to know. No cell is kept.
    #[inline]
    pub(super) fn survey(&self, tag: u64, now: Now) -> (Cells, Ways<Stamps>) {
        survey(self.words(), tag, now)
    }

    /// The ways of sessions of many slots, if these have more than theirs. `is_of_large`: and one more is wanted.
    #[inline]
    pub(super) fn excess_of_large<S>(&self, ways: &Ways<S>, is_of_large: bool) -> u32 {
        let further = ways.more & ways.spent;
        let is_excess = || further.count_ones() + u32::from(is_of_large) > MOST_OF_LARGE;
        if further != 0 && is_excess() { further | self.large_begin(ways) } else { 0 }
    }

    /// The ways in which sessions of many slots begin.
    #[cold]
    fn large_begin<S>(&self, ways: &Ways<S>) -> u32 {
        let is_large = |way: &usize| {
            let cell = self.cell(*way);
            cell.is(State::Live) && cell.has(LONG) && self.facts(*way).further() >= FEW
        };
        Cells(u64::from(ways.live)).filter(is_large).map(|way| 1 << way).sum()
    }

    /// Ages are told apart up to 255. So whatever is older than [`OLD`] gets that age, once in as many puts as
    /// a bucket has ways.
    #[inline]
    pub(super) fn keep_old<S: Ages>(&self, ways: &Ways<S>, clock: u64) {
        let old = (ways.live | ways.more) & ways.stamps.above(OLD, clock.wrapping_add(1));
        for way in Cells(u64::from(old)) {
            let cell = self.cell(way);
            let is_session = cell.is(State::Live) || cell.is(State::More);
            if is_session && !ways.has_changed(way, cell) {
                self.change(way, cell, cell.with_stamp(clock.wrapping_sub(u64::from(OLD))));
            }
        }
    }
}

/// The way that makes room. `free`: those that nobody needs. `newcomers_may_have`: so many ways, if removals have
/// none. `excess`: see [`Bucket::excess_of_large`].
#[inline]
pub(super) fn victim<S: Ages>(
    ways: &Ways<S>,
    free: u32,
    clock: u64,
    newcomers_may_have: impl Fn() -> usize,
    excess: impl Fn() -> u32,
) -> Option<usize> {
    // A session that an older library has published and not counted yet has the stamp of the next time, and is not
    // the oldest.
    let clock = clock.wrapping_add(1);
    if free != 0 {
        return Some(free.trailing_zeros() as usize);
    }
    let excess = excess();
    if excess != 0 {
        return ways.stamps.oldest(excess, clock);
    }
    let spent = ways.live & ways.spent;
    if spent != 0 {
        return ways.stamps.oldest(spent, clock);
    }
    let regulars = (ways.live | ways.more) & ways.regular;
    let newcomers = (ways.live | ways.more) & !ways.regular;
    let has_excess = || {
        // Of as many ways as removals leave.
        let sessions = (regulars | newcomers).count_ones() as usize;
        newcomers.count_ones() as usize * WAYS > newcomers_may_have() * sessions
    };
    let is_newcomer = regulars == 0 || newcomers != 0 && has_excess();
    let part = if is_newcomer { newcomers } else { regulars };
    ways.stamps.oldest(part, clock)
}

/// Whether one more slot may go to a removal: any session is worth less, but half of the ways are theirs.
pub(super) fn may_take_slot<S>(ways: &Ways<S>) -> bool {
    (ways.trace.count_ones() as usize) < WAYS / 2
}
