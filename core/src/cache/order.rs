//! Which entry of a shard makes room: one that nobody will come back for, as far as one can tell.
//!
//! A newcomer is on probation in a part of the shard, whose share [`super::share`] learns. Who came back
//! moves to the main part and stays long. A ticket that was used is the next to go, because a client offers it once (RFC 8446 C.4),
//! and its successor takes its standing. Of sessions that had to go, a trace is kept: who comes back
//! with one is known by it, and gets a place in the main part.
//!
//! Uses that follow each other closely are one visit, so that a burst of connections does not count as
//! coming back.
//!
//! No locks: the shard's caller has one. Readers change an entry's state by a single store.

use super::ghosts::Ghosts;
use super::share::{Gone, Part, Share};
use super::slab::{EntryNumber, NONE, Slab};
use std::sync::atomic::Ordering::Relaxed;

/// The most entries that eviction moves before it takes the next one.
const MOST_MOVES: usize = 64;
/// Below so many entries each use counts.
const FEW: usize = 64;

/// The lower bits of an entry's state byte. The upper ones are the epoch of the last use that
/// counted.
mod state {
    /// On probation.
    pub(super) const NEW: u8 = 0;
    /// On probation, and used.
    pub(super) const USED: u8 = 1;
    /// In the main part, not used since it was last passed over. Each use that counts adds one.
    pub(super) const MAIN: u8 = 2;
    /// In the main part, and used often.
    pub(super) const MOST: u8 = 5;
    /// A ticket that was used, of a newcomer.
    pub(super) const SPENT: u8 = 6;
    /// A ticket that was used, of the main part. Each successor belongs there, too.
    pub(super) const SPENT_MAIN: u8 = 7;
    pub(super) const MASK: u8 = 7;
    /// The bits of the epoch begin here. An epoch is a sixteenth of the time in which a shard of one
    /// queue would forget, and there are 32.
    pub(super) const EPOCH: u32 = 3;
}

/// How an entry stands: whether it was used, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing(u8);

impl Standing {
    /// Of a session nobody has come back for.
    pub const NEWCOMER: Standing = Standing(state::NEW);
    /// Of a session that was made for somebody who came back.
    pub const CAME_BACK: Standing = Standing(state::MAIN);
    /// The numbers of standings are below this.
    pub(super) const NUMBERS: u64 = 8;

    /// The standing as a number, 0 for a newcomer.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The standing of this number.
    pub fn of(number: u64) -> Standing {
        let known = u8::try_from(number).ok().filter(|&number| number <= state::MOST);
        known.map_or(Standing::NEWCOMER, Standing)
    }
}

/// Entries in the order of their arrival.
#[derive(Clone, Copy, Debug)]
struct List {
    oldest: EntryNumber,
    newest: EntryNumber,
    length: usize,
}

impl List {
    const fn new() -> List {
        List { oldest: NONE, newest: NONE, length: 0 }
    }

    /// Appends an unlinked entry as the newest.
    fn link<V>(&mut self, slab: &mut Slab<V>, number: EntryNumber) {
        let newest = self.newest;
        if let Some(entry) = slab.get_mut(number) {
            entry.older = newest;
            entry.newer = NONE;
        }
        match slab.get_mut(newest) {
            Some(entry) => entry.newer = number,
            None => self.oldest = number,
        }
        self.newest = number;
        self.length += 1;
    }

    fn unlink<V>(&mut self, slab: &mut Slab<V>, number: EntryNumber) {
        let Some(entry) = slab.get(number) else { return };
        let (older, newer) = (entry.older, entry.newer);
        match slab.get_mut(older) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match slab.get_mut(newer) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
        self.length -= 1;
    }
}

/// The order in which the entries of a shard make room.
#[derive(Debug)]
pub(super) struct Order {
    spent: List,
    newcomers: List,
    main: List,
    /// The shard's turnover: in its lower 16 bits, parts of an epoch.
    age: u32,
    gone: Gone,
    ghosts: Ghosts,
}

impl Order {
    pub(super) const fn new() -> Order {
        let empty = List::new();
        Order {
            spent: empty,
            newcomers: empty,
            main: empty,
            age: 0,
            gone: Gone::new(),
            ghosts: Ghosts::new(),
        }
    }

    fn length(&self) -> usize {
        self.spent.length + self.newcomers.length + self.main.length
    }

    #[expect(clippy::cast_possible_truncation, reason = "five bits are meant")]
    fn epoch(&self) -> u8 {
        (self.age >> 16) as u8 & 31
    }

    fn list(&mut self, state: u8) -> &mut List {
        match state & state::MASK {
            state::NEW | state::USED => &mut self.newcomers,
            state::SPENT | state::SPENT_MAIN => &mut self.spent,
            _ => &mut self.main,
        }
    }

    /// Appends a new entry, as a newcomer.
    pub(super) fn add<V>(&mut self, slab: &mut Slab<V>, number: EntryNumber) {
        self.link(slab, number, state::NEW);
        const EPOCHS: u32 = 16;
        let length = u32::try_from(self.length()).unwrap_or(u32::MAX);
        self.age = self.age.wrapping_add((EPOCHS << 16) / length.max(1));
    }

    /// Links an entry with this state, and the present as the time of its last use.
    fn link<V>(&mut self, slab: &mut Slab<V>, number: EntryNumber, state: u8) {
        let epoch = self.epoch();
        self.list(state).link(slab, number);
        if let Some(entry) = slab.get_mut(number) {
            *entry.state.get_mut() = state | epoch << state::EPOCH;
        }
    }

    fn unlink<V>(&mut self, slab: &mut Slab<V>, number: EntryNumber) -> u8 {
        let state = slab.get_mut(number).map_or(state::NEW, |entry| *entry.state.get_mut());
        self.list(state).unlink(slab, number);
        state & state::MASK
    }

    /// Takes an entry out, which leaves no trace.
    pub(super) fn remove<V>(&mut self, slab: &mut Slab<V>, number: EntryNumber) {
        self.unlink(slab, number);
    }

    /// An entry's value was added again: it is the newest of its part, and not spent.
    pub(super) fn renew<V>(&mut self, slab: &mut Slab<V>, number: EntryNumber) {
        let state = match self.unlink(slab, number) {
            state::SPENT => state::NEW,
            state::SPENT_MAIN => state::MAIN,
            state => state,
        };
        self.link(slab, number, state);
    }

    /// Gives an entry a standing, unless it has a better one.
    pub(super) fn raise<V>(&mut self, slab: &mut Slab<V>, number: EntryNumber, to: Standing) {
        let Some(entry) = slab.get_mut(number) else { return };
        let state = *entry.state.get_mut() & state::MASK;
        if state < to.0 && to.0 <= state::MOST {
            self.unlink(slab, number);
            self.link(slab, number, to.0);
        }
    }

    /// Notes a use.
    #[inline]
    pub(super) fn note_use<V>(&self, slab: &Slab<V>, number: EntryNumber) {
        let Some(entry) = slab.get(number) else { return };
        let state = entry.state.load(Relaxed);
        let new = self.after_use(state);
        if new != state {
            entry.state.store(new, Relaxed);
        }
    }

    /// An entry's state after a use.
    #[inline]
    fn after_use(&self, state: u8) -> u8 {
        let epoch = self.epoch();
        match state & state::MASK {
            state::USED | state::MOST.. => state,
            _ if self.is_same_visit(epoch, state >> state::EPOCH) => state,
            before => (before + 1) | epoch << state::EPOCH,
        }
    }

    #[inline]
    fn is_same_visit(&self, epoch: u8, last: u8) -> bool {
        epoch.wrapping_sub(last) & 31 < 2 && self.length() >= FEW
    }

    /// A client has used the entry's ticket, so that it is the next to make room. Returns what its
    /// successor inherits.
    pub(super) fn spend<V>(&mut self, slab: &mut Slab<V>, number: EntryNumber) -> Standing {
        let Some(entry) = slab.get_mut(number) else { return Standing::NEWCOMER };
        let used = *entry.state.get_mut();
        let state = self.after_use(used) & state::MASK;
        let spent = match state {
            // A client that opens several connections at once may offer one ticket in each.
            state::SPENT => return Standing::NEWCOMER,
            state::SPENT_MAIN => return Standing::CAME_BACK,
            state::NEW | state::USED => state::SPENT,
            _ => state::SPENT_MAIN,
        };
        self.unlink(slab, number);
        self.link(slab, number, spent);
        Standing(state)
    }

    /// The entry that makes room.
    pub(super) fn victim<V>(&mut self, slab: &mut Slab<V>, share: &Share) -> Option<EntryNumber> {
        for _ in 0..MOST_MOVES {
            let number = self.next(share);
            let state = *slab.get_mut(number)?.state.get_mut();
            let moved = match state & state::MASK {
                state::USED => state::MAIN,
                often @ state::MAIN..=state::MOST if often > state::MAIN => often - 1,
                _ => return Some(number),
            };
            self.unlink(slab, number);
            self.list(moved).link(slab, number);
            *slab.get_mut(number)?.state.get_mut() = moved | state & !state::MASK;
        }
        Some(self.next(share)).filter(|&number| number != NONE)
    }

    /// The next entry to be looked at. It is in memory that will be cold.
    pub(super) fn next(&self, share: &Share) -> EntryNumber {
        let most = share.most(self.length());
        let list = match () {
            () if self.spent.length > 0 => self.spent,
            () if self.newcomers.length > most || self.main.length == 0 => self.newcomers,
            () => self.main,
        };
        list.oldest
    }

    /// Keeps a trace of an entry that makes room, unless it was spent.
    pub(super) fn keep_trace<V>(&mut self, slab: &mut Slab<V>, number: EntryNumber, hash: u32) {
        let length = self.length();
        let Some(entry) = slab.get_mut(number) else { return };
        let part = match *entry.state.get_mut() & state::MASK {
            state::NEW | state::USED => Part::Newcomers,
            state::SPENT | state::SPENT_MAIN => return,
            _ => Part::Main,
        };
        self.gone.count(part, length);
        self.ghosts.add(hash, part, length);
    }

    /// A session of this hash is asked for and is not here: the part from which it had to go not long
    /// ago. That part's share of the cache, which has so many entries, grows.
    pub(super) fn trace(&self, hash: u32, share: &Share, entries: usize) -> Option<Part> {
        let part = self.ghosts.find(hash)?;
        share.learn(part, &self.gone, entries);
        Some(part)
    }
}
