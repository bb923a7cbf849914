//! How many ways of the buckets newcomers may have: it adapts to who comes back.
//!
//! A client that offers a session which had to make room tells that its part was too small. So the part of
//! which more such sessions come back, for each that it loses, grows (as in ARC). Nobody needs exact
//! figures: of two changes at once, one may be lost.

use super::bucket::WAYS;
use super::word::Word;

/// The words of a table's share, as they lie in the mapping. All are 0 in a new store.
#[derive(Debug, Default)]
#[repr(C)]
pub(in crate::store) struct Share {
    /// The ways that newcomers may have less than at first, of [`WHOLE`].
    less: Word,
    /// Each put reads the word above. Those below are written often, and have a cache line of their own.
    padding: [Word; 7],
    /// Newcomers that had to make room.
    gone_newcomers: Word,
    /// Regulars that had to make room.
    gone_regulars: Word,
}

/// All ways.
const WHOLE: u64 = 1 << 16;
/// The newcomers' part at first.
const FIRST: u64 = WHOLE / 2;
/// With less, clients of TLS 1.3 that visit seldom do not find their tickets, and nobody learns of it.
const LEAST: u64 = WHOLE / 10;
const MOST: u64 = WHOLE - WHOLE / 20;
/// An eviction in so many is counted, for all of them: the words are shared by all processes.
const SAMPLE: u64 = 16;

impl Share {
    /// Writes to one of the words.
    #[cfg(test)]
    pub(super) fn scribble(&self, number: usize, value: u64) {
        [&self.less, &self.gone_newcomers, &self.gone_regulars][number % 3].put(value);
    }

    fn now(&self) -> u64 {
        FIRST
            .wrapping_sub(self.less.peek())
            .cast_signed()
            .clamp(LEAST.cast_signed(), MOST.cast_signed())
            .cast_unsigned()
    }

    /// The ways that newcomers may have of a bucket. `vary` is another number each time, so that a part of a
    /// way counts in a part of the cases.
    #[inline]
    pub(super) fn ways(&self, vary: u64) -> usize {
        let vary = vary.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48;
        // At most the number of ways.
        ((self.now() * WAYS as u64 + vary) >> 16).max(1) as usize
    }

    /// A session made room. `vary` is as good as random.
    #[inline]
    pub(super) fn note_gone(&self, is_regular: bool, vary: u64, slots: u64) {
        if !vary.is_multiple_of(SAMPLE) {
            return;
        }
        let gone = if is_regular { &self.gone_regulars } else { &self.gone_newcomers };
        gone.put(gone.peek().wrapping_add(SAMPLE));
        let (newcomers, regulars) = (self.gone_newcomers.peek(), self.gone_regulars.peek());
        if newcomers.saturating_add(regulars) > 2 * slots {
            self.gone_newcomers.put(newcomers.min(4 * slots) / 2);
            self.gone_regulars.put(regulars.min(4 * slots) / 2);
        }
    }

    /// A client offers a session that had to make room.
    pub(super) fn learn(&self, was_regular: bool, slots: u64) {
        let newcomers = self.gone_newcomers.peek().saturating_add(1);
        let regulars = self.gone_regulars.peek().saturating_add(1);
        let step = (2 * WHOLE / slots.max(1)).max(1);
        let now = self.now();
        let next = if was_regular {
            now.saturating_sub(step.saturating_mul((newcomers / regulars).max(1))).max(LEAST)
        } else {
            now.saturating_add(step.saturating_mul((regulars / newcomers).max(1))).min(MOST)
        };
        self.less.put(FIRST.wrapping_sub(next));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: u64 = 4576;

    #[test]
    fn the_part_whose_sessions_are_missed_grows() {
        let share = Share::default();
        let mean = |share: &Share| (0..1000).map(|vary| share.ways(vary)).sum::<usize>() / 100;
        assert!((155..165).contains(&mean(&share)), "half at first: {}", mean(&share));
        (0..3000).for_each(|_| share.learn(true, SLOTS));
        assert!((27..37).contains(&mean(&share)), "a tenth at least: {}", mean(&share));
        (0..3000).for_each(|_| share.learn(false, SLOTS));
        assert!((300..310).contains(&mean(&share)), "{}", mean(&share));
    }

    #[test]
    fn what_is_missed_counts_for_each_that_went() {
        let share = Share::default();
        (0..100 * SAMPLE).for_each(|vary| share.note_gone(false, vary, SLOTS));
        (0..10 * SAMPLE).for_each(|vary| share.note_gone(true, vary, SLOTS));
        let before = share.now();
        share.learn(true, SLOTS);
        let down = before - share.now();
        share.learn(false, SLOTS);
        assert!(down > 5 * (share.now() + down - before), "{down}");
    }

    #[test]
    fn damage_does_no_harm() {
        for word in [u64::MAX, 1 << 63, 1 << 40] {
            let share = Share::default();
            for one in [&share.less, &share.gone_newcomers, &share.gone_regulars] {
                one.put(word);
            }
            assert!((1..=WAYS).contains(&share.ways(7)));
            share.note_gone(true, 0, SLOTS);
            share.learn(true, SLOTS);
            assert!((1..=WAYS).contains(&share.ways(7)));
        }
    }
}
