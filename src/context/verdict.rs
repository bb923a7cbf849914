//! May this session resume, here and now? The one place that decides it.
//!
//! Decides for sessions of the cache, of get_cb and of the store; those that come by ticket are for
//! `tickets`. libssl then applies its own rules (session id context, expiry, cipher), as on stock.
//! Changes nothing but the store, from which a session for single use is taken.

use super::State;
use super::admission::{Foreign, objection_of_libssl};
use super::event::Event;
use super::host::record::{Address, Fetched, deadline};
use super::origin::Origin;
use crate::openssl::codec::Mark;
use crate::openssl::handle::SessionRef;
use sesscache_core::cache::Key;
use sesscache_core::store::{Cause, Trust};
use sesscache_core::system::clock::now;

/// The decision about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may be resumed.
    Resume,
    /// It is not resumed here and now. It may be elsewhere, or the store may prove it good.
    Miss,
    /// It was removed, perhaps by another process, and is to be forgotten.
    Removed,
}

/// A client's offer of a session.
#[derive(Debug)]
pub(super) struct Offer<'e, 'a> {
    /// The connection and its contexts.
    pub(super) event: &'e Event<'e>,
    /// The state of the context that the connection started with.
    pub(super) state: &'a State,
    /// The id as it was sent.
    pub(super) id: &'e [u8],
    /// The key of that id in the connection's version; `None` if the id cannot be one.
    pub(super) key: Option<Key>,
    /// The address of the record, if there can be one.
    pub(super) address: Option<Address<'a>>,
    /// Whether the ticket is good for one use.
    pub(super) single_use: bool,
}

/// These rules decide. Each holds for the sources that are named. An *own* session was made by this
/// context, here or in a process forked from here; a *foreign* one by another; `admission` has both
/// words. A *shared* one is in the store or may have been.
///
/// | # | rule | of which sessions | verdict if not | source of the rule |
/// |---|---|---|---|---|
/// | 1 | it has the offered version and id, and is resumable | cached | miss | ssl_get_prev_session |
/// | 2 | it is younger than an explicit SESSCACHE_MAX_LIFETIME | own | miss | the operator |
/// | 3 | it was made for the server name that is asked for | foreign | miss | RFC 6066 3 |
/// | 4 | this server would let its client in by a full handshake | foreign | miss, counted if it is in the store | `admission` |
/// | 5 | no process has removed it | shared; from get_cb | removed; miss where the store may prove it good | README, differences |
/// | 6 | no process has flushed it, or its record proves that it was made later | shared | miss | README |
/// | 7 | one for single use was in the store, and is now taken out of it | shared; from get_cb | removed; from get_cb a miss | RFC 8446 8.1 |
///
/// Rules 1, 3, 5 and 6 hold for what the store gives: it opens only there, and has a stamp.
impl Offer<'_, '_> {
    /// The verdict about a session of the internal cache.
    pub(super) fn of_cached(&self, session: SessionRef<'_>) -> Verdict {
        let mark = session.mark();
        let is_let_in = match mark {
            _ if !self.is_asked_for(session) => false,
            Some(mark) if mark.is_foreign => self.lets_cached_in(session, mark),
            _ => self.state.is_young_enough(session),
        };
        if !is_let_in {
            return Verdict::Miss;
        }
        let is_private = mark.is_some_and(|mark| mark.is_private);
        // Its record is over, so nobody else can have it.
        let is_over =
            |mark: Mark| self.single_use && deadline(session, mark.first_authenticated) < now();
        let may_be_flushed =
            |address: &Address<'_>| address.may_be_flushed(session, self.state.flushed_era());
        match self.address.as_ref().filter(|_| !is_private && !mark.is_some_and(is_over)) {
            None => Verdict::Resume,
            Some(address) if self.single_use && may_be_flushed(address) => Verdict::Miss,
            Some(address) if self.single_use => {
                if self.take(address) {
                    Verdict::Resume
                } else {
                    Verdict::Removed
                }
            }
            Some(address) => match self.trust(session, mark) {
                Verdict::Resume if may_be_flushed(address) => Verdict::Miss,
                verdict => verdict,
            },
        }
    }

    /// The verdict about what get_cb has answered. Under which name, and by what rules of today, is the
    /// application's affair.
    pub(super) fn of_application(&self, session: SessionRef<'_>) -> Verdict {
        let trusted = self.trust(session, session.mark());
        match &self.address {
            Some(address)
                if trusted == Verdict::Resume
                    && self.single_use
                    && !self.take(address)
                    && self.may_be_shared(address, session) =>
            {
                Verdict::Miss
            }
            _ => trusted,
        }
    }

    /// The session in the store, if it may be resumed. One for single use is taken out of there.
    ///
    /// # Errors
    /// The reason why there is none.
    pub(super) fn fetch(&self) -> Result<Fetched, Cause> {
        let address = self.address.as_ref().ok_or(Cause::Unknown)?;
        let fetched = address.fetch(self.event.libssl())?;
        let Fetched { session, origin, .. } = &fetched;
        let (handle, origin) = (session.as_ref(self.event.libssl()), *origin);
        // In a process that has drawn another session id context, its siblings are others.
        let wanted = self.event.id_context().ok_or(Cause::Refused)?;
        let is_foreign =
            !origin.is_own(self.state.record_number()) || handle.id_context() != wanted.bytes();
        let objection = match is_foreign {
            true => {
                let foreign = Foreign { session: handle, origin, is_fresh: true };
                self.state.objection(self.event, &foreign)
            }
            false => objection_of_libssl(self.event, handle, false),
        };
        if let Some(tally) = objection {
            address.tally(tally);
            return Err(Cause::Refused);
        }
        let is_marked = handle.set_mark(Mark {
            first_authenticated: origin.first_authenticated,
            name: address.name_hash().ok_or(Cause::Refused)?,
            is_foreign,
            is_private: false,
            has_trailer: false,
        });
        if !is_marked || self.single_use && !address.take() {
            return Err(Cause::Refused);
        }
        if !self.single_use {
            address.count_hit();
        }
        Ok(fetched)
    }

    /// Whether get_cb's session may be in the store: its past is not known.
    fn may_be_shared(&self, address: &Address<'_>, session: SessionRef<'_>) -> bool {
        let is_private = session.mark().is_some_and(|mark| mark.is_private);
        !is_private && self.state.refusal(self.event, Some(address.server()), session).is_none()
    }

    /// Takes the session out of the store, at its address or an earlier one.
    fn take(&self, address: &Address<'_>) -> bool {
        let among_previous = || {
            let (host, key) = (self.state.host_store()?, self.key?);
            self.state
                .among_previous(host, address.server(), key, |address| address.take().then_some(()))
        };
        address.take() || among_previous().is_some()
    }

    /// Rule 1. libssl ignores a session that is marked not resumable: it may be in another
    /// context's cache too, and was removed there. A session whose id the application changed is
    /// not the one asked for. Both must not hide what get_cb has.
    pub(super) fn is_asked_for(&self, session: SessionRef<'_>) -> bool {
        let key = session.key();
        key.is_some_and(|key| key.id_is_empty() || session.is_resumable()) && key == self.key
    }

    /// Rules 3 and 4 of a session that was fetched earlier. One that is over by its own times is
    /// libssl's to count and remove.
    fn lets_cached_in(&self, session: SessionRef<'_>, mark: Mark) -> bool {
        let foreign = Foreign { session, origin: Origin::of_mark(mark), is_fresh: false };
        self.address.as_ref().is_some_and(|address| address.is_named_by(mark))
            && (session.deadline() < now() || self.state.objection(self.event, &foreign).is_none())
    }

    /// Rule 5. The store has a removal of a session that was ended early, which is for the others.
    fn trust(&self, session: SessionRef<'_>, mark: Option<Mark>) -> Verdict {
        if mark.is_some_and(Mark::is_ended_early) {
            return Verdict::Resume;
        }
        match self.address.as_ref().map_or(Trust::Good, |address| address.trust(session)) {
            Trust::Good => Verdict::Resume,
            Trust::Unproven => Verdict::Miss,
            Trust::Removed => Verdict::Removed,
        }
    }
}
