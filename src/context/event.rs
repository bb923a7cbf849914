//! A call of libssl about a connection: its libssl, the connection, and both its contexts.

use super::application::{Application, IdContext, OwnIdContext};
use super::renewal::PendingRenewal;
use crate::openssl::constants::{SSL_OP_NO_ANTI_REPLAY, SSL_OP_NO_EXTENDED_MASTER_SECRET};
use crate::openssl::handle::{Ctx, Ssl, is_tls13};
use crate::openssl::table::Libssl;
use libc::c_int;
use openssl_sys::SSL_OP_NO_TICKET;
use sesscache_core::cache::Key;

/// A hook makes one when libssl calls it. Answers that the application's callbacks can change
/// are asked of libssl each time.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The connection.
    pub ssl: Ssl<'a>,
    /// The context it started with, whose cache counts.
    pub ctx: Ctx<'a>,
    /// The context it is in now.
    pub current: Current<'a>,
    facts: Facts<'a>,
    version: c_int,
}

/// The facts that are attached to a connection; the default if there are none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The connection's own session id context; `None` if it never had one.
    pub own_id_context: Option<&'a OwnIdContext>,
    /// Whether the connection's rules for certificates may be what no getter tells.
    pub has_own_rules: bool,
    /// Whether the application has told a shared key on the connection.
    pub used_shared_key: bool,
    /// The ticket of TLS 1.2 that is about to be replaced, if there is one.
    pub pending_renewal: Option<&'a PendingRenewal>,
}

/// The context that a connection is in, which may be another than it started with.
#[derive(Clone, Copy, Debug)]
pub struct Current<'a> {
    /// The context.
    pub ctx: Ctx<'a>,
    /// The application's settings of it; `None` if it is not one of ours.
    pub application: Option<&'a Application>,
    /// Whether a ClientHello callback has led the connection here. No servername callback is
    /// expected to lead it away then.
    pub is_final: bool,
}

impl<'a> Event<'a> {
    /// The event of a connection, the context it started with, the one it is in, and facts that are
    /// attached to it.
    #[inline]
    pub fn new(ssl: Ssl<'a>, ctx: Ctx<'a>, current: Current<'a>, facts: Facts<'a>) -> Event<'a> {
        Event { ssl, ctx, current, facts, version: ssl.version() }
    }

    /// Whether the connection's rules for certificates may be what no getter tells.
    pub(super) fn has_own_rules(&self) -> bool {
        self.facts.has_own_rules
    }

    /// Whether the application has told a shared key on the connection.
    pub(super) fn used_shared_key(&self) -> bool {
        self.facts.used_shared_key
    }

    /// The ticket of TLS 1.2 that is about to be replaced, if there is one.
    pub(super) fn pending_renewal(&self) -> Option<&'a PendingRenewal> {
        self.facts.pending_renewal
    }

    /// The session id context that libssl compares with a session's: the connection's own, or that
    /// of the context it is in. `None` if it is not known.
    pub fn id_context(&self) -> Option<IdContext> {
        let own = self.facts.own_id_context.and_then(OwnIdContext::get);
        own.or_else(|| self.current.application?.id_context())
    }

    /// The connection, if it is in the context it started with.
    pub(super) fn unswitched(&self) -> Option<Ssl<'a>> {
        (self.current.ctx.as_ptr() == self.ctx.as_ptr()).then_some(self.ssl)
    }

    /// The functions of its libssl.
    #[inline]
    pub fn libssl(&self) -> &'static Libssl {
        self.ssl.libssl()
    }

    /// Whether the client is asked for a certificate in this handshake, as the connection is now.
    pub(super) fn asks(&self) -> bool {
        self.ssl.asks_in_handshake(self.is_tls13())
    }

    /// Whether TLS 1.3 was negotiated, QUIC's and DTLS 1.3 included.
    #[inline]
    pub(super) fn is_tls13(&self) -> bool {
        is_tls13(self.version)
    }

    /// The key of the session with this id in the connection's version.
    #[inline]
    pub(super) fn key(&self, id: &[u8]) -> Option<Key> {
        Key::new(u16::try_from(self.version).ok()?, id)
    }

    /// Whether the extended master secret is not used (RFC 7627), as the connection is now.
    pub(super) fn forbids_extended_master_secret(&self) -> bool {
        self.ssl.options(self.ctx) & SSL_OP_NO_EXTENDED_MASTER_SECRET != 0
    }

    /// Whether libssl will insist on removing the session from its own cache before it resumes
    /// it (tls_parse_ctos_psk): early data, each ticket good for one use.
    pub(super) fn is_single_use(&self) -> bool {
        self.is_tls13()
            && self.ssl.max_early_data() > 0
            && self.ssl.options(self.ctx) & SSL_OP_NO_ANTI_REPLAY == 0
    }

    /// Whether libssl accepts early data of one ticket any number of times.
    pub(super) fn is_reusable_for_early_data(&self) -> bool {
        self.is_tls13() && self.ssl.max_early_data() > 0 && !self.is_single_use()
    }

    /// Whether a session of this connection is a TLS 1.3 ticket that carries all of it. Early data
    /// apart, such a session is not looked up by id.
    pub(super) fn is_stateless(&self) -> bool {
        self.is_tls13() && self.ssl.options(self.ctx) & SSL_OP_NO_TICKET == 0
    }

    /// Whether nobody looks up a session of this connection by its id: its TLS 1.3 ticket carries it.
    pub(super) fn goes_by_ticket_alone(&self) -> bool {
        self.is_stateless() && !self.is_single_use()
    }
}
