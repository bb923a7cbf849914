//! A session as a sealed record: its address in the store, its plaintext, its seal.
//!
//! A record is found by a hash of who the server is (certificate, SESSCACHE_NAMESPACE, whom it
//! trusts), of protocol version and id. Its seal is bound to these, to its deadline, to the server
//! name that the client asked for (RFC 6066 3), and to the policy of the virtual host that the name
//! led to. Under another binding it does not open. Knows nothing of a context's cache or callbacks.

use super::HostStore;
use crate::config::config;
use crate::context::policy::ServerName;
use crate::openssl::codec::Mark;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::failed::Failed;
use crate::openssl::handle::{Session, SessionRef};
use crate::openssl::identity::{Policy, Server};
use crate::openssl::table::Libssl;
use crate::seal::{Keys, OVERHEAD};
use sesscache_core::cache::{Key, MAX_ID_LENGTH};
use sesscache_core::store::{LOCAL, Locator, Lookup, MOST_PAYLOAD, Now, Store, Tally, Trust};
use sesscache_core::system::clock::now_milliseconds;
use sesscache_core::system::process::random_bytes;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use zeroize::Zeroizing;

/// The purpose of a record's seal, as associated data.
const PURPOSE: &[u8] = b"sesscache session 1";
/// Before the DER: when the chain of resumptions began.
const PREFIX_BYTES: usize = 4;
/// Room for the plaintext of most sessions.
const USUAL_BYTES: usize = 512;

/// The address of one session's record: where it is in the store, and whom it is bound to.
#[derive(Debug)]
pub(in crate::context) struct Address<'a> {
    host: &'a HostStore,
    server: Server,
    key: Key,
    locator: Locator,
    /// `None` where it cannot be told. Then nothing is published or fetched.
    binding: Option<Binding>,
}

/// The server name and the virtual host's policy that a record is bound to.
#[derive(Debug)]
struct Binding {
    name: ServerName,
    policy: Policy,
    /// A hash of both, for a session's mark.
    hash: u32,
}

impl<'a> Address<'a> {
    /// The address of the session of this key, whose id is not empty.
    pub(in crate::context) fn new(host: &'a HostStore, server: Server, key: Key) -> Address<'a> {
        Address { host, server, key, locator: locator(&server, &key), binding: None }
    }

    /// Binds it to a server name, as it was sent, and to the policy of the virtual host to which
    /// that leads.
    pub(in crate::context) fn bound_to(self, name: &[u8], policy: Policy) -> Address<'a> {
        let binding = ServerName::new(name).and_then(|name| {
            let hash = binding_hash(&self.server, &name, policy)?;
            Some(Binding { name, policy, hash })
        });
        Address { binding, ..self }
    }

    /// Whether the server name and the virtual host are known.
    pub(in crate::context) fn is_bound(&self) -> bool {
        self.binding.is_some()
    }

    /// Whether a session with this mark was made under the address's server name and policy.
    pub(in crate::context) fn matches_binding(&self, mark: Mark) -> bool {
        self.binding.as_ref().is_some_and(|own| own.hash == mark.binding)
    }

    /// Whether no process has removed the session at this address, as far as is known.
    pub(in crate::context) fn trust(&self, session: SessionRef<'_>) -> Trust {
        let began = unsigned(session.time());
        self.host.store.trust(&self.locator, began, Now(now_milliseconds()))
    }

    /// Remembers of a session that it is shared, for whom and since when. Only of one that no other
    /// thread has, because ex_data is changed without a lock. `None` without memory.
    pub(in crate::context) fn mark(&self, session: SessionRef<'_>) -> Option<Mark> {
        let binding = self.binding.as_ref()?.hash;
        let known = session.mark();
        if let Some(mark) = known.filter(|mark| mark.binding == binding) {
            return Some(mark);
        }
        let began = u32::try_from(session.time()).ok()?;
        let first_authenticated = known.map_or(began, |mark| mark.first_authenticated);
        let mark = Mark { first_authenticated, binding };
        session.set_mark(mark).then_some(mark)
    }

    /// Publishes a session: seals it and puts it into the store. A failure is counted and has no
    /// further consequence. A session for single use stays on this host.
    pub(in crate::context) fn publish(&self, session: SessionRef<'_>, single_use: bool) {
        let store = &self.host.store;
        let Some(binding) = &self.binding else { return };
        if let Some(refusal) = refusal(&self.server, binding, session) {
            return store.tally(refusal);
        }
        let Some(mark) = self.mark(session) else { return };
        let deadline = unsigned(deadline(session, mark));
        let now = Now(now_milliseconds());
        if deadline < now.0 / 1000 {
            return;
        }
        let Ok(plain) = plaintext(session, mark) else { return };
        if plain.len() + OVERHEAD > MOST_PAYLOAD {
            return store.tally(Tally::Oversize);
        }
        let Some(associated) = self.associated(binding, deadline) else { return };
        let mut sealed = Vec::new();
        let libssl = session.libssl();
        let seal = |keys: &Keys| keys.seal(libssl, &associated, &plain, &mut sealed).ok();
        if self.host.keys.with_keys(seal).is_some() {
            let flags = if single_use { LOCAL } else { 0 };
            // The store counts its own failures.
            let _ = store.put(&self.locator, deadline, now, flags, &sealed);
        }
    }

    /// Fetches the session from the store, and takes it out of there if it is for single use.
    pub(in crate::context) fn fetch(
        &self,
        libssl: &'static Libssl,
        single_use: bool,
    ) -> Option<Session> {
        let binding = self.binding.as_ref()?;
        let _errors = KeepErrors::new(libssl);
        let mut sealed = Vec::new();
        let look_up = if single_use { Store::take } else { Store::get };
        let now = Now(now_milliseconds());
        let Lookup::Found { deadline } = look_up(&self.host.store, &self.locator, now, &mut sealed)
        else {
            return None;
        };
        let opened = self.open(libssl, binding, deadline, &sealed);
        let found = opened.map_err(|tally| self.tally(tally)).ok()?;
        self.host.store.count_hit(&self.locator);
        Some(found)
    }

    /// Counts something about this session in the store.
    pub(in crate::context) fn tally(&self, tally: Tally) {
        self.host.store.tally(tally);
    }

    /// Withdraws the session from the store: no process is to resume it. A session that was never
    /// shared leaves no trace. `may_be_unmarked`: a session without a mark may have been shared.
    pub(in crate::context) fn withdraw(
        &self,
        deadline: i64,
        mark: Option<Mark>,
        may_be_unmarked: bool,
    ) {
        let store = &self.host.store;
        let deadline = unsigned(deadline);
        let now = Now(now_milliseconds());
        let was_shared = mark.is_some() || may_be_unmarked && store.may_have(&self.locator);
        // Its own time may be over while the record's is not.
        if was_shared && (deadline >= now.0 / 1000 || store.may_have(&self.locator)) {
            store.remove(&self.locator, deadline, now);
        }
    }

    /// The session of a sealed record.
    fn open(
        &self,
        libssl: &'static Libssl,
        binding: &Binding,
        deadline: u64,
        sealed: &[u8],
    ) -> Result<Session, Tally> {
        let associated = self.associated(binding, deadline).ok_or(Tally::Undecryptable)?;
        let open = |keys: &Keys| keys.open(libssl, &associated, sealed).ok();
        let plain = self.host.keys.with_keys(open).ok_or(Tally::Undecryptable)?;
        let (first, der) = plain.split_first_chunk::<PREFIX_BYTES>().ok_or(Tally::Mismatched)?;
        let session = Session::from_der(libssl, der).map_err(|_| Tally::Mismatched)?;
        let found = session.as_ref(libssl);
        if found.key() != Some(self.key) {
            return Err(Tally::Mismatched);
        }
        let deadline = i64::try_from(deadline).map_err(|_| Tally::Mismatched)?;
        if found.deadline() > deadline {
            found.set_deadline(deadline);
        }
        let first_authenticated = u32::from_le_bytes(*first);
        let mark = Mark { first_authenticated, binding: binding.hash };
        if found.set_mark(mark) { Ok(session) } else { Err(Tally::Mismatched) }
    }

    /// The associated data of a record: whatever its seal is bound to beside its content. `None`
    /// without memory.
    fn associated(&self, binding: &Binding, deadline: u64) -> Option<Vec<u8>> {
        let mut id = [0; MAX_ID_LENGTH];
        let id = self.key.id(&mut id);
        let id_length = u8::try_from(id.len()).ok()?;
        let parts: [&[u8]; 9] = [
            PURPOSE,
            &self.key.version().to_le_bytes(),
            &deadline.to_le_bytes(),
            &self.server.namespace,
            binding.policy.bytes(),
            &binding.name.length_byte(),
            binding.name.bytes(),
            &[id_length],
            id,
        ];
        let mut all = Vec::new();
        all.try_reserve_exact(parts.iter().map(|part| part.len()).sum()).ok()?;
        parts.iter().for_each(|part| all.extend_from_slice(part));
        Some(all)
    }
}

/// Why a session must not be published, if there is a reason: nobody could tell that the server it
/// comes back to is the same.
fn refusal(server: &Server, binding: &Binding, session: SessionRef<'_>) -> Option<Tally> {
    if session.has_id_context() {
        None
    } else if !server.has_certificate {
        Some(Tally::RefusedNoIdentity)
    } else if server.policy.asks() || binding.policy.asks() {
        Some(Tally::RefusedVerifyWithoutIdContext)
    } else {
        None
    }
}

fn hasher(server: &Server) -> SipHasher24 {
    let key = server.namespace.first_chunk().copied().unwrap_or_default();
    SipHasher24::new_with_key(&key)
}

fn locator(server: &Server, key: &Key) -> Locator {
    let mut hasher = hasher(server);
    let mut id = [0; MAX_ID_LENGTH];
    hasher.write_u16(key.version());
    hasher.write(key.id(&mut id));
    Locator(hasher.finish128().as_bytes())
}

/// A hash of a server name and a policy, for a session's mark. The mark stays in this process and
/// its children. The key of the hash is known to no client, who could else find another name of the
/// same hash. `None` without randomness.
fn binding_hash(server: &Server, name: &ServerName, policy: Policy) -> Option<u32> {
    let mut hasher = SipHasher24::new_with_keys(mark_key()?, 0);
    hasher.write(&server.namespace);
    hasher.write(policy.bytes());
    hasher.write(name.bytes());
    let [a, b, c, d, ..] = hasher.finish128().as_bytes();
    Some(u32::from_le_bytes([a, b, c, d]))
}

/// A random number, drawn at the first call; `None` without randomness.
fn mark_key() -> Option<u64> {
    /// 0 until it is drawn.
    static KEY: AtomicU64 = AtomicU64::new(0);
    if KEY.load(Relaxed) == 0 {
        let mut drawn = [0; 8];
        if !random_bytes(&mut drawn) {
            return None;
        }
        // The first of several threads wins.
        let _ = KEY.compare_exchange(0, u64::from_le_bytes(drawn), Relaxed, Relaxed);
    }
    Some(KEY.load(Relaxed)).filter(|key| *key != 0)
}

/// The plaintext of a record: when the chain of resumptions began, and the session.
fn plaintext(session: SessionRef<'_>, mark: Mark) -> Result<Zeroizing<Vec<u8>>, Failed> {
    let mut plain = Zeroizing::new(Vec::new());
    plain.try_reserve_exact(USUAL_BYTES).map_err(|_| Failed::NoMemory)?;
    plain.extend_from_slice(&mark.first_authenticated.to_le_bytes());
    session.append_der(&mut plain)?;
    Ok(plain)
}

/// The last second in which other processes may resume a session, and this one too.
pub(in crate::context) fn deadline(session: SessionRef<'_>, mark: Mark) -> i64 {
    let deadline = session.deadline().min(latest_end(mark));
    session.peer_not_after().map_or(deadline, |not_after| deadline.min(not_after))
}

/// The last second in which anything that came of an authentication may be resumed.
pub(in crate::context) fn latest_end(mark: Mark) -> i64 {
    i64::from(mark.first_authenticated) + i64::from(config().max_lifetime)
}

fn unsigned(time: i64) -> u64 {
    u64::try_from(time).unwrap_or(0)
}
