//! The counters of a store: those of each region, and those of the whole store.
//!
//! Counters are in the mapping, shared by all processes, and only grow. They are atomics without
//! order, because nothing is decided by them.

/// A counter of a region; its number is its place.
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
    /// Removals that were forgotten before their time: the floor of a bucket rose.
    Forgotten,
    /// Records that made room before the agent had told other hosts of them.
    Untold,
    /// Puts that were counted with their slot, and then refused.
    CameToNothing,
}

/// A counter of the whole store, for an event of which the store's caller knows the reason.
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
    /// Not shared: a client certificate was asked for and none given.
    RefusedNoClientCertificate,
    /// Not shared: OpenSSL has not found the client's certificate good, or SESSCACHE_CLIENT_CERTS is
    /// `never`.
    RefusedUnverified,
    /// Not shared: authenticated by a pre-shared key or SRP.
    RefusedApplication,
    /// Not resumed: made for another server name or another service.
    DeclinedName,
    /// Not resumed: over its lifetime by the settings of today.
    DeclinedLifetime,
    /// Not resumed: the connection has another session id context.
    DeclinedIdContext,
    /// Not resumed: its cipher would not be negotiated now.
    DeclinedCipher,
    /// Not resumed: the client has to show a certificate, or another one.
    DeclinedClient,
    /// Not resumed: it is not known yet to which virtual host the server name leads.
    DeclinedHost,
    /// Contexts whose ticket keys are the application's, although those of the key file were there.
    ApplicationTicketKeys,
    /// Contexts that work as stock, because they lie in memory that other processes use.
    SharedMemory,
    /// Not shared, nor resumed if made elsewhere: the program keeps data of its own with sessions.
    RefusedSideData,
    /// Sessions that a process has packed, or let go because they were in the store.
    Packed,
    /// Sessions that a process could not pack.
    KeptLive,
}

/// The number of tallies.
#[cfg(test)]
pub(super) const TALLIES: usize = Tally::KeptLive as usize + 1;

/// The counters of a store at one time, and how full it is. C programs get them as they lie here
/// (`sesscache_stats`), so a new counter goes to the end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Lookups that found a record which was used, see [`Store::count_hit`](super::Store::count_hit).
    pub hits: u64,
    /// Lookups that found no record.
    pub misses: u64,
    /// Sessions stored, and permits for early data.
    pub stores: u64,
    /// Sessions removed.
    pub removes: u64,
    /// Sessions for single use that were taken, and permits for early data.
    pub takes: u64,
    /// Records that were found, or made room, after their deadline.
    pub expired: u64,
    /// Records that made room before their deadline.
    pub evicted: u64,
    /// Lookups that met a removal, also those of a session that the process had itself.
    pub tombstone_hits: u64,
    /// See [`Tally::Oversize`].
    pub oversize: u64,
    /// See [`Tally::Undecryptable`].
    pub undecryptable: u64,
    /// See [`Tally::Mismatched`].
    pub mismatched: u64,
    /// Sessions that were not stored because other processes changed the same few slots again and again.
    pub busy: u64,
    /// Removals that were forgotten before their time. In one bucket of the store each, what began before
    /// resumes from then on only if it is in the store.
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
    /// Bytes that there are for records.
    pub capacity: u64,
    /// See [`Tally::RefusedNoClientCertificate`].
    pub refused_no_client_certificate: u64,
    /// See [`Tally::RefusedUnverified`].
    pub refused_unverified: u64,
    /// See [`Tally::RefusedApplication`].
    pub refused_application: u64,
    /// See [`Tally::DeclinedName`].
    pub declined_name: u64,
    /// See [`Tally::DeclinedLifetime`].
    pub declined_lifetime: u64,
    /// See [`Tally::DeclinedIdContext`].
    pub declined_id_context: u64,
    /// See [`Tally::DeclinedCipher`].
    pub declined_cipher: u64,
    /// See [`Tally::DeclinedClient`].
    pub declined_client: u64,
    /// See [`Tally::DeclinedHost`].
    pub declined_host: u64,
    /// See [`Tally::ApplicationTicketKeys`].
    pub application_ticket_keys: u64,
    /// See [`Tally::SharedMemory`].
    pub shared_memory: u64,
    /// See [`Tally::RefusedSideData`].
    pub refused_side_data: u64,
    /// See [`Tally::Packed`].
    pub packed: u64,
    /// See [`Tally::KeptLive`].
    pub kept_live: u64,
}
