//! What a store counts: in each shard, and for the whole store.
//!
//! Counters live in the mapping, are shared by all processes, and only grow. They are atomics
//! without order: they tell, and decide nothing.

/// What a shard counts; the number is its place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Counter {
    Hits,
    Misses,
    Stores,
    Removes,
    Takes,
    Expired,
    Evicted,
    TombstoneHits,
    Busy,
    Resets,
}

/// What is counted for the whole store, by those who know the reasons.
#[derive(Clone, Copy, Debug)]
pub enum Tally {
    /// Records that do not open: another key file, another server name, or damage.
    Undecryptable,
    /// Records that opened and were not what was asked for.
    Mismatched,
    /// Sessions too large for a record.
    Oversize,
    /// Contexts' sessions not shared: neither certificate nor session id context.
    RefusedNoIdentity,
    /// Not shared: a client certificate is asked for, and there is no session id context.
    RefusedVerifyWithoutIdContext,
    /// Not shared: the application asked for no resumption.
    RefusedNotAsked,
}

/// How many there are.
pub(super) const TALLIES: usize = Tally::RefusedNotAsked as usize + 1;

/// The counters of a store at one time, and how full it is. C programs get them as they lie here
/// (`sesscache_stats`): a new one goes to the end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Lookups that found a record which could be used.
    pub hits: u64,
    /// Lookups that found none.
    pub misses: u64,
    /// Sessions stored.
    pub stores: u64,
    /// Sessions removed.
    pub removes: u64,
    /// Sessions taken for single use (early data).
    pub takes: u64,
    /// Records that were found or made room after their end.
    pub expired: u64,
    /// Records that made room before their end.
    pub evicted: u64,
    /// Lookups, also of sessions a process had itself, that met a removal.
    pub tombstone_hits: u64,
    /// See [`Tally::Oversize`].
    pub oversize: u64,
    /// See [`Tally::Undecryptable`].
    pub undecryptable: u64,
    /// See [`Tally::Mismatched`].
    pub mismatched: u64,
    /// Operations given up because another process held the lock too long.
    pub busy: u64,
    /// How often a shard lost everything: a process died while it changed it, or damage.
    pub resets: u64,
    /// See [`Tally::RefusedNoIdentity`].
    pub refused_no_identity: u64,
    /// See [`Tally::RefusedVerifyWithoutIdContext`].
    pub refused_verify_without_id_context: u64,
    /// See [`Tally::RefusedNotAsked`].
    pub refused_not_asked: u64,
    /// Sessions in the store now.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes there are for records.
    pub capacity: u64,
}
