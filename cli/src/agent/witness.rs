//! Witnesses: entries of ours that Redis acknowledged, by which the sender sees whether it lost
//! any.
//!
//! The witness of a stream is the newest of them when it was last looked for. It stays until the next
//! look, because a stream that was emptied has newer ones a moment later. A Redis that was emptied,
//! restored or failed over to a replica that lagged lacks the witness then. A cluster fails over
//! without an error: the client follows the redirection, and another node acknowledges the next
//! entry. So the witness before that entry stays until it was looked for at the new node.

use super::notes::{self, Note};
use super::shared::Shared;
use super::stream_entry::EntryId;
use std::time::{Duration, Instant};

/// Witnesses that are this close to their end are not looked for. Another host may have measured
/// Redis's clock a little differently, and trimmed them.
const MARGIN: Duration = Duration::from_secs(3);
/// A witness of an earlier agent is not looked for if it is dated further ahead of Redis's clock.
/// Nobody knows then how old it is.
const AHEAD: Duration = Duration::from_secs(60);
/// The most witnesses of a stream that wait to be looked for. One more comes with each change of
/// the node, and all are looked for once a second.
const MOST: usize = 16;

/// An entry that Redis acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) id: EntryId,
    /// The connection to the node that did; 0 if it was another agent's.
    pub(super) node: i64,
    /// When; `None` if it was another agent's.
    pub(super) when: Option<Instant>,
}

/// The witnesses of one stream.
#[derive(Debug, Default)]
struct Witnesses {
    /// The entry that is looked for.
    witness: Acknowledged,
    /// The newest entry.
    last: Acknowledged,
    /// Entries before it that another node acknowledged, or that were looked for and are gone.
    doubtful: Vec<Doubtful>,
}

/// An entry that may be lost.
#[derive(Clone, Copy, Debug)]
struct Doubtful {
    entry: Acknowledged,
    /// Whether the node has changed since; `None` until the next entry tells.
    has_moved: Option<bool>,
}

/// The witnesses of all streams.
#[derive(Debug)]
pub(super) struct AllWitnesses {
    streams: Vec<Witnesses>,
    /// Whether the store keeps lost witnesses until everything is read again. An agent that is
    /// restarted before that finds them lost again.
    holds: bool,
}

/// A stream's witness that must be in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) stream: usize,
    pub(super) id: EntryId,
    /// Whether the node is known to have changed since it was acknowledged.
    pub(super) has_moved: bool,
}

impl Witnesses {
    fn add(&mut self, acknowledged: Acknowledged) {
        for one in &mut self.doubtful {
            one.has_moved.get_or_insert(one.entry.node != acknowledged.node);
        }
        let before = std::mem::replace(&mut self.last, acknowledged);
        let has_moved = before.node != acknowledged.node;
        if has_moved {
            self.doubt(before, Some(true));
        }
        if has_moved || self.witness.id == EntryId::default() {
            self.witness = acknowledged;
        }
    }

    fn doubt(&mut self, entry: Acknowledged, has_moved: Option<bool>) {
        if entry.id != EntryId::default() && self.doubtful.len() < MOST {
            self.doubtful.push(Doubtful { entry, has_moved });
        }
    }

    /// Notes that an entry is gone.
    fn lost(&mut self, id: EntryId) {
        if self.witness.id == id {
            self.doubt(self.witness, None);
            if self.last.id == id {
                self.last = Acknowledged::default();
            }
            self.witness = self.last;
        }
    }

    /// Notes that all that were expected were there.
    fn settle(&mut self) {
        self.doubtful.clear();
        self.witness = self.last;
    }

    /// Notes that everything is sent again, so that nothing of before is expected.
    fn begin_anew(&mut self) {
        *self = Witnesses::default();
    }

    /// All that are looked for, and whether the node is known to have changed since.
    fn all(&self) -> impl Iterator<Item = (&Acknowledged, bool)> {
        let doubtful = self.doubtful.iter().map(|one| (&one.entry, one.has_moved == Some(true)));
        doubtful.chain([(&self.witness, false)])
    }

    /// The witness that the next agent must look for.
    fn oldest(&self) -> EntryId {
        self.doubtful.first().map_or(self.last.id, |one| one.entry.id)
    }
}

impl AllWitnesses {
    /// The witnesses that the store keeps.
    pub(super) fn of(shared: &Shared) -> AllWitnesses {
        let of = |stream| {
            let id = notes::read(&shared.store, stream, Note::Witness);
            let last = Acknowledged { id, ..Acknowledged::default() };
            Witnesses { witness: last, last, doubtful: Vec::new() }
        };
        AllWitnesses { streams: (0..shared.settings.streams).map(of).collect(), holds: false }
    }

    /// Notes that Redis has acknowledged an entry.
    pub(super) fn add(&mut self, shared: &Shared, stream: usize, acknowledged: Acknowledged) {
        if let Some(witnesses) = self.streams.get_mut(stream) {
            witnesses.add(acknowledged);
            if !self.holds {
                notes::keep(&shared.store, stream, Note::Witness, witnesses.oldest());
            }
        }
    }

    /// The witnesses that are not too old to be in their streams.
    pub(super) fn expected(&self, shared: &Shared) -> Vec<Expected> {
        let mut expected = Vec::new();
        for (stream, witnesses) in self.streams.iter().enumerate() {
            for (one, has_moved) in witnesses.all() {
                if is_expected(shared, one) {
                    expected.push(Expected { stream, id: one.id, has_moved });
                }
            }
        }
        expected
    }

    /// Notes that an expected witness is gone. It is looked for again until everything is sent
    /// again.
    pub(super) fn lost(&mut self, gone: Expected) {
        if let Some(witnesses) = self.streams.get_mut(gone.stream) {
            witnesses.lost(gone.id);
        }
    }

    /// Notes that all that were expected were there.
    pub(super) fn settle(&mut self, shared: &Shared) {
        self.streams.iter_mut().for_each(Witnesses::settle);
        self.keep(shared);
    }

    /// Notes that everything will be read again because of these.
    pub(super) fn hold(&mut self, shared: &Shared, gone: &[Expected]) {
        self.streams.iter_mut().for_each(Witnesses::begin_anew);
        for one in gone {
            notes::keep(&shared.store, one.stream, Note::Witness, one.id);
        }
        self.holds = true;
    }

    /// Notes that the store now keeps that everything is read again.
    pub(super) fn release(&mut self, shared: &Shared) {
        self.holds = false;
        self.keep(shared);
    }

    fn keep(&self, shared: &Shared) {
        for (stream, witnesses) in self.streams.iter().enumerate().filter(|_| !self.holds) {
            notes::keep(&shared.store, stream, Note::Witness, witnesses.oldest());
        }
    }
}

/// Whether Redis must still have the entry: --retention is not over for it, neither by Redis's
/// clock nor by our own.
fn is_expected(shared: &Shared, one: &Acknowledged) -> bool {
    let margin = u64::try_from(MARGIN.as_millis()).unwrap_or(u64::MAX);
    let ahead = u64::try_from(AHEAD.as_millis()).unwrap_or(u64::MAX);
    let is_dated_within = one.id.time > shared.oldest_time().saturating_add(margin);
    is_dated_within
        && match one.when {
            Some(when) => when.elapsed() + MARGIN < shared.settings.retention,
            None => one.id.time <= shared.clock.now().saturating_add(ahead),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledged(time: u64, node: i64) -> Acknowledged {
        Acknowledged { id: EntryId { time, number: 0 }, node, when: Some(Instant::now()) }
    }

    /// The entries' times, and whether they have moved.
    fn moved(witnesses: &Witnesses) -> Vec<(u64, bool)> {
        witnesses.all().map(|(one, moved)| (one.id.time, moved)).collect()
    }

    #[test]
    fn a_witness_of_another_node_stays_until_it_was_looked_for() {
        let mut witnesses = Witnesses::default();
        witnesses.add(acknowledged(1, 7));
        witnesses.add(acknowledged(2, 7));
        assert_eq!((witnesses.oldest().time, witnesses.doubtful.len()), (2, 0));
        witnesses.add(acknowledged(3, 8));
        witnesses.add(acknowledged(4, 8));
        assert_eq!((witnesses.oldest().time, witnesses.doubtful.len()), (2, 1));
        witnesses.add(acknowledged(5, 7));
        let doubtful: Vec<u64> = witnesses.doubtful.iter().map(|one| one.entry.id.time).collect();
        assert_eq!(doubtful, [2, 4]);
        (0..100).for_each(|time| witnesses.add(acknowledged(100 + time, time.cast_signed())));
        assert_eq!(witnesses.doubtful.len(), MOST, "there is a limit");
    }

    #[test]
    fn a_witness_stays_until_it_was_looked_for_whatever_follows() {
        let mut witnesses = Witnesses::default();
        witnesses.add(acknowledged(1, 7));
        // The stream is emptied, and then others come before the next look.
        witnesses.add(acknowledged(2, 7));
        witnesses.add(acknowledged(3, 7));
        assert_eq!(moved(&witnesses), [(1, false)]);
        witnesses.settle();
        assert_eq!(moved(&witnesses), [(3, false)]);
        witnesses.add(acknowledged(4, 7));
        witnesses.lost(EntryId { time: 3, number: 0 });
        assert_eq!(moved(&witnesses), [(3, false), (4, false)]);
        witnesses.begin_anew();
        assert_eq!((moved(&witnesses), witnesses.oldest()), (vec![(0, false)], EntryId::default()));
    }

    #[test]
    fn an_entry_that_is_gone_has_moved_if_another_node_acknowledges_the_next() {
        let mut witnesses = Witnesses::default();
        witnesses.add(acknowledged(1, 7));
        // A check comes between a takeover and the next entry.
        witnesses.lost(EntryId { time: 1, number: 0 });
        assert_eq!(moved(&witnesses), [(1, false), (0, false)], "nobody knows yet");
        witnesses.add(acknowledged(2, 8));
        assert_eq!(moved(&witnesses), [(1, true), (2, false)]);
    }

    #[test]
    fn an_entry_that_is_gone_from_its_node_has_not_moved() {
        let mut witnesses = Witnesses::default();
        witnesses.add(acknowledged(1, 7));
        witnesses.lost(EntryId { time: 1, number: 0 });
        witnesses.add(acknowledged(2, 7));
        assert_eq!(
            moved(&witnesses),
            [(1, false), (2, false)],
            "or the pause of rewinds would not grow"
        );
        witnesses.add(acknowledged(3, 8));
        assert_eq!(moved(&witnesses), [(1, false), (2, true), (3, false)]);
    }
}
