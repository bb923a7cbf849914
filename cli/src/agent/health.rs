//! How Redis is on each connection, and what is said of it: one line when that changes.

use super::failure::{Failure, RedisState};
use sd_notify::NotifyState;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Longer without an answer, or without progress of the reader, is not healthy.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection as seen from here.
#[derive(Clone, Copy, Debug)]
struct Line {
    state: RedisState,
    /// When Redis last did what it was asked.
    good: Option<Instant>,
}

#[derive(Debug)]
struct Now {
    lines: Vec<Line>,
    shown: RedisState,
    since: Instant,
    error: Option<(Failure, SystemTime)>,
    /// When the reader of the store last went round.
    round: Instant,
    /// It waits for Redis.
    is_waiting: bool,
}

/// Shared by all tasks. The lock is held for a few instructions and a line.
#[derive(Debug)]
pub(crate) struct Health {
    target: String,
    now: Mutex<Now>,
}

impl Health {
    /// Of this many connections, of which none is known yet.
    pub(crate) fn new(target: String, connections: usize) -> Health {
        let now = Now {
            lines: vec![Line { state: RedisState::Connecting, good: None }; connections],
            shown: RedisState::Connecting,
            since: Instant::now(),
            error: None,
            round: Instant::now(),
            is_waiting: false,
        };
        Health { target, now: Mutex::new(now) }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Redis did what it was asked on a connection.
    pub(crate) fn good(&self, number: usize) {
        let mut now = self.lock();
        let Some(line) = now.lines.get_mut(number) else { return };
        let before = std::mem::replace(&mut line.state, RedisState::Ok);
        line.good = Some(Instant::now());
        if before != RedisState::Ok {
            self.tell(&mut now, None);
        }
    }

    /// It did not.
    pub(crate) fn bad(&self, number: usize, failure: &Failure) {
        let mut now = self.lock();
        if let Some(line) = now.lines.get_mut(number) {
            line.state = failure.state;
        }
        now.error = Some((failure.clone(), SystemTime::now()));
        self.tell(&mut now, Some(failure));
    }

    /// Says so if the state is another than before.
    fn tell(&self, now: &mut Now, failure: Option<&Failure>) {
        let state = now.lines.iter().map(|line| line.state).max().unwrap_or(RedisState::Connecting);
        if state == now.shown {
            return;
        }
        let lasted = now.since.elapsed().as_secs_f64();
        let before = std::mem::replace(&mut now.shown, state);
        now.since = Instant::now();
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

    /// The reader of the store goes round.
    pub(crate) fn round(&self, is_waiting: bool) {
        let mut now = self.lock();
        now.round = Instant::now();
        now.is_waiting = is_waiting;
    }

    /// How Redis is.
    pub(crate) fn state(&self) -> RedisState {
        self.lock().shown
    }

    /// What went wrong last, and when.
    pub(crate) fn error(&self) -> Option<(Failure, SystemTime)> {
        self.lock().error.clone()
    }

    /// What is not as it should be, in one line.
    pub(crate) fn complaint(&self) -> Option<String> {
        let now = self.lock();
        let silent = |line: &Line| line.good.is_none_or(|good| good.elapsed() > PATIENCE);
        if let Some(line) = now.lines.iter().find(|line| silent(line)) {
            let mut text = "Redis does not do what it is asked".to_owned();
            if let Some(good) = line.good {
                let _ = write!(text, " for {} s", good.elapsed().as_secs());
            }
            if let Some((failure, _)) = &now.error {
                let _ = write!(text, ", last error: {failure}");
            }
            return Some(text);
        }
        let is_stuck = !now.is_waiting && now.round.elapsed() > PATIENCE;
        is_stuck.then(|| "the store is not read: a lock is held too long".to_owned())
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
        assert!(health.complaint().is_some());
        (0..3).for_each(|number| health.good(number));
        assert_eq!((health.state(), health.complaint()), (RedisState::Ok, None));
        health.bad(1, &failure(RedisState::ReadOnly));
        health.bad(2, &failure(RedisState::Loading));
        assert_eq!(health.state(), RedisState::ReadOnly);
        assert_eq!(health.complaint(), None, "it was well a moment ago");
        health.good(1);
        assert_eq!(health.state(), RedisState::Loading);
        health.good(2);
        assert_eq!(health.state(), RedisState::Ok);
        assert_eq!(health.error().unwrap().0.state, RedisState::Loading);
    }

    #[test]
    fn a_connection_that_does_not_exist_changes_nothing() {
        let health = Health::new("x".into(), 1);
        health.good(7);
        assert_eq!(health.state(), RedisState::Connecting);
    }
}
