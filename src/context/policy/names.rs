//! Predicts a connection's virtual host. libssl looks for the session before the servername
//! callback chooses the host.
//!
//! A session made when that host asked nobody for a certificate must not resume there once it does
//! (CVE-2025-23419 was such a way round). So what is shared is bound to the [`Policy`] it was made
//! under, and is looked for under the policy that the connection will end up with:
//!
//! - the policy of the context it is in, if a ClientHello callback has switched it already, if no
//!   callback will switch it, or if every context of the process asks for the same (`census`);
//! - else the policy of the context to which the same name has led, unless it led to several, or a
//!   policy was changed since;
//! - else it is not known. The handshake is a full one, and teaches.
//!
//! In TLS 1.2 a servername callback is told the name of the session, if that comes by ticket. There
//! the ticket is bound to the name as well (`tickets`).

use super::census::{all_ask_the_same, changes};
use super::{Current, VirtualHost};
use crate::context::lock::read_soon;
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::identity::{Policy, Server};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// The most names that are remembered; with one more it begins anew.
const MOST_NAMES: usize = 4096;

/// The names that clients have asked a context for.
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
    /// By the name as it was sent: an application may tell upper case from lower. `None` where it
    /// led to several (the port decides, or the address).
    policies: HashMap<Box<[u8]>, Option<Policy>>,
}

impl VirtualHost {
    /// The context has a servername callback from now on, or has none.
    pub fn set_may_switch(&self, may_switch: bool) {
        self.names.may_switch.store(may_switch, Relaxed);
    }

    /// A servername callback has led a connection that started here to another context.
    pub(in crate::context) fn note_switch(
        &self,
        ctx: Ctx<'_>,
        ssl: Ssl<'_>,
        current: &Current<'_>,
    ) {
        if !self.name_matters() {
            return;
        }
        let name = ssl.negotiated_name();
        // A callback that switches without a name goes by something else.
        if name.is_empty() {
            return;
        }
        // Only to be remembered.
        let _ = self.policy_reached(ctx, name, current);
    }

    /// The server of this context, with which a connection started, and the policy of the context to
    /// which a name has led it. That is remembered. `None` if it cannot be told.
    pub(in crate::context) fn policy_reached(
        &self,
        ctx: Ctx<'_>,
        name: &[u8],
        current: &Current<'_>,
    ) -> Option<(Server, Policy)> {
        // First: a change that comes later must not pass for known.
        let changes = changes();
        let server = self.server(ctx)?;
        let policy = self.policy_here(&server, current)?;
        self.learn(name, changes, policy);
        Some((server, policy))
    }

    /// The policy of the context that a connection will be in when it asks for this name; `None` if
    /// it cannot be told.
    #[inline]
    pub(in crate::context) fn policy_expected(
        &self,
        server: &Server,
        name: &[u8],
        current: &Current<'_>,
    ) -> Option<Policy> {
        if current.is_final || !self.name_matters() {
            return self.policy_here(server, current);
        }
        let learned = read_soon(&self.names.learned)?;
        let is_good = learned.changes == changes();
        learned.policies.get(name).copied().flatten().filter(|_| is_good)
    }

    /// The policy of the context that a connection is in; `None` if it cannot be told.
    fn policy_here(&self, server: &Server, current: &Current<'_>) -> Option<Policy> {
        match current.virtual_host? {
            here if ptr::eq(here, self) => Some(server.policy),
            here => Some(here.server(current.ctx)?.policy),
        }
    }

    /// Remembers the policy that a name led to, and [`changes`] before that was found out.
    /// Forgotten without memory.
    fn learn(&self, name: &[u8], changes: u64, policy: Policy) {
        if !self.name_matters() {
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

    /// Whether sessions of different policies may meet under this context.
    pub(in crate::context) fn name_matters(&self) -> bool {
        self.names.may_switch.load(Relaxed) && !all_ask_the_same()
    }
}
