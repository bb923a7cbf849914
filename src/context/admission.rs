//! Who is let in: whether a session may be shared, and whether a foreign one may resume here and now.
//!
//! - A session is shared only if another server could tell later whether to let its client in. Others
//!   are *private*, and so is whatever comes of them; in their own process they resume as on stock.
//! - A session that another context made is *foreign*. It resumes only if this server, as it is now,
//!   would let the client in by a full handshake.
//!
//! No callback of the application runs here.

use super::State;
use super::event::Event;
use super::host::record::{deadline, latest_end};
use super::origin::{Origin, first_authenticated};
use super::policy::Expectation;
use super::verified::Client;
use crate::config::{ClientCerts, IdContextMode, SideDataMode, config};
use crate::log::Once;
use crate::openssl::codec::Mark;
use crate::openssl::handle::SessionRef;
use crate::openssl::identity::Server;
use crate::openssl::side_data;
use sesscache_core::store::Tally;
use sesscache_core::system::clock::now;

/// A session that another context has made, and that a client offers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Foreign<'a> {
    pub(super) session: SessionRef<'a>,
    pub(super) origin: Origin,
    /// Whether the object was decoded for this connection, so that no other thread has it.
    pub(super) is_fresh: bool,
}

/// Whether the connection would negotiate what a resumption in TLS 1.2 takes over: the cipher, no
/// compression, and an extended master secret, without which libssl would end the handshake.
fn has_parameters_of_now(event: &Event<'_>, foreign: &Foreign<'_>) -> bool {
    let session = foreign.session;
    event.is_tls13()
        || event.ssl.would_negotiate(session)
            && !session.is_compressed()
            && !(event.forbids_extended_master_secret()
                && foreign.origin.has_extended_master_secret())
}

/// Why libssl would not resume a session on this connection, or would even end the handshake
/// (ssl_get_prev_session): its session id context. With SESSCACHE_ID_CONTEXT=ours a fresh session
/// gets that of the connection.
pub(super) fn objection_of_libssl(
    event: &Event<'_>,
    session: SessionRef<'_>,
    is_fresh: bool,
) -> Option<Tally> {
    let gets_it = |wanted: &[u8]| {
        is_fresh && config().id_context == IdContextMode::Ours && session.set_id_context(wanted)
    };
    let has_it = event
        .id_context()
        .is_some_and(|wanted| session.id_context() == wanted.bytes() || gets_it(wanted.bytes()));
    if !has_it {
        Some(Tally::DeclinedIdContext)
    } else if !session.has_id_context() && event.ssl.asks_for_certificate() {
        Some(Tally::RefusedVerifyWithoutIdContext)
    } else {
        None
    }
}

/// Whether sessions of this program have data of its own that they would lose in another process.
pub(super) fn keeps_side_data(event: &Event<'_>) -> bool {
    config().side_data == SideDataMode::Refuse && side_data::is_kept(event.libssl())
}

fn say_side_data() {
    static SAID: Once = Once::new();
    SAID.say(
        "this program keeps data of its own with sessions (an ex_data index on SSL_SESSION), which \
         other processes would miss: no session is shared, unless SESSCACHE_EX_DATA=share",
    );
}

impl State {
    /// Why a session that this connection has made, or whose ticket it is about to issue, must not be
    /// shared; `None` if it may.
    ///
    /// | it is not shared if | because |
    /// |---|---|
    /// | a pre-shared key or SRP has authenticated the client | the application may have removed the user |
    /// | its verification has not ended well, or the application verified it itself | nobody can repeat that |
    /// | the client has shown a raw public key, or SESSCACHE_CLIENT_CERTS is `never` | the same |
    /// | a certificate was asked for and none was given | where one is asked for, it would not resume |
    /// | it came of a private session | the same as of that one |
    /// | nothing says whose session it is | ssl_get_prev_session would end the handshake |
    /// | the program keeps data of its own with sessions | it cannot travel, and the program may miss it |
    pub(super) fn refusal(
        &self,
        event: &Event<'_>,
        server: Option<&Server>,
        session: SessionRef<'_>,
    ) -> Option<Tally> {
        let asks = event.asks();
        if keeps_side_data(event) {
            say_side_data();
            return Some(Tally::RefusedSideData);
        }
        if self.is_by_shared_key(event, session) {
            return Some(Tally::RefusedApplication);
        }
        if !self.is_verified(event, session) {
            return Some(Tally::RefusedUnverified);
        }
        if asks && !session.has_peer() {
            return Some(Tally::RefusedNoClientCertificate);
        }
        if session.mark().is_some_and(Mark::makes_private) {
            return Some(Tally::RefusedUnverified);
        }
        match server {
            Some(_) if session.has_id_context() => None,
            Some(server) if server.has_certificate => {
                asks.then_some(Tally::RefusedVerifyWithoutIdContext)
            }
            _ => Some(Tally::RefusedNoIdentity),
        }
    }

    /// Whether the client is known by a key that the application has told. In TLS 1.2 the cipher says
    /// so. In TLS 1.3 libssl counts it as a resumption, and its session may be any object, a marked
    /// one too. A session of unknown past may have come of one.
    fn is_by_shared_key(&self, event: &Event<'_>, session: SessionRef<'_>) -> bool {
        session.is_by_shared_key()
            || event.used_shared_key()
            || self.application().asks_for_shared_keys()
                && event.is_tls13()
                && event.ssl.is_resumed()
                && session.mark().is_none()
    }

    /// Whether libssl has verified the client's certificate and found it good, if there is one.
    fn is_verified(&self, event: &Event<'_>, session: SessionRef<'_>) -> bool {
        let by_libssl = || {
            let application = event.current.application;
            config().client_certs != ClientCerts::Never
                && application.is_some_and(|application| !application.verifies_itself())
        };
        event.ssl.verify_result_is_ok()
            && !session.has_raw_public_key()
            && (!session.has_peer() || by_libssl())
    }

    /// Why a foreign session, which was made for the name that the client asks for, does not resume
    /// on this connection; `None` if it does. With SESSCACHE_ID_CONTEXT=ours it may get the
    /// connection's session id context.
    pub(super) fn objection(&self, event: &Event<'_>, foreign: &Foreign<'_>) -> Option<Tally> {
        let session = foreign.session;
        if keeps_side_data(event) {
            return Some(Tally::RefusedSideData);
        }
        if !self.is_in_time(event, foreign) {
            return Some(Tally::DeclinedLifetime);
        }
        if let Some(tally) = objection_of_libssl(event, session, foreign.is_fresh) {
            return Some(tally);
        }
        if !has_parameters_of_now(event, foreign) {
            return Some(Tally::DeclinedCipher);
        }
        let name = event.ssl.offered_name();
        match self.virtual_host.expected(event, name, session.has_peer()) {
            None => Some(Tally::DeclinedHost),
            Some(expected) => {
                let admits = self.admits(event, session, !foreign.is_fresh, &expected);
                (!admits).then_some(Tally::DeclinedClient)
            }
        }
    }

    /// The lifetime of a foreign session, by the settings of today.
    fn is_in_time(&self, event: &Event<'_>, foreign: &Foreign<'_>) -> bool {
        let (session, origin, now) = (foreign.session, foreign.origin, now());
        let by_context = session.time().saturating_add(event.ctx.timeout());
        now <= deadline(session, origin.first_authenticated)
            && (origin.has_own_timeout() || now <= by_context)
    }

    /// Whether a connection that demands this would let the client of a foreign session in.
    /// `is_cached`: the same object may come back.
    fn admits(
        &self,
        event: &Event<'_>,
        session: SessionRef<'_>,
        is_cached: bool,
        expected: &Expectation,
    ) -> bool {
        if !session.has_peer() {
            return !expected.demands.asks();
        }
        match config().client_certs {
            ClientCerts::Never => false,
            ClientCerts::Share => true,
            ClientCerts::Verify => {
                let library_context = self.application().library_context();
                let client = Client { session, is_cached, library_context };
                !expected.verifies_itself
                    && self.verified.admits(event, client, &expected.demands, now())
            }
        }
    }

    /// The servername callback has run. False if the connection has resumed a foreign session and now
    /// demands what the session does not fulfil: the handshake must end then, because libssl cannot
    /// take a resumption back.
    pub fn admits_after_switch(&self, event: &Event<'_>) -> bool {
        if self.host_store().is_none() && !self.shares_tickets() {
            return true;
        }
        let is_foreign =
            |session: &SessionRef<'_>| session.mark().is_some_and(|mark| mark.is_foreign);
        let foreign = event.ssl.session().filter(is_foreign);
        if foreign.is_none() && !self.virtual_host.name_matters() {
            return true;
        }
        let reached = self.virtual_host.reached(event, event.ssl.negotiated_name());
        foreign.is_none_or(|foreign| {
            (event.is_tls13() || event.ssl.would_negotiate(foreign))
                && reached.is_some_and(|reached| self.admits(event, foreign, false, &reached))
        })
    }

    /// Whether an own session is as young as the operator wants all sessions to be.
    pub(super) fn is_young_enough(&self, session: SessionRef<'_>) -> bool {
        !config().max_lifetime_is_set
            || first_authenticated(session).is_some_and(|first| now() <= latest_end(first))
    }
}
