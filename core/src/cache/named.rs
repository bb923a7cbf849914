//! Values of a [`Cache`] by a name that is one word, for those who come back to a value later.
//!
//! Two keys may have the same name, once in 2^40 pairs. Who must not take one for the other says which
//! value is meant.

use super::{Cache, Key, Standing, Value, at};

/// Names a value of a cache, so that it can be said later that it was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(u64);

impl KeyHash {
    /// The hash of this number; `None` if it is a standing's.
    pub fn of(number: u64) -> Option<KeyHash> {
        (number >= Standing::NUMBERS).then_some(KeyHash(number))
    }

    /// The hash as a number that is no standing's. Its highest bit is 0.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl<V: Value> Cache<V> {
    /// The name of the value under `key` for [`Cache::spend`] and its like.
    pub fn key_hash(&self, key: &Key) -> KeyHash {
        // No shard's number is so large that it has the highest bit.
        KeyHash((self.hash(key) & (u64::MAX >> 1)).max(Standing::NUMBERS))
    }

    /// The value of this name. It does not count as a use.
    pub fn peek(&self, name: KeyHash) -> Option<V> {
        let (padded, hash) = at(self.shards.get()?, name.0)?;
        padded.shard.read().peek(hash).cloned()
    }

    /// Puts `new` in the place of `old`, which is returned; it does not count as a use. Gives `new`
    /// back if `old` is not under this name, or if `may_go` says so under the shard's lock.
    ///
    /// # Errors
    /// `new`, which was not put there.
    pub fn replace(
        &self,
        name: KeyHash,
        old: &V,
        new: V,
        may_go: impl FnOnce() -> bool,
    ) -> Result<V, V> {
        match self.shards.get().and_then(|shards| at(shards, name.0)) {
            Some((padded, hash)) => padded.shard.write().replace(hash, old, new, may_go),
            None => Err(new),
        }
    }

    /// Takes out the value `old` of this name.
    pub fn remove_named(&self, name: KeyHash, old: &V) -> Option<V> {
        let (padded, hash) = at(self.shards.get()?, name.0)?;
        let value = padded.shard.write().remove_value(hash, old);
        if value.is_some() {
            self.release();
        }
        value
    }

    /// A single-use value was used: it is the next to make room. Returns the standing of its successor.
    pub fn spend(&self, hash: KeyHash) -> Standing {
        let Some((padded, hash)) = self.shards.get().and_then(|shards| at(shards, hash.0)) else {
            return Standing::NEWCOMER;
        };
        padded.shard.write().spend(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{fill, key};
    use super::*;

    #[test]
    fn a_value_is_replaced_in_its_place() {
        let cache = Cache::new(3, 2);
        fill(&cache, 0..3, |_| 100, 0);
        let name = cache.key_hash(&key(0));
        assert_eq!(cache.peek(name), Some(0));
        assert_eq!(cache.replace(name, &7, 70, || true), Err(70), "another value");
        assert_eq!(cache.replace(name, &0, 70, || false), Err(70), "it may not go");
        assert_eq!(cache.replace(name, &0, 70, || true), Ok(0));
        assert_eq!((cache.peek(name), cache.len()), (Some(70), 3));
        // It was not used, and is still the oldest.
        assert_eq!(cache.add(key(3), 3, 100, 0).evicted, Some(70));
        assert_eq!((cache.peek(name), cache.replace(name, &70, 0, || true)), (None, Err(0)));
    }

    #[test]
    fn a_value_is_taken_out_by_its_name() {
        let cache = Cache::new(0, 2);
        fill(&cache, 0..100, |_| 100, 0);
        let name = cache.key_hash(&key(5));
        assert_eq!(cache.remove_named(name, &6), None);
        assert_eq!(cache.remove_named(name, &5), Some(5));
        assert_eq!((cache.remove_named(name, &5), cache.len()), (None, 99));
        let more = cache.snapshot(|value| *value >= 90);
        assert!(more.len() == 10 && more.iter().all(|(named, value)| *named == key(*value)));
    }
}
