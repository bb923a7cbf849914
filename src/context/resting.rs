//! Sessions at rest: a context with a store keeps few of its sessions live, and the others packed.
//!
//! An SSL_SESSION is a thousand bytes, of which a tenth tell it from others. The *hot set* are the
//! sessions that became live last: new ones, and those for which a client came back. A session that
//! leaves the hot set is packed, and made again when it is offered. One that came out of the store is let
//! go, because the store has it.
//!
//! The application gets another object then, with the same content. Where it could tell, all stay live:
//! see [`State::may_pack`]. The hot set is a ring of names, without locks.

use super::State;
use super::host::packing::{pack, unpack};
use crate::config::config;
use crate::openssl::boxed;
use crate::openssl::constants::SSL_SESS_CACHE_UPDATE_TIME;
use crate::openssl::handle::{Session, SessionRef};
use crate::openssl::kept::{Form, Kept};
use crate::openssl::side_data;
use crate::openssl::table::Libssl;
use once_cell::race::OnceBox;
use sesscache_core::cache::{Cache, Key, KeyHash};
use sesscache_core::store::Tally;
use sesscache_core::system::errno::KeepErrno;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};

/// Where a session has come from that is live now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// It was made here, perhaps a while ago.
    Here,
    /// It was fetched from the store.
    Store,
}

/// In a name of the ring: the session came out of the store.
const FROM_STORE: u64 = 1 << 63;

/// The hot set of a context. Most contexts never have one.
#[derive(Debug, Default)]
pub(super) struct HotSet(OnceBox<Ring>);

#[derive(Debug)]
struct Ring {
    /// Names of sessions, 0 in a free place.
    names: Vec<AtomicU64>,
    hand: AtomicUsize,
}

impl Ring {
    /// `None` without memory.
    fn new(size: usize) -> Option<Box<Ring>> {
        let mut names = Vec::new();
        names.try_reserve_exact(size).ok()?;
        names.resize_with(size, AtomicU64::default);
        boxed::try_new(Ring { names, hand: AtomicUsize::new(0) })
    }
}

impl HotSet {
    /// Takes a session in. Returns the one that leaves, if there is one.
    fn take_in(&self, size: usize, name: KeyHash, source: Source) -> Option<(KeyHash, Source)> {
        let ring = match self.0.get() {
            Some(ring) => ring,
            None => {
                // The first of several threads wins.
                let _ = self.0.set(Ring::new(size)?);
                self.0.get()?
            }
        };
        let at = ring.hand.fetch_add(1, Relaxed) % ring.names.len().max(1);
        let flag = if source == Source::Store { FROM_STORE } else { 0 };
        let left = ring.names.get(at)?.swap(name.number() | flag, AcqRel);
        let source = if left & FROM_STORE != 0 { Source::Store } else { Source::Here };
        KeyHash::of(left & !FROM_STORE).map(|name| (name, source))
    }
}

impl State {
    /// The size of the hot set; `None` if each session that is cached stays live: because there is no store,
    /// because the operator wants that, or because the application could tell one object from another.
    ///
    /// | it could tell by | because |
    /// |---|---|
    /// | new_cb, get_cb | it may keep the object and look for changes |
    /// | remove_cb | it may know the object by its address |
    /// | SSL_CTX_add_session, SSL_CTX_sessions | the same |
    /// | data at sessions: an index, or SSL_SESSION_set_app_data | a new object has none |
    fn may_pack(&self, libssl: &'static Libssl) -> Option<usize> {
        let size = config().live_sessions.filter(|_| self.host_store().is_some())?;
        let is_seen = self.new_cb.get().is_some()
            || self.remove_cb.get().is_some()
            || self.get_cb.get().is_some()
            || self.is_known.load(Acquire)
            || side_data::is_kept(libssl)
            || side_data::is_at_sessions();
        // A session that has just been made may be in use, so one place is the least.
        (!is_seen).then_some(size.max(1))
    }

    /// A session that is cached is live from now on. Another one may have to rest.
    pub(super) fn note_live(&self, libssl: &'static Libssl, key: &Key, source: Source) {
        let Some((size, cache)) = self.may_pack(libssl).zip(self.cache()) else { return };
        let _errno = KeepErrno::new();
        let leaves = self.hot.take_in(size, cache.key_hash(key), source);
        if let Some((name, source)) = leaves {
            self.put_to_rest(libssl, cache, name, source);
        }
    }

    /// Packs the session of this name, unless it is not there, or cannot be packed.
    fn put_to_rest(
        &self,
        libssl: &'static Libssl,
        cache: &Cache<Kept>,
        name: KeyHash,
        source: Source,
    ) {
        let Some(kept) = cache.peek(name) else { return };
        let Form::Live(session) = kept.clone().into_form() else { return };
        let handle = session.as_ref(libssl);
        if handle.has_app_data() {
            return side_data::note_data();
        }
        if source == Source::Store && self.is_as_recorded(handle) {
            drop(cache.remove_named(name, &kept));
            return self.tally(Tally::Packed);
        }
        let Some(packed) = pack(handle) else { return self.tally(Tally::KeptLive) };
        // Asked again under the lock: see `State::wake_all`.
        let may_go = || self.may_pack(libssl).is_some();
        if cache.replace(name, &kept, packed.into(), may_go).is_ok() {
            self.tally(Tally::Packed);
        }
    }

    /// Whether a session that came out of the store ends when its record does. Use may have extended its life
    /// here, or the application has ended it early: then the record is gone.
    fn is_as_recorded(&self, session: SessionRef<'_>) -> bool {
        !self.has(SSL_SESS_CACHE_UPDATE_TIME) && session.mark().is_some_and(|mark| !mark.is_private)
    }

    fn tally(&self, tally: Tally) {
        if let Some(host) = self.host_store() {
            host.store.tally(tally);
        }
    }

    /// A session of the cache as an object, which stays in the cache if it is there still. `None` if it was
    /// removed meanwhile, or without memory.
    pub(super) fn wake(&self, libssl: &'static Libssl, key: &Key, kept: Kept) -> Option<Session> {
        let packed = match kept.into_form() {
            Form::Live(session) => return Some(session),
            Form::Packed(packed) => packed,
        };
        let (cache, session) = (self.cache()?, unpack(libssl, key, &packed)?);
        let (before, live) = (Kept::from(packed), session.as_ref(libssl).to_owned().ok()?);
        if cache.replace(cache.key_hash(key), &before, live.into(), || true).is_ok() {
            self.note_live(libssl, key, Source::Here);
            return Some(session);
        }
        // Another thread was faster.
        match cache.get(key)?.into_form() {
            Form::Live(other) => Some(other),
            Form::Packed(_) => Some(session),
        }
    }

    /// A session that was in the cache and is there no more, as an object.
    pub(super) fn awake(libssl: &'static Libssl, key: &Key, kept: Kept) -> Option<Session> {
        match kept.into_form() {
            Form::Live(session) => Some(session),
            Form::Packed(packed) => unpack(libssl, key, &packed),
        }
    }

    /// Whether the session of this key rests.
    pub(super) fn is_at_rest(&self, key: &Key) -> bool {
        let found = self.cache().and_then(|cache| cache.peek(cache.key_hash(key)));
        found.is_some_and(|kept| kept.is_packed())
    }

    /// The application knows sessions of the cache by their objects from now on.
    pub(super) fn note_known(&self) {
        self.is_known.store(true, Release);
    }

    /// Makes all sessions of the cache live, because the application is about to see them. None rests
    /// from then on: whoever has packed one meanwhile asks under the lock whether it may.
    pub(super) fn wake_all(&self, libssl: &'static Libssl) {
        let Some(cache) = self.cache() else { return };
        let _errno = KeepErrno::new();
        for (key, kept) in cache.snapshot(Kept::is_packed) {
            let name = cache.key_hash(&key);
            match State::awake(libssl, &key, kept.clone()) {
                Some(session) => drop(cache.replace(name, &kept, session.into(), || true)),
                // Without memory: nobody could be told of its end.
                None => drop(cache.remove_named(name, &kept)),
            }
        }
    }
}
