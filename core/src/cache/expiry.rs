//! Expiry, flushes and drains of a [`Cache`]. Each takes short steps under a shard's lock, a
//! handful of values at a time, and hands them out with no lock held.

use super::shard::Shard;
use super::{Batch, Cache, Key, PaddedShard, Value, second};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

/// The most shards that a step of expiry looks at.
const SHARDS_A_STEP: usize = 8;
/// The most values that a drain sorts by address before it hands them out.
const DRAIN_WINDOW: usize = 1 << 16;

impl<V: Value> Cache<V> {
    /// Takes a bounded step of expiry, to be called with every add. Returns some of the values
    /// whose deadline, as `deadline_of` tells, lies before `now`. Costs one load when there is
    /// nothing to do.
    pub fn expire(&self, now: i64, deadline_of: impl Fn(&V) -> i64) -> Batch<V> {
        let mut out = Batch::new();
        let target = second(now);
        if target <= self.earliest.load(Acquire) {
            return out;
        }
        let Some(shards) = self.shards.get() else { return out };
        for _ in 0..shards.len().min(SHARDS_A_STEP) {
            let Some(padded) = self.next_shard(shards) else { break };
            self.expire_step(padded, target, &deadline_of, &mut out);
            if !out.is_empty() {
                return out;
            }
        }
        self.recompute_earliest(shards);
        out
    }

    /// Takes a step in a shard; returns whether the shard may have more expired values.
    fn expire_step(
        &self,
        padded: &PaddedShard<V>,
        target: u32,
        deadline_of: impl Fn(&V) -> i64,
        out: &mut Batch<V>,
    ) -> bool {
        if target <= padded.earliest.load(Relaxed) {
            return false;
        }
        let mut shard = padded.shard.write();
        let before = out.length;
        let deadline_of = |value: &V| second(deadline_of(value));
        let bound = shard.expire(target, deadline_of, |key| self.table_hash(key), out);
        padded.earliest.store(bound, Relaxed);
        self.count.fetch_sub(out.length - before, AcqRel);
        drop(shard);
        bound < target
    }

    fn recompute_earliest(&self, shards: &[PaddedShard<V>]) {
        // An add meanwhile lowers it again; the walk finds the values that were there before.
        self.earliest.store(u32::MAX, Relaxed);
        let bound = shards.iter().map(|padded| padded.earliest.load(Acquire)).min();
        self.earliest.fetch_min(bound.unwrap_or(u32::MAX), AcqRel);
    }

    /// Takes out every value whose deadline lies before `at` and hands it to `sink`, a few at a
    /// time and with no lock held. `now` is the present. With `walk`, every value is asked for its
    /// deadline, because a deadline may have come nearer since the add.
    #[expect(
        clippy::too_many_arguments,
        reason = "two times, a choice, and the caller's two answers"
    )]
    pub fn flush(
        &self,
        at: i64,
        now: i64,
        walk: bool,
        deadline_of: impl Fn(&V) -> i64,
        mut sink: impl FnMut(V),
    ) {
        let Some(shards) = self.shards.get() else { return };
        let target = second(at);
        if !walk && target <= self.earliest.load(Acquire) && target != u32::MAX {
            return;
        }
        // The wheel turns with the present only. For another time, every entry is asked.
        if walk || at != now {
            return self.sweep(at, deadline_of, sink);
        }
        // Values that `sink` adds again are left to the next flush. This flush might never end
        // otherwise.
        let entries = |padded: &PaddedShard<V>| padded.shard.read().len();
        go_round(shards, entries, |padded, left| {
            let mut out = Batch::new();
            let more = self.expire_step(padded, target, &deadline_of, &mut out);
            *left = left.saturating_sub(out.length);
            out.into_iter().for_each(&mut sink);
            more && *left > 0
        });
        self.recompute_earliest(shards);
    }

    /// Takes out every value and hands it to `sink` with no lock held, in no order.
    pub fn drain(&self, now: i64, mut sink: impl FnMut(V)) {
        let Some(shards) = self.shards.get() else { return };
        let mut contents = Vec::new();
        let mut window = Vec::new();
        if contents.try_reserve_exact(shards.len()).is_err()
            || window.try_reserve_exact(self.len().min(DRAIN_WINDOW) + shards.len()).is_err()
        {
            return self.sweep(i64::MAX, |_| i64::MIN, sink);
        }
        // Each shard's content goes as a whole, so that no thread waits while it is taken apart.
        for padded in shards {
            let mut shard = padded.shard.write();
            let content = std::mem::replace(&mut *shard, Shard::new(second(now)));
            padded.earliest.store(u32::MAX, Relaxed);
            self.count.fetch_sub(content.len(), AcqRel);
            drop(shard);
            contents.push(content.into_values());
        }
        // Values taken from the shards in turn come nearly in the order of their adds, and so of
        // their memory. Sorted within a window, they are freed twice as fast.
        while !contents.is_empty() {
            contents.retain_mut(|values| {
                let value = values.next();
                let more = value.is_some();
                window.extend(value);
                more
            });
            if contents.is_empty() || window.len() >= DRAIN_WINDOW {
                window.sort_unstable_by_key(V::address);
                window.drain(..).for_each(&mut sink);
            }
        }
    }

    /// Asks every value for its deadline. Values that expired before `at` are taken out, a few at a
    /// time, and handed to `sink` with no lock held. The others move to their place in the order of
    /// expiry.
    pub(super) fn sweep(&self, at: i64, deadline_of: impl Fn(&V) -> i64, mut sink: impl FnMut(V)) {
        let Some(shards) = self.shards.get() else { return };
        go_round(
            shards,
            |_| 0,
            |padded, cursor| {
                let mut out = Batch::new();
                let mut shard = padded.shard.write();
                let hash_of = |key: &Key| self.table_hash(key);
                let (next, earliest) = shard.sweep(*cursor, at, &deadline_of, hash_of, &mut out);
                self.note_due(padded, earliest);
                self.count.fetch_sub(out.length, AcqRel);
                drop(shard);
                out.into_iter().for_each(&mut sink);
                *cursor = next.unwrap_or(0);
                next.is_some()
            },
        );
    }
}

/// Takes a step in each shard, and goes round again, until `step` returns false for each. The
/// shards come in turn, so that a thread that waits for a shard has a whole round to take its lock.
/// Handing the lock over after each step would cost a switch of threads every time.
fn go_round<V, S>(
    shards: &[PaddedShard<V>],
    start: impl Fn(&PaddedShard<V>) -> S,
    mut step: impl FnMut(&PaddedShard<V>, &mut S) -> bool,
) {
    let mut rounds = Vec::new();
    if rounds.try_reserve_exact(shards.len()).is_err() {
        for padded in shards {
            let mut state = start(padded);
            while step(padded, &mut state) {}
        }
        return;
    }
    rounds.extend(shards.iter().map(|padded| (padded, start(padded))));
    while !rounds.is_empty() {
        rounds.retain_mut(|(padded, state)| step(padded, state));
    }
}
