//! Ticket keys that follow from the key file: stateless tickets resume on every host and after
//! every restart.
//!
//! From each key of the file, from the server's namespace, from the policy of the virtual host that
//! the server name led to (`names`) and from the time a ticket key is derived (HKDF): another one in
//! every epoch. The newest key's of this epoch seals; those of earlier
//! epochs, of the next one (another host's clock is ahead) and of the file's other keys open, and
//! what they open is renewed. A server that may not share has a key of its own, as with stock.
//!
//! Locks: one a context, while keys are copied out or put in; nobody waits for it long.

use super::census::changes;
use super::keys::KeyRing;
use super::names::Current;
use super::sharing::Name;
use super::{State, read_soon};
use crate::config::config;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::handle::{Ctx, Ssl};
use crate::openssl::identity::{Policy, Server};
use crate::openssl::kdf::{HASH_BYTES, hkdf_sha256};
use crate::openssl::next::Next;
use crate::openssl::ticket::{NAME_BYTES, TicketKey};
use openssl_sys::TLS1_3_VERSION;
use parking_lot::RwLock;
use sesscache_core::system::clock::now;
use sesscache_core::system::process::random_bytes;
use std::sync::atomic::Ordering::Relaxed;
use zeroize::Zeroizing;

/// How long a key seals.
const EPOCH_SECONDS: u32 = 6 * 60 * 60;
/// The most epochs for which keys are kept: a ticket lives a week at most (RFC 8446 4.6.1).
const MOST_EPOCHS: u32 = 7 * 24 * 60 * 60 / EPOCH_SECONDS;
/// For how many policies a context keeps its keys at hand.
const MOST_TABLES: usize = 32;

/// The ticket keys of a context.
#[derive(Debug)]
pub(super) struct Tickets {
    ring: &'static KeyRing,
    /// For tickets that no other process is to open.
    own: TicketKey,
    /// The last made last.
    tables: RwLock<Vec<Table>>,
}

/// What ticket keys follow from, beside the file's keys.
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

impl Tickets {
    /// `None` without randomness.
    pub(super) fn new(ring: &'static KeyRing) -> Option<Tickets> {
        let mut own = TicketKey::default();
        let random = [&mut own.name[..], &mut own.cipher[..], &mut own.mac[..]];
        let filled = random.into_iter().all(random_bytes);
        filled.then(|| Tickets { ring, own, tables: RwLock::new(Vec::new()) })
    }

    /// What `choose` finds among the keys of now, which are made if they are not there yet.
    fn choose<T>(
        &self,
        next: &Next,
        server: &Server,
        policy: Policy,
        choose: impl Fn(&[TicketKey]) -> Option<T>,
    ) -> Option<T> {
        let basis = Basis {
            epoch: now() / i64::from(EPOCH_SECONDS),
            generation: self.ring.generation(),
            namespace: server.namespace,
            policy,
        };
        if let Some(table) = read_soon(&self.tables)?.iter().find(|table| table.basis == basis) {
            return choose(&table.keys);
        }
        let keys = self.derive(next, &basis)?;
        let chosen = choose(&keys);
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
        chosen
    }

    fn derive(&self, next: &Next, basis: &Basis) -> Option<Vec<TicketKey>> {
        let _errors = KeepErrors::new(next);
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
                    keys.push(derive(next, secret.as_slice(), &basis)?);
                }
            }
            Some(keys)
        })
    }
}

fn derive(next: &Next, secret: &[u8], basis: &Basis) -> Option<TicketKey> {
    let mut key = TicketKey::default();
    let mut name = [0; 32];
    for (purpose, out) in [(b"n", &mut name), (b"c", &mut key.cipher), (b"m", &mut key.mac)] {
        let epoch = basis.epoch.to_le_bytes();
        let parts: [&[u8]; 4] = [purpose, &basis.namespace, basis.policy.bytes(), &epoch];
        let mut info = [0; 1 + 2 * HASH_BYTES + 8];
        for (place, byte) in info.iter_mut().zip(parts.into_iter().flatten()) {
            *place = *byte;
        }
        hkdf_sha256(next, secret, &info, out)?;
    }
    key.name = *name.first_chunk::<NAME_BYTES>()?;
    Some(key)
}

impl State {
    /// The key that seals the ticket of a connection's session.
    pub fn sealing_key(
        &self,
        next: &Next,
        ctx: Ctx<'_>,
        ssl: Ssl<'_>,
        current: &Current<'_>,
    ) -> Option<TicketKey> {
        let tickets = self.tickets.as_ref()?;
        let server = self.server(next, ctx)?;
        let name = ssl.negotiated_name(next);
        let changes = changes();
        let policy = self.policy_here(next, &server, current);
        let has_id_context = ssl.session(next).is_some_and(|session| session.has_id_context(next));
        // As for the host store: who is to open it must be known to be the same server.
        let may_share = |policy: &Policy| {
            let asks = server.policy.asks() || policy.asks();
            !self.is_broken() && (has_id_context || server.has_certificate && !asks)
        };
        let Some(policy) = policy.filter(may_share) else { return Some(tickets.own.clone()) };
        self.learn(name, changes, policy);
        let key = tickets.choose(next, &server, policy, |keys| keys.first().cloned())?;
        self.for_name(next, ssl, name, key)
    }

    /// The key of this name, and whether the ticket it opens is to be renewed.
    pub fn opening_key(
        &self,
        next: &Next,
        ctx: Ctx<'_>,
        ssl: Ssl<'_>,
        name: &[u8; NAME_BYTES],
        current: &Current<'_>,
    ) -> Option<(TicketKey, bool)> {
        let tickets = self.tickets.as_ref()?;
        if tickets.own.name == *name {
            return Some((tickets.own.clone(), false));
        }
        let server = self.server(next, ctx)?;
        let host = ssl.offered_name(next);
        let policy = self.policy_for(next, &server, current, host)?;
        let (key, renew) = tickets.choose(next, &server, policy, |keys| {
            let place = keys.iter().position(|key| key.name == *name)?;
            Some((keys.get(place)?.clone(), place > 0))
        })?;
        Some((self.for_name(next, ssl, host, key)?, renew))
    }

    /// Binds a key to the server name where another name's ticket could lead to another policy: on a
    /// resumption in TLS 1.2 a servername callback is told the name that is in the ticket.
    fn for_name(
        &self,
        next: &Next,
        ssl: Ssl<'_>,
        name: &[u8],
        mut key: TicketKey,
    ) -> Option<TicketKey> {
        if self.name_matters() && ssl.version(next) != TLS1_3_VERSION {
            let _errors = KeepErrors::new(next);
            let mac = Zeroizing::new(key.mac);
            hkdf_sha256(next, mac.as_slice(), Name::new(name)?.bytes(), &mut key.mac)?;
        }
        Some(key)
    }

    /// Whether tickets are sealed with our keys.
    pub fn shares_tickets(&self) -> bool {
        self.tickets.is_some() && !self.tickets_given_up.load(Relaxed)
    }

    /// The application has keys of its own; true if they were ours before.
    pub fn give_up_tickets(&self) -> bool {
        self.tickets.is_some() && !self.tickets_given_up.swap(true, Relaxed)
    }
}
