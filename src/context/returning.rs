//! A client that comes back: what it offered, noted on the connection until its new session is there.
//!
//! The new session takes the standing of the ticket that was offered, which is spent then, because a
//! client offers a ticket of TLS 1.3 once (RFC 8446 C.4). Who offers a session that had to make room has
//! come back, too.
//!
//! The note is a number. No locks.

use super::event::Event;
use super::notes::OFFERS;
use sesscache_core::cache::{Cache, Key, KeyHash, Standing, Value};

/// In a note: the client has come back to the store. No other number has this bit.
const TO_STORE: u64 = 1 << 63;

/// The offer of a client, as far as its new session's standing depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// The new session has this standing.
    Settled(Standing),
    /// A ticket of TLS 1.3 that is in our cache. The new session takes its standing.
    Ticket(KeyHash),
}

impl Offered {
    /// Nothing that counts: nothing at all, nothing of ours, or a session that is offered again.
    pub(super) const NOTHING: Offered = Offered::Settled(Standing::NEWCOMER);

    /// The meaning of a lookup in the cache that found nothing.
    pub(super) fn in_vain<V: Value>(cache: Option<&Cache<V>>, key: Option<Key>) -> Offered {
        Offered::of(cache.zip(key).is_some_and(|(cache, key)| cache.had_to_go(&key).is_some()))
    }

    /// A client that has come back, or one of which that is not known.
    pub(super) fn of(came_back: bool) -> Offered {
        if came_back { Offered::Settled(Standing::CAME_BACK) } else { Offered::NOTHING }
    }

    /// Notes it on the connection. `to_store`: the store knows that the client has come back. That decides in
    /// the store, whose sessions are others than those of the process. Without memory nothing is noted.
    #[inline]
    pub(super) fn note(self, event: &Event<'_>, to_store: bool) {
        let number = match self {
            Offered::Settled(standing) => standing.number().into(),
            Offered::Ticket(hash) => hash.number(),
        };
        let number = number | if to_store { TO_STORE } else { 0 };
        if number != OFFERS.number_of(event.ssl) {
            OFFERS.set_number_of(event.ssl, number);
        }
    }

    /// The offer of the client of this connection, and whether the store knows that it has come back.
    #[inline]
    pub(super) fn on(event: &Event<'_>) -> (Offered, bool) {
        let noted = OFFERS.number_of(event.ssl);
        let number = noted & !TO_STORE;
        let settled = || Offered::Settled(Standing::of(number));
        (KeyHash::of(number).map_or_else(settled, Offered::Ticket), noted != number)
    }

    /// The standing of the session that the client gets now. A ticket is spent.
    #[inline]
    pub(super) fn spend<V: Value>(self, cache: Option<&Cache<V>>) -> Standing {
        match (self, cache) {
            (Offered::Settled(standing), _) => standing,
            (Offered::Ticket(hash), Some(cache)) => cache.spend(hash),
            (Offered::Ticket(_), None) => Standing::NEWCOMER,
        }
    }
}
