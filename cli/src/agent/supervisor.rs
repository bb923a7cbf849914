//! Waits for the store, starts the tasks that follow it, and stops them when it is told to.

use super::claim::{self, Claim, ClaimError, LOOK};
use super::error::AgentError;
use super::failure::Failure;
use super::follow;
use super::health::Health;
use super::http;
use super::metrics::Metrics;
use super::notes;
use super::receive::Receiver;
use super::send::Sender;
use super::settings::AgentSettings;
use super::shared::{Monitoring, Shared};
use super::signals::Signals;
use super::store_metrics::CurrentStore;
use sd_notify::NotifyState;
use sesscache_core::store::Store;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How long the sender may go on sending after the agent was told to stop.
const DRAIN: Duration = Duration::from_millis(500);
/// The rounds that may lie between the follower and the sender.
const ROUNDS: usize = 1;

/// The reasons to stop following a store.
enum Outcome {
    /// The agent was told to stop, or is done with --once.
    Requested,
    /// The store was removed or replaced, so servers no longer use it.
    Replaced,
}

/// Runs until the agent is told to stop.
pub(crate) async fn run(settings: Arc<AgentSettings>) -> Result<(), AgentError> {
    let mut signals = Signals::catch().map_err(AgentError::System)?;
    let target = settings.target.to_string();
    let monitoring = Monitoring {
        metrics: Arc::new(Metrics::default()),
        health: Arc::new(Health::new(target, settings.streams + 1)),
    };
    let current_store = Arc::new(CurrentStore::default());
    let _http = http::start(&settings.local, Some(&monitoring), &current_store).await?;
    let mut is_ready = false;
    loop {
        let claim = tokio::select! {
            claim = claim(&settings) => claim.map_err(AgentError::Claim)?,
            () = signals.end() => return Ok(()),
        };
        log_following(&settings);
        if !std::mem::replace(&mut is_ready, true) {
            let _ = sd_notify::notify(&[NotifyState::Ready]);
        }
        // The follower has not begun, and is not late.
        monitoring.health.follower_round(false);
        current_store.set(Some(Arc::clone(&claim.store)));
        let outcome = replicate(&settings, &claim, &monitoring, &mut signals).await;
        current_store.set(None);
        if !matches!(outcome, Ok(Outcome::Replaced)) {
            log_unsent(&claim.store, &settings);
        }
        match outcome? {
            Outcome::Requested => break,
            Outcome::Replaced => {
                tracing::warn!("{} was removed or replaced", settings.local.store.display())
            }
        }
    }
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    Ok(())
}

fn log_following(settings: &AgentSettings) {
    tracing::info!(
        "following {}: name {}, {} streams of Redis at {}",
        settings.local.store.display(),
        settings.local.name,
        settings.streams,
        settings.target
    );
}

/// Logs how many records Redis lacks. The count includes records that are never sent: those of
/// other hosts, and those for early data.
fn log_unsent(store: &Store, settings: &AgentSettings) {
    let unsent = store.unread();
    if unsent > 0 {
        tracing::info!(
            "stopped with records unsent, at most {unsent}: the next agent of {} sends those that \
             it still holds",
            settings.local.store.display()
        );
    }
}

/// Opens the store, and waits for its server to make it.
async fn claim(settings: &AgentSettings) -> Result<Claim, ClaimError> {
    let path = &settings.local.store;
    if settings.once { Claim::make(path) } else { claim::wait(path, Claim::make).await }
}

/// The thread and the tasks that work on one store.
struct Tasks {
    shared: Arc<Shared>,
    follower: Option<JoinHandle<()>>,
    sender: JoinSet<Result<(), Failure>>,
    receivers: JoinSet<Result<(), Failure>>,
}

async fn replicate(
    settings: &Arc<AgentSettings>,
    claim: &Claim,
    monitoring: &Monitoring,
    signals: &mut Signals,
) -> Result<Outcome, AgentError> {
    notes::adopt(&claim.store, settings.hash());
    let shared = Arc::new(Shared::new(settings, &claim.store, monitoring));
    let mut tasks = Tasks::start(shared).map_err(AgentError::System)?;
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let outcome = loop {
        tokio::select! {
            () = signals.end() => break Ok(Outcome::Requested),
            ended = tasks.done() => break ended.map(|()| Outcome::Requested),
            _ = looks.tick() => {
                if claim.is_replaced() {
                    break Ok(Outcome::Replaced);
                }
                if tasks.follower.as_ref().is_some_and(JoinHandle::is_finished) && !settings.once {
                    break Err(AgentError::Broken);
                }
            }
        }
    };
    tasks.end().await;
    outcome
}

impl Tasks {
    fn start(shared: Arc<Shared>) -> io::Result<Tasks> {
        let (into, rounds) = mpsc::channel(ROUNDS);
        let mut sender = JoinSet::new();
        sender.spawn(Sender::new(Arc::clone(&shared)).send(rounds));
        let mut receivers = JoinSet::new();
        for stream in 0..shared.settings.streams {
            receivers.spawn(Receiver::new(Arc::clone(&shared), stream).receive());
        }
        let telling = Arc::clone(&shared);
        receivers.spawn(async move {
            telling.warmup.report(&telling.metrics).await;
            Ok(())
        });
        let follower = Some(follow::start(Arc::clone(&shared), into)?);
        Ok(Tasks { shared, follower, sender, receivers })
    }

    /// Waits until everything is done, which happens only with --once, or until a task fails.
    async fn done(&mut self) -> Result<(), AgentError> {
        loop {
            tokio::select! {
                Some(ended) = self.sender.join_next() => check(ended)?,
                Some(ended) = self.receivers.join_next() => check(ended)?,
                else => return Ok(()),
            }
        }
    }

    /// Stops receiving, and gives the sender a moment to send the rest of the log.
    async fn end(mut self) {
        self.receivers.shutdown().await;
        self.shared.ending.store(true, Release);
        let _ = timeout(DRAIN, self.sender.join_next()).await;
        // The sender drops the channel of rounds, which ends the follower.
        self.sender.shutdown().await;
        if let Some(follower) = self.follower.take() {
            let _ = follower.join();
        }
    }
}

fn check(ended: Result<Result<(), Failure>, JoinError>) -> Result<(), AgentError> {
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(AgentError::Redis(failure)),
        Err(_) => Err(AgentError::Broken),
    }
}
