//! Sessions that the application ends before their time, for all processes: a flush of what is not
//! over yet, and a session whose end was brought nearer.
//!
//! No callback runs here. No lock is held but those of the lists of stores and of namespaces.

use super::State;
use super::host::record::{latest_end, locator, scope};
use super::host::{self, each_store};
use super::life::lifetime_shortened;
use super::policy::each_namespace;
use super::thread::{is_offering, note_raised, take_raised};
use crate::config::config;
use crate::openssl::codec::Mark;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::handle::{Ctx, SessionRef};
use sesscache_core::cache::Key;
use sesscache_core::store::{EVERYWHERE, FOR_EVER, Now};
use sesscache_core::system::clock::now_milliseconds;
use sesscache_core::system::errno::KeepErrno;

impl State {
    /// The application has flushed the sessions that end before `time`, or all if that is 0: also
    /// those in the store, and those that other processes have cached.
    /// Returns the era that begins.
    pub(super) fn flush_everywhere(&self, ctx: Ctx<'_>, time: i64) -> u64 {
        let Some(host) = self.host_store().filter(|_| !ctx.is_client()) else { return 0 };
        let _errors = KeepErrors::new(ctx.libssl());
        let until = if time == 0 { FOR_EVER } else { u64::try_from(time).unwrap_or(FOR_EVER) };
        let now = Now(now_milliseconds());
        let server = self.virtual_host.server(ctx, None, &self.application);
        // The server cannot be told if there is no memory, or after an unlucky fork.
        let scope_of_now = server.map_or(EVERYWHERE, |server| scope(&server.namespace));
        let era = host.store.flush(scope_of_now, until, now);
        let _: Option<()> = self.virtual_host.among_previous(|namespace| {
            host.store.flush(scope(namespace), until, now);
            None
        });
        era
    }
}

/// The application has changed when a session ends.
pub fn lifetime_changed(session: SessionRef<'_>, before: i64, after: i64) {
    if after < before {
        lifetime_shortened();
    }
    // Apache, Squid and ProFTPD set the timeout in new_cb, before the session is in the store.
    if host::is_used() && !is_offering(session) {
        let _errno = KeepErrno::new();
        end_if_shortened(session, before, after);
    }
}

/// nginx moves the time of a TLS 1.3 session to now and takes as much from its timeout
/// (ngx_ssl_info_callback), which leaves its end where it was.
fn end_if_shortened(session: SessionRef<'_>, before: i64, after: i64) {
    let Some(mark) = session.mark().filter(|mark| !mark.is_private) else { return };
    let Some(key) = session.key().filter(|key| !key.id_is_empty()) else { return };
    let first = take_raised(&key, before).unwrap_or(before);
    if after > first {
        note_raised(key, first, after);
    } else if after < first && withdraw_later(&key, mark, after) {
        // Here it resumes until its new end, as on stock.
        session.set_mark(mark.ended_early());
    }
}

/// Withdraws a session that ends after `end` in the store. Returns whether it did. A new record would not do:
/// other processes may have the session cached with the end of before. So may this one, packed, also when
/// the store has forgotten it.
fn withdraw_later(key: &Key, mark: Mark, end: i64) -> bool {
    let end = u64::try_from(end).unwrap_or(0);
    let latest = u64::try_from(latest_end(mark.first_authenticated)).unwrap_or(0);
    let now = Now(now_milliseconds());
    let mut was_there = false;
    each_store(|host| {
        each_namespace(|namespace| {
            let locator = locator(namespace, key);
            let recorded = host.store.end_of(&locator, now);
            let ends_later = recorded.map_or(config().live_sessions.is_some(), |last| end < last);
            if ends_later {
                host.store.remove(&locator, recorded.unwrap_or(0).max(latest), now);
                was_there = true;
            }
        });
    });
    was_there
}
