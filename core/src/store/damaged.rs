//! Damage: a value in a shard that cannot be, by its name.
//!
//! Absence is an `Option`, damage an error, so that no `?` can take the one for the other. The
//! holder of the lock empties the shard over damage alone.

use super::mapping::Outside;

/// The value that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damaged {
    /// A position leads out of the mapping.
    Outside,
    /// A cell of the index names no place that is in use.
    Cell,
    /// A record's head has an unknown kind or an impossible length.
    Head,
    /// A record reaches beyond what is in use, or beyond the end of the ring.
    Length,
    /// A cell names a record of another kind than it says.
    Kind,
    /// The ring is empty and has no room for a record.
    Room,
}

impl From<Outside> for Damaged {
    fn from(_: Outside) -> Damaged {
        Damaged::Outside
    }
}
