//! Whether sessions of a context are shared with other processes: published, marked, withdrawn.
//!
//! A session's address is worked out once an event. No callback runs here.

use super::State;
use super::event::Event;
use super::host::HostStore;
use super::host::record::{Address, deadline, latest_end, name_hash};
use super::origin::{Origin, first_authenticated};
use super::policy::ServerName;
use crate::openssl::codec::Mark;
use crate::openssl::constants::SSL_SESS_CACHE_UPDATE_TIME;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::handle::{Ctx, SessionRef};
use crate::openssl::identity::Server;
use crate::openssl::table::Libssl;
use openssl_sys::{SSL_SESS_CACHE_BOTH, SSL_SESS_CACHE_NO_INTERNAL_STORE, SSL_SESS_CACHE_SERVER};
use sesscache_core::cache::Key;
use sesscache_core::store::{CAME_BACK, LOCAL, Tally};
use sesscache_core::system::clock::now;
use std::sync::atomic::Ordering::Relaxed;

/// A session that libssl has just negotiated, as far as sharing is concerned.
#[derive(Debug)]
pub(super) struct Negotiated<'a> {
    address: Address<'a>,
    /// Why it must not be shared, if there is a reason.
    refusal: Option<Tally>,
}

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

    /// Who the server is with whose context a connection started. `None` if it cannot be told.
    pub(super) fn server(&self, event: &Event<'_>) -> Option<Server> {
        self.virtual_host.server(event.ctx, event.unswitched(), &self.application)
    }

    /// Tells the store who the server is, unless it was told. Costs a comparison then.
    fn tell_server(&self, host: &HostStore, libssl: &'static Libssl, server: &Server) {
        let start = server.namespace.first_chunk().map_or(0, |first| u64::from_ne_bytes(*first));
        if self.told_server.load(Relaxed) != start {
            self.told_server.store(start, Relaxed);
            host.tell_service(libssl, server);
        }
    }

    /// The address of the session that a client offers. `None` without a store, without an id, or
    /// if it cannot be told who the server is. `name`: where the server name is put.
    #[inline]
    pub(super) fn offered_address<'a>(
        &'a self,
        event: &Event<'_>,
        key: Option<Key>,
        name: &'a mut Option<ServerName>,
    ) -> Option<Address<'a>> {
        let host = self.host_store().filter(|_| !self.is_broken())?;
        let key = key.filter(|key| !key.id_is_empty())?;
        let server = self.server(event)?;
        *name = ServerName::new(event.ssl.offered_name());
        Some(Address::new(host, server, key, name.as_ref()))
    }

    /// Takes note of the session that libssl has negotiated. It is marked, because nobody else knows
    /// it yet. `None` if sessions of this connection are not shared. `name`: where the server name is put,
    /// because the application may change its own in new_cb.
    pub(super) fn negotiated<'a>(
        &'a self,
        event: &Event<'_>,
        session: SessionRef<'_>,
        key: Key,
        name: &'a mut Option<ServerName>,
    ) -> Option<Negotiated<'a>> {
        let host = self.host_store().filter(|_| !self.is_broken())?;
        if !self.shares() || !event.ssl.is_server() || key.id_is_empty() {
            return None;
        }
        if event.goes_by_ticket_alone() && self.shares_tickets() {
            // It was marked when its ticket was made, and is not published.
            if self.told_server.load(Relaxed) == 0 {
                self.tell_server(host, event.libssl(), self.server(event).as_ref()?);
            }
            return None;
        }
        let _errors = KeepErrors::new(event.libssl());
        let server = self.server(event);
        if let Some(server) = &server {
            self.tell_server(host, event.libssl(), server);
        }
        let refusal = self.refusal(event, server.as_ref(), session);
        *name = ServerName::new(event.ssl.negotiated_name());
        let name = name.as_ref();
        // One that is over for others is not published, and so it is not missed there.
        let is_over =
            first_authenticated(session).is_none_or(|first| deadline(session, first) < now());
        set_mark(session, server.as_ref(), name, refusal.is_some() || is_over);
        let address = Address::new(host, server?, key, name);
        Some(Negotiated { address, refusal })
    }

    /// Publishes the session that libssl has negotiated. Its key was `key` before new_cb saw it. `came_back`: its
    /// client has, to the store.
    #[expect(
        clippy::too_many_arguments,
        reason = "a session, and what was known of it before new_cb"
    )]
    pub(super) fn publish(
        &self,
        event: &Event<'_>,
        session: SessionRef<'_>,
        key: Key,
        negotiated: Option<Negotiated<'_>>,
        came_back: bool,
    ) {
        let Some(host) = self.host_store().filter(|_| !self.is_broken()) else { return };
        if !event.ssl.is_server() || key.id_is_empty() || session.key() != Some(key) {
            return;
        }
        if event.goes_by_ticket_alone() || !session.is_resumable() {
            return;
        }
        // A private session, too: this process has it.
        if !self.shares() {
            if self.has(SSL_SESS_CACHE_SERVER) {
                host.store.tally(Tally::RefusedNotAsked);
            }
            return;
        }
        let Some(Negotiated { address, refusal }) = negotiated else { return };
        if let Some(refusal) = refusal {
            return address.tally(refusal);
        }
        let _errors = KeepErrors::new(event.libssl());
        if let Some(origin) = Origin::of(event, self.record_number(), session) {
            let local = if event.is_single_use() { LOCAL } else { 0 };
            let returning = if came_back { CAME_BACK } else { 0 };
            let generator = self.generator(event.libssl());
            address.publish(generator, session, &origin, local | returning);
        }
    }

    /// Withdraws a session that was removed by the application, or by libssl after a fatal
    /// alert: no process is to resume it.
    pub(super) fn withdraw(&self, ctx: Ctx<'_>, session: SessionRef<'_>) {
        let Some(host) = self.host_store() else { return };
        let Some(key) = session.key().filter(|key| !key.id_is_empty()) else { return };
        let Some(server) = self.virtual_host.server(ctx, None, &self.application) else { return };
        let mark = session.mark();
        // Where use extends life, another process's copy may live longer than this one.
        let deadline = match mark {
            Some(mark) if self.has(SSL_SESS_CACHE_UPDATE_TIME) => {
                latest_end(mark.first_authenticated)
            }
            _ => session.deadline(),
        };
        // The mark says that it was shared. An object of the application's own making (d2i) has
        // none; nor has a client's, which is not what the store has under its id.
        let only_serves = self.mode() & SSL_SESS_CACHE_BOTH == SSL_SESS_CACHE_SERVER;
        Address::new(host, server, key, None).withdraw(deadline, mark, only_serves);
        // It may have been published before other names were loaded in place.
        let _: Option<()> = self.among_previous(host, &server, key, |address| {
            address.withdraw(deadline, mark, only_serves);
            None
        });
    }

    /// Calls `look` with the addresses that a session had under the context's earlier namespaces.
    pub(super) fn among_previous<T>(
        &self,
        host: &HostStore,
        server: &Server,
        key: Key,
        look: impl Fn(&Address<'_>) -> Option<T>,
    ) -> Option<T> {
        self.virtual_host.among_previous(|namespace| {
            let server = Server { namespace: *namespace, ..*server };
            look(&Address::new(host, server, key, None))
        })
    }
}

/// Marks a session that this context has made. The session that it came of may have been a foreign
/// one: this one is not.
fn set_mark(
    session: SessionRef<'_>,
    server: Option<&Server>,
    name: Option<&ServerName>,
    is_private: bool,
) {
    let Some(first_authenticated) = first_authenticated(session) else { return };
    let name = server.zip(name).and_then(|(server, name)| name_hash(server, name));
    // Without memory it is a session of unknown past.
    session.set_mark(Mark {
        first_authenticated,
        name: name.unwrap_or_default(),
        is_foreign: false,
        is_private: is_private || session.mark().is_some_and(Mark::makes_private),
        has_trailer: false,
    });
}
