//! The identity of a context's server, whom it asks for a certificate, and where server names lead.
//!
//! To libssl each SSL_CTX is a virtual host. Knows nothing of caches, stores or tickets.
//!
//! Locks: one for the identity and one for the learned names, for the length of a copy or of a look
//! into a table. Handshakes ask for them and do not wait long.

mod census;
mod names;

use super::lock::read_soon;
use crate::config::config;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::handle::Ctx;
use crate::openssl::identity::{Identity, Server};
use census::{Member, note_change};
use names::Names;
use parking_lot::RwLock;

/// The longest host name (RFC 1035 2.3.4).
const MAX_NAME_LENGTH: usize = 255;

/// A context as a virtual host.
#[derive(Debug)]
pub struct VirtualHost {
    /// The server's identity, once it was asked for.
    identity: RwLock<Option<Identity>>,
    names: Names,
    member: Member,
}

/// The context that a connection is in, which may be another than it started with.
#[derive(Clone, Copy, Debug)]
pub struct Current<'a> {
    /// The context.
    pub ctx: Ctx<'a>,
    /// The context as a virtual host; `None` if it is not one of ours.
    pub virtual_host: Option<&'a VirtualHost>,
    /// Whether a ClientHello callback has led the connection here. No servername callback is
    /// expected to lead it away then.
    pub is_final: bool,
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
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        bytes.make_ascii_lowercase();
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
    /// A context that has just been made.
    pub(super) fn new(ctx: Ctx<'_>) -> VirtualHost {
        VirtualHost {
            identity: RwLock::new(None),
            names: Names::default(),
            member: Member::new(!ctx.is_client()),
        }
    }

    /// The context's verify mode was set, or is seen for the first time.
    pub fn note_verify_mode(&self, ctx: Ctx<'_>) {
        // Names can have led to it only after somebody has asked for its identity.
        if self.member.set_asks(ctx.asks_for_certificate())
            && read_soon(&self.identity).is_none_or(|identity| identity.is_some())
        {
            note_change();
        }
    }

    /// The server, worked out again if its identity has changed. `None` if it cannot be told: no
    /// memory, or a fork has left the lock held.
    pub(super) fn server(&self, ctx: Ctx<'_>) -> Option<Server> {
        let known = read_soon(&self.identity)?;
        if let Some(identity) = known.as_ref()
            && identity.is_of(ctx)
        {
            return Some(identity.server);
        }
        let before = known.as_ref().map(|identity| identity.server.policy);
        drop(known);
        self.note_verify_mode(ctx);
        let _errors = KeepErrors::new(ctx.libssl());
        let identity = Identity::of(ctx, &config().namespace).ok()?;
        let server = identity.server;
        if before.is_some_and(|before| before != server.policy) {
            note_change();
        }
        if let Some(mut known) = self.identity.try_write() {
            *known = Some(identity);
        }
        Some(server)
    }
}
