//! This process's sessions: a bounded concurrent map in which who comes back stays, and with expiry.
//!
//! Generic over the value, a cheap handle whose clone is a reference. Time is a parameter. Values
//! that leave are returned, so that the caller drops them and calls back with no lock held.
//!
//! Locks: one reader-writer lock for each shard, never two at once. Readers share it.

mod expiry;
mod ghosts;
mod index;
mod key;
mod named;
mod order;
mod shard;
mod share;
mod slab;
mod wheel;

pub use key::{Key, MAX_ID_LENGTH};
pub use named::KeyHash;
pub use order::Standing;
pub use share::Part;

use crate::sync::{AtomicU32, AtomicUsize, RwLock, pause};
use foldhash::quality::FixedState;
use once_cell::sync::OnceCell;
use shard::{Insertion, Shard};
use share::Share;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

/// Up to this capacity there is a single shard, so that the order of eviction is exact.
const ONE_SHARD: usize = 1024;
/// The number of shards is limited, so that each has at least this share of the capacity.
const MIN_PER_SHARD: usize = 256;
/// There are enough shards that none has more entries than this, so that growing a shard is short.
const MAX_PER_SHARD: usize = 4096;
/// The capacity for which an unlimited cache is laid out.
const UNLIMITED_LAYOUT: usize = 1 << 20;
const MAX_SHARDS: usize = 1024;
/// The most tries of an add in a full cache whose places other threads are about to use.
const TRIES: usize = 64;

/// A cache of values found by [`Key`].
#[derive(Debug)]
pub struct Cache<V> {
    /// Made by the first add, for the capacity of that moment.
    shards: OnceCell<Box<[PaddedShard<V>]>>,
    seed: FixedState,
    cpus: u32,
    /// 0: unlimited.
    capacity: AtomicUsize,
    /// Entries, and places that an add has reserved for its entry.
    count: AtomicUsize,
    /// Nothing expires before this second.
    earliest: AtomicU32,
    /// The next shard to expire or to lose an entry.
    hand: AtomicUsize,
    /// How many entries of each shard may be newcomers.
    share: Share,
}

/// A shard with its lock and the time of its next expiry, alone on its cache lines.
#[repr(align(128))]
#[derive(Debug)]
struct PaddedShard<V> {
    shard: RwLock<Shard<V>>,
    /// Nothing in the shard expires before this second. Written under the lock.
    earliest: AtomicU32,
}

/// The result of [`Cache::add`], and the values that it pushed out.
#[derive(Debug, PartialEq, Eq)]
pub struct Added<V> {
    /// False if this very value was there already, or was not kept.
    pub new: bool,
    /// The other value that had the key, or the value itself if there was no memory.
    pub displaced: Option<V>,
    /// The value that had to make room.
    pub evicted: Option<V>,
}

/// A handful of values that left the cache.
#[derive(Debug)]
pub struct Batch<V> {
    values: [Option<V>; 16],
    length: usize,
}

impl<V> Batch<V> {
    fn new() -> Self {
        Batch { values: [const { None }; 16], length: 0 }
    }

    fn is_full(&self) -> bool {
        self.length == self.values.len()
    }

    fn push(&mut self, value: Option<V>) {
        if let Some(place) = self.values.get_mut(self.length) {
            *place = value;
            self.length += 1;
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl<V> IntoIterator for Batch<V> {
    type Item = V;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<V>, 16>>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.into_iter().flatten()
    }
}

/// A deadline in the wheel's terms: seconds since 1970. A deadline beyond 2106 never comes.
fn second(time: i64) -> u32 {
    u32::try_from(time.max(0)).unwrap_or(u32::MAX)
}

fn shard_count(capacity: usize, cpus: usize) -> usize {
    if capacity != 0 && capacity <= ONE_SHARD {
        return 1;
    }
    let capacity = if capacity == 0 { UNLIMITED_LAYOUT } else { capacity };
    let most = (capacity / MIN_PER_SHARD).clamp(1, MAX_SHARDS);
    let wanted = (cpus * 8).max(capacity / MAX_PER_SHARD).next_power_of_two();
    wanted.min(1 << most.ilog2())
}

/// The shard of a hash, and the half of the hash that the shard's table uses.
#[expect(clippy::cast_possible_truncation, reason = "the two halves are meant")]
#[inline]
fn at<V>(shards: &[PaddedShard<V>], hash: u64) -> Option<(&PaddedShard<V>, u32)> {
    let padded = shards.get((hash >> 32) as usize & shards.len().wrapping_sub(1))?;
    Some((padded, hash as u32))
}

/// A value of a cache: a handle whose clone is a reference. Two handles are equal if they refer to
/// the same object.
pub trait Value: Clone + PartialEq {
    /// The object's address, so that many objects can be dropped in the order of their memory.
    fn address(&self) -> usize {
        0
    }

    /// Says that the object will soon be dropped, so that its memory can be fetched meanwhile.
    fn prefetch(&self) {}
}

impl<V: Value> Cache<V> {
    /// An empty cache for `capacity` values (0: no limit) on a machine with `cpus` processors.
    pub fn new(capacity: usize, cpus: usize) -> Self {
        // RandomState is used for its seed alone, which comes from the operating system.
        let seed = RandomState::new().build_hasher().finish();
        Cache {
            shards: OnceCell::new(),
            seed: FixedState::with_seed(seed),
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
            capacity: AtomicUsize::new(capacity),
            count: AtomicUsize::new(0),
            earliest: AtomicU32::new(u32::MAX),
            hand: AtomicUsize::new(0),
            share: Share::new(),
        }
    }

    /// The number of values. It is never above the capacity, once [`Cache::evict_excess`] has
    /// enforced a smaller one.
    pub fn len(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most values that the cache holds; 0 means no limit.
    pub fn capacity(&self) -> usize {
        self.capacity.load(Relaxed)
    }

    /// Sets the capacity and returns the one before; see [`Cache::evict_excess`] for a smaller one.
    pub fn set_capacity(&self, capacity: usize) -> usize {
        self.capacity.swap(capacity, Relaxed)
    }

    #[inline]
    fn hash(&self, key: &Key) -> u64 {
        let mut hasher = self.seed.build_hasher();
        key.hash_into(&mut hasher);
        hasher.finish()
    }

    /// The half of the hash that the shard's table uses; the other half names the shard.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    #[inline]
    fn table_hash(&self, key: &Key) -> u32 {
        self.hash(key) as u32
    }

    #[inline]
    fn locate<'a>(
        &self,
        shards: &'a [PaddedShard<V>],
        key: &Key,
    ) -> Option<(&'a PaddedShard<V>, u32)> {
        at(shards, self.hash(key))
    }

    #[inline]
    fn find(&self, key: &Key) -> Option<(&PaddedShard<V>, u32)> {
        self.locate(self.shards.get()?, key)
    }

    /// Whether there is a value under `key`. It does not count as a use.
    #[inline]
    pub fn contains(&self, key: &Key) -> bool {
        self.find(key).is_some_and(|(padded, hash)| padded.shard.read().contains(hash, key))
    }

    /// The value under `key`, expired or not. It counts as a use.
    #[inline]
    pub fn get(&self, key: &Key) -> Option<V> {
        let (padded, hash) = self.find(key)?;
        padded.shard.read().get(hash, key).cloned()
    }

    /// The part of the cache in which a value under `key` was when it had to make room, not long ago. Wrong
    /// in one of 8,000 cases.
    ///
    /// To be called once for a client whose session is not there. The share of that part grows.
    pub fn had_to_go(&self, key: &Key) -> Option<Part> {
        let (padded, hash) = self.find(key)?;
        padded.shard.read().trace(hash, &self.share, self.len())
    }

    /// Gives the value under `key` a standing, unless it has a better one.
    pub fn raise(&self, key: &Key, standing: Standing) {
        if standing != Standing::NEWCOMER
            && let Some((padded, hash)) = self.find(key)
        {
            padded.shard.write().raise(hash, key, standing);
        }
    }

    /// The shards, made now if there are none. `None` without memory; a later call tries again.
    fn shards_or_new(&self, now: u32) -> Option<&[PaddedShard<V>]> {
        let make = || -> Result<Box<[PaddedShard<V>]>, ()> {
            let count = shard_count(self.capacity(), self.cpus as usize);
            let mut shards = Vec::new();
            shards.try_reserve_exact(count).map_err(drop)?;
            shards.extend((0..count).map(|_| PaddedShard {
                shard: RwLock::new(Shard::new(now)),
                earliest: AtomicU32::new(u32::MAX),
            }));
            Ok(shards.into_boxed_slice())
        };
        self.shards.get_or_try_init(make).ok().map(|shards| &**shards)
    }

    /// Takes one of the free places; false if the cache is full.
    fn reserve(&self) -> bool {
        let capacity = match self.capacity() {
            0 => usize::MAX,
            capacity => capacity,
        };
        let free = |count| (count < capacity).then_some(count + 1);
        self.count.fetch_update(AcqRel, Relaxed, free).is_ok()
    }

    fn release(&self) {
        self.count.fetch_sub(1, AcqRel);
    }

    /// Adds a value that expires when `deadline` has passed; `now` is the present.
    ///
    /// In a full cache a value makes room: a spent one, else a newcomer that nobody used, else one that
    /// was not used for long. A value under the same key is replaced and becomes the newest again.
    pub fn add(&self, key: Key, value: V, deadline: i64, now: i64) -> Added<V> {
        let (due, now) = (second(deadline), second(now));
        let shards = self.shards_or_new(now);
        let Some((padded, hash)) = shards.and_then(|shards| self.locate(shards, &key)) else {
            return Added { new: false, displaced: Some(value), evicted: None };
        };
        let (mut value, mut evicted) = (value, None);
        for _ in 0..TRIES {
            let mut shard = padded.shard.write();
            value = match shard.refresh(hash, &key, value, due) {
                Ok(put) => {
                    self.note_due(padded, due);
                    drop(shard);
                    if evicted.is_some() {
                        self.release();
                    }
                    return Added::from(put, evicted);
                }
                Err(value) => value,
            };
            // A victim's place is ours, and the count stays. A free place is taken under the lock,
            // so that a thread that then looks for a victim finds the new entry there.
            if evicted.is_none() && !self.reserve() {
                evicted = shard.evict(&self.share, |key| self.table_hash(key));
                if evicted.is_none() {
                    drop(shard);
                    // This shard is empty while the cache is full, so another shard must give an
                    // entry.
                    evicted = self.evict_any();
                    if evicted.is_none() {
                        pause();
                    }
                    continue;
                }
            }
            let put = shard.insert(hash, key, value, due, now);
            self.note_due(padded, due);
            drop(shard);
            if matches!(put, Insertion::Refused(_)) {
                self.release();
            }
            return Added::from(put, evicted);
        }
        // Suspended threads hold every place. The value is its own victim, because waiting for
        // those threads could take long.
        Added { new: false, displaced: None, evicted: Some(value) }
    }

    /// Evicts a value from any shard that has some. Its place stays reserved.
    fn evict_any(&self) -> Option<V> {
        let shards = self.shards.get()?;
        (0..shards.len()).find_map(|_| {
            let padded = self.next_shard(shards)?;
            padded.shard.write().evict(&self.share, |key| self.table_hash(key))
        })
    }

    fn next_shard<'a>(&self, shards: &'a [PaddedShard<V>]) -> Option<&'a PaddedShard<V>> {
        shards.get(self.hand.fetch_add(1, Relaxed) & shards.len().wrapping_sub(1))
    }

    /// Evicts a value if there are more than the capacity, which was made smaller. To be called
    /// before an add until it returns `None`.
    pub fn evict_excess(&self) -> Option<V> {
        let capacity = self.capacity();
        if capacity == 0 || self.len() <= capacity {
            return None;
        }
        let evicted = self.evict_any();
        if evicted.is_some() {
            self.release();
        }
        evicted
    }

    /// Remembers that an entry in `padded` is due then. Called under its lock.
    fn note_due(&self, padded: &PaddedShard<V>, due: u32) {
        if due < padded.earliest.load(Relaxed) {
            padded.earliest.store(due, Relaxed);
        }
        if due < self.earliest.load(Acquire) {
            self.earliest.fetch_min(due, AcqRel);
        }
    }

    /// Takes out the value under `key`.
    pub fn remove(&self, key: &Key) -> Option<V> {
        self.remove_if(key, |_| true)
    }

    /// Takes out the value under `key` if `is_it` holds for it. Of several threads that ask, one
    /// gets it.
    pub fn remove_if(&self, key: &Key, is_it: impl FnOnce(&V) -> bool) -> Option<V> {
        let (padded, hash) = self.find(key)?;
        let value = padded.shard.write().remove_if(hash, key, is_it);
        if value.is_some() {
            self.release();
        }
        value
    }

    /// Moves the value under `key` in the order of expiry if `is_it` holds for it.
    pub fn set_deadline(&self, key: &Key, deadline: i64, is_it: impl FnOnce(&V) -> bool) {
        if let Some((padded, hash)) = self.find(key) {
            let due = second(deadline);
            let mut shard = padded.shard.write();
            shard.set_due(hash, key, due, is_it);
            self.note_due(padded, due);
        }
    }

    /// Each key, and a reference to its value, that `is_wanted`, in no order; fewer if there is no memory
    /// for the list. It asks under a shard's lock.
    pub fn snapshot(&self, is_wanted: impl Fn(&V) -> bool) -> Vec<(Key, V)> {
        let mut entries = Vec::new();
        for padded in self.shards.get().into_iter().flatten() {
            let shard = padded.shard.read();
            for (key, value) in shard.entries().filter(|(_, value)| is_wanted(value)) {
                if entries.try_reserve(1).is_err() {
                    return entries;
                }
                entries.push((key, value.clone()));
            }
        }
        entries
    }
}

impl<V> Added<V> {
    fn from(put: Insertion<V>, evicted: Option<V>) -> Self {
        let (new, displaced) = match put {
            Insertion::Added => (true, None),
            Insertion::Present => (false, None),
            Insertion::Replaced(old) => (true, Some(old)),
            Insertion::Refused(value) => (false, Some(value)),
        };
        Added { new, displaced, evicted }
    }
}

#[cfg(all(test, shuttle))]
mod interleavings;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
