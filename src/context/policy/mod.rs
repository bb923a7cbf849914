//! The identity of a context's server, and what the virtual host demands of clients to which a server
//! name leads.
//!
//! To libssl each SSL_CTX is a virtual host. Knows nothing of caches, stores or tickets.
//!
//! Locks: one for the identity and one for the learned names, for the length of a copy or of a look
//! into a table. Handshakes ask for them and do not wait long.

mod census;
mod names;
mod served;
mod table;

use super::application::Application;
use super::lock::read_soon;
use crate::config::config;
use crate::log::Once;
use crate::openssl::boxed;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::identity::{Identity, Server};
use crate::openssl::kdf::HASH_BYTES;
use census::{Member, note_change};
use names::Names;
use once_cell::race::OnceBox;
use parking_lot::RwLock;
use served::Served;

pub(super) use names::Expectation;
pub(super) use served::each_namespace;

/// The longest host name (RFC 1035 2.3.4).
pub(super) const MAX_NAME_LENGTH: usize = 255;

/// How many earlier namespaces a context remembers.
const MOST_PREVIOUS: usize = 8;

/// A context as a virtual host.
#[derive(Debug)]
pub struct VirtualHost {
    /// Names this context, and its copies in processes that are forked later, among all; 0 if there was
    /// no randomness.
    number: u64,
    /// Made when it is first worked out.
    known: OnceBox<RwLock<Known>>,
    names: Names,
    member: Member,
}

/// What has been worked out about a context's server.
#[derive(Debug, Default)]
struct Known {
    /// Its identity, once it was asked for.
    identity: Option<Identity>,
    /// Whether that is the context's number, because its certificates are set for each connection.
    is_alone: bool,
    /// The namespaces of before, oldest first: other names were loaded in place.
    previous: Vec<[u8; HASH_BYTES]>,
    /// The same and that of now, as the process knows them.
    served: Vec<Served>,
}

/// A server name in lower case; empty if the client asked for none.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerName {
    bytes: [u8; MAX_NAME_LENGTH],
    length: u8,
}

impl ServerName {
    /// `None` if the name is longer than a host name can be.
    pub(super) fn new(name: &[u8]) -> Option<ServerName> {
        let mut bytes = [0; MAX_NAME_LENGTH];
        let used = bytes.get_mut(..name.len())?;
        used.copy_from_slice(name);
        used.make_ascii_lowercase();
        Some(ServerName { bytes, length: u8::try_from(name.len()).ok()? })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The length of the name, as the byte that stands before it in a seal.
    pub(super) fn length_byte(&self) -> [u8; 1] {
        [self.length]
    }
}

impl VirtualHost {
    /// A context that has just been made, and its number.
    pub(super) fn new(ctx: Ctx<'_>, number: u64) -> VirtualHost {
        VirtualHost {
            number,
            known: OnceBox::new(),
            names: Names::default(),
            member: Member::new(!ctx.is_client()),
        }
    }

    /// The context's number.
    #[inline]
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The context's verify mode was set, or is seen for the first time.
    pub fn note_verify_mode(&self, ctx: Ctx<'_>) {
        if self.member.set_asks(ctx.asks_for_certificate()) {
            note_change();
        }
    }

    /// The server, worked out again if its identity has changed. `None` if it cannot be told: no
    /// memory, or a fork has left the lock held. `ssl`: a connection that is in the context and started
    /// there, if there is one, which is asked in the context's place.
    pub(super) fn server(
        &self,
        ctx: Ctx<'_>,
        ssl: Option<Ssl<'_>>,
        application: &Application,
    ) -> Option<Server> {
        let is_alone = application.sets_certificates();
        if let Some(known) = self.known.get() {
            let known = read_soon(known)?;
            if let Some(identity) = &known.identity
                && known.is_alone == is_alone
                && identity.is_of(ctx)
            {
                return Some(identity.server);
            }
        }
        self.work_out(ctx, ssl, is_alone)
    }

    fn work_out(&self, ctx: Ctx<'_>, ssl: Option<Ssl<'_>>, is_alone: bool) -> Option<Server> {
        self.note_verify_mode(ctx);
        let namespace = &config().namespace;
        let alone = is_alone.then_some(self.number);
        let identity = {
            let _errors = KeepErrors::new(ctx.libssl());
            match ssl.and_then(|ssl| Identity::of_connection(ctx, ssl, namespace, alone)) {
                Some(identity) if !identity.is_of(ctx) => {
                    // The connection has certificates of before, or some of its own.
                    let known = self.known_server(is_alone);
                    return known.or(Some(identity.server));
                }
                Some(identity) => identity,
                None => Identity::of(ctx, namespace, alone).ok()?,
            }
        };
        if is_alone {
            self.say_alone();
        }
        let server = identity.server;
        let make = || boxed::try_new(RwLock::default()).ok_or(());
        // Without memory it is worked out each time.
        if let Some(mut known) = self.known.get_or_try_init(make).ok().and_then(RwLock::try_write) {
            known.replace(identity, is_alone);
        }
        Some(server)
    }

    /// Says what it means that certificates are set for each connection, unless the operator has
    /// named the service.
    pub fn say_alone(&self) {
        static ALONE: Once = Once::new();
        if config().namespace.is_empty() {
            ALONE.say(
                "certificates are set for each connection (SSL_CTX_set_cert_cb), so it cannot be told \
                 whose sessions these are: they are shared with forked processes only, unless \
                 SESSCACHE_NAMESPACE names the service",
            );
        }
    }

    /// The server as it was worked out last.
    fn known_server(&self, is_alone: bool) -> Option<Server> {
        let known = read_soon(self.known.get()?).filter(|known| known.is_alone == is_alone)?;
        known.identity.as_ref().map(|identity| identity.server)
    }

    /// Calls `look` with each namespace that the context had before, newest first, until there is a
    /// result.
    pub(super) fn among_previous<T>(
        &self,
        look: impl FnMut(&[u8; HASH_BYTES]) -> Option<T>,
    ) -> Option<T> {
        read_soon(self.known.get()?)?.previous.iter().rev().find_map(look)
    }
}

impl Known {
    fn replace(&mut self, identity: Identity, is_alone: bool) {
        let namespace = identity.server.namespace;
        let before = self.identity.replace(identity).map(|before| before.server.namespace);
        self.is_alone = is_alone;
        self.serve(namespace);
        self.previous.retain(|previous| *previous != namespace);
        let Some(before) = before.filter(|before| *before != namespace) else { return };
        if self.previous.len() == MOST_PREVIOUS {
            self.previous.remove(0);
        }
        // Without memory the tickets of before are full handshakes.
        if self.previous.try_reserve(1).is_ok() {
            self.previous.push(before);
        }
        let Known { served, previous, .. } = self;
        served.retain(|one| one.is(&namespace) || previous.iter().any(|previous| one.is(previous)));
    }

    /// Without memory, sessions of this namespace do not end early for other processes.
    fn serve(&mut self, namespace: [u8; HASH_BYTES]) {
        let is_served = self.served.iter().any(|one| one.is(&namespace));
        if !is_served && self.served.try_reserve(1).is_ok() {
            self.served.extend(Served::new(namespace));
        }
    }
}
