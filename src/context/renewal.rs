//! The replacement of a ticket of TLS 1.2, between two calls of libssl about the same connection.
//!
//! Locks: one a connection, for the length of a copy.

use super::lock::write_soon;
use crate::openssl::handle::SessionRef;
use parking_lot::RwLock;

/// The bytes of a ticket's trailer: see `tickets`.
pub(super) const TRAILER_BYTES: usize = 26;

/// The trailer for the new ticket, and the session that came by the old one. libssl has decoded it for
/// this connection, so that no other thread has the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// The session's address, to be compared.
    session: usize,
    trailer: [u8; TRAILER_BYTES],
}

impl Renewal {
    pub(super) fn of(session: SessionRef<'_>, trailer: [u8; TRAILER_BYTES]) -> Renewal {
        Renewal { session: session.as_ptr().addr(), trailer }
    }
}

/// A connection's renewal, from the verdict about its ticket until libssl makes the new one.
#[derive(Debug, Default)]
pub struct PendingRenewal(RwLock<Option<Renewal>>);

impl PendingRenewal {
    /// Keeps it, or forgets the one before.
    pub fn set(&self, renewal: Option<Renewal>) {
        if let Some(mut pending) = write_soon(&self.0) {
            *pending = renewal;
        }
    }

    /// The trailer for the new ticket of this session, once.
    pub(super) fn take(&self, session: SessionRef<'_>) -> Option<[u8; TRAILER_BYTES]> {
        let renewal = write_soon(&self.0)?.take()?;
        (renewal.session == session.as_ptr().addr()).then_some(renewal.trailer)
    }
}
