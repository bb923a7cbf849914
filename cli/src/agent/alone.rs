//! The agent of a host without Redis: it serves the metrics of the store, and changes nothing there.

use super::claim::{self, ClaimError, LOOK};
use super::error::AgentError;
use super::http;
use super::settings::Local;
use super::signals::Signals;
use super::store_metrics::CurrentStore;
use sd_notify::NotifyState;
use sesscache_core::store::{Medium, Store};
use std::path::Path;
use std::sync::Arc;
use tokio::time::sleep;

/// Runs until the agent is told to stop.
pub(crate) async fn run(local: &Local) -> Result<(), AgentError> {
    let mut signals = Signals::catch().map_err(AgentError::System)?;
    let current_store = Arc::new(CurrentStore::default());
    let _http = http::start(local, None, &current_store).await?;
    tokio::select! {
        ended = show(local, &current_store) => ended?,
        () = signals.end() => {}
    }
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    Ok(())
}

/// Shows the store, and whichever takes its place. Ends only with an error.
async fn show(local: &Local, current_store: &CurrentStore) -> Result<(), AgentError> {
    let path = &local.store;
    let medium = Medium::File(path.clone());
    loop {
        let store = claim::wait(path, open).await.map_err(AgentError::Claim)?;
        tracing::info!("showing {}, without Redis", path.display());
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        current_store.set(Some(Arc::clone(&store)));
        while store.is_in_place(&medium) {
            sleep(LOOK).await;
        }
        current_store.set(None);
        tracing::warn!("{} was removed or replaced", path.display());
    }
}

fn open(path: &Path) -> Result<Arc<Store>, ClaimError> {
    match Store::open_existing(path) {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(ClaimError::Store(path.to_owned(), error)),
    }
}
