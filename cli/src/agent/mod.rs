//! `sesscache agent`: carries a store's records between hosts, through Redis or Valkey streams.
//!
//! A thread follows the store's log (follow). A task appends the records to the streams (send). One
//! task a stream applies the records of other hosts to the store (receive). Records are sealed, and
//! none of these has keys. Another thread steps key files on, if it is asked to (key_files). No lock
//! of the store is held while a task waits, so a slow, stopped or dead agent costs the servers
//! nothing.
//!
//! Without Redis it only serves the metrics of the store (alone).
//!
//! Arrows between the files point one way: supervisor and alone, then http, then send, receive and
//! follow, then shared, then the rest.

mod about;
mod accept;
mod alone;
mod backoff;
mod caught_up;
mod cause;
mod claim;
mod connection;
mod connection_metrics;
mod error;
mod exposition;
mod failure;
mod fleet;
mod flushes;
mod follow;
mod health;
mod http;
mod key_files;
mod lines;
mod metrics;
mod node;
mod notes;
mod other_names;
mod pace;
mod rate_limit;
mod receive;
mod reconnect;
mod redis_clock;
mod retention;
mod rewinds;
mod send;
mod sentinel;
mod settings;
mod shared;
mod signals;
mod store_metrics;
mod stream_entry;
mod supervisor;
mod target;
mod tls;
mod warmup;
mod watchdog;
mod witness;

use crate::arguments::Agent;
pub(crate) use error::AgentError;
use key_files::KeyFiles;
use settings::{AgentSettings, AgentSettingsError, Local};
use std::sync::Arc;

/// Runs `sesscache agent` until it is told to stop.
pub(crate) fn agent(options: &Agent) -> Result<(), AgentError> {
    let work = Work::of(options).map_err(AgentError::Settings)?;
    lines::begin();
    if let Work::Replicate(settings) = &work {
        settings.target.check().map_err(AgentError::Target)?;
    }
    let mut key_files = KeyFiles::new(options.key_file.clone(), options.max_lifetime);
    if options.once {
        key_files.step();
    } else {
        key_files.keep().map_err(AgentError::System)?;
    }
    // Fails only if a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AgentError::System)?;
    runtime.block_on(async {
        tokio::select! {
            result = work.run() => result,
            never = watchdog::feed() => match never {},
        }
    })
}

/// The work of an agent.
enum Work {
    /// It carries records between hosts.
    Replicate(Arc<AgentSettings>),
    /// Without Redis: it shows the metrics of the store.
    Show(Local),
}

impl Work {
    async fn run(self) -> Result<(), AgentError> {
        match self {
            Work::Replicate(settings) => supervisor::run(settings).await,
            Work::Show(local) => alone::run(&local).await,
        }
    }

    fn of(options: &Agent) -> Result<Work, AgentSettingsError> {
        match options.redis.is_empty() {
            true => Local::of(options).map(Work::Show),
            false => AgentSettings::of(options).map(|all| Work::Replicate(Arc::new(all))),
        }
    }
}
