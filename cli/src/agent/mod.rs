//! `sesscache agent`: carries a store's records between hosts, through Redis or Valkey streams.
//!
//! A thread follows the store's log (follow), a task appends what it reads to the streams (send),
//! and one task a stream has the store take over what other hosts appended (receive). Records are
//! sealed: there are no keys here. No lock of the store is held while anything is waited for, so
//! that an agent that is slow, stopped or dead costs the servers nothing.

mod backoff;
mod caught_up;
mod claim;
mod connection;
mod error;
mod exposition;
mod failure;
mod follow;
mod health;
mod http;
mod metrics;
mod notes;
mod rate_limit;
mod receive;
mod reconnect;
mod redis_clock;
mod send;
mod settings;
mod shared;
mod store_metrics;
mod stream_entry;
mod supervisor;
mod target;
mod warmup;

use crate::arguments::Agent;
pub(crate) use error::AgentError;
use settings::AgentSettings;
use std::io;
use std::sync::Arc;

/// `sesscache agent`.
pub(crate) fn agent(options: &Agent) -> Result<(), AgentError> {
    let settings = AgentSettings::of(options).map_err(AgentError::Settings)?;
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
    runtime.block_on(supervisor::run(Arc::new(settings)))
}
