//! Early data is accepted once, at the host that issued the ticket.
//!
//! A ticket is good for many uses where the server has set SSL_OP_NO_ANTI_REPLAY, and each host with
//! the key file opens it. So whoever issues a ticket with early data leaves a *permit* in the host's
//! store, and whoever accepts early data takes that permit. It never leaves the host. No permit, no
//! early data: the ticket still resumes.
//!
//! Without that option libssl makes each ticket good for one use, and the session itself is taken.
//! No locks of ours.

use super::State;
use super::event::Event;
use super::host;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::handle::SessionRef;
use sesscache_core::store::{LOCAL, Locator, Now, Store};
use sesscache_core::system::clock::now_milliseconds;

/// Sets a permit's hash apart from all others. With a secret of 48 bytes it is one block of SHA-256.
const PURPOSE: &[u8] = b"permit1";

impl State {
    /// Whether early data needs a permit: if others may open this context's tickets.
    pub fn keeps_permits(&self) -> bool {
        self.may_share()
    }

    /// libssl is about to issue a ticket of this session: puts its permit. Without one, for any
    /// failure, its early data will be refused.
    pub fn put_permit(&self, event: &Event<'_>, session: SessionRef<'_>) {
        if !event.is_reusable_for_early_data() || self.is_broken() || !self.keeps_permits() {
            return;
        }
        let _errors = KeepErrors::new(event.libssl());
        let store = self.host_store().map(|host| &host.store);
        let Some(store) = store.or_else(host::permits) else { return };
        let Some(locator) = locator(session) else { return };
        let deadline = u64::try_from(session.deadline()).unwrap_or(0);
        // The store counts its own failures.
        let _ = store.put(&locator, deadline, Now(now_milliseconds()), LOCAL, &[]);
    }

    /// libssl would accept the early data of a connection, and so would the application: whether it
    /// may, which is said once for a ticket.
    pub fn allows_early_data(&self, event: &Event<'_>) -> bool {
        // A shared key of the application's own has no ticket, and replay is the application's affair.
        if !self.keeps_permits() || !event.is_reusable_for_early_data() || event.used_shared_key() {
            return true;
        }
        let _errors = KeepErrors::new(event.libssl());
        let store = self.host_store().map(|host| &host.store);
        let store = store.or_else(host::permits).filter(|_| !self.is_broken());
        let locator = event.ssl.session().and_then(locator);
        let spend = |(store, locator): (&Store, _)| store.spend(&locator, Now(now_milliseconds()));
        store.zip(locator).is_some_and(spend)
    }
}

/// Where a ticket's permit is. The hash of a ticket's secret tells nothing of the secret, and only
/// who knows the secret can name the permit.
fn locator(session: SessionRef<'_>) -> Option<Locator> {
    let hash = session.secret_hash(PURPOSE).ok()?;
    hash.first_chunk().copied().map(Locator)
}
