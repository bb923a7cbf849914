//! Predicts what a connection will demand of its client. libssl looks for the session before the
//! servername callback chooses the virtual host.
//!
//! A session made where nobody was asked for a certificate must not resume at a host that asks
//! (CVE-2025-23419 was such a way round). So a foreign session is judged by what the connection will
//! demand in the end:
//!
//! - what it demands now, if a ClientHello callback has switched it already, if no callback will
//!   switch it, or if nobody in this process asks for certificates (`census`);
//! - else what was demanded when the same name was asked for last, unless it has led to several hosts
//!   within a minute, or somebody began to ask since;
//! - else it is not known. The handshake is a full one, and teaches.
//!
//! After the callback the connection is looked at once more, see `admission`.

use super::VirtualHost;
use super::census::{all_ask_the_same, changes, note_connection_asks};
use crate::context::event::Event;
use crate::context::lock::read_soon;
use crate::context::thread::is_in_servername;
use crate::openssl::verification::Demands;
use parking_lot::RwLock;
use sesscache_core::system::clock::now;
use std::collections::HashMap;
use std::mem;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// The most names that are remembered; with one more it begins anew.
const MOST_NAMES: usize = 4096;
/// For how many seconds a name that has led elsewhere than before is taken for one that may lead to
/// several hosts (the port decides, or the address).
const SEVERAL_SECONDS: i64 = 60;

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
    /// Before TLS 1.3, and in it: a host that asks after the handshake does so in TLS 1.3 alone. By
    /// the name as it was sent: an application may tell upper case from lower.
    names: [HashMap<Box<[u8]>, Led>; 2],
}

/// Where a name has led.
#[derive(Debug)]
struct Led {
    last: Expectation,
    /// The last second in which that is not certain, because it led elsewhere before.
    several_until: i64,
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

impl Learned {
    fn of(&self, event: &Event<'_>) -> &HashMap<Box<[u8]>, Led> {
        let [before, in_tls13] = &self.names;
        if event.is_tls13() { in_tls13 } else { before }
    }

    /// Returns what it takes the place of.
    fn insert(
        &mut self,
        event: &Event<'_>,
        name: &[u8],
        changes: u64,
        led: Led,
    ) -> impl Sized + use<> {
        let is_full = self.of(event).len() >= MOST_NAMES;
        let all = (is_full || self.changes != changes).then(|| mem::take(&mut self.names));
        self.changes = changes;
        let [before, in_tls13] = &mut self.names;
        let names = if event.is_tls13() { in_tls13 } else { before };
        let mut key = Vec::new();
        let has_room = key.try_reserve_exact(name.len()).is_ok() && names.try_reserve(1).is_ok();
        let one = if has_room {
            key.extend_from_slice(name);
            names.insert(key.into(), led)
        } else {
            Some(led)
        };
        (all, one)
    }
}

impl VirtualHost {
    /// The context has a servername callback from now on, or has none.
    pub fn set_may_switch(&self, may_switch: bool) {
        self.names.may_switch.store(may_switch, Relaxed);
    }

    /// A connection that started with this context asks for a certificate, after its session was
    /// looked up. `context_asks`: so does the context that it is in, where the name has led.
    pub fn note_connection_asks(&self, context_asks: bool) {
        if !is_in_servername() {
            self.names.asks_late.store(true, Relaxed);
        } else if context_asks && self.name_matters() {
            // That is learned by the name.
            return;
        }
        note_connection_asks();
    }

    /// What the connection will demand when it asks for this name; `None` if it cannot be told.
    pub(in crate::context) fn expected(
        &self,
        event: &Event<'_>,
        name: &[u8],
    ) -> Option<Expectation> {
        if self.names.asks_late.load(Relaxed) {
            return None;
        }
        if event.current.is_final || !self.name_matters() {
            return Expectation::now(event);
        }
        let learned = read_soon(&self.names.learned)?;
        let led = learned.of(event).get(name).filter(|_| learned.changes == changes())?;
        (led.several_until < now()).then(|| led.last.clone())
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
            self.learn(event, name, changes, &reached);
        }
        Some(reached)
    }

    /// Forgotten without memory.
    fn learn(&self, event: &Event<'_>, name: &[u8], changes: u64, reached: &Expectation) {
        let Some(known) = read_soon(&self.names.learned) else { return };
        let before = known.of(event).get(name).filter(|_| known.changes == changes);
        if before.is_some_and(|before| before.last == *reached) {
            return;
        }
        let several_until = before.map_or(0, |_| now() + SEVERAL_SECONDS);
        drop(known);
        let Some(mut learned) = self.names.learned.try_write() else { return };
        let led = Led { last: reached.clone(), several_until };
        let gone = learned.insert(event, name, changes, led);
        drop(learned);
        // A trust store that goes with them may have functions of the application's.
        drop(gone);
    }

    /// Whether a server name may lead to hosts of different demands.
    pub(in crate::context) fn name_matters(&self) -> bool {
        self.names.may_switch.load(Relaxed) && !all_ask_the_same()
    }
}
