//! Ticket keys that follow from the key file: stateless tickets resume on every host and after
//! every restart.
//!
//! A ticket key is derived (HKDF) from each key of the file, the server's namespace, and the time:
//! another one in every epoch. That of an earlier epoch follows from a plain key at any time, and from
//! a ratchet as long as its state is kept.
//!
//! - The key of this epoch that follows from the newest key of the file seals.
//! - Those of earlier epochs, of the next one (another host's clock is ahead) and of the file's
//!   other keys open.
//! - A private session, and that of a server that nobody knows again, is sealed with a key of the
//!   context's own, as with stock.
//!
//! A ticket carries its origin: a *trailer* behind the application's ticket data, which is there only
//! while libssl encodes or has just decoded the ticket.
//!
//! A resumption in TLS 1.3 brings a new ticket, because clients use a ticket once. It is a session of its own.
//! In TLS 1.2 it brings one if the application asks for it, which carries the same session and the same trailer, and lengthens no life: see
//! [`Renewal`]. There the session may also have been found by its id. Then other threads may have the
//! object, into which no trailer can be written, and the ticket is sealed with a key of the context's
//! own, without a trailer.
//!
//! Locks: one a context, while keys are copied out or put in; nobody waits for it long.

use super::State;
use super::admission::Foreign;
use super::beginning::Answer;
use super::event::Event;
use super::host::keys::KeyRing;
use super::host::record::deadline;
use super::lock::read_soon;
use super::origin::{Origin, first_authenticated};
use super::policy::ServerName;
use super::renewal::{Renewal, TRAILER_BYTES};
use crate::config::config;
use crate::openssl::boxed;
use crate::openssl::codec::{Mark, NAME_BITS};
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::handle::{Ctx, SessionRef};
use crate::openssl::identity::Server;
use crate::openssl::kdf::{HASH_BYTES, hkdf_sha256};
use crate::openssl::table::Libssl;
use crate::openssl::ticket::{NAME_BYTES, TicketKey};
use crate::seal::ratchet::EpochSecret;
use once_cell::race::OnceBox;
use parking_lot::RwLock;
use sesscache_core::key_file::epoch::{EPOCH_SECONDS, EPOCHS_A_DAY, Epoch};
use sesscache_core::store::{Cause, Tally, Way};
use sesscache_core::system::clock::now;
use sesscache_core::system::process::random_bytes;
use siphasher::sip::SipHasher24;
use std::hash::Hasher;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use zeroize::Zeroizing;

/// The most epochs for which keys are kept: a ticket lives a week at most (RFC 8446 4.6.1).
const MOST_EPOCHS: u32 = 7 * EPOCHS_A_DAY;
/// The longest DER of a session that gets a trailer: libssl refuses to put more than 0xFF00 bytes
/// into a ticket.
const MOST_DER: usize = 0xF000;
/// A session without a client certificate, and with no more ticket data than this, is shorter.
const USUAL_TICKET_DATA: usize = 0x1000;
/// For how many namespaces a context keeps its keys at hand: that of now, and those of before.
const MOST_TABLES: usize = 9;

/// The ticket keys of a context.
#[derive(Debug)]
pub(super) struct TicketKeys {
    ring: &'static KeyRing,
    /// For tickets that no other process is to open.
    own: TicketKey,
    /// The name under which `own` seals tickets without a trailer. libssl authenticates the name with
    /// the ticket, so that none passes under the other one.
    bare_name: [u8; NAME_BYTES],
    /// Made for the first ticket that others may open; oldest first.
    tables: OnceBox<RwLock<Vec<Table>>>,
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
        let own = TicketKey::random()?;
        let mut bare_name = [0; NAME_BYTES];
        let is_drawn = random_bytes(&mut bare_name);
        let (tables, given_up) = (OnceBox::new(), AtomicBool::new(false));
        is_drawn.then_some(TicketKeys { ring, own, bare_name, tables, given_up })
    }

    /// The choice of `pick` among the present keys of a namespace, which are made if they are not
    /// there yet.
    fn among_keys<T>(
        &self,
        ctx: Ctx<'_>,
        namespace: [u8; HASH_BYTES],
        pick: impl Fn(&[TicketKey]) -> Option<T>,
    ) -> Option<T> {
        let epoch = now() / i64::from(EPOCH_SECONDS);
        let mut basis = Basis { epoch, generation: self.ring.generation(), namespace };
        let make = || boxed::try_new(RwLock::default()).ok_or(());
        let tables = self.tables.get_or_try_init(make).ok()?;
        if let Some(table) = read_soon(tables)?.iter().find(|table| table.basis == basis) {
            return pick(&table.keys);
        }
        let longest = u32::try_from(ctx.timeout()).unwrap_or(u32::MAX).max(config().max_lifetime);
        let kept = Epoch::kept_for(longest).min(MOST_EPOCHS);
        self.ring.keep(ctx.libssl(), kept);
        basis.generation = self.ring.generation();
        let keys = self.derive_all(ctx.libssl(), &basis, kept)?;
        let picked = pick(&keys);
        if let Some(mut tables) = tables.try_write() {
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

    /// The first of them seals.
    fn derive_all(
        &self,
        libssl: &'static Libssl,
        basis: &Basis,
        kept: u32,
    ) -> Option<Vec<TicketKey>> {
        let _errors = KeepErrors::new(libssl);
        self.ring.with_ticket_secrets(|secrets| {
            let of_plain = [0, 1].into_iter().chain((1..=i64::from(kept)).map(|back| -back));
            let count = |one: &EpochSecret| one.dated.map_or(of_plain.clone().count(), |_| 1);
            let mut keys = Vec::new();
            // At once: a vector that grows leaves its old keys behind.
            keys.try_reserve_exact(secrets.iter().map(count).sum()).ok()?;
            for EpochSecret { secret, dated } in secrets {
                match dated {
                    Some(dated) if dated.back > kept => {}
                    Some(dated) => {
                        let basis = Basis { epoch: i64::from(dated.epoch.0), ..*basis };
                        keys.push(derive_key(libssl, secret.bytes(), &basis)?);
                    }
                    None => {
                        for offset in of_plain.clone() {
                            let basis = Basis { epoch: basis.epoch + offset, ..*basis };
                            keys.push(derive_key(libssl, secret.bytes(), &basis)?);
                        }
                    }
                }
            }
            Some(keys)
        })
    }
}

fn derive_key(libssl: &'static Libssl, secret: &[u8], basis: &Basis) -> Option<TicketKey> {
    let mut key = TicketKey::default();
    let mut name = Zeroizing::new([0; 32]);
    for (purpose, out) in [(b"n", &mut *name), (b"c", &mut key.cipher), (b"m", &mut key.mac)] {
        let epoch = basis.epoch.to_le_bytes();
        let parts: [&[u8]; 3] = [purpose, &basis.namespace, &epoch];
        let mut info = [0; 1 + HASH_BYTES + 8];
        for (place, byte) in info.iter_mut().zip(parts.into_iter().flatten()) {
            *place = *byte;
        }
        hkdf_sha256(libssl, secret, &info, out).ok()?;
    }
    let (public, secret) = name.split_first_chunk::<NAME_BYTES>()?;
    key.name = *public;
    key.server_names = *secret.first_chunk()?;
    Some(key)
}

impl TicketKeys {
    /// The key that seals tickets of this server for other processes.
    fn sealing(&self, ctx: Ctx<'_>, server: &Server) -> Option<TicketKey> {
        self.among_keys(ctx, server.namespace, |keys| keys.first().cloned())
    }

    /// The key of this name in a namespace.
    fn opening(&self, ctx: Ctx<'_>, namespace: [u8; HASH_BYTES], name: &[u8]) -> Option<TicketKey> {
        self.among_keys(ctx, namespace, |keys| keys.iter().find(|key| key.name == *name).cloned())
    }

    /// The key for tickets without a trailer.
    fn bare(&self) -> TicketKey {
        let mut key = self.own.clone();
        key.name = self.bare_name;
        key
    }

    /// The key of this name that no other process has.
    fn own_of_name(&self, name: &[u8]) -> Option<TicketKey> {
        if self.bare_name == *name {
            return Some(self.bare());
        }
        (self.own.name == *name).then(|| self.own.clone())
    }

    fn is_own_name(&self, name: &[u8]) -> bool {
        self.bare_name == *name || self.own.name == *name
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

/// The decision about the session of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketVerdict {
    /// It may resume. With a new ticket in TLS 1.2, if the application asks for it, which then carries
    /// this.
    Resume(Option<Renewal>),
    /// The handshake is a full one.
    Decline,
}

/// Whether the ticket carries the session.
fn goes_by_ticket(event: &Event<'_>) -> bool {
    !event.is_tls13() || event.goes_by_ticket_alone()
}

/// Whether the operator's bound would be lost with the trailer, because the session looks younger than its
/// chain of resumptions is: one of TLS 1.3 that is not the first of it.
fn is_older_than_it_says(session: SessionRef<'_>, origin: &Origin) -> bool {
    config().max_lifetime_is_set && i64::from(origin.first_authenticated) < session.time()
}

impl State {
    /// libssl is about to issue a ticket of this session: writes the trailer, unless the ticket is
    /// for this context only. A failure makes it such a one.
    pub fn write_origin(&self, event: &Event<'_>, session: SessionRef<'_>) {
        if !goes_by_ticket(event) {
            return;
        }
        if !event.is_tls13() && event.ssl.is_resumed() {
            return renew_origin(event, session);
        }
        let _errors = KeepErrors::new(event.libssl());
        let server = self.server(event).filter(|_| !self.is_broken());
        let refusal = self.refusal(event, server.as_ref(), session);
        if let Some((refusal, host)) = refusal.zip(self.host_store()) {
            host.store.tally(refusal);
        }
        let Some(tickets) = &self.tickets else { return };
        let shared = server.filter(|_| refusal.is_none());
        let shared = shared.and_then(|server| tickets.sealing(event.ctx, &server));
        let key = shared.as_ref().unwrap_or(&tickets.own);
        let Some(trailer) = self.trailer(event, session, key) else { return };
        let is_ours = shared.is_some()
            || !self.application_seals()
            || is_older_than_it_says(session, &trailer.origin);
        session.set_mark(Mark {
            first_authenticated: trailer.origin.first_authenticated,
            name: trailer.short_name(),
            is_foreign: false,
            is_private: shared.is_none(),
            has_trailer: is_ours && trailer.write(session),
        });
    }

    /// Whether the application's keys seal the tickets that no other process is to open by ours. It may
    /// have several contexts that it gives the same keys, for example before and after it is reloaded.
    fn application_seals(&self) -> bool {
        self.overrides_tickets() && self.application.ticket_keys().are_set()
    }

    /// The trailer of a ticket that this key is to seal. Should there be another key when it is
    /// sealed, its name fits no more, and others decline it.
    fn trailer(
        &self,
        event: &Event<'_>,
        session: SessionRef<'_>,
        key: &TicketKey,
    ) -> Option<Trailer> {
        let origin = Origin::of(event, self.virtual_host.number(), session)?;
        let end = deadline(session, origin.first_authenticated);
        let end = u32::try_from(end).unwrap_or(u32::MAX);
        let name = Trailer::name_hash(key, event.ssl.negotiated_name())?;
        Some(Trailer { name, end, origin })
    }

    /// The key that seals the ticket of a connection's session, which libssl has encoded by now: the
    /// trailer leaves the session. `None` if the application's is to seal it.
    pub fn sealing_key(&self, event: &Event<'_>) -> Option<TicketKey> {
        let tickets = self.tickets.as_ref()?;
        let session = event.ssl.session()?;
        let Some(mark) = session.mark().filter(|mark| mark.has_trailer) else {
            return (!self.application_seals()).then(|| tickets.bare());
        };
        Trailer::remove(session);
        session.set_mark(Mark { has_trailer: false, ..mark });
        let server = if mark.is_private { None } else { self.server(event) };
        let shared = server.and_then(|server| tickets.sealing(event.ctx, &server));
        Some(shared.unwrap_or_else(|| tickets.own.clone()))
    }

    /// The key of this name.
    pub fn opening_key(&self, event: &Event<'_>, name: &[u8; NAME_BYTES]) -> Option<TicketKey> {
        let tickets = self.tickets.as_ref()?;
        if let Some(own) = tickets.own_of_name(name) {
            return Some(own);
        }
        let server = self.server(event)?;
        let opening = |namespace| tickets.opening(event.ctx, namespace, name);
        opening(server.namespace)
            .or_else(|| self.virtual_host.among_previous(|namespace| opening(*namespace)))
    }

    /// libssl has opened a ticket with the key of this name: may its session resume? The trailer
    /// leaves it.
    pub fn judge_ticket(
        &self,
        event: &Event<'_>,
        session: SessionRef<'_>,
        key_name: &[u8],
    ) -> TicketVerdict {
        let Some(tickets) = &self.tickets else { return TicketVerdict::Resume(None) };
        let _errors = KeepErrors::new(event.libssl());
        let is_private = tickets.is_own_name(key_name);
        let trailer = if tickets.bare_name == *key_name { None } else { Trailer::remove(session) };
        if trailer.is_none() && tickets.bare_name != *key_name {
            return self.judge_ticket_of_application(session);
        }
        let is_foreign =
            |trailer: &&Trailer| !is_private && !trailer.origin.is_own(self.virtual_host.number());
        let foreign = trailer.as_ref().filter(is_foreign);
        let first = trailer.as_ref().map(|trailer| trailer.origin.first_authenticated);
        let is_marked = first.or_else(|| first_authenticated(session)).is_some_and(|first| {
            session.set_mark(Mark {
                first_authenticated: first,
                name: trailer.as_ref().map_or(0, Trailer::short_name),
                is_foreign: foreign.is_some(),
                is_private,
                has_trailer: false,
            })
        });
        let objection =
            foreign.and_then(|foreign| self.objection_to_ticket(event, session, foreign, key_name));
        if let Some((tally, host)) = objection.zip(self.host_store()) {
            host.store.tally(tally);
        }
        if !is_marked || objection.is_some() || !self.is_young_enough(session) {
            self.note_answer(event, Answer::Missed(Cause::Refused));
            return TicketVerdict::Decline;
        }
        let way = if foreign.is_some() { Way::SharedTicket } else { Way::OwnTicket };
        self.note_answer(event, Answer::found(way, session));
        let may_ask = || self.application.ticket_data().decrypt_cb.get().is_some();
        let replaced = trailer.filter(|_| !event.is_tls13() && may_ask());
        let renewed = replaced.and_then(|trailer| self.renewed(event, trailer, key_name));
        TicketVerdict::Resume(renewed.map(|trailer| Renewal::of(session, trailer.to_bytes())))
    }

    /// The verdict about a session without a trailer. The application's keys have opened its ticket, or
    /// it is damaged.
    fn judge_ticket_of_application(&self, session: SessionRef<'_>) -> TicketVerdict {
        // There is one, if there was no memory to take it out.
        let is_of_application = self.application_seals() && !Trailer::is_in(session);
        if !is_of_application || !self.is_young_enough(session) {
            return TicketVerdict::Decline;
        }
        if let Some(first_authenticated) = first_authenticated(session) {
            // From now on its chain of resumptions has a bound. It may have come of a shared key.
            let is_private = self.application.asks_for_shared_keys();
            session.set_mark(Mark {
                first_authenticated,
                name: 0,
                is_foreign: false,
                is_private,
                has_trailer: false,
            });
        }
        TicketVerdict::Resume(None)
    }

    /// The trailer of the ticket that replaces one of TLS 1.2. `None` if it was made for another server
    /// name than the client asks for, because its own name is not known, or without keys.
    fn renewed(&self, event: &Event<'_>, trailer: Trailer, key_name: &[u8]) -> Option<Trailer> {
        let tickets = self.tickets.as_ref()?;
        if tickets.is_own_name(key_name) {
            return Some(trailer);
        }
        let server = self.server(event)?;
        let name_of = |key: &TicketKey| Trailer::name_hash(key, event.ssl.offered_name());
        let opening = tickets.opening(event.ctx, server.namespace, key_name)?;
        let is_asked_for = name_of(&opening) == Some(trailer.name);
        let sealing = tickets.sealing(event.ctx, &server).filter(|_| is_asked_for)?;
        Some(Trailer { name: name_of(&sealing)?, ..trailer })
    }

    /// Why the session of another context's ticket does not resume; `None` if it does.
    fn objection_to_ticket(
        &self,
        event: &Event<'_>,
        session: SessionRef<'_>,
        trailer: &Trailer,
        key_name: &[u8],
    ) -> Option<Tally> {
        let name = || {
            let (tickets, server) = (self.tickets.as_ref()?, self.server(event)?);
            // Not a key of a namespace of before.
            let key = tickets.opening(event.ctx, server.namespace, key_name)?;
            Trailer::name_hash(&key, event.ssl.offered_name())
        };
        // Nor if it cannot be told who the server is.
        if name() != Some(trailer.name) {
            return Some(Tally::DeclinedName);
        }
        if i64::from(trailer.end) < now() {
            return Some(Tally::DeclinedLifetime);
        }
        self.objection(event, &Foreign { session, origin: trailer.origin, is_fresh: true })
    }
}

/// libssl is about to replace the ticket by which a session of TLS 1.2 came: writes the trailer that
/// the new ticket is to carry.
fn renew_origin(event: &Event<'_>, session: SessionRef<'_>) {
    let pending = event.pending_renewal().and_then(|pending| pending.take(session));
    let trailer = pending.and_then(|bytes| Trailer::from_bytes(&bytes));
    let Some((trailer, mark)) = trailer.zip(session.mark()) else { return };
    let _errors = KeepErrors::new(event.libssl());
    let name = trailer.short_name();
    session.set_mark(Mark { name, has_trailer: trailer.write(session), ..mark });
}

/// What a ticket carries beside the session and the application's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Trailer {
    /// A hash of the server name under which the session was made, in lower case.
    name: [u8; 8],
    /// The last second in which others may resume it.
    end: u32,
    origin: Origin,
}

impl Trailer {
    const FORMAT: u8 = 2;

    /// A hash of a server name, for a ticket that this key seals. Its key is known to no client, who
    /// could else find another name of the same hash. `None` if the name is longer than a name can be.
    fn name_hash(key: &TicketKey, name: &[u8]) -> Option<[u8; 8]> {
        let mut hasher = SipHasher24::new_with_key(&key.server_names);
        hasher.write(ServerName::new(name)?.bytes());
        Some(hasher.finish().to_le_bytes())
    }

    fn to_bytes(self) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        let parts: [&[u8]; 4] =
            [&self.name, &self.end.to_le_bytes(), &self.origin.to_bytes(), &[Trailer::FORMAT]];
        for (place, byte) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *place = *byte;
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; TRAILER_BYTES]) -> Option<Trailer> {
        let (name, rest) = bytes.split_first_chunk()?;
        let (end, rest) = rest.split_first_chunk()?;
        let (origin, rest) = rest.split_first_chunk()?;
        Some(Trailer {
            name: *name,
            end: u32::from_le_bytes(*end),
            origin: Origin::from_bytes(origin)?,
        })
        .filter(|_| rest == [Trailer::FORMAT])
    }

    /// Appends the trailer to the session's ticket data; false without memory or room.
    fn write(self, session: SessionRef<'_>) -> bool {
        let data = session.ticket_appdata();
        let may_be_long = session.has_peer() || data.len() > USUAL_TICKET_DATA;
        if may_be_long && session.der_length().is_ok_and(|length| length > MOST_DER) {
            return false;
        }
        let mut whole = Vec::new();
        if whole.try_reserve_exact(data.len() + TRAILER_BYTES).is_err() {
            return false;
        }
        whole.extend_from_slice(data);
        whole.extend_from_slice(&self.to_bytes());
        session.set_ticket_appdata(&whole)
    }

    /// The part of the name that fits a mark.
    fn short_name(&self) -> u32 {
        let [a, b, c, d, ..] = self.name;
        u32::from_le_bytes([a, b, c, d]) & ((1 << NAME_BITS) - 1)
    }

    /// Whether a trailer is in the session's ticket data. Data of the application's that looks like one
    /// counts as one, so that its ticket is declined.
    fn is_in(session: SessionRef<'_>) -> bool {
        let last = session.ticket_appdata().last_chunk();
        last.and_then(Trailer::from_bytes).is_some()
    }

    /// Takes the trailer out of the session's ticket data.
    fn remove(session: SessionRef<'_>) -> Option<Trailer> {
        let (data, trailer) = session.ticket_appdata().split_last_chunk()?;
        let trailer = Trailer::from_bytes(trailer)?;
        let mut rest = Vec::new();
        rest.try_reserve_exact(data.len()).ok()?;
        rest.extend_from_slice(data);
        session.set_ticket_appdata(&rest).then_some(trailer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_comes_back_as_it_was() {
        let origin = [3; Origin::BYTES];
        let origin = Origin::from_bytes(&origin).unwrap();
        let trailer = Trailer { name: [1; 8], end: u32::MAX, origin };
        let mut bytes = trailer.to_bytes();
        assert_eq!(Trailer::from_bytes(&bytes), Some(trailer));
        *bytes.last_mut().unwrap() += 1;
        assert_eq!(Trailer::from_bytes(&bytes), None, "of another format");
    }
}
