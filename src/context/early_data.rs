//! Early data at most once (RFC 8446 8), where the application sets SSL_OP_NO_ANTI_REPLAY and libssl
//! itself would accept it as often as it comes.
//!
//! A session that may come with early data gets a *permit* when its ticket is made: a record without
//! content in the store of this host, or without a store in memory of this process. Early data takes the
//! permit, which is one step among all processes. So it is accepted where the ticket was made, and once.
//! Elsewhere, and where the permit is lost, the session resumes and its early data is refused.
//!
//! Without that option a ticket is good for one use, and `verdict` takes the session itself.

use super::State;
use super::event::Event;
use super::host;
use crate::openssl::handle::SessionRef;
use sesscache_core::cache::{Key, MAX_ID_LENGTH};
use sesscache_core::store::{LOCAL, Locator, Lookup, Now, Store};
use sesscache_core::system::clock::now_milliseconds;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

/// Tells a permit from a session of the same id.
const PURPOSE: &[u8] = b"sesscache early data 1";

impl State {
    /// libssl makes a ticket of this session: allows its early data once, if it is to have any.
    pub(super) fn permit_early_data(&self, event: &Event<'_>, session: SessionRef<'_>) {
        if !self.counts_early_data(event) || event.ssl.max_early_data() == 0 {
            return;
        }
        let Some((store, key)) = self.permits().zip(session.key()) else { return };
        if key.id_is_empty() {
            return;
        }
        let until = u64::try_from(session.deadline()).unwrap_or(0);
        // The store counts its own failures. Without a permit the early data is refused.
        let _ = store.put(&permit(store, &key), until, Now(now_milliseconds()), LOCAL, &[]);
    }

    /// libssl would accept the early data of this connection, whose session resumes: may it?
    pub fn accepts_early_data(&self, event: &Event<'_>) -> bool {
        // A key that the application has told has no ticket, and is its affair.
        if !self.counts_early_data(event) || event.used_shared_key() {
            return true;
        }
        let key = event.ssl.session().and_then(SessionRef::key);
        let Some((store, key)) = self.permits().zip(key) else { return false };
        let permit = permit(store, &key);
        // A look first: a lookup of nothing would count as a miss.
        store.may_have(&permit) && {
            let taken = store.take(&permit, Now(now_milliseconds()), &mut Vec::new());
            matches!(taken, Lookup::Found { .. })
        }
    }

    /// Whether early data of this connection goes by permits: libssl does not count it, and other
    /// processes may open the ticket.
    fn counts_early_data(&self, event: &Event<'_>) -> bool {
        event.allows_replay()
            && if event.is_stateless() {
                self.shares_tickets()
            } else {
                self.host_store().is_some()
            }
    }

    /// Where permits are.
    fn permits(&self) -> Option<&'static Store> {
        self.host_store().map_or_else(host::own_permits, |host| Some(&host.store))
    }
}

fn permit(store: &Store, key: &Key) -> Locator {
    let mut hasher = SipHasher24::new_with_key(&store.id());
    let mut id = [0; MAX_ID_LENGTH];
    hasher.write(PURPOSE);
    hasher.write(key.id(&mut id));
    Locator(hasher.finish128().as_bytes())
}
