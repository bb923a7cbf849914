//! Clients whose certificates were verified a moment ago: a client that comes back soon costs a look.
//!
//! Only good results are kept, each for [`KEPT_SECONDS`] at most, under all that OpenSSL's getters
//! tell of the verification. A connection of which they may not tell enough is verified each time:
//! [`Event::has_own_rules`]. No callback of the application runs here but those of its trust
//! store, and none under the lock.
//!
//! Locks: one for the results, for the length of a look or of a change. Handshakes ask for it and
//! do not wait.

use super::event::Event;
use super::lock::read_soon;
use crate::openssl::circumstances::Circumstances;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::handle::SessionRef;
use crate::openssl::verification::{Demands, KEPT_SECONDS, verify_again};
use libc::c_void;
use parking_lot::RwLock;
use sesscache_core::system::errno::KeepErrno;
use std::collections::HashMap;
use std::hash::Hash;
use std::mem;

/// The most results that are kept; with one more it begins anew.
const MOST_RESULTS: usize = 1024;

/// The good results of a context. Each holds a reference to its trust store, so that no other can be
/// at that address.
#[derive(Debug, Default)]
pub(super) struct Verified(RwLock<Results<Circumstances, Demands>>);

impl Verified {
    /// Whether the client of this session would be let in by a full handshake that demanded this.
    /// `library_context` is where the connection's context has its algorithms, or NULL.
    #[expect(clippy::too_many_arguments, reason = "each decides, and none is another's")]
    pub(super) fn admits(
        &self,
        event: &Event<'_>,
        session: SessionRef<'_>,
        demands: &Demands,
        library_context: *mut c_void,
        now: i64,
    ) -> bool {
        let ssl = event.ssl;
        let _errno = KeepErrno::new();
        let _errors = KeepErrors::new(ssl.libssl());
        // First: what changes during the verification is not what was verified.
        let circumstances = (!event.has_own_rules())
            .then(|| Circumstances::of(ssl, session, demands, library_context))
            .flatten();
        let is_known = |found: &Circumstances| {
            read_soon(&self.0).is_some_and(|results| results.is_good(found, now))
        };
        if circumstances.as_ref().is_some_and(is_known) {
            return true;
        }
        let Some(until) = verify_again(ssl, session, demands, library_context) else {
            return false;
        };
        if let Some(circumstances) = circumstances {
            self.keep(circumstances, demands.clone(), until, now);
        }
        true
    }

    fn keep(&self, circumstances: Circumstances, demands: Demands, until: i64, now: i64) {
        let Some(mut results) = self.0.try_write() else { return };
        let gone = results.keep(circumstances, Kept { until, _held: demands }, now);
        drop(results);
        // A trust store that goes with them may have functions of the application's.
        drop(gone);
    }
}

/// Results by what they depend on.
#[derive(Debug)]
struct Results<K, V>(HashMap<K, Kept<V>>);

#[derive(Debug)]
struct Kept<V> {
    /// The last second in which it is good.
    until: i64,
    _held: V,
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
    _all: HashMap<K, Kept<V>>,
    _refused: Option<Kept<V>>,
}

impl<K, V> Default for Results<K, V> {
    fn default() -> Self {
        Results(HashMap::new())
    }
}

impl<K: Eq + Hash, V> Results<K, V> {
    fn is_good(&self, key: &K, now: i64) -> bool {
        self.0.get(key).is_some_and(|kept| kept.is_good(now))
    }

    /// Keeps a result, unless there is no memory. Those that are good no more go.
    fn keep(&mut self, key: K, result: Kept<V>, now: i64) -> Gone<K, V> {
        let mut some = Vec::new();
        if some.try_reserve_exact(self.0.len()).is_ok() {
            some.extend(self.0.extract_if(|_, kept| !kept.is_good(now)));
        }
        let is_full = self.0.len() >= MOST_RESULTS;
        let all = if is_full { mem::take(&mut self.0) } else { HashMap::new() };
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
        Kept { until, _held: Arc::clone(held) }
    }

    #[test]
    fn a_result_is_good_until_its_last_second() {
        let (mut results, held) = (Results::default(), Arc::new(()));
        drop(results.keep(1, kept(1005, &held), 1000));
        assert!(!results.is_good(&2, 1000));
        for (now, expected) in [(1000, true), (1005, true), (1006, false), (994, false)] {
            assert_eq!(results.is_good(&1, now), expected, "{now}");
        }
        drop(results.keep(2, kept(999, &held), 1000));
        assert!(!results.is_good(&2, 999));
        drop(results.keep(1, kept(1009, &held), 1000));
        assert!(results.is_good(&1, 1006));
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
        assert!(results.is_good(&100, 1001));
        drop(results.keep(101, kept(1022, &held), 1012));
        assert_eq!(Arc::strong_count(&held), 2);
    }

    #[test]
    fn there_are_never_more_than_the_most() {
        let (mut results, held) = (Results::default(), Arc::new(()));
        assert_eq!(results.0.capacity(), 0);
        for key in 0..3 * MOST_RESULTS {
            drop(results.keep(key, kept(1010, &held), 1000));
            assert!(results.is_good(&key, 1000));
            assert!(results.0.len() <= MOST_RESULTS);
            assert_eq!(Arc::strong_count(&held), results.0.len() + 1);
        }
    }
}
