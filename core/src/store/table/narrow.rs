//! The cells of a bucket, looked at one after the other. [`wide`](super::wide) does the same faster.

use super::bucket::{CELLS, Cells, Places, WAYS};
use super::cell::{Cell, REGULAR, SPENT, State, low_byte};
use super::victim::{Ages, Ways};
use super::word::Word;
use crate::store::Now;

/// The cells of a bucket, as each of them was at some moment of the look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen([Cell; CELLS]);

/// The stamps of the ways.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamps([u8; WAYS]);

impl Seen {
    #[inline]
    pub(super) fn of(words: &[Word; CELLS]) -> Seen {
        let mut cells = [Cell(0); CELLS];
        for (cell, word) in cells.iter_mut().zip(words) {
            *cell = Cell(word.get());
        }
        Seen(cells)
    }

    /// The words of the cells.
    #[inline]
    pub(super) fn cells(&self) -> &[Cell; CELLS] {
        &self.0
    }

    /// A bit for each cell that has the tag.
    #[inline]
    pub(super) fn tagged(&self, tag: u64) -> Cells {
        let tagged = |(number, cell): (usize, &Cell)| u64::from(cell.tag() == tag) << number;
        Cells(self.0.iter().enumerate().map(tagged).sum())
    }

    /// The places for removals.
    #[inline]
    pub(super) fn places(&self, now: Now) -> Places {
        let mask = |is: &dyn Fn(&Cell) -> bool| {
            let cells = self.0.iter().enumerate().skip(WAYS);
            Cells(cells.map(|(number, cell)| u64::from(is(cell)) << number).sum())
        };
        Places {
            unused: mask(&|cell| !cell.is(State::Trace)),
            over: mask(&|cell| cell.is(State::Trace) && cell.is_over(now)),
        }
    }

    /// The ways, a bit each.
    #[inline]
    pub(super) fn ways(&self, now: Now) -> Ways<Stamps> {
        let ways = || self.0.iter().take(WAYS);
        let mask = |is: &dyn Fn(&Cell) -> bool| {
            let bit = |(way, cell): (usize, &Cell)| u32::from(is(cell)) << way;
            ways().enumerate().map(bit).sum()
        };
        let mut stamps = [0; WAYS];
        stamps.iter_mut().zip(ways()).for_each(|(stamp, cell)| *stamp = cell.stamp());
        Ways {
            live: mask(&|cell| cell.is(State::Live)),
            more: mask(&|cell| cell.is(State::More)),
            trace: mask(&|cell| cell.is(State::Trace)),
            claimed: mask(&|cell| cell.is(State::Writing) || cell.is(State::Taken)),
            over: mask(&|cell| cell.is_over(now)),
            regular: mask(&|cell| cell.has(REGULAR)),
            spent: mask(&|cell| cell.has(SPENT)),
            stamps: Stamps(stamps),
        }
    }
}

/// Has memory come that will be read, where the machine can.
#[inline]
#[cfg(not(all(target_arch = "x86_64", not(any(loom, shuttle)))))]
pub(super) fn fetch<const N: usize>(_words: &[Word; N]) {}

/// As [`fetch`], of memory that will be written.
#[inline]
#[cfg(not(all(target_arch = "x86_64", not(any(loom, shuttle)))))]
pub(super) fn fetch_to_write<const N: usize>(_words: &[Word; N]) {}

/// The cells that have the tag, and the ways.
#[cfg(not(all(target_arch = "x86_64", not(any(loom, shuttle)))))]
pub(super) fn survey(words: &[Word; CELLS], tag: u64, now: Now) -> (Cells, Ways<Stamps>) {
    let seen = Seen::of(words);
    let (tagged, ways) = (seen.tagged(tag), seen.ways(now));
    if !cfg!(loom) {
        return (tagged, ways);
    }
    // The wide one looks twice if not all are sessions.
    let Ways { live, more, trace, claimed, .. } = Seen::of(words).ways(now);
    (tagged, Ways { live, more, trace, claimed, ..ways })
}

impl Ages for Stamps {
    fn of(&self, way: usize) -> u8 {
        self.0.get(way).copied().unwrap_or(0)
    }

    fn above(&self, least: u8, clock: u64) -> u32 {
        let is_above = |stamp: &u8| low_byte(clock).wrapping_sub(*stamp) > least;
        self.0.iter().enumerate().map(|(way, stamp)| u32::from(is_above(stamp)) << way).sum()
    }

    fn oldest(&self, ways: u32, clock: u64) -> Option<usize> {
        let stamps = self.0.iter().enumerate().filter(|(way, _)| ways >> way & 1 == 1);
        let age = |stamp: u8| low_byte(clock).wrapping_sub(stamp);
        // Of equals `max_by_key` gives the last.
        stamps.rev().max_by_key(|(_, stamp)| age(**stamp)).map(|(way, _)| way)
    }
}
