//! Failures of Redis, in the few kinds that an operator can act on.

use super::cause;
use super::stream_entry::KEYS;
use redis::{Arg, Cmd, ErrorKind, RedisError};
use sesscache_core::system::words::without_numbers;
use std::fmt;

/// The state of Redis. If connections differ, the last of these states is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RedisState {
    /// Redis fulfils requests.
    Ok,
    /// Nothing is known yet.
    Connecting,
    /// Redis reads its data from disk after a start.
    Loading,
    /// Redis is a replica, or cannot write to its disk: it takes no entries.
    ReadOnly,
    /// Redis has no memory left for entries.
    Full,
    /// Redis is a replica that lost its master.
    MasterDown,
    /// The cluster lost nodes.
    ClusterDown,
    /// Redis answers with another error.
    Refused,
    /// Redis refuses the user or password, or the user lacks a permission.
    Denied,
    /// Redis is a node of a cluster, and --cluster was not given.
    Cluster,
    /// Redis cannot be reached, or does not answer in time.
    Unreachable,
}

impl RedisState {
    pub(crate) const ALL: [RedisState; 11] = [
        RedisState::Ok,
        RedisState::Connecting,
        RedisState::Loading,
        RedisState::ReadOnly,
        RedisState::Full,
        RedisState::MasterDown,
        RedisState::ClusterDown,
        RedisState::Refused,
        RedisState::Denied,
        RedisState::Cluster,
        RedisState::Unreachable,
    ];

    /// The state's name in metrics and log lines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            RedisState::Ok => "ok",
            RedisState::Connecting => "connecting",
            RedisState::Loading => "loading",
            RedisState::ReadOnly => "read-only",
            RedisState::Full => "full",
            RedisState::MasterDown => "master-down",
            RedisState::ClusterDown => "cluster-down",
            RedisState::Refused => "refused",
            RedisState::Denied => "denied",
            RedisState::Cluster => "cluster",
            RedisState::Unreachable => "unreachable",
        }
    }

    fn of(code: Option<&str>, kind: ErrorKind) -> RedisState {
        match (code, kind) {
            (Some("LOADING"), _) => RedisState::Loading,
            // UNBLOCKED: a master became a replica while it held our request.
            (Some("READONLY" | "UNBLOCKED" | "MISCONF" | "NOREPLICAS"), _) => RedisState::ReadOnly,
            (Some("OOM"), _) => RedisState::Full,
            (Some("MASTERDOWN"), _) => RedisState::MasterDown,
            (Some("CLUSTERDOWN"), _) => RedisState::ClusterDown,
            (Some("MOVED" | "ASK"), _) => RedisState::Cluster,
            (Some("NOAUTH" | "WRONGPASS" | "NOPERM"), _) | (_, ErrorKind::AuthenticationFailed) => {
                RedisState::Denied
            }
            (_, ErrorKind::Io | ErrorKind::ClusterConnectionNotFound) => RedisState::Unreachable,
            _ => RedisState::Refused,
        }
    }
}

/// The reason why Redis did not fulfil a request.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) state: RedisState,
    /// Whether the connection ended, and nothing else is known.
    pub(crate) is_closed: bool,
    text: String,
}

/// The longest text of an error that is shown, in characters.
const MOST_TEXT: usize = 200;

impl Failure {
    pub(crate) fn new(state: RedisState, text: &str) -> Failure {
        let text = without_numbers(text);
        let text: String = text.chars().filter(|c| !c.is_control()).take(MOST_TEXT).collect();
        Failure { state, is_closed: false, text }
    }

    /// The failure of a cluster, whose client follows redirections. One that is left means that the
    /// nodes do not agree yet, after a failover.
    pub(crate) fn of_cluster(error: RedisError) -> Failure {
        let text = error.to_string();
        match Failure::from(error) {
            failure if failure.state == RedisState::Cluster => {
                Failure::new(RedisState::ClusterDown, &text)
            }
            failure => failure,
        }
    }

    /// The same with another text.
    pub(crate) fn with_text(self, text: &str) -> Failure {
        Failure { is_closed: self.is_closed, ..Failure::new(self.state, text) }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Redis does not answer.
    pub(crate) fn silence() -> Failure {
        Failure::new(RedisState::Unreachable, "it does not answer")
    }

    /// Names the key of the command if it is no stream, which Redis does not.
    pub(crate) fn at_key(mut self, command: &Cmd) -> Failure {
        let is_key = |text: &&str| text.starts_with(KEYS);
        let words = command.args_iter().filter_map(|word| match word {
            Arg::Simple(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        });
        if let Some(key) = words.into_iter().find(is_key)
            && self.text.contains("WRONGTYPE")
        {
            self.text = format!("the key {key} is no stream, and not the agent's: {}", self.text);
        }
        self
    }

    /// Whether Redis answered that the key does not exist.
    pub(crate) fn is_missing_key(&self) -> bool {
        self.state == RedisState::Refused && self.text.contains("no such key")
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Failure {
        let state = RedisState::of(error.code(), error.kind());
        if state == RedisState::Cluster {
            return Failure::new(state, "it is a node of a cluster; give --cluster");
        }
        let is_closed = error.is_connection_dropped() && !error.is_timeout();
        let text = cause::words(&error).unwrap_or_else(|| error.to_string());
        Failure { is_closed, ..Failure::new(state, &text) }
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
            ("LOADING", RedisState::Loading),
            ("READONLY", RedisState::ReadOnly),
            ("OOM", RedisState::Full),
            ("WRONGPASS", RedisState::Denied),
            ("MOVED", RedisState::Cluster),
            ("WRONGTYPE", RedisState::Refused),
        ] {
            assert_eq!(RedisState::of(Some(code), other), state);
        }
        assert_eq!(RedisState::of(None, ErrorKind::AuthenticationFailed), RedisState::Denied);
        let refused = RedisError::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(Failure::from(refused).state, RedisState::Unreachable);
    }

    #[test]
    fn a_key_of_another_type_is_named() {
        let failure = || Failure::new(RedisState::Refused, "WRONGTYPE: Operation against a key");
        let mut command = redis::cmd("XADD");
        command.arg("sesscache:{web:0}:log").arg("*");
        let shown = failure().at_key(&command).to_string();
        assert!(
            shown.starts_with("refused: the key sesscache:{web:0}:log is no stream"),
            "{shown}"
        );
        let shown = failure().at_key(&redis::cmd("TIME")).to_string();
        assert!(shown.starts_with("refused: WRONGTYPE"), "{shown}");
    }

    #[test]
    fn a_line_stays_one_line() {
        let failure = Failure::new(RedisState::Refused, &"a\nb".repeat(200));
        assert!(!failure.to_string().contains('\n') && failure.to_string().len() < 300);
    }
}
