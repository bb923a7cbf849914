//! Which cell of a bucket a new session gets.
//!
//! | first | |
//! |---|---|
//! | 1 | a free one, or a session that is over |
//! | 2 | of the tickets that were used, the one that was used longest ago |
//! | 3 | of the newcomers, if they have more than their share, the oldest |
//! | 4 | of the regulars, the one whose client stayed away longest |
//!
//! A removal never makes room for a session, unless damage has left nothing else.

use super::bucket::{CELLS, WAYS};
use super::cell::{Cell, LARGE, REGULAR, SPENT, State, low_byte};
use super::lanes::of_sessions;
use crate::store::Now;

/// Sessions of many slots have so many ways of a bucket for all but their first. So a few of them do not
/// push out many small ones.
const MOST_OF_LARGE: usize = 4;
/// A session of more slots than this has many.
pub(super) const FEW: usize = 8;

/// The oldest of some cells, by their stamps.
#[derive(Clone, Copy, Default)]
struct Oldest {
    way: Option<usize>,
    age: u8,
    count: usize,
}

impl Oldest {
    #[inline]
    fn add(&mut self, way: usize, age: u8) {
        if self.way.is_none() || age > self.age {
            (self.way, self.age) = (Some(way), age);
        }
        self.count += 1;
    }
}

/// The way that makes room. `is_of_large`: for a further slot of a session of many slots.
#[inline]
pub(super) fn victim(
    cells: &[Cell; CELLS],
    clock: u64,
    now: Now,
    newcomers_may_have: usize,
    is_of_large: bool,
) -> Option<usize> {
    let usual = || of_sessions(cells, clock, now, newcomers_may_have);
    let any = || of_any(cells, clock, now, newcomers_may_have, is_of_large);
    if is_of_large { any() } else { usual().or_else(any) }
}

/// As [`victim`], of whatever is in the bucket.
pub(super) fn of_any(
    cells: &[Cell; CELLS],
    clock: u64,
    now: Now,
    newcomers_may_have: usize,
    is_of_large: bool,
) -> Option<usize> {
    let [mut spent, mut newcomers, mut regulars, mut large] = [Oldest::default(); 4];
    let mut free = None;
    for (way, cell) in cells.iter().take(WAYS).enumerate() {
        let age = low_byte(clock).wrapping_sub(cell.stamp());
        match cell.state() {
            _ if cell.is_free(now) => free = free.or(Some(way)),
            State::Live | State::More if cell.is_over(now) => free = Some(way),
            State::Live if cell.has(SPENT) => spent.add(way, age),
            State::Live if cell.has(REGULAR) => regulars.add(way, age),
            State::Live => newcomers.add(way, age),
            State::More => {
                if cell.has(LARGE) {
                    large.add(way, age);
                }
                if cell.has(REGULAR) { regulars.add(way, age) } else { newcomers.add(way, age) }
            }
            State::Trace | State::Free | State::Writing | State::Taken => {}
        }
    }
    if is_of_large && large.count >= MOST_OF_LARGE {
        return large.way;
    }
    let has_excess = newcomers.count > newcomers_may_have;
    let newcomer = newcomers.way.filter(|_| has_excess || regulars.way.is_none());
    free.or(spent.way).or(newcomer).or(regulars.way)
}

/// The way whose session goes so that a removal can be written: any session is worth less. `None` if more
/// than half of the ways have removals.
pub(super) fn victim_of_removal(cells: &[Cell; CELLS], clock: u64, now: Now) -> Option<usize> {
    if may_take_slot(cells) { victim(cells, clock, now, 0, false) } else { None }
}

/// Whether one more slot may go to a removal.
pub(super) fn may_take_slot(cells: &[Cell; CELLS]) -> bool {
    cells.iter().take(WAYS).filter(|cell| cell.is(State::Trace)).count() < WAYS / 2
}
