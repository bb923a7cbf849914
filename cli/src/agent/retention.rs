//! Which entries of a stream are older than --retention, by the time at which this agent saw them.
//!
//! An entry's id has the time of Redis's clock, and ids never go back. If that clock was ahead for
//! a moment, all later ids are ahead too, and their times say nothing about age. So the agent notes
//! now and then how far a stream had got. Entries up to there are at least as old as the note.

use super::stream_entry::EntryId;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The notes of a stream are this part of --retention apart, so that there are few.
const GRAIN: u32 = 32;

/// A stream had got so far at this time.
#[derive(Clone, Copy, Debug)]
struct Reached {
    id: EntryId,
    when: Instant,
}

/// The notes of all streams, oldest first. Each lock is held for a few instructions.
#[derive(Debug)]
pub(crate) struct Retention {
    time: Duration,
    streams: Vec<Mutex<VecDeque<Reached>>>,
}

impl Retention {
    pub(crate) fn new(time: Duration, streams: usize) -> Retention {
        Retention { time, streams: (0..streams).map(|_| Mutex::default()).collect() }
    }

    fn notes(&self, stream: usize) -> Option<MutexGuard<'_, VecDeque<Reached>>> {
        let notes = self.streams.get(stream)?;
        Some(notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that the stream has an entry with this id, the last that was read.
    pub(crate) fn reached(&self, stream: usize, id: EntryId, when: Instant) {
        let Some(mut notes) = self.notes(stream) else { return };
        let is_recent =
            |note: &Reached| when.saturating_duration_since(note.when) < self.time / GRAIN;
        if notes.back().is_some_and(is_recent) {
            return;
        }
        notes.push_back(Reached { id, when });
        // A second note that is too old says more than the first.
        while notes.get(1).is_some_and(|note| self.is_over(note, when)) {
            notes.pop_front();
        }
    }

    /// Forgets how far a stream had got, because it begins anew.
    pub(crate) fn forget(&self, stream: usize) {
        if let Some(mut notes) = self.notes(stream) {
            notes.clear();
        }
    }

    /// The newest entry that is known to be older than --retention; 0-0 if none is.
    pub(crate) fn passed(&self, stream: usize, now: Instant) -> EntryId {
        let Some(notes) = self.notes(stream) else { return EntryId::default() };
        let newest = notes.iter().rev().find(|note| self.is_over(note, now));
        newest.map_or(EntryId::default(), |note| note.id)
    }

    fn is_over(&self, note: &Reached, now: Instant) -> bool {
        now.saturating_duration_since(note.when) >= self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn age_is_counted_from_the_time_at_which_an_entry_was_seen() {
        let retention = Retention::new(SECOND * 64, 2);
        let start = Instant::now();
        // Redis's clock is stuck a year ahead: only the numbers within a millisecond grow.
        let id = |number| EntryId { time: 9_999_999_999_999, number };
        for second in 0..200 {
            let now = start + SECOND * second;
            retention.reached(0, id(second.into()), now);
            let passed = retention.passed(0, now);
            match second.checked_sub(64) {
                None => assert_eq!(passed, EntryId::default()),
                // A note is two seconds before the next.
                Some(old) => assert!([id(old.into()), id(u64::from(old) - 1)].contains(&passed)),
            }
        }
        assert!(retention.notes(0).unwrap().len() <= 34);
        assert_eq!(retention.passed(1, start + SECOND * 999), EntryId::default());
        assert_eq!(retention.passed(7, start), EntryId::default(), "there is no such stream");
    }

    #[test]
    fn a_stream_in_which_nothing_happens_ages_as_well() {
        let retention = Retention::new(SECOND * 64, 1);
        let start = Instant::now();
        let id = EntryId { time: 5, number: 1 };
        retention.reached(0, id, start);
        assert_eq!(retention.passed(0, start + SECOND * 63), EntryId::default());
        assert_eq!(retention.passed(0, start + SECOND * 6400), id);
        retention.forget(0);
        assert_eq!(retention.passed(0, start + SECOND * 6400), EntryId::default());
    }
}
