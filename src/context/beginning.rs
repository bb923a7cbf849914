//! How a server's connection begins: noted on it when its client's offer is answered, and counted in the
//! store when it ends.
//!
//! Only then is it known whether libssl has resumed what it was given, and whether the handshake came
//! to its end. The note is a number. No locks.

use super::State;
use super::event::Event;
use super::notes::ANSWERS;
use crate::openssl::handle::{SessionRef, Ssl};
use sesscache_core::store::{Beginning, Cause, Way};
use sesscache_core::system::clock::now;

/// The note of a connection that was counted: it may have several references, each of which is freed.
const COUNTED: u64 = 0xff;
/// Causes come behind the ways, and 0 is no note.
const FIRST_WAY: u64 = 1;
const FIRST_CAUSE: u64 = 0x10;
/// The age is above the kind.
const KIND_BITS: u32 = 8;

/// The answer to a client's offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// libssl gets a session of this age, in seconds.
    Found(Way, u64),
    /// There is none for it.
    Missed(Cause),
}

impl Answer {
    /// libssl gets this session.
    pub(super) fn found(way: Way, session: SessionRef<'_>) -> Answer {
        let now = now();
        if session.deadline() < now {
            return Answer::Missed(Cause::Expired);
        }
        Answer::Found(way, u64::try_from(now.saturating_sub(session.time())).unwrap_or(0))
    }

    fn number(self) -> u64 {
        match self {
            Answer::Found(way, age) => (FIRST_WAY + way as u64) | (age << KIND_BITS),
            Answer::Missed(cause) => FIRST_CAUSE + cause as u64,
        }
    }

    fn of(number: u64) -> Option<Answer> {
        let kind = number & ((1 << KIND_BITS) - 1);
        let way = Way::ALL.into_iter().find(|way| FIRST_WAY + *way as u64 == kind);
        let cause = Cause::ALL.into_iter().find(|cause| FIRST_CAUSE + *cause as u64 == kind);
        way.map(|way| Answer::Found(way, number >> KIND_BITS)).or(cause.map(Answer::Missed))
    }

    /// The beginning of a connection with this answer, as libssl has decided.
    fn beginning(answer: Option<Answer>, is_resumed: bool) -> Beginning {
        match (is_resumed, answer) {
            (true, Some(Answer::Found(way, age))) => Beginning::Resumed(way, age),
            (true, _) => Beginning::ServerTicket,
            (false, Some(Answer::Found(..))) => Beginning::Full(Cause::Refused),
            (false, Some(Answer::Missed(cause))) => Beginning::Full(cause),
            (false, None) => Beginning::Full(Cause::NoOffer),
        }
    }
}

/// A connection of which something is noted, or whose handshake is over.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    number: u64,
    is_finished: bool,
}

impl Begun {
    /// `None` if nothing has to be done when it ends.
    #[inline]
    pub fn of(ssl: Ssl<'_>) -> Option<Begun> {
        let begun = Begun { number: ANSWERS.number_of(ssl), is_finished: ssl.has_peers_finished() };
        (begun.number != 0 || begun.is_finished).then_some(begun)
    }
}

impl State {
    /// Notes the answer to the client's offer. Without memory it counts as no offer, or as a ticket of
    /// the server's.
    pub(super) fn note_answer(&self, event: &Event<'_>, answer: Answer) {
        if self.host_store().is_some() && event.ssl.is_server() {
            ANSWERS.set_number_of(event.ssl, answer.number());
        }
    }

    /// No key has opened the client's ticket.
    pub fn note_unopened_ticket(&self, event: &Event<'_>) {
        self.note_answer(event, Answer::Missed(Cause::Unknown));
    }

    /// A server's connection ends, or is made ready for another one. Each is counted once.
    pub fn count_connection(&self, ssl: Ssl<'_>, begun: Begun, is_used_again: bool) {
        let Some(host) = self.host_store() else { return };
        let number = begun.number;
        let is_to_be_counted = number != COUNTED && begun.is_finished;
        if is_to_be_counted {
            host.store.count_connection(Answer::beginning(Answer::of(number), ssl.is_resumed()));
        }
        match is_used_again {
            true if number != 0 => ANSWERS.set_number_of(ssl, 0),
            false if number != 0 && is_to_be_counted => ANSWERS.set_counted(ssl, COUNTED),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_as_it_was() {
        let mut all = Cause::ALL.map(Answer::Missed).to_vec();
        all.extend(
            Way::ALL.iter().flat_map(|way| [0, 1 << 40].map(|age| Answer::Found(*way, age))),
        );
        for answer in all {
            assert_eq!(Answer::of(answer.number()), Some(answer));
            assert_ne!(answer.number(), COUNTED);
        }
        assert_eq!((Answer::of(0), Answer::of(COUNTED)), (None, None));
    }

    #[test]
    fn libssl_decides_what_resumed() {
        let found = Some(Answer::Found(Way::Store, 7));
        let missed = Some(Answer::Missed(Cause::Expired));
        let of = Answer::beginning;
        assert_eq!(of(found, true), Beginning::Resumed(Way::Store, 7));
        assert_eq!(of(found, false), Beginning::Full(Cause::Refused));
        assert_eq!(of(missed, false), Beginning::Full(Cause::Expired));
        assert_eq!(of(None, false), Beginning::Full(Cause::NoOffer));
        assert_eq!(
            (of(None, true), of(missed, true)),
            (Beginning::ServerTicket, Beginning::ServerTicket)
        );
    }
}
