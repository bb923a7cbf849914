//! The things that may differ between two hosts that are to exchange sessions: words and mends.

use serde_json::{Value, json};
use sesscache_core::store::{OtherHost, OtherHosts, Store};
use sesscache_core::system::clock::now_milliseconds;

/// A finding of an agent is too old after so many milliseconds: the agent has ended.
const FRESH: u64 = 60_000;

/// A thing that two hosts have not in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// The names under which the agents exchange.
    Name = 1,
    /// The keys that seal.
    Key = 2,
    /// The names for which the certificates are good.
    Certificate = 4,
    /// `SESSCACHE_NAMESPACE`.
    Namespace = 8,
    /// The time.
    Clock = 16,
}

impl Difference {
    pub(crate) const ALL: [Difference; 5] = [
        Difference::Name,
        Difference::Key,
        Difference::Certificate,
        Difference::Namespace,
        Difference::Clock,
    ];

    /// The word in metrics and JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Difference::Name => "name",
            Difference::Key => "key",
            Difference::Certificate => "certificate",
            Difference::Namespace => "namespace",
            Difference::Clock => "clock",
        }
    }

    /// The doctor's code.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Difference::Name => "hosts-name",
            Difference::Key => "hosts-key",
            Difference::Certificate => "hosts-certificate",
            Difference::Namespace => "hosts-namespace",
            Difference::Clock => "hosts-clock",
        }
    }

    /// Whether it is among these bits.
    pub(crate) fn is_in(self, bits: u64) -> bool {
        bits & self as u64 != 0
    }

    /// The words before the names of such hosts.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Difference::Name => "these sessions are exchanged under another --name at",
            Difference::Key => "sessions are sealed with another key at",
            Difference::Certificate => "certificates are for other names at",
            Difference::Namespace => "SESSCACHE_NAMESPACE is another at",
            Difference::Clock => "the time is another at",
        }
    }

    /// The line that mends it.
    pub(crate) fn mend(self) -> &'static str {
        match self {
            Difference::Name => {
                "give their agents the same --name, which is the store's file name by default"
            }
            Difference::Key => "copy the key file from one host to all, and reload their servers",
            Difference::Certificate => "give all hosts certificates for the same names",
            Difference::Namespace => {
                "set SESSCACHE_NAMESPACE to the same text on all hosts, and restart their servers"
            }
            Difference::Clock => "set all clocks by NTP",
        }
    }
}

/// The things that differ at a host, in words: `key, clock`.
pub(crate) fn names(host: &OtherHost) -> Vec<&'static str> {
    let found = Difference::ALL.into_iter().filter(|what| what.is_in(host.differs));
    found.map(Difference::name).collect()
}

/// The same for programs.
pub(crate) fn as_json(found: &OtherHosts) -> Value {
    let differing = found.differing.iter();
    let differing = differing.map(|host| json!({ "host": host.name, "differs": names(host) }));
    json!({ "seen": found.seen, "differing": differing.collect::<Vec<_>>() })
}

/// The findings of the store's agent about other hosts, if it looked a moment ago.
pub(crate) fn fresh(store: &Store) -> Option<OtherHosts> {
    store.other_hosts().filter(|found| now_milliseconds().abs_diff(found.when) <= FRESH)
}
