//! Whom a server name leads to, before libssl knows.
//!
//! libssl looks for the offered session, or opens the ticket, first; a servername callback switches
//! the connection to its virtual host afterwards. A session made when that host asked nobody for a
//! certificate must not resume there once it does (CVE-2025-23419 was such a way round). So what is
//! shared is bound to the [`Policy`] it was made under, and is looked for under the one that the
//! connection will end up with. That is
//!
//! - the policy of the context it is in, if it was switched already (ClientHello callback), if no
//!   callback will switch it, or if every context of the process asks for the same (`census`);
//! - else that of the context to which the same name has led, unless to several, or a policy was
//!   changed since;
//! - not known before there was such a time: the handshake is a full one, and teaches.
//!
//! In TLS 1.2 a servername callback is told the name of the session, if it comes by ticket: there the
//! ticket is bound to the name as well (`tickets`).
//!
//! Locks: one a context, for the length of a look into a table; nobody waits for it long.

use super::census::{all_ask_the_same, changes, note_change};
use super::{State, read_soon};
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::identity::{Policy, Server};
use crate::openssl::next::Next;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// The most names that are remembered; with one more it begins anew.
const MOST_NAMES: usize = 4096;

/// The context that a connection is in, which may be another than it started with.
#[derive(Clone, Copy, Debug)]
pub struct Current<'a> {
    /// The context.
    pub ctx: Ctx<'a>,
    /// What we keep for it; nothing, if it is not one of ours.
    pub state: Option<&'a State>,
    /// A ClientHello callback has led the connection here, so that no servername callback is expected
    /// to lead it away.
    pub is_final: bool,
}

/// What a context knows of the names that clients ask for.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Whether the context has a servername callback.
    may_switch: AtomicBool,
    learned: RwLock<Learned>,
}

#[derive(Debug, Default)]
struct Learned {
    /// The changes of policies that were known when this was learned; see `census`.
    changes: u64,
    /// By the name as it was sent: an application may tell upper case from lower. `None` where it led
    /// to several (the port decides, or the address).
    policies: HashMap<Box<[u8]>, Option<Policy>>,
}

impl State {
    /// The context has a servername callback from now on, or has none.
    pub fn set_may_switch(&self, may_switch: bool) {
        self.names.may_switch.store(may_switch, Relaxed);
    }

    /// The context's verify mode was set, or is seen for the first time.
    pub fn note_verify_mode(&self, next: &Next, ctx: Ctx<'_>) {
        // Names may have led to it only if somebody has asked who it is.
        if self.counted.set_asks(ctx.asks_for_certificate(next))
            && read_soon(&self.identity).is_none_or(|identity| identity.is_some())
        {
            note_change();
        }
    }

    /// A servername callback has led a connection that started with this context to another one.
    pub fn note_switch(&self, next: &Next, ctx: Ctx<'_>, ssl: Ssl<'_>, current: &Current<'_>) {
        if !self.learns() {
            return;
        }
        let name = ssl.negotiated_name(next);
        // A callback that switches without a name goes by something else.
        if name.is_empty() {
            return;
        }
        let changes = changes();
        if let Some(server) = self.server(next, ctx)
            && let Some(policy) = self.policy_here(next, &server, current)
        {
            self.learn(name, changes, policy);
        }
    }

    /// The policy of the context that a connection is in; `None` if it cannot be told. `server` is
    /// that of this context, with which it started.
    pub(super) fn policy_here(
        &self,
        next: &Next,
        server: &Server,
        current: &Current<'_>,
    ) -> Option<Policy> {
        match current.state? {
            state if ptr::eq(state, self) => Some(server.policy),
            state => Some(state.server(next, current.ctx)?.policy),
        }
    }

    /// The policy of the context that a connection will be in when it asks for this name.
    #[inline]
    pub(super) fn policy_for(
        &self,
        next: &Next,
        server: &Server,
        current: &Current<'_>,
        name: &[u8],
    ) -> Option<Policy> {
        if current.is_final || !self.name_matters() {
            return self.policy_here(next, server, current);
        }
        let learned = read_soon(&self.names.learned)?;
        let is_good = learned.changes == changes();
        learned.policies.get(name).copied().flatten().filter(|_| is_good)
    }

    /// What a name led to, and [`changes`] before that was found out. Forgotten without memory.
    pub(super) fn learn(&self, name: &[u8], changes: u64, policy: Policy) {
        if !self.learns() {
            return;
        }
        let Some(known) = read_soon(&self.names.learned) else { return };
        let before = known.policies.get(name).copied().filter(|_| known.changes == changes);
        drop(known);
        if before.is_some_and(|before| before.is_none_or(|before| before == policy)) {
            return;
        }
        let Some(mut learned) = self.names.learned.try_write() else { return };
        if learned.changes != changes || learned.policies.len() >= MOST_NAMES {
            learned.policies.clear();
            learned.changes = changes;
        }
        let mut key = Vec::new();
        if key.try_reserve_exact(name.len()).is_ok() && learned.policies.try_reserve(1).is_ok() {
            key.extend_from_slice(name);
            learned.policies.insert(key.into(), before.is_none().then_some(policy));
        }
    }

    fn learns(&self) -> bool {
        (self.host().is_some() || self.shares_tickets()) && self.name_matters()
    }

    /// Whether sessions of different policies may meet under this context.
    pub(super) fn name_matters(&self) -> bool {
        self.names.may_switch.load(Relaxed) && !all_ask_the_same()
    }
}
