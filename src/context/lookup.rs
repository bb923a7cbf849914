//! A client offers a session: our cache, the application's get_cb, the host store, in this order.
//!
//! `verdict` decides whether a session that was found may resume. The application's get_cb runs
//! here, with no lock held and errno as the application left it.

use super::State;
use super::admission::keeps_side_data;
use super::beginning::Answer;
use super::event::Event;
use super::host::record::{Address, Fetched};
use super::resting::Source;
use super::returning::Offered;
use super::thread::{enter_stock, note_expired};
use super::verdict::{Offer, Verdict};
use crate::openssl::callback::call_get;
use crate::openssl::constants::SSL_SESS_CACHE_UPDATE_TIME;
use crate::openssl::handle::{Ctx, Session, SessionRef};
use crate::openssl::kept::Kept;
use libc::c_int;
use openssl_sys::{
    SSL_SESS_CACHE_NO_INTERNAL_LOOKUP, SSL_SESS_CACHE_NO_INTERNAL_STORE, SSL_SESSION,
};
use sesscache_core::cache::{Cache, Key, Standing};
use sesscache_core::store::{Cause, Use, Way};
use sesscache_core::system::clock::now;
use sesscache_core::system::errno::KeepErrno;
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;

/// The get hook's reply to libssl.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    /// NULL is a miss. Else a session, or the token of an asynchronous lookup.
    pub session: *mut SSL_SESSION,
    /// get_cb's `*copy`: with 0 libssl gets a reference of ours or of the application's.
    pub copy: c_int,
}

impl Reply {
    /// No session.
    pub const MISS: Reply = Reply { session: ptr::null_mut(), copy: 0 };

    fn with(session: Session) -> Reply {
        Reply { session: session.into_raw(), copy: 0 }
    }
}

/// The internal cache's part of a lookup.
enum Cached {
    /// May be resumed.
    Session(Session),
    /// Was removed by another process, and is now out of this one's cache too.
    Removed(Session),
    /// Is there, and may not be resumed here and now.
    Refused,
    /// Nothing that was asked for.
    Nothing,
}

/// get_cb's part of a lookup.
enum Asked {
    /// The lookup is over.
    Over(Reply),
    /// get_cb had nothing that may be resumed.
    Missed {
        /// Whether the store is still asked.
        ask_store: bool,
    },
}

impl State {
    /// A client offers the session `id`.
    pub fn look_up(&self, event: &Event<'_>, id: &[u8]) -> Reply {
        let (key, mut name) = (event.key(id), None);
        let offer = Offer {
            event,
            state: self,
            id,
            key,
            address: self.offered_address(event, key, &mut name),
            single_use: event.is_single_use(),
        };
        let (mut is_removed, mut cause) = (false, Cause::Unknown);
        if !self.has(SSL_SESS_CACHE_NO_INTERNAL_LOOKUP) {
            match self.look_up_cached(&offer) {
                Cached::Session(session) => {
                    let handle = session.as_ref(event.libssl());
                    note_expiry(event, handle);
                    self.note_answer(event, Answer::found(Way::Cache, handle));
                    return Reply::with(session);
                }
                Cached::Nothing => Offered::in_vain(self.cache(), key).note(event, false),
                Cached::Refused => {
                    Offered::in_vain(self.cache(), key).note(event, false);
                    cause = Cause::Refused;
                }
                Cached::Removed(session) => {
                    Offered::NOTHING.note(event, false);
                    self.discard(event.ctx, session.as_ref(event.libssl()));
                    (is_removed, cause) = (true, Cause::Removed);
                }
            }
            self.misses.fetch_add(1, Relaxed);
        }
        match self.ask_application(&offer, is_removed) {
            Asked::Over(reply) => reply,
            Asked::Missed { ask_store: true } => self.fetch(&offer, cause),
            Asked::Missed { ask_store: false } => {
                let cause = if cause == Cause::Unknown { Cause::Removed } else { cause };
                self.note_answer(event, Answer::Missed(cause));
                Reply::MISS
            }
        }
    }

    /// A session in our cache is about to resume.
    fn note_use(&self, offer: &Offer<'_, '_>) {
        let is_ticket = offer.event.is_tls13();
        let kind = if is_ticket { Use::Ticket } else { Use::Visit };
        let came_back = offer.address.as_ref().is_some_and(|address| address.note_use(kind));
        let found = self.cache().zip(offer.key).filter(|_| is_ticket);
        let ticket = found.map(|(cache, key)| cache.key_hash(&key));
        ticket.map_or(Offered::NOTHING, Offered::Ticket).note(offer.event, came_back);
    }

    fn look_up_cached(&self, offer: &Offer<'_, '_>) -> Cached {
        let _errno = KeepErrno::new();
        let libssl = offer.event.libssl();
        let Some((key, cache)) = offer.key.zip(self.cache()) else { return Cached::Nothing };
        // Of several connections that offer a ticket for single use, one gets it.
        let single_use = offer.single_use;
        let found = if single_use {
            self.take(offer, cache, &key).and_then(|kept| State::awake(libssl, &key, kept))
        } else {
            cache.get(&key).and_then(|kept| self.wake(libssl, &key, kept))
        };
        let Some(session) = found else { return Cached::Nothing };
        let handle = session.as_ref(libssl);
        match offer.of_cached(handle) {
            Verdict::Resume if single_use => {
                plant(offer.event.ctx, handle);
                Cached::Session(session)
            }
            Verdict::Resume => {
                self.note_use(offer);
                self.use_again(offer.event, cache, &key, &session);
                Cached::Session(session)
            }
            Verdict::Removed if single_use => Cached::Removed(session),
            Verdict::Removed => {
                let removed = cache.remove_if(&key, |cached| cached.is(&session));
                removed.map_or(Cached::Nothing, |_| Cached::Removed(session))
            }
            Verdict::Miss => {
                if offer.is_asked_for(handle) {
                    return Cached::Refused;
                }
                drop(cache.remove_if(&key, |cached| cached.is(&session)));
                Cached::Nothing
            }
        }
    }

    /// Takes a ticket for single use out. Its successor has its standing.
    fn take(&self, offer: &Offer<'_, '_>, cache: &Cache<Kept>, key: &Key) -> Option<Kept> {
        let standing = cache.spend(cache.key_hash(key));
        let taken = cache.remove(key)?;
        Offered::Settled(standing).note(offer.event, standing != Standing::NEWCOMER);
        Some(taken)
    }

    /// Asks get_cb, if there is one. `is_removed`: the internal cache had the session, and another
    /// process has removed it.
    fn ask_application(&self, offer: &Offer<'_, '_>, is_removed: bool) -> Asked {
        let Some(get_cb) = self.get_cb.get() else {
            return Asked::Missed { ask_store: !is_removed };
        };
        let event = offer.event;
        let answer = call_get(get_cb, event.ssl, offer.id);
        let reply = Reply { session: answer.pointer, copy: answer.copy };
        let Some(session) = answer.session else {
            // A token means that libssl asks again.
            return match reply.session.is_null() {
                true => Asked::Missed { ask_store: !is_removed },
                false => Asked::Over(reply),
            };
        };
        let single_use = offer.single_use;
        let found = {
            let _errno = KeepErrno::new();
            offer.of_application(session)
        };
        if found == Verdict::Resume {
            self.accept(offer, session);
            note_expiry(event, session);
            self.note_answer(event, Answer::found(Way::Callback, session));
            return Asked::Over(reply);
        }
        if found == Verdict::Removed && !is_removed {
            // The application forgets it, too.
            self.discard(event.ctx, session);
        }
        answer.give_back();
        // The verdict has asked the store for a session for single use, unless the store had to
        // forget removals. That is a miss, too.
        let ask_store = !is_removed && !single_use && found != Verdict::Removed;
        Asked::Missed { ask_store }
    }

    /// Fetches the session from the host store, if that is to be asked. Not one that this program has
    /// made, either, if it keeps data with sessions: the record has none.
    /// `cause`: why there was none in the cache.
    fn fetch(&self, offer: &Offer<'_, '_>, cause: Cause) -> Reply {
        if !self.shares() || keeps_side_data(offer.event) {
            self.note_answer(offer.event, Answer::Missed(cause));
            return Reply::MISS;
        }
        let libssl = offer.event.libssl();
        let seen = self.flushed_era();
        let fetched = {
            let _errno = KeepErrno::new();
            offer.fetch()
        };
        let came_back = match &fetched {
            Ok(fetched) => fetched.came_back,
            Err(_) => offer.address.as_ref().is_some_and(Address::had_to_go),
        };
        if came_back {
            Offered::of(true).note(offer.event, true);
        }
        let Fetched { session, is_elsewhere, .. } = match fetched {
            Ok(fetched) => fetched,
            Err(in_store) => {
                let cause = if in_store == Cause::Unknown { cause } else { in_store };
                self.note_answer(offer.event, Answer::Missed(cause));
                return Reply::MISS;
            }
        };
        let way = if is_elsewhere { Way::OtherHost } else { Way::Store };
        self.note_answer(offer.event, Answer::found(way, session.as_ref(libssl)));
        self.accept(offer, session.as_ref(libssl));
        if self.flushed_era() != seen {
            // A flush may have emptied the cache before the session came there.
            let cached = self.cache().zip(offer.key);
            drop(cached.and_then(|(cache, key)| cache.remove_if(&key, |one| one.is(&session))));
        }
        Reply::with(session)
    }

    /// A cached session is used: with SSL_SESS_CACHE_UPDATE_TIME its life begins anew. Not in
    /// TLS 1.3, where the time tells the age of the ticket and each resumption makes a new session
    /// anyway.
    fn use_again(&self, event: &Event<'_>, cache: &Cache<Kept>, key: &Key, session: &Session) {
        if !self.has(SSL_SESS_CACHE_UPDATE_TIME) || event.is_tls13() {
            return;
        }
        // divergence: the manual extends the life of a session by use; stock does not.
        let now = now();
        let handle = session.as_ref(event.libssl());
        if handle.deadline() >= now {
            handle.set_time(now);
            cache.set_deadline(key, handle.deadline(), |cached| cached.is(session));
        }
    }

    /// Takes note of a session from get_cb or from the host store, as lookup_sess_in_cache does of
    /// get_cb's: counts it, and caches it unless the application forbids that.
    fn accept(&self, offer: &Offer<'_, '_>, session: SessionRef<'_>) {
        let Some(key) = session.key() else { return };
        if !session.is_resumable() && !key.id_is_empty() {
            // libssl ignores it.
            return;
        }
        self.cb_hits.fetch_add(1, Relaxed);
        if self.has(SSL_SESS_CACHE_NO_INTERNAL_STORE) {
            return;
        }
        let ctx = offer.event.ctx;
        if offer.single_use {
            plant(ctx, session);
        } else {
            let standing = Offered::on(offer.event).0.spend(self.cache());
            self.add(ctx, key, session, standing);
            self.note_live(offer.event.libssl(), &key, Source::Store);
            self.note_use(offer);
        }
    }
}

/// Takes note of a session that libssl is about to look at: in TLS 1.2 and DTLS it removes an
/// expired one (ssl_get_prev_session).
fn note_expiry(event: &Event<'_>, session: SessionRef<'_>) {
    let expires = !event.is_tls13() && session.deadline() < now();
    note_expired(expires.then_some(session));
}

/// Puts a session into the stock cache, where libssl will look for it in a moment: it resumes
/// a single-use ticket only if its own SSL_CTX_remove_session finds the session. A session that
/// libssl would ignore before that must not be left there.
fn plant(ctx: Ctx<'_>, session: SessionRef<'_>) {
    if session.is_resumable() {
        let _stock = enter_stock();
        ctx.stock_add(session);
    }
}
