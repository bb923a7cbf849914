//! The account of every put, in memory that all share: each put has a number of its own, written
//! in its payload, so that whoever finds it can look up whether it may still be there.

use crate::processes::Plain;
use sesscache_core::store::Locator;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};

pub(crate) const WORKERS: usize = 6;
/// Puts that are kept account of. Workers that are at the end of it only read.
const MOST_PUTS: usize = 16 << 20;
/// Sessions that are removed for good.
const MOST_REMOVED: usize = 1 << 20;

/// Sessions that are told apart if they are torn.
const MOST_TORN: usize = 1 << 16;

/// A thing that a store must never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Lie {
    /// A log whose records are not whole, or not for other hosts.
    Wrong = 1,
    /// Two takes of one put.
    TakenTwice,
    /// A put that was replaced, taken, removed or refused before the lookup began.
    Gone,
    /// A removed session that may be resumed.
    MayResume,
    /// A put of one that can be put was refused as too long.
    Refused,
    /// A put is not there, although nobody else puts this session, and there is room.
    Lost,
}

impl Lie {
    fn of(number: u64) -> Option<Lie> {
        [Lie::Wrong, Lie::TakenTwice, Lie::Gone, Lie::MayResume, Lie::Refused, Lie::Lost]
            .into_iter()
            .find(|lie| *lie as u64 == number)
    }
}

pub(crate) struct Ledger {
    /// Grows with everything that is noted; never 0 in a note.
    clock: AtomicU64,
    puts: AtomicU64,
    removed: AtomicU64,
    pub(crate) is_over: AtomicBool,
    lie: AtomicU64,
    lie_about: AtomicU64,
    /// Operations done by each worker and those it followed.
    pub(crate) progress: [AtomicU64; WORKERS],
    pub(crate) found: AtomicU64,
    pub(crate) taken: AtomicU64,
    /// Sessions that were found with bytes which are not theirs: a sealed record would not open. A process
    /// that is stopped for more than a second, and goes on, may write into what is another's by then.
    pub(crate) torn: AtomicU64,
    is_torn: [AtomicU8; MOST_TORN],
    /// When each put was known to be there no more; 0 if it may be there.
    gone: [AtomicU64; MOST_PUTS],
    takes: [AtomicU8; MOST_PUTS],
    /// 1 if the removal was confirmed.
    is_removed: [AtomicU8; MOST_REMOVED],
}

// SAFETY: atomics only, of which zeroes are a value.
unsafe impl Plain for Ledger {}

/// A moment by the ledger's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(u64);

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Ledger {
    pub(crate) fn moment(&self) -> Moment {
        Moment(self.clock.load(SeqCst))
    }

    /// A number for one more put.
    pub(crate) fn new_put(&self) -> Option<u64> {
        let put = self.puts.fetch_add(1, SeqCst);
        (index(put) < MOST_PUTS).then_some(put)
    }

    pub(crate) fn puts(&self) -> u64 {
        self.puts.load(Relaxed)
    }

    /// This put is there no more: whoever looks from now on must not find it.
    pub(crate) fn is_gone(&self, put: u64) {
        if let Some(gone) = self.gone.get(index(put)) {
            let now = self.clock.fetch_add(1, SeqCst) + 1;
            gone.compare_exchange(0, now, SeqCst, SeqCst).ok();
        }
    }

    pub(crate) fn was_gone(&self, put: u64, before: Moment) -> bool {
        let gone = self.gone.get(index(put)).map_or(u64::MAX, |gone| gone.load(SeqCst));
        gone != 0 && (gone == u64::MAX || gone <= before.0)
    }

    /// Notes a take; false if it is not the first of this put.
    pub(crate) fn is_first_take(&self, put: u64) -> bool {
        self.takes.get(index(put)).is_some_and(|takes| takes.fetch_add(1, SeqCst) == 0)
    }

    /// A number for a session that will be removed for good.
    pub(crate) fn new_removal(&self) -> Option<u64> {
        let number = self.removed.fetch_add(1, SeqCst);
        (index(number) < MOST_REMOVED).then_some(number)
    }

    pub(crate) fn removals(&self) -> u64 {
        self.removed.load(Relaxed).min(MOST_REMOVED as u64)
    }

    pub(crate) fn confirm_removal(&self, number: u64) {
        if let Some(is_removed) = self.is_removed.get(index(number)) {
            is_removed.store(1, SeqCst);
        }
    }

    pub(crate) fn is_removed(&self, number: u64) -> bool {
        self.is_removed.get(index(number)).is_some_and(|removed| removed.load(SeqCst) == 1)
    }

    /// Counts a session that is torn.
    pub(crate) fn note_torn(&self, locator: &Locator) {
        let hash = usize::from(u16::from_le_bytes([locator.0[0], locator.0[1]]));
        let is_first = |torn: &AtomicU8| torn.swap(1, SeqCst) == 0;
        if self.is_torn.get(hash).is_some_and(is_first) {
            self.torn.fetch_add(1, SeqCst);
        }
    }

    /// The store lied; the first lie is kept.
    pub(crate) fn accuse(&self, lie: Lie, about: u64) {
        if self.lie.compare_exchange(0, lie as u64, SeqCst, SeqCst).is_ok() {
            self.lie_about.store(about, SeqCst);
        }
        self.is_over.store(true, SeqCst);
    }

    pub(crate) fn lie(&self) -> Option<(Lie, u64)> {
        Lie::of(self.lie.load(SeqCst)).map(|lie| (lie, self.lie_about.load(SeqCst)))
    }
}
