//! Ticket keys that follow from the key file: stateless tickets resume on every host and after
//! every restart.
//!
//! From each key of the file, from the server's namespace and from the time a ticket key is derived
//! (HKDF): another one in every epoch. The newest key's of this epoch seals; those of earlier
//! epochs, of the next one (another host's clock is ahead) and of the file's other keys open, and
//! what they open is renewed. A server that may not share has a key of its own, as with stock.
//!
//! Locks: one a context, while keys are copied out or put in; nobody waits for it long.

use super::keys::KeyRing;
use super::{State, read_soon};
use crate::config::config;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::handle::{Ctx, SessionRef};
use crate::openssl::identity::Server;
use crate::openssl::kdf::hkdf_sha256;
use crate::openssl::next::Next;
use crate::openssl::process::{now, random_bytes};
use crate::openssl::ticket::{NAME_BYTES, TicketKey};
use parking_lot::RwLock;
use std::sync::atomic::Ordering::Relaxed;

/// How long a key seals.
const EPOCH_SECONDS: u32 = 6 * 60 * 60;
/// The most epochs for which keys are kept: a ticket lives a week at most (RFC 8446 4.6.1).
const MOST_EPOCHS: u32 = 7 * 24 * 60 * 60 / EPOCH_SECONDS;

/// The ticket keys of a context.
#[derive(Debug)]
pub(super) struct Tickets {
    ring: &'static KeyRing,
    /// For tickets that no other process is to open.
    own: TicketKey,
    table: RwLock<Table>,
}

/// The keys of an epoch, and what they follow from.
#[derive(Debug, Default)]
struct Table {
    epoch: i64,
    generation: u64,
    namespace: [u8; 32],
    /// The first seals.
    keys: Vec<TicketKey>,
}

impl Tickets {
    /// `None` without randomness.
    pub(super) fn new(ring: &'static KeyRing) -> Option<Tickets> {
        let mut own = TicketKey::default();
        let random = [&mut own.name[..], &mut own.cipher[..], &mut own.mac[..]];
        let filled = random.into_iter().all(random_bytes);
        filled.then(|| Tickets { ring, own, table: RwLock::new(Table::default()) })
    }

    /// What `choose` finds among the keys of now, which are made if they are not there yet.
    fn choose<T>(
        &self,
        next: &Next,
        server: &Server,
        choose: impl Fn(&[TicketKey]) -> Option<T>,
    ) -> Option<T> {
        let epoch = now() / i64::from(EPOCH_SECONDS);
        let generation = self.ring.generation();
        {
            let table = read_soon(&self.table)?;
            let known = (table.epoch, table.generation, table.namespace);
            if known == (epoch, generation, server.namespace) {
                return choose(&table.keys);
            }
        }
        let keys = self.derive(next, &server.namespace, epoch)?;
        let chosen = choose(&keys);
        if let Some(mut table) = self.table.try_write() {
            *table = Table { epoch, generation, namespace: server.namespace, keys };
        }
        chosen
    }

    fn derive(&self, next: &Next, namespace: &[u8; 32], epoch: i64) -> Option<Vec<TicketKey>> {
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
                    keys.push(derive(next, secret.as_slice(), namespace, epoch + offset)?);
                }
            }
            Some(keys)
        })
    }
}

fn derive(next: &Next, secret: &[u8], namespace: &[u8; 32], epoch: i64) -> Option<TicketKey> {
    let mut key = TicketKey::default();
    let mut name = [0; 32];
    for (purpose, out) in [(b'n', &mut name), (b'c', &mut key.cipher), (b'm', &mut key.mac)] {
        // Purpose, namespace, epoch.
        let mut info = [0; 1 + 32 + 8];
        let (first, rest) = info.split_first_mut()?;
        let (middle, last) = rest.split_at_mut_checked(32)?;
        *first = purpose;
        middle.copy_from_slice(namespace);
        last.copy_from_slice(&epoch.to_le_bytes());
        hkdf_sha256(next, secret, &info, out)?;
    }
    key.name = *name.first_chunk::<NAME_BYTES>()?;
    Some(key)
}

impl State {
    /// The key that seals the ticket of a session.
    pub fn sealing_key(
        &self,
        next: &Next,
        ctx: Ctx<'_>,
        session: Option<SessionRef<'_>>,
    ) -> Option<TicketKey> {
        let tickets = self.tickets.as_ref()?;
        let server = self.server(next, ctx)?;
        let has_id_context = session.is_some_and(|session| session.has_id_context(next));
        // As for the host store: who is to open it must be known to be the same server.
        let may_share = has_id_context || server.has_certificate && !server.asks_for_certificate;
        if !may_share || self.is_broken() {
            return Some(tickets.own.clone());
        }
        tickets.choose(next, &server, |keys| keys.first().cloned())
    }

    /// The key of this name, and whether the ticket it opens is to be renewed.
    pub fn opening_key(
        &self,
        next: &Next,
        ctx: Ctx<'_>,
        name: &[u8; NAME_BYTES],
    ) -> Option<(TicketKey, bool)> {
        let tickets = self.tickets.as_ref()?;
        if tickets.own.name == *name {
            return Some((tickets.own.clone(), false));
        }
        let server = self.server(next, ctx)?;
        tickets.choose(next, &server, |keys| {
            let place = keys.iter().position(|key| key.name == *name)?;
            Some((keys.get(place)?.clone(), place > 0))
        })
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
