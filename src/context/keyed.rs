//! Hashes the keys of tables that clients may fill, with the process's own seed.
//!
//! std's `RandomState` draws a seed in each thread, which a sandbox may forbid by then. No locks.

use sesscache_core::system::seed::{Purpose, seed};
use siphasher::sip::SipHasher13;
use std::collections::HashMap;
use std::hash::BuildHasher;

/// A table whose keys a client may choose.
pub(super) type Table<K, V> = HashMap<K, V, Keyed>;

/// Makes std's hash, under the process's own key.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Keyed;

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        let [first, second] = seed(Purpose::Tables).unwrap_or_default();
        SipHasher13::new_with_keys(first, second)
    }
}
