//! Ticket keys that follow from the key file: stateless tickets resume on every host and after
//! every restart.
//!
//! A ticket key is derived (HKDF) from each key of the file, the server's namespace, the policy of
//! the virtual host that the server name leads to (`policy`), and the time: another one in every
//! epoch.
//!
//! - The key of this epoch that follows from the newest key of the file seals.
//! - Those of earlier epochs, of the next one (another host's clock is ahead) and of the file's
//!   other keys open. A ticket that one of these opens is renewed.
//! - A server that may not share has a key of its own, as with stock.
//!
//! Locks: one a context, while keys are copied out or put in; nobody waits for it long.

use super::event::Event;
use super::host::keys::KeyRing;
use super::lock::read_soon;
use super::policy::{ServerName, VirtualHost};
use crate::config::config;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::identity::{Policy, Server};
use crate::openssl::kdf::{HASH_BYTES, hkdf_sha256};
use crate::openssl::table::Libssl;
use crate::openssl::ticket::{NAME_BYTES, TicketKey};
use parking_lot::RwLock;
use sesscache_core::system::clock::now;
use sesscache_core::system::process::random_bytes;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use zeroize::Zeroizing;

/// How long a key seals.
const EPOCH_SECONDS: u32 = 6 * 60 * 60;
/// The most epochs for which keys are kept: a ticket lives a week at most (RFC 8446 4.6.1).
const MOST_EPOCHS: u32 = 7 * 24 * 60 * 60 / EPOCH_SECONDS;
/// For how many policies a context keeps its keys at hand.
const MOST_TABLES: usize = 32;

/// The ticket keys of a context.
#[derive(Debug)]
pub(super) struct TicketKeys {
    ring: &'static KeyRing,
    /// For tickets that no other process is to open.
    own: TicketKey,
    /// Oldest first.
    tables: RwLock<Vec<Table>>,
    /// The application has set keys of its own.
    given_up: AtomicBool,
}

/// The inputs from which ticket keys follow, beside the file's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Basis {
    epoch: i64,
    /// Of the key ring.
    generation: u64,
    namespace: [u8; HASH_BYTES],
    policy: Policy,
}

/// The keys of an epoch.
#[derive(Debug)]
struct Table {
    basis: Basis,
    /// The first seals.
    keys: Vec<TicketKey>,
}

impl TicketKeys {
    /// `None` without randomness.
    pub(super) fn new(ring: &'static KeyRing) -> Option<TicketKeys> {
        let mut own = TicketKey::default();
        let random = [&mut own.name[..], &mut own.cipher[..], &mut own.mac[..]];
        let filled = random.into_iter().all(random_bytes);
        filled.then(|| TicketKeys {
            ring,
            own,
            tables: RwLock::new(Vec::new()),
            given_up: AtomicBool::new(false),
        })
    }

    /// The choice of `pick` among the present keys, which are made if they are not there yet.
    fn among_keys<T>(
        &self,
        event: &Event<'_>,
        server: &Server,
        policy: Policy,
        pick: impl Fn(&[TicketKey]) -> Option<T>,
    ) -> Option<T> {
        let basis = Basis {
            epoch: now() / i64::from(EPOCH_SECONDS),
            generation: self.ring.generation(),
            namespace: server.namespace,
            policy,
        };
        if let Some(table) = read_soon(&self.tables)?.iter().find(|table| table.basis == basis) {
            return pick(&table.keys);
        }
        let keys = self.derive_all(event.libssl(), &basis)?;
        let picked = pick(&keys);
        if let Some(mut tables) = self.tables.try_write() {
            tables.retain(|table| {
                (table.basis.epoch, table.basis.generation) == (basis.epoch, basis.generation)
            });
            if tables.len() == MOST_TABLES {
                tables.remove(0);
            }
            if tables.try_reserve(1).is_ok() {
                tables.push(Table { basis, keys });
            }
        }
        picked
    }

    fn derive_all(&self, libssl: &'static Libssl, basis: &Basis) -> Option<Vec<TicketKey>> {
        let _errors = KeepErrors::new(libssl);
        // This one first: it seals.
        let kept = config().max_lifetime.div_ceil(EPOCH_SECONDS).clamp(1, MOST_EPOCHS);
        let epochs = [0, 1].into_iter().chain((1..=i64::from(kept)).map(|back| -back));
        self.ring.with_ticket_secrets(|secrets| {
            let mut keys = Vec::new();
            // At once: a vector that grows leaves its old keys behind.
            keys.try_reserve_exact(secrets.len() * epochs.clone().count()).ok()?;
            for secret in secrets {
                for offset in epochs.clone() {
                    let basis = Basis { epoch: basis.epoch + offset, ..*basis };
                    keys.push(derive_key(libssl, secret.as_slice(), &basis)?);
                }
            }
            Some(keys)
        })
    }
}

fn derive_key(libssl: &'static Libssl, secret: &[u8], basis: &Basis) -> Option<TicketKey> {
    let mut key = TicketKey::default();
    let mut name = [0; 32];
    for (purpose, out) in [(b"n", &mut name), (b"c", &mut key.cipher), (b"m", &mut key.mac)] {
        let epoch = basis.epoch.to_le_bytes();
        let parts: [&[u8]; 4] = [purpose, &basis.namespace, basis.policy.bytes(), &epoch];
        let mut info = [0; 1 + 2 * HASH_BYTES + 8];
        for (place, byte) in info.iter_mut().zip(parts.into_iter().flatten()) {
            *place = *byte;
        }
        hkdf_sha256(libssl, secret, &info, out).ok()?;
    }
    key.name = *name.first_chunk::<NAME_BYTES>()?;
    Some(key)
}

impl TicketKeys {
    /// The key that seals the ticket of a connection's session. `may_share`: other processes may
    /// open it, as far as the context is concerned.
    pub(super) fn sealing(
        &self,
        event: &Event<'_>,
        virtual_host: &VirtualHost,
        may_share: bool,
    ) -> Option<TicketKey> {
        let name = event.ssl.negotiated_name();
        let reached = virtual_host.policy_reached(event.ctx, name, &event.current);
        let has_id_context = event.ssl.session().is_some_and(|session| session.has_id_context());
        // As for the host store: whoever opens it must be known to be the same server.
        let is_known = |(server, policy): &(Server, Policy)| {
            let asks = server.policy.asks() || policy.asks();
            may_share && (has_id_context || server.has_certificate && !asks)
        };
        let Some((server, policy)) = reached.filter(is_known) else {
            return Some(self.own.clone());
        };
        let key = self.among_keys(event, &server, policy, |keys| keys.first().cloned())?;
        for_name(event, virtual_host, name, key)
    }

    /// The key of this name, and whether the ticket it opens is to be renewed.
    pub(super) fn opening(
        &self,
        event: &Event<'_>,
        virtual_host: &VirtualHost,
        name: &[u8; NAME_BYTES],
    ) -> Option<(TicketKey, bool)> {
        if self.own.name == *name {
            return Some((self.own.clone(), false));
        }
        let server = virtual_host.server(event.ctx)?;
        let server_name = event.ssl.offered_name();
        let policy = virtual_host.policy_expected(&server, server_name, &event.current)?;
        let (key, renew) = self.among_keys(event, &server, policy, |keys| {
            let place = keys.iter().position(|key| key.name == *name)?;
            Some((keys.get(place)?.clone(), place > 0))
        })?;
        Some((for_name(event, virtual_host, server_name, key)?, renew))
    }

    /// Whether these keys are used: the application has set none of its own.
    pub(super) fn are_in_use(&self) -> bool {
        !self.given_up.load(Relaxed)
    }

    /// The application has keys of its own; true if ours were in use before.
    pub(super) fn give_up(&self) -> bool {
        !self.given_up.swap(true, Relaxed)
    }
}

/// Binds a key to the server name where another name's ticket could lead to another policy: on a
/// resumption in TLS 1.2 a servername callback is told the name that is in the ticket.
fn for_name(
    event: &Event<'_>,
    virtual_host: &VirtualHost,
    name: &[u8],
    mut key: TicketKey,
) -> Option<TicketKey> {
    if virtual_host.name_matters() && !event.is_tls13() {
        let libssl = event.libssl();
        let _errors = KeepErrors::new(libssl);
        let mac = Zeroizing::new(key.mac);
        let name = ServerName::new(name)?;
        hkdf_sha256(libssl, mac.as_slice(), name.bytes(), &mut key.mac).ok()?;
    }
    Some(key)
}
