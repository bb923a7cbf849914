//! Whether sessions of a context are shared with other processes: published, marked, withdrawn.
//!
//! A session's address is worked out once an event. No callback runs here.

use super::State;
use super::event::Event;
use super::host::record::{Address, latest_end};
use crate::openssl::constants::SSL_SESS_CACHE_UPDATE_TIME;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::handle::{Ctx, SessionRef};
use openssl_sys::{SSL_SESS_CACHE_BOTH, SSL_SESS_CACHE_NO_INTERNAL_STORE, SSL_SESS_CACHE_SERVER};
use sesscache_core::cache::Key;
use sesscache_core::store::Tally;

impl State {
    /// Whether sessions go into the store and come out of it: not if this is no server that caches,
    /// or one whose application asked for no resumption.
    pub(super) fn shares(&self) -> bool {
        self.has(SSL_SESS_CACHE_SERVER) && !self.wants_no_resumption()
    }

    /// An application that stores nothing and has no callbacks asked for no resumption (nginx
    /// `none`, Apache `nonenotnull`).
    fn wants_no_resumption(&self) -> bool {
        self.has(SSL_SESS_CACHE_NO_INTERNAL_STORE)
            && self.new_cb.get().is_none()
            && self.get_cb.get().is_none()
    }

    /// The address of the session that a client offers. `None` without a store, without an id, or
    /// if it cannot be told who the server is.
    #[inline]
    pub(super) fn offered_address(
        &self,
        event: &Event<'_>,
        key: Option<Key>,
    ) -> Option<Address<'_>> {
        let host = self.host_store().filter(|_| !self.is_broken())?;
        let key = key.filter(|key| !key.id_is_empty())?;
        let server = self.virtual_host.server(event.ctx)?;
        let address = Address::new(host, server, key);
        let name = event.ssl.offered_name();
        Some(match self.virtual_host.policy_expected(&server, name, &event.current) {
            Some(policy) => address.bound_to(name, policy),
            None => address,
        })
    }

    /// The address of the session that libssl has negotiated. The session is marked with it,
    /// because nobody else knows it yet. `None` if sessions of this connection are not shared.
    pub(super) fn negotiated_address(
        &self,
        event: &Event<'_>,
        session: SessionRef<'_>,
        key: Key,
    ) -> Option<Address<'_>> {
        let host = self.host_store().filter(|_| !self.is_broken())?;
        if !self.shares() || !event.ssl.is_server() || key.id_is_empty() {
            return None;
        }
        let _errors = KeepErrors::new(event.libssl());
        let name = event.ssl.negotiated_name();
        let (server, policy) = self.virtual_host.policy_reached(event.ctx, name, &event.current)?;
        let address = Address::new(host, server, key).bound_to(name, policy);
        address.mark(session);
        Some(address)
    }

    /// Publishes the session that libssl has negotiated. Its key was `key` before new_cb saw
    /// it, and its address is that from [`State::negotiated_address`].
    pub(super) fn publish(
        &self,
        event: &Event<'_>,
        session: SessionRef<'_>,
        key: Key,
        address: Option<Address<'_>>,
    ) {
        let Some(host) = self.host_store().filter(|_| !self.is_broken()) else { return };
        if !event.ssl.is_server() || key.id_is_empty() || session.key() != Some(key) {
            return;
        }
        let single_use = event.is_single_use();
        if !single_use && event.is_stateless() || !session.is_resumable() {
            return;
        }
        if !self.shares() {
            if self.has(SSL_SESS_CACHE_SERVER) {
                host.store.tally(Tally::RefusedNotAsked);
            }
            return;
        }
        if let Some(address) = address {
            let _errors = KeepErrors::new(event.libssl());
            address.publish(session, single_use);
        }
    }

    /// Withdraws a session that was removed by the application, or by libssl after a fatal
    /// alert: no process is to resume it.
    pub(super) fn withdraw(&self, ctx: Ctx<'_>, session: SessionRef<'_>) {
        let Some(host) = self.host_store() else { return };
        let Some(key) = session.key().filter(|key| !key.id_is_empty()) else { return };
        let Some(server) = self.virtual_host.server(ctx) else { return };
        let mark = session.mark();
        // Where use extends life, another process's copy may live longer than this one.
        let deadline = match mark {
            Some(mark) if self.has(SSL_SESS_CACHE_UPDATE_TIME) => latest_end(mark),
            _ => session.deadline(),
        };
        // The mark says that it was shared. An object of the application's own making (d2i) has
        // none; nor has a client's, which is not what the store has under its id.
        let only_serves = self.mode() & SSL_SESS_CACHE_BOTH == SSL_SESS_CACHE_SERVER;
        Address::new(host, server, key).withdraw(deadline, mark, only_serves);
    }
}
