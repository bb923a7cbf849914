//! The state of Redis on each connection. A change of the overall state is one log line.

use super::failure::{Failure, RedisState};
use sd_notify::NotifyState;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Without an answer, or a round of the follower, for longer than this, the agent is not healthy.
const PATIENCE: Duration = Duration::from_secs(10);

/// The state of one connection.
#[derive(Clone, Copy, Debug)]
struct ConnectionHealth {
    state: RedisState,
    /// When Redis last fulfilled a request.
    succeeded: Option<Instant>,
}

#[derive(Debug)]
struct Status {
    connections: Vec<ConnectionHealth>,
    shown: RedisState,
    since: Instant,
    error: Option<(Failure, SystemTime)>,
    /// When the follower last began a round.
    round: Instant,
    /// Whether the follower waits for the sender, and so for Redis.
    is_waiting: bool,
}

/// The health of all connections and of the follower, shared by all tasks. The lock is held for a
/// few instructions and one log line.
#[derive(Debug)]
pub(crate) struct Health {
    target: String,
    status: Mutex<Status>,
}

impl Health {
    /// The health before anything is known of any connection.
    pub(crate) fn new(target: String, connections: usize) -> Health {
        let status = Status {
            connections: vec![
                ConnectionHealth { state: RedisState::Connecting, succeeded: None };
                connections
            ],
            shown: RedisState::Connecting,
            since: Instant::now(),
            error: None,
            round: Instant::now(),
            is_waiting: false,
        };
        Health { target, status: Mutex::new(status) }
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that Redis fulfilled a request on a connection.
    pub(crate) fn succeeded(&self, number: usize) {
        let mut status = self.lock();
        let Some(connection) = status.connections.get_mut(number) else { return };
        let before = std::mem::replace(&mut connection.state, RedisState::Ok);
        connection.succeeded = Some(Instant::now());
        if before != RedisState::Ok {
            self.log_change(&mut status, None);
        }
    }

    /// Notes that Redis did not fulfil a request.
    pub(crate) fn failed(&self, number: usize, failure: &Failure) {
        let mut status = self.lock();
        if let Some(connection) = status.connections.get_mut(number) {
            connection.state = failure.state;
        }
        status.error = Some((failure.clone(), SystemTime::now()));
        self.log_change(&mut status, Some(failure));
    }

    /// Logs a change of the overall state.
    fn log_change(&self, status: &mut Status, failure: Option<&Failure>) {
        let state = status
            .connections
            .iter()
            .map(|connection| connection.state)
            .max()
            .unwrap_or(RedisState::Connecting);
        if state == status.shown {
            return;
        }
        let lasted = status.since.elapsed().as_secs_f64();
        let before = std::mem::replace(&mut status.shown, state);
        status.since = Instant::now();
        let target = &self.target;
        match (state, failure) {
            (RedisState::Ok, _) if before == RedisState::Connecting => {
                tracing::info!("connected to Redis at {target}");
            }
            (RedisState::Ok, _) => {
                tracing::info!(
                    "Redis at {target} is well again, after {lasted:.1} s {}",
                    before.name()
                );
            }
            (_, Some(failure)) if failure.state == state => {
                tracing::warn!("Redis at {target} is {failure}; trying again");
            }
            _ => tracing::warn!("Redis at {target} is {}; trying again", state.name()),
        }
        let status = format!("Redis at {target}: {}", state.name());
        let _ = sd_notify::notify(&[NotifyState::Status(&status)]);
    }

    /// Notes that the follower begins a round, or begins to wait for the sender.
    pub(crate) fn follower_round(&self, is_waiting: bool) {
        let mut status = self.lock();
        status.round = Instant::now();
        status.is_waiting = is_waiting;
    }

    /// The overall state of Redis.
    pub(crate) fn state(&self) -> RedisState {
        self.lock().shown
    }

    /// The last failure and its time.
    pub(crate) fn last_error(&self) -> Option<(Failure, SystemTime)> {
        self.lock().error.clone()
    }

    /// The reason why the agent is not healthy, in one line.
    pub(crate) fn problem(&self) -> Option<String> {
        let status = self.lock();
        let silent = |connection: &ConnectionHealth| {
            connection.succeeded.is_none_or(|good| good.elapsed() > PATIENCE)
        };
        if let Some(connection) = status.connections.iter().find(|connection| silent(connection)) {
            let mut text = "Redis does not do what it is asked".to_owned();
            if let Some(good) = connection.succeeded {
                let _ = write!(text, " for {} s", good.elapsed().as_secs());
            }
            if let Some((failure, _)) = &status.error {
                let _ = write!(text, ", last error: {failure}");
            }
            return Some(text);
        }
        drop(status);
        self.stuck()
    }

    /// The reason to start the agent again, in one line. That Redis is away is none.
    pub(crate) fn stuck(&self) -> Option<String> {
        let status = self.lock();
        let is_stuck = !status.is_waiting && status.round.elapsed() > PATIENCE;
        is_stuck.then(|| "the agent does not read the store".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(state: RedisState) -> Failure {
        Failure::new(state, "why")
    }

    #[test]
    fn the_worst_connection_is_shown() {
        let health = Health::new("x".into(), 3);
        assert_eq!(health.state(), RedisState::Connecting);
        assert!(health.problem().is_some());
        (0..3).for_each(|number| health.succeeded(number));
        assert_eq!((health.state(), health.problem()), (RedisState::Ok, None));
        health.failed(1, &failure(RedisState::ReadOnly));
        health.failed(2, &failure(RedisState::Loading));
        assert_eq!(health.state(), RedisState::ReadOnly);
        assert_eq!(health.problem(), None, "it was well a moment ago");
        health.succeeded(1);
        assert_eq!(health.state(), RedisState::Loading);
        health.succeeded(2);
        assert_eq!(health.state(), RedisState::Ok);
        assert_eq!(health.last_error().unwrap().0.state, RedisState::Loading);
    }

    #[test]
    fn a_connection_that_does_not_exist_changes_nothing() {
        let health = Health::new("x".into(), 1);
        health.succeeded(7);
        assert_eq!(health.state(), RedisState::Connecting);
    }
}
