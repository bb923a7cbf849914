//! What is wrong with Redis, in the few kinds that an operator can act on.

use redis::{ErrorKind, RedisError};
use std::fmt;

/// How Redis is. In the order of which is shown if connections differ: the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// It does what it is asked.
    Ok,
    /// Nothing is known yet.
    Connecting,
    /// It reads its data from disk after a start.
    Loading,
    /// It is a replica, or cannot write to its disk: it takes no entries.
    ReadOnly,
    /// It has no memory left for entries.
    Full,
    /// A replica that has lost its master.
    MasterDown,
    /// A cluster that has lost nodes.
    ClusterDown,
    /// It answers with another error.
    Refused,
    /// It does not accept user or password, or the user may not do what the agent does.
    Denied,
    /// It is a node of a cluster, which was not said.
    Cluster,
    /// It cannot be reached, or does not answer in time.
    Unreachable,
}

impl State {
    pub(crate) const ALL: [State; 11] = [
        State::Ok,
        State::Connecting,
        State::Loading,
        State::ReadOnly,
        State::Full,
        State::MasterDown,
        State::ClusterDown,
        State::Refused,
        State::Denied,
        State::Cluster,
        State::Unreachable,
    ];

    /// Its name in metrics and lines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Connecting => "connecting",
            State::Loading => "loading",
            State::ReadOnly => "read-only",
            State::Full => "full",
            State::MasterDown => "master-down",
            State::ClusterDown => "cluster-down",
            State::Refused => "refused",
            State::Denied => "denied",
            State::Cluster => "cluster",
            State::Unreachable => "unreachable",
        }
    }

    fn of(code: Option<&str>, kind: ErrorKind) -> State {
        match (code, kind) {
            (Some("LOADING"), _) => State::Loading,
            (Some("READONLY" | "MISCONF" | "NOREPLICAS"), _) => State::ReadOnly,
            (Some("OOM"), _) => State::Full,
            (Some("MASTERDOWN"), _) => State::MasterDown,
            (Some("CLUSTERDOWN"), _) => State::ClusterDown,
            (Some("MOVED" | "ASK"), _) => State::Cluster,
            (Some("NOAUTH" | "WRONGPASS" | "NOPERM"), _) | (_, ErrorKind::AuthenticationFailed) => {
                State::Denied
            }
            (_, ErrorKind::Io | ErrorKind::ClusterConnectionNotFound) => State::Unreachable,
            _ => State::Refused,
        }
    }
}

/// Why Redis did not do something.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) state: State,
    text: String,
}

/// Bytes of an error's text that are worth showing.
const MOST_TEXT: usize = 200;

impl Failure {
    pub(crate) fn new(state: State, text: &str) -> Failure {
        let text: String = text.chars().filter(|c| !c.is_control()).take(MOST_TEXT).collect();
        Failure { state, text }
    }

    /// It does not answer.
    pub(crate) fn silence() -> Failure {
        Failure::new(State::Unreachable, "it does not answer")
    }

    /// What was asked about is not there.
    pub(crate) fn is_missing_key(&self) -> bool {
        self.state == State::Refused && self.text.contains("no such key")
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Failure {
        let state = State::of(error.code(), error.kind());
        if state == State::Cluster {
            return Failure::new(state, "it is a node of a cluster; give --cluster");
        }
        Failure::new(state, &error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.state.name(), self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn what_redis_says_has_a_kind() {
        let other = ErrorKind::Extension;
        for (code, state) in [
            ("LOADING", State::Loading),
            ("READONLY", State::ReadOnly),
            ("OOM", State::Full),
            ("WRONGPASS", State::Denied),
            ("MOVED", State::Cluster),
            ("WRONGTYPE", State::Refused),
        ] {
            assert_eq!(State::of(Some(code), other), state);
        }
        assert_eq!(State::of(None, ErrorKind::AuthenticationFailed), State::Denied);
        let refused = RedisError::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(Failure::from(refused).state, State::Unreachable);
    }

    #[test]
    fn a_line_stays_one_line() {
        let failure = Failure::new(State::Refused, &"a\nb".repeat(200));
        assert!(!failure.to_string().contains('\n') && failure.to_string().len() < 300);
    }
}
