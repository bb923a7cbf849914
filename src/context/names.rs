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
//! - else that of the context to which the same name led the last time, unless a policy was changed
//!   since;
//! - not known before there was such a time: the handshake is a full one, and teaches.
//!
//! Locks: one a context, for the length of a look into a table; nobody waits for it long.

use super::census::{all_ask_the_same, changes};
use super::sharing::Name;
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
    /// A ClientHello callback has led the connection here: no servername callback will lead it away.
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
    /// By the name in lower case.
    policies: HashMap<Box<[u8]>, Policy>,
}

impl State {
    /// The context has a servername callback from now on, or has none.
    pub fn set_may_switch(&self, may_switch: bool) {
        self.names.may_switch.store(may_switch, Relaxed);
    }

    /// The context's verify mode was set, or is seen for the first time.
    pub fn note_verify_mode(&self, next: &Next, ctx: Ctx<'_>) {
        self.counted.set_asks(ctx.asks_for_certificate(next));
    }

    /// A servername callback has led a connection that started with this context to another one.
    pub fn note_switch(&self, next: &Next, ctx: Ctx<'_>, ssl: Ssl<'_>, current: &Current<'_>) {
        if self.name_matters()
            && let Some(name) = Name::new(ssl.negotiated_name(next))
            && let Some(server) = self.server(next, ctx)
            && let Some(policy) = self.policy_here(next, &server, current)
        {
            self.learn(name.bytes(), policy);
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
        learned.policies.get(name).copied().filter(|_| is_good)
    }

    /// What a name led to. Forgotten without memory.
    pub(super) fn learn(&self, name: &[u8], policy: Policy) {
        if !self.name_matters() {
            return;
        }
        let changes = changes();
        let Some(known) = read_soon(&self.names.learned) else { return };
        if known.changes == changes && known.policies.get(name) == Some(&policy) {
            return;
        }
        drop(known);
        let Some(mut learned) = self.names.learned.try_write() else { return };
        if learned.changes != changes || learned.policies.len() >= MOST_NAMES {
            learned.policies.clear();
            learned.changes = changes;
        }
        let mut key = Vec::new();
        if key.try_reserve_exact(name.len()).is_ok() && learned.policies.try_reserve(1).is_ok() {
            key.extend_from_slice(name);
            learned.policies.insert(key.into(), policy);
        }
    }

    /// Whether sessions of different policies may meet under this context.
    fn name_matters(&self) -> bool {
        self.names.may_switch.load(Relaxed) && !all_ask_the_same()
    }
}
