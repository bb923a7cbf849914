//! Gives up a connection to Redis after a failure, and decides when to make the next one.
//!
//! The caller drops the connection, even one that still works: a Redis that became a replica may
//! have a successor under its name.

use super::backoff::Backoff;
use super::failure::Failure;
use super::shared::Shared;
use tokio::time::sleep;

/// With --once, the agent ends after this many failures in a row.
const MOST_FAILURES: u32 = 3;

/// The failures in a row of one task's connection.
#[derive(Debug)]
pub(crate) struct Reconnect {
    /// The number of the task's connection.
    connection: usize,
    backoff: Backoff,
    failures: u32,
    /// Whether Redis did on this connection what it was asked.
    has_worked: bool,
}

impl Reconnect {
    pub(crate) fn new(connection: usize) -> Reconnect {
        Reconnect { connection, backoff: Backoff::default(), failures: 0, has_worked: false }
    }

    /// Notes that Redis fulfilled a request, so that the next failure counts as the first.
    pub(crate) fn succeeded(&mut self) {
        self.backoff.reset();
        self.failures = 0;
        self.has_worked = true;
    }

    /// Counts and reports the failure of a connection that the caller drops. Waits until the next
    /// connection may be made. With --once, returns the failure if it was the last one allowed.
    ///
    /// The end of a connection that worked is not reported: proxies end connections after a while.
    /// If Redis is away, the next connection fails, too.
    pub(crate) async fn give_up_connection(
        &mut self,
        shared: &Shared,
        failure: Failure,
    ) -> Result<(), Failure> {
        if !(std::mem::take(&mut self.has_worked) && failure.is_closed) {
            shared.failed(self.connection, &failure);
        }
        self.failures += 1;
        if shared.settings.once && self.failures >= MOST_FAILURES {
            return Err(failure);
        }
        sleep(self.backoff.pause()).await;
        Ok(())
    }
}
