//! How many of a cache's entries may be newcomers. The share learns from sessions that had to go and are
//! asked for, because their part was too small.
//!
//! The rule is that of ARC (Megiddo and Modha, FAST 2003): a session that is asked for counts the more, the
//! fewer have left its part, so that one place more is worth the same in both parts. A main part to which
//! nobody comes back shrinks in this way.
//!
//! No locks. An update of the share that another thread overwrites does no harm.

use crate::sync::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// All of a cache.
const WHOLE: u32 = 1 << 16;
/// The least share of newcomers, so that the connections of one visit find each other's sessions.
const LEAST: u32 = WHOLE / 10;
/// The most, which leaves a twentieth to the main part.
const MOST: u32 = WHOLE - WHOLE / 20;
/// The share with which a cache begins. With more, regulars have to go before it has learned.
const FIRST: u32 = WHOLE.div_ceil(5);
/// So many places change hands for a session that is asked for, or more.
const PLACES: u32 = 2;

/// The part of a cache in which a session is that is not spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Sessions that nobody came back for.
    Newcomers,
    /// Sessions of clients that came back.
    Main,
}

/// How many have left the parts of a shard to make room. Both numbers are halved once in a while.
#[derive(Debug)]
pub(super) struct Gone {
    newcomers: u32,
    main: u32,
}

impl Gone {
    pub(super) const fn new() -> Gone {
        Gone { newcomers: 0, main: 0 }
    }

    /// Counts one of a shard of so many entries.
    pub(super) fn count(&mut self, part: Part, length: usize) {
        match part {
            Part::Newcomers => self.newcomers += 1,
            Part::Main => self.main += 1,
        }
        if (self.newcomers + self.main) as usize > 2 * length {
            self.newcomers /= 2;
            self.main /= 2;
        }
    }
}

/// The share of newcomers, of [`WHOLE`].
#[derive(Debug)]
pub(super) struct Share(AtomicU32);

impl Share {
    pub(super) fn new() -> Share {
        Share(AtomicU32::new(FIRST))
    }

    /// The most newcomers in a shard of so many entries.
    #[expect(clippy::cast_possible_truncation, reason = "no more than `length`")]
    pub(super) fn most(&self, length: usize) -> usize {
        let share = u64::from(self.0.load(Relaxed));
        (length as u64 * share / u64::from(WHOLE)).max(1) as usize
    }

    /// A session is asked for that had to leave this part of a shard. The cache has so many entries.
    pub(super) fn learn(&self, part: Part, gone: &Gone, entries: usize) {
        let entries = u32::try_from(entries).unwrap_or(u32::MAX).max(1);
        let step = (PLACES * WHOLE / entries).max(1);
        let by = |others: u32, its: u32| {
            let weighed = u64::from(step) * u64::from(others) / u64::from(its.max(1));
            u32::try_from(weighed).unwrap_or(u32::MAX).max(step)
        };
        let share = self.0.load(Relaxed);
        let share = match part {
            Part::Newcomers => share.saturating_add(by(gone.main, gone.newcomers)),
            Part::Main => share.saturating_sub(by(gone.newcomers, gone.main)),
        };
        self.0.store(share.clamp(LEAST, MOST), Relaxed);
    }
}
