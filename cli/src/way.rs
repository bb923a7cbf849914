//! The ways to resume that a client has.

/// A way to resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Id,
    Ticket12,
    Tls13,
}

impl Way {
    pub(crate) const ALL: [Way; 3] = [Way::Id, Way::Ticket12, Way::Tls13];

    /// Its name on the command line and in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Way::Id => "tls1.2-id",
            Way::Ticket12 => "tls1.2-ticket",
            Way::Tls13 => "tls1.3",
        }
    }
}
