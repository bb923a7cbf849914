//! The life of a session: libssl or the application says new, remove or flush. Lookups are in
//! `lookup`.
//!
//! The rules are those of docs/CONTRACT.md. The application's callbacks run here, with
//! no lock held and errno as the application left it.

use super::State;
use super::event::Event;
use super::resting::Source;
use super::returning::Offered;
use super::thread::{
    enter_closing, enter_eviction, enter_offering, enter_stock, is_evicting, note_refused,
    take_closing, take_expired,
};
use crate::config::{NewCbZero, UncleanClose, config};
use crate::openssl::callback::{call_new, call_remove};
use crate::openssl::constants::SSL_SESS_CACHE_UPDATE_TIME;
use crate::openssl::handle::{Ctx, Session, SessionRef, Ssl};
use crate::openssl::kept::{Form, Kept};
use crate::openssl::table::Libssl;
use libc::c_int;
use openssl_sys::{SSL_SESS_CACHE_NO_AUTO_CLEAR, SSL_SESS_CACHE_NO_INTERNAL_STORE};
use sesscache_core::cache::{Key, Standing};
use sesscache_core::system::clock::now;
use sesscache_core::system::errno::KeepErrno;
use std::mem::ManuallyDrop;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// How often a session's lifetime was shortened while it may have been cached; wraps.
static SHORTENED: AtomicU32 = AtomicU32::new(0);

/// Says that a session's deadline came nearer: the order of expiry may not know.
///
/// The wheel notices a deadline that moved away when it comes to the old one. One that came nearer
/// is looked for by the next SSL_CTX_flush_sessions(), which then asks every session. Nothing
/// depends on it before: a lookup sees the session's own times.
pub(super) fn lifetime_shortened() {
    SHORTENED.fetch_add(1, Release);
}

/// [`lifetime_shortened`] calls so far.
pub(super) fn shortened() -> u32 {
    SHORTENED.load(Acquire)
}

/// Runs SSL_free(3) or one of its like, in which libssl removes the session of a connection
/// that was not shut down.
pub fn while_closing<T>(ssl: Ssl<'_>, close: impl FnOnce() -> T) -> T {
    let _closing = enter_closing(ssl.session());
    close()
}

/// Drops the cache's reference after `run`, which calls remove_cb. If remove_cb does not return
/// (pthread_cancel(3), longjmp(3)), the reference stays, as stock's does: a cleanup handler of the
/// application's may drop it.
fn keep_through<R, T>(reference: R, run: impl FnOnce(&R) -> T) -> T {
    let reference = ManuallyDrop::new(reference);
    let result = run(&reference);
    drop(ManuallyDrop::into_inner(reference));
    result
}

impl State {
    /// libssl negotiated a session. Returns new_cb's answer: 0 if libssl shall drop the
    /// reference it took for the application.
    pub fn new_session(&self, event: &Event<'_>, session: SessionRef<'_>) -> c_int {
        // Before the callback: HAProxy empties the id while its new_cb runs.
        let key = session.key();
        let mut name = None;
        let negotiated = key.and_then(|key| {
            // Before another thread can find the session: ex_data is not to change under it.
            let _errno = KeepErrno::new();
            self.negotiated(event, session, key, &mut name)
        });
        let cached = key.filter(|_| self.caches(event));
        let (offered, came_back_to_store) = Offered::on(event);
        let standing = offered.spend(self.cache());
        if let Some(key) = cached {
            self.add(event.ctx, key, session, standing);
        }
        let answer = self.offer_to_application(event, session, cached);
        if let Some(key) = cached.filter(|_| event.ssl.is_server()) {
            self.note_live(event.libssl(), &key, Source::Here);
        }
        if let Some(key) = key {
            // new_cb's answer is about the internal cache; the store is the operator's.
            let _errno = KeepErrno::new();
            self.publish(event, session, key, negotiated, came_back_to_store);
        }
        if !self.has(SSL_SESS_CACHE_NO_AUTO_CLEAR) {
            self.expire_some(event.ctx);
        }
        answer
    }

    /// ssl_update_cache's rule: a stateless TLS 1.3 ticket is not looked up by id, so it is cached
    /// only if someone wants to hear of its end or early data must be accepted once.
    fn caches(&self, event: &Event<'_>) -> bool {
        !self.has(SSL_SESS_CACHE_NO_INTERNAL_STORE)
            && (!event.is_stateless()
                || !event.ssl.is_server()
                || event.is_single_use()
                || self.remove_cb.get().is_some())
    }

    /// Calls new_cb and returns its answer. `cached` is the session's key if it was cached.
    fn offer_to_application(
        &self,
        event: &Event<'_>,
        session: SessionRef<'_>,
        cached: Option<Key>,
    ) -> c_int {
        let Some(new_cb) = self.new_cb.get() else { return 0 };
        // Postfix frees the session and returns 1: it must outlive the call for us.
        let Ok(reference) = session.to_owned() else { return 0 };
        let answer = {
            let _offering = enter_offering(session);
            call_new(new_cb, event.ssl, session)
        };
        if let Some(key) = cached {
            let _errno = KeepErrno::new();
            self.obey_new_cb(answer, &key, &reference, event.libssl());
        }
        answer
    }

    /// new_cb's 0 removes the session from the cache (SSL_CTX_sess_set_new_cb(3)), if it is still
    /// that very object and the program did not come to rely on OpenSSL's way, which keeps it. No
    /// remove_cb is called for it, because nginx and others return 0 after they have copied the
    /// session away: remove_cb would delete the copy.
    fn obey_new_cb(&self, answer: c_int, key: &Key, session: &Session, libssl: &'static Libssl) {
        let Some(cache) = self.cache() else { return };
        let is_it = |cached: &Kept| cached.is(session);
        if answer == 0 && self.new_cb_zero == NewCbZero::Remove {
            drop(cache.remove_if(key, is_it));
        } else {
            // Apache, Squid and ProFTPD set the timeout in new_cb.
            cache.set_deadline(key, session.as_ref(libssl).deadline(), is_it);
        }
    }

    /// Caches a session; an evicted one gets its remove_cb. True if it was not there.
    pub(super) fn add(
        &self,
        ctx: Ctx<'_>,
        key: Key,
        session: SessionRef<'_>,
        standing: Standing,
    ) -> bool {
        let Some(cache) = self.cache() else { return false };
        let capacity = cache.capacity();
        if is_evicting() && capacity != 0 && cache.len() >= capacity && !cache.contains(&key) {
            note_refused();
            return false;
        }
        let Ok(owned) = session.to_owned() else { return false };
        // After the size was lowered; before the add, so that the new one is not the victim.
        while let Some(victim) = cache.evict_excess() {
            self.evicted(ctx, victim);
        }
        let added = {
            let _errno = KeepErrno::new();
            let now = now();
            if self.has(SSL_SESS_CACHE_UPDATE_TIME) {
                session.set_time(now);
            }
            let added = cache.add(key, owned.into(), session.deadline(), now);
            cache.raise(&key, standing);
            added
        };
        if let Some(victim) = added.evicted {
            self.evicted(ctx, victim);
        }
        added.new
    }

    /// A session had to make room. It is not marked: a connection may hold it (openssl#18690).
    ///
    /// Never inlined: its frame must lie deeper in the stack than that of an add at the same place,
    /// which asks whether remove_cb still runs.
    #[inline(never)]
    fn evicted(&self, ctx: Ctx<'_>, victim: Kept) {
        self.cache_full.fetch_add(1, Relaxed);
        let _eviction = enter_eviction();
        if let Form::Live(victim) = victim.into_form() {
            keep_through(victim, |victim| self.tell_removed(ctx, victim.as_ref(ctx.libssl())));
        }
    }

    fn tell_removed(&self, ctx: Ctx<'_>, session: SessionRef<'_>) {
        if let Some(remove_cb) = self.remove_cb.get() {
            call_remove(remove_cb, ctx, session);
        }
    }

    /// SSL_CTX_add_session(3): the application's own wish, whatever the mode says.
    pub fn add_session(&self, ctx: Ctx<'_>, session: SessionRef<'_>) -> bool {
        // First, so that this very object is not packed meanwhile.
        self.note_known();
        let is_new = session.key().is_some_and(|key| {
            let was_there = self.is_at_rest(&key);
            self.add(ctx, key, session, Standing::NEWCOMER) && !was_there
        });
        self.follow_off(ctx);
        is_new
    }

    /// SSL_CTX_remove_session(3), called by the application, or by Debian's libssl.
    pub fn remove_session(&self, ctx: Ctx<'_>, session: SessionRef<'_>) -> bool {
        let Some(key) = session.key().filter(|key| !key.id_is_empty()) else { return false };
        let taken = {
            let _errno = KeepErrno::new();
            self.cache().and_then(|cache| cache.remove(&key))
        };
        self.forget_everywhere(ctx, session);
        // A planted session counts as found, see `lookup::plant`.
        keep_through(taken, |taken| self.discard(ctx, session) || taken.is_some())
    }

    /// libssl has removed a session, or would have if it were in the stock cache.
    pub fn removed(&self, ctx: Ctx<'_>, session: SessionRef<'_>) {
        let taken = {
            let _errno = KeepErrno::new();
            let key = session.key();
            self.cache().zip(key).and_then(|(cache, key)| cache.remove(&key))
        };
        self.forget_everywhere(ctx, session);
        // Dropped when remove_cb has seen it.
        keep_through(taken, |_| self.tell_removed(ctx, session));
    }

    /// Withdraws a session from the host store. Not if it expired in this process, or if a
    /// connection was closed without a word: that is no reason (RFC 5246 7.2.1), and anybody can
    /// cause it.
    fn forget_everywhere(&self, ctx: Ctx<'_>, session: SessionRef<'_>) {
        // The note may be stale: libssl does not always remove the session that was noted.
        let expires = take_expired(session) && session.deadline() < now();
        if expires || self.host_store().is_none() {
            return;
        }
        if take_closing(session) && config().unclean_close == UncleanClose::Keep {
            return;
        }
        let _errno = KeepErrno::new();
        self.withdraw(ctx, session);
    }

    /// SSL_has_matching_session_id(3).
    #[inline]
    pub fn has_id(&self, ssl: Ssl<'_>, id: &[u8]) -> bool {
        let key = ssl.key(id);
        key.zip(self.cache()).is_some_and(|(key, cache)| cache.contains(&key))
    }

    /// SSL_CTX_flush_sessions(3): removes what has expired at `time`, or everything if that is 0. What
    /// is not over by now goes for all processes. Debian's libssl calls it when it frees a context,
    /// which is no flush by the application.
    pub fn flush(&self, ctx: Ctx<'_>, time: i64) {
        let is_early = time == 0 || time > now();
        if !is_early || ctx.is_being_freed() {
            return self.flush_here(ctx, time);
        }
        let era = {
            let _errno = KeepErrno::new();
            self.renew_record_number(ctx.libssl());
            // First, so that no lookup fetches one of them meanwhile.
            self.flush_everywhere(ctx, time)
        };
        // Before the cache is emptied: see `lookup::fetch`.
        self.flushed_era.fetch_max(era, Relaxed);
        self.flush_here(ctx, time);
    }

    fn flush_here(&self, ctx: Ctx<'_>, time: i64) {
        let Some(cache) = self.cache() else { return };
        let libssl = ctx.libssl();
        let discard = |kept| self.discard_kept(ctx, kept);
        if time == 0 {
            return cache.drain(now(), discard);
        }
        let shortened = shortened();
        let walk = self.shortened_seen.swap(shortened, Relaxed) != shortened;
        let deadline_of = |kept: &Kept| kept.deadline(libssl);
        cache.flush(time, now(), walk, deadline_of, discard);
    }

    fn expire_some(&self, ctx: Ctx<'_>) {
        let Some(cache) = self.cache() else { return };
        let libssl = ctx.libssl();
        let expired = {
            let _errno = KeepErrno::new();
            cache.expire(now(), |kept| kept.deadline(libssl))
        };
        expired.into_iter().for_each(|kept| self.discard_kept(ctx, kept));
    }

    /// As [`State::discard`]. There is nobody to be told of a packed session.
    fn discard_kept(&self, ctx: Ctx<'_>, kept: Kept) {
        if let Form::Live(session) = kept.into_form() {
            keep_through(session, |session| self.discard(ctx, session.as_ref(ctx.libssl())));
        }
    }

    /// A session has left the cache for good: it is marked not resumable, which only stock's
    /// SSL_CTX_remove_session can do, and remove_cb is told. True if it was planted.
    pub(super) fn discard(&self, ctx: Ctx<'_>, session: SessionRef<'_>) -> bool {
        let was_planted = {
            let _stock = enter_stock();
            ctx.stock_remove(session)
        };
        self.tell_removed(ctx, session);
        was_planted
    }

    /// The SSL_CTX goes: every session that is still cached leaves.
    pub fn close(&self, ctx: Ctx<'_>) {
        self.flush_here(ctx, 0);
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
        check::<Cache<Kept>>();
        check::<State>();
    }
}
