//! The victim of a bucket in which all is as usual, eight ways at once.
//!
//! 16 bits of each cell are enough for state, deadline, part and age. So the compiler handles eight of them
//! with one instruction. Whatever is not usual is left to [`victim`](super::victim::victim).
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    reason = "parts of words are cut out; the places of a table are made by the compiler"
)]

use super::bucket::{CELLS, WAYS};
use super::cell::{
    Cell, LIVE_LANE, MOST_AHEAD, REGULAR, SPENT, STATE_LANE, STATE_MASK, TIME, ahead,
};
use crate::store::Now;

/// Some bits of each way. The compiler handles eight ways at once.
type Lanes = [i16; WAYS];

/// Greater for a lower way, never 0.
const ORDER: Lanes = {
    let mut order = [0; WAYS];
    let mut way = 0;
    while way < WAYS {
        order[way] = (WAYS - way) as i16;
        way += 1;
    }
    order
};

#[inline]
fn lanes(cells: &[Cell; WAYS], shift: u32) -> Lanes {
    let mut lanes = [0; WAYS];
    lanes.iter_mut().zip(cells).for_each(|(lane, cell)| *lane = (cell.0 >> shift) as i16);
    lanes
}

/// The oldest way of those whose flag is such.
#[inline]
fn oldest(low: &Lanes, keys: &Lanes, flag: i16, is: i16) -> Option<usize> {
    let of_part = low.iter().zip(keys).map(|(low, key)| if low & flag == is { *key } else { 0 });
    let oldest = of_part.fold(0, i16::max);
    (oldest != 0).then(|| WAYS - (oldest & 63) as usize)
}

/// The way that makes room in a full bucket of sessions that are not over; `None` in any other.
#[inline]
pub(super) fn of_sessions(
    cells: &[Cell; CELLS],
    clock: u64,
    now: Now,
    newcomers_may_have: usize,
) -> Option<usize> {
    let cells: &[Cell; WAYS] = cells.first_chunk()?;
    let high = lanes(cells, STATE_LANE);
    let unusual = |lane: &i16| i16::from(lane & STATE_MASK != LIVE_LANE);
    let ahead = ahead(now);
    let over = |time: &i16| i16::from((*time as u16).wrapping_sub(ahead) > MOST_AHEAD as u16);
    let time = lanes(cells, TIME);
    if high.iter().map(unusual).sum::<i16>() + time.iter().map(over).sum::<i16>() > 0 {
        return None;
    }
    let low = lanes(cells, 0);
    let mut keys = ORDER;
    let clock = clock as i16;
    for (key, low) in keys.iter_mut().zip(&low) {
        *key |= (clock.wrapping_sub(*low) & 0xFF) << 6;
    }
    let (spent, regular) = (SPENT as i16, REGULAR as i16);
    if let Some(way) = oldest(&low, &keys, spent, spent) {
        return Some(way);
    }
    let newcomers = low.iter().map(|low| i16::from(low & regular == 0)).sum::<i16>() as usize;
    let is_newcomer = newcomers > newcomers_may_have || newcomers == WAYS;
    oldest(&low, &keys, regular, if is_newcomer { 0 } else { regular })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::table::cell::State;
    use crate::store::table::victim::of_any;

    const NOW: Now = Now(1_700_000_000_000);

    /// The two ways to choose agree, whatever the parts, ages and shares are.
    #[test]
    fn the_quick_way_chooses_the_same() {
        let mut random = 1_u64;
        let mut next = || {
            random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            random >> 33
        };
        for _ in 0..20_000 {
            let clock = next();
            let parts = next() % 4;
            let cells = std::array::from_fn(|_| {
                let flags = [0, REGULAR, SPENT, REGULAR | SPENT][(next() % (parts + 1)) as usize];
                let claim = Cell(0).claim(State::Writing, next() & 0xFFFF, NOW);
                let cell = claim.done(State::Live, NOW.seconds() + 300, NOW, flags);
                cell.with_stamp(clock.wrapping_sub(next() % 200))
            });
            let share = (next() % 33) as usize;
            let quick = of_sessions(&cells, clock, NOW, share);
            assert_eq!(quick, of_any(&cells, clock, NOW, share, false), "{cells:?}");
            assert!(quick.is_some());
        }
    }
}
