//! The sessions that the probe holds: it decides itself which one a connection offers.

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A server gives two tickets or so; more than these are not kept.
const MOST_TICKETS: usize = 8;

/// The sessions of one way to resume.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    tls12: Option<Tls12ClientSessionValue>,
    /// The newest last. Each is offered once, as RFC 8446, C.4, asks.
    tickets: Vec<Tls13ClientSessionValue>,
    is_offered: bool,
}

impl Sessions {
    /// Forgets everything, so that the next connection is a full one.
    pub(super) fn forget(&self) {
        *self.held() = Held::default();
    }

    /// Whether the next connection has something to offer.
    pub(super) fn has_any(&self) -> bool {
        let held = self.held();
        held.tls12.is_some() || !held.tickets.is_empty()
    }

    /// Whether a session was offered since the last such question.
    pub(super) fn take_offered(&self) -> bool {
        std::mem::take(&mut self.held().is_offered)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.held().tls12 = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        let mut held = self.held();
        let session = held.tls12.clone();
        held.is_offered |= session.is_some();
        session
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.held().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut held = self.held();
        if held.tickets.len() == MOST_TICKETS {
            drop(held.tickets.remove(0));
        }
        held.tickets.push(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut held = self.held();
        let ticket = held.tickets.pop();
        held.is_offered |= ticket.is_some();
        ticket
    }
}
