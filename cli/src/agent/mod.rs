//! `sesscache agent`: carries a store's records between hosts, through Redis or Valkey streams.
//!
//! A thread follows the store's log (follow), a task appends what it reads to the streams (send),
//! and one task a stream has the store take over what other hosts appended (receive). Records are
//! sealed: there are no keys here. No lock of the store is held while anything is waited for, so
//! that an agent that is slow, stopped or dead costs the servers nothing.

mod backoff;
mod claim;
mod clock;
mod entry;
mod figures;
mod follow;
mod health;
mod heard;
mod life;
mod notes;
mod page;
mod receive;
mod seldom;
mod send;
mod settings;
mod store_figures;
mod target;
mod trouble;
mod warm;

use crate::arguments::Agent;
use claim::ClaimError;
use clock::Clock;
use figures::Figures;
use health::Health;
use heard::Heard;
use notes::MOST_STREAMS;
use redis::cmd;
use seldom::Seldom;
use sesscache_core::store::Store;
use settings::{Settings, SettingsError};
use std::ffi::c_int;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Acquire;
use std::time::{Duration, Instant};
use target::{Link, TargetError};
use trouble::Trouble;
use warm::Warmth;

/// The number of the sender's connection; the receivers' come behind it.
const SENDER: usize = 0;

/// Why the agent ends.
#[derive(Debug)]
pub(crate) enum AgentError {
    /// The command line is wrong.
    Settings(SettingsError),
    /// A file named there cannot be read.
    Target(TargetError),
    /// The store cannot be followed.
    Claim(ClaimError),
    /// The address for metrics cannot be had.
    Metrics(SocketAddr, io::Error),
    /// A thread, a signal handler or the event loop cannot be made.
    System(io::Error),
    /// With --once: Redis did not do what it was asked.
    Redis(Trouble),
    /// A part of the agent ended that never should.
    Broken,
}

impl AgentError {
    /// The exit status.
    pub(crate) fn exit_code(&self) -> c_int {
        match self {
            AgentError::Settings(_) => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgentError::Settings(error) => write!(f, "{error}"),
            AgentError::Target(error) => write!(f, "{error}"),
            AgentError::Claim(error) => write!(f, "{error}"),
            AgentError::Metrics(address, error) => write!(f, "--metrics {address}: {error}"),
            AgentError::System(error) => write!(f, "{error}"),
            AgentError::Redis(trouble) => write!(f, "Redis is {trouble}"),
            AgentError::Broken => write!(f, "a part of the agent failed, see above"),
        }
    }
}

/// What the parts of the agent share while they follow one store.
#[derive(Debug)]
struct Shared {
    settings: Arc<Settings>,
    store: Arc<Store>,
    /// Its id, by which our own entries are known.
    id: [u8; 16],
    figures: Arc<Figures>,
    health: Arc<Health>,
    clock: Clock,
    warmth: Warmth,
    /// The follower is to begin anew.
    rewind: AtomicBool,
    /// The follower is to end when it has read everything.
    ending: AtomicBool,
    /// How far all streams were read, by time.
    heard: Heard,
    /// Lines about other hosts' number of streams, by that number.
    other_streams: Seldom,
    /// Lines about streams that are shorter than they were.
    shorter: Seldom,
    /// Lines about what was missed.
    missed: Seldom,
}

/// All streams are shorter, or have dropped something, at about the same time: one event.
const SAME_EVENT: Duration = Duration::from_secs(60);
/// Numbers of streams are said as often at most, and each again only so much later.
const NUMBERS: Duration = Duration::from_secs(60);
const SAME_NUMBER: Duration = Duration::from_secs(24 * 60 * 60);

impl Shared {
    fn new(settings: &Arc<Settings>, store: &Arc<Store>, seen: &Seen) -> Shared {
        Shared {
            settings: Arc::clone(settings),
            store: Arc::clone(store),
            id: store.id(),
            figures: Arc::clone(&seen.figures),
            health: Arc::clone(&seen.health),
            clock: Clock::default(),
            warmth: Warmth::new(settings.streams),
            rewind: AtomicBool::new(false),
            ending: AtomicBool::new(settings.once),
            heard: Heard::of(store, settings.streams),
            other_streams: Seldom::new(SAME_NUMBER, NUMBERS),
            shorter: Seldom::new(SAME_EVENT, SAME_EVENT),
            missed: Seldom::new(SAME_EVENT, SAME_EVENT),
        }
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Acquire)
    }

    async fn read_clock(&self, link: &mut Link) -> Result<(), Trouble> {
        let (asked, start) = (clock::now(), Instant::now());
        let answer = link.ask(&cmd("TIME")).await?;
        let roundtrip = start.elapsed();
        let (seconds, micros): (u64, u64) = redis::from_redis_value(answer)
            .map_err(|error| Trouble::from(redis::RedisError::from(error)))?;
        let time = seconds.saturating_mul(1000).saturating_add(micros / 1000);
        self.clock.measured(asked, roundtrip, time);
        self.figures.skew.set(self.clock.skew_seconds());
        self.figures.roundtrip.set(roundtrip.as_secs_f64());
        Ok(())
    }

    /// What is older, in milliseconds since 1970 by Redis's clock, may leave the streams.
    fn oldest(&self) -> u64 {
        let retention = u64::try_from(self.settings.retention.as_millis()).unwrap_or(u64::MAX);
        self.clock.of_redis().saturating_sub(retention)
    }

    fn failed(&self, connection: usize, trouble: &Trouble) {
        self.figures.failed(trouble.state);
        self.health.bad(connection, trouble);
    }

    fn tell_shorter(&self) {
        if self.shorter.is_due(0, Instant::now()) {
            tracing::warn!(
                "the streams end before what was read of them (Redis was emptied or restored); \
                 reading them from their beginning"
            );
        }
    }

    /// Since `heard`, by Redis's clock, a stream was not read, and it has dropped what was old.
    fn tell_missed(&self, heard: u64) {
        self.figures.gaps.inc();
        if self.missed.is_due(0, Instant::now()) {
            let seconds = |from: u64, to: u64| to.saturating_sub(from) / 1000;
            tracing::warn!(
                "the streams were not read for {} s, longer than --retention: what other hosts \
                 made in the first {} s of that is missed",
                seconds(heard, self.clock.of_redis()),
                seconds(heard, self.oldest())
            );
        }
    }

    /// Hosts with another number of streams do not see all of ours, nor we all of theirs. Anybody
    /// may have written the number: one that no host can use is nobody's.
    fn compare_streams(&self, theirs: Option<&[u8]>) {
        let theirs = theirs.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
        let theirs = theirs.filter(|theirs| (1..=MOST_STREAMS as u64).contains(theirs));
        let Some(theirs) = theirs.filter(|theirs| *theirs != self.settings.streams as u64) else {
            return;
        };
        if self.other_streams.is_due(theirs, Instant::now()) {
            tracing::warn!(
                "another host uses --streams {theirs}, this one {}: give all hosts the same, or \
                 they miss each other's sessions",
                self.settings.streams
            );
        }
    }
}

/// What outlives a store that is replaced, and what the metrics show.
#[derive(Debug)]
struct Seen {
    figures: Arc<Figures>,
    health: Arc<Health>,
}

/// `sesscache agent`.
pub(crate) fn agent(options: &Agent) -> Result<(), AgentError> {
    let settings = Settings::of(options).map_err(AgentError::Settings)?;
    // A line that cannot be written is no reason to end; to say so on stderr would be one.
    let _ = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .log_internal_errors(false)
        .try_init();
    settings.target.check().map_err(AgentError::Target)?;
    // Only fails if there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AgentError::System)?;
    runtime.block_on(life::live(Arc::new(settings)))
}
