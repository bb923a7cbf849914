//! The word that decides a cell: its state, whose it is, and until when.
//!
//! A word is `state:3 | tag:24 | generation:7 | long:1 | time:16 | chance:1 | untold:1 | in flight:1 | regular:1 |
//! other:1 | stamp:8`, from the top. Nothing here reads the mapping.

use crate::store::Now;

/// A cell's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell(pub(super) u64);

/// The states of a cell.
///
/// | state | of a slot | of a place for traces | its time |
/// |---|---|---|---|
/// | `FREE` | nothing | nothing | |
/// | `WRITING` | its claimer writes the body | | when it was claimed |
/// | `LIVE` | a session | | the deadline |
/// | `TAKEN` | its claimer wipes the body | | when it was claimed |
/// | `MORE` | the continuation of a session that begins in another bucket | | the deadline |
/// | `TRACE` | a removal | a removal | the deadline |
///
/// Others are damage, and free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum State {
    Free = 0,
    Writing = 1,
    Live = 2,
    Taken = 3,
    More = 4,
    Trace = 5,
}

pub(super) const STATE: u32 = 61;
pub(super) const TAG: u32 = 37;
const GENERATION: u32 = 30;
pub(super) const TIME: u32 = 13;
pub(super) const TAG_MASK: u64 = (1 << 24) - 1;
const GENERATION_MASK: u64 = (1 << 7) - 1;
const TIME_MASK: u64 = (1 << 16) - 1;
const STAMP_MASK: u64 = 0xFF;

/// A session that has further slots. It stays so for as long as it lies there.
pub(super) const LONG: u64 = 1 << 29;
/// A session of the main part: its client came back again, so it is passed over once.
pub(super) const CHANCE: u64 = 1 << 12;
/// The agent has not told other hosts of it.
pub(super) const UNTOLD: u64 = 1 << 11;
/// The agent tells of it just now.
pub(super) const IN_FLIGHT: u64 = 1 << 10;
/// A session of the main part: its client came back.
pub(super) const REGULAR: u64 = 1 << 9;
/// A further slot of a session of many slots.
pub(super) const LARGE: u64 = 1 << 8;
/// A session: a ticket that was used, the next to make room.
pub(super) const SPENT: u64 = 1 << 8;
/// A removal of which other hosts are never told.
pub(super) const QUIET: u64 = 1 << 9;
/// A removal whose body is written.
pub(super) const COMPLETE: u64 = 1 << 8;

/// Deadlines count in units of so many seconds, as a power of two.
pub(super) const DEADLINE_UNIT: u32 = 7;
/// The units of a day.
const DAY: u64 = (24 * 60 * 60) >> DEADLINE_UNIT;
/// Whatever ends later than in so many units counts as ending then.
const LATEST: u64 = 31 * DAY;
/// A removal holds for so many units at least, if its session does not end before: a day less, because the clock
/// of whoever removed may have been behind.
pub(super) const REMEMBERED: u64 = LATEST - DAY;
/// A deadline is believed so many units ahead: a day more, because the clock of whoever looks may be behind
/// that of the writer.
pub(super) const MOST_AHEAD: u64 = LATEST + DAY;
/// Claims count in units of so many milliseconds, as a power of two.
const CLAIM_UNIT: u32 = 6;
/// A claim that is older is taken back. So is one from the future.
const CLAIM_UNITS: u16 = 1000 >> CLAIM_UNIT;

impl Cell {
    pub(super) fn state(self) -> State {
        match self.0 >> STATE {
            1 => State::Writing,
            2 => State::Live,
            3 => State::Taken,
            4 => State::More,
            5 => State::Trace,
            _ => State::Free,
        }
    }

    #[inline]
    pub(super) fn is(self, state: State) -> bool {
        self.0 >> STATE == state as u64
    }

    #[inline]
    pub(super) fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    #[inline]
    pub(super) fn tag(self) -> u64 {
        self.0 >> TAG & TAG_MASK
    }

    #[inline]
    pub(super) fn generation(self) -> u64 {
        self.0 >> GENERATION & GENERATION_MASK
    }

    #[inline]
    pub(super) fn stamp(self) -> u8 {
        (self.0 & STAMP_MASK) as u8
    }

    /// The same content: what may change while it lies there does not count.
    #[inline]
    pub(super) fn is_same_as(self, other: Cell) -> bool {
        (self.0 ^ other.0) >> TIME == 0
    }

    pub(super) fn with(self, set: u64, clear: u64) -> Cell {
        Cell(self.0 & !clear | set)
    }

    #[inline]
    pub(super) fn with_stamp(self, clock: u64) -> Cell {
        Cell(self.0 & !STAMP_MASK | clock & STAMP_MASK)
    }

    /// The cell after this one, which nobody can use.
    #[inline]
    pub(super) fn claim(self, state: State, tag: u64, now: Now) -> Cell {
        let time = now.0 >> CLAIM_UNIT & TIME_MASK;
        let generation = (self.generation() + 1) & GENERATION_MASK;
        Cell((state as u64) << STATE | tag << TAG | generation << GENERATION | time << TIME)
    }

    /// The cell of a claim that is done.
    #[inline]
    pub(super) fn done(self, state: State, deadline: u64, now: Now, flags: u64) -> Cell {
        let Cell(claimed) = self;
        let kept = claimed & (TAG_MASK << TAG | GENERATION_MASK << GENERATION);
        Cell((state as u64) << STATE | kept | coarse(deadline, now) << TIME | flags)
    }

    /// A claim that is given back.
    #[inline]
    pub(super) fn freed(self) -> Cell {
        Cell(self.0 & GENERATION_MASK << GENERATION)
    }

    /// Whether its deadline has passed, or lies so far ahead that it cannot be.
    #[inline]
    pub(super) fn is_over(self, now: Now) -> bool {
        let ahead = (self.0 >> TIME).wrapping_sub(now.seconds() >> DEADLINE_UNIT) & TIME_MASK;
        ahead > MOST_AHEAD
    }

    /// A later deadline.
    pub(super) fn ends_before(self, deadline: u64, now: Now) -> bool {
        let units = |time: u64| time.wrapping_sub(now.seconds() >> DEADLINE_UNIT) & TIME_MASK;
        units(self.0 >> TIME) < units(coarse(deadline, now))
    }

    /// Whether its deadline is in the same unit.
    pub(super) fn ends_with(self, deadline: u64) -> bool {
        (self.0 >> TIME ^ deadline >> DEADLINE_UNIT) & TIME_MASK == 0
    }

    /// The units until its deadline.
    pub(super) fn units_left(self, now: Now) -> u64 {
        (self.0 >> TIME).wrapping_sub(now.seconds() >> DEADLINE_UNIT) & TIME_MASK
    }

    pub(super) fn with_deadline(self, deadline: u64, now: Now) -> Cell {
        Cell(self.0 & !(TIME_MASK << TIME) | coarse(deadline, now) << TIME)
    }

    /// Whether it is free for whoever wants it: nothing, damage, or a claim whose claimer does not go on.
    #[inline]
    pub(super) fn is_free(self, now: Now) -> bool {
        match self.state() {
            State::Free => true,
            State::Writing | State::Taken => {
                let claimed = (self.0 >> TIME & TIME_MASK) as u16;
                let age = ((now.0 >> CLAIM_UNIT & TIME_MASK) as u16).wrapping_sub(claimed);
                age > CLAIM_UNITS && age.wrapping_neg() > 1
            }
            State::Live | State::More | State::Trace => false,
        }
    }
}

/// The low byte of a word, as a clock of a bucket counts in a cell.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "it is what is wanted")]
pub(super) fn low_byte(word: u64) -> u8 {
    word as u8
}

/// The last unit of a deadline.
fn coarse(deadline: u64, now: Now) -> u64 {
    let now = now.seconds() >> DEADLINE_UNIT;
    (deadline >> DEADLINE_UNIT).clamp(now, now + LATEST) & TIME_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now(1_700_000_000_000);
    const FREE: Cell = Cell(0);

    fn later(seconds: u64) -> Now {
        Now(NOW.0 + seconds * 1000)
    }

    #[test]
    fn a_session_is_over_when_its_deadline_has_passed_or_cannot_be() {
        let claim = FREE.claim(State::Writing, 0xABCDEF, NOW);
        let cell = claim.done(State::Live, NOW.seconds() + 3600, NOW, REGULAR);
        assert_eq!((cell.state(), cell.tag()), (State::Live, 0xABCDEF));
        assert_eq!(cell.generation(), 1);
        assert!(cell.has(REGULAR) && !cell.has(SPENT));
        assert!(
            !cell.is_over(NOW) && !cell.is_over(later(3600)) && cell.is_over(later(3600 + 128))
        );
        // A clock that is behind by more than a session can live.
        assert!(cell.is_over(Now(NOW.0 - 33 * 86_400_000)));
        let long = claim.done(State::Live, u64::MAX, NOW, 0);
        assert!(!long.is_over(NOW) && !long.is_over(later(31 * 86_400)));
        assert!(!long.is_over(Now(NOW.0 - 86_400_000)), "a clock that is behind by a day");
        let past = claim.done(State::Live, 5, NOW, 0);
        assert!(past.is_over(later(128)));
    }

    #[test]
    fn a_claim_is_taken_back_after_a_second() {
        let claim = FREE.claim(State::Writing, 7, NOW);
        assert!(!claim.is_free(NOW) && !claim.is_free(Now(NOW.0 + 900)));
        assert!(claim.is_free(Now(NOW.0 + 1100)));
        assert!(claim.is_free(Now(NOW.0 - 1100)), "from the future");
        assert!(!claim.is_free(Now(NOW.0 - 60)), "clocks are read at different moments");
        assert_ne!(claim, claim.claim(State::Writing, 7, NOW));
        assert!(claim.freed().is_free(NOW) && claim.freed().generation() == 1);
    }

    #[test]
    fn uses_do_not_make_it_another() {
        let cell = FREE.claim(State::Writing, 7, NOW).done(State::Live, NOW.seconds(), NOW, UNTOLD);
        let used = cell.with(SPENT | REGULAR, UNTOLD).with_stamp(9);
        assert!(cell.is_same_as(used) && used.stamp() == 9);
        assert!(!cell.is_same_as(cell.claim(State::Taken, 7, NOW)));
    }
}
