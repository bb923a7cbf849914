//! A client offers a session: our cache, the application's get_cb, the host store, in this order.
//!
//! The application's get_cb runs here, with no lock held and errno as the application left it.

use super::State;
use super::names::Current;
use super::session::{in_stock, is_single_use, note_expiry};
use super::sharing::{Place, Share, Standing};
use crate::openssl::callback::call_get;
use crate::openssl::constants::SSL_SESS_CACHE_UPDATE_TIME;
use crate::openssl::handle::{Ctx, Session, SessionRef, Ssl};
use crate::openssl::next::Next;
use libc::c_int;
use openssl_sys::{
    SSL_SESS_CACHE_NO_INTERNAL_LOOKUP, SSL_SESS_CACHE_NO_INTERNAL_STORE, SSL_SESSION,
    TLS1_3_VERSION,
};
use sesscache_core::cache::{Cache, Key};
use sesscache_core::system::clock::now;
use sesscache_core::system::errno::KeepErrno;
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;

/// What the internal cache has of an offered session.
enum Cached {
    Session(Session),
    /// It was removed by another process, and is now out of this one's cache too.
    Removed(Session),
    Nothing,
}

impl State {
    /// A client offers a session: the one for the engine and get_cb's `*copy`, where 0 means that
    /// the engine gets our reference. NULL is a miss.
    pub fn look_up(
        &self,
        next: &Next,
        ctx: Ctx<'_>,
        ssl: Ssl<'_>,
        id: &[u8],
        current: &Current<'_>,
    ) -> (*mut SSL_SESSION, c_int) {
        let share = self.share(next, ctx);
        let place = share.as_ref().and_then(|share| self.offered(next, share, ssl, id, current));
        let mut is_removed = false;
        if !self.has(SSL_SESS_CACHE_NO_INTERNAL_LOOKUP) {
            match self.look_up_cached(next, ctx, ssl, id, share.as_ref(), place.as_ref()) {
                Cached::Session(session) => {
                    note_expiry(next, ssl, session.as_ref());
                    return (session.into_raw(), 0);
                }
                Cached::Nothing => {}
                Cached::Removed(session) => {
                    self.discard(next, ctx, session.as_ref());
                    is_removed = true;
                }
            }
            self.misses.fetch_add(1, Relaxed);
        }
        if let Some(get_cb) = self.get_cb.get() {
            let found = call_get(next, get_cb, ssl, id);
            let single_use = is_single_use(next, ctx, ssl);
            if let Some(session) = found.session {
                let is_taken = || place.as_ref().is_some_and(|place| place.take(next, ssl));
                let standing = share.as_ref().map_or(Standing::Good, |share| {
                    let _errno = KeepErrno::new();
                    match share.standing(next, ssl, id, session) {
                        Standing::Good if single_use && !is_taken() => Standing::NotHere,
                        standing => standing,
                    }
                });
                if standing == Standing::Good {
                    self.accept(next, ctx, ssl, session);
                    note_expiry(next, ssl, session);
                    return (found.pointer, found.copy);
                }
                if standing == Standing::Removed && !is_removed {
                    // The application forgets it, too.
                    self.discard(next, ctx, session);
                }
                found.give_back();
                // What is for single use was there to be taken, or is not.
                is_removed |= single_use || standing == Standing::Removed;
            } else if !found.pointer.is_null() {
                // A token, to be asked again.
                return (found.pointer, found.copy);
            }
        }
        (self.shared(next, ctx, ssl, place, is_removed), 0)
    }

    /// What the host store has, for the engine to take; NULL if it has nothing or is not asked.
    fn shared(
        &self,
        next: &Next,
        ctx: Ctx<'_>,
        ssl: Ssl<'_>,
        place: Option<Place<'_>>,
        is_removed: bool,
    ) -> *mut SSL_SESSION {
        let place = place.filter(|_| !is_removed && self.shares());
        let fetched = place.and_then(|place| {
            let _errno = KeepErrno::new();
            place.fetch(next, ssl, is_single_use(next, ctx, ssl))
        });
        if let Some(session) = &fetched {
            self.accept(next, ctx, ssl, session.as_ref());
        }
        fetched.map_or(ptr::null_mut(), Session::into_raw)
    }

    fn look_up_cached(
        &self,
        next: &Next,
        ctx: Ctx<'_>,
        ssl: Ssl<'_>,
        id: &[u8],
        share: Option<&Share<'_>>,
        place: Option<&Place<'_>>,
    ) -> Cached {
        let _errno = KeepErrno::new();
        let Some((key, cache)) = ssl.key(next, id).zip(self.cache()) else {
            return Cached::Nothing;
        };
        // The engine ignores a marked session (it may be in another context's cache too, and was
        // removed there), and one whose id the application changed is not what was asked for: they
        // must not hide what get_cb has.
        let is_good = |session: &Session| {
            let session = session.as_ref();
            session.key(next) == Some(key) && (key.id_is_empty() || session.is_resumable(next))
        };
        // Where it cannot be told for whom a shared session is, it is not resumed.
        let is_shared = |session: Session| session.as_ref().mark(next).is_some();
        if place.is_none() && self.host().is_some() && cache.get(&key).is_some_and(is_shared) {
            return Cached::Nothing;
        }
        if is_single_use(next, ctx, ssl) {
            // Of several connections that offer the ticket, one gets it: of this process here, of
            // all processes in the store.
            return match cache.remove(&key).filter(is_good) {
                Some(session) if place.is_some_and(|p| !p.take(next, ssl)) => {
                    Cached::Removed(session)
                }
                Some(session) => {
                    plant(next, ctx, session.as_ref());
                    Cached::Session(session)
                }
                None => Cached::Nothing,
            };
        }
        let Some(session) = cache.get(&key) else { return Cached::Nothing };
        if !is_good(&session) {
            drop(cache.remove_if(&key, |cached| *cached == session));
            return Cached::Nothing;
        }
        let standing = match (place, share) {
            (Some(place), _) => place.standing(next, session.as_ref()),
            (None, Some(share)) => share.standing(next, ssl, id, session.as_ref()),
            (None, None) => Standing::Good,
        };
        match standing {
            Standing::Good => {}
            Standing::NotHere => return Cached::Nothing,
            Standing::Removed => {
                let removed = cache.remove_if(&key, |cached| *cached == session);
                return removed.map_or(Cached::Nothing, Cached::Removed);
            }
        }
        self.use_again(next, ssl, cache, &key, &session);
        Cached::Session(session)
    }

    /// A cached session is used: with SSL_SESS_CACHE_UPDATE_TIME its life begins anew. Not in
    /// TLS 1.3, where the time tells the age of the ticket and each resumption makes a new session
    /// anyway.
    fn use_again(
        &self,
        next: &Next,
        ssl: Ssl<'_>,
        cache: &Cache<Session>,
        key: &Key,
        session: &Session,
    ) {
        if !self.has(SSL_SESS_CACHE_UPDATE_TIME) || ssl.version(next) == TLS1_3_VERSION {
            return;
        }
        // divergence: the manual extends the life of a session by use; stock does not.
        let now = now();
        if session.as_ref().deadline(next) >= now {
            session.as_ref().set_time(next, now);
            let deadline = session.as_ref().deadline(next);
            cache.set_deadline(key, deadline, |cached| cached == session);
        }
    }

    /// Takes note of what get_cb or the host store had, as lookup_sess_in_cache does of get_cb's:
    /// counts it, and caches it unless the application forbids that.
    fn accept(&self, next: &Next, ctx: Ctx<'_>, ssl: Ssl<'_>, session: SessionRef<'_>) {
        let Some(key) = session.key(next) else { return };
        if !session.is_resumable(next) && !key.id_is_empty() {
            // The engine ignores it.
            return;
        }
        self.cb_hits.fetch_add(1, Relaxed);
        if self.has(SSL_SESS_CACHE_NO_INTERNAL_STORE) {
            return;
        }
        if is_single_use(next, ctx, ssl) {
            plant(next, ctx, session);
        } else {
            self.add(next, ctx, key, session);
        }
    }
}

/// Puts a session into the stock cache, where the engine will look for it in a moment: it resumes
/// a single-use ticket only if its own SSL_CTX_remove_session finds the session. One that the
/// engine would ignore before that must not be left there.
fn plant(next: &Next, ctx: Ctx<'_>, session: SessionRef<'_>) {
    if session.is_resumable(next) {
        in_stock(|| ctx.stock_add(next, session));
    }
}
