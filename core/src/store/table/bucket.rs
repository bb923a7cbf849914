//! A bucket: the cells of the locators that fall into it, their bodies, and what it has forgotten.

use super::cell::{Cell, REGULAR, low_byte};
use super::word::Word;
use super::{Seen, fetch, fetch_to_write};
use crate::store::Locator;

/// Sessions that a bucket holds.
pub(in crate::store) const WAYS: usize = if cfg!(loom) { 4 } else { 32 };
/// Removals that a bucket holds beside them.
pub(in crate::store) const TRACES: usize = if cfg!(loom) { 4 } else { 16 };
/// The cells of a bucket.
pub(super) const CELLS: usize = WAYS + TRACES;
/// Words of a slot's body.
pub(super) const SLOT_WORDS: usize = if cfg!(loom) { 6 } else { 26 };
/// Bytes of a slot's body.
pub(in crate::store) const SLOT_BYTES: u64 = SLOT_WORDS as u64 * 8;
/// Words of a trace's body.
pub(super) const TRACE_WORDS: usize = 3;
/// Added to a bucket's clock when its floor rises. The floor alone does not tell of two in a second.
pub(super) const RISE: u64 = 1 << 48;
/// Added to a bucket's clock after a trace was written. A put that sees no change need not look for one.
pub(super) const TRACED: u64 = 1 << 32;
/// A session that made room, in a bucket's counts.
pub(super) const EVICTED: u64 = 1;
/// A session that was put, in a bucket's counts.
pub(super) const STORED: u64 = 1 << 32;
/// Words that hold ghosts, five each: more than twice as many as there are ways, so that scanners do not push
/// all of them out.
const GHOST_WORDS: usize = 13;
const GHOSTS_A_WORD: u64 = 5;
const GHOST_BITS: u64 = 12;
const GHOST_MASK: u64 = (1 << GHOST_BITS) - 1;
/// The bit of a ghost that was in the main part.
const WAS_REGULAR: u64 = 1 << 11;

/// A bucket, as it lies in the mapping. docs/STORE.md has it, word by word.
#[derive(Debug)]
#[repr(C)]
pub(in crate::store) struct Bucket {
    cells: [Word; CELLS],
    /// Sessions that began until this second may have been removed without a trace.
    pub(super) floor: Word,
    /// Traces and further slots that ever came here, in the lower half. Above them 16 bits for traces alone
    /// ([`TRACED`]), and 16 for how often the floor rose ([`RISE`]).
    pub(super) clock: Word,
    /// Sessions that were put or came to nothing, in units of [`STORED`], and sessions that made room, of [`EVICTED`].
    /// In the bucket, so that processes do not wait for each other's counters. It only grows: a put looks here
    /// for others.
    pub(super) counts: Word,
    ghosts: [Word; GHOST_WORDS],
    traces: [[Word; TRACE_WORDS]; TRACES],
    slots: [[Word; SLOT_WORDS]; WAYS],
}

/// A locator, and the tag by which the bucket knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) low: u64,
    pub(super) high: u64,
    pub(super) tag: u64,
}

impl Key {
    #[inline]
    pub(super) fn of(locator: &Locator) -> Key {
        let (low, high) = (locator.low(), locator.high());
        Key { low, high, tag: Key::tag_of(low) }
    }

    pub(super) fn tag_of(low: u64) -> u64 {
        low >> 40
    }
}

/// The numbers of cells, as bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cells(pub(super) u64);

impl Iterator for Cells {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let number = self.0.trailing_zeros() as usize;
        self.0 &= self.0.wrapping_sub(1);
        (number < CELLS).then_some(number)
    }
}

impl Cells {
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those of them that are among these ways.
    #[inline]
    pub(super) fn and(self, ways: u32) -> Cells {
        Cells(self.0 & u64::from(ways))
    }
}

/// The places for removals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    /// Not in state TRACE.
    pub(super) unused: Cells,
    /// In state TRACE. Their deadlines have passed, or cannot be.
    pub(super) over: Cells,
}

/// What ever came to a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Events {
    /// Further slots and removals, and how often its floor rose.
    clock: u64,
    sessions: u64,
}

impl Events {
    /// Whether one session has come since then, and nothing else.
    #[inline]
    pub(super) fn are_one_session_after(self, began: Events) -> bool {
        self.clock == began.clock && self.sessions == began.sessions.wrapping_add(1)
    }

    /// How often the floor rose, and how many traces came, in one number.
    #[inline]
    pub(super) fn removals(self) -> u64 {
        self.clock / TRACED
    }
}

impl Bucket {
    #[cfg(test)]
    pub(in crate::store) fn new() -> Bucket {
        let words = || std::array::from_fn(|_| Word::default());
        Bucket {
            cells: std::array::from_fn(|_| Word::default()),
            floor: Word::default(),
            clock: Word::default(),
            counts: Word::default(),
            ghosts: std::array::from_fn(|_| Word::default()),
            traces: std::array::from_fn(|_| std::array::from_fn(|_| Word::default())),
            slots: std::array::from_fn(|_| words()),
        }
    }

    /// The cells with a tag, whatever they are.
    #[inline]
    pub(super) fn with_tag(&self, tag: u64) -> Cells {
        self.look().tagged(tag)
    }

    /// The word of a cell.
    #[inline]
    pub(super) fn word(&self, number: usize) -> &Word {
        // In the way that keeps a bounds check from being a panic.
        self.cells.get(number).unwrap_or(&self.cells[0])
    }

    #[inline]
    pub(super) fn cell(&self, number: usize) -> Cell {
        Cell(self.word(number).get())
    }

    /// All cells now, one after the other.
    #[inline]
    pub(super) fn look(&self) -> Seen {
        Seen::of(&self.cells)
    }

    /// The words of the cells.
    #[inline]
    pub(super) fn words(&self) -> &[Word; CELLS] {
        &self.cells
    }

    #[inline]
    pub(super) fn change(&self, number: usize, old: Cell, new: Cell) -> bool {
        self.word(number).change(old.0, new.0)
    }

    /// The body of a cell.
    #[inline]
    pub(super) fn body(&self, number: usize) -> &[Word] {
        match self.slots.get(number) {
            Some(slot) => slot,
            None => self.traces.get(number - WAYS).map_or(&[], |trace| trace),
        }
    }

    /// The body of a slot.
    #[inline]
    pub(super) fn slot(&self, number: usize) -> &[Word; SLOT_WORDS] {
        self.slots.get(number).unwrap_or(&self.slots[0])
    }

    /// Sessions, further slots and traces that ever came here: by this the age of a cell is counted.
    #[inline]
    pub(super) fn time(&self) -> u64 {
        (self.counts.peek() / STORED).wrapping_add(self.clock.peek())
    }

    /// Has the memory come by which ages are counted.
    #[inline]
    pub(super) fn fetch_time(&self) {
        fetch(std::array::from_ref(&self.counts));
    }

    /// Has the memory of a slot come, which is about to be written.
    #[inline]
    pub(super) fn fetch(&self, way: usize) {
        fetch_to_write(self.slot(way));
    }

    /// Has the memory come of each slot whose cell has a tag.
    #[inline]
    pub(super) fn fetch_each(&self, cells: Cells) {
        for slot in cells.filter_map(|way| self.slots.get(way)) {
            fetch(slot);
        }
    }

    /// Has the pages looked up in which the bodies are. A bucket lies in two or three, and for each the processor
    /// looks through tables that are in memory as well: for all at once, and not one after the other.
    #[inline]
    pub(super) fn fetch_pages(&self) {
        let [.., last] = &self.slots;
        fetch(std::array::from_ref(&self.slot(WAYS / 2)[0]));
        fetch(std::array::from_ref(&last[SLOT_WORDS - 1]));
    }

    /// As [`Bucket::fetch`], of the place into which a trace goes that is written next.
    #[inline]
    pub(super) fn fetch_for_trace(&self, places: &Places) {
        let mut places = Cells(places.unused.0 | places.over.0);
        let place = places.next().and_then(|number| self.traces.get(number - WAYS));
        if let Some(trace) = place {
            fetch_to_write(trace);
        }
    }

    /// As [`Bucket::fetch`], of what a put will change: the ghosts, and the way that is the next to make room, if
    /// sessions do so in the order in which they came.
    #[inline]
    pub(super) fn fetch_next(&self) {
        self.fetch_pages();
        fetch_to_write(&self.ghosts);
        self.fetch(usize::from(low_byte(self.time())) % WAYS);
    }

    /// Whether a cell's body begins with this locator.
    #[inline]
    pub(super) fn is_of(&self, number: usize, key: &Key) -> bool {
        let [low, high, ..] = self.body(number) else { return false };
        low.peek() == key.low && high.peek() == key.high
    }

    /// How often the floor rose. If it did during an operation, a trace may have come and gone.
    #[inline]
    pub(super) fn rises(&self) -> u64 {
        self.clock.get() / RISE
    }

    /// What ever came here. Whoever sees it sees what came.
    #[inline]
    pub(super) fn events(&self) -> Events {
        Events { clock: self.clock.get(), sessions: self.counts.get() / STORED }
    }

    /// Notes that a session had to make room, at this time of the bucket.
    #[inline]
    pub(super) fn note_ghost(&self, cell: Cell, time: u64) {
        let number = (time / GHOSTS_A_WORD) as usize % GHOST_WORDS;
        let shift = time % GHOSTS_A_WORD * GHOST_BITS;
        let part = if cell.has(REGULAR) { WAS_REGULAR } else { 0 };
        if let Some(word) = self.ghosts.get(number) {
            let old = word.peek();
            // Of two at once, one is not noted.
            word.put(old & !(GHOST_MASK << shift) | (ghost(cell.tag()) | part) << shift);
        }
    }

    /// Whether a session of this tag had to make room a while ago, and if so whether it was in the main part.
    #[inline]
    pub(super) fn ghost_of(&self, tag: u64) -> Option<bool> {
        let lanes = |word: u64| (0..GHOSTS_A_WORD).map(move |lane| word >> (lane * GHOST_BITS));
        let mut ghosts = self.ghosts.iter().flat_map(|word| lanes(word.peek()));
        let found = ghosts.find(|lane| lane & (GHOST_MASK ^ WAS_REGULAR) == ghost(tag));
        found.map(|lane| lane & WAS_REGULAR != 0)
    }
}

fn ghost(tag: u64) -> u64 {
    (tag & (GHOST_MASK ^ WAS_REGULAR)).max(1)
}

// Words of shuttle and loom are larger.
#[cfg(not(any(shuttle, loom)))]
const _: () = assert!(size_of::<Bucket>() == 118 * 64, "a whole number of cache lines");
