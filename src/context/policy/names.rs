//! Predicts what a connection will demand of its client. libssl looks for the session before the
//! servername callback chooses the virtual host.
//!
//! A session made where nobody was asked for a certificate must not resume at a host that asks
//! (CVE-2025-23419 was such a way round). So a foreign session is judged by what the connection will
//! demand in the end:
//!
//! - what it demands now, if a ClientHello callback has switched it already, if no callback will
//!   switch it, or if nobody in this process asks for certificates (`census`);
//! - else what was demanded when the same name was asked for last, unless that has led to several
//!   hosts, or somebody began to ask since;
//! - else it is not known. The handshake is a full one, and teaches.
//!
//! After the callback the connection is looked at once more, see `admission`.

use super::VirtualHost;
use super::census::{all_ask_the_same, changes, note_connection_asks};
use crate::context::event::Event;
use crate::context::lock::read_soon;
use crate::openssl::verification::Demands;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// The most names that are remembered; with one more it begins anew.
const MOST_NAMES: usize = 4096;

/// The names that clients have asked a context for.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Whether the context has a servername callback.
    may_switch: AtomicBool,
    /// Whether a connection has begun to ask for a certificate in a callback that runs after the
    /// lookup and is not for the server name: for ALPN, for example.
    asks_late: AtomicBool,
    learned: RwLock<Learned>,
}

/// What a connection will demand of its client when the virtual host is chosen.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::context) struct Expectation {
    pub(in crate::context) demands: Demands,
    /// Whether the application verifies certificates itself (SSL_CTX_set_cert_verify_callback(3)).
    pub(in crate::context) verifies_itself: bool,
}

#[derive(Debug, Default)]
struct Learned {
    /// The changes of policies that were known when this was learned; see `census`.
    changes: u64,
    /// By the name as it was sent: an application may tell upper case from lower. `None` where it
    /// led to several (the port decides, or the address).
    names: HashMap<Box<[u8]>, Option<Expectation>>,
}

impl Expectation {
    /// What the connection demands as it is now. `None` if its context is not one of ours.
    pub(in crate::context) fn now(event: &Event<'_>) -> Option<Expectation> {
        Some(Expectation {
            demands: event.ssl.demands(event.is_tls13()),
            verifies_itself: event.current.application?.verifies_itself(),
        })
    }
}

impl VirtualHost {
    /// The context has a servername callback from now on, or has none.
    pub fn set_may_switch(&self, may_switch: bool) {
        self.names.may_switch.store(may_switch, Relaxed);
    }

    /// A connection that started with this context asks for a certificate, after its session was
    /// looked up.
    pub fn note_connection_asks(&self) {
        note_connection_asks();
        if !self.names.may_switch.load(Relaxed) {
            self.names.asks_late.store(true, Relaxed);
        }
    }

    /// What the connection will demand when it asks for this name; `None` if it cannot be told.
    pub(in crate::context) fn expected(
        &self,
        event: &Event<'_>,
        name: &[u8],
    ) -> Option<Expectation> {
        if event.current.is_final || !self.name_matters() {
            let asks_late = self.names.asks_late.load(Relaxed);
            return if asks_late { None } else { Expectation::now(event) };
        }
        let learned = read_soon(&self.names.learned)?;
        let is_good = learned.changes == changes();
        learned.names.get(name).filter(|_| is_good)?.clone()
    }

    /// The servername callback has run: remembers what the name has led to. Returns that; `None` if
    /// it cannot be told.
    pub(in crate::context) fn reached(
        &self,
        event: &Event<'_>,
        name: &[u8],
    ) -> Option<Expectation> {
        // First: a change that comes later must not pass for known.
        let changes = changes();
        let reached = Expectation::now(event)?;
        if self.name_matters() {
            self.learn(name, changes, &reached);
        }
        Some(reached)
    }

    /// Forgotten without memory.
    fn learn(&self, name: &[u8], changes: u64, reached: &Expectation) {
        let Some(known) = read_soon(&self.names.learned) else { return };
        let is_new = match known.names.get(name).filter(|_| known.changes == changes) {
            Some(None) => return,
            Some(Some(before)) if before == reached => return,
            before => before.is_none(),
        };
        drop(known);
        let Some(mut learned) = self.names.learned.try_write() else { return };
        if learned.changes != changes || learned.names.len() >= MOST_NAMES {
            learned.names.clear();
            learned.changes = changes;
        }
        let mut key = Vec::new();
        if key.try_reserve_exact(name.len()).is_ok() && learned.names.try_reserve(1).is_ok() {
            key.extend_from_slice(name);
            learned.names.insert(key.into(), is_new.then(|| reached.clone()));
        }
    }

    /// Whether a server name may lead to hosts of different demands.
    pub(in crate::context) fn name_matters(&self) -> bool {
        self.names.may_switch.load(Relaxed) && !all_ask_the_same()
    }
}
