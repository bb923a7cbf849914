//! The life of a session: what happens when the engine or the application says new or remove.
//! Lookups are in `lookup`.
//!
//! The rules are those of docs/CONTRACT.md. The application's callbacks run here, with
//! no lock held and errno as the application left it.

use super::State;
use super::names::Current;
use crate::config::{NewCbZero, UncleanClose, config};
use crate::openssl::callback::{call_new, call_remove};
use crate::openssl::constants::{SSL_OP_NO_ANTI_REPLAY, SSL_SESS_CACHE_UPDATE_TIME};
use crate::openssl::handle::{Ctx, Session, SessionRef, Ssl};
use crate::openssl::next::Next;
use libc::c_int;
use openssl_sys::{
    SSL_OP_NO_TICKET, SSL_SESS_CACHE_NO_AUTO_CLEAR, SSL_SESS_CACHE_NO_INTERNAL_STORE, SSL_SESSION,
    TLS1_3_VERSION,
};
use sesscache_core::cache::Key;
use sesscache_core::system::clock::now;
use sesscache_core::system::errno::KeepErrno;
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// How often a session's lifetime was shortened while it may have been cached.
static SHORTENED: AtomicU64 = AtomicU64::new(0);

/// Says that a session's deadline came nearer: the order of expiry may not know.
///
/// The wheel notices a deadline that moved away when it comes to the old one. One that came nearer
/// is looked for by the next SSL_CTX_flush_sessions(), which then asks every session. Nothing
/// depends on it before: a lookup sees the session's own times.
pub fn lifetime_shortened() {
    SHORTENED.fetch_add(1, Release);
}

/// [`lifetime_shortened`] calls so far.
pub(super) fn shortened() -> u64 {
    SHORTENED.load(Acquire)
}

thread_local! {
    /// Whether this thread is in a stock function on our behalf, which runs no callback of the
    /// application: our remove hook, if stock calls it, has nothing to do then, and when Debian's
    /// libssl asks our SSL_CTX_ctrl for the number and size of its own cache, with its lock held,
    /// stock must answer.
    static IN_STOCK: Cell<bool> = const { Cell::new(false) };

    /// Whether this thread runs remove_cb for a session that had to make room: if that adds a
    /// session, it must not push out another one, and so on without end.
    static EVICTING: Cell<bool> = const { Cell::new(false) };

    /// The session that this thread has given the engine though it has expired, or NULL: the engine
    /// removes it at once, which is no reason to remove it everywhere.
    static EXPIRED: Cell<*mut SSL_SESSION> = const { Cell::new(ptr::null_mut()) };

    /// The session of the connection that this thread is freeing or clearing, or NULL.
    static CLOSING: Cell<*mut SSL_SESSION> = const { Cell::new(ptr::null_mut()) };
}

/// Takes note of a session that the engine is about to look at: in TLS 1.2 and DTLS it removes one
/// that has expired (ssl_get_prev_session).
pub(super) fn note_expiry(next: &Next, ssl: Ssl<'_>, session: SessionRef<'_>) {
    let expires = ssl.version(next) != TLS1_3_VERSION && session.deadline(next) < now();
    EXPIRED.set(if expires { session.as_ptr() } else { ptr::null_mut() });
}

/// Runs SSL_free(3) or one of its like, in which the engine removes the session of a connection that
/// was not shut down.
pub fn while_closing<T>(next: &Next, ssl: Ssl<'_>, close: impl FnOnce() -> T) -> T {
    let before = CLOSING.replace(ssl.session(next).map_or(ptr::null_mut(), SessionRef::as_ptr));
    let result = close();
    CLOSING.set(before);
    result
}

/// Whether stock was called by us, see [`IN_STOCK`].
#[inline]
pub fn is_in_stock() -> bool {
    IN_STOCK.get()
}

pub(super) fn in_stock<T>(call: impl FnOnce() -> T) -> T {
    let before = IN_STOCK.replace(true);
    let result = call();
    IN_STOCK.set(before);
    result
}

/// Whether the engine will insist on removing the session from its own cache before it resumes it
/// (tls_parse_ctos_psk): early data, each ticket good for one use.
pub(super) fn is_single_use(next: &Next, ctx: Ctx<'_>, ssl: Ssl<'_>) -> bool {
    ssl.version(next) == TLS1_3_VERSION
        && ssl.max_early_data(next) > 0
        && ssl.options(next, ctx) & SSL_OP_NO_ANTI_REPLAY == 0
}

/// Whether a session of this connection is a TLS 1.3 ticket that carries all of it: it is not
/// looked up by id, early data apart.
pub(super) fn is_stateless(next: &Next, ctx: Ctx<'_>, ssl: Ssl<'_>) -> bool {
    ssl.version(next) == TLS1_3_VERSION && ssl.options(next, ctx) & SSL_OP_NO_TICKET == 0
}

impl State {
    /// The engine negotiated a session. Returns what new_cb returned: 0 if the engine shall drop
    /// the reference it took for the application.
    pub fn new_session(
        &self,
        next: &Next,
        ctx: Ctx<'_>,
        ssl: Ssl<'_>,
        session: SessionRef<'_>,
        current: &Current<'_>,
    ) -> c_int {
        // Before the callback: HAProxy empties the id while its new_cb runs.
        let key = session.key(next);
        if let Some(key) = key {
            // Before another thread can find the session: ex_data is not to change under it.
            let _errno = KeepErrno::new();
            self.mark_new(next, ctx, ssl, session, key, current);
        }
        let cached = key.filter(|_| self.stores(next, ctx, ssl));
        if let Some(key) = cached {
            self.add(next, ctx, key, session);
        }
        let kept = self.offer(next, ssl, session, cached);
        if let Some(key) = key {
            // What new_cb returned is about the internal cache; the store is the operator's.
            let _errno = KeepErrno::new();
            self.share_new(next, ctx, ssl, session, key, current);
        }
        if !self.has(SSL_SESS_CACHE_NO_AUTO_CLEAR) {
            self.expire_some(next, ctx);
        }
        kept
    }

    /// ssl_update_cache's rule: a stateless TLS 1.3 ticket is not looked up by id, so it is cached
    /// only if someone wants to hear of its end or early data must be accepted once.
    fn stores(&self, next: &Next, ctx: Ctx<'_>, ssl: Ssl<'_>) -> bool {
        !self.has(SSL_SESS_CACHE_NO_INTERNAL_STORE)
            && (!is_stateless(next, ctx, ssl)
                || !ssl.is_server(next)
                || is_single_use(next, ctx, ssl)
                || self.remove_cb.get().is_some())
    }

    /// Calls new_cb; its 0 takes the session out of the cache again. `key` is the session's if it
    /// was cached.
    fn offer(&self, next: &Next, ssl: Ssl<'_>, session: SessionRef<'_>, key: Option<Key>) -> c_int {
        let Some(new_cb) = self.new_cb.get() else { return 0 };
        // Postfix frees the session and returns 1: it must outlive the call for us.
        let Some(held) = session.to_owned(next) else { return 0 };
        let kept = call_new(new_cb, ssl, session);
        let _errno = KeepErrno::new();
        if let (Some(key), Some(cache)) = (key, self.cache()) {
            let is_it = |cached: &Session| *cached == held;
            if kept == 0 && self.new_cb_zero == NewCbZero::Remove {
                drop(cache.remove_if(&key, is_it));
            } else {
                // Apache, Squid and ProFTPD set the timeout in new_cb.
                cache.set_deadline(&key, held.as_ref().deadline(next), is_it);
            }
        }
        kept
    }

    /// Caches a session; what has to make room gets its remove_cb. True if it was not there.
    pub(super) fn add(&self, next: &Next, ctx: Ctx<'_>, key: Key, session: SessionRef<'_>) -> bool {
        let Some(cache) = self.cache() else { return false };
        let capacity = cache.capacity();
        if EVICTING.get() && capacity != 0 && cache.len() >= capacity && !cache.contains(&key) {
            return false;
        }
        let Some(owned) = session.to_owned(next) else { return false };
        // After the size was lowered; before the add, so that the new one is not the victim.
        while let Some(victim) = cache.evict_excess() {
            self.evicted(ctx, &victim);
        }
        let added = {
            let _errno = KeepErrno::new();
            let now = now();
            if self.has(SSL_SESS_CACHE_UPDATE_TIME) {
                session.set_time(next, now);
            }
            cache.add(key, owned, session.deadline(next), now)
        };
        if let Some(victim) = added.evicted {
            self.evicted(ctx, &victim);
        }
        added.new
    }

    /// A session had to make room. It is not marked: a connection may hold it (openssl#18690).
    fn evicted(&self, ctx: Ctx<'_>, victim: &Session) {
        self.cache_full.fetch_add(1, Relaxed);
        let before = EVICTING.replace(true);
        self.tell_removed(ctx, victim.as_ref());
        EVICTING.set(before);
    }

    fn tell_removed(&self, ctx: Ctx<'_>, session: SessionRef<'_>) {
        if let Some(remove_cb) = self.remove_cb.get() {
            call_remove(remove_cb, ctx, session);
        }
    }

    /// SSL_CTX_add_session(3): the application's own wish, whatever the mode says.
    pub fn add_session(&self, next: &Next, ctx: Ctx<'_>, session: SessionRef<'_>) -> bool {
        session.key(next).is_some_and(|key| self.add(next, ctx, key, session))
    }

    /// SSL_CTX_remove_session(3), the application's or Debian's engine's.
    pub fn remove_session(&self, next: &Next, ctx: Ctx<'_>, session: SessionRef<'_>) -> bool {
        let Some(key) = session.key(next).filter(|key| !key.id_is_empty()) else { return false };
        let taken = {
            let _errno = KeepErrno::new();
            self.cache().and_then(|cache| cache.remove(&key))
        };
        self.forget_everywhere(next, ctx, session);
        // What was planted there counts as found, see `plant`.
        let was_planted = self.discard(next, ctx, session);
        taken.is_some() || was_planted
    }

    /// The engine has removed a session, or would have if it were in the stock cache.
    pub fn removed(&self, next: &Next, ctx: Ctx<'_>, session: SessionRef<'_>) {
        let taken = {
            let _errno = KeepErrno::new();
            let key = session.key(next);
            self.cache().zip(key).and_then(|(cache, key)| cache.remove(&key))
        };
        self.forget_everywhere(next, ctx, session);
        self.tell_removed(ctx, session);
        // Not before remove_cb has seen it.
        drop(taken);
    }

    /// Removes a session from the host store, unless it expired in this process, or a connection was
    /// closed without a word: that is no reason (RFC 5246 7.2.1), and anybody can cause it.
    fn forget_everywhere(&self, next: &Next, ctx: Ctx<'_>, session: SessionRef<'_>) {
        // What was noted may be another session's by now: the engine does not always get that far.
        let is_noted = EXPIRED.replace(ptr::null_mut()) == session.as_ptr();
        let expires = is_noted && session.deadline(next) < now();
        let closes = CLOSING.get() == session.as_ptr();
        if expires {
            return;
        }
        if self.host().is_some() && !(closes && config().unclean_close == UncleanClose::Keep) {
            let _errno = KeepErrno::new();
            self.unshare(next, ctx, session);
        }
    }

    /// SSL_has_matching_session_id(3).
    #[inline]
    pub fn has_id(&self, next: &Next, ssl: Ssl<'_>, id: &[u8]) -> bool {
        let key = ssl.key(next, id);
        key.zip(self.cache()).is_some_and(|(key, cache)| cache.contains(&key))
    }

    /// SSL_CTX_flush_sessions(3): what has expired at `time`, or everything if that is 0.
    pub fn flush(&self, next: &Next, ctx: Ctx<'_>, time: i64) {
        let Some(cache) = self.cache() else { return };
        let discard = |session: Session| {
            self.discard(next, ctx, session.as_ref());
        };
        if time == 0 {
            return cache.drain(now(), discard);
        }
        let shortened = shortened();
        let walk = self.shortened_seen.swap(shortened, Relaxed) != shortened;
        let deadline_of = |session: &Session| session.as_ref().deadline(next);
        cache.flush(time, now(), walk, deadline_of, discard);
    }

    fn expire_some(&self, next: &Next, ctx: Ctx<'_>) {
        let Some(cache) = self.cache() else { return };
        let expired = {
            let _errno = KeepErrno::new();
            cache.expire(now(), |session| session.as_ref().deadline(next))
        };
        for session in expired {
            self.discard(next, ctx, session.as_ref());
        }
    }

    /// A session has left the cache for good: stock marks it not resumable, for which its
    /// SSL_CTX_remove_session is the only door, and remove_cb is told. True if it was planted.
    pub(super) fn discard(&self, next: &Next, ctx: Ctx<'_>, session: SessionRef<'_>) -> bool {
        let was_planted = in_stock(|| ctx.stock_remove(next, session));
        self.tell_removed(ctx, session);
        was_planted
    }

    /// The SSL_CTX goes: every session that is still cached leaves.
    pub fn close(&self, next: &Next, ctx: Ctx<'_>) {
        self.flush(next, ctx, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sesscache_core::cache::Cache;

    #[test]
    fn the_clock_is_the_systems() {
        assert!(now() > 1_700_000_000);
    }

    #[test]
    fn caches_are_usable_from_any_thread() {
        fn check<T: Send + Sync>() {}
        check::<Cache<Session>>();
        check::<State>();
    }
}
