//! What a context shares with other processes: which sessions, under which name, for how long.
//!
//! A record is found by a hash of what the server is (certificate, whom it trusts,
//! SESSCACHE_NAMESPACE), protocol version and id. Its seal is bound to these, to its deadline, to the
//! server name that the client asked for (RFC 6066 3) and to the policy of the virtual host that the
//! name led to (`names`): under others it does not open. No callback runs here.

use super::census::{changes, note_change};
use super::host::HostStore;
use super::names::Current;
use super::session::{is_single_use, is_stateless};
use super::{State, read_soon};
use crate::config::config;
use crate::openssl::codec::Mark;
use crate::openssl::constants::SSL_SESS_CACHE_UPDATE_TIME;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::handle::{Ctx, Session, SessionRef, Ssl};
use crate::openssl::identity::{Identity, Policy, Server};
use crate::openssl::next::Next;
use crate::seal::{Keys, OVERHEAD};
use openssl_sys::{SSL_SESS_CACHE_BOTH, SSL_SESS_CACHE_NO_INTERNAL_STORE, SSL_SESS_CACHE_SERVER};
use sesscache_core::cache::{Key, MAX_ID_LENGTH};
use sesscache_core::store::{LOCAL, Locator, Lookup, MOST_PAYLOAD, Now, Store, Tally, Trust};
use sesscache_core::system::clock::now_milliseconds;
use sesscache_core::system::process::random_bytes;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use zeroize::Zeroizing;

/// The longest host name (RFC 1035 2.3.4).
const MAX_NAME_LENGTH: usize = 255;
/// What a record's seal is for, as associated data.
const PURPOSE: &[u8] = b"sesscache session 1";
/// Before the DER: when the chain of resumptions began.
const PREFIX_BYTES: usize = 4;
/// Room for the plaintext of most sessions.
const USUAL_BYTES: usize = 512;

/// A context that shares, during one call.
#[derive(Debug)]
pub(super) struct Share<'a> {
    host: &'a HostStore,
    server: Server,
}

/// A server name in lower case; empty if the client asked for none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    bytes: [u8; MAX_NAME_LENGTH],
    length: u8,
}

impl Name {
    pub(super) fn new(name: &[u8]) -> Option<Name> {
        let mut bytes = [0; MAX_NAME_LENGTH];
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        bytes.make_ascii_lowercase();
        Some(Name { bytes, length: u8::try_from(name.len()).ok()? })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// One session's place in the store.
#[derive(Debug)]
pub(super) struct Place<'a> {
    share: &'a Share<'a>,
    key: Key,
    name: Name,
    policy: Policy,
    /// A hash of the two.
    host_hash: u32,
    locator: Locator,
}

/// What is to be done with a session that this process or its application has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It may be resumed.
    Good,
    /// Not here, or not any more: it is for another server name or policy, its life is over, or it
    /// may have been removed.
    NotHere,
    /// It was removed, perhaps by another process.
    Removed,
}

impl State {
    /// What sessions of this context are shared under; `None` without a store, or if it cannot be
    /// told.
    #[inline]
    pub(super) fn share(&self, next: &Next, ctx: Ctx<'_>) -> Option<Share<'_>> {
        let host = self.host().filter(|_| !self.is_broken())?;
        Some(Share { host, server: self.server(next, ctx)? })
    }

    /// Whether sessions go into the store and come out of it: not if this is no server that caches,
    /// or one whose application asked for no resumption.
    pub(super) fn shares(&self) -> bool {
        self.has(SSL_SESS_CACHE_SERVER) && !self.wants_no_resumption()
    }

    /// An application that stores nothing and has no callbacks asked for no resumption (nginx
    /// `none`, Apache `nonenotnull`).
    fn wants_no_resumption(&self) -> bool {
        self.has(SSL_SESS_CACHE_NO_INTERNAL_STORE)
            && self.new_cb.get().is_none()
            && self.get_cb.get().is_none()
    }

    /// The engine negotiated a session, which nobody else knows yet.
    pub(super) fn mark_new(
        &self,
        next: &Next,
        ctx: Ctx<'_>,
        ssl: Ssl<'_>,
        session: SessionRef<'_>,
        key: Key,
        current: &Current<'_>,
    ) {
        if self.host().is_none() || !self.shares() || !ssl.is_server(next) || key.id_is_empty() {
            return;
        }
        let _errors = KeepErrors::new(next);
        if let Some(share) = self.share(next, ctx)
            && let Some(place) = self.negotiated(next, &share, ssl, key, current)
        {
            place.mark(next, session);
        }
    }

    /// The engine negotiated a session, whose key was `key` before new_cb saw it.
    pub(super) fn share_new(
        &self,
        next: &Next,
        ctx: Ctx<'_>,
        ssl: Ssl<'_>,
        session: SessionRef<'_>,
        key: Key,
        current: &Current<'_>,
    ) {
        let Some(host) = self.host() else { return };
        if !ssl.is_server(next) || key.id_is_empty() || session.key(next) != Some(key) {
            return;
        }
        let single_use = is_single_use(next, ctx, ssl);
        if !single_use && is_stateless(next, ctx, ssl) || !session.is_resumable(next) {
            return;
        }
        if !self.shares() {
            if self.has(SSL_SESS_CACHE_SERVER) {
                host.store.tally(Tally::RefusedNotAsked);
            }
            return;
        }
        let _errors = KeepErrors::new(next);
        if let Some(share) = self.share(next, ctx)
            && let Some(place) = self.negotiated(next, &share, ssl, key, current)
        {
            place.put(next, session, single_use);
        }
    }

    /// Where the session that was negotiated is to be.
    fn negotiated<'a>(
        &self,
        next: &Next,
        share: &'a Share<'a>,
        ssl: Ssl<'_>,
        key: Key,
        current: &Current<'_>,
    ) -> Option<Place<'a>> {
        let name = ssl.negotiated_name(next);
        let changes = changes();
        let policy = self.policy_here(next, &share.server, current)?;
        self.learn(name, changes, policy);
        let name = Name::new(name)?;
        share.place(key, name, policy)
    }

    /// Where the session is that a client offers.
    #[inline]
    pub(super) fn offered<'a>(
        &self,
        next: &Next,
        share: &'a Share<'a>,
        ssl: Ssl<'_>,
        id: &[u8],
        current: &Current<'_>,
    ) -> Option<Place<'a>> {
        let key = ssl.key(next, id).filter(|key| !key.id_is_empty())?;
        let name = ssl.offered_name(next);
        let policy = self.policy_for(next, &share.server, current, name)?;
        let name = Name::new(name)?;
        share.place(key, name, policy)
    }

    /// Who the server is, worked out again if that was changed.
    pub(super) fn server(&self, next: &Next, ctx: Ctx<'_>) -> Option<Server> {
        let known = read_soon(&self.identity)?;
        if let Some(identity) = known.as_ref()
            && identity.is_of(next, ctx)
        {
            return Some(identity.server);
        }
        let before = known.as_ref().map(|identity| identity.server.policy);
        drop(known);
        self.note_verify_mode(next, ctx);
        let _errors = KeepErrors::new(next);
        let identity = Identity::of(next, ctx, &config().namespace)?;
        let server = identity.server;
        if before.is_some_and(|before| before != server.policy) {
            note_change();
        }
        if let Some(mut known) = self.identity.try_write() {
            *known = Some(identity);
        }
        Some(server)
    }

    /// A session was removed by the application, or by the engine after a fatal alert: no process
    /// is to resume it. One that was never shared leaves no trace.
    pub(super) fn unshare(&self, next: &Next, ctx: Ctx<'_>, session: SessionRef<'_>) {
        let Some(host) = self.host() else { return };
        let Some(key) = session.key(next).filter(|key| !key.id_is_empty()) else { return };
        let now = Now(now_milliseconds());
        let mark = session.mark(next);
        // Where use extends life, another process's copy may live longer than this one.
        let deadline = match mark {
            Some(mark) if self.has(SSL_SESS_CACHE_UPDATE_TIME) => longest(mark),
            _ => session.deadline(next),
        };
        let deadline = unsigned(deadline);
        let Some(server) = self.server(next, ctx) else { return };
        let locator = Share { host, server }.locator(&key);
        // The mark says that it was shared. An object of the application's own making (d2i) has
        // none; nor has a client's, which is not what the store has under its id.
        let only_serves = self.mode() & SSL_SESS_CACHE_BOTH == SSL_SESS_CACHE_SERVER;
        let was_shared = mark.is_some() || only_serves && host.store.may_have(&locator);
        // By its own times it may be over: those of the record are others.
        if was_shared && (deadline >= now.0 / 1000 || host.store.may_have(&locator)) {
            host.store.remove(&locator, deadline, now);
        }
    }
}

impl<'a> Share<'a> {
    fn hasher(&self) -> SipHasher24 {
        let key = self.server.namespace.first_chunk().copied().unwrap_or_default();
        SipHasher24::new_with_key(&key)
    }

    /// A hash of a server name and a policy, for a session's mark. That stays in this process and
    /// its children: the key is one that no client knows, who could else find another name of the
    /// same hash.
    fn host_hash(&self, name: &Name, policy: Policy) -> Option<u32> {
        let mut hasher = SipHasher24::new_with_keys(mark_key()?, 0);
        hasher.write(&self.server.namespace);
        hasher.write(policy.bytes());
        hasher.write(name.bytes());
        let [a, b, c, d, ..] = hasher.finish128().as_bytes();
        Some(u32::from_le_bytes([a, b, c, d]))
    }

    fn locator(&self, key: &Key) -> Locator {
        let mut hasher = self.hasher();
        let mut id = [0; MAX_ID_LENGTH];
        hasher.write_u16(key.version());
        hasher.write(key.id(&mut id));
        Locator(hasher.finish128().as_bytes())
    }

    fn place(&'a self, key: Key, name: Name, policy: Policy) -> Option<Place<'a>> {
        let host_hash = self.host_hash(&name, policy)?;
        let locator = self.locator(&key);
        Some(Place { share: self, key, name, policy, host_hash, locator })
    }

    /// Whether a session that get_cb has may be resumed: by its id, since who the application gives
    /// it to is its own affair.
    pub(super) fn standing(
        &self,
        next: &Next,
        ssl: Ssl<'_>,
        id: &[u8],
        session: SessionRef<'_>,
    ) -> Standing {
        match ssl.key(next, id).filter(|key| !key.id_is_empty()) {
            Some(key) => self.trust(&self.locator(&key), next, session, Now(now_milliseconds())),
            None => Standing::Good,
        }
    }

    /// Whether no process has removed what is at a place, as far as is known.
    fn trust(&self, locator: &Locator, next: &Next, session: SessionRef<'_>, now: Now) -> Standing {
        match self.host.store.trust(locator, unsigned(session.time(next)), now) {
            Trust::Good => Standing::Good,
            // The store may have it, and proves it by opening it.
            Trust::Unproven => Standing::NotHere,
            Trust::Removed => Standing::Removed,
        }
    }
}

/// A random number, drawn at the first call; `None` without randomness.
fn mark_key() -> Option<u64> {
    static KEY: AtomicU64 = AtomicU64::new(0);
    if KEY.load(Relaxed) == 0 {
        let mut drawn = [0; 8];
        if !random_bytes(&mut drawn) {
            return None;
        }
        // The first of several threads is right.
        let _ = KEY.compare_exchange(0, u64::from_le_bytes(drawn), Relaxed, Relaxed);
    }
    Some(KEY.load(Relaxed)).filter(|key| *key != 0)
}

impl Place<'_> {
    /// Whether a session that this process has itself may be resumed here and now.
    #[inline]
    pub(super) fn standing(&self, next: &Next, session: SessionRef<'_>) -> Standing {
        let now = Now(now_milliseconds());
        if let Some(mark) = session.mark(next) {
            if mark.host != self.host_hash {
                return Standing::NotHere;
            }
            // What is over by its own times is for the engine, which counts and removes it.
            let second = i64::try_from(now.0 / 1000).unwrap_or(i64::MAX);
            if session.deadline(next) >= second && deadline(next, session, mark) < second {
                return Standing::NotHere;
            }
        }
        self.share.trust(&self.locator, next, session, now)
    }

    /// Remembers of a session that it is shared, for which host and since when.
    /// Only of one that no other thread has: ex_data is changed without a lock.
    fn mark(&self, next: &Next, session: SessionRef<'_>) -> Option<Mark> {
        if let Some(mark) = session.mark(next)
            && mark.host == self.host_hash
        {
            return Some(mark);
        }
        let began = u32::try_from(session.time(next)).ok()?;
        let first_authenticated = session.mark(next).map_or(began, |mark| mark.first_authenticated);
        let mark = Mark { first_authenticated, host: self.host_hash };
        session.set_mark(next, mark).then_some(mark)
    }

    /// Stores a session, sealed. What fails is counted and of no further consequence.
    fn put(&self, next: &Next, session: SessionRef<'_>, single_use: bool) {
        let store = &self.share.host.store;
        let server = &self.share.server;
        if !session.has_id_context(next) {
            if !server.has_certificate {
                return store.tally(Tally::RefusedNoIdentity);
            }
            if server.policy.asks() || self.policy.asks() {
                return store.tally(Tally::RefusedVerifyWithoutIdContext);
            }
        }
        let Some(mark) = self.mark(next, session) else { return };
        let deadline = unsigned(deadline(next, session, mark));
        let now = Now(now_milliseconds());
        if deadline < now.0 / 1000 {
            return;
        }
        let Some(plain) = plaintext(next, session, mark) else { return };
        if plain.len() + OVERHEAD > MOST_PAYLOAD {
            return store.tally(Tally::Oversize);
        }
        let Some(associated) = self.associated(deadline) else { return };
        let mut sealed = Vec::new();
        let seal = |keys: &Keys| keys.seal(next, &associated, &plain, &mut sealed).ok();
        if self.share.host.keys.with_keys(seal).is_some() {
            let flags = if single_use { LOCAL } else { 0 };
            // What fails is counted there.
            let _ = store.put(&self.locator, deadline, now, flags, &sealed);
        }
    }

    /// Looks for the session in the store; takes it out if it is for single use.
    pub(super) fn fetch(&self, next: &Next, ssl: Ssl<'_>, single_use: bool) -> Option<Session> {
        let _errors = KeepErrors::new(next);
        let store = &self.share.host.store;
        let now = Now(now_milliseconds());
        let mut sealed = Vec::new();
        let look_up = if single_use { Store::take } else { Store::get };
        let Lookup::Found { deadline } = look_up(store, &self.locator, now, &mut sealed) else {
            return None;
        };
        self.decode(next, ssl, deadline, &sealed).map_err(|tally| store.tally(tally)).ok()
    }

    /// Whether a session for single use that this process has itself is now its to resume: it was
    /// in the store and is taken out. One that the store has forgotten may be known to others: from
    /// before a fork, or from an external cache.
    pub(super) fn take(&self, next: &Next, ssl: Ssl<'_>) -> bool {
        self.fetch(next, ssl, true).is_some()
    }

    fn decode(
        &self,
        next: &Next,
        ssl: Ssl<'_>,
        deadline: u64,
        sealed: &[u8],
    ) -> Result<Session, Tally> {
        let associated = self.associated(deadline).ok_or(Tally::Undecryptable)?;
        let open = |keys: &Keys| keys.open(next, &associated, sealed).ok();
        let plain = self.share.host.keys.with_keys(open).ok_or(Tally::Undecryptable)?;
        let (first, der) = plain.split_first_chunk::<PREFIX_BYTES>().ok_or(Tally::Mismatched)?;
        let session = Session::from_der(next, der).ok_or(Tally::Mismatched)?;
        let found = session.as_ref();
        if found.key(next) != Some(self.key) {
            return Err(Tally::Mismatched);
        }
        if !found.has_id_context(next) && ssl.asks_for_certificate(next) {
            // The engine would end the handshake with an alert.
            return Err(Tally::RefusedVerifyWithoutIdContext);
        }
        let deadline = i64::try_from(deadline).map_err(|_| Tally::Mismatched)?;
        if found.deadline(next) > deadline {
            found.set_deadline(next, deadline);
        }
        let first_authenticated = u32::from_le_bytes(*first);
        let mark = Mark { first_authenticated, host: self.host_hash };
        if found.set_mark(next, mark) { Ok(session) } else { Err(Tally::Mismatched) }
    }

    /// What a record's seal is bound to beside its content.
    fn associated(&self, deadline: u64) -> Option<Vec<u8>> {
        let mut id = [0; MAX_ID_LENGTH];
        let id = self.key.id(&mut id);
        let id_length = u8::try_from(id.len()).ok()?;
        let parts: [&[u8]; 9] = [
            PURPOSE,
            &self.key.version().to_le_bytes(),
            &deadline.to_le_bytes(),
            &self.share.server.namespace,
            self.policy.bytes(),
            &[self.name.length],
            self.name.bytes(),
            &[id_length],
            id,
        ];
        let mut all = Vec::new();
        all.try_reserve_exact(parts.iter().map(|part| part.len()).sum()).ok()?;
        parts.iter().for_each(|part| all.extend_from_slice(part));
        Some(all)
    }
}

/// What is sealed: when the chain of resumptions began, and the session.
fn plaintext(next: &Next, session: SessionRef<'_>, mark: Mark) -> Option<Zeroizing<Vec<u8>>> {
    let mut plain = Zeroizing::new(Vec::new());
    plain.try_reserve_exact(USUAL_BYTES).ok()?;
    plain.extend_from_slice(&mark.first_authenticated.to_le_bytes());
    session.append_der(next, &mut plain)?;
    Some(plain)
}

/// The last second in which other processes may resume a session, and this one too.
fn deadline(next: &Next, session: SessionRef<'_>, mark: Mark) -> i64 {
    let deadline = session.deadline(next).min(longest(mark));
    session.peer_not_after(next).map_or(deadline, |not_after| deadline.min(not_after))
}

/// The last second in which anything that came of an authentication may be resumed.
fn longest(mark: Mark) -> i64 {
    i64::from(mark.first_authenticated) + i64::from(config().max_lifetime)
}

fn unsigned(time: i64) -> u64 {
    u64::try_from(time).unwrap_or(0)
}
