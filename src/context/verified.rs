//! Clients whose certificates were verified a moment ago: a client that comes back soon costs a look.
//!
//! Only good results are kept, each for [`KEPT_SECONDS`] at most, under all that OpenSSL's getters
//! tell of the verification. A connection of which they may not tell enough is verified each time:
//! [`Event::has_own_rules`]. No callback of the application runs here but those of its trust
//! store, and none under the lock.
//!
//! Locks: one for the results and one for the certificates, for the length of a look or of a change.
//! Handshakes ask for them and do not wait.

use super::event::Event;
use super::keyed::Table;
use super::lock::read_soon;
use crate::openssl::boxed;
use crate::openssl::circumstances::{Certificate, Circumstances};
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::handle::SessionRef;
use crate::openssl::verification::{Demands, KEPT_SECONDS, verify_again};
use libc::c_void;
use once_cell::race::OnceBox;
use parking_lot::RwLock;
use sesscache_core::system::errno::KeepErrno;
use std::hash::Hash;
use std::mem;

/// The most results that are kept; with one more it begins anew.
const MOST_RESULTS: usize = 1024;

/// The good results of a context. Each holds a reference to its trust store, so that no other can be
/// at that address. So do the certificates, which are those of cached sessions.
#[derive(Debug, Default)]
pub(super) struct Verified(OnceBox<Tables>);

/// Made for the first client with a certificate. Without memory each is verified each time.
#[derive(Debug, Default)]
struct Tables {
    results: RwLock<Results<Circumstances, Demands>>,
    certificates: RwLock<Results<usize, Certificate>>,
}

/// A client that comes back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client<'a> {
    pub(super) session: SessionRef<'a>,
    /// Whether the same object may come back.
    pub(super) is_cached: bool,
    /// Where the connection's context has its algorithms, or NULL.
    pub(super) library_context: *mut c_void,
}

impl Verified {
    /// Whether the client would be let in by a full handshake that demanded this.
    pub(super) fn admits(
        &self,
        event: &Event<'_>,
        client: Client<'_>,
        demands: &Demands,
        now: i64,
    ) -> bool {
        let (ssl, library_context) = (event.ssl, client.library_context);
        let _errno = KeepErrno::new();
        let _errors = KeepErrors::new(ssl.libssl());
        let tables = self.tables();
        // First: what changes during the verification is not what was verified.
        let certificate = tables
            .filter(|_| !event.has_own_rules())
            .and_then(|tables| tables.certificate(client, now));
        let circumstances = certificate
            .and_then(|certificate| Circumstances::of(ssl, certificate, demands, library_context));
        let is_known = |found: &Circumstances| {
            tables
                .and_then(|tables| read_soon(&tables.results))
                .is_some_and(|results| results.good(found, now).is_some())
        };
        if circumstances.as_ref().is_some_and(is_known) {
            return true;
        }
        let Some(until) = verify_again(ssl, client.session, demands, library_context) else {
            return false;
        };
        if let Some((tables, circumstances)) = tables.zip(circumstances) {
            keep(&tables.results, circumstances, Kept { until, held: demands.clone() }, now);
        }
        true
    }

    fn tables(&self) -> Option<&Tables> {
        self.0.get_or_try_init(|| boxed::try_new(Tables::default()).ok_or(())).ok()
    }
}

impl Tables {
    /// The hash of the client's certificate. A cached session has the same object each time, and to
    /// encode and hash that costs twice as much as all the rest.
    fn certificate(&self, client: Client<'_>, now: i64) -> Option<(u64, u64)> {
        let address = client.session.peer_address()?;
        let known = read_soon(&self.certificates)?.good(&address, now).map(Certificate::hash);
        known.or_else(|| {
            let certificate = Certificate::of(client.session)?;
            let (hash, address) = (certificate.hash(), certificate.address());
            if client.is_cached {
                let until = now.saturating_add(KEPT_SECONDS);
                keep(&self.certificates, address, Kept { until, held: certificate }, now);
            }
            Some(hash)
        })
    }
}

fn keep<K: Eq + Hash, V>(results: &RwLock<Results<K, V>>, key: K, result: Kept<V>, now: i64) {
    let Some(mut results) = results.try_write() else { return };
    let gone = results.keep(key, result, now);
    drop(results);
    // A trust store or a certificate that goes with them may have functions of the application's.
    drop(gone);
}

/// Results by what they depend on.
#[derive(Debug)]
struct Results<K, V>(Table<K, Kept<V>>);

#[derive(Debug)]
struct Kept<V> {
    /// The last second in which it is good.
    until: i64,
    held: V,
}

impl<V> Kept<V> {
    /// A clock that was put back makes no result live longer.
    fn is_good(&self, now: i64) -> bool {
        (now..=now.saturating_add(KEPT_SECONDS)).contains(&self.until)
    }
}

/// Results that were taken out, to be dropped where no lock is held.
struct Gone<K, V> {
    _some: Vec<(K, Kept<V>)>,
    _all: Table<K, Kept<V>>,
    _refused: Option<Kept<V>>,
}

impl<K, V> Default for Results<K, V> {
    fn default() -> Self {
        Results(Table::default())
    }
}

impl<K: Eq + Hash, V> Results<K, V> {
    fn good(&self, key: &K, now: i64) -> Option<&V> {
        self.0.get(key).filter(|kept| kept.is_good(now)).map(|kept| &kept.held)
    }

    /// Keeps a result, unless there is no memory. Those that are good no more go.
    fn keep(&mut self, key: K, result: Kept<V>, now: i64) -> Gone<K, V> {
        let mut some = Vec::new();
        if some.try_reserve_exact(self.0.len()).is_ok() {
            some.extend(self.0.extract_if(|_, kept| !kept.is_good(now)));
        }
        let is_full = self.0.len() >= MOST_RESULTS;
        let all = if is_full { mem::take(&mut self.0) } else { Table::default() };
        let refused = if result.is_good(now) && self.0.try_reserve(1).is_ok() {
            self.0.insert(key, result)
        } else {
            Some(result)
        };
        Gone { _some: some, _all: all, _refused: refused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn kept(until: i64, held: &Arc<()>) -> Kept<Arc<()>> {
        Kept { until, held: Arc::clone(held) }
    }

    #[test]
    fn a_result_is_good_until_its_last_second() {
        let (mut results, held) = (Results::default(), Arc::new(()));
        drop(results.keep(1, kept(1005, &held), 1000));
        assert!(results.good(&2, 1000).is_none());
        for (now, expected) in [(1000, true), (1005, true), (1006, false), (994, false)] {
            assert_eq!(results.good(&1, now).is_some(), expected, "{now}");
        }
        drop(results.keep(2, kept(999, &held), 1000));
        assert!(results.good(&2, 999).is_none());
        drop(results.keep(1, kept(1009, &held), 1000));
        assert!(results.good(&1, 1006).is_some());
        assert_eq!(Arc::strong_count(&held), 2);
    }

    #[test]
    fn what_is_over_goes_with_the_next_result() {
        let (mut results, held) = (Results::default(), Arc::new(()));
        for key in 0..100 {
            drop(results.keep(key, kept(1000 + key % 2, &held), 1000));
        }
        assert_eq!(Arc::strong_count(&held), 101);
        let gone = results.keep(100, kept(1011, &held), 1001);
        assert_eq!(Arc::strong_count(&held), 102);
        drop(gone);
        assert_eq!(Arc::strong_count(&held), 52);
        assert!(results.good(&100, 1001).is_some());
        drop(results.keep(101, kept(1022, &held), 1012));
        assert_eq!(Arc::strong_count(&held), 2);
    }

    #[test]
    fn there_are_never_more_than_the_most() {
        let (mut results, held) = (Results::default(), Arc::new(()));
        assert_eq!(results.0.capacity(), 0);
        for key in 0..3 * MOST_RESULTS {
            drop(results.keep(key, kept(1010, &held), 1000));
            assert!(results.good(&key, 1000).is_some());
            assert!(results.0.len() <= MOST_RESULTS);
            assert_eq!(Arc::strong_count(&held), results.0.len() + 1);
        }
    }
}
