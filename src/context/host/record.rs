//! A session as a sealed record: its address in the store, its plaintext, its seal.
//!
//! A record is found by a hash of who the server is (the names of its certificates,
//! SESSCACHE_NAMESPACE), of protocol version and id. Its seal is bound to these, to its deadline, and
//! to the server name that the client asked for (RFC 6066 3). Under another name it does not open.
//! Whether the session may then resume is for `verdict`. Knows nothing of a context's cache or
//! callbacks.

use super::{HostStore, templates};
use crate::compact::Known;
use crate::config::config;
use crate::context::origin::Origin;
use crate::context::policy::{MAX_NAME_LENGTH, ServerName};
use crate::openssl::bytes::Bytes;
use crate::openssl::codec::{Mark, NAME_BITS};
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::failed::Failed;
use crate::openssl::generator::Generator;
use crate::openssl::handle::{Session, SessionRef};
use crate::openssl::identity::Server;
use crate::openssl::kdf::HASH_BYTES;
use crate::openssl::table::Libssl;
use crate::seal::{HEAD_BYTES, Keys, TAG_BYTES};
use sesscache_core::cache::{Key, MAX_ID_LENGTH};
use sesscache_core::store::{
    Cause, EVERYWHERE, Locator, Lookup, MOST_PAYLOAD, Now, Tally, Trust, Unstamped, Use,
};
use sesscache_core::system::clock::{now, now_milliseconds};
use sesscache_core::system::seed::{Purpose, seed};
use sesscache_core::system::wipe::Wiped;
use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;
use std::mem;

/// The purpose of a record's seal, as associated data.
const PURPOSE: &[u8] = b"sesscache session 3";
/// Bytes of an era.
const ERA_BYTES: usize = 6;
/// Most records are no longer. A longer one costs another piece of memory.
const USUAL_RECORD: usize = 256;
/// The purpose, version, deadline, namespace, and a name and an id with their lengths.
const MOST_ASSOCIATED: usize =
    PURPOSE.len() + 2 + 8 + HASH_BYTES + 1 + MAX_NAME_LENGTH + 1 + MAX_ID_LENGTH;

/// The address of one session's record: where it is in the store, and the server name to which it
/// is sealed.
#[derive(Debug)]
pub(in crate::context) struct Address<'a> {
    host: &'a HostStore,
    server: Server,
    key: Key,
    locator: Locator,
    /// `None` if it is longer than a name can be. Then nothing is published or fetched.
    name: Option<&'a ServerName>,
}

/// A session that came out of the store.
#[derive(Debug)]
pub(in crate::context) struct Fetched {
    pub(in crate::context) session: Session,
    pub(in crate::context) origin: Origin,
    /// Whether it was made for a client that had come back.
    pub(in crate::context) came_back: bool,
    /// Whether another host made it.
    pub(in crate::context) is_elsewhere: bool,
}

impl<'a> Address<'a> {
    /// The address of the session of this key, whose id is not empty, under a server name.
    pub(in crate::context) fn new(
        host: &'a HostStore,
        server: Server,
        key: Key,
        name: Option<&'a ServerName>,
    ) -> Address<'a> {
        let locator = locator(&server.namespace, &key);
        Address { host, server, key, locator, name }
    }

    /// Whether a session with this mark was made under the address's server name.
    pub(in crate::context) fn is_named_by(&self, mark: Mark) -> bool {
        self.name_hash() == Some(mark.name)
    }

    /// Who the server is.
    pub(in crate::context) fn server(&self) -> &Server {
        &self.server
    }

    /// The hash of the address's server name, for a mark.
    pub(in crate::context) fn name_hash(&self) -> Option<u32> {
        name_hash(&self.server, self.name?)
    }

    /// Whether no process has removed the session at this address, as far as is known.
    pub(in crate::context) fn trust(&self, session: SessionRef<'_>) -> Trust {
        let began = unsigned(session.time());
        self.host.store.trust(&self.locator, began, Now(now_milliseconds()))
    }

    /// Whether the session at this address may have been flushed: only its record can tell.
    /// `seen`: the era of the last flush that the cache was emptied for, in which the session is.
    pub(in crate::context) fn may_be_flushed(&self, session: SessionRef<'_>, seen: u64) -> bool {
        let store = &self.host.store;
        store.has_flushes() && {
            let (began, deadline) = (unsigned(session.time()), unsigned(session.deadline()));
            let cached = Unstamped { began, deadline, seen };
            store.may_be_flushed(self.scope(), cached, Now(now_milliseconds()))
        }
    }

    fn scope(&self) -> u64 {
        scope(&self.server.namespace)
    }

    /// The era in which a session is made now; 0 while nobody has flushed any.
    fn era(&self) -> u64 {
        if self.host.store.has_flushes() { self.host.store.era(self.scope()) } else { 0 }
    }

    /// Publishes a session: seals it and puts it into the store. A failure is counted and has no
    /// further consequence. `flags`: LOCAL for a session that stays on this host, CAME_BACK for that
    /// of a client that has come back.
    pub(in crate::context) fn publish(
        &self,
        generator: Generator,
        session: SessionRef<'_>,
        origin: &Origin,
        flags: u8,
    ) {
        let store = &self.host.store;
        let Some(name) = self.name else { return };
        let deadline = unsigned(deadline(session, origin.first_authenticated));
        let now = Now(now_milliseconds());
        if deadline < now.0 / 1000 {
            return;
        }
        let mut text = Wiped::default();
        if self.put_text(session, origin, name, deadline, &mut text).is_err() {
            return;
        }
        if text.len() + TAG_BYTES > MOST_PAYLOAD {
            return store.tally(Tally::Oversize);
        }
        let Some(associated) = self.associated(name, deadline) else { return };
        let seal = |keys: &Keys| keys.seal(generator, associated.bytes(), &mut text).ok();
        if self.host.keys.with_keys(generator.libssl(), seal).is_some() {
            // It is no secret any more.
            let sealed = mem::take(&mut *text);
            // The store counts its own failures.
            let _ = store.put(&self.locator, deadline, now, flags, &sealed);
            self.host.tell_keys();
        }
    }

    /// Fetches the session from the store.
    ///
    /// # Errors
    /// The reason why there is none.
    pub(in crate::context) fn fetch(&self, libssl: &'static Libssl) -> Result<Fetched, Cause> {
        let name = self.name.ok_or(Cause::Unknown)?;
        let _errors = KeepErrors::new(libssl);
        let mut record = Wiped::default();
        let now = Now(now_milliseconds());
        let found = self.host.store.get(&self.locator, now, &mut record);
        let (deadline, came_back, is_elsewhere) = match found {
            Lookup::Found { deadline, came_back, is_elsewhere } => {
                (deadline, came_back, is_elsewhere)
            }
            Lookup::Removed => return Err(Cause::Removed),
            Lookup::Missing | Lookup::Busy => return Err(Cause::Unknown),
        };
        let (fetched, era) = self.open(libssl, name, deadline, &mut record).map_err(|tally| {
            self.tally(tally);
            Cause::Refused
        })?;
        let store = &self.host.store;
        if store.has_flushes() && store.is_flushed(self.scope(), era, deadline) {
            store.count_flushed(&self.locator);
            return Err(Cause::Removed);
        }
        Ok(Fetched { came_back, is_elsewhere, ..fetched })
    }

    /// Takes the session out of the store, whatever name it is sealed to. Of several processes one
    /// finds it.
    pub(in crate::context) fn take(&self) -> bool {
        let mut sealed = Vec::new();
        let taken = self.host.store.take(&self.locator, Now(now_milliseconds()), &mut sealed);
        matches!(taken, Lookup::Found { .. })
    }

    /// The session was fetched, and libssl gets it to resume.
    pub(in crate::context) fn count_hit(&self) {
        self.host.store.count_hit(&self.locator);
    }

    /// The session resumes, wherever it was found: the store keeps it longer, or a ticket less long.
    /// Returns whether its client has come back, as far as the store knows.
    pub(in crate::context) fn note_use(&self, kind: Use) -> bool {
        self.host.store.note_use(&self.locator, kind)
    }

    /// Whether the session at this address had to make room a while ago, as far as is known.
    pub(in crate::context) fn had_to_go(&self) -> bool {
        self.host.store.had_to_go(&self.locator)
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
        let was_shared = match mark {
            Some(mark) => !mark.is_private,
            None => may_be_unmarked && store.may_have(&self.locator),
        };
        // Its own time may be over while the record's is not.
        if was_shared && (deadline >= now.0 / 1000 || store.may_have(&self.locator)) {
            store.remove(&self.locator, deadline, now);
        }
    }

    /// The session of a sealed record, and the era in which it was made.
    fn open(
        &self,
        libssl: &'static Libssl,
        name: &ServerName,
        deadline: u64,
        record: &mut Wiped,
    ) -> Result<(Fetched, u64), Tally> {
        let associated = self.associated(name, deadline).ok_or(Tally::Undecryptable)?;
        let plain = self
            .host
            .keys
            .with_keys(libssl, |keys| keys.open(libssl, associated.bytes(), record).ok())
            .ok_or(Tally::Undecryptable)?;
        let (origin, rest) = plain.split_first_chunk().ok_or(Tally::Mismatched)?;
        let origin = Origin::from_bytes(origin).ok_or(Tally::Mismatched)?;
        let (era, short) = split_era(&origin, rest).ok_or(Tally::Mismatched)?;
        let mut id = [0; MAX_ID_LENGTH];
        let known = self.known(&mut id, name, &origin, deadline);
        let session = templates::decode(libssl, short, &known).map_err(|_| Tally::Mismatched)?;
        let found = session.as_ref(libssl);
        if found.key() != Some(self.key) {
            return Err(Tally::Mismatched);
        }
        // A flush here goes by the time at which a cached session began.
        let now = now();
        if found.time() > now {
            found.set_time(now);
        }
        let deadline = i64::try_from(deadline).map_err(|_| Tally::Mismatched)?;
        if found.deadline() > deadline {
            found.set_deadline(deadline);
        }
        Ok((Fetched { session, origin, came_back: false, is_elsewhere: false }, era))
    }

    /// Puts down a record's plaintext, behind room for the seal's head: the session's origin, the era if
    /// there was a flush, and the session without what its address says.
    #[expect(clippy::too_many_arguments, reason = "a session, what is said of it, and the place")]
    fn put_text(
        &self,
        session: SessionRef<'_>,
        origin: &Origin,
        name: &ServerName,
        deadline: u64,
        text: &mut Wiped,
    ) -> Result<(), Failed> {
        let era = self.era();
        text.reserve(USUAL_RECORD).ok_or(Failed::NoMemory)?;
        text.extend_from_slice(&[0; HEAD_BYTES]);
        text.extend_from_slice(&origin.with_era(era != 0).to_bytes());
        if let Some(era) = era.to_le_bytes().get(..ERA_BYTES).filter(|_| era != 0) {
            text.extend_from_slice(era);
        }
        let mut id = [0; MAX_ID_LENGTH];
        templates::append(session, &self.known(&mut id, name, origin, deadline), text)
    }

    /// The parts of the session that are known without its record.
    fn known<'b>(
        &self,
        id: &'b mut [u8; MAX_ID_LENGTH],
        name: &'b ServerName,
        origin: &Origin,
        deadline: u64,
    ) -> Known<'b> {
        let id = self.key.id(id);
        let (version, began) = (self.key.version(), origin.first_authenticated);
        Known { version, id, name: name.bytes(), began, deadline }
    }

    /// The associated data of a record: whatever its seal is bound to beside its content. `None` if an id
    /// is too long, which none is.
    fn associated(&self, name: &ServerName, deadline: u64) -> Option<Bytes<MOST_ASSOCIATED>> {
        let mut id = [0; MAX_ID_LENGTH];
        let id = self.key.id(&mut id);
        let mut all = Bytes::NONE;
        all.append(PURPOSE)?;
        all.append(&self.key.version().to_le_bytes())?;
        all.append(&deadline.to_le_bytes())?;
        all.append(&self.server.namespace)?;
        all.append(&name.length_byte())?;
        all.append(name.bytes())?;
        all.append(&[u8::try_from(id.len()).ok()?])?;
        all.append(id)?;
        Some(all)
    }
}

fn hasher(namespace: &[u8; HASH_BYTES]) -> SipHasher24 {
    let key = namespace.first_chunk().copied().unwrap_or_default();
    SipHasher24::new_with_key(&key)
}

/// The scope of flushes in a namespace.
pub(in crate::context) fn scope(namespace: &[u8; HASH_BYTES]) -> u64 {
    let mut hasher = hasher(namespace);
    hasher.write(b"sesscache flush 1");
    // 0 is no scope, and the highest is every one.
    hasher.finish128().h1.clamp(1, EVERYWHERE - 1)
}

/// The place of a session in the store.
pub(in crate::context) fn locator(namespace: &[u8; HASH_BYTES], key: &Key) -> Locator {
    let mut hasher = hasher(namespace);
    let mut id = [0; MAX_ID_LENGTH];
    hasher.write_u16(key.version());
    hasher.write(key.id(&mut id));
    Locator(hasher.finish128().as_bytes())
}

/// A hash of a server and a server name, for a session's mark. The mark stays in this process and its children.
/// The key of the hash is known to no client, who could else find another name of the same hash.
/// `None` without randomness.
pub(in crate::context) fn name_hash(server: &Server, name: &ServerName) -> Option<u32> {
    let [first, second] = seed(Purpose::Marks)?;
    let mut hasher = SipHasher13::new_with_keys(first, second);
    hasher.write(&server.namespace);
    hasher.write(name.bytes());
    u32::try_from(hasher.finish() & ((1 << NAME_BITS) - 1)).ok()
}

/// The era that is before a session's bytes, and these; 0 if it has none.
fn split_era<'a>(origin: &Origin, bytes: &'a [u8]) -> Option<(u64, &'a [u8])> {
    if !origin.has_era() {
        return Some((0, bytes));
    }
    let (era, rest) = bytes.split_first_chunk::<ERA_BYTES>()?;
    let era = era.iter().rev().fold(0, |era, byte| era << 8 | u64::from(*byte));
    Some((era, rest))
}

/// The last second in which other processes may resume a session.
pub(in crate::context) fn deadline(session: SessionRef<'_>, first_authenticated: u32) -> i64 {
    let deadline = session.deadline().min(latest_end(first_authenticated));
    session.peer_not_after().map_or(deadline, |not_after| deadline.min(not_after))
}

/// The last second in which anything that came of an authentication may be resumed.
pub(in crate::context) fn latest_end(first_authenticated: u32) -> i64 {
    i64::from(first_authenticated) + i64::from(config().max_lifetime)
}

fn unsigned(time: i64) -> u64 {
    u64::try_from(time).unwrap_or(0)
}
