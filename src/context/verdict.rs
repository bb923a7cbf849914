//! May this session resume, here and now? The one place that decides it.
//!
//! Decides for sessions of the cache, of get_cb and of the store. libssl then applies its own
//! rules (session id context, expiry, cipher), as on stock. Changes nothing but the store, from
//! which a session for single use is taken.

use super::event::Event;
use super::host::record::{Address, deadline};
use crate::openssl::handle::SessionRef;
use sesscache_core::cache::Key;
use sesscache_core::store::{Tally, Trust};
use sesscache_core::system::clock::now;

/// The place where an offered session was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// This process's cache.
    Cache,
    /// get_cb, the application's external cache.
    Application,
    /// The host store, whose record has opened at the offer's address.
    Store,
}

/// The decision about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may be resumed.
    Resume,
    /// It is not resumed here and now. It may be elsewhere, or the store may prove it good.
    Miss,
    /// It was removed, perhaps by another process, and is to be forgotten.
    Removed,
}

/// A client's offer of a session.
#[derive(Debug)]
pub(super) struct Offer<'e, 'a> {
    /// The connection and its contexts.
    pub(super) event: &'e Event<'e>,
    /// The id as it was sent.
    pub(super) id: &'e [u8],
    /// The key of that id in the connection's version; `None` if the id cannot be one.
    pub(super) key: Option<Key>,
    /// Whether the context has a host store.
    pub(super) has_store: bool,
    /// The address of the record, if there can be one.
    pub(super) address: Option<&'e Address<'a>>,
}

/// Whether a session may be resumed, by these rules. A rule holds for the sources that are named.
///
/// | # | rule | source | verdict if not | source of the rule |
/// |---|---|---|---|---|
/// | 1 | it has the offered version and id, and is resumable | cache | miss | ssl_get_prev_session |
/// | 2 | if it is shared, its server name and virtual host can be told | cache | miss | RFC 6066 3 |
/// | 3 | if it is shared, it was made for that name and host | cache | miss | RFC 6066 3 |
/// | 4 | if it is shared, it is not older than SESSCACHE_MAX_LIFETIME, nor than the client's certificate; one that is over by its own times is libssl's to count and remove | cache | miss | RFC 5246 F.1.4 |
/// | 5 | no process has removed it | cache, application | removed; miss where the store may prove it good | README, differences |
/// | 6 | if its address is known, one for single use was taken out of the store | cache | removed | RFC 8446 8.1 |
/// | 7 | if its server is known, one for single use was taken out of the store | application | miss | RFC 8446 8.1 |
/// | 8 | without a session id context the connection asks for no certificate | store | miss, counted | ssl_get_prev_session ends the handshake |
///
/// For single use, rule 6 replaces 3 to 5: the record opens only for the right name, in its time,
/// and unless it was removed.
pub(super) fn verdict(
    offer: &Offer<'_, '_>,
    session: SessionRef<'_>,
    source: Source,
    single_use: bool,
) -> Verdict {
    match source {
        Source::Store if offer.would_end_the_handshake(session) => Verdict::Miss,
        Source::Store => Verdict::Resume,
        Source::Cache if !offer.is_asked_for(session) || !offer.can_judge_binding(session) => {
            Verdict::Miss
        }
        Source::Cache if single_use => match offer.address {
            Some(address) if address.is_bound() && !offer.take() => Verdict::Removed,
            _ => Verdict::Resume,
        },
        Source::Cache if !offer.is_within_limits(session) => Verdict::Miss,
        Source::Cache => offer.trust(session),
        Source::Application => match offer.trust(session) {
            Verdict::Resume if single_use && offer.address.is_some() && !offer.take() => {
                Verdict::Miss
            }
            trusted => trusted,
        },
    }
}

impl Offer<'_, '_> {
    /// Rule 1. libssl ignores a session that is marked not resumable: it may be in another
    /// context's cache too, and was removed there. A session whose id the application changed is
    /// not the one asked for. Both must not hide what get_cb has.
    pub(super) fn is_asked_for(&self, session: SessionRef<'_>) -> bool {
        let key = session.key();
        key.is_some_and(|key| key.id_is_empty() || session.is_resumable()) && key == self.key
    }

    /// Rule 2.
    pub(super) fn can_judge_binding(&self, session: SessionRef<'_>) -> bool {
        !self.has_store || self.is_bound() || session.mark().is_none()
    }

    /// Whether the server name and the virtual host are known.
    pub(super) fn is_bound(&self) -> bool {
        self.address.is_some_and(Address::is_bound)
    }

    /// Rules 3 and 4.
    fn is_within_limits(&self, session: SessionRef<'_>) -> bool {
        let (Some(address), Some(mark)) = (self.address, session.mark()) else { return true };
        let now = now();
        address.matches_binding(mark)
            // Return an expired session: libssl counts and removes it.
            && (session.deadline() < now || deadline(session, mark) >= now)
    }

    /// Rule 5.
    fn trust(&self, session: SessionRef<'_>) -> Verdict {
        match self.address.map_or(Trust::Good, |address| address.trust(session)) {
            Trust::Good => Verdict::Resume,
            Trust::Unproven => Verdict::Miss,
            Trust::Removed => Verdict::Removed,
        }
    }

    /// Rules 6 and 7: whether the session was in the store and is now taken out of it. A session
    /// that the store has forgotten may be known to others: from before a fork, or from an external
    /// cache.
    fn take(&self) -> bool {
        let libssl = self.event.libssl();
        self.address.and_then(|address| address.fetch(libssl, true)).is_some_and(|taken| {
            verdict(self, taken.as_ref(libssl), Source::Store, true) == Verdict::Resume
        })
    }

    /// Rule 8.
    fn would_end_the_handshake(&self, session: SessionRef<'_>) -> bool {
        let ends = !session.has_id_context() && self.event.ssl.asks_for_certificate();
        if ends && let Some(address) = self.address {
            address.tally(Tally::RefusedVerifyWithoutIdContext);
        }
        ends
    }
}
