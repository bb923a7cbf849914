//! The making of a session: the facts about it that travel in its record or its ticket.

use super::event::Event;
use crate::openssl::codec::Mark;
use crate::openssl::handle::SessionRef;

/// Set in `flags`: the application gave the session a longer life than its context gives.
const OWN_TIMEOUT: u8 = 1;
/// Set in `flags`: it may have been made with an extended master secret (RFC 7627).
const EXTENDED_MASTER_SECRET: u8 = 2;
/// Set in `flags`: the era follows in which it was made, because sessions were flushed before.
const ERA: u8 = 4;

/// The making of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The number of the context that made it; 0 is no context's.
    pub(super) number: u64,
    /// When its chain of resumptions began, in seconds since 1970.
    pub(super) first_authenticated: u32,
    flags: u8,
}

impl Origin {
    /// The origin's length as bytes.
    pub(super) const BYTES: usize = 13;

    /// The origin of a session that the context of this number has made. `None` before 1970, and
    /// after 2106.
    pub(super) fn of(event: &Event<'_>, number: u64, session: SessionRef<'_>) -> Option<Origin> {
        let has_own_timeout = session.timeout() > event.ctx.timeout();
        let own_timeout = if has_own_timeout { OWN_TIMEOUT } else { 0 };
        // An option that is set later decides, so a client that does not know it does not count.
        let is_extended = !event.forbids_extended_master_secret();
        let extended = if is_extended { EXTENDED_MASTER_SECRET } else { 0 };
        let first_authenticated = first_authenticated(session)?;
        Some(Origin { number, first_authenticated, flags: own_timeout | extended })
    }

    /// The origin of a session that another context made, as far as its mark says.
    pub(super) fn of_mark(mark: Mark) -> Origin {
        let first_authenticated = mark.first_authenticated;
        Origin { number: 0, first_authenticated, flags: EXTENDED_MASTER_SECRET }
    }

    /// Whether the context of this number made the session, in this process or before a fork.
    pub(super) fn is_own(&self, number: u64) -> bool {
        number != 0 && self.number == number
    }

    /// Whether the application gave the session a longer life than its context gives.
    pub(super) fn has_own_timeout(&self) -> bool {
        self.flags & OWN_TIMEOUT != 0
    }

    /// Whether it may have an extended master secret. libssl ends the handshake if such a session
    /// comes back without it.
    pub(super) fn has_extended_master_secret(&self) -> bool {
        self.flags & EXTENDED_MASTER_SECRET != 0
    }

    /// The same, with an era behind it or without one.
    pub(super) fn with_era(self, has_era: bool) -> Origin {
        Origin { flags: self.flags & !ERA | if has_era { ERA } else { 0 }, ..self }
    }

    /// Whether an era follows its bytes.
    pub(super) fn has_era(&self) -> bool {
        self.flags & ERA != 0
    }

    pub(super) fn to_bytes(self) -> [u8; Origin::BYTES] {
        let [a, b, c, d, e, f, g, h] = self.number.to_le_bytes();
        let [i, j, k, l] = self.first_authenticated.to_le_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, self.flags]
    }

    pub(super) fn from_bytes(bytes: &[u8; Origin::BYTES]) -> Option<Origin> {
        let (number, rest) = bytes.split_first_chunk()?;
        let (first, rest) = rest.split_first_chunk()?;
        Some(Origin {
            number: u64::from_le_bytes(*number),
            first_authenticated: u32::from_le_bytes(*first),
            flags: *rest.first()?,
        })
    }
}

/// When a session's chain of resumptions began: its mark says so, or it begins with the session.
pub(super) fn first_authenticated(session: SessionRef<'_>) -> Option<u32> {
    let marked = session.mark().map(|mark| mark.first_authenticated);
    marked.or_else(|| u32::try_from(session.time()).ok().filter(|time| *time > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_comes_back_as_it_was() {
        let origin = Origin { number: u64::MAX - 1, first_authenticated: 7, flags: OWN_TIMEOUT };
        assert_eq!(Origin::from_bytes(&origin.to_bytes()), Some(origin));
        assert!(origin.has_own_timeout() && origin.is_own(u64::MAX - 1));
        assert!(!Origin { number: 0, ..origin }.is_own(0), "without a number nothing is own");
    }
}
